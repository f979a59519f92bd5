//! Heads: the first line, and what the fields of a whole head mean together. RFC 9112, sections
//! 3, 4 and 6; RFC 9110, section 7.
//!
//! In: the bytes of a head. Out: a [`Request`] with its framing, or a status line.

use core::net::Ipv6Addr;

use super::body::{Body, Framed, Framing};
use super::chars::{host_run, is_token, list, path_run, target_run, token_run, trim};
use super::fields::{Fields, Known, Line, Progress, Room, line, section};
use super::{Fault, Version, bad};
use crate::io::{FieldSpan, Scratch, Span};
use crate::limits::H1Limits;

/// The longest method that is read, in bytes.
const METHOD_MAX: usize = 32;

/// The head of a request. Borrows the input it arrived in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The method, a token of at most 32 bytes, in the case it arrived in.
    pub method: &'a str,
    /// The request target, as it arrived.
    pub target: &'a str,
    /// The path of an origin-form or absolute-form target, percent-encoded as it arrived; `*` for
    /// `OPTIONS *`, empty for `CONNECT`.
    pub path: &'a str,
    /// What follows the first `?`, without it.
    pub query: Option<&'a str>,
    /// Host and port as the peer named them; empty if a request of another version than HTTP/1.1
    /// names none.
    pub host: &'a str,
    /// The version.
    pub version: Version,
    /// The field lines.
    pub fields: Fields<'a>,
    /// How the body is delimited.
    pub body: Body,
    /// The peer asks for the WebSocket protocol in a way that may be granted by
    /// [`Server::switch`]: a GET of HTTP/1.1 without a body, with `upgrade` in Connection and
    /// `websocket` in Upgrade; over HTTP/2, a CONNECT for `websocket` (RFC 8441). Otherwise
    /// Upgrade is to be ignored.
    ///
    /// [`Server::switch`]: super::Server::switch
    pub upgrade: bool,
}

#[cfg(feature = "h2")]
impl<'a> Request<'a> {
    /// Makes one that came over HTTP/2, of what was checked.
    pub(crate) fn over_h2(
        method: &'a str,
        target: &'a str,
        (path, query): (&'a str, Option<&'a str>),
        host: &'a str,
        fields: Fields<'a>,
        body: Body,
        upgrade: bool,
    ) -> Self {
        Self { method, target, path, query, host, version: Version::Http2, fields, body, upgrade }
    }
}

/// What a request asks of the connection, beside what the application is told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asks {
    /// Not to be used again.
    pub(super) close: bool,
    /// To be told before it sends the body.
    pub(super) expect: bool,
}

/// Where the parts of a request line end.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    method: usize,
    /// Behind the path of an origin-form target.
    path: usize,
    target: usize,
    version: Version,
}

/// A status line.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: u16,
    /// Where the reason begins and ends.
    pub(super) reason: (usize, usize),
}

/// Reads a head whose first line `first` understands. `None` if it is not complete; `progress`
/// then says how far it got. Else that line and the length of the head, and `progress` begins
/// anew.
///
/// A head that arrives whole is gone through once. One that arrives in parts is judged line by
/// line as it comes, and gone through again once it is complete, since the places found before
/// were lent only for a turn.
pub(super) fn read<T>(
    buf: &[u8],
    progress: &mut Progress,
    limits: &H1Limits,
    scratch: &mut Scratch,
    first: impl Fn(&[u8]) -> Result<T, Fault>,
) -> Result<Option<(T, usize)>, Fault> {
    const LONG: Fault = Fault { status: 414, rule: "the limit of a request line" };
    let room = Room { line: limits.field, total: limits.head, fields: limits.fields };
    if progress.line > 0 {
        if section(buf, progress, room, scratch.fields())?.is_none() {
            return Ok(None);
        }
        *progress = Progress::default();
    }
    let end = match line(buf, 0, progress.scan as usize, limits.line.min(limits.head), LONG)? {
        Line::Ends(end) => end,
        Line::Open(scan) => {
            progress.scan = u32::try_from(scan).unwrap_or(u32::MAX);
            return Ok(None);
        }
    };
    let parsed = first(buf.get(..end).unwrap_or(&[]))?;
    *progress = after_first(end);
    let Some(len) = section(buf, progress, room, scratch.fields())? else { return Ok(None) };
    *progress = Progress::default();
    Ok(Some((parsed, len)))
}

fn after_first(end: usize) -> Progress {
    let at = u32::try_from(end + 2).unwrap_or(u32::MAX);
    Progress { line: at, scan: at, count: 0 }
}

