//! What a broker or a client writes down, so that nothing acknowledged is lost with the program: records
//! in a journal, each with its length and a checksum.
//!
//! In: what changes. Out: bytes, appended once for all that one read brought, before what was said
//! about it is sent.

use std::boxed::Box;
use std::format;
use std::io;
use std::vec::Vec;

use lodger_backend::Journal;

use crate::proto::mqtt::{Item, Message, Options};

/// Length, its complement, and the checksum of the body.
const HEAD: usize = 12;
/// Beyond this and twice what it was when it was made, a journal is made anew.
const COMPACT: u64 = 1 << 20;

/// Kinds of records.
pub(super) mod kind {
    pub(crate) const SESSION: u8 = 1;
    pub(crate) const GONE: u8 = 2;
    pub(crate) const SUBSCRIBED: u8 = 3;
    pub(crate) const UNSUBSCRIBED: u8 = 4;
    pub(crate) const OFFERED: u8 = 5;
    pub(crate) const SENT: u8 = 6;
    pub(crate) const DROPPED: u8 = 7;
    pub(crate) const ACKED: u8 = 8;
    pub(crate) const RECEIVED: u8 = 9;
    pub(crate) const RELEASED: u8 = 10;
    pub(crate) const KEPT: u8 = 11;
}

/// The records that are not appended yet, and the journal that they go to.
#[derive(Default)]
pub(super) struct Log {
    journal: Option<Box<dyn Journal>>,
    buf: Vec<u8>,
    len: u64,
    /// How long it was when it was made anew.
    base: u64,
}

impl core::fmt::Debug for Log {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Log").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Log {
    /// Reads a journal, handing each record to `f`, and goes on behind the last. A last record that
    /// is there in part is dropped.
    ///
    /// # Errors
    ///
    /// The system's; `InvalidData` for any other damage, with the name and the place.
    pub(super) fn open(
        mut journal: Box<dyn Journal>,
        mut f: impl FnMut(&[u8]) -> Option<()>,
    ) -> io::Result<Self> {
        let (mut at, mut buf) = (0_u64, Vec::new());
        while let Some(body) = read(&mut *journal, at, &mut buf)? {
            if f(body).is_none() {
                return Err(damage(&*journal, at, "a record that cannot be read"));
            }
            at += (HEAD + body.len()) as u64;
        }
        journal.truncate(at)?;
        Ok(Self { journal: Some(journal), buf: Vec::new(), len: at, base: at })
    }

    /// Tells whether anything is written down.
    pub(super) fn is_on(&self) -> bool {
        self.journal.is_some()
    }

    /// Adds one record.
    pub(super) fn add(&mut self, kind: u8, f: impl FnOnce(&mut Vec<u8>)) {
        if self.journal.is_some() {
            put_record(&mut self.buf, kind, f);
        }
    }

    /// Appends what was added.
    ///
    /// # Errors
    ///
    /// The journal's; what was added is still to be appended.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let Some(journal) = self.journal.as_mut().filter(|_| !self.buf.is_empty()) else {
            return Ok(());
        };
        journal.append(&self.buf)?;
        self.len += self.buf.len() as u64;
        self.buf.clear();
        self.buf.shrink_to(64 << 10);
        Ok(())
    }

    /// Gives how much was added and not appended.
    #[cfg(feature = "client")]
    pub(super) fn added(&self) -> usize {
        self.buf.len()
    }

    /// Takes back what was added since there was so much of it.
    #[cfg(feature = "client")]
    pub(super) fn forget(&mut self, from: usize) {
        self.buf.truncate(from);
    }

    /// Tells whether the journal has become much longer than what it says.
    pub(super) fn is_long(&self) -> bool {
        self.len > COMPACT + 2 * self.base
    }

    /// Puts `bytes` in the place of the journal.
    ///
    /// # Errors
    ///
    /// The journal's; it is as it was.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // Another attempt is of use only when it has grown again.
        self.base = self.len;
        journal.replace(bytes)?;
        self.buf.clear();
        self.len = bytes.len() as u64;
        self.base = self.len;
        Ok(())
    }
}

