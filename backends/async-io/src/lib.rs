//! lodger as a guest of smol, or of any executor above async-io's reactor.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use async_executor::LocalExecutor;
//! use async_io::{Timer, block_on};
//! use lodger::{Runtime, http};
//!
//! fn main() -> std::io::Result<()> {
//!     let executor = LocalExecutor::new();
//!     let rt = Runtime::standalone()?;
//!     rt.listen(
//!         "127.0.0.1:7681",
//!         http::Server::new().get("/", |_req, res| res.text("hello from smol")),
//!     )?;
//!     let spawn = |guest| executor.spawn(guest).detach();
//!     let _guest = lodger_async_io::attach(rt.handle(), spawn)?; // until dropped
//!
//!     block_on(executor.run(async {
//!         loop {
//!             Timer::after(Duration::from_secs(1)).await;
//!             println!("the program goes on");
//!         }
//!     }))
//! }
//! ```
//!
//! The guest is one future, which is not `Send`: it runs turns on the thread that polls it and
//! waits for one descriptor in between, so that after each turn the executor's other tasks and
//! timers have their go.
//!
//! - **Modal loops.** An executor cannot poll a task inside itself. A handler that must wait there
//!   dispatches the guest itself, in `lodger::Handle::modal`.
//! - **Failures.** The future ends with the guest's error. A panic goes through to the executor.
//! - **Threads.** async-io runs its reactor on a thread of its own while nobody is in its
//!   `block_on`. That thread only wakes tasks; the guest stays where its executor is.

#![forbid(unsafe_code)]
#![cfg(unix)]

mod seat;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use async_io::Async;
use lodger_backend::Nested;

use seat::{Out, Seat};

/// The guest, as the executor has it: it ends when the guest has been detached, or with the error
/// that its kernel queue failed with.
pub type Stay = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// Puts `guest` into an executor: `spawn` is given the one future that is the guest, and has it
/// polled on this thread. It stays until what this returns is dropped.
///
/// # Errors
///
/// The guest has no descriptor to watch, or the reactor refused it; `spawn` is not called then.
pub fn attach(guest: impl Nested + 'static, spawn: impl FnOnce(Stay)) -> io::Result<Attached> {
    attach_rc(Rc::new(guest), spawn)
}

/// As [`attach`], for a guest that is shared already.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_rc(guest: Rc<dyn Nested>, spawn: impl FnOnce(Stay)) -> io::Result<Attached> {
    let queue = Async::new_nonblocking(guest.fd()?)?;
    guest.host("async-io 2.6");
    let seat = Seat::new(guest);
    spawn(Box::pin(stay(Place { queue, out: seat.guard() }, Rc::clone(&seat))));
    Ok(Attached(seat))
}

/// A turn whenever the descriptor is readable, and one more if it has left work: to ask the reactor
/// costs about nine system calls. More than one in a row would keep the reactor, and so the host's
/// timers, waiting: an executor may run hundreds of times before it looks there.
async fn stay(place: Place, seat: Rc<Seat>) -> io::Result<()> {
    while seat.is_taken() {
        seat.woken_or(place.queue.readable()).await?;
        if seat.dispatch()?.again {
            others_first().await;
            seat.dispatch()?;
        }
    }
    Ok(())
}

/// Lets the executor's other tasks have their go.
async fn others_first() {
    let mut waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What the future has for as long as it lives. Whatever ends it, the queue is let go first; then
/// the guest is out.
struct Place {
    queue: Async<OwnedFd>,
    #[expect(dead_code, reason = "tells by its drop")]
    out: Out,
}

/// A guest in an executor. Dropping it takes the guest out; what arrives meanwhile is found when
/// it is attached again.
///
/// An executor runs as long as it is polled, so `set_keep_alive` changes nothing.
pub struct Attached(Rc<Seat>);

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}

impl lodger_backend::Attached for Attached {
    /// `done` runs when the future has ended: at once if it has, else when the executor polls it
    /// next, or drops it.
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
