//! Requests and their answers.
#![allow(unsafe_code, reason = "lends Rust's request and response to a callback of C")]

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::rc::Weak;

use lodger_core::http::{Answer, Later, Request, Response};

use super::border::{Fail, LODGER_E_THREAD, LODGER_OK, Res, bytes, enter, here, put, text};
use super::runtime::lodger_runtime;

/// A request's head, lent to the callback that is given it: not to be kept.
pub struct lodger_request(pub(super) Request<'static>);

/// The answer to one request. It is the callback's only, unless `lodger_response_keep` makes one
/// that lasts; unanswered, it is a 500.
pub struct lodger_response {
    thread: usize,
    rt: Weak<lodger_runtime>,
    status: u16,
    /// In its route.
    fresh: Option<Response<'static>>,
    answer: Option<Answer>,
    /// Kept, with the fields that wait for the answer.
    kept: Option<(Later, Vec<(String, String)>)>,
}

/// Answers a request. Without an answer in `response` when it returns, the client gets a 500.
pub type lodger_route_fn = Option<
    unsafe extern "C-unwind" fn(
        rt: *mut lodger_runtime,
        request: *const lodger_request,
        response: *mut lodger_response,
        user: *mut c_void,
    ),
>;

/// Answers a request whose body has arrived. `body` is lent.
pub type lodger_body_fn = Option<
    unsafe extern "C-unwind" fn(
        rt: *mut lodger_runtime,
        body: *const u8,
        len: usize,
        response: *mut lodger_response,
        user: *mut c_void,
    ),
>;

/// Lends a request to `f`.
pub(super) fn lend<T>(request: &Request<'_>, f: impl FnOnce(*const lodger_request) -> T) -> T {
    // SAFETY: only the lifetime changes. The copy is dropped before this returns, and C keeps no
    // pointer to it, by the contract.
    let request = unsafe { std::mem::transmute::<Request<'_>, Request<'static>>(request.clone()) };
    let lent = lodger_request(request);
    f(&raw const lent)
}

/// Lends a response to `f`, and gives what became of it.
pub(super) fn lend_response(
    response: Response<'_>,
    rt: &Weak<lodger_runtime>,
    f: impl FnOnce(*mut lodger_runtime, *mut lodger_response),
) -> Answer {
    let Some(runtime) = rt.upgrade() else { return response.error(500) };
    // SAFETY: only the lifetime changes. It is taken back before this returns, and what C may keep
    // (`kept`) holds none.
    let response = unsafe { std::mem::transmute::<Response<'_>, Response<'static>>(response) };
    let mut lent = lodger_response {
        thread: here(),
        rt: Weak::clone(rt),
        status: 200,
        fresh: Some(response),
        answer: None,
        kept: None,
    };
    f(lodger_runtime::pointer(&runtime), &raw mut lent);
    match lent.fresh.take() {
        Some(response) => response.error(500),
        None => lent.answer.take().expect("a response is used up by its answer alone"),
    }
}

/// Runs a call on a response.
fn with(
    response: Option<&mut lodger_response>,
    f: impl FnOnce(&mut lodger_response) -> Res,
) -> i32 {
    enter(|| {
        let response = response.ok_or_else(|| Fail::null("the response"))?;
        if response.thread != here() {
            return Err(Fail::new(LODGER_E_THREAD, "the response is another thread's"));
        }
        f(response)
    })
}

fn answered() -> Fail {
    Fail::misuse("the request is answered already")
}

/// Gives `text` to C: not NUL-terminated, lent.
pub(super) fn lent(text: Option<&str>, len: Option<&mut MaybeUninit<usize>>) -> *const c_char {
    if let Some(len) = len {
        len.write(text.map_or(0, str::len));
    }
    text.map_or(std::ptr::null(), |text| text.as_ptr().cast())
}

/// Gives the method: "GET". Like all texts of a request it is lent until the callback returns, is
/// `*len` bytes long and has no NUL at its end.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_request_method(
    request: Option<&lodger_request>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    lent(request.map(|request| request.0.method()), len)
}

/// Gives the path, still percent-encoded.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_request_path(
    request: Option<&lodger_request>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    lent(request.map(|request| request.0.path()), len)
}

/// Gives what stands behind the `?`; NULL if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_request_query(
    request: Option<&lodger_request>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    lent(request.and_then(|request| request.0.query()), len)
}

/// Gives the first field of this name, if it is text; else NULL. Names are compared without case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_request_header(
    request: Option<&lodger_request>,
    name: *const c_char,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    // SAFETY: the contract of strings.
    let name = unsafe { text(name, "the field's name") }.unwrap_or_default();
    lent(request.and_then(|request| request.0.header(name)), len)
}

/// Gives what a `{name}` of the route's pattern stands for, still percent-encoded; else NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_request_param(
    request: Option<&lodger_request>,
    name: *const c_char,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    // SAFETY: the contract of strings.
    let name = unsafe { text(name, "the parameter's name") }.unwrap_or_default();
    lent(request.and_then(|request| request.0.param(name)), len)
}

/// Sets the status of the answer, 200 to 999; 200 unless set.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_response_status(
    response: Option<&mut lodger_response>,
    status: u16,
) -> i32 {
    with(response, |response| {
        if !(200..=999).contains(&status) {
            return Err(Fail::misuse("a status is between 200 and 999"));
        }
        response.status = status;
        Ok(LODGER_OK)
    })
}

