//! libuv's loop, which needs its library. Its timers are of whole milliseconds.
#![allow(unsafe_code, reason = "drives libuv by its C functions")]

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::rc::Rc;

use lodger::{Handle, Limits, Runtime};
use lodger_libuv::{Attached, PerFd};
use lodger_mio::OsNet;

use crate::Res;
use crate::hosts::{at_tick, left};
use lodger_bench_hosts::script::Script;

/// What the timer's callback finds.
struct State {
    uv_loop: *mut c_void,
    script: Rc<Script>,
    stay: RefCell<Option<Attached>>,
    failed: RefCell<Option<io::Error>>,
}

thread_local! {
    /// The driver of the guest that was made last.
    static DRIVER: RefCell<Option<PerFd>> = const { RefCell::new(None) };
}

/// Makes a guest whose every socket libuv is to watch.
pub(crate) fn make_per_fd() -> io::Result<Runtime> {
    let driver = PerFd::new();
    DRIVER.set(Some(driver.clone()));
    Ok(Runtime::with(Box::new(driver), Rc::new(OsNet::new()?), Limits::default()))
}

/// Runs the process's default loop. It watches the guest's one descriptor, or each if the guest comes
/// from [`make_per_fd`].
pub(crate) fn uv(script: &Rc<Script>) -> Res {
    // SAFETY: takes nothing.
    let uv_loop = unsafe { uv_default_loop() };
    let script = Rc::clone(script);
    let (stay, failed) = (RefCell::default(), RefCell::default());
    let state = State { uv_loop, script, stay, failed };
    // SAFETY: a number in, a number out.
    let size = unsafe { uv_handle_size(TIMER) };
    let mut memory = vec![0_u128; size.div_ceil(16)];
    let timer: *mut c_void = memory.as_mut_ptr().cast();
    // SAFETY: the loop is alive, and the memory large enough; it outlives the loop's run.
    unsafe { uv_timer_init(uv_loop, timer) };
    // SAFETY: the timer is initialised, and `state` outlives the loop's run.
    unsafe { uv_handle_set_data(timer, (&raw const state).cast_mut().cast()) };
    arm(timer, &state);
    // SAFETY: the loop is this thread's. It runs until `tick` stops it.
    unsafe { uv_run(uv_loop, 0) };
    drop(state.stay.take());
    state.failed.take().map_or(Ok(()), |error| Err(error.into()))
}

fn arm(timer: *mut c_void, state: &State) {
    let millis = u64::try_from(left(state.script.due()).as_micros().div_ceil(1_000));
    // SAFETY: the loop is alive. Timers count from the loop's idea of now.
    unsafe { uv_update_time(state.uv_loop) };
    // SAFETY: the timer is open.
    unsafe { uv_timer_start(timer, tick, millis.unwrap_or(0), 0) };
}

unsafe extern "C" fn tick(timer: *mut c_void) {
    // SAFETY: the timer is open.
    let data = unsafe { uv_handle_get_data(timer) }.cast::<State>();
    // SAFETY: `uv` has put its state there, which outlives the loop's run.
    let state = unsafe { &*data };
    let attach = |guest: Handle| match DRIVER.take() {
        // SAFETY: the default loop lives as long as the process, and this thread alone runs it.
        Some(driver) => unsafe { driver.attach(state.uv_loop, guest) },
        // SAFETY: as above.
        None => unsafe { lodger_libuv::attach(state.uv_loop, guest) },
    };
    state.script.note_handles(handles(state.uv_loop));
    match at_tick(&state.script, &state.stay, attach) {
        Ok(true) => arm(timer, state),
        over => {
            *state.failed.borrow_mut() = over.err();
            // SAFETY: the loop is alive.
            unsafe { uv_stop(state.uv_loop) };
        }
    }
}

fn handles(uv_loop: *mut c_void) -> usize {
    let mut count = 0_usize;
    // SAFETY: the loop is alive; `count` outlives the walk, and is what `counted` takes.
    unsafe { uv_walk(uv_loop, counted, (&raw mut count).cast()) };
    count
}

unsafe extern "C" fn counted(_: *mut c_void, count: *mut c_void) {
    // SAFETY: `handles` has given this pointer, and is on the stack.
    unsafe { *count.cast::<usize>() += 1 };
}

const TIMER: c_int = 13;

#[link(name = "uv")]
unsafe extern "C" {
    fn uv_default_loop() -> *mut c_void;
    fn uv_run(uv_loop: *mut c_void, mode: c_int) -> c_int;
    fn uv_stop(uv_loop: *mut c_void);
    fn uv_walk(
        uv_loop: *mut c_void,
        f: unsafe extern "C" fn(*mut c_void, *mut c_void),
        arg: *mut c_void,
    );
    fn uv_update_time(uv_loop: *mut c_void);
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_set_data(handle: *mut c_void, data: *mut c_void);
    fn uv_handle_get_data(handle: *const c_void) -> *mut c_void;
    fn uv_timer_init(uv_loop: *mut c_void, timer: *mut c_void) -> c_int;
    fn uv_timer_start(
        timer: *mut c_void,
        f: unsafe extern "C" fn(*mut c_void),
        timeout: u64,
        repeat: u64,
    ) -> c_int;
}
