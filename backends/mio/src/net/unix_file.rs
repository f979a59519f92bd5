//! The file that a listening Unix socket leaves in the file system.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect};

use super::system;

/// Bytes of a path that fit an address, without the NUL behind them.
const LONGEST: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// A socket file that we made. Dropping it removes the file, unless somebody has put another one
/// in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    /// Remembers the file that `bind` has just made.
    pub(super) fn made(path: &Path) -> io::Result<Self> {
        // Absolute, since the program may change its directory before the end.
        Ok(Self { path: std::path::absolute(path)?, id: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|id| id == self.id) {
            // If the directory went away or is ours no more, the file is not our business.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes an address of a path.
pub(super) fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    let length = path.as_os_str().len();
    // Without a path Linux would make up an abstract name.
    if length == 0 || length > LONGEST {
        let text = format!("a unix socket path holds 1 to {LONGEST} bytes, this one {length}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(SocketAddrUnix::new(path)?)
}

/// Removes a socket file that nobody answers; tells whether it did. Anything else is left alone:
/// a file of another kind, or one whose owner lives.
pub(super) fn remove_stale(path: &Path, addr: &SocketAddrUnix) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket && nobody_answers(addr) && fs::remove_file(path).is_ok()
}

fn nobody_answers(addr: &SocketAddrUnix) -> bool {
    let Ok(probe) = system::open(AddressFamily::UNIX, SocketType::STREAM) else { return false };
    connect(&probe, addr) == Err(Errno::CONNREFUSED)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}
