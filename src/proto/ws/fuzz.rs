//! What must hold for any bytes, cut anywhere. The tests run it over a corpus and over random
//! bytes, a fuzzer over what it finds.

use alloc::rc::Rc;
use alloc::vec::Vec;

use lodger_backend::Micros;

#[cfg(feature = "deflate")]
use super::Extensions;
use super::{Config, Event, Kind, Role, Ws, close};
use crate::io::{Out, Pool, Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::{Error, Limits, Wire};

/// One event, owned; the parts of a message joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Data(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

/// What is wrong with a connection, for the checks to find: done to the input before each poll, and
/// to the output after it.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    pub(super) before: fn(&mut Rx<'_>),
    pub(super) after: fn(&Event<'_>, &Rx<'_>, &mut Tx<'_>),
}

impl Fault {
    pub(super) const NONE: Self = Self { before: |_| {}, after: |_, _, _| {} };
}

/// A connection driven as the runtime drives it: what is not taken comes back with more behind.
pub(super) struct Rig {
    pub(super) ws: Ws,
    pub(super) fault: Fault,
    pub(super) now: Micros,
    pub(super) limits: Limits,
    pub(super) out: Out,
    pub(super) log: Vec<Entry>,
    pub(super) error: Option<Error>,
    tail: Vec<u8>,
    /// The parts so far of a message that has not ended.
    partial: Vec<u8>,
    pub(super) pool: Pool,
    scratch: Scratch,
    seed: u32,
}

impl Rig {
    pub(super) fn new(role: Role, config: Config) -> Self {
        let now = Micros::new(1_000_000);
        Self {
            ws: Ws::new(role, Rc::new(config), now),
            fault: Fault::NONE,
            now,
            limits: Limits::default(),
            out: Out::new(),
            log: Vec::new(),
            error: None,
            tail: Vec::new(),
            partial: Vec::new(),
            pool: Pool::new(1 << 20),
            scratch: Scratch::new(),
            seed: 1,
        }
    }

    /// As [`new`](Self::new), with what a handshake agreed on.
    #[cfg(feature = "deflate")]
    pub(super) fn extended(role: Role, config: Config, agreed: Extensions) -> Self {
        let mut rig = Self::new(role, config);
        rig.ws = rig.ws.with_extensions(agreed);
        rig
    }

    /// Hands `bytes` in; nothing once the connection has failed.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.turn(bytes, false);
    }

    /// Ends the peer's stream.
    pub(super) fn end(&mut self) {
        self.turn(&[], true);
    }

    /// Calls the connection.
    pub(super) fn call<R>(&mut self, f: impl FnOnce(&mut Ws, &mut Cx<'_>, &mut Tx<'_>) -> R) -> R {
        let seed = &mut self.seed;
        let mut cx = Cx { now: self.now, limits: &self.limits, random: &mut || next(seed) };
        f(&mut self.ws, &mut cx, &mut Tx::new(&mut self.out, &mut self.pool))
    }

    /// Takes what was sent.
    pub(super) fn sent(&mut self) -> Vec<u8> {
        let bytes = self.out.bytes().to_vec();
        self.out.clear(&mut self.pool);
        bytes
    }

    fn turn(&mut self, bytes: &[u8], eof: bool) {
        if self.error.is_some() {
            return;
        }
        let mut lent = core::mem::take(&mut self.tail);
        lent.extend_from_slice(bytes);
        let mut rx = Rx::new(&mut lent, eof);
        let mut log = core::mem::take(&mut self.log);
        let mut partial = core::mem::take(&mut self.partial);
        let mut scratch = core::mem::take(&mut self.scratch);
        let Fault { before, after } = self.fault;
        loop {
            before(&mut rx);
            match self.call(|ws, cx, tx| ws.poll(cx, &mut rx, &mut scratch, tx)) {
                Ok(Some(event)) => {
                    self.call(|_, _, tx| after(&event, &rx, tx));
                    note(event, &mut log, &mut partial);
                }
                Ok(None) => break,
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        self.tail = rx.peek().to_vec();
        self.scratch = scratch;
        self.log = log;
        self.partial = partial;
        assert!(self.error.is_some() || self.tail.len() <= 131, "a tail is a header or a control");
    }
}

fn note(event: Event<'_>, log: &mut Vec<Entry>, partial: &mut Vec<u8>) {
    log.push(match event {
        Event::Text(text) => Entry::Data(Kind::Text, text.as_bytes().to_vec()),
        Event::Binary(data) => Entry::Data(Kind::Binary, data.to_vec()),
        Event::Data { kind, first, last, data } => {
            assert_eq!(first, partial.is_empty(), "only the first part is the first");
            partial.extend_from_slice(data);
            if !last {
                return;
            }
            Entry::Data(kind, core::mem::take(partial))
        }
        Event::Ping(payload) => Entry::Ping(payload.to_vec()),
        Event::Pong(payload) => Entry::Pong(payload.to_vec()),
        Event::Close { code, reason } => Entry::Close(code, reason.as_bytes().to_vec()),
    });
}

/// A generator for tests: xorshift.
pub(super) fn next(seed: &mut u32) -> u32 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    *seed
}

/// What a stream led to: whole messages and control frames, how it ended, and all output.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) log: Vec<Entry>,
    pub(super) end: Option<Wire>,
    pub(super) sent: Vec<u8>,
}

