//! Listeners: accepting within limits, what is wrong with the system, and how a server goes away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::sim::Wire;
use lodger::{Limits, Reason, http, raw};
use lodger_backend::Trigger;

use crate::http::{hello, keeper, rig};
use crate::kit::{Count, Log, Rig, TRIGGERS, get, hook, ms, planted, response, say, secs, text};

// ---- Accepting ----

#[test]
fn at_the_limit_accepting_pauses_until_somebody_leaves() {
    for trigger in TRIGGERS {
        let mut limits = Limits::default();
        limits.io.connections = 2;
        let rig = Rig::limited(trigger, limits);
        rig.serve(hello());
        let wires: Vec<_> = (0..3).map(|_| rig.connect()).collect();
        for wire in &wires {
            wire.write(get("/x").as_bytes());
        }
        rig.run_for(secs(1));
        assert_eq!(text(&wires[2]), "");
        let turns = rig.rt.stats().turns;
        rig.run_for(secs(5));
        assert!(rig.rt.stats().turns - turns < 3, "it waits without turns");

        wires[0].reset();
        rig.pump();

        assert_eq!(response(&text(&wires[2])).1, "/x", "{trigger:?}");
    }
}

#[test]
fn when_the_system_has_no_more_accepting_is_tried_again_by_a_timer() {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    for (trigger, errno) in TRIGGERS.into_iter().zip([EMFILE, ENFILE, ENOBUFS]) {
        let rig = Rig::new(trigger);
        rig.serve(hello());
        let old = rig.connect();
        rig.ask(&old, get("/1"));
        rig.world.fail_accepts(5, errno);
        let wire = rig.connect();
        wire.write(get("/new").as_bytes());

        let turns = rig.run_for(ms(350));
        assert!(turns < 12, "{turns} turns");
        assert_eq!(text(&wire), "");
        assert_eq!(response(&rig.ask(&old, get("/2"))).1, "/2", "others are served");
        rig.run_for(ms(300));

        assert_eq!(response(&text(&wire)).1, "/new");
        assert_eq!(rig.rt.stats().accept_pauses, 5);
    }
}

#[test]
fn a_connection_that_was_aborted_in_the_queue_stops_nobody() {
    const ECONNABORTED: i32 = 103;
    let rig = rig(hello());
    rig.world.fail_accepts(1, ECONNABORTED);
    let wire = rig.connect();

    assert_eq!(response(&rig.ask(&wire, get("/x"))).1, "/x");
    assert_eq!(rig.rt.stats().accept_pauses, 0);
}

#[test]
fn a_listener_may_be_removed_in_its_own_callback() {
    struct Nothing;
    impl raw::Handler for Nothing {
        fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
            cx.send(bytes).unwrap();
        }
    }
    for trigger in TRIGGERS {
        let (rig, count) = (Rig::new(trigger), Count::default());
        let c = count.clone();
        let id = rig.serve(raw::Server::new(move |accepted| {
            c.add();
            accepted.runtime().unlisten(accepted.listener().unwrap()).unwrap();
            accepted.runtime().dispatch().unwrap();
            Some(Nothing)
        }));
        let wires: Vec<_> = (0..3).map(|_| rig.connect()).collect();
        rig.pump();

        assert_eq!(count.get(), 1);
        assert_eq!(rig.ask(&wires[0], "echo"), "echo");
        assert!(wires[1].is_reset() && rig.world.connect(&rig.addr).is_err());
        assert!(rig.rt.unlisten(id).is_err());
        drop(wires);
        rig.end();
    }
}

