use crate::Wire;
use crate::io::deflate::{Engines, FLUSHED};
use crate::proto::ws::fuzz::{Entry, Outcome, Rig, check_cuts, next};
use crate::proto::ws::tests::masked as frame;
use crate::proto::ws::{Config, Deflate, Extensions, Kind, Message, Role, close};

/// Text that compresses, each line another.
fn lines(len: usize) -> String {
    let mut text: String = (0..len / 8).map(|n| format!("line {n}; ")).collect();
    text.truncate(len);
    text
}

fn noise(len: usize) -> Vec<u8> {
    let mut seed = 9;
    (0..len).map(|_| next(&mut seed).to_le_bytes()[1]).collect()
}

fn pack(message: &[u8]) -> Vec<u8> {
    let mut deflater = Engines::new(1 << 20).deflater(15, 6, false).unwrap();
    let mut out = Vec::new();
    assert!(deflater.deflate(message, &mut out, usize::MAX));
    out.truncate(out.len() - FLUSHED.len());
    out
}

fn rules() -> Deflate {
    Deflate::new().least(1)
}

fn config() -> Config {
    Config::default().deflate(rules())
}

fn server() -> Rig {
    Rig::extended(Role::Server, config(), Extensions::deflate(15))
}

fn server_with(config: Config) -> impl Fn() -> Rig {
    move || Rig::extended(Role::Server, config.clone(), Extensions::deflate(15))
}

fn text(s: &str) -> Entry {
    Entry::Data(Kind::Text, s.as_bytes().to_vec())
}

fn refused(outcome: &Outcome) -> u16 {
    match outcome.end {
        Some(Wire::Ws(code)) => code,
        other => panic!("{other:?}"),
    }
}

