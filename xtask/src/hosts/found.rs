//! What one host shows: its timer, the guest's timers, wakeups, descriptors.

use std::time::Duration;

use super::subjects::Subject;
use crate::Res;
use crate::bench::Cores;
use crate::load::{BINARY, Exchange, Load};
use crate::server::{self, Server};
use crate::steps::Outcome;

/// How often what a busy machine can spoil is tried at most; the best counts.
const TRIES: usize = 5;
/// How late a timer of 250 µs may be, in microseconds, of the median.
const LATE: f64 = 60.0;
/// Frames a second at least, below which a window stutters.
const FRAMES: f64 = 30.0;
/// Nearly as many as there are: it is not tried again.
const ALL_FRAMES: f64 = 55.0;
/// Of the host's timer in a flood, in microseconds: late at most, of 99 in 100 ticks.
const HELD_UP: f64 = 3_000.0;

/// The figures of one host; what was not found is empty.
#[derive(Default)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) timers: String,
    pub(super) idle: String,
    pub(super) steady: String,
    pub(super) flood: String,
}

impl Found {
    /// 250 µs, again and again: none early, and late by little.
    pub(super) fn timers(&mut self, cores: Cores, subject: &Subject) -> Res<Outcome> {
        let best = best_of(LATE, || {
            let ended = server::run(&mut subject.command(cores, &["timers", "20"]), LIMIT)?;
            let figures = Figures(ended.well()?.stderr);
            if figures.get("early")? > 0.0 {
                return Err(format!("timers were early: {}", figures.0).into());
            }
            Ok((figures.get("p50")?, figures))
        })?;
        let (median, figures) = best;
        self.timers = format!("{median:.0} · {:.0}", figures.get("p90")?);
        at_most(median, LATE, format!("late by {median:.0} us, and none early"))
    }

    /// Nothing to do: no turn.
    pub(super) fn idle(&mut self, cores: Cores, subject: &Subject, seconds: u32) -> Res<Outcome> {
        let seconds = seconds.to_string();
        let ended = server::run(&mut subject.command(cores, &["idle", &seconds]), LIMIT)?;
        let figures = Figures(ended.well()?.stderr);
        let mut wakeups = figures.get("wakeups")?;
        if !subject.has_host {
            // Of its own loop each tick of the script's timer is one, four a second.
            wakeups = (wakeups - seconds.parse::<f64>()? * 4.0).max(0.0);
        }
        self.idle = format!("{wakeups:.0}");
        at_most(wakeups, 0.0, format!("{wakeups:.0} wakeups in {seconds} s"))
    }

    /// Alone, with the guest under a moderate load, alone: as many ticks, none of them missed, and
    /// as many descriptors.
    pub(super) fn steady(&mut self, cores: Cores, subject: &Subject, seconds: u32) -> Res<Outcome> {
        let (slips, figures) = best_of(0.0, || {
            let mut command = subject.command(cores, &["steady", &seconds.to_string()]);
            let mut server = Server::spawn(&mut command)?;
            let mut load = Load::with(exchange(1), server.port(), 10)?;
            load.run_for(Duration::from_secs(seconds.into()) * 3 / 10)?;
            drop(load);
            let figures = Figures(server.wait(LIMIT)?.well()?.stderr);
            if figures.get("fds_before")? != figures.get("fds_after")? {
                return Err(format!("descriptors are left: {}", figures.0).into());
            }
            if figures.get("handles_before")? != figures.get("handles_after")? {
                return Err(format!("handles are left: {}", figures.0).into());
            }
            let alone = figures.get("slips_before")?.max(figures.get("slips_after")?);
            Ok(((figures.get("slips_with")? - 2.0 * alone).max(0.0), figures))
        })?;
        self.steady = format!(
            "{} · {} · {}",
            figures.get("slips_before")?,
            figures.get("slips_with")?,
            figures.get("slips_after")?
        );
        let note = format!(
            "ticks missed: {} of {}, {}, {}; descriptors: {}, handles: {}, before and after",
            self.steady,
            figures.get("ticks_before")?,
            figures.get("ticks_with")?,
            figures.get("ticks_after")?,
            figures.get("fds_before")?,
            figures.get("handles_before")?
        );
        at_most(slips, 0.0, note)
    }

