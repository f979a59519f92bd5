//! Timers.
#![allow(unsafe_code, reason = "calls back into C")]

use std::ffi::c_void;
use std::time::Duration;

use lodger_core::TimerId;

use super::border::{Fail, LODGER_E_GONE, LODGER_OK, Res, on};
use super::runtime::lodger_runtime;

/// Is called when a timer is due.
pub type lodger_timer_fn =
    Option<unsafe extern "C-unwind" fn(rt: *mut lodger_runtime, user: *mut c_void)>;

/// Calls `f` once, `delay_us` microseconds from `lodger_now`, never earlier; 0 is the next turn. Gives
/// the timer's id, 0 for an error. `user` must stay until it was called or the timer cancelled.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_after(
    rt: Option<&lodger_runtime>,
    delay_us: u64,
    f: lodger_timer_fn,
    user: *mut c_void,
) -> u64 {
    arm(rt, f, user, |rt, mut call| rt.handle().after(micros(delay_us), move |_| call()))
}

/// Calls `f` every `period_us` microseconds, the first time after one; what was missed is skipped.
/// Gives the timer's id, 0 for an error. `user` must stay until the timer is cancelled or the
/// runtime has ended.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_every(
    rt: Option<&lodger_runtime>,
    period_us: u64,
    f: lodger_timer_fn,
    user: *mut c_void,
) -> u64 {
    arm(rt, f, user, |rt, mut call| rt.handle().every(micros(period_us), move |_| call()))
}

/// Cancels a timer: it is not called again, even if it was due in this turn.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_cancel(rt: Option<&lodger_runtime>, timer: u64) -> i32 {
    on(rt, |rt| known(rt.handle().cancel(TimerId::from_bits(timer))))
}

/// Moves a timer to `delay_us` microseconds from now; inside its own callback, the next call.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_rearm(rt: Option<&lodger_runtime>, timer: u64, delay_us: u64) -> i32 {
    on(rt, |rt| known(rt.handle().rearm(TimerId::from_bits(timer), micros(delay_us))))
}

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn known(known: bool) -> Res {
    if known { Ok(LODGER_OK) } else { Err(Fail::new(LODGER_E_GONE, "the timer has ended")) }
}

fn arm(
    rt: Option<&lodger_runtime>,
    f: lodger_timer_fn,
    user: *mut c_void,
    add: impl FnOnce(&lodger_runtime, Box<dyn FnMut()>) -> TimerId,
) -> u64 {
    let mut id = 0;
    on(rt, |rt| {
        rt.check_alive()?;
        let f = f.ok_or_else(|| Fail::null("the timer's function"))?;
        let weak = rt.weak();
        let call = move || {
            let Some(rt) = weak.upgrade() else { return };
            // SAFETY: whoever armed it promised that `f` may be called with `user` until it ends.
            unsafe { f(lodger_runtime::pointer(&rt), user) };
        };
        id = add(rt, Box::new(call)).bits();
        Ok(LODGER_OK)
    });
    id
}
