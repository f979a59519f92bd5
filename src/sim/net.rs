//! The system calls of the simulated world.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

#[cfg(unix)]
use std::os::fd::OwnedFd;

use lodger_backend::{Addr, File, Meta, Net, Sock, Source, SystemText};

use super::state::{Kind, Socket, State};
use super::stream::Phase;

/// When the world began, in seconds since 1970: 2023-11-14T22:13:20Z.
const EPOCH: u64 = 1_700_000_000;

const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOMEM: i32 = 12;
const ENOBUFS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 105 } else { 55 };

/// What an accept may fail with, while the connection stays in the queue.
const ACCEPT_ERRORS: [i32; 4] = [EMFILE, ENFILE, ENOBUFS, ENOMEM];

#[derive(Debug)]
pub(super) struct SimNet(pub(super) Rc<RefCell<State>>);

impl SimNet {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.borrow_mut())
    }
}

impl Net for SimNet {
    fn unix_time(&self) -> u64 {
        self.with(|s| EPOCH + s.now.get() / 1_000_000)
    }

    fn random(&self, buf: &mut [u8]) {
        self.with(|s| {
            for chunk in buf.chunks_mut(8) {
                for (to, from) in chunk.iter_mut().zip(s.entropy.next().to_le_bytes()) {
                    *to = from;
                }
            }
        });
    }

    fn listen(&self, addr: &Addr) -> io::Result<Sock> {
        self.with(|s| s.listen(addr)).map(Sock::from_bits)
    }

    fn accept(&self, listener: Sock) -> io::Result<Sock> {
        self.with(|s| s.accept(listener.bits())).map(Sock::from_bits)
    }

    fn connect(&self, addr: &Addr) -> io::Result<Sock> {
        self.with(|s| {
            let id = s.caller(addr);
            s.note("connect", id, 0);
            if s.swallowed.contains(addr) {
                return Ok(Sock::from_bits(id));
            }
            if !s.fault(|f| f.unanswered, |i| &mut i.unanswered) {
                s.ask(id);
            }
            Ok(Sock::from_bits(id))
        })
    }

    fn connect_datagram(&self, peer: SocketAddr) -> io::Result<Sock> {
        Ok(Sock::from_bits(self.with(|s| s.open_datagram(peer))))
    }

