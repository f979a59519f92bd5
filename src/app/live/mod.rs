//! The live page: what the runtime does, shown by the runtime itself.
//!
//! In: a GET of the page, a WebSocket that looks, and what it asks to be done. Out: one HTML file
//! without any outside asset, and at most ten snapshots a second, only while somebody looks.

mod controls;
mod feed;
mod json;
mod probe;
mod snapshot;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use controls::{Controls, Silent};
use feed::{Feed, Viewer};

use crate::http::{Answer, Response, Server};

const PAGE: &str = include_str!("page.html");
/// Names the hashes of the page's one style and one script.
const POLICY: &str = include_str!("page.csp").trim_ascii_end();
/// Where the page is told which feed to connect to.
const META: &str = r#"<meta name="feed" content="/_lodger/feed">"#;

/// The live page of the runtime that serves it: uptime, wakes, requests, how late the loop is,
/// timers, streams that come back, connections.
///
/// It shows the addresses of peers and the patterns of routes to whoever can ask for it, so mount
/// it where only the right ones can: on a listener of its own, such as a Unix socket. Its WebSocket
/// takes pages of the same host only. While nobody looks it costs nothing, no timer either; a
/// viewer that is slow loses frames, and more than 64 at once are refused with 503. One value
/// belongs to one runtime.
///
/// Its buttons open five sockets to the runtime itself (20 at most, closed when nobody looks any
/// more), drop one of them, and stall the loop, if [`stall`](Self::stall) says how. They act for
/// pages that this machine opened by `localhost` or a loopback address, or for all
/// ([`controls_for_all`](Self::controls_for_all)).
///
/// ```
/// use lodger::{http, live::Live};
///
/// // The page at /status, its feed at /status/feed.
/// let live = Live::new("/status").stall(std::thread::sleep);
/// let server = live.mount(http::Server::new());
/// # drop(server);
/// ```
#[derive(Clone)]
pub struct Live {
    path: String,
    also: Vec<String>,
    stall: Option<Rc<dyn Fn(Duration)>>,
    for_all: bool,
    #[cfg(feature = "mqtt")]
    broker: Option<crate::mqtt::Broker>,
}

impl core::fmt::Debug for Live {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Live").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Live {
    /// Prepares the page for `path`, which has no parameters: at `/_lodger` it is served with and
    /// without a slash behind it, its feed is `/_lodger/feed`, and its sockets `/_lodger/socket`.
    pub fn new(path: &str) -> Self {
        let path = path.trim_end_matches('/').to_string();
        Self {
            path,
            also: Vec::new(),
            stall: None,
            for_all: false,
            #[cfg(feature = "mqtt")]
            broker: None,
        }
    }

    /// Shows the figures of a broker of the same runtime too. They are added up when somebody looks.
    #[cfg(feature = "mqtt")]
    #[must_use]
    pub fn broker(mut self, broker: &crate::mqtt::Broker) -> Self {
        self.broker = Some(broker.clone());
        self
    }

    /// Offers a button that stalls the loop for 200 ms, at most once a second, to show what a
    /// handler that blocks does to all others. `f` blocks its thread for the time that it is given,
    /// as `std::thread::sleep` does.
    #[must_use]
    pub fn stall(mut self, f: impl Fn(Duration) + 'static) -> Self {
        self.stall = Some(Rc::new(f));
        self
    }

    /// Sets whether the buttons act for every viewer, from wherever. Off at first.
    #[must_use]
    pub fn controls_for_all(mut self, on: bool) -> Self {
        self.for_all = on;
        self
    }

    /// Shows the page at `path` too, with the same feed.
    #[must_use]
    pub fn also(mut self, path: &str) -> Self {
        self.also.push(path.to_string());
        self
    }

    /// Adds the page and its feed to `server`. A path that cannot be, or that has a route already,
    /// is told by [`Handle::listen`](crate::Handle::listen).
    pub fn mount(self, server: Server) -> Server {
        let (feed, socket) =
            (std::format!("{}/feed", self.path), std::format!("{}/socket", self.path));
        let page = page_for(&feed);
        // With and without the slash behind it; at the root they are the same.
        let bare = Some(self.path.clone()).filter(|path| !path.is_empty());
        let paths = bare.into_iter().chain([self.path + "/"]).chain(self.also);
        let controls = Rc::new(Controls::new(self.stall, self.for_all, &socket));
        let watch = Feed::new(Rc::clone(&controls));
        #[cfg(feature = "mqtt")]
        let watch = watch.broker(self.broker);
        let watch = Rc::new(watch);
        let server = server
            .ws_with(&feed, Viewer::config(), move |request| Viewer::new(&watch, request))
            .ws_with(&socket, Viewer::config(), move |_| Silent::new(&controls));
        paths.fold(server, |server, path| {
            let page = page.clone();
            server.get(&path, move |_, response| answer(&page, response))
        })
    }
}

fn answer(page: &str, response: Response<'_>) -> Answer {
    response
        .header("content-security-policy", POLICY)
        .header("x-content-type-options", "nosniff")
        .header("referrer-policy", "no-referrer")
        .header("cache-control", "no-cache")
        .html(page)
}

/// The page with its feed's path in it. The policy names hashes of the style and the script alone,
/// so the rest may change.
fn page_for(feed: &str) -> Rc<str> {
    let meta = std::format!(r#"<meta name="feed" content="{}">"#, escaped(feed));
    Rc::from(PAGE.replacen(META, &meta, 1))
}

/// HTML, section 13.1.2.3: what may not stand in a quoted attribute value.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '"', '<']) {
        let text = text.replace('&', "&amp;").replace('"', "&quot;");
        return Cow::Owned(text.replace('<', "&lt;"));
    }
    Cow::Borrowed(text)
}
