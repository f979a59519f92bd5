//! The ten laws and flow control, in GLib's loop; and what is GLib's own.
#![allow(unsafe_code, reason = "drives GLib by its C functions")]

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use glib_sys::{GFALSE, GMainContext, GSource, GTRUE, gboolean, gpointer};
use lodger_backend::suite::{Guest, Loop, Stay, Subject};
use lodger_backend::{Driver, Host, Nested, Net, Pending, Turn, adaptor_suite, backend_suite};
use lodger_glib::{Attached, Context, attach_raw};
use lodger_mio::{MioDriver, OsNet};

fn net() -> io::Result<Rc<dyn Net>> {
    Ok(Rc::new(OsNet::new()?))
}

fn driver() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(MioDriver::new()?))
}

/// A context of this test's own.
struct Glib(*mut GMainContext);

impl Glib {
    fn new() -> Self {
        // SAFETY: makes a context, whose reference is ours.
        Self(unsafe { glib_sys::g_main_context_new() })
    }

    fn context(&self) -> Context {
        // SAFETY: `self` keeps the context alive.
        unsafe { Context::from_raw(self.0.cast()) }.expect("a context")
    }

    fn iterate(&self, block: bool) {
        // SAFETY: `self` keeps the context alive; only this thread runs it.
        unsafe { glib_sys::g_main_context_iteration(self.0, gboolean::from(block)) };
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        assert!(self.run(Duration::from_secs(20), &mut done), "never happened: {what}");
    }
}

impl Drop for Glib {
    fn drop(&mut self) {
        // SAFETY: gives back the reference of `new`.
        unsafe { glib_sys::g_main_context_unref(self.0) };
    }
}

unsafe extern "C" fn call(data: gpointer) -> gboolean {
    // SAFETY: `after` has put a cell there that `free` frees, after this.
    let cell = unsafe { &*data.cast::<Cell<Option<Box<dyn FnOnce()>>>>() };
    if let Some(f) = cell.take() {
        f();
    }
    GFALSE
}

unsafe extern "C" fn free(data: gpointer) {
    // SAFETY: as in `call`; GLib frees it once.
    drop(unsafe { Box::from_raw(data.cast::<Cell<Option<Box<dyn FnOnce()>>>>()) });
}

impl Loop for Glib {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        Ok(Box::new(self.context().attach(guest)?))
    }

    fn run(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let over = Rc::new(Cell::new(false));
        let tell = Rc::clone(&over);
        let end = Instant::now() + limit;
        // Ends the last iteration, which may block for ever without it.
        self.after(limit, Box::new(move || tell.set(true)));
        loop {
            if done() {
                return true;
            }
            if over.get() || Instant::now() >= end {
                return false;
            }
            self.iterate(true);
        }
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        let millis = u32::try_from(delay.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        let data = Box::into_raw(Box::new(Cell::new(Some(f)))).cast();
        // SAFETY: makes a source, whose reference is ours.
        let source: *mut GSource = unsafe { glib_sys::g_timeout_source_new(millis) };
        // SAFETY: the source is alive; `call` and `free` take what `data` is.
        unsafe { glib_sys::g_source_set_callback(source, Some(call), data, Some(free)) };
        // SAFETY: both are alive.
        unsafe { glib_sys::g_source_attach(source, self.0) };
        // SAFETY: the context holds the source from now on.
        unsafe { glib_sys::g_source_unref(source) };
    }

    fn asks_pending(&self) -> bool {
        true
    }

    /// The descriptors that the context polls: its own for wakeups, and its guests'.
    fn sources(&self) -> Option<usize> {
        let (mut priority, mut timeout): (c_int, c_int) = (0, 0);
        // SAFETY: the context is alive and this thread's.
        assert_eq!(unsafe { glib_sys::g_main_context_acquire(self.0) }, GTRUE);
        // SAFETY: as above; an iteration may be prepared and then not run.
        unsafe { glib_sys::g_main_context_prepare(self.0, &raw mut priority) };
        // SAFETY: as above; no descriptor is written since there is room for none.
        let n = unsafe {
            glib_sys::g_main_context_query(self.0, c_int::MAX, &raw mut timeout, ptr::null_mut(), 0)
        };
        // SAFETY: as above; it was acquired here.
        unsafe { glib_sys::g_main_context_release(self.0) };
        usize::try_from(n).ok()
    }
}

