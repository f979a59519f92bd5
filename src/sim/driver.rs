//! A loop in the simulated world. Waiting moves the clock.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;

#[cfg(unix)]
use std::os::fd::OwnedFd;

use lodger_backend::{
    Backend, Caps, Driver, Event, Interest, Micros, Net, Sock, Source, Token, Trigger, Waker,
};

use super::queue::{Queue, Round};
use super::state::State;

/// Reports of one poll; mio's default, and enough for any batch worth having.
const LIST: usize = 1_024;
/// How long a machine may be suspended, in µs: four hours.
const SUSPENDED: u64 = 4 * 3_600 * 1_000_000;

pub(super) struct SimDriver {
    state: Rc<RefCell<State>>,
    /// Our place among the world's queues.
    id: usize,
    trigger: Trigger,
    woken: Arc<AtomicBool>,
    /// Released, to be closed by the next poll.
    closing: Vec<(Sock, Rc<dyn Net>)>,
}

impl SimDriver {
    pub(super) fn new(state: Rc<RefCell<State>>, trigger: Trigger) -> Self {
        let (id, woken) = {
            let mut s = state.borrow_mut();
            let queue = Queue::new(trigger);
            let woken = Arc::clone(&queue.woken);
            s.queues.push(Some(queue));
            (s.queues.len() - 1, woken)
        };
        Self { state, id, trigger, woken, closing: Vec::new() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        self.state.borrow_mut().queue(self.id).map(f)
    }

    /// Has somebody use the waker in the middle of a call, now and then.
    fn disturb(&self) {
        if self.state.borrow_mut().fault(|f| f.wakes, |i| &mut i.wakes) {
            self.woken.store(true, Ordering::Release);
        }
    }

    fn close_late(&mut self) {
        for (sock, net) in self.closing.drain(..) {
            net.close(sock);
        }
    }
}

impl fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDriver").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Backend for SimDriver {
    fn caps(&self) -> Caps {
        let late = self.state.borrow().faults.late_timers;
        Caps { trigger: self.trigger, timer_resolution: Duration::from_micros(late) }
    }

    fn now(&self) -> Micros {
        self.disturb();
        let mut s = self.state.borrow_mut();
        if s.faults.slow_clock > 0 {
            let max = s.faults.slow_clock;
            let step = s.rng.up_to(max);
            s.now = s.now + Duration::from_micros(step);
            s.injected.slow_clock += u64::from(step > 0);
        }
        s.now
    }

    fn watch(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        let sock = memory(source)?;
        self.disturb();
        let mut s = self.state.borrow_mut();
        if !s.sockets.contains_key(&sock) {
            s.misuse.push("a socket that is not open was watched");
            return Err(io::ErrorKind::NotFound.into());
        }
        if !s.queue(self.id).is_some_and(|queue| queue.watch(sock, token, want)) {
            s.misuse.push("a socket was watched twice");
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        s.note("watch", sock, want.bits().into());
        s.set_watcher(sock, Some(self.id));
        Ok(())
    }

    fn rearm(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        let sock = memory(source)?;
        let mut s = self.state.borrow_mut();
        if self.trigger == Trigger::Edge {
            s.misuse.push("rearm was called on an edge-triggered backend");
        }
        if !s.queue(self.id).is_some_and(|queue| queue.rearm(sock, token, want)) {
            s.misuse.push("a socket was rearmed that is not watched");
            return Err(io::ErrorKind::NotFound.into());
        }
        s.note("rearm", sock, want.bits().into());
        s.change(sock);
        Ok(())
    }

    fn release(&mut self, token: Token, sock: Sock, net: &Rc<dyn Net>) {
        self.disturb();
        let late = {
            let mut s = self.state.borrow_mut();
            match s.queue(self.id).and_then(|queue| queue.forget(sock.bits())) {
                Some(watched) if watched == token => {}
                Some(_) => s.misuse.push("a socket was released under another's token"),
                None => s.misuse.push("a socket was released that is not watched"),
            }
            s.note("release", sock.bits(), 0);
            s.set_watcher(sock.bits(), None);
            s.fault(|f| f.late_closes, |i| &mut i.late_closes)
        };
        if late {
            self.closing.push((sock, Rc::clone(net)));
        } else {
            net.close(sock);
        }
    }

    fn set_deadline(&mut self, at: Option<Micros>) {
        self.disturb();
        let mut s = self.state.borrow_mut();
        let max = s.faults.late_timers;
        let late = if max > 0 && at.is_some() { s.rng.up_to(max) } else { 0 };
        s.injected.late_timers += u64::from(late > 0);
        if let Some(queue) = s.queue(self.id) {
            queue.deadline = at.map(|at| at + Duration::from_micros(late));
        }
    }

    fn request_turn(&mut self) {
        self.with(|queue| queue.asked = true);
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Release))
    }
}

