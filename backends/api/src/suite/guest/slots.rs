//! The guest's connections by index and generation, and the queue of those with work.

use std::collections::VecDeque;
use std::prelude::v1::*;

use super::{HIGH, Id, OnData};
use crate::{Interest, Ready, Sock, Token};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Listener,
    Stream,
}

pub(super) struct Conn {
    pub(super) sock: Sock,
    pub(super) kind: Kind,
    pub(super) on_data: Option<OnData>,
    /// What was reported and not yet used up.
    pub(super) ready: Ready,
    /// What the driver is believed to watch for.
    pub(super) armed: Interest,
    /// What is to be sent, from `sent` on.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    /// Output has passed the high mark and not yet fallen to half of it.
    pub(super) full: bool,
    pub(super) paused: bool,
    /// On the stack.
    pub(super) running: bool,
    /// Closed from inside its own handler, or broken.
    pub(super) dead: bool,
    /// The peer has sent all it had: closed when the output has gone.
    pub(super) ended: bool,
    pub(super) queued: bool,
    pub(super) visits: u32,
}

impl Conn {
    /// What the connection would do if it could.
    pub(super) fn want(&self) -> Interest {
        let mut want = Interest::NONE;
        if !self.paused && !self.full && !self.ended {
            want |= Interest::READ;
        }
        if self.unsent() > 0 {
            want |= Interest::WRITE;
        }
        want
    }

    pub(super) fn has_work(&self) -> bool {
        let doable = Interest::from_bits(self.ready.bits()) & self.want();
        !doable.is_none() || self.is_over()
    }

    pub(super) fn is_over(&self) -> bool {
        self.dead || (self.ended && self.unsent() == 0)
    }

    pub(super) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Appends to the output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.full |= self.unsent() > HIGH;
    }

    /// Notes that `n` more bytes of the output are gone.
    pub(super) fn advance(&mut self, n: usize) {
        self.sent += n;
        self.full &= self.unsent() > HIGH / 2;
        if self.unsent() == 0 {
            self.out = Vec::new();
            self.sent = 0;
        }
    }
}

#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    queue: VecDeque<Id>,
}

struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

impl Slots {
    pub(super) fn insert(&mut self, sock: Sock, kind: Kind, on_data: Option<OnData>) -> Id {
        let conn = Conn {
            sock,
            kind,
            on_data,
            ready: Ready::NONE,
            armed: Interest::NONE,
            out: Vec::new(),
            sent: 0,
            full: false,
            paused: false,
            running: false,
            dead: false,
            ended: false,
            queued: false,
            visits: 0,
        };
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.conn = Some(conn);
            return Token::new(index, slot.generation);
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot { generation: 1, conn: Some(conn) });
        Token::new(index, 1)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(id.index() as usize)?;
        if slot.generation == id.generation() { slot.conn.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Conn> {
        let slot = self.slots.get_mut(id.index() as usize)?;
        if slot.generation != id.generation() {
            return None;
        }
        let conn = slot.conn.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index());
        Some(conn)
    }

    /// Gives the token that an index has now, whatever generation was asked for.
    pub(super) fn current(&self, id: Id) -> Id {
        let slot = self.slots.get(id.index() as usize);
        Token::new(id.index(), slot.map_or(0, |s| s.generation))
    }

    /// Queues a connection that has work, once, unless it is on the stack.
    pub(super) fn queue(&mut self, id: Id) {
        if let Some(conn) = self.get_mut(id)
            && !conn.queued
            && !conn.running
            && conn.has_work()
        {
            conn.queued = true;
            self.queue.push_back(id);
        }
    }

    pub(super) fn next(&mut self) -> Option<Id> {
        let id = self.queue.pop_front()?;
        if let Some(conn) = self.get_mut(id) {
            conn.queued = false;
        }
        Some(id)
    }

    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Empties the queue.
    pub(super) fn forget_work(&mut self) {
        while self.next().is_some() {}
    }

    /// Tells whether a paused connection has input waiting.
    pub(super) fn any_paused_input(&self) -> bool {
        let mut conns = self.slots.iter().filter_map(|s| s.conn.as_ref());
        conns.any(|c| c.paused && c.ready.is_read())
    }

    /// Empties the slots.
    pub(super) fn drain(&mut self) -> Vec<(Id, Sock)> {
        let ids = (0_u32..).zip(&self.slots).map(|(i, s)| Token::new(i, s.generation));
        let ids: Vec<Id> = ids.collect();
        ids.into_iter().filter_map(|id| self.remove(id).map(|conn| (id, conn.sock))).collect()
    }
}
