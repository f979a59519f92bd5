//! What a connection speaks: the only place that knows more than one protocol.

use alloc::boxed::Box;
#[cfg(feature = "ws")]
use alloc::rc::Rc;

use lodger_backend::Micros;

use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::h1;
#[cfg(feature = "h2")]
use crate::proto::h2;
#[cfg(feature = "mqtt")]
use crate::proto::mqtt;
#[cfg(feature = "ws")]
use crate::proto::ws;
use crate::{Error, Limits};

mod answering;
#[cfg(feature = "ws")]
mod dialled;
mod parcel;

pub(crate) use answering::Answering;
#[cfg(feature = "h2")]
pub(crate) use answering::OnStream;
#[cfg(feature = "ws")]
#[cfg_attr(not(feature = "client"), allow(unused_imports, reason = "made by clients alone"))]
pub(crate) use dialled::{AskedBy, WsDial};
pub(crate) use parcel::{Cargo, Parcel, Shared, Takes};

/// The protocol of one connection. It changes when an upgrade succeeds; the input goes on.
#[derive(Debug)]
pub(crate) enum Stack {
    /// A plain byte stream.
    Raw(Raw),
    H1(h1::Server),
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    Client(Box<h1::Client>),
    /// A connection of streams, each of which has a slot of its own.
    #[cfg(feature = "h2")]
    H2(Box<h2::Connection>),
    /// The server's side of a stream.
    #[cfg(feature = "h2")]
    Exchange(h2::Exchange),
    /// The client's side of a stream.
    #[cfg(feature = "h2")]
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    Asking(Box<h2::Asking>),
    #[cfg(feature = "ws")]
    Ws(ws::Ws),
    #[cfg(feature = "mqtt")]
    Mqtt(Box<mqtt::Mqtt>),
    /// A WebSocket whose request has been sent.
    #[cfg(feature = "ws")]
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
    WsDial(Box<WsDial>),
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
    /// Of a stream, to be told to its own slot.
    #[cfg(feature = "h2")]
    H2(h2::Event<'s>),
    #[cfg(feature = "ws")]
    Ws(ws::Event<'s>),
    #[cfg(feature = "mqtt")]
    Mqtt(mqtt::Event<'s>),
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

/// What HTTP may agree on by ALPN (RFC 7301), the preferred one first.
#[cfg_attr(not(any(feature = "tls", feature = "client")), allow(dead_code, reason = "for TLS"))]
pub(crate) const HTTP_ALPN: &[&str] =
    if cfg!(feature = "h2") { &["h2", "http/1.1"] } else { HTTP1_ALPN };
/// What a client offers that must have a connection of HTTP/1.1.
#[cfg_attr(not(any(feature = "tls", feature = "client")), allow(dead_code, reason = "for TLS"))]
pub(crate) const HTTP1_ALPN: &[&str] = &["http/1.1"];

impl Stack {
    /// There is a connection to speak on.
    #[cfg_attr(not(feature = "mqtt"), expect(unused_variables, reason = "only MQTT waits for it"))]
    pub(crate) fn connected(&mut self, now: Micros) {
        #[cfg(feature = "mqtt")]
        if let Self::Mqtt(mqtt) = self {
            mqtt.connected(now);
        }
    }

    /// Begins a server's connection that agreed on `alpn`; one that did not agree is HTTP/1.1.
    pub(crate) fn http_server(alpn: Option<&[u8]>, now: Micros, limits: &Limits) -> Self {
        match alpn {
            #[cfg(feature = "h2")]
            Some(b"h2") => Self::h2_server(now, limits),
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
    #[cfg_attr(
        not(feature = "ws"),
        allow(unused_variables, reason = "not all write by themselves")
    )]
    pub(crate) fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Event<'s>>, Error> {
        match self {
            Self::Raw(raw) => Ok(raw.poll(rx)),
            #[cfg(feature = "h2")]
            Self::H1(http) if http.is_fresh() && h2_may_begin(rx) => {
                if rx.len() < h2::PREFACE.len() {
                    return Ok(None);
                }
                *self = Self::h2_server(cx.now, cx.limits);
                self.poll(cx, rx, scratch, tx)
            }
            Self::H1(http) => Ok(http.poll(cx, rx, scratch)?.map(Event::Http)),
            #[cfg(feature = "h2")]
            Self::H2(connection) => Ok(connection.poll(cx, rx, scratch, tx)?.map(Event::H2)),
            #[cfg(feature = "h2")]
            Self::Exchange(exchange) => Ok(exchange.poll(rx, scratch).map(Event::Http)),
            #[cfg(feature = "h2")]
            Self::Asking(asking) => Ok(asking.poll(cx, rx, scratch)?.map(Event::Response)),
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
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => Ok(mqtt.poll(cx, rx, scratch, tx)?.map(Event::Mqtt)),
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
            #[cfg(feature = "h2")]
            Self::H2(connection) => connection.deadline(limits),
            #[cfg(feature = "h2")]
            Self::Exchange(exchange) => exchange.deadline(),
            #[cfg(feature = "h2")]
            Self::Asking(asking) => asking.deadline(),
            Self::Client(client) => {
                client.begin_wait(now, &limits.client);
                client.deadline()
            }
            #[cfg(feature = "ws")]
            Self::WsDial(dial) => dial.deadline(now, limits),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.deadline(),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => mqtt.deadline(limits),
        }
    }

    /// Stops the clock of a response that cannot come now: output waits, or input is not read.
    pub(crate) fn hold(&mut self) {
        match self {
            Self::Client(client) => client.hold(),
            #[cfg(feature = "ws")]
            Self::WsDial(dial) => dial.hold(),
            _ => {}
        }
    }

    /// Whether the deadline has only moved on since it was last asked for.
    pub(crate) fn deadline_moves_on(&self) -> bool {
        match self {
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.waits_for_silence(),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => mqtt.waits_for_silence(),
            _ => false,
        }
    }

    /// Does what is due; early calls do nothing.
    #[cfg_attr(
        not(feature = "ws"),
        allow(unused_variables, reason = "not all write by themselves")
    )]
    pub(crate) fn on_deadline(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        match self {
            Self::Raw(_) => Ok(()),
            Self::H1(http) => http.on_deadline(cx),
            Self::Client(client) => client.on_deadline(cx.now),
            #[cfg(feature = "h2")]
            Self::H2(connection) => connection.on_deadline(cx, tx),
            #[cfg(feature = "h2")]
            Self::Exchange(exchange) => exchange.on_deadline(cx.now, &cx.limits.h1),
            #[cfg(feature = "h2")]
            Self::Asking(asking) => asking.on_deadline(cx.now),
            #[cfg(feature = "ws")]
            Self::WsDial(dial) => dial.on_deadline(cx.now),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.on_deadline(cx, tx),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => mqtt.on_deadline(cx, tx),
        }
    }

    /// Whether a poll without new input could bring an event.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Raw(raw) => raw.opened,
            Self::H1(http) => !http.reads_body(),
            // A response without a body ends by an event of its own.
            Self::Client(client) => client.is_idle() || client.is_over(),
            #[cfg(feature = "h2")]
            Self::H2(connection) => !connection.has_news(),
            #[cfg(feature = "h2")]
            Self::Exchange(_) => true,
            #[cfg(feature = "h2")]
            Self::Asking(asking) => !asking.has_news(),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.is_quiet(),
            #[cfg(feature = "ws")]
            Self::WsDial(_) => false,
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => true,
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
            #[cfg(feature = "h2")]
            Self::H2(_) | Self::Exchange(_) | Self::Asking(_) => true,
            #[cfg(feature = "ws")]
            Self::Ws(_) | Self::WsDial(_) => true,
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => mqtt.role() == mqtt::Role::Client || !mqtt.is_asked(),
        }
    }

    /// Whether the connection goes on. `ended`: the peer sends nothing more, and nothing of it is
    /// left over.
    #[inline(always)]
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
            #[cfg(feature = "h2")]
            Self::H2(connection) if ended && connection.is_idle() => Flow::Done { linger: false },
            #[cfg(feature = "h2")]
            Self::H2(_) if ended => Flow::Lost,
            #[cfg(feature = "h2")]
            Self::H2(connection) if connection.must_close() => Flow::Done { linger: true },
            #[cfg(feature = "h2")]
            Self::Exchange(exchange) if exchange.is_over() => Flow::Done { linger: false },
            #[cfg(feature = "h2")]
            Self::Asking(asking) if asking.is_over() => Flow::Done { linger: false },
            #[cfg(feature = "h2")]
            Self::H2(_) | Self::Exchange(_) | Self::Asking(_) => Flow::Open,
            #[cfg(feature = "ws")]
            Self::WsDial(dial) if dial.is_over() => Flow::Done { linger: false },
            #[cfg(feature = "ws")]
            Self::WsDial(_) => Flow::Open,
            #[cfg(feature = "ws")]
            Self::Ws(ws) if ws.is_closed() => Flow::Done { linger: false },
            #[cfg(feature = "ws")]
            Self::Ws(_) => Flow::Open,
            // After a goodbye the peer's last packets are read away: a reset would destroy it.
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) if mqtt.is_over() => Flow::Done { linger: true },
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => Flow::Open,
        }
    }

    /// Whether the connection is between two things, so that its end is in good order.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::H1(http) => http.is_idle(),
            Self::Client(client) => client.is_idle(),
            #[cfg(feature = "h2")]
            Self::H2(connection) => connection.is_idle(),
            _ => false,
        }
    }

    /// Says goodbye for the runtime. `true` if the protocol itself ends the connection then, in
    /// its own time; `false` if the runtime is to close it.
    #[cfg_attr(
        not(any(feature = "ws", feature = "mqtt")),
        expect(unused_variables, reason = "only masks need it")
    )]
    pub(crate) fn farewell(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, why: Farewell) -> bool {
        match self {
            Self::Raw(_) => false,
            // A response under way may still come to its end, within the grace.
            Self::Client(client) => why == Farewell::Leaving && !client.is_idle(),
            #[cfg(feature = "h2")]
            Self::H2(connection) => {
                connection.go_away(tx);
                !connection.is_idle()
            }
            #[cfg(feature = "h2")]
            Self::Exchange(_) | Self::Asking(_) => why == Farewell::Leaving,
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
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => {
                mqtt_farewell(mqtt, cx, tx, why);
                why == Farewell::Leaving
            }
        }
    }

    /// Whether a request's answer is not complete.
    pub(crate) fn awaits_answer(&self) -> bool {
        match self {
            Self::H1(http) => http.awaits_answer(),
            #[cfg(feature = "h2")]
            Self::Exchange(exchange) => exchange.awaits_answer(),
            _ => false,
        }
    }

    /// The protocol's name, for people to read.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Raw(_) => "raw",
            Self::H1(_) => "http/1.1",
            Self::Client(_) => "http/1.1 client",
            #[cfg(feature = "h2")]
            Self::H2(_) => "http/2",
            #[cfg(feature = "h2")]
            Self::Exchange(_) => "http/2 stream",
            #[cfg(feature = "h2")]
            Self::Asking(_) => "http/2 stream of a client",
            #[cfg(feature = "ws")]
            Self::WsDial(_) => "websocket client",
            #[cfg(feature = "ws")]
            Self::Ws(_) => "websocket",
            #[cfg(feature = "mqtt")]
            Self::Mqtt(mqtt) => mqtt_name(mqtt),
        }
    }
}

