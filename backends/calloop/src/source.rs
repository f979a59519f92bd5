//! The event source that a guest is to calloop.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use calloop::generic::Generic;
use calloop::{
    EventSource, Interest, Mode, Poll, PostAction, Readiness, Result, Token, TokenFactory,
};
use lodger_backend::Nested;

/// What the source and [`Attached`](crate::Attached) share.
pub(crate) struct Seat {
    /// Taken out by the detach.
    guest: RefCell<Option<Rc<dyn Nested>>>,
    /// Turns on the stack.
    depth: Cell<u32>,
    /// Told when the source is out, if the detach came from inside a turn.
    done: Cell<Option<Box<dyn FnOnce()>>>,
}

impl Seat {
    pub(crate) fn new(guest: Rc<dyn Nested>) -> Rc<Self> {
        let guest = RefCell::new(Some(guest));
        Rc::new(Self { guest, depth: Cell::new(0), done: Cell::default() })
    }

    /// Lets the guest go; the caller drops it with nothing borrowed.
    pub(crate) fn vacate(&self) -> Option<Rc<dyn Nested>> {
        self.guest.borrow_mut().take()
    }

    pub(crate) fn is_dispatching(&self) -> bool {
        self.depth.get() > 0
    }

    pub(crate) fn when_out(&self, done: Box<dyn FnOnce()>) {
        self.done.set(Some(done));
    }

    /// Whether there is work, or a timer due, that the descriptor may not tell of: what a modal
    /// loop has found and left.
    fn wants_turn(&self) -> bool {
        let Some(guest) = self.guest.borrow().clone() else { return false };
        let pending = guest.pending();
        pending.work || pending.deadline.is_some_and(|at| at <= guest.now())
    }

    /// Runs a turn. Returns whether the guest is to stay.
    fn dispatch(&self) -> io::Result<bool> {
        // Kept for the whole turn, whatever its handlers do.
        let Some(guest) = self.guest.borrow().clone() else { return Ok(false) };
        let turn = {
            let _inside = Inside::enter(&self.depth);
            guest.dispatch()
        };
        if let Err(error) = turn {
            drop(self.vacate());
            return Err(error);
        }
        Ok(self.guest.borrow().is_some())
    }
}

/// A turn on the stack. Its drop ends it, also when a handler panics.
struct Inside<'a>(&'a Cell<u32>);

impl<'a> Inside<'a> {
    fn enter(depth: &'a Cell<u32>) -> Self {
        depth.set(depth.get() + 1);
        Self(depth)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The guest's one descriptor, and what to do when it is readable.
pub(crate) struct Source {
    queue: Generic<OwnedFd>,
    seat: Rc<Seat>,
    /// Under which the source reports itself before the loop sleeps.
    asked: Option<Token>,
    /// This iteration's turn was had: being asked and being readable are one cause.
    had_turn: bool,
}

impl Source {
    pub(crate) fn new(fd: OwnedFd, seat: &Rc<Seat>) -> Self {
        let queue = Generic::new(fd, Interest::READ, Mode::Level);
        Self { queue, seat: Rc::clone(seat), asked: None, had_turn: false }
    }
}

impl EventSource for Source {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    const NEEDS_EXTRA_LIFECYCLE_EVENTS: bool = true;

    fn process_events<F>(&mut self, _: Readiness, _: Token, _: F) -> io::Result<PostAction>
    where
        F: FnMut((), &mut ()),
    {
        if std::mem::replace(&mut self.had_turn, true) {
            return Ok(PostAction::Continue);
        }
        let stays = self.seat.dispatch()?;
        Ok(if stays { PostAction::Continue } else { PostAction::Remove })
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> Result<()> {
        self.asked = Some(tokens.token());
        self.queue.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> Result<()> {
        self.asked = Some(tokens.token());
        self.queue.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> Result<()> {
        self.asked = None;
        self.queue.unregister(poll)
    }

    fn before_sleep(&mut self) -> Result<Option<(Readiness, Token)>> {
        self.had_turn = false;
        let asked = self.asked.filter(|_| self.seat.wants_turn());
        Ok(asked.map(|token| (Readiness::EMPTY, token)))
    }
}

impl Drop for Source {
    /// calloop drops a source that has left by itself when it has unregistered it, with nothing
    /// borrowed.
    fn drop(&mut self) {
        if let Some(done) = self.seat.done.take() {
            done();
        }
    }
}
