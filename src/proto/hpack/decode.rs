//! Reading a field block: RFC 7541, sections 3 and 6.

use alloc::vec::Vec;

use super::table::{Entry, Table};
use super::{FIELD_OVERHEAD, huffman, integer, mark, statics};
use crate::io::{FieldSpan, Span};
use crate::proto::h1::Known;

/// A block that cannot be read: the rule that it breaks. The connection ends with
/// COMPRESSION_ERROR, since the tables of the two ends differ from here on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Malformed(
    /// The rule.
    pub &'static str,
);

/// What the fields of one block may take.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by every caller")]
pub struct Room {
    /// Fields.
    pub fields: usize,
    /// Names, values and 32 for each field, in bytes.
    pub list: usize,
    /// Fields named `cookie`: RFC 9113, section 8.2.3 lets a cookie be cut into any number.
    pub cookies: usize,
}

/// How much there was in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Sized {
    /// All of it is there.
    Fits,
    /// It is over a limit: the fields are not all there, the table is as it must be.
    Over,
    /// It is over four times a limit, and was read no further: the connection is to end.
    Flood,
}

/// How many times over a limit a block may be and still be read to its end.
const FLOOD: i64 = 4;

/// Reads the field blocks of one direction of a connection, in order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

/// What one block may still take; below zero it was over that limit.
#[derive(Clone, Copy)]
struct Tally {
    fields: i64,
    list: i64,
    cookies: i64,
}

impl Decoder {
    /// Makes one whose table may have `cap` bytes: SETTINGS_HEADER_TABLE_SIZE as we announced it.
    pub fn new(cap: usize) -> Self {
        Self { table: Table::new(cap) }
    }

    /// Sets what we announce from here on.
    pub fn set_cap(&mut self, cap: usize) {
        let max = self.table.max();
        self.table.set_cap(cap);
        self.table.set_max(max.max(cap));
    }

    /// Reads a block. The fields' bytes are appended to `arena`, their places in it to `spans`;
    /// [`FieldSpan::known`] is a [`Known`] or a [`Pseudo`]. Nothing is said about whether they may
    /// be sent.
    ///
    /// [`Pseudo`]: super::Pseudo
    ///
    /// # Errors
    ///
    /// The block breaks RFC 7541.
    pub fn decode(
        &mut self,
        block: &[u8],
        room: &Room,
        arena: &mut Vec<u8>,
        spans: &mut Vec<FieldSpan>,
    ) -> Result<Sized, Malformed> {
        let mut tally = Tally::new(room);
        let mut rest = block;
        loop {
            rest = self.indexed_run(rest, &mut tally, arena, spans);
            if rest.is_empty() {
                return Ok(if tally.fits() { Sized::Fits } else { Sized::Over });
            }
            let at_start = tally.fields == signed(room.fields);
            self.other(&mut rest, at_start, &mut tally, arena, spans)?;
            if !tally.fits() && tally.floods(room) {
                return Ok(Sized::Flood);
            }
        }
    }

    /// Reads a field of any form, or a new size of the table: RFC 7541, section 6. Apart, since all
    /// that it needs would take the registers of [`indexed_run`](Self::indexed_run).
    #[inline(never)]
    fn other(
        &mut self,
        rest: &mut &[u8],
        at_start: bool,
        tally: &mut Tally,
        arena: &mut Vec<u8>,
        spans: &mut Vec<FieldSpan>,
    ) -> Result<(), Malformed> {
        let Some((&first, behind)) = rest.split_first() else { return Ok(()) };
        *rest = behind;
        let start = arena.len();
        let (name, known) = if first & 0x80 != 0 {
            let index = integer::read(first, 7, rest).ok_or(INTEGER)?;
            self.indexed(index, arena).ok_or(INDEX)?
        } else if first & 0xE0 == 0x20 {
            let max = integer::read(first, 5, rest).ok_or(INTEGER)?;
            return self.resize(max, at_start);
        } else {
            self.literal(first, rest, arena)?
        };
        let value = arena.len() - start - name;
        tally.take(name + value, known);
        if tally.fits() {
            let (name, value) = (span(start, name), span(start + name, value));
            spans.push(FieldSpan { name, value, known });
        } else {
            arena.truncate(start);
        }
        Ok(())
    }

