//! A host for the table: a loop of its own around epoll, of each kind.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodger_backend::suite::{Guest, Loop, Stay};
use lodger_backend::{Caps, Host, Interest, Micros, Nested, Ready, Token, Trigger, Waker};
use lodger_foreign::{Ops, Table};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::ffi::borrowed;

pub(crate) struct Epoll {
    queue: OwnedFd,
    trigger: Trigger,
    epoch: Instant,
    wake: Arc<OwnedFd>,
    /// By token: whether the queue has it. With nothing wanted it must not, or it reports hang-up.
    watched: RefCell<BTreeMap<u64, bool>>,
    timer: Cell<Option<Micros>>,
    asked: Cell<bool>,
    own: RefCell<Vec<Own>>,
    sequence: Cell<u64>,
}

/// A timer of the host's own, and its place among those set at once.
type Own = (Micros, u64, Box<dyn FnOnce()>);

/// No token: what the waker writes to.
const WAKE: u64 = u64::MAX;

impl Epoll {
    pub(crate) fn new(trigger: Trigger) -> io::Result<Rc<Self>> {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&queue, &wake, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        Ok(Rc::new(Self {
            queue,
            trigger,
            epoch: Instant::now(),
            wake: Arc::new(wake),
            watched: RefCell::default(),
            timer: Cell::default(),
            asked: Cell::default(),
            own: RefCell::default(),
            sequence: Cell::default(),
        }))
    }

    fn micros(&self) -> Micros {
        Micros::new(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn flags(&self, want: Interest) -> EventFlags {
        let mut flags = match self.trigger {
            Trigger::Level => EventFlags::empty(),
            Trigger::Edge => EventFlags::ET,
            Trigger::Oneshot => EventFlags::ONESHOT,
        };
        flags.set(EventFlags::IN | EventFlags::RDHUP, want.is_read());
        flags.set(EventFlags::OUT, want.is_write());
        flags
    }

    /// Waits at most `wait`, reports, and gives the guest a turn if there is a cause.
    fn iterate(&self, table: &Table, wait: Duration) {
        let now = self.micros();
        let timer = self.timer.get().map_or(wait, |at| at.since(now).min(wait));
        let wait = if self.asked.get() { Duration::ZERO } else { timer };
        let mut events = Vec::with_capacity(64);
        let timespec = Timespec::try_from(wait).expect("a short wait");
        let buffer = rustix::buffer::spare_capacity(&mut events);
        let _ = epoll::wait(&self.queue, buffer, Some(&timespec));
        let mut caused = self.asked.replace(false) || !events.is_empty();
        for event in events {
            if event.data.u64() != WAKE {
                table.report(Token::from_bits(event.data.u64()), ready(event.flags));
            }
        }
        if self.timer.get().is_some_and(|at| at <= self.micros()) {
            self.timer.set(None);
            table.fired();
            caused = true;
        }
        if caused {
            table.turn().expect("a table does not fail");
        }
    }

    fn run_own(&self) {
        let (now, end) = (self.micros(), self.sequence.get());
        loop {
            let mut own = self.own.borrow_mut();
            let Some(due) = own.iter().position(|t| t.0 <= now && t.1 < end) else { return };
            let (_, _, call) = own.remove(due);
            drop(own);
            call();
        }
    }

    fn next_own(&self) -> Option<Micros> {
        self.own.borrow().iter().map(|timer| timer.0).min()
    }
}

fn ready(flags: EventFlags) -> Ready {
    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
        return Ready::BOTH | Ready::HUP;
    }
    let mut ready = Ready::NONE;
    if flags.contains(EventFlags::IN) {
        ready |= Ready::READ;
    }
    if flags.contains(EventFlags::OUT) {
        ready |= Ready::WRITE;
    }
    if flags.contains(EventFlags::RDHUP) {
        ready |= Ready::READ | Ready::HUP;
    }
    ready
}

/// The loop's operations, as its guest gets them.
pub(crate) struct EpollOps(pub(crate) Rc<Epoll>);

impl Ops for EpollOps {
    fn name(&self) -> String {
        "epoll".into()
    }

    fn caps(&self) -> Caps {
        Caps { trigger: self.0.trigger, timer_resolution: Duration::from_micros(100) }
    }

    fn now(&self) -> Micros {
        self.0.micros()
    }

    fn watch(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        self.0.watched.borrow_mut().insert(token.bits(), false);
        let watched = self.rearm(fd, token, want);
        if watched.is_err() {
            self.0.watched.borrow_mut().remove(&token.bits());
        }
        watched
    }

    fn rearm(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        let (queue, flags, fd) = (&self.0.queue, self.0.flags(want), borrowed(fd));
        let data = EventData::new_u64(token.bits());
        let had = self.0.watched.borrow_mut().insert(token.bits(), !want.is_none());
        match (had, want.is_none()) {
            (Some(true), true) => epoll::delete(queue, fd)?,
            (Some(true), false) => epoll::modify(queue, fd, data, flags)?,
            (_, true) => {}
            (_, false) => epoll::add(queue, fd, data, flags)?,
        }
        Ok(())
    }

    fn unwatch(&self, fd: RawFd, token: Token) {
        if self.0.watched.borrow_mut().remove(&token.bits()) == Some(true) {
            epoll::delete(&self.0.queue, borrowed(fd)).expect("it was watched");
        }
    }

    fn set_timer(&self, at: Option<Micros>) {
        self.0.timer.set(at);
    }

    fn request_turn(&self) {
        self.0.asked.set(true);
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.0.wake);
        Waker::new(move || {
            // A counter that is full has woken already.
            let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
        })
    }
}

/// The loop, as the kit drives it.
pub(crate) struct Played {
    pub(crate) host: Rc<Epoll>,
    pub(crate) table: Table,
}

impl Loop for Played {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        Ok(Box::new(self.table.attach(guest)?))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let end = self.host.micros() + limit;
        loop {
            self.host.run_own();
            if done() {
                return true;
            }
            let now = self.host.micros();
            if now >= end {
                return false;
            }
            let until = self.host.next_own().map_or(end, |at| at.min(end));
            self.host.iterate(&self.table, until.since(now));
        }
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        let sequence = self.host.sequence.replace(self.host.sequence.get() + 1);
        self.host.own.borrow_mut().push((self.host.micros() + delay, sequence, f));
    }

    fn sources(&self) -> Option<usize> {
        Some(self.host.watched.borrow().len())
    }
}
