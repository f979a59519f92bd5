//! The runtime: making and ending it, and the host's side of it.
#![allow(unsafe_code, reason = "hands a counted pointer to C")]

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{IntoRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use lodger_core::mqtt::{Broker, BrokerConfig};
use lodger_core::tls::ClientConfig;
use lodger_core::{Budget, ConnId, Host, Limits, Nested, Runtime};
use lodger_foreign::Table;

use super::border::{
    Fail, LODGER_E_ENDED, LODGER_E_FULL, LODGER_E_GONE, LODGER_E_PANIC, LODGER_OK, Res, Sized,
    enter, here, on, put, sized, text,
};

/// Bugs of lodger's own. A level lets through itself and those below it.
pub const LODGER_LOG_ERROR: i32 = 1;
/// Calls that failed, connections that could not be made.
pub const LODGER_LOG_WARN: i32 = 2;
/// What begins and ends.
pub const LODGER_LOG_INFO: i32 = 3;

/// `lodger_dispatch` says: work is left, dispatch again after the loop has had its own go.
pub const LODGER_AGAIN: i32 = 1;

/// Is told what happens, one line at a time. It must not call lodger.
pub type lodger_log_fn =
    Option<unsafe extern "C-unwind" fn(level: i32, line: *const c_char, user: *mut c_void)>;

/// A guest of a loop. Belongs to the thread that made it; references to it are counted.
pub struct lodger_runtime {
    runtime: Runtime,
    me: Weak<Self>,
    thread: usize,
    place: Loop,
    /// The guest's stay in a table's loop.
    stay: RefCell<Option<lodger_foreign::Attached>>,
    budget: Budget,
    /// Whom its clients trust; `None`: whom the system trusts.
    trust: RefCell<Option<ClientConfig>>,
    /// Of all its listeners for MQTT.
    broker: OnceCell<Broker>,
    poisoned: Cell<bool>,
    detached: Cell<bool>,
    log: lodger_log_fn,
    log_user: *mut c_void,
    log_level: i32,
}

/// How a runtime is made. Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_options {
    /// `sizeof(lodger_options)`.
    pub size: usize,
    /// Connections served in a turn at most (64).
    pub budget_ops: u32,
    /// Microseconds spent in a turn at most (500).
    pub budget_us: u32,
    /// Connections open at once (65,536).
    pub connections: usize,
    /// Bytes queued on a connection above which it takes no further message (256 KiB).
    pub queue_high: usize,
    /// Bytes of one message sent at most (64 MiB).
    pub send: usize,
    /// The highest level that is logged; 0 logs nothing.
    pub log_level: i32,
    /// Is told what happens, on the runtime's thread.
    pub log: lodger_log_fn,
    /// Is given to `log`.
    pub log_user: *mut c_void,
}

// SAFETY: `repr(C)`, begins with its size; integers, a nullable pointer and a nullable function.
unsafe impl Sized for lodger_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_options";
}

impl lodger_options {
    pub(super) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let set = |place: &mut usize, value: usize| {
            if value != 0 {
                *place = value;
            }
        };
        set(&mut limits.io.connections, self.connections);
        set(&mut limits.io.queue_high, self.queue_high);
        set(&mut limits.io.send, self.send);
        limits.io.queue_low = limits.io.queue_low.min(limits.io.queue_high);
        limits
    }

    fn budget(&self) -> Budget {
        let mut budget = Budget::default();
        if self.budget_ops != 0 {
            budget.ops = self.budget_ops;
        }
        if self.budget_us != 0 {
            budget.slice = Duration::from_micros(u64::from(self.budget_us));
        }
        budget
    }
}

/// Where its events come from.
pub(super) enum Loop {
    /// A kernel queue of its own, and the duplicate of it that the host watches.
    Own(Watched),
    /// A host's table of functions; `busy` while one of them runs.
    Table { table: Table, busy: Rc<Cell<bool>> },
}

/// A descriptor for the host. Not an `OwnedFd`: a host that has closed it against the contract is no
/// reason to abort.
pub(super) struct Watched(RawFd);

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: a number alone; nothing else here uses the descriptor.
        unsafe { close(self.0) };
    }
}

unsafe extern "C" {
    /// POSIX. `EBADF` does nothing.
    fn close(fd: c_int) -> c_int;
}

impl lodger_runtime {
    pub(super) fn is_foreign(&self) -> bool {
        self.thread != here()
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.get()
    }

    /// A function of the host's table is running, inside a call of ours.
    pub(super) fn is_busy(&self) -> bool {
        matches!(&self.place, Loop::Table { busy, .. } if busy.get())
    }

