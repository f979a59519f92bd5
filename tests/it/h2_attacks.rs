//! What a client may try against a server of HTTP/2 (RFC 9113, section 10.5), in virtual time: each
//! attack meets its limit within so many rounds, holds no more memory than it may meanwhile, and
//! harms no other connection.

use std::cell::RefCell;
use std::rc::Rc;

use lodger::{Runtime, http};

use super::{Fake, HELD, PEAK, serve_to};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags of HEADERS: the block is whole, and so is the request.
const WHOLE: u8 = 5;
const OPEN: u8 = 4;

/// RFC 9113, section 7.
const CANCEL: u8 = 8;
const CALM: u8 = 11;

/// By number of the attacks' connection, and of those whom they must not harm.
const ATTACKER: usize = 0;
const HTTP2: usize = 1;
const HTTP1: usize = 2;
const ALL: usize = 3;

const LARGE: usize = 100_000;
/// What one connection may hold beside bodies that wait for their windows, in bytes.
const BOUND: i64 = 400_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut out = vec![a, b, c, kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The fields of a request: method (2: GET, 3: POST), http, path.
fn block(method: u8, path: &str) -> Vec<u8> {
    let mut out = vec![0x80 | method, 0x86, 4, path.len() as u8];
    out.extend_from_slice(path.as_bytes());
    out
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &block(2, path))
}

/// Its body is to come.
fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, OPEN, stream, &block(3, "/read"))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, CANCEL])
}

fn open_window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// The n-th stream of a client.
const fn nth(n: u32) -> u32 {
    2 * n + 1
}

/// The preface, SETTINGS, and that the server's are acknowledged.
fn hello(settings: &[u8]) -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(SETTINGS, 0, 0, settings), frame(SETTINGS, 1, 0, b"")].concat()
}

/// An attacker and two bystanders.
struct Scene {
    fake: Fake,
    rt: Runtime,
    /// Requests that were seen and not answered.
    late: Rc<RefCell<Vec<http::Later>>>,
    stream: u32,
    /// What was held when the attack began.
    held: i64,
}

impl Scene {
    fn new(settings: &[u8]) -> Self {
        let late: Rc<RefCell<Vec<http::Later>>> = Rc::default();
        let kept = Rc::clone(&late);
        let (fake, rt) = serve_to(
            ALL,
            http::Server::new()
                .get("/plaintext", |_, res| res.text("Hello, World!"))
                .get("/large", |_, res| res.bytes("a/b", &[b'x'; LARGE]))
                .get("/late", move |_, res| {
                    let (answer, later) = res.later();
                    kept.borrow_mut().push(later);
                    answer
                })
                .post("/read", |_, res| res.read_body(|_, res| res.text("read"))),
        );
        fake.put(ATTACKER, &hello(settings));
        fake.put(HTTP2, &hello(b""));
        let mut scene = Self { fake, rt, late, stream: 1, held: 0 };
        scene.turn();
        scene.bystanders_are_served("before");
        scene.held = HELD.get();
        PEAK.set(scene.held);
        scene
    }

    fn turn(&self) {
        (0..4).for_each(|_| _ = self.rt.dispatch().unwrap());
    }

    /// Lets time pass, in which the bystanders do not fall idle.
    fn pass(&mut self, seconds: u64) {
        self.fake.0.borrow_mut().now += seconds * 1_000_000;
        self.turn();
        self.bystanders_are_served("meanwhile");
    }

    /// Gives the frames that have come: kind, stream, the last byte.
    fn frames(&self, end: usize) -> Vec<(u8, u32, u8)> {
        let mut s = self.fake.0.borrow_mut();
        let output = &mut s.ends[end].output;
        let (mut frames, mut rest) = (Vec::new(), &output[..]);
        while let Some((head, behind)) = rest.split_first_chunk::<9>() {
            let [a, b, c, kind, _, stream @ ..] = *head;
            let (payload, behind) = behind.split_at(u32::from_be_bytes([0, a, b, c]) as usize);
            frames.push((kind, u32::from_be_bytes(stream), payload.last().copied().unwrap_or(0)));
            rest = behind;
        }
        assert!(rest.is_empty());
        output.clear();
        frames
    }

    fn bystanders_are_served(&mut self, when: &str) {
        self.fake.put(HTTP2, &get(self.stream, "/plaintext"));
        self.fake.put(HTTP1, b"GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n");
        self.turn();
        for end in [HTTP2, HTTP1] {
            let output = &mut self.fake.0.borrow_mut().ends[end].output;
            assert!(output.ends_with(b"Hello, World!"), "{when}, by {end}");
            output.clear();
        }
        self.stream += 2;
    }

    /// Sends `round` again and again until the server has had enough; gives after how many.
    fn attack(&mut self, name: &str, most: u32, round: &dyn Fn(u32) -> Vec<u8>) -> u32 {
        for n in 0..=most {
            self.fake.put(ATTACKER, &round(n));
            self.turn();
            if n % 64 == 0 {
                self.bystanders_are_served(name);
            }
            let goaway = self.frames(ATTACKER).into_iter().find(|frame| frame.0 == GOAWAY);
            if let Some((_, _, code)) = goaway {
                assert_eq!(code, CALM, "{name}");
                return n + 1;
            }
        }
        panic!("{name}: {most} rounds were borne");
    }

