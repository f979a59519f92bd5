//! The opening handshake over HTTP/1: RFC 6455, sections 4.1, 4.2 and 10.2.
//!
//! In: the fields of a request or of its answer. Out: the fields to answer or ask with, or why
//! not. The method, the version of HTTP and, in a request, `Upgrade` and `Connection` are checked
//! by HTTP/1, which also writes those two.

use alloc::vec::Vec;

#[cfg(feature = "deflate")]
use super::deflate;
use super::{Config, Extensions, OriginRule, base64, sha1};
use crate::{Error, Wire};

/// How many `Sec-WebSocket-Protocol` lines a request may spread its offer over.
const OFFER_LINES: usize = 4;
/// How many `Sec-WebSocket-Extensions` lines are looked at; the others are not agreed on.
#[cfg(feature = "deflate")]
const EXTENSION_LINES: usize = 4;
/// What a key is hashed with: RFC 6455, section 1.3.
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request says about the WebSocket that it asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer<'a> {
    version: Field<'a>,
    key: Field<'a>,
    origin: Field<'a>,
    host: Field<'a>,
    protocols: [&'a [u8]; OFFER_LINES],
    lines: usize,
    #[cfg(feature = "deflate")]
    extensions: Lines<'a>,
    secure: bool,
    keyless: bool,
}

impl<'a> Offer<'a> {
    /// Picks what matters from a request's field lines: names in any case, values trimmed.
    pub fn from_fields(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut offer = Self::default();
        for (name, value) in fields {
            offer.add(name, value);
        }
        offer
    }

    /// Sets whether the request came over TLS, so that a `Host` without a port means 443.
    #[must_use]
    pub fn secure(mut self, on: bool) -> Self {
        self.secure = on;
        self
    }

    /// Sets whether the request came on a stream of HTTP/2, where nothing is proven by a key:
    /// RFC 8441, section 5.
    #[must_use]
    pub fn keyless(mut self, on: bool) -> Self {
        self.keyless = on;
        self
    }

    fn add(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("sec-websocket-key") {
            self.key.add(value);
        } else if is("sec-websocket-version") {
            self.version.add(value);
        } else if is("origin") {
            self.origin.add(value);
        } else if is("host") {
            self.host.add(value);
        } else if is("sec-websocket-protocol") {
            if let Some(line) = self.protocols.get_mut(self.lines) {
                *line = value;
            }
            self.lines += 1;
        } else {
            #[cfg(feature = "deflate")]
            if is(EXTENSIONS) {
                self.extensions.add(value);
            }
        }
    }

    fn is_ambiguous(&self) -> bool {
        [&self.version, &self.key, &self.origin, &self.host].iter().any(|f| f.twice)
            || self.lines > OFFER_LINES
    }

    /// Gives the offered subprotocols; an error if one is not a token.
    fn offered(&self) -> impl Iterator<Item = Result<&'a str, ()>> {
        let lines = self.protocols.into_iter().take(self.lines);
        lines.flat_map(list).map(|name| token(name).ok_or(()))
    }
}

/// A field that may be there several times, up to a bound.
#[cfg(feature = "deflate")]
#[derive(Clone, Copy, Debug, Default)]
struct Lines<'a> {
    values: [&'a [u8]; EXTENSION_LINES],
    count: usize,
}

#[cfg(feature = "deflate")]
impl<'a> Lines<'a> {
    fn add(&mut self, value: &'a [u8]) {
        if let Some(line) = self.values.get_mut(self.count) {
            *line = value;
        }
        self.count += 1;
    }

    fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.values.into_iter().take(self.count)
    }
}

const EXTENSIONS: &str = "sec-websocket-extensions";

/// A field that may be there once.
#[derive(Clone, Copy, Debug, Default)]
struct Field<'a> {
    value: Option<&'a [u8]>,
    twice: bool,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        self.twice |= self.value.replace(value).is_some();
    }
}

/// A request that is taken: what its 101 says.
#[derive(Clone, Copy, Debug)]
pub struct Accept<'a> {
    proof: [u8; 28],
    protocol: Option<&'a str>,
    #[cfg(feature = "deflate")]
    deflate: Option<deflate::Agreed>,
}

