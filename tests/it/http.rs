//! HTTP: a server's routes and answers, what peers may do to it, and how it goes away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::sim::Faults;
use lodger::{Limits, Reason, SendError, http};
use lodger_backend::Trigger;

use crate::kit::{
    Log, Rig, TRIGGERS, get, hook, ms, planted, response, responses, say, secs, text,
};

pub(crate) fn rig(server: http::Server) -> Rig {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(server);
    rig
}

/// Answers with the path.
pub(crate) fn hello() -> http::Server {
    http::Server::new().get("/{*rest}", |req, res| res.text(req.path()))
}

fn statuses(text: &str) -> Vec<u16> {
    responses(text.as_bytes()).into_iter().map(|(status, _)| status).collect()
}

// ---- Keep-alive and pipelining ----

#[test]
fn sixteen_requests_in_one_read_are_answered_in_order_by_one_send() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(hello());
        let wire = rig.connect();
        rig.ask(&wire, get("/first"));
        let all: String = (0..16).map(|n| get(&format!("/{n}"))).collect();

        let calls = rig.calls(|| {
            rig.world.take_lines();
            wire.write(all.as_bytes());
            rig.pump();
        });

        let answers = responses(&wire.read());
        assert_eq!(answers.len(), 16);
        for (n, (status, body)) in answers.iter().enumerate() {
            assert_eq!((*status, &**body), (200, format!("/{n}").as_bytes()));
        }
        // One send is the peer's own.
        assert_eq!(calls, (1, 2), "{trigger:?}");
        drop(wire);
        rig.end();
    }
}

#[test]
fn a_connection_is_kept_until_the_peer_asks_to_close() {
    let rig = rig(hello());
    let wire = rig.connect();
    for n in 0..5 {
        assert_eq!(response(&rig.ask(&wire, get(&format!("/{n}")))).1, format!("/{n}"));
    }

    let last = rig.ask(&wire, "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    assert!(last.to_lowercase().contains("connection: close"), "{last}");
    assert!(wire.is_eof());
    drop(wire);
    rig.run_for(secs(3));
    rig.end();
}

#[test]
fn a_half_closing_client_gets_its_answers() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(hello());
        let wire = rig.connect();
        wire.write((get("/1") + &get("/2")).as_bytes());
        wire.close();

        rig.pump();

        assert_eq!(statuses(&text(&wire)), [200, 200]);
        assert!(wire.is_eof());
        drop(wire);
        rig.end();
    }
}

// ---- Later ----

pub(crate) type Kept = Rc<RefCell<Vec<http::Later>>>;

/// `/later` keeps its answer back; all other paths answer at once.
pub(crate) fn keeper() -> (http::Server, Kept) {
    let kept = Kept::default();
    let k = Rc::clone(&kept);
    let server = hello().get("/later", move |_, res| {
        let (answer, later) = res.later();
        k.borrow_mut().push(later);
        answer
    });
    (server, kept)
}

#[test]
fn an_answer_may_come_later_and_what_is_pipelined_behind_it_waits() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let (server, kept) = keeper();
        rig.serve(server);
        let wire = rig.connect();
        wire.write((get("/1") + &get("/later") + &get("/2") + &get("/3")).as_bytes());
        rig.pump();
        assert_eq!(responses(&wire.read()).len(), 1);

        let later = kept.borrow_mut().pop().unwrap();
        rig.rt.after(ms(5), |_| later.answer(|res| res.text("from a timer")).unwrap());
        rig.run_for(ms(5));

        let answers = responses(&wire.read());
        assert_eq!(answers[0].1, b"from a timer");
        assert_eq!(answers.len(), 3, "{trigger:?}");
        drop(wire);
        rig.end();
    }
}

#[test]
fn an_answer_may_come_from_another_thread_and_from_another_handler() {
    let (server, kept) = keeper();
    let (k, log) = (Rc::clone(&kept), Log::default());
    let rig = rig(server.ws(
        "/ws",
        hook(&log, move |_, text| {
            let later = k.borrow_mut().pop().unwrap();
            later.answer(|res| res.text(text)).unwrap();
        }),
    ));
    let (one, ws) = (rig.connect(), rig.upgrade("/ws"));
    rig.ask(&one, get("/later"));
    ws.write(&say("from a handler"));
    rig.pump();
    assert_eq!(response(&text(&one)), (200, "from a handler"));

    let k = Rc::clone(&kept);
    let remote = rig.rt.remote(move |_, s: String| {
        k.borrow_mut().pop().unwrap().answer(|res| res.text(&s)).unwrap();
    });
    rig.ask(&one, get("/later"));
    std::thread::scope(|scope| _ = scope.spawn(|| remote.post("from a thread".into()).unwrap()));
    rig.pump();

    assert_eq!(response(&text(&one)), (200, "from a thread"));
}

