//! Outgoing connections: one attempt each, which never fails at once but is told by `closed`.

use std::boxed::Box;
#[cfg(feature = "dns")]
use std::io;
use std::rc::Rc;
#[cfg(feature = "ws")]
use std::time::Duration;

#[cfg(feature = "dns")]
use lodger_backend::Sock;
use lodger_backend::{Addr, Micros, Net, Ready};

use super::Handle;
use super::channel::Channel;
use super::core::Core;
use super::ending;
use super::handler::App;
use super::handler::client::{Asker, Opener, Stages, Timing};
use super::handler::raw;
use super::id::{ConnId, Reason};
use super::race::Race;
use super::slot::{Flags, Slot};
use crate::Error;
use crate::io::Tx;
use crate::proto::Cx;
use crate::proto::stack::Stack;

/// On a runtime that has ended: how many attempts, each made from the end of the one before, are
/// told; the next is dropped unheard.
const REFUSALS: usize = 16;

/// What an attempt is to reach.
#[derive(Debug)]
pub(crate) enum To<'a> {
    Addr(Addr),
    /// A name and a port. A literal is an address, and none of a name's.
    Name(&'a str, u16),
}

impl<'a> To<'a> {
    /// Gives the address at once where the name is a literal.
    pub(crate) fn host(name: &'a str, port: u16) -> Self {
        match Addr::without_lookup(name, port).as_deref() {
            Some([one]) => Self::Addr(Addr::Tcp(*one)),
            _ => Self::Name(name, port),
        }
    }
}

impl Handle {
    /// Opens a plain byte stream. Never fails at once: `handler` hears `open` when it is there, or
    /// `closed` with the reason. On a runtime that has ended it hears that before this returns.
    pub fn connect(&self, to: &Addr, handler: impl raw::Handler) -> ConnId {
        self.connect_raw(To::Addr(to.clone()), handler)
    }

    /// Opens a byte stream over TLS to the server of this name. Never fails at once otherwise, as
    /// [`connect`](Self::connect): `open` is heard once the handshake is complete.
    ///
    /// # Errors
    ///
    /// `Caller`: `name` can stand in no certificate. Nothing was opened, and `handler` hears nothing.
    #[cfg(all(feature = "tls", feature = "client"))]
    pub fn connect_tls(
        &self,
        to: &Addr,
        trust: &crate::proto::tls::ClientConfig,
        name: &str,
        handler: impl raw::Handler,
    ) -> Result<ConnId, Error> {
        self.connect_secured(To::Addr(to.clone()), trust, name, handler)
    }

    #[cfg(all(feature = "tls", feature = "client"))]
    pub(crate) fn connect_secured(
        &self,
        to: To<'_>,
        trust: &crate::proto::tls::ClientConfig,
        name: &str,
        handler: impl raw::Handler,
    ) -> Result<ConnId, Error> {
        let channel = Channel::dialled(trust.begin(name)?);
        let ends = (Stack::default(), App::Raw(Box::new(handler)));
        Ok(self.dial(to, Some(channel), ends, |_, _, _| Ok(())))
    }

    /// Opens a plain byte stream to a host by its name, or to a literal address: as
    /// [`connect`](Self::connect). Its addresses are tried side by side, IPv6 first (RFC 8305).
    pub fn connect_to(&self, host: &str, port: u16, handler: impl raw::Handler) -> ConnId {
        self.connect_raw(To::host(host, port), handler)
    }

    pub(crate) fn connect_raw(&self, to: To<'_>, handler: impl raw::Handler) -> ConnId {
        self.dial(to, None, (Stack::default(), App::Raw(Box::new(handler))), |_, _, _| Ok(()))
    }

    /// Gives how long the server of an attempt asked to wait before another.
    #[cfg(all(feature = "client", feature = "ws"))]
    pub(crate) fn asked_wait(&self, id: ConnId) -> Option<Duration> {
        self.core().named(id)?.extra.as_ref()?.stages?.asked
    }

    /// Gives a number that nobody can guess.
    pub(crate) fn random(&self) -> u32 {
        self.core().entropy.next(&*self.0.net)
    }

