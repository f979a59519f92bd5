//! What a peer may make us do for nothing: RFC 9113, section 10.5. Each kind has a bucket of its
//! own, so that none hides behind another.

use lodger_backend::Micros;

use super::{Code, Fault};
use crate::limits::{H2Limits, TokenBucket};

/// The buckets of one connection.
#[derive(Debug)]
pub(super) struct Guard {
    resets: TokenBucket,
    faults: TokenBucket,
    glitches: TokenBucket,
    settings: TokenBucket,
    pings: TokenBucket,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// A client reset a stream that it had opened, whether it was answered or not.
    Reset,
    /// We refused or reset a stream because of what the peer did.
    Fault,
    /// Something that costs and moves nothing.
    Glitch(u32),
    Settings,
    Ping,
}

impl Guard {
    pub(super) fn new(now: Micros, limits: &H2Limits) -> Self {
        let bucket = |(burst, rate)| TokenBucket::new(burst, rate, now);
        Self {
            resets: bucket(limits.resets),
            faults: bucket(limits.faults),
            glitches: bucket(limits.glitches),
            settings: bucket(limits.settings),
            pings: bucket(limits.pings),
        }
    }

    /// Counts one; too many of them end the connection.
    pub(super) fn count(&mut self, now: Micros, what: What) -> Result<(), Fault> {
        let (bucket, price, rule) = match what {
            What::Reset => (&mut self.resets, 1, "the limit of streams opened and reset"),
            What::Fault => (&mut self.faults, 1, "the limit of streams reset for their faults"),
            What::Glitch(n) => (&mut self.glitches, n, "the limit of frames that move nothing"),
            What::Settings => (&mut self.settings, 1, "the limit of SETTINGS frames"),
            What::Ping => (&mut self.pings, 1, "the limit of PING frames"),
        };
        if bucket.spend(now, price) { Ok(()) } else { Err(Fault::all(Code::EnhanceYourCalm, rule)) }
    }
}
