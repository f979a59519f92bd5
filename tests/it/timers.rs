//! Timers of the host's, of handlers, and what crosses threads.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lodger::{TimerId, http};
use lodger_backend::Trigger;

use crate::kit::{Count, Log, Rig, hook, messages, ms, planted, say, secs};

fn rig() -> Rig {
    Rig::new(Trigger::Edge)
}

/// A place for the id of a timer that its own closure is to know.
fn place() -> Rc<Cell<Option<TimerId>>> {
    Rc::default()
}

#[test]
fn a_timer_runs_once_and_never_early() {
    let (rig, log) = (rig(), Log::default());
    let (l, world) = (log.clone(), rig.world.clone());
    rig.rt.after(Duration::from_micros(250), move |_| l.add(format!("{:?}", world.now().get())));

    rig.run_for(secs(1));

    assert_eq!(log.take(), ["250"]);
    assert_eq!(rig.rt.stats().timers, 0);
    rig.end();
}

#[test]
fn equal_deadlines_fire_in_the_order_they_were_armed() {
    let (rig, log) = (rig(), Log::default());
    for n in 0..10 {
        let l = log.clone();
        rig.rt.after(ms(5), move |_| l.add(n.to_string()));
    }

    rig.run_for(ms(5));

    assert_eq!(log.take().concat(), "0123456789");
}

#[test]
fn no_delay_is_the_next_turn() {
    let (rig, log) = (rig(), Log::default());
    let l = log.clone();
    rig.rt.after(ms(1), move |rt| {
        let turn = rt.stats().turns;
        let l = l.clone();
        rt.after(Duration::ZERO, move |rt| l.add((rt.stats().turns - turn).to_string()));
    });

    rig.run_for(ms(2));

    assert_eq!(log.take(), ["1"]);
}

#[test]
fn a_timer_cancelled_in_the_turn_it_is_due_never_runs() {
    let (rig, log) = (rig(), Log::default());
    let second = place();
    let (l, s) = (log.clone(), Rc::clone(&second));
    rig.rt.after(ms(1), move |rt| l.add(format!("first {}", rt.cancel(s.get().unwrap()))));
    let l = log.clone();
    second.set(Some(rig.rt.after(ms(1), move |_| l.add("second"))));

    rig.run_for(secs(1));

    assert_eq!(log.take(), ["first true"]);
    assert!(!rig.rt.cancel(second.get().unwrap()));
}

#[test]
fn a_timer_that_cancels_itself_is_not_set_again_and_is_dropped() {
    let (rig, count) = (rig(), Count::default());
    let (me, held) = (place(), Rc::new(()));
    let (m, c, h) = (Rc::clone(&me), count.clone(), Rc::clone(&held));
    me.set(Some(rig.rt.every(ms(1), move |rt| {
        let _ = &h;
        if c.add() == 3 {
            assert!(rt.cancel(m.get().unwrap()));
            assert!(!rt.cancel(m.get().unwrap()));
        }
    })));

    rig.run_for(secs(1));

    assert_eq!((count.get(), Rc::strong_count(&held)), (3, 1));
}

#[test]
fn rearmed_in_itself_a_timer_comes_when_it_was_told() {
    let (rig, log, me) = (rig(), Log::default(), place());
    let (l, m, world) = (log.clone(), Rc::clone(&me), rig.world.clone());
    me.set(Some(rig.rt.every(ms(10), move |rt| {
        l.add((world.now().get() / 1000).to_string());
        rt.rearm(m.get().unwrap(), ms(25));
    })));

    rig.run_for(ms(100));

    assert_eq!(log.take(), ["10", "35", "60", "85"]);
}

#[test]
fn a_period_neither_drifts_nor_piles_up() {
    let (rig, log) = (rig(), Log::default());
    let (l, world) = (log.clone(), rig.world.clone());
    let first = Cell::new(true);
    rig.rt.every(ms(10), move |_| {
        l.add((world.now().get() / 1000).to_string());
        if first.replace(false) {
            // The callback takes three and a half periods.
            world.advance(ms(35));
        }
    });

    rig.run_for(ms(100));

    assert_eq!(log.take(), ["10", "45", "50", "60", "70", "80", "90", "100"]);
}

#[test]
fn what_was_missed_while_the_loop_was_away_is_skipped() {
    let (rig, log) = (rig(), Log::default());
    let (l, world) = (log.clone(), rig.world.clone());
    rig.rt.every(ms(10), move |_| l.add((world.now().get() / 1000).to_string()));

    rig.world.advance(ms(45));
    rig.run_for(ms(30));

    assert_eq!(log.take(), ["45", "50", "60", "70"]);
}

