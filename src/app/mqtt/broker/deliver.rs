//! From one publish to all that hear it.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::Micros;

use super::state::{Aliases, Client, State, Sub};
use crate::MqttLimits;
use crate::app::mqtt::log::{self, Log, kind};
use crate::app::mqtt::stored::Clock;
use crate::proto::mqtt::{
    Item, Message, Next, Offer, Properties, Property, PropertyList, Publish, Qos, Version,
    put_publish,
};
use crate::runtime::handler::mqtt::Port;
use crate::runtime::{Handle, SendError};

/// One receiver of a message.
#[derive(Debug)]
pub(super) struct Hit {
    client: u32,
    qos: Qos,
    keeps_retain: bool,
    /// Numbers of its subscriptions that match.
    ids: Vec<u32>,
}

/// A packet as all receivers of one kind hear it.
#[derive(Debug, Default)]
struct Encoded {
    bytes: Vec<u8>,
    /// Where its identifier stands.
    id_at: usize,
}

/// One message, encoded for each kind of receiver when the first of it is met.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    kinds: [Encoded; 12],
    /// Bit n: kind n is made.
    made: u16,
    /// The properties that are sent on, where they are not those that came.
    properties: Vec<u8>,
}

impl Encodings {
    fn kind(&mut self, version: Version, publish: &Publish<'_>) -> Option<&Encoded> {
        let at = publish.qos as usize
            + 3 * usize::from(publish.retain)
            + 6 * usize::from(version == Version::V5);
        let encoded = self.kinds.get_mut(at)?;
        if self.made & (1 << at) == 0 {
            self.made |= 1 << at;
            encoded.bytes.clear();
            put_publish(&mut encoded.bytes, version, publish);
            // Behind the first byte, the length and the topic.
            let digits = encoded.bytes.iter().skip(1).take_while(|&&byte| byte & 0x80 != 0).count();
            encoded.id_at = 1 + digits + 1 + 2 + publish.topic.len();
        }
        Some(encoded)
    }
}

/// A message on its way to its receivers.
struct Job<'p> {
    publish: Publish<'p>,
    now: Micros,
    encodings: Encodings,
    /// With memory of its own, made for the first receiver that may have to wait.
    message: Option<Rc<Message>>,
}

impl Job<'_> {
    fn message(&mut self) -> Rc<Message> {
        let (publish, now) = (&self.publish, self.now);
        Rc::clone(self.message.get_or_insert_with(|| Rc::new(Message::copy(publish, now))))
    }
}

impl State {
    /// Keeps a message if it asks for that, and sends it to all that subscribed. Gives how many
    /// that are.
    pub(super) fn publish(
        &mut self,
        h: &Handle,
        from: Option<u32>,
        publish: &Publish<'_>,
        now: Micros,
    ) -> usize {
        if publish.retain {
            self.keep(publish, now);
        }
        let mut hits = core::mem::take(&mut self.hits);
        hits.clear();
        self.find(publish.topic, from, &mut hits);
        let mut encodings = core::mem::take(&mut self.encodings);
        encodings.made = 0;
        let mut properties = core::mem::take(&mut encodings.properties);
        let mut sent_on = *publish;
        if !publish.properties.is_empty() && publish.properties.alias().is_some() {
            properties.clear();
            publish.properties.put_unaliased(&mut properties);
            sent_on.properties = Properties::checked(&properties);
        }
        let mut job = Job { publish: sent_on, now, encodings, message: None };
        for hit in &mut hits {
            self.deliver(h, hit, &mut job);
        }
        let Job { mut encodings, .. } = job;
        encodings.properties = properties;
        self.encodings = encodings;
        let found = hits.len();
        self.hits = hits;
        found
    }

    /// Finds the receivers of a topic: each client once for its plain subscriptions, with the
    /// highest QoS of those that match; one of each group.
    fn find(&mut self, topic: &str, from: Option<u32>, hits: &mut Vec<Hit>) {
        self.stamp += 1;
        let (stamp, clients) = (self.stamp, &mut self.clients);
        self.subs.matching(topic, |subs| {
            for sub in &subs.plain {
                if sub.options.no_local && from == Some(sub.client) {
                    continue;
                }
                let client = clients.get_mut(sub.client as usize).and_then(Option::as_mut);
                if let Some(client) = client {
                    add_hit(hits, client, stamp, sub);
                }
            }
            for group in &mut subs.groups {
                let there = |sub: &Sub| {
                    let client = clients.get(sub.client as usize).and_then(Option::as_ref);
                    client.is_some_and(|client| client.port.is_some())
                };
                let len = group.subs.len();
                let turns = (0..len).map(|i| (group.turn + i) % len);
                let chosen = turns.clone().find(|&i| group.subs.get(i).is_some_and(there));
                let Some(at) = chosen.or(turns.clone().next()) else { continue };
                group.turn = at + 1;
                hits.extend(group.subs.get(at).map(hit));
            }
        });
    }

