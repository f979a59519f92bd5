//! What C sees, one file a subject; `border` has what they share.

mod border;
mod fetch;
mod mqtt;
mod mqtt_broker;
mod mqtt_message;
mod ops;
mod remote;
mod request;
mod runtime;
mod server;
mod stats;
mod timer;
mod tls;
mod ws;
mod ws_client;
