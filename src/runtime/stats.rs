//! What the runtime counts about itself.

use core::time::Duration;

/// A histogram of durations by powers of two of a microsecond: bucket 0 counts those below 1 µs,
/// bucket n those below 2^n µs, the last all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log2 {
    buckets: [u64; 24],
}

impl Log2 {
    /// Counts one duration.
    pub fn add(&mut self, d: Duration) {
        let micros = u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        let last = self.buckets.len() - 1;
        if let Some(n) = self.buckets.get_mut(bucket.min(last)) {
            *n += 1;
        }
    }

    /// Gives the counts.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }
}

/// Counters since the runtime began. Plain numbers: reading them costs a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns: each a look at the kernel queue.
    pub turns: u64,
    /// Turns that found reports, due timers or messages.
    pub wakes: u64,
    /// Turns that ran inside a callback of an outer one.
    pub nested: u64,
    /// Nested turns that were too deep to serve anything.
    pub at_limit: u64,
    /// Connections accepted or adopted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections that ended otherwise than in good order.
    pub aborted: u64,
    /// HTTP requests.
    pub requests: u64,
    /// WebSocket messages and MQTT publishes received.
    pub messages: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Timers that are armed now, deadlines of connections included.
    pub timers: u64,
    /// Handlers and callbacks that panicked.
    pub panics: u64,
    /// Times that accepting paused, at the connection limit or because the system had no more.
    pub accept_pauses: u64,
    /// TLS handshakes completed, on both sides.
    pub handshakes: u64,
    /// TLS handshakes that failed, or took too long.
    pub handshakes_failed: u64,
    /// Bytes that all that compresses and expands messages holds now, in use or not.
    #[cfg(feature = "deflate")]
    pub engines: u64,
    /// How late users' timers fired.
    pub late: Log2,
    /// How long turns took, while [`measure_turns`](crate::Handle::measure_turns) is on.
    pub turn: Log2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        let mut h = Log2::default();
        for micros in [0, 1, 2, 3, 4, u64::MAX] {
            h.add(Duration::from_micros(micros));
        }
        assert_eq!(h.buckets()[..4], [1, 1, 2, 1]);
        assert_eq!(h.buckets()[23], 1);
    }
}
