//! Numbers, strings and binary data: MQTT 5.0, section 1.5.

use alloc::vec::Vec;

use super::Code;

/// What is wrong with a packet: the code for the peer, and the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bad {
    pub(crate) code: Code,
    pub(crate) rule: &'static str,
}

pub(crate) const fn malformed(rule: &'static str) -> Bad {
    Bad { code: Code::MALFORMED_PACKET, rule }
}

pub(crate) const fn protocol(rule: &'static str) -> Bad {
    Bad { code: Code::PROTOCOL_ERROR, rule }
}

/// What there is to read ends too early. Of a packet that is still arriving it may yet come.
pub(crate) const SHORT: Bad = malformed("MQTT 5.0, 1.2: a field that the packet has no room for");

/// A cursor over a packet, or over the part of it that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Gives all that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Bad> {
        let (front, rest) = self.rest.split_at_checked(n).ok_or(SHORT)?;
        self.rest = rest;
        Ok(front)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Bad> {
        let (&byte, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Bad> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Bad> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Section 1.5.5: the fewest bytes that hold the value.
    pub(crate) fn varint(&mut self) -> Result<u32, Bad> {
        match varint(self.rest) {
            Varint::Is { value, len, minimal: true } => {
                self.take(len)?;
                Ok(value)
            }
            Varint::Is { .. } => Err(malformed("MQTT 5.0, 1.5.5: an integer longer than needed")),
            Varint::Short => Err(SHORT),
            Varint::Long => Err(TOO_LONG),
        }
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Bad> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, Bad> {
        text(self.binary()?)
    }
}

/// Section 1.5.4: UTF-8 without U+0000. Surrogates are no UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Bad> {
    let text = core::str::from_utf8(bytes)
        .map_err(|_| malformed("MQTT 5.0, 1.5.4: a string that is not UTF-8"))?;
    if bytes.contains(&0) {
        return Err(malformed("MQTT 5.0, 1.5.4: a string with U+0000"));
    }
    Ok(text)
}

pub(crate) const TOO_LONG: Bad = malformed("MQTT 5.0, 1.5.5: an integer of more than four bytes");

/// A variable byte integer at the front of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Varint {
    /// Its end has not arrived.
    Short,
    /// It has more than four bytes.
    Long,
    Is {
        value: u32,
        len: usize,
        minimal: bool,
    },
}

/// Reads a variable byte integer: section 1.5.5.
#[inline]
pub(crate) fn varint(bytes: &[u8]) -> Varint {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Varint::Is { value, len: i + 1, minimal: byte != 0 || i == 0 };
        }
    }
    if bytes.len() < 4 { Varint::Short } else { Varint::Long }
}

/// The largest value of a variable byte integer, and so the longest rest of a packet.
pub(crate) const VARINT_MAX: u32 = 268_435_455;

/// How many bytes a variable byte integer has.
pub(crate) const fn varint_len(n: u32) -> usize {
    match n {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x001F_FFFF => 3,
        _ => 4,
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u32) {
    loop {
        let byte = (n & 0x7F) as u8;
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Appends bytes with their length; what is over 65,535 of them is left out, which callers check
/// for before.
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MQTT 5.0, table 1-1.
    #[test]
    fn integers_have_one_to_four_bytes() {
        let table: [(u32, &[u8]); 8] = [
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (VARINT_MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in table {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(out.len(), varint_len(value));
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), Varint::Short);
        }
    }

    #[test]
    fn longer_than_needed_or_than_four_bytes_is_malformed() {
        assert!(Reader::new(&[0x80, 0x00]).varint().is_err());
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80]), Varint::Long);
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x01]), Varint::Long);
    }

    #[test]
    fn strings_are_utf_8_without_nul() {
        assert_eq!(Reader::new(b"\0\x02\xC3\xA9").string(), Ok("\u{e9}"));
        assert!(Reader::new(b"\0\x01\0").string().is_err());
        assert!(Reader::new(b"\0\x03\xED\xA0\x80").string().is_err(), "a surrogate");
        assert!(Reader::new(b"\0\x03ab").string().is_err(), "too short");
    }
}