#[cfg(feature = "h2")]
impl Stack {
    /// Begins the server's end of a connection of streams.
    pub(crate) fn h2_server(now: Micros, limits: &Limits) -> Self {
        Self::H2(Box::new(h2::Connection::new(h2::Role::Server, now, limits)))
    }

    /// Whether the connection of this stream is to end it once its output has gone.
    pub(crate) fn ends_stream(&self) -> bool {
        match self {
            Self::Exchange(exchange) => !exchange.awaits_answer(),
            Self::Asking(asking) => asking.is_sent(),
            #[cfg(feature = "ws")]
            Self::Ws(ws) => ws.is_closed(),
            _ => false,
        }
    }

    /// Gives the trailers that end a stream, once.
    pub(crate) fn take_trailers(&mut self) -> Option<Box<[u8]>> {
        match self {
            Self::Exchange(exchange) => exchange.take_trailers(),
            _ => None,
        }
    }

    /// Whether a stream that ends is to be reset, so that the peer can tell that it broke off.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Exchange(exchange) if exchange.is_broken())
    }
}

/// Whether what has arrived can be the preface of HTTP/2: RFC 9113, section 3.3.
#[cfg(feature = "h2")]
fn h2_may_begin(rx: &Rx<'_>) -> bool {
    let there = rx.len().min(h2::PREFACE.len());
    // No method but PRI, which is no method, begins like this.
    there >= 3 && !rx.eof() && rx.peek().get(..there) == h2::PREFACE.get(..there)
}

/// A client goes in good order, so that its will stays unsaid; a server says why.
#[cfg(feature = "mqtt")]
fn mqtt_farewell(mqtt: &mut mqtt::Mqtt, cx: &mut Cx<'_>, tx: &mut Tx<'_>, why: Farewell) {
    let code = match (why, mqtt.role()) {
        (Farewell::Panic, _) => mqtt::Code::UNSPECIFIED,
        (Farewell::Leaving, mqtt::Role::Server) => mqtt::Code::SERVER_SHUTTING_DOWN,
        (Farewell::Leaving, mqtt::Role::Client) => mqtt::Code::SUCCESS,
    };
    let properties = mqtt::Properties::NONE;
    mqtt.disconnect(cx, tx, &mqtt::Disconnect { code, properties });
}

#[cfg(feature = "mqtt")]
fn mqtt_name(mqtt: &mqtt::Mqtt) -> &'static str {
    match (mqtt.role(), mqtt.version()) {
        (mqtt::Role::Client, _) => "mqtt client",
        (mqtt::Role::Server, mqtt::Version::V4) => "mqtt 3.1.1",
        (mqtt::Role::Server, mqtt::Version::V5) => "mqtt 5.0",
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