impl<'a> Accept<'a> {
    /// Gives the chosen subprotocol.
    pub fn protocol(&self) -> Option<&'a str> {
        self.protocol
    }

    /// Gives what was agreed on, for the connection: [`Ws::with_extensions`].
    ///
    /// [`Ws::with_extensions`]: super::Ws::with_extensions
    pub fn extensions(&self) -> Extensions {
        #[cfg(feature = "deflate")]
        return self.deflate.map(|agreed| agreed.extensions).unwrap_or_default();
        #[cfg(not(feature = "deflate"))]
        Extensions::default()
    }

    /// Agrees on compressing each message on its own (RFC 7692, section 7.1.1), whatever was
    /// configured: there is no memory to keep what was said.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn without_takeover(mut self) -> Self {
        self.deflate = self.deflate.map(deflate::Agreed::without_takeover);
        self
    }

    /// Appends the field lines of the 101 that are WebSocket's, each with its line end.
    pub fn put_fields(&self, out: &mut Vec<u8>) {
        put_field(out, "Sec-WebSocket-Accept", &self.proof);
        #[cfg(feature = "deflate")]
        if let Some(agreed) = self.deflate {
            out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            agreed.put_value(out);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(name) = self.protocol {
            put_field(out, "Sec-WebSocket-Protocol", name.as_bytes());
        }
    }
}

/// A request that is not taken: what it is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The status: 400, 403 or 426.
    pub status: u16,
    /// Field lines that belong to it, each with its line end; `Connection: upgrade`, which must
    /// come with an `Upgrade` among them, is left to HTTP/1.
    pub fields: &'static str,
    /// The rule that was broken.
    pub rule: &'static str,
}

impl Refusal {
    const fn new(status: u16, rule: &'static str) -> Self {
        Self { status, fields: "", rule }
    }
}

/// Decides about a request: version 13, a key of 16 bytes, an origin that `config` lets in, and
/// no field twice. Of the offered subprotocols the one that `config` names first is chosen; if it
/// names none of them, the answer has no subprotocol and the client decides.
///
/// An [`OriginRule::Hook`] is called from here.
///
/// # Errors
///
/// What to answer instead of 101 (RFC 6455, section 4.2.2).
pub fn accept<'a>(req: &Offer<'a>, config: &Config) -> Result<Accept<'a>, Refusal> {
    if req.is_ambiguous() {
        return Err(Refusal::new(400, "RFC 6455, 11.3: a handshake field is there once"));
    }
    check_version(req.version.value)?;
    let key = req.key.value.filter(|key| base64::is_of_16_bytes(key));
    let Some(key) = key.or(req.keyless.then_some(&[][..])) else {
        return Err(Refusal::new(400, "RFC 6455, 4.2.1: Sec-WebSocket-Key is 16 bytes in base64"));
    };
    if req.origin.value.is_some_and(|origin| !lets_in(config.origin_rule(), origin, req)) {
        return Err(Refusal::new(403, "RFC 6455, 4.2.2: the origin is not let in"));
    }
    if req.offered().any(|name| name.is_err()) {
        return Err(Refusal::new(400, "RFC 6455, 11.3.4: a subprotocol is a token"));
    }
    Ok(Accept {
        proof: proof_of(key),
        protocol: choose(req, config),
        #[cfg(feature = "deflate")]
        deflate: config.deflate_rules().and_then(|r| deflate::choose(req.extensions.iter(), &r)),
    })
}

fn check_version(version: Option<&[u8]>) -> Result<(), Refusal> {
    match version {
        Some(b"13") => Ok(()),
        Some(_) => Err(Refusal {
            status: 426,
            fields: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            rule: "RFC 6455, 4.4: the version is 13",
        }),
        None => Err(Refusal::new(400, "RFC 6455, 4.2.1: Sec-WebSocket-Version is missing")),
    }
}

fn choose<'a>(req: &Offer<'a>, config: &Config) -> Option<&'a str> {
    let mut ours = config.subprotocols().iter();
    ours.find_map(|name| req.offered().flatten().find(|offered| offered == name))
}

fn lets_in(rule: &OriginRule, origin: &[u8], req: &Offer<'_>) -> bool {
    let Ok(origin) = core::str::from_utf8(origin) else { return false };
    match rule {
        OriginRule::SameHost => {
            let host = req.host.value.and_then(|host| core::str::from_utf8(host).ok());
            host.is_some_and(|host| is_same_host(origin, host, req.secure))
        }
        OriginRule::Any => true,
        OriginRule::Allow(list) => list.iter().any(|one| one.eq_ignore_ascii_case(origin)),
        OriginRule::Hook(asked) => asked(origin),
    }
}

