//! What a connection sends: MQTT 5.0 and 3.1.1, section 3.

use alloc::vec::Vec;

use lodger_backend::Micros;

use super::{Mqtt, Peer, Role, State, put_connack};
use crate::Error;
use crate::io::Tx;
use crate::proto::Cx;
use crate::proto::mqtt::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Options, Publish, SubAck,
};
use crate::proto::mqtt::property::{Properties, Property, put};
use crate::proto::mqtt::wire::{VARINT_MAX, varint_len};
use crate::proto::mqtt::{Code, Version, encode};

/// How a server accepts a client.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "the fields of a packet")]
pub struct Accept<'a> {
    /// It had a session.
    pub session_present: bool,
    /// The keep-alive in place of the client's, in seconds. MQTT 5.0 only.
    pub keep_alive: Option<u16>,
    /// The identifier in place of an empty one.
    pub client_id: Option<&'a str>,
    /// The expiry of the session in place of the client's, in seconds.
    pub session_expiry: Option<u32>,
    /// More properties of the CONNACK.
    pub properties: Properties<'a>,
}

/// What is sent. Every function needs an open connection, unless it says otherwise, and says
/// [`Blame::Caller`](crate::Blame::Caller) without one.
impl Mqtt {
    /// Sends a client's CONNECT.
    ///
    /// # Errors
    ///
    /// Misuse: it was sent, or is too long for a packet.
    pub fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        c: &Connect<'_>,
    ) -> Result<(), Error> {
        if self.role != Role::Client || self.state != State::First {
            return Err(Error::misuse("CONNECT is a client's first packet"));
        }
        let texts = [c.client_id.len(), c.username.map_or(0, str::len)];
        let bytes = [c.password.map_or(0, <[u8]>::len), c.will.map_or(0, |w| w.payload.len())];
        if texts.iter().chain(&bytes).any(|&len| len > usize::from(u16::MAX)) {
            return Err(Error::misuse("a field of CONNECT has at most 65,535 bytes"));
        }
        self.version = c.version;
        self.keep_alive = c.keep_alive;
        let own = Peer::read(c.properties);
        (self.alias_max, self.max_in) = (own.aliases, own.packet.min(VARINT_MAX + 5));
        (self.state, self.began) = (State::Asked, cx.now);
        self.said = cx.now;
        if encode::connect(tx.buf(64), c) { Ok(()) } else { Err(TOO_LARGE) }
    }

    /// Accepts a client: its CONNACK. What this end takes is said from the limits.
    ///
    /// # Errors
    ///
    /// Misuse: there is no CONNECT to answer.
    pub fn accept(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        accept: &Accept<'_>,
    ) -> Result<(), Error> {
        self.check_asked()?;
        let limits = &cx.limits.mqtt;
        self.max_in = limits.packet;
        self.state = State::Open;
        self.heard = cx.now;
        let mut list = Vec::new();
        if self.version == Version::V5 {
            self.alias_max = limits.aliases;
            self.keep_alive = accept.keep_alive.unwrap_or(self.keep_alive);
            put(&mut list, Property::ReceiveMaximum(limits.receive_maximum.max(1)));
            put(&mut list, Property::MaximumPacketSize(limits.packet));
            put(&mut list, Property::TopicAliasMaximum(limits.aliases));
            let own = [
                accept.keep_alive.map(Property::ServerKeepAlive),
                accept.client_id.map(Property::AssignedClientId),
                accept.session_expiry.map(Property::SessionExpiry),
            ];
            for property in own.into_iter().flatten() {
                put(&mut list, property);
            }
            list.extend_from_slice(accept.properties.bytes());
        }
        let answer = ConnAck {
            session_present: accept.session_present,
            code: Code::SUCCESS,
            properties: Properties::checked(&list),
        };
        encode::connack(tx.buf(64), self.version, &answer);
        Ok(())
    }

    /// Refuses a client, and ends the connection.
    ///
    /// # Errors
    ///
    /// Misuse: there is no CONNECT to answer, or the code is none for a refusal.
    pub fn refuse(&mut self, tx: &mut Tx<'_>, code: Code) -> Result<(), Error> {
        self.check_asked()?;
        if !code.is_error() {
            return Err(Error::misuse("a refusal has a code of 0x80 or more"));
        }
        self.state = State::Closed;
        put_connack(tx, self.version, code);
        Ok(())
    }

    fn check_asked(&self) -> Result<(), Error> {
        if self.role == Role::Server && self.state == State::Asked {
            return Ok(());
        }
        Err(Error::misuse("there is no CONNECT to answer"))
    }

    fn check_open(&mut self, now: Micros) -> Result<(), Error> {
        if self.state != State::Open {
            return Err(Error::misuse("the MQTT connection is not open"));
        }
        self.said = now;
        Ok(())
    }

    /// Sends a message; `extra` are properties in front of its own. With `rest` above 0 the payload
    /// is its first part, and [`put`](Self::put) sends the others.
    ///
    /// # Errors
    ///
    /// Misuse, and nothing is sent: it is longer than the peer takes.
    #[inline]
    pub fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        publish: &Publish<'_>,
        extra: &[u8],
    ) -> Result<(), Error> {
        self.check_open(cx.now)?;
        if !self.takes(publish, extra.len()) {
            return Err(TOO_LARGE);
        }
        let room = publish.topic.len() + publish.payload.len() + 16;
        let room = room + publish.properties.bytes().len() + extra.len();
        encode::publish(tx.buf(room), self.version, publish, extra);
        Ok(())
    }

    /// Tells whether the peer takes a message of that length.
    pub fn takes(&self, publish: &Publish<'_>, extra: usize) -> bool {
        encode::publish_len(self.version, publish, extra)
            .is_some_and(|len| self.takes_len(len as usize))
    }

    /// Tells whether the peer takes a packet with so many bytes behind its length.
    pub(crate) fn takes_len(&self, len: usize) -> bool {
        let whole = 1 + varint_len(u32::try_from(len).unwrap_or(VARINT_MAX)) + len;
        whole <= self.peer.packet as usize
    }

    /// Sends bytes that are whole packets, or parts of the payload that is being sent.
    ///
    /// # Errors
    ///
    /// Misuse: the connection is not open.
    #[inline]
    pub fn put(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.check_open(cx.now)?;
        tx.put(bytes);
        Ok(())
    }

    /// Sends a PUBLISH that was made for many by [`put_publish`](crate::proto::mqtt::put_publish).
    /// `id` stands in place of its identifier, which begins at `id_at`; 0 leaves it out.
    ///
    /// # Errors
    ///
    /// Misuse, and nothing is sent: it is longer than the peer takes.
    #[inline]
    pub fn put_shared(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        bytes: &[u8],
        (id_at, id): (usize, u16),
    ) -> Result<(), Error> {
        self.check_open(cx.now)?;
        if bytes.len() > self.peer.packet as usize {
            return Err(TOO_LARGE);
        }
        let buf = tx.buf(bytes.len());
        let start = buf.len() + id_at;
        buf.extend_from_slice(bytes);
        if id != 0
            && let Some(place) = buf.get_mut(start..start + 2)
        {
            place.copy_from_slice(&id.to_be_bytes());
        }
        Ok(())
    }

    /// Sends a step of an acknowledgement. Properties that make it longer than the peer takes, or
    /// that it does not want, are left out.
    ///
    /// # Errors
    ///
    /// Misuse: the connection is not open.
    #[inline]
    pub fn ack(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, ack: &Ack<'_>) -> Result<(), Error> {
        self.check_open(cx.now)?;
        let mut ack = *ack;
        ack.properties = self.reasons(ack.properties);
        encode::ack(tx.buf(8), self.version, &ack);
        Ok(())
    }

    /// Sections 3.1.2.11.4 and 3.1.2.11.7.
    fn reasons<'p>(&self, properties: Properties<'p>) -> Properties<'p> {
        let fits = self.takes_len(properties.bytes().len() + 64);
        if self.peer.problem_info && fits { properties } else { Properties::NONE }
    }

    /// Sends a client's SUBSCRIBE.
    ///
    /// # Errors
    ///
    /// Misuse: it is longer than the server takes.
    pub fn subscribe<'f>(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        (id, properties): (u16, Properties<'_>),
        filters: impl Iterator<Item = (&'f str, Options)>,
    ) -> Result<(), Error> {
        self.check_open(cx.now)?;
        let mut packet = Vec::new();
        let fits = encode::subscribe(&mut packet, self.version, id, properties, filters);
        self.put_whole(tx, &packet, fits)
    }

    /// Sends a client's UNSUBSCRIBE.
    ///
    /// # Errors
    ///
    /// Misuse: it is longer than the server takes.
    pub fn unsubscribe<'f>(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        id: u16,
        filters: impl Iterator<Item = &'f str>,
    ) -> Result<(), Error> {
        self.check_open(cx.now)?;
        let mut packet = Vec::new();
        let fits = encode::unsubscribe(&mut packet, self.version, id, filters);
        self.put_whole(tx, &packet, fits)
    }

    fn put_whole(&self, tx: &mut Tx<'_>, packet: &[u8], fits: bool) -> Result<(), Error> {
        if !fits || packet.len() > self.peer.packet as usize {
            return Err(TOO_LARGE);
        }
        tx.put(packet);
        Ok(())
    }

    /// Sends a server's SUBACK.
    ///
    /// # Errors
    ///
    /// Misuse: the connection is not open, or the packet is longer than the client takes.
    pub fn suback(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        answer: &SubAck<'_>,
    ) -> Result<(), Error> {
        self.check_open(cx.now)?;
        let mut packet = Vec::new();
        let fits = encode::suback(&mut packet, self.version, answer);
        self.put_whole(tx, &packet, fits)
    }

    /// Sends a server's UNSUBACK.
    ///
    /// # Errors
    ///
    /// As [`suback`](Self::suback).
    pub fn unsuback(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
        answer: &SubAck<'_>,
    ) -> Result<(), Error> {
        self.check_open(cx.now)?;
        let mut packet = Vec::new();
        let fits = encode::unsuback(&mut packet, self.version, answer);
        self.put_whole(tx, &packet, fits)
    }

    /// Sends an AUTH. A server that does so before it has answered a CONNECT waits for the client's
    /// AUTH, and answers then.
    ///
    /// # Errors
    ///
    /// Misuse: the version has none, or there is nothing to authenticate.
    pub fn auth(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, auth: &Auth<'_>) -> Result<(), Error> {
        let there = matches!(self.state, State::Asked | State::Open);
        if self.version != Version::V5 || !there {
            return Err(Error::misuse("AUTH belongs to a connection of MQTT 5.0"));
        }
        self.said = cx.now;
        if self.role == Role::Server && self.state == State::Asked {
            self.state = State::Challenged;
        }
        encode::auth(tx.buf(16), auth.code, auth.properties);
        Ok(())
    }

    /// Says goodbye, as far as the version can, and ends the connection. A CONNECT that waits for
    /// its answer is refused.
    pub fn disconnect(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, goodbye: &Disconnect<'_>) {
        let before = core::mem::replace(&mut self.state, State::Closed);
        self.said = cx.now;
        let silent = self.role == Role::Server && self.version == Version::V4;
        match before {
            State::Open if !silent => {
                let properties = match self.role {
                    Role::Server => self.reasons(goodbye.properties),
                    Role::Client => goodbye.properties,
                };
                encode::disconnect(tx.buf(8), self.version, goodbye.code, properties);
            }
            State::Asked | State::Challenged if self.role == Role::Server => {
                let code = if goodbye.code.is_error() { goodbye.code } else { Code::UNSPECIFIED };
                put_connack(tx, self.version, code);
            }
            _ => {}
        }
    }
}

const TOO_LARGE: Error = Error::misuse("the packet is longer than the peer takes");
