//! In place of a server behind TLS where the feature `tls` is off: there is none.

use super::{App, raw};
use crate::Error;
use crate::proto::stack::Stack;
use crate::proto::tls::Engine;
use crate::runtime::Handle;

/// What a listener for TLS holds: there is none.
#[derive(Debug)]
pub(crate) enum Secured {}

impl Secured {
    pub(crate) fn begin(&self) -> Result<Engine, Error> {
        match *self {}
    }

    pub(crate) fn make(
        &self,
        _h: &Handle,
        _accepted: &raw::Accepted<'_>,
        _alpn: Option<&[u8]>,
    ) -> Option<(Stack, App)> {
        match *self {}
    }

    pub(crate) fn plain(&self, _h: &Handle) -> (Stack, App) {
        match *self {}
    }
}
