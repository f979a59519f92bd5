//! What a client is told to reach: a URL, taken apart (RFC 3986, section 3).

use std::borrow::ToOwned;
use std::format;
use std::string::String;

use lodger_backend::Addr;

use crate::Error;
use crate::runtime::handler::raw;
use crate::runtime::{ConnId, Handle, To};

/// The schemes a client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    Http,
    Ws,
}

/// A URL of a server, taken apart: `http://host:port/path?query`, `https://…`, `ws://…`, `wss://…`,
/// or `unix:/path/of/the.sock:/target`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    pub(crate) scheme: Scheme,
    /// By TLS.
    pub(crate) secure: bool,
    pub(crate) place: Place,
    pub(crate) host: String,
    pub(crate) target: String,
}

/// Where the server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Tcp { name: String, port: u16 },
    Unix(String),
}

impl Place {
    /// Reads a host, and a port that is `own` unless it is said.
    pub(crate) fn parse(authority: &str, own: u16) -> Result<Self, Error> {
        if authority.is_empty() || authority.contains('@') {
            return Err(Error::misuse("a URL has a host, and no user name"));
        }
        let (name, port) = split_port(authority)?;
        Ok(Self::Tcp { name: name.to_owned(), port: port.unwrap_or(own) })
    }

    /// Gives what an attempt is to reach.
    pub(crate) fn to(&self) -> To<'_> {
        match self {
            Self::Unix(path) => To::Addr(Addr::Unix(path.into())),
            Self::Tcp { name, port } => To::host(name, *port),
        }
    }
}

impl Url {
    /// Takes `text` apart. A fragment is dropped; user names are refused.
    ///
    /// # Errors
    ///
    /// `Caller`: it is no URL, or of a scheme that is not known.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.split_once('#').map_or(text, |(url, _)| url);
        if let Some(rest) = text.strip_prefix("unix:") {
            return Self::unix(rest);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (scheme, secure) = match &*scheme.to_ascii_lowercase() {
            "http" => (Scheme::Http, false),
            "https" => (Scheme::Http, true),
            "ws" => (Scheme::Ws, false),
            "wss" => (Scheme::Ws, true),
            _ => return Err(Error::misuse(UNKNOWN)),
        };
        if secure && cfg!(not(feature = "tls")) {
            return Err(Error::misuse(
                "TLS was left out of this program: http:// and ws:// are in",
            ));
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        if authority.is_empty() || authority.contains('@') {
            return Err(Error::misuse("a URL has a host, and no user name"));
        }
        let (name, port) = split_port(authority)?;
        let own = if secure { 443 } else { 80 };
        let place = Place::Tcp { name: name.to_owned(), port: port.unwrap_or(own) };
        let host = match port {
            Some(port) if port != own => format!("{name}:{port}"),
            _ => name.to_owned(),
        };
        Ok(Self { scheme, secure, place, host, target: target_of(target) })
    }

    /// Gives the value of the Host field: the port stands in it unless it is the scheme's own.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives the name of the server, without its port; empty for a Unix socket.
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Tcp { name, .. } => name,
            Place::Unix(_) => "",
        }
    }

    /// Gives path and query, at least `/`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Tells whether TLS is meant: the scheme is `https` or `wss`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Tells whether a WebSocket is meant: the scheme is `ws` or `wss`.
    pub fn is_websocket(&self) -> bool {
        self.scheme == Scheme::Ws
    }

    /// Opens a plain byte stream to where the server is: as [`Handle::connect`], names included.
    pub fn connect(&self, h: &Handle, handler: impl raw::Handler) -> ConnId {
        h.connect_raw(self.place.to(), handler)
    }

    /// Opens a byte stream over TLS to where the server is, by its name: as
    /// [`Handle::connect_tls`]. Whether the scheme means TLS is not asked.
    ///
    /// # Errors
    ///
    /// `Caller`: the name can stand in no certificate, or it is a Unix socket, which has none.
    #[cfg(feature = "tls")]
    pub fn connect_tls(
        &self,
        h: &Handle,
        trust: &crate::proto::tls::ClientConfig,
        handler: impl raw::Handler,
    ) -> Result<ConnId, Error> {
        h.connect_secured(self.place.to(), trust, self.name(), handler)
    }

    fn unix(rest: &str) -> Result<Self, Error> {
        let (path, target) = rest.split_once(':').unwrap_or((rest, "/"));
        if path.is_empty() {
            return Err(Error::misuse("a unix URL has a path: unix:/run/x.sock:/target"));
        }
        Ok(Self {
            scheme: Scheme::Http,
            secure: false,
            place: Place::Unix(path.to_owned()),
            host: "localhost".to_owned(),
            target: target_of(target),
        })
    }

    /// What connections are kept by.
    pub(crate) fn origin(&self) -> String {
        match &self.place {
            Place::Tcp { name, port } => {
                let tls = if self.secure { "tls:" } else { "" };
                format!("{tls}{}:{port}", name.to_ascii_lowercase())
            }
            Place::Unix(path) => format!("unix:{path}"),
        }
    }

    /// Follows a `Location`: absolute, or relative to this URL (RFC 3986, section 5.2).
    pub(crate) fn join(&self, location: &str) -> Result<Self, Error> {
        let location = location.split_once('#').map_or(location, |(l, _)| l);
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.secure { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        if location.contains("://") {
            return Self::parse(location);
        }
        let path = self.target.split(['?']).next().unwrap_or("/");
        let target = match location.as_bytes().first() {
            None => self.target.clone(),
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{location}")
            }
        };
        Ok(Self { target: without_dots(&target), ..self.clone() })
    }
}

