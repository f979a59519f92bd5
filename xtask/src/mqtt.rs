//! `cargo xtask mqtt`: the broker as others see it, killed a hundred times, and beside mosquitto.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

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
        }
        "kill" => _ = steps.step("mqtt: killed 100 times", kill),
        "bench" if built => _ = steps.step("mqtt: beside mosquitto", bench),
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
    fn start(make: impl FnOnce(u16) -> Command) -> Res<Self> {
        let port = free_port()?;
        let child = make(port).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
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
            command
        })
    }

    fn mosquitto(folder: &Path) -> Res<Self> {
        let conf = folder.join("mosquitto.conf");
        Self::start(|port| {
            let text = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\n\
                 max_queued_messages 0\nset_tcp_nodelay true\nlog_dest none\nuser root\n"
            );
            // A file that cannot be written is told by a broker that does not start.
            let _ = std::fs::write(&conf, text);
            let mut command = Command::new("mosquitto");
            command.arg("-c").arg(&conf);
            command
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

fn kill() -> Res<Outcome> {
    let args = ["test", "--locked", "-p", "lodger-cli", "--test", "mqtt", "--", "--show-output"];
    let output = sh::check(sh::command(1200, "cargo", &args).env("LODGER_KILLS", "100"))?;
    let said = sh::text(&output.stdout);
    let told = said.lines().find(|line| line.trim_start().starts_with("100 kills: "));
    let told = told.ok_or("it did not tell of 100 kills")?.trim();
    Ok(Outcome::Passed(told.to_owned()))
}

/// Measures the processor time of each broker for a delivery, the same load for both.
fn bench() -> Res<Outcome> {
    if !sh::have("mosquitto") {
        return Ok(Outcome::Skipped("no mosquitto".into()));
    }
    let folder = sh::target("mqtt");
    std::fs::create_dir_all(&folder)?;
    let rows: [(&str, &[&str]); 4] = [
        ("QoS 0, 1 to 1", &["--qos", "0", "--window", "1000"]),
        ("QoS 1, 1 to 1", &["--qos", "1", "--window", "20"]),
        ("QoS 0, 1 to 100", &["--qos", "0", "--window", "100", "--subscribers", "100"]),
        ("QoS 1, 1 to 100", &["--qos", "1", "--window", "20", "--subscribers", "100"]),
    ];
    println!();
    for (name, args) in rows {
        let ours = load(&Broker::lodger(&[])?, args)?;
        let theirs = load(&Broker::mosquitto(&folder)?, args)?;
        println!(
            "    {name:16} lodger {ours:.2} us, mosquitto {theirs:.2} us: {:.2}x",
            ours / theirs
        );
    }
    Ok(Outcome::Passed("processor time of the server for each delivery, 64 B".into()))
}

fn load(broker: &Broker, args: &[&str]) -> Res<f64> {
    let (url, pid) = (format!("mqtt://127.0.0.1:{}", broker.port), broker.child.id().to_string());
    let mut all = vec!["mqtt", "bench", "--url", &url, "--server-pid", &pid, "--duration", "4"];
    all.extend(args);
    let output = sh::check(&mut sh::command(60, &sh::lodger().to_string_lossy(), &all))?;
    let said = sh::text(&output.stdout);
    let figure = said.split(", ").nth(1).and_then(|part| part.split(' ').next());
    Ok(figure.ok_or("no figure")?.parse()?)
}
