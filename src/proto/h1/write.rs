//! Writing: heads, bodies, field lines, dates. RFC 9112, sections 3 to 7.
//!
//! Nothing is repaired here either: what would break the framing is refused with an error that
//! blames the caller, before a byte of it is written.

use alloc::vec::Vec;

use super::chars::{is_token, is_value_byte, put_decimal, put_hex};
use crate::error::Error;
use crate::io::Tx;

/// How long a body will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Length {
    /// There is none.
    None,
    /// This many bytes.
    Known(u64),
    /// Nobody knows yet: chunks in HTTP/1.1, until the connection ends in HTTP/1.0.
    Unknown,
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever answers")]
pub struct Response<'a> {
    /// The status, 200 to 999. Interim responses and 101 have calls of their own.
    pub status: u16,
    /// Field lines in wire form, made by [`put_field`]. Not what the engine writes itself:
    /// Connection, Content-Length, Date, Transfer-Encoding.
    pub fields: &'a [u8],
    /// The length of the body as GET would give it; for HEAD, 204 and 304 nothing of it is sent.
    pub length: Length,
    /// The value of Date, made by [`http_date`]; `None` for an origin without a clock.
    pub date: Option<&'a [u8; 29]>,
    /// Whether the connection must not be used again.
    pub close: bool,
}

/// Appends a field line in wire form.
///
/// # Errors
///
/// `Caller`, and nothing is written: the name is no token, the value holds a control character
/// other than HTAB (CR and LF are what splits responses), or the field is one that the engine
/// writes itself: Connection, Content-Length, Date, Host, Keep-Alive, Transfer-Encoding, Upgrade.
pub fn put_field(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), Error> {
    if !is_token(name.as_bytes()) {
        return Err(Error::misuse("a field name is a token (RFC 9110, 5.6.2)"));
    }
    if !value.bytes().all(is_value_byte) {
        return Err(Error::misuse("a field value holds no control character (RFC 9110, 5.5)"));
    }
    if OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(Error::misuse("this field is written by the engine"));
    }
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends a field line of a trailer section in wire form: RFC 9110, section 6.5.
///
/// # Errors
///
/// `Caller`, and nothing is written: as for [`put_field`]; or it is a field that means something
/// before the content alone, as those of framing, routing, authentication, of what the content is,
/// of conditions and of caches do (section 6.5.1).
pub fn put_trailer(out: &mut Vec<u8>, name: &str, value: &str) -> Result<(), Error> {
    if LEADING.iter().any(|leading| leading.eq_ignore_ascii_case(name)) {
        return Err(Error::misuse("a field that may not be in trailers (RFC 9110, 6.5.1)"));
    }
    put_field(out, name, value)
}

/// Fields that only the engine writes.
const OWN: [&str; 7] =
    ["connection", "content-length", "date", "host", "keep-alive", "transfer-encoding", "upgrade"];

/// Beside those of the engine, fields that stand before the content or nowhere.
const LEADING: [&str; 31] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];

/// Writes one body as its head announced it. Eight bytes.
#[derive(Debug)]
pub struct BodyWriter(u64);

impl BodyWriter {
    /// In chunks; the values above every length that is accepted name the other framings.
    const CHUNKED: u64 = u64::MAX;
    const UNTIL_CLOSE: u64 = u64::MAX - 1;
    /// Taken and dropped: there is no body in this message.
    const SWALLOW: u64 = u64::MAX - 2;
    /// The longest length.
    const MAX: u64 = i64::MAX as u64;

    /// Makes a writer of `n` bytes, at most `i64::MAX`.
    pub(super) const fn known(n: u64) -> Result<Self, Error> {
        if n > Self::MAX { Err(Error::misuse("a length above i64::MAX")) } else { Ok(Self(n)) }
    }

    /// Makes a writer of chunks.
    pub(super) const fn chunked() -> Self {
        Self(Self::CHUNKED)
    }

    /// Makes a writer of a body that ends with the connection.
    pub(super) const fn until_close() -> Self {
        Self(Self::UNTIL_CLOSE)
    }

