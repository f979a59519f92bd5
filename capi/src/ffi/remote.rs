//! Values from other threads.
#![allow(unsafe_code, reason = "hands pointers between threads, and calls back into C")]

use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};

use lodger_core::Remote;

use super::border::{Fail, LODGER_E_GONE, LODGER_OK, enter, on};
use super::runtime::lodger_runtime;

/// Is called on the runtime's thread, in a turn, once for each value that was posted. The value is
/// its own now.
pub type lodger_value_fn = Option<
    unsafe extern "C-unwind" fn(rt: *mut lodger_runtime, value: *mut c_void, user: *mut c_void),
>;

/// Frees a value or a state.
pub type lodger_free_fn = Option<unsafe extern "C-unwind" fn(value: *mut c_void)>;

/// Posts values to a runtime from any thread. Any thread may use it, several at once.
pub struct lodger_remote {
    remote: Remote<Value>,
    unseen: lodger_free_fn,
}

/// A pointer on its way, with what frees it if it does not arrive.
struct Value {
    pointer: *mut c_void,
    free: lodger_free_fn,
}

// SAFETY: the contract of `lodger_remote_post`: the poster gives the value away, and both what
// receives it and what frees it may do so on another thread.
unsafe impl Send for Value {}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: `lodger_remote_new` promised that it frees what is posted, on any thread.
            unsafe { free(self.pointer) };
        }
    }
}

/// Makes what other threads post to. `f` is called with each value. A value that the runtime's end
/// leaves behind is given to `unseen`, unless that is NULL, on whatever thread drops it.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_remote_new(
    rt: Option<&lodger_runtime>,
    f: lodger_value_fn,
    user: *mut c_void,
    unseen: lodger_free_fn,
    out: Option<&mut MaybeUninit<*mut lodger_remote>>,
) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        let f = f.ok_or_else(|| Fail::null("the function for values"))?;
        let out = out.ok_or_else(|| Fail::null("the place for the remote"))?;
        let weak = rt.weak();
        let remote = rt.handle().remote(move |_, value: Value| {
            let Some(rt) = weak.upgrade() else { return };
            let value = ManuallyDrop::new(value);
            // SAFETY: `f` may be called with `user` while the runtime lives, by the contract.
            unsafe { f(lodger_runtime::pointer(&rt), value.pointer, user) };
        });
        out.write(Box::into_raw(Box::new(lodger_remote { remote, unseen })));
        Ok(LODGER_OK)
    })
}

/// Posts a value from any thread. Many posts between two turns wake the loop once. The value is
/// given away, unless this fails: `LODGER_E_GONE` says that the runtime has ended.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_remote_post(remote: Option<&lodger_remote>, value: *mut c_void) -> i32 {
    enter(|| {
        let remote = remote.ok_or_else(|| Fail::null("the remote"))?;
        let refused = remote.remote.post(Value { pointer: value, free: remote.unseen });
        match refused {
            Ok(()) => Ok(LODGER_OK),
            Err(value) => {
                // It stays the poster's.
                std::mem::forget(value);
                Err(Fail::new(LODGER_E_GONE, "the runtime has ended"))
            }
        }
    })
}

/// Gives the remote up, from any thread. What was posted still arrives. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_remote_free(remote: *mut lodger_remote) {
    if !remote.is_null() {
        enter(|| {
            // SAFETY: the contract: what `lodger_remote_new` gave, given up once.
            drop(unsafe { Box::from_raw(remote) });
            Ok(LODGER_OK)
        });
    }
}
