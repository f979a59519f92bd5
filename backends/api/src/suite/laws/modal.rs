//! Law 3: a callback may run the host's loop again, as a modal dialog does.

use core::cell::Cell;
use core::time::Duration;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::Nested;
use crate::suite::stage::{Peer, Stage, run_until};
use crate::suite::{Failure, Guest, Id, Loop, OnData, Report, Subject, Verdict, clock, must};

/// Law 3: a callback may run the host's loop again. Three handlers do, each inside the one before,
/// all ready in the same batch: all are reached though nothing new happens, the timers that they
/// arm run, an echo is answered, what they hold stays as it is, and their own further input waits
/// for them.
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
        heard: Cell::new(0),
        failure: Cell::new(None),
    });
    for _ in 0..HANDLERS {
        let (near, talker) = Peer::pair()?;
        talker.say(b"held")?;
        stage.guest.adopt(near, Some(play.handler(talker)))?;
    }
    let (_, mut echo) = stage.peer(None)?;
    echo.say(b"echo")?;
    stage.attach()?;

    // Each hears twice: what it held, and what came while it was on the stack.
    let all = || play.heard.get() == 2 * HANDLERS || play.has_failed();
    stage.until("all handlers return and hear the rest", all)?;
    play.verdict()?;
    let depth = play.deepest.get();
    must(depth == HANDLERS, || format!("{depth} handlers ran inside each other"))?;
    must(echo.hear() == b"echo", || "an echo was not answered meanwhile".into())?;
    report.note(format!("{depth} deep, announced: {announced}"));
    Ok(())
}

/// What the handlers share.
struct Play {
    host: Rc<dyn Loop>,
    patience: Duration,
    announced: bool,
    deep: Cell<u32>,
    deepest: Cell<u32>,
    heard: Cell<u32>,
    failure: Cell<Option<Failure>>,
}

impl Play {
    /// A handler that runs a modal loop the first time it hears something.
    fn handler(self: &Rc<Self>, talker: Peer) -> OnData {
        let (play, mut first) = (Rc::clone(self), true);
        Box::new(move |guest, id, bytes| {
            if core::mem::take(&mut first) {
                let held = bytes.to_vec();
                play.note(play.dialog(guest, id, &talker));
                play.note(must(held == bytes, || "what a handler holds has changed".into()));
            } else {
                play.note(must(bytes == b"more", || format!("heard {bytes:?} instead of more")));
            }
            play.heard.set(play.heard.get() + 1);
        })
    }

    /// Runs the host inside a callback, with the guest told of it or not.
    fn dialog(&self, guest: &Rc<Guest>, id: Id, talker: &Peer) -> Result<(), Failure> {
        self.deep.set(self.deep.get() + 1);
        self.deepest.set(self.deepest.get().max(self.deep.get()));
        let visits = guest.visits(id);
        let result = if self.announced {
            guest.modal(|| self.wait(guest, talker))
        } else {
            self.wait(guest, talker)
        };
        self.deep.set(self.deep.get() - 1);
        result?;
        must(guest.visits(id) == visits, || "served while its handler is on the stack".into())
    }

    /// First for the other handlers, which are ready; only then for a timer and with new input,
    /// which would have helped them.
    fn wait(&self, guest: &Rc<Guest>, talker: &Peer) -> Result<(), Failure> {
        let reached = || self.deepest.get() == HANDLERS || self.has_failed();
        self.run(guest, "the other handlers, inside a callback", reached)?;
        talker.say(b"more")?;
        let rung = Rc::new(Cell::new(false));
        let bell = Rc::clone(&rung);
        guest.after(Duration::from_millis(10), move |_| bell.set(true));
        self.run(guest, "a timer, inside a callback", || rung.get() || self.has_failed())
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
