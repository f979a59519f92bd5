//! WebSocket: RFC 6455, both roles.
//!
//! [`Ws`] is a connection after its handshake: frames in, [`Event`]s out, answers in the
//! [`Tx`](crate::io::Tx). [`handshake`] checks the request that asks for one, and the answer to
//! it. Neither does input or output; `Upgrade` and `Connection` fields are HTTP/1's.
//!
//! An echo, from bytes to bytes:
//!
//! ```
//! use std::rc::Rc;
//!
//! use lodger::io::{Out, Pool, Rx, Scratch, Tx};
//! use lodger::proto::Cx;
//! use lodger::proto::ws::{Config, Event, Message, Role, Ws};
//! use lodger::{Limits, Micros};
//!
//! let mut cx = Cx { now: Micros::ZERO, limits: &Limits::default(), random: &mut || 4 };
//! let mut ws = Ws::new(Role::Server, Rc::new(Config::default()), cx.now);
//! let (mut out, mut pool) = (Out::new(), Pool::new(1 << 20));
//! let mut scratch = Scratch::new();
//!
//! let mut input = *b"\x81\x82\x01\x02\x03\x04ik";
//! let mut rx = Rx::new(&mut input, false);
//! let mut tx = Tx::new(&mut out, &mut pool);
//! while let Some(event) = ws.poll(&mut cx, &mut rx, &mut scratch, &mut tx)? {
//!     if let Event::Text(text) = event {
//!         ws.send(&mut cx, &mut tx, Message::Text(text))?;
//!     }
//! }
//!
//! assert_eq!(out.bytes(), b"\x81\x02hi");
//! # Ok::<(), lodger::Error>(())
//! ```

mod base64;
pub mod close;
mod codec;
mod config;
#[cfg(feature = "deflate")]
mod deflate;
mod extensions;
mod frame;
pub mod handshake;
mod mask;
mod sha1;
mod utf8;

#[cfg(any(test, fuzzing))]
mod fuzz;
#[cfg(all(any(test, fuzzing), feature = "deflate"))]
mod fuzz_deflate;
#[cfg(test)]
mod tests;

pub use codec::Ws;
pub use config::{Config, OriginRule};
#[cfg(feature = "deflate")]
pub use deflate::Deflate;
pub use extensions::Extensions;
pub use frame::put_message;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_ws;
#[cfg(all(any(test, fuzzing), feature = "deflate"))]
pub use fuzz_deflate::fuzz_deflate;

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Role {
    /// The one that was connected to. Its frames are not masked.
    Server,
    /// The one that connected. Its frames are masked.
    Client,
}

/// What a data message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// A whole message, lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Message<'a> {
    /// A text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Gives the payload.
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Tells what it is.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }
}

/// What the peer sent, unmasked. Borrows from the input, or from the scratch what was compressed.
#[derive(PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a mut [u8]),
    /// A part of a message that is not whole in the input. Text is UTF-8 up to here, though a
    /// code point may be cut between two parts; at `last` all of it is.
    Data {
        /// What the message is.
        kind: Kind,
        /// The message begins with this part.
        first: bool,
        /// The message ends with this part, which may be empty.
        last: bool,
        /// The part.
        data: &'a mut [u8],
    },
    /// A Ping. Its Pong is in the output already, or follows when the peer reads again.
    Ping(&'a mut [u8]),
    /// A Pong, asked for or not.
    Pong(&'a mut [u8]),
    /// The peer's Close. Ours is in the output, or was sent before. Nothing comes after it.
    Close {
        /// The peer's code, if it gave one.
        code: Option<u16>,
        /// The peer's reason; empty if it gave none.
        reason: &'a str,
    },
}
