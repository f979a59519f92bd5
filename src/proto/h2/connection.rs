//! One end of a connection: what has been read of it, its streams, its windows, its deadlines.
//! RFC 9113, sections 3.4, 5 and 6.
//!
//! ```text
//! reading: Preface --> Frame --DATA--> Data --end--> Frame
//!                        |  --unknown--> Skip --end--> Frame
//!                        '--a fault of the connection--> Over (input is thrown away)
//! ```

use alloc::vec::Vec;

use lodger_backend::Micros;

use super::frame::{self, WINDOW_MAX};
use super::guard::{Guard, What};
use super::queue::Queue;
use super::settings::{self, Peers};
use super::streams::{self, Streams};
use super::{Code, Fault, head};
use crate::error::{Error, Wire};
use crate::io::{Rx, Scratch, Tx};
use crate::limits::{H2Limits, Limits};
use crate::proto::Cx;
use crate::proto::h1::{Fields, Request, ResponseHead};
use crate::proto::hpack::{Decoder, Encoder, TABLE_SIZE};

/// Which end it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
#[expect(missing_docs, reason = "a connection has these two ends")]
pub enum Role {
    Client,
    Server,
}

/// What the peer did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'s> {
    /// A request's head: the stream is new. If `ended` that is all of it.
    Request {
        /// The stream.
        stream: u32,
        /// The head.
        head: Request<'s>,
        /// No body follows.
        ended: bool,
        /// The client waits for a 100 (Continue) before it sends the body.
        expects: bool,
    },
    /// A response's head; after one below 200 another follows.
    Response {
        /// The stream.
        stream: u32,
        /// What [`Connection::set_tag`] set.
        tag: u32,
        /// The head.
        head: ResponseHead<'s>,
        /// No body follows.
        ended: bool,
    },
    /// A part of a body; empty only if `ended`. What is read of it is to be told by
    /// [`Connection::consumed`].
    Data {
        /// The stream.
        stream: u32,
        /// What [`Connection::set_tag`] set.
        tag: u32,
        /// The part.
        data: &'s mut [u8],
        /// It is the last.
        ended: bool,
    },
    /// Fields behind a body, which has ended.
    Trailers {
        /// The stream.
        stream: u32,
        /// What [`Connection::set_tag`] set.
        tag: u32,
        /// The fields.
        fields: Fields<'s>,
    },
    /// A stream was reset, by the peer or for a fault of the peer's.
    Reset {
        /// The stream.
        stream: u32,
        /// What [`Connection::set_tag`] set.
        tag: u32,
        /// The code: one of [`Code`], or another of the peer's.
        code: u32,
    },
    /// The peer opens no further stream, and has not looked at ours above `last`.
    GoAway {
        /// The highest of our streams that it may have looked at.
        last: u32,
        /// The code.
        code: u32,
    },
    /// The server's first SETTINGS have come: [`Connection::knows_connect`] tells now, and
    /// [`Connection::can_ask`] goes by what it lets us have open. Told to clients alone.
    Settled,
}

/// Where reading stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    Preface,
    Frame,
    Data(InData),
    /// So many bytes of a frame that means nothing to us.
    Skip(usize),
    Over,
}

/// A DATA frame under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InData {
    pub(super) stream: u32,
    /// Bytes of data, and then of padding, that have not come.
    pub(super) left: usize,
    pub(super) padding: usize,
    pub(super) ends: bool,
    /// Nobody wants it.
    pub(super) dropped: bool,
}

