//! A handler that runs its host's loop: everybody else is served, its own connection waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::sim::World;
use lodger::{ConnId, Handle, Runtime, SendError, http, ws};
use lodger_backend::Trigger;

use crate::kit::{
    Count, Echo, Hook, Log, Rig, TRIGGERS, frame, get, hook, messages, ms, pump, run_for, say, secs,
};

/// The server of most tests: an echo, and whatever `f` does with a message.
fn serve(rig: &Rig, log: &Log, f: impl Fn(&mut ws::Cx<'_>, &str) + Clone + 'static) {
    rig.serve(
        http::Server::new()
            .get("/", |_, res| res.text("served"))
            .ws("/echo", |_| Ok(Echo))
            .ws("/hook", hook(log, f)),
    );
}

/// Runs the host's loop from inside a callback, as a modal dialog does.
fn dialog(world: &World, rt: &Handle, millis: u64) {
    rt.modal(|| run_for(world, rt, ms(millis)));
}

#[test]
fn a_handler_that_holds_its_payload_runs_the_loop() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let other: Rc<RefCell<Option<lodger::sim::Wire>>> = Rc::default();
        let (world, l, o) = (rig.world.clone(), log.clone(), Rc::clone(&other));
        serve(&rig, &log, move |cx, text| {
            let (rt, before) = (cx.runtime().clone(), text.to_owned());
            let (l2, w2) = (l.clone(), world.clone());
            rt.after(ms(10), move |_| l2.add(format!("timer at {}", w2.now().get() / 1000)));
            let other = o.borrow();
            let other = other.as_ref().unwrap();
            other.write(&say("from another"));
            rt.modal(|| {
                for _ in 0..20 {
                    run_for(&world, &rt, ms(10));
                    messages(other).into_iter().for_each(|m| l.add(m));
                }
            });
            assert_eq!(text, before, "the payload is still held");
            cx.send(ws::Message::Text(text)).unwrap();
        });
        let held = rig.upgrade("/hook");
        *other.borrow_mut() = Some(rig.upgrade("/echo"));

        held.write(&say("the payload that is held"));
        rig.pump();

        assert_eq!(log.take(), ["open", "timer at 10", "from another"]);
        assert_eq!(rig.world.now().get(), 200_000);
        assert_eq!(messages(&held), ["the payload that is held"]);
        assert!(rig.rt.stats().nested > 0);
        drop((held, other));
        rig.end();
    }
}

#[test]
fn what_was_harvested_before_a_dialog_is_served_in_it() {
    for trigger in TRIGGERS {
        for with_modal in [true, false] {
            let (rig, log) = (Rig::new(trigger), Log::default());
            let (world, l) = (rig.world.clone(), log.clone());
            serve(&rig, &log, move |cx, text| {
                let rt = cx.runtime().clone();
                l.add(format!("begin {text}"));
                if text == "1" && with_modal {
                    dialog(&world, &rt, 30);
                } else if text == "1" {
                    // A host with a hook before it blocks asks there.
                    assert!(rt.pending().work);
                    rt.dispatch().unwrap();
                }
                l.add(format!("end {text}"));
            });
            let wires: Vec<_> = (0..3).map(|_| rig.upgrade("/hook")).collect();
            log.take();

            for (n, wire) in wires.iter().enumerate() {
                wire.write(&say(&(n + 1).to_string()));
            }
            rig.pump();

            assert_eq!(log.take(), ["begin 1", "begin 2", "end 2", "begin 3", "end 3", "end 1"]);
        }
    }
}

