//! Queries, forms, cookies, basic authentication, JSON: through a server.

use std::time::Duration;

use lodger::http::{self, Answer, Cookie, Cx, FormHandler, Part, Response, SameSite};
use lodger::{FormLimits, Limits, Reason};
use lodger_backend::Trigger;

use crate::kit::*;

/// A POST whose body has this type.
fn post(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const PAIRS: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=XX";

/// A multipart body: names, file names, data.
fn parts(parts: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, filename, data) in parts {
        let filename = filename.map_or(String::new(), |name| format!("; filename=\"{name}\""));
        body += &format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n{data}\r\n"
        );
    }
    body + "--XX--\r\n"
}

/// What a server with one route answers, and the connection after it is used again.
fn one(server: http::Server, request: &str) -> (u16, String) {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(server);
    let wire = rig.connect();
    wire.write(request.as_bytes());
    rig.run_for(ms(10));
    let answer = text(&wire);
    let (status, body) = response(&answer);
    (status, body.to_owned())
}

#[test]
fn a_query_is_decoded() {
    let server = || {
        http::Server::new().get("/{name}", |req, res| {
            let all: Vec<_> = req.query_pairs().map(|(n, v)| format!("{n}={v}")).collect();
            let first = req.query_param("a").unwrap_or_default();
            let name = req.param_decoded("name").unwrap_or_default();
            res.text(&format!("{name}|{first}|{}", all.join(",")))
        })
    };

    assert_eq!(one(server(), &get("/a+b%2Fc?a=1+2&%61=3&b")).1, "a+b/c|1 2|a=1 2,a=3,b=");
    assert_eq!(one(server(), &get("/x")).1, "x||");
}

fn greeter() -> http::Server {
    http::Server::new().post("/", |req, res| {
        res.read_form(req, |form, res| {
            let pairs: Vec<_> = form.pairs().map(|(n, v)| format!("{n}={v}")).collect();
            let files = form.files().iter();
            let files: Vec<_> =
                files.map(|f| format!("{}:{}:{}", f.field, f.filename, f.data.len())).collect();
            let name = form.get("name").unwrap_or("you");
            res.text(&format!("{name}|{}|{}", pairs.join(","), files.join(",")))
        })
    })
}

#[test]
fn a_form_is_read_whole_in_either_encoding() {
    let body = parts(&[("name", None, "K"), ("f", Some("a.txt"), "12\r\n3"), ("name", None, "L")]);

    assert_eq!(one(greeter(), &post("/", PAIRS, "x=1&name=J%C3%BC")).1, "Jü|x=1,name=Jü|");
    assert_eq!(one(greeter(), &post("/", PARTS, &body)).1, "K|name=K,name=L|f:a.txt:5");
    assert_eq!(one(greeter(), &post("/", &format!("{PAIRS}; charset=utf-8"), "")).1, "you||");
}

