//! What must hold for any input at all, for tests and for the fuzzer: nothing panics, and how the
//! input was cut changes neither events nor output.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use lodger_backend::Micros;

use super::{
    Body, Event, Fields, Length, Request, Response, ResponseEvent, ResponseReader, Server,
};
use crate::error::Error;
use crate::io::{Out, Pool, Rx, Scratch, Tx};
use crate::limits::Limits;
use crate::proto::Cx;
use crate::proto::split::pieces;

/// What a connection made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// Events, one a line; a body that came in parts is one.
    pub(super) events: Vec<String>,
    /// What it sent.
    pub(super) sent: Vec<u8>,
    /// How it failed.
    pub(super) error: Option<Error>,
    /// What it left unread.
    pub(super) left: Vec<u8>,
    /// Whether it wants to be closed.
    pub(super) closes: bool,
    body: Option<Vec<u8>>,
}

impl Trace {
    fn event(&mut self, event: String) {
        if let Some(body) = self.body.take() {
            self.events.push(format!("body {}", body.escape_ascii()));
        }
        self.events.push(event);
    }

    fn data(&mut self, data: &[u8]) {
        self.body.get_or_insert_default().extend_from_slice(data);
    }

    fn finish(mut self) -> Self {
        if let Some(body) = self.body.take() {
            self.events.push(format!("body {}", body.escape_ascii()));
        }
        self
    }
}

fn fields_text(fields: Fields<'_>) -> String {
    fields.iter().map(|(name, value)| format!(" {name}={}", value.escape_ascii())).collect()
}

/// How the application of [`serve`] answers; it goes by the path, so that every way is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// At once, whatever the body does.
    Early,
    /// At the end of the request, by one call.
    Whole,
    /// The body as it comes, in chunks, overlapping it.
    Echo,
    /// At the end of the request, with a length announced, in two parts.
    Parts,
    /// With a shorter body than announced.
    Short,
    /// As `Echo`, with an interim response before it and fields behind it.
    Trailers,
}

struct App {
    way: Way,
    length: usize,
}

impl App {
    fn on_request(&mut self, server: &mut Server, tx: &mut Tx<'_>, request: &Request<'_>) {
        self.way = match request.path {
            "/early" => Way::Early,
            "/echo" => Way::Echo,
            "/parts" => Way::Parts,
            "/short" => Way::Short,
            "/trailers" => Way::Trailers,
            _ => Way::Whole,
        };
        self.length = 0;
        if request.upgrade {
            let _ = server.switch(tx, b"Sec-WebSocket-Accept: x\r\n");
            return;
        }
        if self.way == Way::Early {
            let _ = server.respond_whole(tx, &head(200, Length::None), b"early");
            return;
        }
        server.want_body(tx);
        if self.way == Way::Trailers {
            let _ = server.interim(tx, 103, b"Link: </a>\r\n");
        }
        if matches!(self.way, Way::Echo | Way::Trailers) {
            let _ = server.respond(tx, &head(200, Length::Unknown));
        }
        if request.body == Body::None {
            self.on_end(server, tx);
        }
    }

    fn on_data(&mut self, server: &mut Server, tx: &mut Tx<'_>, data: &[u8]) {
        self.length += data.len();
        if matches!(self.way, Way::Echo | Way::Trailers) {
            // One byte a chunk, so that the chunks do not tell how the input was cut.
            for byte in data {
                let _ = server.body(tx, core::slice::from_ref(byte));
            }
        }
    }

    fn on_end(&mut self, server: &mut Server, tx: &mut Tx<'_>) {
        let text = format!("{} bytes", self.length);
        let (first, second) = text.as_bytes().split_at(1);
        match self.way {
            Way::Early => {}
            Way::Whole => {
                let _ = server.respond_whole(tx, &head(404, Length::None), text.as_bytes());
            }
            Way::Echo => {
                let _ = server.finish(tx);
            }
            Way::Trailers => {
                let _ = server.finish_with(tx, format!("Bytes: {text}\r\n").as_bytes());
            }
            Way::Parts | Way::Short => {
                let _ = server.respond(tx, &head(200, Length::Known(text.len() as u64)));
                let _ = server.body(tx, first);
                if self.way == Way::Parts {
                    let _ = server.body(tx, second);
                }
                let _ = server.finish(tx);
            }
        }
    }
}

fn head(status: u16, length: Length) -> Response<'static> {
    Response { status, fields: b"Server: t\r\n", length, date: None, close: false }
}

