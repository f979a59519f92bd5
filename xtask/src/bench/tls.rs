//! `cargo xtask bench tls`: processor time of a handshake beside hyper's with the same rustls.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use super::cores::Cores;
use super::report::{HOSTS_HEADING, MQTT_HEADING, machine};
use super::{DESCRIPTORS, build_peer};
use crate::server::Server;
use crate::steps::{Outcome, Steps};
use crate::test::OPTIONAL;
use crate::{Res, proc, sh};

/// Where this part of the results begins; it ends with the next heading.
pub(super) const HEADING: &str = "## TLS handshakes";
/// Rounds, and handshakes in each.
const ROUNDS: usize = 9;
const SHAKES: u32 = 300;
/// What lodger aims at, as a multiple of hyper's.
const AIM: f64 = 1.1;

/// Microseconds a handshake of each round, by kind: lodger's, hyper's.
struct Figures {
    kind: &'static str,
    micros: [Vec<f64>; 2],
}

/// `cargo xtask bench tls`.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new(false);
    let built = steps.step("release build", || {
        sh::build_release()?;
        let args = ["build", "--locked", "--workspace", "--features", OPTIONAL];
        sh::run(1200, "cargo", &[&args[..], &["--example", "tls_shakes"]].concat())?;
        Ok(Outcome::Passed(String::new()))
    });
    if built && steps.step("peers", || build_peer(&["--bin", "hyper-tls"])) {
        steps.step("handshakes", measure);
    }
    steps.finish()
}

/// Measures both kinds, both servers in turn within a round, and writes what came of it.
fn measure() -> Res<Outcome> {
    let cores = Cores::take()?;
    sh::allow_descriptors(DESCRIPTORS)?;
    let machine = machine(ROUNDS, std::time::Duration::ZERO)?;
    let dir = sh::target("bench-tls");
    shakes(&["make", &dir.to_string_lossy()])?;
    let servers = start(cores, &dir)?;
    let mut all = Vec::new();
    for kind in ["full", "resumed"] {
        let mut figures = Figures { kind, micros: [Vec::new(), Vec::new()] };
        for _ in 0..ROUNDS {
            for (server, micros) in servers.iter().zip(&mut figures.micros) {
                micros.push(round(kind, server, &dir)?);
            }
        }
        all.push(figures);
    }
    let note = all.iter().map(Figures::note).collect::<Vec<_>>().join("; ");
    write(&section(&machine, &all)?)?;
    if all.iter().all(|figures| figures.ratio() <= AIM) {
        Ok(Outcome::Passed(note))
    } else {
        Err(format!("{note}; at most {AIM} is aimed at").into())
    }
}

fn start(cores: Cores, dir: &Path) -> Res<[Server; 2]> {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let mut lodger = cores.server(&sh::lodger());
    lodger.args(["serve", "--tls", "--listen", "127.0.0.1:0", "--cert"]);
    lodger.arg(&cert).arg("--key").arg(&key);
    let mut hyper = cores.server(&sh::target("peers/release/hyper-tls"));
    hyper.args([cert, key]);
    Ok([Server::spawn(&mut lodger)?, Server::spawn(&mut hyper)?])
}

/// Gives the server's processor time for one handshake, in microseconds. The one before the counted
/// ones is in it too.
fn round(kind: &str, server: &Server, dir: &Path) -> Res<f64> {
    let before = proc::sched(server.pid())?;
    let (port, count) = (server.port().to_string(), SHAKES.to_string());
    shakes(&[kind, &port, &count, &dir.to_string_lossy()])?;
    let spent = proc::sched(server.pid())?.cpu_ns - before.cpu_ns;
    Ok(spent as f64 / 1000.0 / f64::from(SHAKES + 1))
}

/// Runs the loader, on the processor that this program has.
fn shakes(args: &[&str]) -> Res {
    let mut command = Command::new(sh::target("debug/examples/tls_shakes"));
    let output = command.args(args).output()?;
    if output.status.success() { Ok(()) } else { Err(sh::text(&output.stderr).into()) }
}

impl Figures {
    /// Of the least disturbed rounds.
    fn least(&self) -> [f64; 2] {
        [0, 1].map(|at| self.micros.get(at).into_iter().flatten().copied().fold(f64::NAN, f64::min))
    }

    fn ratio(&self) -> f64 {
        let [lodger, hyper] = self.least();
        lodger / hyper
    }

    fn note(&self) -> String {
        let [lodger, hyper] = self.least();
        format!("{} {lodger:.0} us beside {hyper:.0} ({:.2}x)", self.kind, self.ratio())
    }
}

fn section(machine: &str, all: &[Figures]) -> Res<String> {
    let mut text = format!("{HEADING}\n\n{INTRODUCTION}\n{machine}\n\n");
    text.push_str(
        "| handshake | lodger | hyper | ratio | aim |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for figures in all {
        let [lodger, hyper] = figures.least();
        let (kind, ratio) = (figures.kind, figures.ratio());
        writeln!(text, "| {kind} | {lodger:.0} | {hyper:.0} | {ratio:.2}x | {AIM}x |")?;
    }
    Ok(text)
}

/// Puts the section in the place of the old one, or before what is said about hosts.
fn write(section: &str) -> Res {
    let path = sh::root().join("benches/RESULTS.md");
    let page = std::fs::read_to_string(&path)?;
    Ok(std::fs::write(&path, placed(&page, section))?)
}

fn placed(page: &str, section: &str) -> String {
    let old = page.find(HEADING);
    let later = [MQTT_HEADING, HOSTS_HEADING].iter().filter_map(|heading| page.find(heading));
    let begin = old.or_else(|| later.min()).unwrap_or(page.len());
    let (before, rest) = page.split_at(begin);
    let rest = match old {
        // Behind its own heading the next one begins.
        Some(_) => rest.find("\n## ").and_then(|at| rest.get(at + 1..)).unwrap_or_default(),
        None => rest,
    };
    let space = if rest.is_empty() { "" } else { "\n" };
    format!("{}\n\n{section}{space}{rest}", before.trim_end())
}

const INTRODUCTION: &str = "\
Written by `cargo xtask bench tls`: microseconds of the server's processor for a connection with a
TLS 1.3 handshake (X25519, ECDSA P-256, AES-256-GCM; rustls with ring on both sides), one `GET
/plaintext` and a polite end, of the least of the rounds. hyper runs on tokio with one thread, with
tokio-rustls and rustls's own defaults. Connections come one after the other; a round is 300 of them.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_has_one_place() {
        let first =
            placed("# A\n\ntext\n\n## In other loops\n\nhosts\n", "## TLS handshakes\n\nnew\n");
        let second = placed(&first, "## TLS handshakes\n\nnewer\n");

        assert_eq!(
            second,
            "# A\n\ntext\n\n## TLS handshakes\n\nnewer\n\n## In other loops\n\nhosts\n"
        );
    }
}
