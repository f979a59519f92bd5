//! A broker's state from its journal, and back into one that is short.

use core::time::Duration;
use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::Micros;

use super::log::{self, Fields, kind, put_record};
use super::state::{Client, State};
use crate::proto::mqtt::{Item, Message, Options, Properties, Publish, Qos, Session, Version};

/// The clock of the world beside that of the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Seconds since 1970, at `now`.
    pub(super) unix: u64,
    pub(super) now: Micros,
}

impl Clock {
    /// Gives the second in which a message expires; 0 is never.
    pub(super) fn unix_of(&self, message: &Message) -> u64 {
        message.expires.map_or(0, |at| self.unix + (at - self.now).as_secs())
    }

    fn expires(&self, unix: u64) -> Option<Micros> {
        let left = Duration::from_secs(unix.saturating_sub(self.unix));
        (unix != 0).then(|| self.now + left)
    }
}

impl State {
    /// Does again what one record says. `None`: it cannot be read.
    pub(super) fn replay(&mut self, body: &[u8], clock: Clock) -> Option<()> {
        let (&what, fields) = body.split_first()?;
        let mut f = Fields(fields);
        if what == kind::KEPT {
            let (message, _) = read_message(&mut f, clock)?;
            self.keep_message(Rc::new(message));
            return Some(());
        }
        let key = f.u32()?;
        match what {
            kind::SESSION => self.replay_session(key, &mut f)?,
            kind::GONE => _ = self.remove(key),
            kind::SUBSCRIBED => {
                let (id, bits) = (f.u32()?, f.u8()?);
                self.add_sub(key, f.text()?, Options::from_bits(bits)?, id);
            }
            kind::UNSUBSCRIBED => _ = self.remove_sub(key, f.text()?),
            _ => {
                let id = f.u16()?;
                let item =
                    if what == kind::OFFERED { Some(read_item(&mut f, clock)?) } else { None };
                // What a session that has gone was still doing is of no use.
                let Some(client) = self.client(key) else { return Some(()) };
                let session = &mut client.session;
                match (what, item) {
                    (kind::OFFERED, Some(item)) if id == 0 => session.restore_queued(item),
                    (kind::OFFERED, item) => session.restore_flight(id, item),
                    (kind::SENT, _) => session.restore_sent(id),
                    (kind::DROPPED, _) => _ = session.drop_oldest(),
                    (kind::ACKED, _) => session.restore_acked(id, f.u8()? != 0),
                    (kind::RECEIVED, _) => _ = session.receive(id),
                    (kind::RELEASED, _) => _ = session.release(id),
                    _ => return None,
                }
            }
        }
        Some(())
    }

    fn replay_session(&mut self, key: u32, f: &mut Fields<'_>) -> Option<()> {
        let (expiry, id, named, name) = (f.u32()?, f.text()?, f.u8()?, f.text()?);
        let username = (named != 0).then(|| Box::from(name));
        if let Some(client) = self.client(key) {
            (client.expiry, client.username) = (expiry, username);
            return Some(());
        }
        let client = Client {
            id: id.into(),
            username,
            port: None,
            version: Version::V5,
            epoch: 0,
            durable: true,
            session: Session::new(),
            subs: Vec::new(),
            expiry,
            will: None,
            aliases: None,
            timer: None,
            stamp: 0,
            hit: 0,
        };
        self.add_at(key, client)
    }

    /// Writes down everything, as records.
    pub(super) fn snapshot(&self, clock: Clock) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, client) in self.clients.iter().enumerate() {
            let Some(client) = client.as_ref().filter(|client| client.durable) else { continue };
            put_client(&mut out, u32::try_from(key).unwrap_or(u32::MAX), client, clock);
        }
        for message in self.retained.values().flatten() {
            let unix = clock.unix_of(message);
            put_record(&mut out, kind::KEPT, |o| log::put_message(o, message, unix));
        }
        out
    }
}

fn put_client(out: &mut Vec<u8>, key: u32, client: &Client, clock: Clock) {
    put_record(out, kind::SESSION, |o| {
        log::put_session(o, key, client.expiry, (&client.id, client.username.as_deref()));
    });
    for sub in &client.subs {
        put_record(out, kind::SUBSCRIBED, |o| {
            log::put_sub(o, key, &sub.filter, (sub.options, sub.id));
        });
    }
    for (id, item) in client.session.flights() {
        match item {
            Some(item) => put_offered(out, key, id, item, clock),
            None => {
                // Sent and received: the message itself is not needed any more.
                put_offered(out, key, id, &released(), clock);
                put_record(out, kind::ACKED, |o| {
                    log::put_key(o, key, id);
                    o.push(0);
                });
            }
        }
    }
    for item in client.session.waiting() {
        put_offered(out, key, 0, item, clock);
    }
    for id in client.session.received() {
        put_record(out, kind::RECEIVED, |o| log::put_key(o, key, id));
    }
}

fn put_offered(out: &mut Vec<u8>, key: u32, id: u16, item: &Item, clock: Clock) {
    let unix = clock.unix_of(&item.message);
    put_record(out, kind::OFFERED, |o| log::put_item(o, key, id, item, unix));
}

/// Stands for a message that its receiver has.
fn released() -> Item {
    let publish = Publish {
        dup: false,
        qos: Qos::ExactlyOnce,
        retain: false,
        topic: "-",
        id: 0,
        properties: Properties::NONE,
        payload: &[],
        rest: 0,
    };
    Item {
        message: Rc::new(Message::copy(&publish, Micros::ZERO)),
        qos: Qos::ExactlyOnce,
        retain: false,
        subscriptions: Box::default(),
        tag: 0,
    }
}

fn read_message(f: &mut Fields<'_>, clock: Clock) -> Option<(Message, Qos)> {
    let (bits, unix) = (f.u8()?, f.u64()?);
    let (topic, properties, payload) = (f.text()?, f.bytes()?, f.bytes()?);
    let qos = Qos::from_bits(bits & 3)?;
    let publish = Publish {
        dup: false,
        qos,
        retain: bits & 4 != 0,
        topic,
        id: 0,
        properties: Properties::checked(properties),
        payload,
        rest: 0,
    };
    let mut message = Message::copy(&publish, clock.now);
    message.expires = clock.expires(unix);
    Some((message, qos))
}

fn read_item(f: &mut Fields<'_>, clock: Clock) -> Option<Item> {
    let bits = f.u8()?;
    let count = f.u32()? as usize;
    // Nothing is reserved from a count that was read.
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(f.u32()?);
    }
    let (message, _) = read_message(f, clock)?;
    Some(Item {
        message: Rc::new(message),
        qos: Qos::from_bits(bits & 3)?,
        retain: bits & 4 != 0,
        subscriptions: numbers.into_boxed_slice(),
        tag: 0,
    })
}