#[test]
fn a_period_of_nothing_is_once_a_turn() {
    let (rig, count) = (rig(), Count::default());
    let c = count.clone();
    rig.rt.every(Duration::ZERO, move |_| _ = c.add());

    for n in 1..10 {
        rig.world.advance(Duration::from_micros(1));
        rig.rt.dispatch().unwrap();
        assert_eq!(count.get(), n);
    }
}

#[test]
fn a_panic_in_a_timer_ends_that_call_only() {
    let (rig, count) = (rig(), Count::default());
    let c = count.clone();
    rig.rt.after(ms(1), |_| planted());
    rig.rt.every(ms(1), move |_| {
        if c.add() == 2 {
            planted();
        }
    });

    rig.run_for(ms(5));

    assert_eq!((count.get(), rig.rt.stats().panics), (5, 2));
}

#[test]
fn a_thousand_due_timers_do_not_run_in_one_turn_but_all_run() {
    let (rig, count) = (rig(), Count::default());
    for _ in 0..1_000 {
        let c = count.clone();
        rig.rt.after(ms(1), move |_| _ = c.add());
    }
    rig.world.advance(ms(1));

    let turn = rig.rt.dispatch().unwrap();

    assert!(turn.again && count.get() < 1_000, "{}", count.get());
    rig.pump();
    assert_eq!(count.get(), 1_000);
}

#[test]
fn a_timer_dies_with_its_connection() {
    let (rig, log) = (rig(), Log::default());
    let armed = place();
    let a = Rc::clone(&armed);
    rig.serve(
        http::Server::new()
            .ws("/", hook(&log, move |cx, _| a.set(Some(cx.timer(7, ms(50)).unwrap())))),
    );
    let wire = rig.upgrade("/");
    wire.write(&say("arm"));
    rig.pump();

    wire.reset();
    rig.run_for(secs(1));

    assert_eq!(log.take(), ["open", "closed Io"]);
    assert!(!rig.rt.cancel(armed.get().unwrap()));
    drop(wire);
    rig.end();
}

#[test]
fn a_handler_hears_its_tags_in_order_and_may_arm_again() {
    let (rig, log) = (rig(), Log::default());
    rig.serve(http::Server::new().ws(
        "/",
        hook(&log, |cx, text| match text {
            "arm" => {
                cx.timer(2, ms(20)).unwrap();
                cx.timer(1, ms(10)).unwrap();
            }
            "timer 2" => _ = cx.timer(3, ms(5)).unwrap(),
            other => cx.send(lodger::ws::Message::Text(other)).unwrap(),
        }),
    ));
    let wire = rig.upgrade("/");
    wire.write(&say("arm"));

    rig.run_for(ms(100));

    assert_eq!(log.take(), ["open", "timer 1", "timer 2", "timer 3"]);
    assert_eq!(messages(&wire), ["timer 1", "timer 3"]);
}

#[test]
fn the_closures_of_timers_are_dropped_with_nothing_borrowed() {
    struct Calls(lodger::Handle);
    impl Drop for Calls {
        fn drop(&mut self) {
            self.0.after(ms(1), |_| ());
            self.0.stats();
        }
    }
    let rig = rig();
    let held = Calls(rig.rt.handle());
    let id = rig.rt.after(ms(1), move |_| drop(held));
    let held = Calls(rig.rt.handle());
    rig.rt.every(ms(1), move |_| _ = &held);

    assert!(rig.rt.cancel(id));
    rig.run_for(ms(1));

    rig.end();
}

#[test]
fn after_the_end_nothing_is_kept() {
    let rig = rig();
    let (held, rt) = (Rc::new(()), rig.rt.handle());
    rig.rt.end();

    let (a, b, c) = (Rc::clone(&held), Rc::clone(&held), Rc::clone(&held));
    let timer = rt.after(ms(1), move |_| drop(a));
    rt.every(ms(1), move |_| _ = &b);
    let remote = rt.remote(move |_, ()| _ = &c);

    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!rt.cancel(timer) && !rt.rearm(timer, ms(1)));
    assert_eq!(remote.post(()), Err(()));
}

// ---- Remote ----

