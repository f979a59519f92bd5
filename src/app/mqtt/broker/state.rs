//! What a broker holds.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

use super::BrokerStats;
use super::deliver::{Encodings, Hit};
use crate::MqttLimits;
use crate::app::mqtt::log::{self, Log, kind};
use crate::app::mqtt::stored::Clock;
use crate::app::mqtt::tree::Tree;
use crate::proto::mqtt::{Message, Options, Session, Version};
use crate::runtime::handler::mqtt::Port;
use crate::runtime::{Handle, TimerId};

/// One subscriber of a filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sub {
    pub(super) client: u32,
    pub(super) options: Options,
    /// Its number; 0 is none.
    pub(super) id: u32,
}

/// Subscribers that share a filter: MQTT 5.0, section 4.8.2.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Box<str>,
    pub(super) subs: Vec<Sub>,
    /// Whose turn it is.
    pub(super) turn: usize,
}

/// All subscribers of a filter.
#[derive(Debug, Default)]
pub(super) struct Subs {
    pub(super) plain: Vec<Sub>,
    pub(super) groups: Vec<Group>,
}

impl Subs {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

/// A client's own list of what it subscribed to.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) filter: Box<str>,
    pub(super) options: Options,
    pub(super) id: u32,
}

/// A will that is not published yet.
#[derive(Debug)]
pub(super) struct Will {
    pub(super) message: Message,
    /// Seconds from the loss of the client.
    pub(super) delay: u32,
    /// Seconds from its publishing to its expiry.
    pub(super) expiry: Option<u32>,
}

/// Topic aliases that a client was told.
#[derive(Debug)]
pub(super) struct Aliases {
    pub(super) most: u16,
    pub(super) topics: BTreeMap<Box<str>, u16>,
}

/// One client: its session, and its connection while there is one.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Box<str>,
    pub(super) username: Option<Box<str>>,
    pub(super) port: Option<Port>,
    pub(super) version: Version,
    /// Names its connection: what an older one ends is not the newer one's.
    pub(super) epoch: u32,
    /// Its session is written down.
    pub(super) durable: bool,
    pub(super) session: Session,
    pub(super) subs: Vec<Subscribed>,
    /// Seconds that the session outlives its connection.
    pub(super) expiry: u32,
    pub(super) will: Option<Box<Will>>,
    pub(super) aliases: Option<Box<Aliases>>,
    /// Until the will is published, or the session ends.
    pub(super) timer: Option<TimerId>,
    /// The message that it was found for last, and where.
    pub(super) stamp: u64,
    pub(super) hit: u32,
}

/// Kept messages, as the tree of topics holds them.
pub(super) type Retained = Option<Rc<Message>>;

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: Rc<MqttLimits>,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) free: Vec<u32>,
    pub(super) names: BTreeMap<Box<str>, u32>,
    pub(super) subs: Tree<Subs>,
    pub(super) retained: Tree<Retained>,
    pub(super) retained_bytes: usize,
    /// Counts connections, for `Client::epoch`.
    pub(super) epochs: u32,
    /// Counts messages, for `Client::stamp`.
    pub(super) stamp: u64,
    /// Lent while a message is routed, and kept for the next.
    pub(super) hits: Vec<Hit>,
    pub(super) encodings: Encodings,
    pub(super) counts: BrokerStats,
    pub(super) log: Log,
    pub(super) clock: Clock,
}

impl State {
    pub(super) fn new(limits: MqttLimits) -> Self {
        Self {
            limits: Rc::new(limits),
            clients: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            subs: Tree::new(),
            retained: Tree::new(),
            retained_bytes: 0,
            epochs: 0,
            stamp: 0,
            hits: Vec::new(),
            encodings: Encodings::default(),
            counts: BrokerStats::default(),
            log: Log::default(),
            clock: Clock::default(),
        }
    }

    pub(super) fn client(&mut self, at: u32) -> Option<&mut Client> {
        self.clients.get_mut(at as usize)?.as_mut()
    }