fn subject() -> Subject {
    Subject::new("GLib", driver, net, || Ok(Rc::new(Glib::new())))
}

backend_suite!(glib, subject);
adaptor_suite!(adaptor, subject);

type Does = Box<dyn FnMut() -> io::Result<Turn>>;

/// A guest that does as it is told, and counts.
#[derive(Default)]
struct Puppet {
    turns: Cell<u32>,
    work: Cell<bool>,
    does: RefCell<Option<Does>>,
    pipe: RefCell<Option<io::PipeWriter>>,
    /// The number of the descriptor that was given away.
    watched: Cell<i32>,
}

impl Nested for Puppet {
    fn fd(&self) -> io::Result<OwnedFd> {
        let (reader, writer) = io::pipe()?;
        *self.pipe.borrow_mut() = Some(writer);
        self.watched.set(reader.as_raw_fd());
        Ok(reader.into())
    }

    fn dispatch(&self) -> io::Result<Turn> {
        self.turns.set(self.turns.get() + 1);
        let does = self.does.borrow_mut().take();
        does.map_or(Ok(Turn::default()), |mut does| does())
    }

    fn pending(&self) -> Pending {
        Pending { work: self.work.get(), deadline: None }
    }

    fn now(&self) -> lodger_backend::Micros {
        lodger_backend::Micros::ZERO
    }

    fn host(&self, _name: &str) {}
}

