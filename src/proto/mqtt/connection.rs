//! One connection, after its transport is there: MQTT 5.0 and 3.1.1, sections 3 and 4.
//!
//! In: bytes, the passing of time, what is to be sent. Out: events, packets, a deadline.
//!
//! ```text
//! server: First --CONNECT--> Asked --accept--> Open --DISCONNECT, an error--> Closed
//!                              `------refuse------------------------------------^
//! client: First --connect--> Asked --CONNACK--> Open
//! ```
//!
//! Invariant: a packet longer than `MqttLimits::head` that is no PUBLISH, and the head of one that
//! is, wait in the input until they are whole; nothing else waits there, and nothing is reserved
//! from a length that a peer declares.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use lodger_backend::Micros;

use super::decode::{Decoder, check_flags, connect, kind};
use super::encode;
use super::packet::{ConnAck, Connect, Event, Publish};
use super::property::{Properties, Property};
use super::wire::{Bad, Reader, SHORT, TOO_LONG, VARINT_MAX, Varint, protocol, varint};
use super::{Code, Version};
use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::{Error, Wire};

mod send;

pub use send::Accept;

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Role {
    /// The one that was connected to.
    Server,
    /// The one that connected.
    Client,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing was said.
    First,
    /// CONNECT was said and is not answered.
    Asked,
    /// A server has answered it by AUTH, and waits for the client's.
    Challenged,
    Open,
    /// Goodbye was said, by either end.
    Closed,
}

/// What the other end of a connection allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// Publishes with QoS above 0 that it takes unacknowledged.
    pub receive_maximum: u16,
    /// The longest packet that it takes, in bytes.
    pub packet: u32,
    /// Topic aliases that it takes.
    pub aliases: u16,
    /// Whether it wants to hear reasons for people.
    pub problem_info: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self { receive_maximum: u16::MAX, packet: u32::MAX, aliases: 0, problem_info: true }
    }
}

impl Peer {
    /// Reads what CONNECT or CONNACK says.
    fn read(properties: Properties<'_>) -> Self {
        let mut peer = Self::default();
        for property in properties.iter() {
            match property {
                Property::ReceiveMaximum(n) => peer.receive_maximum = n,
                Property::MaximumPacketSize(n) => peer.packet = n,
                Property::TopicAliasMaximum(n) => peer.aliases = n,
                Property::RequestProblemInfo(on) => peer.problem_info = on,
                _ => {}
            }
        }
        peer
    }
}

/// One connection of either role.
#[derive(Debug)]
pub struct Mqtt {
    role: Role,
    version: Version,
    state: State,
    keep_alive: u16,
    /// Bytes of the payload under way that have not arrived.
    left: u32,
    /// The longest packet taken.
    max_in: u32,
    peer: Peer,
    began: Micros,
    heard: Micros,
    said: Micros,
    /// Since when a PINGREQ of ours is unanswered.
    asked: Option<Micros>,
    /// Topic aliases of the peer: those taken, and what they stand for.
    alias_max: u16,
    #[expect(clippy::box_collection, reason = "most connections have none")]
    aliases: Option<Box<Vec<Option<Box<str>>>>>,
}

impl Mqtt {
    /// Makes a server's end.
    pub fn server(now: Micros) -> Self {
        Self::new(Role::Server, now)
    }

    /// Makes a client's end, which [`connect`](Self::connect)s first.
    pub fn client(now: Micros) -> Self {
        Self::new(Role::Client, now)
    }

    fn new(role: Role, now: Micros) -> Self {
        Self {
            role,
            version: Version::V4,
            state: State::First,
            keep_alive: 0,
            left: 0,
            max_in: VARINT_MAX,
            peer: Peer::default(),
            began: now,
            heard: now,
            said: now,
            asked: None,
            alias_max: 0,
            aliases: None,
        }
    }

