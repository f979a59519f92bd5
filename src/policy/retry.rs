//! How long to wait before the next attempt.
//!
//! In: how many attempts have failed in a row, a random number, what the peer asked for. Out: a
//! delay, or "give up".

use alloc::vec::Vec;
use core::time::Duration;

/// A table of delays and how often to use it.
///
/// The n-th failure in a row waits for the n-th delay, later ones for the last. To each delay up to
/// `jitter` percent of it are added, so that a thousand clients do not come back at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    delays: Vec<Duration>,
    /// `None`: for ever.
    attempts: Option<u32>,
    jitter: u32,
    up_after: Duration,
    most_asked: Duration,
    final_codes: Vec<u16>,
}

impl Default for Retry {
    /// 0.5, 1, 2, 4, 8, 16, 30 s, then every 30 s for ever; 30 % jitter; up after 5 s.
    fn default() -> Self {
        let table = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
        Self::new(&table.map(Duration::from_millis))
    }
}

impl Retry {
    /// Tries for ever with these delays. Without any, each attempt follows at once.
    pub fn new(delays: &[Duration]) -> Self {
        Self {
            delays: delays.to_vec(),
            attempts: None,
            jitter: 30,
            up_after: Duration::from_secs(5),
            most_asked: Duration::from_secs(86_400),
            final_codes: [1000, 1002, 1003, 1007, 1008, 1009, 1010].to_vec(),
        }
    }

    /// Never tries again.
    pub fn never() -> Self {
        Self::new(&[]).attempts(Some(0))
    }

    /// Sets how many times in a row it tries again by itself; `None` is for ever.
    #[must_use]
    pub fn attempts(mut self, attempts: Option<u32>) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets how much is added to a delay at most, in percent of it; 0 adds nothing.
    #[must_use]
    pub fn jitter(mut self, percent: u32) -> Self {
        self.jitter = percent;
        self
    }

    /// Sets how long a connection must have been up before its failure counts as the first again.
    #[must_use]
    pub fn up_after(mut self, time: Duration) -> Self {
        self.up_after = time;
        self
    }

    /// Sets how much of what a peer asks for is granted at most; a day unless set.
    #[must_use]
    pub fn most_asked(mut self, time: Duration) -> Self {
        self.most_asked = time;
        self
    }

    /// Sets the close codes after which it does not try again: the peer meant it.
    #[must_use]
    pub fn final_codes(mut self, codes: &[u16]) -> Self {
        self.final_codes = codes.to_vec();
        self
    }

    /// Tells whether a connection that closed with `code` is not to be tried again.
    pub fn is_final(&self, code: u16) -> bool {
        self.final_codes.contains(&code)
    }

    /// Tells how many failures in a row there are, after a connection that was up for `up` ended
    /// with `failures` before it.
    pub fn failures_after(&self, failures: u32, up: Option<Duration>) -> u32 {
        match up {
            Some(up) if up >= self.up_after => 1,
            _ => failures.saturating_add(1),
        }
    }

    /// Gives the delay before the next attempt; `None` gives up.
    ///
    /// - `failures`: attempts that failed in a row, at least 1.
    /// - `random`: any number, for the jitter.
    /// - `asked`: what the peer asked for (`Retry-After`), taken if it is longer.
    pub fn delay(&self, failures: u32, random: u32, asked: Option<Duration>) -> Option<Duration> {
        if self.attempts.is_some_and(|most| failures > most) {
            return None;
        }
        let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let base = self.delays.get(at).or(self.delays.last()).copied().unwrap_or_default();
        let share = u64::from(self.jitter) * u64::from(random) / u64::from(u32::MAX);
        let micros = u64::try_from(base.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(micros.saturating_mul(share) / 100);
        let asked = asked.unwrap_or_default().min(self.most_asked);
        Some(base.saturating_add(jitter).max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_table_is_walked_and_its_end_stays() {
        let retry = Retry::new(&[MS(10), MS(20)]).jitter(0);

        let delays: Vec<_> = (1..=4).map(|n| retry.delay(n, u32::MAX, None)).collect();

        assert_eq!(delays, [Some(MS(10)), Some(MS(20)), Some(MS(20)), Some(MS(20))]);
    }

    #[test]
    fn it_gives_up_after_its_attempts() {
        let retry = Retry::new(&[MS(10)]).attempts(Some(2)).jitter(0);

        assert_eq!(retry.delay(2, 0, None), Some(MS(10)));
        assert_eq!(retry.delay(3, 0, None), None);
        assert_eq!(Retry::never().delay(1, 0, None), None);
    }

    #[test]
    fn jitter_adds_its_percentage_at_most() {
        let retry = Retry::new(&[MS(100)]).jitter(50);

        assert_eq!(retry.delay(1, 0, None), Some(MS(100)));
        assert_eq!(retry.delay(1, u32::MAX, None), Some(MS(150)));
    }

    #[test]
    fn the_peer_may_ask_for_longer_but_not_for_less() {
        let retry = Retry::new(&[MS(100)]).jitter(0);

        assert_eq!(retry.delay(1, 0, Some(MS(500))), Some(MS(500)));
        assert_eq!(retry.delay(1, 0, Some(MS(5))), Some(MS(100)));
        assert_eq!(retry.most_asked(MS(300)).delay(1, 0, Some(MS(500))), Some(MS(300)));
    }

    #[test]
    fn only_a_connection_that_lasted_starts_the_count_again() {
        let retry = Retry::default();

        assert_eq!(retry.failures_after(3, Some(Duration::from_secs(4))), 4);
        assert_eq!(retry.failures_after(3, Some(Duration::from_secs(5))), 1);
        assert_eq!(retry.failures_after(3, None), 4);
    }

    #[test]
    fn no_delay_overflows() {
        let retry = Retry::new(&[Duration::MAX]).jitter(u32::MAX);

        assert_eq!(retry.delay(u32::MAX, u32::MAX, Some(Duration::MAX)), Some(Duration::MAX));
    }
}
