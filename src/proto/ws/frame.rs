//! Frame headers: RFC 6455, section 5.2.
//!
//! In: the begin of a frame. Out: its header, or the rule that it breaks, both as soon as the
//! bytes that decide are there. The other way round: a header and its payload into the output.

use alloc::vec::Vec;

use super::{Kind, Message, Role, mask};
use crate::io::Tx;

/// The first header bit: the message ends with this frame.
pub(super) const FIN: u8 = 0x80;
/// The bits that only an extension may set (RFC 6455, section 5.2).
const RSV: u8 = 0x70;
/// The one that begins a compressed message (RFC 7692, section 6).
pub(super) const PACKED: u8 = 0x40;
/// The most that a header is: two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;
/// The most payload that a control frame has (RFC 6455, section 5.5).
pub(super) const CONTROL_MAX: usize = 125;

/// What a frame is (RFC 6455, section 11.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Op {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Op {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// A frame's header. The payload is in no way there yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) fin: bool,
    /// It begins a compressed message.
    pub(super) packed: bool,
    pub(super) op: Op,
    /// The key of a frame from a client; zero for one from a server.
    pub(super) mask: [u8; 4],
    /// The payload's length.
    pub(super) len: u64,
    /// The header's length, 2 to 14.
    pub(super) size: usize,
}

impl Head {
    /// Tells whether `there` bytes, header included, are the whole frame.
    pub(super) fn is_whole_in(&self, there: usize) -> bool {
        there.checked_sub(self.size).is_some_and(|payload| payload as u64 >= self.len)
    }
}

/// Reads the header at the front of `bytes`, sent to `role`; `None` if more bytes must decide.
/// `packs`: permessage-deflate was agreed on.
///
/// # Errors
///
/// The rule that the header breaks. Each ends the connection with code 1002.
pub(super) fn parse(bytes: &[u8], role: Role, packs: bool) -> Result<Option<Head>, &'static str> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let op = check_first(first, packs)?;
    let masked = role == Role::Server;
    if (second & 0x80 != 0) != masked {
        return Err("RFC 6455, 5.1: frames from clients, and only those, are masked");
    }
    let (fin, packed) = (first & FIN != 0, first & PACKED != 0);
    let short = second & 0x7f;
    if op.is_control() && (!fin || usize::from(short) > CONTROL_MAX) {
        return Err("RFC 6455, 5.5: a control frame is one frame of at most 125 bytes");
    }
    let Some((len, rest)) = read_len(short, rest)? else { return Ok(None) };
    let mut head = Head { fin, packed, op, mask: [0; 4], len, size: bytes.len() - rest.len() };
    if masked {
        let Some(key) = rest.first_chunk() else { return Ok(None) };
        head.mask = *key;
        head.size += 4;
    }
    Ok(Some(head))
}

/// Checks the first byte. The first frame of a message has the one bit that an extension uses.
fn check_first(first: u8, packs: bool) -> Result<Op, &'static str> {
    let op = Op::from_bits(first & 0x0f);
    let begins = matches!(op, Some(Op::Text | Op::Binary));
    if first & RSV != 0 && !(packs && begins && first & RSV == PACKED) {
        return Err("RFC 6455, 5.2: a reserved bit is set without an extension");
    }
    op.ok_or("RFC 6455, 5.2: reserved opcode")
}

type Len<'b> = Result<Option<(u64, &'b [u8])>, &'static str>;

/// Reads the length that `short` begins; gives it and what lies behind it.
fn read_len(short: u8, rest: &[u8]) -> Len<'_> {
    let (len, least, rest) = match short {
        126 => {
            let Some((long, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*long)), 126, rest)
        }
        127 => {
            let Some((long, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*long), 1 << 16, rest)
        }
        _ => (u64::from(short), 0, rest),
    };
    if len < least {
        return Err("RFC 6455, 5.2: a length is in the fewest bytes that hold it");
    }
    if len >> 63 != 0 {
        return Err("RFC 6455, 5.2: the highest bit of a 64-bit length is 0");
    }
    Ok(Some((len, rest)))
}

