//! Reading a field block: RFC 7541, sections 3 and 6.

use alloc::vec::Vec;

use super::table::Table;
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
const FLOOD: usize = 4;

/// Reads the field blocks of one direction of a connection, in order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

/// What one block has come to.
struct Tally {
    fields: usize,
    list: usize,
    cookies: usize,
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
        let mut rest = block;
        let mut tally = Tally { fields: 0, list: 0, cookies: 0 };
        let mut at_start = true;
        while let Some((&first, behind)) = rest.split_first() {
            rest = behind;
            let start = arena.len();
            let (name, known) = if first & 0x80 != 0 {
                let index = integer::read(first, 7, &mut rest).ok_or(INTEGER)?;
                // The commonest by far, and the bomb: counted before it is copied.
                self.indexed(index, arena)?
            } else if first & 0xE0 == 0x20 {
                let max = integer::read(first, 5, &mut rest).ok_or(INTEGER)?;
                self.resize(max, at_start)?;
                continue;
            } else {
                self.literal(first, &mut rest, arena)?
            };
            at_start = false;
            let value = arena.len() - start - name;
            tally.add(name + value, known);
            match tally.judge(room) {
                Sized::Fits => spans.push(FieldSpan {
                    name: span(start, name),
                    value: span(start + name, value),
                    known,
                }),
                Sized::Over => arena.truncate(start),
                Sized::Flood => return Ok(Sized::Flood),
            }
        }
        Ok(tally.judge(room))
    }

    /// RFC 7541, section 6.1. Gives the length of the name, and what it is known as.
    #[inline]
    fn indexed(&self, index: usize, arena: &mut Vec<u8>) -> Result<(usize, u8), Malformed> {
        if let Some(place) = statics::get(index) {
            arena.extend_from_slice(place.bytes());
            return Ok((usize::from(place.name), place.known));
        }
        let entry = self.dynamic(index)?;
        self.table.copy(entry, arena);
        Ok((entry.name as usize, entry.known))
    }

    #[inline]
    fn dynamic(&self, index: usize) -> Result<super::table::Entry, Malformed> {
        let index = index.checked_sub(statics::COUNT + 1).ok_or(INDEX)?;
        self.table.get(index).ok_or(INDEX)
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
        if let Some(place) = statics::get(index) {
            arena.extend_from_slice(place.name());
            return Ok(place.known);
        }
        let entry = self.dynamic(index)?;
        self.table.copy_name(entry, arena);
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
    #[inline]
    fn add(&mut self, len: usize, known: u8) {
        self.fields += 1;
        self.list = self.list.saturating_add(len + FIELD_OVERHEAD);
        self.cookies += usize::from(known == Known::Cookie as u8);
    }

    #[inline]
    fn judge(&self, room: &Room) -> Sized {
        if self.fields <= room.fields && self.list <= room.list && self.cookies <= room.cookies {
            return Sized::Fits;
        }
        let flood = self.fields / FLOOD >= room.fields.max(1) || self.list / FLOOD >= room.list;
        if flood { Sized::Flood } else { Sized::Over }
    }
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

#[expect(clippy::cast_possible_truncation, reason = "an arena is bounded by the limits of a block")]
fn span(start: usize, len: usize) -> Span {
    Span { start: start as u32, len: len as u32 }
}

const INTEGER: Malformed = Malformed("RFC 7541, 5.1: an integer is whole and not beyond bounds");
const INDEX: Malformed = Malformed("RFC 7541, 2.3.3: an index names an entry");
const SHORT: Malformed = Malformed("RFC 7541, 5.2: a string is as long as it says");
