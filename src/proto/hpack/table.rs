//! The dynamic table: RFC 7541, sections 2.3.2 and 4. Names and values are in one ring of bytes,
//! which is taken when the first entry goes in.
//!
//! Invariant: `size` is the sum of the entries' bytes and of 32 for each, and at most `max`, which
//! is at most `cap`; so the bytes fit into a ring of `cap`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::FIELD_OVERHEAD;

/// Where one entry is in the bytes of its table, this one or the static one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: u32,
    /// Of name and value together.
    pub(super) len: u32,
    /// Of the name.
    pub(super) name: u32,
    /// What its name is known as.
    pub(super) known: u8,
}

impl Entry {
    fn len(self) -> usize {
        self.len as usize
    }

    /// Gives the name and the value as one run of the bytes that it is in, unless these end within
    /// it: the ring goes on at its front.
    #[inline]
    pub(super) fn run(self, bytes: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        bytes.get(start..start + self.len())
    }
}

/// A dynamic table.
#[derive(Debug)]
pub(super) struct Table {
    ring: Box<[u8]>,
    /// The newest is the first.
    entries: VecDeque<Entry>,
    /// Where the next entry begins in the ring.
    end: usize,
    size: usize,
    max: usize,
    cap: usize,
}

impl Table {
    /// Makes an empty one of at most `cap` bytes.
    pub(super) fn new(cap: usize) -> Self {
        Self { ring: Box::default(), entries: VecDeque::new(), end: 0, size: 0, max: cap, cap }
    }

    /// Gives the bound that `max` may be set up to.
    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    /// Gives the bound in force.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Raises or lowers the bound of `max`. What is in it stays, as far as it fits.
    pub(super) fn set_cap(&mut self, cap: usize) {
        if self.max > cap {
            self.set_max(cap);
        }
        self.cap = cap;
        if !self.ring.is_empty() && self.ring.len() < cap {
            self.move_into(cap);
        }
    }