#[test]
fn what_is_no_form_is_refused_with_the_right_status() {
    let many = "a&".repeat(1001);
    for (status, kind, body) in [
        (415, "text/plain", "a=1"),
        (415, "multipart/form-data", "a=1"),
        (415, "multipart/mixed; boundary=XX", "--XX--"),
        (400, PARTS, "no form"),
        (400, PARTS, "--XX\r\n\r\n\r\n--XX--"),
        (413, PAIRS, &many),
    ] {
        assert_eq!(one(greeter(), &post("/", kind, body)).0, status, "{kind} {body}");
    }
    assert_eq!(one(greeter(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").0, 415);
}

/// Notes what it is told; the data of each part joined.
struct Notes(Log, String);

impl FormHandler for Notes {
    fn part(&mut self, _cx: &mut Cx<'_>, part: Part<'_>) {
        self.1 = format!("{} {:?}: ", part.name, part.filename);
    }

    fn data(&mut self, cx: &mut Cx<'_>, data: &[u8]) {
        self.1 += std::str::from_utf8(data).unwrap();
        if self.1.ends_with("early") {
            cx.answer(|res| res.error(422));
        }
    }

    fn part_end(&mut self, _cx: &mut Cx<'_>) {
        self.0.add(std::mem::take(&mut self.1));
    }

    fn done(&mut self, response: Response<'_>) -> Answer {
        self.0.add("done");
        response.text("thanks")
    }

    fn closed(&mut self, _cx: &mut Cx<'_>, why: Reason) {
        self.0.closed(why);
    }
}

struct Upload {
    rig: Rig,
    log: Log,
}

impl Upload {
    fn new(limits: FormLimits) -> Self {
        let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
        let inner = log.clone();
        rig.serve(http::Server::new().post("/", move |req, res| {
            res.read_parts_with(req, limits, Notes(inner.clone(), String::new()))
        }));
        Self { rig, log }
    }

    /// Sends a request in pieces of `size` bytes.
    fn send(&self, request: &str, size: usize) -> String {
        let wire = self.rig.connect();
        for piece in request.as_bytes().chunks(size) {
            wire.write(piece);
            self.rig.pump();
        }
        text(&wire)
    }
}

#[test]
fn a_form_is_streamed_however_it_is_cut() {
    let body = parts(&[("a", None, "1\r\n--X"), ("f", Some("x"), "\r\n\r"), ("e", None, "")]);
    let upload = Upload::new(FormLimits::default());

    for size in [1, 2, 7, 50, 1000] {
        let answer = upload.send(&post("/", PARTS, &body), size);

        assert_eq!(response(&answer), (200, "thanks"));
        let told = upload.log.take();
        let wanted =
            ["a None: 1\r\n--X", "f Some(\"x\"): \r\n\r", "e None: ", "done", "closed Done"];
        assert_eq!(told, wanted, "pieces of {size}");
    }
}

#[test]
fn a_streamed_form_that_is_wrong_or_too_large_is_not_done() {
    let mut limits = FormLimits::default();
    limits.parts = 2;
    limits.part = 10;
    limits.bytes = 1000;
    let upload = Upload::new(limits);
    let a = ("a", None, "1");
    for (status, body) in [
        (413, parts(&[a, a, a])),
        (413, parts(&[("a", None, "12345678901")])),
        (413, parts(&[("a", None, &"x".repeat(1000))])),
        (400, parts(&[a]).replace("--XX--", "--XX-")),
        (422, parts(&[("a", None, "early"), a])),
    ] {
        let answer = upload.send(&post("/", PARTS, &body), 10);

        assert_eq!(response(&answer).0, status);
        let told = upload.log.take();
        assert!(!told.contains(&"done".to_owned()), "{told:?}");
        // One that declares too much is refused before there is a handler.
        assert!(told.iter().filter(|line| line.starts_with("closed")).count() <= 1);
    }
    assert_eq!(response(&upload.send(&post("/", PAIRS, "a=1"), 99)).0, 415);
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_form_is_told() {
    let upload = Upload::new(FormLimits::default());
    let request = post("/", PARTS, &parts(&[("a", None, "12345")]));
    let wire = upload.rig.connect();

    wire.write(&request.as_bytes()[..request.len() - 20]);
    upload.rig.pump();
    wire.reset();
    upload.rig.pump();

    let told = upload.log.take();
    assert!(told.last().unwrap().starts_with("closed ") && !told.contains(&"done".to_owned()));
    upload.rig.end();
}

#[test]
fn the_limits_of_the_runtime_hold_for_forms() {
    let mut limits = Limits::default();
    limits.form.parts = 1;
    let rig = Rig::limited(Trigger::Edge, limits);
    rig.serve(greeter());

    let one = rig.ask(&rig.connect(), post("/", PAIRS, "a=1"));
    let two = rig.ask(&rig.connect(), post("/", PAIRS, "a=1&b=2"));

    assert_eq!((response(&one).0, response(&two).0), (200, 413));
}

#[test]
fn cookies_are_read_and_set() {
    let server = http::Server::new().get("/", |req, res| {
        let id = req.cookie("id").unwrap_or("none").to_owned();
        let all = req.cookies().count();
        res.cookie(&Cookie::new("id", "7").max_age(Duration::from_secs(60)))
            .cookie(&Cookie::new("theme", "dark").http_only(false).same_site(SameSite::Strict))
            .cookie(&Cookie::ended("old"))
            .text(&format!("{id} {all}"))
    });
    let rig = Rig::new(Trigger::Edge);
    rig.serve(server);
    let wire = rig.connect();

    let first = rig.ask(&wire, get("/"));
    let cookies = "Cookie: a=b; id=\"x\"\r\nCookie: id=second\r\n\r\n";
    let second = rig.ask(&wire, get("/").replace("\r\n\r\n", &format!("\r\n{cookies}")));

    assert!(first.contains("set-cookie: id=7; Path=/; Max-Age=60; HttpOnly; SameSite=Lax\r\n"));
    assert!(first.contains("set-cookie: theme=dark; Path=/; SameSite=Strict\r\n"), "{first}");
    assert!(first.contains("set-cookie: old=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax\r\n"));
    assert_eq!((response(&first).1, response(&second).1), ("none 0", "\"x\" 3"));
}

#[test]
fn a_cookie_that_may_not_be_is_a_500_and_sends_nothing_of_it() {
    let server = http::Server::new()
        .get("/", |_req, res| res.cookie(&Cookie::new("a", "b\r\nx: y")).text("no"));
    let rig = Rig::new(Trigger::Edge);
    rig.serve(server);

    let answer = rig.ask(&rig.connect(), get("/"));

    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("x: y"), "{answer}");
}

#[test]
fn a_name_and_password_are_asked_for_and_taken() {
    let server = http::Server::new().get("/", |req, res| {
        if !req.basic_auth().is_some_and(|auth| auth.is("Aladdin", "open sesame")) {
            return res.unauthorized("the \"cave\"");
        }
        res.text("in")
    });
    let rig = Rig::new(Trigger::Edge);
    rig.serve(server);
    let wire = rig.connect();
    let with =
        |token| get("/").replace("\r\n\r\n", &format!("\r\nAuthorization: Basic {token}\r\n\r\n"));

    let without = rig.ask(&wire, get("/"));
    let wrong = rig.ask(&wire, with("QWxhZGRpbjpvcGVu"));
    let right = rig.ask(&wire, with("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));

    assert!(
        without
            .contains("www-authenticate: Basic realm=\"the \\\"cave\\\"\", charset=\"UTF-8\"\r\n"),
        "{without}"
    );
    assert_eq!(
        (response(&without).0, response(&wrong).0, response(&right)),
        (401, 401, (200, "in"))
    );
}

#[cfg(feature = "json")]
mod json {
    use std::collections::BTreeMap;

    use super::*;

    fn sums() -> http::Server {
        http::Server::new()
            .post("/", |req, res| {
                res.read_json(req, |numbers: BTreeMap<String, i64>, res| {
                    res.status(201).json(&("sum", numbers.values().sum::<i64>()))
                })
            })
            .get("/bad", |_req, res| res.json(&BTreeMap::from([((1, 2), 3)])))
    }

    #[test]
    fn json_is_read_and_answered() {
        let rig = Rig::new(Trigger::Edge);
        rig.serve(sums());

        let answer = rig.ask(&rig.connect(), post("/", "application/json", r#"{"a":1,"b":2}"#));

        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert_eq!(response(&answer), (201, r#"["sum",3]"#));
    }

    #[test]
    fn what_is_no_json_is_refused_with_the_right_status() {
        for (status, kind, body) in [
            (201, "Application/Vnd.x+JSON; charset=utf-8", "{}"),
            (415, "text/plain", "{}"),
            (415, "json", "{}"),
            (400, "application/json", "{"),
            (400, "application/json", ""),
            (400, "application/json", "{} x"),
            (400, "application/json", "nul"),
            (422, "application/json", "[]"),
            (422, "application/json", r#"{"a":"b"}"#),
        ] {
            assert_eq!(one(sums(), &post("/", kind, body)).0, status, "{kind} {body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(one(sums(), &post("/", "application/json", &deep)).0, 422);
        assert_eq!(one(sums(), &get("/bad")).0, 500);
    }
}
