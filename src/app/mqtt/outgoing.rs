//! A message on its way out, as its sender puts it together.

use core::time::Duration;

use crate::proto::mqtt::{Properties, PropertyList, Publish, Qos};

/// A message to be published.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    topic: &'a str,
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    properties: Properties<'a>,
    within: Option<Duration>,
}

impl<'a> Outgoing<'a> {
    /// Makes one with QoS 0, which is not kept.
    pub const fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        let (qos, properties) = (Qos::AtMostOnce, Properties::NONE);
        Self { topic, payload, qos, retain: false, properties, within: None }
    }

    /// Sets the QoS.
    #[must_use]
    pub const fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Sets whether the server keeps it.
    #[must_use]
    pub const fn retain(mut self, on: bool) -> Self {
        self.retain = on;
        self
    }

    /// Sets its properties; MQTT 3.1.1 leaves them out.
    #[must_use]
    pub const fn properties(mut self, list: &'a PropertyList) -> Self {
        self.properties = list.view();
        self
    }

    /// Sets after how long its completion hears `Published::TimedOut`. A server waits for ever.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    pub(super) const fn topic(&self) -> &'a str {
        self.topic
    }

    /// After how long its completion is not waited for.
    #[cfg(feature = "client")]
    pub(super) const fn patience(&self) -> Option<Duration> {
        self.within
    }

    pub(super) fn publish(&self) -> Publish<'a> {
        Publish {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            id: 0,
            properties: self.properties,
            payload: self.payload,
            rest: 0,
        }
    }
}
