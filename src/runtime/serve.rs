//! One item of the run queue: read, hand to the protocol, flush; or one step of ending.

use std::cell::RefMut;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lodger_backend::{Micros, Net, Ready, Trigger};

use super::core::{Core, Frame};
use super::handler::App;
use super::id::{ConnId, Reason};
use super::slot::{Flags, Slot, State, arm};
use super::stats::Stats;
use super::{Handle, channel, dial, ending, listen, pump};
use crate::io::{Rx, Scratch, Tx};
use crate::proto::stack::{Farewell, Flow, Stack};
use crate::{Error, Limits};

/// What came of running user code.
pub(crate) enum Outcome {
    Fine,
    /// The protocol gave up; its goodbye is in the output.
    Broke(Error),
    Panicked,
}

/// A handler that is out of its slot while it runs.
pub(super) struct Lent {
    pub(super) id: ConnId,
    pub(super) app: App,
    /// Its input is credited to the connection that carries it.
    #[cfg(feature = "h2")]
    is_stream: bool,
}

/// What a read brought.
pub(super) struct Filled {
    pub(super) len: usize,
    pub(super) eof: bool,
    /// It is served for another reason than input.
    pub(super) kicked: bool,
}

/// What is to be done with a slot that was looked at.
enum Next {
    /// Its handler is out, to be told of input.
    Run(Filled, Lent),
    /// Nothing is to be handed on.
    Rest,
    /// It is no plain open connection: see [`serve_other`].
    Other,
}

/// Serves one slot as far as one read goes.
pub(crate) fn serve(h: &Handle, mut core: RefMut<'_, Core>, frame: &mut Frame, index: u32) {
    match fill(&mut core, &*h.0.net, frame, index, false) {
        Next::Run(filled, lent) => {
            drop(core);
            run(h, frame, &filled, lent);
        }
        Next::Rest => after(h, &mut core, index),
        Next::Other => serve_other(h, core, frame, index),
    }
}

/// Serves a slot that ends, listens, is being connected, shares its output or has a channel.
fn serve_other<'a>(h: &'a Handle, mut core: RefMut<'a, Core>, frame: &mut Frame, index: u32) {
    let Some(slot) = core.slots.get_mut(index) else { return };
    if slot.flags.has(Flags::RUNNING) {
        return;
    }
    match slot.state {
        State::Free => {}
        State::Dead => {
            drop(core);
            ending::bury(h, index);
        }
        State::Closing => {
            drop(core);
            ending::drain(h, index);
        }
        State::Linger => ending::linger(h, &mut core, frame, index),
        State::Open if slot.flags.has(Flags::LISTENER) => {
            drop(core);
            listen::accept(h, index);
        }
        State::Open => {
            let secured = slot.flags.has(Flags::CHANNEL);
            if slot.flags.has(Flags::CONNECTING) && slot.sock.is_none() {
                drop(core);
                if !h.race_on(index) {
                    return;
                }
                core = h.core();
            }
            if secured {
                drop(core);
                channel::serve(h, frame, index);
                return;
            }
            serve_settled(h, core, frame, index);
        }
    }
}

/// Serves what shares its output, or may be connected by now.
fn serve_settled(h: &Handle, mut core: RefMut<'_, Core>, frame: &mut Frame, index: u32) {
    let net = &*h.0.net;
    let settled = settle(&mut core, net, index).is_some();
    let next = if settled { fill(&mut core, net, frame, index, true) } else { Next::Rest };
    if let Next::Run(filled, lent) = next {
        drop(core);
        run(h, frame, &filled, lent);
    } else {
        after(h, &mut core, index);
    }
}

/// Hands what was read to the protocol and its handler, and puts everything back.
pub(super) fn run(h: &Handle, frame: &mut Frame, filled: &Filled, lent: Lent) {
    let Frame { rx, scratch, .. } = frame;
    let mut rx = Rx::new(rx.get_mut(..filled.len).unwrap_or_default(), filled.eof);
    run_rx(h, &mut rx, scratch, filled.kicked, lent);
}

