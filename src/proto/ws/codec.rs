//! A WebSocket connection after its handshake: RFC 6455, sections 5 to 7.
//!
//! In: bytes, messages to send, the passing of time. Out: events, frames, a deadline.
//!
//! ```text
//! Quiet --ping_after--> Asked --pong_within--> Done (lost)
//!   |  ^----any input----'|
//!   '----our Close--------+--> Closing --the peer's Close, or close_within--> Done
//! ```
//! The peer's Close and every broken rule lead from each state to `Done`, with our Close in the
//! output if it had not been sent. In `Done` input is taken and ignored.
//!
//! Invariant: nothing is reserved from a declared length; every limit is checked with the header.
//! Invariant: our Close is the last frame that we send.
//! Invariant: frames do not depend on how the input was cut; only where a message's parts end does.

use alloc::boxed::Box;
use alloc::rc::Rc;

use lodger_backend::Micros;

use super::frame::{self, CONTROL_MAX, FIN, Head, Op};
use super::utf8::Utf8;
use super::{Config, Event, Kind, Message, Role, close, mask};
use crate::io::{Rx, Tx};
use crate::proto::Cx;
use crate::{Error, TokenBucket, Wire};

/// A connection: 56 bytes, and none on the heap as long as the peer behaves.
#[derive(Debug)]
pub struct Ws {
    config: Rc<Config>,
    /// Payload of the current data frame that has not been taken.
    left: u64,
    /// Payload of the current message so far, the current frame included.
    message: u64,
    /// When the current `clock` state began; in `Quiet` the time of the last input.
    since: Micros,
    rare: Option<Box<Rare>>,
    /// The key for the next byte of the current frame.
    key: [u8; 4],
    /// Frames of the current message so far.
    fragments: u32,
    role: Role,
    clock: Clock,
    /// The message that is being received.
    incoming: Option<Kind>,
    /// The message that is being sent in chunks.
    outgoing: Option<Kind>,
    text_in: Utf8,
    text_out: Utf8,
    flags: Flags,
}

/// What `since` counts from, and to what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clock {
    /// The peer was heard; to the next ping.
    Quiet,
    /// It was pinged; to giving it up.
    Asked,
    /// Our Close was sent; to giving up on the peer's.
    Closing,
    /// Nothing is waited for any more.
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Flags(u8);

impl Flags {
    /// The current frame ends its message.
    const FIN: u8 = 1;
    /// No part of the current message was handed on yet.
    const FIRST: u8 = 2;
    const CLOSE_SENT: u8 = 4;
    const CLOSE_RECEIVED: u8 = 8;
    /// Output of earlier turns waits: the peer does not read as fast as it asks.
    const BLOCKED: u8 = 16;

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn set(&mut self, bit: u8, on: bool) {
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}

/// What only peers that behave oddly need.
#[derive(Debug)]
struct Rare {
    glitches: TokenBucket,
    /// The Ping that is answered when the output has drained.
    owed: Option<Owed>,
}

#[derive(Debug)]
struct Owed {
    payload: [u8; CONTROL_MAX],
    len: usize,
}

type Polled<'a> = Result<Option<Event<'a>>, Error>;

impl Ws {
    /// Makes an open connection, just after the handshake.
    pub fn new(role: Role, config: Rc<Config>, now: Micros) -> Self {
        Self {
            config,
            left: 0,
            message: 0,
            since: now,
            rare: None,
            key: [0; 4],
            fragments: 0,
            role,
            clock: Clock::Quiet,
            incoming: None,
            outgoing: None,
            text_in: Utf8::default(),
            text_out: Utf8::default(),
            flags: Flags(0),
        }
    }

