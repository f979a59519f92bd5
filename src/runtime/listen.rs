//! Listeners: accepting within the limits, and taking in what others have opened.

use std::boxed::Box;
use std::io;
use std::rc::Rc;

#[cfg(unix)]
use std::os::fd::OwnedFd;

use lodger_backend::{Addr, Interest, Ready, Sock, Token};

use super::Handle;
use super::core::{Core, Life};
use super::handler::{App, Serve, Service, raw};
use super::id::{ConnId, Gone, ListenerId, Reason, Rejected};
use super::slot::{Flags, State};
use crate::proto::stack::Stack;
use crate::sul::Slack;

/// Connections that one listener accepts before others are served.
const PER_ITEM: usize = 16;
/// EBADF, the same on every Unix: the descriptor was closed under us.
const BAD_DESCRIPTOR: i32 = 9;

/// The user's end of a listening slot.
#[derive(Debug)]
pub(crate) struct Listener {
    service: Service,
}

impl Handle {
    /// Listens on `addr` (`127.0.0.1:7681`, `[::1]:0`, `unix:/run/x.sock`) with an
    /// `http::Server`, a `raw::Server` or a [`Service`].
    ///
    /// # Errors
    ///
    /// What is wrong with the address, the server or the system, with the server given back.
    pub fn listen<S: Serve>(&self, addr: &str, server: S) -> Result<ListenerId, Rejected<S>> {
        let opened = self
            .check_alive()
            .and_then(|()| server.check())
            .and_then(|()| server.prepare(self))
            .and_then(|()| Addr::parse(addr))
            .and_then(|addr| self.0.net.listen(&addr));
        match opened {
            Ok(sock) => self.add_listener(sock, server),
            Err(error) => Err(Rejected { value: server, error }),
        }
    }

    /// Listens on a socket that is listening already: inherited, or made by a supervisor.
    ///
    /// # Errors
    ///
    /// The descriptor is not a listening stream socket, or the server is wrong; both are given
    /// back.
    #[cfg(unix)]
    pub fn listen_on<S: Serve>(
        &self,
        fd: OwnedFd,
        server: S,
    ) -> Result<ListenerId, Rejected<(Option<OwnedFd>, S)>> {
        let checked = self.check_alive().and_then(|()| server.check());
        if let Err(error) = checked.and_then(|()| server.prepare(self)) {
            return Err(Rejected { value: (Some(fd), server), error });
        }
        match self.0.net.adopt(fd) {
            Ok(sock) => self
                .add_listener(sock, server)
                .map_err(|r| Rejected { value: (None, r.value), error: r.error }),
            Err((fd, error)) => Err(Rejected { value: (Some(fd), server), error }),
        }
    }

    /// Takes over an open stream socket and serves it as if it had been accepted.
    ///
    /// # Errors
    ///
    /// The descriptor is not a stream socket, and is given back; or the service refused the
    /// connection, and it is closed.
    #[cfg(unix)]
    pub fn adopt(
        &self,
        fd: OwnedFd,
        service: &Service,
    ) -> Result<ConnId, Rejected<Option<OwnedFd>>> {
        self.adopt_as(fd, service, Flags::default())
    }

    /// As [`adopt`](Self::adopt), for a socket that the program uses for itself, such as the pipe
    /// that its signal handler writes to. It counts towards no limit, is not listed, and
    /// [`shutdown`](Self::shutdown) does not wait for it: it ends with the runtime.
    ///
    /// # Errors
    ///
    /// As [`adopt`](Self::adopt).
    #[cfg(unix)]
    pub fn adopt_aside(
        &self,
        fd: OwnedFd,
        service: &Service,
    ) -> Result<ConnId, Rejected<Option<OwnedFd>>> {
        self.adopt_as(fd, service, Flags::ASIDE)
    }

    #[cfg(unix)]
    fn adopt_as(
        &self,
        fd: OwnedFd,
        service: &Service,
        flags: Flags,
    ) -> Result<ConnId, Rejected<Option<OwnedFd>>> {
        if let Err(error) = self.check_alive() {
            return Err(Rejected { value: Some(fd), error });
        }
        let sock = match self.0.net.adopt(fd) {
            Ok(sock) => sock,
            Err((fd, error)) => return Err(Rejected { value: Some(fd), error }),
        };
        self.take_in(sock, service, None, flags)
            .ok_or_else(|| Rejected { value: None, error: io::ErrorKind::ConnectionRefused.into() })
    }

