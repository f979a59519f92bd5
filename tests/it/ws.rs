//! WebSocket: messages, the two handshakes, time, backpressure and limits.

use std::cell::RefCell;
use std::rc::Rc;

use lodger::policy::Validity;
use lodger::sim::{Faults, Wire};
use lodger::{ConnId, Limits, Reason, SendError, http, ws};
use lodger_backend::Trigger;

use crate::kit::{
    BINARY, CLOSE, Count, Echo, Log, PING, PONG, Rig, TEXT, TRIGGERS, close_code, close_frame,
    frame, frames, get, hook, messages, ms, planted, response, responses, say, secs, ws_request,
};

fn echo() -> http::Server {
    http::Server::new().get("/", |_, res| res.text("http")).ws("/echo", |_| Ok(Echo))
}

fn rig(server: http::Server) -> Rig {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(server);
    rig
}

#[test]
fn the_handshake_of_the_rfc() {
    let rig = rig(echo());
    let wire = rig.connect();

    let answer = rig.ask(&wire, ws_request("/echo", ""));

    let lower = answer.to_lowercase();
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert!(lower.contains("upgrade: websocket") && lower.contains("connection: upgrade"));
    assert_eq!(rig.rt.connections(1)[0].protocol, "websocket");
}

#[test]
fn whole_and_fragmented_messages_are_echoed() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(echo());
        let wire = rig.upgrade("/echo");
        for size in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload = vec![b'a'; size];
            let third = size / 3;
            wire.set_window(1 << 20);
            wire.write(&frame(BINARY, true, &payload));
            wire.write(&frame(TEXT, false, &payload[..third]));
            wire.write(&frame(PING, true, b"between"));
            wire.write(&frame(0, false, &payload[third..2 * third]));
            wire.write(&frame(0, true, &payload[2 * third..]));
            rig.pump();

            let bytes = wire.read();
            let (all, n) = frames(&bytes);
            assert_eq!(n, bytes.len());
            let expected = [
                (BINARY, true, payload.clone()),
                (PONG, true, b"between".to_vec()),
                (TEXT, true, payload),
            ];
            assert!(all == expected, "{trigger:?} {size}");
        }
    }
}

#[test]
fn a_request_two_frames_and_half_a_third_in_one_read_are_answered_by_one_send() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(echo());
        let wire = rig.connect();
        rig.pump();
        let third = say("third");
        let bytes =
            [ws_request("/echo", "").into_bytes(), say("one"), say("two"), third[..7].to_vec()];

        let calls = rig.calls(|| {
            wire.write(&bytes.concat());
            rig.pump();
        });

        assert_eq!(calls, (1, 2), "one read; one send, and the peer's own");
        let input = wire.read();
        let end = input.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let (all, _) = frames(&input[end..]);
        assert_eq!(all, [(TEXT, true, b"one".to_vec()), (TEXT, true, b"two".to_vec())]);
        wire.write(&third[7..]);
        rig.pump();
        assert_eq!(messages(&wire), ["third"], "{trigger:?}");
    }
}

#[test]
fn chunks_come_as_they_arrive() {
    struct Chunks(Log);
    impl ws::Handler for Chunks {
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {
            panic!("its route asked for chunks");
        }
        fn chunk(&mut self, cx: &mut ws::Cx<'_>, chunk: ws::Chunk<'_>) {
            let data = String::from_utf8_lossy(chunk.data).into_owned();
            self.0.add(format!("{} {} {data}", chunk.first, chunk.last));
            cx.send_chunk(chunk).unwrap();
        }
    }
    let log = Log::default();
    let l = log.clone();
    let config = ws::Config::default().chunks(true);
    let rig = rig(http::Server::new().ws_with("/", config, move |_| Ok(Chunks(l.clone()))));
    let wire = rig.upgrade("/");
    let bytes = [frame(TEXT, false, b"ab"), frame(0, true, b"cd"), say("whole")].concat();

    // Cut inside the first payload.
    wire.write(&bytes[..7]);
    rig.pump();
    wire.write(&bytes[7..]);
    rig.pump();

    assert_eq!(log.take(), ["true false a", "false false b", "false true cd", "true true whole"]);
    let (all, _) = frames(&wire.read());
    let text: Vec<u8> = all.iter().flat_map(|(.., payload)| payload.clone()).collect();
    assert_eq!(text, b"abcdwhole");
    assert_eq!(all.iter().map(|(op, ..)| *op).collect::<Vec<_>>(), [TEXT, 0, 0, TEXT]);
}