    /// Bytes that the attack held at most.
    fn most(&self) -> i64 {
        PEAK.get() - self.held
    }

    /// The attack is over: its connection goes, nobody else's, and what it held is free.
    fn end(mut self, name: &str) {
        self.bystanders_are_served(name);
        let requests = self.rt.stats().requests;
        self.fake.put(ATTACKER, &get(0x00FF_FFFF, "/plaintext"));
        self.pass(5);
        self.late.borrow_mut().clear();
        self.turn();
        let stats = self.rt.stats();
        // Of the two bystanders alone.
        assert_eq!((stats.requests, stats.open), (requests + 2, ALL as u64 - 1), "{name}");
        assert!(HELD.get() - self.held < BOUND, "{name}: {} stay", HELD.get() - self.held);
    }
}

/// A field of 3,900 bytes, kept in the table, and a block that names it `n` times.
fn bomb(stream: u32, n: usize) -> Vec<u8> {
    let mut insert = block(2, "/plaintext");
    insert.extend_from_slice(&[0x40, 1, b'x', 0x7F, 0x80 | 61, 29]);
    insert.extend_from_slice(&[b'y'; 3_900]);
    let mut named = block(2, "/plaintext");
    named.resize(named.len() + n, 0xBE);
    let insert = frame(HEADERS, WHOLE, stream, &insert);
    [insert, frame(HEADERS, WHOLE, stream + 2, &named)].concat()
}

/// A block with so many more fields, by a reference to the static table.
fn many(stream: u32, n: usize, field: &[u8]) -> Vec<u8> {
    let more = field.repeat(n);
    frame(HEADERS, WHOLE, stream, &[block(2, "/plaintext"), more].concat())
}

/// One row an attack: what opens it, one round of it, and how many rounds the limits let by at most.
#[test]
#[expect(clippy::type_complexity, reason = "a table")]
#[expect(clippy::too_many_lines, reason = "one row an attack")]
fn every_attack_meets_its_limit_and_harms_nobody_else() {
    let none: &[u8] = b"";
    let opened = post(1);
    let begun = frame(HEADERS, 0, 1, &[0x83]);
    let rows: &[(&str, &[u8], &dyn Fn(u32) -> Vec<u8>, u32)] = &[
        // CVE-2023-44487: answered before the reset is read, asked for and unanswered, unfinished.
        ("rapid reset", none, &|n| [get(nth(n), "/plaintext"), reset(nth(n))].concat(), 210),
        ("rapid reset, late", none, &|n| [get(nth(n), "/late"), reset(nth(n))].concat(), 210),
        ("rapid reset, open", none, &|n| [post(nth(n)), reset(nth(n))].concat(), 210),
        (
            "rapid reset, by tens",
            none,
            &|n| {
                let ten = || 10 * n..10 * n + 10;
                let asked = ten().map(|n| get(nth(n), "/plaintext"));
                asked.chain(ten().map(|n| reset(nth(n)))).flatten().collect()
            },
            21,
        ),
        // CVE-2025-8671: the server is made to reset.
        ("a window opened by 0", none, &|n| [post(nth(n)), open_window(nth(n), 0)].concat(), 210),
        (
            "a window opened too far",
            none,
            &|n| [post(nth(n)), open_window(nth(n), 0x7FFF_FFFF)].concat(),
            210,
        ),
        (
            "a priority on itself",
            none,
            &|n| {
                let on = [nth(n).to_be_bytes().as_slice(), &[0]].concat();
                [post(nth(n)), frame(PRIORITY, 0, nth(n), &on)].concat()
            },
            210,
        ),
        (
            "data behind the end",
            none,
            &|n| {
                let late = get(nth(n), "/late");
                [late, frame(DATA, 0, nth(n), &[b'x'; 100])].concat()
            },
            210,
        ),
        (
            "a head twice",
            none,
            &|n| [post(nth(n)), frame(HEADERS, OPEN, nth(n), &[0x83])].concat(),
            210,
        ),
        ("malformed", none, &|n| frame(HEADERS, WHOLE, nth(n), &[0x83]), 210),
        ("more streams than may be", none, &|n| get(nth(n), "/late"), 310),
        // CVE-2024-27316 and its like.
        ("CONTINUATION", &begun, &|_| frame(CONTINUATION, 0, 1, &[0x86]), 10),
        ("empty CONTINUATION", &begun, &|_| frame(CONTINUATION, 0, 1, b""), 10),
        ("large CONTINUATION", &begun, &|_| frame(CONTINUATION, 0, 1, &[0x86; 16_000]), 3),
        // What moves nothing.
        ("SETTINGS", none, &|_| frame(SETTINGS, 0, 0, b""), 110),
        ("SETTINGS acknowledged", none, &|_| frame(SETTINGS, 1, 0, b""), 110),
        (
            "SETTINGS that move windows",
            &opened,
            &|n| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, (n % 2) as u8, 0]),
            110,
        ),
        ("PING", none, &|_| frame(PING, 0, 0, &[0; 8]), 110),
        ("PING answered", none, &|_| frame(PING, 1, 0, &[0; 8]), 110),
        ("empty DATA", &opened, &|_| frame(DATA, 0, 1, b""), 1_010),
        ("padding alone", &opened, &|_| frame(DATA, 8, 1, &[3, 0, 0, 0]), 1_010),
        ("GOAWAY", none, &|_| frame(GOAWAY, 0, 0, &[0; 8]), 1_010),
        ("small DATA", &opened, &|_| frame(DATA, 0, 1, b"x"), 10_100),
        ("a window opened by 1", &opened, &|_| open_window(1, 1), 10_100),
        ("the window opened by 1", none, &|_| open_window(0, 1), 10_100),
        ("PRIORITY", none, &|_| frame(PRIORITY, 0, 9, &[0; 5]), 10_100),
        ("PRIORITY_UPDATE", none, &|_| frame(0x10, 0, 0, b"\0\0\0\x01u=1"), 10_100),
        ("unknown frames", none, &|_| frame(0x77, 0xFF, 1, b"x"), 10_100),
        // CVE-2016-6581 and its like: by size of a field, by their number, by pieces of cookies.
        ("a bomb", none, &|n| bomb(nth(2 * n), 10), 210),
        ("a large bomb", none, &|n| bomb(nth(2 * n), 1_000), 1),
        ("many fields", none, &|n| many(nth(n), 98, &[0x90]), 210),
        ("many pieces of a cookie", none, &|n| many(nth(n), 33, &[0xA0]), 210),
    ];
    for (name, begin, round, most) in rows {
        let mut scene = Scene::new(b"");
        scene.fake.put(ATTACKER, begin);
        scene.turn();

        let rounds = scene.attack(name, *most, *round);

        // No sooner than it should either: these are limits of attacks, not of use.
        assert!(rounds > most / 2 || *most <= 10, "{name} after {rounds}");
        assert!(scene.most() < BOUND, "{name}: {} bytes", scene.most());
        scene.end(name);
    }
}

