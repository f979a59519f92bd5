//! What the tests stand on: a runtime in a simulated world, scripted peers, and virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use lodger::sim::{Faults, Wire, World};
use lodger::{Limits, ListenerId, Micros, Reason, Runtime, Serve, http, ws};
use lodger_backend::{Addr, Trigger};

pub(crate) const TRIGGERS: [Trigger; 3] = [Trigger::Edge, Trigger::Level, Trigger::Oneshot];

/// More turns than this in a row, with something to do in each, is a spin.
const SPIN: usize = 20_000;

/// A runtime in a world of its own.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) rt: Runtime,
    pub(crate) addr: Addr,
}

impl Rig {
    pub(crate) fn new(trigger: Trigger) -> Self {
        Self::with(trigger, Limits::default(), 1, Faults::none())
    }

    pub(crate) fn limited(trigger: Trigger, limits: Limits) -> Self {
        Self::with(trigger, limits, 1, Faults::none())
    }

    pub(crate) fn with(trigger: Trigger, limits: Limits, seed: u64, faults: Faults) -> Self {
        quiet_panics();
        let world = World::with(seed, faults);
        let rt = Runtime::with(world.driver_with(trigger), world.net(), limits);
        Self { world, rt, addr: Addr::parse("127.0.0.1:80").unwrap() }
    }

    /// Serves at the rig's address.
    pub(crate) fn serve<S: Serve>(&self, server: S) -> ListenerId {
        let id = self.rt.listen("127.0.0.1:80", server).unwrap();
        self.pump();
        id
    }

    pub(crate) fn connect(&self) -> Wire {
        self.world.connect(&self.addr).unwrap()
    }

    /// Dispatches until nothing is to be done at this time. Returns how many turns that took.
    pub(crate) fn pump(&self) -> usize {
        pump(&self.world, &self.rt)
    }

    /// Lets this much virtual time pass, dispatching whenever the loop would.
    pub(crate) fn run_for(&self, d: Duration) -> usize {
        run_for(&self.world, &self.rt, d)
    }

    /// Writes, runs, and reads what came back at once.
    pub(crate) fn ask(&self, wire: &Wire, bytes: impl AsRef<[u8]>) -> String {
        wire.write(bytes.as_ref());
        self.pump();
        text(wire)
    }

    /// A WebSocket at `path`, with its handshake done.
    pub(crate) fn upgrade(&self, path: &str) -> Wire {
        let wire = self.connect();
        let answer = self.ask(&wire, ws_request(path, ""));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        wire
    }

    /// Says what the runtime sends to and receives from the system while `f` runs: calls of `recv`
    /// that brought something, and of `send`.
    pub(crate) fn calls(&self, f: impl FnOnce()) -> (usize, usize) {
        self.world.record();
        self.world.take_lines();
        f();
        let lines = self.world.take_lines();
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        (count(" recv #"), count(" send #"))
    }

    /// Ends the runtime and checks that nothing is left behind.
    pub(crate) fn end(self) {
        let handle = self.rt.handle();
        drop(self.rt);
        assert_eq!(handle.stats().open, 0);
        drop(handle);
        assert_eq!((self.world.open(), self.world.watched()), (0, 0));
    }
}

pub(crate) fn pump(world: &World, rt: &lodger::Handle) -> usize {
    let mut turns = 0;
    while rt.is_on() && world.next_event().is_some_and(|at| at <= world.now()) {
        rt.dispatch().unwrap();
        turns += 1;
        assert!(turns < SPIN, "the loop spins");
    }
    turns
}

pub(crate) fn run_for(world: &World, rt: &lodger::Handle, d: Duration) -> usize {
    run_until(world, rt, world.now() + d)
}

pub(crate) fn run_until(world: &World, rt: &lodger::Handle, end: Micros) -> usize {
    let mut turns = pump(world, rt);
    while let Some(at) = world.next_event().filter(|at| *at <= end && rt.is_on()) {
        world.advance_to(at);
        turns += pump(world, rt);
    }
    world.advance_to(end);
    turns + pump(world, rt)
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn text(wire: &Wire) -> String {
    String::from_utf8_lossy(&wire.read()).into_owned()
}

/// A GET without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Gives the status of a response and its body, of the length that its head says.
pub(crate) fn response(text: &str) -> (u16, &str) {
    let status = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    (status, body)
}

/// Cuts what a keep-alive connection answered into responses: status and decoded body of each.
/// What is incomplete at the end is left out.
pub(crate) fn responses(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(((status, body), rest)) = one_response(bytes) {
        all.push((status, body));
        bytes = rest;
    }
    all
}

/// Gives the first whole response, and how many bytes it is.
pub(crate) fn first_response(bytes: &[u8]) -> Option<(u16, Vec<u8>, usize)> {
    let ((status, body), rest) = one_response(bytes)?;
    Some((status, body, bytes.len() - rest.len()))
}

type Response = (u16, Vec<u8>);

fn one_response(bytes: &[u8]) -> Option<(Response, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap().to_lowercase();
    let mut rest = &bytes[end + 4..];
    let status = head.get(9..12)?.parse().ok()?;
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let line = rest.windows(2).position(|w| w == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16);
            let (size, from) = (size.unwrap(), line + 2);
            body.extend_from_slice(rest.get(from..from + size)?);
            rest = rest.get(from + size + 2..)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some((_, length)) = head.split_once("content-length: ") {
        let n = length.lines().next()?.trim().parse().ok()?;
        body.extend_from_slice(rest.get(..n)?);
        rest = &rest[n..];
    }
    Some(((status, body), rest))
}

// ---- WebSocket, by hand ----

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The key of RFC 6455, section 1.3; the answer to it is known.
pub(crate) fn ws_request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A client's frame, masked.
pub(crate) fn frame(op: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![u8::from(last) << 7 | op];
    match payload.len() {
        n @ 0..126 => out.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

pub(crate) fn say(payload: &str) -> Vec<u8> {
    frame(TEXT, true, payload.as_bytes())
}

pub(crate) fn close_frame(code: u16) -> Vec<u8> {
    frame(CLOSE, true, &code.to_be_bytes())
}

/// Cuts a server's bytes into frames: opcode, whether it is the last, payload. The number is how
/// many bytes they were.
pub(crate) fn frames(bytes: &[u8]) -> (Vec<(u8, bool, Vec<u8>)>, usize) {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(size) = frame_size(&bytes[at..]) {
        let (head, len) = size;
        let Some(payload) = bytes.get(at + head..at + head + len) else { break };
        assert_eq!(bytes[at] & 0x70, 0, "a reserved bit");
        all.push((bytes[at] & 0xf, bytes[at] & 0x80 != 0, payload.to_vec()));
        at += head + len;
    }
    (all, at)
}

fn frame_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    assert_eq!(second & 0x80, 0, "a server does not mask");
    match second {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())))),
        127 => {
            let n = u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap());
            Some((10, usize::try_from(n).unwrap()))
        }
        n => Some((2, usize::from(n))),
    }
}

