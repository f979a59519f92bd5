//! What is under way in a session, as records of a journal, and back.

use core::time::Duration;
use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::Micros;

use super::log::{self, Fields, kind, put_record};
use crate::proto::mqtt::{Item, Message, Properties, Publish, Qos, Session};

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

/// Does again what one record of a session says, behind its key: all kinds that are not named
/// otherwise. `None`: it cannot be read.
pub(super) fn replay(
    session: Option<&mut Session>,
    what: u8,
    f: &mut Fields<'_>,
    clock: Clock,
) -> Option<()> {
    let id = f.u16()?;
    let item = if what == kind::OFFERED { Some(read_item(f, clock)?) } else { None };
    // What a session that has gone was still doing is of no use.
    let Some(session) = session else { return Some(()) };
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
    Some(())
}

/// Writes down all that is under way.
pub(super) fn put_session(out: &mut Vec<u8>, key: u32, session: &Session, clock: Clock) {
    for (id, item) in session.flights() {
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
    for item in session.waiting() {
        put_offered(out, key, 0, item, clock);
    }
    for id in session.received() {
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

pub(super) fn read_message(f: &mut Fields<'_>, clock: Clock) -> Option<(Message, Qos)> {
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
