//! Suites of others, run against the release program and against a client of ours.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::server::Server;
use crate::steps::{Outcome, Steps};
use crate::test::OPTIONAL;
use crate::{Res, install, sh};

/// Which end of the connection `lodger` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Server,
    /// As `Server`, over TLS.
    ServerTls,
    Client,
}

/// `cargo xtask conformance autobahn [SET] [server [--tls]|client]`: both roles unless one is named.
pub(crate) fn run(set: &str, role: Option<Role>) -> ExitCode {
    let mut steps = Steps::new(false);
    let server = role.unwrap_or(Role::Server);
    if server != Role::Client
        && steps
            .step("release build", || sh::build_release().map(|()| Outcome::Passed(String::new())))
    {
        let how = if server == Role::ServerTls { "server over TLS" } else { "server" };
        steps.step(&format!("autobahn {set}, {how}"), || autobahn(set, server));
    }
    if role.is_none_or(|role| role == Role::Client) {
        steps.step(&format!("autobahn {set}, client"), || autobahn(set, Role::Client));
    }
    steps.finish()
}

/// Runs a set of the Autobahn suite. Optional: the script that runs it stands beside the
/// repository, and it needs Python 2.7.
pub(crate) fn autobahn(set: &str, role: Role) -> Res<Outcome> {
    let script = script();
    if !script.is_file() {
        return Ok(Outcome::Optional("no ../shared/conformance/autobahn.sh".into()));
    }
    let env = match install::autobahn() {
        Ok(env) => env,
        Err(why) => return Ok(Outcome::Optional(why)),
    };
    let script = script.to_string_lossy();
    let printed = match role {
        Role::Server => server(Server::start()?, "ws", &script, &env, set)?,
        Role::ServerTls => server(Server::start_tls()?, "wss", &script, &env, set)?,
        Role::Client => client(&script, &env, set)?,
    };
    let summary = printed.lines().find(|line| line.contains(" OK, ")).unwrap_or_default();
    // The script lets NON-STRICT pass: text that is no UTF-8, noticed late (6.4.x). Not here.
    if summary.contains(", 0 NON-STRICT,") {
        Ok(Outcome::Passed(summary.to_owned()))
    } else {
        Err(printed.into())
    }
}

fn server(server: Server, scheme: &str, script: &str, env: &Path, set: &str) -> Res<String> {
    let port = server.port().to_string();
    let mut command = sh::command(1800, "bash", &[script, "server", &port, set]);
    command.env("AB_URL", format!("{scheme}://127.0.0.1:{port}/echo"));
    let printed = reported(&mut command, env, "autobahn")?;
    server.terminate()?;
    Ok(printed)
}

/// The client is built as the tests are: those have built it already.
fn client(script: &str, env: &Path, set: &str) -> Res<String> {
    let args = ["build", "--locked", "--workspace", "--features", OPTIONAL];
    sh::run(1200, "cargo", &[&args[..], &["--example", "autobahn_client"]].concat())?;
    let program = sh::target("debug/examples/autobahn_client");
    // The suite takes no port of its own choice.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let host = format!("127.0.0.1:{port}");
    let mut command = sh::command(3000, "bash", &[script, "client", &port, set, "--"]);
    command.arg(program).arg(host);
    if set != "quick" {
        command.arg("--deflate");
    }
    reported(&mut command, env, "autobahn-client")
}

/// `cargo xtask conformance httpwg [FILTER]`: the HTTP/2 suite of that name.
pub(crate) fn run_httpwg(filter: Option<&str>) -> ExitCode {
    let mut steps = Steps::new(false);
    if steps.step("release build", || sh::build_release().map(|()| Outcome::Passed(String::new())))
    {
        steps.step("httpwg", || httpwg(filter));
    }
    steps.finish()
}

/// Runs the `httpwg` suite (RFC 9113, from the Rust registry) against the program without TLS.
fn httpwg(filter: Option<&str>) -> Res<Outcome> {
    let suite = install::httpwg()?;
    let server = Server::start_h2_only()?;
    let address = format!("127.0.0.1:{}", server.port());
    let mut command = sh::command(300, &suite.to_string_lossy(), &["-a", &address]);
    command.args(filter.iter().flat_map(|filter| ["-f", filter])).env("NO_COLOR", "1");
    let printed = sh::text(&sh::check(&mut command)?.stdout);
    server.terminate()?;
    let summary = printed.lines().rev().find(|line| line.contains("Passed")).unwrap_or_default();
    Ok(Outcome::Passed(summary.trim().to_owned()))
}

fn reported(command: &mut Command, env: &Path, reports: &str) -> Res<String> {
    let reports = sh::target(reports);
    // What an earlier run has left must not be taken for this one's.
    let _ = std::fs::remove_dir_all(&reports);
    std::fs::create_dir_all(&reports)?;
    command.env("AB_VENV", env).env("AB_OUT", &reports);
    Ok(sh::text(&sh::check(command)?.stdout))
}

fn script() -> PathBuf {
    // It is no part of the repository.
    let beside = sh::root().join("../shared/conformance/autobahn.sh");
    std::env::var_os("LODGER_AUTOBAHN").map_or(beside, PathBuf::from)
}