/// What text messages a server's bytes hold.
pub(crate) fn messages(wire: &Wire) -> Vec<String> {
    let bytes = wire.read();
    let (frames, n) = frames(&bytes);
    assert_eq!(n, bytes.len(), "a frame in pieces");
    frames
        .into_iter()
        .filter(|(op, ..)| *op == TEXT)
        .map(|(.., payload)| String::from_utf8(payload).unwrap())
        .collect()
}

/// The code of the Close frame among a server's bytes.
pub(crate) fn close_code(bytes: &[u8]) -> Option<u16> {
    let (frames, _) = frames(bytes);
    let (.., payload) = frames.into_iter().find(|(op, ..)| *op == CLOSE)?;
    Some(payload.get(..2).map_or(1005, |b| u16::from_be_bytes([b[0], b[1]])))
}

// ---- What handlers tell ----

/// What happened, in order; shared by handlers and the test.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.borrow_mut())
    }

    pub(crate) fn closed(&self, why: Reason) {
        self.add(format!("closed {}", name(why)));
    }
}

/// The name of a reason, without what it carries.
pub(crate) fn name(why: Reason) -> String {
    let text = format!("{why:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

/// A number that closures share.
#[derive(Clone, Default)]
pub(crate) struct Count(Rc<Cell<usize>>);

impl Count {
    pub(crate) fn add(&self) -> usize {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.get()
    }
}

// ---- Panics that are meant ----

pub(crate) const PLANTED: &str = "planted";

/// Panics on purpose, without noise.
pub(crate) fn planted() -> ! {
    panic!("{PLANTED}")
}

/// Keeps planted panics off the terminal; all others are shown.
pub(crate) fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| info.payload().downcast_ref::<&str>().copied());
            if text != Some(PLANTED) {
                shown(info);
            }
        }));
    });
}

/// Small, fast and predictable.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from((self.next() >> 33) % (n.max(1) as u64)).unwrap()
    }
}

// ---- Handlers ----

/// A WebSocket handler that notes what it hears and leaves messages to a closure.
pub(crate) struct Hook<F> {
    pub(crate) log: Log,
    pub(crate) f: F,
}

impl<F: Fn(&mut ws::Cx<'_>, &str) + 'static> ws::Handler for Hook<F> {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        self.log.add("open");
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if let ws::Message::Text(text) = message {
            (self.f)(cx, text);
        }
    }

    fn pong(&mut self, _cx: &mut ws::Cx<'_>, _payload: &[u8]) {
        self.log.add("pong");
    }

    fn writable(&mut self, _cx: &mut ws::Cx<'_>, _room: usize) {
        self.log.add("writable");
    }

    fn timer(&mut self, cx: &mut ws::Cx<'_>, tag: u64) {
        self.log.add(format!("timer {tag}"));
        (self.f)(cx, &format!("timer {tag}"));
    }

    fn closing(&mut self, _cx: &mut ws::Cx<'_>, code: Option<u16>, reason: &str) {
        self.log.add(format!("closing {code:?} {reason}"));
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        self.log.closed(why);
    }
}

/// Gives what [`http::Server::ws`] takes: each message, and each timer, goes to `f`.
pub(crate) fn hook<F: Fn(&mut ws::Cx<'_>, &str) + Clone + 'static>(
    log: &Log,
    f: F,
) -> impl Fn(&http::Request<'_>) -> Result<Hook<F>, ws::Refuse> + 'static {
    let log = log.clone();
    move |_| Ok(Hook { log: log.clone(), f: f.clone() })
}

/// An echo of messages.
#[derive(Clone, Copy)]
pub(crate) struct Echo;

impl ws::Handler for Echo {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        cx.send(message).unwrap();
    }
}
