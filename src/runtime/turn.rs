//! One turn: look at the kernel queue, run messages, timers and connections within the budget,
//! flush, and tell the loop what is left.

use std::io;
use std::time::Duration;

use lodger_backend::{Budget, Event, Micros, Pending, Turn};

use super::core::{Core, Frame, Life};
use super::slot::Flags;
use super::{Handle, race, serve};
use crate::io::Scratch;

/// Frames on the stack at most; a deeper turn only collects readiness.
pub(crate) const MAX_DEPTH: u32 = 4;
/// Connections served, or timers run, between two looks at the clock.
pub(super) const CLOCK_EVERY: u32 = 8;

impl Handle {
    /// Runs one turn without waiting, within the default budget: what a host calls when the
    /// descriptor is readable. May be called from inside a callback.
    ///
    /// # Errors
    ///
    /// The kernel queue failed.
    pub fn dispatch(&self) -> io::Result<Turn> {
        self.step(Some(Duration::ZERO), self.0.budget.get())
    }

    /// Runs one turn, waiting up to `timeout` for something to do (`None`: as long as it takes).
    ///
    /// # Errors
    ///
    /// The kernel queue failed.
    pub fn step(&self, timeout: Option<Duration>, budget: Budget) -> io::Result<Turn> {
        // Whatever callbacks drop, the ground stays until this turn leaves it.
        let this = self.clone();
        let on = this.is_on();
        // Detached or ended, it keeps what is reported and does nothing: a host that still watches
        // its descriptor must not find that readable for ever.
        let timeout = if on { timeout } else { Some(Duration::ZERO) };
        let mut events = this.core().events.pop().unwrap_or_default();
        let polled = this.0.driver.borrow_mut().poll(timeout, &mut events);
        let full = match polled {
            Ok(full) => full,
            Err(e) => {
                this.core().give_events(events);
                return Err(e);
            }
        };
        let now = this.0.driver.borrow().now();
        let found = this.harvest(events, now);
        if !on {
            return Ok(Turn::default());
        }
        let Some(mut frame) = this.enter() else {
            return Ok(Turn { again: false, deadline: None, at_limit: true });
        };
        let busy = this.work(&mut frame, budget, now);
        let turn = this.leave(frame, full, found || busy, now);
        Ok(turn)
    }

    /// Tells what a host must know before it blocks: whether work waits that no descriptor
    /// announces, and when the next timer is due. A few loads.
    pub fn pending(&self) -> Pending {
        let core = self.core();
        if core.life != Life::On || core.depth >= MAX_DEPTH {
            return Pending::default();
        }
        let work = core.has_work() || self.0.wake.flag.load(core::sync::atomic::Ordering::Relaxed);
        Pending { work, deadline: core.sched.bound() }
    }

    /// Runs `f`, which runs the host's loop, from inside a callback: a modal dialog. Everybody but
    /// the connections on the stack is served meanwhile.
    ///
    /// Without it a modal loop works too, but what the outer turn had already harvested may wait
    /// until the first nested turn.
    pub fn modal<T>(&self, f: impl FnOnce() -> T) -> T {
        self.begin_modal();
        let result = f();
        self.end_modal();
        result
    }

    /// Begins what [`modal`](Self::modal) does, where the host's loop cannot run in a closure. Each
    /// is followed by [`end_modal`](Self::end_modal), in the same callback.
    pub fn begin_modal(&self) {
        let mut core = self.core();
        let depth = core.depth;
        core.mark_modal(depth, true);
        drop(core);
        self.settle();
    }

    /// Ends what [`begin_modal`](Self::begin_modal) began.
    pub fn end_modal(&self) {
        let mut core = self.core();
        let depth = core.depth;
        core.mark_modal(depth, false);
    }

    /// Sets whether turns are timed for [`Stats::turn`](crate::Stats::turn), at one more reading of
    /// the clock each. Off unless somebody looks.
    pub fn measure_turns(&self, on: bool) {
        self.core().measures = on;
    }

    /// Sets the bounds of [`dispatch`](Self::dispatch) and of the standalone loop.
    pub fn set_budget(&self, budget: Budget) {
        self.0.budget.set(budget);
    }

    /// Sorts the reports: sticky bits, and into the run queue what has work. Returns whether there
    /// were any.
    fn harvest(&self, events: Vec<Event>, now: Micros) -> bool {
        let mut core = self.core();
        core.now = now;
        core.asked = false;
        core.stats.turns += 1;
        core.shakes = 0;
        if !core.later.is_empty() {
            let later = core::mem::take(&mut core.later);
            core.runq.extend(later);
        }
        for event in &events {
            self.report(&mut core, *event);
        }
        let found = !events.is_empty();
        core.give_events(events);
        found
    }

    fn report(&self, core: &mut Core, event: Event) {
        let index = event.token.index();
        let Core { slots, limits, runq, .. } = core;
        let Some(slot) = slots.get_mut(index) else { return };
        let generation = event.token.generation();
        if slot.generation != generation && !race::is_lane(slot, generation) {
            return;
        }
        slot.ready |= event.ready;
        if !slot.flags.has(Flags::QUEUED) && (event.ready.is_read() || slot.has_work(limits)) {
            slot.flags.set(Flags::QUEUED);
            runq.push_back(index);
        }
        if core.trigger != lodger_backend::Trigger::Edge {
            self.disarm_unwanted(core, index, event.ready);
        }
    }

