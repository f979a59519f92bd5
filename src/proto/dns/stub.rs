//! Looks names up: which name is asked for, of which server, how often, and what is known already.
//!
//! ```text
//! a name --> its candidates (`search`, `ndots`) --> A and AAAA of one at a time
//!   each: a cached answer, or an exchange: try --no answer--> next server --...--> given up
//!                                           '--cut short, doubtful--> the same on a stream
//! ```
//!
//! Invariants: every ticket hears [`Event::Over`] exactly once; every exchange that was opened is
//! closed, by an event or by whoever says that it failed.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use lodger_backend::Micros;

use super::cache::Cache;
use super::message::{ALIASES, Kind, Query, Verdict};
use super::name::Name;
use super::{Config, NameError};
use crate::proto::Cx;

/// Names that are looked up at once; more are refused.
const JOBS: usize = 256;
/// Who waits for one name; more are refused.
const WAITERS: usize = 1_024;
/// Messages of a server that are no answer, before it is taken for one that gives none.
const NOISE: u32 = 32;

/// What the resolver wants done, or tells.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Open a socket of its own for this exchange and send `query`: as one datagram, or on a
    /// stream behind its length (RFC 1035, section 4.2.2). What comes back goes to
    /// [`Stub::handle_answer`], a socket that fails to [`Stub::handle_failure`].
    Open {
        /// Names the exchange.
        exchange: u32,
        /// Whom to ask.
        server: SocketAddr,
        /// On a stream.
        stream: bool,
        /// The message.
        query: Vec<u8>,
    },
    /// Close the exchange's socket.
    Close {
        /// Names the exchange.
        exchange: u32,
    },
    /// A ticket's name has these addresses, and perhaps more.
    Found {
        /// As it was given.
        ticket: u64,
        /// At least one.
        addresses: Vec<IpAddr>,
    },
    /// That was all about this ticket: an error if nothing was found.
    Over {
        /// As it was given.
        ticket: u64,
        /// How it ended.
        result: Result<(), NameError>,
    },
}

/// A stub resolver.
#[derive(Debug, Default)]
pub struct Stub {
    config: Config,
    cache: Cache,
    jobs: BTreeMap<u32, Job>,
    exchanges: BTreeMap<u32, Exchange>,
    /// Numbers jobs and exchanges.
    count: u32,
    events: VecDeque<Event>,
}

/// A name that is looked up for somebody.
#[derive(Debug)]
struct Job {
    /// As it was given, in lower case.
    name: String,
    waiters: Vec<u64>,
    /// What to ask for if the name asked for now does not exist.
    candidates: VecDeque<Name>,
    /// Kinds that have no answer yet.
    open: u32,
    found: Vec<IpAddr>,
    /// Servers have failed to answer.
    failed: Option<NameError>,
}

/// One question under way.
#[derive(Debug)]
struct Exchange {
    job: u32,
    /// What the answer is kept under: the first name, where aliases led to another.
    name: Name,
    query: Query,
    /// The least time to live of the aliases so far, in seconds.
    ttl: u32,
    aliases: usize,
    tries: usize,
    noise: u32,
    stream: bool,
    until: Micros,
}

impl Stub {
    /// Makes one that knows no server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whom to ask and how, from the next question on. What is known is forgotten.
    pub fn set_config(&mut self, config: Config) {
        if self.config != config {
            self.config = config;
            self.cache.clear();
        }
    }

    /// Looks `host` up. What is found is told by events of `ticket`, which should be new.
    pub fn ask(&mut self, cx: &mut Cx<'_>, ticket: u64, host: &str) {
        let name = host.to_ascii_lowercase();
        if let Some(job) = self.jobs.values_mut().find(|job| job.name == name) {
            if job.waiters.len() >= WAITERS {
                return self.over(ticket, Err(NameError::Overload));
            }
            if !job.found.is_empty() {
                let addresses = job.found.clone();
                self.events.push_back(Event::Found { ticket, addresses });
            }
            job.waiters.push(ticket);
            return;
        }
        let candidates = self.candidates(&name);
        let refused = match () {
            () if candidates.is_empty() => Some(NameError::Invalid),
            () if self.config.servers.is_empty() => Some(NameError::NoServer),
            () if self.jobs.len() >= JOBS => Some(NameError::Overload),
            () => None,
        };
        if let Some(why) = refused {
            return self.over(ticket, Err(why));
        }
        let (waiters, found) = (Vec::from([ticket]), Vec::new());
        let number = self.number();
        let job = Job { name, waiters, candidates, open: 0, found, failed: None };
        self.jobs.insert(number, job);
        self.next_candidate(cx, number);
    }