/// Adds a field to the answer. What RFC 9110, section 5 forbids in names and values is refused; on
/// a kept response it makes the answer a 500.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_response_header(
    response: Option<&mut lodger_response>,
    name: *const c_char,
    value: *const c_char,
) -> i32 {
    with(response, |response| {
        // SAFETY: the contract of strings.
        let name = unsafe { text(name, "the field's name") }?;
        // SAFETY: as above.
        let value = unsafe { text(value, "the field's value") }?;
        match (&mut response.fresh, &mut response.kept) {
            (Some(fresh), _) => fresh.try_header(name, value)?,
            (None, Some((_, fields))) => fields.push((name.to_owned(), value.to_owned())),
            (None, None) => return Err(answered()),
        }
        Ok(LODGER_OK)
    })
}

/// Answers, with `len` bytes that are copied; a kept response is freed by it, whatever it returns.
/// `content_type` may be NULL for an answer without a body. `LODGER_E_GONE`: the client has gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_respond(
    response: *mut lodger_response,
    content_type: *const c_char,
    body: *const c_void,
    len: usize,
) -> i32 {
    // SAFETY: the contract: NULL, lent to the callback under way, or kept and not answered yet.
    let code = with(unsafe { response.as_mut() }, |response| {
        // SAFETY: the contract of data.
        let body = unsafe { bytes(body, len) }?;
        let content_type = if content_type.is_null() {
            None
        } else {
            // SAFETY: the contract of strings.
            Some(unsafe { text(content_type, "the content type") }?)
        };
        respond(response, content_type, body)
    });
    if code != LODGER_E_THREAD {
        // SAFETY: as above.
        unsafe { free_kept(response) };
    }
    code
}

fn respond(response: &mut lodger_response, content_type: Option<&str>, body: &[u8]) -> Res {
    let status = response.status;
    if let Some(fresh) = response.fresh.take() {
        response.answer = Some(answer(fresh.status(status), content_type, body));
        return Ok(LODGER_OK);
    }
    let (later, fields) = response.kept.take().ok_or_else(answered)?;
    later.answer(|response| {
        let mut response = response.status(status);
        for (name, value) in &fields {
            response = response.header(name, value);
        }
        answer(response, content_type, body)
    })?;
    Ok(LODGER_OK)
}

fn answer(response: Response<'_>, content_type: Option<&str>, body: &[u8]) -> Answer {
    match content_type {
        Some(content_type) => response.bytes(content_type, body),
        None => response.empty(),
    }
}

/// Frees what was allocated for a kept response. One that is lent is on Rust's stack.
///
/// # Safety
///
/// `response` is NULL, lent, or kept and given up by this.
unsafe fn free_kept(response: *mut lodger_response) {
    // SAFETY: the caller of this function promised it.
    let Some(known) = (unsafe { response.as_ref() }) else { return };
    if known.answer.is_none() && known.fresh.is_none() {
        // SAFETY: neither fresh nor answered in place: `lodger_response_keep` allocated it.
        drop(unsafe { Box::from_raw(response) });
    }
}

/// Makes a response that outlasts the callback, to be answered later, on this thread: by
/// `lodger_respond`, which frees it, or `lodger_response_free`. Status and fields are set on it
/// afterwards. Requests that the client has sent behind it wait.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_response_keep(
    response: Option<&mut lodger_response>,
    out: Option<&mut MaybeUninit<*mut lodger_response>>,
) -> i32 {
    with(response, |response| {
        let out = out.ok_or_else(|| Fail::null("the place for the response"))?;
        let (answer, later) = response.fresh.take().ok_or_else(answered)?.later();
        response.answer = Some(answer);
        let kept = lodger_response {
            thread: response.thread,
            rt: Weak::clone(&response.rt),
            status: response.status,
            fresh: None,
            answer: None,
            kept: Some((later, Vec::new())),
        };
        put(Some(out), Box::into_raw(Box::new(kept)))
    })
}

/// Gives up a kept response: the client gets a 500. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_response_free(response: *mut lodger_response) -> i32 {
    if response.is_null() {
        return LODGER_OK;
    }
    // SAFETY: the contract: kept, and not answered yet.
    let code = with(unsafe { response.as_mut() }, |response| {
        response.kept.take().map(|_| LODGER_OK).ok_or_else(|| Fail::misuse("it was not kept"))
    });
    if code == LODGER_OK {
        // SAFETY: as above.
        unsafe { free_kept(response) };
    }
    code
}

/// Has `f` called with the whole request body, of at most `most` bytes (else the client gets a
/// 413), and with the response to answer. `user` must stay until then; `f` is not called if the
/// client goes first.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_response_read_body(
    response: Option<&mut lodger_response>,
    most: u64,
    f: lodger_body_fn,
    user: *mut c_void,
) -> i32 {
    with(response, |response| {
        let f = f.ok_or_else(|| Fail::null("the function for the body"))?;
        let fresh = response.fresh.take().ok_or_else(answered)?;
        let rt = Weak::clone(&response.rt);
        response.answer = Some(fresh.read_body_up_to(most, move |body, response| {
            lend_response(response, &rt, |rt, response| {
                // SAFETY: the caller promised that `f` may be called with `user`.
                unsafe { f(rt, body.as_ptr(), body.len(), response, user) };
            })
        }));
        Ok(LODGER_OK)
    })
}
