//! HTTP/2, both ends in one world: the same routes and handlers as over HTTP/1.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use lodger::http::{Client, Failure, FetchCx, ResponseHead, Stage, Timing, Whole};
use lodger::sim::Faults;
use lodger::{Handle, Limits, Reason, http, ws};
use lodger_backend::Trigger;

use crate::kit::{Rig, TRIGGERS, get, ms, secs, text};

type Results = Rc<RefCell<Vec<Result<Whole, Failure>>>>;

fn into(results: &Results) -> impl FnOnce(Result<Whole, Failure>) + 'static {
    let results = Rc::clone(results);
    move |result| results.borrow_mut().push(result)
}

fn client(rig: &Rig) -> Client {
    Client::new(&rig.rt).http2()
}

fn fetch(rig: &Rig, client: &Client, path: &str, time: Duration) -> Result<Whole, Failure> {
    let got = Results::default();
    client.get(&format!("http://127.0.0.1{path}")).whole(8 << 20, into(&got));
    rig.run_for(time);
    assert_eq!(got.borrow().len(), 1, "told exactly once");
    got.borrow_mut().pop().unwrap()
}

fn routes() -> http::Server {
    http::Server::new()
        .get("/n/{n}", |req, res| {
            let n = req.param("n").unwrap().to_owned();
            res.header("x-n", &n).text(&n)
        })
        .get("/host", |req, res| res.text(&format!("{} {:?}", req.host(), req.header("host"))))
        .get("/large", |_req, res| res.bytes("a/b", &vec![b'x'; 3_000_000]))
        .post("/echo", |_req, res| res.read_body_up_to(4 << 20, |body, res| res.bytes("a/b", body)))
}

#[test]
fn many_requests_share_a_connection() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(routes());
        let client = client(&rig);
        let got = Results::default();

        for n in 0..50 {
            client.get(&format!("http://127.0.0.1/n/{n}")).whole(100, into(&got));
        }
        rig.pump();

        let got = got.borrow();
        assert_eq!(got.len(), 50);
        for (n, whole) in got.iter().enumerate() {
            let whole = whole.as_ref().unwrap();
            let n = n.to_string();
            assert_eq!((whole.status, whole.header("X-N")), (200, Some(&*n)));
            assert_eq!(whole.body, n.as_bytes());
        }
        assert_eq!((rig.rt.stats().open, rig.rt.stats().requests), (2, 50));
        rig.run_for(secs(20));
        assert_eq!(rig.rt.stats().open, 0);
        rig.end();
    }
}

/// All streams of a connection go out in one `send`.
#[test]
fn a_turn_is_one_recv_and_one_send_for_all_streams() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes());
    let client = client(&rig);
    fetch(&rig, &client, "/n/0", ms(1)).unwrap();

    let got = Results::default();
    let calls = rig.calls(|| {
        for n in 0..20 {
            client.get(&format!("http://127.0.0.1/n/{n}")).whole(100, into(&got));
        }
        rig.pump();
    });

    assert_eq!((got.borrow().len(), calls), (20, (2, 2)));
    rig.end();
}

#[test]
fn the_host_is_where_http1_has_it() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes());
    let client = client(&rig);

    let whole = fetch(&rig, &client, "/host", ms(1)).unwrap();

    assert_eq!(whole.body, b"127.0.0.1 Some(\"127.0.0.1\")");
    assert_eq!(fetch(&rig, &client, "/none", ms(1)).unwrap().status, 404);
    rig.end();
}

/// Larger than both windows, in both directions, whatever the system does to the bytes.
#[test]
fn large_bodies_go_both_ways_within_the_windows() {
    // What the loop closes late is not closed at the end.
    let mut faults = Faults::lossless();
    faults.late_closes = 0;
    for seed in 1..4 {
        let rig = Rig::with(Trigger::Edge, Limits::default(), seed, faults);
        rig.serve(routes());
        let client = client(&rig);
        let body: Vec<u8> = (0..2_000_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let got = Results::default();

        client.post("http://127.0.0.1/echo", &body).whole(8 << 20, into(&got));
        client.get("http://127.0.0.1/large").whole(8 << 20, into(&got));
        client.get("http://127.0.0.1/n/1").whole(8 << 20, into(&got));
        rig.run_for(secs(60));

        let mut lengths: Vec<usize> =
            got.borrow().iter().map(|r| r.as_ref().map_or(0, |w| w.body.len())).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [1, 2_000_000, 3_000_000], "seed {seed}");
        let same = got.borrow().iter().any(|r| r.as_ref().is_ok_and(|w| w.body == body));
        assert!(same);
        // It keeps the driver, and so what that closes late.
        drop(client);
        rig.end();
    }
}

