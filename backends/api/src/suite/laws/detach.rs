//! Law 4: detaching leaves the loop running and unchanged.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::suite::stage::{Peer, Stage, shared};
use crate::suite::{Failure, OnData, Report, Stay, Subject, Verdict, must};

/// Law 4: detaching leaves the loop running and unchanged, completes by a callback, may be done
/// from inside a callback, and attaching again works. Nothing that came meanwhile is lost.
///
/// # Errors
///
/// One of these did not happen, or the guest was given a turn while detached.
pub fn law_4_detaching_leaves_the_loop_as_it_was(subject: &Subject) -> Verdict {
    let mut stage = Stage::prepare(subject)?;
    let before = stage.host.sources();
    stage.attach()?;
    let named = stage.guest.host_name().is_some_and(|name| !name.is_empty());
    must(named, || "the adaptor has not told the guest where it lives".into())?;
    let (_, mut peer) = stage.peer(None)?;

    let mut said = 0;
    for _ in 0..2 {
        speak(&stage, &mut peer, &mut said)?;
        let done = detach(&mut stage);
        stage.until("the end of a detach", || done.get())?;
        stays_away(&stage, &peer)?;
        said += 1;
        let after = stage.host.sources();
        must(before == after, || format!("{before:?} sources before and {after:?} after"))?;
        stage.attach()?;
        stage.until("what came while detached", || peer.hear().len() == said)?;
    }
    from_inside(&mut stage)?;
    let mut report = Report::default();
    report.note(format!("twice from outside, once from inside; sources: {before:?}"));
    Ok(report)
}

fn speak(stage: &Stage, peer: &mut Peer, said: &mut usize) -> Result<(), Failure> {
    peer.say(b"x")?;
    *said += 1;
    stage.until("an echo", || peer.hear().len() == *said)
}

fn detach(stage: &mut Stage) -> Rc<Cell<bool>> {
    let (done, tell) = shared(false);
    if let Some(stay) = stage.take_stay() {
        stay.detach(Box::new(move || tell.set(true)));
    }
    done
}

/// Gives the guest every reason for a turn, and the host a timer of its own.
fn stays_away(stage: &Stage, peer: &Peer) -> Result<(), Failure> {
    let turns = stage.guest.counts().turns;
    peer.say(b"y")?;
    stage.guest.after(Duration::from_millis(5), |_| {});
    stage.guest.mailbox().wake();
    let (ticked, tick) = shared(false);
    stage.host.after(Duration::from_millis(10), Box::new(move || tick.set(true)));

    stage.run_for(Duration::from_millis(60));

    must(ticked.get(), || "the host's own timer did not run after the detach".into())?;
    let more = stage.guest.counts().turns - turns;
    must(more == 0, || format!("{more} turns while detached"))
}

/// A handler detaches the guest that runs it; a second one that is ready too must wait.
fn from_inside(stage: &mut Stage) -> Result<(), Failure> {
    let (done, tell) = shared(false);
    let stay: Rc<RefCell<Option<Box<dyn Stay>>>> = Rc::new(RefCell::new(stage.take_stay()));
    let on_data: OnData = Box::new(move |_, _, _| {
        let tell = Rc::clone(&tell);
        let taken = stay.borrow_mut().take();
        if let Some(stay) = taken {
            stay.detach(Box::new(move || tell.set(true)));
        }
    });
    let (_, peer) = stage.peer(Some(on_data))?;
    peer.say(b"leave")?;

    stage.until("the end of a detach from inside", || done.get())?;

    stays_away(stage, &peer)
}