const UNKNOWN: &str = "a URL begins with http://, https://, ws://, wss:// or unix:";

fn target_of(text: &str) -> String {
    match text.as_bytes().first() {
        None => "/".to_owned(),
        Some(b'?') => format!("/{text}"),
        Some(_) => text.to_owned(),
    }
}

/// Removes `.` and `..` segments: RFC 3986, section 5.2.4.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let path = kept.join("/");
    query.map_or_else(|| format!("/{path}"), |query| format!("/{path}?{query}"))
}

/// Splits `name:port`, `[v6]:port`, or a name alone.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Error> {
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    let tail = authority.get(end..).unwrap_or_default();
    let Some(colon) = tail.find(':') else { return Ok((authority, None)) };
    let (name, port) = authority.split_at(end + colon);
    let port = port.trim_start_matches(':');
    if name.is_empty() {
        return Err(Error::misuse("a URL has a host"));
    }
    if port.is_empty() {
        return Ok((name, None));
    }
    port.parse().map(|port| (name, Some(port))).map_err(|_| Error::misuse("a port is 0 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let url = Url::parse(text).unwrap();
        (url.origin(), url.host, url.target)
    }

    fn three(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.into(), b.into(), c.into())
    }

    #[test]
    fn a_url_is_taken_apart() {
        assert_eq!(parts("http://Example.org"), three("example.org:80", "Example.org", "/"));
        assert_eq!(parts("http://a:81?q"), three("a:81", "a:81", "/?q"));
        assert_eq!(parts("ws://[::1]:9/x#f"), three("[::1]:9", "[::1]:9", "/x"));
        assert_eq!(parts("http://a:80/b"), three("a:80", "a", "/b"));
        assert_eq!(parts("unix:/run/x:/y?z"), three("unix:/run/x", "localhost", "/y?z"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_has_ports_and_connections_of_its_own() {
        assert_eq!(parts("https://a"), three("tls:a:443", "a", "/"));
        assert_eq!(parts("WSS://a:443/"), three("tls:a:443", "a", "/"));
        assert_eq!(parts("https://a:80"), three("tls:a:80", "a:80", "/"));
        let url = Url::parse("https://a/b").unwrap();
        assert!(url.is_secure() && url.join("//b/c").unwrap().is_secure());
        assert!(!url.join("http://a/").unwrap().is_secure());
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["", "a", "ftp://a", "http://", "http://u@a", "http://a:x", "https:/a", "unix:"]
        {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_location_is_followed_from_where_it_was_found() {
        let url = Url::parse("http://a/b/c?d").unwrap();
        let join = |location: &str| url.join(location).unwrap().target;

        assert_eq!(join("/x"), "/x");
        assert_eq!(join("x?y"), "/b/x?y");
        assert_eq!(join("../x"), "/x");
        assert_eq!(join("../../../x/./y"), "/x/y");
        assert_eq!(join("?e"), "/b/c?e");
        assert_eq!(join(".."), "/");
        assert_eq!(url.join("http://other:1/z").unwrap().origin(), "other:1");
    }
}
