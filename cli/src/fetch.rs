//! `lodger fetch`: one response, to standard output or into a file, as fast as that takes it.

mod get;
mod resume;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use lodger::{Error, Handle, Limits, Runtime, http};
use rustix::event::PollFlags;

use crate::args;
use crate::host::{Loop, wanted};
use crate::report::Problem;
use get::{Get, State};

pub(crate) const NOTES: &str = "\
URL is http://HOST[:PORT]/PATH?QUERY, https://... or unix:/PATH/OF.sock:/PATH. https trusts the
authorities that this system trusts, and speaks HTTP/2 or HTTP/1.1, as the server chooses.

--resume gets what is missing of FILE, if the server says that the rest belongs to it: by its ETag,
which is kept in an attribute of FILE, or by Last-Modified, which is FILE's time. Else it is got anew.

Exit codes: 0 if the response is whole, whatever its status; 1 if it is not, or a file cannot be
written; 2 for a wrong command line; 22 for a status of 400 and above under --fail. A reader that
has enough (head) is no failure.";

/// A body of a file below this is sent from memory, so that it can follow a redirect.
const SMALL: u64 = 1 << 20;

/// What to get, and where to put it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// What to get
    url: String,

    /// Write the body to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Get only what is missing of FILE
    #[arg(short = 'C', long, requires = "output", conflicts_with_all = ["data", "include"])]
    resume: bool,

    /// Send this header; repeatable
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = args::header)]
    header: Vec<(String, String)>,

    /// Send this body, or with @ the file of that name (@- is standard input); POST by default
    #[arg(short, long, value_name = "DATA|@FILE")]
    data: Option<String>,

    /// Use this method
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,

    /// Write the head of the response as well
    #[arg(short, long)]
    include: bool,

    /// Take a status of 400 and above for a failure, and write no body
    #[arg(short, long)]
    fail: bool,

    #[command(flatten)]
    trust: crate::tls::Trust,

    #[command(flatten)]
    through: crate::proxy::Through,

    /// Speak HTTP/2 from the first byte on, also without TLS
    #[arg(long, conflicts_with = "http1")]
    http2_prior_knowledge: bool,

    /// Speak HTTP/1.1, where https would agree on HTTP/2
    #[arg(long)]
    http1: bool,

    /// Follow so many redirects; 0 takes a redirect as the answer
    #[arg(long, value_name = "N", default_value = "10")]
    max_redirects: u32,

    /// To the connection
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = args::seconds)]
    connect_timeout: Duration,

    /// From the last byte sent to the head of the response
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = args::seconds)]
    answer_timeout: Duration,

    /// Between two pieces of the body
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = args::seconds)]
    stall_timeout: Duration,

    /// For everything
    #[arg(long, value_name = "SECS", value_parser = args::seconds)]
    timeout: Option<Duration>,
}

/// The body of a request.
enum Data {
    Whole(Vec<u8>),
    /// Read as it is sent.
    File(File, u64),
}

/// Gets a URL.
///
/// # Errors
///
/// The response is not whole, or nobody takes it.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    let mut limits = Limits::default();
    limits.client.connect = options.connect_timeout;
    limits.client.first_byte = options.answer_timeout;
    limits.client.body = options.stall_timeout;
    let rt = Runtime::standalone_with(limits).map_err(|e| Problem::new(format!("no loop: {e}")))?;
    let state = Rc::new(RefCell::new(State::new(options)?));
    ask(&rt, options, &state)?;
    if let Some(time) = options.timeout {
        let state = Rc::clone(&state);
        rt.after(time, move |_| {
            state
                .borrow_mut()
                .fail(Problem::new(format!("no end within {} s", time.as_secs_f64())));
        });
    }
    serve(&rt, &state).map_err(|e| Problem::new(format!("cannot go on: {e}")))?;
    // The runtime's handlers hold the state as well.
    drop(rt);
    let mut state = state.borrow_mut();
    state.finish()
}

/// Runs until it is over, and writes what waits for its reader.
fn serve(rt: &Runtime, state: &RefCell<State>) -> io::Result<()> {
    let mut host = Loop::new(rt)?;
    while !state.borrow().is_over() {
        let (out, waits) = (state.borrow().output()?, state.borrow().waits());
        let [ready] = host.turn([(out.as_fd(), wanted(waits, PollFlags::OUT))])?;
        if !ready.is_empty() {
            state.borrow_mut().go_on(rt);
        }
    }
    Ok(())
}

fn ask(h: &Handle, options: &Options, state: &Rc<RefCell<State>>) -> Result<(), Problem> {
    let wrong = |e: Error| Problem::usage(format!("{}: {}", options.url, e.rule()));
    let data = options.data.as_deref().map(data).transpose()?;
    let method = match (&options.method, &data) {
        (Some(method), _) => method,
        (None, Some(_)) => "POST",
        (None, None) => "GET",
    };
    let client = http::Client::with_redirects(h, options.max_redirects);
    if let Some(config) = options.trust.config()? {
        client.tls(&config);
    }
    client.proxies(&options.through.proxies()?);
    let client = match (options.http2_prior_knowledge, options.http1) {
        (true, _) => client.http2(),
        (_, true) => client.http1(),
        _ => client,
    };
    let mut ask = client.request(method, &options.url);
    for (name, value) in &options.header {
        ask = ask.header(name, value);
    }
    let given = |name: &str| options.header.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !given("user-agent") {
        ask = ask.header("User-Agent", concat!("lodger/", env!("CARGO_PKG_VERSION")));
    }
    if data.is_some() && !given("content-type") {
        ask = ask.header("Content-Type", "application/x-www-form-urlencoded");
    }
    if let Some(part) = state.borrow().part() {
        ask = ask
            .header("Range", &format!("bytes={}-", part.len))
            .header("If-Range", &part.validator);
    }
    let mut body = None;
    match data {
        None => {}
        Some(Data::Whole(bytes)) => ask = ask.body(&bytes),
        Some(Data::File(file, len)) => {
            ask = ask.streamed(Some(len));
            body = Some((file, len));
        }
    }
    ask.send(Get::new(Rc::clone(state), body)).map_err(wrong)
}

/// Reads `DATA`, `@FILE` or `@-`.
fn data(text: &str) -> Result<Data, Problem> {
    let Some(name) = text.strip_prefix('@') else { return Ok(Data::Whole(text.into())) };
    let refused = |e: io::Error| Problem::new(format!("cannot read {name}: {e}"));
    let mut bytes = Vec::new();
    if name == "-" {
        io::stdin().lock().read_to_end(&mut bytes).map_err(refused)?;
        return Ok(Data::Whole(bytes));
    }
    let mut file = File::open(Path::new(name)).map_err(refused)?;
    let about = file.metadata().map_err(refused)?;
    if about.is_file() && about.len() > SMALL {
        return Ok(Data::File(file, about.len()));
    }
    file.read_to_end(&mut bytes).map_err(refused)?;
    Ok(Data::Whole(bytes))
}
