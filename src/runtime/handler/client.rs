//! HTTP on the client's side: what hears a response, and how an attempt went.

use std::boxed::Box;
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::Micros;

use super::common_cx;
use crate::Error;
use crate::proto::h1::{Fields, ResponseHead};
use crate::proto::stack::Stack;
use crate::runtime::Handle;
use crate::runtime::id::{ConnId, Reason, SendError};
use crate::runtime::slot::Flags;

/// How long the stages of an attempt took, each from its start; `None` if it was not reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Timing {
    /// To the first address; `None` too where none had to be looked up.
    pub name: Option<Duration>,
    /// From there to the connection; `None` too on one that was there already.
    pub connect: Option<Duration>,
    /// From the connection to the end of the TLS handshake.
    pub tls: Option<Duration>,
    /// From the connection, or the end of the handshake, or from the request where there was one, to the response's head.
    pub first_byte: Option<Duration>,
    /// Of everything.
    pub total: Duration,
}

impl Timing {
    pub(crate) fn of(
        began: Micros,
        named: Option<Micros>,
        connected: Option<Micros>,
        secured: Option<Micros>,
        head: Option<Micros>,
        now: Micros,
    ) -> Self {
        let asked = secured.or(connected).unwrap_or(began);
        Self {
            name: named.map(|at| at - began),
            connect: connected.map(|at| at - named.unwrap_or(began)),
            tls: secured.zip(connected).map(|(at, from)| at - from),
            first_byte: head.map(|at| at - asked),
            total: now - began,
        }
    }
}

/// Where an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// The name has no address.
    Name,
    /// No connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// No head of a response.
    FirstByte,
    /// The body did not end.
    Body,
}

/// Why there is no whole response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Where it ended.
    pub stage: Stage,
    /// How.
    pub why: Reason,
    /// How long it took.
    pub timing: Timing,
    /// Nothing of the request was sent: trying again does nothing twice.
    pub never_sent: bool,
    /// The connection ended without a word about this request: what is idempotent may be tried
    /// again.
    pub unanswered: bool,
}

impl Failure {
    /// A failure before anything was opened.
    #[cfg(feature = "client")]
    pub(crate) fn before(stage: Stage, why: Reason) -> Self {
        Self { stage, why, timing: Timing::default(), never_sent: true, unanswered: true }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let stage = match self.stage {
            Stage::Name => "the name has no address",
            Stage::Connect => "no connection",
            Stage::Tls => "no TLS",
            Stage::FirstByte => "no response",
            Stage::Body => "the response did not end",
        };
        write!(f, "{stage}: {}", self.why)
    }
}

impl core::error::Error for Failure {}

/// What hears the response to one request. Every method runs in a turn, with nothing of the runtime
/// borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait Fetch: 'static {
    /// The head of the response is in. Interim ones (1xx) are told as well.
    fn head(&mut self, cx: &mut Cx<'_>, head: &ResponseHead<'_>);

    /// A piece of the body arrived, cut anywhere.
    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {}

    /// The trailer section of a chunked body arrived.
    fn trailers(&mut self, cx: &mut Cx<'_>, fields: Fields<'_>) {}

    /// There is room for `room` bytes of the request's body, as `want_write` asked.
    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {}

    /// A timer of [`Cx::timer`] is due.
    fn timer(&mut self, cx: &mut Cx<'_>, tag: u64) {}

    /// It is over: exactly once, the last call. `Ok` if the response is whole.
    fn closed(&mut self, h: &Handle, outcome: Result<Timing, Failure>);
}

/// Keeps connections that can carry another request.
pub(crate) trait Owner: 'static {
    /// A response is whole, and its connection can be used again.
    fn idle(&self, h: &Handle, id: ConnId);

    /// Gives who waits for the next response on the connection.
    fn next(&self) -> Option<Waiter>;
}

/// Who waits for a response behind another.
pub(crate) struct Waiter {
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) began: Micros,
    /// Bytes sent on the connection before its request.
    pub(crate) base: u64,
}

/// The user's end of a client connection.
pub(crate) struct Asker {
    pub(crate) owner: Rc<dyn Owner>,
    /// Of the request under way.
    pub(crate) fetch: Option<Box<dyn Fetch>>,
    pub(crate) began: Micros,
    pub(crate) named: Option<Micros>,
    pub(crate) connected: Option<Micros>,
    pub(crate) secured: Option<Micros>,
    pub(crate) head: Option<Micros>,
    /// Bytes sent on the connection before this request.
    pub(crate) base: u64,
}

