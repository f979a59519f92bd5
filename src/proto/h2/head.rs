//! What the fields of a whole block mean together: RFC 9113, sections 8.1 to 8.5; RFC 8441.
//!
//! In: decoded fields. Out: a head in the terms of HTTP/1. What is malformed here is not repaired:
//! whoever forwarded it to an HTTP/1 server would forward it as something else.

use alloc::vec::Vec;

use super::priority::Priority;
use super::streams::UNDECLARED;
use crate::io::{FieldSpan, Scratch, Span};
use crate::proto::h1::{
    Body, Fields, Known, Request, ResponseHead, find_control, is_blank, is_host, is_method,
    is_token, target_run,
};
use crate::proto::hpack::Pseudo;

/// The rule that a malformed message breaks.
pub(super) type Rule = &'static str;

/// What the engine takes from a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// The declared length of the body.
    pub(super) length: u64,
    pub(super) priority: Option<Priority>,
    /// The client waits for 100 before it sends the body.
    pub(super) expects: bool,
    /// A CONNECT, of either kind.
    pub(super) connects: bool,
    /// A CONNECT for WebSocket.
    pub(super) websocket: bool,
    pub(super) status: u16,
    pub(super) is_head: bool,
}

/// Where the parts of the first line are.
#[derive(Clone, Copy, Default)]
struct Firsts {
    authority: Option<Span>,
    method: Option<Span>,
    path: Option<Span>,
    scheme: Option<Span>,
    status: Option<Span>,
    protocol: Option<Span>,
}

/// What regular fields have said.
#[derive(Default)]
struct Noted {
    length: Option<u64>,
    host: Option<Span>,
    cookies: usize,
    expects: bool,
    priority: Option<Priority>,
}

/// A request that was checked, to be put together once nothing else borrows the scratch.
#[derive(Clone, Copy)]
pub(super) struct Checked {
    firsts: Firsts,
    /// Where the fields begin behind those of the first line.
    pub(super) from: usize,
    pub(super) facts: Facts,
}

/// Checks a request, and changes its fields to what HTTP/1 would have had: a Host, one Cookie.
pub(super) fn check_request(scratch: &mut Scratch) -> Result<Checked, Rule> {
    let (bytes, spans) = scratch.section_mut();
    let (firsts, mut from) = firsts(bytes, spans)?;
    let noted = regular(bytes, spans.get(from..).unwrap_or_default())?;
    if firsts.status.is_some() {
        return Err("RFC 9113, 8.3: a request has no :status");
    }
    let method = firsts.method.ok_or("RFC 9113, 8.3.1: a request has a :method")?.of(bytes);
    if core::str::from_utf8(method).is_ok_and(|method| !is_method(method)) {
        return Err("RFC 9113, 8.3.1: a :method is a token");
    }
    let connects = method == b"CONNECT";
    let is_head = method == b"HEAD";
    if connects && firsts.protocol.is_none() {
        check_tunnel(&firsts)?;
    } else {
        check_target(bytes, &firsts, method)?;
        if firsts.protocol.is_some() && !connects {
            return Err("RFC 8441, 4: :protocol belongs to CONNECT");
        }
    }
    let authority = firsts.authority.map(|span| span.of(bytes)).filter(|text| !text.is_empty());
    let host = noted.host.map(|span| span.of(bytes));
    if authority.is_some_and(|text| !is_host(text)) || host.is_some_and(|text| !is_host(text)) {
        return Err("RFC 9113, 8.3.1: an :authority is a host and a port");
    }
    if let (Some(authority), Some(host)) = (authority, host)
        && !authority.eq_ignore_ascii_case(host)
    {
        return Err("RFC 9113, 8.3.1: Host is what :authority is");
    }
    let lacks_host = authority.is_some() && host.is_none();
    let websocket = firsts.protocol.is_some_and(|span| span.of(bytes) == b"websocket");
    let length = noted.length.unwrap_or(UNDECLARED);
    let (expects, priority) = (noted.expects, noted.priority);
    let facts = Facts { length, priority, expects, connects, websocket, status: 0, is_head };
    if noted.cookies > 1 {
        join_cookies(bytes, spans);
    }
    if lacks_host {
        from = put_host(bytes, spans, from, firsts.authority.unwrap_or_default());
    }
    let firsts = Firsts { authority: firsts.authority.or(noted.host), ..firsts };
    Ok(Checked { firsts, from, facts })
}

