//! Streams that come back by themselves, for people to read.
//!
//! They live outside the runtime, which only remembers where: nothing here keeps one alive.

use std::rc::Weak;
use std::string::String;
use std::vec::Vec;

use core::time::Duration;

use super::{ConnId, Handle, TimerId};

/// One stream of a client as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Where it goes: `127.0.0.1:7681/echo`.
    pub url: String,
    /// `connecting`, `open`, or `waiting` for its next attempt.
    pub state: &'static str,
    /// Its connection; `None` while it waits.
    pub conn: Option<ConnId>,
    /// Attempts that have failed in a row. One that was up for long enough begins anew.
    pub failures: u32,
    /// Of one that waits: how long it is to the next attempt.
    pub retry_in: Option<Duration>,
    /// Of one that waits: how long it waits in all.
    pub delay: Option<Duration>,
}

/// What can be listed.
pub(crate) trait Stream {
    /// What it is now; `None` once it has ended for good.
    fn info(&self) -> Option<StreamInfo>;
}

/// The streams there are, and the places of some that have gone.
#[derive(Default)]
pub(crate) struct Streams(Vec<Weak<dyn Stream>>);

impl Handle {
    /// Lists up to `most` streams of clients that connect again by themselves, oldest first.
    pub fn streams(&self, most: usize) -> Vec<StreamInfo> {
        let streams = self.0.streams.borrow();
        let there = streams.0.iter().filter_map(Weak::upgrade);
        there.filter_map(|stream| stream.info()).take(most).collect()
    }

    /// Has a stream listed as long as somebody holds it.
    pub(crate) fn enlist(&self, stream: Weak<dyn Stream>) {
        let mut streams = self.0.streams.borrow_mut();
        if streams.0.len() == streams.0.capacity() {
            // Only here, so that this costs nothing for each.
            streams.0.retain(|known| known.strong_count() > 0);
        }
        streams.0.push(stream);
    }

    /// How long it is until a timer fires; `None` if it is not armed.
    pub(crate) fn due_in(&self, timer: TimerId) -> Option<Duration> {
        let mut core = self.core();
        let now = self.time(&mut core);
        core.sched.due(timer.0).map(|at| at - now)
    }
}