/// Compares an origin (RFC 6454, section 7) with a `Host`. A missing port is that of the scheme;
/// a `Host` that came without TLS may stand behind a proxy that ends TLS, so its scheme is the
/// origin's.
fn is_same_host(origin: &str, host: &str, secure: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ => return false,
    };
    let here = split_port(host, if secure { 443 } else { default });
    match (split_port(authority, default), here) {
        (Some((a, a_port)), Some((b, b_port))) => a.eq_ignore_ascii_case(b) && a_port == b_port,
        _ => false,
    }
}

/// Splits `host[:port]`; an IPv6 address is in brackets.
fn split_port(authority: &str, default: u16) -> Option<(&str, u16)> {
    let colon = authority.rfind(':').filter(|_| !authority.ends_with(']'));
    let (host, port) = match colon.and_then(|at| authority.split_at_checked(at)) {
        Some((host, port)) => (host, read_port(port.strip_prefix(':')?, default)?),
        None => (authority, default),
    };
    let clean = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ', ',']);
    clean.then_some((host, port))
}

fn read_port(digits: &str, default: u16) -> Option<u16> {
    match digits {
        "" => Some(default),
        _ if digits.bytes().all(|d| d.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
}

/// What a client asks with.
#[derive(Clone, Copy, Debug)]
pub struct Request<'c> {
    key: [u8; 24],
    config: &'c Config,
}

impl<'c> Request<'c> {
    /// Makes the request's part of the handshake. `nonce` is 16 bytes that nobody can guess, new
    /// for each request.
    ///
    /// # Errors
    ///
    /// Misuse if `config` has a subprotocol that is not a token, or one twice.
    pub fn new(nonce: [u8; 16], config: &'c Config) -> Result<Self, Error> {
        let names = config.subprotocols();
        for (at, name) in names.iter().enumerate() {
            if token(name.as_bytes()).is_none() || names.iter().take(at).any(|n| n == name) {
                return Err(Error::misuse("subprotocols are tokens, each there once"));
            }
        }
        Ok(Self { key: base64::encode(&nonce), config })
    }

    /// Gives the value of `Sec-WebSocket-Key`, to check the answer with.
    pub fn key(&self) -> &[u8; 24] {
        &self.key
    }

    /// Appends the field lines of the request that are WebSocket's, each with its line end.
    pub fn put_fields(&self, out: &mut Vec<u8>) {
        put_field(out, "Sec-WebSocket-Key", &self.key);
        self.put_stream_fields(out);
    }

    /// As [`put_fields`](Self::put_fields), for a request on a stream: what proves that the server
    /// understands is a setting of its, and no key (RFC 8441, section 5).
    pub fn put_stream_fields(&self, out: &mut Vec<u8>) {
        put_field(out, "Sec-WebSocket-Version", b"13");
        #[cfg(feature = "deflate")]
        if let Some(rules) = self.config.deflate_rules() {
            out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            deflate::put_offer(out, &rules);
            out.extend_from_slice(b"\r\n");
        }
        if !self.config.subprotocols().is_empty() {
            put_field(
                out,
                "Sec-WebSocket-Protocol",
                self.config.subprotocols().join(", ").as_bytes(),
            );
        }
    }
}

/// What a server chose from a client's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered<'a> {
    protocol: Option<&'a str>,
    extensions: Extensions,
}

impl<'a> Answered<'a> {
    /// Gives the chosen subprotocol.
    pub fn protocol(&self) -> Option<&'a str> {
        self.protocol
    }

    /// Gives what was agreed on, for the connection: [`Ws::with_extensions`].
    ///
    /// [`Ws::with_extensions`]: super::Ws::with_extensions
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }
}

/// Checks the fields of a 101 against the key of the request and what `config` made it offer.
///
/// # Errors
///
/// [`Blame::Peer`](crate::Blame::Peer), with nothing to tell the peer: the client closes the
/// transport (RFC 6455, section 4.1).
pub fn check_answer<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    key: &[u8; 24],
    config: &Config,
) -> Result<Answered<'a>, Error> {
    let answer = Answer::from_fields(fields);
    let protocol = check_fields(&answer, key, config.subprotocols())?;
    let extensions = check_extensions(&answer, config).map_err(refuse)?;
    Ok(Answered { protocol, extensions })
}

