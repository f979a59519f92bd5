//! GLib's side: one custom `GSource`. All that is unsafe is here.
#![allow(unsafe_code, reason = "calls GLib, and is called by it")]

use std::ffi::{CStr, CString, c_int, c_uint, c_void};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use glib_sys::{
    G_IO_IN, G_IO_NVAL, G_LOG_LEVEL_WARNING, GFALSE, GMainContext, GPollFD, GSource, GSourceFunc,
    GSourceFuncs, GTRUE, gboolean, gpointer,
};
use lodger_backend::Nested;

use crate::seat::{Seat, Want};
use crate::{Attached, Context};

/// Puts `guest` into a `GMainContext`, at `G_PRIORITY_DEFAULT`.
///
/// For a program that has the context as a pointer: an old or a new version of the `glib` crate,
/// or C. With the `glib` crate of this version there is `attach`, under the feature `glib`.
///
/// # Errors
///
/// As [`Host::attach`](lodger_backend::Host::attach) of [`Context`]; NULL is refused too, so that
/// nobody gets the default context by accident.
///
/// # Safety
///
/// `context` is NULL or a `GMainContext` that is alive during the call.
pub unsafe fn attach_raw(
    context: *mut c_void,
    guest: impl Nested + 'static,
) -> io::Result<Attached> {
    // SAFETY: the caller promised that the context is alive or NULL.
    let context = unsafe { Context::from_raw(context) }?;
    lodger_backend::Host::attach(&context, Rc::new(guest))
}

/// A counted reference to a `GMainContext`.
#[derive(Debug)]
pub(crate) struct ContextRef(NonNull<GMainContext>);

impl ContextRef {
    /// # Safety
    ///
    /// `context` is NULL or alive during the call.
    pub(crate) unsafe fn new(context: *mut GMainContext) -> Option<Self> {
        let context = NonNull::new(context)?;
        // SAFETY: the caller promised that it is alive.
        unsafe { glib_sys::g_main_context_ref(context.as_ptr()) };
        Some(Self(context))
    }

    /// Tells whether no other thread runs the context.
    pub(crate) fn is_ours(&self) -> bool {
        // SAFETY: `self` holds a reference, so the context is alive.
        let ours = unsafe { glib_sys::g_main_context_acquire(self.0.as_ptr()) } != GFALSE;
        if ours {
            // SAFETY: as above; it was acquired on this thread.
            unsafe { glib_sys::g_main_context_release(self.0.as_ptr()) };
        }
        ours
    }
}

impl Drop for ContextRef {
    fn drop(&mut self) {
        // SAFETY: `new` took the reference that is given back here.
        unsafe { glib_sys::g_main_context_unref(self.0.as_ptr()) };
    }
}

impl Context {
    /// Names a context by its pointer.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for NULL, which to GLib means the default context.
    ///
    /// # Safety
    ///
    /// `context` is NULL or a `GMainContext` that is alive during the call.
    pub unsafe fn from_raw(context: *mut c_void) -> io::Result<Self> {
        // SAFETY: the caller promised that it is alive or NULL.
        let context = unsafe { ContextRef::new(context.cast()) };
        let text = "no context: say g_main_context_default() if that one is meant";
        let context = context.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        Ok(Self::of(context))
    }

    /// Names a context of the `glib` crate.
    #[cfg(feature = "glib")]
    #[expect(clippy::missing_panics_doc, reason = "no panic is possible")]
    pub fn new(context: &glib::MainContext) -> Self {
        // SAFETY: `context` keeps it alive during the call.
        let context = unsafe { ContextRef::new(context.as_ptr()) };
        Self::of(context.expect("the glib crate's pointers are never NULL"))
    }
}

/// What GLib allocates for each guest: its own part first.
#[repr(C)]
struct Raw {
    base: GSource,
    poll: GPollFD,
    /// A counted reference, taken out of an `Rc`; NULL before the source is complete.
    seat: *const Seat,
}

/// A source in a context. Dropping it takes the source out.
#[derive(Debug)]
pub(crate) struct Source {
    raw: NonNull<Raw>,
    /// Watched by GLib as long as the source is in its context, closed after that.
    _fd: OwnedFd,
}

