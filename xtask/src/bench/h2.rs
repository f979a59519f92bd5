//! `cargo xtask bench h2`: what a request over HTTP/2 costs the server, plain and over TLS, beside
//! others, under h2load.

use std::fmt::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use super::cores::Cores;
use super::report::{H2_HEADING, HOSTS_HEADING, MQTT_HEADING, machine};
use crate::server::Server;
use crate::steps::{Outcome, Steps};
use crate::{Res, proc, sh};

const ROUNDS: usize = 3;
const REQUESTS: u32 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Lodger,
    Nghttpd,
    Hyper,
    H2o,
}

impl Who {
    const ALL: [Self; 4] = [Self::Lodger, Self::Nghttpd, Self::Hyper, Self::H2o];

    fn name(self) -> &'static str {
        match self {
            Self::Lodger => "lodger",
            Self::Nghttpd => "nghttpd",
            Self::Hyper => "hyper",
            Self::H2o => "h2o",
        }
    }
}

/// Connections, streams at once on each, TLS, and what lodger aims at as a multiple of nghttpd.
const ROWS: [(u32, u32, bool, f64); 4] =
    [(10, 10, false, 1.0), (1, 100, false, 1.1), (10, 10, true, 1.1), (1, 100, true, 1.1)];

/// Measures all rows, and writes the section of `benches/RESULTS.md`.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new(false);
    if steps.step("release builds", || {
        sh::build_release()?;
        super::build_peer(&["--bin", "hyper-h2"])
    }) {
        steps.step("h2load", measure);
    }
    steps.finish()
}

fn measure() -> Res<Outcome> {
    for program in ["h2load", "nghttpd", "h2o", "openssl"] {
        if !sh::have(program) {
            return Ok(Outcome::Skipped(format!("no {program}")));
        }
    }
    let cores = Cores::take()?;
    let folder = prepare()?;
    let mut page = format!(
        "{H2_HEADING}\n\n{INTRODUCTION}{}\n\n",
        machine(ROUNDS, Duration::ZERO)?.replace(" of 0ns", "")
    );
    page.push_str("| load | lodger | nghttpd | hyper | h2o | aim |\n| --- |");
    page.push_str(&" ---: |".repeat(Who::ALL.len() + 1));
    page.push('\n');
    for (connections, streams, tls, aim) in ROWS {
        let least = row((connections, streams, tls), cores, &folder)?;
        let base = least.get(1).copied().unwrap_or(f64::NAN);
        let kind = if tls { "TLS" } else { "plain" };
        write!(page, "| {connections} x {streams}, {kind} |")?;
        for (who, micros) in Who::ALL.iter().zip(&least) {
            let ratio = micros / base;
            let over = if *who == Who::Lodger && ratio > aim { " over" } else { "" };
            write!(page, " {micros:.2} ({ratio:.2}x{over}) |")?;
        }
        writeln!(page, " {aim}x |")?;
    }
    print!("{page}");
    keep(&page)?;
    Ok(Outcome::Passed(String::new()))
}

/// Puts the section in its place, in front of those about brokers and hosts.
fn keep(section: &str) -> Res {
    let path = sh::root().join("benches/RESULTS.md");
    let page = std::fs::read_to_string(&path)?;
    let behind = [super::tls::HEADING, MQTT_HEADING, HOSTS_HEADING]
        .iter()
        .filter_map(|h| page.find(h))
        .min();
    let (before, behind) = page.split_at(behind.unwrap_or(page.len()));
    let before = before.find(H2_HEADING).and_then(|at| before.get(..at)).unwrap_or(before);
    Ok(std::fs::write(&path, format!("{}\n\n{section}\n{behind}", before.trim_end()))?)
}

/// Makes the certificate, what the others serve as files, and h2o's configuration.
fn prepare() -> Res<PathBuf> {
    let folder = sh::target("bench-h2");
    std::fs::create_dir_all(folder.join("www"))?;
    std::fs::write(folder.join("www/plaintext"), "Hello, World!")?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let of = ["-nodes", "-days", "30", "-subj", "/CN=localhost", "-out", &cert, "-keyout", &key];
    sh::run(60, "openssl", &[&new[..], &of].concat())?;
    Ok(folder)
}

