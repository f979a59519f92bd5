use core::time::Duration;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use lodger_backend::Micros;

use super::check::{Harness, Trace, fuzz_h2, read, serve};
use super::frame::{self, PREFACE};
use super::{Code, Connection, Role};
use crate::error::Wire;
use crate::io::{Out, Pool, Tx};
use crate::limits::Limits;
use crate::proto::hpack::Encoder;
use crate::proto::split::assert_same_for_any_cut;

const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")];
const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")];

/// Makes input: frames behind each other.
struct Wires(Vec<u8>, Encoder);

impl Wires {
    /// Begins as a client does.
    fn client() -> Self {
        Self(PREFACE.to_vec(), Encoder::new()).frame(frame::SETTINGS, 0, 0, b"")
    }

    /// Begins as a server does.
    fn server() -> Self {
        Self(Vec::new(), Encoder::new()).frame(frame::SETTINGS, 0, 0, b"")
    }

    fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        frame::put(&mut self.0, kind, flags, stream, payload);
        self
    }

    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            self.1.field(&mut block, name.as_bytes(), value.as_bytes());
        }
        block
    }

    fn headers(mut self, stream: u32, ends: bool, fields: &[(&str, &str)]) -> Self {
        let block = self.block(fields);
        self.frame(frame::HEADERS, frame::END_HEADERS | u8::from(ends), stream, &block)
    }

    fn data(self, stream: u32, ends: bool, data: &[u8]) -> Self {
        self.frame(frame::DATA, u8::from(ends), stream, data)
    }
}

/// How a peer was told off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// GOAWAY.
    All(Code),
    /// RST_STREAM.
    One(u32, Code),
    /// Nothing.
    Fine,
}

fn told(trace: &Trace) -> Told {
    let code = |payload: &[u8]| {
        let n = payload.last_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        CODES.into_iter().find(|code| *code as u32 == n).unwrap_or(Code::Internal)
    };
    let frames = trace.frames();
    let all = frames.iter().find(|frame| frame.0 == frame::GOAWAY);
    let one = frames.iter().find(|frame| frame.0 == frame::RST_STREAM);
    match (all, one) {
        (Some(frame), _) => Told::All(code(&frame.3)),
        (_, Some(frame)) => Told::One(frame.2, code(&frame.3)),
        _ => Told::Fine,
    }
}

const CODES: [Code; 12] = [
    Code::NoError,
    Code::Protocol,
    Code::Internal,
    Code::FlowControl,
    Code::SettingsTimeout,
    Code::StreamClosed,
    Code::FrameSize,
    Code::RefusedStream,
    Code::Cancel,
    Code::Compression,
    Code::EnhanceYourCalm,
    Code::Http11Required,
];

fn check(name: &str, wires: &Wires, expected: Told) {
    let limits = Limits::default();
    assert_same_for_any_cut(&wires.0, 3, |pieces| serve(&limits, pieces, false));
    let trace = serve(&limits, &[&wires.0], false);
    assert_eq!(told(&trace), expected, "{name}: {trace:?}");
    assert_eq!(trace.error.is_some(), matches!(expected, Told::All(_)), "{name}: {trace:?}");
}

#[test]
fn requests_are_told_and_answered() {
    let wires = Wires::client()
        .headers(1, true, &[GET, &[("a", "b"), ("cookie", "c=d"), ("cookie", "e=f")]].concat())
        .headers(3, false, &[POST, &[("content-length", "5")]].concat())
        .data(3, false, b"ab")
        .frame(0xBB, 0xFF, 9, b"unknown")
        .frame(frame::DATA, frame::PADDED | frame::END_STREAM, 3, b"\x02cde\0\0")
        .headers(5, false, POST)
        .data(5, false, b"x")
        .headers(5, true, &[("t", "u")]);
    check("requests", &wires, Told::Fine);

    let trace = serve(&Limits::default(), &[&wires.0], false);
    assert_eq!(
        trace.events,
        [
            "1 GET / host=x None ended=true expects=false ws=false host=x a=b cookie=c=d; e=f",
            "3 POST / host=x Length(5) ended=false expects=false ws=false host=x content-length=5",
            "3 data abcde",
            "3 end",
            "5 POST / host=x Chunked ended=false expects=false ws=false host=x",
            "5 data x",
            "5 trailers t=u",
        ]
    );
    let answers: Vec<_> = trace.frames().into_iter().filter(|f| f.0 == frame::DATA).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[1], (frame::DATA, frame::END_STREAM, 3, b"5".to_vec()));
    // A field section that ends the stream, behind data that does not: RFC 9113, section 8.1.
    assert_eq!(answers[2], (frame::DATA, 0, 5, b"1".to_vec()));
    let (kind, flags, stream, block) = trace.frames().pop().unwrap();
    assert_eq!((kind, flags, stream), (frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 5));
    assert!(!block.is_empty());
}

