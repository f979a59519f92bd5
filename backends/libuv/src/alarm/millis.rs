//! The deadline where there is no timerfd: libuv's own timer, of whole milliseconds.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::Micros;

use crate::ffi::{Call, Handle, Kind, Last, Loop};

/// How late a deadline may be on an idle machine.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct Alarm {
    uv_loop: Loop,
    handle: Handle,
}

impl Alarm {
    pub(crate) fn open(uv_loop: Loop, call: Rc<Call>) -> io::Result<Self> {
        let handle = Handle::new(uv_loop, Kind::Timer, call)?;
        handle.keep_alive(false);
        Ok(Self { uv_loop, handle })
    }

    /// Has it call at `at`, or not at all; it is `now`.
    pub(crate) fn set(&self, now: Micros, at: Option<Micros>) {
        match at {
            Some(at) => {
                let left = at.get().saturating_sub(now.get());
                self.handle.start_timer(self.uv_loop.millis_until(left));
            }
            None => self.handle.stop(),
        }
    }

    /// It has called, and is not set any more.
    pub(crate) fn fired(&self) {}

    pub(crate) fn close(self, last: &Rc<Last>) {
        self.handle.close(last);
    }
}