#[test]
fn three_deep_with_timers_at_every_depth_and_bytes_in_order() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let wires: Rc<RefCell<Vec<lodger::sim::Wire>>> = Rc::default();
        let (world, l, w) = (rig.world.clone(), log.clone(), Rc::clone(&wires));
        serve(&rig, &log, move |cx, text| {
            let rt = cx.runtime().clone();
            l.add(text);
            let Some(depth) = text.strip_prefix("deep ") else { return };
            let depth: usize = depth.parse().unwrap();
            let l2 = l.clone();
            rt.after(ms(5), move |_| l2.add(format!("timer {depth}")));
            let held = text.to_owned();
            {
                // More for this one arrives while it is busy, and the next goes deeper.
                let wires = w.borrow();
                wires[depth].write(&say(&format!("more {depth}")));
                if let Some(next) = wires.get(depth + 1) {
                    next.write(&say(&format!("deep {}", depth + 1)));
                }
            }
            dialog(&world, &rt, 10);
            assert_eq!(text, held);
            cx.send(ws::Message::Text(&held)).unwrap();
        });
        for _ in 0..3 {
            let wire = rig.upgrade("/hook");
            wires.borrow_mut().push(wire);
        }
        log.take();

        wires.borrow()[0].write(&[say("deep 0"), say("second")].concat());
        rig.run_for(secs(1));

        let heard = log.take();
        let timers: Vec<_> = heard.iter().filter(|l| l.starts_with("timer")).collect();
        assert_eq!(timers.len(), 3, "{heard:?}");
        let place = |what: &str| heard.iter().position(|l| l == what).unwrap();
        assert!(place("deep 0") < place("deep 1") && place("deep 1") < place("deep 2"));
        assert!(place("deep 2") < place("timer 0"), "timers of all depths run in the deepest");
        assert!(place("deep 0") < place("second") && place("second") < place("more 0"));
        for (n, wire) in wires.borrow().iter().enumerate() {
            assert_eq!(messages(wire), [format!("deep {n}")]);
        }
        wires.borrow_mut().clear();
        rig.end();
    }
}

#[test]
fn at_the_limit_a_turn_collects_and_does_not_ask() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let wires: Rc<RefCell<Vec<lodger::sim::Wire>>> = Rc::default();
        let (l, w) = (log.clone(), Rc::clone(&wires));
        serve(&rig, &log, move |cx, text| {
            let rt = cx.runtime().clone();
            l.add(text);
            let depth: usize = text.parse().unwrap();
            let wires = w.borrow();
            let Some(next) = wires.get(depth + 1) else { return };
            next.write(&say(&(depth + 1).to_string()));
            let turn = rt.modal(|| rt.dispatch().unwrap());
            if turn.at_limit {
                l.add("limit");
                assert!(!turn.again);
                assert!(!rt.pending().work, "the host would spin");
            }
        });
        for _ in 0..5 {
            let wire = rig.upgrade("/hook");
            wires.borrow_mut().push(wire);
        }
        log.take();

        wires.borrow()[0].write(&say("0"));
        rig.pump();

        assert_eq!(log.take(), ["0", "1", "2", "3", "limit", "4"]);
        assert_eq!(rig.rt.stats().at_limit, 1);
    }
}

#[test]
fn want_write_alone_is_answered_once() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        serve(&rig, &log, |cx, _| {
            cx.want_write();
            cx.want_write();
        });
        let wire = rig.upgrade("/hook");
        log.take();

        wire.write(&say("x"));
        rig.run_for(secs(1));

        assert_eq!(log.take(), ["writable"]);
    }
}

/// Serves one hook whose message `text` makes `f` run; gives what it heard and the second peer.
fn ends(f: impl Fn(&mut ws::Cx<'_>, &World) + Clone + 'static) {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let (world, l, f) = (rig.world.clone(), log.clone(), f.clone());
        serve(&rig, &log, move |cx, text| {
            l.add(text);
            if text == "end" {
                f(cx, &world);
                assert_eq!(cx.send(ws::Message::Text("late")), Err(SendError::Gone));
                l.add("returned");
            }
        });
        let wire = rig.upgrade("/hook");
        wire.write(&[say("before"), say("end"), say("never heard")].concat());

        rig.run_for(secs(10));

        let heard = log.take();
        assert_eq!(heard[..4], ["open", "before", "end", "returned"]);
        assert!(heard.len() == 5 && heard[4].starts_with("closed"), "{trigger:?} {heard:?}");
        assert!(!messages(&wire).contains(&"late".to_owned()));
        drop(wire);
        rig.end();
    }
}

#[test]
fn aborted_in_its_own_handler_it_hears_closed_after_it_has_returned() {
    ends(|cx, _| cx.abort());
}

