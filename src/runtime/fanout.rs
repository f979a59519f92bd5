//! One message to many connections: encoded once, sent at once where nothing waits, and kept
//! outside of the output for those that are slow, so that the oldest can be dropped.
//!
//! Invariant: `Flags::SHARED` is set exactly while messages wait in `Extra::pending`.
//! Invariant: what waits is older than whatever is put into the output later: a send to one
//! connection alone moves it there first.

use std::boxed::Box;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::{Micros, Net, Ready};

use super::Handle;
use super::core::{Core, drop_empty_extra};
use super::handler::http::ExchangeId;
use super::id::{ConnId, Reason};
use super::slot::{Extra, Flags, Slot};
use crate::io::{Pool, Tx};
use crate::proto::Cx;
#[cfg(feature = "ws")]
use crate::proto::stack::Stack;
use crate::proto::stack::{Cargo, Parcel, Shared, Takes};
use crate::{Error, FormLimits, Limits};

/// From this size on, in bytes, a message goes to the system without a copy into the output.
const DIRECT: usize = 1 << 10;
/// Beyond this many peers every message does: else each would hold a buffer until the turn ends.
const CORKED: usize = 64;
/// A list of waiting messages that has grown beyond this is not kept for the next connection.
const KEEP: usize = 64;

/// What becomes of a message for a peer that does not read as fast as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WhenFull {
    /// It misses this message, and hears the next for which there is room. A peer is full above
    /// [`IoLimits::queue_high`](crate::IoLimits::queue_high).
    DropNewest,
    /// This message waits, and beyond `messages` (at least 1) or `queue_high` bytes the oldest
    /// that waits is dropped: what it hears at last is the latest. A peer is full above
    /// [`IoLimits::queue_low`](crate::IoLimits::queue_low).
    DropOldest {
        /// How many wait at most.
        messages: u32,
    },
    /// It is closed: a WebSocket with this code, such as 1008 or 1013 (1011 in place of one that
    /// may not be sent); a response without its end. For peers that must not miss anything: they
    /// come back and resume. A peer is full above `queue_high`.
    Close(u16),
}

/// What became of one message, in peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Delivery {
    /// It is sent, or in their output.
    pub sent: usize,
    /// It waits for them to read.
    pub waiting: usize,
    /// They missed a message: this one, or with [`WhenFull::DropOldest`] an older one.
    pub dropped: usize,
    /// They were full and were closed.
    pub closed: usize,
    /// They had gone, and were taken off the list.
    pub gone: usize,
}

/// Shared messages that wait for one connection's output to drain.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: VecDeque<Rc<Shared>>,
    bytes: usize,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, shared: Rc<Shared>) {
        self.bytes += shared.len();
        self.queue.push_back(shared);
    }

    fn pop(&mut self) -> Option<Rc<Shared>> {
        let first = self.queue.pop_front()?;
        self.bytes -= first.len();
        if self.queue.is_empty() && self.queue.capacity() > KEEP {
            self.queue = VecDeque::new();
        }
        Some(first)
    }

    /// Drops the oldest until the rest is within bounds, the newest excepted. `true` if any was.
    fn trim(&mut self, messages: usize, bytes: usize) -> bool {
        let mut dropped = false;
        while self.queue.len() > 1 && (self.queue.len() > messages || self.bytes > bytes) {
            self.pop();
            dropped = true;
        }
        dropped
    }
}

/// One message on its way to many.
struct Job<'a> {
    parcel: Parcel<'a>,
    rule: Rule,
    /// It is sent without a copy where nothing else waits.
    direct: bool,
    /// The message kept, made for the first peer that must wait.
    kept: Option<Rc<Shared>>,
    made: &'a dyn Fn() -> Rc<Shared>,
    done: Delivery,
}

/// What a list of peers does with those that are full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) when: WhenFull,
    /// Output, in bytes, above which a peer is full; `None` for that of the policy.
    pub(crate) above: Option<usize>,
    /// One that does not hear this message.
    pub(crate) except: Option<ConnId>,
}

impl Rule {
    fn mark(&self, limits: &Limits) -> usize {
        match self.when {
            WhenFull::DropOldest { .. } => limits.io.queue_low,
            WhenFull::DropNewest | WhenFull::Close(_) => self.above.unwrap_or(limits.io.queue_high),
        }
    }
}

impl Handle {
    /// Sends one message to all `peers`; those that have gone are taken off. `kept` gives it with
    /// memory of its own, and is asked at most once.
    pub(crate) fn fan_out(
        &self,
        peers: &mut BTreeSet<ExchangeId>,
        parcel: Parcel<'_>,
        rule: Rule,
        kept: &dyn Fn() -> Rc<Shared>,
    ) -> Delivery {
        let direct = parcel.wire.len() >= DIRECT || peers.len() > CORKED;
        let done = Delivery::default();
        let mut job = Job { parcel, rule, direct, kept: None, made: kept, done };
        let mut core = self.core();
        self.time(&mut core);
        peers.retain(|&peer| {
            rule.except == Some(peer.conn()) || self.give(&mut core, peer, &mut job)
        });
        job.done
    }