impl Asker {
    pub(crate) fn new(owner: Rc<dyn Owner>, fetch: Box<dyn Fetch>, began: Micros) -> Self {
        Self {
            owner,
            fetch: Some(fetch),
            began,
            named: None,
            connected: None,
            secured: None,
            head: None,
            base: 0,
        }
    }

    fn timing(&self, now: Micros) -> Timing {
        Timing::of(self.began, self.named, self.connected, self.secured, self.head, now)
    }

    /// The response is whole; the next one on the connection is for whoever waited behind.
    pub(crate) fn done(&mut self, h: &Handle) {
        let timing = self.timing(h.now());
        let Some(mut fetch) = self.fetch.take() else { return };
        fetch.closed(h, Ok(timing));
        if let Some(next) = self.owner.next() {
            (self.fetch, self.began, self.base) = (Some(next.fetch), next.began, next.base);
            (self.named, self.connected, self.secured, self.head) = (None, None, None, None);
        }
    }

    /// Tells from a turn that nothing could be opened.
    #[cfg(feature = "client")]
    pub(crate) fn refuse(&mut self, h: &Handle, stage: Stage, why: Reason) {
        let Some(mut fetch) = self.fetch.take() else { return };
        let failure = Failure::before(stage, why);
        h.after(Duration::ZERO, move |h| fetch.closed(h, Err(failure)));
    }

    /// The connection has ended before the response was whole.
    pub(crate) fn lost(&mut self, h: &Handle, id: ConnId, why: Reason) {
        let (sent, flags) =
            h.core().named(id).map_or((0, Flags::CONNECTING), |slot| (slot.sent, slot.flags));
        let stage = match why {
            Reason::Name(_) => Stage::Name,
            _ if flags.has(Flags::CONNECTING) => Stage::Connect,
            _ if flags.has(Flags::SHAKING) => Stage::Tls,
            _ => Stage::FirstByte,
        };
        let eof = flags.has(Flags(Flags::EOF.0 | Flags::CONNECTING.0));
        // What a handshake took was no part of a request.
        let sent = if stage == Stage::FirstByte { sent } else { 0 };
        if let Some(mut fetch) = self.fetch.take() {
            let timing = self.timing(h.now());
            let never_sent = sent <= self.base;
            let unanswered = self.head.is_none() && (eof || matches!(why, Reason::Io(_)));
            let stage = if self.head.is_some() { Stage::Body } else { stage };
            let failure = Failure { stage, why, timing, never_sent, unanswered };
            h.guarded(|h| {
                fetch.closed(h, Err(failure));
                drop(fetch);
            });
        }
        // That the connection ended in good order is an end all the same for those behind.
        let why = if why == Reason::Done { Reason::Eof } else { why };
        while let Some(Waiter { mut fetch, began, base }) = self.owner.next() {
            let timing = Timing::of(began, None, None, None, None, h.now());
            let never_sent = sent <= base;
            let failure = Failure { stage, why, timing, never_sent, unanswered: true };
            h.guarded(|h| {
                fetch.closed(h, Err(failure));
                drop(fetch);
            });
        }
    }
}

/// What a [`Fetch`] acts through. It cannot outlive the call.
#[derive(Debug)]
pub struct Cx<'t> {
    h: &'t Handle,
    id: ConnId,
}

impl<'t> Cx<'t> {
    pub(crate) fn new(h: &'t Handle, id: ConnId) -> Self {
        Self { h, id }
    }

    fn conn(&self) -> ConnId {
        self.id
    }

    /// Sends a piece of the request's body, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` beyond the declared length, or after the end.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SendError> {
        self.h.send_with(self.id, is_client, chunk.len(), |stack, _, tx| match stack {
            Stack::Client(client) => client.body(tx, chunk),
            #[cfg(feature = "h2")]
            Stack::Asking(asking) => {
                asking.count(chunk.len() as u64)?;
                tx.put(chunk);
                Ok(())
            }
            _ => Err(NOT_CLIENT),
        })
    }

    /// Completes the request.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` if the body is shorter than declared.
    pub fn finish(&mut self) -> Result<(), SendError> {
        self.h.send_with(self.id, is_client, 0, |stack, _, tx| match stack {
            Stack::Client(client) => client.finish(tx),
            #[cfg(feature = "h2")]
            Stack::Asking(asking) => asking.finish(),
            _ => Err(NOT_CLIENT),
        })
    }
}
common_cx!(Cx);

const NOT_CLIENT: Error = Error::misuse("the connection is not an HTTP client's");

fn is_client(stack: &Stack) -> bool {
    #[cfg(feature = "h2")]
    if matches!(stack, Stack::Asking(_)) {
        return true;
    }
    matches!(stack, Stack::Client(_))
}
