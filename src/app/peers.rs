//! Who hears what is sent to many.

use std::collections::BTreeSet;

use crate::runtime::Handle;
use crate::runtime::handler::http::ExchangeId;

/// How many may be there before those that have gone are looked for.
const SWEEP: usize = 64;

/// A list of peers, in the order of their slots.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub(super) set: BTreeSet<ExchangeId>,
    /// At this many, those that have gone are looked for, so that a list that nobody sends to
    /// does not grow for ever.
    sweep_at: usize,
}

impl Peers {
    /// Adds one; once if it is there already.
    pub(super) fn add(&mut self, h: &Handle, peer: ExchangeId) {
        if self.set.len() >= self.sweep_at.max(SWEEP) {
            self.set.retain(|&peer| h.has_peer(peer));
            self.sweep_at = self.set.len().saturating_mul(2);
        }
        self.set.insert(peer);
    }
}
