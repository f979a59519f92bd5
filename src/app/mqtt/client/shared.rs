//! What a client keeps between its connections.

use core::cell::Cell;
use core::time::Duration;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::format;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use lodger_backend::Micros;

use super::link::ClientLink;
use super::{Client, ClientEvent, OnMessage, Published};
use crate::app::mqtt::log::Log;
use crate::app::url::Url;
use crate::proto::mqtt::{
    Code, Connect, Disconnect, Mqtt, Options, Properties, Property, PropertyList, Session, Version,
    Will,
};
use crate::proto::stack::Stack;
use crate::runtime::handler::App;
use crate::runtime::handler::mqtt::Port;
use crate::runtime::{Handle, Reason, TimerId};
use crate::{Error, MqttLimits};

/// Tells a user what became of a message.
pub(super) type Done = Box<dyn FnOnce(&Handle, Published)>;

/// A message whose end somebody waits for.
pub(super) struct Sent {
    pub(super) done: Option<Done>,
    pub(super) timer: Option<TimerId>,
}

/// All users of one filter.
pub(super) struct Filter {
    pub(super) options: Options,
    pub(super) users: Vec<(u64, Rc<User>)>,
    /// The server was asked on this connection, or knows from an earlier one.
    pub(super) asked: bool,
    pub(super) code: Option<Code>,
}

/// Who hears the messages of a filter.
pub(super) struct User {
    /// The subscription is held.
    pub(super) on: Cell<bool>,
    pub(super) f: Box<OnMessage>,
}

/// What a SUBACK or UNSUBACK is waited for.
pub(super) type Asked = Vec<Box<str>>;

#[derive(Default)]
pub(super) struct State {
    pub(super) session: Session,
    pub(super) port: Option<Port>,
    pub(super) up: bool,
    pub(super) subs: BTreeMap<Box<str>, Filter>,
    pub(super) asked: BTreeMap<u16, Asked>,
    pub(super) sent: BTreeMap<u64, Sent>,
    /// Counts messages and users.
    pub(super) count: u64,
    /// A publish heard `Full`.
    pub(super) full: bool,
    pub(super) failures: u32,
    /// What the server said in its DISCONNECT or CONNACK.
    pub(super) code: Option<Code>,
    /// What is under way, for another program after this one.
    pub(super) log: Log,
}

impl State {
    /// The connection, if the server has accepted it.
    pub(super) fn port_up(&self) -> Option<Port> {
        self.port.clone().filter(|_| self.up)
    }
}

pub(super) struct Shared {
    pub(super) h: Handle,
    pub(super) client: Client,
    url: Url,
    pub(super) limits: MqttLimits,
    pub(super) state: RefCell<State>,
    pub(super) stopped: Cell<bool>,
    waiting: Cell<Option<TimerId>>,
}

/// Takes the URL of a server apart. `mqtt` and `mqtts` are read as the schemes that are known are.
pub(super) fn parse(url: &str) -> Result<Url, Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (scheme, own) = match &*scheme.to_ascii_lowercase() {
        "mqtt" | "tcp" => ("http", 1883),
        "mqtts" => ("https", 8883),
        "ws" | "wss" if cfg!(feature = "ws") => return Url::parse(url),
        "" if url.starts_with("unix:") => return Url::parse(url),
        _ => return Err(Error::misuse(SCHEMES)),
    };
    let rest = rest.trim_end_matches('/');
    let named = rest.rsplit(']').next().unwrap_or(rest).contains(':');
    let port = if named { String::new() } else { format!(":{own}") };
    Url::parse(&format!("{scheme}://{rest}{port}/"))
}

const SCHEMES: &str = "an MQTT URL begins with mqtt://, mqtts://, unix:, ws:// or wss://";

/// What a handshake of TLS offers (RFC 7301), unless what carries it is WebSocket.
pub(super) const ALPN: &[&str] = &["mqtt"];

impl Shared {
    pub(super) fn new(h: &Handle, client: Client, url: Url, limits: MqttLimits) -> Rc<Self> {
        Rc::new(Self {
            h: h.clone(),
            client,
            url,
            limits,
            state: RefCell::default(),
            stopped: Cell::new(false),
            waiting: Cell::new(None),
        })
    }

