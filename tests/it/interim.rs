//! What comes before the head of a final response, by HTTP/1.1 and by HTTP/2: RFC 9110, section
//! 15.2, and RFC 8297.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::http::{Client, Failure, FetchCx, Stage, Timing};
use lodger::{Handle, Limits, Reason, SendError, http};
use lodger_backend::Trigger;

use crate::kit::{Rig, get, ms};

const HINTS: &[(&str, &str)] = &[("Link", "</a.css>; rel=preload")];

/// Hints at once and answers after 5 ms.
fn hinted(_request: &http::Request<'_>, response: http::Response<'_>) -> http::Answer {
    response.interim(103, HINTS).unwrap();
    response.interim(102, &[]).unwrap();
    let h = response.runtime().clone();
    let (answer, later) = response.later();
    h.after(ms(5), move |_| later.answer(|res| res.text("page")).unwrap());
    answer
}

fn rig() -> Rig {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().get("/", hinted));
    rig
}

#[test]
fn hints_come_while_the_answer_is_made() {
    let rig = rig();
    let wire = rig.connect();

    let early = rig.ask(&wire, get("/"));
    assert_eq!(
        early,
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\n"
    );

    rig.run_for(ms(5));
    let answer = crate::kit::text(&wire);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("Link"), "{answer}");
    assert!(answer.ends_with("\r\n\r\npage"), "{answer}");
    rig.end();
}

/// RFC 9110, section 15.2: HTTP/1.0 did not define any.
#[test]
fn http_1_0_is_sent_no_interim_response() {
    let rig = rig();
    let wire = rig.connect();

    assert_eq!(rig.ask(&wire, get("/").replace("1.1", "1.0")), "");
    rig.run_for(ms(5));
    let answer = crate::kit::text(&wire);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    rig.end();
}

#[test]
fn an_interim_response_is_none_of_the_others_and_comes_first() {
    struct Misused(Rc<Cell<u32>>);
    impl http::Handler for Misused {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            let mut misuse = |status, fields: &[(&str, &str)]| {
                assert!(matches!(cx.interim(status, fields), Err(SendError::Misuse(_))));
                self.0.set(self.0.get() + 1);
            };
            for status in [0, 99, 100, 101, 200, 204, 500] {
                misuse(status, &[]);
            }
            misuse(103, &[("a", "b\r\nc: d")]);
            misuse(103, &[("content-length", "1")]);
            cx.interim(103, HINTS).unwrap();
            cx.head(200, &[("content-length", "0")]).unwrap();
            assert!(matches!(cx.interim(103, HINTS), Err(SendError::Misuse(_))));
            cx.finish().unwrap();
            assert_eq!(cx.interim(103, HINTS), Err(SendError::Gone));
            self.0.set(self.0.get() + 1);
        }
    }
    let (rig, checked) = (Rig::new(Trigger::Edge), Rc::new(Cell::new(0)));
    let kept = Rc::clone(&checked);
    rig.serve(http::Server::new().get("/", move |_, res| res.stream(Misused(Rc::clone(&kept)))));
    let wire = rig.connect();

    let answer = rig.ask(&wire, get("/"));

    assert_eq!(checked.get(), 10, "{answer}");
    let (hints, answer) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    rig.end();
}

/// A handler that hints without end is told to stop, and what waits is bounded.
#[test]
fn hints_that_nobody_reads_are_held_to_the_limit() {
    #[derive(Clone, Default)]
    struct Floods(Rc<Cell<usize>>, Rc<Cell<bool>>);
    impl http::Handler for Floods {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            let long = "x".repeat(1000);
            while cx.interim(103, &[("link", &long)]).is_ok() {
                self.0.set(self.0.get() + 1);
                assert!(self.0.get() < 10_000);
            }
            assert_eq!(cx.interim(103, &[]), Err(SendError::Full { room: 0 }));
            cx.head(200, &[]).unwrap();
            cx.finish().unwrap();
            self.1.set(true);
        }
    }
    let mut limits = Limits::default();
    limits.io.queue_high = 64 << 10;
    for by_http2 in [false, cfg!(feature = "h2")] {
        let (rig, floods) = (Rig::limited(Trigger::Edge, limits.clone()), Floods::default());
        let kept = floods.clone();
        rig.serve(http::Server::new().get("/", move |_, res| res.stream(kept.clone())));
        let client = clients(&rig).swap_remove(usize::from(by_http2));
        client.get("http://127.0.0.1/").whole(0, |_| {});
        rig.run_for(ms(10));

        assert!(floods.0.get() > 16 && floods.1.get(), "{} {}", floods.0.get(), floods.1.get());
        rig.end();
    }
}

