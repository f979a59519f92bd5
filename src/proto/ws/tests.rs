use std::rc::Rc;
use std::time::Duration;

use lodger_backend::Micros;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::fuzz::{Entry, Polled, Rig, check_cuts, fuzz_ws, next, run};
use super::{Config, Event, Kind, Message, Role, Ws, close, mask};
use crate::io::{Rx, Tx};
use crate::proto::Cx;
use crate::{Blame, Wire};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    let at = frame.len();
    frame.extend(payload);
    mask::apply(&mut frame[at..], KEY);
    frame
}

fn text(s: &str) -> Entry {
    Entry::Data(Kind::Text, s.as_bytes().to_vec())
}

fn binary(data: &[u8]) -> Entry {
    Entry::Data(Kind::Binary, data.to_vec())
}

fn server() -> Rig {
    Rig::new(Role::Server, Config::default())
}

fn client() -> Rig {
    Rig::new(Role::Client, Config::default())
}

/// A server's Close frame.
fn closing(code: u16) -> Vec<u8> {
    let [a, b] = code.to_be_bytes();
    vec![0x88, 2, a, b]
}

fn fed(mut rig: Rig, frames: &[&[u8]]) -> Rig {
    rig.feed(&frames.concat());
    rig
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Ws>() <= 56, "{} bytes", size_of::<Ws>());
}

// ---- the table: a row for each clause of the threat list, and for the RFC's own ----

struct Row {
    rule: &'static str,
    frames: Vec<Vec<u8>>,
    code: u16,
}

fn row(rule: &'static str, code: u16, frames: &[&[u8]]) -> Row {
    Row { rule, frames: frames.iter().map(|f| f.to_vec()).collect(), code }
}

fn violations() -> Vec<Row> {
    let mut rows = vec![
        row("5.1 a client's frame is masked", 1002, &[&[0x81, 0x05, b'H']]),
        row("5.2 RSV1", 1002, &[&masked(0xc1, b"a")]),
        row("5.2 RSV2", 1002, &[&masked(0xa2, b"a")]),
        row("5.2 RSV3 in a control frame", 1002, &[&masked(0x99, b"")]),
        row("5.2 RSV1 in a continuation", 1002, &[&masked(0x01, b"a"), &masked(0xc0, b"b")]),
        row(
            "5.2 length above 63 bits",
            1002,
            &[&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
        ),
        row("5.2 16 bits for 125", 1002, &[&[0x82, 0xfe, 0, 125, 0, 0, 0, 0]]),
        row(
            "5.2 64 bits for 65,535",
            1002,
            &[&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]],
        ),
        row("5.4 CONT without start", 1002, &[&masked(0x80, b"a")]),
        row("5.4 CONT after the end", 1002, &[&masked(0x81, b"a"), &masked(0x00, b"b")]),
        row("5.4 text inside text", 1002, &[&masked(0x01, b"a"), &masked(0x81, b"b")]),
        row("5.4 binary inside text", 1002, &[&masked(0x01, b"a"), &masked(0x02, b"b")]),
        row("5.5 a ping in fragments", 1002, &[&masked(0x09, b"a")]),
        row("5.5 a close in fragments", 1002, &[&masked(0x08, b"")]),
        row("5.5 a ping of 126", 1002, &[&masked(0x89, &[0; 126])]),
        row("5.5 a pong of 64-bit length", 1002, &[&[0x8a, 0xff]]),
        row("5.5.1 a close of one byte", 1002, &[&masked(0x88, &[3])]),
        row("5.5.1 a reason that is no UTF-8", 1007, &[&masked(0x88, &[3, 0xe8, 0xc0, 0x80])]),
        row("5.5.1 a reason that is cut", 1007, &[&masked(0x88, &[3, 0xe8, 0xe2, 0x82])]),
        row("8.1 text that is no UTF-8", 1007, &[&masked(0x81, b"a\xffb")]),
        row("8.1 a surrogate", 1007, &[&masked(0x81, b"\xed\xa0\x80")]),
        row("8.1 above U+10FFFF", 1007, &[&masked(0x81, b"\xf4\x90\x80\x80")]),
        row("8.1 text that ends in a code point", 1007, &[&masked(0x81, b"\xe2\x82")]),
        row("8.1 the same in fragments", 1007, &[&masked(0x01, b"\xe2"), &masked(0x80, b"\x82")]),
        row(
            "8.1 a cut code point, then an empty end",
            1007,
            &[&masked(0x01, b"\xe2"), &masked(0x80, b"")],
        ),
        row(
            "7.4.1 a frame over its limit",
            1009,
            &[&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0]],
        ),
        row(
            "7.4.1 the largest length",
            1009,
            &[&[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]],
        ),
        row(
            "7.4.1 a message over its limit",
            1009,
            &[&masked(0x02, &[0; 1 << 20]), &[0x80, 0x81, 0, 0, 0, 0]],
        ),
        row(
            "7.4.1 1,025 fragments",
            1008,
            &[&masked(0x02, b"a"), &masked(0x00, b"a").repeat(1024)],
        ),
        row("7.4.1 51 empty fragments", 1008, &[&masked(0x02, b""), &masked(0x00, b"").repeat(50)]),
    ];
    for op in (3..=7).chain(11..=15) {
        rows.push(row("5.2 a reserved opcode", 1002, &[&masked(0x80 | op, b"")]));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535u16] {
        rows.push(row("7.4 a code that is not sent", 1002, &[&masked(0x88, &code.to_be_bytes())]));
    }
    rows
}

