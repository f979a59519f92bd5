//! What the host's timer does: when the guest comes and goes, and what is written down.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::{Budget, Runtime};
use rustix::time::{ClockId, clock_gettime};

use crate::guest::{self, Lateness};

/// What a tick asks its host to do.
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing but to arm the timer again.
    Nothing,
    /// Put the guest of [`Script::guest`] into the loop.
    Attach,
    /// Take it out, and then forget it: [`Script::forget`].
    Detach,
    /// End.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The guest serves until the program is killed.
    Serve,
    /// As `Serve`, while system calls are counted: that makes each so slow that a turn's slice of
    /// time would be its bound, which it is not otherwise.
    Traced,
    /// A quarter of the time alone, half with the guest, a quarter alone.
    Steady,
    /// The guest serves while the host has a tick a millisecond.
    Flood,
    /// The guest has short timers.
    Timers,
    /// The guest has nothing to do.
    Idle,
}

/// The script of one run.
pub struct Script {
    mode: Mode,
    time: Duration,
    period: Duration,
    began: Instant,
    due: Cell<Instant>,
    make: fn() -> io::Result<Runtime>,
    rt: RefCell<Option<Runtime>>,
    there: Cell<bool>,
    /// How late each tick of the host's was, in nanoseconds: alone, with the guest, alone again. Not
    /// counted is for how long the thread was ready and others had the processor.
    ticks: [Lateness; 3],
    waited: Cell<i64>,
    /// Time on a processor from one tick to the next, in nanoseconds.
    burnt: Lateness,
    cpu: Cell<i64>,
    timers: Lateness,
    /// Descriptors before the guest came and after it had gone.
    descriptors: Cell<[usize; 2]>,
    /// As the host counts its handles: now, before the guest came, and after it had gone.
    handles: Cell<[usize; 3]>,
    /// Turns of the guest's when it had settled, and at the end.
    turns: Cell<[u64; 2]>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Script({:?})", self.mode)
    }
}

/// How long what begins may take to settle.
const SETTLED: Duration = Duration::from_millis(500);
/// Short timers in a run.
const SHOTS: u32 = 400;

impl Script {
    /// Reads the mode; the clock begins.
    pub fn new(mode: &str, time: Duration) -> Option<Self> {
        let (mode, millis) = match mode {
            "serve" => (Mode::Serve, 10),
            "traced" => (Mode::Traced, 10),
            "steady" => (Mode::Steady, 10),
            "flood" => (Mode::Flood, 1),
            "timers" => (Mode::Timers, 100),
            "idle" => (Mode::Idle, 250),
            _ => return None,
        };
        let (period, began) = (Duration::from_millis(millis), Instant::now());
        Some(Self {
            mode,
            time,
            period,
            began,
            due: Cell::new(began + period),
            make: Runtime::standalone,
            rt: RefCell::default(),
            there: Cell::new(false),
            ticks: Default::default(),
            waited: Cell::default(),
            burnt: Rc::default(),
            cpu: Cell::default(),
            timers: Rc::default(),
            descriptors: Cell::default(),
            handles: Cell::default(),
            turns: Cell::default(),
        })
    }

    /// Has the guest be made so, and not on its own kernel queue.
    #[must_use]
    pub fn made_by(mut self, make: fn() -> io::Result<Runtime>) -> Self {
        self.make = make;
        self
    }

    /// Tells how many handles the host has, before a tick; a host that cannot say says nothing.
    pub fn note_handles(&self, now: usize) {
        let [_, before, after] = self.handles.get();
        self.handles.set([now, before, after]);
    }

    /// When the host's timer is to tick next.
    pub fn due(&self) -> Instant {
        self.due.get()
    }

    /// A tick of the host's timer. What it returns has to be done, then the timer is set to
    /// [`due`](Self::due).
    ///
    /// # Errors
    ///
    /// The guest cannot listen.
    pub fn tick(&self) -> io::Result<Act> {
        let now = Instant::now();
        let passed = now - self.began;
        if let Some(ticks) = self.phase(passed).and_then(|phase| self.ticks.get(phase)) {
            let late = now.saturating_duration_since(self.due.get()).as_nanos();
            let late = i64::try_from(late).unwrap_or(i64::MAX);
            ticks.borrow_mut().push(late.saturating_sub(self.waited_since()).max(0));
            let cpu = thread_cpu();
            self.burnt.borrow_mut().push(cpu - self.cpu.replace(cpu));
        }
        self.due.set((self.due.get() + self.period).max(now));
        let act = self.act(passed);
        match act {
            Act::Attach => self.open()?,
            Act::Stop => {
                self.note_turns(1);
                let [before, _] = self.descriptors.get();
                self.descriptors.set([before, descriptors()?]);
                let [now, before, _] = self.handles.get();
                self.handles.set([now, before, now]);
            }
            Act::Nothing if passed > SETTLED && self.turns.get() == [0; 2] => self.note_turns(0),
            _ => {}
        }
        Ok(act)
    }

