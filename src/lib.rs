//! A guest in your event loop.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
pub mod io;
mod limits;
pub mod proto;
#[cfg(feature = "std")]
pub mod sim;
pub mod sul;

pub use error::{Blame, Error, Wire};
pub use limits::{H1Limits, IoLimits, Limits, TokenBucket, WsLimits};
pub use lodger_backend::Micros;
