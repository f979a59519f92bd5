//! A WebSocket client: connects, and connects again by policy.

use std::boxed::Box;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;
use std::vec::Vec;

use lodger_backend::Micros;

use super::trust::Trust;
use super::url::Url;
use crate::Error;
use crate::policy::Retry;
use crate::proto::h1::{self, Length, RequestHead};
use crate::proto::stack::{HTTP1_ALPN, Stack, WsDial};
#[cfg(feature = "tls")]
use crate::proto::tls::ClientConfig;
use crate::proto::ws::handshake::Request;
use crate::proto::ws::{Config, Message};
use crate::runtime::handler::App;
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
        }
    }

    /// Prepares one for a URL that is taken apart already.
    #[cfg(feature = "mqtt")]
    pub(super) fn to(url: &Url, trust: &Trust) -> Self {
        Self { url: Ok(url.clone()), trust: trust.clone(), ..Self::new("") }
    }

    /// Sets whom wss trusts. Unless set, it is whom the system trusts.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: &ClientConfig) -> Self {
        self.trust = Trust::new(config);
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
        let mut trust = self.trust;
        trust.resolve(h, &url)?;
        // A name that cannot be is misuse, told here.
        trust.channel(&url, HTTP1_ALPN)?;
        let shared = Rc::new(Shared {
            h: h.clone(),
            url,
            trust,
            config: Rc::new(self.config),
            fields: self.fields,
            retry: self.retry,
            on_retry: self.on_retry,
            current: Cell::new(None),
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
    trust: Trust,
    config: Rc<Config>,
    fields: Vec<u8>,
    retry: Retry,
    on_retry: Option<Box<OnRetry>>,
    current: Cell<Option<ConnId>>,
    /// The handshake of the attempt under way is complete.
    up: Cell<bool>,
    /// Until the next attempt, and how long that is in all.
    waiting: Cell<Option<(TimerId, Duration)>>,
    failures: Cell<u32>,
    stopped: Cell<bool>,
}

impl Shared {
    fn dial(this: &Rc<Self>, handler: Box<dyn Handler>) {
        let h = this.h.clone();
        let redial = Redial { shared: Rc::clone(this), handler: Some(handler), opened: None };
        let chunks = this.config.is_chunked();
        let app = App::Ws { handler: Box::new(redial), chunks };
        let mut nonce = [0; 16];
        for word in nonce.chunks_exact_mut(4) {
            word.copy_from_slice(&h.random().to_ne_bytes());
        }
        let to = this.url.place.to();
        // What is wrong with either, `connect` has told.
        let Ok(request) = Request::new(nonce, &this.config) else { return };
        let Ok(channel) = this.trust.channel(&this.url, HTTP1_ALPN) else { return };
        let http = h1::Client::new(h.now(), &h.core().limits.client);
        let dial = WsDial { http, key: *request.key(), config: Rc::clone(&this.config) };
        let mut fields = this.fields.clone();
        request.put_fields(&mut fields);
        let head = RequestHead {
            method: "GET",
            target: &this.url.target,
            host: &this.url.host,
            fields: &fields,
            length: Length::None,
            upgrade: true,
            close: false,
        };
        let ends = (Stack::WsDial(Box::new(dial)), app);
        let id = h.dial(to, channel, ends, |stack, cx, tx| match stack {
            Stack::WsDial(dial) => {
                dial.http.request(cx, tx, &head)?;
                dial.http.finish(tx)
            }
            _ => Ok(()),
        });
        this.current.set(Some(id));
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