impl Source {
    /// Puts a source into `context` that asks `seat` whenever the context is about to block, and
    /// has it dispatch when `fd` is readable.
    pub(crate) fn attach(
        context: &ContextRef,
        fd: OwnedFd,
        seat: &Rc<Seat>,
        priority: i32,
    ) -> io::Result<Self> {
        let size = c_uint::try_from(size_of::<Raw>()).unwrap_or(0);
        // SAFETY: the functions are static and never written to, and the size covers a `GSource`.
        let base = unsafe { glib_sys::g_source_new((&raw const FUNCS).cast_mut(), size) };
        let raw = NonNull::new(base.cast::<Raw>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let source = Self { raw, _fd: fd };
        source.watch(seat);
        // SAFETY: the source is alive, since `source` holds a reference, and a priority may be
        // any number.
        unsafe { glib_sys::g_source_set_priority(base, priority) };
        // SAFETY: as above. What a modal loop in a callback of ours needs to go on with us.
        unsafe { glib_sys::g_source_set_can_recurse(base, GTRUE) };
        // SAFETY: as above; GLib copies the name.
        unsafe { glib_sys::g_source_set_name(base, c"lodger".as_ptr()) };
        // SAFETY: both are alive: `source` and `context` hold references.
        let id = unsafe { glib_sys::g_source_attach(base, context.0.as_ptr()) };
        if id == 0 { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(source) }
    }

    fn watch(&self, seat: &Rc<Seat>) {
        let events = c_ushort(G_IO_IN);
        let poll = GPollFD { fd: self._fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: GLib has allocated a `Raw` for us and nobody else has seen it yet.
        unsafe { (*self.raw.as_ptr()).poll = poll };
        let seat = Rc::into_raw(Rc::clone(seat));
        // SAFETY: as above.
        unsafe { (*self.raw.as_ptr()).seat = seat };
        // SAFETY: as above, so that the field exists.
        let poll = unsafe { &raw mut (*self.raw.as_ptr()).poll };
        // SAFETY: what GLib polls through lives in the source, as long as the source does.
        unsafe { glib_sys::g_source_add_poll(self.raw.as_ptr().cast(), poll) };
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let base = self.raw.as_ptr().cast::<GSource>();
        // SAFETY: `g_source_new` gave us the reference that is still ours; a source may be
        // destroyed twice, and in its own dispatch. The context forgets the descriptor here.
        unsafe { glib_sys::g_source_destroy(base) };
        // SAFETY: as above, and it is given back once.
        unsafe { glib_sys::g_source_unref(base) };
    }
}

static FUNCS: GSourceFuncs = GSourceFuncs {
    prepare: Some(prepare),
    check: Some(check),
    dispatch: Some(dispatch),
    finalize: Some(finalize),
    closure_callback: None,
    closure_marshal: None,
};

/// GLib asks before it blocks: whether to dispatch at once, else for how long it may.
unsafe extern "C" fn prepare(base: *mut GSource, timeout: *mut c_int) -> gboolean {
    // SAFETY: GLib calls this with the source that these functions were given for.
    let want = unsafe { seat(base) }.map_or(Want::Nothing, Seat::want);
    let (now, wait) = match want {
        Want::Turn => (GTRUE, 0),
        Want::Wait(millis) => (GFALSE, millis),
        Want::Nothing => (GFALSE, -1),
    };
    // SAFETY: GLib gives a place to write the timeout to.
    unsafe { timeout.write(wait) };
    now
}

/// GLib asks after it has polled.
unsafe extern "C" fn check(base: *mut GSource) -> gboolean {
    // SAFETY: as in `prepare`.
    let readable = unsafe { seen(base) } != 0;
    // SAFETY: as in `prepare`.
    let seat = unsafe { seat(base) };
    gboolean::from(readable || seat.is_some_and(|seat| seat.want() == Want::Turn))
}

unsafe extern "C" fn dispatch(base: *mut GSource, _: GSourceFunc, _: gpointer) -> gboolean {
    // SAFETY: as in `prepare`; GLib holds a reference to the source during the call, so that the
    // seat outlives it, whatever the guest's handlers do.
    let seat = unsafe { seat(base) };
    // SAFETY: as above.
    let closed = unsafe { seen(base) } & c_ushort(G_IO_NVAL) != 0;
    gboolean::from(seat.is_some_and(|seat| if closed { seat.closed() } else { seat.dispatch() }))
}

/// GLib frees the source, with nothing locked.
unsafe extern "C" fn finalize(base: *mut GSource) {
    // SAFETY: as in `prepare`.
    let place = unsafe { &raw mut (*base.cast::<Raw>()).seat };
    // SAFETY: as above; nobody but us reads or writes this field.
    let pointer = unsafe { ptr::replace(place, ptr::null()) };
    // SAFETY: the field holds the reference that `watch` put there, so that what it points to is
    // alive.
    let ours = unsafe { pointer.as_ref() }.is_some_and(Seat::is_here);
    // On a thread that is not the guest's the reference stays, since counting it is not for here.
    if ours {
        // SAFETY: as above, and the field is NULL now, so that it is given back once.
        drop(unsafe { Rc::from_raw(pointer) });
    }
}

/// # Safety
///
/// `base` is a source of ours that is alive for `'a`.
unsafe fn seat<'a>(base: *mut GSource) -> Option<&'a Seat> {
    // SAFETY: the caller promised that it is ours, so that a `Raw` is there.
    let pointer = unsafe { (*base.cast::<Raw>()).seat };
    // SAFETY: it is NULL or holds a counted reference as long as the source is alive.
    unsafe { pointer.as_ref() }
}

/// What GLib has seen of the descriptor when it has last polled.
///
/// # Safety
///
/// `base` is a source of ours that is alive.
unsafe fn seen(base: *mut GSource) -> u16 {
    // SAFETY: the caller promised that it is ours; GLib writes this on the thread that polls, which
    // is the one that calls us.
    unsafe { (*base.cast::<Raw>()).poll.revents }
}

/// The conditions all fit.
const fn c_ushort(condition: u32) -> u16 {
    (condition & 0xffff) as u16
}

/// Gives GLib's version, of the library that runs.
pub(crate) fn version() -> String {
    // SAFETY: the library sets these before any code of ours runs and never changes them.
    let major = unsafe { glib_major_version };
    // SAFETY: as above.
    let minor = unsafe { glib_minor_version };
    // SAFETY: as above.
    let micro = unsafe { glib_micro_version };
    format!("GLib {major}.{minor}.{micro}")
}

/// Writes a warning to GLib's log, where the host's author looks for one.
pub(crate) fn warn(text: &str) {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    let (domain, format): (&CStr, &CStr) = (c"lodger", c"%s");
    // SAFETY: all are strings that end with NUL, and the format takes one string.
    unsafe {
        glib_sys::g_log(domain.as_ptr(), G_LOG_LEVEL_WARNING, format.as_ptr(), text.as_ptr());
    }
}

unsafe extern "C" {
    static glib_major_version: c_uint;
    static glib_minor_version: c_uint;
    static glib_micro_version: c_uint;
}
