//! Servers: routes, and what listens.
#![allow(unsafe_code, reason = "reads strings of C, takes over descriptors, calls back into C")]

use std::cell::OnceCell;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::{Rc, Weak};

use lodger_core::http::{Files, Server};
use lodger_core::live::Live;
use lodger_core::tls::{self, ServerConfig};
use lodger_core::{Handle, ListenerId, Rejected};

use super::border::{Fail, LODGER_OK, Res, enter, on, put, sized, text};
use super::request::{lend, lend_response, lodger_route_fn};
use super::runtime::{LODGER_LOG_INFO, lodger_runtime};
use super::ws::{Ws, lodger_ws_handler, lodger_ws_options, options_of};

/// Routes, being put together. Used by one thread at a time; becomes the runtime's when it is
/// listened with.
pub struct lodger_server {
    server: Option<Server>,
    /// Who it is over TLS.
    tls: Option<ServerConfig>,
    /// The runtime that serves it, known when it listens.
    rt: Rc<OnceCell<Weak<lodger_runtime>>>,
}

impl lodger_server {
    /// Has it be served over TLS.
    pub(super) fn secure(&mut self, config: ServerConfig) {
        self.tls = Some(config);
    }
}

/// Makes a server without routes: everything is a 404. Give it to `lodger_listen` or to
/// `lodger_server_free`.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_server_new() -> *mut lodger_server {
    let server = lodger_server { server: Some(Server::new()), tls: None, rt: Rc::default() };
    Box::into_raw(Box::new(server))
}

/// Frees a server that is not listened with. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_server_free(server: *mut lodger_server) {
    if !server.is_null() {
        // SAFETY: the contract: made by `lodger_server_new`, and not given away.
        drop(unsafe { Box::from_raw(server) });
    }
}

/// Answers `method` ("GET", which answers HEAD too) of `pattern` by `f`. A pattern is a path whose
/// segments may be parameters: "/user/{id}", "/files/{*rest}". Mistakes in it are told by
/// `lodger_listen`. `user` must stay as long as the listener and its connections.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_server_route(
    server: Option<&mut lodger_server>,
    method: *const c_char,
    pattern: *const c_char,
    f: lodger_route_fn,
    user: *mut c_void,
) -> i32 {
    change(server, |rt| {
        // SAFETY: the contract of strings.
        let method = unsafe { text(method, "the method") }?;
        // SAFETY: as above.
        let pattern = unsafe { text(pattern, "the pattern") }?;
        let f = f.ok_or_else(|| Fail::null("the route's function"))?;
        Ok(move |built: Server| {
            built.route(method, pattern, move |request, response| {
                let rt = rt.get().cloned().unwrap_or_default();
                lend_response(response, &rt, |rt, response| {
                    // SAFETY: the caller promised that `f` may be called with `user`.
                    lend(request, |request| unsafe { f(rt, request, response, user) });
                })
            })
        })
    })
}

/// Serves WebSockets at `pattern` by the functions of `handler`, which is copied. `options` may be
/// NULL. Its state is `user`, unless `accept` makes one for each connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_server_ws(
    server: Option<&mut lodger_server>,
    pattern: *const c_char,
    handler: *const lodger_ws_handler,
    options: *const lodger_ws_options,
    user: *mut c_void,
) -> i32 {
    change(server, |rt| {
        // SAFETY: the contract of strings.
        let pattern = unsafe { text(pattern, "the pattern") }?;
        // SAFETY: the contract of structs with a size.
        let handler = unsafe { sized(handler) }?.ok_or_else(|| Fail::null("the handler"))?;
        // SAFETY: as above.
        let config = unsafe { options_of(options) }?;
        let make = move |request: &lodger_core::http::Request<'_>| {
            Ws::accept(handler, request, rt.get().cloned().unwrap_or_default(), user)
        };
        Ok(move |built: Server| built.ws_with(pattern, config, make))
    })
}

/// Serves the live page at `path` ("/status"), and what it needs below; and at `also` ("/"), unless
/// that is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_server_live(
    server: Option<&mut lodger_server>,
    path: *const c_char,
    also: *const c_char,
) -> i32 {
    change(server, |_| {
        // SAFETY: the contract of strings.
        let path = unsafe { text(path, "the path") }?;
        let mut live = Live::new(path).stall(std::thread::sleep);
        if !also.is_null() {
            // SAFETY: as above.
            live = live.also(unsafe { text(also, "the other path") }?);
        }
        Ok(move |built: Server| live.mount(built))
    })
}

/// Serves the files of the directory `dir` below `prefix`, with ranges and conditions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_server_files(
    server: Option<&mut lodger_server>,
    prefix: *const c_char,
    dir: *const c_char,
) -> i32 {
    change(server, |_| {
        // SAFETY: the contract of strings.
        let prefix = unsafe { text(prefix, "the prefix") }?;
        // SAFETY: as above.
        let dir = unsafe { text(dir, "the directory") }?;
        Ok(move |built: Server| built.files(prefix, Files::new(dir)))
    })
}

/// Adds to a server what `f` makes of its arguments, once they are known to be right.
fn change<B: FnOnce(Server) -> Server>(
    server: Option<&mut lodger_server>,
    f: impl FnOnce(Rc<OnceCell<Weak<lodger_runtime>>>) -> Res<B>,
) -> i32 {
    enter(|| {
        let server = server.ok_or_else(|| Fail::null("the server"))?;
        let build = f(Rc::clone(&server.rt))?;
        server.server = Some(build(server.server.take().unwrap_or_default()));
        Ok(LODGER_OK)
    })
}

