//! The program over TLS, to programs that are not ours.

use super::{check, scratch};
use crate::server::Server;
use crate::steps::{Outcome, Steps};
use crate::{Res, install, sh};

pub(super) fn run(steps: &mut Steps) {
    steps.step("program: curl --http2 over TLS", curl);
    steps.step("program: WebSocket echo over TLS to the `ws` client", websocket);
    steps.step("program: HTTP/2 over TLS to Node's client", node);
}

/// HTTP/2 by ALPN, HTTP/1.1 where that alone is offered, and a body that takes many windows.
fn curl() -> Res<Outcome> {
    if !sh::have("curl") {
        return Ok(Outcome::Skipped("no curl".into()));
    }
    let server = Server::start_tls()?;
    let url = format!("https://127.0.0.1:{}", server.port());
    let page = format!("{url}/plaintext");
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let args = ["-sSk", "-m", "20", "-w", " %{http_version}", flag, &page];
        let said = sh::text(&sh::run(30, "curl", &args)?.stdout);
        check(said == format!("Hello, World! {version}"), || format!("{flag}: {said}"))?;
    }
    let (body, back) = (scratch()?.join("tls-body"), scratch()?.join("tls-back"));
    std::fs::write(&body, vec![b'x'; 3 << 20])?;
    let (data, echo) = (format!("@{}", body.display()), format!("{url}/echo"));
    let out = back.to_string_lossy();
    sh::run(
        40,
        "curl",
        &["-sSkf", "-m", "30", "--http2", "-o", &out, "--data-binary", &data, &echo],
    )?;
    check(std::fs::read(&back)? == std::fs::read(&body)?, || "another body came back".into())?;
    server.terminate()?;
    Ok(Outcome::Passed("2, 1.1, 3 MiB there and back".into()))
}

fn websocket() -> Res<Outcome> {
    let modules = install::node_modules();
    if !sh::have("node") || !modules.join("ws").is_dir() {
        return Ok(Outcome::Skipped("no node, or no npm package `ws`".into()));
    }
    let server = Server::start_tls()?;
    let url = format!("wss://127.0.0.1:{}/echo", server.port());
    let mut command = sh::command(60, "node", &["xtask/src/program/ws_echo.cjs", &url]);
    let output = sh::check(command.env("NODE_PATH", modules))?;
    server.terminate()?;
    Ok(Outcome::Passed(sh::text(&output.stdout).trim().to_owned()))
}

fn node() -> Res<Outcome> {
    if !sh::have("node") {
        return Ok(Outcome::Skipped("no node".into()));
    }
    let server = Server::start_tls()?;
    let url = format!("https://127.0.0.1:{}", server.port());
    let output = sh::run(60, "node", &["xtask/src/program/over_tls.cjs", &url])?;
    server.terminate()?;
    Ok(Outcome::Passed(sh::text(&output.stdout).trim().to_owned()))
}
