//! Node's side: the functions that JavaScript calls, and the environment's end. All that is unsafe
//! is here.
//!
//! What calls JavaScript from a turn opens a handle scope and goes through `napi_make_callback`, so
//! that promises settle: [`Function`].
#![allow(unsafe_code, reason = "calls Node-API, and is called by it")]

use std::ffi::{CStr, c_void};
use std::io;
use std::ptr;
use std::rc::Rc;

use lodger_backend::Nested;
use lodger_libuv::Attached;
use napi_sys::{
    Status, ValueType, napi_async_cleanup_hook_handle, napi_callback_info, napi_env, napi_ref,
    napi_status, napi_value,
};

use crate::{Addon, Options, Stay};

/// An environment of Node's, on whose thread we are.
///
/// Invariant: made of what Node has given to a callback that is still on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Env(napi_env);

/// Holds the environment's end back until it is dropped.
pub(crate) struct Hook {
    handle: napi_async_cleanup_hook_handle,
    stay: *const Stay,
}

impl Drop for Hook {
    fn drop(&mut self) {
        // SAFETY: Node gave the handle, and it is given back once.
        unsafe { napi_sys::napi_remove_async_cleanup_hook(self.handle) };
        // SAFETY: `at_end` has counted this reference for the hook, which is no more.
        drop(unsafe { Rc::from_raw(self.stay) });
    }
}

/// A function of JavaScript's, kept until this is dropped.
pub(crate) struct Function {
    env: Env,
    reference: napi_ref,
}

impl Drop for Function {
    fn drop(&mut self) {
        // SAFETY: a guest, and so what it keeps, goes before its environment's end is over; the
        // reference was made there, and is given back once.
        unsafe { napi_sys::napi_delete_reference(self.env.0, self.reference) };
    }
}

impl Function {
    /// Calls it without arguments, from a turn of the guest's. What it throws is an uncaught exception
    /// of Node's, as from any callback of a loop; the guest's turn goes on.
    pub(crate) fn call(&self) {
        let (env, mut scope) = (self.env.0, ptr::null_mut());
        // SAFETY: the guest is in the loop, so the environment is alive; no JavaScript is on the stack.
        if unsafe { napi_sys::napi_open_handle_scope(env, &raw mut scope) } != Status::napi_ok {
            return;
        }
        if self.make() == Status::napi_pending_exception {
            let mut thrown = ptr::null_mut();
            // SAFETY: as above.
            unsafe { napi_sys::napi_get_and_clear_last_exception(env, &raw mut thrown) };
            // SAFETY: as above, and it was thrown there.
            unsafe { napi_sys::napi_fatal_exception(env, thrown) };
        }
        // SAFETY: it was opened above.
        unsafe { napi_sys::napi_close_handle_scope(env, scope) };
    }

    fn make(&self) -> napi_status {
        let (env, mut this, mut f) = (self.env.0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: as in `call`.
        unsafe { napi_sys::napi_get_global(env, &raw mut this) };
        // SAFETY: as above; the reference is given back by `drop` alone.
        unsafe { napi_sys::napi_get_reference_value(env, self.reference, &raw mut f) };
        let (context, args, result) = (ptr::null_mut(), ptr::null(), ptr::null_mut());
        // SAFETY: as above; there are no arguments, and the result is not asked for.
        unsafe { napi_sys::napi_make_callback(env, context, this, f, 0, args, result) }
    }
}

impl Env {
    /// Keeps a function; an error if it is something else.
    fn function(self, value: napi_value) -> io::Result<Function> {
        let (mut kind, mut reference) = (ValueType::napi_undefined, ptr::null_mut());
        // SAFETY: the environment is alive, and the value is one.
        check(unsafe { napi_sys::napi_typeof(self.0, value, &raw mut kind) })?;
        if kind != ValueType::napi_function {
            return Err(io::Error::other("not a function"));
        }
        // SAFETY: as above.
        check(unsafe { napi_sys::napi_create_reference(self.0, value, 1, &raw mut reference) })?;
        Ok(Function { env: self, reference })
    }