#[test]
fn a_panic_is_1011_for_its_connection_and_the_others_live() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        rig.serve(echo().ws("/bad", hook(&log, |_, _| planted())));
        let (other, wire) = (rig.upgrade("/echo"), rig.upgrade("/bad"));

        wire.write(&[say("x"), say("y")].concat());
        rig.run_for(secs(5));

        assert_eq!(close_code(&wire.read()), Some(1011));
        assert!(wire.is_eof());
        assert_eq!(log.take(), ["open", "closed Panic"]);
        other.write(&say("alive"));
        rig.pump();
        assert_eq!(messages(&other), ["alive"]);
        assert_eq!((rig.rt.stats().panics, rig.rt.stats().open), (1, 1));
    }
}

#[test]
fn a_panic_in_open_and_in_closed_is_survived() {
    struct Bad(Log, bool);
    impl ws::Handler for Bad {
        fn open(&mut self, _: &mut ws::Cx<'_>) {
            if self.1 {
                planted();
            }
        }
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
        fn closed(&mut self, _: &mut ws::Cx<'_>, why: Reason) {
            self.0.closed(why);
            planted();
        }
    }
    let log = Log::default();
    let (a, b) = (log.clone(), log.clone());
    let rig = rig(http::Server::new()
        .ws("/open", move |_| Ok(Bad(a.clone(), true)))
        .ws("/closed", move |_| Ok(Bad(b.clone(), false))));
    let (open, closed) = (rig.connect(), rig.upgrade("/closed"));
    rig.ask(&open, ws_request("/open", ""));
    closed.reset();
    rig.run_for(secs(5));

    let mut heard = log.take();
    heard.sort();
    assert_eq!(heard, ["closed Io", "closed Panic"]);
    assert_eq!((rig.rt.stats().panics, rig.rt.stats().open), (3, 0));
}

// ---- The closing handshake ----

#[test]
fn the_peer_closes_and_is_answered() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        rig.serve(http::Server::new().ws("/", hook(&log, |_, _| ())));
        let wire = rig.upgrade("/");
        let mut close = 4321_u16.to_be_bytes().to_vec();
        close.extend(b"bye");
        wire.write(&frame(CLOSE, true, &close));
        wire.write(&say("never heard"));

        rig.run_for(secs(5));

        assert_eq!(close_code(&wire.read()), Some(4321));
        assert!(wire.is_eof() || wire.is_reset());
        assert_eq!(log.take(), ["open", "closing Some(4321) bye", "closed Closed"], "{trigger:?}");
    }
}

#[test]
fn we_close_and_the_peer_answers() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        rig.serve(http::Server::new().ws(
            "/",
            hook(&log, |cx, _| {
                cx.close(4000);
                assert!(cx.send(ws::Message::Text("after")).is_err());
            }),
        ));
        let wire = rig.upgrade("/");
        wire.write(&say("x"));
        rig.pump();
        assert_eq!(close_code(&wire.read()), Some(4000));
        wire.write(&close_frame(4000));

        let before = rig.world.now();
        rig.pump();

        assert!(wire.is_eof());
        assert_eq!(log.take().last().unwrap(), "closed Closed", "{trigger:?}");
        assert_eq!(rig.world.now(), before, "without waiting");
        drop(wire);
        rig.end();
    }
}

#[test]
fn a_close_that_is_never_answered_is_given_up() {
    let (log, ids) = (Log::default(), Rc::new(RefCell::new(Vec::<ConnId>::new())));
    let i = Rc::clone(&ids);
    let rig =
        rig(http::Server::new().ws("/", hook(&log, move |cx, _| i.borrow_mut().push(cx.id()))));
    let wire = rig.upgrade("/");
    wire.write(&say("x"));
    rig.pump();

    rig.rt.close(ids.borrow()[0], 1000).unwrap();
    assert!(matches!(rig.rt.close(ids.borrow()[0], 999), Err(SendError::Misuse(_))));
    rig.run_for(ms(1_900));
    assert_eq!(rig.rt.stats().open, 1);
    rig.run_for(ms(500));

    assert_eq!(rig.rt.stats().open, 0);
    assert_eq!(log.take().len(), 2);
}

