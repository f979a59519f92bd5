//! Clients whose protocol is agreed on with the server: one connection for many requests, and what
//! becomes of them where it is HTTP/1.1, ends, or never comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::http::{Client, Failure, Stage, Whole};
use lodger::{Limits, Reason, http, raw, tls, ws};
use lodger_backend::Trigger;

use crate::kit::{self, Echo, Log, Rig, TRIGGERS, ms, secs};
use crate::tls::{configs, self_signed};

type Results = Rc<RefCell<Vec<Result<Whole, Failure>>>>;

/// Sends so many requests at once, with `method`, and gives what came of them.
fn burst(rig: &Rig, client: &Client, method: &str, url: &str, count: usize) -> Results {
    let got = Results::default();
    for _ in 0..count {
        let into = Rc::clone(&got);
        let ask = client.request(method, url);
        ask.whole(1 << 20, move |result| into.borrow_mut().push(result));
    }
    rig.run_for(secs(2));
    assert_eq!(got.borrow().len(), count, "each is told exactly once");
    got
}

fn all_fine(results: &Results, body: &str) {
    for result in &*results.borrow() {
        let whole = result.as_ref().unwrap();
        assert_eq!((whole.status, &*whole.body), (200, body.as_bytes()));
    }
}

fn shown() -> http::Server {
    http::Server::new().get("/", |req, res| {
        let tls = req.tls().unwrap();
        res.text(std::str::from_utf8(tls.alpn().unwrap_or(b"-")).unwrap())
    })
}

#[test]
fn requests_that_come_during_the_handshake_share_what_comes_of_it() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let (server, trust) = configs(&["localhost"]);
        rig.serve(tls::Server::new(&server, shown()));
        let client = Client::new(&rig.rt);
        client.tls(&trust);

        let first = burst(&rig, &client, "GET", "https://localhost:80/", 40);
        let then = burst(&rig, &client, "GET", "https://localhost:80/", 40);

        all_fine(&first, "h2");
        all_fine(&then, "h2");
        let timing = |results: &Results| results.borrow()[0].as_ref().unwrap().timing;
        assert!(timing(&first).tls.is_some() && timing(&first).first_byte.is_some());
        assert!(timing(&then).connect.is_none() && timing(&then).tls.is_none());
        let stats = rig.rt.stats();
        assert_eq!((stats.accepted, stats.handshakes), (1, 2), "{trigger:?}");
        rig.run_for(secs(60));
        assert_eq!((rig.rt.stats().open, rig.rt.stats().aborted), (0, 0));
        rig.end();
    }
}

#[test]
fn a_server_of_http1_gets_a_connection_for_each() {
    let (cert, key) = self_signed(&["localhost"]);
    let identity = || tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let roots = tls::Roots::from_pem(cert.as_bytes()).unwrap();
    let old = tls::ServerConfig::builder().identity(identity()).alpn(&["http/1.1"]).build();
    let new = tls::ServerConfig::builder().identity(identity()).build();
    for (server, forced) in [(old.unwrap(), false), (new.unwrap(), true)] {
        let rig = Rig::new(Trigger::Edge);
        rig.serve(tls::Server::new(&server, shown()));
        let client = Client::new(&rig.rt);
        let client = if forced { client.http1() } else { client };
        client.tls(&tls::ClientConfig::new(&roots).unwrap());

        all_fine(&burst(&rig, &client, "GET", "https://localhost:80/", 5), "http/1.1");
        assert_eq!(rig.rt.stats().accepted, 5);
        all_fine(&burst(&rig, &client, "GET", "https://localhost:80/", 5), "http/1.1");
        assert_eq!(rig.rt.stats().accepted, 5, "they are kept");
        rig.end();
    }
}

#[test]
fn above_the_servers_limit_another_connection_is_opened() {
    let mut limits = Limits::default();
    limits.h2.streams = 20;
    let rig = Rig::limited(Trigger::Edge, limits);
    let (server, trust) = configs(&["localhost"]);
    let handle = rig.rt.handle();
    let slow = http::Server::new().get("/", move |_req, res| {
        let (answer, later) = res.later();
        handle.after(ms(500), move |_| _ = later.answer(|res| res.text("late")));
        answer
    });
    rig.serve(tls::Server::new(&server, slow));
    let client = Client::new(&rig.rt);
    client.tls(&trust);

    all_fine(&burst(&rig, &client, "GET", "https://localhost:80/", 50), "late");

    assert_eq!((rig.rt.stats().accepted, rig.rt.stats().requests), (3, 50));
    rig.end();
}

#[test]
fn all_who_wait_hear_that_the_handshake_failed() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    let (_, trust) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, shown()));
    let client = Client::new(&rig.rt);
    client.tls(&trust);

    let got = burst(&rig, &client, "POST", "https://localhost:80/", 3);

    for result in &*got.borrow() {
        let failure = result.as_ref().unwrap_err();
        assert_eq!((failure.stage, failure.never_sent), (Stage::Tls, true));
        let timing = failure.timing;
        assert!(timing.connect.is_some() && timing.tls.is_none() && timing.first_byte.is_none());
    }
    assert_eq!(rig.rt.stats().accepted, 1);
    rig.end();
}