fn clients(rig: &Rig) -> Vec<Client> {
    vec![
        Client::new(&rig.rt),
        #[cfg(feature = "h2")]
        Client::new(&rig.rt).http2(),
    ]
}

/// Notes heads, and how it ended; reads on only when it is let.
struct Listens {
    heard: Rc<RefCell<Vec<String>>>,
    pauses: bool,
}

impl http::Fetch for Listens {
    fn head(&mut self, cx: &mut FetchCx<'_>, head: &http::ResponseHead<'_>) {
        let link = head.fields.get_str("link").unwrap_or("-");
        self.heard.borrow_mut().push(format!("{} {link}", head.status));
        if self.pauses {
            cx.pause(true);
            cx.timer(1, ms(100)).unwrap();
        }
    }

    fn timer(&mut self, cx: &mut FetchCx<'_>, _tag: u64) {
        cx.pause(false);
    }

    fn closed(&mut self, _h: &Handle, outcome: Result<Timing, Failure>) {
        self.heard.borrow_mut().push(match outcome {
            Ok(_) => "done".into(),
            Err(Failure { stage: Stage::FirstByte, why: Reason::Peer(e), .. }) => e.to_string(),
            Err(failure) => format!("{failure:?}"),
        });
    }
}

/// To who asks for parts they are told; to who asks for the whole they are nothing.
#[test]
fn a_client_is_told_of_interim_responses() {
    let rig = rig();
    for client in clients(&rig) {
        let heard = Rc::<RefCell<Vec<String>>>::default();
        let listens = Listens { heard: Rc::clone(&heard), pauses: false };
        client.get("http://127.0.0.1/").send(listens).unwrap();
        rig.run_for(ms(4));
        assert_eq!(*heard.borrow(), ["103 </a.css>; rel=preload", "102 -"]);
        rig.run_for(ms(4));
        assert_eq!(heard.borrow()[2..], ["200 -", "done"]);

        let status = Rc::new(Cell::new(0));
        let told = Rc::clone(&status);
        client.get("http://127.0.0.1/").whole(100, move |whole| {
            let whole = whole.unwrap();
            assert!(whole.header("link").is_none());
            told.set(whole.status);
        });
        rig.run_for(ms(8));
        assert_eq!(status.get(), 200);
    }
    rig.end();
}

#[cfg(feature = "h2")]
mod h2 {
    use lodger::raw;

    use super::*;
    use crate::h2_streams::{END_HEADERS, HEADERS, Raw};
    use crate::kit::secs;

    #[test]
    fn hints_stand_on_their_stream() {
        let rig = rig();
        let mut raw = Raw::greet(&rig, b"");
        raw.frames();
        raw.get(1, "/", b"");
        rig.pump();

        let frames = raw.frames();
        let of: Vec<_> = frames.iter().map(|f| (f.kind, f.flags, f.stream)).collect();
        assert_eq!(of, [(HEADERS, END_HEADERS, 1); 2]);
        assert_eq!(raw.fields(&frames[0]), ":status=103 link=</a.css>; rel=preload");
        assert_eq!(raw.fields(&frames[1]), ":status=102");
        rig.run_for(ms(5));
        let head = raw.frames().into_iter().find(|f| f.kind == HEADERS).unwrap();
        assert!(raw.fields(&head).starts_with(":status=200 "));
        drop(raw);
        rig.end();
    }

    /// Says 103 without end to whoever asks, by HTTP/2.
    struct Hints(bool);

    impl raw::Handler for Hints {
        fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
            if !std::mem::replace(&mut self.0, true) {
                cx.send(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
            }
            // HEADERS of stream 1 with `:status: 103`.
            let frame = [0, 0, 5, HEADERS, END_HEADERS, 0, 0, 0, 1, 8, 3, b'1', b'0', b'3'];
            let _ = cx.send(&frame.repeat(1000));
        }
    }

    /// Also while nobody listens: what has not been told is bounded.
    #[test]
    fn interim_responses_without_end_are_given_up() {
        for pauses in [false, true] {
            let rig = Rig::new(Trigger::Edge);
            rig.serve(raw::Server::new(|_| Some(Hints(false))));
            let heard = Rc::<RefCell<Vec<String>>>::default();
            let listens = Listens { heard: Rc::clone(&heard), pauses };
            let client = Client::new(&rig.rt).http2();
            client.get("http://127.0.0.1/").send(listens).unwrap();

            rig.run_for(secs(20));

            let heard = heard.borrow();
            let (last, told) = heard.split_last().unwrap();
            assert!(last.contains("the limit of interim responses"), "{heard:?}");
            assert!(told.iter().all(|head| head == "103 -"), "{heard:?}");
            assert_eq!(told.len(), if pauses { 1 } else { 16 });
            rig.end();
        }
    }
}