    /// Stops listening. Connections that it accepted live on.
    ///
    /// # Errors
    ///
    /// It had stopped.
    pub fn unlisten(&self, id: ListenerId) -> Result<(), Gone> {
        let mut core = self.core();
        let known = core.open(id.0).is_some_and(|slot| slot.flags.has(Flags::LISTENER));
        if !known {
            return Err(Gone);
        }
        core.abort(id.0.index, Reason::Done);
        self.ask(&mut core);
        Ok(())
    }

    /// Gives the address that a listener listens on: the real port where 0 was asked for.
    pub fn local_addr(&self, id: ListenerId) -> Option<Addr> {
        let sock = self.core().open(id.0)?.sock?;
        self.0.net.local_addr(sock).ok()
    }

    /// Gives the address of a connection's peer. One system call.
    pub fn peer_addr(&self, id: ConnId) -> Option<Addr> {
        let sock = self.sock_of(id)?;
        self.0.net.peer_addr(sock).ok()
    }

    /// Gives the address on this side of a connection. One system call.
    #[cfg(feature = "live")]
    pub(crate) fn conn_local_addr(&self, id: ConnId) -> Option<Addr> {
        let sock = self.sock_of(id)?;
        self.0.net.local_addr(sock).ok()
    }

    /// The socket of a connection; of a stream, its connection's.
    fn sock_of(&self, id: ConnId) -> Option<Sock> {
        let mut core = self.core();
        core.named(id)?;
        core.carrier(id.index)?.sock
    }

    /// What is opened after the end would never be closed.
    fn check_alive(&self) -> io::Result<()> {
        if self.is_dead() {
            return Err(io::Error::other("the runtime has ended"));
        }
        Ok(())
    }

    fn add_listener<S: Serve>(&self, sock: Sock, server: S) -> Result<ListenerId, Rejected<S>> {
        let mut core = self.core();
        let id = core.insert(Some(sock), Stack::default(), App::Gone);
        if let Some(slot) = core.slots.get_mut(id.index) {
            slot.flags.set(Flags::LISTENER);
        }
        if let Err(error) = self.watch(&mut core, id, sock) {
            drop(core);
            self.discard(id);
            return Err(Rejected { value: server, error });
        }
        drop(core);
        let listener = App::Listener(Box::new(Listener { service: server.into_service() }));
        let mut core = self.core();
        if let Some(slot) = core.open(id) {
            slot.app = listener;
        }
        core.kick(id.index);
        self.ask(&mut core);
        Ok(ListenerId(id))
    }

    /// Has the loop watch a fresh slot's socket.
    pub(super) fn watch(&self, core: &mut Core, id: ConnId, sock: Sock) -> io::Result<()> {
        let source = self.0.net.source(sock).ok_or(io::ErrorKind::NotConnected)?;
        let limits = Rc::clone(&core.limits);
        let Some(slot) = core.slots.get_mut(id.index) else { return Ok(()) };
        slot.armed = if core.trigger == lodger_backend::Trigger::Edge {
            Interest::BOTH
        } else {
            slot.want(&limits)
        };
        let armed = slot.armed;
        let token = Token::new(id.index, id.generation);
        self.0.driver.borrow_mut().watch(source, token, armed)
    }

    /// Takes a slot back that no handler has seen.
    fn discard(&self, id: ConnId) {
        let mut core = self.core();
        if let Some(slot) = core.slots.get_mut(id.index)
            && let Some(sock) = slot.sock.take()
        {
            self.0.net.close(sock);
        }
        core.free(id.index);
    }

    /// Puts an accepted or adopted socket into a slot. `None`: refused, and closed.
    fn take_in(
        &self,
        sock: Sock,
        service: &Service,
        listener: Option<ListenerId>,
        flags: Flags,
    ) -> Option<ConnId> {
        let accepted = raw::Accepted { h: self, sock, listener };
        let Some((stack, app, channel)) = service.begin(self, &accepted) else {
            self.0.net.close(sock);
            return None;
        };
        let mut core = self.core();
        let id = core.insert(Some(sock), stack, app);
        if let Some(slot) = core.slots.get_mut(id.index) {
            slot.flags = flags;
        }
        if let Some(channel) = channel {
            core.begin_channel(id.index, channel);
        }
        if !flags.has(Flags::ASIDE) {
            core.connections += 1;
            core.stats.accepted += 1;
        }
        if let Err(e) = self.watch(&mut core, id, sock) {
            core.abort(id.index, Reason::Io(e.kind()));
        }
        // A raw handler is told that it is open; the others have nothing to do yet.
        let raw = core
            .slots
            .get(id.index)
            .is_some_and(|s| matches!(s.stack, Stack::Raw(_)) && !s.flags.has(Flags::CHANNEL));
        if raw {
            core.kick(id.index);
        }
        core.arm_deadline(id.index);
        self.ask(&mut core);
        Some(id)
    }
}

