//! The operating system's sockets: TCP, Unix streams, and datagrams to ask name servers by.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lodger_backend::{Addr, File, Meta, Net, Sock, Source, SystemText};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, ioctl_fionbio};
use rustix::net::sockopt::{set_socket_reuseaddr, set_tcp_nodelay, socket_error, socket_type};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, Shutdown, SocketAddrAny, SocketAddrUnix,
    SocketType, bind, connect, getpeername, getsockname, listen, recv, send, sendmsg, shutdown,
};
use rustix::time::{ClockId, clock_gettime};

use files::Files;
use slab::Slab;
use unix_file::SocketFile;

mod files;
mod slab;
#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "linux.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "bsd.rs")]
mod system;
mod texts;
mod unix_file;

/// Connections that may wait for `accept`. The system may hold fewer.
const BACKLOG: i32 = 1024;

/// Buffers that the system takes in one call (IOV_MAX).
const SLICES: usize = 1024;

/// The operating system's stream sockets.
///
/// TCP sockets have TCP_NODELAY: output is gathered before it is sent. Only `send` and `sendmsg`
/// with MSG_NOSIGNAL write to a socket (SO_NOSIGPIPE where that is missing), so a peer that has
/// gone is an error and never a signal.
///
/// Files are opened by `openat2` with RESOLVE_BENEATH on Linux; elsewhere, and on kernels without
/// it, segment by segment without following any symbolic link. `sendfile` knows no MSG_NOSIGNAL,
/// so [`send_file`](Net::send_file) is `Unsupported` in a process that did not ignore SIGPIPE when
/// it was first called; a program whose `main` is Rust ignores it.
///
/// The file of a Unix listener made here is removed when the listener is closed or the `OsNet` is
/// dropped, if it is still that file. An adopted listener's file is left alone.
#[derive(Debug)]
pub struct OsNet {
    // Before the sockets, so that it is dropped first: see `close`.
    files: RefCell<Vec<(Sock, SocketFile)>>,
    socks: RefCell<Slab>,
    opened: Files,
    random: system::Random,
}

