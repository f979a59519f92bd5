//! In TLS's place where the feature `tls` is off: nothing of this can be made.

use std::string::String;

use crate::Error;
use crate::io::Tx;

/// One end of a TLS connection: there is none.
#[derive(Debug)]
pub(crate) enum Engine {}

/// What a handshake agreed on: there is none, and nobody makes this.
#[derive(Debug)]
pub(crate) struct Session;

/// What some input came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Fed {
    pub(crate) ready: bool,
    pub(crate) closed: bool,
}

impl Engine {
    pub(crate) fn kept(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) fn feed(
        &mut self,
        _input: &mut [u8],
        _plain: &mut dyn FnMut(&[u8]),
        _tx: &mut Tx<'_>,
    ) -> Result<Fed, Error> {
        match *self {}
    }

    pub(crate) fn seal(&mut self, _plain: &[u8], _tx: &mut Tx<'_>) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn close(&mut self, _tx: &mut Tx<'_>) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn session(&self) -> Session {
        match *self {}
    }
}

impl Session {
    pub(crate) fn summary(&self) -> String {
        String::new()
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        None
    }
}
