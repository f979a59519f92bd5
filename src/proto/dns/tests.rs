//! The resolver against answers of all kinds, in virtual time.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use lodger_backend::Micros;
use proptest::prelude::*;

use super::{Config, Event, NameError, Stub, fuzz_dns};
use crate::Limits;
use crate::proto::Cx;

const A: u16 = 1;
const AAAA: u16 = 28;
const CNAME: u16 = 5;
const SOA: u16 = 6;

/// A resolver, and what it wants.
struct Rig {
    stub: Stub,
    now: Micros,
    random: u32,
    events: Vec<Event>,
}

/// A query that was sent.
#[derive(Clone, Debug)]
struct Asked {
    exchange: u32,
    server: SocketAddr,
    stream: bool,
    query: Vec<u8>,
}

fn server(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 53).into()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Rig {
    fn new(config: Config) -> Self {
        let mut stub = Stub::new();
        stub.set_config(config);
        Self { stub, now: Micros::new(1), random: 3, events: Vec::new() }
    }

    fn one() -> Self {
        Self::new(Config::new(&[server(1)]))
    }

    fn with(&mut self, f: impl FnOnce(&mut Stub, &mut Cx<'_>)) {
        let limits = Limits::default();
        let random = &mut self.random;
        let mut next = || {
            *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random.rotate_right(3)
        };
        f(&mut self.stub, &mut Cx { now: self.now, limits: &limits, random: &mut next });
        while let Some(event) = self.stub.poll_event() {
            self.events.push(event);
        }
    }

    /// Asks for a name; gives the queries that this makes, that for AAAA first.
    fn ask(&mut self, ticket: u64, name: &str) -> Vec<Asked> {
        self.with(|stub, cx| stub.ask(cx, ticket, name));
        self.asked()
    }

    fn answer(&mut self, to: &Asked, message: &[u8]) -> Vec<Asked> {
        self.with(|stub, cx| stub.handle_answer(cx, to.exchange, message));
        self.asked()
    }

    /// Lets time pass, and gives what is asked then.
    fn wait(&mut self, time: Duration) -> Vec<Asked> {
        self.now = self.now + time;
        self.with(Stub::handle_timeout);
        self.asked()
    }

    fn asked(&mut self) -> Vec<Asked> {
        let opens = self.events.iter().filter_map(|event| match event {
            Event::Open { exchange, server, stream, query } => Some(Asked {
                exchange: *exchange,
                server: *server,
                stream: *stream,
                query: query.clone(),
            }),
            _ => None,
        });
        let asked = opens.collect();
        self.events.retain(|event| !matches!(event, Event::Open { .. } | Event::Close { .. }));
        asked
    }

    /// Takes what a ticket was told: its addresses, and how it ended.
    fn told(&mut self, ticket: u64) -> (Vec<IpAddr>, Option<Result<(), NameError>>) {
        let (mut found, mut over) = (Vec::new(), None);
        for event in core::mem::take(&mut self.events) {
            match event {
                Event::Found { ticket: t, addresses } if t == ticket => found.extend(addresses),
                Event::Over { ticket: t, result } if t == ticket => {
                    assert!(over.replace(result).is_none(), "told once");
                }
                other => self.events.push(other),
            }
        }
        (found, over)
    }

    /// Asks for `www.a.test`, has its AAAA query answered by nothing and the other by `message`;
    /// gives what that leads to.
    fn judged(message: impl FnOnce(&Asked) -> Vec<u8>) -> (Self, Vec<Asked>) {
        let mut rig = Self::one();
        let asked = rig.ask(1, "www.a.test");
        rig.answer(&asked[0], &Answer::to(&asked[0]).message());
        let message = message(&asked[1]);
        let next = rig.answer(&asked[1], &message);
        (rig, next)
    }
}

/// An answer being put together.
struct Answer {
    id: [u8; 2],
    flags: u16,
    question: Vec<u8>,
    answers: Vec<Vec<u8>>,
    authorities: Vec<Vec<u8>>,
}

impl Answer {
    fn to(asked: &Asked) -> Self {
        let name = asked.query[12..].iter().position(|b| *b == 0).unwrap();
        Self {
            id: [asked.query[0], asked.query[1]],
            flags: 0x8180,
            question: asked.query[12..12 + name + 5].to_vec(),
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }

    fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Adds a record; `owner` is in wire form, `C00C` the question's.
    fn with(mut self, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.answers.push(record(owner, kind, ttl, data));
        self
    }

    fn a(self, last: u8) -> Self {
        self.with(QUESTION, A, 60, &[192, 0, 2, last])
    }

    fn soa(mut self, owner: &[u8], ttl: u32, minimum: u32) -> Self {
        let data = [&b"\x01m\0\x01h\0"[..], &[0; 16], &minimum.to_be_bytes()].concat();
        self.authorities.push(record(owner, SOA, ttl, &data));
        self
    }

    fn message(&self) -> Vec<u8> {
        let counts = [1, count(&self.answers), count(&self.authorities), 0];
        let mut out = self.id.to_vec();
        out.extend(self.flags.to_be_bytes());
        out.extend(counts.iter().flat_map(|n| n.to_be_bytes()));
        out.extend(&self.question);
        out.extend(self.answers.concat());
        out.extend(self.authorities.concat());
        out
    }
}

fn count<T>(all: &[T]) -> u16 {
    u16::try_from(all.len()).unwrap()
}

/// A pointer to the question's name.
const QUESTION: &[u8] = b"\xc0\x0c";

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend(kind.to_be_bytes());
    out.extend(1_u16.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(count(data).to_be_bytes());
    out.extend(data);
    out
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name_of(asked: &Asked) -> String {
    let mut labels = Vec::new();
    let mut at = 12;
    while asked.query[at] > 0 {
        let end = at + 1 + usize::from(asked.query[at]);
        labels.push(String::from_utf8_lossy(&asked.query[at + 1..end]).to_string());
        at = end;
    }
    labels.join(".")
}

#[test]
fn both_kinds_are_asked_for_and_told() {
    let mut rig = Rig::one();

    let asked = rig.ask(1, "www.a.test");
    assert_eq!(asked.len(), 2);
    rig.answer(&asked[1], &Answer::to(&asked[1]).a(1).a(2).message());
    let first = rig.told(1);
    let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    rig.answer(&asked[0], &Answer::to(&asked[0]).with(QUESTION, AAAA, 60, &six).message());

    assert_eq!(first, (vec![ip("192.0.2.1"), ip("192.0.2.2")], None));
    assert_eq!(rig.told(1), (vec![ip("2001:db8::1")], Some(Ok(()))));
    assert_eq!(rig.stub.deadline(), None);
}

#[test]
fn a_query_is_one_question_that_wants_recursion_with_edns() {
    let asked = Rig::one().ask(1, "www.a.test").remove(1);

    let q = &asked.query;
    assert_eq!(q[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert!(q[12..24].eq_ignore_ascii_case(b"\x03www\x01a\x04test\0"));
    assert_eq!(q[24..28], [0, 1, 0, 1]);
    // OPT: 1,232 bytes.
    assert_eq!(q[28..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    assert!(!asked.stream && asked.server == server(1));
}

#[test]
fn ids_and_letters_differ_from_query_to_query() {
    let mut rig = Rig::one();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for n in 0..20 {
        for asked in rig.ask(n, &format!("averylongname{n}.test")) {
            seen.push(asked.query[..2].to_vec());
        }
    }

    seen.sort();
    seen.dedup();
    assert!(seen.len() > 35, "{seen:?}");
    let (a, b) = (rig.ask(90, "samename.test"), Rig::one().ask(1, "samename.test"));
    assert_ne!(name_of(&a[0]), name_of(&a[1]));
    assert!(name_of(&a[0]).eq_ignore_ascii_case(&name_of(&b[0])));
}

#[test]
fn an_answer_is_kept_for_its_time_and_its_lack_as_well() {
    let mut rig = Rig::one();
    let asked = rig.ask(1, "www.a.test");
    rig.answer(&asked[0], &Answer::to(&asked[0]).soa(b"\x01a\x04test\0", 90, 30).message());
    rig.answer(&asked[1], &Answer::to(&asked[1]).a(1).message());

    assert!(rig.ask(2, "WWW.a.test").is_empty());
    assert_eq!(rig.told(2), (vec![ip("192.0.2.1")], Some(Ok(()))));
    // The lack ends after 30 s, the address after 60 s.
    rig.now = rig.now + secs(30);
    assert_eq!(rig.ask(3, "www.a.test").len(), 1);
    rig.now = rig.now + secs(30);
    assert_eq!(rig.ask(4, "other.test").len(), 2);
    assert_eq!(Rig::one().ask(5, "www.a.test").len(), 2);
}

#[test]
fn a_lack_of_which_nobody_says_how_long_is_not_kept() {
    for zone in [None, Some(&b"\x05other\0"[..])] {
        let mut rig = Rig::one();
        for asked in rig.ask(1, "www.a.test") {
            let answer = Answer::to(&asked).flags(3);
            let answer = if let Some(zone) = zone { answer.soa(zone, 90, 90) } else { answer };
            rig.answer(&asked, &answer.message());
        }

        assert_eq!(rig.told(1), (vec![], Some(Err(NameError::NotFound))));
        assert_eq!(rig.ask(2, "www.a.test").len(), 2, "{zone:?}");
    }
}

#[test]
fn aliases_are_followed_in_an_answer() {
    let (mut rig, next) = Rig::judged(|asked| {
        Answer::to(asked)
            .with(QUESTION, CNAME, 60, b"\x01b\x04test\0")
            .with(b"\x01B\x04TEST\0", CNAME, 5, b"\x01c\x04test\0")
            .with(b"\x01c\x04test\0", A, 60, &[192, 0, 2, 7])
            .message()
    });

    assert!(next.is_empty());
    assert_eq!(rig.told(1), (vec![ip("192.0.2.7")], Some(Ok(()))));
    // For the least of their times.
    rig.now = rig.now + secs(5);
    assert!(!rig.ask(2, "www.a.test").is_empty());
}

#[test]
fn an_alias_without_an_address_is_asked_for() {
    let (mut rig, next) = Rig::judged(|asked| {
        Answer::to(asked).with(QUESTION, CNAME, 60, b"\x01b\x04test\0").message()
    });

    assert!(next.len() == 1 && name_of(&next[0]).eq_ignore_ascii_case("b.test"));
    rig.answer(&next[0], &Answer::to(&next[0]).a(9).message());
    assert_eq!(rig.told(1), (vec![ip("192.0.2.9")], Some(Ok(()))));
    // It is kept under the name that was asked for first.
    rig.ask(2, "www.a.test");
    assert_eq!(rig.told(2).0, [ip("192.0.2.9")]);
}

#[test]
fn aliases_without_end_are_given_up() {
    let (mut rig, mut next) = Rig::judged(|asked| {
        Answer::to(asked).with(QUESTION, CNAME, 60, b"\x01b\x04test\0").message()
    });
    let mut queries = 0;
    while let Some(asked) = next.pop() {
        queries += 1;
        let other: &[u8] = if queries % 2 == 0 { b"\x01b\x04test\0" } else { b"\x01c\x04test\0" };
        next = rig.answer(&asked, &Answer::to(&asked).with(QUESTION, CNAME, 60, other).message());
    }

    assert!((1..=9).contains(&queries), "{queries}");
    assert_eq!(rig.told(1).1, Some(Err(NameError::Failed)));
}

#[test]
fn an_alias_of_itself_has_no_address() {
    let (mut rig, next) =
        Rig::judged(|asked| Answer::to(asked).with(QUESTION, CNAME, 60, QUESTION).message());

    assert!(next.is_empty());
    assert_eq!(rig.told(1).1, Some(Err(NameError::NotFound)));
}

/// Whatever is wrong with it, it is passed over, and the answer that follows counts.
#[test]
fn what_is_no_answer_to_the_query_is_passed_over() {
    type Spoil = fn(&Asked, &mut Vec<u8>);
    let spoils: [(&str, Spoil); 8] = [
        ("another id", |_, m| m[1] ^= 1),
        ("a query", |_, m| m[2] &= 0x7f),
        ("another operation", |_, m| m[2] |= 0x08),
        ("no question", |_, m| m[5] = 0),
        ("two questions", |_, m| m[5] = 2),
        ("another name", |_, m| m[13] = b'x'),
        ("another type", |_, m| m[25] = 28),
        ("another class", |_, m| m[27] = 3),
    ];
    for (what, spoil) in spoils {
        let (mut rig, next) = Rig::judged(|asked| {
            let mut message = Answer::to(asked).a(66).message();
            spoil(asked, &mut message);
            message
        });
        assert!(next.is_empty(), "{what}");
        assert_eq!(rig.told(1), (vec![], None), "{what}");
        assert!(rig.stub.deadline().is_some(), "{what}: it is still waited for");
    }
    for cut in 0..28 {
        let (mut rig, _) = Rig::judged(|asked| Answer::to(asked).a(66).message()[..cut].to_vec());
        assert_eq!(rig.told(1), (vec![], None), "cut at {cut}");
    }
}

#[test]
fn letters_in_another_case_are_asked_for_again_on_a_stream() {
    let (mut rig, next) = Rig::judged(|asked| {
        let mut message = Answer::to(asked).a(66).message();
        message[13] ^= 0x20;
        message
    });

    assert!(next.len() == 1 && next[0].stream, "{next:?}");
    assert_eq!(rig.told(1), (vec![], None));
    // There the connection proves who answers.
    let mut message = Answer::to(&next[0]).a(1).message();
    message[13] ^= 0x20;
    rig.answer(&next[0], &message);
    assert_eq!(rig.told(1), (vec![ip("192.0.2.1")], Some(Ok(()))));
}

#[test]
fn what_was_cut_or_is_too_large_is_asked_for_on_a_stream() {
    for large in [false, true] {
        let (mut rig, next) = Rig::judged(|asked| {
            let mut message = Answer::to(asked).flags(0x0200).a(66).message();
            if large {
                message = Answer::to(asked).a(66).message();
                message.resize(1_233, 0);
            }
            message
        });
        assert!(next.len() == 1 && next[0].stream && next[0].server == server(1));

        let asked = next[0].clone();
        let mut answer = Answer::to(&asked);
        for n in 0..200 {
            answer = answer.a(n);
        }
        assert!(answer.message().len() > 1_232);
        rig.answer(&asked, &answer.message());
        let (found, over) = rig.told(1);
        assert_eq!((found.len(), over), (16, Some(Ok(()))), "as many as are taken");
    }
}

/// Of somebody's zone, and not asked for.
#[test]
fn records_of_other_names_do_not_count() {
    let (mut rig, _) = Rig::judged(|asked| {
        Answer::to(asked)
            .with(b"\x04bank\x04test\0", A, 60, &[192, 0, 2, 66])
            .with(b"\x04bank\x04test\0", CNAME, 60, b"\x04evil\x04test\0")
            .a(1)
            .with(b"\x04bank\x04test\0", A, 60, &[192, 0, 2, 67])
            .message()
    });

    assert_eq!(rig.told(1), (vec![ip("192.0.2.1")], Some(Ok(()))));
    assert_eq!(rig.ask(2, "bank.test").len(), 2, "nothing of it was kept");
}

#[test]
fn records_of_other_kinds_classes_and_sizes_do_not_count() {
    let (mut rig, _) = Rig::judged(|asked| {
        let mut chaos = record(QUESTION, A, 60, &[192, 0, 2, 66]);
        chaos[5] = 3;
        let mut answer = Answer::to(asked)
            .with(QUESTION, AAAA, 60, &[6; 16])
            .with(QUESTION, A, 60, &[6; 16])
            .with(QUESTION, 16, 60, b"\x03txt");
        answer.answers.push(chaos);
        answer.message()
    });

    assert_eq!(rig.told(1), (vec![], Some(Err(NameError::NotFound))));
}

/// The server cannot be relied on: the next is asked, and with one server that one again.
#[test]
fn malformed_records_and_failures_lead_to_the_next_try() {
    type Spoil = fn(Answer) -> Vec<u8>;
    let spoils: [(&str, Spoil); 8] = [
        ("a loop", |a| a.with(b"\xc0\x1c", A, 60, &[1; 4]).message()),
        ("a pointer forward", |a| a.with(b"\xc0\x40", A, 60, &[1; 4]).message()),
        ("a pointer beyond", |a| a.with(b"\xff\xff", A, 60, &[1; 4]).message()),
        ("a record that is cut", |a| {
            let mut message = a.a(66).message();
            message.pop();
            message
        }),
        ("more records said than there are", |a| {
            let mut message = a.a(66).message();
            message[7] = 9;
            message
        }),
        ("an alias beyond its data", |a| {
            a.with(QUESTION, CNAME, 60, b"\x01b").with(b"\x04test\0", A, 60, &[1; 4]).message()
        }),
        ("SERVFAIL", |a| a.flags(2).message()),
        ("REFUSED", |a| a.flags(5).message()),
    ];
    for (what, spoil) in spoils {
        let (mut rig, next) = Rig::judged(|asked| spoil(Answer::to(asked)));
        assert_eq!(next.len(), 1, "{what}");
        assert_eq!(rig.told(1), (vec![], None), "{what}");
        let last = rig.answer(&next[0], &spoil(Answer::to(&next[0])));
        assert!(last.is_empty(), "{what}");
        assert_eq!(rig.told(1).1, Some(Err(NameError::Failed)), "{what}");
    }
}

#[test]
fn a_server_without_edns_is_asked_without() {
    for headless in [false, true] {
        let (mut rig, next) = Rig::judged(|asked| {
            let mut message = Answer::to(asked).flags(1).message();
            if headless {
                message.truncate(12);
                message[5] = 0;
            }
            message
        });

        assert!(next.len() == 1 && !next[0].stream);
        assert_eq!(next[0].query[10..12], [0, 0], "no additional record");
        rig.answer(&next[0], &Answer::to(&next[0]).a(1).message());
        assert_eq!(rig.told(1).1, Some(Ok(())));
    }
}

#[test]
fn servers_are_tried_in_turn_and_then_it_is_over() {
    let mut rig = Rig::new(Config::new(&[server(1), server(2)]).timeout(secs(3)));
    let mut asked = rig.ask(1, "a.test");
    let mut servers = Vec::new();
    while !asked.is_empty() {
        servers.push(asked[0].server);
        asked = rig.wait(secs(3));
    }

    assert_eq!(servers, [server(1), server(2), server(1), server(2)]);
    assert_eq!(rig.told(1), (vec![], Some(Err(NameError::Timeout))));
    assert_eq!(rig.stub.deadline(), None);
}

#[test]
fn a_socket_that_fails_leads_to_the_next_server_at_once() {
    let mut rig = Rig::new(Config::new(&[server(1), server(2)]));
    let asked = rig.ask(1, "a.test");

    rig.with(|stub, cx| stub.handle_failure(cx, asked[1].exchange));

    assert_eq!(rig.asked()[0].server, server(2));
    // What belongs to the old exchange is nobody's.
    assert!(rig.answer(&asked[1], &Answer::to(&asked[1]).a(66).message()).is_empty());
    assert_eq!(rig.told(1), (vec![], None));
}

#[test]
fn noise_without_end_is_a_failure() {
    let mut rig = Rig::new(Config::new(&[server(1), server(2)]));
    let asked = rig.ask(1, "a.test");

    let next = (0..100).find_map(|_| rig.answer(&asked[1], b"noise").pop());

    assert_eq!(next.map(|next| next.server), Some(server(2)));
}

/// resolv.conf(5).
#[test]
fn short_names_are_searched_and_long_ones_asked_for_first() {
    let config = Config::new(&[server(1)]).search(&["a.test", "b.test"]);
    let order = |name: &str, ndots: usize| {
        let mut rig = Rig::new(config.clone().ndots(ndots));
        let mut names = Vec::new();
        let mut asked = rig.ask(1, name);
        while !asked.is_empty() {
            names.push(name_of(&asked[0]).to_lowercase());
            let both: Vec<_> = asked
                .iter()
                .flat_map(|a| rig.answer(a, &Answer::to(a).flags(3).message()))
                .collect();
            asked = both;
        }
        assert_eq!(rig.told(1).1, Some(Err(NameError::NotFound)));
        names
    };

    assert_eq!(order("www", 1), ["www.a.test", "www.b.test", "www"]);
    assert_eq!(order("www.c", 1), ["www.c", "www.c.a.test", "www.c.b.test"]);
    assert_eq!(order("www.c", 2), ["www.c.a.test", "www.c.b.test", "www.c"]);
    assert_eq!(order("www.", 2), ["www"]);
}

#[test]
fn who_asks_for_the_same_shares_the_answer() {
    let mut rig = Rig::one();
    let asked = rig.ask(1, "a.test");
    assert!(rig.ask(2, "A.test").is_empty());
    rig.answer(&asked[1], &Answer::to(&asked[1]).a(1).message());
    assert!(rig.ask(3, "a.test").is_empty());
    rig.answer(&asked[0], &Answer::to(&asked[0]).message());

    for ticket in 1..=3 {
        assert_eq!(rig.told(ticket), (vec![ip("192.0.2.1")], Some(Ok(()))), "{ticket}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_told_at_once() {
    let mut rig = Rig::new(Config::default());
    assert!(rig.ask(1, "a.test").is_empty());
    assert_eq!(rig.told(1).1, Some(Err(NameError::NoServer)));
    let mut rig = Rig::one();
    assert!(rig.ask(2, "a..test").is_empty());
    assert_eq!(rig.told(2).1, Some(Err(NameError::Invalid)));
}

#[test]
fn the_number_of_names_and_of_those_who_wait_is_bounded() {
    let mut rig = Rig::one();
    for n in 0..300 {
        rig.ask(n, &format!("n{n}.test"));
    }
    for n in 1_000..3_000 {
        rig.ask(n, "n0.test");
    }

    assert_eq!(rig.told(255).1, None);
    assert_eq!(rig.told(256).1, Some(Err(NameError::Overload)));
    assert_eq!(rig.told(1_100).1, None);
    assert_eq!(rig.told(2_999).1, Some(Err(NameError::Overload)));
}

#[test]
fn servers_taken_away_end_what_waits() {
    let mut rig = Rig::one();
    rig.ask(1, "a.test");
    rig.stub.set_config(Config::default());

    rig.wait(secs(5));

    assert_eq!(rig.told(1).1, Some(Err(NameError::Timeout)));
}

proptest! {
    #[test]
    fn any_answers_are_borne(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz_dns(&data);
    }
}

/// The committed corpus of the fuzz target.
#[test]
fn the_corpus_is_borne() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/dns");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() >= 5, "{} seeds", seeds.len());
    for seed in seeds {
        fuzz_dns(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}