/// Appends one record to `out`.
pub(super) fn put_record(out: &mut Vec<u8>, kind: u8, f: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.push(kind);
    f(out);
    let body = out.get(start + HEAD..).unwrap_or_default();
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let sum = checksum(body);
    let mut head = [0; HEAD];
    for (place, n) in head.chunks_exact_mut(4).zip([len, !len, sum]) {
        place.copy_from_slice(&n.to_le_bytes());
    }
    if let Some(place) = out.get_mut(start..start + HEAD) {
        place.copy_from_slice(&head);
    }
}

/// Reads the record at `at` into `buf`; `None` at the end, or where the last is there in part.
fn read<'b>(
    journal: &mut dyn Journal,
    at: u64,
    buf: &'b mut Vec<u8>,
) -> io::Result<Option<&'b [u8]>> {
    let mut head = [0; HEAD];
    if fill(journal, at, &mut head)? < HEAD {
        return Ok(None);
    }
    let mut words = head
        .chunks_exact(4)
        .map(|word| word.iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte)));
    let (len, inverse, sum) = (words.next(), words.next(), words.next());
    let (Some(len), Some(inverse), Some(sum)) = (len, inverse, sum) else { return Ok(None) };
    if len != !inverse {
        // What a system that lost power leaves of a file that grew is zeros.
        return if zeros(journal, at)? {
            Ok(None)
        } else {
            Err(damage(journal, at, "a record whose length is wrong"))
        };
    }
    let mut byte = [0];
    let last = at + HEAD as u64 + u64::from(len);
    if len > 0 && fill(journal, last - 1, &mut byte)? == 0 {
        return Ok(None);
    }
    buf.clear();
    buf.resize(len as usize, 0);
    fill(journal, at + HEAD as u64, buf)?;
    if checksum(buf) != sum {
        let more = fill(journal, last, &mut byte)? > 0;
        return if more && !zeros(journal, last)? {
            Err(damage(journal, at, "a record whose checksum is wrong"))
        } else {
            Ok(None)
        };
    }
    Ok(Some(buf))
}

