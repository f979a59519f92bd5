//! One turn of the guest: its bounds, its outcome, and what wakes the host for it.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::{Micros, Trigger};

/// What a backend can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a new capability must be stated by every backend")]
pub struct Caps {
    /// How readiness is reported.
    pub trigger: Trigger,
    /// How much later than asked the deadline may fire on an idle machine.
    pub timer_resolution: Duration,
}

/// How much one turn may do, whichever bound is met first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Budget {
    /// Connections served in a turn. 0 counts as 1.
    pub ops: u32,
    /// Time spent in a turn; looked at between connections, every few of them.
    pub slice: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ops: 64, slice: Duration::from_micros(500) }
    }
}

/// What a turn leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Turn {
    /// Work is left: dispatch again after the host has had its own go. A host that watches
    /// edge-triggered clears its readiness only after a turn without it.
    pub again: bool,
    /// When the guest next wants a turn for its timers. Its own queue fires then.
    pub deadline: Option<Micros>,
    /// The turn was nested too deep and only collected readiness: a turn below serves it.
    pub at_limit: bool,
}

/// Causes a turn, from any thread. Many wakes before that turn are one; after the loop has gone
/// it does nothing.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// Wraps what wakes the loop. It must be callable from any thread, at any time.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Causes a turn.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
