//! `lodger mqtt bench`: publishers and subscribers that keep a broker busy.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use lodger::mqtt::{Client, Connection, Outgoing, Qos, Subscription};
use lodger::{Budget, Runtime};

use crate::report::{self, Problem};
use crate::{args, serve};

pub(crate) const NOTES: &str = "\
One publisher, whose messages every subscriber hears. At most --window messages are under way that
have not been delivered to all. With --server-pid the processor time of the server is told, for each
delivery. One thread, which takes as much of a processor as a server does: run them on different
ones.";

/// What to load, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where the server is: mqtt://HOST:PORT, mqtts://..., ws://HOST:PORT/PATH, wss://... or unix:PATH
    #[arg(short, long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    url: String,

    #[command(flatten)]
    trust: crate::tls::Trust,

    /// Subscribers
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    subscribers: u32,

    /// Quality of delivery: 0, 1 or 2
    #[arg(short, long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,

    /// Bytes of a payload; at most 1m
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = |s: &str| args::size(s, 1 << 20))]
    size: u64,

    /// Messages under way
    #[arg(long, value_name = "N", default_value = "1000")]
    window: u64,

    /// How long
    #[arg(short, long, value_name = "SECS", default_value = "5", value_parser = args::seconds)]
    duration: Duration,

    /// Process of the server
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
}

/// The publisher, and what came of it.
struct Load {
    says: Connection,
    payload: Vec<u8>,
    qos: Qos,
    window: u64,
    subscribers: u64,
    published: Cell<u64>,
    delivered: Cell<u64>,
    on: Cell<bool>,
}

impl Load {
    /// Publishes until as much is under way as may be.
    fn fill(&self) {
        let delivered = self.delivered.get() / self.subscribers;
        while self.on.get() && self.published.get() - delivered < self.window {
            let message = Outgoing::new("bench/load", &self.payload).qos(self.qos);
            if self.says.publish(message).is_err() {
                return;
            }
            self.published.set(self.published.get() + 1);
        }
    }

    /// One subscriber has heard one message.
    fn heard(&self) {
        self.delivered.set(self.delivered.get() + 1);
        // In batches, as whoever publishes much does.
        let delivered = self.delivered.get() / self.subscribers;
        if self.published.get() - delivered <= self.window / 2 {
            self.fill();
        }
    }
}

/// Loads a broker, and tells what it delivered.
///
/// # Errors
///
/// It cannot be reached, or delivers nothing.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    serve::raise_file_limit();
    let rt = Runtime::standalone().map_err(|e| serve::refused("start", &e))?;
    let trust = options.trust.config()?;
    let connect = || {
        let client = Client::new(&options.url);
        let client = match &trust {
            Some(config) => client.tls(config),
            None => client,
        };
        client.connect(&rt).map_err(|e| Problem::usage(e.rule().to_owned()))
    };
    let hears = (0..options.subscribers).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    let load = Rc::new(Load {
        says: connect()?,
        payload: vec![b'x'; usize::try_from(options.size).unwrap_or(64)],
        qos: Qos::from_bits(options.qos).unwrap_or_default(),
        window: options.window.max(1),
        subscribers: u64::from(options.subscribers),
        published: Cell::new(0),
        delivered: Cell::new(0),
        on: Cell::new(false),
    });
    let subs = subscribe(&hears, &load)?;
    let ready = || load.says.is_connected() && subs.iter().all(|sub| sub.code().is_some());
    let patience = Instant::now() + Duration::from_secs(10);
    while !ready() && Instant::now() < patience {
        turn(&rt, Duration::from_millis(20))?;
    }
    if !ready() {
        return Err(Problem::new(format!("cannot reach {}", options.url)));
    }
    load.on.set(true);
    load.fill();
    turn(&rt, options.duration / 10)?;
    let (before, began) = (load.delivered.get(), Instant::now());
    let cpu = options.server_pid.and_then(processor_time);
    turn(&rt, options.duration)?;
    let (count, took) = (load.delivered.get() - before, began.elapsed());
    let used = options.server_pid.and_then(processor_time).zip(cpu).map(|(now, then)| now - then);
    load.on.set(false);
    tell(count, took, used)
}

fn subscribe(hears: &[Connection], load: &Rc<Load>) -> Result<Vec<Subscription>, Problem> {
    let one = |connection: &Connection| {
        let load = Rc::clone(load);
        connection.subscribe("bench/load", load.qos, move |_, _| load.heard())
    };
    let subs: Result<Vec<_>, _> = hears.iter().map(one).collect();
    subs.map_err(|e| Problem::new(e.to_string()))
}

fn turn(rt: &Runtime, time: Duration) -> Result<(), Problem> {
    let end = Instant::now() + time;
    let mut again = false;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let wait = if again { Duration::ZERO } else { left };
        let turned = rt.step(Some(wait), Budget::default());
        again = turned.map_err(|e| serve::refused("go on", &e))?.again;
    }
    Ok(())
}

fn tell(count: u64, took: Duration, used: Option<Duration>) -> Result<(), Problem> {
    if count == 0 {
        return Err(Problem::new("nothing was delivered".into()));
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let (rate, each) = (
        count as f64 / took.as_secs_f64(),
        used.map(|used| used.as_secs_f64() * 1e6 / count as f64),
    );
    let each = each.map_or_else(String::new, |us| format!(", {us:.2} us of the server each"));
    let line = format!("{count} deliveries in {:.1} s: {rate:.0}/s{each}\n", took.as_secs_f64());
    report::print(&line).map_err(|e| serve::refused("write", &e))
}

/// Gives the processor time of a process so far, of all its threads.
fn processor_time(pid: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let one = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    };
    // A thread that has ended meanwhile is left out.
    Some(tasks.flatten().filter_map(one).sum())
}
