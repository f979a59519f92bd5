//! The ten laws and flow control in calloop.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, LoopHandle};
use lodger_backend::suite::{Guest, Loop, Stay, Subject};
use lodger_backend::{Driver, Host, Nested, Net, adaptor_suite, backend_suite};
use lodger_calloop::Calloop;
use lodger_mio::{MioDriver, OsNet};

struct Main {
    event_loop: RefCell<EventLoop<'static, ()>>,
    handle: LoopHandle<'static, ()>,
    /// The loop's own descriptors, which are there without any source.
    own: usize,
}

impl Main {
    fn new() -> io::Result<Self> {
        let event_loop = EventLoop::try_new()?;
        let handle = event_loop.handle();
        let own = watched(&event_loop)?;
        Ok(Self { event_loop: RefCell::new(event_loop), handle, own })
    }
}

/// Counts what the loop's kernel queue watches, as the kernel tells it.
fn watched(event_loop: &EventLoop<'static, ()>) -> io::Result<usize> {
    let queue = event_loop.as_fd().as_raw_fd();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{queue}"))?;
    Ok(text.lines().filter(|line| line.starts_with("tfd:")).count())
}

impl Loop for Main {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        Ok(Box::new(Calloop::new(&self.handle).attach(guest)?))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        while !done() {
            let now = Instant::now();
            if now >= end {
                return false;
            }
            self.event_loop.borrow_mut().dispatch(end - now, &mut ()).expect("calloop runs");
        }
        true
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        let mut f = Some(f);
        let timer = Timer::from_duration(delay);
        let inserted = self.handle.insert_source(timer, move |_, (), ()| {
            if let Some(f) = f.take() {
                f();
            }
            TimeoutAction::Drop
        });
        inserted.expect("calloop takes timers");
    }

    fn nests(&self) -> bool {
        false
    }

    fn asks_pending(&self) -> bool {
        true
    }

    fn sources(&self) -> Option<usize> {
        let event_loop = self.event_loop.try_borrow().ok()?;
        watched(&event_loop).ok().map(|all| all - self.own)
    }
}

fn subject() -> Subject {
    let driver = || -> io::Result<Box<dyn Driver>> { Ok(Box::new(MioDriver::new()?)) };
    let net = || -> io::Result<Rc<dyn Net>> { Ok(Rc::new(OsNet::new()?)) };
    let host = || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Main::new()?)) };
    Subject::new("calloop", driver, net, host)
}

backend_suite!(nested, subject);
adaptor_suite!(adaptor, subject);
