//! The Huffman code: RFC 7541, section 5.2 and appendix B.
//!
//! The code is canonical: codes of one length are consecutive in the order of their symbols, so
//! that the lengths alone define it. Everything below is made of them by the compiler.

use alloc::vec::Vec;

/// How long each symbol's code is, in bits; the last is the end of the string.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SYMBOLS: usize = 257;
const LONGEST: usize = 30;
/// Codes up to this length are found by one look into a table.
const FAST_BITS: u32 = 10;

/// A symbol's code, in the low bits, and its length.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    len: u8,
}

/// The code turned around.
struct Codes {
    /// By symbol.
    codes: [Code; SYMBOLS],
    /// Symbols in the order of their codes.
    order: [u16; SYMBOLS],
    /// By length: the first code above all of it, moved to the top of 32 bits.
    above: [u64; LONGEST + 1],
    /// By length: what a code of it minus its place in `order` is.
    base: [u32; LONGEST + 1],
    /// By the first bits: symbol and length; length 0 for a longer code.
    fast: [(u8, u8); 1 << FAST_BITS],
}

static CODES: Codes = codes();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "at compile time")]
const fn codes() -> Codes {
    let mut made = Codes {
        codes: [Code { bits: 0, len: 0 }; SYMBOLS],
        order: [0; SYMBOLS],
        above: [0; LONGEST + 1],
        base: [0; LONGEST + 1],
        fast: [(0, 0); 1 << FAST_BITS],
    };
    let (mut bits, mut place, mut len) = (0u32, 0usize, 1usize);
    while len <= LONGEST {
        bits <<= 1;
        made.base[len] = bits.wrapping_sub(place as u32);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                made.codes[symbol] = Code { bits, len: len as u8 };
                made.order[place] = symbol as u16;
                if len <= FAST_BITS as usize {
                    let spare = FAST_BITS as usize - len;
                    let mut at = (bits as usize) << spare;
                    while at < (bits as usize + 1) << spare {
                        made.fast[at] = (symbol as u8, len as u8);
                        at += 1;
                    }
                }
                bits += 1;
                place += 1;
            }
            symbol += 1;
        }
        made.above[len] = (bits as u64) << (32 - len);
        len += 1;
    }
    made
}

/// What is wrong with a string.
pub(super) const BROKEN: &str =
    "RFC 7541, 5.2: padding is the start of the end of string, shorter than a byte";

/// Appends what `coded` stands for. On an error what was appended is to be dropped.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    // No code is shorter than five bits.
    out.reserve(coded.len() + coded.len() / 5 * 3 + 3);
    // Bits that wait, from the top down, and how many.
    let (mut bits, mut have) = (0u64, 0u32);
    let mut rest = coded;
    loop {
        while have <= 56
            && let Some((&byte, behind)) = rest.split_first()
        {
            bits |= u64::from(byte) << (56 - have);
            have += 8;
            rest = behind;
        }
        let (symbol, len) = symbol(bits);
        if len > have {
            break;
        }
        let Ok(symbol) = u8::try_from(symbol) else { return Err(BROKEN) };
        out.push(symbol);
        bits <<= len;
        have -= len;
    }
    let padded = have < 8 && bits == !(u64::MAX >> have);
    if padded { Ok(()) } else { Err(BROKEN) }
}

/// Gives the symbol at the top of `bits`, and how long its code is.
#[inline]
fn symbol(bits: u64) -> (u16, u32) {
    let first = (bits >> (64 - FAST_BITS)) as usize;
    match CODES.fast.get(first) {
        Some(&(symbol, len)) if len != 0 => (u16::from(symbol), u32::from(len)),
        _ => long_symbol(bits >> 32),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "cut to the bits that count")]
fn long_symbol(top: u64) -> (u16, u32) {
    for (len, (&above, &base)) in (0u32..).zip(CODES.above.iter().zip(&CODES.base)) {
        if len > FAST_BITS && top < above {
            let code = (top >> (32 - len)) as u32;
            let place = code.wrapping_sub(base) as usize;
            return (CODES.order.get(place).copied().unwrap_or(256), len);
        }
    }
    // Thirty ones and more: the end of the string.
    (256, LONGEST as u32)
}

/// Gives how many bytes `text` takes.
pub(super) fn len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(code(byte).len)).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`, padded with ones.
#[expect(clippy::cast_possible_truncation, reason = "bytes are taken off from the top")]
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0u64, 0u32);
    for &byte in text {
        let code = code(byte);
        bits = bits << code.len | u64::from(code.bits);
        have += u32::from(code.len);
        while have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    if have > 0 {
        let spare = 8 - have;
        out.push((bits << spare) as u8 | (0xFF >> have));
    }
}

#[expect(clippy::indexing_slicing, reason = "a byte is below the number of symbols")]
fn code(byte: u8) -> Code {
    CODES.codes[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, appendix C.4 and B.
    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        for (text, coded) in [
            (&b"www.example.com"[..], &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..]),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"302", b"\x64\x02"),
            (b"", b""),
        ] {
            let (mut out, mut back) = (Vec::new(), Vec::new());
            encode(text, &mut out);
            assert_eq!((&*out, len(text)), (coded, coded.len()));
            decode(coded, &mut back).unwrap();
            assert_eq!(back, text);
        }
        assert_eq!((code(b'\n').bits, code(0).bits), (0x3FFF_FFFC, 0x1FF8));
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for cut in 0..all.len() {
            let (mut out, mut back) = (Vec::new(), Vec::new());
            encode(&all[cut..], &mut out);
            decode(&out, &mut back).unwrap();
            assert_eq!(back, &all[cut..]);
        }
    }

    /// RFC 7541, section 5.2: not a byte of padding, no other padding, no end of string.
    #[test]
    fn bad_padding_and_an_end_of_string_are_errors() {
        for bad in [&b"\x64\x02\xff"[..], b"\x18", b"\x1e", b"\xff\xff\xff\xff", b"\xff"] {
            assert_eq!(decode(bad, &mut Vec::new()), Err(BROKEN), "{bad:?}");
        }
        assert_eq!(decode(b"\x1f", &mut Vec::new()), Ok(()));
    }
}
