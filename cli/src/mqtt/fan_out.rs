//! `lodger mqtt fan-out`: WebSockets hear what a broker publishes, which has one client more for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use lodger::mqtt::{Client, ClientEvent, Connection, Publish, Qos, Subscription};
use lodger::policy::Retry;
use lodger::{Addr, Handle, Reason, Runtime, Serve, WhenFull, http, ws};

use crate::report::{self, Problem};
use crate::{args, serve, signal};

pub(crate) const NOTES: &str = "\
A WebSocket at ws://HOST/TOPIC hears the payloads of TOPIC, the latest first if one came before. The
broker is asked once for each topic that somebody hears, however many they are; one process of these
stands beside another. Pages of the same host alone are let in. A message that is UTF-8 is a text, any
other binary. Who is slow misses the oldest.";

/// Topics that are heard at once; the next WebSocket for another one is refused with 503.
const TOPICS: usize = 10_000;
/// Messages that wait for one that is slow.
const WAITING: u32 = 100;

/// From where to where.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    server: super::client::Server,

    /// Where to listen for WebSockets: IP:PORT or unix:PATH; repeatable; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = Addr::parse)]
    listen: Vec<Addr>,

    /// How long a goodbye may take
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = args::seconds)]
    grace: Duration,
}

/// Who hears one topic.
struct Topic {
    room: ws::Broadcast,
    /// The latest message, for whoever comes later.
    latest: Rc<RefCell<Option<Vec<u8>>>>,
    /// WebSockets that are open.
    peers: usize,
    _sub: Subscription,
}

/// All topics that somebody hears.
struct Hub {
    broker: Connection,
    qos: Qos,
    topics: RefCell<BTreeMap<String, Topic>>,
}

impl Hub {
    /// Lets a WebSocket hear a topic. `None`: the topic is none.
    fn join(&self, cx: &mut ws::Cx<'_>, name: &str) -> Option<()> {
        let mut topics = self.topics.borrow_mut();
        if !topics.contains_key(name) {
            topics.insert(name.to_owned(), self.begin(name)?);
        }
        let topic = topics.get_mut(name)?;
        topic.peers += 1;
        if let Some(latest) = &*topic.latest.borrow() {
            // Its output is empty, so it is not full; one that has gone hears nothing.
            let _ = cx.send(message(latest));
        }
        let (h, id) = (cx.runtime().clone(), cx.id());
        // It is open: it has just said so.
        let _ = topic.room.join(&h, id);
        Some(())
    }

    fn begin(&self, name: &str) -> Option<Topic> {
        let room = ws::Broadcast::new(WhenFull::DropOldest { messages: WAITING });
        let latest: Rc<RefCell<Option<Vec<u8>>>> = Rc::default();
        let (to, keep) = (room.clone(), Rc::clone(&latest));
        let sub =
            self.broker.subscribe(name, self.qos, move |h: &Handle, published: &Publish<'_>| {
                *keep.borrow_mut() = Some(published.payload.to_vec());
                // One that is too long to go out is heard by nobody.
                let _ = to.send(h, message(published.payload));
            });
        Some(Topic { room, latest, peers: 0, _sub: sub.ok()? })
    }

    /// One has gone. With the last of them the broker is not asked any more.
    fn leave(&self, name: &str) {
        let mut topics = self.topics.borrow_mut();
        let Some(topic) = topics.get_mut(name) else { return };
        topic.peers -= 1;
        let last = if topic.peers == 0 { topics.remove(name) } else { None };
        drop(topics);
        drop(last);
    }
}

fn message(payload: &[u8]) -> ws::Message<'_> {
    std::str::from_utf8(payload).map_or(ws::Message::Binary(payload), ws::Message::Text)
}

/// One WebSocket.
struct Peer {
    hub: Rc<Hub>,
    topic: String,
    joined: bool,
}

impl ws::Handler for Peer {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        let hub = Rc::clone(&self.hub);
        self.joined = hub.join(cx, &self.topic).is_some();
        if !self.joined {
            cx.close(1008);
        }
    }

    /// It hears; what it says is not published.
    fn message(&mut self, _cx: &mut ws::Cx<'_>, _message: ws::Message<'_>) {}

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, _why: Reason) {
        if self.joined {
            self.hub.leave(&self.topic);
        }
    }
}

/// Serves until a signal says goodbye.
///
/// # Errors
///
/// A listener or the loop could not be made, or the broker refuses.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    serve::raise_file_limit();
    let rt = Runtime::standalone().map_err(|e| serve::refused("start", &e))?;
    signal::goodbye(&rt, options.grace).map_err(|e| serve::refused("hear signals", &e))?;
    let refused: Rc<RefCell<Option<Problem>>> = Rc::default();
    let told = Rc::clone(&refused);
    let client: Client = options.server.client()?.retry(Retry::default());
    let client = client.on_event(move |h, event| match event {
        ClientEvent::Refused(code) => {
            *told.borrow_mut() = Some(Problem::new(format!("the broker refuses: {code}")));
            h.shutdown(Duration::from_secs(1));
        }
        ClientEvent::Disconnected { why, retry_in: Some(wait), .. } => {
            report::say(format_args!("no broker: {why}; again in {} ms", wait.as_millis()));
        }
        _ => {}
    });
    let broker = client.connect(&rt).map_err(|e| Problem::usage(e.rule().to_owned()))?;
    let qos = options.server.qos();
    let hub = Rc::new(Hub { broker, qos, topics: RefCell::default() });
    let service = http::Server::new().ws("/{*topic}", move |request| peer(&hub, request));
    let service = service.into_service();
    for addr in &options.listen {
        let listener = serve::listen(&rt, addr, &service)?;
        super::broker::announce(&rt, listener, "ws", "/TOPIC");
    }
    rt.run().map_err(|e| serve::refused("go on", &e))?;
    let problem = refused.borrow_mut().take();
    problem.map_or(Ok(()), Err)
}

fn peer(hub: &Rc<Hub>, request: &http::Request<'_>) -> Result<Peer, ws::Refuse> {
    let topic = request.param_decoded("topic").unwrap_or_default();
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(ws::Refuse(404));
    }
    let topics = hub.topics.borrow();
    if topics.len() >= TOPICS && !topics.contains_key(&*topic) {
        return Err(ws::Refuse(503));
    }
    Ok(Peer { hub: Rc::clone(hub), topic: topic.into_owned(), joined: false })
}
