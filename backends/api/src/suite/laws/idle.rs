//! Laws 1 and 9: a guest that has nothing to do, or is told to do nothing, costs nothing.

use core::cell::Cell;
use core::time::Duration;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::suite::stage::{Stage, Window, shared};
use crate::suite::{Failure, Id, Report, Subject, Verdict, must};

/// Law 1: idle means zero wakeups. Connections that have said something, a listener and a far
/// timer stand by; after a deadline was moved, one wakeup in all may be for nothing.
///
/// # Errors
///
/// More wakeups, or CPU time of the loop's thread without a wakeup.
pub fn law_1_idle_means_no_wakeups(subject: &Subject) -> Verdict {
    let stage = Stage::set(subject)?;
    stage.guest.listen()?;
    stage.guest.after(Duration::from_secs(3600), |_| {});
    let mut peers = Vec::new();
    for _ in 0..32 {
        peers.push(stage.peer(None)?.1);
    }
    peers.iter().try_for_each(|p| p.say(b"hello"))?;
    stage.until("all echoes", || peers.iter_mut().all(|p| p.hear() == b"hello"))?;
    stage.settle()?;

    let mut report = Report::default();
    let still = stage.watch(Duration::from_millis(500));
    quiet(&mut report, "idle", still, 0)?;
    let moved = stage.guest.after(Duration::from_millis(20), |_| {});
    stage.guest.cancel(moved);
    let after = stage.watch(Duration::from_millis(500));
    quiet(&mut report, "idle after a moved deadline", after, 1)?;
    Ok(report)
}

/// Law 9: a paused reader costs no CPU. Its peer sends until the system takes no more, and even
/// hangs up; when reading resumes nothing is missing.
///
/// # Errors
///
/// Wakeups or CPU time while paused; bytes or the end of the stream missing afterwards.
pub fn law_9_a_paused_reader_costs_nothing(subject: &Subject) -> Verdict {
    let stage = Stage::set(subject)?;
    let (got, count) = shared(0);
    let count_bytes = move |n| count.set(count.get() + n);
    let (id, peer) = stage.peer(Some(Box::new(move |_, _, bytes| count_bytes(bytes.len()))))?;
    peer.say(b"x")?;
    stage.until("the first byte", || got.get() == 1)?;

    stage.guest.pause(id, true);
    let sent = 1 + peer.fill();
    stage.settle()?;
    let mut report = Report::default();
    report.note(format!("{sent} bytes wait"));
    quiet(&mut report, "paused", stage.watch(Duration::from_millis(600)), 0)?;
    drop(peer);
    quiet(&mut report, "paused and hung up on", stage.watch(Duration::from_millis(400)), 2)?;
    must(got.get() == 1, || "a paused connection was read".into())?;

    resumes(&stage, id, &got, sent)?;
    Ok(report)
}

/// Reading goes on where it stopped, up to the end of the stream.
fn resumes(stage: &Stage, id: Id, got: &Rc<Cell<usize>>, sent: usize) -> Result<(), Failure> {
    stage.guest.pause(id, false);
    stage.until("all bytes after the pause", || got.get() >= sent)?;
    must(got.get() == sent, || format!("{} bytes came of {sent}", got.get()))?;
    stage.until("the end of the stream", || stage.guest.visits(id).is_none())
}

fn quiet(report: &mut Report, when: &str, window: Window, allowed: u32) -> Result<(), Failure> {
    report.note(format!("{when}: {} wakeups, {:?} of CPU", window.wakeups, window.cpu));
    must(window.wakeups <= allowed, || {
        format!("{when}: {} wakeups, {allowed} allowed", window.wakeups)
    })?;
    must(window.cpu < BUSY, || format!("{when}: {:?} of CPU", window.cpu))
}

/// CPU time in half a second that only a spinning loop uses, also on a busy machine.
const BUSY: Duration = Duration::from_millis(20);
