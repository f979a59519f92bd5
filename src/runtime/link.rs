//! Streams of a connection: each is a slot of its own, without a socket. What its handler sends
//! waits in its own output; the connection takes of it what the windows let go, in turn, when it
//! is about to send.
//!
//! Invariant: a slot with `Flags::STREAM` has a `Link` to a live slot with `Flags::STREAMS`, whose
//! protocol knows the stream by the slot's index; the flag goes when either ends.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::{Micros, Net, Ready};

use super::core::Core;
use super::handler::App;
use super::id::{ConnId, Reason, SendError};
use super::slot::{Flags, Slot, State};
use super::{Handle, ending, serve};
use crate::Error;
use crate::error::Wire;
use crate::io::{Out, Rx, Tx};
use crate::proto::h1;
use crate::proto::h2::{Asking, Code, Connection, Event, Exchange, Role};
use crate::proto::stack::{Answering, OnStream, Stack};

#[cfg(feature = "client")]
mod ask;

/// Which stream of which connection a slot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    /// The connection's slot.
    pub(crate) parent: u32,
    /// The stream's number; 0 where the slot is no stream.
    pub(crate) stream: u32,
}

/// Output of a connection, in bytes, up to which data of its streams is put behind it.
const FILL: usize = 64 << 10;
/// How often a connection that the system takes everything from is filled again before others have
/// their turn.
const ROUNDS: u32 = 8;
/// What one stream sends before the next has its turn, in bytes.
const QUANTUM: usize = 16 << 10;

/// A connection's protocol and output, out of its slot.
struct Parent {
    index: u32,
    connection: Box<Connection>,
    out: Out,
}

/// Tells one event of a connection to the slot of its stream.
pub(super) fn event(h: &Handle, parent: ConnId, event: Event<'_>, app: &App) {
    match event {
        Event::Request { stream, head, expects, .. } => {
            let App::Http { routes, .. } = app else { return };
            let (end, routes) = (head.body == h1::Body::None, Rc::clone(routes));
            let made = |core: &Core| {
                Stack::Exchange(Exchange::new(&head, expects, core.now, &core.limits.h1))
            };
            let Some(index) = h.core().open_stream(parent.index, stream, made) else { return };
            if end && let Some(slot) = h.core().slots.get_mut(index) {
                slot.flags.set(Flags::EOF);
            }
            let app = App::Http { routes, stream: None };
            serve::begin_stream(h, index, app, |h, id, app| {
                super::pump::request(h, id, head, app);
            });
        }
        Event::Data { stream, tag, data, ended } => deliver(h, parent, (tag, stream), data, ended),
        Event::Response { stream, tag, head, ended } => {
            let told = {
                let mut core = h.core();
                let most = core.limits.client.interim;
                core.with_asking(tag, stream, |asking| asking.push_head(&head, most))
            };
            if told {
                deliver(h, parent, (tag, stream), &mut [], ended);
            }
        }
        Event::Trailers { stream, tag, fields } => {
            let mut core = h.core();
            if let Some(Stack::Exchange(exchange)) =
                core.stream_slot(tag, stream).map(|slot| &mut slot.stack)
            {
                exchange.set_trailers(fields);
            }
            core.with_asking(tag, stream, |asking| asking.set_trailers(fields));
            drop(core);
            deliver(h, parent, (tag, stream), &mut [], true);
        }
        Event::Reset { stream, tag, code } => h.core().reset_by_peer(tag, stream, code),
        Event::GoAway { last, code } => h.core().refused_above(parent.index, last, code),
        Event::Settled => {
            if let App::Carrier(opener) = app {
                Rc::clone(opener).settled(h, parent);
            }
        }
    }
}

