//! What a host does with the numbers that it is given.
#![allow(unsafe_code, reason = "a host is given the numbers of descriptors")]

use std::os::fd::{BorrowedFd, RawFd};

/// Borrows the descriptor that an operation was called with, for that call.
pub(crate) fn borrowed<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: `Ops` is called with descriptors that are open until `unwatch` has returned.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
