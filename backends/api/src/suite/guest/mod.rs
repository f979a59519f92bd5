//! The kit's guest: echo connections, timers and a mailbox, kept by the readiness contract.
//!
//! It is small enough to be read in one sitting and does what any guest must: it keeps `want`,
//! `ready` and `armed` of each connection, works in bounded turns, lends nothing across a
//! callback, and takes none of its host's time when nothing happens. It is not fast.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::v1::*;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};

use self::slots::{Kind, Slots};
use self::timers::Timers;
use super::clock;
use crate::{
    Addr, Budget, Driver, Interest, Micros, Nested, Net, Pending, Sock, Token, Trigger, Turn, Waker,
};

mod serve;
mod slots;
mod timers;
mod turn;

/// A connection of the guest. Stale once it has closed.
pub type Id = Token;

/// Hears the bytes of a connection in place of the echo.
pub type OnData = Box<dyn FnMut(&Rc<Guest>, Id, &[u8])>;

/// Names a timer until it has run or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerId(Micros, u64);

/// A way to break the guest's part of the laws, so that the laws can be seen to notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Flaw {
    /// None: the guest keeps the laws.
    #[default]
    Sound,
    /// Serves all that is ready, whatever the budget says.
    IgnoresBudget,
    /// Drops what a turn has left instead of asking for another.
    ForgetsTheRest,
    /// Does nothing in a turn inside a callback.
    DeafInside,
    /// Serves a connection that is on the stack again.
    Reenters,
    /// Takes all due timers out before it runs them, so that cancelling comes too late.
    IgnoresCancel,
    /// Runs a timer of delay 0 in the turn that set it.
    ZeroDelayAtOnce,
    /// Looks at the index of a token and not at its generation.
    IgnoresGeneration,
    /// Keeps asking for turns for input that nobody wants.
    SpinsWhenPaused,
}

/// What the guest has seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Turns, also those inside a callback.
    pub turns: u32,
    /// Turns that something other than the end of the wait has caused.
    pub wakeups: u32,
    /// Reports from the driver.
    pub reports: u32,
    /// Reports for connections that have gone.
    pub stale: u32,
    /// Connections served.
    pub served: u32,
    /// Most connections served in one turn.
    pub most_served: u32,
    /// Deepest turn inside a turn; 1 is a turn alone.
    pub deepest: u32,
}

/// The kit's guest. Lives in the host under test as any guest would.
pub struct Guest {
    me: Weak<Self>,
    driver: RefCell<Box<dyn Driver>>,
    net: Rc<dyn Net>,
    trigger: Trigger,
    slots: RefCell<Slots>,
    timers: RefCell<Timers>,
    mail: Arc<Mail>,
    budget: Cell<Budget>,
    counts: Cell<Counts>,
    depth: Cell<u32>,
    /// The topmost frame runs a modal loop, so calls from there have to ask for turns.
    modal: Cell<bool>,
    host: RefCell<Option<String>>,
    flaw: Flaw,
}