    /// Takes one event's bytes from `rx`; `None` if it needs more. At most 131 bytes then stay in
    /// `rx`: a header, or a control frame, that is not whole.
    ///
    /// Pings and the peer's Close are answered in `tx`. While output of earlier turns waits there
    /// (more than `limits.io.queue_low` at the first call of a turn), only the latest Ping is
    /// answered, by [`flush`](Self::flush), as RFC 6455, section 5.5.3 allows. After our own
    /// Close, Pings are not answered and data is dropped; after the peer's, everything is.
    ///
    /// # Errors
    ///
    /// [`Blame::Peer`](crate::Blame::Peer) with the code of the Close frame that is in `tx`:
    /// 1002, 1007, 1008 or 1009. With 1006 if the input ends without the peer's Close; `tx` has
    /// nothing then.
    pub fn poll<'a>(&mut self, cx: &mut Cx<'_>, rx: &mut Rx<'a>, tx: &mut Tx<'_>) -> Polled<'a> {
        if self.clock == Clock::Done {
            rx.take(rx.len());
            return Ok(None);
        }
        if rx.consumed() == 0 {
            self.flags.set(Flags::BLOCKED, tx.queued() > cx.limits.io.queue_low);
        }
        if !rx.is_empty() {
            self.heard(cx.now);
        }
        loop {
            let event = if self.left > 0 && !rx.is_empty() {
                self.payload(cx, rx, tx)?
            } else {
                let head = match frame::parse(rx.peek(), self.role) {
                    Ok(Some(head)) => head,
                    Ok(None) => return self.starved(rx),
                    Err(rule) => return Err(self.fail(cx, tx, close::PROTOCOL_ERROR, rule)),
                };
                if !head.op.is_control() {
                    self.data(cx, &head, rx, tx)?
                } else if head.is_whole_in(rx.len()) {
                    self.control(cx, &head, rx, tx)?
                } else {
                    return self.starved(rx);
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Sends a whole message in one frame.
    ///
    /// # Errors
    ///
    /// Misuse after a Close frame, and in the middle of a message sent in chunks.
    #[inline]
    pub fn send(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        msg: Message<'_>,
    ) -> Result<(), Error> {
        self.may_send()?;
        if self.outgoing.is_some() {
            return Err(Error::misuse("a message is being sent in chunks"));
        }
        self.put(cx, tx, FIN | op_of(msg.kind()) as u8, msg.bytes());
        Ok(())
    }

    /// Sends a part of a message, as a frame of its own. Pings may be sent in between, other
    /// messages not. The parts of a text may cut a code point.
    ///
    /// # Errors
    ///
    /// Misuse after a Close frame, if `first` or `kind` does not fit the parts before, and for
    /// text that is not UTF-8. Nothing is sent then.
    pub fn send_chunk(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        kind: Kind,
        data: &[u8],
        first: bool,
        last: bool,
    ) -> Result<(), Error> {
        self.may_send()?;
        if self.outgoing != (!first).then_some(kind) {
            return Err(Error::misuse("chunks of one message are sent from first to last"));
        }
        let mut text = if first { Utf8::default() } else { self.text_out };
        if kind == Kind::Text && !(text.feed(data) && (text.is_complete() || !last)) {
            return Err(Error::misuse("a text message is UTF-8"));
        }
        self.text_out = text;
        self.outgoing = (!last).then_some(kind);
        let op = if first { op_of(kind) } else { Op::Continuation };
        self.put(cx, tx, op as u8 | if last { FIN } else { 0 }, data);
        Ok(())
    }

    /// Sends a Ping; its answer is an [`Event::Pong`] with the same payload.
    ///
    /// # Errors
    ///
    /// Misuse after a Close frame, and for more than 125 bytes.
    pub fn ping(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Error> {
        self.may_send()?;
        if payload.len() > CONTROL_MAX {
            return Err(Error::misuse("a ping has at most 125 bytes"));
        }
        self.put(cx, tx, FIN | Op::Ping as u8, payload);
        Ok(())
    }

    /// Sends a Close frame and waits for the peer's. A second call does nothing.
    ///
    /// # Errors
    ///
    /// Misuse for a code that no Close frame may carry (see [`close::is_valid`]) and for a reason
    /// of more than 123 bytes.
    pub fn close(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        code: u16,
        reason: &str,
    ) -> Result<(), Error> {
        if !close::is_valid(code) {
            return Err(Error::misuse("not a code that a Close frame may carry"));
        }
        if reason.len() > close::REASON_MAX {
            return Err(Error::misuse("a close reason has at most 123 bytes"));
        }
        if self.clock != Clock::Done && !self.close_sent() {
            self.put_close(cx, tx, Some(code), reason);
            self.clock = Clock::Closing;
            self.since = cx.now;
        }
        Ok(())
    }

    /// Answers the Ping that waited for the output to drain. To be called when it has.
    pub fn flush(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) {
        self.flags.set(Flags::BLOCKED, false);
        let owed = self.rare.as_mut().and_then(|rare| rare.owed.take());
        if let (Some(owed), Ok(())) = (owed, self.may_send()) {
            let payload = owed.payload.get(..owed.len).unwrap_or(&[]);
            self.put(cx, tx, FIN | Op::Pong as u8, payload);
        }
    }

    /// Does what is due: pings a silent peer. Early calls do nothing.
    ///
    /// # Errors
    ///
    /// [`Blame::Peer`](crate::Blame::Peer) with 1006, and nothing in `tx`, if the peer is lost:
    /// it did not answer our Ping, or our Close, in time.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.deadline().is_none_or(|due| cx.now < due) {
            return Ok(());
        }
        match self.clock {
            Clock::Quiet => {
                let payload = (cx.random)().to_ne_bytes();
                self.put(cx, tx, FIN | Op::Ping as u8, &payload);
                self.clock = Clock::Asked;
                self.since = cx.now;
                Ok(())
            }
            Clock::Asked => Err(self.lost("RFC 6455, 5.5.2: a Ping is answered in time")),
            Clock::Closing => Err(self.lost("RFC 6455, 5.5.1: a Close is answered in time")),
            Clock::Done => Ok(()),
        }
    }

    /// Gives when [`on_deadline`](Self::on_deadline) is next due.
    pub fn deadline(&self) -> Option<Micros> {
        match self.clock {
            Clock::Quiet => self.config.ping_time().map(|silence| self.since + silence),
            Clock::Asked => Some(self.since + self.config.pong_time()),
            Clock::Closing => Some(self.since + self.config.close_time()),
            Clock::Done => None,
        }
    }

    /// Tells whether our Close is out: nothing more can be sent.
    pub fn close_sent(&self) -> bool {
        self.flags.has(Flags::CLOSE_SENT)
    }

    /// Tells whether both Close frames were exchanged. The server then flushes and closes the
    /// transport first, and the client waits for that (RFC 6455, section 7.1.1).
    pub fn is_closed(&self) -> bool {
        self.flags.has(Flags::CLOSE_RECEIVED) && self.close_sent()
    }

    /// Tells whether a message has begun to arrive and has not ended.
    pub fn in_message(&self) -> bool {
        self.incoming.is_some()
    }

    /// Gives what the connection was made with.
    pub fn config(&self) -> &Rc<Config> {
        &self.config
    }

    fn heard(&mut self, now: Micros) {
        match self.clock {
            Clock::Quiet | Clock::Asked => {
                self.clock = Clock::Quiet;
                self.since = now;
            }
            Clock::Closing | Clock::Done => {}
        }
    }

    /// Ends a poll that needs more bytes, of which none may come.
    fn starved<'a>(&mut self, rx: &Rx<'a>) -> Polled<'a> {
        if rx.eof() {
            return Err(self.lost("RFC 6455, 7.1.1: the connection ends with a Close frame"));
        }
        Ok(None)
    }

