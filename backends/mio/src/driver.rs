//! The driver: mio's queue, an alarm in it, and a waker.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lodger_backend::{
    Backend, Caps, Driver, Event, Interest, Micros, Net, Ready, Sock, Source, Token, Trigger, Waker,
};
use mio::unix::SourceFd;

use crate::alarm::{self, Alarm};

const _: () = assert!(usize::BITS >= 64, "a token is 64 bits wide and mio's is a usize");

/// mio's names of what is in the queue and not the guest's.
const ALARM: mio::Token = mio::Token(usize::MAX - 1);
const WAKER: mio::Token = mio::Token(usize::MAX);

/// Reports taken from the kernel in one call.
const EVENTS: usize = 1024;

/// An edge-triggered driver: one kernel queue, standalone or nested in a host that watches its
/// descriptor.
///
/// Nothing but the queue, the timer and the waker is opened, all close-on-exec. As long as
/// [`fd`](Driver::fd) has not been called the driver counts as standalone, and
/// [`request_turn`](Backend::request_turn) makes no system call.
///
/// The tokens with index `u32::MAX - 1` or `u32::MAX` and generation `u32::MAX` are the driver's.
#[derive(Debug)]
pub struct MioDriver {
    queue: mio::Poll,
    list: mio::Events,
    alarm: Alarm,
    waker: Arc<mio::Waker>,
    /// A turn was asked for since the last poll.
    asked: bool,
    /// Somebody watches the queue, so a request must make its descriptor readable.
    nested: Cell<bool>,
}

impl MioDriver {
    /// Opens a queue whose clock begins now.
    ///
    /// # Errors
    ///
    /// The system's own: it has no descriptor or no memory left.
    pub fn new() -> io::Result<Self> {
        Self::with_events(EVENTS)
    }

    /// As [`new`](Self::new), taking at most `events` reports a poll; 0 counts as 1.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_events(events: usize) -> io::Result<Self> {
        let queue = mio::Poll::new()?;
        let alarm = Alarm::new(queue.registry(), ALARM)?;
        let waker = Arc::new(mio::Waker::new(queue.registry(), WAKER)?);
        let list = mio::Events::with_capacity(events.max(1));
        Ok(Self { queue, list, alarm, waker, asked: false, nested: Cell::new(false) })
    }

    fn register(&self, source: Source, token: Token, what: mio::Interest) -> io::Result<()> {
        let fd = descriptor(source)?;
        self.queue.registry().register(&mut SourceFd(&fd), name(token)?, what)
    }

    /// Makes a new edge for whoever watches the queue. Writing to the waker fails only if its
    /// descriptor was closed behind our back, and then there is nothing left to tell.
    fn announce(&self) {
        let _ = self.waker.wake();
    }
}

impl Backend for MioDriver {
    fn caps(&self) -> Caps {
        Caps { trigger: Trigger::Edge, timer_resolution: alarm::RESOLUTION }
    }

    fn now(&self) -> Micros {
        self.alarm.now()
    }

    /// Registers both directions, whatever `want` says: the queue is edge-triggered.
    fn watch(&mut self, source: Source, token: Token, _want: Interest) -> io::Result<()> {
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        self.register(source, token, both)
    }

    /// Watches `want` alone from now on, and reports again what of it is ready.
    fn rearm(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        let fd = descriptor(source)?;
        // Not registered is where this starts from, not an error.
        let _ = self.queue.registry().deregister(&mut SourceFd(&fd));
        match (want.is_read(), want.is_write()) {
            (false, false) => Ok(()),
            (true, false) => self.register(source, token, mio::Interest::READABLE),
            (false, true) => self.register(source, token, mio::Interest::WRITABLE),
            (true, true) => self.watch(source, token, want),
        }
    }

    fn release(&mut self, _token: Token, sock: Sock, net: &Rc<dyn Net>) {
        if let Some(Source::Fd(fd)) = net.source(sock) {
            // Closing alone would leave the registration behind if the socket has a duplicate.
            // One that was never watched is refused, and is as good.
            let _ = self.queue.registry().deregister(&mut SourceFd(&fd));
        }
        net.close(sock);
    }

    fn set_deadline(&mut self, at: Option<Micros>) {
        self.alarm.set(at);
    }

    fn request_turn(&mut self) {
        if !self.asked {
            self.asked = true;
            if self.nested.get() {
                self.announce();
            }
        }
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        Waker::new(move || {
            let _ = waker.wake();
        })
    }
}

impl Driver for MioDriver {
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        let wait = if self.asked { Some(Duration::ZERO) } else { self.alarm.bound(timeout) };
        self.asked = false;
        match self.queue.poll(&mut self.list, wait) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(e) => return Err(e),
        }
        let mut taken = 0;
        for event in &self.list {
            taken += 1;
            match event.token() {
                WAKER => {}
                ALARM => self.alarm.fired(),
                mio::Token(bits) => events
                    .push(Event { token: Token::from_bits(bits as u64), ready: readiness(event) }),
            }
        }
        Ok(taken >= self.list.capacity())
    }

    fn fd(&self) -> io::Result<OwnedFd> {
        if !alarm::IN_QUEUE {
            let text = "this system's queue holds no timer: run the guest on its own loop";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let fd = self.queue.registry().as_fd().try_clone_to_owned()?;
        if !self.nested.replace(true) && self.asked {
            self.announce();
        }
        Ok(fd)
    }
}

/// Gives the descriptor to watch.
fn descriptor(source: Source) -> io::Result<i32> {
    match source {
        Source::Fd(fd) => Ok(fd),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel watches descriptors only")),
    }
}

/// Gives mio's name of a guest's token.
fn name(token: Token) -> io::Result<mio::Token> {
    // `usize` is 64 bits wide, as asserted above.
    let name = mio::Token(usize::try_from(token.bits()).unwrap_or(usize::MAX));
    if name == ALARM || name == WAKER {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the driver keeps this token"));
    }
    Ok(name)
}

/// Reads a report. Hang-up and error are both directions, so that the next call surfaces them.
fn readiness(event: &mio::event::Event) -> Ready {
    if event.is_error() || event.is_write_closed() {
        return Ready::BOTH | Ready::HUP;
    }
    let mut ready = Ready::NONE;
    if event.is_read_closed() {
        ready |= Ready::READ | Ready::HUP;
    } else if event.is_readable() {
        ready |= Ready::READ;
    }
    if event.is_writable() {
        ready |= Ready::WRITE;
    }
    ready
}

#[cfg(test)]
mod tests;
