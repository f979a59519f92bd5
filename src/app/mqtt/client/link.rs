//! One connection of a client: what the server says, in order.

use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::Micros;

use super::shared::{Shared, User};
use super::{ClientEvent, Published};
use crate::app::mqtt::log::kind;
use crate::proto::mqtt::{
    Ack, AckKind, Acked, Auth, Code, ConnAck, Disconnect, Event, Message, Properties, Property,
    PropertyList, Publish, Qos, SubAck, split_shared, topic_matches,
};
use crate::runtime::handler::mqtt::{Link, Port};
use crate::runtime::{Handle, Reason};

/// A message whose payload is still arriving.
struct Partial {
    head: Message,
    id: u16,
    properties: Vec<u8>,
    payload: Vec<u8>,
}

/// Hears one connection for a client.
pub(crate) struct ClientLink {
    shared: Rc<Shared>,
    opened: Option<Micros>,
    partial: Option<Partial>,
    /// Who hears a message, kept for the next.
    users: Vec<Rc<User>>,
}

impl ClientLink {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared), opened: None, partial: None, users: Vec::new() }
    }

    fn connack(&mut self, port: &Port, answer: &ConnAck<'_>) {
        let shared = &self.shared;
        if answer.code != Code::SUCCESS {
            shared.state.borrow_mut().code = Some(answer.code);
            shared.tell(ClientEvent::Refused(answer.code));
            return;
        }
        self.opened = Some(shared.now());
        let peer = port.with(&shared.h, |mqtt, _, _| Ok(mqtt.peer())).unwrap_or_default();
        let lost = {
            let mut state = shared.state.borrow_mut();
            state.up = true;
            state.port = Some(port.clone());
            let lost =
                if answer.session_present { Vec::new() } else { state.begin_anew(&shared.h) };
            state.session.begin(peer, &shared.limits);
            lost
        };
        for tag in lost {
            shared.finish(tag, Published::Lost);
        }
        shared.ask();
        if let Some(birth) = &shared.client.birth {
            // It fails only when the connection has ended, or too much waits; then it is late.
            let _ = shared.publish(birth.outgoing(), None);
        }
        shared.tell(ClientEvent::Connected { session_present: answer.session_present });
        shared.pump_out();
        shared.tell_room();
    }

    fn publish(&mut self, port: &Port, publish: &Publish<'_>) {
        if publish.rest > 0 {
            let head = Publish { payload: &[], ..*publish };
            self.partial = Some(Partial {
                head: Message::copy(&head, self.shared.now()),
                id: publish.id,
                properties: publish.properties.bytes().to_vec(),
                payload: publish.payload.to_vec(),
            });
            return;
        }
        let new = publish.qos != Qos::ExactlyOnce || {
            let mut state = self.shared.state.borrow_mut();
            let new = state.session.receive(publish.id);
            if new {
                state.note(kind::RECEIVED, publish.id);
            }
            new
        };
        if new {
            self.dispatch(publish);
        }
        let kind = match publish.qos {
            Qos::AtMostOnce => return,
            Qos::AtLeastOnce => AckKind::PubAck,
            Qos::ExactlyOnce => AckKind::PubRec,
        };
        answer(&self.shared.h, port, kind, publish.id, Code::SUCCESS);
    }

    /// Hands a message to everybody whose filter it matches. User code runs: nothing is borrowed.
    fn dispatch(&mut self, publish: &Publish<'_>) {
        let mut users = core::mem::take(&mut self.users);
        {
            let state = self.shared.state.borrow();
            let matching = state.subs.iter().filter(|(filter, _)| {
                let inner = split_shared(filter).map_or(&***filter, |(_, inner)| inner);
                topic_matches(inner, publish.topic)
            });
            users.extend(
                matching.flat_map(|(_, entry)| entry.users.iter().map(|(_, f)| Rc::clone(f))),
            );
        }
        for user in &users {
            // One before it may have ended its subscription.
            if user.on.get() {
                (user.f)(&self.shared.h, publish);
            }
        }
        // The last of a user's closure goes with nothing borrowed.
        users.clear();
        self.users = users;
    }

    fn payload(&mut self, port: &Port, data: &[u8], rest: u32) {
        let Some(partial) = &mut self.partial else { return };
        partial.payload.extend_from_slice(data);
        if rest > 0 {
            return;
        }
        let Some(whole) = self.partial.take() else { return };
        let publish = Publish {
            properties: Properties::checked(&whole.properties),
            payload: &whole.payload,
            ..whole.head.publish(whole.head.qos(), whole.head.retain(), whole.id)
        };
        self.publish(port, &publish);
    }

    fn ack(&self, port: &Port, ack: &Ack<'_>) {
        let shared = &self.shared;
        if ack.kind == AckKind::PubRel {
            let known = {
                let mut state = shared.state.borrow_mut();
                state.note(kind::RELEASED, ack.id);
                state.session.release(ack.id)
            };
            let code = if known { Code::SUCCESS } else { Code::PACKET_ID_NOT_FOUND };
            answer(&shared.h, port, AckKind::PubComp, ack.id, code);
            return;
        }
        let acked = {
            let mut state = shared.state.borrow_mut();
            let acked = state.session.acked(ack.kind, ack.id, ack.code);
            match acked {
                Acked::Release => state.note_acked(ack.id, false),
                Acked::Done(_) => state.note_acked(ack.id, true),
                Acked::Unknown => {}
            }
            acked
        };
        match acked {
            Acked::Release => send_ack(&shared.h, port, ack.id),
            Acked::Done(tag) => {
                let refused = ack.code.is_error();
                let end =
                    if refused { Published::Refused(ack.code) } else { Published::Acknowledged };
                shared.finish(tag, end);
                shared.pump_out();
                shared.tell_room();
            }
            Acked::Unknown if ack.kind == AckKind::PubRec && !ack.code.is_error() => {
                answer(&shared.h, port, AckKind::PubRel, ack.id, Code::PACKET_ID_NOT_FOUND);
            }
            Acked::Unknown => {}
        }
    }

    fn suback(&self, answer: &SubAck<'_>) {
        let shared = &self.shared;
        let asked = {
            let mut state = shared.state.borrow_mut();
            let Some(asked) = state.asked.remove(&answer.id) else { return };
            state.session.give_back(answer.id);
            for (filter, &code) in asked.iter().zip(answer.codes) {
                if let Some(entry) = state.subs.get_mut(filter) {
                    entry.code = Some(Code(code));
                }
            }
            asked
        };
        for (filter, &code) in asked.iter().zip(answer.codes) {
            shared.tell(ClientEvent::Subscribed { filter, code: Code(code) });
        }
        shared.pump_out();
    }

    /// MQTT 5.0, section 4.12.
    fn auth(&self, port: &Port, auth: &Auth<'_>) {
        let h = &self.shared.h;
        let data = auth.properties.find(|p| match p {
            Property::AuthData(data) => Some(data),
            _ => None,
        });
        let Some((method, f)) = &self.shared.client.auth else {
            let code = Code::PROTOCOL_ERROR;
            port.disconnect(h, &Disconnect { code, properties: Properties::NONE });
            return;
        };
        if auth.code != Code::CONTINUE_AUTHENTICATION {
            return;
        }
        let mut list = PropertyList::new();
        let made = list
            .push(Property::AuthMethod(method))
            .and_then(|()| list.push(Property::AuthData(&f(data.unwrap_or_default()))));
        if made.is_err() {
            h.abort(port.id());
            return;
        }
        let answer = Auth { code: Code::CONTINUE_AUTHENTICATION, properties: list.view() };
        // It fails only when the connection has ended.
        let _ = port.with(h, |mqtt, cx, tx| mqtt.auth(cx, tx, &answer));
    }
}

