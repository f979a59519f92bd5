//! MQTT clients, which connect again by themselves.
#![allow(unsafe_code, reason = "reads options of C, and calls back into it")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::rc::{Rc, Weak};
use std::time::Duration;

use lodger_core::mqtt::{Client, ClientEvent, Connection, QueueFull, Subscription, Version};

use super::border::{
    Fail, LODGER_E_THREAD, LODGER_OK, Res, Sized, array, bytes, enter, here, on, put, say, sized,
    text,
};
use super::mqtt_message::{Given, lodger_mqtt_message};
use super::runtime::{LODGER_LOG_INFO, lodger_runtime};
use super::ws::told;
use super::ws_client::policy;

/// What hears of one MQTT client. Each function may be NULL, and is called from inside
/// `lodger_dispatch` or `lodger_run`, until `lodger_mqtt_free`. Codes are reason codes (MQTT 5.0,
/// section 2.4; those of MQTT 3.1.1 are translated), which `lodger_last_error` says in words.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_mqtt_handler {
    /// `sizeof(lodger_mqtt_handler)`.
    pub size: usize,
    /// The server has accepted it. `session_present` is not 0 if it still had the session.
    pub connected: Option<
        unsafe extern "C-unwind" fn(
            rt: *mut lodger_runtime,
            session_present: i32,
            state: *mut c_void,
        ),
    >,
    /// The server has refused it with this code; `disconnected` follows.
    pub refused:
        Option<unsafe extern "C-unwind" fn(rt: *mut lodger_runtime, code: i32, state: *mut c_void)>,
    /// The connection has ended, or an attempt has failed: `reason` is `LODGER_REASON_...`, `code`
    /// what the server said in its DISCONNECT, -1 if nothing. The next attempt is in `retry_us`;
    /// UINT64_MAX: there is none, this is the last call, and every publish was told its end.
    pub disconnected: Option<
        unsafe extern "C-unwind" fn(
            rt: *mut lodger_runtime,
            reason: i32,
            code: i32,
            retry_us: u64,
            state: *mut c_void,
        ),
    >,
    /// The server has answered a subscription: `code` is the QoS that it granted, or why not (128
    /// and above).
    pub subscribed: Option<
        unsafe extern "C-unwind" fn(
            rt: *mut lodger_runtime,
            filter: *const c_char,
            filter_len: usize,
            code: i32,
            state: *mut c_void,
        ),
    >,
    /// There is room again, after a publish that was `LODGER_E_FULL`.
    pub writable: Option<unsafe extern "C-unwind" fn(rt: *mut lodger_runtime, state: *mut c_void)>,
}

// SAFETY: `repr(C)`, begins with its size; nullable functions.
unsafe impl Sized for lodger_mqtt_handler {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_mqtt_handler";
}

/// How an MQTT client connects. Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_mqtt_options {
    /// `sizeof(lodger_mqtt_options)`.
    pub size: usize,
    /// "mqtt://host:port", "mqtts://...", "ws://host:port/path", "wss://..." or "unix:/path.sock".
    /// Not NULL.
    pub url: *const c_char,
    /// What names the session at the server. NULL: the server chooses.
    pub client_id: *const c_char,
    /// 5, or 4 for MQTT 3.1.1 (5).
    pub version: i32,
    /// Seconds of silence after which the server is asked whether it lives (60); -1 never asks.
    pub keep_alive_s: i32,
    /// Seconds that the server keeps the session after a connection has ended. 0: each connection
    /// begins anew, and what is published at QoS 1 or 2 meanwhile waits here.
    pub session_s: u32,
    /// The name to log in with.
    pub username: *const c_char,
    /// The password to log in with, which is heeded with a name alone.
    pub password: *const c_void,
    /// How many bytes.
    pub password_len: usize,
    /// What the server publishes when the client is lost. `within_ms` is not heeded.
    pub will: *const lodger_mqtt_message,
    /// Seconds from the loss to the will.
    pub will_delay_s: u32,
    /// What is published each time that the client has connected.
    pub birth: *const lodger_mqtt_message,
    /// Not 0: a full queue drops its oldest message for a new one. Else the new one is refused.
    pub drop_oldest: i32,
    /// How many times in a row it tries again by itself: 0 never, -1 for ever.
    pub attempts: i32,
    /// As in `lodger_ws_client_options`.
    pub delays_ms: *const u32,
    /// How many of them.
    pub delays_len: usize,
    /// As in `lodger_ws_client_options`.
    pub jitter_percent: i32,
    /// As in `lodger_ws_client_options`.
    pub up_after_ms: u32,
}

