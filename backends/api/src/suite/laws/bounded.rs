//! Law 2: a dispatch is bounded by its budget, and what is left asks for another turn.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::Budget;
use crate::suite::stage::{Peer, Stage};
use crate::suite::{Failure, Guest, Loop, OnData, Report, Subject, Verdict, clock, must};

/// Law 2: a dispatch does what its budget says, in number and in time, and what is left asks for
/// another turn, between which the host has its own go.
///
/// # Errors
///
/// A turn served more; the rest was never served; the host was not let in between.
pub fn law_2_a_turn_is_bounded(subject: &Subject) -> Verdict {
    let mut report = Report::default();
    by_number(subject, &mut report)?;
    by_time(subject, &mut report)?;
    Ok(report)
}

/// 96 connections are ready at once; 8 may be served in a turn.
fn by_number(subject: &Subject, report: &mut Report) -> Result<(), Failure> {
    let (stage, mut peers) = crowd(subject, 96, || None)?;
    stage.guest.set_budget(Budget { ops: 8, slice: Duration::from_secs(1) });

    let ticks = Ticks::start(&stage);
    stage.until("all echoes", || peers.iter_mut().all(|p| p.hear() == b"hello"))?;
    ticks.stop();

    let most = stage.guest.counts().most_served;
    must(most <= 8, || format!("a turn served {most}, its budget was 8"))?;
    let hogged = ticks.most_turns.get();
    must(hogged <= TURNS_A_TICK, || format!("{hogged} turns between two ticks of the host"))?;
    report.note(format!("at most {most} of 96 in a turn, {hogged} turns between host ticks"));
    Ok(())
}

/// 48 connections are ready at once and each takes 200 µs; a turn may take 500 µs.
fn by_time(subject: &Subject, report: &mut Report) -> Result<(), Failure> {
    let work = Rc::new(Work::default());
    let (stage, peers) = crowd(subject, 48, || {
        let work = Rc::clone(&work);
        Some(Box::new(move |guest, _, _| work.take(guest)))
    })?;
    stage.guest.set_budget(Budget { ops: 1_000, slice: Duration::from_micros(500) });

    let ticks = Ticks::start(&stage);
    stage.until("all served", || work.done.get() == peers.len())?;
    ticks.stop();

    let most = work.most_in_a_turn.get();
    must(most <= 16, || format!("a turn of 500 us did {most} things that take 200 us"))?;
    let cpu = ticks.most_cpu.get();
    report.note(format!("at most {most} of 48 in 500 us, {cpu:?} of CPU between host ticks"));
    Ok(())
}

/// Handlers that take their time.
#[derive(Default)]
struct Work {
    done: Cell<usize>,
    turn: Cell<u32>,
    in_this_turn: Cell<u32>,
    most_in_a_turn: Cell<u32>,
}

impl Work {
    fn take(&self, guest: &Guest) {
        clock::burn(Duration::from_micros(200));
        self.done.set(self.done.get() + 1);
        let turn = guest.counts().turns;
        let before = if self.turn.replace(turn) == turn { self.in_this_turn.get() } else { 0 };
        self.in_this_turn.set(before + 1);
        self.most_in_a_turn.set(self.most_in_a_turn.get().max(before + 1));
    }
}

/// A guest with `n` connections whose peers have all spoken before it is attached.
fn crowd(
    subject: &Subject,
    n: usize,
    on_data: impl Fn() -> Option<OnData>,
) -> Result<(Stage, Vec<Peer>), Failure> {
    let mut stage = Stage::prepare(subject)?;
    let mut peers = Vec::new();
    for _ in 0..n {
        let (_, peer) = stage.peer(on_data())?;
        peer.say(b"hello")?;
        peers.push(peer);
    }
    stage.attach()?;
    Ok((stage, peers))
}

/// A host's timer without delay, armed again each time it runs: the host's own go.
struct Ticks {
    host: Rc<dyn Loop>,
    guest: Rc<Guest>,
    stopped: Cell<bool>,
    last: RefCell<(u32, Duration)>,
    most_turns: Cell<u32>,
    most_cpu: Cell<Duration>,
}

impl Ticks {
    fn start(stage: &Stage) -> Rc<Self> {
        let ticks = Rc::new(Self {
            host: Rc::clone(&stage.host),
            guest: Rc::clone(&stage.guest),
            stopped: Cell::default(),
            last: RefCell::new((stage.guest.counts().turns, clock::thread_cpu())),
            most_turns: Cell::default(),
            most_cpu: Cell::default(),
        });
        ticks.arm();
        ticks
    }

    fn stop(&self) {
        self.stopped.set(true);
    }

    fn arm(self: &Rc<Self>) {
        let me = Rc::clone(self);
        self.host.after(Duration::ZERO, Box::new(move || me.tick()));
    }

    fn tick(self: &Rc<Self>) {
        let now = (self.guest.counts().turns, clock::thread_cpu());
        let last = self.last.replace(now);
        self.most_turns.set(self.most_turns.get().max(now.0 - last.0));
        self.most_cpu.set(self.most_cpu.get().max(now.1.saturating_sub(last.1)));
        if !self.stopped.get() {
            self.arm();
        }
    }
}

/// A fair host lets its own timers run after each dispatch or two.
const TURNS_A_TICK: u32 = 4;
