//! The border: checks of what C gives, the result codes, and the place where panics end.
#![allow(unsafe_code, reason = "reads what C points to")]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lodger_core::{Gone, SendError};

use super::runtime::lodger_runtime;

/// It worked.
pub const LODGER_OK: i32 = 0;
/// A pointer was NULL that may not be.
pub const LODGER_E_NULL: i32 = -1;
/// The `size` of a struct is none that this library knows.
pub const LODGER_E_SIZE: i32 = -2;
/// The call came from another thread than the one that made the runtime. Nothing was done.
pub const LODGER_E_THREAD: i32 = -3;
/// The id names nothing that is still there.
pub const LODGER_E_GONE: i32 = -4;
/// Too much waits to be sent; nothing was taken. `lodger_want_write` asks to be told.
pub const LODGER_E_FULL: i32 = -5;
/// The call was against its contract; `lodger_last_error` says how.
pub const LODGER_E_MISUSE: i32 = -6;
/// The operating system refused; `lodger_last_error` says what.
pub const LODGER_E_SYSTEM: i32 = -7;
/// A bug of lodger's own was stopped at the border. The runtime is poisoned: every further call
/// says this and does nothing, `lodger_free` too, so its memory and sockets stay.
pub const LODGER_E_PANIC: i32 = -8;
/// The runtime has ended.
pub const LODGER_E_ENDED: i32 = -9;
/// A text is not UTF-8.
pub const LODGER_E_TEXT: i32 = -10;

/// Why a call did nothing.
pub(super) struct Fail {
    code: i32,
    text: String,
}

pub(super) type Res<T = i32> = Result<T, Fail>;

impl Fail {
    pub(super) fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(super) fn null(what: &str) -> Self {
        Self::new(LODGER_E_NULL, format!("{what} is NULL"))
    }

    pub(super) fn misuse(text: impl Into<String>) -> Self {
        Self::new(LODGER_E_MISUSE, text)
    }
}

impl From<Gone> for Fail {
    fn from(gone: Gone) -> Self {
        Self::new(LODGER_E_GONE, gone.to_string())
    }
}

impl From<SendError> for Fail {
    fn from(error: SendError) -> Self {
        let code = match error {
            SendError::Gone => LODGER_E_GONE,
            SendError::Full { .. } => LODGER_E_FULL,
            _ => LODGER_E_MISUSE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<lodger_core::Error> for Fail {
    fn from(error: lodger_core::Error) -> Self {
        Self::misuse(error.to_string())
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        let by_caller =
            matches!(error.kind(), io::ErrorKind::InvalidInput) && error.raw_os_error().is_none();
        Self::new(if by_caller { LODGER_E_MISUSE } else { LODGER_E_SYSTEM }, error.to_string())
    }
}

thread_local! {
    /// The text of this thread's last failed call.
    static LAST: RefCell<CString> = RefCell::default();
    /// Its address tells threads apart.
    static HERE: u8 = const { 0 };
}

/// Tells threads apart: no two that live at once have the same number.
pub(super) fn here() -> usize {
    HERE.with(|place| std::ptr::from_ref(place).addr())
}

/// Tells what went wrong in the last call that failed on this thread, in English and for people.
/// In a callback that is told of a failure (`LODGER_REASON_...`) it says that one, until a call fails.
/// Never NULL; valid until the next failure on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_last_error() -> *const c_char {
    // The text is replaced by the next failure, as the header says.
    LAST.with(|last| last.borrow().as_ptr())
}

/// Gives the version, as in "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn lodger_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Runs a call that needs no runtime; a panic is a code.
pub(super) fn enter(f: impl FnOnce() -> Res) -> i32 {
    settle(catch_unwind(AssertUnwindSafe(f)), None)
}

/// Runs a call on a runtime: not NULL, this thread's, not poisoned.
pub(super) fn on(rt: Option<&lodger_runtime>, f: impl FnOnce(&lodger_runtime) -> Res) -> i32 {
    let Some(rt) = rt else { return enter(|| Err(Fail::null("the runtime"))) };
    if rt.is_foreign() {
        return enter(|| Err(Fail::new(LODGER_E_THREAD, "the runtime is another thread's")));
    }
    if rt.is_poisoned() {
        return enter(|| Err(Fail::new(LODGER_E_PANIC, "the runtime is poisoned")));
    }
    if rt.is_busy() {
        return enter(|| Err(Fail::misuse("the functions of a host's table may not call lodger")));
    }
    settle(catch_unwind(AssertUnwindSafe(|| f(rt))), Some(rt))
}

fn settle(done: std::thread::Result<Res>, rt: Option<&lodger_runtime>) -> i32 {
    let fail = match done {
        Ok(Ok(value)) => return value,
        Ok(Err(fail)) => fail,
        Err(_) => {
            if let Some(rt) = rt {
                rt.poison();
            }
            Fail::new(LODGER_E_PANIC, "a bug in lodger was stopped at the border")
        }
    };
    if let Some(rt) = rt {
        rt.log_failure(&fail.text, fail.code);
    }
    say(&fail.text);
    fail.code
}

/// Sets what `lodger_last_error` says.
pub(super) fn say(text: &str) {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    LAST.with(|last| *last.borrow_mut() = text);
}

/// Reads a string.
///
/// # Safety
///
/// `p` is NULL, or ends with a NUL and stays for `'a`.
pub(super) unsafe fn text<'a>(p: *const c_char, what: &str) -> Res<&'a str> {
    if p.is_null() {
        return Err(Fail::null(what));
    }
    // SAFETY: the caller of this function promised the NUL and the lifetime.
    let text = unsafe { CStr::from_ptr(p) };
    text.to_str().map_err(|_| Fail::new(LODGER_E_TEXT, format!("{what} is not UTF-8")))
}

/// Reads bytes; NULL is allowed for none.
///
/// # Safety
///
/// `p` is NULL, or `len` bytes that stay for `'a` and nobody changes.
pub(super) unsafe fn bytes<'a>(p: *const c_void, len: usize) -> Res<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if p.is_null() {
        return Err(Fail::null("the data"));
    }
    if isize::try_from(len).is_err() {
        return Err(Fail::misuse("no memory is that long"));
    }
    // SAFETY: the caller of this function promised the bytes.
    Ok(unsafe { std::slice::from_raw_parts(p.cast::<u8>(), len) })
}

