//! Tests of the release program from outside, by programs that are not ours: curl, a WebSocket
//! client, a browser, the shell; and as a client of servers that are not ours.

mod bad_input;
mod files;
mod over_tls;
mod peers;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::server::{self, Server, plain};
use crate::steps::{Outcome, Steps};
use crate::{Res, install, load, mqtt, sh};

/// One answer as curl got it.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// `cargo xtask program`.
pub(crate) fn run() -> ExitCode {
    let mut all = Steps::new(false);
    all.step("npm packages", install::npm);
    if all.step("release build", || sh::build_release().map(|()| Outcome::Passed(String::new()))) {
        steps(&mut all);
    }
    all.finish()
}

/// Runs every test of the program as a step.
pub(crate) fn steps(steps: &mut Steps) {
    http(steps);
    files::run(steps);
    steps.step("program: WebSocket echo to the `ws` client", websocket);
    steps.step("program: unix: listener, port 0 twice", unix_and_more);
    steps.step("program: SIGTERM says goodbye", goodbye);
    steps.step("mqtt: paho-mqtt and aiomqtt", mqtt::interop);
    steps.step("mqtt: the package mqtt over WebSocket", mqtt::over_websocket);
    steps.step("mqtt: a browser over WebSocket", mqtt::in_browser);
    peers::run(steps);
    over_tls::run(steps);
    bad_input::run(steps);
    steps.step("the page in Chromium", page);
}

fn http(steps: &mut Steps) {
    if !sh::have("curl") {
        steps.step("program: curl", || Ok(Outcome::Skipped("no curl".into())));
        return;
    }
    let server = match Server::start() {
        Ok(server) => server,
        Err(error) => {
            steps.step("program: start", || Err(error));
            return;
        }
    };
    let base = format!("http://127.0.0.1:{}", server.port());
    let rows: [(&str, Row); 9] = [
        ("GET / is a page", page_row),
        ("GET /plaintext", plaintext_row),
        ("HEAD /plaintext", head_row),
        ("POST /echo, 3 MiB", |base| echo_row(base, 3 << 20, &[])),
        ("POST /echo, 3 MiB in chunks", |base| {
            echo_row(base, 3 << 20, &["Transfer-Encoding: chunked"])
        }),
        ("POST /echo, 64 MiB", |base| echo_row(base, 64 << 20, &["Expect:"])),
        ("POST /echo, 65 MiB is 413", too_large_row),
        ("404", |base| status_row(base, &["/nowhere"], 404)),
        ("DELETE /plaintext is 405", not_allowed_row),
    ];
    for (name, row) in rows {
        steps.step(&format!("program: {name}"), || {
            row(&base).map(|()| Outcome::Passed(String::new()))
        });
    }
    steps.step("program: ends with 0", || {
        let ended = server.terminate()?;
        expect(ended.stderr.is_empty(), || format!("said on stderr: {}", ended.stderr))
    });
}

type Row = fn(&str) -> Res;

fn page_row(base: &str) -> Res {
    let answer = curl(&[&format!("{base}/")])?;
    let head = answer.head.to_ascii_lowercase();
    check(answer.status == 200, || format!("status {}", answer.status))?;
    check(head.contains("content-type: text/html"), || answer.head.clone())?;
    check(head.contains("content-security-policy: "), || "no Content-Security-Policy".into())
}

fn plaintext_row(base: &str) -> Res {
    let answer = curl(&[&format!("{base}/plaintext")])?;
    let head = answer.head.to_ascii_lowercase();
    check(answer.status == 200, || format!("status {}", answer.status))?;
    check(answer.body == b"Hello, World!", || sh::text(&answer.body))?;
    check(head.contains("content-length: 13\r\n"), || answer.head.clone())?;
    check(head.contains("date: "), || "no Date".into())
}

fn head_row(base: &str) -> Res {
    let answer = curl(&["--head", &format!("{base}/plaintext")])?;
    check(answer.status == 200 && answer.body.is_empty(), || answer.head.clone())?;
    let head = answer.head.to_ascii_lowercase();
    check(head.contains("content-length: 13\r\n"), || answer.head.clone())
}

fn echo_row(base: &str, size: usize, fields: &[&str]) -> Res {
    let body: Vec<u8> =
        (0_u32..).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).take(size).collect();
    let answer = post(base, &body, fields)?;
    check(answer.status == 200, || format!("status {}", answer.status))?;
    check(answer.body == body, || format!("{} bytes came back, or others", answer.body.len()))
}

fn too_large_row(base: &str) -> Res {
    let answer = post(base, &vec![b'x'; 65 << 20], &[])?;
    check(answer.status == 413, || format!("status {}", answer.status))
}

fn not_allowed_row(base: &str) -> Res {
    let answer = curl(&["-X", "DELETE", &format!("{base}/plaintext")])?;
    let head = answer.head.to_ascii_lowercase();
    check(answer.status == 405, || format!("status {}", answer.status))?;
    check(head.contains("allow: "), || "no Allow".into())
}

fn status_row(base: &str, paths: &[&str], status: u16) -> Res {
    for path in paths {
        let answer = curl(&[&format!("{base}{path}")])?;
        check(answer.status == status, || format!("{path}: status {}", answer.status))?;
    }
    Ok(())
}

