//! Subscriptions, and the kept messages that they are told: MQTT 5.0, sections 3.8 to 3.11.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::Micros;

use super::deliver::{offer, send_alone};
use super::state::{Group, State, Sub, Subscribed};
use super::{Access, Action, Inner};
use crate::app::mqtt::log::{self, kind};
use crate::proto::mqtt::{
    Code, Item, Message, Offer, Options, Properties, Qos, RetainHandling, SubAck, Subscribe,
    Unsubscribe, split_shared,
};
use crate::runtime::Handle;
use crate::runtime::handler::mqtt::Port;

impl Inner {
    /// Subscribes a client to what it may hear, answers, and tells it what is kept.
    pub(super) fn subscribe(&self, port: &Port, (at, epoch): (u32, u32), asked: &Subscribe<'_>) {
        let number = asked.properties.subscription_id().unwrap_or(0);
        let codes: Vec<u8> =
            asked.filters().enumerate().map(|(i, f)| self.decide((at, epoch), i, f)).collect();
        let mut state = self.state.borrow_mut();
        let now = self.h.now();
        let mut kept = Vec::new();
        for ((filter, options), &code) in asked.filters().zip(&codes) {
            if code >= 0x80 {
                continue;
            }
            let new = state.add_sub(at, filter, options, number);
            let wanted = match options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => new,
                RetainHandling::DoNotSend => false,
            };
            if wanted && !filter.starts_with("$share/") {
                kept.push((filter, options.qos));
            }
        }
        let answer = SubAck { id: asked.id, codes: &codes, properties: Properties::NONE };
        // It fails only when the connection has ended.
        let _ = port.with(&self.h, |mqtt, cx, tx| mqtt.suback(cx, tx, &answer));
        for (filter, qos) in kept {
            state.tell_kept(&self.h, at, (filter, qos, number), now);
        }
    }

    /// Decides about one filter. User code runs: nothing is borrowed.
    fn decide(
        &self,
        (at, epoch): (u32, u32),
        place: usize,
        (filter, options): (&str, Options),
    ) -> u8 {
        let (id, username) = {
            let mut state = self.state.borrow_mut();
            let most = (state.limits.filters, state.limits.subscriptions);
            let Some(client) = state.connected(at, epoch) else { return Code::UNSPECIFIED.0 };
            let known = client.subs.iter().any(|sub| &*sub.filter == filter);
            if place >= most.0 || !known && client.subs.len() + place >= most.1 {
                return Code::QUOTA_EXCEEDED.0;
            }
            if self.config.authorize.is_none() {
                (Box::default(), None)
            } else {
                (client.id.clone(), client.username.clone())
            }
        };
        if self.denies(filter) {
            return Code::UNSPECIFIED.0;
        }
        let (_, inner) = split_shared(filter).unwrap_or((None, filter));
        let access = Access {
            client_id: &id,
            username: username.as_deref(),
            action: Action::Subscribe,
            topic: inner,
        };
        if self.allows(&access) { options.qos as u8 } else { Code::NOT_AUTHORIZED.0 }
    }

    /// Takes subscriptions back, and answers.
    pub(super) fn unsubscribe(&self, port: &Port, at: u32, asked: &Unsubscribe<'_>) {
        let mut state = self.state.borrow_mut();
        let codes: Vec<u8> = asked
            .filters()
            .map(|filter| {
                let known = state.remove_sub(at, filter);
                if known { Code::SUCCESS.0 } else { Code::NO_SUBSCRIPTION_EXISTED.0 }
            })
            .collect();
        let answer = SubAck { id: asked.id, codes: &codes, properties: Properties::NONE };
        // As in `subscribe`.
        let _ = port.with(&self.h, |mqtt, cx, tx| mqtt.unsuback(cx, tx, &answer));
    }
}

