//! lodger as a guest of calloop, the loop of Wayland clients and compositors.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use calloop::EventLoop;
//! use lodger::{Runtime, http};
//!
//! struct State;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut event_loop = EventLoop::<State>::try_new()?;
//!     let rt = Runtime::standalone()?;
//!     rt.listen(
//!         "127.0.0.1:7681",
//!         http::Server::new().get("/", |_req, res| res.text("hello from calloop")),
//!     )?;
//!     let _guest = lodger_calloop::attach(&event_loop.handle(), rt.handle())?; // until dropped
//!
//!     event_loop.run(Duration::from_secs(1), &mut State, |_| println!("the program goes on"))?;
//!     Ok(())
//! }
//! ```
//!
//! The guest is one event source with one descriptor, level-triggered. Before calloop sleeps, the
//! source asks the guest whether there is work that the descriptor does not tell of.
//!
//! - **Modal loops.** calloop cannot be run inside one of its callbacks: dispatching borrows the
//!   `EventLoop`. A handler that must wait there dispatches the guest itself, in
//!   `lodger::Handle::modal`.
//! - **Failures.** If the guest's kernel queue fails, the source's error ends `EventLoop::dispatch`
//!   and the guest leaves the loop. A panic goes through to whoever runs the loop.

#![forbid(unsafe_code)]
#![cfg(unix)]

mod source;

use std::fmt;
use std::io;
use std::rc::Rc;

use calloop::{LoopHandle, RegistrationToken};
use lodger_backend::{Host, Nested};

use source::{Seat, Source};

/// Puts `guest` into a loop, also from inside one of its callbacks. It stays until what this
/// returns is dropped.
///
/// # Errors
///
/// As [`Host::attach`] of [`Calloop`].
pub fn attach<'l, Data>(
    handle: &LoopHandle<'l, Data>,
    guest: impl Nested + 'static,
) -> io::Result<Attached<'l, Data>> {
    Calloop::new(handle).attach(Rc::new(guest))
}

/// A loop that takes guests, any number of them. `Data` is what its callbacks share; a guest does
/// not see it.
pub struct Calloop<'l, Data>(LoopHandle<'l, Data>);

impl<'l, Data> Calloop<'l, Data> {
    /// Names the loop.
    pub fn new(handle: &LoopHandle<'l, Data>) -> Self {
        Self(handle.clone())
    }
}

impl<Data> fmt::Debug for Calloop<'_, Data> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calloop")
    }
}

impl<'l, Data> Host for Calloop<'l, Data> {
    type Attached = Attached<'l, Data>;

    /// # Errors
    ///
    /// The guest has no descriptor to watch, or calloop's poller refused it.
    fn attach(&self, guest: Rc<dyn Nested>) -> io::Result<Self::Attached> {
        let fd = guest.fd()?;
        guest.host("calloop 0.14");
        let seat = Seat::new(guest);
        let inserted = self.0.insert_source(Source::new(fd, &seat), |(), (), _| {});
        let token = inserted.map_err(|refused| io::Error::other(refused.error))?;
        Ok(Attached { handle: self.0.clone(), token, seat })
    }
}

/// A guest in a loop. Dropping it takes the guest out; what arrives meanwhile is found when it is
/// attached again.
///
/// calloop runs until it is told to stop, so `set_keep_alive` changes nothing.
pub struct Attached<'l, Data> {
    handle: LoopHandle<'l, Data>,
    token: RegistrationToken,
    seat: Rc<Seat>,
}

impl<Data> fmt::Debug for Attached<'_, Data> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("token", &self.token).finish_non_exhaustive()
    }
}

impl<Data> lodger_backend::Attached for Attached<'_, Data> {
    /// `done` runs at once, or, inside one of the guest's own callbacks, when calloop has taken
    /// the source out: after that callback.
    fn detach(self, done: Box<dyn FnOnce()>) {
        if self.seat.is_dispatching() {
            self.seat.when_out(done);
            return;
        }
        drop(self);
        done();
    }
}

impl<Data> Drop for Attached<'_, Data> {
    fn drop(&mut self) {
        let guest = self.seat.vacate();
        // Inside its own dispatch the source takes itself out, once that has returned.
        if !self.seat.is_dispatching() {
            self.handle.remove(self.token);
        }
        // Last, when calloop has nothing borrowed: it may be the guest's end.
        drop(guest);
    }
}
