//! The field that says which kind of form it is: RFC 9110, section 8.3.

use alloc::borrow::Cow;
use alloc::string::String;

/// Gives the type of a Content-Type value, without parameters: `text/html`. To be compared without
/// regard to case.
pub fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim_matches(BLANK)
}

/// Gives the boundary of a `multipart/form-data` value, RFC 2046, section 5.1.1; `None` if it is
/// another type, or has no boundary that may be.
pub fn boundary(value: &str) -> Option<Cow<'_, str>> {
    if !media_type(value).eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let (_, rest) = value.split_once(';')?;
    let boundary = parameter(rest, "boundary")?;
    let fits = (1..=70).contains(&boundary.len())
        && boundary.bytes().all(is_boundary_byte)
        && !boundary.ends_with(' ');
    fits.then_some(boundary)
}

/// Gives a parameter's value from `a=b; c="d e"`: RFC 9110, section 5.6.6.
pub(super) fn parameter<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c| BLANK.contains(&c) || c == ';');
        let (found, behind) = rest.split_once('=')?;
        let (value, behind) = value(behind)?;
        if found.trim_matches(BLANK).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = behind;
    }
}

/// Reads a token or a quoted string; gives what lies behind it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.trim_start_matches(BLANK);
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return Some((Cow::Borrowed(value.trim_matches(BLANK)), rest));
    };
    let end = closing_quote(quoted)?;
    let (value, rest) = quoted.split_at_checked(end)?;
    let rest = rest.get(1..)?;
    if value.contains("\\\"") {
        return Some((Cow::Owned(value.replace("\\\"", "\"")), rest));
    }
    Some((Cow::Borrowed(value), rest))
}

/// Finds the quote that ends a quoted string. Only a quote can be escaped: a backslash before
/// anything else stands for itself, since browsers write file names with backslashes as they are.
fn closing_quote(text: &str) -> Option<usize> {
    let mut before = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'"' && before != b'\\' {
            return Some(at);
        }
        before = byte;
    }
    None
}

const BLANK: [char; 2] = [' ', '\t'];

/// RFC 2046, section 5.1.1: `bchars`. No CR or LF among them.
fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

/// Turns back what HTML, section 4.10.21.8 makes of a name or a file name: `%22`, `%0D`, `%0A`.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (front, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(front);
        let code = behind.get(..3).unwrap_or_default();
        let meant = match code {
            "%22" => '"',
            "%0D" | "%0d" => '\r',
            "%0A" | "%0a" => '\n',
            _ => '%',
        };
        out.push(meant);
        rest = behind.get(if meant == '%' { 1 } else { 3 }..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}
