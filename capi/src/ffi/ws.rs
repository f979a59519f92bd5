//! WebSockets: the handler, the same for servers and clients, and sending.
#![allow(unsafe_code, reason = "calls back into C")]

use std::ffi::{c_char, c_void};
use std::rc::Weak;
use std::time::Duration;

use lodger_core::http::Request;
use lodger_core::policy::Validity;
use lodger_core::ws::{Config, Cx, Handler, Message, OriginRule, Refuse};
use lodger_core::{ConnId, Reason};

use super::border::{Fail, LODGER_E_TEXT, LODGER_OK, Res, Sized, bytes, on, say, sized, text};
use super::remote::lodger_free_fn;
use super::request::{lend, lodger_request};
use super::runtime::lodger_runtime;

/// A text message: UTF-8.
pub const LODGER_TEXT: i32 = 1;
/// A message of bytes.
pub const LODGER_BINARY: i32 = 2;

/// It ended in good order.
pub const LODGER_REASON_DONE: i32 = 0;
/// The closing handshake is complete; `code` is the peer's, 1005 if it gave none.
pub const LODGER_REASON_CLOSED: i32 = 1;
/// The peer ended its stream in the middle of something.
pub const LODGER_REASON_EOF: i32 = 2;
/// The peer broke its protocol, or was too slow.
pub const LODGER_REASON_PEER: i32 = 3;
/// The system reported an error on the socket: refused, reset; or the name has no address.
pub const LODGER_REASON_IO: i32 = 4;
/// Queued output made no progress for too long.
pub const LODGER_REASON_STALL: i32 = 5;
/// A limit for all connections together was reached.
pub const LODGER_REASON_OVERLOAD: i32 = 6;
/// `lodger_abort` was called.
pub const LODGER_REASON_ABORTED: i32 = 7;
/// A bug of lodger's own ended it.
pub const LODGER_REASON_PANIC: i32 = 8;
/// The runtime ended.
pub const LODGER_REASON_SHUTDOWN: i32 = 9;
/// No connection was made in time.
pub const LODGER_REASON_TIMEOUT: i32 = 10;
/// The server answered with another status, which is `code`.
pub const LODGER_REASON_REFUSED: i32 = 11;

/// What hears one WebSocket, or all of a route. Each function may be NULL, and is called from
/// inside `lodger_dispatch` or `lodger_run`. `conn` names the connection for `lodger_ws_send` and
/// others, also between the calls.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_ws_handler {
    /// `sizeof(lodger_ws_handler)`.
    pub size: usize,
    /// Of a route: a client asks for a WebSocket. 0 accepts, a status (403) refuses. `*state` is
    /// the route's `user`; what is put there instead is given to the other functions.
    pub accept: Option<
        unsafe extern "C-unwind" fn(
            request: *const lodger_request,
            user: *mut c_void,
            state: *mut *mut c_void,
        ) -> u16,
    >,
    /// The handshake is complete: the first call.
    pub open:
        Option<unsafe extern "C-unwind" fn(rt: *mut lodger_runtime, conn: u64, state: *mut c_void)>,
    /// A whole message arrived; `kind` is `LODGER_TEXT` or `LODGER_BINARY`. The data is lent.
    pub message: Option<
        unsafe extern "C-unwind" fn(
            rt: *mut lodger_runtime,
            conn: u64,
            kind: i32,
            data: *const u8,
            len: usize,
            state: *mut c_void,
        ),
    >,
    /// There is room for `room` bytes of output, as `lodger_want_write` asked.
    pub writable: Option<
        unsafe extern "C-unwind" fn(
            rt: *mut lodger_runtime,
            conn: u64,
            room: usize,
            state: *mut c_void,
        ),
    >,
    /// It is over: once, the last call for this connection. A client that connects again hears
    /// `open` and `closed` for each attempt that opened, and `closed` for each that did not.
    pub closed: Option<
        unsafe extern "C-unwind" fn(
            rt: *mut lodger_runtime,
            conn: u64,
            reason: i32,
            code: u16,
            state: *mut c_void,
        ),
    >,
    /// Nothing is called with this state any more.
    pub free_state: lodger_free_fn,
}

// SAFETY: `repr(C)`, begins with its size; nullable functions.
unsafe impl Sized for lodger_ws_handler {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_ws_handler";
}