// SAFETY: `repr(C)`, begins with its size; integers and nullable pointers.
unsafe impl Sized for lodger_mqtt_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_mqtt_options";
}

/// An MQTT client that may come and go.
pub struct lodger_mqtt_client {
    connection: Connection,
    thread: usize,
    pub(super) rt: Weak<lodger_runtime>,
    /// Nothing of C's is called any more once it is freed.
    pub(super) live: Rc<Cell<bool>>,
    pub(super) subs: RefCell<BTreeMap<u64, Subscription>>,
    pub(super) last: Cell<u64>,
}

/// Connects, and connects again by policy. `handler` is copied and heard with `state`; it may be NULL.
/// Whom mqtts and wss trust is what `lodger_trust` has said. `*out` is to be given to
/// `lodger_mqtt_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_mqtt_connect(
    rt: Option<&lodger_runtime>,
    options: *const lodger_mqtt_options,
    handler: *const lodger_mqtt_handler,
    state: *mut c_void,
    out: Option<&mut MaybeUninit<*mut lodger_mqtt_client>>,
) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        let out = out.ok_or_else(|| Fail::null("the place for the result"))?;
        // SAFETY: the contract of structs with a size.
        let options = unsafe { sized(options) }?.ok_or_else(|| Fail::null("the options"))?;
        // SAFETY: as above.
        let handler = unsafe { sized(handler) }?;
        // SAFETY: the contract of what options point to.
        let mut client = unsafe { prepare(&options) }?;
        if let Some(trust) = rt.trust() {
            client = client.tls(&trust);
        }
        let live = Rc::new(Cell::new(true));
        let hears = Hears { handler, state, rt: rt.weak(), live: Rc::clone(&live) };
        let connection =
            client.on_event(move |_, event| hears.event(event)).connect(rt.handle())?;
        let client = lodger_mqtt_client {
            connection,
            thread: here(),
            rt: rt.weak(),
            live,
            subs: RefCell::default(),
            last: Cell::new(0),
        };
        put(Some(out), Box::into_raw(Box::new(client)))
    })
}

/// Reads what the options point to.
///
/// # Safety
///
/// Strings end with a NUL, arrays are as long as they say, messages as their sizes say.
unsafe fn prepare(options: &lodger_mqtt_options) -> Res<Client> {
    // SAFETY: the caller of this function promised it.
    let url = unsafe { text(options.url, "the URL") }?;
    // SAFETY: as above.
    let delays = unsafe { array(options.delays_ms, options.delays_len) }?;
    let (attempts, jitter) = (options.attempts, options.jitter_percent);
    let retry = policy(attempts, delays, jitter, options.up_after_ms);
    let mut client = Client::new(url).retry(retry).keep_alive(keep_alive(options.keep_alive_s)?);
    client = match options.version {
        0 | 5 => client,
        4 => client.version(Version::V4),
        _ => return Err(Fail::misuse("a version of MQTT is 5, or 4 for 3.1.1")),
    };
    if !options.client_id.is_null() {
        // SAFETY: as above.
        client = client.id(unsafe { text(options.client_id, "the client identifier") }?);
    }
    if options.session_s != 0 {
        client = client.session(Duration::from_secs(u64::from(options.session_s)));
    }
    if !options.username.is_null() {
        // SAFETY: as above.
        let name = unsafe { text(options.username, "the user name") }?;
        // SAFETY: as above.
        client = client.login(name, unsafe { bytes(options.password, options.password_len) }?);
    }
    // SAFETY: as above.
    if let Some(will) = unsafe { Given::read(options.will) }? {
        client = client.will(will.outgoing(), options.will_delay_s);
    }
    // SAFETY: as above.
    if let Some(birth) = unsafe { Given::read(options.birth) }? {
        client = client.birth(birth.outgoing());
    }
    let drops = options.drop_oldest != 0;
    Ok(client.queue_full(if drops { QueueFull::DropOldest } else { QueueFull::Refuse }))
}

fn keep_alive(secs: i32) -> Res<u16> {
    match secs {
        0 => Ok(60),
        -1 => Ok(0),
        secs => u16::try_from(secs).map_err(|_| Fail::misuse("a keep-alive is -1 to 65535")),
    }
}

