//! What a host offers.

use std::io;
use std::os::fd::RawFd;

use lodger_backend::{Caps, Interest, Micros, Token, Waker};

/// A host's loop as a table of operations, for one guest.
///
/// All are called on the loop's thread, and none may wait, or call the [`Table`](crate::Table) or
/// the guest back: what they cause is told later, from the loop. While the guest is not attached
/// none but `caps`, `now` and `waker` is called.
pub trait Ops: 'static {
    /// Names the host, for people to read: "libfoo 1.2".
    fn name(&self) -> String;

    /// Tells how the loop reports readiness, and how late its timer may be.
    fn caps(&self) -> Caps;

    /// Reads a monotonic clock of the host's. The timer's time is a point on it.
    fn now(&self) -> Micros;

    /// Begins to watch `fd` for `want` under `token`: [`Table::report`](crate::Table::report) is to
    /// be called with this token. Without a direction it is silent, hang-up and error included. An
    /// edge-triggered loop is asked for both directions.
    ///
    /// # Errors
    ///
    /// The loop refused the descriptor; it is not watched then.
    fn watch(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()>;

    /// Replaces the directions watched; again, none is silence. Not called on an edge-triggered
    /// loop.
    ///
    /// # Errors
    ///
    /// The loop refused; the descriptor counts as silent then.
    fn rearm(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()>;

    /// Stops watching. The descriptor is closed next, or watched again under the same token.
    fn unwatch(&self, fd: RawFd, token: Token);

    /// Sets the guest's one timer to `at`, in place of what was set before; `None` stops it. When
    /// it fires: [`Table::fired`](crate::Table::fired), then a turn. It fires once, and may fire
    /// early.
    fn set_timer(&self, at: Option<Micros>);

    /// Asks for one [`Table::turn`](crate::Table::turn), after the loop has had its own go. Called
    /// once until that turn, or until the guest has left and come back.
    fn request_turn(&self);

    /// Gives what causes a turn from any thread. It must outlive the loop harmlessly, and many
    /// wakes before a turn are to be one.
    fn waker(&self) -> Waker;
}
