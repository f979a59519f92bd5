//! Opening streams: the client's side.

use std::boxed::Box;

use lodger_backend::Ready;

use super::Link;
use crate::io::Tx;
use crate::proto::h1;
use crate::proto::h2::{Ask, Asking};
use crate::proto::stack::Stack;
use crate::runtime::Handle;
use crate::runtime::core::Core;
use crate::runtime::handler::App;
use crate::runtime::handler::client::Asker;
use crate::runtime::id::{ConnId, Reason};
use crate::runtime::slot::Flags;

impl Handle {
    /// Whether a connection is one of streams and takes more of them, now or later.
    pub(crate) fn is_carrier(&self, id: ConnId) -> bool {
        let mut core = self.core();
        let open = core.open(id).map(|slot| &slot.stack);
        matches!(open, Some(Stack::H2(connection)) if connection.is_open())
    }

    /// Whether a stream can be opened on a connection now.
    pub(crate) fn can_ask(&self, id: ConnId) -> bool {
        let mut core = self.core();
        let open = core.open(id).map(|slot| &slot.stack);
        matches!(open, Some(Stack::H2(connection)) if connection.can_ask())
    }

    /// Sends a request on a stream of its own, whose response `asker` hears; also that nothing came
    /// of it. `length` is that of its body, `whole` the body if it is there already.
    pub(crate) fn ask_stream(
        &self,
        carrier: ConnId,
        asker: Box<Asker>,
        head: &h1::RequestHead<'_>,
        ask: &Ask<'_>,
        length: h1::Length,
        whole: Option<&[u8]>,
    ) -> ConnId {
        if self.is_dead() {
            // Nobody would bury its slot any more.
            return self.refuse(Stack::default(), App::Client(asker));
        }
        let mut core = self.core();
        let core = &mut *core;
        self.time(core);
        let until = core.now + core.limits.client.connect + core.limits.client.first_byte;
        let stack = Stack::Asking(Box::new(Asking::new(length, until)));
        let id = core.insert(None, stack, App::Client(asker));
        if let Some(slot) = core.slots.get_mut(id.index) {
            // The head has gone out, unless it turns out that it has not.
            (slot.ready, slot.sent) = (Ready::NONE, 1);
        }
        let why = match core.open(carrier) {
            Some(_) => core.ask_on(carrier.index, id.index, head, ask),
            None => Err(core.named(carrier).map_or(Reason::Eof, |slot| slot.why)),
        };
        if let Err(why) = why {
            core.refuse_stream(carrier, id.index, why);
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
    fn refuse_stream(&mut self, carrier: ConnId, index: u32, why: Reason) {
        let connecting = self.named(carrier).is_some_and(|slot| slot.flags.has(Flags::CONNECTING));
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.set(Flags::ASIDE);
            slot.sent = 0;
            if connecting {
                slot.flags.set(Flags::CONNECTING);
            }
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
