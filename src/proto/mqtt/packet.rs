//! Control packets as values: the same to read and to write.

use super::property::Properties;
use super::wire::Reader;
use super::{Code, Qos, Version};

/// A request for a connection: section 3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Connect<'a> {
    /// The version that the client speaks.
    pub version: Version,
    /// Whether a session that is there is to be forgotten ("clean session" in MQTT 3.1.1).
    pub clean: bool,
    /// Seconds between two packets of the client at most; 0 is no bound.
    pub keep_alive: u16,
    /// What names the session; empty if the server is to choose.
    pub client_id: &'a str,
    /// The message to publish when the client is lost.
    pub will: Option<Will<'a>>,
    /// The name to log in with.
    pub username: Option<&'a str>,
    /// The password, or other proof.
    pub password: Option<&'a [u8]>,
    /// Properties of the connection.
    pub properties: Properties<'a>,
}

/// What is published when a client is lost: section 3.1.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: &'a str,
    /// What is published.
    pub payload: &'a [u8],
    /// The quality of its delivery.
    pub qos: Qos,
    /// Whether it is kept.
    pub retain: bool,
    /// Its properties, the delay among them.
    pub properties: Properties<'a>,
}

/// The answer to a CONNECT: section 3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct ConnAck<'a> {
    /// Whether the server had a session.
    pub session_present: bool,
    /// Whether the connection is accepted.
    pub code: Code,
    /// What the server allows.
    pub properties: Properties<'a>,
}

/// A message: section 3.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Publish<'a> {
    /// It may have been sent before.
    pub dup: bool,
    /// The quality of its delivery.
    pub qos: Qos,
    /// It is to be kept; from a server, it was.
    pub retain: bool,
    /// Its topic, with an alias resolved.
    pub topic: &'a str,
    /// Its identifier; 0 with QoS 0.
    pub id: u16,
    /// Its properties.
    pub properties: Properties<'a>,
    /// The payload, or its first part.
    pub payload: &'a [u8],
    /// Bytes of the payload still to come, as [`Event::Payload`]; 0 if it is whole.
    pub rest: u32,
}

/// Which of the four acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum AckKind {
    /// A message with QoS 1 was taken: section 3.4.
    PubAck,
    /// A message with QoS 2 was received: section 3.5.
    PubRec,
    /// It will not be sent again: section 3.6.
    PubRel,
    /// That is known: section 3.7.
    PubComp,
}

/// One step of an acknowledgement: sections 3.4 to 3.7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Ack<'a> {
    /// Which step.
    pub kind: AckKind,
    /// The identifier of the message.
    pub id: u16,
    /// What became of it.
    pub code: Code,
    /// A reason for people, and what users add.
    pub properties: Properties<'a>,
}

/// How a subscription is served: section 3.8.3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Options {
    /// The highest QoS in which it is told messages.
    pub qos: Qos,
    /// It is not told what its own client publishes.
    pub no_local: bool,
    /// Messages keep their retain flag.
    pub retain_as_published: bool,
    /// Which kept messages it is told at once.
    pub retain_handling: RetainHandling,
}

/// Which kept messages a subscription is told at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum RetainHandling {
    /// Those that match.
    #[default]
    Send,
    /// Those that match, if the subscription is new.
    SendIfNew,
    /// None.
    DoNotSend,
}

impl Options {
    /// Makes the options of a subscription as MQTT 3.1.1 has them.
    pub const fn new(qos: Qos) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    /// Gives the byte on the wire.
    pub const fn bits(self) -> u8 {
        let handling = match self.retain_handling {
            RetainHandling::Send => 0,
            RetainHandling::SendIfNew => 1 << 4,
            RetainHandling::DoNotSend => 2 << 4,
        };
        self.qos as u8
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | handling
    }

    /// Reads the byte on the wire; `None` if it is not one.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        let Some(qos) = Qos::from_bits(bits & 3) else { return None };
        let retain_handling = match bits >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        };
        Some(Self {
            qos,
            no_local: bits & 4 != 0,
            retain_as_published: bits & 8 != 0,
            retain_handling,
        })
    }
}

/// A request for subscriptions: section 3.8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Subscribe<'a> {
    /// The identifier that its SUBACK repeats.
    pub id: u16,
    /// Its properties.
    pub properties: Properties<'a>,
    pub(super) filters: &'a [u8],
}

impl<'a> Subscribe<'a> {
    /// Gives the filters, which are valid, in order; at least one.
    pub fn filters(&self) -> impl Iterator<Item = (&'a str, Options)> + use<'a> {
        let mut reader = Reader::new(self.filters);
        core::iter::from_fn(move || {
            let filter = reader.string().ok()?;
            Some((filter, Options::from_bits(reader.u8().ok()?)?))
        })
    }
}

/// The end of subscriptions: section 3.10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Unsubscribe<'a> {
    /// The identifier that its UNSUBACK repeats.
    pub id: u16,
    /// Its properties.
    pub properties: Properties<'a>,
    pub(super) filters: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// Gives the filters, which are valid, in order; at least one.
    pub fn filters(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.filters);
        core::iter::from_fn(move || reader.string().ok())
    }
}

/// The answer to a SUBSCRIBE or UNSUBSCRIBE: sections 3.9 and 3.11.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct SubAck<'a> {
    /// The identifier of what it answers.
    pub id: u16,
    /// One code a filter, in order; none in an UNSUBACK of MQTT 3.1.1.
    pub codes: &'a [u8],
    /// A reason for people, and what users add.
    pub properties: Properties<'a>,
}

/// A goodbye: section 3.14.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Disconnect<'a> {
    /// Why.
    pub code: Code,
    /// Its properties.
    pub properties: Properties<'a>,
}

/// A step of an enhanced authentication: section 3.15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Auth<'a> {
    /// Whether it goes on, is done, or begins again.
    pub code: Code,
    /// The method and its data.
    pub properties: Properties<'a>,
}

/// What the peer sent. Borrows from the input; a topic that came as an alias from the scratch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client asks for a connection. Nothing but AUTH follows before it is answered.
    Connect(Connect<'a>),
    /// The server has answered.
    ConnAck(ConnAck<'a>),
    /// A message, or its beginning.
    Publish(Publish<'a>),
    /// A part of the payload of the message that has begun.
    Payload {
        /// The part.
        data: &'a [u8],
        /// Bytes still to come; 0 with the last part.
        rest: u32,
    },
    /// A step of an acknowledgement.
    Ack(Ack<'a>),
    /// A client subscribes.
    Subscribe(Subscribe<'a>),
    /// The server has subscribed it.
    SubAck(SubAck<'a>),
    /// A client unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// The server has unsubscribed it.
    UnsubAck(SubAck<'a>),
    /// A client asks whether the server lives. It is answered already.
    Ping,
    /// The server lives.
    Pong,
    /// The peer says goodbye. Nothing comes after it.
    Disconnect(Disconnect<'a>),
    /// A step of an enhanced authentication.
    Auth(Auth<'a>),
}
