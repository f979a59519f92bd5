//! WebSocket clients, which connect again by themselves.
#![allow(unsafe_code, reason = "reads options of C, and calls back into it")]

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::time::Duration;

use lodger_core::policy::Retry;
use lodger_core::ws::{Client, Connection};

use super::border::{
    Fail, LODGER_E_THREAD, LODGER_OK, Res, Sized, array, enter, here, on, put, sized, text,
};
use super::runtime::{LODGER_LOG_INFO, lodger_runtime};
use super::ws::{
    Ws, lodger_ws_handler, lodger_ws_options, message_of, millis, options_of, told as reasoned,
};

/// A field of a request.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_field {
    /// Its name.
    pub name: *const c_char,
    /// Its value.
    pub value: *const c_char,
}

/// Is told of each wait before another attempt: how long it is, and why the last one ended
/// (`LODGER_REASON_...`).
pub type lodger_retry_fn = Option<
    unsafe extern "C-unwind" fn(
        rt: *mut lodger_runtime,
        delay_us: u64,
        reason: i32,
        user: *mut c_void,
    ),
>;

/// How a WebSocket client connects. Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_ws_client_options {
    /// `sizeof(lodger_ws_client_options)`.
    pub size: usize,
    /// "ws://host:port/path", "wss://...", or "unix:/path.sock:/path". Not NULL.
    pub url: *const c_char,
    /// Limits, subprotocols, pings; may be NULL.
    pub ws: *const lodger_ws_options,
    /// Fields for the request.
    pub fields: *const lodger_field,
    /// How many of them.
    pub fields_len: usize,
    /// How many times in a row it tries again by itself: 0 never, -1 for ever.
    pub attempts: i32,
    /// Milliseconds to wait after the first failure in a row, the second and so on; the last for all
    /// others. NULL: 0.5, 1, 2, 4, 8, 16, 30 s.
    pub delays_ms: *const u32,
    /// How many of them.
    pub delays_len: usize,
    /// Percent of a delay that chance adds at most; 0 is 30, -1 adds nothing.
    pub jitter_percent: i32,
    /// Milliseconds that a connection must have been up for its failure to count as the first
    /// again (5 s).
    pub up_after_ms: u32,
    /// Is told of each wait.
    pub on_retry: lodger_retry_fn,
}

// SAFETY: `repr(C)`, begins with its size; integers, nullable pointers and functions.
unsafe impl Sized for lodger_ws_client_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_ws_client_options";
}

/// A WebSocket that may come and go.
pub struct lodger_ws_client {
    connection: Connection,
    thread: usize,
}

/// Connects, and connects again by policy. `handler` is copied and heard with `state`. `*out` is to
/// be given to `lodger_ws_client_free`; it may be NULL for a client that is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_ws_connect(
    rt: Option<&lodger_runtime>,
    options: *const lodger_ws_client_options,
    handler: *const lodger_ws_handler,
    state: *mut c_void,
    out: Option<&mut MaybeUninit<*mut lodger_ws_client>>,
) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        // SAFETY: the contract of structs with a size.
        let options = unsafe { sized(options) }?.ok_or_else(|| Fail::null("the options"))?;
        // SAFETY: as above.
        let handler = unsafe { sized(handler) }?.ok_or_else(|| Fail::null("the handler"))?;
        // SAFETY: the contract of what options point to.
        let mut client = unsafe { prepare(&options) }?.on_retry(told(rt, &options, state));
        if let Some(trust) = rt.trust() {
            client = client.tls(&trust);
        }
        let connection = client.connect(rt.handle(), Ws::new(handler, rt.weak(), state))?;
        let client = lodger_ws_client { connection, thread: here() };
        out.map_or(Ok(LODGER_OK), |out| put(Some(out), Box::into_raw(Box::new(client))))
    })
}