#[test]
fn a_factory_may_refuse_and_may_panic() {
    struct Nothing;
    impl raw::Handler for Nothing {
        fn data(&mut self, _: &mut raw::Cx<'_>, _: &[u8]) {}
    }
    let (rig, count) = (Rig::new(Trigger::Edge), Count::default());
    let c = count.clone();
    rig.serve(raw::Server::new(move |_| match c.add() {
        1 => None,
        2 => planted(),
        _ => Some(Nothing),
    }));
    let wires: Vec<_> = (0..3).map(|_| rig.connect()).collect();
    rig.pump();

    assert_eq!(wires.iter().map(Wire::is_eof).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!((rig.rt.stats().open, rig.rt.stats().panics), (1, 1));
}

#[test]
fn five_thousand_half_open_connections_do_not_keep_another_from_being_served() {
    let rig = rig(hello());
    let half: Vec<_> = (0..5_000)
        .map(|_| {
            let wire = rig.connect();
            wire.write(b"GET / HTTP/1.1\r\nHo");
            wire
        })
        .collect();
    let wire = rig.connect();
    rig.pump();

    let turns = rig.rt.stats().turns;
    assert_eq!(response(&rig.ask(&wire, get("/x"))).1, "/x");
    assert!(rig.rt.stats().turns - turns <= 3);
    for _ in 0..11 {
        rig.ask(&wire, get("/y"));
        rig.run_for(secs(1));
    }

    assert!(half.iter().all(|w| text(w).starts_with("HTTP/1.1 408 ")));
    rig.run_for(secs(3));
    assert_eq!(rig.rt.stats().open, 1);
    drop((half, wire));
    rig.end();
}

#[test]
fn a_descriptor_closed_under_us_ends_what_it_was_and_nothing_spins() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        rig.serve(hello().ws("/ws", hook(&log, |_, _| ())));
        let wire = rig.upgrade("/ws");
        // The system forgets every socket of ours, as `close` by a stranger would have it.
        let net = rig.world.net();
        (1..20).for_each(|n| net.close(lodger_backend::Sock::from_bits(n)));
        wire.write(&say("x"));

        let turns = rig.run_for(secs(120));

        assert!(turns < 30, "{turns} turns");
        assert_eq!(log.take().len(), 2, "open and closed");
        assert_eq!(rig.rt.stats().open, 0, "{trigger:?}");
    }
}

// ---- Going away ----

#[test]
fn shutdown_says_goodbye_to_the_idle_completes_the_busy_and_waits_no_longer_than_it_was_told() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let (server, kept) = keeper();
        rig.serve(server.ws("/ws", hook(&log, |_, _| ())));
        let (idle, busy, never) = (rig.connect(), rig.connect(), rig.connect());
        let ws = rig.upgrade("/ws");
        rig.ask(&idle, get("/x"));
        rig.ask(&busy, get("/later"));
        rig.ask(&never, get("/later"));

        rig.rt.shutdown(secs(10));
        rig.pump();
        assert!(idle.is_eof(), "idle");
        assert_eq!(crate::kit::close_code(&ws.read()), Some(1001));
        assert!(rig.world.connect(&rig.addr).is_err(), "nobody listens");
        let later = kept.borrow_mut().remove(0);
        later.answer(|res| res.text("the last word")).unwrap();
        rig.pump();
        let answer = text(&busy);
        assert_eq!(response(&answer), (200, "the last word"));
        assert!(answer.to_lowercase().contains("connection: close") && busy.is_eof(), "{answer}");
        rig.run_for(secs(9));
        assert!(rig.rt.is_on() && log.take().len() == 2);

        rig.run_for(secs(2));

        assert!(!rig.rt.is_on(), "{trigger:?}");
        assert!(never.is_eof() || never.is_reset());
        drop((idle, busy, never, ws, kept));
        rig.end();
    }
}

#[test]
fn shutdown_with_nothing_open_ends_at_once() {
    let rig = rig(hello());
    rig.rt.shutdown(secs(10));
    rig.pump();
    assert!(!rig.rt.is_on());
    assert_eq!(rig.world.now().get(), 0);
    rig.end();
}

#[test]
fn unlisten_keeps_what_was_accepted() {
    let rig = Rig::new(Trigger::Edge);
    let id = rig.serve(hello());
    let wire = rig.connect();
    rig.ask(&wire, get("/1"));

    rig.rt.unlisten(id).unwrap();
    rig.pump();

    assert!(rig.world.connect(&rig.addr).is_err());
    assert_eq!(response(&rig.ask(&wire, get("/2"))).1, "/2");
    assert!(rig.rt.local_addr(id).is_none());
}

// ---- Handlers without a place ----

/// Counts its ends.
struct Counted(Rc<Cell<u32>>);

impl http::Handler for Counted {
    fn closed(&mut self, cx: &mut http::Cx<'_>, _why: Reason) {
        assert!(cx.write(b"late").is_err());
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_handler_that_never_got_into_place_hears_its_end() {
    let heard = Rc::new(Cell::new(0));
    let later = Rc::new(RefCell::new(None));
    let (kept, rig) = (Rc::clone(&later), Rig::new(Trigger::Edge));
    rig.serve(http::Server::new().get("/", move |_, res| {
        let (answer, later) = res.later();
        *kept.borrow_mut() = Some(later);
        answer
    }));
    let wire = rig.connect();
    rig.ask(&wire, get("/"));
    let later = later.take().unwrap();
    let given = Counted(Rc::clone(&heard));

    let answered = later.answer(move |res| {
        res.runtime().abort(res.id().conn());
        res.stream(given)
    });
    assert_eq!((answered, heard.get()), (Ok(()), 0));
    rig.pump();

    assert_eq!(heard.get(), 1);
    rig.end();
}
