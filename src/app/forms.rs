//! Queries and forms of requests.

use std::borrow::Cow;
use std::string::String;
use std::vec::Vec;

use crate::proto::form::{Event, Multipart, Pairs, Part, boundary, decode_path, media_type};
use crate::runtime::Reason;
use crate::runtime::handler::http::{Answer, Cx, Handler, Request, Response};
use crate::{Error, FormLimits, Wire};

/// For what stands in the target.
impl<'a> Request<'a> {
    /// Gives names and values of the query, decoded: see [`Pairs`].
    pub fn query_pairs(&self) -> Pairs<'a> {
        Pairs::new(self.query().unwrap_or_default().as_bytes())
    }

    /// Gives the first value of this name in the query, decoded; empty if it has none.
    ///
    /// ```
    /// use lodger::http;
    ///
    /// let server = http::Server::new().get("/search", |req, res| {
    ///     let words = req.query_param("q").unwrap_or_default();
    ///     res.text(&format!("nothing about {words}"))
    /// });
    /// # drop(server);
    /// ```
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_pairs().get(name)
    }

    /// Gives what a `{name}` of the route's pattern stands for, decoded. It may hold anything
    /// then, a slash and a NUL too: never a path to be opened.
    pub fn param_decoded(&self, name: &str) -> Option<Cow<'a, str>> {
        self.param(name).map(|text| decode_path(text.as_bytes()))
    }
}

/// A form that was read whole.
#[derive(Clone, Debug, Default)]
pub struct Form<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    files: Vec<FormFile>,
}

/// A file in a form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FormFile {
    /// The name of its field in the form.
    pub field: String,
    /// Its name, as the peer gave it: never a path to be opened.
    pub filename: String,
    /// Its type, as the peer gave it.
    pub content_type: Option<String>,
    /// What is in it.
    pub data: Vec<u8>,
}

impl Form<'_> {
    /// Gives the first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Gives all names and values but those of files, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Gives all files, in order. A file field that was left empty is one without a name and data.
    pub fn files(&self) -> &[FormFile] {
        &self.files
    }
}

/// What a streamed form is told to. Every method runs in a turn, with nothing of the runtime
/// borrowed.
#[expect(unused_variables, reason = "the names tell what is given")]
pub trait FormHandler: 'static {
    /// A part begins.
    fn part(&mut self, cx: &mut Cx<'_>, part: Part<'_>);

    /// Data of the part arrived, cut anywhere.
    fn data(&mut self, cx: &mut Cx<'_>, data: &[u8]);

    /// The part is complete.
    fn part_end(&mut self, cx: &mut Cx<'_>) {}

    /// The form is complete: answer it. Not called where it was answered before, or is malformed
    /// (400) or over a limit (413).
    fn done(&mut self, response: Response<'_>) -> Answer;

    /// It is over: exactly once, the last call. Whatever was not done by now will not be.
    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {}
}

/// Which form a request's body is.
enum Encoding {
    Pairs,
    Parts(String),
}

impl Encoding {
    fn of(request: &Request<'_>) -> Option<Self> {
        let value = request.header("content-type")?;
        if media_type(value).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Some(Self::Pairs);
        }
        boundary(value).map(|boundary| Self::Parts(boundary.into_owned()))
    }
}

/// For forms.
impl Response<'_> {
    /// Reads a form whole, of either encoding, up to the limit [`H1Limits::body`], and then
    /// answers by `f`. Another type of body is a 415, a malformed one a 400, one over
    /// [`Limits::form`] or longer a 413.
    ///
    /// [`H1Limits::body`]: crate::H1Limits::body
    /// [`Limits::form`]: crate::Limits::form
    ///
    /// ```
    /// use lodger::http;
    ///
    /// let server = http::Server::new().post("/greet", |req, res| {
    ///     res.read_form(req, |form, res| res.text(form.get("name").unwrap_or("you")))
    /// });
    /// # drop(server);
    /// ```
    pub fn read_form(
        self,
        request: &Request<'_>,
        f: impl FnOnce(&Form<'_>, Response<'_>) -> Answer + 'static,
    ) -> Answer {
        let Some(encoding) = Encoding::of(request) else { return self.error(415) };
        let limits = self.runtime().form_limits();
        self.read_body(move |body, response| {
            let form = match encoding {
                Encoding::Pairs => read_pairs(body, limits),
                Encoding::Parts(boundary) => read_parts(body, &boundary, limits),
            };
            match form {
                Ok(form) => f(&form, response),
                Err(e) => response.error(status_of(e)),
            }
        })
    }

    /// Hands a `multipart/form-data` body to a handler as it arrives, within [`Limits::form`].
    /// Another type of body is a 415.
    ///
    /// [`Limits::form`]: crate::Limits::form
    pub fn read_parts(self, request: &Request<'_>, handler: impl FormHandler) -> Answer {
        let limits = self.runtime().form_limits();
        self.read_parts_with(request, limits, handler)
    }

    /// As [`read_parts`](Self::read_parts), with limits of its own.
    pub fn read_parts_with(
        self,
        request: &Request<'_>,
        limits: FormLimits,
        handler: impl FormHandler,
    ) -> Answer {
        let Some(Encoding::Parts(boundary)) = Encoding::of(request) else { return self.error(415) };
        if request.length().is_some_and(|n| n > limits.bytes) {
            return self.error(413);
        }
        self.stream(Parts { form: Some(Multipart::new(&boundary, limits)), handler })
    }
}

