//! The guest in its place: what the source asks it, and what becomes of failures.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use lodger_backend::Nested;

use crate::ffi;

/// What the guest wants of a loop that is about to block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// To be dispatched at once.
    Turn,
    /// To be asked again after so many milliseconds.
    Wait(i32),
    /// Nothing: its descriptor tells.
    Nothing,
}

type OnFailure = Box<dyn FnOnce(io::Error)>;

/// One guest in one context.
pub(crate) struct Seat {
    /// Taken out by the detach.
    guest: RefCell<Option<Rc<dyn Nested>>>,
    /// Where the guest lives. It is not `Send`, but a context may be run by any thread.
    home: ThreadId,
    /// A thread that is not the guest's has run the context.
    astray: AtomicBool,
    failure: Cell<Option<io::Error>>,
    on_failure: Cell<Option<OnFailure>>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Seat {
    pub(crate) fn new(guest: Rc<dyn Nested>) -> Rc<Self> {
        Rc::new(Self {
            guest: RefCell::new(Some(guest)),
            home: thread::current().id(),
            astray: AtomicBool::new(false),
            failure: Cell::default(),
            on_failure: Cell::default(),
        })
    }

    /// Tells whether this is the guest's thread: nothing else may be touched on another.
    pub(crate) fn is_here(&self) -> bool {
        thread::current().id() == self.home
    }

    /// Lets the guest go. It is dropped by the caller, with nothing borrowed.
    pub(crate) fn vacate(&self) -> Option<Rc<dyn Nested>> {
        self.on_failure.take();
        self.guest.borrow_mut().take()
    }

    /// Asks the guest what the loop has to know before it blocks.
    pub(crate) fn want(&self) -> Want {
        if !self.is_here() {
            // The dispatch that this causes ends the stay.
            return Want::Turn;
        }
        let asked = catch_unwind(AssertUnwindSafe(|| self.ask()));
        // The dispatch will run into the same, and report it.
        asked.unwrap_or(Want::Turn)
    }

    fn ask(&self) -> Want {
        let Some(guest) = self.guest.borrow().clone() else { return Want::Nothing };
        let pending = guest.pending();
        if pending.work {
            return Want::Turn;
        }
        // The guest's own queue fires in time. This is for a modal loop that it was not told of,
        // for which it has not programmed its queue.
        let Some(at) = pending.deadline else { return Want::Nothing };
        let left = at.since(guest.now()).as_micros();
        if left == 0 {
            return Want::Turn;
        }
        Want::Wait(i32::try_from(left.div_ceil(1_000)).unwrap_or(i32::MAX))
    }

    /// Runs a turn. `false` ends the stay.
    pub(crate) fn dispatch(&self) -> bool {
        if !self.is_here() {
            if !self.astray.swap(true, Ordering::AcqRel) {
                ffi::warn("another thread runs the guest's context: the guest is taken out");
            }
            return false;
        }
        // Kept for the whole turn, whatever its handlers do.
        let Some(guest) = self.guest.borrow().clone() else { return false };
        match catch_unwind(AssertUnwindSafe(|| guest.dispatch())) {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => self.fail(error),
            Err(panic) => self.fail(io::Error::other(message(&*panic))),
        }
    }

    /// Somebody has closed the descriptor that GLib watches, which is readable for ever now. `false`
    /// ends the stay.
    pub(crate) fn closed(&self) -> bool {
        if !self.is_here() {
            return self.dispatch();
        }
        let text = "the descriptor that was watched has been closed";
        self.fail(io::Error::new(io::ErrorKind::BrokenPipe, text))
    }

    /// Ends the stay, and tells whoever wants to know.
    fn fail(&self, error: io::Error) -> bool {
        let guest = self.guest.borrow_mut().take();
        let told = catch_unwind(AssertUnwindSafe(|| {
            drop(guest);
            match self.on_failure.take() {
                Some(tell) => tell(error),
                None => {
                    ffi::warn(&format!("the guest is taken out: {error}"));
                    self.failure.set(Some(error));
                }
            }
        }));
        if told.is_err() {
            ffi::warn("the guest is taken out, and what was to hear of it panicked");
        }
        false
    }

    pub(crate) fn on_failure(&self, tell: OnFailure) {
        match self.failure.take() {
            Some(error) => tell(error),
            None => self.on_failure.set(Some(tell)),
        }
    }

    /// Tells whether the guest is still dispatched.
    pub(crate) fn is_attached(&self) -> bool {
        self.guest.borrow().is_some() && !self.astray.load(Ordering::Acquire)
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a turn panicked: {}", text.unwrap_or("no text"))
}
