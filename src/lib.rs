//! A guest in your event loop: HTTP and WebSocket inside the loop that a program already has, or
//! on a loop of its own.
//!
//! ```no_run
//! use lodger::{Runtime, http, ws};
//!
//! struct Echo;
//!
//! impl ws::Handler for Echo {
//!     fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
//!         if cx.send(message).is_err() {
//!             cx.close(1008);
//!         }
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let rt = Runtime::standalone()?;
//!     let server = http::Server::new()
//!         .get("/hello/{name}", |req, res| res.text(req.param("name").unwrap_or("you")))
//!         .ws("/echo", |_req| Ok(Echo));
//!     rt.listen("127.0.0.1:7681", server)?;
//!     rt.run()
//! }
//! ```
//!
//! # The laws of use
//!
//! 1. **One thread.** A [`Runtime`] owns everything; [`Handle`]s to it live in handlers, timers and
//!    host code on the same thread. What crosses threads is [`Remote`], and it carries values.
//! 2. **Callbacks come from a turn.** No method runs user code, so a `RefCell` of yours may stay
//!    borrowed while you call us. The exceptions say so in their names: `dispatch`, `step`, `run`,
//!    `modal`, `end`, and dropping the `Runtime`.
//! 3. **Nothing of ours is borrowed while your code runs.** Any method may be called from any
//!    callback: send to any connection, close it, end the runtime, run the host's loop again.
//! 4. **A payload lives as long as the call.** It borrows from the receive buffer; copy what is to
//!    be kept. While you hold it you may answer.
//! 5. **A send is all or nothing.** It takes the message whole, or says `Full` or `Gone`; ask
//!    `want_write` for one `writable` when there is room.
//! 6. **`closed` is told exactly once**, last, to every handler that was made.
//! 7. **Limits come before buffers.** [`Limits`] bounds whatever a peer can make us hold, do or
//!    wait for.
//!
//! A payload cannot outlive its call:
//!
//! ```compile_fail,E0521
//! use lodger::ws;
//!
//! struct Keep(&'static str);
//!
//! impl ws::Handler for Keep {
//!     fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
//!         if let ws::Message::Text(text) = message {
//!             self.0 = text; // borrowed data escapes
//!         }
//!     }
//! }
//! ```
//!
//! Nor can what a handler acts through:
//!
//! ```compile_fail,E0521
//! use lodger::ws;
//!
//! struct Keep(Option<ws::Cx<'static>>);
//!
//! impl ws::Handler for Keep {
//!     fn message(&mut self, cx: &mut ws::Cx<'_>, _message: ws::Message<'_>) {
//!         let cx: &'static mut ws::Cx<'static> = cx; // neither the context nor its borrow
//!     }
//! }
//! ```
//!
//! # Features
//!
//! `default = ["std", "mio", "h1", "h2", "ws", "client", "server", "live", "dns"]`; `json` reads and writes JSON
//! bodies by serde, `tls` adds https and wss on both sides (`tls-aws-lc`: by aws-lc-rs), `mqtt` speaks MQTT 3.1.1 and 5.0, `deflate` adds permessage-deflate for routes whose `ws::Config` asks for it. With `default-features = false` and protocols chosen the crate is `no_std` +
//! alloc: the sans-IO [`proto`]cols, their buffers ([`io`]) and the scheduler ([`sul`]) alone.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "std")]
mod app;
mod error;
pub mod io;
mod limits;
pub mod policy;
pub mod proto;
#[cfg(feature = "std")]
mod runtime;
#[cfg(feature = "std")]
pub mod sim;
pub mod sul;

pub use error::{Blame, Error, Wire};
#[cfg(feature = "h2")]
pub use limits::H2Limits;
#[cfg(feature = "mqtt")]
pub use limits::MqttLimits;
pub use limits::TlsLimits;
pub use limits::{ClientLimits, FormLimits, H1Limits, IoLimits, Limits, TokenBucket, WsLimits};
pub use lodger_backend::Micros;

#[cfg(feature = "std")]
pub use lodger_backend::{Addr, Attached, Budget, Host, Nested, Pending, Turn};
#[cfg(feature = "std")]
pub use runtime::{
    ConnId, ConnInfo, Delivery, Gone, Handle, ListenerId, Log2, Reason, Rejected, Remote, Runtime,
    SendError, Serve, Service, Stats, TimerId, TimerInfo, WhenFull,
};

