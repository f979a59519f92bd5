//! A client of server-sent events, against our own server and against servers that misbehave.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use lodger::http::{self, Client, Event, EventSource, Received, Subscription};
use lodger::policy::Retry;
use lodger::{Handle, Limits, Reason, raw};
use lodger_backend::Trigger;

use crate::kit::{Rig, TRIGGERS, ms, secs};

/// What was heard: `open`, `name/id/data`, `lost ms`, and how it ended.
#[derive(Clone, Default)]
struct Log {
    lines: Rc<RefCell<Vec<String>>>,
    ended: Rc<Cell<Option<Reason>>>,
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.borrow_mut())
    }

    fn add(&self, line: impl Into<String>) {
        assert_eq!(self.ended.get(), None, "nothing is told after `closed`");
        self.lines.borrow_mut().push(line.into());
    }
}

impl http::EventHandler for Log {
    fn open(&mut self, _h: &Handle) {
        self.add("open");
    }

    fn event(&mut self, _h: &Handle, event: &Received<'_>) {
        self.add(format!("{}/{}/{}", event.name, event.id, event.data));
    }

    fn lost(&mut self, _h: &Handle, _why: Reason, wait: Duration) {
        self.add(format!("lost {}", wait.as_millis()));
    }

    fn closed(&mut self, _h: &Handle, why: Reason) {
        assert_eq!(self.ended.replace(Some(why)), None, "exactly once");
    }
}

fn quick() -> Retry {
    Retry::new(&[ms(100), ms(400)]).jitter(0)
}

fn open(rig: &Rig, retry: Retry) -> (Log, Subscription) {
    let log = Log::default();
    let source = EventSource::new(&Client::new(&rig.rt), "http://127.0.0.1/news").retry(retry);
    let news = source.open(log.clone()).unwrap();
    (log, news)
}

/// Serves what `answer` gives for each request, then closes.
fn says(limits: Limits, answer: impl Fn(&str) -> String + 'static) -> Rig {
    struct Says<F>(Rc<F>);
    impl<F: Fn(&str) -> String + 'static> raw::Handler for Says<F> {
        fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
            let answer = (self.0)(std::str::from_utf8(bytes).unwrap());
            cx.send(answer.as_bytes()).unwrap();
            cx.close();
        }
    }
    let rig = Rig::limited(Trigger::Edge, limits);
    let answer = Rc::new(answer);
    rig.serve(raw::Server::new(move |_| Some(Says(Rc::clone(&answer)))));
    rig
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n";

#[test]
fn a_stream_is_heard_and_resumed_where_it_broke() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let topic = http::Events::new();
        let news = topic.clone();
        rig.serve(
            http::Server::new()
                .get("/news", move |req, res| news.subscribe(req.last_event_id(), res)),
        );
        let (log, subscription) = open(&rig, quick());
        rig.run_for(ms(50));

        topic.send(&rig.rt, &Event::new("one\ntwo").name("headline").id("a")).unwrap();
        rig.run_for(ms(50));
        assert_eq!(log.take(), ["open", "headline/a/one\ntwo"], "{trigger:?}");
        rig.rt.abort(subscription.id().unwrap());
        rig.run_for(ms(50));
        topic.send(&rig.rt, &Event::new("missed").id("b")).unwrap();
        assert_eq!(rig.rt.streams(1)[0].state, "waiting");
        rig.run_for(ms(100));

        assert_eq!(log.take(), ["lost 100", "open", "message/b/missed"], "{trigger:?}");
        assert_eq!(subscription.last_event_id(), "b");
        subscription.close();
        rig.run_for(ms(50));
        assert_eq!(log.ended.get(), Some(Reason::Aborted));
        assert!(rig.rt.streams(1).is_empty() && subscription.id().is_none());
        rig.end();
    }
}

#[test]
fn the_server_is_asked_for_what_follows_the_last_event() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&asked);
    let rig = says(Limits::default(), move |request| {
        let id = request.lines().find_map(|line| line.strip_prefix("Last-Event-ID: "));
        assert!(request.contains("\r\nAccept: text/event-stream\r\n"), "{request}");
        seen.borrow_mut().push(id.map(String::from));
        format!("{STREAM}id: k\u{e4}se\ndata: x\n\nid: cut off\ndata: y\n")
    });

    let (log, news) = open(&rig, quick().attempts(Some(1)));
    rig.run_for(ms(150));

    let first = &asked.borrow()[..2];
    assert_eq!(first, [None, Some("k\u{e4}se".to_string())]);
    // Each connection brought an event, so none has failed.
    assert_eq!(log.take()[..4], ["open", "message/k\u{e4}se/x", "lost 100", "open"]);
    news.close();
    rig.run_for(ms(50));
    rig.end();
}

