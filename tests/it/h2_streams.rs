//! Streams of HTTP/2 as a scripted client sees them: many, unfair, immortal, compressed, and with
//! what few clients send. RFC 9113, RFC 8441, RFC 9218.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lodger::io::FieldSpan;
use lodger::proto::hpack::{Decoder, Room};
use lodger::sim::Wire;
use lodger::{Limits, http};
use lodger_backend::Trigger;

use crate::kit::{Rig, secs};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const PRIORITY_UPDATE: u8 = 16;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const REFUSED: u8 = 7;

/// A frame that the server has sent.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A client that writes frames as they are.
pub(crate) struct Raw {
    wire: Wire,
    input: Vec<u8>,
    decoder: Decoder,
}

impl Raw {
    /// Connects, and greets with these settings.
    pub(crate) fn greet(rig: &Rig, settings: &[u8]) -> Self {
        let wire = rig.connect();
        wire.set_window(1 << 20);
        let raw = Self { wire, input: Vec::new(), decoder: Decoder::new(4096) };
        raw.wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.put(SETTINGS, 0, 0, settings).put(SETTINGS, 1, 0, b"");
        rig.pump();
        raw
    }

    pub(crate) fn put(&self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &Self {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        let [d, e, f, g] = stream.to_be_bytes();
        self.wire.write(&[&[a, b, c, kind, flags, d, e, f, g], payload].concat());
        self
    }

    /// A whole request, with more fields in their wire form.
    pub(crate) fn get(&self, stream: u32, path: &str, more: &[u8]) -> &Self {
        self.put(HEADERS, END_HEADERS | END_STREAM, stream, &block(0x82, path, more))
    }

    fn post(&self, stream: u32, path: &str, more: &[u8]) -> &Self {
        self.put(HEADERS, END_HEADERS, stream, &block(0x83, path, more))
    }

    pub(crate) fn open_window(&self, stream: u32, by: u32) -> &Self {
        self.put(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
    }

    /// Gives the whole frames that have come.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        self.input.extend(self.wire.read());
        let mut frames = Vec::new();
        while let Some((head, _)) = self.input.split_first_chunk::<9>() {
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if self.input.len() < end {
                break;
            }
            let payload = self.input[9..end].to_vec();
            self.input.drain(..end);
            frames.push(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload });
        }
        frames
    }

    /// Gives the fields of a head as `name=value` with spaces between.
    pub(crate) fn fields(&mut self, frame: &Frame) -> String {
        assert_eq!((frame.kind, frame.flags & END_HEADERS), (HEADERS, END_HEADERS));
        let room = Room { fields: 100, list: 1 << 16, cookies: 100 };
        let (mut arena, mut spans) = (Vec::new(), Vec::<FieldSpan>::new());
        self.decoder.decode(&frame.payload, &room, &mut arena, &mut spans).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let field = |span: &FieldSpan| {
            format!("{}={}", text(span.name.of(&arena)), text(span.value.of(&arena)))
        };
        spans.iter().map(field).collect::<Vec<_>>().join(" ")
    }
}

/// The fields of a request for `path` by http, whose method is an entry of the static table.
fn block(method: u8, path: &str, more: &[u8]) -> Vec<u8> {
    [&[method, 0x86, 4, path.len() as u8], path.as_bytes(), more].concat()
}

/// A field that is spelled out.
fn field(name: &str, value: &str) -> Vec<u8> {
    let (n, v) = (name.len() as u8, value.len() as u8);
    [&[0, n], name.as_bytes(), &[v], value.as_bytes()].concat()
}

type Laters = Rc<RefCell<Vec<http::Later>>>;

fn routes(laters: &Laters) -> http::Server {
    let laters = Rc::clone(laters);
    http::Server::new()
        .get("/a", |_req, res| res.text("a"))
        .get("/large", |_req, res| res.bytes("a/b", &vec![b'x'; 400_000]))
        .get("/late", move |_req, res| {
            let (answer, later) = res.later();
            laters.borrow_mut().push(later);
            answer
        })
        .post("/echo", |_req, res| res.read_body(|body, res| res.bytes("a/b", body)))
}

fn count(frames: &[Frame], kind: u8) -> usize {
    frames.iter().filter(|frame| frame.kind == kind).count()
}

