use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::io::FieldSpan;

const ROOM: Room = Room { fields: 1000, list: 1 << 20, cookies: 1000 };

/// Decodes a block: `name=value` for each field.
fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Malformed> {
    let (mut arena, mut spans) = (Vec::new(), Vec::new());
    assert_eq!(decoder.decode(block, &ROOM, &mut arena, &mut spans)?, Sized::Fits);
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let field = |span: &FieldSpan| {
        format!("{}={}", text(span.name.of(&arena)), text(span.value.of(&arena)))
    };
    Ok(spans.iter().map(field).collect())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap();
    digits.chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

/// A block, and the fields that it holds.
type Block = (&'static str, &'static [&'static str]);

/// RFC 7541, appendices C.2 to C.6: the blocks of one connection each, and what they hold.
#[rustfmt::skip]
const CONNECTIONS: &[(usize, &[Block])] = &[
    (4096, &[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &["custom-key=custom-header"])]),
    (4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[":path=/sample/path"])]),
    (4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &["password=secret"])]),
    (4096, &[("82", &[":method=GET"])]),
    (4096, &[
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", &[":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"]),
        ("8286 84be 5808 6e6f 2d63 6163 6865", &[":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com", "cache-control=no-cache"]),
        ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", &[":method=GET", ":scheme=https", ":path=/index.html", ":authority=www.example.com", "custom-key=custom-value"]),
    ]),
    (256, &[
        ("4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3", &[":status=302", "cache-control=private", "date=Mon, 21 Oct 2013 20:13:21 GMT", "location=https://www.example.com"]),
        ("4883 640e ffc1 c0bf", &[":status=307", "cache-control=private", "date=Mon, 21 Oct 2013 20:13:21 GMT", "location=https://www.example.com"]),
        ("88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07", &[":status=200", "cache-control=private", "date=Mon, 21 Oct 2013 20:13:22 GMT", "location=https://www.example.com", "content-encoding=gzip", "set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"]),
    ]),
];

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (cap, blocks) in CONNECTIONS {
        let mut decoder = Decoder::new(*cap);
        for (block, fields) in *blocks {
            assert_eq!(read(&mut decoder, &hex(block)).unwrap(), *fields, "{block}");
        }
    }
}

/// RFC 7541, sections 2.3.3, 4.2, 5.1, 5.2, 6.1 and 6.3.
#[test]
fn blocks_that_break_a_rule_are_malformed() {
    for block in [
        "80",
        "be",
        "ff ff ff ff ff 7f",
        "82 20",
        "3f e2 1f",
        "41",
        "41 05 61",
        "00 81 00 00",
        "00 81 ff 00",
        "00 84 ff ff ff ff 00",
        "40",
        "0f",
    ] {
        assert!(read(&mut Decoder::new(4096), &hex(block)).is_err(), "{block}");
    }
    for block in ["", "20", "20 3f e1 1f 82", "20 82"] {
        assert!(read(&mut Decoder::new(4096), &hex(block)).is_ok(), "{block}");
    }
}

/// A block of one-byte references to a large entry costs what the limit says, no more, and the
/// table is as it must be afterwards.
#[test]
fn a_bomb_is_counted_before_it_is_copied() {
    let room = Room { fields: 100, list: 16 << 10, cookies: 32 };
    let mut decoder = Decoder::new(4096);
    let mut block = Vec::from(*b"\x40\x01a\x7f\xa1\x1e");
    block.extend_from_slice(&[b'x'; 4000]);
    let (mut arena, mut spans) = (Vec::new(), Vec::new());
    decoder.decode(&block, &room, &mut arena, &mut spans).unwrap();

    for (references, size) in [(4, Sized::Fits), (10, Sized::Over), (16_000, Sized::Flood)] {
        let (mut arena, mut spans) = (Vec::new(), Vec::new());
        let block = std::vec![0xBE; references];
        assert_eq!(decoder.decode(&block, &room, &mut arena, &mut spans), Ok(size));
        assert!(spans.len() <= 4 && arena.len() <= 5 * 4001);
    }
    let (mut arena, mut spans) = (Vec::new(), Vec::new());
    let crumbs = b"\x60\x01a".repeat(33);
    assert_eq!(decoder.decode(&crumbs, &room, &mut arena, &mut spans), Ok(Sized::Over));
    assert_eq!(spans.len(), 32);
}

