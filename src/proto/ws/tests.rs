use std::time::Duration;

use lodger_backend::Micros;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::fuzz::{Entry, Fault, Rig, check_cuts, fuzz_ws, next, run};
use super::{Config, Event, Kind, Message, Role, Ws, mask};
use crate::io::{Rx, Scratch, Tx};
use crate::policy::{Proof, Validity};
use crate::proto::Cx;
use crate::{Blame, Wire};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let len = (payload.len() as u64).to_be_bytes();
    match payload.len() {
        ..=125 => frame.push(0x80 | len[7]),
        126..=0xffff => frame.extend([&[0x80 | 126], &len[6..]].concat()),
        _ => frame.extend([&[0x80 | 127], &len[..]].concat()),
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
    let most = if cfg!(feature = "deflate") { 72 } else { 56 };
    assert!(size_of::<Ws>() <= most, "{} bytes", size_of::<Ws>());
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

#[test]
fn each_message_has_limits_of_its_own() {
    let config = Config::default().message(4).fragments(2);
    let message = [masked(0x01, b"abc"), masked(0x80, b"d")].concat();

    let rig = fed(Rig::new(Role::Server, config), &[&message, &message, &message]);

    assert_eq!((rig.error, rig.log), (None, vec![text("abcd"); 3]));
}

/// 16 MiB in 65,536 fragments, where a route allows it.
#[test]
fn a_route_may_allow_many_fragments() {
    let config = Config::default().frame(16 << 20).message(16 << 20).fragments(65_536);
    let mut stream = masked(0x02, &[1; 256]);
    stream.extend(masked(0x00, &[1; 256]).repeat(65_535));
    stream.extend(masked(0x80, b""));

    let rig = fed(Rig::new(Role::Server, config), &[&stream]);

    assert_eq!((rig.error, rig.log), (None, vec![binary(&[1; 16 << 20])]));
}

/// The limits hold on the short way too, which whole short messages take.
#[test]
fn a_short_message_is_held_to_its_limits() {
    for config in [Config::default().frame(4), Config::default().message(4)] {
        let rig =
            fed(Rig::new(Role::Server, config), &[&masked(0x82, b"1234"), &masked(0x82, b"12345")]);

        assert_eq!(rig.log, [binary(b"1234")]);
        assert_eq!(rig.error.unwrap().wire(), Wire::Ws(1009));
    }
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
    let (mut rx, mut scratch) = (Rx::new(&mut frames, false), Scratch::new());
    while let Some(event) = rig.call(|ws, cx, tx| ws.poll(cx, &mut rx, &mut scratch, tx)).unwrap() {
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
    let (mut rx, mut scratch) = (Rx::new(&mut frame, false), Scratch::new());

    let event = rig.call(|ws, cx, tx| ws.poll(cx, &mut rx, &mut scratch, tx)).unwrap().unwrap();
    let Event::Text(held) = event else { panic!("{event:?}") };
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Text(held))).unwrap();

    assert_eq!(rig.sent(), b"\x81\x05Hello");
}

// ---- cuts ----

/// Three bytes alone are taken for noise.
const FORGETFUL: Fault = Fault {
    before: |rx| {
        if rx.len() == 3 {
            rx.take(3);
        }
    },
    ..Fault::NONE
};

/// Pings are answered twice when they come together with something else.
const GENEROUS: Fault = Fault {
    after: |event, rx, tx| {
        if let (Event::Ping(_), false) = (event, rx.is_empty()) {
            tx.put(&[0x8a, 0]);
        }
    },
    ..Fault::NONE
};

#[test]
fn the_check_of_cuts_finds_planted_faults() {
    let stream = [masked(0x01, b"ab"), masked(0x89, b""), masked(0x80, b"c")].concat();
    check_cuts(server, &stream, 1);
    for fault in [FORGETFUL, GENEROUS] {
        let found = std::panic::catch_unwind(|| {
            let faulty = || {
                let mut rig = server();
                rig.fault = fault;
                rig
            };
            check_cuts(faulty, &stream, 1);
        });
        assert!(found.is_err(), "a planted fault was not found");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(Kind, String),
    Chunks(Kind, String, usize),
    Ping(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Kind::Text), Just(Kind::Binary)];
    let size = prop_oneof![0..20usize, 120..130usize, 65_530..65_540usize];
    let content = ("\\PC{0,8}", size).prop_map(|(head, more)| head + &"é".repeat(more / 2));
    prop_oneof![
        (kind.clone(), content.clone()).prop_map(|(kind, text)| Step::Send(kind, text)),
        (kind, "\\PC{0,40}", 1..9usize).prop_map(|(kind, text, n)| Step::Chunks(kind, text, n)),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Step::Ping),
    ]
}

