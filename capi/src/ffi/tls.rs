//! TLS: who a server is, whom a client trusts, and what a handshake agreed on.
#![allow(unsafe_code, reason = "reads options of C")]

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use lodger_core::tls::{ClientConfig, Identity, Plain, Roots, ServerConfig, Session};

use super::border::{Fail, LODGER_OK, Res, Sized, array, bytes, enter, on, sized, text};
use super::request::{lent, lodger_request};
use super::runtime::lodger_runtime;
use super::server::lodger_server;

/// Of a server with roots: clients without a certificate are refused. Without it they are asked
/// for one, and served all the same.
pub const LODGER_TLS_REQUIRE: u32 = 1;
/// Of a server: plain HTTP is redirected to https by a 308. Without it, it is a 400.
pub const LODGER_TLS_REDIRECT: u32 = 2;
/// Of a client: trusts anybody. What is sent can be read and changed by whoever stands between.
pub const LODGER_TLS_INSECURE: u32 = 4;

/// Of `lodger_request_tls`: the version, "TLSv1.3" or "TLSv1.2".
pub const LODGER_TLS_PROTOCOL: i32 = 0;
/// The cipher suite, as its registry names it: "TLS13_AES_256_GCM_SHA384".
pub const LODGER_TLS_CIPHER: i32 = 1;
/// The application protocol that both sides agreed on (RFC 7301): "h2", "http/1.1".
pub const LODGER_TLS_ALPN: i32 = 2;
/// The name that the client asked for (SNI: RFC 6066, section 3).
pub const LODGER_TLS_NAME: i32 = 3;

/// Who one is, and whom one trusts. Everything is read when it is given; zero in a field means its
/// default. PEM is text as in a file, and needs no NUL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lodger_tls_options {
    /// `sizeof(lodger_tls_options)`.
    pub size: usize,
    /// A PEM file: the certificate, then those that signed it. A server needs it or `certificate`;
    /// a client shows it to servers that ask.
    pub certificate_file: *const c_char,
    /// A PEM file: the key of the certificate (PKCS #8, PKCS #1 or SEC 1, not encrypted).
    pub key_file: *const c_char,
    /// In place of `certificate_file`: the PEM itself.
    pub certificate: *const c_void,
    /// How many bytes.
    pub certificate_len: usize,
    /// In place of `key_file`: the PEM itself.
    pub key: *const c_void,
    /// How many bytes.
    pub key_len: usize,
    /// A PEM file of authorities. A client trusts these alone, in place of those that the system
    /// trusts; a server asks clients for a certificate that one of them has signed.
    pub roots_file: *const c_char,
    /// In place of `roots_file`: the PEM itself.
    pub roots: *const c_void,
    /// How many bytes.
    pub roots_len: usize,
    /// Application protocols, the preferred one first. NULL: those that are spoken.
    pub alpn: *const *const c_char,
    /// How many of them.
    pub alpn_len: usize,
    /// `LODGER_TLS_REQUIRE`, `..._REDIRECT`, `..._INSECURE`, added up.
    pub flags: u32,
}

// SAFETY: `repr(C)`, begins with its size; integers and nullable pointers.
unsafe impl Sized for lodger_tls_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "lodger_tls_options";
}

/// The options, read.
struct Given<'a> {
    identity: Option<Identity>,
    roots: Option<Roots>,
    alpn: Vec<&'a str>,
    flags: u32,
}