    /// Makes one attempt, which ends in the link's `closed`.
    pub(super) fn dial(this: &Rc<Self>) {
        let link = ClientLink::new(this);
        #[cfg(feature = "ws")]
        if this.url.is_websocket() {
            this.dial_websocket(link);
            return;
        }
        // What is wrong with the name, `connect` has told.
        let Ok(way) = this.client.way(&this.h, &this.url) else { return };
        let mqtt = Mqtt::client(this.h.now());
        let app = App::Mqtt(Box::new(link));
        let ends = (Stack::Mqtt(Box::new(mqtt)), app);
        let id = this.h.dial(way.place.to(), way.channel, ends, |stack, cx, tx| match stack {
            Stack::Mqtt(mqtt) => this.say_connect(|c| mqtt.connect(cx, tx, c)),
            _ => Ok(()),
        });
        this.state.borrow_mut().port = Some(Port::Direct(id));
    }

    #[cfg(feature = "ws")]
    fn dial_websocket(&self, link: ClientLink) {
        use crate::app::mqtt::carried::{OverWs, websocket_config};
        let dialled =
            crate::app::ws_client::Client::to(&self.url, &self.client.trust, &self.client.proxies)
                .config(websocket_config(&self.limits))
                .connect(&self.h, OverWs::client(link));
        // The URL was taken apart before.
        debug_assert!(dialled.is_ok());
    }

    /// Lets `f` say the CONNECT.
    pub(super) fn say_connect(
        &self,
        f: impl FnOnce(&Connect<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let client = &self.client;
        let (mut list, mut wills) = (PropertyList::new(), PropertyList::new());
        if client.version == Version::V5 {
            list.push(Property::SessionExpiry(client.expiry))?;
            list.push(Property::ReceiveMaximum(self.limits.receive_maximum.max(1)))?;
            list.push(Property::MaximumPacketSize(self.limits.packet))?;
            list.push(Property::TopicAliasMaximum(self.limits.aliases))?;
            if let Some((method, answer)) = &client.auth {
                list.push(Property::AuthMethod(method))?;
                list.push(Property::AuthData(&answer(&[])))?;
            }
            if let Some(will) = &client.will {
                wills = will.properties.clone();
                wills.push(Property::WillDelay(client.will_delay))?;
            }
        }
        let will = client.will.as_ref().map(|will| Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: wills.view(),
        });
        f(&Connect {
            version: client.version,
            clean: client.clean,
            keep_alive: client.keep_alive,
            client_id: &client.id,
            will,
            username: client.username.as_deref(),
            password: client.password.as_deref(),
            properties: list.view(),
        })
    }

    /// Waits for the next attempt, or gives up. Gives how long that is.
    pub(super) fn again(this: &Rc<Self>, up: Option<Duration>) -> Option<Duration> {
        if this.stopped.get() || this.h.is_leaving() {
            return None;
        }
        let failures = {
            let mut state = this.state.borrow_mut();
            state.failures = this.client.retry.failures_after(state.failures, up);
            state.failures
        };
        let delay = this.client.retry.delay(failures, this.h.random(), None)?;
        let shared = Rc::clone(this);
        let timer = this.h.after(delay, move |_| {
            shared.waiting.set(None);
            Self::dial(&shared);
        });
        this.waiting.set(Some(timer));
        Some(delay)
    }

    /// Tells the user what happened. User code runs: nothing is borrowed.
    pub(super) fn tell(&self, event: ClientEvent<'_>) {
        if let Some(f) = self.client.on_event.clone() {
            f(&self.h, event);
        }
    }

    pub(super) fn close(self: &Rc<Self>) {
        self.stopped.set(true);
        if let Some(timer) = self.waiting.take() {
            self.h.cancel(timer);
            // No connection ends, which would tell it; callbacks come from a turn.
            let shared = Rc::clone(self);
            self.h.after(Duration::ZERO, move |_| shared.over(Reason::Done, None));
        }
        let port = self.state.borrow().port.clone();
        if let Some(port) = port {
            let goodbye = Disconnect { code: Code::SUCCESS, properties: Properties::NONE };
            if !self.state.borrow().up {
                self.h.abort(port.id());
            }
            port.disconnect(&self.h, &goodbye);
        }
    }
}

