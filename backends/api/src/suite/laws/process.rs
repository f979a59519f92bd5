//! Law 10: nothing is added to the process.

use core::time::Duration;
use std::fs;
use std::io;
use std::prelude::v1::*;

use crate::suite::stage::Stage;
use crate::suite::{Report, Subject, Verdict, must};

/// Law 10: no thread and no signal handler is added, and no descriptor is left behind. Looks at
/// the whole process, so no other test may run in it: see [`alone`](crate::suite::alone).
///
/// Skipped, and the report says so, where there is no `/proc/self`. A peer that goes away while
/// it is sent to is part of this, but that no signal is raised cannot be seen here, since Rust's
/// runtime ignores SIGPIPE: that is for a test in C.
///
/// # Errors
///
/// Something was added or left behind.
pub fn law_10_nothing_is_added_to_the_process(subject: &Subject) -> Verdict {
    let mut report = Report::default();
    let Ok(before) = Footprint::take() else {
        report.note("skipped: there is no /proc/self here");
        return Ok(report);
    };
    let stage = Stage::set(subject)?;
    let (id, mut peer) = stage.peer(None)?;
    peer.say(b"hello")?;
    stage.until("an echo", || peer.hear() == b"hello")?;
    let during = Footprint::take()?;
    peer.fill();
    drop(peer);
    stage.until("the end of a connection", || stage.guest.visits(id).is_none())?;
    stage.run_for(Duration::from_millis(20));
    drop(stage);
    let after = Footprint::take()?;

    must(during.threads == before.threads, || {
        format!("{} threads before and {} during", before.threads, during.threads)
    })?;
    must(during.signals == before.signals, || "how signals are handled has changed".into())?;
    must(after == before, || format!("before: {before:?}\nafter: {after:?}"))?;
    report.note(format!("{before:?}"));
    Ok(report)
}

/// What a process shows of itself.
#[derive(PartialEq, Eq, Debug)]
struct Footprint {
    threads: usize,
    descriptors: usize,
    /// Blocked, ignored and caught, as the system writes them.
    signals: Vec<String>,
}

impl Footprint {
    fn take() -> io::Result<Self> {
        // This thread's: another may be in the middle of starting one, with signals blocked.
        let status = fs::read_to_string("/proc/thread-self/status")?;
        let signals = status
            .lines()
            .filter(|l| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|name| l.starts_with(name)))
            .map(ToOwned::to_owned)
            .collect();
        Ok(Self {
            threads: fs::read_dir("/proc/self/task")?.count(),
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            signals,
        })
    }
}
