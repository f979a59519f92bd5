//! The runtime: joins a loop, the system's sockets, the scheduler and the protocols.
//!
//! One [`Runtime`] owns everything; [`Handle`]s to it live in handlers, timers and the host's own
//! code. Nothing of it is borrowed while user code runs, so every method may be called from
//! anywhere on the loop's thread, and no method runs user code: callbacks come from a turn.

mod channel;
mod core;
mod date;
#[cfg_attr(
    not(all(feature = "client", feature = "ws")),
    allow(dead_code, reason = "made by clients alone, and stages by WebSockets")
)]
mod dial;
mod ending;
mod entropy;
pub(crate) mod fanout;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "servers serve files"))]
pub(crate) mod file;
pub(crate) mod handler;
mod id;
mod interest;
#[cfg(feature = "h2")]
mod link;
mod listen;
mod names;
mod pages;
mod pump;
mod race;
mod remote;
mod serve;
mod slot;
mod stats;
#[cfg(feature = "client")]
mod streams;
mod text;
mod timers;
mod turn;
mod view;

use std::boxed::Box;
use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::vec::Vec;

#[cfg(unix)]
use std::os::fd::OwnedFd;

use lodger_backend::{Budget, Driver, Micros, Nested, Net, Pending, Turn};

#[cfg(feature = "client")]
pub(crate) use self::channel::Channel;
#[cfg(feature = "client")]
pub(crate) use self::dial::To;
pub use self::fanout::{Delivery, WhenFull};
pub use self::handler::{Serve, Service};
pub use self::id::{ConnId, Gone, ListenerId, Reason, Rejected, SendError, TimerId};
pub use self::names::{Query, Resolver};
pub use self::remote::Remote;
pub use self::stats::{Log2, Stats};
#[cfg(feature = "client")]
pub(crate) use self::streams::Stream;
#[cfg(feature = "client")]
pub use self::streams::StreamInfo;
pub use self::view::{ConnInfo, TimerInfo};

use self::core::{Core, Life};
use self::remote::{Sink, Wake};
use self::slot::{Flags, State};
use crate::io::Tx;
use crate::proto::Cx;
use crate::proto::stack::{Farewell, Stack};
use crate::{Error, Limits};

/// Owns a loop's guest: connections, listeners, timers. Dropping it ends them all.
///
/// Not `Clone`; give [`handle`](Self::handle)s away instead.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
}

/// Reaches a [`Runtime`] from anywhere on its thread. Cheap to clone; `!Send`.
///
/// After the runtime has ended every method says so in its own way (`Gone`, `false`, `None`).
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<lodger::Handle>(); // what crosses threads is `Remote`
/// ```
#[derive(Clone)]
pub struct Handle(Rc<Shared>);

struct Shared {
    core: RefCell<Core>,
    driver: RefCell<Box<dyn Driver>>,
    net: Rc<dyn Net>,
    wake: Arc<Wake>,
    sinks: RefCell<Vec<Option<Sink>>>,
    #[cfg(feature = "client")]
    streams: RefCell<streams::Streams>,
    names: RefCell<names::Names>,
    /// What clients trust unless they say otherwise, once one has asked.
    #[cfg(all(feature = "tls", feature = "client"))]
    trust: ::core::cell::OnceCell<crate::proto::tls::ClientConfig>,
    budget: Cell<Budget>,
}

impl ::core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.write_str("Handle")
    }
}

impl ::core::ops::Deref for Runtime {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Runtime {
    /// Makes a runtime on its own loop, with the default limits.
    ///
    /// # Errors
    ///
    /// The system gave no kernel queue or timer.
    #[cfg(all(unix, feature = "mio"))]
    pub fn standalone() -> io::Result<Self> {
        Self::standalone_with(Limits::default())
    }

    /// Makes a runtime on its own loop.
    ///
    /// # Errors
    ///
    /// The system gave no kernel queue or timer.
    #[cfg(all(unix, feature = "mio"))]
    pub fn standalone_with(limits: Limits) -> io::Result<Self> {
        let net = Rc::new(lodger_mio::OsNet::new()?);
        let runtime = Self::with(Box::new(lodger_mio::MioDriver::new()?), net, limits);
        runtime.set_host("its own loop (mio)");
        Ok(runtime)
    }

    /// Makes a runtime on a driver and a net of the caller's.
    pub fn with(driver: Box<dyn Driver>, net: Rc<dyn Net>, limits: Limits) -> Self {
        let wake = Arc::new(Wake::new(driver.waker()));
        let mut core = Core::new(limits, driver.caps().trigger);
        core.now = driver.now();
        let shared = Shared {
            core: RefCell::new(core),
            driver: RefCell::new(driver),
            net,
            wake,
            sinks: RefCell::new(Vec::new()),
            #[cfg(feature = "client")]
            streams: RefCell::default(),
            names: RefCell::default(),
            #[cfg(all(feature = "tls", feature = "client"))]
            trust: ::core::cell::OnceCell::new(),
            budget: Cell::new(Budget::default()),
        };
        Self { handle: Handle(Rc::new(shared)) }
    }

