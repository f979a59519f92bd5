//! Basic authentication: RFC 7617.

use core::fmt;
use core::hint::black_box;
use std::string::String;
use std::vec::Vec;

use crate::runtime::handler::http::{Answer, Request, Response};

/// The name and password of a request. They were readable by all on the way, unless that was
/// encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    user: String,
    password: String,
}

impl BasicAuth {
    /// Reads an Authorization value: RFC 7617, section 2. `None` if it is of another scheme, or
    /// malformed.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(decode_base64(token.trim_matches(' '))?).ok()?;
        let (user, password) = text.split_once(':')?;
        let control = text.bytes().any(|b| b.is_ascii_control());
        (!control).then(|| Self { user: user.into(), password: password.into() })
    }

    /// Gives the user's name; it has no colon.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Gives the password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Tells whether it is this user with this password, in a time that does not tell how much of
    /// either was right.
    pub fn is(&self, user: &str, password: &str) -> bool {
        // Both are compared, whatever comes of the first.
        same_secret(self.user.as_bytes(), user.as_bytes())
            & same_secret(self.password.as_bytes(), password.as_bytes())
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Tells whether `given` is `secret`, in a time that depends on the length of `given` alone: what
/// a peer learns from it is at most how long a secret is, and never what is in it.
pub fn same_secret(given: &[u8], secret: &[u8]) -> bool {
    let mut different = u8::from(given.len() != secret.len());
    let padded = secret.iter().chain(core::iter::repeat(&0));
    for (a, b) in given.iter().zip(padded) {
        different = black_box(different | (a ^ b));
    }
    different == 0
}

/// For basic authentication.
impl Request<'_> {
    /// Gives the name and password that came with it; `None` if none did, or they cannot be read.
    ///
    /// ```
    /// use lodger::http;
    ///
    /// let server = http::Server::new().get("/admin", |req, res| {
    ///     if !req.basic_auth().is_some_and(|auth| auth.is("root", "a long secret")) {
    ///         return res.unauthorized("admin");
    ///     }
    ///     res.text("welcome")
    /// });
    /// # drop(server);
    /// ```
    pub fn basic_auth(&self) -> Option<BasicAuth> {
        BasicAuth::parse(self.header("authorization")?)
    }
}

/// For basic authentication.
impl Response<'_> {
    /// Answers 401 and asks for a name and password: RFC 7617, section 2. People are shown
    /// `realm`; quotes and backslashes in it are written as the field wants them, and one that may
    /// not be in a field is a 500.
    pub fn unauthorized(self, realm: &str) -> Answer {
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let value = std::format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let mut response = self.status(401);
        let status =
            if response.try_header("www-authenticate", &value).is_ok() { 401 } else { 500 };
        response.error(status)
    }
}

/// Decodes base64 with or without its padding: RFC 4648, section 4.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | u32::from(digit_of(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, bytes @ ..] = bits.to_be_bytes();
        // n digits are n - 1 bytes.
        out.extend(bytes.iter().take(group.len() - 1));
    }
    Some(out)
}

fn digit_of(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<(String, String)> {
        let auth = BasicAuth::parse(value)?;
        Some((auth.user().into(), auth.password().into()))
    }

    /// RFC 7617, section 2 and 2.1.
    #[test]
    fn the_published_examples() {
        let aladdin = Some(("Aladdin".into(), "open sesame".into()));
        assert_eq!(parsed("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), aladdin);
        assert_eq!(parsed("bASIC  QWxhZGRpbjpvcGVuIHNlc2FtZQ"), aladdin);
        assert_eq!(parsed("Basic dGVzdDoxMjPCow=="), Some(("test".into(), "123\u{a3}".into())));
        assert_eq!(parsed("Basic Og=="), Some((String::new(), String::new())));
        assert_eq!(parsed("Basic YTpiOmM="), Some(("a".into(), "b:c".into())));
    }

    #[test]
    fn what_is_malformed_is_none() {
        for bad in [
            "",
            "Basic",
            "Basic ",
            "Bearer QTpi",
            "Basic QQ==",
            "Basic QTpi=QTpi",
            "Basic Q",
            "Basic QTpi===",
            "Basic QT-i",
            "Basic QTpi\u{fc}",
            "Basic QTr/",
            "Basic YTpiCg==",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base64_is_read_at_every_length() {
        for (text, wanted) in [
            ("", ""),
            ("Zg", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode_base64(text).unwrap(), wanted.as_bytes());
        }
    }

    #[test]
    fn secrets_are_the_same_or_not() {
        for (given, secret, same) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "", false),
            ("", "a", false),
            ("ab", "a", false),
            ("a", "ab", false),
            ("a\0", "a", false),
        ] {
            assert_eq!(same_secret(given.as_bytes(), secret.as_bytes()), same, "{given} {secret}");
        }
        let auth = BasicAuth::parse("Basic QTpi").unwrap();
        assert!(auth.is("A", "b") && !auth.is("A", "") && !auth.is("", "b"));
        assert_eq!(std::format!("{auth:?}"), "BasicAuth { user: \"A\", .. }");
    }
}
