//! `multipart/form-data` as it arrives: RFC 7578, RFC 2046, section 5.1.
//!
//! In: pieces of a body, cut anywhere. Out: heads of parts, their data in pieces, their ends.
//!
//! ```text
//! Preamble --delimiter--> Behind --CR LF--> Head --empty line--> Data --delimiter--> Behind
//!                            '--"--"--> Epilogue (ignored)
//! ```
//! Invariant: what is held of the input is the head of one part, within its limit. A delimiter that
//! was begun and turns out to be data is given out again from the delimiter itself.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::content_type::{media_type, parameter, unescape};
use crate::error::{Error, Wire};
use crate::limits::FormLimits;

/// What a form holds, in the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A part begins.
    Part(Part<'a>),
    /// Data of the part, cut anywhere; never empty.
    Data(&'a [u8]),
    /// The part is complete.
    PartEnd,
}

/// The head of a part: RFC 7578, section 4.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Part<'a> {
    /// The name of its field in the form.
    pub name: &'a str,
    /// The name of the file that it is, as the peer gave it: never a path to be opened.
    pub filename: Option<&'a str>,
    /// Its type, with parameters, as the peer gave it.
    pub content_type: Option<&'a str>,
}

/// A body of parts that is being read.
///
/// ```
/// use lodger::FormLimits;
/// use lodger::proto::form::{Event, Multipart};
///
/// let mut form = Multipart::new("XX", FormLimits::default());
/// let mut body = &b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--\r\n"[..];
/// while let Some(event) = form.poll(&mut body)? {
///     match event {
///         Event::Part(part) => assert_eq!((part.name, part.filename), ("a", None)),
///         Event::Data(data) => assert_eq!(data, b"1"),
///         _ => {}
///     }
/// }
/// form.end()?;
/// # Ok::<(), lodger::Error>(())
/// ```
#[derive(Debug)]
pub struct Multipart {
    /// CR LF, two hyphens, the boundary.
    delimiter: Vec<u8>,
    /// How much of the delimiter has been matched at the end of the input so far.
    matched: usize,
    /// How much of that is no data if it turns out to be no delimiter.
    lent: usize,
    state: State,
    /// The head being read.
    head: Vec<u8>,
    names: Names,
    limits: FormLimits,
    parts: usize,
    /// Bytes of the whole body so far, and of the current part.
    total: u64,
    part: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Preamble,
    Data,
    /// Behind a delimiter: its last byte so far, 0 at first.
    Behind(u8),
    Head,
    Epilogue,
    Failed(Error),
}

/// What a head says, decoded.
#[derive(Debug, Default)]
struct Names {
    name: String,
    filename: Option<String>,
    content_type: Option<String>,
}

type Polled<'a> = Result<Option<Event<'a>>, Error>;

/// What came of a look for the delimiter.
enum Found<'i> {
    /// Data from the input.
    Data(&'i [u8]),
    /// Data that looked like a delimiter: this part of it.
    Held(Range<usize>),
    Delimiter,
    /// More input must decide.
    More,
}

