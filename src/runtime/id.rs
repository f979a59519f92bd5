//! What names connections, and how they end.

use core::fmt;
use std::io;

use super::names::NameError;
use crate::Error;

/// Names a connection. `Copy`; says `Gone` once the connection has ended, and never names another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// Names no connection: always Gone.
    pub(crate) const NONE: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// Gives it as one number, for what cannot hold a type of ours: C, a table of a host's. 0 names
    /// no connection.
    pub const fn bits(self) -> u64 {
        let place = self.index.wrapping_add(1) as u64;
        if place == 0 { 0 } else { (self.generation as u64) << 32 | place }
    }

    /// Takes what [`bits`](Self::bits) gave. Any other number names nothing, or what it happens to
    /// name.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
    pub const fn from_bits(bits: u64) -> Self {
        match (bits as u32).checked_sub(1) {
            Some(index) => Self { index, generation: (bits >> 32) as u32 },
            None => Self::NONE,
        }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names a listener, as [`ConnId`] names a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub(crate) ConnId);

impl ListenerId {
    /// Gives it as one number, as [`ConnId::bits`].
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// Takes what [`bits`](Self::bits) gave.
    pub const fn from_bits(bits: u64) -> Self {
        Self(ConnId::from_bits(bits))
    }
}

/// Names a timer, whether it is armed or not, until it is cancelled or has fired for the last time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(pub(crate) crate::sul::Handle);

impl TimerId {
    /// Gives it as one number, which is not 0.
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// Takes what [`bits`](Self::bits) gave. Any other number names nothing, or what it happens to
    /// name.
    pub const fn from_bits(bits: u64) -> Self {
        Self(crate::sul::Handle::from_bits(bits))
    }
}

impl fmt::Display for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index(), self.0.generation())
    }
}

/// The id is stale: the connection or timer has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has ended")
    }
}

impl core::error::Error for Gone {}

/// Why something was not taken for sending. Nothing of it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The connection has ended, or has begun to.
    Gone,
    /// Too much waits already; `room` bytes could be taken. Ask for `writable` and send it then.
    Full {
        /// How many bytes the queue would take; 0 when it is over its high mark.
        room: usize,
    },
    /// The call was against its contract: see [`Error::rule`].
    Misuse(Error),
}

impl From<Error> for SendError {
    fn from(e: Error) -> Self {
        Self::Misuse(e)
    }
}

impl From<Gone> for SendError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => Gone.fmt(f),
            Self::Full { room } => write!(f, "the output queue is full: room for {room} bytes"),
            Self::Misuse(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}

/// Why a connection or an exchange ended; told exactly once, by `closed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Reason {
    /// In good order: the exchange is complete, or the peer or we closed politely.
    #[default]
    Done,
    /// The WebSocket closing handshake is complete; 1005 if the peer gave no code.
    Closed {
        /// The peer's code, RFC 6455, section 7.4.
        code: u16,
    },
    /// The peer ended its stream in the middle of something.
    Eof,
    /// The peer broke its protocol, or was too slow.
    Peer(Error),
    /// The system reported an error on the socket.
    Io(io::ErrorKind),
    /// Queued output made no progress for too long.
    WriteStall,
    /// A limit for all connections together was reached.
    Overload,
    /// `abort` was called.
    Aborted,
    /// A handler panicked.
    Panic,
    /// The runtime ended.
    Shutdown,
    /// Its name has no address.
    Name(NameError),
    /// No connection was made in time.
    ConnectTimeout,
    /// The server answered a WebSocket's request with another status.
    Refused {
        /// The status.
        status: u16,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("in good order"),
            Self::Closed { code } => write!(f, "closed with {code}"),
            Self::Eof => f.write_str("the peer ended its stream"),
            Self::Peer(e) => e.fmt(f),
            Self::Io(kind) => kind.fmt(f),
            Self::Name(e) => e.fmt(f),
            Self::WriteStall => f.write_str("the peer takes nothing"),
            Self::Overload => f.write_str("a limit of the runtime was reached"),
            Self::Aborted => f.write_str("aborted"),
            Self::Panic => f.write_str("a handler panicked"),
            Self::Shutdown => f.write_str("the runtime ended"),
            Self::ConnectTimeout => f.write_str("no answer in time"),
            Self::Refused { status } => write!(f, "refused with status {status}"),
        }
    }
}

/// What was refused, given back with the reason.
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Rejected<T> {
    /// As it was given.
    pub value: T,
    /// Why it was refused.
    pub error: io::Error,
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> core::error::Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<Rejected<T>> for io::Error {
    fn from(r: Rejected<T>) -> Self {
        r.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_as_a_number() {
        for id in [ConnId { index: 0, generation: 0 }, ConnId { index: 7, generation: u32::MAX }] {
            assert_ne!(id.bits(), 0);
            assert_eq!(ConnId::from_bits(id.bits()), id);
        }
        assert_eq!((ConnId::NONE.bits(), ConnId::from_bits(0)), (0, ConnId::NONE));
    }
}
