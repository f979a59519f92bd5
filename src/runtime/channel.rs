//! What lies between a socket and its protocol: TLS, and before it the way through a proxy.
//!
//! ```text
//! Fresh --first bytes--> Shaking --complete--> Open
//!   '-- plain HTTP: no channel, and an answer that says so
//! Proxied --a tunnel--> Shaking, or no channel where the server is a plain one
//! ```
//!
//! Around these there may be TLS with the proxy (`outer`), which comes first and stays.
//!
//! On the way in, what arrives goes into a buffer of the turn, through the engine, and on as
//! plaintext in the buffer that a plain connection reads into. On the way out the output of the
//! protocol is sealed when it is sent, a window at once, so that limits go on counting
//! plaintext and a slow peer holds no more than a window twice. The engine runs with nothing of
//! the runtime borrowed, because what a configuration asks (who may come, which certificate to
//! show) may be code of the user's.

mod outer;
mod seal;
mod tunnel;

use std::boxed::Box;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lodger_backend::{Micros, Net};

use super::Handle;
use super::core::{Core, Frame};
use super::handler::{App, Secured, raw};
use super::id::{ListenerId, Reason};
use super::serve::{self, Filled, Lent, Outcome};
use super::slot::{Flags, Slot, State};
use crate::io::{Out, Pool, Tx};
use crate::proto::tls::{self, Engine, Session};
use crate::{Error, Limits};

/// What lies between a socket and its protocol.
#[derive(Debug)]
pub(crate) struct Channel {
    stage: Stage,
    /// TLS with a proxy, around all that the stage says and hears.
    outer: Option<Box<Engine>>,
    /// Bytes as they go out.
    sealed: Out,
    /// When the handshake must be complete.
    until: Micros,
    session: Option<Rc<Session>>,
    /// The peer has ended its stream without saying so.
    cut: bool,
    /// We have said that nothing more comes.
    said_bye: bool,
}

#[derive(Debug)]
enum Stage {
    /// A client has connected, and said nothing yet.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "made by servers of TLS alone"))]
    Fresh(Waiting),
    /// A proxy is asked for a tunnel.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    Proxied(Box<tunnel::Proxied>),
    Shaking(Engine, Option<Waiting>),
    Open(Engine),
    /// It was plain HTTP, or has failed.
    Over,
}

/// What a server's handshake is for.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) secured: Rc<Secured>,
    pub(crate) listener: Option<ListenerId>,
}

/// What feeding came to.
#[derive(Default)]
struct Fed {
    /// Plaintext in the frame's buffer, what was left over before included.
    len: usize,
    /// The handshake has just been completed.
    begun: bool,
    closed: bool,
    /// It is plain HTTP: the bytes are in the frame's buffer.
    plain: bool,
    /// There is a tunnel now.
    tunnelled: bool,
    /// Through which nothing is sealed.
    bare: bool,
    /// The proxy answered with this status: there is none.
    refused: Option<u16>,
}

impl Channel {
    /// Waits for a client's first bytes.
    #[cfg(feature = "tls")]
    pub(crate) fn accepted(waiting: Waiting, until: Micros) -> Box<Self> {
        Box::new(Self::new(Stage::Fresh(waiting), until))
    }

    /// Begins a handshake with a server, once there is a connection.
    #[cfg(feature = "client")]
    pub(crate) fn dialled(engine: Engine) -> Box<Self> {
        Box::new(Self::new(Stage::Shaking(engine, None), Micros::MAX))
    }

    #[cfg(any(feature = "tls", feature = "client"))]
    fn new(stage: Stage, until: Micros) -> Self {
        let sealed = Out::new();
        let outer = None;
        Self { stage, outer, sealed, until, session: None, cut: false, said_bye: false }
    }

    /// When its handshake must be complete.
    pub(super) fn until(&self) -> Micros {
        self.until
    }

    /// What was agreed on, once it is.
    pub(super) fn session(&self) -> Option<&Rc<Session>> {
        self.session.as_ref()
    }

    /// Bytes that are sealed and not sent.
    pub(super) fn queued(&self) -> usize {
        self.sealed.len()
    }

    /// Input that waits for the rest of its record.
    fn kept(&self) -> usize {
        self.outer.as_ref().map_or(0, |outer| outer.kept().len()) + self.inner_kept().len()
    }

    /// The same, of what comes in front of what the socket gives next.
    fn wire_kept(&self) -> &[u8] {
        self.outer.as_ref().map_or_else(|| self.inner_kept(), |outer| outer.kept())
    }

