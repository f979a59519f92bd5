//! Clients against our own server, and against servers that misbehave, in one world.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use lodger::http::{Client, Failure, Stage, Whole};
use lodger::policy::Retry;
use lodger::{Limits, Reason, http, raw, ws};
use lodger_backend::Trigger;

use crate::kit::{Rig, TRIGGERS, ms, secs};

type Results = Rc<RefCell<Vec<Result<Whole, Failure>>>>;

fn results() -> Results {
    Rc::default()
}

fn into(results: &Results) -> impl FnOnce(Result<Whole, Failure>) + 'static {
    let results = Rc::clone(results);
    move |result| results.borrow_mut().push(result)
}

/// Gets `url`, lets `time` pass, and gives what came.
fn get(rig: &Rig, client: &Client, url: &str, time: Duration) -> Result<Whole, Failure> {
    let got = results();
    client.get(url).whole(1 << 20, into(&got));
    rig.run_for(time);
    let mut got = got.borrow_mut();
    assert_eq!(got.len(), 1, "told exactly once");
    got.pop().unwrap()
}

/// Says `answer` to whoever asks, whatever is asked.
struct Says(&'static str, bool);

impl raw::Handler for Says {
    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.send(self.0.as_bytes()).unwrap();
        if self.1 {
            cx.close();
        }
    }
}

fn misbehaving(answer: &'static str, closes: bool) -> (Rig, Client) {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(raw::Server::new(move |_| Some(Says(answer, closes))));
    let client = Client::new(&rig.rt);
    (rig, client)
}

#[test]
fn a_connection_carries_one_request_after_the_other() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new().get("/{n}", |req, res| {
            res.header("x-n", req.param("n").unwrap()).text(req.param("n").unwrap())
        }));
        let client = Client::new(&rig.rt);

        for n in ["a", "b", "c"] {
            let whole = get(&rig, &client, &format!("http://127.0.0.1/{n}"), ms(50)).unwrap();
            assert_eq!((whole.status, &whole.body[..]), (200, n.as_bytes()), "{trigger:?}");
            assert_eq!(whole.header("X-N"), Some(n));
        }

        assert_eq!(rig.rt.stats().accepted, 1, "{trigger:?}");
        rig.end();
    }
}

#[test]
fn bodies_go_both_ways() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().post("/echo", |_, res| {
        res.read_body(|body, res| res.bytes("application/octet-stream", body))
    }));
    let client = Client::new(&rig.rt);
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let got = results();

    client.post("http://127.0.0.1/echo", &body).whole(1 << 20, into(&got));
    rig.run_for(secs(2));

    assert_eq!(got.borrow_mut().pop().unwrap().unwrap().body, body);
    rig.end();
}

/// Writes a body when it is told that there is room.
struct Writes(Rc<Cell<bool>>, Vec<u8>);

impl http::Fetch for Writes {
    fn head(&mut self, _cx: &mut http::FetchCx<'_>, _head: &http::ResponseHead<'_>) {}

    fn writable(&mut self, cx: &mut http::FetchCx<'_>, _room: usize) {
        cx.write(b"a body").unwrap();
        cx.finish().unwrap();
    }

    fn body(&mut self, _cx: &mut http::FetchCx<'_>, chunk: &[u8]) {
        self.1.extend_from_slice(chunk);
    }

    fn closed(&mut self, _h: &lodger::Handle, outcome: Result<http::Timing, Failure>) {
        assert!(outcome.is_ok() && self.1 == b"a body", "{outcome:?}");
        self.0.set(true);
    }
}

#[test]
fn a_streamed_body_is_asked_for() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().post("/echo", |_, res| {
        res.read_body(|body, res| res.bytes("application/octet-stream", body))
    }));
    let client = Client::new(&rig.rt);
    // The second goes over the connection of the first.
    for length in [None, Some(6)] {
        let over = Rc::new(Cell::new(false));

        let ask = client.request("POST", "http://127.0.0.1/echo").streamed(length);
        ask.send(Writes(Rc::clone(&over), Vec::new())).unwrap();
        rig.run_for(secs(1));

        assert!(over.get(), "{length:?}: it is not over");
    }
    rig.end();
}

#[test]
fn redirects_are_followed_to_their_limit() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(
        http::Server::new()
            .get("/a", |_, res| res.redirect(302, "b"))
            .get("/b", |_, res| res.redirect(308, "/c?d"))
            .get("/c", |req, res| res.text(req.query().unwrap()))
            .get("/loop", |_, res| res.redirect(301, "/loop")),
    );
    let client = Client::new(&rig.rt);

    assert_eq!(get(&rig, &client, "http://127.0.0.1/a", ms(50)).unwrap().body, b"d");
    assert_eq!(get(&rig, &client, "http://127.0.0.1/loop", ms(500)).unwrap().status, 301);
    rig.end();
}

