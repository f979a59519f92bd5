//! The clock and the deadline on Linux: a timerfd inside the queue, exact to the microsecond, and
//! seen by whoever watches the queue.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use lodger_backend::Micros;
use mio::unix::SourceFd;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// How late the deadline may be on an idle machine.
pub(crate) const RESOLUTION: Duration = Duration::from_micros(50);

/// Whether the queue's descriptor becomes readable when the deadline is met.
pub(crate) const IN_QUEUE: bool = true;

/// The clock, and one alarm on it.
///
/// Programming a timer costs more than a spurious wakeup is worth, so it is done only when the
/// deadline moves to an earlier moment, or after the alarm has fired.
#[derive(Debug)]
pub(crate) struct Alarm {
    fd: OwnedFd,
    /// CLOCK_MONOTONIC when the driver's clock began.
    epoch: Timespec,
    /// What the kernel holds and has not reported yet.
    programmed: Option<Micros>,
}

impl Alarm {
    /// Makes the alarm and registers it, edge-triggered: it is never read, each expiry is an edge.
    pub(crate) fn new(queue: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        queue.register(&mut SourceFd(&fd.as_raw_fd()), token, mio::Interest::READABLE)?;
        Ok(Self { fd, epoch: clock_gettime(ClockId::Monotonic), programmed: None })
    }

    /// Reads the clock, rounded down: a deadline that is met here has passed.
    pub(crate) fn now(&self) -> Micros {
        let t = clock_gettime(ClockId::Monotonic);
        let seconds = t.tv_sec.saturating_sub(self.epoch.tv_sec);
        let nanos = seconds
            .saturating_mul(NANOS)
            .saturating_add(t.tv_nsec)
            .saturating_sub(self.epoch.tv_nsec);
        Micros::new(u64::try_from(nanos / 1_000).unwrap_or(0))
    }

    /// Makes sure that the alarm fires at `at` or earlier. `None` keeps what is programmed: it
    /// may fire once for nothing.
    pub(crate) fn set(&mut self, at: Option<Micros>) {
        let Some(at) = at else { return };
        if self.programmed.is_some_and(|p| p <= at) {
            return;
        }
        let spec = Itimerspec { it_interval: ZERO, it_value: self.absolute(at) };
        // The arguments are valid by construction. If the kernel refused them all the same, the
        // next call tries again.
        let set = timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec);
        self.programmed = set.is_ok().then_some(at);
    }

    /// Notes that the queue has reported the alarm.
    pub(crate) fn fired(&mut self) {
        self.programmed = None;
    }

    /// Gives how long the queue may wait: as asked, since the alarm wakes it by itself.
    pub(crate) fn bound(&self, timeout: Option<Duration>) -> Option<Duration> {
        timeout
    }

    /// Places a moment of the driver's clock on CLOCK_MONOTONIC. Never zero, which would disarm.
    fn absolute(&self, at: Micros) -> Timespec {
        let seconds = i64::try_from(at.get() / 1_000_000).unwrap_or(i64::MAX);
        let nanos = i64::try_from(at.get() % 1_000_000).unwrap_or(0) * 1_000 + self.epoch.tv_nsec;
        let carry = i64::from(nanos >= NANOS);
        Timespec {
            tv_sec: self.epoch.tv_sec.saturating_add(seconds).saturating_add(carry),
            tv_nsec: (nanos - carry * NANOS).max(1),
        }
    }
}

const NANOS: i64 = 1_000_000_000;
const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm_since(tv_sec: i64, tv_nsec: i64) -> Alarm {
        let poll = mio::Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), mio::Token(0)).unwrap();
        alarm.epoch = Timespec { tv_sec, tv_nsec };
        alarm
    }

    #[test]
    fn a_moment_is_placed_with_carry() {
        let alarm = alarm_since(5, 999_999_500);

        let at = alarm.absolute(Micros::new(2_000_001));

        assert_eq!((at.tv_sec, at.tv_nsec), (8, 500));
    }

    #[test]
    fn no_moment_disarms_or_overflows() {
        let alarm = alarm_since(0, 0);

        let first = alarm.absolute(Micros::ZERO);
        let last = alarm.absolute(Micros::MAX);

        assert_eq!((first.tv_sec, first.tv_nsec), (0, 1));
        assert!(last.tv_sec > 0 && (0..NANOS).contains(&last.tv_nsec));
    }

    #[test]
    fn only_an_earlier_deadline_is_programmed() {
        let mut alarm = alarm_since(i64::MAX / NANOS, 0);

        alarm.set(Some(Micros::new(500)));
        alarm.set(Some(Micros::new(900)));
        alarm.set(None);

        assert_eq!(alarm.programmed, Some(Micros::new(500)));
        alarm.set(Some(Micros::new(200)));
        assert_eq!(alarm.programmed, Some(Micros::new(200)));
        alarm.fired();
        alarm.set(Some(Micros::new(900)));
        assert_eq!(alarm.programmed, Some(Micros::new(900)));
    }
}