/// HTTP/1 on the same port.
#[test]
fn the_preface_decides() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes());
    let wire = rig.connect();

    assert!(rig.ask(&wire, get("/n/1")).ends_with("\r\n\r\n1"));
    let wire = rig.connect();
    assert_eq!(rig.ask(&wire, "PRI * HTT"), "");
    assert!(rig.ask(&wire, "X/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let wire = rig.connect();
    rig.ask(&wire, "PRI * HTTP/2.0\r\n\r\n");
    let hello = rig.ask(&wire, "SM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(hello.as_bytes()[3], 4);
    rig.end();
}

/// What a handler hears, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<String>>);

impl Log {
    fn add(&self, text: &str) {
        let mut log = self.0.borrow_mut();
        log.push_str(text);
        log.push(' ');
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

/// Streams both ways, and does as the path says.
struct Stream {
    log: Log,
    pauses: bool,
    got: usize,
}

impl http::Handler for Stream {
    fn open(&mut self, cx: &mut http::Cx<'_>) {
        self.log.add("open");
        cx.head(200, &[("x-a", "b")]).unwrap();
        cx.write(b"hello ").unwrap();
        if self.pauses {
            cx.pause(true);
            cx.timer(7, secs(3)).unwrap();
        }
    }

    fn body(&mut self, _cx: &mut http::Cx<'_>, chunk: &[u8]) {
        self.got += chunk.len();
    }

    fn end(&mut self, cx: &mut http::Cx<'_>) {
        self.log.add("end");
        cx.write(self.got.to_string().as_bytes()).unwrap();
        cx.finish().unwrap();
    }

    fn timer(&mut self, cx: &mut http::Cx<'_>, tag: u64) {
        self.log.add(&format!("timer{tag}:{}", self.got));
        cx.pause(false);
    }

    fn closed(&mut self, _cx: &mut http::Cx<'_>, why: Reason) {
        self.log.add(&format!("{why:?}"));
    }
}

fn streaming(log: &Log) -> http::Server {
    let (a, b) = (log.clone(), log.clone());
    routes()
        .post("/stream", move |_req, res| {
            res.stream(Stream { log: a.clone(), pauses: false, got: 0 })
        })
        .post("/paused", move |_req, res| {
            res.stream(Stream { log: b.clone(), pauses: true, got: 0 })
        })
}

/// A stream that is not read holds up itself, by its window, and nobody else.
#[test]
fn a_paused_stream_waits_and_others_go_on() {
    let rig = Rig::new(Trigger::Edge);
    let log = Log::default();
    rig.serve(streaming(&log));
    let client = client(&rig);
    let got = Results::default();

    client.post("http://127.0.0.1/paused", &vec![b'x'; 500_000]).whole(100, into(&got));
    rig.run_for(secs(1));
    assert_eq!((log.take(), got.borrow().len()), ("open ".into(), 0));
    client.post("http://127.0.0.1/stream", &vec![b'x'; 500_000]).whole(100, into(&got));
    rig.run_for(secs(1));
    assert_eq!(log.take(), "open end Done ");
    rig.run_for(secs(3));

    assert_eq!(log.take(), "timer7:0 end Done ");
    for result in got.borrow().iter() {
        assert_eq!(result.as_ref().unwrap().body, b"hello 500000");
    }
    rig.end();
}

#[test]
fn a_panic_costs_its_stream_alone() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes().get("/panic", |_req, _res| panic!("on purpose")).get(
        "/half",
        |_req, res| {
            let id = res.id();
            let _ = res.runtime().head(id, 200, &[]);
            let _ = res.runtime().write(id, b"half");
            panic!("on purpose")
        },
    ));
    let client = client(&rig);
    let got = Results::default();

    for path in ["/panic", "/half", "/n/1"] {
        client.get(&format!("http://127.0.0.1{path}")).whole(100, into(&got));
    }
    rig.run_for(ms(10));

    let got = got.borrow();
    let statuses: Vec<Option<u16>> =
        got.iter().map(|r| r.as_ref().ok().map(|w| w.status)).collect();
    assert_eq!(statuses.iter().filter(|s| **s == Some(500)).count(), 1, "{got:?}");
    assert_eq!(statuses.iter().filter(|s| **s == Some(200)).count(), 1);
    assert_eq!((got.len(), rig.rt.stats().open), (3, 2));
    drop(got);
    rig.end();
}

#[test]
fn late_answers_files_and_dropped_ones() {
    let rig = Rig::new(Trigger::Edge);
    let kept: Rc<RefCell<Vec<http::Later>>> = Rc::default();
    let keep = Rc::clone(&kept);
    rig.world.put_file("/www/a.txt", vec![b'f'; 300_000]);
    rig.serve(
        routes()
            .get("/later", move |_req, res| {
                let (answer, later) = res.later();
                keep.borrow_mut().push(later);
                answer
            })
            .files("/files", "/www"),
    );
    let client = client(&rig);
    let got = Results::default();
    for _ in 0..2 {
        client.get("http://127.0.0.1/later").whole(100, into(&got));
    }
    rig.run_for(secs(1));
    assert_eq!((kept.borrow().len(), got.borrow().len()), (2, 0));

    let later = kept.borrow_mut().pop().unwrap();
    later.answer(|res| res.text("late")).unwrap();
    kept.borrow_mut().clear();
    rig.run_for(ms(10));
    let statuses: Vec<u16> = got.borrow().iter().map(|r| r.as_ref().unwrap().status).collect();
    assert_eq!(statuses, [200, 500]);

    let file = fetch(&rig, &client, "/files/a.txt", secs(1)).unwrap();
    assert_eq!((file.status, file.body.len()), (200, 300_000));
    rig.end();
}

/// RFC 9113, section 6.8: what is under way ends, and the connections with it.
#[test]
fn shutdown_says_goaway_and_lets_streams_end() {
    let rig = Rig::new(Trigger::Edge);
    let log = Log::default();
    rig.serve(streaming(&log));
    let client = client(&rig);
    let got = Results::default();
    client.post("http://127.0.0.1/paused", &[b'x'; 10]).whole(100, into(&got));
    rig.run_for(ms(10));

    rig.rt.shutdown(secs(60));
    rig.run_for(secs(10));

    assert_eq!(got.borrow()[0].as_ref().unwrap().body, b"hello 10");
    assert!(!rig.rt.is_on());
    assert_eq!(log.take(), "open timer7:0 end Done ");
}

/// Hears nothing, reads nothing.
struct Deaf(Rc<Cell<Option<Reason>>>);

impl http::Fetch for Deaf {
    fn head(&mut self, cx: &mut FetchCx<'_>, _head: &ResponseHead<'_>) {
        cx.pause(true);
    }

    fn closed(&mut self, _h: &Handle, outcome: Result<Timing, Failure>) {
        self.0.set(outcome.err().map(|failure| failure.why));
    }
}

/// A client that opens no window for its response holds nothing for long: RFC 9113, section 10.5.
#[test]
fn a_stalled_window_ends_its_stream() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes());
    let client = client(&rig);
    let why = Rc::new(Cell::new(None));
    client.get("http://127.0.0.1/large").send(Deaf(Rc::clone(&why))).unwrap();
    rig.run_for(secs(20));
    assert_eq!(fetch(&rig, &client, "/n/1", ms(1)).unwrap().body, b"1");
    assert!(why.get().is_none());

    rig.run_for(secs(15));

    assert!(matches!(why.get(), Some(Reason::Peer(_))), "{:?}", why.get());
    assert_eq!(rig.rt.stats().open, 2);
    rig.end();
}

