//! Names and values in a query or a body: URL, section 5.1.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Names and values of `a=1&b=two+words`, decoded, in the order of arrival.
///
/// A `+` is a space, `%` and two digits are a byte; a `%` that is followed by anything else stands
/// for itself. Bytes that are no UTF-8 become U+FFFD. What holds nothing to decode is borrowed. The
/// text has as many pairs as it has `&`, and one: whoever takes it bounds its length.
///
/// ```
/// use lodger::proto::form::Pairs;
///
/// let pairs: Vec<_> = Pairs::new(b"name=J%C3%BCrgen+K&empty&&x=%").collect();
/// assert_eq!(pairs, [("name".into(), "Jürgen K".into()), ("empty".into(), "".into()), ("x".into(), "%".into())]);
/// ```
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Reads from `text`: a query without its `?`, or a body.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Gives the first value of this name.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let named = |(n, value): (&'a [u8], &'a [u8])| (decode(n) == name).then_some(value);
        let mut pairs = self.clone();
        core::iter::from_fn(|| pairs.next_raw()).find_map(named).map(decode)
    }

    /// Gives the next pair that is not empty, not decoded.
    fn next_raw(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        while !self.rest.is_empty() {
            let (pair, rest) = cut(self.rest, b'&');
            self.rest = rest;
            if !pair.is_empty() {
                return Some(cut(pair, b'='));
            }
        }
        None
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.next_raw()?;
        Some((decode(name), decode(value)))
    }
}

/// Cuts at the first `at`, which belongs to neither; all of it if there is none.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    let place = text.iter().position(|&b| b == at).unwrap_or(text.len());
    let (front, rest) = text.split_at_checked(place).unwrap_or((text, &[]));
    (front, rest.get(1..).unwrap_or_default())
}

/// Decodes a name or a value: `+` is a space, `%41` is an A. See [`Pairs`].
pub fn decode(text: &[u8]) -> Cow<'_, str> {
    decode_with(text, true)
}

/// Decodes a segment of a path: as [`decode`], but a `+` stands for itself.
pub fn decode_path(text: &[u8]) -> Cow<'_, str> {
    decode_with(text, false)
}

fn decode_with(text: &[u8], plus: bool) -> Cow<'_, str> {
    if !text.iter().any(|&b| b == b'%' || plus && b == b'+') {
        return String::from_utf8_lossy(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match first {
            b'%' => escaped(behind).unwrap_or((b'%', behind)),
            b'+' if plus => (b' ', behind),
            other => (*other, behind),
        };
        out.push(byte);
        rest = behind;
    }
    let text = String::from_utf8(out);
    Cow::Owned(text.unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Reads two hexadecimal digits; gives what lies behind them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = text else { return None };
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}
