//! Clients that come, and that go: MQTT 5.0, sections 3.1, 3.14 and 4.1.

use core::time::Duration;
use std::boxed::Box;
use std::format;
use std::rc::{Rc, Weak};
use std::string::String;
use std::vec::Vec;

use lodger_backend::Micros;

use super::state::{Aliases, Client, State, Will};
use super::{Access, Action, Inner};
use crate::proto::mqtt;
use crate::proto::mqtt::{
    Accept, Code, Connect, Disconnect, Message, Properties, Property, Publish, Session, Version,
};
use crate::runtime::Handle;
use crate::runtime::handler::mqtt::Port;

/// What a CONNECT asks of the session, before anything is done for it.
struct Wanted<'c> {
    connect: &'c Connect<'c>,
    id: String,
    /// The client had no identifier.
    assigned: bool,
    /// Seconds that the session outlives the connection.
    expiry: u32,
    /// That is not what the client asked for.
    clamped: bool,
    /// For the answer.
    properties: Properties<'c>,
}

impl Inner {
    /// Decides about a client as far as its CONNECT goes. User code runs: nothing is borrowed.
    pub(super) fn checked(&self, port: &Port, connect: &Connect<'_>) -> bool {
        let refused = self.check(connect);
        if refused != Code::SUCCESS {
            self.refuse(port, refused);
        }
        refused == Code::SUCCESS
    }

    /// Takes in a client that may connect, answers it with `properties` beside the broker's own, and
    /// gives the number and epoch of its connection.
    pub(super) fn connect(
        self: &Rc<Self>,
        port: &Port,
        connect: &Connect<'_>,
        properties: Properties<'_>,
    ) -> Option<(u32, u32)> {
        let wanted = self.wanted(connect, properties);
        let mut state = self.state.borrow_mut();
        let found = state.names.get(wanted.id.as_str()).copied();
        let full = state.counts.sessions >= state.limits.sessions as u64;
        let foreign = found
            .and_then(|at| state.client(at))
            .is_some_and(|client| client.username.as_deref() != connect.username);
        if foreign || found.is_none() && full {
            let code = if foreign { Code::NOT_AUTHORIZED } else { Code::QUOTA_EXCEEDED };
            drop(state);
            self.refuse(port, code);
            return None;
        }
        Some(self.take_in(&mut state, port, &wanted, found))
    }

    pub(super) fn refuse(&self, port: &Port, code: Code) {
        // It fails only when the connection has ended.
        let _ = port.with(&self.h, |mqtt, _, tx| mqtt.refuse(tx, code));
        port.ends(&self.h);
    }

    /// Whether a client may connect at all. User code runs: nothing is borrowed.
    fn check(&self, connect: &Connect<'_>) -> Code {
        let code = self.config.authenticate.as_ref().map_or(Code::SUCCESS, |f| f(connect));
        if code != Code::SUCCESS {
            return if code.is_error() { code } else { Code::NOT_AUTHORIZED };
        }
        let Some(will) = &connect.will else { return Code::SUCCESS };
        let access = Access {
            client_id: connect.client_id,
            username: connect.username,
            action: Action::Publish,
            topic: will.topic,
        };
        let hidden = will.topic.starts_with("$SYS");
        if hidden || !self.allows(&access) { Code::NOT_AUTHORIZED } else { Code::SUCCESS }
    }

