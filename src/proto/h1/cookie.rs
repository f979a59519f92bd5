//! Cookies: RFC 6265, and what browsers made of it since (RFC 6265bis).
//!
//! In: the value of a Cookie field. Out: its pairs. The other way round: a cookie, checked, into
//! the value of a Set-Cookie field.

use alloc::vec::Vec;
use core::time::Duration;

use super::chars::{is_token, put_decimal};
use crate::error::Error;

/// The longest name and value together that browsers keep, in bytes.
const PAIR_MAX: usize = 4096;
/// The longest attribute that browsers look at, in bytes.
const ATTRIBUTE_MAX: usize = 1024;

/// Gives the names and values in a Cookie field's value, in the order of arrival, as they stand:
/// quotes belong to a value. What has no `=` is left out.
pub fn cookies(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim_matches(BLANK), value.trim_matches(BLANK)))
}

const BLANK: [char; 2] = [' ', '\t'];

/// Which requests that other sites cause carry a cookie: RFC 6265bis, section 5.6.7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum SameSite {
    /// None of them.
    Strict,
    /// A link that is followed to here, and no other.
    Lax,
    /// All of them. Browsers want [`secure`](Cookie::secure) with it.
    None,
}

/// A cookie to be set. Unless told otherwise it is for every path of this host alone, not for
/// scripts, not for what other sites cause but links (`SameSite=Lax`), and ends with the browser's
/// session.
///
/// ```
/// use std::time::Duration;
///
/// use lodger::http::Cookie;
///
/// let cookie = Cookie::new("__Host-id", "4f2a").secure(true).max_age(Duration::from_secs(3600));
/// let mut value = Vec::new();
/// cookie.put(&mut value)?;
/// assert_eq!(value, b"__Host-id=4f2a; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax");
/// # Ok::<(), lodger::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cookie<'a> {
    name: &'a str,
    value: &'a str,
    path: &'a str,
    domain: Option<&'a str>,
    max_age: Option<Duration>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
}

impl<'a> Cookie<'a> {
    /// Makes a cookie. The value is of ASCII letters, digits and marks, without spaces, quotes,
    /// commas, semicolons and backslashes: encode what is more.
    pub const fn new(name: &'a str, value: &'a str) -> Self {
        Self {
            name,
            value,
            path: "/",
            domain: None,
            max_age: None,
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
        }
    }

    /// Makes what ends a cookie. Path and domain must be those it was set with.
    pub const fn ended(name: &'a str) -> Self {
        Self::new(name, "").max_age(Duration::ZERO)
    }

    /// Sets the path below which it is sent.
    #[must_use]
    pub const fn path(mut self, path: &'a str) -> Self {
        self.path = path;
        self
    }

    /// Sends it to this domain and all below it, instead of this host alone.
    #[must_use]
    pub const fn domain(mut self, domain: &'a str) -> Self {
        self.domain = Some(domain);
        self
    }

    /// Sets how long it is kept, in whole seconds, also beyond the browser's session.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets whether it is sent over secure connections only.
    #[must_use]
    pub const fn secure(mut self, on: bool) -> Self {
        self.secure = on;
        self
    }

    /// Sets whether scripts cannot read it.
    #[must_use]
    pub const fn http_only(mut self, on: bool) -> Self {
        self.http_only = on;
        self
    }

    /// Sets which requests that other sites cause carry it.
    #[must_use]
    pub const fn same_site(mut self, which: SameSite) -> Self {
        self.same_site = which;
        self
    }

