//! Requests behind requests on one connection, and what time counts against a server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::http::{Client, Failure, Stage, Whole};
use lodger::{ConnId, Handle, Limits, http, raw};
use lodger_backend::Trigger;

use crate::kit::{Rig, TRIGGERS, ms, planted, quiet_panics, secs};

type Told = Rc<RefCell<Vec<(u32, Result<Whole, Failure>)>>>;

/// Asks for `/0`, `/1`, … at once, pipelined.
fn ask(client: &Client, count: u32) -> Told {
    let told = Told::default();
    for n in 0..count {
        let into = Rc::clone(&told);
        client
            .get(&format!("http://127.0.0.1/{n}"))
            .pipelined()
            .whole(1 << 20, move |result| into.borrow_mut().push((n, result)));
    }
    told
}

fn bodies(told: &Told) -> Vec<(u32, String)> {
    let body = |whole: &Whole| String::from_utf8(whole.body.clone()).unwrap();
    told.borrow().iter().map(|(n, result)| (*n, body(result.as_ref().unwrap()))).collect()
}

fn numbers(count: u32) -> Vec<(u32, String)> {
    (0..count).map(|n| (n, n.to_string())).collect()
}

fn echo() -> http::Server {
    http::Server::new().get("/{n}", |req, res| res.text(req.param("n").unwrap()))
}

#[test]
fn pipelined_requests_share_a_connection_and_keep_their_order() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(echo());
        let client = Client::new(&rig.rt);

        let told = ask(&client, 16);
        rig.run_for(ms(50));
        assert_eq!(bodies(&told), numbers(16), "{trigger:?}");
        let again = ask(&client, 3);
        rig.run_for(ms(50));

        assert_eq!(bodies(&again), numbers(3), "{trigger:?}");
        assert_eq!(rig.rt.stats().accepted, 1, "{trigger:?}");
        rig.end();
    }
}

#[test]
fn a_pipeline_has_a_limit_and_others_do_not_join_it() {
    let mut limits = Limits::default();
    limits.client.pipeline = 4;
    let rig = Rig::limited(Trigger::Edge, limits);
    rig.serve(echo());
    let client = Client::new(&rig.rt);

    let told = ask(&client, 8);
    let alone = Rc::clone(&told);
    client.get("http://127.0.0.1/8").whole(9, move |got| alone.borrow_mut().push((8, got)));
    rig.run_for(ms(50));

    let mut all = bodies(&told);
    all.sort();
    assert_eq!((all, rig.rt.stats().accepted), (numbers(9), 3));
    rig.end();
}

#[test]
fn what_is_not_idempotent_is_not_pipelined() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);
    struct Never;
    impl http::Fetch for Never {
        fn head(&mut self, _cx: &mut http::FetchCx<'_>, _head: &http::ResponseHead<'_>) {}
        fn closed(&mut self, _h: &Handle, _outcome: Result<http::Timing, Failure>) {
            unreachable!("it was refused");
        }
    }

    assert!(client.post("http://127.0.0.1/", b"x").pipelined().send(Never).is_err());
    let put = client.request("PUT", "http://127.0.0.1/").streamed(None).pipelined();
    assert!(put.send(Never).is_err());
    assert_eq!(rig.world.open(), 0);
    rig.end();
}

/// Answers the first so many requests of its connection, then ends it in some way.
struct Answers {
    left: u32,
    broken: bool,
    asked: Rc<Cell<u32>>,
}

impl raw::Handler for Answers {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("GET /")) {
            self.asked.set(self.asked.get() + 1);
            if self.left == 0 {
                if self.broken {
                    let _ = cx.send(b"what?\r\n\r\n");
                }
                cx.close();
                return;
            }
            self.left -= 1;
            let n = line.split(' ').next().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{n}", n.len());
            cx.send(head.as_bytes()).unwrap();
        }
    }
}

fn answering(first: u32, broken: bool) -> (Rig, Client, Rc<Cell<u32>>) {
    let rig = Rig::new(Trigger::Edge);
    let (asked, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&asked);
    rig.serve(raw::Server::new(move |_| {
        let first = if seen.replace(1) == 0 { first } else { u32::MAX };
        Some(Answers { left: first, broken, asked: Rc::clone(&counted) })
    }));
    let client = Client::new(&rig.rt);
    (rig, client, asked)
}

#[test]
fn what_was_not_answered_is_tried_once_more_on_connections_of_its_own() {
    for answered in [0, 1, 3] {
        let (rig, client, _) = answering(answered, false);

        let told = ask(&client, 4);
        rig.run_for(secs(1));

        let mut all = bodies(&told);
        all.sort();
        assert_eq!(all, numbers(4), "{answered}");
        let others = u64::from(4 - answered);
        assert_eq!(rig.rt.stats().accepted, 1 + others, "{answered}");
        rig.end();
    }
}

#[test]
fn a_broken_answer_is_told_and_only_those_behind_it_are_tried_again() {
    let (rig, client, _) = answering(1, true);

    let told = ask(&client, 3);
    rig.run_for(secs(1));

    let told = told.borrow();
    let fate = |n: u32| told.iter().find(|(of, _)| *of == n).unwrap().1.as_ref().err();
    assert_eq!(told.len(), 3);
    assert!(fate(0).is_none() && fate(2).is_none());
    assert_eq!(fate(1).map(|failure| failure.stage), Some(Stage::FirstByte));
    rig.end();
}

