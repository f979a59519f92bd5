//! The reading side: HTML, section 9.2.6.
//!
//! In: bytes of the stream. Out: events, the id to resume from, the time to wait before that.
//!
//! Invariant: what is kept between two calls, one line and the data so far, is within the limit.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Error;
use crate::error::Wire;

/// Above this a buffer is given back once its event has been read.
const KEPT: usize = 16 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Received<'a> {
    /// Its name; `message` if the server gave none.
    pub name: &'a str,
    /// Its lines, joined by line feeds. What is no UTF-8 stands as U+FFFD.
    pub data: &'a str,
    /// The id of it, or of the last event before it that had one; possibly empty.
    pub id: &'a str,
}

/// Reads one stream of events.
///
/// ```
/// use lodger::proto::events::Reader;
///
/// let mut reader = Reader::new(1 << 20, "");
/// let mut bytes = &b"id: 7\nevent: news\ndata: one\ndata: two\n\n:a comment\n"[..];
/// let event = reader.poll(&mut bytes)?.expect("it is whole");
/// assert_eq!((event.name, event.data, event.id), ("news", "one\ntwo", "7"));
/// assert_eq!(reader.poll(&mut bytes)?, None);
/// assert!(bytes.is_empty());
/// # Ok::<(), lodger::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    /// The line so far that has not ended.
    line: Vec<u8>,
    data: Vec<u8>,
    name: Vec<u8>,
    /// The id of the event being read; that of events when it is complete.
    next_id: String,
    id: String,
    retry: Option<Duration>,
    /// The most bytes of a line, and of an event's data and name.
    most: usize,
    /// The event in `data` and `name` has been handed on.
    told: bool,
    /// The first line is complete: a byte order mark is none any more.
    begun: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl Reader {
    /// Makes a reader at the beginning of a stream. `most` bytes are taken of a line, and of an
    /// event; `last_id` is the id of the last event that was heard before.
    pub fn new(most: usize, last_id: &str) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            name: Vec::new(),
            next_id: last_id.into(),
            id: last_id.into(),
            retry: None,
            most,
            told: false,
            begun: false,
            after_cr: false,
        }
    }

    /// Takes bytes from the front of `bytes` until an event is complete; `None` once all are taken.
    /// An event that the end of the stream cuts off is none.
    ///
    /// # Errors
    ///
    /// `Peer`: a line or an event is over the limit. Nothing more can be read.
    pub fn poll(&mut self, bytes: &mut &[u8]) -> Result<Option<Received<'_>>, Error> {
        self.forget();
        loop {
            if self.after_cr && !bytes.is_empty() {
                self.after_cr = false;
                *bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let Some(end) = bytes.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
                self.keep(bytes)?;
                *bytes = &[];
                return Ok(None);
            };
            let (piece, behind) = bytes.split_at(end);
            self.after_cr = behind.first() == Some(&b'\r');
            *bytes = behind.get(1..).unwrap_or_default();
            if self.end_line(piece)? {
                return Ok(Some(self.event()));
            }
        }
    }

    /// Gives the id of the last event; the empty one if there was none.
    pub fn last_id(&self) -> &str {
        &self.id
    }

    /// Gives how long the server asks to wait before the stream is opened again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Drops the event that was handed on.
    fn forget(&mut self) {
        if core::mem::take(&mut self.told) {
            self.data.clear();
            self.name.clear();
            self.data.shrink_to(KEPT);
            self.line.shrink_to(KEPT);
        }
    }

    /// Keeps a part of a line until its rest is there.
    fn keep(&mut self, part: &[u8]) -> Result<(), Error> {
        if self.line.len() + part.len() > self.most {
            return Err(TOO_LONG);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Reads a line whose last piece is there; `true` if it completes an event.
    fn end_line(&mut self, piece: &[u8]) -> Result<bool, Error> {
        if self.line.is_empty() {
            return self.read(piece);
        }
        self.keep(piece)?;
        let line = core::mem::take(&mut self.line);
        let complete = self.read(&line);
        self.line = line;
        self.line.clear();
        complete
    }

    fn read(&mut self, line: &[u8]) -> Result<bool, Error> {
        if line.len() > self.most {
            return Err(TOO_LONG);
        }
        let first = !core::mem::replace(&mut self.begun, true);
        let line = if first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (name, value) = match line.iter().position(|b| *b == b':') {
            Some(at) => {
                let (name, value) = line.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        self.field(name, value)?;
        Ok(false)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        match name {
            b"data" => {
                if self.data.len() + value.len() >= self.most {
                    return Err(TOO_LONG);
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => {
                self.next_id.clear();
                self.next_id.push_str(&String::from_utf8_lossy(value));
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let text = core::str::from_utf8(value).unwrap_or_default();
                // More digits than fit are a long time all the same.
                self.retry = Some(Duration::from_millis(text.parse().unwrap_or(u64::MAX)));
            }
            // A comment has no name. Other fields are of no meaning here.
            _ => {}
        }
        Ok(())
    }

    /// Ends an event at an empty line; `false` if it has no data, so that it is none.
    fn dispatch(&mut self) -> bool {
        self.id.clone_from(&self.next_id);
        if self.data.pop().is_none() {
            self.name.clear();
            return false;
        }
        into_utf8(&mut self.data);
        into_utf8(&mut self.name);
        self.told = true;
        true
    }

    /// Whether what is kept of lines and data is at most `most` bytes each.
    #[cfg(any(test, fuzzing))]
    pub(super) fn keeps_within(&self, most: usize) -> bool {
        self.line.len() <= most && self.data.len() <= most
    }

    fn event(&self) -> Received<'_> {
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
        let name = if self.name.is_empty() { "message" } else { text(&self.name) };
        Received { name, data: text(&self.data), id: &self.id }
    }
}

const TOO_LONG: Error = Error::peer(Wire::None, "the limit of an event");

/// Puts U+FFFD for what is no UTF-8, which is longer at most three times.
fn into_utf8(bytes: &mut Vec<u8>) {
    if core::str::from_utf8(bytes).is_err() {
        *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{all, fuzz_events};
    use super::*;
    use crate::proto::split::assert_same_for_any_cut;

    /// Name and data of each event, and that no cut changes it.
    fn read(stream: &[u8]) -> Vec<[String; 3]> {
        assert_same_for_any_cut(stream, 1, |pieces| all(1 << 20, pieces));
        all(1 << 20, &[stream]).events
    }

    fn datas(stream: &[u8]) -> Vec<String> {
        read(stream).into_iter().map(|[_, data, _]| data).collect()
    }

    /// The examples of HTML, section 9.2.6.
    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(datas(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        let ids = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        assert_eq!(
            read(ids),
            [
                ["message", "first event", "1"],
                ["message", "second event", ""],
                ["message", " third event", ""]
            ]
        );
        assert_eq!(datas(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(datas(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = "data: a#data: b##event: x#data: c##".replace('#', end);
            assert_eq!(read(stream.as_bytes()).len(), 2, "{end:?}");
        }
        assert_eq!(datas(b"data: a\r\ndata: b\r\rdata: c\n\r\n"), ["a\nb", "c"]);
    }

    #[test]
    fn a_byte_order_mark_is_none_but_at_the_beginning() {
        assert_eq!(datas(b"\xef\xbb\xbfdata: a\n\n"), ["a"]);
        assert!(datas(b"\n\xef\xbb\xbfdata: a\n\n").is_empty());
        assert!(datas(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n").is_empty());
    }

    #[test]
    fn what_the_server_asks_is_kept() {
        let heard =
            all(99, &[b"retry: 250\nid: 3\n\nretry: 1x\nretry:\nid: a\0b\ndata: d\n\nid: 9\n"]);

        assert_eq!(heard.retry, Some(Duration::from_millis(250)));
        assert_eq!(heard.events, [["message", "d", "3"]]);
        assert_eq!(heard.id, "3", "an event that is not complete has no id");
        assert_eq!(all(99, &[b"data: d\n\n"]).events[0][2], "before");
    }

    #[test]
    fn fields_without_meaning_change_nothing() {
        assert_eq!(datas(b"dat: a\nDATA: b\n data: c\n:data: d\ndata: e\nx\n\n"), ["e"]);
        assert_eq!(read(b"event: a\n\ndata: b\n\n"), [["message", "b", "before"]]);
        assert_eq!(read(b"event: a\nevent: b\ndata: c\n\n"), [["b", "c", "before"]]);
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert_eq!(datas(b"data: \xff\xc3\ndata: \xa4\n\n"), ["\u{fffd}\u{fffd}\n\u{fffd}"]);
    }

    #[test]
    fn limits_are_inclusive() {
        assert!(!all(8, &[b"data: 78\n\n"]).failed);
        assert!(all(8, &[b"data: 789\n"]).failed);
        assert!(all(8, &[b":23456789"]).failed, "a line without end is not collected");
        assert!(!all(9, &[b"data:2\ndata:4\ndata:6\ndata:8\n\n"]).failed);
        assert!(all(9, &[b"data:2\ndata:4\ndata:6\ndata:8\ndata:\ndata:\n"]).failed);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut stream = Vec::new();
        let text = " a\n\nb: c\r\n";
        super::super::Event::new(text).name("n").id("1").put(&mut stream).unwrap();

        assert_eq!(read(&stream), [["n", " a\n\nb: c\n", "1"]]);
    }

    #[test]
    fn any_stream_is_read_alike_however_it_is_cut() {
        let words: [&[u8]; 9] =
            [b"data", b":", b" ", b"\n", b"\r", b"id", b"retry: 9", b"\xef\xbb\xbf", b"\xc3\xa4"];
        let mut random = 7u64;
        for _ in 0..2000 {
            let mut stream = Vec::new();
            for _ in 0..(random >> 40) % 30 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
                stream.extend_from_slice(words[(random >> 33) as usize % words.len()]);
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
            fuzz_events(&stream);
        }
    }

    /// The seeds of the fuzz target.
    #[test]
    fn the_corpus_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/events");
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            fuzz_events(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 5);
    }
}
