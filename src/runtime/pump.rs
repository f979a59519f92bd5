//! Events to handlers: the only loop around user code.

use lodger_backend::Net;

use super::Handle;
use super::core::{Core, Life};
use super::handler::{App, raw};
use super::id::ConnId;
use super::id::Reason;
use super::slot::{Flags, State};
use crate::Error;
use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
#[cfg(feature = "mqtt")]
use crate::proto::mqtt;
use crate::proto::stack::Event;
#[cfg(feature = "ws")]
use crate::proto::stack::Stack;

/// Events of one connection between two looks at the clock.
const LOOK_EVERY: u32 = 64;

/// Polls the protocol until it has nothing more, or the turn's time is over, handing each event to
/// the handler while nothing of the runtime is borrowed. Counts whole messages in `heard`.
pub(crate) fn pump(
    h: &Handle,
    id: ConnId,
    rx: &mut Rx<'_>,
    scratch: &mut Scratch,
    app: &mut App,
    heard: &mut u64,
) -> Result<(), Error> {
    let mut until_look = LOOK_EVERY;
    loop {
        let mut more = false;
        let mut polled = poll(&mut h.core(), &*h.0.net, id, rx, scratch, &mut more);
        match polled {
            Ok(None) => return Ok(()),
            Err(e) => return Err(e),
            // Where it is: a request's head is large.
            Ok(Some(Event::Http(ref mut event))) => http::event(h, id, event, app),
            Ok(Some(event)) => told(h, id, event, app, heard),
        }
        if !more {
            return Ok(());
        }
        until_look -= 1;
        if until_look == 0 {
            until_look = LOOK_EVERY;
            if h.slice_is_over() {
                h.core().kick(id.index);
                return Ok(());
            }
        }
    }
}

/// Hands on an event of another protocol than HTTP/1.
#[inline(always)]
#[cfg_attr(
    not(any(feature = "ws", feature = "mqtt")),
    expect(unused_variables, reason = "only these have messages")
)]
fn told(h: &Handle, id: ConnId, event: Event<'_>, app: &mut App, heard: &mut u64) {
    match (event, app) {
        #[cfg(feature = "ws")]
        (Event::Ws(event), App::Ws { handler, chunks }) => {
            *heard += u64::from(ws::ends_message(&event));
            ws::event(h, id, event, &mut **handler, *chunks);
        }
        #[cfg(feature = "h2")]
        (Event::H2(event), app) => super::link::event(h, id, event, app),
        (Event::Response(event), App::Client(asker)) => client::event(h, id, event, asker),
        #[cfg(feature = "ws")]
        (Event::Dialled(_), App::Ws { handler, .. }) => ws::dialled(h, id, &mut **handler),
        #[cfg(feature = "ws")]
        (Event::Refused(status, asked), App::Ws { .. }) => {
            let asked = asked.map(|asked| asked.wait(h.unix_time()));
            h.core().refuse(id, status, asked);
        }
        #[cfg(feature = "mqtt")]
        (Event::Mqtt(event), App::Mqtt(link)) => {
            *heard += u64::from(matches!(event, mqtt::Event::Publish(_)));
            link.event(h, &super::handler::mqtt::Port::Direct(id), event);
        }
        (event, App::Raw(handler)) => raw_event(h, id, event, &mut **handler),
        _ => {}
    }
}

/// Gives the next event of a connection that still takes part and is not held back; `more` tells
/// whether another poll could bring one.
#[inline]
fn poll<'s, 'a: 's>(
    core: &mut Core,
    net: &dyn Net,
    id: ConnId,
    rx: &mut Rx<'a>,
    scratch: &'s mut Scratch,
    more: &mut bool,
) -> Result<Option<Event<'s>>, Error> {
    let Core { slots, pool, entropy, limits, now, life, .. } = core;
    let Some(slot) = slots.get_mut(id.index).filter(|slot| slot.state == State::Open) else {
        return Ok(None);
    };
    if *life != Life::On {
        // Detached by the handler: the rest waits.
        slot.flags.set(Flags::KICK);
        return Ok(None);
    }
    // The end of a file, as that of a pause, has the rest served.
    if slot.flags.has(Flags(Flags::PAUSED.0 | Flags::FILE.0)) {
        return Ok(None);
    }
    if slot.out.len() > limits.io.queue_high {
        slot.flags.set(Flags::BLOCKED);
        return Ok(None);
    }
    let mut random = || entropy.next(net);
    let mut cx = Cx { now: *now, limits, random: &mut random };
    let polled = slot.stack.poll(&mut cx, rx, scratch, &mut Tx::new(&mut slot.out, pool));
    *more = !rx.is_empty() || rx.eof() || !slot.stack.is_quiet();
    polled
}

