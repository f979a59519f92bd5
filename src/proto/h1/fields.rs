//! Field lines: RFC 9112, section 5. A section of them is judged line by line, each once its end
//! has arrived, so that what is found wrong does not depend on how the input was cut.
//!
//! In: the bytes of a section, from its first line. Out: where names and values are, or how far
//! the search has come.

use alloc::vec::Vec;

use super::chars::{find_control, is_blank, token_run};
use super::{Fault, bad};
use crate::io::{FieldSpan, Span};

/// Names that the engine itself, or what is built right on it, looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the name of a field")]
pub enum Known {
    Host = 1,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    Origin,
    SecWebSocketKey,
    SecWebSocketVersion,
    SecWebSocketProtocol,
    SecWebSocketExtensions,
    ContentType,
    ContentEncoding,
    ContentRange,
    Authorization,
    Trailer,
    Te,
    Date,
    KeepAlive,
    Cookie,
    Priority,
    ProxyConnection,
}

impl Known {
    /// Gives the number of the known name that `name` is, in any case; 0 for others.
    #[cfg(feature = "h2")]
    pub(crate) fn number(name: &[u8]) -> u8 {
        Self::of(name).map_or(0, |known| known as u8)
    }

    /// Gives the known name that `name` is, in any case.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        // The length leaves two candidates at most.
        let (one, other) = match name.len() {
            2 => ((&b"te"[..], Self::Te), None),
            4 => ((&b"host"[..], Self::Host), Some((&b"date"[..], Self::Date))),
            6 if name.first().is_some_and(|b| b | 0x20 == b'c') => {
                ((&b"cookie"[..], Self::Cookie), None)
            }
            6 => ((&b"expect"[..], Self::Expect), Some((&b"origin"[..], Self::Origin))),
            7 => ((&b"upgrade"[..], Self::Upgrade), Some((&b"trailer"[..], Self::Trailer))),
            8 => ((&b"priority"[..], Self::Priority), None),
            10 => (
                (&b"connection"[..], Self::Connection),
                Some((&b"keep-alive"[..], Self::KeepAlive)),
            ),
            12 => ((&b"content-type"[..], Self::ContentType), None),
            13 => (
                (&b"authorization"[..], Self::Authorization),
                Some((&b"content-range"[..], Self::ContentRange)),
            ),
            14 => ((&b"content-length"[..], Self::ContentLength), None),
            16 => (
                (&b"content-encoding"[..], Self::ContentEncoding),
                Some((&b"proxy-connection"[..], Self::ProxyConnection)),
            ),
            17 => (
                (&b"transfer-encoding"[..], Self::TransferEncoding),
                Some((&b"sec-websocket-key"[..], Self::SecWebSocketKey)),
            ),
            21 => ((&b"sec-websocket-version"[..], Self::SecWebSocketVersion), None),
            22 => ((&b"sec-websocket-protocol"[..], Self::SecWebSocketProtocol), None),
            24 => ((&b"sec-websocket-extensions"[..], Self::SecWebSocketExtensions), None),
            _ => return None,
        };
        if is_name(name, one.0) {
            return Some(one.1);
        }
        other.filter(|other| is_name(name, other.0)).map(|other| other.1)
    }
}

/// Tells whether a token is `lower` in any case. Setting the bit that makes a letter small moves
/// no other byte of a token onto a letter or a hyphen.
fn is_name(token: &[u8], lower: &[u8]) -> bool {
    token.len() == lower.len() && token.iter().zip(lower).all(|(a, b)| a | 0x20 == *b)
}

/// The fields of a head or a trailer section, in the order of arrival, as they arrived.
///
/// Names are tokens, compared without regard to case; values are without the white space around
/// them and hold no control character but HTAB. Bytes from 0x80 up are possible in values.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    head: &'a [u8],
    spans: &'a [FieldSpan],
}

impl<'a> Fields<'a> {
    /// Joins the bytes of a section and the places in it.
    pub(crate) fn new(head: &'a [u8], spans: &'a [FieldSpan]) -> Self {
        Self { head, spans }
    }

    /// Gives the bytes and the places in them.
    #[cfg(feature = "h2")]
    pub(crate) fn parts(&self) -> (&'a [u8], &'a [FieldSpan]) {
        (self.head, self.spans)
    }

    /// Gives the value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let name = name.as_bytes();
        self.pairs().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Gives the value of the first field of that name, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        core::str::from_utf8(self.get(name)?).ok()
    }

    /// Gives the value of the first field of a known name: one comparison of a byte per field.
    pub fn known(&self, k: Known) -> Option<&'a [u8]> {
        let span = self.spans.iter().find(|span| span.known == k as u8)?;
        Some(span.value.of(self.head))
    }

    /// Gives names and values, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        // A name is a token and so ASCII.
        self.pairs().map(|(name, value)| (core::str::from_utf8(name).unwrap_or(""), value))
    }

    /// Gives how many field lines there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let head = self.head;
        self.spans.iter().map(move |span| (span.name.of(head), span.value.of(head)))
    }
}