    /// Takes a message that came in an exchange.
    pub fn handle_answer(&mut self, cx: &mut Cx<'_>, exchange: u32, message: &[u8]) {
        let Some(asked) = self.exchanges.get_mut(&exchange) else { return };
        match asked.query.judge(message, asked.stream) {
            Verdict::NotOurs if asked.stream => self.try_next(cx, exchange, NameError::Failed),
            Verdict::NotOurs => {
                // The answer may be behind it.
                asked.noise += 1;
                if asked.noise >= NOISE {
                    self.try_next(cx, exchange, NameError::Failed);
                }
            }
            Verdict::TakeStream => {
                asked.stream = true;
                self.try_again(cx, exchange);
            }
            Verdict::NoEdns if asked.query.edns => {
                asked.query.edns = false;
                self.try_again(cx, exchange);
            }
            Verdict::NoEdns | Verdict::Failed => self.try_next(cx, exchange, NameError::Failed),
            Verdict::Found { addresses, ttl } => {
                self.answered(cx, exchange, addresses, Some(ttl));
            }
            Verdict::Nothing { ttl } => self.answered(cx, exchange, Vec::new(), ttl),
            Verdict::Alias { name, ttl } => self.follow(cx, exchange, name, ttl),
        }
    }

    /// Hears that an exchange's socket has failed or was closed. Nothing if it is over.
    pub fn handle_failure(&mut self, cx: &mut Cx<'_>, exchange: u32) {
        self.try_next(cx, exchange, NameError::Failed);
    }

