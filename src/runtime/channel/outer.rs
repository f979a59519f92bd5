//! TLS with a proxy, around what is spoken with it and with the server behind it.

use std::boxed::Box;
use std::mem;
use std::vec::Vec;

use super::{Channel, Fed, Frame, Stage};
use crate::io::{Out, Pool, Tx};
use crate::proto::tls::Engine;
use crate::{Error, Wire};

/// Of a proxy.
const ENDED: Error = Error::peer(Wire::None, "RFC 9110, 9.3.6: the proxy ends before it answers");

impl Channel {
    /// Shakes hands with a proxy first, before anything is asked of it.
    #[cfg(feature = "client")]
    pub(crate) fn within(mut self: Box<Self>, proxy: Engine) -> Box<Self> {
        self.outer = Some(Box::new(proxy));
        self
    }

    /// Opens what arrived from the proxy, and feeds what was in it. What is said to that is sealed.
    pub(super) fn feed_within(
        &mut self,
        mut outer: Box<Engine>,
        frame: &mut Frame,
        len: usize,
        size: usize,
    ) -> Result<Fed, Error> {
        let mut pool = Pool::new(0);
        let mut plain = self.inner_kept().to_vec();
        let kept = plain.len();
        let input = frame.sealed.get_mut(..size).unwrap_or_default();
        let tx = &mut Tx::new(&mut self.sealed, &mut pool);
        let opened = outer.feed(input, &mut |piece| plain.extend_from_slice(piece), tx)?;
        if !opened.ready {
            self.outer = Some(outer);
            return if opened.closed { Err(ENDED) } else { Ok(Fed { len, ..Fed::default() }) };
        }
        // What is said within is sealed before it goes out.
        let mut said = mem::replace(&mut self.sealed, Out::new());
        let fed = if plain.len() > kept || self.is_proxied() {
            self.feed_inner(frame, len, plain)
        } else {
            Ok(Fed { len, ..Fed::default() })
        };
        mem::swap(&mut self.sealed, &mut said);
        let tx = &mut Tx::new(&mut self.sealed, &mut pool);
        let sealed = if said.is_empty() { Ok(()) } else { outer.seal(said.bytes(), tx) };
        said.clear(&mut Pool::new(0));
        let bare = fed.as_ref().is_ok_and(|fed| fed.bare);
        if bare {
            // Nothing is sealed within it.
            self.stage = Stage::Open(*outer);
        } else {
            self.outer = Some(outer);
        }
        let fed = sealed.and(fed)?;
        if opened.closed && self.is_proxied() && fed.refused.is_none() {
            return Err(ENDED);
        }
        // That a proxy ends its stream is no server's word that it has said all.
        self.cut |= opened.closed && !fed.closed && !bare;
        Ok(Fed { closed: fed.closed || opened.closed, ..fed })
    }

    fn feed_inner(&mut self, frame: &mut Frame, len: usize, plain: Vec<u8>) -> Result<Fed, Error> {
        let size = plain.len();
        frame.sealed.resize(frame.sealed.len().max(size), 0);
        frame.rx.resize(frame.rx.len().max(len + size), 0);
        if let Some(to) = frame.sealed.get_mut(..size) {
            to.copy_from_slice(&plain);
        }
        self.feed_bare(frame, len, size)
    }
}

/// Puts what `f` says into the output, sealed once more where there is a proxy's TLS around it.
pub(super) fn seal_around(
    outer: Option<&mut Box<Engine>>,
    tx: &mut Tx<'_>,
    f: impl FnOnce(&mut Tx<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(outer) = outer else { return f(tx) };
    let (mut out, mut pool) = (Out::new(), Pool::new(0));
    let done = f(&mut Tx::new(&mut out, &mut pool));
    let sealed = if out.is_empty() { Ok(()) } else { outer.seal(out.bytes(), tx) };
    out.clear(&mut pool);
    done.and(sealed)
}