    fn inner_kept(&self) -> &[u8] {
        match &self.stage {
            Stage::Shaking(engine, _) | Stage::Open(engine) => engine.kept(),
            // A tunnel keeps less than a head, for a while.
            Stage::Fresh(_) | Stage::Proxied(_) | Stage::Over => &[],
        }
    }

    /// Makes the engine of a server out of a client's first byte; `false` if that is plain HTTP.
    fn begin(&mut self, first: u8) -> Result<bool, Error> {
        let Stage::Fresh(_) = self.stage else { return Ok(true) };
        // A handshake begins with 22 (RFC 8446, section 5.1), a method with a capital letter.
        if first.is_ascii_uppercase() {
            return Ok(false);
        }
        if let Stage::Fresh(waiting) = core::mem::replace(&mut self.stage, Stage::Over) {
            self.stage = Stage::Shaking(waiting.secured.begin()?, Some(waiting));
        }
        Ok(true)
    }

    /// Turns what arrived into plaintext behind what is in `frame.rx` already. Runs user code.
    fn feed(&mut self, frame: &mut Frame, len: usize, size: usize) -> Result<Fed, Error> {
        match self.outer.take() {
            Some(outer) => self.feed_within(outer, frame, len, size),
            None => self.feed_bare(frame, len, size),
        }
    }

    /// As above, where there is no TLS around it.
    fn feed_bare(&mut self, frame: &mut Frame, len: usize, size: usize) -> Result<Fed, Error> {
        let Frame { rx, sealed: input, .. } = frame;
        let input = input.get_mut(..size).unwrap_or_default();
        if self.is_proxied() {
            return self.tunnel(frame, len, size);
        }
        if let Some(first) = input.first()
            && !self.begin(*first)?
        {
            return Ok(Fed { len, plain: true, ..Fed::default() });
        }
        let was_open = matches!(self.stage, Stage::Open(_));
        let Self { stage, sealed, .. } = self;
        let (Stage::Shaking(engine, _) | Stage::Open(engine)) = stage else {
            return Ok(Fed { len, ..Fed::default() });
        };
        let mut end = len;
        let mut plain = |piece: &[u8]| {
            // There is room: it is shorter than the records that it came in.
            if let Some(to) = rx.get_mut(end..end.saturating_add(piece.len())) {
                to.copy_from_slice(piece);
                end += piece.len();
            }
        };
        // What is said here is rare: a handshake, an alert.
        let mut pool = Pool::new(0);
        let fed = engine.feed(input, &mut plain, &mut Tx::new(sealed, &mut pool))?;
        let begun = fed.ready && !was_open;
        Ok(Fed { len: end, begun, closed: fed.closed, ..Fed::default() })
    }

    /// Notes what was agreed on. Gives what a server's handshake was for.
    fn open(&mut self) -> Option<Waiting> {
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Shaking(engine, waiting) => {
                self.session = Some(Rc::new(engine.session()));
                self.stage = Stage::Open(engine);
                waiting
            }
            Stage::Fresh(waiting) => Some(waiting),
            stage => {
                self.stage = stage;
                None
            }
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Fresh(_))
    }
}

/// A connection that is served: its handler and channel are out of the slot.
struct Taken {
    lent: Lent,
    channel: Box<Channel>,
    /// Plaintext that was left over.
    len: usize,
    /// What arrived, behind what the engine keeps.
    size: usize,
    kicked: bool,
    /// There is something for the engine to do.
    feeds: bool,
}

/// Serves one slot as far as one read goes.
pub(super) fn serve(h: &Handle, frame: &mut Frame, index: u32) {
    let taken = take(h, &mut h.core(), frame, index);
    let Some(mut taken) = taken else {
        serve::after(h, &mut h.core(), index);
        return;
    };
    let (len, size) = (taken.len, taken.size);
    let channel = &mut taken.channel;
    let fed = catch_unwind(AssertUnwindSafe(|| {
        if taken.feeds { channel.feed(frame, len, size) } else { Ok(Fed { len, ..Fed::default() }) }
    }));
    match fed {
        Ok(Ok(fed)) if fed.plain => plain_http(h, frame, taken),
        Ok(Ok(Fed { refused: Some(status), .. })) => fails(h, taken, Reason::Refused { status }),
        Ok(Ok(fed)) if fed.bare && !taken.channel.is_open() => tunnel::bare(h, frame, taken, &fed),
        Ok(Ok(fed)) => go_on(h, frame, taken, &fed),
        Ok(Err(e)) => fails(h, taken, Reason::Peer(e)),
        Err(_) => {
            let lent = taken.lent;
            let mut core = h.core();
            core.stats.panics += 1;
            core.put_channel(lent.id.index, taken.channel);
            core.abort(lent.id.index, Reason::Panic);
            serve::finish(h, &mut core, lent, &Outcome::Fine);
        }
    }
}