impl Multipart {
    /// Begins a body with this boundary, as [`boundary`](super::boundary) gives it.
    pub fn new(boundary: &str, limits: FormLimits) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Self {
            delimiter,
            // The first delimiter may stand at the very beginning, without a line end before it.
            matched: 2,
            lent: 2,
            state: State::Preamble,
            head: Vec::new(),
            names: Names::default(),
            limits,
            parts: 0,
            total: 0,
            part: 0,
        }
    }

    /// Takes the bytes of one event off `input`; `None` if it needs more, and has taken all.
    ///
    /// # Errors
    ///
    /// `Peer`, with the status to answer: 400 for what is malformed, 413 for what is over a limit.
    /// The same again for each later call.
    pub fn poll<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Polled<'s> {
        loop {
            let ready = match self.state {
                State::Failed(e) => return Err(e),
                State::Epilogue => {
                    self.take(input, input.len())?;
                    false
                }
                State::Preamble | State::Data => match self.find(input)? {
                    Found::More => false,
                    Found::Delimiter => {
                        let before = mem::replace(&mut self.state, State::Behind(0));
                        if before == State::Data {
                            return Ok(Some(Event::PartEnd));
                        }
                        true
                    }
                    _ if self.state == State::Preamble => true,
                    Found::Data(data) => return Ok(Some(Event::Data(data))),
                    Found::Held(part) if part.is_empty() => true,
                    Found::Held(part) => {
                        let data = self.delimiter.get(part).unwrap_or_default();
                        return Ok(Some(Event::Data(data)));
                    }
                },
                State::Behind(last) => self.behind(last, input)?,
                State::Head => {
                    if self.head(input)? {
                        return Ok(Some(Event::Part(self.names.part())));
                    }
                    false
                }
            };
            if !ready {
                return Ok(None);
            }
        }
    }

    /// Ends the input.
    ///
    /// # Errors
    ///
    /// `Peer` with 400: the last delimiter has not come.
    pub fn end(&self) -> Result<(), Error> {
        match self.state {
            State::Epilogue => Ok(()),
            State::Failed(e) => Err(e),
            // Nothing but the last delimiter, and its last hyphen is not there: still no end.
            _ => Err(bad("RFC 2046, 5.1.1: the last delimiter ends the body")),
        }
    }

    /// Looks for the delimiter. Its CR can only be its first byte, so that after a mismatch
    /// nothing of what was matched can begin another one.
    fn find<'i>(&mut self, input: &mut &'i [u8]) -> Result<Found<'i>, Error> {
        if self.matched == 0 {
            let data = input.iter().position(|&b| b == b'\r').unwrap_or(input.len());
            if data > 0 {
                let data = data.min(self.room()?);
                self.count(data)?;
                return Ok(Found::Data(self.take(input, data)?));
            }
        }
        let wanted = self.delimiter.get(self.matched..).unwrap_or_default();
        let same = wanted.iter().zip(*input).take_while(|(a, b)| a == b).count();
        let (all, mismatch) = (same == wanted.len(), same < input.len());
        self.take(input, same)?;
        self.matched += same;
        if !all && !mismatch {
            return Ok(Found::More);
        }
        let (matched, lent) = (mem::take(&mut self.matched), mem::take(&mut self.lent));
        if all {
            return Ok(Found::Delimiter);
        }
        self.count(matched - lent)?;
        Ok(Found::Held(lent..matched))
    }

    /// Gives how many bytes of data fit into the limits.
    fn room(&mut self) -> Result<usize, Error> {
        let left = self.limits.bytes.saturating_sub(self.total);
        if left == 0 {
            return self.fail(TOO_LONG);
        }
        let part = match self.state {
            State::Data => self.limits.part.saturating_sub(self.part),
            _ => left,
        };
        if part == 0 {
            return self.fail(PART_TOO_LONG);
        }
        Ok(usize::try_from(left.min(part)).unwrap_or(usize::MAX))
    }

    /// Reads what follows a delimiter: white space and a line end, or two hyphens. `true` if the
    /// state has moved on.
    fn behind(&mut self, last: u8, input: &mut &[u8]) -> Result<bool, Error> {
        let Some(&byte) = input.first() else { return Ok(false) };
        self.take(input, 1)?;
        self.state = match (last, byte) {
            (0, b'-') | (0 | b' ', b'\r') => State::Behind(byte),
            (0 | b' ', b' ' | b'\t') => State::Behind(b' '),
            (b'-', b'-') => State::Epilogue,
            (b'\r', b'\n') => {
                self.begin_part()?;
                State::Head
            }
            _ => return self.fail(bad("RFC 2046, 5.1.1: a delimiter stands alone in its line")),
        };
        Ok(true)
    }

    fn begin_part(&mut self) -> Result<(), Error> {
        self.parts += 1;
        self.part = 0;
        // A head without any line begins with the line end that ends it.
        self.head.clear();
        self.head.extend_from_slice(b"\r\n");
        if self.parts > self.limits.parts {
            return self.fail(too_large("the limit of a form's parts"));
        }
        Ok(())
    }

    /// Reads the head of a part. `true` once it is complete.
    fn head(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        while let Some(&byte) = input.first() {
            self.take(input, 1)?;
            self.head.push(byte);
            if self.head.len() > self.limits.head.saturating_add(2) {
                return self.fail(too_large("the limit of a part's head"));
            }
            if self.head.ends_with(b"\r\n\r\n") {
                if let Err(e) = self.names.read(&self.head) {
                    return self.fail(e);
                }
                self.state = State::Data;
                // Without a body the delimiter begins with the line end that ended the head.
                (self.matched, self.lent) = (2, 2);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes `n` bytes off the input and counts them.
    fn take<'a>(&mut self, input: &mut &'a [u8], n: usize) -> Result<&'a [u8], Error> {
        let (front, rest) = input.split_at_checked(n).unwrap_or((*input, &[]));
        *input = rest;
        self.total = self.total.saturating_add(front.len() as u64);
        if self.total > self.limits.bytes {
            return self.fail(TOO_LONG);
        }
        Ok(front)
    }

    /// Counts data of the current part.
    fn count(&mut self, n: usize) -> Result<(), Error> {
        self.part = self.part.saturating_add(n as u64);
        match self.state {
            State::Data if self.part > self.limits.part => self.fail(PART_TOO_LONG),
            _ => Ok(()),
        }
    }

    fn fail<T>(&mut self, e: Error) -> Result<T, Error> {
        self.state = State::Failed(e);
        Err(e)
    }
}

