//! HPACK, the compression of field sections in HTTP/2: RFC 7541.
//!
//! In: a field block, whole. Out: its fields as places in an arena, or a block made of fields.
//!
//! Both ends keep a dynamic table: one ring of bytes, taken when the first field goes into it.
//! Nothing is allocated for a field, so that a block of one-byte references costs its reader no
//! more than the bytes it asks for, and those are counted before they are copied.

mod decode;
mod encode;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod huffman;
mod integer;
mod statics;
mod table;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Malformed, Room, Sized};
pub use encode::Encoder;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_hpack;

/// The size of a dynamic table unless something else was agreed on: RFC 9113, section 6.5.2.
pub const TABLE_SIZE: usize = 4096;

/// What a field counts beside its bytes: RFC 7541, section 4.1.
pub const FIELD_OVERHEAD: usize = 32;

/// Marks in [`FieldSpan::known`] the fields that are parts of the first line of HTTP/1: RFC 9113,
/// section 8.3.
///
/// [`FieldSpan::known`]: crate::io::FieldSpan::known
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
#[expect(missing_docs, reason = "each is the name of a field")]
pub enum Pseudo {
    Authority = 240,
    Method,
    Path,
    Scheme,
    Status,
    Protocol,
    /// Begins with a colon and is none of them.
    Unknown,
}

impl Pseudo {
    /// Gives which one `name`, which begins with a colon, is.
    fn of(name: &[u8]) -> Self {
        match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":scheme" => Self::Scheme,
            b":status" => Self::Status,
            b":protocol" => Self::Protocol,
            _ => Self::Unknown,
        }
    }
}

/// Gives the mark of a field's name: a [`Pseudo`], a [`Known`], or 0.
///
/// [`Known`]: crate::proto::h1::Known
fn mark(name: &[u8]) -> u8 {
    match name {
        [b':', ..] => Pseudo::of(name) as u8,
        _ => crate::proto::h1::Known::number(name),
    }
}