    /// Starts an attempt, with what lies between the socket and its protocol. `first` puts what is to be said first into the output; it waits there
    /// for the connection.
    pub(crate) fn dial(
        &self,
        to: To<'_>,
        channel: Option<Box<Channel>>,
        (stack, app): (Stack, App),
        first: impl FnOnce(&mut Stack, &mut Cx<'_>, &mut Tx<'_>) -> Result<(), Error>,
    ) -> ConnId {
        if self.is_dead() {
            return self.refuse(stack, app);
        }
        let opened = match to {
            To::Addr(to) => self.0.net.connect(&to).map(Ok),
            To::Name(name, port) => Ok(Err(Box::new(Race::new(name, port)))),
        };
        let mut core = self.core();
        let core = &mut *core;
        self.time(core);
        let id = core.insert_dialled(stack, app);
        core.connections += 1;
        if let Some(channel) = channel {
            if channel.is_proxied()
                && let Some(slot) = core.slots.get_mut(id.index)
            {
                slot.note_stage(|stages| stages.proxied = true);
            }
            core.begin_channel(id.index, channel);
        }
        let refused = match opened {
            Ok(Err(race)) => {
                if let Some(extra) = core.extra(id.index) {
                    extra.race = Some(race);
                }
                core.stir(id.index);
                core.say(id.index, &*self.0.net, first).map_err(Reason::Peer)
            }
            Ok(Ok(sock)) => {
                if let Some(slot) = core.slots.get_mut(id.index) {
                    slot.sock = Some(sock);
                }
                let said = core.say(id.index, &*self.0.net, first).map_err(Reason::Peer);
                said.and_then(|()| self.watch(core, id, sock).map_err(|e| Reason::Io(e.kind())))
            }
            Err(e) => Err(Reason::Io(e.kind())),
        };
        match refused {
            Ok(()) => core.arm_deadline(id.index),
            Err(why) => core.abort(id.index, why),
        }
        self.ask(core);
        id
    }

    /// Takes in a datagram socket that speaks to one peer, and sends it `first`. It is counted and
    /// listed nowhere.
    #[cfg(feature = "dns")]
    pub(super) fn dial_datagram(
        &self,
        opened: io::Result<Sock>,
        first: &[u8],
        handler: Box<dyn raw::Handler>,
    ) -> ConnId {
        let mut core = self.core();
        let core = &mut *core;
        self.time(core);
        let id = core.insert(None, Stack::default(), App::Raw(handler));
        if let Some(slot) = core.slots.get_mut(id.index) {
            slot.flags.set(Flags::ASIDE);
            slot.flags.set(Flags::DATAGRAM);
            slot.ready |= Ready::HUP;
            slot.sock = opened.as_ref().ok().copied();
        }
        let sent = opened.and_then(|sock| self.watch(core, id, sock));
        let put = |_: &mut Stack, _: &mut Cx<'_>, tx: &mut Tx<'_>| {
            tx.put(first);
            Ok(())
        };
        match sent {
            // Nothing there can fail.
            Ok(()) => _ = core.say(id.index, &*self.0.net, put),
            Err(e) => core.abort(id.index, Reason::Io(e.kind())),
        }
        core.kick(id.index);
        self.ask(core);
        id
    }

    /// Tells an attempt on a runtime that has ended that nothing comes of it. No turn follows, so
    /// this is done here, or at the end of the outermost turn.
    pub(super) fn refuse(&self, stack: Stack, app: App) -> ConnId {
        let (id, unheard) = {
            let mut core = self.core();
            let core = &mut *core;
            let id = core.insert_dialled(stack, app);
            core.connections += 1;
            core.abort(id.index, Reason::Shutdown);
            if core.depth > 0 {
                return id;
            }
            // Who connects again from each `closed` would go on for ever.
            let again = core.running.len() >= REFUSALS;
            let slot = core.slots.get_mut(id.index).filter(|_| again);
            (id, slot.map(|slot| core::mem::take(&mut slot.app)))
        };
        drop(unheard);
        ending::bury(self, id.index);
        id
    }

    /// Whether a connection that was kept takes another request.
    #[cfg(feature = "client")]
    pub(crate) fn takes_another(&self, id: ConnId) -> bool {
        self.core().takes_another(id)
    }