/// The numbers of a connection's streams go on, and nothing of those that ended is left.
#[test]
fn a_hundred_thousand_requests_go_over_one_connection() {
    const AT_ONCE: u32 = 100;
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes(&Laters::default()));
    let mut raw = Raw::greet(&rig, b"");
    let mut answered = 0;

    for round in 0..1000 {
        raw.open_window(0, AT_ONCE);
        for n in 0..AT_ONCE {
            raw.get(2 * (round * AT_ONCE + n) + 1, "/a", b"");
        }
        rig.pump();
        let frames = raw.frames();
        assert_eq!(count(&frames, GOAWAY) + count(&frames, RST_STREAM), 0);
        answered += frames.iter().filter(|f| f.kind == DATA && f.payload == b"a").count();
    }

    assert_eq!(answered, 100_000);
    assert_eq!((rig.rt.stats().requests, rig.rt.stats().open), (100_000, 1));
    drop(raw);
    rig.end();
}

/// RFC 9113, section 5.1.2.
#[test]
fn streams_above_the_limit_are_refused_one_by_one() {
    let rig = Rig::new(Trigger::Edge);
    let laters = Laters::default();
    rig.serve(routes(&laters));
    let mut raw = Raw::greet(&rig, b"");

    (0..103).for_each(|n| _ = raw.get(2 * n + 1, "/late", b""));
    rig.pump();
    let frames = raw.frames();
    let refused: Vec<u32> = frames
        .iter()
        .filter(|f| f.kind == RST_STREAM && f.payload.last() == Some(&REFUSED))
        .map(|f| f.stream)
        .collect();
    assert_eq!((refused, count(&frames, GOAWAY)), (vec![201, 203, 205], 0));
    let later = laters.borrow_mut().pop().unwrap();
    later.answer(|res| res.text("late")).unwrap();
    raw.get(207, "/a", b"");
    rig.pump();

    let answered: Vec<u32> =
        raw.frames().iter().filter(|f| f.kind == DATA).map(|f| f.stream).collect();
    assert_eq!(answered, [199, 207]);
    drop(raw);
    laters.borrow_mut().clear();
    rig.end();
}

/// Two that are equally urgent share what there is; what is small, and what is not of a stream,
/// does not wait behind them.
#[test]
fn streams_have_their_turns_and_control_frames_go_first() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes(&Laters::default()));
    let mut raw = Raw::greet(&rig, &[0, 4, 0, 0x10, 0, 0]);
    raw.wire.set_window(70_000);
    raw.open_window(0, 1 << 20).get(1, "/large", b"").get(3, "/large", b"");
    rig.pump();
    raw.get(5, "/a", b"").put(PING, 0, 0, b"12345678");
    rig.pump();

    let (mut sent, mut order) = (BTreeMap::<u32, usize>::new(), Vec::new());
    let mut at_pong = None;
    loop {
        let frames = raw.frames();
        if frames.is_empty() {
            break;
        }
        for frame in &frames {
            match frame.kind {
                PING => at_pong = Some(sent.values().sum::<usize>()),
                DATA => *sent.entry(frame.stream).or_default() += frame.payload.len(),
                _ => {}
            }
            if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                order.push((frame.stream, sent.clone()));
            }
        }
        rig.pump();
    }

    let ended: Vec<u32> = order.iter().map(|(stream, _)| *stream).collect();
    assert_eq!((ended.len(), ended[0]), (3, 5), "{ended:?}");
    // What was on its way already, and what fills one output.
    assert!(at_pong.unwrap() < 250_000 && order[0].1[&1] < 250_000, "{at_pong:?} {order:?}");
    let other = 4 - ended[1];
    assert!(order[1].1[&other] > 350_000, "they took turns: {order:?}");
    drop(raw);
    rig.end();
}

/// A request that waits for its answer, and a client that answers PINGs: nothing ends them.
#[test]
fn a_long_poll_is_immortal_while_its_client_lives() {
    let rig = Rig::new(Trigger::Edge);
    let laters = Laters::default();
    rig.serve(routes(&laters));
    let mut raw = Raw::greet(&rig, b"");
    raw.get(1, "/late", b"");
    let mut pings = 0;

    for _ in 0..720 {
        rig.run_for(secs(5));
        for frame in raw.frames() {
            assert!(!matches!(frame.kind, GOAWAY | RST_STREAM), "{}", frame.kind);
            if frame.kind == PING {
                pings += 1;
                raw.put(PING, 1, 0, &frame.payload);
            }
        }
    }
    // An hour, at 30 s of silence each.
    assert!((100..=120).contains(&pings), "{pings}");
    laters.borrow_mut().pop().unwrap().answer(|res| res.text("at last")).unwrap();
    rig.pump();
    assert!(raw.frames().iter().any(|f| f.payload == b"at last"));

    raw.get(3, "/late", b"");
    rig.run_for(secs(45));
    let frames = raw.frames();
    assert_eq!((count(&frames, PING), count(&frames, GOAWAY)), (1, 1), "it answers no more");
    drop((raw, laters));
    rig.end();
}

