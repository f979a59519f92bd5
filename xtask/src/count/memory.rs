//! Resident memory of idle WebSocket connections, and what opening them costs.

use std::net::TcpStream;
use std::time::Duration;

use super::DESCRIPTORS;
use crate::proc::Memory;
use crate::server::Server;
use crate::steps::Outcome;
use crate::{Res, load, proc, sh};

const FEW: usize = 1_000;
const MANY: usize = 9_000;
/// Connections over which processor time is read. It divides the numbers above.
const WINDOW: usize = 50;
const MIB: f64 = 1_048_576.0;

/// The figures of one run.
struct Figures {
    start: Memory,
    each: f64,
    after: Memory,
    /// Processor time of opening connections 8,001 to 9,000, over that of 1 to 1,000.
    dearer: f64,
}

/// Measures up to three times for the one figure that is a time, and asserts the rest of each run.
pub(super) fn count() -> Res<Outcome> {
    if let Err(error) = sh::allow_descriptors(DESCRIPTORS) {
        return Ok(Outcome::Skipped(format!("no {DESCRIPTORS} descriptors: {error}")));
    }
    let mut best = measure()?;
    for _ in 0..2 {
        if best.dearer > 1.2 {
            let next = measure()?;
            best.dearer = best.dearer.min(next.dearer);
        }
    }
    judge(&best)
}

fn judge(figures: &Figures) -> Res<Outcome> {
    let Figures { start, each, after, dearer } = figures;
    let grown = mib(after.all) - mib(start.all);
    let note = format!(
        "{each:.0} bytes a connection (at most 400), VmRSS at the start {:.2} MiB (at most 5; of \
         it RssAnon {:.2}), {grown:.2} MiB more when all have gone (at most 4), opening \
         {dearer:.2}x as dear at 9,000 as at 1,000 (at most 1.5)",
        mib(start.all),
        mib(start.own),
    );
    let good = *each <= 400.0 && mib(start.all) <= 5.0 && grown <= 4.0 && *dearer <= 1.5;
    if good { Ok(Outcome::Passed(note)) } else { Err(note.into()) }
}

fn measure() -> Res<Figures> {
    let server = Server::start()?;
    let (pid, port) = (server.pid(), server.port());
    let start = settled(pid)?;
    let mut peers = Vec::with_capacity(MANY);
    let first = open(&mut peers, FEW, pid, port)?;
    let at_few = settled(pid)?;
    open(&mut peers, MANY - FEW, pid, port)?;
    let last = open(&mut peers, MANY, pid, port)?;
    let at_many = settled(pid)?;
    drop(peers);
    let after = when_all_have_gone(pid)?;
    let grown = at_many.all.saturating_sub(at_few.all);
    Ok(Figures { start, each: grown as f64 / (MANY - FEW) as f64, after, dearer: last / first })
}

/// Opens connections until there are `count`; gives the server's processor time for one, as the
/// median of a window's, since other programs disturb some of them.
fn open(peers: &mut Vec<TcpStream>, count: usize, pid: u32, port: u16) -> Res<f64> {
    let mut windows = Vec::new();
    while peers.len() < count {
        let before = proc::sched(pid)?;
        for _ in 0..WINDOW {
            peers.push(load::websocket(port)?);
        }
        windows.push(proc::sched(pid)?.cpu_ns - before.cpu_ns);
    }
    windows.sort_unstable();
    let median = windows.get(windows.len() / 2).copied().ok_or("nothing to open")?;
    Ok(median as f64 / WINDOW as f64)
}

/// Reads the memory once the program has come to rest.
pub(super) fn settled(pid: u32) -> Res<Memory> {
    std::thread::sleep(Duration::from_millis(200));
    proc::memory(pid)
}

/// Waits until the program has closed its ends.
fn when_all_have_gone(pid: u32) -> Res<Memory> {
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(100));
        if std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() < 100 {
            return settled(pid);
        }
    }
    Err("connections that have gone are still open after 10 s".into())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
