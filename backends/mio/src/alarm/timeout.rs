//! The clock and the deadline where a queue holds no timer: the wait is bounded, in milliseconds
//! rounded up. A host that watches the queue would not see the deadline.

use std::io;
use std::time::{Duration, Instant};

use lodger_backend::Micros;

/// How late the deadline may be on an idle machine.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(1);

/// Whether the queue's descriptor becomes readable when the deadline is met.
pub(crate) const IN_QUEUE: bool = false;

/// The clock, and one deadline on it.
#[derive(Debug)]
pub(crate) struct Alarm {
    epoch: Instant,
    deadline: Option<Micros>,
}

impl Alarm {
    /// Starts the clock.
    pub(crate) fn new(_queue: &mio::Registry, _token: mio::Token) -> io::Result<Self> {
        Ok(Self { epoch: Instant::now(), deadline: None })
    }

    /// Reads the clock, rounded down: a deadline that is met here has passed.
    pub(crate) fn now(&self) -> Micros {
        Micros::new(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Replaces the deadline.
    pub(crate) fn set(&mut self, at: Option<Micros>) {
        self.deadline = at;
    }

    /// Nothing is registered, so nothing is ever reported.
    pub(crate) fn fired(&mut self) {}

    /// Gives how long the queue may wait: not beyond the deadline.
    pub(crate) fn bound(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(at) = self.deadline else { return timeout };
        let left = at.since(self.now());
        Some(timeout.map_or(left, |t| t.min(left)))
    }
}
