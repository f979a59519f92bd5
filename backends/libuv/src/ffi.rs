//! libuv's side: the functions that are used, and handles that close themselves. All that is
//! unsafe is here.
//!
//! No structure of libuv's is known: handles are as large as `uv_handle_size` says, so that any
//! libuv 1.x will do, that of Node.js too. Nothing is linked: the program that uses this crate
//! brings the library.
#![allow(unsafe_code, reason = "calls libuv, and is called by it")]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use lodger_backend::Nested;

use crate::{Attached, PerFd, nested};

/// Puts `guest` into a loop: libuv watches its one descriptor.
///
/// # Errors
///
/// libuv's, if it refuses a handle; the guest's, if it has no descriptor to watch; `InvalidInput`
/// for NULL.
///
/// # Safety
///
/// `uv_loop` is NULL or an initialised `uv_loop_t` that
///
/// - is run by this thread alone, now and later;
/// - lives until the guest is detached and the loop has run once after that, as `uv_loop_close`
///   asks for anyway (it says `UV_EBUSY` before).
pub unsafe fn attach(uv_loop: *mut c_void, guest: impl Nested + 'static) -> io::Result<Attached> {
    nested::attach(Loop::new(uv_loop)?, Rc::new(guest))
}

impl PerFd {
    /// Puts `guest`, which has been made with (a clone of) this driver, into a loop.
    ///
    /// # Errors
    ///
    /// libuv's, if it refuses a handle; `InvalidInput` for NULL; `ResourceBusy` if the driver is in
    /// a loop already.
    ///
    /// # Safety
    ///
    /// As for [`attach`].
    pub unsafe fn attach(
        &self,
        uv_loop: *mut c_void,
        guest: impl Nested + 'static,
    ) -> io::Result<Attached> {
        self.enter(Loop::new(uv_loop)?, Rc::new(guest))
    }
}

/// A loop of the host's.
///
/// Invariant: made of what the caller of an `attach` has promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop(NonNull<c_void>);

impl Loop {
    fn new(raw: *mut c_void) -> io::Result<Self> {
        let text = "no loop: say uv_default_loop() if that one is meant";
        let error = || io::Error::new(io::ErrorKind::InvalidInput, text);
        NonNull::new(raw).map(Self).ok_or_else(error)
    }

    /// Gives how long a timer must be set for to fire no earlier than in `micros` from now: whole
    /// milliseconds, counted from the loop's own idea of now.
    pub(crate) fn millis_until(self, micros: u64) -> u64 {
        // SAFETY: a clock; it takes nothing.
        let nanos = unsafe { uv_hrtime() };
        let at = nanos.saturating_add(micros.saturating_mul(1_000)).div_ceil(1_000_000);
        // SAFETY: `attach` was promised that the loop lives.
        at.saturating_sub(unsafe { uv_now(self.0.as_ptr()) })
    }
}

/// Gives the version of the library that runs.
pub(crate) fn version() -> String {
    // SAFETY: takes nothing.
    let text = unsafe { uv_version_string() };
    // SAFETY: libuv gives a static string.
    let text = unsafe { CStr::from_ptr(text) };
    format!("libuv {}", text.to_string_lossy())
}

/// What a handle calls: status and events of a poll, zeroes for the others.
pub(crate) type Call = dyn Fn(c_int, c_int);

/// Runs `done` when it is dropped: each closing handle holds a clone of its `Rc`, so that the last
/// close runs it.
pub(crate) struct Last(Option<Box<dyn FnOnce()>>);

impl Last {
    pub(crate) fn new(done: Option<Box<dyn FnOnce()>>) -> Rc<Self> {
        Rc::new(Self(done))
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done();
        }
    }
}

/// What stands behind a handle.
struct Data {
    kind: Kind,
    call: Rc<Call>,
    last: Cell<Option<Rc<Last>>>,
}

/// The kinds of handles, by libuv's numbers (which are part of its ABI).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Async = 1,
    Check = 2,
    Idle = 6,
    Poll = 8,
    Prepare = 10,
    Timer = 13,
}

impl Kind {
    /// How many units of 16 bytes libuv wants for one.
    fn units(self) -> usize {
        // SAFETY: a number in, a number out.
        unsafe { uv_handle_size(self as c_int) }.div_ceil(size_of::<Unit>())
    }
}

/// Memory of an alignment that fits everything.
type Unit = u128;

/// An open handle in a loop. Dropping it closes it; its memory lives until libuv has forgotten it.
#[derive(Debug)]
pub(crate) struct Handle {
    raw: NonNull<c_void>,
    kind: Kind,
}

impl Handle {
    /// Opens a handle of any kind but [`Kind::Poll`].
    pub(crate) fn new(uv_loop: Loop, kind: Kind, call: Rc<Call>) -> io::Result<Self> {
        let init = match kind {
            Kind::Check => uv_check_init,
            Kind::Idle => uv_idle_init,
            Kind::Prepare => uv_prepare_init,
            Kind::Timer => uv_timer_init,
            Kind::Async | Kind::Poll => return Err(error(UV_EINVAL)),
        };
        Self::open(kind, call, |raw| {
            // SAFETY: the loop lives, as `attach` was promised, and the memory is as large as libuv
            // wants it for this kind.
            unsafe { init(uv_loop.0.as_ptr(), raw) }
        })
    }