#[test]
fn a_peer_that_just_ends_is_told_so() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        rig.serve(http::Server::new().ws("/", hook(&log, |_, _| ())));
        let (fin, dropped) = (rig.upgrade("/"), rig.upgrade("/"));
        fin.write(&say("x"));
        fin.close();
        drop(dropped);
        rig.run_for(secs(5));

        let heard = log.take();
        assert_eq!(heard[..2], ["open", "open"]);
        assert!(heard.len() == 4 && !heard.contains(&"closed Done".to_owned()), "{heard:?}");
        drop(fin);
        rig.end();
    }
}

#[test]
fn sending_from_closed_says_gone() {
    struct Last(Log);
    impl ws::Handler for Last {
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
        fn closed(&mut self, cx: &mut ws::Cx<'_>, _: Reason) {
            assert_eq!(cx.send(ws::Message::Text("late")), Err(SendError::Gone));
            assert_eq!(cx.ping(b"late"), Err(SendError::Gone));
            assert!(cx.timer(1, ms(1)).is_err());
            cx.want_write();
            cx.pause(true);
            cx.close(1000);
            cx.abort();
            assert!(!cx.runtime().is_open(cx.id()));
            self.0.add("closed");
        }
    }
    let log = Log::default();
    let l = log.clone();
    let rig = rig(http::Server::new().ws("/", move |_| Ok(Last(l.clone()))));
    let (reset, politely) = (rig.upgrade("/"), rig.upgrade("/"));
    reset.reset();
    politely.write(&close_frame(1000));
    rig.run_for(secs(5));

    assert_eq!(log.take(), ["closed", "closed"]);
    assert_eq!(rig.rt.stats().panics, 0);
    drop((reset, politely));
    rig.end();
}

// ---- Time ----

#[test]
fn a_silent_peer_is_pinged_and_kept_if_it_answers() {
    let log = Log::default();
    let rig = rig(http::Server::new().ws("/", hook(&log, |_, _| ())));
    let wire = rig.upgrade("/");
    for _ in 0..3 {
        rig.run_for(secs(33));
        let (all, _) = frames(&wire.read());
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, PING);
        wire.write(&frame(PONG, true, &all[0].2));
        rig.pump();
    }
    assert_eq!((rig.rt.stats().open, log.take().contains(&"pong".to_owned())), (1, true));

    rig.run_for(secs(45));

    assert_eq!((rig.rt.stats().open, frames(&wire.read()).0[0].0), (0, PING));
    assert!(wire.is_eof() || wire.is_reset());
    assert!(log.take().last().unwrap().starts_with("closed"));
}

#[test]
fn silence_may_be_allowed() {
    let config = ws::Config::default().validity(Validity::never());
    let rig = rig(http::Server::new().ws_with("/", config, |_| Ok(Echo)));
    let wire = rig.upgrade("/");

    let turns = rig.run_for(secs(3_600));

    assert_eq!((turns, wire.read().len()), (0, 0));
}

// ---- Backpressure ----

struct Flood {
    log: Log,
    sent: usize,
}

impl Flood {
    fn go_on(&mut self, cx: &mut ws::Cx<'_>) {
        while self.sent < 400 {
            match cx.send(ws::Message::Text(&format!("{:05000}", self.sent))) {
                Ok(()) => self.sent += 1,
                Err(SendError::Full { room }) => {
                    assert_eq!(room, 0);
                    self.log.add("full");
                    return cx.want_write();
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
}

impl ws::Handler for Flood {
    fn message(&mut self, cx: &mut ws::Cx<'_>, _: ws::Message<'_>) {
        self.log.add("message");
        self.go_on(cx);
    }
    fn writable(&mut self, cx: &mut ws::Cx<'_>, room: usize) {
        assert!(room > 0);
        self.log.add("writable");
        self.go_on(cx);
    }
}

#[test]
fn a_peer_that_does_not_read_is_full_then_writable_once_and_is_not_read_from() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        rig.serve(http::Server::new().ws("/", move |_| Ok(Flood { log: l.clone(), sent: 0 })));
        let wire = rig.upgrade("/");
        wire.write(&say("go"));
        rig.run_for(secs(1));
        assert_eq!(log.take(), ["message", "full"]);
        for _ in 0..5 {
            wire.write(&say("more"));
            rig.pump();
        }
        assert_eq!(rig.run_for(secs(10)), 0);
        assert!(wire.unread() > 0, "it is not read from");

        let mut got = Vec::new();
        for _ in 0..200 {
            got.extend(wire.read());
            rig.pump();
        }

        let (all, n) = frames(&got);
        assert_eq!((all.len(), n), (400, got.len()));
        assert!(all.iter().enumerate().all(|(n, f)| f.2 == format!("{n:05000}").as_bytes()));
        let heard = log.take();
        let count = |what: &str| heard.iter().filter(|h| *h == what).count();
        assert!(count("writable") >= 1 && count("writable") <= count("full") + 1, "{heard:?}");
        assert_eq!(count("message"), 5);
    }
}

#[test]
fn an_echo_that_is_not_read_stops_reading_and_loses_nothing() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(echo());
        let wire = rig.upgrade("/echo");
        let all: Vec<u8> = (0..3_000).flat_map(|n| say(&format!("{n:0500}"))).collect();
        wire.write(&all);
        rig.run_for(secs(1));
        assert!(rig.rt.connections(1)[0].queued < 400_000);

        let mut got = Vec::new();
        for _ in 0..200 {
            got.extend(wire.read());
            rig.pump();
        }

        assert_eq!(frames(&got).0.len(), 3_000, "{trigger:?}");
    }
}

