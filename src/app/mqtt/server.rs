//! A server of devices: what each publishes and subscribes to is for the program to decide. For
//! clients that are to hear each other there is the broker.

use core::cell::RefCell;
use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use super::outgoing::Outgoing;
use crate::MqttLimits;
use crate::proto::mqtt::{
    Accept, Ack, AckKind, Acked, Code, Connect, Disconnect, Event, Item, Message, Next, Offer,
    Options, Properties, Publish, Qos, Session, SubAck, Version, check_topic,
};
use crate::runtime::handler::mqtt::{Link, Port};
use crate::runtime::{ConnId, Gone, Handle, Reason, SendError, Serve, Service};

/// What hears one device. Every method runs in a turn, with nothing of the runtime borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait Handler: 'static {
    /// A device wants to connect: [`Code::SUCCESS`] lets it in, an error refuses it.
    fn connect(&mut self, to: &Device, connect: &Connect<'_>) -> Code {
        Code::SUCCESS
    }

    /// It publishes a message, whole; with QoS 2 told once. The code is its acknowledgement, where
    /// its QoS has one.
    fn publish(&mut self, to: &Device, message: &Publish<'_>) -> Code;

    /// It subscribes: the granted QoS as a code ([`Code::SUCCESS`], [`Code::GRANTED_1`],
    /// [`Code::GRANTED_2`]), or an error. Refused unless overridden.
    fn subscribe(&mut self, to: &Device, filter: &str, options: Options) -> Code {
        Code::NOT_AUTHORIZED
    }

    /// It unsubscribes.
    fn unsubscribe(&mut self, to: &Device, filter: &str) -> Code {
        Code::NO_SUBSCRIPTION_EXISTED
    }

    /// It has taken a message that was sent with QoS 1 or 2 under this tag, or refused it.
    fn acknowledged(&mut self, to: &Device, tag: u64, code: Code) {}

    /// There is room, after a send that heard `Full`.
    fn writable(&mut self, to: &Device) {}

    /// It is over: exactly once, the last call. `goodbye` is what the device said, if it did.
    fn closed(&mut self, to: &Device, why: Reason, goodbye: Option<Code>) {}
}

struct Shared {
    h: Handle,
    port: Option<Port>,
    session: Session,
    limits: MqttLimits,
    full: bool,
}

/// Reaches one connected device, from anywhere on its thread. Cheap to clone.
#[derive(Clone)]
pub struct Device(Rc<RefCell<Shared>>);

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Device").field(&self.id()).finish()
    }
}

impl Device {
    /// Names its connection; `None` once it has ended.
    pub fn id(&self) -> Option<ConnId> {
        self.0.borrow().port.as_ref().map(Port::id)
    }

    /// Gives the runtime.
    pub fn runtime(&self) -> Handle {
        self.0.borrow().h.clone()
    }

    /// Sends a message, all or nothing. With QoS 1 or 2 it may wait until the device takes more;
    /// `tag` names it in [`Handler::acknowledged`].
    ///
    /// # Errors
    ///
    /// See [`SendError`]: after `Full` the handler hears `writable`.
    pub fn send(&self, message: Outgoing<'_>, tag: u64) -> Result<(), SendError> {
        let mut shared = self.0.borrow_mut();
        let Shared { h, port, session, limits, full } = &mut *shared;
        check_topic(message.topic(), limits)?;
        let port = port.as_ref().ok_or(Gone)?;
        let mut publish = message.publish();
        if publish.qos != Qos::AtMostOnce {
            let item = Item {
                message: Rc::new(Message::copy(&publish, h.now())),
                qos: publish.qos,
                retain: publish.retain,
                subscriptions: Box::default(),
                tag,
            };
            match session.offer(item, port.has_room(h), limits) {
                Offer::Send(id) => publish.id = id,
                Offer::Queued => {
                    port.want_write(h);
                    return Ok(());
                }
                Offer::Full => {
                    *full = true;
                    port.want_write(h);
                    return Err(SendError::Full { room: 0 });
                }
            }
        }
        let sent = port.within(h, |mqtt, cx, tx| mqtt.publish(cx, tx, &publish, &[]));
        if sent.is_err() && publish.id != 0 {
            session.give_up(publish.id);
        }
        if matches!(sent, Err(SendError::Full { .. })) {
            *full = true;
            port.want_write(h);
        }
        sent
    }

    /// Says goodbye and ends the connection.
    pub fn close(&self, code: Code) {
        let (h, port) = {
            let shared = self.0.borrow();
            (shared.h.clone(), shared.port.clone())
        };
        if let Some(port) = port {
            port.disconnect(&h, &Disconnect { code, properties: Properties::NONE });
        }
    }

