//! What macOS and the BSDs do their own way: a socket is made quiet, non-blocking and
//! close-on-exec after it was opened.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::sockopt::{set_socket_nosigpipe, set_tcp_nodelay};
use rustix::net::{AddressFamily, SendFlags, SocketType, socket};

/// With every send; SO_NOSIGPIPE on the socket keeps the signal away.
pub(super) const SEND: SendFlags = SendFlags::empty();

/// Opens a socket.
pub(super) fn open(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let fd = socket(family, kind, None)?;
    prepare(fd.as_fd())?;
    Ok(fd)
}

/// Takes one connection.
pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let fd = rustix::net::accept(listener)?;
    prepare(fd.as_fd())?;
    // Refused for a Unix socket, which has nothing to delay.
    let _ = set_tcp_nodelay(&fd, true);
    Ok(fd)
}

/// Passes any stream socket: macOS does not tell which ones listen. One that is neither connected
/// nor listening says so when it is used.
pub(super) fn is_in_use(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Prepares a socket that was made elsewhere.
pub(super) fn adopt(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(set_socket_nosigpipe(fd, true)?)
}

fn prepare(fd: BorrowedFd<'_>) -> io::Result<()> {
    ioctl_fionbio(fd, true)?;
    fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    Ok(set_socket_nosigpipe(fd, true)?)
}

/// Opens what is below `root`, without following links.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    super::files::walk(root, path, flags)
}

/// Sends nothing: each system has a `sendfile` of its own, and none is used.
pub(super) fn send_file(
    _to: BorrowedFd<'_>,
    _from: BorrowedFd<'_>,
    _offset: u64,
    _len: usize,
) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Does not matter here.
pub(super) fn ignores_sigpipe() -> bool {
    false
}

/// The system's source of random bytes.
#[derive(Debug)]
pub(super) struct Random(File);

impl Random {
    /// Opens it and proves that it gives bytes.
    pub(super) fn open() -> io::Result<Self> {
        let mut file = File::open("/dev/urandom")?;
        file.read_exact(&mut [0])?;
        Ok(Self(file))
    }

    /// Fills `buf`.
    pub(super) fn fill(&self, buf: &mut [u8]) {
        if (&self.0).read_exact(buf).is_err() {
            // `open` has proved that it works; predictable bytes would be worse.
            std::process::abort();
        }
    }
}
