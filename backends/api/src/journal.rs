//! Where a guest keeps what must outlive it: one file that only grows, until it is replaced whole.

use std::io;
use std::string::String;

/// An append-only sequence of bytes that survives its program.
///
/// What is appended comes back in order. After a crash the last append may be there in part: its
/// reader finds out by its own marks. All calls may block, as writing to a file does.
pub trait Journal {
    /// Names it, for people to read: the path of a file.
    fn name(&self) -> String;

    /// Reads at `at`, as much as fits and is there; 0 behind the end.
    ///
    /// # Errors
    ///
    /// The system's.
    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Appends `bytes`. When it returns, the end of this program does not lose them; whether the
    /// end of the machine does is for the implementation to say.
    ///
    /// # Errors
    ///
    /// The system's: nothing of `bytes` is there then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Forgets what stands behind the first `len` bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Puts `bytes` in the place of everything, at once: a crash leaves the old or the new.
    ///
    /// # Errors
    ///
    /// The system's: the old is still there.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
}