#[test]
fn the_end_of_the_runtime_is_told_to_those_who_wait() {
    let rig = Rig::new(Trigger::Edge);
    let (_, trust) = configs(&["localhost"]);
    rig.serve(raw::Server::new(|_| Some(Silent)));
    let client = Client::new(&rig.rt);
    client.tls(&trust);
    let got = Results::default();
    for _ in 0..3 {
        let into = Rc::clone(&got);
        let ask = client.get("https://localhost:80/");
        ask.whole(100, move |result| into.borrow_mut().push(result));
    }
    rig.run_for(ms(10));

    rig.rt.handle().end();

    let why: Vec<Reason> = got.borrow().iter().map(|r| r.as_ref().unwrap_err().why).collect();
    assert_eq!(why, [Reason::Shutdown; 3]);
    drop(client);
    rig.end();
}

struct Silent;

impl raw::Handler for Silent {
    fn data(&mut self, _cx: &mut raw::Cx<'_>, _bytes: &[u8]) {}
}

/// What a server does with what it hears, connection by connection.
#[derive(Clone, Copy)]
enum Does {
    /// Answers all.
    Answer,
    /// Answers the first, and has not looked at the others.
    GoAway,
    /// Refuses all but the first.
    Refuse,
    /// Is gone after it has read them.
    End,
}

/// A server of HTTP/2 by hand, which reads requests without a body.
struct Frames {
    does: Does,
    heard: Rc<Cell<u32>>,
    input: Vec<u8>,
    greeted: bool,
}

const GREETING: usize = 24;

impl raw::Handler for Frames {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if !self.greeted && self.input.len() >= GREETING {
            self.greeted = true;
            self.input.drain(..GREETING);
            cx.send(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        }
        let mut streams = Vec::new();
        while self.greeted && self.input.len() >= 9 {
            let len = usize::from(self.input[1]) << 8 | usize::from(self.input[2]);
            if self.input.len() < 9 + len {
                break;
            }
            let frame: Vec<u8> = self.input.drain(..9 + len).collect();
            if frame[3] == 1 {
                streams.push(frame[8]);
            }
        }
        self.heard.set(self.heard.get() + u32::try_from(streams.len()).unwrap());
        for stream in streams {
            let answers = matches!(self.does, Does::Answer) || stream == 1;
            match self.does {
                Does::End => return cx.close(),
                _ if answers => cx.send(&[0, 0, 1, 1, 5, 0, 0, 0, stream, 0x88]).unwrap(),
                Does::Refuse => {
                    cx.send(&[0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 7]).unwrap();
                }
                _ => {}
            }
        }
        if matches!(self.does, Does::GoAway) {
            cx.send(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0").unwrap();
        }
    }
}

/// Sends three POSTs at once to a server whose connections do this in turn; gives what came of
/// them, and how many requests it heard.
fn meets(does: &'static [Does]) -> (Results, u32) {
    let rig = Rig::new(Trigger::Edge);
    let (heard, nth) = (Rc::new(Cell::new(0)), Cell::new(0));
    let count = Rc::clone(&heard);
    rig.serve(raw::Server::new(move |_| {
        let does = *does.get(nth.replace(nth.get() + 1)).unwrap_or(&Does::Answer);
        Some(Frames { does, heard: Rc::clone(&count), input: Vec::new(), greeted: false })
    }));
    let client = Client::new(&rig.rt).http2();
    let got = burst(&rig, &client, "POST", "http://127.0.0.1/", 3);
    rig.end();
    (got, heard.get())
}

/// RFC 9113, section 8.7.
#[test]
fn what_was_never_looked_at_is_sent_once_more_and_nothing_else() {
    for (does, heard) in [(&[Does::GoAway][..], 5), (&[Does::Refuse], 5), (&[], 3)] {
        let (got, count) = meets(does);
        all_fine(&got, "");
        assert_eq!(count, heard);
    }

    let (got, count) = meets(&[Does::GoAway, Does::Refuse]);
    let fine = got.borrow().iter().filter(|result| result.is_ok()).count();
    assert_eq!((fine, count), (2, 5), "once, not twice");

    let (got, count) = meets(&[Does::End]);
    assert_eq!(count, 3, "it may have been done");
    for result in &*got.borrow() {
        let failure = result.as_ref().unwrap_err();
        assert_eq!((failure.stage, failure.never_sent), (Stage::FirstByte, false));
    }
}

struct Hears(Log, usize);

impl ws::Handler for Hears {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        let timing = cx.runtime().is_open(cx.id());
        self.0.add(format!("{} open {timing}", self.1));
        cx.send(ws::Message::Text(&format!("from {} {}", self.1, "a".repeat(1000)))).unwrap();
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        let ws::Message::Text(text) = message else { panic!("binary") };
        self.0.add(format!("{} {}", self.1, text.trim_end_matches('a')));
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        self.0.add(format!("{} closed {}", self.1, kit::name(why)));
    }
}

fn config() -> ws::Config {
    #[cfg(feature = "deflate")]
    return ws::Config::default().deflate(ws::Deflate::default());
    #[cfg(not(feature = "deflate"))]
    ws::Config::default()
}

fn sockets(rig: &Rig, client: &Client, url: &str, log: &Log, count: usize) -> Vec<ws::Connection> {
    let connect = |n: usize| {
        let socket = ws::Client::new(url).config(config()).by(client);
        socket.connect(&rig.rt, Hears(log.clone(), n)).unwrap()
    };
    (0..count).map(connect).collect()
}

fn sorted(log: &Log) -> Vec<String> {
    let mut lines = log.take();
    lines.sort();
    lines
}

/// RFC 8441.
#[test]
fn many_websockets_share_a_connection_with_requests() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let (server, trust) = configs(&["localhost"]);
        rig.serve(tls::Server::new(&server, shown().ws_with("/echo", config(), |_| Ok(Echo))));
        let client = Client::new(&rig.rt);
        client.tls(&trust);
        let log = Log::default();

