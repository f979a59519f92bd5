//! The scheduler of timed callbacks: any number of timers, one exact next deadline.
//!
//! In: what is to happen when, and the passing of time. Out: what is due, one entry at a time, and
//! when to look again. It calls nobody: whoever pops an entry decides what it means, so an entry
//! may be armed, cancelled or removed at any moment, also while it is being served.
//!
//! - **Order.** Entries fire by deadline, and equal deadlines in the order they were armed;
//!   arming again counts anew.
//! - **Cost.** Moving a deadline further out is one store: the heap keeps a lower bound, which is
//!   put right only when it comes to the front. A timeout that is renewed with every byte that
//!   arrives is therefore almost free. Everything else is O(log n).
//! - **Memory.** 24 bytes in the heap and 32 in the table for an entry of 8 bytes. Taken by
//!   [`Sched::add`] (and by setting [`Sched::set_wake_if_suspended`]), never by arming.
//! - **Never early.** [`Slack`] only adds. A deadline in the past is due at once; so a callback
//!   that arms itself with "now" would be popped again in the same turn. Who wants "no delay" to
//!   mean the next turn arms at `max(now + delay, now + 1 µs)` and pops with the turn's `now`.
//!
//! ```
//! use core::time::Duration;
//! use lodger::Micros;
//! use lodger::sul::{Sched, Slack};
//!
//! let mut sched = Sched::new();
//! let now = Micros::ZERO;
//! let hello = sched.add("hello");
//! sched.arm(hello, now + Duration::from_millis(5), Slack::Precise, now);
//!
//! assert_eq!(sched.next(), Some(Micros::new(5_000)));
//! assert_eq!(sched.pop(Micros::new(4_999)), None);
//! assert_eq!(sched.pop(Micros::new(5_000)), Some(hello));
//! assert_eq!(sched.get(hello), Some(&"hello"));
//! ```

mod heap;
mod slots;
#[cfg(test)]
mod tests;

use lodger_backend::Micros;

use heap::{Heap, Node};
use slots::{STEP, Slots};

/// Names an entry. Stale once the entry is removed: every call with it then does nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Handle {
    index: u32,
    generation: u32,
}

impl Handle {
    /// Names no entry of any scheduler.
    const STALE: Self = Self { index: u32::MAX, generation: 0 };

    /// Gives the place in the table, which a later entry may take over.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Gives the number that tells apart the entries that had this place.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Gives both as one number, which is not 0.
    pub const fn bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// Takes what [`bits`](Self::bits) gave.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// How late a timer may be so that it fires together with others. It is never early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Slack {
    /// At the microsecond asked for. What users' timers are.
    #[default]
    Precise,
    /// Up to 511 µs late: at the next multiple of 512 µs.
    Normal,
    /// Late by less than a sixteenth of the interval. What idle timeouts are: those of any number
    /// of connections with the same interval fire in at most 32 batches an interval.
    Coarse,
}

impl Slack {
    /// Gives the power of two, in µs, to whose multiple a deadline is rounded up.
    fn grain(self, at: Micros, now: Micros) -> u32 {
        match self {
            Self::Precise => 0,
            Self::Normal => 9,
            Self::Coarse => {
                let interval = at.get().saturating_sub(now.get());
                (interval / 16).checked_ilog2().unwrap_or(0)
            }
        }
    }
}

/// The scheduler. `T` says what an entry means to its owner; it should be small.
#[derive(Debug)]
pub struct Sched<T> {
    slots: Slots<T>,
    /// What waits while the machine is suspended.
    sleeps: Heap,
    /// What is to wake a suspended machine.
    wakes: Heap,
    /// How many entries are of that class, armed or not.
    wakers: usize,
    /// Counts armings, in steps of [`STEP`]. 2^56 of them are 2,000 years at a million a second.
    sequence: u64,
}

impl<T: Copy> Sched<T> {
    /// Makes an empty one. Takes no memory.
    pub const fn new() -> Self {
        Self {
            slots: Slots::new(),
            sleeps: Heap::new(),
            wakes: Heap::new(),
            wakers: 0,
            sequence: 0,
        }
    }

    /// Makes an entry, not armed. Allocates a page of 8 KiB and one of 6 KiB for every 256
    /// entries; what is there is never copied.
    ///
    /// With 2^32 - 1 entries in the table the handle given is stale from the start.
    pub fn add(&mut self, what: T) -> Handle {
        let h = self.slots.add(what);
        self.sleeps.make_room(self.slots.len());
        h
    }

    /// Ends an entry, armed or not, and gives what it meant. `None` if the handle is stale.
    pub fn remove(&mut self, h: Handle) -> Option<T> {
        self.set_wake_if_suspended(h, false);
        self.cancel(h);
        self.slots.remove(h)
    }

    /// Gives what an entry means; `None` if the handle is stale.
    pub fn get(&self, h: Handle) -> Option<&T> {
        self.slots.what(h)
    }

    /// Gives what an entry means, to be changed; `None` if the handle is stale.
    pub fn get_mut(&mut self, h: Handle) -> Option<&mut T> {
        self.slots.what_mut(h)
    }