/// As [`run`], with input from anywhere.
fn run_rx(h: &Handle, rx: &mut Rx<'_>, scratch: &mut Scratch, kicked: bool, mut lent: Lent) {
    let mut heard = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        if kicked {
            pump::kicked(h, lent.id, &mut lent.app);
        }
        let pumped = pump::pump(h, lent.id, rx, scratch, &mut lent.app, &mut heard);
        #[cfg(feature = "mqtt")]
        if let App::Mqtt(link) = &mut lent.app {
            link.settled(h);
        }
        pumped
    }));
    let outcome = match ran {
        Ok(Ok(())) => Outcome::Fine,
        Ok(Err(e)) => Outcome::Broke(e),
        Err(_) => Outcome::Panicked,
    };
    let mut core = h.core();
    core.stats.messages += heard;
    if !rx.is_empty() {
        stash(&mut core, lent.id.index, rx.peek());
    }
    #[cfg(feature = "h2")]
    let index = lent.id.index;
    #[cfg(feature = "h2")]
    if lent.is_stream {
        core.credit(index, rx.consumed());
        finish(h, &mut core, lent, &outcome);
        drop(core);
        h.settle_stream(index);
        return;
    }
    finish(h, &mut core, lent, &outcome);
}

/// Hands a stream's input to its handler, which does not run.
#[cfg(feature = "h2")]
pub(super) fn feed(h: &Handle, index: u32, rx: &mut Rx<'_>, scratch: &mut Scratch) {
    let lent = lend(&mut h.core(), index);
    if let Some(lent) = lent {
        run_rx(h, rx, scratch, false, lent);
    }
}

/// Runs `f` with the handler of a fresh stream.
#[cfg(feature = "h2")]
pub(super) fn begin_stream(
    h: &Handle,
    index: u32,
    app: App,
    f: impl FnOnce(&Handle, ConnId, &mut App),
) {
    let lent = lend(&mut h.core(), index);
    let Some(mut lent) = lent else { return };
    lent.app = app;
    let ran = catch_unwind(AssertUnwindSafe(|| f(h, lent.id, &mut lent.app)));
    let outcome = if ran.is_ok() { Outcome::Fine } else { Outcome::Panicked };
    finish(h, &mut h.core(), lent, &outcome);
    h.settle_stream(index);
}

/// Runs `f` with a connection's handler out of its slot, outside of reading.
pub(crate) fn with_handler(h: &Handle, index: u32, f: impl FnOnce(&Handle, ConnId, &mut App)) {
    let lent = {
        let mut core = h.core();
        let open = core.slots.get(index).is_some_and(|s| s.state == State::Open);
        if open { begin(&mut core, index) } else { None }
    };
    let Some(mut lent) = lent else { return };
    let ran = catch_unwind(AssertUnwindSafe(|| f(h, lent.id, &mut lent.app)));
    let outcome = if ran.is_ok() { Outcome::Fine } else { Outcome::Panicked };
    finish(h, &mut h.core(), lent, &outcome);
    #[cfg(feature = "h2")]
    h.settle_stream(index);
}

/// Takes the handler out of its slot, to be told of input.
pub(super) fn lend(core: &mut Core, index: u32) -> Option<Lent> {
    let Core { slots, running, .. } = core;
    Some(lend_slot(slots.get_mut(index)?, running, index))
}

/// As [`lend`], of a slot that has been found.
#[inline(always)]
fn lend_slot(slot: &mut Slot, running: &mut Vec<u32>, index: u32) -> Lent {
    slot.flags.set(Flags::LENT);
    running.push(index);
    Lent {
        id: ConnId { index, generation: slot.generation },
        app: core::mem::take(&mut slot.app),
        #[cfg(feature = "h2")]
        is_stream: slot.flags.has(Flags::STREAM),
    }
}

/// Takes the handler out of its slot.
pub(super) fn begin(core: &mut Core, index: u32) -> Option<Lent> {
    let slot = core.slots.get_mut(index)?;
    if slot.flags.has(Flags::RUNNING) {
        return None;
    }
    slot.flags.set(Flags::RUNNING);
    let lent = Lent {
        id: ConnId { index, generation: slot.generation },
        app: core::mem::take(&mut slot.app),
        #[cfg(feature = "h2")]
        is_stream: slot.flags.has(Flags::STREAM),
    };
    core.running.push(index);
    Some(lent)
}

