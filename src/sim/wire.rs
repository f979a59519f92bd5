//! The other end of a connection, in a test's hand.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::io;

use lodger_backend::Addr;

use super::state::State;
use super::stream::{Phase, Stream};

/// A scripted peer: writes bytes as they are, reads whatever arrived. Dropping it closes its end,
/// with a reset if something was left unread, as a kernel does.
#[derive(Debug)]
pub struct Wire {
    state: Rc<RefCell<State>>,
    id: u64,
}

impl Wire {
    pub(super) fn new(state: Rc<RefCell<State>>, id: u64) -> Self {
        if let Some(socket) = state.borrow_mut().sockets.get_mut(&id) {
            socket.scripted = true;
        }
        Self { state, id }
    }

    /// Sends all of `bytes`, however little room there is; they arrive in one piece unless the
    /// network is slow. After [`close`](Self::close) or a reset they vanish.
    pub fn write(&self, bytes: &[u8]) {
        let mut s = self.state.borrow_mut();
        let open = s.stream(self.id).is_ok_and(|w| w.phase == Phase::Open && !w.finished);
        if !open || bytes.is_empty() {
            return;
        }
        if s.fault(|f| f.resets, |i| &mut i.resets) {
            return s.reset(self.id);
        }
        s.transmit(self.id, bytes);
    }

    /// Takes everything that has arrived.
    pub fn read(&self) -> Vec<u8> {
        let mut s = self.state.borrow_mut();
        s.settle();
        let bytes = s.stream(self.id).map(|w| w.input.drain(..).collect()).unwrap_or_default();
        s.opened(self.id);
        bytes
    }

    /// Ends this end's direction (FIN). The other goes on: what arrives can still be read.
    pub fn close(&self) {
        // Fails if the connection has ended already, which is what is wanted.
        let _ = self.state.borrow_mut().finish(self.id);
    }

    /// Ends the connection at once (RST).
    pub fn reset(&self) {
        self.state.borrow_mut().reset(self.id);
    }

    /// Tells whether the peer has ended its direction and everything of it was read.
    pub fn is_eof(&self) -> bool {
        self.look(|w| w.ended && w.input.is_empty())
    }

    /// Tells whether the connection was reset, from either side.
    pub fn is_reset(&self) -> bool {
        self.look(|w| w.phase == Phase::Dead)
    }

    /// Sets how many bytes wait here, unread, before the peer's `send` says `WouldBlock`. At first
    /// 64 KiB. 0 lets nothing through; what is there stays.
    pub fn set_window(&self, bytes: usize) {
        let mut s = self.state.borrow_mut();
        if let Ok(stream) = s.stream(self.id) {
            stream.room = bytes;
        }
        s.opened(self.id);
    }

    /// Gives how many bytes written here the peer has not read yet; it grows while the peer pauses.
    pub fn unread(&self) -> usize {
        let mut s = self.state.borrow_mut();
        let peer = s.stream(self.id).map_or(0, |w| w.peer);
        s.stream(peer).map_or(0, |p| p.input.len() + p.coming_bytes)
    }

    /// Gives the address on this side.
    ///
    /// # Errors
    ///
    /// None that a test can cause.
    pub fn local_addr(&self) -> io::Result<Addr> {
        self.state.borrow_mut().stream(self.id).map(|w| w.local.clone())
    }

    fn look(&self, f: impl FnOnce(&Stream) -> bool) -> bool {
        let mut s = self.state.borrow_mut();
        s.settle();
        s.stream(self.id).is_ok_and(|w| f(w))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.borrow_mut().close(self.id);
    }
}
