//! What users build servers with, on the public items of the runtime and the protocols.

pub(crate) mod auth;
#[cfg(feature = "ws")]
pub(crate) mod broadcast;
mod cookies;
pub(crate) mod events;
pub(crate) mod forms;
#[cfg(feature = "server")]
pub(crate) mod http;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "live")]
pub(crate) mod live;
mod peers;
#[cfg(all(feature = "server", feature = "ws"))]
pub(crate) mod ws;
