//! TLS 1.2 and 1.3: RFC 5246 and RFC 8446, by rustls behind a small seam.
//!
//! [`engine`] turns records into plaintext and back; [`config`] says who we are and whom we trust.
//! Neither knows what is spoken inside. Without the feature `tls` there are types without values in
//! their place, so that who drives them needs no second form.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod engine;
mod fault;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
mod trust;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Engine, Session};
#[cfg(feature = "tls")]
pub(crate) use config::Accept;
#[cfg(feature = "tls")]
pub use config::{ClientConfig, Identity, Plain, Roots, ServerBuilder, ServerConfig};
#[cfg(feature = "tls")]
pub(crate) use engine::Engine;
pub(crate) use fault::{CUT, SLOW};
#[cfg(feature = "tls")]
pub use session::Session;

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
