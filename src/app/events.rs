//! Server-sent events: one stream to one client, or one topic to many with a history to resume
//! from. HTML, section 9.2.

use core::fmt::Write;
use core::time::Duration;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::peers::Peers;
use crate::Error;
use crate::proto::events::{Event, put_comment};
use crate::proto::stack::Shared;
use crate::runtime::fanout::Rule;
use crate::runtime::handler::http::{Answer, Cx, ExchangeId, Handler, Request, Response};
use crate::runtime::{Delivery, Gone, Handle, Reason, SendError, WhenFull};

const FIELDS: &[u8] = b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n";
/// What HTML, section 9.2.7 proposes against proxies that close idle connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const EVENTS: usize = 256;
const BYTES: usize = 64 << 10;

/// One client that listens to events. `Copy`; says Gone once it has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventStream(ExchangeId);

impl EventStream {
    /// Names the exchange.
    pub fn id(self) -> ExchangeId {
        self.0
    }

    /// Sends an event, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` for a name or id that holds a line end.
    pub fn send(self, h: &Handle, event: &Event<'_>) -> Result<(), SendError> {
        let mut lines = h.lend();
        let sent = match event.put(&mut lines) {
            Ok(()) => h.write(self.0, &lines),
            Err(e) => Err(e.into()),
        };
        h.give_back(lines);
        sent
    }

    /// Sends a comment, which clients ignore.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn comment(self, h: &Handle, text: &str) -> Result<(), SendError> {
        let mut lines = h.lend();
        put_comment(&mut lines, text);
        let sent = h.write(self.0, &lines);
        h.give_back(lines);
        sent
    }

    /// Ends the stream. The client comes back after a while, unless it is then answered with
    /// 204.
    ///
    /// # Errors
    ///
    /// It has left already.
    pub fn close(self, h: &Handle) -> Result<(), Gone> {
        h.finish(self.0).map_err(|_| Gone)
    }
}

/// For routes of events.
impl Request<'_> {
    /// Gives the id of the last event that a client heard before it came back.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("last-event-id").filter(|id| !id.is_empty())
    }
}

/// For routes of events.
impl Response<'_> {
    /// Answers with a stream of events, to be sent from here, timers, other handlers or host
    /// code. While nothing else is sent a comment goes out every `keep_alive`, so that what stands
    /// between does not take the connection for dead. A client that must not come back is answered
    /// with 204 instead.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lodger::http::{self, Event};
    ///
    /// let server = http::Server::new().get("/countdown", |req, res| {
    ///     let last = req.last_event_id().and_then(|id| id.parse().ok());
    ///     let (h, mut left) = (res.runtime().clone(), last.unwrap_or(10u32));
    ///     let (answer, stream) = res.events(Some(Duration::from_secs(15)));
    ///     h.every(Duration::from_secs(1), move |h| {
    ///         left = left.saturating_sub(1);
    ///         let text = left.to_string();
    ///         // A client that has gone, or does not read, misses it.
    ///         let _ = stream.send(h, &Event::new(&text).id(&text));
    ///     });
    ///     answer
    /// });
    /// # drop(server);
    /// ```
    pub fn events(self, keep_alive: Option<Duration>) -> (Answer, EventStream) {
        self.events_of(keep_alive, None)
    }

    fn events_of(
        mut self,
        keep_alive: Option<Duration>,
        topic: Option<Events>,
    ) -> (Answer, EventStream) {
        let stream = EventStream(self.id());
        if self.begin(FIELDS) {
            return (self.stream(Listener { keep_alive, topic }), stream);
        }
        (self.begun(), stream)
    }
}

/// The handler of one client's exchange.
struct Listener {
    keep_alive: Option<Duration>,
    topic: Option<Events>,
}

impl Listener {
    fn arm(&self, cx: &mut Cx<'_>) {
        if let Some(delay) = self.keep_alive {
            // It is Gone when the client is: nothing is to be kept alive.
            let _ = cx.timer(0, delay.max(Duration::from_millis(1)));
        }
    }
}

