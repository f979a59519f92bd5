//! liblodger: `lodger` for C and for whatever can call C.
//!
//! In: calls of a C program. Out: calls of its callbacks, from inside `lodger_dispatch` and
//! `lodger_run` alone. The contract of all functions is the head comment of `lodger.h`, which
//! `cargo xtask header` makes from this crate; what is said there of strings, sizes and owners is
//! what the `SAFETY` lines here call the contract.
//!
//! Nothing is decided here: arguments are checked and translated, panics and foreign exceptions
//! end at the border.

#![allow(
    non_camel_case_types,
    unreachable_pub,
    missing_debug_implementations,
    reason = "types of C, by their names there; Rust cannot reach them"
)]

mod ffi;
