//! The end of a connection: the rest of its goodbye, the peer's last bytes, its handler's last
//! call.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lodger_backend::{Net, Ready};

use super::core::{Core, Frame};
use super::id::Reason;
use super::serve::{Lent, begin};
use super::slot::{Flags, State};
use super::{Handle, pump};
use crate::io::Tx;
use crate::proto::stack::Farewell;

/// Sends the rest of a goodbye; then the connection ends or waits for the peer's end.
pub(super) fn drain(h: &Handle, index: u32) {
    let mut core = h.core();
    core.flush(index, &*h.0.net);
    let now = core.now;
    let Some(slot) = core.slots.get_mut(index) else { return };
    if slot.state != State::Closing {
        core.queue(index);
        return;
    }
    if slot.has_output() {
        core.arm_deadline(index);
        // A file goes window by window.
        core.queue_if_work(index);
        h.sync(&mut core, index);
        return;
    }
    let lingers = slot.flags.has(Flags::LINGER)
        && !slot.flags.has(Flags::EOF)
        && slot.sock.is_some_and(|sock| h.0.net.shutdown(sock).is_ok());
    if !lingers {
        slot.state = State::Dead;
        drop(core);
        bury(h, index);
        return;
    }
    slot.state = State::Linger;
    slot.flags.set(Flags::KICK);
    let why = slot.why;
    slot.since = now;
    let lent = begin(&mut core, index);
    drop(core);
    if let Some(lent) = lent {
        tell_closed(h, lent, why);
    }
    let mut core = h.core();
    core.arm_deadline(index);
    core.kick(index);
    h.sync(&mut core, index);
}

/// Reads away what the peer still sends, so that no reset destroys what we said last.
pub(super) fn linger(h: &Handle, core: &mut Core, frame: &mut Frame, index: u32) {
    let most = core.limits.io.linger_bytes;
    let Some(slot) = core.slots.get_mut(index) else { return };
    slot.flags.clear(Flags::KICK);
    let Some(sock) = slot.sock else { return };
    let size = frame.rx.len();
    let over = match h.0.net.recv(sock, &mut frame.rx) {
        Ok(0) => true,
        Ok(n) => {
            if n < size && !slot.ready.is_hup() {
                slot.ready = slot.ready & !Ready::READ;
            }
            core.extra(index).is_none_or(|extra| {
                extra.lingered += n;
                extra.lingered > most
            })
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            slot.ready = slot.ready & !Ready::READ;
            false
        }
        Err(e) => e.kind() != io::ErrorKind::Interrupted,
    };
    if over && let Some(slot) = core.slots.get_mut(index) {
        slot.state = State::Dead;
        core.let_go(index);
    }
    core.queue_if_work(index);
    h.sync(core, index);
}

/// Tells a handler that it is over and drops it, with nothing borrowed.
fn tell_closed(h: &Handle, lent: Lent, why: Reason) {
    let Lent { id, mut app, .. } = lent;
    let told = catch_unwind(AssertUnwindSafe(|| app.closed(h, id, why)));
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(app)));
    let mut core = h.core();
    core.stats.panics += u64::from(told.is_err()) + u64::from(dropped.is_err());
    core.running.retain(|&i| i != id.index);
    if let Some(slot) = core.slots.get_mut(id.index) {
        slot.flags.clear(Flags::LENT);
    }
    core.unpark();
}

/// Ends a dead connection: its handler hears why, then its slot is free.
pub(crate) fn bury(h: &Handle, index: u32) {
    let (lent, why) = {
        let mut core = h.core();
        let Some(slot) = core.slots.get(index).filter(|s| s.state == State::Dead) else { return };
        let why = slot.why;
        let Some(lent) = begin(&mut core, index) else { return };
        (lent, why)
    };
    // Its configuration may be the user's, and this the last to hold it.
    let channel = h.core().take_channel(index);
    h.guarded(|_| drop(channel));
    pump::close_late(h, lent.id, why);
    tell_closed(h, lent, why);
    h.core().free(index);
}

impl Core {
    /// Says goodbye in the connection's own protocol; see [`Stack::farewell`].
    ///
    /// [`Stack::farewell`]: crate::proto::stack::Stack::farewell
    pub(crate) fn farewell(&mut self, index: u32, why: Farewell, net: &dyn Net) -> bool {
        let Self { slots, pool, entropy, limits, now, .. } = self;
        let Some(slot) = slots.get_mut(index).filter(|s| s.state == State::Open) else {
            return true;
        };
        let mut random = || entropy.next(net);
        let mut cx = crate::proto::Cx { now: *now, limits, random: &mut random };
        slot.stack.farewell(&mut cx, &mut Tx::new(&mut slot.out, pool), why)
    }
}
