//! HTTP/1.1 (RFC 9110, RFC 9112) without input or output: both directions of the wire format, and
//! the server's side of a connection.
//!
//! In: bytes in a [`Rx`], the passing of time, an application's answers. Out: events that borrow
//! from the `Rx` and the [`Scratch`], bytes in a [`Tx`], a deadline.
//!
//! Strict where lenience lets two parties read one stream differently: line ends are CR LF, a
//! message has one framing, nothing is repaired. A head stays in the `Rx` until it is complete,
//! so that its fields are slices of the input; a body is handed on as it arrives.
//!
//! [`Rx`]: crate::io::Rx
//! [`Tx`]: crate::io::Tx
//! [`Scratch`]: crate::io::Scratch

mod body;
mod chars;
#[cfg(any(test, fuzzing))]
mod check;
mod chunk;
mod client;
mod connection;
mod cookie;
mod date;
mod fields;
mod head;
mod server;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use body::Body;
#[cfg(feature = "h2")]
pub(crate) use chars::{find_control, is_blank, is_token, target_run};
#[cfg(any(test, fuzzing))]
pub use check::fuzz_h1;
pub use client::{RequestHead, ResponseEvent, ResponseHead, ResponseReader, put_request};
pub use connection::Client;
pub use cookie::{Cookie, SameSite, cookies};
pub use date::{RetryAfter, parse_http_date};
pub use fields::{Fields, Known};
pub use head::Request;
#[cfg(feature = "h2")]
pub(crate) use head::{is_host, is_method};
pub use server::{Event, Server};
pub use write::{
    BodyWriter, Length, Response, http_date, put_chunk, put_field, put_trailer, reason,
};

/// The protocol's version, as the peer stated it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Version {
    /// HTTP/1.0: no chunks, no interim responses, and here no second request.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2, whose messages mean the same: RFC 9113, section 8.
    Http2,
}

/// What is wrong with the peer's bytes: the status that says so (0 is to hang up without a word),
/// and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    status: u16,
    rule: &'static str,
}

/// A message that breaks `rule`: 400.
const fn bad(rule: &'static str) -> Fault {
    Fault { status: 400, rule }
}