#[test]
fn a_promise_that_is_dropped_is_a_500_and_the_next_request_is_served() {
    let (server, kept) = keeper();
    let rig = rig(server);
    let wire = rig.connect();
    wire.write((get("/later") + &get("/next")).as_bytes());
    rig.pump();

    kept.borrow_mut().clear();
    rig.pump();

    assert_eq!(statuses(&text(&wire)), [500, 200]);
}

#[test]
fn a_promise_to_a_peer_that_left_is_gone() {
    let (server, kept) = keeper();
    let rig = rig(server);
    let wire = rig.connect();
    rig.ask(&wire, get("/later"));
    wire.reset();
    rig.pump();

    let later = kept.borrow_mut().pop().unwrap();
    let id = later.id();
    assert!(later.answer(|_| panic!("not called")).is_err());

    assert_eq!(rig.rt.head(id, 200, &[]), Err(SendError::Gone));
    assert_eq!(
        (rig.rt.write(id, b"x"), rig.rt.finish(id)),
        (Err(SendError::Gone), Err(SendError::Gone))
    );
}

#[test]
fn a_later_answer_may_stream() {
    let (server, kept) = keeper();
    let (rig, log) = (rig(server), Log::default());
    let wire = rig.connect();
    wire.write((get("/later") + &get("/next")).as_bytes());
    rig.pump();

    let l = log.clone();
    let later = kept.borrow_mut().pop().unwrap();
    later.answer(|res| res.stream(Numbers::new(&l, 3))).unwrap();
    rig.pump();

    let answers = responses(&wire.read());
    assert_eq!((answers.len(), answers[0].1.len()), (2, 3 * CHUNK));
    assert_eq!(log.take().last().unwrap(), "closed Done");
}

// ---- Streams ----

const CHUNK: usize = 10_000;

/// A response of `left` chunks, each as room comes.
struct Numbers {
    log: Log,
    left: usize,
    begun: bool,
    asked: usize,
}

impl Numbers {
    fn new(log: &Log, left: usize) -> Self {
        Self { log: log.clone(), left, begun: false, asked: 0 }
    }

    fn go_on(&mut self, cx: &mut http::Cx<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            cx.head(200, &[("content-type", "text/plain")]).unwrap();
        }
        while self.left > 0 {
            match cx.write(&[b'0' + (self.left % 10) as u8; CHUNK]) {
                Ok(()) => self.left -= 1,
                Err(SendError::Full { .. }) => {
                    self.log.add("full");
                    self.asked += 1;
                    return cx.want_write();
                }
                Err(e) => panic!("{e}"),
            }
        }
        cx.finish().unwrap();
        assert_eq!(cx.finish(), Err(SendError::Gone), "complete is complete");
    }
}

impl http::Handler for Numbers {
    fn open(&mut self, cx: &mut http::Cx<'_>) {
        self.go_on(cx);
    }

    fn writable(&mut self, cx: &mut http::Cx<'_>, room: usize) {
        assert!(room > 0 && self.asked == 1, "told once for each time it asked");
        self.asked -= 1;
        self.go_on(cx);
    }

    fn closed(&mut self, _: &mut http::Cx<'_>, why: Reason) {
        self.log.closed(why);
    }
}

#[test]
fn a_streaming_response_waits_for_its_peer_and_holds_little() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        rig.serve(hello().get("/long", move |_, res| res.stream(Numbers::new(&l, 200))));
        let wire = rig.connect();
        wire.write((get("/long") + &get("/next")).as_bytes());
        rig.run_for(secs(1));
        let held = rig.rt.connections(1)[0].queued;
        assert!(held < 300_000, "{held}");
        assert_eq!(log.take(), ["full"]);

        let mut input = Vec::new();
        for _ in 0..100 {
            input.extend(wire.read());
            rig.pump();
        }

        let answers = responses(&input);
        assert_eq!((answers[0].1.len(), answers.len()), (200 * CHUNK, 2), "{trigger:?}");
        assert_eq!(log.take().last().unwrap(), "closed Done");
        drop(wire);
        rig.end();
    }
}