impl<'a> Given<'a> {
    /// Reads what the options point to; flags other than `known` are refused.
    ///
    /// # Safety
    ///
    /// Strings end with a NUL, arrays and data are as long as they say, and stay for `'a`.
    unsafe fn read(options: &lodger_tls_options, known: u32) -> Res<Self> {
        if options.flags & !known != 0 {
            return Err(Fail::misuse("a flag of TLS that is none here"));
        }
        // SAFETY: the caller of this function promised it.
        let identity = unsafe { identity_of(options) }?;
        // SAFETY: as above.
        let roots = unsafe { roots_of(options) }?;
        // SAFETY: as above.
        let names = unsafe { array(options.alpn, options.alpn_len) }?;
        // SAFETY: as above.
        let alpn = names.iter().map(|name| unsafe { text(*name, "an application protocol") });
        let alpn = alpn.collect::<Res<Vec<_>>>()?;
        if alpn.iter().any(|name| !(1..=255).contains(&name.len())) {
            return Err(Fail::misuse("an application protocol has 1 to 255 bytes"));
        }
        Ok(Self { identity, roots, alpn, flags: options.flags })
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn server(self) -> Res<ServerConfig> {
        let require = self.has(LODGER_TLS_REQUIRE);
        let redirect = self.has(LODGER_TLS_REDIRECT);
        let mut builder = ServerConfig::builder().alpn(&self.alpn);
        if let Some(identity) = self.identity {
            builder = builder.identity(identity);
        }
        builder = match (self.roots, require) {
            (Some(roots), true) => builder.require_clients(roots),
            (Some(roots), false) => builder.ask_clients(roots),
            (None, false) => builder,
            (None, true) => return Err(Fail::misuse("LODGER_TLS_REQUIRE needs roots")),
        };
        if redirect {
            builder = builder.plain(Plain::Redirect);
        }
        builder.build().map_err(Fail::from)
    }

    fn client(self) -> Res<ClientConfig> {
        let config = match (&self.roots, self.has(LODGER_TLS_INSECURE)) {
            (None, true) => ClientConfig::insecure(),
            (Some(roots), false) => ClientConfig::new(roots),
            (None, false) => ClientConfig::platform(),
            (Some(_), true) => {
                return Err(Fail::misuse("LODGER_TLS_INSECURE looks at no roots"));
            }
        };
        let mut config = config.map_err(Fail::from)?;
        if let Some(identity) = &self.identity {
            config = config.identity(identity);
        }
        Ok(if self.alpn.is_empty() { config } else { config.alpn(&self.alpn) })
    }
}

/// # Safety
///
/// As [`Given::read`].
unsafe fn identity_of(o: &lodger_tls_options) -> Res<Option<Identity>> {
    // SAFETY: the caller of this function promised it.
    let certificate = unsafe { bytes(o.certificate, o.certificate_len) }?;
    // SAFETY: as above.
    let key = unsafe { bytes(o.key, o.key_len) }?;
    let files = !o.certificate_file.is_null() || !o.key_file.is_null();
    match (files, !certificate.is_empty() || !key.is_empty()) {
        (false, false) => Ok(None),
        (false, true) => Ok(Some(Identity::from_pem(certificate, key)?)),
        (true, false) => {
            // SAFETY: as above.
            let certificate = unsafe { text(o.certificate_file, "the certificate's file") }?;
            // SAFETY: as above.
            let key = unsafe { text(o.key_file, "the key's file") }?;
            Ok(Some(Identity::from_files(certificate, key)?))
        }
        (true, true) => Err(Fail::misuse("an identity is in files or in memory, not both")),
    }
}

/// # Safety
///
/// As [`Given::read`].
unsafe fn roots_of(o: &lodger_tls_options) -> Res<Option<Roots>> {
    // SAFETY: the caller of this function promised it.
    let pem = unsafe { bytes(o.roots, o.roots_len) }?;
    match (o.roots_file.is_null(), pem.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => Ok(Some(Roots::from_pem(pem)?)),
        (false, true) => {
            // SAFETY: as above.
            Ok(Some(Roots::from_file(unsafe { text(o.roots_file, "the roots' file") }?)?))
        }
        (false, false) => Err(Fail::misuse("roots are in a file or in memory, not both")),
    }
}

/// Reads a server's options; `None` for NULL.
///
/// # Safety
///
/// `options` is NULL, or as long as its size says, with what [`Given::read`] asks for.
pub(super) unsafe fn server_of(options: *const lodger_tls_options) -> Res<Option<ServerConfig>> {
    // SAFETY: the caller of this function promised it.
    let Some(options) = unsafe { sized(options) }? else { return Ok(None) };
    // SAFETY: as above.
    let given = unsafe { Given::read(&options, LODGER_TLS_REQUIRE | LODGER_TLS_REDIRECT) }?;
    given.server().map(Some)
}

/// Has a server be served over TLS: give it to `lodger_listen` or `lodger_listen_fd` afterwards. The
/// options name a certificate and its key. `LODGER_E_SYSTEM` or `LODGER_E_MISUSE`: a file cannot be
/// read, or is not what it should be; the server is as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_server_tls(
    server: Option<&mut lodger_server>,
    options: *const lodger_tls_options,
) -> i32 {
    enter(|| {
        let server = server.ok_or_else(|| Fail::null("the server"))?;
        // SAFETY: the contract of structs with a size, and of what they point to.
        let config = unsafe { server_of(options) }?.ok_or_else(|| Fail::null("the options"))?;
        server.secure(config);
        Ok(LODGER_OK)
    })
}

/// Sets whom `lodger_fetch`, `lodger_ws_connect` and `lodger_mqtt_connect` trust behind TLS, for calls
/// from now on. NULL, or never called: whom the system trusts, read at the first such call. Options without
/// roots: the same, read at once. A server that is not trusted is `LODGER_REASON_PEER`, and
/// `lodger_last_error` says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lodger_trust(
    rt: Option<&lodger_runtime>,
    options: *const lodger_tls_options,
) -> i32 {
    on(rt, |rt| {
        rt.check_alive()?;
        // SAFETY: the contract of structs with a size.
        let config = match unsafe { sized(options) }? {
            None => None,
            Some(options) => {
                // SAFETY: the contract of what options point to.
                Some(unsafe { Given::read(&options, LODGER_TLS_INSECURE) }?.client()?)
            }
        };
        rt.set_trust(config);
        Ok(LODGER_OK)
    })
}

fn session(request: Option<&lodger_request>) -> Option<&Session> {
    request.and_then(|request| request.0.tls())
}

/// Gives what the TLS handshake of a request's connection agreed on: `what` is
/// `LODGER_TLS_PROTOCOL`, `..._CIPHER`, `..._ALPN` or `..._NAME`. NULL if that was not agreed on; the
/// protocol is NULL only if the request did not come over TLS. Lent, and of `*len` bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_request_tls(
    request: Option<&lodger_request>,
    what: i32,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    let found = session(request).and_then(|tls| match what {
        LODGER_TLS_PROTOCOL => Some(tls.protocol()),
        LODGER_TLS_CIPHER => Some(tls.cipher()),
        LODGER_TLS_ALPN => tls.alpn().and_then(|name| std::str::from_utf8(name).ok()),
        LODGER_TLS_NAME => tls.sni(),
        _ => None,
    });
    lent(found, len)
}

/// Gives a certificate that the client has shown, in DER, lent: its own is number 0, those that
/// signed it follow. NULL if there is none of this number.
#[unsafe(no_mangle)]
pub extern "C" fn lodger_request_certificate(
    request: Option<&lodger_request>,
    number: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    let der = session(request).and_then(|tls| tls.peer_certificates().nth(number));
    if let Some(len) = len {
        len.write(der.map_or(0, <[u8]>::len));
    }
    der.map_or(std::ptr::null(), <[u8]>::as_ptr)
}