    /// Puts a guest into this environment's loop.
    pub(crate) fn attach(self, guest: impl Nested + 'static) -> io::Result<Attached> {
        let mut uv_loop = ptr::null_mut();
        // SAFETY: the environment is alive, as `Env` says.
        check(unsafe { napi_sys::napi_get_uv_event_loop(self.0, &raw mut uv_loop) })?;
        // SAFETY: the loop is the environment's: this thread runs it, and by the hook of `at_end`
        // it lives until the guest is out of it.
        unsafe { lodger_libuv::attach(uv_loop.cast(), guest) }
    }

    /// Has the environment, before it ends, call `stay.leave()` and wait until the hook is dropped.
    pub(crate) fn at_end(self, stay: &Rc<Stay>) -> io::Result<Hook> {
        let stay = Rc::into_raw(Rc::clone(stay));
        let mut handle = ptr::null_mut();
        // SAFETY: the environment is alive; what `leave` gets lives until the hook is dropped.
        let status = unsafe {
            napi_sys::napi_add_async_cleanup_hook(
                self.0,
                Some(leave),
                stay.cast_mut().cast(),
                &raw mut handle,
            )
        };
        let hook = Hook { handle, stay };
        check(status).map(|()| hook)
    }

    /// Gives the addon's state, if it has been started.
    fn addon(self) -> Option<&'static Addon> {
        let mut data = ptr::null_mut();
        // SAFETY: the environment is alive.
        unsafe { napi_sys::napi_get_instance_data(self.0, &raw mut data) };
        // SAFETY: it is NULL, or what `keep` has boxed, which lives as long as the environment:
        // longer than the call of JavaScript's that we are in.
        unsafe { data.cast::<Addon>().as_ref() }
    }

    fn keep(self, addon: Addon) -> io::Result<()> {
        let data = Box::into_raw(Box::new(addon));
        // SAFETY: the environment is alive, and gives the box to `free` at its end.
        let status = unsafe {
            napi_sys::napi_set_instance_data(self.0, data.cast(), Some(free), ptr::null_mut())
        };
        check(status)
    }

    /// Reads a property that is a string; none if it is something else.
    fn string(self, object: napi_value, name: &CStr) -> Option<String> {
        let (mut value, mut kind) = (ptr::null_mut(), ValueType::napi_undefined);
        let (env, name) = (self.0, name.as_ptr());
        // SAFETY: the environment is alive. What is no object has no properties and says so.
        check(unsafe { napi_sys::napi_get_named_property(env, object, name, &raw mut value) })
            .ok()?;
        // SAFETY: as above, and the value is one.
        check(unsafe { napi_sys::napi_typeof(env, value, &raw mut kind) }).ok()?;
        let (mut text, mut length) = ([0_u8; 1024], 0);
        let (to, room) = (text.as_mut_ptr().cast(), text.len());
        // SAFETY: as above; what is no string is refused, and no more than `room` is written.
        let status =
            unsafe { napi_sys::napi_get_value_string_utf8(env, value, to, room, &raw mut length) };
        check(status).ok()?;
        String::from_utf8(text.get(..length)?.to_vec()).ok()
    }

    fn port(self, port: u16) -> napi_value {
        let (mut object, mut number) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the environment is alive.
        unsafe { napi_sys::napi_create_object(self.0, &raw mut object) };
        // SAFETY: as above.
        unsafe { napi_sys::napi_create_uint32(self.0, port.into(), &raw mut number) };
        // SAFETY: as above, and both were made there.
        unsafe { napi_sys::napi_set_named_property(self.0, object, c"port".as_ptr(), number) };
        object
    }

    /// Has the call throw an `Error`.
    fn throw(self, error: &io::Error) -> napi_value {
        let text = std::ffi::CString::new(error.to_string()).unwrap_or_default();
        // SAFETY: the environment is alive; the text is copied.
        unsafe { napi_sys::napi_throw_error(self.0, ptr::null(), text.as_ptr()) };
        ptr::null_mut()
    }

    /// Makes a function that JavaScript finds under `name`.
    fn export(self, exports: napi_value, name: &CStr, f: Callback) {
        let mut value = ptr::null_mut();
        // SAFETY: the environment is alive; the name ends with NUL.
        unsafe {
            napi_sys::napi_create_function(
                self.0,
                name.as_ptr(),
                isize::try_from(name.count_bytes()).unwrap_or(0),
                Some(f),
                ptr::null_mut(),
                &raw mut value,
            )
        };
        // SAFETY: as above, and the function was made there.
        unsafe { napi_sys::napi_set_named_property(self.0, exports, name.as_ptr(), value) };
    }
}

