//! Chaos: handlers, timers and host code that do anything, at any depth, while the network does
//! its worst. Whatever happens, every handler hears `closed` exactly once and is dropped, every
//! message arrives unbroken and in order, and nothing is left behind.
//!
//! 500 seeds; `LODGER_SEEDS=3000` for more, `LODGER_SEED=17` for one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use lodger::sim::{Datagrams, Faults, Injected, World};
use lodger::{
    Budget, ConnId, Handle, Limits, Reason, Remote, Runtime, SendError, TimerId, http, raw, ws,
};

use crate::kit::{self, PLANTED, Rig, Rng, TRIGGERS};

mod clients;
mod peers;

use peers::Peer;

/// What all handlers and closures of a seed share.
pub(super) struct Chaos {
    rng: RefCell<Rng>,
    pub(super) world: World,
    owner: RefCell<Option<Runtime>>,
    pub(super) rt: Handle,
    /// Of HTTP/1.1, and where it is built in of HTTP/2 by prior knowledge.
    clients: RefCell<Vec<http::Client>>,
    /// Where names are asked for.
    pub(super) names: RefCell<Option<Datagrams>>,
    /// Clients that have not heard their end.
    pub(super) under_way: Cell<u64>,
    /// Whether anything happens on its own; off while a seed is brought to its end.
    wild: Cell<bool>,
    pub(super) conns: RefCell<Vec<ConnId>>,
    /// By scripted peer: which WebSocket is its.
    sockets: RefCell<BTreeMap<usize, ConnId>>,
    timers: RefCell<Vec<TimerId>>,
    laters: RefCell<Vec<(usize, http::Later)>>,
    remote: RefCell<Option<Remote<u64>>>,
    depth: Cell<u32>,
    planted: Cell<u64>,
    made: Cell<u64>,
    dropped: Cell<u64>,
    posted: Cell<u64>,
    told: Cell<u64>,
    /// By scripted peer: the messages that `send` took for it, in order.
    pub(super) sent: RefCell<BTreeMap<usize, Vec<Vec<u8>>>>,
    /// By scripted peer: how many messages of its were heard.
    pub(super) heard: RefCell<BTreeMap<usize, usize>>,
    done: RefCell<BTreeMap<&'static str, u64>>,
    pub(super) wrong: RefCell<Vec<String>>,
}

/// Fewer than the peers of a seed, so that accepting pauses.
const CONNECTIONS: usize = 16;
/// What the host does in a seed.
const STEPS: usize = 300;

impl Chaos {
    pub(super) fn is_full(&self) -> bool {
        self.rt.stats().open >= CONNECTIONS as u64
    }

