//! Processor time and system calls a message, all hosts in turn, round by round.

use std::net::TcpStream;
use std::time::Duration;

use super::Plan;
use super::found::exchange;
use super::subjects::Subject;
use crate::bench::Cores;
use crate::load::{self, Load};
use crate::server::Server;
use crate::{Res, count, proc};

/// A kind of load: messages of 64 bytes, one in flight on each busy connection.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    busy: usize,
    idle: usize,
}

pub(super) const ROWS: [Row; 4] = [
    Row { name: "1 connection", busy: 1, idle: 0 },
    Row { name: "100 connections", busy: 100, idle: 0 },
    Row { name: "1,000 connections", busy: 1000, idle: 0 },
    Row { name: "10 busy of 1,000", busy: 10, idle: 990 },
];

/// What many connections may cost in a host, as a multiple of the guest's own loop.
const OF_MANY: f64 = 1.1;
/// System calls a message at most, with 100 connections.
pub(super) const CALLS: f64 = 2.2;

impl Row {
    /// What it may cost in a host, as a multiple of the guest's own loop.
    pub(super) fn aim(&self, subject: &Cost) -> f64 {
        let of = |of_one| if self.busy + self.idle < 100 { of_one } else { OF_MANY };
        subject.aim_of_one.map_or(f64::INFINITY, of)
    }
}

/// What one server showed in the rounds of a row.
pub(super) struct Cost {
    pub(super) name: &'static str,
    aim_of_one: Option<f64>,
    /// Microseconds a message, of the least disturbed round.
    pub(super) least: f64,
}

impl Cost {
    /// There is a guest of ours.
    pub(super) const fn is_ours(&self) -> bool {
        self.aim_of_one.is_some()
    }
}

struct Running {
    server: Server,
    load: Load,
    _idle: Vec<TcpStream>,
    cost: Cost,
}

impl Running {
    fn start(row: &Row, cores: Cores, subject: &Subject) -> Res<Self> {
        let server = Server::spawn(&mut subject.command(cores, &["serve"]))?;
        let idle = (0..row.idle).map(|_| load::websocket(server.port())).collect::<Res<_>>()?;
        let load = Load::with(exchange(1), server.port(), row.busy)?;
        let Subject { name, aim_of_one, .. } = *subject;
        let cost = Cost { name, aim_of_one, least: f64::INFINITY };
        Ok(Self { server, load, _idle: idle, cost })
    }

    /// Runs one round. Every message of it is answered before the processor time is read.
    fn round(&mut self, time: Duration) -> Res {
        let before = proc::sched(self.server.pid())?;
        let messages = self.load.run_for(time)? as f64;
        let spent = proc::sched(self.server.pid())?.cpu_ns - before.cpu_ns;
        self.cost.least = self.cost.least.min(spent as f64 / 1000.0 / messages);
        Ok(())
    }
}

/// Measures all hosts: within a round they take turns, so that what disturbs the machine disturbs
/// all of them.
pub(super) fn row(row: &Row, plan: Plan, cores: Cores, subjects: &[Subject]) -> Res<Vec<Cost>> {
    let start = |subject| {
        let mut running = Running::start(row, cores, subject)?;
        running.load.run_for(plan.round / 4)?;
        Ok(running)
    };
    let named = |subject: &Subject, error: Box<dyn std::error::Error>| {
        Box::<dyn std::error::Error>::from(format!("{}: {error}", subject.name))
    };
    let mut all = subjects
        .iter()
        .map(|subject| start(subject).map_err(|error| named(subject, error)))
        .collect::<Res<Vec<_>>>()?;
    for _ in 0..plan.rounds {
        all.iter_mut().try_for_each(|running| running.round(plan.round))?;
    }
    Ok(all.into_iter().map(|running| running.cost).collect())
}

/// Counts system calls a message with 100 connections, of the best of three windows: how many
/// messages one wait brings depends on what else the machine does.
pub(super) fn calls(cores: Cores, subjects: &[Subject]) -> Res<Vec<(&'static str, f64)>> {
    let mut all = Vec::new();
    for subject in subjects {
        let server = Server::spawn(&mut subject.command(cores, &["traced"]))?;
        let mut load = Load::with(exchange(1), server.port(), 100)?;
        load.run(2_000)?;
        let enough = if subject.is_ours() { CALLS } else { f64::MAX };
        if let Some(each) = count::calls(server.pid(), &mut load, 5_000, enough)? {
            all.push((subject.name, each));
        }
    }
    Ok(all)
}

/// Gives one line about a row, for who watches.
pub(super) fn line(costs: &[Cost]) -> String {
    let one =
        |cost: &Cost| format!("{} {:.2} ({:.2}x)", cost.name, cost.least, cost.least / base(costs));
    costs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The figure of the guest's own loop, which is always measured.
pub(super) fn base(costs: &[Cost]) -> f64 {
    costs.first().map_or(f64::NAN, |cost| cost.least)
}
