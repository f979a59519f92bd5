//! Server-sent events: HTML, section 9.2, the format `text/event-stream`.
//!
//! Writing, in: an event; out: its lines. Reading is in `read.rs`. Text from outside cannot add a line: data is cut at every line
//! end into lines of its own, and a name or id that holds one is refused.

use alloc::vec::Vec;
use core::time::Duration;

use crate::Error;

#[cfg(any(test, fuzzing))]
mod fuzz;
mod read;

#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_events;
pub use read::{Reader, Received};

/// One event, to be sent. Its data may have any number of lines.
///
/// ```
/// use lodger::http::Event;
///
/// let mut lines = Vec::new();
/// Event::new("one\ntwo").name("news").id("7").put(&mut lines)?;
/// assert_eq!(lines, b"id: 7\nevent: news\ndata: one\ndata: two\n\n");
/// # Ok::<(), lodger::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Without data it is no event for listeners; its other fields hold.
    data: Option<&'a str>,
    name: Option<&'a str>,
    id: Option<&'a str>,
    retry: Option<Duration>,
}

impl<'a> Event<'a> {
    /// Makes an event with this data and the name that listeners know as `message`.
    pub const fn new(data: &'a str) -> Self {
        Self { data: Some(data), name: None, id: None, retry: None }
    }

    /// Makes what tells no listener anything, but the client how long to wait before it comes
    /// back.
    pub const fn retry_only(after: Duration) -> Self {
        Self { data: None, name: None, id: None, retry: Some(after) }
    }

    /// Sets the name that listeners listen for.
    #[must_use]
    pub const fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the id that the client repeats as `Last-Event-ID` when it comes back.
    #[must_use]
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// Tells the client how long to wait before it comes back, in whole milliseconds.
    #[must_use]
    pub const fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// Gives the id, if one was set.
    pub const fn given_id(&self) -> Option<&'a str> {
        self.id
    }

    /// Appends its lines, the empty one that ends it included.
    ///
    /// # Errors
    ///
    /// Misuse, and nothing is written: the name holds a line end, or the id one or a NUL.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.name.is_some_and(|name| name.contains(LINE_ENDS)) {
            return Err(Error::misuse("an event's name is one line"));
        }
        if self.id.is_some_and(|id| id.contains(LINE_ENDS) || id.contains('\0')) {
            return Err(Error::misuse("an event's id is one line without a NUL"));
        }
        if let Some(id) = self.id {
            put_field(out, "id", id);
        }
        if let Some(name) = self.name {
            put_field(out, "event", name);
        }
        if let Some(after) = self.retry {
            put_retry(out, after);
        }
        for line in self.data.into_iter().flat_map(lines) {
            put_field(out, "data", line);
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Appends a comment, which clients ignore: it keeps a connection from looking dead to what stands
/// between. Each line of `text` becomes one.
pub fn put_comment(out: &mut Vec<u8>, text: &str) {
    for line in lines(text) {
        out.push(b':');
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// What ends a line.
const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// Cuts at CR LF, LF and CR alike; an empty text is one empty line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(LINE_ENDS) else { return rest.take() };
        let (line, behind) = text.split_at_checked(end)?;
        rest = behind.strip_prefix("\r\n").or_else(|| behind.get(1..));
        Some(line)
    })
}

/// The one space behind the colon is not part of the value, so that one that begins with a space
/// keeps it.
fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.reserve(name.len() + value.len() + 3);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

fn put_retry(out: &mut Vec<u8>, after: Duration) {
    let mut digits = [b'0'; 20];
    let mut left = after.as_millis().min(u128::from(u64::MAX));
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        start -= 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn put(event: Event<'_>) -> String {
        let mut out = Vec::new();
        event.put(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_end_begins_a_line_of_data() {
        assert_eq!(
            put(Event::new("a\nb\r\nc\rd\n\re")),
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n"
        );
        assert_eq!(put(Event::new("")), "data: \n\n");
        assert_eq!(put(Event::new(" a\n")), "data:  a\ndata: \n\n");
        assert_eq!(put(Event::new("x\n\nevent: y")), "data: x\ndata: \ndata: event: y\n\n");
    }

    #[test]
    fn fields_stand_before_the_data() {
        let event = Event::new("a").name("n").id("").retry(Duration::from_secs(3));

        assert_eq!(put(event), "id: \nevent: n\nretry: 3000\ndata: a\n\n");
        assert_eq!(put(Event::new("a").retry(Duration::ZERO)), "retry: 0\ndata: a\n\n");
        assert!(
            put(Event::new("a").retry(Duration::MAX)).starts_with("retry: 18446744073709551615\n")
        );
    }

    #[test]
    fn a_name_or_id_cannot_add_a_line() {
        for bad in ["a\nb", "a\rb", "\r\n", "\n"] {
            let mut out = Vec::new();
            assert!(Event::new("").name(bad).put(&mut out).is_err());
            assert!(Event::new("").id(bad).put(&mut out).is_err());
            assert!(out.is_empty());
        }
        assert!(Event::new("").id("a\0").put(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_comment_stays_one() {
        let mut out = Vec::new();
        put_comment(&mut out, "");
        put_comment(&mut out, "a\ndata: b");
        assert_eq!(out, b":\n\n:a\n:data: b\n\n");
    }
}
