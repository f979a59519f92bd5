//! lodger as a guest of GLib's main loop, and so of GTK and everything else on GLib.
//!
//! ```no_run
//! use lodger::{Runtime, http};
//!
//! # #[cfg(feature = "glib")]
//! fn main() -> std::io::Result<()> {
//!     let context = glib::MainContext::default();
//!     let rt = Runtime::standalone()?;
//!     rt.listen(
//!         "127.0.0.1:7681",
//!         http::Server::new().get("/", |_req, res| res.text("hello from your GLib program")),
//!     )?;
//!     let _guest = lodger_glib::attach(&context, rt.handle())?; // until it is dropped
//!
//!     glib::timeout_add_local(std::time::Duration::from_secs(1), || {
//!         println!("the program goes on");
//!         glib::ControlFlow::Continue
//!     });
//!     glib::MainLoop::new(Some(&context), false).run();
//!     Ok(())
//! }
//! # #[cfg(not(feature = "glib"))]
//! # fn main() {}
//! ```
//!
//! The guest is one `GSource` that watches one descriptor: GLib polls no more for a thousand
//! connections than for one. Before GLib blocks, the source asks the guest whether there is work,
//! so that a modal loop in a handler (`gtk_dialog_run`, `g_main_context_iteration`) goes on
//! serving everybody else.
//!
//! - **Which context.** Any; GLib's default one has to be named. The thread that attaches is the
//!   thread that must run it: on another thread nothing of the guest is touched, and it is taken
//!   out with a warning in GLib's log.
//! - **Priority.** `G_PRIORITY_DEFAULT`, or [`Context::priority`]. GTK draws at a lower one
//!   (`G_PRIORITY_HIGH_IDLE + 20`): a guest under load that must never delay a frame belongs below.
//! - **Failures.** A turn that fails or panics ends the stay: [`Attached::on_failure`].
//!
//! Without the feature `glib` there is [`attach_raw`], which takes a pointer and so fits any
//! version of the `glib` crate.

#![deny(unsafe_code)]
#![cfg(unix)]

mod ffi;
mod seat;

use std::fmt;
use std::io;
use std::rc::Rc;

use lodger_backend::{Host, Nested};

pub use ffi::attach_raw;

use ffi::{ContextRef, Source};
use seat::Seat;

/// Puts `guest` into a context, at the default priority. It stays until what this returns is
/// dropped.
///
/// # Errors
///
/// As [`Host::attach`] of [`Context`].
#[cfg(feature = "glib")]
pub fn attach(context: &glib::MainContext, guest: impl Nested + 'static) -> io::Result<Attached> {
    Context::new(context).attach(Rc::new(guest))
}

/// A context that takes guests, any number of them.
#[derive(Debug)]
pub struct Context {
    context: ContextRef,
    priority: i32,
}

impl Context {
    fn of(context: ContextRef) -> Self {
        Self { context, priority: glib_sys::G_PRIORITY_DEFAULT }
    }

    /// Sets the priority of the guests that are attached from now on: lower numbers go first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}

impl Host for Context {
    type Attached = Attached;

    /// Puts `guest` into the context, also from inside one of its callbacks.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if another thread runs the context; else the guest's: it has no descriptor to
    /// watch.
    fn attach(&self, guest: Rc<dyn Nested>) -> io::Result<Attached> {
        if !self.context.is_ours() {
            let text = "another thread runs this context";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        let fd = guest.fd()?;
        guest.host(&ffi::version());
        let seat = Seat::new(guest);
        let source = Source::attach(&self.context, fd, &seat, self.priority)?;
        Ok(Attached { source: Some(source), seat })
    }
}

/// A guest in a context. Dropping it takes the guest out; what arrives meanwhile is found when it
/// is attached again.
///
/// GLib's loops run until they are told to quit, so `set_keep_alive` changes nothing.
pub struct Attached {
    source: Option<Source>,
    seat: Rc<Seat>,
}

impl Attached {
    /// Has `tell` told why the stay has ended by itself: the guest's kernel queue failed, a turn
    /// panicked, or somebody has closed the descriptor that GLib watches. Without it GLib's log gets a warning. Runs in the loop; at once if it has
    /// happened already.
    pub fn on_failure(&self, tell: impl FnOnce(io::Error) + 'static) {
        self.seat.on_failure(Box::new(tell));
    }

    /// Tells whether the guest still gets its turns.
    pub fn is_attached(&self) -> bool {
        self.seat.is_attached()
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("seat", &self.seat).finish_non_exhaustive()
    }
}

impl lodger_backend::Attached for Attached {
    /// Takes the guest out. GLib forgets at once, so `done` runs before this returns.
    fn detach(self, done: Box<dyn FnOnce()>) {
        drop(self);
        done();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        drop(self.source.take());
        drop(self.seat.vacate());
    }
}
