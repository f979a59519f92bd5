//! A host that watches each descriptor itself: its loop as a table of functions.
#![allow(unsafe_code, reason = "calls the host through C function pointers")]

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger_backend::{Caps, Interest, Micros, Ready, Token, Trigger, Waker};
use lodger_core::Runtime;
use lodger_foreign::{Ops, Table};
use lodger_mio::OsNet;

use super::border::{Fail, LODGER_OK, Res, Sized, enter, on, sized, text};
use super::runtime::{Loop, lodger_options, lodger_runtime, make};

/// A ready direction is reported as long as it lasts: poll(), select(), epoll without flags.
pub const LODGER_LEVEL: i32 = 0;
/// Once a change: EPOLLET.
pub const LODGER_EDGE: i32 = 1;
/// Once, then not until the next `rearm`: EPOLLONESHOT.
pub const LODGER_ONESHOT: i32 = 2;

/// Input.
pub const LODGER_READ: i32 = 1;
/// Output.
pub const LODGER_WRITE: i32 = 2;
/// Hang-up or error; reported together with both directions.
pub const LODGER_HUP: i32 = 4;

/// A host's loop, for one guest. All functions are called on the runtime's thread, `wake` excepted,
/// with the `host` that was given to `lodger_new_on`; none may wait or call lodger. None may be
/// NULL. While the runtime is not attached none but `wake` is called.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_ops {
    /// `sizeof(lodger_ops)`.
    pub size: usize,
    /// How the loop reports readiness: `LODGER_LEVEL`, `LODGER_EDGE` or `LODGER_ONESHOT`.
    pub trigger: i32,
    /// How many microseconds late the loop's timer may be.
    pub timer_resolution_us: u32,
    /// Names the host for people to read; copied.
    pub name: *const c_char,
    /// Begins to watch `fd` for `want` (`LODGER_READ`, `LODGER_WRITE`, both or 0), which is to be
    /// reported under `token`. 0 is silence, hang-up included; an edge-triggered loop is asked for
    /// both. Gives 0, or an errno if the loop refuses.
    pub watch: Option<
        unsafe extern "C-unwind" fn(host: *mut c_void, fd: i32, token: u64, want: i32) -> i32,
    >,
    /// Replaces the directions watched. Not called on an edge-triggered loop.
    pub rearm: Option<
        unsafe extern "C-unwind" fn(host: *mut c_void, fd: i32, token: u64, want: i32) -> i32,
    >,
    /// Stops watching; the descriptor is closed next, or watched again.
    pub unwatch: Option<unsafe extern "C-unwind" fn(host: *mut c_void, fd: i32, token: u64)>,
    /// Sets the guest's one timer to so many microseconds from now, in place of what was set; -1
    /// stops it. When it fires, once: `lodger_fired`, then `lodger_dispatch`.
    pub set_timer: Option<unsafe extern "C-unwind" fn(host: *mut c_void, delay_us: i64)>,
    /// Asks for one `lodger_dispatch` after the loop has had its own go.
    pub request_turn: Option<unsafe extern "C-unwind" fn(host: *mut c_void)>,
    /// Asks for one `lodger_dispatch`, from any thread; many before it are one. Called as long as
    /// anybody has a `lodger_remote`, which may be longer than the runtime lives.
    pub wake: Option<unsafe extern "C-unwind" fn(host: *mut c_void)>,
}

// SAFETY: `repr(C)`, begins with its size; integers, a nullable pointer and nullable functions.
unsafe impl Sized for lodger_ops {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_ops";
}

/// What is called, checked.
struct Functions {
    watch: unsafe extern "C-unwind" fn(*mut c_void, i32, u64, i32) -> i32,
    rearm: unsafe extern "C-unwind" fn(*mut c_void, i32, u64, i32) -> i32,
    unwatch: unsafe extern "C-unwind" fn(*mut c_void, i32, u64),
    set_timer: unsafe extern "C-unwind" fn(*mut c_void, i64),
    request_turn: unsafe extern "C-unwind" fn(*mut c_void),
    wake: unsafe extern "C-unwind" fn(*mut c_void),
}

impl Functions {
    fn of(ops: &lodger_ops) -> Option<Self> {
        Some(Self {
            watch: ops.watch?,
            rearm: ops.rearm?,
            unwatch: ops.unwatch?,
            set_timer: ops.set_timer?,
            request_turn: ops.request_turn?,
            wake: ops.wake?,
        })
    }
}

/// The host, as the table of `lodger-foreign` wants it.
struct Foreign {
    name: String,
    caps: Caps,
    call: Functions,
    host: *mut c_void,
    began: Instant,
    /// A function of the host's is running: it may not call lodger.
    busy: Rc<Cell<bool>>,
}

impl Foreign {
    /// Runs a function of the host's.
    fn calling<T>(&self, f: impl FnOnce(&Functions, *mut c_void) -> T) -> T {
        let before = self.busy.replace(true);
        let result = f(&self.call, self.host);
        self.busy.set(before);
        result
    }
}