/// Accepts what waits on a listener, within its share of the turn.
pub(crate) fn accept(h: &Handle, index: u32) {
    let Some((id, service)) = h.core().listener_at(index) else { return };
    if let Some(slot) = h.core().slots.get_mut(index) {
        slot.flags.clear(Flags::KICK);
    }
    for _ in 0..PER_ITEM {
        let sock = {
            let mut core = h.core();
            // It may have been removed by the callback of the connection before.
            let Some(sock) = core.open(id).and_then(|slot| slot.sock) else { return };
            if core.life != Life::On {
                core.queue(index);
                return;
            }
            if core.connections >= core.limits.io.connections {
                core.hold(index, true);
                return;
            }
            sock
        };
        match h.0.net.accept(sock) {
            Ok(fresh) => {
                let taken = h.guarded(|h| {
                    _ = h.take_in(fresh, &service, Some(ListenerId(id)), Flags::default());
                });
                if !taken {
                    // Its factory panicked before there was a connection.
                    h.0.net.close(fresh);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                not_ready(h, index);
                return;
            }
            // One connection that ended while it waited, or a signal: the next may be fine.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(e) => {
                out_of_order(h, index, &e);
                return;
            }
        }
    }
    h.core().queue(index);
}

fn not_ready(h: &Handle, index: u32) {
    let mut core = h.core();
    if let Some(slot) = core.slots.get_mut(index) {
        slot.ready = slot.ready & !Ready::READ;
    }
    h.sync(&mut core, index);
}

/// The system has no more of something, or the listener is broken. It is tried again by a timer,
/// so that nothing spins; a descriptor that is gone ends the listener.
fn out_of_order(h: &Handle, index: u32, e: &io::Error) {
    let mut core = h.core();
    let gone = e.raw_os_error() == Some(BAD_DESCRIPTOR)
        || matches!(e.kind(), io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput);
    if gone {
        core.abort(index, Reason::Io(e.kind()));
    } else {
        core.hold(index, false);
    }
}

impl Core {
    fn listener_at(&self, index: u32) -> Option<(ConnId, Service)> {
        let slot = self.slots.get(index).filter(|slot| slot.state == State::Open)?;
        match &slot.app {
            App::Listener(listener) => {
                Some((ConnId { index, generation: slot.generation }, listener.service.clone()))
            }
            _ => None,
        }
    }

    /// Pauses accepting: until a connection ends (`for_room`), or for a while.
    fn hold(&mut self, index: u32, for_room: bool) {
        self.stats.accept_pauses += 1;
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.flags.set(Flags::HELD);
        slot.ready |= Ready::READ;
        let (deadline, now) = (slot.deadline, self.now);
        if for_room {
            self.held.push(index);
        } else if let Some(deadline) = deadline {
            let at = now + self.limits.io.accept_pause;
            self.sched.arm(deadline, at, Slack::Precise, now);
        }
    }
}

#[cfg(all(unix, feature = "mio"))]
#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::string::String;
    use std::time::Duration;

    use super::*;
    use crate::Runtime;

    struct Hears(Rc<RefCell<String>>);

    impl raw::Handler for Hears {
        fn data(&mut self, _cx: &mut raw::Cx<'_>, bytes: &[u8]) {
            self.0.borrow_mut().push_str(std::str::from_utf8(bytes).unwrap());
        }

        fn closed(&mut self, _cx: &mut raw::Cx<'_>, why: Reason) {
            self.0.borrow_mut().push_str(&std::format!(" {why:?}"));
        }
    }

    #[test]
    fn what_is_adopted_aside_is_heard_and_counted_nowhere() {
        let rt = Runtime::standalone().unwrap();
        let heard = Rc::new(RefCell::new(String::new()));
        let ear = Rc::clone(&heard);
        let service = raw::Server::new(move |_| Some(Hears(Rc::clone(&ear)))).into_service();
        let (ours, mut theirs) = UnixStream::pair().unwrap();

        rt.adopt_aside(ours.into(), &service).unwrap();
        theirs.write_all(b"x").unwrap();
        for _ in 0..3 {
            rt.dispatch().unwrap();
        }

        let stats = rt.stats();
        assert_eq!(*heard.borrow(), "x");
        assert_eq!((stats.open, stats.accepted, rt.connections(9).len()), (0, 0, 0));

        rt.shutdown(Duration::from_secs(600));
        rt.dispatch().unwrap();
        assert!(!rt.is_on());
        assert_eq!(*heard.borrow(), "x Shutdown");
    }
}
