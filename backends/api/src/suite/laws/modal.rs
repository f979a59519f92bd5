//! Law 3: a callback may run the host's loop again, as a modal dialog does.

use core::cell::Cell;
use core::time::Duration;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::Nested;
use crate::suite::stage::{Peer, Stage, run_until};
use crate::suite::{Failure, Guest, Id, Loop, OnData, Report, Subject, Verdict, clock, must};

/// Law 3: a callback may run the host's loop again. Three handlers do, each inside the one before,
/// all ready in the same batch: the timers that they arm run, an echo is answered, what they hold
/// stays as it is, and their own further input waits for them.
///
/// # Errors
///
/// One of these did not happen.
pub fn law_3_a_callback_may_run_the_host_again(subject: &Subject) -> Verdict {
    let mut report = Report::default();
    three_deep(subject, true, &mut report)?;
    if Stage::prepare(subject)?.host.asks_pending() {
        three_deep(subject, false, &mut report)?;
    }
    Ok(report)
}

/// `announced`: the guest is told of the modal loop, as it must be in a host that only watches.
fn three_deep(subject: &Subject, announced: bool, report: &mut Report) -> Result<(), Failure> {
    let mut stage = Stage::prepare(subject)?;
    let play = Rc::new(Play {
        host: Rc::clone(&stage.host),
        patience: stage.patience(),
        announced,
        deep: Cell::new(0),
        deepest: Cell::new(0),
        finished: Cell::new(0),
        failure: Cell::new(None),
    });
    let mut talkers = Vec::new();
    for _ in 0..HANDLERS {
        let (_, talker) = stage.peer(Some(play.handler()))?;
        talker.say(b"held")?;
        talkers.push(talker);
    }
    let (_, mut echo) = stage.peer(None)?;
    echo.say(b"echo")?;
    stage.attach()?;

    stage.until("all handlers return", || play.finished.get() >= HANDLERS || play.has_failed())?;
    play.verdict()?;
    let depth = play.deepest.get();
    must(depth == HANDLERS, || format!("{depth} handlers ran inside each other"))?;
    must(echo.hear() == b"echo", || "an echo was not answered meanwhile".into())?;
    still_served(&stage, &play, &talkers)?;
    report.note(format!("{depth} deep, announced: {announced}"));
    Ok(())
}

/// Input that came while a handler was on the stack is not lost.
fn still_served(stage: &Stage, play: &Rc<Play>, talkers: &[Peer]) -> Result<(), Failure> {
    talkers.iter().try_for_each(|t| t.say(b"more"))?;
    stage.until("later input", || play.finished.get() >= 2 * HANDLERS || play.has_failed())?;
    play.verdict()
}

/// What the handlers share.
struct Play {
    host: Rc<dyn Loop>,
    patience: Duration,
    announced: bool,
    deep: Cell<u32>,
    deepest: Cell<u32>,
    finished: Cell<u32>,
    failure: Cell<Option<Failure>>,
}

impl Play {
    /// A handler that runs a modal loop the first time it hears something.
    fn handler(self: &Rc<Self>) -> OnData {
        let (play, mut first) = (Rc::clone(self), true);
        Box::new(move |guest, id, bytes| {
            if core::mem::take(&mut first) {
                let held = bytes.to_vec();
                let result = play.dialog(guest, id);
                play.note(result.and_then(|()| {
                    must(held == bytes, || "what a handler holds has changed".into())
                }));
            } else {
                play.note(must(bytes == b"more", || format!("heard {bytes:?} instead of more")));
            }
            play.finished.set(play.finished.get() + 1);
        })
    }

    /// Runs the host until a timer armed here has run and all the others are in their dialogs.
    fn dialog(&self, guest: &Rc<Guest>, id: Id) -> Result<(), Failure> {
        self.deep.set(self.deep.get() + 1);
        self.deepest.set(self.deepest.get().max(self.deep.get()));
        let visits = guest.visits(id);
        let rung = Rc::new(Cell::new(false));
        let bell = Rc::clone(&rung);
        guest.after(Duration::from_millis(10), move |_| bell.set(true));

        let done = || (rung.get() && self.deepest.get() == HANDLERS) || self.has_failed();
        let what = "a timer and the other handlers, inside a callback";
        let result = if self.announced {
            guest.modal(|| self.run(guest, what, done))
        } else {
            self.run(guest, what, done)
        };
        self.deep.set(self.deep.get() - 1);
        result?;
        must(guest.visits(id) == visits, || "served while its handler is on the stack".into())
    }

    fn run(
        &self,
        guest: &Guest,
        what: &str,
        mut done: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        if self.host.nests() {
            return run_until(&*self.host, self.patience, what, done);
        }
        let end = clock::monotonic() + self.patience;
        while !done() {
            guest.dispatch()?;
            must(clock::monotonic() < end, || format!("never happened: {what}"))?;
        }
        Ok(())
    }

    fn note(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            let first = self.failure.take().unwrap_or(failure);
            self.failure.set(Some(first));
        }
    }

    fn has_failed(&self) -> bool {
        let failure = self.failure.take();
        let failed = failure.is_some();
        self.failure.set(failure);
        failed
    }

    fn verdict(&self) -> Result<(), Failure> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

/// One less than the depth that every guest must reach.
const HANDLERS: u32 = 3;
