//! The Date field's value, made at most once a second.

use core::time::Duration;

use lodger_backend::{Micros, Net};

/// How long a formatted date is used before the system's clock is asked again.
const FRESH: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct DateCache {
    text: [u8; 29],
    unix: u64,
    until: Micros,
}

impl DateCache {
    pub(crate) const fn new() -> Self {
        Self { text: [b' '; 29], unix: u64::MAX, until: Micros::ZERO }
    }

    /// Gives the date as RFC 9110, section 5.6.7 writes it.
    pub(crate) fn get(&mut self, now: Micros, net: &dyn Net) -> &[u8; 29] {
        if now >= self.until {
            self.until = now + FRESH;
            let unix = net.unix_time();
            if unix != self.unix {
                self.unix = unix;
                self.text = crate::proto::h1::http_date(unix);
            }
        }
        &self.text
    }
}