/// A handler of C's, with its state.
struct Hears {
    handler: Option<lodger_mqtt_handler>,
    state: *mut c_void,
    rt: Weak<lodger_runtime>,
    live: Rc<Cell<bool>>,
}

impl Hears {
    fn event(&self, event: ClientEvent<'_>) {
        let Some(rt) = self.rt.upgrade().filter(|_| self.live.get()) else { return };
        if let ClientEvent::Disconnected { why, retry_in: Some(delay), .. } = &event {
            let line = format!("{why}: next attempt in {} ms", delay.as_millis());
            rt.log(LODGER_LOG_INFO, &line);
        }
        if let Some(handler) = &self.handler {
            // SAFETY: the caller of `lodger_mqtt_connect` promised that the handler may be called
            // with the state until `lodger_mqtt_free`, and it was not called.
            unsafe { call(handler, lodger_runtime::pointer(&rt), self.state, event) };
        }
    }
}

/// Calls what is for this event.
///
/// # Safety
///
/// The functions of `handler` may be called with `state`, and `rt` is alive.
unsafe fn call(
    handler: &lodger_mqtt_handler,
    rt: *mut lodger_runtime,
    state: *mut c_void,
    event: ClientEvent<'_>,
) {
    match event {
        ClientEvent::Connected { session_present } => {
            if let Some(f) = handler.connected {
                // SAFETY: the caller of this function promised it.
                unsafe { f(rt, i32::from(session_present), state) };
            }
        }
        ClientEvent::Refused(code) => {
            say(&format!("the server refuses: {code}"));
            if let Some(f) = handler.refused {
                // SAFETY: as above.
                unsafe { f(rt, i32::from(code.0), state) };
            }
        }
        ClientEvent::Disconnected { why, code, retry_in } => {
            let (reason, _) = told(why);
            let code = code.map_or(-1, |code| i32::from(code.0));
            let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX - 1);
            if let Some(f) = handler.disconnected {
                // SAFETY: as above.
                unsafe { f(rt, reason, code, retry_in.map_or(u64::MAX, micros), state) };
            }
        }
        ClientEvent::Subscribed { filter, code } => {
            if code.is_error() {
                say(&format!("the server refuses {filter}: {code}"));
            }
            if let Some(f) = handler.subscribed {
                let (place, len) = (filter.as_ptr().cast(), filter.len());
                // SAFETY: as above; the filter stays until it returns.
                unsafe { f(rt, place, len, i32::from(code.0), state) };
            }
        }
        ClientEvent::Writable => {
            if let Some(f) = handler.writable {
                // SAFETY: as above.
                unsafe { f(rt, state) };
            }
        }
        _ => {}
    }
}

/// Runs a call on a client.
pub(super) fn with(
    client: Option<&lodger_mqtt_client>,
    f: impl FnOnce(&lodger_mqtt_client, &Connection) -> Res,
) -> i32 {
    enter(|| {
        let client = client.ok_or_else(|| Fail::null("the client"))?;
        if client.thread != here() {
            return Err(Fail::new(LODGER_E_THREAD, "the client is another thread's"));
        }
        f(client, &client.connection)
    })
}

/// 1 if the server has accepted it and the connection is there, 0 if not.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_mqtt_is_connected(client: Option<&lodger_mqtt_client>) -> i32 {
    with(client, |_, connection| Ok(i32::from(connection.is_connected())))
}

/// Says goodbye, so that the will stays unsaid, and does not connect again. What waits is lost. The
/// handler hears `disconnected` when it is done.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_mqtt_disconnect(client: Option<&lodger_mqtt_client>) -> i32 {
    with(client, |_, connection| {
        connection.close();
        Ok(LODGER_OK)
    })
}

/// Ends the client as `lodger_mqtt_disconnect` does, and frees it. Nothing of it is called any more,
/// what tells the end of a publish included. Also from inside its own callbacks. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_mqtt_free(client: *mut lodger_mqtt_client) -> i32 {
    if client.is_null() {
        return LODGER_OK;
    }
    // SAFETY: the contract: what `lodger_mqtt_connect` gave, and not freed.
    let code = with(unsafe { client.as_ref() }, |client, connection| {
        client.live.set(false);
        connection.close();
        Ok(LODGER_OK)
    });
    if code == LODGER_OK {
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(client) });
    }
    code
}
