//! The scheduler beside `BTreeMap<(Micros, u32), ()>`, with 100,000 timers.
//!
//! Prints one line an operation: its name, then nanoseconds of `lodger::sul` and of the map, the
//! least of nine interleaved rounds. Both answer the same question, "what is due next", exactly.
//! The map needs a table of deadlines beside it, since its key cannot be found without.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that prints its figures")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use lodger::Micros;
use lodger::sul::{Handle, Sched, Slack};

const TIMERS: u32 = 100_000;
const ROUNDS: u64 = 9;
/// Deadlines are spread over this many microseconds.
const SPAN: u64 = 60_000_000;

/// What both can do. A timer is a number below [`TIMERS`].
trait Timers {
    /// Makes all timers, not armed.
    fn new() -> Self;
    /// Arms a timer, or moves it.
    fn arm(&mut self, timer: u32, at: Micros);
    /// Disarms a timer.
    fn cancel(&mut self, timer: u32);
    /// Gives the next deadline.
    fn next(&mut self) -> Option<Micros>;
}

struct Sul {
    sched: Sched<u32>,
    handles: Vec<Handle>,
}

impl Timers for Sul {
    fn new() -> Self {
        let mut sched = Sched::new();
        let handles = (0..TIMERS).map(|timer| sched.add(timer)).collect();
        Self { sched, handles }
    }

    fn arm(&mut self, timer: u32, at: Micros) {
        if let Some(handle) = self.handles.get(timer as usize) {
            self.sched.arm(*handle, at, Slack::Precise, Micros::ZERO);
        }
    }

    fn cancel(&mut self, timer: u32) {
        if let Some(handle) = self.handles.get(timer as usize) {
            self.sched.cancel(*handle);
        }
    }

    fn next(&mut self) -> Option<Micros> {
        self.sched.next()
    }
}

struct Tree {
    map: BTreeMap<(Micros, u32), ()>,
    deadlines: Vec<Option<Micros>>,
}

impl Timers for Tree {
    fn new() -> Self {
        Self { map: BTreeMap::new(), deadlines: vec![None; TIMERS as usize] }
    }

    fn arm(&mut self, timer: u32, at: Micros) {
        let Some(deadline) = self.deadlines.get_mut(timer as usize) else { return };
        if let Some(before) = deadline.replace(at) {
            self.map.remove(&(before, timer));
        }
        self.map.insert((at, timer), ());
    }

    fn cancel(&mut self, timer: u32) {
        let deadline = self.deadlines.get_mut(timer as usize).and_then(Option::take);
        if let Some(before) = deadline {
            self.map.remove(&(before, timer));
        }
    }

    fn next(&mut self) -> Option<Micros> {
        self.map.first_key_value().map(|((at, _), ())| *at)
    }
}

/// Nanoseconds of one operation of each kind.
type Round = [f64; 4];
const NAMES: [&str; 4] = ["insert", "re-arm", "re-arm earlier", "cancel"];

fn main() {
    let (mut sul, mut tree) = ([f64::INFINITY; 4], [f64::INFINITY; 4]);
    for seed in 0..ROUNDS {
        least(&mut sul, round::<Sul>(seed));
        least(&mut tree, round::<Tree>(seed));
    }
    for ((name, sul), tree) in NAMES.iter().zip(sul).zip(tree) {
        println!("{name}: {sul:.1} {tree:.1}");
    }
}

fn least(best: &mut Round, round: Round) {
    for (best, figure) in best.iter_mut().zip(round) {
        *best = best.min(figure);
    }
}

/// Arms every timer in the order in which they were made; moves random ones to the time that
/// passes and 120 s, ten each in 60 s, as traffic moves an idle timeout; moves each to an earlier
/// time; and cancels each. `seed` decides times and order.
fn round<T: Timers>(seed: u64) -> Round {
    let mut random = Random(seed);
    let mut timers = T::new();
    let first: Vec<_> = (0..TIMERS).map(|timer| (timer, random.within(SPAN, 2 * SPAN))).collect();
    let later: Vec<_> = (0..10 * u64::from(TIMERS))
        .map(|i| (random.timer(), Micros::new(2 * SPAN + SPAN * i / (10 * u64::from(TIMERS)))))
        .collect();
    let earlier = random.shuffled(0, SPAN);
    let last = random.shuffled(0, SPAN);
    [
        time(&mut timers, &first, |timers, timer, at| timers.arm(timer, at)),
        time(&mut timers, &later, |timers, timer, at| timers.arm(timer, at)),
        time(&mut timers, &earlier, |timers, timer, at| timers.arm(timer, at)),
        time(&mut timers, &last, |timers, timer, _| timers.cancel(timer)),
    ]
}

/// Gives the nanoseconds of one operation. The next deadline is asked for once in 64, as a loop
/// does, and at the end, so that no work is left behind.
fn time<T: Timers>(
    timers: &mut T,
    plan: &[(u32, Micros)],
    operation: impl Fn(&mut T, u32, Micros),
) -> f64 {
    let began = Instant::now();
    for turn in plan.chunks(64) {
        for (timer, at) in turn {
            operation(timers, *timer, *at);
        }
        black_box(timers.next());
    }
    began.elapsed().as_nanos() as f64 / plan.len() as f64
}

/// SplitMix64: good enough to scatter, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn within(&mut self, from: u64, to: u64) -> Micros {
        Micros::new(from + self.below(to - from))
    }

    fn timer(&mut self) -> u32 {
        u32::try_from(self.below(TIMERS.into())).unwrap_or(0)
    }

    /// Gives every timer once, in a random order, each with a time between these.
    fn shuffled(&mut self, from: u64, to: u64) -> Vec<(u32, Micros)> {
        let mut plan: Vec<_> = (0..TIMERS).map(|timer| (timer, self.within(from, to))).collect();
        for at in (1..plan.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap_or(0);
            plan.swap(at, other);
        }
        plan
    }
}
