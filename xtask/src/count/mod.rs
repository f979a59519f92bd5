//! `cargo xtask count`: what the release program costs, counted over real sockets and asserted.
//!
//! Counts, not times: allocations, system calls, wakeups, bytes, instructions. The one time is the
//! processor's for opening connections, as a ratio of two windows of the same run.

mod alloc;
mod calls;
mod idle;
mod instructions;
mod memory;
mod tls;

pub(crate) use calls::each as calls;
pub(crate) use instructions::{each as instructions, profile, profile_hpack};

use std::process::ExitCode;
use std::time::Duration;

use crate::load::Kind;
use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

/// Connections that are driven together.
const PEERS: usize = 32;
/// Messages before anything is counted.
const WARM: usize = 10_000;
/// Messages that are counted.
const COUNTED: usize = 10_000;
/// Descriptors for 9,000 connections, in this program and in the one that it starts.
const DESCRIPTORS: u32 = 20_000;

/// How long to look at an idle program.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    idle: Duration,
}

impl Plan {
    /// What `cargo xtask test` uses.
    pub(crate) fn quick() -> Self {
        Self { idle: Duration::from_secs(1) }
    }

    /// Reads the flags.
    pub(crate) fn parse(flags: &[&str]) -> Option<Self> {
        match flags {
            [] | ["--quick"] => Some(Self::quick()),
            ["--long"] => Some(Self { idle: Duration::from_secs(5) }),
            _ => None,
        }
    }
}

/// `cargo xtask count`.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let mut all = Steps::new(false);
    if all.step("release build", || sh::build_release().map(|()| Outcome::Passed(String::new()))) {
        steps(&mut all, plan);
    }
    all.finish()
}

/// Runs every count as a step.
pub(crate) fn steps(steps: &mut Steps, plan: Plan) {
    for (kind, name) in [(Kind::WsEcho, "ws echo 20 B"), (Kind::Plaintext, "GET /plaintext")] {
        steps.step(&format!("count: allocations, {name}"), || alloc::count(kind));
        steps.step(&format!("count: system calls, {name}"), || calls::count(kind));
        steps.step(&format!("count: instructions, {name}"), || instructions::count(kind));
    }
    steps.step("count: sends for 16 requests in one read", calls::pipelined);
    steps.step("count: wakeups while idle", || idle::count(plan.idle));
    steps.step("count: memory of idle connections", memory::count);
    steps.step("count: allocations, ws echo over TLS", tls::allocations);
    steps.step("count: memory of idle connections over TLS", tls::idle_memory);
}

/// Passes if `figure` is at most `limit`; the note says both either way.
fn at_most(figure: f64, limit: f64, note: &str) -> Res<Outcome> {
    let note = format!("{note} (at most {limit})");
    if figure <= limit { Ok(Outcome::Passed(note)) } else { Err(note.into()) }
}
