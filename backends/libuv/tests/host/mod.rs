//! A libuv loop as the kit's host, and what is put to the test in it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger_backend::suite::{Guest, Loop, Stay, Subject};
use lodger_backend::{Driver, Nested, Net};
use lodger_libuv::{Attached, PerFd, attach};
use lodger_mio::{MioDriver, OsNet};

/// The operating system's sockets.
pub(crate) fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

/// The driver behind one descriptor.
pub(crate) fn driver() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(MioDriver::new()?))
}

/// A guest whose one descriptor is watched in the loop that `make` gives.
pub(crate) fn nested(name: &str, make: impl Fn(Option<PerFd>) -> Uv + 'static) -> Subject {
    Subject::new(name, driver, net, move || Ok(Rc::new(make(None))))
}

/// A guest whose every socket is watched. The driver and the loop are made one after the other, and
/// belong together.
pub(crate) fn per_fd(name: &str, make: impl Fn(Option<PerFd>) -> Uv + 'static) -> Subject {
    let made: Rc<RefCell<Option<PerFd>>> = Rc::default();
    let waiting = Rc::clone(&made);
    let driver = move || -> io::Result<Box<dyn Driver>> {
        let driver = PerFd::new();
        *made.borrow_mut() = Some(driver.clone());
        Ok(Box::new(driver))
    };
    Subject::new(name, driver, net, move || Ok(Rc::new(make(waiting.borrow_mut().take()))))
}

type OnCall = unsafe extern "C" fn(*mut c_void);
type OnWalk = unsafe extern "C" fn(*mut c_void, *mut c_void);

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
    fn uv_close(handle: *mut c_void, f: Option<OnCall>);
}

const IDLE: c_int = 6;
const TIMER: c_int = 13;
const RUN_ONCE: c_int = 1;
/// `uv_run` without waiting.
pub(crate) const RUN_NOWAIT: c_int = 2;

/// A loop; and the driver that waits to be put into it, if there is one.
pub(crate) struct Uv {
    raw: *mut c_void,
    /// Of a loop of this test's own; empty for one that somebody else has made.
    memory: Vec<u128>,
    per_fd: Option<PerFd>,
    /// The open handles of `after`.
    afters: Afters,
}

type Afters = Rc<RefCell<BTreeSet<*mut c_void>>>;

impl Uv {
    /// Makes a loop.
    pub(crate) fn new(per_fd: Option<PerFd>) -> Self {
        // SAFETY: takes nothing.
        let size = unsafe { uv_loop_size() };
        let mut memory = vec![0_u128; size.div_ceil(16)];
        let raw = memory.as_mut_ptr().cast();
        // SAFETY: the memory is large enough, and stays where it is.
        assert_eq!(unsafe { uv_loop_init(raw) }, 0);
        Self { raw, memory, per_fd, afters: Afters::default() }
    }

    /// Borrows a loop that is running: it is run again, from inside a callback of it.
    ///
    /// # Safety
    ///
    /// The loop is this thread's, and outlives what is made here.
    #[allow(dead_code, reason = "not every user has somebody else's loop")]
    pub(crate) unsafe fn borrowed(raw: *mut c_void, per_fd: Option<PerFd>) -> Self {
        Self { raw, memory: Vec::new(), per_fd, afters: Afters::default() }
    }

    pub(crate) fn attach(&self, guest: Rc<dyn Nested>) -> io::Result<Attached> {
        match &self.per_fd {
            // SAFETY: the loop is this thread's, and `drop` runs it after all detaches.
            Some(driver) => unsafe { driver.attach(self.raw, guest) },
            // SAFETY: as above.
            None => unsafe { attach(self.raw, guest) },
        }
    }

    /// Returns whether something keeps the loop running.
    pub(crate) fn iterate(&self, mode: c_int) -> bool {
        // SAFETY: the loop is alive and this thread's.
        unsafe { uv_run(self.raw, mode) != 0 }
    }

    #[allow(dead_code, reason = "the laws alone need it less")]
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
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
        for handle in self.afters.take() {
            // SAFETY: what is left there is open.
            unsafe { uv_close(handle, Some(closed)) };
        }
        for _ in 0..100 {
            self.iterate(RUN_NOWAIT);
        }
        if self.memory.is_empty() {
            return;
        }
        // SAFETY: the loop is alive. Refused if a handle of the guest's is left.
        let closed = unsafe { uv_loop_close(self.raw) };
        if !std::thread::panicking() {
            assert_eq!(closed, 0, "handles are left in the loop");
        }
    }
}

/// What a timer of the host runs, beside the memory of its handle.
struct After {
    f: Option<Box<dyn FnOnce()>>,
    afters: Afters,
    _memory: Vec<u128>,
}

unsafe extern "C" fn fired(handle: *mut c_void) {
    // SAFETY: libuv gives a live handle.
    let data = unsafe { uv_handle_get_data(handle) }.cast::<After>();
    // SAFETY: `after` has put a boxed `After` there.
    let after = unsafe { &mut *data };
    after.afters.borrow_mut().remove(&handle);
    let f = after.f.take();
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
        self.afters.borrow_mut().insert(handle);
        let after = After { f: Some(f), afters: Rc::clone(&self.afters), _memory: memory };
        let data = Box::into_raw(Box::new(after)).cast();
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
