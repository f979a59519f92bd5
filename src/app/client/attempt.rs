//! One request on its way: where it is sent, and whether it is sent again.

use std::boxed::Box;
use std::rc::Rc;
use std::string::String;
use std::time::Duration;

use lodger_backend::Micros;

use super::super::proxy::Forward;
use super::super::url::Url;
#[cfg(feature = "h2")]
use super::Body;
use super::dial::Job;
use super::pool::Keeper;
use super::{Client, Request};
use crate::io::Tx;
#[cfg(feature = "h2")]
use crate::proto::h1::Length;
use crate::proto::h1::{self, Fields, ResponseHead};
#[cfg(feature = "h2")]
use crate::proto::h2::{Ask, Asking};
use crate::proto::stack::Stack;
use crate::proto::{self};
use crate::runtime::handler::App;
#[cfg(feature = "h2")]
use crate::runtime::handler::client::Alone;
use crate::runtime::handler::client::{
    Asker, Cx, Failure, Fetch, Lost, Owner, Stage, Stages, Timing, Waiter,
};
use crate::runtime::{ConnId, Handle, Reason};

/// One request on its way, with what is needed to try it elsewhere.
pub(super) struct Attempt {
    client: Client,
    request: Request,
    fetch: Option<Box<dyn Fetch>>,
    began: Micros,
    retried: u32,
    redirect: Option<Request>,
}

/// Whom a request is for, and the proxy that it is sent to in place of that.
type To<'a> = (&'a Url, Option<&'a Forward>);

/// What connections are kept by.
fn key((url, via): To<'_>) -> String {
    via.map_or_else(|| url.origin(), |proxy| proxy.key(url))
}

impl Attempt {
    pub(super) fn start(client: &Client, request: Request, fetch: Box<dyn Fetch>, retried: u32) {
        let client = client.clone();
        let began = client.0.h.now();
        Self { client, request, fetch: Some(fetch), began, retried, redirect: None }.go();
    }

    /// Sends the request on a connection that is there, or on a new one.
    fn go(self) {
        let client = self.client.clone();
        let Ok(url) = self.request.url.clone() else { return };
        let agrees = client.agrees(&url);
        let via = if agrees { None } else { client.0.proxies.borrow().forward(&url) };
        let to = (&url, via.as_ref());
        // What has failed once is sent where nobody else was.
        let this = if self.retried == 0 { self.go_on_known(to) } else { Some(self) };
        match this {
            Some(this) if agrees => this.go_on_agreed(&url),
            Some(this) => this.go_on_new(to),
            None => {}
        }
    }

    /// Sends it on a connection that is there. Gives it back if there is none.
    fn go_on_known(self, to: To<'_>) -> Option<Self> {
        let client = self.client.clone();
        let (h, origin) = (&client.0.h, key(to));
        #[cfg(feature = "h2")]
        if let Some(id) = client.carrier(&origin, false) {
            let stages = Stages::begun(self.began);
            Box::new(self).stream(h, id, &stages);
            return None;
        }
        let request = self.request.clone();
        let say = |stack: &mut Stack, cx: &mut proto::Cx<'_>, tx: &mut Tx<'_>| {
            request.say(to, stack, cx, tx)
        };
        let Some(id) = client.take(&origin) else {
            let line = if request.pipelined { client.line(&origin) } else { None };
            let Some((id, line)) = line else { return Some(self) };
            let Some(base) = h.ask_behind(id, say) else { return Some(self) };
            let began = self.began;
            line.wait(Waiter { fetch: Box::new(self), began, base });
            return None;
        };
        let (keeper, asker) = self.asker(origin, None);
        match h.ask_again(id, asker, say) {
            Ok(()) => request.seated(&client, id, &keeper),
            Err(mut asker) => asker.refuse(h, Stage::FirstByte, Reason::Eof),
        }
        None
    }

    /// Sends it on a connection that speaks HTTP/1.1 whoever is there.
    fn go_on_new(self, to: To<'_>) {
        let client = self.client.clone();
        let (h, request) = (&client.0.h, self.request.clone());
        let (keeper, mut asker) = self.asker(key(to), None);
        let way = match to {
            (_, Some(proxy)) => client.0.way_to(proxy),
            (url, None) => client.0.way(url, false),
        };
        let way = match way {
            Ok(way) => way,
            Err(e) => return asker.refuse(h, Stage::Connect, Reason::Peer(e)),
        };
        let stack = Stack::Client(Box::new(h1::Client::new(h.now(), &h.core().limits.client)));
        let id =
            h.dial(way.place.to(), way.channel, (stack, App::Client(asker)), |stack, cx, tx| {
                request.say(to, stack, cx, tx)
            });
        request.seated(&client, id, &keeper);
    }

    /// Sends it on a connection whose protocol is agreed on.
    fn go_on_agreed(self, url: &Url) {
        let (client, request) = (self.client.clone(), self.request.clone());
        // One that is to be ended on its own is not made to wait for others.
        let shares =
            request.seat.is_none() && (request.pipelined || client.shares(&url.origin(), false));
        match client.open(url, Box::new(self), shares) {
            Ok(id) => {
                if let Some(seat) = &request.seat {
                    seat.set(Some(id));
                }
            }
            Err((e, job)) => job.refused(&client.0.h, Reason::Peer(e)),
        }
    }

