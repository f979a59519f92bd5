//! A guest in your event loop.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "std")]
mod app;
mod error;
pub mod io;
mod limits;
pub mod proto;
#[cfg(feature = "std")]
mod runtime;
#[cfg(feature = "std")]
pub mod sim;
pub mod sul;

pub use error::{Blame, Error, Wire};
pub use limits::{H1Limits, IoLimits, Limits, TokenBucket, WsLimits};
pub use lodger_backend::Micros;

#[cfg(feature = "std")]
pub use lodger_backend::{Addr, Attached, Budget, Host, Nested, Pending, Turn};
#[cfg(feature = "std")]
pub use runtime::{
    ConnId, ConnInfo, Gone, Handle, ListenerId, Log2, Reason, Rejected, Remote, Runtime, SendError,
    Serve, Service, Stats, TimerId,
};

/// HTTP: servers, routes, requests and answers.
#[cfg(all(feature = "std", feature = "h1"))]
pub mod http {
    #[cfg(feature = "server")]
    pub use crate::app::http::Server;
    pub use crate::proto::h1::Fields;
    pub use crate::runtime::handler::http::{
        Answer, Cx, ExchangeId, Handler, Later, Request, Response, Routes,
    };
}

/// WebSocket: handlers and messages.
#[cfg(all(feature = "std", feature = "ws"))]
pub mod ws {
    #[cfg(feature = "server")]
    pub use crate::app::ws::Refuse;
    pub use crate::proto::ws::{Config, Kind, Message, OriginRule};
    pub use crate::runtime::handler::ws::{Chunk, Cx, Handler};
}

/// Plain byte streams.
#[cfg(feature = "std")]
pub mod raw {
    pub use crate::runtime::handler::raw::{Accepted, Cx, Handler, Server};
}
