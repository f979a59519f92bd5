//! The ten laws and flow control in tokio.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger_backend::suite::{Flaw, Guest, Loop, Stay, Subject};
use lodger_backend::{
    Attached as _, Driver, Micros, Nested, Net, Pending, Turn, adaptor_suite, backend_suite,
};
use lodger_mio::{MioDriver, OsNet};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;

struct Tokio {
    rt: Runtime,
    local: LocalSet,
    /// Told when a task has done something that the kit may wait for.
    turned: Rc<Notify>,
}

impl Tokio {
    fn new() -> io::Result<Self> {
        let rt = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { rt, local: LocalSet::new(), turned: Rc::default() })
    }
}

/// The kit's guest, whose turns are told of.
struct Told(Rc<Guest>, Rc<Notify>);

impl Nested for Told {
    fn fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.0.fd()
    }

    fn dispatch(&self) -> io::Result<Turn> {
        let turn = self.0.dispatch();
        self.1.notify_one();
        turn
    }

    fn pending(&self) -> Pending {
        self.0.pending()
    }

    fn now(&self) -> Micros {
        self.0.now()
    }

    fn host(&self, name: &str) {
        self.0.host(name);
    }
}

impl Loop for Tokio {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let _context = self.rt.enter();
        let guest = Told(Rc::clone(guest), Rc::clone(&self.turned));
        let stay = lodger_tokio::attach(guest, |stay| drop(self.local.spawn_local(stay)))?;
        let turned = Rc::clone(&self.turned);
        Ok(Box::new(Leaving(stay, turned)))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        self.local.block_on(&self.rt, async {
            while !done() {
                if Instant::now() >= end {
                    return false;
                }
                let left = end.saturating_duration_since(Instant::now());
                let _ = tokio::time::timeout(left, self.turned.notified()).await;
            }
            true
        })
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        let turned = Rc::clone(&self.turned);
        self.local.spawn_local(async move {
            // tokio's timers are of whole milliseconds; no delay is the next iteration.
            match delay {
                Duration::ZERO => tokio::task::yield_now().await,
                _ => tokio::time::sleep(delay).await,
            }
            f();
            turned.notify_one();
        });
    }

    fn nests(&self) -> bool {
        false
    }
}

/// A stay whose end is told of.
struct Leaving(lodger_tokio::Attached, Rc<Notify>);

impl Stay for Leaving {
    fn detach(self: Box<Self>, done: Box<dyn FnOnce()>) {
        let Self(stay, turned) = *self;
        stay.detach(Box::new(move || {
            done();
            turned.notify_one();
        }));
    }
}

fn subject() -> Subject {
    let driver = || -> io::Result<Box<dyn Driver>> { Ok(Box::new(MioDriver::new()?)) };
    let net = || -> io::Result<Rc<dyn Net>> { Ok(Rc::new(OsNet::new()?)) };
    let host = || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Tokio::new()?)) };
    Subject::new("tokio", driver, net, host)
}

/// Takes three reports a poll, so that most turns leave something behind one edge.
fn short_subject() -> Subject {
    let driver = || -> io::Result<Box<dyn Driver>> { Ok(Box::new(MioDriver::with_events(3)?)) };
    let net = || -> io::Result<Rc<dyn Net>> { Ok(Rc::new(OsNet::new()?)) };
    let host = || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Tokio::new()?)) };
    Subject::new("tokio, short list", driver, net, host)
}

backend_suite!(nested, subject);
backend_suite!(short_list, short_subject);
adaptor_suite!(adaptor, subject);

fn guest() -> Rc<dyn Nested> {
    let driver = Box::new(MioDriver::new().expect("a kernel queue"));
    Guest::new(driver, Rc::new(OsNet::new().expect("the system")), Flaw::Sound)
}

#[test]
fn outside_of_a_runtime_it_is_refused() {
    let spawned = Cell::new(false);

    let refused = lodger_tokio::attach_rc(guest(), |_| spawned.set(true));

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert!(!spawned.get());
}

#[test]
fn a_runtime_without_input_and_output_refuses() {
    let tokio = Builder::new_current_thread().build().unwrap();
    let _context = tokio.enter();

    let refused = lodger_tokio::attach_rc(guest(), |_| {});

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
}

/// Whoever drops the future completes the detach.
#[test]
fn a_dropped_local_set_completes_the_detach() {
    let host = Tokio::new().unwrap();
    let context = host.rt.enter();
    let stay = lodger_tokio::attach_rc(guest(), |stay| drop(host.local.spawn_local(stay))).unwrap();
    let out = Rc::new(Cell::new(0));
    drop(context);

    drop(host);
    let tell = Rc::clone(&out);
    stay.detach(Box::new(move || tell.set(tell.get() + 1)));

    assert_eq!(out.get(), 1);
}