    /// Makes what hears the response of a connection of HTTP/1.1.
    fn asker(self, origin: String, stages: Option<&Stages>) -> (Rc<Keeper>, Box<Asker>) {
        let keeper = Rc::new(Keeper::new(&self.client, origin));
        let owner: Rc<dyn Owner> = Rc::<Keeper>::clone(&keeper);
        let began = self.began;
        let stages = Stages { began, ..stages.copied().unwrap_or_default() };
        (keeper, Box::new(Asker::new(owner, Box::new(self), stages)))
    }
}

impl Request {
    /// It is on a connection of HTTP/1.1 now.
    fn seated(&self, client: &Client, id: ConnId, keeper: &Rc<Keeper>) {
        if self.pipelined {
            client.open_line(id, keeper);
        }
        self.begin(&client.0.h, id);
    }
}

impl Job for Attempt {
    fn alone(self: Box<Self>, h: &Handle, id: ConnId, stages: &Stages) -> App {
        let (client, request) = (self.client.clone(), self.request.clone());
        let Ok(url) = request.url.clone() else { return App::Gone };
        let (keeper, mut asker) = self.asker(url.origin(), Some(stages));
        let stack = Stack::Client(Box::new(h1::Client::new(h.now(), &h.core().limits.client)));
        let said = h.begin_on(id, stack, |stack, cx, tx| request.say((&url, None), stack, cx, tx));
        match said {
            Ok(sent) => asker.base = sent,
            Err(_) => h.abort(id),
        }
        request.seated(&client, id, &keeper);
        App::Client(asker)
    }

    #[cfg(feature = "h2")]
    fn stream(self: Box<Self>, h: &Handle, carrier: ConnId, stages: &Stages) {
        let request = self.request.clone();
        let Ok(url) = request.url.clone() else { return };
        let stages = Stages { began: self.began, ..*stages };
        let ends = matches!(request.body, Body::None);
        let scheme = if url.secure { "https" } else { "http" };
        let ask = Ask { scheme, protocol: None, ends };
        let head = request.head(&url);
        let whole = match &request.body {
            Body::Whole(bytes) => Some(&**bytes),
            Body::None | Body::Stream(_) => None,
        };
        let length = if ends { Length::None } else { head.length };
        let until = h.now() + h.core().limits.client.first_byte;
        let stack = Stack::Asking(Box::new(Asking::new(length, until)));
        let asker = Asker::new(Rc::new(Alone), self, stages);
        let ends = (stack, App::Client(Box::new(asker)));
        let id = h.ask_stream(carrier, ends, &head, &ask, whole);
        request.begin(h, id);
    }

    fn again(self: Box<Self>) {
        self.go();
    }

    fn failed(mut self: Box<Self>, h: &Handle, lost: &Lost) {
        let failure = lost.failure(self.began, h.now());
        self.closed(h, Err(failure));
    }

    fn refused(mut self: Box<Self>, h: &Handle, why: Reason) {
        h.after(Duration::ZERO, move |h| self.closed(h, Err(Failure::before(Stage::Tls, why))));
    }
}

impl Fetch for Attempt {
    fn head(&mut self, cx: &mut Cx<'_>, head: &ResponseHead<'_>) {
        if matches!(head.status, 301 | 302 | 303 | 307 | 308) && self.request.redirects > 0 {
            let location = head.fields.get_str("location");
            self.redirect = location.and_then(|l| self.request.redirected(head.status, l));
        }
        if let (Some(fetch), None) = (&mut self.fetch, &self.redirect) {
            fetch.head(cx, head);
        }
    }

    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {
        if let (Some(fetch), None) = (&mut self.fetch, &self.redirect) {
            fetch.body(cx, chunk);
        }
    }

    fn trailers(&mut self, cx: &mut Cx<'_>, fields: Fields<'_>) {
        if let (Some(fetch), None) = (&mut self.fetch, &self.redirect) {
            fetch.trailers(cx, fields);
        }
    }

    fn writable(&mut self, cx: &mut Cx<'_>, room: usize) {
        if let Some(fetch) = &mut self.fetch {
            fetch.writable(cx, room);
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>, tag: u64) {
        if let Some(fetch) = &mut self.fetch {
            fetch.timer(cx, tag);
        }
    }

    fn closed(&mut self, h: &Handle, outcome: Result<Timing, Failure>) {
        let Some(mut fetch) = self.fetch.take() else { return };
        if h.is_dead() {
            fetch.closed(h, outcome);
            return;
        }
        if let (Ok(_), Some(next)) = (&outcome, self.redirect.take()) {
            Self::start(&self.client, next, fetch, 0);
            return;
        }
        let Err(failure) = outcome else {
            fetch.closed(h, outcome);
            return;
        };
        // What was pipelined is idempotent.
        let harmless = failure.never_sent || self.request.pipelined && failure.unanswered;
        let replays = harmless && !self.request.is_streamed();
        if replays && self.retried == 0 && failure.stage > Stage::Tls {
            Self::start(&self.client, self.request.clone(), fetch, 1);
        } else {
            fetch.closed(h, Err(failure));
        }
    }
}
