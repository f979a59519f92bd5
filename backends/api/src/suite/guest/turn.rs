//! One turn: harvest, letters, timers, connections, settle.

use core::time::Duration;
use std::io;
use std::prelude::v1::*;
use std::rc::Rc;

use super::{DEEPEST, Flaw, Guest, Id, PER_TURN, clock};
use crate::{Event, Interest, Nested, Ready, Sock, Trigger, Turn};

impl Guest {
    /// Runs one turn, waiting at most `timeout` for its cause: what a guest without a host does.
    ///
    /// # Errors
    ///
    /// The driver's queue failed.
    pub fn step(&self, timeout: Option<Duration>) -> io::Result<Turn> {
        if self.flaw == Flaw::DeafInside && self.depth.get() > 0 {
            return Ok(Turn::default());
        }
        let full = self.harvest(timeout)?;
        if self.at_limit() {
            return Ok(Turn { at_limit: true, ..Turn::default() });
        }
        let frame = Frame::enter(self);
        self.read_mail();
        self.run_timers();
        self.serve_queue();
        drop(frame);
        Ok(self.settle(full))
    }

    pub(super) fn at_limit(&self) -> bool {
        self.depth.get() >= DEEPEST
    }

    /// Takes the driver's reports; tells whether there may be more.
    fn harvest(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let mut events = Vec::new();
        let began = clock::monotonic();
        let full = self.driver.borrow_mut().poll(timeout, &mut events)?;
        let waited = clock::monotonic().saturating_sub(began);
        let expired = timeout.is_some_and(|t| !t.is_zero() && waited >= t);
        self.count(|c| {
            c.turns += 1;
            c.wakeups += u32::from(!expired || !events.is_empty());
            c.reports += u32::try_from(events.len()).unwrap_or(u32::MAX);
        });
        for event in events {
            self.note(event);
        }
        Ok(full)
    }

    /// Keeps a report for when it is wanted.
    fn note(&self, event: Event) {
        let mut slots = self.slots.borrow_mut();
        let trusting = self.flaw == Flaw::IgnoresGeneration;
        let id = if trusting { slots.current(event.token) } else { event.token };
        let Some(conn) = slots.get_mut(id) else {
            self.count(|c| c.stale += 1);
            return;
        };
        conn.ready |= event.ready;
        let unwanted = Interest::from_bits(event.ready.bits()) & conn.armed & !conn.want();
        let mut disarm = None;
        match self.trigger {
            Trigger::Edge => {}
            Trigger::Oneshot => conn.armed = Interest::NONE,
            // Only now, so that a pause without traffic costs nothing.
            Trigger::Level if !unwanted.is_none() => {
                conn.armed = conn.want();
                disarm = Some((conn.sock, conn.armed));
            }
            Trigger::Level => {}
        }
        slots.queue(id);
        let idle = slots.get_mut(id).is_some_and(|conn| !conn.queued && !conn.running);
        drop(slots);
        if let Some((sock, want)) = disarm {
            self.rearm(sock, id, want);
        }
        // A report that brings no work has disarmed the other direction with its own.
        if self.trigger == Trigger::Oneshot && idle {
            self.reconsider(id);
        }
    }

    fn read_mail(&self) {
        for _ in 0..PER_TURN {
            let Some(letter) = self.mail.take() else { return };
            letter(&self.myself());
        }
        self.mail.waker.wake();
    }

    fn run_timers(&self) {
        let now = self.now();
        self.timers.borrow_mut().begin(now);
        if self.flaw == Flaw::IgnoresCancel {
            let due: Vec<_> = core::iter::from_fn(|| self.timers.borrow_mut().pop(now)).collect();
            due.into_iter().for_each(|call| call(&self.myself()));
        }
        for _ in 0..PER_TURN {
            let now = if self.flaw == Flaw::ZeroDelayAtOnce { self.now() } else { now };
            let Some(call) = self.timers.borrow_mut().pop(now) else { break };
            call(&self.myself());
        }
    }

    fn serve_queue(&self) {
        let budget = self.budget.get();
        let end = self.now() + budget.slice;
        let mut served = 0;
        let is_left = |served| served == 0 || (served < budget.ops && self.now() < end);
        while self.flaw == Flaw::IgnoresBudget || is_left(served) {
            let Some(id) = self.slots.borrow_mut().next() else { break };
            if self.serve(id) {
                served += 1;
            }
        }
        self.count(|c| {
            c.served += served;
            c.most_served = c.most_served.max(served);
        });
    }

    /// Leaves everything so that the next turn comes when it is due.
    pub(super) fn settle(&self, full: bool) -> Turn {
        if self.flaw == Flaw::ForgetsTheRest {
            self.slots.borrow_mut().forget_work();
        }
        let deadline = self.timers.borrow().next();
        let mut again = full || self.slots.borrow().has_work();
        if self.flaw == Flaw::SpinsWhenPaused {
            again |= self.slots.borrow().any_paused_input();
        }
        let mut driver = self.driver.borrow_mut();
        driver.set_deadline(deadline);
        if again {
            driver.request_turn();
        }
        Turn { again, deadline, at_limit: false }
    }

    /// Arms what is wanted, not yet known to be ready, and not yet armed.
    pub(super) fn reconsider(&self, id: Id) {
        let mut slots = self.slots.borrow_mut();
        slots.queue(id);
        let Some(conn) = slots.get_mut(id) else { return };
        let need = conn.want() & !Interest::from_bits(conn.ready.bits());
        if self.trigger == Trigger::Edge || (need & !conn.armed).is_none() {
            return;
        }
        conn.armed = match self.trigger {
            Trigger::Level => conn.want(),
            Trigger::Edge | Trigger::Oneshot => conn.armed | need,
        };
        let (sock, armed) = (conn.sock, conn.armed);
        drop(slots);
        self.rearm(sock, id, armed);
    }

    fn rearm(&self, sock: Sock, id: Id, want: Interest) {
        let rearmed = match self.net.source(sock) {
            Some(source) => self.driver.borrow_mut().rearm(source, id, want),
            None => return,
        };
        if rearmed.is_err() {
            // Not watched any more: trying will tell why.
            let mut slots = self.slots.borrow_mut();
            if let Some(conn) = slots.get_mut(id) {
                conn.ready |= Ready::BOTH;
                slots.queue(id);
            }
        }
    }

    pub(super) fn myself(&self) -> Rc<Self> {
        self.me.upgrade().expect("a guest is only ever used through its Rc")
    }
}

/// A turn on the stack. Its drop undoes it, also when a callback panics.
struct Frame<'a> {
    guest: &'a Guest,
    modal_below: bool,
}

impl<'a> Frame<'a> {
    fn enter(guest: &'a Guest) -> Self {
        let depth = guest.depth.get() + 1;
        guest.depth.set(depth);
        guest.count(|c| c.deepest = c.deepest.max(depth));
        Self { guest, modal_below: guest.modal.replace(false) }
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        self.guest.depth.set(self.guest.depth.get() - 1);
        self.guest.modal.set(self.modal_below);
    }
}
