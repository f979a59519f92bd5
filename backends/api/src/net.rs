//! The system calls that the guest makes, and what names their objects.

use core::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec;
use std::vec::Vec;

#[cfg(unix)]
use std::os::fd::{OwnedFd, RawFd};

use crate::file::{File, Meta};

/// An open socket of one [`Net`]: opaque, `Copy`, and never reused for another socket while a
/// stale copy could still be mistaken for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sock(u64);

impl Sock {
    /// Wraps a number that only the `Net` that made it understands.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Gives that number.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// What a backend watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Source {
    /// A descriptor, open until it is released.
    #[cfg(unix)]
    Fd(RawFd),
    /// An object of a simulation.
    Memory(u64),
}

/// A text of the system that says how names are looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SystemText {
    /// Names and their addresses: hosts(5).
    Hosts,
    /// Which servers to ask, and how: resolv.conf(5).
    Resolver,
}

/// Where a listener listens or a peer is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Addr {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket; empty for a peer without a name.
    Unix(PathBuf),
}

impl Addr {
    /// Reads `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with a text that says which form was expected. Names are not resolved.
    pub fn parse(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(invalid("a unix address needs a path: unix:/run/name.sock"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| invalid("an address is IP:PORT (127.0.0.1:7681, [::1]:7681) or unix:PATH"))
    }

    /// Gives the addresses of a literal (`127.0.0.1`, `::1`, `[::1]`) or of `localhost`, best first;
    /// `None` for a name.
    pub fn without_lookup(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = literal.parse::<IpAddr>() {
            return Some(vec![SocketAddr::new(ip, port)]);
        }
        let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let is_local = host.eq_ignore_ascii_case("localhost");
        is_local.then(|| both.map(|ip| SocketAddr::new(ip, port)).to_vec())
    }

    /// Gives the TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl TryFrom<&str> for Addr {
    type Error = io::Error;

    fn try_from(text: &str) -> io::Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<&String> for Addr {
    type Error = io::Error;

    fn try_from(text: &String) -> io::Result<Self> {
        Self::parse(text)
    }
}

/// The operating system, one method a system call. No method blocks, but for the disk where it
/// says so; none calls the guest back.
///
/// Every socket made here is non-blocking and close-on-exec, and everything is sent so that no
/// signal is raised (MSG_NOSIGNAL). `WouldBlock` means "try when it is reported ready".
///
/// # Errors
///
/// Every method gives the system's own error. A [`Sock`] that is not open is `NotConnected`.
#[expect(clippy::missing_errors_doc, reason = "stated once for all methods")]
pub trait Net {
    /// Gives the seconds since 1970-01-01T00:00:00Z.
    fn unix_time(&self) -> u64;

    /// Fills `buf` with bytes that a peer cannot guess.
    fn random(&self, buf: &mut [u8]);

    /// Opens a listening socket. A stale Unix socket file, which nobody answers, is replaced.
    fn listen(&self, addr: &Addr) -> io::Result<Sock>;

    /// Takes one connection from a listener's queue.
    fn accept(&self, listener: Sock) -> io::Result<Sock>;

    /// Starts to connect. The outcome is told by readiness to write and [`take_error`].
    ///
    /// [`take_error`]: Self::take_error
    fn connect(&self, addr: &Addr) -> io::Result<Sock>;

    /// Opens a datagram socket that sends to `peer` and hears it alone, from a port that the
    /// system chooses and a stranger cannot guess.
    ///
    /// [`send`](Self::send) sends one datagram a call, [`recv`](Self::recv) takes one; what of it
    /// does not fit into the buffer is lost. A `Net` without datagrams says `Unsupported`.
    fn connect_datagram(&self, peer: SocketAddr) -> io::Result<Sock> {
        let _ = peer;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads a text in which the system says how names are looked up, up to a mebibyte of it, and
    /// a number that changes when the text does. `None`: the number is still `known`. It may wait
    /// for the disk. A `Net` without such texts says `Unsupported`.
    fn system_text(
        &self,
        which: SystemText,
        known: Option<u64>,
    ) -> io::Result<Option<(u64, Vec<u8>)>> {
        let _ = (which, known);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes over an open stream or listening socket.
    ///
    /// # Errors
    ///
    /// What is refused is given back with the reason.
    #[cfg(unix)]
    fn adopt(&self, fd: OwnedFd) -> Result<Sock, (OwnedFd, io::Error)>;

    /// Reads into `buf`; 0 is the end of the peer's stream.
    fn recv(&self, sock: Sock, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes from the front of `bufs`; returns how many bytes were taken.
    fn send(&self, sock: Sock, bufs: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the sending direction; what was sent before still arrives.
    fn shutdown(&self, sock: Sock) -> io::Result<()>;

    /// Takes the socket's pending error, such as that of a refused connect. A TCP socket that has
    /// connected to itself was refused: nobody listens there.
    fn take_error(&self, sock: Sock) -> io::Result<Option<io::Error>>;

    /// Gives the address on this side.
    fn local_addr(&self, sock: Sock) -> io::Result<Addr>;

    /// Gives the address on the other side.
    fn peer_addr(&self, sock: Sock) -> io::Result<Addr>;

    /// Gives what a backend watches for this socket; `None` if it is not open.
    fn source(&self, sock: Sock) -> Option<Source>;

    /// Closes the socket. Does nothing if it is not open.
    fn close(&self, sock: Sock);

    /// Opens a directory, to open what is in it. A `Net` without files says `Unsupported`, here
    /// and in the methods below.
    fn open_dir(&self, path: &Path) -> io::Result<File> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a regular file or a directory below `root` for reading. `path` is relative, and its
    /// segments are neither empty nor `.` nor `..`.
    ///
    /// Symbolic links are followed only where they stay below `root`, or not at all. Anything
    /// but a regular file or a directory is `NotFound`, and opening it does not wait.
    fn open_beneath(&self, root: File, path: &str) -> io::Result<(File, Meta)> {
        let _ = (root, path);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads into `buf` from `offset` on; 0 is the end of the file. It may wait for the disk.
    fn read_at(&self, file: File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let _ = (file, offset, buf);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends up to `len` bytes of a file, from `offset` on, without a copy of ours; returns how
    /// many were taken, and 0 only where the file has ended. It may wait for the disk, not for
    /// the peer, and raises no signal.
    ///
    /// `Unsupported` or `InvalidInput`: this file cannot go this way to this socket, so it is to
    /// be read and sent.
    fn send_file(&self, sock: Sock, file: File, offset: u64, len: usize) -> io::Result<usize> {
        let _ = (sock, file, offset, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Closes a file or directory. Does nothing if it is not open.
    fn close_file(&self, file: File) {
        let _ = file;
    }
}
