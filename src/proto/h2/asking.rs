//! One request and its answer, on a stream: the client's side in the terms of HTTP/1.
//!
//! In: heads, data and the end of the stream. Out: the events of the response, a deadline.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use lodger_backend::Micros;

use super::exchange::Kept;
use crate::error::{Error, Wire};
use crate::io::{Rx, Scratch};
use crate::proto::Cx;
use crate::proto::h1::{Fields, Length, ResponseEvent, ResponseHead};

/// The client's side of one stream.
#[derive(Debug)]
pub struct Asking {
    /// Heads that came while nobody could hear them.
    heads: VecDeque<(u16, Box<Kept>)>,
    trailers: Option<Box<Kept>>,
    /// When the current wait is over.
    at: Micros,
    /// What of the request's body is to come; `None` once it is complete.
    left: Option<u64>,
    interim: u32,
    answered: bool,
    over: bool,
}

const UNKNOWN: u64 = u64::MAX;

impl Asking {
    /// Makes the state of a request that is sent at `now`, with a body of this length.
    pub fn new(length: Length, first_byte: Micros) -> Self {
        let left = match length {
            Length::None => None,
            Length::Known(n) => Some(n),
            Length::Unknown => Some(UNKNOWN),
        };
        Self {
            heads: VecDeque::new(),
            trailers: None,
            at: first_byte,
            left,
            interim: 0,
            answered: false,
            over: false,
        }
    }

    /// Keeps a head until it can be told; of interim ones no more than `most`, and the next
    /// [`poll`](Self::poll) fails then.
    pub fn push_head(&mut self, head: &ResponseHead<'_>, most: u32) {
        if head.status < 200 {
            self.interim = self.interim.saturating_add(1);
            if self.interim > most {
                return;
            }
        }
        self.heads.push_back((head.status, Kept::of(head.fields)));
    }

    /// Keeps the trailers until the data before them has been read.
    pub fn set_trailers(&mut self, fields: Fields<'_>) {
        if !fields.is_empty() {
            self.trailers = Some(Kept::of(fields));
        }
    }

    /// Gives the next event of the response; `None` when more input is needed.
    ///
    /// # Errors
    ///
    /// `Peer`: more interim responses than the limit.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        cx: &Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<ResponseEvent<'s>>, Error> {
        if self.over {
            rx.take(rx.len());
            return Ok(None);
        }
        if self.interim > cx.limits.client.interim {
            return Err(Error::peer(Wire::None, "the limit of interim responses"));
        }
        if let Some((status, kept)) = self.heads.pop_front() {
            self.answered |= status >= 200;
            self.at = cx.now + cx.limits.client.body;
            let fields = kept.lend(scratch);
            return Ok(Some(ResponseEvent::Head(ResponseHead::over_h2(status, fields))));
        }
        if !rx.is_empty() {
            self.at = cx.now + cx.limits.client.body;
            return Ok(Some(ResponseEvent::Body(rx.take(usize::MAX))));
        }
        if !rx.eof() || !self.answered {
            return Ok(None);
        }
        if let Some(kept) = self.trailers.take() {
            return Ok(Some(ResponseEvent::Trailers(kept.lend(scratch))));
        }
        self.over = true;
        Ok(Some(ResponseEvent::End))
    }

    /// Counts a part of the request's body.
    ///
    /// # Errors
    ///
    /// `Caller`: the request has none, has ended, or announced less.
    pub fn count(&mut self, n: u64) -> Result<(), Error> {
        let Some(left) = self.left else {
            return Err(Error::misuse("no request body is being written"));
        };
        if left != UNKNOWN {
            let left = left.checked_sub(n);
            self.left = Some(left.ok_or(Error::misuse("a body longer than announced"))?);
        }
        Ok(())
    }

    /// Ends the request.
    ///
    /// # Errors
    ///
    /// `Caller`: it has ended; or the body is shorter than announced, and the stream is over.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.left.take() {
            None => Err(Error::misuse("no request body is being written")),
            Some(0 | UNKNOWN) => Ok(()),
            Some(_) => {
                self.over = true;
                Err(Error::misuse("a body shorter than announced"))
            }
        }
    }

    /// Whether the request is complete.
    pub fn is_sent(&self) -> bool {
        self.left.is_none()
    }

    /// Whether the response is complete.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether a head waits to be told.
    pub fn has_news(&self) -> bool {
        !self.heads.is_empty()
    }

    /// When the current wait is over.
    pub fn deadline(&self) -> Option<Micros> {
        (!self.over).then_some(self.at)
    }

    /// Moves time to `now`. Early calls do nothing.
    ///
    /// # Errors
    ///
    /// `Peer`: the response did not come in time.
    pub fn on_deadline(&mut self, now: Micros) -> Result<(), Error> {
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        self.over = true;
        Err(Error::peer(
            Wire::None,
            if self.answered {
                "the limit of the time between pieces of a body"
            } else {
                "the limit of the time to the first byte"
            },
        ))
    }
}