    /// Sets the bound, at most `cap`, and drops what does not fit.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max.min(self.cap);
        self.evict(self.max);
    }

    /// Gives how many entries there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives an entry; 0 is the newest.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Gives the bytes that entries are in.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.ring
    }

    /// Appends the name and the value of an entry.
    #[inline]
    pub(super) fn copy(&self, entry: Entry, out: &mut Vec<u8>) {
        self.copy_run(entry.start as usize, entry.len(), out);
    }

    /// Appends the name of an entry.
    pub(super) fn copy_name(&self, entry: Entry, out: &mut Vec<u8>) {
        self.copy_run(entry.start as usize, entry.name as usize, out);
    }

    #[inline]
    fn copy_run(&self, start: usize, len: usize, out: &mut Vec<u8>) {
        match self.ring.get(start..start + len) {
            Some(run) => out.extend_from_slice(run),
            None => self.copy_around(start, len, out),
        }
    }

    /// Of one that begins at the end of the ring and goes on at its front.
    #[cold]
    fn copy_around(&self, start: usize, len: usize, out: &mut Vec<u8>) {
        let first = self.ring.get(start..).unwrap_or_default();
        out.extend_from_slice(first);
        let rest = self.ring.get(..len.saturating_sub(first.len())).unwrap_or_default();
        out.extend_from_slice(rest);
    }

    /// Tells whether the bytes from `offset` of an entry on are `bytes`.
    fn is_run(&self, start: usize, bytes: &[u8]) -> bool {
        let start = if start >= self.ring.len() { start - self.ring.len() } else { start };
        match self.ring.get(start..start + bytes.len()) {
            Some(run) => run == bytes,
            None => {
                let first = self.ring.get(start..).unwrap_or_default();
                let (a, b) = bytes.split_at(first.len().min(bytes.len()));
                first == a && self.ring.get(..b.len()) == Some(b)
            }
        }
    }

    /// Finds the newest entry with that name and value.
    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.name as usize == name.len()
                && entry.len() == name.len() + value.len()
                && self.is_run(entry.start as usize + name.len(), value)
                && self.is_run(entry.start as usize, name)
        })
    }

    /// Finds the newest entry with that name.
    pub(super) fn find_name(&self, name: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.name as usize == name.len() && self.is_run(entry.start as usize, name)
        })
    }

    /// Puts a field in as the newest, and drops the oldest as far as needed. One that is larger
    /// than the table empties it and is not put in: RFC 7541, section 4.4.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], known: u8) {
        let len = name.len() + value.len();
        let need = len + FIELD_OVERHEAD;
        self.evict(self.max.saturating_sub(need));
        if need > self.max {
            return;
        }
        if self.ring.is_empty() {
            self.ring = vec![0; self.cap].into_boxed_slice();
        }
        let start = if self.end >= self.ring.len() { 0 } else { self.end };
        self.put(start, name);
        let second = (start + name.len()) % self.ring.len();
        self.put(second, value);
        self.end = (start + len) % self.ring.len();
        self.size += need;
        let small = |n: usize| u32::try_from(n).unwrap_or(0);
        let (start, len, name) = (small(start), small(len), small(name.len()));
        self.entries.push_front(Entry { start, len, name, known });
    }

    fn put(&mut self, start: usize, bytes: &[u8]) {
        let first = bytes.len().min(self.ring.len() - start);
        let (a, b) = bytes.split_at(first);
        if let Some(run) = self.ring.get_mut(start..start + a.len()) {
            run.copy_from_slice(a);
        }
        if let Some(run) = self.ring.get_mut(..b.len()) {
            run.copy_from_slice(b);
        }
    }

    /// Drops the oldest entries until the size is at most `room`.
    fn evict(&mut self, room: usize) {
        while self.size > room {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.len() + FIELD_OVERHEAD;
        }
    }

    /// Moves everything into a ring of another size.
    fn move_into(&mut self, size: usize) {
        let mut bytes = Vec::with_capacity(size);
        let mut entries = core::mem::take(&mut self.entries);
        for entry in entries.iter_mut().rev() {
            let start = bytes.len();
            self.copy(*entry, &mut bytes);
            entry.start = u32::try_from(start).unwrap_or(0);
        }
        self.end = bytes.len();
        bytes.resize(size, 0);
        self.ring = bytes.into_boxed_slice();
        self.entries = entries;
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;

    use super::*;

    fn all(table: &Table) -> Vec<String> {
        (0..table.len())
            .map(|at| {
                let mut bytes = Vec::new();
                table.copy(*table.get(at).unwrap(), &mut bytes);
                String::from_utf8(bytes).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_table_without_entries_holds_no_ring() {
        let mut table = Table::new(4096);
        table.set_max(100);
        assert_eq!((table.ring.len(), table.entries.capacity()), (0, 0));
        table.insert(b"a", b"b", 0);
        assert_eq!(table.ring.len(), 4096);
    }

    /// A naive twin that keeps whole strings.
    #[test]
    fn entries_survive_the_ring_coming_round() {
        let (mut table, mut twin) = (Table::new(160), VecDeque::new());
        for n in 0..400usize {
            let (name, value) = (format!("n{}", n % 7), "v".repeat(n * 7 % 60));
            table.insert(name.as_bytes(), value.as_bytes(), 0);
            twin.push_front(format!("{name}{value}"));
            let size = |twin: &VecDeque<String>| -> usize {
                twin.iter().map(|text| text.len() + FIELD_OVERHEAD).sum()
            };
            while size(&twin) > 160 {
                twin.pop_back();
            }
            assert_eq!(all(&table), Vec::from(twin.clone()));
            let at = table.find(name.as_bytes(), value.as_bytes());
            assert_eq!(at, Some(0).filter(|_| !twin.is_empty()));
        }
        table.set_cap(4096);
        assert_eq!(all(&table), Vec::from(twin));
        table.set_cap(40);
        assert_eq!((table.len() <= 1, table.max()), (true, 40));
    }

    /// RFC 7541, section 4.4.
    #[test]
    fn a_field_that_is_too_large_empties_the_table() {
        let mut table = Table::new(100);
        table.insert(b"a", b"b", 0);
        table.insert(b"a", &[b'x'; 100], 0);
        assert_eq!((table.len(), table.size), (0, 0));
    }
}
