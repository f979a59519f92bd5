//! The server's connection in virtual time, and writers against readers.

use core::time::Duration;
use std::string::String;
use std::vec::Vec;

use lodger_backend::Micros;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

use super::check::{fuzz_h1, read};
use super::{
    Body, Event, Known, Length, RequestHead, Response, Server, http_date, put_field, put_request,
    put_trailer, reason,
};
use crate::error::{Blame, Error, Wire};
use crate::io::{Out, Pool, Rx, Scratch, Tx};
use crate::limits::Limits;
use crate::proto::Cx;
use crate::proto::split::{assert_same_for_any_cut, pieces};

/// A server with everything it is lent.
struct Rig {
    server: Server,
    limits: Limits,
    out: Out,
    pool: Pool,
    scratch: Scratch,
    left: Vec<u8>,
    now: Micros,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
const EXPECT: &[u8] =
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

fn ok(length: Length) -> Response<'static> {
    Response { status: 200, fields: b"", length, date: None, close: false }
}

impl Rig {
    fn new() -> Self {
        let limits = Limits::default();
        let server = Server::new(Micros::ZERO, &limits);
        let (out, pool, scratch) = (Out::new(), Pool::new(0), Scratch::new());
        Self { server, limits, out, pool, scratch, left: Vec::new(), now: Micros::ZERO }
    }

    /// Gives `bytes` behind what was left, polls once, and says in a word what came.
    fn poll(&mut self, bytes: &[u8]) -> Result<String, Error> {
        self.left.extend_from_slice(bytes);
        let mut left = core::mem::take(&mut self.left);
        let mut rx = Rx::new(&mut left, false);
        let mut cx = Cx { now: self.now, limits: &self.limits, random: &mut || 0 };
        let mut tx = Tx::new(&mut self.out, &mut self.pool);
        let event = match self.server.poll(&mut cx, &mut rx, &mut self.scratch) {
            Ok(event) => event,
            Err(e) => {
                self.server.goodbye(&mut tx, e, None);
                return Err(e);
            }
        };
        let word = match event {
            None => "none".into(),
            Some(Event::Request(r)) => String::from(r.target),
            Some(Event::Body(data)) => String::from_utf8(data.to_vec()).unwrap(),
            Some(Event::Trailers(_)) => "trailers".into(),
            Some(Event::End) => "end".into(),
        };
        let used = rx.consumed();
        self.left.extend_from_slice(&left[used..]);
        Ok(word)
    }

    /// Polls until there is nothing more.
    fn poll_all(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut words = Vec::new();
        let mut bytes = bytes;
        loop {
            match self.poll(core::mem::take(&mut bytes)).unwrap() {
                word if word == "none" => return words,
                word => words.push(word),
            }
        }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Server, &mut Tx<'_>) -> T) -> T {
        f(&mut self.server, &mut Tx::new(&mut self.out, &mut self.pool))
    }

    fn wait(&mut self, seconds: u64) -> Result<(), Error> {
        self.now = self.now + Duration::from_secs(seconds);
        let mut cx = Cx { now: self.now, limits: &self.limits, random: &mut || 0 };
        let mut tx = Tx::new(&mut self.out, &mut self.pool);
        let done = self.server.on_deadline(&mut cx);
        done.inspect_err(|e| self.server.goodbye(&mut tx, *e, None))
    }

    /// Takes what was sent.
    fn sent(&mut self) -> String {
        let text = String::from_utf8(self.out.bytes().to_vec()).unwrap();
        self.out.clear(&mut self.pool);
        text
    }
}

#[test]
fn a_connection_is_at_most_64_bytes() {
    assert!(size_of::<Server>() <= 64, "{}", size_of::<Server>());
}

#[test]
fn an_answer_is_written_in_one_go() {
    let mut rig = Rig::new();
    rig.poll_all(GET);

    let date = http_date(784_111_777);
    let head = Response { date: Some(&date), fields: b"A: b\r\n", ..ok(Length::None) };
    rig.with(|s, tx| s.respond_whole(tx, &head, b"Hello")).unwrap();

    assert_eq!(
        rig.sent(),
        "HTTP/1.1 200 OK\r\nA: b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Length: 5\r\n\r\nHello"
    );
    assert!(rig.server.is_idle() && !rig.server.must_close());
}