    /// Sends a request on a connection that was kept, whose response `asker` hears. Gives `asker`
    /// back if the connection has ended meanwhile.
    pub(crate) fn ask_again(
        &self,
        id: ConnId,
        mut asker: Box<Asker>,
        first: impl FnOnce(&mut Stack, &mut Cx<'_>, &mut Tx<'_>) -> Result<(), Error>,
    ) -> Result<(), Box<Asker>> {
        let mut core = self.core();
        let core = &mut *core;
        self.time(core);
        if !core.takes_another(id) || core.say(id.index, &*self.0.net, first).is_err() {
            return Err(asker);
        }
        let old = core.open(id).map(|slot| {
            asker.base = slot.sent;
            core::mem::replace(&mut slot.app, App::Client(asker))
        });
        core.arm_deadline(id.index);
        self.touch(core, id.index, false);
        // An asker without a request under way: nothing of the user's.
        drop(old);
        Ok(())
    }

    /// Writes a request behind those under way on a connection; whoever hears its response is to be
    /// given to the connection's owner. Gives how many bytes go out before it; `None` if the
    /// connection takes none.
    pub(crate) fn ask_behind(
        &self,
        id: ConnId,
        first: impl FnOnce(&mut Stack, &mut Cx<'_>, &mut Tx<'_>) -> Result<(), Error>,
    ) -> Option<u64> {
        let mut core = self.core();
        let core = &mut *core;
        self.time(core);
        let (most, high) = (core.limits.client.pipeline, core.limits.io.queue_high);
        let slot = core.open(id)?;
        let takes = matches!(&slot.stack, Stack::Client(c) if c.takes_behind(most))
            && !slot.flags.has(Flags::EOF)
            && !slot.ready.is_hup()
            && slot.out.len() <= high;
        let before = slot.sent + slot.out.len() as u64;
        if !takes || core.say(id.index, &*self.0.net, first).is_err() {
            return None;
        }
        core.arm_deadline(id.index);
        self.touch(core, id.index, false);
        Some(before)
    }

    /// Gives how long the stages of a WebSocket's attempt took; `None` for one that was accepted.
    pub(crate) fn timing(&self, id: ConnId) -> Option<Timing> {
        let mut core = self.core();
        let now = self.time(&mut core);
        let stages = core.named(id)?.extra.as_ref()?.stages?;
        Some(Timing::of(&stages, now))
    }

    /// Keeps how far the attempt at a WebSocket had come before it had a protocol.
    #[cfg(all(feature = "client", feature = "ws"))]
    pub(crate) fn keep_stages(&self, id: ConnId, stages: &Stages) {
        let mut core = self.core();
        if core.open(id).is_some()
            && let Some(extra) = core.extra(id.index)
        {
            extra.stages = Some(*stages);
        }
    }

    /// Opens a connection that gets its protocol once it is there.
    #[cfg(feature = "client")]
    pub(crate) fn dial_open(
        &self,
        to: To<'_>,
        channel: Option<Box<Channel>>,
        opener: Rc<dyn Opener>,
    ) -> ConnId {
        self.dial(to, channel, (Stack::default(), App::Opening(opener)), |_, _, _| Ok(()))
    }

    /// Asks who waited for a connection what it is to speak.
    pub(super) fn open_protocol(&self, id: ConnId, opener: Rc<dyn Opener>) -> App {
        let (session, stages) = {
            let mut core = self.core();
            let now = core.now;
            let stages = core.named(id).and_then(|slot| slot.extra.as_mut()?.stages.take());
            (core.session(id.index), stages.unwrap_or_else(|| Stages::begun(now)))
        };
        opener.opened(self, id, session.as_ref().and_then(|session| session.alpn()), &stages)
    }

    /// Gives a connection that is there its protocol, and has it say what comes first. Gives how
    /// many bytes went out before.
    ///
    /// # Errors
    ///
    /// `first`'s own.
    #[cfg(feature = "client")]
    pub(crate) fn begin_on(
        &self,
        id: ConnId,
        stack: Stack,
        first: impl FnOnce(&mut Stack, &mut Cx<'_>, &mut Tx<'_>) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut core = self.core();
        let Some(slot) = core.open(id) else { return Ok(0) };
        slot.stack = stack;
        let sent = slot.sent;
        core.say(id.index, &*self.0.net, first).map(|()| sent)
    }
}

impl Core {
    fn takes_another(&mut self, id: ConnId) -> bool {
        self.open(id).is_some_and(|slot| {
            matches!(&slot.stack, Stack::Client(c) if c.is_idle())
                && !slot.flags.has(Flags::EOF)
                && !slot.flags.has(Flags::RUNNING)
                && !slot.ready.is_hup()
        })
    }

