//! libuv's loop, which needs its library. Its timers are of whole milliseconds.
#![allow(unsafe_code, reason = "drives libuv by its C functions")]

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use lodger_libuv::Attached;

use crate::Res;
use crate::hosts::{at_tick, left};
use crate::script::Script;

/// What the timer's callback finds.
struct State {
    uv_loop: *mut c_void,
    script: Rc<Script>,
    stay: RefCell<Option<Attached>>,
    failed: RefCell<Option<std::io::Error>>,
}

/// Runs the process's default loop.
pub(crate) fn uv(script: &Rc<Script>) -> Res {
    // SAFETY: takes nothing.
    let uv_loop = unsafe { uv_default_loop() };
    let script = Rc::clone(script);
    let state = State { uv_loop, script, stay: RefCell::default(), failed: RefCell::default() };
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
    // SAFETY: the default loop lives as long as the process, and this thread alone runs it.
    let attach = |guest| unsafe { lodger_libuv::attach(state.uv_loop, guest) };
    match at_tick(&state.script, &state.stay, attach) {
        Ok(true) => arm(timer, state),
        over => {
            *state.failed.borrow_mut() = over.err();
            // SAFETY: the loop is alive.
            unsafe { uv_stop(state.uv_loop) };
        }
    }
}

const TIMER: c_int = 13;

#[link(name = "uv")]
unsafe extern "C" {
    fn uv_default_loop() -> *mut c_void;
    fn uv_run(uv_loop: *mut c_void, mode: c_int) -> c_int;
    fn uv_stop(uv_loop: *mut c_void);
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
