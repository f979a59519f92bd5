//! One connection of a broker: its packets, in order.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use super::connect::session_expiry;
use super::enhanced::{AuthStep, Exchange, method_of};
use super::{Access, Action, Inner};
use crate::app::mqtt::log::kind;
use crate::proto::mqtt::{
    Ack, AckKind, Acked, Auth, Code, Connect, Disconnect, Event, Properties, Publish, Qos, Version,
};
use crate::runtime::handler::mqtt::{Link, Port};
use crate::runtime::{ConnId, Handle, Reason};

/// A message whose payload is still arriving.
struct Partial {
    head: crate::proto::mqtt::Message,
    id: u16,
    /// The properties as they came.
    properties: Vec<u8>,
    payload: Vec<u8>,
}

/// What a message with QoS 2 is.
enum Arrives {
    First,
    Again,
    TooMany,
}

/// Hears one connection for a broker.
pub(super) struct BrokerLink {
    broker: Rc<Inner>,
    /// The client's number and the epoch of this connection, once it is accepted.
    client: Option<(u32, u32)>,
    partial: Option<Box<Partial>>,
    conn: Option<ConnId>,
    /// Of a client that authenticates by AUTH.
    exchange: Option<Box<Exchange>>,
    /// It is to answer a challenge.
    asked: bool,
}

impl BrokerLink {
    pub(super) fn new(broker: &Rc<Inner>) -> Self {
        let broker = Rc::clone(broker);
        Self { broker, client: None, partial: None, conn: None, exchange: None, asked: false }
    }

    fn connect(&mut self, h: &Handle, port: &Port, connect: &Connect<'_>) {
        self.conn = Some(port.id());
        if !self.broker.checked(port, connect) {
            return;
        }
        let Some(method) = method_of(connect.properties) else {
            self.client = self.broker.connect(port, connect, Properties::NONE);
            return;
        };
        match self.broker.config.begin(method, connect) {
            Some(exchange) => {
                self.exchange = Some(Box::new(exchange));
                self.prove(h, port, connect.properties);
            }
            None => self.broker.refuse(port, Code::BAD_AUTHENTICATION_METHOD),
        }
    }

    /// Section 4.12: an answer to a challenge, or the beginning of another authentication.
    fn auth(&mut self, h: &Handle, port: &Port, auth: &Auth<'_>) {
        let asked = self.asked;
        match &self.exchange {
            Some(exchange) if exchange.takes(auth, asked) => self.prove(h, port, auth.properties),
            // Whoever named no method may not send one, nor another: sections 4.12 and 4.12.1.
            _ => say_goodbye(h, port, Code::PROTOCOL_ERROR),
        }
    }

    /// Asks about what the client has said, and says what comes of it.
    fn prove(&mut self, h: &Handle, port: &Port, said: Properties<'_>) {
        let Some(exchange) = &mut self.exchange else { return };
        let step = exchange.ask(said);
        self.asked = matches!(step, AuthStep::Continue(_));
        let code = if self.asked { Code::CONTINUE_AUTHENTICATION } else { Code::SUCCESS };
        match step {
            AuthStep::Refuse(code) => {
                let code = if code.is_error() { code } else { Code::NOT_AUTHORIZED };
                say_goodbye(h, port, code);
            }
            AuthStep::Success(data) if exchange.waiting.is_some() => {
                let list = exchange.properties(&data);
                let Some(waiting) = exchange.waiting.take() else { return };
                self.client = self.broker.connect(port, &waiting.connect(), list.view());
            }
            AuthStep::Success(data) | AuthStep::Continue(data) => {
                let list = exchange.properties(&data);
                let auth = Auth { code, properties: list.view() };
                // It fails only when the connection has ended.
                let _ = port.with(h, |mqtt, cx, tx| mqtt.auth(cx, tx, &auth));
                port.resume(h);
            }
        }
    }

