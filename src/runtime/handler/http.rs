//! HTTP on the server's side: requests, answers, and handlers for bodies that stream.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

#[cfg(feature = "ws")]
use super::Orphan;
use super::common_cx;
pub use super::exchange::ExchangeId;
#[cfg(feature = "ws")]
use super::ws as websocket;
use crate::Error;
use crate::proto::h1::{self, Fields, Length};
use crate::proto::tls::Session;
use crate::runtime::Handle;
#[cfg(feature = "server")]
use crate::runtime::file::Body;
use crate::runtime::id::{ConnId, Gone, Reason, SendError};

/// What answers requests. Implemented by `http::Server`; runs in a turn, with nothing of the
/// runtime borrowed.
pub trait Routes: 'static {
    /// Answers one request.
    fn route(&self, request: &Request<'_>, response: Response<'_>) -> Answer;

    /// Whether connections are HTTP/2 from the first byte on, and end otherwise.
    #[cfg(feature = "h2")]
    fn only_http2(&self) -> bool {
        false
    }
}

/// A request's head. It borrows from the receive buffer: copy what is to be kept.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub(crate) head: &'a h1::Request<'a>,
    pub(crate) params: &'a [(&'a str, &'a str)],
    pub(crate) session: Option<&'a Session>,
}

impl<'a> Request<'a> {
    /// Gives the method, as it arrived: `GET`.
    pub fn method(&self) -> &'a str {
        self.head.method
    }

    /// Gives the path, still percent-encoded: `/a/b`; `*` for OPTIONS of the whole server.
    pub fn path(&self) -> &'a str {
        self.head.path
    }

    /// Gives what stands behind the `?`, if there is one.
    pub fn query(&self) -> Option<&'a str> {
        self.head.query
    }

    /// Gives the host the request is for, with its port if it named one; empty if HTTP/1.0 gave
    /// none.
    pub fn host(&self) -> &'a str {
        self.head.host
    }

    /// Gives the first field of this name, if it is text; names are compared without case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.fields.get_str(name)
    }

    /// Gives all fields, in order.
    pub fn fields(&self) -> Fields<'a> {
        self.head.fields
    }

    /// Gives what a `{name}` of the route's pattern stands for, still percent-encoded.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// Gives the declared length of the body; `None` when it is chunked.
    pub fn length(&self) -> Option<u64> {
        match self.head.body {
            h1::Body::None => Some(0),
            h1::Body::Length(n) => Some(n),
            h1::Body::Chunked => None,
        }
    }

    /// Tells what the TLS handshake of its connection agreed on: version, cipher suite, the name that
    /// the client asked for, its certificates. `None` over a plain connection.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&'a Session> {
        self.session
    }

    /// Tells whether it came over TLS.
    pub fn is_secure(&self) -> bool {
        self.session.is_some()
    }

    /// Tells whether the peer asks to upgrade, in a request that may be.
    pub fn is_upgrade(&self) -> bool {
        self.head.upgrade
    }
}

/// The answer to one request, to be given once. Dropped unanswered, it is 500.
#[derive(Debug)]
pub struct Response<'t> {
    h: &'t Handle,
    id: ExchangeId,
    status: u16,
    /// Validated field lines in wire form, in a pooled buffer.
    fields: Vec<u8>,
    /// The request's body, for a limit that can be checked at once.
    body: h1::Body,
    answered: bool,
    /// Its route has returned.
    late: bool,
}

/// Proof that a request was answered, or will be: only a [`Response`] makes one.
#[must_use = "return it from the route"]
#[derive(Debug)]
pub struct Answer(pub(crate) Outcome);

pub(crate) enum Outcome {
    /// The answer is in the output, or somebody holds a `Later`.
    Sent,
    Stream(Box<dyn Handler>),
    #[cfg(feature = "ws")]
    Ws(Box<dyn websocket::Handler>, Rc<crate::proto::ws::Config>, crate::proto::ws::Extensions),
}

impl core::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Sent => "Sent",
            Self::Stream(_) => "Stream",
            #[cfg(feature = "ws")]
            Self::Ws(..) => "Ws",
        })
    }
}

impl<'t> Response<'t> {
    pub(crate) fn new(h: &'t Handle, id: ExchangeId, body: h1::Body) -> Self {
        Self { h, id, status: 200, fields: Vec::new(), body, answered: false, late: false }
    }

    /// As [`new`](Self::new), given out of its route: the request's head is gone.
    pub(crate) fn late(h: &'t Handle, id: ExchangeId) -> Self {
        let mut response = Self::new(h, id, h1::Body::None);
        response.late = true;
        response
    }

    /// Names the exchange, to answer it in parts from elsewhere.
    pub fn id(&self) -> ExchangeId {
        self.id
    }