/// RFC 9113, sections 4 to 6: one row a rule.
#[test]
#[expect(clippy::too_many_lines, reason = "one row a rule")]
fn frames_that_break_a_rule_end_what_the_rule_says() {
    let c = Wires::client;
    let open = |w: Wires| w.headers(1, false, POST);
    let ended = |w: Wires| w.headers(1, true, GET);
    let all = Told::All;
    let window = [0x7F, 0xFF, 0xFF, 0xFF];
    let rows: Vec<(&str, Wires, Told)> = std::vec![
        (
            "no settings",
            Wires(PREFACE.to_vec(), Encoder::new()).frame(frame::PING, 0, 0, &[0; 8]),
            all(Code::Protocol)
        ),
        (
            "preface",
            Wires(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), Encoder::new()),
            all(Code::Protocol)
        ),
        ("too large", c().frame(frame::DATA, 0, 1, &[0; 16_385]), all(Code::FrameSize)),
        ("DATA on 0", c().data(0, false, b"a"), all(Code::Protocol)),
        ("DATA idle", c().data(1, false, b"a"), all(Code::Protocol)),
        (
            "DATA half-closed",
            ended(c()).frame(frame::PRIORITY, 0, 3, &[0; 5]).data(1, false, b"a"),
            all(Code::StreamClosed)
        ),
        (
            "DATA padding",
            open(c()).frame(frame::DATA, frame::PADDED, 1, b"\x03ab"),
            all(Code::Protocol)
        ),
        (
            "DATA padding of nothing",
            open(c()).frame(frame::DATA, frame::PADDED, 1, b""),
            all(Code::Protocol)
        ),
        ("HEADERS on 0", c().headers(0, true, GET), all(Code::Protocol)),
        ("HEADERS even", c().headers(2, true, GET), all(Code::Protocol)),
        ("HEADERS lower", c().headers(5, true, GET).headers(3, true, GET), all(Code::Protocol)),
        ("HEADERS closed", ended(c()).headers(1, true, GET), all(Code::StreamClosed)),
        (
            "HEADERS padding",
            c().frame(frame::HEADERS, frame::PADDED | frame::END_HEADERS, 1, b"\x05ab"),
            all(Code::Protocol)
        ),
        (
            "HEADERS not HPACK",
            c().frame(frame::HEADERS, frame::END_HEADERS, 1, b"\x80"),
            all(Code::Compression)
        ),
        ("HEADERS twice", open(c()).headers(1, false, POST), Told::One(1, Code::Protocol)),
        (
            "HEADERS on itself",
            c().frame(
                frame::HEADERS,
                frame::END_HEADERS | frame::WITH_PRIORITY,
                1,
                &[b"\0\0\0\x01\xff\x82\x86\x84".as_slice()].concat()
            ),
            Told::One(1, Code::Protocol)
        ),
        ("PRIORITY on 0", c().frame(frame::PRIORITY, 0, 0, &[0; 5]), all(Code::Protocol)),
        (
            "PRIORITY size",
            open(c()).frame(frame::PRIORITY, 0, 1, &[0; 4]),
            Told::One(1, Code::FrameSize)
        ),
        (
            "PRIORITY on itself",
            open(c()).frame(frame::PRIORITY, 0, 1, b"\0\0\0\x01\0"),
            Told::One(1, Code::Protocol)
        ),
        (
            "PRIORITY idle",
            c().frame(frame::PRIORITY, 0, 7, &[0; 5]).headers(7, true, GET),
            Told::Fine
        ),
        ("RST on 0", c().frame(frame::RST_STREAM, 0, 0, &[0; 4]), all(Code::Protocol)),
        ("RST idle", c().frame(frame::RST_STREAM, 0, 1, &[0; 4]), all(Code::Protocol)),
        ("RST size", open(c()).frame(frame::RST_STREAM, 0, 1, &[0; 3]), all(Code::FrameSize)),
        ("RST", open(c()).frame(frame::RST_STREAM, 0, 1, &[0; 4]), Told::Fine),
        (
            "DATA behind RST",
            open(c()).frame(frame::RST_STREAM, 0, 1, &[0; 4]).data(1, false, b"a"),
            all(Code::StreamClosed)
        ),
        (
            "HEADERS behind RST",
            open(c()).frame(frame::RST_STREAM, 0, 1, &[0; 4]).headers(1, true, GET),
            all(Code::StreamClosed)
        ),
        ("SETTINGS on 1", c().frame(frame::SETTINGS, 0, 1, b""), all(Code::Protocol)),
        ("SETTINGS size", c().frame(frame::SETTINGS, 0, 0, &[0; 5]), all(Code::FrameSize)),
        (
            "SETTINGS ack size",
            c().frame(frame::SETTINGS, frame::ACK, 0, &[0; 6]),
            all(Code::FrameSize)
        ),
        ("ENABLE_PUSH", c().frame(frame::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), all(Code::Protocol)),
        (
            "INITIAL_WINDOW",
            c().frame(frame::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            all(Code::FlowControl)
        ),
        (
            "MAX_FRAME below",
            c().frame(frame::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3F, 0xFF]),
            all(Code::Protocol)
        ),
        (
            "MAX_FRAME above",
            c().frame(frame::SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]),
            all(Code::Protocol)
        ),
        (
            "unknown setting",
            c().frame(frame::SETTINGS, 0, 0, &[0xFF, 0xFF, 0, 0, 0, 1]),
            Told::Fine
        ),
        (
            "SETTINGS overflow",
            open(c()).frame(frame::WINDOW_UPDATE, 0, 1, &[0x7F, 0xFF, 0, 0]).frame(
                frame::SETTINGS,
                0,
                0,
                &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]
            ),
            all(Code::FlowControl)
        ),
        ("PUSH_PROMISE", c().frame(5, frame::END_HEADERS, 1, &[0; 8]), all(Code::Protocol)),
        ("PING on 1", c().frame(frame::PING, 0, 1, &[0; 8]), all(Code::Protocol)),
        ("PING size", c().frame(frame::PING, 0, 0, &[0; 7]), all(Code::FrameSize)),
        ("GOAWAY on 1", c().frame(frame::GOAWAY, 0, 1, &[0; 8]), all(Code::Protocol)),
        ("GOAWAY size", c().frame(frame::GOAWAY, 0, 0, &[0; 7]), all(Code::FrameSize)),
        ("WINDOW idle", c().frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0]), all(Code::Protocol)),
        ("WINDOW size", c().frame(frame::WINDOW_UPDATE, 0, 0, &[0; 5]), all(Code::FrameSize)),
        ("WINDOW 0", c().frame(frame::WINDOW_UPDATE, 0, 0, &[0; 4]), all(Code::Protocol)),
        (
            "WINDOW 0 of one",
            open(c()).frame(frame::WINDOW_UPDATE, 0, 1, &[0; 4]),
            Told::One(1, Code::Protocol)
        ),
        ("WINDOW over", c().frame(frame::WINDOW_UPDATE, 0, 0, &window), all(Code::FlowControl)),
        (
            "WINDOW over of one",
            open(c()).frame(frame::WINDOW_UPDATE, 0, 1, &window),
            Told::One(1, Code::FlowControl)
        ),
        (
            "CONTINUATION alone",
            ended(c()).frame(frame::CONTINUATION, frame::END_HEADERS, 1, b""),
            all(Code::Protocol)
        ),
        (
            "PING in a block",
            c().frame(frame::HEADERS, 0, 1, b"\x82").frame(frame::PING, 0, 0, &[0; 8]),
            all(Code::Protocol)
        ),
        (
            "unknown in a block",
            c().frame(frame::HEADERS, 0, 1, b"\x82").frame(0x42, 0, 0, b""),
            all(Code::Protocol)
        ),
        (
            "another's block",
            c().frame(frame::HEADERS, 0, 1, b"\x82").frame(
                frame::CONTINUATION,
                frame::END_HEADERS,
                3,
                b"\x86\x84"
            ),
            all(Code::Protocol)
        ),
        (
            "a block in parts",
            c().frame(frame::HEADERS, frame::END_STREAM, 1, b"\x82")
                .frame(frame::CONTINUATION, 0, 1, b"\x86")
                .frame(frame::CONTINUATION, frame::END_HEADERS, 1, b"\x84"),
            Told::Fine
        ),
        ("PRIORITY_UPDATE", c().frame(frame::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"), Told::Fine),
        (
            "PRIORITY_UPDATE on 1",
            c().frame(frame::PRIORITY_UPDATE, 0, 1, b"\0\0\0\x01u=1"),
            all(Code::Protocol)
        ),
    ];
    for (name, wires, expected) in &rows {
        check(name, wires, *expected);
    }
}