/// RFC 6455, 7.1.7: the Close frame with the code is sent before the error is reported, and what
/// follows is not looked at.
#[test]
fn every_broken_rule_has_its_code() {
    for Row { rule, frames, code } in violations() {
        let mut stream = masked(0x81, b"before");
        stream.extend(frames.concat());
        stream.extend(masked(0x81, b"after"));

        let mut rig = fed(server(), &[&stream]);

        let error = rig.error.unwrap_or_else(|| panic!("{rule}: no error"));
        assert_eq!((error.blame(), error.wire()), (Blame::Peer, Wire::Ws(code)), "{rule}");
        assert!(error.rule().starts_with("RFC 6455, "), "{rule}");
        assert_eq!(rig.log.first(), Some(&text("before")), "{rule}");
        assert!(!rig.log.contains(&text("after")), "{rule}");
        assert_eq!(rig.sent(), closing(code), "{rule}");
        assert_eq!(rig.ws.deadline(), None, "{rule}");
        assert!(!rig.ws.is_closed() && rig.ws.close_sent(), "{rule}");
    }
}

#[test]
fn no_broken_rule_depends_on_cuts() {
    for (seed, Row { frames, .. }) in (1..).zip(violations()) {
        let stream = frames.concat();
        if stream.len() < 20_000 {
            check_cuts(server, &stream, seed);
        }
    }
}

/// RFC 6455, 5.1: a server does not mask.
#[test]
fn a_client_refuses_masked_frames() {
    let mut rig = fed(client(), &[&masked(0x81, b"a")]);

    assert_eq!(rig.error.unwrap().wire(), Wire::Ws(1002));
    let heard = run(server(), &rig.sent(), || usize::MAX);
    assert_eq!(heard.log, [Entry::Close(Some(1002), vec![])]);
}

// ---- what is allowed ----

/// RFC 6455, 5.7: its examples, to a client and to a server.
#[test]
fn the_examples_of_the_rfc() {
    let hello = b"\x81\x05Hello";
    assert_eq!(fed(client(), &[hello]).log, [text("Hello")]);
    let parts = b"\x01\x03Hel\x80\x02lo";
    assert_eq!(fed(client(), &[parts]).log, [text("Hello")]);
    let from_client = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(fed(server(), &[&from_client]).log, [text("Hello")]);

    let mut rig = fed(server(), &[&[0x89, 0x85], &from_client[2..]]);
    assert_eq!(rig.log, [Entry::Ping(b"Hello".to_vec())]);
    assert_eq!(rig.sent(), b"\x8a\x05Hello");

    let mut long = vec![0x82, 0x7e, 1, 0];
    long.extend([7; 256]);
    assert_eq!(fed(client(), &[&long]).log, [binary(&[7; 256])]);
    let mut longer = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
    longer.extend([7; 65_536]);
    assert_eq!(fed(client(), &[&longer]).log, [binary(&[7; 65_536])]);
}