/// Hands data to its stream, or keeps it where that cannot hear it now.
fn deliver(h: &Handle, parent: ConnId, (index, stream): (u32, u32), data: &mut [u8], ended: bool) {
    let waits = {
        let mut core = h.core();
        let high = core.limits.io.queue_high;
        let Some(slot) = core.stream_slot(index, stream) else { return };
        if slot.link.parent != parent.index {
            return;
        }
        if ended {
            slot.flags.set(Flags::EOF);
        }
        slot.received += data.len() as u64;
        let busy = Flags(Flags::RUNNING.0 | Flags::PAUSED.0 | Flags::FILE.0);
        let waits = slot.flags.has(busy)
            || slot.state != State::Open
            || slot.tail() > 0
            || slot.out.len() > high;
        if waits {
            serve::stash_behind(&mut core, index, data);
            core.kick(index);
        }
        waits
    };
    if !waits {
        let mut scratch = h.core().scratches.pop().unwrap_or_default();
        serve::feed(h, index, &mut Rx::new(data, ended), &mut scratch);
        h.core().scratches.push(scratch);
    }
}

impl Core {
    /// Gives a fresh stream a slot.
    fn open_stream(
        &mut self,
        parent: u32,
        stream: u32,
        made: impl FnOnce(&Self) -> Stack,
    ) -> Option<u32> {
        let stack = made(self);
        let id = self.insert(None, stack, App::Gone);
        let slot = self.slots.get_mut(id.index)?;
        slot.link = Link { parent, stream };
        slot.flags.set(Flags::STREAM);
        slot.ready = Ready::NONE;
        let parent = self.slots.get_mut(parent)?;
        parent.flags.set(Flags::STREAMS);
        let Stack::H2(connection) = &mut parent.stack else { return None };
        connection.set_tag(stream, id.index);
        Some(id.index)
    }

