//! What a loop offers to its guest.

use std::io;
use std::rc::Rc;
use std::vec::Vec;

#[cfg(unix)]
use std::os::fd::OwnedFd;

use crate::{Caps, Event, Interest, Micros, Net, Sock, Source, Token, Waker};

/// A loop, as its guest sees it. Used on the loop's thread only; no method blocks, and none calls
/// the guest back.
pub trait Backend {
    /// How this loop reports readiness, and how exact its deadline is.
    fn caps(&self) -> Caps;

    /// Reads the loop's monotonic clock. Deadlines are points on it.
    fn now(&self) -> Micros;

    /// Begins to watch `source` under `token`.
    ///
    /// An edge-triggered backend is asked once for both directions. The source stays the guest's
    /// until [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// The host refused the source; nothing is watched then.
    fn watch(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()>;

    /// Replaces the directions watched for `token`. `NONE` silences hang-up and error too.
    /// Never called on an edge-triggered backend.
    ///
    /// # Errors
    ///
    /// The host refused; the source counts as not watched then.
    fn rearm(&mut self, source: Source, token: Token, want: Interest) -> io::Result<()>;

    /// Stops watching `token`, then closes `sock` by [`Net::close`].
    ///
    /// A loop that unregisters late keeps a clone of `net` and closes then, so that the kernel
    /// cannot give the number to another descriptor in between. No report for `token` follows.
    fn release(&mut self, token: Token, sock: Sock, net: &Rc<dyn Net>);

    /// Sets the one deadline of the whole guest; `None` is "no timer". Early or spurious turns are
    /// allowed, so a backend may keep an earlier alarm instead of moving it.
    fn set_deadline(&mut self, at: Option<Micros>);

    /// Asks for one more turn after the host has had its own go. Idempotent until that turn.
    fn request_turn(&mut self);

    /// Gives what causes a turn from another thread.
    fn waker(&self) -> Waker;
}

/// A backend that owns one pollable kernel queue: it runs alone, or nested in any host that can
/// watch one descriptor.
pub trait Driver: Backend {
    /// Waits for reports until `timeout` has passed (`None`: until there is one), the deadline is
    /// met or a turn was asked for, and appends the reports to `events`. Zero never waits.
    ///
    /// Returns whether the kernel's list came back full, so that more may be waiting.
    ///
    /// # Errors
    ///
    /// The kernel queue failed. An interrupted wait is not an error.
    fn poll(
        &mut self,
        timeout: Option<core::time::Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<bool>;

    /// Gives a duplicate of the queue's descriptor. It is readable whenever a turn is due: a
    /// report is waiting, the deadline is met, or a turn was asked for.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the queue cannot be watched by a host; else the system's own.
    #[cfg(unix)]
    fn fd(&self) -> io::Result<OwnedFd>;
}
