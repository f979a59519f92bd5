//! A WebSocket client: connects, and connects again by policy.

use std::boxed::Box;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;
use std::vec::Vec;

use lodger_backend::Micros;

use super::client as http;
use super::client::dial::Job;
use super::proxy::Proxies;
use super::trust::Trust;
use super::url::Url;
use crate::Error;
use crate::io::Tx;
use crate::policy::Retry;
use crate::proto;
use crate::proto::h1::{self, Length, RequestHead};
#[cfg(feature = "h2")]
use crate::proto::h2::{Ask, Asking};
use crate::proto::stack::{AskedBy, Stack, WsDial};
#[cfg(feature = "tls")]
use crate::proto::tls::ClientConfig;
use crate::proto::ws::handshake::Request;
use crate::proto::ws::{Config, Message};
use crate::runtime::handler::App;
use crate::runtime::handler::client::{Lost, Stages};
use crate::runtime::handler::ws::{Chunk, Cx, Handler};
use crate::runtime::{ConnId, Gone, Handle, Reason, SendError, Stream, StreamInfo, TimerId};

/// What is told before each new attempt: how long it is to the next, and why the last one ended.
type OnRetry = dyn Fn(&Handle, Duration, Reason);

/// Prepares a WebSocket to a server. Nothing happens before [`connect`](Self::connect).
///
/// ```no_run
/// use lodger::{policy::Retry, ws};
///
/// struct Feed;
///
/// impl ws::Handler for Feed {
///     fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
///         println!("{message:?}");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = lodger::Runtime::standalone()?;
/// let feed = ws::Client::new("ws://127.0.0.1:7681/echo").retry(Retry::default());
/// let feed = feed.connect(&rt, Feed)?;
/// rt.every(std::time::Duration::from_secs(1), move |_| {
///     let _ = feed.send(ws::Message::Text("tick")); // Gone while there is no connection
/// });
/// rt.run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is opened before `connect`"]
pub struct Client {
    url: Result<Url, Error>,
    config: Config,
    fields: Vec<u8>,
    wrong: Option<Error>,
    retry: Retry,
    on_retry: Option<Box<OnRetry>>,
    trust: Trust,
    proxies: Proxies,
    by: Option<http::Client>,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares one for `url`: `ws://host:port/path`, `wss://…` or
    /// `unix:/path.sock:/target`. It connects once, unless a policy says otherwise.
    pub fn new(url: &str) -> Self {
        Self {
            url: Url::parse(url),
            config: Config::default(),
            fields: Vec::new(),
            wrong: None,
            retry: Retry::never(),
            on_retry: None,
            trust: Trust::default(),
            proxies: Proxies::default(),
            by: None,
        }
    }

    /// Prepares one for a URL that is taken apart already.
    #[cfg(feature = "mqtt")]
    pub(super) fn to(url: &Url, trust: &Trust, proxies: &Proxies) -> Self {
        let (trust, proxies) = (trust.clone(), proxies.clone());
        Self { url: Ok(url.clone()), trust, proxies, ..Self::new("") }
    }

