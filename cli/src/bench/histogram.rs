//! Times by size: sixteen buckets for each power of two of a nanosecond, so each is right to 7 %.

use std::time::Duration;

const PARTS: usize = 16;

/// Counts of durations.
pub(super) struct Histogram {
    buckets: Vec<u64>,
    all: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; 64 * PARTS], all: 0, max: 0 }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.all += 1;
        self.max = self.max.max(nanos);
        if let Some(n) = self.buckets.get_mut(bucket(nanos)) {
            *n += 1;
        }
    }

    /// Gives the longest time, in nanoseconds.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Gives a time, in nanoseconds, that this share of all are not above.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is between 0 and that count"
    )]
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let mut left = (self.all as f64 * share).ceil() as u64;
        for (i, n) in self.buckets.iter().enumerate() {
            if *n >= left {
                return end(i).min(self.max);
            }
            left -= n;
        }
        self.max
    }

    /// Gives the counts by powers of two, from the first to the last that has any: the time, in
    /// nanoseconds, that they are below, and how many they are.
    pub(super) fn rows(&self) -> Vec<(u64, u64)> {
        let powers = self.buckets.chunks(PARTS).enumerate();
        let rows = powers.map(|(i, part)| (end(i * PARTS + PARTS - 1), part.iter().sum()));
        let rows: Vec<(u64, u64)> = rows.skip_while(|(_, n)| *n == 0).collect();
        let len = rows.iter().rposition(|(_, n)| *n > 0).map_or(0, |last| last + 1);
        rows.into_iter().take(len).collect()
    }
}

/// Names the bucket of a time.
fn bucket(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2();
    let part = (u128::from(nanos) << 4 >> power) as usize % PARTS;
    power as usize * PARTS + part
}

/// Gives the time that those in a bucket are below.
fn end(bucket: usize) -> u64 {
    let (power, part) = (bucket / PARTS, bucket % PARTS + 1);
    let end = (1u128 << power) + (((part as u128) << power) >> 4);
    u64::try_from(end).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_below_the_end_of_its_bucket_and_near_it() {
        for nanos in [16, 17, 31, 32, 1000, 123_456, 999_999_999, u64::MAX / 2] {
            let end = end(bucket(nanos));
            assert!(nanos < end && end - nanos <= nanos / 14 + 1, "{nanos} {end}");
        }
    }

    #[test]
    fn shares_are_found() {
        let mut h = Histogram::default();
        for micros in 1..=1000 {
            h.add(Duration::from_micros(micros));
        }
        let near = |share, expected: u64| h.quantile(share).abs_diff(expected) <= expected / 14;
        assert!(near(0.5, 500_000) && near(0.99, 990_000) && h.max() == 1_000_000);
        assert_eq!(h.rows().iter().map(|(_, n)| n).sum::<u64>(), 1000);
    }
}