impl State {
    /// Adds a subscription or replaces it. `true` if it is new.
    pub(super) fn add_sub(&mut self, at: u32, filter: &str, options: Options, id: u32) -> bool {
        let Some(client) = self.client(at) else { return false };
        let known = client.subs.iter_mut().find(|sub| &*sub.filter == filter);
        let new = known.is_none();
        match known {
            Some(sub) => (sub.options, sub.id) = (options, id),
            None => client.subs.push(Subscribed { filter: filter.into(), options, id }),
        }
        if client.durable {
            self.log.add(kind::SUBSCRIBED, |out| log::put_sub(out, at, filter, (options, id)));
        }
        self.counts.subscriptions += u64::from(new);
        let sub = Sub { client: at, options, id };
        let Some((group, inner)) = split_shared(filter) else { return new };
        let subs = self.subs.entry(inner);
        let list = match group {
            None => &mut subs.plain,
            Some(name) => {
                let place = subs.groups.iter().position(|group| &*group.name == name);
                let place = place.unwrap_or_else(|| {
                    subs.groups.push(Group { name: name.into(), subs: Vec::new(), turn: 0 });
                    subs.groups.len() - 1
                });
                let Some(group) = subs.groups.get_mut(place) else { return new };
                &mut group.subs
            }
        };
        match list.iter_mut().find(|known| known.client == at) {
            Some(known) => *known = sub,
            None => list.push(sub),
        }
        new
    }

    /// Takes a subscription back. `false` if there was none.
    pub(super) fn remove_sub(&mut self, at: u32, filter: &str) -> bool {
        let Some(client) = self.client(at) else { return false };
        let Some(place) = client.subs.iter().position(|sub| &*sub.filter == filter) else {
            return false;
        };
        client.subs.swap_remove(place);
        if client.durable {
            self.log.add(kind::UNSUBSCRIBED, |out| {
                log::put_u32(out, at);
                log::put_u32(out, u32::try_from(filter.len()).unwrap_or(0));
                out.extend_from_slice(filter.as_bytes());
            });
        }
        self.counts.subscriptions -= 1;
        self.take_sub(filter, at);
        true
    }

    /// Takes a client out of the list of a filter.
    pub(super) fn take_sub(&mut self, filter: &str, at: u32) {
        let Some((group, inner)) = split_shared(filter) else { return };
        let Some(subs) = self.subs.get_mut(inner) else { return };
        match group {
            None => subs.plain.retain(|sub| sub.client != at),
            Some(name) => {
                for group in subs.groups.iter_mut().filter(|group| &*group.name == name) {
                    group.subs.retain(|sub| sub.client != at);
                }
                subs.groups.retain(|group| !group.subs.is_empty());
            }
        }
        self.subs.prune(inner, super::state::Subs::is_empty);
    }

    /// Sends a client the kept messages that match its new subscription: section 3.3.1.3.
    fn tell_kept(
        &mut self,
        h: &Handle,
        at: u32,
        (filter, most, number): (&str, Qos, u32),
        now: Micros,
    ) {
        let mut found: Vec<Rc<Message>> = Vec::new();
        self.retained.matched_by(filter, |kept| {
            found.extend(kept.iter().filter(|message| !message.is_expired(now)).cloned());
        });
        let limits = Rc::clone(&self.limits);
        for message in found {
            let Some(client) = self.clients.get_mut(at as usize).and_then(Option::as_mut) else {
                return;
            };
            let Some(port) = client.port.clone() else { return };
            let qos = message.qos().min(most);
            let ids = [number];
            let ids = if number == 0 { &[][..] } else { &ids[..] };
            let mut id = 0;
            if qos != Qos::AtMostOnce {
                let item = Item {
                    message: Rc::clone(&message),
                    qos,
                    retain: true,
                    subscriptions: ids.into(),
                    tag: 0,
                };
                let room = port.has_room(h);
                let clock = self.clock;
                match offer(&mut self.log, clock, (at, client), item, (room, &limits)) {
                    Offer::Send(taken) => id = taken,
                    Offer::Queued => {
                        port.want_write(h);
                        continue;
                    }
                    Offer::Full => {
                        self.counts.dropped += 1;
                        continue;
                    }
                }
            }
            let publish = message.publish(qos, true, id);
            let stored = Some((&*message, now));
            match send_alone(h, &port, client, &publish, stored, ids) {
                Ok(()) => self.counts.sent += 1,
                Err(_) => {
                    self.counts.dropped += 1;
                    if id != 0 {
                        client.session.give_up(id);
                        self.note_acked(at, id, true);
                    }
                }
            }
        }
    }
}
