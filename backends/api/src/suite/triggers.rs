//! Level-triggered and oneshot drivers, played on an edge-triggered one.

use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::{
    Backend, Caps, Driver, Event, Interest, Micros, Net, Sock, Source, Token, Trigger, Waker,
};

/// An edge-triggered driver that behaves as if it were level-triggered or oneshot, so that a
/// guest's part of the contract is tested for these too.
///
/// The driver's `rearm` must watch only what it is asked for and report at once what of it is
/// ready. What is reported is registered anew before the guest sees it (level), or not until it
/// is asked for (oneshot); so the descriptor of the queue, too, is readable as long as the source
/// is.
pub struct Emulated {
    inner: Box<dyn Driver>,
    trigger: Trigger,
    watched: Vec<(Source, Token, Interest)>,
}

impl Emulated {
    /// Wraps `inner`, which must be edge-triggered.
    pub fn new(inner: Box<dyn Driver>, trigger: Trigger) -> Self {
        Self { inner, trigger, watched: Vec::new() }
    }

    /// After a report: level says it again, oneshot says nothing more.
    fn reported(&mut self, token: Token) -> io::Result<()> {
        let Some((source, _, want)) = self.watched.iter().find(|(_, t, _)| *t == token) else {
            return Ok(());
        };
        match self.trigger {
            Trigger::Edge => Ok(()),
            Trigger::Level => self.inner.rearm(*source, token, *want),
            Trigger::Oneshot => self.inner.rearm(*source, token, Interest::NONE),
        }
    }
}

impl fmt::Debug for Emulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulated").field("trigger", &self.trigger).finish_non_exhaustive()
    }
}

impl Backend for Emulated {
    fn caps(&self) -> Caps {
        Caps { trigger: self.trigger, ..self.inner.caps() }
    }

    fn now(&self) -> Micros {
        self.inner.now()
    }

    fn watch(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        self.inner.rearm(source, token, want)?;
        self.watched.push((source, token, want));
        Ok(())
    }

    fn rearm(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()> {
        if let Some((_, _, old)) = self.watched.iter_mut().find(|(_, t, _)| *t == token) {
            *old = want;
        }
        self.inner.rearm(source, token, want)
    }

    fn release(&mut self, token: Token, sock: Sock, net: &Rc<dyn Net>) {
        self.watched.retain(|(_, t, _)| *t != token);
        self.inner.release(token, sock, net);
    }

    fn set_deadline(&mut self, at: Option<Micros>) {
        self.inner.set_deadline(at);
    }

    fn request_turn(&mut self) {
        self.inner.request_turn();
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }
}

impl Driver for Emulated {
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        let from = events.len();
        let full = self.inner.poll(timeout, events)?;
        let tokens: Vec<Token> = events.iter().skip(from).map(|e| e.token).collect();
        tokens.into_iter().try_for_each(|token| self.reported(token))?;
        Ok(full)
    }

    fn fd(&self) -> io::Result<OwnedFd> {
        self.inner.fd()
    }
}
