//! The server's side of one connection: RFC 9112, sections 6 to 9.
//!
//! In: bytes, answers, the passing of time. Out: a [`Request`], its body in parts, its end; bytes
//! to send; a deadline.
//!
//! ```text
//! reading:   Idle --first byte--> Head --complete--> Body --complete--> Done --answered--> Idle
//!              +--a whole head without a body-------------------------->+
//!            any --error, or no further request wanted--> Stopped (input is thrown away)
//!            Done --101--> Switched (input is left alone)
//! answering: Free --request--> Owed --head--> Sending --end--> Free, once the body is read too
//! ```
//!
//! Invariant: one request at a time. What is pipelined behind it stays in the `Rx`.
//! Invariant: an answer whose head goes out before a body that nobody asked for has arrived ends
//! the connection, so that the rest of that body is never taken for a request.

mod reads;
mod waits;

use alloc::vec::Vec;

use lodger_backend::Micros;

use super::Fault;
use super::body::{BodyReader, Piece};
use super::fields::{Fields, Progress};
use super::head::Request;
use super::write::{
    Announce, BodyWriter, Length, Response, put_goodbye, put_interim, put_response,
};
use crate::error::{Error, Wire};
use crate::io::{Rx, Scratch, Tx};
use crate::limits::{H1Limits, Limits};
use crate::proto::Cx;

/// What the peer did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'s> {
    /// A request's head is complete. With [`Body::None`](super::Body::None) that is all of it.
    Request(Request<'s>),
    /// A part of its body arrived; never empty.
    Body(&'s mut [u8]),
    /// Fields behind a chunked body; never merged into those of the head.
    Trailers(Fields<'s>),
    /// The body is complete. Follows every [`Event::Request`] but one without a body.
    End,
}

/// How far the current request has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    Idle,
    Head,
    Body,
    Done,
    Stopped,
    Switched,
}

/// How far the current request has been answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Free,
    Owed,
    Sending,
    Sent,
}

/// The server's side of one connection. No buffer and no heap, at most 64 bytes.
#[derive(Debug)]
pub struct Server {
    /// When the current wait is over, unless `REARM` is set.
    at: Micros,
    body: BodyReader,
    writer: BodyWriter,
    progress: Progress,
    /// Requests begun.
    begun: u32,
    flags: u16,
    reading: Reading,
    answer: Answer,
}

/// The current request is HTTP/1.0.
const HTTP10: u16 = 1;
/// The current request is a HEAD.
const HEAD: u16 = 1 << 1;
/// The current request is a CONNECT.
const CONNECT: u16 = 1 << 2;
/// The current request may be answered with 101.
const UPGRADE: u16 = 1 << 3;
/// The peer waits for 100 before it sends the body.
const EXPECT: u16 = 1 << 4;
/// The application asked for the body.
const WANTED: u16 = 1 << 5;
/// No further request after this one.
const CLOSE: u16 = 1 << 6;
/// A wait begins: `at` is set with the next call that tells the time.
const REARM: u16 = 1 << 7;
/// The one empty line before a request has been read.
const BLANK: u16 = 1 << 8;
/// The peer has not been told yet why the connection ends.
const UNSAID: u16 = 1 << 9;
/// It is told by a head alone: it had asked for no more.
const BARE: u16 = 1 << 10;
/// What holds for one request only.
const PER_REQUEST: u16 = HTTP10 | HEAD | CONNECT | UPGRADE | EXPECT | WANTED | BLANK;

impl Server {
    /// Makes the state of a connection that was accepted at `now`. The first request may take
    /// `limits.h1.idle` to begin.
    pub fn new(now: Micros, limits: &Limits) -> Self {
        Self {
            at: now + limits.h1.idle,
            body: BodyReader::none(),
            writer: BodyWriter::swallow(),
            progress: Progress { line: 0, scan: 0, count: 0 },
            begun: 0,
            flags: 0,
            reading: Reading::Idle,
            answer: Answer::Free,
        }
    }

