//! The ten laws and flow control in an executor on async-io.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::{Timer, block_on};
use futures_lite::future;
use lodger_backend::suite::{Guest, Loop, Stay, Subject};
use lodger_backend::{Attached as _, Driver, Nested, Net, adaptor_suite, backend_suite};
use lodger_mio::{MioDriver, OsNet};

#[derive(Default)]
struct Executor(Rc<LocalExecutor<'static>>);

impl Executor {
    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(future).detach();
    }
}

impl Loop for Executor {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        let spawn = |stay| self.0.spawn(stay).detach();
        Ok(Box::new(lodger_async_io::attach_rc(guest, spawn)?))
    }

    /// An iteration is one task's.
    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        while !done() {
            if Instant::now() >= end {
                return false;
            }
            block_on(future::or(self.0.tick(), async {
                Timer::at(end).await;
            }));
        }
        true
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        self.spawn(async move {
            Timer::after(delay).await;
            f();
        });
    }

    fn nests(&self) -> bool {
        false
    }
}

/// The reactor is the process's: it is there before anything is measured.
fn subject() -> Subject {
    block_on(Timer::after(Duration::from_millis(1)));
    let driver = || -> io::Result<Box<dyn Driver>> { Ok(Box::new(MioDriver::new()?)) };
    let net = || -> io::Result<Rc<dyn Net>> { Ok(Rc::new(OsNet::new()?)) };
    let host = || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Executor::default())) };
    Subject::new("async-io", driver, net, host)
}

backend_suite!(nested, subject);
adaptor_suite!(adaptor, subject);

/// An executor that is dropped takes its guests along.
#[test]
fn a_dropped_executor_completes_the_detach() {
    let (executor, guest) = (Executor::default(), guest());
    let stay = lodger_async_io::attach_rc(guest, |stay| executor.0.spawn(stay).detach()).unwrap();
    let out = Rc::new(Cell::new(0));

    drop(executor);
    let tell = Rc::clone(&out);
    stay.detach(Box::new(move || tell.set(tell.get() + 1)));

    assert_eq!(out.get(), 1);
}

/// The reactor's refusal is attach's error, and nothing is spawned.
#[test]
fn a_guest_without_a_descriptor_is_refused() {
    let spawned = Cell::new(false);

    let refused = lodger_async_io::attach(Bodiless, |_| spawned.set(true));

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert!(!spawned.get());
}

fn guest() -> Rc<dyn Nested> {
    let driver = Box::new(MioDriver::new().expect("a kernel queue"));
    Guest::new(
        driver,
        Rc::new(OsNet::new().expect("the system")),
        lodger_backend::suite::Flaw::Sound,
    )
}

/// A guest that no host can watch.
struct Bodiless;

impl Nested for Bodiless {
    fn fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn dispatch(&self) -> io::Result<lodger_backend::Turn> {
        Ok(lodger_backend::Turn::default())
    }

    fn pending(&self) -> lodger_backend::Pending {
        lodger_backend::Pending::default()
    }

    fn now(&self) -> lodger_backend::Micros {
        lodger_backend::Micros::ZERO
    }

    fn host(&self, _name: &str) {}
}
