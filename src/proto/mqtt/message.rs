//! A message with memory of its own, for as long as somebody waits for it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use lodger_backend::Micros;

use super::property::{Properties, Property, PropertyList};
use super::{Publish, Qos};

/// A message: topic, properties and payload, in one piece of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    bytes: Box<[u8]>,
    topic: usize,
    properties: usize,
    /// When it is of no use any more.
    pub(crate) expires: Option<Micros>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

impl Message {
    /// Copies a message that was received at `now`, its payload whole.
    pub fn copy(publish: &Publish<'_>, now: Micros) -> Self {
        let (topic, payload) = (publish.topic.as_bytes(), publish.payload);
        let size = topic.len() + publish.properties.bytes().len() + payload.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(topic);
        publish.properties.put_plain(&mut bytes);
        let properties = bytes.len() - topic.len();
        bytes.extend_from_slice(payload);
        let expiry = publish.properties.message_expiry();
        Self {
            bytes: bytes.into_boxed_slice(),
            topic: topic.len(),
            properties,
            expires: expiry.map(|secs| now + Duration::from_secs(u64::from(secs))),
            qos: publish.qos,
            retain: publish.retain,
        }
    }

    /// Gives its topic.
    pub fn topic(&self) -> &str {
        let bytes = self.bytes.get(..self.topic).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Gives its properties, without the expiry.
    pub fn properties(&self) -> Properties<'_> {
        let end = self.topic + self.properties;
        Properties::checked(self.bytes.get(self.topic..end).unwrap_or_default())
    }

    /// Gives its payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.topic + self.properties..).unwrap_or_default()
    }

    /// Gives the QoS in which it was published.
    pub fn qos(&self) -> Qos {
        self.qos
    }

    /// Tells whether it was published to be kept.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Gives how many bytes it holds.
    pub fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// Tells whether it is of no use any more: MQTT 5.0, section 3.3.2.3.3.
    pub fn is_expired(&self, now: Micros) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Appends the expiry that is left, in seconds, if it has one.
    pub fn put_expiry(&self, now: Micros, out: &mut PropertyList) {
        if let Some(at) = self.expires {
            let left = (at - now).as_secs();
            // A number always fits.
            let _ = out.push(Property::MessageExpiry(u32::try_from(left).unwrap_or(u32::MAX)));
        }
    }

    /// Gives it to be sent.
    pub fn publish(&self, qos: Qos, retain: bool, id: u16) -> Publish<'_> {
        Publish {
            dup: false,
            qos,
            retain,
            topic: self.topic(),
            id,
            properties: self.properties(),
            payload: self.payload(),
            rest: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_counts_down_its_expiry() {
        let mut list = PropertyList::new();
        list.push(Property::MessageExpiry(10)).unwrap();
        list.push(Property::User("a", "b")).unwrap();
        let publish = Publish {
            dup: false,
            qos: Qos::AtLeastOnce,
            retain: true,
            topic: "t",
            id: 1,
            properties: list.view(),
            payload: b"p",
            rest: 0,
        };
        let t0 = Micros::new(5);

        let message = Message::copy(&publish, t0);

        assert_eq!((message.topic(), message.payload()), ("t", &b"p"[..]));
        assert_eq!(message.properties().iter().collect::<Vec<_>>(), [Property::User("a", "b")]);
        let mut left = PropertyList::new();
        message.put_expiry(t0 + Duration::from_secs(4), &mut left);
        assert_eq!(left.view().message_expiry(), Some(6));
        assert!(!message.is_expired(t0 + Duration::from_millis(9999)));
        assert!(message.is_expired(t0 + Duration::from_secs(10)));
    }
}