/// RFC 9113, sections 8.1 to 8.3; RFC 8441, section 4.
#[test]
fn malformed_requests_are_reset() {
    let bad: &[&[(&str, &str)]] = &[
        &[(":scheme", "http"), (":path", "/")],
        &[(":method", "GET"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "http")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "a")],
        &[(":method", "GET"), (":scheme", "ftp"), (":path", "/")],
        &[(":method", "GET"), (":method", "GET"), (":scheme", "http"), (":path", "/")],
        &[(":method", "G T"), (":scheme", "http"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":status", "200")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":x", "y")],
        &[(":method", "GET"), (":scheme", "http"), ("a", "b"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a@b")],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
            ("host", "b"),
        ],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("A", "b")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("a b", "b")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("a", "b\n")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("a", " b")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("connection", "close")],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            ("transfer-encoding", "chunked"),
        ],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("te", "gzip")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("content-length", "1")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("content-length", "+0")],
        &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
        &[(":method", "CONNECT")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":protocol", "websocket")],
    ];
    for fields in bad {
        let wires = Wires::client().headers(1, true, fields);
        check(&format!("{fields:?}"), &wires, Told::One(1, Code::Protocol));
    }
    let good: &[&[(&str, &str)]] = &[
        &[(":method", "GET"), (":scheme", "https"), (":path", "/?a=b")],
        &[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), ("te", "trailers")],
        &[(":method", "CONNECT"), (":authority", "a:1")],
        &[
            (":method", "CONNECT"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
            (":protocol", "websocket"),
        ],
    ];
    for fields in good {
        check(&format!("{fields:?}"), &Wires::client().headers(1, true, fields), Told::Fine);
    }
}

