//! Many WebSocket clients over TLS, told by lines what to do: `cargo xtask` counts what that costs
//! a server. It trusts anybody, as a server on this machine shows a certificate of its own.
//!
//! usage: tls_peers wss://HOST:PORT/PATH
//!
//! - `open N`: opens connections until there are N, and answers `open N`.
//! - `echo N`: has N messages of 20 bytes echoed, one under way on each connection, and answers
//!   `echo N`.
//!
//! It ends with its standard input, and by 1 if a connection ends or an echo differs.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a thread of its own waits for standard input")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to others")]

use std::cell::{Cell, RefCell};
use std::io::BufRead;
use std::process::ExitCode;
use std::rc::Rc;

use lodger::tls::ClientConfig;
use lodger::{Handle, Reason, Runtime, ws};

const MESSAGE: &str = "twenty bytes of text";
/// Handshakes under way at once.
const AT_ONCE: usize = 20;

/// What is to be done, and how far it is.
struct Work {
    url: String,
    trust: ClientConfig,
    peers: RefCell<Vec<ws::Connection>>,
    open: Cell<usize>,
    wanted: Cell<usize>,
    /// Messages that are still to be sent, and that have not come back.
    to_send: Cell<u64>,
    under_way: Cell<u64>,
    asked: Cell<u64>,
    failed: Cell<bool>,
}

/// One line of the standard input; `None` at its end.
type Line = Option<(String, u64)>;

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: tls_peers wss://HOST:PORT/PATH");
        return ExitCode::from(2);
    };
    match run(url) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: String) -> Result<bool, Box<dyn std::error::Error>> {
    let rt = Runtime::standalone()?;
    let work = Rc::new(Work {
        url,
        trust: ClientConfig::insecure()?,
        peers: RefCell::default(),
        open: Cell::new(0),
        wanted: Cell::new(0),
        to_send: Cell::new(0),
        under_way: Cell::new(0),
        asked: Cell::new(0),
        failed: Cell::new(false),
    });
    let told = Rc::clone(&work);
    let remote = rt.remote(move |h, line: Line| match line {
        Some((word, n)) => told.begin(h, &word, n),
        None => h.end(),
    });
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let (word, n) = line.split_once(' ').unwrap_or((&line, ""));
            // The runtime may have ended, and this program with it.
            let _ = remote.post(Some((word.to_owned(), n.parse().unwrap_or(0))));
        }
        let _ = remote.post(None);
    });
    rt.run()?;
    Ok(!work.failed.get())
}

impl Work {
    fn begin(self: &Rc<Self>, h: &Handle, word: &str, n: u64) {
        match word {
            "open" => {
                self.wanted.set(usize::try_from(n).unwrap_or(0));
                self.open_more(h);
            }
            "echo" => {
                self.asked.set(n);
                self.to_send.set(n);
                for peer in &*self.peers.borrow() {
                    if self.next() && peer.send(ws::Message::Text(MESSAGE)).is_err() {
                        self.fail(h, "a connection takes no message");
                    }
                }
            }
            _ => self.fail(h, "neither `open` nor `echo`"),
        }
    }

    fn open_more(self: &Rc<Self>, h: &Handle) {
        let begun = self.peers.borrow().len();
        let end = self.wanted.get().min(self.open.get() + AT_ONCE);
        for _ in begun..end {
            let client = ws::Client::new(&self.url).tls(&self.trust);
            match client.connect(h, Peer(Rc::clone(self))) {
                Ok(connection) => self.peers.borrow_mut().push(connection),
                Err(e) => return self.fail(h, &e.to_string()),
            }
        }
    }

    /// Whether there is a message left to be sent; it counts as sent.
    fn next(&self) -> bool {
        let left = self.to_send.get();
        if left > 0 {
            self.to_send.set(left - 1);
            self.under_way.set(self.under_way.get() + 1);
        }
        left > 0
    }

    fn fail(&self, h: &Handle, why: &str) {
        if !self.failed.replace(true) {
            eprintln!("{why}");
        }
        h.end();
    }
}

struct Peer(Rc<Work>);

impl ws::Handler for Peer {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        let work = &self.0;
        work.open.set(work.open.get() + 1);
        if work.open == work.wanted {
            println!("open {}", work.open.get());
        } else {
            work.open_more(cx.runtime());
        }
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        let work = &self.0;
        work.under_way.set(work.under_way.get() - 1);
        if !matches!(message, ws::Message::Text(MESSAGE)) {
            work.fail(cx.runtime(), "an echo differs");
        } else if work.next() {
            if cx.send(ws::Message::Text(MESSAGE)).is_err() {
                work.fail(cx.runtime(), "a connection takes no message");
            }
        } else if work.under_way.get() == 0 {
            println!("echo {}", work.asked.get());
        }
    }

    fn closed(&mut self, cx: &mut ws::Cx<'_>, why: Reason) {
        if cx.runtime().is_on() {
            self.0.fail(cx.runtime(), &format!("a connection ended: {why:?}"));
        }
    }
}
