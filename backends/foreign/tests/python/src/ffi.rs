//! What Python calls.
#![allow(unsafe_code, reason = "is called by ctypes, with pointers of its own")]

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::host::{self, Host};

/// Runs a law: 0 if it held. What it saw, or how it was broken, is written to `text`, of `room`
/// bytes.
///
/// # Safety
///
/// All pointers are valid for the call, the strings end with NUL, and the functions of `host` may be
/// called on this thread until this returns; `wake` on any, for as long as the process lives.
#[unsafe(no_mangle)]
unsafe extern "C" fn suite_run(
    host: *const Host,
    way: *const c_char,
    law: *const c_char,
    text: *mut c_char,
    room: usize,
) -> c_int {
    // SAFETY: the caller promised that it is valid.
    let host = unsafe { *host };
    // SAFETY: the caller promised that it ends with NUL.
    let way = unsafe { CStr::from_ptr(way) };
    // SAFETY: as above.
    let law = unsafe { CStr::from_ptr(law) };
    let result = crate::run(host, &way.to_string_lossy(), &law.to_string_lossy());
    let (code, said) = match result {
        Ok(said) => (0, said),
        Err(said) => (1, said),
    };
    let length = said.len().min(room.saturating_sub(1));
    // SAFETY: the caller promised room for so many bytes and a NUL, which it has set.
    unsafe { text.cast::<u8>().copy_from_nonoverlapping(said.as_ptr(), length) };
    code
}

/// Asks what a run waits for.
pub(crate) extern "C" fn asked(data: *mut c_void) -> c_int {
    // SAFETY: `Loop::run` gave this pointer to its own closure, and its call is on the stack.
    let done = unsafe { &mut *data.cast::<&mut dyn FnMut() -> bool>() };
    c_int::from(done())
}

/// Runs what the timer of this number is for.
#[unsafe(no_mangle)]
extern "C" fn suite_fire(id: u64) {
    host::fire(id);
}

/// Gives the guest of this number a turn: 0 unless it has failed.
#[unsafe(no_mangle)]
extern "C" fn suite_dispatch(id: u64) -> c_int {
    c_int::from(host::dispatch(id).is_err())
}

/// Takes a report for the table.
#[unsafe(no_mangle)]
extern "C" fn suite_report(token: u64, ready: c_int) {
    host::report(token, ready);
}

/// The table's timer has fired.
#[unsafe(no_mangle)]
extern "C" fn suite_fired() {
    if let Some(table) = host::laid() {
        table.fired();
    }
}

/// Gives the table's guest a turn: 0 unless it has failed.
#[unsafe(no_mangle)]
extern "C" fn suite_turn() -> c_int {
    c_int::from(host::laid().is_some_and(|table| table.turn().is_err()))
}