impl Names {
    /// Reads the lines of a head.
    fn read(&mut self, head: &[u8]) -> Result<(), Error> {
        let text = core::str::from_utf8(head).map_err(|_| bad("RFC 7578, 5.1: names are UTF-8"))?;
        let mut named = false;
        (self.filename, self.content_type) = (None, None);
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            if line.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
                return Err(bad("RFC 9110, 5.5: a control character in the head of a part"));
            }
            let (name, value) = line.split_once(':').ok_or(bad("RFC 5322, 2.2: name, colon"))?;
            let name = name.trim_end();
            if name.eq_ignore_ascii_case("content-disposition") {
                self.disposition(value)?;
                named = true;
            } else if name.eq_ignore_ascii_case("content-type") {
                self.content_type = Some(value.trim().to_owned());
            }
        }
        if named { Ok(()) } else { Err(UNNAMED) }
    }

    /// `filename*` is ignored, as RFC 7578, section 4.2 demands.
    fn disposition(&mut self, value: &str) -> Result<(), Error> {
        let (kind, parameters) = value.split_once(';').ok_or(UNNAMED)?;
        if !media_type(kind).eq_ignore_ascii_case("form-data") {
            return Err(UNNAMED);
        }
        let name = parameter(parameters, "name").ok_or(UNNAMED)?;
        self.name.clear();
        self.name.push_str(&unescape(&name));
        let filename = parameter(parameters, "filename");
        self.filename = filename.map(|name| unescape(&name).into_owned());
        Ok(())
    }

    fn part(&self) -> Part<'_> {
        Part {
            name: &self.name,
            filename: self.filename.as_deref(),
            content_type: self.content_type.as_deref(),
        }
    }
}

const UNNAMED: Error = bad("RFC 7578, 4.2: a part is form-data and has a name");
const TOO_LONG: Error = too_large("the limit of a form's bytes");
const PART_TOO_LONG: Error = too_large("the limit of a part's bytes");

const fn bad(rule: &'static str) -> Error {
    Error::peer(Wire::H1(400), rule)
}

const fn too_large(rule: &'static str) -> Error {
    Error::peer(Wire::H1(413), rule)
}
