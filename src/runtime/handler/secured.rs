//! A server behind TLS: what its handshakes begin with, and who speaks once they are complete.

use std::boxed::Box;
use std::cell::RefCell;
use std::format;
use std::io;
use std::rc::Rc;

use super::http::{Answer, Request, Response, Routes};
use super::{App, Serve, Service, raw};
use crate::Error;
use crate::proto::stack::Stack;
use crate::proto::tls::{Accept, Engine, Plain, ServerConfig};
use crate::runtime::Handle;
use crate::runtime::channel::{Channel, Waiting};
use crate::runtime::id::ListenerId;

/// Serves another server over TLS; give it to [`Handle::listen`](crate::Handle::listen).
///
/// ```no_run
/// use lodger::{http, tls};
///
/// # fn main() -> std::io::Result<()> {
/// let rt = lodger::Runtime::standalone()?;
/// let config = tls::ServerConfig::from_files("cert.pem", "key.pem")?;
/// let server = http::Server::new().get("/", |req, res| {
///     res.text(req.tls().map_or("plain", |tls| tls.protocol()))
/// });
/// rt.listen("127.0.0.1:8443", tls::Server::new(&config, server))?;
/// rt.run()
/// # }
/// ```
#[derive(Debug)]
pub struct Server<S> {
    config: ServerConfig,
    inner: S,
}

impl<S: Serve> Server<S> {
    /// Joins who we are and what is served. The configuration is shared: what
    /// [`ServerConfig::reload`] and [`ServerConfig::replace`] change holds here too.
    pub fn new(config: &ServerConfig, inner: S) -> Self {
        Self { config: config.clone(), inner }
    }

    /// Gives back what is served: after a [`Rejected`](crate::Rejected), for another attempt.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Serve> Serve for Server<S> {
    fn check(&self) -> io::Result<()> {
        self.inner.check()
    }

    fn prepare(&self, h: &Handle) -> io::Result<()> {
        self.inner.prepare(h)
    }

    fn into_service(self) -> Service {
        let Self { config, inner } = self;
        Service::secured(Secured { config, inner: inner.into_service(), made: RefCell::default() })
    }
}

/// What a listener for TLS holds.
#[derive(Debug)]
pub(crate) struct Secured {
    config: ServerConfig,
    inner: Service,
    /// What handshakes begin with, and of which version of the configuration that is.
    made: RefCell<Option<(u32, Rc<Accept>)>>,
}

impl Secured {
    /// Waits for what a client says first.
    pub(crate) fn wait(self: &Rc<Self>, h: &Handle, listener: Option<ListenerId>) -> Box<Channel> {
        let core = h.core();
        let until = core.now + core.limits.tls.handshake;
        Channel::accepted(Waiting { secured: Rc::clone(self), listener }, until)
    }

    /// Gives the protocols that what is served speaks.
    pub(super) fn alpn(&self) -> &'static [&'static str] {
        self.inner.alpn()
    }

    /// Begins a handshake.
    pub(crate) fn begin(&self) -> Result<Engine, Error> {
        Engine::server(&self.accept())
    }

    fn accept(&self) -> Rc<Accept> {
        let version = self.config.version();
        let mut made = self.made.borrow_mut();
        match &*made {
            Some((of, accept)) if *of == version => Rc::clone(accept),
            _ => {
                let accept = Rc::new(self.config.accept(self.inner.alpn()));
                *made = Some((version, Rc::clone(&accept)));
                accept
            }
        }
    }

    /// Makes the two ends of a connection whose handshake is complete; `None` if its handler was
    /// refused. Runs user code.
    pub(crate) fn make(
        &self,
        h: &Handle,
        accepted: &raw::Accepted<'_>,
        alpn: Option<&[u8]>,
    ) -> Option<(Stack, App)> {
        self.inner.make(h, accepted, alpn)
    }

    /// Makes the two ends of a connection that speaks plain HTTP.
    pub(crate) fn plain(&self, h: &Handle) -> (Stack, App) {
        Service::http(Rc::new(Elsewhere(self.config.plain()))).http_ends(h, None)
    }
}

/// Answers plain HTTP where TLS is spoken.
struct Elsewhere(Plain);

impl Routes for Elsewhere {
    fn route(&self, request: &Request<'_>, response: Response<'_>) -> Answer {
        let host = request.host();
        if self.0 == Plain::Refuse || host.is_empty() {
            return response.status(400).text("This port speaks TLS: use https://\n");
        }
        let path = request.path();
        let query = request.query().map_or_else(Default::default, |q| format!("?{q}"));
        response.status(308).header("location", &format!("https://{host}{path}{query}")).empty()
    }
}
