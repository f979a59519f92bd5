//! Measures one row: all servers in turn, round by round.

use std::time::{Duration, Instant};

use super::Plan;
use super::cores::Cores;
use super::rows::{Row, Server as Who};
use crate::load::Load;
use crate::server::Server;
use crate::{Res, proc};

/// What one server showed in the rounds of a row.
pub(super) struct Cost {
    pub(super) who: Who,
    /// Microseconds of the server's processor an operation, one figure a round, in order of size.
    micros: Vec<f64>,
    /// Operations a second in the fastest round.
    pub(super) rate: f64,
}

impl Cost {
    pub(super) fn new(who: Who) -> Self {
        Self { who, micros: Vec::new(), rate: 0.0 }
    }

    /// Gives the figure of the least disturbed round.
    pub(super) fn least(&self) -> f64 {
        self.micros.first().copied().unwrap_or(f64::NAN)
    }

    pub(super) fn median(&self) -> f64 {
        let high = self.micros.get(self.micros.len() / 2).copied().unwrap_or(f64::NAN);
        let low = self.micros.get(self.micros.len().saturating_sub(1) / 2).copied();
        f64::midpoint(low.unwrap_or(f64::NAN), high)
    }

    pub(super) fn add(&mut self, micros: f64, rate: f64) {
        let at = self.micros.partition_point(|other| *other < micros);
        self.micros.insert(at, micros);
        self.rate = self.rate.max(rate);
    }
}

/// A server that runs, with connections to it.
struct Running {
    server: Server,
    load: Load,
    cost: Cost,
}

impl Running {
    fn start(who: Who, row: &Row, cores: Cores) -> Res<Self> {
        let server = who.start(row.protocol, cores)?;
        let load = Load::with(row.exchange.clone(), server.port(), row.peers)?;
        Ok(Self { server, load, cost: Cost::new(who) })
    }

    /// Runs one round. Every request of it is answered before the processor time is read.
    fn round(&mut self, time: Duration) -> Res {
        let (before, began) = (proc::sched(self.server.pid())?, Instant::now());
        let operations = self.load.run_for(time)? as f64;
        let took = began.elapsed();
        let spent = proc::sched(self.server.pid())?.cpu_ns - before.cpu_ns;
        self.cost.add(spent as f64 / 1000.0 / operations, operations / took.as_secs_f64());
        Ok(())
    }
}

/// Measures every server that speaks the row's protocol.
pub(super) fn row(row: &Row, plan: Plan, cores: Cores, peers: bool) -> Res<Vec<Cost>> {
    let who = Who::ALL.into_iter().filter(|who| who.speaks(row.protocol));
    let who = who.filter(|who| who.is_here(peers));
    let mut all = who.map(|who| start(who, row, cores)).collect::<Res<Vec<_>>>()?;
    for running in &mut all {
        running.load.run_for(plan.round / 4).map_err(|error| of(running.cost.who, &*error))?;
    }
    for _ in 0..plan.rounds {
        for running in &mut all {
            running.round(plan.round).map_err(|error| of(running.cost.who, &*error))?;
        }
        // Nobody is always first.
        all.rotate_left(1);
    }
    let mut costs: Vec<Cost> = all.into_iter().map(|running| running.cost).collect();
    costs.sort_by_key(|cost| Who::ALL.iter().position(|who| *who == cost.who));
    Ok(costs)
}

fn start(who: Who, row: &Row, cores: Cores) -> Res<Running> {
    Running::start(who, row, cores).map_err(|error| of(who, &*error))
}

fn of(who: Who, error: &dyn std::error::Error) -> Box<dyn std::error::Error> {
    format!("{}: {error}", who.name()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut cost = Cost::new(Who::Floor);

        for (micros, rate) in [(3.0, 5.0), (1.0, 9.0), (8.0, 2.0)] {
            cost.add(micros, rate);
        }

        assert_eq!((cost.least(), cost.median(), cost.rate), (1.0, 3.0, 9.0));
        cost.add(5.0, 1.0);
        assert_eq!(cost.median(), 4.0);
    }
}
