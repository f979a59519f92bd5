//! One message to many: order, slow peers, and who has gone.

use std::time::Duration;

use lodger::sim::{Faults, Wire};
use lodger::{Delivery, Limits, Reason, WhenFull, ws};
use lodger_backend::Trigger;

use crate::kit::*;

/// A guest of a room; what it says goes to all.
struct Guest(ws::Broadcast, Log);

impl ws::Handler for Guest {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        self.0.join(cx.runtime(), cx.id()).unwrap();
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        match message {
            ws::Message::Text("leave") => assert!(self.0.leave(cx.id())),
            ws::Message::Text("alone") => cx.send(ws::Message::Text("alone")).unwrap(),
            ws::Message::Text("close") => cx.close(1000),
            ws::Message::Text("others") => {
                self.0.send_except(cx.runtime(), cx.id(), message).unwrap();
            }
            ws::Message::Text("begin") => {
                cx.send_chunk(ws::Chunk::new(ws::Kind::Text, true, false, b"be")).unwrap();
            }
            ws::Message::Text("end") => {
                cx.send_chunk(ws::Chunk::new(ws::Kind::Text, false, true, b"gin")).unwrap();
            }
            _ => _ = self.0.send(cx.runtime(), message).unwrap(),
        }
    }

    fn writable(&mut self, _cx: &mut ws::Cx<'_>, _room: usize) {
        self.1.add("writable");
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        self.1.closed(why);
    }
}

struct Room {
    rig: Rig,
    all: ws::Broadcast,
    log: Log,
}

impl Room {
    fn new(trigger: Trigger, all: ws::Broadcast) -> Self {
        let mut limits = Limits::default();
        limits.io.queue_high = 4000;
        limits.io.queue_low = 1000;
        let (rig, log) = (Rig::limited(trigger, limits), Log::default());
        let (inner, inner_log) = (all.clone(), log.clone());
        let server = lodger::http::Server::new()
            .ws("/", move |_| Ok(Guest(inner.clone(), inner_log.clone())));
        rig.serve(server);
        Self { rig, all, log }
    }

    fn guests<const N: usize>(&self) -> [Wire; N] {
        std::array::from_fn(|_| self.rig.upgrade("/"))
    }

    /// Sends from host code.
    fn send(&self, text: &str) -> Delivery {
        self.all.send(&self.rig.rt, ws::Message::Text(text)).unwrap()
    }
}

/// Counts of a delivery: sent, waiting, dropped, closed, gone.
fn counts(d: Delivery) -> [usize; 5] {
    [d.sent, d.waiting, d.dropped, d.closed, d.gone]
}

/// A message of 100 bytes that tells its number.
fn numbered(n: usize) -> String {
    format!("{n:0100}")
}

fn numbers(wire: &Wire) -> Vec<usize> {
    messages(wire).iter().map(|text| text.parse().unwrap()).collect()
}

/// Reads until nothing more comes.
fn drained(rig: &Rig, wire: &Wire) -> Vec<u8> {
    wire.set_window(1 << 20);
    let mut all = Vec::new();
    loop {
        rig.run_for(ms(100));
        let part = wire.read();
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let (frames, n) = frames(bytes);
    assert_eq!(n, bytes.len(), "a frame in pieces");
    let texts = frames.into_iter().filter(|(op, ..)| *op <= TEXT);
    texts.map(|(.., payload)| String::from_utf8(payload).unwrap()).collect()
}

#[test]
fn all_hear_what_one_says_also_the_one() {
    for trigger in TRIGGERS {
        let room = Room::new(trigger, ws::Broadcast::new(WhenFull::DropNewest));
        let [a, b, c] = room.guests();

        a.write(&say("hello"));
        b.write(&say("others"));
        room.rig.pump();

        assert_eq!(messages(&a), ["hello", "others"]);
        assert_eq!(messages(&b), ["hello"]);
        assert_eq!(messages(&c), ["hello", "others"]);
        room.rig.end();
    }
}

#[test]
fn host_code_and_timers_send_and_the_message_goes_out_at_once() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
    let [a, b] = room.guests();
    let all = room.all.clone();
    room.rig.rt.after(ms(5), move |h| {
        all.send(h, ws::Message::Binary(&[7; 2000])).unwrap();
    });

    assert_eq!(counts(room.send("now")), [2, 0, 0, 0, 0]);
    room.rig.pump();
    let now = (messages(&a), messages(&b));
    room.rig.run_for(ms(5));

    assert_eq!(now, (vec!["now".to_owned()], vec!["now".to_owned()]));
    for wire in [a, b] {
        let (frames, _) = frames(&wire.read());
        assert_eq!(frames, [(BINARY, true, vec![7; 2000])]);
    }
}

