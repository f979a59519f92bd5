//! The way through a proxy, before there is anything else between a socket and its protocol.

#[cfg(feature = "client")]
use std::boxed::Box;
use std::rc::Rc;

use super::{Channel, Fed, Frame, Stage, Taken};
use crate::io::{Pool, Tx};
use crate::proto::proxy::{Outcome, Tunnel};
use crate::proto::tls::Engine;
use crate::runtime::Handle;
use crate::runtime::serve::{self, Filled};
use crate::runtime::slot::Flags;
use crate::{Error, Limits};

/// A tunnel that is asked for, and what begins once it is there.
#[derive(Debug)]
pub(super) struct Proxied {
    tunnel: Tunnel,
    engine: Option<Engine>,
    limits: Rc<Limits>,
}

/// Of a proxy.
const EARLY: Error =
    Error::peer(crate::Wire::None, "RFC 9110, 9.3.6: an answer before it was asked for");

impl Channel {
    /// Asks for a tunnel, once there is a connection; then begins a handshake with a server, unless
    /// it is a plain one.
    #[cfg(feature = "client")]
    pub(crate) fn through(tunnel: Tunnel, engine: Option<Engine>, limits: Rc<Limits>) -> Box<Self> {
        let proxied = Proxied { tunnel, engine, limits };
        Box::new(Self::new(Stage::Proxied(Box::new(proxied)), lodger_backend::Micros::MAX))
    }

    /// Whether a tunnel is asked for.
    pub(in crate::runtime) fn is_proxied(&self) -> bool {
        matches!(self.stage, Stage::Proxied(_))
    }

    /// Goes on asking for a tunnel. Behind it the engine begins; without one, what follows is
    /// plaintext.
    pub(super) fn tunnel(
        &mut self,
        frame: &mut Frame,
        len: usize,
        size: usize,
    ) -> Result<Fed, Error> {
        let Stage::Proxied(proxied) = &mut self.stage else { return Ok(Fed::default()) };
        let input = frame.sealed.get(..size).unwrap_or_default();
        let mut pool = Pool::new(0);
        let tx = &mut Tx::new(&mut self.sealed, &mut pool);
        let limits = &proxied.limits;
        match proxied.tunnel.feed(limits, input, &mut frame.scratch, tx)? {
            None => return Ok(Fed { len, ..Fed::default() }),
            Some(Outcome::Refused(status)) => {
                return Ok(Fed { len, refused: Some(status), ..Fed::default() });
            }
            Some(Outcome::Open) => {}
        }
        let (rest, engine) = (proxied.tunnel.take_rest(), proxied.engine.take());
        if let Some(engine) = engine {
            self.stage = Stage::Shaking(engine, None);
            let size = rest.len();
            frame.sealed.resize(frame.sealed.len().max(size), 0);
            frame.rx.resize(frame.rx.len().max(len + size), 0);
            if let Some(to) = frame.sealed.get_mut(..size) {
                to.copy_from_slice(&rest);
            }
            return self.feed_bare(frame, len, size).map(|fed| Fed { tunnelled: true, ..fed });
        }
        self.stage = Stage::Over;
        if !self.sealed.is_empty() {
            return Err(EARLY);
        }
        let end = len + rest.len();
        frame.rx.resize(frame.rx.len().max(end), 0);
        if let Some(to) = frame.rx.get_mut(len..end) {
            to.copy_from_slice(&rest);
        }
        Ok(Fed { len: end, begun: true, tunnelled: true, bare: true, ..Fed::default() })
    }
}

/// Hands on what follows a tunnel through which nothing is sealed: the channel goes.
pub(super) fn bare(h: &Handle, frame: &mut Frame, taken: Taken, fed: &Fed) {
    let Taken { mut lent, channel, .. } = taken;
    drop(channel);
    let eof = {
        let mut core = h.core();
        let now = core.now;
        let Some(slot) = core.slots.get_mut(lent.id.index) else { return };
        slot.flags.clear(Flags(Flags::CHANNEL.0 | Flags::SHAKING.0 | Flags::SEALED.0));
        slot.note_stage_of(&mut lent.app, |stages| stages.tunnelled = Some(now));
        slot.begin_output(&mut lent.app, now);
        slot.flags.has(Flags::EOF)
    };
    serve::run(h, frame, &Filled { len: fed.len, eof, kicked: true }, lent);
}