    /// Gives a handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs the standalone loop until [`Handle::end`], the end of [`Handle::shutdown`] or
    /// [`Handle::detach`]; then everything is dropped.
    ///
    /// # Errors
    ///
    /// The kernel queue failed.
    pub fn run(self) -> io::Result<()> {
        let mut again = false;
        while self.is_on() {
            let timeout = again.then_some(Duration::ZERO);
            again = self.step(timeout, self.0.budget.get())?.again;
        }
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.handle.end();
    }
}

/// The host's side: see [`Nested`].
impl Handle {
    /// Stops all callbacks; nothing is lost. What arrives meanwhile is found after
    /// [`attach`](Self::attach). Legal inside a callback.
    pub fn detach(&self) {
        let mut core = self.core();
        if core.life == Life::On {
            core.life = Life::Detached;
        }
    }

    /// Goes on after [`detach`](Self::detach), in the same host or another.
    pub fn attach(&self) {
        let mut core = self.core();
        if core.life == Life::Detached {
            core.life = Life::On;
            core.asked = false;
            self.reprogram(&mut core);
            self.ask(&mut core);
        }
    }

    /// Ends everything: each handler hears `closed(Shutdown)`, here or, inside a callback, when
    /// the outermost turn is left. Later calls say Gone.
    pub fn end(&self) {
        let outermost = {
            let mut core = self.core();
            core.life = Life::Dead;
            for index in 0..core.slots.end() {
                core.abort(index, Reason::Shutdown);
            }
            core.depth == 0
        };
        if outermost {
            self.bury_all();
        }
    }

    /// Says goodbye in every protocol: listeners stop, idle connections close, answers under way
    /// are completed, WebSockets close with 1001. After `grace`, or when the last connection has
    /// gone, the runtime ends.
    pub fn shutdown(&self, grace: Duration) {
        let mut core = self.core();
        if core.leaving || core.life == Life::Dead {
            return;
        }
        core.leaving = true;
        for index in 0..core.slots.end() {
            self.say_goodbye(&mut core, index);
        }
        drop(core);
        self.after(grace, Self::end);
        let mut core = self.core();
        self.ask(&mut core);
    }

    fn say_goodbye(&self, core: &mut Core, index: u32) {
        let Some(slot) = core.slots.get(index) else { return };
        if slot.state != State::Open || slot.flags.has(Flags::ASIDE) {
            return;
        }
        if slot.flags.has(Flags::LISTENER) {
            core.abort(index, Reason::Done);
            return;
        }
        if !core.farewell(index, Farewell::Leaving, &*self.0.net) {
            core.start_close(index, Reason::Shutdown, false);
        }
        core.mark_dirty(index);
        core.kick(index);
    }

    /// Reads the loop's clock as the turn under way knows it; out of a turn, the clock itself.
    pub fn now(&self) -> Micros {
        let mut core = self.core();
        self.time(&mut core)
    }

    /// Tells in whose loop the runtime lives, for people to read.
    pub fn set_host(&self, name: &str) {
        let mut core = self.core();
        core.host.clear();
        core.host.push_str(name);
    }

    /// Whether it has ended. What is given to it now is dropped.
    pub(crate) fn is_dead(&self) -> bool {
        self.core().life == Life::Dead
    }

    /// Whether it runs: not detached, not ended.
    pub fn is_on(&self) -> bool {
        self.core().life == Life::On
    }
}

/// Connections of every protocol.
impl Handle {
    /// Tells whether a connection still takes part.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.core().open(id).is_some()
    }

    /// Ends a connection now, dropping what is queued; its handler hears `closed(Aborted)` from a
    /// turn. Does nothing if it has ended.
    pub fn abort(&self, id: ConnId) {
        let mut core = self.core();
        if core.named(id).is_some() {
            core.abort(id.index, Reason::Aborted);
            self.ask(&mut core);
        }
    }

    /// Asks for one `writable`, told from a turn once there is room for output.
    ///
    /// # Errors
    ///
    /// The connection has ended or is ending.
    pub fn want_write(&self, id: ConnId) -> Result<(), Gone> {
        let mut core = self.core();
        core.open(id).ok_or(Gone)?.flags.set(Flags::WANT);
        self.touch(&mut core, id.index, true);
        Ok(())
    }

    /// Stops or resumes a connection's input. A paused one costs nothing; what its peer sends is
    /// the peer's to hold.
    ///
    /// # Errors
    ///
    /// The connection has ended or is ending.
    pub fn pause(&self, id: ConnId, on: bool) -> Result<(), Gone> {
        let mut core = self.core();
        let slot = core.open(id).ok_or(Gone)?;
        slot.stack.hold();
        if on {
            slot.flags.set(Flags::PAUSED);
        } else {
            slot.flags.clear(Flags::PAUSED);
            // What waits may be no more than the end of something: nothing else announces it.
            core.kick(id.index);
            self.touch(&mut core, id.index, true);
            self.sync(&mut core, id.index);
        }
        Ok(())
    }

    /// Gives how many bytes wait to be sent on a connection, those of files not counted.
    pub fn queued(&self, id: ConnId) -> usize {
        self.core().named(id).map_or(0, |slot| slot.out.len())
    }

