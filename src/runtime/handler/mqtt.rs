//! MQTT: what hears a connection, and what reaches one, whatever carries it.

use std::boxed::Box;
#[cfg(feature = "ws")]
use std::cell::RefCell;
#[cfg(feature = "ws")]
use std::rc::Rc;

use super::raw::Accepted;
use crate::Error;
use crate::io::Tx;
use crate::proto::Cx;
use crate::proto::mqtt::{Disconnect, Event, Mqtt};
use crate::proto::stack::Stack;
use crate::runtime::Handle;
use crate::runtime::core::Core;
use crate::runtime::id::{ConnId, Gone, Reason, SendError};
use crate::runtime::slot::Flags;

#[cfg(feature = "ws")]
mod carrier;
#[cfg(feature = "ws")]
use carrier::carried;
#[cfg(feature = "ws")]
pub(crate) use carrier::{Carrier, feed, on_deadline};

pub(crate) type Factory = dyn Fn(&Handle, &Accepted<'_>) -> Option<Box<dyn Link>>;

/// What hears one MQTT connection, packet by packet: a broker, a server, a client.
pub(crate) trait Link: 'static {
    /// The transport is there, and nothing was said.
    #[cfg(feature = "ws")]
    fn opened(&mut self, h: &Handle, port: &Port) {
        let _ = (h, port);
    }

    /// A packet arrived.
    fn event(&mut self, h: &Handle, port: &Port, event: Event<'_>);

    /// What was read is dealt with, and what was said about it has not been sent yet.
    fn settled(&mut self, h: &Handle) {
        let _ = h;
    }

    /// There is room for output, as [`Port::want_write`] asked.
    fn writable(&mut self, h: &Handle, port: &Port);

    /// A timer of the connection is due.
    fn timer(&mut self, h: &Handle, port: &Port, tag: u64) {
        let _ = (h, port, tag);
    }

    /// It is over: exactly once, the last call.
    fn closed(&mut self, h: &Handle, port: &Port, why: Reason);
}

/// Reaches one MQTT connection.
#[derive(Clone, Debug)]
pub(crate) enum Port {
    /// It is what a transport carries.
    Direct(ConnId),
    /// It is carried in the binary messages of a WebSocket.
    #[cfg(feature = "ws")]
    Carried(ConnId, Rc<RefCell<Carrier>>),
}

impl Port {
    /// Names the transport.
    pub(crate) fn id(&self) -> ConnId {
        match self {
            Self::Direct(id) => *id,
            #[cfg(feature = "ws")]
            Self::Carried(id, _) => *id,
        }
    }

    /// Lets `f` write to the connection, whatever waits there.
    pub(crate) fn with<R>(
        &self,
        h: &Handle,
        f: impl FnOnce(&mut Mqtt, &mut Cx<'_>, &mut Tx<'_>) -> Result<R, Error>,
    ) -> Result<R, SendError> {
        match self {
            Self::Direct(id) => h.mqtt(*id, usize::MAX, f),
            #[cfg(feature = "ws")]
            Self::Carried(id, carrier) => carried(h, *id, carrier, f),
        }
    }

    /// As [`with`](Self::with), where the output has room.
    #[inline]
    pub(crate) fn within<R>(
        &self,
        h: &Handle,
        f: impl FnOnce(&mut Mqtt, &mut Cx<'_>, &mut Tx<'_>) -> Result<R, Error>,
    ) -> Result<R, SendError> {
        match self {
            Self::Direct(id) => h.mqtt(*id, 0, f),
            #[cfg(feature = "ws")]
            Self::Carried(id, carrier) => {
                if !h.has_room(*id) {
                    return Err(SendError::Full { room: 0 });
                }
                carried(h, *id, carrier, f)
            }
        }
    }

    /// Tells whether a carried connection has said or heard its last.
    #[cfg(feature = "ws")]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Carried(_, carrier) if carrier.borrow().is_over())
    }

    /// Tells whether [`within`](Self::within) would write.
    pub(crate) fn has_room(&self, h: &Handle) -> bool {
        h.has_room(self.id())
    }

    /// Asks to hear `writable` once there is room.
    pub(crate) fn want_write(&self, h: &Handle) {
        // It is Gone only when it is closing, and hears that.
        let _ = h.want_write(self.id());
    }

    /// Says goodbye, and ends the connection once that is sent.
    pub(crate) fn disconnect(&self, h: &Handle, goodbye: &Disconnect<'_>) {
        let said = self.with(h, |mqtt, cx, tx| {
            mqtt.disconnect(cx, tx, goodbye);
            Ok(())
        });
        if said.is_ok() {
            self.ends(h);
        }
    }

    /// Has the transport end, after the connection said its last.
    pub(crate) fn ends(&self, h: &Handle) {
        match self {
            Self::Direct(id) => {
                let mut core = h.core();
                h.touch(&mut core, id.index, true);
            }
            #[cfg(feature = "ws")]
            Self::Carried(id, _) => {
                // It fails only when it is closing already.
                let _ = h.close(*id, 1000);
            }
        }
    }

    /// Has input that waited for an answer looked at.
    pub(crate) fn resume(&self, h: &Handle) {
        match self {
            Self::Direct(id) => {
                let mut core = h.core();
                h.touch(&mut core, id.index, true);
            }
            // It waits in the loop that hands it on.
            #[cfg(feature = "ws")]
            Self::Carried(..) => {}
        }
    }
}

impl Handle {
    /// Whether it says goodbye, or has ended.
    #[cfg(feature = "client")]
    pub(crate) fn is_leaving(&self) -> bool {
        let core = self.core();
        core.leaving || core.life == crate::runtime::core::Life::Dead
    }

    /// Gives the limits of MQTT.
    pub(crate) fn mqtt_limits(&self) -> crate::MqttLimits {
        self.core().limits.mqtt.clone()
    }

    /// Tells whether a connection's output takes another message.
    pub(crate) fn has_room(&self, id: ConnId) -> bool {
        let mut core = self.core();
        let high = core.limits.io.queue_high;
        core.open(id).is_some_and(|slot| slot.out.len() <= high)
    }

    /// Lets `f` write to an MQTT connection whose output has at most `beyond` bytes more than is
    /// allowed.
    #[inline]
    fn mqtt<R>(
        &self,
        id: ConnId,
        beyond: usize,
        f: impl FnOnce(&mut Mqtt, &mut Cx<'_>, &mut Tx<'_>) -> Result<R, Error>,
    ) -> Result<R, SendError> {
        let mut core = self.core();
        let core = &mut *core;
        let Core { slots, pool, limits, now, .. } = core;
        let slot = slots.get_mut(id.index).filter(|slot| slot.generation == id.generation);
        let slot = slot.filter(|slot| slot.state == crate::runtime::slot::State::Open);
        let slot = slot.ok_or(Gone)?;
        if slot.out.len() > limits.io.queue_high.saturating_add(beyond) {
            return Err(SendError::Full { room: 0 });
        }
        let Stack::Mqtt(mqtt) = &mut slot.stack else { return Err(NOT_MQTT.into()) };
        let mut cx = Cx { now: *now, limits, random: &mut || 0 };
        let done = f(mqtt, &mut cx, &mut Tx::new(&mut slot.out, pool))?;
        // What a handler sends on its own connection goes out when it returns.
        if !slot.flags.has(Flags::RUNNING) || core.modal != 0 {
            self.touch(core, id.index, false);
        }
        Ok(done)
    }
}

const NOT_MQTT: Error = Error::misuse("the connection does not speak MQTT");