    /// Makes a writer that drops everything.
    pub(super) const fn swallow() -> Self {
        Self(Self::SWALLOW)
    }

    /// Appends a part of the body. Empty does nothing.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: it is more than was announced.
    pub fn body(&mut self, tx: &mut Tx<'_>, data: &[u8]) -> Result<(), Error> {
        match self.0 {
            Self::SWALLOW => {}
            Self::UNTIL_CLOSE => tx.put(data),
            Self::CHUNKED if data.is_empty() => {}
            Self::CHUNKED => put_chunk(tx.buf(data.len() + CHUNK_ROOM), data),
            left => {
                let left = left.checked_sub(data.len() as u64);
                self.0 = left.ok_or(Error::misuse("a body longer than announced"))?;
                tx.put(data);
            }
        }
        Ok(())
    }

    /// Counts `n` bytes that go to the peer another way, right behind what is in the output.
    /// `false`: there is no body in this message, and they must not be sent.
    ///
    /// # Errors
    ///
    /// `Caller`: the length was not announced, or it is more than was announced.
    pub fn lend(&mut self, n: u64) -> Result<bool, Error> {
        match self.0 {
            Self::SWALLOW => Ok(false),
            Self::UNTIL_CLOSE | Self::CHUNKED => Err(Error::misuse("a length not announced")),
            left => {
                let left = left.checked_sub(n);
                self.0 = left.ok_or(Error::misuse("a body longer than announced"))?;
                Ok(true)
            }
        }
    }

    /// Counts a part of the body and gives what it is on the wire: `chunk`, which [`put_chunk`]
    /// made of `data`, or `data` itself, or nothing. Whoever calls this sends it.
    ///
    /// # Errors
    ///
    /// As [`body`](Self::body).
    pub fn share<'p>(&mut self, chunk: &'p [u8], data: &'p [u8]) -> Result<&'p [u8], Error> {
        match self.0 {
            Self::SWALLOW => return Ok(&[]),
            // The chunk of nothing is the last one.
            Self::CHUNKED if data.is_empty() => return Ok(&[]),
            Self::CHUNKED => return Ok(chunk),
            Self::UNTIL_CLOSE => {}
            left => {
                let left = left.checked_sub(data.len() as u64);
                self.0 = left.ok_or(Error::misuse("a body longer than announced"))?;
            }
        }
        Ok(data)
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// `Caller`: it is less than was announced. The connection cannot be used any more.
    pub fn finish(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.finish_with(tx, &[])
    }

    /// Ends the body with a trailer section (RFC 9112, section 7.1.2): field lines in wire form,
    /// made by [`put_trailer`]. Only what is sent in chunks has a place for it; elsewhere it is
    /// dropped, as section 6.5.1 of RFC 9110 lets anybody do.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_with(&mut self, tx: &mut Tx<'_>, trailers: &[u8]) -> Result<(), Error> {
        match core::mem::replace(&mut self.0, 0) {
            0 | Self::SWALLOW | Self::UNTIL_CLOSE => Ok(()),
            Self::CHUNKED => {
                let out = tx.buf(trailers.len() + 5);
                out.extend_from_slice(b"0\r\n");
                out.extend_from_slice(trailers);
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
            _ => Err(Error::misuse("a body shorter than announced")),
        }
    }

    /// Tells whether everything is dropped.
    pub(super) fn is_swallow(&self) -> bool {
        self.0 == Self::SWALLOW
    }

    /// Tells whether the body ends with the connection.
    pub(super) fn is_until_close(&self) -> bool {
        self.0 == Self::UNTIL_CLOSE
    }
}

/// What a chunk has around its data at most: 16 digits, and CR LF twice.
const CHUNK_ROOM: usize = 20;

/// Appends `data` as a chunk: RFC 9112, section 7.1. An empty one would end the body.
pub fn put_chunk(buf: &mut Vec<u8>, data: &[u8]) {
    put_hex(buf, data.len() as u64);
    buf.extend_from_slice(b"\r\n");
    buf.extend_from_slice(data);
    buf.extend_from_slice(b"\r\n");
}

/// How the body of a response is announced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Announce {
    Nothing,
    Length(u64),
    Chunked,
}