/// Does what does not come from input: installs a late handler, answers what waited for the output
/// to drain, and `want_write`.
pub(crate) fn kicked(h: &Handle, id: ConnId, app: &mut App) {
    if let App::Opening(opener) = app {
        let opener = std::rc::Rc::clone(opener);
        *app = h.open_protocol(id, opener);
    }
    http::install_late(h, id, app);
    let room = h.core().drained(id, &*h.0.net);
    if let Some(room) = room {
        app.writable(h, id, room);
    }
    http::end_exchange(h, id, app);
}

impl Core {
    /// Says what waited for the output to drain. Gives the room for more if the handler wants to
    /// hear of it.
    fn drained(&mut self, id: ConnId, net: &dyn Net) -> Option<usize> {
        let Self { slots, pool, extras, entropy, limits, now, life, .. } = self;
        let slot = slots.get_mut(id.index).filter(|slot| slot.state == State::Open)?;
        let waits = slot.out.len() > limits.io.queue_low || slot.flags.has(Flags::FILE);
        if waits || *life != Life::On {
            return None;
        }
        let mut random = || entropy.next(net);
        let mut cx = Cx { now: *now, limits, random: &mut random };
        slot.stack.drained(&mut cx, &mut Tx::new(&mut slot.out, pool));
        if slot.flags.has(Flags::SHARED) {
            slot.put_pending(&mut cx, pool, extras, limits.io.queue_low);
            if slot.out.len() > limits.io.queue_low {
                return None;
            }
        }
        let wanted = slot.flags.has(Flags::WANT);
        slot.flags.clear(Flags::WANT);
        wanted.then(|| limits.io.queue_high.saturating_sub(slot.out.len()))
    }
}

/// Tells a request that came on a stream of its own.
#[cfg(feature = "h2")]
pub(super) fn request(h: &Handle, id: ConnId, head: crate::proto::h1::Request<'_>, app: &mut App) {
    http::asked(h, id, &head, app);
}

fn raw_event(h: &Handle, id: ConnId, event: Event<'_>, handler: &mut dyn raw::Handler) {
    let mut cx = raw::Cx::new(h, id);
    match event {
        Event::Open => handler.open(&mut cx),
        Event::Bytes(bytes) => handler.data(&mut cx, bytes),
        Event::End => handler.end(&mut cx),
        _ => {}
    }
}

/// Tells a handler that was given but never put into place that it is over.
pub(crate) fn close_late(h: &Handle, id: ConnId, why: Reason) {
    let late = h.core().named(id).and_then(|s| s.extra.as_mut()).and_then(|e| e.stream.take());
    if let Some(mut late) = late {
        h.guarded(|h| {
            late.closed(&mut super::handler::http::Cx::current(h, id), why);
            drop(late);
        });
    }
}

mod http {
    use std::rc::Rc;

    use super::{App, ConnId, Flags, Handle};
    use crate::proto::h1;
    use crate::proto::stack::Stack;
    use crate::runtime::handler::http::{
        Cx, ExchangeId, Handler, Outcome, Request, Response, Routes,
    };
    use crate::runtime::id::Reason;

    #[inline(always)]
    pub(super) fn event(h: &Handle, id: ConnId, event: &mut h1::Event<'_>, app: &mut App) {
        if let h1::Event::Request(head) = event {
            return asked(h, id, head, app);
        }
        if let App::Http { stream: Some(handler), .. } = app {
            let mut cx = Cx::current(h, id);
            match event {
                h1::Event::Request(_) => {}
                h1::Event::Body(bytes) => handler.body(&mut cx, bytes),
                h1::Event::Trailers(fields) => handler.trailers(&mut cx, *fields),
                h1::Event::End => handler.end(&mut cx),
            }
            install_late(h, id, app);
        }
        end_exchange(h, id, app);
    }

    /// Has a request answered by the routes.
    #[inline(always)]
    pub(super) fn asked(h: &Handle, id: ConnId, head: &h1::Request<'_>, app: &mut App) {
        let App::Http { routes, .. } = app else { return };
        let routes = Rc::clone(routes);
        request(h, id, head, &*routes, app);
        end_exchange(h, id, app);
    }

