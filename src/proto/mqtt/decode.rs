//! Packets from bytes: MQTT 5.0 and 3.1.1, section 3. Whole packets in, values out; only a PUBLISH
//! may be read before all of its payload is there.

use super::packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Event, Options, Publish, SubAck, Subscribe,
    Unsubscribe, Will,
};
use super::property::{Place, Properties};
use super::topic::{check_filter, check_name, split_shared};
use super::wire::{Bad, Reader, malformed, protocol};
use super::{Code, Qos, Version};
use crate::MqttLimits;

/// Types of packets: section 2.1.2.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const UNSUBACK: u8 = 11;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
    pub(crate) const AUTH: u8 = 15;
}

/// Section 2.1.3: which flags a packet has.
pub(crate) fn check_flags(first: u8) -> Result<(), Bad> {
    let flags = first & 0x0F;
    let good = match first >> 4 {
        0 => return Err(malformed("MQTT 5.0, 2.1.2: packet type 0")),
        // QoS 3 there is not, and what is sent once is not sent again.
        kind::PUBLISH => flags & 6 != 6 && (flags & 6 != 0 || flags & 8 == 0),
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => flags == 2,
        _ => flags == 0,
    };
    if good {
        Ok(())
    } else {
        Err(malformed("MQTT 5.0, 2.1.3: flags that the packet may not have"))
    }
}

/// What whole packets are read with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'l> {
    pub(crate) version: Version,
    pub(crate) limits: &'l MqttLimits,
}

