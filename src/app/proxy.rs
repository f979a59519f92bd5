//! Which proxy leads to which server.

use std::format;
use std::string::String;
use std::vec::Vec;

use self::except::Rule;
use super::client::without;
use super::url::{Place, Url};
use crate::Error;
use crate::proto::proxy::{Kind, Login, Tunnel};

mod except;

/// A proxy: of HTTP, or SOCKS5. It is told the server's name, and looks it up itself.
///
/// Through one of HTTP, requests to `http://` are sent to the proxy in absolute-form (RFC 9112, section
/// 3.2.2), which passes them on: what it answers in place of the server, a 407 or 502, is the response
/// that is told. All else goes through tunnels: by CONNECT (RFC 9110, section 9.3.6), or by SOCKS5. A
/// tunnel that is refused is a [`Failure`](crate::http::Failure) at
/// [`Stage::Proxy`](crate::http::Stage::Proxy), with the status in its reason.
///
/// The login is for the proxy alone: no server sees it. Whoever sees the traffic to the proxy does, unless
/// that is by TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxy {
    kind: Kind,
    place: Place,
    /// By TLS.
    secure: bool,
    login: Option<Login>,
    only_tunnels: bool,
}

impl Proxy {
    /// Reads `http://name:password@host:port`, `https://…` (feature `tls`: the proxy itself is reached by
    /// TLS, and trusted as servers are) or `socks5://…` (also `socks5h://…`, which is the same here). Name
    /// and password are percent-encoded where they must be; the port is 80, 443 or 1080 unless it is
    /// said. Without a scheme it is http.
    ///
    /// # Errors
    ///
    /// `Caller`: it is none of these.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (kind, port) = match &*scheme.to_ascii_lowercase() {
            "http" => (Kind::Http, 80),
            "https" if cfg!(feature = "tls") => (Kind::Http, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(Error::misuse(UNKNOWN)),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let place = Place::parse(host, port)?;
        let login = login.map(|login| {
            let (name, password) = login.split_once(':').unwrap_or((login, ""));
            Login::new(&decoded(name)?, &decoded(password)?)
        });
        let secure = scheme.eq_ignore_ascii_case("https");
        Ok(Self { kind, place, secure, login: login.transpose()?, only_tunnels: false })
    }

    /// Has it asked for tunnels alone, also to `http://`; many proxies make none to port 80.
    #[must_use]
    pub fn only_tunnels(mut self) -> Self {
        self.only_tunnels = true;
        self
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where it is, and whether by TLS.
    pub(super) fn reached(&self) -> (&Place, bool) {
        (&self.place, self.secure)
    }

    /// Prepares a tunnel to a server.
    pub(super) fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, Error> {
        Tunnel::new(self.kind, host, port, self.login.clone())
    }
}

const UNKNOWN: &str = "a proxy is http://host:port, https://host:port or socks5://host:port";

/// A proxy that is sent requests in place of their server: RFC 9112, section 3.2.2.
pub(super) struct Forward(Proxy);

impl Forward {
    pub(super) fn proxy(&self) -> &Proxy {
        &self.0
    }

    pub(super) fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// What connections are kept by. Each has requests to one server alone.
    pub(super) fn key(&self, url: &Url) -> String {
        let tls = if self.0.secure { "tls:" } else { "" };
        let proxy = match self.0.place() {
            Place::Tcp { name, port } => format!("{tls}{}:{port}", name.to_ascii_lowercase()),
            Place::Unix(path) => path.clone(),
        };
        format!("{} by {proxy}", url.origin())
    }

    /// Gives the target and the fields that the proxy is sent, of a request with these fields.
    pub(super) fn parts(&self, url: &Url, fields: &[u8]) -> Result<(String, Vec<u8>), Error> {
        let target = format!("http://{}{}", url.host, url.target);
        let Some(login) = &self.0.login else { return Ok((target, fields.to_vec())) };
        let mut fields = without(fields, &["proxy-authorization"]);
        login.put_field(&mut fields)?;
        Ok((target, fields))
    }
}

/// Reads what is percent-encoded: RFC 3986, section 2.1.
fn decoded(text: &str) -> Result<String, Error> {
    let wrong = Error::misuse("a proxy's login is percent-encoded UTF-8");
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(wrong) };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
    }
    String::from_utf8(bytes).map_err(|_| wrong)
}

