//! One connection or listener: what it holds, what is going on with it, and what it wants.

use std::io;
use std::rc::Rc;

use lodger_backend::{Interest, Micros, Net, Ready, Sock};

use super::channel::Channel;
use super::handler::App;
use super::id::Reason;
use super::race::Race;
use super::timers::What;
use crate::Limits;
use crate::io::{Out, Pool};
use crate::proto::stack::Stack;
use crate::sul::{self, Sched};

/// Where a slot is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    /// Unused.
    #[default]
    Free,
    /// In use; events reach the handler.
    Open,
    /// Said goodbye: what is queued is sent, nothing more is taken in or out.
    Closing,
    /// Our side is shut down; the peer's last bytes are read away.
    Linger,
    /// Over; waits to be buried by a turn.
    Dead,
}

/// What is going on with a slot, one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags(pub(super) u32);

impl Flags {
    /// Its handler is on the stack: not served, timed or buried from above.
    pub(crate) const RUNNING: Self = Self(1);
    /// It stands in the run queue.
    pub(crate) const QUEUED: Self = Self(1 << 1);
    /// It stands in the list of those with output to flush.
    pub(crate) const DIRTY: Self = Self(1 << 2);
    /// The user paused its input.
    pub(crate) const PAUSED: Self = Self(1 << 3);
    /// The user wants to hear `writable`.
    pub(crate) const WANT: Self = Self(1 << 4);
    /// The peer has ended its stream.
    pub(crate) const EOF: Self = Self(1 << 5);
    /// To be served though nothing has arrived: resumed, answered, unblocked.
    pub(crate) const KICK: Self = Self(1 << 6);
    /// Closing waits for the peer's end, so that no reset destroys the goodbye.
    pub(crate) const LINGER: Self = Self(1 << 7);
    /// It listens.
    pub(crate) const LISTENER: Self = Self(1 << 8);
    /// Input stopped because too much output waits.
    pub(crate) const BLOCKED: Self = Self(1 << 9);
    /// A listener that waits for room or for the system to recover.
    pub(crate) const HELD: Self = Self(1 << 10);
    /// Sending failed, as `why` says: to be aborted by whoever flushed.
    pub(crate) const FAILED: Self = Self(1 << 11);
    /// Its handler runs because of its input, which is looked at again when it returns.
    pub(crate) const PUMPED: Self = Self(1 << 12);
    /// Both: lent to the pump, and given back with one store.
    pub(crate) const LENT: Self = Self(Self::RUNNING.0 | Self::PUMPED.0);
    /// The program's own: counted, listed and said goodbye to nowhere.
    pub(crate) const ASIDE: Self = Self(1 << 13);
    /// Shared messages wait outside of its output.
    pub(crate) const SHARED: Self = Self(1 << 15);
    /// Its connection is being made; what is queued waits for it.
    pub(crate) const CONNECTING: Self = Self(1 << 14);
    /// A part of a file is to be sent behind the queue.
    pub(crate) const FILE: Self = Self(1 << 16);
    /// Each read is a datagram: a short one has not emptied the socket, for which its end is taken
    /// as announced.
    pub(crate) const DATAGRAM: Self = Self(1 << 20);
    /// Something lies between its socket and its protocol, for good.
    pub(crate) const CHANNEL: Self = Self(1 << 24);
    /// The handshake of its channel goes on; what is queued waits for it.
    pub(crate) const SHAKING: Self = Self(1 << 25);
    /// Its channel has bytes to send.
    pub(crate) const SEALED: Self = Self(1 << 26);
    /// Any: it is not known to go out as it stands.
    pub(crate) const NOT_PLAIN: Self = Self(Self::CHANNEL.0 | Self::FILE.0);
    /// Either: there is nothing yet that protocols could speak on.
    const BEGINS: Self = Self(Self::CONNECTING.0 | Self::SHAKING.0);
    /// It is a stream of a connection.
    #[cfg_attr(not(feature = "h2"), allow(dead_code, reason = "only HTTP/2 has streams"))]
    pub(crate) const STREAM: Self = Self(1 << 17);
    /// It is a connection of streams.
    #[cfg_attr(not(feature = "h2"), allow(dead_code, reason = "only HTTP/2 has streams"))]
    pub(crate) const STREAMS: Self = Self(1 << 18);
    /// Either: its output is not its own alone.
    pub(crate) const LINKED: Self = Self(Self::STREAM.0 | Self::STREAMS.0);
    /// Any of them: not to be read as a plain connection is.
    pub(crate) const UNPLAIN: Self = Self(
        Self::RUNNING.0 | Self::LISTENER.0 | Self::CHANNEL.0 | Self::LINKED.0 | Self::CONNECTING.0,
    );
    /// Any of them: a turn may have something to do though nothing has arrived.
    const STIRS: Self = Self(
        Self::KICK.0
            | Self::WANT.0
            | Self::SHARED.0
            | Self::BEGINS.0
            | Self::FILE.0
            | Self::SEALED.0,
    );
    /// Either: no connection of a peer's.
    pub(crate) const NO_PEER: Self = Self(Self::LISTENER.0 | Self::ASIDE.0);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) const fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// One connection or listener.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) ready: Ready,
    pub(crate) armed: Interest,
    pub(crate) flags: Flags,
    /// Counts requests; names the exchange under way.
    pub(crate) seq: u32,
    /// The first of the timers that hang on this connection; 0 is none, else index + 1.
    pub(crate) timers: u32,
    pub(crate) sock: Option<Sock>,
    /// Of a stream: which one it is.
    #[cfg(feature = "h2")]
    pub(crate) link: super::link::Link,
    pub(crate) stack: Stack,
    pub(crate) app: App,
    pub(crate) out: Out,
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) deadline: Option<sul::Handle>,
    /// For when `deadline` is armed; zero if it is not. Its time may have moved on since: the
    /// alarm looks again.
    pub(crate) alarm: Micros,
    pub(crate) why: Reason,
    /// Since when queued output has made no progress, or lingering has lasted.
    pub(crate) since: Micros,
    pub(crate) opened: Micros,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// The pattern of its route, for people to read.
    pub(crate) label: Option<Rc<str>>,
}

