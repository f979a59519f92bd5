//! Whom a client trusts, and what that puts between its sockets and its protocol.

#[cfg(feature = "tls")]
use std::cell::RefCell;
#[cfg(feature = "tls")]
use std::vec::Vec;

use super::url::Place;
use crate::Error;
#[cfg(feature = "tls")]
use crate::proto::tls::ClientConfig;
use crate::proto::tls::Engine;
use crate::runtime::Handle;

/// Whom a client trusts: whom the system trusts, unless it is said.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    #[cfg(feature = "tls")]
    config: Option<ClientConfig>,
    /// The same, for what is to be agreed on: made once each.
    #[cfg(feature = "tls")]
    speaking: RefCell<Vec<(Alpn, ClientConfig)>>,
}

/// What is offered to a server, the preferred first.
pub(super) type Alpn = &'static [&'static str];

impl Trust {
    /// Trusts as `config` says.
    #[cfg(feature = "tls")]
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self { config: Some(config.clone()), speaking: RefCell::default() }
    }

    /// Finds out whom the system trusts, if that is needed and was not said.
    ///
    /// # Errors
    ///
    /// `Host`: it trusts nobody.
    #[cfg(feature = "tls")]
    pub(super) fn resolve(&mut self, h: &Handle, needed: bool) -> Result<(), Error> {
        if needed && self.config.is_none() {
            self.config = Some(h.platform_trust()?);
        }
        Ok(())
    }

    /// As above: nothing is needed.
    #[cfg(not(feature = "tls"))]
    pub(super) fn resolve(&mut self, _h: &Handle, _needed: bool) -> Result<(), Error> {
        Ok(())
    }

    /// Begins a handshake with who is at this place, and is offered `alpn`; `None` for a plain one.
    ///
    /// # Errors
    ///
    /// `Caller`: the name of the server can stand in no certificate.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "offered by TLS"))]
    pub(super) fn engine(
        &self,
        (place, secure): (&Place, bool),
        alpn: Alpn,
    ) -> Result<Option<Engine>, Error> {
        match place {
            #[cfg(feature = "tls")]
            Place::Tcp { name, .. } if secure => Ok(Some(self.speaking(alpn)?.begin(name)?)),
            Place::Tcp { .. } | Place::Unix(_) => Ok(None),
        }
    }

    #[cfg(feature = "tls")]
    fn speaking(&self, alpn: Alpn) -> Result<ClientConfig, Error> {
        let mut speaking = self.speaking.borrow_mut();
        let made = speaking.iter().find(|(of, _)| *of == alpn);
        if let Some((_, config)) = made {
            return Ok(config.clone());
        }
        let config = self.config.clone().ok_or(Error::misuse("whom to trust was not resolved"))?;
        let config = config.speaking(alpn);
        speaking.push((alpn, config.clone()));
        Ok(config)
    }
}
