//! System calls, by `strace` attached for a window.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{COUNTED, PEERS, WARM, at_most};
use crate::load::{Kind, Load};
use crate::server::{Server, signal};
use crate::steps::Outcome;
use crate::{Res, sh};

/// System calls a message: one to read it, one to send the answer, and a share of the wait.
const LIMIT: f64 = 2.1;
/// Calls that send.
const SENDS: [&str; 6] = ["sendto", "sendmsg", "sendmmsg", "write", "writev", "sendfile"];

/// Counts system calls a message, all of them. How many messages one wait brings depends on what
/// else the machine does, so the best of a few windows counts.
pub(super) fn count(kind: Kind) -> Res<Outcome> {
    let server = Server::start()?;
    let mut load = Load::open(kind, server.port(), PEERS)?;
    load.run(WARM)?;
    let (mut each, mut names) = (f64::INFINITY, String::new());
    for _ in 0..3 {
        if each <= LIMIT {
            break;
        }
        let Some(trace) = Trace::attach(server.pid(), &["-c"])? else { return no_trace() };
        load.run(COUNTED)?;
        let table = trace.detach()?;
        let calls = total(&table).ok_or_else(|| format!("no total in strace's table:\n{table}"))?;
        (each, names) = (as_f64(calls) / as_f64(COUNTED as u64), by_name(&table));
    }
    at_most(each, LIMIT, &format!("{each:.3} a message: {names}"))
}

/// Counts the system calls of process `pid` for each of `messages` messages, in the best of three
/// windows; one that is at most `enough` ends it. `None` where strace is missing or may not attach.
pub(crate) fn each(pid: u32, load: &mut Load, messages: usize, enough: f64) -> Res<Option<f64>> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        if best <= enough {
            break;
        }
        let Some(trace) = Trace::attach(pid, &["-c"])? else { return Ok(None) };
        load.run(messages)?;
        let table = trace.detach()?;
        let calls = total(&table).ok_or_else(|| format!("no total in strace's table:\n{table}"))?;
        best = best.min(as_f64(calls) / as_f64(messages as u64));
    }
    Ok(Some(best))
}

/// Counts what is sent for 16 requests that arrive together.
pub(super) fn pipelined() -> Res<Outcome> {
    let server = Server::start()?;
    let mut load = Load::open(Kind::Plaintext, server.port(), 1)?;
    load.pipeline(16)?;
    let Some(trace) = Trace::attach(server.pid(), &[])? else { return no_trace() };
    load.pipeline(16)?;
    let log = trace.detach()?;
    let sends = log.lines().filter(|line| is_call(line, &SENDS)).count();
    at_most(as_f64(sends as u64), 1.0, &format!("{sends} sends"))
}

fn no_trace() -> Res<Outcome> {
    Ok(Outcome::Optional("strace is missing or may not attach".into()))
}

/// Counts stay far below 2^53.
fn as_f64(n: u64) -> f64 {
    n as f64
}

/// A strace that is attached to a process.
struct Trace {
    child: Child,
    log: PathBuf,
}

impl Trace {
    /// Attaches, and returns once it counts; `None` if that is not allowed here.
    fn attach(pid: u32, flags: &[&str]) -> Res<Option<Self>> {
        if !sh::have("strace") {
            return Ok(None);
        }
        std::fs::create_dir_all(sh::target("count"))?;
        let log = sh::target("count/strace");
        let mut command = Command::new("strace");
        command.arg("-f").args(flags).arg("-o").arg(&log).args(["-p", &pid.to_string()]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let attached = BufReader::new(stderr).lines().next().transpose()?;
        if attached.is_some_and(|line| line.contains("attached")) {
            return Ok(Some(Self { child, log }));
        }
        child.wait()?;
        Ok(None)
    }

    /// Detaches and gives what was written.
    fn detach(mut self) -> Res<String> {
        signal(self.child.id(), "INT")?;
        let end = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                self.child.kill()?;
                return Err("strace did not end".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

/// Gives the rows of a table of `strace -c`: how many calls of which name. A row has a fifth
/// column for errors only where there were any.
fn rows(table: &str) -> impl Iterator<Item = (u64, &str)> {
    table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let calls = words.nth(3)?.parse().ok()?;
        Some((calls, words.next_back()?))
    })
}

fn total(table: &str) -> Option<u64> {
    rows(table).find(|(_, name)| *name == "total").map(|(calls, _)| calls)
}

fn by_name(table: &str) -> String {
    let rows = rows(table).filter(|(_, name)| *name != "total");
    rows.map(|(calls, name)| format!("{calls} {name}")).collect::<Vec<_>>().join(", ")
}

/// Tells whether a line of a log, `PID NAME(...) = N`, is one of these calls.
fn is_call(line: &str, names: &[&str]) -> bool {
    let call = line.split_whitespace().nth(1).unwrap_or_default();
    let name = call.split('(').next().unwrap_or_default();
    call.contains('(') && names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 54.91    0.027571           2     10000           sendto
 44.09    0.022139           2     10032        32 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.050210           2     20345        32 total
";

    #[test]
    fn a_table_has_a_total() {
        assert_eq!(total(TABLE), Some(20_345));
        assert_eq!(by_name(TABLE), "10000 sendto, 10032 recvfrom");
    }

    #[test]
    fn sends_are_told_from_the_rest() {
        assert!(is_call("4711 sendmsg(7, {...}, MSG_NOSIGNAL) = 99", &SENDS));
        assert!(!is_call("4711 recvfrom(7, \"sendmsg(\", 5) = 5", &SENDS));
        assert!(!is_call("4711 <... sendto resumed>) = 5", &SENDS));
    }
}