/// RFC 9113, sections 8.1 and 8.1.1.
#[test]
fn a_body_is_as_long_as_it_was_said_to_be_and_trailers_end_it() {
    let declared = |n: &'static str| [POST, &[("content-length", n)]].concat();
    let c = || Wires::client();
    let reset = Told::One(1, Code::Protocol);
    for (name, wires, expected) in [
        ("short", c().headers(1, false, &declared("2")).data(1, true, b"a"), reset),
        (
            "long",
            c().headers(1, false, &declared("2")).data(1, false, b"ab").data(1, true, b"c"),
            reset,
        ),
        (
            "short by trailers",
            c().headers(1, false, &declared("2")).headers(1, true, &[("a", "b")]),
            reset,
        ),
        ("trailers go on", c().headers(1, false, POST).headers(1, false, &[("a", "b")]), reset),
        (
            "a colon in trailers",
            c().headers(1, false, POST).headers(1, true, &[(":path", "/")]),
            reset,
        ),
        (
            "whole",
            c().headers(1, false, &declared("2")).data(1, false, b"ab").data(1, true, b""),
            Told::Fine,
        ),
        ("none", c().headers(1, false, &declared("0")).data(1, true, b""), Told::Fine),
    ] {
        check(name, &wires, expected);
    }
}

/// RFC 9113, section 8.3.2, and what only a client meets.
#[test]
fn responses_are_told_and_malformed_ones_are_reset() {
    let limits = Limits::default();
    let wires = Wires::server()
        .headers(1, false, &[(":status", "103"), ("link", "a")])
        .headers(1, false, &[(":status", "200"), ("content-length", "2")])
        .headers(3, true, &[(":status", "200"), ("content-length", "9")])
        .data(1, true, b"ab");
    assert_same_for_any_cut(&wires.0, 3, |pieces| read(&limits, pieces, true));
    let trace = read(&limits, &[&wires.0], true);
    assert_eq!(
        trace.events,
        [
            "settled",
            "1 1 103 ended=false link=a",
            "1 1 200 ended=false content-length=2",
            "3 3 200 ended=true content-length=9",
            "1 data ab",
            "1 end",
        ]
    );
    let s = Wires::server;
    let one = Told::One(1, Code::Protocol);
    for (name, wires, expected) in [
        ("no status", s().headers(1, true, &[("a", "b")]), one),
        ("status", s().headers(1, true, &[(":status", "20")]), one),
        ("101", s().headers(1, false, &[(":status", "101")]), one),
        ("interim end", s().headers(1, true, &[(":status", "100")]), one),
        ("path", s().headers(1, true, &[(":status", "200"), (":path", "/")]), one),
        ("body first", s().data(1, false, b"a"), one),
        ("short", s().headers(1, true, &[(":status", "200"), ("content-length", "1")]), one),
        ("not asked", s().headers(5, true, &[(":status", "200")]), Told::All(Code::Protocol)),
        ("pushed", s().headers(2, true, &[(":status", "200")]), Told::All(Code::Protocol)),
        (
            "ENABLE_PUSH",
            s().frame(frame::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1]),
            Told::All(Code::Protocol),
        ),
    ] {
        let mut trace = read(&limits, &[&wires.0], false);
        trace.sent.drain(..PREFACE.len());
        assert_eq!(told(&trace), expected, "{name}: {trace:?}");
    }
}

