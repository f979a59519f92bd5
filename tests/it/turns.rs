//! What one turn may take, and how a runtime ends in odd places.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use lodger::{Budget, Limits, Reason, http, raw, ws};
use lodger_backend::Trigger;

use crate::kit::{Count, Log, Rig, TRIGGERS, get, hook, ms, response, responses, say, secs, text};

#[test]
fn a_turn_serves_no_more_connections_than_its_budget() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new().get("/", |_, res| res.text("x")));
        let wires: Vec<_> = (0..200).map(|_| rig.connect()).collect();
        rig.pump();
        wires.iter().for_each(|wire| wire.write(get("/").as_bytes()));

        let turn = rig.rt.dispatch().unwrap();
        assert!(turn.again && rig.rt.stats().requests <= 64, "{}", rig.rt.stats().requests);
        let before = rig.rt.stats().requests;
        rig.rt.step(Some(Duration::ZERO), Budget { ops: 1, ..Budget::default() }).unwrap();
        assert_eq!(rig.rt.stats().requests, before + 1);
        assert!(rig.rt.dispatch().unwrap().deadline.is_some());
        rig.pump();

        assert_eq!(rig.rt.stats().requests, 200, "{trigger:?}");
    }
}

#[test]
fn a_turn_ends_when_its_time_is_over() {
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    let world = rig.world.clone();
    rig.serve(
        http::Server::new()
            .ws("/", hook(&log, move |_, _| world.advance(Duration::from_micros(200)))),
    );
    let wires: Vec<_> = (0..64).map(|_| rig.upgrade("/")).collect();
    wires.iter().for_each(|wire| wire.write(&say("x")));
    let (begin, before) = (rig.world.now(), rig.rt.stats().messages);

    assert!(rig.rt.dispatch().unwrap().again);

    assert!(rig.world.now().since(begin) <= Duration::from_micros(8 * 200));
    assert!(rig.rt.stats().messages - before <= 8);
    rig.pump();
    assert_eq!(rig.rt.stats().messages - before, 64);
}

#[test]
fn many_messages_in_one_read_do_not_hold_the_host() {
    for trigger in TRIGGERS {
        let (rig, log, count) = (Rig::new(trigger), Log::default(), Count::default());
        let (world, c) = (rig.world.clone(), count.clone());
        rig.serve(http::Server::new().ws(
            "/",
            hook(&log, move |_, text| {
                assert_eq!(text, (c.add() - 1).to_string());
                world.advance(Duration::from_micros(100));
            }),
        ));
        let wire = rig.upgrade("/");
        let all: Vec<u8> = (0..2_000).flat_map(|n: u32| say(&n.to_string())).collect();
        wire.write(&all);

        let mut longest = Duration::ZERO;
        while count.get() < 2_000 {
            let begin = rig.world.now();
            assert!(rig.rt.dispatch().unwrap().again || count.get() == 2_000);
            longest = longest.max(rig.world.now().since(begin));
        }

        // The clock is looked at now and then, not after each message.
        assert!(longest <= ms(10), "{trigger:?} {longest:?}");
    }
}

#[test]
fn many_slow_timers_do_not_hold_the_host() {
    let (rig, count) = (Rig::new(Trigger::Edge), Count::default());
    for _ in 0..200 {
        let (c, world) = (count.clone(), rig.world.clone());
        rig.rt.after(ms(1), move |_| {
            c.add();
            world.advance(ms(1));
        });
    }
    rig.world.advance(ms(1));

    assert!(rig.rt.dispatch().unwrap().again);

    assert!(count.get() <= 8, "{}", count.get());
    rig.pump();
    assert_eq!(count.get(), 200);
}

#[test]
fn a_raw_stream_that_was_paused_hears_its_end() {
    struct Pauses(Log);
    impl raw::Handler for Pauses {
        fn open(&mut self, cx: &mut raw::Cx<'_>) {
            cx.pause(true);
            cx.timer(1, ms(10)).unwrap();
        }
        fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
            self.0.add(String::from_utf8_lossy(bytes));
            cx.pause(true);
            cx.timer(1, ms(10)).unwrap();
        }
        fn end(&mut self, cx: &mut raw::Cx<'_>) {
            self.0.add("end");
            cx.send(b"bye").unwrap();
            cx.close();
        }
        fn timer(&mut self, cx: &mut raw::Cx<'_>, _: u64) {
            cx.pause(false);
        }
        fn closed(&mut self, _: &mut raw::Cx<'_>, why: Reason) {
            self.0.closed(why);
        }
    }
    for trigger in TRIGGERS {
        for first in ["", "data"] {
            let (rig, log) = (Rig::new(trigger), Log::default());
            let l = log.clone();
            rig.serve(raw::Server::new(move |_| Some(Pauses(l.clone()))));
            let wire = rig.connect();
            wire.write(first.as_bytes());
            wire.close();
            rig.run_for(secs(1));

            let heard = log.take();
            let expected = ["data", "end", "closed Done"];
            assert_eq!(heard, expected[usize::from(first.is_empty())..], "{trigger:?}");
            assert_eq!(text(&wire), "bye");
            drop(wire);
            rig.end();
        }
    }
}

