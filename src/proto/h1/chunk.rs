//! The line before a chunk: RFC 9112, sections 7.1 and 7.1.1.
//!
//! In: the bytes from the line's first on. Out: the size, or how it is wrong. Judged byte by byte
//! from the left, each time from its start: it has at most 16 digits and the extensions' limit.

use super::chars::{is_token_byte, is_value_byte};
use super::{Fault, bad};

/// A chunk's size, the length of its line with CR LF, and how much of that is extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ChunkLine {
    pub(super) size: u64,
    pub(super) len: usize,
    pub(super) extensions: usize,
}

const SIZE: Fault = bad("RFC 9112, 7.1: a chunk size is 1 to 16 hex digits");
const EXTENSION: Fault = bad("RFC 9112, 7.1.1: a chunk extension is a token, = and a value");

/// Reads the line at the front of `bytes`; its extensions may have `room` bytes. `None` if it has
/// not arrived whole and is right so far.
pub(super) fn chunk_line(bytes: &[u8], room: usize) -> Result<Option<ChunkLine>, Fault> {
    let mut size = 0;
    let mut digits = 0;
    for &byte in bytes {
        let Some(digit) = char::from(byte).to_digit(16) else { break };
        if digits == 16 {
            return Err(SIZE);
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    let rest = bytes.get(digits..).unwrap_or(&[]);
    let extensions = match rest.first() {
        None => return Ok(None),
        _ if digits == 0 => return Err(SIZE),
        Some(b'\r') => 0,
        Some(b';') => match extensions(rest, room)? {
            Some(len) => len,
            None => return Ok(None),
        },
        // White space here is where readers disagree most.
        Some(_) => return Err(SIZE),
    };
    let len = digits + extensions + 2;
    match bytes.get(len - 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(ChunkLine { size, len, extensions })),
        Some(_) => Err(bad("RFC 9112, 7.1: a chunk line ends in CR LF")),
    }
}

/// Where in an extension a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a name, behind `;`.
    Start,
    Name,
    /// Behind a name and white space.
    AfterName,
    /// Before a value, behind `=`.
    Equals,
    Token,
    Quoted,
    Escape,
    /// Behind a closing quote.
    Closed,
    /// Behind a value and white space.
    AfterValue,
}

/// Gives the length of the extensions up to the CR. `None` if it has not arrived.
fn extensions(bytes: &[u8], room: usize) -> Result<Option<usize>, Fault> {
    let mut at = At::Start;
    for (n, &byte) in bytes.iter().enumerate() {
        if byte == b'\r' && matches!(at, At::Name | At::Token | At::Closed) {
            return Ok(Some(n));
        }
        if n >= room {
            return Err(bad("the limit of chunk extensions"));
        }
        if n > 0 {
            at = step(at, byte).ok_or(EXTENSION)?;
        }
    }
    Ok(None)
}

fn step(at: At, byte: u8) -> Option<At> {
    let blank = matches!(byte, b' ' | b'\t');
    let token = is_token_byte(byte);
    match (at, byte) {
        (At::Start | At::Equals, _) if blank => Some(at),
        (At::Start | At::Name, _) if token => Some(At::Name),
        (At::Name | At::AfterName, _) if blank => Some(At::AfterName),
        (At::Name | At::AfterName, b'=') => Some(At::Equals),
        (At::Equals, b'"') => Some(At::Quoted),
        (At::Equals | At::Token, _) if token => Some(At::Token),
        (At::Quoted, b'"') => Some(At::Closed),
        (At::Quoted, b'\\') => Some(At::Escape),
        (At::Quoted | At::Escape, _) if is_value_byte(byte) => Some(At::Quoted),
        (At::Token | At::Closed | At::AfterValue, _) if blank => Some(At::AfterValue),
        (At::Name | At::AfterName | At::Token | At::Closed | At::AfterValue, b';') => {
            Some(At::Start)
        }
        _ => None,
    }
}
