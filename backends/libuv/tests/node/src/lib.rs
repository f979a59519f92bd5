//! The ten laws of a guest in Node.js's own loop: `run(way, law)` gives what the law saw, or throws.
//!
//! The kit drives the loop, so it is run again from inside JavaScript's call: Node says that this is
//! not to be done, and programs do it.
#![allow(unsafe_code, reason = "calls Node-API, and is called by it")]

use std::ffi::{CStr, CString};
use std::ptr;

use lodger_backend::suite::{ADAPTOR_LAWS, LAWS};
use lodger_libuv::PerFd;
use napi_sys::{napi_callback_info, napi_env, napi_value};

#[allow(dead_code, reason = "it makes loops too, and here Node has made one")]
#[path = "../../host/mod.rs"]
mod host;

use host::Uv;

/// Runs one law in the environment's loop.
fn run(env: napi_env, way: &str, law: &str) -> Result<String, String> {
    let mut laws = LAWS.iter().chain(&ADAPTOR_LAWS);
    let (_, law) = laws.find(|(name, _)| *name == law).ok_or("there is no such law")?;
    let mut uv_loop = ptr::null_mut();
    // SAFETY: Node gave the environment to the call that is on the stack.
    unsafe { napi_sys::napi_get_uv_event_loop(env, &raw mut uv_loop) };
    let make = move |per_fd: Option<PerFd>| {
        // SAFETY: the loop is this thread's, and outlives JavaScript's call.
        unsafe { Uv::borrowed(uv_loop.cast(), per_fd) }
    };
    let subject = match way {
        "nested" => host::nested("Node.js", make),
        "per_fd" => host::per_fd("Node.js, a handle a socket", make),
        _ => return Err("there is no such way".into()),
    };
    law(&subject).map(|report| report.to_string()).map_err(|failure| failure.to_string())
}

#[unsafe(no_mangle)]
extern "C" fn napi_register_module_v1(env: napi_env, exports: napi_value) -> napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: Node gave the environment; the names end with NUL.
    unsafe {
        napi_sys::napi_create_function(
            env,
            c"run".as_ptr(),
            3,
            Some(called),
            ptr::null_mut(),
            &raw mut value,
        )
    };
    // SAFETY: as above, and the function was made there.
    unsafe { napi_sys::napi_set_named_property(env, exports, c"run".as_ptr(), value) };
    exports
}

/// `run(way, law) -> string`
unsafe extern "C" fn called(env: napi_env, info: napi_callback_info) -> napi_value {
    let (mut args, mut count) = ([ptr::null_mut(); 2], 2);
    let (to, this, data) = (args.as_mut_ptr(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: Node gave both; there is room for two arguments.
    unsafe { napi_sys::napi_get_cb_info(env, info, &raw mut count, to, this, data) };
    let [way, law] = args.map(|arg| string(env, arg));
    let mut value = ptr::null_mut();
    match run(env, &way, &law) {
        Ok(report) => {
            let (text, length) = (report.as_ptr().cast(), report.len().try_into().unwrap_or(0));
            // SAFETY: the environment is alive; the text is copied.
            unsafe { napi_sys::napi_create_string_utf8(env, text, length, &raw mut value) };
        }
        Err(failure) => {
            let text = CString::new(failure).unwrap_or_default();
            // SAFETY: as above.
            unsafe { napi_sys::napi_throw_error(env, ptr::null(), text.as_ptr()) };
        }
    }
    value
}

/// Reads a string; an empty one if it is something else.
fn string(env: napi_env, value: napi_value) -> String {
    let (mut text, mut length) = ([0_u8; 256], 0);
    let to = text.as_mut_ptr().cast();
    // SAFETY: the environment is alive; what is no string is refused, and no more than there is room
    // for is written, NUL with it.
    unsafe { napi_sys::napi_get_value_string_utf8(env, value, to, text.len(), &raw mut length) };
    CStr::from_bytes_until_nul(&text).map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}
