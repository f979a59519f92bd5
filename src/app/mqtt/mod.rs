//! MQTT for users: a broker, and what carries it.

#[cfg(feature = "client")]
pub(crate) mod bridge;
pub(crate) mod broker;
#[cfg(feature = "ws")]
pub(crate) mod carried;
#[cfg(feature = "client")]
pub(crate) mod client;
mod log;
mod memory;
pub(crate) mod outgoing;
pub(crate) mod server;
mod stored;
mod tree;

pub use memory::MemoryJournal;