    /// Opens a handle that watches a descriptor, which must stay open until this is dropped.
    pub(crate) fn poll(uv_loop: Loop, fd: c_int, call: Rc<Call>) -> io::Result<Self> {
        Self::open(Kind::Poll, call, |raw| {
            // SAFETY: as in `new`; a descriptor that is none is refused.
            unsafe { uv_poll_init(uv_loop.0.as_ptr(), raw, fd) }
        })
    }

    fn open(
        kind: Kind,
        call: Rc<Call>,
        init: impl FnOnce(*mut c_void) -> c_int,
    ) -> io::Result<Self> {
        let mut memory = vec![Unit::default(); kind.units()].into_boxed_slice();
        check(init(memory.as_mut_ptr().cast()))?;
        let data = Box::into_raw(Box::new(Data { kind, call, last: Cell::default() }));
        let raw = NonNull::from(Box::leak(memory)).cast::<c_void>();
        // SAFETY: the handle is initialised, and the data lives until `on_closed`.
        unsafe { uv_handle_set_data(raw.as_ptr(), data.cast()) };
        Ok(Self { raw, kind })
    }

    /// Has the handle call from now on; a started one does so already.
    pub(crate) fn start(&self) {
        let start = match self.kind {
            Kind::Check => uv_check_start,
            Kind::Idle => uv_idle_start,
            Kind::Prepare => uv_prepare_start,
            Kind::Async | Kind::Poll | Kind::Timer => return,
        };
        // SAFETY: the handle is open and of this kind. With a callback none of these fails.
        unsafe { start(self.raw.as_ptr(), Some(on_call)) };
    }

    /// Has a timer call once, `millis` after the loop's idea of now.
    pub(crate) fn start_timer(&self, millis: u64) {
        if self.kind == Kind::Timer {
            // SAFETY: the handle is open and a timer. With a callback this does not fail.
            unsafe { uv_timer_start(self.raw.as_ptr(), Some(on_call), millis, 0) };
        }
    }

    /// Watches for these events alone from now on.
    pub(crate) fn start_poll(&self, events: c_int) -> io::Result<()> {
        if self.kind != Kind::Poll {
            return check(UV_EINVAL);
        }
        // SAFETY: the handle is open and of this kind.
        check(unsafe { uv_poll_start(self.raw.as_ptr(), events, Some(on_poll)) })
    }

    /// Has it call no more, until it is started again.
    pub(crate) fn stop(&self) {
        let stop = match self.kind {
            Kind::Check => uv_check_stop,
            Kind::Idle => uv_idle_stop,
            Kind::Poll => uv_poll_stop,
            Kind::Prepare => uv_prepare_stop,
            Kind::Timer => uv_timer_stop,
            Kind::Async => return,
        };
        // SAFETY: the handle is open and of this kind. None of these fails.
        unsafe { stop(self.raw.as_ptr()) };
    }

    /// Sets whether the handle keeps its loop running while it is started.
    pub(crate) fn keep_alive(&self, on: bool) {
        if on {
            // SAFETY: the handle is open.
            unsafe { uv_ref(self.raw.as_ptr()) };
        } else {
            // SAFETY: the handle is open.
            unsafe { uv_unref(self.raw.as_ptr()) };
        }
    }

    /// Closes it. `last` is held until libuv has forgotten it.
    pub(crate) fn close(self, last: &Rc<Last>) {
        self.hold(last);
        drop(self);
    }

    fn hold(&self, last: &Rc<Last>) {
        // SAFETY: the handle is open, so that its data is there.
        let data = unsafe { data(self.raw.as_ptr()) };
        data.last.set(Some(Rc::clone(last)));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open and nobody else closes it; the memory lives until `on_closed`.
        unsafe { uv_close(self.raw.as_ptr(), Some(on_closed)) };
    }
}

/// What any thread may ring: the loop wakes and the bell calls, or nothing happens if no bell
/// hangs.
#[derive(Debug, Default)]
pub(crate) struct Doorbell(Mutex<Option<Sender>>);

#[derive(Debug)]
struct Sender(NonNull<c_void>);

// SAFETY: `uv_async_send` is the one function of libuv that any thread may call, and nothing else
// is done with the pointer.
unsafe impl Send for Sender {}

impl Doorbell {
    pub(crate) fn ring(&self) {
        if let Some(Sender(raw)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: the handle is open: before it is closed it is taken away, under this lock.
            unsafe { uv_async_send(raw.as_ptr()) };
        }
    }

    fn hang(&self, sender: Option<Sender>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }
}

/// The handle behind a doorbell. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Bell {
    door: Arc<Doorbell>,
    handle: Handle,
}

impl Bell {
    pub(crate) fn new(uv_loop: Loop, door: &Arc<Doorbell>, call: Rc<Call>) -> io::Result<Self> {
        let handle = Handle::open(Kind::Async, call, |raw| {
            // SAFETY: as in `Handle::new`.
            unsafe { uv_async_init(uv_loop.0.as_ptr(), raw, Some(on_call)) }
        })?;
        handle.keep_alive(false);
        door.hang(Some(Sender(handle.raw)));
        Ok(Self { door: Arc::clone(door), handle })
    }