#[test]
fn what_is_sent_alone_and_to_all_keeps_its_order() {
    for size in [5, 1500] {
        let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
        let [a] = room.guests();
        let long = "x".repeat(size);

        for text in ["1", &long, "alone", "2", "alone", &long] {
            a.write(&say(text));
        }
        room.rig.pump();

        assert_eq!(messages(&a), ["1", &long, "alone", "2", "alone", &long]);
    }
}

#[test]
fn those_that_have_gone_drop_off() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
    let [a, b, c, d] = room.guests();
    let ids: Vec<_> = room.rig.rt.connections(9).iter().map(|c| c.id).collect();

    a.write(&say("leave"));
    b.write(&say("close"));
    room.rig.pump();
    c.reset();
    let sent = counts(room.send("x"));
    room.rig.pump();
    let later = counts(room.send("y"));
    room.rig.pump();

    // The reset is not known before it is read or sent to.
    assert_eq!((sent[4], later[0], room.all.len()), (1, 1, 1));
    assert!(ids.iter().any(|&id| room.all.join(&room.rig.rt, id) == Err(lodger::Gone)));
    assert_eq!(messages(&d), ["x", "y"]);
    assert!(!room.all.leave(ids[2]));
}

#[test]
fn a_full_peer_misses_the_newest() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
    let [slow, fast] = room.guests();
    slow.set_window(0);

    let mut dropped = 0;
    for n in 0..100 {
        dropped += room.send(&numbered(n)).dropped;
        room.rig.pump();
    }
    let fast = numbers(&fast);
    let slow = texts(&drained(&room.rig, &slow));

    assert_eq!(fast, (0..100).collect::<Vec<_>>());
    assert_eq!(slow.len() + dropped, 100);
    assert!((30..60).contains(&slow.len()), "{}", slow.len());
    assert!(slow.iter().enumerate().all(|(n, text)| *text == numbered(n)));
}

#[test]
fn full_above_nothing_is_one_message_at_a_time() {
    let all = ws::Broadcast::new(WhenFull::DropNewest).full_above(0);
    let room = Room::new(Trigger::Edge, all);
    let [slow] = room.guests();
    slow.set_window(0);

    let dropped: usize = (0..10)
        .map(|n| {
            let d = room.send(&numbered(n)).dropped;
            room.rig.pump();
            d
        })
        .sum();

    assert_eq!((dropped, texts(&drained(&room.rig, &slow))), (9, vec![numbered(0)]));
}

#[test]
fn a_full_peer_misses_the_oldest() {
    for trigger in TRIGGERS {
        let room = Room::new(trigger, ws::Broadcast::new(WhenFull::DropOldest { messages: 5 }));
        let [slow, fast] = room.guests();
        slow.set_window(0);

        let mut dropped = 0;
        for n in 0..100 {
            dropped += room.send(&numbered(n)).dropped;
            room.rig.pump();
        }
        let fast = numbers(&fast);
        let slow = texts(&drained(&room.rig, &slow));

        assert_eq!(fast.len(), 100);
        assert_eq!(slow.len() + dropped, 100);
        let last: Vec<_> = (95..100).map(numbered).collect();
        assert!(slow.ends_with(&last), "{slow:?}");
        assert!(slow.is_sorted() && slow.len() < 20, "{}", slow.len());
        // It is a peer like any other again.
        assert_eq!(counts(room.send("0")), [2, 0, 0, 0, 0]);
        room.rig.end();
    }
}

#[test]
fn what_waits_goes_out_before_what_is_sent_alone() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropOldest { messages: 50 }));
    let [slow] = room.guests();
    slow.set_window(0);

    for n in 0..20 {
        room.send(&numbered(n));
        room.rig.pump();
    }
    slow.write(&say("alone"));
    room.rig.pump();
    let got = texts(&drained(&room.rig, &slow));

    let mut expected: Vec<_> = (0..20).map(numbered).collect();
    expected.push("alone".into());
    assert_eq!(got, expected);
}

