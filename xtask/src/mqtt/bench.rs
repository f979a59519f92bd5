//! `cargo xtask mqtt bench`: what a delivery costs the server, beside other brokers.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Broker;
use crate::bench::{Cores, HOSTS_HEADING, MQTT_HEADING, machine};
use crate::steps::Outcome;
use crate::{Res, sh};

/// Of each round.
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const RUMQTTD: &str = "rumqttd@0.20.0";

/// A broker to be measured.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Lodger,
    Mosquitto,
    Rumqttd,
}

impl Who {
    const ALL: [Self; 3] = [Self::Lodger, Self::Mosquitto, Self::Rumqttd];

    fn name(self) -> &'static str {
        match self {
            Self::Lodger => "lodger",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
        }
    }

    fn is_here(self) -> bool {
        match self {
            Self::Lodger => true,
            Self::Mosquitto => sh::have("mosquitto"),
            Self::Rumqttd => rumqttd().is_file(),
        }
    }

    fn start(self, cores: Cores, folder: &Path) -> Res<Broker> {
        Broker::start(|port| match self {
            Self::Lodger => {
                let mut command = cores.server(&sh::lodger());
                command.args(["mqtt", "broker", "--listen", &format!("127.0.0.1:{port}")]);
                Ok(command)
            }
            Self::Mosquitto => {
                let text = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\n\
                     max_queued_messages 0\nset_tcp_nodelay true\nlog_dest none\nuser root\n"
                );
                configured(cores, Path::new("mosquitto"), &folder.join("mosquitto.conf"), &text)
            }
            Self::Rumqttd => {
                let text = RUMQTTD_CONF.replace("PORT", &port.to_string());
                configured(cores, &rumqttd(), &folder.join("rumqttd.toml"), &text)
            }
        })
    }
}

fn configured(cores: Cores, program: &Path, conf: &Path, text: &str) -> Res<Command> {
    std::fs::write(conf, text)?;
    let mut command = cores.server(program);
    command.arg("-c").arg(conf);
    Ok(command)
}

fn rumqttd() -> std::path::PathBuf {
    sh::target("tools/bin/rumqttd")
}

const RUMQTTD_CONF: &str = "\
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = \"v5-1\"
listen = \"127.0.0.1:PORT\"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
";

/// Builds rumqttd under `target/`, if it is not there.
pub(super) fn install() -> Res<Outcome> {
    if rumqttd().is_file() {
        return Ok(Outcome::Passed("there".into()));
    }
    let root = sh::target("tools").to_string_lossy().into_owned();
    let args = ["install", "-q", "--no-default-features", "--root", &root, RUMQTTD];
    match sh::run(1200, "cargo", &args) {
        Ok(_) => Ok(Outcome::Passed(RUMQTTD.into())),
        Err(_) => Ok(Outcome::Optional(format!("{RUMQTTD} does not build with this compiler"))),
    }
}

/// A load, and at most how much of mosquitto's time it is to take.
struct Row {
    name: &'static str,
    args: &'static [&'static str],
    aim: Option<f64>,
}

const ROWS: [Row; 4] = [
    Row { name: "QoS 0, 1 to 1", args: &["--qos", "0", "--window", "1000"], aim: Some(0.2) },
    Row { name: "QoS 1, 1 to 1", args: &["--qos", "1", "--window", "20"], aim: Some(0.3) },
    Row {
        name: "QoS 0, 1 to 100",
        args: &["--qos", "0", "--window", "100", "--subscribers", "100"],
        aim: Some(0.1),
    },
    Row {
        name: "QoS 1, 1 to 100",
        args: &["--qos", "1", "--window", "20", "--subscribers", "100"],
        aim: None,
    },
];

/// Measures the processor time of each broker for a delivery, the same load for all; they take turns
/// within every round. Writes the table.
pub(super) fn run() -> Res<Outcome> {
    let folder = sh::target("mqtt");
    std::fs::create_dir_all(&folder)?;
    let machine = machine(ROUNDS, ROUND)?;
    let cores = Cores::take()?;
    let here: Vec<Who> = Who::ALL.into_iter().filter(|who| who.is_here()).collect();
    let mut table = String::from("| load |");
    for who in &here {
        write!(table, " {} |", who.name())?;
    }
    table.push_str(" aim |\n| --- |");
    table.push_str(&" ---: |".repeat(here.len() + 1));
    let mut over = Vec::new();
    for row in &ROWS {
        let mut least = vec![f64::INFINITY; here.len()];
        for _ in 0..ROUNDS {
            for (who, least) in here.iter().zip(&mut least) {
                let cost = load(&who.start(cores, &folder)?, row.args);
                let cost = cost.map_err(|e| format!("{}: {e}", who.name()))?;
                *least = least.min(cost);
            }
        }
        let base = here.iter().zip(&least).find(|(who, _)| **who == Who::Mosquitto);
        write!(table, "\n| {} |", row.name)?;
        for (who, least) in here.iter().zip(&least) {
            let ratio = base.map(|(_, base)| least / base);
            let missed = ratio.zip(row.aim).is_some_and(|(ratio, aim)| ratio > aim);
            let mark = if *who == Who::Lodger && missed { " over" } else { "" };
            let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2}x{mark})"));
            write!(table, " {least:.2}{ratio} |")?;
            if !mark.is_empty() {
                over.push(row.name);
            }
        }
        write!(table, " {} |", row.aim.map_or_else(String::new, |aim| format!("{aim}x")))?;
    }
    println!("\n{table}");
    put(&format!("{INTRODUCTION}{machine}\n\n{table}\n"))?;
    let said = "benches/RESULTS.md".to_owned();
    Ok(Outcome::Passed(if over.is_empty() { said } else { format!("{said}; over: {over:?}") }))
}

const INTRODUCTION: &str = "\
## MQTT brokers

Written by `cargo xtask mqtt bench`. Microseconds of the server's processor, of all its threads, for
each message that a subscriber gets, 64 bytes, of the least round; in brackets as a multiple of
mosquitto's. One publisher and 1 or 100 subscribers, MQTT 5.0, over TCP; server and loader have a
processor each.

";

/// Puts the section in its place.
fn put(section: &str) -> Res {
    let path = sh::root().join("benches/RESULTS.md");
    let page = std::fs::read_to_string(&path)?;
    let hosts = page.find(HOSTS_HEADING).unwrap_or(page.len());
    let (before, after) = page.split_at_checked(hosts).unwrap_or((&page, ""));
    let before = before.find(MQTT_HEADING).and_then(|at| before.get(..at)).unwrap_or(before);
    let space = if after.is_empty() { "" } else { "\n" };
    std::fs::write(path, format!("{}\n\n{section}{space}{after}", before.trim_end()))?;
    Ok(())
}

fn load(broker: &Broker, args: &[&str]) -> Res<f64> {
    let (url, pid) = (format!("mqtt://127.0.0.1:{}", broker.port), broker.child.id().to_string());
    let secs = ROUND.as_secs().to_string();
    let mut all = vec!["mqtt", "bench", "--url", &url, "--server-pid", &pid, "--duration", &secs];
    all.extend(args);
    let output = sh::check(&mut sh::command(60, &sh::lodger().to_string_lossy(), &all))?;
    let said = sh::text(&output.stdout);
    let figure = said.split(", ").nth(1).and_then(|part| part.split(' ').next());
    Ok(figure.ok_or("no figure")?.parse()?)
}
