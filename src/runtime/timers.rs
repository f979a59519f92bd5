//! What a timer means: a connection's deadline, a tag told to its handler, or a closure.

use std::boxed::Box;
use std::time::Duration;

use lodger_backend::Micros;

use super::core::{Core, Life};
use super::handler::App;
use super::id::{ConnId, Gone, TimerId};
use super::slot::Flags;
use super::turn::CLOCK_EVERY;
use super::{Handle, serve};
use crate::sul::{self, Slack};

/// Timers run in one turn at most; the rest run in the next.
const PER_TURN: u32 = 256;

/// What an entry of the scheduler is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// The one deadline of the slot with this index.
    Deadline(u32),
    /// The timer with this index.
    Timer(u32),
}

/// A user's timer.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    kind: Kind,
    handle: Option<sul::Handle>,
    /// Neighbours in the list of a connection's timers; 0 is none, else index + 1.
    next: u32,
    prev: u32,
}

#[derive(Default)]
enum Kind {
    #[default]
    Free,
    Tag {
        conn: ConnId,
        tag: u64,
    },
    Once(Box<dyn FnOnce(&Handle)>),
    Every {
        period: Duration,
        call: Box<dyn FnMut(&Handle)>,
    },
    /// Its closure is on the stack.
    Running,
}

impl Timer {
    /// What there is to show of it: name, kind, period. `None` if it is free.
    pub(crate) fn shown(&self) -> Option<(sul::Handle, &'static str, Option<Duration>)> {
        let (kind, period) = match &self.kind {
            Kind::Free => return None,
            Kind::Tag { .. } => ("connection", None),
            Kind::Once(_) => ("once", None),
            Kind::Every { period, .. } => ("every", Some(*period)),
            Kind::Running => ("running", None),
        };
        Some((self.handle?, kind, period))
    }
}

impl core::fmt::Debug for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Free => "Free",
            Self::Tag { .. } => "Tag",
            Self::Once(_) => "Once",
            Self::Every { .. } => "Every",
            Self::Running => "Running",
        })
    }
}

/// One due timer, taken out of the runtime to be run.
enum Job {
    Tag(ConnId, u64),
    Once(Box<dyn FnOnce(&Handle)>),
    Every(sul::Handle, Duration, Micros, Box<dyn FnMut(&Handle)>),
    /// Nothing for the user.
    Done,
}

impl Handle {
    /// Runs `f` once, after `delay`, in a turn. A delay of 0 is the next turn.
    ///
    /// One allocation, for the closure. Its drop, when the timer is cancelled or the runtime ends,
    /// runs with nothing borrowed.
    pub fn after(&self, delay: Duration, f: impl FnOnce(&Self) + 'static) -> TimerId {
        self.add_timer(Kind::Once(Box::new(f)), delay)
    }

    /// Runs `f` every `period`, the first time after one. What was missed while the loop was busy
    /// is skipped, not made up for. A period of 0 is every turn.
    pub fn every(&self, period: Duration, f: impl FnMut(&Self) + 'static) -> TimerId {
        self.add_timer(Kind::Every { period, call: Box::new(f) }, period)
    }

    /// Moves a timer to `after` from now, armed or not; `false` if it has ended.
    ///
    /// Inside its own closure it sets the next time.
    pub fn rearm(&self, timer: TimerId, after: Duration) -> bool {
        let mut core = self.core();
        let now = self.time(&mut core);
        let known = matches!(core.sched.get(timer.0), Some(What::Timer(_)));
        if known {
            core.sched.arm(timer.0, due(now, after), Slack::Precise, now);
            self.reprogram(&mut core);
        }
        known
    }

    /// Ends a timer: it never runs again, even if it was due in this turn. `false` if it had
    /// ended.
    pub fn cancel(&self, timer: TimerId) -> bool {
        let kind = {
            let mut core = self.core();
            let Some(&What::Timer(index)) = core.sched.get(timer.0) else { return false };
            core.end_timer(index)
        };
        drop(kind);
        true
    }

    /// Sets whether a timer may wake a suspended machine where the host can do that. `false` if it
    /// has ended.
    pub fn wake_if_suspended(&self, timer: TimerId, on: bool) -> bool {
        let mut core = self.core();
        let known = core.sched.get(timer.0).is_some();
        core.sched.set_wake_if_suspended(timer.0, on);
        known
    }

    /// Gives the earliest time at which a suspended machine should be woken.
    pub fn next_if_suspended(&self) -> Option<Micros> {
        self.core().sched.next_if_suspended()
    }

    /// Arms a timer that tells `tag` to a connection's handler, once. It ends with the connection.
    pub(crate) fn tag_timer(&self, conn: ConnId, tag: u64, d: Duration) -> Result<TimerId, Gone> {
        if self.core().open(conn).is_none() {
            return Err(Gone);
        }
        Ok(self.add_timer(Kind::Tag { conn, tag }, d))
    }

