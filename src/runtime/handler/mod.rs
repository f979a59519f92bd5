//! What a user writes: handlers, one trait a protocol, and what they are given to answer with.

use std::boxed::Box;
use std::rc::Rc;

use super::Handle;
use super::channel::Channel;
use super::id::{ConnId, Reason};
use super::listen::Listener;
use crate::proto::stack::Stack;

#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
pub(crate) mod client;
pub(crate) mod exchange;
pub(crate) mod http;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
#[cfg(not(feature = "tls"))]
mod no_tls;
pub(crate) mod raw;
#[cfg(feature = "tls")]
pub(crate) mod secured;
#[cfg(feature = "ws")]
pub(crate) mod ws;

#[cfg(not(feature = "tls"))]
pub(crate) use no_tls::Secured;
#[cfg(feature = "tls")]
pub(crate) use secured::Secured;

/// The user's end of a slot. Out of it while it runs.
#[derive(Default)]
pub(crate) enum App {
    /// Nobody hears: it runs, or it has heard `closed`.
    #[default]
    Gone,
    Listener(Box<Listener>),
    Raw(Box<dyn raw::Handler>),
    Http {
        routes: Rc<dyn http::Routes>,
        /// Of the exchange under way, where a handler was given for it.
        stream: Option<Box<dyn http::Handler>>,
    },
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    Client(Box<client::Asker>),
    /// Waits for the connection, to give it its protocol.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    Opening(Rc<dyn client::Opener>),
    /// Has given it streams.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    #[cfg(feature = "h2")]
    Carrier(Rc<dyn client::Opener>),
    #[cfg(feature = "ws")]
    Ws {
        handler: Box<dyn ws::Handler>,
        /// Its route asked for chunks instead of whole messages.
        chunks: bool,
    },
    #[cfg(feature = "mqtt")]
    Mqtt(Box<dyn mqtt::Link>),
}

impl core::fmt::Debug for App {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Gone => "Gone",
            Self::Listener(_) => "Listener",
            Self::Raw(_) => "Raw",
            Self::Http { .. } => "Http",
            Self::Client(_) => "Client",
            Self::Opening(_) => "Opening",
            #[cfg(feature = "h2")]
            Self::Carrier(_) => "Carrier",
            #[cfg(feature = "ws")]
            Self::Ws { .. } => "Ws",
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => "Mqtt",
        })
    }
}

impl App {
    /// Tells that output is wanted again: `room` bytes would be taken.
    pub(crate) fn writable(&mut self, h: &Handle, id: ConnId, room: usize) {
        match self {
            Self::Raw(handler) => handler.writable(&mut raw::Cx::new(h, id), room),
            Self::Http { stream: Some(handler), .. } => {
                handler.writable(&mut http::Cx::current(h, id), room);
            }
            Self::Http { .. } => {}
            Self::Client(asker) => {
                if let Some(fetch) = &mut asker.fetch {
                    fetch.writable(&mut client::Cx::new(h, id), room);
                }
            }
            #[cfg(feature = "ws")]
            Self::Ws { handler, .. } => handler.writable(&mut ws::Cx::new(h, id), room),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(link) => link.writable(h, &mqtt::Port::Direct(id)),
            #[cfg(feature = "h2")]
            Self::Carrier(_) => {}
            Self::Gone | Self::Listener(_) | Self::Opening(_) => {}
        }
    }

    /// Tells that it is over: the last call that a handler hears.
    pub(crate) fn closed(&mut self, h: &Handle, id: ConnId, why: Reason) {
        match self {
            Self::Raw(handler) => handler.closed(&mut raw::Cx::new(h, id), why),
            Self::Http { stream: Some(handler), .. } => {
                handler.closed(&mut http::Cx::current(h, id), why);
            }
            Self::Http { .. } => {}
            Self::Client(asker) => asker.lost(h, id, why),
            Self::Opening(opener) => opener.closed(h, id, &client::Lost::of(h, id, why)),
            #[cfg(feature = "h2")]
            Self::Carrier(opener) => opener.closed(h, id, &client::Lost::of(h, id, why)),
            #[cfg(feature = "ws")]
            Self::Ws { handler, .. } => handler.closed(&mut ws::Cx::new(h, id), why),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(link) => link.closed(h, &mqtt::Port::Direct(id), why),
            Self::Gone | Self::Listener(_) => {}
        }
    }
}

/// A handler that was given and never got into place: it hears from the next turn that it is over.
pub(crate) enum Orphan {
    Http(Box<dyn http::Handler>),
    #[cfg(feature = "ws")]
    Ws(Box<dyn ws::Handler>),
}

impl core::fmt::Debug for Orphan {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Orphan")
    }
}

impl Handle {
    /// Keeps a handler that has no place, to be told so by the next turn: no call runs user code.
    pub(crate) fn orphan(&self, handler: Orphan) {
        let mut core = self.core();
        core.orphans.push(handler);
        self.ask(&mut core);
    }

    /// Tells the handlers without a place that they are over. `true` if there were any.
    pub(crate) fn tell_orphans(&self) -> bool {
        if self.core().orphans.is_empty() {
            return false;
        }
        let orphans = core::mem::take(&mut self.core().orphans);
        for orphan in orphans {
            self.guarded(|h| match orphan {
                Orphan::Http(mut handler) => {
                    handler.closed(&mut http::Cx::gone(h), Reason::Aborted);
                }
                #[cfg(feature = "ws")]
                Orphan::Ws(mut handler) => {
                    handler.closed(&mut ws::Cx::new(h, ConnId::NONE), Reason::Aborted);
                }
            });
        }
        true
    }
}

/// What a listener serves: made by `http::Server` and `raw::Server`.
#[derive(Clone)]
pub struct Service(Kind);

