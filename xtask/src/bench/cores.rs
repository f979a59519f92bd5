//! Gives the server and the loader a processor each.

use std::process::Command;

use crate::{Res, sh};

/// The numbers of two processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cores {
    pub(crate) server: u32,
    pub(crate) loader: u32,
}

impl Cores {
    /// Chooses two that this program may use, and moves it to the loader's.
    pub(crate) fn take() -> Res<Self> {
        if !sh::have("taskset") {
            return Err("taskset is not here: install util-linux".into());
        }
        let status = std::fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let cores = chosen(list.unwrap_or_default())
            .ok_or("server and loader need a processor each, and there is one in all")?;
        let (core, pid) = (cores.loader.to_string(), std::process::id().to_string());
        sh::run(5, "taskset", &["-p", "-c", &core, &pid])?;
        Ok(cores)
    }

    /// Makes a command that runs a program on the server's processor, with the same process id.
    pub(crate) fn server(self, program: &std::path::Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.server.to_string()]).arg(program).current_dir(sh::root());
        command
    }
}

/// Takes the first two of a list such as `0,2-5`.
fn chosen(list: &str) -> Option<Cores> {
    let mut numbers = list.split(',').filter_map(range).flatten();
    Some(Cores { server: numbers.next()?, loader: numbers.next()? })
}

fn range(part: &str) -> Option<std::ops::RangeInclusive<u32>> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_are_chosen() {
        assert_eq!(chosen("\t0-1"), Some(Cores { server: 0, loader: 1 }));
        assert_eq!(chosen("3,6-7\n"), Some(Cores { server: 3, loader: 6 }));
        assert_eq!(chosen("5"), None);
    }
}
