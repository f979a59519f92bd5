//! What Linux does its own way: sockets are born non-blocking and close-on-exec, and a send says
//! that it wants no signal.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, accept_with, getpeername, socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};

/// With every send.
pub(super) const SEND: SendFlags = SendFlags::NOSIGNAL;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Opens a socket.
pub(super) fn open(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, FLAGS, None)?)
}

/// Takes one connection. It inherits the listener's TCP_NODELAY.
pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(accept_with(listener, FLAGS)?)
}

/// Makes sure that a socket listens or is connected.
pub(super) fn is_in_use(fd: BorrowedFd<'_>) -> io::Result<()> {
    if !socket_acceptconn(fd)? {
        getpeername(fd)?;
    }
    Ok(())
}

/// Prepares a socket that was made elsewhere.
pub(super) fn adopt(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// Opens what is below `root`, links that stay there included.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => super::files::walk(root, path, flags),
        opened => opened,
    }
}

/// Sends a part of a file. Raises SIGPIPE where that is not ignored.
pub(super) fn send_file(
    to: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    offset: u64,
    len: usize,
) -> rustix::io::Result<usize> {
    let mut offset = offset;
    rustix::fs::sendfile(to, from, Some(&mut offset), len)
}

/// Tells whether the process ignores SIGPIPE.
pub(super) fn ignores_sigpipe() -> bool {
    // What cannot be known is taken for the worse.
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| sigpipe_is_in(&status))
}

/// Reads the mask of ignored signals in what `/proc/self/status` says.
fn sigpipe_is_in(status: &str) -> bool {
    const SIGPIPE: u64 = 1 << 12;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & SIGPIPE != 0)
}

/// The system's source of random bytes.
#[derive(Debug)]
pub(super) struct Random;

impl Random {
    /// Proves that there is one, so that nobody has to ask again.
    pub(super) fn open() -> io::Result<Self> {
        getrandom(&mut [0_u8; 1][..], GetRandomFlags::empty())?;
        Ok(Self)
    }

    /// Fills `buf`.
    pub(super) fn fill(&self, buf: &mut [u8]) {
        let mut rest = buf;
        while !rest.is_empty() {
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(n) => rest = rest.get_mut(n..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // `open` has proved that the call works; predictable bytes would be worse.
                Err(_) => std::process::abort(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_known() {
        assert!(ignores_sigpipe(), "a program whose `main` is Rust ignores it");
        for (status, ignored) in [
            ("SigBlk:\t0000000000001000\nSigIgn:\t0000000000001000\n", true),
            ("SigBlk:\t0000000000001000\nSigIgn:\t0000000000000fff\n", false),
            ("SigIgn:\tnonsense\n", false),
            ("", false),
        ] {
            assert_eq!(sigpipe_is_in(status), ignored, "{status}");
        }
    }
}