/// A field block that goes on in CONTINUATION frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OpenBlock {
    pub(super) stream: u32,
    pub(super) ends: bool,
    /// It depends on itself, which is told once the block is whole.
    pub(super) on_itself: bool,
    pub(super) frames: u32,
    pub(super) since: Micros,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) reading: Reading,
    pub(super) flags: u8,
    pub(super) streams: Streams,
    pub(super) queue: Queue,
    pub(super) peers: Peers,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) guard: Guard,
    pub(super) open_block: Option<OpenBlock>,
    pub(super) block: Vec<u8>,
    /// What we may send on all streams together.
    pub(super) sends: i64,
    /// What the peer may send on all streams together.
    pub(super) receives: i64,
    pub(super) window: i64,
    /// What has arrived without being credited.
    pub(super) arrived: u32,
    pub(super) stream_window: u32,
    /// Streams of which enough was read to be credited.
    pub(super) credits: Vec<u32>,
    /// Control frames put since the output was last empty.
    pub(super) control: u32,
    /// Streams that the peer has opened and that have not ended.
    pub(super) open_peer: u32,
    /// Streams that we have opened and that have not ended.
    pub(super) open_own: u32,
    /// The highest stream of the peer's that is served, once we have said that we go away.
    pub(super) last_served: u32,
    /// Since when our SETTINGS wait to be acknowledged.
    pub(super) settings_at: Option<Micros>,
    /// Since when there is no stream.
    pub(super) idle_at: Micros,
    /// When the peer was last heard.
    pub(super) heard: Micros,
    /// When we have asked whether the peer lives.
    pub(super) pinged: Option<Micros>,
    /// A stream to be told as reset by the next poll, with its tag and code.
    pub(super) told: Option<(u32, u32, u32)>,
    /// A name in lower case.
    pub(super) name: Vec<u8>,
}

/// Our SETTINGS are out.
pub(super) const GREETED: u8 = 1;
/// The peer's SETTINGS have come.
pub(super) const SETTLED: u8 = 1 << 1;
/// We have said that we go away.
pub(super) const LEAVING: u8 = 1 << 2;
/// The peer has said that it goes away.
pub(super) const LEFT: u8 = 1 << 3;

/// What one step of reading came to.
pub(super) enum Step<'a> {
    /// More input is needed.
    Wait,
    Again,
    Request(u32, head::Checked, bool),
    Response(u32, u32, head::Checked, bool),
    Data(u32, u32, &'a mut [u8], bool),
    Trailers(u32, u32),
    Reset(u32, u32, u32),
    GoAway(u32, u32),
    Settled,
}

impl Connection {
    /// Makes one end of a fresh connection.
    pub fn new(role: Role, now: Micros, limits: &Limits) -> Self {
        let h2 = &limits.h2;
        let window = i64::from(h2.connection_window.max(65_535)).min(WINDOW_MAX);
        Self {
            role,
            reading: if role == Role::Server { Reading::Preface } else { Reading::Frame },
            flags: 0,
            streams: Streams::new(),
            queue: Queue::default(),
            peers: Peers::new(),
            decoder: Decoder::new(TABLE_SIZE),
            encoder: Encoder::new(),
            guard: Guard::new(now, h2),
            open_block: None,
            block: Vec::new(),
            sends: 65_535,
            receives: window,
            window,
            arrived: 0,
            stream_window: h2.window.min(1 << 30),
            credits: Vec::new(),
            control: 0,
            open_peer: 0,
            open_own: 0,
            last_served: u32::MAX,
            settings_at: None,
            idle_at: now,
            heard: now,
            pinged: None,
            told: None,
            name: Vec::new(),
        }
    }

