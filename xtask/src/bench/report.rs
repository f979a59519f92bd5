//! Writes the results: a page with tables, and a chart.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::cores::Cores;
use super::measure::Cost;
use super::rows::{Row, Server};
use super::timers::Timer;
use super::{chart, tls};
use crate::proc::Steal;
use crate::steps::Outcome;
use crate::{Res, sh};

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Report {
    pub(super) cores: Option<Cores>,
    /// On what, and how long.
    pub(super) machine: String,
    pub(super) since: Option<Steal>,
    /// User instructions of the floor, by row.
    pub(super) floor: Vec<(&'static str, f64)>,
    pub(super) timers: Vec<Timer>,
    pub(super) rows: Vec<(Row, Vec<Cost>)>,
}

impl Report {
    /// Writes `RESULTS.md` and `results.svg` into `folder`.
    pub(super) fn write(&self, folder: &Path) -> Res<Outcome> {
        if self.rows.is_empty() {
            return Err("no row was measured".into());
        }
        std::fs::create_dir_all(folder)?;
        let path = folder.join("RESULTS.md");
        // What `cargo xtask bench h2`, `bench tls`, `mqtt bench` and `hosts` wrote stays.
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let headings = [H2_HEADING, tls::HEADING, MQTT_HEADING, HOSTS_HEADING];
        let kept = headings.iter().filter_map(|heading| old.find(heading)).min();
        let hosts = kept.and_then(|at| old.get(at..)).unwrap_or_default();
        let space = if hosts.is_empty() { "" } else { "\n" };
        std::fs::write(&path, format!("{}{space}{hosts}", self.page()?))?;
        std::fs::write(folder.join("results.svg"), chart::draw(&self.rows)?)?;
        Ok(Outcome::Passed(folder.join("RESULTS.md").display().to_string()))
    }

    fn page(&self) -> Res<String> {
        let mut page = String::from(INTRODUCTION);
        let stolen = self.since.map_or(Ok(0.0), Steal::percent_since)?;
        let machine = &self.machine;
        writeln!(page, "{machine}\nOther machines had {stolen:.0} % of the processors' time.\n")?;
        self.costs(&mut page)?;
        self.rates(&mut page)?;
        self.of_files(&mut page)?;
        self.of_timers(&mut page)?;
        self.of_floor(&mut page)?;
        Ok(page)
    }

    fn costs(&self, page: &mut String) -> Res {
        page.push_str(COSTS);
        self.table(page, &MESSAGES, "aim", figure)
    }

    fn of_files(&self, page: &mut String) -> Res {
        page.push_str(FILES);
        self.table(page, &FILE_SERVERS, "aim", figure)
    }

    fn rates(&self, page: &mut String) -> Res {
        page.push_str(RATES);
        self.table(page, &MESSAGES, "", |_, cost, _| format!("{:.1}", cost.rate / 1000.0))
    }

    /// Writes a table with a column for each of `servers`, and the rows that any of them is the base
    /// of. `aim`: the heading of the column for what
    /// lodger aims at, or empty for no such column.
    fn table(
        &self,
        page: &mut String,
        servers: &[Server],
        aim: &str,
        cell: impl Fn(&Row, &Cost, f64) -> String,
    ) -> Res {
        let aims = !aim.is_empty();
        let mut head = String::from("| load |");
        for server in servers {
            write!(head, " {} |", server.name())?;
        }
        if aims {
            write!(head, " {aim} |")?;
        }
        let columns = servers.len() + usize::from(aims);
        writeln!(page, "{head}\n| --- |{}", " ---: |".repeat(columns))?;
        let rows = self.rows.iter().filter(|(row, _)| servers.contains(&row.protocol.base()));
        for (row, costs) in rows {
            write!(page, "| {} |", row.name)?;
            for server in servers {
                let cost = costs.iter().find(|cost| cost.who == *server);
                let text = cost.map(|cost| cell(row, cost, base_of(row, costs)));
                write!(page, " {} |", text.unwrap_or_default())?;
            }
            if aims {
                write!(page, " {} |", row.aim.map(|aim| format!("{aim}x")).unwrap_or_default())?;
            }
            page.push('\n');
        }
        page.push('\n');
        Ok(())
    }

    fn of_timers(&self, page: &mut String) -> Res {
        page.push_str(TIMERS);
        for timer in &self.timers {
            let (aim, ratio) = (timer.aim(), timer.ratio());
            let over = if aim.is_some_and(|aim| ratio > aim) { " over" } else { "" };
            let aim = aim.map(|aim| format!("{aim}x")).unwrap_or_default();
            let Timer { name, sul, map } = timer;
            writeln!(page, "| {name} | {sul:.1} | {map:.1} | {ratio:.2}x{over} | {aim} |")?;
        }
        page.push('\n');
        Ok(())
    }

    fn of_floor(&self, page: &mut String) -> Res {
        page.push_str(FLOOR);
        for (name, each) in &self.floor {
            writeln!(page, "| {name} | {each:.0} |")?;
        }
        Ok(())
    }
}

/// Who answers messages and small requests, in the order of the columns.
const MESSAGES: [Server; 5] =
    [Server::Floor, Server::Lodger, Server::Hyper, Server::FastWebsockets, Server::Tungstenite];

/// Who serves files.
const FILE_SERVERS: [Server; 2] = [Server::Nginx, Server::Lodger];

/// Gives the cell of a server's cost.
fn figure(row: &Row, cost: &Cost, base: f64) -> String {
    let (least, median) = (cost.least(), cost.median());
    let ratio = least / base;
    let over = cost.who == Server::Lodger && row.aim.is_some_and(|aim| ratio > aim);
    let mark = if over { " over" } else { "" };
    format!("{} · {} ({ratio:.2}x{mark})", digits(least), digits(median))
}

/// Gives one line about a row, for who watches.
pub(super) fn line(row: &Row, costs: &[Cost]) -> String {
    let base = base_of(row, costs);
    let one = |cost: &Cost| {
        let (name, least) = (cost.who.name(), cost.least());
        format!("{name} {} ({:.2}x)", digits(least), least / base)
    };
    let aim = row.aim.map(|aim| format!("; aim {aim}x")).unwrap_or_default();
    costs.iter().map(one).collect::<Vec<_>>().join(", ") + &aim
}

/// Gives the figure that those of a row are compared with.
pub(super) fn base_of(row: &Row, costs: &[Cost]) -> f64 {
    let base = costs.iter().find(|cost| cost.who == row.protocol.base());
    base.map_or(f64::NAN, Cost::least)
}

/// Three significant digits, for figures from 0.1 to 999.
fn digits(micros: f64) -> String {
    match micros {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

/// Says on what, with what, and how long it was measured.
pub(crate) fn machine(rounds: usize, round: Duration) -> Res<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let compiler = sh::text(&sh::run(20, "rustc", &["--version"])?.stdout);
    Ok(format!(
        "Machine: {} processors, {}; Linux {}; {}. {} rounds of {:?}. Load of the machine before: {}.",
        cpus.lines().filter(|line| line.starts_with("processor")).count(),
        model(&cpus).unwrap_or("of an unknown model"),
        kernel.trim(),
        compiler.trim(),
        rounds,
        round,
        load.split_whitespace().next().unwrap_or("unknown"),
    ))
}

fn model(cpus: &str) -> Option<&str> {
    let line = cpus.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, model)| model.trim())
}

