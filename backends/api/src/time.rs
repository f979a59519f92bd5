//! Time as a number: an input like any other, which a test and a C program can make.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point on the loop's monotonic clock, in microseconds since that clock began.
///
/// Arithmetic saturates: the far future is a valid deadline, and no peer's number overflows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(u64);

impl Micros {
    /// The moment the clock began.
    pub const ZERO: Self = Self(0);
    /// Later than any deadline that can come.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a point from microseconds.
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// Gives the microseconds since the clock began.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Gives the time that has passed since `earlier`; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Micros {
    type Output = Self;

    /// Rounds the duration up to whole microseconds, so that nothing is early.
    fn add(self, d: Duration) -> Self {
        let whole = d.as_secs().saturating_mul(1_000_000);
        let part = u64::from(d.subsec_nanos().div_ceil(1_000));
        Self(self.0.saturating_add(whole).saturating_add(part))
    }
}

impl Sub for Micros {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_rounds_up() {
        assert_eq!(Micros::MAX + Duration::MAX, Micros::MAX);
        assert_eq!(Micros::ZERO + Duration::from_nanos(1), Micros::new(1));
        assert_eq!(Micros::new(3).since(Micros::new(5)), Duration::ZERO);
        assert_eq!(Micros::new(5) - Micros::new(3), Duration::from_micros(2));
    }
}
