//! A journal in memory: what a broker wrote down outlives the broker, not the program.

use core::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use lodger_backend::Journal;

/// A journal in memory. Clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal(Rc<RefCell<Vec<u8>>>);

impl MemoryJournal {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a copy of what is in it.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl Journal for MemoryJournal {
    fn name(&self) -> String {
        String::from("memory")
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.borrow();
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.borrow_mut().truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        *self.0.borrow_mut() = bytes.to_vec();
        Ok(())
    }
}