#[test]
fn refused_streams_are_tried_once_more_and_no_connection_is_told() {
    let mut limits = Limits::default();
    limits.h2.streams = 2;
    let rig = Rig::limited(Trigger::Edge, limits);
    rig.serve(routes());
    let busy = client(&rig);
    let got = Results::default();
    for n in 0..3 {
        // More at once than the server lets, before its settings have come.
        busy.get(&format!("http://127.0.0.1/n/{n}")).whole(100, into(&got));
    }
    rig.run_for(secs(1));
    assert!(got.borrow().iter().all(Result::is_ok), "{:?}", got.borrow());
    assert_eq!(got.borrow().len(), 3);

    let failed = {
        let got = Results::default();
        busy.get("http://127.0.0.1:99/").whole(100, into(&got));
        rig.run_for(secs(1));
        got.borrow_mut().pop().unwrap().unwrap_err()
    };
    assert_eq!((failed.stage, failed.never_sent), (Stage::Connect, true));
    rig.end();
}

/// RFC 8441, by hand: the same handler as over HTTP/1.
#[test]
fn a_websocket_stands_on_a_stream() {
    struct Echo(Log);
    impl ws::Handler for Echo {
        fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
            cx.send(message).unwrap();
        }
        fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
            self.0.add(&format!("{why:?}"));
        }
    }
    let rig = Rig::new(Trigger::Edge);
    let log = Log::default();
    let heard = log.clone();
    rig.serve(routes().ws("/ws", move |_req| Ok(Echo(heard.clone()))));
    let wire = rig.connect();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // CONNECT, http, /ws, authority x, :protocol websocket, version 13.
    let block = b"\x42\x07CONNECT\x86\x44\x03/ws\x41\x01x\x40\x09:protocol\x09websocket\
        \x40\x15sec-websocket-version\x0213";
    hello.extend_from_slice(&[0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1]);
    hello.extend_from_slice(block);
    let answer = rig.ask(&wire, &hello);
    // HEADERS that leave the stream open.
    assert!(answer.contains("\u{1}\u{4}\0\0\0\u{1}"), "{answer:?}");

    // Its peer is that of the connection.
    let peers: Vec<String> = rig.rt.connections(9).into_iter().map(|conn| conn.peer).collect();
    assert!(peers.len() == 2 && peers[0] == peers[1] && !peers[0].is_empty(), "{peers:?}");

    // A masked text "hi", cut into two frames of DATA, then a close.
    let mut frames = b"\0\0\x03\0\0\0\0\0\x01\x81\x82\0\0\0\x05\0\0\0\0\0\x01\0\0\0hi".to_vec();
    let echoed = rig.ask(&wire, &frames);
    assert!(echoed.contains("\u{2}hi"), "{echoed:?}");
    frames = b"\0\0\x08\0\x01\0\0\0\x01\x88\x82\0\0\0\0\x03\xe8".to_vec();
    rig.ask(&wire, &frames);

    assert_eq!(log.take(), "Closed { code: 1000 } ");
    assert_eq!(rig.rt.stats().open, 1);
    let _ = text(&wire);
    rig.end();
}