#[test]
fn posts_before_a_turn_are_one_wake_and_all_arrive_in_order() {
    let (rig, log) = (rig(), Log::default());
    let l = log.clone();
    let remote = rig.rt.remote(move |_, n: usize| l.add(n.to_string()));
    rig.pump();
    let turns = rig.rt.stats().turns;

    for n in 0..1_001 {
        remote.post(n).unwrap();
    }
    rig.rt.dispatch().unwrap();
    let first = log.take().len();
    rig.pump();

    assert!(first < 200, "a turn is bounded");
    assert_eq!(log.take(), (first..1_001).map(|n| n.to_string()).collect::<Vec<_>>());
    let turns = rig.rt.stats().turns - turns;
    assert!(turns <= 1_001 / 64 + 2, "{turns} turns");
}

#[test]
fn a_post_from_another_thread_wakes_the_loop() {
    let (rig, log) = (rig(), Log::default());
    let l = log.clone();
    let remote = rig.rt.remote(move |_, s: String| l.add(s));
    rig.pump();

    std::thread::scope(|scope| {
        let other = remote.clone();
        scope.spawn(move || other.post("from a thread".into()).unwrap());
    });

    assert_eq!(rig.world.next_event(), Some(rig.world.now()));
    rig.pump();
    assert_eq!(log.take(), ["from a thread"]);
}

#[test]
fn the_value_comes_back_when_the_runtime_has_ended() {
    let rig = rig();
    let remote = rig.rt.remote(|_, _: String| ());
    rig.end();

    assert_eq!(remote.post("late".into()), Err("late".to_owned()));
}

#[test]
fn the_last_remote_frees_the_closure() {
    let (rig, held) = (rig(), Rc::new(()));
    let h = Rc::clone(&held);
    let remote = rig.rt.remote(move |_, ()| _ = &h);
    let other = remote.clone();
    drop(remote);
    rig.pump();
    assert_eq!(Rc::strong_count(&held), 2);

    other.post(()).unwrap();
    drop(other);
    rig.pump();

    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_panic_on_a_value_loses_that_value_only() {
    let (rig, log) = (rig(), Log::default());
    let l = log.clone();
    let remote =
        rig.rt.remote(move |_, n: u8| if n == 1 { planted() } else { l.add(n.to_string()) });

    (0..3).for_each(|n| remote.post(n).unwrap());
    rig.pump();

    assert_eq!(log.take(), ["0", "2"]);
}

#[test]
fn jobs_run_on_the_loop_and_may_post_more() {
    let (rig, count) = (rig(), Count::default());
    let jobs = rig.rt.remote_jobs();
    let again = jobs.clone();
    let second = move |_: &lodger::Handle| assert!(again.post(Box::new(|rt| rt.end())).is_ok());
    assert!(jobs.post(Box::new(second)).is_ok());
    let c = count.clone();
    rig.rt.after(secs(1), move |_| _ = c.add());

    rig.run_for(secs(2));

    assert!(!rig.rt.is_on());
    assert_eq!(count.get(), 0);
}

#[test]
fn the_counters_tell_what_was_done() {
    let rig = rig();
    rig.serve(http::Server::new().get("/", |_, res| res.text("hi")));
    let wire = rig.connect();
    rig.ask(&wire, crate::kit::get("/"));
    rig.rt.after(ms(3), |_| ());
    rig.run_for(ms(10));

    let stats = rig.rt.stats();
    assert_eq!((stats.accepted, stats.open, stats.requests), (1, 1, 1));
    assert_eq!(stats.received, crate::kit::get("/").len() as u64);
    assert!(stats.sent > 0 && stats.late.buckets()[0] >= 1, "{stats:?}");
    assert!(stats.timers >= 1, "the connection's deadline");
}

#[test]
fn the_list_shows_each_timer_and_when_it_is_due() {
    let rig = rig();
    let listed = Rc::new(Cell::new(("", Duration::MAX)));
    let seen = Rc::clone(&listed);
    let once = rig.rt.after(ms(70), |_| {});
    rig.rt.every(ms(20), move |rt| {
        let me = &rt.timers(9)[1];
        seen.set((me.kind, me.due_in));
    });

    rig.run_for(ms(50));

    let all = rig.rt.timers(9);
    let shown: Vec<_> = all.iter().map(|t| (t.kind, t.due_in, t.period)).collect();
    assert_eq!(shown, [("once", ms(20), None), ("every", ms(10), Some(ms(20)))]);
    assert_eq!((all[0].id, rig.rt.timers(1).len()), (once, 1));
    assert_eq!(listed.get(), ("running", Duration::ZERO));
    rig.rt.cancel(once);
    assert_eq!(rig.rt.timers(9).len(), 1);
    rig.end();
}
