//! The client's end of a connection: RFC 9112, sections 6 to 9.
//!
//! In: requests to write, bytes of responses, the passing of time. Out: the events of the response,
//! a deadline, whether the connection can carry another request.
//!
//! ```text
//! Idle --request--> Waiting --head--> Reading --end--> Idle | Waiting (pipelined) | Over
//!                      '----------- 101 -------------> Switched
//! ```
//! The server is given time only while nothing is waited for here: `hold` stops the clock, and the
//! next look at the deadline with the request said in full starts it anew.

use alloc::collections::VecDeque;
use core::time::Duration;

use lodger_backend::Micros;

use super::client::{RequestHead, ResponseEvent, ResponseReader, put_request};
use super::write::BodyWriter;
use crate::error::{Error, Wire};
use crate::io::{Rx, Scratch, Tx};
use crate::limits::ClientLimits;
use crate::proto::Cx;

/// A client connection. Holds no buffer.
#[derive(Debug)]
pub struct Client {
    reader: Option<ResponseReader>,
    writer: Option<BodyWriter>,
    /// Of the requests that were written behind the one under way, in order.
    behind: VecDeque<ResponseReader>,
    /// When the current wait is over; zero while it has not begun.
    at: Micros,
    interim: u32,
    state: State,
    /// Between two pieces of the body, where it is not the limit's.
    body_time: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Waiting,
    Reading,
    Switched,
    /// Not to be used again.
    Over,
}

impl Client {
    /// Makes the state of a connection that may stay unused until `now` and the idle time.
    pub fn new(now: Micros, limits: &ClientLimits) -> Self {
        let at = now + limits.idle;
        let behind = VecDeque::new();
        Self {
            reader: None,
            writer: None,
            behind,
            at,
            interim: 0,
            state: State::Idle,
            body_time: None,
        }
    }

    /// Writes a request's head. Its body follows by [`body`](Self::body) and
    /// [`finish`](Self::finish), unless it has none. While another request is under way this one is
    /// pipelined behind it (RFC 9112, section 9.3.2); its method should be idempotent then.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: a request is being written, as many are under way as
    /// `limits.client.pipeline`, the connection ends after the response, or the head is not one.
    pub fn request(
        &mut self,
        cx: &Cx<'_>,
        tx: &mut Tx<'_>,
        head: &RequestHead<'_>,
    ) -> Result<(), Error> {
        let behind = self.takes_behind(cx.limits.client.pipeline);
        if self.state != State::Idle && !behind {
            return Err(Error::misuse("requests are under way on this connection"));
        }
        self.writer = Some(put_request(tx, head)?);
        let reader = ResponseReader::new(head.method);
        if behind {
            self.behind.push_back(reader);
        } else {
            self.await_head(reader);
        }
        Ok(())
    }

    /// Whether another request can be written behind those under way, if `most` may be.
    pub fn takes_behind(&self, most: usize) -> bool {
        let goes_on = self.reader.as_ref().is_some_and(ResponseReader::may_go_on);
        matches!(self.state, State::Waiting | State::Reading)
            && self.writer.is_none()
            && goes_on
            && self.behind.len() + 1 < most
    }

    fn await_head(&mut self, reader: ResponseReader) {
        self.reader = Some(reader);
        self.state = State::Waiting;
        self.interim = 0;
        self.body_time = None;
        self.hold();
    }

    /// Sets the time between two pieces of the body of the response under way, in place of the
    /// limit.
    pub fn body_time(&mut self, time: Duration) {
        self.body_time = Some(time);
    }

    /// Writes a piece of the request's body.
    ///
    /// # Errors
    ///
    /// `Caller`: no request is being written, or the body is longer than declared.
    pub fn body(&mut self, tx: &mut Tx<'_>, data: &[u8]) -> Result<(), Error> {
        match &mut self.writer {
            Some(writer) => writer.body(tx, data),
            None => Err(Error::misuse("no request body is being written")),
        }
    }

    /// Ends the request.
    ///
    /// # Errors
    ///
    /// `Caller`: no request is being written, or its body is shorter than declared; the
    /// connection is not used again then.
    pub fn finish(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        let Some(mut writer) = self.writer.take() else {
            return Err(Error::misuse("no request body is being written"));
        };
        let done = writer.finish(tx);
        self.hold();
        if done.is_err() {
            self.state = State::Over;
        }
        done
    }