/// Keeps a body back: takes a piece, pauses, and resumes by a timer.
struct Slow {
    log: Log,
    got: usize,
}

impl http::Handler for Slow {
    fn body(&mut self, cx: &mut http::Cx<'_>, chunk: &[u8]) {
        self.got += chunk.len();
        cx.pause(true);
        cx.timer(1, ms(1)).unwrap();
    }

    fn trailers(&mut self, _: &mut http::Cx<'_>, fields: http::Fields<'_>) {
        self.log.add(format!("trailer {:?}", fields.get_str("x-sum")));
    }

    fn timer(&mut self, cx: &mut http::Cx<'_>, _: u64) {
        cx.pause(false);
    }

    fn end(&mut self, cx: &mut http::Cx<'_>) {
        cx.answer(|res| res.text(&self.got.to_string()));
    }

    fn closed(&mut self, _: &mut http::Cx<'_>, why: Reason) {
        self.log.closed(why);
    }
}

#[test]
fn a_streaming_request_is_held_back_by_its_reader() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        rig.serve(hello().post("/up", move |_, res| res.stream(Slow { log: l.clone(), got: 0 })));
        let wire = rig.connect();
        let head = "POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        wire.write(&[head.as_bytes(), &vec![b'x'; 1_000_000]].concat());
        rig.pump();
        assert!(wire.unread() > 900_000, "the rest is the peer's to hold");

        rig.run_for(secs(1));

        assert_eq!(response(&text(&wire)), (200, "1000000"), "{trigger:?}");
        assert_eq!(log.take(), ["closed Done"]);
        assert_eq!(response(&rig.ask(&wire, get("/next"))).1, "/next");
    }
}

#[test]
fn trailers_of_a_chunked_body_are_told() {
    let log = Log::default();
    let l = log.clone();
    let rig =
        rig(http::Server::new()
            .post("/", move |_, res| res.stream(Slow { log: l.clone(), got: 0 })));
    let wire = rig.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.write(format!("{head}5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nX-Sum: 8\r\n\r\n").as_bytes());

    rig.run_for(ms(10));

    assert_eq!(response(&text(&wire)), (200, "8"));
    assert_eq!(log.take(), ["trailer Some(\"8\")", "closed Done"]);
}

#[test]
fn a_stream_completed_by_a_timer_lets_the_next_request_go_on() {
    struct Timed(Log);
    impl http::Handler for Timed {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            cx.timer(1, ms(5)).unwrap();
        }
        fn timer(&mut self, cx: &mut http::Cx<'_>, _: u64) {
            cx.head(200, &[("content-length", "2")]).unwrap();
            cx.write(b"ok").unwrap();
            cx.finish().unwrap();
        }
        fn closed(&mut self, _: &mut http::Cx<'_>, why: Reason) {
            self.0.closed(why);
        }
    }
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        rig.serve(hello().get("/timed", move |_, res| res.stream(Timed(l.clone()))));
        let wire = rig.connect();
        wire.write((get("/timed") + &get("/next")).as_bytes());

        rig.run_for(ms(5));

        assert_eq!(statuses(&text(&wire)), [200, 200], "{trigger:?}");
        assert_eq!(log.take(), ["closed Done"]);
    }
}

#[test]
fn an_exchange_is_written_from_elsewhere_by_its_id() {
    struct Waits(Rc<Cell<Option<http::ExchangeId>>>);
    impl http::Handler for Waits {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            self.0.set(Some(cx.exchange()));
        }
    }
    let id = Rc::default();
    let i = Rc::clone(&id);
    let rig = rig(hello().get("/wait", move |_, res| res.stream(Waits(Rc::clone(&i)))));
    let wire = rig.connect();
    rig.ask(&wire, get("/wait") + &get("/next"));
    let exchange = Cell::get(&id).unwrap();

    assert!(matches!(rig.rt.write(exchange, b"x"), Err(SendError::Misuse(_))), "before the head");
    rig.rt.head(exchange, 201, &[]).unwrap();
    assert!(matches!(rig.rt.head(exchange, 200, &[]), Err(SendError::Misuse(_))), "a second head");
    rig.rt.write(exchange, b"from the host").unwrap();
    rig.rt.finish(exchange).unwrap();
    rig.pump();

    let answers = responses(&wire.read());
    assert_eq!(answers[0], (201, b"from the host".to_vec()));
    assert_eq!(answers[1].1, b"/next");
    assert_eq!(rig.rt.write(exchange, b"x"), Err(SendError::Gone), "another request is under way");
}

