//! Files below a directory: RFC 9110 for GET and HEAD.
//!
//! In: a request, and files opened by the runtime's `Net`. Out: an answer whose body is a part of a
//! file, which the runtime sends without holding it in memory.
//!
//! Invariant: a name that reaches `Net::open_beneath` has no empty segment and none that begins
//! with a dot.

mod accept;
mod cache;
mod condition;
mod mime;
mod path;
mod range;

use std::borrow::ToOwned;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use lodger_backend::Meta;

use self::accept::{Accepted, Coding};
use self::cache::{Cache, Root};
use self::condition::Verdict;
use self::path::Refused;
use self::range::{Asked, Range};
use super::http::{Page, page};
use crate::Handle;
use crate::http::{Answer, Request, Response};
use crate::runtime::file::{Body, OpenFile, Part};

/// Seconds after which a file that was not changed since counts as settled: its tag is a strong
/// one from then on (RFC 9110, section 8.8.1).
const SETTLED: u64 = 2;
/// The field that says what an answer was chosen by.
const VARY: &str = "Vary: Accept-Encoding\r\n";

/// A directory whose files are served: give it to
/// [`Server::files`](crate::http::Server::files). One value belongs to one runtime.
///
/// ```
/// use lodger::http;
///
/// let assets = http::Files::new("assets").cache_control("public, max-age=3600");
/// let server = http::Server::new().files("/static", assets);
/// # drop(server);
/// ```
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    index: Option<String>,
    lines: Lines,
    prepared: bool,
    open: usize,
    fresh: Duration,
    /// Itself, for the timer.
    this: Weak<Self>,
    root: Root,
    cache: Cache,
    /// The name being looked for; kept for its memory.
    name: RefCell<String>,
}

/// Field lines that every answer has.
#[derive(Debug, Default)]
struct Lines {
    cache_control: String,
}

/// An open file and what its answers have in common.
#[derive(Debug)]
struct Found {
    file: Rc<OpenFile>,
    meta: Meta,
    /// It was changed so shortly ago that the same tag may stand for another content.
    is_weak: bool,
    /// ETag, Last-Modified and Cache-Control, in wire form; where in it the tag stands.
    validators: String,
    tag: (usize, usize),
    /// What goes with content, in wire form; without the type.
    lines: String,
    mime: &'static str,
}

impl Found {
    fn tag(&self) -> &str {
        self.validators.get(self.tag.0..self.tag.1).unwrap_or_default()
    }
}

/// What a request is answered with.
struct Chosen {
    found: Rc<Found>,
    /// There is more than one to choose from.
    varies: bool,
}

/// Why there is nothing to serve.
enum Miss {
    NotFound,
    /// The system has no descriptor or no memory left, or the disk fails.
    Busy,
}

impl From<io::Error> for Miss {
    fn from(e: io::Error) -> Self {
        // ENFILE, EMFILE, ENOMEM and EIO have the same numbers on every Unix.
        match e.raw_os_error() {
            Some(5 | 12 | 23 | 24) => Self::Busy,
            _ => Self::NotFound,
        }
    }
}

