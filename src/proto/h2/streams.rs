//! The streams of a connection, found by their numbers, and which have ended lately: RFC 9113,
//! section 5.1.

use alloc::vec;
use alloc::vec::Vec;

use super::priority::Priority;

/// How many that have ended are remembered.
const REMEMBERED: usize = 64;

/// One stream. It stays until it has ended both ways and whoever heard of it has let go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What the user calls it.
    pub(super) tag: u32,
    /// What we may send; below zero after the peer has lowered its setting.
    pub(super) sends: i64,
    /// What the peer may send.
    pub(super) receives: i64,
    /// What was read without being credited.
    pub(super) read: u32,
    /// What is missing of the declared body; `UNDECLARED` if nothing was.
    pub(super) missing: u64,
    pub(super) flags: u16,
    pub(super) priority: Priority,
}

/// No Content-Length.
pub(super) const UNDECLARED: u64 = u64::MAX;

/// The peer sends nothing more.
pub(super) const REMOTE_ENDED: u16 = 1;
/// We send nothing more.
pub(super) const LOCAL_ENDED: u16 = 1 << 1;
/// It was reset, by either.
pub(super) const RESET: u16 = 1 << 2;
/// It was reset by us: what was on its way is of no interest.
pub(super) const RESET_HERE: u16 = 1 << 3;
/// The user has not let go of it.
pub(super) const HELD: u16 = 1 << 4;
/// The user has something to send.
pub(super) const WANTS: u16 = 1 << 5;
/// It stands in the queue.
pub(super) const QUEUED: u16 = 1 << 6;
/// A final head has come, or gone out.
pub(super) const HEADED: u16 = 1 << 7;
/// It carries another protocol, whose parts may be of any size.
pub(super) const TUNNEL: u16 = 1 << 8;
/// The request was a HEAD.
pub(super) const HEAD_REQUEST: u16 = 1 << 9;
impl Stream {
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Nothing goes either way any more.
    pub(super) fn is_over(&self) -> bool {
        self.has(RESET) || self.flags & (REMOTE_ENDED | LOCAL_ENDED) == REMOTE_ENDED | LOCAL_ENDED
    }
}

/// What is known of a stream's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It is here.
    At(usize),
    /// It was never used.
    Idle,
    /// It has ended, lately; `true` if we have reset it.
    Over(bool),
    /// It is below one that was used, and not remembered.
    Past,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Streams {
    slab: Vec<Stream>,
    free: Vec<u32>,
    /// Numbers and places, by open addressing; a number of 0 is an empty cell.
    cells: Vec<(u32, u32)>,
    count: usize,
    /// Numbers that have ended, the top bit set for those that we have reset.
    over: [u32; REMEMBERED],
    next_over: usize,
    /// The highest number that the peer has used, and the highest of ours.
    pub(super) last_peer: u32,
    pub(super) last_own: u32,
}