#[test]
fn a_refused_connection_is_told_once_with_its_stage() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);

    let failure = get(&rig, &client, "http://127.0.0.1:9/", secs(1)).unwrap_err();

    assert_eq!(failure.stage, Stage::Connect);
    assert_eq!(failure.why, Reason::Io(std::io::ErrorKind::ConnectionRefused));
    assert!(failure.never_sent);
    rig.end();
}

#[test]
fn a_name_that_no_file_knows_is_told() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);

    let failure = get(&rig, &client, "http://nowhere.example/", ms(1)).unwrap_err();

    assert_eq!((failure.stage, failure.never_sent), (Stage::Name, true));
    rig.end();
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let (rig, client) = misbehaving("", false);

    let failure = get(&rig, &client, "http://127.0.0.1/", secs(60)).unwrap_err();

    assert_eq!((failure.stage, failure.never_sent), (Stage::FirstByte, false));
    assert!(failure.timing.total >= secs(30) && failure.timing.connect.is_some());
    rig.end();
}

/// RFC 9112, 6.3: what cannot be delimited is an error, never a guess.
#[test]
fn responses_that_lie_are_failures() {
    for (answer, closes, stage) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            false,
            Stage::FirstByte,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", true, Stage::Body),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\n0\r\n\r\n",
            true,
            Stage::Body,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, Stage::Body),
        ("garbage\r\n\r\n", false, Stage::FirstByte),
    ] {
        let (rig, client) = misbehaving(answer, closes);

        let failure = get(&rig, &client, "http://127.0.0.1/", secs(1)).unwrap_err();

        assert_eq!(failure.stage, stage, "{answer}");
        rig.end();
    }
}

#[test]
fn interim_responses_without_end_are_given_up() {
    let answer = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100).leak();
    let (rig, client) = misbehaving(answer, false);

    let failure = get(&rig, &client, "http://127.0.0.1/", secs(1)).unwrap_err();

    assert_eq!(failure.stage, Stage::FirstByte);
    rig.end();
}

#[test]
fn a_head_without_end_is_given_up() {
    let answer = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(20_000)).leak();
    let (rig, client) = misbehaving(answer, false);

    let failure = get(&rig, &client, "http://127.0.0.1/", secs(1)).unwrap_err();

    assert!(matches!(failure.why, Reason::Peer(_)), "{failure:?}");
    rig.end();
}

#[test]
fn a_body_above_what_is_wanted_ends_the_attempt() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().get("/", |_, res| res.text(&"x".repeat(5000))));
    let client = Client::new(&rig.rt);
    let got = results();

    client.get("http://127.0.0.1/").whole(4999, into(&got));
    rig.run_for(ms(50));

    assert_eq!(got.borrow_mut().pop().unwrap().unwrap_err().why, Reason::Overload);
    rig.end();
}

#[test]
fn a_request_that_cannot_be_is_told_and_opens_nothing() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);
    let got = results();

    client.get("http://127.0.0.1/").header("bad name", "x").whole(1, into(&got));
    client.get("https://127.0.0.1/").whole(1, into(&got));
    client.get("http://127.0.0.1/a b").whole(1, into(&got));
    rig.run_for(ms(1));

    assert_eq!(got.borrow().len(), 3);
    assert_eq!(rig.world.open(), 0);
    rig.end();
}

/// What a WebSocket client hears.
#[derive(Clone, Default)]
struct Heard {
    open: Rc<Cell<u32>>,
    texts: Rc<RefCell<Vec<String>>>,
    closed: Rc<RefCell<Vec<Reason>>>,
}

impl ws::Handler for Heard {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        self.open.set(self.open.get() + 1);
        cx.send(ws::Message::Text("hello")).unwrap();
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if let ws::Message::Text(text) = message {
            self.texts.borrow_mut().push(text.to_string());
        }
    }

    fn closed(&mut self, cx: &mut ws::Cx<'_>, why: Reason) {
        assert!(cx.timing().is_some());
        self.closed.borrow_mut().push(why);
    }
}

/// Echoes once, then closes with a code if there is one.
struct Once(Option<u16>);

impl ws::Handler for Once {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        cx.send(message).unwrap();
        if let Some(code) = self.0 {
            cx.close(code);
        }
    }
}