    /// Lets `f` write to a connection that `speaks` its protocol, if it takes part and `len` more
    /// bytes are within bounds.
    pub(crate) fn send_with(
        &self,
        id: ConnId,
        speaks: fn(&Stack) -> bool,
        len: usize,
        f: impl FnOnce(&mut Stack, &mut Cx<'_>, &mut Tx<'_>) -> Result<(), Error>,
    ) -> Result<(), SendError> {
        let mut core = self.core();
        let core = &mut *core;
        let Core { slots, pool, extras, entropy, limits, now, .. } = core;
        let slot = slots
            .get_mut(id.index)
            .filter(|slot| slot.generation == id.generation && slot.state == State::Open)
            .ok_or(SendError::Gone)?;
        if !speaks(&slot.stack) {
            return Err(Error::misuse("the connection speaks another protocol").into());
        }
        if slot.out.len() > limits.io.queue_high {
            return Err(SendError::Full { room: 0 });
        }
        if len > limits.io.send {
            return Err(Error::misuse("the message is over the limit for one send").into());
        }
        let net = &*self.0.net;
        let mut random = || entropy.next(net);
        let mut cx = Cx { now: *now, limits, random: &mut random };
        if slot.flags.has(Flags::SHARED) {
            slot.put_pending(&mut cx, pool, extras, usize::MAX);
        }
        f(&mut slot.stack, &mut cx, &mut Tx::new(&mut slot.out, pool))?;
        // What a handler sends on its own connection goes out when it returns.
        if !slot.flags.has(Flags::RUNNING) || core.modal != 0 {
            self.touch(core, id.index, false);
        }
        Ok(())
    }

    /// Notes that a connection was written to, or (`serve`) that it is to be served again.
    #[inline(always)]
    pub(crate) fn touch(&self, core: &mut Core, index: u32, serve: bool) {
        let Some(slot) = core.slots.get(index) else { return };
        if !slot.is_seen(serve) || core.modal != 0 {
            self.touch_unseen(core, index, serve);
        }
    }

    pub(crate) fn touch_unseen(&self, core: &mut Core, index: u32, serve: bool) {
        let Some(slot) = core.slots.get_mut(index) else { return };
        let running = slot.flags.has(Flags::RUNNING);
        if !running {
            core.mark_dirty(index);
            if serve {
                core.kick(index);
            }
            self.ask(core);
            return;
        }
        if serve && !slot.flags.has(Flags::PUMPED) {
            // A timer of its own: nobody looks at its input when the handler returns.
            slot.flags.set(Flags::KICK);
        }
        if core.modal & (1 << core.depth) != 0 {
            // Its handler is in a modal loop: nobody flushes before the next turn.
            self.ask(core);
        }
    }

    /// Gives the counters.
    pub fn stats(&self) -> Stats {
        let core = self.core();
        Stats {
            open: core.connections as u64,
            timers: core.sched.armed() as u64,
            #[cfg(feature = "deflate")]
            engines: core.pool.engines_held() as u64,
            ..core.stats
        }
    }
}

/// For the other parts of the runtime.
impl Handle {
    pub(crate) fn core(&self) -> RefMut<'_, Core> {
        self.0.core.borrow_mut()
    }

    /// The time of the turn under way; out of a turn the clock is read.
    pub(crate) fn time(&self, core: &mut Core) -> Micros {
        if core.depth == 0 {
            core.now = self.0.driver.borrow().now();
        }
        core.now
    }

    /// Runs user code that has no connection. A panic is counted and goes no further: `false`.
    pub(crate) fn guarded(&self, f: impl FnOnce(&Self)) -> bool {
        let ran = catch_unwind(AssertUnwindSafe(|| f(self)));
        self.core().stats.panics += u64::from(ran.is_err());
        ran.is_ok()
    }

    /// Ends every slot, then drops what users gave, with nothing borrowed.
    pub(crate) fn bury_all(&self) {
        self.0.wake.dead.store(true, Ordering::Release);
        let end = self.core().slots.end();
        for index in 0..end {
            self.core().abort(index, Reason::Shutdown);
            ending::bury(self, index);
        }
        self.tell_orphans();
        let closures = self.core().take_closures();
        self.guarded(|_| drop(closures));
        let sinks = ::core::mem::take(&mut *self.0.sinks.borrow_mut());
        self.guarded(|_| drop(sinks));
        let mut core = self.core();
        core.runq.clear();
        let mut driver = self.0.driver.borrow_mut();
        for (token, sock) in core.graveyard.drain(..) {
            driver.release(token, sock, &self.0.net);
        }
        driver.set_deadline(None);
    }
}

impl Nested for Handle {
    #[cfg(unix)]
    fn fd(&self) -> io::Result<OwnedFd> {
        self.0.driver.borrow().fd()
    }

    fn dispatch(&self) -> io::Result<Turn> {
        Self::dispatch(self)
    }

    fn pending(&self) -> Pending {
        Self::pending(self)
    }

    fn now(&self) -> Micros {
        self.0.driver.borrow().now()
    }

    fn host(&self, name: &str) {
        self.set_host(name);
    }
}
