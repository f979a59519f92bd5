//! The guest's backend on a host's operations, and the guest's place in that host.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use lodger_backend::{Driver, Event, Host, Interest, Micros, Nested, Ready, Token, Turn};

use crate::driver::TableDriver;
use crate::ops::Ops;

/// A host's operations, for one guest, and what the host tells it. Cheap to clone.
///
/// The host reports, and then gives one turn for all that it has reported. Whatever is reported is
/// a hint: late, repeated and wrong reports do no harm.
#[derive(Clone)]
pub struct Table(Rc<Shared>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.0.watched.borrow().len())
    }
}

impl Table {
    /// Wraps a host's operations. Nothing is asked of them before there is a guest.
    pub fn new(ops: Box<dyn Ops>) -> Self {
        Self(Rc::new(Shared {
            ops,
            watched: RefCell::default(),
            reports: RefCell::default(),
            guest: RefCell::default(),
            deadline: Cell::default(),
            alarm: Cell::default(),
            asked: Cell::default(),
        }))
    }

    /// Gives the driver to make the guest with: `lodger::Runtime::with`. One guest has it; it never
    /// waits, and has no descriptor.
    pub fn driver(&self) -> Box<dyn Driver> {
        Box::new(TableDriver(Rc::clone(&self.0)))
    }

    /// Tells that a watched descriptor may be ready. Hang-up and error are both directions with
    /// [`Ready::HUP`]. Costs a push; the guest hears of it in the next [`turn`](Self::turn).
    pub fn report(&self, token: Token, ready: Ready) {
        if self.0.is_attached() {
            self.0.reports.borrow_mut().push(Event { token, ready });
        }
    }

    /// Tells that the timer has fired. A turn must follow.
    pub fn fired(&self) {
        self.0.alarm.set(None);
    }

    /// Gives the guest one turn, which is bounded and never waits; nothing while no guest is
    /// attached. May be called again from inside itself, by a modal loop.
    ///
    /// # Errors
    ///
    /// The guest's.
    pub fn turn(&self) -> io::Result<Turn> {
        // Kept for the whole turn, whatever its handlers do.
        let guest = self.0.guest.borrow().clone();
        guest.map_or(Ok(Turn::default()), |guest| guest.dispatch())
    }
}

impl Host for Table {
    type Attached = Attached;

    /// Puts the guest into the host: the one that was made with this table's
    /// [`driver`](Self::driver). What it has opened so far is watched from now on.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if a guest is attached; else what the host said of a descriptor, and none is
    /// watched then.
    fn attach(&self, guest: Rc<dyn Nested>) -> io::Result<Attached> {
        if self.0.is_attached() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.0.watch_all()?;
        guest.host(&self.0.ops.name());
        *self.0.guest.borrow_mut() = Some(guest);
        self.0.program();
        // What has come meanwhile is to be looked for.
        self.0.asked.set(true);
        self.0.ops.request_turn();
        Ok(Attached(Rc::clone(&self.0)))
    }
}

/// A guest in a host. Dropping it takes the guest out: none of its descriptors is watched and its
/// timer is stopped. What arrives meanwhile is found when it is attached again.
///
/// Whether the guest keeps the host running is the host's affair: `set_keep_alive` changes nothing.
pub struct Attached(Rc<Shared>);

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}

impl lodger_backend::Attached for Attached {
    /// The host has forgotten the guest at once, so `done` runs before this returns.
    fn detach(self, done: Box<dyn FnOnce()>) {
        drop(self);
        done();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let guest = self.0.guest.borrow_mut().take();
        self.0.unwatch_all();
        // Last, with nothing borrowed: it may be the guest's end.
        drop(guest);
    }
}

/// What the host, the driver and the stay have in common. Nothing of it is borrowed while the
/// host's operations or the guest run.
pub(crate) struct Shared {
    pub(crate) ops: Box<dyn Ops>,
    /// Of all open descriptors, also while nobody watches.
    watched: RefCell<BTreeMap<Token, (RawFd, Interest)>>,
    reports: RefCell<Vec<Event>>,
    guest: RefCell<Option<Rc<dyn Nested>>>,
    deadline: Cell<Option<Micros>>,
    /// What the host's timer is set to. It may be earlier than the deadline.
    alarm: Cell<Option<Micros>>,
    /// A turn was asked for and has not begun.
    asked: Cell<bool>,
}

impl Shared {
    pub(crate) fn is_attached(&self) -> bool {
        self.guest.borrow().is_some()
    }

    fn watch_all(&self) -> io::Result<()> {
        let all = self.watched.borrow().clone();
        for (number, (token, (fd, want))) in all.iter().enumerate() {
            if let Err(error) = self.ops.watch(*fd, *token, *want) {
                all.iter().take(number).for_each(|(token, (fd, _))| self.ops.unwatch(*fd, *token));
                return Err(error);
            }
        }
        Ok(())
    }

    fn unwatch_all(&self) {
        let all = self.watched.borrow().clone();
        all.iter().for_each(|(token, (fd, _))| self.ops.unwatch(*fd, *token));
        self.ops.set_timer(None);
        self.alarm.set(None);
        self.asked.set(false);
    }

    pub(crate) fn watch(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        if self.is_attached() {
            self.ops.watch(fd, token, want)?;
        }
        self.watched.borrow_mut().insert(token, (fd, want));
        Ok(())
    }

    pub(crate) fn rearm(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        let result = if self.is_attached() { self.ops.rearm(fd, token, want) } else { Ok(()) };
        let want = if result.is_ok() { want } else { Interest::NONE };
        self.watched.borrow_mut().insert(token, (fd, want));
        result
    }

    pub(crate) fn unwatch(&self, token: Token) {
        let watched = self.watched.borrow_mut().remove(&token);
        if let Some((fd, _)) = watched
            && self.is_attached()
        {
            self.ops.unwatch(fd, token);
        }
    }

    pub(crate) fn set_deadline(&self, at: Option<Micros>) {
        self.deadline.set(at);
        self.program();
    }

    /// Sets the host's timer, unless it fires early enough: one that is too early costs a turn, one
    /// that is set for each message costs more.
    fn program(&self) {
        let Some(at) = self.deadline.get() else { return };
        if self.is_attached() && self.alarm.get().is_none_or(|alarm| alarm > at) {
            self.alarm.set(Some(at));
            self.ops.set_timer(Some(at));
        }
    }

    pub(crate) fn request_turn(&self) {
        if self.is_attached() && !self.asked.replace(true) {
            self.ops.request_turn();
        }
    }

    /// Begins a turn: hands over what the host has reported. Returns whether there was a cause.
    pub(crate) fn begin(&self, events: &mut Vec<Event>) -> bool {
        let now = self.ops.now();
        let due = self.alarm.get().is_some_and(|alarm| alarm <= now);
        if due {
            // The host need not say so, if its timer is not early.
            self.alarm.set(None);
        }
        let asked = self.asked.replace(false);
        let mut reports = self.reports.borrow_mut();
        let caused = due || asked || !reports.is_empty();
        events.append(&mut reports);
        caused
    }
}
