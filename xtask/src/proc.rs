//! Reads what Linux counts about a process.

use crate::Res;

/// Time and turns on a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sched {
    /// Nanoseconds on a processor.
    pub(crate) cpu_ns: u64,
    /// How often it was put on one.
    pub(crate) runs: u64,
}

/// Reads the scheduler's figures of all threads of `pid`, added up.
pub(crate) fn sched(pid: u32) -> Res<Sched> {
    let mut sum = Sched { cpu_ns: 0, runs: 0 };
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ends meanwhile takes its file with it.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().ok_or("a short schedstat");
        sum.cpu_ns += next()??;
        let _waited = next()??;
        sum.runs += next()??;
    }
    Ok(sum)
}

/// Time of all processors since the system began, in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steal {
    all: u64,
    stolen: u64,
}

impl Steal {
    /// Reads what has been counted so far.
    pub(crate) fn so_far() -> Res<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().ok_or("an empty /proc/stat")?;
        // user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5). The rest is in these.
        let ticks: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let all = ticks.iter().take(8).sum();
        Ok(Self { all, stolen: ticks.get(7).copied().unwrap_or(0) })
    }

    /// Tells which part of the time since then other machines had on our processors, in percent.
    pub(crate) fn percent_since(self) -> Res<f64> {
        let now = Self::so_far()?;
        let all = now.all.saturating_sub(self.all).max(1);
        Ok(now.stolen.saturating_sub(self.stolen) as f64 * 100.0 / all as f64)
    }
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All of it: `VmRSS`, with the pages of the program's file and of libc.
    pub(crate) all: u64,
    /// Its own: `RssAnon`, heap and stack.
    pub(crate) own: u64,
}

/// Reads the resident memory of `pid`.
pub(crate) fn memory(pid: u32) -> Res<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|n| n.parse::<u64>().ok()).map(|kib| kib * 1024)
    };
    let all = field("VmRSS:").ok_or("no VmRSS")?;
    let own = field("RssAnon:").ok_or("no RssAnon")?;
    Ok(Memory { all, own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let pid = std::process::id();

        let (sched, memory) = (sched(pid).unwrap(), memory(pid).unwrap());

        assert!(sched.runs > 0 && sched.cpu_ns > 0);
        assert!(memory.all >= memory.own && memory.own > 0);
        assert!((0.0..=100.0).contains(&Steal::so_far().unwrap().percent_since().unwrap()));
    }
}
