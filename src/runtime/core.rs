//! What the runtime holds: connections in slots, work in queues, buffers in pools. Borrowed for
//! one step at a time and never while user code runs.

use std::collections::VecDeque;
use std::rc::Rc;

use lodger_backend::{Event, Micros, Net, Ready, Sock, Token, Trigger};

use super::entropy::Entropy;
use super::handler::App;
use super::id::{ConnId, Reason};
use super::pages::Pages;
use super::race;
use super::slot::{Extra, Flags, Slot, State, arm};
use super::stats::Stats;
use super::timers::{Timer, What};
use crate::Limits;
use crate::io::{Pool, Scratch};
use crate::proto::stack::Stack;
#[cfg(feature = "deflate")]
use crate::proto::ws::handshake::Accept;
use crate::sul::{self, Sched};

/// Bytes that the pool keeps for all connections together.
const POOL: usize = 1 << 20;

/// The buffers of a turn, one per depth of re-entry.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) rx: Vec<u8>,
    /// What arrived sealed. Empty until there is such a connection.
    pub(crate) sealed: Vec<u8>,
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
    /// Handshakes begun in this turn.
    pub(crate) shakes: u32,
    /// Connections whose handshake begins in the next turn.
    pub(crate) later: Vec<u32>,
    /// Listeners that wait for a connection to end.
    pub(crate) held: Vec<u32>,
    pub(crate) pool: Pool,
    #[expect(clippy::vec_box, reason = "slots hold them boxed: a pooled one moves as a pointer")]
    pub(crate) extras: Vec<Box<Extra>>,
    pub(crate) frames: Vec<Frame>,
    /// For what a stream's handler hears while its connection's is in use.
    #[cfg(feature = "h2")]
    pub(crate) scratches: Vec<Scratch>,
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
            shakes: 0,
            later: Vec::new(),
            held: Vec::new(),
            pool: pool(&limits),
            extras: Vec::new(),
            frames: Vec::new(),
            #[cfg(feature = "h2")]
            scratches: Vec::new(),
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
        #[cfg(feature = "h2")]
        if slot.flags.has(Flags::LINKED) {
            self.cut(index, why);
        }
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.flags.clear(Flags(Flags::FILE.0 | Flags::SEALED.0));
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
        if slot.flags.has(Flags::CONNECTING) {
            // Nobody is there to say goodbye to, and what is queued cannot be sent.
            return self.abort(index, why);
        }
        slot.state = State::Closing;
        slot.why = why;
        if linger {
            slot.flags.set(Flags::LINGER);
        }
        if slot.since == Micros::ZERO {
            slot.since = self.now;
        }
        #[cfg(feature = "h2")]
        if slot.flags.has(Flags::STREAMS) {
            self.cut(index, why);
        }
        self.queue(index);
    }

    /// Gives the socket to the graveyard, which the turn empties through the driver.
    pub(crate) fn let_go(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let races = slot.flags.has(Flags::CONNECTING);
        if let Some(sock) = slot.sock.take() {
            self.graveyard.push((Token::new(index, race::watched_as(slot)), sock));
        }
        if races {
            self.end_race(index);
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
        drop(self.take_channel(index));
        #[cfg(feature = "h2")]
        self.release_stream(index);
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
        let counts = !slot.flags.has(Flags(Flags::NO_PEER.0 | Flags::STREAM.0));
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
            || !self.later.is_empty()
            || !self.dirty.is_empty()
            || !self.orphans.is_empty()
            || self
                .running
                .iter()
                .any(|&i| self.slots.get(i).is_some_and(|s| s.has_output() && s.ready.is_write()))
    }

    /// Sends what is queued on a slot; a failure ends it.
    pub(crate) fn flush(&mut self, index: u32, net: &dyn Net) {
        #[cfg(feature = "h2")]
        if self.flush_linked(index, net) {
            return;
        }
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