#[test]
fn a_full_peer_is_closed_with_the_code() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::Close(1013)));
    let [slow, fast] = room.guests();
    slow.set_window(0);

    let mut closed = 0;
    for n in 0..100 {
        closed += room.send(&numbered(n)).closed;
        room.rig.pump();
    }
    let bytes = drained(&room.rig, &slow);

    assert_eq!((closed, room.all.len()), (1, 1));
    assert_eq!(close_code(&bytes), Some(1013));
    assert_eq!(numbers(&fast).len(), 100);
    room.rig.run_for(secs(5));
    assert_eq!(room.log.take(), ["closed Peer"]);
}

#[test]
fn a_message_in_chunks_is_not_cut_in_two() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropOldest { messages: 5 }));
    let [a, b] = room.guests();

    room.rig.ask(&a, say("begin"));
    let during = counts(room.send("x"));
    a.write(&say("end"));
    room.rig.pump();
    let after = counts(room.send("y"));
    room.rig.pump();

    assert_eq!((during, after), ([1, 0, 1, 0, 0], [2, 0, 0, 0, 0]));
    assert_eq!(texts(&a.read()), ["gin", "y"]);
    assert_eq!(messages(&b), ["x", "y"]);
}

#[test]
fn a_slow_peer_that_closes_leaves_nothing_behind() {
    let room = Room::new(Trigger::Level, ws::Broadcast::new(WhenFull::DropOldest { messages: 50 }));
    let [slow, gone] = room.guests();
    slow.set_window(0);
    gone.set_window(0);
    for n in 0..30 {
        room.send(&numbered(n));
        room.rig.pump();
    }

    slow.write(&say("close"));
    gone.reset();
    room.rig.pump();
    let bytes = drained(&room.rig, &slow);

    assert_eq!(close_code(&bytes), Some(1000));
    assert_eq!(texts(&bytes).len(), 30);
    assert_eq!(counts(room.send("x")), [0, 0, 0, 0, 2]);
    room.rig.end();
}

#[test]
fn a_message_over_the_limit_is_told_and_nobody_hears_it() {
    let mut limits = Limits::default();
    limits.io.send = 10;
    let rig = Rig::limited(Trigger::Edge, limits);
    let all = ws::Broadcast::new(WhenFull::DropNewest);

    assert!(all.send(&rig.rt, ws::Message::Text("0123456789x")).is_err());
    assert_eq!(all.send(&rig.rt, ws::Message::Text("0123456789")), Ok(Delivery::default()));
}

#[test]
fn many_peers_hear_it_without_a_buffer_each() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
    let guests = room.guests::<200>();

    let (_, sends) = room.rig.calls(|| {
        room.send("hello");
        assert!(room.rig.rt.connections(300).iter().all(|c| c.queued == 0));
        room.rig.pump();
    });

    assert_eq!(sends, 200);
    assert!(guests.iter().all(|guest| messages(guest) == ["hello"]));
}

#[test]
fn few_peers_hear_several_messages_in_one_send() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
    let _guests = room.guests::<10>();

    let (_, sends) = room.rig.calls(|| {
        for n in 0..5 {
            room.send(&n.to_string());
        }
        room.rig.pump();
    });

    assert_eq!(sends, 10);
}

#[test]
fn a_list_that_nobody_sends_to_forgets_those_that_have_gone() {
    let room = Room::new(Trigger::Edge, ws::Broadcast::new(WhenFull::DropNewest));
    for _ in 0..500 {
        let guest = room.rig.upgrade("/");
        guest.reset();
        room.rig.pump();
    }

    assert!(room.all.len() <= 64, "{}", room.all.len());
}

#[test]
fn a_dialog_in_a_handler_holds_up_no_message() {
    for trigger in TRIGGERS {
        let all = ws::Broadcast::new(WhenFull::DropOldest { messages: 5 });
        let rig = Rig::new(trigger);
        let (inner, world, log) = (all.clone(), rig.world.clone(), Log::default());
        let server = lodger::http::Server::new().ws(
            "/",
            hook(&log, move |cx, text| {
                let (rt, sender) = (cx.runtime().clone(), inner.clone());
                sender.join(&rt, cx.id()).unwrap();
                if text == "dialog" {
                    rt.after(ms(5), move |h| {
                        sender.send(h, ws::Message::Text("in the dialog")).unwrap();
                    });
                    rt.modal(|| run_for(&world, &rt, ms(10)));
                    inner.send(&rt, ws::Message::Text("after it")).unwrap();
                }
            }),
        );
        rig.serve(server);
        let (held, other) = (rig.upgrade("/"), rig.upgrade("/"));
        other.write(&say("join"));
        rig.pump();

        held.write(&say("dialog"));
        rig.pump();

        assert_eq!(messages(&held), ["in the dialog", "after it"], "{trigger:?}");
        assert_eq!(messages(&other), ["in the dialog", "after it"], "{trigger:?}");
        rig.end();
    }
}