    pub(crate) fn close(self, last: &Rc<Last>) {
        self.handle.hold(last);
        drop(self);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.door.hang(None);
    }
}

unsafe extern "C" fn on_call(raw: *mut c_void) {
    // SAFETY: libuv calls this for a handle that `open` has made.
    called(unsafe { data(raw) }, 0, 0);
}

unsafe extern "C" fn on_poll(raw: *mut c_void, status: c_int, events: c_int) {
    // SAFETY: as in `on_call`.
    called(unsafe { data(raw) }, status, events);
}

/// Nothing unwinds into libuv. What is called reports its own failures.
fn called(data: &Data, status: c_int, events: c_int) {
    // The handle, and `data` with it, may be gone before the call returns: inside it the loop may
    // be run again.
    let call = Rc::clone(&data.call);
    let _ = catch_unwind(AssertUnwindSafe(move || call(status, events)));
}

/// libuv has forgotten the handle.
unsafe extern "C" fn on_closed(raw: *mut c_void) {
    // SAFETY: the handle is still there.
    let data = unsafe { uv_handle_get_data(raw) }.cast::<Data>();
    // SAFETY: `open` has put a boxed `Data` there, and this comes once.
    let data = unsafe { Box::from_raw(data) };
    let memory = ptr::slice_from_raw_parts_mut(raw.cast::<Unit>(), data.kind.units());
    // SAFETY: the memory was leaked in `open` with this length, and libuv uses it no more.
    drop(unsafe { Box::from_raw(memory) });
    let _ = catch_unwind(AssertUnwindSafe(move || drop(data)));
}

/// # Safety
///
/// `raw` is a handle that `open` has made and libuv has not forgotten, for `'a`.
unsafe fn data<'a>(raw: *mut c_void) -> &'a Data {
    // SAFETY: the handle is initialised.
    let data = unsafe { uv_handle_get_data(raw) };
    // SAFETY: `open` has put a boxed `Data` there, which only `on_closed` takes.
    unsafe { &*data.cast::<Data>() }
}

/// libuv's errors are the system's, negative.
fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(error(result)) } else { Ok(()) }
}

/// Makes an error of a negative result.
pub(crate) fn error(result: c_int) -> io::Error {
    io::Error::from_raw_os_error(result.saturating_neg())
}

/// Input may be read.
pub(crate) const READABLE: c_int = 1;
/// Output may be written.
pub(crate) const WRITABLE: c_int = 2;
/// The peer has ended its stream.
pub(crate) const DISCONNECT: c_int = 4;

const UV_EINVAL: c_int = -22;

type OnCall = Option<unsafe extern "C" fn(*mut c_void)>;
type OnPoll = Option<unsafe extern "C" fn(*mut c_void, c_int, c_int)>;

#[cfg_attr(test, link(name = "uv"))]
unsafe extern "C" {
    fn uv_version_string() -> *const c_char;
    fn uv_hrtime() -> u64;
    fn uv_now(uv_loop: *const c_void) -> u64;
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_set_data(handle: *mut c_void, data: *mut c_void);
    fn uv_handle_get_data(handle: *const c_void) -> *mut c_void;
    fn uv_close(handle: *mut c_void, closed: OnCall);
    fn uv_ref(handle: *mut c_void);
    fn uv_unref(handle: *mut c_void);
    fn uv_poll_init(uv_loop: *mut c_void, handle: *mut c_void, fd: c_int) -> c_int;
    fn uv_poll_start(handle: *mut c_void, events: c_int, call: OnPoll) -> c_int;
    fn uv_poll_stop(handle: *mut c_void) -> c_int;
    fn uv_prepare_init(uv_loop: *mut c_void, handle: *mut c_void) -> c_int;
    fn uv_prepare_start(handle: *mut c_void, call: OnCall) -> c_int;
    fn uv_prepare_stop(handle: *mut c_void) -> c_int;
    fn uv_check_init(uv_loop: *mut c_void, handle: *mut c_void) -> c_int;
    fn uv_check_start(handle: *mut c_void, call: OnCall) -> c_int;
    fn uv_check_stop(handle: *mut c_void) -> c_int;
    fn uv_idle_init(uv_loop: *mut c_void, handle: *mut c_void) -> c_int;
    fn uv_idle_start(handle: *mut c_void, call: OnCall) -> c_int;
    fn uv_idle_stop(handle: *mut c_void) -> c_int;
    fn uv_timer_init(uv_loop: *mut c_void, handle: *mut c_void) -> c_int;
    fn uv_timer_start(handle: *mut c_void, call: OnCall, timeout: u64, repeat: u64) -> c_int;
    fn uv_timer_stop(handle: *mut c_void) -> c_int;
    fn uv_async_init(uv_loop: *mut c_void, handle: *mut c_void, call: OnCall) -> c_int;
    fn uv_async_send(handle: *mut c_void) -> c_int;
}
