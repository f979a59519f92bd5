//! The other way: every socket is a `uv_poll_t` of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodger_backend::{
    Backend, Caps, Driver, Event, Interest, Micros, Nested, Net, Ready, Sock, Source, Token,
    Trigger, Waker,
};

use crate::Attached;
use crate::alarm::RESOLUTION;
use crate::desk::Desk;
use crate::ffi::{self, DISCONNECT, Doorbell, Handle, Last, Loop, READABLE, WRITABLE};
use crate::seat::{House, Seat};

/// A driver without a queue of its own: libuv watches every socket of the guest's, and on Linux a
/// timerfd. Elsewhere its timer is libuv's, of whole milliseconds.
///
/// Make a runtime with a clone of it, then [`attach`](Self::attach) that runtime's handle. Nothing
/// happens before; the guest cannot be run in any other way, nor in two loops at once.
///
/// The nested way ([`attach`](crate::attach)) is as fast from ten busy connections up, and faster
/// from hundreds; this one saves a system call for a lone message.
#[derive(Clone, Debug)]
pub struct PerFd(Rc<Inner>);

pub(crate) struct Inner {
    began: Instant,
    watches: RefCell<BTreeMap<Token, Watch>>,
    /// Reported and not yet taken by a turn.
    events: RefCell<Vec<Event>>,
    /// Handles that libuv has stopped by itself, for an error.
    stopped: RefCell<Vec<Token>>,
    /// A turn was asked for since the last one.
    asked: Cell<bool>,
    deadline: Cell<Option<Micros>>,
    doorbell: Arc<Doorbell>,
    desk: RefCell<Option<Desk>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watches = self.watches.borrow().len();
        f.debug_struct("PerFd").field("watches", &watches).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Watch {
    fd: c_int,
    want: Interest,
    /// None while the guest is in no loop.
    handle: Option<Handle>,
}

impl Watch {
    /// Tells libuv what is wanted; nothing silences hang-up and error, too.
    fn start(&self) -> io::Result<()> {
        match &self.handle {
            Some(handle) if self.want.is_none() => {
                handle.stop();
                Ok(())
            }
            Some(handle) => {
                let read = if self.want.is_read() { READABLE | DISCONNECT } else { 0 };
                let write = if self.want.is_write() { WRITABLE } else { 0 };
                handle.start_poll(read | write)
            }
            None => Ok(()),
        }
    }
}

impl PerFd {
    /// Makes a driver for no loop yet. Its clock begins now.
    pub fn new() -> Self {
        Self(Rc::new(Inner {
            began: Instant::now(),
            watches: RefCell::default(),
            events: RefCell::default(),
            stopped: RefCell::default(),
            asked: Cell::new(false),
            deadline: Cell::new(None),
            doorbell: Arc::default(),
            desk: RefCell::default(),
        }))
    }

    pub(crate) fn enter(&self, uv_loop: Loop, guest: Rc<dyn Nested>) -> io::Result<Attached> {
        if self.0.desk.borrow().is_some() {
            let text = "this driver is in a loop already";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        guest.host(&ffi::version());
        let seat = Seat::new(uv_loop, guest);
        let desk = Desk::open(uv_loop, &self.0, &seat, &self.0.doorbell)?;
        *self.0.desk.borrow_mut() = Some(desk);
        seat.furnish(Rc::<Inner>::clone(&self.0));
        // From here on a failure has something to leave.
        let attached = Attached::new(seat);
        self.0.resume(uv_loop)?;
        Ok(attached)
    }
}

impl Inner {
    /// Watches again what was watched before, and asks for the turn that finds what came since.
    fn resume(self: &Rc<Self>, uv_loop: Loop) -> io::Result<()> {
        for (token, watch) in self.watches.borrow_mut().iter_mut() {
            watch.handle = Some(self.open(uv_loop, watch.fd, *token)?);
            watch.start()?;
        }
        self.program(self.deadline.get());
        self.asked.set(false);
        self.request();
        Ok(())
    }

    fn open(self: &Rc<Self>, uv_loop: Loop, fd: c_int, token: Token) -> io::Result<Handle> {
        let me: Weak<Self> = Rc::downgrade(self);
        let report = move |status, events| {
            if let Some(inner) = me.upgrade() {
                inner.report(token, status, events);
            }
        };
        Handle::poll(uv_loop, fd, Rc::new(report))
    }

    /// Keeps a report for the turn at the end of the batch.
    fn report(&self, token: Token, status: c_int, events: c_int) {
        let ready = if status < 0 {
            // libuv has stopped the handle. The guest's next call finds the error itself.
            self.stopped.borrow_mut().push(token);
            Ready::BOTH | Ready::HUP
        } else {
            readiness(events)
        };
        self.events.borrow_mut().push(Event { token, ready });
    }