/// Rules of WebSockets. Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_ws_options {
    /// `sizeof(lodger_ws_options)`.
    pub size: usize,
    /// Bytes of a message received at most; more ends the connection with 1009.
    pub max_message: u64,
    /// Milliseconds of silence after which the peer is pinged; 0 with `hang_up_after_ms` set never
    /// pings.
    pub ping_after_ms: u32,
    /// Milliseconds of silence after which it is given up; 0 is twice `ping_after_ms`.
    pub hang_up_after_ms: u32,
    /// The subprotocols, separated by commas, the preferred first.
    pub protocols: *const c_char,
    /// Not 0: pages of any origin may connect. Else those of the same host.
    pub any_origin: i32,
}

// SAFETY: `repr(C)`, begins with its size; integers and a nullable pointer.
unsafe impl Sized for lodger_ws_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_ws_options";
}

/// Reads options.
///
/// # Safety
///
/// `options` is NULL, or as long as its size says, and its strings end with a NUL.
pub(super) unsafe fn options_of(options: *const lodger_ws_options) -> Res<Config> {
    let mut config = Config::default();
    // SAFETY: the caller of this function promised it.
    let Some(options) = unsafe { sized(options) }? else { return Ok(config) };
    if options.max_message != 0 {
        config = config.message(options.max_message).frame(options.max_message);
    }
    if options.ping_after_ms != 0 || options.hang_up_after_ms != 0 {
        config = config.validity(validity(&options));
    }
    if !options.protocols.is_null() {
        // SAFETY: as above.
        let names = unsafe { text(options.protocols, "the subprotocols") }?;
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        config = config.protocols(&names);
    }
    Ok(if options.any_origin == 0 { config } else { config.origin(OriginRule::Any) })
}

fn validity(options: &lodger_ws_options) -> Validity {
    let (ping, hang_up) = (options.ping_after_ms, options.hang_up_after_ms);
    match (ping, hang_up) {
        (0, hang_up) => Validity::silence(millis(hang_up)),
        (ping, 0) => Validity::new(millis(ping), millis(ping).saturating_mul(2)),
        (ping, hang_up) => Validity::new(millis(ping), millis(hang_up)),
    }
}

pub(super) fn millis(n: u32) -> Duration {
    Duration::from_millis(u64::from(n))
}

/// One handler of C's, with its state.
pub(super) struct Ws {
    handler: lodger_ws_handler,
    rt: Weak<lodger_runtime>,
    state: *mut c_void,
}

impl Ws {
    pub(super) fn new(
        handler: lodger_ws_handler,
        rt: Weak<lodger_runtime>,
        state: *mut c_void,
    ) -> Self {
        Self { handler, rt, state }
    }

    /// Asks C whether it accepts.
    pub(super) fn accept(
        handler: lodger_ws_handler,
        request: &Request<'_>,
        rt: Weak<lodger_runtime>,
        user: *mut c_void,
    ) -> Result<Self, Refuse> {
        let mut state = user;
        let status = handler.accept.map_or(0, |accept| {
            lend(request, |request| {
                // SAFETY: the handler's owner promised that it may be called with `user`.
                unsafe { accept(request, user, &raw mut state) }
            })
        });
        if status == 0 { Ok(Self::new(handler, rt, state)) } else { Err(Refuse(status)) }
    }

    /// Calls C, if there is what to call and a runtime to name.
    fn call<F>(&self, f: Option<F>, call: impl FnOnce(F, *mut lodger_runtime)) {
        if let (Some(f), Some(rt)) = (f, self.rt.upgrade()) {
            call(f, lodger_runtime::pointer(&rt));
        }
    }
}

impl Handler for Ws {
    fn open(&mut self, cx: &mut Cx<'_>) {
        let (conn, state) = (cx.id().bits(), self.state);
        // SAFETY: the handler's owner promised that it may be called until `free_state`.
        self.call(self.handler.open, |f, rt| unsafe { f(rt, conn, state) });
    }

