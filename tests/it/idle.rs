//! What nobody uses costs nothing: idle connections cause no turns.

use std::time::Duration;

use lodger::http;

use crate::kit::{Echo, Rig, TRIGGERS, get, ms, secs, ws_request};

#[test]
fn a_runtime_without_work_never_turns() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new());

        assert_eq!(rig.run_for(secs(86_400)), 0);
        assert_eq!(rig.world.next_event(), None);
    }
}

#[test]
fn idle_connections_cause_no_turn_before_their_deadline() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new().get("/", |_, res| res.text("x")).ws("/ws", |_| Ok(Echo)));
        let kept: Vec<_> = (0..100).map(|_| rig.upgrade("/ws")).collect();
        let idle = rig.connect();
        rig.ask(&idle, get("/"));

        assert_eq!(rig.run_for(Duration::from_millis(14_900)), 0, "{trigger:?}");
        rig.run_for(secs(3));
        assert!(idle.is_eof());
        drop(kept);
    }
}

#[test]
fn ten_thousand_idle_deadlines_are_a_few_turns() {
    let rig = Rig::new(TRIGGERS[0]);
    rig.serve(http::Server::new().ws("/ws", |_| Ok(Echo)));
    let wires: Vec<_> = (0..10_000)
        .map(|n| {
            let wire = rig.connect();
            wire.write(ws_request("/ws", "").as_bytes());
            if n % 10 == 0 {
                // They come over a second, each at its own time.
                rig.run_for(ms(1));
            }
            wire
        })
        .collect();
    rig.pump();
    wires.iter().for_each(|wire| _ = wire.read());

    // In a minute each is pinged once and given up once.
    let batches = {
        let mut batches = 0;
        let end = rig.world.now() + secs(60);
        while let Some(at) = rig.world.next_event().filter(|at| *at <= end) {
            batches += usize::from(at > rig.world.now());
            rig.world.advance_to(at);
            rig.pump();
        }
        batches
    };

    assert_eq!(rig.rt.stats().open, 0);
    assert!(batches <= 64, "{batches} times awake");
}

#[test]
fn a_paused_reader_and_a_blocked_writer_cost_no_turns() {
    struct Paused;
    impl lodger::raw::Handler for Paused {
        fn data(&mut self, cx: &mut lodger::raw::Cx<'_>, _: &[u8]) {
            cx.pause(true);
            cx.send(&[7; 200_000]).unwrap();
        }
    }
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(lodger::raw::Server::new(|_| Some(Paused)));
        let wire = rig.connect();
        rig.ask(&wire, "x");
        wire.set_window(0);
        rig.pump();
        wire.write(&[0; 10_000]);
        rig.pump();

        assert!(rig.run_for(secs(29)) <= 1, "{trigger:?}");
        assert_eq!(wire.unread(), 10_000);
    }
}

#[test]
fn a_deadline_that_moves_later_costs_one_turn_at_most() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        rig.serve(http::Server::new().get("/", |_, res| res.text("x")));
        let wire = rig.connect();
        let mut turns = 0;
        for _ in 0..100 {
            rig.ask(&wire, get("/"));
            turns += rig.run_for(secs(1));
        }

        assert!(turns <= 100 / 7, "{turns} turns beside those for the requests");
        assert_eq!(rig.rt.stats().requests, 100);
    }
}