/// RFC 9113, section 8.1: once, behind the head, with nothing behind them.
#[test]
fn trailers_end_their_stream_alone() {
    let limits = Limits::default();
    let wires = Wires::server()
        .headers(1, false, &[(":status", "200")])
        .data(1, false, b"ab")
        .headers(1, true, &[("t", "u")]);
    assert_same_for_any_cut(&wires.0, 3, |pieces| read(&limits, pieces, true));
    let trace = read(&limits, &[&wires.0], true);
    assert_eq!(trace.events, ["settled", "1 1 200 ended=false", "1 data ab", "1 trailers t=u"]);

    let mut server = Connection::new(Role::Server, Micros::ZERO, &limits);
    let (mut out, mut pool) = (Out::new(), Pool::new(0));
    let tx = &mut Tx::new(&mut out, &mut pool);
    server.trailers(Micros::ZERO, 1, b"A: b\r\n", tx);
    assert_eq!(tx.queued(), 0, "of a stream that is not there");
}

/// RFC 9113, section 6.9.2: a window may fall below zero, and opens again.
#[test]
fn answers_wait_for_their_windows() {
    let limits = Limits::default();
    let mut server = Harness::new(Role::Server, &limits);
    let wires =
        Wires::client().frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 3]).headers(1, true, GET);
    server.reads = false;
    server.give(&wires.0, false);
    let connection = &mut server.connection;
    assert_eq!(connection.room(1), 0);

    let mut server = Harness::new(Role::Server, &limits);
    let wires =
        Wires::client().frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 3]).headers(1, false, POST);
    server.give(&wires.0, false);
    assert_eq!(server.connection.room(1), 3);
    server.connection.want(1, true);
    assert_eq!(server.connection.next_sender(), Some((1, 1, 3)));
    server.connection.sent(1, true);
    let lower = Wires(Vec::new(), Encoder::new()).frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    server.give(&lower.0, false);
    assert_eq!((server.connection.room(1), server.connection.next_sender()), (0, None));
    let higher = Wires(Vec::new(), Encoder::new()).frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0]);
    server.give(&higher.0, false);
    assert_eq!(server.connection.next_sender(), Some((1, 1, 256)));
}