// ---- Whole bodies ----

pub(crate) fn sum() -> http::Server {
    http::Server::new()
        .post("/", |_, res| res.read_body_up_to(10, |body, res| res.bytes("text/plain", body)))
        .get("/", |_, res| res.text("still here"))
}

#[test]
fn a_whole_body_is_read_up_to_its_limit() {
    let rig = rig(sum());
    let wire = rig.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
    assert_eq!(response(&rig.ask(&wire, format!("{head}0123456789"))), (200, "0123456789"));
    // Cut into single bytes.
    let mut answer = String::new();
    for byte in format!("{head}9876543210").bytes() {
        answer += &rig.ask(&wire, [byte]);
    }
    assert_eq!(response(&answer), (200, "9876543210"));
    assert_eq!(response(&rig.ask(&wire, get("/"))).1, "still here");
}

#[test]
fn a_body_that_is_declared_too_long_is_413_at_once() {
    let rig = rig(sum());
    let wire = rig.connect();

    let answer = rig.ask(&wire, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n");

    assert_eq!(response(&answer).0, 413);
}

#[test]
fn a_chunked_body_is_413_when_it_gets_too_long() {
    let rig = rig(sum());
    let wire = rig.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n";
    assert_eq!(rig.ask(&wire, head), "");

    let answer = rig.ask(&wire, "8\r\n01234567\r\n");

    assert_eq!(response(&answer).0, 413);
}

#[test]
fn a_100_is_said_only_to_those_who_wait_for_it() {
    let rig = rig(sum());
    let wire = rig.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    assert!(rig.ask(&wire, head).starts_with("HTTP/1.1 100 "));
    assert_eq!(response(&rig.ask(&wire, "ok")), (200, "ok"));

    let refused = head.replace("Length: 2", "Length: 20");
    let answer = rig.ask(&wire, refused);
    assert_eq!(response(&answer).0, 413, "{answer}");
}

// ---- Routes ----

#[test]
fn what_no_route_matches_is_told() {
    let log = Log::default();
    let rig = rig(http::Server::new()
        .get("/a", |_, res| res.text("body"))
        .post("/a", |_, res| res.empty())
        .ws("/ws", hook(&log, |_, _| ())));
    let wire = rig.connect();
    assert_eq!(response(&rig.ask(&wire, get("/b"))).0, 404);

    let answer = rig.ask(&wire, "PUT /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(response(&answer).0, 405);
    assert!(answer.to_lowercase().contains("allow: get, post, head, options"), "{answer}");

    let head = rig.ask(&wire, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.contains("200") && head.contains("4") && head.ends_with("\r\n\r\n"), "{head}");

    let options = rig.ask(&wire, "OPTIONS /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(options.starts_with("HTTP/1.1 204") && options.contains("GET, POST"), "{options}");
    assert!(rig.ask(&wire, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 204"));

    let upgrade = rig.ask(&wire, get("/ws"));
    assert_eq!(response(&upgrade).0, 426);
    assert!(upgrade.contains("Upgrade: websocket"), "{upgrade}");
    assert_eq!(response(&rig.ask(&wire, get("/a"))).1, "body", "all that on one connection");
}

#[test]
fn parameters_and_hosts_choose_the_route() {
    let inner = http::Server::new().get("/", |_, res| res.text("inner"));
    let rig = rig(http::Server::new()
        .get("/", |_, res| res.text("outer"))
        .get("/user/{id}", |req, res| res.text(req.param("id").unwrap()))
        .get("/user/me", |_, res| res.text("literal"))
        .get("/files/{*rest}", |req, res| {
            res.text(&format!("{} {:?}", req.param("rest").unwrap(), req.query()))
        })
        .fallback(|req, res| res.status(404).text(req.host()))
        .host("inner.example", inner));
    let wire = rig.connect();
    let ask = |path: &str, host: &str| {
        let answer = rig.ask(&wire, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        response(&answer).1.to_owned()
    };

    assert_eq!(ask("/user/42", "x"), "42");
    assert_eq!(ask("/user/me", "x"), "literal");
    assert_eq!(ask("/files/a/b%20c?q=1", "x"), "a/b%20c Some(\"q=1\")");
    assert_eq!(ask("/", "INNER.example:80"), "inner");
    assert_eq!(ask("/", "other.example"), "outer");
    assert_eq!(ask("/none", "h.example"), "h.example");
}

#[test]
fn mistakes_in_patterns_are_told_by_listen_and_the_server_is_given_back() {
    let rig = Rig::new(Trigger::Edge);
    let bad = |server: http::Server| {
        let refused = rig.rt.listen("127.0.0.1:0", server).unwrap_err();
        assert_eq!(refused.error.kind(), std::io::ErrorKind::InvalidInput);
        drop(refused.value);
        refused.error.to_string()
    };
    let f = |_: &http::Request<'_>, res: http::Response<'_>| res.empty();
    assert!(bad(http::Server::new().get("no-slash", f)).contains("no-slash"));
    assert!(bad(http::Server::new().get("/{open", f)).contains("/{open"));
    assert!(bad(http::Server::new().get("/a/{x}", f).get("/a/{y}", f)).contains("/a/{y}"));
    assert!(bad(http::Server::new().get("/a", f).get("/a", f)).contains("twice"));
    assert!(bad(http::Server::new().host("h", http::Server::new().get("x", f))).contains('x'));
    assert!(rig.rt.listen("localhost:80", http::Server::new()).is_err());
    assert_eq!(rig.world.open(), 0);
}

#[test]
fn a_header_that_would_break_the_message_is_refused() {
    let rig = rig(http::Server::new()
        .get("/{*v}", |_, res| res.header("x-bad", "a\r\nSet-Cookie: b").text("x"))
        .get("/name", |_, res| res.header("x bad", "a").text("x"))
        .get("/own", |_, res| res.header("transfer-encoding", "chunked").text("x"))
        .get("/redirect", |_, res| res.redirect(302, "/a\nb"))
        .get("/try", |_, mut res| {
            assert!(res.try_header("x", "a\0").is_err());
            res.text("fine")
        }));
    let wire = rig.connect();
    for path in ["/value", "/name", "/own", "/redirect"] {
        let answer = rig.ask(&wire, get(path));
        assert_eq!(response(&answer).0, 500, "{answer}");
        assert!(!answer.to_lowercase().contains("cookie") && !answer.contains("x bad"), "{answer}");
    }
    assert_eq!(response(&rig.ask(&wire, get("/try"))), (200, "fine"));
}

#[test]
fn a_route_that_forgets_to_answer_is_a_500() {
    // The answer of another exchange is proof enough for the compiler.
    let spare: Rc<RefCell<Option<http::Answer>>> = Rc::default();
    let (put, take) = (Rc::clone(&spare), spare);
    let rig = rig(http::Server::new()
        .get("/keep", move |_, res| {
            *put.borrow_mut() = Some(res.text("kept"));
            planted()
        })
        .get("/forget", move |_, res| {
            drop(res);
            take.borrow_mut().take().unwrap()
        }));
    let (a, b) = (rig.connect(), rig.connect());
    rig.ask(&a, get("/keep"));

    assert_eq!(response(&rig.ask(&b, get("/forget"))).0, 500);
}

// ---- Panics ----

#[test]
fn a_panic_is_a_500_for_its_connection_and_the_others_live() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(hello().get("/panic", |_, _| planted()));
        let (other, wire) = (rig.connect(), rig.connect());
        rig.ask(&other, get("/1"));

        let answer = rig.ask(&wire, get("/1") + &get("/panic") + &get("/2"));

        assert_eq!(statuses(&answer), [200, 500]);
        assert!(wire.is_eof());
        assert_eq!(response(&rig.ask(&other, get("/2"))).1, "/2");
        assert_eq!(rig.rt.stats().panics, 1);
    }
}

#[test]
fn a_panic_in_a_stream_is_told_to_its_handler_and_ends_the_answer_short() {
    struct Bad(Log);
    impl http::Handler for Bad {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            cx.head(200, &[("content-length", "10")]).unwrap();
            cx.write(b"half").unwrap();
            planted()
        }
        fn closed(&mut self, _: &mut http::Cx<'_>, why: Reason) {
            self.0.closed(why);
        }
    }
    let log = Log::default();
    let l = log.clone();
    let rig = rig(http::Server::new().get("/", move |_, res| res.stream(Bad(l.clone()))));
    let wire = rig.connect();

    let answer = rig.ask(&wire, get("/"));
    rig.run_for(secs(3));

    assert!(answer.ends_with("half"), "{answer}");
    assert!(wire.is_eof() || wire.is_reset());
    assert_eq!(log.take(), ["closed Panic"]);
}

// ---- Time ----

#[test]
fn slow_heads_and_bodies_and_idle_connections_are_ended_in_time() {
    let rig = rig(sum());
    let (idle, head, body) = (rig.connect(), rig.connect(), rig.connect());
    rig.pump();
    for _ in 0..9 {
        head.write(b"G");
        head.write(b"");
        rig.run_for(secs(1));
    }
    assert_eq!(text(&head), "");
    rig.run_for(secs(2));
    let answer = text(&head);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    body.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n");
    for _ in 0..8 {
        body.write(b"x");
        rig.run_for(secs(5));
    }
    let answer = text(&body);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    assert!(idle.is_eof() && text(&idle).is_empty(), "idle ends without a word");
    rig.run_for(secs(5));
    assert_eq!(rig.rt.stats().open, 0);
}

#[test]
fn an_answer_that_nobody_reads_ends_its_connection() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        rig.serve(http::Server::new().get("/", move |_, res| res.stream(Numbers::new(&l, 1_000))));
        let wire = rig.connect();
        rig.ask(&wire, "");
        wire.write(get("/").as_bytes());
        rig.run_for(secs(29));
        assert_eq!(rig.rt.stats().open, 1);

        rig.run_for(secs(5));

        assert_eq!(rig.rt.stats().open, 0, "{trigger:?}");
        assert_eq!(log.take().last().unwrap(), "closed WriteStall");
    }
}

#[test]
fn the_goodbye_arrives_although_the_peer_keeps_sending() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(sum());
        let wire = rig.connect();
        wire.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n");
        for _ in 0..40 {
            wire.write(&[b'x'; 1_000]);
            rig.run_for(ms(1));
        }

        assert!(!wire.is_reset());
        assert_eq!(response(&text(&wire)).0, 413);
        assert!(wire.is_eof());
        rig.run_for(secs(5));
        assert_eq!((rig.rt.stats().open, rig.world.open()), (0, 1), "{trigger:?}");
    }
}

