//! The runtime through its public interface, both ends of every connection in one process. All but
//! `real` run in a simulated world, in virtual time: nothing sleeps, opens a port or reads a clock.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod kit;

#[cfg(feature = "deflate")]
mod deflate;
mod reentry;
mod timers;
