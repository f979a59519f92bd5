//! What all the Rust examples serve, so that each shows its host's lines alone.
//!
//! `/` is the live page, `/echo` a WebSocket echo, `/ticks` how often the host's own timer has
//! ticked, `/feed` the state of a WebSocket client that connects again by itself, and `/detach`
//! has the guest leave.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "examples talk to people")]

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub use lodger::Micros;

use lodger::policy::Retry;
use lodger::{Handle, Nested, Reason, Runtime, Serve, http, live::Live, tls, ws};

/// A server and a client, and what the host tells them.
#[derive(Debug)]
pub struct Guest {
    rt: Runtime,
    addr: Option<SocketAddr>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    /// Of the host's own timer.
    ticks: Cell<u64>,
    /// The tick at which the guest has left.
    left: Cell<Option<u64>>,
    leave: RefCell<Option<Box<dyn FnOnce()>>>,
    messages: Cell<u64>,
    connected: Cell<bool>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("ticks", &self.ticks).finish_non_exhaustive()
    }
}

impl Guest {
    /// Listens on `LODGER_LISTEN` (a free port of 127.0.0.1), says where, and connects to
    /// `LODGER_FEED` if it is set. Nothing happens before it is in a loop.
    ///
    /// # Errors
    ///
    /// The address is taken, or no address; the system gave no kernel queue.
    pub fn new() -> io::Result<Self> {
        let addr = env::var("LODGER_LISTEN").unwrap_or_else(|_| "127.0.0.1:0".into());
        let guest = Self::listening(&addr, env::var("LODGER_FEED").ok().as_deref())?;
        if let Some(addr) = guest.addr {
            let scheme = if identity()?.is_some() { "https" } else { "http" };
            println!("listening on {scheme}://{addr}");
            io::stdout().flush()?;
        }
        Ok(guest)
    }

    /// As [`new`](Self::new), with what the environment says there, and without saying where. Over
    /// TLS if `LODGER_CERTIFICATE` and `LODGER_KEY` name PEM files.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn listening(addr: &str, feed: Option<&str>) -> io::Result<Self> {
        let (rt, state) = (Runtime::standalone()?, Rc::<State>::default());
        let service = match identity()? {
            Some(config) => tls::Server::new(&config, routes(&state)).into_service(),
            None => routes(&state).into_service(),
        };
        let listener = rt.listen(addr, service).map_err(|refused| refused.error)?;
        if let Some(url) = feed {
            subscribe(&rt, url, &state)?;
        }
        let addr = rt.local_addr(listener).and_then(|addr| addr.tcp());
        Ok(Self { rt, addr, state })
    }

    /// Gives the address that it listens on; none for a Unix socket.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Gives what an adaptor's `attach` takes.
    pub fn nested(&self) -> Rc<dyn Nested> {
        Rc::new(self.rt.handle())
    }

    /// Gives the runtime's handle.
    pub fn handle(&self) -> Handle {
        self.rt.handle()
    }

    /// Has `leave` detach the guest when somebody asks for `/detach`: it runs inside a callback of
    /// the guest's, which every adaptor allows.
    pub fn on_detach(&self, leave: impl FnOnce() + 'static) {
        *self.state.leave.borrow_mut() = Some(Box::new(leave));
    }

    /// Gives how many messages the WebSocket client has heard.
    pub fn messages(&self) -> u64 {
        self.state.messages.get()
    }

    /// Tells whether somebody has asked for `/detach`.
    pub fn has_left(&self) -> bool {
        self.state.left.get().is_some()
    }

    /// Counts a tick of the host's own timer. `true`: the guest has left 100 ticks ago, and the
    /// host may end.
    ///
    /// # Errors
    ///
    /// What is said at the end cannot be said.
    pub fn tick(&self) -> io::Result<bool> {
        let ticks = self.state.ticks.get() + 1;
        self.state.ticks.set(ticks);
        let over = self.state.left.get().is_some_and(|left| ticks >= left + 100);
        if over {
            let threads = std::fs::read_dir("/proc/self/task")?.count();
            println!("100 more ticks, {threads} threads");
            io::stdout().flush()?;
        }
        Ok(over)
    }
}

/// Who the server is, if it is to speak TLS.
fn identity() -> io::Result<Option<tls::ServerConfig>> {
    match (env::var_os("LODGER_CERTIFICATE"), env::var_os("LODGER_KEY")) {
        (Some(certificate), Some(key)) => tls::ServerConfig::from_files(certificate, key).map(Some),
        _ => Ok(None),
    }
}

fn routes(state: &Rc<State>) -> http::Server {
    let (ticks, feed, leaving) = (Rc::clone(state), Rc::clone(state), Rc::clone(state));
    let server = http::Server::new()
        .ws("/echo", |_| Ok(Echo))
        .get("/ticks", move |_, res| res.text(&ticks.ticks.get().to_string()))
        .get("/feed", move |_, res| {
            let word = if feed.connected.get() { "connected" } else { "waiting" };
            res.text(&format!("{} {word}", feed.messages.get()))
        })
        .get("/detach", move |_, res| {
            let answer = res.text("bye");
            let leave = leaving.leave.borrow_mut().take();
            leaving.left.set(Some(leaving.ticks.get()));
            if let Some(leave) = leave {
                leave();
            }
            answer
        });
    Live::new("/_lodger").stall(std::thread::sleep).also("/").mount(server)
}

/// Sends every message back.
struct Echo;

impl ws::Handler for Echo {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if cx.send(message).is_err() {
            cx.close(1011);
        }
    }
}

/// Connects to a feed, and again by policy when it is gone.
fn subscribe(rt: &Handle, url: &str, state: &Rc<State>) -> io::Result<()> {
    let delays = [100, 200, 400, 800].map(Duration::from_millis);
    ws::Client::new(url)
        .retry(Retry::new(&delays).jitter(10))
        .connect(rt, Feed(Rc::clone(state)))
        .map(drop)
        .map_err(io::Error::other)
}

struct Feed(Rc<State>);

impl ws::Handler for Feed {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        self.0.connected.set(true);
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, _message: ws::Message<'_>) {
        self.0.messages.set(self.0.messages.get() + 1);
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, _why: Reason) {
        self.0.connected.set(false);
    }
}