        let connections = sockets(&rig, &client, "wss://localhost:80/echo", &log, 20);
        all_fine(&burst(&rig, &client, "GET", "https://localhost:80/", 3), "h2");

        let expected = |n| [format!("{n} from {n} "), format!("{n} open true")];
        let mut all: Vec<String> = (0..20).flat_map(expected).collect();
        all.sort();
        assert_eq!(sorted(&log), all, "{trigger:?}");
        let more = sockets(&rig, &client, "wss://localhost:80/echo", &log, 1);
        rig.run_for(ms(100));
        assert_eq!(sorted(&log), ["0 from 0 ", "0 open true"]);
        assert_eq!(rig.rt.stats().accepted, 1);

        for connection in connections.iter().chain(&more) {
            connection.close(1000);
        }
        rig.run_for(secs(1));
        assert_eq!(log.take().iter().filter(|line| line.ends_with(" closed Closed")).count(), 21);
        rig.run_for(secs(60));
        assert_eq!(rig.rt.stats().open, 0);
        rig.end();
    }
}

#[test]
fn websockets_have_connections_of_their_own_where_the_server_wants_that() {
    let rig = Rig::new(Trigger::Edge);
    let (cert, key) = self_signed(&["localhost"]);
    let identity = tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let server = tls::ServerConfig::builder().identity(identity).alpn(&["http/1.1"]);
    let roots = tls::Roots::from_pem(cert.as_bytes()).unwrap();
    let echo = shown().ws_with("/echo", config(), |_| Ok(Echo));
    rig.serve(tls::Server::new(&server.build().unwrap(), echo));
    let client = Client::new(&rig.rt);
    client.tls(&tls::ClientConfig::new(&roots).unwrap());
    let log = Log::default();

    let _connections = sockets(&rig, &client, "wss://localhost:80/echo", &log, 3);
    rig.run_for(secs(1));

    assert_eq!((sorted(&log).len(), rig.rt.stats().accepted), (6, 3));
    rig.end();
}

/// Greets in HTTP/2 without a word about CONNECT; answers a request of HTTP/1.1 with 404.
struct Old(Log);

impl raw::Handler for Old {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        let first = bytes.first().copied().unwrap_or(0);
        if first == b'P' {
            self.0.add("http/2");
            cx.send(b"\0\0\0\x04\0\0\0\0\0").unwrap();
        } else if first == b'G' {
            self.0.add("http/1.1");
            cx.send(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    }
}

/// RFC 8441, section 3: the setting is needed.
#[test]
fn a_server_that_does_not_know_websockets_in_streams_is_asked_by_http1() {
    let rig = Rig::new(Trigger::Edge);
    let (log, heard) = (Log::default(), Log::default());
    let into = heard.clone();
    rig.serve(raw::Server::new(move |_| Some(Old(into.clone()))));
    let client = Client::new(&rig.rt).http2();

    let _connections = sockets(&rig, &client, "ws://localhost:80/echo", &log, 2);
    rig.run_for(secs(1));
    let _more = sockets(&rig, &client, "ws://localhost:80/echo", &log, 1);
    rig.run_for(secs(1));

    assert_eq!(sorted(&heard), ["http/1.1", "http/1.1", "http/1.1", "http/2"]);
    assert_eq!(sorted(&log), ["0 closed Refused", "0 closed Refused", "1 closed Refused"]);
    rig.end();
}

#[test]
fn websockets_that_wait_hear_of_the_end_and_may_be_closed() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    let (_, trust) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, shown()));
    let client = Client::new(&rig.rt);
    client.tls(&trust);
    let log = Log::default();

    let connections = sockets(&rig, &client, "wss://localhost:80/echo", &log, 3);
    connections[1].close(1000);
    rig.run_for(secs(1));

    assert_eq!(sorted(&log), ["0 closed Peer", "1 closed Peer", "2 closed Peer"]);
    assert_eq!(rig.rt.stats().accepted, 1);
    let closed = sockets(&rig, &client, "wss://localhost:80/echo", &log, 1);
    rig.rt.handle().end();
    assert_eq!(sorted(&log), ["0 closed Shutdown"]);
    drop((connections, closed, client));
    rig.end();
}