/// How far a head or a trailer section has been looked at, for the case that it arrives in parts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Where the line begins whose end has not arrived.
    pub(super) line: u32,
    /// Before this there is no end of that line.
    pub(super) scan: u32,
    /// Field lines before it.
    pub(super) count: u16,
}

impl Progress {
    fn to(line: usize, scan: usize, count: usize) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: small(line),
            scan: small(scan),
            count: u16::try_from(count).unwrap_or(u16::MAX),
        }
    }
}

/// What one section may hold.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// One line, in bytes, without its end.
    pub(super) line: usize,
    /// All of it, in bytes, first line and ends included.
    pub(super) total: usize,
    /// Field lines.
    pub(super) fields: usize,
}

/// A line that has arrived, or how far there is none.
pub(super) enum Line {
    /// Where its content ends; CR and LF follow.
    Ends(usize),
    /// There is no end before this place.
    Open(usize),
}

/// Looks for the end of the line that begins at `start`, from `scan` on. Its content may have
/// `max` bytes, else `long` is the fault.
#[inline(always)]
pub(super) fn line(
    buf: &[u8],
    start: usize,
    scan: usize,
    max: usize,
    long: Fault,
) -> Result<Line, Fault> {
    let found = find_control(buf, scan.max(start));
    if found.unwrap_or(buf.len()) - start.min(buf.len()) > max {
        return Err(long);
    }
    let Some(at) = found else { return Ok(Line::Open(buf.len())) };
    if is_line_end(buf, at) {
        return Ok(Line::Ends(at));
    }
    match (buf.get(at), buf.get(at + 1)) {
        (Some(b'\r'), None) => Ok(Line::Open(at)),
        (Some(b'\r'), _) => Err(bad("RFC 9112, 2.2: a bare CR")),
        (Some(b'\n'), _) => Err(bad("RFC 9112, 2.2: a bare LF")),
        _ => Err(bad("RFC 9110, 5.5: a control character")),
    }
}

fn is_line_end(buf: &[u8], at: usize) -> bool {
    buf.get(at..at + 2) == Some(b"\r\n")
}

/// Reads field lines from where `progress` stands to the empty line, and gives the length of
/// `buf` up to and with that. `None` if it has not arrived; `progress` then says how far it got.
pub(super) fn section(
    buf: &[u8],
    progress: &mut Progress,
    room: Room,
    spans: &mut Vec<FieldSpan>,
) -> Result<Option<usize>, Fault> {
    const LONG: Fault = Fault { status: 431, rule: "the limit of a field section" };
    let mut start = progress.line as usize;
    let mut scan = progress.scan as usize;
    let mut count = usize::from(progress.count);
    let total = room.total.min(SECTION_MAX);
    loop {
        if is_line_end(buf, start) {
            return Ok(Some(start + 2));
        }
        let max = room.line.min(total.saturating_sub(start + 2));
        let end = match line(buf, start, scan, max, LONG)? {
            Line::Ends(end) => end,
            Line::Open(scan) => {
                *progress = Progress::to(start, scan, count);
                return Ok(None);
            }
        };
        if count >= room.fields {
            return Err(LONG);
        }
        spans.push(field(buf, start, end)?);
        count += 1;
        start = end + 2;
        scan = start;
    }
}

/// Splits one field line at its colon.
fn field(buf: &[u8], start: usize, end: usize) -> Result<FieldSpan, Fault> {
    let text = buf.get(start..end).unwrap_or(&[]);
    let (name, value) = match text.split_at_checked(token_run(text)) {
        Some((name, [b':', value @ ..])) if !name.is_empty() => (name, value),
        _ if matches!(text, [b' ' | b'\t', ..]) => {
            return Err(bad("RFC 9112, 5.2: a folded line"));
        }
        _ => return Err(bad("RFC 9112, 5.1: a field name is a token, then a colon")),
    };
    let behind = start + name.len() + 1;
    let (blank, len) = inner(value);
    Ok(FieldSpan {
        name: span(start, name.len()),
        value: span(behind + blank, len),
        known: Known::of(name).map_or(0, |k| k as u8),
    })
}

/// Gives where a value begins behind its colon, and its length, without the white space around
/// it. Most have one space before and none behind.
#[inline]
fn inner(value: &[u8]) -> (usize, usize) {
    match value {
        [b' ', only] if !is_blank(*only) => (1, 1),
        [b' ', first, .., last] if !is_blank(*first) && !is_blank(*last) => (1, value.len() - 1),
        _ => {
            let blank = value.iter().position(|&b| !is_blank(b)).unwrap_or(value.len());
            let last = value.iter().rposition(|&b| !is_blank(b)).map_or(blank, |n| n + 1);
            (blank, last - blank)
        }
    }
}

/// The longest section, so that places in it are numbers of 32 bits.
const SECTION_MAX: usize = u32::MAX as usize;

#[expect(clippy::cast_possible_truncation, reason = "sections end before SECTION_MAX")]
fn span(start: usize, len: usize) -> Span {
    Span { start: start as u32, len: len as u32 }
}
