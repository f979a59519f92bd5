//! A table that never moves what it holds: growth costs one page, not a copy of everything, so
//! that no connection makes the host stutter.

use std::boxed::Box;
use std::vec::Vec;

const PAGE: usize = 64;

/// Values by index, in pages of 64. An index is given out again after `free`.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Box<[T; PAGE]>>,
    free: Vec<u32>,
}

impl<T: Default> Pages<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new() }
    }

    /// Gives the index of an unused place; the value there is whatever `free` left.
    pub(crate) fn alloc(&mut self) -> u32 {
        if self.free.is_empty() {
            self.grow();
        }
        self.free.pop().unwrap_or_default()
    }

    /// Returns a place that `alloc` gave.
    pub(crate) fn free(&mut self, index: u32) {
        self.free.push(index);
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.pages.get(index as usize / PAGE).and_then(|page| page.get(index as usize % PAGE))
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let page = self.pages.get_mut(index as usize / PAGE)?;
        page.get_mut(index as usize % PAGE)
    }

    /// One more than the largest index ever given.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.pages.len() * PAGE).unwrap_or(u32::MAX)
    }

    fn grow(&mut self) {
        let first = self.end();
        let page: Vec<T> = (0..PAGE).map(|_| T::default()).collect();
        if let Ok(page) = page.into_boxed_slice().try_into() {
            self.pages.push(page);
        }
        self.free.extend((first..self.end()).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_dense_and_come_again() {
        let mut pages: Pages<u64> = Pages::new();
        let all: Vec<u32> = (0..130).map(|_| pages.alloc()).collect();
        assert_eq!((all[0], all[129], pages.end()), (0, 129, 192));

        pages.free(64);

        assert_eq!(pages.alloc(), 64);
        assert!(pages.get(192).is_none());
    }
}
