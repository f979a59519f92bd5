//! The clients of the chaos test: every protocol has both its ends in one runtime. Whatever
//! happens to a client, it hears its end exactly once, and what is whole is what was asked for.

use std::rc::Rc;

use lodger::http::{Event, Failure, Fetch, FetchCx, ResponseHead, Timing, Whole};
use lodger::{Addr, ConnId, Handle, Reason, SendError, http, raw, ws};

use lodger::sim::{Datagrams, World};
use lodger_backend::SystemText;

use super::{Chaos, Tracked, peers};
use crate::names;

/// How many may be under way, so that they leave room for the scripted peers.
const MOST: u64 = 6;
/// Messages and events of a conversation.
const TURNS: usize = 4;
/// What the world has to serve from files.
pub(super) const FILES: [(&str, usize); 2] = [("www/small", 700), ("www/large", 90_000)];

/// Gives the content of a file of this length.
pub(super) fn file(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + u8::try_from(i % 23).unwrap()).collect()
}

/// Sends the events of a stream, and ends it.
pub(super) fn events(_: &http::Request<'_>, res: http::Response<'_>) -> http::Answer {
    let h = res.runtime().clone();
    let (answer, stream) = res.events(None);
    for n in 0..TURNS {
        // Gone or full when the client is: then there is nothing to end either.
        let _ = stream.send(&h, &Event::new(&n.to_string()));
    }
    let _ = stream.close(&h);
    answer
}

/// The wire form of those.
fn event_text() -> Vec<u8> {
    (0..TURNS).flat_map(|n| format!("data: {n}\n\n").into_bytes()).collect()
}

/// Makes the clients that requests are made by.
pub(super) fn all(h: &Handle) -> Vec<http::Client> {
    vec![
        http::Client::new(h),
        #[cfg(feature = "h2")]
        http::Client::new(h).http2(),
    ]
}

/// Begins one client of some kind.
pub(super) fn begin(chaos: &Rc<Chaos>) {
    if chaos.under_way.get() >= MOST {
        return;
    }
    match chaos.below(8) {
        0 => websocket(chaos),
        1 => stream(chaos),
        2 => streamed(chaos, "/events", event_text()),
        3 => {
            let (name, len) = FILES[chaos.below(2)];
            streamed(chaos, &name.replace("www", "/files"), file(len));
        }
        4 => nobody(chaos),
        kind => request(chaos, kind),
    }
}

/// Asks for something whole.
fn request(chaos: &Rc<Chaos>, kind: usize) {
    let n = chaos.below(100);
    let client = chaos.client();
    let body = peers::long(n);
    let host = ["127.0.0.1", "one.test", "many.test", "none.test"][chaos.below(4)];
    let (ask, expected) = match kind {
        5 => (client.get(&format!("http://{host}/text/{n}")), format!("text {n}").into_bytes()),
        6 => (client.post(&format!("http://{host}/read/{n}"), &body), body),
        _ => (client.post(&format!("http://{host}/echo/{n}"), &body), body),
    };
    let mut tracked = Tracked::new(chaos, "a request");
    ask.whole(1 << 20, move |result| tracked.answered(result, &expected));
}

/// Makes the name server of the world.
pub(super) fn name_server(world: &World) -> Datagrams {
    world.set_system_text(SystemText::Resolver, "nameserver 10.0.0.53\noptions timeout:1");
    world.swallow("[2001:db8::1]:80".parse().unwrap());
    world.datagrams("10.0.0.53:53".parse().unwrap())
}

/// Has it answer what it was asked.
pub(super) fn answer_names(chaos: &Chaos) {
    let known = names::knows(&[
        ("one.test", &["127.0.0.1"]),
        ("many.test", &["2001:db8::1", "2001:db8::2", "192.0.2.1", "127.0.0.1"]),
    ]);
    let names = chaos.names.borrow();
    while let Some((from, query)) = names.as_ref().and_then(Datagrams::recv) {
        names.iter().for_each(|server| server.send(from, &names::answer(&query, &known)));
    }
}

/// Connects to where nobody listens.
fn nobody(chaos: &Rc<Chaos>) {
    let mut tracked = Tracked::new(chaos, "a request to nobody");
    let refused = move |result: Result<Whole, Failure>| {
        if result.is_ok() {
            tracked.chaos.wrong("nobody has answered".into());
        }
        tracked.answered(result, b"");
    };
    chaos.client().get("http://127.0.0.1:9/").whole(1 << 10, refused);
}

impl Tracked {
    /// The end of a client, whose handler hears no connection's `closed`.
    fn over(&mut self) {
        self.closed.set(self.closed.get() + 1);
        self.chaos.act_or_panic();
    }

    fn answered(&mut self, result: Result<Whole, Failure>, expected: &[u8]) {
        match result {
            // 500: the route panicked or was dropped.
            Ok(whole) if whole.status == 500 => {}
            Ok(whole) if whole.status == 408 && self.chaos.was_suspended() => {}
            Ok(whole) if whole.status == 200 && whole.body == expected => {
                self.chaos.count("whole response");
            }
            Ok(whole) => self.chaos.wrong(format!("{}: {} {whole:?}", self.what, whole.status)),
            Err(failure) => self.chaos.count(match failure.stage {
                http::Stage::Name => "failed by name",
                http::Stage::Connect => "failed to connect",
                _ => "failed later",
            }),
        }
        self.over();
    }
}

/// Reads a response piece by piece, and now and then gives it up.
struct Reader {
    tracked: Tracked,
    status: u16,
    body: Vec<u8>,
    expected: Vec<u8>,
}