#[test]
fn what_waits_for_all_together_is_bounded() {
    let mut limits = Limits::default();
    limits.io.stash = 50_000;
    let rig = Rig::limited(Trigger::Edge, limits);
    let kept: Rc<RefCell<Vec<http::Later>>> = Rc::default();
    let k = Rc::clone(&kept);
    rig.serve(http::Server::new().get("/", move |_, res| {
        let (answer, later) = res.later();
        k.borrow_mut().push(later);
        answer
    }));
    let wires: Vec<_> = (0..10).map(|_| rig.connect()).collect();
    for wire in &wires {
        wire.write(get("/").repeat(400).as_bytes());
        rig.pump();
    }

    let open = rig.rt.stats().open;
    assert!((3..=5).contains(&open), "{open} connections hold 10,000 bytes each");
}

#[test]
fn a_client_that_ends_its_side_while_its_answer_is_made_has_gone() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let kept: Rc<RefCell<Vec<http::Later>>> = Rc::default();
        let k = Rc::clone(&kept);
        rig.serve(http::Server::new().get("/", move |_, res| {
            let (answer, later) = res.later();
            k.borrow_mut().push(later);
            answer
        }));
        let wire = rig.connect();
        wire.write(get("/").as_bytes());
        wire.close();
        rig.pump();

        let later = kept.borrow_mut().pop().unwrap();
        assert!(later.answer(|res| res.text("late")).is_err(), "{trigger:?}");
        assert_eq!(rig.rt.stats().open, 0);
    }
}

#[test]
fn ended_while_detached_everybody_hears_it() {
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    rig.serve(http::Server::new().ws("/", hook(&log, |_, _| ())));
    let wire = rig.upgrade("/");
    rig.rt.detach();
    rig.rt.end();
    rig.rt.attach();

    assert!(!rig.rt.is_on());
    assert_eq!(log.take(), ["open", "closed Shutdown"]);
    drop(wire);
    rig.end();
}

#[test]
fn shutdown_in_a_callback_completes_that_answer() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new().get("/", |_, res| {
            res.runtime().shutdown(secs(10));
            res.text("last")
        }));
        let (idle, wire) = (rig.connect(), rig.connect());
        rig.pump();
        wire.write((get("/") + &get("/")).as_bytes());
        rig.run_for(secs(1));

        let answers = responses(&wire.read());
        assert_eq!(answers, [(200, b"last".to_vec())], "{trigger:?}");
        assert!(idle.is_eof());
        drop((idle, wire));
        rig.run_for(secs(5));
        assert!(!rig.rt.is_on());
        rig.end();
    }
}

#[test]
fn handlers_may_call_everything_from_closed_while_the_runtime_ends() {
    struct Stubborn(Rc<Cell<usize>>);
    impl ws::Handler for Stubborn {
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
        fn closed(&mut self, cx: &mut ws::Cx<'_>, _: Reason) {
            let rt = cx.runtime().clone();
            let held = Rc::clone(&self.0);
            rt.after(ms(1), move |_| held.set(99));
            assert!(rt.listen("127.0.0.1:99", http::Server::new()).is_err());
            rt.shutdown(ms(1));
            rt.detach();
            rt.attach();
            rt.end();
            rt.dispatch().unwrap();
            self.0.set(self.0.get() + 1);
        }
    }
    let rig = Rig::new(Trigger::Edge);
    let told = Rc::new(Cell::new(0));
    let t = Rc::clone(&told);
    rig.serve(http::Server::new().ws("/", move |_| Ok(Stubborn(Rc::clone(&t)))));
    let wires: Vec<_> = (0..5).map(|_| rig.upgrade("/")).collect();

    rig.end();

    assert_eq!((told.get(), Rc::strong_count(&told)), (5, 1));
    drop(wires);
}

#[test]
fn two_runtimes_in_one_world_do_not_meet() {
    let a = Rig::new(Trigger::Edge);
    let b = lodger::Runtime::with(a.world.driver(), a.world.net(), Limits::default());
    a.serve(http::Server::new().get("/", |_, res| res.text("a")));
    b.listen("127.0.0.1:81", http::Server::new().get("/", |_, res| res.text("b"))).unwrap();
    let refused = b.listen("127.0.0.1:80", http::Server::new()).unwrap_err();
    assert_eq!(refused.error.kind(), std::io::ErrorKind::AddrInUse);

    let wires = [81, 80].map(|port| {
        let at = lodger_backend::Addr::parse(&format!("127.0.0.1:{port}")).unwrap();
        let wire = a.world.connect(&at).unwrap();
        wire.write(get("/").as_bytes());
        wire
    });
    for _ in 0..10 {
        a.rt.dispatch().unwrap();
        b.dispatch().unwrap();
    }

    assert_eq!(wires.map(|wire| response(&text(&wire)).1.to_owned()), ["b", "a"]);
}
