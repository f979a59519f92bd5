//! Server-sent events: one stream, topics, and coming back.

use std::cell::Cell;
use std::rc::Rc;

use lodger::http::{self, Event, EventStream};
use lodger::sim::Wire;
use lodger::{Limits, SendError, WhenFull};
use lodger_backend::Trigger;

use crate::kit::*;

/// Gives the head and the body of a response in chunks, as far as it has come.
fn split(bytes: &[u8]) -> (String, String) {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), chunks(&bytes[end..]))
}

/// Decodes chunks, as many as are whole.
fn chunks(mut rest: &[u8]) -> String {
    let mut body = String::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(data) = rest.get(line + 2..line + 2 + size) else { break };
        body += std::str::from_utf8(data).unwrap();
        assert_eq!(&rest[line + 2 + size..][..2], b"\r\n");
        rest = &rest[line + 4 + size..];
    }
    body
}

struct Topic {
    rig: Rig,
    news: http::Events,
}

impl Topic {
    fn new(news: http::Events) -> Self {
        Self::limited(Limits::default(), news)
    }

    fn limited(limits: Limits, news: http::Events) -> Self {
        let rig = Rig::limited(Trigger::Edge, limits);
        let topic = news.clone();
        rig.serve(
            http::Server::new().get("/", move |req, res| topic.subscribe(req.last_event_id(), res)),
        );
        Self { rig, news }
    }