    fn request(h: &Handle, id: ConnId, head: &h1::Request<'_>, routes: &dyn Routes, app: &mut App) {
        let (seq, session) = {
            let mut core = h.core();
            core.stats.requests += 1;
            let Some(slot) = core.named(id) else { return };
            slot.seq = slot.seq.wrapping_add(1);
            let seq = slot.seq;
            let secure = slot.flags.has(Flags(Flags::CHANNEL.0 | Flags::STREAM.0));
            (seq, if secure { core.session(id.index) } else { None })
        };
        let body = head.body;
        let request = Request { head, params: &[], session: session.as_deref() };
        let response = Response::new(h, ExchangeId::new(id, seq), body);
        let answer = routes.route(&request, response);
        match answer.0 {
            Outcome::Sent => {}
            Outcome::Stream(handler) => begin_stream(h, id, handler, app),
            #[cfg(feature = "ws")]
            Outcome::Ws(handler, config, agreed) => {
                super::ws::begin(h, id, handler, (config, agreed), app);
            }
        }
    }

    /// Puts a streaming handler into place *before* it is called: a panic in `open` must not take
    /// its `closed` away.
    fn begin_stream(h: &Handle, id: ConnId, new: Box<dyn Handler>, app: &mut App) {
        if let App::Http { stream, .. } = app {
            *stream = Some(new);
        }
        let complete = want_body(h, id);
        if let App::Http { stream: Some(handler), .. } = app {
            handler.open(&mut Cx::current(h, id));
            if complete {
                handler.end(&mut Cx::current(h, id));
            }
        }
    }

    /// Asks for the request body. Gives whether there is none to come: no event tells its end.
    fn want_body(h: &Handle, id: ConnId) -> bool {
        let mut core = h.core();
        let core = &mut *core;
        #[cfg(feature = "h2")]
        if let Some(complete) = core.want_stream_body(id.index) {
            return complete;
        }
        match core.slots.get_mut(id.index).map(|slot| (&mut slot.stack, &mut slot.out)) {
            Some((Stack::H1(http), out)) => {
                http.want_body(&mut super::Tx::new(out, &mut core.pool));
                !http.reads_body()
            }
            _ => true,
        }
    }

    /// Puts a handler that a late answer brought into place.
    pub(super) fn install_late(h: &Handle, id: ConnId, app: &mut App) {
        let late = {
            let mut core = h.core();
            let late = core.named(id).and_then(|s| s.extra.as_mut()).and_then(|e| e.stream.take());
            if late.is_some() {
                core.drop_empty_extra(id.index);
            }
            late
        };
        if let Some(late) = late {
            close_stream(h, id, app);
            begin_stream(h, id, late, app);
        }
    }

    /// Ends the handler of an exchange that is complete in both directions.
    pub(super) fn end_exchange(h: &Handle, id: ConnId, app: &mut App) {
        let App::Http { stream: Some(_), .. } = app else { return };
        let over = h.core().named(id).is_some_and(|slot| match &slot.stack {
            Stack::H1(http) => !http.awaits_answer() && !http.reads_body(),
            #[cfg(feature = "h2")]
            Stack::Exchange(exchange) => !exchange.awaits_answer() && !exchange.reads_body(),
            _ => true,
        });
        if over {
            close_stream(h, id, app);
        }
    }

    fn close_stream(h: &Handle, id: ConnId, app: &mut App) {
        let App::Http { stream, .. } = app else { return };
        if let Some(mut handler) = stream.take() {
            handler.closed(&mut Cx::current(h, id), Reason::Done);
        }
    }
}

mod client {
    use super::{ConnId, Handle};
    use crate::proto::h1::ResponseEvent;
    use crate::proto::stack::Stack;
    use crate::runtime::handler::client::{Asker, Cx};

    pub(super) fn event(h: &Handle, id: ConnId, event: ResponseEvent<'_>, asker: &mut Asker) {
        let Some(fetch) = &mut asker.fetch else { return };
        let mut cx = Cx::new(h, id);
        match event {
            ResponseEvent::Head(head) => {
                if head.status >= 200 {
                    asker.stages.answered = Some(h.now());
                }
                fetch.head(&mut cx, &head);
            }
            ResponseEvent::Body(bytes) => fetch.body(&mut cx, bytes),
            ResponseEvent::Trailers(fields) => fetch.trailers(&mut cx, fields),
            ResponseEvent::End => end(h, id, asker),
        }
    }

