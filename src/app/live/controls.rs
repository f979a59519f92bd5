//! What a viewer may do: stall the loop, open sockets, drop one. The server decides who may.
//!
//! In: a viewer's words. Out: for those who may, the deed; for all others, nothing.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use lodger_backend::Addr;

use crate::http::Request;
use crate::policy::Retry;
#[cfg(feature = "tls")]
use crate::tls::ClientConfig;
use crate::ws::{Client, Connection, Cx, Handler, Message, Refuse};
use crate::{ConnId, Handle, Micros};

/// How long a stall is.
const STALL: Duration = Duration::from_millis(200);
/// From the beginning of one stall to the next at least: whoever may do it may not do it always.
const BETWEEN_STALLS: Duration = Duration::from_secs(1);
/// Sockets opened at a time.
const AT_A_TIME: usize = 5;
/// Sockets open at most.
const SOCKETS: usize = 20;
/// How a socket that was dropped comes back: slowly enough to be watched.
const BACK: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// What the controls need, and what they have done.
#[derive(Default)]
pub(super) struct Controls {
    /// Blocks the thread; `src/` has no clock to do it with.
    stall: Option<Rc<dyn Fn(Duration)>>,
    /// Any viewer may, from wherever.
    for_all: bool,
    /// Where the sockets go: the path of a route of the page's own.
    path: String,
    stalled: Cell<Option<Micros>>,
    sockets: RefCell<Vec<Connection>>,
}

impl core::fmt::Debug for Controls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let sockets = self.sockets.borrow().len();
        f.debug_struct("Controls").field("sockets", &sockets).finish_non_exhaustive()
    }
}

impl Controls {
    /// `path` is that of the route whose handlers are [`Silent`].
    pub(super) fn new(stall: Option<Rc<dyn Fn(Duration)>>, for_all: bool, path: &str) -> Self {
        Self { stall, for_all, path: path.to_string(), ..Self::default() }
    }

    /// Whether a viewer may act. `local_page` is what its request said; the handshake has checked
    /// that its origin is the host that it asked.
    pub(super) fn allows(&self, h: &Handle, viewer: ConnId, local_page: bool) -> bool {
        self.for_all || (local_page && is_loopback(h.peer_addr(viewer).as_ref()))
    }

    /// What there is to do, as the page is told.
    pub(super) fn offered(&self) -> &'static str {
        match self.stall {
            Some(_) => r#"["stall","open","drop"]"#,
            None => r#"["open","drop"]"#,
        }
    }

    /// Does what a viewer that may act asks for; what it does not know is nothing.
    pub(super) fn act(&self, h: &Handle, viewer: ConnId, word: &str) {
        match word {
            "stall" => self.stall(h),
            "open" => self.open(h, viewer),
            "drop" => self.drop_one(h),
            _ => {}
        }
    }

    fn stall(&self, h: &Handle) {
        let now = h.now();
        let soon = self.stalled.get().is_some_and(|at| now - at < BETWEEN_STALLS);
        if let Some(stall) = self.stall.as_ref().filter(|_| !soon) {
            self.stalled.set(Some(now));
            stall(STALL);
        }
    }

    /// Opens sockets to where the viewer came in: an address that nobody's words can choose.
    fn open(&self, h: &Handle, viewer: ConnId) {
        let secure = is_secure(h, viewer);
        let s = if secure { "s" } else { "" };
        let url = match h.conn_local_addr(viewer) {
            Some(Addr::Tcp(addr)) => std::format!("ws{s}://{addr}{}", self.path),
            Some(other) => std::format!("{other}:{}", self.path),
            None => return,
        };
        let mut sockets = self.sockets.borrow_mut();
        let room = SOCKETS.saturating_sub(sockets.len());
        for _ in 0..room.min(AT_A_TIME) {
            let Some(client) = trusting(Client::new(&url), secure) else { return };
            let client = client.retry(Retry::new(&BACK));
            // A URL made of an address and of a route's path can only be one, but for a path that
            // no route has either.
            sockets.extend(client.connect(h, Silent));
        }
    }

    /// Drops the connection of one socket. Its client comes back by its policy.
    fn drop_one(&self, h: &Handle) {
        if let Some(id) = self.sockets.borrow().iter().rev().find_map(Connection::id) {
            h.abort(id);
        }
    }

    /// Ends the sockets.
    pub(super) fn end(&self) {
        self.sockets.take().iter().for_each(|socket| socket.close(1000));
    }
}

/// Whether a request comes from a page that this machine shows to itself: it names its origin, and
/// the host is the loopback by number or by the one name that is never looked up. A name of
/// somebody's that leads here is none of these.
pub(super) fn is_local_page(request: &Request<'_>) -> bool {
    let host = request.host();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let local = Addr::without_lookup(name, 0).unwrap_or_default();
    let loopback = !local.is_empty() && local.iter().all(|addr| addr.ip().is_loopback());
    loopback && request.header("origin").is_some()
}

#[cfg(feature = "tls")]
fn is_secure(h: &Handle, viewer: ConnId) -> bool {
    h.tls(viewer).is_some()
}

#[cfg(not(feature = "tls"))]
fn is_secure(_: &Handle, _: ConnId) -> bool {
    false
}

/// Has a client take whatever certificate this runtime itself shows: it asks nobody else, and tells
/// no secret. `None` where TLS cannot be had.
#[cfg(feature = "tls")]
fn trusting(client: Client, secure: bool) -> Option<Client> {
    if !secure {
        return Some(client);
    }
    let anybody = ClientConfig::insecure().ok()?;
    Some(client.tls(&anybody))
}

#[cfg(not(feature = "tls"))]
fn trusting(client: Client, _secure: bool) -> Option<Client> {
    Some(client)
}

fn is_loopback(peer: Option<&Addr>) -> bool {
    let ip = peer.and_then(Addr::tcp).map(|addr| addr.ip().to_canonical());
    ip.is_some_and(|ip| ip.is_loopback())
}

/// Either end of a socket that was opened to be looked at.
#[derive(Debug)]
pub(super) struct Silent;

impl Silent {
    /// Lets in what this runtime opened itself, as long as somebody looks.
    pub(super) fn new(controls: &Rc<Controls>) -> Result<Self, Refuse> {
        if controls.sockets.borrow().is_empty() { Err(Refuse(404)) } else { Ok(Self) }
    }
}

impl Handler for Silent {
    fn message(&mut self, _cx: &mut Cx<'_>, _message: Message<'_>) {}
}