    /// Gives the host's table.
    pub(super) fn table(&self) -> Res<&Table> {
        match &self.place {
            Loop::Table { table, .. } => Ok(table),
            Loop::Own(_) => Err(Fail::misuse("the runtime was not made by lodger_new_on")),
        }
    }

    /// Leaves a table's loop, if it is in one.
    fn leave(&self) {
        let stay = self.stay.borrow_mut().take();
        drop(stay);
    }

    pub(super) fn poison(&self) {
        self.poisoned.set(true);
        self.detached.set(true);
    }

    pub(super) fn handle(&self) -> &lodger_core::Handle {
        &self.runtime
    }

    pub(super) fn set_trust(&self, trust: Option<ClientConfig>) {
        let before = self.trust.replace(trust);
        drop(before);
    }

    pub(super) fn trust(&self) -> Option<ClientConfig> {
        self.trust.borrow().clone()
    }

    pub(super) fn broker(&self) -> Broker {
        self.broker.get_or_init(|| Broker::new(&self.runtime, BrokerConfig::new())).clone()
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Gives the pointer that C knows it by.
    pub(super) fn pointer(this: &Rc<Self>) -> *mut Self {
        Rc::as_ptr(this).cast_mut()
    }

    /// It was ended, by whatever means.
    pub(super) fn check_alive(&self) -> Res<()> {
        if self.runtime.is_on() || self.detached.get() {
            return Ok(());
        }
        Err(Fail::new(LODGER_E_ENDED, "the runtime has ended"))
    }

    pub(super) fn log(&self, level: i32, line: &str) {
        let Some(log) = self.log.filter(|_| level <= self.log_level) else { return };
        let line = CString::new(line.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the options promised that `log` may be called with `log_user` on this thread.
        unsafe { log(level, line.as_ptr(), self.log_user) };
    }

    pub(super) fn log_failure(&self, text: &str, code: i32) {
        let level = match code {
            // What a well-behaved program meets every day is no news.
            LODGER_E_GONE | LODGER_E_FULL => return,
            LODGER_E_PANIC => LODGER_LOG_ERROR,
            _ => LODGER_LOG_WARN,
        };
        self.log(level, &format!("{text} ({code})"));
    }
}

/// Makes a runtime on its own kernel queue. `options` may be NULL. `*out` is written on success
/// alone; give it to `lodger_free` once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_new(
    options: *const lodger_options,
    out: Option<&mut MaybeUninit<*mut lodger_runtime>>,
) -> i32 {
    enter(|| {
        // SAFETY: the contract: NULL, or as long as its size says.
        let options = unsafe { sized(options) }?;
        let out = out.ok_or_else(|| Fail::null("the place for the runtime"))?;
        let limits = options.map_or_else(Limits::default, |options| options.limits());
        let runtime = Runtime::standalone_with(limits)?;
        let fd = Watched(runtime.handle().fd()?.into_raw_fd());
        runtime.set_host("C");
        make(runtime, Loop::Own(fd), options, out)
    })
}

/// Gives a runtime to C.
pub(super) fn make(
    runtime: Runtime,
    place: Loop,
    options: Option<lodger_options>,
    out: &mut MaybeUninit<*mut lodger_runtime>,
) -> Res {
    let budget = options.map_or_else(Budget::default, |options| options.budget());
    runtime.set_budget(budget);
    let rt = Rc::new_cyclic(|me| lodger_runtime {
        // In a table's loop it is from `lodger_attach` on.
        detached: Cell::new(matches!(place, Loop::Table { .. })),
        runtime,
        me: Weak::clone(me),
        thread: here(),
        place,
        stay: RefCell::default(),
        budget,
        trust: RefCell::default(),
        broker: OnceCell::new(),
        poisoned: Cell::new(false),
        log: options.and_then(|options| options.log),
        log_user: options.map_or(std::ptr::null_mut(), |options| options.log_user),
        log_level: options.map_or(0, |options| options.log_level),
    });
    rt.log(LODGER_LOG_INFO, "a runtime begins");
    out.write(Rc::into_raw(rt).cast_mut());
    Ok(LODGER_OK)
}

/// Ends the runtime and gives up one reference. Every handler hears `closed`: here, or, when it is
/// called inside a callback, as soon as the outermost `lodger_dispatch` or `lodger_run` is left.
/// NULL is allowed.
///
/// Glue that holds a reference (`lodger_ref`) keeps the memory; its calls say `LODGER_E_ENDED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_free(rt: *mut lodger_runtime) -> i32 {
    if rt.is_null() {
        return LODGER_OK;
    }
    // SAFETY: the contract: what `lodger_new` gave, and not given up before.
    let code = unsafe { lodger_end(rt) };
    // SAFETY: as above.
    let given_up = unsafe { lodger_unref(rt) };
    if code == LODGER_OK { given_up } else { code }
}

