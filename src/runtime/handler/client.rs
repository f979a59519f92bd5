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
    /// From there to the connection, through the proxy where there is one; `None` too on one that
    /// was there already.
    pub connect: Option<Duration>,
    /// From the connection to the end of the TLS handshake.
    pub tls: Option<Duration>,
    /// From the last of these, or from the request where there was a connection, to the response's
    /// head.
    pub first_byte: Option<Duration>,
    /// Of everything.
    pub total: Duration,
}

impl Timing {
    /// Makes it of when the stages were reached. Who joined an attempt that was under way is told
    /// how long it waited in each.
    pub(crate) fn of(stages: &Stages, now: Micros) -> Self {
        let mut from = stages.began;
        let mut lap = |at: Option<Micros>| {
            let time = at.map(|at| at - from);
            from = from.max(at.unwrap_or(from));
            time
        };
        Self {
            name: lap(stages.named),
            connect: lap(stages.tunnelled.or(stages.connected)),
            tls: lap(stages.secured),
            first_byte: lap(stages.answered),
            total: now - stages.began,
        }
    }
}

impl core::fmt::Display for Timing {
    /// As in `name 12.0 ms, connect 0.3 ms, TLS 4.1 ms; 20.5 ms in all`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { name, connect, tls, first_byte, total } = *self;
        let laps = [("name", name), ("connect", connect), ("TLS", tls), ("first byte", first_byte)];
        let mut between = "";
        for (what, time) in laps {
            let Some(time) = time else { continue };
            write!(f, "{between}{what} {:.1} ms", millis(time))?;
            between = ", ";
        }
        let between = if between.is_empty() { "" } else { "; " };
        write!(f, "{between}{:.1} ms in all", millis(total))
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// When an attempt reached its stages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stages {
    pub(crate) began: Micros,
    pub(crate) named: Option<Micros>,
    pub(crate) connected: Option<Micros>,
    pub(crate) tunnelled: Option<Micros>,
    pub(crate) secured: Option<Micros>,
    /// The head of the response is in, or the WebSocket is open.
    pub(crate) answered: Option<Micros>,
    /// How long the server asks to wait before another attempt.
    #[cfg(feature = "ws")]
    pub(crate) asked: Option<Duration>,
    /// It goes through a proxy.
    pub(crate) proxied: bool,
}

impl Stages {
    pub(crate) fn begun(began: Micros) -> Self {
        Self { began, ..Self::default() }
    }

    /// Where an attempt ended that has come this far.
    fn ended(&self, why: Reason, flags: Flags) -> Stage {
        match why {
            Reason::Name(_) => Stage::Name,
            _ if flags.has(Flags::CONNECTING) => Stage::Connect,
            _ if !flags.has(Flags::SHAKING) => Stage::FirstByte,
            _ if self.proxied && self.tunnelled.is_none() => Stage::Proxy,
            _ => Stage::Tls,
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
    /// The proxy made no tunnel.
    Proxy,
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
            Stage::Proxy => "no way through the proxy",
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

    /// The trailer section arrived, behind the body: RFC 9110, section 6.5.
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

/// The owner of a stream: nobody waits behind it, and it is not used again.
#[cfg(all(feature = "h2", feature = "client"))]
pub(crate) struct Alone;

#[cfg(all(feature = "h2", feature = "client"))]
impl Owner for Alone {
    fn idle(&self, _h: &Handle, _id: ConnId) {}

    fn next(&self) -> Option<Waiter> {
        None
    }
}

/// Who waits for a response behind another.
pub(crate) struct Waiter {
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) began: Micros,
    /// Bytes sent on the connection before its request.
    pub(crate) base: u64,
}

/// Who waits for a connection whose protocol is agreed on once it is there.
pub(crate) trait Opener: 'static {
    /// It is there; by TLS `alpn` was agreed on. Gives it its protocol, and returns who hears it
    /// from now on.
    fn opened(
        self: Rc<Self>,
        h: &Handle,
        id: ConnId,
        alpn: Option<&[u8]>,
        stages: &Stages,
    ) -> super::App;

    /// The server has told what it knows: see [`Event::Settled`](crate::proto::h2::Event::Settled).
    #[cfg(feature = "h2")]
    fn settled(self: Rc<Self>, h: &Handle, id: ConnId);

    /// It has ended, after `opened` or without: exactly once, the last call.
    fn closed(&self, h: &Handle, id: ConnId, lost: &Lost);
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub(crate) stage: Stage,
    pub(crate) why: Reason,
    pub(crate) stages: Stages,
}

impl Lost {
    /// Of a connection that has ended before anybody was told of it.
    pub(crate) fn of(h: &Handle, id: ConnId, why: Reason) -> Self {
        let (flags, stages) = h.core().named(id).map_or_else(Default::default, |slot| {
            (slot.flags, slot.extra.as_ref().and_then(|extra| extra.stages).unwrap_or_default())
        });
        Self { stage: stages.ended(why, flags), why, stages }
    }

    /// Tells it to somebody of whom nothing was sent, who waited since `began`.
    #[cfg(feature = "client")]
    pub(crate) fn failure(&self, began: Micros, now: Micros) -> Failure {
        let timing = Timing::of(&Stages { began, ..self.stages }, now);
        let Self { stage, why, .. } = *self;
        Failure { stage, why, timing, never_sent: true, unanswered: true }
    }
}

/// The user's end of a client connection.
pub(crate) struct Asker {
    pub(crate) owner: Rc<dyn Owner>,
    /// Of the request under way.
    pub(crate) fetch: Option<Box<dyn Fetch>>,
    pub(crate) stages: Stages,
    /// Bytes sent on the connection before this request.
    pub(crate) base: u64,
}

impl Asker {
    pub(crate) fn new(owner: Rc<dyn Owner>, fetch: Box<dyn Fetch>, stages: Stages) -> Self {
        Self { owner, fetch: Some(fetch), stages, base: 0 }
    }

    /// The response is whole; the next one on the connection is for whoever waited behind.
    pub(crate) fn done(&mut self, h: &Handle) {
        let timing = Timing::of(&self.stages, h.now());
        let Some(mut fetch) = self.fetch.take() else { return };
        fetch.closed(h, Ok(timing));
        if let Some(next) = self.owner.next() {
            (self.fetch, self.base) = (Some(next.fetch), next.base);
            self.stages = Stages::begun(next.began);
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
        let stage = self.stages.ended(why, flags);
        let eof = flags.has(Flags(Flags::EOF.0 | Flags::CONNECTING.0));
        // What a handshake took was no part of a request.
        let sent = if stage == Stage::FirstByte { sent } else { 0 };
        if let Some(mut fetch) = self.fetch.take() {
            let timing = Timing::of(&self.stages, h.now());
            let never_sent = sent <= self.base;
            let answered = self.stages.answered.is_some();
            let unanswered = !answered && (eof || matches!(why, Reason::Io(_)));
            let stage = if answered { Stage::Body } else { stage };
            let failure = Failure { stage, why, timing, never_sent, unanswered };
            h.guarded(|h| {
                fetch.closed(h, Err(failure));
                drop(fetch);
            });
        }
        // That the connection ended in good order is an end all the same for those behind.
        let why = if why == Reason::Done { Reason::Eof } else { why };
        while let Some(Waiter { mut fetch, began, base }) = self.owner.next() {
            let timing = Timing::of(&Stages::begun(began), h.now());
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