/// RFC 9112, 9.3.2: one answer after the other, in order.
#[test]
fn a_pipelined_request_waits_for_the_answer_to_the_one_before() {
    let mut rig = Rig::new();
    let two = [GET, b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"].concat();

    assert_eq!(rig.poll_all(&two), ["/"]);
    assert!(rig.server.awaits_answer());
    assert_eq!(rig.server.deadline(), None);
    rig.with(|s, tx| s.respond(tx, &ok(Length::Known(2)))).unwrap();
    assert_eq!(rig.poll(b""), Ok("none".into()));
    rig.with(|s, tx| s.body(tx, b"ab")).unwrap();
    assert_eq!(rig.poll(b""), Ok("none".into()));
    rig.with(Server::finish).unwrap();

    assert_eq!(rig.poll_all(b""), ["/2"]);
}

/// RFC 9110, sections 9.3.2, 15.3.5 and 15.4.5; RFC 9112, section 6.3.
#[test]
fn what_has_no_body_is_sent_without_one() {
    let head = GET.strip_prefix(b"GET").map(|rest| [b"HEAD", rest].concat()).unwrap();
    for (request, status, announced) in
        [(&head[..], 200, "Content-Length: 5\r\n"), (GET, 204, ""), (GET, 304, "")]
    {
        for whole in [true, false] {
            let mut rig = Rig::new();
            rig.poll_all(request);
            let head = Response { status, ..ok(Length::Known(5)) };
            rig.with(|s, tx| {
                if whole {
                    return s.respond_whole(tx, &head, b"hello");
                }
                s.respond(tx, &head)?;
                s.body(tx, b"hello")?;
                s.finish(tx)
            })
            .unwrap();

            let expected = std::format!("HTTP/1.1 {status} {}\r\n{announced}\r\n", reason(status));
            assert_eq!(rig.sent(), expected);
            assert!(rig.server.is_idle());
        }
    }
}

#[test]
fn an_unknown_length_is_chunked_or_ends_with_the_connection() {
    for (request, expected, keeps) in [
        (
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            true,
        ),
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", false),
    ] {
        let mut rig = Rig::new();
        rig.poll_all(request);
        rig.with(|s, tx| {
            s.respond(tx, &ok(Length::Unknown))?;
            for part in [&b"ab"[..], b"", b"c"] {
                s.body(tx, part)?;
            }
            s.finish(tx)
        })
        .unwrap();

        assert_eq!((rig.sent().as_str(), rig.server.is_idle()), (expected, keeps));
        assert_eq!(rig.server.must_close(), !keeps);
    }
}

#[test]
fn misuse_is_refused_and_writes_nothing() {
    let mut rig = Rig::new();
    let blames = |r: Result<(), Error>| r.unwrap_err().blame() == Blame::Caller;

    assert!(blames(rig.with(|s, tx| s.respond(tx, &ok(Length::None)))));
    assert!(blames(rig.with(|s, tx| s.interim(tx, 103, b""))));
    assert!(blames(rig.with(|s, tx| s.switch(tx, b""))));
    assert!(blames(rig.with(|s, tx| s.body(tx, b"a"))));
    rig.poll_all(GET);
    assert!(blames(rig.with(|s, tx| s.body(tx, b"a"))));
    assert!(blames(rig.with(Server::finish)));
    assert!(blames(rig.with(|s, tx| s.switch(tx, b""))));
    assert!(blames(rig.with(|s, tx| s.interim(tx, 101, b""))));
    assert!(blames(rig.with(|s, tx| s.interim(tx, 200, b""))));
    for status in [0, 100, 199, 1000] {
        let head = Response { status, ..ok(Length::None) };
        assert!(blames(rig.with(|s, tx| s.respond(tx, &head))));
    }
    assert!(blames(rig.with(|s, tx| s.respond(tx, &ok(Length::Known(u64::MAX))))));
    assert_eq!(rig.sent(), "");

    rig.with(|s, tx| s.respond(tx, &ok(Length::Known(2)))).unwrap();
    rig.sent();
    assert!(blames(rig.with(|s, tx| s.respond(tx, &ok(Length::None)))));
    assert!(blames(rig.with(|s, tx| s.body(tx, b"abc"))));
    assert_eq!(rig.sent(), "");
    assert!(blames(rig.with(Server::finish)));
    assert!(rig.server.must_close());
    assert_eq!(rig.with(Server::finish), Ok(()));
}

/// RFC 9110, section 9.3.6.
#[test]
fn a_connect_is_answered_but_never_with_success() {
    let mut rig = Rig::new();
    rig.poll_all(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n");

    assert!(rig.with(|s, tx| s.respond(tx, &ok(Length::None))).is_err());
    let head = Response { status: 501, ..ok(Length::None) };
    rig.with(|s, tx| s.respond(tx, &head)).unwrap();

    assert_eq!(rig.sent(), "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n");
}

/// RFC 9110, section 10.1.1.
#[test]
fn continue_is_sent_once_and_only_when_the_body_is_wanted() {
    let mut rig = Rig::new();
    rig.poll_all(EXPECT);
    assert_eq!((rig.sent().as_str(), rig.server.deadline()), ("", None));

    rig.with(Server::want_body);
    rig.with(Server::want_body);

    assert_eq!(rig.sent(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(rig.server.deadline().is_some());
    assert_eq!(rig.poll_all(b"hello"), ["hello", "end"]);
    rig.with(|s, tx| s.respond_whole(tx, &ok(Length::None), b"")).unwrap();
    assert_eq!(rig.sent(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(rig.server.is_idle());
}

#[test]
fn an_answer_without_continue_ends_the_connection_and_drops_the_body() {
    let mut rig = Rig::new();
    rig.poll_all(EXPECT);

    let head = Response { status: 413, ..ok(Length::None) };
    rig.with(|s, tx| s.respond(tx, &head)).unwrap();

    let expected =
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(rig.sent(), expected);
    assert!(rig.server.must_close());
    assert_eq!(rig.poll_all(b"hello"), [""; 0]);
    assert!(rig.left.is_empty());
}

#[test]
fn interim_responses_come_before_the_answer_and_not_to_http_1_0() {
    for (request, expected) in
        [(GET, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"), (b"GET / HTTP/1.0\r\n\r\n", "")]
    {
        let mut rig = Rig::new();
        rig.poll_all(request);
        rig.with(|s, tx| s.interim(tx, 103, b"Link: a\r\n")).unwrap();
        assert_eq!(rig.sent(), expected);
        assert!(rig.server.awaits_answer());
    }
}

#[test]
fn an_explicit_continue_asks_for_the_body() {
    let mut rig = Rig::new();
    rig.poll_all(EXPECT);

    rig.with(|s, tx| s.interim(tx, 100, b"")).unwrap();
    rig.with(|s, tx| s.respond_whole(tx, &ok(Length::None), b"")).unwrap();

    let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(rig.sent(), expected);
    assert_eq!(rig.poll_all(b"hello"), ["hello", "end"]);
    assert!(rig.server.is_idle());
}

#[test]
fn an_answer_may_overlap_a_body_that_was_asked_for() {
    let mut rig = Rig::new();
    rig.poll_all(POST);
    rig.with(Server::want_body);

    rig.with(|s, tx| s.respond_whole(tx, &ok(Length::None), b"early")).unwrap();
    assert_eq!(rig.sent(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
    assert!(rig.server.reads_body() && !rig.server.awaits_answer() && !rig.server.must_close());

    assert_eq!(rig.poll(b"helloGET"), Ok("hello".into()));
    assert_eq!(rig.poll(b""), Ok("end".into()));
    assert!(rig.server.is_idle());
    assert_eq!(rig.poll_all(b" /2 HTTP/1.1\r\nHost: x\r\n\r\n"), ["/2"]);
}

#[test]
fn a_body_over_its_limit_is_refused_before_it_is_taken() {
    let mut rig = Rig::new();
    rig.poll_all(POST);
    rig.with(|s, _| s.limit_body(4));
    assert_eq!(rig.poll(b"h").unwrap_err().wire(), Wire::H1(413));

    let mut rig = Rig::new();
    rig.poll_all(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    rig.with(|s, _| s.limit_body(4));
    assert_eq!(rig.poll(b"4\r\nabcd\r\n"), Ok("abcd".into()));
    assert_eq!(rig.poll(b"1\r\n").unwrap_err().wire(), Wire::H1(413));
    assert!(rig.sent().starts_with("HTTP/1.1 413 "));
}

/// The peer is told once an answer cannot be mistaken for a part of another.
#[test]
fn an_error_behind_the_head_of_an_answer_ends_the_connection_without_a_word() {
    let mut rig = Rig::new();
    rig.poll_all(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    rig.with(|s, tx| {
        s.want_body(tx);
        s.respond(tx, &ok(Length::Unknown))
    })
    .unwrap();
    rig.sent();

    assert_eq!(rig.poll(b"x").unwrap_err().wire(), Wire::None);
    assert_eq!(rig.sent(), "");
    assert!(rig.server.must_close());
    assert!(rig.with(|s, tx| s.body(tx, b"late")).is_err());
}

#[test]
fn a_goodbye_is_a_whole_response_and_has_no_body_for_head() {
    let mut rig = Rig::new();
    assert_eq!(rig.poll(b"GET / HTTP/3.0\r\n").unwrap_err().wire(), Wire::H1(505));
    assert_eq!(
        rig.sent(),
        "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\n\
         Content-Length: 27\r\nConnection: close\r\n\r\nHTTP Version Not Supported\n"
    );

    let mut rig = Rig::new();
    rig.poll_all(b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(rig.poll(b"x").is_err());
    assert!(rig.sent().ends_with("\r\n\r\n"));
}

/// RFC 9110, section 7.8.
#[test]
fn after_a_switch_the_input_is_left_alone() {
    let mut rig = Rig::new();
    let get = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    rig.poll_all(get);

    rig.with(|s, tx| s.switch(tx, b"Sec-WebSocket-Accept: x\r\n")).unwrap();

    assert_eq!(
        rig.sent(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: x\r\n\r\n"
    );
    assert_eq!(rig.poll_all(b"frames"), [""; 0]);
    assert_eq!((rig.left.as_slice(), rig.server.deadline()), (&b"frames"[..], None));
    assert!(!rig.server.must_close() && !rig.server.awaits_answer());
    assert!(rig.with(|s, tx| s.switch(tx, b"")).is_err());
}

#[test]
fn the_answer_after_go_away_is_the_last() {
    let mut rig = Rig::new();
    rig.poll_all(GET);
    rig.with(|s, _| s.go_away());
    assert!(!rig.server.must_close());

    rig.with(|s, tx| s.respond_whole(tx, &ok(Length::None), b"")).unwrap();

    assert!(rig.sent().contains("\r\nConnection: close\r\n"));
    assert!(rig.server.must_close());
    assert_eq!(rig.poll_all(GET), [""; 0]);

    let mut rig = Rig::new();
    rig.with(|s, _| s.go_away());
    assert!(rig.server.must_close());
}

/// The clock of a head runs from its first byte, whatever comes in between.
#[test]
fn a_slow_head_gets_408_ten_seconds_after_its_first_byte() {
    let mut rig = Rig::new();
    assert_eq!(rig.wait(14), Ok(()));
    for &byte in GET.iter().take(9) {
        assert_eq!(rig.poll(&[byte]), Ok("none".into()));
        assert_eq!(rig.wait(1), Ok(()));
    }
    rig.poll(b"1").unwrap();

    assert_eq!(rig.wait(1).unwrap_err().wire(), Wire::H1(408));
    assert!(rig.sent().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(rig.server.must_close());
}

#[test]
fn an_idle_connection_ends_without_a_word_after_fifteen_seconds() {
    let mut rig = Rig::new();
    rig.now = Micros::ZERO + Duration::from_secs(14);
    rig.poll_all(GET);
    rig.now = rig.now + Duration::from_secs(100);
    rig.with(|s, tx| s.respond_whole(tx, &ok(Length::None), b"")).unwrap();
    rig.sent();

    // The answer knew no time; the wait begins with the next call that does.
    assert_eq!(rig.wait(1), Ok(()));
    assert_eq!(rig.server.deadline(), Some(rig.now + Duration::from_secs(15)));
    assert_eq!(rig.wait(14), Ok(()));
    assert_eq!(rig.wait(1).unwrap_err().wire(), Wire::None);
    assert_eq!((rig.sent().as_str(), rig.server.must_close()), ("", true));
}

#[test]
fn an_empty_line_does_not_begin_a_head() {
    let mut rig = Rig::new();
    rig.poll(b"\r").unwrap();
    assert_eq!(rig.server.deadline(), Some(Micros::ZERO + Duration::from_secs(10)));
    rig.poll(b"\n").unwrap();
    assert!(rig.server.is_idle());
    assert_eq!(rig.server.deadline(), Some(Micros::ZERO + Duration::from_secs(15)));
}

/// 5 s of grace and a window of 10 s, then each window alone; 10,240 bytes are enough for one.
#[test]
fn a_slow_body_gets_408_at_the_end_of_a_window() {
    let mut rig = Rig::new();
    rig.poll_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    rig.poll_all(&[b'a'; 10_240]);
    assert_eq!(rig.wait(15), Ok(()));
    rig.poll_all(&[b'a'; 10_240]);
    assert_eq!(rig.wait(10), Ok(()));
    rig.poll_all(&[b'a'; 10_239]);
    assert_eq!(rig.wait(9), Ok(()));

    assert_eq!(rig.wait(1).unwrap_err().wire(), Wire::H1(408));
}

#[test]
fn a_runtime_that_did_not_read_restarts_the_clock() {
    let mut rig = Rig::new();
    rig.poll_all(POST);
    rig.now = rig.now + Duration::from_secs(1000);
    rig.with(|s, _| s.restart_clock());

    assert_eq!(rig.wait(0), Ok(()));
    assert_eq!(rig.server.deadline(), Some(rig.now + Duration::from_secs(15)));
}

#[test]
fn fields_are_found_by_name_in_any_case() {
    let mut bytes = b"GET / HTTP/1.1\r\nhOsT: x\r\nA: 1\r\na: 2\r\nB: \xff\r\nTE:\r\n\r\n".to_vec();
    let (limits, mut scratch) = (Limits::default(), Scratch::new());
    let mut server = Server::new(Micros::ZERO, &limits);
    let mut cx = Cx { now: Micros::ZERO, limits: &limits, random: &mut || 0 };
    let mut rx = Rx::new(&mut bytes, false);
    let event = server.poll(&mut cx, &mut rx, &mut scratch).unwrap();

    let Some(Event::Request(request)) = event else { panic!() };
    let fields = request.fields;
    assert_eq!((fields.len(), fields.is_empty(), request.body), (5, false, Body::None));
    assert_eq!(fields.known(Known::Host), Some(&b"x"[..]));
    assert_eq!((fields.get("HOST"), fields.get_str("a")), (Some(&b"x"[..]), Some("1")));
    assert_eq!((fields.get("b"), fields.get_str("b")), (Some(&b"\xff"[..]), None));
    assert_eq!((fields.get("te"), fields.known(Known::Te)), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!((fields.get("c"), fields.known(Known::Origin)), (None, None));
    assert_eq!(
        fields.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["hOsT", "A", "a", "B", "TE"]
    );
}

/// RFC 9112, section 11.1: what would split a response is refused, not repaired.
#[test]
fn a_field_that_could_split_a_response_is_refused() {
    let mut out = Vec::new();
    put_field(&mut out, "A-b", "c \t\u{e4}").unwrap();
    assert_eq!(out, "A-b: c \t\u{e4}\r\n".as_bytes());

    for (name, value) in [
        ("A", "b\r\nC: d"),
        ("A", "b\n"),
        ("A", "\r"),
        ("A", "\0"),
        ("A", "\x7f"),
        ("A", "\x1b[0m"),
        ("", "b"),
        ("A:", "b"),
        ("A b", "c"),
        ("A\r\n", "b"),
        ("\u{e4}", "b"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("CONNECTION", "close"),
        ("Date", ""),
        ("Upgrade", "h2c"),
        ("Keep-Alive", "5"),
        ("Host", "x"),
    ] {
        assert_eq!(put_field(&mut out, name, value).unwrap_err().blame(), Blame::Caller, "{name}");
    }
    assert_eq!(out.len(), 12);
}

/// RFC 9110, 6.5.1: what means something before the content alone is not put behind it.
#[test]
fn a_field_that_belongs_before_the_content_is_refused_behind_it() {
    let mut out = Vec::new();
    put_trailer(&mut out, "ETag", "\"a\"").unwrap();
    put_trailer(&mut out, "X-Sum", "1").unwrap();
    assert_eq!(out, b"ETag: \"a\"\r\nX-Sum: 1\r\n");

    for (name, value) in [
        ("Transfer-Encoding", "chunked"),
        ("content-length", "1"),
        ("HOST", "x"),
        ("Authorization", "Basic"),
        ("Set-Cookie", "a=b"),
        ("cache-control", "no-store"),
        ("Content-Encoding", "gzip"),
        ("content-type", "a/b"),
        ("Content-Range", "bytes 0-0/1"),
        ("if-match", "*"),
        ("TE", "trailers"),
        ("Trailer", "A"),
        ("WWW-Authenticate", "Basic"),
        ("a b", ""),
        ("a", "b\r\n"),
    ] {
        let refused = put_trailer(&mut out, name, value).unwrap_err();
        assert_eq!(refused.blame(), Blame::Caller, "{name}");
    }
    assert_eq!(out.len(), 21);
}

/// RFC 9112, 7.1.2: behind the last chunk; what is not in chunks has no place for them.
#[test]
fn trailers_stand_behind_chunks_alone() {
    let finish = |request: &str, head: &Response<'_>| {
        let mut rig = Rig::new();
        rig.poll_all(request.as_bytes());
        rig.with(|s, tx| s.respond(tx, head)).unwrap();
        rig.with(|s, tx| s.body(tx, b"ab")).unwrap();
        rig.sent();
        rig.with(|s, tx| s.finish_with(tx, b"A: b\r\n")).unwrap();
        assert!(!rig.server.awaits_answer());
        rig.sent()
    };
    let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let status = |status| Response { status, ..ok(Length::Unknown) };

    assert_eq!(finish(get, &ok(Length::Unknown)), "0\r\nA: b\r\n\r\n");
    assert_eq!(finish(get, &ok(Length::Known(2))), "");
    assert_eq!(finish(get, &status(204)), "");
    assert_eq!(finish(get, &status(304)), "");
    assert_eq!(finish(&get.replace("GET", "HEAD"), &ok(Length::Unknown)), "");
    assert_eq!(finish(&get.replace("1.1", "1.0"), &ok(Length::Unknown)), "");

    let mut rig = Rig::new();
    rig.poll_all(GET);
    let early = rig.with(|s, tx| s.finish_with(tx, b"A: b\r\n")).unwrap_err();
    assert_eq!((early.blame(), rig.sent()), (Blame::Caller, String::new()));
}

#[test]
fn requests_that_a_server_would_not_read_are_not_written() {
    let good = RequestHead {
        method: "GET",
        target: "/a?b",
        host: "x:80",
        fields: b"A: b\r\n",
        length: Length::None,
        upgrade: false,
        close: false,
    };
    let write = |head: &RequestHead<'_>| {
        let (mut out, mut pool) = (Out::new(), Pool::new(0));
        let result = put_request(&mut Tx::new(&mut out, &mut pool), head);
        result.map(|_| String::from_utf8(out.bytes().to_vec()).unwrap())
    };
    let start = "GET /a?b HTTP/1.1\r\nHost: x:80\r\nA: b\r\n";
    assert_eq!(write(&good), Ok(std::format!("{start}\r\n")));
    let close = RequestHead { close: true, ..good };
    assert_eq!(write(&close), Ok(std::format!("{start}Connection: close\r\n\r\n")));
    let upgrade = RequestHead { upgrade: true, ..good };
    let expected = std::format!("{start}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(write(&upgrade), Ok(expected));
    let post = RequestHead { method: "POST", ..good };
    assert!(write(&post).unwrap().ends_with("Content-Length: 0\r\n\r\n"));

    for bad in [
        RequestHead { method: "", ..good },
        RequestHead { method: "G ET", ..good },
        RequestHead { method: "GET\r\n", ..good },
        RequestHead { target: "", ..good },
        RequestHead { target: "/a b", ..good },
        RequestHead { target: "/\r\nA: b", ..good },
        RequestHead { host: "", ..good },
        RequestHead { host: "x\r\nA: b", ..good },
        RequestHead { length: Length::Known(u64::MAX), ..good },
    ] {
        assert_eq!(write(&bad).unwrap_err().blame(), Blame::Caller, "{bad:?}");
    }
}

/// RFC 9110, section 5.6.7; days counted by hand and around leap days.
#[test]
fn dates_are_those_of_the_calendar() {
    for (unix, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(core::str::from_utf8(&http_date(unix)), Ok(text));
    }
}

/// What the writer writes, the reader reads.
fn round_trip(parts: &[Vec<u8>], length: Length, cuts: &[usize]) -> (Vec<String>, bool) {
    let (mut out, mut pool) = (Out::new(), Pool::new(0));
    let mut rig = Rig::new();
    let head = RequestHead {
        method: "PUT",
        target: "/",
        host: "x",
        fields: b"",
        length,
        upgrade: false,
        close: false,
    };
    let mut tx = Tx::new(&mut out, &mut pool);
    let mut writer = put_request(&mut tx, &head).unwrap();
    for part in parts {
        writer.body(&mut tx, part).unwrap();
    }
    writer.finish(&mut tx).unwrap();

    let mut cuts = cuts.iter().cycle();
    let mut body = Vec::new();
    for piece in pieces(out.bytes(), || cuts.next().copied().unwrap_or(1)) {
        let mut bytes = piece;
        loop {
            match rig.poll(core::mem::take(&mut bytes)).unwrap().as_str() {
                "none" | "end" if rig.left.is_empty() => break,
                "none" => break,
                "/" => rig.with(Server::want_body),
                "end" => {}
                data => body.extend_from_slice(data.as_bytes()),
            }
        }
    }
    assert_eq!(body, parts.concat());
    rig.with(|s, tx| {
        s.respond(tx, &ok(length))?;
        parts.iter().try_for_each(|part| s.body(tx, part))?;
        s.finish(tx)
    })
    .unwrap();
    let trace = read(&Limits::default(), "PUT", &[rig.out.bytes()], false);
    assert_eq!(trace.error, None);
    (trace.events, rig.server.is_idle() && !trace.closes)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bodies_arrive_as_they_were_written(
        parts in proptest::collection::vec("[a-z]{0,40}", 0..6),
        cuts in proptest::collection::vec(1usize..30, 1..6),
        chunked in any::<bool>(),
    ) {
        let parts: Vec<Vec<u8>> = parts.into_iter().map(String::into_bytes).collect();
        let body = parts.concat();
        let length = if chunked { Length::Unknown } else { Length::Known(body.len() as u64) };

        let (events, reusable) = round_trip(&parts, length, &cuts);

        let shown = std::format!("body {}", body.escape_ascii());
        let expected: Vec<&str> = events.iter().skip(1).map(String::as_str).collect();
        let wanted = if body.is_empty() { std::vec!["end"] } else { std::vec![shown.as_str(), "end"] };
        prop_assert_eq!(expected, wanted);
        prop_assert_eq!(reusable, true);
    }

    #[test]
    fn any_chunked_bytes_mean_the_same_however_cut(bytes in "[0-9a-f;=\" \r\nA:\\PC]{0,60}", seed in any::<u64>()) {
        let all = std::format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{bytes}");
        let limits = Limits::default();
        assert_same_for_any_cut(all.as_bytes(), seed, |p| super::check::serve(&limits, p, false));
    }

    #[test]
    fn any_bytes_pass_the_fuzzers_rules(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_h1(&bytes);
    }
}

/// The seeds of the fuzzer hold as a test, too.
#[test]
fn the_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/h1");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        fuzz_h1(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 12, "{count}");
}
