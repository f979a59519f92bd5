//! The ten laws and flow control, in libuv's loop, in both ways; and what is libuv's own.
#![allow(unsafe_code, reason = "drives libuv by its C functions")]

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::suite::{Flaw, Guest, Loop, Subject};
use lodger_backend::{
    Attached as _, Driver, Micros, Nested, Pending, Turn, adaptor_suite, backend_suite,
};
use lodger_libuv::{Attached, PerFd, attach};

mod host;

use host::{RUN_NOWAIT, Uv, net};

#[link(name = "uv")]
unsafe extern "C" {}

/// libuv keeps a pipe of the whole process once there has been a loop: it is not the guest's.
fn warm() {
    drop(Uv::new(None));
}

fn nested_subject() -> Subject {
    warm();
    host::nested("libuv", Uv::new)
}

fn per_fd_subject() -> Subject {
    warm();
    host::per_fd("libuv, a handle a socket", Uv::new)
}

backend_suite!(nested, nested_subject);
adaptor_suite!(nested_adaptor, nested_subject);
backend_suite!(per_fd, per_fd_subject);

type Does = Box<dyn FnMut() -> io::Result<Turn>>;

/// A guest that does as it is told, and counts.
#[derive(Default)]
struct Puppet {
    turns: Cell<u32>,
    work: Cell<bool>,
    does: RefCell<Option<Does>>,
    /// Watched in place of a pipe that says nothing.
    file: RefCell<Option<std::fs::File>>,
    pipe: RefCell<Option<io::PipeWriter>>,
}

impl Nested for Puppet {
    fn fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        if let Some(file) = self.file.borrow_mut().take() {
            return Ok(file.into());
        }
        let (reader, writer) = io::pipe()?;
        *self.pipe.borrow_mut() = Some(writer);
        Ok(reader.into())
    }

    fn dispatch(&self) -> io::Result<Turn> {
        self.turns.set(self.turns.get() + 1);
        let does = self.does.borrow_mut().take();
        does.map_or(Ok(Turn::default()), |mut does| does())
    }

    fn pending(&self) -> Pending {
        Pending { work: self.work.get(), deadline: None }
    }

    fn now(&self) -> Micros {
        Micros::ZERO
    }

    fn host(&self, _name: &str) {}
}

