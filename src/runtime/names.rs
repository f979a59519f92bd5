//! Names: where their addresses come from, and the sockets of those who ask for them.

use std::boxed::Box;
use std::net::IpAddr;
use std::rc::Rc;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use lodger_backend::{Addr, Micros, Net, SystemText};

use super::Handle;
use super::id::ConnId;
use crate::proto::dns::Hosts;
pub(super) use crate::proto::dns::NameError;

#[cfg(feature = "dns")]
mod ask;

/// The system's texts are looked at again after this long.
const FRESH: Duration = Duration::from_secs(1);

/// Finds the addresses of names, in place of the name servers of the system.
///
/// ```
/// use lodger::dns::{Query, Resolver};
///
/// /// Everything is here.
/// struct Here;
///
/// impl Resolver for Here {
///     fn resolve(&self, _h: &lodger::Handle, query: Query) {
///         query.answer(Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()]));
///     }
/// }
/// ```
pub trait Resolver: 'static {
    /// Looks a name up. It must not wait: the answer is given now, or later from anywhere on the
    /// loop's thread. Runs in a turn, with nothing of the runtime borrowed.
    fn resolve(&self, h: &Handle, query: Query);
}

/// A name to be looked up, to be answered once. Dropped unanswered it has
/// [failed](NameError::Failed).
#[derive(Debug)]
pub struct Query {
    h: Handle,
    name: Box<str>,
    to: Option<Target>,
}

/// Who waits for a name's addresses.
pub(super) enum Target {
    Conn(ConnId),
    Call { found: Vec<IpAddr>, f: Call },
}

type Call = Box<dyn FnOnce(&Handle, Result<Vec<IpAddr>, NameError>)>;

impl core::fmt::Debug for Target {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Conn(id) => id.fmt(f),
            Self::Call { .. } => f.write_str("Call"),
        }
    }
}

impl Query {
    /// Gives the name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Answers: addresses in any order, IPv4 and IPv6 mixed, or why there is none.
    pub fn answer(mut self, found: Result<Vec<IpAddr>, NameError>) {
        self.tell(found);
    }

    fn tell(&mut self, found: Result<Vec<IpAddr>, NameError>) {
        let Some(to) = self.to.take() else { return };
        let (addresses, result) = match found {
            Ok(addresses) if addresses.is_empty() => (addresses, Err(NameError::NotFound)),
            Ok(addresses) => (addresses, Ok(())),
            Err(e) => (Vec::new(), Err(e)),
        };
        self.h.tell_addresses(to, &addresses, result);
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.tell(Err(NameError::Failed));
    }
}

/// What the runtime knows of names.
#[derive(Default)]
pub(super) struct Names {
    resolver: Option<Rc<dyn Resolver>>,
    hosts: Text<Hosts>,
    /// When the texts were looked at.
    seen: Option<Micros>,
    #[cfg(feature = "dns")]
    asks: ask::Asks,
}

/// What a text of the system says, and the number of the text.
#[derive(Default)]
struct Text<T> {
    known: Option<u64>,
    says: T,
}

impl<T: Default> Text<T> {
    /// Reads the text if it has changed; one that cannot be read says nothing. `true` if it
    /// changed.
    fn refresh(&mut self, net: &dyn Net, which: SystemText, parse: impl FnOnce(&str) -> T) -> bool {
        let (known, says) = match net.system_text(which, self.known) {
            Ok(None) => return false,
            Ok(Some((number, text))) => (Some(number), parse(&String::from_utf8_lossy(&text))),
            Err(_) if self.known.is_none() => return false,
            Err(_) => (None, T::default()),
        };
        *self = Self { known, says };
        true
    }
}

impl Names {
    /// Reads what the system says of names, at first and when it has changed.
    fn refresh(&mut self, net: &dyn Net, now: Micros) {
        if self.seen.is_some_and(|seen| now < seen + FRESH) {
            return;
        }
        self.seen = Some(now);
        self.hosts.refresh(net, SystemText::Hosts, Hosts::parse);
        #[cfg(feature = "dns")]
        self.asks.refresh(net);
    }
}

impl Handle {
    /// Has names looked up by `resolver` instead of the name servers and the files of the system;
    /// literals and `localhost` are not asked for.
    pub fn set_resolver(&self, resolver: impl Resolver) {
        let resolver: Rc<dyn Resolver> = Rc::new(resolver);
        let old = self.0.names.borrow_mut().resolver.replace(resolver);
        drop(old);
    }

    /// Looks a name up and hands all its addresses to `f`, from a turn. Dropped unheard if the
    /// runtime ends before.
    pub fn resolve(
        &self,
        name: &str,
        f: impl FnOnce(&Self, Result<Vec<IpAddr>, NameError>) + 'static,
    ) {
        let (name, f): (Box<str>, Call) = (name.into(), Box::new(f));
        self.after(Duration::ZERO, move |h| {
            h.look_up(&name, Target::Call { found: Vec::new(), f });
        });
    }

    /// Asks for the addresses that an attempt is to reach.
    pub(super) fn ask_for(&self, id: ConnId, name: &str) {
        self.look_up(name, Target::Conn(id));
    }

    fn look_up(&self, name: &str, to: Target) {
        if let Some(local) = local(name) {
            let over = if local.is_empty() { Err(NameError::NotFound) } else { Ok(()) };
            return self.tell_addresses(to, &local, over);
        }
        let resolver = self.0.names.borrow().resolver.clone();
        if let Some(resolver) = resolver {
            let query = Query { h: self.clone(), name: name.into(), to: Some(to) };
            self.guarded(|h| resolver.resolve(h, query));
            return;
        }
        let found = {
            let now = self.now();
            let mut names = self.0.names.borrow_mut();
            names.refresh(&*self.0.net, now);
            names.hosts.says.get(name).to_vec()
        };
        if !found.is_empty() {
            return self.tell_addresses(to, &found, Ok(()));
        }
        #[cfg(feature = "dns")]
        self.ask_servers(name, to);
        #[cfg(not(feature = "dns"))]
        self.tell_addresses(to, &[], Err(NameError::NoServer));
    }

    /// Tells who waits the last that is found.
    pub(super) fn tell_addresses(
        &self,
        to: Target,
        addresses: &[IpAddr],
        result: Result<(), NameError>,
    ) {
        match to {
            Target::Conn(id) => self.named(id, addresses, Some(result)),
            Target::Call { mut found, f } => {
                found.extend_from_slice(addresses);
                let result = if found.is_empty() { result } else { Ok(()) };
                self.after(Duration::ZERO, move |h| f(h, result.map(|()| found)));
            }
        }
    }
}

/// Gives the addresses of what needs no looking up: a literal, this machine (RFC 6761, section
/// 6.3); none for what never has one (section 6.4, and RFC 7686 against leaks). `None`: a name.
fn local(name: &str) -> Option<Vec<IpAddr>> {
    if let Some(found) = Addr::without_lookup(name, 0) {
        return Some(found.iter().map(std::net::SocketAddr::ip).collect());
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let last = bare.rsplit('.').next().unwrap_or_default();
    match last.to_ascii_lowercase().as_str() {
        "localhost" => local("localhost"),
        "invalid" | "onion" => Some(Vec::new()),
        _ => None,
    }
}
