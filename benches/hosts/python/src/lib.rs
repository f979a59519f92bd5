//! What `host.py` calls: the guest, and the script of a run. One thread, one run a process.
#![allow(unsafe_code, reason = "is called by ctypes")]
#![allow(clippy::print_stderr, reason = "a program that reports")]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use lodger_bench_hosts::script::{Act, Script};

use lodger::Nested;

/// A run; and the descriptor that the host watches.
struct Run {
    script: Script,
    fd: Option<OwnedFd>,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

fn with<T>(f: impl FnOnce(&mut Run) -> Option<T>) -> Option<T> {
    RUN.with_borrow_mut(|run| run.as_mut().and_then(f))
}

/// Begins a run: 0, or there is no such mode.
///
/// # Safety
///
/// `mode` ends with NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn bench_begin(mode: *const c_char, seconds: u64) -> c_int {
    // SAFETY: the caller promised it.
    let mode = unsafe { CStr::from_ptr(mode) }.to_string_lossy();
    let script = Script::new(&mode, Duration::from_secs(seconds));
    RUN.set(script.map(|script| Run { script, fd: None }));
    with(|_| Some(0)).unwrap_or(-1)
}

/// Gives the microseconds to the next tick.
#[unsafe(no_mangle)]
extern "C" fn bench_left() -> u64 {
    let left = with(|run| Some(run.script.due().saturating_duration_since(Instant::now())));
    left.and_then(|left| u64::try_from(left.as_micros()).ok()).unwrap_or(0)
}

/// A tick of the host, which has so many handles: 0 go on, 1 watch `bench_fd`, 2 forget it and call
/// `bench_forget`, 3 end; -1 is an error.
#[unsafe(no_mangle)]
extern "C" fn bench_tick(handles: usize) -> c_int {
    let act = with(|run| {
        run.script.note_handles(handles);
        run.script.tick().ok()
    });
    match act {
        Some(Act::Nothing) => 0,
        Some(Act::Attach) => 1,
        Some(Act::Detach) => 2,
        Some(Act::Stop) => 3,
        None => -1,
    }
}

/// Gives the descriptor to watch, or -1.
#[unsafe(no_mangle)]
extern "C" fn bench_fd() -> c_int {
    let fd = with(|run| {
        run.fd = run.script.guest()?.fd().ok();
        run.fd.as_ref().map(AsRawFd::as_raw_fd)
    });
    fd.unwrap_or(-1)
}

/// Gives the guest a turn: 0 unless it has failed.
#[unsafe(no_mangle)]
extern "C" fn bench_dispatch() -> c_int {
    let guest = with(|run| run.script.guest());
    c_int::from(guest.is_none_or(|guest| guest.dispatch().is_err()))
}

/// Ends the guest, whose descriptor is not watched any more.
#[unsafe(no_mangle)]
extern "C" fn bench_forget() {
    with(|run| {
        run.fd = None;
        run.script.forget();
        Some(())
    });
}

/// Writes what was found to standard error.
#[unsafe(no_mangle)]
extern "C" fn bench_found() {
    with(|run| {
        eprintln!("{}", run.script.found());
        Some(())
    });
}
