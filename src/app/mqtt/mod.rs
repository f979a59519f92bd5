//! MQTT for users: a broker, and what carries it.

pub(crate) mod broker;
#[cfg(feature = "ws")]
pub(crate) mod carried;
#[cfg(feature = "client")]
pub(crate) mod client;
mod tree;