/// Puts the handler back and does what waited for its return.
pub(super) fn finish(h: &Handle, core: &mut Core, lent: Lent, outcome: &Outcome) {
    let Lent { id, app, .. } = lent;
    let index = id.index;
    // Handlers return in the reverse order of their calls.
    if core.running.pop() != Some(index) {
        core.running.retain(|&i| i != index);
    }
    if matches!(outcome, Outcome::Fine) && core.parked.is_empty() {
        return end_step(h, core, index, |slot| slot.take_back(app));
    }
    if let Some(slot) = core.slots.get_mut(index) {
        slot.take_back(app);
    }
    core.unpark();
    match outcome {
        Outcome::Fine => {}
        Outcome::Broke(e) => broke(core, index, *e, &*h.0.net),
        Outcome::Panicked => panicked(core, index, &*h.0.net),
    }
    after(h, core, index);
}

/// The common end of a step: see whether the protocol is done, flush, arm, queue what is left.
pub(super) fn after(h: &Handle, core: &mut Core, index: u32) {
    end_step(h, core, index, |_| {});
}

/// As [`after`], with what is to be done to the slot before.
#[inline(always)]
fn end_step(h: &Handle, core: &mut Core, index: u32, before: impl FnOnce(&mut Slot)) {
    let Core { slots, pool, sched, limits, now, trigger, stats, .. } = core;
    let Some(slot) = slots.get_mut(index) else { return };
    before(slot);
    if slot.state == State::Open {
        let ended = slot.flags.has(Flags::EOF) && slot.tail() == 0;
        let flow = slot.stack.flow(ended);
        if flow != Flow::Open {
            ends(h, core, index, flow);
            return;
        }
    }
    if slot.flags.has(Flags::LINKED) {
        after_linked(h, core, index);
        return;
    }
    stats.sent += slot.flush(&*h.0.net, pool, *now, limits);
    arm(slot, sched, limits, *now);
    let (work, failed) = (slot.has_work(limits), slot.flags.has(Flags::FAILED));
    let edge = *trigger == Trigger::Edge;
    if failed {
        core.abort_failed(index);
    }
    if work {
        core.queue(index);
    }
    if !edge {
        h.sync(core, index);
    }
}

/// As [`after`], for what shares its output.
#[cold]
fn after_linked(h: &Handle, core: &mut Core, index: u32) {
    core.flush(index, &*h.0.net);
    core.arm_deadline(index);
    core.queue_if_work(index);
    h.sync(core, index);
}

/// The protocol has nothing more to do, or its peer has gone.
fn ends(h: &Handle, core: &mut Core, index: u32, flow: Flow) {
    let why = core.slots.get(index).map(|slot| slot.why).unwrap_or_default();
    match flow {
        Flow::Open => {}
        Flow::Done { linger } => core.start_close(index, why, linger),
        Flow::Lost => core.abort(index, Reason::Eof),
    }
    core.flush(index, &*h.0.net);
    core.arm_deadline(index);
    core.queue_if_work(index);
    h.sync(core, index);
}

fn broke(core: &mut Core, index: u32, e: Error, net: &dyn Net) {
    let Core { slots, pool, date, now, .. } = core;
    let Some(slot) = slots.get_mut(index) else { return };
    if let Stack::H1(http) = &mut slot.stack {
        http.goodbye(&mut Tx::new(&mut slot.out, pool), e, Some(date.get(*now, net)));
    }
    let idle = slot.stack.is_idle();
    let why = match slot.flags.has(Flags::EOF) {
        _ if idle => Reason::Done,
        true => Reason::Eof,
        false => Reason::Peer(e),
    };
    // TLS ends by saying so: RFC 8446, section 6.1.
    let says = slot.flags.has(Flags::CHANNEL) && !slot.flags.has(Flags::SHAKING);
    if slot.has_output() && !slot.flags.has(Flags::STREAM) {
        core.start_close(index, why, true);
    } else if says {
        core.start_close(index, why, !idle);
    } else {
        core.abort(index, why);
    }
}

