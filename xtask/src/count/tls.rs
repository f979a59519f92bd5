//! What TLS costs: allocations a message, and memory of idle connections.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::{COUNTED, DESCRIPTORS, PEERS, WARM, alloc, at_most, memory};
use crate::server::{Server, lines_of};
use crate::steps::Outcome;
use crate::test::OPTIONAL;
use crate::{Res, sh};

/// Allocations a message: rustls's own, one to open a record and one to seal one.
const ALLOCATIONS: f64 = 2.0;
/// Resident memory of one idle WebSocket, in bytes.
const IDLE: f64 = 6.0 * 1024.0;
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// Counts the allocations of echoes in the steady state.
pub(super) fn allocations() -> Res<Outcome> {
    if !sh::have("cc") {
        return Ok(Outcome::Skipped("no C compiler".into()));
    }
    let (server, counter) = alloc::counted(&["--tls"])?;
    let mut peers = TlsPeers::start(server.port())?;
    peers.open(PEERS as u64)?;
    peers.echo(WARM as u64)?;
    let before = alloc::read(&counter)?;
    peers.echo(COUNTED as u64)?;
    let each = (alloc::read(&counter)? - before) as f64 / COUNTED as f64;
    at_most(each, ALLOCATIONS, &format!("{each} a message"))
}

/// Measures what an idle connection adds to the resident memory, once each has echoed messages and
/// nothing is left of their handshakes.
pub(super) fn idle_memory() -> Res<Outcome> {
    if let Err(error) = sh::allow_descriptors(DESCRIPTORS) {
        return Ok(Outcome::Skipped(format!("no {DESCRIPTORS} descriptors: {error}")));
    }
    let server = Server::start_tls()?;
    let mut peers = TlsPeers::start(server.port())?;
    let mut at = [0; 2];
    for (count, resident) in [FEW, MANY].into_iter().zip(&mut at) {
        peers.open(count)?;
        peers.echo(2 * count)?;
        *resident = memory::settled(server.pid())?.all;
    }
    let [few, many] = at;
    let each = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    at_most(each, IDLE, &format!("{each:.0} bytes a connection"))
}

/// WebSocket clients over TLS: `tests/load/tls_peers.rs`, killed when the value is dropped.
struct TlsPeers {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl TlsPeers {
    /// Starts the program, built as the tests are: those have built it already.
    fn start(port: u16) -> Res<Self> {
        let args = ["build", "--locked", "--workspace", "--features", OPTIONAL];
        sh::run(1200, "cargo", &[&args[..], &["--example", "tls_peers"]].concat())?;
        let url = format!("wss://127.0.0.1:{port}/echo");
        let mut child = Command::new(sh::target("debug/examples/tls_peers"))
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let lines = lines_of(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, stdin, lines })
    }

    /// Opens connections until there are `count`.
    fn open(&mut self, count: u64) -> Res {
        self.ask(&format!("open {count}"))
    }

    /// Has `messages` messages echoed, one under way on each connection.
    fn echo(&mut self, messages: u64) -> Res {
        self.ask(&format!("echo {messages}"))
    }

    /// Says a line, and waits until it is said back.
    fn ask(&mut self, line: &str) -> Res {
        writeln!(self.stdin, "{line}")?;
        match self.lines.recv_timeout(Duration::from_secs(60)) {
            Ok(answer) if answer == line => Ok(()),
            Ok(other) => Err(format!("`{line}` was answered by `{other}`").into()),
            Err(why) => Err(format!("`{line}`: {why}").into()),
        }
    }
}

impl Drop for TlsPeers {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
