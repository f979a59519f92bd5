//! The host under test, and the reference hosts.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::io;
use std::prelude::v1::*;
use std::rc::Rc;

use super::{Guest, clock};
use crate::Attached;

mod alone;
mod watcher;

pub use alone::Alone;
pub use watcher::{Lapse, Watcher, Watching};

/// A host under test: the loop that a program already has, as the kit drives it.
///
/// An adaptor's crate implements it for its loop, in about 40 lines, and runs the whole kit.
pub trait Loop {
    /// Puts the guest into the loop, by the adaptor under test.
    ///
    /// # Errors
    ///
    /// The adaptor's.
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>>;

    /// Runs the loop until `done`, asked after each iteration, or until `limit` has passed.
    /// Returns whether `done`. Called inside a callback it is a modal loop.
    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool;

    /// Runs `f` by a timer of the host's own; with no delay, in the next iteration.
    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>);

    /// Tells whether [`run`](Self::run) works inside a callback. Where it does not, a modal loop
    /// is played by dispatching the guest.
    fn nests(&self) -> bool {
        true
    }

    /// Tells whether the adaptor asks [`Nested::pending`](crate::Nested::pending) before the loop
    /// blocks, so that a modal loop need not be announced to the guest.
    fn asks_pending(&self) -> bool {
        false
    }

    /// Gives how many sources the loop has, if it can say: detaching must leave as many as before.
    fn sources(&self) -> Option<usize> {
        None
    }
}

/// A guest's stay in a host: [`Attached`] in a box.
pub trait Stay {
    /// See [`Attached::detach`].
    fn detach(self: Box<Self>, done: Box<dyn FnOnce()>);
}

impl<A: Attached> Stay for A {
    fn detach(self: Box<Self>, done: Box<dyn FnOnce()>) {
        Attached::detach(*self, done);
    }
}

/// A reference host's own timers.
#[derive(Default)]
struct HostTimers {
    armed: RefCell<Vec<HostTimer>>,
    sequence: Cell<u64>,
}

struct HostTimer {
    at: Duration,
    sequence: u64,
    call: Box<dyn FnOnce()>,
}

impl HostTimers {
    fn arm(&self, delay: Duration, call: Box<dyn FnOnce()>) {
        let sequence = self.sequence.replace(self.sequence.get() + 1);
        let at = clock::monotonic() + delay;
        self.armed.borrow_mut().push(HostTimer { at, sequence, call });
    }

    fn next(&self) -> Option<Duration> {
        self.armed.borrow().iter().map(|t| t.at).min()
    }

    /// Runs what is due, but nothing that is armed meanwhile: that is the next iteration's.
    fn run(&self) {
        let (now, end) = (clock::monotonic(), self.sequence.get());
        while let Some(timer) = self.pop(now, end) {
            (timer.call)();
        }
    }

    fn pop(&self, now: Duration, end: u64) -> Option<HostTimer> {
        let mut armed = self.armed.borrow_mut();
        let due = armed.iter().position(|t| t.at <= now && t.sequence < end)?;
        Some(armed.remove(due))
    }
}

impl fmt::Debug for HostTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostTimers({})", self.armed.borrow().len())
    }
}

/// Runs a reference host: timers, then `done`, then an iteration that waits as long as it may.
fn run_loop(
    timers: &HostTimers,
    limit: Duration,
    done: &mut dyn FnMut() -> bool,
    iterate: &dyn Fn(Duration),
) -> bool {
    let end = clock::monotonic().saturating_add(limit);
    loop {
        timers.run();
        if done() {
            return true;
        }
        let now = clock::monotonic();
        if now >= end {
            return false;
        }
        let until = timers.next().map_or(end, |at| at.min(end));
        iterate(until.saturating_sub(now));
    }
}
