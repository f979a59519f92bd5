//! WebSocket handlers: the same over every transport.

use crate::Error;
use crate::proto::stack::Stack;
use crate::proto::ws::{Kind, Message};
use crate::runtime::Handle;
use crate::runtime::id::{ConnId, Reason, SendError};

use super::common_cx;

/// A part of a message, where the route asked for chunks. Text is checked as it arrives, but a
/// code point may be cut between two parts.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Chunk<'a> {
    /// What the message is.
    pub kind: Kind,
    /// It begins a message.
    pub first: bool,
    /// It ends the message.
    pub last: bool,
    /// The payload; possibly empty.
    pub data: &'a [u8],
}

/// What hears one WebSocket. Every method runs in a turn, with nothing of the runtime borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait Handler: 'static {
    /// The handshake is complete: the first call.
    fn open(&mut self, cx: &mut Cx<'_>) {}

    /// A whole message arrived.
    fn message(&mut self, cx: &mut Cx<'_>, message: Message<'_>);

    /// A part of a message arrived, where the route's [`Config::chunks`] is on; `message` is not
    /// called then.
    ///
    /// [`Config::chunks`]: crate::ws::Config::chunks
    fn chunk(&mut self, cx: &mut Cx<'_>, chunk: Chunk<'_>) {}

    /// A Pong arrived, asked for or not.
    fn pong(&mut self, cx: &mut Cx<'_>, payload: &[u8]) {}

    /// The peer has said goodbye; it has been answered. `closed` follows.
    fn closing(&mut self, cx: &mut Cx<'_>, code: Option<u16>, reason: &str) {}

    /// There is room for `room` bytes of output, as `want_write` asked.
    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {}

    /// A timer of [`Cx::timer`] is due.
    fn timer(&mut self, cx: &mut Cx<'_>, tag: u64) {}

    /// It is over: exactly once, the last call. Sending says Gone.
    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {}
}

/// What a WebSocket handler acts through. Two words; it cannot outlive the call.
#[derive(Debug)]
pub struct Cx<'t> {
    h: &'t Handle,
    id: ConnId,
}

impl<'t> Cx<'t> {
    pub(crate) fn new(h: &'t Handle, id: ConnId) -> Self {
        Self { h, id }
    }

    fn conn(&self) -> ConnId {
        self.id
    }

    /// Gives how long the stages of this attempt took; `None` on a server's end.
    pub fn timing(&self) -> Option<crate::http::Timing> {
        self.h.timing(self.id)
    }

    /// Sends a message, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. A handler that only answers what it is told never meets `Full`: input
    /// stops while too much output waits.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.h.send(self.id, message)
    }

    /// Starts the closing handshake, RFC 6455, section 7.1.2. An invalid code is sent as 1011.
    pub fn close(&mut self, code: u16) {
        self.close_with(code, "");
    }

    /// As [`close`](Self::close), with a reason of at most 123 bytes; a longer one is left out.
    pub fn close_with(&mut self, code: u16, reason: &str) {
        let (h, id) = (self.h, self.id);
        if let Err(SendError::Misuse(_)) = h.close_with(id, code, reason) {
            // Only a wrong code or a long reason; what is left cannot be either.
            let _ = h.close(id, 1011);
        }
    }

    /// Sends a Ping of at most 125 bytes.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.h.send_with(self.id, is_ws, payload.len(), |stack, cx, tx| match stack {
            Stack::Ws(ws) => ws.ping(cx, tx, payload),
            _ => Err(NOT_WS),
        })
    }

    /// Sends a part of a message; `first` and `last` mark its ends.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_chunk(&mut self, chunk: Chunk<'_>) -> Result<(), SendError> {
        let Chunk { kind, first, last, data } = chunk;
        self.h.send_with(self.id, is_ws, data.len(), |stack, cx, tx| match stack {
            Stack::Ws(ws) => ws.send_chunk(cx, tx, kind, data, first, last),
            _ => Err(NOT_WS),
        })
    }
}
common_cx!(Cx);

fn is_ws(stack: &Stack) -> bool {
    matches!(stack, Stack::Ws(_))
}

const NOT_WS: Error = Error::misuse("the connection is not a WebSocket");

impl<'a> Chunk<'a> {
    /// Makes a part of a message.
    pub fn new(kind: Kind, first: bool, last: bool, data: &'a [u8]) -> Self {
        Self { kind, first, last, data }
    }
}

impl Handle {
    /// Sends a message on any WebSocket, all or nothing; also on one whose handler is running.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&self, id: ConnId, message: Message<'_>) -> Result<(), SendError> {
        self.send_with(id, is_ws, message.bytes().len(), |stack, cx, tx| match stack {
            Stack::Ws(ws) => ws.send(cx, tx, message),
            _ => Err(NOT_WS),
        })
    }

    /// Starts a WebSocket's closing handshake with `code`.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` for a code that may not be sent.
    pub fn close(&self, id: ConnId, code: u16) -> Result<(), SendError> {
        self.close_with(id, code, "")
    }

    /// As [`close`](Self::close), with a reason of at most 123 bytes.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn close_with(&self, id: ConnId, code: u16, reason: &str) -> Result<(), SendError> {
        let closed = self.send_with(id, is_ws, 0, |stack, cx, tx| match stack {
            Stack::Ws(ws) => ws.close(cx, tx, code, reason),
            _ => Err(NOT_WS),
        });
        match closed {
            // A queue that is full takes no Close either: the peer does not read.
            Err(SendError::Full { .. }) => {
                self.abort(id);
                Ok(())
            }
            done => {
                // The deadline of the handshake is to be armed.
                self.core().kick(id.index);
                done
            }
        }
    }
}