    fn system_text(
        &self,
        which: SystemText,
        known: Option<u64>,
    ) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.with(|s| {
            let text = s.texts.iter().find(|(w, ..)| *w == which).ok_or(io::ErrorKind::NotFound)?;
            Ok((known != Some(text.1)).then(|| (text.1, text.2.clone())))
        })
    }

    #[cfg(unix)]
    fn adopt(&self, fd: OwnedFd) -> Result<Sock, (OwnedFd, io::Error)> {
        Err((fd, io::ErrorKind::Unsupported.into()))
    }

    fn recv(&self, sock: Sock, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|s| s.recv(sock.bits(), buf))
    }

    fn send(&self, sock: Sock, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.with(|s| s.send(sock.bits(), bufs))
    }

    fn shutdown(&self, sock: Sock) -> io::Result<()> {
        self.with(|s| s.finish(sock.bits()))
    }

    fn take_error(&self, sock: Sock) -> io::Result<Option<io::Error>> {
        self.with(|s| Ok(s.stream(sock.bits())?.error.take().map(io::Error::from)))
    }

    fn local_addr(&self, sock: Sock) -> io::Result<Addr> {
        self.with(|s| match s.sockets.get(&sock.bits()).map(|socket| &socket.kind) {
            Some(Kind::Listener(listener)) => Ok(listener.addr.clone()),
            Some(Kind::Stream(stream)) => Ok(stream.local.clone()),
            Some(Kind::Datagram(datagram)) => Ok(datagram.local.into()),
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    fn peer_addr(&self, sock: Sock) -> io::Result<Addr> {
        self.with(|s| match s.stream(sock.bits())? {
            stream if stream.phase == Phase::Connecting => Err(io::ErrorKind::NotConnected.into()),
            stream => Ok(stream.remote.clone()),
        })
    }

    fn source(&self, sock: Sock) -> Option<Source> {
        self.with(|s| s.sockets.contains_key(&sock.bits()).then_some(Source::Memory(sock.bits())))
    }

    fn close(&self, sock: Sock) {
        self.with(|s| s.close(sock.bits()));
    }

    fn open_dir(&self, path: &Path) -> io::Result<File> {
        self.with(|s| s.files.open_dir(path))
    }

    fn open_beneath(&self, root: File, path: &str) -> io::Result<(File, Meta)> {
        self.with(|s| s.files.open_beneath(root, path, EPOCH))
    }

    fn read_at(&self, file: File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|s| s.files.read_at(file, offset, buf))
    }

    fn send_file(&self, sock: Sock, file: File, offset: u64, len: usize) -> io::Result<usize> {
        self.with(|s| {
            if !s.files.sends {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let part = s.files.part(file, offset, len)?;
            s.send(sock.bits(), &[io::IoSlice::new(&part)])
        })
    }

    fn close_file(&self, file: File) {
        self.with(|s| s.files.close(file));
    }
}

impl State {
    fn accept(&mut self, listener: u64) -> io::Result<u64> {
        let Some(Socket { kind: Kind::Listener(l), .. }) = self.sockets.get_mut(&listener) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let Some(conn) = l.backlog.front().copied() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if let Some(errno) = self.accept_failure() {
            self.note("accept error", listener, errno.unsigned_abs() as usize);
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.unqueue(listener);
        if self.fault(|f| f.accept_aborts, |i| &mut i.accept_aborts) {
            self.abort(conn);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.note("accept", conn, 0);
        Ok(conn)
    }

    fn accept_failure(&mut self) -> Option<i32> {
        if let Some(errno) = self.accept_failures.pop_front() {
            self.injected.accept_errors += 1;
            return Some(errno);
        }
        if !self.fault(|f| f.accept_errors, |i| &mut i.accept_errors) {
            return None;
        }
        ACCEPT_ERRORS.get(self.rng.below(ACCEPT_ERRORS.len())).copied()
    }

    fn unqueue(&mut self, listener: u64) {
        if let Some(Socket { kind: Kind::Listener(l), .. }) = self.sockets.get_mut(&listener) {
            l.backlog.pop_front();
        }
    }

    fn recv(&mut self, id: u64, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(datagram) = self.datagram(id) {
            return datagram.recv(buf);
        }
        let mut n = self.stream(id)?.readable(buf.len())?;
        let there = self.stream(id)?.input.len();
        if n > 0 && self.fault(|f| f.would_block, |i| &mut i.would_block) {
            self.change(id);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if n > 1 && self.fault(|f| f.short_reads, |i| &mut i.short_reads) {
            n = 1 + self.rng.below(n - 1);
        }
        let Some(part) = buf.get_mut(..n) else { return Ok(0) };
        self.stream(id)?.read(part);
        if n < buf.len() && n < there {
            // As if the rest came only now: who takes a short read for "empty" is told.
            self.change(id);
        }
        self.note("recv", id, n);
        self.opened(id);
        Ok(n)
    }

    fn send(&mut self, id: u64, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if let Some(peer) = self.datagram(id).and_then(|datagram| datagram.peer) {
            self.send_datagram(id, peer, &gather(bufs, total));
            return Ok(total);
        }
        let stream = self.stream(id)?;
        stream.writable()?;
        let peer = stream.peer;
        if total == 0 {
            return Ok(0);
        }
        if self.fault(|f| f.resets, |i| &mut i.resets) {
            self.reset(id);
            self.stream(id)?.error = None;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = self.room(peer);
        let mut n = total.min(room);
        let would_block = self.fault(|f| f.would_block, |i| &mut i.would_block);
        if would_block {
            n = 0;
        } else if n > 1 && self.fault(|f| f.short_writes, |i| &mut i.short_writes) {
            n = 1 + self.rng.below(n - 1);
        }
        if n < total {
            self.wait_for_room(id, n < room);
        }
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.transmit(id, &gather(bufs, n));
        Ok(n)
    }

    /// Remembers that a sender waits; `at_once`: as if the room opened right after the call.
    fn wait_for_room(&mut self, id: u64, at_once: bool) {
        if at_once {
            self.change(id);
        } else if let Ok(stream) = self.stream(id) {
            stream.blocked = true;
        }
    }
}

/// Copies the first `n` bytes of `bufs`.
fn gather(bufs: &[io::IoSlice<'_>], n: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(n);
    for buf in bufs {
        let part = buf.get(..n - bytes.len()).unwrap_or(buf);
        bytes.extend_from_slice(part);
    }
    bytes
}
