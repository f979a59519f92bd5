//! What must hold for compressed messages and their negotiation, for any bytes. The tests run it
//! over a corpus and over random bytes, a fuzzer over what it finds.

use alloc::vec::Vec;

use super::fuzz::{Entry, Rig, check_cuts, run};
use super::{Config, Deflate, Extensions, Kind, Message, Role, deflate};
use crate::Wire;

/// Limits that a short bomb reaches.
fn narrow() -> Config {
    let rules = Deflate::new().least(1).ratio(20);
    Config::default().frame(4000).message(90_000).fragments(6).glitches(3, 0).deflate(rules)
}

/// Takes how, what was agreed on, a seed for the cuts, and bytes: frames, messages to send, or the
/// value of a field; checks what must hold for all of them.
///
/// # Panics
///
/// If something does not hold: the outcome depends on cuts, a limit is exceeded, text is not UTF-8,
/// what is sent is not what is received, or what is answered is not what was offered.
pub fn fuzz_deflate(data: &[u8]) {
    let &[how, agreed, seed, ref rest @ ..] = data else { return };
    let role = if how & 1 == 0 { Role::Server } else { Role::Client };
    let keeps = agreed & 1 != 0;
    match how >> 1 & 3 {
        0 | 1 => frames(role, keeps, seed, rest),
        2 => messages(role, Extensions::deflate(9 + (agreed >> 1) % 7).keep_out(keeps), seed, rest),
        _ => negotiate(keeps, rest),
    }
}

fn frames(role: Role, keeps: bool, seed: u8, stream: &[u8]) {
    let agreed = Extensions::deflate(15).keep_in(keeps);
    let rig = || Rig::extended(role, narrow(), agreed);
    let outcome = check_cuts(rig, stream, u32::from(seed) << 8);
    for entry in &outcome.log {
        if let Entry::Data(kind, data) = entry {
            assert!(data.len() <= 90_000, "a message within its limit");
            assert!(*kind == Kind::Binary || core::str::from_utf8(data).is_ok(), "text is UTF-8");
        }
    }
    assert!(matches!(outcome.end, None | Some(Wire::Ws(_))), "{:?}", outcome.end);
}

/// Sends the pieces between zeros as messages, or as chunks of one; the other role receives them.
fn messages(role: Role, agreed: Extensions, seed: u8, bytes: &[u8]) {
    let rules = Deflate::new().least(1).ratio(u32::MAX);
    let config = || Config::default().glitches(u32::MAX, 0).fragments(u32::MAX).deflate(rules);
    let mut from = Rig::extended(role, config(), agreed);
    let pieces: Vec<&[u8]> = bytes.split(|&b| b == 0).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let (first, last) = (at == 0, at + 1 == pieces.len());
        let sent = if seed & 1 == 0 {
            from.call(|ws, cx, tx| ws.send(cx, tx, Message::Binary(piece)))
        } else {
            from.call(|ws, cx, tx| ws.send_chunk(cx, tx, Kind::Binary, piece, first, last))
        };
        assert_eq!(sent, Ok(()));
    }
    let sent = from.sent();
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let rig = Rig::extended(other, config(), Extensions::deflate(15).keep_in(agreed.keeps_out()));
    let got = run(rig, &sent, || usize::from(seed) + 1);
    let whole: Vec<Vec<u8>> = match seed & 1 {
        0 => pieces.iter().map(|piece| piece.to_vec()).collect(),
        _ => alloc::vec![pieces.concat()],
    };
    let expected = whole.into_iter().map(|data| Entry::Data(Kind::Binary, data));
    assert!(got.log.into_iter().eq(expected), "what is sent is received");
}

/// Answers an offer; what an offer and its answer lead to fits.
fn negotiate(keeps: bool, value: &[u8]) {
    let config = Deflate::new().takeover(keeps);
    // As a server's answer it is taken or refused.
    let _ = deflate::check_answer([value].into_iter(), &config);
    let Some(agreed) = deflate::choose([value].into_iter(), &config) else { return };
    let window = agreed.extensions.window();
    assert!(window.is_some_and(|bits| (9..=15).contains(&bits)), "{window:?}");
    assert!(keeps || !agreed.extensions.keeps_any());
    let mut answer = Vec::new();
    agreed.put_value(&mut answer);
    let taken = deflate::check_answer([answer.as_slice()].into_iter(), &config);
    assert!(taken.is_ok(), "a client takes what a server answers: {taken:?}");
}
