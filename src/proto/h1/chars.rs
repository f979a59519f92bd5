//! Classes of bytes (RFC 9110, section 5.6.2; RFC 3986) and the searches that are worth a wide
//! word.

use alloc::vec::Vec;

/// Repeats a byte in each lane of a word.
const fn lanes(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// What a byte may be part of; a set of bits.
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;
const PATH: u8 = 8;

/// The class of each byte.
static CLASS: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, by a byte")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || among(b"!#$%&'*+-.^_`|~", byte) {
            class |= TOKEN;
        }
        if byte.is_ascii_graphic() && !among(b"\"#<>\\^`{|}", byte) {
            class |= TARGET;
            if byte != b'?' {
                class |= PATH;
            }
        }
        // The comma is a sub-delimiter, but in a Host it only ever joins two of them.
        if byte.is_ascii_alphanumeric() || among(b"-._~%!$&'()*+;=", byte) {
            class |= HOST;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
const fn among(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// Gives how many bytes at the front of `bytes` are in `class`. Four a round: the loop's own cost
/// is that of a byte.
#[inline]
fn run(bytes: &[u8], class: u8) -> usize {
    let (quads, tail) = bytes.as_chunks::<4>();
    let mut len = 0;
    for &[a, b, c, d] in quads {
        if !is(a, class) {
            return len;
        }
        if !is(b, class) {
            return len + 1;
        }
        if !is(c, class) {
            return len + 2;
        }
        if !is(d, class) {
            return len + 3;
        }
        len += 4;
    }
    len + tail.iter().position(|&byte| !is(byte, class)).unwrap_or(tail.len())
}

/// Gives the length of the token at the front of `bytes`.
pub(super) fn token_run(bytes: &[u8]) -> usize {
    run(bytes, TOKEN)
}

/// Gives how many bytes at the front of `bytes` may stand in a request target.
pub(crate) fn target_run(bytes: &[u8]) -> usize {
    run(bytes, TARGET)
}

/// Gives how many bytes at the front of `bytes` may stand in a request target before its query.
pub(super) fn path_run(bytes: &[u8]) -> usize {
    run(bytes, PATH)
}

/// Gives how many bytes at the front of `bytes` may stand in a registered name or IPv4 address.
pub(super) fn host_run(bytes: &[u8]) -> usize {
    run(bytes, HOST)
}

/// Tells whether `byte` may stand in a token: a method, a field name, a transfer coding.
pub(super) fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Tells whether `bytes` is a token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// Tells whether `byte` is white space within a line: SP or HTAB.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Tells whether `byte` may stand in a field value: no control character but HTAB.
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7F)
}

/// Gives the place of the first control character other than HTAB, at or after `from`.
pub(crate) fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = find_any_control(bytes, from)?;
        if bytes.get(at) != Some(&b'\t') {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Eight bytes at a time. A borrow can only make lanes above a true hit look like one, so the
/// lowest lane that is flagged is exact.
#[inline]
fn find_any_control(bytes: &[u8], from: usize) -> Option<usize> {
    let (words, tail) = bytes.get(from..)?.as_chunks::<8>();
    let mut at = from;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let low = word.wrapping_sub(lanes(0x20));
        let del = (word ^ lanes(0x7F)).wrapping_sub(lanes(1));
        let hit = (low | del) & !word & lanes(0x80);
        if hit != 0 {
            return Some(at + (hit.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    tail.iter().position(|&b| b < 0x20 || b == 0x7F).map(|n| at + n)
}

/// Takes the white space off both ends (RFC 9110, section 5.6.3).
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Gives the elements of a comma-separated list, without the white space around them.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|item| !item.is_empty())
}

/// Appends `n` in decimal, then `end`.
pub(super) fn put_decimal(out: &mut Vec<u8>, n: u64, end: [u8; 2]) {
    let [e1, e2] = end;
    let mut text = [0; 22];
    let mut rest = n;
    let mut start = 20;
    let (digits, tail) = text.split_at_mut(20);
    tail.copy_from_slice(&[e1, e2]);
    for slot in digits.iter_mut().rev() {
        // The remainder of a division by ten is one digit.
        *slot = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(text.get(start..).unwrap_or(&[]));
}

/// Appends `n` in hexadecimal.
pub(super) fn put_hex(out: &mut Vec<u8>, n: u64) {
    let digits = (64 - n.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let nibble = u32::try_from((n >> (place * 4)) & 15).unwrap_or(0);
        out.push(char::from_digit(nibble, 16).map_or(b'0', |c| c as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The naive twin of the wide search.
    fn naive(bytes: &[u8], from: usize) -> Option<usize> {
        (from..bytes.len()).find(|&at| !is_value_byte(bytes[at]))
    }

    #[test]
    fn the_wide_search_finds_what_the_naive_one_finds() {
        for byte in 0..=255 {
            for place in 0..19 {
                for filler in [b'a', b'\t', 0x80, 0xFF, b' ', 0x7E, 0xA0] {
                    let mut bytes = [filler; 19];
                    bytes[place] = byte;
                    for from in [0, 3, 18, 19] {
                        assert_eq!(find_control(&bytes, from), naive(&bytes, from), "{bytes:x?}");
                    }
                }
            }
        }
        assert_eq!(find_control(b"abc", 4), None);
    }

    #[test]
    fn numbers_are_written_as_std_writes_them() {
        for n in [0, 1, 9, 10, 15, 16, 255, 256, 65_535, 1 << 32, u64::MAX] {
            let (mut decimal, mut hex) = (Vec::new(), Vec::new());
            put_decimal(&mut decimal, n, *b"\r\n");
            put_hex(&mut hex, n);
            assert_eq!(decimal, std::format!("{n}\r\n").as_bytes());
            assert_eq!(hex, std::format!("{n:x}").as_bytes());
        }
    }

    #[test]
    fn classes_follow_the_grammars() {
        let size = |class| (0..=255).filter(|&b| is(b, class)).count();
        assert_eq!([TOKEN, TARGET, PATH, HOST].map(size), [77, 84, 83, 77]);
        for len in 0..12 {
            let text = [&b"abcdefghijkl"[..len], b":", b"abcdefgh"].concat();
            assert_eq!((token_run(&text), token_run(&text[..len])), (len, len));
        }
        assert_eq!(trim(b" \t a b\t"), b"a b");
        assert_eq!(list(b"a, ,b ,").collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
