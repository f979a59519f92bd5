//! An HTTP client: connections kept per origin, redirects by policy, timeouts per stage.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use self::attempt::Attempt;
use self::pool::Pool;
use super::proxy::{Forward, Proxies};
use super::trust::Trust;
use super::url::{Scheme, Url};
use super::way::Way;
use crate::Error;
use crate::io::Tx;
use crate::proto::h1::{self, Fields, Length, RequestHead, ResponseHead};
use crate::proto::stack::{HTTP_ALPN, HTTP1_ALPN, Stack};
#[cfg(feature = "tls")]
use crate::proto::tls::ClientConfig;
use crate::proto::{self};
use crate::runtime::handler::client::{Cx, Failure, Fetch, Stage, Timing};
use crate::runtime::{ConnId, Handle, Reason};

mod attempt;
pub(super) mod dial;
mod pool;

/// Sends requests; keeps connections that can carry another. Cheap to clone: the clones share
/// their connections.
///
/// By TLS, the two sides agree on HTTP/2 or HTTP/1.1 (RFC 7301). Over HTTP/2 the requests to one
/// origin are streams of one connection, as many as the server lets it have at once; those above
/// open another. Requests that are made while the first connection to a server is under way wait
/// for what it turns out to speak.
///
/// Timeouts are those of [`ClientLimits`](crate::ClientLimits). A request of which nothing was sent,
/// or that the server by its own word has not looked at (GOAWAY, REFUSED_STREAM), is tried once more
/// on a new connection; any other failure is told, but see [`Ask::pipelined`].
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// let rt = lodger::Runtime::standalone()?;
/// let client = lodger::http::Client::new(&rt);
/// let h = rt.handle();
/// client.get("http://127.0.0.1:7681/plaintext").whole(1 << 20, move |result| {
///     match result {
///         Ok(answer) => println!("{} {}", answer.status, answer.body.len()),
///         Err(failure) => println!("{failure}"),
///     }
///     h.end();
/// });
/// rt.run()
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    h: Handle,
    pool: RefCell<Pool>,
    redirects: u32,
    /// What https trusts, where it was said.
    trust: RefCell<Trust>,
    proxies: RefCell<Proxies>,
    /// What is not agreed on is HTTP/2.
    #[cfg(feature = "h2")]
    http2: Cell<bool>,
    /// HTTP/1.1 alone is offered where it is.
    only_http1: Cell<bool>,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client").field("pool", &self.0.pool.borrow()).finish()
    }
}

/// A request being put together. Nothing happens before it is sent.
#[must_use = "nothing is sent before `send` or `whole`"]
#[derive(Debug)]
pub struct Ask {
    client: Client,
    request: Request,
    wrong: Option<Error>,
}

/// What is sent, and sent again where a redirect or a retry says so.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    url: Result<Url, Error>,
    /// Wire form, validated.
    fields: Vec<u8>,
    body: Body,
    redirects: u32,
    pipelined: bool,
    /// In place of [`ClientLimits::body`](crate::ClientLimits::body).
    body_time: Option<Duration>,
    /// Where the connection it is on is noted.
    seat: Option<Rc<Cell<Option<ConnId>>>>,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Whole(Rc<[u8]>),
    /// The handler writes it; `None` is of unknown length.
    Stream(Option<u64>),
}

/// A response as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Whole {
    /// The status.
    pub status: u16,
    /// Names and values, in order; a value that is no text is left out.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Fields behind the body (RFC 9110, section 6.5), as `fields`; never merged into those.
    pub trailers: Vec<(String, String)>,
    /// How long it took.
    pub timing: Timing,
    /// How long the server asks to wait before another request (Retry-After); what
    /// [`Retry::delay`](crate::policy::Retry::delay) takes.
    pub retry_after: Option<Duration>,
}

impl Whole {
    /// Gives the first field of this name; names are compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    /// Gives the first field of this name behind the body; names are compared without case.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        first(&self.trailers, name)
    }
}

fn first<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

impl Client {
    /// Makes a client that follows up to ten redirects.
    pub fn new(h: &Handle) -> Self {
        Self::with_redirects(h, 10)
    }

