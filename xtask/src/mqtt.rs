//! `cargo xtask mqtt`: the broker as others see it, killed a hundred times, and beside mosquitto.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

mod bench;

use crate::steps::{Outcome, Steps};
use crate::{Res, install, sh};

/// PyPI packages that speak MQTT.
const PYTHON: [&str; 2] = ["paho-mqtt==2.2.0", "aiomqtt==2.5.1"];

/// `cargo xtask mqtt interop|kill|bench`.
pub(crate) fn run(what: &str) -> ExitCode {
    let mut steps = Steps::new(false);
    let built = what == "kill"
        || steps
            .step("release build", || sh::build_release().map(|()| Outcome::Passed(String::new())));
    match what {
        "interop" if built => {
            steps.step("mqtt: paho-mqtt and aiomqtt", interop);
            steps.step("npm packages", install::npm);
            steps.step("mqtt: the package mqtt over WebSocket", over_websocket);
            steps.step("mqtt: a browser over WebSocket", in_browser);
        }
        "kill" => _ = steps.step("mqtt: killed 100 times", kill),
        "bench" if built => {
            steps.step("mqtt: rumqttd", bench::install);
            steps.step("mqtt: beside other brokers", bench::run);
        }
        _ => {}
    }
    steps.finish()
}

/// A broker of some kind, ended when it is dropped.
struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    fn start(make: impl FnOnce(u16) -> Res<Command>) -> Res<Self> {
        let port = free_port()?;
        let child = make(port)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let broker = Self { child, port };
        let patience = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > patience {
                return Err("the broker does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(broker)
    }

    fn lodger(more: &[&str]) -> Res<Self> {
        Self::start(|port| {
            let mut command = Command::new(sh::lodger());
            command.args(["mqtt", "broker", "--listen", &format!("127.0.0.1:{port}")]).args(more);
            Ok(command)
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Res<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs the script with clients from PyPI against our broker.
pub(crate) fn interop() -> Res<Outcome> {
    let env = sh::target("venv-mqtt");
    let python = env.join("bin/python").to_string_lossy().into_owned();
    if sh::run(20, &python, &["-c", "import aiomqtt, paho.mqtt.client"]).is_err() {
        let folder = env.to_string_lossy().into_owned();
        let mut install = vec!["-m", "pip", "install", "-q"];
        install.extend(PYTHON);
        let made = sh::run(120, "python3", &["-m", "venv", &folder])
            .and_then(|_| sh::run(300, &python, &install));
        if let Err(error) = made {
            return Ok(Outcome::Skipped(format!("paho-mqtt cannot be installed: {error}")));
        }
    }
    let broker = Broker::lodger(&[])?;
    let script = sh::root().join("tests/mqtt/interop.py").to_string_lossy().into_owned();
    let output = sh::run(180, &python, &[&script, &broker.port.to_string()])?;
    let said = sh::text(&output.stdout);
    Ok(Outcome::Passed(said.lines().last().unwrap_or_default().to_owned()))
}

/// Runs the npm package mqtt against our broker, over WebSocket.
pub(crate) fn over_websocket() -> Res<Outcome> {
    let port = free_port()?.to_string();
    let _broker = Broker::lodger(&["--ws", &format!("127.0.0.1:{port}")])?;
    let script = sh::root().join("tests/mqtt/websocket.js").to_string_lossy().into_owned();
    let mut node = sh::command(60, "node", &[&script, &port]);
    let output = sh::check(node.env("NODE_PATH", install::node_modules()))?;
    Ok(Outcome::Passed(sh::text(&output.stdout).trim().to_owned()))
}

/// Has a page in Chromium speak MQTT over WebSocket to `lodger serve --mqtt`.
pub(crate) fn in_browser() -> Res<Outcome> {
    let modules = install::node_modules();
    let there = ["mqtt", "playwright-core"].iter().all(|name| modules.join(name).is_dir());
    if !there || !sh::have("chromium") || !sh::have("node") {
        let what = "no chromium, node, or npm packages mqtt and playwright-core";
        return Ok(Outcome::Skipped(what.into()));
    }
    let mut node = sh::command(180, "node", &["tests/mqtt/browser.mjs"]);
    let output = sh::check(node.arg(sh::lodger()).arg(modules))?;
    Ok(Outcome::Passed(sh::text(&output.stdout).trim().to_owned()))
}

fn kill() -> Res<Outcome> {
    let args = ["test", "--locked", "-p", "lodger-cli", "--test", "mqtt", "--", "--show-output"];
    let output = sh::check(sh::command(1200, "cargo", &args).env("LODGER_KILLS", "100"))?;
    let said = sh::text(&output.stdout);
    let told = said.lines().find(|line| line.trim_start().starts_with("100 kills: "));
    let told = told.ok_or("it did not tell of 100 kills")?.trim();
    Ok(Outcome::Passed(told.to_owned()))
}