    /// For how long the thread has waited for a processor since the last tick; 0 where Linux does
    /// not count it.
    fn waited_since(&self) -> i64 {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        let waited: i64 = waited.unwrap_or_default();
        waited - self.waited.replace(waited)
    }

    fn act(&self, passed: Duration) -> Act {
        let from = if self.mode == Mode::Steady { self.time / 4 } else { Duration::ZERO };
        let until = match self.mode {
            Mode::Serve | Mode::Traced => Duration::MAX,
            Mode::Steady => self.time * 3 / 4,
            _ => self.time,
        };
        match (self.there.get(), self.rt.borrow().is_some()) {
            (false, false) if passed >= from && passed < until => Act::Attach,
            (true, _) if passed >= until && self.mode == Mode::Steady => Act::Detach,
            _ if self.mode == Mode::Timers && self.timers.borrow().len() >= SHOTS as usize => {
                Act::Stop
            }
            _ if passed >= until && self.mode != Mode::Steady => Act::Stop,
            _ if self.mode == Mode::Steady && passed >= self.time => Act::Stop,
            _ => Act::Nothing,
        }
    }

    /// Which of the three it is; `None` while something begins or ends.
    fn phase(&self, passed: Duration) -> Option<usize> {
        match (self.mode, self.there.get()) {
            (Mode::Steady, true) => (passed > self.time / 4 + SETTLED).then_some(1),
            (Mode::Steady, false) if passed > self.time / 2 => Some(2),
            (Mode::Steady, false) => Some(0),
            _ => (passed > SETTLED).then_some(1),
        }
    }

    fn open(&self) -> io::Result<()> {
        self.descriptors.set([descriptors()?, 0]);
        let [now, ..] = self.handles.get();
        self.handles.set([now, now, 0]);
        let rt = guest::open((self.make)()?)?;
        match self.mode {
            Mode::Timers => guest::short_timers(&rt, SHOTS, &self.timers),
            Mode::Traced => rt.set_budget(Budget { slice: Duration::MAX, ..Budget::default() }),
            _ => {}
        }
        *self.rt.borrow_mut() = Some(rt);
        self.there.set(true);
        Ok(())
    }

    /// Gives the guest, which a tick has opened.
    pub fn guest(&self) -> Option<lodger::Handle> {
        self.rt.borrow().as_ref().map(|rt| rt.handle())
    }

    /// Ends the guest, which its host lets go.
    pub fn forget(&self) {
        let rt = self.rt.borrow_mut().take();
        drop(rt);
        self.there.set(false);
    }

    fn note_turns(&self, at: usize) {
        let Some(guest) = self.guest() else { return };
        let mut turns = self.turns.get();
        if let Some(place) = turns.get_mut(at) {
            *place = guest.stats().turns;
        }
        self.turns.set(turns);
    }

    /// What was found.
    pub fn found(&self) -> String {
        let [before, after] = self.descriptors.get();
        let [_, handles, left] = self.handles.get();
        let slips = |phase: &Lateness| {
            let period = i64::try_from(self.period.as_nanos()).unwrap_or(i64::MAX);
            phase.borrow().iter().filter(|late| **late > period).count()
        };
        let count = |phase: &Lateness| phase.borrow().len();
        let [first, with, last] = &self.ticks;
        match self.mode {
            Mode::Serve | Mode::Traced => String::new(),
            Mode::Steady => format!(
                "ticks_before={} ticks_with={} ticks_after={} slips_before={} slips_with={} \
                 slips_after={} fds_before={before} fds_after={after} \
                 handles_before={handles} handles_after={left}",
                count(first),
                count(with),
                count(last),
                slips(first),
                slips(with),
                slips(last)
            ),
            Mode::Flood => {
                let burnt = self.burnt.borrow().iter().skip(1).copied().collect();
                let cpu = quantiles(&Rc::new(RefCell::new(burnt))).replace('p', "cpu_p");
                format!("ticks={} {} {cpu}", count(with), quantiles(with))
            }
            Mode::Timers => {
                let early = self.timers.borrow().iter().filter(|late| **late < 0).count();
                format!("early={early} {}", quantiles(&self.timers))
            }
            Mode::Idle => {
                let [settled, end] = self.turns.get();
                format!("wakeups={}", end.saturating_sub(settled))
            }
        }
    }
}

/// In microseconds.
fn quantiles(late: &Lateness) -> String {
    let mut sorted = late.borrow().clone();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let last = sorted.len().saturating_sub(1);
        sorted.get(last * percent / 100).copied().unwrap_or_default() / 1_000
    };
    format!("p50={} p90={} p99={} max={}", at(50), at(90), at(99), at(100))
}

fn thread_cpu() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

fn descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}
