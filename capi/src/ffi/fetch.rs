//! HTTP requests to other servers.
#![allow(unsafe_code, reason = "reads strings of C, and calls back into it")]

use std::ffi::{c_char, c_void};

use lodger_core::http::Client;

use super::border::{Fail, LODGER_OK, bytes, on, say, text};
use super::runtime::lodger_runtime;
use super::ws::{LODGER_REASON_DONE, number};

/// Is called once with the outcome of a request: `reason` is `LODGER_REASON_DONE` and there are a
/// status and a body, lent; or why there is none, which `lodger_last_error` says in words then.
pub type lodger_fetch_fn = Option<
    unsafe extern "C-unwind" fn(
        rt: *mut lodger_runtime,
        reason: i32,
        status: u16,
        body: *const u8,
        len: usize,
        user: *mut c_void,
    ),
>;

/// Asks a server: `method` ("GET") and `url` ("http://host:port/path", "https://..."), with a body
/// that is copied and may be NULL. `f` is called with `user` once, from a turn, with a response of at
/// most `most` bytes; not if the runtime ends first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_fetch(
    rt: Option<&lodger_runtime>,
    method: *const c_char,
    url: *const c_char,
    body: *const c_void,
    len: usize,
    most: usize,
    f: lodger_fetch_fn,
    user: *mut c_void,
) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        // SAFETY: the contract of strings.
        let method = unsafe { text(method, "the method") }?;
        // SAFETY: as above.
        let url = unsafe { text(url, "the URL") }?;
        // SAFETY: the contract of data.
        let body = unsafe { bytes(body, len) }?;
        let f = f.ok_or_else(|| Fail::null("the function for the outcome"))?;
        let client = Client::new(rt.handle());
        if let Some(trust) = rt.trust() {
            client.tls(&trust);
        }
        let mut ask = client.request(method, url);
        if !body.is_empty() {
            ask = ask.body(body);
        }
        let weak = rt.weak();
        ask.whole(most, move |outcome| {
            let Some(rt) = weak.upgrade() else { return };
            let (reason, status, body) = match &outcome {
                Ok(whole) => (LODGER_REASON_DONE, whole.status, whole.body.as_slice()),
                Err(failure) => {
                    say(&failure.to_string());
                    let (reason, code) = number(failure.why);
                    (reason, code, &[][..])
                }
            };
            let rt = lodger_runtime::pointer(&rt);
            // SAFETY: the caller promised that `f` may be called with `user`.
            unsafe { f(rt, reason, status, body.as_ptr(), body.len(), user) };
        });
        Ok(LODGER_OK)
    })
}