    fn message(&mut self, cx: &mut Cx<'_>, message: Message<'_>) {
        let (conn, state) = (cx.id().bits(), self.state);
        let data = message.bytes();
        let kind = if matches!(message, Message::Text(_)) { LODGER_TEXT } else { LODGER_BINARY };
        self.call(self.handler.message, |f, rt| {
            // SAFETY: as in `open`; the data stays until it returns.
            unsafe { f(rt, conn, kind, data.as_ptr(), data.len(), state) };
        });
    }

    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {
        let (conn, state) = (cx.id().bits(), self.state);
        // SAFETY: as in `open`.
        self.call(self.handler.writable, |f, rt| unsafe { f(rt, conn, room, state) });
    }

    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {
        let (conn, state) = (cx.id().bits(), self.state);
        let (reason, code) = told(why);
        // SAFETY: as in `open`.
        self.call(self.handler.closed, |f, rt| unsafe { f(rt, conn, reason, code, state) });
    }
}

impl Drop for Ws {
    fn drop(&mut self) {
        if let Some(free) = self.handler.free_state {
            // SAFETY: the handler's owner promised it; this is the last use of the state.
            unsafe { free(self.state) };
        }
    }
}

/// As `number`, and has `lodger_last_error` say it in words if it is a failure.
pub(super) fn told(why: Reason) -> (i32, u16) {
    if !matches!(why, Reason::Done | Reason::Closed { .. } | Reason::Shutdown) {
        say(&why.to_string());
    }
    number(why)
}

/// Gives C's number of a reason, and the code that belongs to it.
pub(super) fn number(why: Reason) -> (i32, u16) {
    match why {
        Reason::Done => (LODGER_REASON_DONE, 0),
        Reason::Closed { code } => (LODGER_REASON_CLOSED, code),
        Reason::Eof => (LODGER_REASON_EOF, 0),
        Reason::Io(_) | Reason::Name(_) => (LODGER_REASON_IO, 0),
        Reason::WriteStall => (LODGER_REASON_STALL, 0),
        Reason::Overload => (LODGER_REASON_OVERLOAD, 0),
        Reason::Aborted => (LODGER_REASON_ABORTED, 0),
        Reason::Panic => (LODGER_REASON_PANIC, 0),
        Reason::Shutdown => (LODGER_REASON_SHUTDOWN, 0),
        Reason::ConnectTimeout => (LODGER_REASON_TIMEOUT, 0),
        Reason::Refused { status } => (LODGER_REASON_REFUSED, status),
        _ => (LODGER_REASON_PEER, 0),
    }
}

/// Makes a message of what C gives.
///
/// # Safety
///
/// `data` is NULL, or `len` bytes that stay for `'a` and nobody changes.
pub(super) unsafe fn message_of<'a>(
    kind: i32,
    data: *const c_void,
    len: usize,
) -> Res<Message<'a>> {
    // SAFETY: the caller of this function promised it.
    let data = unsafe { bytes(data, len) }?;
    match kind {
        LODGER_BINARY => Ok(Message::Binary(data)),
        LODGER_TEXT => std::str::from_utf8(data)
            .map(Message::Text)
            .map_err(|_| Fail::new(LODGER_E_TEXT, "a text message is not UTF-8")),
        _ => Err(Fail::misuse("a message is LODGER_TEXT or LODGER_BINARY")),
    }
}

/// Sends a message, all or nothing: copied, or `LODGER_E_FULL`, or `LODGER_E_GONE`. Also from
/// outside of callbacks, and on a connection whose callback is running.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_ws_send(
    rt: Option<&lodger_runtime>,
    conn: u64,
    kind: i32,
    data: *const c_void,
    len: usize,
) -> i32 {
    on(rt, |rt| {
        // SAFETY: the contract of data.
        let message = unsafe { message_of(kind, data, len) }?;
        rt.handle().send(ConnId::from_bits(conn), message)?;
        Ok(LODGER_OK)
    })
}

/// Starts the closing handshake (RFC 6455, section 7.1.2) with `code`, and `reason` of at most 123
/// bytes, which may be NULL. A client closed so does not connect again if the code is 1000.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_ws_close(
    rt: Option<&lodger_runtime>,
    conn: u64,
    code: u16,
    reason: *const c_char,
) -> i32 {
    on(rt, |rt| {
        let reason = if reason.is_null() {
            ""
        } else {
            // SAFETY: the contract of strings.
            unsafe { text(reason, "the reason") }?
        };
        rt.handle().close_with(ConnId::from_bits(conn), code, reason)?;
        Ok(LODGER_OK)
    })
}
