//! What an adaptor promises beyond one stay: several guests in a loop, and stay after stay.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::fs;
use std::io;
use std::prelude::v1::*;
use std::rc::Rc;

use crate::suite::stage::{Peer, Stage, run_until, shared};
use crate::suite::{Failure, Guest, Loop, OnData, Report, Stay, Subject, Verdict, must};

/// Law 4, with company: one loop takes several guests, one attached from outside, one by a
/// callback of the host's and one by a handler of the first guest's. A guest that is detached by
/// another one's handler is gone while the others stay, and comes back.
///
/// # Errors
///
/// One of these did not happen.
pub fn several_guests_share_a_loop(subject: &Subject) -> Verdict {
    let host = (subject.host)()?;
    let before = host.sources();
    let all: Vec<Member> = (0..3).map(|_| Member::new(subject, &host)).collect::<Result<_, _>>()?;
    let [first, second, third] = all.as_slice() else { return Ok(Report::default()) };

    first.attach()?;
    let late = second.clone();
    host.after(Duration::ZERO, Box::new(move || late.attach_inside()));
    let last = third.clone();
    first.ask(Box::new(move |_, _, _| last.attach_inside()))?;
    all.iter().try_for_each(Member::answers)?;
    let during = host.sources();
    must(before.is_none() || during > before, || format!("{during:?} sources with three guests"))?;

    let leaver = second.clone();
    first.ask(Box::new(move |_, _, _| leaver.detach()))?;
    second.is_out()?;
    let turns = second.guest.counts().turns;
    second.guest.mailbox().wake();
    [first, third].into_iter().try_for_each(Member::answers)?;
    let more = second.guest.counts().turns - turns;
    must(more == 0, || format!("{more} turns while detached by another guest"))?;
    second.attach()?;
    all.iter().try_for_each(Member::answers)?;

    all.iter().for_each(Member::detach);
    all.iter().try_for_each(Member::is_out)?;
    let after = host.sources();
    must(before == after, || format!("{before:?} sources before and {after:?} after"))?;
    let mut report = Report::default();
    report.note(format!("three guests; sources: {before:?}, with them {during:?}"));
    Ok(report)
}

/// A guest among others.
#[derive(Clone)]
struct Member {
    host: Rc<dyn Loop>,
    patience: Duration,
    guest: Rc<Guest>,
    stay: Rc<RefCell<Option<Box<dyn Stay>>>>,
    out: Rc<Cell<bool>>,
    refused: Rc<Cell<bool>>,
}

impl Member {
    fn new(subject: &Subject, host: &Rc<dyn Loop>) -> Result<Self, Failure> {
        Ok(Self {
            host: Rc::clone(host),
            patience: subject.patience,
            guest: Guest::new((subject.driver)()?, (subject.net)()?, subject.flaw),
            stay: Rc::default(),
            out: Rc::default(),
            refused: Rc::default(),
        })
    }

    fn attach(&self) -> io::Result<()> {
        let stay = self.host.attach(&self.guest)?;
        *self.stay.borrow_mut() = Some(stay);
        self.out.set(false);
        Ok(())
    }

    /// Inside a callback, where nobody hears of a refusal.
    fn attach_inside(&self) {
        let refused = self.attach().is_err();
        self.refused.set(self.refused.get() || refused);
    }

    fn detach(&self) {
        let out = Rc::clone(&self.out);
        let stay = self.stay.borrow_mut().take();
        if let Some(stay) = stay {
            stay.detach(Box::new(move || out.set(true)));
        }
    }

    fn is_out(&self) -> Result<(), Failure> {
        run_until(&*self.host, self.patience, "the end of a detach", || self.out.get())
    }

    /// Has a handler of this guest's run `on_data` once.
    fn ask(&self, mut on_data: OnData) -> Result<(), Failure> {
        let (near, peer) = Peer::pair()?;
        let (heard, tell) = shared(false);
        let handler: OnData = Box::new(move |guest, id, bytes| {
            on_data(guest, id, bytes);
            tell.set(true);
        });
        let id = self.guest.adopt(near, Some(handler))?;
        peer.say(b"do")?;
        run_until(&*self.host, self.patience, "a handler among guests", || heard.get())?;
        self.guest.close(id);
        Ok(())
    }

    /// Has the guest echo, on a connection of its own.
    fn answers(&self) -> Result<(), Failure> {
        let (near, mut peer) = Peer::pair()?;
        let id = self.guest.adopt(near, None)?;
        peer.say(b"there?")?;
        let echoed = run_until(&*self.host, self.patience, "an echo among guests", || {
            peer.hear() == b"there?"
        });
        must(!self.refused.get(), || "a guest was refused inside a callback".into())?;
        self.guest.close(id);
        echoed
    }
}

/// Law 4, a hundred times: attach, echo, detach. No descriptor, no source of the host's and no
/// reference to the guest is left behind. Looks at the whole process, so no other test may run in
/// it: see [`alone`](crate::suite::alone).
///
/// # Errors
///
/// Something is left.
pub fn a_hundred_stays_leave_nothing(subject: &Subject) -> Verdict {
    let mut stage = Stage::prepare(subject)?;
    // What a host allocates for its first guest, it may keep for the next.
    stay_once(&mut stage)?;
    let before = Left::behind(&stage)?;
    for _ in 0..100 {
        stay_once(&mut stage)?;
    }
    let after = Left::behind(&stage)?;

    must(before == after, || format!("after one stay: {before:?}\nafter 101: {after:?}"))?;
    let mut report = Report::default();
    report.note(format!("{after:?}"));
    Ok(report)
}

fn stay_once(stage: &mut Stage) -> Result<(), Failure> {
    stage.attach()?;
    let (id, mut peer) = stage.peer(None)?;
    peer.say(b"hello")?;
    stage.until("an echo", || peer.hear() == b"hello")?;
    stage.guest.close(id);
    let (done, tell) = shared(false);
    if let Some(stay) = stage.take_stay() {
        stay.detach(Box::new(move || tell.set(true)));
    }
    stage.until("the end of a detach", || done.get())
}

/// What a stay may leave behind.
#[derive(PartialEq, Eq, Debug)]
struct Left {
    descriptors: usize,
    sources: Option<usize>,
    references: usize,
}

impl Left {
    fn behind(stage: &Stage) -> io::Result<Self> {
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            sources: stage.host.sources(),
            references: Rc::strong_count(&stage.guest),
        })
    }
}