/// Reads a request line: RFC 9112, section 3. One space each, nothing repaired.
pub(super) fn request_line(text: &[u8]) -> Result<RequestLine, Fault> {
    let method = token_run(text);
    if method == 0 || method > METHOD_MAX || text.get(method) != Some(&b' ') {
        return Err(bad("RFC 9112, 3.1: a method is a token, then one space"));
    }
    let rest = text.get(method + 1..).unwrap_or(&[]);
    let path = path_run(rest);
    let query = rest.get(path..).unwrap_or(&[]);
    let len = path + target_run(query);
    if len == 0 || rest.get(len) != Some(&b' ') {
        return Err(bad("RFC 9112, 3.2: a target is URI characters, then one space"));
    }
    let version = version(rest.get(len + 1..).unwrap_or(&[]))?;
    let start = method + 1;
    Ok(RequestLine { method, path: start + path, target: start + len, version })
}

/// Reads a status line: RFC 9112, section 4. The space before an empty reason may be missing.
pub(super) fn status_line(text: &[u8]) -> Result<StatusLine, Fault> {
    const SHAPE: Fault = bad("RFC 9112, 4: version, one space, three digits, one space, reason");
    let (version_text, rest) = text.split_at_checked(8).ok_or(SHAPE)?;
    let version = version(version_text)?;
    let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', tail @ ..] = rest else {
        return Err(SHAPE);
    };
    if !matches!(tail, [] | [b' ', ..]) {
        return Err(SHAPE);
    }
    let digit = |d: &u8| u16::from(d - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    Ok(StatusLine { version, status, reason: (text.len().min(13), text.len()) })
}

fn version(text: &[u8]) -> Result<Version, Fault> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Fault { status: 505, rule: "RFC 9110, 15.6.6: neither HTTP/1.0 nor 1.1" })
        }
        _ => Err(bad("RFC 9112, 2.3: a version is HTTP/, a digit, a dot, a digit")),
    }
}

/// Puts a whole head together: what its target is, and what its fields say about the connection.
pub(super) fn request<'a>(
    head: &'a [u8],
    line: RequestLine,
    spans: &'a [FieldSpan],
) -> Result<(Request<'a>, Asks), Fault> {
    let mut facts = Facts::default();
    for span in spans.iter().filter(|span| span.known != 0) {
        facts.note(span, head)?;
    }
    let (text, host) = texts(head, line.target, facts.host);
    let host = facts.host.map(|_| host);
    let (method, rest) = text.split_at_checked(line.method).unwrap_or(("", ""));
    let target = rest.get(1..).unwrap_or("");
    let form = if target.starts_with('/') && method != "CONNECT" {
        origin_form(target, line.path.saturating_sub(line.method + 1))
    } else {
        target_form(method, target)?
    };

    let http11 = line.version == Version::Http11;
    let body = facts.framing.request(line.version)?;
    let host = agree(form.authority, host, http11)?;
    let asks = Asks {
        close: facts.close || !http11,
        expect: http11 && expectation(facts.expect)? && body != Body::None,
    };
    let upgrade =
        http11 && facts.may_upgrade && facts.to_websocket && body == Body::None && method == "GET";
    let fields = Fields::new(head, spans);
    let (path, query) = (form.path, form.query);
    let version = line.version;
    Ok((Request { method, target, path, query, host, version, fields, body, upgrade }, asks))
}

/// Gives method and target, and the host, as text. Both are ASCII by their grammars. They mostly
/// lie close together and are checked in one go then, since each check has a cost of its own.
fn texts(head: &[u8], line: usize, host: Option<Span>) -> (&str, &str) {
    const NEAR: usize = 64;
    let host = host.unwrap_or_default();
    let (start, end) = (host.start as usize, host.start as usize + host.len as usize);
    if end <= line + NEAR {
        let near = head.get(..end.max(line)).and_then(|near| core::str::from_utf8(near).ok());
        if let Some((line, host)) = near.and_then(|n| Some((n.get(..line)?, n.get(start..end)?))) {
            return (line, host);
        }
    }
    let text = |from: usize, to: usize| {
        head.get(from..to).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    };
    (text(0, line), text(start, end))
}

/// What the known fields of a head say.
#[derive(Default)]
struct Facts<'a> {
    host: Option<Span>,
    framing: Framing<'a>,
    expect: Option<&'a [u8]>,
    close: bool,
    may_upgrade: bool,
    to_websocket: bool,
}

impl<'a> Facts<'a> {
    fn note(&mut self, span: &FieldSpan, head: &'a [u8]) -> Result<(), Fault> {
        let (known, value) = (span.known, span.value.of(head));
        if known == Known::Host as u8 {
            if self.host.is_some() {
                return Err(bad("RFC 9112, 3.2: one Host"));
            }
            check_host(value)?;
            self.host = Some(span.value);
        } else if known == Known::ContentLength as u8 {
            self.framing.content_length(value)?;
        } else if known == Known::TransferEncoding as u8 {
            self.framing.transfer_encoding(value)?;
        } else if known == Known::Connection as u8 {
            for option in list(value) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.may_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            }
        } else if known == Known::Upgrade as u8 {
            self.to_websocket |= list(value).any(|p| p.eq_ignore_ascii_case(b"websocket"));
        } else if known == Known::Expect as u8 {
            if self.expect.is_some() {
                return Err(UNKNOWN_EXPECTATION);
            }
            self.expect = Some(value);
        }
        Ok(())
    }
}

