//! A client of server-sent events: opens the stream, and opens it again by policy. HTML, section
//! 9.2.

use core::time::Duration;
use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::string::{String, ToString};
use std::vec::Vec;

use lodger_backend::Micros;

use super::client::{Ask, Client};
use crate::Error;
use crate::error::Wire;
use crate::policy::Retry;
use crate::proto::events::{Reader, Received};
use crate::proto::h1::{self, ResponseHead};
use crate::runtime::handler::client::{Cx, Failure, Fetch, Timing};
use crate::runtime::{ConnId, Handle, Reason, Stream, StreamInfo, TimerId};

/// What a server may be silent for, unless something else is said: proxies are fed by comments
/// every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// What hears one stream of events, through all its connections. Every method runs in a turn, with
/// nothing of the runtime borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait EventHandler: 'static {
    /// The server has begun to send, for the first time or again.
    fn open(&mut self, h: &Handle) {}

    /// An event arrived.
    fn event(&mut self, h: &Handle, event: &Received<'_>);

    /// The connection ended, or none came about; the next attempt is in `wait`.
    fn lost(&mut self, h: &Handle, why: Reason, wait: Duration) {}

    /// It is over: exactly once, the last call. `Done` if the server says that there is no more
    /// (204), `Aborted` after [`Subscription::close`].
    fn closed(&mut self, h: &Handle, why: Reason) {}
}

/// Prepares a stream of server-sent events. Nothing happens before [`open`](Self::open).
///
/// When the stream ends it is opened again, and the server is told the id of the last event
/// (`Last-Event-ID`). The wait is the policy's, or longer if the server asks for it (`retry:`, or
/// `Retry-After`). Answers of 429 and from 500 on are tried again as well; any other answer but a
/// stream is final. An event longer than [`ClientLimits::event`](crate::ClientLimits::event) is
/// final too: it would come again.
///
/// ```no_run
/// use lodger::http::{Client, EventHandler, EventSource, Received};
///
/// struct Print;
///
/// impl EventHandler for Print {
///     fn event(&mut self, _h: &lodger::Handle, event: &Received<'_>) {
///         println!("{}: {}", event.name, event.data);
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = lodger::Runtime::standalone()?;
/// let client = Client::new(&rt);
/// let news = EventSource::new(&client, "http://127.0.0.1:7681/news").open(Print)?;
/// rt.after(std::time::Duration::from_secs(60), move |_| news.close());
/// rt.run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is opened before `open`"]
#[derive(Debug)]
pub struct EventSource {
    client: Client,
    url: String,
    fields: Vec<(String, String)>,
    retry: Retry,
    silence: Duration,
    last_id: String,
}

impl EventSource {
    /// Prepares the stream of `url`, for which [`Client::get`] takes the same.
    pub fn new(client: &Client, url: &str) -> Self {
        Self {
            client: client.clone(),
            url: url.to_string(),
            fields: Vec::new(),
            retry: Retry::default(),
            silence: SILENCE,
            last_id: String::new(),
        }
    }

    /// Adds a field to each request. One that may not be makes `open` fail.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_string(), value.to_string()));
        self
    }

    /// Sets when it is opened again. A connection on which an event came has not failed. Without,
    /// [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets after how much silence, comments included, the connection counts as lost. Default 60 s.
    pub fn silence(mut self, time: Duration) -> Self {
        self.silence = time;
        self
    }

    /// Begins behind the event with this id.
    pub fn last_event_id(mut self, id: &str) -> Self {
        self.last_id = id.to_string();
        self
    }

    /// Opens the stream.
    ///
    /// # Errors
    ///
    /// Misuse: the URL or a field is not one. Nothing was opened, and `handler` hears nothing.
    pub fn open(self, handler: impl EventHandler) -> Result<Subscription, Error> {
        let shared = Rc::new(Shared {
            h: self.client.handle().clone(),
            last_id: RefCell::new(self.last_id.clone()),
            source: self,
            current: Rc::default(),
            up: Cell::new(false),
            waiting: Cell::new(None),
            failures: Cell::new(0),
            stopped: Cell::new(false),
        });
        Shared::connect(&shared, Box::new(handler))?;
        let listed: Weak<dyn Stream> = Rc::<Shared>::downgrade(&shared);
        shared.h.enlist(listed);
        Ok(Subscription(shared))
    }
}

