//! Packet identifiers in use: a bitmap that grows with what is in use, 8 KiB at most.

use alloc::vec::Vec;

/// A set of identifiers from 1 to 65,535; empty, it holds no memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    words: Vec<u64>,
    used: u16,
    last: u16,
}

/// Word and bit of an identifier.
const fn place(id: u16) -> (usize, u64) {
    ((id >> 6) as usize, 1 << (id & 63))
}

impl Ids {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.used)
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Adds one; `false` if it is there, or is 0.
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        let (word, bit) = place(id);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        match self.words.get_mut(word) {
            Some(w) if id != 0 && *w & bit == 0 => {
                *w |= bit;
                self.used += 1;
                true
            }
            _ => false,
        }
    }

    /// Removes one; `false` if it is not there.
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        let (word, bit) = place(id);
        match self.words.get_mut(word) {
            Some(w) if *w & bit != 0 => {
                *w &= !bit;
                self.used -= 1;
                true
            }
            _ => false,
        }
    }

    /// Adds one that is not there: the next behind the last one given, so that one that was just
    /// given back is not given again at once. `None`: all are in use.
    pub(crate) fn take(&mut self) -> Option<u16> {
        if self.used == u16::MAX {
            return None;
        }
        // Twice what is in use is looked at: a short search, and a small map.
        let span = (usize::from(self.used) * 2).next_multiple_of(64).clamp(64, 65_536);
        let mut id = self.last;
        loop {
            id = if usize::from(id) + 1 >= span { 1 } else { id + 1 };
            if self.insert(id) {
                self.last = id;
                return Some(id);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        (1..=u16::MAX).take(self.words.len() * 64).filter(|&id| self.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_identifiers_are_given_once_and_never_0() {
        let mut ids = Ids::default();
        let mut seen = Vec::new();
        while let Some(id) = ids.take() {
            seen.push(id);
        }

        seen.sort_unstable();
        assert_eq!(seen, (1..=u16::MAX).collect::<Vec<_>>());
        assert!(ids.remove(77) && !ids.remove(77));
        assert_eq!((ids.take(), ids.take()), (Some(77), None));
        assert!(!ids.insert(0));
    }

    #[test]
    fn few_in_use_need_a_small_map_and_come_again_late() {
        let mut ids = Ids::default();
        for round in 0..1000_u16 {
            let id = ids.take().unwrap();
            assert_eq!(id, round % 63 + 1);
            ids.remove(id);
        }
        assert_eq!((ids.words.len(), ids.len()), (1, 0));
        assert!(ids.insert(9) && !ids.insert(9) && ids.contains(9));
        assert_eq!(ids.iter().collect::<Vec<_>>(), [9]);
    }
}