#[derive(Clone)]
enum Kind {
    Raw(Rc<raw::Factory>),
    Http(Rc<dyn http::Routes>),
    #[cfg(feature = "tls")]
    Tls(Rc<Secured>),
    #[cfg(feature = "mqtt")]
    Mqtt(Rc<mqtt::Factory>),
}

/// The two ends of a fresh connection, or what lies between them and its socket.
pub(crate) type Made = (Stack, App, Option<Box<Channel>>);

impl core::fmt::Debug for Service {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    /// Serves HTTP by these routes.
    pub fn http(routes: Rc<dyn http::Routes>) -> Self {
        Self(Kind::Http(routes))
    }

    pub(crate) fn raw(factory: Rc<raw::Factory>) -> Self {
        Self(Kind::Raw(factory))
    }

    /// Serves another over TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(secured: Secured) -> Self {
        Self(Kind::Tls(Rc::new(secured)))
    }

    #[cfg(feature = "mqtt")]
    pub(crate) fn mqtt(factory: Rc<mqtt::Factory>) -> Self {
        Self(Kind::Mqtt(factory))
    }

    /// Begins a fresh connection; `None` if its handler was refused. Runs user code.
    pub(crate) fn begin(&self, h: &Handle, accepted: &raw::Accepted<'_>) -> Option<Made> {
        match &self.0 {
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => {
                let channel = secured.wait(h, accepted.listener);
                Some((Stack::default(), App::Gone, Some(channel)))
            }
            _ => self.make(h, accepted, None).map(|(stack, app)| (stack, app, None)),
        }
    }

    /// Makes the two ends of a connection that is there, whose TLS handshake agreed on `alpn`;
    /// `None` if its handler was refused. Runs user code.
    pub(crate) fn make(
        &self,
        h: &Handle,
        accepted: &raw::Accepted<'_>,
        alpn: Option<&[u8]>,
    ) -> Option<(Stack, App)> {
        match &self.0 {
            Kind::Raw(factory) => Some((Stack::default(), App::Raw(factory(h, accepted)?))),
            Kind::Http(_) => Some(self.http_ends(h, alpn)),
            #[cfg(feature = "mqtt")]
            Kind::Mqtt(factory) => {
                let link = factory(h, accepted)?;
                let now = h.core().now;
                let mqtt = crate::proto::mqtt::Mqtt::server(now);
                Some((Stack::Mqtt(Box::new(mqtt)), App::Mqtt(link)))
            }
            // TLS within TLS is TLS.
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => secured.make(h, accepted, alpn),
        }
    }

    /// Makes the two ends of an HTTP connection.
    pub(crate) fn http_ends(&self, h: &Handle, alpn: Option<&[u8]>) -> (Stack, App) {
        let core = h.core();
        match &self.0 {
            Kind::Http(routes) => {
                #[cfg(feature = "h2")]
                let alpn = if routes.only_http2() { Some(&b"h2"[..]) } else { alpn };
                let stack = Stack::http_server(alpn, core.now, &core.limits);
                (stack, App::Http { routes: Rc::clone(routes), stream: None })
            }
            _ => (Stack::default(), App::Gone),
        }
    }

    /// Gives the protocols that it can agree on, the preferred one first.
    #[cfg(feature = "tls")]
    pub(crate) fn alpn(&self) -> &'static [&'static str] {
        match &self.0 {
            Kind::Raw(_) => &[],
            #[cfg(feature = "mqtt")]
            Kind::Mqtt(_) => &["mqtt"],
            Kind::Http(_) => crate::proto::stack::HTTP_ALPN,
            Kind::Tls(secured) => secured.alpn(),
        }
    }
}

/// What can be listened with: `http::Server`, `raw::Server`, a [`Service`].
pub trait Serve: Sized {
    /// Says what is wrong with it, before anything is opened.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with the first mistake in it: a route pattern that cannot be, for example.
    fn check(&self) -> std::io::Result<()> {
        Ok(())
    }

    /// Opens what it needs beside its sockets, once it is known to be right.
    ///
    /// # Errors
    ///
    /// The system's: a directory that is not there, for example.
    fn prepare(&self, h: &Handle) -> std::io::Result<()> {
        let _ = h;
        Ok(())
    }

    /// Makes the service.
    fn into_service(self) -> Service;
}

impl Serve for Service {
    fn into_service(self) -> Service {
        self
    }
}

/// Declares what every handler's context can do.
macro_rules! common_cx {
    ($cx:ident) => {
        impl $cx<'_> {
            /// Names the connection.
            pub fn id(&self) -> $crate::ConnId {
                self.conn()
            }

            /// Gives the runtime, to reach other connections, timers and the rest.
            pub fn runtime(&self) -> &$crate::Handle {
                self.h
            }

            /// Asks to hear `writable` once there is room for output, from a turn.
            pub fn want_write(&mut self) {
                // It is Gone only in `closed`, after which nobody listens.
                let _ = self.h.want_write(self.conn());
            }

            /// Stops or resumes input: what is not read is the peer's to hold.
            pub fn pause(&mut self, on: bool) {
                // As in `want_write`.
                let _ = self.h.pause(self.conn(), on);
            }

            /// Ends the connection now, dropping what is queued.
            pub fn abort(&mut self) {
                self.h.abort(self.conn());
            }

            /// Arms a timer that tells `tag` to this handler, once, after `delay`; it ends with
            /// the connection. Allocates nothing.
            ///
            /// # Errors
            ///
            /// The connection has ended.
            pub fn timer(
                &mut self,
                tag: u64,
                delay: core::time::Duration,
            ) -> Result<$crate::TimerId, $crate::Gone> {
                self.h.tag_timer(self.conn(), tag, delay)
            }
        }
    };
}
pub(crate) use common_cx;