    /// Enters a frame; `None` at the limit of depth.
    fn enter(&self) -> Option<Frame> {
        let mut core = self.core();
        if core.depth >= MAX_DEPTH {
            core.stats.at_limit += 1;
            return None;
        }
        if core.depth > 0 {
            core.stats.nested += 1;
            // The frame below must be inside a modal loop: nobody else could have called us.
            let below = core.depth;
            core.mark_modal(below, true);
        }
        core.depth += 1;
        let receive = core.limits.receive_buffer();
        Some(core.frames.pop().unwrap_or_else(|| Frame {
            rx: std::vec![0; receive],
            sealed: Vec::new(),
            scratch: Scratch::new(),
        }))
    }

    /// Messages, timers, connections. Returns whether there was anything to do.
    fn work(&self, frame: &mut Frame, budget: Budget, start: Micros) -> bool {
        let ends = start + budget.slice;
        let outer = core::mem::replace(&mut self.core().slice_ends, ends);
        let mut busy = self.tell_orphans();
        busy |= self.run_sinks();
        busy |= self.fire_due();
        let mut ops = 0;
        loop {
            let mut core = self.core();
            // Whoever was served may have looked at the clock.
            if ops > 0 && core.now >= core.slice_ends || core.life != Life::On {
                break;
            }
            let Some(index) = core.runq.pop_front() else { break };
            serve::serve(self, core, frame, index);
            busy = true;
            ops += 1;
            if ops >= budget.ops.max(1) {
                break;
            }
            if ops % CLOCK_EVERY == 0 && self.slice_is_over() {
                break;
            }
        }
        self.core().slice_ends = outer;
        busy
    }

    /// Looks at the clock: whether this turn has had its time.
    pub(crate) fn slice_is_over(&self) -> bool {
        let now = self.0.driver.borrow().now();
        let mut core = self.core();
        core.now = core.now.max(now);
        now >= core.slice_ends
    }

    fn leave(&self, frame: Frame, full: bool, busy: bool, start: Micros) -> Turn {
        let (bury, deadline, again) = {
            let mut core = self.core();
            core.stats.wakes += u64::from(busy);
            if core.measures {
                let now = self.0.driver.borrow().now();
                core.stats.turn.add(now - start);
            }
            core.frames.push(frame);
            let depth = core.depth;
            core.mark_modal(depth, false);
            core.depth -= 1;
            let below = core.depth;
            self.settle_core(&mut core);
            let next = core.sched.bound();
            let queued = !core.runq.is_empty() || !core.later.is_empty();
            let again = full || queued || next.is_some_and(|at| at <= core.now);
            let done = core.leaving && core.connections == 0;
            if done && core.life == Life::On {
                core.life = Life::Dead;
            }
            (below == 0 && core.life == Life::Dead, next, again)
        };
        if bury {
            self.bury_all();
            return Turn::default();
        }
        Turn { again: again && self.is_on(), deadline, at_limit: false }
    }

    /// Flushes, programs the deadline, and asks for a turn if work is left.
    pub(crate) fn settle(&self) {
        let mut core = self.core();
        self.settle_core(&mut core);
    }

    fn settle_core(&self, core: &mut Core) {
        self.flush_dirty(core);
        if !core.graveyard.is_empty() {
            let mut driver = self.0.driver.borrow_mut();
            for (token, sock) in core.graveyard.drain(..) {
                driver.release(token, sock, &self.0.net);
            }
        }
        self.reprogram(core);
        let values = self.0.wake.flag.load(core::sync::atomic::Ordering::Relaxed);
        if core.life == Life::On && (values || !core.runq.is_empty() || !core.later.is_empty()) {
            self.ask(core);
        }
    }

    fn flush_dirty(&self, core: &mut Core) {
        self.flush_listed(core);
        // A stream stands above its connection, which sends what it has.
        for i in (0..core.running.len()).rev() {
            if let Some(&index) = core.running.get(i) {
                core.flush(index, &*self.0.net);
                self.sync(core, index);
            }
        }
        self.flush_listed(core);
    }

    fn flush_listed(&self, core: &mut Core) {
        while let Some(index) = core.dirty.pop() {
            if let Some(slot) = core.slots.get_mut(index) {
                slot.flags.clear(Flags::DIRTY);
            }
            self.flush_one(core, index);
        }
    }

    fn flush_one(&self, core: &mut Core, index: u32) {
        core.flush(index, &*self.0.net);
        core.arm_deadline(index);
        core.queue_if_work(index);
        self.sync(core, index);
    }

    /// Tells the driver the earliest deadline.
    pub(crate) fn reprogram(&self, core: &mut Core) {
        let next = core.sched.bound();
        self.0.driver.borrow_mut().set_deadline(next);
    }

    /// Asks for a turn, once. Inside a frame that is not in a modal loop there is nothing to ask:
    /// that frame will settle.
    pub(crate) fn ask(&self, core: &mut Core) {
        let settles = core.depth > 0 && core.modal & (1 << core.depth) == 0;
        if !core.asked && !settles && core.life == Life::On {
            core.asked = true;
            self.0.driver.borrow_mut().request_turn();
        }
    }
}

impl Core {
    fn give_events(&mut self, mut events: Vec<Event>) {
        events.clear();
        self.events.push(events);
    }

    fn mark_modal(&mut self, depth: u32, on: bool) {
        if on {
            self.modal |= 1 << depth;
        } else {
            self.modal &= !(1 << depth);
        }
    }
}
