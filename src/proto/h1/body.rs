//! Bodies: how one is delimited (RFC 9112, section 6), and reading one as it arrives (section 7).
//!
//! ```text
//! Length ---------------------------+
//! Line --> Data --> Crlf --> Line   +--> End --> Done
//!   +--0--> Trailers ---------------+
//! UntilClose -----------------------+
//! ```

use super::chars::{is_token, trim};
use super::chunk::chunk_line;
use super::fields::{Fields, Known, Progress, Room, section};
use super::{Fault, Version, bad};
use crate::io::{Rx, Scratch};
use crate::limits::H1Limits;

/// How a request's body is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Body {
    /// There is none, or one of length 0. No event of a body follows, no end either.
    None,
    /// By its length in bytes, at least 1.
    Length(u64),
    /// By chunks, possibly with trailers; over HTTP/2, by the end of its stream.
    Chunked,
}

/// How a response's body is delimited, by its fields alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framed {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What Content-Length and Transfer-Encoding say.
#[derive(Default)]
pub(super) struct Framing<'a> {
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    codings: u8,
}

impl<'a> Framing<'a> {
    /// Notes a Content-Length: at most 18 digits, without a sign, a list or a leading zero.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let sound = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 18;
        if !sound || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad("RFC 9110, 8.6: a Content-Length is up to 18 digits"));
        }
        if self.length.is_some() {
            return Err(bad("RFC 9112, 6.3: one Content-Length"));
        }
        self.length = Some(value.iter().fold(0, |n, &b| n * 10 + u64::from(b - b'0')));
        Ok(())
    }

    /// Notes a request's Transfer-Encoding: `chunked` alone is understood.
    pub(super) fn transfer_encoding(&mut self, value: &'a [u8]) -> Result<(), Fault> {
        self.coded(value);
        if self.codings > 1 {
            return Err(bad("RFC 9112, 6.1: one Transfer-Encoding"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(());
        }
        let rule = "RFC 9112, 6.1: a transfer coding other than chunked";
        Err(Fault { status: if is_token(value) { 501 } else { 400 }, rule })
    }

    /// Notes a response's Transfer-Encoding.
    pub(super) fn coded(&mut self, value: &'a [u8]) {
        self.coding = Some(value);
        self.codings = self.codings.saturating_add(1);
    }

    /// Decides on a request's body.
    pub(super) fn request(&self, version: Version) -> Result<Body, Fault> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(BOTH),
            (None, Some(_)) if version == Version::Http10 => Err(CODED_10),
            (None, Some(_)) => Ok(Body::Chunked),
            (None | Some(0), None) => Ok(Body::None),
            (Some(n), None) => Ok(Body::Length(n)),
        }
    }

    /// Decides on a response's body. One whose coding is not just `chunked` ends with the
    /// connection.
    pub(super) fn response(&self, version: Version) -> Result<Framed, Fault> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(BOTH),
            (None, Some(_)) if version == Version::Http10 => Err(CODED_10),
            (None, Some(coding)) if self.codings == 1 && is_chunked(coding) => Ok(Framed::Chunked),
            (None, _) => Ok(Framed::UntilClose),
            (Some(n), None) => Ok(Framed::Length(n)),
        }
    }
}

fn is_chunked(coding: &[u8]) -> bool {
    trim(coding).eq_ignore_ascii_case(b"chunked")
}

const CODED_10: Fault = bad("RFC 9112, 6.1: a transfer coding in HTTP/1.0");
const BOTH: Fault = bad("RFC 9112, 6.1: Content-Length beside Transfer-Encoding");

