//! What must hold of the resolver, whatever servers say. The tests run it over a corpus and over
//! random bytes, a fuzzer over what it finds.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lodger_backend::Micros;

use super::{Config, Event, Stub};
use crate::Limits;
use crate::proto::Cx;

/// Exchanges of one lookup: two kinds, two servers, two attempts, each as a datagram, without
/// EDNS0 and on a stream, and as many again for each alias.
const EXCHANGES: usize = 2 * 2 * 2 * 3 * 9 * 3;

/// Takes bytes that servers answer with: each piece is its length, how it is meant, and what it
/// holds.
///
/// # Panics
///
/// If something does not hold: a ticket is told twice or never, an exchange is opened twice or
/// never closed, or there are more exchanges than the rules allow.
pub fn fuzz_dns(data: &[u8]) {
    let servers: [SocketAddr; 2] = [([10, 0, 0, 1], 53).into(), ([10, 0, 0, 2], 53).into()];
    let mut stub = Stub::new();
    stub.set_config(Config::new(&servers).search(&["a.test", "b.test"]));
    let mut play = Play { now: Micros::new(1), random: 7, ..Play::default() };
    play.with(&mut stub, |stub, cx| {
        stub.ask(cx, 1, "www");
        stub.ask(cx, 2, "other.c.test");
        stub.ask(cx, 3, "WWW");
    });
    let mut rest = data;
    while let [length, how, more @ ..] = rest {
        let (piece, next) = more.split_at(usize::from(*length).min(more.len()));
        play.answer(&mut stub, *how, piece);
        rest = next;
    }
    while let Some(at) = stub.deadline() {
        play.now = at;
        play.with(&mut stub, |stub, cx| stub.handle_timeout(cx));
    }
    assert!(play.open.is_empty(), "every exchange is closed");
    assert_eq!(play.over, BTreeSet::from([1, 2, 3]), "every ticket is told");
}

#[derive(Default)]
struct Play {
    now: Micros,
    random: u32,
    /// What was asked, by exchange.
    open: BTreeMap<u32, Vec<u8>>,
    opened: BTreeSet<u32>,
    over: BTreeSet<u64>,
}

impl Play {
    fn with(&mut self, stub: &mut Stub, f: impl FnOnce(&mut Stub, &mut Cx<'_>)) {
        let limits = Limits::default();
        let (now, random) = (self.now, &mut self.random);
        let mut next = || {
            *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *random
        };
        f(stub, &mut Cx { now, limits: &limits, random: &mut next });
        while let Some(event) = stub.poll_event() {
            self.event(event);
        }
        assert!(self.opened.len() <= EXCHANGES * 2, "{} exchanges", self.opened.len());
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Open { exchange, query, .. } => {
                assert!(self.opened.insert(exchange), "an exchange is opened once");
                self.open.insert(exchange, query);
            }
            Event::Close { exchange } => {
                assert!(self.open.remove(&exchange).is_some(), "what is open is closed once");
            }
            Event::Found { ticket, addresses } => {
                assert!(!addresses.is_empty() && !self.over.contains(&ticket));
            }
            Event::Over { ticket, .. } => {
                assert!(self.over.insert(ticket), "a ticket is told once");
            }
        }
    }

    /// Answers one of the open exchanges: by the bytes alone, or behind a head and a question that
    /// are right.
    fn answer(&mut self, stub: &mut Stub, how: u8, piece: &[u8]) {
        let turn = usize::from(how >> 3).checked_rem(self.open.len()).unwrap_or(0);
        let Some((&exchange, query)) = self.open.iter().nth(turn) else { return };
        let message = match how & 7 {
            0 => piece.to_vec(),
            1 => return self.with(stub, |stub, cx| stub.handle_failure(cx, exchange)),
            2 => {
                self.now = self.now + Duration::from_secs(3);
                return self.with(stub, Stub::handle_timeout);
            }
            _ => answered(query, piece),
        };
        self.with(stub, |stub, cx| stub.handle_answer(cx, exchange, &message));
    }
}

/// The query's id and question, the flags and counts of `piece`, and the rest of it.
fn answered(query: &[u8], piece: &[u8]) -> Vec<u8> {
    let [flags, rcode, answers, authorities, rest @ ..] = piece else { return Vec::new() };
    let mut message: Vec<u8> = query.iter().take(2).copied().collect();
    message.extend([0x80 | (flags & 0x7), *rcode, 0, 1, 0, *answers, 0, *authorities, 0, 0]);
    let question = query.iter().skip(12);
    let name = question.clone().position(|byte| *byte == 0).unwrap_or(0);
    message.extend(question.take(name + 5));
    message.extend_from_slice(rest);
    message
}