    fn wanted<'c>(&self, connect: &'c Connect<'c>, properties: Properties<'c>) -> Wanted<'c> {
        let most = self.state.borrow().limits.session_expiry.as_secs();
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let asked = match connect.version {
            Version::V4 if connect.clean => 0,
            Version::V4 => u32::MAX,
            Version::V5 => session_expiry(connect.properties).unwrap_or(0),
        };
        let assigned = connect.client_id.is_empty();
        let id = if assigned {
            let half = || u64::from(self.h.random());
            format!("lodger-{:016x}", half() << 32 | half())
        } else {
            connect.client_id.into()
        };
        let (expiry, clamped) = (asked.min(most), asked > most);
        Wanted { connect, id, assigned, expiry, clamped, properties }
    }

    /// Puts the connection in the place of whatever the client had.
    fn take_in(
        self: &Rc<Self>,
        state: &mut State,
        port: &Port,
        wanted: &Wanted<'_>,
        found: Option<u32>,
    ) -> (u32, u32) {
        let (h, now) = (&self.h, self.h.now());
        if let Some(at) = found {
            self.take_over(state, at, wanted.connect.clean, now);
        }
        // A session that ended with its connection is gone by now.
        let found = found.filter(|&at| state.client(at).is_some());
        if let Some(at) = found.filter(|_| wanted.connect.clean) {
            state.remove(at);
        }
        let present = found.filter(|_| !wanted.connect.clean);
        let at = present.unwrap_or_else(|| state.add(fresh(wanted)));
        let keep_alive = self.config.keep_alive.filter(|_| wanted.connect.version == Version::V5);
        let accept = Accept {
            session_present: present.is_some(),
            keep_alive,
            client_id: wanted.assigned.then_some(wanted.id.as_str()),
            session_expiry: wanted.clamped.then_some(wanted.expiry),
            properties: wanted.properties,
        };
        let peer = port.with(h, |mqtt, cx, tx| {
            mqtt.accept(cx, tx, &accept)?;
            Ok(mqtt.peer())
        });
        port.resume(h);
        state.counts.connected += 1;
        state.epochs = state.epochs.wrapping_add(1);
        let (limits, epoch) = (Rc::clone(&state.limits), state.epochs);
        let Some(client) = state.client(at) else { return (at, epoch) };
        client.epoch = epoch;
        client.version = wanted.connect.version;
        client.username = wanted.connect.username.map(Box::from);
        client.expiry = wanted.expiry;
        client.will = wanted.connect.will.as_ref().map(will);
        client.port = Some(port.clone());
        let peer = peer.unwrap_or_default();
        client.aliases = (peer.aliases > 0).then(|| {
            Box::new(Aliases { most: peer.aliases, topics: std::collections::BTreeMap::new() })
        });
        client.session.begin(peer, &limits);
        state.note_session(at);
        state.pump_out(h, at, now);
        (at, epoch)
    }

    /// Ends the connection that a client had, and what waited for its end: section 3.1.4.
    fn take_over(self: &Rc<Self>, state: &mut State, at: u32, clean: bool, now: Micros) {
        let Some(client) = state.client(at) else { return };
        if let Some(timer) = client.timer.take() {
            self.h.cancel(timer);
        }
        let ends = clean || client.expiry == 0;
        let will = client.will.take().filter(|will| ends || will.delay == 0);
        let old = client.port.take();
        let was_connected = old.is_some();
        if let Some(port) = old {
            client.session.end();
            state.counts.connected -= 1;
            let goodbye =
                Disconnect { code: Code::SESSION_TAKEN_OVER, properties: Properties::NONE };
            port.disconnect(&self.h, &goodbye);
        }
        let ended = was_connected && state.client(at).is_some_and(|client| client.expiry == 0);
        if ended {
            state.remove(at);
        }
        if let Some(will) = will {
            state.publish_will(&self.h, *will, now);
        }
    }

    /// A connection has ended: its will and its session go their ways. `polite`: it said goodbye
    /// without wanting its will.
    pub(super) fn disconnected(self: &Rc<Self>, at: u32, epoch: u32) {
        let mut state = self.state.borrow_mut();
        let now = self.h.now();
        let Some(client) = state.connected(at, epoch) else { return };
        client.port = None;
        client.aliases = None;
        client.session.end();
        state.counts.connected -= 1;
        self.wait_for_end(&mut state, at, now);
        state.commit(&self.h);
    }

    /// Begins to wait for the end of all sessions, none of which has a connection.
    pub(super) fn wait_for_all(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let now = self.h.now();
        for at in 0..u32::try_from(state.clients.len()).unwrap_or(u32::MAX) {
            self.wait_for_end(&mut state, at, now);
        }
    }

    /// Publishes the will if its time has come, ends the session if its has, and waits for the
    /// next of the two otherwise.
    fn wait_for_end(self: &Rc<Self>, state: &mut State, at: u32, now: Micros) {
        let Some(client) = state.client(at) else { return };
        let (expiry, epoch) = (client.expiry, client.epoch);
        // Section 3.1.3.2.2: the will waits no longer than the session.
        let delay = client.will.as_ref().map(|will| will.delay.min(expiry));
        if delay == Some(0) {
            let will = client.will.take();
            if let Some(will) = will {
                state.publish_will(&self.h, *will, now);
            }
        }
        if expiry == 0 {
            state.remove(at);
            return;
        }
        let Some(client) = state.client(at) else { return };
        let wait = delay.filter(|&delay| delay > 0);
        let first = wait.unwrap_or(expiry);
        if first == u32::MAX {
            return;
        }
        let this = Rc::downgrade(self);
        let timer = self.h.after(Duration::from_secs(u64::from(first)), move |_| {
            Self::waited(&this, at, epoch, first);
        });
        client.timer = Some(timer);
    }

    /// `secs` have passed since the connection ended, or since the last time.
    fn waited(this: &Weak<Self>, at: u32, epoch: u32, secs: u32) {
        let Some(this) = this.upgrade() else { return };
        let mut state = this.state.borrow_mut();
        let now = this.h.now();
        let waits = state.client(at).filter(|c| c.epoch == epoch && c.port.is_none());
        let Some(client) = waits else { return };
        client.timer = None;
        if client.expiry != u32::MAX {
            client.expiry = client.expiry.saturating_sub(secs);
        }
        if let Some(will) = &mut client.will {
            will.delay = will.delay.saturating_sub(secs);
        }
        this.wait_for_end(&mut state, at, now);
        state.commit(&this.h);
    }
}

