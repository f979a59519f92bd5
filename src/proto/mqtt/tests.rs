use std::string::String;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use super::fuzz::{Outcome, Rig, fuzz_mqtt, rig, run};
use super::*;
use crate::Wire;
use crate::proto::split::assert_same_for_any_cut;

/// A packet with its length.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    wire::put_varint(&mut out, u32::try_from(body.len()).unwrap());
    out.extend_from_slice(body);
    out
}

const CONNECT_V4: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a";
const CONNECT_V5: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01a";

/// One that names an authentication method.
const CONNECT_AUTH: &[u8] = b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x15\0\x02xy\0\x01a";

/// A server that has accepted a client, its CONNACK taken.
fn open(connect: &[u8]) -> Rig {
    let mut rig = Rig::server();
    rig.feed(connect);
    assert_eq!(rig.sent().first(), Some(&0x20));
    rig.log.clear();
    rig
}

/// What a server says to `bytes` of an open client: its last bytes and the code.
fn answer(connect: &[u8], bytes: &[u8]) -> (Vec<u8>, Option<u8>) {
    let mut rig = open(connect);
    rig.feed(bytes);
    let code = rig.error.map(|e| match e.wire() {
        Wire::Mqtt(code) => code,
        other => panic!("{other:?}"),
    });
    (rig.sent(), code)
}

/// What a server says to a first packet.
fn first(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut rig = Rig::server();
    rig.feed(bytes);
    (rig.sent(), rig.error.is_some())
}

