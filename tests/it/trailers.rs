//! What comes behind the body of a response, by HTTP/1.1 and by HTTP/2: RFC 9110, section 6.5.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::http::{Client, Failure, FetchCx, Stage, Whole};
use lodger::{Handle, Reason, SendError, http, raw};
use lodger_backend::Trigger;

use crate::kit::{Rig, get, ms, secs};

type Pairs = &'static [(&'static str, &'static str)];

const TRAILERS: Pairs = &[("x-sum", "4"), ("Server-Timing", "db;dur=5")];

/// Answers with this status and these fields, four bytes, and trailers.
struct Report(u16, Pairs);

impl http::Handler for Report {
    fn open(&mut self, cx: &mut http::Cx<'_>) {
        cx.head(self.0, self.1).unwrap();
        cx.write(b"body").unwrap();
        cx.finish_with(TRAILERS).unwrap();
    }
}

fn routes() -> http::Server {
    http::Server::new()
        .get("/report", |_req, res| res.stream(Report(200, &[("trailer", "x-sum")])))
        .get("/known", |_req, res| res.stream(Report(200, &[("content-length", "4")])))
        .get("/none", |_req, res| res.stream(Report(204, &[])))
        .get("/next", |_req, res| res.text("next"))
}

fn rig() -> Rig {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes());
    rig
}

/// RFC 9112, section 7.1.2.
#[test]
fn trailers_stand_behind_the_last_chunk() {
    let rig = rig();
    let wire = rig.connect();

    let answers = rig.ask(&wire, get("/report") + &get("/next"));

    let (head, rest) = answers.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\ntrailer: x-sum\r\n"), "{head}");
    let (body, next) = rest.split_once("HTTP/1.1 200 OK\r\n").unwrap();
    assert_eq!(body, "4\r\nbody\r\n0\r\nx-sum: 4\r\nServer-Timing: db;dur=5\r\n\r\n");
    assert!(next.ends_with("\r\n\r\nnext"), "{next}");
    rig.end();
}

/// RFC 9110, section 6.5.1: what has no place for them loses them, and is right otherwise.
#[test]
fn what_has_no_place_for_trailers_drops_them() {
    let rig = rig();
    for (request, status, body) in [
        (get("/known"), 200, "body"),
        (get("/none"), 204, ""),
        (get("/report").replace("1.1", "1.0"), 200, "body"),
    ] {
        let wire = rig.connect();
        let answer = rig.ask(&wire, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        assert!(!answer.contains("x-sum: 4"), "{answer}");
    }
    let wire = rig.connect();
    let head = rig.ask(&wire, get("/report").replace("GET", "HEAD") + &get("/next"));
    assert!(!head.contains("x-sum: 4") && head.ends_with("\r\n\r\nnext"), "{head}");
    rig.end();
}

/// RFC 9110, section 6.5.1. What is refused leaves the response as it was.
#[test]
fn a_field_that_may_not_be_a_trailer_is_misuse() {
    struct Waits(Rc<Cell<Option<http::ExchangeId>>>);
    impl http::Handler for Waits {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            self.0.set(Some(cx.exchange()));
        }
    }
    let (rig, id) = (Rig::new(Trigger::Edge), Rc::new(Cell::new(None)));
    let kept = Rc::clone(&id);
    rig.serve(http::Server::new().get("/", move |_, res| res.stream(Waits(Rc::clone(&kept)))));
    let wire = rig.connect();
    rig.ask(&wire, get("/"));
    let exchange = id.get().unwrap();
    let misuse = |fields: &[(&str, &str)]| {
        matches!(rig.rt.finish_with(exchange, fields), Err(SendError::Misuse(_)))
    };

    assert!(misuse(&[("a", "b")]), "before the head");
    rig.rt.head(exchange, 200, &[]).unwrap();
    for (name, value) in [
        ("Transfer-Encoding", "chunked"),
        ("content-length", "1"),
        ("host", "x"),
        ("Authorization", "Basic"),
        ("set-cookie", "a=b"),
        ("content-encoding", "gzip"),
        ("content-type", "a/b"),
        ("content-range", "bytes 0-0/1"),
        ("Trailer", "a"),
        ("a b", ""),
        ("a", "b\r\nc: d"),
    ] {
        assert!(misuse(&[("good", "1"), (name, value)]), "{name}");
    }
    rig.rt.finish_with(exchange, &[("last", "1")]).unwrap();
    assert_eq!(rig.rt.finish_with(exchange, &[("more", "1")]), Err(SendError::Gone));
    rig.pump();

    let answer = String::from_utf8(wire.read()).unwrap();
    assert!(answer.ends_with("\r\n\r\n0\r\nlast: 1\r\n\r\n"), "{answer}");
    rig.end();
}

type Results = Rc<RefCell<Vec<Result<Whole, Failure>>>>;

fn fetch(rig: &Rig, client: &Client, path: &str) -> Result<Whole, Failure> {
    let results = Results::default();
    let told = Rc::clone(&results);
    let url = format!("http://127.0.0.1{path}");
    client.get(&url).whole(1 << 20, move |result| told.borrow_mut().push(result));
    rig.run_for(secs(1));
    assert_eq!(results.borrow().len(), 1, "told exactly once");
    results.borrow_mut().pop().unwrap()
}

fn clients(rig: &Rig) -> Vec<Client> {
    vec![
        Client::new(&rig.rt),
        #[cfg(feature = "h2")]
        Client::new(&rig.rt).http2(),
    ]
}

