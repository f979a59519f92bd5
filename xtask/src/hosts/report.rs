//! Writes what was found into `benches/RESULTS.md`, behind what `cargo xtask bench` wrote.

use std::fmt::Write;

use super::cost::{CALLS, Cost, ROWS, Row, base};
use super::found::Found;
use super::{DESCRIPTORS, Plan};
use crate::bench::{Cores, HOSTS_HEADING, machine};
use crate::proc::Steal;
use crate::steps::Outcome;
use crate::{Res, sh};

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Report {
    pub(super) cores: Option<Cores>,
    machine: String,
    since: Option<Steal>,
    pub(super) found: Vec<Found>,
    pub(super) costs: Vec<(Row, Vec<Cost>)>,
    pub(super) calls: Vec<(&'static str, f64)>,
    /// Of GTK, a second: without clients, and in a flood.
    pub(super) frames: Option<(f64, f64)>,
}

impl Report {
    /// Takes the processors, and writes down what machine this is.
    pub(super) fn begin(&mut self, plan: Plan) -> Res<Outcome> {
        sh::allow_descriptors(DESCRIPTORS)?;
        self.machine = machine(plan.rounds, plan.round)?;
        self.since = Some(Steal::so_far()?);
        self.cores = Some(Cores::take()?);
        Ok(Outcome::Passed(self.machine.clone()))
    }

    /// Writes the results. A quick run says that everything works, and its figures are none, so
    /// they stay out of the tree.
    pub(super) fn write(&self, quick: bool) -> Res<Outcome> {
        let section = self.section()?;
        if quick {
            std::fs::write(sh::target("hosts/RESULTS.md"), section)?;
            return Ok(Outcome::Passed(sh::target("hosts/RESULTS.md").display().to_string()));
        }
        let path = sh::root().join("benches/RESULTS.md");
        let page = std::fs::read_to_string(&path)?;
        let before = page.find(HOSTS_HEADING).and_then(|at| page.get(..at)).unwrap_or(&page);
        std::fs::write(&path, format!("{}\n\n{section}", before.trim_end()))?;
        self.write_readme()?;
        Ok(Outcome::Passed(path.display().to_string()))
    }

    /// Puts the table of costs between its marks in the README.
    fn write_readme(&self) -> Res {
        let path = sh::root().join("README.md");
        let page = std::fs::read_to_string(&path)?;
        let (before, rest) = page.split_once(BEGIN).ok_or("the README has no place for it")?;
        let (_, after) = rest.split_once(END).ok_or("the README's place has no end")?;
        let mut table = String::new();
        self.costs_of(&mut table)?;
        std::fs::write(&path, format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim_end()))?;
        Ok(())
    }

    /// Fails if a figure of ours is above what it may be.
    pub(super) fn aims(&self) -> Res<Outcome> {
        let mut over = Vec::new();
        for (row, costs) in &self.costs {
            let ratios = costs.iter().map(|cost| (cost, cost.least / base(costs)));
            for (cost, ratio) in ratios.filter(|(cost, ratio)| *ratio > row.aim(cost)) {
                over.push(format!("{} in {}: {ratio:.2}x", row.name, cost.name));
            }
        }
        let costs = self.costs.iter().flat_map(|(_, costs)| costs);
        let ours: Vec<_> = costs.filter(|cost| cost.is_ours()).map(|cost| cost.name).collect();
        let ours = self.calls.iter().filter(|(name, _)| ours.contains(name));
        for (name, each) in ours.filter(|(_, each)| *each > CALLS) {
            over.push(format!("{each:.2} system calls a message in {name}"));
        }
        if over.is_empty() {
            Ok(Outcome::Passed(String::new()))
        } else {
            Err(over.join(", ").into())
        }
    }

    fn section(&self) -> Res<String> {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split_whitespace().next().unwrap_or("unknown");
        let stolen = self.since.map_or(Ok(0.0), Steal::percent_since)?;
        let machine = format!(
            "{} Afterwards: {load}.\nOther machines had {stolen:.0} % of the processors' time.",
            self.machine
        );
        let mut page = format!("{HOSTS_HEADING}\n\n{INTRODUCTION}\n{machine}\n\n");
        self.costs_of(&mut page)?;
        page.push_str(FOUND);
        for found in &self.found {
            let Found { name, timers, idle, steady, flood } = found;
            writeln!(page, "| {name} | {timers} | {idle} | {steady} | {flood} |")?;
        }
        if let Some((alone, flooded)) = self.frames {
            writeln!(
                page,
                "\nA window of GTK 4 that draws each frame draws {flooded:.0} a second in the same \
                 flood, {alone:.0} without it. The\nguest's priority is below that of GTK's drawing."
            )?;
        }
        Ok(page)
    }

    fn costs_of(&self, page: &mut String) -> Res {
        write!(page, "| loop |")?;
        ROWS.iter().try_for_each(|row| write!(page, " {} |", row.name))?;
        writeln!(page, " calls |\n| --- |{}", " ---: |".repeat(ROWS.len() + 1))?;
        let Some((_, first)) = self.costs.first() else { return Ok(()) };
        for name in first.iter().map(|cost| cost.name) {
            write!(page, "| {name} |")?;
            for row in ROWS {
                let costs = self.costs.iter().find(|(other, _)| other.name == row.name);
                let cell = costs.and_then(|(_, costs)| {
                    let cost = costs.iter().find(|cost| cost.name == name)?;
                    Some(format!("{:.2} ({:.2}x)", cost.least, cost.least / base(costs)))
                });
                write!(page, " {} |", cell.unwrap_or_default())?;
            }
            let calls = self.calls.iter().find(|(other, _)| *other == name);
            writeln!(page, " {} |", calls.map(|(_, n)| format!("{n:.2}")).unwrap_or_default())?;
        }
        page.push('\n');
        Ok(())
    }
}

const BEGIN: &str = "<!-- written by `cargo xtask hosts` -->";
const END: &str = "<!-- end -->";

const INTRODUCTION: &str = "\
Written by `cargo xtask hosts`. The same guest in each loop, by its adaptor; in brackets as a multiple
of the guest's own loop. Microseconds of the server's processor for a WebSocket message of 64 bytes,
echoed, of the least disturbed round; system calls for one with 100 connections, by strace. Each host has a 10 ms
timer of its own; all take turns within every round, and server and loader have a processor each.
libwebsockets is Debian's, with one message in flight on each connection as for the others. `asyncio
alone` has no guest: a recv and a send in Python for each message, without WebSocket.
";

const FOUND: &str = "\
How late a timer of 250 µs is, in microseconds (median · 90 of 100); turns of a guest that has nothing
to do; ticks of the host's 10 ms timer that came a whole period late (before the guest came · with it
· after it had gone), with as many descriptors and handles of libuv's afterwards as before; how late the host's 1 ms timer is
while six clients send as fast as they can, in milliseconds (median · 99 of 100), and for how long its
thread was busy between two ticks (99 of 100). Where another process had the processor, that is not
counted as late, so that a busy machine says the same. Of up to five runs the best.

| loop | 250 µs timers | idle | ticks missed | flood |
| --- | ---: | ---: | ---: | ---: |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_loop() {
        let found = Found { name: "GLib", timers: "21 · 30".into(), ..Found::default() };
        let report = Report { found: vec![found], ..Report::default() };

        let section = report.section().unwrap();

        assert!(section.starts_with(HOSTS_HEADING));
        assert!(section.ends_with("| GLib | 21 · 30 |  |  |  |\n"), "{section}");
    }
}