#[test]
fn what_is_written_is_read_and_repeats_take_a_byte_each() {
    let fields: &[(&str, &str)] = &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/a/b?c"),
        (":authority", "example.com"),
        ("user-agent", "lodger"),
        ("accept", "*/*"),
        ("x-own", "\u{e4}"),
        ("cookie", "a=b"),
        ("authorization", "Basic secret"),
        (":protocol", "websocket"),
        ("date", ""),
    ];
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut sizes = Vec::new();
    for max in [4096, 4096, 0, 100, 1 << 20] {
        encoder.set_max(max);
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (name, value) in fields {
            encoder.field(&mut block, name.as_bytes(), value.as_bytes());
        }
        let expected: Vec<String> =
            fields.iter().map(|(n, v)| format!("{n}={}", v.as_bytes().escape_ascii())).collect();
        assert_eq!(read(&mut decoder, &block).unwrap(), expected);
        sizes.push(block.len());
    }
    assert!(sizes[1] < 40, "{sizes:?}");
    let mut block = Vec::new();
    for status in [200, 204, 206, 304, 400, 404, 500, 418] {
        encoder.status(&mut block, status);
    }
    let read = read(&mut decoder, &block).unwrap();
    assert_eq!(read.join(" ").replace(":status=", ""), "200 204 206 304 400 404 500 418");
}

/// RFC 7541, section 7.1: what is a secret is in no table, here and further on.
#[test]
fn secrets_are_never_indexed() {
    let mut encoder = Encoder::new();
    for (name, value) in [("authorization", "a"), ("cookie", "short"), ("set-cookie", "a=b")] {
        let mut block = Vec::new();
        encoder.field(&mut block, name.as_bytes(), value.as_bytes());
        let again = block.clone();
        block.clear();
        encoder.field(&mut block, name.as_bytes(), value.as_bytes());
        assert_eq!((block[0] & 0xF0, &block), (0x10, &again), "{name}");
    }
}

/// Gives the blocks of other encoders, where the file is there: one block a line, as story, table
/// size, hexadecimal, fields.
fn blocks_of_others() -> Option<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors/hpack-test-case.tsv.xz");
    let output = std::process::Command::new("xz").args(["-dc", file]).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_blocks_of_other_encoders_are_read() {
    let Some(text) = blocks_of_others() else {
        std::println!("skipped (optional): ../shared/vectors/hpack-test-case.tsv.xz is not there");
        return;
    };
    let (mut story, mut decoder, mut count) = (String::new(), Decoder::new(4096), 0);
    for line in text.lines() {
        let mut columns = line.split('\t');
        let name = columns.next().unwrap();
        if name != story {
            story = name.into();
            decoder = Decoder::new(4096);
        }
        if let Ok(cap) = columns.next().unwrap().parse() {
            decoder.set_cap(cap);
        }
        let block = hex(columns.next().unwrap());
        let fields: Vec<String> = columns.map(unescape).collect();
        assert_eq!(read(&mut decoder, &block).unwrap(), fields, "{story}");
        count += 1;
    }
    std::println!("{count} blocks");
}

/// Undoes percent-encoding, and writes what is not ASCII as `read` does.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            bytes.extend(hex(core::str::from_utf8(&rest[..2]).unwrap()));
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    bytes.escape_ascii().to_string()
}

/// The committed corpus of the fuzz target, and bytes at random.
#[test]
fn any_blocks_are_borne() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/hpack");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        fuzz_hpack(&std::fs::read(entry.unwrap().path()).unwrap());
        seen += 1;
    }
    assert!(seen > 0);
    let mut random = 7u64;
    let mut byte = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random.to_le_bytes()[5]
    };
    for len in 0..2000 {
        let bytes: Vec<u8> = (0..len % 200).map(|_| byte()).collect();
        fuzz_hpack(&bytes);
    }
}
