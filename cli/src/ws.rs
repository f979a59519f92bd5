//! `lodger ws`: lines to messages, messages to lines.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use lodger::policy::Retry;
use lodger::{Handle, Limits, Reason, Runtime, SendError, http, ws};
use rustix::event::PollFlags;

use crate::args;
use crate::host::{Loop, wanted};
use crate::output::Output;
use crate::report::{Problem, say};

pub(crate) const NOTES: &str = "\
Each line of standard input becomes a message, each message a line of standard output. At the end of
the input (Ctrl-D) the connection is closed with 1000 once as many messages have come as were sent,
or after ten seconds; with --linger after that time, whatever has come.";

/// The longest message, either way.
const MOST: usize = 16 << 20;
/// Read from standard input at once.
const PIECE: usize = 64 << 10;
/// How long answers are waited for unless something else is said.
const ANSWERED: Duration = Duration::from_secs(10);

/// With whom to talk, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// ws://HOST[:PORT]/PATH, wss://... or unix:/PATH/OF.sock:/PATH
    url: String,

    /// Send binary messages
    #[arg(long)]
    binary: bool,

    /// Offer this subprotocol; repeatable
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Send this header with the request; repeatable
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = args::header)]
    header: Vec<(String, String)>,

    #[command(flatten)]
    trust: crate::tls::Trust,

    #[command(flatten)]
    through: crate::proxy::Through,

    /// Speak HTTP/1.1, where wss would take HTTP/2
    #[arg(long)]
    http1: bool,

    /// Connect again, for ever, when the connection is lost
    #[arg(long)]
    retry: bool,

    /// Stay so long after the end of the input
    #[arg(long, value_name = "SECS", value_parser = args::seconds)]
    linger: Option<Duration>,
}

struct State {
    out: Output,
    /// A person reads the output: control characters are shown, not obeyed.
    shown: bool,
    open: bool,
    /// Messages wait for room in the connection's queue.
    full: bool,
    /// The connection waits for our reader.
    paused: bool,
    ended: bool,
    sent: u64,
    received: u64,
    last: Reason,
    problem: Option<Problem>,
    over: bool,
}

type Shared = Rc<RefCell<State>>;

/// Talks until the input ends or the server closes.
///
/// # Errors
///
/// No connection, or one that ended otherwise than in good order.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    let cannot = |what: &str, e: io::Error| Problem::new(format!("cannot {what}: {e}"));
    let rt = Runtime::standalone_with(Limits::default()).map_err(|e| cannot("start", e))?;
    let out = Output::standard().map_err(|e| cannot("write", e))?;
    let state = Rc::new(RefCell::new(State {
        out,
        shown: io::stdout().is_terminal(),
        open: false,
        full: false,
        paused: false,
        ended: false,
        sent: 0,
        received: 0,
        last: Reason::default(),
        problem: None,
        over: false,
    }));
    let wrong = |e: lodger::Error| Problem::usage(format!("{}: {}", options.url, e.rule()));
    let connection = client(&rt, options)?.connect(&rt, Talk(Rc::clone(&state))).map_err(wrong)?;
    talk(&rt, options, &state, &connection).map_err(|e| cannot("go on", e))?;
    drop(rt);
    let mut state = state.borrow_mut();
    if state.problem.is_none()
        && let Err(e) = state.out.finish()
    {
        state.refused(&e);
    }
    match (state.problem.take(), state.last) {
        (Some(problem), _) if problem.is_quiet() => Ok(()),
        (Some(problem), _) => Err(problem),
        (None, Reason::Done | Reason::Closed { code: 1000 | 1001 | 1005 }) => Ok(()),
        (None, why) => Err(Problem::new(format!("{}: {why}", options.url))),
    }
}

fn client(h: &Handle, options: &Options) -> Result<ws::Client, Problem> {
    let names: Vec<&str> = options.subprotocol.iter().map(String::as_str).collect();
    let most = MOST as u64;
    let config = ws::Config::default().frame(most).message(most).fragments(u32::MAX);
    let by = http::Client::new(h);
    by.proxies(&options.through.proxies()?);
    let by = if options.http1 { by.http1() } else { by };
    if let Some(config) = options.trust.config()? {
        by.tls(&config);
    }
    let mut client = ws::Client::new(&options.url).config(config.protocols(&names)).by(&by);
    for (name, value) in &options.header {
        client = client.header(name, value);
    }
    if options.retry {
        client = client.retry(Retry::default()).on_retry(|_, delay, why| {
            say(format_args!("{why}; again in {:.1} s", delay.as_secs_f64()));
        });
    }
    Ok(client)
}