/// Takes one more reference, to be given up by `lodger_unref`. It keeps the memory, not the life.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_ref(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| {
        // It is never dropped: `lodger_unref` takes it up again.
        std::mem::forget(rt.me.upgrade());
        Ok(LODGER_OK)
    })
}

/// Gives up one reference; the last one ends the runtime. NULL is allowed. From another thread it
/// does nothing, and the memory stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_unref(rt: *mut lodger_runtime) -> i32 {
    // SAFETY: the contract: NULL, or a runtime with a reference to give up.
    let Some(known) = (unsafe { rt.as_ref() }) else { return LODGER_OK };
    if known.is_foreign() {
        return on(Some(known), |_| Ok(LODGER_OK));
    }
    // SAFETY: the pointer came from `Rc::into_raw`, and this reference is given up here, once.
    let rc = unsafe { Rc::from_raw(rt.cast_const()) };
    if rc.is_poisoned() {
        // Nobody knows what its drop would do.
        std::mem::forget(rc);
        return LODGER_E_PANIC;
    }
    enter(|| {
        if Rc::strong_count(&rc) == 1 && rc.check_alive().is_ok() {
            // Before the count is zero, so that callbacks are still given a runtime.
            rc.handle().end();
        }
        if Rc::strong_count(&rc) == 1 {
            rc.leave();
        }
        drop(rc);
        Ok(LODGER_OK)
    })
}

/// Ends everything: each handler hears `closed` with `LODGER_REASON_SHUTDOWN`. Legal inside a
/// callback, and again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_end(rt: *mut lodger_runtime) -> i32 {
    let end = |rt: &lodger_runtime| {
        if rt.check_alive().is_ok() {
            rt.log(LODGER_LOG_INFO, "the runtime ends");
        }
        rt.detached.set(false);
        rt.handle().end();
        rt.leave();
        Ok(LODGER_OK)
    };
    // SAFETY: the contract: NULL, or a runtime that was not given up.
    unsafe { held(rt, end) }
}

/// Says goodbye in every protocol, and ends the runtime after `grace_us` microseconds or when the
/// last connection has gone.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_shutdown(rt: Option<&lodger_runtime>, grace_us: u64) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        rt.handle().shutdown(Duration::from_micros(grace_us));
        Ok(LODGER_OK)
    })
}

/// As `on`, for what runs callbacks: they may give up the last reference. A pointer, since a
/// reference as an argument would have to outlive the drop at the end.
///
/// # Safety
///
/// `rt` is NULL, or a runtime that was not given up.
unsafe fn held(rt: *mut lodger_runtime, f: impl FnOnce(&lodger_runtime) -> Res) -> i32 {
    // SAFETY: the caller of this function promised it.
    let known = unsafe { rt.as_ref() };
    let rc = known.filter(|rt| !rt.is_foreign()).and_then(|rt| rt.me.upgrade());
    let code = on(rc.as_deref().or(known), f);
    // In here too callbacks may run, when it is the last.
    let dropped = enter(|| {
        drop(rc);
        Ok(LODGER_OK)
    });
    if dropped == LODGER_OK { code } else { dropped }
}

/// Gives the descriptor that a host watches for input, level-triggered, calling `lodger_dispatch`
/// when it is readable. It belongs to the runtime: do not read, write or close it.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_fd(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| match &rt.place {
        Loop::Own(fd) => Ok(fd.0),
        Loop::Table { .. } => Err(Fail::misuse("its host watches each descriptor")),
    })
}

/// Runs one turn without waiting: callbacks are called from here. Gives 0, or `LODGER_AGAIN` if
/// work is left, or an error. May be called again from inside a callback. A host that watches the
/// descriptor level-triggered may ignore `LODGER_AGAIN`: the descriptor stays readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_dispatch(rt: *mut lodger_runtime) -> i32 {
    let turn = |rt: &lodger_runtime| {
        rt.check_alive()?;
        let done = match &rt.place {
            Loop::Own(_) => rt.handle().dispatch()?,
            Loop::Table { table, .. } => table.turn()?,
        };
        Ok(if done.again { LODGER_AGAIN } else { 0 })
    };
    // SAFETY: the contract: NULL, or a runtime that was not given up.
    unsafe { held(rt, turn) }
}