/// Which proxies lead to which servers. By default none is used. Unix sockets are always reached
/// directly.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    plain: Option<Proxy>,
    secure: Option<Proxy>,
    except: Vec<Rule>,
}

impl Proxies {
    /// Has everything go through this one.
    pub fn all(proxy: &Proxy) -> Self {
        Self { plain: Some(proxy.clone()), secure: Some(proxy.clone()), except: Vec::new() }
    }

    /// Has what is plain (http, ws, mqtt) go through this one, or directly.
    #[must_use]
    pub fn plain(mut self, proxy: Option<&Proxy>) -> Self {
        self.plain = proxy.cloned();
        self
    }

    /// Has what goes by TLS (https, wss, mqtts) go through this one, or directly.
    #[must_use]
    pub fn secure(mut self, proxy: Option<&Proxy>) -> Self {
        self.secure = proxy.cloned();
        self
    }

    /// Reaches these directly, as NO_PROXY names them: entries separated by commas or spaces, added
    /// to those of earlier calls.
    ///
    /// - `example.org`, `.example.org` and `*.example.org`: this name, and all that end in it behind
    ///   a dot; case makes no difference.
    /// - `10.1.2.3`, `fd00::1`, `[fd00::1]`: this address, however it is written.
    /// - `10.0.0.0/8`, `fd00::/8`: the addresses of this network (RFC 4632).
    /// - any of these with `:port` behind it (IPv6 in brackets, and no network of it): this port alone.
    /// - `*`: all.
    ///
    /// An address stands for servers that a URL names by it: no name is looked up for this. What is
    /// none of these, as `10.0.0.0/33`, stands for nothing.
    #[must_use]
    pub fn except(mut self, list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        self.except.extend(entries.filter_map(Rule::parse));
        self
    }

    /// Gives the proxy that leads to a server, with the server's host and port.
    pub(super) fn to<'a>(&'a self, url: &'a Url) -> Option<(&'a Proxy, &'a str, u16)> {
        let Place::Tcp { name, port } = &url.place else { return None };
        let proxy = if url.secure { &self.secure } else { &self.plain };
        let direct = self.except.iter().any(|rule| rule.is_for(name, *port));
        proxy.as_ref().filter(|_| !direct).map(|proxy| (proxy, &**name, *port))
    }

    /// Whether whom to trust must be known on the way to a server.
    pub(super) fn need_trust(&self, url: &Url) -> bool {
        url.secure || self.to(url).is_some_and(|(proxy, ..)| proxy.secure)
    }

    /// Gives the proxy that is sent requests of HTTP/1.1 in place of a server.
    pub(super) fn forward(&self, url: &Url) -> Option<Forward> {
        let (proxy, ..) = self.to(url)?;
        let forwards = !url.secure && proxy.kind == Kind::Http && !proxy.only_tunnels;
        forwards.then(|| Forward(proxy.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_its_login() {
        let shown = |text: &str| std::format!("{:?}", Proxy::parse(text).unwrap());

        assert!(shown("http://a").contains("port: 80"));
        assert!(shown("SOCKS5h://[::1]").contains("port: 1080"));
        assert!(shown("a:3128/").contains("port: 3128"));
        let login = Proxy::parse("socks5://m%40e:p%3Aw@h:1").unwrap().login;
        assert_eq!(login, Some(Login::new("m@e", "p:w").unwrap()));
        assert!(!shown("http://me:secret@h:1").contains("secret"));
        for text in
            ["gopher://a:1", "http://", "http://a:x", "http://%zz:b@a", "http://:b@a", "ftp://a"]
        {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn exceptions_are_names_and_those_within_them() {
        let proxies = Proxies::all(&Proxy::parse("http://p:1").unwrap());
        let proxies = proxies.except("example.org, .corp 127.0.0.1,::1,only:81\t10.0.0.0/8");
        let used = |url: &str| proxies.to(&Url::parse(url).unwrap()).is_some();

        for direct in
            ["A.Example.org", "x.corp", "corp", "127.0.0.1", "[::1]", "only:81", "10.9.8.7:6"]
        {
            assert!(!used(&std::format!("http://{direct}/")), "{direct}");
        }
        for through in ["anexample.org", "example.org.uk", "127.0.0.2", "only", "only:82", "[::2]"]
        {
            assert!(used(&std::format!("http://{through}/")), "{through}");
        }
        assert!(!used("unix:/run/x"));
        assert!(proxies.clone().except("*").to(&Url::parse("http://a").unwrap()).is_none());
    }
}