#[test]
fn a_close_to_a_peer_that_does_not_read_aborts() {
    let (log, ids) = (Log::default(), Rc::new(RefCell::new(Vec::<ConnId>::new())));
    let i = Rc::clone(&ids);
    let rig = rig(http::Server::new().ws(
        "/",
        hook(&log, move |cx, _| {
            i.borrow_mut().push(cx.id());
            while cx.send(ws::Message::Binary(&[0; 50_000])).is_ok() {}
        }),
    ));
    let wire = rig.upgrade("/");
    wire.write(&say("x"));
    rig.pump();

    let id = ids.borrow()[0];
    while rig.rt.send(id, ws::Message::Binary(&[0; 50_000])).is_ok() {}
    rig.rt.close(id, 1000).unwrap();
    rig.pump();

    assert_eq!(log.take(), ["open", "closed Aborted"]);
    assert_eq!(rig.rt.stats().open, 0);
}

#[test]
fn a_room_hears_everything_in_order_while_members_come_and_go() {
    struct Member(Rc<RefCell<Vec<ConnId>>>);
    impl ws::Handler for Member {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            self.0.borrow_mut().push(cx.id());
        }
        fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
            for id in self.0.borrow().iter() {
                cx.runtime().send(*id, message).unwrap();
            }
        }
        fn closed(&mut self, cx: &mut ws::Cx<'_>, _: Reason) {
            self.0.borrow_mut().retain(|id| *id != cx.id());
        }
    }
    for seed in 0..20 {
        let trigger = TRIGGERS[seed as usize % 3];
        let rig = Rig::with(trigger, Limits::default(), seed, Faults::lossless());
        let room = Rc::default();
        let r = Rc::clone(&room);
        rig.serve(http::Server::new().ws("/room", move |_| Ok(Member(Rc::clone(&r)))));
        let wires: Vec<Wire> = (0..6).map(|_| rig.connect()).collect();
        wires.iter().for_each(|w| w.write(ws_request("/room", "").as_bytes()));
        rig.run_for(secs(1));
        for n in 0..50 {
            wires[n % 5].write(&say(&n.to_string()));
            rig.run_for(ms(20));
        }
        wires[5].reset();
        rig.run_for(secs(1));

        assert_eq!(room.borrow().len(), 5);
        for wire in &wires[..5] {
            let input = wire.read();
            let end = input.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            let heard: Vec<_> = frames(&input[end..]).0.into_iter().map(|f| f.2).collect();
            let expected: Vec<_> = (0..50).map(|n: u32| n.to_string().into_bytes()).collect();
            assert_eq!(heard, expected, "seed {seed}");
        }
        drop(wires);
        rig.end();
    }
}

// ---- Who is let in, and how much ----

