//! MQTT 3.1.1 and 5.0, both roles: OASIS MQTT Version 5.0 and Version 3.1.1.
//!
//! [`Mqtt`] is a connection: packets in, [`Event`]s out, answers in the [`Tx`](crate::io::Tx).
//! What outlives it (messages under way, identifiers, the queue) is in a [`Session`], which any
//! number of connections in turn may serve. Neither does input or output.
//!
//! A server's first words, from bytes to bytes:
//!
//! ```
//! use lodger::io::{Out, Pool, Rx, Scratch, Tx};
//! use lodger::proto::Cx;
//! use lodger::proto::mqtt::{Accept, Event, Mqtt};
//! use lodger::{Limits, Micros};
//!
//! let mut cx = Cx { now: Micros::ZERO, limits: &Limits::default(), random: &mut || 4 };
//! let mut mqtt = Mqtt::server(cx.now);
//! let (mut out, mut pool) = (Out::new(), Pool::new(1 << 20));
//! let mut scratch = Scratch::new();
//!
//! let mut input = *b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a";
//! let mut rx = Rx::new(&mut input, false);
//! let mut tx = Tx::new(&mut out, &mut pool);
//! let event = mqtt.poll(&mut cx, &mut rx, &mut scratch, &mut tx)?;
//! assert!(matches!(event, Some(Event::Connect(connect)) if connect.client_id == "a"));
//! mqtt.accept(&mut cx, &mut tx, &Accept::default())?;
//!
//! assert_eq!(out.bytes(), b"\x20\x02\0\0");
//! # Ok::<(), lodger::Error>(())
//! ```

use alloc::vec::Vec;

mod code;
mod connection;
mod decode;
mod encode;
mod ids;
mod message;
mod packet;
mod property;
mod session;
mod topic;
mod wire;

#[cfg(any(test, fuzzing))]
mod fuzz;
#[cfg(test)]
mod tests;

pub use code::Code;
pub use connection::{Accept, Mqtt, Peer, Role};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_mqtt;
pub use message::Message;
pub use packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Event, Options, Publish, RetainHandling,
    SubAck, Subscribe, Unsubscribe, Will,
};
pub use property::{Properties, Property, PropertyList};
pub use session::{Acked, Item, Next, Offer, Session};
pub use topic::{split_shared, topic_matches};

/// Appends a PUBLISH for a connection of this version, to be sent on any number of them with
/// [`Mqtt::put_shared`]. `false`, and nothing appended, if it is longer than any packet may be.
pub fn put_publish(out: &mut Vec<u8>, version: Version, publish: &Publish<'_>) -> bool {
    encode::publish(out, version, publish, &[])
}

/// Checks that a topic can be published to, within limits.
///
/// # Errors
///
/// Misuse: it is empty, too long or too deep, or has a wildcard or U+0000.
pub fn check_topic(topic: &str, limits: &crate::MqttLimits) -> Result<(), crate::Error> {
    let checked = topic::check_name(topic, limits).map_err(|bad| bad.rule);
    let checked = checked.and_then(|()| wire::text(topic.as_bytes()).map_err(|bad| bad.rule));
    checked.map(drop).map_err(crate::Error::misuse)
}

/// Checks that a filter can be subscribed to, within limits.
///
/// # Errors
///
/// Misuse: it is empty, too long or too deep, or has U+0000 or a wildcard that is no whole level.
pub fn check_filter(filter: &str, limits: &crate::MqttLimits) -> Result<(), crate::Error> {
    let checked = topic::check_filter(filter, limits).map_err(|bad| bad.rule);
    let checked = checked.and_then(|()| wire::text(filter.as_bytes()).map_err(|bad| bad.rule));
    checked.map(drop).map_err(crate::Error::misuse)
}

/// A version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Version {
    /// MQTT 3.1.1, whose level is 4.
    V4,
    /// MQTT 5.0.
    #[default]
    V5,
}

/// The quality of a delivery: section 4.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Qos {
    /// It may be lost.
    #[default]
    AtMostOnce = 0,
    /// It is sent until it is acknowledged, and may arrive twice.
    AtLeastOnce = 1,
    /// It arrives once.
    ExactlyOnce = 2,
}

impl Qos {
    /// Reads its number; `None` for one that is none.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}