const UNKNOWN_EXPECTATION: Fault =
    Fault { status: 417, rule: "RFC 9110, 10.1.1: an expectation other than 100-continue" };

fn expectation(value: Option<&[u8]>) -> Result<bool, Fault> {
    match value {
        None => Ok(false),
        Some(value) if trim(value).eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(UNKNOWN_EXPECTATION),
    }
}

/// A target taken apart.
struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

/// Nearly every target: a path, and perhaps a query behind it.
fn origin_form(target: &str, path: usize) -> Target<'_> {
    let (path, query) = target.split_at_checked(path).unwrap_or((target, ""));
    Target { authority: None, path, query: query.strip_prefix('?') }
}

/// Tells the other three forms of a target apart: RFC 9112, section 3.2.
fn target_form<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Fault> {
    if method == "CONNECT" {
        let port = target.rsplit_once(':').map_or("", |(_, port)| port);
        if check_host(target.as_bytes()).is_err() || port.is_empty() {
            return Err(bad("RFC 9112, 3.2.3: CONNECT takes a host and a port"));
        }
        return Ok(Target { authority: Some(target), path: "", query: None });
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(Target { authority: None, path: target, query: None });
    }
    absolute_form(method, target)
}

fn absolute_form<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Fault> {
    const FORM: Fault = bad("RFC 9112, 3.2: the target is in none of the four forms");
    let (scheme, rest) = target.split_once("://").ok_or(FORM)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(FORM);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(FORM)?;
    check_host(authority.as_bytes())?;
    let (path, query) = split_query(rest);
    let path = match path {
        // RFC 9112, 3.2.4: this is how a proxy is told `OPTIONS *`.
        "" if method == "OPTIONS" && query.is_none() => "*",
        "" => "/",
        path => path,
    };
    Ok(Target { authority: Some(authority), path, query })
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Decides on the host: named once in HTTP/1.1, and the same wherever it is named. RFC 9112,
/// section 3.2.
fn agree<'a>(
    authority: Option<&'a str>,
    field: Option<&'a str>,
    required: bool,
) -> Result<&'a str, Fault> {
    match (authority, field) {
        (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b) => {
            // Departs from RFC 9112, 3.2.2, where the target wins: parties that disagree on which
            // of the two counts are what an attacker looks for.
            Err(bad("RFC 9112, 3.2.2: Host and target name different hosts"))
        }
        (_, None) if required => Err(bad("RFC 9112, 3.2: no Host")),
        (authority, field) => Ok(field.or(authority).unwrap_or("")),
    }
}

/// Checks `uri-host [":" port]`: RFC 9110, section 7.2. Not empty, since no http URI is without a
/// host.
pub(super) fn check_host(value: &[u8]) -> Result<(), Fault> {
    const HOST: Fault = bad("RFC 9110, 7.2: a Host is a name or address, and a port");
    let len = match value {
        [b'[', inner @ ..] => {
            let end = inner.iter().position(|&b| b == b']').ok_or(HOST)?;
            let literal = inner.get(..end).and_then(|text| core::str::from_utf8(text).ok());
            if literal.is_none_or(|text| text.parse::<Ipv6Addr>().is_err()) {
                return Err(HOST);
            }
            end + 2
        }
        name => host_run(name),
    };
    match value.get(len..) {
        Some([]) if len > 0 => Ok(()),
        Some([b':', port @ ..]) if len > 0 && is_port(port) => Ok(()),
        _ => Err(HOST),
    }
}

/// Tells whether `value` is a host as [`check_host`] has it.
#[cfg(feature = "h2")]
pub(crate) fn is_host(value: &[u8]) -> bool {
    check_host(value).is_ok()
}

fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
}

/// Tells whether a method may be sent: a token that a server of ours would read.
pub(crate) fn is_method(method: &str) -> bool {
    method.len() <= METHOD_MAX && is_token(method.as_bytes())
}

/// Reads what the fields of a response say about its body and its connection.
pub(super) fn response_facts(
    head: &[u8],
    spans: &[FieldSpan],
    version: Version,
) -> Result<(Framed, bool), Fault> {
    let mut framing = Framing::default();
    let mut close = false;
    for span in spans {
        let value = span.value.of(head);
        if span.known == Known::ContentLength as u8 {
            framing.content_length(value)?;
        } else if span.known == Known::TransferEncoding as u8 {
            framing.coded(value);
        } else if span.known == Known::Connection as u8 {
            close |= list(value).any(|option| option.eq_ignore_ascii_case(b"close"));
        }
    }
    Ok((framing.response(version)?, close))
}
