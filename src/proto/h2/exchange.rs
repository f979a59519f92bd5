//! One request and its answer, on a stream: the server's side in the terms of HTTP/1, so that what
//! answers need not know the difference. RFC 9113, section 8.1.
//!
//! In: the data of the stream as it comes, its end, the head and the parts of an answer. Out: the
//! events of a request's body, what is to be sent.

use alloc::boxed::Box;
use alloc::vec::Vec;

use lodger_backend::Micros;

use crate::error::{Error, Wire};
use crate::io::{FieldSpan, Rx, Scratch};
use crate::limits::H1Limits;
use crate::proto::h1::{self, Body, Fields, Length};

/// The server's side of one stream. At most 64 bytes.
#[derive(Debug)]
pub struct Exchange {
    /// When the rate of the body is looked at.
    at: Micros,
    /// What of the answer's body is to come; `UNKNOWN` has no bound.
    left: u64,
    /// The request's.
    trailers: Option<Box<Kept>>,
    /// The answer's, in the wire form of HTTP/1, until its body has gone.
    behind: Option<Box<[u8]>>,
    /// Bytes of the body in the window that is under way.
    counted: u32,
    flags: u16,
}

/// Fields that wait for their turn.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    spans: Vec<FieldSpan>,
}

impl Kept {
    /// Copies fields.
    pub(crate) fn of(fields: Fields<'_>) -> Box<Self> {
        let (bytes, spans) = fields.parts();
        Box::new(Self { bytes: bytes.to_vec(), spans: spans.to_vec() })
    }

    /// Puts them where an event can borrow them.
    pub(crate) fn lend(self, scratch: &mut Scratch) -> Fields<'_> {
        let (bytes, spans) = scratch.section();
        *bytes = self.bytes;
        *spans = self.spans;
        let (bytes, spans) = scratch.section_ref();
        Fields::new(bytes, spans)
    }
}

const UNKNOWN: u64 = u64::MAX;

/// The request is a HEAD.
const HEAD: u16 = 1;
/// The client waits for 100.
const EXPECT: u16 = 1 << 1;
/// The application asked for the body.
const WANTED: u16 = 1 << 2;
/// The body is not complete.
const READING: u16 = 1 << 3;
/// The answer's head is out.
const HEADED: u16 = 1 << 4;
/// The answer is complete.
const ANSWERED: u16 = 1 << 5;
/// The answer has no body whatever is given.
const SWALLOW: u16 = 1 << 6;
/// It may become a WebSocket.
const UPGRADE: u16 = 1 << 7;
/// The answer ended before it was as long as announced.
const BROKEN: u16 = 1 << 8;
/// A CONNECT.
const CONNECT: u16 = 1 << 9;

impl Exchange {
    /// Makes the state of a request that has just come.
    pub fn new(head: &h1::Request<'_>, expects: bool, now: Micros, limits: &H1Limits) -> Self {
        let mut flags = 0;
        let mut set = |on: bool, flag: u16| flags |= if on { flag } else { 0 };
        set(head.method == "HEAD", HEAD);
        set(head.method == "CONNECT", CONNECT);
        set(expects, EXPECT);
        set(head.body != Body::None, READING);
        set(head.upgrade, UPGRADE);
        let at = now + limits.body_grace + limits.body_window;
        Self { at, left: 0, trailers: None, behind: None, counted: 0, flags }
    }