    /// Sets whom wss trusts. Unless set, it is whom the system trusts.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: &ClientConfig) -> Self {
        self.trust = Trust::new(config);
        self
    }

    /// Sets which proxies lead to which servers, by tunnels.
    pub fn proxies(mut self, proxies: &Proxies) -> Self {
        self.proxies = proxies.clone();
        self
    }

    /// Has it connected by an HTTP client: it trusts whom that trusts, through its proxies, and if the server speaks
    /// HTTP/2 and knows WebSockets in it (RFC 8441), it is a stream of the client's connection there,
    /// beside others and requests. If not, it has a connection of HTTP/1.1 to itself.
    pub fn by(mut self, client: &http::Client) -> Self {
        self.by = Some(client.clone());
        self
    }

    /// Sets limits, subprotocols, and after how much silence the peer is asked whether it lives.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a field to the request. One that may not be makes `connect` fail.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Err(e) = h1::put_field(&mut self.fields, name, value) {
            self.wrong = Some(e);
        }
        self
    }

    /// Sets when it connects again by itself. A server that refuses with Retry-After is left alone so
    /// long, if that is longer than the policy's delay.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Has `f` told of each wait before another attempt.
    pub fn on_retry(mut self, f: impl Fn(&Handle, Duration, Reason) + 'static) -> Self {
        self.on_retry = Some(Box::new(f));
        self
    }

    /// Connects. `handler` hears `open` when an attempt has succeeded and `closed` when it has
    /// ended, once an attempt, also one that never opened; it is dropped after the last.
    ///
    /// # Errors
    ///
    /// Misuse: the URL, a field or a subprotocol is not one. `Host`: wss, and this system trusts
    /// nobody. Nothing was opened, and `handler` hears nothing.
    pub fn connect(self, h: &Handle, handler: impl Handler) -> Result<Connection, Error> {
        if let Some(e) = self.wrong {
            return Err(e);
        }
        let url = self.url?;
        Request::new([0; 16], &self.config)?;
        let client =
            self.by.unwrap_or_else(|| http::Client::trusting(h, self.trust, self.proxies).http1());
        // A name that cannot be is misuse, told here.
        client.way(&url, false)?;
        let shared = Rc::new(Shared {
            h: h.clone(),
            url,
            client,
            config: Rc::new(self.config),
            fields: self.fields,
            retry: self.retry,
            on_retry: self.on_retry,
            current: Cell::new(None),
            dialling: Cell::new(false),
            up: Cell::new(false),
            waiting: Cell::new(None),
            failures: Cell::new(0),
            stopped: Cell::new(false),
        });
        let listed: Weak<dyn Stream> = Rc::<Shared>::downgrade(&shared);
        h.enlist(listed);
        Shared::dial(&shared, Box::new(handler));
        Ok(Connection(shared))
    }
}

/// Reaches a WebSocket that may come and go. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Connection(Rc<Shared>);

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Connection").field(&self.0.current.get()).finish()
    }
}

impl Connection {
    /// Names the connection of the attempt under way; `None` between attempts.
    pub fn id(&self) -> Option<ConnId> {
        self.0.current.get()
    }

    /// Sends a message, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; Gone between attempts, Misuse before the handshake is complete.
    pub fn send(&self, message: Message<'_>) -> Result<(), SendError> {
        let id = self.id().ok_or(Gone)?;
        self.0.h.send(id, message)
    }

    /// Closes with `code`, and does not connect again. Between attempts the handler is dropped.
    pub fn close(&self, code: u16) {
        self.0.stopped.set(true);
        if let Some((timer, _)) = self.0.waiting.take() {
            self.0.h.cancel(timer);
        }
        if let Some(id) = self.id()
            && self.0.h.close(id, code).is_err()
        {
            self.0.h.abort(id);
        }
    }
}

struct Shared {
    h: Handle,
    url: Url,
    client: http::Client,
    config: Rc<Config>,
    fields: Vec<u8>,
    retry: Retry,
    on_retry: Option<Box<OnRetry>>,
    current: Cell<Option<ConnId>>,
    /// The attempt under way waits for a connection that others wait for as well.
    dialling: Cell<bool>,
    /// The handshake of the attempt under way is complete.
    up: Cell<bool>,
    /// Until the next attempt, and how long that is in all.
    waiting: Cell<Option<(TimerId, Duration)>>,
    failures: Cell<u32>,
    stopped: Cell<bool>,
}

impl Shared {
    fn dial(this: &Rc<Self>, handler: Box<dyn Handler>) {
        let redial = Redial { shared: Rc::clone(this), handler: Some(handler), opened: None };
        this.dialling.set(true);
        Box::new(Socket { redial, began: this.h.now() }).again();
    }

    /// Makes what a request is checked by, and its fields. `None` only for what `connect` refuses.
    fn request(&self, by: AskedBy) -> Option<(Stack, Vec<u8>)> {
        let mut nonce = [0; 16];
        for word in nonce.chunks_exact_mut(4) {
            word.copy_from_slice(&self.h.random().to_ne_bytes());
        }
        let request = Request::new(nonce, &self.config).ok()?;
        let mut fields = self.fields.clone();
        match by {
            AskedBy::Http1(_) => request.put_fields(&mut fields),
            #[cfg(feature = "h2")]
            AskedBy::Stream(_) => request.put_stream_fields(&mut fields),
        }
        let dial = WsDial { by, key: *request.key(), config: Rc::clone(&self.config) };
        Some((Stack::WsDial(Box::new(dial)), fields))
    }

