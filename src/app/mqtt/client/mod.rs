//! A client of MQTT: connects, connects again by policy, and keeps what it promised meanwhile.

use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use lodger_backend::Journal;

use self::shared::Shared;
use crate::Error;
use crate::app::mqtt::outgoing::Outgoing;
use crate::app::proxy::Proxies;
use crate::app::trust::Trust;
use crate::app::url::Url;
use crate::app::way::Way;
use crate::policy::Retry;
use crate::proto::mqtt::{
    Code, Options, PropertyList, Publish, Qos, Version, check_filter, check_topic,
};
#[cfg(feature = "tls")]
use crate::proto::tls::ClientConfig;
use crate::runtime::{Handle, Reason, SendError};

mod journal;
mod link;
mod publish;
mod shared;

/// What happens to a client, for whoever wants to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The server has accepted it.
    Connected {
        /// It still had the session.
        session_present: bool,
    },
    /// The server has refused it. It tries again by its policy.
    Refused(Code),
    /// The connection has ended, or an attempt has failed. Without another attempt it is the last
    /// event, and what became of every message has been told.
    Disconnected {
        /// What the transport says.
        why: Reason,
        /// What the server said in its DISCONNECT.
        code: Option<Code>,
        /// How long it is to the next attempt; `None` if there is none.
        retry_in: Option<Duration>,
    },
    /// The server has answered a subscription.
    Subscribed {
        /// The filter.
        filter: &'a str,
        /// The granted QoS, or why not.
        code: Code,
    },
    /// There is room again, after a publish that heard `Full`.
    Writable,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Published {
    /// The server has taken it: with QoS 1 at least once, with QoS 2 once. With QoS 0 it is in the
    /// output, and nobody says more.
    Acknowledged,
    /// The server has refused it.
    Refused(Code),
    /// Nothing was heard in time. It may still arrive.
    TimedOut,
    /// It was dropped for a newer one while there was no connection, or its session is lost: with
    /// QoS 2 it may have arrived.
    Lost,
}

/// What a full queue does with one message more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum QueueFull {
    /// It is refused with `Full`.
    #[default]
    Refuse,
    /// The oldest that waits is dropped for it.
    DropOldest,
}

/// A message with memory of its own: a will, a birth message.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    topic: String,
    payload: Vec<u8>,
    qos: Qos,
    retain: bool,
    properties: PropertyList,
}

impl From<Outgoing<'_>> for Owned {
    fn from(from: Outgoing<'_>) -> Self {
        Self {
            topic: from.topic().into(),
            payload: from.publish().payload.into(),
            qos: from.publish().qos,
            retain: from.publish().retain,
            properties: PropertyList::from(from.publish().properties),
        }
    }
}

impl Owned {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::new(&self.topic, &self.payload)
            .qos(self.qos)
            .retain(self.retain)
            .properties(&self.properties)
    }
}