/// Gives `pieces` to a server one by one, the end of input with the last, and says what came out.
pub(super) fn serve(limits: &Limits, pieces: &[&[u8]], eof: bool) -> Trace {
    let (mut out, mut pool, mut scratch) = (Out::new(), Pool::new(0), Scratch::new());
    let mut tx = Tx::new(&mut out, &mut pool);
    let mut server = Server::new(Micros::ZERO, limits);
    let mut app = App { way: Way::Whole, length: 0 };
    let mut trace = Trace::default();
    let mut random = || 0;
    let mut cx = Cx { now: Micros::ZERO, limits, random: &mut random };
    let pieces = if pieces.is_empty() { &[&[][..]] } else { pieces };
    for (n, piece) in pieces.iter().enumerate() {
        trace.left.extend_from_slice(piece);
        let mut left = core::mem::take(&mut trace.left);
        let mut rx = Rx::new(&mut left, eof && n + 1 == pieces.len());
        loop {
            match server.poll(&mut cx, &mut rx, &mut scratch) {
                Ok(Some(event)) => note(&mut trace, &mut app, &mut server, &mut tx, event),
                Ok(None) => break,
                Err(error) => {
                    server.goodbye(&mut tx, error, None);
                    trace.error = trace.error.or(Some(error));
                }
            }
        }
        assert!(server.deadline().is_some() || !server.is_idle());
        let used = rx.consumed();
        trace.left.extend_from_slice(left.get(used..).unwrap_or(&[]));
    }
    trace.closes = server.must_close();
    trace.sent.extend_from_slice(out.bytes());
    trace.finish()
}

fn note(trace: &mut Trace, app: &mut App, server: &mut Server, tx: &mut Tx<'_>, event: Event<'_>) {
    match event {
        Event::Request(r) => {
            let (query, fields) = (r.query, fields_text(r.fields));
            trace.event(format!(
                "{} {} path={} query={query:?} host={} {:?} {:?} upgrade={}{fields}",
                r.method, r.target, r.path, r.host, r.version, r.body, r.upgrade
            ));
            app.on_request(server, tx, &r);
        }
        Event::Body(data) => {
            trace.data(data);
            app.on_data(server, tx, data);
        }
        Event::Trailers(fields) => trace.event(format!("trailers{}", fields_text(fields))),
        Event::End => {
            trace.event("end".into());
            app.on_end(server, tx);
        }
    }
}

/// Gives `pieces` to a reader of responses one by one, and says what came out.
pub(super) fn read(limits: &Limits, method: &str, pieces: &[&[u8]], eof: bool) -> Trace {
    let mut scratch = Scratch::new();
    let mut reader = ResponseReader::new(method);
    let mut trace = Trace::default();
    let pieces = if pieces.is_empty() { &[&[][..]] } else { pieces };
    for (n, piece) in pieces.iter().enumerate() {
        trace.left.extend_from_slice(piece);
        let mut left = core::mem::take(&mut trace.left);
        let mut rx = Rx::new(&mut left, eof && n + 1 == pieces.len());
        loop {
            match reader.poll(limits, &mut rx, &mut scratch) {
                Ok(Some(ResponseEvent::Head(h))) => trace.event(format!(
                    "{} {} {:?}{}",
                    h.status,
                    h.reason.escape_ascii(),
                    h.version,
                    fields_text(h.fields)
                )),
                Ok(Some(ResponseEvent::Body(data))) => trace.data(data),
                Ok(Some(ResponseEvent::Trailers(f))) => {
                    trace.event(format!("trailers{}", fields_text(f)));
                }
                Ok(Some(ResponseEvent::End)) => trace.event("end".into()),
                Ok(None) => break,
                Err(error) => trace.error = trace.error.or(Some(error)),
            }
        }
        let used = rx.consumed();
        trace.left.extend_from_slice(left.get(used..).unwrap_or(&[]));
    }
    trace.closes = !reader.is_reusable();
    trace.finish()
}

/// Takes `data` apart into sizes of pieces and bytes, and asserts what must hold for any input.
///
/// The first byte says how many bytes of sizes follow, whether the input ends, which method the
/// response is to, and which limits apply.
///
/// # Panics
///
/// A rule of this module is broken.
pub fn fuzz_h1(data: &[u8]) {
    let Some((&control, rest)) = data.split_first() else { return };
    let (sizes, bytes) = rest.split_at(usize::from(control & 15).min(rest.len()));
    let mut limits = Limits::default();
    if control & 0x80 != 0 {
        limits.h1.line = 48;
        limits.h1.field = 40;
        limits.h1.head = 160;
        limits.h1.fields = 4;
        limits.h1.chunk_extensions = 12;
        limits.h1.trailers = 48;
        limits.h1.trailer_fields = 2;
        limits.h1.requests = 3;
    }
    let eof = control & 0x40 != 0;
    let mut sizes = sizes.iter().cycle();
    let cut = pieces(bytes, || sizes.next().map_or(1, |&n| 1 + usize::from(n)));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();

    let whole = serve(&limits, &[bytes], eof);
    assert_eq!(serve(&limits, &cut, eof), whole);
    assert_eq!(serve(&limits, &single, eof), whole);

    let method = if control & 0x20 != 0 { "HEAD" } else { "GET" };
    let whole = read(&limits, method, &[bytes], eof);
    assert_eq!(read(&limits, method, &cut, eof), whole);
    assert_eq!(read(&limits, method, &single, eof), whole);
}