    /// Makes a client that follows up to `redirects` redirects; 0 hands them on as they are.
    pub fn with_redirects(h: &Handle, redirects: u32) -> Self {
        Self(Rc::new(Inner {
            h: h.clone(),
            pool: RefCell::default(),
            redirects,
            trust: RefCell::default(),
            proxies: RefCell::default(),
            #[cfg(feature = "h2")]
            http2: Cell::new(false),
            only_http1: Cell::new(false),
        }))
    }

    /// As [`new`](Self::new), with whom it trusts and what it goes through.
    #[cfg(feature = "ws")]
    pub(super) fn trusting(h: &Handle, trust: Trust, proxies: Proxies) -> Self {
        let client = Self::new(h);
        *client.0.trust.borrow_mut() = trust;
        *client.0.proxies.borrow_mut() = proxies;
        client
    }

    /// See [`Inner::way`].
    #[cfg(feature = "ws")]
    pub(super) fn way(&self, url: &Url, any: bool) -> Result<Way, Error> {
        self.0.way(url, any)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0.h
    }

    /// Sets whom https trusts, for connections from now on and for all clones. Unless set, it is
    /// whom the system trusts.
    #[cfg(feature = "tls")]
    pub fn tls(&self, config: &ClientConfig) {
        *self.0.trust.borrow_mut() = Trust::new(config);
    }

    /// Sets which proxies lead to which servers, for connections from now on and for all clones.
    /// HTTP/2 without TLS goes through tunnels alone.
    pub fn proxies(&self, proxies: &Proxies) {
        *self.0.proxies.borrow_mut() = proxies.clone();
    }

    /// Speaks HTTP/2 from the first byte on, also without TLS ("prior knowledge", RFC 9113, section
    /// 3.3). To https it makes no difference: there the two sides agree.
    #[cfg(feature = "h2")]
    #[must_use]
    pub fn http2(self) -> Self {
        self.0.http2.set(true);
        self
    }

    /// Speaks HTTP/1.1 alone, from now on and for all clones.
    #[must_use]
    pub fn http1(self) -> Self {
        self.0.only_http1.set(true);
        #[cfg(feature = "h2")]
        self.0.http2.set(false);
        self
    }

    /// Begins a GET of `url`: `http://host:port/path?query`, `https://…` or
    /// `unix:/path.sock:/target`.
    pub fn get(&self, url: &str) -> Ask {
        self.request("GET", url)
    }

    /// Begins a POST of `body` to `url`.
    pub fn post(&self, url: &str, body: &[u8]) -> Ask {
        self.request("POST", url).body(body)
    }

    /// Begins a request with any method.
    pub fn request(&self, method: &str, url: &str) -> Ask {
        let request = Request {
            method: method.to_string(),
            url: Url::parse(url),
            fields: Vec::new(),
            body: Body::None,
            redirects: self.0.redirects,
            pipelined: false,
            body_time: None,
            seat: None,
        };
        Ask { client: self.clone(), request, wrong: None }
    }
}