pub(super) type OnEvent = dyn Fn(&Handle, ClientEvent<'_>);
pub(super) type OnMessage = dyn Fn(&Handle, &Publish<'_>);
pub(super) type Authenticate = dyn Fn(&[u8]) -> Vec<u8>;

/// Prepares a client. Nothing happens before [`connect`](Self::connect).
///
/// ```no_run
/// use lodger::mqtt::{Client, Outgoing, Qos};
/// use lodger::policy::Retry;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = lodger::Runtime::standalone()?;
/// let client = Client::new("mqtt://127.0.0.1:1883").id("sensor-1").retry(Retry::default());
/// let client = client.connect(&rt)?;
/// let _heard = client.subscribe("lamp/+", Qos::AtLeastOnce, |_, message| {
///     println!("{}: {} bytes", message.topic, message.payload.len());
/// })?;
/// client.publish(Outgoing::new("lamp/1", b"on").qos(Qos::AtLeastOnce))?;
/// rt.run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is opened before `connect`"]
pub struct Client {
    pub(super) url: Result<Url, Error>,
    pub(super) version: Version,
    pub(super) id: String,
    pub(super) clean: bool,
    pub(super) expiry: u32,
    pub(super) keep_alive: u16,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) will: Option<Owned>,
    pub(super) will_delay: u32,
    pub(super) birth: Option<Owned>,
    pub(super) retry: Retry,
    pub(super) queue: QueueFull,
    pub(super) auth: Option<(String, Box<Authenticate>)>,
    pub(super) on_event: Option<Rc<OnEvent>>,
    pub(super) trust: Trust,
    pub(super) proxies: Proxies,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares one for `url`: `mqtt://host:port`, `mqtts://host:port` (feature `tls`),
    /// `unix:/path.sock`, or `ws://host:port/path` and `wss://…` (feature `ws`). Without a port it
    /// is 1883, 8883, 80 or 443. It speaks MQTT 5.0, begins with a clean session that ends with the
    /// connection, has an identifier of the server's, and connects once, unless said otherwise.
    pub fn new(url: &str) -> Self {
        Self {
            url: shared::parse(url),
            version: Version::V5,
            id: String::new(),
            clean: true,
            expiry: 0,
            keep_alive: 60,
            username: None,
            password: None,
            will: None,
            will_delay: 0,
            birth: None,
            retry: Retry::never(),
            queue: QueueFull::default(),
            auth: None,
            on_event: None,
            trust: Trust::default(),
            proxies: Proxies::default(),
        }
    }

    /// Sets whom mqtts and wss trust. Unless set, it is whom the system trusts. The protocol that is
    /// offered (RFC 7301) is `mqtt`, in wss `http/1.1`, where the configuration offers none.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: &ClientConfig) -> Self {
        self.trust = Trust::new(config);
        self
    }

    /// Sets which proxies lead to which servers, by tunnels. Without TLS it is the one for what is
    /// plain, as for http.
    pub fn proxies(mut self, proxies: &Proxies) -> Self {
        self.proxies = proxies.clone();
        self
    }

    /// Sets the version.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Sets what names the session at the server.
    pub fn id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    /// Keeps the session at the server for `time` after a connection has ended (MQTT 3.1.1: as long
    /// as the server likes), and goes on with the one that is there.
    pub fn session(mut self, time: Duration) -> Self {
        self.clean = false;
        self.expiry = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        self
    }

    /// Sets after how much silence the server is asked whether it lives, in seconds; 0 never asks.
    pub fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive = secs;
        self
    }

    /// Sets the name and the password to log in with.
    pub fn login(mut self, username: &str, password: &[u8]) -> Self {
        self.username = Some(username.into());
        self.password = Some(password.into());
        self
    }

    /// Sets what the server publishes when the client is lost, so many seconds later.
    pub fn will(mut self, will: Outgoing<'_>, delay: u32) -> Self {
        self.will = Some(will.into());
        self.will_delay = delay;
        self
    }

    /// Sets what is published each time that the client has connected.
    pub fn birth(mut self, birth: Outgoing<'_>) -> Self {
        self.birth = Some(birth.into());
        self
    }

    /// Sets when it connects again by itself.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets what a full queue does. How much it holds is in [`MqttLimits`](crate::MqttLimits):
    /// `queued` and `queued_bytes`.
    pub fn queue_full(mut self, policy: QueueFull) -> Self {
        self.queue = policy;
        self
    }

    /// Authenticates by `method` (MQTT 5.0, section 4.12): `f` is given what the server says, first
    /// nothing, and gives the answer.
    pub fn auth(mut self, method: &str, f: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.auth = Some((method.into(), Box::new(f)));
        self
    }

    /// Has `f` told what happens.
    pub fn on_event(mut self, f: impl Fn(&Handle, ClientEvent<'_>) + 'static) -> Self {
        self.on_event = Some(Rc::new(f));
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Misuse: the URL is none, its host can stand in no certificate, no proxy can be asked for it,
    /// or the will or birth message has no topic. `Host`: mqtts or wss, and this system trusts
    /// nobody. Nothing was opened.
    pub fn connect(self, h: &Handle) -> Result<Connection, Error> {
        let shared = self.prepare(h)?;
        Shared::dial(&shared);
        Ok(Connection(shared))
    }

    /// As [`connect`](Self::connect), with the session in a journal: messages of QoS 1 and 2 that were
    /// taken and not acknowledged are sent by the next program that opens it, and what was received
    /// with QoS 2 is not told again. A publish is written down before it returns; what becomes of it
    /// is told to the program that published it alone. The client has an [`id`](Self::id) and a
    /// [`session`](Self::session).
    ///
    /// # Errors
    ///
    /// `InvalidInput`: as [`connect`](Self::connect), or there is no id or session. The journal's;
    /// `InvalidData` with its name and the place if it is damaged otherwise than in its last record.
    pub fn open(self, h: &Handle, journal: impl Journal + 'static) -> io::Result<Connection> {
        let misuse = |e| io::Error::new(io::ErrorKind::InvalidInput, e);
        if self.id.is_empty() || self.clean {
            let rule = "what is kept in a journal belongs to a session with a name";
            return Err(misuse(Error::misuse(rule)));
        }
        let shared = self.prepare(h).map_err(misuse)?;
        shared.state.borrow_mut().restore(h, Box::new(journal))?;
        Shared::dial(&shared);
        Ok(Connection(shared))
    }

    fn prepare(mut self, h: &Handle) -> Result<Rc<Shared>, Error> {
        let limits = h.mqtt_limits();
        let url = self.url.clone()?;
        self.trust.resolve(h, self.proxies.need_trust(&url))?;
        // A name that cannot be is misuse, told here.
        self.way(h, &url)?;
        for message in self.will.iter().chain(&self.birth) {
            check_topic(&message.topic, &limits)?;
        }
        Ok(Shared::new(h, self, url, limits))
    }

    /// Finds the way to the server, where no WebSocket carries MQTT.
    pub(super) fn way(&self, h: &Handle, url: &Url) -> Result<Way, Error> {
        Way::find(h, (url, shared::ALPN), &self.trust, &self.proxies)
    }
}

/// Reaches a client that may come and go. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Connection(Rc<Shared>);

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection").field("connected", &self.is_connected()).finish()
    }
}

