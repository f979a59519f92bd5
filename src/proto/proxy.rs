//! The way through a proxy: CONNECT of HTTP (RFC 9110, section 9.3.6) with Basic authentication
//! (RFC 7617), and SOCKS5 (RFC 1928) with a name and password (RFC 1929).
//!
//! In: what the proxy sends, cut anywhere. Out: what it is asked, and whether there is a tunnel.
//!
//! ```text
//! Fresh --http--> Answer ----------------------------2xx--> Open
//!    '--socks5--> Method --> Login --> Reply --succeeded-----^
//!                    '------------------^
//! ```
//!
//! The name of the server goes to the proxy, which looks it up.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::error::{Error, Wire};
use crate::io::{Rx, Scratch, Tx};
use crate::limits::Limits;
use crate::proto::h1::{self, Length, RequestHead, ResponseEvent, ResponseReader};

/// What a proxy speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// CONNECT.
    Http,
    /// SOCKS, version 5.
    Socks5,
}

/// Whom a proxy knows us as.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    name: Box<str>,
    password: Box<str>,
}

impl core::fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Login {
    /// Joins a name and a password.
    ///
    /// # Errors
    ///
    /// `Caller`: either is longer than 255 bytes or has control characters, or the name has a colon
    /// (RFC 7617, section 2) or is empty (RFC 1929, section 2).
    pub fn new(name: &str, password: &str) -> Result<Self, Error> {
        let sound = |text: &str| text.len() <= 255 && !text.chars().any(char::is_control);
        if name.is_empty() || name.contains(':') || !sound(name) || !sound(password) {
            return Err(Error::misuse("a proxy's login is a name without a colon, and a password"));
        }
        Ok(Self { name: name.into(), password: password.into() })
    }

    /// Puts the field that an HTTP proxy is told it by: RFC 9110, section 11.7.2, and RFC 7617.
    ///
    /// # Errors
    ///
    /// None: base64 is a field's value.
    pub(crate) fn put_field(&self, fields: &mut Vec<u8>) -> Result<(), Error> {
        let basic = base64(format!("{}:{}", self.name, self.password).as_bytes());
        h1::put_field(fields, "Proxy-Authorization", &format!("Basic {basic}"))
    }
}

/// What became of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Outcome {
    /// It is there: what comes now is the server's. See [`Tunnel::take_rest`].
    Open,
    /// The proxy's HTTP answer has this status: there is none.
    Refused(u16),
}

/// One attempt to get through a proxy to a server.
#[derive(Debug)]
pub struct Tunnel {
    host: Box<str>,
    port: u16,
    login: Option<Login>,
    state: State,
    /// What has come and is no whole message yet: less than the limit of a head, or 262 bytes.
    kept: Vec<u8>,
    interim: u32,
}

#[derive(Debug)]
enum State {
    Fresh(Kind),
    Answer(Box<ResponseReader>),
    Method,
    Login,
    Reply,
    Over,
}