type Callback = unsafe extern "C" fn(napi_env, napi_callback_info) -> napi_value;

/// Node calls this in each environment that loads the addon.
#[unsafe(no_mangle)]
extern "C" fn napi_register_module_v1(env: napi_env, exports: napi_value) -> napi_value {
    let env = Env(env);
    env.export(exports, c"start", start);
    env.export(exports, c"tick", tick);
    env.export(exports, c"stop", stop);
    env.export(exports, c"after", after);
    exports
}

/// `start({ listen, feed, host }) -> { port }`
unsafe extern "C" fn start(env: napi_env, info: napi_callback_info) -> napi_value {
    let env = Env(env);
    if env.addon().is_some() {
        return env.throw(&io::Error::other("started already"));
    }
    let (mut object, mut count) = (ptr::null_mut(), 1);
    let (this, data) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: Node gave both; there is room for one argument.
    unsafe { napi_sys::napi_get_cb_info(env.0, info, &raw mut count, &raw mut object, this, data) };
    let read = |name| env.string(object, name);
    let options = Options { listen: read(c"listen"), feed: read(c"feed"), host: read(c"host") };
    let started = Addon::start(env, &options).and_then(|addon| {
        let port = addon.port();
        env.keep(addon).map(|()| port)
    });
    match started {
        Ok(port) => env.port(port),
        Err(error) => env.throw(&error),
    }
}

/// `tick() -> boolean`: counts a tick of a timer of JavaScript's; true once the guest has left 100
/// ticks ago.
unsafe extern "C" fn tick(env: napi_env, _: napi_callback_info) -> napi_value {
    let env = Env(env);
    let over = env.addon().is_some_and(|addon| addon.guest.tick().unwrap_or(true));
    let mut value = ptr::null_mut();
    // SAFETY: the environment is alive.
    unsafe { napi_sys::napi_get_boolean(env.0, over, &raw mut value) };
    value
}

/// `stop()`: takes the guest out of the loop, which does not wait for it any more.
unsafe extern "C" fn stop(env: napi_env, _: napi_callback_info) -> napi_value {
    if let Some(addon) = Env(env).addon() {
        addon.stay.leave();
    }
    ptr::null_mut()
}

/// `after(millis, f)`: calls a function by a timer of the guest's.
unsafe extern "C" fn after(env: napi_env, info: napi_callback_info) -> napi_value {
    let env = Env(env);
    let (mut args, mut count) = ([ptr::null_mut(); 2], 2);
    let (to, this, data) = (args.as_mut_ptr(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: Node gave both; there is room for two arguments.
    unsafe { napi_sys::napi_get_cb_info(env.0, info, &raw mut count, to, this, data) };
    let [millis, f] = args;
    let mut delay = 0;
    // SAFETY: the environment is alive; what is no number is refused.
    let read = unsafe { napi_sys::napi_get_value_uint32(env.0, millis, &raw mut delay) };
    let asked = check(read).and_then(|()| env.function(f)).and_then(|f| {
        let addon = env.addon().ok_or_else(|| io::Error::other("not started"))?;
        addon.after(delay, f);
        Ok(())
    });
    asked.map_or_else(|error| env.throw(&error), |()| ptr::null_mut())
}

/// The environment is about to end, and waits for the hook to be removed.
unsafe extern "C" fn leave(_: napi_async_cleanup_hook_handle, stay: *mut c_void) {
    // SAFETY: the hook holds a reference to it until it is dropped. Taking the guest out may do
    // that, in a later iteration.
    let stay = unsafe { &*stay.cast::<Stay>() };
    stay.leave();
}

unsafe extern "C" fn free(_: napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `keep` has boxed it, and this comes once.
    drop(unsafe { Box::from_raw(data.cast::<Addon>()) });
}

fn check(status: napi_status) -> io::Result<()> {
    if status == Status::napi_ok {
        return Ok(());
    }
    Err(io::Error::other(format!("Node-API says {status}")))
}
