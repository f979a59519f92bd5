//! What HTML forms send: `application/x-www-form-urlencoded` (URL, section 5) and
//! `multipart/form-data` (RFC 7578), without input or output.
//!
//! [`Pairs`] reads a query or a body that is whole. [`Multipart`] reads a body that arrives in
//! pieces, cut anywhere, and holds no more of it than one part's head.

mod content_type;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod multipart;
mod pairs;
#[cfg(test)]
mod tests;

pub use content_type::{boundary, media_type};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_form;
pub use multipart::{Event, Multipart, Part};
pub use pairs::{Pairs, decode, decode_path};