#[test]
fn a_websocket_is_opened_used_and_closed() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new().ws("/ws", |_| Ok(Once(None))));
        let heard = Heard::default();

        let socket = ws::Client::new("ws://127.0.0.1/ws").connect(&rig.rt, heard.clone()).unwrap();
        rig.run_for(ms(50));
        socket.send(ws::Message::Text("again")).unwrap();
        rig.run_for(ms(50));
        socket.close(1000);
        rig.run_for(secs(3));

        assert_eq!(*heard.texts.borrow(), ["hello", "again"], "{trigger:?}");
        assert_eq!(*heard.closed.borrow(), [Reason::Closed { code: 1000 }], "{trigger:?}");
        assert!(socket.send(ws::Message::Text("late")).is_err());
        rig.end();
    }
}

#[test]
fn a_websocket_comes_back_by_its_policy() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().ws("/ws", |_| Ok(Once(Some(1001)))));
    let heard = Heard::default();
    let waits = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&waits);
    let retry = Retry::new(&[ms(100), ms(200)]).jitter(0).attempts(Some(3));

    let socket = ws::Client::new("ws://127.0.0.1/ws")
        .retry(retry)
        .on_retry(move |_, wait, _| told.borrow_mut().push(wait))
        .connect(&rig.rt, heard.clone())
        .unwrap();
    rig.run_for(secs(10));

    assert_eq!(*waits.borrow(), [ms(100), ms(200), ms(200)]);
    assert_eq!((heard.open.get(), heard.closed.borrow().len()), (4, 4));
    assert_eq!(socket.id(), None);
    rig.end();
}

/// RFC 9110, 10.2.3: what the server asks for is granted where it is longer than the policy's own.
#[test]
fn a_server_that_asks_for_time_gets_it() {
    for (asks, waits) in [
        ("3", ms(3000)),
        ("0", ms(100)),
        // The simulation's clock began at 22:13:20.
        ("Tue, 14 Nov 2023 22:13:25 GMT", ms(5000)),
        ("soon", ms(100)),
    ] {
        let rig = Rig::new(Trigger::Edge);
        rig.serve(
            http::Server::new().get("/", |_, res| res.header("Retry-After", asks).error(503)),
        );
        let told = Rc::new(RefCell::new(Vec::new()));
        let waited = Rc::clone(&told);
        let client = Client::new(&rig.rt);
        let heard = Heard::default();

        ws::Client::new("ws://127.0.0.1/")
            .retry(Retry::new(&[ms(100)]).jitter(0).attempts(Some(1)))
            .on_retry(move |_, wait, _| waited.borrow_mut().push(wait))
            .connect(&rig.rt, heard.clone())
            .unwrap();
        rig.run_for(ms(10));
        let whole = get(&rig, &client, "http://127.0.0.1/", ms(10)).unwrap();
        rig.run_for(secs(6));

        assert_eq!(*told.borrow(), [waits], "{asks}");
        assert_eq!(heard.closed.borrow()[..], [Reason::Refused { status: 503 }; 2]);
        let asked = whole.retry_after;
        assert_eq!(asked.unwrap_or_default().max(ms(100)), waits, "{asks}");
        rig.end();
    }
}

#[test]
fn the_list_shows_each_stream_and_when_it_tries_again() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().ws("/ws", |_| Ok(Once(None))));
    let retry = Retry::new(&[ms(100), ms(400)]).jitter(0);
    let open = |path: &str| {
        let url = format!("ws://127.0.0.1{path}");
        ws::Client::new(&url).retry(retry.clone()).connect(&rig.rt, Heard::default()).unwrap()
    };
    let (here, lost) = (open("/ws"), open("/nowhere"));
    let first: Vec<_> = rig.rt.streams(9).iter().map(|s| s.state).collect();

    rig.run_for(ms(250));

    let all = rig.rt.streams(9);
    assert_eq!(first, ["connecting", "connecting"]);
    assert_eq!((&*all[0].url, all[0].state), ("127.0.0.1:80/ws", "open"));
    assert_eq!((all[0].conn, all[0].failures, all[0].retry_in), (here.id(), 0, None));
    assert_eq!((&*all[1].url, all[1].state), ("127.0.0.1:80/nowhere", "waiting"));
    assert_eq!((all[1].conn, all[1].failures, all[1].delay), (None, 2, Some(ms(400))));
    assert!(all[1].retry_in.is_some_and(|left| left > ms(240) && left < ms(260)), "{all:?}");
    assert_eq!(rig.rt.streams(1).len(), 1);
    lost.close(1000);
    assert_eq!(rig.rt.streams(9).len(), 1);
    rig.end();
}

