//! Connections that can carry another request: those that wait for one, and those that take one
//! behind others.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::string::String;
use std::vec::Vec;

use super::Client;
use crate::runtime::handler::client::{Owner, Waiter};
use crate::runtime::{ConnId, Handle};

/// What a client knows of its connections, by origin.
#[derive(Default)]
pub(super) struct Pool {
    /// They wait for another request; the last used are taken first.
    kept: BTreeMap<String, Vec<ConnId>>,
    /// They carry pipelined requests alone.
    lines: BTreeMap<String, (ConnId, Weak<Keeper>)>,
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pool").field("origins", &self.kept.len()).finish_non_exhaustive()
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
            // The next request on it may be one that nothing must follow.
            pool.lines.retain(|_, line| line.0 != id);
            let here = pool.kept.entry(self.origin.clone()).or_default();
            here.push(id);
            (here.len() > most).then(|| here.remove(0))
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
        let here = pool.kept.get_mut(origin)?;
        while let Some(id) = here.pop() {
            if self.0.h.is_open(id) {
                return Some(id);
            }
        }
        pool.kept.remove(origin);
        None
    }

    /// Gives the connection on which requests to an origin are pipelined.
    pub(super) fn line(&self, origin: &str) -> Option<(ConnId, Rc<Keeper>)> {
        let mut pool = self.0.pool.borrow_mut();
        let (id, keeper) = pool.lines.get(origin)?;
        if let Some(keeper) = keeper.upgrade() {
            return Some((*id, keeper));
        }
        pool.lines.remove(origin);
        None
    }

    /// Has pipelined requests to the origin follow on this connection.
    pub(super) fn open_line(&self, id: ConnId, keeper: &Rc<Keeper>) {
        let line = (id, Rc::downgrade(keeper));
        self.0.pool.borrow_mut().lines.insert(keeper.origin.clone(), line);
    }
}
