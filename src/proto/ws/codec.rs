//! A WebSocket connection after its handshake: RFC 6455, sections 5 to 7.
//!
//! In: bytes, messages to send, the passing of time. Out: events, frames, a deadline.
//!
//! ```text
//! Quiet --validity--> Asked --validity--> Done (lost)
//!   |  ^--any input--'|
//!   '----our Close----+--> Closing --the peer's Close, or close_within--> Done
//! ```
//! Where only the answer to our Ping is proof, `Proven` and `Doubted` stand for `Quiet` and `Asked`.
//! The peer's Close and every broken rule lead from each state to `Done`, with our Close in the
//! output if it had not been sent. In `Done` input is taken and ignored.
//!
//! Invariant: nothing is reserved from a declared length; every limit is checked with the header.
//! Invariant: our Close is the last frame that we send.
//! Invariant: frames do not depend on how the input was cut; only where a message's parts end does.

use alloc::boxed::Box;
use alloc::rc::Rc;
#[cfg(feature = "deflate")]
use alloc::vec::Vec;

use lodger_backend::Micros;

use super::frame::{self, CONTROL_MAX, FIN, Op};
use super::utf8::Utf8;
use super::{Config, Event, Extensions, Kind, Message, Role, close};
#[cfg(feature = "deflate")]
use crate::io::deflate::{Deflater, Inflater};
use crate::io::{Rx, Scratch, Tx};
use crate::policy::{Due, Validity};
use crate::proto::Cx;
use crate::{Error, TokenBucket, Wire};

#[cfg(feature = "deflate")]
mod packed;
mod receive;

/// A connection: 56 bytes (72 with permessage-deflate), and none on the heap as long as the peer
/// behaves.
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
    /// Frames of the current message so far, those without payload left out.
    fragments: u32,
    role: Role,
    clock: Clock,
    /// The message that is being received.
    incoming: Option<Kind>,
    /// The message that is being sent in chunks.
    outgoing: Option<Kind>,
    /// Invariant: at its start between messages, since a text that does not end well fails.
    text_in: Utf8,
    text_out: Utf8,
    flags: Flags,
    extensions: Extensions,
    /// Expands the compressed message that is being received; with takeover, all of them.
    #[cfg(feature = "deflate")]
    inflating: Option<Box<Inflater>>,
    /// With takeover: compresses what is sent.
    #[cfg(feature = "deflate")]
    packer: Option<Box<Deflater>>,
}