/// A server that runs; it ends with the value.
struct Running {
    child: Option<Child>,
    server: Option<Server>,
    port: u16,
    least: f64,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    fn start(who: Who, tls: bool, cores: Cores, folder: &std::path::Path) -> Res<Self> {
        let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let (cert, key, www) = (at("cert.pem"), at("key.pem"), at("www"));
        if who == Who::Hyper {
            let mut command = cores.server(&sh::target("peers/release/hyper-h2"));
            if tls {
                command.args([&cert, &key]);
            }
            let server = Server::spawn(&mut command)?;
            let port = server.port();
            return Ok(Self { child: None, server: Some(server), port, least: f64::INFINITY });
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (number, listen) = (port.to_string(), format!("127.0.0.1:{port}"));
        let mut command = match who {
            Who::Lodger => cores.server(&sh::lodger()),
            Who::H2o => cores.server("h2o".as_ref()),
            Who::Nghttpd | Who::Hyper => cores.server("nghttpd".as_ref()),
        };
        match (who, tls) {
            (Who::Lodger, false) => command.args(["serve", "--h2-only", "--listen", &listen]),
            (Who::Lodger, true) => {
                let files = ["--cert", &cert, "--key", &key, "--listen", &listen];
                command.args(["serve", "--tls"]).args(files)
            }
            (Who::H2o, _) => {
                let ssl = format!("\n  ssl:\n    certificate-file: {cert}\n    key-file: {key}");
                let ssl = if tls { ssl } else { String::new() };
                let text = format!(
                    "user: root\nnum-threads: 1\nlisten:\n  host: 127.0.0.1\n  port: {port}{ssl}\n\
                     hosts:\n  default:\n    paths:\n      /:\n        file.dir: {www}\n"
                );
                let path = at("h2o.conf");
                std::fs::write(&path, text)?;
                command.args(["-c", &path])
            }
            (_, false) => command.args(["--no-tls", "-a", "127.0.0.1", "-d", &www, &number]),
            (_, true) => command.args(["-a", "127.0.0.1", "-d", &www, &number, &key, &cert]),
        };
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let running = Self { child: Some(child), server: None, port, least: f64::INFINITY };
        running.wait(who)?;
        Ok(running)
    }

    fn wait(&self, who: Who) -> Res {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err(format!("{} does not listen", who.name()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn pid(&self) -> u32 {
        let child = self.child.as_ref().map(Child::id);
        child.or(self.server.as_ref().map(Server::pid)).unwrap_or(0)
    }

    /// Runs h2load once, and keeps the least of what a request has cost.
    fn round(&mut self, (connections, streams, tls): (u32, u32, bool)) -> Res {
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}/plaintext", self.port);
        let (n, c, m) = (REQUESTS.to_string(), connections.to_string(), streams.to_string());
        let before = proc::sched(self.pid())?.cpu_ns;
        let mut load = Command::new("timeout");
        load.args(["60", "h2load", "-t", "1", "-n", &n, "-c", &c, "-m", &m, &url]);
        let said = sh::text(&sh::check(&mut load)?.stdout);
        let spent = proc::sched(self.pid())?.cpu_ns - before;
        if !said.contains(&format!(" {REQUESTS} succeeded, 0 failed")) {
            return Err(format!("not all were answered: {said}").into());
        }
        self.least = self.least.min(spent as f64 / 1000.0 / f64::from(REQUESTS));
        Ok(())
    }
}

/// Gives microseconds a request of the least round of each, all taking turns.
fn row(load: (u32, u32, bool), cores: Cores, folder: &std::path::Path) -> Res<Vec<f64>> {
    let start = |who| Running::start(who, load.2, cores, folder);
    let mut all = Who::ALL.into_iter().map(start).collect::<Res<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        for (running, who) in all.iter_mut().zip(Who::ALL) {
            running.round(load).map_err(|error| format!("{}: {error}", who.name()))?;
        }
    }
    Ok(all.iter().map(|running| running.least).collect())
}

const INTRODUCTION: &str = "\
Written by `cargo xtask bench h2`. Microseconds of the server's processor for a request of 13 bytes,
of the least disturbed round; in brackets as a multiple of nghttpd's. The load is h2load's:
connections x streams at once on each, 10,000 requests a round, all servers in turn. nghttpd and h2o
are Debian's and serve a file, each with one thread; over TLS by a P-256 key.

";
