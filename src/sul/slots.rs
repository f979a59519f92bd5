//! The table of entries: pages that never move, generations, a free list.

use alloc::vec::Vec;
use core::iter;

use lodger_backend::Micros;

use super::Handle;

/// Entries in a page. Growing takes one page and copies nothing, so it is no stutter.
const PAGE: usize = 256;
/// "Not in a heap", and the end of the free list.
pub(super) const NONE: u32 = u32::MAX;
/// The bit of [`Slot::order`] that chooses the heap.
const WAKE: u64 = 1 << 7;
/// The bits of [`Slot::order`] that hold the grain.
const GRAIN: u64 = 0x3f;
/// One step of the sequence in [`Slot::order`].
pub(super) const STEP: u64 = 1 << 8;

/// One entry; 32 bytes with a `T` of 8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<T> {
    /// The wanted time, without slack.
    due: Micros,
    /// The sequence of the last arming (56 bits), [`WAKE`], and the grain: slack rounds `due` up
    /// to a multiple of 2 to the power of it.
    order: u64,
    /// Where it is in its heap; [`NONE`] if it is not armed. In a free slot the next free one.
    pos: u32,
    /// Odd while the entry lives.
    generation: u32,
    what: T,
}

impl<T> Slot<T> {
    /// Gives the time it fires: due, and its slack. It is never before `due`, also where rounding
    /// would pass the end of time.
    pub(super) fn at(&self) -> Micros {
        fires_at(self.due, self.order)
    }

    pub(super) fn due(&self) -> Micros {
        self.due
    }

    pub(super) fn order(&self) -> u64 {
        self.order
    }

    pub(super) fn pos(&self) -> u32 {
        self.pos
    }

    pub(super) fn set_pos(&mut self, pos: u32) {
        self.pos = pos;
    }

    pub(super) fn is_armed(&self) -> bool {
        self.pos != NONE
    }

    pub(super) fn wakes(&self) -> bool {
        self.order & WAKE != 0
    }

    pub(super) fn set_wakes(&mut self, on: bool) {
        self.order = if on { self.order | WAKE } else { self.order & !WAKE };
    }

    /// Takes a new wanted time. The heap key stays, and with it may become a lower bound.
    pub(super) fn set_due(&mut self, due: Micros, sequence: u64, grain: u32) {
        self.due = due;
        self.order = sequence | (self.order & WAKE) | (u64::from(grain) & GRAIN);
    }
}

/// Rounds up by the grain in `order`.
fn fires_at(due: Micros, order: u64) -> Micros {
    let mask = (1_u64 << (order & GRAIN)) - 1;
    match due.get().checked_add(mask) {
        Some(end) => Micros::new(end & !mask),
        None => due,
    }
}

/// All entries.
#[derive(Debug)]
pub(super) struct Slots<T> {
    pages: Vec<Vec<Slot<T>>>,
    free: u32,
    live: usize,
}

impl<T: Copy> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), free: NONE, live: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Makes an entry. Once every index is taken, which takes 128 GiB, the handle given is stale.
    pub(super) fn add(&mut self, what: T) -> Handle {
        let index = self.free;
        if let Some(slot) = self.raw_mut(index) {
            slot.generation += 1;
            let (next, generation) = (slot.pos, slot.generation);
            *slot = Slot { due: Micros::ZERO, order: 0, pos: NONE, generation, what };
            self.free = next;
            self.live += 1;
            return Handle { index, generation };
        }
        self.grow(what)
    }

    /// Makes an entry behind all others.
    fn grow(&mut self, what: T) -> Handle {
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let full = self.pages.len().saturating_sub(1).saturating_mul(PAGE);
        let Some(page) = self.pages.last_mut() else { return Handle::STALE };
        match u32::try_from(full.saturating_add(page.len())) {
            Ok(index) if index != NONE => {
                page.push(Slot { due: Micros::ZERO, order: 0, pos: NONE, generation: 1, what });
                self.live += 1;
                Handle { index, generation: 1 }
            }
            Ok(_) | Err(_) => Handle::STALE,
        }
    }

    /// Ends an entry that is in no heap. A slot whose generations are used up is not used again,
    /// so that no stale handle ever becomes valid.
    pub(super) fn remove(&mut self, h: Handle) -> Option<T> {
        let free = self.free;
        let slot = self.get_mut(h)?;
        let what = slot.what;
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            slot.pos = free;
            self.free = h.index;
        } else {
            slot.generation = 0;
        }
        self.live -= 1;
        Some(what)
    }

    /// Gives the live entry of this handle.
    pub(super) fn get(&self, h: Handle) -> Option<&Slot<T>> {
        self.raw(h.index).filter(|slot| slot.generation == h.generation)
    }

    /// Gives the live entry of this handle.
    pub(super) fn get_mut(&mut self, h: Handle) -> Option<&mut Slot<T>> {
        self.raw_mut(h.index).filter(|slot| slot.generation == h.generation)
    }

    /// Gives the slot at `index`, live or not.
    #[inline]
    pub(super) fn raw(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    /// Gives the slot at `index`, live or not.
    #[inline]
    pub(super) fn raw_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.pages.get_mut(index / PAGE)?.get_mut(index % PAGE)
    }

    /// Gives what an entry means.
    pub(super) fn what(&self, h: Handle) -> Option<&T> {
        self.get(h).map(|slot| &slot.what)
    }

    /// Gives what an entry means, to be changed.
    pub(super) fn what_mut(&mut self, h: Handle) -> Option<&mut T> {
        self.get_mut(h).map(|slot| &mut slot.what)
    }

    /// Gives the handle of the live entry at `index`.
    pub(super) fn handle(&self, index: u32) -> Option<Handle> {
        let generation = self.raw(index)?.generation;
        (generation & 1 == 1).then_some(Handle { index, generation })
    }

    /// Goes over the live entries in the order of their indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Handle, Option<Micros>, &T)> {
        let slots = self.pages.iter().flatten();
        iter::zip(0_u32.., slots).filter(|(_, slot)| slot.generation & 1 == 1).map(
            |(index, slot)| {
                let due = slot.is_armed().then_some(slot.due);
                (Handle { index, generation: slot.generation }, due, &slot.what)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_32_bytes() {
        assert_eq!(size_of::<Slot<u64>>(), 32);
    }

    #[test]
    fn a_slot_is_used_again_and_old_handles_stay_stale() {
        let mut slots = Slots::new();
        let old = slots.add('a');
        slots.remove(old);

        let new = slots.add('b');

        assert_eq!((new.index(), slots.what(new)), (old.index(), Some(&'b')));
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.what(old), None);
        assert_eq!((slots.len(), slots.what(Handle::STALE)), (1, None));
    }

    #[test]
    fn a_slot_without_generations_left_is_retired() {
        let mut slots = Slots::new();
        let first = slots.add('a');
        slots.raw_mut(first.index()).unwrap().generation = u32::MAX;
        let last = slots.handle(first.index()).unwrap();

        assert_eq!(slots.remove(last), Some('a'));

        assert_ne!(slots.add('b').index(), first.index());
        assert_eq!((slots.what(last), slots.handle(first.index())), (None, None));
    }

    #[test]
    fn rounding_never_passes_the_end_of_time_nor_comes_before_the_wanted_time() {
        assert_eq!(fires_at(Micros::new(9), 3), Micros::new(16));
        assert_eq!(fires_at(Micros::new(16), 3), Micros::new(16));
        assert_eq!(fires_at(Micros::MAX, 63), Micros::MAX);
        assert_eq!(fires_at(Micros::new(u64::MAX - 1), 5), Micros::new(u64::MAX - 1));
    }
}
