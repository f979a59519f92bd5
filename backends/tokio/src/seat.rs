//! What the guest's future and [`Attached`](crate::Attached) share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use lodger_backend::{Nested, Turn};

pub(crate) struct Seat {
    /// Taken out by the detach.
    guest: RefCell<Option<Rc<dyn Nested>>>,
    /// The future waits: it has to be woken to notice a detach.
    waker: Cell<Option<Waker>>,
    /// The future has ended.
    out: Cell<bool>,
    /// Told when it has.
    done: Cell<Option<Box<dyn FnOnce()>>>,
}

impl Seat {
    pub(crate) fn new(guest: Rc<dyn Nested>) -> Rc<Self> {
        let guest = RefCell::new(Some(guest));
        Rc::new(Self {
            guest,
            waker: Cell::default(),
            out: Cell::new(false),
            done: Cell::default(),
        })
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.guest.borrow().is_some()
    }

    /// Runs a turn, unless the guest has been detached.
    pub(crate) fn dispatch(&self) -> io::Result<Turn> {
        // Kept for the whole turn, whatever its handlers do.
        let guest = self.guest.borrow().clone();
        guest.map_or(Ok(Turn::default()), |guest| guest.dispatch())
    }

    /// Waits for `ready`, or until the guest has been detached.
    pub(crate) async fn woken_or<T>(
        &self,
        ready: impl Future<Output = io::Result<T>>,
    ) -> io::Result<Option<T>> {
        let mut ready = pin!(ready);
        poll_fn(|cx| {
            if !self.is_taken() {
                return Poll::Ready(Ok(None));
            }
            self.waker.set(Some(cx.waker().clone()));
            ready.as_mut().poll(cx).map_ok(Some)
        })
        .await
    }

    /// Takes the guest out, and has the future notice.
    pub(crate) fn vacate(&self) {
        let guest = self.guest.borrow_mut().take();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        // Last, with nothing borrowed: it may be the guest's end.
        drop(guest);
    }

    /// Runs `done` once the future has ended.
    pub(crate) fn when_out(&self, done: Box<dyn FnOnce()>) {
        if self.out.get() { done() } else { self.done.set(Some(done)) }
    }

    /// Gives what tells, when it is dropped, that the future has ended.
    pub(crate) fn guard(self: &Rc<Self>) -> Out {
        Out(Rc::clone(self))
    }
}

/// The future's end, however it comes.
pub(crate) struct Out(Rc<Seat>);

impl Drop for Out {
    fn drop(&mut self) {
        self.0.out.set(true);
        if let Some(done) = self.0.done.take() {
            done();
        }
    }
}