#[test]
fn the_longer_wait_counts_the_policys_or_the_servers() {
    let rig = says(Limits::default(), |_| format!("{STREAM}retry: 250\n\n"));
    let (log, _news) = open(&rig, quick().attempts(Some(2)));
    rig.run_for(secs(5));
    assert_eq!(log.take(), ["open", "lost 250", "open", "lost 400", "open"]);
    assert_eq!(log.ended.get(), Some(Reason::Eof));
    rig.end();

    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    let rig = says(Limits::default(), move |_| busy.to_string());
    let (log, _news) = open(&rig, quick().attempts(Some(1)));
    rig.run_for(secs(5));
    assert_eq!(log.take(), ["lost 2000"]);
    assert_eq!(log.ended.get(), Some(Reason::Refused { status: 503 }));
    rig.end();
}

#[test]
fn an_answer_that_is_no_stream_is_final() {
    for (answer, why) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", Some(Reason::Done)),
        ("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", Some(Reason::Refused { status: 404 })),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\ndata: a\n\n", None),
        ("HTTP/1.1 200 OK\r\n\r\ndata: a\n\n", None),
    ] {
        let rig = says(Limits::default(), move |_| answer.to_string());
        let (log, _news) = open(&rig, Retry::default());

        rig.run_for(secs(60));

        assert!(log.take().is_empty(), "{answer}");
        match (why, log.ended.get()) {
            (Some(why), ended) => assert_eq!(ended, Some(why)),
            (None, ended) => assert!(matches!(ended, Some(Reason::Peer(_))), "{ended:?}"),
        }
        rig.end();
    }
}

#[test]
fn an_event_over_the_limit_is_final() {
    let mut limits = Limits::default();
    limits.client.event = 1000;
    let line = format!("data: {}\n", "x".repeat(900));
    for stream in [line.repeat(2), "x".repeat(1001)] {
        let rig = says(limits.clone(), move |_| format!("{STREAM}data: a\n\n{stream}"));
        let (log, _news) = open(&rig, Retry::default());

        rig.run_for(secs(60));

        assert_eq!(log.take(), ["open", "message//a"]);
        assert!(matches!(log.ended.get(), Some(Reason::Peer(_))), "{:?}", log.ended);
        rig.end();
    }
}

/// Begins a stream, says something after 50 s, then nothing any more.
struct FallsSilent;

impl raw::Handler for FallsSilent {
    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.send(STREAM.as_bytes()).unwrap();
        cx.timer(0, secs(50)).unwrap();
    }

    fn timer(&mut self, cx: &mut raw::Cx<'_>, _tag: u64) {
        cx.send(b":still here\n\n").unwrap();
    }
}

#[test]
fn a_stream_that_falls_silent_is_opened_again() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(raw::Server::new(|_| Some(FallsSilent)));
    let (log, news) = open(&rig, quick());

    rig.run_for(secs(109));
    assert_eq!(log.take(), ["open"]);
    rig.run_for(secs(3));

    assert_eq!(log.take(), ["lost 100", "open"]);
    news.close();
    rig.run_for(ms(50));
    assert_eq!(log.ended.get(), Some(Reason::Aborted));
    rig.end();
}

#[test]
fn it_can_be_closed_at_any_time_and_ends_with_the_runtime() {
    // While nothing has answered yet; while it waits; from its own handler's side of the turn.
    let rig = says(Limits::default(), |_| String::new());
    let (log, news) = open(&rig, quick());
    news.close();
    rig.run_for(ms(1));
    assert_eq!(log.ended.get(), Some(Reason::Aborted));

    let (log, news) = open(&rig, Retry::new(&[secs(60)]));
    rig.run_for(ms(50));
    assert_eq!(rig.rt.streams(2)[0].state, "waiting");
    news.close();
    assert_eq!(log.ended.get(), None, "no call runs a handler");
    rig.run_for(ms(1));
    assert_eq!(log.ended.get(), Some(Reason::Aborted));

    let (waiting, _news) = open(&rig, Retry::new(&[secs(60)]));
    rig.run_for(ms(50));
    let (connecting, _news) = open(&rig, Retry::default());
    rig.end();
    assert_eq!(waiting.ended.get(), Some(Reason::Shutdown));
    assert_eq!(connecting.ended.get(), Some(Reason::Shutdown));
}

#[test]
fn what_cannot_be_asked_is_told_at_once() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);

    assert!(EventSource::new(&client, "ftp://x").open(Log::default()).is_err());
    let bad = EventSource::new(&client, "http://127.0.0.1/").header("a b", "c");
    assert!(bad.open(Log::default()).is_err());
    assert_eq!(rig.world.open(), 0);
    rig.end();
}
