//! Paths of requests as names of files. Everything that could name something else is refused.

use std::string::String;
use std::vec::Vec;

/// Why a path names no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// It is not well formed, or hides a separator: 400.
    Malformed,
    /// It is nobody's business: 404.
    Hidden,
}

/// Decodes what stands behind the prefix into `name`, relative and without a slash at the end;
/// tells whether it had one there, as a directory has. Empty is the root, a directory.
///
/// Refused are an encoded slash, a backslash, control characters and bytes that are no UTF-8, in
/// either form (400), and empty segments and those that begin with a dot (404): `..` among them.
pub(super) fn decode(path: &str, name: &mut String) -> Result<bool, Refused> {
    name.clear();
    let (inner, is_dir) = match path.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (path, path.is_empty()),
    };
    if inner.is_empty() && !path.is_empty() {
        return Err(Refused::Hidden);
    }
    let mut bytes = core::mem::take(name).into_bytes();
    let decoded = put_decoded(inner, &mut bytes);
    *name = String::from_utf8(bytes).map_err(|_| Refused::Malformed)?;
    decoded?;
    let hidden = |segment: &str| segment.is_empty() || segment.starts_with('.');
    if !name.is_empty() && name.split('/').any(hidden) {
        return Err(Refused::Hidden);
    }
    Ok(is_dir)
}

fn put_decoded(path: &str, out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, more) = match (first, after) {
            (b'%', [high, low, more @ ..]) => {
                let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                (byte.filter(|byte| *byte != b'/').ok_or(Refused::Malformed)?, more)
            }
            (b'%', _) => return Err(Refused::Malformed),
            (byte, more) => (*byte, more),
        };
        if byte.is_ascii_control() || byte == b'\\' {
            return Err(Refused::Malformed);
        }
        out.push(byte);
        rest = more;
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(path: &str) -> Result<(String, bool), Refused> {
        let mut name = String::from("what was there before");
        decode(path, &mut name).map(|is_dir| (name, is_dir))
    }

    #[test]
    fn names_are_decoded() {
        let rows = [
            ("", "", true),
            ("a.txt", "a.txt", false),
            ("a/", "a", true),
            ("a/b%20c/%C3%BC.html", "a/b c/ü.html", false),
            ("%61%2e%2E", "a..", false),
            ("a%25b+c?d", "a%b+c?d", false),
        ];
        for (path, name, is_dir) in rows {
            assert_eq!(decoded(path), Ok((name.into(), is_dir)), "{path}");
        }
    }

    #[test]
    fn what_hides_something_is_malformed() {
        for path in [
            "a%2fb", "%2F", "a%5Cb", "a\\b", "..\\x", "a%00", "%00.html", "%", "%4", "%zz", "%+1",
            "a%0d%0ab", "%7f", "%ff", "%c3", "%C0%AF", "%1b",
        ] {
            assert_eq!(decoded(path), Err(Refused::Malformed), "{path}");
        }
    }

    #[test]
    fn dots_and_empty_segments_are_hidden() {
        for path in [
            "..",
            "../a",
            "a/..",
            "a/../b",
            "%2e%2e",
            "%2e%2e/a",
            "a/.%2e/b",
            ".",
            "./a",
            "a/./b",
            ".git",
            ".git/config",
            "a/.env",
            "%2egit",
            "a//b",
            "/a",
            "/",
            "a//",
            "//",
        ] {
            assert_eq!(decoded(path), Err(Refused::Hidden), "{path}");
        }
    }
}
