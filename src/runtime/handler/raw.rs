//! A plain byte stream: for protocols that are not built in.

use std::boxed::Box;
use std::rc::Rc;

use lodger_backend::{Addr, Sock};

use super::{Serve, Service, common_cx};
use crate::proto::stack::Stack;
use crate::runtime::id::{ConnId, Gone, Reason, SendError};
use crate::runtime::slot::Flags;
use crate::runtime::{Handle, ListenerId};

/// What hears one byte stream. Every method runs in a turn, with nothing of the runtime borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait Handler: 'static {
    /// The connection is there: the first call.
    fn open(&mut self, cx: &mut Cx<'_>) {}

    /// Bytes arrived, in order, cut anywhere.
    fn data(&mut self, cx: &mut Cx<'_>, bytes: &[u8]);

    /// The peer sends nothing more. Unless overridden, what is queued is sent and the connection
    /// closes.
    fn end(&mut self, cx: &mut Cx<'_>) {
        cx.close();
    }

    /// There is room for `room` bytes of output, as `want_write` asked.
    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {}

    /// A timer of [`Cx::timer`] is due.
    fn timer(&mut self, cx: &mut Cx<'_>, tag: u64) {}

    /// It is over: exactly once, the last call. Sending says Gone.
    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {}
}

/// What a raw handler acts through. It cannot outlive the call.
#[derive(Debug)]
pub struct Cx<'t> {
    h: &'t Handle,
    id: ConnId,
}

impl<'t> Cx<'t> {
    pub(crate) fn new(h: &'t Handle, id: ConnId) -> Self {
        Self { h, id }
    }

    fn conn(&self) -> ConnId {
        self.id
    }

    /// Sends `bytes`, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.h.send_bytes(self.id, bytes)
    }

    /// Closes once everything queued has been sent.
    pub fn close(&mut self) {
        // It is Gone only when it is closing already.
        let _ = self.h.close_bytes(self.id);
    }
}
common_cx!(Cx);

impl Handle {
    /// Sends `bytes` on a raw connection, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_bytes(&self, id: ConnId, bytes: &[u8]) -> Result<(), SendError> {
        let raw = |stack: &Stack| matches!(stack, Stack::Raw(_));
        self.send_with(id, raw, bytes.len(), |_, _, tx| {
            tx.put(bytes);
            Ok(())
        })
    }

    /// Closes a raw connection once everything queued has been sent.
    ///
    /// # Errors
    ///
    /// It has ended or is ending.
    pub fn close_bytes(&self, id: ConnId) -> Result<(), Gone> {
        let mut core = self.core();
        let core = &mut *core;
        let slot = core.open(id).ok_or(Gone)?;
        let linger = !slot.flags.has(Flags::EOF);
        core.start_close(id.index, Reason::Done, linger);
        self.ask(core);
        Ok(())
    }
}

/// A connection that a listener has just accepted.
#[derive(Debug)]
pub struct Accepted<'t> {
    pub(crate) h: &'t Handle,
    pub(crate) sock: Sock,
    pub(crate) listener: Option<ListenerId>,
}

impl Accepted<'_> {
    /// Gives the peer's address. One system call.
    ///
    /// # Errors
    ///
    /// The system's own; the peer may have gone already.
    pub fn peer(&self) -> std::io::Result<Addr> {
        self.h.0.net.peer_addr(self.sock)
    }

    /// Names the listener; `None` for an adopted connection.
    pub fn listener(&self) -> Option<ListenerId> {
        self.listener
    }

    /// Gives the runtime.
    pub fn runtime(&self) -> &Handle {
        self.h
    }
}

pub(crate) type Factory = dyn Fn(&Handle, &Accepted<'_>) -> Option<Box<dyn Handler>>;

/// Serves plain byte streams: makes a handler for each connection.
#[derive(Clone)]
pub struct Server(Rc<Factory>);

impl core::fmt::Debug for Server {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("raw::Server")
    }
}

impl Server {
    /// Calls `make` for each connection; `None` closes it at once.
    pub fn new<H: Handler>(make: impl Fn(&Accepted<'_>) -> Option<H> + 'static) -> Self {
        Self(Rc::new(move |_, accepted| {
            make(accepted).map(|handler| Box::new(handler) as Box<dyn Handler>)
        }))
    }
}

impl Serve for Server {
    fn into_service(self) -> Service {
        Service::raw(self.0)
    }
}