    fn head<'a>(&'a self, fields: &'a [u8]) -> RequestHead<'a> {
        RequestHead {
            method: "GET",
            target: &self.url.target,
            host: &self.url.host,
            fields,
            length: Length::None,
            upgrade: true,
            close: false,
        }
    }

    /// Notes where the attempt under way is.
    fn is_on(&self, id: ConnId) {
        self.dialling.set(false);
        self.current.set(Some(id).filter(|id| self.h.is_open(*id)));
    }

    /// Waits for the next attempt, or gives up.
    fn again(this: &Rc<Self>, handler: Box<dyn Handler>, ended: Ended) {
        let Ended { up, why, asked } = ended;
        let code = if let Reason::Closed { code } = why { Some(code) } else { None };
        let stops = this.stopped.get()
            || this.h.is_dead()
            || code.is_some_and(|code| this.retry.is_final(code));
        let failures = this.retry.failures_after(this.failures.get(), up);
        this.failures.set(failures);
        let delay = this.retry.delay(failures, this.h.random(), asked);
        let Some(delay) = delay.filter(|_| !stops) else { return };
        let shared = Rc::clone(this);
        let timer = this.h.after(delay, move |_| {
            shared.waiting.set(None);
            Self::dial(&shared, handler);
        });
        this.waiting.set(Some((timer, delay)));
        if let Some(f) = &this.on_retry {
            f(&this.h, delay, why);
        }
    }
}

impl Stream for Shared {
    fn info(&self) -> Option<StreamInfo> {
        let (conn, waiting) = (self.current.get(), self.waiting.get());
        let state = match (conn, waiting) {
            (Some(_), _) if self.up.get() => "open",
            (Some(_), _) => "connecting",
            (None, Some(_)) => "waiting",
            (None, None) if self.dialling.get() => "connecting",
            (None, None) => return None,
        };
        Some(StreamInfo {
            url: self.url.origin() + &self.url.target,
            state,
            conn,
            failures: self.failures.get(),
            retry_in: waiting.and_then(|(timer, _)| self.h.due_in(timer)),
            delay: waiting.map(|(_, delay)| delay),
        })
    }
}

/// How an attempt ended.
struct Ended {
    /// How long the WebSocket was open.
    up: Option<Duration>,
    why: Reason,
    /// How long the server asks to wait.
    asked: Option<Duration>,
}

/// Stands before the user's handler, and connects again when a connection has ended.
struct Redial {
    shared: Rc<Shared>,
    handler: Option<Box<dyn Handler>>,
    opened: Option<Micros>,
}

impl Redial {
    fn to(&mut self, f: impl FnOnce(&mut dyn Handler)) {
        if let Some(handler) = &mut self.handler {
            f(&mut **handler);
        }
    }
}

/// One attempt that looks for a connection.
struct Socket {
    redial: Redial,
    began: Micros,
}

impl Socket {
    /// Has a connection of its own made, which speaks HTTP/1.1.
    fn go_alone(self) {
        let shared = Rc::clone(&self.redial.shared);
        let h = &shared.h;
        let way = match shared.client.way(&shared.url, false) {
            Ok(way) => way,
            Err(e) => return Box::new(self).refused(h, Reason::Peer(e)),
        };
        let http = h1::Client::new(h.now(), &h.core().limits.client);
        let Some((stack, fields)) = shared.request(AskedBy::Http1(http)) else { return };
        let id = h.dial(way.place.to(), way.channel, (stack, self.into_app()), |stack, cx, tx| {
            say(stack, cx, tx, &shared.head(&fields))
        });
        shared.is_on(id);
    }

    fn into_app(self) -> App {
        let chunks = self.redial.shared.config.is_chunked();
        App::Ws { handler: Box::new(self.redial), chunks }
    }

    fn closed(mut self, h: &Handle, why: Reason) {
        self.redial.closed(&mut Cx::new(h, ConnId::NONE), why);
    }
}

/// Puts a request for a WebSocket into the output of a connection.
fn say(
    stack: &mut Stack,
    cx: &mut proto::Cx<'_>,
    tx: &mut Tx<'_>,
    head: &RequestHead<'_>,
) -> Result<(), Error> {
    let Stack::WsDial(dial) = stack else { return Ok(()) };
    match &mut dial.by {
        AskedBy::Http1(http) => {
            http.request(cx, tx, head)?;
            http.finish(tx)
        }
        #[cfg(feature = "h2")]
        AskedBy::Stream(_) => Ok(()),
    }
}