    fn add_timer(&self, kind: Kind, delay: Duration) -> TimerId {
        let mut core = self.core();
        if core.life == Life::Dead {
            let handle = core.sched.add(What::Timer(0));
            core.sched.remove(handle);
            drop(core);
            drop(kind);
            return TimerId(handle);
        }
        let now = self.time(&mut core);
        let index = core.timers.alloc();
        let handle = core.sched.add(What::Timer(index));
        let conn = match kind {
            Kind::Tag { conn, .. } => Some(conn),
            Kind::Free | Kind::Once(_) | Kind::Every { .. } | Kind::Running => None,
        };
        if let Some(timer) = core.timers.get_mut(index) {
            *timer = Timer { kind, handle: Some(handle), next: 0, prev: 0 };
        }
        if let Some(conn) = conn {
            core.link_timer(index, conn.index);
        }
        if core.life == Life::Dead {
            // It would never run, and its closure never be dropped.
            let kind = core.end_timer(index);
            drop(core);
            drop(kind);
            return TimerId(handle);
        }
        core.sched.arm(handle, due(now, delay), Slack::Precise, now);
        self.reprogram(&mut core);
        TimerId(handle)
    }

    /// Runs what is due, one by one, so that each may cancel the next. `true` if it did anything.
    pub(crate) fn fire_due(&self) -> bool {
        let mut any = false;
        for count in 1..=PER_TURN {
            let Some(job) = self.next_job() else { break };
            any = true;
            match job {
                Job::Done => {}
                Job::Tag(conn, tag) => serve::with_handler(self, conn.index, |h, id, app| {
                    app.timer(h, id, tag);
                }),
                Job::Once(f) => _ = self.guarded(|h| f(h)),
                Job::Every(handle, period, at, call) => self.run_every(handle, period, at, call),
            }
            if !self.is_on() || count % CLOCK_EVERY == 0 && self.is_late() {
                break;
            }
        }
        any
    }

    /// Whether the turn has had its time. The turn's own clock stands still, so that no timer
    /// fires in the turn that armed it.
    fn is_late(&self) -> bool {
        let now = self.0.driver.borrow().now();
        now >= self.core().slice_ends
    }

    fn next_job(&self) -> Option<Job> {
        let mut core = self.core();
        let now = core.now;
        core.sched.bound().filter(|&at| at <= now)?;
        let at = core.sched.next().filter(|&at| at <= now)?;
        let handle = core.sched.pop(now)?;
        Some(match core.sched.get(handle).copied() {
            None => Job::Done,
            Some(What::Deadline(index)) => {
                core.deadline_due(index, &*self.0.net);
                Job::Done
            }
            Some(What::Timer(index)) => {
                core.stats.late.add(now - at);
                core.take_due(index, handle, at)
            }
        })
    }

    fn run_every(
        &self,
        handle: sul::Handle,
        period: Duration,
        at: Micros,
        mut call: Box<dyn FnMut(&Self)>,
    ) {
        self.guarded(|h| call(h));
        let mut core = self.core();
        let now = core.now;
        let Some(&What::Timer(index)) = core.sched.get(handle) else {
            drop(core);
            self.guarded(|_| drop(call));
            return;
        };
        if !core.sched.is_armed(handle) {
            core.sched.arm(handle, next_period(at, period, now), Slack::Precise, now);
        }
        if let Some(timer) = core.timers.get_mut(index) {
            timer.kind = Kind::Every { period, call };
        }
    }
}

/// When something asked for `delay` is due: never in the turn that asks.
fn due(now: Micros, delay: Duration) -> Micros {
    (now + delay).max(Micros::new(now.get().saturating_add(1)))
}

/// The first whole number of periods behind `at` that lies ahead of `now`.
fn next_period(at: Micros, period: Duration, now: Micros) -> Micros {
    let step = (Micros::ZERO + period).get().max(1);
    let passed = now.get().saturating_sub(at.get()) / step;
    Micros::new(at.get().saturating_add(step.saturating_mul(passed.saturating_add(1))))
}

impl Core {
    fn take_due(&mut self, index: u32, handle: sul::Handle, at: Micros) -> Job {
        let Some(timer) = self.timers.get_mut(index) else { return Job::Done };
        match &timer.kind {
            Kind::Tag { conn, tag } => {
                let (conn, tag) = (*conn, *tag);
                let runs = self.slots.get(conn.index).is_some_and(|s| s.flags.has(Flags::RUNNING));
                if runs {
                    self.parked.push(handle);
                    return Job::Done;
                }
                self.end_timer(index);
                if self.open(conn).is_some() { Job::Tag(conn, tag) } else { Job::Done }
            }
            Kind::Once(_) => match self.end_timer(index) {
                Kind::Once(f) => Job::Once(f),
                Kind::Free | Kind::Tag { .. } | Kind::Every { .. } | Kind::Running => Job::Done,
            },
            Kind::Every { .. } => match core::mem::replace(&mut timer.kind, Kind::Running) {
                Kind::Every { period, call } => Job::Every(handle, period, at, call),
                Kind::Free | Kind::Tag { .. } | Kind::Once(_) | Kind::Running => Job::Done,
            },
            // A closure that runs a modal loop does not run again before it returns.
            Kind::Running | Kind::Free => Job::Done,
        }
    }