    /// Gives the next event; `None` when more input is needed.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Option<h1::Event<'s>> {
        if !self.has(READING) {
            rx.take(rx.len());
            return None;
        }
        if !rx.is_empty() {
            let n = u32::try_from(rx.len()).unwrap_or(u32::MAX);
            self.counted = self.counted.saturating_add(n);
            return Some(h1::Event::Body(rx.take(usize::MAX)));
        }
        if !rx.eof() {
            return None;
        }
        if let Some(kept) = self.trailers.take() {
            return Some(h1::Event::Trailers(kept.lend(scratch)));
        }
        self.flags &= !READING;
        Some(h1::Event::End)
    }

    /// Keeps the trailers until the data before them has been read.
    pub fn set_trailers(&mut self, fields: Fields<'_>) {
        if !fields.is_empty() {
            self.trailers = Some(Kept::of(fields));
        }
    }

    /// Notes the head of the answer. Gives whether nothing follows it.
    ///
    /// # Errors
    ///
    /// `Caller`: it has a head already, the status is no final one, or it would make a tunnel of a
    /// CONNECT.
    pub fn head(&mut self, status: u16, length: Length) -> Result<bool, Error> {
        if self.flags & (HEADED | ANSWERED) != 0 {
            return Err(Error::misuse("no request waits for an answer"));
        }
        if !(200..=999).contains(&status) {
            return Err(Error::misuse("a final status is 200 to 999"));
        }
        if self.has(CONNECT) && status < 300 {
            return Err(Error::misuse("this is no proxy: CONNECT cannot succeed"));
        }
        self.flags |= HEADED;
        self.left = match length {
            Length::None => 0,
            Length::Known(n) => n,
            Length::Unknown => UNKNOWN,
        };
        if self.has(HEAD) || matches!(status, 204 | 304) {
            self.flags |= SWALLOW;
        }
        let ends = length == Length::None;
        self.flags |= if ends { ANSWERED } else { 0 };
        Ok(ends)
    }

    /// Counts a part of the answer's body. `false`: it is dropped.
    ///
    /// # Errors
    ///
    /// `Caller`: there is no head, or it is more than that announced.
    pub fn count(&mut self, n: u64) -> Result<bool, Error> {
        if !self.sends_body() {
            return Err(Error::misuse("a body without a head"));
        }
        if self.has(SWALLOW) {
            return Ok(false);
        }
        if self.left != UNKNOWN {
            let left = self.left.checked_sub(n);
            self.left = left.ok_or(Error::misuse("a body longer than announced"))?;
        }
        Ok(true)
    }

    /// Ends the answer. Does nothing where it is complete.
    ///
    /// # Errors
    ///
    /// `Caller`: there is no head; or the body is shorter than announced, and the stream is to be
    /// reset, so that the peer can tell.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.finish_with(&[])
    }

    /// Ends the answer with trailers, made by [`put_trailer`](h1::put_trailer), which
    /// [`take_trailers`](Self::take_trailers) gives once the body has gone. HEAD, 204 and 304 have
    /// none: they are dropped.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_with(&mut self, trailers: &[u8]) -> Result<(), Error> {
        if self.has(ANSWERED) {
            return Ok(());
        }
        if !self.has(HEADED) {
            return Err(Error::misuse("an end without a head"));
        }
        self.flags |= ANSWERED;
        if !self.has(SWALLOW) && !matches!(self.left, 0 | UNKNOWN) {
            self.flags |= BROKEN;
            return Err(Error::misuse("a body shorter than announced"));
        }
        if !self.has(SWALLOW) && !trailers.is_empty() {
            self.behind = Some(Box::from(trailers));
        }
        Ok(())
    }

    /// Gives what ends the stream in place of its last data, once.
    pub fn take_trailers(&mut self) -> Option<Box<[u8]>> {
        self.behind.take()
    }

    /// Asks for the body. `true`: the client waits for 100 before it sends it.
    pub fn want_body(&mut self) -> bool {
        let waits = self.has(EXPECT) && !self.has(HEADED);
        self.flags &= !EXPECT;
        self.flags |= WANTED;
        waits
    }

    /// Notes an interim answer.
    ///
    /// # Errors
    ///
    /// `Caller`: the status is none, or the final head is out.
    pub fn interim(&mut self, status: u16) -> Result<(), Error> {
        if !matches!(status, 100 | 102..=199) {
            return Err(Error::misuse("an interim status is 100 or 102 to 199"));
        }
        if self.flags & (HEADED | ANSWERED) != 0 {
            return Err(Error::misuse("no request waits for an answer"));
        }
        if status == 100 {
            self.flags &= !EXPECT;
            self.flags |= WANTED;
        }
        Ok(())
    }

    /// Whether it may become a WebSocket now.
    pub fn may_switch(&self) -> bool {
        self.has(UPGRADE) && self.flags & (HEADED | ANSWERED) == 0
    }

    /// Whether the answer is not complete.
    pub fn awaits_answer(&self) -> bool {
        !self.has(ANSWERED)
    }

    /// Whether the answer's head is out and its body is not complete.
    pub fn sends_body(&self) -> bool {
        self.has(HEADED) && !self.has(ANSWERED)
    }

    /// Whether the body of the answer under way is dropped.
    pub fn drops_body(&self) -> bool {
        self.sends_body() && self.has(SWALLOW)
    }

    /// Whether the answer is as long as announced so far: nothing more can follow.
    pub fn is_full(&self) -> bool {
        self.has(SWALLOW) || self.left == 0
    }

    /// Whether the request's body is not complete.
    pub fn reads_body(&self) -> bool {
        self.has(READING)
    }

    /// Whether it is complete, both ways as far as anybody cares.
    pub fn is_over(&self) -> bool {
        self.has(ANSWERED) && (!self.has(READING) || !self.has(WANTED))
    }

    /// Whether the answer broke off: its stream is to be reset, not ended.
    pub fn is_broken(&self) -> bool {
        self.has(BROKEN)
    }

    /// When [`on_deadline`](Self::on_deadline) is to be called.
    pub fn deadline(&self) -> Option<Micros> {
        (self.flags & (READING | EXPECT) == READING).then_some(self.at)
    }

    /// Looks at the rate of the body.
    ///
    /// # Errors
    ///
    /// `Peer`: it comes too slowly.
    pub fn on_deadline(&mut self, now: Micros, limits: &H1Limits) -> Result<(), Error> {
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        let least = u64::from(limits.body_rate).saturating_mul(limits.body_window.as_secs());
        let enough = u64::from(self.counted) >= least;
        self.counted = 0;
        self.at = now + limits.body_window;
        if enough {
            return Ok(());
        }
        Err(Error::peer(Wire::H2(super::Code::Cancel as u32), "the limit of a body's rate"))
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}