impl Slot {
    /// Puts its handler back.
    #[inline(always)]
    pub(super) fn take_back(&mut self, app: App) {
        self.flags.clear(Flags::LENT);
        app.put_back(&mut self.app);
    }

    /// What lies between the socket and the protocol, unless it is out to be fed.
    pub(super) fn channel(&self) -> Option<&Channel> {
        self.extra.as_ref()?.channel.as_deref()
    }

    /// Whether what was written to it, or (`serve`) what waits for it, is looked at when its handler
    /// returns.
    pub(crate) fn is_seen(&self, serve: bool) -> bool {
        self.flags.has(Flags::RUNNING) && (!serve || self.flags.has(Flags::PUMPED))
    }

    pub(crate) fn tail(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.tail.len())
    }

    /// Whether something is still to be sent.
    pub(crate) fn has_output(&self) -> bool {
        // What waits for a handshake cannot be sent.
        !self.out.is_empty() && !self.flags.has(Flags::SHAKING)
            || self.flags.has(Flags(Flags::FILE.0 | Flags::SEALED.0))
    }

    /// Whether a read would be of use now.
    pub(crate) fn wants_read(&self, limits: &Limits) -> bool {
        match self.state {
            State::Open if self.flags.has(Flags::LISTENER) => !self.flags.has(Flags::HELD),
            State::Open => {
                !self.flags.has(Flags(
                    Flags::PAUSED.0 | Flags::EOF.0 | Flags::CONNECTING.0 | Flags::FILE.0,
                )) && self.out.len() <= limits.io.queue_high
                    && (self.tail() == 0 || self.stack.wants_input())
            }
            State::Linger => true,
            State::Free | State::Closing | State::Dead => false,
        }
    }

    /// The directions in which readiness is of use now.
    pub(crate) fn want(&self, limits: &Limits) -> Interest {
        let mut want = Interest::NONE;
        if self.wants_read(limits) {
            want |= Interest::READ;
        }
        if self.has_output() || self.flags.has(Flags::CONNECTING) {
            want |= Interest::WRITE;
        }
        want
    }

    /// Whether a turn has something to do here.
    #[inline(always)]
    pub(crate) fn has_work(&self, limits: &Limits) -> bool {
        let still = self.state == State::Open
            && !self.ready.is_read()
            && self.out.is_empty()
            && !self.flags.has(Flags::STIRS);
        !still && !self.flags.has(Flags::RUNNING) && self.has_work_now(limits)
    }

    fn has_work_now(&self, limits: &Limits) -> bool {
        match self.state {
            State::Free => false,
            State::Dead => true,
            State::Closing => !self.has_output() || self.ready.is_write(),
            State::Linger => self.flags.has(Flags::KICK) || self.ready.is_read(),
            // What else is to be done waits for the connection.
            State::Open if self.flags.has(Flags::CONNECTING) => self.ready.is_write(),
            State::Open => {
                self.flags.has(Flags::KICK)
                    || self.ready.is_read() && self.wants_read(limits)
                    || self.ready.is_write() && self.has_output()
                    || self.wants_writable(limits)
            }
        }
    }

    /// Whether there is room that the handler asked for, or that shared messages wait for.
    pub(crate) fn wants_writable(&self, limits: &Limits) -> bool {
        self.flags.has(Flags(Flags::WANT.0 | Flags::SHARED.0))
            && self.out.len() <= limits.io.queue_low
            && !self.flags.has(Flags(Flags::FILE.0 | Flags::BEGINS.0))
    }

    /// When something is due here: by its protocol, its output or its state.
    fn due(&mut self, now: Micros, limits: &Limits) -> Option<Micros> {
        self.hold_back();
        let since = self.since;
        let stall = || since + limits.io.write_stall;
        match self.state {
            // It is not the peer's next request that is waited for.
            State::Open if self.flags.has(Flags::FILE) => Some(stall()),
            State::Open if self.flags.has(Flags::CONNECTING) => Some(self.connecting_due(limits)),
            State::Open if self.flags.has(Flags::SHAKING) => self.channel().map(Channel::until),
            State::Open if !self.has_output() => self.stack.deadline(now, limits),
            State::Open => {
                Some(self.stack.deadline(now, limits).map_or_else(stall, |at| at.min(stall())))
            }
            State::Closing => Some(stall()),
            State::Linger => Some(self.since + limits.io.linger),
            State::Free | State::Dead => None,
        }
    }

    fn connecting_due(&self, limits: &Limits) -> Micros {
        match self.race() {
            Some(race) => race.due(self.since, &limits.client),
            None => self.since + limits.client.connect,
        }
    }

    /// The race for its connection, if that is to a name and under way.
    pub(super) fn race(&self) -> Option<&Race> {
        self.extra.as_ref()?.race.as_deref()
    }

    /// Stops the clock of a response that is not the peer's to send now.
    pub(crate) fn hold_back(&mut self) {
        if self.flags.has(Flags::PAUSED) || !self.out.is_empty() {
            self.stack.hold();
        }
    }

    /// Sends what is queued, as far as the system takes it. Returns how many bytes it took.
    #[inline]
    pub(crate) fn flush(
        &mut self,
        net: &dyn Net,
        pool: &mut Pool,
        now: Micros,
        limits: &Limits,
    ) -> u64 {
        if self.flags.has(Flags::NOT_PLAIN) {
            return self.flush_other(net, pool, now, limits);
        }
        if self.out.is_empty() { 0 } else { self.flush_bytes(net, pool, now, limits) }
    }

    #[cold]
    fn flush_other(&mut self, net: &dyn Net, pool: &mut Pool, now: Micros, limits: &Limits) -> u64 {
        if self.flags.has(Flags::CHANNEL) {
            self.flush_channel(net, pool, now, limits)
        } else {
            self.flush_file(net, pool, now, limits)
        }
    }

    /// Sends what is in the queue.
    pub(super) fn flush_bytes(
        &mut self,
        net: &dyn Net,
        pool: &mut Pool,
        now: Micros,
        limits: &Limits,
    ) -> u64 {
        let queued = self.out.len();
        let ready = self.ready.is_write() && !self.flags.has(Flags::CONNECTING);
        let (Some(sock), true) = (self.sock, ready) else { return 0 };
        match net.send(sock, &[io::IoSlice::new(self.out.bytes())]) {
            Ok(n) => {
                self.sent += n as u64;
                self.out.advance(n, pool);
                self.since = if n == queued { Micros::ZERO } else { now };
                if n < queued {
                    self.ready = self.ready & !Ready::WRITE;
                }
                self.after_send(queued, limits);
                return n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.ready = self.ready & !Ready::WRITE;
                if self.since == Micros::ZERO {
                    self.since = now;
                }
            }
            // Tried again by whoever finds it writable and not empty.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                self.why = Reason::Io(e.kind());
                self.flags.set(Flags::FAILED);
            }
        }
        0
    }

    /// Lets a connection go on that had stopped because too much output waited.
    pub(super) fn after_send(&mut self, queued: usize, limits: &Limits) {
        let (high, low) = (limits.io.queue_high, limits.io.queue_low);
        if self.flags.has(Flags::BLOCKED) && self.out.len() <= high {
            self.flags.clear(Flags::BLOCKED);
            self.flags.set(Flags::KICK);
        }
        if queued > low && self.out.len() <= low && self.stack.waits_for_drain() {
            self.flags.set(Flags::KICK);
        }
    }
}