/// One attack a row: how it begins, one round of it, and within how many rounds it meets its limit.
#[test]
#[expect(clippy::type_complexity, reason = "a table")]
#[expect(clippy::too_many_lines, reason = "one row an attack")]
fn floods_meet_their_limits() {
    let limits = Limits::default();
    let opened = |n: u32| 1 + 2 * n;
    let none: fn(Wires) -> Wires = |w| w;
    let post: fn(Wires) -> Wires = |w| w.headers(1, false, POST);
    type Round<'r> = &'r dyn Fn(Wires, u32) -> Wires;
    let rows: &[(&str, fn(Wires) -> Wires, Round<'_>, u32)] = &[
        (
            "rapid reset",
            none,
            &|w, n| {
                w.headers(opened(n), false, POST).frame(
                    frame::RST_STREAM,
                    0,
                    opened(n),
                    &[0, 0, 0, 8],
                )
            },
            210,
        ),
        (
            // Answered before the reset is read.
            "rapid reset of whole requests",
            none,
            &|w, n| {
                w.headers(opened(n), true, GET).frame(
                    frame::RST_STREAM,
                    0,
                    opened(n),
                    &[0, 0, 0, 8],
                )
            },
            210,
        ),
        (
            "made to reset",
            none,
            &|w, n| {
                w.headers(opened(n), false, POST).frame(frame::WINDOW_UPDATE, 0, opened(n), &[0; 4])
            },
            210,
        ),
        ("malformed", none, &|w, n| w.headers(opened(n), true, &[("a", "b")]), 210),
        ("SETTINGS", none, &|w, _| w.frame(frame::SETTINGS, 0, 0, b""), 110),
        ("PING", none, &|w, _| w.frame(frame::PING, 0, 0, &[0; 8]), 110),
        ("empty DATA", post, &|w, _| w.data(1, false, b""), 1010),
        (
            "padding alone",
            post,
            &|w, _| w.frame(frame::DATA, frame::PADDED, 1, b"\x03\0\0\0"),
            1010,
        ),
        ("small DATA", post, &|w, _| w.data(1, false, b"a"), 10_010),
        ("unknown frames", none, &|w, _| w.frame(0x77, 0, 0, b"x"), 10_010),
        ("PRIORITY", none, &|w, _| w.frame(frame::PRIORITY, 0, 9, &[0; 5]), 10_010),
        ("GOAWAY", none, &|w, _| w.frame(frame::GOAWAY, 0, 0, &[0; 8]), 1010),
        ("drip", post, &|w, _| w.frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 10_010),
        (
            "CONTINUATION",
            |w| w.frame(frame::HEADERS, 0, 1, b"\x82"),
            &|w, _| w.frame(frame::CONTINUATION, 0, 1, b"\x86"),
            10,
        ),
        (
            "empty CONTINUATION",
            |w| w.frame(frame::HEADERS, 0, 1, b"\x82"),
            &|w, _| w.frame(frame::CONTINUATION, 0, 1, b""),
            10,
        ),
    ];
    for (name, begin, round, most) in rows {
        let mut server = Harness::new(Role::Server, &limits);
        let mut wires = begin(Wires::client());
        let mut rounds = 0;
        while server.trace.error.is_none() {
            assert!(rounds <= *most, "{name}");
            server.give(&core::mem::take(&mut wires.0), false);
            wires = round(wires, rounds);
            rounds += 1;
        }
        let error = server.trace.error.unwrap();
        assert_eq!(error.wire(), Wire::H2(Code::EnhanceYourCalm as u32), "{name}");
        assert!(rounds > most / 2 || *most <= 10, "{name} after {rounds}");
        assert!(server.trace.sent.len() < 64 << 10, "{name}");
    }
}

/// Compressed bombs: of references to a large field, of many small ones, of crumbs of a cookie.
#[test]
fn bombs_are_answered_431_or_end_the_connection() {
    let limits = Limits::default();
    let long = "x".repeat(400);
    for (name, count, expected) in [("a bomb", 60usize, "431"), ("a flood", 3000, "goaway")] {
        let mut wires = Wires::client().headers(1, true, &[GET, &[("a", &long)]].concat());
        let mut block = wires.block(&[GET, &[("a", &long)]].concat());
        let last = *block.last().unwrap();
        block.resize(block.len() + count, last);
        let wires = wires
            .frame(frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 3, &block)
            .headers(5, true, GET);
        let trace = serve(&limits, &[&wires.0], false);
        let events = trace.events.len();
        match expected {
            "431" => assert_eq!((told(&trace), events), (Told::Fine, 2), "{name}"),
            _ => {
                assert_eq!((told(&trace), events), (Told::All(Code::EnhanceYourCalm), 1), "{name}");
            }
        }
    }
    let crumbs: Vec<(&str, &str)> = GET.iter().copied().chain([("cookie", "a=b"); 33]).collect();
    let trace = serve(&limits, &[&Wires::client().headers(1, true, &crumbs).0], false);
    assert_eq!(trace.events, [""; 0]);
}

/// RFC 9113, section 5.1.2: above the limit one by one, and the connection lives.
#[test]
fn streams_above_the_limit_are_refused_one_by_one() {
    let mut limits = Limits::default();
    limits.h2.streams = 3;
    let mut wires = Wires::client();
    for n in 0..5 {
        wires = wires.headers(1 + 2 * n, false, POST);
    }
    let trace = serve(&limits, &[&wires.data(1, true, b"").headers(11, true, GET).0], false);
    let refused: Vec<u32> =
        trace.frames().iter().filter(|f| f.0 == frame::RST_STREAM).map(|f| f.2).collect();
    assert_eq!((refused, trace.error, trace.events.len()), (std::vec![7, 9], None, 6));
}

#[test]
fn a_hundred_thousand_streams_stand_on_one_connection() {
    let mut limits = Limits::default();
    limits.h2.streams = 100_000;
    let mut server = Harness::new(Role::Server, &limits);
    let mut wires = Wires::client();
    for n in 0..100_000 {
        wires = wires.headers(1 + 2 * n, false, POST);
    }
    server.give(&wires.0, false);
    assert_eq!(server.connection.tags().count(), 100_000);
    let mut wires = Wires(Vec::new(), Encoder::new());
    for n in (0..100_000).rev() {
        wires = wires.data(1 + 2 * n, true, b"");
    }
    server.give(&wires.0, false);
    assert!(server.connection.is_idle());
}

/// RFC 9113, sections 6.5.3, 6.7 and 9.1: time, in virtual seconds.
#[test]
fn time_ends_what_does_not_go_on() {
    let limits = Limits::default();
    let after = |wires: &Wires, seconds: &[u64]| {
        let mut server = Harness::new(Role::Server, &limits);
        server.give(&wires.0, false);
        for second in seconds {
            server.now = Micros::ZERO + Duration::from_secs(*second);
            server.wait();
        }
        server.finish()
    };
    let acked = || Wires::client().frame(frame::SETTINGS, frame::ACK, 0, b"");
    let open = acked().headers(1, false, POST);
    let block = acked().frame(frame::HEADERS, 0, 1, b"\x82");
    assert_eq!(told(&after(&Wires::client(), &[9])), Told::Fine);
    assert_eq!(told(&after(&Wires::client(), &[10])), Told::All(Code::SettingsTimeout));
    assert_eq!(told(&after(&acked(), &[14])), Told::Fine);
    assert_eq!(told(&after(&acked(), &[15])), Told::All(Code::NoError));
    assert_eq!(told(&after(&block, &[10])), Told::All(Code::EnhanceYourCalm));
    assert_eq!(told(&after(&open, &[20, 30, 39])), Told::Fine);
    assert_eq!(told(&after(&open, &[20, 30, 40])), Told::All(Code::NoError));
}

/// RFC 9113, section 6.8: what is under way goes on to its end, what comes is not looked at.
#[test]
fn a_server_that_goes_away_ends_what_it_has_begun() {
    let limits = Limits::default();
    let mut server = Harness::new(Role::Server, &limits);
    let mut wires = Wires::client().headers(1, false, POST);
    server.give(&core::mem::take(&mut wires.0), false);
    server.go_away();
    let wires = wires.headers(3, true, GET).data(1, true, b"ab");
    server.give(&wires.0, false);
    let trace = server.finish();

    let goaway = trace.frames().into_iter().find(|frame| frame.0 == frame::GOAWAY);
    assert_eq!(goaway.unwrap().3, [0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!((trace.events.len(), trace.closes, trace.error), (3, true, None));
}

/// RFC 9113, section 6.8: a client that says that it goes away may open further streams.
#[test]
fn a_client_that_goes_away_is_served_on() {
    let wires = Wires::client()
        .headers(1, true, GET)
        .frame(frame::GOAWAY, 0, 0, &[0; 8])
        .headers(3, true, GET);
    let trace = serve(&Limits::default(), &[&wires.0], false);
    assert_eq!((trace.events.len(), trace.closes, told(&trace)), (3, false, Told::Fine));
    let answers = trace.frames().iter().filter(|frame| frame.0 == frame::DATA).count();
    assert_eq!(answers, 2);

    let left = Wires::server().frame(frame::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
    let limits = Limits::default();
    let mut client = Harness::new(Role::Client, &limits);
    client.give(&left.0, false);
    assert!(client.finish().closes, "a server that goes away takes nothing more");
}

/// A stream that is not read holds up itself alone.
#[test]
fn a_paused_reader_is_not_credited() {
    let limits = Limits::default();
    let mut server = Harness::new(Role::Server, &limits);
    server.reads = false;
    let mut wires = Wires::client().headers(1, false, POST);
    for _ in 0..3 {
        wires = wires.data(1, false, &[b'x'; 16_384]);
    }
    server.give(&core::mem::take(&mut wires.0), false);
    assert!(server.trace.frames().iter().all(|f| f.0 != frame::WINDOW_UPDATE || f.2 == 0));
    server.reads = true;
    let wires = wires.headers(3, false, POST).data(3, false, &[b'x'; 16_384]);
    server.give(&wires.0, false);
    let over = wires_over(wires);
    server.give(&over.0, false);
    assert_eq!(told(&server.finish()), Told::One(1, Code::FlowControl));
}

fn wires_over(mut wires: Wires) -> Wires {
    wires.0.clear();
    wires.data(1, false, &[b'x'; 16_384]).data(3, false, b"a")
}

/// What a peer knows of both windows of its streams, by adding up frames.
struct Twin {
    /// By stream: what it may send, what it has let the other send.
    streams: BTreeMap<u32, (i64, i64)>,
    all: (i64, i64),
    /// What a new stream begins with.
    fresh: (i64, i64),
}

impl Twin {
    fn hear(&mut self, trace: &mut Trace) {
        let frames = trace.frames();
        trace.sent.clear();
        for (kind, flags, id, payload) in frames {
            let len = i64::try_from(payload.len()).unwrap();
            let word = || i64::from(u32::from_be_bytes(payload[..4].try_into().unwrap()));
            match kind {
                frame::DATA => {
                    self.all.1 -= len;
                    self.streams.entry(id).and_modify(|stream| stream.1 -= len);
                }
                frame::WINDOW_UPDATE if id == 0 => self.all.0 += word(),
                frame::WINDOW_UPDATE => {
                    self.streams.entry(id).and_modify(|stream| stream.0 += word());
                }
                frame::RST_STREAM => _ = self.streams.remove(&id),
                _ => {}
            }
            if matches!(kind, frame::DATA | frame::HEADERS) && flags & frame::END_STREAM != 0 {
                self.streams.remove(&id);
            }
        }
    }

    /// No byte of any window is lost or made.
    fn agrees(&self, connection: &mut Connection) {
        assert_eq!((connection.receives, connection.sends), self.all);
        for (id, windows) in &self.streams {
            let stream = *connection.streams.by_id(*id).unwrap();
            assert_eq!((stream.receives, stream.sends), *windows, "stream {id}");
            let room = usize::try_from(windows.1.min(self.all.1)).unwrap_or(0).min(16_384);
            assert_eq!(connection.room(*id), room);
        }
    }
}

/// RFC 9113, section 5.2: whatever is sent, read, left unread and announced, in whatever order, both
/// ends add up to the same windows, and who keeps within them is never told off.
#[test]
fn the_sums_of_all_windows_are_conserved() {
    let mut limits = Limits::default();
    limits.h2.window = 3000;
    limits.h2.connection_window = 65_535;
    limits.h2.settings = (10_000, 0);
    let mut credited = 0;
    for seed in 1..=60u64 {
        let mut random = seed;
        let mut below = |n: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            i64::try_from(random >> 33).unwrap() % n.max(1)
        };
        let mut server = Harness::new(Role::Server, &limits);
        let mut wires = Wires::client();
        let mut twin =
            Twin { streams: BTreeMap::new(), all: (65_535, 65_535), fresh: (3000, 65_535) };
        let mut next = 1;
        for _ in 0..300 {
            let nth = usize::try_from(below(8)).unwrap();
            let some = twin.streams.iter().map(|(id, windows)| (*id, *windows)).nth(nth);
            let what = below(12);
            match (what, some) {
                (0..2, None) => {
                    wires = wires.headers(next, false, POST);
                    twin.streams.insert(next, twin.fresh);
                    next += 2;
                }
                (2..7, Some((id, (may, _)))) => {
                    let (padded, ends) = (below(3) == 0, below(20) == 0);
                    let n = below(may.min(twin.all.0).min(900) + 1);
                    let overhead = if padded { below(n + 1) } else { 0 };
                    let flags = u8::from(ends) | if overhead > 0 { frame::PADDED } else { 0 };
                    let mut payload = std::vec![b'x'; usize::try_from(n).unwrap()];
                    if overhead > 0 {
                        payload[0] = u8::try_from((overhead - 1).min(255)).unwrap();
                    }
                    wires = wires.frame(frame::DATA, flags, id, &payload);
                    twin.all.0 -= n;
                    twin.streams.entry(id).and_modify(|stream| stream.0 -= n);
                }
                (7, _) => server.reads = false,
                (8, _) => server.read_all(),
                (9, Some((id, _))) => {
                    let (stream, all) = (below(2000) + 1, below(2000) + 1);
                    let update = |n: i64| u32::try_from(n).unwrap().to_be_bytes();
                    wires = wires.frame(frame::WINDOW_UPDATE, 0, id, &update(stream)).frame(
                        frame::WINDOW_UPDATE,
                        0,
                        0,
                        &update(all),
                    );
                    twin.all.1 += all;
                    twin.streams.entry(id).and_modify(|windows| windows.1 += stream);
                }
                (10, _) => {
                    let window = below(9000);
                    let by = window - twin.fresh.1;
                    let [a, b, c, d] = u32::try_from(window).unwrap().to_be_bytes();
                    wires = wires.frame(frame::SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
                    twin.fresh.1 = window;
                    twin.streams.values_mut().for_each(|windows| windows.1 += by);
                }
                (11, Some((id, _))) => server.send(id, usize::try_from(below(1500)).unwrap()),
                _ => {}
            }
            server.give(&core::mem::take(&mut wires.0), false);
            let frames = server.trace.frames();
            credited += frames.iter().filter(|f| f.0 == frame::WINDOW_UPDATE).count();
            assert!(frames.iter().all(|f| f.0 != frame::GOAWAY), "seed {seed}");
            twin.hear(&mut server.trace);
            twin.agrees(&mut server.connection);
        }
        assert_eq!(server.trace.error, None, "seed {seed}");
    }
    assert!(credited > 1000, "{credited}");
}

/// The committed corpus of the fuzz target, and bytes at random.
#[test]
fn any_input_is_borne() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/h2");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        fuzz_h2(&std::fs::read(entry.unwrap().path()).unwrap());
        seen += 1;
    }
    assert!(seen > 0);
    let mut random = 11u64;
    let mut byte = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random.to_le_bytes()[5]
    };
    for len in 0..3000 {
        let mut bytes: Vec<u8> = (0..len % 120).map(|_| byte()).collect();
        if let Some(control) = bytes.first_mut() {
            *control &= 0xEF;
        }
        fuzz_h2(&bytes);
    }
    let text: String = "a few words".into();
    fuzz_h2(text.as_bytes());
}