/// Reads what the options point to.
///
/// # Safety
///
/// Strings end with a NUL, arrays are as long as they say.
unsafe fn prepare(options: &lodger_ws_client_options) -> Res<Client> {
    // SAFETY: the caller of this function promised it.
    let url = unsafe { text(options.url, "the URL") }?;
    // SAFETY: as above.
    let config = unsafe { options_of(options.ws) }?;
    // SAFETY: as above.
    let fields = unsafe { array(options.fields, options.fields_len) }?;
    // SAFETY: as above.
    let delays = unsafe { array(options.delays_ms, options.delays_len) }?;
    let (attempts, jitter) = (options.attempts, options.jitter_percent);
    let retry = policy(attempts, delays, jitter, options.up_after_ms);
    let mut client = Client::new(url).config(config).retry(retry);
    for field in fields {
        // SAFETY: as above.
        let name = unsafe { text(field.name, "a field's name") }?;
        // SAFETY: as above.
        let value = unsafe { text(field.value, "a field's value") }?;
        client = client.header(name, value);
    }
    Ok(client)
}

/// Makes the policy of what options say.
pub(super) fn policy(attempts: i32, delays: &[u32], jitter: i32, up_after_ms: u32) -> Retry {
    let delays: Vec<Duration> = delays.iter().map(|ms| millis(*ms)).collect();
    let mut retry = if delays.is_empty() { Retry::default() } else { Retry::new(&delays) };
    retry = retry.attempts(u32::try_from(attempts).ok());
    if jitter != 0 {
        retry = retry.jitter(u32::try_from(jitter).unwrap_or(0));
    }
    if up_after_ms != 0 {
        retry = retry.up_after(millis(up_after_ms));
    }
    retry
}

/// Makes what tells C of a wait.
fn told(
    rt: &lodger_runtime,
    options: &lodger_ws_client_options,
    state: *mut c_void,
) -> impl Fn(&lodger_core::Handle, Duration, lodger_core::Reason) + 'static {
    let (weak, f) = (rt.weak(), options.on_retry);
    move |_, delay, why| {
        let Some(rt) = weak.upgrade() else { return };
        rt.log(LODGER_LOG_INFO, &format!("{why}: next attempt in {} ms", delay.as_millis()));
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        if let Some(f) = f {
            let (reason, _) = reasoned(why);
            // SAFETY: the options promised that it may be called with the handler's state.
            unsafe { f(lodger_runtime::pointer(&rt), micros, reason, state) };
        }
    }
}

/// Runs a call on a client.
fn with(client: Option<&lodger_ws_client>, f: impl FnOnce(&Connection) -> Res) -> i32 {
    enter(|| {
        let client = client.ok_or_else(|| Fail::null("the client"))?;
        if client.thread != here() {
            return Err(Fail::new(LODGER_E_THREAD, "the client is another thread's"));
        }
        f(&client.connection)
    })
}

/// Sends a message, as `lodger_ws_send`; `LODGER_E_GONE` while there is no connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_ws_client_send(
    client: Option<&lodger_ws_client>,
    kind: i32,
    data: *const c_void,
    len: usize,
) -> i32 {
    with(client, |connection| {
        // SAFETY: the contract of data.
        connection.send(unsafe { message_of(kind, data, len) }?)?;
        Ok(LODGER_OK)
    })
}

/// Gives the id of the attempt under way, 0 between attempts.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_ws_client_conn(client: Option<&lodger_ws_client>) -> u64 {
    let mut id = 0;
    with(client, |connection| {
        id = connection.id().map_or(0, lodger_core::ConnId::bits);
        Ok(LODGER_OK)
    });
    id
}

/// Closes with `code`, and does not connect again.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_ws_client_close(client: Option<&lodger_ws_client>, code: u16) -> i32 {
    with(client, |connection| {
        connection.close(code);
        Ok(LODGER_OK)
    })
}

/// Frees the name; what it named goes on. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_ws_client_free(client: *mut lodger_ws_client) -> i32 {
    if client.is_null() {
        return LODGER_OK;
    }
    // SAFETY: the contract: what `lodger_ws_connect` gave, and not freed.
    let code = with(unsafe { client.as_ref() }, |_| Ok(LODGER_OK));
    if code == LODGER_OK {
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(client) });
    }
    code
}
