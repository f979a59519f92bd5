//! Requests as streams of shared connections: RFC 9113, section 9.1.

use std::boxed::Box;
use std::rc::Rc;
use std::string::String;

use super::super::url::Url;
use super::{Attempt, Body, Client, Request};
use crate::proto::h1::Length;
use crate::proto::h2::{Ask, Connection, Role};
use crate::proto::stack::Stack;
use crate::runtime::handler::App;
use crate::runtime::handler::client::{Asker, Owner, Waiter};
use crate::runtime::{ConnId, Handle};

impl Client {
    /// Speaks HTTP/2 from the first byte on ("prior knowledge", RFC 9113, section 3.3): the requests
    /// to one origin are streams of one connection, as many as the server lets it have at once.
    ///
    /// A request that the server has not looked at, by its own word, is tried once more. Requests to
    /// https go over HTTP/1.1 all the same.
    #[must_use]
    pub fn http2(self) -> Self {
        self.0.http2.set(true);
        self
    }

    /// Gives a connection to `origin` that another stream may be opened on.
    fn carrier(&self, origin: &str) -> Option<ConnId> {
        let h = &self.0.h;
        let mut carriers = self.0.carriers.borrow_mut();
        let here = carriers.get_mut(origin)?;
        here.retain(|id| h.is_carrier(*id));
        here.iter().copied().find(|id| h.can_ask(*id))
    }
}

impl Attempt {
    /// Sends the request on a stream of a connection that is there, or of a new one.
    pub(super) fn go_by_stream(self, url: &Url, request: &Request) {
        let client = self.client.clone();
        let h = &client.0.h;
        let origin = url.origin();
        let known = if self.retried == 0 { client.carrier(&origin) } else { None };
        let carrier = known.unwrap_or_else(|| self.dial(url, &origin));
        let now = h.now();
        let asker = Box::new(Asker::new(Rc::new(Alone), Box::new(self), now));
        let ends = matches!(request.body, Body::None);
        let ask = Ask { scheme: "http", protocol: None, ends };
        let head = request.head(url);
        let whole = match &request.body {
            Body::Whole(bytes) => Some(&**bytes),
            Body::None | Body::Stream(_) => None,
        };
        let length = if ends { Length::None } else { head.length };
        let id = h.ask_stream(carrier, asker, &head, &ask, length, whole);
        request.begin(h, id);
    }

    fn dial(&self, url: &Url, origin: &str) -> ConnId {
        let client = self.client.clone();
        let h = &client.0.h;
        let connection = connection(h);
        let stack = Stack::H2(Box::new(connection));
        let id = h.dial(url.place.to(), None, (stack, App::Gone), |_, _, _| Ok(()));
        let mut carriers = client.0.carriers.borrow_mut();
        carriers.entry(String::from(origin)).or_default().push(id);
        id
    }
}

fn connection(h: &Handle) -> Connection {
    let now = h.now();
    Connection::new(Role::Client, now, &h.core().limits)
}

/// The owner of a stream: nobody waits behind it, and it is not used again.
struct Alone;

impl Owner for Alone {
    fn idle(&self, _h: &Handle, _id: ConnId) {}

    fn next(&self) -> Option<Waiter> {
        None
    }
}