impl Files {
    /// Serves what is below `dir`. A directory is answered by its `index.html`; nothing says what
    /// to cache; siblings ending in `.br` and `.gz` are used; 256 names are remembered for a
    /// second.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self {
            dir: dir.as_ref().to_owned(),
            index: Some("index.html".to_owned()),
            lines: Lines::default(),
            prepared: true,
            open: 256,
            fresh: Duration::from_secs(1),
            this: Weak::new(),
            root: Root::default(),
            cache: Cache::default(),
            name: RefCell::default(),
        }
    }

    /// Sets what Cache-Control says of every file: `public, max-age=3600`. A value that may not be
    /// in a field is left out.
    #[must_use]
    pub fn cache_control(mut self, value: &str) -> Self {
        let mut line = Vec::new();
        // It is left out, as said.
        let _ = crate::proto::h1::put_field(&mut line, "Cache-Control", value);
        self.lines.cache_control = String::from_utf8(line).unwrap_or_default();
        self
    }

    /// Sets the file that answers for its directory; `None`: directories are 404.
    #[must_use]
    pub fn index(mut self, name: Option<&str>) -> Self {
        self.index = name.map(ToOwned::to_owned);
        self
    }

    /// Sets whether `a.css.br` and `a.css.gz` are served in place of `a.css` to those who accept
    /// that, where they are not older than it. They are files like any other too.
    #[must_use]
    pub fn prepared(mut self, on: bool) -> Self {
        self.prepared = on;
        self
    }

    /// Sets how many names are remembered, each with an open descriptor at most, and for how long:
    /// a change is seen after that at the latest. 0 remembers none.
    #[must_use]
    pub fn remember(mut self, most: usize, fresh: Duration) -> Self {
        self.open = most;
        self.fresh = fresh;
        self
    }

    /// Makes it ready to be shared between routes.
    pub(super) fn share(self) -> Rc<Self> {
        Rc::new_cyclic(|this| Self { this: Weak::clone(this), ..self })
    }

    /// Opens the directory.
    ///
    /// # Errors
    ///
    /// The system's, with the directory's name.
    pub(super) fn open(&self, h: &Handle) -> io::Result<()> {
        let named = |e: io::Error| {
            io::Error::new(e.kind(), std::format!("the directory {}: {e}", self.dir.display()))
        };
        self.root.get(h, &self.dir).map(drop).map_err(named)
    }

    /// Answers a request for what stands behind the prefix.
    pub(super) fn answer(
        &self,
        request: &Request<'_>,
        rest: &str,
        response: Response<'_>,
        errors: Option<&Page>,
    ) -> Answer {
        let mut name = self.name.take();
        let answer = match path::decode(rest, &mut name) {
            Ok(is_dir) => self.named(request, &mut name, is_dir, (response, errors)),
            Err(Refused::Malformed) => page(errors, 400, response),
            Err(Refused::Hidden) => page(errors, 404, response),
        };
        self.name.replace(name);
        answer
    }

    fn named(
        &self,
        request: &Request<'_>,
        name: &mut String,
        is_dir: bool,
        (response, errors): (Response<'_>, Option<&Page>),
    ) -> Answer {
        if is_dir {
            let Some(index) = &self.index else { return page(errors, 404, response) };
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(index);
        }
        match self.choose(request, name, response.runtime()) {
            Ok(chosen) if !chosen.found.meta.is_dir => give(request, &chosen, response, errors),
            Ok(_) if is_dir || self.index.is_none() => page(errors, 404, response),
            Ok(_) => to_directory(request, response),
            Err(Miss::NotFound) => page(errors, 404, response),
            Err(Miss::Busy) => page(errors, 503, response.header("Retry-After", "1")),
        }
    }

    /// Finds the file of a name, or one beside it that the request accepts as well.
    fn choose(&self, request: &Request<'_>, name: &mut String, h: &Handle) -> Result<Chosen, Miss> {
        let found = self.find(name, None, h)?;
        let plain = Chosen { found, varies: false };
        if !self.prepared || plain.found.meta.is_dir || mime::is_packed(plain.found.mime) {
            return Ok(plain);
        }
        let mut accepted = Accepted::default();
        let fields = request.fields();
        fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case("accept-encoding"))
            .for_each(|(_, list)| accepted.add(list));
        Ok(self.beside(plain, accepted, name, h))
    }

    /// Chooses between a file and what is prepared of it.
    fn beside(&self, plain: Chosen, accepted: Accepted, name: &mut String, h: &Handle) -> Chosen {
        let (mut varies, mut best) = (false, None);
        for coding in accepted.order() {
            let end = name.len();
            name.push_str(coding.suffix());
            let sibling = self.find(name, Some((coding, plain.found.mime)), h).ok();
            name.truncate(end);
            let fits =
                |s: &Rc<Found>| !s.meta.is_dir && s.meta.modified >= plain.found.meta.modified;
            if let Some(sibling) = sibling.filter(fits) {
                varies = true;
                best = best.or(Some(sibling).filter(|_| accepted.takes(coding)));
            }
        }
        Chosen { found: best.unwrap_or(plain.found), varies }
    }

    /// Gives what a name stands for, as it is remembered or as the system says. `beside`: it is
    /// looked for as another file's content in a coding.
    fn find(
        &self,
        name: &mut String,
        beside: Option<(Coding, &'static str)>,
        h: &Handle,
    ) -> Result<Rc<Found>, Miss> {
        // The same file in its own right is another entry: no file's name has a slash at the end.
        let key_end = name.len();
        if beside.is_some() {
            name.push('/');
        }
        let now = h.now();
        let file = match self.cache.get(name, now) {
            Some(known) => known.ok_or(Miss::NotFound),
            None => {
                let found = self.look(name.get(..key_end).unwrap_or_default(), beside, h);
                self.remember_it(name, beside.is_some(), &found, h);
                found
            }
        };
        name.truncate(key_end);
        file
    }

    /// Keeps what was found, and that no sibling was: what else is not there is asked for by those
    /// who search, and would only push out what is.
    fn remember_it(&self, key: &str, beside: bool, found: &Result<Rc<Found>, Miss>, h: &Handle) {
        let found = match found {
            Ok(found) => Some(Rc::clone(found)),
            Err(Miss::NotFound) if beside => None,
            Err(_) => return,
        };
        if self.open > 0 {
            self.cache.put(key, found, h.now() + self.fresh, self.open);
            self.cache.keep_swept(&self.this, h, self.fresh);
        }
    }

    /// Opens a name.
    fn look(
        &self,
        name: &str,
        beside: Option<(Coding, &'static str)>,
        h: &Handle,
    ) -> Result<Rc<Found>, Miss> {
        let root = self.root.get(h, &self.dir)?;
        let (file, meta) = h.open_beneath(&root, name)?;
        let tail = beside.map_or("", |(coding, _)| coding.name());
        let mut found = Found::new(file, meta, tail, h.unix_time(), &self.lines);
        found.lines.push_str("Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n");
        found.mime = beside.map_or_else(|| mime::of(name), |(_, mime)| mime);
        if let Some((coding, _)) = beside {
            found.lines.push_str("Content-Encoding: ");
            found.lines.push_str(coding.name());
            found.lines.push_str("\r\n");
        }
        Ok(Rc::new(found))
    }
}

impl<P: AsRef<Path>> From<P> for Files {
    fn from(dir: P) -> Self {
        Self::new(dir)
    }
}

/// Sends the client to the same path with a slash behind it, where relative links are right.
pub(super) fn to_directory(request: &Request<'_>, response: Response<'_>) -> Answer {
    let (path, query) = (request.path(), request.query());
    let location = match query {
        Some(query) => std::format!("{path}/?{query}"),
        None => std::format!("{path}/"),
    };
    response.redirect(301, &location)
}

/// Answers with a file or a part of it, as the request's conditions and ranges say.
fn give(
    request: &Request<'_>,
    chosen: &Chosen,
    response: Response<'_>,
    errors: Option<&Page>,
) -> Answer {
    let found = &*chosen.found;
    let vary = if chosen.varies { VARY } else { "" };
    let response = response.lines(vary);
    match condition::check(request, found) {
        Verdict::Go => {}
        Verdict::NotModified => return response.status(304).lines(&found.validators).empty(),
        Verdict::Failed => return page(errors, 412, response),
    }
    // Section 14.2: only GET has ranges.
    let range = request.header("range").filter(|_| request.method() == "GET");
    let asked = match range.filter(|_| condition::range_counts(request, found)) {
        Some(field) => range::parse(field.as_bytes(), found.meta.len),
        None => Asked::Whole,
    };
    let response = response.lines(&found.validators);
    match asked {
        Asked::Whole => whole(found, response),
        Asked::None => {
            let size = std::format!("bytes */{}", found.meta.len);
            page(errors, 416, response.header("Content-Range", &size))
        }
        Asked::Parts(parts) => match parts.as_slice() {
            [one] => part(found, *one, response),
            several => multipart(found, several, response),
        },
    }
}

fn whole(found: &Found, response: Response<'_>) -> Answer {
    let body = Body::new(Rc::clone(&found.file), 0, found.meta.len);
    response.header("Content-Type", found.mime).lines(&found.lines).file(body)
}

fn part(found: &Found, range: Range, response: Response<'_>) -> Answer {
    let body = Body::new(Rc::clone(&found.file), range.first, range.len);
    response
        .status(206)
        .header("Content-Type", found.mime)
        .header("Content-Range", &content_range(found, range))
        .lines(&found.lines)
        .file(body)
}

/// RFC 9110, section 14.6: parts in the order asked for, each with its place.
fn multipart(found: &Found, ranges: &[Range], response: Response<'_>) -> Answer {
    // Nobody can prepare a file that holds it.
    let boundary = std::format!("part-{:016x}", response.runtime().unguessable());
    let mut parts: Vec<Part> = ranges
        .iter()
        .map(|range| Part {
            text: std::format!(
                "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                found.mime,
                content_range(found, *range)
            )
            .into_bytes(),
            offset: range.first,
            len: range.len,
        })
        .collect();
    let text = std::format!("\r\n--{boundary}--\r\n").into_bytes();
    parts.push(Part { text, ..Part::default() });
    response
        .status(206)
        .header("Content-Type", &std::format!("multipart/byteranges; boundary={boundary}"))
        .lines(&found.lines)
        .file(Body::parts(Rc::clone(&found.file), parts))
}

fn content_range(found: &Found, range: Range) -> String {
    std::format!("bytes {}-{}/{}", range.first, range.last(), found.meta.len)
}

#[cfg(test)]
mod tests;