    pub(super) fn below(&self, n: usize) -> usize {
        self.rng.borrow_mut().below(n)
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.done.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn wrong(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }

    fn pick<T: Copy>(&self, from: &RefCell<Vec<T>>) -> Option<T> {
        let n = from.borrow().len();
        from.borrow().get(self.below(n)).copied()
    }

    pub(super) fn client(&self) -> http::Client {
        let n = self.clients.borrow().len();
        self.clients.borrow()[self.below(n)].clone()
    }

    /// Timeouts may have been met although everybody did what it should.
    pub(super) fn was_suspended(&self) -> bool {
        self.world.injected().jumps > 0
    }

    pub(super) fn is_open(&self, peer: usize) -> bool {
        let id = self.sockets.borrow().get(&peer).copied();
        id.is_some_and(|id| self.rt.is_open(id))
    }

    /// Does a few things, wherever it is called from.
    fn act(self: &Rc<Self>) {
        if !self.wild.get() {
            return;
        }
        for _ in 0..self.below(3) {
            self.one();
        }
    }

    /// Acts, and panics now and then.
    pub(super) fn act_or_panic(self: &Rc<Self>) {
        self.act();
        if self.wild.get() && self.below(150) == 0 {
            self.count("panic");
            self.planted.set(self.planted.get() + 1);
            std::panic::panic_any(PLANTED);
        }
    }

    fn one(self: &Rc<Self>) {
        let id = self.pick(&self.conns);
        match (self.below(28), id) {
            (0..6, _) => self.send_somewhere(),
            (6, Some(id)) if self.below(4) == 0 => {
                self.count("close");
                let _ = self.rt.close(id, 4001);
            }
            (7, Some(id)) if self.below(4) == 0 => {
                self.count("abort");
                self.rt.abort(id);
            }
            (8, Some(id)) => {
                self.count("pause");
                let _ = self.rt.pause(id, true);
            }
            (9 | 10, Some(id)) => {
                self.count("resume");
                let _ = self.rt.pause(id, false);
            }
            (11, Some(id)) => {
                self.count("want_write");
                let _ = self.rt.want_write(id);
            }
            (12, _) => self.arm(),
            (13, _) => {
                self.count("rearm");
                let delay = self.delay();
                self.pick(&self.timers).map(|t| self.rt.rearm(t, delay));
            }
            (14, _) => {
                self.count("cancel");
                self.pick(&self.timers).map(|t| self.rt.cancel(t));
            }
            (15..18, _) => self.answer_later(),
            (18..21, _) => self.nest(),
            (21, _) => {
                self.count("post");
                let remote = self.remote.borrow();
                let posted = remote.as_ref().is_some_and(|r| r.post(1).is_ok());
                self.posted.set(self.posted.get() + u64::from(posted));
            }
            (22, _) if self.below(20) == 0 => {
                self.count("detach");
                self.rt.detach();
            }
            (23, _) => {
                self.rt.stats();
                self.rt.connections(3);
            }
            (24 | 25, _) => clients::begin(self),
            _ => {}
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_micros([0, 50, 1_000, 20_000][self.below(4)])
    }

    fn payload(&self, begin: &str) -> Vec<u8> {
        let n = if self.below(40) == 0 { 70_000 } else { self.below(700) };
        let mut text = begin.to_owned();
        text.extend((0..n).map(|i| char::from(b'a' + u8::try_from(i % 26).unwrap())));
        text.into_bytes()
    }

    fn send_somewhere(&self) {
        let peers: Vec<_> = self.sockets.borrow().iter().map(|(p, id)| (*p, *id)).collect();
        if let Some(&(peer, id)) = peers.get(self.below(peers.len())) {
            let payload = self.payload("push ");
            self.send(peer, id, &payload);
        }
    }

    /// Sends a message and notes it if it was taken.
    fn send(&self, peer: usize, id: ConnId, payload: &[u8]) {
        self.count("send");
        match self.rt.send(id, ws::Message::Text(std::str::from_utf8(payload).unwrap())) {
            Ok(()) => self.sent.borrow_mut().entry(peer).or_default().push(payload.to_vec()),
            Err(SendError::Gone) => self.count("gone"),
            Err(SendError::Full { .. }) => self.count("full"),
            Err(e) => self.count(if e.to_string().contains("clos") { "closing" } else { "misuse" }),
        }
    }

    fn arm(self: &Rc<Self>) {
        let (delay, this) = (self.delay(), Rc::clone(self));
        let id = match self.below(4) {
            0 => {
                self.count("every");
                let left = Cell::new(self.below(5));
                let me: Rc<Cell<Option<TimerId>>> = Rc::default();
                let m = Rc::clone(&me);
                let id = self.rt.every(delay, move |rt| {
                    if left.get() == 0 {
                        rt.cancel(m.get().unwrap());
                    }
                    left.set(left.get().saturating_sub(1));
                    this.act_or_panic();
                });
                me.set(Some(id));
                id
            }
            _ => {
                self.count("after");
                self.rt.after(delay, move |_| this.act_or_panic())
            }
        };
        self.timers.borrow_mut().push(id);
    }

    fn answer_later(self: &Rc<Self>) {
        let n = self.laters.borrow().len();
        if n == 0 {
            return;
        }
        let at = self.below(n);
        let (number, later) = self.laters.borrow_mut().swap_remove(at);
        self.give(number, later);
    }

    fn give(self: &Rc<Self>, number: usize, later: http::Later) {
        match if self.wild.get() { self.below(8) } else { 1 } {
            0 => {
                self.count("later dropped");
                drop(later);
            }
            1..5 => {
                self.count("later answered");
                let _ = later.answer(|res| res.text(&format!("later {number}")));
            }
            _ => {
                self.count("later streamed");
                let text = format!("later {number}").into_bytes();
                let _ = later.answer(|res| res.stream(Download::new(self, text)));
            }
        }
    }

    /// Runs the loop from wherever we are.
    fn nest(self: &Rc<Self>) {
        if self.depth.get() >= 6 {
            return;
        }
        self.count("nested dispatch");
        self.depth.set(self.depth.get() + 1);
        let this = Rc::clone(self);
        let run = move || {
            for _ in 0..=this.below(3) {
                this.world.advance(this.delay());
                this.rt.dispatch().unwrap();
            }
        };
        if self.below(2) == 0 {
            self.rt.modal(run);
        } else {
            run();
        }
        self.depth.set(self.depth.get() - 1);
    }

    /// Ends the runtime in one of three ways, from wherever we are.
    fn finish(self: &Rc<Self>) {
        match self.below(3) {
            0 => {
                self.count("end");
                self.rt.end();
            }
            1 => {
                self.count("drop");
                let owner = self.owner.borrow_mut().take();
                drop(owner);
            }
            _ => {
                self.count("shutdown");
                self.rt.shutdown(Duration::from_millis(50));
            }
        }
    }
}

/// What every handler holds: it tells that each hears `closed` once and is dropped.
pub(super) struct Tracked {
    pub(super) chaos: Rc<Chaos>,
    pub(super) what: &'static str,
    pub(super) closed: Cell<u32>,
    is_client: bool,
}

/// The handlers of clients.
const CLIENTS: [&str; 5] = ["a request", "a request to nobody", "a reader", "a talker", "a pipe"];

impl Tracked {
    pub(super) fn new(chaos: &Rc<Chaos>, what: &'static str) -> Self {
        chaos.made.set(chaos.made.get() + 1);
        chaos.count(what);
        let is_client = CLIENTS.contains(&what);
        chaos.under_way.set(chaos.under_way.get() + u64::from(is_client));
        Self { chaos: Rc::clone(chaos), what, closed: Cell::new(0), is_client }
    }

    pub(super) fn alive(&self) {
        if self.closed.get() > 0 {
            self.chaos.wrong(format!("{} was called after closed", self.what));
        }
    }

    pub(super) fn closed(&self, id: ConnId, rt: &Handle) {
        self.closed.set(self.closed.get() + 1);
        // The connection of an HTTP exchange goes on, and may be full.
        let goes_on = self.what == "a stream";
        let sent = rt.send(id, ws::Message::Text("late"));
        if sent.is_ok() || !goes_on && sent != Err(SendError::Gone) {
            self.chaos.wrong(format!("{} could send from closed", self.what));
        }
        self.chaos.act_or_panic();
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let Self { chaos, what, closed, is_client } = self;
        chaos.under_way.set(chaos.under_way.get() - u64::from(*is_client));
        chaos.dropped.set(chaos.dropped.get() + 1);
        if closed.get() != 1 {
            chaos.wrong(format!("{what} heard closed {} times", closed.get()));
        }
        // The drop of a user's value may call us as well.
        chaos.act();
    }
}

// ---- WebSocket ----

struct Socket {
    tracked: Tracked,
    peer: usize,
}

impl ws::Handler for Socket {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        let chaos = &self.tracked.chaos;
        chaos.conns.borrow_mut().push(cx.id());
        chaos.sockets.borrow_mut().insert(self.peer, cx.id());
        chaos.act_or_panic();
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        self.tracked.alive();
        let chaos = &self.tracked.chaos;
        let before = message.bytes().to_vec();
        let heard = chaos.heard.borrow().get(&self.peer).copied().unwrap_or(0);
        if !before.starts_with(format!("{heard} ").as_bytes()) || !peers::is_whole(&before) {
            chaos.wrong(format!("peer {} message {heard} is broken or out of order", self.peer));
        }
        chaos.heard.borrow_mut().insert(self.peer, heard + 1);
        if chaos.below(4) == 0 {
            let _ = cx.timer(chaos.below(9) as u64, chaos.delay());
        }
        chaos.act_or_panic();
        if message.bytes() != before {
            chaos.wrong("a payload changed while it was held".into());
        }
        chaos.send(self.peer, cx.id(), &before);
    }

    fn writable(&mut self, _: &mut ws::Cx<'_>, _: usize) {
        self.tracked.alive();
        self.tracked.chaos.act_or_panic();
    }

    fn timer(&mut self, cx: &mut ws::Cx<'_>, _: u64) {
        self.tracked.alive();
        if self.tracked.chaos.below(3) == 0 {
            cx.pause(self.tracked.chaos.below(2) == 0);
        }
        self.tracked.chaos.act_or_panic();
    }

    fn closing(&mut self, _: &mut ws::Cx<'_>, _: Option<u16>, _: &str) {
        self.tracked.alive();
        self.tracked.chaos.act_or_panic();
    }

    fn closed(&mut self, cx: &mut ws::Cx<'_>, _: Reason) {
        self.tracked.closed(cx.id(), cx.runtime());
    }
}

// ---- A raw echo that keeps what did not fit ----

struct RawEcho {
    tracked: Tracked,
    waiting: Vec<u8>,
    ended: bool,
}

impl RawEcho {
    fn send(&mut self, cx: &mut raw::Cx<'_>) {
        match cx.send(&self.waiting) {
            Ok(()) => {
                self.waiting.clear();
                if self.ended {
                    cx.close();
                }
            }
            Err(SendError::Full { .. }) => {
                self.tracked.chaos.count("full");
                cx.want_write();
            }
            Err(_) => {}
        }
    }
}

impl raw::Handler for RawEcho {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        self.tracked.chaos.conns.borrow_mut().push(cx.id());
        self.tracked.chaos.act_or_panic();
    }

    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        self.tracked.alive();
        self.waiting.extend_from_slice(bytes);
        self.tracked.chaos.act_or_panic();
        self.send(cx);
    }

    fn end(&mut self, cx: &mut raw::Cx<'_>) {
        self.ended = true;
        self.send(cx);
    }

    fn writable(&mut self, cx: &mut raw::Cx<'_>, _: usize) {
        self.tracked.alive();
        self.tracked.chaos.act_or_panic();
        self.send(cx);
    }

    fn closed(&mut self, cx: &mut raw::Cx<'_>, _: Reason) {
        self.tracked.closed(cx.id(), cx.runtime());
    }
}