    /// Gives a client as long as its connection is the one that asks.
    pub(super) fn connected(&mut self, at: u32, epoch: u32) -> Option<&mut Client> {
        self.client(at).filter(|client| client.epoch == epoch && client.port.is_some())
    }

    /// Adds a client; gives its number.
    pub(super) fn add(&mut self, client: Client) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            u32::try_from(self.clients.len() - 1).unwrap_or(u32::MAX)
        });
        self.put_client(at, client);
        at
    }

    /// Puts a client back at its number. `None`: another has it.
    pub(super) fn add_at(&mut self, at: u32, client: Client) -> Option<()> {
        // A journal of a broker with its limits never names a higher one.
        let most = self.limits.sessions.saturating_mul(2).saturating_add(1024);
        if at as usize > most || self.client(at).is_some() {
            return None;
        }
        while self.clients.len() <= at as usize {
            self.clients.push(None);
        }
        self.put_client(at, client);
        Some(())
    }

    /// Finds the numbers that are free, once all clients are back.
    pub(super) fn fill_gaps(&mut self) {
        let numbers = 0..u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        let clients = &self.clients;
        self.free = numbers
            .rev()
            .filter(|&at| clients.get(at as usize).is_some_and(Option::is_none))
            .collect();
    }

    fn put_client(&mut self, at: u32, client: Client) {
        self.names.insert(client.id.clone(), at);
        if let Some(place) = self.clients.get_mut(at as usize) {
            *place = Some(client);
        }
        self.counts.sessions += 1;
    }

    /// Writes a session down, if it is to outlive its connection.
    pub(super) fn note_session(&mut self, at: u32) {
        let Some(client) = self.clients.get(at as usize).and_then(Option::as_ref) else { return };
        if client.durable {
            self.log.add(kind::SESSION, |out| {
                let names = (&*client.id, client.username.as_deref());
                log::put_session(out, at, client.expiry, names);
            });
        }
    }

    /// Writes down what happened to a message of a session.
    pub(super) fn note(&mut self, what: u8, at: u32, id: u16) {
        let durable = self.client(at).is_some_and(|client| client.durable);
        if durable {
            self.log.add(what, |out| log::put_key(out, at, id));
        }
    }

    /// Writes down that a message was acknowledged: `done`, or received.
    pub(super) fn note_acked(&mut self, at: u32, id: u16, done: bool) {
        let durable = self.client(at).is_some_and(|client| client.durable);
        if durable {
            self.log.add(kind::ACKED, |out| {
                log::put_key(out, at, id);
                out.push(u8::from(done));
            });
        }
    }

    /// Appends what was written down, before anything that was said about it is sent. `false`: it
    /// could not be.
    pub(super) fn commit(&mut self, h: &Handle) -> bool {
        if !self.log.is_on() {
            return true;
        }
        self.clock = Clock { unix: h.unix_time(), now: h.now() };
        if self.log.commit().is_err() {
            return false;
        }
        if self.log.is_long() {
            let bytes = self.snapshot(self.clock);
            // It fails only beside the journal, which goes on.
            let _ = self.log.replace(&bytes);
        }
        true
    }

    /// Forgets a client and its session.
    pub(super) fn remove(&mut self, at: u32) -> Option<Client> {
        let client = self.clients.get_mut(at as usize)?.take()?;
        if client.durable {
            self.log.add(kind::GONE, |out| log::put_u32(out, at));
        }
        for sub in &client.subs {
            self.take_sub(&sub.filter, at);
        }
        self.counts.subscriptions -= client.subs.len() as u64;
        self.counts.sessions -= 1;
        self.names.remove(&client.id);
        self.free.push(at);
        Some(client)
    }

    pub(super) fn stats(&self) -> BrokerStats {
        let sessions = self.clients.iter().flatten().map(|client| &client.session);
        let under_way = sessions.fold((0, 0), |(flight, queue), session| {
            (flight + session.in_flight(), queue + session.queued())
        });
        BrokerStats { in_flight: under_way.0 as u64, queued: under_way.1 as u64, ..self.counts }
    }
}
