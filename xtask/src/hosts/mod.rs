//! `cargo xtask hosts`: what a guest costs in each loop, and whether the loop stays as it was.
//!
//! `benches/hosts` is one program with many loops. Each runs alone, with the guest and alone again;
//! under a flood; with short timers; and with nothing to do. Then processor time and system calls
//! a message are measured, all hosts in turn, beside the guest's own loop and libwebsockets. What a
//! busy machine can spoil is tried up to five times.

mod cost;
mod found;
mod report;
mod subjects;

use std::process::ExitCode;
use std::time::Duration;

use crate::bench::Cores;
use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

use found::Found;
use report::Report;
use subjects::Subject;

/// Descriptors for a row of 1,010 connections to each of a dozen servers.
const DESCRIPTORS: u32 = 20_000;

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    rounds: usize,
    round: Duration,
    /// Seconds alone, with the guest and alone; twice a quarter and a half.
    steady: u32,
    flood: u32,
    idle: u32,
    quick: bool,
}

impl Plan {
    /// Reads the flags.
    pub(crate) fn parse(flags: &[&str]) -> Option<Self> {
        // Many short ones: of a machine that others use too, some of them are left alone.
        let round = Duration::from_millis(200);
        match flags {
            [] => Some(Self { rounds: 24, round, steady: 20, flood: 6, idle: 10, quick: false }),
            ["--quick"] => {
                Some(Self { rounds: 3, round, steady: 4, flood: 2, idle: 2, quick: true })
            }
            _ => None,
        }
    }
}

/// `cargo xtask hosts`.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let mut steps = Steps::new(false);
    let mut report = Report::default();
    if steps.step("release build", build) {
        let lws = steps.step("libwebsockets", build_lws);
        if steps.step("processors", || report.begin(plan)) {
            // The loader as well: a slow one makes batches small.
            let _ = sh::run(5, "renice", &["-n", "-15", "-p", &std::process::id().to_string()]);
            measure(&mut steps, plan, lws, &mut report);
        }
    }
    steps.finish()
}

fn measure(steps: &mut Steps, plan: Plan, lws: bool, report: &mut Report) {
    let Some(cores) = report.cores else { return };
    let subjects = subjects::all(lws);
    for subject in subjects.iter().filter(|subject| subject.is_ours()) {
        found_in(steps, plan, cores, subject, report);
    }
    for row in cost::ROWS {
        steps.step(row.name, || {
            let costs = cost::row(&row, plan, cores, &subjects)?;
            let note = cost::line(&costs);
            report.costs.push((row, costs));
            Ok(Outcome::Passed(note))
        });
    }
    steps.step("system calls", || {
        report.calls = cost::calls(cores, &subjects)?;
        let each = report.calls.iter().map(|(name, each)| format!("{name} {each:.2}"));
        Ok(Outcome::Passed(each.collect::<Vec<_>>().join(", ")))
    });
    if let Some(window) = subjects::window() {
        steps.step("frames of GTK 4 under flood", || {
            let (alone, flooded) = found::frames(cores, &window, plan.flood)?;
            report.frames = Some((alone, flooded));
            Ok(Outcome::Passed(format!("{flooded:.0} a second; {alone:.0} without clients")))
        });
    }
    steps.step("results", || report.write(plan.quick));
    steps.step("aims", || report.aims());
}

/// Everything but the cost, for one host.
fn found_in(steps: &mut Steps, plan: Plan, cores: Cores, subject: &Subject, report: &mut Report) {
    let mut found = Found { name: subject.name, ..Found::default() };
    let step = |what: &str| format!("{what} in {}", subject.name);
    steps.step(&step("short timers"), || found.timers(cores, subject));
    steps.step(&step("idle"), || found.idle(cores, subject, plan.idle));
    if subject.has_host {
        steps.step(&step("alone, with guest, alone"), || found.steady(cores, subject, plan.steady));
        steps.step(&step("flood"), || found.flood(cores, subject, plan.flood));
    }
    report.found.push(found);
}

/// Builds the program with many loops; GLib's and libuv's are in it where the libraries are. What Node
/// and Python load is built apart, without these.
fn build() -> Res<Outcome> {
    let mut args = vec!["build", "--release", "--locked", "-p", "lodger-bench-hosts"];
    for (library, feature) in [("glib-2.0", "glib"), ("libuv", "libuv")] {
        if subjects::has(library) {
            args.extend(["--features", feature]);
        }
    }
    sh::run(1800, "cargo", &args)?;
    for package in ["lodger-bench-node", "lodger-bench-python"] {
        sh::run(1800, "cargo", &["build", "--release", "--locked", "-p", package])?;
    }
    if subjects::window().is_some() {
        sh::run(1800, "cargo", &["build", "--release", "--locked", "-p", "lodger-bench-gtk"])?;
    }
    Ok(Outcome::Passed(String::new()))
}

/// Builds the echo by libwebsockets, alone and in GLib and libuv.
fn build_lws() -> Res<Outcome> {
    const PACKAGES: [&str; 3] = ["libwebsockets", "glib-2.0", "libuv"];
    let debian = "libwebsockets-dev, libwebsockets-evlib-glib, libwebsockets-evlib-uv";
    let flags = match sh::run(20, "pkg-config", &[&["--cflags", "--libs"][..], &PACKAGES].concat())
    {
        Ok(output) => sh::text(&output.stdout),
        Err(_) => return Ok(Outcome::Skipped(format!("install {debian}"))),
    };
    std::fs::create_dir_all(sh::target("hosts"))?;
    let program = subjects::lws_program().to_string_lossy().into_owned();
    let mut args = vec!["-O2", "-o", &program, "benches/hosts/lws-echo.c"];
    args.extend(flags.split_whitespace());
    sh::run(120, "cc", &args)?;
    Ok(Outcome::Passed(String::new()))
}