/// A handler that panics loses its connection, nothing else: it hears 500 or 1011 where its
/// protocol can still say so.
fn panicked(core: &mut Core, index: u32, net: &dyn Net) {
    core.stats.panics += 1;
    #[cfg(feature = "h2")]
    core.stream_panicked(index);
    core.farewell(index, Farewell::Panic, net);
    core.start_close(index, Reason::Panic, true);
}

/// Looks at what is still being connected, and sends what is not its own output alone.
fn settle(core: &mut Core, net: &dyn Net, index: u32) -> Option<()> {
    if core.slots.get(index)?.flags.has(Flags::CONNECTING) {
        dial::connected(core, net, index)?;
    }
    if core.slots.get(index)?.flags.has(Flags::LINKED) {
        core.flush(index, net);
    }
    Some(())
}

/// Puts the leftover of last time to the front of the buffer, reads behind it, once, and takes the
/// handler out. `settled`: it is no plain connection, and [`settle`] has looked at it.
#[inline(always)]
fn fill(core: &mut Core, net: &dyn Net, frame: &mut Frame, index: u32, settled: bool) -> Next {
    let Core { slots, limits, pool, now, stats, running, .. } = core;
    let Some(slot) = slots.get_mut(index) else { return Next::Other };
    if !settled {
        slot.flags.clear(Flags::QUEUED);
    }
    if slot.state != State::Open || !settled && slot.flags.has(Flags::UNPLAIN) {
        return Next::Other;
    }
    stats.sent += slot.flush(net, pool, *now, limits);
    let kicked = slot.flags.has(Flags::KICK) || slot.wants_writable(limits);
    let reads = slot.ready.is_read() && slot.wants_read(limits);
    slot.flags.clear(Flags::KICK);
    if !kicked && !reads || slot.flags.has(Flags::FAILED) {
        return Next::Rest;
    }
    let mut filled = Filled { len: 0, eof: false, kicked };
    if slot.extra.is_some() {
        return fill_behind(core, net, frame, index, reads, filled).unwrap_or(Next::Rest);
    }
    if reads && let Err(e) = read(slot, net, &mut frame.rx, &mut filled, stats) {
        core.abort(index, Reason::Io(e));
        return Next::Rest;
    }
    filled.eof = slot.flags.has(Flags::EOF);
    Next::Run(filled, lend_slot(slot, running, index))
}

/// The end of [`fill`], where there may be a leftover.
fn fill_behind(
    core: &mut Core,
    net: &dyn Net,
    frame: &mut Frame,
    index: u32,
    reads: bool,
    mut filled: Filled,
) -> Option<Next> {
    filled.len = unstash(core, frame, index);
    let Core { slots, stats, .. } = core;
    let slot = slots.get_mut(index)?;
    if reads && let Err(e) = read(slot, net, &mut frame.rx, &mut filled, stats) {
        core.abort(index, Reason::Io(e));
        return None;
    }
    filled.eof = slot.flags.has(Flags::EOF);
    Some(Next::Run(filled, lend(core, index)?))
}

/// Reads once, behind what is in `buffer` already.
#[inline(always)]
pub(super) fn read(
    slot: &mut Slot,
    net: &dyn Net,
    buffer: &mut [u8],
    filled: &mut Filled,
    stats: &mut Stats,
) -> Result<(), io::ErrorKind> {
    let room = buffer.get_mut(filled.len..).unwrap_or_default();
    let (Some(sock), false) = (slot.sock, room.is_empty()) else { return Ok(()) };
    let size = room.len();
    match net.recv(sock, room) {
        // A datagram may be empty: what is behind it is there at the next call.
        Ok(0) if slot.flags.has(Flags::DATAGRAM) => {}
        Ok(0) => slot.flags.set(Flags::EOF),
        Ok(n) => {
            filled.len += n;
            slot.received += n as u64;
            stats.received += n as u64;
            // A short read has emptied the socket, unless its end was announced as well.
            if n < size && !slot.ready.is_hup() {
                slot.ready = slot.ready & !Ready::READ;
            }
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            slot.ready = slot.ready & !Ready::READ;
        }
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
        Err(e) => return Err(e.kind()),
    }
    Ok(())
}

