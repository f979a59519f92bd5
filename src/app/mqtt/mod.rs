//! MQTT for users: a broker, and what carries it.

pub(crate) mod broker;
#[cfg(feature = "ws")]
pub(crate) mod carried;
mod tree;