/// Reaches a stream of events that may come and go. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Subscription(Rc<Shared>);

impl core::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Subscription").field(&self.0.current.get()).finish()
    }
}

impl Subscription {
    /// Names the connection of the attempt under way, to pause it for one; `None` between attempts.
    pub fn id(&self) -> Option<ConnId> {
        self.0.current.get()
    }

    /// Gives the id of the last event; the empty one if there was none.
    pub fn last_event_id(&self) -> String {
        self.0.last_id.borrow().clone()
    }

    /// Ends the stream. The handler hears `closed` from a turn.
    pub fn close(&self) {
        self.0.stopped.set(true);
        if let Some((timer, _)) = self.0.waiting.get() {
            // It finds that it is over.
            self.0.h.rearm(timer, Duration::ZERO);
        }
        if let Some(id) = self.id() {
            self.0.h.abort(id);
        }
    }
}

struct Shared {
    h: Handle,
    source: EventSource,
    last_id: RefCell<String>,
    /// The connection of the attempt under way.
    current: Rc<Cell<Option<ConnId>>>,
    /// The server has begun to send.
    up: Cell<bool>,
    /// Until the next attempt, and how long that is in all.
    waiting: Cell<Option<(TimerId, Duration)>>,
    failures: Cell<u32>,
    stopped: Cell<bool>,
}

impl Shared {
    fn connect(this: &Rc<Self>, handler: Box<dyn EventHandler>) -> Result<(), Error> {
        let most = this.h.core().limits.client.event;
        let reader = Reader::new(most, &this.last_id.borrow());
        let shared = Rc::clone(this);
        this.ask().send(Listening {
            shared,
            handler: Some(handler),
            reader,
            opened: None,
            heard: false,
            asked: None,
            verdict: None,
        })
    }

    fn ask(&self) -> Ask {
        let source = &self.source;
        let mut ask = source.client.get(&source.url).body_time(source.silence);
        ask = ask.seat(Rc::clone(&self.current));
        for (name, value) in &source.fields {
            ask = ask.header(name, value);
        }
        ask = ask.header("Accept", "text/event-stream").header("Cache-Control", "no-store");
        let id = self.last_id.borrow();
        // One that no field can carry was not meant to come back.
        let carried = h1::put_field(&mut Vec::new(), "Last-Event-ID", &id).is_ok();
        if id.is_empty() || !carried { ask } else { ask.header("Last-Event-ID", &id) }
    }
}

impl Stream for Shared {
    fn info(&self) -> Option<StreamInfo> {
        let (conn, waiting) = (self.current.get(), self.waiting.get());
        let state = match waiting {
            Some(_) => "waiting",
            None if self.up.get() => "open",
            None if self.stopped.get() => return None,
            None => "connecting",
        };
        Some(StreamInfo {
            url: self.source.url.clone(),
            state,
            conn,
            failures: self.failures.get(),
            retry_in: waiting.and_then(|(timer, _)| self.h.due_in(timer)),
            delay: waiting.map(|(_, delay)| delay),
        })
    }
}

/// One connection of the stream, or an attempt at one.
struct Listening {
    shared: Rc<Shared>,
    handler: Option<Box<dyn EventHandler>>,
    reader: Reader,
    opened: Option<Micros>,
    /// An event came.
    heard: bool,
    /// How long the server asks to wait (Retry-After).
    asked: Option<Duration>,
    verdict: Option<Verdict>,
}

/// Why we ended the connection.
#[derive(Clone, Copy)]
enum Verdict {
    Again(Reason),
    Final(Reason),
}

impl Listening {
    /// What an answer means: HTML, section 9.2.3.
    fn judge(head: &ResponseHead<'_>) -> Option<Verdict> {
        let kind = head.fields.get_str("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        match head.status {
            200 if kind.eq_ignore_ascii_case("text/event-stream") => None,
            200 => Some(Verdict::Final(Reason::Peer(NO_EVENTS))),
            204 => Some(Verdict::Final(Reason::Done)),
            status @ (429 | 500..) => Some(Verdict::Again(Reason::Refused { status })),
            status => Some(Verdict::Final(Reason::Refused { status })),
        }
    }