    /// Gives the next event; `None` when more input is needed, or a server's answer to a CONNECT.
    /// A PINGREQ is answered in `tx`.
    ///
    /// # Errors
    ///
    /// [`Blame::Peer`](crate::Blame::Peer): the peer broke the protocol or went without a goodbye.
    /// What the version has to say about it is in `tx`, and the connection is over.
    pub fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Event<'s>>, Error> {
        if self.state == State::Closed {
            rx.take(usize::MAX);
            return Ok(None);
        }
        if self.left > 0 && !rx.is_empty() {
            return Ok(Some(self.payload(cx.now, rx)));
        }
        let event = match self.packet(cx, rx, scratch.text()) {
            Ok(event) => event,
            Err((bad, version)) => return Err(self.fail(tx, bad, version)),
        };
        match event {
            Some(Event::Ping) => encode::ping(tx.buf(2), true),
            None if rx.eof() && self.state != State::Closed => {
                self.state = State::Closed;
                let rule = "MQTT 5.0, 4.13: the peer went without a goodbye";
                return Err(Error::peer(Wire::None, rule));
            }
            _ => {}
        }
        Ok(event)
    }

    fn payload<'a>(&mut self, now: Micros, rx: &mut Rx<'a>) -> Event<'a> {
        let data: &'a [u8] = rx.take(self.left as usize);
        self.left -= u32::try_from(data.len()).unwrap_or(self.left);
        self.heard = now;
        Event::Payload { data, rest: self.left }
    }

    /// Reads one packet, or the head of a long PUBLISH.
    fn packet<'s, 'a: 's>(
        &mut self,
        cx: &Cx<'_>,
        rx: &mut Rx<'a>,
        text: &'s mut String,
    ) -> Result<Option<Event<'s>>, (Bad, Option<Version>)> {
        let limits = &cx.limits.mqtt;
        let plain = |bad| (bad, None);
        let bytes = rx.peek();
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        check_flags(first).map_err(plain)?;
        if !self.may_come(first >> 4).map_err(plain)? {
            return Ok(None);
        }
        let (total, head) = match varint(rest) {
            Varint::Short => return Ok(None),
            Varint::Long => return Err(plain(TOO_LONG)),
            Varint::Is { minimal: false, .. } if self.version == Version::V5 => {
                return Err(plain(TOO_LONG));
            }
            Varint::Is { value, len, .. } => (value as usize, 1 + len),
        };
        let most = if self.is_unknown() { limits.connect } else { self.max_in as usize };
        if head + total > most {
            let rule = "MQTT 5.0, 3.1.2.11.4: a packet longer than is taken";
            return Err(plain(Bad { code: Code::PACKET_TOO_LARGE, rule }));
        }
        let decoder = Decoder { version: self.version, limits };
        if first >> 4 == kind::PUBLISH && total > limits.head {
            return self.long_publish(cx, rx, decoder, (head, total), text).map_err(plain);
        }
        if bytes.len() < head + total {
            return Ok(None);
        }
        let packet: &'a [u8] = rx.take(head + total);
        let body = packet.get(head..).unwrap_or_default();
        self.heard = cx.now;
        match first >> 4 {
            kind::PUBLISH => {
                let mut reader = Reader::new(body);
                let mut publish = decoder.publish_head(first, &mut reader).map_err(plain)?;
                publish.payload = reader.rest();
                let publish = self.resolve(publish, text).map_err(plain)?;
                Ok(Some(Event::Publish(publish)))
            }
            kind::CONNECT => {
                let asked = connect(body, limits)?;
                self.asked(&asked);
                Ok(Some(Event::Connect(asked)))
            }
            _ => {
                let event = decoder.packet(first, body).map_err(plain)?;
                self.note(cx.now, &event).map_err(plain)?;
                Ok(Some(event))
            }
        }
    }

    /// Whether it is not known who the client is.
    fn is_unknown(&self) -> bool {
        self.role == Role::Server && self.state != State::Open
    }

    /// Tells whether a packet of this type may come now; `false`: not yet.
    fn may_come(&self, packet: u8) -> Result<bool, Bad> {
        const AGAIN: Bad = protocol("MQTT 5.0, 3.1: a second CONNECT");
        const FIRST: Bad = protocol("MQTT 5.0, 3.1: the first packet is CONNECT");
        const OTHER: Bad = protocol("MQTT 5.0, 2.1.2: a packet of the other direction");
        const UNPROVEN: Bad = protocol("MQTT 5.0, 3.1.2.11.9: only AUTH follows a challenge");
        match (self.role, self.state) {
            (Role::Server, State::First) => {
                if packet == kind::CONNECT {
                    Ok(true)
                } else {
                    Err(FIRST)
                }
            }
            (Role::Server, _) if packet == kind::CONNECT => Err(AGAIN),
            (Role::Server, State::Asked) => Ok(false),
            (Role::Server, State::Challenged) if packet == kind::DISCONNECT => Ok(true),
            (Role::Server, State::Challenged) if packet == kind::AUTH => Ok(true),
            (Role::Server, State::Challenged) => Err(UNPROVEN),
            (Role::Server, _) => match packet {
                kind::CONNACK | kind::SUBACK | kind::UNSUBACK | kind::PINGRESP => Err(OTHER),
                _ => Ok(true),
            },
            (Role::Client, State::Open) => match packet {
                kind::CONNECT
                | kind::CONNACK
                | kind::SUBSCRIBE
                | kind::UNSUBSCRIBE
                | kind::PINGREQ => Err(OTHER),
                kind::DISCONNECT if self.version == Version::V4 => Err(OTHER),
                _ => Ok(true),
            },
            (Role::Client, _) if packet == kind::CONNACK || packet == kind::AUTH => Ok(true),
            (Role::Client, _) => Err(protocol("MQTT 5.0, 3.2: the first packet is CONNACK")),
        }
    }

    /// Hands on the beginning of a PUBLISH that is not waited for.
    fn long_publish<'s, 'a: 's>(
        &mut self,
        cx: &Cx<'_>,
        rx: &mut Rx<'a>,
        decoder: Decoder<'_>,
        (head, total): (usize, usize),
        text: &'s mut String,
    ) -> Result<Option<Event<'s>>, Bad> {
        let most = cx.limits.mqtt.head;
        let bytes = rx.peek();
        let first = bytes.first().copied().unwrap_or_default();
        let window = bytes.get(head..).unwrap_or_default();
        let window = window.get(..window.len().min(most)).unwrap_or_default();
        let mut reader = Reader::new(window);
        let used = match decoder.publish_head(first, &mut reader) {
            Ok(_) => window.len() - reader.len(),
            Err(bad) if bad == SHORT && window.len() < most => return Ok(None),
            Err(bad) if bad == SHORT => {
                let rule = "MQTT 5.0, 3.3.2: a topic and properties longer than are taken";
                return Err(Bad { code: Code::PACKET_TOO_LARGE, rule });
            }
            Err(bad) => return Err(bad),
        };
        rx.take(head);
        let fields: &'a [u8] = rx.take(used);
        let mut publish = decoder.publish_head(first, &mut Reader::new(fields))?;
        let payload = total - used;
        let data: &'a [u8] = rx.take(payload);
        publish.payload = data;
        self.left = u32::try_from(payload - data.len()).unwrap_or(u32::MAX);
        publish.rest = self.left;
        self.heard = cx.now;
        self.resolve(publish, text).map(|publish| Some(Event::Publish(publish)))
    }

    /// Checks what only a connection knows about a PUBLISH, and puts the topic in place of its
    /// alias: section 3.3.2.3.4.
    #[inline]
    fn resolve<'s>(
        &mut self,
        publish: Publish<'s>,
        text: &'s mut String,
    ) -> Result<Publish<'s>, Bad> {
        if publish.properties.is_empty() {
            return Ok(publish);
        }
        if self.role == Role::Server && publish.properties.subscription_id().is_some() {
            return Err(protocol("MQTT 5.0, 3.3.4: a subscription identifier of a client's"));
        }
        match publish.properties.alias() {
            None => Ok(publish),
            Some(alias) => self.resolve_alias(publish, alias, text),
        }
    }

    fn resolve_alias<'s>(
        &mut self,
        mut publish: Publish<'s>,
        alias: u16,
        text: &'s mut String,
    ) -> Result<Publish<'s>, Bad> {
        if alias > self.alias_max {
            let rule = "MQTT 5.0, 3.3.2.3.4: a topic alias over the maximum";
            return Err(Bad { code: Code::TOPIC_ALIAS_INVALID, rule });
        }
        let at = usize::from(alias) - 1;
        let table = self.aliases.get_or_insert_default();
        if publish.topic.is_empty() {
            let known = table.get(at).and_then(Option::as_deref);
            let known = known.ok_or(protocol("MQTT 5.0, 3.3.2.3.4: an unknown topic alias"))?;
            text.clear();
            text.push_str(known);
            publish.topic = text;
        } else {
            if table.len() <= at {
                table.resize(at + 1, None);
            }
            if let Some(place) = table.get_mut(at)
                && place.as_deref() != Some(publish.topic)
            {
                *place = Some(publish.topic.into());
            }
        }
        Ok(publish)
    }

    /// Takes over what a CONNECT says.
    fn asked(&mut self, c: &Connect<'_>) {
        self.version = c.version;
        self.keep_alive = c.keep_alive;
        self.peer = Peer::read(c.properties);
        self.state = State::Asked;
    }

    /// Takes over what other packets change here.
    fn note(&mut self, now: Micros, event: &Event<'_>) -> Result<(), Bad> {
        match event {
            Event::Pong => self.asked = None,
            Event::Auth(_) if self.state == State::Challenged => self.state = State::Asked,
            Event::Disconnect(goodbye) => {
                self.state = State::Closed;
                let client = self.role == Role::Server;
                let expiry = |p| if let Property::SessionExpiry(n) = p { Some(n) } else { None };
                let has_expiry = goodbye.properties.find(expiry).is_some();
                if !client && has_expiry {
                    return Err(protocol("MQTT 5.0, 3.14.2.2.2: a session expiry of a server's"));
                }
            }
            Event::ConnAck(answer) => {
                self.peer = Peer::read(answer.properties);
                let keep_alive = answer.properties.find(|p| match p {
                    Property::ServerKeepAlive(n) => Some(n),
                    _ => None,
                });
                self.keep_alive = keep_alive.unwrap_or(self.keep_alive);
                self.said = now;
                self.state = if answer.code == Code::SUCCESS { State::Open } else { State::Closed };
            }
            _ => {}
        }
        Ok(())
    }

    /// Says what the version has to say about a broken rule, and ends the connection.
    fn fail(&mut self, tx: &mut Tx<'_>, bad: Bad, version: Option<Version>) -> Error {
        let before = self.state;
        self.state = State::Closed;
        match (before, version) {
            (State::First, Some(version)) => {
                self.version = version;
                // MQTT 3.1.1, section 3.1.4: what is malformed is closed without an answer.
                let told = version == Version::V5
                    || [
                        Code::UNSUPPORTED_VERSION,
                        Code::CLIENT_ID_NOT_VALID,
                        Code::BAD_CREDENTIALS,
                    ]
                    .contains(&bad.code);
                if told {
                    put_connack(tx, version, bad.code);
                }
            }
            (State::Open, _) => self.say_goodbye(tx, bad.code),
            (State::Asked | State::Challenged, _)
                if self.role == Role::Server && self.version == Version::V5 =>
            {
                put_connack(tx, self.version, bad.code);
            }
            _ => {}
        }
        Error::peer(Wire::Mqtt(bad.code.0), bad.rule)
    }

    /// MQTT 3.1.1 has no goodbye of a server, and none with a reason.
    fn say_goodbye(&self, tx: &mut Tx<'_>, code: Code) {
        if self.version == Version::V5 {
            encode::disconnect(tx.buf(3), self.version, code, Properties::NONE);
        }
    }
}

