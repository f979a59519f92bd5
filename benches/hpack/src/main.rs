//! Decodes one block of nine fields so many times as the argument says: a browser's request, all of
//! whose fields are in the tables. `cargo xtask profile hpack` counts what one costs.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use lodger::proto::hpack::{Decoder, Room, Sized};

const FIELDS: [(&[u8], &[u8]); 9] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"www.example.com"),
    (b":path", b"/assets/app/main.js"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://www.example.com/"),
];

const ROOM: Room = Room { fields: 100, list: 16 << 10, cookies: 32 };

fn main() -> ExitCode {
    let times = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let Some(times) = times else { return ExitCode::from(2) };
    if decode(times) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells whether every block was read to the same fields.
fn decode(times: u32) -> bool {
    let (cold, warm) = blocks();
    let mut decoder = Decoder::new(4096);
    let (mut arena, mut spans) = (Vec::new(), Vec::new());
    let mut good = decoder.decode(&cold, &ROOM, &mut arena, &mut spans) == Ok(Sized::Fits);
    let first = arena.clone();
    for _ in 0..times {
        arena.clear();
        spans.clear();
        let read = decoder.decode(std::hint::black_box(&warm), &ROOM, &mut arena, &mut spans);
        good &= read == Ok(Sized::Fits) && spans.len() == FIELDS.len();
    }
    good && arena == first
}

/// Gives the block that puts all fields but two into the dynamic table, and the one that names them
/// there: RFC 7541, sections 6.1 and 6.2.1.
fn blocks() -> (Vec<u8>, Vec<u8>) {
    // Those two are in the static table.
    let (mut cold, mut warm) = (vec![0x82, 0x87], vec![0x82, 0x87]);
    let mut newest = 61 + FIELDS.len() - 2;
    for (name, value) in FIELDS.iter().skip(2) {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap_or(0);
        cold.extend_from_slice(&[0x40, length(name)]);
        cold.extend_from_slice(name);
        cold.push(length(value));
        cold.extend_from_slice(value);
        warm.push(0x80 | u8::try_from(newest).unwrap_or(0));
        newest -= 1;
    }
    (cold, warm)
}