/// What only a connection in the middle of something holds; pooled.
#[derive(Default)]
pub(crate) struct Extra {
    /// What lies between the socket and the protocol.
    pub(crate) channel: Option<Box<Channel>>,
    /// Input that its protocol has not consumed yet.
    pub(crate) tail: Vec<u8>,
    /// The message being put together.
    pub(crate) part: Vec<u8>,
    /// How far an attempt has come, of a WebSocket or of what has no protocol yet.
    pub(crate) stages: Option<super::handler::client::Stages>,
    /// A handler that was given out of its turn, to be installed by the next.
    pub(crate) stream: Option<Box<dyn super::handler::http::Handler>>,
    /// What is sent of a file behind the output; `Flags::FILE` tells that it is there.
    pub(crate) file: Option<super::file::Body>,
    /// Shared messages that wait for room.
    pub(crate) pending: super::fanout::Pending,
    /// A connection to a name that is being made.
    pub(super) race: Option<Box<Race>>,
    /// Bytes read away while lingering.
    pub(crate) lingered: usize,
}
/// See [`Core::arm_deadline`].
#[inline(always)]
pub(crate) fn arm(slot: &mut Slot, sched: &mut Sched<What>, limits: &Limits, now: Micros) {
    let armed = slot.alarm != Micros::ZERO;
    let open = slot.state == State::Open && !slot.has_output();
    if armed && open && slot.stack.deadline_moves_on() {
        return;
    }
    let due = slot.due(now, limits);
    match due {
        Some(at) if armed && slot.alarm <= at => {}
        None if !armed => {}
        _ => move_alarm(slot, sched, due, now),
    }
}

#[cold]
fn move_alarm(slot: &mut Slot, sched: &mut Sched<What>, due: Option<Micros>, now: Micros) {
    let Some(deadline) = slot.deadline.filter(|_| !slot.flags.has(Flags::LISTENER)) else { return };
    match due {
        Some(at) => _ = sched.arm(deadline, at, sul::Slack::Coarse, now),
        None => _ = sched.cancel(deadline),
    }
    slot.alarm = due.map_or(Micros::ZERO, |at| at.max(Micros::new(1)));
}

impl core::fmt::Debug for Extra {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Extra").field("tail", &self.tail.len()).finish_non_exhaustive()
    }
}

impl Extra {
    pub(super) fn is_empty(&self) -> bool {
        let held = self.stream.is_some() || self.file.is_some();
        if held || self.channel.is_some() || self.race.is_some() {
            return false;
        }
        self.stages.is_none()
            && self.tail.is_empty()
            && self.part.is_empty()
            && self.pending.is_empty()
            && self.lingered == 0
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection costs is this, a scheduler entry and the handler.
    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Slot>() <= 288, "{}", size_of::<Slot>());
        assert!(size_of::<Stack>() <= 72, "{}", size_of::<Stack>());
    }
}
