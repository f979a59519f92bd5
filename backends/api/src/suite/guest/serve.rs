//! One connection's share of a turn.

use std::io::{self, IoSlice};
use std::prelude::v1::*;

use super::slots::Kind;
use super::{ACCEPTS, Flaw, Guest, Id, READ};
use crate::{Ready, Sock};

impl Guest {
    /// Serves one connection; tells whether there was one.
    pub(super) fn serve(&self, id: Id) -> bool {
        let id = if self.flaw == Flaw::IgnoresGeneration { self.trust(id) } else { id };
        let (sock, kind) = match self.slots.borrow_mut().get_mut(id) {
            Some(conn) if !conn.running || self.flaw == Flaw::Reenters => {
                // A flawed guest forgets that the connection is on the stack.
                conn.running = self.flaw != Flaw::Reenters;
                (conn.sock, conn.kind)
            }
            Some(_) | None => return false,
        };
        match kind {
            Kind::Listener => self.accept(id, sock),
            Kind::Stream => self.pump(id, sock),
        }
        self.finish(id);
        true
    }

    /// What a flawed guest does with a queued index: whoever has it now was reported.
    fn trust(&self, id: Id) -> Id {
        let mut slots = self.slots.borrow_mut();
        let current = slots.current(id);
        if let Some(conn) = slots.get_mut(current) {
            conn.ready |= Ready::READ;
        }
        current
    }

    fn accept(&self, id: Id, sock: Sock) {
        for _ in 0..ACCEPTS {
            match self.net.accept(sock) {
                // Refused by the driver: the peer sees it close.
                Ok(stream) => drop(self.admit(stream, Kind::Stream, None)),
                Err(_) => return self.used_up(id, Ready::READ),
            }
        }
    }

    /// Sends what is left, reads once, answers.
    fn pump(&self, id: Id, sock: Sock) {
        self.flush(id, sock);
        let readable = match self.slots.borrow_mut().get_mut(id) {
            Some(conn) if conn.ready.is_read() && conn.want().is_read() => {
                conn.visits += 1;
                true
            }
            Some(_) | None => false,
        };
        if readable {
            let mut buf = vec![0; READ];
            match self.net.recv(sock, &mut buf) {
                Ok(n) => self.hand_on(id, sock, buf.get(..n).unwrap_or_default()),
                Err(error) => self.failed(id, Ready::READ, &error),
            }
        }
    }

    /// Gives what was read to the handler, with nothing borrowed, or echoes it.
    fn hand_on(&self, id: Id, sock: Sock, bytes: &[u8]) {
        let mut slots = self.slots.borrow_mut();
        let Some(conn) = slots.get_mut(id) else { return };
        if bytes.is_empty() {
            conn.ended = true;
            return;
        }
        let Some(mut on_data) = conn.on_data.take() else {
            conn.push(bytes);
            drop(slots);
            return self.flush(id, sock);
        };
        drop(slots);
        on_data(&self.myself(), id, bytes);
        if let Some(conn) = self.slots.borrow_mut().get_mut(id) {
            conn.on_data = Some(on_data);
        }
    }

    /// Writes first; readiness is asked for only when the system takes no more.
    fn flush(&self, id: Id, sock: Sock) {
        loop {
            let mut slots = self.slots.borrow_mut();
            let Some(conn) = slots.get_mut(id) else { return };
            let rest = conn.out.get(conn.sent..).unwrap_or_default();
            if rest.is_empty() {
                return;
            }
            match self.net.send(sock, &[IoSlice::new(rest)]) {
                Ok(n) => conn.advance(n),
                Err(error) => {
                    drop(slots);
                    return self.failed(id, Ready::WRITE, &error);
                }
            }
        }
    }

    fn failed(&self, id: Id, direction: Ready, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.used_up(id, direction),
            io::ErrorKind::Interrupted => {}
            _ => {
                if let Some(conn) = self.slots.borrow_mut().get_mut(id) {
                    conn.dead = true;
                }
            }
        }
    }

    fn used_up(&self, id: Id, direction: Ready) {
        if let Some(conn) = self.slots.borrow_mut().get_mut(id) {
            conn.ready = conn.ready & !direction;
        }
    }

    fn finish(&self, id: Id) {
        let over = match self.slots.borrow_mut().get_mut(id) {
            Some(conn) => {
                conn.running = false;
                conn.is_over()
            }
            None => return,
        };
        if over { self.bury(id) } else { self.reconsider(id) }
    }

    /// Stops watching and closes. The handler is dropped last, with nothing borrowed.
    pub(super) fn bury(&self, id: Id) {
        let Some(conn) = self.slots.borrow_mut().remove(id) else { return };
        self.driver.borrow_mut().release(id, conn.sock, &self.net);
    }
}