impl Handler for Listener {
    fn open(&mut self, cx: &mut Cx<'_>) {
        self.arm(cx);
    }

    fn timer(&mut self, cx: &mut Cx<'_>, _tag: u64) {
        if cx.runtime().queued(cx.id()) == 0 {
            // Gone: `closed` follows. It cannot be full.
            let _ = cx.write(b":\n\n");
        }
        self.arm(cx);
    }

    fn closed(&mut self, cx: &mut Cx<'_>, _why: Reason) {
        if let Some(topic) = &self.topic {
            topic.shared.borrow_mut().peers.set.remove(&cx.exchange());
        }
    }
}

/// A topic of events that many listen to, with a history: a client that comes back hears what it
/// missed.
///
/// An event is encoded once however many hear it, and goes out in the order of the calls. One
/// without an id gets one, so that clients can resume. Cheap to clone, for routes, timers and host
/// code alike; one value belongs to one runtime.
///
/// ```
/// use lodger::http::{self, Event};
///
/// let news = http::Events::new();
/// let topic = news.clone();
/// let server = http::Server::new()
///     .get("/news", move |req, res| topic.subscribe(req.last_event_id(), res));
/// # drop(server);
///
/// // From a timer, a handler or host code:
/// fn publish(news: &http::Events, h: &lodger::Handle, text: &str) {
///     let sent = news.send(h, &Event::new(text).name("headline"));
///     assert!(sent.is_ok(), "the name is one line");
/// }
/// # let _ = publish;
/// ```
#[derive(Clone, Debug)]
pub struct Events {
    shared: Rc<RefCell<Topic>>,
    rule: Rule,
    keep_alive: Option<Duration>,
    retry: Option<Duration>,
    events: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Topic {
    peers: Peers,
    /// What was sent last, oldest first. The lines of each begin with its id.
    history: VecDeque<Rc<Shared>>,
    /// Bytes in `history`.
    bytes: usize,
    /// Events that got an id of ours.
    count: u64,
    /// Tells the ids of this topic from those of an earlier run of the program.
    run: Option<u32>,
    /// The id being given, kept for its memory.
    id: String,
}

impl Events {
    /// Makes a topic nobody listens to: 256 events or 64 KiB of history, a comment every 15 s, and
    /// [`WhenFull::Close`], because who is closed comes back and resumes.
    pub fn new() -> Self {
        Self {
            shared: Rc::default(),
            rule: Rule { when: WhenFull::Close(1008), above: None, except: None },
            keep_alive: Some(KEEP_ALIVE),
            retry: None,
            events: EVENTS,
            bytes: BYTES,
        }
    }

    /// Sets what becomes of a client that does not read as fast as events come. To be set before
    /// the topic is cloned, like all that follows.
    #[must_use]
    pub fn when_full(mut self, when: WhenFull) -> Self {
        self.rule.when = when;
        self
    }

    /// Sets how much is kept for those who come back: so many events, and so many bytes of them.
    /// 0 keeps nothing, and gives no ids. A client that resumes may be sent all of it at once.
    #[must_use]
    pub fn history(mut self, events: usize, bytes: usize) -> Self {
        self.events = events;
        self.bytes = bytes;
        self
    }

    /// Sets how often a comment is sent while nothing else is; `None` for never.
    #[must_use]
    pub fn keep_alive(mut self, every: Option<Duration>) -> Self {
        self.keep_alive = every;
        self
    }

    /// Sets how long clients wait before they come back, in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// Answers with the events of this topic: those kept that came after the one with the id
    /// `last`, then all that follow. An id that is not known any more gives all that is kept;
    /// `None`, a client that comes for the first time, gives nothing of it.
    pub fn subscribe(&self, last: Option<&str>, response: Response<'_>) -> Answer {
        let h = response.runtime();
        let (answer, stream) = response.events_of(self.keep_alive, Some(self.clone()));
        if !h.is_streaming_to(stream.0) {
            return answer;
        }
        if let Some(after) = self.retry {
            // The client has just come: there is room, and no name to refuse.
            let _ = stream.send(h, &Event::retry_only(after));
        }
        let mut topic = self.shared.borrow_mut();
        if let Some(last) = last {
            for event in topic.after(last) {
                h.hand(stream.0, &event.parcel());
            }
        }
        topic.peers.add(h, stream.0);
        answer
    }

