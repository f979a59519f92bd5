//! What a client keeps between its connections.

use core::cell::Cell;
use core::time::Duration;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::format;
use std::io;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use lodger_backend::{Journal, Micros};

use super::link::ClientLink;
use super::{Client, ClientEvent, OnMessage, Published, QueueFull};
use crate::app::mqtt::log::{self, Fields, Log, kind};
use crate::app::mqtt::outgoing::Outgoing;
use crate::app::mqtt::stored::{self, Clock};
use crate::app::url::Url;
use crate::proto::mqtt::{
    Code, Connect, Disconnect, Item, Message, Mqtt, Next, Offer, Options, Properties, Property,
    PropertyList, Qos, Session, Version, Will, check_topic,
};
use crate::proto::stack::Stack;
use crate::runtime::handler::App;
use crate::runtime::handler::mqtt::Port;
use crate::runtime::{Gone, Handle, Reason, SendError, TimerId};
use crate::{Error, MqttLimits};

/// Tells a user what became of a message.
pub(super) type Done = Box<dyn FnOnce(&Handle, Published)>;

/// A message whose end somebody waits for.
pub(super) struct Sent {
    pub(super) done: Option<Done>,
    timer: Option<TimerId>,
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
    log: Log,
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
        let Ok(channel) = this.client.trust.channel(&this.url, ALPN) else { return };
        let mqtt = Mqtt::client(this.h.now());
        let app = App::Mqtt(Box::new(link));
        let ends = (Stack::Mqtt(Box::new(mqtt)), app);
        let id = this.h.dial(this.url.place.to(), channel, ends, |stack, cx, tx| match stack {
            Stack::Mqtt(mqtt) => this.say_connect(|c| mqtt.connect(cx, tx, c)),
            _ => Ok(()),
        });
        this.state.borrow_mut().port = Some(Port::Direct(id));
    }

    #[cfg(feature = "ws")]
    fn dial_websocket(&self, link: ClientLink) {
        use crate::app::mqtt::carried::{OverWs, websocket_config};
        let dialled = crate::app::ws_client::Client::to(&self.url, &self.client.trust)
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

/// Messages out.
impl Shared {
    pub(super) fn publish(
        self: &Rc<Self>,
        message: Outgoing<'_>,
        done: Option<Done>,
    ) -> Result<(), SendError> {
        check_topic(message.topic(), &self.limits)?;
        if self.stopped.get() {
            return Err(Gone.into());
        }
        let mut state = self.state.borrow_mut();
        let mut publish = message.publish();
        let up = state.up;
        let port = state.port.clone().filter(|_| up);
        if publish.qos == Qos::AtMostOnce {
            let port = port.ok_or(Gone)?;
            let sent = port.within(&self.h, |mqtt, cx, tx| mqtt.publish(cx, tx, &publish, &[]));
            if matches!(sent, Err(SendError::Full { .. })) {
                state.full = true;
                port.want_write(&self.h);
            }
            drop(state);
            sent?;
            if let Some(done) = done {
                // Callbacks come from a turn.
                self.h.after(Duration::ZERO, move |h| done(h, Published::Acknowledged));
            }
            return Ok(());
        }
        let too_long = |port: &Port| {
            port.with(&self.h, |mqtt, _, _| Ok(!mqtt.takes(&publish, 5))).unwrap_or(false)
        };
        if port.as_ref().is_some_and(too_long) {
            return Err(Error::misuse("the packet is longer than the server takes").into());
        }
        state.count += 1;
        let tag = state.count;
        let owned = Rc::new(Message::copy(&publish, self.h.now()));
        let item = Item {
            message: owned,
            qos: publish.qos,
            retain: publish.retain,
            subscriptions: Box::default(),
            tag,
        };
        let room = port.as_ref().is_some_and(|port| port.has_room(&self.h));
        let mut offer = state.session.offer(item.clone(), room, &self.limits);
        let mut dropped = None;
        if offer == Offer::Full && self.client.queue == QueueFull::DropOldest {
            let oldest = state.session.drop_oldest();
            if oldest.is_some() {
                state.note(kind::DROPPED, 0);
            }
            dropped = oldest.and_then(|tag| state.sent.remove(&tag));
            offer = state.session.offer(item.clone(), room, &self.limits);
        }
        if !state.write_offer(&self.h, &item, offer) {
            state.session.take_back(offer);
            return Err(Error::host("the journal takes nothing").into());
        }
        match offer {
            Offer::Full => {
                state.full = true;
                return Err(SendError::Full { room: 0 });
            }
            Offer::Queued => {}
            Offer::Send(id) => {
                publish.id = id;
                if let Some(port) = &port {
                    // It fails only when the connection has ended: it is sent on the next.
                    let _ = port.with(&self.h, |mqtt, cx, tx| mqtt.publish(cx, tx, &publish, &[]));
                }
            }
        }
        if done.is_some() {
            let timer = message.patience().map(|time| {
                let shared = Rc::clone(self);
                self.h.after(time, move |_| shared.timed_out(tag))
            });
            state.sent.insert(tag, Sent { done, timer });
        }
        drop(state);
        if let Some(sent) = dropped {
            self.finish_later(sent, Published::Lost);
        }
        Ok(())
    }

    fn timed_out(&self, tag: u64) {
        let sent = self.state.borrow_mut().sent.remove(&tag);
        if let Some(done) = sent.and_then(|sent| sent.done) {
            done(&self.h, Published::TimedOut);
        }
    }

    /// Tells the end of a message, from a turn.
    fn finish_later(&self, mut sent: Sent, end: Published) {
        if let Some(done) = sent.done.take() {
            self.h.after(Duration::ZERO, move |h| done(h, end));
        }
    }

    /// Tells the end of a message. User code runs: nothing is borrowed.
    pub(super) fn finish(&self, tag: u64, end: Published) {
        let sent = self.state.borrow_mut().sent.remove(&tag);
        let Some(Sent { done, timer }) = sent else { return };
        if let Some(timer) = timer {
            self.h.cancel(timer);
        }
        if let Some(done) = done {
            done(&self.h, end);
        }
    }

    /// Sends what waits, as far as it is taken.
    pub(super) fn pump_out(&self) {
        let now = self.h.now();
        loop {
            let mut state = self.state.borrow_mut();
            let Some(port) = state.port.clone().filter(|_| state.up) else { return };
            if let Some(item) = state.session.pop_expired(now) {
                state.note(kind::DROPPED, 0);
                drop(state);
                self.finish(item.tag, Published::Lost);
                continue;
            }
            if state.session.queued() + state.session.in_flight() == 0 {
                return;
            }
            if !port.has_room(&self.h) {
                port.want_write(&self.h);
                return;
            }
            let (item, id, dup) = match state.session.next_out() {
                None => return,
                Some(Next::Release(id)) => {
                    super::link::send_ack(&self.h, &port, id);
                    continue;
                }
                Some(Next::Publish { item, id, dup }) => (item.clone(), id, dup),
            };
            if !dup {
                state.note(kind::SENT, id);
            }
            let mut publish = item.message.publish(item.qos, item.retain, id);
            publish.dup = dup;
            let mut expiry = PropertyList::new();
            item.message.put_expiry(now, &mut expiry);
            let sent = port.with(&self.h, |mqtt, cx, tx| {
                mqtt.publish(cx, tx, &publish, expiry.view().bytes())
            });
            if let Err(SendError::Misuse(_)) = sent {
                state.session.give_up(id);
                state.note_acked(id, true);
                drop(state);
                self.finish(item.tag, Published::Refused(Code::PACKET_TOO_LARGE));
            }
        }
    }

    /// Tells that there is room, if somebody was told that there is none.
    pub(super) fn tell_room(&self) {
        let room = {
            let mut state = self.state.borrow_mut();
            let room = state.full && state.session.queued() < self.limits.queued.max(1);
            state.full &= !room;
            room
        };
        if room {
            self.tell(ClientEvent::Writable);
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
            && state.up
            && let Some(port) = state.port.clone()
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
        let Some(port) = state.port.clone().filter(|_| state.up) else { return };
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

/// The key of the one session of a client's journal.
const KEY: u32 = 0;

/// The journal.
impl State {
    /// Reads what another program left under way.
    pub(super) fn restore(&mut self, h: &Handle, journal: Box<dyn Journal>) -> io::Result<()> {
        let clock = clock(h);
        let session = &mut self.session;
        let log = Log::open(journal, |body| {
            let (&what, fields) = body.split_first()?;
            let mut f = Fields(fields);
            let ours = f.u32()? == KEY;
            let session = if ours { Some(&mut *session) } else { None };
            stored::replay(session, what, &mut f, clock)
        })?;
        self.log = log;
        Ok(())
    }

    /// Writes down what became of a message that was offered, at once. `false`: it cannot be.
    fn write_offer(&mut self, h: &Handle, item: &Item, offer: Offer) -> bool {
        if !self.log.is_on() || offer == Offer::Full {
            return true;
        }
        let unix = clock(h).unix_of(&item.message);
        let id = if let Offer::Send(id) = offer { id } else { 0 };
        let before = self.log.added();
        self.log.add(kind::OFFERED, |out| log::put_item(out, KEY, id, item, unix));
        let written = self.commit(h);
        if !written {
            self.log.forget(before);
        }
        written
    }

    /// Writes down what happened to a message of the session.
    pub(super) fn note(&mut self, what: u8, id: u16) {
        self.log.add(what, |out| log::put_key(out, KEY, id));
    }

    /// Writes down that a message was acknowledged: `done`, or received.
    pub(super) fn note_acked(&mut self, id: u16, done: bool) {
        self.log.add(kind::ACKED, |out| {
            log::put_key(out, KEY, id);
            out.push(u8::from(done));
        });
    }

    /// Appends what was written down, before what was said about it is sent. `false`: it could not
    /// be.
    pub(super) fn commit(&mut self, h: &Handle) -> bool {
        if self.log.commit().is_err() {
            return false;
        }
        if self.log.is_long() {
            self.rewrite(h);
        }
        true
    }

    /// Puts what is under way in the place of the journal.
    fn rewrite(&mut self, h: &Handle) {
        if !self.log.is_on() {
            return;
        }
        let mut bytes = Vec::new();
        stored::put_session(&mut bytes, KEY, &self.session, clock(h));
        // It fails only beside the journal, which goes on.
        let _ = self.log.replace(&bytes);
    }
}

fn clock(h: &Handle) -> Clock {
    Clock { unix: h.unix_time(), now: h.now() }
}

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
