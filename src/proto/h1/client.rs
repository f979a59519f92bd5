//! The client's direction of the wire format: a request is written, its response is read. RFC
//! 9112, sections 3, 4 and 6.3.
//!
//! In: bytes. Out: a [`ResponseHead`] (interim ones too), the body in parts, its end.

use super::body::{BodyReader, Framed, Piece};
use super::chars::target_run;
use super::date::RetryAfter;
use super::fields::{Fields, Progress};
use super::head::{self, StatusLine};
use super::write::{Announce, BodyWriter, Length, put_announce};
use super::{Fault, Version, bad};
use crate::error::{Error, Wire};
use crate::io::{Rx, Scratch, Tx};
use crate::limits::Limits;

/// The head of a request, to be written.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever asks")]
pub struct RequestHead<'a> {
    /// The method: a token of at most 32 bytes.
    pub method: &'a str,
    /// The target, percent-encoded: `/path?query`, an absolute URI for a proxy, `*`, or host and
    /// port for CONNECT.
    pub target: &'a str,
    /// The host, and the port if it is not the scheme's own.
    pub host: &'a str,
    /// Field lines in wire form, made by [`put_field`](super::put_field).
    pub fields: &'a [u8],
    /// The length of the body; an unknown one is sent in chunks.
    pub length: Length,
    /// Whether WebSocket is asked for.
    pub upgrade: bool,
    /// Whether the connection is to be closed after the response.
    pub close: bool,
}

/// Writes the head of a request, and gives what writes its body.
///
/// # Errors
///
/// `Caller`, and nothing is written: method, target or host is not one by its grammar, or the
/// length is above `i64::MAX`.
pub fn put_request(tx: &mut Tx<'_>, head: &RequestHead<'_>) -> Result<BodyWriter, Error> {
    if !head::is_method(head.method) {
        return Err(Error::misuse("a method is a token of at most 32 bytes"));
    }
    if head.target.is_empty() || target_run(head.target.as_bytes()) != head.target.len() {
        return Err(Error::misuse("a target is URI characters, percent-encoded"));
    }
    if head::check_host(head.host.as_bytes()).is_err() {
        return Err(Error::misuse("a host is a name or address, and a port"));
    }
    let anticipated = matches!(head.method, "POST" | "PUT" | "PATCH");
    let (writer, announce) = match head.length {
        // RFC 9110, 8.6: a method that has a meaning for a body says that there is none.
        Length::None if anticipated => (BodyWriter::known(0)?, Announce::Length(0)),
        Length::None => (BodyWriter::known(0)?, Announce::Nothing),
        Length::Known(n) => (BodyWriter::known(n)?, Announce::Length(n)),
        Length::Unknown => (BodyWriter::chunked(), Announce::Chunked),
    };
    let out = tx.buf(128 + head.method.len() + head.target.len() + head.fields.len());
    for part in [head.method, " ", head.target, " HTTP/1.1\r\nHost: ", head.host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(head.fields);
    put_announce(out, announce);
    out.extend_from_slice(match (head.upgrade, head.close) {
        (true, _) => b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        (false, true) => b"Connection: close\r\n\r\n",
        (false, false) => b"\r\n",
    });
    Ok(writer)
}

/// The head of a response. Borrows the input it arrived in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status, 100 to 999.
    pub status: u16,
    /// The reason phrase as it arrived: means nothing, may be empty, may be no UTF-8.
    pub reason: &'a [u8],
    /// The version.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'a>,
}

#[cfg(feature = "h2")]
impl<'a> ResponseHead<'a> {
    /// Makes one that came over HTTP/2, of what was checked.
    pub(crate) fn over_h2(status: u16, fields: Fields<'a>) -> Self {
        Self { status, reason: b"", version: Version::Http2, fields }
    }
}

impl ResponseHead<'_> {
    /// Gives how long the server asks to wait before the next request (RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<RetryAfter> {
        self.fields.get_str("retry-after").and_then(RetryAfter::parse)
    }
}