    /// Sends one message to one peer whatever waits there. `false`: it has gone.
    pub(crate) fn hand(&self, peer: ExchangeId, parcel: &Parcel<'_>) -> bool {
        let mut core = self.core();
        self.time(&mut core);
        let Some(slot) = core.peer(peer) else { return false };
        if slot.stack.takes(parcel.cargo) != Takes::Yes {
            return false;
        }
        self.append(&mut core, peer.conn().index, parcel);
        true
    }

    /// Checks that a message may be sent at all.
    ///
    /// # Errors
    ///
    /// Misuse: it is over [`IoLimits::send`](crate::IoLimits::send).
    pub(crate) fn check_size(&self, len: usize) -> Result<(), Error> {
        if len > self.core().limits.io.send {
            return Err(Error::misuse("the message is over the limit for one send"));
        }
        Ok(())
    }

    /// Gives the limits of forms.
    pub(crate) fn form_limits(&self) -> FormLimits {
        self.core().limits.form
    }

    /// Gives a fresh buffer of the runtime's, for one encoding.
    pub(crate) fn lend(&self) -> Vec<u8> {
        self.core().pool.take()
    }

    /// Takes a lent buffer back.
    pub(crate) fn give_back(&self, buf: Vec<u8>) {
        self.core().pool.put(buf);
    }

    /// Sends the message to one peer. `false`: it is to be taken off the list.
    fn give(&self, core: &mut Core, peer: ExchangeId, job: &mut Job<'_>) -> bool {
        let mark = job.rule.mark(&core.limits);
        let index = peer.conn().index;
        let Some(slot) = core.peer(peer) else {
            job.done.gone += 1;
            return false;
        };
        let takes = slot.stack.takes(job.parcel.cargo);
        if takes == Takes::Never {
            job.done.gone += 1;
            return false;
        }
        let full = slot.out.len() > mark || slot.flags.has(Flags::SHARED);
        if full || takes == Takes::Busy {
            return self.give_full(core, index, job, takes == Takes::Busy);
        }
        job.done.sent += 1;
        let busy = Flags(Flags::RUNNING.0 | Flags::CHANNEL.0);
        let now = slot.out.is_empty() && slot.ready.is_write() && !slot.flags.has(busy);
        if job.direct && now {
            self.send_now(core, index, &job.parcel);
        } else {
            self.append(core, index, &job.parcel);
        }
        true
    }

    /// Does with a full peer what the policy says.
    fn give_full(&self, core: &mut Core, index: u32, job: &mut Job<'_>, busy: bool) -> bool {
        match job.rule.when {
            WhenFull::Close(code) => {
                job.done.closed += 1;
                self.close_slow(core, index, code);
                return false;
            }
            WhenFull::DropOldest { messages } if !busy => {
                job.done.waiting += 1;
                let shared = Rc::clone(job.kept.get_or_insert_with(job.made));
                let dropped = core.keep(index, shared, messages);
                job.done.dropped += usize::from(dropped);
            }
            WhenFull::DropOldest { .. } | WhenFull::DropNewest => job.done.dropped += 1,
        }
        true
    }

    /// Appends a parcel to the output, behind what waits outside of it.
    fn append(&self, core: &mut Core, index: u32, parcel: &Parcel<'_>) {
        let Core { slots, pool, extras, entropy, limits, now, .. } = core;
        let Some(slot) = slots.get_mut(index) else { return };
        let net = &*self.0.net;
        let mut random = || entropy.next(net);
        let mut cx = Cx { now: *now, limits, random: &mut random };
        if slot.flags.has(Flags::SHARED) {
            slot.put_pending(&mut cx, pool, extras, usize::MAX);
        }
        slot.stack.put_parcel(&mut cx, &mut Tx::new(&mut slot.out, pool), parcel);
        // What is sent to the connection whose handler runs goes out when it returns.
        if !slot.flags.has(Flags::RUNNING) || core.modal != 0 {
            self.touch(core, index, false);
        }
    }