fn streamed(chaos: &Rc<Chaos>, path: &str, expected: Vec<u8>) {
    let tracked = Tracked::new(chaos, "a reader");
    let reader = Reader { tracked, status: 0, body: Vec::new(), expected };
    chaos.client().get(&format!("http://127.0.0.1{path}")).send(reader).unwrap();
}

impl Fetch for Reader {
    fn head(&mut self, cx: &mut FetchCx<'_>, head: &ResponseHead<'_>) {
        self.tracked.alive();
        self.status = head.status;
        self.tracked.chaos.conns.borrow_mut().push(cx.id());
        self.tracked.chaos.act_or_panic();
    }

    fn body(&mut self, cx: &mut FetchCx<'_>, chunk: &[u8]) {
        self.tracked.alive();
        self.body.extend_from_slice(chunk);
        if self.status == 200 && !self.expected.starts_with(&self.body) {
            self.tracked.chaos.wrong("a response is not what was served".into());
        }
        if self.tracked.chaos.below(30) == 0 {
            cx.abort();
        }
        self.tracked.chaos.act_or_panic();
    }

    fn closed(&mut self, _: &Handle, outcome: Result<Timing, Failure>) {
        // An event stream takes what there is room for, and no more.
        let cut = self.expected.starts_with(b"data: ") && self.expected.starts_with(&self.body);
        if outcome.is_ok() && self.status == 200 && self.body != self.expected && !cut {
            self.tracked.chaos.wrong(format!("{} bytes are a whole file", self.body.len()));
        }
        if outcome.is_ok() {
            self.tracked.chaos.count("whole stream");
        }
        self.tracked.over();
    }
}

/// Talks to an echo over a WebSocket, compressed where both agree.
struct Talker {
    tracked: Tracked,
    sent: Vec<Vec<u8>>,
    heard: usize,
}

fn websocket(chaos: &Rc<Chaos>) {
    let config = config(chaos.below(2) == 0);
    let talker = Talker { tracked: Tracked::new(chaos, "a talker"), sent: Vec::new(), heard: 0 };
    let client = ws::Client::new("ws://127.0.0.1/pair").config(config);
    // Its handler acts by itself: nothing is kept here.
    drop(client.connect(&chaos.rt, talker).unwrap());
}

/// With what both ends talk.
pub(super) fn config(compressed: bool) -> ws::Config {
    let config = ws::Config::default();
    #[cfg(feature = "deflate")]
    if compressed {
        return config.deflate(ws::Deflate::default());
    }
    let _ = compressed;
    config
}

impl Talker {
    fn say(&mut self, cx: &mut ws::Cx<'_>) {
        let n = self.sent.len();
        let text = format!("{n} {}", String::from_utf8(peers::long(n * 10 + 3)).unwrap());
        match cx.send(ws::Message::Text(&text)) {
            Ok(()) => self.sent.push(text.into_bytes()),
            Err(SendError::Full { .. }) => cx.want_write(),
            Err(_) => {}
        }
    }
}

impl ws::Handler for Talker {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        self.tracked.chaos.conns.borrow_mut().push(cx.id());
        self.say(cx);
        self.tracked.chaos.act_or_panic();
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        self.tracked.alive();
        if self.sent.get(self.heard).map(|sent| &**sent) != Some(message.bytes()) {
            self.tracked.chaos.wrong(format!("the echo of message {} is broken", self.heard));
        }
        self.heard += 1;
        self.tracked.chaos.act_or_panic();
        if self.heard < TURNS {
            self.say(cx);
        } else {
            self.tracked.chaos.count("whole talk");
            cx.close(1000);
        }
    }

    fn writable(&mut self, cx: &mut ws::Cx<'_>, _: usize) {
        self.tracked.alive();
        self.say(cx);
    }

    fn closed(&mut self, cx: &mut ws::Cx<'_>, _: Reason) {
        self.tracked.closed(cx.id(), cx.runtime());
    }
}

/// The other end of a [`Talker`].
pub(super) struct PairEcho(pub(super) Tracked);

impl ws::Handler for PairEcho {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        self.0.alive();
        let before = message.bytes().to_vec();
        self.0.chaos.act_or_panic();
        if message.bytes() != before {
            self.0.chaos.wrong("a payload changed while it was held".into());
        }
        // Whose echo finds no room is closed by the one who waits for it.
        let _ = cx.send(message);
    }

    fn closed(&mut self, cx: &mut ws::Cx<'_>, _: Reason) {
        self.0.closed(cx.id(), cx.runtime());
    }
}

/// Sends bytes to an echo and counts them back.
struct Pipe {
    tracked: Tracked,
    back: usize,
}

const PIPED: usize = 5_000;

fn stream(chaos: &Rc<Chaos>) {
    let pipe = Pipe { tracked: Tracked::new(chaos, "a pipe"), back: 0 };
    let id: ConnId = chaos.rt.connect(&Addr::parse("127.0.0.1:81").unwrap(), pipe);
    chaos.conns.borrow_mut().push(id);
}

impl raw::Handler for Pipe {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        let _ = cx.send(&file(PIPED));
        self.tracked.chaos.act_or_panic();
    }

    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        self.tracked.alive();
        if file(PIPED).get(self.back..self.back + bytes.len()) != Some(bytes) {
            self.tracked.chaos.wrong(format!("a pipe is broken at {}", self.back));
        }
        self.back += bytes.len();
        self.tracked.chaos.act_or_panic();
        if self.back == PIPED {
            self.tracked.chaos.count("whole pipe");
            cx.close();
        }
    }

    fn closed(&mut self, cx: &mut raw::Cx<'_>, _: Reason) {
        self.tracked.closed(cx.id(), cx.runtime());
    }
}
