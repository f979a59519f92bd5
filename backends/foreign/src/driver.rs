//! The driver that a guest on a table has.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::{
    Backend, Caps, Driver, Event, Interest, Micros, Net, Sock, Source, Token, Waker,
};

use crate::table::Shared;

/// Translates; what is kept is kept in [`Shared`].
pub(crate) struct TableDriver(pub(crate) Rc<Shared>);

impl Backend for TableDriver {
    fn caps(&self) -> Caps {
        self.0.ops.caps()
    }

    fn now(&self) -> Micros {
        self.0.ops.now()
    }

    fn watch(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        self.0.watch(number(source)?, token, want)
    }

    fn rearm(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        self.0.rearm(number(source)?, token, want)
    }

    fn release(&mut self, token: Token, sock: Sock, net: &Rc<dyn Net>) {
        self.0.unwatch(token);
        net.close(sock);
    }

    fn set_deadline(&mut self, at: Option<Micros>) {
        self.0.set_deadline(at);
    }

    fn request_turn(&mut self) {
        self.0.request_turn();
    }

    fn waker(&self) -> Waker {
        self.0.ops.waker()
    }
}

impl Driver for TableDriver {
    /// Hands over what was reported. The host is what waits: asked to, this is `Unsupported`.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        let caused = self.0.begin(events);
        if caused || timeout == Some(Duration::ZERO) {
            return Ok(false);
        }
        let text = "a table of operations cannot wait: its host does, and gives turns";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    fn fd(&self) -> io::Result<OwnedFd> {
        let text = "a table of operations has no descriptor: its host watches each";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

fn number(source: Source) -> io::Result<i32> {
    match source {
        Source::Fd(fd) => Ok(fd),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
