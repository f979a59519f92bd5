//! An MQTT connection in the messages of a WebSocket.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::Micros;

use super::{Link, Port};
use crate::Error;
use crate::io::{Out, Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::mqtt::Mqtt;
use crate::proto::ws::Message;
use crate::runtime::Handle;
use crate::runtime::core::Core;
use crate::runtime::id::{ConnId, SendError};

/// A connection inside of another protocol's messages.
#[derive(Debug)]
pub(crate) struct Carrier {
    mqtt: Mqtt,
    out: Out,
    /// Input that is no whole packet yet.
    tail: Vec<u8>,
}

pub(super) fn carried<R>(
    h: &Handle,
    id: ConnId,
    carrier: &RefCell<Carrier>,
    f: impl FnOnce(&mut Mqtt, &mut Cx<'_>, &mut Tx<'_>) -> Result<R, Error>,
) -> Result<R, SendError> {
    let mut carrier = carrier.borrow_mut();
    let Carrier { mqtt, out, .. } = &mut *carrier;
    let done = {
        let mut core = h.core();
        let Core { pool, limits, now, .. } = &mut *core;
        let mut cx = Cx { now: *now, limits, random: &mut || 0 };
        f(mqtt, &mut cx, &mut Tx::new(out, pool))?
    };
    let sent = if out.is_empty() { Ok(()) } else { h.send(id, Message::Binary(out.bytes())) };
    out.clear(&mut h.core().pool);
    sent.map(|()| done)
}

impl Carrier {
    /// Makes one for a connection that begins.
    pub(crate) fn new(mqtt: Mqtt) -> Self {
        Self { mqtt, out: Out::new(), tail: Vec::new() }
    }

    /// Tells whether it has said or heard its last.
    pub(super) fn is_over(&self) -> bool {
        self.mqtt.is_over()
    }

    /// When something is due.
    pub(crate) fn deadline(&self, h: &Handle) -> Option<Micros> {
        let limits = Rc::clone(&h.core().limits);
        self.mqtt.deadline(&limits)
    }
}

/// Hands what a WebSocket carried to the connection in it, and its packets to `link`.
///
/// # Errors
///
/// The peer broke MQTT; what is to be said about it has been sent.
pub(crate) fn feed(
    h: &Handle,
    port: &Port,
    bytes: &[u8],
    link: &mut dyn Link,
) -> Result<(), Error> {
    let Port::Carried(id, carrier) = port else { return Ok(()) };
    let mut lent = core::mem::take(&mut carrier.borrow_mut().tail);
    lent.extend_from_slice(bytes);
    let mut rx = Rx::new(&mut lent, false);
    let mut scratch = Scratch::new();
    let fed = loop {
        // One packet at a time, with nothing borrowed while it is heard.
        let mut failed = None;
        let polled = {
            let mut carrier = carrier.borrow_mut();
            let Carrier { mqtt, out, .. } = &mut *carrier;
            let mut core = h.core();
            let Core { pool, limits, now, .. } = &mut *core;
            let mut cx = Cx { now: *now, limits, random: &mut || 0 };
            let polled = mqtt.poll(&mut cx, &mut rx, &mut scratch, &mut Tx::new(out, pool));
            polled.map_err(|e| failed = Some(e)).ok().flatten()
        };
        let _ = carried(h, *id, carrier, |_, _, _| Ok(()));
        match (polled, failed) {
            (_, Some(e)) => break Err(e),
            (Some(event), None) => link.event(h, port, event),
            (None, None) => break Ok(()),
        }
    };
    let rest = rx.peek().to_vec();
    carrier.borrow_mut().tail = rest;
    link.settled(h);
    fed
}

/// Does what is due on a carried connection.
///
/// # Errors
///
/// The peer was silent for too long; what is to be said about it has been sent.
pub(crate) fn on_deadline(h: &Handle, port: &Port) -> Result<(), SendError> {
    let mut done = Ok(());
    port.with(h, |mqtt, cx, tx| {
        done = mqtt.on_deadline(cx, tx);
        Ok(())
    })?;
    done.map_err(SendError::from)
}