fn read_pairs(body: &[u8], limits: FormLimits) -> Result<Form<'_>, Error> {
    let pairs: Vec<_> = Pairs::new(body).take(limits.parts.saturating_add(1)).collect();
    if pairs.len() > limits.parts {
        return Err(Error::peer(Wire::H1(413), "the limit of a form's pairs"));
    }
    Ok(Form { pairs, files: Vec::new() })
}

fn read_parts<'a>(mut body: &[u8], boundary: &str, limits: FormLimits) -> Result<Form<'a>, Error> {
    let mut parts = Multipart::new(boundary, limits);
    let mut form = Form::default();
    let mut current = FormFile::default();
    let mut is_file = false;
    while let Some(event) = parts.poll(&mut body)? {
        match event {
            Event::Part(part) => {
                is_file = part.filename.is_some();
                current.field = part.name.into();
                current.filename = part.filename.unwrap_or_default().into();
                current.content_type = part.content_type.map(String::from);
            }
            Event::Data(data) => current.data.extend_from_slice(data),
            Event::PartEnd => form.add(core::mem::take(&mut current), is_file),
        }
    }
    parts.end()?;
    Ok(form)
}

impl Form<'_> {
    fn add(&mut self, part: FormFile, is_file: bool) {
        if is_file {
            self.files.push(part);
        } else {
            let text = String::from_utf8_lossy(&part.data).into_owned();
            self.pairs.push((part.field.into(), text.into()));
        }
    }
}

/// Reads the parts of a body, then answers.
struct Parts<H> {
    /// `None` once it has been answered for being wrong.
    form: Option<Multipart>,
    handler: H,
}

impl<H: FormHandler> Handler for Parts<H> {
    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {
        let Some(form) = &mut self.form else { return };
        let mut rest = chunk;
        loop {
            match form.poll(&mut rest) {
                Ok(None) => return,
                Ok(Some(Event::Part(part))) => self.handler.part(cx, part),
                Ok(Some(Event::Data(data))) => self.handler.data(cx, data),
                Ok(Some(Event::PartEnd)) => self.handler.part_end(cx),
                Err(e) => {
                    self.form = None;
                    cx.answer(|response| response.error(status_of(e)));
                    return;
                }
            }
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        let Some(form) = self.form.take() else { return };
        if !cx.is_unanswered() {
            return;
        }
        match form.end() {
            Ok(()) => cx.answer(|response| self.handler.done(response)),
            Err(e) => cx.answer(|response| response.error(status_of(e))),
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>, why: Reason) {
        self.handler.closed(cx, why);
    }
}

/// The status that says what is wrong with a form.
fn status_of(e: Error) -> u16 {
    match e.wire() {
        Wire::H1(status) => status,
        _ => 400,
    }
}