/// Puts a checked request together.
pub(super) fn request(checked: Checked, ended: bool, scratch: &Scratch) -> Request<'_> {
    let (bytes, spans) = scratch.section_ref();
    let text = |span: Option<Span>| {
        let bytes = span.map_or(&[][..], |span| span.of(bytes));
        core::str::from_utf8(bytes).unwrap_or("")
    };
    let Checked { firsts, from, facts } = checked;
    let target = text(firsts.path);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let body = match facts.length {
        _ if ended => Body::None,
        UNDECLARED | 0 => Body::Chunked,
        n => Body::Length(n),
    };
    let fields = Fields::new(bytes, spans.get(from..).unwrap_or_default());
    let host = text(firsts.authority);
    Request::over_h2(
        text(firsts.method),
        target,
        (path, query),
        host,
        fields,
        body,
        facts.websocket,
    )
}

/// Checks the head of a response. Gives where its fields begin.
pub(super) fn check_response(scratch: &mut Scratch) -> Result<Checked, Rule> {
    let (bytes, spans) = scratch.section_mut();
    let (firsts, from) = firsts(bytes, spans)?;
    let noted = regular(bytes, spans.get(from..).unwrap_or_default())?;
    let status = firsts.status.ok_or("RFC 9113, 8.3.2: a response has a :status")?.of(bytes);
    if from != 1 {
        return Err("RFC 9113, 8.3: a response has :status alone");
    }
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = status else {
        return Err("RFC 9113, 8.3.2: a :status is three digits");
    };
    let digit = |d: &u8| u16::from(d - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    if status == 101 {
        return Err("RFC 9113, 8.6: nothing is upgraded");
    }
    let facts = Facts {
        length: noted.length.unwrap_or(UNDECLARED),
        priority: None,
        expects: false,
        connects: false,
        websocket: false,
        status,
        is_head: false,
    };
    Ok(Checked { firsts, from, facts })
}

/// Puts the head of a checked response together.
pub(super) fn response(checked: Checked, scratch: &Scratch) -> ResponseHead<'_> {
    let (bytes, spans) = scratch.section_ref();
    let fields = Fields::new(bytes, spans.get(checked.from..).unwrap_or_default());
    ResponseHead::over_h2(checked.facts.status, fields)
}

/// Checks a trailer section: RFC 9113, section 8.1.
pub(super) fn check_trailers(scratch: &Scratch) -> Result<(), Rule> {
    let (bytes, spans) = scratch.section_ref();
    regular(bytes, spans).map(drop)
}

/// Takes the parts of the first line off the front: RFC 9113, section 8.3.
fn firsts(bytes: &[u8], spans: &[FieldSpan]) -> Result<(Firsts, usize), Rule> {
    let mut found = Firsts::default();
    let mut count = 0;
    for span in spans.iter().take_while(|span| span.known >= Pseudo::Authority as u8) {
        let place = match span.known {
            n if n == Pseudo::Authority as u8 => &mut found.authority,
            n if n == Pseudo::Method as u8 => &mut found.method,
            n if n == Pseudo::Path as u8 => &mut found.path,
            n if n == Pseudo::Scheme as u8 => &mut found.scheme,
            n if n == Pseudo::Status as u8 => &mut found.status,
            n if n == Pseudo::Protocol as u8 => &mut found.protocol,
            _ => return Err("RFC 9113, 8.3: a field with a colon that nobody knows"),
        };
        if place.replace(span.value).is_some() {
            return Err("RFC 9113, 8.3: each of the fields with a colon is there once");
        }
        check_value(span.value.of(bytes))?;
        count += 1;
    }
    Ok((found, count))
}

/// Checks regular fields: RFC 9113, sections 8.2.1 and 8.2.2.
fn regular(bytes: &[u8], spans: &[FieldSpan]) -> Result<Noted, Rule> {
    let mut noted = Noted::default();
    for span in spans {
        if span.known >= Pseudo::Authority as u8 {
            return Err("RFC 9113, 8.3: fields with a colon stand first, and in no trailers");
        }
        let (name, value) = (span.name.of(bytes), span.value.of(bytes));
        if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
            return Err("RFC 9113, 8.2.1: a name is a token in lower case");
        }
        check_value(value)?;
        if span.known != 0 {
            noted.note(span, value)?;
        }
    }
    Ok(noted)
}

fn check_value(value: &[u8]) -> Result<(), Rule> {
    if find_control(value, 0).is_some() {
        return Err("RFC 9113, 8.2.1: a value holds no control character");
    }
    let ends = [value.first(), value.last()];
    if ends.into_iter().flatten().any(|b| is_blank(*b)) {
        return Err("RFC 9113, 8.2.1: a value has no white space around it");
    }
    Ok(())
}