    fn publish(&mut self, h: &Handle, port: &Port, publish: &Publish<'_>) {
        if publish.rest > 0 {
            self.partial = Some(Box::new(Partial {
                head: crate::proto::mqtt::Message::copy(
                    &Publish { payload: &[], ..*publish },
                    h.now(),
                ),
                id: publish.id,
                properties: publish.properties.bytes().to_vec(),
                payload: publish.payload.to_vec(),
            }));
            return;
        }
        let Some((at, epoch)) = self.client else { return };
        match publish.qos {
            Qos::AtMostOnce => {
                if self.may_publish((at, epoch), publish) {
                    self.route(h, at, publish);
                }
            }
            Qos::AtLeastOnce => {
                let code = self.route_checked(h, (at, epoch), publish);
                answer(h, port, AckKind::PubAck, publish.id, code);
            }
            Qos::ExactlyOnce => self.publish_once(h, port, (at, epoch), publish),
        }
    }

    /// Section 4.3.3: routed when it arrives first, and known until it is released.
    fn publish_once(&mut self, h: &Handle, port: &Port, client: (u32, u32), publish: &Publish<'_>) {
        let (at, epoch) = client;
        match self.arrives(client, publish.id) {
            Some(Arrives::First) => {}
            Some(Arrives::Again) => {
                answer(h, port, AckKind::PubRec, publish.id, Code::SUCCESS);
                return;
            }
            Some(Arrives::TooMany) => {
                say_goodbye(h, port, Code::RECEIVE_MAXIMUM_EXCEEDED);
                return;
            }
            None => return,
        }
        let code = self.route_checked(h, client, publish);
        let mut state = self.broker.state.borrow_mut();
        if !code.is_error()
            && let Some(sender) = state.connected(at, epoch)
        {
            sender.session.receive(publish.id);
            state.note(kind::RECEIVED, at, publish.id);
        }
        drop(state);
        answer(h, port, AckKind::PubRec, publish.id, code);
    }

    /// Looks whether a message with QoS 2 is new. `None`: its client has gone.
    fn arrives(&self, (at, epoch): (u32, u32), id: u16) -> Option<Arrives> {
        let mut state = self.broker.state.borrow_mut();
        let most = usize::from(state.limits.receive_maximum.max(1));
        let sender = state.connected(at, epoch)?;
        // MQTT 3.1.1 has no such bound: there its identifiers are one.
        let full = sender.version == Version::V5 && sender.session.unreleased() >= most;
        Some(match sender.session.has_received(id) {
            true => Arrives::Again,
            false if full => Arrives::TooMany,
            false => Arrives::First,
        })
    }

    /// Whether a client may publish this. User code runs: nothing is borrowed.
    fn may_publish(&self, (at, epoch): (u32, u32), publish: &Publish<'_>) -> bool {
        if publish.topic.starts_with("$SYS") {
            return false;
        }
        if self.broker.config.authorize.is_none() {
            return true;
        }
        let known = self
            .broker
            .state
            .borrow_mut()
            .connected(at, epoch)
            .map(|client| (client.id.clone(), client.username.clone()));
        let Some((id, username)) = known else { return false };
        self.broker.allows(&Access {
            client_id: &id,
            username: username.as_deref(),
            action: Action::Publish,
            topic: publish.topic,
        })
    }

    fn route_checked(&self, h: &Handle, client: (u32, u32), publish: &Publish<'_>) -> Code {
        if !self.may_publish(client, publish) {
            return Code::NOT_AUTHORIZED;
        }
        match self.route(h, client.0, publish) {
            0 => Code::NO_MATCHING_SUBSCRIBERS,
            _ => Code::SUCCESS,
        }
    }

    fn route(&self, h: &Handle, at: u32, publish: &Publish<'_>) -> usize {
        let mut state = self.broker.state.borrow_mut();
        state.counts.received += 1;
        state.publish(h, Some(at), publish, h.now())
    }

    fn payload(&mut self, h: &Handle, port: &Port, data: &[u8], rest: u32) {
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
        self.publish(h, port, &publish);
    }