    fn pump_out(&self) {
        let mut shared = self.0.borrow_mut();
        let Shared { h, port, session, .. } = &mut *shared;
        let Some(port) = port.as_ref() else { return };
        let now = h.now();
        loop {
            if session.pop_expired(now).is_some() {
                continue;
            }
            if session.queued() > 0 && !port.has_room(h) {
                port.want_write(h);
                return;
            }
            match session.next_out() {
                None => return,
                Some(Next::Release(id)) => answer(h, port, AckKind::PubRel, id, Code::SUCCESS),
                Some(Next::Publish { item, id, dup }) => {
                    let mut publish = item.message.publish(item.qos, item.retain, id);
                    publish.dup = dup;
                    let sent = port.with(h, |mqtt, cx, tx| mqtt.publish(cx, tx, &publish, &[]));
                    if sent.is_err() {
                        session.give_up(id);
                    }
                }
            }
        }
    }
}

/// Serves devices: makes a handler for each connection.
///
/// ```no_run
/// use lodger::mqtt::{Code, Device, Handler, Publish, Server};
///
/// struct Meter;
///
/// impl Handler for Meter {
///     fn publish(&mut self, _to: &Device, message: &Publish<'_>) -> Code {
///         println!("{}: {} bytes", message.topic, message.payload.len());
///         Code::SUCCESS
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let rt = lodger::Runtime::standalone()?;
/// rt.listen("127.0.0.1:1883", Server::new(|| Meter))?;
/// rt.run()
/// # }
/// ```
#[derive(Clone)]
pub struct Server(Rc<dyn Fn() -> Box<dyn Handler>>);

impl core::fmt::Debug for Server {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("mqtt::Server")
    }
}

impl Server {
    /// Calls `make` for each connection. A session ends with its connection.
    pub fn new<H: Handler>(make: impl Fn() -> H + 'static) -> Self {
        Self(Rc::new(move || Box::new(make())))
    }
}

impl Serve for Server {
    fn into_service(self) -> Service {
        Service::mqtt(Rc::new(move |h, _| {
            let shared = Shared {
                h: h.clone(),
                port: None,
                session: Session::new(),
                limits: h.mqtt_limits(),
                full: false,
            };
            let device = Device(Rc::new(RefCell::new(shared)));
            Some(Box::new(ServerLink { handler: (self.0)(), device, part: None, goodbye: None }))
        }))
    }
}

/// Hears one connection for a handler.
struct ServerLink {
    handler: Box<dyn Handler>,
    device: Device,
    /// A message whose payload is still arriving.
    part: Option<(Message, Vec<u8>, u16)>,
    goodbye: Option<Code>,
}

impl ServerLink {
    fn connect(&mut self, h: &Handle, port: &Port, connect: &Connect<'_>) {
        let code = self.handler.connect(&self.device, connect);
        if code != Code::SUCCESS {
            let code = if code.is_error() { code } else { Code::NOT_AUTHORIZED };
            // It fails only when the connection has ended.
            let _ = port.with(h, |mqtt, _, tx| mqtt.refuse(tx, code));
            port.ends(h);
            return;
        }
        let unnamed = connect.client_id.is_empty() && connect.version == Version::V5;
        let accept = Accept {
            client_id: unnamed.then_some("device"),
            session_expiry: (connect.version == Version::V5).then_some(0),
            ..Accept::default()
        };
        let peer = port.with(h, |mqtt, cx, tx| {
            mqtt.accept(cx, tx, &accept)?;
            Ok(mqtt.peer())
        });
        let mut shared = self.device.0.borrow_mut();
        let shared = &mut *shared;
        shared.port = Some(port.clone());
        shared.session.begin(peer.unwrap_or_default(), &shared.limits);
        port.resume(h);
    }