/// Runs `stream` in pieces of the lengths that `cut` gives (at least 1), to its end.
pub(super) fn run(mut rig: Rig, mut stream: &[u8], mut cut: impl FnMut() -> usize) -> Outcome {
    let mut sent = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(cut().clamp(1, stream.len()));
        rig.feed(piece);
        sent.extend(rig.sent());
        stream = rest;
    }
    rig.end();
    sent.extend(rig.sent());
    Outcome { log: rig.log, end: rig.error.map(|e| e.wire()), sent }
}

/// Checks that cuts change nothing: whole, byte by byte, and at places that `seed` gives.
pub(super) fn check_cuts(rig: impl Fn() -> Rig, stream: &[u8], seed: u32) -> Outcome {
    let whole = run(rig(), stream, || usize::MAX);
    assert_eq!(whole, run(rig(), stream, || 1), "byte by byte");
    let mut seed = seed | 1;
    for widest in [3, 17, 200] {
        let random = run(rig(), stream, || next(&mut seed) as usize % widest + 1);
        assert_eq!(whole, random, "cuts of at most {widest}");
    }
    whole
}

/// Limits that a few hundred bytes reach.
fn narrow() -> Config {
    Config::default().frame(300).message(500).fragments(6).glitches(3, 0)
}

/// Takes a role, a seed for the cuts and a stream; checks what must hold for all of them.
///
/// # Panics
///
/// If something does not hold: the outcome depends on cuts, a limit is exceeded, text is not
/// UTF-8, or what was sent is not what the other role takes.
pub fn fuzz_ws(data: &[u8]) {
    let &[role, seed, ref stream @ ..] = data else { return };
    let (role, other) = match role & 1 {
        0 => (Role::Server, Role::Client),
        _ => (Role::Client, Role::Server),
    };
    let outcome = check_cuts(|| Rig::new(role, narrow()), stream, u32::from(seed) << 8);
    for entry in &outcome.log {
        if let Entry::Data(kind, data) = entry {
            assert!(data.len() <= 500, "a message within its limit");
            assert!(*kind == Kind::Binary || core::str::from_utf8(data).is_ok(), "text is UTF-8");
        }
    }
    let heard = run(Rig::new(other, Config::default()), &outcome.sent, || usize::MAX);
    let closed = outcome.log.iter().any(|entry| matches!(entry, Entry::Close(..)));
    match outcome.end {
        None => assert!(closed, "it ends with a Close or an error"),
        Some(Wire::Ws(close::ABNORMAL)) => assert_eq!(heard.end, Some(Wire::Ws(close::ABNORMAL))),
        Some(Wire::Ws(code)) => {
            assert_eq!(heard.log.last(), Some(&Entry::Close(Some(code), Vec::new())));
        }
        Some(wire) => panic!("{wire:?} is not WebSocket's"),
    }
}