impl Connection {
    /// Tells whether the server has accepted it.
    pub fn is_connected(&self) -> bool {
        self.0.state.borrow().up
    }

    /// Publishes a message. With QoS 1 or 2 it waits while there is no connection, or no room.
    ///
    /// # Errors
    ///
    /// Gone: there is no connection for QoS 0, or the client was closed. Full: too much waits; the
    /// event [`ClientEvent::Writable`] tells when there is room. Misuse: the topic is none, or the
    /// message is longer than the server takes.
    pub fn publish(&self, message: Outgoing<'_>) -> Result<(), SendError> {
        self.0.publish(message, None)
    }

    /// As [`publish`](Self::publish); `done` hears, once and from a turn, what became of it.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and `done` hears nothing.
    pub fn publish_then(
        &self,
        message: Outgoing<'_>,
        done: impl FnOnce(&Handle, Published) + 'static,
    ) -> Result<(), SendError> {
        self.0.publish(message, Some(Box::new(done)))
    }

    /// Subscribes: `f` hears each message that matches `filter`, until the [`Subscription`] is
    /// dropped. Several users of one filter share one subscription at the server.
    ///
    /// # Errors
    ///
    /// Misuse: the filter is none.
    pub fn subscribe(
        &self,
        filter: &str,
        qos: Qos,
        f: impl Fn(&Handle, &Publish<'_>) + 'static,
    ) -> Result<Subscription, Error> {
        self.subscribe_with(filter, Options::new(qos), f)
    }

    /// As [`subscribe`](Self::subscribe), with options of MQTT 5.0. The latest options of a filter
    /// hold for all its users.
    ///
    /// # Errors
    ///
    /// Misuse: the filter is none.
    pub fn subscribe_with(
        &self,
        filter: &str,
        options: Options,
        f: impl Fn(&Handle, &Publish<'_>) + 'static,
    ) -> Result<Subscription, Error> {
        check_filter(filter, &self.0.limits)?;
        let user = self.0.add_user(filter, options, Box::new(f));
        Ok(Subscription { shared: Rc::clone(&self.0), filter: filter.into(), user })
    }

    /// Gives how many messages are under way or wait.
    pub fn pending(&self) -> usize {
        let state = self.0.state.borrow();
        state.session.in_flight() + state.session.queued()
    }

    /// Says goodbye, and does not connect again. What waits is lost, and a turn tells so.
    pub fn close(&self) {
        self.0.close();
    }
}

/// One user of a subscription. Dropped, it hears nothing more; with the last user of its filter the
/// client unsubscribes.
#[must_use = "dropping it unsubscribes"]
pub struct Subscription {
    shared: Rc<Shared>,
    filter: Box<str>,
    user: u64,
}

impl core::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Subscription").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl Subscription {
    /// Gives what the server said: the QoS that it granted, or why not; `None` before that.
    pub fn code(&self) -> Option<Code> {
        self.shared.state.borrow().subs.get(&self.filter)?.code
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.drop_user(&self.filter, self.user);
    }
}