impl Tunnel {
    /// Prepares one to the port of a host: a name, or an address (IPv6 in brackets or not).
    ///
    /// # Errors
    ///
    /// `Caller`: the host is empty, longer than 255 bytes or none by its grammar.
    pub fn new(kind: Kind, host: &str, port: u16, login: Option<Login>) -> Result<Self, Error> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let sound = |b: u8| b.is_ascii_graphic() && !b"/\\?#@[]".contains(&b);
        if bare.is_empty() || bare.len() > 255 || !bare.bytes().all(sound) {
            return Err(Error::misuse("a proxy is asked for a host, of at most 255 bytes"));
        }
        let (host, state) = (bare.into(), State::Fresh(kind));
        Ok(Self { host, port, login, state, kept: Vec::new(), interim: 0 })
    }

    /// Takes what has come since the last call; the first call, with nothing, puts what is said
    /// first. `None`: more is needed.
    ///
    /// # Errors
    ///
    /// `Peer`: the proxy breaks its protocol, or says by SOCKS that there is no tunnel. Nothing is
    /// told to it: the connection just ends.
    pub fn feed(
        &mut self,
        limits: &Limits,
        input: &[u8],
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Outcome>, Error> {
        self.kept.extend_from_slice(input);
        if let State::Fresh(kind) = self.state {
            self.begin(kind, tx)?;
        }
        loop {
            let went = match self.state {
                State::Answer(_) => return self.answer(limits, scratch),
                State::Method => self.method(tx)?,
                State::Login => self.logged_in(tx)?,
                State::Reply => return self.reply(),
                State::Fresh(_) | State::Over => return Ok(None),
            };
            if !went {
                return Ok(None);
            }
        }
    }

    /// Takes what has come behind the proxy's last word.
    pub fn take_rest(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.kept)
    }

    fn begin(&mut self, kind: Kind, tx: &mut Tx<'_>) -> Result<(), Error> {
        match kind {
            Kind::Http => {
                self.put_connect(tx)?;
                self.state = State::Answer(Box::new(ResponseReader::new("CONNECT")));
            }
            Kind::Socks5 => {
                tx.put(if self.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] });
                self.state = State::Method;
            }
        }
        Ok(())
    }

    fn put_connect(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        let v6 = self.host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        let target = format!("{open}{}{close}:{}", self.host, self.port);
        let mut fields = Vec::new();
        if let Some(login) = &self.login {
            login.put_field(&mut fields)?;
        }
        let head = RequestHead {
            method: "CONNECT",
            target: &target,
            host: &target,
            fields: &fields,
            length: Length::None,
            upgrade: false,
            close: false,
        };
        h1::put_request(tx, &head).map(drop)
    }

    fn answer(&mut self, limits: &Limits, scratch: &mut Scratch) -> Result<Option<Outcome>, Error> {
        let State::Answer(reader) = &mut self.state else { return Ok(None) };
        let mut rx = Rx::new(&mut self.kept, false);
        let mut status = None;
        while let Some(event) = reader.poll(limits, &mut rx, scratch)? {
            let ResponseEvent::Head(head) = event else { break };
            if head.status >= 200 {
                status = Some(head.status);
                break;
            }
            self.interim += 1;
            if self.interim > limits.client.interim {
                return Err(Error::peer(Wire::None, "the limit of interim responses"));
            }
        }
        let (used, open) = (rx.consumed(), reader.is_switched());
        self.kept.drain(..used.min(self.kept.len()));
        let Some(status) = status else {
            // 101 is no answer to CONNECT.
            let switched = Error::peer(Wire::None, "RFC 9110, 15.2.2: nobody asked to upgrade");
            return if open { Err(switched) } else { Ok(None) };
        };
        self.state = State::Over;
        Ok(Some(if open { Outcome::Open } else { Outcome::Refused(status) }))
    }

    /// Takes `n` bytes from the front of what has come, once they are there.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.kept.first_chunk::<N>()?;
        self.kept.drain(..N);
        Some(taken)
    }

    /// RFC 1928, section 3.
    fn method(&mut self, tx: &mut Tx<'_>) -> Result<bool, Error> {
        let Some([version, method]) = self.take() else { return Ok(false) };
        if version != 5 {
            return Err(broken("RFC 1928, 3: the version is 5"));
        }
        match (method, &self.login) {
            (0, _) => self.put_request(tx),
            (2, Some(login)) => {
                put_login(login, tx);
                self.state = State::Login;
            }
            (2, None) | (255, None) => {
                return Err(broken("RFC 1928, 3: the proxy wants a name and password"));
            }
            (255, Some(_)) => return Err(broken("RFC 1928, 3: the proxy takes no method of ours")),
            _ => return Err(broken("RFC 1928, 3: the method is one that was offered")),
        }
        Ok(true)
    }

    /// RFC 1929, section 2.
    fn logged_in(&mut self, tx: &mut Tx<'_>) -> Result<bool, Error> {
        let Some([version, status]) = self.take() else { return Ok(false) };
        if version != 1 {
            return Err(broken("RFC 1929, 2: the version is 1"));
        }
        if status != 0 {
            return Err(broken("RFC 1929, 2: the proxy refuses the name and password"));
        }
        self.put_request(tx);
        Ok(true)
    }

    /// RFC 1928, sections 4 and 5.
    fn put_request(&mut self, tx: &mut Tx<'_>) {
        let out = tx.buf(7 + self.host.len());
        out.extend_from_slice(&[5, 1, 0]);
        match self.host.parse() {
            Ok(IpAddr::V4(ip)) => {
                out.push(1);
                out.extend_from_slice(&ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            Err(_) => {
                // `new` has seen to it.
                let len = u8::try_from(self.host.len()).unwrap_or(u8::MAX);
                out.extend_from_slice(&[3, len]);
                out.extend_from_slice(self.host.as_bytes());
            }
        }
        out.extend_from_slice(&self.port.to_be_bytes());
        self.state = State::Reply;
    }

    /// RFC 1928, section 6.
    fn reply(&mut self) -> Result<Option<Outcome>, Error> {
        let Some(&[version, status]) = self.kept.first_chunk() else { return Ok(None) };
        if version != 5 {
            return Err(broken("RFC 1928, 6: the version is 5"));
        }
        if status != 0 {
            return Err(broken(refusal(status)));
        }
        let Some(&[_, _, _, kind, first]) = self.kept.first_chunk() else { return Ok(None) };
        let address = match kind {
            1 => 4,
            3 => 1 + usize::from(first),
            4 => 16,
            _ => return Err(broken("RFC 1928, 5: an address is of type 1, 3 or 4")),
        };
        let len = 4 + address + 2;
        if self.kept.len() < len {
            return Ok(None);
        }
        self.kept.drain(..len);
        self.state = State::Over;
        Ok(Some(Outcome::Open))
    }
}

/// RFC 1929, section 2.
fn put_login(login: &Login, tx: &mut Tx<'_>) {
    let out = tx.buf(3 + login.name.len() + login.password.len());
    out.push(1);
    for text in [&login.name, &login.password] {
        // `Login::new` has seen to it.
        out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(text.as_bytes());
    }
}

const fn broken(rule: &'static str) -> Error {
    Error::peer(Wire::None, rule)
}

/// RFC 1928, section 6.
fn refusal(status: u8) -> &'static str {
    match status {
        1 => "RFC 1928, 6: the proxy says: general failure",
        2 => "RFC 1928, 6: the proxy says: not allowed by its rules",
        3 => "RFC 1928, 6: the proxy says: network unreachable",
        4 => "RFC 1928, 6: the proxy says: host unreachable",
        5 => "RFC 1928, 6: the proxy says: connection refused",
        6 => "RFC 1928, 6: the proxy says: TTL expired",
        7 => "RFC 1928, 6: the proxy says: command not supported",
        8 => "RFC 1928, 6: the proxy says: address type not supported",
        _ => "RFC 1928, 6: the proxy's reply is none that is known",
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().zip([16, 8, 0]).fold(0, |n, (b, shift)| n | u32::from(*b) << shift);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 63) as usize).map_or('=', |d| char::from(*d));
            // n bytes are n + 1 digits; the rest is padding.
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}