#[test]
fn aborted_from_above_while_on_the_stack_it_hears_closed_after_it_has_returned() {
    ends(|cx, world| {
        let (rt, id) = (cx.runtime().clone(), cx.id());
        rt.after(ms(1), move |rt| rt.abort(id));
        dialog(world, &rt, 10);
        assert!(!rt.is_open(id));
    });
}

#[test]
fn reset_by_its_peer_in_a_dialog_it_still_hears_closed_once() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let wire: Rc<RefCell<Option<lodger::sim::Wire>>> = Rc::default();
        let (world, w) = (rig.world.clone(), Rc::clone(&wire));
        serve(&rig, &log, move |cx, _| {
            w.borrow().as_ref().unwrap().reset();
            dialog(&world, &cx.runtime().clone(), 10);
        });
        *wire.borrow_mut() = Some(rig.upgrade("/hook"));
        wire.borrow().as_ref().unwrap().write(&say("x"));

        rig.run_for(secs(1));

        assert_eq!(log.take(), ["open", "closed Io"]);
        wire.borrow_mut().take();
        rig.end();
    }
}

#[test]
fn closing_itself_is_polite_and_bounded() {
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    serve(&rig, &log, |cx, _| cx.close_with(4000, "enough"));
    let wire = rig.upgrade("/hook");

    wire.write(&say("x"));
    rig.pump();
    let (all, _) = crate::kit::frames(&wire.read());
    assert_eq!(all, [(crate::kit::CLOSE, true, b"\x0f\xa0enough".to_vec())]);
    assert_eq!(log.take(), ["open"], "the peer has not answered");
    rig.run_for(secs(5));

    assert_eq!(log.take().len(), 1, "closed, though the peer never answers");
    assert!(wire.is_eof() || wire.is_reset());
}

#[test]
fn an_old_id_is_gone_when_its_slot_is_used_again() {
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    let ids: Rc<RefCell<Vec<ConnId>>> = Rc::default();
    let i = Rc::clone(&ids);
    serve(&rig, &log, move |cx, _| i.borrow_mut().push(cx.id()));
    for _ in 0..3 {
        let wire = rig.upgrade("/hook");
        wire.write(&say("x"));
        rig.pump();
        wire.reset();
        rig.pump();
    }
    let live = rig.upgrade("/hook");
    rig.pump();
    live.read();

    for id in ids.borrow().iter().copied() {
        assert_eq!(rig.rt.send(id, ws::Message::Text("stale")), Err(SendError::Gone));
        assert_eq!(rig.rt.close(id, 1000), Err(SendError::Gone));
        assert!(rig.rt.want_write(id).is_err() && rig.rt.pause(id, true).is_err());
        assert!(!rig.rt.is_open(id));
        rig.rt.abort(id);
    }
    rig.pump();
    assert_eq!(live.read(), b"", "whoever is in the slot now notices nothing");
    let ids = ids.borrow();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn dropped_from_inside_two_deep_everybody_hears_closed() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let owner: Rc<RefCell<Option<Runtime>>> = Rc::default();
        let wires: Rc<RefCell<Vec<lodger::sim::Wire>>> = Rc::default();
        let (l, o, w) = (log.clone(), Rc::clone(&owner), Rc::clone(&wires));
        serve(&rig, &log, move |cx, text| {
            let rt = cx.runtime().clone();
            if text == "outer" {
                w.borrow()[1].write(&say("inner"));
                rt.modal(|| rt.dispatch().unwrap());
            } else {
                drop(o.borrow_mut().take());
            }
            assert_eq!(cx.send(ws::Message::Text("late")), Err(SendError::Gone));
            assert!(rt.listen("127.0.0.1:81", http::Server::new()).is_err());
            l.add(format!("returned {text}"));
        });
        for _ in 0..3 {
            let wire = rig.upgrade("/hook");
            wires.borrow_mut().push(wire);
        }
        log.take();
        let Rig { world, rt, .. } = rig;
        let handle = rt.handle();
        *owner.borrow_mut() = Some(rt);

        wires.borrow()[0].write(&say("outer"));
        pump(&world, &handle);

        let heard = log.take();
        assert_eq!(heard[..2], ["returned inner", "returned outer"]);
        assert_eq!(heard[2..], ["closed Shutdown"; 3]);
        assert_eq!((world.open(), world.watched(), handle.stats().open), (0, 0, 0));
        wires.borrow_mut().clear();
    }
}

