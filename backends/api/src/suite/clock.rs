//! The clocks that the kit measures by: its own, so that a driver's clock is not believed.

use core::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The system's monotonic clock.
pub(crate) fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// The CPU time that this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// Spends this much CPU time on nothing.
pub(crate) fn burn(time: Duration) {
    let began = thread_cpu();
    while thread_cpu().saturating_sub(began) < time {
        core::hint::spin_loop();
    }
}

/// Makes of a duration what a system call takes.
pub(crate) fn timespec(d: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(d.subsec_nanos()),
    }
}

fn read(clock: ClockId) -> Duration {
    let t = clock_gettime(clock);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