    fn publish(&mut self, h: &Handle, port: &Port, publish: &Publish<'_>) {
        if publish.rest > 0 {
            let head = Message::copy(&Publish { payload: &[], ..*publish }, h.now());
            self.part = Some((head, publish.payload.to_vec(), publish.id));
            return;
        }
        let kind = match publish.qos {
            Qos::AtMostOnce => {
                self.handler.publish(&self.device, publish);
                return;
            }
            Qos::AtLeastOnce => AckKind::PubAck,
            Qos::ExactlyOnce => AckKind::PubRec,
        };
        let once = publish.qos == Qos::ExactlyOnce;
        if once && self.device.0.borrow().session.has_received(publish.id) {
            answer(h, port, kind, publish.id, Code::SUCCESS);
            return;
        }
        let (unreleased, most) = {
            let shared = self.device.0.borrow();
            (shared.session.unreleased(), usize::from(shared.limits.receive_maximum.max(1)))
        };
        let v5 = port.with(h, |mqtt, _, _| Ok(mqtt.version() == Version::V5)).unwrap_or(false);
        if once && v5 && unreleased >= most {
            self.device.close(Code::RECEIVE_MAXIMUM_EXCEEDED);
            return;
        }
        let code = self.handler.publish(&self.device, publish);
        if once && !code.is_error() {
            self.device.0.borrow_mut().session.receive(publish.id);
        }
        answer(h, port, kind, publish.id, code);
    }

    fn payload(&mut self, h: &Handle, port: &Port, data: &[u8], rest: u32) {
        let Some((_, payload, _)) = &mut self.part else { return };
        payload.extend_from_slice(data);
        if rest > 0 {
            return;
        }
        let Some((head, payload, id)) = self.part.take() else { return };
        let publish = Publish { payload: &payload, ..head.publish(head.qos(), head.retain(), id) };
        self.publish(h, port, &publish);
    }

    fn ack(&mut self, h: &Handle, port: &Port, ack: &Ack<'_>) {
        if ack.kind == AckKind::PubRel {
            let known = self.device.0.borrow_mut().session.release(ack.id);
            let code = if known { Code::SUCCESS } else { Code::PACKET_ID_NOT_FOUND };
            answer(h, port, AckKind::PubComp, ack.id, code);
            return;
        }
        let acked = self.device.0.borrow_mut().session.acked(ack.kind, ack.id, ack.code);
        match acked {
            Acked::Release => answer(h, port, AckKind::PubRel, ack.id, Code::SUCCESS),
            Acked::Done(tag) => {
                self.handler.acknowledged(&self.device, tag, ack.code);
                self.device.pump_out();
                self.tell_room();
            }
            Acked::Unknown => {}
        }
    }

    fn tell_room(&mut self) {
        let room = {
            let mut shared = self.device.0.borrow_mut();
            let room = shared.full && shared.session.queued() < shared.limits.queued.max(1);
            shared.full &= !room;
            room
        };
        if room {
            self.handler.writable(&self.device);
        }
    }
}

impl Link for ServerLink {
    fn event(&mut self, h: &Handle, port: &Port, event: Event<'_>) {
        match event {
            Event::Connect(connect) => self.connect(h, port, &connect),
            Event::Publish(publish) => self.publish(h, port, &publish),
            Event::Payload { data, rest } => self.payload(h, port, data, rest),
            Event::Ack(ack) => self.ack(h, port, &ack),
            Event::Subscribe(asked) => {
                let mut codes = Vec::new();
                for (filter, options) in asked.filters() {
                    codes.push(self.handler.subscribe(&self.device, filter, options).0);
                }
                let answer = SubAck { id: asked.id, codes: &codes, properties: Properties::NONE };
                // It fails only when the connection has ended.
                let _ = port.with(h, |mqtt, cx, tx| mqtt.suback(cx, tx, &answer));
            }
            Event::Unsubscribe(asked) => {
                let mut codes = Vec::new();
                for filter in asked.filters() {
                    codes.push(self.handler.unsubscribe(&self.device, filter).0);
                }
                let answer = SubAck { id: asked.id, codes: &codes, properties: Properties::NONE };
                // As above.
                let _ = port.with(h, |mqtt, cx, tx| mqtt.unsuback(cx, tx, &answer));
            }
            Event::Disconnect(goodbye) => self.goodbye = Some(goodbye.code),
            Event::Auth(_) => self.device.close(Code::PROTOCOL_ERROR),
            _ => {}
        }
    }

    fn writable(&mut self, _h: &Handle, _port: &Port) {
        self.device.pump_out();
        self.tell_room();
    }

    fn closed(&mut self, _h: &Handle, _port: &Port, why: Reason) {
        self.device.0.borrow_mut().port = None;
        self.handler.closed(&self.device, why, self.goodbye);
    }
}

fn answer(h: &Handle, port: &Port, kind: AckKind, id: u16, code: Code) {
    let ack = Ack { kind, id, code, properties: Properties::NONE };
    // It fails only when the connection has ended: the device asks again on its next.
    let _ = port.with(h, |mqtt, cx, tx| mqtt.ack(cx, tx, &ack));
}