fn fill(journal: &mut dyn Journal, at: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match journal.read(at + done as u64, rest)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Whether there is nothing but zeros from `at` on.
fn zeros(journal: &mut dyn Journal, mut at: u64) -> io::Result<bool> {
    let mut buf = [0; 4096];
    loop {
        let n = fill(journal, at, &mut buf)?;
        if n == 0 {
            return Ok(true);
        }
        if buf.iter().take(n).any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
}

fn damage(journal: &dyn Journal, at: u64, what: &str) -> io::Error {
    let text = format!("{}: {what}, at byte {at}", journal.name());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// CRC-32 of IEEE 802.3, four bits at a time.
fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = [
        0x0000_0000,
        0x1DB7_1064,
        0x3B6E_20C8,
        0x26D9_30AC,
        0x76DC_4190,
        0x6B6B_51F4,
        0x4DB2_6158,
        0x5005_713C,
        0xEDB8_8320,
        0xF00F_9344,
        0xD6D6_A3E8,
        0xCB61_B38C,
        0x9B64_C2B0,
        0x86D3_D2D4,
        0xA00A_E278,
        0xBDBD_F21C,
    ];
    let step = |crc: u32| crc >> 4 ^ TABLE.get((crc & 15) as usize).copied().unwrap_or(0);
    !bytes.iter().fold(!0, |crc, &byte| step(step(crc ^ u32::from(byte))))
}

/// Writing the parts of records.
pub(super) fn put_u32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// What every record of a session begins with, and its identifier of a packet.
pub(super) fn put_key(out: &mut Vec<u8>, key: u32, id: u16) {
    put_u32(out, key);
    out.extend_from_slice(&id.to_le_bytes());
}

pub(super) fn put_session(
    out: &mut Vec<u8>,
    key: u32,
    expiry: u32,
    (id, username): (&str, Option<&str>),
) {
    put_u32(out, key);
    put_u32(out, expiry);
    put_bytes(out, id.as_bytes());
    out.push(u8::from(username.is_some()));
    put_bytes(out, username.unwrap_or_default().as_bytes());
}

pub(super) fn put_sub(out: &mut Vec<u8>, key: u32, filter: &str, (options, id): (Options, u32)) {
    put_u32(out, key);
    put_u32(out, id);
    out.push(options.bits());
    put_bytes(out, filter.as_bytes());
}

/// `unix`: when the message expires, in seconds since 1970; 0 is never.
pub(super) fn put_message(out: &mut Vec<u8>, message: &Message, unix: u64) {
    out.push(message.qos() as u8 | u8::from(message.retain()) << 2);
    out.extend_from_slice(&unix.to_le_bytes());
    put_bytes(out, message.topic().as_bytes());
    put_bytes(out, message.properties().bytes());
    put_bytes(out, message.payload());
}

pub(super) fn put_item(out: &mut Vec<u8>, key: u32, id: u16, item: &Item, unix: u64) {
    put_key(out, key, id);
    out.push(item.qos as u8 | u8::from(item.retain) << 2);
    put_u32(out, u32::try_from(item.subscriptions.len()).unwrap_or(0));
    for &number in &item.subscriptions {
        put_u32(out, number);
    }
    put_message(out, &item.message, unix);
}

/// Reading them.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::mqtt::MemoryJournal;

    fn journal(bodies: &[&[u8]]) -> (MemoryJournal, Vec<u8>) {
        let memory = MemoryJournal::new();
        let mut log = Log::open(Box::new(memory.clone()), |_| Some(())).unwrap();
        for body in bodies {
            log.add(7, |out| out.extend_from_slice(body));
        }
        log.commit().unwrap();
        (memory.clone(), memory.bytes())
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, io::Error> {
        let memory = MemoryJournal::new();
        memory.clone().append(bytes).unwrap();
        let mut bodies = Vec::new();
        Log::open(Box::new(memory), |body| {
            bodies.push(body[1..].to_vec());
            Some(())
        })?;
        Ok(bodies)
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_torn_last_record_is_dropped_wherever_it_is_torn() {
        let (_, bytes) = journal(&[b"first", b"second", b""]);
        assert_eq!(read_all(&bytes).unwrap(), [&b"first"[..], b"second", b""]);
        let second = HEAD + 1 + 5;
        let third = second + HEAD + 1 + 6;
        for len in 0..bytes.len() {
            let whole = [second, third].iter().filter(|&&end| end <= len).count();
            assert_eq!(read_all(&bytes[..len]).unwrap().len(), whole, "{len}");
        }
        let mut grown = bytes[..third].to_vec();
        grown.extend_from_slice(&[0; 9000]);
        assert_eq!(read_all(&grown).unwrap().len(), 2);
    }

    #[test]
    fn any_other_damage_is_an_error_that_says_where() {
        let (_, bytes) = journal(&[b"first", b"second", b"third"]);
        let second = HEAD + 1 + 5;
        for at in second..second + HEAD + 7 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let error = read_all(&damaged).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{at}");
            assert!(std::format!("{error}").contains(&std::format!("at byte {second}")), "{error}");
        }
    }

    #[test]
    fn it_goes_on_behind_what_was_torn() {
        let (_, bytes) = journal(&[b"first", b"second"]);
        let memory = MemoryJournal::new();
        memory.clone().append(&bytes[..bytes.len() - 2]).unwrap();
        let mut log = Log::open(Box::new(memory.clone()), |_| Some(())).unwrap();
        log.add(7, |out| out.extend_from_slice(b"third"));
        log.commit().unwrap();

        assert_eq!(read_all(&memory.bytes()).unwrap(), [b"first", b"third"]);
    }
}
