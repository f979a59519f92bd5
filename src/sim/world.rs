//! The world in a test's hand: its clock, its ends, its trace.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use lodger_backend::{Addr, Driver, Micros, Net, Sock, SystemText, Trigger};

use super::datagram::Datagrams;
use super::driver::SimDriver;
use super::faults::{Faults, Injected};
use super::net::SimNet;
use super::state::{Kind, State};
use super::stream::{Phase, Stream};
use super::wire::Wire;

/// A simulated world. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World(Rc<RefCell<State>>);

impl World {
    /// Makes a world in which nothing goes wrong. Its clock stands at zero.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Faults::none())
    }

    /// Makes a world with these faults.
    pub fn with(seed: u64, faults: Faults) -> Self {
        Self(Rc::new(RefCell::new(State::new(seed, faults))))
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Makes an edge-triggered driver, for one runtime.
    pub fn driver(&self) -> Box<dyn Driver> {
        self.driver_with(Trigger::Edge)
    }

    /// Makes a driver that reports in this way, for one runtime.
    pub fn driver_with(&self, trigger: Trigger) -> Box<dyn Driver> {
        Box::new(SimDriver::new(Rc::clone(&self.0), trigger))
    }

    /// Gives the world's sockets, which any number of runtimes may share.
    pub fn net(&self) -> Rc<dyn Net> {
        Rc::new(SimNet(Rc::clone(&self.0)))
    }

    /// Reads the clock.
    pub fn now(&self) -> Micros {
        self.0.borrow().now
    }

    /// Moves the clock. What falls due on the way arrives; nobody runs.
    pub fn advance(&self, d: Duration) {
        let mut s = self.0.borrow_mut();
        let at = s.now + d;
        s.advance_to(at);
    }

    /// Moves the clock to `at`; does nothing if that has passed.
    pub fn advance_to(&self, at: Micros) {
        self.0.borrow_mut().advance_to(at);
    }

    /// Gives when something happens next without further doing: now, if a driver has something to
    /// report, was asked for a turn or has met its deadline; else the next delivery or deadline.
    /// `None` if nothing will. So a test that moves to it and then dispatches misses nothing.
    pub fn next_event(&self) -> Option<Micros> {
        let mut s = self.0.borrow_mut();
        s.settle();
        let queues = s.queues.iter().flatten();
        let busy = queues.clone().any(|q| q.is_called() || q.is_ready(|sock| s.readiness(sock)));
        if busy {
            return Some(s.now);
        }
        let deadlines = queues.filter_map(|queue| queue.deadline);
        deadlines.chain(s.next_delivery()).min().map(|at| at.max(s.now))
    }

    /// Connects a scripted peer to a listener. It may write at once; its peer is in the backlog.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if nobody listens there, or a fault says so.
    pub fn connect(&self, addr: &Addr) -> io::Result<Wire> {
        let id = {
            let mut s = self.0.borrow_mut();
            let id = s.caller(addr);
            s.answer(id);
            id
        };
        let wire = Wire::new(Rc::clone(&self.0), id);
        if wire.is_reset() { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(wire) }
    }

    /// Has nobody at this address ever answer a connect: not even that nobody is there.
    pub fn swallow(&self, at: SocketAddr) {
        self.0.borrow_mut().swallowed.push(at.into());
    }

    /// Opens a scripted datagram socket, such as a name server's.
    pub fn datagrams(&self, at: SocketAddr) -> Datagrams {
        Datagrams::new(Rc::clone(&self.0), at)
    }

    /// Sets what the system says of names; at first it says nothing.
    pub fn set_system_text(&self, which: SystemText, text: &str) {
        let mut s = self.0.borrow_mut();
        let number = s.number();
        s.texts.retain(|(w, ..)| *w != which);
        s.texts.push((which, number, text.as_bytes().to_vec()));
    }

    /// Makes a connection without a listener: an open socket of the net, and its scripted peer.
    pub fn pair(&self) -> (Sock, Wire) {
        let (ours, theirs) = {
            let mut s = self.0.borrow_mut();
            let unnamed = || Addr::Unix(std::path::PathBuf::new());
            let new = |peer| Kind::Stream(Stream::new(Phase::Open, peer, unnamed(), unnamed()));
            let ours = s.insert(new(0));
            let theirs = s.insert(new(ours));
            s.join(ours, theirs);
            (ours, theirs)
        };
        (Sock::from_bits(ours), Wire::new(Rc::clone(&self.0), theirs))
    }

    /// Takes an open socket, such as one that was accepted here, into a test's hand.
    pub fn wire(&self, sock: Sock) -> Wire {
        Wire::new(Rc::clone(&self.0), sock.bits())
    }

    /// Makes the next `count` accepts that find a connection fail with this error number, such as
    /// 24 for EMFILE.
    pub fn fail_accepts(&self, count: usize, errno: i32) {
        self.0.borrow_mut().accept_failures.extend(core::iter::repeat_n(errno, count));
    }

    /// Gives how many sockets are open, those of wires and of backlogs not counted.
    pub fn open(&self) -> usize {
        let s = self.0.borrow();
        let open = s.sockets.values().filter(|socket| !socket.scripted).count();
        let waiting = s.sockets.values().map(|socket| match &socket.kind {
            Kind::Listener(listener) => listener.backlog.len(),
            Kind::Stream(_) | Kind::Datagram(_) => 0,
        });
        open.saturating_sub(waiting.sum())
    }

    /// Makes a file with this content, changed now; its directories come with it. Who has the one
    /// of before open keeps that.
    pub fn put_file(&self, path: &str, content: impl AsRef<[u8]>) {
        let mut s = self.0.borrow_mut();
        let modified = s.now;
        s.files.put(path, content.as_ref(), modified);
    }

    /// Cuts a file to its first `len` bytes in place, for those who have it open too.
    pub fn cut_file(&self, path: &str, len: usize) {
        self.0.borrow_mut().files.cut(path, len);
    }

    /// Removes a file. Who has it open keeps it.
    pub fn remove_file(&self, path: &str) {
        self.0.borrow_mut().files.remove(path);
    }

    /// Gives how many files and directories are open.
    pub fn open_files(&self) -> usize {
        self.0.borrow().files.open()
    }

    /// Sets whether the system sends files to sockets itself; else guests have to read them.
    pub fn sends_files(&self, on: bool) {
        self.0.borrow_mut().files.sends = on;
    }

    /// Gives how many sockets are watched, by all drivers together.
    pub fn watched(&self) -> usize {
        self.0.borrow().queues.iter().flatten().map(|queue| queue.watches.len()).sum()
    }

    /// Gives a number for everything that has happened: calls, bytes, arrivals, reports, and when.
    /// The same seed and the same calls give the same number.
    pub fn trace(&self) -> u64 {
        self.0.borrow().trace.hash()
    }

    /// Begins to keep what happens as text.
    pub fn record(&self) {
        self.0.borrow_mut().trace.record();
    }

    /// Takes the text kept since [`record`](Self::record) or the last call: a line for each thing
    /// that happened, with its time, its socket and a number.
    pub fn take_lines(&self) -> Vec<String> {
        self.0.borrow_mut().trace.take_lines()
    }

    /// Gives what guests did against the contract of `lodger_backend`, in order. A test that has
    /// ended well finds nothing here.
    pub fn misuse(&self) -> Vec<&'static str> {
        self.0.borrow().misuse.clone()
    }

    /// Gives how many of each fault were injected.
    pub fn injected(&self) -> Injected {
        self.0.borrow().injected
    }
}
