//! Bytes in and out: lent for a turn, built in a turn, and what is left over in between.
//!
//! A protocol works on three disjoint objects: the connection (state, no buffers), [`Rx`] (input
//! lent for this turn) and [`Tx`] (output being built). What it reports borrows from `Rx` or from
//! the [`Scratch`] alone, so that a handler can answer while it holds the payload.

#[cfg(feature = "deflate")]
pub(crate) mod deflate;
mod out;
mod rx;
mod scratch;

pub use out::{Out, Pool, Tx};
pub use rx::Rx;
pub use scratch::{FieldSpan, Scratch, Span};
