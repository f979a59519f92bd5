//! Whom a client trusts, and what that puts between its sockets and its protocol.

use std::boxed::Box;

use super::url::{Place, Url};
use crate::Error;
#[cfg(feature = "tls")]
use crate::proto::tls::ClientConfig;
use crate::runtime::{Channel, Handle};

/// Whom a client trusts: whom the system trusts, unless it is said.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    #[cfg(feature = "tls")]
    config: Option<ClientConfig>,
}

impl Trust {
    /// Trusts as `config` says.
    #[cfg(feature = "tls")]
    pub(super) fn new(config: &ClientConfig, alpn: &[&str]) -> Self {
        Self { config: Some(config.clone().speaking(alpn)) }
    }

    /// Finds out whom the system trusts, if that is needed for `url` and was not said.
    ///
    /// # Errors
    ///
    /// `Host`: it trusts nobody.
    #[cfg(feature = "tls")]
    pub(super) fn resolve(&mut self, h: &Handle, url: &Url, alpn: &[&str]) -> Result<(), Error> {
        if url.secure && self.config.is_none() {
            self.config = Some(h.platform_trust()?.speaking(alpn));
        }
        Ok(())
    }

    /// As above: nothing is needed.
    #[cfg(not(feature = "tls"))]
    pub(super) fn resolve(&mut self, _h: &Handle, _url: &Url, _alpn: &[&str]) -> Result<(), Error> {
        Ok(())
    }

    /// Makes what lies between a socket and this server; `None` for a plain one.
    ///
    /// # Errors
    ///
    /// `Caller`: the name of the server can stand in no certificate.
    pub(super) fn channel(&self, url: &Url) -> Result<Option<Box<Channel>>, Error> {
        match &url.place {
            #[cfg(feature = "tls")]
            Place::Tcp { name, .. } if url.secure => {
                let config = self.config.as_ref();
                let config = config.ok_or(Error::misuse("whom to trust was not resolved"))?;
                Ok(Some(Channel::dialled(config.begin(name)?)))
            }
            Place::Tcp { .. } | Place::Unix(_) => Ok(None),
        }
    }
}
