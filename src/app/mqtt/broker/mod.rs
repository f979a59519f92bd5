//! A broker: every client hears what the others publish. MQTT 5.0 and 3.1.1, section 4.
//!
//! It lives in one runtime and keeps everything there: clients and their sessions by number,
//! subscriptions and kept messages in trees. A message is encoded once for all that hear it alike.

use std::boxed::Box;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use lodger_backend::Journal;

use self::link::BrokerLink;
use self::state::State;
use crate::Error;
use crate::app::mqtt::log::Log;
use crate::app::mqtt::stored::Clock;
use crate::proto::mqtt::{Code, Connect, Properties, Publish, Qos, split_shared};
use crate::runtime::{Handle, Serve, Service};

mod connect;
mod deliver;
mod enhanced;
mod link;
mod restore;
mod state;
mod subscribe;

pub use enhanced::AuthStep;

type Authenticate = dyn Fn(&Connect<'_>) -> Code;
type Authorize = dyn Fn(&Access<'_>) -> bool;

/// What a client wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// The client's identifier.
    pub client_id: &'a str,
    /// The name that it logged in with.
    pub username: Option<&'a str>,
    /// What it wants to do with the topic.
    pub action: Action,
    /// The topic, or the filter without what makes it shared.
    pub topic: &'a str,
}

/// What is done with a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Action {
    /// It publishes there, its will among that.
    Publish,
    /// It subscribes to it.
    Subscribe,
}

/// Who may do what, and what is told to clients. Everybody everything, unless said otherwise.
#[derive(Default)]
pub struct BrokerConfig {
    authenticate: Option<Box<Authenticate>>,
    authorize: Option<Box<Authorize>>,
    deny_subscribe: Vec<String>,
    keep_alive: Option<u16>,
    methods: Vec<enhanced::Method>,
}

impl core::fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BrokerConfig").finish_non_exhaustive()
    }
}

impl BrokerConfig {
    /// Makes one that allows everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `f` decide about each client: [`Code::SUCCESS`], or why not.
    #[must_use]
    pub fn authenticate(mut self, f: impl Fn(&Connect<'_>) -> Code + 'static) -> Self {
        self.authenticate = Some(Box::new(f));
        self
    }

    /// Has `f` decide about each publish and each subscription.
    #[must_use]
    pub fn authorize(mut self, f: impl Fn(&Access<'_>) -> bool + 'static) -> Self {
        self.authorize = Some(Box::new(f));
        self
    }

    /// Refuses subscriptions whose filter is `filter` as it stands, with 0x80.
    #[must_use]
    pub fn deny_subscribe(mut self, filter: &str) -> Self {
        self.deny_subscribe.push(filter.into());
        self
    }

    /// Sets the keep-alive of all clients of MQTT 5.0, in seconds, in place of their own.
    #[must_use]
    pub fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive = Some(secs);
        self
    }
}

/// A broker of one runtime. Cheap to clone; all are the same.
///
/// ```no_run
/// use lodger::{Runtime, mqtt};
///
/// # fn main() -> std::io::Result<()> {
/// let rt = Runtime::standalone()?;
/// let broker = mqtt::Broker::new(&rt, mqtt::BrokerConfig::new());
/// rt.listen("127.0.0.1:1883", broker.clone())?;
/// rt.listen("unix:/run/mqtt.sock", broker)?;
/// rt.run()
/// # }
/// ```
#[derive(Clone)]
pub struct Broker(Rc<Inner>);

impl core::fmt::Debug for Broker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Broker")
    }
}

pub(crate) struct Inner {
    h: Handle,
    config: BrokerConfig,
    state: RefCell<State>,
}

/// How a broker stands. Reading it adds up what each session holds; nothing is counted for it before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Sessions, those without a connection among them.
    pub sessions: u64,
    /// Clients that are connected.
    pub connected: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Messages that are kept.
    pub retained: u64,
    /// Messages received from clients.
    pub received: u64,
    /// Messages sent to clients, each receiver counted.
    pub sent: u64,
    /// Messages that a receiver had no room for.
    pub dropped: u64,
    /// Messages sent and not acknowledged.
    pub in_flight: u64,
    /// Messages that wait for their receiver.
    pub queued: u64,
}

impl Broker {
    /// Makes a broker within the limits of the runtime ([`MqttLimits`](crate::MqttLimits)).
    pub fn new(h: &Handle, config: BrokerConfig) -> Self {
        let state = State::new(h.mqtt_limits());
        Self(Rc::new(Inner { h: h.clone(), config, state: RefCell::new(state) }))
    }

    /// Makes a broker that keeps sessions, what waits for them and kept messages in a journal, and
    /// begins with what is there. What a client was told to be taken is written down before it
    /// hears so. Wills of clients that are connected when the program is killed are not said.
    ///
    /// Beyond twice its content the journal is written anew, which takes as long as writing all of
    /// it to a file does.
    ///
    /// # Errors
    ///
    /// The journal's; `InvalidData` with its name and the place if it is damaged otherwise than in
    /// its last record.
    pub fn open(
        h: &Handle,
        config: BrokerConfig,
        journal: impl Journal + 'static,
    ) -> io::Result<Self> {
        let mut state = State::new(h.mqtt_limits());
        let clock = Clock { unix: h.unix_time(), now: h.now() };
        let log = Log::open(Box::new(journal), |body| state.replay(body, clock))?;
        state.log = log;
        state.clock = clock;
        state.fill_gaps();
        let broker = Self(Rc::new(Inner { h: h.clone(), config, state: RefCell::new(state) }));
        broker.0.wait_for_all();
        Ok(broker)
    }

    /// Publishes a message of the program's own.
    ///
    /// # Errors
    ///
    /// Misuse: `topic` is none, or begins with `$share/`.
    pub fn publish(
        &self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        retain: bool,
    ) -> Result<(), Error> {
        let valid = !topic.is_empty() && topic.len() <= 0xFFFF && !topic.contains(['+', '#', '\0']);
        if !valid {
            return Err(Error::misuse("a topic has 1 to 65,535 bytes and no wildcards"));
        }
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic,
            id: u16::from(qos != Qos::AtMostOnce),
            properties: Properties::NONE,
            payload,
            rest: 0,
        };
        let h = &self.0.h;
        let mut state = self.0.state.borrow_mut();
        state.publish(h, None, &publish, h.now());
        state.commit(h);
        Ok(())
    }

    /// Gives the numbers.
    pub fn stats(&self) -> BrokerStats {
        self.0.state.borrow().stats()
    }

    /// Gives the handler of one WebSocket that carries MQTT. Its route has the configuration of
    /// [`websocket_config`](crate::mqtt::websocket_config).
    #[cfg(feature = "ws")]
    pub fn websocket(&self) -> impl crate::ws::Handler + use<> {
        super::carried::OverWs::server(BrokerLink::new(&self.0))
    }
}

impl Serve for Broker {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    fn into_service(self) -> Service {
        Service::mqtt(Rc::new(move |_, _| Some(Box::new(BrokerLink::new(&self.0)))))
    }
}

impl Inner {
    /// Whether a client may do something. User code runs: nothing is borrowed.
    fn allows(&self, access: &Access<'_>) -> bool {
        self.config.authorize.as_ref().is_none_or(|f| f(access))
    }

    /// Whether a filter is refused as it stands.
    fn denies(&self, filter: &str) -> bool {
        let (_, inner) = split_shared(filter).unwrap_or((None, filter));
        self.config.deny_subscribe.iter().any(|denied| denied == filter || denied == inner)
    }
}
