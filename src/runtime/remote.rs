//! The one thing that crosses threads, and it carries values.

use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lodger_backend::Waker;

use super::Handle;

/// Values that one sink takes in a turn; the rest wait for the next.
const PER_TURN: usize = 64;

/// Tells the loop that values wait: the first post since the last turn wakes it, the others do
/// nothing.
pub(crate) struct Wake {
    pub(crate) flag: AtomicBool,
    pub(crate) dead: AtomicBool,
    waker: Waker,
}

impl Wake {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { flag: AtomicBool::new(false), dead: AtomicBool::new(false), waker }
    }

    fn wake(&self) {
        if !self.flag.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

/// Sends values of one type from any thread to one closure on the loop's thread.
///
/// Made by [`Handle::remote`]. Values arrive in order; posts between two turns cost one wake
/// together. When the last clone is dropped the closure is dropped, on the loop's thread.
pub struct Remote<M> {
    queue: Arc<Mutex<VecDeque<M>>>,
    wake: Arc<Wake>,
}

impl<M> core::fmt::Debug for Remote<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Remote")
    }
}

impl<M> Clone for Remote<M> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), wake: Arc::clone(&self.wake) }
    }
}

impl<M: Send> Remote<M> {
    /// Hands `value` to the closure, in a later turn.
    ///
    /// # Errors
    ///
    /// The value comes back when the runtime has ended.
    pub fn post(&self, value: M) -> Result<(), M> {
        if self.wake.dead.load(Ordering::Acquire) {
            return Err(value);
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(value);
        self.wake.wake();
        Ok(())
    }
}

impl<M> Drop for Remote<M> {
    fn drop(&mut self) {
        // The last one but the loop's own end: the loop is to drop the closure.
        if Arc::strong_count(&self.queue) == 2 {
            self.wake.wake();
        }
    }
}

/// What a sink has left.
pub(crate) enum Left {
    Nothing,
    More,
    /// No `Remote` is left that could post.
    Unused,
}

pub(crate) type Sink = Box<dyn FnMut(&Handle) -> Left>;

impl Handle {
    /// Makes what other threads use to hand values to `f`, which runs on this thread, in a turn.
    ///
    /// A value is dropped unseen if the runtime ends first.
    pub fn remote<M: Send + 'static>(&self, mut f: impl FnMut(&Self, M) + 'static) -> Remote<M> {
        let queue = Arc::new(Mutex::new(VecDeque::new()));
        let ours = Arc::clone(&queue);
        let sink: Sink = Box::new(move |h| {
            for _ in 0..PER_TURN {
                let value = ours.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(value) = value else {
                    let unused = Arc::strong_count(&ours) == 1;
                    return if unused { Left::Unused } else { Left::Nothing };
                };
                h.guarded(|h| f(h, value));
                if !h.is_on() {
                    return Left::More;
                }
            }
            Left::More
        });
        if !self.is_dead() {
            self.place_sink(sink);
        }
        Remote { queue, wake: Arc::clone(&self.0.wake) }
    }

    /// Makes a [`Remote`] for jobs: closures that run on this thread.
    #[expect(clippy::type_complexity, reason = "spelt out, so that the bound is seen")]
    pub fn remote_jobs(&self) -> Remote<Box<dyn FnOnce(&Self) + Send>> {
        self.remote(|h, job: Box<dyn FnOnce(&Self) + Send>| job(h))
    }

    /// Puts a sink into a free place. A place is free only for good: one that runs leaves its
    /// place marked by `None` as well, so places are not given out while a turn is under way.
    fn place_sink(&self, sink: Sink) {
        let idle = self.core().depth == 0;
        let mut sinks = self.0.sinks.borrow_mut();
        match sinks.iter_mut().find(|place| idle && place.is_none()) {
            Some(place) => *place = Some(sink),
            None => sinks.push(Some(sink)),
        }
    }

    /// Runs the sinks if anything was posted. Each is out of its place while it runs.
    pub(crate) fn run_sinks(&self) -> bool {
        if !self.0.wake.flag.load(Ordering::Relaxed)
            || !self.0.wake.flag.swap(false, Ordering::AcqRel)
        {
            return false;
        }
        let count = self.0.sinks.borrow().len();
        let mut more = false;
        for i in 0..count {
            if !self.is_on() {
                more = true;
                break;
            }
            let sink = self.0.sinks.borrow_mut().get_mut(i).and_then(Option::take);
            let Some(mut sink) = sink else { continue };
            match sink(self) {
                Left::Unused => _ = self.guarded(|_| drop(sink)),
                left => {
                    more |= matches!(left, Left::More);
                    if let Some(place) = self.0.sinks.borrow_mut().get_mut(i) {
                        *place = Some(sink);
                    }
                }
            }
        }
        if more {
            // The end of the turn sees it and asks for the next.
            self.0.wake.flag.store(true, Ordering::Release);
        }
        // In the outermost turn no sink is out of its place: what is empty was unused.
        if self.core().depth == 1 {
            self.0.sinks.borrow_mut().retain(Option::is_some);
        }
        true
    }
}