    fn deliver(&mut self, h: &Handle, hit: &mut Hit, job: &mut Job<'_>) {
        let limits = Rc::clone(&self.limits);
        let Some(client) = self.clients.get_mut(hit.client as usize).and_then(Option::as_mut)
        else {
            return;
        };
        let qos = job.publish.qos.min(hit.qos);
        let retain = job.publish.retain && hit.keeps_retain;
        let mut publish = Publish { qos, retain, id: 0, dup: false, ..job.publish };
        if qos != Qos::AtMostOnce {
            let subscriptions: Box<[u32]> = hit.ids.as_slice().into();
            let item = Item { message: job.message(), qos, retain, subscriptions, tag: 0 };
            let room = client.port.as_ref().is_some_and(|port| port.has_room(h));
            let clock = self.clock;
            match offer(&mut self.log, clock, (hit.client, client), item, (room, &limits)) {
                Offer::Send(id) => publish.id = id,
                Offer::Queued => {
                    if let Some(port) = client.port.as_ref().filter(|_| !room) {
                        port.want_write(h);
                    }
                    return;
                }
                Offer::Full => {
                    self.counts.dropped += 1;
                    return;
                }
            }
        }
        let Some(port) = client.port.clone() else { return };
        let sent = if client.aliases.is_some() || !hit.ids.is_empty() {
            send_alone(h, &port, client, &publish, None, &hit.ids)
        } else {
            send_shared(h, &port, client.version, &publish, &mut job.encodings)
        };
        match sent {
            Ok(()) => self.counts.sent += 1,
            Err(e) => {
                self.counts.dropped += 1;
                // What is too long for a client counts as delivered: MQTT 5.0, 3.1.2.11.4. What
                // its connection did not take any more is sent again on the next.
                if publish.id != 0 && matches!(e, SendError::Misuse(_)) {
                    client.session.give_up(publish.id);
                    self.note_acked(hit.client, publish.id, true);
                }
            }
        }
    }

    /// Keeps a message for those who subscribe later, or forgets the one that is kept: MQTT 5.0,
    /// section 3.3.1.3.
    pub(super) fn keep(&mut self, publish: &Publish<'_>, now: Micros) {
        let message = Message::copy(publish, now);
        self.keep_message(Rc::new(message));
    }

    /// Keeps a message, or forgets the one that is kept, and writes that down.
    pub(super) fn keep_message(&mut self, message: Rc<Message>) {
        let unix = self.clock.unix_of(&message);
        self.log.add(kind::KEPT, |out| log::put_message(out, &message, unix));
        let topic = message.topic();
        let old = self.retained.get_mut(topic).and_then(Option::take);
        if let Some(old) = &old {
            self.retained_bytes -= old.size();
            self.counts.retained -= 1;
        }
        if message.payload().is_empty() {
            if old.is_some() {
                self.retained.prune(topic, Option::is_none);
            }
            return;
        }
        let fits = self.counts.retained < self.limits.retained as u64
            && self.retained_bytes + message.size() <= self.limits.retained_bytes;
        if !fits {
            self.counts.dropped += 1;
            self.retained.prune(topic, Option::is_none);
            return;
        }
        self.retained_bytes += message.size();
        self.counts.retained += 1;
        *self.retained.entry(topic) = Some(Rc::clone(&message));
    }

    /// Sends a client what waits for it, as far as it takes it.
    pub(super) fn pump_out(&mut self, h: &Handle, at: u32, now: Micros) {
        loop {
            let Some(client) = self.client(at) else { return };
            let Some(port) = client.port.clone() else { return };
            if client.session.pop_expired(now).is_some() {
                self.counts.dropped += 1;
                self.note(kind::DROPPED, at, 0);
                continue;
            }
            if client.session.queued() + client.session.in_flight() == 0 {
                return;
            }
            if !port.has_room(h) {
                port.want_write(h);
                return;
            }
            let (item, id, dup) = match client.session.next_out() {
                None => return,
                Some(Next::Release(id)) => {
                    super::link::send_ack(h, &port, crate::proto::mqtt::AckKind::PubRel, id);
                    continue;
                }
                Some(Next::Publish { item, id, dup }) => (item.clone(), id, dup),
            };
            if !dup {
                self.note(kind::SENT, at, id);
            }
            self.send_stored(h, (at, &port), &item, (id, dup), now);
        }
    }

