//! What users build servers with, on the public items of the runtime and the protocols.

pub(crate) mod auth;
#[cfg(feature = "ws")]
pub(crate) mod broadcast;
#[cfg(feature = "client")]
pub(crate) mod client;
mod cookies;
#[cfg(feature = "client")]
pub(crate) mod event_source;
pub(crate) mod events;
#[cfg(feature = "server")]
pub(crate) mod files;
pub(crate) mod forms;
#[cfg(feature = "server")]
pub(crate) mod http;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "live")]
pub(crate) mod live;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
mod peers;
#[cfg(feature = "client")]
pub(crate) mod proxy;
#[cfg(feature = "client")]
mod trust;
#[cfg(feature = "client")]
pub(crate) mod url;
#[cfg(feature = "client")]
mod way;
#[cfg(all(feature = "server", feature = "ws"))]
pub(crate) mod ws;

#[cfg(all(feature = "client", feature = "ws"))]
pub(crate) mod ws_client;