impl OsNet {
    /// Opens nothing yet, but makes sure that the system gives random bytes.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn new() -> io::Result<Self> {
        let random = system::Random::open()?;
        let (socks, files) = (RefCell::default(), RefCell::default());
        Ok(Self { socks, files, opened: Files::default(), random })
    }

    /// Calls `f` with the open socket. Nothing that `f` does comes back here.
    #[inline]
    fn with<T>(
        &self,
        sock: Sock,
        f: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        match self.socks.borrow().get(sock) {
            Some(fd) => f(fd.as_fd()).map_err(io::Error::from),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn keep(&self, fd: OwnedFd) -> Sock {
        self.socks.borrow_mut().insert(fd)
    }

    fn listen_tcp(&self, addr: SocketAddr) -> io::Result<Sock> {
        let fd = system::open(family(addr), SocketType::STREAM)?;
        set_socket_reuseaddr(&fd, true)?;
        set_tcp_nodelay(&fd, true)?;
        bind(&fd, &addr)?;
        listen(&fd, BACKLOG)?;
        Ok(self.keep(fd))
    }

    fn listen_unix(&self, path: &Path) -> io::Result<Sock> {
        let addr = unix_file::address(path)?;
        let fd = system::open(AddressFamily::UNIX, SocketType::STREAM)?;
        match bind(&fd, &addr) {
            Err(Errno::ADDRINUSE) if unix_file::remove_stale(path, &addr) => bind(&fd, &addr)?,
            bound => bound?,
        }
        let file = SocketFile::made(path)?;
        listen(&fd, BACKLOG)?;
        let sock = self.keep(fd);
        self.files.borrow_mut().push((sock, file));
        Ok(sock)
    }

    fn connect_tcp(&self, addr: SocketAddr) -> io::Result<Sock> {
        let fd = system::open(family(addr), SocketType::STREAM)?;
        set_tcp_nodelay(&fd, true)?;
        begun(connect(&fd, &addr))?;
        Ok(self.keep(fd))
    }

    fn connect_unix(&self, path: &Path) -> io::Result<Sock> {
        let addr = unix_file::address(path)?;
        let fd = system::open(AddressFamily::UNIX, SocketType::STREAM)?;
        begun(connect(&fd, &addr))?;
        Ok(self.keep(fd))
    }
}

impl Net for OsNet {
    fn unix_time(&self) -> u64 {
        u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
    }

    fn random(&self, buf: &mut [u8]) {
        self.random.fill(buf);
    }

    fn listen(&self, addr: &Addr) -> io::Result<Sock> {
        match addr {
            Addr::Tcp(addr) => self.listen_tcp(*addr),
            Addr::Unix(path) => self.listen_unix(path),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn accept(&self, listener: Sock) -> io::Result<Sock> {
        let accepted = match self.socks.borrow().get(listener) {
            Some(fd) => system::accept(fd.as_fd())?,
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(self.keep(accepted))
    }

    fn connect(&self, addr: &Addr) -> io::Result<Sock> {
        match addr {
            Addr::Tcp(addr) => self.connect_tcp(*addr),
            Addr::Unix(path) => self.connect_unix(path),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn connect_datagram(&self, peer: SocketAddr) -> io::Result<Sock> {
        let fd = system::open(family(peer), SocketType::DGRAM)?;
        connect(&fd, &peer)?;
        Ok(self.keep(fd))
    }

    fn system_text(
        &self,
        which: SystemText,
        known: Option<u64>,
    ) -> io::Result<Option<(u64, Vec<u8>)>> {
        match which {
            SystemText::Hosts => texts::read("/etc/hosts", known),
            SystemText::Resolver => texts::read("/etc/resolv.conf", known),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn adopt(&self, fd: OwnedFd) -> Result<Sock, (OwnedFd, io::Error)> {
        match prepare_adopted(fd.as_fd()) {
            Ok(()) => Ok(self.keep(fd)),
            Err(error) => Err((fd, error)),
        }
    }

    #[inline]
    fn recv(&self, sock: Sock, buf: &mut [u8]) -> io::Result<usize> {
        self.with(sock, |fd| recv(fd, buf, RecvFlags::empty()).map(|(n, _)| n))
    }

    #[inline]
    fn send(&self, sock: Sock, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [] => Ok(0),
            [one] => self.with(sock, |fd| send(fd, one, system::SEND)),
            many => {
                let some = many.get(..SLICES).unwrap_or(many);
                let mut control = SendAncillaryBuffer::default();
                self.with(sock, |fd| sendmsg(fd, some, &mut control, system::SEND))
            }
        }
    }

    fn shutdown(&self, sock: Sock) -> io::Result<()> {
        self.with(sock, |fd| shutdown(fd, Shutdown::Write))
    }

    fn take_error(&self, sock: Sock) -> io::Result<Option<io::Error>> {
        let pending = self.with(sock, |fd| socket_error(fd))?;
        if pending.is_ok() && self.with(sock, |fd| Ok(is_own_peer(fd)))? {
            return Ok(Some(io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(pending.err().map(io::Error::from))
    }

    fn local_addr(&self, sock: Sock) -> io::Result<Addr> {
        self.with(sock, |fd| getsockname(fd)).and_then(address)
    }

    fn peer_addr(&self, sock: Sock) -> io::Result<Addr> {
        let peer = self.with(sock, |fd| getpeername(fd))?;
        peer.map_or_else(|| Ok(Addr::Unix(PathBuf::new())), address)
    }

    fn source(&self, sock: Sock) -> Option<Source> {
        self.socks.borrow().get(sock).map(|fd| Source::Fd(fd.as_raw_fd()))
    }

    fn close(&self, sock: Sock) {
        // The file goes first: as long as its socket is open, its inode number cannot be given to
        // another file, so it is surely ours.
        self.files.borrow_mut().retain(|(owner, _)| *owner != sock);
        drop(self.socks.borrow_mut().remove(sock));
    }

    fn open_dir(&self, path: &Path) -> io::Result<File> {
        self.opened.open_dir(path)
    }

    fn open_beneath(&self, root: File, path: &str) -> io::Result<(File, Meta)> {
        self.opened.open_beneath(root, path)
    }

    fn read_at(&self, file: File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.opened.with(file, |fd| rustix::io::pread(fd, buf, offset))
    }

    fn send_file(&self, sock: Sock, file: File, offset: u64, len: usize) -> io::Result<usize> {
        if !self.opened.may_send() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.opened.with(file, |from| match self.socks.borrow().get(sock) {
            Some(to) => system::send_file(to.as_fd(), from, offset, len),
            None => Err(Errno::NOTCONN),
        })
    }

    fn close_file(&self, file: File) {
        self.opened.close(file);
    }
}

/// Checks a socket that was made elsewhere, and makes it like ours.
fn prepare_adopted(fd: BorrowedFd<'_>) -> io::Result<()> {
    if socket_type(fd)? != SocketType::STREAM {
        let text = "only a stream socket can be adopted";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    system::is_in_use(fd)?;
    ioctl_fionbio(fd, true)?;
    fcntl_setfd(fd, fcntl_getfd(fd)? | FdFlags::CLOEXEC)?;
    // Refused for a Unix socket, which has nothing to delay.
    let _ = set_tcp_nodelay(fd, true);
    system::adopt(fd)
}

/// A connect that goes on is as good as one that is done.
/// Whether a TCP socket is connected to itself: nobody listens at a port of the range that the system
/// chooses from, and it has chosen just that one (RFC 9293, section 3.5: simultaneous open).
fn is_own_peer(fd: BorrowedFd<'_>) -> bool {
    let own = getsockname(fd).ok().and_then(|addr| SocketAddr::try_from(addr).ok());
    let peer = getpeername(fd).ok().flatten().and_then(|addr| SocketAddr::try_from(addr).ok());
    own.is_some() && own == peer
}

fn begun(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
        other => Ok(other?),
    }
}

fn family(addr: SocketAddr) -> AddressFamily {
    match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

fn address(any: SocketAddrAny) -> io::Result<Addr> {
    if any.address_family() == AddressFamily::UNIX {
        let unix = SocketAddrUnix::try_from(any)?;
        let path = unix.path_bytes().unwrap_or_default();
        return Ok(Addr::Unix(PathBuf::from(OsStr::from_bytes(path))));
    }
    Ok(Addr::Tcp(SocketAddr::try_from(any)?))
}

#[cfg(test)]
mod tests;