#[test]
fn origins_subprotocols_and_routes_decide() {
    let config = ws::Config::default().protocols(&["chat.v2", "chat.v1"]);
    let rig = rig(http::Server::new()
        .ws_with("/chat", config, |_| Ok(Echo))
        .ws("/members", |req| match req.header("authorization") {
            Some(_) => Ok(Echo),
            None => Err(ws::Refuse(401)),
        })
        .ws("/any", |_| Ok(Echo)));
    let ask = |path: &str, more: &str| rig.ask(&rig.connect(), ws_request(path, more));

    assert!(ask("/any", "Origin: http://x\r\n").starts_with("HTTP/1.1 101 "));
    assert!(ask("/any", "Origin: http://evil.example\r\n").starts_with("HTTP/1.1 403 "));
    assert!(ask("/members", "").starts_with("HTTP/1.1 401 "));
    assert!(ask("/members", "Authorization: x\r\n").starts_with("HTTP/1.1 101 "));
    let answer = ask("/chat", "Sec-WebSocket-Protocol: other, chat.v1\r\n");
    assert!(answer.contains("Sec-WebSocket-Protocol: chat.v1"), "{answer}");
    assert!(!ask("/chat", "").contains("Sec-WebSocket-Protocol"));

    let old = ws_request("/any", "").replace("Version: 13", "Version: 8");
    let answer = rig.ask(&rig.connect(), old);
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("Sec-WebSocket-Version: 13"));
    let none = ws_request("/any", "").replace("dGhl", "!");
    assert!(rig.ask(&rig.connect(), none).starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_refused_connection_goes_on_with_http() {
    let rig = rig(echo().ws("/no", |_| Err::<Echo, _>(ws::Refuse(403))));
    let wire = rig.connect();

    let answer = rig.ask(&wire, ws_request("/no", "") + &get("/"));

    let statuses: Vec<_> = responses(answer.as_bytes()).into_iter().map(|r| r.0).collect();
    assert_eq!(statuses, [403, 200]);
}

#[test]
fn limits_hold_for_a_route() {
    let config = ws::Config::default().message(100).frame(60).fragments(3);
    let rig = rig(echo().ws_with("/small", config, |_| Ok(Echo)));
    let refused = |bytes: Vec<u8>| {
        let wire = rig.upgrade("/small");
        wire.write(&bytes);
        rig.run_for(ms(1));
        close_code(&wire.read())
    };
    let part = |op, last, n: usize| frame(op, last, &vec![b'x'; n]);

    assert_eq!(refused(part(TEXT, true, 60)), None);
    assert_eq!(refused(part(TEXT, true, 61)), Some(1009));
    assert_eq!(refused([part(TEXT, false, 60), part(0, true, 41)].concat()), Some(1009));
    assert_eq!(refused([part(TEXT, false, 60), part(0, true, 40)].concat()), None);
    let four = [part(TEXT, false, 1), part(0, false, 1), part(0, false, 1), part(0, true, 1)];
    assert_eq!(refused(four.concat()), Some(1008));
    assert_eq!(refused(frame(TEXT, true, b"\xff")), Some(1007));
    assert_eq!(refused(vec![0x81, 1, b'x']), Some(1002), "unmasked");
    let wire = rig.upgrade("/echo");
    wire.write(&part(TEXT, true, 5_000));
    rig.pump();
    assert_eq!(messages(&wire)[0].len(), 5_000, "another route has its own");
}

#[test]
fn a_message_in_single_bytes_is_the_same_message() {
    let rig = rig(echo());
    let wire = rig.upgrade("/echo");
    let mut bytes = frame(TEXT, false, "häl".as_bytes());
    bytes.extend(frame(0, true, "fte".as_bytes()));
    for byte in bytes {
        wire.write(&[byte]);
        rig.pump();
    }
    assert_eq!(messages(&wire), ["hälfte"]);
}

#[test]
fn what_is_no_websocket_says_misuse() {
    let count = Count::default();
    let (c, ids) = (count.clone(), Rc::new(RefCell::new(Vec::<ConnId>::new())));
    let i = Rc::clone(&ids);
    let rig = rig(http::Server::new().get("/", move |_, res| {
        c.add();
        i.borrow_mut().push(res.id().conn());
        res.text("x")
    }));
    let wire = rig.connect();
    rig.ask(&wire, get("/"));
    let id = ids.borrow()[0];

    assert!(matches!(rig.rt.send(id, ws::Message::Text("x")), Err(SendError::Misuse(_))));
    assert!(matches!(rig.rt.close(id, 1000), Err(SendError::Misuse(_))));
    assert!(matches!(rig.rt.send_bytes(id, b"x"), Err(SendError::Misuse(_))));

    assert_eq!(response(&rig.ask(&wire, get("/"))).1, "x");
    assert_eq!(count.get(), 2);
}