/// Subscriptions.
impl Shared {
    pub(super) fn add_user(&self, filter: &str, options: Options, f: Box<OnMessage>) -> u64 {
        let user = {
            let mut state = self.state.borrow_mut();
            state.count += 1;
            let user = state.count;
            let fresh = || Filter { options, users: Vec::new(), asked: false, code: None };
            let entry = state.subs.entry(filter.into()).or_insert_with(fresh);
            entry.users.push((user, Rc::new(User { on: Cell::new(true), f })));
            if entry.options != options {
                (entry.options, entry.asked) = (options, false);
            }
            user
        };
        self.ask();
        user
    }

    pub(super) fn drop_user(&self, filter: &str, user: u64) {
        let mut state = self.state.borrow_mut();
        let Some(entry) = state.subs.get_mut(filter) else { return };
        let place = entry.users.iter().position(|(known, _)| *known == user);
        let gone = place.map(|place| entry.users.swap_remove(place).1);
        if let Some(user) = &gone {
            user.on.set(false);
        }
        let last = entry.users.is_empty();
        let asked = last && entry.asked;
        if last {
            state.subs.remove(filter);
        }
        if asked
            && let Some(port) = state.port_up()
            && let Some(id) = state.session.take_id()
        {
            let filters = core::iter::once(filter);
            let sent = port.with(&self.h, |mqtt, cx, tx| mqtt.unsubscribe(cx, tx, id, filters));
            if sent.is_ok() {
                state.asked.insert(id, Vec::new());
            } else {
                state.session.give_back(id);
            }
        }
        drop(state);
        // The user's closure goes with nothing borrowed.
        drop(gone);
    }

    /// Asks the server for what it was not asked for.
    pub(super) fn ask(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(port) = state.port_up() else { return };
        loop {
            let wanted: Vec<(Box<str>, Options)> = state
                .subs
                .iter()
                .filter(|(_, entry)| !entry.asked)
                .map(|(filter, entry)| (filter.clone(), entry.options))
                .take(PER_PACKET)
                .collect();
            if wanted.is_empty() {
                return;
            }
            let Some(id) = state.session.take_id() else { return };
            let filters = wanted.iter().map(|(filter, options)| (&**filter, *options));
            let sent = port.with(&self.h, |mqtt, cx, tx| {
                mqtt.subscribe(cx, tx, (id, Properties::NONE), filters)
            });
            for (filter, _) in &wanted {
                if let Some(entry) = state.subs.get_mut(filter) {
                    entry.asked = true;
                }
            }
            if sent.is_err() {
                state.session.give_back(id);
                return;
            }
            state.asked.insert(id, wanted.into_iter().map(|(filter, _)| filter).collect());
        }
    }
}

/// Filters of one SUBSCRIBE.
const PER_PACKET: usize = 16;

impl State {
    /// Begins anew with a server that has forgotten the session: MQTT 5.0, section 3.2.2.1.1. What
    /// was published with QoS 1 is published again; what was with QoS 2 may have arrived. Gives the
    /// tags of those.
    pub(super) fn begin_anew(&mut self, h: &Handle) -> Vec<u64> {
        for entry in self.subs.values_mut() {
            (entry.asked, entry.code) = (false, None);
        }
        let dropped = self.session.forget_peer();
        self.rewrite(h);
        dropped
    }
}

impl Shared {
    /// Notes that a connection has ended.
    pub(super) fn ended(&self) -> Option<Code> {
        let mut state = self.state.borrow_mut();
        state.port = None;
        state.up = false;
        state.session.end();
        let asked = core::mem::take(&mut state.asked);
        for (id, filters) in asked {
            state.session.give_back(id);
            for filter in filters {
                if let Some(entry) = state.subs.get_mut(&filter) {
                    entry.asked = false;
                }
            }
        }
        state.code.take()
    }

    /// When a connection that is up began, `now` being then.
    pub(super) fn now(&self) -> Micros {
        self.h.now()
    }

    /// Tells that there is no other attempt, after what became of all messages.
    pub(super) fn over(&self, why: Reason, code: Option<Code>) {
        loop {
            let tag = self.state.borrow().sent.keys().next().copied();
            let Some(tag) = tag else { break };
            self.finish(tag, Published::Lost);
        }
        self.tell(ClientEvent::Disconnected { why, code, retry_in: None });
    }
}