// ---- HTTP bodies that stream ----

/// Sends `text` back piece by piece, and before it the body of the request.
struct Download {
    tracked: Tracked,
    waiting: Vec<u8>,
    ended: bool,
    begun: bool,
}

impl Download {
    fn new(chaos: &Rc<Chaos>, waiting: Vec<u8>) -> Self {
        let tracked = Tracked::new(chaos, "a stream");
        Self { tracked, waiting, ended: true, begun: false }
    }

    fn go_on(&mut self, cx: &mut http::Cx<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            let _ = cx.head(200, &[("x-made-by", "chaos")]);
        }
        let most = 1 + self.tracked.chaos.below(3_000);
        let n = self.waiting.len().min(most);
        if n > 0 && cx.write(&self.waiting[..n]).is_ok() {
            self.waiting.drain(..n);
        }
        if !self.waiting.is_empty() {
            cx.want_write();
        } else if self.ended {
            let _ = cx.finish();
        }
    }
}

impl http::Handler for Download {
    fn open(&mut self, cx: &mut http::Cx<'_>) {
        self.tracked.chaos.act_or_panic();
        if self.tracked.chaos.below(2) == 0 {
            self.go_on(cx);
        } else {
            // From a timer instead.
            let _ = cx.timer(1, self.tracked.chaos.delay());
        }
    }

