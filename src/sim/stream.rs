//! One end of a connection: what has arrived, what is under way, how it ended.

use alloc::collections::VecDeque;
use std::io;

use lodger_backend::{Addr, Micros, Ready};

/// What one direction holds before its sender has to wait, in bytes.
const ROOM: usize = 64 << 10;

/// How far a stream has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The connect was not answered yet.
    Connecting,
    /// Connected; each direction may have ended.
    Open,
    /// Refused or reset.
    Dead,
}

/// What a poll finds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readiness {
    pub(super) ready: Ready,
    /// Both directions are over, or there is an error: told whatever was asked for.
    pub(super) hangup: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) phase: Phase,
    /// The other end; it may be closed already.
    pub(super) peer: u64,
    pub(super) local: Addr,
    pub(super) remote: Addr,
    /// What has arrived and was not read.
    pub(super) input: VecDeque<u8>,
    /// What was sent here and has not arrived: in how many deliveries, and how many bytes.
    pub(super) coming: usize,
    pub(super) coming_bytes: usize,
    /// No delivery is earlier than the one before it.
    pub(super) last_arrival: Micros,
    /// How many bytes may wait here, those under way included.
    pub(super) room: usize,
    /// The peer has ended its direction, and that has arrived.
    pub(super) ended: bool,
    /// This end has ended its direction.
    pub(super) finished: bool,
    /// The error that the next call takes.
    pub(super) error: Option<io::ErrorKind>,
    /// A `send` found no room: report it when there is some.
    pub(super) blocked: bool,
}

impl Stream {
    pub(super) fn new(phase: Phase, peer: u64, local: Addr, remote: Addr) -> Self {
        Self {
            phase,
            peer,
            local,
            remote,
            input: VecDeque::new(),
            coming: 0,
            coming_bytes: 0,
            last_arrival: Micros::ZERO,
            room: ROOM,
            ended: false,
            finished: false,
            error: None,
            blocked: false,
        }
    }

    /// Gives how many bytes the other end may still send.
    pub(super) fn free(&self) -> usize {
        self.room.saturating_sub(self.input.len()).saturating_sub(self.coming_bytes)
    }

    /// Kills this end: the next call takes `error`, then there is nothing but the end.
    pub(super) fn fail(&mut self, error: io::ErrorKind) {
        if self.phase != Phase::Dead {
            self.phase = Phase::Dead;
            self.error = Some(error);
        }
    }

    /// Gives what is ready, as a kernel's poll does; `room` is the other end's.
    pub(super) fn readiness(&self, room: usize) -> Readiness {
        let mut ready = Ready::NONE;
        if self.phase == Phase::Connecting {
            return Readiness { ready, hangup: false };
        }
        let dead = self.phase == Phase::Dead;
        if self.ended || dead {
            ready |= Ready::READ | Ready::HUP;
        }
        if !self.input.is_empty() {
            ready |= Ready::READ;
        }
        if self.finished || room > 0 || dead {
            ready |= Ready::WRITE;
        }
        Readiness { ready, hangup: dead || (self.ended && self.finished) }
    }

    /// Takes what `recv` and `send` must say before they do anything.
    fn gate(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error.into()),
            None if self.phase == Phase::Connecting => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(()),
        }
    }

    /// Tells how many bytes can be read, up to `most`. `Ok(0)` is the end of the peer's stream.
    pub(super) fn readable(&mut self, most: usize) -> io::Result<usize> {
        if self.input.is_empty() {
            self.gate()?;
            let over = self.ended || self.phase == Phase::Dead || most == 0;
            return if over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        Ok(most.min(self.input.len()))
    }

    /// Reads exactly as many bytes as fit; there are that many.
    pub(super) fn read(&mut self, buf: &mut [u8]) {
        let n = buf.len();
        for (to, from) in buf.iter_mut().zip(self.input.drain(..n.min(self.input.len()))) {
            *to = from;
        }
    }

    /// Tells whether this end may send.
    pub(super) fn writable(&mut self) -> io::Result<()> {
        self.gate()?;
        if self.finished || self.phase == Phase::Dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
