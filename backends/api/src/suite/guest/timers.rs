//! The guest's timers, in the order of (deadline, sequence).

use core::time::Duration;
use std::collections::BTreeMap;
use std::prelude::v1::*;
use std::rc::Rc;

use super::{Guest, TimerId};
use crate::Micros;

pub(super) type Call = Box<dyn FnOnce(&Rc<Guest>)>;

#[derive(Default)]
pub(super) struct Timers {
    armed: BTreeMap<TimerId, Call>,
    sequence: u64,
    /// The latest moment up to which a turn runs timers. What is armed now comes later.
    frame: Micros,
}

impl Timers {
    /// Arms `call`. Unless `at_once`, the turn that runs now does not run it.
    pub(super) fn arm(&mut self, now: Micros, d: Duration, at_once: bool, call: Call) -> TimerId {
        let next_turn = self.frame + Duration::from_micros(1);
        let at = if at_once { now } else { (now + d).max(next_turn) };
        self.sequence += 1;
        let id = TimerId(at, self.sequence);
        self.armed.insert(id, call);
        id
    }

    pub(super) fn cancel(&mut self, id: TimerId) -> Option<Call> {
        self.armed.remove(&id)
    }

    /// Notes that a turn runs what is due at `now`.
    pub(super) fn begin(&mut self, now: Micros) {
        self.frame = self.frame.max(now);
    }

    pub(super) fn pop(&mut self, now: Micros) -> Option<Call> {
        let first = self.armed.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn next(&self) -> Option<Micros> {
        self.armed.first_key_value().map(|(id, _)| id.0)
    }
}
