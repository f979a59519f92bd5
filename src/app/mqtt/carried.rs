//! MQTT in the binary messages of a WebSocket: MQTT 5.0, section 6. The same over HTTP/1.1 and
//! whatever else carries WebSockets.

use std::cell::RefCell;
use std::rc::Rc;

use crate::MqttLimits;
use crate::proto::mqtt::{Mqtt, Role};
use crate::proto::ws::{Config, Kind, Message};
use crate::runtime::handler::mqtt::{Carrier, Link, Port, feed, on_deadline};
use crate::runtime::handler::ws::{Chunk, Cx, Handler};
use crate::runtime::{Reason, TimerId};

/// Gives the configuration of a WebSocket route that carries MQTT: the subprotocol `mqtt`, messages
/// in parts, of any length within the limits of MQTT, and pages of the same host alone.
pub fn websocket_config(limits: &MqttLimits) -> Config {
    let packet = u64::from(limits.packet).saturating_add(16);
    Config::default()
        .protocols(&["mqtt"])
        .chunks(true)
        .frame(packet.saturating_mul(16))
        .message(packet.saturating_mul(16))
        .fragments(u32::MAX)
}

/// Hands what a WebSocket carries to a link.
pub(crate) struct OverWs<L> {
    link: L,
    role: Role,
    port: Option<Port>,
    timer: Option<TimerId>,
}

impl<L: Link> OverWs<L> {
    pub(crate) fn server(link: L) -> Self {
        Self { link, role: Role::Server, port: None, timer: None }
    }

    #[cfg(feature = "client")]
    pub(crate) fn client(link: L) -> Self {
        Self { link, role: Role::Client, port: None, timer: None }
    }

    /// Looks at the time when the connection has something due.
    fn arm(&mut self, cx: &mut Cx<'_>) {
        let Some(Port::Carried(_, carrier)) = &self.port else { return };
        let due = carrier.borrow().deadline(cx.runtime());
        let Some(due) = due.filter(|_| self.timer.is_none()) else { return };
        let wait = due - cx.runtime().now();
        self.timer = cx.timer(0, wait).ok();
    }

    fn take(&mut self, cx: &mut Cx<'_>, kind: Kind, data: &[u8]) {
        // Section 6: control packets come in binary messages.
        if kind == Kind::Text {
            cx.close(1003);
            return;
        }
        let Some(port) = self.port.clone() else { return };
        let h = cx.runtime().clone();
        if feed(&h, &port, data, &mut self.link).is_err() {
            cx.close(1002);
        } else if port.is_over() {
            cx.close(1000);
        }
        self.arm(cx);
    }
}

impl<L: Link> Handler for OverWs<L> {
    fn open(&mut self, cx: &mut Cx<'_>) {
        let now = cx.runtime().now();
        let mqtt = match self.role {
            Role::Server => Mqtt::server(now),
            Role::Client => Mqtt::client(now),
        };
        let carrier = Rc::new(RefCell::new(Carrier::new(mqtt)));
        let port = Port::Carried(cx.id(), carrier);
        self.link.opened(cx.runtime(), &port);
        self.port = Some(port);
        self.arm(cx);
    }

    fn message(&mut self, cx: &mut Cx<'_>, message: Message<'_>) {
        self.take(cx, message.kind(), message.bytes());
    }

    fn chunk(&mut self, cx: &mut Cx<'_>, chunk: Chunk<'_>) {
        self.take(cx, chunk.kind, chunk.data);
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _room: usize) {
        if let Some(port) = &self.port {
            self.link.writable(cx.runtime(), port);
            self.link.settled(cx.runtime());
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>, _tag: u64) {
        self.timer = None;
        let Some(port) = &self.port else { return };
        if on_deadline(cx.runtime(), port).is_err() {
            cx.close(1000);
            return;
        }
        self.arm(cx);
    }

    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {
        // One that never opened ends as well.
        let port = self.port.take().unwrap_or(Port::Direct(cx.id()));
        self.link.closed(cx.runtime(), &port, why);
    }
}