impl Guest {
    /// Makes a guest with nothing to do.
    pub fn new(driver: Box<dyn Driver>, net: Rc<dyn Net>, flaw: Flaw) -> Rc<Self> {
        let mail = Arc::new(Mail { letters: Mutex::default(), waker: driver.waker() });
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            trigger: driver.caps().trigger,
            driver: RefCell::new(driver),
            net,
            slots: RefCell::default(),
            timers: RefCell::default(),
            mail,
            budget: Cell::default(),
            counts: Cell::default(),
            depth: Cell::new(0),
            modal: Cell::new(false),
            host: RefCell::default(),
            flaw,
        })
    }

    /// Sets what one turn may do.
    pub fn set_budget(&self, budget: Budget) {
        self.budget.set(budget);
    }

    /// Listens on a free port of 127.0.0.1 and echoes what comes.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub fn listen(&self) -> io::Result<Addr> {
        let sock = self.net.listen(&Addr::parse("127.0.0.1:0")?)?;
        let addr = self.net.local_addr(sock)?;
        self.admit(sock, Kind::Listener, None)?;
        Ok(addr)
    }

    /// Takes over a listening socket and echoes what comes.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub fn adopt_listener(&self, fd: OwnedFd) -> io::Result<Id> {
        let sock = self.net.adopt(fd).map_err(|(_, error)| error)?;
        self.admit(sock, Kind::Listener, None)
    }

    /// Takes over a connected stream. Its bytes go to `on_data`, or back to where they came from.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub fn adopt(&self, fd: OwnedFd, on_data: Option<OnData>) -> io::Result<Id> {
        let sock = self.net.adopt(fd).map_err(|(_, error)| error)?;
        self.admit(sock, Kind::Stream, on_data)
    }

    /// Stops or resumes reading.
    pub fn pause(&self, id: Id, on: bool) {
        if let Some(conn) = self.slots.borrow_mut().get_mut(id) {
            conn.paused = on;
        }
        self.reconsider(id);
        self.nudge();
    }

    /// Closes a connection; if its handler is on the stack, when that has returned.
    pub fn close(&self, id: Id) {
        let running = match self.slots.borrow_mut().get_mut(id) {
            Some(conn) if conn.running => {
                conn.dead = true;
                true
            }
            Some(_) => false,
            None => return,
        };
        if !running {
            self.bury(id);
        }
    }

    /// Tells how often a connection was served for input; `None` if it has gone.
    pub fn visits(&self, id: Id) -> Option<u32> {
        self.slots.borrow_mut().get_mut(id).map(|conn| conn.visits)
    }

    /// Runs `f` in a turn, once `delay` has passed; a delay of 0 is the next turn.
    pub fn after(&self, delay: Duration, f: impl FnOnce(&Rc<Self>) + 'static) -> TimerId {
        let at_once = self.flaw == Flaw::ZeroDelayAtOnce && delay.is_zero();
        let now = self.now();
        let id = self.timers.borrow_mut().arm(now, delay, at_once, Box::new(f));
        self.nudge();
        id
    }

    /// Takes a timer back; tells whether it was still to run.
    pub fn cancel(&self, id: TimerId) -> bool {
        // The closure is dropped when nothing is borrowed any more.
        let taken = self.timers.borrow_mut().cancel(id);
        taken.is_some()
    }

    /// Runs a host's modal loop from inside a callback, with everything settled for it.
    pub fn modal<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = self.modal.replace(true);
        self.settle(false);
        let result = f();
        self.modal.set(before);
        result
    }

    /// Gives what other threads post to.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox(Arc::clone(&self.mail))
    }

    /// Gives what has been counted so far.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Gives the host's name, once an adaptor has told it.
    pub fn host_name(&self) -> Option<String> {
        self.host.borrow().clone()
    }

    /// Gives how late the driver says that its deadline may be.
    pub fn resolution(&self) -> Duration {
        self.driver.borrow().caps().timer_resolution
    }

    fn count(&self, f: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        f(&mut counts);
        self.counts.set(counts);
    }

    /// After a call from outside a turn, or from a modal loop: no frame will settle it.
    fn nudge(&self) {
        if self.depth.get() == 0 || self.modal.get() {
            self.settle(false);
        }
    }

    /// Begins to watch a socket, which is closed if the driver refuses it.
    fn admit(&self, sock: Sock, kind: Kind, on_data: Option<OnData>) -> io::Result<Id> {
        let id = self.slots.borrow_mut().insert(sock, kind, on_data);
        let want = if self.trigger == Trigger::Edge { Interest::BOTH } else { Interest::READ };
        let source = self.net.source(sock).ok_or(io::ErrorKind::NotConnected)?;
        let watched = self.driver.borrow_mut().watch(source, id, want);
        if let Err(error) = watched {
            self.slots.borrow_mut().remove(id);
            self.net.close(sock);
            return Err(error);
        }
        if let Some(conn) = self.slots.borrow_mut().get_mut(id) {
            conn.armed = want;
        }
        Ok(id)
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("counts", &self.counts.get()).finish_non_exhaustive()
    }
}

impl Nested for Guest {
    fn fd(&self) -> io::Result<OwnedFd> {
        self.driver.borrow().fd()
    }

    fn dispatch(&self) -> io::Result<Turn> {
        self.step(Some(Duration::ZERO))
    }

    fn pending(&self) -> Pending {
        if self.at_limit() {
            return Pending::default();
        }
        let deadline = self.timers.borrow().next();
        Pending { work: self.slots.borrow().has_work(), deadline }
    }

    fn now(&self) -> Micros {
        self.driver.borrow().now()
    }

    fn host(&self, name: &str) {
        *self.host.borrow_mut() = Some(name.to_owned());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut driver = self.driver.borrow_mut();
        for (id, sock) in self.slots.borrow_mut().drain() {
            driver.release(id, sock, &self.net);
        }
    }
}

type Letter = Box<dyn FnOnce(&Rc<Guest>) + Send>;

struct Mail {
    letters: Mutex<VecDeque<Letter>>,
    waker: Waker,
}

impl Mail {
    fn take(&self) -> Option<Letter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Posts to the guest from any thread.
#[derive(Clone)]
pub struct Mailbox(Arc<Mail>);

impl Mailbox {
    /// Has `letter` run in the guest's next turn. Each post uses the waker: to make many wakes
    /// one is the backend's part.
    pub fn post(&self, letter: impl FnOnce(&Rc<Guest>) + Send + 'static) {
        let mut letters = self.0.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push_back(Box::new(letter));
        drop(letters);
        self.0.waker.wake();
    }

    /// Wakes the guest for nothing.
    pub fn wake(&self) {
        self.0.waker.wake();
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

/// How deep turns may stack up. Deeper ones collect reports and leave the work to those below.
const DEEPEST: u32 = 4;

/// Timers run in a turn, and letters read.
const PER_TURN: usize = 256;

/// Output that stops a connection's input, until half of it has gone.
const HIGH: usize = 64 * 1024;

/// Bytes asked for in one read.
const READ: usize = 16 * 1024;

/// Connections accepted in one visit to a listener.
const ACCEPTS: usize = 16;
