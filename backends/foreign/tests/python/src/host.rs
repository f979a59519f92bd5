//! Python's loop as the kit's host, and its operations as a table's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use lodger_backend::suite::{Guest, Loop, Stay};
use lodger_backend::{
    Attached, Caps, Host as _, Interest, Micros, Nested, Ready, Token, Trigger, Turn, Waker,
};
use lodger_foreign::{Ops, Table};

use crate::ffi::asked;

/// Asks whether what a run waits for has come: not 0 if so.
pub(crate) type Asked = extern "C" fn(data: *mut c_void) -> c_int;

/// What `run.py` does for the kit. Times are microseconds; what can fail gives 0 or an errno.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Host {
    /// Runs the loop for so long at most, or until `asked(data)`; gives what it said last.
    run: extern "C" fn(limit: u64, asked: Asked, data: *mut c_void) -> c_int,
    /// Calls `suite_fire(id)` by a timer; with 0 in the next iteration.
    after: extern "C" fn(delay: u64, id: u64),
    /// Gives how many sources the loop has, or -1.
    sources: extern "C" fn() -> i64,
    /// Calls `suite_dispatch(id)` whenever the descriptor is readable.
    enter: extern "C" fn(fd: c_int, id: u64) -> c_int,
    leave: extern "C" fn(fd: c_int),
    /// Watches for 1 read, 2 write, 3 both, 0 nothing, in place of what was watched for, and tells
    /// `suite_report(token, ready)`; a `suite_turn` follows.
    watch: extern "C" fn(fd: c_int, token: u64, want: c_int) -> c_int,
    /// Calls `suite_fired` after so long, and then `suite_turn`; -1 stops the timer.
    timer: extern "C" fn(delay: i64),
    /// Calls `suite_turn` in the next iteration.
    turn: extern "C" fn(),
    /// As `turn`, from any thread.
    wake: extern "C" fn(),
}

thread_local! {
    static AFTERS: RefCell<BTreeMap<u64, Box<dyn FnOnce()>>> = const { RefCell::new(BTreeMap::new()) };
    static SEATS: RefCell<BTreeMap<u64, Weak<dyn Nested>>> = const { RefCell::new(BTreeMap::new()) };
    static TABLE: RefCell<Option<Table>> = const { RefCell::new(None) };
    static NEXT: Cell<u64> = const { Cell::new(1) };
}

fn next() -> u64 {
    NEXT.replace(NEXT.get() + 1)
}

/// Runs what [`Loop::after`] was given.
pub(crate) fn fire(id: u64) {
    let f = AFTERS.with_borrow_mut(|afters| afters.remove(&id));
    if let Some(f) = f {
        f();
    }
}

/// Gives the guest of this number a turn, unless it has left.
pub(crate) fn dispatch(id: u64) -> io::Result<Turn> {
    let guest = SEATS.with_borrow(|seats| seats.get(&id).and_then(Weak::upgrade));
    guest.map_or(Ok(Turn::default()), |guest| guest.dispatch())
}

/// Has the table be the one that reports are for.
pub(crate) fn lay(table: &Table) {
    TABLE.set(Some(table.clone()));
}

/// Gives the table that was laid last, if it is still there.
pub(crate) fn laid() -> Option<Table> {
    TABLE.with_borrow(Clone::clone)
}

/// What an operation of Python's gave.
fn ok(errno: c_int) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The loop, as the kit drives it.
pub(crate) struct Borrowed {
    host: Host,
    table: Option<Table>,
}

impl Borrowed {
    pub(crate) fn nested(host: Host) -> Self {
        Self { host, table: None }
    }

    pub(crate) fn on(host: Host, table: Table) -> Self {
        Self { host, table: Some(table) }
    }
}

impl Loop for Borrowed {
    fn attach(&self, guest: &Rc<Guest>) -> io::Result<Box<dyn Stay>> {
        let guest: Rc<dyn Nested> = Rc::<Guest>::clone(guest);
        match &self.table {
            Some(table) => Ok(Box::new(table.attach(guest)?)),
            None => Ok(Box::new(Seated::new(self.host, guest)?)),
        }
    }

    fn run(&self, limit: Duration, mut done: &mut dyn FnMut() -> bool) -> bool {
        let data: *mut &mut dyn FnMut() -> bool = &raw mut done;
        (self.host.run)(micros(limit), asked, data.cast()) != 0
    }

    fn after(&self, delay: Duration, f: Box<dyn FnOnce()>) {
        let id = next();
        AFTERS.with_borrow_mut(|afters| afters.insert(id, f));
        (self.host.after)(micros(delay), id);
    }

    /// Python refuses to run a loop inside itself.
    fn nests(&self) -> bool {
        false
    }

    fn sources(&self) -> Option<usize> {
        usize::try_from((self.host.sources)()).ok()
    }
}

/// A guest whose one descriptor is watched; dropping it stops that.
struct Seated {
    host: Host,
    id: u64,
    fd: OwnedFd,
    _guest: Rc<dyn Nested>,
}

impl Seated {
    fn new(host: Host, guest: Rc<dyn Nested>) -> io::Result<Self> {
        let (id, fd) = (next(), guest.fd()?);
        ok((host.enter)(fd.as_raw_fd(), id))?;
        guest.host("a loop of Python's");
        SEATS.with_borrow_mut(|seats| seats.insert(id, Rc::downgrade(&guest)));
        Ok(Self { host, id, fd, _guest: guest })
    }
}

impl Attached for Seated {
    /// `remove_reader` is at once.
    fn detach(self, done: Box<dyn FnOnce()>) {
        drop(self);
        done();
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        SEATS.with_borrow_mut(|seats| seats.remove(&self.id));
        (self.host.leave)(self.fd.as_raw_fd());
    }
}

/// The loop's operations, as a table has them.
pub(crate) struct PyOps {
    host: Host,
    epoch: Instant,
}

impl PyOps {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, epoch: Instant::now() }
    }
}

impl Ops for PyOps {
    fn name(&self) -> String {
        "a table of Python's".into()
    }

    /// Python's loops wait for whole milliseconds.
    fn caps(&self) -> Caps {
        Caps { trigger: Trigger::Level, timer_resolution: Duration::from_millis(2) }
    }

    fn now(&self) -> Micros {
        Micros::new(micros(self.epoch.elapsed()))
    }

    fn watch(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        ok((self.host.watch)(fd, token.bits(), want.bits().into()))
    }

    fn rearm(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        self.watch(fd, token, want)
    }

    fn unwatch(&self, fd: RawFd, token: Token) {
        (self.host.watch)(fd, token.bits(), 0);
    }

    fn set_timer(&self, at: Option<Micros>) {
        let delay = at.map(|at| micros(at.since(self.now())));
        (self.host.timer)(delay.map_or(-1, |delay| i64::try_from(delay).unwrap_or(i64::MAX)));
    }

    fn request_turn(&self) {
        (self.host.turn)();
    }

    fn waker(&self) -> Waker {
        Waker::new(self.host.wake_from_anywhere())
    }
}

impl Host {
    fn wake_from_anywhere(self) -> impl Fn() + Send + Sync + 'static {
        let wake = self.wake;
        move || wake()
    }
}

/// Takes a report of Python's.
pub(crate) fn report(token: u64, ready: c_int) {
    if let (Some(table), Ok(ready)) = (laid(), u8::try_from(ready)) {
        table.report(Token::from_bits(token), Ready::from_bits(ready));
    }
}