    /// Gives the next event; call again until it gives `None`: more input is needed, or a
    /// pipelined request waits for the answer to the current one.
    ///
    /// - `rx`: what the last call left, then what arrived since; the runtime keeps what is left.
    ///   An incomplete head stays in it, at most `limits.h1.head` bytes; so does all that is
    ///   pipelined behind a request that has not been answered.
    /// - `scratch`: where the places of fields are kept for the length of the event.
    ///
    /// At the end of input an idle connection is no error: [`must_close`](Self::must_close) then
    /// tells so. Call also after an answer was finished: a pipelined request may be waiting, and
    /// the idle time begins.
    ///
    /// # Errors
    ///
    /// `Peer`: the message is malformed or over a limit. If no answer has begun, a response that
    /// says so is in `tx`. Nothing more is read.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Event<'s>>, Error> {
        let limits = &cx.limits.h1;
        match self.reading {
            Reading::Idle | Reading::Head => self.poll_head(cx.now, limits, rx, scratch),
            Reading::Body => {
                let polled = self.poll_body(cx.now, limits, rx, scratch);
                polled.map_err(|fault| self.fail(fault))
            }
            Reading::Done | Reading::Switched => Ok(None),
            Reading::Stopped => {
                rx.take(rx.len());
                Ok(None)
            }
        }
    }

    /// Writes the head of the answer. The body follows by [`body`](Self::body), then
    /// [`finish`](Self::finish); with [`Length::None`] the answer is complete at once.
    ///
    /// The connection is closed after it, and the head says so, if either side wants that, if it
    /// is HTTP/1.0, or if the request's body has not arrived whole and nobody has asked for it by
    /// [`want_body`](Self::want_body); the rest of that body is not delivered then.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: no request waits for an answer, the status is below 200
    /// or above 999, or it would make a tunnel of a CONNECT.
    pub fn respond(&mut self, tx: &mut Tx<'_>, head: &Response<'_>) -> Result<(), Error> {
        self.put_head(tx, head, 0)?;
        if head.length == Length::None {
            self.answered();
        }
        Ok(())
    }

    /// Writes a whole answer: what [`respond`](Self::respond), [`body`](Self::body) and
    /// [`finish`](Self::finish) write, in one go. `head.length` does not matter: the length is
    /// that of `body`.
    ///
    /// # Errors
    ///
    /// As [`respond`](Self::respond).
    pub fn respond_whole(
        &mut self,
        tx: &mut Tx<'_>,
        head: &Response<'_>,
        body: &[u8],
    ) -> Result<(), Error> {
        let head = Response { length: Length::Known(body.len() as u64), ..*head };
        let swallow = self.has_no_body(head.status);
        let out = self.put_head(tx, &head, body.len())?;
        if !swallow {
            out.extend_from_slice(body);
        }
        self.answered();
        Ok(())
    }

    /// Writes a part of the answer's body. What HEAD, 204 and 304 leave out is taken and dropped.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: no head was written, or this is more than it announced.
    pub fn body(&mut self, tx: &mut Tx<'_>, data: &[u8]) -> Result<(), Error> {
        if self.answer != Answer::Sending {
            return Err(Error::misuse("a body without a head"));
        }
        self.writer.body(tx, data)
    }

    /// Counts `n` bytes of the answer's body that go to the peer another way, right behind what is
    /// in the output: a part of a file. `false`: HEAD, 204 and 304 leave them out.
    ///
    /// # Errors
    ///
    /// `Caller`: no head was written, it announced no length, or this is more than it announced.
    pub fn lend(&mut self, n: u64) -> Result<bool, Error> {
        if self.answer != Answer::Sending {
            return Err(Error::misuse("a body without a head"));
        }
        self.writer.lend(n)
    }

    /// Counts a part of the answer's body that is sent to many, and gives what it is on this
    /// connection: `chunk`, which [`put_chunk`](super::put_chunk) made of `data`, or `data`, or
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`body`](Self::body).
    pub fn share<'p>(&mut self, chunk: &'p [u8], data: &'p [u8]) -> Result<&'p [u8], Error> {
        if self.answer != Answer::Sending {
            return Err(Error::misuse("a body without a head"));
        }
        self.writer.share(chunk, data)
    }

    /// Ends the answer. Does nothing where the answer is complete.
    ///
    /// # Errors
    ///
    /// `Caller`: no head was written; or the body is shorter than the head announced, and the
    /// connection must be closed, so that the peer can tell.
    pub fn finish(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.finish_with(tx, &[])
    }

    /// Ends the answer with a trailer section: see [`BodyWriter::finish_with`].
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_with(&mut self, tx: &mut Tx<'_>, trailers: &[u8]) -> Result<(), Error> {
        match self.answer {
            Answer::Owed => return Err(Error::misuse("an end without a head")),
            Answer::Free | Answer::Sent => return Ok(()),
            Answer::Sending => {}
        }
        let outcome = self.writer.finish_with(tx, trailers);
        if outcome.is_err() {
            self.stop();
        }
        self.answered();
        outcome
    }

    /// Writes an interim response, 100 or 102 to 199; `fields` is in wire form. HTTP/1.0 knows
    /// none and is sent none. 100 also asks for the body.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: the status is another, or no request waits for an answer.
    pub fn interim(&mut self, tx: &mut Tx<'_>, status: u16, fields: &[u8]) -> Result<(), Error> {
        if !matches!(status, 100 | 102..=199) {
            return Err(Error::misuse("an interim status is 100 or 102 to 199"));
        }
        if self.answer != Answer::Owed {
            return Err(NO_REQUEST);
        }
        if status == 100 {
            self.unset_expect();
            self.flags |= WANTED;
        }
        if !self.has(HTTP10) {
            put_interim(tx, status, fields);
        }
        Ok(())
    }

    /// Asks for the body: a peer that waits for it gets 100 Continue, and an answer may overlap
    /// the body without ending the connection. Does nothing when called again.
    pub fn want_body(&mut self, tx: &mut Tx<'_>) {
        if self.has(EXPECT) && self.answer == Answer::Owed {
            self.unset_expect();
            put_interim(tx, 100, &[]);
        }
        self.flags |= WANTED;
    }

    /// Sets how many bytes of the current body may still come, else 413.
    pub fn limit_body(&mut self, max: u64) {
        self.body.limit(max);
    }

    /// Grants the upgrade to WebSocket: writes 101 with Connection, Upgrade and `fields`, which is
    /// in wire form. From here on the input belongs to that protocol, also what is left in the
    /// `Rx`.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: the current request does not allow it
    /// ([`Request::upgrade`]) or has been answered.
    pub fn switch(&mut self, tx: &mut Tx<'_>, fields: &[u8]) -> Result<(), Error> {
        const OWN: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
            Connection: Upgrade\r\nUpgrade: websocket\r\n";
        if self.answer != Answer::Owed || !self.has(UPGRADE) {
            return Err(Error::misuse("this request cannot be upgraded"));
        }
        let out = tx.buf(OWN.len() + fields.len() + 2);
        out.extend_from_slice(OWN);
        out.extend_from_slice(fields);
        out.extend_from_slice(b"\r\n");
        self.answer = Answer::Sent;
        self.reading = Reading::Switched;
        Ok(())
    }

    /// Makes the current or the next answer the last one of this connection.
    pub fn go_away(&mut self) {
        self.flags |= CLOSE;
        if self.reading == Reading::Idle {
            self.reading = Reading::Stopped;
        }
    }

    /// Tells whether a request has not been answered to the end.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.answer, Answer::Owed | Answer::Sending)
    }

    /// Tells whether an answer's head is out and its body is not complete.
    pub fn sends_body(&self) -> bool {
        self.answer == Answer::Sending
    }

    /// Tells whether the body of the answer under way is dropped: HEAD, 204 and 304 have none.
    pub fn drops_body(&self) -> bool {
        self.answer == Answer::Sending && self.writer.is_swallow()
    }

    /// Tells whether a request's body is being read.
    pub fn reads_body(&self) -> bool {
        self.reading == Reading::Body
    }

    /// Tells whether nothing has been read of it: it may be of another protocol.
    #[cfg(all(feature = "h2", feature = "std"))]
    pub(crate) fn is_fresh(&self) -> bool {
        self.begun == 0 && self.reading == Reading::Idle
    }

    /// Tells whether nothing is going on: no byte of a next request has arrived.
    pub fn is_idle(&self) -> bool {
        self.reading == Reading::Idle
    }

    /// Tells whether all is answered and nothing more is read: send what is left, shut down,
    /// linger.
    pub fn must_close(&self) -> bool {
        self.reading == Reading::Stopped && !self.awaits_answer()
    }

    fn poll_body<'s, 'a: 's>(
        &mut self,
        now: Micros,
        limits: &H1Limits,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Event<'s>>, Fault> {
        if self.has(REARM) {
            self.arm(now, limits);
        }
        let piece = self.body.poll(rx, scratch, &mut self.progress, limits)?;
        Ok(piece.map(|piece| match piece {
            Piece::Data(data) => Event::Body(data),
            Piece::Trailers(fields) => Event::Trailers(fields),
            Piece::End => {
                self.reading = Reading::Done;
                self.settle();
                Event::End
            }
        }))
    }

    fn put_head<'t>(
        &mut self,
        tx: &'t mut Tx<'_>,
        head: &Response<'_>,
        more: usize,
    ) -> Result<&'t mut Vec<u8>, Error> {
        if self.answer != Answer::Owed {
            return Err(NO_REQUEST);
        }
        if !(200..=999).contains(&head.status) {
            return Err(Error::misuse("a final status is 200 to 999"));
        }
        if self.has(CONNECT) && head.status < 300 {
            return Err(Error::misuse("this is no proxy: CONNECT cannot succeed"));
        }
        let (writer, announce) = self.framing(head)?;
        let unread = self.reading == Reading::Body && !self.has(WANTED) && !self.body.is_complete();
        if head.close || unread || writer.is_until_close() || self.has(HTTP10) {
            self.flags |= CLOSE;
        }
        if unread {
            self.reading = Reading::Stopped;
        }
        self.writer = writer;
        self.answer = Answer::Sending;
        Ok(put_response(tx, head, announce, self.has(CLOSE), more))
    }

    /// Decides how the answer's body is written: RFC 9112, section 6.3.
    fn framing(&self, head: &Response<'_>) -> Result<(BodyWriter, Announce), Error> {
        if matches!(head.status, 204 | 304) {
            return Ok((BodyWriter::swallow(), Announce::Nothing));
        }
        let (writer, announce) = match head.length {
            Length::None if self.has(HEAD) => (BodyWriter::swallow(), Announce::Nothing),
            Length::None => (BodyWriter::known(0)?, Announce::Length(0)),
            Length::Known(n) => (BodyWriter::known(n)?, Announce::Length(n)),
            Length::Unknown if self.has(HTTP10) => (BodyWriter::until_close(), Announce::Nothing),
            Length::Unknown => (BodyWriter::chunked(), Announce::Chunked),
        };
        Ok((if self.has(HEAD) { BodyWriter::swallow() } else { writer }, announce))
    }

    fn has_no_body(&self, status: u16) -> bool {
        self.has(HEAD) || matches!(status, 204 | 304)
    }

    /// The answer is complete.
    fn answered(&mut self) {
        self.answer = Answer::Sent;
        self.settle();
    }

    /// Goes on to the next request if the current one is read and answered.
    fn settle(&mut self) {
        if self.answer != Answer::Sent || self.reading != Reading::Done {
            return;
        }
        self.answer = Answer::Free;
        self.reading = if self.has(CLOSE) { Reading::Stopped } else { Reading::Idle };
        self.flags |= REARM;
    }

    /// Reads nothing more.
    fn stop(&mut self) {
        self.flags |= CLOSE;
        self.reading = Reading::Stopped;
    }

    /// Tells the peer why the connection ends: what an error with [`Wire::H1`] calls for. Does
    /// nothing for any other, and nothing the second time.
    ///
    /// - `date`: the value of Date, made by [`http_date`](super::http_date); `None` for an origin
    ///   without a clock.
    pub fn goodbye(&mut self, tx: &mut Tx<'_>, why: Error, date: Option<&[u8; 29]>) {
        if let (Wire::H1(status), true) = (why.wire(), self.has(UNSAID)) {
            put_goodbye(tx, status, self.has(BARE), date);
            self.flags &= !UNSAID;
        }
    }

    /// Ends the connection. The peer is to be told why if that cannot be mistaken for a part of an
    /// answer.
    fn fail(&mut self, fault: Fault) -> Error {
        let can_tell = fault.status != 0 && matches!(self.answer, Answer::Free | Answer::Owed);
        let mut wire = Wire::None;
        if can_tell {
            let bare = self.answer == Answer::Owed && self.has(HEAD);
            self.flags |= if bare { UNSAID | BARE } else { UNSAID };
            wire = Wire::H1(fault.status);
        }
        self.stop();
        self.answer = Answer::Sent;
        Error::peer(wire, fault.rule)
    }

    /// The peer has been told to send the body: its clock begins.
    fn unset_expect(&mut self) {
        if self.has(EXPECT) {
            self.flags &= !EXPECT;
            self.flags |= REARM;
        }
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

const NO_REQUEST: Error = Error::misuse("no request waits for an answer");