#[test]
fn a_connect_is_read_with_all_that_it_may_have() {
    let body =
        b"\0\x04MQTT\x05\xEE\0\x0A\x05\x11\0\0\0\x09\0\x02id\x05\x18\0\0\0\x07\0\x01t\0\x01w\
                 \0\x01u\0\x01p";
    let mut rig = Rig::server();

    rig.feed(&packet(0x10, body));

    let log = &rig.log[0];
    for part in [
        "version: V5",
        "clean: true",
        "keep_alive: 10",
        "client_id: \"id\"",
        "topic: \"t\"",
        "qos: AtLeastOnce",
        "retain: true",
        "WillDelay(7)",
        "SessionExpiry(9)",
        "username: Some(\"u\")",
        "password: Some([112])",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    let peer = rig.sent();
    assert!(peer.starts_with(b"\x20"), "{peer:?}");
}

/// Section 3.1.4, and MQTT 3.1.1, section 3.1.2.2.
#[test]
fn a_connect_that_cannot_be_served_is_answered_in_its_version() {
    let table: [(&[u8], &[u8]); 8] = [
        // Levels that there are not.
        (b"\0\x04MQTT\x03\x02\0\0\0\0", b"\x20\x02\0\x01"),
        (b"\0\x06MQIsdp\x03\x02\0\0\0\0", b"\x20\x02\0\x01"),
        (b"\0\x04MQTT\x06\x02\0\0\0\0\0", b"\x20\x03\0\x84\0"),
        // An empty identifier with a session.
        (b"\0\x04MQTT\x04\0\0\0\0\0", b"\x20\x02\0\x02"),
        // The reserved flag.
        (b"\0\x04MQTT\x04\x03\0\0\0\0", b""),
        (b"\0\x04MQTT\x05\x03\0\0\0\0\0", b"\x20\x03\0\x81\0"),
        // Another protocol.
        (b"\0\x04HTTP\x04\x02\0\0\0\0", b""),
        // A property that is there twice.
        (b"\0\x04MQTT\x05\x02\0\0\x06\x21\0\x01\x21\0\x01\0\0", b"\x20\x03\0\x82\0"),
    ];
    for (body, said) in table {
        assert_eq!(first(&packet(0x10, body)), (said.to_vec(), true), "{}", body.escape_ascii());
    }
    // An empty identifier without a session, or in MQTT 5.0, is the server's to choose.
    assert!(!first(&packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\0")).1);
    assert!(!first(&packet(0x10, b"\0\x04MQTT\x05\0\0\0\0\0\0")).1);
}

#[test]
fn nothing_comes_before_a_connect_and_no_second_one() {
    for bytes in [&b"\xC0\0"[..], b"GET / HTTP/1.1\r\n", b"\x30\x03\0\x01a", b"\x16\x03\x01"] {
        assert_eq!(first(bytes), (Vec::new(), true), "{}", bytes.escape_ascii());
    }
    assert_eq!(answer(CONNECT_V5, CONNECT_V5), (b"\xE0\x01\x82".to_vec(), Some(0x82)));
    assert_eq!(answer(CONNECT_V4, CONNECT_V4), (Vec::new(), Some(0x82)));
}

/// MQTT 5.0, 3.1.2.11.9: between CONNECT and CONNACK a challenged client says AUTH or goodbye.
#[test]
fn a_challenged_client_says_auth_and_nothing_else() {
    let mut rig = Rig::server();
    rig.feed(CONNECT_AUTH);
    assert_eq!(rig.sent(), b"\xF0\x02\x18\0");
    assert!(!rig.mqtt.is_asked(), "its input is read");
    rig.feed(b"\xF0\x07\x18\x05\x15\0\x02xy\xC0\0");
    let said = rig.sent();
    assert!(said.first() == Some(&0x20) && said.ends_with(b"\xD0\0"), "{said:?}");

    let mut rig = Rig::server();
    rig.feed(CONNECT_AUTH);
    rig.sent();
    rig.feed(b"\xC0\0");
    assert_eq!(rig.sent(), b"\x20\x03\0\x82\0");
    assert_eq!(rig.error.unwrap().wire(), Wire::Mqtt(0x82));

    let mut rig = Rig::server();
    rig.feed(CONNECT_AUTH);
    rig.feed(&[0xF0, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(rig.error.unwrap().wire(), Wire::Mqtt(0x95), "no memory for whoever it is");
}

/// What the peer is told when it breaks a rule: MQTT 5.0 says why, MQTT 3.1.1 only closes.
#[test]
fn every_malformed_packet_has_its_code() {
    let table: [(&[u8], u8); 29] = [
        (b"\0\0", 0x81),                     // type 0
        (b"\xC1\0", 0x81),                   // flags of PINGREQ
        (b"\x80\x05\0\x01\0\0\x01", 0x81),   // flags of SUBSCRIBE
        (b"\x60\x02\0\x01", 0x81),           // flags of PUBREL
        (b"\x36\x03\0\x01a", 0x81),          // QoS 3
        (b"\x38\x03\0\x01a", 0x81),          // DUP with QoS 0
        (b"\xC0\x80\x80\x80\x80\x01", 0x81), // a length of five bytes
        (b"\xC0\x80\0", 0x81),               // a length longer than needed
        (b"\x30\xFF\xFF\x7F", 0x95),         // longer than is taken
        (b"\x30\x04\0\0\0a", 0x81),          // no topic, no alias
        (b"\x30\x05\0\x02a#\0", 0x81),       // a topic with a wildcard
        (b"\x30\x05\0\x02a+\0", 0x81),
        (b"\x30\x04\0\x01\0\0", 0x81),                   // U+0000
        (b"\x30\x04\0\x01\xFF\0", 0x81),                 // not UTF-8
        (b"\x32\x06\0\x01a\0\0\0", 0x81),                // identifier 0
        (b"\x30\x07\0\x01a\x03\x23\0\0", 0x94),          // alias 0
        (b"\x30\x07\0\x01a\x03\x23\0\x0B", 0x94),        // alias over the maximum
        (b"\x30\x06\0\0\x03\x23\0\x01", 0x82),           // an unknown alias
        (b"\x30\x06\0\x01a\x02\x0B\x01", 0x82),          // a client's subscription identifier
        (b"\x82\x03\0\x01\0", 0x82),                     // SUBSCRIBE without a filter
        (b"\x82\x08\0\x01\0\0\x02a#\0", 0x81),           // a filter that is none
        (b"\x82\x07\0\x01\0\0\x01a\x03", 0x81),          // QoS 3
        (b"\x82\x07\0\x01\0\0\x01a\x40", 0x81),          // a reserved option
        (b"\x82\x10\0\x01\0\0\x0A$share/g/a\x04", 0x82), // no local, shared
        (b"\xA2\x03\0\x01\0", 0x82),                     // UNSUBSCRIBE without a filter
        (b"\x40\x02\0\0", 0x81),                         // PUBACK of 0
        (b"\x40\x01\0", 0x81),                           // too short
        (b"\xC0\x01\0", 0x81),                           // too long
        (b"\x20\x03\0\0\0", 0x82),                       // CONNACK from a client
    ];
    for (bytes, code) in table {
        let said = answer(CONNECT_V5, bytes);
        assert_eq!(said, (vec![0xE0, 1, code], Some(code)), "{}", bytes.escape_ascii());
    }
    let table_v4: [&[u8]; 5] =
        [b"\0\0", b"\x36\x03\0\x01a", b"\x30\x02\0\0", b"\x82\x02\0\x01", b"\xF0\0"];
    for bytes in table_v4 {
        let (said, code) = answer(CONNECT_V4, bytes);
        assert!(said.is_empty() && code.is_some(), "{}", bytes.escape_ascii());
    }
}

/// Section 3.1.2.11.4: the length is looked at as soon as it is there.
#[test]
fn a_length_over_the_limit_is_refused_before_anything_of_it_arrives() {
    let mut rig = open(CONNECT_V5);
    rig.feed(b"\x30\x80\x80");
    assert_eq!(rig.error, None);

    rig.feed(b"\x10");

    assert_eq!(rig.sent(), b"\xE0\x01\x95");
}

#[test]
fn a_topic_comes_once_and_then_as_its_alias() {
    let mut rig = open(CONNECT_V5);

    rig.feed(b"\x30\x08\0\x01a\x03\x23\0\x01x");
    rig.feed(b"\x30\x07\0\0\x03\x23\0\x01y");
    rig.feed(b"\x30\x08\0\x01b\x03\x23\0\x01z");
    rig.feed(b"\x30\x06\0\0\x03\x23\0\x01");

    let topics: Vec<_> = rig
        .log
        .iter()
        .filter_map(|line| Some(line.split("topic: \"").nth(1)?.as_bytes()[0]))
        .collect();
    assert_eq!(topics, *b"aabb");
}

#[test]
fn a_ping_is_answered_and_a_goodbye_ends_it() {
    let mut rig = open(CONNECT_V4);

    rig.feed(b"\xC0\0\xE0\0\xC0\0");

    assert_eq!(rig.sent(), b"\xD0\0");
    assert!(rig.mqtt.is_over());
    assert_eq!(rig.log.len(), 2);
    rig.end();
    assert_eq!(rig.error, None);
}

#[test]
fn an_end_without_a_goodbye_is_an_error() {
    let mut rig = open(CONNECT_V4);

    rig.end();

    assert_eq!(rig.error.map(|e| e.wire()), Some(Wire::None));
}

/// 256 MiB less one byte: what is left over between reads is never more than a head.
#[test]
fn the_largest_publish_goes_through_sixteen_kibibytes() {
    let mut rig = open(CONNECT_V5);
    rig.limits.mqtt.packet = u32::MAX;
    rig.mqtt = {
        let mut fresh = Rig::server();
        fresh.limits.mqtt.packet = u32::MAX;
        fresh.feed(CONNECT_V5);
        fresh.mqtt
    };
    let mut pool = crate::io::Pool::new(0);
    let mut out = crate::io::Out::new();
    let mut scratch = crate::io::Scratch::new();
    let mut head = vec![0x30];
    wire::put_varint(&mut head, wire::VARINT_MAX);
    head.extend_from_slice(b"\0\x01a\0");
    let (mut sum, mut left, mut parts) = (0_u64, u64::from(wire::VARINT_MAX) - 4, 0);
    let mut chunk = vec![7; 16 << 10];
    let mut input = head;
    loop {
        let mut rx = crate::io::Rx::new(&mut input, false);
        let mut random = || 4;
        let mut cx = crate::proto::Cx { now: rig.now, limits: &rig.limits, random: &mut random };
        let mut tx = crate::io::Tx::new(&mut out, &mut pool);
        while let Some(event) = rig.mqtt.poll(&mut cx, &mut rx, &mut scratch, &mut tx).unwrap() {
            match event {
                Event::Publish(publish) => sum += publish.payload.len() as u64,
                Event::Payload { data, .. } => sum += data.len() as u64,
                other => panic!("{other:?}"),
            }
            parts += 1;
        }
        assert!(rx.is_empty());
        if left == 0 {
            break;
        }
        let n = chunk.len().min(usize::try_from(left).unwrap());
        left -= n as u64;
        chunk.truncate(n);
        input.clone_from(&chunk);
    }

    assert_eq!(sum, u64::from(wire::VARINT_MAX) - 4);
    assert!(parts > 16_000);
}

/// Section 3.1.2.10.
#[test]
fn a_silent_client_is_given_up_after_one_and_a_half_keep_alives() {
    let mut rig = open(b"\x10\x0D\0\x04MQTT\x04\x02\0\x0A\0\x01a");
    let t0 = rig.now;
    rig.now = t0 + Duration::from_secs(10);
    rig.feed(b"\xC0\0");
    assert_eq!(rig.sent(), b"\xD0\0");
    assert_eq!(rig.mqtt.deadline(&rig.limits), Some(t0 + Duration::from_secs(25)));

    rig.now = t0 + Duration::from_secs(24);
    assert!(rig.call(Mqtt::on_deadline).is_ok());
    rig.now = t0 + Duration::from_secs(25);
    let given_up = rig.call(Mqtt::on_deadline);

    assert_eq!(given_up.unwrap_err().wire(), Wire::Mqtt(0x8D));
    assert!(rig.sent().is_empty(), "MQTT 3.1.1 has no goodbye of a server");
}

#[test]
fn a_client_that_says_nothing_first_is_given_up() {
    let mut rig = Rig::server();
    rig.feed(&CONNECT_V5[..5]);
    rig.now = rig.now + rig.limits.mqtt.connect_within;

    assert!(rig.call(Mqtt::on_deadline).is_err());
}

#[test]
fn a_client_asks_whether_its_server_lives() {
    let mut rig = Rig::client(Version::V5);
    rig.feed(b"\x20\x03\0\0\0");
    let t0 = rig.now;
    rig.now = t0 + Duration::from_secs(45);
    assert_eq!(rig.mqtt.deadline(&rig.limits), Some(rig.now));

    rig.call(Mqtt::on_deadline).unwrap();
    assert_eq!(rig.sent(), b"\xC0\0");
    rig.feed(b"\xD0\0");
    assert_eq!(rig.mqtt.deadline(&rig.limits), Some(rig.now + Duration::from_secs(45)));

    rig.now = rig.now + Duration::from_secs(45);
    rig.call(Mqtt::on_deadline).unwrap();
    rig.sent();
    rig.now = rig.now + rig.limits.mqtt.pong_within;
    assert!(rig.call(Mqtt::on_deadline).is_err(), "no answer");
    assert_eq!(rig.sent(), b"\xE0\x01\x8D");
}

#[test]
fn a_client_takes_over_what_its_server_allows() {
    let mut rig = Rig::client(Version::V5);

    rig.feed(&packet(0x20, b"\0\0\x0E\x21\0\x05\x27\0\0\0\x10\x22\0\x03\x13\0\x14"));

    let peer = rig.mqtt.peer();
    assert_eq!((peer.receive_maximum, peer.packet, peer.aliases), (5, 16, 3));
    assert_eq!(rig.mqtt.keep_alive(), 20);
    let long = Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: "topic",
        id: 0,
        properties: Properties::NONE,
        payload: b"1234567",
        rest: 0,
    };
    assert!(rig.call(|mqtt, cx, tx| mqtt.publish(cx, tx, &long, &[])).is_err(), "17 bytes");
    let fits = Publish { payload: b"123456", ..long };
    assert!(rig.call(|mqtt, cx, tx| mqtt.publish(cx, tx, &fits, &[])).is_ok());
    assert_eq!(rig.sent().len(), 16);
}

#[test]
fn a_refused_client_hears_why() {
    let mut rig = Rig::client(Version::V4);

    rig.feed(b"\x20\x02\0\x05");

    assert_eq!(rig.log.len(), 1);
    assert!(rig.log[0].contains("0x87"), "{}", rig.log[0]);
    assert!(rig.mqtt.is_over());
}

/// Streams of both roles and versions, with everything that they may hold.
fn streams() -> Vec<(u8, Vec<u8>)> {
    let long = packet(0x32, &[b"\0\x01t\0\x05\0".as_slice(), &[b'p'; 500]].concat());
    let server = [
        CONNECT_V5,
        b"\x32\x08\0\x01a\0\x01\0hi",
        b"\x30\x08\0\x02\xC3\xA9\x03\x23\0\x01",
        b"\x30\x07\0\0\x03\x23\0\x01!",
        &long,
        b"\x82\x0F\0\x02\x02\x0B\x07\0\x03a/+\x01\0\x01#\x2C",
        b"\xA2\x06\0\x03\0\0\x01#",
        b"\x40\x02\0\x01",
        b"\x50\x03\0\x01\x10",
        b"\x62\x02\0\x01",
        b"\x70\x04\0\x01\0\0",
        b"\xC0\0",
        b"\xE0\x01\x04",
    ];
    let client = [
        &b"\x20\x06\x01\0\x03\x21\0\x09"[..],
        b"\x34\x08\0\x01a\0\x09\0hi",
        b"\x30\x07\0\x01a\x02\x0B\x05x",
        &long,
        b"\x90\x06\0\x02\0\0\x01\x80",
        b"\xB0\x04\0\x03\0\x11",
        b"\xD0\0",
        b"\xF0\x08\x18\x06\x15\0\x03abc",
        b"\xE0\x02\x8B\0",
    ];
    vec![
        (0, server.concat()),
        (0, [CONNECT_V4, b"\x32\x06\0\x01a\0\x01x", &long[..], b"\xE0\0"].concat()),
        (2, [&b"\x20\x02\0\0"[..], b"\x30\x04\0\x01ax", b"\xD0\0"].concat()),
        (3, client.concat()),
        (0, CONNECT_V5[..9].to_vec()),
        (0, [CONNECT_AUTH, b"\xF0\x07\x18\x05\x15\0\x02xy", b"\xC0\0", b"\xE0\0"].concat()),
        (0, [CONNECT_AUTH, b"\xC0\0"].concat()),
    ]
}

#[test]
fn cuts_change_nothing() {
    for (role, stream) in streams() {
        let whole = run(rig(role), &[&stream]);
        assert!(!whole.log.is_empty() || stream.len() < 10, "{whole:?}");
        assert_same_for_any_cut(&stream, 7, |pieces| -> Outcome { run(rig(role), pieces) });
    }
    let whole = run(rig(0), &[&streams()[0].1]);
    assert_eq!(whole.end, None, "{whole:?}");
    assert_eq!(whole.log.len(), 4 + 13, "each packet, and each payload behind its head");
}

#[test]
fn random_bytes_and_broken_streams_hold_the_laws() {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(seed >> 56).unwrap()
    };
    for (role, stream) in streams() {
        for _ in 0..150 {
            let mut broken = vec![role, next()];
            broken.extend_from_slice(&stream);
            for _ in 0..=next() % 3 {
                let at = 2 + (usize::from(next()) << 8 | usize::from(next())) % stream.len();
                broken[at] = next();
            }
            fuzz_mqtt(&broken);
        }
    }
    for _ in 0..200 {
        let random: Vec<u8> = (0..next()).map(|_| next()).collect();
        fuzz_mqtt(&random);
    }
}

#[test]
fn the_corpus_holds_the_laws() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/mqtt");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    assert!(files.len() >= 4, "the corpus is there");
    for file in files {
        fuzz_mqtt(&std::fs::read(file.path()).unwrap());
    }
}

#[test]
fn codes_have_the_names_of_the_specification() {
    assert_eq!(std::format!("{}", Code::SESSION_TAKEN_OVER), "session taken over");
    assert_eq!(std::format!("{:?}", Code(0x77)), String::from("Code(0x77 )"));
    for code in 0..=5 {
        assert_eq!(Code::from_connack_v4(code).unwrap().connack_v4(), code);
    }
}