    /// Gives the next event of the response; `None` when more input is needed.
    ///
    /// # Errors
    ///
    /// `Peer`: the response is malformed, over a limit or ends early, or bytes came that nobody
    /// asked for. The connection is over.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<ResponseEvent<'s>>, Error> {
        let Some(reader) = &mut self.reader else { return self.unasked(rx) };
        let event = match reader.poll(cx.limits, rx, scratch) {
            Ok(event) => event,
            Err(e) => {
                self.state = State::Over;
                return Err(e);
            }
        };
        match &event {
            None => return Ok(None),
            Some(ResponseEvent::Head(head)) if head.status < 200 && head.status != 101 => {
                self.interim += 1;
                if self.interim > cx.limits.client.interim {
                    self.state = State::Over;
                    return Err(Error::peer(Wire::None, "the limit of interim responses"));
                }
            }
            Some(ResponseEvent::Head(_)) => self.state = State::Reading,
            Some(_) => {}
        }
        self.at = cx.now + self.body_time.unwrap_or(cx.limits.client.body);
        if reader.is_switched() {
            self.state = State::Switched;
        }
        if matches!(event, Some(ResponseEvent::End)) {
            self.end_response(cx);
        }
        Ok(event)
    }

    /// Goes on to the response of the next request, if there is one and the connection stays.
    fn end_response(&mut self, cx: &Cx<'_>) {
        let reusable = self.reader.take().is_some_and(|reader| reader.is_reusable());
        if let (true, Some(next)) = (reusable, self.behind.pop_front()) {
            return self.await_head(next);
        }
        self.state = if reusable && self.writer.is_none() { State::Idle } else { State::Over };
        self.at = cx.now + cx.limits.client.idle;
    }

    fn unasked<'s>(&mut self, rx: &Rx<'_>) -> Result<Option<ResponseEvent<'s>>, Error> {
        if rx.is_empty() && !rx.eof() {
            return Ok(None);
        }
        self.state = State::Over;
        if rx.is_empty() {
            return Ok(None);
        }
        Err(Error::peer(Wire::None, "RFC 9112, 9.2: a response that nobody asked for"))
    }

    /// Stops the clock of a response: what is waited for is here, as output that has not gone out
    /// or input that is not read.
    pub fn hold(&mut self) {
        if matches!(self.state, State::Waiting | State::Reading) {
            self.at = Micros::ZERO;
        }
    }

    /// Starts the clock of a response if it stands still and the request has been written.
    pub fn begin_wait(&mut self, now: Micros, limits: &ClientLimits) {
        let time = match self.state {
            State::Waiting => limits.first_byte,
            _ => self.body_time.unwrap_or(limits.body),
        };
        if self.at == Micros::ZERO && self.writer.is_none() {
            self.at = now + time;
        }
    }

    /// When the current wait is over. While a request is being written nothing is waited for.
    pub fn deadline(&self) -> Option<Micros> {
        let runs = match self.state {
            State::Idle => true,
            State::Waiting | State::Reading => self.at != Micros::ZERO && self.writer.is_none(),
            State::Switched | State::Over => false,
        };
        runs.then_some(self.at)
    }

    /// Moves time to `now`. Early calls do nothing.
    ///
    /// # Errors
    ///
    /// `Peer`: the response did not come in time, or nothing was asked for too long.
    pub fn on_deadline(&mut self, now: Micros) -> Result<(), Error> {
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        let rule = match self.state {
            State::Waiting => "the limit of the time to the first byte",
            State::Reading => "the limit of the time between pieces of a body",
            State::Idle | State::Switched | State::Over => "the limit of idle time",
        };
        self.state = State::Over;
        Err(Error::peer(Wire::None, rule))
    }

    /// Whether it can carry a request now.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether nothing but the end of the stream tells that the response is whole.
    pub fn ends_by_eof(&self) -> bool {
        self.reader.as_ref().is_some_and(ResponseReader::ends_by_eof)
    }

    /// Whether it cannot carry another request any more.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }
}
