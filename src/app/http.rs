//! An HTTP server: routes by host, path and method, and the WebSockets behind them.

use std::boxed::Box;
use std::io;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use super::files::{Files, to_directory};
use crate::runtime::handler::http::{Answer, Request, Response, Routes};
use crate::runtime::{Handle, Serve, Service};

/// Parameters that one pattern may have.
const PARAMS: usize = 8;

/// Makes the page of an error that the server itself found.
pub(crate) type Page = Box<dyn Fn(u16, Response<'_>) -> Answer>;

type Fallback = Box<dyn Fn(&Request<'_>, Response<'_>) -> Answer>;

/// It is given the server's own error page as well, for the errors that the server finds.
type Route = Box<dyn Fn(&Request<'_>, Response<'_>, Option<&Page>) -> Answer>;

/// Routes by path and method; give it to [`Handle::listen`](crate::Handle::listen).
///
/// A pattern is a path whose segments may be parameters: `/user/{id}` matches one segment,
/// `/files/{*rest}` all that follow. The most literal pattern wins. HEAD is answered by the GET
/// route without its body, OPTIONS by the list of methods; another method is a 405, another path
/// a 404. Mistakes in patterns are told by `listen`.
///
/// ```
/// use lodger::http;
///
/// let server = http::Server::new()
///     .get("/hello/{name}", |req, res| res.text(req.param("name").unwrap_or_default()))
///     .post("/sum", |_req, res| res.read_body(|body, res| res.text(&body.len().to_string())));
/// # drop(server);
/// ```
#[derive(Default)]
pub struct Server {
    paths: Vec<Path>,
    tree: matchit::Router<usize>,
    hosts: Vec<(String, Self)>,
    fallback: Option<Fallback>,
    errors: Option<Page>,
    files: Vec<Rc<Files>>,
    #[cfg(feature = "h2")]
    only_http2: bool,
    wrong: Option<String>,
}

struct Path {
    pattern: Rc<str>,
    methods: Vec<(String, Route)>,
    #[cfg(feature = "ws")]
    websocket: Option<super::ws::Upgrade>,
}

impl core::fmt::Debug for Server {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let patterns = self.paths.iter().map(|p| &p.pattern);
        f.debug_struct("Server").field("patterns", &patterns.collect::<Vec<_>>()).finish()
    }
}

impl Server {
    /// Makes a server without routes: everything is a 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers GET (and HEAD) of `pattern` by `f`.
    pub fn get(
        self,
        pattern: &str,
        f: impl Fn(&Request<'_>, Response<'_>) -> Answer + 'static,
    ) -> Self {
        self.route("GET", pattern, f)
    }

    /// Answers POST of `pattern` by `f`.
    pub fn post(
        self,
        pattern: &str,
        f: impl Fn(&Request<'_>, Response<'_>) -> Answer + 'static,
    ) -> Self {
        self.route("POST", pattern, f)
    }

    /// Answers PUT of `pattern` by `f`.
    pub fn put(
        self,
        pattern: &str,
        f: impl Fn(&Request<'_>, Response<'_>) -> Answer + 'static,
    ) -> Self {
        self.route("PUT", pattern, f)
    }

    /// Answers DELETE of `pattern` by `f`.
    pub fn delete(
        self,
        pattern: &str,
        f: impl Fn(&Request<'_>, Response<'_>) -> Answer + 'static,
    ) -> Self {
        self.route("DELETE", pattern, f)
    }

    /// Answers any method of `pattern` by `f`; `method` is compared as it stands.
    pub fn route(
        self,
        method: &str,
        pattern: &str,
        f: impl Fn(&Request<'_>, Response<'_>) -> Answer + 'static,
    ) -> Self {
        self.add(method, pattern, Box::new(move |request, response, _| f(request, response)))
    }

    fn add(mut self, method: &str, pattern: &str, route: Route) -> Self {
        if let Some(path) = self.path(pattern) {
            if path.methods.iter().any(|(m, _)| m == method) {
                self.wrong = Some(std::format!("{method} {pattern} is there twice"));
            } else {
                path.methods.push((method.to_string(), route));
            }
        }
        self
    }

