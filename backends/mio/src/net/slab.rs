//! Open descriptors by index and generation, so that a stale [`Sock`] names nothing.

use std::os::fd::OwnedFd;

use lodger_backend::Sock;

/// Eight bytes a socket; a freed index is used again under its next generation.
#[derive(Debug, Default)]
pub(super) struct Slab {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    fd: Option<OwnedFd>,
}

impl Slab {
    /// Keeps `fd` and names it.
    pub(super) fn insert(&mut self, fd: OwnedFd) -> Sock {
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            entry.fd = Some(fd);
            return name(index, entry.generation);
        }
        // Descriptors are `i32`, so there are never more entries than a `u32` counts.
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { generation: 1, fd: Some(fd) });
        name(index, 1)
    }

    /// Gives the descriptor that `sock` names.
    #[inline]
    pub(super) fn get(&self, sock: Sock) -> Option<&OwnedFd> {
        let (index, generation) = split(sock);
        let entry = self.entries.get(index as usize)?;
        if entry.generation != generation {
            return None;
        }
        entry.fd.as_ref()
    }

    /// Takes the descriptor out. The name is stale from now on.
    pub(super) fn remove(&mut self, sock: Sock) -> Option<OwnedFd> {
        let (index, generation) = split(sock);
        let entry = self.entries.get_mut(index as usize)?;
        if entry.generation != generation {
            return None;
        }
        let fd = entry.fd.take()?;
        entry.generation = generation.wrapping_add(1);
        self.free.push(index);
        Some(fd)
    }
}

fn name(index: u32, generation: u32) -> Sock {
    Sock::from_bits(u64::from(index) | u64::from(generation) << 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
fn split(sock: Sock) -> (u32, u32) {
    (sock.bits() as u32, (sock.bits() >> 32) as u32)
}
