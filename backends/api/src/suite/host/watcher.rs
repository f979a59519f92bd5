//! A host that watches one descriptor, which is all that a host must be able to do.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::v1::*;
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, epoll, poll};

use super::{HostTimers, Loop, Stay, run_loop};
use crate::suite::{Guest, clock};
use crate::{Attached, Nested, Turn};

/// How the reference host learns that the guest wants a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Watching {
    /// `poll(2)`: as long as the descriptor is readable.
    #[default]
    Level,
    /// As `Level`, and it asks [`Nested::pending`] before it blocks.
    LevelAsking,
    /// Edge-triggered: told once, it dispatches until a turn leaves nothing.
    Edge,
    /// Edge-triggered without looking at what a turn leaves: the guest's requests are all it has.
    EdgeCareless,
}

/// A way to break the host's part of the laws.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Lapse {
    /// None: the host keeps the laws.
    #[default]
    None,
    /// Never blocks.
    Spins,
    /// Dispatches until nothing is left, and only then looks at its own timers.
    Greedy,
    /// Does not dispatch inside a callback.
    HoldsWhileModal,
    /// Goes on dispatching after the detach.
    KeepsDispatching,
    /// Forgets to say that the detach is complete.
    NeverDone,
    /// Does not tell the guest where it lives.
    Nameless,
}

/// The reference host: a loop that watches the guest's descriptor, and timers of its own.
///
/// Detaching completes in a later iteration, as in libuv.
#[derive(Debug)]
pub struct Watcher(Rc<State>);

#[derive(Debug)]
struct State {
    watching: Watching,
    lapse: Lapse,
    seat: RefCell<Option<Rc<Seat>>>,
    timers: HostTimers,
    dispatching: Cell<bool>,
}

/// One attached guest.
struct Seat {
    guest: Rc<dyn Nested>,
    fd: OwnedFd,
    /// Where the descriptor is watched, if edge-triggered.
    queue: Option<OwnedFd>,
    /// An edge has come, and no turn since has left nothing.
    ready: Cell<bool>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Watcher {
    /// Makes a host without a guest.
    pub fn new(watching: Watching) -> Self {
        Self::broken(watching, Lapse::None)
    }

    /// Makes a host that breaks a law.
    pub fn broken(watching: Watching, lapse: Lapse) -> Self {
        Self(Rc::new(State {
            watching,
            lapse,
            seat: RefCell::default(),
            timers: HostTimers::default(),
            dispatching: Cell::default(),
        }))
    }
}

impl Loop for Watcher {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        if self.0.lapse != Lapse::Nameless {
            guest.host("the reference host");
        }
        let fd = guest.fd()?;
        let queue = match self.0.watching {
            Watching::Level | Watching::LevelAsking => None,
            Watching::Edge | Watching::EdgeCareless => Some(edge_queue(&fd)?),
        };
        let seat = Rc::new(Seat { guest, fd, queue, ready: Cell::new(false) });
        *self.0.seat.borrow_mut() = Some(seat);
        Ok(Box::new(Seated(Rc::clone(&self.0))))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        run_loop(&self.0.timers, limit, done, &|wait| self.0.iterate(wait))
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        self.0.timers.arm(delay, f);
    }

    fn asks_pending(&self) -> bool {
        self.0.watching == Watching::LevelAsking
    }

    fn sources(&self) -> Option<usize> {
        Some(usize::from(self.0.seat.borrow().is_some()))
    }
}

impl State {
    /// Waits for the guest's descriptor, at most `wait`, and dispatches once if it is readable.
    fn iterate(&self, wait: Duration) {
        let wait = if self.lapse == Lapse::Spins { Duration::ZERO } else { wait };
        let held = self.lapse == Lapse::HoldsWhileModal && self.dispatching.get();
        let seat = self.seat.borrow().clone().filter(|_| !held);
        let Some(seat) = seat else {
            let _ = poll(&mut [], Some(&clock::timespec(wait)));
            return;
        };
        if self.is_due(&seat, wait) {
            let outer = self.dispatching.replace(true);
            let mut turn = dispatch(&seat);
            while turn.again && self.lapse == Lapse::Greedy {
                turn = dispatch(&seat);
            }
            self.dispatching.set(outer);
            // An edge that was told stays told until a turn leaves nothing.
            seat.ready.set(turn.again && self.watching == Watching::Edge);
        }
    }

    fn is_due(&self, seat: &Seat, wait: Duration) -> bool {
        match &seat.queue {
            Some(queue) => {
                let wait = if seat.ready.get() { Duration::ZERO } else { wait };
                let mut events = [epoll::Event {
                    flags: epoll::EventFlags::empty(),
                    data: epoll::EventData::new_u64(0),
                }];
                let n = epoll::wait(queue, &mut events[..], Some(&clock::timespec(wait)));
                seat.ready.set(seat.ready.get() || n.is_ok_and(|n| n > 0));
                seat.ready.get()
            }
            None if self.watching == Watching::LevelAsking => {
                let pending = seat.guest.pending();
                let left = pending.deadline.map_or(wait, |at| at.since(seat.guest.now()));
                let wait = if pending.work { Duration::ZERO } else { wait.min(left) };
                let readable = is_readable(&seat.fd, wait);
                let met = pending.deadline.is_some_and(|at| at <= seat.guest.now());
                pending.work || readable || met
            }
            None => is_readable(&seat.fd, wait),
        }
    }
}

fn dispatch(seat: &Seat) -> Turn {
    seat.guest.dispatch().expect("the guest's queue works")
}

fn edge_queue(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&queue, fd, epoll::EventData::new_u64(0), flags)?;
    Ok(queue)
}

/// Waits at most `wait`; an interrupted wait counts as one that found nothing.
fn is_readable(fd: &OwnedFd, wait: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&clock::timespec(wait))).is_ok_and(|n| n > 0)
}

/// The guest is watched; dropping this stops it.
#[derive(Debug)]
struct Seated(Rc<State>);

impl Attached for Seated {
    fn detach(self, done: Box<dyn FnOnce()>) {
        let host = Rc::clone(&self.0);
        drop(self);
        if host.lapse != Lapse::NeverDone {
            host.timers.arm(Duration::ZERO, done);
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        if self.0.lapse != Lapse::KeepsDispatching {
            let seat = self.0.seat.take();
            drop(seat);
        }
    }
}