#[test]
fn without_pipelining_what_was_sent_is_not_tried_again() {
    let (rig, client, asked) = answering(0, false);
    let told = Rc::new(Cell::new(0));
    let counted = Rc::clone(&told);

    client.get("http://127.0.0.1/0").whole(9, move |result| {
        assert!(!result.unwrap_err().never_sent);
        counted.set(counted.get() + 1);
    });
    rig.run_for(secs(1));

    assert_eq!((told.get(), asked.get(), rig.rt.stats().accepted), (1, 1, 1));
    rig.end();
}

#[test]
fn each_is_told_once_when_the_runtime_ends_or_a_handler_panics() {
    quiet_panics();
    let (rig, client, _) = answering(1, false);
    let told = ask(&client, 3);
    rig.run_for(ms(0));
    rig.end();
    assert_eq!(told.borrow().len(), 3);

    let rig = Rig::new(Trigger::Edge);
    rig.serve(echo());
    let client = Client::new(&rig.rt);
    client.get("http://127.0.0.1/x").pipelined().whole(9, |_| planted());
    let told = ask(&client, 3);
    rig.run_for(secs(1));
    assert_eq!(bodies(&told).len(), 3);
    rig.end();
}

// ---- time ----

/// Hears a response, and holds it back when it begins.
struct Holds {
    id: Rc<Cell<Option<ConnId>>>,
    outcome: Rc<RefCell<Option<Result<http::Timing, Failure>>>>,
    /// Pieces of a body to be written, one each so many seconds.
    pieces: u32,
    pause: bool,
}

impl http::Fetch for Holds {
    fn head(&mut self, cx: &mut http::FetchCx<'_>, _head: &http::ResponseHead<'_>) {
        self.id.set(Some(cx.id()));
        if self.pause {
            cx.pause(true);
        }
    }

    fn writable(&mut self, cx: &mut http::FetchCx<'_>, _room: usize) {
        let _ = cx.timer(0, secs(20));
    }

    fn timer(&mut self, cx: &mut http::FetchCx<'_>, _tag: u64) {
        if self.pieces == 0 {
            return cx.finish().unwrap();
        }
        self.pieces -= 1;
        cx.write(b"piece").unwrap();
        let _ = cx.timer(0, secs(20));
    }

    fn closed(&mut self, _h: &Handle, outcome: Result<http::Timing, Failure>) {
        *self.outcome.borrow_mut() = Some(outcome);
    }
}

fn holds(pieces: u32, pause: bool) -> Holds {
    Holds { id: Rc::default(), outcome: Rc::default(), pieces, pause }
}

/// `ClientLimits::body` is 30 s: the reader's pause does not count, the silence after it does.
#[test]
fn a_pause_of_the_reader_does_not_count_against_the_server() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(raw::Server::new(|_| {
        struct Half;
        impl raw::Handler for Half {
            fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
                cx.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
            }
        }
        Some(Half)
    }));
    let client = Client::new(&rig.rt);
    let fetch = holds(0, true);
    let (id, outcome) = (Rc::clone(&fetch.id), Rc::clone(&fetch.outcome));

    client.get("http://127.0.0.1/").send(fetch).unwrap();
    rig.run_for(secs(300));
    assert_eq!(*outcome.borrow(), None, "it is paused");
    rig.rt.pause(id.get().unwrap(), false).unwrap();
    rig.run_for(secs(29));
    assert_eq!(*outcome.borrow(), None, "the time begins anew");
    rig.run_for(secs(3));

    let failure = outcome.borrow().unwrap().unwrap_err();
    assert_eq!(failure.stage, Stage::Body);
    rig.end();
}

/// Answers once the body of 15 bytes is there.
struct Whenever(Vec<u8>);

impl raw::Handler for Whenever {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.ends_with(b"piecepiecepiece") {
            cx.send(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        }
    }
}

/// `ClientLimits::first_byte` is 30 s, from the last byte of the request.
#[test]
fn the_time_of_an_upload_does_not_count_against_the_server() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(raw::Server::new(|_| Some(Whenever(Vec::new()))));
    let client = Client::new(&rig.rt);
    let fetch = holds(3, false);
    let outcome = Rc::clone(&fetch.outcome);

    client.request("POST", "http://127.0.0.1/").streamed(Some(15)).send(fetch).unwrap();
    rig.run_for(secs(58));
    assert_eq!(*outcome.borrow(), None, "the request is not complete");
    rig.run_for(secs(30));

    assert!(matches!(*outcome.borrow(), Some(Ok(_))), "{outcome:?}");
    rig.end();
}

/// A body that is there at once, and a server that reads it slowly: only the time after its last
/// byte has left counts.
#[test]
fn the_time_that_output_waits_does_not_count_against_the_server() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(raw::Server::new(|_| Some(Slow)));
    let client = Client::new(&rig.rt);
    let told = Rc::new(RefCell::new(None));
    let into = Rc::clone(&told);
    let body = vec![b'x'; 8 << 20];

    client.post("http://127.0.0.1/", &body).whole(9, move |got| *into.borrow_mut() = Some(got));
    rig.run_for(secs(100));
    let failure = told.borrow_mut().take().unwrap().unwrap_err();

    assert_eq!(failure.stage, Stage::FirstByte);
    assert!(failure.timing.total > secs(50), "{:?}", failure.timing);
    rig.end();
}

/// Reads for a moment every second, for twenty-five seconds, then all; never answers.
struct Slow;

impl raw::Handler for Slow {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        cx.pause(true);
        let _ = cx.timer(25, secs(1));
    }

    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.pause(true);
    }

    fn timer(&mut self, cx: &mut raw::Cx<'_>, left: u64) {
        cx.pause(false);
        let soon = if left > 0 { secs(1) } else { ms(1) };
        let _ = cx.timer(left.saturating_sub(1), soon);
    }
}
