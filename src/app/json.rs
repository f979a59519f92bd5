//! JSON bodies: RFC 8259.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::proto::form::media_type;
use crate::runtime::handler::http::{Answer, Request, Response};

/// For JSON.
impl Response<'_> {
    /// Answers with JSON. A value that cannot be JSON (a map whose keys are no text) is a 500.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Answer {
        let h = self.runtime();
        let mut text = h.lend();
        let answer = match serde_json::to_writer(&mut text, value) {
            Ok(()) => self.bytes("application/json", &text),
            Err(_) => self.error(500),
        };
        h.give_back(text);
        answer
    }

    /// Reads a JSON body up to the limit [`H1Limits::body`], and then answers by `f`. Another type
    /// of body is a 415, one that is no JSON a 400, one that is no `T` a 422, a longer one a 413.
    ///
    /// [`H1Limits::body`]: crate::H1Limits::body
    ///
    /// ```
    /// use lodger::http;
    ///
    /// let server = http::Server::new().post("/sum", |req, res| {
    ///     res.read_json(req, |numbers: Vec<i64>, res| {
    ///         res.json(&numbers.iter().fold(0i64, |sum, n| sum.wrapping_add(*n)))
    ///     })
    /// });
    /// # drop(server);
    /// ```
    pub fn read_json<T: DeserializeOwned>(
        self,
        request: &Request<'_>,
        f: impl FnOnce(T, Response<'_>) -> Answer + 'static,
    ) -> Answer {
        if !request.header("content-type").is_some_and(is_json) {
            return self.error(415);
        }
        self.read_body(move |body, response| match serde_json::from_slice(body) {
            Ok(value) => f(value, response),
            Err(e) if e.classify() == Category::Data => response.error(422),
            Err(_) => response.error(400),
        })
    }
}

/// `application/json`, or a type that is written in JSON: RFC 6839, section 3.1.
fn is_json(value: &str) -> bool {
    let kind = media_type(value);
    let suffix = kind.len().checked_sub(5).and_then(|at| kind.get(at..));
    kind.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}