/// Ends a connection that cannot be had, or goes on no more.
fn fails(h: &Handle, taken: Taken, why: Reason) {
    let lent = taken.lent;
    let mut core = h.core();
    core.put_channel(lent.id.index, taken.channel);
    core.channel_failed(lent.id.index, why);
    serve::finish(h, &mut core, lent, &Outcome::Fine);
}

/// Sends what waits, reads once, and takes handler and channel out. `None`: nothing to feed.
fn take(h: &Handle, core: &mut Core, frame: &mut Frame, index: u32) -> Option<Taken> {
    let net = &*h.0.net;
    if core.slots.get(index)?.flags.has(Flags::CONNECTING) {
        super::dial::connected(core, net, index)?;
    }
    let Core { slots, limits, pool, now, stats, shakes, later, .. } = core;
    let slot = slots.get_mut(index)?;
    stats.sent += slot.flush(net, pool, *now, limits);
    let kicked = slot.flags.has(Flags::KICK) || slot.wants_writable(limits);
    let reads = slot.ready.is_read() && slot.wants_read(limits);
    slot.flags.clear(Flags::KICK);
    if !kicked && !reads || slot.flags.has(Flags::FAILED) {
        return None;
    }
    if slot.channel()?.is_fresh() {
        if *shakes >= limits.tls.starts {
            slot.flags.set(Flags::QUEUED);
            later.push(index);
            return None;
        }
        *shakes += 1;
    }
    let len = if slot.extra.is_some() { serve::unstash(core, frame, index) } else { 0 };
    let mut channel = core.take_channel(index)?;
    let size = if reads { read(core, net, frame, index, &mut channel, len) } else { Ok(0) };
    let slot = core.slots.get_mut(index)?;
    // A client speaks first; what is kept is not fed without something behind it.
    let begins = slot.flags.has(Flags::SHAKING) && channel.kept() == 0;
    let feeds = *size.as_ref().unwrap_or(&0) > 0 || begins;
    let ended = slot.flags.has(Flags::SHAKING) && slot.flags.has(Flags::EOF);
    let size = match size {
        Ok(size) if !ended => size,
        failed => {
            core.put_channel(index, channel);
            core.abort(index, failed.map_or_else(Reason::Io, |_| Reason::Eof));
            return None;
        }
    };
    let lent = serve::lend(core, index)?;
    Some(Taken { lent, channel, len, size, kicked, feeds })
}

/// Reads once, behind what the engine keeps. Gives how much there is to feed; 0 if nothing came.
fn read(
    core: &mut Core,
    net: &dyn Net,
    frame: &mut Frame,
    index: u32,
    channel: &mut Channel,
    len: usize,
) -> Result<usize, io::ErrorKind> {
    let receive = core.limits.receive_buffer();
    let kept = channel.wire_kept();
    let room = kept.len() + receive;
    if frame.sealed.len() < room {
        frame.sealed.resize(room, 0);
    }
    if frame.rx.len() < len + room {
        frame.rx.resize(len + room, 0);
    }
    if let Some(front) = frame.sealed.get_mut(..kept.len()) {
        front.copy_from_slice(kept);
    }
    let kept = kept.len();
    let Core { slots, stats, .. } = core;
    let Some(slot) = slots.get_mut(index) else { return Ok(0) };
    let buffer = frame.sealed.get_mut(kept..kept + receive).unwrap_or_default();
    let mut filled = Filled { len: 0, eof: false, kicked: false };
    serve::read(slot, net, buffer, &mut filled, stats)?;
    channel.cut |= slot.flags.has(Flags::EOF);
    Ok(if filled.len > 0 { kept + filled.len } else { 0 })
}

