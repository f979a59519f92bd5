//! Files as the guest sees them: opened below a directory, read at an offset, sent by the system.

use core::fmt;

/// An open file or directory of one [`Net`](crate::Net): opaque, `Copy`, and never reused for
/// another one while a stale copy could still be mistaken for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File(u64);

impl File {
    /// Wraps a number that only the `Net` that made it understands.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Gives that number.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({:#x})", self.0)
    }
}

/// What an open file was when it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "every Net makes one")]
pub struct Meta {
    /// It is a directory; else it is a regular file.
    pub is_dir: bool,
    /// Its size, in bytes.
    pub len: u64,
    /// When its content last changed: seconds since 1970-01-01T00:00:00Z, 0 for what is earlier.
    pub modified: u64,
    /// And nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}