    /// Six clients send as fast as they can, and the host has a tick a millisecond.
    pub(super) fn flood(&mut self, cores: Cores, subject: &Subject, seconds: u32) -> Res<Outcome> {
        let (late, figures) = best_of(HELD_UP, || {
            let mut command = subject.command(cores, &["flood", &seconds.to_string()]);
            let mut server = Server::spawn(&mut command)?;
            let mut load = Load::with(exchange(16), server.port(), 6)?;
            load.run_for(Duration::from_secs(seconds.into()) * 8 / 10)?;
            drop(load);
            let figures = Figures(server.wait(LIMIT)?.well()?.stderr);
            Ok((figures.get("p99")?, figures))
        })?;
        let busy = figures.get("cpu_p99")?;
        let late_at = |name: &str| figures.get(name).map(|micros| micros / 1e3);
        self.flood = format!("{:.1} · {:.1} · {:.1}", late_at("p50")?, late / 1e3, busy / 1e3);
        let note = format!("late, late of 99 in 100, busy between ticks, in ms: {}", self.flood);
        at_most(late, HELD_UP, note)
    }
}

/// How many frames a second GTK draws while six clients send as fast as they can, and without them.
pub(super) fn frames(cores: Cores, subject: &Subject, seconds: u32) -> Res<(f64, f64)> {
    let (still, flooded) =
        (drawn(cores, subject, seconds, false)?, drawn(cores, subject, seconds, true)?);
    if flooded < FRAMES {
        return Err(format!("{flooded:.0} frames a second under load: too few").into());
    }
    Ok((still, flooded))
}

/// Frames a second, of a few runs the best.
fn drawn(cores: Cores, subject: &Subject, seconds: u32, flooded: bool) -> Res<f64> {
    let mut best = 0.0_f64;
    for _ in 0..TRIES {
        let mut server =
            Server::spawn(&mut subject.command(cores, &["flood", &seconds.to_string()]))?;
        if flooded {
            let mut load = Load::with(exchange(16), server.port(), 6)?;
            load.run_for(Duration::from_secs(seconds.into()) * 8 / 10)?;
        }
        best = best.max(Figures(server.wait(LIMIT)?.well()?.stderr).get("frames")?);
        if best >= ALL_FRAMES {
            break;
        }
    }
    Ok(best)
}

/// More than any run takes.
const LIMIT: Duration = Duration::from_secs(60);

/// 64 bytes, so many at once on each connection.
pub(super) fn exchange(depth: usize) -> Exchange {
    Exchange::echo(BINARY, &[b'w'; 64]).deep(depth)
}

/// Runs it a few times, until it is good enough.
fn best_of(enough: f64, mut run: impl FnMut() -> Res<(f64, Figures)>) -> Res<(f64, Figures)> {
    let mut best: Option<(f64, Figures)> = None;
    for _ in 0..TRIES {
        let next = run()?;
        if best.as_ref().is_none_or(|(least, _)| next.0 < *least) {
            best = Some(next);
        }
        if best.as_ref().is_some_and(|(least, _)| *least <= enough) {
            break;
        }
    }
    best.ok_or_else(|| "nothing was run".into())
}

fn at_most(figure: f64, limit: f64, note: String) -> Res<Outcome> {
    if figure <= limit {
        Ok(Outcome::Passed(note))
    } else {
        Err(format!("{note}: too much").into())
    }
}

/// Words of the form `NAME=NUMBER`.
struct Figures(String);

impl Figures {
    fn get(&self, name: &str) -> Res<f64> {
        let mut words = self.0.split_whitespace().filter_map(|word| word.split_once('='));
        let found = words.find(|(word, _)| *word == name).and_then(|(_, n)| n.parse().ok());
        found.ok_or_else(|| format!("no {name} in {:?}", self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_names() {
        let figures = Figures("early=0 p50=17 p99=-3\n".into());

        assert_eq!(figures.get("p50").unwrap(), 17.0);
        assert_eq!(figures.get("p99").unwrap(), -3.0);
        assert!(figures.get("max").is_err());
    }

    #[test]
    fn the_best_counts_and_what_is_good_is_not_tried_again() {
        let of = |runs: [f64; 5], enough| {
            let mut runs = runs.into_iter();
            best_of(enough, || Ok((runs.next().unwrap(), Figures(String::new())))).unwrap().0
        };

        assert_eq!(of([3.0, 1.0, 2.0, 4.0, 5.0], 0.5), 1.0);
        assert_eq!(of([3.0, 1.0, 0.0, 4.0, 5.0], 1.0), 1.0);
    }
}