impl State {
    fn publish_will(&mut self, h: &Handle, mut will: Will, now: Micros) {
        let expiry = will.expiry.map(|secs| now + Duration::from_secs(u64::from(secs)));
        will.message.expires = expiry;
        let mut expiry = mqtt::PropertyList::new();
        will.message.put_expiry(now, &mut expiry);
        let mut properties: Vec<u8> = expiry.view().bytes().to_vec();
        properties.extend_from_slice(will.message.properties().bytes());
        let message = &will.message;
        let id = u16::from(message.qos() != mqtt::Qos::AtMostOnce);
        let publish = Publish {
            properties: Properties::checked(&properties),
            ..message.publish(message.qos(), message.retain(), id)
        };
        self.publish(h, None, &publish, now);
    }
}

/// Gives the expiry of a session that a packet asks for, in seconds.
pub(super) fn session_expiry(properties: Properties<'_>) -> Option<u32> {
    properties.find(|p| if let Property::SessionExpiry(n) = p { Some(n) } else { None })
}

fn will(will: &mqtt::Will<'_>) -> Box<Will> {
    let publish = Publish {
        dup: false,
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        id: 0,
        properties: will.properties,
        payload: will.payload,
        rest: 0,
    };
    let delay = will.properties.find(|p| match p {
        Property::WillDelay(secs) => Some(secs),
        _ => None,
    });
    Box::new(Will {
        message: Message::copy(&publish, Micros::ZERO),
        delay: delay.unwrap_or(0),
        expiry: will.properties.message_expiry(),
    })
}

fn fresh(wanted: &Wanted<'_>) -> Client {
    Client {
        id: wanted.id.as_str().into(),
        username: None,
        port: None,
        version: wanted.connect.version,
        epoch: 0,
        session: Session::new(),
        durable: wanted.expiry > 0,
        subs: Vec::new(),
        expiry: wanted.expiry,
        will: None,
        aliases: None,
        timer: None,
        stamp: 0,
        hit: 0,
    }
}