    fn body(&mut self, cx: &mut http::Cx<'_>, chunk: &[u8]) {
        self.tracked.alive();
        self.waiting.extend_from_slice(chunk);
        self.tracked.chaos.act_or_panic();
        cx.want_write();
    }

    fn end(&mut self, cx: &mut http::Cx<'_>) {
        self.ended = true;
        cx.want_write();
    }

    fn writable(&mut self, cx: &mut http::Cx<'_>, _: usize) {
        self.tracked.alive();
        self.tracked.chaos.act_or_panic();
        self.go_on(cx);
    }

    fn timer(&mut self, cx: &mut http::Cx<'_>, _: u64) {
        self.tracked.alive();
        self.go_on(cx);
    }

    fn closed(&mut self, cx: &mut http::Cx<'_>, _: Reason) {
        self.tracked.closed(cx.id(), cx.runtime());
    }
}

fn number(req: &http::Request<'_>) -> usize {
    req.param("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

fn server(chaos: &Rc<Chaos>) -> http::Server {
    let c = |chaos: &Rc<Chaos>| Rc::clone(chaos);
    let (a, b, d, e, f, g) = (c(chaos), c(chaos), c(chaos), c(chaos), c(chaos), c(chaos));
    let i = c(chaos);
    let config = ws::Config::default().glitches(1_000_000, 1_000_000);
    http::Server::new()
        .get("/text/{n}", move |req, res| {
            a.conns.borrow_mut().push(res.id().conn());
            a.act_or_panic();
            res.text(&format!("text {}", number(req)))
        })
        .get("/later/{n}", move |req, res| {
            let (answer, later) = res.later();
            b.laters.borrow_mut().push((number(req), later));
            b.act_or_panic();
            answer
        })
        .get("/stream/{n}", move |req, res| {
            d.act_or_panic();
            res.stream(Download::new(&d, peers::long(number(req))))
        })
        .post("/read/{n}", move |_, res| {
            let e = c(&e);
            e.act_or_panic();
            res.read_body(move |body, res| {
                e.act_or_panic();
                res.bytes("text/plain", body)
            })
        })
        .post("/echo/{n}", move |_, res| {
            let mut handler = Download::new(&f, Vec::new());
            handler.ended = false;
            res.stream(handler)
        })
        .ws_with("/ws/{n}", config, move |req| {
            g.act_or_panic();
            Ok(Socket { tracked: Tracked::new(&g, "a WebSocket"), peer: number(req) })
        })
        .ws_with("/pair", clients::config(true), move |_| {
            i.act_or_panic();
            Ok(clients::PairEcho(Tracked::new(&i, "a pair's echo")))
        })
        .get("/events", clients::events)
        .files("/files", "www")
}

fn raw_server(chaos: &Rc<Chaos>) -> raw::Server {
    let chaos = Rc::clone(chaos);
    raw::Server::new(move |_| {
        chaos.act_or_panic();
        let tracked = Tracked::new(&chaos, "a raw stream");
        Some(RawEcho { tracked, waiting: Vec::new(), ended: false })
    })
}

fn begin(seed: u64) -> Rc<Chaos> {
    let n = usize::try_from(seed).unwrap();
    let faults = [Faults::none(), Faults::lossless(), Faults::all()][n / 3 % 3];
    let mut limits = Limits::default();
    limits.io.queue_high = 40_000;
    limits.io.queue_low = 4_000;
    limits.io.connections = CONNECTIONS;
    limits.io.accept_pause = Duration::from_millis(2);
    let Rig { world, rt, .. } = Rig::with(TRIGGERS[n % 3], limits, seed, faults);
    let handle = rt.handle();
    let names = clients::name_server(&world);
    let chaos = Rc::new(Chaos {
        rng: RefCell::new(Rng::new(seed)),
        world,
        owner: RefCell::new(Some(rt)),
        clients: RefCell::new(clients::all(&handle)),
        names: RefCell::new(Some(names)),
        under_way: Cell::default(),
        rt: handle.clone(),
        wild: Cell::new(true),
        conns: RefCell::default(),
        sockets: RefCell::default(),
        timers: RefCell::default(),
        laters: RefCell::default(),
        remote: RefCell::default(),
        depth: Cell::default(),
        planted: Cell::default(),
        made: Cell::default(),
        dropped: Cell::default(),
        posted: Cell::default(),
        told: Cell::default(),
        sent: RefCell::default(),
        heard: RefCell::default(),
        done: RefCell::default(),
        wrong: RefCell::default(),
    });
    for (name, len) in clients::FILES {
        chaos.world.put_file(name, clients::file(len));
    }
    handle.listen("127.0.0.1:80", server(&chaos)).unwrap();
    handle.listen("127.0.0.1:81", raw_server(&chaos)).unwrap();
    let c = Rc::clone(&chaos);
    let remote = handle.remote(move |_, n| {
        c.told.set(c.told.get() + n);
        c.act_or_panic();
    });
    *chaos.remote.borrow_mut() = Some(remote);
    chaos
}

/// Lets everything calm down: what was not ended on purpose must come to its good end.
fn calm(chaos: &Rc<Chaos>, peers: &mut [Peer]) {
    chaos.wild.set(false);
    chaos.world.set_faults(Faults::none());
    chaos.rt.attach();
    // Long enough for those that lingered, and for those that waited for their places.
    for round in 0..40 {
        for id in chaos.conns.borrow().iter() {
            let _ = chaos.rt.pause(*id, false);
        }
        let laters = std::mem::take(&mut *chaos.laters.borrow_mut());
        laters.into_iter().for_each(|(n, later)| chaos.give(n, later));
        peers.iter_mut().for_each(|peer| peer.read(chaos));
        clients::answer_names(chaos);
        kit::run_for(&chaos.world, &chaos.rt, Duration::from_millis(5 * round));
    }
    peers.iter_mut().for_each(|peer| peer.read(chaos));
}

/// Plays one seed; gives its trace and what was injected and done.
fn play(seed: u64) -> (u64, Injected, BTreeMap<&'static str, u64>) {
    let chaos = begin(seed);
    let ends = (seed % 4 == 3).then(|| STEPS / 3 + chaos.below(STEPS / 2));
    let mut peers: Vec<Peer> = Vec::new();
    for step in 0..STEPS {
        peers::step(&chaos, &mut peers);
        clients::answer_names(&chaos);
        if chaos.below(3) == 0 {
            chaos.act();
        }
        if ends == Some(step) {
            let c = Rc::clone(&chaos);
            chaos.rt.after(Duration::ZERO, move |_| c.finish());
        }
        if chaos.below(3) > 0 {
            chaos.rt.attach();
        }
        match chaos.below(4) {
            0 => _ = chaos.rt.dispatch().unwrap(),
            1 => _ = chaos.rt.step(Some(chaos.delay()), Budget { ops: 3, ..Budget::default() }),
            _ => _ = kit::run_for(&chaos.world, &chaos.rt, chaos.delay()),
        }
    }
    calm(&chaos, &mut peers);
    if ends.is_none() {
        peers.iter().for_each(|peer| peer.is_complete(&chaos));
        if chaos.told.get() != chaos.posted.get() {
            chaos.wrong(format!("{} values of {} arrived", chaos.told.get(), chaos.posted.get()));
        }
    }
    let panics = chaos.rt.stats().panics;
    finale(seed, chaos, peers, panics)
}

fn finale(
    seed: u64,
    chaos: Rc<Chaos>,
    peers: Vec<Peer>,
    panics: u64,
) -> (u64, Injected, BTreeMap<&'static str, u64>) {
    drop(chaos.owner.borrow_mut().take());
    chaos.laters.borrow_mut().clear();
    chaos.remote.borrow_mut().take();
    drop((chaos.clients.take(), chaos.names.take()));
    if panics != chaos.planted.get() {
        chaos.wrong(format!("{panics} panics, {} planted", chaos.planted.get()));
    }
    if chaos.made.get() != chaos.dropped.get() {
        chaos.wrong(format!("{} handlers, {} dropped", chaos.made.get(), chaos.dropped.get()));
    }
    let left = (chaos.rt.stats().open, chaos.rt.stats().timers, chaos.world.watched());
    if left != (0, 0, 0) || Rc::strong_count(&chaos) != 1 {
        chaos.wrong(format!("left behind: {left:?}, {} references", Rc::strong_count(&chaos)));
    }
    drop(peers);
    let before = chaos.wrong.borrow().clone();
    let Ok(Chaos { world, rt, wrong, done, .. }) = Rc::try_unwrap(chaos) else {
        panic!("seed {seed}: something holds on: {before:#?}");
    };
    drop(rt);
    assert_eq!(world.open(), 0, "seed {seed}");
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    (world.trace(), world.injected(), done.into_inner())
}

#[expect(clippy::disallowed_methods, reason = "how many seeds is for whoever runs the tests")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn everybody_hears_closed_once_and_every_message_arrives() {
    let (mut injected, mut done) = (Injected::default(), BTreeMap::<&str, u64>::new());
    let seeds = match asked("LODGER_SEED") {
        Some(one) => one..one + 1,
        None => 0..asked("LODGER_SEEDS").unwrap_or(500),
    };
    let full = seeds.end - seeds.start >= 500;
    for seed in seeds {
        let played = std::panic::catch_unwind(|| play(seed));
        let (trace, faults, actions) = played.unwrap_or_else(|_| panic!("seed {seed}"));
        injected += faults;
        actions.iter().for_each(|(name, n)| *done.entry(name).or_default() += n);
        if seed % 10 == 0 {
            assert_eq!(play(seed).0, trace, "seed {seed}: another trace the second time");
        }
    }
    println!("faults: {:?}", injected.iter().collect::<Vec<_>>());
    println!("actions: {done:?}");
    if full {
        for (name, n) in injected.iter() {
            assert!(n > 0, "no {name} was injected");
        }
        for whole in ["whole response", "whole stream", "whole talk", "whole pipe"] {
            assert!(done.get(whole).is_some_and(|n| *n > 100), "{whole}: {done:?}");
        }
        assert!(done["nested dispatch"] > 1_000 && done["panic"] > 100, "{done:?}");
    }
}
