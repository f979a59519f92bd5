//! HTTP/2 (RFC 9113) without input or output: both ends of a connection, with RFC 8441 (WebSocket
//! in a stream) and RFC 9218 (priorities).
//!
//! In: bytes in a [`Rx`], the passing of time, what applications send and how much they have read.
//! Out: events that borrow from the `Rx` and the [`Scratch`], bytes in a [`Tx`], a deadline.
//!
//! Heads are told in the terms of HTTP/1, so that what answers them need not know the difference.
//! Nothing is buffered for a stream, in neither direction: data is handed on as it arrives, and is
//! taken as far as both windows let it go. What is not of a stream is sent at once, so that it
//! stands before data that waits.
//!
//! Invariant: of each stream, what the peer may still send, what waits to be read and what was read
//! without being credited are together the window that was announced.
//!
//! [`Rx`]: crate::io::Rx
//! [`Tx`]: crate::io::Tx
//! [`Scratch`]: crate::io::Scratch

mod asking;
#[cfg(any(test, fuzzing))]
mod check;
mod connection;
mod control;
mod exchange;
mod frame;
mod guard;
mod head;
mod priority;
mod queue;
mod receive;
mod send;
mod settings;
mod streams;
#[cfg(test)]
mod tests;

pub use asking::Asking;
#[cfg(any(test, fuzzing))]
pub use check::fuzz_h2;
pub use connection::{Connection, Event, Role};
pub use exchange::Exchange;
pub use frame::PREFACE;
pub use send::{Answer, Ask};

/// Why a stream or a connection ends: RFC 9113, section 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
#[expect(missing_docs, reason = "each is the name of a code")]
pub enum Code {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    Connect = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

/// What the peer did wrong, and what ends because of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fault {
    /// The stream; 0 is the connection.
    stream: u32,
    code: Code,
    rule: &'static str,
}

impl Fault {
    /// One that ends the connection.
    const fn all(code: Code, rule: &'static str) -> Self {
        Self { stream: 0, code, rule }
    }

    /// One that ends a stream.
    const fn one(stream: u32, code: Code, rule: &'static str) -> Self {
        Self { stream, code, rule }
    }
}