/// Sends `step` and tells what the other end must see.
fn send(rig: &mut Rig, step: &Step) -> Entry {
    match step {
        Step::Send(kind, text) => {
            let message = match kind {
                Kind::Text => Message::Text(text),
                Kind::Binary => Message::Binary(text.as_bytes()),
            };
            rig.call(|ws, cx, tx| ws.send(cx, tx, message)).unwrap();
            Entry::Data(*kind, text.as_bytes().to_vec())
        }
        Step::Chunks(kind, text, size) => {
            let mut chunks = text.as_bytes().chunks(*size).chain([&[][..]]).peekable();
            let mut first = true;
            while let Some(chunk) = chunks.next() {
                let last = chunks.peek().is_none();
                rig.call(|ws, cx, tx| ws.send_chunk(cx, tx, *kind, chunk, first, last)).unwrap();
                first = false;
            }
            Entry::Data(*kind, text.as_bytes().to_vec())
        }
        Step::Ping(payload) => {
            rig.call(|ws, cx, tx| ws.ping(cx, tx, payload)).unwrap();
            Entry::Ping(payload.clone())
        }
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// What one role sends, the other takes, however it is cut; and its Pongs and Close come back.
    #[test]
    fn round_trip(steps in prop::collection::vec(step(), 0..8), from_client: bool, seed: u32) {
        let (from, to) = if from_client {
            (Role::Client, Role::Server)
        } else {
            (Role::Server, Role::Client)
        };
        let mut sender = Rig::new(from, Config::default());
        let mut expected: Vec<_> = steps.iter().map(|step| send(&mut sender, step)).collect();
        sender.call(|ws, cx, tx| ws.close(cx, tx, 1000, "bye")).unwrap();
        expected.push(Entry::Close(Some(1000), b"bye".to_vec()));

        let mut seed = seed | 1;
        let widest = [5, 1000, 100_000][next(&mut seed) as usize % 3];
        let receiver = Rig::new(to, Config::default());
        let heard = run(receiver, &sender.sent(), || next(&mut seed) as usize % widest + 1);
        proptest::prop_assert_eq!((heard.log, heard.end), (expected, None));

        sender.feed(&heard.sent);
        proptest::prop_assert!(sender.ws.is_closed());
    }

    /// Frames that are mostly right, with anything in between.
    #[test]
    fn nothing_depends_on_cuts(
        frames in prop::collection::vec(
            (prop::sample::select(vec![0x81u8, 0x82, 1, 2, 0, 0x80, 0x89, 0x8a, 0x88, 0xc1]),
             prop_oneof!["\\PC{0,30}".prop_map(String::into_bytes),
                         prop::collection::vec(any::<u8>(), 0..200)]),
            0..8),
        noise in prop::collection::vec(any::<u8>(), 0..4),
        role in 0..2u8,
        seed: u8,
    ) {
        let mut data = vec![role, seed];
        for (first, payload) in &frames {
            if role == 0 {
                data.extend(masked(*first, payload));
            } else {
                let payload = &payload[..payload.len().min(125)];
                data.extend([*first, u8::try_from(payload.len()).unwrap()]);
                data.extend(payload);
            }
        }
        data.extend(noise);
        fuzz_ws(&data);
    }

    #[test]
    fn anything_is_borne(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_ws(&data);
    }
}

/// The committed corpus of the fuzz target.
#[test]
fn the_corpus_is_borne() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/ws");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for seed in seeds {
        fuzz_ws(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}

// ---- sending ----

#[test]
fn what_a_server_and_a_client_send() {
    let mut rig = server();
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Binary(&[1, 2]))).unwrap();
    rig.call(|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"\xe2", true, false)).unwrap();
    rig.call(|ws, cx, tx| ws.ping(cx, tx, b"p")).unwrap();
    rig.call(|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"\x82\xac", false, true)).unwrap();
    assert_eq!(rig.sent(), b"\x82\x02\x01\x02\x01\x01\xe2\x89\x01p\x80\x02\x82\xac");

    let mut rig = client();
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Text("a"))).unwrap();
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Text("a"))).unwrap();
    let sent = rig.sent();
    assert_eq!((&sent[..2], &sent[7..9]), (&[0x81, 0x81][..], &[0x81, 0x81][..]));
    assert_ne!(sent[2..6], sent[9..13], "RFC 6455, 5.3: a fresh key for each frame");
    assert_eq!(sent[6] ^ sent[2], b'a');
}