    /// Serves WebSockets at `pattern`: `f` makes a handler for each request that asks for one, or
    /// refuses with a status. The limits are the defaults of [`WsLimits`](crate::WsLimits), the
    /// peer's `Origin`, when it sends one, must be the host itself.
    #[cfg(feature = "ws")]
    pub fn ws<H: crate::ws::Handler>(
        self,
        pattern: &str,
        f: impl Fn(&Request<'_>) -> Result<H, super::ws::Refuse> + 'static,
    ) -> Self {
        self.ws_with(pattern, crate::ws::Config::default(), f)
    }

    /// As [`ws`](Self::ws), with limits, subprotocols and an origin rule of its own.
    #[cfg(feature = "ws")]
    pub fn ws_with<H: crate::ws::Handler>(
        mut self,
        pattern: &str,
        config: crate::ws::Config,
        f: impl Fn(&Request<'_>) -> Result<H, super::ws::Refuse> + 'static,
    ) -> Self {
        let upgrade = super::ws::Upgrade::new(config, f);
        if let Some(path) = self.path(pattern) {
            if path.websocket.is_some() {
                self.wrong = Some(std::format!("the WebSocket {pattern} is there twice"));
            } else {
                path.websocket = Some(upgrade);
            }
        }
        self
    }

    /// Serves the files of a directory below `prefix`: `files("/static", "assets")`; at `/` all
    /// paths that have no route of their own. [`Files`] has more to say about how.
    ///
    /// GET and HEAD, conditional requests, ranges (one or several), files prepared by brotli and
    /// gzip, `index.html` for a directory, a redirect where its slash is missing. What begins with
    /// a dot, leaves the directory (by a symbolic link too) or is no regular file is a 404. A file
    /// is never held in memory whole, and one that becomes shorter while it is sent ends its
    /// connection.
    ///
    /// The prefix may have parameters, except one named `file`.
    pub fn files(self, prefix: &str, dir: impl Into<Files>) -> Self {
        let files = dir.into().share();
        let prefix = prefix.trim_end_matches('/');
        let (root, below) = (Rc::clone(&files), Rc::clone(&files));
        let mut server = self
            .add(
                "GET",
                &std::format!("{prefix}/"),
                Box::new(move |req, res, errors| root.answer(req, "", res, errors)),
            )
            .add(
                "GET",
                &std::format!("{prefix}/{{*file}}"),
                Box::new(move |req, res, errors| {
                    below.answer(req, req.param("file").unwrap_or_default(), res, errors)
                }),
            );
        if !prefix.is_empty() {
            server = server.get(prefix, to_directory);
        }
        server.files.push(files);
        server
    }

    /// Serves `host` (without a port, compared without case) by routes of its own. A request for
    /// another host is answered by this server's.
    pub fn host(mut self, host: &str, server: Self) -> Self {
        if let Some(wrong) = &server.wrong {
            self.wrong = Some(wrong.clone());
        }
        self.hosts.push((host.to_string(), server));
        self
    }

    /// Speaks HTTP/2 alone. Otherwise a connection is HTTP/2 if it begins with its preface (RFC
    /// 9113, section 3.3), and HTTP/1.1 if not.
    #[cfg(feature = "h2")]
    pub fn only_http2(mut self) -> Self {
        self.only_http2 = true;
        self
    }

    /// Answers what no pattern matches by `f`, instead of 404.
    pub fn fallback(mut self, f: impl Fn(&Request<'_>, Response<'_>) -> Answer + 'static) -> Self {
        self.fallback = Some(Box::new(f));
        self
    }

    /// Answers the errors that the server finds itself (404, 405, those of files, and the refusals of a WebSocket)
    /// by `f`, which is given the status, set already, and fields that belong to it. Unless set,
    /// the page is a line of text. Malformed requests never get this far.
    pub fn errors(mut self, f: impl Fn(u16, Response<'_>) -> Answer + 'static) -> Self {
        self.errors = Some(Box::new(f));
        self
    }

    /// Gives the entry of a pattern, made if it is new; `None` if the pattern cannot be.
    fn path(&mut self, pattern: &str) -> Option<&mut Path> {
        if let Some(at) = self.paths.iter().position(|p| &*p.pattern == pattern) {
            return self.paths.get_mut(at);
        }
        let params = pattern.matches('{').count();
        let added = self.tree.insert(pattern, self.paths.len());
        if let Err(e) = added {
            self.wrong = Some(std::format!("the route {pattern}: {e}"));
            return None;
        }
        if params > PARAMS || !pattern.starts_with('/') {
            self.wrong = Some(std::format!(
                "the route {pattern}: begins with / and has {PARAMS} parameters"
            ));
            return None;
        }
        self.paths.push(Path {
            pattern: Rc::from(pattern),
            methods: Vec::new(),
            #[cfg(feature = "ws")]
            websocket: None,
        });
        self.paths.last_mut()
    }

    /// Gives the server for the host that a request names.
    fn for_host(&self, host: &str) -> &Self {
        if self.hosts.is_empty() {
            return self;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        };
        self.hosts
            .iter()
            .find(|(h, _)| h.eq_ignore_ascii_case(name))
            .map_or(self, |(_, server)| server)
    }

    fn answer(&self, request: &Request<'_>, response: Response<'_>) -> Answer {
        let Ok(found) = self.tree.at(request.path()) else {
            return self.unmatched(request, response);
        };
        let errors = self.errors.as_ref();
        let Some(path) = self.paths.get(*found.value) else { return page(errors, 404, response) };
        response.matched(&path.pattern);
        if found.params.is_empty() {
            return path.answer(request, response, errors);
        }
        let mut params = [("", ""); PARAMS];
        let mut count = 0;
        for (place, param) in params.iter_mut().zip(found.params.iter()) {
            *place = param;
            count += 1;
        }
        let params = params.get(..count).unwrap_or_default();
        let request = Request { head: request.head, params, session: request.session };
        path.answer(&request, response, errors)
    }

    fn unmatched(&self, request: &Request<'_>, response: Response<'_>) -> Answer {
        match &self.fallback {
            Some(f) => f(request, response),
            None if request.method() == "OPTIONS" && request.path() == "*" => {
                response.status(204).empty()
            }
            None => page(self.errors.as_ref(), 404, response),
        }
    }
}

/// Answers an error by the server's own page, or by the line of text.
pub(crate) fn page(errors: Option<&Page>, status: u16, response: Response<'_>) -> Answer {
    match errors {
        Some(page) => page(status, response.status(status)),
        None => response.error(status),
    }
}

impl Path {
    fn answer(
        &self,
        request: &Request<'_>,
        response: Response<'_>,
        errors: Option<&Page>,
    ) -> Answer {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &self.websocket
            && (request.is_upgrade() || self.methods.is_empty())
        {
            return websocket.answer(request, response, errors);
        }
        let method = request.method();
        let route = self.find(method).or_else(|| self.find("GET").filter(|_| method == "HEAD"));
        match route {
            Some(route) => route(request, response, errors),
            None if method == "OPTIONS" => {
                response.status(204).header("allow", &self.allow()).empty()
            }
            None => page(errors, 405, response.header("allow", &self.allow())),
        }
    }

    fn find(&self, method: &str) -> Option<&Route> {
        self.methods.iter().find(|(m, _)| m == method).map(|(_, route)| route)
    }

    fn allow(&self) -> String {
        let mut methods: Vec<&str> = self.methods.iter().map(|(m, _)| m.as_str()).collect();
        if methods.contains(&"GET") && !methods.contains(&"HEAD") {
            methods.push("HEAD");
        }
        if !methods.contains(&"OPTIONS") {
            methods.push("OPTIONS");
        }
        methods.join(", ")
    }
}

impl Routes for Server {
    fn route(&self, request: &Request<'_>, response: Response<'_>) -> Answer {
        self.for_host(request.host()).answer(request, response)
    }

    #[cfg(feature = "h2")]
    fn only_http2(&self) -> bool {
        self.only_http2
    }
}

impl Serve for Server {
    fn check(&self) -> io::Result<()> {
        match &self.wrong {
            Some(wrong) => Err(io::Error::new(io::ErrorKind::InvalidInput, wrong.clone())),
            None => Ok(()),
        }
    }

    fn prepare(&self, h: &Handle) -> io::Result<()> {
        self.files.iter().try_for_each(|files| files.open(h))?;
        self.hosts.iter().try_for_each(|(_, server)| server.prepare(h))
    }

    fn into_service(self) -> Service {
        Service::http(Rc::new(self))
    }
}
