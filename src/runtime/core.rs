//! What the runtime holds: connections in slots, work in queues, buffers in pools. Borrowed for
//! one step at a time and never while user code runs.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use lodger_backend::{Event, Interest, Micros, Net, Ready, Sock, Token, Trigger};

use super::entropy::Entropy;
use super::handler::App;
use super::id::{ConnId, Reason};
use super::pages::Pages;
use super::stats::Stats;
use super::timers::{Timer, What};
use crate::Limits;
use crate::io::{Out, Pool, Scratch};
use crate::proto::stack::Stack;
#[cfg(feature = "deflate")]
use crate::proto::ws::handshake::Accept;
use crate::sul::{self, Sched};

/// Bytes that the pool keeps for all connections together.
const POOL: usize = 1 << 20;

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
    /// Any of them: a turn may have something to do though nothing has arrived.
    const STIRS: Self =
        Self(Self::KICK.0 | Self::WANT.0 | Self::SHARED.0 | Self::CONNECTING.0 | Self::FILE.0);
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
    pub(crate) fn tail(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.tail.len())
    }

    /// Whether something is still to be sent.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty() || self.flags.has(Flags::FILE)
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
    #[inline]
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
            State::Open => {
                self.flags.has(Flags::KICK)
                    || self.ready.is_read() && self.wants_read(limits)
                    || self.ready.is_write()
                        && (self.has_output() || self.flags.has(Flags::CONNECTING))
                    || self.wants_writable(limits)
            }
        }
    }

    /// Whether there is room that the handler asked for, or that shared messages wait for.
    pub(crate) fn wants_writable(&self, limits: &Limits) -> bool {
        self.flags.has(Flags(Flags::WANT.0 | Flags::SHARED.0))
            && self.out.len() <= limits.io.queue_low
            && !self.flags.has(Flags::FILE)
    }

    /// When something is due here: by its protocol, its output or its state.
    fn due(&mut self, now: Micros, limits: &Limits) -> Option<Micros> {
        let since = self.since;
        let stall = || since + limits.io.write_stall;
        match self.state {
            // It is not the peer's next request that is waited for.
            State::Open if self.flags.has(Flags::FILE) => Some(stall()),
            State::Open if self.flags.has(Flags::CONNECTING) => {
                Some(self.since + limits.client.connect)
            }
            State::Open if self.out.is_empty() => self.stack.deadline(now, limits),
            State::Open => {
                Some(self.stack.deadline(now, limits).map_or_else(stall, |at| at.min(stall())))
            }
            State::Closing => Some(stall()),
            State::Linger => Some(self.since + limits.io.linger),
            State::Free | State::Dead => None,
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
        if self.flags.has(Flags::FILE) {
            return self.flush_file(net, pool, now, limits);
        }
        if self.out.is_empty() { 0 } else { self.flush_bytes(net, pool, now, limits) }
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
    fn after_send(&mut self, queued: usize, limits: &Limits) {
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
    /// Input that its protocol has not consumed yet.
    pub(crate) tail: Vec<u8>,
    /// The message being put together.
    pub(crate) part: Vec<u8>,
    /// How far a WebSocket's attempt has come.
    pub(crate) stages: Option<super::dial::Stages>,
    /// A handler that was given out of its turn, to be installed by the next.
    pub(crate) stream: Option<Box<dyn super::handler::http::Handler>>,
    /// What is sent of a file behind the output; `Flags::FILE` tells that it is there.
    pub(crate) file: Option<super::file::Body>,
    /// Shared messages that wait for room.
    pub(crate) pending: super::fanout::Pending,
    /// Bytes read away while lingering.
    pub(crate) lingered: usize,
}

/// The buffers of a turn, one per depth of re-entry.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) rx: Vec<u8>,
    pub(crate) scratch: Scratch,
}

/// Whether the runtime runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    On,
    Detached,
    Dead,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) slots: Pages<Slot>,
    pub(crate) runq: VecDeque<u32>,
    pub(crate) dirty: Vec<u32>,
    pub(crate) running: Vec<u32>,
    pub(crate) sched: Sched<What>,
    pub(crate) timers: Pages<Timer>,
    /// Timers of connections whose handler was on the stack when they fell due.
    pub(crate) parked: Vec<sul::Handle>,
    /// Handlers that were given and never got into place.
    pub(crate) orphans: Vec<super::handler::Orphan>,
    /// Listeners that wait for a connection to end.
    pub(crate) held: Vec<u32>,
    pub(crate) pool: Pool,
    #[expect(clippy::vec_box, reason = "slots hold them boxed: a pooled one moves as a pointer")]
    pub(crate) extras: Vec<Box<Extra>>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) events: Vec<Vec<Event>>,
    /// Bytes in all tails together.
    pub(crate) stashed: usize,
    pub(crate) now: Micros,
    pub(crate) depth: u32,
    /// Bit d: the frame at depth d is known to be inside a modal loop.
    pub(crate) modal: u32,
    /// When the turn under way has had its time.
    pub(crate) slice_ends: Micros,
    pub(crate) life: Life,
    /// A turn has been asked for and has not come yet.
    pub(crate) asked: bool,
    /// Sockets to be released through the driver.
    pub(crate) graveyard: Vec<(Token, Sock)>,
    pub(crate) connections: usize,
    /// `shutdown` was called: end when the last connection has gone.
    pub(crate) leaving: bool,
    pub(crate) limits: Rc<Limits>,
    pub(crate) trigger: Trigger,
    pub(crate) stats: Stats,
    /// Turns are timed.
    pub(crate) measures: bool,
    pub(crate) entropy: Entropy,
    pub(crate) date: super::date::DateCache,
    pub(crate) host: String,
}