    /// Reads indexed fields as far as they fit and their numbers take a byte: the commonest by far.
    /// Gives what is left of the block. A cookie is left to be counted.
    fn indexed_run<'b>(
        &self,
        block: &'b [u8],
        tally: &mut Tally,
        arena: &mut Vec<u8>,
        spans: &mut Vec<FieldSpan>,
    ) -> &'b [u8] {
        let (before, mut list) = (spans.len(), tally.list);
        for &first in block.get(..tally.most(block.len())).unwrap_or_default() {
            if !(0x81..=0xFE).contains(&first) {
                break;
            }
            let Some((bytes, entry)) = self.find(usize::from(first & 0x7F)) else { break };
            let Some(run) = entry.run(bytes) else { break };
            let (name, known) = (entry.name, entry.known);
            let left = list - signed(run.len() + FIELD_OVERHEAD);
            if left < 0 || known == Known::Cookie as u8 {
                break;
            }
            list = left;
            let start = low(arena.len());
            let behind = start.wrapping_add(name);
            spans.push(FieldSpan {
                name: Span { start, len: name },
                value: Span { start: behind, len: low(run.len()).wrapping_sub(name) },
                known,
            });
            arena.extend_from_slice(run);
        }
        let read = spans.len() - before;
        tally.fields -= signed(read);
        tally.list = list;
        block.get(read..).unwrap_or_default()
    }

    /// Gives the entry of a number from 1 on, and the bytes that it is in: RFC 7541, section 2.3.3.
    #[inline]
    fn find(&self, index: usize) -> Option<(&[u8], &Entry)> {
        match statics::get(index) {
            Some(entry) => Some((&statics::BYTES, entry)),
            None => Some((self.table.bytes(), self.dynamic(index)?)),
        }
    }

    /// RFC 7541, section 6.1. Gives the length of the name, and what it is known as; `None`: the
    /// index names no entry.
    fn indexed(&self, index: usize, arena: &mut Vec<u8>) -> Option<(usize, u8)> {
        let (bytes, entry) = self.find(index)?;
        match entry.run(bytes) {
            Some(run) => arena.extend_from_slice(run),
            None => self.table.copy(*entry, arena),
        }
        Some((entry.name as usize, entry.known))
    }

    /// Index 0, and what is beyond the table, name none.
    #[inline]
    fn dynamic(&self, index: usize) -> Option<&Entry> {
        self.table.get(index.wrapping_sub(statics::COUNT + 1))
    }

    /// RFC 7541, section 6.2.
    fn literal(
        &mut self,
        first: u8,
        rest: &mut &[u8],
        arena: &mut Vec<u8>,
    ) -> Result<(usize, u8), Malformed> {
        let indexes = first & 0x40 != 0;
        let bits = if indexes { 6 } else { 4 };
        let index = integer::read(first, bits, rest).ok_or(INTEGER)?;
        let start = arena.len();
        let known = self.name(index, rest, arena)?;
        let middle = arena.len();
        string(rest, arena)?;
        if indexes {
            let name = arena.get(start..middle).unwrap_or_default();
            let value = arena.get(middle..).unwrap_or_default();
            self.table.insert(name, value, known);
        }
        Ok((middle - start, known))
    }

    /// Appends the name of a literal: of an entry, or spelled out.
    fn name(&self, index: usize, rest: &mut &[u8], arena: &mut Vec<u8>) -> Result<u8, Malformed> {
        if index == 0 {
            let start = arena.len();
            string(rest, arena)?;
            return Ok(mark(arena.get(start..).unwrap_or_default()));
        }
        if let Some(entry) = statics::get(index) {
            arena.extend_from_slice(statics::name(entry));
            return Ok(entry.known);
        }
        let entry = self.dynamic(index).ok_or(INDEX)?;
        self.table.copy_name(*entry, arena);
        Ok(entry.known)
    }

    /// RFC 7541, sections 4.2 and 6.3.
    fn resize(&mut self, max: usize, at_start: bool) -> Result<(), Malformed> {
        if !at_start {
            return Err(Malformed("RFC 7541, 4.2: a table is resized at the start of a block"));
        }
        if max > self.table.cap() {
            return Err(Malformed("RFC 7541, 6.3: a table larger than was agreed on"));
        }
        self.table.set_max(max);
        Ok(())
    }
}

impl Tally {
    fn new(room: &Room) -> Self {
        let [fields, list, cookies] = [room.fields, room.list, room.cookies].map(signed);
        Self { fields, list, cookies }
    }

    #[inline]
    fn take(&mut self, len: usize, known: u8) {
        self.fields -= 1;
        self.list -= signed(len + FIELD_OVERHEAD);
        self.cookies -= i64::from(known == Known::Cookie as u8);
    }

    /// Gives how many of `len` fields may still come; none once anything was over its limit.
    fn most(&self, len: usize) -> usize {
        if self.fits() { len.min(usize::try_from(self.fields).unwrap_or(0)) } else { 0 }
    }

    #[inline]
    fn fits(&self) -> bool {
        // None is below zero.
        self.fields | self.list | self.cookies >= 0
    }

    /// Whether it is so far over a limit that it was no mistake.
    #[cold]
    fn floods(&self, room: &Room) -> bool {
        let times =
            |limit: usize, left: i64| (signed(limit) - left) / FLOOD >= signed(limit.max(1));
        times(room.fields, self.fields) || times(room.list, self.list)
    }
}

/// Limits are far below what does not fit.
#[inline]
fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX >> 1)
}

/// Appends a string: RFC 7541, section 5.2.
fn string(rest: &mut &[u8], arena: &mut Vec<u8>) -> Result<(), Malformed> {
    let (&first, behind) = rest.split_first().ok_or(SHORT)?;
    *rest = behind;
    let len = integer::read(first, 7, rest).ok_or(INTEGER)?;
    let (bytes, behind) = rest.split_at_checked(len).ok_or(SHORT)?;
    *rest = behind;
    if first & 0x80 != 0 {
        huffman::decode(bytes, arena).map_err(Malformed)
    } else {
        arena.extend_from_slice(bytes);
        Ok(())
    }
}

fn span(start: usize, len: usize) -> Span {
    Span { start: low(start), len: low(len) }
}

#[expect(clippy::cast_possible_truncation, reason = "an arena is bounded by the limits of a block")]
#[inline]
const fn low(n: usize) -> u32 {
    n as u32
}

const INTEGER: Malformed = Malformed("RFC 7541, 5.1: an integer is whole and not beyond bounds");
const INDEX: Malformed = Malformed("RFC 7541, 2.3.3: an index names an entry");
const SHORT: Malformed = Malformed("RFC 7541, 5.2: a string is as long as it says");