impl Decoder<'_> {
    fn v5(self) -> bool {
        self.version == Version::V5
    }

    fn properties<'a>(self, r: &mut Reader<'a>, place: Place) -> Result<Properties<'a>, Bad> {
        if self.v5() { Properties::read(r, place, self.limits) } else { Ok(Properties::NONE) }
    }

    /// Reads the whole body of a packet that is neither CONNECT nor PUBLISH.
    pub(crate) fn packet<'a>(self, first: u8, body: &'a [u8]) -> Result<Event<'a>, Bad> {
        let mut r = Reader::new(body);
        let event = match first >> 4 {
            kind::CONNACK => Event::ConnAck(self.connack(&mut r)?),
            kind::PUBACK => self.ack(&mut r, AckKind::PubAck)?,
            kind::PUBREC => self.ack(&mut r, AckKind::PubRec)?,
            kind::PUBREL => self.ack(&mut r, AckKind::PubRel)?,
            kind::PUBCOMP => self.ack(&mut r, AckKind::PubComp)?,
            kind::SUBSCRIBE => Event::Subscribe(self.subscribe(&mut r)?),
            kind::SUBACK => Event::SubAck(self.suback(&mut r, true)?),
            kind::UNSUBSCRIBE => Event::Unsubscribe(self.unsubscribe(&mut r)?),
            kind::UNSUBACK => Event::UnsubAck(self.suback(&mut r, self.v5())?),
            kind::PINGREQ => Event::Ping,
            kind::PINGRESP => Event::Pong,
            kind::DISCONNECT => Event::Disconnect(self.disconnect(&mut r)?),
            kind::AUTH if self.v5() => Event::Auth(self.auth(&mut r)?),
            _ => return Err(malformed("MQTT 3.1.1, 2.2.1: a reserved packet type")),
        };
        if r.is_empty() {
            Ok(event)
        } else {
            Err(malformed("MQTT 5.0, 2.1.4: bytes that are left"))
        }
    }

    fn connack<'a>(self, r: &mut Reader<'a>) -> Result<ConnAck<'a>, Bad> {
        let flags = r.u8()?;
        if flags > 1 {
            return Err(malformed("MQTT 5.0, 3.2.2.1: reserved flags of CONNACK"));
        }
        let byte = r.u8()?;
        let code = if self.v5() {
            Code(byte)
        } else {
            Code::from_connack_v4(byte)
                .ok_or(malformed("MQTT 3.1.1, 3.2.2.3: a reserved return code"))?
        };
        let session_present = flags == 1;
        if session_present && code != Code::SUCCESS {
            return Err(protocol("MQTT 5.0, 3.2.2.1.1: a session of a refused connection"));
        }
        Ok(ConnAck { session_present, code, properties: self.properties(r, Place::CONNACK)? })
    }

    fn ack<'a>(self, r: &mut Reader<'a>, kind: AckKind) -> Result<Event<'a>, Bad> {
        let id = packet_id(r)?;
        let mut ack = Ack { kind, id, code: Code::SUCCESS, properties: Properties::NONE };
        if self.v5() && !r.is_empty() {
            ack.code = Code(r.u8()?);
            if !r.is_empty() {
                ack.properties = self.properties(r, Place::ACK)?;
            }
        }
        Ok(Event::Ack(ack))
    }

    fn subscribe<'a>(self, r: &mut Reader<'a>) -> Result<Subscribe<'a>, Bad> {
        let id = packet_id(r)?;
        let properties = self.properties(r, Place::SUBSCRIBE)?;
        let filters = r.rest();
        if filters.is_empty() {
            return Err(protocol("MQTT 5.0, 3.8.3: a SUBSCRIBE without a filter"));
        }
        while !r.is_empty() {
            let filter = r.string()?;
            check_filter(filter, self.limits)?;
            let bits = r.u8()?;
            let options = Options::from_bits(bits).filter(|_| self.v5() || bits < 3);
            let options =
                options.ok_or(malformed("MQTT 5.0, 3.8.3.1: reserved subscription options"))?;
            if options.no_local && matches!(split_shared(filter), Some((Some(_), _))) {
                return Err(protocol("MQTT 5.0, 3.8.3.1: no local on a shared subscription"));
            }
        }
        Ok(Subscribe { id, properties, filters })
    }

    fn unsubscribe<'a>(self, r: &mut Reader<'a>) -> Result<Unsubscribe<'a>, Bad> {
        let id = packet_id(r)?;
        let properties = self.properties(r, Place::UNSUBSCRIBE)?;
        let filters = r.rest();
        if filters.is_empty() {
            return Err(protocol("MQTT 5.0, 3.10.3: an UNSUBSCRIBE without a filter"));
        }
        while !r.is_empty() {
            check_filter(r.string()?, self.limits)?;
        }
        Ok(Unsubscribe { id, properties, filters })
    }

    fn suback<'a>(self, r: &mut Reader<'a>, has_codes: bool) -> Result<SubAck<'a>, Bad> {
        let id = packet_id(r)?;
        let properties = self.properties(r, Place::ACK)?;
        let codes = if has_codes { r.take(r.len())? } else { &[] };
        if has_codes && codes.is_empty() {
            return Err(malformed("MQTT 5.0, 3.9.3: a SUBACK without codes"));
        }
        Ok(SubAck { id, codes, properties })
    }

    fn disconnect<'a>(self, r: &mut Reader<'a>) -> Result<Disconnect<'a>, Bad> {
        let mut goodbye = Disconnect { code: Code::SUCCESS, properties: Properties::NONE };
        if self.v5() && !r.is_empty() {
            goodbye.code = Code(r.u8()?);
            if !r.is_empty() {
                goodbye.properties = self.properties(r, Place::DISCONNECT)?;
            }
        }
        Ok(goodbye)
    }

    fn auth<'a>(self, r: &mut Reader<'a>) -> Result<Auth<'a>, Bad> {
        if r.is_empty() {
            return Ok(Auth { code: Code::SUCCESS, properties: Properties::NONE });
        }
        let code = Code(r.u8()?);
        let known = [Code::SUCCESS, Code::CONTINUE_AUTHENTICATION, Code::RE_AUTHENTICATE];
        if !known.contains(&code) {
            return Err(malformed("MQTT 5.0, 3.15.2.1: a code that AUTH may not have"));
        }
        Ok(Auth { code, properties: self.properties(r, Place::AUTH)? })
    }

    /// Reads the head of a PUBLISH, from its topic to its properties; what `r` has left is payload.
    /// The topic may be empty where there is an alias.
    #[inline]
    pub(crate) fn publish_head<'a>(
        self,
        first: u8,
        r: &mut Reader<'a>,
    ) -> Result<Publish<'a>, Bad> {
        let qos = Qos::from_bits(first >> 1 & 3).unwrap_or_default();
        let topic = r.string()?;
        let id = if qos == Qos::AtMostOnce { 0 } else { packet_id(r)? };
        let properties = self.properties(r, Place::PUBLISH)?;
        if !(topic.is_empty() && properties.alias().is_some()) {
            check_name(topic, self.limits)?;
        }
        Ok(Publish {
            dup: first & 8 != 0,
            qos,
            retain: first & 1 != 0,
            topic,
            id,
            properties,
            payload: &[],
            rest: 0,
        })
    }
}