/// Nothing is sent by a call that is refused.
#[test]
fn misuse_is_told_and_sends_nothing() {
    let mut rig = server();
    let refused = |rig: &mut Rig, f: &dyn Fn(&mut Ws, &mut Cx<'_>, &mut Tx<'_>) -> Refused| {
        assert_eq!(rig.call(f).unwrap_err().blame(), Blame::Caller);
    };
    type Refused = Result<(), crate::Error>;

    refused(&mut rig, &|ws, cx, tx| ws.ping(cx, tx, &[0; 126]));
    refused(&mut rig, &|ws, cx, tx| ws.close(cx, tx, 1005, ""));
    refused(&mut rig, &|ws, cx, tx| ws.close(cx, tx, 1000, &"x".repeat(124)));
    refused(&mut rig, &|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"", false, true));
    refused(&mut rig, &|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"\xff", true, false));
    refused(&mut rig, &|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"\xe2", true, true));
    assert!(rig.out.is_empty());

    rig.call(|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"a", true, false)).unwrap();
    rig.sent();
    refused(&mut rig, &|ws, cx, tx| ws.send(cx, tx, Message::Text("a")));
    refused(&mut rig, &|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"a", true, false));
    refused(&mut rig, &|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Binary, b"a", false, false));
    assert!(rig.out.is_empty());

    rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")).unwrap();
    rig.sent();
    refused(&mut rig, &|ws, cx, tx| ws.send(cx, tx, Message::Text("a")));
    refused(&mut rig, &|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, b"a", false, true));
    refused(&mut rig, &|ws, cx, tx| ws.ping(cx, tx, b""));
    assert!(rig.out.is_empty());
}

// ---- closing: RFC 6455, sections 5.5.1, 7.1 and 7.4 ----

#[test]
fn the_peers_close_is_answered_with_its_code() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 4999] {
        let mut payload = u16::to_be_bytes(code).to_vec();
        payload.extend(b"why");
        let mut rig = fed(server(), &[&masked(0x88, &payload), b"\x00rubbish"]);

        assert_eq!(rig.log, [Entry::Close(Some(code), b"why".to_vec())]);
        assert_eq!(rig.sent(), closing(code));
        assert!(rig.ws.is_closed());
        rig.feed(b"more rubbish");
        rig.end();
        assert_eq!((rig.error, rig.out.len(), rig.ws.deadline()), (None, 0, None));
    }
}

#[test]
fn the_peers_close_takes_all_input() {
    let mut rig = server();
    let mut bytes = [masked(0x88, b""), b"rubbish".to_vec()].concat();
    let (mut rx, mut scratch) = (Rx::new(&mut bytes, false), Scratch::new());

    let event = rig.call(|ws, cx, tx| ws.poll(cx, &mut rx, &mut scratch, tx)).unwrap();

    assert_eq!(event, Some(Event::Close { code: None, reason: "" }));
    assert!(rx.is_empty());
}

#[test]
fn a_close_without_a_code_is_answered_by_one_without() {
    let mut rig = fed(server(), &[&masked(0x88, b"")]);

    assert_eq!(rig.log, [Entry::Close(None, vec![])]);
    assert_eq!(rig.sent(), [0x88, 0]);
}

#[test]
fn after_our_close_only_the_peers_close_counts() {
    let mut rig = server();
    rig.call(|ws, cx, tx| ws.close(cx, tx, 1001, "later")).unwrap();
    rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "twice")).unwrap();
    assert_eq!(rig.sent(), b"\x88\x07\x03\xe9later");
    assert!(rig.ws.close_sent() && !rig.ws.is_closed());

    rig.feed(&[masked(0x81, b"late"), masked(0x01, b"\xff"), masked(0x89, b"p")].concat());
    rig.feed(&masked(0x80, &[b'a'; 1000])[..500]);
    rig.feed(&masked(0x80, &[b'a'; 1000])[500..]);
    assert_eq!((rig.log.len(), rig.error, rig.out.len()), (0, None, 0));

    rig.feed(&masked(0x88, &1001u16.to_be_bytes()));
    assert_eq!(rig.log, [Entry::Close(Some(1001), vec![])]);
    assert!(rig.ws.is_closed() && rig.out.is_empty());
}

