//! `cargo xtask bench`: what an operation costs beside the floor and beside others.
//!
//! Server and loader each have a processor of their own. Every row runs in short rounds, all
//! servers in turn within a round, so that what disturbs the machine disturbs all of them. The
//! figure is the server's processor time, not the clock's: it says the same when the loader is
//! slow.

mod chart;
mod cores;
mod files;
mod floor;
pub(crate) mod h2;
mod measure;
mod report;
mod rows;
mod timers;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::proc::Steal;
use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

pub(crate) use cores::Cores;
use report::Report;
pub(crate) use report::{HOSTS_HEADING, MQTT_HEADING, machine};
pub(crate) use tls::run as run_tls;

/// Descriptors for a row of 1,000 connections to each of four servers.
const DESCRIPTORS: u32 = 20_000;

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    rounds: usize,
    round: Duration,
    quick: bool,
}

impl Plan {
    /// Reads the flags.
    pub(crate) fn parse(flags: &[&str]) -> Option<Self> {
        // Many short ones: of a machine that others use too, some of them are left alone.
        let round = Duration::from_millis(300);
        match flags {
            [] => Some(Self { rounds: 30, round, quick: false }),
            ["--quick"] => Some(Self { rounds: 3, round, quick: true }),
            _ => None,
        }
    }

    /// Where the results go: a quick run says that everything works, and its figures are no
    /// figures, so they stay out of the tree.
    fn folder(self) -> PathBuf {
        if self.quick { sh::target("bench") } else { sh::root().join("benches") }
    }
}

/// `cargo xtask bench`.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let mut steps = Steps::new(false);
    let mut report = Report::default();
    if steps.step("release builds", build) {
        let peers = steps.step("peers", build_peers);
        steps.step("floor", || floor::check(&mut report));
        if steps.step("processors", || report.begin(plan)) {
            rows(&mut steps, plan, peers, &mut report);
        }
    }
    steps.finish()
}

/// Measures every row and writes the results.
fn rows(steps: &mut Steps, plan: Plan, peers: bool, report: &mut Report) {
    let Some(cores) = report.cores else { return };
    steps.step("sul and BTreeMap", || timers::measure(cores, report));
    for row in rows::all() {
        steps.step(row.name, || {
            let costs = measure::row(&row, plan, cores, peers)?;
            let note = report::line(&row, &costs);
            report.rows.push((row, costs));
            Ok(Outcome::Passed(note))
        });
    }
    steps.step("results", || report.write(&plan.folder()));
}

fn build() -> Res<Outcome> {
    sh::build_release()?;
    let programs = ["-p", "lodger-floor", "-p", "lodger-bench-sul"];
    sh::run(1200, "cargo", &[&["build", "--release", "--locked"][..], &programs].concat())?;
    Ok(Outcome::Passed(String::new()))
}

/// Builds what lodger is compared with; without it the rest is measured all the same.
fn build_peers() -> Res<Outcome> {
    build_peer(&[])
}

/// Builds those that `which` names, or all.
fn build_peer(which: &[&str]) -> Res<Outcome> {
    let manifest = ["--manifest-path", "benches/peers/Cargo.toml"];
    let target = sh::target("peers").to_string_lossy().into_owned();
    let into = ["--target-dir", target.as_str()];
    let args = [&["build", "--release", "--locked"][..], &manifest, &into, which].concat();
    match sh::run(1800, "cargo", &args) {
        Ok(_) => Ok(Outcome::Passed(String::new())),
        Err(error) => Ok(Outcome::Skipped(format!("cannot be built: {error}"))),
    }
}

impl Report {
    /// Finds the processors, takes one for the loader, which is this program, and notes what
    /// machine this is.
    fn begin(&mut self, plan: Plan) -> Res<Outcome> {
        let cores = Cores::take()?;
        sh::allow_descriptors(DESCRIPTORS)?;
        self.cores = Some(cores);
        self.machine = machine(plan.rounds, plan.round)?;
        self.since = Some(Steal::so_far()?);
        Ok(Outcome::Passed(format!("server on {}, loader on {}", cores.server, cores.loader)))
    }
}
