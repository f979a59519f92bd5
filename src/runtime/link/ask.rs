//! Opening streams: the client's side.

use lodger_backend::Ready;

use super::Link;
use crate::io::Tx;
use crate::proto::h1;
use crate::proto::h2::Ask;
use crate::proto::stack::Stack;
use crate::runtime::Handle;
use crate::runtime::core::Core;
use crate::runtime::handler::App;
use crate::runtime::id::{ConnId, Reason};
use crate::runtime::slot::Flags;

impl Handle {
    /// Whether a connection is one of streams and takes more of them, now or later.
    pub(crate) fn is_carrier(&self, id: ConnId) -> bool {
        let mut core = self.core();
        let open = core.open(id).map(|slot| &slot.stack);
        matches!(open, Some(Stack::H2(connection)) if connection.is_open())
    }

    /// Whether a stream can be opened on a connection now; with `tunnel` one that carries another
    /// protocol (RFC 8441).
    pub(crate) fn can_carry(&self, id: ConnId, tunnel: bool) -> bool {
        let mut core = self.core();
        let open = core.open(id).map(|slot| &slot.stack);
        let Some(Stack::H2(connection)) = open else { return false };
        connection.can_ask() && (!tunnel || connection.knows_connect())
    }

    /// Sends a request on a stream of its own, of which `app` hears; also that nothing came of it.
    /// `whole` is its body if that is there already.
    pub(crate) fn ask_stream(
        &self,
        carrier: ConnId,
        (stack, app): (Stack, App),
        head: &h1::RequestHead<'_>,
        ask: &Ask<'_>,
        whole: Option<&[u8]>,
    ) -> ConnId {
        if self.is_dead() {
            // Nobody would bury its slot any more.
            return self.refuse(stack, app);
        }
        let mut core = self.core();
        let core = &mut *core;
        self.time(core);
        let id = core.insert(None, stack, app);
        if let Some(slot) = core.slots.get_mut(id.index) {
            // The head has gone out, unless it turns out that it has not.
            (slot.ready, slot.sent) = (Ready::NONE, 1);
        }
        let why = match core.open(carrier) {
            Some(_) => core.ask_on(carrier.index, id.index, head, ask),
            None => Err(core.named(carrier).map_or(Reason::Eof, |slot| slot.why)),
        };
        if let Err(why) = why {
            core.refuse_stream(id.index, why);
        } else if let Some(bytes) = whole {
            core.put_whole(id.index, bytes);
        }
        core.arm_deadline(id.index);
        self.touch(core, id.index, false);
        id
    }
}

impl Core {
    /// Opens a stream for a slot.
    fn ask_on(
        &mut self,
        carrier: u32,
        index: u32,
        head: &h1::RequestHead<'_>,
        ask: &Ask<'_>,
    ) -> Result<(), Reason> {
        let now = self.now;
        let Some(mut parent) = self.take_connection(carrier) else { return Err(Reason::Eof) };
        let tx = &mut Tx::new(&mut parent.out, &mut self.pool);
        parent.connection.greet(now, &self.limits.h2, tx);
        let asked = parent.connection.ask(now, head, ask, tx);
        if let Ok(stream) = asked {
            parent.connection.set_tag(stream, index);
        }
        self.put_parent(parent);
        let stream = asked.map_err(Reason::Peer)?;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.link = Link { parent: carrier, stream };
            slot.flags.set(Flags::STREAM);
        }
        if let Some(slot) = self.slots.get_mut(carrier) {
            slot.flags.set(Flags::STREAMS);
        }
        Ok(())
    }

    /// Ends a stream that was never opened.
    fn refuse_stream(&mut self, index: u32, why: Reason) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.set(Flags::ASIDE);
            slot.sent = 0;
        }
        self.abort(index, why);
    }

    fn put_whole(&mut self, index: u32, bytes: &[u8]) {
        let Self { slots, pool, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return };
        if let Stack::Asking(asking) = &mut slot.stack
            && asking.count(bytes.len() as u64).is_ok()
        {
            Tx::new(&mut slot.out, pool).put(bytes);
            // Its length is the one that was announced.
            let _ = asking.finish();
        }
    }
}