#[test]
fn detached_from_inside_nothing_more_is_called_and_nothing_is_lost() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        serve(&rig, &log, move |cx, text| {
            l.add(text);
            if text == "detach" {
                cx.runtime().detach();
            }
        });
        let (a, b) = (rig.upgrade("/hook"), rig.upgrade("/hook"));
        log.take();
        let l = log.clone();
        rig.rt.after(ms(1), move |_| l.add("timer"));

        a.write(&[say("1"), say("detach"), say("2"), say("3")].concat());
        b.write(&say("other"));
        rig.pump();
        rig.world.advance(secs(1));
        rig.rt.dispatch().unwrap();
        assert_eq!(log.take(), ["1", "detach"], "{trigger:?}");

        rig.rt.attach();
        rig.run_for(ms(1));
        let mut heard = log.take();
        heard.sort();
        assert_eq!(heard, ["2", "3", "other", "timer"]);
        drop((a, b));
        rig.end();
    }
}

#[test]
fn a_listener_stops_accepting_when_its_callback_detaches() {
    let (rig, count) = (Rig::new(Trigger::Edge), Count::default());
    let c = count.clone();
    struct Nothing;
    impl lodger::raw::Handler for Nothing {
        fn data(&mut self, _: &mut lodger::raw::Cx<'_>, _: &[u8]) {}
    }
    rig.serve(lodger::raw::Server::new(move |accepted| {
        c.add();
        accepted.runtime().detach();
        Some(Nothing)
    }));
    let _wires: Vec<_> = (0..3).map(|_| rig.connect()).collect();

    rig.pump();
    assert_eq!(count.get(), 1);
    rig.rt.attach();
    rig.pump();
    assert_eq!(count.get(), 2);
}

#[test]
fn a_nested_turn_sends_what_the_handlers_below_have_written() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let wire: Rc<RefCell<Option<lodger::sim::Wire>>> = Rc::default();
        let (world, w, l) = (rig.world.clone(), Rc::clone(&wire), log.clone());
        serve(&rig, &log, move |cx, _| {
            let (rt, id) = (cx.runtime().clone(), cx.id());
            cx.send(ws::Message::Text("from the handler")).unwrap();
            rt.after(ms(1), move |rt| rt.send(id, ws::Message::Text("from a timer")).unwrap());
            dialog(&world, &rt, 10);
            messages(w.borrow().as_ref().unwrap()).into_iter().for_each(|m| l.add(m));
        });
        *wire.borrow_mut() = Some(rig.upgrade("/hook"));
        log.take();

        wire.borrow().as_ref().unwrap().write(&say("x"));
        rig.pump();

        assert_eq!(log.take(), ["from the handler", "from a timer"], "{trigger:?}");
    }
}

#[test]
fn output_of_a_connection_on_the_stack_goes_on_when_its_peer_reads() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let wire: Rc<RefCell<Option<lodger::sim::Wire>>> = Rc::default();
        let (world, w) = (rig.world.clone(), Rc::clone(&wire));
        let total = Rc::new(Cell::new(0));
        let t = Rc::clone(&total);
        serve(&rig, &log, move |cx, _| {
            let (rt, wire) = (cx.runtime().clone(), w.borrow());
            let wire = wire.as_ref().unwrap();
            wire.set_window(1_000);
            cx.send(ws::Message::Binary(&[7; 10_000])).unwrap();
            rt.modal(|| {
                for _ in 0..20 {
                    run_for(&world, &rt, ms(1));
                    t.set(t.get() + wire.read().len());
                }
            });
        });
        *wire.borrow_mut() = Some(rig.upgrade("/hook"));

        wire.borrow().as_ref().unwrap().write(&say("x"));
        rig.pump();

        assert_eq!(total.get(), 10_004, "{trigger:?}");
    }
}