/// Checks the fields of a 2xx on a stream (RFC 8441, section 5) against what `config` made the
/// request offer.
///
/// # Errors
///
/// As [`check_answer`].
pub fn check_stream_answer<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    config: &Config,
) -> Result<Answered<'a>, Error> {
    let answer = Answer::from_fields(fields);
    let protocol = check_protocol(&answer, config.subprotocols())?;
    let extensions = check_extensions(&answer, config).map_err(refuse)?;
    Ok(Answered { protocol, extensions })
}

#[cfg(feature = "deflate")]
fn check_extensions(answer: &Answer<'_>, config: &Config) -> Result<Extensions, &'static str> {
    match config.deflate_rules() {
        _ if answer.extensions.count == 0 => Ok(Extensions::default()),
        Some(rules) if answer.extensions.count <= EXTENSION_LINES => {
            deflate::check_answer(answer.extensions.iter(), &rules)
        }
        _ => Err(NOT_ASKED_FOR),
    }
}

#[cfg(not(feature = "deflate"))]
fn check_extensions(answer: &Answer<'_>, _: &Config) -> Result<Extensions, &'static str> {
    if answer.extensions { Err(NOT_ASKED_FOR) } else { Ok(Extensions::default()) }
}

const NOT_ASKED_FOR: &str = "RFC 6455, 4.1: an extension that was not asked for";

fn refuse(rule: &'static str) -> Error {
    Error::peer(Wire::None, rule)
}

fn check_fields<'a>(
    answer: &Answer<'a>,
    key: &[u8; 24],
    offered: &[impl AsRef<str>],
) -> Result<Option<&'a str>, Error> {
    let refused = |rule| Err(refuse(rule));
    let websocket = |value: &[u8]| value.eq_ignore_ascii_case(b"websocket");
    if answer.upgrade.twice || !answer.upgrade.value.is_some_and(websocket) {
        return refused("RFC 6455, 4.1: the answer upgrades to websocket");
    }
    if !answer.connection {
        return refused("RFC 6455, 4.1: the answer's Connection has upgrade");
    }
    if answer.accept.twice || answer.accept.value != Some(&proof_of(key)) {
        return refused("RFC 6455, 4.1: Sec-WebSocket-Accept proves the key");
    }
    check_protocol(answer, offered)
}

fn check_protocol<'a>(
    answer: &Answer<'a>,
    offered: &[impl AsRef<str>],
) -> Result<Option<&'a str>, Error> {
    let Some(chosen) = answer.protocol.value else { return Ok(None) };
    match token(chosen).filter(|name| offered.iter().any(|o| o.as_ref() == *name)) {
        Some(name) if !answer.protocol.twice => Ok(Some(name)),
        _ => Err(refuse("RFC 6455, 4.1: a subprotocol that was not offered")),
    }
}

/// What a 101 says.
#[derive(Default)]
struct Answer<'a> {
    upgrade: Field<'a>,
    accept: Field<'a>,
    protocol: Field<'a>,
    connection: bool,
    #[cfg(feature = "deflate")]
    extensions: Lines<'a>,
    #[cfg(not(feature = "deflate"))]
    extensions: bool,
}

impl<'a> Answer<'a> {
    fn from_fields(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut answer = Self::default();
        for (name, value) in fields {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("upgrade") {
                answer.upgrade.add(value);
            } else if is("connection") {
                answer.connection |= list(value).any(|v| v.eq_ignore_ascii_case(b"upgrade"));
            } else if is("sec-websocket-accept") {
                answer.accept.add(value);
            } else if is("sec-websocket-protocol") {
                answer.protocol.add(value);
            } else if is(EXTENSIONS) {
                #[cfg(feature = "deflate")]
                answer.extensions.add(value);
                #[cfg(not(feature = "deflate"))]
                {
                    answer.extensions = true;
                }
            }
        }
        answer
    }
}

/// Gives the proof that a key was read by a WebSocket server.
fn proof_of(key: &[u8]) -> [u8; 28] {
    let mut both = [0; 24 + GUID.len()];
    both.iter_mut().zip(key.iter().chain(GUID)).for_each(|(to, from)| *to = *from);
    base64::encode(&sha1::digest(&both))
}

fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Splits a list field at its commas. Empty elements are left out (RFC 9110, section 5.6.1.2).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|v| !v.is_empty())
}

/// Gives `name` if it is a token (RFC 9110, section 5.6.2).
fn token(name: &[u8]) -> Option<&str> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let text = core::str::from_utf8(name).ok()?;
    (!name.is_empty() && name.iter().all(allowed)).then_some(text)
}

#[cfg(test)]
mod tests;
