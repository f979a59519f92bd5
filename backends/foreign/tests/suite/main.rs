//! The ten laws and flow control: on a table of operations of each kind, and by the pump.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests may panic")]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger_backend::suite::{Flaw, Guest, Loop, Stay, Subject};
use lodger_backend::{Driver, Host, Micros, Nested, Net, Trigger, Turn, backend_suite};
use lodger_foreign::{Pump, Table};
use lodger_mio::{MioDriver, OsNet};

use host::{Epoll, EpollOps, Played};

mod ffi;
mod host;
mod runtime;

fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

/// A table and its host belong together: the driver is made first, then the host of the same.
fn table(trigger: Trigger) -> Subject {
    let made: Rc<RefCell<Option<Played>>> = Rc::default();
    let taken = Rc::clone(&made);
    let driver = move || -> io::Result<Box<dyn Driver>> {
        let host = Epoll::new(trigger)?;
        let table = Table::new(Box::new(EpollOps(Rc::clone(&host))));
        let driver = table.driver();
        *made.borrow_mut() = Some(Played { host, table });
        Ok(driver)
    };
    let host = move || -> io::Result<Rc<dyn Loop>> {
        let played = taken.borrow_mut().take().ok_or(io::ErrorKind::NotFound)?;
        Ok(Rc::new(played))
    };
    Subject::new(format!("table, {trigger:?}"), driver, net, host)
}

backend_suite!(level, || table(Trigger::Level));
backend_suite!(edge, || table(Trigger::Edge));
backend_suite!(oneshot, || table(Trigger::Oneshot));

/// A timer of the loop's own.
type Own = (Instant, Box<dyn FnOnce()>);

/// A loop of frames, one a millisecond, that never waits for the guest.
#[derive(Default)]
struct Frames {
    pump: Rc<RefCell<Option<Rc<Pump>>>>,
    own: RefCell<Vec<Own>>,
}

impl Loop for Frames {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        *self.pump.borrow_mut() = Some(Rc::new(Pump::new_rc(guest, "a game")));
        Ok(Box::new(Pumped(Rc::clone(&self.pump))))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            let now = Instant::now();
            let (due, later): (Vec<Own>, _) =
                self.own.take().into_iter().partition(|(at, _)| *at <= now);
            self.own.replace(later);
            due.into_iter().for_each(|(_, call)| call());
            if done() {
                return true;
            }
            if now >= end {
                return false;
            }
            let pump = self.pump.borrow().clone();
            if let Some(pump) = pump {
                pump.turn(Micros::ZERO).expect("the guest's queue works");
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        self.own.borrow_mut().push((Instant::now() + delay, f));
    }
}

struct Pumped(Rc<RefCell<Option<Rc<Pump>>>>);

impl Stay for Pumped {
    fn detach(self: Box<Self>, done: Box<dyn FnOnce()>) {
        let pump = self.0.borrow_mut().take();
        drop(pump);
        done();
    }
}

fn pump() -> Subject {
    let driver = || -> io::Result<Box<dyn Driver>> { Ok(Box::new(MioDriver::new()?)) };
    let host = || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Frames::default())) };
    Subject::new("pump", driver, net, host)
}

/// A frame is a turn, whether there is work or not, and what is due waits for its frame: the laws
/// that count wakeups (1, 7 to 9, flow control) and the one of short timers (6) are not the pump's.
mod pumped {
    use super::*;

    lodger_backend::backend_suite!(@each pump,
        law_2_a_turn_is_bounded
        law_3_a_callback_may_run_the_host_again
        law_4_detaching_leaves_the_loop_as_it_was
        law_5_a_cancelled_timer_never_runs
    );
}

fn guest(driver: Box<dyn Driver>) -> Rc<Guest> {
    Guest::new(driver, Rc::new(OsNet::new().expect("the system")), Flaw::Sound)
}

/// The deadline is told on the caller's clock, whatever that says.
#[test]
fn the_pump_speaks_the_callers_time() {
    let guest = guest(Box::new(MioDriver::new().unwrap()));
    let pump = Pump::new_rc(Rc::<Guest>::clone(&guest), "a game");
    let far = Micros::new(1_000_000_000_000);
    guest.after(Duration::from_secs(60), |_| {});

    let Turn { deadline, again, .. } = pump.turn(far).unwrap();

    let left = deadline.unwrap().since(far);
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(1), "{left:?}");
    assert!(!again);
    assert_eq!(guest.host_name().as_deref(), Some("a game"));
}

#[test]
fn a_table_takes_one_guest() {
    let table = Table::new(Box::new(EpollOps(Epoll::new(Trigger::Level).unwrap())));
    let guest = guest(table.driver());
    let stay = table.attach(Rc::<Guest>::clone(&guest)).unwrap();

    let second = table.attach(Rc::<Guest>::clone(&guest));

    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    drop(stay);
    assert!(table.attach(guest).is_ok());
}

/// A host that refuses one of the guest's descriptors refuses the guest, and has nothing left of it.
#[test]
fn what_the_host_refuses_is_attachs_error() {
    let host = Epoll::new(Trigger::Level).unwrap();
    let table = Table::new(Box::new(EpollOps(Rc::clone(&host))));
    let guest = guest(table.driver());
    guest.listen().unwrap();
    // A regular file is nothing that epoll watches.
    let file = std::fs::File::open("/proc/self/status").unwrap();
    let mut driver = table.driver();
    let source = lodger_backend::Source::Fd(std::os::fd::AsRawFd::as_raw_fd(&file));
    let token = lodger_backend::Token::new(7, 7);
    driver.watch(source, token, lodger_backend::Interest::READ).unwrap();

    let refused = table.attach(guest);

    assert!(refused.is_err());
    assert_eq!(Played { host, table }.sources(), Some(0));
}

/// A guest on a table cannot be run standalone, and says so instead of spinning.
#[test]
fn a_table_does_not_wait() {
    let table = Table::new(Box::new(EpollOps(Epoll::new(Trigger::Level).unwrap())));
    let mut driver = table.driver();

    let waited = driver.poll(None, &mut Vec::new());

    assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert_eq!(driver.fd().unwrap_err().kind(), io::ErrorKind::Unsupported);
}