    /// Moves time on. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let late = self.exchanges.iter().filter(|(_, asked)| asked.until <= cx.now);
        let late: Vec<u32> = late.map(|(number, _)| *number).collect();
        for exchange in late {
            self.try_next(cx, exchange, NameError::Timeout);
        }
    }

    /// Gives when `handle_timeout` is next due; `None` while nothing is under way.
    pub fn deadline(&self) -> Option<Micros> {
        self.exchanges.values().map(|asked| asked.until).min()
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn number(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        self.count
    }

    fn over(&mut self, ticket: u64, result: Result<(), NameError>) {
        self.events.push_back(Event::Over { ticket, result });
    }

    /// Gives what to ask for, in order: resolv.conf(5), `search` and `ndots`.
    fn candidates(&self, host: &str) -> VecDeque<Name> {
        let Some(alone) = Name::of_host(host, "") else { return VecDeque::new() };
        if host.ends_with('.') {
            return VecDeque::from([alone]);
        }
        let searched = self.config.search.iter().filter_map(|domain| Name::of_host(host, domain));
        let mut names: VecDeque<Name> = searched.collect();
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.config.ndots {
            names.push_front(alone);
        } else {
            names.push_back(alone);
        }
        names
    }

    // ---- Jobs ----

    /// Asks for both kinds of addresses of a job's next candidate.
    fn next_candidate(&mut self, cx: &mut Cx<'_>, number: u32) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let Some(name) = job.candidates.pop_front() else {
            return self.end(number);
        };
        job.open = 2;
        for kind in [Kind::Aaaa, Kind::A] {
            match self.cache.get(&name, kind, cx.now).map(<[IpAddr]>::to_vec) {
                Some(known) => self.note(cx, number, &known),
                None => self.open(cx, number, name.clone(), kind),
            }
        }
    }

    /// Notes the addresses of one kind.
    fn note(&mut self, cx: &mut Cx<'_>, number: u32, addresses: &[IpAddr]) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.open = job.open.saturating_sub(1);
        if !addresses.is_empty() {
            job.found.extend_from_slice(addresses);
            let told = job
                .waiters
                .iter()
                .map(|&ticket| Event::Found { ticket, addresses: addresses.to_vec() });
            self.events.extend(told);
        }
        if job.open == 0 {
            // One that exists somewhere, or that nobody could answer for, is not looked for
            // elsewhere.
            if job.found.is_empty() && job.failed.is_none() {
                self.next_candidate(cx, number);
            } else {
                self.end(number);
            }
        }
    }

    fn end(&mut self, number: u32) {
        let Some(job) = self.jobs.remove(&number) else { return };
        let result = match job.failed {
            _ if !job.found.is_empty() => Ok(()),
            Some(why) => Err(why),
            None => Err(NameError::NotFound),
        };
        self.events.extend(job.waiters.iter().map(|&ticket| Event::Over { ticket, result }));
    }

    // ---- Exchanges ----

    fn open(&mut self, cx: &mut Cx<'_>, job: u32, name: Name, kind: Kind) {
        let query = Query { id: 0, name: name.clone(), kind, edns: true };
        let asked = Exchange {
            job,
            name,
            query,
            ttl: u32::MAX,
            aliases: 0,
            tries: 0,
            noise: 0,
            stream: false,
            until: Micros::MAX,
        };
        self.send(cx, asked);
    }

    /// Sends a question, with a number, an id and letters that were not used before.
    fn send(&mut self, cx: &mut Cx<'_>, mut asked: Exchange) {
        let servers = &self.config.servers;
        let turn = asked.tries.checked_rem(servers.len()).unwrap_or(0);
        let Some(server) = servers.get(turn).copied() else {
            // They were taken away meanwhile.
            return self.give_up(cx, asked.job, NameError::NoServer);
        };
        let bytes = (cx.random)().to_le_bytes();
        asked.query.id = u16::from_le_bytes([bytes[0], bytes[1]]);
        asked.query.name = asked.query.name.drawn(cx.random);
        asked.until = cx.now + self.config.timeout;
        asked.noise = 0;
        let (exchange, query) = (self.number(), asked.query.message());
        self.events.push_back(Event::Open { exchange, server, stream: asked.stream, query });
        self.exchanges.insert(exchange, asked);
    }

    fn close(&mut self, exchange: u32) -> Option<Exchange> {
        let asked = self.exchanges.remove(&exchange)?;
        self.events.push_back(Event::Close { exchange });
        Some(asked)
    }

    /// Asks the same server in another way.
    fn try_again(&mut self, cx: &mut Cx<'_>, exchange: u32) {
        if let Some(asked) = self.close(exchange) {
            self.send(cx, asked);
        }
    }

    /// Asks the next server, or gives up.
    fn try_next(&mut self, cx: &mut Cx<'_>, exchange: u32, why: NameError) {
        let Some(mut asked) = self.close(exchange) else { return };
        asked.tries += 1;
        asked.stream = false;
        asked.query.edns = true;
        if asked.tries >= self.config.servers.len().saturating_mul(self.config.attempts.max(1)) {
            self.give_up(cx, asked.job, why);
        } else {
            self.send(cx, asked);
        }
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, number: u32, why: NameError) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.failed = Some(why);
        }
        self.note(cx, number, &[]);
    }

    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        exchange: u32,
        addresses: Vec<IpAddr>,
        ttl: Option<u32>,
    ) {
        let Some(asked) = self.close(exchange) else { return };
        if let Some(ttl) = ttl {
            let ttl = ttl.min(asked.ttl);
            self.cache.put(&asked.name, asked.query.kind, &addresses, ttl, cx.now);
        }
        self.note(cx, asked.job, &addresses);
    }

    /// Asks for what a name is the alias of.
    fn follow(&mut self, cx: &mut Cx<'_>, exchange: u32, name: Name, ttl: u32) {
        let Some(mut asked) = self.close(exchange) else { return };
        asked.aliases += 1;
        if asked.aliases > ALIASES {
            return self.give_up(cx, asked.job, NameError::Failed);
        }
        asked.ttl = asked.ttl.min(ttl);
        asked.query.name = name;
        asked.stream = false;
        self.send(cx, asked);
    }
}