    /// At the end of a batch: whether there is something to have a turn for.
    pub(crate) fn is_due(&self) -> bool {
        self.asked.get() || !self.events.borrow().is_empty()
    }

    /// After a turn: a socket that had an error and is still wanted is watched again.
    pub(crate) fn restart(&self) {
        let stopped = self.stopped.take();
        let watches = self.watches.borrow();
        for watch in stopped.iter().filter_map(|token| watches.get(token)) {
            // What libuv refuses now has no descriptor any more: its guest will find out.
            let _ = watch.start();
        }
    }

    /// A turn begins: the loop may sleep after it.
    pub(crate) fn rest(&self) {
        if let Some(desk) = &*self.desk.borrow() {
            desk.idle.stop();
        }
    }

    /// A turn, without the loop sleeping before it.
    pub(crate) fn request(&self) {
        self.asked.set(true);
        if let Some(desk) = &*self.desk.borrow() {
            desk.idle.start();
        }
    }

    /// Sets the alarm, which is no earlier than asked.
    fn program(&self, at: Option<Micros>) {
        if let Some(desk) = &*self.desk.borrow() {
            desk.alarm.set(self.now(), at);
        }
    }

    /// A turn in so many microseconds, whatever deadline is set.
    pub(crate) fn hurry(&self, micros: u64) {
        self.deadline.set(None);
        self.program(Some(self.now() + Duration::from_micros(micros)));
    }

    /// The alarm has come, and is set again by the turn that follows.
    pub(crate) fn alarm(&self) {
        if let Some(desk) = &*self.desk.borrow() {
            desk.alarm.fired();
        }
        self.deadline.set(None);
        self.request();
    }

    fn now(&self) -> Micros {
        Micros::ZERO + self.began.elapsed()
    }
}

impl House for Inner {
    fn close(self: Rc<Self>, last: &Rc<Last>) {
        let desk = self.desk.borrow_mut().take();
        if let Some(desk) = desk {
            desk.close(last);
        }
        for watch in self.watches.borrow_mut().values_mut() {
            if let Some(handle) = watch.handle.take() {
                handle.close(last);
            }
        }
    }

    fn keep_alive(&self, on: bool) {
        if let Some(desk) = &*self.desk.borrow() {
            desk.check.keep_alive(on);
        }
    }
}

impl Backend for PerFd {
    fn caps(&self) -> Caps {
        Caps { trigger: Trigger::Level, timer_resolution: RESOLUTION }
    }

    fn now(&self) -> Micros {
        self.0.now()
    }

    fn watch(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        let Source::Fd(fd) = source else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "libuv watches descriptors only",
            ));
        };
        let uv_loop = self.0.desk.borrow().as_ref().map(|desk| desk.uv_loop);
        let handle = uv_loop.map(|uv_loop| self.0.open(uv_loop, fd, token)).transpose()?;
        let watch = Watch { fd, want, handle };
        watch.start()?;
        self.0.watches.borrow_mut().insert(token, watch);
        Ok(())
    }

    fn rearm(&mut self, _source: Source, token: Token, want: Interest) -> io::Result<()> {
        let mut watches = self.0.watches.borrow_mut();
        let watch = watches.get_mut(&token).ok_or(io::ErrorKind::NotFound)?;
        watch.want = want;
        watch.start()
    }

    fn release(&mut self, token: Token, sock: Sock, net: &Rc<dyn Net>) {
        // Closing the handle stops the watching at once; only its memory is freed later.
        let watch = self.0.watches.borrow_mut().remove(&token);
        drop(watch);
        self.0.events.borrow_mut().retain(|event| event.token != token);
        net.close(sock);
    }

    fn set_deadline(&mut self, at: Option<Micros>) {
        if self.0.deadline.replace(at) != at {
            self.0.program(at);
        }
    }

    fn request_turn(&mut self) {
        if !self.0.asked.get() {
            self.0.request();
        }
    }

    fn waker(&self) -> Waker {
        let doorbell = Arc::clone(&self.0.doorbell);
        Waker::new(move || doorbell.ring())
    }
}

impl Driver for PerFd {
    /// Takes what libuv has reported. Only libuv waits, so any other timeout than zero is refused.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        if timeout != Some(Duration::ZERO) {
            let text = "libuv's loop does the waiting: attach, and run that loop";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.0.asked.set(false);
        events.append(&mut self.0.events.borrow_mut());
        Ok(false)
    }

    fn fd(&self) -> io::Result<OwnedFd> {
        let text = "there is no queue to watch: attach the driver itself";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

/// Reads a report of libuv's.
fn readiness(events: c_int) -> Ready {
    let mut ready = Ready::NONE;
    if events & READABLE != 0 {
        ready |= Ready::READ;
    }
    if events & WRITABLE != 0 {
        ready |= Ready::WRITE;
    }
    if events & DISCONNECT != 0 {
        ready |= Ready::READ | Ready::HUP;
    }
    ready
}