impl Noted {
    fn note(&mut self, span: &FieldSpan, value: &[u8]) -> Result<(), Rule> {
        let is = |known: Known| span.known == known as u8;
        if is(Known::Connection)
            || is(Known::KeepAlive)
            || is(Known::ProxyConnection)
            || is(Known::TransferEncoding)
            || is(Known::Upgrade)
        {
            return Err("RFC 9113, 8.2.2: no field is about the connection");
        }
        if is(Known::Te) && value != b"trailers" {
            return Err("RFC 9113, 8.2.2: TE is trailers");
        }
        if is(Known::Host) && self.host.replace(span.value).is_some() {
            return Err("RFC 9113, 8.3.1: one Host");
        }
        if is(Known::ContentLength) && self.length.replace(read_length(value)?).is_some() {
            return Err("RFC 9110, 8.6: one Content-Length");
        }
        if is(Known::Priority) {
            self.priority = Some(Priority::read(value));
        }
        self.expects |= is(Known::Expect) && value.eq_ignore_ascii_case(b"100-continue");
        self.cookies += usize::from(is(Known::Cookie));
        Ok(())
    }
}

fn read_length(value: &[u8]) -> Result<u64, Rule> {
    let sound = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 18;
    if !sound || !value.iter().all(u8::is_ascii_digit) {
        return Err("RFC 9110, 8.6: a Content-Length is up to 18 digits");
    }
    Ok(value.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// RFC 9113, section 8.5.
fn check_tunnel(firsts: &Firsts) -> Result<(), Rule> {
    if firsts.path.is_some() || firsts.scheme.is_some() || firsts.authority.is_none() {
        return Err("RFC 9113, 8.5: CONNECT has an :authority, no :scheme and no :path");
    }
    Ok(())
}

/// RFC 9113, section 8.3.1.
fn check_target(bytes: &[u8], firsts: &Firsts, method: &[u8]) -> Result<(), Rule> {
    let scheme = firsts.scheme.map(|span| span.of(bytes));
    if !matches!(scheme, Some(b"http" | b"https")) {
        return Err("RFC 9113, 8.3.1: a request has a :scheme, http or https");
    }
    let path = firsts.path.map_or(&[][..], |span| span.of(bytes));
    let sound = path.first() == Some(&b'/') || path == b"*" && method == b"OPTIONS";
    if !sound || target_run(path) != path.len() {
        return Err("RFC 9113, 8.3.1: a request has a :path, which begins with a slash");
    }
    Ok(())
}

/// Puts a Host in place of the last field of the first line, as HTTP/1 would have one. Gives where
/// the fields begin.
fn put_host(bytes: &mut Vec<u8>, spans: &mut [FieldSpan], from: usize, value: Span) -> usize {
    let name = span(bytes.len(), 4);
    bytes.extend_from_slice(b"host");
    let Some(at) = from.checked_sub(1) else { return from };
    if let Some(place) = spans.get_mut(at) {
        *place = FieldSpan { name, value, known: Known::Host as u8 };
    }
    at
}

/// Joins the pieces of a cookie: RFC 9113, section 8.2.3.
fn join_cookies(bytes: &mut Vec<u8>, spans: &mut Vec<FieldSpan>) {
    let is_cookie = |span: &FieldSpan| span.known == Known::Cookie as u8;
    let Some(first) = spans.iter().position(is_cookie) else { return };
    let start = bytes.len();
    for span in spans.iter().filter(|span| is_cookie(span)) {
        if bytes.len() > start {
            bytes.extend_from_slice(b"; ");
        }
        let from = span.value.start as usize;
        bytes.extend_from_within(from..from + span.value.len as usize);
    }
    let whole = span(start, bytes.len() - start);
    let mut at = 0;
    spans.retain_mut(|span| {
        let keep = at == first || !is_cookie(span);
        if at == first {
            span.value = whole;
        }
        at += 1;
        keep
    });
}

#[expect(clippy::cast_possible_truncation, reason = "a section is bounded by its limits")]
fn span(start: usize, len: usize) -> Span {
    Span { start: start as u32, len: len as u32 }
}

/// Whether a field line of HTTP/1 is sent in HTTP/2.
pub(super) fn is_sent(name: &[u8]) -> bool {
    const NOT: [&[u8]; 6] = [
        b"connection",
        b"upgrade",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        // RFC 8441, section 5: what proves that a server understood is a setting.
        b"sec-websocket-accept",
    ];
    !NOT.iter().any(|not| name.eq_ignore_ascii_case(not))
}

/// Splits field lines in the wire form of HTTP/1, as `put_field` makes them.
pub(super) fn lines(fields: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.split(|b| *b == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.get(1..)?.trim_ascii()))
    })
}