    fn listen(&self, more: &str) -> Wire {
        let wire = self.rig.connect();
        wire.write(format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n").as_bytes());
        self.rig.pump();
        wire
    }

    fn send(&self, text: &str) {
        self.news.send(&self.rig.rt, &Event::new(text)).unwrap();
        self.rig.pump();
    }
}

/// The values of the `data` lines.
fn data(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

/// The last `id` line's value.
fn last_id(body: &str) -> &str {
    body.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap()
}

#[test]
fn a_stream_is_written_from_the_route_and_from_host_code() {
    let rig = Rig::new(Trigger::Edge);
    let kept: Rc<Cell<Option<EventStream>>> = Rc::default();
    let keep = Rc::clone(&kept);
    rig.serve(http::Server::new().get("/", move |_req, res| {
        let h = res.runtime();
        let (answer, stream) = res.header("access-control-allow-origin", "*").events(None);
        stream.send(h, &Event::new("1").name("n").id("a")).unwrap();
        keep.set(Some(stream));
        answer
    }));
    let wire = rig.connect();
    wire.write(get("/").as_bytes());
    rig.pump();
    let first = wire.read();
    let stream = kept.get().unwrap();

    stream.send(&rig.rt, &Event::new("2\r\n3")).unwrap();
    stream.comment(&rig.rt, "c").unwrap();
    let refused = stream.send(&rig.rt, &Event::new("").name("a\nb"));
    stream.close(&rig.rt).unwrap();
    rig.pump();
    let rest = wire.read();
    wire.write(get("/").as_bytes());
    rig.pump();

    let (head, body) = split(&first);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"), "{head}");
    assert_eq!(body, "id: a\nevent: n\ndata: 1\n\n");
    assert_eq!(chunks(&rest), "data: 2\ndata: 3\n\n:c\n\n");
    assert!(rest.ends_with(b"0\r\n\r\n"));
    assert!(matches!(refused, Err(SendError::Misuse(_))));
    // The connection goes on, and the old stream's id names nothing of it.
    assert!(split(&wire.read()).0.starts_with("HTTP/1.1 200 "));
    assert_eq!(stream.send(&rig.rt, &Event::new("x")), Err(SendError::Gone));
    rig.end();
}

#[test]
fn a_head_request_is_answered_without_a_stream() {
    let topic = Topic::new(http::Events::new());
    let wire = topic.rig.connect();

    let answer = topic.rig.ask(&wire, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let again = topic.rig.ask(&wire, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");

    assert!(answer.contains("text/event-stream") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(again.starts_with("HTTP/1.1 200 "));
    assert!(topic.news.is_empty());
}

#[test]
fn an_old_client_gets_the_events_without_chunks() {
    let topic = Topic::new(http::Events::new().history(0, 0));
    let old = topic.rig.connect();
    old.write(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    topic.rig.pump();
    let new = topic.listen("");

    topic.send("a");

    assert!(text(&old).ends_with("\r\n\r\ndata: a\n\n"));
    assert_eq!(split(&new.read()).1, "data: a\n\n");
}

#[test]
fn a_quiet_stream_is_kept_alive_by_comments() {
    let topic = Topic::new(http::Events::new().keep_alive(Some(secs(15))).retry(secs(3)));
    let wire = topic.listen("");

    topic.rig.run_for(secs(31));

    assert_eq!(split(&wire.read()).1, "retry: 3000\n\n:\n\n:\n\n");
    let quiet = Topic::new(http::Events::new().keep_alive(None));
    let wire = quiet.listen("");
    assert!(quiet.rig.run_for(secs(600)) <= 1, "idle is no wakeups");
    assert_eq!(split(&wire.read()).1, "");
}

#[test]
fn a_client_that_comes_back_hears_what_it_missed() {
    let topic = Topic::new(http::Events::new());
    let wire = topic.listen("");
    for text in ["1", "2"] {
        topic.send(text);
    }
    let (_, body) = split(&wire.read());
    wire.reset();
    topic.rig.pump();
    for text in ["3", "4"] {
        topic.send(text);
    }
    let id = last_id(&body).to_owned();

    let back = topic.listen(&format!("Last-Event-ID: {id}\r\n"));
    let fresh = topic.listen("");
    let stranger = topic.listen("Last-Event-ID: 00000000-7\r\n");
    topic.send("5");

    assert_eq!(data(&body), ["1", "2"]);
    assert_eq!(data(&split(&back.read()).1), ["3", "4", "5"]);
    assert_eq!(data(&split(&fresh.read()).1), ["5"]);
    assert_eq!(data(&split(&stranger.read()).1), ["1", "2", "3", "4", "5"]);
    assert!(topic.news.knows(&id) && !topic.news.knows("00000000-7"));
    assert_eq!(topic.news.len(), 3);
}

#[test]
fn the_history_is_bounded_in_events_and_in_bytes() {
    let count = Topic::new(http::Events::new().history(3, 1 << 20));
    let bytes = Topic::new(http::Events::new().history(100, 150));
    for topic in [&count, &bytes] {
        for n in 0..20 {
            topic.send(&n.to_string());
        }
    }

    let count = split(&count.listen("Last-Event-ID: x\r\n").read()).1;
    let bytes = split(&bytes.listen("Last-Event-ID: x\r\n").read()).1;

    assert_eq!(data(&count), ["17", "18", "19"]);
    assert!(bytes.len() <= 150 && bytes.len() > 100 && data(&bytes).ends_with(&["18", "19"]));
}

#[test]
fn an_event_larger_than_the_history_is_sent_and_not_kept() {
    let topic = Topic::new(http::Events::new().history(5, 100));
    let wire = topic.listen("");
    topic.send("small");

    topic.send(&"x".repeat(200));
    topic.send("y");

    assert_eq!(data(&split(&wire.read()).1).len(), 3);
    assert_eq!(data(&split(&topic.listen("Last-Event-ID: x\r\n").read()).1), ["y"]);
}

#[test]
fn ids_of_the_program_are_kept_as_they_are() {
    let topic = Topic::new(http::Events::new());
    for id in ["a", "b", "a", "c"] {
        topic.news.send(&topic.rig.rt, &Event::new(id).id(id)).unwrap();
    }

    let body = split(&topic.listen("Last-Event-ID: a\r\n").read()).1;

    assert_eq!(body, "id: c\ndata: c\n\n");
}

#[test]
fn a_slow_client_is_closed_and_resumes() {
    let mut limits = Limits::default();
    limits.io.queue_high = 2000;
    limits.io.queue_low = 500;
    let topic = Topic::limited(limits, http::Events::new());
    let (slow, fast) = (topic.listen(""), topic.listen(""));
    slow.set_window(300);

    for n in 0..100 {
        topic.send(&format!("{n:050}"));
    }
    let lost = topic.news.len() == 1;
    slow.set_window(1 << 20);
    topic.rig.pump();
    let (_, body) = split(&slow.read());
    let id = last_id(&body).to_owned();
    let back = topic.listen(&format!("Last-Event-ID: {id}\r\n"));
    let (_, rest) = split(&back.read());

    assert!(lost && slow.is_eof() | slow.is_reset());
    let (heard, missed) = (data(&body), data(&rest));
    assert!(missed.len() > 10 && heard.len() + missed.len() >= 100);
    assert_eq!(missed.last(), Some(&format!("{:050}", 99).as_str()));
    assert_eq!(data(&split(&fast.read()).1).len(), 100);
}

#[test]
fn a_slow_client_may_miss_the_oldest_instead() {
    let mut limits = Limits::default();
    limits.io.queue_high = 2000;
    limits.io.queue_low = 500;
    let news = http::Events::new().when_full(WhenFull::DropOldest { messages: 3 });
    let topic = Topic::limited(limits, news);
    let slow = topic.listen("");
    slow.read();
    slow.set_window(0);

    for n in 0..50 {
        topic.send(&format!("{n:050}"));
    }
    let mut bytes = Vec::new();
    slow.set_window(1 << 20);
    for _ in 0..10 {
        topic.rig.run_for(ms(1));
        bytes.extend(slow.read());
    }

    let body = chunks(&bytes);
    let last: Vec<_> = (47..50).map(|n| format!("{n:050}")).collect();
    assert!(data(&body).ends_with(&last.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(data(&body).len() < 20);
}

#[test]
fn a_client_that_leaves_is_off_the_list_at_once() {
    let topic = Topic::new(http::Events::new());
    let (a, b) = (topic.listen(""), topic.listen(""));

    a.close();
    b.reset();
    topic.rig.pump();

    assert_eq!(topic.news.len(), 0);
    topic.rig.end();
}
