//! What users build servers with, on the public items of the runtime and the protocols.

#[cfg(feature = "client")]
pub(crate) mod client;
#[cfg(feature = "server")]
pub(crate) mod http;
#[cfg(feature = "live")]
pub(crate) mod live;
#[cfg(feature = "client")]
pub(crate) mod url;
#[cfg(all(feature = "server", feature = "ws"))]
pub(crate) mod ws;

#[cfg(all(feature = "client", feature = "ws"))]
pub(crate) mod ws_client;