/// Hands plaintext on, once the handshake is complete.
fn go_on(h: &Handle, frame: &mut Frame, taken: Taken, fed: &Fed) {
    let Taken { mut lent, mut channel, kicked, .. } = taken;
    let index = lent.id.index;
    let made = if fed.begun { complete(h, &mut channel, &mut lent) } else { Ok(()) };
    let mut core = h.core();
    let (cut, now) = (channel.cut, core.now);
    if fed.tunnelled {
        channel.until = now + core.limits.tls.handshake;
    }
    core.put_channel(index, channel);
    let Some(slot) = core.slots.get_mut(index) else { return };
    if fed.closed {
        slot.flags.set(Flags::EOF);
    }
    if fed.tunnelled {
        slot.note_stage_of(&mut lent.app, |stages| stages.tunnelled = Some(now));
    }
    if fed.begun {
        slot.flags.clear(Flags::SHAKING);
        slot.note_secured(&mut lent.app, now);
    }
    if let Err(why) = made {
        core.start_close(index, why, true);
    }
    let slot = core.slots.get(index);
    let waits = slot.is_none_or(|s| s.flags.has(Flags::SHAKING) || s.state != State::Open);
    if waits {
        serve::finish(h, &mut core, lent, &Outcome::Fine);
        return;
    }
    let ends = slot.is_some_and(|slot| slot.flags.has(Flags::EOF));
    let needs_bye = slot.is_some_and(|slot| slot.stack.ends_by_eof());
    if cut && fed.len == 0 && needs_bye {
        core.abort(index, Reason::Peer(tls::CUT));
        serve::finish(h, &mut core, lent, &Outcome::Fine);
        return;
    }
    drop(core);
    // Of a stream that was cut off, everything is told before its end: only then it is known
    // whether that is where it may end.
    let eof = ends && (!cut || fed.len == 0);
    let kicked = kicked || fed.begun;
    serve::run(h, frame, &Filled { len: fed.len, eof, kicked }, lent);
    if cut && !eof {
        let mut core = h.core();
        if core.slots.get(index).is_some_and(|slot| slot.tail() == 0) {
            core.kick(index);
        }
    }
}

/// Makes the two ends that a server's handshake was for. Runs user code.
fn complete(h: &Handle, channel: &mut Channel, lent: &mut Lent) -> Result<(), Reason> {
    let waiting = channel.open();
    h.core().stats.handshakes += 1;
    let Some(Waiting { secured, listener }) = waiting else { return Ok(()) };
    let Some(sock) = h.core().named(lent.id).and_then(|slot| slot.sock) else { return Ok(()) };
    let alpn = channel.session().and_then(|session| session.alpn());
    let accepted = raw::Accepted { h, sock, listener };
    let made = catch_unwind(AssertUnwindSafe(|| secured.make(h, &accepted, alpn)));
    let (stack, app) = match made {
        Ok(Some(made)) => made,
        Ok(None) => return Err(Reason::Aborted),
        Err(_) => {
            h.core().stats.panics += 1;
            return Err(Reason::Panic);
        }
    };
    lent.app = app;
    if let Some(slot) = h.core().named(lent.id) {
        slot.stack = stack;
    }
    Ok(())
}

/// Answers plain HTTP as the configuration says: the channel goes, and a server of one answer
/// stands where it was.
fn plain_http(h: &Handle, frame: &mut Frame, taken: Taken) {
    let Taken { mut lent, mut channel, size, .. } = taken;
    let Some(Waiting { secured, .. }) = channel.open() else { return };
    let (stack, app) = secured.plain(h);
    drop(channel);
    lent.app = app;
    let Frame { rx, sealed, .. } = &mut *frame;
    if let (Some(to), Some(from)) = (rx.get_mut(..size), sealed.get(..size)) {
        to.copy_from_slice(from);
    }
    if let Some(slot) = h.core().named(lent.id) {
        slot.flags.clear(Flags(Flags::CHANNEL.0 | Flags::SHAKING.0));
        slot.stack = stack;
    }
    serve::run(h, frame, &Filled { len: size, eof: false, kicked: false }, lent);
}

impl Core {
    /// Takes a channel out of its slot: to be fed, or to be dropped with nothing borrowed.
    pub(super) fn take_channel(&mut self, index: u32) -> Option<Box<Channel>> {
        let channel = self.slots.get_mut(index)?.extra.as_mut()?.channel.take()?;
        self.stashed -= channel.kept();
        Some(channel)
    }