impl Core {
    pub(crate) fn new(limits: Limits, trigger: Trigger) -> Self {
        Self {
            slots: Pages::new(),
            runq: VecDeque::new(),
            dirty: Vec::new(),
            running: Vec::new(),
            sched: Sched::new(),
            timers: Pages::new(),
            parked: Vec::new(),
            orphans: Vec::new(),
            held: Vec::new(),
            pool: pool(&limits),
            extras: Vec::new(),
            frames: Vec::new(),
            events: Vec::new(),
            stashed: 0,
            now: Micros::ZERO,
            depth: 0,
            modal: 0,
            slice_ends: Micros::ZERO,
            life: Life::On,
            asked: false,
            graveyard: Vec::new(),
            connections: 0,
            leaving: false,
            limits: Rc::new(limits),
            trigger,
            stats: Stats::default(),
            measures: false,
            entropy: Entropy::new(),
            date: super::date::DateCache::new(),
            host: String::new(),
        }
    }

    /// Leaves takeover out of an agreement that there is no memory for.
    #[cfg(feature = "deflate")]
    pub(crate) fn within_engines<'a>(&mut self, accept: &Accept<'a>) -> Accept<'a> {
        let fits = !accept.extensions().keeps_any() || self.pool.engines().has_room_for_pair();
        if fits { *accept } else { accept.without_takeover() }
    }

    /// Gives the slot of a connection that still takes part: `None` is Gone.
    pub(crate) fn open(&mut self, id: ConnId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.index)
            .filter(|slot| slot.generation == id.generation && slot.state == State::Open)
    }

    /// Gives the slot that an id names, in whatever state.
    pub(crate) fn named(&mut self, id: ConnId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.index)
            .filter(|slot| slot.generation == id.generation && slot.state != State::Free)
    }

    /// Puts a socket into a fresh slot.
    pub(crate) fn insert(&mut self, sock: Option<Sock>, stack: Stack, app: App) -> ConnId {
        let index = self.slots.alloc();
        let now = self.now;
        let mut id = ConnId { index, generation: 0 };
        let deadline = self.sched.add(What::Deadline(index));
        if let Some(slot) = self.slots.get_mut(index) {
            id.generation = slot.generation;
            *slot = Slot {
                generation: slot.generation,
                state: State::Open,
                ready: Ready::WRITE,
                sock,
                stack,
                app,
                deadline: Some(deadline),
                opened: now,
                ..Slot::default()
            };
        }
        id
    }

    /// Puts a slot into the run queue, once.
    pub(crate) fn queue(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index)
            && !slot.flags.has(Flags::QUEUED)
        {
            slot.flags.set(Flags::QUEUED);
            self.runq.push_back(index);
        }
    }

    /// Puts a slot into the run queue if a turn has something to do there.
    pub(crate) fn queue_if_work(&mut self, index: u32) {
        let Self { slots, limits, .. } = self;
        if slots.get(index).is_some_and(|slot| slot.has_work(limits)) {
            self.queue(index);
        }
    }

    /// Notes that a slot has output to flush before the turn ends. One that runs is flushed when
    /// its handler returns, or by a turn above it.
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index)
            && !slot.flags.has(Flags(Flags::DIRTY.0 | Flags::RUNNING.0))
        {
            slot.flags.set(Flags::DIRTY);
            self.dirty.push(index);
        }
    }

    /// Has a slot served though nothing has arrived.
    pub(crate) fn kick(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.set(Flags::KICK);
            if !slot.flags.has(Flags::RUNNING) {
                self.queue(index);
            }
        }
    }

    /// Ends a connection now: what is queued is dropped, the handler hears `closed` from a turn.
    pub(crate) fn abort(&mut self, index: u32, why: Reason) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        if matches!(slot.state, State::Free | State::Dead) {
            return;
        }
        if slot.state != State::Linger {
            slot.why = why;
        }
        slot.state = State::Dead;
        slot.flags.clear(Flags::FILE);
        slot.out.clear(&mut self.pool);
        self.stats.aborted += u64::from(!matches!(why, Reason::Done));
        self.let_go(index);
        self.queue(index);
    }

    /// Starts a goodbye: what is queued is sent, then the connection ends.
    pub(crate) fn start_close(&mut self, index: u32, why: Reason, linger: bool) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.state != State::Open {
            return;
        }
        slot.state = State::Closing;
        slot.why = why;
        if linger {
            slot.flags.set(Flags::LINGER);
        }
        if slot.since == Micros::ZERO {
            slot.since = self.now;
        }
        self.queue(index);
    }

    /// Gives the socket to the graveyard, which the turn empties through the driver.
    pub(crate) fn let_go(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index)
            && let Some(sock) = slot.sock.take()
        {
            self.graveyard.push((Token::new(index, slot.generation), sock));
        }
    }

    /// Gives the extra of a slot, attaching a pooled one.
    pub(crate) fn extra(&mut self, index: u32) -> Option<&mut Extra> {
        let slot = self.slots.get_mut(index)?;
        Some(slot.extra.get_or_insert_with(|| self.extras.pop().unwrap_or_default()))
    }

    /// Takes the extra back into the pool if it holds nothing.
    pub(crate) fn drop_empty_extra(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index) {
            drop_empty_extra(slot, &mut self.extras);
        }
    }

    /// Frees a buried slot. Everything of the user's has been taken out before.
    pub(crate) fn free(&mut self, index: u32) {
        self.let_go(index);
        self.free_timers_of(index);
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.out.clear(&mut self.pool);
        if let Some(mut extra) = slot.extra.take() {
            self.stashed -= extra.tail.len();
            self.pool.put(core::mem::take(&mut extra.tail));
            self.pool.put(core::mem::take(&mut extra.part));
        }
        if let Some(deadline) = slot.deadline.take() {
            self.sched.remove(deadline);
        }
        let counts = !slot.flags.has(Flags::NO_PEER);
        *slot = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
        self.slots.free(index);
        if counts {
            self.connections -= 1;
            self.release_held();
        }
    }

    /// Lets the listeners that waited for room try again.
    fn release_held(&mut self) {
        while let Some(index) = self.held.pop() {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.flags.clear(Flags::HELD);
                self.kick(index);
            }
        }
    }

    /// Whether queued work can be done by a turn: what no descriptor announces.
    pub(crate) fn has_work(&self) -> bool {
        !self.runq.is_empty()
            || !self.dirty.is_empty()
            || !self.orphans.is_empty()
            || self
                .running
                .iter()
                .any(|&i| self.slots.get(i).is_some_and(|s| s.has_output() && s.ready.is_write()))
    }

    /// Sends what is queued on a slot; a failure ends it.
    pub(crate) fn flush(&mut self, index: u32, net: &dyn Net) {
        let Self { slots, pool, now, limits, stats, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return };
        stats.sent += slot.flush(net, pool, *now, limits);
        if slot.flags.has(Flags::FAILED) {
            self.abort_failed(index);
        }
    }

    /// Ends a slot whose sending failed.
    #[cold]
    pub(crate) fn abort_failed(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.clear(Flags::FAILED);
            let why = slot.why;
            self.abort(index, why);
        }
    }

    /// Programs the one alarm of a slot. One that is armed for earlier stays: it looks again when
    /// it fires, so a deadline that only moves on costs a comparison.
    pub(crate) fn arm_deadline(&mut self, index: u32) {
        let Self { slots, sched, limits, now, .. } = self;
        if let Some(slot) = slots.get_mut(index) {
            arm(slot, sched, limits, *now);
        }
    }
}

/// See [`Core::drop_empty_extra`].
#[expect(clippy::vec_box, reason = "slots hold them boxed: a pooled one moves as a pointer")]
pub(crate) fn drop_empty_extra(slot: &mut Slot, extras: &mut Vec<Box<Extra>>) {
    let empty = slot.extra.as_ref().is_some_and(|e| e.is_empty());
    if empty && let Some(mut extra) = slot.extra.take() {
        extra.lingered = 0;
        if extras.len() < 64 {
            extras.push(extra);
        }
    }
}

#[cfg_attr(not(feature = "deflate"), expect(unused_variables, reason = "only engines need it"))]
fn pool(limits: &Limits) -> Pool {
    let pool = Pool::new(POOL);
    #[cfg(feature = "deflate")]
    let pool = pool.engines_within(limits.io.engines);
    pool
}

/// See [`Core::arm_deadline`].
#[inline]
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
    fn is_empty(&self) -> bool {
        if self.stream.is_some() || self.file.is_some() {
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