    /// Handles the header of a data frame, and its payload if all of it is there.
    fn data<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: &Head,
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        let kind = self.begin_frame(head).map_err(|(code, rule)| self.fail(cx, tx, code, rule))?;
        rx.take(head.size);
        let whole = head.fin && self.fragments == 1 && head.len <= rx.len() as u64;
        if whole && !self.close_sent() {
            return self.whole(cx, kind, rx, tx);
        }
        if head.len == 0 && !head.fin {
            self.spend_glitch(cx, tx)?;
        }
        if head.len == 0 { self.payload(cx, rx, tx) } else { Ok(None) }
    }

    /// Checks a data frame against the message it belongs to, and makes it the current one.
    #[inline]
    fn begin_frame(&mut self, head: &Head) -> Result<Kind, (u16, &'static str)> {
        let kind = match (head.op, self.incoming) {
            (Op::Continuation, Some(kind)) => kind,
            (Op::Continuation, None) => {
                return Err((close::PROTOCOL_ERROR, "RFC 6455, 5.4: nothing to continue"));
            }
            (_, Some(_)) => {
                return Err((close::PROTOCOL_ERROR, "RFC 6455, 5.4: a message inside another"));
            }
            (op, None) => self.begin_message(op),
        };
        self.message = self.message.saturating_add(head.len);
        if head.len > self.config.max_frame() || self.message > self.config.max_message() {
            return Err((close::TOO_BIG, "RFC 6455, 7.4.1: larger than is taken here"));
        }
        self.fragments = self.fragments.saturating_add(1);
        if self.fragments > self.config.max_fragments() {
            return Err((close::POLICY, "RFC 6455, 7.4.1: more fragments than are taken here"));
        }
        self.left = head.len;
        self.key = head.mask;
        self.flags.set(Flags::FIN, head.fin);
        Ok(kind)
    }

    #[inline]
    fn begin_message(&mut self, op: Op) -> Kind {
        let kind = if op == Op::Text { Kind::Text } else { Kind::Binary };
        self.incoming = Some(kind);
        self.message = 0;
        self.fragments = 0;
        self.text_in = Utf8::default();
        self.flags.set(Flags::FIRST, true);
        kind
    }

    /// Takes a message that is one frame and all there.
    #[inline]
    fn whole<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        kind: Kind,
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        let data = rx.take(self.take_len(rx));
        self.left = 0;
        self.incoming = None;
        self.unmask(data);
        if kind == Kind::Binary {
            return Ok(Some(Event::Binary(data)));
        }
        match core::str::from_utf8(data) {
            Ok(text) => Ok(Some(Event::Text(text))),
            Err(_) => Err(self.not_utf8(cx, tx)),
        }
    }

    /// Takes what is there of the current frame's payload.
    fn payload<'a>(&mut self, cx: &mut Cx<'_>, rx: &mut Rx<'a>, tx: &mut Tx<'_>) -> Polled<'a> {
        let Some(kind) = self.incoming else { return Ok(None) };
        let data = rx.take(self.take_len(rx));
        self.left -= data.len() as u64;
        let last = self.left == 0 && self.flags.has(Flags::FIN);
        if last {
            self.incoming = None;
        }
        if self.close_sent() {
            return Ok(None);
        }
        self.unmask(data);
        if kind == Kind::Text && !(self.text_in.feed(data) && (self.text_in.is_complete() || !last))
        {
            return Err(self.not_utf8(cx, tx));
        }
        if data.is_empty() && !last {
            return Ok(None);
        }
        let first = self.flags.has(Flags::FIRST);
        self.flags.set(Flags::FIRST, false);
        Ok(Some(Event::Data { kind, first, last, data }))
    }

    /// Gives how much of the current frame's payload is there.
    fn take_len(&self, rx: &Rx<'_>) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(rx.len())
    }

    #[inline]
    fn unmask(&mut self, data: &mut [u8]) {
        if self.role == Role::Server {
            self.key = mask::apply(data, self.key);
        }
    }

    /// Handles a control frame, all of which is there.
    fn control<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: &Head,
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        rx.take(head.size);
        let payload = rx.take(usize::try_from(head.len).unwrap_or(CONTROL_MAX));
        if self.role == Role::Server {
            mask::apply(payload, head.mask);
        }
        if head.op == Op::Close {
            return self.peer_closes(cx, payload, rx, tx);
        }
        if self.close_sent() {
            return Ok(None);
        }
        if head.op == Op::Pong {
            return Ok(Some(Event::Pong(payload)));
        }
        self.pong(cx, payload, tx)?;
        Ok(Some(Event::Ping(payload)))
    }

    fn peer_closes<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        payload: &'a mut [u8],
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        let (code, reason) = match close::parse(payload) {
            Ok(said) => said,
            Err((code, rule)) => return Err(self.fail(cx, tx, code, rule)),
        };
        if !self.close_sent() {
            self.put_close(cx, tx, code, "");
        }
        self.flags.set(Flags::CLOSE_RECEIVED, true);
        self.clock = Clock::Done;
        rx.take(rx.len());
        Ok(Some(Event::Close { code, reason }))
    }

    /// Answers a Ping, now or when the output has drained.
    fn pong(&mut self, cx: &mut Cx<'_>, payload: &[u8], tx: &mut Tx<'_>) -> Result<(), Error> {
        if !self.flags.has(Flags::BLOCKED) {
            self.put(cx, tx, FIN | Op::Pong as u8, payload);
            return Ok(());
        }
        let mut owed = Owed { payload: [0; CONTROL_MAX], len: payload.len() };
        owed.payload.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
        if self.rare(cx.now).owed.replace(owed).is_some() {
            self.spend_glitch(cx, tx)?;
        }
        Ok(())
    }

    fn rare(&mut self, now: Micros) -> &mut Rare {
        let (burst, per_second) = self.config.glitch_rate();
        self.rare.get_or_insert_with(|| {
            Box::new(Rare { glitches: TokenBucket::new(burst, per_second, now), owed: None })
        })
    }

    fn spend_glitch(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.rare(cx.now).glitches.spend(cx.now, 1) {
            return Ok(());
        }
        let rule = "RFC 6455, 7.4.1: more empty fragments or unread pongs than are borne";
        Err(self.fail(cx, tx, close::POLICY, rule))
    }

    fn may_send(&self) -> Result<(), Error> {
        if self.clock == Clock::Done || self.close_sent() {
            return Err(Error::misuse("nothing is sent after a Close frame"));
        }
        Ok(())
    }

    /// Appends a frame, masked if this is a client (RFC 6455, section 5.3).
    #[inline]
    fn put(&self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, first: u8, payload: &[u8]) {
        let key = match self.role {
            Role::Server => None,
            Role::Client => Some((cx.random)().to_ne_bytes()),
        };
        frame::put(tx, first, payload, key);
    }

    fn put_close(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, code: Option<u16>, reason: &str) {
        let mut payload = [0; CONTROL_MAX];
        let code = code.map(u16::to_be_bytes);
        let said = code.iter().flatten().chain(reason.as_bytes());
        let mut len = 0;
        for (to, from) in payload.iter_mut().zip(said) {
            *to = *from;
            len += 1;
        }
        self.put(cx, tx, FIN | Op::Close as u8, payload.get(..len).unwrap_or(&[]));
        self.flags.set(Flags::CLOSE_SENT, true);
    }

    #[cold]
    fn not_utf8(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Error {
        self.fail(cx, tx, close::INVALID_DATA, "RFC 6455, 8.1: a text message is UTF-8")
    }

    /// Fails the connection: RFC 6455, section 7.1.7.
    #[cold]
    fn fail(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, code: u16, rule: &'static str) -> Error {
        if !self.close_sent() {
            self.put_close(cx, tx, Some(code), "");
        }
        self.clock = Clock::Done;
        Error::peer(Wire::Ws(code), rule)
    }

    #[cold]
    fn lost(&mut self, rule: &'static str) -> Error {
        self.clock = Clock::Done;
        Error::peer(Wire::Ws(close::ABNORMAL), rule)
    }
}

const fn op_of(kind: Kind) -> Op {
    match kind {
        Kind::Text => Op::Text,
        Kind::Binary => Op::Binary,
    }
}