const RESET_BIT: u32 = 1 << 31;

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            cells: Vec::new(),
            count: 0,
            over: [0; REMEMBERED],
            next_over: 0,
            last_peer: 0,
            last_own: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, at: usize) -> Option<&Stream> {
        self.slab.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Stream> {
        self.slab.get_mut(at)
    }

    /// Gives those that are here.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slab.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Gives those that are here.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slab.iter().filter(|stream| stream.id != 0)
    }

    /// Gives the one of that number.
    pub(super) fn by_id(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.place(id)?;
        self.slab.get_mut(at)
    }

    /// Tells what is known of a number; `own` if it is one that we give.
    pub(super) fn find(&self, id: u32, own: bool) -> Found {
        if let Some(at) = self.place(id) {
            return Found::At(at);
        }
        let last = if own { self.last_own } else { self.last_peer };
        if id > last {
            return Found::Idle;
        }
        let known = self.over.iter().find(|over| **over & !RESET_BIT == id);
        known.map_or(Found::Past, |over| Found::Over(over & RESET_BIT != 0))
    }

    /// Adds one.
    pub(super) fn insert(&mut self, stream: Stream) -> usize {
        if self.cells.len() < (self.count + 1) * 2 {
            self.grow();
        }
        self.count += 1;
        let at = match self.free.pop() {
            Some(at) => at as usize,
            None => {
                self.slab.push(stream);
                self.slab.len() - 1
            }
        };
        if let Some(place) = self.slab.get_mut(at) {
            *place = stream;
        }
        self.put_cell(stream.id, u32::try_from(at).unwrap_or(u32::MAX));
        at
    }

    /// Takes one away, and remembers how it ended.
    pub(super) fn remove(&mut self, id: u32) {
        let Some(cell) = self.cell_of(id) else { return };
        let at = self.cells.get(cell).map_or(0, |cell| cell.1);
        self.clear_cell(cell);
        self.count -= 1;
        self.free.push(at);
        let Some(stream) = self.slab.get_mut(at as usize) else { return };
        let here = if stream.has(RESET_HERE) { RESET_BIT } else { 0 };
        stream.id = 0;
        if let Some(over) = self.over.get_mut(self.next_over) {
            *over = id | here;
        }
        self.next_over = (self.next_over + 1) % REMEMBERED;
    }

    fn place(&self, id: u32) -> Option<usize> {
        let cell = self.cell_of(id)?;
        self.cells.get(cell).map(|cell| cell.1 as usize)
    }

    /// Where a number's search begins. Numbers rise by two, and a peer may leave some out: the
    /// upper half of the product depends on all of their bits.
    fn home(&self, id: u32) -> usize {
        let mixed = u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap_or(0) & (self.cells.len() - 1)
    }

    fn cell_of(&self, id: u32) -> Option<usize> {
        if self.cells.is_empty() || id == 0 {
            return None;
        }
        let mut at = self.home(id);
        loop {
            match self.cells.get(at)?.0 {
                0 => return None,
                found if found == id => return Some(at),
                _ => at = (at + 1) & (self.cells.len() - 1),
            }
        }
    }

    fn put_cell(&mut self, id: u32, place: u32) {
        let mut at = self.home(id);
        while self.cells.get(at).is_some_and(|cell| cell.0 != 0) {
            at = (at + 1) & (self.cells.len() - 1);
        }
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = (id, place);
        }
    }

    /// Empties a cell, and moves those back that had to pass it.
    fn clear_cell(&mut self, cell: usize) {
        let mask = self.cells.len() - 1;
        let (mut hole, mut at) = (cell, cell);
        loop {
            at = (at + 1) & mask;
            let Some(&(id, place)) = self.cells.get(at) else { break };
            if id == 0 {
                break;
            }
            let home = self.home(id);
            // It stays if its search begins behind the hole.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                if let Some(empty) = self.cells.get_mut(hole) {
                    *empty = (id, place);
                }
                hole = at;
            }
        }
        if let Some(empty) = self.cells.get_mut(hole) {
            *empty = (0, 0);
        }
    }

    fn grow(&mut self) {
        let size = (self.cells.len() * 2).max(8);
        let old = core::mem::replace(&mut self.cells, vec![(0, 0); size]);
        for (id, place) in old.into_iter().filter(|cell| cell.0 != 0) {
            self.put_cell(id, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn stream(id: u32) -> Stream {
        Stream {
            id,
            tag: id * 2,
            sends: 0,
            receives: 0,
            read: 0,
            missing: UNDECLARED,
            flags: 0,
            priority: Priority::DEFAULT,
        }
    }

    /// Against a map, over numbers that leave gaps.
    #[test]
    fn streams_are_found_by_their_numbers() {
        let (mut streams, mut twin) = (Streams::new(), BTreeMap::new());
        let mut random = 1u32;
        for n in 0..20_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let id = n * 2 + 1;
            if random >> 30 != 0 {
                streams.insert(stream(id));
                streams.last_peer = id;
                twin.insert(id, id * 2);
            }
            let some = twin.range(random % (id + 1)..).next().map(|(id, _)| *id);
            if let Some(gone) = some.filter(|_| twin.len() > 50) {
                twin.remove(&gone);
                streams.remove(gone);
                assert_eq!(streams.find(gone, false), Found::Over(false));
            }
            assert_eq!(streams.len(), twin.len());
            if n % 1000 == 0 {
                for (id, tag) in &twin {
                    assert_eq!(streams.by_id(*id).map(|s| s.tag), Some(*tag));
                }
            }
        }
        assert_eq!(streams.find(40_001, false), Found::Idle);
        assert_eq!(streams.iter().count(), twin.len());
    }
}
