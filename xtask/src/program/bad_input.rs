//! What the program does about mistakes: one line that says what to do, 2 for usage and 1 for the
//! rest, never a trace.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{check, is_trace, over_unix, scratch};
use crate::server::{self, Ended, Server, plain};
use crate::steps::{Outcome, Steps};
use crate::{Res, load, proc};

/// How long a refusal may take.
const SOON: Duration = Duration::from_secs(10);

type Row = fn() -> Res<Outcome>;

/// Runs every row as a step.
pub(super) fn run(steps: &mut Steps) {
    let rows: [(&str, Row); 11] = [
        ("an unknown flag", || refuses(&["serve", "--no-such-flag"], &[2])),
        ("a bad address", || refuses(&["serve", "--listen", "nonsense"], &[2])),
        ("an address of nobody here", || refuses(&["serve", "--listen", "192.0.2.1:80"], &[1])),
        ("an address in use", address_in_use),
        ("a Unix path that is too long", too_long),
        ("a stale socket file is replaced", stale_socket),
        ("a live socket file is refused", live_socket),
        ("a file that is no socket is kept", no_socket),
        ("a closed stdout", closed_stdout),
        ("the second SIGTERM stops at once", second_term),
        ("16 descriptors", few_descriptors),
    ];
    for (name, row) in rows {
        steps.step(&format!("program: {name}"), row);
    }
}

/// Runs the program, which must refuse with one line and one of these exit codes.
fn refuses(args: &[&str], codes: &[i32]) -> Res<Outcome> {
    refusal(&server::run(plain(args).stdout(Stdio::null()), SOON)?, codes)
}

fn refusal(ended: &Ended, codes: &[i32]) -> Res<Outcome> {
    let said = ended.stderr.trim_end();
    let code = ended.status.code();
    check(code.is_some_and(|code| codes.contains(&code)), || format!("{}: {said}", ended.status))?;
    check(said.lines().count() == 1, || format!("not one line on stderr: {said:?}"))?;
    check(!is_trace(said), || format!("a trace: {said}"))?;
    Ok(Outcome::Passed(said.to_owned()))
}

fn address_in_use() -> Res<Outcome> {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    refuses(&["serve", "--listen", &holder.local_addr()?.to_string()], &[1])
}

/// It is part of an address, so usage; but only the system knows how long is too long.
fn too_long() -> Res<Outcome> {
    refuses(&["serve", "--listen", &format!("unix:/tmp/{}", "x".repeat(200))], &[1, 2])
}

/// The file is a socket and nobody answers.
fn stale_socket() -> Res<Outcome> {
    let (path, listen) = socket("stale.sock")?;
    drop(UnixListener::bind(&path)?);
    let server = Server::spawn(&mut plain(&with_tcp(&listen)))?;
    let answer = over_unix(&path)?;
    check(answer.status == 200, || answer.head.clone())?;
    server.terminate()?;
    Ok(Outcome::Passed(String::new()))
}

/// The file is a socket and somebody answers: who was there first stays.
fn live_socket() -> Res<Outcome> {
    let (path, listen) = socket("live.sock")?;
    let first = Server::spawn(&mut plain(&with_tcp(&listen)))?;
    let refused = refuses(&["serve", "--listen", &listen], &[1])?;
    check(over_unix(&path)?.status == 200, || "the first one answers no more".into())?;
    first.terminate()?;
    Ok(refused)
}

fn no_socket() -> Res<Outcome> {
    let (path, listen) = socket("precious.txt")?;
    std::fs::write(&path, "precious")?;
    let refused = refuses(&["serve", "--listen", &listen], &[1])?;
    check(std::fs::read(&path)? == b"precious", || "the file was changed".into())?;
    Ok(refused)
}

/// Gives a path in the scratch folder, with nothing there, and the address of it.
fn socket(name: &str) -> Res<(PathBuf, String)> {
    let path = scratch()?.join(name);
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listen = format!("unix:{}", path.display());
    Ok((path, listen))
}

/// The URL on a TCP port says when the program is ready.
fn with_tcp(listen: &str) -> [&str; 5] {
    ["serve", "--listen", listen, "--listen", "127.0.0.1:0"]
}

/// Whoever read its output is gone before it says where it listens: it serves, and says that on
/// standard error.
fn closed_stdout() -> Res<Outcome> {
    let server = Server::start_unread()?;
    load::Load::open(load::Kind::Plaintext, server.port(), 1)?;
    server.terminate()?;
    Ok(Outcome::Passed(String::new()))
}

/// A peer that never answers the goodbye makes the first one wait; the second does not.
fn second_term() -> Res<Outcome> {
    let mut server = Server::start()?;
    let _silent = load::websocket(server.port())?;
    server.signal("TERM")?;
    let waits = server.wait(Duration::from_millis(200)).is_err();
    check(waits, || "the first one did not wait for the peer's Close".into())?;
    let began = Instant::now();
    server.signal("TERM")?;
    let ended = server.wait(Duration::from_secs(5))?;
    let took = began.elapsed();
    check(!is_trace(&ended.stderr), || ended.stderr.clone())?;
    check(took < Duration::from_millis(500), || format!("took {took:?}"))?;
    Ok(Outcome::Passed(format!("{} after {:.0} ms", ended.status, took.as_secs_f64() * 1000.0)))
}

/// With 5 descriptors it cannot start and says so. With 16 it serves whom it can, lets the others
/// wait without spinning, and serves them when the first have gone.
fn few_descriptors() -> Res<Outcome> {
    let mut starved = Command::new("sh");
    starved.args(["-c", "ulimit -n 5 && exec \"$0\" serve --listen 127.0.0.1:0"]);
    let ended = server::run(starved.arg(crate::sh::lodger()).stdout(Stdio::null()), SOON)?;
    let refused = refusal(&ended, &[1])?;

    let server = Server::start_with_descriptors(16)?;
    let served = load::websocket(server.port())?;
    let mut peers = vec![served];
    for _ in 0..20 {
        peers.push(load::connect(server.port())?);
    }
    std::thread::sleep(Duration::from_millis(300));
    let before = proc::sched(server.pid())?;
    std::thread::sleep(Duration::from_secs(1));
    let busy = proc::sched(server.pid())?.cpu_ns - before.cpu_ns;
    check(busy < 50_000_000, || format!("{} ms of a second at the limit", busy / 1_000_000))?;
    drop(peers);
    drop(load::websocket(server.port())?);
    server.terminate()?;
    Ok(refused)
}