/// RFC 7692, 7.2.3: messages and fragments of the examples.
#[test]
fn the_examples_are_received() {
    let one = frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    let two = [frame(0x41, b"\xf2\x48\xcd"), frame(0x80, b"\xc9\xc9\x07\x00")].concat();
    let plain = frame(0x81, b"Hello");
    let stored = frame(0xc1, b"\x00\x05\x00\xfa\xffHello\x00");
    let last_block = frame(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00");
    let empty = [frame(0xc1, b"\x00"), frame(0xc1, b"")].concat();
    let parts = [frame(0x41, b""), frame(0x00, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(0x80, b"")];

    let bye = frame(0x88, b"");
    let stream = [one, two, plain, stored, last_block, parts.concat(), empty, bye].concat();
    let outcome = check_cuts(server, &stream, 5);

    let mut expected = vec![text("Hello"); 6];
    expected.extend([text(""), text(""), Entry::Close(None, vec![])]);
    assert_eq!((outcome.log, outcome.end), (expected, None));
}

/// RFC 7692, 6: the bit stands on the first frame of a data message and nowhere else.
#[test]
fn the_bit_on_another_frame_is_1002() {
    let first = frame(0x41, b"\xf2\x48\xcd");
    let cases = [
        frame(0xc9, b"hi"),
        frame(0xca, b"hi"),
        frame(0xc8, b""),
        [first.clone(), frame(0xc0, b"\xc9\xc9\x07\x00")].concat(),
        [first, frame(0xc9, b"")].concat(),
        frame(0xa1, b"\x00"),
        frame(0xf1, b"\x00"),
        frame(0xe1, b"\x00"),
    ];
    for stream in cases {
        assert_eq!(refused(&check_cuts(server, &stream, 3)), close::PROTOCOL_ERROR, "{stream:x?}");
    }
    let plain = || Rig::new(Role::Server, config());
    let outcome = check_cuts(plain, &frame(0xc1, b"\x00"), 3);
    assert_eq!(refused(&outcome), close::PROTOCOL_ERROR, "nothing was agreed on");
}

#[test]
fn controls_between_the_frames_of_a_compressed_message_are_answered() {
    let stream = [
        frame(0x41, b"\xf2\x48\xcd"),
        frame(0x89, b"there?"),
        frame(0x80, b"\xc9\xc9\x07\x00"),
        frame(0x88, b""),
    ];
    let outcome = check_cuts(server, &stream.concat(), 9);

    assert_eq!(outcome.log[..2], [Entry::Ping(b"there?".to_vec()), text("Hello")]);
    assert_eq!(outcome.end, None);
}

#[test]
fn long_messages_come_in_parts_and_cuts_change_nothing() {
    let message = lines(100_000);
    let packed = pack(message.as_bytes());
    let (head, tail) = packed.split_at(packed.len() / 3);
    let stream = [
        frame(0xc1, &packed),
        frame(0x42, head),
        frame(0x80, tail),
        frame(0xc2, &pack(b"x")),
        frame(0x88, b""),
    ];

    let outcome = check_cuts(server, &stream.concat(), 77);

    let binary = |bytes: &[u8]| Entry::Data(Kind::Binary, bytes.to_vec());
    let expected = [text(&message), binary(message.as_bytes()), binary(b"x")];
    assert!(outcome.log[..3] == expected);
    assert_eq!(outcome.log.len(), 4);
}

/// The limit holds for the output, to the byte, and comes after what is wrong before it.
#[test]
fn what_expands_beyond_the_limit_is_1009() {
    let check = |message: &[u8], first: u8| {
        let config = config().message(20_000).deflate(rules().ratio(u32::MAX));
        let stream = [frame(first, &pack(message)), frame(0x88, b"")].concat();
        check_cuts(server_with(config), &stream, 21)
    };
    let mut long = lines(20_000).into_bytes();

    assert_eq!(check(&long, 0xc1).end, None);
    long.push(b'x');
    assert_eq!(refused(&check(&long, 0xc1)), close::TOO_BIG);
    assert_eq!(refused(&check(&vec![0; 10_000_000], 0xc2)), close::TOO_BIG);
    long[19_999] = 0xff;
    assert_eq!(refused(&check(&long, 0xc1)), close::INVALID_DATA, "the limit comes later");
    long[19_999] = b'x';
    long[20_000] = 0xff;
    assert_eq!(refused(&check(&long, 0xc1)), close::TOO_BIG, "the limit comes first");
}

#[test]
fn a_bomb_is_1009_before_it_is_large() {
    let stream = frame(0xc2, &pack(&vec![0; 900_000]));
    assert!(stream.len() < 1200, "a thousand times: {}", stream.len());

    let outcome = check_cuts(server, &stream, 2);
    assert_eq!((refused(&outcome), outcome.log.len()), (close::TOO_BIG, 0));
    let outcome =
        check_cuts(server, &[frame(0xc2, &pack(&[0; 60_000])), frame(0x88, b"")].concat(), 2);
    assert_eq!(outcome.end, None, "below 64 KiB it is not looked at");
}

#[test]
fn what_is_not_deflate_or_not_text_is_1007() {
    let cases = [
        frame(0xc1, b"\x07"),
        frame(0xc1, b"\xf2\x48\xcd"),
        frame(0xc1, &pack(b"\xff")),
        frame(0xc1, &pack("é".as_bytes().get(..1).unwrap())),
        [frame(0x41, &pack(b"\xc3")), frame(0x00, b"")].concat(),
    ];
    for (stream, fails) in cases.iter().zip([true, true, true, true, false]) {
        let outcome = check_cuts(server, stream, 4);
        let code = if fails { close::INVALID_DATA } else { close::ABNORMAL };
        assert_eq!(refused(&outcome), code, "{stream:x?}");
    }
}

#[test]
fn a_message_that_does_not_compress_may_be_a_little_longer() {
    let noise = noise(1000);
    let mut packed = vec![0, 0xe8, 3, 0x17, 0xfc];
    packed.extend(&noise);
    packed.push(0);
    let config = config().message(1000).frame(1000);

    let stream = [frame(0xc2, &packed), frame(0x88, b"")].concat();
    let outcome = check_cuts(server_with(config), &stream, 1);

    assert_eq!((outcome.log.len(), outcome.end), (2, None));
}

/// Sends with one end, receives with the other.
fn sent_over(agreed: Extensions, role: Role, messages: &[Message<'_>]) -> (Vec<u8>, Vec<Entry>) {
    let mut from = Rig::extended(role, config(), agreed);
    for message in messages {
        from.call(|ws, cx, tx| ws.send(cx, tx, *message)).unwrap();
    }
    from.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")).unwrap();
    let (sent, other) =
        (from.sent(), if role == Role::Server { Role::Client } else { Role::Server });
    let turned = Extensions::deflate(15).keep_in(agreed.keeps_out());
    let outcome = check_cuts(|| Rig::extended(other, config(), turned), &sent, 8);
    assert_eq!(outcome.end, None);
    (sent, outcome.log)
}

#[test]
fn what_is_sent_is_received_by_both_roles() {
    let (long, short) = (lines(90_000), lines(300));
    let noise = noise(5000);
    let messages = [
        Message::Text(&long),
        Message::Text(&short),
        Message::Text(""),
        Message::Binary(&noise),
        Message::Text(&short),
    ];
    for role in [Role::Server, Role::Client] {
        for window in [9, 12, 15] {
            for keeps in [false, true] {
                let agreed = Extensions::deflate(window).keep_out(keeps);
                let (sent, log) = sent_over(agreed, role, &messages);
                assert_eq!(log.len(), messages.len() + 1);
                for (entry, message) in log.iter().zip(&messages) {
                    let expected = Entry::Data(message.kind(), message.bytes().to_vec());
                    assert!(*entry == expected, "window {window}, {} bytes", message.bytes().len());
                }
                assert!(sent.len() < 40_000, "{}", sent.len());
            }
        }
    }
}

#[test]
fn takeover_makes_the_second_of_two_alike_shorter() {
    let text = lines(600);
    let size = |keeps| {
        let messages = [Message::Text(&text), Message::Text(&text)];
        sent_over(Extensions::deflate(15).keep_out(keeps), Role::Server, &messages).0.len()
    };

    assert!(size(true) + 100 < size(false), "{} {}", size(true), size(false));
}

#[test]
fn what_is_short_or_does_not_shrink_is_sent_as_it_is() {
    let config = Config::default().deflate(Deflate::new());
    let mut rig = Rig::extended(Role::Server, config, Extensions::deflate(15));
    let noise = noise(300);

    for (message, first) in [
        (Message::Text(&lines(255)), 0x81),
        (Message::Text(&lines(256)), 0xc1),
        (Message::Binary(&noise), 0x82),
    ] {
        rig.call(|ws, cx, tx| ws.send(cx, tx, message)).unwrap();
        assert_eq!(rig.sent()[0], first, "{} bytes", message.bytes().len());
    }

    let mut never = Rig::extended(Role::Client, self::config(), Extensions::deflate(0));
    never.call(|ws, cx, tx| ws.send(cx, tx, Message::Text(&lines(900)))).unwrap();
    assert_eq!(never.sent()[0], 0x81, "a window of 8 bits is not compressed with");
}

/// RFC 7692, 7.2.1: the bit on the first frame, and all frames together are one message.
#[test]
fn chunks_are_one_compressed_message() {
    let text = lines(5000);
    for keeps in [false, true] {
        let agreed = Extensions::deflate(15).keep_out(keeps);
        let mut rig = Rig::extended(Role::Server, config(), agreed);
        let cuts: [&[&str]; 4] = [
            &[&text[..2000], &text[2000..2001], "", &text[2001..]],
            &[&text, ""],
            &[&text],
            &["", &text],
        ];
        for parts in cuts {
            for (at, part) in parts.iter().enumerate() {
                let (first, last) = (at == 0, at + 1 == parts.len());
                let part = part.as_bytes();
                rig.call(|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Text, part, first, last))
                    .unwrap();
            }
        }
        rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")).unwrap();
        let sent = rig.sent();
        assert_eq!(sent[0], 0x41);

        let turned = Extensions::deflate(15).keep_in(keeps);
        let outcome = check_cuts(|| Rig::extended(Role::Client, config(), turned), &sent, 6);
        assert_eq!(outcome.end, None);
        assert!(outcome.log[..4].iter().all(|entry| *entry == self::text(&text)));
    }
}

#[test]
fn an_inflater_is_held_only_inside_a_message() {
    let mut rig = server();
    let part = pack(lines(1000).as_bytes());

    rig.feed(&frame(0xc1, &part));
    assert!(rig.ws.inflating.is_none());
    rig.feed(&frame(0x41, &part[..20]));
    assert!(rig.ws.inflating.is_some());
    let held = rig.pool.engines().held();
    rig.feed(&frame(0x80, &part[20..]));

    assert!(rig.ws.inflating.is_none());
    assert_eq!(rig.pool.engines().held(), held, "it is kept for the next");
    assert_eq!(rig.log.len(), 2);
}

#[test]
fn without_memory_nothing_is_compressed_and_expanding_is_1013() {
    let mut rig = server();
    *rig.pool.engines() = Engines::new(1000);
    let message = lines(1000);

    rig.call(|ws, cx, tx| ws.send(cx, tx, Message::Text(&message))).unwrap();
    assert_eq!(rig.sent()[0], 0x81);
    rig.feed(&frame(0xc1, &pack(b"x")));

    assert_eq!(rig.error.map(|e| e.wire()), Some(Wire::Ws(close::TRY_AGAIN)));
}

#[test]
fn a_compressed_message_after_our_close_is_dropped() {
    let mut rig = server();
    let packed = pack(lines(50_000).as_bytes());
    rig.feed(&frame(0x41, &packed[..50]));
    rig.call(|ws, cx, tx| ws.close(cx, tx, 1000, "")).unwrap();

    rig.feed(&[frame(0x80, &packed[50..]), frame(0xc1, &packed), frame(0xc2, b"")].concat());
    rig.feed(&frame(0x88, b"\x03\xe8"));

    assert_eq!((rig.log.len(), rig.error), (1, None));
    assert!(rig.ws.is_closed());
}
