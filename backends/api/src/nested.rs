//! The guest as its host sees it, and the host as a guest's owner sees it.

use std::boxed::Box;
use std::io;
use std::rc::Rc;

#[cfg(unix)]
use std::os::fd::OwnedFd;

use crate::{Micros, Turn};

/// What the guest wants before its host blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Pending {
    /// There is work that no descriptor announces: dispatch without waiting.
    pub work: bool,
    /// When the next timer is due, on the clock of [`Nested::now`].
    pub deadline: Option<Micros>,
}

/// A guest that a host embeds by watching one descriptor, level-triggered, for input.
///
/// Every adaptor's `attach` takes one. A host that can run modal loops and has a hook before it
/// blocks (GLib's prepare, `uv_prepare`, calloop's `before_sleep`) asks [`pending`](Self::pending)
/// there: the outer turn has emptied the queue, so the descriptor alone does not tell.
pub trait Nested {
    /// Gives a duplicate of the descriptor to watch; the host closes it after it has detached.
    ///
    /// # Errors
    ///
    /// The system's own, or `Unsupported` for a guest without a descriptor.
    #[cfg(unix)]
    fn fd(&self) -> io::Result<OwnedFd>;

    /// Runs one turn without waiting. May be called again from inside itself.
    ///
    /// # Errors
    ///
    /// The guest's kernel queue failed.
    fn dispatch(&self) -> io::Result<Turn>;

    /// Tells what the host must know before it blocks. Cheap: a few loads.
    fn pending(&self) -> Pending;

    /// Reads the guest's clock.
    fn now(&self) -> Micros;

    /// Tells the guest in whose loop it lives, for people to read: "GLib 2.74".
    fn host(&self, name: &str);
}

impl<T: Nested + ?Sized> Nested for Rc<T> {
    #[cfg(unix)]
    fn fd(&self) -> io::Result<OwnedFd> {
        (**self).fd()
    }

    fn dispatch(&self) -> io::Result<Turn> {
        (**self).dispatch()
    }

    fn pending(&self) -> Pending {
        (**self).pending()
    }

    fn now(&self) -> Micros {
        (**self).now()
    }

    fn host(&self, name: &str) {
        (**self).host(name);
    }
}

/// A loop that takes guests.
pub trait Host {
    /// What attaching returns.
    type Attached: Attached;

    /// Puts `guest` into the loop.
    ///
    /// # Errors
    ///
    /// The host refused the descriptor; the guest is not attached then.
    fn attach(&self, guest: Rc<dyn Nested>) -> io::Result<Self::Attached>;
}

/// A guest in its host. Dropping it detaches.
pub trait Attached {
    /// Takes the guest out of the loop. No callback follows, also when called from inside one;
    /// `done` runs once the host has forgotten the guest, which may be at once or, with libuv, in
    /// a later iteration.
    fn detach(self, done: Box<dyn FnOnce()>);

    /// Sets whether the guest's presence keeps the host's loop running (default: yes where the
    /// host knows such a thing).
    fn set_keep_alive(&mut self, _on: bool) {}
}
