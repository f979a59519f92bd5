//! The deadline on Linux: a timerfd that libuv watches, exact to the microsecond. libuv's own
//! timers are of whole milliseconds.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::Micros;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::ffi::{Call, Handle, Last, Loop, READABLE};

/// How late a deadline may be on an idle machine.
pub(crate) const RESOLUTION: Duration = Duration::from_micros(50);

/// Programming a timer costs more than a spurious turn is worth, so it is done only when the
/// deadline moves to an earlier moment, or after the alarm has fired.
#[derive(Debug)]
pub(crate) struct Alarm {
    // Closed before its descriptor.
    handle: Handle,
    fd: OwnedFd,
    /// What the kernel holds and has not reported yet.
    programmed: Cell<Option<Micros>>,
}

impl Alarm {
    pub(crate) fn open(uv_loop: Loop, call: Rc<Call>) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let handle = Handle::poll(uv_loop, fd.as_raw_fd(), call)?;
        handle.start_poll(READABLE)?;
        handle.keep_alive(false);
        Ok(Self { handle, fd, programmed: Cell::new(None) })
    }

    /// Makes sure that it calls at `at` or earlier; it is `now`. `None` keeps what is programmed:
    /// it may call once for nothing.
    pub(crate) fn set(&self, now: Micros, at: Option<Micros>) {
        let Some(at) = at else { return };
        if self.programmed.get().is_some_and(|programmed| programmed <= at) {
            return;
        }
        let spec = Itimerspec { it_interval: NONE, it_value: after(now, at) };
        // The arguments are valid by construction. If the kernel refused them all the same, the
        // next call tries again.
        let set = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec);
        self.programmed.set(set.is_ok().then_some(at));
    }

    /// Has the descriptor say nothing more: libuv watches it by level.
    pub(crate) fn fired(&self) {
        self.programmed.set(None);
        // With nothing to read it has said nothing.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }

    pub(crate) fn close(self, last: &Rc<Last>) {
        self.handle.close(last);
    }
}

/// Gives the time between; never zero, which would disarm.
fn after(now: Micros, at: Micros) -> Timespec {
    let left = at.get().saturating_sub(now.get());
    let tv_sec = i64::try_from(left / 1_000_000).unwrap_or(i64::MAX);
    let tv_nsec = i64::try_from(left % 1_000_000).unwrap_or(0) * 1_000;
    Timespec { tv_sec, tv_nsec: tv_nsec.max(1) }
}

const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_never_zero_and_never_negative() {
        let of = |now, at| {
            let Timespec { tv_sec, tv_nsec } = after(Micros::new(now), Micros::new(at));
            (tv_sec, tv_nsec)
        };

        assert_eq!(of(5, 5), (0, 1));
        assert_eq!(of(9, 5), (0, 1));
        assert_eq!(of(5, 3_000_255), (3, 250_000));
        assert!(of(0, u64::MAX).0 > 1_000_000_000);
    }
}