/// What the server did.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponseEvent<'s> {
    /// A head is complete. After one below 200 another follows, but after 101 the input belongs
    /// to the other protocol, and after a 2xx to CONNECT to the tunnel.
    Head(ResponseHead<'s>),
    /// A part of the body arrived; never empty.
    Body(&'s mut [u8]),
    /// Fields behind a chunked body; never merged into those of the head.
    Trailers(Fields<'s>),
    /// The response is complete, also one without a body.
    End,
}

/// Reads the response to one request.
#[derive(Debug)]
pub struct ResponseReader {
    body: BodyReader,
    progress: Progress,
    state: State,
    method: Method,
    keep: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    Body,
    Done,
    Switched,
}

/// What of the request's method matters to the response's framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Head,
    Connect,
    Other,
}

impl ResponseReader {
    /// Makes a reader of the response to a request with that method.
    pub fn new(method: &str) -> Self {
        let method = match method {
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        let (body, progress) = (BodyReader::none(), Progress::default());
        Self { body, progress, state: State::Head, method, keep: false }
    }

    /// Gives the next event; call again until it gives `None`: more input is needed, or nothing
    /// more belongs to this response. What is left stays in `rx`.
    ///
    /// # Errors
    ///
    /// `Peer`: the message is malformed, over a limit, or the connection ended before it was
    /// complete. The connection cannot be used any more.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        limits: &Limits,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<ResponseEvent<'s>>, Error> {
        let outcome = match self.state {
            State::Head => self.poll_head(limits, rx, scratch),
            State::Body => self.poll_body(limits, rx, scratch),
            State::Done | State::Switched => return Ok(None),
        };
        outcome.map_err(|fault| {
            self.state = State::Done;
            self.keep = false;
            Error::peer(Wire::None, fault.rule)
        })
    }

    /// Tells whether the response is complete and the connection can carry another request.
    pub fn is_reusable(&self) -> bool {
        self.state == State::Done && self.keep
    }

    /// Tells whether, as far as is known, the connection can carry another request afterwards.
    pub(super) fn may_go_on(&self) -> bool {
        self.state == State::Head || self.keep
    }

    /// Tells whether the input belongs to another protocol now.
    pub fn is_switched(&self) -> bool {
        self.state == State::Switched
    }

    /// Tells whether nothing but the end of the stream tells that the response is whole.
    pub fn ends_by_eof(&self) -> bool {
        self.state == State::Body && self.body.ends_by_eof()
    }

    fn poll_head<'s, 'a: 's>(
        &mut self,
        limits: &Limits,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<ResponseEvent<'s>>, Fault> {
        let read =
            head::read(rx.peek(), &mut self.progress, &limits.h1, scratch, head::status_line)?;
        let Some((line, len)) = read else {
            let ended = bad("RFC 9112, 8: the connection ended before the response");
            return if rx.eof() { Err(ended) } else { Ok(None) };
        };
        let bytes: &'a [u8] = rx.take(len);
        self.begin(bytes, line, scratch)?;
        let reason = bytes.get(line.reason.0..line.reason.1).unwrap_or(&[]);
        let fields = Fields::new(bytes, scratch.list());
        let (status, version) = (line.status, line.version);
        Ok(Some(ResponseEvent::Head(ResponseHead { status, reason, version, fields })))
    }

    /// Decides how the body is delimited: RFC 9112, section 6.3.
    fn begin(&mut self, head: &[u8], line: StatusLine, scratch: &Scratch) -> Result<(), Fault> {
        let http11 = line.version == Version::Http11;
        let (framed, close) = head::response_facts(head, scratch.list(), line.version)?;
        let framed = match (line.status, self.method) {
            (101, _) | (200..=299, Method::Connect) => {
                self.state = State::Switched;
                return Ok(());
            }
            (100..=199, _) => return Ok(()),
            (204 | 304, _) | (_, Method::Head) => Framed::Length(0),
            _ => framed,
        };
        self.keep = http11 && !close && framed != Framed::UntilClose;
        self.body = BodyReader::response(framed);
        self.state = State::Body;
        Ok(())
    }

    fn poll_body<'s, 'a: 's>(
        &mut self,
        limits: &Limits,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<ResponseEvent<'s>>, Fault> {
        let piece = self.body.poll(rx, scratch, &mut self.progress, &limits.h1)?;
        Ok(piece.map(|piece| match piece {
            Piece::Data(data) => ResponseEvent::Body(data),
            Piece::Trailers(fields) => ResponseEvent::Trailers(fields),
            Piece::End => {
                self.state = State::Done;
                ResponseEvent::End
            }
        }))
    }
}
