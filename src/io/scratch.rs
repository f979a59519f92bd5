//! Room for what does not exist in the input: where the fields of a head begin and end.

#[cfg(feature = "mqtt")]
use alloc::string::String;
use alloc::vec::Vec;

/// A run of bytes in a head: offset and length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Span {
    /// Where it begins.
    pub start: u32,
    /// How long it is.
    pub len: u32,
}

impl Span {
    /// Gives the bytes of `buf` that it names; empty if it lies outside.
    pub fn of(self, buf: &[u8]) -> &[u8] {
        let start = self.start as usize;
        buf.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

/// Where one field line's name and value are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct FieldSpan {
    /// The name, as it arrived.
    pub name: Span,
    /// The value, without the white space around it.
    pub value: Span,
    /// A small number for a name that is known, 0 for others.
    pub known: u8,
}

/// Room lent to a protocol for the length of one event. Kept by the turn, so a connection holds
/// none of it.
#[derive(Debug, Default)]
pub struct Scratch {
    fields: Vec<FieldSpan>,
    /// The names and values of fields that were compressed.
    #[cfg(feature = "h2")]
    section: Vec<u8>,
    /// Payload that was expanded.
    #[cfg(feature = "deflate")]
    bytes: Vec<u8>,
    /// A topic in place of its alias.
    #[cfg(feature = "mqtt")]
    text: String,
}

/// How much payload is expanded at a time.
#[cfg(feature = "deflate")]
const STEP: usize = 16 << 10;

impl Scratch {
    /// Makes an empty one; it grows to the largest head seen, within the limits.
    pub const fn new() -> Self {
        Self {
            fields: Vec::new(),
            #[cfg(feature = "h2")]
            section: Vec::new(),
            #[cfg(feature = "deflate")]
            bytes: Vec::new(),
            #[cfg(feature = "mqtt")]
            text: String::new(),
        }
    }

    /// Gives room for a topic.
    #[cfg(feature = "mqtt")]
    pub(crate) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// Gives room for 16 KiB of payload; what was put there before is still there.
    #[cfg(feature = "deflate")]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes.resize(STEP, 0);
        }
        &mut self.bytes
    }

    /// Gives room for the bytes of fields and for their places, both emptied.
    #[cfg(feature = "h2")]
    pub(crate) fn section(&mut self) -> (&mut Vec<u8>, &mut Vec<FieldSpan>) {
        self.section.clear();
        self.fields.clear();
        (&mut self.section, &mut self.fields)
    }

    /// Gives what was put there, to be changed.
    #[cfg(feature = "h2")]
    pub(crate) fn section_mut(&mut self) -> (&mut Vec<u8>, &mut Vec<FieldSpan>) {
        (&mut self.section, &mut self.fields)
    }

    /// Gives what was put there.
    #[cfg(feature = "h2")]
    pub(crate) fn section_ref(&self) -> (&[u8], &[FieldSpan]) {
        (&self.section, &self.fields)
    }

    /// Gives the emptied list of fields.
    pub fn fields(&mut self) -> &mut Vec<FieldSpan> {
        self.fields.clear();
        &mut self.fields
    }

    /// Gives what was put into that list.
    pub fn list(&self) -> &[FieldSpan] {
        &self.fields
    }
}