/// Reads what a proxy may send, of either kind, whole and in pieces.
///
/// # Panics
///
/// How the input is cut makes a difference, or more is kept than the limits let.
#[cfg(any(test, fuzzing))]
pub fn fuzz_proxy(data: &[u8]) {
    let Some((first, input)) = data.split_first() else { return };
    let kind = if first & 1 == 0 { Kind::Http } else { Kind::Socks5 };
    let login = first & 2 != 0;
    let whole = run(kind, login, &[input]);
    let size = usize::from(first >> 2).max(1);
    assert_eq!(whole, run(kind, login, &input.chunks(size).collect::<Vec<_>>()));
}

/// What came of it, what was said, and what is left.
#[cfg(any(test, fuzzing))]
fn run(
    kind: Kind,
    login: bool,
    pieces: &[&[u8]],
) -> (Result<Option<Outcome>, Error>, Vec<u8>, Vec<u8>) {
    let limits = Limits::default();
    let login = if login { Login::new("me", "secret").ok() } else { None };
    let mut scratch = Scratch::default();
    let (mut out, mut pool) = (crate::io::Out::new(), crate::io::Pool::new(0));
    let mut tx = Tx::new(&mut out, &mut pool);
    let mut tunnel = Tunnel::new(kind, "example.org", 443, login).expect("a name");
    let mut result = tunnel.feed(&limits, &[], &mut scratch, &mut tx);
    let mut rest = Vec::new();
    for piece in pieces {
        if matches!(result, Ok(None)) {
            result = tunnel.feed(&limits, piece, &mut scratch, &mut tx);
            assert!(tunnel.kept.len() <= limits.h1.head + piece.len());
            rest = if result == Ok(Some(Outcome::Open)) { tunnel.take_rest() } else { rest };
        } else if result == Ok(Some(Outcome::Open)) {
            rest.extend_from_slice(piece);
        }
    }
    (result, out.bytes().to_vec(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::split::assert_same_for_any_cut;

    fn said(kind: Kind, login: bool, input: &[u8]) -> (Result<Option<Outcome>, Error>, Vec<u8>) {
        let (result, said, _) = run(kind, login, &[input]);
        (result, said)
    }

    #[test]
    fn no_cut_of_what_a_proxy_sends_makes_a_difference() {
        let http: &[&[u8]] = &[
            b"HTTP/1.1 200 fine\r\nVia: x\r\nContent-Length: 9\r\n\r\nbehind it",
            b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 x\r\n\r\n",
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
            b"HTTP/1.1 101 x\r\n\r\n",
            b"nonsense\r\n\r\n",
        ];
        for input in http {
            assert_same_for_any_cut(input, 3, |pieces| run(Kind::Http, true, pieces));
        }
        let socks: &[&[u8]] = &[
            b"\x05\x00\x05\x00\x00\x01\x7f\0\0\x01\0\x50behind it",
            b"\x05\x02\x01\x00\x05\x00\x00\x03\x03abc\0\x50",
            b"\x05\x02\x01\x01",
            b"\x05\xff",
            b"\x04\x00",
            b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0",
        ];
        for input in socks {
            assert_same_for_any_cut(input, 3, |pieces| run(Kind::Socks5, true, pieces));
            assert_same_for_any_cut(input, 3, |pieces| run(Kind::Socks5, false, pieces));
        }
    }

    /// RFC 9110, section 9.3.6; RFC 7617, section 2.
    #[test]
    fn connect_names_the_host_twice_and_says_who_asks() {
        let (result, said) = said(Kind::Http, true, b"HTTP/1.1 200 x\r\n\r\n");

        let expected = "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\
                        Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
        assert_eq!(core::str::from_utf8(&said).unwrap(), expected);
        assert_eq!(result, Ok(Some(Outcome::Open)));
    }

    #[test]
    fn what_refuses_is_told() {
        let refused = said(Kind::Http, false, b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n").0;
        assert_eq!(refused, Ok(Some(Outcome::Refused(403))));
        let rule = |login, input: &[u8]| said(Kind::Socks5, login, input).0.unwrap_err().rule();
        assert!(rule(false, b"\x05\xff").contains("wants a name and password"));
        assert!(rule(false, b"\x05\x02").contains("wants a name and password"));
        assert!(rule(true, b"\x05\x01").contains("one that was offered"));
        assert!(rule(true, b"\x05\x02\x01\x07").contains("refuses the name and password"));
        assert!(rule(false, b"\x05\x00\x05\x04").contains("host unreachable"));
        assert!(rule(false, b"\x05\x00\x05\x63").contains("none that is known"));
        assert!(rule(false, b"\x05\x00\x05\x00\x00\x02\x00").contains("type 1, 3 or 4"));
    }

    /// RFC 1928, sections 3 to 6; RFC 1929, section 2.
    #[test]
    fn socks_is_told_the_name_and_who_asks() {
        let (result, said) =
            said(Kind::Socks5, true, b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0");

        let expected =
            b"\x05\x02\x00\x02\x01\x02me\x06secret\x05\x01\x00\x03\x0bexample.org\x01\xbb";
        assert_eq!((result, &*said), (Ok(Some(Outcome::Open)), &expected[..]));
    }

    #[test]
    fn an_endless_head_meets_the_limit() {
        let mut endless = b"HTTP/1.1 200 x\r\n".to_vec();
        while endless.len() < 100_000 {
            endless.extend_from_slice(b"a: b\r\n");
        }
        let pieces: Vec<&[u8]> = endless.chunks(1000).collect();
        assert!(run(Kind::Http, false, &pieces).0.is_err());
        let interim = b"HTTP/1.1 103 x\r\n\r\n".repeat(100);
        let rule = said(Kind::Http, false, &interim).0.unwrap_err().rule();
        assert_eq!(rule, "the limit of interim responses");
    }

    #[test]
    fn base64_has_its_padding() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_misuse() {
        for host in ["", "a b", "a/b", "a@b", "ä", "a\r\nb"] {
            assert!(Tunnel::new(Kind::Http, host, 1, None).is_err(), "{host}");
        }
        assert!(Tunnel::new(Kind::Socks5, &"a".repeat(256), 1, None).is_err());
        assert!(Login::new("", "x").is_err() && Login::new("a:b", "x").is_err());
        assert!(Login::new("a", &"x".repeat(256)).is_err() && Login::new("a", "\n").is_err());
    }

    /// The seeds of the fuzz target, and noise.
    #[test]
    fn no_input_panics() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/proxy");
        let seeds = std::fs::read_dir(folder).unwrap();
        assert!(
            seeds.map(|seed| fuzz_proxy(&std::fs::read(seed.unwrap().path()).unwrap())).count() > 3
        );
        let mut random = 1_u64;
        for _ in 0..2000 {
            let data: Vec<u8> = (0..40)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Small numbers are what SOCKS is made of.
                    (random >> 33).to_le_bytes()[0] % if random >> 63 == 0 { 6 } else { 255 }
                })
                .collect();
            fuzz_proxy(&data);
        }
    }
}
