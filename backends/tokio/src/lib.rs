//! lodger as a guest of tokio, on the thread of a `LocalSet`.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lodger::{Runtime, http};
//! use tokio::task::{LocalSet, spawn_local};
//!
//! fn main() -> std::io::Result<()> {
//!     let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!     LocalSet::new().block_on(&tokio, async {
//!         let rt = Runtime::standalone()?;
//!         rt.listen(
//!             "127.0.0.1:7681",
//!             http::Server::new().get("/", |_req, res| res.text("hello from tokio")),
//!         )?;
//!         let _guest = lodger_tokio::attach(rt.handle(), |guest| drop(spawn_local(guest)))?;
//!         loop {
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!             println!("the program goes on");
//!         }
//!     })
//! }
//! ```
//!
//! The guest is one future, which is not `Send`: it runs turns on the thread that polls it and
//! waits for one descriptor in between. tokio watches descriptors edge-triggered, so what it knows
//! of the guest's is forgotten only after a turn that has left nothing; while turns leave work,
//! the future yields after each, and other tasks have their go.
//!
//! - **Where.** In a `LocalSet`, on a runtime of either kind, or on any local executor within a
//!   runtime's context. The thread that attaches is the one that has to poll the future.
//! - **Modal loops.** An executor cannot poll a task inside itself. A handler that must wait there
//!   dispatches the guest itself, in `lodger::Handle::modal`.
//! - **Failures.** The future ends with the guest's error. A panic goes through to tokio, which
//!   ends the task and hands it to its `JoinHandle`.

#![forbid(unsafe_code)]
#![cfg(unix)]

mod seat;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;

use lodger_backend::Nested;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime;
use tokio::task::yield_now;

use seat::{Out, Seat};

/// The guest, as tokio has it: it ends when the guest has been detached, or with the error that
/// its kernel queue failed with.
pub type Stay = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// Puts `guest` into tokio: `spawn` is given the one future that is the guest, and has it polled
/// on this thread. It stays until what this returns is dropped.
///
/// # Errors
///
/// `Unsupported` outside of a runtime, in one without input and output (`enable_io`), or if the
/// guest has no descriptor to watch; else what tokio's driver said. `spawn` is not called then.
pub fn attach(guest: impl Nested + 'static, spawn: impl FnOnce(Stay)) -> io::Result<Attached> {
    attach_rc(Rc::new(guest), spawn)
}

/// As [`attach`], for a guest that is shared already.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_rc(guest: Rc<dyn Nested>, spawn: impl FnOnce(Stay)) -> io::Result<Attached> {
    let queue = watch(guest.fd()?)?;
    guest.host("tokio 1");
    let seat = Seat::new(guest);
    spawn(Box::pin(stay(Place { queue, out: seat.guard() }, Rc::clone(&seat))));
    Ok(Attached(seat))
}

/// Has tokio watch the descriptor. Where it cannot, tokio panics; here that is an error.
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let unsupported = |text| io::Error::new(io::ErrorKind::Unsupported, text);
    if runtime::Handle::try_current().is_err() {
        return Err(unsupported("no tokio runtime is entered on this thread"));
    }
    #[allow(deprecated, reason = "what replaces it is unsafe; an OwnedFd keeps what that asks for")]
    let watched = catch_unwind(AssertUnwindSafe(|| AsyncFd::with_interest(fd, Interest::READABLE)));
    watched.unwrap_or_else(|_| Err(unsupported("the tokio runtime was built without enable_io")))
}

/// A turn whenever the descriptor is readable, and one more after each that has left something.
async fn stay(place: Place, seat: Rc<Seat>) -> io::Result<()> {
    while let Some(mut readable) = seat.woken_or(place.queue.readable()).await? {
        if seat.dispatch()?.again {
            // An edge that was told stays told.
            yield_now().await;
        } else {
            readable.clear_ready();
        }
    }
    Ok(())
}

/// What the future has for as long as it lives. Whatever ends it, the queue is let go first; then
/// the guest is out.
struct Place {
    queue: AsyncFd<OwnedFd>,
    #[expect(dead_code, reason = "tells by its drop")]
    out: Out,
}

/// A guest in tokio. Dropping it takes the guest out; what arrives meanwhile is found when it is
/// attached again.
///
/// A `LocalSet` that is awaited runs until its tasks have ended, the guest's among them;
/// `run_until` does not wait for it. `set_keep_alive` changes nothing.
pub struct Attached(Rc<Seat>);

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}

impl lodger_backend::Attached for Attached {
    /// `done` runs when the future has ended: at once if it has, else when tokio polls it next, or
    /// drops it.
    fn detach(self, done: Box<dyn FnOnce()>) {
        self.0.vacate();
        self.0.when_out(done);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.vacate();
    }
}
