//! The ten laws and flow control, in libuv's loop, in both ways; and what is libuv's own.
#![allow(unsafe_code, reason = "drives libuv by its C functions")]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger_backend::suite::{Flaw, Guest, Loop, Stay, Subject};
use lodger_backend::{
    Attached as _, Driver, Micros, Nested, Net, Pending, Turn, adaptor_suite, backend_suite,
};
use lodger_libuv::{Attached, PerFd, attach};
use lodger_mio::{MioDriver, OsNet};

fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

fn driver() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(MioDriver::new()?))
}

type OnCall = unsafe extern "C" fn(*mut c_void);
type OnWalk = unsafe extern "C" fn(*mut c_void, *mut c_void);

#[link(name = "uv")]
unsafe extern "C" {
    fn uv_loop_size() -> usize;
    fn uv_loop_init(uv_loop: *mut c_void) -> c_int;
    fn uv_loop_close(uv_loop: *mut c_void) -> c_int;
    fn uv_run(uv_loop: *mut c_void, mode: c_int) -> c_int;
    fn uv_walk(uv_loop: *mut c_void, f: OnWalk, arg: *mut c_void);
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_get_type(handle: *const c_void) -> c_int;
    fn uv_handle_set_data(handle: *mut c_void, data: *mut c_void);
    fn uv_handle_get_data(handle: *const c_void) -> *mut c_void;
    fn uv_update_time(uv_loop: *mut c_void);
    fn uv_timer_init(uv_loop: *mut c_void, handle: *mut c_void) -> c_int;
    fn uv_timer_start(handle: *mut c_void, f: OnCall, timeout: u64, repeat: u64) -> c_int;
    fn uv_idle_init(uv_loop: *mut c_void, handle: *mut c_void) -> c_int;
    fn uv_idle_start(handle: *mut c_void, f: OnCall) -> c_int;
    fn uv_is_closing(handle: *const c_void) -> c_int;
    fn uv_close(handle: *mut c_void, f: Option<OnCall>);
}

const IDLE: c_int = 6;
const TIMER: c_int = 13;
const RUN_ONCE: c_int = 1;
const RUN_NOWAIT: c_int = 2;

/// A loop of this test's own; and the driver that waits to be put into it, if there is one.
struct Uv {
    raw: *mut c_void,
    _memory: Vec<u128>,
    per_fd: Option<PerFd>,
}

impl Uv {
    fn new(per_fd: Option<PerFd>) -> Self {
        // SAFETY: takes nothing.
        let size = unsafe { uv_loop_size() };
        let mut memory = vec![0_u128; size.div_ceil(16)];
        let raw = memory.as_mut_ptr().cast();
        // SAFETY: the memory is large enough, and stays where it is.
        assert_eq!(unsafe { uv_loop_init(raw) }, 0);
        Self { raw, _memory: memory, per_fd }
    }

    fn attach(&self, guest: Rc<dyn Nested>) -> io::Result<Attached> {
        match &self.per_fd {
            // SAFETY: the loop is this thread's, and `drop` runs it after all detaches.
            Some(driver) => unsafe { driver.attach(self.raw, guest) },
            // SAFETY: as above.
            None => unsafe { attach(self.raw, guest) },
        }
    }

    /// Returns whether something keeps the loop running.
    fn iterate(&self, mode: c_int) -> bool {
        // SAFETY: the loop is alive and this thread's.
        unsafe { uv_run(self.raw, mode) != 0 }
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        assert!(self.run(Duration::from_secs(20), &mut done), "never happened: {what}");
    }

    /// Starts a handle of `after`, whose memory is large enough.
    fn start_idle(&self, handle: *mut c_void, data: *mut c_void) {
        // SAFETY: the loop is alive.
        assert_eq!(unsafe { uv_idle_init(self.raw, handle) }, 0);
        // SAFETY: the handle is initialised; `closed` frees the data.
        unsafe { uv_handle_set_data(handle, data) };
        // SAFETY: the handle is open and of this kind.
        assert_eq!(unsafe { uv_idle_start(handle, fired) }, 0);
    }