/// Where the part about HTTP/2 begins, which is in front of the one about brokers.
pub(super) const H2_HEADING: &str = "## HTTP/2";

/// Where the part about brokers begins, which is in front of the one about hosts.
pub(crate) const MQTT_HEADING: &str = "## MQTT brokers";

/// Where the part about hosts begins, which is to the page's end.
pub(crate) const HOSTS_HEADING: &str = "## In other loops";

const INTRODUCTION: &str = "\
# What an operation costs

Written by `cargo xtask bench`: do not edit. Absolute figures hold for one machine; the ratios are
what to compare.

![the server's processor time, as a multiple of the floor's](results.svg)

";

const COSTS: &str = "\
## Processor time of the server

Microseconds an operation, of the least and of the median round; in brackets the least as a multiple
of the floor's. The floor (`benches/floor`) is one epoll loop that does the same input and output and
nothing else. Server and loader have a processor each, all servers of a row take turns within every
round, and every answer is checked. WebSocket messages are binary; a browser sends twelve fields.
The others run on tokio with one thread and their own defaults, hyper with `pipeline_flush`.

";

const RATES: &str = "\
## Throughput

Thousands of operations a second, of the fastest round. The loader is one thread, and is often what
limits it.

";

const FILES: &str = "\
## Files

As above, for files of a folder; in brackets as a multiple of Debian's nginx, which is one process
with sendfile and its cache of open files.

";

const TIMERS: &str = "\
## Timers

Nanoseconds an operation with 100,000 timers, the least of nine rounds: `lodger::sul` beside
`BTreeMap<(Micros, u32), ()>` with a table of deadlines. A re-arm is to a later time, as traffic
moves an idle timeout, unless it says otherwise.

| operation | sul | map | ratio | aim |
| --- | ---: | ---: | ---: | ---: |
";

const FLOOR: &str = "\
## The floor

User instructions an operation, by callgrind; at most 350, so that a slow floor flatters nobody.

| load | instructions |
| --- | ---: |
";

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;

    fn report() -> Report {
        let row = rows::all().swap_remove(0);
        let cost = |who, micros| {
            let mut cost = Cost::new(who);
            cost.add(micros, 1e6 / micros);
            cost
        };
        let costs = vec![cost(Server::Floor, 5.0), cost(Server::Lodger, 6.0)];
        let timers = vec![Timer { name: "cancel".into(), sul: 10.0, map: 100.0 }];
        Report { rows: vec![(row, costs)], timers, ..Report::default() }
    }

    #[test]
    fn what_misses_its_aim_says_so() {
        let page = report().page().unwrap();

        let row = "| ws echo 64 B, 100 connections | 5.00 · 5.00 (1.00x) | 6.00 · 6.00 (1.20x over) \
                   |  |  |  | 1.05x |";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("| cancel | 10.0 | 100.0 | 0.10x | 0.3x |"), "{page}");
    }

    #[test]
    fn the_chart_has_a_bar_for_each_server() {
        let svg = chart::draw(&report().rows).unwrap();

        assert_eq!(svg.matches("<rect class=\"bar").count(), 2);
        assert!(svg.contains("1.20x") && svg.ends_with("</svg>\n"));
    }
}
