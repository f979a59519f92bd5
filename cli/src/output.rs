//! Output that never holds the loop up: a file, a pipe, a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};

/// What a pipe that is ready takes without waiting, on every system (POSIX's least is 512; a page
/// on those with poll by pages).
const CERTAIN: usize = 512;

/// Takes bytes; keeps those that its reader has no room for.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    /// Writing could wait: it is asked before each piece, and pieces are small.
    careful: bool,
    waiting: Vec<u8>,
}

impl Output {
    /// Writes to a file, which takes everything.
    pub(crate) fn file(file: File) -> Self {
        Self { file, careful: false, waiting: Vec::new() }
    }

    /// Writes to standard output.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn standard() -> io::Result<Self> {
        let own = io::stdout().as_fd().try_clone_to_owned()?;
        let kind = FileType::from_raw_mode(fstat(&own)?.st_mode);
        match kind {
            FileType::Fifo | FileType::CharacterDevice => {}
            FileType::Socket => return Ok(Self { careful: true, ..Self::file(own.into()) }),
            _ => return Ok(Self::file(own.into())),
        }
        // Opened anew, it can be made not to wait without changing what the shell shares with us.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let anew = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/1");
        Ok(match anew {
            Ok(file) => Self::file(file),
            Err(_) => Self { careful: true, ..Self::file(own.into()) },
        })
    }

    /// Writes what can be written now, and keeps the rest.
    ///
    /// # Errors
    ///
    /// Nobody takes it: a closed pipe, a full disk.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.waiting.is_empty() { self.write(bytes)? } else { 0 };
        self.waiting.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Goes on with what waits.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub(crate) fn go_on(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let taken = self.write(&waiting)?;
        self.waiting = waiting;
        self.waiting.drain(..taken);
        Ok(())
    }

    /// Writes all that waits, however long that takes.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        while self.waits() {
            wait(self.file.as_fd(), None)?;
            self.go_on()?;
        }
        self.file.flush()
    }

    /// Whether something waits for its reader.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives the file.
    pub(crate) fn get(&self) -> &File {
        &self.file
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let whole = bytes.len();
        let most = if self.careful { CERTAIN } else { usize::MAX };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while !bytes.is_empty() {
            if self.careful && !wait(self.file.as_fd(), Some(&now))? {
                break;
            }
            match self.file.write(bytes.get(..most).unwrap_or(bytes)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(whole - bytes.len())
    }
}

/// Waits for room. `false`: there was none in time.
fn wait(fd: BorrowedFd<'_>, time: Option<&Timespec>) -> io::Result<bool> {
    match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], time) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