fn done(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

impl Ops for Foreign {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn now(&self) -> Micros {
        Micros::new(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn watch(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        let (token, want) = (token.bits(), i32::from(want.bits()));
        // SAFETY: `lodger_new_on` was promised that it may be called with `host`.
        done(self.calling(|call, host| unsafe { (call.watch)(host, fd, token, want) }))
    }

    fn rearm(&self, fd: RawFd, token: Token, want: Interest) -> io::Result<()> {
        let (token, want) = (token.bits(), i32::from(want.bits()));
        // SAFETY: as in `watch`.
        done(self.calling(|call, host| unsafe { (call.rearm)(host, fd, token, want) }))
    }

    fn unwatch(&self, fd: RawFd, token: Token) {
        // SAFETY: as in `watch`.
        self.calling(|call, host| unsafe { (call.unwatch)(host, fd, token.bits()) });
    }

    fn set_timer(&self, at: Option<Micros>) {
        let delay = at.map_or(-1, |at| {
            // Rounded up: a timer is never early.
            let micros = (at - self.now()).as_micros().saturating_add(1);
            i64::try_from(micros).unwrap_or(i64::MAX)
        });
        // SAFETY: as in `watch`.
        self.calling(|call, host| unsafe { (call.set_timer)(host, delay) });
    }

    fn request_turn(&self) {
        // SAFETY: as in `watch`.
        self.calling(|call, host| unsafe { (call.request_turn)(host) });
    }

    fn waker(&self) -> Waker {
        let wake = Wake { call: self.call.wake, host: self.host };
        Waker::new(move || wake.now())
    }
}

/// What other threads call.
struct Wake {
    call: unsafe extern "C-unwind" fn(*mut c_void),
    host: *mut c_void,
}

// SAFETY: `lodger_ops` says that `wake` is called from any thread, with this `host`.
unsafe impl Send for Wake {}

// SAFETY: as above; several threads may be in it at once.
unsafe impl Sync for Wake {}

impl Wake {
    fn now(&self) {
        // SAFETY: `lodger_new_on` was promised that it may be called as long as a remote is there.
        unsafe { (self.call)(self.host) };
    }
}

/// Reads a table.
///
/// # Safety
///
/// `ops` is NULL or as long as its size says, with a name that ends with a NUL; its functions may be
/// called with `host`.
unsafe fn read(ops: *const lodger_ops, host: *mut c_void) -> Res<Foreign> {
    // SAFETY: the caller of this function promised it.
    let ops = unsafe { sized(ops) }?.ok_or_else(|| Fail::null("the table"))?;
    let call = Functions::of(&ops).ok_or_else(|| Fail::null("a function of the table"))?;
    // SAFETY: as above.
    let name = unsafe { text(ops.name, "the host's name") }?.to_owned();
    let trigger = match ops.trigger {
        LODGER_LEVEL => Trigger::Level,
        LODGER_EDGE => Trigger::Edge,
        LODGER_ONESHOT => Trigger::Oneshot,
        _ => return Err(Fail::misuse("a loop is LODGER_LEVEL, LODGER_EDGE or LODGER_ONESHOT")),
    };
    let timer_resolution = Duration::from_micros(u64::from(ops.timer_resolution_us));
    let caps = Caps { trigger, timer_resolution };
    Ok(Foreign { name, caps, call, host, began: Instant::now(), busy: Rc::default() })
}

/// Makes a runtime on a host's own loop, for a host that must see each descriptor, or cannot watch
/// one that is a queue itself. It has no descriptor of its own and is in the loop after
/// `lodger_attach`. `ops` is copied; `host` must outlast the runtime and every remote.
///
/// The host reports what is ready (`lodger_report`, `lodger_fired`) and then gives one
/// `lodger_dispatch` for all of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_new_on(
    options: *const lodger_options,
    ops: *const lodger_ops,
    host: *mut c_void,
    out: Option<&mut MaybeUninit<*mut lodger_runtime>>,
) -> i32 {
    enter(|| {
        // SAFETY: the contract of structs with a size.
        let options = unsafe { sized(options) }?;
        // SAFETY: the contract, as said above.
        let foreign = unsafe { read(ops, host) }?;
        let out = out.ok_or_else(|| Fail::null("the place for the runtime"))?;
        let busy = Rc::clone(&foreign.busy);
        let table = Table::new(Box::new(foreign));
        let limits = options.map_or_else(Default::default, |options| options.limits());
        let runtime = Runtime::with(table.driver(), Rc::new(OsNet::new()?), limits);
        make(runtime, Loop::Table { table, busy }, options, out)
    })
}

/// Tells that what is watched under `token` may be ready: `LODGER_READ`, `LODGER_WRITE`,
/// `LODGER_HUP` with both. A hint: late, repeated and wrong ones do no harm. `lodger_dispatch`
/// follows.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_report(rt: Option<&lodger_runtime>, token: u64, ready: i32) -> i32 {
    on(rt, |rt| {
        let ready = ready & (LODGER_READ | LODGER_WRITE | LODGER_HUP);
        let ready = Ready::from_bits(u8::try_from(ready).unwrap_or(0));
        rt.table()?.report(Token::from_bits(token), ready);
        Ok(LODGER_OK)
    })
}

/// Tells that the timer has fired. `lodger_dispatch` follows.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_fired(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| {
        rt.table()?.fired();
        Ok(LODGER_OK)
    })
}