    /// Gives the slot of a stream, if it is still that one's.
    fn stream_slot(&mut self, index: u32, stream: u32) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(index)?;
        (slot.flags.has(Flags::STREAM) && slot.link.stream == stream).then_some(slot)
    }

    fn with_asking(&mut self, index: u32, stream: u32, f: impl FnOnce(&mut Asking)) -> bool {
        let stack = self.stream_slot(index, stream).map(|slot| &mut slot.stack);
        let asking = match stack {
            Some(Stack::Asking(asking)) => Some(&mut **asking),
            #[cfg(feature = "ws")]
            Some(Stack::WsDial(dial)) => dial.asking(),
            _ => None,
        };
        asking.map(f).is_some()
    }

    /// Takes the protocol and the output of a stream's connection out of their slot.
    fn take_parent(&mut self, index: u32) -> Option<(Parent, u32)> {
        let slot = self.slots.get(index).filter(|slot| slot.flags.has(Flags::STREAM))?;
        let Link { parent, stream } = slot.link;
        self.take_connection(parent).map(|parent| (parent, stream))
    }

    fn take_connection(&mut self, index: u32) -> Option<Parent> {
        let slot = self.slots.get_mut(index)?;
        if !matches!(slot.stack, Stack::H2(_)) {
            return None;
        }
        let Stack::H2(connection) = core::mem::take(&mut slot.stack) else { return None };
        Some(Parent { index, connection, out: core::mem::take(&mut slot.out) })
    }

    fn put_parent(&mut self, parent: Parent) {
        if let Some(slot) = self.slots.get_mut(parent.index) {
            slot.stack = Stack::H2(parent.connection);
            slot.out = parent.out;
        }
    }

    /// Lets `f` write to the connection of a stream.
    fn on_connection(
        &mut self,
        index: u32,
        f: impl FnOnce(&mut Connection, u32, Micros, &mut Tx<'_>),
    ) {
        let Some((mut parent, stream)) = self.take_parent(index) else { return };
        let now = self.now;
        f(&mut parent.connection, stream, now, &mut Tx::new(&mut parent.out, &mut self.pool));
        let at = parent.index;
        self.put_parent(parent);
        self.mark_dirty(at);
    }

    /// Tells the connection that a stream's data was read.
    pub(super) fn credit(&mut self, index: u32, n: usize) {
        let Some(slot) = self.slots.get(index).filter(|slot| slot.flags.has(Flags::STREAM)) else {
            return;
        };
        let Link { parent, stream } = slot.link;
        let Some(Stack::H2(connection)) = self.slots.get_mut(parent).map(|slot| &mut slot.stack)
        else {
            return;
        };
        connection.consumed(stream, n);
        if connection.has_credits() {
            self.on_connection(index, |connection, _, _, tx| connection.put_credits(tx));
        }
    }

    /// Has a stream's connection take what the stream has to send.
    pub(super) fn flush_stream(&mut self, index: u32) {
        let slot = self.slots.get_mut(index).filter(|slot| slot.flags.has(Flags::STREAM));
        let Some(slot) = slot else { return };
        let (has, ends) = (slot.has_output(), slot.stack.ends_stream());
        let trailers = if has { None } else { slot.stack.take_trailers() };
        let now = self.now.max(Micros::new(1));
        let broken = slot.stack.is_broken();
        let Link { parent, stream } = slot.link;
        let Some(Stack::H2(connection)) = self.slots.get_mut(parent).map(|slot| &mut slot.stack)
        else {
            return;
        };
        if has {
            connection.want(stream, true);
            if let Some(slot) = self.slots.get_mut(index)
                && slot.since == Micros::ZERO
            {
                slot.since = now;
            }
        } else if ends && connection.may_send(stream) {
            self.on_connection(index, |connection, stream, now, tx| match trailers {
                _ if broken => connection.reset(now, stream, Code::Internal, tx),
                Some(fields) => connection.trailers(now, stream, &fields, tx),
                None => connection.data(now, stream, &[], true, tx),
            });
        }
        self.mark_dirty(parent);
    }

    /// Sends what is queued on a slot that shares its output; `false` if it does not.
    pub(super) fn flush_linked(&mut self, index: u32, net: &dyn Net) -> bool {
        let Some(slot) = self.slots.get(index) else { return true };
        if slot.flags.has(Flags::STREAM) {
            self.flush_stream(index);
        } else if slot.flags.has(Flags::STREAMS) {
            self.flush_streams(index, net);
        } else {
            return false;
        }
        if self.slots.get(index).is_some_and(|slot| slot.flags.has(Flags::FAILED)) {
            self.abort_failed(index);
        }
        true
    }

    /// Cuts the link of a slot that ends now.
    pub(super) fn cut(&mut self, index: u32, why: Reason) {
        self.reset_stream(index, why);
        self.abort_streams(index, why);
    }

    /// Asks for the body of a stream's request, and gives whether there is none to come; `None` if
    /// the slot is no stream.
    pub(super) fn want_stream_body(&mut self, index: u32) -> Option<bool> {
        self.on_stream(index, |http, tx| http.want_body(tx))?;
        let slot = self.slots.get(index)?;
        Some(!matches!(&slot.stack, Stack::Exchange(exchange) if exchange.reads_body()))
    }

    /// Sends what a connection and its streams have.
    pub(super) fn flush_streams(&mut self, index: u32, net: &dyn Net) {
        for _ in 0..ROUNDS {
            self.pull(index, net);
            let Self { slots, pool, now, limits, stats, .. } = self;
            let Some(slot) = slots.get_mut(index) else { return };
            stats.sent += slot.flush(net, pool, *now, limits);
            let more = matches!(&slot.stack, Stack::H2(connection) if connection.has_sender());
            if !more || !slot.out.is_empty() || slot.flags.has(Flags::FAILED) {
                return;
            }
        }
        self.kick(index);
    }

    /// Fills a connection's output with what its streams have to send.
    fn pull(&mut self, index: u32, net: &dyn Net) {
        let sends = self.slots.get(index).is_some_and(|slot| {
            slot.ready.is_write()
                && matches!(&slot.stack, Stack::H2(connection) if connection.has_sender())
        });
        if !sends {
            return;
        }
        let Some(mut parent) = self.take_connection(index) else { return };
        while parent.out.len() < FILL {
            let Some((stream, tag, room)) = parent.connection.next_sender() else { break };
            self.pull_one(&mut parent, stream, tag, room, net);
        }
        self.put_parent(parent);
    }

    fn pull_one(&mut self, parent: &mut Parent, stream: u32, tag: u32, room: usize, net: &dyn Net) {
        let Self { slots, pool, now, limits, .. } = self;
        let slot = slots.get_mut(tag);
        let slot = slot.filter(|s| s.flags.has(Flags::STREAM) && s.link.stream == stream);
        let Some(slot) = slot else {
            parent.connection.sent(stream, false);
            return;
        };
        if slot.flags.has(Flags::FILE) && slot.out.is_empty() {
            slot.refill_stream(net, pool, *now);
        }
        let queued = slot.out.len();
        let n = queued.min(room).min(QUANTUM);
        let more = n < queued || slot.flags.has(Flags::FILE);
        let ends = !more && slot.stack.ends_stream() && !slot.stack.is_broken();
        let trailers = if ends { slot.stack.take_trailers() } else { None };
        let data = slot.out.bytes().get(..n).unwrap_or_default();
        let tx = &mut Tx::new(&mut parent.out, pool);
        parent.connection.data(*now, stream, data, ends && trailers.is_none(), tx);
        if let Some(fields) = trailers {
            parent.connection.trailers(*now, stream, &fields, tx);
        }
        parent.connection.sent(stream, more);
        slot.sent += n as u64;
        slot.out.advance(n, pool);
        slot.since = if more { *now } else { Micros::ZERO };
        slot.after_send(queued, limits);
        if slot.flags.has(Flags::FAILED) {
            self.abort_failed(tag);
            return;
        }
        self.arm_deadline(tag);
        self.queue_if_work(tag);
    }

    /// Resets the stream of a slot that ends now.
    pub(super) fn reset_stream(&mut self, index: u32, why: Reason) {
        let code = code_of(why);
        self.on_connection(index, |connection, stream, now, tx| {
            connection.reset(now, stream, code, tx);
        });
    }

    /// Lets go of a stream whose slot is free now. Its connection may have waited for that.
    pub(super) fn release_stream(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index).filter(|slot| slot.flags.has(Flags::STREAM)) else {
            return;
        };
        let (parent, code) = (slot.link.parent, code_of(slot.why));
        self.on_connection(index, |connection, stream, now, tx| {
            connection.release(now, stream, code, tx);
        });
        let closes =
            |slot: &Slot| matches!(&slot.stack, Stack::H2(connection) if connection.must_close());
        if self.slots.get(parent).is_some_and(closes) {
            self.kick(parent);
        }
    }

    /// Ends the streams of a connection that ends.
    pub(super) fn abort_streams(&mut self, index: u32, why: Reason) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.flags.clear(Flags::STREAMS);
        let Stack::H2(connection) = &slot.stack else { return };
        let tags: Vec<u32> = connection.tags().collect();
        for tag in tags {
            let Some(slot) = self.slots.get_mut(tag) else { continue };
            if slot.flags.has(Flags::STREAM) && slot.link.parent == index {
                slot.flags.clear(Flags::STREAM);
                // It counts towards no limit, as before.
                slot.flags.set(Flags::ASIDE);
                slot.link = Link::default();
                self.abort(tag, why);
            }
        }
    }

    /// The peer, or a fault of its, has reset a stream.
    fn reset_by_peer(&mut self, index: u32, stream: u32, code: u32) {
        let Some(slot) = self.stream_slot(index, stream) else { return };
        let over = slot.state == State::Closing;
        let why = match code {
            _ if over => slot.why,
            n if n == Code::RefusedStream as u32 => {
                // RFC 9113, section 8.7: nothing was done with it.
                slot.sent = 0;
                Reason::Overload
            }
            n => Reason::Peer(Error::peer(Wire::H2(n), "RFC 9113, 6.4: the stream was reset")),
        };
        self.abort(index, why);
    }

    /// The server has not looked at the streams above `last`: RFC 9113, section 6.8.
    fn refused_above(&mut self, parent: u32, last: u32, code: u32) {
        let Some(slot) = self.slots.get(parent) else { return };
        // A server opens none that could be above.
        let Stack::H2(connection) = &slot.stack else { return };
        let client = connection.role() == Role::Client;
        let tags: Vec<u32> = connection.tags().filter(|_| client).collect();
        for tag in tags {
            let above = |slot: &&mut Slot| slot.link.parent == parent && slot.link.stream > last;
            if let Some(slot) = self.slots.get_mut(tag).filter(above) {
                slot.sent = 0;
                self.abort(tag, Reason::Overload);
            }
        }
        if code != Code::NoError as u32 {
            self.kick(parent);
        }
    }

    /// Answers 500 for a handler that panicked, if nothing has been answered.
    pub(super) fn stream_panicked(&mut self, index: u32) {
        let body = b"500 Internal Server Error\n";
        self.on_stream(index, |http, tx| {
            let head = h1::Response {
                status: 500,
                fields: b"Content-Type: text/plain; charset=utf-8\r\n",
                length: h1::Length::None,
                date: None,
                close: false,
            };
            http.respond_whole(tx, &head, body)
        });
    }

    /// Works on the answer of a stream. `None`: there is none.
    fn on_stream<T>(
        &mut self,
        index: u32,
        f: impl FnOnce(&mut Answering<'_>, &mut Tx<'_>) -> T,
    ) -> Option<T> {
        let (mut parent, stream) = self.take_parent(index)?;
        let Self { slots, pool, now, .. } = self;
        let slot = slots.get_mut(index);
        let done = match slot.map(|slot| (&mut slot.stack, &mut slot.out)) {
            Some((Stack::Exchange(exchange), out)) => {
                let (connection, head_out) = (&mut *parent.connection, &mut parent.out);
                let on = OnStream { exchange, connection, out: head_out, stream, now: *now };
                Some(f(&mut Answering::H2(on), &mut Tx::new(out, pool)))
            }
            _ => None,
        };
        let at = parent.index;
        self.put_parent(parent);
        self.mark_dirty(at);
        done
    }

    /// Works on the answer of a stream that waits for one.
    pub(super) fn answer_on_stream<T>(
        &mut self,
        index: u32,
        f: impl FnOnce(&mut Answering<'_>, &mut Tx<'_>) -> Result<T, Error>,
    ) -> Result<T, SendError> {
        let waits = self.slots.get(index).is_some_and(
            |slot| matches!(&slot.stack, Stack::Exchange(exchange) if exchange.awaits_answer()),
        );
        if !waits {
            return Err(SendError::Gone);
        }
        match self.on_stream(index, f) {
            Some(done) => Ok(done?),
            None => Err(SendError::Gone),
        }
    }
}

/// What the peer is told of a stream that ends for this reason.
fn code_of(why: Reason) -> Code {
    match why {
        Reason::Done | Reason::Closed { .. } => Code::NoError,
        Reason::Panic | Reason::Io(_) => Code::Internal,
        Reason::Overload => Code::EnhanceYourCalm,
        _ => Code::Cancel,
    }
}

impl Handle {
    /// Buries a stream that is complete and has nothing more to send, without a turn of its own.
    pub(super) fn settle_stream(&self, index: u32) {
        let done = {
            let mut core = self.core();
            let done = core.slots.get(index).is_some_and(|slot| {
                slot.flags.has(Flags::STREAM)
                    && slot.state == State::Closing
                    && !slot.has_output()
                    && !slot.flags.has(Flags::RUNNING)
            });
            // It was queued for this.
            if done && core.runq.back() == Some(&index) {
                core.runq.pop_back();
            }
            done
        };
        if done {
            ending::drain(self, index);
        }
    }
}