/// Moves the tail into the buffer; gives its length.
pub(super) fn unstash(core: &mut Core, frame: &mut Frame, index: u32) -> usize {
    let Core { slots, pool, stashed, limits, .. } = core;
    let Some(extra) = slots.get_mut(index).and_then(|slot| slot.extra.as_mut()) else { return 0 };
    let len = extra.tail.len();
    if len == 0 {
        core.drop_empty_extra(index);
        return 0;
    }
    if frame.rx.len() < len {
        frame.rx.resize(len + limits.io.receive, 0);
    }
    if let Some(front) = frame.rx.get_mut(..len) {
        front.copy_from_slice(&extra.tail);
    }
    *stashed -= len;
    pool.put(core::mem::take(&mut extra.tail));
    core.drop_empty_extra(index);
    len
}

/// Keeps what the protocol did not consume, within the budget of all connections together.
fn stash(core: &mut Core, index: u32, rest: &[u8]) {
    if rest.is_empty() {
        return;
    }
    let live = core.slots.get(index).is_some_and(|s| s.state == State::Open);
    if !live {
        return;
    }
    if core.stashed + rest.len() > core.limits.io.stash {
        core.abort(index, Reason::Overload);
        return;
    }
    core.stashed += rest.len();
    let mut tail = core.pool.take();
    tail.extend_from_slice(rest);
    if let Some(extra) = core.extra(index) {
        extra.tail = tail;
    }
}

/// Keeps input behind what is kept already.
#[cfg(feature = "h2")]
pub(super) fn stash_behind(core: &mut Core, index: u32, data: &[u8]) {
    let kept = core.slots.get(index).map_or(0, Slot::tail);
    if kept == 0 || data.is_empty() {
        stash(core, index, data);
        return;
    }
    if core.stashed + data.len() > core.limits.io.stash {
        core.abort(index, Reason::Overload);
        return;
    }
    core.stashed += data.len();
    if let Some(extra) = core.extra(index) {
        extra.tail.extend_from_slice(data);
    }
}

impl Core {
    /// What the one deadline of a slot means now.
    pub(crate) fn deadline_due(&mut self, index: u32, net: &dyn Net) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.alarm = Micros::ZERO;
        if slot.flags.has(Flags::RUNNING) {
            // The handler's return looks at the deadline again.
            return;
        }
        let connecting = slot.flags.has(Flags::CONNECTING);
        if slot.flags.has(Flags::LINKED) && slot.since == Micros::ZERO {
            // What its streams have put in this turn has not been tried yet: its time begins.
            slot.since = now;
        }
        let stalled = slot.has_output() && slot.since + self.limits.io.write_stall <= now;
        match slot.state {
            State::Free | State::Dead => {}
            State::Linger => {
                slot.state = State::Dead;
                self.let_go(index);
                self.queue(index);
            }
            State::Open if connecting => self.connecting_due(index),
            State::Open if slot.flags.has(Flags::SHAKING) => self.shaking_due(index),
            State::Open | State::Closing if stalled => self.abort(index, Reason::WriteStall),
            State::Closing => self.arm_deadline(index),
            State::Open if slot.flags.has(Flags::FILE) => self.arm_deadline(index),
            State::Open if slot.flags.has(Flags::LISTENER) => {
                slot.flags.clear(Flags::HELD);
                self.kick(index);
            }
            State::Open => self.protocol_due(index, net),
        }
    }

    fn protocol_due(&mut self, index: u32, net: &dyn Net) {
        let Self { slots, pool, entropy, limits, now, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return };
        let mut random = || entropy.next(net);
        let mut cx = crate::proto::Cx { now: *now, limits, random: &mut random };
        slot.hold_back();
        let due = slot.stack.on_deadline(&mut cx, &mut Tx::new(&mut slot.out, pool));
        if let Err(e) = due {
            broke(self, index, e, net);
        }
        self.flush(index, net);
        self.arm_deadline(index);
        self.queue_if_work(index);
    }
}

impl Limits {
    /// The size of a turn's receive buffer: no head that is within its limit fills it.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.io.receive.max(4096).max(self.h1.head.saturating_add(4096))
    }
}