/// Time, and how it stands.
impl Mqtt {
    /// When [`on_deadline`](Self::on_deadline) is next due.
    pub fn deadline(&self, limits: &crate::Limits) -> Option<Micros> {
        let keep_alive = Duration::from_secs(u64::from(self.keep_alive));
        match (self.state, self.role) {
            (State::Closed, _) => None,
            (State::First | State::Asked | State::Challenged, _) => {
                Some(self.began + limits.mqtt.connect_within)
            }
            (State::Open, _) if keep_alive.is_zero() => None,
            // Section 3.1.2.10: one and a half times the keep-alive.
            (State::Open, Role::Server) => Some(self.heard + keep_alive * 3 / 2),
            (State::Open, Role::Client) => Some(match self.asked {
                Some(asked) => asked + limits.mqtt.pong_within,
                None => self.said + keep_alive * 3 / 4,
            }),
        }
    }

    /// Tells whether the deadline has only moved on since it was asked for.
    pub fn waits_for_silence(&self) -> bool {
        self.state == State::Open && self.asked.is_none()
    }

    /// Does what is due: gives a silent peer up, or asks whether it lives. Early calls do nothing.
    ///
    /// # Errors
    ///
    /// [`Blame::Peer`](crate::Blame::Peer): the peer was silent for too long; the connection is
    /// over.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.deadline(cx.limits).is_none_or(|at| at > cx.now) {
            return Ok(());
        }
        if self.state == State::Open && self.role == Role::Client && self.asked.is_none() {
            self.asked = Some(cx.now);
            self.said = cx.now;
            encode::ping(tx.buf(2), false);
            return Ok(());
        }
        let rule = match self.state {
            State::Open => "MQTT 5.0, 3.1.2.10: silence for longer than the keep-alive",
            _ => "MQTT 5.0, 3.1.4: no CONNECT, or no answer to it, in time",
        };
        Err(self.fail(tx, Bad { code: Code::KEEP_ALIVE_TIMEOUT, rule }, None))
    }

    /// Restarts the time for the handshake, once a client's transport is there.
    pub fn connected(&mut self, now: Micros) {
        self.began = now;
    }

    /// Tells whether nothing more is to be said or heard.
    pub fn is_over(&self) -> bool {
        self.state == State::Closed
    }

    /// Tells whether messages may be sent.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Tells whether a CONNECT waits for an answer.
    pub fn is_asked(&self) -> bool {
        self.state == State::Asked
    }

    /// Gives the version; before a CONNECT that of MQTT 3.1.1.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Gives which end it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Gives what the other end allows.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Gives the keep-alive in seconds; 0 is none.
    pub fn keep_alive(&self) -> u16 {
        self.keep_alive
    }
}

fn put_connack(tx: &mut Tx<'_>, version: Version, code: Code) {
    let answer = ConnAck { session_present: false, code, properties: Properties::NONE };
    encode::connack(tx.buf(8), version, &answer);
}
