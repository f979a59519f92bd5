//! When to try again and when to give up, as numbers and no clock.

mod retry;
mod validity;

pub use retry::Retry;
pub use validity::{Due, Proof, Validity};
