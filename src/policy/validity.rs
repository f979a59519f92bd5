//! When a peer that says nothing is asked whether it lives, and when it is given up.
//!
//! In: since when, and whether it has been asked. Out: a deadline, and what is to be done then.
//!
//! ```text
//! heard --ping_after--> asked --the rest of hang_up_after--> given up
//!   ^------- proof -------'
//! ```

use core::time::Duration;

use crate::Micros;

/// How long a connection may go without a proof that its peer is there. A peer that has vanished
/// sends no end of stream: without this its connection stays until something is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    ping_after: Option<Duration>,
    hang_up_after: Option<Duration>,
    proof: Proof,
}

/// What proves that the peer is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Proof {
    /// Anything that it sends.
    #[default]
    Input,
    /// Only its answer to our last ping, with the ping's payload. What it sends by itself shows
    /// that it can reach us, not that we reach it.
    Pong,
}

/// What is to be done at a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Due {
    /// Ask the peer.
    Ping,
    /// Give it up.
    HangUp,
}

impl Default for Validity {
    /// A ping after 30 s, the end after 40 s; any input is proof.
    fn default() -> Self {
        Self::new(Duration::from_secs(30), Duration::from_secs(40))
    }
}

impl Validity {
    /// Pings the peer when there was no proof for `ping_after`, and gives it up after
    /// `hang_up_after`, both counted from the last proof. If the second is not longer, nothing is
    /// asked, as by [`silence`](Self::silence).
    pub fn new(ping_after: Duration, hang_up_after: Duration) -> Self {
        let ping_after = (ping_after < hang_up_after).then_some(ping_after);
        Self { ping_after, hang_up_after: Some(hang_up_after), proof: Proof::Input }
    }

    /// Gives the peer up after so much silence, and never pings. Any input is proof.
    pub fn silence(hang_up_after: Duration) -> Self {
        Self { ping_after: None, hang_up_after: Some(hang_up_after), proof: Proof::Input }
    }

    /// Never asks, and never gives a peer up.
    pub fn never() -> Self {
        Self { ping_after: None, hang_up_after: None, proof: Proof::Input }
    }

    /// Sets what counts as proof. Where nothing is asked, all input does.
    #[must_use]
    pub fn proof(mut self, proof: Proof) -> Self {
        self.proof = proof;
        self
    }

    /// Tells whether nothing but the answer to a ping counts.
    pub fn needs_pong(&self) -> bool {
        self.proof == Proof::Pong && self.ping_after.is_some()
    }

    /// Tells whether there is an end to silence.
    #[cfg(feature = "ws")]
    pub(crate) fn ends(&self) -> bool {
        self.hang_up_after.is_some()
    }

    /// Gives when something is [`due`](Self::due): `since` is the time of the ping if the peer was
    /// `asked`, and of the last proof otherwise.
    pub fn deadline(&self, since: Micros, asked: bool) -> Option<Micros> {
        let hang_up = self.hang_up_after?;
        let wait = match self.ping_after {
            Some(ping) if asked => hang_up.saturating_sub(ping),
            Some(ping) => ping,
            None => hang_up,
        };
        Some(since + wait)
    }

    /// Gives what is to be done at the deadline.
    pub fn due(&self, asked: bool) -> Due {
        if asked || self.ping_after.is_none() { Due::HangUp } else { Due::Ping }
    }

    /// Gives what a ping carries that is sent at `at`: no other ping of the connection has the
    /// same.
    pub fn payload(at: Micros) -> [u8; 8] {
        at.get().to_be_bytes()
    }

    /// Tells whether a pong answers the ping that was sent at `asked_at`.
    pub fn is_answer(asked_at: Micros, payload: &[u8]) -> bool {
        payload == Self::payload(asked_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn both_times_count_from_the_last_proof() {
        let validity = Validity::new(SECS(30), SECS(40));
        let t0 = Micros::new(7);

        assert_eq!(validity.deadline(t0, false), Some(t0 + SECS(30)));
        assert_eq!(validity.due(false), Due::Ping);
        assert_eq!(validity.deadline(t0 + SECS(30), true), Some(t0 + SECS(40)));
        assert_eq!(validity.due(true), Due::HangUp);
    }

    #[test]
    fn without_a_ping_all_input_is_proof() {
        for validity in [Validity::silence(SECS(5)), Validity::new(SECS(5), SECS(5))] {
            let validity = validity.proof(Proof::Pong);

            assert_eq!(validity.deadline(Micros::ZERO, false), Some(Micros::ZERO + SECS(5)));
            assert_eq!(validity.due(false), Due::HangUp);
            assert!(!validity.needs_pong());
        }
    }

    #[test]
    fn never_is_never() {
        assert_eq!(Validity::never().deadline(Micros::ZERO, false), None);
    }

    #[test]
    fn only_the_payload_of_the_last_ping_answers_it() {
        let at = Micros::new(1 << 40);

        assert!(Validity::is_answer(at, &Validity::payload(at)));
        assert!(!Validity::is_answer(at, &Validity::payload(at + SECS(1))));
        assert!(!Validity::is_answer(at, &[]));
    }

    #[test]
    fn no_time_overflows() {
        let validity = Validity::new(SECS(u64::MAX - 1), Duration::MAX);

        assert_eq!(validity.deadline(Micros::MAX, false), Some(Micros::MAX));
        assert_eq!(validity.deadline(Micros::MAX, true), Some(Micros::MAX));
    }
}
