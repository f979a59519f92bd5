//! Law 7: a waker works from any thread, coalesces, and is harmless after the detach.

use core::time::Duration;
use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::suite::stage::{Stage, shared};
use crate::suite::{Failure, Mailbox, Report, Subject, Verdict, must};

/// Law 7: a waker from another thread wakes a host that blocks, carries messages in order, makes
/// many wakes one turn, and is harmless after the detach and after the guest's end.
///
/// # Errors
///
/// A message was lost or out of order; each wake cost a turn; a turn came while detached.
pub fn law_7_a_waker_works_from_any_thread(subject: &Subject) -> Verdict {
    let mut stage = Stage::set(subject)?;
    let mailbox = stage.guest.mailbox();
    wakes_a_blocked_host(&stage, &mailbox)?;
    let turns = makes_many_wakes_one(&stage, &mailbox)?;
    harmless_afterwards(&mut stage, &mailbox)?;
    drop(stage);
    mailbox.wake();
    let mut report = Report::default();
    report.note(format!("{WAKES} wakes were {turns} turns"));
    Ok(report)
}

/// Each message is posted only when the one before has been read, so each must wake by itself.
fn wakes_a_blocked_host(stage: &Stage, mailbox: &Mailbox) -> Result<(), Failure> {
    let read = Arc::new(AtomicU32::new(0));
    let (mailbox, seen) = (mailbox.clone(), Arc::clone(&read));
    let poster = thread::spawn(move || {
        for n in 0..50 {
            if !wait_for(&seen, n) {
                return;
            }
            let seen = Arc::clone(&seen);
            mailbox.post(move |_| {
                seen.fetch_add(1, Ordering::AcqRel);
            });
        }
    });

    let came = stage.until("50 messages", || read.load(Ordering::Acquire) == 50);

    // Lets the thread go even if its message was lost.
    read.store(u32::MAX, Ordering::Release);
    must(poster.join().is_ok(), || "the posting thread panicked".into())?;
    came
}

/// Waits until `seen` is `n`; false once the law has given up.
fn wait_for(seen: &AtomicU32, n: u32) -> bool {
    loop {
        let now = seen.load(Ordering::Acquire);
        if now == n || now == u32::MAX {
            // So that the host has had time to block.
            thread::sleep(Duration::from_micros(200));
            return now == n;
        }
        thread::sleep(Duration::from_micros(20));
    }
}

/// A thread posts many messages while the loop does something else.
fn makes_many_wakes_one(stage: &Stage, mailbox: &Mailbox) -> Result<u32, Failure> {
    stage.settle()?;
    let order = Arc::new(AtomicU32::new(0));
    let (mailbox, last) = (mailbox.clone(), Arc::clone(&order));
    let poster = thread::spawn(move || {
        for n in 0..WAKES {
            let last = Arc::clone(&last);
            mailbox.post(move |_| {
                // Out of order, it stays behind for good.
                let _ = last.compare_exchange(n, n + 1, Ordering::AcqRel, Ordering::Acquire);
            });
        }
    });
    must(poster.join().is_ok(), || "the posting thread panicked".into())?;
    let before = stage.guest.counts().wakeups;

    stage.until("all messages in order", || order.load(Ordering::Acquire) == WAKES)?;

    stage.settle()?;
    let turns = stage.guest.counts().wakeups - before;
    must(turns <= 3, || format!("{WAKES} wakes cost {turns} turns"))?;
    Ok(turns)
}

fn harmless_afterwards(stage: &mut Stage, mailbox: &Mailbox) -> Result<(), Failure> {
    let (done, tell) = shared(false);
    if let Some(stay) = stage.take_stay() {
        stay.detach(Box::new(move || tell.set(true)));
    }
    stage.until("the end of a detach", || done.get())?;
    let turns = stage.guest.counts().turns;

    mailbox.wake();
    stage.run_for(Duration::from_millis(20));

    let more = stage.guest.counts().turns - turns;
    must(more == 0, || format!("{more} turns after the detach"))
}

/// Few enough that one turn reads all the mail.
const WAKES: u32 = 200;