/// RFC 6455, 7.1.7: one Close frame, also if the rules are broken after ours.
#[test]
fn a_broken_rule_after_our_close_sends_nothing() {
    let mut rig = server();
    rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")).unwrap();
    rig.sent();

    rig.feed(b"\x81\x01a");

    assert_eq!((rig.error.unwrap().wire(), rig.out.len()), (Wire::Ws(1002), 0));
}

#[test]
fn an_end_without_a_close_is_abnormal() {
    for stream in [&b""[..], b"\x81", &masked(0x81, b"Hello")[..8], &masked(0x01, b"a")] {
        let mut rig = fed(server(), &[stream]);
        rig.end();

        let error = rig.error.unwrap();
        assert_eq!((error.blame(), error.wire()), (Blame::Peer, Wire::Ws(1006)));
        assert!(rig.out.is_empty());
    }
}

// ---- time ----

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn timed() -> Config {
    Config::default().validity(Validity::new(secs(30), secs(40))).close_within(secs(2))
}

fn due(rig: &mut Rig, at: Micros) -> Result<(), crate::Error> {
    rig.now = at;
    rig.call(|ws, cx, tx| ws.on_deadline(cx, tx))
}

#[test]
fn silence_is_pinged_and_any_input_in_time_keeps_the_peer() {
    let mut rig = Rig::new(Role::Server, timed());
    let t0 = rig.now;
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(30)));

    rig.now = t0 + secs(20);
    rig.feed(&[0x82]);
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(50)));
    due(&mut rig, t0 + secs(49)).unwrap();
    assert!(rig.out.is_empty(), "an early call does nothing");

    due(&mut rig, t0 + secs(50)).unwrap();
    assert_eq!((&rig.sent()[..2], rig.ws.deadline()), (&[0x89, 8][..], Some(t0 + secs(60))));

    rig.now = t0 + secs(59);
    rig.feed(&[0x80]);
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(89)));
}

#[test]
fn a_peer_that_stays_silent_is_lost() {
    let mut rig = Rig::new(Role::Client, timed());
    let t0 = rig.now;
    due(&mut rig, t0 + secs(30)).unwrap();
    rig.sent();

    due(&mut rig, t0 + secs(39)).unwrap();
    let error = due(&mut rig, t0 + secs(40)).unwrap_err();

    assert_eq!((error.blame(), error.wire()), (Blame::Peer, Wire::Ws(1006)));
    assert!(rig.out.is_empty());
    assert_eq!((rig.ws.deadline(), due(&mut rig, Micros::MAX)), (None, Ok(())));
    assert!(rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Text("a"))).is_err());
    assert_eq!(rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")), Ok(()));
    assert!(rig.out.is_empty());
}

#[test]
fn only_the_answer_to_the_ping_is_proof_if_so_asked() {
    let validity = Validity::new(secs(30), secs(40)).proof(Proof::Pong);
    let mut rig = Rig::new(Role::Client, timed().validity(validity));
    let t0 = rig.now;
    let pong = |payload: &[u8]| [&[0x8a, payload.len().to_be_bytes()[7]], payload].concat();

    rig.now = t0 + secs(20);
    rig.feed(&[0x81, 1, b'a']);
    rig.feed(&pong(b"unasked"));
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(30)), "input is no proof");

    due(&mut rig, t0 + secs(30)).unwrap();
    let mut ping = rig.sent();
    let key = [ping[2], ping[3], ping[4], ping[5]];
    mask::apply(&mut ping[6..], key);
    rig.now = t0 + secs(35);
    rig.feed(&pong(b"another!"));
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(40)), "another payload is no proof");
    rig.feed(&pong(&ping[6..]));
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(65)));

    rig.feed(&pong(&ping[6..]));
    due(&mut rig, t0 + secs(65)).unwrap();
    rig.feed(&pong(&ping[6..]));
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(75)), "an old answer is no proof");
    let error = due(&mut rig, t0 + secs(75)).unwrap_err();
    assert_eq!(error.wire(), Wire::Ws(1006));
}