    /// Appends the value of its Set-Cookie field.
    ///
    /// # Errors
    ///
    /// Misuse, and nothing is written: browsers would refuse it, or take it for another one. A
    /// name that is no token, a value or attribute with what may not be in it, more than 4,096
    /// bytes, `SameSite=None` without `secure`, or a name that begins with `__Secure-` or
    /// `__Host-` and is not set as these demand (RFC 6265bis, section 4.1.3).
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.check()?;
        for part in [self.name, "=", self.value, "; Path=", self.path] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(domain) = self.domain {
            out.extend_from_slice(b"; Domain=");
            out.extend_from_slice(domain.as_bytes());
        }
        if let Some(age) = self.max_age {
            out.extend_from_slice(b"; Max-Age=");
            put_decimal(out, age.as_secs(), *b"; ");
            out.truncate(out.len().saturating_sub(2));
        }
        out.extend_from_slice(if self.secure { b"; Secure" } else { b"" });
        out.extend_from_slice(if self.http_only { b"; HttpOnly" } else { b"" });
        out.extend_from_slice(match self.same_site {
            SameSite::Strict => b"; SameSite=Strict",
            SameSite::Lax => b"; SameSite=Lax",
            SameSite::None => b"; SameSite=None",
        });
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if !is_token(self.name.as_bytes()) {
            return Err(Error::misuse("a cookie's name is a token (RFC 6265, 4.1.1)"));
        }
        if !self.value.bytes().all(is_cookie_byte) {
            return Err(Error::misuse("a cookie's value is encoded (RFC 6265, 4.1.1)"));
        }
        if self.name.len() + self.value.len() > PAIR_MAX {
            return Err(Error::misuse("a cookie has at most 4096 bytes"));
        }
        if !self.path.starts_with('/') || !is_attribute(self.path) {
            return Err(Error::misuse("a cookie's path begins with / and has no semicolon"));
        }
        if self.domain.is_some_and(|domain| domain.is_empty() || !is_attribute(domain)) {
            return Err(Error::misuse("a cookie's domain is a name"));
        }
        self.check_security()
    }

    fn check_security(&self) -> Result<(), Error> {
        if self.same_site == SameSite::None && !self.secure {
            return Err(Error::misuse("a cookie for all sites is secure"));
        }
        let begins = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix))
        };
        let host = begins("__Host-");
        if (host || begins("__Secure-")) && !self.secure {
            return Err(Error::misuse("a cookie with this prefix is secure"));
        }
        if host && (self.domain.is_some() || self.path != "/") {
            return Err(Error::misuse("a cookie with this prefix is for one host and all paths"));
        }
        Ok(())
    }
}

/// RFC 6265, section 4.1.1: `cookie-octet`.
fn is_cookie_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

fn is_attribute(text: &str) -> bool {
    let fits = |b: u8| (b == b' ' || b.is_ascii_graphic()) && b != b';';
    text.len() <= ATTRIBUTE_MAX && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn put(cookie: Cookie<'_>) -> Option<String> {
        let mut out = Vec::new();
        let put = cookie.put(&mut out);
        assert!(put.is_ok() || out.is_empty());
        put.ok().map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn pairs_are_read_as_they_stand() {
        let read = |value| cookies(value).collect::<Vec<_>>();

        assert_eq!(read("a=1; b=two;c=\t3 "), [("a", "1"), ("b", "two"), ("c", "3")]);
        assert_eq!(read("a=b=c; q=\"x\"; a="), [("a", "b=c"), ("q", "\"x\""), ("a", "")]);
        assert_eq!(read("; ;novalue; =x"), [("", "x")]);
        assert_eq!(read(""), []);
    }

    #[test]
    fn every_attribute_is_written() {
        let all = Cookie::new("a", "b").path("/x").domain("example.org").secure(true);
        let all = all.max_age(Duration::from_millis(1999)).same_site(SameSite::None);

        assert_eq!(
            put(all).unwrap(),
            "a=b; Path=/x; Domain=example.org; Max-Age=1; Secure; HttpOnly; SameSite=None"
        );
        let least = Cookie::new("a", "").http_only(false).same_site(SameSite::Strict);
        assert_eq!(put(least).unwrap(), "a=; Path=/; SameSite=Strict");
        assert!(put(Cookie::ended("a")).unwrap().starts_with("a=; Path=/; Max-Age=0; "));
    }

    #[test]
    fn nothing_can_be_slipped_in() {
        for bad in [";", "a;b", "a b", "a,b", "a\"", "a\\", "a\r\nb", "\0", "\u{fc}", "\x7f"] {
            assert!(put(Cookie::new("a", bad)).is_none(), "{bad:?}");
            assert!(put(Cookie::new(bad, "")).is_none(), "{bad:?}");
        }
        for bad in ["/;x", "x", "", "/\r\n", "/\u{fc}"] {
            assert!(put(Cookie::new("a", "").path(bad)).is_none(), "{bad:?}");
        }
        for bad in ["", "a;b", "a\nb"] {
            assert!(put(Cookie::new("a", "").domain(bad)).is_none(), "{bad:?}");
        }
        assert!(put(Cookie::new("", "a")).is_none());
        assert!(put(Cookie::new("a", &"x".repeat(4095))).is_some());
        assert!(put(Cookie::new("a", &"x".repeat(4096))).is_none());
    }

    #[test]
    fn what_browsers_would_refuse_is_refused_here() {
        let host = Cookie::new("__Host-a", "").secure(true);

        assert!(put(host).is_some());
        assert!(put(host.secure(false)).is_none());
        assert!(put(host.path("/x")).is_none());
        assert!(put(host.domain("x")).is_none());
        assert!(put(Cookie::new("__secure-a", "")).is_none());
        assert!(put(Cookie::new("__Secure-a", "").secure(true).path("/x")).is_some());
        assert!(put(Cookie::new("a", "").same_site(SameSite::None)).is_none());
    }
}