fn post(base: &str, body: &[u8], fields: &[&str]) -> Res<Answer> {
    let file = scratch()?.join("body");
    std::fs::write(&file, body)?;
    let (data, url) = (format!("@{}", file.display()), format!("{base}/echo"));
    let mut args = vec!["--data-binary", &data, &url];
    for field in fields {
        args.extend(["-H", field]);
    }
    curl(&args)
}

/// Runs curl; the head and the body go to files, so that bytes stay bytes.
fn curl(args: &[&str]) -> Res<Answer> {
    let folder = scratch()?;
    let (head, body) = (folder.join("answer-head"), folder.join("answer-body"));
    std::fs::write(&body, [])?;
    let (head_arg, body_arg) = (head.to_string_lossy(), body.to_string_lossy());
    let output = ["-sS", "--max-time", "60", "-D", &*head_arg, "-o", &*body_arg];
    sh::run(90, "curl", &[&output[..], args].concat())?;
    let head = sh::text(&std::fs::read(head)?);
    // What precedes the last head is an interim one (100 Continue).
    let last = head.trim_end().rsplit("\r\n\r\n").next().unwrap_or_default();
    let status = last.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let body = if args.contains(&"--head") { Vec::new() } else { std::fs::read(body)? };
    Ok(Answer { status, head: format!("{last}\r\n"), body })
}

fn websocket() -> Res<Outcome> {
    let modules = install::node_modules();
    if !sh::have("node") || !modules.join("ws").is_dir() {
        return Ok(Outcome::Skipped("no node, or no npm package `ws`".into()));
    }
    let server = Server::start()?;
    let url = format!("ws://127.0.0.1:{}/echo", server.port());
    let mut command = sh::command(60, "node", &["xtask/src/program/ws_echo.cjs", &url]);
    let output = sh::check(command.env("NODE_PATH", modules))?;
    server.terminate()?;
    Ok(Outcome::Passed(sh::text(&output.stdout).trim().to_owned()))
}

/// Listens on a Unix socket and twice on a port of its own choice; the file goes with the program.
fn unix_and_more() -> Res<Outcome> {
    let socket = scratch()?.join("s.sock");
    let _ = std::fs::remove_file(&socket);
    let listen = format!("unix:{}", socket.display());
    let tcp = ["--listen", "127.0.0.1:0"];
    let args = [&["serve", "--listen", &listen][..], &tcp, &tcp].concat();
    let server = Server::spawn(&mut plain(&args))?;
    server::wait_for_file(&socket)?;
    let answer = over_unix(&socket)?;
    check(answer.status == 200 && answer.body == b"Hello, World!", || answer.head.clone())?;
    let url = format!("http://127.0.0.1:{}/plaintext", server.port());
    check(curl(&[&url])?.status == 200, || "no answer over TCP".into())?;
    server.terminate()?;
    expect(!socket.exists(), || "the socket file is still there".into())
}

fn over_unix(socket: &Path) -> Res<Answer> {
    curl(&["--unix-socket", &socket.to_string_lossy(), "http://localhost/plaintext"])
}

/// An open WebSocket connection hears Close 1001 (going away, RFC 6455, section 7.4.1) and the end.
fn goodbye() -> Res<Outcome> {
    let server = Server::start()?;
    let mut peer = load::websocket(server.port())?;
    server.signal("TERM")?;
    let mut heard = [0; 4];
    peer.read_exact(&mut heard)?;
    check(heard[0] == 0x88 && heard[2..] == [0x03, 0xe9], || {
        format!("{heard:?} is no Close 1001")
    })?;
    load::close(peer, heard[1])?;
    let mut server = server;
    let ended = server.wait(Duration::from_secs(5))?.well()?;
    expect(!is_trace(&ended.stderr), || ended.stderr)
}

/// Loads the live page in Chromium.
fn page() -> Res<Outcome> {
    let script = "tests/page/run.mjs";
    if !sh::root().join(script).is_file() {
        return Err(format!("no {script}").into());
    }
    let modules = install::node_modules();
    if !sh::have("chromium") || !sh::have("node") || !modules.join("playwright-core").is_dir() {
        return Ok(Outcome::Skipped("no chromium, node or npm package `playwright-core`".into()));
    }
    let out = sh::target("page");
    std::fs::create_dir_all(&out)?;
    let mut command = sh::command(180, "node", &[script]);
    command.arg(sh::lodger()).arg(out).arg("--modules").arg(sh::target("npm"));
    let printed = sh::text(&sh::check(&mut command)?.stdout);
    Ok(Outcome::Passed(printed.trim_end().lines().last().unwrap_or_default().to_owned()))
}

/// A folder for what a test leaves behind. A Unix socket's path is at most 107 bytes, so in a tree
/// that lies too deep it is elsewhere.
fn scratch() -> Res<PathBuf> {
    let mut folder = sh::target("program");
    if folder.as_os_str().len() > 90 {
        folder = std::env::temp_dir().join("lodger-program");
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Tells whether the program has printed what a bug looks like.
fn is_trace(said: &str) -> bool {
    ["panicked", "a bug in lodger", "Os {"].iter().any(|mark| said.contains(mark))
}

fn check(good: bool, why: impl FnOnce() -> String) -> Res {
    if good { Ok(()) } else { Err(why().into()) }
}

fn expect(good: bool, why: impl FnOnce() -> String) -> Res<Outcome> {
    check(good, why).map(|()| Outcome::Passed(String::new()))
}
