//! The client's end of a connection: RFC 9112, sections 6 to 9, one request at a time.
//!
//! In: requests to write, bytes of responses, the passing of time. Out: the events of the response,
//! a deadline, whether the connection can carry another request.
//!
//! ```text
//! Idle --request--> Waiting --head--> Reading --end--> Idle | Over
//!                      '----------- 101 -------------> Switched
//! ```

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
    /// When the current wait is over.
    at: Micros,
    interim: u32,
    state: State,
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
        Self { reader: None, writer: None, at, interim: 0, state: State::Idle }
    }

    /// Writes a request's head. Its body follows by [`body`](Self::body) and
    /// [`finish`](Self::finish), unless it has none.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: a request is under way, or the head is not one.
    pub fn request(
        &mut self,
        cx: &Cx<'_>,
        tx: &mut Tx<'_>,
        head: &RequestHead<'_>,
    ) -> Result<(), Error> {
        if self.state != State::Idle {
            return Err(Error::misuse("a request is under way on this connection"));
        }
        self.writer = Some(put_request(tx, head)?);
        self.reader = Some(ResponseReader::new(head.method));
        self.state = State::Waiting;
        self.interim = 0;
        self.at = cx.now + cx.limits.client.connect + cx.limits.client.first_byte;
        Ok(())
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
        self.at = cx.now + cx.limits.client.body;
        if reader.is_switched() {
            self.state = State::Switched;
        }
        if matches!(event, Some(ResponseEvent::End)) {
            let again = reader.is_reusable() && self.writer.is_none();
            self.state = if again { State::Idle } else { State::Over };
            self.at = cx.now + cx.limits.client.idle;
            self.reader = None;
        }
        Ok(event)
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

    /// The connection is there: the response's head is waited for until `first_byte`.
    pub fn connected(&mut self, first_byte: Micros) {
        if self.state == State::Waiting {
            self.at = first_byte;
        }
    }

    /// When the current wait is over.
    pub fn deadline(&self) -> Option<Micros> {
        matches!(self.state, State::Idle | State::Waiting | State::Reading).then_some(self.at)
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
