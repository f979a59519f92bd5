//! The kernel queue behind a driver: who watches what, and what is to be reported.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};

use lodger_backend::{Event, Interest, Micros, Ready, Token, Trigger};

use super::stream::Readiness;

/// A watched socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) token: Token,
    /// The directions asked for; after a oneshot report none.
    pub(super) want: Interest,
    /// It is in the list of edges.
    changed: bool,
}

impl Watch {
    /// Gives what is to be reported of a socket. A hang-up is told whichever direction was asked
    /// for, but asking for none silences it; the end of the input is told with the input.
    pub(super) fn report(&self, found: Readiness) -> Option<Event> {
        let mut wanted = Ready::from(self.want);
        if wanted.is_none() {
            return None;
        }
        if wanted.is_read() {
            wanted |= Ready::HUP;
        }
        let ready = if found.hangup { found.ready } else { found.ready & wanted };
        (!ready.is_none()).then_some(Event { token: self.token, ready })
    }
}

/// One driver's queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) trigger: Trigger,
    pub(super) deadline: Option<Micros>,
    pub(super) asked: bool,
    /// A waker was used, perhaps on another thread.
    pub(super) woken: Arc<AtomicBool>,
    pub(super) watches: BTreeMap<u64, Watch>,
    /// Edge only: who has changed, in order.
    edges: VecDeque<u64>,
    /// Level and oneshot: the last one reported, so that a short list starves nobody.
    cursor: u64,
}

impl Queue {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            deadline: None,
            asked: false,
            woken: Arc::default(),
            watches: BTreeMap::new(),
            edges: VecDeque::new(),
            cursor: 0,
        }
    }

    /// Tells whether a turn was asked for, by the guest or a waker.
    pub(super) fn is_called(&self) -> bool {
        self.asked || self.woken.load(Ordering::Acquire)
    }

    /// Tells the same, once.
    pub(super) fn take_calls(&mut self) -> bool {
        let woken = self.woken.swap(false, Ordering::AcqRel);
        mem::take(&mut self.asked) || woken
    }

    /// Watches a socket; `false` if it is watched already.
    pub(super) fn watch(&mut self, sock: u64, token: Token, want: Interest) -> bool {
        let new = !self.watches.contains_key(&sock);
        if new {
            self.watches.insert(sock, Watch { token, want, changed: false });
        }
        new
    }

    /// Watches other directions; `false` if the socket is not watched.
    pub(super) fn rearm(&mut self, sock: u64, token: Token, want: Interest) -> bool {
        let Some(watch) = self.watches.get_mut(&sock) else { return false };
        watch.token = token;
        watch.want = want;
        true
    }

    /// Notes that a socket's readiness has changed.
    pub(super) fn change(&mut self, sock: u64) {
        if self.trigger != Trigger::Edge {
            return;
        }
        if let Some(watch) = self.watches.get_mut(&sock).filter(|watch| !watch.changed) {
            watch.changed = true;
            self.edges.push_back(sock);
        }
    }

    /// Forgets a socket, and gives the token it was watched under.
    pub(super) fn forget(&mut self, sock: u64) -> Option<Token> {
        let watch = self.watches.remove(&sock)?;
        if watch.changed {
            self.edges.retain(|edge| *edge != sock);
        }
        Some(watch.token)
    }

    /// Puts what is to be reported in another order, by numbers that `below` chooses; `false` if
    /// there is no other.
    pub(super) fn shuffle(&mut self, mut below: impl FnMut(usize) -> usize) -> bool {
        if self.trigger != Trigger::Edge {
            let n = self.watches.len();
            if let Some(first) = self.watches.keys().nth(below(n)) {
                self.cursor = *first;
            }
            return n > 1;
        }
        let n = self.edges.len();
        for last in (1..n).rev() {
            self.edges.swap(last, below(last + 1));
        }
        n > 1
    }

    /// Takes the next report of this poll; `None` once there is none.
    pub(super) fn next(
        &mut self,
        round: &mut Round,
        readiness: impl Fn(u64) -> Readiness,
    ) -> Option<Event> {
        if self.trigger == Trigger::Edge {
            return self.next_edge(readiness);
        }
        let event = self.next_level(round, readiness)?;
        if self.trigger == Trigger::Oneshot {
            self.disarm(self.cursor);
        }
        Some(event)
    }

    fn next_edge(&mut self, readiness: impl Fn(u64) -> Readiness) -> Option<Event> {
        loop {
            let sock = self.edges.pop_front()?;
            let Some(watch) = self.watches.get_mut(&sock) else { continue };
            watch.changed = false;
            if let Some(event) = watch.report(readiness(sock)) {
                return Some(event);
            }
        }
    }

    fn next_level(
        &mut self,
        round: &mut Round,
        readiness: impl Fn(u64) -> Readiness,
    ) -> Option<Event> {
        let begin = *round.begin.get_or_insert(self.cursor);
        if !round.wrapped {
            let from = self.cursor.saturating_add(1);
            if let Some(found) = self.find(from, u64::MAX, &readiness) {
                return Some(found);
            }
            round.wrapped = true;
            self.cursor = 0;
        }
        self.find(self.cursor.saturating_add(1), begin, &readiness)
    }

    /// Finds the first socket in `from..=to` that is to be reported.
    fn find(&mut self, from: u64, to: u64, readiness: &impl Fn(u64) -> Readiness) -> Option<Event> {
        if from > to {
            return None;
        }
        let mut watches = self.watches.range(from..=to);
        let (sock, event) =
            watches.find_map(|(sock, watch)| Some((*sock, watch.report(readiness(*sock))?)))?;
        self.cursor = sock;
        Some(event)
    }

    /// Tells whether a poll would report anything.
    pub(super) fn is_ready(&self, readiness: impl Fn(u64) -> Readiness) -> bool {
        let reports = |sock: &u64, watch: &Watch| watch.report(readiness(*sock)).is_some();
        match self.trigger {
            Trigger::Edge => {
                let watch = |sock: &u64| self.watches.get(sock).is_some_and(|w| reports(sock, w));
                self.edges.iter().any(watch)
            }
            Trigger::Level | Trigger::Oneshot => self.watches.iter().any(|(s, w)| reports(s, w)),
        }
    }

    /// Reports the `n`th watched socket in all directions asked for, ready or not.
    pub(super) fn lie(&mut self, n: usize) -> Option<Event> {
        let (sock, watch) = self.watches.iter().nth(n)?;
        let (sock, event) = (*sock, watch.report(Readiness { ready: Ready::BOTH, hangup: false })?);
        if self.trigger == Trigger::Oneshot {
            self.disarm(sock);
        }
        Some(event)
    }

    fn disarm(&mut self, sock: u64) {
        if let Some(watch) = self.watches.get_mut(&sock) {
            watch.want = Interest::NONE;
        }
    }
}

/// How far a level-triggered poll has gone round the watched sockets.
#[derive(Debug, Default)]
pub(super) struct Round {
    begin: Option<u64>,
    wrapped: bool,
}