    /// Gives the wait before the next attempt; `None` if it is over.
    fn wait(&self, h: &Handle) -> Option<Duration> {
        let shared = &self.shared;
        let is_final = matches!(self.verdict, Some(Verdict::Final(_)));
        if shared.stopped.get() || h.is_dead() || is_final {
            return None;
        }
        let retry = &shared.source.retry;
        let up = self.opened.map(|at| h.now() - at);
        let failures = if self.heard { 1 } else { retry.failures_after(shared.failures.get(), up) };
        shared.failures.set(failures);
        retry.delay(failures, h.random(), self.asked.max(self.reader.retry()))
    }

    fn why(&self, outcome: Result<Timing, Failure>) -> Reason {
        match (self.verdict, outcome) {
            _ if self.shared.stopped.get() => Reason::Aborted,
            (Some(Verdict::Again(why) | Verdict::Final(why)), _) => why,
            (None, Ok(_)) => Reason::Eof,
            (None, Err(failure)) => failure.why,
        }
    }
}

const NO_EVENTS: Error = Error::peer(Wire::None, "HTML, 9.2.3: the type is text/event-stream");

impl Fetch for Listening {
    fn head(&mut self, cx: &mut Cx<'_>, head: &ResponseHead<'_>) {
        if head.status < 200 {
            return;
        }
        self.verdict = Self::judge(head);
        if self.verdict.is_some() || self.shared.stopped.get() {
            let unix = cx.runtime().unix_time();
            self.asked = head.retry_after().map(|asked| asked.wait(unix));
            cx.abort();
            return;
        }
        self.opened = Some(cx.runtime().now());
        self.shared.up.set(true);
        if let Some(handler) = &mut self.handler {
            handler.open(cx.runtime());
        }
    }

    fn body(&mut self, cx: &mut Cx<'_>, mut chunk: &[u8]) {
        let Some(handler) = &mut self.handler else { return };
        while !self.shared.stopped.get() && self.verdict.is_none() {
            match self.reader.poll(&mut chunk) {
                Ok(Some(event)) => {
                    self.heard = true;
                    event.id.clone_into(&mut self.shared.last_id.borrow_mut());
                    handler.event(cx.runtime(), &event);
                }
                Ok(None) => break,
                Err(e) => {
                    self.verdict = Some(Verdict::Final(Reason::Peer(e)));
                    cx.abort();
                }
            }
        }
        self.reader.last_id().clone_into(&mut self.shared.last_id.borrow_mut());
    }

    fn closed(&mut self, h: &Handle, outcome: Result<Timing, Failure>) {
        self.shared.current.set(None);
        self.shared.up.set(false);
        let Some(mut handler) = self.handler.take() else { return };
        let why = self.why(outcome);
        let Some(delay) = self.wait(h) else {
            self.shared.stopped.set(true);
            return handler.closed(h, why);
        };
        handler.lost(h, why, delay);
        // It may have been closed meanwhile.
        let delay = if self.shared.stopped.get() { Duration::ZERO } else { delay };
        let parked = Parked { shared: Rc::clone(&self.shared), handler: Some(handler) };
        let timer = h.after(delay, move |_| parked.go());
        self.shared.waiting.set(Some((timer, delay)));
    }
}

/// The handler between two attempts.
struct Parked {
    shared: Rc<Shared>,
    handler: Option<Box<dyn EventHandler>>,
}

impl Parked {
    fn go(mut self) {
        self.shared.waiting.set(None);
        let Some(mut handler) = self.handler.take() else { return };
        if self.shared.stopped.get() {
            return handler.closed(&self.shared.h, Reason::Aborted);
        }
        // What it is made of was taken by the first attempt.
        let _ = Shared::connect(&self.shared, handler);
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        // The runtime has ended before the wait has.
        if let Some(mut handler) = self.handler.take() {
            self.shared.stopped.set(true);
            self.shared.waiting.set(None);
            handler.closed(&self.shared.h, Reason::Shutdown);
        }
    }
}