    /// Gives the next event; call again until it gives `None`: more input is needed. An incomplete
    /// frame stays in `rx` unless it is DATA, at most 16,393 bytes.
    ///
    /// # Errors
    ///
    /// `Peer`: the connection is over, and a GOAWAY that says why is in `tx`. Nothing more is
    /// read. What the peer does wrong on one stream is an [`Event::Reset`] instead, or nothing if
    /// nobody has heard of that stream.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Event<'s>>, Error> {
        self.greet(cx.now, &cx.limits.h2, tx);
        if !rx.is_empty() {
            self.heard = cx.now;
            self.pinged = None;
        }
        loop {
            let step = match self.step(cx, rx, scratch, tx) {
                Err(fault) if fault.stream == 0 => return Err(self.fail(fault, tx)),
                Err(fault) => self.fault(cx.now, fault, tx),
                Ok(step) => Ok(step),
            };
            let event = match step.map_err(|fault| self.fail(fault, tx))? {
                Step::Again => continue,
                Step::Wait => return Ok(None),
                Step::Request(stream, checked, ended) => Event::Request {
                    stream,
                    head: head::request(checked, ended, scratch),
                    ended,
                    expects: checked.facts.expects && !ended,
                },
                Step::Response(stream, tag, checked, ended) => {
                    Event::Response { stream, tag, head: head::response(checked, scratch), ended }
                }
                Step::Data(stream, tag, data, ended) => Event::Data { stream, tag, data, ended },
                Step::Trailers(stream, tag) => {
                    let (bytes, spans) = scratch.section_ref();
                    Event::Trailers { stream, tag, fields: Fields::new(bytes, spans) }
                }
                Step::Reset(stream, tag, code) => Event::Reset { stream, tag, code },
                Step::GoAway(last, code) => Event::GoAway { last, code },
                Step::Settled => Event::Settled,
            };
            return Ok(Some(event));
        }
    }

    /// Puts what a connection begins with. Does nothing when called again.
    pub fn greet(&mut self, now: Micros, limits: &H2Limits, tx: &mut Tx<'_>) {
        if self.has(GREETED) {
            return;
        }
        self.flags |= GREETED;
        let out = tx.buf(128);
        if self.role == Role::Client {
            out.extend_from_slice(frame::PREFACE);
        }
        settings::put_own(out, self.role, limits);
        self.settings_at = Some(now);
    }

    /// Lets the user call a stream by a number of its own, which every event then repeats, and
    /// keeps the stream until [`release`](Self::release).
    pub fn set_tag(&mut self, stream: u32, tag: u32) {
        if let Some(stream) = self.streams.by_id(stream) {
            stream.tag = tag;
            stream.flags |= streams::HELD;
        }
    }

    /// Gives the tags of all streams that are held.
    pub fn tags(&self) -> impl Iterator<Item = u32> {
        let held = self.streams.iter().filter(|stream| stream.has(streams::HELD));
        held.map(|stream| stream.tag)
    }

    /// Gives which end it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Tells whether no stream is open or held.
    pub fn is_idle(&self) -> bool {
        self.streams.len() == 0 && self.open_block.is_none()
    }

    /// Tells whether it is to be closed: all is said, and nothing more is read. A client that says
    /// that it goes away takes no stream of ours, and may open further ones of its own: RFC 9113,
    /// section 6.8.
    pub fn must_close(&self) -> bool {
        let last = if self.role == Role::Client { LEAVING | LEFT } else { LEAVING };
        self.reading == Reading::Over || self.flags & last != 0 && self.is_idle()
    }

    /// Tells whether a poll without new input would bring an event.
    pub fn has_news(&self) -> bool {
        self.told.is_some()
    }

    /// Gives when [`on_deadline`](Self::on_deadline) is to be called.
    pub fn deadline(&self, limits: &Limits) -> Option<Micros> {
        let h2 = &limits.h2;
        if self.reading == Reading::Over {
            return None;
        }
        let settings = self.settings_at.map(|at| at + h2.settings_time);
        let block = self.open_block.map(|block| block.since + h2.block_time);
        let rest = match self.pinged {
            Some(at) => at + h2.pong_within,
            None if self.is_idle() => self.idle_at + self.idle_time(limits),
            None => self.heard + h2.ping_after,
        };
        [settings, block].into_iter().flatten().min().map_or(Some(rest), |at| Some(at.min(rest)))
    }

    fn idle_time(&self, limits: &Limits) -> core::time::Duration {
        if self.role == Role::Server { limits.h2.idle } else { limits.client.idle }
    }

    /// Moves time to `cx.now`. Early and repeated calls do nothing.
    ///
    /// # Errors
    ///
    /// `Peer`: it was idle for too long, did not acknowledge our SETTINGS, left a block open, or
    /// does not answer. A GOAWAY is in `tx`.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        let (now, h2) = (cx.now, &cx.limits.h2);
        let over = |since: Option<Micros>, time| since.is_some_and(|at| at + time <= now);
        let fault = if self.reading == Reading::Over {
            return Ok(());
        } else if over(self.settings_at, h2.settings_time) {
            Fault::all(Code::SettingsTimeout, "RFC 9113, 6.5.3: SETTINGS are acknowledged")
        } else if over(self.open_block.map(|block| block.since), h2.block_time) {
            Fault::all(Code::EnhanceYourCalm, "the limit of a field block's time")
        } else if over(self.pinged, h2.pong_within) {
            Fault::all(Code::NoError, "the limit of the time to a PING's answer")
        } else if self.is_idle() && self.pinged.is_none() {
            if self.idle_at + self.idle_time(cx.limits) > now {
                return Ok(());
            }
            Fault::all(Code::NoError, "the limit of idle time")
        } else {
            if self.heard + h2.ping_after <= now && self.pinged.is_none() {
                self.pinged = Some(now);
                frame::put(tx.buf(32), frame::PING, 0, 0, b"lodger??");
            }
            return Ok(());
        };
        Err(self.fail(fault, tx))
    }

    /// Says that no further stream of the peer's is served; those under way go on to their ends.
    /// Does nothing when called again.
    pub fn go_away(&mut self, tx: &mut Tx<'_>) {
        if self.has(LEAVING) || self.reading == Reading::Over {
            return;
        }
        self.flags |= LEAVING;
        self.last_served = self.streams.last_peer;
        self.put_goaway(Code::NoError, tx);
    }

    pub(super) fn put_goaway(&self, code: Code, tx: &mut Tx<'_>) {
        let mut payload = [0; 8];
        let (last, rest) = payload.split_at_mut(4);
        last.copy_from_slice(&self.last_served.min(self.streams.last_peer).to_be_bytes());
        rest.copy_from_slice(&(code as u32).to_be_bytes());
        frame::put(tx.buf(32), frame::GOAWAY, 0, 0, &payload);
    }

    /// Ends the connection for a fault of the peer's, and says so.
    fn fail(&mut self, fault: Fault, tx: &mut Tx<'_>) -> Error {
        if self.reading != Reading::Over {
            self.reading = Reading::Over;
            self.put_goaway(fault.code, tx);
        }
        let idle = fault.code == Code::NoError && self.is_idle();
        let wire = if idle { Wire::None } else { Wire::H2(fault.code as u32) };
        Error::peer(wire, fault.rule)
    }

    /// Resets a stream for a fault of the peer's.
    fn fault<'a>(&mut self, now: Micros, fault: Fault, tx: &mut Tx<'_>) -> Result<Step<'a>, Fault> {
        self.guard.count(now, What::Fault)?;
        let held = self.streams.by_id(fault.stream).filter(|s| !s.has(streams::RESET));
        let tag = held.filter(|s| s.has(streams::HELD)).map(|s| s.tag);
        self.put_reset(fault.stream, fault.code, tx);
        self.end_stream(now, fault.stream, streams::RESET | streams::RESET_HERE);
        Ok(tag.map_or(Step::Again, |tag| Step::Reset(fault.stream, tag, fault.code as u32)))
    }

    pub(super) fn put_reset(&mut self, stream: u32, code: Code, tx: &mut Tx<'_>) {
        self.control += 1;
        let code = (code as u32).to_be_bytes();
        frame::put(tx.buf(32), frame::RST_STREAM, 0, stream, &code);
    }

    /// Notes that a stream has ended one way or both, and forgets it once that is all.
    pub(super) fn end_stream(&mut self, now: Micros, id: u32, how: u16) {
        let own = self.is_own(id);
        let Some(stream) = self.streams.by_id(id) else { return };
        let was_over = stream.is_over();
        stream.flags |= how;
        if !stream.is_over() {
            return;
        }
        let held = stream.has(streams::HELD);
        if !was_over && own {
            self.open_own = self.open_own.saturating_sub(1);
        }
        if !held {
            self.forget(now, id);
        }
    }

    /// Forgets a stream that is over and that nobody holds.
    pub(super) fn forget(&mut self, now: Micros, id: u32) {
        if !self.is_own(id) {
            // One that was reset counts until its handler has let go of it.
            self.open_peer = self.open_peer.saturating_sub(1);
        }
        self.streams.remove(id);
        if self.streams.len() == 0 {
            self.idle_at = now;
        }
    }

    /// Whether a number is one that we give.
    pub(super) fn is_own(&self, stream: u32) -> bool {
        (stream % 2 == 1) == (self.role == Role::Client)
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a DATA frame of a stream is under way.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_within(&self, id: u32) -> bool {
        matches!(self.reading, Reading::Data(InData { stream, .. }) if stream == id)
    }

    /// Gives of each stream what the peer may still send, and what was read without being
    /// credited.
    #[cfg(any(test, fuzzing))]
    pub(super) fn windows(&self) -> impl Iterator<Item = (u32, i64, u32)> {
        self.streams.iter().map(|stream| (stream.id, stream.receives, stream.read))
    }
}