/// RFC 9113, section 8.1: interim responses, trailers behind a body.
#[test]
fn expectations_are_met_and_trailers_heard() {
    struct Heard(Rc<RefCell<String>>);
    impl http::Handler for Heard {
        fn open(&mut self, cx: &mut http::Cx<'_>) {
            cx.head(200, &[]).unwrap();
        }
        fn body(&mut self, _cx: &mut http::Cx<'_>, chunk: &[u8]) {
            self.0.borrow_mut().push_str(std::str::from_utf8(chunk).unwrap());
        }
        fn trailers(&mut self, _cx: &mut http::Cx<'_>, fields: http::Fields<'_>) {
            let text = fields.iter().map(|(n, v)| format!(" {n}={}", v.escape_ascii()));
            self.0.borrow_mut().extend(text);
        }
        fn end(&mut self, cx: &mut http::Cx<'_>) {
            cx.finish().unwrap();
        }
    }
    let rig = Rig::new(Trigger::Edge);
    let heard: Rc<RefCell<String>> = Rc::default();
    let kept = Rc::clone(&heard);
    rig.serve(
        routes(&Laters::default())
            .post("/heard", move |_req, res| res.stream(Heard(Rc::clone(&kept)))),
    );
    let mut raw = Raw::greet(&rig, b"");

    raw.post(1, "/echo", &field("expect", "100-continue"));
    rig.pump();
    let interim = raw.frames().pop().unwrap();
    assert_eq!((raw.fields(&interim), interim.flags & END_STREAM), (":status=100".into(), 0));
    raw.put(DATA, END_STREAM, 1, b"body");
    rig.pump();
    let frames = raw.frames();
    let head = frames.iter().find(|f| f.kind == HEADERS).unwrap();
    assert!(raw.fields(head).starts_with(":status=200 "));
    assert_eq!(frames.last().unwrap().payload, b"body");

    raw.post(3, "/heard", b"").put(DATA, 0, 3, b"body");
    raw.put(HEADERS, END_HEADERS | END_STREAM, 3, &field("check", "sum"));
    rig.pump();
    let ended = raw.frames().pop().unwrap();
    assert_eq!((ended.stream, ended.flags & END_STREAM), (3, END_STREAM));
    assert_eq!(*heard.borrow(), "body check=sum");
    drop(raw);
    rig.end();
}

/// RFC 9113, section 5.3.2, and RFC 9218: what it means, what it no longer means, and what it never
/// meant are all borne.
#[test]
fn priorities_of_all_kinds_are_borne() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes(&Laters::default()));
    let mut raw = Raw::greet(&rig, b"");

    raw.put(PRIORITY, 0, 11, &[0, 0, 0, 9, 200]);
    raw.put(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=0, i");
    raw.put(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x63not a dictionary \xFF");
    let weighted = [&[0x80, 0, 0, 11, 255], &*block(0x82, "/a", b"")].concat();
    raw.put(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, &weighted);
    raw.get(3, "/a", &field("priority", "u=9, i=maybe, ,;"));
    raw.put(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]);
    raw.put(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1");
    rig.pump();

    let frames = raw.frames();
    let answered = frames.iter().filter(|f| f.kind == DATA && f.payload == b"a").count();
    assert_eq!((answered, count(&frames, RST_STREAM), count(&frames, GOAWAY)), (2, 0, 0));
    drop(raw);
    rig.end();
}

/// The more urgent goes first, the others as they came.
#[test]
fn urgency_decides_who_waits() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(routes(&Laters::default()));
    let mut raw = Raw::greet(&rig, &[0, 4, 0, 0x10, 0, 0]);
    for (stream, priority) in [(1, "u=6"), (3, "u=5"), (5, "u=1")] {
        raw.get(stream, "/large", &field("priority", priority));
    }
    rig.pump();
    let mut ended = Vec::new();
    for _ in 0..200 {
        raw.open_window(0, 16_384);
        rig.pump();
        let frames = raw.frames();
        ended.extend(frames.iter().filter(|f| f.kind == DATA && f.flags == 1).map(|f| f.stream));
    }

    assert_eq!(ended, [5, 3, 1]);
    drop(raw);
    rig.end();
}

