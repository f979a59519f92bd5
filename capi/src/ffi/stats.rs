//! Counters.
#![allow(unsafe_code, reason = "fills a struct of C")]

use super::border::{Fail, LODGER_OK, Sized, check_size, on};
use super::runtime::lodger_runtime;

/// Counters since the runtime began.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_stats {
    /// `sizeof(lodger_stats)`, set by the caller.
    pub size: usize,
    /// Turns: each a look at the kernel queue.
    pub turns: u64,
    /// Turns that found something to do.
    pub wakes: u64,
    /// Turns inside a callback of an outer one.
    pub nested: u64,
    /// Connections accepted or adopted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections that ended otherwise than in good order.
    pub aborted: u64,
    /// HTTP requests.
    pub requests: u64,
    /// WebSocket messages received.
    pub messages: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Timers that are armed now, those of connections included.
    pub timers: u64,
}

// SAFETY: `repr(C)`, begins with its size; integers.
unsafe impl Sized for lodger_stats {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_stats";
}

/// Writes the counters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_stats_get(
    rt: Option<&lodger_runtime>,
    out: *mut lodger_stats,
) -> i32 {
    on(rt, |rt| {
        if out.is_null() {
            return Err(Fail::null("the place for the counters"));
        }
        // SAFETY: the contract: a struct that begins with its size, set by the caller.
        let size = unsafe { out.cast::<usize>().read() };
        check_size::<lodger_stats>(size)?;
        let s = rt.handle().stats();
        let stats = lodger_stats {
            size,
            turns: s.turns,
            wakes: s.wakes,
            nested: s.nested,
            accepted: s.accepted,
            open: s.open,
            aborted: s.aborted,
            requests: s.requests,
            messages: s.messages,
            received: s.received,
            sent: s.sent,
            timers: s.timers,
        };
        let from = (&raw const stats).cast::<u8>();
        // SAFETY: `size` is what the caller says is there, and no more than ours has.
        unsafe { std::ptr::copy_nonoverlapping(from, out.cast::<u8>(), size) };
        Ok(LODGER_OK)
    })
}