    /// Gives the runtime.
    pub fn runtime(&self) -> &'t Handle {
        self.h
    }

    /// Gives the peer's address, if it has one. One system call.
    pub fn peer(&self) -> Option<lodger_backend::Addr> {
        self.h.peer_addr(self.id.conn())
    }

    /// Sets the status; 200 unless set. One below 200 or above 999 makes the answer a 500.
    pub fn status(mut self, status: u16) -> Self {
        self.status = if (200..=999).contains(&status) { status } else { 500 };
        self
    }

    /// Notes the pattern of the route that was found, for the live page to show.
    pub fn matched(&self, pattern: &Rc<str>) {
        if let Some(slot) = self.h.core().named(self.id.conn())
            && !slot.label.as_ref().is_some_and(|label| Rc::ptr_eq(label, pattern))
        {
            slot.label = Some(Rc::clone(pattern));
        }
    }

    /// Adds a field. A name or value that RFC 9110, section 5 forbids, or a field that the engine
    /// writes itself, is left out and makes the answer a 500: see
    /// [`try_header`](Self::try_header) for values that come from outside.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if self.try_header(name, value).is_err() {
            self.status = 500;
        }
        self
    }

    /// Adds a field.
    ///
    /// # Errors
    ///
    /// The name or value holds what RFC 9110, section 5 forbids (CR, LF, NUL …), or the engine
    /// writes this field itself. Nothing is added.
    pub fn try_header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if self.fields.capacity() == 0 {
            self.fields = self.h.core().pool.take();
        }
        h1::put_field(&mut self.fields, name, value)
    }

    /// Sends an interim response ahead of this one, which is given later or streamed.
    ///
    /// # Errors
    ///
    /// As [`Handle::interim`].
    pub fn interim(&self, status: u16, fields: &[(&str, &str)]) -> Result<(), SendError> {
        self.h.interim(self.id, status, fields)
    }

    /// Answers with plain text.
    pub fn text(self, text: &str) -> Answer {
        self.whole(b"Content-Type: text/plain; charset=utf-8\r\n", text.as_bytes())
    }

    /// Answers with HTML.
    pub fn html(self, html: &str) -> Answer {
        self.whole(b"Content-Type: text/html; charset=utf-8\r\n", html.as_bytes())
    }

    /// Answers with bytes of any type. A content type that may not be in a field is a 500.
    pub fn bytes(self, content_type: &str, body: &[u8]) -> Answer {
        self.header("content-type", content_type).whole(b"", body)
    }

    /// Answers without a body.
    pub fn empty(self) -> Answer {
        self.whole(b"", b"")
    }

    /// Answers with an error's status and a line of text that names it.
    pub fn error(self, status: u16) -> Answer {
        let mut text = [0; 64];
        let text = crate::runtime::text::error_line(&mut text, status);
        self.status(status).whole(b"Content-Type: text/plain; charset=utf-8\r\n", text)
    }

    /// Answers with a redirect (301, 302, 303, 307 or 308).
    pub fn redirect(self, status: u16, location: &str) -> Answer {
        self.status(status).header("location", location).empty()
    }

    /// Hands request body and response body to a handler, both as streams.
    pub fn stream(mut self, handler: impl Handler) -> Answer {
        self.answered = true;
        Answer(Outcome::Stream(Box::new(handler)))
    }

    /// Reads the whole request body, up to the limit [`H1Limits::body`], and then answers by `f`.
    /// A longer body is a 413.
    ///
    /// [`H1Limits::body`]: crate::H1Limits::body
    pub fn read_body(self, f: impl FnOnce(&[u8], Response<'_>) -> Answer + 'static) -> Answer {
        let most = self.h.core().limits.h1.body;
        self.read_body_up_to(most, f)
    }

    /// As [`read_body`](Self::read_body), up to `most` bytes.
    pub fn read_body_up_to(
        self,
        most: u64,
        f: impl FnOnce(&[u8], Response<'_>) -> Answer + 'static,
    ) -> Answer {
        if let h1::Body::Length(n) = self.body
            && n > most
        {
            return self.error(413);
        }
        self.stream(Collect { bytes: Vec::new(), most, answer: Some(Box::new(f)) })
    }

    /// Answers later: from a timer, another connection's handler, host code or a `Remote`.
    /// Requests that the peer has pipelined behind it wait.
    pub fn later(mut self) -> (Answer, Later) {
        self.answered = true;
        let later = Later { h: self.h.clone(), id: self.id, open: true };
        (Answer(Outcome::Sent), later)
    }

    /// Adds field lines that are the engine's own, in wire form.
    #[cfg(feature = "server")]
    pub(crate) fn lines(mut self, lines: &str) -> Self {
        if !lines.is_empty() && self.fields.capacity() == 0 {
            self.fields = self.h.core().pool.take();
        }
        self.fields.extend_from_slice(lines.as_bytes());
        self
    }

    /// Switches the connection to WebSocket with what
    /// [`accept`](crate::proto::ws::handshake::accept) agreed on: 101, then `handler` hears it. A
    /// request that may not be upgraded is a 400.
    #[cfg(feature = "ws")]
    pub fn websocket(
        mut self,
        accept: &crate::proto::ws::handshake::Accept<'_>,
        config: &Rc<crate::proto::ws::Config>,
        handler: Box<dyn websocket::Handler>,
    ) -> Answer {
        let mut fields = self.h.core().pool.take();
        #[cfg(feature = "deflate")]
        let accept = &{ self.h.core().within_engines(accept) };
        accept.put_fields(&mut fields);
        let switched =
            !self.late && self.h.exchange(self.id, |http, tx, _| http.switch(tx, &fields)).is_ok();
        self.h.core().pool.put(fields);
        if !switched {
            self.h.orphan(Orphan::Ws(handler));
            return self.error(400);
        }
        self.answered = true;
        Answer(Outcome::Ws(handler, Rc::clone(config), accept.extensions()))
    }

    /// Answers with parts of a file.
    #[cfg(feature = "server")]
    pub(crate) fn file(mut self, body: Body) -> Answer {
        self.answered = true;
        let fields = core::mem::take(&mut self.fields);
        // As in `whole`.
        let _ = self.h.answer_file(self.id, self.status, &fields, body);
        self.h.core().pool.put(fields);
        Answer(Outcome::Sent)
    }

    /// Sends the head of a response whose body is written by its id. `false` if there will be
    /// none: it has gone, is answered already, or is one to HEAD.
    pub(crate) fn begin(&mut self, fixed: &'static [u8]) -> bool {
        let mut fields = core::mem::take(&mut self.fields);
        if fields.capacity() == 0 {
            fields = self.h.core().pool.take();
        }
        fields.extend_from_slice(fixed);
        let status = self.status;
        let begun = self.h.exchange(self.id, |http, tx, date| {
            let (date, fields, length) = (Some(date), &fields, Length::Unknown);
            http.respond(tx, &h1::Response { status, fields, length, date, close: false })?;
            if http.drops_body() {
                http.finish(tx)?;
            }
            Ok(http.sends_body())
        });
        self.h.core().pool.put(fields);
        begun.unwrap_or(false)
    }

    /// Says that its head is out and nothing follows from a handler.
    pub(crate) fn begun(mut self) -> Answer {
        self.answered = true;
        Answer(Outcome::Sent)
    }

    fn whole(mut self, fixed: &'static [u8], body: &[u8]) -> Answer {
        self.answered = true;
        let status = self.status;
        let fields = core::mem::take(&mut self.fields);
        // Gone: the peer has left, and there is nobody to tell. Misuse: the route answered by its
        // id already, and that answer stands.
        if fields.is_empty() {
            let _ = self.h.answer_whole(self.id, status, fixed, body);
        } else {
            let mut all = fields;
            all.extend_from_slice(fixed);
            let _ = self.h.answer_whole(self.id, status, &all, body);
            self.h.core().pool.put(all);
        }
        Answer(Outcome::Sent)
    }
}

impl Drop for Response<'_> {
    fn drop(&mut self) {
        let fields = core::mem::take(&mut self.fields);
        if fields.capacity() > 0 {
            self.h.core().pool.put(fields);
        }
        if !self.answered {
            self.h.answer_500(self.id);
        }
    }
}

