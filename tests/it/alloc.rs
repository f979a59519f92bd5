//! In steady state a message costs one `recv`, one `send` and no allocation. Counted on a driver
//! and a net of the test's own, which allocate nothing either.

#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers of the tests' own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use lodger::{ConnId, Limits, Runtime, WhenFull, http, raw, ws};
use lodger_backend::{
    Addr, Backend, Caps, Driver, Event, File, Interest, Meta, Micros, Net, Ready, Sock, Source,
    Token, Trigger, Waker,
};

#[cfg(feature = "h2")]
mod h2_attacks;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread has taken and not given back, and the most that they were.
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(taken: usize, given: usize) {
    // A thread that is ending allocates uncounted.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + u64::from(taken > 0)));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + taken as i64 - given as i64);
        let _ = PEAK.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; the counts are a thread's own `Cell`s
// without destructors, so counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as in `alloc`; `ptr` came from there.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const LISTENER: u64 = 1_000_000;

/// A connection: what it is to read, what it has sent.
#[derive(Default)]
struct End {
    input: Vec<u8>,
    output: Vec<u8>,
    token: Option<Token>,
    told: bool,
    /// It takes nothing: what is sent to it waits.
    deaf: bool,
}

#[derive(Default)]
struct State {
    ends: Vec<End>,
    accepted: usize,
    listener: Option<Token>,
    now: u64,
    recvs: u64,
    sends: u64,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<State>>);

impl Fake {
    fn put(&self, end: usize, bytes: &[u8]) {
        let end = &mut self.0.borrow_mut().ends[end];
        end.input.extend_from_slice(bytes);
        end.told = false;
    }
}

impl Net for Fake {
    fn unix_time(&self) -> u64 {
        1_700_000_000 + self.0.borrow().now / 1_000_000
    }
    fn random(&self, buf: &mut [u8]) {
        buf.fill(7);
    }
    fn listen(&self, _: &Addr) -> io::Result<Sock> {
        Ok(Sock::from_bits(LISTENER))
    }
    fn accept(&self, _: Sock) -> io::Result<Sock> {
        let mut s = self.0.borrow_mut();
        if s.accepted == s.ends.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        s.accepted += 1;
        Ok(Sock::from_bits(s.accepted as u64 - 1))
    }
    fn connect(&self, _: &Addr) -> io::Result<Sock> {
        Err(io::ErrorKind::Unsupported.into())
    }
    #[cfg(unix)]
    fn adopt(&self, fd: std::os::fd::OwnedFd) -> Result<Sock, (std::os::fd::OwnedFd, io::Error)> {
        Err((fd, io::ErrorKind::Unsupported.into()))
    }
    fn recv(&self, sock: Sock, buf: &mut [u8]) -> io::Result<usize> {
        let mut s = self.0.borrow_mut();
        s.recvs += 1;
        let input = &mut s.ends[sock.bits() as usize].input;
        if input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = input.len().min(buf.len());
        buf[..n].copy_from_slice(&input[..n]);
        input.drain(..n);
        Ok(n)
    }
    fn send(&self, sock: Sock, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut s = self.0.borrow_mut();
        s.sends += 1;
        let end = &mut s.ends[sock.bits() as usize];
        if end.deaf {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let output = &mut end.output;
        bufs.iter().for_each(|buf| output.extend_from_slice(buf));
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }
    fn shutdown(&self, _: Sock) -> io::Result<()> {
        Ok(())
    }
    fn take_error(&self, _: Sock) -> io::Result<Option<io::Error>> {
        Ok(None)
    }
    fn local_addr(&self, _: Sock) -> io::Result<Addr> {
        Addr::parse("127.0.0.1:80")
    }
    fn peer_addr(&self, _: Sock) -> io::Result<Addr> {
        Addr::parse("127.0.0.1:80")
    }
    fn source(&self, sock: Sock) -> Option<Source> {
        Some(Source::Memory(sock.bits()))
    }
    fn close(&self, _: Sock) {}
    fn open_dir(&self, _: &std::path::Path) -> io::Result<File> {
        Ok(File::from_bits(0))
    }
    fn open_beneath(&self, _: File, path: &str) -> io::Result<(File, Meta)> {
        match path {
            "a.css" => Ok((
                File::from_bits(1),
                Meta { is_dir: false, len: 10_000, modified: 1_600_000_000, nanos: 1 },
            )),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn read_at(&self, _: File, _: u64, buf: &mut [u8]) -> io::Result<usize> {
        buf.fill(b'x');
        Ok(buf.len())
    }
}

impl Backend for Fake {
    fn caps(&self) -> Caps {
        Caps { trigger: Trigger::Edge, timer_resolution: Duration::ZERO }
    }
    fn now(&self) -> Micros {
        let mut s = self.0.borrow_mut();
        s.now += 1;
        Micros::new(s.now)
    }
    fn watch(&mut self, source: Source, token: Token, _: Interest) -> io::Result<()> {
        let Source::Memory(at) = source else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut s = self.0.borrow_mut();
        match at {
            LISTENER => s.listener = Some(token),
            at => s.ends[at as usize].token = Some(token),
        }
        Ok(())
    }
    fn rearm(&mut self, _: Source, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }
    fn release(&mut self, _: Token, _: Sock, _: &Rc<dyn Net>) {}
    fn set_deadline(&mut self, _: Option<Micros>) {}
    fn request_turn(&mut self) {}
    fn waker(&self) -> Waker {
        Waker::new(|| ())
    }
}

impl Driver for Fake {
    fn poll(&mut self, _: Option<Duration>, events: &mut Vec<Event>) -> io::Result<bool> {
        let mut s = self.0.borrow_mut();
        if s.accepted < s.ends.len() {
            events.extend(s.listener.map(|token| Event { token, ready: Ready::READ }));
        }
        for end in s.ends.iter_mut().filter(|end| !end.told && !end.input.is_empty()) {
            end.told = true;
            events.extend(end.token.map(|token| Event { token, ready: Ready::READ }));
        }
        Ok(false)
    }
    #[cfg(unix)]
    fn fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

const PEERS: usize = 32;

/// A runtime that serves `PEERS` connections.
fn serve<S: lodger::Serve>(server: S) -> (Fake, Runtime) {
    serve_to(PEERS, server)
}

fn serve_to<S: lodger::Serve>(peers: usize, server: S) -> (Fake, Runtime) {
    let fake = Fake::default();
    fake.0.borrow_mut().ends.resize_with(peers, || End {
        input: Vec::with_capacity(64 << 10),
        output: Vec::with_capacity(1 << 20),
        ..End::default()
    });
    let rt = Runtime::with(Box::new(fake.clone()), Rc::new(fake.clone()), Limits::default());
    rt.listen("127.0.0.1:80", server).unwrap();
    (0..20).for_each(|_| _ = rt.dispatch().unwrap());
    assert_eq!(rt.stats().open, peers as u64);
    (fake, rt)
}

/// Sends `message` to each connection again and again; gives what 10,000 of them cost: allocations,
/// calls of `recv` and of `send`. `answer` bytes come back for each.
fn cost(fake: &Fake, rt: &Runtime, message: &[u8], answer: usize) -> (u64, u64, u64) {
    let round = |active: usize| {
        (0..active).for_each(|end| fake.put(end, message));
        for _ in 0..4 {
            rt.dispatch().unwrap();
        }
        for end in &mut fake.0.borrow_mut().ends[..active] {
            assert_eq!((end.output.len(), end.input.len()), (answer, 0));
            end.output.clear();
        }
    };
    // The first rounds make the pools; some run with everybody at once, some with one alone.
    (0..20).for_each(|n| round(if n % 2 == 0 { PEERS } else { 1 }));
    let look = || {
        let s = fake.0.borrow();
        (ALLOCATIONS.get(), s.recvs, s.sends)
    };
    let before = look();
    (0..10_000 / (PEERS + 1)).for_each(|_| {
        round(PEERS);
        round(1);
    });
    let after = look();
    (after.0 - before.0, after.1 - before.1, after.2 - before.2)
}

const MESSAGES: u64 = (10_000 / (PEERS as u64 + 1)) * (PEERS as u64 + 1);

struct Echo;

impl ws::Handler for Echo {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        cx.send(message).unwrap();
    }
}

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Has every connection upgrade.
fn upgrade(fake: &Fake, rt: &Runtime) {
    (0..PEERS).for_each(|end| fake.put(end, UPGRADE));
    (0..4).for_each(|_| _ = rt.dispatch().unwrap());
    for end in &mut fake.0.borrow_mut().ends {
        assert!(end.output.starts_with(b"HTTP/1.1 101 "));
        end.output.clear();
    }
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    out.extend_from_slice(payload);
    out
}

#[test]
fn a_request_and_its_answer_allocate_nothing() {
    let (fake, rt) = serve(
        http::Server::new()
            .get("/plaintext", |_, res| res.text("Hello, World!"))
            .get("/user/{id}", |req, res| res.header("x-id", "1").text(req.param("id").unwrap())),
    );
    let plain = b"GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n";
    fake.put(0, plain);
    rt.dispatch().unwrap();
    let answer = fake.0.borrow().ends[0].output.len();
    fake.0.borrow_mut().ends[0].output.clear();
    assert_eq!(cost(&fake, &rt, plain, answer), (0, MESSAGES, MESSAGES));

    let sixteen = plain.repeat(16);
    assert_eq!(cost(&fake, &rt, &sixteen, 16 * answer), (0, MESSAGES, MESSAGES));

    let param = b"GET /user/42 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nUser-Agent: y\r\n\r\n";
    fake.put(0, param);
    rt.dispatch().unwrap();
    let answer = fake.0.borrow().ends[0].output.len();
    fake.0.borrow_mut().ends[0].output.clear();
    assert_eq!(cost(&fake, &rt, param, answer), (0, MESSAGES, MESSAGES));
}

/// Ten streams a read: one `recv`, one `send`, for all of them.
#[cfg(feature = "h2")]
#[test]
fn streams_and_their_answers_allocate_nothing() {
    const ROUNDS: u64 = 1000;
    let (fake, rt) =
        serve(http::Server::new().get("/plaintext", |_, res| res.text("Hello, World!")));
    // The preface, SETTINGS, and that ours are acknowledged.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    fake.put(0, hello);
    rt.dispatch().unwrap();
    let mut stream = 1u32;
    let mut round = || {
        // A window for the answers: ten times 13 bytes.
        fake.put(0, b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x82");
        for _ in 0..10 {
            let [a, b, c, d] = stream.to_be_bytes();
            fake.put(0, &[0, 0, 14, 1, 5, a, b, c, d, 0x82, 0x86, 4, 10]);
            fake.put(0, b"/plaintext");
            stream += 2;
        }
        rt.dispatch().unwrap();
        let end = &mut fake.0.borrow_mut().ends[0];
        assert!(end.input.is_empty() && end.output.ends_with(b"Hello, World!"));
        end.output.clear();
    };
    (0..20).for_each(|_| round());
    let before = (ALLOCATIONS.get(), fake.0.borrow().recvs, fake.0.borrow().sends);
    (0..ROUNDS).for_each(|_| round());
    let after = (ALLOCATIONS.get(), fake.0.borrow().recvs, fake.0.borrow().sends);

    assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (0, ROUNDS, ROUNDS));
    assert_eq!(rt.stats().requests, (ROUNDS + 20) * 10);
}

#[test]
fn a_file_that_is_remembered_allocates_nothing() {
    let files = http::Files::new("/").remember(16, Duration::from_secs(3600));
    let (fake, rt) = serve(http::Server::new().files("/", files));
    let request = b"GET /a.css HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, br\r\n\r\n";
    fake.put(0, request);
    rt.dispatch().unwrap();
    let answer = fake.0.borrow().ends[0].output.len();
    fake.0.borrow_mut().ends[0].output.clear();

    assert!(answer > 10_000);
    assert_eq!(cost(&fake, &rt, request, answer), (0, MESSAGES, MESSAGES));
}

#[test]
fn a_message_and_its_echo_allocate_nothing() {
    let (fake, rt) = serve(http::Server::new().ws("/", |_| Ok(Echo)));
    upgrade(&fake, &rt);

    assert_eq!(cost(&fake, &rt, &frame(0x81, &[b'x'; 20]), 22), (0, MESSAGES, MESSAGES));
    let ten = frame(0x82, &[0; 20]).repeat(10);
    assert_eq!(cost(&fake, &rt, &ten, 220), (0, MESSAGES, MESSAGES), "ten in one read");
}

#[test]
fn a_message_in_fragments_allocates_nothing() {
    let (fake, rt) = serve(http::Server::new().ws("/", |_| Ok(Echo)));
    upgrade(&fake, &rt);

    let parts = [frame(0x01, &[b'x'; 20]), frame(0x89, b"ping"), frame(0x80, &[b'y'; 20])];
    let (allocations, recvs, sends) = cost(&fake, &rt, &parts.concat(), 42 + 6);

    assert_eq!((allocations, recvs, sends), (0, MESSAGES, MESSAGES));
}

#[test]
fn a_message_cut_between_two_reads_allocates_nothing() {
    let (fake, rt) =
        serve(http::Server::new().ws("/", |_| Ok(Echo)).get("/x", |_, res| res.empty()));
    let get = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
    let half = || {
        for part in [&get[..10], &get[10..]] {
            (0..PEERS).for_each(|end| fake.put(end, part));
            rt.dispatch().unwrap();
        }
        fake.0.borrow_mut().ends.iter_mut().for_each(|end| {
            assert!(end.output.starts_with(b"HTTP/1.1 200 "));
            end.output.clear();
        });
    };
    (0..10).for_each(|_| half());

    let before = ALLOCATIONS.get();
    (0..100).for_each(|_| half());

    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_raw_echo_and_a_relay_allocate_nothing() {
    struct Relay(Rc<RefCell<Vec<ConnId>>>);
    impl raw::Handler for Relay {
        fn open(&mut self, cx: &mut raw::Cx<'_>) {
            self.0.borrow_mut().push(cx.id());
        }
        fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
            if bytes[0] == b'e' {
                cx.send(bytes).unwrap();
            } else {
                let last = *self.0.borrow().last().unwrap();
                cx.runtime().send_bytes(last, bytes).unwrap();
            }
        }
    }
    let all = Rc::default();
    let a = Rc::clone(&all);
    let (fake, rt) = serve(raw::Server::new(move |_| Some(Relay(Rc::clone(&a)))));
    assert_eq!(cost(&fake, &rt, b"echo", 4), (0, MESSAGES, MESSAGES));

    let relay = |n: usize| {
        for _ in 0..n {
            (0..8).for_each(|end| fake.put(end, b"relay"));
            rt.dispatch().unwrap();
            fake.0.borrow_mut().ends.last_mut().unwrap().output.clear();
        }
    };
    relay(10);
    let (before, sends) = (ALLOCATIONS.get(), fake.0.borrow().sends);
    relay(1_000);

    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(fake.0.borrow().sends - sends, 1_000, "eight messages, one send");
}

#[test]
fn tags_and_periods_allocate_nothing() {
    struct Tag;
    impl raw::Handler for Tag {
        fn data(&mut self, cx: &mut raw::Cx<'_>, _: &[u8]) {
            let id = cx.timer(1, Duration::from_secs(1)).unwrap();
            cx.runtime().rearm(id, Duration::from_secs(2));
            cx.runtime().cancel(id);
            cx.timer(2, Duration::ZERO).unwrap();
        }
        fn timer(&mut self, cx: &mut raw::Cx<'_>, _: u64) {
            cx.send(b"told").unwrap();
        }
    }
    let (fake, rt) = serve(raw::Server::new(|_| Some(Tag)));
    rt.every(Duration::from_micros(1), |_| ());

    assert_eq!(cost(&fake, &rt, b"x", 4), (0, MESSAGES, MESSAGES));
}

/// Sends to everybody a thousand times: allocations, and calls of `send`.
fn fan_out(fake: &Fake, rt: &Runtime, send: impl Fn()) -> (u64, u64) {
    let round = || {
        send();
        rt.dispatch().unwrap();
        for end in &mut fake.0.borrow_mut().ends {
            assert!(!end.output.is_empty());
            end.output.clear();
        }
    };
    // Histories and pools fill.
    (0..40).for_each(|_| round());
    let before = (ALLOCATIONS.get(), fake.0.borrow().sends);
    (0..1000).for_each(|_| round());
    (ALLOCATIONS.get() - before.0, fake.0.borrow().sends - before.1)
}

#[test]
fn a_message_to_all_allocates_nothing() {
    struct Guest(ws::Broadcast);
    impl ws::Handler for Guest {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            self.0.join(cx.runtime(), cx.id()).unwrap();
        }
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
    }
    let all = ws::Broadcast::new(WhenFull::DropOldest { messages: 4 });
    let room = all.clone();
    let (fake, rt) = serve(http::Server::new().ws("/", move |_| Ok(Guest(room.clone()))));
    upgrade(&fake, &rt);

    for size in [20, 2000] {
        let text = "x".repeat(size);
        let send = || _ = all.send(&rt, ws::Message::Text(&text)).unwrap();

        assert_eq!(fan_out(&fake, &rt, send), (0, 1000 * PEERS as u64), "{size} bytes");
    }
}

#[test]
fn an_event_to_all_allocates_nothing() {
    for kept in [0, 16] {
        let news = http::Events::new().history(kept, 1 << 20).keep_alive(None);
        let topic = news.clone();
        let (fake, rt) =
            serve(http::Server::new().get("/", move |_, res| topic.subscribe(None, res)));
        (0..PEERS).for_each(|end| fake.put(end, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        (0..4).for_each(|_| _ = rt.dispatch().unwrap());
        assert_eq!(news.len(), PEERS);

        let event = http::Event::new("two\nlines").name("tick");
        let send = || _ = news.send(&rt, &event).unwrap();

        assert_eq!(fan_out(&fake, &rt, send), (0, 1000 * PEERS as u64), "{kept} kept");
    }
}

#[test]
fn what_is_allocated_is_counted() {
    let before = ALLOCATIONS.get();
    let mut list = Vec::with_capacity(1_u8.into());
    list.extend_from_slice(&[1_u64, 2, 3]);
    assert_eq!(ALLOCATIONS.get() - before, 2, "{list:?}");
}

/// What is allocated for a record in and one out: the plaintext that rustls gives, the record that it
/// makes, and one more.
#[cfg(feature = "tls")]
const MOST: u64 = 3;

#[cfg(feature = "tls")]
#[test]
fn over_tls_a_message_costs_one_call_each_and_three_allocations() {
    use std::io::Write;
    use std::sync::Arc;

    let made = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = lodger::tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let config = lodger::tls::ServerConfig::builder().identity(identity).build().unwrap();
    let server = http::Server::new().ws("/", |_| Ok(Echo));
    let (fake, rt) = serve(lodger::tls::Server::new(&config, server));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("x").unwrap();
    let mut peer = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let say = |peer: &mut rustls::ClientConnection| {
        let mut out = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut out).unwrap();
        }
        fake.put(0, &out);
        (0..3).for_each(|_| _ = rt.dispatch().unwrap());
        let input = std::mem::take(&mut fake.0.borrow_mut().ends[0].output);
        let mut input = &input[..];
        while !input.is_empty() {
            peer.read_tls(&mut input).unwrap();
            peer.process_new_packets().unwrap();
        }
    };
    (0..3).for_each(|_| say(&mut peer));
    peer.writer().write_all(UPGRADE).unwrap();
    say(&mut peer);
    let records: Vec<Vec<u8>> = (0..1100)
        .map(|_| {
            let mut record = Vec::new();
            peer.writer().write_all(&frame(0x82, b"twenty bytes of text")).unwrap();
            peer.write_tls(&mut record).unwrap();
            record
        })
        .collect();
    fake.0.borrow_mut().ends[0].output = Vec::with_capacity(1 << 20);
    let (warm, counted) = records.split_at(100);
    let round = |record: &Vec<u8>| {
        fake.put(0, record);
        rt.dispatch().unwrap();
    };

    warm.iter().for_each(round);
    let look = || (ALLOCATIONS.get(), fake.0.borrow().recvs, fake.0.borrow().sends);
    let before = look();
    counted.iter().for_each(round);
    let after = look();

    let cost = [after.0 - before.0, after.1 - before.1, after.2 - before.2];
    assert!(cost[0] <= MOST * 1000, "{cost:?}");
    assert_eq!(cost[1..], [1000, 1000]);
}

/// One publisher, everybody else hears it: a message of QoS 0 allocates nothing, and is sent to each
/// with one `send` a turn.
#[cfg(feature = "mqtt")]
#[test]
fn a_message_through_a_broker_allocates_nothing() {
    use lodger::mqtt::{Broker, BrokerConfig};
    let fake = Fake::default();
    fake.0.borrow_mut().ends.resize_with(PEERS, || End {
        input: Vec::with_capacity(64 << 10),
        output: Vec::with_capacity(1 << 20),
        ..End::default()
    });
    let rt = Runtime::with(Box::new(fake.clone()), Rc::new(fake.clone()), Limits::default());
    rt.listen("127.0.0.1:80", Broker::new(&rt, BrokerConfig::new())).unwrap();
    let turns = |n: usize| (0..n).for_each(|_| _ = rt.dispatch().unwrap());
    turns(20);
    for end in 0..PEERS {
        let id = u8::try_from(end).unwrap() + b'0';
        let connect = [b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01".as_slice(), &[id]].concat();
        fake.put(end, &connect);
        turns(4);
        if end > 0 {
            fake.put(end, b"\x82\x08\0\x01\0\x03a/+\0");
            turns(4);
        }
        fake.0.borrow_mut().ends[end].output.clear();
    }
    let publish = b"\x30\x09\0\x03a/bhell";
    let ten = publish.repeat(10);
    let round = || {
        fake.put(0, &ten);
        turns(4);
        for end in &mut fake.0.borrow_mut().ends[1..] {
            assert_eq!(end.output.len(), ten.len());
            end.output.clear();
        }
    };
    (0..20).for_each(|_| round());
    let before = (ALLOCATIONS.get(), fake.0.borrow().sends);
    (0..500).for_each(|_| round());
    let after = (ALLOCATIONS.get(), fake.0.borrow().sends);

    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 500 * (PEERS as u64 - 1)));
}