    /// Tells whether a client that heard the event `id` last misses nothing when it resumes.
    pub fn knows(&self, id: &str) -> bool {
        self.shared.borrow().place_of(id).is_some()
    }

    /// Gives how many listen, with those that have gone since the last event.
    pub fn len(&self) -> usize {
        self.shared.borrow().peers.set.len()
    }

    /// Tells whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends an event to all who listen, and keeps it for those who come back.
    ///
    /// # Errors
    ///
    /// Misuse: a name or id holds a line end, or it is over
    /// [`IoLimits::send`](crate::IoLimits::send). Nobody heard it.
    pub fn send(&self, h: &Handle, event: &Event<'_>) -> Result<Delivery, Error> {
        let mut topic = self.shared.borrow_mut();
        let mut lines = h.lend();
        let put = topic.put(h, event, self.events > 0, &mut lines);
        let done = put
            .and_then(|()| h.check_size(lines.len()))
            .map(|()| self.publish(h, &mut topic, &lines));
        h.give_back(lines);
        done
    }

    fn publish(&self, h: &Handle, topic: &mut Topic, lines: &[u8]) -> Delivery {
        if self.events == 0 {
            let encoded = Shared::piece(h.lend(), lines);
            let kept = || Rc::new(Shared::piece(Vec::new(), lines));
            let set = &mut topic.peers.set;
            let done = h.fan_out(set, encoded.parcel(), self.rule, &kept);
            h.give_back(encoded.into_memory());
            return done;
        }
        let event = topic.keep(lines, self.events, self.bytes);
        h.fan_out(&mut topic.peers.set, event.parcel(), self.rule, &|| Rc::clone(&event))
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Topic {
    /// Writes the lines of an event, with an id of ours if it has none and is to be kept.
    fn put(
        &mut self,
        h: &Handle,
        event: &Event<'_>,
        kept: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if event.given_id().is_some() || !kept {
            return event.put(out);
        }
        let run = *self.run.get_or_insert_with(|| h.random());
        let count = self.count + 1;
        self.id.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.id, "{run:08x}-{count}");
        event.id(&self.id).put(out)?;
        self.count = count;
        Ok(())
    }

    /// Adds an event to the history. The memory of the one that leaves it is used again.
    fn keep(&mut self, lines: &[u8], events: usize, bytes: usize) -> Rc<Shared> {
        let mut spare = None;
        while self.history.len() >= events
            || !self.history.is_empty() && self.bytes + lines.len() > bytes
        {
            let Some(oldest) = self.history.pop_front() else { break };
            self.bytes -= oldest.parcel().payload.len();
            spare = Some(oldest);
        }
        let mut event = spare.unwrap_or_else(|| Rc::new(Shared::piece(Vec::new(), &[])));
        match Rc::get_mut(&mut event) {
            Some(shared) => shared.set_piece(lines),
            // It still waits for somebody.
            None => event = Rc::new(Shared::piece(Vec::new(), lines)),
        }
        if lines.len() <= bytes {
            self.bytes += lines.len();
            self.history.push_back(Rc::clone(&event));
        }
        event
    }

    /// Gives what came after the event `last`; all if that is not known.
    fn after(&self, last: &str) -> impl Iterator<Item = &Rc<Shared>> {
        self.history.iter().skip(self.place_of(last).map_or(0, |place| place + 1))
    }

    /// Gives where in the history the latest event with this id is.
    fn place_of(&self, id: &str) -> Option<usize> {
        self.history.iter().rposition(|event| id_of(event.parcel().payload) == Some(id.as_bytes()))
    }
}

/// Reads the id in the lines of an event.
fn id_of(lines: &[u8]) -> Option<&[u8]> {
    lines.strip_prefix(b"id: ")?.split(|&b| b == b'\n').next()
}
