//! How a client gets to a server: directly or through a proxy, plain or by TLS.

use std::boxed::Box;
use std::rc::Rc;

use super::proxy::{Proxies, Proxy};
use super::trust::{Alpn, Trust};
use super::url::{Place, Url};
use crate::Error;
use crate::proto::stack::HTTP1_ALPN;
use crate::runtime::{Channel, Handle};

/// Where a connection begins, and what lies between it and its protocol.
pub(super) struct Way {
    pub(super) place: Place,
    pub(super) channel: Option<Box<Channel>>,
}

impl Way {
    /// Finds the way to a server, which is offered `alpn` where it is by TLS. Whom to trust is
    /// resolved, if [`Proxies::need_trust`].
    ///
    /// # Errors
    ///
    /// `Caller`: a name can stand in no certificate, or no proxy can be asked for it.
    pub(super) fn find(
        h: &Handle,
        (url, alpn): (&Url, Alpn),
        trust: &Trust,
        proxies: &Proxies,
    ) -> Result<Self, Error> {
        let engine = trust.engine((&url.place, url.secure), alpn)?;
        let Some((proxy, host, port)) = proxies.to(url) else {
            return Ok(Self { place: url.place.clone(), channel: engine.map(Channel::dialled) });
        };
        let (tunnel, limits) = (proxy.tunnel(host, port)?, Rc::clone(&h.core().limits));
        let mut channel = Channel::through(tunnel, engine, limits);
        if let Some(outer) = trust.engine(proxy.reached(), HTTP1_ALPN)? {
            channel = channel.within(outer);
        }
        Ok(Self { place: proxy.place().clone(), channel: Some(channel) })
    }

    /// Finds the way to a proxy that is asked itself. Whom to trust is resolved.
    ///
    /// # Errors
    ///
    /// `Caller`: its name can stand in no certificate.
    pub(super) fn to_proxy(proxy: &Proxy, trust: &Trust) -> Result<Self, Error> {
        let engine = trust.engine(proxy.reached(), HTTP1_ALPN)?;
        Ok(Self { place: proxy.place().clone(), channel: engine.map(Channel::dialled) })
    }
}
