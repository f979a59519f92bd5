//! When to try again, as numbers and no clock.

mod retry;

pub use retry::Retry;
