//! One message to many: order, slow peers, and who has gone.

use lodger::sim::Wire;
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
        rig.run_for(ms(1));
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