impl Driver for SimDriver {
    /// Waits in virtual time.
    ///
    /// # Errors
    ///
    /// `Deadlock` if it would wait forever: no deadline, no timeout, and nothing under way. (A
    /// waker used on another thread is seen by the next poll, it cannot end a wait.)
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        self.close_late();
        self.state.borrow_mut().poll(self.id, timeout, events)
    }

    #[cfg(unix)]
    fn fd(&self) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        self.close_late();
        if let Some(queue) = self.state.borrow_mut().queues.get_mut(self.id) {
            *queue = None;
        }
    }
}

fn memory(source: Source) -> io::Result<u64> {
    match source {
        Source::Memory(sock) => Ok(sock),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl State {
    fn poll(
        &mut self,
        id: usize,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<bool> {
        let end = timeout.map_or(Micros::MAX, |timeout| self.now + timeout);
        let before = events.len();
        if self.fault(|f| f.jumps, |i| &mut i.jumps) {
            let slept = Duration::from_micros(self.rng.up_to(SUSPENDED));
            self.advance_to(self.now + slept);
        }
        self.settle();
        loop {
            let called = self.queue(id).is_some_and(|queue| queue.take_calls());
            let met = self.take_deadline(id);
            let full = self.harvest(id, events);
            if called || met || events.len() > before || self.now >= end {
                return Ok(full);
            }
            if self.fault(|f| f.early_wakes, |i| &mut i.early_wakes) {
                return Ok(false);
            }
            let deadline = self.queue(id).and_then(|queue| queue.deadline);
            let next =
                [self.next_delivery(), deadline].into_iter().flatten().fold(end, Micros::min);
            if next == Micros::MAX {
                return Err(io::ErrorKind::Deadlock.into());
            }
            self.advance_to(next);
        }
    }

    fn take_deadline(&mut self, id: usize) -> bool {
        let now = self.now;
        let Some(queue) = self.queue(id) else { return false };
        queue.deadline.take_if(|at| *at <= now).is_some()
    }

    /// Appends what is to be reported; `true` if the list came back full.
    fn harvest(&mut self, id: usize, events: &mut Vec<Event>) -> bool {
        // Taken out, so that it can look at the sockets.
        let Some(mut queue) = self.queues.get_mut(id).and_then(Option::take) else { return false };
        let begin = events.len();
        let full = self.fill(&mut queue, events);
        self.lie(&mut queue, events);
        if let Some(place) = self.queues.get_mut(id) {
            *place = Some(queue);
        }
        for event in events.get(begin..).unwrap_or_default() {
            self.trace.note(self.now, "report", event.token.bits(), event.ready.bits().into());
        }
        full
    }

    fn fill(&mut self, queue: &mut Queue, events: &mut Vec<Event>) -> bool {
        let mut list = LIST;
        if queue.is_ready(|sock| self.readiness(sock)) {
            if self.fault(|f| f.short_lists, |i| &mut i.short_lists) {
                list = 1 + self.rng.below(4);
            }
            if self.rng.happens(self.faults.shuffles) && queue.shuffle(|n| self.rng.below(n)) {
                self.injected.shuffles += 1;
            }
        }
        let mut round = Round::default();
        for _ in 0..list {
            match queue.next(&mut round, |sock| self.readiness(sock)) {
                Some(event) => events.push(event),
                None => return false,
            }
        }
        true
    }

    /// Reports something that is not ready, now and then.
    fn lie(&mut self, queue: &mut Queue, events: &mut Vec<Event>) {
        if queue.watches.is_empty() || !self.rng.happens(self.faults.spurious) {
            return;
        }
        let which = self.rng.below(queue.watches.len());
        if let Some(event) = queue.lie(which) {
            self.injected.spurious += 1;
            events.push(event);
        }
    }
}