    /// Sends one message that waited, or that is sent again.
    fn send_stored(
        &mut self,
        h: &Handle,
        (at, port): (u32, &Port),
        item: &Item,
        (id, dup): (u16, bool),
        now: Micros,
    ) {
        let Some(client) = self.clients.get_mut(at as usize).and_then(Option::as_mut) else {
            return;
        };
        let mut publish = item.message.publish(item.qos, item.retain, id);
        publish.dup = dup;
        let stored = Some((&*item.message, now));
        match send_alone(h, port, client, &publish, stored, &item.subscriptions) {
            Ok(()) => self.counts.sent += 1,
            Err(SendError::Misuse(_)) => {
                client.session.give_up(id);
                self.note_acked(at, id, true);
            }
            // The connection has ended: it is sent on the next.
            Err(_) => {}
        }
    }
}

fn hit(sub: &Sub) -> Hit {
    Hit {
        client: sub.client,
        qos: sub.options.qos,
        keeps_retain: sub.options.retain_as_published,
        ids: if sub.id == 0 { Vec::new() } else { [sub.id].into_iter().collect() },
    }
}

/// Adds a receiver, or a further subscription of one that is there.
fn add_hit(hits: &mut Vec<Hit>, client: &mut Client, stamp: u64, sub: &Sub) {
    if client.stamp == stamp
        && let Some(known) = hits.get_mut(client.hit as usize)
    {
        known.qos = known.qos.max(sub.options.qos);
        known.keeps_retain |= sub.options.retain_as_published;
        known.ids.extend((sub.id != 0).then_some(sub.id));
        return;
    }
    client.stamp = stamp;
    client.hit = u32::try_from(hits.len()).unwrap_or(u32::MAX);
    hits.push(hit(sub));
}

/// Offers a message to a session, and writes down what became of it.
pub(super) fn offer(
    log: &mut Log,
    clock: Clock,
    (at, client): (u32, &mut Client),
    item: Item,
    (room, limits): (bool, &MqttLimits),
) -> Offer {
    if !client.durable || !log.is_on() {
        return client.session.offer(item, room, limits);
    }
    let offer = client.session.offer(item.clone(), room, limits);
    let id = match offer {
        Offer::Send(id) => id,
        Offer::Queued => 0,
        Offer::Full => return offer,
    };
    let unix = clock.unix_of(&item.message);
    log.add(kind::OFFERED, |out| log::put_item(out, at, id, &item, unix));
    offer
}

/// Sends the bytes that all receivers of a kind are sent.
fn send_shared(
    h: &Handle,
    port: &Port,
    version: Version,
    publish: &Publish<'_>,
    encodings: &mut Encodings,
) -> Result<(), SendError> {
    let Some(encoded) = encodings.kind(version, publish) else { return Ok(()) };
    port.within(h, |mqtt, cx, tx| {
        mqtt.put_shared(cx, tx, &encoded.bytes, (encoded.id_at, publish.id))
    })
}

/// Sends a message that is encoded for one receiver: with numbers of subscriptions, an alias, or
/// what is left of its expiry.
pub(super) fn send_alone(
    h: &Handle,
    port: &Port,
    client: &mut Client,
    publish: &Publish<'_>,
    stored: Option<(&Message, Micros)>,
    ids: &[u32],
) -> Result<(), SendError> {
    if client.version == Version::V4 {
        return port.within(h, |mqtt, cx, tx| mqtt.publish(cx, tx, publish, &[]));
    }
    let mut extra = PropertyList::new();
    for &id in ids {
        // A number always fits.
        let _ = extra.push(Property::SubscriptionId(id));
    }
    if let Some((message, now)) = stored {
        message.put_expiry(now, &mut extra);
    }
    let mut publish = *publish;
    let aliased = client.aliases.as_mut().and_then(|aliases| aliases.find(publish.topic));
    if let Some((alias, known)) = aliased {
        let _ = extra.push(Property::TopicAlias(alias));
        if known {
            publish.topic = "";
        }
    }
    let extra = extra.view();
    let topic = publish.topic;
    let sent = port.within(h, |mqtt, cx, tx| mqtt.publish(cx, tx, &publish, extra.bytes()));
    if sent.is_err()
        && let (Some((_, false)), Some(aliases)) = (aliased, &mut client.aliases)
    {
        // The client was not told.
        aliases.topics.remove(topic);
    }
    sent
}

impl Aliases {
    /// Gives the alias of a topic, and whether the client knows it. `None`: there is none left.
    fn find(&mut self, topic: &str) -> Option<(u16, bool)> {
        if let Some(&alias) = self.topics.get(topic) {
            return Some((alias, true));
        }
        let next = u16::try_from(self.topics.len()).ok()? + 1;
        if next > self.most {
            return None;
        }
        self.topics.insert(topic.into(), next);
        Some((next, false))
    }
}