/// Listens on `address`: "127.0.0.1:8080", "[::1]:0" (port 0: the system chooses), "unix:/a/b.sock".
/// On success the server is the runtime's, and `*out` (which may be NULL) the listener's id; else
/// it stays yours.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_listen(
    rt: Option<&lodger_runtime>,
    address: *const c_char,
    server: *mut lodger_server,
    out: Option<&mut MaybeUninit<u64>>,
) -> i32 {
    on(rt, |rt| {
        // SAFETY: the contract of strings.
        let address = unsafe { text(address, "the address") }?;
        // SAFETY: the contract: NULL, or a server that was not given away.
        let id = unsafe {
            give(rt, server, |handle, server, tls| match tls {
                None => handle.listen(address, server).map_err(|r| (Box::new(r.value), r.error)),
                Some(tls) => handle
                    .listen(address, tls::Server::new(tls, server))
                    .map_err(|r| (Box::new(r.value.into_inner()), r.error)),
            })
        }?;
        rt.log(LODGER_LOG_INFO, &format!("listening on {address}"));
        out.map_or(Ok(LODGER_OK), |out| put(Some(out), id.bits()))
    })
}

/// As `lodger_listen`, on a socket that listens already: one that a supervisor has opened. It is
/// the runtime's on success, and stays yours else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_listen_fd(
    rt: Option<&lodger_runtime>,
    fd: i32,
    server: *mut lodger_server,
    out: Option<&mut MaybeUninit<u64>>,
) -> i32 {
    on(rt, |rt| {
        if fd < 0 {
            return Err(Fail::misuse("a descriptor is not negative"));
        }
        let listen = |handle: &Handle, server, tls: Option<&ServerConfig>| {
            // SAFETY: the contract: an open descriptor that nobody else uses. If it is refused it is
            // given back below, and not closed.
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            let refused = match tls {
                None => handle
                    .listen_on(owned, server)
                    .map_err(|Rejected { value, error }| (value.0, Box::new(value.1), error)),
                Some(tls) => handle.listen_on(owned, tls::Server::new(tls, server)).map_err(
                    |Rejected { value, error }| (value.0, Box::new(value.1.into_inner()), error),
                ),
            };
            refused.map_err(|(fd, server, error)| {
                std::mem::forget(fd);
                (server, error)
            })
        };
        // SAFETY: the contract: NULL, or a server that was not given away.
        let id = unsafe { give(rt, server, listen) }?;
        out.map_or(Ok(LODGER_OK), |out| put(Some(out), id.bits()))
    })
}

/// Has `listen` take the server; it stays the caller's if that fails.
///
/// # Safety
///
/// `server` is NULL, or was made by `lodger_server_new` and not given away.
unsafe fn give(
    rt: &lodger_runtime,
    server: *mut lodger_server,
    listen: impl FnOnce(
        &Handle,
        Server,
        Option<&ServerConfig>,
    ) -> Result<ListenerId, (Box<Server>, std::io::Error)>,
) -> Res<ListenerId> {
    rt.check_alive()?;
    // SAFETY: the caller of this function promised it.
    let known = unsafe { server.as_mut() }.ok_or_else(|| Fail::null("the server"))?;
    let built = known.server.take().unwrap_or_default();
    match listen(rt.handle(), built, known.tls.as_ref()) {
        Ok(id) => {
            // It is set once: a server that was listened with is gone.
            let _ = known.rt.set(rt.weak());
            // SAFETY: as above; it is the runtime's now.
            drop(unsafe { Box::from_raw(server) });
            Ok(id)
        }
        Err((built, error)) => {
            known.server = Some(*built);
            Err(error.into())
        }
    }
}

/// Stops listening. Connections that were accepted live on.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_unlisten(rt: Option<&lodger_runtime>, listener: u64) -> i32 {
    on(rt, |rt| {
        rt.handle().unlisten(ListenerId::from_bits(listener))?;
        Ok(LODGER_OK)
    })
}

/// Writes the address of a listener, with its real port, into `buffer` of `size` bytes, cut and
/// NUL-terminated. Gives its length without the NUL, which is `size` or more if it was cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_local_addr(
    rt: Option<&lodger_runtime>,
    listener: u64,
    buffer: *mut c_char,
    size: usize,
) -> i32 {
    on(rt, |rt| {
        let addr =
            rt.handle().local_addr(ListenerId::from_bits(listener)).ok_or(lodger_core::Gone)?;
        // SAFETY: the contract: NULL, or `size` bytes.
        unsafe { copy_text(&addr.to_string(), buffer, size) }
    })
}

/// Copies `text` to C, cut to fit. Gives its whole length.
///
/// # Safety
///
/// `buffer` is NULL, or has `size` bytes.
pub(super) unsafe fn copy_text(text: &str, buffer: *mut c_char, size: usize) -> Res {
    if !buffer.is_null()
        && let Some(most) = size.checked_sub(1)
    {
        let len = text.len().min(most);
        // SAFETY: `len` is less than `size`, which the caller of this function promised.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast::<c_char>(), buffer, len) };
        // SAFETY: as above.
        let end = unsafe { buffer.add(len) };
        // SAFETY: as above.
        unsafe { end.write(0) };
    }
    Ok(i32::try_from(text.len()).unwrap_or(i32::MAX))
}
