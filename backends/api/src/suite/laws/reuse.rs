//! Law 8: a descriptor number reused inside one batch never gets another's event.

use core::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::prelude::v1::*;
use std::rc::Rc;

use rustix::io::fcntl_dupfd_cloexec;

use crate::suite::stage::{Peer, Stage};
use crate::suite::{Failure, Guest, Id, OnData, Report, Subject, Verdict, must};

/// Law 8: two connections are ready in one batch; the handler of the first closes the second and
/// opens a third, which the kernel gives the second's number. The third must hear nothing of the
/// event that was the second's, and everything that is its own.
///
/// # Errors
///
/// The third connection was served before its peer had sent anything.
pub fn law_8_a_reused_number_is_nobody_elses(subject: &Subject) -> Verdict {
    let mut reused = 0;
    for _ in 0..ATTEMPTS {
        reused += u32::from(attempt(subject)?);
        if reused == ENOUGH {
            break;
        }
    }
    let mut report = Report::default();
    report.note(format!("{reused} numbers were reused inside a batch"));
    Ok(report)
}

/// Plays it once; tells whether the number was reused. Another thread of the process may have
/// taken it, or the host keeps the number until later, which is as good.
fn attempt(subject: &Subject) -> Result<bool, Failure> {
    let mut stage = Stage::prepare(subject)?;
    let play = Rc::new(Play::default());
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (near, peer) = Peer::pair()?;
        let number = near.as_raw_fd();
        let id = stage.guest.adopt(near, Some(play.handler()))?;
        play.ready.borrow_mut().push((id, number));
        peer.say(b"go")?;
        ends.push(peer);
    }
    stage.attach()?;
    stage.until("a handler", || play.third.get().is_some() || play.failed.get())?;
    must(!play.failed.get(), || "a third connection could not be opened".into())?;
    stage.settle()?;

    let Some(third) = play.third.get() else { return Ok(false) };
    let visits = stage.guest.visits(third);
    must(visits == Some(0), || format!("another's event was heard: {visits:?} visits"))?;
    let heard = play.speaks(&stage)?;
    must(heard == b"mine", || format!("the third connection echoed {heard:?}"))?;
    Ok(play.reused.get())
}

#[derive(Default)]
struct Play {
    ready: RefCell<Vec<(Id, RawFd)>>,
    third: Cell<Option<Id>>,
    peer: RefCell<Option<Peer>>,
    reused: Cell<bool>,
    failed: Cell<bool>,
}

impl Play {
    /// Whichever of the two is served first closes the other one.
    fn handler(self: &Rc<Self>) -> OnData {
        let play = Rc::clone(self);
        Box::new(move |guest, me, _| {
            let other = play.ready.borrow().iter().copied().find(|(id, _)| *id != me);
            if let Some((id, number)) = other
                && play.third.get().is_none()
            {
                guest.close(id);
                play.failed.set(play.open(guest, number).is_err());
            }
        })
    }

    /// Opens the third connection, under `number` if that is free.
    fn open(&self, guest: &Guest, number: RawFd) -> Result<(), Failure> {
        let (near, peer) = Peer::pair()?;
        let near = if near.as_raw_fd() == number { near } else { duplicate(&near, number)? };
        self.reused.set(near.as_raw_fd() == number);
        self.third.set(Some(guest.adopt(near, None)?));
        *self.peer.borrow_mut() = Some(peer);
        Ok(())
    }

    fn speaks(&self, stage: &Stage) -> Result<Vec<u8>, Failure> {
        let Some(mut peer) = self.peer.take() else { return Ok(Vec::new()) };
        peer.say(b"mine")?;
        stage.until("the third connection's echo", || peer.hear().len() >= 4)?;
        Ok(peer.hear().to_vec())
    }
}

/// The lowest free number from `number` on.
fn duplicate(fd: &OwnedFd, number: RawFd) -> Result<OwnedFd, Failure> {
    fcntl_dupfd_cloexec(fd, number).map_err(|e| Failure(format!("dup: {e}")))
}

const ATTEMPTS: u32 = 20;
const ENOUGH: u32 = 5;