/// Room for what a head holds beside its fields.
const HEAD_ROOM: usize = 192;

/// Appends the head of a response, and makes room for `more` bytes behind it.
pub(super) fn put_response<'t>(
    tx: &'t mut Tx<'_>,
    head: &Response<'_>,
    announce: Announce,
    close: bool,
    more: usize,
) -> &'t mut Vec<u8> {
    let out = tx.buf(HEAD_ROOM + head.fields.len() + more);
    put_status_line(out, head.status);
    out.extend_from_slice(head.fields);
    if let Some(date) = head.date {
        put_date(out, date);
    }
    put_announce(out, announce);
    if close {
        out.extend_from_slice(b"Connection: close\r\n\r\n");
    } else {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Appends the field that announces a body.
pub(super) fn put_announce(out: &mut Vec<u8>, announce: Announce) {
    match announce {
        Announce::Nothing => {}
        Announce::Length(n) => {
            out.extend_from_slice(b"Content-Length: ");
            put_decimal(out, n, *b"\r\n");
        }
        Announce::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// In one piece, since its length is known to the compiler.
fn put_date(out: &mut Vec<u8>, date: &[u8; 29]) {
    let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    if let Some(value) = line.get_mut(6..35) {
        value.copy_from_slice(date);
    }
    out.extend_from_slice(&line);
}

fn put_status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    let digit = |n: u16| b'0' + (n % 10).to_le_bytes()[0];
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole response that ends the connection; its text is the reason.
pub(super) fn put_goodbye(tx: &mut Tx<'_>, status: u16, head_only: bool, date: Option<&[u8; 29]>) {
    let text = reason(status);
    let fields = b"Content-Type: text/plain\r\n";
    let head = Response { status, fields, length: Length::None, date, close: true };
    let length = Announce::Length(text.len() as u64 + 1);
    let out = put_response(tx, &head, length, true, text.len() + 1);
    if !head_only {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
}

/// Appends an interim response.
pub(super) fn put_interim(tx: &mut Tx<'_>, status: u16, fields: &[u8]) {
    let out = tx.buf(HEAD_ROOM + fields.len());
    put_status_line(out, status);
    out.extend_from_slice(fields);
    out.extend_from_slice(b"\r\n");
}

/// Gives the reason phrase of `status`; "Unknown" for one that the registry does not know.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}

/// Gives the time `unix` (seconds since 1970, without leap seconds) as Date and Last-Modified
/// write it: RFC 9110, section 5.6.7. Times after the year 9999 are written as its last second.
pub fn http_date(unix: u64) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    const LAST: u64 = 253_402_300_799;
    let unix = unix.min(LAST);
    let (days, second) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    put_name(&mut out, 0, DAYS, days % 7);
    put_two(&mut out, 5, day);
    put_name(&mut out, 8, MONTHS, month - 1);
    put_two(&mut out, 12, year / 100);
    put_two(&mut out, 14, year % 100);
    put_two(&mut out, 17, second / 3600);
    put_two(&mut out, 20, second / 60 % 60);
    put_two(&mut out, 23, second % 60);
    out
}

/// Turns days since 1970 into year, month (1 to 12) and day (1 to 31). Counts in eras of 400
/// years that begin on the first of March, so that a leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

fn put_name(out: &mut [u8; 29], at: usize, names: &[u8], which: u64) {
    let from = usize::try_from(which * 3).unwrap_or(0);
    if let (Some(slot), Some(name)) = (out.get_mut(at..at + 3), names.get(from..from + 3)) {
        slot.copy_from_slice(name);
    }
}

fn put_two(out: &mut [u8; 29], at: usize, n: u64) {
    let digit = |n: u64| b'0' + u8::try_from(n % 10).unwrap_or(0);
    if let Some([tens, ones]) = out.get_mut(at..at + 2) {
        *tens = digit(n / 10);
        *ones = digit(n);
    }
}
