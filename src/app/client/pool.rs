//! Connections that can carry another request: those that wait for one, those that take one behind
//! others, those that have streams, and those that are being made.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::string::{String, ToString};
use std::vec::Vec;

use super::Client;
use super::dial::Dial;
use crate::runtime::handler::client::{Owner, Waiter};
use crate::runtime::{ConnId, Handle};

/// What a client knows of its connections, by origin.
#[derive(Default)]
pub(super) struct Pool(BTreeMap<String, Origin>);

/// What a client knows of one server.
#[derive(Default)]
struct Origin {
    /// They wait for another request; the last used are taken first.
    kept: Vec<ConnId>,
    /// It carries pipelined requests alone.
    line: Option<(ConnId, Weak<Keeper>)>,
    /// One on which others may be sent as well: it is not there yet, or has not told what it takes.
    dialling: Option<(ConnId, Rc<Dial>)>,
    /// They have streams.
    carriers: Vec<ConnId>,
    /// The last that was made speaks HTTP/1.1: nobody waits for one of another's.
    http1: bool,
    /// The last that was made carries no WebSockets.
    no_sockets: bool,
}

impl Origin {
    fn is_empty(&self) -> bool {
        self.kept.is_empty()
            && self.line.is_none()
            && self.dialling.is_none()
            && self.carriers.is_empty()
    }
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pool").field("origins", &self.0.len()).finish_non_exhaustive()
    }
}

/// Origins of which is remembered what they speak though there is no connection.
const REMEMBERED: usize = 256;

impl Pool {
    fn of(&mut self, origin: &str) -> &mut Origin {
        if !self.0.contains_key(origin) && self.0.len() >= REMEMBERED {
            self.0.retain(|_, origin| !origin.is_empty());
        }
        self.0.entry(origin.to_string()).or_default()
    }

    /// Gives a connection that is being made, to wait for.
    pub(super) fn dialling(&self, origin: &str) -> Option<(ConnId, Rc<Dial>)> {
        let (id, dial) = self.0.get(origin)?.dialling.as_ref()?;
        Some((*id, Rc::clone(dial)))
    }

    /// Notes one that others may wait for.
    pub(super) fn begin(&mut self, origin: &str, id: ConnId, dial: &Rc<Dial>) {
        self.of(origin).dialling = Some((id, Rc::clone(dial)));
    }

    /// A connection speaks HTTP/1.1.
    pub(super) fn speaks_http1(&mut self, origin: &str, id: ConnId) {
        let here = self.of(origin);
        here.http1 = true;
        here.dialling.take_if(|dialling| dialling.0 == id);
    }

    /// A connection has streams, how many is not known yet.
    #[cfg(feature = "h2")]
    pub(super) fn speaks_http2(&mut self, origin: &str, id: ConnId) {
        let here = self.of(origin);
        here.http1 = false;
        here.carriers.push(id);
    }

    /// A connection has told what it takes.
    #[cfg(feature = "h2")]
    pub(super) fn settled(&mut self, origin: &str, id: ConnId, sockets: bool) {
        let here = self.of(origin);
        here.no_sockets = !sockets;
        here.dialling.take_if(|dialling| dialling.0 == id);
    }

    /// A connection has ended.
    pub(super) fn ended(&mut self, origin: &str, id: ConnId) {
        let Some(here) = self.0.get_mut(origin) else { return };
        here.dialling.take_if(|dialling| dialling.0 == id);
        here.carriers.retain(|carrier| *carrier != id);
    }

    /// Whether it is of use to wait for a connection that another has begun to make, and for a
    /// WebSocket to have one with streams at all.
    pub(super) fn shares(&self, origin: &str, socket: bool) -> bool {
        self.0.get(origin).is_none_or(|here| !(here.http1 || socket && here.no_sockets))
    }
}

/// Brings a connection back to where its origin's are kept, and knows who waits on it.
pub(super) struct Keeper {
    client: Client,
    origin: String,
    waiters: RefCell<VecDeque<Waiter>>,
}

impl Keeper {
    pub(super) fn new(client: &Client, origin: String) -> Self {
        Self { client: client.clone(), origin, waiters: RefCell::default() }
    }

    /// Puts one behind those whose requests were written before.
    pub(super) fn wait(&self, waiter: Waiter) {
        self.waiters.borrow_mut().push_back(waiter);
    }
}

impl Owner for Keeper {
    fn idle(&self, h: &Handle, id: ConnId) {
        let most = h.core().limits.client.idle_connections;
        let surplus = {
            let mut pool = self.client.0.pool.borrow_mut();
            let here = pool.of(&self.origin);
            // The next request on it may be one that nothing must follow.
            here.line.take_if(|line| line.0 == id);
            here.kept.push(id);
            (here.kept.len() > most).then(|| here.kept.remove(0))
        };
        if let Some(surplus) = surplus {
            h.abort(surplus);
        }
    }

    fn next(&self) -> Option<Waiter> {
        self.waiters.borrow_mut().pop_front()
    }
}

impl Client {
    /// Takes a connection that was kept for an origin, and forgets those that have ended.
    pub(super) fn take(&self, origin: &str) -> Option<ConnId> {
        let mut pool = self.0.pool.borrow_mut();
        let here = pool.0.get_mut(origin)?;
        while let Some(id) = here.kept.pop() {
            if self.0.h.takes_another(id) {
                return Some(id);
            }
        }
        None
    }

    /// Gives a connection to `origin` on which another stream can be opened now, for a WebSocket
    /// if `socket`.
    #[cfg(feature = "h2")]
    pub(in crate::app) fn carrier(&self, origin: &str, socket: bool) -> Option<ConnId> {
        let h = &self.0.h;
        let mut pool = self.0.pool.borrow_mut();
        let here = pool.0.get_mut(origin)?;
        here.carriers.retain(|id| h.is_carrier(*id));
        here.carriers.iter().copied().find(|id| h.can_carry(*id, socket))
    }

    /// Gives the connection on which requests to an origin are pipelined.
    pub(super) fn line(&self, origin: &str) -> Option<(ConnId, Rc<Keeper>)> {
        let mut pool = self.0.pool.borrow_mut();
        let line = &mut pool.0.get_mut(origin)?.line;
        let (id, keeper) = line.as_ref()?;
        if let Some(keeper) = keeper.upgrade() {
            return Some((*id, keeper));
        }
        *line = None;
        None
    }

    /// Has pipelined requests to the origin follow on this connection.
    pub(super) fn open_line(&self, id: ConnId, keeper: &Rc<Keeper>) {
        let line = (id, Rc::downgrade(keeper));
        self.0.pool.borrow_mut().of(&keeper.origin).line = Some(line);
    }
}
