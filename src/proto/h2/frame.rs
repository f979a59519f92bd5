//! Frames: RFC 9113, sections 4.1 and 6.

use alloc::vec::Vec;

use super::{Code, Fault};

/// What a client begins with: RFC 9113, section 3.4.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's header, in bytes.
pub(super) const HEAD: usize = 9;
/// The largest payload that is taken, in bytes: SETTINGS_MAX_FRAME_SIZE as it is unless announced.
pub(super) const PAYLOAD_MAX: usize = 16_384;
/// The largest window.
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// RFC 9218, section 7.1.
pub(super) const PRIORITY_UPDATE: u8 = 0x10;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// Reads one, if it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s @ ..] = bytes.first_chunk::<HEAD>()?;
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(Self { len, kind, flags, stream: id(s) })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Gives its bytes.
    pub(super) fn bytes(self) -> [u8; HEAD] {
        let len = u32::try_from(self.len).unwrap_or(0);
        let ([_, a, b, c], [d, e, f, g]) = (len.to_be_bytes(), self.stream.to_be_bytes());
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }
}

/// Reads a stream's number; the reserved bit means nothing.
pub(super) fn id(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7FFF_FFFF
}

/// Reads four bytes at the front.
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_be_bytes(*word))
}

/// Appends a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&Head { len: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

/// Takes the padding off: RFC 9113, sections 6.1 and 6.2. Gives the rest, and how much it was.
pub(super) fn unpad(head: Head, payload: &[u8]) -> Result<(&[u8], usize), Fault> {
    if !head.has(PADDED) {
        return Ok((payload, 0));
    }
    let Some((&pad, rest)) = payload.split_first() else { return Err(PADDING) };
    let len = rest.len().checked_sub(usize::from(pad)).ok_or(PADDING)?;
    Ok((rest.get(..len).unwrap_or_default(), usize::from(pad) + 1))
}

pub(super) const PADDING: Fault =
    Fault::all(Code::Protocol, "RFC 9113, 6.1: padding is shorter than the frame");
