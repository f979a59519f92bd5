//! What `host.js` calls: the guest, and the script of a run. One environment, one run a process.
#![allow(unsafe_code, reason = "calls Node-API and libuv, and is called by Node")]
#![allow(clippy::print_stderr, reason = "a program that reports")]

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::io;
use std::ptr;
use std::time::{Duration, Instant};

use lodger_bench_hosts::script::{Act, Script};
use lodger_libuv::Attached;
use napi_sys::{napi_callback_info, napi_env, napi_value};

/// A run; and the guest's stay in the loop.
struct Run {
    script: Script,
    stay: Option<Attached>,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

unsafe extern "C" {
    fn uv_walk(uv_loop: *mut c_void, f: OnWalk, arg: *mut c_void);
}

type OnWalk = unsafe extern "C" fn(*mut c_void, *mut c_void);

fn uv_loop(env: napi_env) -> *mut c_void {
    let mut uv_loop = ptr::null_mut();
    // SAFETY: Node gave the environment to the call that is on the stack.
    unsafe { napi_sys::napi_get_uv_event_loop(env, &raw mut uv_loop) };
    uv_loop.cast()
}

fn handles(env: napi_env) -> usize {
    let mut count = 0_usize;
    // SAFETY: the loop is alive; `count` outlives the walk, and is what `counted` takes.
    unsafe { uv_walk(uv_loop(env), counted, (&raw mut count).cast()) };
    count
}

unsafe extern "C" fn counted(_: *mut c_void, count: *mut c_void) {
    // SAFETY: `handles` has given this pointer, and is on the stack.
    unsafe { *count.cast::<usize>() += 1 };
}

/// `tick() -> number`: 0 as long as there is another.
fn tick(env: napi_env) -> io::Result<u32> {
    RUN.with_borrow_mut(|run| {
        let run = run.as_mut().ok_or(io::ErrorKind::NotFound)?;
        run.script.note_handles(handles(env));
        match run.script.tick()? {
            Act::Nothing => {}
            Act::Attach => {
                let guest = run.script.guest().ok_or(io::ErrorKind::NotFound)?;
                // SAFETY: the loop is this thread's, and a run takes the guest out before it ends.
                run.stay = Some(unsafe { lodger_libuv::attach(uv_loop(env), guest) }?);
            }
            Act::Detach => {
                run.stay = None;
                run.script.forget();
            }
            Act::Stop => {
                run.stay = None;
                eprintln!("{}", run.script.found());
                return Ok(1);
            }
        }
        Ok(0)
    })
}

unsafe extern "C" fn called_tick(env: napi_env, _: napi_callback_info) -> napi_value {
    number(env, tick(env).unwrap_or(2))
}

/// `left() -> number`: milliseconds to the next tick.
unsafe extern "C" fn called_left(env: napi_env, _: napi_callback_info) -> napi_value {
    let left = RUN.with_borrow(|run| {
        run.as_ref().map(|run| run.script.due().saturating_duration_since(Instant::now()))
    });
    let millis = left.unwrap_or_default().as_micros().div_ceil(1_000);
    number(env, u32::try_from(millis).unwrap_or(u32::MAX))
}

/// `begin(mode, seconds) -> number`: 0, or there is no such mode.
unsafe extern "C" fn called_begin(env: napi_env, info: napi_callback_info) -> napi_value {
    let (mut args, mut count) = ([ptr::null_mut(); 2], 2);
    let (to, this, data) = (args.as_mut_ptr(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: Node gave both; there is room for two arguments.
    unsafe { napi_sys::napi_get_cb_info(env, info, &raw mut count, to, this, data) };
    let [mode, seconds] = args;
    let (mut text, mut length, mut time) = ([0_u8; 64], 0, 0_u32);
    let to = text.as_mut_ptr().cast();
    // SAFETY: the environment is alive; no more than there is room for is written, NUL with it.
    unsafe { napi_sys::napi_get_value_string_utf8(env, mode, to, text.len(), &raw mut length) };
    // SAFETY: as above; what is no number is refused.
    unsafe { napi_sys::napi_get_value_uint32(env, seconds, &raw mut time) };
    let mode = CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy();
    let script = Script::new(&mode, Duration::from_secs(time.into()));
    let begun = u32::from(script.is_none());
    RUN.set(script.map(|script| Run { script, stay: None }));
    number(env, begun)
}

fn number(env: napi_env, number: u32) -> napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: Node gave the environment to the call that is on the stack.
    unsafe { napi_sys::napi_create_uint32(env, number, &raw mut value) };
    value
}

type Callback = unsafe extern "C" fn(napi_env, napi_callback_info) -> napi_value;

/// Node calls this when it loads the addon.
#[unsafe(no_mangle)]
extern "C" fn napi_register_module_v1(env: napi_env, exports: napi_value) -> napi_value {
    let all: [(&CStr, Callback); 3] =
        [(c"begin", called_begin), (c"left", called_left), (c"tick", called_tick)];
    for (name, f) in all {
        let (mut value, data) = (ptr::null_mut(), ptr::null_mut());
        let (text, length) = (name.as_ptr(), isize::try_from(name.count_bytes()).unwrap_or(0));
        // SAFETY: Node gave the environment; the name is so long.
        unsafe { napi_sys::napi_create_function(env, text, length, Some(f), data, &raw mut value) };
        // SAFETY: as above, and the function was made there.
        unsafe { napi_sys::napi_set_named_property(env, exports, text, value) };
    }
    exports
}
