//! What a connection speaks: the only place that knows more than one protocol.

use alloc::boxed::Box;
#[cfg(feature = "ws")]
use alloc::rc::Rc;

use lodger_backend::Micros;

use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::h1;
#[cfg(feature = "ws")]
use crate::proto::ws;
use crate::{Error, Limits};

mod parcel;

pub(crate) use parcel::{Cargo, Parcel, Shared, Takes};

/// The protocol of one connection. It changes when an upgrade succeeds; the input goes on.
#[derive(Debug)]
pub(crate) enum Stack {
    /// A plain byte stream.
    Raw(Raw),
    H1(h1::Server),
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    Client(Box<h1::Client>),
    #[cfg(feature = "ws")]
    Ws(ws::Ws),
    /// A WebSocket whose request has been sent.
    #[cfg(feature = "ws")]
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    WsDial(Box<WsDial>),
}

/// A WebSocket's handshake, the client's side: RFC 6455, section 4.1.
#[cfg(feature = "ws")]
#[derive(Debug)]
pub(crate) struct WsDial {
    pub(crate) http: h1::Client,
    pub(crate) key: [u8; 24],
    pub(crate) config: Rc<ws::Config>,
}

/// What a plain byte stream has told its handler.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    opened: bool,
    ended: bool,
}

/// One thing to tell a handler.
#[derive(Debug)]
pub(crate) enum Event<'s> {
    Open,
    Bytes(&'s mut [u8]),
    End,
    Http(h1::Event<'s>),
    Response(h1::ResponseEvent<'s>),
    #[cfg(feature = "ws")]
    Ws(ws::Event<'s>),
    /// The server has agreed, with these extensions; the connection is a WebSocket now.
    #[cfg(feature = "ws")]
    Dialled(ws::Extensions),
    /// The server answered with this status instead, and asks to wait so long.
    #[cfg(feature = "ws")]
    Refused(u16, Option<h1::RetryAfter>),
}

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    Open,
    /// Nothing more is to be said: flush and close, after the peer's end if `linger`.
    Done {
        linger: bool,
    },
    /// The peer has gone in the middle of something.
    Lost,
}

/// A goodbye that the runtime says, not the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Farewell {
    /// A handler panicked: 500, 1011.
    Panic,
    /// The server goes away: `Connection: close`, 1001.
    Leaving,
}

impl Default for Stack {
    fn default() -> Self {
        Self::Raw(Raw::default())
    }
}

/// What HTTP connections may agree on by ALPN (RFC 7301), the preferred one first.
#[cfg_attr(not(any(feature = "tls", feature = "client")), allow(dead_code, reason = "for TLS"))]
pub(crate) const HTTP_ALPN: &[&str] = &["http/1.1"];
/// What WebSockets may agree on.
#[cfg(feature = "ws")]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "offered by clients alone"))]
pub(crate) const WS_ALPN: &[&str] = &["http/1.1"];

impl Stack {
    /// Begins a server's connection that agreed on `alpn`; one that did not agree is HTTP/1.1.
    pub(crate) fn http_server(alpn: Option<&[u8]>, now: Micros, limits: &Limits) -> Self {
        match alpn {
            // A protocol that `HTTP_ALPN` names and that is not HTTP/1.1 begins here.
            Some(_) | None => Self::H1(h1::Server::new(now, limits)),
        }
    }

    /// Whether nothing but the end of the stream tells that what arrived is whole.
    pub(crate) fn ends_by_eof(&self) -> bool {
        match self {
            Self::Raw(_) => true,
            Self::Client(client) => client.ends_by_eof(),
            _ => false,
        }
    }

    /// Gives the next event; `None` when more input is needed or an answer is awaited.
    pub(crate) fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Event<'s>>, Error> {
        match self {
            Self::Raw(raw) => Ok(raw.poll(rx)),
            Self::H1(http) => Ok(http.poll(cx, rx, scratch, tx)?.map(Event::Http)),
            Self::Client(client) => Ok(client.poll(cx, rx, scratch)?.map(Event::Response)),
            #[cfg(feature = "ws")]
            Self::WsDial(dial) => {
                let Some(event) = dial.poll(cx, rx, scratch)? else { return Ok(None) };
                if let Event::Dialled(extensions) = event {
                    let ws = ws::Ws::new(ws::Role::Client, Rc::clone(&dial.config), cx.now);
                    *self = Self::Ws(ws.with_extensions(extensions));
                }
                Ok(Some(event))
            }
            #[cfg(feature = "ws")]
            Self::Ws(ws) => Ok(ws.poll(cx, rx, scratch, tx)?.map(Event::Ws)),
        }
    }

    /// When [`on_deadline`](Self::on_deadline) is next due.
    pub(crate) fn deadline(&mut self, now: Micros, limits: &Limits) -> Option<Micros> {
        match self {
            Self::Raw(_) => None,
            Self::H1(http) => {
                http.begin_wait(now, limits);
                http.deadline()
            }
            Self::Client(client) => client.deadline(),
            #[cfg(feature = "ws")]
            Self::WsDial(dial) => dial.http.deadline(),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.deadline(),
        }
    }

    /// Whether the deadline has only moved on since it was last asked for.
    pub(crate) fn deadline_moves_on(&self) -> bool {
        match self {
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.waits_for_silence(),
            _ => false,
        }
    }

    /// Does what is due; early calls do nothing.
    pub(crate) fn on_deadline(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        match self {
            Self::Raw(_) => Ok(()),
            Self::H1(http) => http.on_deadline(cx, tx),
            Self::Client(client) => client.on_deadline(cx.now),
            #[cfg(feature = "ws")]
            Self::WsDial(dial) => dial.http.on_deadline(cx.now),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.on_deadline(cx, tx),
        }
    }

    /// Whether a poll without new input could bring an event.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Raw(raw) => raw.opened,
            Self::H1(http) => !http.reads_body(),
            // A response without a body ends by an event of its own.
            Self::Client(client) => client.is_idle() || client.is_over(),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.is_quiet(),
            #[cfg(feature = "ws")]
            Self::WsDial(_) => false,
        }
    }

    /// Whether [`drained`](Self::drained) has something to do once the output has drained.
    pub(crate) fn waits_for_drain(&self) -> bool {
        match self {
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.waits_for_drain(),
            _ => false,
        }
    }

    /// Says what was held back while output waited.
    #[cfg_attr(not(feature = "ws"), expect(unused_variables, reason = "only pongs are held"))]
    pub(crate) fn drained(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) {
        #[cfg(feature = "ws")]
        if let Self::Ws(ws) = self {
            ws.flush(cx, tx);
        }
    }

    /// Whether more input is of use while some is left over: not while it waits for an answer.
    pub(crate) fn wants_input(&self) -> bool {
        match self {
            Self::Raw(_) => true,
            Self::H1(http) => !http.awaits_answer() || http.reads_body(),
            Self::Client(_) => true,
            #[cfg(feature = "ws")]
            Self::Ws(_) | Self::WsDial(_) => true,
        }
    }

    /// Whether the connection goes on. `ended`: the peer sends nothing more, and nothing of it is
    /// left over.
    pub(crate) fn flow(&self, ended: bool) -> Flow {
        match self {
            Self::Raw(_) => Flow::Open,
            Self::H1(http) if http.must_close() => Flow::Done { linger: true },
            Self::H1(http) if ended && http.is_idle() => Flow::Done { linger: false },
            // A peer that ends its side while its answer is still being made has most likely gone.
            Self::H1(http) if ended && http.awaits_answer() => Flow::Lost,
            Self::H1(_) => Flow::Open,
            Self::Client(client) if client.is_over() => Flow::Done { linger: false },
            Self::Client(_) => Flow::Open,
            #[cfg(feature = "ws")]
            Self::WsDial(dial) if dial.http.is_over() => Flow::Done { linger: false },
            #[cfg(feature = "ws")]
            Self::WsDial(_) => Flow::Open,
            #[cfg(feature = "ws")]
            Self::Ws(ws) if ws.is_closed() => Flow::Done { linger: false },
            #[cfg(feature = "ws")]
            Self::Ws(_) => Flow::Open,
        }
    }

    /// Whether the connection is between two things, so that its end is in good order.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::H1(http) => http.is_idle(),
            Self::Client(client) => client.is_idle(),
            _ => false,
        }
    }

    /// Says goodbye for the runtime. `true` if the protocol itself ends the connection then, in
    /// its own time; `false` if the runtime is to close it.
    #[cfg_attr(not(feature = "ws"), expect(unused_variables, reason = "only masks need it"))]
    pub(crate) fn farewell(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, why: Farewell) -> bool {
        match self {
            Self::Raw(_) => false,
            // A response under way may still come to its end, within the grace.
            Self::Client(client) => why == Farewell::Leaving && !client.is_idle(),
            #[cfg(feature = "ws")]
            Self::WsDial(_) => false,
            Self::H1(http) => h1_farewell(http, tx, why),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => {
                let code = if why == Farewell::Panic { 1011 } else { 1001 };
                // It fails only when a Close has been sent before, which says the same.
                let _ = ws.close(cx, tx, code, "");
                why == Farewell::Leaving
            }
        }
    }

    /// The protocol's name, for people to read.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Raw(_) => "raw",
            Self::H1(_) => "http/1.1",
            Self::Client(_) => "http/1.1 client",
            #[cfg(feature = "ws")]
            Self::WsDial(_) => "websocket client",
            #[cfg(feature = "ws")]
            Self::Ws(_) => "websocket",
        }
    }
}