    fn ack(&self, h: &Handle, port: &Port, ack: &Ack<'_>) {
        let Some((at, epoch)) = self.client else { return };
        let state = &mut *self.broker.state.borrow_mut();
        let Some(client) = state.connected(at, epoch) else { return };
        if ack.kind == AckKind::PubRel {
            let known = client.session.release(ack.id);
            if known {
                state.note(kind::RELEASED, at, ack.id);
            }
            let code = if known { Code::SUCCESS } else { Code::PACKET_ID_NOT_FOUND };
            answer(h, port, AckKind::PubComp, ack.id, code);
            return;
        }
        match client.session.acked(ack.kind, ack.id, ack.code) {
            Acked::Release => {
                state.note_acked(at, ack.id, false);
                send_ack(h, port, AckKind::PubRel, ack.id);
            }
            Acked::Done(_) => {
                state.note_acked(at, ack.id, true);
                state.pump_out(h, at, h.now());
            }
            Acked::Unknown if ack.kind == AckKind::PubRec && !ack.code.is_error() => {
                answer(h, port, AckKind::PubRel, ack.id, Code::PACKET_ID_NOT_FOUND);
            }
            Acked::Unknown => {}
        }
    }

    /// Section 3.14: without a reason to publish it the will is forgotten.
    fn goodbye(&mut self, goodbye: &Disconnect<'_>) {
        let Some((at, epoch)) = self.client else { return };
        let mut state = self.broker.state.borrow_mut();
        let most = u32::try_from(state.limits.session_expiry.as_secs()).unwrap_or(u32::MAX);
        let Some(client) = state.connected(at, epoch) else { return };
        let asked = session_expiry(goodbye.properties);
        // Section 3.14.2.2.2: one that began with 0 stays 0. To ask for more breaks the protocol,
        // and is no good end.
        let broken = client.expiry == 0 && asked.is_some_and(|secs| secs > 0);
        if goodbye.code == Code::SUCCESS && !broken {
            client.will = None;
        }
        if let Some(secs) = asked.filter(|_| client.expiry > 0) {
            client.expiry = secs.min(most);
        }
        drop(state);
        self.broker.disconnected(at, epoch);
    }
}

impl Link for BrokerLink {
    fn event(&mut self, h: &Handle, port: &Port, event: Event<'_>) {
        match event {
            Event::Publish(publish) => self.publish(h, port, &publish),
            Event::Payload { data, rest } => self.payload(h, port, data, rest),
            Event::Ack(ack) => self.ack(h, port, &ack),
            Event::Connect(connect) => self.connect(h, port, &connect),
            Event::Subscribe(asked) => {
                if let Some(client) = self.client {
                    self.broker.subscribe(port, client, &asked);
                }
            }
            Event::Unsubscribe(asked) => {
                if let Some((at, _)) = self.client {
                    self.broker.unsubscribe(port, at, &asked);
                }
            }
            Event::Disconnect(goodbye) => self.goodbye(&goodbye),
            Event::Auth(auth) => self.auth(h, port, &auth),
            _ => {}
        }
    }

    fn settled(&mut self, h: &Handle) {
        let written = self.broker.state.borrow_mut().commit(h);
        if !written && let Some(conn) = self.conn {
            // What was said to it is not true: it must not be sent.
            h.abort(conn);
        }
    }

    fn writable(&mut self, h: &Handle, _port: &Port) {
        if let Some((at, epoch)) = self.client {
            let mut state = self.broker.state.borrow_mut();
            if state.connected(at, epoch).is_some() {
                state.pump_out(h, at, h.now());
                state.commit(h);
            }
        }
    }

    fn closed(&mut self, _h: &Handle, _port: &Port, _why: Reason) {
        if let Some((at, epoch)) = self.client.take() {
            self.broker.disconnected(at, epoch);
        }
    }
}

fn say_goodbye(h: &Handle, port: &Port, code: Code) {
    port.disconnect(h, &Disconnect { code, properties: Properties::NONE });
}

/// Sends a step of an acknowledgement without a reason.
pub(super) fn send_ack(h: &Handle, port: &Port, kind: AckKind, id: u16) {
    answer(h, port, kind, id, Code::SUCCESS);
}

fn answer(h: &Handle, port: &Port, kind: AckKind, id: u16, code: Code) {
    let ack = Ack { kind, id, code, properties: Properties::NONE };
    // It fails only when the connection has ended: the client asks again on its next.
    let _ = port.with(h, |mqtt, cx, tx| mqtt.ack(cx, tx, &ack));
}
