//! lodger as a guest of libuv's loop, and so of Node.js and everything else on libuv.
//!
//! ```no_run
//! use std::ffi::{c_int, c_void};
//!
//! use lodger::{Runtime, http};
//!
//! #[link(name = "uv")] // the program links libuv; this crate does not
//! unsafe extern "C" {
//!     fn uv_default_loop() -> *mut c_void;
//!     fn uv_run(uv_loop: *mut c_void, mode: c_int) -> c_int;
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     // SAFETY: takes nothing.
//!     let uv_loop = unsafe { uv_default_loop() };
//!     let rt = Runtime::standalone()?;
//!     rt.listen(
//!         "127.0.0.1:7681",
//!         http::Server::new().get("/", |_req, res| res.text("hello from your libuv program")),
//!     )?;
//!     // SAFETY: the default loop lives as long as the process, and this thread alone runs it.
//!     let _guest = unsafe { lodger_libuv::attach(uv_loop, rt.handle()) }?;
//!     // SAFETY: as above. Returns when nothing keeps the loop running.
//!     unsafe { uv_run(uv_loop, 0) };
//!     Ok(())
//! }
//! ```
//!
//! There are two ways to be a guest. [`attach`] watches one descriptor, behind which the runtime's
//! own queue holds all sockets and a timer of microseconds: the usual one. [`PerFd`] is a driver
//! that has libuv watch every socket.
//!
//! - **Linking.** Nothing is linked by this crate. A program links its libuv; an addon for Node.js
//!   leaves the functions undefined, and finds them in the `node` that loads it. Any libuv 1.x from
//!   1.19 on will do: no structure of it is known here, and `loop->data` is not touched.
//! - **Closing.** libuv frees a handle in a later iteration, so `detach` completes by its callback,
//!   and the loop must run once more before `uv_loop_close`.
//! - **Keeping alive.** The guest keeps `uv_run` from returning, until it is detached or
//!   `set_keep_alive(false)`.
//! - **Failures.** A turn that fails or panics ends the stay: [`Attached::on_failure`].

#![deny(unsafe_code)]
#![cfg(unix)]

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "alarm/timerfd.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "alarm/millis.rs")]
mod alarm;
mod desk;
mod ffi;
mod nested;
mod per_fd;
mod seat;

use std::io;
use std::rc::Rc;

pub use ffi::attach;
pub use per_fd::PerFd;

use seat::Seat;

/// A guest in a loop. Dropping it takes the guest out; what arrives meanwhile is found when it is
/// attached again.
#[derive(Debug)]
pub struct Attached {
    seat: Rc<Seat>,
}

impl Attached {
    fn new(seat: Rc<Seat>) -> Self {
        Self { seat }
    }

    /// Has `tell` told why the stay has ended by itself: the guest's kernel queue failed, libuv has
    /// stopped watching it, or a turn panicked. Runs in the loop; at once if it has happened
    /// already.
    pub fn on_failure(&self, tell: impl FnOnce(io::Error) + 'static) {
        self.seat.on_failure(Box::new(tell));
    }

    /// Tells whether the guest still gets its turns.
    pub fn is_attached(&self) -> bool {
        self.seat.is_attached()
    }
}

impl lodger_backend::Attached for Attached {
    /// Takes the guest out. `done` runs once libuv has forgotten the handles, in a later iteration.
    fn detach(self, done: Box<dyn FnOnce()>) {
        self.seat.vacate(Some(done));
    }

    fn set_keep_alive(&mut self, on: bool) {
        self.seat.keep_alive(on);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.seat.vacate(None);
    }
}