/// Frames of clients are masked with a key each: one encoding does not serve them.
#[test]
#[cfg(feature = "client")]
fn clients_may_be_on_a_list_too() {
    struct Member(ws::Broadcast);
    impl ws::Handler for Member {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            self.0.join(cx.runtime(), cx.id()).unwrap();
        }
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
    }
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    let heard = log.clone();
    rig.serve(lodger::http::Server::new().ws("/", hook(&log, move |_, text| heard.add(text))));
    let all = ws::Broadcast::new(WhenFull::DropNewest);
    for _ in 0..2 {
        ws::Client::new("ws://127.0.0.1/").connect(&rig.rt, Member(all.clone())).unwrap();
    }
    rig.run_for(ms(50));
    log.take();

    for text in ["short", &"long".repeat(1000)] {
        assert_eq!(all.send(&rig.rt, ws::Message::Text(text)).unwrap().sent, 2);
        rig.run_for(ms(50));

        assert_eq!(log.take(), [text, text]);
    }
}

/// Whoever is slow, and however the system cuts what is sent: each peer hears whole messages, in
/// their order, all that is sent to it alone, and at last the latest.
#[test]
fn any_mix_of_slow_peers_hears_an_ordered_part() {
    let mut dropped = 0;
    for seed in 0..150 {
        let mut random = Rng::new(seed);
        let mut limits = Limits::default();
        (limits.io.queue_high, limits.io.queue_low) = (3000, 800);
        let trigger = TRIGGERS[seed as usize % 3];
        let rig = Rig::with(trigger, limits, seed, Faults::lossless());
        let (all, log) = (ws::Broadcast::new(WhenFull::DropOldest { messages: 4 }), Log::default());
        let inner = all.clone();
        rig.serve(
            lodger::http::Server::new().ws("/", move |_| Ok(Guest(inner.clone(), log.clone()))),
        );
        let wires: [Wire; 4] = std::array::from_fn(|_| slowly_upgraded(&rig));
        let ids: Vec<_> = rig.rt.connections(9).iter().map(|c| c.id).collect();
        let mut alone = vec![Vec::new(); wires.len()];
        let mut heard = vec![Vec::new(); wires.len()];

        for n in 0..150 {
            let (text, to) = (numbered(n), random.below(wires.len()));
            match random.below(10) {
                0 => wires[to].set_window(random.below(3) * 700),
                1 => heard[to].extend(wires[to].read()),
                2..5 if rig.rt.send(ids[to], ws::Message::Text(&text)).is_ok() => {
                    alone[to].push(text);
                }
                _ => dropped += all.send(&rig.rt, ws::Message::Text(&text)).unwrap().dropped,
            }
            rig.run_for(Duration::from_micros(random.below(500) as u64));
        }
        all.send(&rig.rt, ws::Message::Text(&numbered(999))).unwrap();

        for ((wire, heard), alone) in wires.iter().zip(&mut heard).zip(alone) {
            heard.extend(drained(&rig, wire));
            let texts = texts(heard);
            assert!(texts.is_sorted(), "seed {seed}: {texts:?}");
            assert!(alone.iter().all(|text| texts.contains(text)), "seed {seed}");
            assert_eq!(texts.last(), Some(&numbered(999)), "seed {seed}");
        }
        rig.end();
    }
    assert!(dropped > 1000, "{dropped} were dropped: the test is too gentle");
}

/// A handshake in a world that delays.
fn slowly_upgraded(rig: &Rig) -> Wire {
    let wire = rig.connect();
    wire.write(ws_request("/", "").as_bytes());
    let mut answer = String::new();
    for _ in 0..50 {
        rig.run_for(ms(100));
        answer += &text(&wire);
        if answer.ends_with("\r\n\r\n") {
            break;
        }
    }
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    wire
}
