//! What the world is: sockets, deliveries under way, queues, the clock.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use lodger_backend::{Addr, Micros, Ready, SystemText};

use super::datagram::Datagram;
use super::faults::{Faults, Injected, Rng};
use super::files::Files;
use super::queue::Queue;
use super::stream::{Phase, Readiness, Stream};
use super::trace::Trace;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) addr: Addr,
    /// Connected and not yet accepted.
    pub(super) backlog: VecDeque<u64>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Listener(Listener),
    Stream(Stream),
    Datagram(Datagram),
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    /// Which queue watches it.
    watcher: Option<usize>,
    /// A test holds it, not a guest.
    pub(super) scripted: bool,
}

/// What crosses the network.
#[derive(Debug)]
enum Cargo {
    Bytes(Vec<u8>),
    /// The end of a direction.
    Fin,
    Reset,
    /// A datagram, and who sent it.
    Datagram(SocketAddr, Vec<u8>),
    /// A connect, on its way back to the one who connects.
    Answer,
}

#[derive(Debug)]
struct Delivery {
    from: u64,
    to: u64,
    cargo: Cargo,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) now: Micros,
    pub(super) faults: Faults,
    pub(super) injected: Injected,
    pub(super) rng: Rng,
    /// What a guest sees as randomness; faults do not move it.
    pub(super) entropy: Rng,
    pub(super) trace: Trace,
    /// What guests did against the contract.
    pub(super) misuse: Vec<&'static str>,
    pub(super) sockets: BTreeMap<u64, Socket>,
    /// By driver; `None` once it is dropped.
    pub(super) queues: Vec<Option<Queue>>,
    /// The next accepts that fail, by error number.
    pub(super) accept_failures: VecDeque<i32>,
    pub(super) files: Files,
    /// Who connects to these hears nothing.
    pub(super) swallowed: Vec<Addr>,
    /// What the system says of names, each with its number.
    pub(super) texts: Vec<(SystemText, u64, Vec<u8>)>,
    flying: BTreeMap<(Micros, u64), Delivery>,
    /// Numbers sockets and deliveries. No number is used twice.
    count: u64,
    next_port: u16,
}

impl State {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: Micros::ZERO,
            faults,
            injected: Injected::default(),
            rng: Rng::new(seed),
            entropy: Rng::new(!seed),
            trace: Trace::default(),
            misuse: Vec::new(),
            sockets: BTreeMap::new(),
            queues: Vec::new(),
            accept_failures: VecDeque::new(),
            files: Files::default(),
            swallowed: Vec::new(),
            texts: Vec::new(),
            flying: BTreeMap::new(),
            count: 0,
            next_port: 49_151,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Rolls the dice for a fault and counts it.
    pub(super) fn fault(
        &mut self,
        rate: fn(&Faults) -> u16,
        count: fn(&mut Injected) -> &mut u64,
    ) -> bool {
        let happens = self.rng.happens(rate(&self.faults));
        if happens {
            *count(&mut self.injected) += 1;
        }
        happens
    }

    pub(super) fn note(&mut self, what: &str, whom: u64, how: usize) {
        self.trace.note(self.now, what, whom, u64::try_from(how).unwrap_or(u64::MAX));
    }

    // ---- Sockets ----

    pub(super) fn insert(&mut self, kind: Kind) -> u64 {
        let id = self.number();
        self.sockets.insert(id, Socket { kind, watcher: None, scripted: false });
        id
    }

