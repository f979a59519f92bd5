//! Properties: MQTT 5.0, section 2.2.2. Checked once when a packet is read, then lent as bytes.

use alloc::vec::Vec;
use core::fmt;

use super::Code;
use super::wire::{Bad, Reader, SHORT, malformed, protocol, put_binary, put_varint};
use crate::{Error, MqttLimits};

/// Which packet, or part of one, properties stand in. One bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u16);

impl Place {
    pub(crate) const CONNECT: Self = Self(1);
    pub(crate) const CONNACK: Self = Self(1 << 1);
    pub(crate) const PUBLISH: Self = Self(1 << 2);
    pub(crate) const WILL: Self = Self(1 << 3);
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
    pub(crate) const ACK: Self = Self(1 << 4);
    pub(crate) const SUBSCRIBE: Self = Self(1 << 5);
    pub(crate) const UNSUBSCRIBE: Self = Self(1 << 6);
    pub(crate) const DISCONNECT: Self = Self(1 << 7);
    pub(crate) const AUTH: Self = Self(1 << 8);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The type of a property's value.
#[derive(Clone, Copy)]
enum Kind {
    /// A byte that is 0 or 1.
    Flag,
    U16,
    U32,
    Varint,
    Text,
    Binary,
    Pair,
}

/// One property.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Property<'a> {
    /// Whether the payload is UTF-8.
    PayloadFormat(bool),
    /// Seconds until the message is of no use.
    MessageExpiry(u32),
    /// The media type of the payload, or whatever both ends agree on.
    ContentType(&'a str),
    /// Where an answer is to be published.
    ResponseTopic(&'a str),
    /// What the answer repeats.
    CorrelationData(&'a [u8]),
    /// What a subscription was numbered.
    SubscriptionId(u32),
    /// Seconds that a session outlives its connection; `u32::MAX` is for ever.
    SessionExpiry(u32),
    /// The client identifier that the server chose.
    AssignedClientId(&'a str),
    /// The keep-alive in seconds that the server chose.
    ServerKeepAlive(u16),
    /// The name of an authentication method.
    AuthMethod(&'a str),
    /// What that method says.
    AuthData(&'a [u8]),
    /// Whether reason strings and user properties may be sent.
    RequestProblemInfo(bool),
    /// Seconds from the loss of a client to its will.
    WillDelay(u32),
    /// Whether response information is wanted.
    RequestResponseInfo(bool),
    /// A basis for response topics.
    ResponseInfo(&'a str),
    /// Another server to use.
    ServerReference(&'a str),
    /// A reason for people.
    ReasonString(&'a str),
    /// How many publishes with QoS above 0 may be unacknowledged.
    ReceiveMaximum(u16),
    /// How many topic aliases may be used.
    TopicAliasMaximum(u16),
    /// A number in place of the topic.
    TopicAlias(u16),
    /// The highest QoS that the server takes; 0 or 1.
    MaximumQos(u8),
    /// Whether the server keeps messages.
    RetainAvailable(bool),
    /// A name and a value of the user's.
    User(&'a str, &'a str),
    /// The longest packet taken.
    MaximumPacketSize(u32),
    /// Whether the server knows wildcards.
    WildcardAvailable(bool),
    /// Whether the server knows subscription identifiers.
    SubscriptionIdAvailable(bool),
    /// Whether the server knows shared subscriptions.
    SharedAvailable(bool),
}

const USER: u8 = 0x26;
const SUBSCRIPTION_ID: u8 = 0x0B;
const TOPIC_ALIAS: u8 = 0x23;
const MESSAGE_EXPIRY: u8 = 0x02;
const WILL_DELAY: u8 = 0x18;

/// Table 2-4: what each identifier is, and where it may stand.
const fn known(id: u8) -> Option<(Kind, Place)> {
    use Place as P;
    let message = P::PUBLISH.or(P::WILL);
    let auth = P::CONNECT.or(P::CONNACK).or(P::AUTH);
    let both = P::CONNECT.or(P::CONNACK);
    Some(match id {
        0x01 => (Kind::Flag, message),
        0x02 => (Kind::U32, message),
        0x03 | 0x08 => (Kind::Text, message),
        0x09 => (Kind::Binary, message),
        0x0B => (Kind::Varint, P::PUBLISH.or(P::SUBSCRIBE)),
        0x11 => (Kind::U32, both.or(P::DISCONNECT)),
        0x12 | 0x1A => (Kind::Text, P::CONNACK),
        0x13 => (Kind::U16, P::CONNACK),
        0x15 => (Kind::Text, auth),
        0x16 => (Kind::Binary, auth),
        0x17 | 0x19 => (Kind::Flag, P::CONNECT),
        0x18 => (Kind::U32, P::WILL),
        0x1C => (Kind::Text, P::CONNACK.or(P::DISCONNECT)),
        0x1F => (Kind::Text, P::CONNACK.or(P::ACK).or(P::DISCONNECT).or(P::AUTH)),
        0x21 | 0x22 => (Kind::U16, both),
        0x23 => (Kind::U16, P::PUBLISH),
        0x24 | 0x25 | 0x28 | 0x29 | 0x2A => (Kind::Flag, P::CONNACK),
        0x26 => (Kind::Pair, Place(u16::MAX)),
        0x27 => (Kind::U32, both),
        _ => return None,
    })
}

enum Value<'a> {
    Flag(bool),
    U16(u16),
    U32(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

fn value<'a>(kind: Kind, r: &mut Reader<'a>) -> Result<Value<'a>, Bad> {
    Ok(match kind {
        Kind::Flag => match r.u8()? {
            0 => Value::Flag(false),
            1 => Value::Flag(true),
            _ => return Err(protocol("MQTT 5.0, 2.2.2: a flag is 0 or 1")),
        },
        Kind::U16 => Value::U16(r.u16()?),
        Kind::U32 => Value::U32(r.u32()?),
        Kind::Varint => Value::U32(r.varint()?),
        Kind::Text => Value::Text(r.string()?),
        Kind::Binary => Value::Binary(r.binary()?),
        Kind::Pair => Value::Pair(r.string()?, r.string()?),
    })
}

/// Reads one property.
fn next<'a>(r: &mut Reader<'a>) -> Result<(u8, Place, Property<'a>), Bad> {
    use Property as P;
    let id = r.u8()?;
    let (kind, place) =
        known(id).ok_or(malformed("MQTT 5.0, 2.2.2.2: an unknown property identifier"))?;
    let property = match (id, value(kind, r)?) {
        (0x01, Value::Flag(on)) => P::PayloadFormat(on),
        (0x02, Value::U32(n)) => P::MessageExpiry(n),
        (0x03, Value::Text(text)) => P::ContentType(text),
        (0x08, Value::Text(text)) => P::ResponseTopic(text),
        (0x09, Value::Binary(data)) => P::CorrelationData(data),
        (0x0B, Value::U32(n)) => P::SubscriptionId(n),
        (0x11, Value::U32(n)) => P::SessionExpiry(n),
        (0x12, Value::Text(text)) => P::AssignedClientId(text),
        (0x13, Value::U16(n)) => P::ServerKeepAlive(n),
        (0x15, Value::Text(text)) => P::AuthMethod(text),
        (0x16, Value::Binary(data)) => P::AuthData(data),
        (0x17, Value::Flag(on)) => P::RequestProblemInfo(on),
        (0x18, Value::U32(n)) => P::WillDelay(n),
        (0x19, Value::Flag(on)) => P::RequestResponseInfo(on),
        (0x1A, Value::Text(text)) => P::ResponseInfo(text),
        (0x1C, Value::Text(text)) => P::ServerReference(text),
        (0x1F, Value::Text(text)) => P::ReasonString(text),
        (0x21, Value::U16(n)) => P::ReceiveMaximum(n),
        (0x22, Value::U16(n)) => P::TopicAliasMaximum(n),
        (0x23, Value::U16(n)) => P::TopicAlias(n),
        (0x24, Value::Flag(on)) => P::MaximumQos(u8::from(on)),
        (0x25, Value::Flag(on)) => P::RetainAvailable(on),
        (0x26, Value::Pair(name, value)) => P::User(name, value),
        (0x27, Value::U32(n)) => P::MaximumPacketSize(n),
        (0x28, Value::Flag(on)) => P::WildcardAvailable(on),
        (0x29, Value::Flag(on)) => P::SubscriptionIdAvailable(on),
        (0x2A, Value::Flag(on)) => P::SharedAvailable(on),
        _ => return Err(malformed("MQTT 5.0, 2.2.2.2: an unknown property identifier")),
    };
    Ok((id, place, property))
}

/// The properties of one packet, lent. Those of a connection of MQTT 3.1.1 are empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// None.
    pub const NONE: Self = Self(&[]);

    /// Reads the properties of a packet and checks them all.
    pub(crate) fn read(r: &mut Reader<'a>, place: Place, limits: &MqttLimits) -> Result<Self, Bad> {
        let len = r.varint()? as usize;
        if len == 0 {
            return Ok(Self::NONE);
        }
        let bytes = r.take(len)?;
        // All of them are here: what ends too early will not be longer later.
        let ends = malformed("MQTT 5.0, 2.2.2: a property that ends behind the last");
        check(bytes, place, limits).map_err(|bad| if bad == SHORT { ends } else { bad })?;
        Ok(Self(bytes))
    }

    /// Takes properties that were checked before.
    pub(crate) fn checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Gives them as they are on the wire, without their length.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives them one by one.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || {
            if reader.is_empty() { None } else { next(&mut reader).ok().map(|(_, _, p)| p) }
        })
    }

    /// Gives the first that `pick` picks.
    pub fn find<T>(&self, pick: impl FnMut(Property<'a>) -> Option<T>) -> Option<T> {
        if self.0.is_empty() { None } else { self.iter().find_map(pick) }
    }

    /// Gives the value of the first property of the user's with this name.
    pub fn user(&self, name: &str) -> Option<&'a str> {
        self.find(|p| match p {
            Property::User(n, value) if n == name => Some(value),
            _ => None,
        })
    }

    /// Gives the seconds until the message is of no use.
    pub fn message_expiry(&self) -> Option<u32> {
        self.find(|p| if let Property::MessageExpiry(n) = p { Some(n) } else { None })
    }

    /// Gives the number of the subscription.
    pub(crate) fn subscription_id(&self) -> Option<u32> {
        self.find(|p| if let Property::SubscriptionId(n) = p { Some(n) } else { None })
    }

    /// Gives the alias in place of the topic.
    pub(crate) fn alias(&self) -> Option<u16> {
        self.find(|p| if let Property::TopicAlias(n) = p { Some(n) } else { None })
    }

    /// Appends those that go on with a message at once: without alias and numbers of subscriptions.
    pub fn put_unaliased(&self, out: &mut Vec<u8>) {
        self.put_without(&[TOPIC_ALIAS, SUBSCRIPTION_ID], out);
    }

    /// Appends those that every receiver of a message is told, now or later: without alias, numbers
    /// of subscriptions, the expiry and what belongs to a will alone.
    pub fn put_plain(&self, out: &mut Vec<u8>) {
        self.put_without(&[TOPIC_ALIAS, SUBSCRIPTION_ID, MESSAGE_EXPIRY, WILL_DELAY], out);
    }

    fn put_without(&self, left_out: &[u8], out: &mut Vec<u8>) {
        let mut reader = Reader::new(self.0);
        while !reader.is_empty() {
            let before = reader.rest();
            let Ok((id, _, _)) = next(&mut reader) else { return };
            if !left_out.contains(&id) {
                let len = before.len() - reader.len();
                out.extend_from_slice(before.get(..len).unwrap_or_default());
            }
        }
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Checks each property, where it stands, and that none but some is there twice.
fn check(bytes: &[u8], place: Place, limits: &MqttLimits) -> Result<(), Bad> {
    let mut reader = Reader::new(bytes);
    let (mut seen, mut users) = (0_u64, 0);
    let (mut user_bytes, mut method, mut data) = (0, false, false);
    while !reader.is_empty() {
        let (id, places, property) = next(&mut reader)?;
        if places.0 & place.0 == 0 {
            return Err(malformed("MQTT 5.0, 2.2.2.2: a property that the packet may not have"));
        }
        let many = id == USER || id == SUBSCRIPTION_ID && place == Place::PUBLISH;
        if !many && seen & (1 << id) != 0 {
            return Err(protocol("MQTT 5.0, 2.2.2.2: a property that is there twice"));
        }
        seen |= 1 << id;
        check_value(property)?;
        method |= matches!(property, Property::AuthMethod(_));
        data |= matches!(property, Property::AuthData(_));
        if let Property::User(name, value) = property {
            users += 1;
            user_bytes += name.len() + value.len();
        }
    }
    if data && !method {
        return Err(protocol("MQTT 5.0, 3.1.2.11.10: authentication data without a method"));
    }
    if users > limits.user_properties || user_bytes > limits.user_bytes {
        let rule = "MQTT 5.0, 3.1.2.11.8: more user properties than are taken";
        return Err(Bad { code: Code::QUOTA_EXCEEDED, rule });
    }
    Ok(())
}

fn check_value(property: Property<'_>) -> Result<(), Bad> {
    match property {
        Property::SubscriptionId(0) => {
            Err(protocol("MQTT 5.0, 3.8.2.1.2: a subscription identifier of 0"))
        }
        Property::ReceiveMaximum(0) => {
            Err(protocol("MQTT 5.0, 3.1.2.11.3: a receive maximum of 0"))
        }
        Property::MaximumPacketSize(0) => {
            Err(protocol("MQTT 5.0, 3.1.2.11.4: a maximum packet size of 0"))
        }
        Property::TopicAlias(0) => Err(Bad {
            code: Code::TOPIC_ALIAS_INVALID,
            rule: "MQTT 5.0, 3.3.2.3.4: a topic alias of 0",
        }),
        Property::ResponseTopic(topic) if topic.is_empty() || topic.contains(['+', '#']) => {
            Err(protocol("MQTT 5.0, 3.3.2.3.5: a response topic with wildcards"))
        }
        _ => Ok(()),
    }
}

/// Properties being put together, to be sent.
///
/// ```
/// use lodger::proto::mqtt::{Property, PropertyList};
///
/// let mut list = PropertyList::new();
/// list.push(Property::ContentType("text/plain"))?;
/// list.push(Property::User("unit", "C"))?;
/// assert_eq!(list.view().user("unit"), Some("C"));
/// # Ok::<(), lodger::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PropertyList(Vec<u8>);

impl PropertyList {
    /// Makes an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a property. Whether it may stand in a packet is checked when that is sent, by its
    /// receiver.
    ///
    /// # Errors
    ///
    /// Misuse, and nothing is appended: a string or data is over 65,535 bytes, or holds U+0000.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), Error> {
        let before = self.0.len();
        if put(&mut self.0, property) {
            return Ok(());
        }
        self.0.truncate(before);
        Err(Error::misuse("a property's text is at most 65,535 bytes without U+0000"))
    }

    /// Gives them, to be sent.
    pub const fn view(&self) -> Properties<'_> {
        Properties(self.0.as_slice())
    }
}

impl PropertyList {
    /// Copies the properties of a message that is published again: without alias and numbers of
    /// subscriptions.
    pub fn passed_on(properties: Properties<'_>) -> Self {
        let mut list = Self::new();
        properties.put_unaliased(&mut list.0);
        list
    }
}

impl From<Properties<'_>> for PropertyList {
    fn from(properties: Properties<'_>) -> Self {
        Self(properties.0.to_vec())
    }
}

fn put_u16(out: &mut Vec<u8>, id: u8, n: u16) {
    out.push(id);
    out.extend_from_slice(&n.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, id: u8, n: u32) {
    out.push(id);
    out.extend_from_slice(&n.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, id: u8, bytes: &[u8]) -> bool {
    out.push(id);
    put_binary(out, bytes);
    bytes.len() <= usize::from(u16::MAX)
}

fn put_text(out: &mut Vec<u8>, id: u8, text: &str) -> bool {
    put_bytes(out, id, text.as_bytes()) && !text.contains('\0')
}

/// Appends a property; `false` if it cannot be.
pub(crate) fn put(out: &mut Vec<u8>, property: Property<'_>) -> bool {
    use Property as P;
    match property {
        P::PayloadFormat(on) => out.extend_from_slice(&[0x01, u8::from(on)]),
        P::MessageExpiry(n) => put_u32(out, 0x02, n),
        P::ContentType(text) => return put_text(out, 0x03, text),
        P::ResponseTopic(text) => return put_text(out, 0x08, text),
        P::CorrelationData(data) => return put_bytes(out, 0x09, data),
        P::SubscriptionId(n) => {
            out.push(SUBSCRIPTION_ID);
            put_varint(out, n.min(super::wire::VARINT_MAX));
        }
        P::SessionExpiry(n) => put_u32(out, 0x11, n),
        P::AssignedClientId(text) => return put_text(out, 0x12, text),
        P::ServerKeepAlive(n) => put_u16(out, 0x13, n),
        P::AuthMethod(text) => return put_text(out, 0x15, text),
        P::AuthData(data) => return put_bytes(out, 0x16, data),
        P::RequestProblemInfo(on) => out.extend_from_slice(&[0x17, u8::from(on)]),
        P::WillDelay(n) => put_u32(out, 0x18, n),
        P::RequestResponseInfo(on) => out.extend_from_slice(&[0x19, u8::from(on)]),
        P::ResponseInfo(text) => return put_text(out, 0x1A, text),
        P::ServerReference(text) => return put_text(out, 0x1C, text),
        P::ReasonString(text) => return put_text(out, 0x1F, text),
        P::ReceiveMaximum(n) => put_u16(out, 0x21, n),
        P::TopicAliasMaximum(n) => put_u16(out, 0x22, n),
        P::TopicAlias(n) => put_u16(out, TOPIC_ALIAS, n),
        P::MaximumQos(n) => out.extend_from_slice(&[0x24, n.min(1)]),
        P::RetainAvailable(on) => out.extend_from_slice(&[0x25, u8::from(on)]),
        P::User(name, value) => {
            let fits = put_text(out, USER, name) && !value.contains('\0');
            put_binary(out, value.as_bytes());
            return fits && value.len() <= usize::from(u16::MAX);
        }
        P::MaximumPacketSize(n) => put_u32(out, 0x27, n),
        P::WildcardAvailable(on) => out.extend_from_slice(&[0x28, u8::from(on)]),
        P::SubscriptionIdAvailable(on) => out.extend_from_slice(&[0x29, u8::from(on)]),
        P::SharedAvailable(on) => out.extend_from_slice(&[0x2A, u8::from(on)]),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], place: Place) -> Result<Properties<'_>, Code> {
        let limits = MqttLimits::default();
        Properties::read(&mut Reader::new(bytes), place, &limits).map_err(|bad| bad.code)
    }

    #[test]
    fn every_property_is_read_as_it_was_put() {
        use Property as P;
        let all = [
            P::PayloadFormat(true),
            P::MessageExpiry(7),
            P::ContentType("a/b"),
            P::ResponseTopic("r"),
            P::CorrelationData(&[0, 1]),
            P::SubscriptionId(300),
            P::SessionExpiry(u32::MAX),
            P::AssignedClientId("id"),
            P::ServerKeepAlive(9),
            P::AuthMethod("m"),
            P::AuthData(b"d"),
            P::RequestProblemInfo(false),
            P::WillDelay(3),
            P::RequestResponseInfo(true),
            P::ResponseInfo("i"),
            P::ServerReference("s"),
            P::ReasonString("why"),
            P::ReceiveMaximum(5),
            P::TopicAliasMaximum(6),
            P::TopicAlias(1),
            P::MaximumQos(1),
            P::RetainAvailable(true),
            P::User("k", "v"),
            P::User("k", "w"),
            P::MaximumPacketSize(100),
            P::WildcardAvailable(true),
            P::SubscriptionIdAvailable(true),
            P::SharedAvailable(true),
        ];
        let mut list = PropertyList::new();
        for property in all {
            list.push(property).unwrap();
        }

        assert_eq!(list.view().iter().collect::<Vec<_>>(), all);
        assert_eq!(list.view().user("k"), Some("v"));
    }

    #[test]
    fn what_may_not_stand_there_is_refused() {
        let table: [(&[u8], Place, Code); 8] = [
            (b"\x02\x01\x02", Place::PUBLISH, Code::PROTOCOL_ERROR),
            (b"\x04\x01\x01\x01\x01", Place::PUBLISH, Code::PROTOCOL_ERROR),
            (b"\x02\x01\x01", Place::CONNECT, Code::MALFORMED_PACKET),
            (b"\x02\x7F\x01", Place::PUBLISH, Code::MALFORMED_PACKET),
            (b"\x03\x23\x00\x00", Place::PUBLISH, Code::TOPIC_ALIAS_INVALID),
            (b"\x02\x0B\x00", Place::SUBSCRIBE, Code::PROTOCOL_ERROR),
            (b"\x04\x16\x00\x01x", Place::CONNECT, Code::PROTOCOL_ERROR),
            (b"\x09\x01\x01", Place::PUBLISH, Code::MALFORMED_PACKET),
        ];
        for (bytes, place, code) in table {
            assert_eq!(read(bytes, place), Err(code), "{bytes:?}");
        }
    }

    #[test]
    fn user_properties_are_bounded_in_number_and_bytes() {
        let mut list = PropertyList::new();
        for _ in 0..33 {
            list.push(Property::User("", "")).unwrap();
        }
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u32::try_from(list.0.len()).unwrap());
        bytes.extend_from_slice(&list.0);

        assert_eq!(read(&bytes, Place::CONNECT), Err(Code::QUOTA_EXCEEDED));
    }

    #[test]
    fn what_is_sent_on_has_no_alias_and_no_expiry() {
        let mut list = PropertyList::new();
        for property in
            [Property::TopicAlias(1), Property::User("a", "b"), Property::MessageExpiry(3)]
        {
            list.push(property).unwrap();
        }
        let mut out = Vec::new();

        list.view().put_plain(&mut out);

        assert_eq!(Properties(&out).iter().collect::<Vec<_>>(), [Property::User("a", "b")]);
    }
}