impl Link for ClientLink {
    #[cfg(feature = "ws")]
    fn opened(&mut self, h: &Handle, port: &Port) {
        let said = self.shared.say_connect(|connect| {
            let said = port.with(h, |mqtt, cx, tx| mqtt.connect(cx, tx, connect));
            said.map_err(|_| crate::Error::misuse("the CONNECT was not taken"))
        });
        if said.is_err() || self.shared.stopped.get() {
            h.abort(port.id());
        }
        self.shared.state.borrow_mut().port = Some(port.clone());
    }

    fn event(&mut self, _h: &Handle, port: &Port, event: Event<'_>) {
        match event {
            Event::Publish(publish) => self.publish(port, &publish),
            Event::Payload { data, rest } => self.payload(port, data, rest),
            Event::Ack(ack) => self.ack(port, &ack),
            Event::ConnAck(answer) => self.connack(port, &answer),
            Event::SubAck(answer) => self.suback(&answer),
            Event::UnsubAck(answer) => {
                let mut state = self.shared.state.borrow_mut();
                if state.asked.remove(&answer.id).is_some() {
                    state.session.give_back(answer.id);
                }
            }
            Event::Disconnect(goodbye) => {
                self.shared.state.borrow_mut().code = Some(goodbye.code);
            }
            Event::Auth(auth) => self.auth(port, &auth),
            _ => {}
        }
    }

    fn settled(&mut self, h: &Handle) {
        let mut state = self.shared.state.borrow_mut();
        let port = state.port.clone();
        let written = state.commit(h);
        drop(state);
        if !written && let Some(port) = port {
            // What was said is not true for another program: it must not be sent.
            h.abort(port.id());
        }
    }

    fn writable(&mut self, _h: &Handle, _port: &Port) {
        self.shared.pump_out();
        self.shared.tell_room();
    }

    fn closed(&mut self, _h: &Handle, _port: &Port, why: Reason) {
        let shared = &self.shared;
        let code = shared.ended();
        let up = self.opened.map(|at| shared.now() - at);
        let retry_in = Shared::again(shared, up);
        match retry_in {
            Some(_) => shared.tell(ClientEvent::Disconnected { why, code, retry_in }),
            None => {
                shared.stopped.set(true);
                shared.over(why, code);
            }
        }
    }
}

/// Sends a PUBREL.
pub(super) fn send_ack(h: &Handle, port: &Port, id: u16) {
    answer(h, port, AckKind::PubRel, id, Code::SUCCESS);
}

fn answer(h: &Handle, port: &Port, kind: AckKind, id: u16, code: Code) {
    let ack = Ack { kind, id, code, properties: Properties::NONE };
    // It fails only when the connection has ended: the server sends again on the next.
    let _ = port.with(h, |mqtt, cx, tx| mqtt.ack(cx, tx, &ack));
}