fn talk(
    rt: &Runtime,
    options: &Options,
    state: &Shared,
    connection: &ws::Connection,
) -> io::Result<()> {
    let mut host = Loop::new(rt)?;
    let input = io::stdin();
    let mut lines = Vec::new();
    let leaves = Rc::new(Cell::new(false));
    let mut waits = false;
    loop {
        let (reads, writes, out) = {
            let state = state.borrow();
            if state.over || state.problem.is_some() {
                return Ok(());
            }
            let reads = state.open && !state.full && !state.ended;
            (reads, state.out.waits(), state.out.get().as_fd().try_clone_to_owned()?)
        };
        let [readable, writable] = host.turn([
            (input.as_fd(), wanted(reads, PollFlags::IN)),
            (out.as_fd(), wanted(writes, PollFlags::OUT)),
        ])?;
        if !writable.is_empty() {
            state.borrow_mut().go_on(rt, connection);
        }
        let mut ended = false;
        if !readable.is_empty() {
            ended = read(&mut lines)? == 0;
            if ended && !lines.is_empty() {
                lines.push(b'\n');
            }
        }
        state.borrow_mut().send(connection, rt, &mut lines, options.binary);
        state.borrow_mut().ended |= ended;
        if !state.borrow().ended || !lines.is_empty() {
            continue;
        }
        if !waits {
            waits = true;
            let leaves = Rc::clone(&leaves);
            rt.after(options.linger.unwrap_or(ANSWERED), move |_| leaves.set(true));
        }
        let answered = options.linger.is_none() && state.borrow().received >= state.borrow().sent;
        if answered || leaves.get() {
            connection.close(1000);
            if connection.id().is_none() {
                return Ok(());
            }
        }
    }
}

/// Reads what is there of standard input: once, since what is ready does not wait.
fn read(lines: &mut Vec<u8>) -> io::Result<usize> {
    let start = lines.len();
    lines.resize(start + PIECE, 0);
    let room = lines.get_mut(start..).unwrap_or_default();
    let n = match rustix::io::read(io::stdin(), room) {
        Ok(n) => n,
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {
            lines.truncate(start);
            return Ok(1);
        }
        Err(e) => return Err(e.into()),
    };
    lines.truncate(start + n);
    Ok(n)
}

impl State {
    /// Sends the lines that are whole, as far as there is room.
    fn send(&mut self, to: &ws::Connection, h: &Handle, lines: &mut Vec<u8>, binary: bool) {
        if !self.open || self.full {
            return;
        }
        let mut done = 0;
        while let Some(rest) = lines.get(done..)
            && let Some(len) = rest.iter().position(|b| *b == b'\n')
        {
            let line = rest.get(..len).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let message = match std::str::from_utf8(line) {
                _ if binary => ws::Message::Binary(line),
                Ok(text) => ws::Message::Text(text),
                Err(_) => {
                    self.problem = Some(Problem::new(String::from(
                        "a line is no UTF-8, which a text must be: use --binary",
                    )));
                    break;
                }
            };
            match to.send(message) {
                Ok(()) => self.sent += 1,
                Err(SendError::Full { .. }) => {
                    self.full = to.id().is_some_and(|id| h.want_write(id).is_ok());
                    break;
                }
                // It waits for the next connection, or the end is told.
                Err(_) => break,
            }
            done += len + 1;
        }
        lines.drain(..done);
        if lines.len() > MOST && !lines.contains(&b'\n') {
            self.problem = Some(Problem::new(String::from("a line is longer than 16 MiB")));
        }
    }

    fn go_on(&mut self, h: &Handle, connection: &ws::Connection) {
        if let Err(e) = self.out.go_on() {
            self.refused(&e);
        }
        if !self.out.waits() && self.paused {
            self.paused = false;
            if let Some(id) = connection.id() {
                // If it has gone meanwhile, that is told otherwise.
                let _ = h.pause(id, false);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut line = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if self.shown && byte.is_ascii_control() && *byte != b'\t' {
                line.extend(byte.escape_ascii());
            } else {
                line.push(*byte);
            }
        }
        line.push(b'\n');
        if let Err(e) = self.out.put(&line) {
            self.refused(&e);
        }
    }

    fn refused(&mut self, e: &io::Error) {
        self.problem = Some(if e.kind() == io::ErrorKind::BrokenPipe {
            Problem::quiet()
        } else {
            Problem::new(format!("cannot write to standard output: {e}"))
        });
    }
}

/// The end of the connection that hears.
struct Talk(Shared);

impl ws::Handler for Talk {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        let mut state = self.0.borrow_mut();
        state.open = true;
        if state.shown && io::stdin().is_terminal() {
            say("connected; Ctrl-D says goodbye");
        }
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        let mut state = self.0.borrow_mut();
        state.received += 1;
        state.write(message.bytes());
        if state.out.waits() {
            state.paused = true;
            cx.pause(true);
        }
    }

    fn writable(&mut self, _cx: &mut ws::Cx<'_>, _room: usize) {
        self.0.borrow_mut().full = false;
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        let mut state = self.0.borrow_mut();
        (state.open, state.full, state.paused, state.last) = (false, false, false, why);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // After the last attempt.
        self.0.borrow_mut().over = true;
    }
}