    /// Gives a parcel to the system; what it does not take goes into the output, which is empty.
    fn send_now(&self, core: &mut Core, index: u32, parcel: &Parcel<'_>) {
        let Core { slots, pool, limits, now, stats, .. } = core;
        let Some(slot) = slots.get_mut(index) else { return };
        let Some(bytes) = slot.stack.share(parcel) else {
            self.append(core, index, parcel);
            return;
        };
        stats.sent += slot.send_now(bytes, &*self.0.net, pool, *now);
        if slot.flags.has(Flags::FAILED) {
            core.abort_failed(index);
            self.ask(core);
        } else if !slot.out.is_empty() {
            super::slot::arm(slot, &mut core.sched, limits, *now);
            self.sync(core, index);
            self.reprogram(core);
        }
    }

    /// Closes a peer that is too slow, politely where its protocol can say why.
    #[cold]
    #[cfg_attr(not(feature = "ws"), expect(unused_variables, reason = "only frames have codes"))]
    fn close_slow(&self, core: &mut Core, index: u32, code: u16) {
        let Core { slots, pool, entropy, limits, now, .. } = core;
        let Some(slot) = slots.get_mut(index) else { return };
        #[cfg(feature = "ws")]
        if let Stack::Ws(ws) = &mut slot.stack {
            let net = &*self.0.net;
            let mut random = || entropy.next(net);
            let mut cx = Cx { now: *now, limits, random: &mut random };
            let mut tx = Tx::new(&mut slot.out, pool);
            if ws.close(&mut cx, &mut tx, code, "").is_err() {
                // Only a code that may not be sent.
                let _ = ws.close(&mut cx, &mut tx, 1011, "");
            }
            self.touch(core, index, true);
            return;
        }
        core.abort(index, Reason::WriteStall);
        self.ask(core);
    }
}

impl Core {
    /// Gives the slot that a peer's exchange is under way on.
    fn peer(&mut self, peer: ExchangeId) -> Option<&mut Slot> {
        self.open(peer.conn()).filter(|slot| slot.seq == peer.seq())
    }

    /// Lets a message wait for room. Tells whether an older one was dropped for it.
    fn keep(&mut self, index: u32, shared: Rc<Shared>, messages: u32) -> bool {
        let bytes = self.limits.io.queue_high;
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        let Some(extra) = self.extra(index) else { return true };
        extra.pending.push(shared);
        let dropped = extra.pending.trim(messages, bytes);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.set(Flags::SHARED);
        }
        dropped
    }
}

impl Slot {
    /// Moves waiting messages into the output until that has more than `mark` bytes.
    #[expect(clippy::vec_box, reason = "slots hold them boxed: a pooled one moves as a pointer")]
    pub(crate) fn put_pending(
        &mut self,
        cx: &mut Cx<'_>,
        pool: &mut Pool,
        extras: &mut Vec<Box<Extra>>,
        mark: usize,
    ) {
        let Self { extra, stack, out, flags, .. } = self;
        let Some(pending) = extra.as_mut().map(|extra| &mut extra.pending) else { return };
        while out.len() <= mark {
            let Some(shared) = pending.pop() else { break };
            stack.put_parcel(cx, &mut Tx::new(out, pool), &shared.parcel());
        }
        if pending.is_empty() {
            flags.clear(Flags::SHARED);
            drop_empty_extra(self, extras);
        }
    }

    /// Sends `bytes` as far as the system takes them; the rest is queued. Nothing is queued before.
    fn send_now(&mut self, bytes: &[u8], net: &dyn Net, pool: &mut Pool, now: Micros) -> u64 {
        let Some(sock) = self.sock.filter(|_| !bytes.is_empty()) else { return 0 };
        let sent = match net.send(sock, &[io::IoSlice::new(bytes)]) {
            Ok(n) => n.min(bytes.len()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => {
                self.why = Reason::Io(e.kind());
                self.flags.set(Flags::FAILED);
                return 0;
            }
        };
        self.sent += sent as u64;
        let rest = bytes.get(sent..).unwrap_or_default();
        if !rest.is_empty() {
            self.ready = self.ready & !Ready::WRITE;
            self.since = now;
            Tx::new(&mut self.out, pool).put(rest);
        }
        sent as u64
    }
}

impl Handle {
    /// Gives what names a WebSocket among peers; `None` if it is none, or has gone.
    #[cfg(feature = "ws")]
    pub(crate) fn websocket_peer(&self, id: ConnId) -> Option<ExchangeId> {
        let mut core = self.core();
        let slot = core.open(id).filter(|slot| matches!(slot.stack, Stack::Ws(_)))?;
        Some(ExchangeId::new(id, slot.seq))
    }

    /// Whether a peer is still there.
    pub(crate) fn has_peer(&self, id: ExchangeId) -> bool {
        self.core().peer(id).is_some()
    }

    /// Whether an exchange's response is under way.
    pub(crate) fn is_streaming_to(&self, id: ExchangeId) -> bool {
        let mut core = self.core();
        core.peer(id).is_some_and(|slot| slot.stack.takes(Cargo::Piece) == Takes::Yes)
    }
}
