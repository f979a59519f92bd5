//! `lodger bench`: many connections that each keep some requests or messages under way.

mod histogram;
mod http;
mod http2;
mod ws;

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lodger::http::Url;
use lodger::tls::ClientConfig;
use lodger::{Limits, Reason, Runtime};

use crate::args;
use crate::report::{self, Problem};
use histogram::Histogram;

pub(crate) const NOTES: &str = "\
http://, https:// or unix: sends GET, or with --size POST with a body of so many bytes; ws:// and wss:// send binary
messages of --size (default 20) bytes and take each message that comes for an answer to the oldest.
https:// speaks HTTP/2 where the server does: --depth streams on each connection. Where it does not,
each of those is a connection.
One thread, which takes as much of a processor as a server does: run them on different ones.";

/// What to load, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// http://, https://, ws://, wss:// or unix: URL
    url: String,

    /// Connections
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,

    /// Speak HTTP/2 from the first byte on, also without TLS
    #[arg(long, conflicts_with = "http1")]
    http2: bool,

    /// Speak HTTP/1.1, where https would agree on HTTP/2
    #[arg(long)]
    http1: bool,

    /// Requests or messages under way on each connection
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    depth: u32,

    /// Bytes of a message, or of a request's body; at most 1m
    #[arg(long, value_name = "SIZE", value_parser = |s: &str| args::size(s, 1 << 20))]
    size: Option<u64>,

    /// How long
    #[arg(short, long, value_name = "SECS", default_value = "5", value_parser = args::seconds)]
    duration: Duration,

    /// Send this header with requests; repeatable
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = args::header)]
    header: Vec<(String, String)>,

    #[command(flatten)]
    trust: crate::tls::Trust,

    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

/// What all connections count together.
#[derive(Default)]
struct Count {
    times: RefCell<Histogram>,
    answers: Cell<u64>,
    /// Answers with a status of 400 and above.
    bad: Cell<u64>,
    /// Connections that ended in the middle of something, or were never made.
    lost: Cell<u64>,
    why: Cell<Option<Reason>>,
}

impl Count {
    fn answer(&self, asked: Option<Instant>, now: Instant) {
        self.answers.set(self.answers.get() + 1);
        if let Some(asked) = asked {
            self.times.borrow_mut().add(now.saturating_duration_since(asked));
        }
    }

    fn lose(&self, why: Reason) {
        self.lost.set(self.lost.get() + 1);
        self.why.set(Some(why));
    }
}

/// Loads a server, and prints what came of it.
///
/// # Errors
///
/// There was no answer at all, or nobody takes the result.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    crate::serve::raise_file_limit();
    let wrong = |e: lodger::Error| Problem::usage(format!("{}: {}", options.url, e.rule()));
    let url = Url::parse(&options.url).map_err(wrong)?;
    let rt = Runtime::standalone_with(Limits::default())
        .map_err(|e| Problem::new(format!("cannot start: {e}")))?;
    let count = Rc::new(Count::default());
    let trust = match options.trust.config()? {
        None if url.is_secure() => Some(
            ClientConfig::platform().map_err(|e| Problem::new(format!("cannot use TLS: {e}")))?,
        ),
        said => said,
    };
    for _ in 0..options.connections {
        if url.is_websocket() {
            ws::connect(&rt, options, trust.as_ref(), &count).map_err(wrong)?;
        } else if options.http2 || url.is_secure() && !options.http1 {
            http2::connect(&rt, options, trust.as_ref(), &count).map_err(wrong)?;
        } else {
            let tls = trust.clone().filter(|_| url.is_secure());
            http::connect(&rt, options, &url, tls, &count).map_err(wrong)?;
        }
    }
    let (began, used) = (Instant::now(), processor_time());
    show(&rt, options, &count);
    // Aside: what ends the runtime is no answer that was lost.
    let done = Rc::new(Cell::new(0));
    let (kept, counted) = (Rc::clone(&done), Rc::clone(&count));
    rt.after(options.duration, move |h| {
        kept.set(counted.lost.get());
        h.end();
    });
    rt.run().map_err(|e| Problem::new(format!("cannot go on: {e}")))?;
    count.lost.set(done.get());
    let own = processor_time().saturating_sub(used);
    tell(options, &count, began.elapsed(), own)
}

/// Shows how it goes, if somebody looks.
fn show(rt: &Runtime, options: &Options, count: &Rc<Count>) {
    if !io::stderr().is_terminal() {
        return;
    }
    let parts = u64::try_from(options.duration.as_millis() / 250).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(parts), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("[{wide_bar}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let (count, mut last) = (Rc::clone(count), 0);
    rt.every(Duration::from_millis(250), move |_| {
        let answers = count.answers.get();
        bar.set_message(format!("{} answers a second", (answers - last) * 4));
        bar.inc(1);
        last = answers;
        if bar.position() >= parts {
            bar.finish_and_clear();
        }
    });
}

/// The processor time of this program so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

fn tell(options: &Options, count: &Count, time: Duration, own: Duration) -> Result<(), Problem> {
    let answers = count.answers.get();
    if answers == 0 {
        let why = count.why.get().map_or_else(|| "no answer".to_owned(), |why| why.to_string());
        return Err(Problem::new(format!("{}: {why}", options.url)));
    }
    let text = if options.json { json(count, time, own) } else { plain(count, time, own) };
    match report::print(&text) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

#[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
fn rate(n: u64, time: Duration) -> f64 {
    n as f64 / time.as_secs_f64()
}

fn micros(nanos: u64) -> String {
    format!("{}.{}", nanos / 1000, nanos / 100 % 10)
}

fn plain(count: &Count, time: Duration, own: Duration) -> String {
    let times = count.times.borrow();
    let answers = count.answers.get();
    let mut text = format!(
        "{answers} answers in {:.2} s: {:.0} a second; own processor time {:.2} s\n",
        time.as_secs_f64(),
        rate(answers, time),
        own.as_secs_f64()
    );
    let (bad, lost) = (count.bad.get(), count.lost.get());
    if bad + lost > 0 {
        text.push_str(&format!("{bad} with status 400 and above, {lost} connections lost\n"));
    }
    let shares = SHARES.map(|(name, share)| format!("{name} {}", micros(times.quantile(share))));
    text.push_str(&format!("µs: {}, max {}\n", shares.join(", "), micros(times.max())));
    let rows = times.rows();
    let most = rows.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    for (below, n) in rows {
        let bar = "#".repeat(usize::try_from((n * 50).div_ceil(most)).unwrap_or(0));
        text.push_str(&format!("{:>12} {n:>10} {bar}\n", format!("< {}", micros(below))));
    }
    text
}

fn json(count: &Count, time: Duration, own: Duration) -> String {
    let times = count.times.borrow();
    let answers = count.answers.get();
    let shares =
        SHARES.map(|(name, share)| format!("\"{name}\":{}", micros(times.quantile(share))));
    let rows = times.rows().into_iter().map(|(below, n)| format!("[{},{n}]", micros(below)));
    let rows: Vec<String> = rows.collect();
    format!(
        "{{\"seconds\":{:.6},\"own_cpu_seconds\":{:.6},\"answers\":{answers},\"per_second\":{:.1},\
         \"bad_status\":{},\"lost_connections\":{},\"latency_us\":{{{},\"max\":{}}},\
         \"histogram_us\":[{}]}}\n",
        time.as_secs_f64(),
        own.as_secs_f64(),
        rate(answers, time),
        count.bad.get(),
        count.lost.get(),
        shares.join(","),
        micros(times.max()),
        rows.join(",")
    )
}