    pub(super) fn stream(&mut self, id: u64) -> io::Result<&mut Stream> {
        match self.sockets.get_mut(&id) {
            Some(Socket { kind: Kind::Stream(stream), .. }) => Ok(stream),
            Some(_) | None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn listener_at(&self, addr: &Addr) -> Option<u64> {
        let mut listeners = self.sockets.iter();
        listeners.find_map(|(id, socket)| match &socket.kind {
            Kind::Listener(listener) if answers(&listener.addr, addr) => Some(*id),
            Kind::Listener(_) | Kind::Stream(_) | Kind::Datagram(_) => None,
        })
    }

    pub(super) fn port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(1_024);
        self.next_port
    }

    /// Opens a listener.
    pub(super) fn listen(&mut self, addr: &Addr) -> io::Result<u64> {
        let mut addr = addr.clone();
        if let Addr::Tcp(tcp) = &mut addr
            && tcp.port() == 0
        {
            tcp.set_port(self.port());
        }
        if self.listener_at(&addr).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.insert(Kind::Listener(Listener { addr, backlog: VecDeque::new() }));
        self.note("listen", id, 0);
        Ok(id)
    }

    /// Makes the end that connects to `addr`; [`ask`](Self::ask) or [`answer`](Self::answer) next.
    pub(super) fn caller(&mut self, addr: &Addr) -> u64 {
        let local = match addr {
            Addr::Tcp(tcp) => SocketAddr::new(tcp.ip(), self.port()).into(),
            _ => Addr::Unix(PathBuf::new()),
        };
        self.insert(Kind::Stream(Stream::new(Phase::Connecting, 0, local, addr.clone())))
    }

    /// Sends a connect on its way.
    pub(super) fn ask(&mut self, id: u64) {
        self.post(id, id, Cargo::Answer);
    }

    /// Connects `id` to who listens at its remote address, or refuses it.
    pub(super) fn answer(&mut self, id: u64) {
        let Ok(Stream { local, remote, .. }) = self.stream(id) else { return };
        let (client, server) = (local.clone(), remote.clone());
        let refused = self.fault(|f| f.refused, |i| &mut i.refused);
        let Some(listener) = self.listener_at(&server).filter(|_| !refused) else {
            self.injected.refused += u64::from(!refused);
            self.note("refused", id, 0);
            return self.fail(id, io::ErrorKind::ConnectionRefused);
        };
        let peer = self.insert(Kind::Stream(Stream::new(Phase::Open, id, server, client)));
        self.join(id, peer);
        if let Some(Socket { kind: Kind::Listener(l), .. }) = self.sockets.get_mut(&listener) {
            l.backlog.push_back(peer);
        }
        self.note("connected", id, 0);
        self.change(listener);
        self.change(id);
    }

    /// Completes the connection of `id` to `peer`.
    pub(super) fn join(&mut self, id: u64, peer: u64) {
        if let Ok(stream) = self.stream(id) {
            stream.phase = Phase::Open;
            stream.peer = peer;
        }
    }

    /// Kills one end of a connection.
    fn fail(&mut self, id: u64, error: io::ErrorKind) {
        if let Ok(stream) = self.stream(id) {
            stream.fail(error);
            self.change(id);
        }
    }

    /// Kills this end now and the other when it hears of it.
    pub(super) fn reset(&mut self, id: u64) {
        let Ok(peer) = self.stream(id).map(|stream| stream.peer) else { return };
        self.note("reset", id, 0);
        self.post(id, peer, Cargo::Reset);
        self.fail(id, io::ErrorKind::ConnectionReset);
    }

    /// Closes a socket: politely if everything was read, by a reset if not.
    pub(super) fn close(&mut self, id: u64) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        if socket.watcher.and_then(|q| self.queue(q)?.forget(id)).is_some() {
            self.misuse.push("a watched socket was closed instead of released");
        }
        self.note("close", id, 0);
        match socket.kind {
            Kind::Listener(listener) => listener.backlog.iter().for_each(|conn| self.abort(*conn)),
            Kind::Stream(stream) => self.leave(id, &stream),
            Kind::Datagram(_) => {}
        }
    }

    /// Says goodbye to the other end of a stream that was closed.
    fn leave(&mut self, id: u64, stream: &Stream) {
        if stream.phase != Phase::Open {
            return;
        }
        if !stream.input.is_empty() {
            self.post(id, stream.peer, Cargo::Reset);
        } else if !stream.finished {
            self.post(id, stream.peer, Cargo::Fin);
        }
        // What the other end waits to send can go now, into the void.
        self.unblock(stream.peer);
    }