    fn start_timer(&self, handle: *mut c_void, data: *mut c_void, delay: Duration) {
        let millis = u64::try_from(delay.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        // SAFETY: the loop is alive.
        assert_eq!(unsafe { uv_timer_init(self.raw, handle) }, 0);
        // SAFETY: the handle is initialised; `closed` frees the data.
        unsafe { uv_handle_set_data(handle, data) };
        // SAFETY: the loop is alive. Timers count from the loop's idea of now.
        unsafe { uv_update_time(self.raw) };
        // SAFETY: the handle is open and of this kind.
        assert_eq!(unsafe { uv_timer_start(handle, fired, millis, 0) }, 0);
    }

    /// Handles, and those of them that are timers.
    fn count(&self) -> (usize, usize) {
        let mut counts = (0_usize, 0_usize);
        // SAFETY: the loop is alive; `counts` is what `walked` takes, and outlives the walk.
        unsafe { uv_walk(self.raw, walked, (&raw mut counts).cast()) };
        counts
    }
}

unsafe extern "C" fn walked(handle: *mut c_void, counts: *mut c_void) {
    // SAFETY: `count` gave this pointer.
    let counts = unsafe { &mut *counts.cast::<(usize, usize)>() };
    counts.0 += 1;
    // SAFETY: libuv gives a live handle.
    counts.1 += usize::from(unsafe { uv_handle_get_type(handle) } == TIMER);
}

impl Drop for Uv {
    fn drop(&mut self) {
        unsafe extern "C" fn close(handle: *mut c_void, _: *mut c_void) {
            // SAFETY: libuv gives a live handle.
            let kind = unsafe { uv_handle_get_type(handle) };
            // What is left are the handles of `after`, which `closed` frees.
            if (kind == TIMER || kind == IDLE) && !is_closing(handle) {
                // SAFETY: as above.
                unsafe { uv_close(handle, Some(closed)) };
            }
        }
        // SAFETY: the loop is alive.
        unsafe { uv_walk(self.raw, close, ptr::null_mut()) };
        for _ in 0..100 {
            self.iterate(RUN_NOWAIT);
        }
        // SAFETY: as above. Refused if a handle of the guest's is left.
        let closed = unsafe { uv_loop_close(self.raw) };
        if !std::thread::panicking() {
            assert_eq!(closed, 0, "handles are left in the loop");
        }
    }
}

fn is_closing(handle: *mut c_void) -> bool {
    // SAFETY: libuv has given a live handle.
    unsafe { uv_is_closing(handle) != 0 }
}

/// What a timer of the host runs, beside the memory of its handle.
struct After {
    f: Option<Box<dyn FnOnce()>>,
    _memory: Vec<u128>,
}

unsafe extern "C" fn fired(handle: *mut c_void) {
    // SAFETY: libuv gives a live handle.
    let data = unsafe { uv_handle_get_data(handle) }.cast::<After>();
    // SAFETY: `after` has put a boxed `After` there.
    let f = unsafe { (*data).f.take() };
    // SAFETY: the handle is open.
    unsafe { uv_close(handle, Some(closed)) };
    if let Some(f) = f {
        f();
    }
}

unsafe extern "C" fn closed(handle: *mut c_void) {
    // SAFETY: as in `fired`.
    let data = unsafe { uv_handle_get_data(handle) }.cast::<After>();
    // SAFETY: as in `fired`; libuv is done with the handle.
    drop(unsafe { Box::from_raw(data) });
}

impl Loop for Uv {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        Ok(Box::new(Self::attach(self, guest)?))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let over = Rc::new(Cell::new(false));
        let tell = Rc::clone(&over);
        let end = Instant::now() + limit;
        // Ends the last iteration, which may block for ever without it.
        self.after(limit, Box::new(move || tell.set(true)));
        loop {
            if done() {
                return true;
            }
            if over.get() || Instant::now() >= end {
                return false;
            }
            self.iterate(RUN_ONCE);
        }
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        // A timer of no delay that arms another would never leave libuv's timers.
        let kind = if delay.is_zero() { IDLE } else { TIMER };
        // SAFETY: a number in, a number out.
        let size = unsafe { uv_handle_size(kind) };
        let mut memory = vec![0_u128; size.div_ceil(16)];
        let handle: *mut c_void = memory.as_mut_ptr().cast();
        let data = Box::into_raw(Box::new(After { f: Some(f), _memory: memory })).cast();
        if kind == IDLE {
            self.start_idle(handle, data);
        } else {
            self.start_timer(handle, data, delay);
        }
    }

    /// libuv does not promise it, but programs do it.
    fn nests(&self) -> bool {
        true
    }

    fn asks_pending(&self) -> bool {
        true
    }

    fn sources(&self) -> Option<usize> {
        let (all, timers) = self.count();
        Some(all - timers)
    }
}

/// libuv keeps a pipe of the whole process once there has been a loop: it is not the guest's.
fn warm() {
    drop(Uv::new(None));
}

fn nested_subject() -> Subject {
    warm();
    Subject::new("libuv", driver, net, || Ok(Rc::new(Uv::new(None))))
}

backend_suite!(nested, nested_subject);
adaptor_suite!(nested_adaptor, nested_subject);

/// The driver and the loop are made one after the other, and belong together.
fn per_fd_subject() -> Subject {
    warm();
    let made: Rc<RefCell<Option<PerFd>>> = Rc::default();
    let waiting = Rc::clone(&made);
    let driver = move || -> io::Result<Box<dyn Driver>> {
        let driver = PerFd::new();
        *made.borrow_mut() = Some(driver.clone());
        Ok(Box::new(driver))
    };
    let host =
        move || -> io::Result<Rc<dyn Loop>> { Ok(Rc::new(Uv::new(waiting.borrow_mut().take()))) };
    Subject::new("libuv, a handle a socket", driver, net, host)
}

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