/// RFC 8441 with RFC 7692: what a stream carries is compressed as on a connection of its own.
#[cfg(feature = "deflate")]
#[test]
fn messages_on_a_stream_are_compressed() {
    use lodger::ws;

    struct Echo;
    impl ws::Handler for Echo {
        fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
            assert_eq!(message.bytes(), [b'a'; 1000]);
            cx.send(message).unwrap();
        }
    }
    let rig = Rig::new(Trigger::Edge);
    let config = ws::Config::default().deflate(ws::Deflate::default());
    rig.serve(http::Server::new().ws_with("/ws", config, |_req| Ok(Echo)));
    let mut raw = Raw::greet(&rig, b"");
    let sockets = [1, 3];

    for stream in sockets {
        let more = [
            field(":protocol", "websocket"),
            field("sec-websocket-version", "13"),
            field("sec-websocket-extensions", "permessage-deflate"),
        ];
        let connect = [&[2, 7], b"CONNECT".as_slice(), &[0x86, 1, 1, b'x', 4, 3], b"/ws"].concat();
        raw.put(HEADERS, END_HEADERS, stream, &[connect, more.concat()].concat());
        rig.pump();
        let head = raw.frames().into_iter().find(|f| f.kind == HEADERS).unwrap();
        let fields = raw.fields(&head);
        assert!(fields.starts_with(":status=200") && head.flags & END_STREAM == 0, "{fields}");
        assert!(fields.contains("sec-websocket-extensions=permessage-deflate"), "{fields}");
    }
    // RFC 7692, 7.2.3.3: a block that is stored, masked with zeros.
    let stored = [&[0, 0xE8, 3, !0xE8, !3][..], &[b'a'; 1000], &[0]].concat();
    let message = [&[0xC1, 0xFE, 3, 0xEE, 0, 0, 0, 0][..], &stored].concat();
    for stream in sockets {
        raw.put(DATA, 0, stream, &message[..50]).put(DATA, 0, stream, &message[50..]);
    }
    rig.pump();

    let echoes = raw.frames();
    let echoes: Vec<_> = echoes.iter().filter(|f| f.kind == DATA).collect();
    assert_eq!(echoes.iter().map(|f| f.stream).collect::<Vec<_>>(), sockets);
    for echo in echoes {
        assert_eq!((echo.payload[0], echo.payload.len()), (0xC1, 2 + usize::from(echo.payload[1])));
        assert!(echo.payload.len() < 30, "1,000 equal bytes take {}", echo.payload.len());
    }
    drop(raw);
    rig.end();
}

/// What one stream does not read is not credited, and the others' windows are their own.
#[test]
fn a_window_is_of_one_stream_alone() {
    let mut limits = Limits::default();
    limits.h2.window = 1000;
    let rig = Rig::limited(Trigger::Edge, limits);
    rig.serve(routes(&Laters::default()));
    let mut raw = Raw::greet(&rig, b"");

    // 1,000 of 1,000 bytes are not half a window too many, one more is.
    raw.post(1, "/late", b"").post(3, "/echo", b"").post(5, "/echo", b"");
    raw.put(DATA, 0, 3, &[b'x'; 1000]).put(DATA, 0, 5, &[b'y'; 900]);
    rig.pump();
    let credited = |frames: &[Frame]| {
        let mut by = BTreeMap::<u32, u32>::new();
        for frame in frames.iter().filter(|f| f.kind == WINDOW_UPDATE) {
            let n = u32::from_be_bytes(frame.payload[..].try_into().unwrap());
            *by.entry(frame.stream).or_default() += n;
        }
        by
    };
    let by = credited(&raw.frames());
    assert_eq!((by.get(&3), by.get(&5)), (Some(&1000), Some(&900)));
    raw.put(DATA, END_STREAM, 3, &[b'x'; 1000]).put(DATA, 0, 5, &[b'y'; 1001]);
    rig.pump();

    let frames = raw.frames();
    let reset: Vec<u32> =
        frames.iter().filter(|f| f.kind == RST_STREAM).map(|f| f.stream).collect();
    let echoed: usize =
        frames.iter().filter(|f| f.kind == DATA && f.stream == 3).map(|f| f.payload.len()).sum();
    assert!(reset.contains(&5) && !reset.contains(&3), "{reset:?}");
    assert_eq!((echoed, count(&frames, GOAWAY)), (2000, 0));
    drop(raw);
    rig.end();
}