/// A promise to answer a request. Dropped unanswered, it is 500.
#[must_use = "dropped, it answers 500"]
#[derive(Debug)]
pub struct Later {
    h: Handle,
    id: ExchangeId,
    open: bool,
}

impl Later {
    /// Names the exchange.
    pub fn id(&self) -> ExchangeId {
        self.id
    }

    /// Answers now, as a route would.
    ///
    /// # Errors
    ///
    /// The peer has gone.
    pub fn answer(mut self, f: impl FnOnce(Response<'_>) -> Answer) -> Result<(), Gone> {
        self.open = false;
        let h = self.h.clone();
        if !h.awaits(self.id) {
            return Err(Gone);
        }
        let answer = f(Response::late(&h, self.id));
        h.install(self.id, answer);
        Ok(())
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if self.open {
            self.h.answer_500(self.id);
        }
    }
}

/// What hears one exchange whose bodies stream. Every method runs in a turn, with nothing of the
/// runtime borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait Handler: 'static {
    /// The request's head is in: the first call.
    fn open(&mut self, cx: &mut Cx<'_>) {}

    /// A piece of the request body arrived, cut anywhere.
    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {}

    /// The trailer section of a chunked body arrived.
    fn trailers(&mut self, cx: &mut Cx<'_>, fields: Fields<'_>) {}

    /// The request is complete.
    fn end(&mut self, cx: &mut Cx<'_>) {}

    /// There is room for `room` bytes of output, as `want_write` asked.
    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {}

    /// A timer of [`Cx::timer`] is due.
    fn timer(&mut self, cx: &mut Cx<'_>, tag: u64) {}

    /// The exchange is over: exactly once, the last call. `Reason::Done` if it is complete.
    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {}
}

/// What a streaming handler acts through. It cannot outlive the call.
#[derive(Debug)]
pub struct Cx<'t> {
    h: &'t Handle,
    id: ExchangeId,
}

impl<'t> Cx<'t> {
    /// The context of a handler that never got into place: everything is Gone.
    pub(crate) fn gone(h: &'t Handle) -> Self {
        Self { h, id: ExchangeId::new(ConnId::NONE, 0) }
    }

    /// The context of the exchange under way on a connection.
    pub(crate) fn current(h: &'t Handle, conn: ConnId) -> Self {
        let seq = h.core().named(conn).map_or(0, |slot| slot.seq);
        Self { h, id: ExchangeId::new(conn, seq) }
    }

    fn conn(&self) -> ConnId {
        self.id.conn()
    }

    /// Names the exchange, to write to it from elsewhere.
    pub fn exchange(&self) -> ExchangeId {
        self.id
    }

    /// Sends an interim response ahead of the head.
    ///
    /// # Errors
    ///
    /// As [`Handle::interim`].
    pub fn interim(&mut self, status: u16, fields: &[(&str, &str)]) -> Result<(), SendError> {
        self.h.interim(self.id, status, fields)
    }

    /// Starts the response: status and fields. The body's length follows from a `content-length`
    /// field among them, else it is chunked.
    ///
    /// # Errors
    ///
    /// As [`Handle::head`].
    pub fn head(&mut self, status: u16, fields: &[(&str, &str)]) -> Result<(), SendError> {
        self.h.head(self.id, status, fields)
    }

    /// Sends a piece of the response body, all or nothing.
    ///
    /// # Errors
    ///
    /// As [`Handle::write`].
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SendError> {
        self.h.write(self.id, chunk)
    }

    /// Completes the response.
    ///
    /// # Errors
    ///
    /// As [`Handle::finish`].
    pub fn finish(&mut self) -> Result<(), SendError> {
        self.h.finish(self.id)
    }

    /// Completes the response with trailers: fields that are known only behind the body.
    ///
    /// ```
    /// use lodger::http;
    ///
    /// /// Sends parts, and behind them how many there were.
    /// struct Report;
    ///
    /// impl http::Handler for Report {
    ///     fn open(&mut self, cx: &mut http::Cx<'_>) {
    ///         let fields = [("content-type", "text/plain"), ("trailer", "parts")];
    ///         let _ = cx.head(200, &fields);
    ///         let _ = cx.write(b"one ");
    ///         let _ = cx.write(b"two");
    ///         let _ = cx.finish_with(&[("parts", "2")]);
    ///     }
    /// }
    ///
    /// let server = http::Server::new().get("/report", |_req, res| res.stream(Report));
    /// # drop(server);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Handle::finish_with`], which also tells where they are dropped.
    pub fn finish_with(&mut self, trailers: &[(&str, &str)]) -> Result<(), SendError> {
        self.h.finish_with(self.id, trailers)
    }

    /// Tells whether the response is still to be begun or completed.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.h.awaits(self.id)
    }

    /// Answers as a route would, with a handler that takes this one's place if it streams.
    pub fn answer(&mut self, f: impl FnOnce(Response<'_>) -> Answer) {
        let h = self.h;
        let answer = f(Response::late(h, self.id));
        h.install(self.id, answer);
    }
}
common_cx!(Cx);

/// Reads a whole body, then answers.
struct Collect {
    bytes: Vec<u8>,
    most: u64,
    answer: Option<BodyAnswer>,
}

type BodyAnswer = Box<dyn FnOnce(&[u8], Response<'_>) -> Answer>;

impl Handler for Collect {
    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {
        if self.answer.is_none() {
            return;
        }
        if (self.bytes.len() + chunk.len()) as u64 > self.most {
            self.answer = None;
            self.bytes = Vec::new();
            cx.answer(|res| res.error(413));
            return;
        }
        self.bytes.extend_from_slice(chunk);
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        if let Some(answer) = self.answer.take() {
            let bytes = core::mem::take(&mut self.bytes);
            cx.answer(|res| answer(&bytes, res));
        }
    }
}