/// RFC 9110, section 6.5.2: never merged into the fields of the head.
#[test]
fn a_client_is_told_of_trailers() {
    struct Listens(Rc<RefCell<String>>);
    impl http::Fetch for Listens {
        fn head(&mut self, _cx: &mut FetchCx<'_>, head: &http::ResponseHead<'_>) {
            self.0.borrow_mut().push_str(&head.status.to_string());
        }
        fn body(&mut self, _cx: &mut FetchCx<'_>, chunk: &[u8]) {
            self.0.borrow_mut().push_str(&String::from_utf8_lossy(chunk));
        }
        fn trailers(&mut self, _cx: &mut FetchCx<'_>, fields: http::Fields<'_>) {
            self.0.borrow_mut().push_str(fields.get_str("X-Sum").unwrap());
        }
        fn closed(&mut self, _h: &Handle, outcome: Result<http::Timing, Failure>) {
            outcome.unwrap();
        }
    }
    let rig = rig();
    for client in clients(&rig) {
        let whole = fetch(&rig, &client, "/report").unwrap();
        assert_eq!((whole.status, &*whole.body), (200, &b"body"[..]));
        assert_eq!((whole.trailer("X-Sum"), whole.header("x-sum")), (Some("4"), None));
        assert_eq!(whole.trailers.len(), 2);
        assert!(fetch(&rig, &client, "/next").unwrap().trailers.is_empty());

        let heard = Rc::<RefCell<String>>::default();
        let listens = Listens(Rc::clone(&heard));
        client.get("http://127.0.0.1/report").send(listens).unwrap();
        rig.run_for(ms(10));
        assert_eq!(*heard.borrow(), "200body4");
    }
    rig.end();
}

/// Says this to whoever asks.
struct Says(Vec<u8>);

impl raw::Handler for Says {
    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.send(&self.0).unwrap();
    }
}

/// What is over the limits of [`lodger::H1Limits`] ends the attempt, within the body.
#[test]
fn trailers_without_end_are_given_up() {
    let many = "a: b\r\n".repeat(33);
    let large = format!("a: {}\r\n", "b".repeat(5000));
    for trailers in [many, large] {
        let rig = Rig::new(Trigger::Edge);
        let answer =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
        rig.serve(raw::Server::new(move |_| Some(Says(answer.clone().into_bytes()))));

        let failure = fetch(&rig, &Client::new(&rig.rt), "/").unwrap_err();

        assert_eq!(failure.stage, Stage::Body);
        assert!(matches!(failure.why, Reason::Peer(_)), "{failure:?}");
        rig.end();
    }
}

#[cfg(feature = "h2")]
mod h2 {
    use super::*;
    use crate::h2_streams::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Raw};

    /// Gives kind, flags and stream of each frame of a stream.
    fn outline(frames: &[Frame], stream: u32) -> Vec<(u8, u8)> {
        let of_it = frames.iter().filter(|frame| frame.stream == stream);
        of_it.map(|frame| (frame.kind, frame.flags)).collect()
    }

    const HEAD: (u8, u8) = (HEADERS, END_HEADERS);
    const BODY: (u8, u8) = (DATA, 0);
    const LAST: (u8, u8) = (HEADERS, END_HEADERS | END_STREAM);

    /// RFC 9113, section 8.1; also behind a Content-Length.
    #[test]
    fn trailers_end_their_stream() {
        let rig = rig();
        let mut raw = Raw::greet(&rig, b"");
        raw.frames();
        for (stream, path) in [(1, "/report"), (3, "/known")] {
            raw.get(stream, path, b"");
            rig.pump();

            let frames = raw.frames();
            assert_eq!(outline(&frames, stream), [HEAD, BODY, LAST]);
            raw.fields(&frames[0]);
            assert_eq!(frames[1].payload, b"body");
            assert_eq!(raw.fields(&frames[2]), "x-sum=4 server-timing=db;dur=5");
        }
        drop(raw);
        rig.end();
    }

    /// Nothing but the end stands behind the head of what has no body.
    #[test]
    fn what_has_no_body_has_no_trailers() {
        let rig = rig();
        let mut raw = Raw::greet(&rig, b"");
        raw.frames();
        let head = [&[2, 4], &b"HEAD"[..], &[0x86, 4, 7], b"/report"].concat();
        raw.put(HEADERS, END_HEADERS | END_STREAM, 1, &head).get(3, "/none", b"");
        rig.pump();

        let frames = raw.frames();
        for stream in [1, 3] {
            assert_eq!(outline(&frames, stream), [HEAD, (DATA, END_STREAM)]);
        }
        assert!(frames.iter().filter(|f| f.kind == DATA).all(|f| f.payload.is_empty()));
        drop(raw);
        rig.end();
    }

    /// RFC 9113, section 6.9: they need no window, but stand behind what does.
    #[test]
    fn trailers_wait_for_the_body_before_them() {
        let rig = rig();
        // INITIAL_WINDOW_SIZE is 3.
        let mut raw = Raw::greet(&rig, &[0, 4, 0, 0, 0, 3]);
        raw.frames();
        raw.get(1, "/report", b"");
        rig.pump();
        assert_eq!(outline(&raw.frames(), 1), [HEAD, BODY], "the last byte waits");

        raw.open_window(1, 1);
        rig.pump();
        assert_eq!(outline(&raw.frames(), 1), [BODY, LAST]);
        drop(raw);
        rig.end();
    }

    /// As much as the window lets go, and the trailers at once behind it.
    #[test]
    fn trailers_need_no_window() {
        let rig = rig();
        let mut raw = Raw::greet(&rig, &[0, 4, 0, 0, 0, 4]);
        raw.frames();
        raw.get(1, "/report", b"");
        rig.pump();

        assert_eq!(outline(&raw.frames(), 1), [HEAD, BODY, LAST]);
        drop(raw);
        rig.end();
    }
}