impl Ask {
    /// Adds a field. One that may not be makes `send` fail.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Err(e) = h1::put_field(&mut self.request.fields, name, value) {
            self.wrong = Some(e);
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.request.body = Body::Whole(Rc::from(bytes));
        self
    }

    /// Has the handler write the body, by [`Cx::write`] and [`Cx::finish`], of this length if it
    /// is known; its `writable` is told when there is room for the first piece. Such a request is
    /// neither redirected nor tried again.
    pub fn streamed(mut self, length: Option<u64>) -> Self {
        self.request.body = Body::Stream(length);
        self
    }

    /// Sets how long the server may be silent within the body of this response, in place of
    /// [`ClientLimits::body`](crate::ClientLimits::body).
    pub fn body_time(mut self, time: Duration) -> Self {
        self.request.body_time = Some(time);
        self
    }

    /// Lets it be sent on a connection where other such requests are still unanswered; they are
    /// answered in the order they were sent (RFC 9112, section 9.3.2). It makes sense for many small
    /// responses, and with servers that are known to bear it: each waits for those before it.
    ///
    /// If the connection ends, those without an answer may have been served or not; each is tried
    /// once more, on a connection of its own. So only an idempotent method (RFC 9110, section 9.2.2)
    /// can be pipelined, and no streamed body.
    pub fn pipelined(mut self) -> Self {
        self.request.pipelined = true;
        self
    }

    /// Has the connection noted that it is sent on, from the attempt to connect on.
    pub(super) fn seat(mut self, seat: Rc<Cell<Option<ConnId>>>) -> Self {
        self.request.seat = Some(seat);
        self
    }

    /// Sends it. `fetch` hears the response, and `closed` exactly once, from a turn.
    ///
    /// # Errors
    ///
    /// Misuse: the URL, the method or a field is not one. Nothing was sent, and `fetch` hears
    /// nothing.
    pub fn send(self, fetch: impl Fetch) -> Result<(), Error> {
        if let Some(e) = self.wrong {
            return Err(e);
        }
        self.request.url.clone()?;
        self.request.check()?;
        let Self { client, request, .. } = self;
        Attempt::start(&client, request, Box::new(fetch), 0);
        Ok(())
    }

    /// Sends it, and hands the whole response to `f`, up to `most` bytes of body. What is wrong
    /// with the request is told to `f` as well.
    pub fn whole(self, most: usize, f: impl FnOnce(Result<Whole, Failure>) + 'static) {
        let h = self.client.0.h.clone();
        let whole = Whole {
            status: 0,
            fields: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            timing: Timing::default(),
            retry_after: None,
        };
        let collect = Rc::new(RefCell::new(Some(f)));
        let told = Rc::clone(&collect);
        let fetch = Collect { whole, most, over: false, f: move |result| tell(&told, result) };
        if let Err(e) = self.send(fetch) {
            h.after(Duration::ZERO, move |_| {
                tell(&collect, Err(Failure::before(Stage::Name, Reason::Peer(e))));
            });
        }
    }
}

fn tell<F: FnOnce(Result<Whole, Failure>)>(f: &RefCell<Option<F>>, result: Result<Whole, Failure>) {
    let f = f.borrow_mut().take();
    if let Some(f) = f {
        f(result);
    }
}

impl Request {
    fn head<'a>(&'a self, url: &'a Url) -> RequestHead<'a> {
        let length = match &self.body {
            Body::None => Length::None,
            Body::Whole(bytes) => Length::Known(bytes.len() as u64),
            Body::Stream(Some(n)) => Length::Known(*n),
            Body::Stream(None) => Length::Unknown,
        };
        RequestHead {
            method: &self.method,
            target: &url.target,
            host: &url.host,
            fields: &self.fields,
            length,
            upgrade: false,
            close: false,
        }
    }

    /// Finds what the wire format refuses before anything is opened.
    fn check(&self) -> Result<(), Error> {
        let url = self.url.clone()?;
        if url.scheme != Scheme::Http {
            return Err(Error::misuse(
                "an HTTP request goes to http:// or https://; ws:// is a WebSocket's",
            ));
        }
        if self.pipelined && (self.is_streamed() || !self.is_idempotent()) {
            return Err(Error::misuse("only idempotent requests, not streamed, are pipelined"));
        }
        if self.pipelined && self.body_time.is_some() {
            return Err(Error::misuse("pipelined requests share the time of a body"));
        }
        let (mut out, mut pool) = (crate::io::Out::new(), crate::io::Pool::new(0));
        h1::put_request(&mut Tx::new(&mut out, &mut pool), &self.head(&url)).map(drop)
    }

