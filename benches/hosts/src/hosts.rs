//! The loops: each with a timer of its own, which ticks when the script says.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::{Budget, Handle, Nested};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::Res;
use lodger_bench_hosts::script::{Act, Script};

pub(crate) fn left(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now())
}

/// No host: the guest's own loop, and the timer is one of its own. It cannot be without the guest.
pub(crate) fn mio(script: &Rc<Script>) -> Res {
    std::thread::sleep(left(script.due()));
    if script.tick()? != Act::Attach {
        return Err("its own loop is not without the guest: not in this mode".into());
    }
    let guest = script.guest().ok_or("no guest")?;
    let on = Rc::new(Cell::new(true));
    arm(&guest, script, &on);
    let mut again = false;
    while on.get() {
        let timeout = again.then_some(Duration::ZERO);
        again = guest.step(timeout, Budget::default())?.again;
    }
    Ok(())
}

fn arm(h: &Handle, script: &Rc<Script>, on: &Rc<Cell<bool>>) {
    let (next, on) = (Rc::clone(script), Rc::clone(on));
    h.after(left(script.due()), move |h| match next.tick() {
        Ok(Act::Nothing) => arm(h, &next, &on),
        _ => on.set(false),
    });
}

/// A loop of one's own around `poll(2)`.
pub(crate) fn poll(script: &Rc<Script>) -> Res {
    let mut guest: Option<(Handle, std::os::fd::OwnedFd)> = None;
    loop {
        if script.due() <= Instant::now() {
            match script.tick()? {
                Act::Nothing => {}
                Act::Attach => {
                    let handle = script.guest().ok_or("no guest")?;
                    let queue = handle.fd()?;
                    guest = Some((handle, queue));
                }
                Act::Detach => {
                    guest = None;
                    script.forget();
                }
                Act::Stop => return Ok(()),
            }
        }
        let wait = Timespec::try_from(left(script.due()))?;
        let Some((handle, queue)) = &guest else {
            rustix::event::poll(&mut [], Some(&wait))?;
            continue;
        };
        let mut watched = [PollFd::new(queue, PollFlags::IN)];
        if rustix::event::poll(&mut watched, Some(&wait))? > 0 {
            handle.dispatch()?;
        }
    }
}

/// What the hosts with an adaptor do at a tick. Returns whether they go on.
pub(crate) fn at_tick<A>(
    script: &Script,
    stay: &RefCell<Option<A>>,
    attach: impl FnOnce(Handle) -> io::Result<A>,
) -> io::Result<bool> {
    match script.tick()? {
        Act::Nothing => {}
        Act::Attach => {
            let guest = script.guest().ok_or(io::ErrorKind::NotFound)?;
            *stay.borrow_mut() = Some(attach(guest)?);
        }
        Act::Detach => {
            let gone = stay.borrow_mut().take();
            drop(gone);
            script.forget();
        }
        Act::Stop => return Ok(false),
    }
    Ok(true)
}

pub(crate) fn calloop(script: &Rc<Script>) -> Res {
    use calloop::timer::{TimeoutAction, Timer};
    let mut event_loop = calloop::EventLoop::<io::Result<bool>>::try_new()?;
    let (handle, stay) = (event_loop.handle(), RefCell::default());
    let ticking = Rc::clone(script);
    let timer = Timer::from_deadline(script.due());
    event_loop.handle().insert_source(timer, move |_, (), on| {
        *on = at_tick(&ticking, &stay, |guest| lodger_calloop::attach(&handle, guest));
        TimeoutAction::ToInstant(ticking.due())
    })?;
    let mut on = Ok(true);
    while on? {
        on = Ok(true);
        event_loop.dispatch(None, &mut on)?;
    }
    Ok(())
}

pub(crate) fn async_io(script: &Rc<Script>) -> Res {
    use async_io::{Timer, block_on};
    let executor = async_executor::LocalExecutor::new();
    let stay = RefCell::default();
    block_on(executor.run(async {
        loop {
            Timer::at(script.due()).await;
            let spawn =
                |guest| lodger_async_io::attach(guest, |task| executor.spawn(task).detach());
            if !at_tick(script, &stay, spawn)? {
                return Ok(());
            }
        }
    }))
}

pub(crate) fn tokio(script: &Rc<Script>) -> Res {
    use tokio::task::{LocalSet, spawn_local};
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stay = RefCell::default();
    LocalSet::new().block_on(&tokio, async {
        loop {
            tokio::time::sleep_until(script.due().into()).await;
            let spawn = |guest| lodger_tokio::attach(guest, |task| drop(spawn_local(task)));
            if !at_tick(script, &stay, spawn)? {
                return Ok(());
            }
        }
    })
}

/// Its timers are of whole milliseconds.
#[cfg(feature = "glib")]
pub(crate) fn glib(script: &Rc<Script>) -> Res {
    let main = glib::MainLoop::new(None, false);
    let failed = Rc::new(RefCell::new(None));
    tick_in_glib(&main, script, &Rc::default(), &failed);
    main.run();
    let failed = failed.borrow_mut().take();
    failed.map_or(Ok(()), Err)
}

#[cfg(feature = "glib")]
fn tick_in_glib(
    main: &glib::MainLoop,
    script: &Rc<Script>,
    stay: &Rc<RefCell<Option<lodger_glib::Attached>>>,
    failed: &Rc<RefCell<Option<Box<dyn std::error::Error>>>>,
) {
    let (main, script) = (main.clone(), Rc::clone(script));
    let (stay, failed) = (Rc::clone(stay), Rc::clone(failed));
    glib::timeout_add_local_once(left(script.due()), move || {
        let attach = |guest| lodger_glib::attach(&main.context(), guest);
        match at_tick(&script, &stay, attach) {
            Ok(true) => tick_in_glib(&main, &script, &stay, &failed),
            over => {
                *failed.borrow_mut() = over.err().map(Into::into);
                main.quit();
            }
        }
    });
}