#[test]
fn no_loop_is_refused() {
    // SAFETY: NULL is allowed, and refused.
    let refused = unsafe { attach(ptr::null_mut(), Rc::new(Puppet::default())) };

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn what_libuv_does_not_watch_is_an_error_at_attach() {
    let uv = Uv::new(None);
    let puppet = Puppet::default();
    let file = std::env::current_exe().and_then(std::fs::File::open).unwrap();
    *puppet.file.borrow_mut() = Some(file);

    let refused = uv.attach(Rc::new(puppet));

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert!(!uv.iterate(RUN_NOWAIT), "something keeps the loop running");
}

#[test]
fn a_driver_is_in_one_loop_at_a_time() {
    let driver = PerFd::new();
    let (one, two) = (Uv::new(Some(driver.clone())), Uv::new(Some(driver)));
    let stay = one.attach(Rc::new(Puppet::default())).unwrap();

    let refused = two.attach(Rc::new(Puppet::default()));

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop(stay);
    drop(two.attach(Rc::new(Puppet::default())).unwrap());
}

#[test]
fn a_driver_without_a_queue_says_so() {
    let mut driver = PerFd::new();

    assert_eq!(driver.fd().unwrap_err().kind(), io::ErrorKind::Unsupported);
    let waited = driver.poll(None, &mut Vec::new());
    assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_guest_keeps_the_loop_running_unless_it_is_told_not_to() {
    for per_fd in [None, Some(PerFd::new())] {
        let uv = Uv::new(per_fd);
        let mut stay = uv.attach(Rc::new(Puppet::default())).unwrap();

        assert!(uv.iterate(RUN_NOWAIT));
        stay.set_keep_alive(false);
        assert!(!uv.iterate(RUN_NOWAIT));
        stay.set_keep_alive(true);
        assert!(uv.iterate(RUN_NOWAIT));
        drop(stay);
        assert!(!uv.iterate(RUN_NOWAIT));
    }
}

fn failing(does: impl FnMut() -> io::Result<Turn> + 'static) -> String {
    let uv = Uv::new(None);
    let puppet = Rc::new(Puppet::default());
    *puppet.does.borrow_mut() = Some(Box::new(does));
    puppet.work.set(true);
    let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
    let stay = uv.attach(guest).expect("a stay");
    let told = Rc::new(RefCell::new(None));
    let tell = Rc::clone(&told);
    stay.on_failure(move |error| *tell.borrow_mut() = Some(error.to_string()));

    uv.until("a failure is told", || told.borrow().is_some());
    uv.iterate(RUN_NOWAIT);

    assert!(!stay.is_attached());
    assert_eq!(puppet.turns.get(), 1);
    assert_eq!(Rc::strong_count(&puppet), 1);
    told.take().unwrap_or_default()
}

#[test]
fn a_turn_that_fails_ends_the_stay() {
    assert_eq!(failing(|| Err(io::Error::other("the queue is gone"))), "the queue is gone");
}

#[test]
fn a_panic_ends_the_stay_and_not_the_host() {
    assert_eq!(failing(|| panic!("on purpose")), "a turn panicked: on purpose");
}

#[test]
fn a_guest_that_goes_away_in_its_own_turn_lives_until_the_turn_ends() {
    let uv = Uv::new(None);
    let puppet = Rc::new(Puppet::default());
    let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
    let stay: Rc<RefCell<Option<Attached>>> = Rc::default();
    *stay.borrow_mut() = Some(uv.attach(guest).unwrap());
    let (held, weak) = (Rc::clone(&stay), Rc::downgrade(&puppet));
    *puppet.does.borrow_mut() = Some(Box::new(move || {
        let leaving = held.borrow_mut().take();
        drop(leaving);
        assert!(weak.strong_count() > 0);
        Ok(Turn { again: true, ..Turn::default() })
    }));
    puppet.work.set(true);

    uv.until("a turn", || puppet.turns.get() > 0);
    for _ in 0..10 {
        uv.iterate(RUN_NOWAIT);
    }

    assert_eq!(puppet.turns.get(), 1);
    assert_eq!(Rc::strong_count(&puppet), 1);
    assert_eq!(uv.sources(), Some(0));
}

/// A driver that libuv watches by many handles; the process's descriptors are counted, so this runs
/// alone.
#[test]
fn a_hundred_stays_with_a_handle_a_socket_leave_nothing_behind() {
    let name =
        concat!(module_path!(), "::a_hundred_stays_with_a_handle_a_socket_leave_nothing_behind");
    lodger_backend::suite::alone(name, || {
        let per_fd = PerFd::new();
        let guest = Guest::new(Box::new(per_fd.clone()), net().unwrap(), Flaw::Sound);
        guest.listen().unwrap();
        let uv = Uv::new(Some(per_fd));
        // The loop opens what it needs in the first iteration.
        uv.iterate(RUN_NOWAIT);
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (before, rang) = (descriptors(), Rc::new(Cell::new(0)));
        for n in 0..100 {
            let stay = Loop::attach(&uv, &guest).unwrap();
            let (bell, done) = (Rc::clone(&rang), Rc::new(Cell::new(false)));
            guest.after(Duration::ZERO, move |_| bell.set(bell.get() + 1));
            uv.until("a timer of the guest", || rang.get() > n);
            let told = Rc::clone(&done);
            stay.detach(Box::new(move || told.set(true)));
            uv.until("the end of a detach", || done.get());
        }
        assert_eq!((descriptors(), uv.sources()), (before, Some(0)));
        assert_eq!(Rc::strong_count(&guest), 1);
    });
}