/// Runs the runtime's own loop until it ends or is detached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_run(rt: *mut lodger_runtime) -> i32 {
    let run = |rt: &lodger_runtime| {
        rt.check_alive()?;
        let mut again = false;
        while rt.handle().is_on() {
            again = rt.handle().step(again.then_some(Duration::ZERO), rt.budget)?.again;
        }
        Ok(LODGER_OK)
    };
    // SAFETY: the contract: NULL, or a runtime that was not given up.
    unsafe { held(rt, run) }
}

/// Tells whether work waits that the descriptor does not announce: 1 is "dispatch before you
/// block". To be asked where a host has a hook before it blocks; costs a few loads.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_pending(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| Ok(i32::from(rt.handle().pending().work)))
}

/// Gives the microseconds from now to the next timer, 0 if it is due, -1 if there is none. A host
/// that watches the descriptor needs it not: the descriptor becomes readable then.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_next_deadline(rt: Option<&lodger_runtime>) -> i64 {
    let mut micros = -1;
    on(rt, |rt| {
        if let Some(at) = rt.handle().pending().deadline {
            let left = (at - Nested::now(rt.handle())).as_micros();
            micros = i64::try_from(left).unwrap_or(i64::MAX);
        }
        Ok(LODGER_OK)
    });
    micros
}

/// Reads the runtime's monotonic clock, in microseconds; inside a callback it is the time that its
/// turn knows. 0 without a runtime of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_now(rt: Option<&lodger_runtime>) -> u64 {
    let mut micros = 0;
    on(rt, |rt| {
        micros = rt.handle().now().get();
        Ok(LODGER_OK)
    });
    micros
}

/// Stops all callbacks; nothing is lost, and what arrives meanwhile is found after
/// `lodger_attach`. Legal inside a callback, and again.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_detach(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        rt.handle().detach();
        rt.detached.set(true);
        rt.leave();
        Ok(LODGER_OK)
    })
}

/// Goes on after `lodger_detach`, in the same host or another. A runtime of `lodger_new_on` is in
/// its host's loop from here on, or the host has refused a descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_attach(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        if let Loop::Table { table, .. } = &rt.place
            && rt.stay.borrow().is_none()
        {
            let stay = table.attach(Rc::new(rt.handle().clone()))?;
            *rt.stay.borrow_mut() = Some(stay);
        }
        rt.detached.set(false);
        rt.handle().attach();
        Ok(LODGER_OK)
    })
}

/// Says that the callback under way is about to run the host's loop: a modal dialog. All
/// connections but those whose callbacks are on the stack are served meanwhile. Followed by
/// `lodger_modal_end` in the same callback.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_modal_begin(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| {
        rt.handle().begin_modal();
        Ok(LODGER_OK)
    })
}

/// Ends what `lodger_modal_begin` began.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_modal_end(rt: Option<&lodger_runtime>) -> i32 {
    on(rt, |rt| {
        rt.handle().end_modal();
        Ok(LODGER_OK)
    })
}

/// Names the host for people to read, as on the live page: "GLib 2.74.6".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_host(rt: Option<&lodger_runtime>, name: *const c_char) -> i32 {
    on(rt, |rt| {
        // SAFETY: the contract of strings.
        let name = unsafe { text(name, "the host's name") }?;
        rt.handle().set_host(name);
        Ok(LODGER_OK)
    })
}

/// Asks for one `writable` of a connection, once it has room for output.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_want_write(rt: Option<&lodger_runtime>, conn: u64) -> i32 {
    on(rt, |rt| {
        rt.handle().want_write(ConnId::from_bits(conn))?;
        Ok(LODGER_OK)
    })
}

/// Stops (`on` not 0) or resumes the input of a connection. What its peer sends meanwhile is the
/// peer's to hold.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_pause(rt: Option<&lodger_runtime>, conn: u64, paused: i32) -> i32 {
    on(rt, |rt| {
        rt.handle().pause(ConnId::from_bits(conn), paused != 0)?;
        Ok(LODGER_OK)
    })
}

/// Ends a connection now, dropping what is queued. Nothing happens if it has ended.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_abort(rt: Option<&lodger_runtime>, conn: u64) -> i32 {
    on(rt, |rt| {
        rt.handle().abort(ConnId::from_bits(conn));
        Ok(LODGER_OK)
    })
}

/// Writes how many bytes wait to be sent on a connection; 0 if it has ended.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_queued(
    rt: Option<&lodger_runtime>,
    conn: u64,
    out: Option<&mut MaybeUninit<usize>>,
) -> i32 {
    on(rt, |rt| put(out, rt.handle().queued(ConnId::from_bits(conn))))
}