#[test]
fn a_paused_handler_that_resumes_in_its_own_timer_gets_what_waited() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let l = log.clone();
        serve(&rig, &log, move |cx, text| match text {
            "pause" => {
                cx.pause(true);
                cx.timer(1, ms(5)).unwrap();
            }
            "timer 1" => cx.pause(false),
            _ => l.add(text),
        });
        let wire = rig.upgrade("/hook");
        log.take();

        wire.write(&[say("a"), say("pause"), say("b"), say("c")].concat());
        rig.pump();
        assert_eq!(log.take(), ["a"]);
        rig.run_for(ms(5));

        assert_eq!(log.take(), ["timer 1", "b", "c"], "{trigger:?}");
    }
}

#[test]
fn the_timers_of_a_busy_connection_wait_and_cost_no_turns() {
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let turns = Rc::new(Cell::new(0));
        let (world, t, l) = (rig.world.clone(), Rc::clone(&turns), log.clone());
        serve(&rig, &log, move |cx, text| {
            if text == "x" {
                let rt = cx.runtime().clone();
                cx.timer(1, ms(5)).unwrap();
                let dead = cx.timer(2, ms(5)).unwrap();
                rt.after(ms(6), move |rt| assert!(rt.cancel(dead)));
                t.set(rt.modal(|| run_for(&world, &rt, secs(1))));
                l.add("returned");
            }
        });
        let wire = rig.upgrade("/hook");
        log.take();

        wire.write(&say("x"));
        rig.pump();

        assert_eq!(log.take(), ["returned", "timer 1"], "{trigger:?}");
        assert!(turns.get() < 10, "{} turns", turns.get());
    }
}

#[test]
fn a_handler_hears_each_message_while_another_dispatches_in_its_own() {
    // Two connections that both run the loop at each message, in turn, to the limit and beyond.
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let h = Rc::clone(&heard);
        serve(&rig, &log, move |cx, text| {
            h.borrow_mut().push(text.to_owned());
            let rt = cx.runtime().clone();
            rt.modal(|| rt.dispatch().unwrap());
            cx.send(ws::Message::Text(text)).unwrap();
        });
        let wires: Vec<_> = (0..8).map(|_| rig.upgrade("/hook")).collect();

        for n in 0..50 {
            for (i, wire) in wires.iter().enumerate() {
                wire.write(&say(&format!("{i} {n}")));
            }
        }
        rig.pump();

        assert_eq!(heard.borrow().len(), 400);
        for (i, wire) in wires.iter().enumerate() {
            assert_eq!(messages(wire), (0..50).map(|n| format!("{i} {n}")).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_broadcast_may_hold_what_the_callbacks_borrow() {
    struct Member(Rc<RefCell<Vec<ConnId>>>);
    impl ws::Handler for Member {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            self.0.borrow_mut().push(cx.id());
        }
        fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
            for id in self.0.borrow().iter() {
                // No call runs user code at once, so `closed` cannot find the list borrowed.
                cx.runtime().send(*id, message).unwrap();
                cx.runtime().abort(self.0.borrow()[0]);
            }
        }
        fn closed(&mut self, cx: &mut ws::Cx<'_>, _: lodger::Reason) {
            assert_eq!(cx.send(ws::Message::Text("x")), Err(SendError::Gone));
            self.0.borrow_mut().retain(|id| *id != cx.id());
        }
    }
    let (rig, room) = (Rig::new(Trigger::Edge), Rc::default());
    let r = Rc::clone(&room);
    rig.serve(http::Server::new().ws("/room", move |_| Ok(Member(Rc::clone(&r)))));
    let wires: Vec<_> = (0..4).map(|_| rig.upgrade("/room")).collect();

    wires[2].write(&say("hello"));
    rig.pump();

    assert_eq!(room.borrow().len(), 3);
    for wire in &wires[1..] {
        assert_eq!(messages(wire), ["hello"]);
    }
}

#[test]
fn a_dialog_in_a_route_serves_the_others() {
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    let (world, other) = (rig.world.clone(), Rc::new(RefCell::new(None::<lodger::sim::Wire>)));
    let (o, l) = (Rc::clone(&other), log.clone());
    rig.serve(http::Server::new().get("/", |_, res| res.text("fast")).get(
        "/slow",
        move |req, res| {
            let rt = res.runtime().clone();
            o.borrow().as_ref().unwrap().write(get("/").as_bytes());
            rt.modal(|| run_for(&world, &rt, ms(50)));
            l.add(crate::kit::text(o.borrow().as_ref().unwrap()));
            res.text(req.path())
        },
    ));
    *other.borrow_mut() = Some(rig.connect());
    let wire = rig.connect();

    let answer = rig.ask(&wire, get("/slow"));

    assert!(answer.ends_with("/slow"), "the head is still held: {answer}");
    assert!(log.take().concat().ends_with("fast"));
}

#[test]
fn a_dialog_in_open_and_in_closed_harms_nobody() {
    struct Modal(World, Log);
    impl ws::Handler for Modal {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            dialog(&self.0, cx.runtime(), 5);
            self.1.add("open");
        }
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {
            self.1.add("message");
        }
        fn closed(&mut self, cx: &mut ws::Cx<'_>, _: lodger::Reason) {
            dialog(&self.0, cx.runtime(), 5);
            self.1.add("closed");
        }
    }
    for trigger in TRIGGERS {
        let (rig, log) = (Rig::new(trigger), Log::default());
        let (world, l) = (rig.world.clone(), log.clone());
        rig.serve(http::Server::new().ws("/", move |_| Ok(Modal(world.clone(), l.clone()))));
        let wires: Vec<_> = (0..3).map(|_| rig.connect()).collect();
        for wire in &wires {
            wire.write(&[crate::kit::ws_request("/", "").into_bytes(), say("x")].concat());
        }
        rig.run_for(secs(1));
        assert_eq!(log.take().iter().filter(|l| *l == "message").count(), 3);

        wires.iter().for_each(lodger::sim::Wire::reset);
        rig.run_for(secs(1));

        assert_eq!(log.take(), ["closed"; 3]);
        drop(wires);
        rig.end();
    }
}

