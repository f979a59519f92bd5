//! What a loop is asked to watch, where it must be told each time: level-triggered and oneshot
//! ones.

use std::io;

use lodger_backend::{Interest, Ready, Sock, Token, Trigger};

use super::core::Core;
use super::id::Reason;
use super::slot::Flags;
use super::{Handle, race};

impl Handle {
    /// Asks a level-triggered or oneshot loop again for what is wanted and not known to be ready.
    pub(crate) fn sync(&self, core: &mut Core, index: u32) {
        if core.trigger == Trigger::Edge {
            return;
        }
        let Core { slots, limits, trigger, .. } = core;
        let Some(slot) = slots.get_mut(index) else { return };
        let (Some(sock), want) = (slot.sock, slot.want(limits)) else { return };
        let missing = want.bits() & !slot.ready.bits() & !slot.armed.bits();
        if missing == 0 {
            return;
        }
        slot.armed = match trigger {
            Trigger::Level if !slot.flags.has(Flags::RUNNING) => want,
            Trigger::Level | Trigger::Edge | Trigger::Oneshot => {
                Interest::from_bits(slot.armed.bits() | missing)
            }
        };
        self.rearm_source(core, index, sock);
    }

    /// Notes what a report disarmed, and disarms what nobody wants.
    pub(crate) fn disarm_unwanted(&self, core: &mut Core, index: u32, ready: Ready) {
        let Core { slots, limits, trigger, .. } = core;
        let Some(slot) = slots.get_mut(index) else { return };
        if *trigger == Trigger::Oneshot {
            slot.armed = Interest::NONE;
            if !slot.flags.has(Flags::QUEUED) {
                // Nobody serves it now: a report of input must not silence its output.
                self.sync(core, index);
            }
            return;
        }
        let mut want = slot.want(limits);
        if slot.flags.has(Flags::RUNNING) {
            // What it can read waits for its handler; it is known, and need not be told again.
            want = want & Interest::WRITE;
        }
        let unwanted = ready.bits() & slot.armed.bits() & !want.bits();
        let ended = ready.is_hup() && want.is_none();
        if let Some(sock) = slot.sock
            && (unwanted != 0 || ended)
        {
            slot.armed = want;
            self.rearm_source(core, index, sock);
        }
    }

    fn rearm_source(&self, core: &mut Core, index: u32, sock: Sock) {
        let Some(slot) = core.slots.get(index) else { return };
        let token = Token::new(index, race::watched_as(slot));
        let armed = slot.armed;
        let done = match self.0.net.source(sock) {
            Some(source) => self.0.driver.borrow_mut().rearm(source, token, armed),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if let Err(e) = done {
            core.abort(index, Reason::Io(e.kind()));
        }
    }
}
