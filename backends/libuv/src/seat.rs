//! The guest in its place: its turns, and what becomes of failures.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lodger_backend::Nested;

use crate::ffi::{Last, Loop};

/// What a guest wants of a loop that is about to block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// To be dispatched at once.
    Turn,
    /// From inside a turn: another in so many microseconds.
    In(u64),
    /// Nothing: its descriptor tells.
    Nothing,
}

/// The handles of one stay.
pub(crate) trait House: fmt::Debug {
    /// Closes all of them; each holds `last` until libuv has forgotten it.
    fn close(self: Rc<Self>, last: &Rc<Last>);

    /// See [`lodger_backend::Attached::set_keep_alive`].
    fn keep_alive(&self, on: bool);
}

type OnFailure = Box<dyn FnOnce(io::Error)>;

/// One guest in one loop.
pub(crate) struct Seat {
    uv_loop: Loop,
    /// Taken out by the detach, and so is the house.
    guest: RefCell<Option<Rc<dyn Nested>>>,
    house: RefCell<Option<Rc<dyn House>>>,
    /// Turns on the stack.
    depth: Cell<u32>,
    failure: Cell<Option<io::Error>>,
    on_failure: Cell<Option<OnFailure>>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("house", &self.house).finish_non_exhaustive()
    }
}

impl Seat {
    pub(crate) fn new(uv_loop: Loop, guest: Rc<dyn Nested>) -> Rc<Self> {
        Rc::new(Self {
            uv_loop,
            guest: RefCell::new(Some(guest)),
            house: RefCell::default(),
            depth: Cell::default(),
            failure: Cell::default(),
            on_failure: Cell::default(),
        })
    }

    pub(crate) fn furnish(&self, house: Rc<dyn House>) {
        *self.house.borrow_mut() = Some(house);
    }

    pub(crate) fn uv_loop(&self) -> Loop {
        self.uv_loop
    }

    /// Tells whether a turn is on the stack, so that the loop which asks is a modal one.
    pub(crate) fn is_inside(&self) -> bool {
        self.depth.get() > 0
    }

    /// Asks the guest what the loop has to know before it blocks.
    pub(crate) fn want(&self) -> Want {
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
        // Outside of a turn the deadline is set: the clock need not be read.
        let deadline = pending.deadline.filter(|_| self.is_inside());
        let Some(at) = deadline else { return Want::Nothing };
        let left = at.since(guest.now()).as_micros();
        if left == 0 { Want::Turn } else { Want::In(u64::try_from(left).unwrap_or(u64::MAX)) }
    }

    /// Runs a turn. One that fails ends the stay.
    pub(crate) fn dispatch(&self) {
        // Kept for the whole turn, whatever its handlers do.
        let Some(guest) = self.guest.borrow().clone() else { return };
        self.depth.set(self.depth.get() + 1);
        let turn = catch_unwind(AssertUnwindSafe(move || guest.dispatch()));
        self.depth.set(self.depth.get() - 1);
        match turn {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.fail(error),
            Err(panic) => self.fail(io::Error::other(message(&*panic))),
        }
    }

    /// Ends the stay, and tells whoever wants to know.
    pub(crate) fn fail(&self, error: io::Error) {
        let tell = self.on_failure.take();
        self.vacate(None);
        match tell {
            Some(tell) => tell(error),
            None => self.failure.set(Some(error)),
        }
    }

    /// Ends the stay; `done` is run when libuv has forgotten the last handle.
    pub(crate) fn vacate(&self, done: Option<Box<dyn FnOnce()>>) {
        let last = Last::new(done);
        let house = self.house.borrow_mut().take();
        if let Some(house) = house {
            house.close(&last);
        }
        let guest = self.guest.borrow_mut().take();
        drop((guest, self.on_failure.take()));
    }

    pub(crate) fn on_failure(&self, tell: OnFailure) {
        match self.failure.take() {
            Some(error) => tell(error),
            None => self.on_failure.set(Some(tell)),
        }
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.guest.borrow().is_some()
    }

    pub(crate) fn keep_alive(&self, on: bool) {
        if let Some(house) = &*self.house.borrow() {
            house.keep_alive(on);
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a turn panicked: {}", text.unwrap_or("no text"))
}
