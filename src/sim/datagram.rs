//! Datagrams: single messages, which may be lost and may overtake each other.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use std::io;
use std::net::SocketAddr;

use lodger_backend::Ready;

use super::state::{Kind, Socket, State};
use super::stream::Readiness;

/// A datagram that has arrived, and who sent it.
type Message = (SocketAddr, Vec<u8>);

/// Datagrams that wait in one socket; more are lost.
const INBOX: usize = 64;

#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) local: SocketAddr,
    /// Whom alone it hears; a scripted one hears everybody.
    pub(super) peer: Option<SocketAddr>,
    inbox: VecDeque<Message>,
    /// Nobody was there for what it sent.
    refused: bool,
}

impl Datagram {
    pub(super) fn new(local: SocketAddr, peer: Option<SocketAddr>) -> Self {
        Self { local, peer, inbox: VecDeque::new(), refused: false }
    }

    pub(super) fn readiness(&self) -> Readiness {
        let input = !self.inbox.is_empty() || self.refused;
        Readiness { ready: if input { Ready::BOTH } else { Ready::WRITE }, hangup: false }
    }

    /// Takes one datagram.
    pub(super) fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if core::mem::take(&mut self.refused) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (_, bytes) = self.inbox.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let fits = bytes.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..fits), bytes.get(..fits)) {
            to.copy_from_slice(from);
        }
        Ok(fits)
    }
}

impl State {
    pub(super) fn datagram(&mut self, id: u64) -> Option<&mut Datagram> {
        match self.sockets.get_mut(&id) {
            Some(Socket { kind: Kind::Datagram(datagram), .. }) => Some(datagram),
            Some(_) | None => None,
        }
    }

    /// Opens a datagram socket: one that talks to `peer`, from a port of its own.
    pub(super) fn open_datagram(&mut self, peer: SocketAddr) -> u64 {
        let port = self.port();
        let local = SocketAddr::new(if peer.is_ipv6() { V6 } else { V4 }, port);
        let id = self.insert(Kind::Datagram(Datagram::new(local, Some(peer))));
        self.note("datagrams", id, 0);
        id
    }

    /// Sends a datagram on its way, if it is not lost.
    pub(super) fn send_datagram(&mut self, from: u64, to: SocketAddr, bytes: &[u8]) {
        self.note("send", from, bytes.len());
        self.trace.bytes(bytes);
        if self.fault(|f| f.lost, |i| &mut i.lost) {
            return;
        }
        let mut sockets = self.sockets.iter();
        let found = sockets.find(|(_, socket)| match &socket.kind {
            Kind::Datagram(datagram) => datagram.local == to,
            Kind::Listener(_) | Kind::Stream(_) => false,
        });
        let there = found.map(|(id, _)| *id);
        let Some(source) = self.datagram(from).map(|datagram| datagram.local) else { return };
        match there {
            Some(to) => self.post_datagram(to, (source, bytes.to_vec())),
            None => self.refuse_datagram(from),
        }
    }

    /// As an ICMP message tells it.
    fn refuse_datagram(&mut self, from: u64) {
        if let Some(datagram) = self.datagram(from) {
            datagram.refused = true;
            self.change(from);
        }
    }

    /// Brings a datagram home, where there is room and it is heard.
    pub(super) fn land_datagram(&mut self, to: u64, (from, bytes): Message) {
        let Some(datagram) = self.datagram(to) else { return };
        let heard = datagram.peer.is_none_or(|peer| peer == from);
        if !heard || datagram.inbox.len() >= INBOX {
            return;
        }
        let n = bytes.len();
        datagram.inbox.push_back((from, bytes));
        self.note("arrived", to, n);
        self.change(to);
    }
}

const V4: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const V6: std::net::IpAddr = std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

/// A scripted datagram socket, such as a name server's. Closed when it is dropped.
pub struct Datagrams {
    state: Rc<RefCell<State>>,
    id: u64,
}

impl Datagrams {
    pub(super) fn new(state: Rc<RefCell<State>>, at: SocketAddr) -> Self {
        let id = {
            let mut s = state.borrow_mut();
            let id = s.insert(Kind::Datagram(Datagram::new(at, None)));
            if let Some(socket) = s.sockets.get_mut(&id) {
                socket.scripted = true;
            }
            id
        };
        Self { state, id }
    }

    /// Takes one datagram that has arrived, and who sent it.
    pub fn recv(&self) -> Option<(SocketAddr, Vec<u8>)> {
        self.state.borrow_mut().datagram(self.id)?.inbox.pop_front()
    }

    /// Sends a datagram.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) {
        self.state.borrow_mut().send_datagram(self.id, to, bytes);
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.state.borrow_mut().close(self.id);
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("id", &self.id).finish_non_exhaustive()
    }
}