/// Reads an array; NULL is allowed for none.
///
/// # Safety
///
/// `p` is NULL, or `len` values that stay for `'a` and nobody changes.
pub(super) unsafe fn array<'a, T>(p: *const T, len: usize) -> Res<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if p.is_null() || len > 1 << 16 {
        return Err(Fail::misuse("an array is NULL, or has more than 65,536 entries"));
    }
    // SAFETY: the caller of this function promised the values.
    Ok(unsafe { std::slice::from_raw_parts(p, len) })
}

/// A struct of options: its first field is its size, and zeroes mean the defaults.
///
/// # Safety
///
/// `repr(C)`, begins with `size: usize`, and all bits zero are a value of it.
pub(super) unsafe trait Sized: Copy {
    /// The size that its first version had.
    const FIRST: usize;
    /// The name, for messages.
    const NAME: &'static str;
}

/// Reads a struct whose first field is its size. What an older program did not know is zero.
///
/// # Safety
///
/// `p` is NULL, or points to as many bytes as its first field says.
pub(super) unsafe fn sized<T: Sized>(p: *const T) -> Res<Option<T>> {
    if p.is_null() {
        return Ok(None);
    }
    // SAFETY: every such struct begins with its size, and the caller promised at least that.
    let size = unsafe { p.cast::<usize>().read() };
    check_size::<T>(size)?;
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `size` bytes are there by the caller's promise, and no more than T has.
    unsafe { std::ptr::copy_nonoverlapping(p.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), size) };
    // SAFETY: `Sized` promises that zero bits are a value; C wrote the others by the contract.
    Ok(Some(unsafe { value.assume_init() }))
}

/// Checks the size that a struct says it has.
pub(super) fn check_size<T: Sized>(size: usize) -> Res<()> {
    if (T::FIRST..=size_of::<T>()).contains(&size) {
        return Ok(());
    }
    let (name, most) = (T::NAME, size_of::<T>());
    let text = format!("{name}.size is {size}: this library knows {} to {most}", T::FIRST);
    Err(Fail::new(LODGER_E_SIZE, text))
}

/// Writes a result.
pub(super) fn put<T>(out: Option<&mut MaybeUninit<T>>, value: T) -> Res {
    out.ok_or_else(|| Fail::null("the place for the result"))?.write(value);
    Ok(LODGER_OK)
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::mem::MaybeUninit;

    use super::super::runtime::{lodger_dispatch, lodger_fd, lodger_free, lodger_new};
    use super::*;

    fn fresh() -> *mut lodger_runtime {
        let mut place = MaybeUninit::uninit();
        // SAFETY: no options, and a place for the result.
        assert_eq!(unsafe { lodger_new(std::ptr::null(), Some(&mut place)) }, LODGER_OK);
        // SAFETY: it says that it has written.
        unsafe { place.assume_init() }
    }

    #[test]
    fn a_panic_poisons_its_runtime_and_no_other() {
        let (bad, good) = (fresh(), fresh());

        // SAFETY: neither was freed.
        let code = on(unsafe { bad.as_ref() }, |_| panic!("a bug"));

        assert_eq!(code, LODGER_E_PANIC);
        // SAFETY: as above.
        assert_eq!(unsafe { lodger_dispatch(bad) }, LODGER_E_PANIC);
        // SAFETY: as above.
        assert_eq!(lodger_fd(unsafe { bad.as_ref() }), LODGER_E_PANIC);
        // SAFETY: as above; once each.
        assert_eq!(unsafe { lodger_free(bad) }, LODGER_E_PANIC);
        // SAFETY: as above.
        assert!(unsafe { lodger_dispatch(good) } >= 0);
        // SAFETY: as above.
        assert_eq!(unsafe { lodger_free(good) }, LODGER_OK);
    }

    #[test]
    fn the_last_error_is_a_text_with_an_end() {
        let code = enter(|| Err(Fail::misuse("a\0b")));

        assert_eq!(code, LODGER_E_MISUSE);
        // SAFETY: it is valid until the next failure of this thread.
        assert_eq!(unsafe { CStr::from_ptr(lodger_last_error()) }, c"a b");
    }
}
