//! No host: the guest's own loop.

use core::cell::RefCell;
use core::time::Duration;
use std::io;
use std::prelude::v1::*;
use std::rc::Rc;

use rustix::event::poll;

use super::{HostTimers, Loop, Stay, run_loop};
use crate::suite::{Guest, clock};
use crate::{Attached, Nested};

/// The guest standalone: its driver's queue is the loop.
#[derive(Debug, Default)]
pub struct Alone(Rc<State>);

#[derive(Debug, Default)]
struct State {
    guest: RefCell<Option<Rc<Guest>>>,
    timers: HostTimers,
}

impl Alone {
    /// Makes a loop without a guest.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Loop for Alone {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        guest.host("no host");
        *self.0.guest.borrow_mut() = Some(Rc::clone(guest));
        Ok(Box::new(Running(Rc::clone(&self.0))))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        run_loop(&self.0.timers, limit, done, &|wait| {
            let guest = self.0.guest.borrow().clone();
            match guest {
                Some(guest) => drop(guest.step(Some(wait)).expect("the guest's queue works")),
                None => drop(poll(&mut [], Some(&clock::timespec(wait)))),
            }
        })
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        self.0.timers.arm(delay, f);
    }

    fn sources(&self) -> Option<usize> {
        Some(usize::from(self.0.guest.borrow().is_some()))
    }
}

/// The guest runs; dropping this stops it.
#[derive(Debug)]
struct Running(Rc<State>);

impl Attached for Running {
    fn detach(self, done: Box<dyn FnOnce()>) {
        drop(self);
        done();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let guest = self.0.guest.take();
        drop(guest);
    }
}