#[test]
fn lingering_is_bounded_in_bytes() {
    let rig = rig(sum());
    let wire = rig.connect();
    wire.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
    rig.pump();
    for _ in 0..200 {
        wire.write(&[b'x'; 1_000]);
        rig.pump();
    }

    assert_eq!(rig.rt.stats().open, 0);
}

#[test]
fn under_faults_that_lose_nothing_every_answer_comes() {
    for seed in 0..30 {
        let trigger = TRIGGERS[seed as usize % 3];
        let rig = Rig::with(trigger, Limits::default(), seed, Faults::lossless());
        let l = Log::default();
        rig.serve(hello().get("/long", move |_, res| res.stream(Numbers::new(&l, 30))));
        let wire = rig.connect();
        wire.write((get("/a") + &get("/long") + &get("/b")).as_bytes());
        let mut input = Vec::new();
        for _ in 0..100 {
            rig.run_for(ms(20));
            input.extend(wire.read());
        }
        let answers = responses(&input);
        assert_eq!(answers.len(), 3, "seed {seed}");
        assert_eq!(answers[1].1.len(), 30 * CHUNK);
    }
}

#[test]
fn a_server_has_error_pages_of_its_own() {
    let rig = rig(http::Server::new()
        .get("/there", |_, res| res.text("here"))
        .errors(|status, res| res.html(&format!("<h1>{status}</h1>"))));
    let wire = rig.connect();

    let missing = rig.ask(&wire, get("/nowhere"));
    let wrong = rig.ask(&wire, "POST /there HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");

    assert_eq!(response(&missing), (404, "<h1>404</h1>"));
    assert_eq!(response(&wrong), (405, "<h1>405</h1>"));
    assert!(wrong.contains("allow: GET, HEAD, OPTIONS\r\n"), "{wrong}");
    rig.end();
}

/// RFC 9110, 6.6.1: an origin with a clock dates every answer of 2xx to 4xx.
#[test]
fn what_the_server_refuses_by_itself_is_dated() {
    let rig = rig(hello());
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_string(), 400),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000)), 431),
        ("GET / HTTP/1.1\r\nHost:".to_string(), 408),
    ] {
        let wire = rig.connect();
        let mut answer = rig.ask(&wire, request);
        rig.run_for(secs(20));
        answer.push_str(&text(&wire));

        assert_eq!(response(&answer).0, status, "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\ndate: tue, 14 nov 2023 "), "{answer}");
    }
    rig.end();
}
