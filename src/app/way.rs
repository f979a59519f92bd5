//! How a client gets to a server: directly or through a proxy, plain or by TLS.

use std::boxed::Box;
use std::rc::Rc;

use super::proxy::Proxies;
use super::url::{Place, Url};
use crate::Error;
use crate::proto::tls::Engine;
use crate::runtime::{Channel, Handle};

/// Where a connection begins, and what lies between it and its protocol.
pub(super) struct Way {
    pub(super) place: Place,
    pub(super) channel: Option<Box<Channel>>,
}

impl Way {
    /// Finds the way to a server, with which `engine` shakes hands where it is to be by TLS.
    ///
    /// # Errors
    ///
    /// `Caller`: no proxy can be asked for its name.
    pub(super) fn find(
        h: &Handle,
        url: &Url,
        engine: Option<Engine>,
        proxies: &Proxies,
    ) -> Result<Self, Error> {
        let Some((proxy, host, port)) = proxies.to(url) else {
            return Ok(Self { place: url.place.clone(), channel: engine.map(Channel::dialled) });
        };
        let (tunnel, limits) = (proxy.tunnel(host, port)?, Rc::clone(&h.core().limits));
        let channel = Some(Channel::through(tunnel, engine, limits));
        Ok(Self { place: proxy.place().clone(), channel })
    }
}