/// Appends a frame. `first` is FIN, reserved bits and opcode; a client's frame has a `key`.
#[inline]
pub(super) fn put(tx: &mut Tx<'_>, first: u8, payload: &[u8], key: Option<[u8; 4]>) {
    match (key, u8::try_from(payload.len())) {
        (None, Ok(short @ ..=125)) => tx.put2(&[first, short], payload),
        _ => put_long(tx, first, payload, key),
    }
}

#[inline(never)]
fn put_long(tx: &mut Tx<'_>, first: u8, payload: &[u8], key: Option<[u8; 4]>) {
    let buf = tx.buf(HEAD_MAX + payload.len());
    put_head(buf, first, if key.is_some() { 0x80 } else { 0 }, payload.len());
    let Some(key) = key else { return buf.extend_from_slice(payload) };
    buf.extend_from_slice(&key);
    let at = buf.len();
    buf.extend_from_slice(payload);
    if let Some(payload) = buf.get_mut(at..) {
        mask::apply(payload, key);
    }
}

/// Appends the first two bytes and the length.
fn put_head(buf: &mut Vec<u8>, first: u8, masked: u8, len: usize) {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..=125), _) => buf.extend_from_slice(&[first, masked | short]),
        (_, Ok(len)) => {
            buf.extend_from_slice(&[first, masked | 126]);
            buf.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            buf.extend_from_slice(&[first, masked | 127]);
            buf.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a whole message as a server sends it: one frame, not masked, the same for every peer.
pub fn put_message(buf: &mut Vec<u8>, message: Message<'_>) {
    let payload = message.bytes();
    let op = match message.kind() {
        Kind::Text => Op::Text,
        Kind::Binary => Op::Binary,
    };
    buf.reserve(HEAD_MAX + payload.len());
    put_head(buf, FIN | op as u8, 0, payload.len());
    buf.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::{FIN, Op, Role, parse, put};
    use crate::io::{Out, Pool, Tx};

    fn framed(len: usize, key: Option<[u8; 4]>) -> Vec<u8> {
        let (mut out, mut pool) = (Out::new(), Pool::new(1 << 20));
        put(&mut Tx::new(&mut out, &mut pool), FIN | 2, &vec![7; len], key);
        out.bytes().to_vec()
    }

    /// RFC 6455, 5.2: each form of the length at its edges, both roles.
    #[test]
    fn what_is_written_is_read_back() {
        let key = [9, 8, 7, 6];
        for (len, size) in
            [(0, 2), (125, 2), (126, 4), (127, 4), (0xffff, 4), (0x1_0000, 10), (70_000, 10)]
        {
            let plain = framed(len, None);
            let head = parse(&plain, Role::Client, false).unwrap().unwrap();
            assert_eq!((head.size, head.len, plain.len()), (size, len as u64, size + len));
            assert!(plain[size..].iter().all(|&b| b == 7));

            let masked = framed(len, Some(key));
            let head = parse(&masked, Role::Server, false).unwrap().unwrap();
            assert_eq!((head.size, head.len, head.mask), (size + 4, len as u64, key));
            assert_eq!((head.fin, head.op), (true, Op::Binary));
            let mut payload = masked[size + 4..].to_vec();
            super::mask::apply(&mut payload, key);
            assert!(payload.iter().all(|&b| b == 7));
        }
    }

    #[test]
    fn a_header_waits_for_the_bytes_it_needs() {
        for len in [5, 200, 70_000] {
            let bytes = framed(len, Some([1, 2, 3, 4]));
            let size = bytes.len() - len;
            for cut in 0..size {
                assert!(parse(&bytes[..cut], Role::Server, false).unwrap().is_none());
            }
        }
    }
}
