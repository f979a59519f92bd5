//! The runtime through its public interface, both ends of every connection in one process. All but
//! `real` run in a simulated world, in virtual time: nothing sleeps, opens a port or reads a clock.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers of the tests' own")]

#[cfg(all(feature = "tls", feature = "h2"))]
mod agreed;
mod bad_servers;
mod chaos;
mod client;
#[cfg(feature = "deflate")]
mod deflate;
mod event_source;
mod events;
mod fanout;
mod files;
mod forms;
#[cfg(feature = "h2")]
mod h2;
#[cfg(feature = "h2")]
mod h2_streams;
mod http;
mod idle;
mod interim;
mod kit;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(unix)]
mod names;
mod pipeline;
#[cfg(feature = "tls")]
mod proxies;
mod real;
mod reentry;
mod serving;
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod trailers;
mod turns;
mod ws;