/// Section 2.2.1: an identifier is not 0.
fn packet_id(r: &mut Reader<'_>) -> Result<u16, Bad> {
    match r.u16()? {
        0 => Err(malformed("MQTT 5.0, 2.2.1: packet identifier 0")),
        id => Ok(id),
    }
}

/// Reads a CONNECT. What it is refused with is told in a CONNACK of the version that comes with it,
/// where that is known by then.
pub(crate) fn connect<'a>(
    body: &'a [u8],
    limits: &MqttLimits,
) -> Result<Connect<'a>, (Bad, Option<Version>)> {
    let mut r = Reader::new(body);
    let version = version(&mut r)?;
    let decoder = Decoder { version, limits };
    let fields = decoder.connect_fields(&mut r).map_err(|bad| (bad, Some(version)))?;
    if !r.is_empty() {
        return Err((malformed("MQTT 5.0, 2.1.4: bytes that are left"), Some(version)));
    }
    Ok(fields)
}

/// Sections 3.1.2.1 and 3.1.2.2.
fn version(r: &mut Reader<'_>) -> Result<Version, (Bad, Option<Version>)> {
    let name = r.binary().map_err(|bad| (bad, None))?;
    let level = r.u8().map_err(|bad| (bad, None))?;
    let rule = "MQTT 5.0, 3.1.2.2: a version that is not spoken";
    let unsupported = Bad { code: Code::UNSUPPORTED_VERSION, rule };
    match (name, level) {
        (b"MQTT", 4) => Ok(Version::V4),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..) => Err((unsupported, Some(Version::V5))),
        (b"MQTT", _) | (b"MQIsdp", 3) => Err((unsupported, Some(Version::V4))),
        _ => Err((protocol("MQTT 5.0, 3.1.2.1: the protocol's name is MQTT"), None)),
    }
}

impl Decoder<'_> {
    fn connect_fields<'a>(self, r: &mut Reader<'a>) -> Result<Connect<'a>, Bad> {
        let flags = r.u8()?;
        self.check_connect_flags(flags)?;
        let clean = flags & 2 != 0;
        let keep_alive = r.u16()?;
        let properties = self.properties(r, Place::CONNECT)?;
        let client_id = r.string()?;
        if client_id.is_empty() && !clean && !self.v5() {
            let rule = "MQTT 3.1.1, 3.1.3.1: an empty client identifier wants a clean session";
            return Err(Bad { code: Code::CLIENT_ID_NOT_VALID, rule });
        }
        let will = if flags & 4 == 0 { None } else { Some(self.will(r, flags)?) };
        let username = if flags & 0x80 == 0 { None } else { Some(r.string()?) };
        let password = if flags & 0x40 == 0 { None } else { Some(r.binary()?) };
        let long = username.is_some_and(|name| name.len() > self.limits.username)
            || password.is_some_and(|password| password.len() > self.limits.password);
        if long {
            let rule = "MQTT 5.0, 3.1.3.5: a name or password longer than is taken";
            return Err(Bad { code: Code::BAD_CREDENTIALS, rule });
        }
        let version = self.version;
        Ok(Connect { version, clean, keep_alive, client_id, will, username, password, properties })
    }

    /// Section 3.1.2.3.
    fn check_connect_flags(self, flags: u8) -> Result<(), Bad> {
        let will = flags & 4 != 0;
        if flags & 1 != 0 {
            return Err(malformed("MQTT 5.0, 3.1.2.3: the reserved flag of CONNECT"));
        }
        if flags & 0x18 == 0x18 || !will && flags & 0x38 != 0 {
            return Err(malformed("MQTT 5.0, 3.1.2.6: flags of a will that is none"));
        }
        if !self.v5() && flags & 0x40 != 0 && flags & 0x80 == 0 {
            return Err(malformed("MQTT 3.1.1, 3.1.2.9: a password without a name"));
        }
        Ok(())
    }

    fn will<'a>(self, r: &mut Reader<'a>, flags: u8) -> Result<Will<'a>, Bad> {
        let properties = self.properties(r, Place::WILL)?;
        let topic = r.string()?;
        check_name(topic, self.limits)?;
        Ok(Will {
            topic,
            payload: r.binary()?,
            qos: Qos::from_bits(flags >> 3 & 3).unwrap_or_default(),
            retain: flags & 0x20 != 0,
            properties,
        })
    }
}