impl Job for Socket {
    #[cfg(feature = "h2")]
    fn is_socket(&self) -> bool {
        true
    }

    fn alone(self: Box<Self>, h: &Handle, id: ConnId, stages: &Stages) -> App {
        let shared = Rc::clone(&self.redial.shared);
        let stages = Stages { began: self.began, ..*stages };
        let http = h1::Client::new(h.now(), &h.core().limits.client);
        let Some((stack, fields)) = shared.request(AskedBy::Http1(http)) else { return App::Gone };
        let said = h.begin_on(id, stack, |stack, cx, tx| say(stack, cx, tx, &shared.head(&fields)));
        h.keep_stages(id, &stages);
        shared.is_on(id);
        if said.is_err() || shared.stopped.get() {
            h.abort(id);
        }
        self.into_app()
    }

    #[cfg(feature = "h2")]
    fn stream(self: Box<Self>, h: &Handle, carrier: ConnId, stages: &Stages) {
        let shared = Rc::clone(&self.redial.shared);
        let stages = Stages { began: self.began, ..*stages };
        let until = h.now() + h.core().limits.client.first_byte;
        let asking = Asking::new(Length::Unknown, until);
        let Some((stack, fields)) = shared.request(AskedBy::Stream(asking)) else { return };
        let scheme = if shared.url.secure { "https" } else { "http" };
        let ask = Ask { scheme, protocol: Some("websocket"), ends: false };
        let ends = (stack, self.into_app());
        let id = h.ask_stream(carrier, ends, &shared.head(&fields), &ask, None);
        h.keep_stages(id, &stages);
        shared.is_on(id);
        if shared.stopped.get() {
            h.abort(id);
        }
    }

    fn again(self: Box<Self>) {
        let shared = Rc::clone(&self.redial.shared);
        let (client, origin) = (&shared.client, shared.url.origin());
        #[cfg(feature = "h2")]
        if let Some(id) = client.carrier(&origin, true) {
            let stages = Stages::begun(self.began);
            return self.stream(&shared.h, id, &stages);
        }
        if !client.agrees(&shared.url) || !client.shares(&origin, true) {
            return self.go_alone();
        }
        if let Err((e, job)) = client.open(&shared.url, self, true) {
            job.refused(&shared.h, Reason::Peer(e));
        }
    }

    fn failed(self: Box<Self>, h: &Handle, lost: &Lost) {
        (*self).closed(h, lost.why);
    }

    fn refused(self: Box<Self>, h: &Handle, why: Reason) {
        h.after(Duration::ZERO, move |h| (*self).closed(h, why));
    }
}

impl Handler for Redial {
    fn open(&mut self, cx: &mut Cx<'_>) {
        self.opened = Some(cx.runtime().now());
        self.shared.up.set(true);
        self.to(|handler| handler.open(cx));
    }

    fn message(&mut self, cx: &mut Cx<'_>, message: Message<'_>) {
        self.to(|handler| handler.message(cx, message));
    }

    fn chunk(&mut self, cx: &mut Cx<'_>, chunk: Chunk<'_>) {
        self.to(|handler| handler.chunk(cx, chunk));
    }

    fn pong(&mut self, cx: &mut Cx<'_>, payload: &[u8]) {
        self.to(|handler| handler.pong(cx, payload));
    }

    fn closing(&mut self, cx: &mut Cx<'_>, code: Option<u16>, reason: &str) {
        self.to(|handler| handler.closing(cx, code, reason));
    }

    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {
        self.to(|handler| handler.writable(cx, room));
    }

    fn timer(&mut self, cx: &mut Cx<'_>, tag: u64) {
        self.to(|handler| handler.timer(cx, tag));
    }

    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {
        self.shared.current.set(None);
        self.shared.dialling.set(false);
        self.shared.up.set(false);
        self.to(|handler| handler.closed(cx, why));
        let h = cx.runtime();
        let up = self.opened.map(|at| h.now() - at);
        let asked = h.asked_wait(cx.id());
        if let Some(handler) = self.handler.take() {
            Shared::again(&self.shared, handler, Ended { up, why, asked });
        }
    }
}
