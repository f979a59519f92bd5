//! Protocols without input or output: bytes, time and randomness are arguments.
//!
//! Each is polled until it returns `None`; what it has to say to its peer is in the [`Tx`] by
//! then. No state depends on how the input was cut.
//!
//! [`Tx`]: crate::io::Tx

pub mod dns;
pub mod events;
pub mod form;
#[cfg(feature = "h1")]
pub mod h1;
#[cfg(feature = "h2")]
pub mod h2;
#[cfg(feature = "h2")]
pub mod hpack;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "h1")]
pub mod proxy;
#[cfg(any(test, fuzzing))]
mod split;
#[cfg(feature = "std")]
pub(crate) mod stack;
#[cfg(feature = "std")]
pub(crate) mod tls;
#[cfg(feature = "ws")]
pub mod ws;

use core::fmt;

use lodger_backend::Micros;

use crate::Limits;

/// What every protocol is told with every call.
#[expect(clippy::exhaustive_structs, reason = "made by every driver of a protocol")]
pub struct Cx<'c> {
    /// The time of this turn.
    pub now: Micros,
    /// What the peer may make us hold, do and wait for.
    pub limits: &'c Limits,
    /// Gives numbers that a peer cannot guess, for masks and nonces.
    pub random: &'c mut dyn FnMut() -> u32,
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("now", &self.now).finish_non_exhaustive()
    }
}