/// RFC 6455, 5.4 and 5.5: control frames stand between fragments, and are answered at once.
#[test]
fn control_frames_between_fragments() {
    let mut rig = fed(
        server(),
        &[
            &masked(0x01, b"a"),
            &masked(0x89, b"1"),
            &masked(0x00, b""),
            &masked(0x8a, b"2"),
            &masked(0x80, b"b"),
        ],
    );

    assert_eq!(rig.error, None);
    assert_eq!(rig.log, [Entry::Ping(b"1".to_vec()), Entry::Pong(b"2".to_vec()), text("ab")]);
    assert_eq!(rig.sent(), b"\x8a\x011");
}

#[test]
fn limits_are_inclusive() {
    let config = Config::default().frame(4).message(8).fragments(3);
    let frames = [&masked(0x02, b"abcd")[..], &masked(0x00, b"efg"), &masked(0x80, b"h")];

    let rig = fed(Rig::new(Role::Server, config), &frames);

    assert_eq!((rig.error, rig.log), (None, vec![binary(b"abcdefgh")]));
}

/// 16 MiB in 65,536 fragments, where a route allows it.
#[test]
fn a_route_may_allow_many_fragments() {
    let config = Config::default().frame(16 << 20).message(16 << 20).fragments(65_536);
    let mut stream = masked(0x02, &[1; 256]);
    stream.extend(masked(0x00, &[1; 256]).repeat(65_534));
    stream.extend(masked(0x80, &[1; 256]));

    let rig = fed(Rig::new(Role::Server, config), &[&stream]);

    assert_eq!((rig.error, rig.log), (None, vec![binary(&[1; 16 << 20])]));
}

/// RFC 6455, 7.4.1: refused by its header, before the payload comes.
#[test]
fn what_is_too_big_is_refused_by_its_header() {
    let mut rig = fed(server(), &[&[0x82, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4]]);

    assert_eq!(rig.error.unwrap().wire(), Wire::Ws(1009));
    assert_eq!(rig.sent(), closing(1009));
}

/// The outside suite's 6.4: noticed with the byte, not with the end of the frame or message.
#[test]
fn bad_text_in_an_unfinished_frame_is_noticed_at_once() {
    let frame = masked(0x81, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80more");
    let bad = 2 + 4 + 5 + 2;

    let mut rig = fed(server(), &[&frame[..bad - 1]]);
    assert_eq!(rig.error, None);
    rig.feed(&frame[bad - 1..bad]);

    assert_eq!(rig.error.unwrap().wire(), Wire::Ws(1007));
}

/// Parts carry the marks of their message, also when its first or last frame is empty.
#[test]
fn parts_are_marked_first_and_last() {
    let mut rig = server();
    let mut frames = [masked(0x02, b""), masked(0x00, b"ab"), masked(0x80, b"")].concat();
    let mut marks = Vec::new();
    let mut rx = Rx::new(&mut frames, false);
    while let Some(event) = rig.call(|ws, cx, tx| ws.poll(cx, &mut rx, tx)).unwrap() {
        let Event::Data { first, last, data, .. } = event else { panic!("{event:?}") };
        marks.push((first, last, data.to_vec()));
        assert_eq!(rig.ws.in_message(), !last);
    }

    assert_eq!(marks, [(true, false, b"ab".to_vec()), (false, true, vec![])]);
}

#[test]
fn a_payload_may_be_held_while_it_is_answered() {
    let mut rig = server();
    let mut frame = masked(0x81, b"Hello");
    let mut rx = Rx::new(&mut frame, false);

    let event = rig.call(|ws, cx, tx| ws.poll(cx, &mut rx, tx)).unwrap().unwrap();
    let Event::Text(held) = event else { panic!("{event:?}") };
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Text(held))).unwrap();

    assert_eq!(rig.sent(), b"\x81\x05Hello");
}