/// A part of a body.
#[derive(Debug)]
pub(super) enum Piece<'s> {
    Data(&'s mut [u8]),
    Trailers(Fields<'s>),
    End,
}

/// Reads one body.
#[derive(Debug)]
pub(super) struct BodyReader {
    /// Bytes to come: of the body (`Length`), of the chunk (`Data`).
    left: u64,
    /// Bytes that chunks may still announce.
    room: u64,
    /// Bytes since the rate was last looked at.
    pub(super) counted: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Length,
    UntilClose,
    Line,
    Data,
    Crlf,
    Trailers,
    End,
    Done,
}

impl BodyReader {
    /// Makes a reader of no body at all.
    pub(super) const fn none() -> Self {
        Self { left: 0, room: u64::MAX, counted: 0, state: State::Done }
    }

    /// Makes a reader of a request's body.
    pub(super) const fn request(body: Body) -> Self {
        match body {
            Body::None => Self::none(),
            Body::Length(n) => Self { left: n, state: State::Length, ..Self::none() },
            Body::Chunked => Self { state: State::Line, ..Self::none() },
        }
    }

    /// Makes a reader of a response's body; it has an end even when it is empty.
    pub(super) const fn response(framed: Framed) -> Self {
        let (left, state) = match framed {
            Framed::Length(0) => (0, State::End),
            Framed::Length(n) => (n, State::Length),
            Framed::Chunked => (0, State::Line),
            Framed::UntilClose => (0, State::UntilClose),
        };
        Self { left, state, ..Self::none() }
    }

    /// Tells whether the end has arrived, though it may not have been reported.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::End | State::Done)
    }

    /// Sets how many bytes may come from here on.
    pub(super) fn limit(&mut self, max: u64) {
        self.room = max;
    }

    /// Gives the next part; `None` if it has not arrived.
    pub(super) fn poll<'s, 'a: 's>(
        &mut self,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        progress: &mut Progress,
        limits: &H1Limits,
    ) -> Result<Option<Piece<'s>>, Fault> {
        loop {
            match self.state {
                State::Length | State::Data | State::UntilClose => {
                    self.check_room()?;
                    return self.data(rx);
                }
                State::Line => {
                    if !self.chunk_line(rx, progress, limits)? {
                        return self.wait(rx);
                    }
                }
                State::Crlf => {
                    if !self.crlf(rx)? {
                        return self.wait(rx);
                    }
                }
                State::Trailers => {
                    let Some(len) = self.trailers(rx, scratch, progress, limits)? else {
                        return self.wait(rx);
                    };
                    let head: &'a [u8] = rx.take(len);
                    if len > 2 {
                        return Ok(Some(Piece::Trailers(Fields::new(head, scratch.list()))));
                    }
                }
                State::End => {
                    self.state = State::Done;
                    return Ok(Some(Piece::End));
                }
                State::Done => return Ok(None),
            }
        }
    }

    fn check_room(&self) -> Result<(), Fault> {
        if self.state == State::Length && self.left > self.room {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    /// Whether nothing but the end of the stream tells that the body is whole.
    pub(super) fn ends_by_eof(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Nothing to report: more is to come, unless the peer has ended.
    fn wait<T>(&self, rx: &Rx<'_>) -> Result<Option<T>, Fault> {
        if rx.eof() {
            return Err(bad("RFC 9112, 8: the connection ended before the body"));
        }
        Ok(None)
    }

    fn data<'a>(&mut self, rx: &mut Rx<'a>) -> Result<Option<Piece<'a>>, Fault> {
        if rx.is_empty() {
            if self.state == State::UntilClose && rx.eof() {
                self.state = State::Done;
                return Ok(Some(Piece::End));
            }
            return self.wait(rx);
        }
        if self.state == State::UntilClose {
            return Ok(Some(Piece::Data(rx.take(rx.len()))));
        }
        let data = rx.take(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        self.counted = self.counted.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        if self.state == State::Length {
            self.room = self.room.saturating_sub(data.len() as u64);
        }
        if self.left == 0 {
            self.state = if self.state == State::Data { State::Crlf } else { State::End };
        }
        Ok(Some(Piece::Data(data)))
    }

    fn chunk_line(
        &mut self,
        rx: &mut Rx<'_>,
        progress: &mut Progress,
        limits: &H1Limits,
    ) -> Result<bool, Fault> {
        // `count` counts the extensions' bytes here, and field lines once the trailers begin.
        let room = limits.chunk_extensions.saturating_sub(usize::from(progress.count));
        let Some(line) = chunk_line(rx.peek(), room)? else { return Ok(false) };
        self.room = self.room.checked_sub(line.size).ok_or(TOO_LARGE)?;
        rx.take(line.len);
        let extensions = u16::try_from(line.extensions).unwrap_or(u16::MAX);
        progress.count = progress.count.saturating_add(extensions);
        self.left = line.size;
        self.state = State::Data;
        if line.size == 0 {
            *progress = Progress::default();
            self.state = State::Trailers;
        }
        Ok(true)
    }

    fn crlf(&mut self, rx: &mut Rx<'_>) -> Result<bool, Fault> {
        match rx.peek() {
            [] | [b'\r'] => return Ok(false),
            [b'\r', b'\n', ..] => {}
            _ => return Err(bad("RFC 9112, 7.1: CR LF behind a chunk's data")),
        }
        rx.take(2);
        self.state = State::Line;
        Ok(true)
    }

    /// Reads the trailer section, if it is complete, and gives its length.
    fn trailers(
        &mut self,
        rx: &Rx<'_>,
        scratch: &mut Scratch,
        progress: &mut Progress,
        limits: &H1Limits,
    ) -> Result<Option<usize>, Fault> {
        let room =
            Room { line: limits.field, total: limits.trailers, fields: limits.trailer_fields };
        let again = progress.line > 0;
        let Some(mut len) = section(rx.peek(), progress, room, scratch.fields())? else {
            return Ok(None);
        };
        if again {
            // The places found before were lent only for a turn.
            *progress = Progress::default();
            len = section(rx.peek(), progress, room, scratch.fields())?.unwrap_or(len);
        }
        *progress = Progress::default();
        if scratch.list().iter().any(|span| FORBIDDEN.iter().any(|&k| span.known == k as u8)) {
            return Err(bad("RFC 9110, 6.5.1: a field that a trailer section must not hold"));
        }
        self.state = State::End;
        Ok(Some(len))
    }
}

/// What would reframe, reroute, authorise or reinterpret a message that has been acted upon.
const FORBIDDEN: [Known; 13] = [
    Known::Host,
    Known::Connection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Expect,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ContentType,
    Known::ContentEncoding,
    Known::ContentRange,
    Known::Authorization,
    Known::Trailer,
    Known::Te,
];

const TOO_LARGE: Fault = Fault { status: 413, rule: "the limit of a body" };
