//! Integers with a prefix: RFC 7541, section 5.1.

use alloc::vec::Vec;

/// The largest integer that is read; none that means something is larger.
const MAX: u32 = 1 << 28;

/// Reads an integer whose prefix is the low `bits` bits of `first`; the rest of it is taken off the
/// front of `rest`. `None`: it is cut short, or larger than any that could mean something.
#[inline]
pub(super) fn read(first: u8, bits: u8, rest: &mut &[u8]) -> Option<usize> {
    let mask = (1u8 << bits).wrapping_sub(1);
    let prefix = first & mask;
    if prefix < mask {
        return Some(usize::from(prefix));
    }
    read_long(u32::from(mask), rest)
}

#[cold]
fn read_long(mut value: u32, rest: &mut &[u8]) -> Option<usize> {
    let mut shift = 0u32;
    loop {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        // Four bytes hold 28 bits; leading zeros do not make it longer.
        if shift > 21 {
            return None;
        }
        value = value.checked_add(u32::from(byte & 0x7F) << shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok().filter(|_| value <= MAX);
        }
    }
}

/// Appends `n` with a prefix of `bits` bits, below which `first` stands.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, first: u8, bits: u8, n: usize) {
    let mask = (1usize << bits) - 1;
    if n < mask {
        out.push(first | low(n));
        return;
    }
    out.push(first | low(mask));
    let mut n = n - mask;
    while n >= 0x80 {
        out.push(0x80 | low(n & 0x7F));
        n >>= 7;
    }
    out.push(low(n));
}

#[expect(clippy::cast_possible_truncation, reason = "callers mask it")]
fn low(n: usize) -> u8 {
    n as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, appendix C.1.
    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        for (n, first, bits, bytes) in [
            (10, 0b1110_0000, 5, &[0b1110_1010][..]),
            (1337, 0, 5, &[0b0001_1111, 0b1001_1010, 0b0000_1010]),
            (31, 0, 5, &[31, 0]),
        ] {
            let mut out = Vec::new();
            put(&mut out, first, bits, n);
            assert_eq!(out, bytes);
            let (first, mut rest) = bytes.split_first().unwrap();
            assert_eq!((read(*first, bits, &mut rest), rest), (Some(n), &[][..]));
        }
    }

    #[test]
    fn what_is_cut_short_or_too_large_is_none() {
        for bytes in [&[0xFF][..], &[0xFF, 0x80], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]] {
            let (first, mut rest) = bytes.split_first().unwrap();
            assert_eq!(read(*first, 7, &mut rest), None, "{bytes:?}");
        }
        let mut rest = &[0x80, 0x80, 0x80, 0x80, 0][..];
        assert_eq!(read(0x7F, 7, &mut rest), None);
    }
}
