//! The scheduler beside a `BTreeMap`, measured by a program of its own.

use super::cores::Cores;
use super::report::Report;
use crate::steps::Outcome;
use crate::{Res, sh};

/// One operation on a timer, in nanoseconds.
#[derive(PartialEq, Debug)]
pub(super) struct Timer {
    pub(super) name: String,
    pub(super) sul: f64,
    pub(super) map: f64,
}

impl Timer {
    pub(super) fn ratio(&self) -> f64 {
        self.sul / self.map
    }

    /// Gives what lodger aims at, as a multiple of the map's.
    pub(super) fn aim(&self) -> Option<f64> {
        match self.name.as_str() {
            "re-arm" => Some(0.15),
            "insert" => Some(0.25),
            "cancel" => Some(0.3),
            _ => None,
        }
    }
}

/// Runs the program on the server's processor.
pub(super) fn measure(cores: Cores, report: &mut Report) -> Res<Outcome> {
    let output = sh::check(&mut cores.server(&sh::target("release/bench-sul")))?;
    report.timers = sh::text(&output.stdout).lines().filter_map(read).collect();
    if report.timers.is_empty() {
        return Err("bench-sul printed no figures".into());
    }
    let notes = report.timers.iter().map(|timer| format!("{} {:.2}x", timer.name, timer.ratio()));
    Ok(Outcome::Passed(notes.collect::<Vec<_>>().join(", ")))
}

/// Reads `re-arm earlier: 12.3 45.6`.
fn read(line: &str) -> Option<Timer> {
    let (name, figures) = line.split_once(": ")?;
    let (sul, map) = figures.split_once(' ')?;
    Some(Timer { name: name.into(), sul: sul.parse().ok()?, map: map.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_name_and_two_figures() {
        let timer = Timer { name: "re-arm earlier".into(), sul: 12.3, map: 45.6 };

        assert_eq!(read("re-arm earlier: 12.3 45.6"), Some(timer));
        assert_eq!(read("warning: no figure"), None);
    }
}
