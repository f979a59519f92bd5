//! Drivers that break the contract on purpose, so that the laws can be seen to notice.

use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::prelude::v1::*;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::{
    Backend, Caps, Driver, Event, Interest, Micros, Net, Ready, Sock, Source, Token, Waker,
};

/// A way to break a driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Asks for a turn whenever it has had one.
    Restless,
    /// Does not hear a request for a turn.
    IgnoresRequests,
    /// Its clock runs twice as fast.
    HurriedClock,
    /// Rounds waits up to whole milliseconds.
    WholeMilliseconds,
    /// Programs its alarm once and never again.
    OneAlarm,
    /// Loses every wake but the first.
    LosesWakes,
    /// Has a turn for each wake.
    CountsWakes,
    /// Hands reports on one by one, and knows a source by its descriptor's number.
    KnowsNumbersOnly,
    /// Reports input again and again while there is any.
    RepeatsInput,
    /// Loses every third report.
    LosesReports,
    /// Does not report that output is possible again.
    LosesWritable,
    /// Keeps a thread.
    HasAThread,
    /// Leaves a descriptor behind when it is dropped.
    LeavesADescriptor,
}

/// A driver with a fault.
pub struct Broken {
    inner: Box<dyn Driver>,
    fault: Fault,
    /// What is watched, for what knows numbers only and what repeats.
    watched: Vec<(RawFd, Token)>,
    /// Reports held back, by number.
    held: Vec<(RawFd, Ready)>,
    alarms: u32,
    reports: u32,
    woken: Arc<AtomicBool>,
    wakes: Arc<AtomicU32>,
    _thread: Option<mpsc::Sender<()>>,
}

impl Broken {
    /// Breaks `inner`.
    pub fn new(inner: Box<dyn Driver>, fault: Fault) -> Self {
        let thread = (fault == Fault::HasAThread).then(|| {
            let (stop, stopped) = mpsc::channel::<()>();
            thread::spawn(move || {
                // Ends when the driver, which holds the other end, is dropped.
                let _ = stopped.recv();
            });
            stop
        });
        if fault == Fault::LeavesADescriptor
            && let Ok(fd) = inner.fd()
        {
            core::mem::forget(fd);
        }
        Self {
            inner,
            fault,
            watched: Vec::new(),
            held: Vec::new(),
            alarms: 0,
            reports: 0,
            woken: Arc::default(),
            wakes: Arc::default(),
            _thread: thread,
        }
    }

    /// Hands out one of the reports held back, under the token that its number has by now.
    fn hand_out(&mut self, events: &mut Vec<Event>) {
        if self.held.is_empty() {
            return;
        }
        let (number, ready) = self.held.remove(0);
        if let Some((_, token)) = self.watched.iter().find(|(fd, _)| *fd == number) {
            events.push(Event { token: *token, ready });
        }
        if !self.held.is_empty() {
            self.inner.request_turn();
        }
    }

    fn number(&self, token: Token) -> Option<RawFd> {
        self.watched.iter().find(|(_, t)| *t == token).map(|(fd, _)| *fd)
    }

    /// What the fault makes of the reports of one poll, `from` on.
    fn spoil(&mut self, events: &mut Vec<Event>, from: usize) {
        match self.fault {
            Fault::Restless => self.inner.request_turn(),
            Fault::KnowsNumbersOnly => {
                let fresh = events.split_off(from);
                for event in fresh {
                    if let Some(number) = self.number(event.token) {
                        self.held.push((number, event.ready));
                    }
                }
                self.hand_out(events);
            }
            Fault::RepeatsInput => self.repeat(events, from),
            Fault::LosesWritable => {
                events.iter_mut().skip(from).for_each(|e| e.ready = e.ready & !Ready::WRITE);
            }
            Fault::LosesReports => {
                let fresh = events.split_off(from);
                events.extend(fresh.into_iter().filter(|_| {
                    self.reports += 1;
                    !self.reports.is_multiple_of(3)
                }));
            }
            Fault::CountsWakes => {
                let left = self.wakes.load(Ordering::Acquire);
                if left > 0 {
                    self.wakes.fetch_sub(1, Ordering::AcqRel);
                    self.inner.request_turn();
                }
            }
            _ => {}
        }
    }

    /// Reports what has input once more in the next poll, for ever.
    fn repeat(&mut self, events: &mut Vec<Event>, from: usize) {
        let fresh: Vec<Event> = events.iter().skip(from).copied().collect();
        for event in fresh.iter().filter(|e| e.ready.is_read()) {
            if let Some(number) = self.number(event.token)
                && !self.held.iter().any(|(fd, _)| *fd == number)
            {
                self.held.push((number, Ready::READ));
            }
        }
        self.held.retain(|(fd, _)| self.watched.iter().any(|(number, _)| number == fd));
        for (number, ready) in &self.held {
            if let Some((_, token)) = self.watched.iter().find(|(fd, _)| fd == number) {
                events.push(Event { token: *token, ready: *ready });
            }
        }
        if !self.held.is_empty() {
            self.inner.request_turn();
        }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broken").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl Backend for Broken {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn now(&self) -> Micros {
        let now = self.inner.now();
        if self.fault == Fault::HurriedClock { Micros::new(now.get() * 2) } else { now }
    }

    fn watch(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        if let Source::Fd(fd) = source {
            self.watched.push((fd, token));
        }
        self.inner.watch(source, token, want)
    }

    fn rearm(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        self.inner.rearm(source, token, want)
    }

    fn release(&mut self, token: Token, sock: Sock, net: &Rc<dyn Net>) {
        self.watched.retain(|(_, t)| *t != token);
        self.inner.release(token, sock, net);
    }

    fn set_deadline(&mut self, at: Option<Micros>) {
        let at = match self.fault {
            Fault::HurriedClock => at.map(|at| Micros::new(at.get() / 2)),
            Fault::WholeMilliseconds => at.map(|at| {
                let now = self.inner.now();
                let left = u64::try_from(at.since(now).as_micros()).unwrap_or(u64::MAX);
                now + Duration::from_millis(left.div_ceil(1_000))
            }),
            Fault::OneAlarm if at.is_some() => {
                self.alarms += 1;
                at.filter(|_| self.alarms == 1)
            }
            _ => at,
        };
        self.inner.set_deadline(at);
    }

    fn request_turn(&mut self) {
        if self.fault != Fault::IgnoresRequests {
            self.inner.request_turn();
        }
    }

    fn waker(&self) -> Waker {
        let waker = self.inner.waker();
        let (fault, woken, wakes) = (self.fault, Arc::clone(&self.woken), Arc::clone(&self.wakes));
        Waker::new(move || {
            wakes.fetch_add(1, Ordering::AcqRel);
            if fault != Fault::LosesWakes || !woken.swap(true, Ordering::AcqRel) {
                waker.wake();
            }
        })
    }
}

impl Driver for Broken {
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        let from = events.len();
        let full = self.inner.poll(timeout, events)?;
        self.spoil(events, from);
        Ok(full)
    }

    fn fd(&self) -> io::Result<OwnedFd> {
        self.inner.fd()
    }
}