#[cfg(feature = "ws")]
impl WsDial {
    fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Event<'s>>, Error> {
        loop {
            match self.http.poll(cx, rx, scratch)? {
                None => return Ok(None),
                Some(h1::ResponseEvent::Head(head)) if head.status == 101 => {
                    let fields = head.fields.iter();
                    let agreed = ws::handshake::check_answer(fields, &self.key, &self.config)?;
                    return Ok(Some(Event::Dialled(agreed.extensions())));
                }
                Some(h1::ResponseEvent::Head(head)) if head.status >= 200 => {
                    return Ok(Some(Event::Refused(head.status, head.retry_after())));
                }
                Some(_) => {}
            }
        }
    }
}

fn h1_farewell(http: &mut h1::Server, tx: &mut Tx<'_>, why: Farewell) -> bool {
    http.go_away();
    if why == Farewell::Panic && http.awaits_answer() {
        let body = b"500 Internal Server Error\n";
        let head = h1::Response {
            status: 500,
            fields: b"Content-Type: text/plain; charset=utf-8\r\n",
            length: h1::Length::Known(body.len() as u64),
            date: None,
            close: true,
        };
        // It fails when a head has been sent: the response ends short then, which is the truth.
        let _ = http.respond_whole(tx, &head, body);
    }
    why == Farewell::Leaving && !http.is_idle()
}

impl Raw {
    fn poll<'a>(&mut self, rx: &mut Rx<'a>) -> Option<Event<'a>> {
        if !self.opened {
            self.opened = true;
            return Some(Event::Open);
        }
        if !rx.is_empty() {
            return Some(Event::Bytes(rx.take(usize::MAX)));
        }
        let ends = rx.eof() && !self.ended;
        self.ended |= ends;
        ends.then_some(Event::End)
    }
}
