//! What users build servers with, on the public items of the runtime and the protocols.

#[cfg(feature = "ws")]
pub(crate) mod broadcast;
pub(crate) mod events;
#[cfg(feature = "server")]
pub(crate) mod http;
#[cfg(feature = "live")]
pub(crate) mod live;
mod peers;
#[cfg(all(feature = "server", feature = "ws"))]
pub(crate) mod ws;
