//! Output: built in a turn, sent once, the rest kept in a pooled queue.

use alloc::vec::Vec;

#[cfg(feature = "deflate")]
use super::deflate::Engines;

/// What a pooled buffer starts with, in bytes.
const BLOCK: usize = 4 << 10;
/// A buffer that has grown beyond this is freed, not pooled.
const KEEP: usize = 64 << 10;
/// What engines may hold unless it is said otherwise, in bytes.
#[cfg(feature = "deflate")]
const ENGINES: usize = 64 << 20;

/// A connection's queued output. Empty, it holds no memory.
#[derive(Debug, Default)]
pub struct Out {
    buf: Vec<u8>,
    sent: usize,
}

impl Out {
    /// Makes an empty queue.
    pub const fn new() -> Self {
        Self { buf: Vec::new(), sent: 0 }
    }

    /// Gives how many bytes wait.
    pub fn len(&self) -> usize {
        self.buf.len() - self.sent
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives what waits, in the order it was put.
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(self.sent..).unwrap_or(&[])
    }

    /// Forgets the first `n` bytes: they were sent. Once empty, the buffer goes back to `pool`.
    pub fn advance(&mut self, n: usize, pool: &mut Pool) {
        self.sent = (self.sent + n).min(self.buf.len());
        if self.sent == self.buf.len() {
            self.clear(pool);
        } else if self.sent >= KEEP && self.sent >= self.buf.len() / 2 {
            self.buf.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Forgets everything; the buffer goes back to `pool`.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.sent = 0;
        if self.buf.capacity() > 0 {
            pool.put(core::mem::take(&mut self.buf));
        }
    }
}

/// Buffers kept between turns for all connections of a loop, bounded in bytes.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Vec<u8>>,
    held: usize,
    max: usize,
    #[cfg(feature = "deflate")]
    engines: Engines,
}

impl Pool {
    /// Makes a pool that keeps at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            free: Vec::new(),
            held: 0,
            max,
            #[cfg(feature = "deflate")]
            engines: Engines::new(ENGINES),
        }
    }

    /// Sets how many bytes all that compresses and expands may hold together. Default 64 MiB.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn engines_within(mut self, max: usize) -> Self {
        self.engines = Engines::new(max);
        self
    }

    /// Gives the bytes that all of it holds, in use or not.
    #[cfg(feature = "deflate")]
    pub(crate) fn engines_held(&self) -> usize {
        self.engines.held()
    }

    /// Gives what compresses and expands.
    #[cfg(feature = "deflate")]
    pub(crate) fn engines(&mut self) -> &mut Engines {
        &mut self.engines
    }

    /// Gives an empty buffer with room for at least 4 KiB.
    pub fn take(&mut self) -> Vec<u8> {
        match self.free.pop() {
            Some(buf) => {
                self.held -= buf.capacity();
                buf
            }
            None => Vec::with_capacity(BLOCK),
        }
    }

    /// Takes a buffer back; frees it if it is too large or the pool is full.
    pub fn put(&mut self, mut buf: Vec<u8>) {
        let size = buf.capacity();
        if (BLOCK..=KEEP).contains(&size) && self.held + size <= self.max {
            buf.clear();
            self.held += size;
            self.free.push(buf);
        }
    }
}

/// Output being built in a turn: appends to a connection's queue, whose buffer is attached with
/// the first byte.
#[derive(Debug)]
pub struct Tx<'p> {
    out: &'p mut Out,
    pool: &'p mut Pool,
}

impl<'p> Tx<'p> {
    /// Joins a queue and the pool that feeds it.
    pub fn new(out: &'p mut Out, pool: &'p mut Pool) -> Self {
        Self { out, pool }
    }

    /// Gives how many bytes wait in the queue, these included.
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    /// Appends `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        self.buf(bytes.len()).extend_from_slice(bytes);
    }

    /// Appends a header and its payload.
    pub fn put2(&mut self, head: &[u8], payload: &[u8]) {
        let buf = self.buf(head.len() + payload.len());
        buf.extend_from_slice(head);
        buf.extend_from_slice(payload);
    }

    /// Lends the same pool for another queue.
    #[cfg(all(feature = "h2", feature = "std"))]
    pub(crate) fn onto<'b>(&'b mut self, out: &'b mut Out) -> Tx<'b> {
        Tx { out, pool: self.pool }
    }

    /// Gives the pool that feeds the queue.
    #[cfg(feature = "deflate")]
    pub(crate) fn pool(&mut self) -> &mut Pool {
        self.pool
    }

    /// Gives the buffer, with room for `more` bytes, to be appended to (and only that).
    pub fn buf(&mut self, more: usize) -> &mut Vec<u8> {
        if self.out.buf.capacity() == 0 {
            self.out.buf = self.pool.take();
        }
        self.out.buf.reserve(more);
        &mut self.out.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_holds_no_memory_and_the_buffer_is_used_again() {
        let mut pool = Pool::new(1 << 20);
        let mut out = Out::new();

        Tx::new(&mut out, &mut pool).put2(b"ab", b"cd");
        assert_eq!(out.bytes(), b"abcd");
        out.advance(1, &mut pool);
        assert_eq!((out.bytes(), out.len()), (&b"bcd"[..], 3));
        out.advance(3, &mut pool);

        assert_eq!((out.buf.capacity(), pool.free.len()), (0, 1));
        Tx::new(&mut out, &mut pool).put(b"x");
        assert_eq!(pool.free.len(), 0);
    }

    #[test]
    fn the_pool_is_bounded_and_keeps_no_giants() {
        let mut pool = Pool::new(10_000);
        for size in [BLOCK, BLOCK, BLOCK, KEEP + 1, 10] {
            pool.put(Vec::with_capacity(size));
        }
        assert_eq!((pool.free.len(), pool.held), (2, 2 * BLOCK));
    }
}
