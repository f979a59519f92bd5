//! The sockets through which name servers are asked: one for each query.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::vec::Vec;

use lodger_backend::{Addr, Micros, Net, SystemText};

use super::super::handler::raw;
use super::super::id::{ConnId, Reason, TimerId};
use super::{Handle, Target, Text};
use crate::proto::Cx;
use crate::proto::dns::{Config, Event, Stub};

/// Who asks, who waits, and through which sockets.
#[derive(Default)]
pub(super) struct Asks {
    stub: Stub,
    system: Text<Config>,
    /// The user's, instead of the system's.
    config: Option<Config>,
    waiters: BTreeMap<u64, Target>,
    tickets: u64,
    sockets: BTreeMap<u32, ConnId>,
    timer: Option<(TimerId, Micros)>,
}

impl Asks {
    pub(super) fn refresh(&mut self, net: &dyn Net) {
        if self.system.refresh(net, SystemText::Resolver, Config::parse) && self.config.is_none() {
            self.stub.set_config(self.system.says.clone());
        }
    }
}

impl Handle {
    /// Has these name servers asked instead of those in resolv.conf. The hosts file still comes
    /// first.
    pub fn set_name_servers(&self, config: Config) {
        let mut names = self.0.names.borrow_mut();
        names.asks.stub.set_config(config.clone());
        names.asks.config = Some(config);
    }

    pub(super) fn ask_servers(&self, name: &str, to: Target) {
        self.with_stub(|asks, cx| {
            asks.tickets += 1;
            asks.waiters.insert(asks.tickets, to);
            asks.stub.ask(cx, asks.tickets, name);
        });
    }

    /// Has something done by the resolver, and does what it wants done.
    fn with_stub(&self, f: impl FnOnce(&mut Asks, &mut Cx<'_>)) {
        {
            let (now, limits) = (self.now(), self.core().limits.clone());
            let mut random = || self.random();
            let mut cx = Cx { now, limits: &limits, random: &mut random };
            f(&mut self.0.names.borrow_mut().asks, &mut cx);
        }
        loop {
            let event = self.0.names.borrow_mut().asks.stub.poll_event();
            let Some(event) = event else { break };
            self.do_for_stub(event);
        }
        self.time_stub();
    }

    fn do_for_stub(&self, event: Event) {
        match event {
            Event::Open { exchange, server, stream, query } => {
                self.open_exchange(exchange, server, stream, query);
            }
            Event::Close { exchange } => {
                let socket = self.0.names.borrow_mut().asks.sockets.remove(&exchange);
                if let Some(id) = socket {
                    self.abort(id);
                }
            }
            Event::Found { ticket, addresses } => self.tell_some(ticket, &addresses),
            Event::Over { ticket, result } => {
                let to = self.0.names.borrow_mut().asks.waiters.remove(&ticket);
                if let Some(to) = to {
                    self.tell_addresses(to, &[], result);
                }
            }
        }
    }

    /// Tells who waits what is found so far.
    fn tell_some(&self, ticket: u64, addresses: &[IpAddr]) {
        let id = match self.0.names.borrow_mut().asks.waiters.get_mut(&ticket) {
            Some(Target::Conn(id)) => *id,
            Some(Target::Call { found, .. }) => return found.extend_from_slice(addresses),
            None => return,
        };
        self.named(id, addresses, None);
    }

    fn open_exchange(&self, exchange: u32, server: SocketAddr, stream: bool, query: Vec<u8>) {
        let new = |query| Exchange { number: exchange, stream, query, input: Vec::new() };
        let id = if stream {
            self.connect(&Addr::Tcp(server), new(query))
        } else {
            self.send_datagram(server, &query, Box::new(new(Vec::new())))
        };
        self.0.names.borrow_mut().asks.sockets.insert(exchange, id);
    }

    /// Sets the timer of the resolver.
    fn time_stub(&self) {
        let (at, old) = {
            let names = self.0.names.borrow();
            (names.asks.stub.deadline(), names.asks.timer)
        };
        if old.map(|(_, at)| at) == at {
            return;
        }
        if let Some((timer, _)) = old {
            self.cancel(timer);
        }
        let timer = at.map(|at| {
            let due = |h: &Self| {
                h.0.names.borrow_mut().asks.timer = None;
                h.with_stub(|asks, cx| asks.stub.handle_timeout(cx));
            };
            (self.after(at - self.now(), due), at)
        });
        self.0.names.borrow_mut().asks.timer = timer;
    }
}

/// One query, and the socket that it was sent through.
struct Exchange {
    number: u32,
    stream: bool,
    query: Vec<u8>,
    /// What has come on a stream.
    input: Vec<u8>,
}

impl Exchange {
    /// Takes the message out of what has come on a stream once it is whole: RFC 1035, section
    /// 4.2.2.
    fn message(&self) -> Option<&[u8]> {
        let (length, rest) = self.input.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length)))
    }
}

impl raw::Handler for Exchange {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        let Ok(length) = u16::try_from(self.query.len()) else { return };
        if self.stream && cx.send(&[&length.to_be_bytes(), &*self.query].concat()).is_err() {
            cx.abort();
        }
    }

    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        let number = self.number;
        if !self.stream {
            cx.runtime().with_stub(|asks, cx| asks.stub.handle_answer(cx, number, bytes));
            return;
        }
        self.input.extend_from_slice(bytes);
        if let Some(message) = self.message() {
            cx.runtime().with_stub(|asks, cx| asks.stub.handle_answer(cx, number, message));
            cx.abort();
        } else if self.input.len() > usize::from(u16::MAX) {
            cx.abort();
        }
    }

    fn closed(&mut self, cx: &mut raw::Cx<'_>, _: Reason) {
        let number = self.number;
        let ours = cx.runtime().0.names.borrow_mut().asks.sockets.remove(&number);
        if ours.is_some() && !cx.runtime().is_dead() {
            cx.runtime().with_stub(|asks, cx| asks.stub.handle_failure(cx, number));
        }
    }
}

impl Handle {
    /// Asks by a datagram to a server, through a socket of its own.
    fn send_datagram(
        &self,
        server: SocketAddr,
        bytes: &[u8],
        handler: Box<dyn raw::Handler>,
    ) -> ConnId {
        let opened: io::Result<_> = self.0.net.connect_datagram(server);
        self.dial_datagram(opened, bytes, handler)
    }
}