/// What each waits for while windows are shut is bounded by the number of streams, and in time.
#[test]
fn shut_windows_cost_so_much_for_so_long() {
    let streams = 100;
    let shut = [0, 4, 0, 0, 0, 0];
    // Of each stream, and of all together: those are open for the first 65,535 bytes.
    for (name, settings, dripped) in [
        ("streams' windows", &shut[..], false),
        ("the connection's window", &[0, 4, 0, 0x0F, 0, 0][..], false),
        ("other streams' windows", &shut[..], true),
    ] {
        let mut scene = Scene::new(settings);
        for n in 0..streams {
            scene.fake.put(ATTACKER, &get(nth(n), "/large"));
            scene.turn();
        }
        scene.frames(ATTACKER);
        let most = i64::from(streams) * (LARGE as i64 + 60_000) + BOUND;
        assert!(scene.most() < most, "{name}: {} bytes", scene.most());
        let ended = |scene: &Scene| {
            let frames = scene.frames(ATTACKER);
            frames.iter().filter(|f| (f.0, f.2) == (RST_STREAM, CANCEL)).count()
        };

        scene.pass(14);
        assert_eq!(ended(&scene), 0, "{name}");
        if dripped {
            // Hearing of the client does not help the streams.
            scene.fake.put(ATTACKER, &frame(PING, 0, 0, &[0; 8]));
        }
        scene.pass(14);
        assert_eq!(ended(&scene), 0, "{name}");
        scene.pass(3);

        assert_eq!(ended(&scene), streams as usize, "{name}");
        assert!(HELD.get() - scene.held < BOUND, "{name}: {}", HELD.get() - scene.held);
        scene.bystanders_are_served(name);
    }
}

/// A client that asks on and reads nothing: what waits for it is bounded, and then it is gone.
#[test]
fn a_client_that_reads_nothing_is_left() {
    let mut scene = Scene::new(b"");
    scene.fake.0.borrow_mut().ends[ATTACKER].deaf = true;
    let mut rounds = 0;
    while scene.rt.stats().open == ALL as u64 {
        scene.fake.put(ATTACKER, &get(nth(rounds), "/large"));
        scene.fake.put(ATTACKER, &frame(PING, 0, 0, &[0; 8]));
        scene.fake.put(ATTACKER, &frame(SETTINGS, 0, 0, b""));
        scene.fake.0.borrow_mut().now += 500_000;
        scene.turn();
        if rounds % 16 == 0 {
            scene.bystanders_are_served("deaf");
        }
        rounds += 1;
        assert!(rounds < 80, "it is still there");
    }

    assert!(rounds > 50, "after {rounds}");
    assert!(scene.most() < i64::from(rounds) * (LARGE as i64 + 60_000) + BOUND);
    scene.bystanders_are_served("deaf");
    assert!(HELD.get() - scene.held < BOUND, "{}", HELD.get() - scene.held);
}
