//! What the loops have in common: the guest that is measured, and the script of a run.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a guest that says where it listens")]

pub mod guest;
pub mod script;