    /// RFC 9110, section 9.2.2.
    fn is_idempotent(&self) -> bool {
        matches!(&*self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    fn is_streamed(&self) -> bool {
        matches!(self.body, Body::Stream(_))
    }

    /// Puts the request, and a body that is there already, into the output: for its server, or for a
    /// proxy that passes it on.
    fn say(
        &self,
        (url, via): (&Url, Option<&Forward>),
        stack: &mut Stack,
        cx: &mut proto::Cx<'_>,
        tx: &mut Tx<'_>,
    ) -> Result<(), Error> {
        let Stack::Client(client) = stack else {
            return Err(Error::misuse("the connection is not an HTTP client's"));
        };
        let head = self.head(url);
        match via {
            None => client.request(cx, tx, &head)?,
            Some(proxy) => {
                let (target, fields) = proxy.parts(url, &self.fields)?;
                let head = RequestHead { target: &target, fields: &fields, ..head };
                client.request(cx, tx, &head)?;
            }
        }
        if let Some(time) = self.body_time {
            client.body_time(time);
        }
        match &self.body {
            Body::None => client.finish(tx),
            Body::Whole(bytes) => {
                client.body(tx, bytes)?;
                client.finish(tx)
            }
            Body::Stream(_) => Ok(()),
        }
    }

    /// Notes where it is sent, and has the handler told where to begin with a body that it writes.
    fn begin(&self, h: &Handle, id: ConnId) {
        if let Some(seat) = &self.seat {
            seat.set(Some(id));
        }
        if self.is_streamed() {
            // An attempt that has ended already tells that.
            let _ = h.want_write(id);
        }
    }

    /// What follows a redirect with this status: RFC 9110, section 15.4.
    fn redirected(&self, status: u16, location: &str) -> Option<Self> {
        let left = self.redirects.checked_sub(1)?;
        let from = self.url.as_ref().ok()?;
        let url = from.join(location).ok()?;
        let stays = matches!(status, 307 | 308) || matches!(&*self.method, "GET" | "HEAD");
        if stays && self.is_streamed() {
            return None;
        }
        let mut next = Self { url: Ok(url.clone()), redirects: left, ..self.clone() };
        if !stays {
            next.method = "GET".to_string();
            next.body = Body::None;
        }
        if url.origin() != from.origin() {
            // Credentials are for the origin they were given for.
            next.fields =
                without(&self.fields, &["authorization", "cookie", "proxy-authorization"]);
        }
        Some(next)
    }
}

/// Copies field lines without those of these names.
pub(super) fn without(fields: &[u8], names: &[&str]) -> Vec<u8> {
    let keeps = |line: &&[u8]| {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        !names.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
    };
    fields.split_inclusive(|b| *b == b'\n').filter(keeps).flatten().copied().collect()
}

impl Inner {
    /// Finds the way to a server: directly or through a proxy, plain or by TLS. `any`: the server
    /// may choose what is spoken.
    ///
    /// # Errors
    ///
    /// `Caller`: its name can stand in no certificate, or no proxy can be asked for it. `Host`: this
    /// system trusts nobody.
    fn way(&self, url: &Url, any: bool) -> Result<Way, Error> {
        let (mut trust, proxies) = (self.trust.borrow_mut(), self.proxies.borrow());
        trust.resolve(&self.h, proxies.need_trust(url))?;
        let alpn = if any && !self.only_http1.get() { HTTP_ALPN } else { HTTP1_ALPN };
        Way::find(&self.h, (url, alpn), &trust, &proxies)
    }

    /// Finds the way to a proxy that is sent requests in place of their server.
    fn way_to(&self, proxy: &Forward) -> Result<Way, Error> {
        let mut trust = self.trust.borrow_mut();
        trust.resolve(&self.h, proxy.is_secure())?;
        Way::to_proxy(proxy.proxy(), &trust)
    }
}

/// Copies the fields that are text.
fn texts(fields: Fields<'_>) -> Vec<(String, String)> {
    let text = |(name, value): (&str, &[u8])| {
        let value = core::str::from_utf8(value).ok()?;
        Some((name.to_string(), value.to_string()))
    };
    fields.iter().filter_map(text).collect()
}

/// Puts a response together.
struct Collect<F> {
    whole: Whole,
    most: usize,
    over: bool,
    f: F,
}

impl<F: FnMut(Result<Whole, Failure>) + 'static> Fetch for Collect<F> {
    fn head(&mut self, cx: &mut Cx<'_>, head: &ResponseHead<'_>) {
        self.whole.status = head.status;
        let unix = cx.runtime().unix_time();
        self.whole.retry_after = head.retry_after().map(|asked| asked.wait(unix));
        self.whole.fields = texts(head.fields);
    }

    fn trailers(&mut self, _cx: &mut Cx<'_>, fields: Fields<'_>) {
        self.whole.trailers = texts(fields);
    }

    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {
        if self.whole.body.len() + chunk.len() > self.most {
            self.over = true;
            cx.abort();
            return;
        }
        self.whole.body.extend_from_slice(chunk);
    }

    fn closed(&mut self, _h: &Handle, outcome: Result<Timing, Failure>) {
        let result = match outcome {
            Ok(timing) => {
                self.whole.timing = timing;
                Ok(self.whole.clone())
            }
            Err(failure) if self.over => Err(Failure { why: Reason::Overload, ..failure }),
            Err(failure) => Err(failure),
        };
        (self.f)(result);
    }
}