#[test]
fn a_silent_peer_may_be_given_up_unasked() {
    let mut rig = Rig::new(Role::Server, timed().validity(Validity::silence(secs(5))));
    let t0 = rig.now;
    rig.now = t0 + secs(4);
    rig.feed(&masked(0x81, b"a"));
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(9)));

    let error = due(&mut rig, t0 + secs(9)).unwrap_err();

    assert_eq!((error.wire(), rig.out.len()), (Wire::Ws(1006), 0));
}

#[test]
fn a_close_that_is_not_answered_ends_in_time() {
    let mut rig = Rig::new(Role::Server, timed());
    let t0 = rig.now;
    rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")).unwrap();
    rig.sent();

    rig.now = t0 + secs(1);
    rig.feed(&masked(0x81, b"still talking"));
    assert_eq!(rig.ws.deadline(), Some(t0 + secs(2)), "input does not put it off");

    let error = due(&mut rig, t0 + secs(2)).unwrap_err();
    assert_eq!((error.wire(), rig.out.len()), (Wire::Ws(1006), 0));
}

#[test]
fn pings_can_be_off() {
    let rig = Rig::new(Role::Server, timed().validity(Validity::never()));
    assert_eq!(rig.ws.deadline(), None);
}

// ---- floods ----

/// As long as output flows every Ping is answered, however many come in one read.
#[test]
fn every_ping_is_answered_while_output_flows() {
    let mut rig = fed(server(), &[&masked(0x89, &[5; 125]).repeat(400)]);

    assert_eq!((rig.error, rig.log.len()), (None, 400));
    assert_eq!(rig.sent().len(), 400 * 127);
}

/// RFC 6455, 5.5.3: the latest Ping's answer does for all, once the peer reads again.
#[test]
fn a_peer_that_does_not_read_gets_one_pong() {
    let mut rig = server();
    let much = vec![0; rig.limits.io.queue_low + 1];
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Binary(&much))).unwrap();
    let queued = rig.out.len();

    for n in 0..10u8 {
        rig.feed(&masked(0x89, &[n]));
    }
    assert_eq!((rig.error, rig.log.len(), rig.out.len()), (None, 10, queued));

    rig.sent();
    rig.call(|ws, cx, tx| ws.flush(cx, tx));
    assert_eq!(rig.sent(), [0x8a, 1, 9]);
    rig.call(|ws, cx, tx| ws.flush(cx, tx));
    assert!(rig.out.is_empty());
}

/// Once a later Ping was answered, an earlier one is not.
#[test]
fn an_older_ping_is_forgotten() {
    let mut rig = server();
    let much = vec![0; rig.limits.io.queue_low + 1];
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Binary(&much))).unwrap();
    rig.feed(&masked(0x89, b"1"));
    rig.sent();

    rig.feed(&masked(0x89, b"2"));
    rig.call(|ws, cx, tx| ws.flush(cx, tx));

    assert_eq!(rig.sent(), b"\x8a\x012");
}

#[test]
fn nothing_is_owed_after_a_close() {
    let mut rig = server();
    let much = vec![0; rig.limits.io.queue_low + 1];
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Binary(&much))).unwrap();
    rig.feed(&masked(0x89, b"1"));
    rig.feed(&masked(0x88, b""));
    rig.sent();

    rig.call(|ws, cx, tx| ws.flush(cx, tx));

    assert!(rig.out.is_empty());
}

#[test]
fn a_peer_that_pings_and_does_not_read_is_sent_away() {
    let mut rig = server();
    let much = vec![0; rig.limits.io.queue_low + 1];
    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Binary(&much))).unwrap();

    rig.feed(&masked(0x89, b"").repeat(51));
    assert_eq!(rig.error, None);
    rig.now = rig.now + secs(1);
    rig.feed(&masked(0x89, b"").repeat(10));
    assert_eq!(rig.error, None);
    rig.feed(&masked(0x89, b""));

    assert_eq!(rig.error.unwrap().wire(), Wire::Ws(1008));
    assert!(rig.sent().ends_with(&closing(1008)));
}
