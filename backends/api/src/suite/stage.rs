//! What every law needs: a guest in its host, peers to talk to it, and a window to watch it by.

use core::cell::Cell;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::prelude::v1::*;
use std::rc::Rc;

use super::{Failure, Guest, Id, Loop, OnData, Stay, Subject, clock};

/// A guest in its host.
pub(super) struct Stage {
    // Dropped in this order: the guest leaves, and its handlers let go of the host, before the
    // host's loop is freed.
    stay: Option<Box<dyn Stay>>,
    pub(super) guest: Rc<Guest>,
    pub(super) host: Rc<dyn Loop>,
    patience: Duration,
}

impl Stage {
    /// Makes the subject's parts and attaches the guest.
    pub(super) fn set(subject: &Subject) -> Result<Self, Failure> {
        let mut stage = Self::prepare(subject)?;
        stage.attach()?;
        Ok(stage)
    }

    /// Makes the subject's parts.
    pub(super) fn prepare(subject: &Subject) -> Result<Self, Failure> {
        let guest = Guest::new((subject.driver)()?, (subject.net)()?, subject.flaw);
        let host = (subject.host)()?;
        Ok(Self { guest, host, stay: None, patience: subject.patience })
    }

    pub(super) fn attach(&mut self) -> Result<(), Failure> {
        self.stay = Some(self.host.attach(&self.guest)?);
        Ok(())
    }

    /// Takes the guest's stay, to detach it from somewhere else.
    pub(super) fn take_stay(&mut self) -> Option<Box<dyn Stay>> {
        self.stay.take()
    }

    /// Runs the host until `done`, which must come.
    pub(super) fn until(&self, what: &str, done: impl FnMut() -> bool) -> Result<(), Failure> {
        run_until(&*self.host, self.patience, what, done)
    }

    /// Runs the host for a while.
    pub(super) fn run_for(&self, time: Duration) {
        self.host.run(time, &mut || false);
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Runs the host until the guest has had no turn for 20 ms: what was under way is over.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        let end = clock::monotonic() + self.patience;
        while clock::monotonic() < end {
            if self.watch(Duration::from_millis(20)).wakeups == 0 {
                return Ok(());
            }
        }
        Err(Failure("the guest gets turns for nothing".into()))
    }

    /// Runs the host for `time` and says what that cost.
    pub(super) fn watch(&self, time: Duration) -> Window {
        let (before, cpu) = (self.guest.counts(), clock::thread_cpu());
        self.run_for(time);
        let cpu = clock::thread_cpu().saturating_sub(cpu);
        Window { wakeups: self.guest.counts().wakeups - before.wakeups, cpu }
    }

    /// Gives the guest one end of a connection and the other to the law. Without `on_data` the
    /// guest echoes.
    pub(super) fn peer(&self, on_data: Option<OnData>) -> io::Result<(Id, Peer)> {
        let (near, peer) = Peer::pair()?;
        Ok((self.guest.adopt(near, on_data)?, peer))
    }
}

/// What a while of the host has cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) wakeups: u32,
    pub(super) cpu: Duration,
}

/// Runs `host` until `done`, which must come within `patience`.
pub(super) fn run_until(
    host: &dyn Loop,
    patience: Duration,
    what: &str,
    mut done: impl FnMut() -> bool,
) -> Result<(), Failure> {
    if host.run(patience, &mut done) {
        return Ok(());
    }
    Err(Failure(format!("never happened: {what}")))
}

/// The far end of one of the guest's connections. Never blocks.
pub(super) struct Peer {
    stream: UnixStream,
    heard: Vec<u8>,
    ended: bool,
}

impl Peer {
    /// Makes a connection; the first end is for the guest.
    pub(super) fn pair() -> io::Result<(OwnedFd, Self)> {
        let (near, stream) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        Ok((near.into(), Self { stream, heard: Vec::new(), ended: false }))
    }

    /// Sends a little, which always fits.
    pub(super) fn say(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Sends until the system takes no more; gives how much that was.
    pub(super) fn fill(&self) -> usize {
        let block = [0x5a; 4096];
        core::iter::from_fn(|| (&self.stream).write(&block).ok()).sum()
    }

    /// Takes in what has come; gives all that has come so far.
    pub(super) fn hear(&mut self) -> &[u8] {
        let mut buf = [0; 4096];
        while !self.ended {
            match self.stream.read(&mut buf) {
                Ok(0) => self.ended = true,
                Ok(n) => self.heard.extend_from_slice(buf.get(..n).unwrap_or_default()),
                Err(_) => break,
            }
        }
        &self.heard
    }
}

/// Gives a value that a callback sets and a law reads.
pub(super) fn shared<T>(value: T) -> (Rc<Cell<T>>, Rc<Cell<T>>) {
    let cell = Rc::new(Cell::new(value));
    (Rc::clone(&cell), cell)
}