    /// The response is whole: its connection is kept if it can be, before the next request may be
    /// asked by whoever hears of this one.
    fn end(h: &Handle, id: ConnId, asker: &mut Asker) {
        let again = h
            .core()
            .open(id)
            .is_some_and(|slot| matches!(&slot.stack, Stack::Client(client) if client.is_idle()));
        asker.done(h);
        if again {
            asker.owner.idle(h, id);
        }
    }
}

#[cfg(feature = "ws")]
mod ws {
    use std::rc::Rc;
    use std::vec::Vec;

    use super::{App, ConnId, Core, Handle, Reason, Stack};
    use crate::proto::ws::{Config, Event, Extensions, Kind, Message, Role, Ws};
    use crate::runtime::handler::ws::{Chunk, Cx, Handler};

    /// Goes over to WebSocket; what was read behind the request is served next.
    pub(super) fn begin(
        h: &Handle,
        id: ConnId,
        new: Box<dyn Handler>,
        (config, agreed): (Rc<Config>, Extensions),
        app: &mut App,
    ) {
        let chunks = config.is_chunked();
        {
            let mut core = h.core();
            let now = core.now;
            if let Some(slot) = core.slots.get_mut(id.index) {
                let ws = Ws::new(Role::Server, config, now).with_extensions(agreed);
                slot.stack = Stack::Ws(ws);
            }
        }
        // What stood there goes with nothing borrowed: it may be the last to hold the routes.
        *app = App::Ws { handler: new, chunks };
        if let App::Ws { handler, .. } = app {
            handler.open(&mut Cx::new(h, id));
        }
    }

    /// A server has agreed to be a WebSocket.
    pub(super) fn dialled(h: &Handle, id: ConnId, handler: &mut dyn Handler) {
        h.core().note_open(id);
        handler.open(&mut Cx::new(h, id));
    }

    /// Whether a message has been received with it.
    pub(super) fn ends_message(event: &Event<'_>) -> bool {
        matches!(event, Event::Text(_) | Event::Binary(_) | Event::Data { last: true, .. })
    }

    pub(super) fn event(
        h: &Handle,
        id: ConnId,
        event: Event<'_>,
        handler: &mut dyn Handler,
        chunks: bool,
    ) {
        let mut cx = Cx::new(h, id);
        match event {
            Event::Text(text) if !chunks => handler.message(&mut cx, Message::Text(text)),
            Event::Binary(data) if !chunks => handler.message(&mut cx, Message::Binary(data)),
            Event::Text(text) => {
                handler.chunk(&mut cx, Chunk::new(Kind::Text, true, true, text.as_bytes()));
            }
            Event::Binary(data) => {
                handler.chunk(&mut cx, Chunk::new(Kind::Binary, true, true, data));
            }
            Event::Data { kind, first, last, data } if chunks => {
                handler.chunk(&mut cx, Chunk::new(kind, first, last, data));
            }
            Event::Data { kind, last, data, .. } => {
                let whole = h.core().collect(id.index, data, last);
                if let Some(whole) = whole {
                    assembled(&mut cx, handler, kind, &whole);
                    h.core().pool.put(whole);
                }
            }
            Event::Ping(_) => {}
            Event::Pong(payload) => handler.pong(&mut cx, payload),
            Event::Close { code, reason } => {
                if let Some(slot) = h.core().named(id) {
                    slot.why = Reason::Closed { code: code.unwrap_or(1005) };
                }
                handler.closing(&mut cx, code, reason);
            }
        }
    }

    fn assembled(cx: &mut Cx<'_>, to: &mut dyn Handler, kind: Kind, whole: &[u8]) {
        match kind {
            Kind::Binary => to.message(cx, Message::Binary(whole)),
            // The codec has checked it as it arrived; it cannot be otherwise.
            Kind::Text => {
                if let Ok(text) = core::str::from_utf8(whole) {
                    to.message(cx, Message::Text(text));
                }
            }
        }
    }

    impl Core {
        /// Adds a part to the message being put together; gives the whole with its last one.
        fn collect(&mut self, index: u32, data: &[u8], last: bool) -> Option<Vec<u8>> {
            let idle = self.slots.get(index)?.extra.as_ref().is_none_or(|e| e.part.is_empty());
            let fresh = if idle { Some(self.pool.take()) } else { None };
            let extra = self.extra(index)?;
            if let Some(fresh) = fresh {
                extra.part = fresh;
            }
            extra.part.extend_from_slice(data);
            if !last {
                return None;
            }
            let whole = core::mem::take(&mut extra.part);
            self.drop_empty_extra(index);
            Some(whole)
        }
    }
}