#[test]
fn a_close_that_is_meant_is_not_undone() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().ws("/ws", |_| Ok(Once(Some(1008)))));
    let heard = Heard::default();

    ws::Client::new("ws://127.0.0.1/ws")
        .retry(Retry::default())
        .connect(&rig.rt, heard.clone())
        .unwrap();
    rig.run_for(secs(120));

    assert_eq!(*heard.closed.borrow(), [Reason::Closed { code: 1008 }]);
    rig.end();
}

#[test]
fn a_server_that_says_no_is_told_with_its_status() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().get("/ws", |_, res| res.error(403)));
    let heard = Heard::default();

    ws::Client::new("ws://127.0.0.1/ws").connect(&rig.rt, heard.clone()).unwrap();
    rig.run_for(secs(1));

    assert_eq!(*heard.closed.borrow(), [Reason::Refused { status: 403 }]);
    assert_eq!(heard.open.get(), 0);
    rig.end();
}

/// RFC 6455, 4.1: the wrong key is no agreement.
#[test]
fn a_server_with_the_wrong_key_is_refused() {
    let answer = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    let (rig, _) = misbehaving(answer, false);
    let heard = Heard::default();

    ws::Client::new("ws://127.0.0.1/").connect(&rig.rt, heard.clone()).unwrap();
    rig.run_for(secs(1));

    assert!(matches!(heard.closed.borrow()[..], [Reason::Peer(_)]), "{:?}", heard.closed);
    rig.end();
}

#[test]
fn an_attempt_under_way_ends_with_the_runtime() {
    let rig = Rig::limited(Trigger::Edge, Limits::default());
    let heard = Heard::default();
    let got = results();
    rig.serve(raw::Server::new(|_| Some(Says("", false))));
    let client = Client::new(&rig.rt);
    client.get("http://127.0.0.1/").whole(1, into(&got));
    ws::Client::new("ws://127.0.0.1/")
        .retry(Retry::default())
        .connect(&rig.rt, heard.clone())
        .unwrap();
    rig.run_for(ms(50));

    rig.end();

    assert_eq!(got.borrow_mut().pop().unwrap().unwrap_err().why, Reason::Shutdown);
    assert_eq!(*heard.closed.borrow(), [Reason::Shutdown]);
}

/// Connects again from each end, and counts those.
struct Stubborn(Rc<Cell<u32>>);

impl raw::Handler for Stubborn {
    fn data(&mut self, _: &mut raw::Cx<'_>, _: &[u8]) {}

    fn closed(&mut self, cx: &mut raw::Cx<'_>, why: Reason) {
        assert_eq!(why, Reason::Shutdown);
        self.0.set(self.0.get() + 1);
        let to = "127.0.0.1:80".try_into().unwrap();
        cx.runtime().connect(&to, Self(Rc::clone(&self.0)));
    }
}

#[test]
fn an_attempt_on_a_runtime_that_has_ended_is_told_and_opens_nothing() {
    let rig = Rig::new(Trigger::Edge);
    let h = rig.rt.handle();
    let client = Client::new(&h);
    h.end();
    let (got, ends) = (results(), Rc::default());

    client.get("http://127.0.0.1/").whole(1, into(&got));
    let id = h.connect(&rig.addr, Stubborn(Rc::clone(&ends)));

    assert_eq!(got.borrow()[0].as_ref().unwrap_err().why, Reason::Shutdown);
    // One that connects again from each end is told some times, and then no more.
    assert!((1..=17).contains(&ends.get()) && Rc::strong_count(&ends) == 1, "{}", ends.get());
    assert!(!h.is_open(id) && rig.world.open() == 0);
    drop((client, h));
    rig.end();
}

/// Says a lot and closes, before there is a connection.
struct Hasty;

impl raw::Handler for Hasty {
    fn data(&mut self, _: &mut raw::Cx<'_>, _: &[u8]) {}
}

#[test]
fn resuming_what_is_not_connected_yet_costs_no_turns() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.world.swallow("127.0.0.1:80".parse().unwrap());
        let id = rig.rt.connect(&rig.addr, Hasty);
        rig.pump();

        rig.rt.pause(id, true).unwrap();
        rig.rt.pause(id, false).unwrap();
        rig.rt.want_write(id).unwrap();

        assert!(rig.run_for(secs(1)) < 5, "{trigger:?}");
        rig.end();
    }
}

#[test]
fn closing_what_is_not_connected_yet_ends_it() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(raw::Server::new(|_| Some(Hasty)));
        let id = rig.rt.connect(&rig.addr, Hasty);
        rig.rt.send_bytes(id, b"hello").unwrap();

        rig.rt.close_bytes(id).unwrap();
        rig.pump();

        assert!(!rig.rt.is_open(id), "{trigger:?}");
        rig.end();
    }
}