    /// Takes a timer out of everything; the caller drops what it held with nothing borrowed.
    fn end_timer(&mut self, index: u32) -> Kind {
        self.unlink_timer(index);
        let Some(timer) = self.timers.get_mut(index) else { return Kind::Free };
        let timer = core::mem::take(timer);
        if let Some(handle) = timer.handle {
            self.sched.remove(handle);
            self.timers.free(index);
        }
        timer.kind
    }

    /// Sets again the timers that fell due while their connection's handler was on the stack.
    #[inline]
    pub(crate) fn unpark(&mut self) {
        if !self.parked.is_empty() {
            self.unpark_all();
        }
    }

    fn unpark_all(&mut self) {
        let now = self.now;
        for handle in core::mem::take(&mut self.parked) {
            if self.is_busy(handle) {
                self.parked.push(handle);
            } else if self.sched.get(handle).is_some() && !self.sched.is_armed(handle) {
                self.sched.arm(handle, now, Slack::Precise, now);
            }
        }
    }

    /// Whether a timer belongs to a connection whose handler is on the stack.
    fn is_busy(&self, handle: sul::Handle) -> bool {
        let Some(What::Timer(index)) = self.sched.get(handle) else { return false };
        let Some(Timer { kind: Kind::Tag { conn, .. }, .. }) = self.timers.get(*index) else {
            return false;
        };
        self.slots.get(conn.index).is_some_and(|slot| slot.flags.has(Flags::RUNNING))
    }

    /// Ends all timers of a connection. They are tags: nothing of the user's is dropped.
    pub(crate) fn free_timers_of(&mut self, slot: u32) {
        while let Some(first) = self.slots.get(slot).map(|s| s.timers).filter(|&t| t != 0) {
            self.end_timer(first - 1);
        }
    }

    /// Takes every closure, to be dropped with nothing borrowed when the runtime ends.
    pub(crate) fn take_closures(&mut self) -> Vec<Box<dyn core::any::Any>> {
        let mut out: Vec<Box<dyn core::any::Any>> = Vec::new();
        for index in 0..self.timers.end() {
            let kind = self.timers.get(index).map(|timer| &timer.kind);
            if matches!(kind, Some(Kind::Once(_) | Kind::Every { .. })) {
                out.push(Box::new(self.end_timer(index)));
            }
        }
        out
    }

    fn link_timer(&mut self, index: u32, slot: u32) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        let first = core::mem::replace(&mut slot.timers, index + 1);
        if let Some(timer) = self.timers.get_mut(index) {
            timer.next = first;
        }
        if let Some(old) = first.checked_sub(1).and_then(|i| self.timers.get_mut(i)) {
            old.prev = index + 1;
        }
    }

    fn unlink_timer(&mut self, index: u32) {
        let Some(timer) = self.timers.get(index) else { return };
        let (next, prev) = (timer.next, timer.prev);
        let Kind::Tag { conn, .. } = timer.kind else { return };
        if let Some(after) = next.checked_sub(1).and_then(|i| self.timers.get_mut(i)) {
            after.prev = prev;
        }
        match prev.checked_sub(1).and_then(|i| self.timers.get_mut(i)) {
            Some(before) => before.next = next,
            None => {
                if let Some(slot) = self.slots.get_mut(conn.index) {
                    slot.timers = next;
                }
            }
        }
    }
}

impl App {
    fn timer(&mut self, h: &Handle, id: ConnId, tag: u64) {
        match self {
            Self::Raw(handler) => handler.timer(&mut super::handler::raw::Cx::new(h, id), tag),
            Self::Http { stream: Some(handler), .. } => {
                handler.timer(&mut super::handler::http::Cx::current(h, id), tag);
            }
            Self::Http { .. } => {}
            Self::Client(asker) => {
                if let Some(fetch) = &mut asker.fetch {
                    fetch.timer(&mut super::handler::client::Cx::new(h, id), tag);
                }
            }
            #[cfg(feature = "ws")]
            Self::Ws { handler, .. } => {
                handler.timer(&mut super::handler::ws::Cx::new(h, id), tag);
            }
            #[cfg(feature = "mqtt")]
            Self::Mqtt(link) => {
                link.timer(h, &super::handler::mqtt::Port::Direct(id), tag);
            }
            #[cfg(feature = "h2")]
            Self::Carrier(_) => {}
            Self::Gone | Self::Listener(_) | Self::Opening(_) => {}
        }
    }
}