/// HTTP: servers, routes, requests and answers.
#[cfg(feature = "std")]
pub mod http {
    pub use crate::app::auth::{BasicAuth, same_secret};
    #[cfg(feature = "client")]
    pub use crate::app::client::{Ask, Client, Whole};
    #[cfg(feature = "client")]
    pub use crate::app::event_source::{EventHandler, EventSource, Subscription};
    pub use crate::app::events::{EventStream, Events};
    #[cfg(feature = "server")]
    pub use crate::app::files::Files;
    pub use crate::app::forms::{Form, FormFile, FormHandler};
    #[cfg(feature = "server")]
    pub use crate::app::http::Server;
    #[cfg(feature = "client")]
    pub use crate::app::proxy::{Proxies, Proxy};
    #[cfg(feature = "client")]
    pub use crate::app::url::Url;
    pub use crate::proto::events::{Event, Received};
    pub use crate::proto::form::{Pairs, Part};
    pub use crate::proto::h1::{Cookie, Fields, ResponseHead, SameSite};
    #[cfg(all(feature = "client", not(feature = "ws")))]
    pub use crate::runtime::StreamInfo;
    pub use crate::runtime::handler::client::{Cx as FetchCx, Failure, Fetch, Stage, Timing};
    pub use crate::runtime::handler::http::{
        Answer, Cx, ExchangeId, Handler, Later, Request, Response, Routes,
    };
}

/// Names: who looks them up, and how.
#[cfg(feature = "std")]
pub mod dns {
    #[cfg(feature = "dns")]
    pub use crate::proto::dns::Config;
    pub use crate::proto::dns::NameError;
    pub use crate::runtime::{Query, Resolver};
}

/// WebSocket: handlers and messages.
#[cfg(all(feature = "std", feature = "ws"))]
pub mod ws {
    pub use crate::app::broadcast::Broadcast;
    #[cfg(feature = "server")]
    pub use crate::app::ws::Refuse;
    #[cfg(feature = "client")]
    pub use crate::app::ws_client::{Client, Connection};
    #[cfg(feature = "deflate")]
    pub use crate::proto::ws::Deflate;
    pub use crate::proto::ws::{Config, Kind, Message, OriginRule};
    #[cfg(feature = "client")]
    pub use crate::runtime::StreamInfo;
    pub use crate::runtime::handler::ws::{Chunk, Cx, Handler};
}

/// MQTT: a broker.
#[cfg(all(feature = "std", feature = "mqtt"))]
pub mod mqtt {
    pub use crate::app::mqtt::MemoryJournal;
    #[cfg(feature = "client")]
    pub use crate::app::mqtt::bridge::{Bridge, Direction};
    pub use crate::app::mqtt::broker::{
        Access, Action, AuthStep, Broker, BrokerConfig, BrokerStats,
    };
    #[cfg(feature = "ws")]
    pub use crate::app::mqtt::carried::websocket_config;
    #[cfg(feature = "client")]
    pub use crate::app::mqtt::client::{
        Client, ClientEvent, Connection, Published, QueueFull, Subscription,
    };
    pub use crate::app::mqtt::outgoing::Outgoing;
    pub use crate::app::mqtt::server::{Device, Handler, Server};
    pub use crate::proto::mqtt::{
        Code, Connect, Message, Options, Properties, Property, PropertyList, Publish, Qos,
        RetainHandling, Version, Will, topic_matches,
    };
    pub use lodger_backend::Journal;
    #[cfg(all(unix, feature = "mio"))]
    pub use lodger_mio::FileJournal;
}

/// The live page, served by the program that it shows.
#[cfg(feature = "live")]
pub mod live {
    pub use crate::app::live::Live;
}

/// TLS: who we are, whom we trust, and what a handshake agreed on.
#[cfg(feature = "tls")]
pub mod tls {
    pub use crate::proto::tls::{
        ClientConfig, Identity, Plain, Roots, ServerBuilder, ServerConfig, Session,
    };
    pub use crate::runtime::handler::secured::Server;
}

/// Plain byte streams.
#[cfg(feature = "std")]
pub mod raw {
    pub use crate::runtime::handler::raw::{Accepted, Cx, Handler, Server};
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