    /// Gives a fresh connection its channel.
    pub(super) fn begin_channel(&mut self, index: u32, channel: Box<Channel>) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.set(Flags(Flags::CHANNEL.0 | Flags::SHAKING.0));
        }
        self.hold_channel(index, channel);
    }

    fn hold_channel(&mut self, index: u32, channel: Box<Channel>) {
        if let Some(extra) = self.extra(index) {
            extra.channel = Some(channel);
        }
    }

    /// Puts it back, with what it has to say now.
    fn put_channel(&mut self, index: u32, channel: Box<Channel>) {
        let kept = channel.kept();
        self.stashed += kept;
        let now = self.now;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if !channel.sealed.is_empty() && slot.state == State::Open {
            slot.flags.set(Flags::SEALED);
            if slot.since == Micros::ZERO {
                slot.since = now;
            }
        }
        self.hold_channel(index, channel);
        if kept > 0 && self.stashed > self.limits.io.stash {
            self.abort(index, Reason::Overload);
        }
    }

    /// Ends a connection whose channel has failed; its alert is sent first.
    fn channel_failed(&mut self, index: u32, why: Reason) {
        self.stats.handshakes_failed += u64::from(self.is_shaking(index));
        let Self { slots, pool, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return };
        slot.out.clear(pool);
        slot.flags.clear(Flags::FILE);
        if slot.flags.has(Flags::SEALED) {
            self.start_close(index, why, true);
        } else {
            self.abort(index, why);
        }
    }

    /// Gives what the handshake of a connection agreed on, or of the one that carries it.
    pub(super) fn session(&self, index: u32) -> Option<Rc<Session>> {
        self.carrier(index)?.channel()?.session().cloned()
    }

    /// Gives the slot that has the socket and the channel: of a stream, its connection's.
    pub(super) fn carrier(&self, index: u32) -> Option<&Slot> {
        let slot = self.slots.get(index)?;
        #[cfg(feature = "h2")]
        if slot.flags.has(Flags::STREAM) {
            return self.slots.get(slot.link.parent);
        }
        Some(slot)
    }

    fn is_shaking(&self, index: u32) -> bool {
        self.slots.get(index).is_some_and(|slot| {
            slot.flags.has(Flags::SHAKING) && !slot.channel().is_some_and(Channel::is_proxied)
        })
    }

    /// Looks whether a handshake has had its time.
    pub(super) fn shaking_due(&mut self, index: u32) {
        let now = self.now;
        let Some(slot) = self.slots.get(index) else { return };
        if slot.channel().is_none_or(|channel| channel.until <= now) {
            let shaking = self.is_shaking(index);
            self.stats.handshakes_failed += u64::from(shaking);
            let why = if shaking { Reason::Peer(tls::SLOW) } else { Reason::ConnectTimeout };
            self.abort(index, why);
        } else {
            self.arm_deadline(index);
        }
    }
}

impl Slot {
    /// Has the handshake of a dialled connection begin: there is a connection.
    pub(super) fn await_channel(&mut self, now: Micros, limits: &Limits) {
        if let Some(channel) = self.extra.as_mut().and_then(|e| e.channel.as_mut()) {
            let proxied = channel.is_proxied();
            channel.until =
                now + if proxied { limits.client.connect } else { limits.tls.handshake };
        }
    }

    /// Notes that the handshake is complete: the time of what is asked begins.
    fn note_secured(&mut self, app: &mut App, now: Micros) {
        self.note_stage_of(app, |stages| stages.secured = Some(now));
        self.begin_output(app, now);
    }

    /// There is something to speak on: the time of what is asked begins.
    fn begin_output(&mut self, app: &mut App, now: Micros) {
        self.since = if self.has_output() { now } else { Micros::ZERO };
        if let App::Client(asker) = app {
            // What a handshake took is no part of the request.
            asker.base = self.sent;
        }
        self.stack.connected(now);
    }
}

#[cfg(feature = "tls")]
impl Handle {
    /// Gives what clients trust unless they say otherwise: the authorities of the system. They are
    /// read once.
    ///
    /// # Errors
    ///
    /// `Host`: there are none.
    #[cfg(feature = "client")]
    pub(crate) fn platform_trust(&self) -> Result<tls::ClientConfig, Error> {
        if let Some(trust) = self.0.trust.get() {
            return Ok(trust.clone());
        }
        let trust = tls::ClientConfig::platform()
            .map_err(|_| Error::host("this system has no certificates of authorities to trust"))?;
        Ok(self.0.trust.get_or_init(|| trust).clone())
    }

    /// Tells what the TLS handshake of a connection agreed on; `None` if it is a plain one, or has
    /// not agreed yet.
    pub fn tls(&self, id: super::id::ConnId) -> Option<Rc<Session>> {
        let mut core = self.core();
        core.named(id)?;
        core.session(id.index)
    }
}
