//! Input, lent for one turn.

use core::mem;

/// A cursor over bytes lent for one turn.
///
/// What [`take`](Self::take) gives lives as long as the loan, not as long as the borrow of the
/// cursor: a caller may hold a payload and go on reading. The slices are mutable so that a layer
/// above can decode in place.
#[derive(Debug)]
pub struct Rx<'a> {
    buf: &'a mut [u8],
    taken: usize,
    eof: bool,
}

impl<'a> Rx<'a> {
    /// Lends `buf`; `eof` tells that the peer sends nothing after it.
    pub fn new(buf: &'a mut [u8], eof: bool) -> Self {
        Self { buf, taken: 0, eof }
    }

    /// Gives what has not been taken yet.
    pub fn peek(&self) -> &[u8] {
        self.buf
    }

    /// Gives what has not been taken yet, to be decoded in place.
    pub fn peek_mut(&mut self) -> &mut [u8] {
        self.buf
    }

    /// Takes `n` bytes off the front; all of them if there are fewer.
    pub fn take(&mut self, n: usize) -> &'a mut [u8] {
        let n = n.min(self.buf.len());
        let (front, rest) = mem::take(&mut self.buf).split_at_mut(n);
        self.buf = rest;
        self.taken += n;
        front
    }

    /// Gives how many bytes have not been taken yet.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Tells whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Gives how many bytes have been taken.
    pub fn consumed(&self) -> usize {
        self.taken
    }

    /// Tells whether the peer sends nothing after these bytes.
    pub fn eof(&self) -> bool {
        self.eof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_outlives_the_next_take() {
        let mut bytes = *b"headpayload";
        let mut rx = Rx::new(&mut bytes, true);

        let head = rx.take(4);
        let payload = rx.take(100);

        head[0] = b'H';
        assert_eq!((&*head, &*payload), (&b"Head"[..], &b"payload"[..]));
        assert_eq!((rx.consumed(), rx.len(), rx.eof()), (11, 0, true));
    }
}