    fn insert_dialled(&mut self, stack: Stack, app: App) -> ConnId {
        let now = self.now;
        let id = self.insert(None, stack, app);
        let index = id.index;
        if self.slots.get(index).is_some_and(is_told_stages)
            && let Some(extra) = self.extra(index)
        {
            extra.stages = Some(Stages::begun(now));
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.ready = Ready::NONE;
            slot.since = now.max(Micros::new(1));
            slot.flags.set(Flags::CONNECTING);
        }
        id
    }

    /// Puts something into a connection's output.
    fn say(
        &mut self,
        index: u32,
        net: &dyn Net,
        f: impl FnOnce(&mut Stack, &mut Cx<'_>, &mut Tx<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self { slots, pool, entropy, limits, now, .. } = self;
        let Some(slot) = slots.get_mut(index) else { return Ok(()) };
        let mut random = || entropy.next(net);
        let mut cx = Cx { now: *now, limits, random: &mut random };
        f(&mut slot.stack, &mut cx, &mut Tx::new(&mut slot.out, pool))
    }

    /// Notes that the first address of a name is there; from now on the connection is waited for.
    pub(crate) fn note_named(&mut self, id: ConnId, now: Micros) {
        let Some(slot) = self.named(id) else { return };
        slot.since = now;
        slot.note_stage(|stages| stages.named = Some(now));
    }

    /// Notes that a WebSocket's handshake is complete.
    pub(crate) fn note_open(&mut self, id: ConnId) {
        let now = self.now;
        let stages = self.named(id).and_then(|s| s.extra.as_mut()).and_then(|e| e.stages.as_mut());
        if let Some(stages) = stages {
            stages.answered = Some(now);
        }
    }
}

#[cfg(feature = "ws")]
impl Core {
    /// Ends a WebSocket's attempt that the server has answered otherwise.
    pub(crate) fn refuse(&mut self, id: ConnId, status: u16, asked: Option<Duration>) {
        let stages = self.named(id).and_then(|s| s.extra.as_mut()).and_then(|e| e.stages.as_mut());
        if let Some(stages) = stages {
            stages.asked = asked;
        }
        self.abort(id.index, Reason::Refused { status });
    }
}

/// Whether how far an attempt has come is kept beside it.
fn is_told_stages(slot: &Slot) -> bool {
    #[cfg(feature = "ws")]
    if matches!(slot.stack, Stack::WsDial(_)) {
        return true;
    }
    matches!(slot.app, App::Opening(_))
}

/// Looks whether a connection that is being made is there. `None`: not yet, or it failed.
pub(crate) fn connected(core: &mut Core, net: &dyn Net, index: u32) -> Option<()> {
    let now = core.now;
    let slot = core.slots.get_mut(index)?;
    if !slot.flags.has(Flags::CONNECTING) {
        return Some(());
    }
    if !slot.ready.is_write() {
        return None;
    }
    let sock = slot.sock?;
    let failed = match net.take_error(sock) {
        Ok(None) => None,
        Ok(Some(e)) | Err(e) => Some(e.kind()),
    };
    if let Some(kind) = failed {
        core.abort(index, Reason::Io(kind));
        return None;
    }
    slot.flags.clear(Flags::CONNECTING);
    slot.flags.set(Flags::KICK);
    slot.since = if slot.out.is_empty() { Micros::ZERO } else { now };
    slot.await_channel(now, &core.limits);
    slot.note_stage(|stages| stages.connected = Some(now));
    if !slot.flags.has(Flags::SHAKING) {
        slot.stack.connected(now);
    }
    Some(())
}

impl Slot {
    /// Notes that a stage has been reached.
    pub(super) fn note_stage(&mut self, f: impl FnOnce(&mut Stages)) {
        let mut app = core::mem::take(&mut self.app);
        self.note_stage_of(&mut app, f);
        self.app = app;
    }

    /// As above, where the handler is out of its slot.
    pub(super) fn note_stage_of(&mut self, app: &mut App, f: impl FnOnce(&mut Stages)) {
        let beside = self.extra.as_mut().and_then(|extra| extra.stages.as_mut());
        match (app, beside) {
            (App::Client(asker), _) => f(&mut asker.stages),
            (_, Some(stages)) => f(stages),
            _ => {}
        }
    }
}