    /// Arms an entry, or moves it if it is armed. `false` if the handle is stale.
    ///
    /// - `at`: when it is to fire, on the clock of `now`. Any value: the past is due at once.
    /// - `slack`: how much later it may fire.
    /// - `now`: the time of this turn; only `Coarse` looks at it.
    pub fn arm(&mut self, h: Handle, at: Micros, slack: Slack, now: Micros) -> bool {
        self.sequence = self.sequence.wrapping_add(STEP);
        let Some(slot) = self.slots.get_mut(h) else { return false };
        let before = slot.at();
        slot.set_due(at, self.sequence, slack.grain(at, now));
        let (at, order, pos) = (slot.at(), slot.order(), slot.pos());
        if slot.is_armed() && at >= before {
            return true;
        }
        let (armed, wakes) = (slot.is_armed(), slot.wakes());
        let heap = if wakes { &mut self.wakes } else { &mut self.sleeps };
        let node = Node { at, order, index: h.index };
        if !armed {
            heap.push(node, &mut self.slots);
        } else if heap.at(pos).is_some_and(|key| at < key) {
            heap.advance(pos, node, &mut self.slots);
        }
        true
    }

    /// Disarms an entry and keeps it. `false` if it was not armed, or the handle is stale.
    pub fn cancel(&mut self, h: Handle) -> bool {
        let Some(slot) = self.slots.get(h).filter(|slot| slot.is_armed()) else { return false };
        let (pos, wakes) = (slot.pos(), slot.wakes());
        let heap = if wakes { &mut self.wakes } else { &mut self.sleeps };
        heap.remove(pos, &mut self.slots);
        true
    }

    /// Tells whether an entry waits to fire.
    pub fn is_armed(&self, h: Handle) -> bool {
        self.due(h).is_some()
    }

    /// Gives when an armed entry was asked to fire, without slack.
    pub fn due(&self, h: Handle) -> Option<Micros> {
        self.slots.get(h).filter(|slot| slot.is_armed()).map(slots::Slot::due)
    }

    /// Sets whether an entry is to wake a suspended machine; at first it is not. Holds until the
    /// entry is removed. An armed entry keeps its deadline and its place among equal ones.
    pub fn set_wake_if_suspended(&mut self, h: Handle, on: bool) {
        let Some(slot) = self.slots.get_mut(h).filter(|slot| slot.wakes() != on) else { return };
        let armed = slot.is_armed();
        self.cancel(h);
        let Some(slot) = self.slots.get_mut(h) else { return };
        slot.set_wakes(on);
        let node = Node { at: slot.at(), order: slot.order(), index: h.index };
        self.wakers = if on { self.wakers + 1 } else { self.wakers.saturating_sub(1) };
        self.wakes.make_room(self.wakers);
        if armed {
            let heap = if on { &mut self.wakes } else { &mut self.sleeps };
            heap.push(node, &mut self.slots);
        }
    }

    /// Gives when the next entry fires, slack included. Exact: a turn at that time pops at least
    /// one entry, unless it is cancelled or moved before.
    #[expect(clippy::should_implement_trait, reason = "asks and takes nothing: no iterator")]
    pub fn next(&mut self) -> Option<Micros> {
        let sleeps = self.sleeps.next(&mut self.slots);
        let wakes = self.wakes.next(&mut self.slots);
        sleeps.into_iter().chain(wakes).min()
    }

    /// Gives a time before which nothing fires, without looking further: no later than
    /// [`next`](Self::next), and earlier only where the first entry was extended. A loop that
    /// programs its alarm by it may wake once for nothing, and pays nothing for moved deadlines.
    pub fn bound(&self) -> Option<Micros> {
        match (self.sleeps.at(0), self.wakes.at(0)) {
            (Some(s), Some(w)) => Some(s.min(w)),
            (s, w) => s.or(w),
        }
    }

    /// Gives when the next entry of those that wake a suspended machine fires.
    pub fn next_if_suspended(&mut self) -> Option<Micros> {
        self.wakes.next(&mut self.slots)
    }

    /// Takes the first entry that is due at `now`, and disarms it. `None` once nothing is.
    pub fn pop(&mut self, now: Micros) -> Option<Handle> {
        let due = |heap: &Heap| heap.bound().is_some_and(|at| at <= now);
        if !due(&self.sleeps) && !due(&self.wakes) {
            return None;
        }
        let node = self.first().filter(|node| node.at <= now)?;
        let h = self.slots.handle(node.index)?;
        self.cancel(h);
        Some(h)
    }

    /// Gives how many entries there are, armed or not.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives how many entries are armed.
    pub fn armed(&self) -> usize {
        self.sleeps.len() + self.wakes.len()
    }

    /// Goes over all entries, in no order of time: each with when it was asked to fire (`None` if
    /// it is not armed) and what it means.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, Option<Micros>, &T)> {
        self.slots.iter()
    }

    /// Gives the first of both classes.
    fn first(&mut self) -> Option<Node> {
        let sleeps = self.sleeps.first(&mut self.slots);
        let wakes = self.wakes.first(&mut self.slots);
        match (sleeps, wakes) {
            (Some(s), Some(w)) if w.is_before(&s) => Some(w),
            (Some(s), _) => Some(s),
            (None, w) => w,
        }
    }
}