    /// Closes a socket by a reset.
    pub(super) fn abort(&mut self, id: u64) {
        self.reset(id);
        self.close(id);
    }

    /// Ends the sending direction.
    pub(super) fn finish(&mut self, id: u64) -> io::Result<()> {
        let stream = self.stream(id)?;
        if stream.phase != Phase::Open {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let peer = stream.peer;
        if !core::mem::replace(&mut stream.finished, true) {
            self.note("finish", id, 0);
            self.post(id, peer, Cargo::Fin);
            self.change(id);
        }
        Ok(())
    }

    /// Gives how much the other end of `stream` still takes.
    pub(super) fn room(&self, peer: u64) -> usize {
        match self.sockets.get(&peer) {
            Some(Socket { kind: Kind::Stream(peer), .. }) => peer.free(),
            Some(_) | None => usize::MAX,
        }
    }

    /// Sends bytes on their way, in segments if the network is slow.
    pub(super) fn transmit(&mut self, id: u64, bytes: &[u8]) {
        let Ok(peer) = self.stream(id).map(|stream| stream.peer) else { return };
        self.note("send", id, bytes.len());
        self.trace.bytes(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut =
                if self.faults.delay > 0 { 1 + self.rng.below(rest.len()) } else { rest.len() };
            let (segment, more) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
            self.post(id, peer, Cargo::Bytes(segment.to_vec()));
            rest = more;
        }
        if self.fault(|f| f.half_closes, |i| &mut i.half_closes) {
            // Cannot fail: the stream has just sent.
            let _ = self.finish(id);
        }
    }

    /// Tells who waits for room at `reader` that there is some.
    pub(super) fn opened(&mut self, reader: u64) {
        if let Ok(peer) = self.stream(reader).map(|stream| stream.peer)
            && self.room(reader) > 0
        {
            self.unblock(peer);
        }
    }

    /// Reports a sender that found no room.
    fn unblock(&mut self, sender: u64) {
        if self.stream(sender).is_ok_and(|stream| core::mem::take(&mut stream.blocked)) {
            self.change(sender);
        }
    }

    // ---- Readiness ----

    pub(super) fn queue(&mut self, id: usize) -> Option<&mut Queue> {
        self.queues.get_mut(id)?.as_mut()
    }

    /// Sets who watches a socket, and looks at it at once.
    pub(super) fn set_watcher(&mut self, sock: u64, queue: Option<usize>) {
        if let Some(socket) = self.sockets.get_mut(&sock) {
            socket.watcher = queue;
            self.change(sock);
        }
    }

    /// Notes that a socket's readiness has changed.
    pub(super) fn change(&mut self, sock: u64) {
        let watcher = self.sockets.get(&sock).and_then(|socket| socket.watcher);
        if let Some(queue) = watcher.and_then(|q| self.queue(q)) {
            queue.change(sock);
        }
    }

    /// Gives what is ready on a socket.
    pub(super) fn readiness(&self, sock: u64) -> Readiness {
        match self.sockets.get(&sock).map(|socket| &socket.kind) {
            Some(Kind::Stream(stream)) => stream.readiness(self.room(stream.peer)),
            Some(Kind::Datagram(datagram)) => datagram.readiness(),
            Some(Kind::Listener(l)) if !l.backlog.is_empty() => {
                Readiness { ready: Ready::READ, hangup: false }
            }
            Some(Kind::Listener(_)) | None => Readiness::default(),
        }
    }

    // ---- Time ----

    /// Puts cargo on its way; on a fast network it is there at once.
    fn post(&mut self, from: u64, to: u64, cargo: Cargo) {
        let delay = self.rng_delay();
        let now = self.now;
        let delivery = Delivery { from, to, cargo };
        let Ok(stream) = self.stream(to) else { return self.land(delivery) };
        let at = (now + delay).max(stream.last_arrival);
        if at <= now && stream.coming == 0 {
            return self.land(delivery);
        }
        stream.last_arrival = at;
        stream.coming += 1;
        if let Cargo::Bytes(bytes) = &delivery.cargo {
            stream.coming_bytes += bytes.len();
        }
        self.injected.delay += 1;
        let number = self.number();
        self.flying.insert((at, number), delivery);
    }

    /// Puts a datagram on its way. Each takes its own time, so that one may overtake another.
    pub(super) fn post_datagram(&mut self, to: u64, (from, bytes): (SocketAddr, Vec<u8>)) {
        let delay = self.rng_delay();
        if delay.is_zero() {
            return self.land_datagram(to, (from, bytes));
        }
        self.injected.delay += 1;
        let (at, number) = (self.now + delay, self.number());
        let delivery = Delivery { from: to, to, cargo: Cargo::Datagram(from, bytes) };
        self.flying.insert((at, number), delivery);
    }

    fn rng_delay(&mut self) -> Duration {
        match self.faults.delay {
            0 => Duration::ZERO,
            max => Duration::from_micros(self.rng.up_to(max)),
        }
    }

    /// Brings one delivery home.
    fn land(&mut self, Delivery { from, to, cargo }: Delivery) {
        let cargo = match cargo {
            Cargo::Datagram(from, bytes) => return self.land_datagram(to, (from, bytes)),
            other => other,
        };
        let Ok(stream) = self.stream(to) else {
            // Nobody is there any more: whoever sends bytes is told so.
            if matches!(cargo, Cargo::Bytes(_)) {
                self.post(to, from, Cargo::Reset);
            }
            return;
        };
        match cargo {
            Cargo::Answer => return self.answer(to),
            Cargo::Datagram(..) => return,
            Cargo::Bytes(_) | Cargo::Fin if stream.phase == Phase::Dead => return,
            Cargo::Bytes(bytes) => {
                stream.input.extend(&bytes);
                self.note("arrived", to, bytes.len());
            }
            Cargo::Fin => {
                stream.ended = true;
                self.note("ended", to, 0);
            }
            Cargo::Reset => {
                if !stream.input.is_empty() {
                    self.drop_unread(to);
                }
                return self.fail(to, io::ErrorKind::ConnectionReset);
            }
        }
        self.change(to);
    }

    /// Loses what had arrived before a reset, now and then.
    fn drop_unread(&mut self, id: u64) {
        if self.fault(|f| f.reset_drops, |i| &mut i.reset_drops)
            && let Ok(stream) = self.stream(id)
        {
            stream.input.clear();
        }
    }

    /// Brings home what is due by now.
    pub(super) fn settle(&mut self) {
        while let Some(first) = self.flying.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let delivery = first.remove();
            if let Ok(stream) = self.stream(delivery.to) {
                stream.coming = stream.coming.saturating_sub(1);
                if let Cargo::Bytes(bytes) = &delivery.cargo {
                    stream.coming_bytes = stream.coming_bytes.saturating_sub(bytes.len());
                }
            }
            self.land(delivery);
        }
    }

    /// Moves the clock, bringing home in order what falls due on the way.
    pub(super) fn advance_to(&mut self, at: Micros) {
        while let Some(next) = self.next_delivery().filter(|next| *next <= at) {
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = self.now.max(at);
    }

    /// Gives when the next delivery is due.
    pub(super) fn next_delivery(&self) -> Option<Micros> {
        self.flying.first_key_value().map(|(key, _)| key.0)
    }
}

/// Tells whether who listens at `bound` is meant by `addr`.
fn answers(bound: &Addr, addr: &Addr) -> bool {
    match (bound, addr) {
        (Addr::Tcp(bound), Addr::Tcp(addr)) => {
            bound.port() == addr.port() && (bound.ip() == addr.ip() || bound.ip().is_unspecified())
        }
        (bound, addr) => bound == addr,
    }
}
