//! Laws 5 and 6: timers that were cancelled do not run, and the others run on time.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::suite::stage::{Stage, shared};
use crate::suite::{Failure, Guest, Report, Subject, Verdict, clock, must};

/// Law 5: a cancelled timer never runs, even if it was due in this turn; a delay of 0 is the next
/// turn; what is due together runs in the order it was armed.
///
/// # Errors
///
/// One of these did not hold.
pub fn law_5_a_cancelled_timer_never_runs(subject: &Subject) -> Verdict {
    let stage = Stage::set(subject)?;
    cancelled(&stage)?;
    next_turn(&stage)?;
    in_order(&stage)?;
    let mut report = Report::default();
    report.note("9 cancelled, 5 in a row without delay, 3 in order");
    Ok(report)
}

/// Ten timers are due in one turn and the first cancels the rest.
fn cancelled(stage: &Stage) -> Result<(), Failure> {
    let (ran, count) = shared(0);
    let victims = Rc::new(RefCell::new(Vec::new()));
    let names = Rc::clone(&victims);
    let due = Duration::from_millis(2);
    stage.guest.after(due, move |guest| {
        for id in names.take() {
            guest.cancel(id);
        }
    });
    for _ in 0..9 {
        let count = Rc::clone(&count);
        let id = stage.guest.after(due, move |_| count.set(count.get() + 1));
        victims.borrow_mut().push(id);
    }
    clock::burn(Duration::from_millis(3));
    let (over, tell) = shared(false);
    stage.guest.after(Duration::from_millis(5), move |_| tell.set(true));

    stage.until("a timer", || over.get())?;

    must(ran.get() == 0, || format!("{} cancelled timers ran", ran.get()))
}

/// A timer arms another without delay, five times over.
fn next_turn(stage: &Stage) -> Result<(), Failure> {
    let turns = Rc::new(RefCell::new(Vec::new()));
    chain(&stage.guest, 5, Rc::clone(&turns));

    stage.until("a chain of timers", || turns.borrow().len() == 5)?;

    let turns = turns.borrow();
    let rising = turns.iter().zip(turns.iter().skip(1)).all(|(a, b)| a < b);
    must(rising, || format!("timers without delay ran in turns {turns:?}"))
}

fn chain(guest: &Guest, left: u32, turns: Rc<RefCell<Vec<u32>>>) {
    guest.after(Duration::ZERO, move |guest| {
        turns.borrow_mut().push(guest.counts().turns);
        if left > 1 {
            chain(guest, left - 1, turns);
        }
    });
}

/// Timers armed for later first. They lie so far apart that a busy machine arms all before one is
/// due.
fn in_order(stage: &Stage) -> Result<(), Failure> {
    let order = Rc::new(RefCell::new(Vec::new()));
    for (name, millis) in [(3, 60), (1, 20), (2, 40)] {
        let order = Rc::clone(&order);
        stage.guest.after(Duration::from_millis(millis), move |_| order.borrow_mut().push(name));
    }
    clock::burn(Duration::from_millis(80));

    stage.until("three timers", || order.borrow().len() == 3)?;

    let order = order.borrow();
    must(*order == [1, 2, 3], || format!("timers ran in the order {order:?}"))
}

/// Law 6: a timer of 250 µs is never early, and late by tens of microseconds. The lateness is
/// reported; judged is that one in ten is not late by more than the driver says, and 400 µs.
///
/// # Errors
///
/// One was early, the best were late, or one never came.
pub fn law_6_a_short_timer_is_late_by_microseconds(subject: &Subject) -> Verdict {
    let stage = Stage::set(subject)?;
    let shots = Rc::new(Shots { late: RefCell::default(), early: Cell::default() });
    shoot(&stage.guest, Rc::clone(&shots));

    stage.until("200 timers", || shots.late.borrow().len() >= SHOTS)?;

    must(shots.early.get() == 0, || format!("{} of {SHOTS} timers were early", shots.early.get()))?;
    let mut late = shots.late.take();
    late.sort_unstable();
    let at = |percent: usize| late.get(late.len() * percent / 100).copied().unwrap_or_default();
    let bound = stage.guest.resolution() + Duration::from_micros(400);
    must(at(10) <= bound, || format!("the best tenth was late by up to {:?}", at(10)))?;
    let mut report = Report::default();
    report.note(format!("late: p10 {:?}, p50 {:?}, p90 {:?}", at(10), at(50), at(90)));
    Ok(report)
}

struct Shots {
    late: RefCell<Vec<Duration>>,
    early: Cell<u32>,
}

fn shoot(guest: &Guest, shots: Rc<Shots>) {
    let began = clock::monotonic();
    guest.after(DELAY, move |guest| {
        let took = clock::monotonic().saturating_sub(began);
        shots.early.set(shots.early.get() + u32::from(took < DELAY));
        let mut late = shots.late.borrow_mut();
        late.push(took.saturating_sub(DELAY));
        if late.len() < SHOTS {
            drop(late);
            shoot(guest, shots);
        }
    });
}

const SHOTS: usize = 200;
const DELAY: Duration = Duration::from_micros(250);