#[test]
fn the_default_context_is_never_taken_by_accident() {
    // SAFETY: NULL is allowed, and refused.
    let refused = unsafe { attach_raw(ptr::null_mut(), Puppet::default()) };

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_context_that_another_thread_runs_is_refused() {
    let glib = Glib::new();
    let address = glib.0 as usize;
    // SAFETY: the context outlives the thread.
    let acquire = move || unsafe { glib_sys::g_main_context_acquire(address as *mut GMainContext) };
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (taken, is_taken) = std::sync::mpsc::channel();
    let owner = thread::spawn(move || {
        taken.send(acquire()).unwrap();
        let _ = wait.recv();
        // SAFETY: as above; this thread has acquired it.
        unsafe { glib_sys::g_main_context_release(address as *mut GMainContext) };
    });
    assert_eq!(is_taken.recv().unwrap(), GTRUE);

    let refused = glib.context().attach(Rc::new(Puppet::default()));

    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop(go);
    owner.join().unwrap();
    glib.context().attach(Rc::new(Puppet::default())).unwrap();
}

#[test]
fn a_thread_that_is_not_the_guests_touches_nothing() {
    let glib = Glib::new();
    let puppet = Rc::new(Puppet::default());
    puppet.work.set(true);
    let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
    let stay = glib.context().attach(guest).unwrap();
    let address = glib.0 as usize;

    thread::spawn(move || {
        // SAFETY: the context outlives the thread, and no other runs it meanwhile.
        unsafe { glib_sys::g_main_context_iteration(address as *mut GMainContext, GFALSE) };
    })
    .join()
    .unwrap();

    assert!(!stay.is_attached());
    assert_eq!(puppet.turns.get(), 0);
    glib.iterate(false);
    assert_eq!(puppet.turns.get(), 0);
}

fn failing(does: impl FnMut() -> io::Result<Turn> + 'static) -> String {
    let glib = Glib::new();
    let puppet = Rc::new(Puppet::default());
    *puppet.does.borrow_mut() = Some(Box::new(does));
    puppet.work.set(true);
    let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
    let stay = glib.context().attach(guest).expect("a stay");
    let told = Rc::new(RefCell::new(None));
    let tell = Rc::clone(&told);
    stay.on_failure(move |error| *tell.borrow_mut() = Some(error.to_string()));

    glib.until("a failure is told", || told.borrow().is_some());
    glib.iterate(false);

    assert!(!stay.is_attached());
    assert_eq!(puppet.turns.get(), 1);
    assert_eq!(Rc::strong_count(&puppet), 1);
    told.take().unwrap_or_default()
}

#[test]
fn a_turn_that_fails_ends_the_stay() {
    assert_eq!(failing(|| Err(io::Error::other("the queue is gone"))), "the queue is gone");
}

#[test]
fn a_panic_ends_the_stay_and_not_the_host() {
    assert_eq!(failing(|| panic!("on purpose")), "a turn panicked: on purpose");
}

/// Runs alone, so that no other test is given the number meanwhile.
#[test]
fn a_descriptor_that_is_closed_under_us_ends_the_stay() {
    let name = concat!(module_path!(), "::a_descriptor_that_is_closed_under_us_ends_the_stay");
    lodger_backend::suite::alone(name, || {
        let glib = Glib::new();
        let puppet = Rc::new(Puppet::default());
        let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
        let stay = glib.context().attach(guest).unwrap();
        let told = Rc::new(RefCell::new(None));
        let tell = Rc::clone(&told);
        stay.on_failure(move |error| *tell.borrow_mut() = Some(error.kind()));

        // SAFETY: it is not ours to close: what a program does that mixes its numbers up.
        drop(unsafe { OwnedFd::from_raw_fd(puppet.watched.get()) });
        glib.until("a failure is told", || told.borrow().is_some());

        assert_eq!(told.take(), Some(io::ErrorKind::BrokenPipe));
        assert_eq!(puppet.turns.get(), 0);
        assert!(falls_silent(&glib));
        // It would close the number once more, which std takes ill.
        std::mem::forget(stay);
    });
}

#[test]
fn a_guest_that_goes_away_in_its_own_turn_lives_until_the_turn_ends() {
    let glib = Glib::new();
    let puppet = Rc::new(Puppet::default());
    let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
    let stay: Rc<RefCell<Option<Attached>>> = Rc::default();
    *stay.borrow_mut() = Some(glib.context().attach(guest).unwrap());
    let (held, weak) = (Rc::clone(&stay), Rc::downgrade(&puppet));
    *puppet.does.borrow_mut() = Some(Box::new(move || {
        let leaving = held.borrow_mut().take();
        drop(leaving);
        assert!(weak.strong_count() > 0);
        Ok(Turn { again: true, ..Turn::default() })
    }));
    puppet.work.set(true);

    glib.iterate(false);
    glib.iterate(false);

    assert_eq!(puppet.turns.get(), 1);
    assert_eq!(Rc::strong_count(&puppet), 1);
}

#[test]
fn guests_in_one_context_are_served_by_priority() {
    let glib = Glib::new();
    let order: Rc<RefCell<Vec<i32>>> = Rc::default();
    let mut stays = Vec::new();
    let mut puppets = Vec::new();
    for priority in [200, 0, -100] {
        let puppet = Rc::new(Puppet::default());
        let (note, me) = (Rc::clone(&order), Rc::downgrade(&puppet));
        *puppet.does.borrow_mut() = Some(Box::new(move || {
            note.borrow_mut().push(priority);
            me.upgrade().unwrap().work.set(false);
            Ok(Turn::default())
        }));
        puppet.work.set(true);
        let guest: Rc<dyn Nested> = Rc::<Puppet>::clone(&puppet);
        stays.push(glib.context().priority(priority).attach(guest).unwrap());
        puppets.push(puppet);
    }

    glib.until("three turns", || order.borrow().len() == 3);

    assert_eq!(*order.borrow(), [-100, 0, 200]);
}

/// Runs what is ready, a hundred times at most; tells whether there was an end to it.
fn falls_silent(glib: &Glib) -> bool {
    // SAFETY: the context is alive and this thread's.
    (0..100).any(|_| unsafe { glib_sys::g_main_context_iteration(glib.0, GFALSE) } == GFALSE)
}

/// A runtime that is detached by its handle, or has ended, while the source is in its context:
/// what is reported still makes its descriptor readable.
#[test]
fn a_runtime_that_has_no_turns_leaves_the_loop_in_peace() {
    let glib = Glib::new();
    let rt = lodger::Runtime::standalone().unwrap();
    let _stay = glib.context().attach(Rc::new(rt.handle())).unwrap();
    let heard = Rc::new(Cell::new(0));
    let count = Rc::clone(&heard);
    let remote = rt.remote(move |_, n: i32| count.set(count.get() + n));
    rt.detach();
    remote.post(1).unwrap();

    assert!(falls_silent(&glib));
    assert_eq!(heard.get(), 0);
    rt.attach();
    glib.until("what was posted meanwhile", || heard.get() == 1);
    remote.post(1).unwrap();
    rt.end();
    assert!(falls_silent(&glib));
    assert_eq!(heard.get(), 1);
}