#[test]
fn fragments_and_pings_for_a_busy_connection_wait_in_order() {
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    let wire: Rc<RefCell<Option<lodger::sim::Wire>>> = Rc::default();
    let (world, w, l) = (rig.world.clone(), Rc::clone(&wire), log.clone());
    serve(&rig, &log, move |cx, text| {
        l.add(text);
        if text == "busy" {
            let rt = cx.runtime().clone();
            let wire = w.borrow();
            let wire = wire.as_ref().unwrap();
            wire.write(&frame(crate::kit::TEXT, false, b"in two "));
            run_for(&world, &rt, ms(1));
            wire.write(&frame(crate::kit::PING, true, b"p"));
            wire.write(&frame(0, true, b"parts"));
            run_for(&world, &rt, ms(1));
            l.add("returns");
        }
    });
    *wire.borrow_mut() = Some(rig.upgrade("/hook"));
    log.take();

    wire.borrow().as_ref().unwrap().write(&say("busy"));
    rig.pump();

    assert_eq!(log.take(), ["busy", "returns", "in two parts"]);
    let (all, _) = crate::kit::frames(&wire.borrow().as_ref().unwrap().read());
    assert_eq!(all, [(crate::kit::PONG, true, b"p".to_vec())]);
}

#[test]
fn hooks_are_dropped_after_closed() {
    struct Last(Log);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.add("dropped");
        }
    }
    let (rig, log) = (Rig::new(Trigger::Edge), Log::default());
    let l = log.clone();
    rig.serve(http::Server::new().ws("/", move |_| {
        let last = Last(l.clone());
        Ok(Hook { log: l.clone(), f: move |_: &mut ws::Cx<'_>, _: &str| _ = &last })
    }));
    let wire = rig.upgrade("/");
    wire.write(&crate::kit::close_frame(1000));

    rig.run_for(secs(5));

    assert_eq!(log.take(), ["open", "closing Some(1000) ", "closed Closed", "dropped"]);
}
