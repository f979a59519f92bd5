//! The probe: a timer that notes how late it runs, and so how long the loop kept others waiting.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use crate::Micros;

/// Microseconds from one run to the next.
const STEP: u64 = 20_000;
/// How often the loop is asked whether it is there.
pub(super) const EVERY: Duration = Duration::from_micros(STEP);
/// Bars remembered: what a viewer that lost frames can still be shown.
const BARS: usize = 16;

/// How late the probe was, at worst, between one look at it and the next.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// When it is to run next.
    due: Cell<Micros>,
    worst: Cell<Duration>,
    /// How many bars there were in all.
    bars: Cell<u64>,
    last: RefCell<[Duration; BARS]>,
}

impl Probe {
    /// Begins, with a timer that runs every [`EVERY`] from `now`.
    pub(super) fn begin(&self, now: Micros) {
        self.due.set(now + EVERY);
        self.worst.set(Duration::ZERO);
    }

    /// Notes that its timer runs.
    pub(super) fn ran(&self, now: Micros) {
        let late = now - self.due.get();
        self.worst.set(self.worst.get().max(late));
        // What was missed is skipped, as the timer itself does.
        let missed = now.get().saturating_sub(self.due.get().get()) / STEP;
        let ahead = Duration::from_micros(missed.saturating_add(1).saturating_mul(STEP));
        self.due.set(self.due.get() + ahead);
    }

    /// Ends a bar. A probe that is overdue counts though it has not run yet.
    pub(super) fn bar(&self, now: Micros) {
        let worst = self.worst.replace(Duration::ZERO).max(now - self.due.get());
        let mut last = self.last.borrow_mut();
        last.rotate_left(1);
        if let Some(newest) = last.last_mut() {
            *newest = worst;
        }
        self.bars.set(self.bars.get() + 1);
    }

    /// Gives how many bars there were, and the newest of them, the oldest first.
    pub(super) fn bars(&self, f: impl FnMut(Duration)) -> u64 {
        let (all, last) = (self.bars.get(), self.last.borrow());
        let known = usize::try_from(all).map_or(BARS, |n| n.min(BARS));
        last.iter().skip(BARS - known).copied().for_each(f);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn at(ms: u64) -> Micros {
        Micros::new(ms * 1000)
    }

    fn bars(probe: &Probe) -> (u64, Vec<u128>) {
        let mut all = Vec::new();
        let n = probe.bars(|d| all.push(d.as_millis()));
        (n, all)
    }

    #[test]
    fn a_bar_is_the_worst_since_the_last_one() {
        let probe = Probe::default();
        probe.begin(at(0));

        probe.ran(at(20));
        probe.ran(at(47));
        probe.ran(at(61));
        probe.bar(at(70));
        probe.bar(at(75));

        assert_eq!(bars(&probe), (2, [7, 0].to_vec()));
    }

    /// The timer skips what it missed, and the probe reckons with that.
    #[test]
    fn after_a_stall_it_is_on_time_again() {
        let probe = Probe::default();
        probe.begin(at(0));

        probe.bar(at(15));
        probe.ran(at(215));
        probe.bar(at(216));
        probe.ran(at(220));
        probe.ran(at(240));
        probe.bar(at(250));

        assert_eq!(bars(&probe), (3, [0, 195, 0].to_vec()));
    }

    #[test]
    fn an_overdue_probe_counts_before_it_has_run() {
        let probe = Probe::default();
        probe.begin(at(0));

        probe.bar(at(150));

        assert_eq!(bars(&probe), (1, [130].to_vec()));
    }

    #[test]
    fn only_the_newest_bars_are_kept() {
        let probe = Probe::default();
        probe.begin(at(0));

        (0..40).for_each(|n| probe.bar(at(20 + n)));

        let (n, all) = bars(&probe);
        assert_eq!((n, all.len(), all[0], all[15]), (40, 16, 24, 39));
    }
}