/// What `since` counts from, and to what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clock {
    /// The peer was heard; to the next ping.
    Quiet,
    /// It was pinged; to giving it up.
    Asked,
    /// As `Quiet`, but only an answer to a Ping of ours is proof.
    Proven,
    /// As `Asked`, but only the answer to that Ping is proof.
    Doubted,
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
    /// The current message is compressed.
    const PACKED: u8 = 32;
    /// More of the compressed message can be expanded without more input.
    #[cfg(feature = "deflate")]
    const PENDING: u8 = 64;
    /// The message that is being sent in chunks is compressed.
    #[cfg(feature = "deflate")]
    const PACKING: u8 = 128;

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
        let strict = config.validity_policy().needs_pong();
        Self {
            config,
            left: 0,
            message: 0,
            since: now,
            rare: None,
            key: [0; 4],
            fragments: 0,
            role,
            clock: if strict { Clock::Proven } else { Clock::Quiet },
            incoming: None,
            outgoing: None,
            text_in: Utf8::default(),
            text_out: Utf8::default(),
            flags: Flags(0),
            extensions: Extensions::default(),
            #[cfg(feature = "deflate")]
            inflating: None,
            #[cfg(feature = "deflate")]
            packer: None,
        }
    }

    /// Sets what the handshake agreed on. To be called before anything else is.
    #[must_use]
    pub fn with_extensions(mut self, agreed: Extensions) -> Self {
        self.extensions = agreed;
        self
    }

    /// Takes one event's bytes from `rx`; `None` if it needs more. Compressed payload is expanded into
    /// `scratch`, at most 16 KiB for one event. At most 131 bytes then stay in
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
    /// 1002, 1007, 1008, 1009, or 1013 if all memory for expanding is in use. With 1006 if the input ends without the peer's Close; `tx` has
    /// nothing then.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Polled<'s> {
        if self.clock == Clock::Done {
            rx.take(rx.len());
            return Ok(None);
        }
        if rx.is_empty() {
            return if self.is_quiet() {
                self.starved(rx)
            } else {
                self.next_event(cx, rx, scratch, tx)
            };
        }
        if rx.consumed() == 0 {
            self.flags.set(Flags::BLOCKED, tx.queued() > cx.limits.io.queue_low);
        }
        self.heard(cx.now);
        if let Some((kind, data)) = self.short_message(rx) {
            return self.whole(cx, kind, data, tx);
        }
        self.next_event(cx, rx, scratch, tx)
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
        let first = FIN | op_of(msg.kind()) as u8;
        #[cfg(feature = "deflate")]
        if self.packs(msg.bytes().len())
            && let Some(packed) = self.pack_whole(tx, msg.bytes())
        {
            self.put_packed(cx, tx, first | frame::PACKED, packed);
            return Ok(());
        }
        self.put(cx, tx, first, msg.bytes());
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
        let bits = op as u8 | if last { FIN } else { 0 };
        #[cfg(feature = "deflate")]
        if if first { self.packs(data.len()) } else { self.flags.has(Flags::PACKING) }
            && let Some(packed) = self.pack_chunk(tx, data, first, last)
        {
            self.flags.set(Flags::PACKING, !last);
            let begins = if first { frame::PACKED } else { 0 };
            self.put_packed(cx, tx, bits | begins, packed);
            return Ok(());
        }
        self.put(cx, tx, bits, data);
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

    /// Whether [`flush`](Self::flush) has something to do once the output has drained.
    pub fn waits_for_drain(&self) -> bool {
        self.flags.has(Flags::BLOCKED)
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

    /// Does what is due: pings a silent peer, by [`Config::validity`]. Early calls do nothing.
    ///
    /// # Errors
    ///
    /// [`Blame::Peer`](crate::Blame::Peer) with 1006, and nothing in `tx`, if the peer is lost: it
    /// was silent for too long, or did not answer our Ping, or our Close, in time.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.deadline().is_none_or(|due| cx.now < due) {
            return Ok(());
        }
        match self.clock {
            Clock::Quiet | Clock::Proven => self.silent(cx, tx),
            Clock::Asked | Clock::Doubted => {
                Err(self.lost("RFC 6455, 5.5.2: a Ping is answered in time"))
            }
            Clock::Closing => Err(self.lost("RFC 6455, 5.5.1: a Close is answered in time")),
            Clock::Done => Ok(()),
        }
    }

    /// Gives when [`on_deadline`](Self::on_deadline) is next due.
    pub fn deadline(&self) -> Option<Micros> {
        let validity = self.config.validity_policy();
        match self.clock {
            Clock::Quiet | Clock::Proven => validity.deadline(self.since, false),
            Clock::Asked | Clock::Doubted => validity.deadline(self.since, true),
            Clock::Closing => Some(self.since + self.config.close_time()),
            Clock::Done => None,
        }
    }

    /// Tells whether only silence is waited for, so that the deadline can but move on.
    pub fn waits_for_silence(&self) -> bool {
        matches!(self.clock, Clock::Quiet | Clock::Proven) && self.config.validity_policy().ends()
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

    /// Tells whether only new input can bring an event. While not, poll on without.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        #[cfg(feature = "deflate")]
        return !self.flags.has(Flags::PENDING);
        #[cfg(not(feature = "deflate"))]
        true
    }

    /// Gives what the connection was made with.
    pub fn config(&self) -> &Rc<Config> {
        &self.config
    }

    /// Tells which end of the connection this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Tells whether a message can be sent. In the middle of one sent in chunks it cannot, nor
    /// after a Close frame.
    ///
    /// # Errors
    ///
    /// Misuse after a Close frame: no message can ever be sent again.
    pub fn takes_message(&self) -> Result<bool, Error> {
        self.may_send()?;
        Ok(self.outgoing.is_none())
    }

    fn heard(&mut self, now: Micros) {
        match self.clock {
            Clock::Quiet | Clock::Asked => {
                self.clock = Clock::Quiet;
                self.since = now;
            }
            Clock::Proven | Clock::Doubted | Clock::Closing | Clock::Done => {}
        }
    }

    /// Asks a peer that was silent for too long, or gives it up unasked.
    fn silent(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.config.validity_policy().due(false) == Due::HangUp {
            return Err(self.lost("policy: a peer is not silent for so long"));
        }
        self.put(cx, tx, FIN | Op::Ping as u8, &Validity::payload(cx.now));
        self.clock = if self.clock == Clock::Proven { Clock::Doubted } else { Clock::Asked };
        self.since = cx.now;
        Ok(())
    }

    /// Takes the answer to our last Ping as proof; an older one or an unsolicited one is none.
    fn answered(&mut self, now: Micros, payload: &[u8]) {
        if self.clock == Clock::Doubted && Validity::is_answer(self.since, payload) {
            self.clock = Clock::Proven;
            self.since = now;
        }
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

    /// Appends a frame whose payload is in a buffer of the pool.
    #[cfg(feature = "deflate")]
    fn put_packed(&self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, first: u8, packed: Vec<u8>) {
        self.put(cx, tx, first, &packed);
        tx.pool().put(packed);
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
