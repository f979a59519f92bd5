//! permessage-deflate through the runtime: RFC 7692.

use std::cell::RefCell;
use std::rc::Rc;

use lodger::io::{Out, Pool, Rx, Scratch, Tx};
use lodger::proto::Cx;
use lodger::proto::ws::handshake::{Request, check_answer};
use lodger::proto::ws::{Event, Role, Ws};
use lodger::sim::Wire;
use lodger::{Limits, Micros, http, ws};
use lodger_backend::Trigger;

use crate::kit::{Echo, Log, Rig, TRIGGERS, close_code, ms, run_for, secs};

/// The client's end of a connection, over the public protocol.
struct Client {
    wire: Wire,
    ws: Ws,
    tail: Vec<u8>,
    /// The parts so far of a message.
    part: Vec<u8>,
    received: u64,
}

impl Client {
    /// Does the handshake; gives what the server answered as well.
    fn connect(rig: &Rig, path: &str, config: ws::Config) -> (Self, String) {
        let request = Request::new([7; 16], &config).unwrap();
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        );
        let mut fields = Vec::new();
        request.put_fields(&mut fields);
        head += std::str::from_utf8(&fields).unwrap();
        let wire = rig.connect();
        let answer = rig.ask(&wire, head + "\r\n");
        let lines = answer.lines().skip(1).filter_map(|line| line.split_once(": "));
        let fields = lines.map(|(name, value)| (name, value.as_bytes()));
        let agreed = check_answer(fields, request.key(), &config).unwrap().extensions();
        let ws = Ws::new(Role::Client, Rc::new(config), Micros::ZERO).with_extensions(agreed);
        (Self { wire, ws, tail: Vec::new(), part: Vec::new(), received: 0 }, answer)
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut Ws, &mut Cx<'_>, &mut Tx<'_>) -> R) -> R {
        let (mut out, mut pool) = (Out::new(), Pool::new(0));
        let limits = Limits::default();
        let mut cx = Cx { now: Micros::ZERO, limits: &limits, random: &mut || 5 };
        let result = f(&mut self.ws, &mut cx, &mut Tx::new(&mut out, &mut pool));
        self.wire.write(out.bytes());
        result
    }

    fn send(&mut self, text: &str) {
        self.with(|ws, cx, tx| ws.send(cx, tx, ws::Message::Text(text))).unwrap();
    }

    /// Gives the texts that have arrived, whole ones only.
    fn texts(&mut self) -> Vec<String> {
        let fresh = self.wire.read();
        self.received += fresh.len() as u64;
        let mut input = std::mem::take(&mut self.tail);
        input.extend(fresh);
        let (mut texts, mut part) = (Vec::new(), std::mem::take(&mut self.part));
        let (mut rx, mut scratch) = (Rx::new(&mut input, false), Scratch::new());
        while let Some(event) =
            self.with(|ws, cx, tx| ws.poll(cx, &mut rx, &mut scratch, tx)).unwrap()
        {
            match event {
                Event::Text(text) => texts.push(text.to_owned()),
                Event::Data { last, data, .. } => {
                    part.extend_from_slice(data);
                    if last {
                        texts.push(String::from_utf8(std::mem::take(&mut part)).unwrap());
                    }
                }
                _ => {}
            }
        }
        self.tail = rx.peek().to_vec();
        self.part = part;
        texts
    }
}

fn lines(len: usize) -> String {
    let mut text: String = (0..len / 8).map(|n| format!("line {n}; ")).collect();
    text.truncate(len);
    text
}

fn deflating() -> ws::Config {
    ws::Config::default().deflate(ws::Deflate::new())
}

/// Notes the chunks it hears, and leaves them to a closure.
struct Chunks<F>(F);

impl<F: Fn(&mut ws::Cx<'_>, ws::Chunk<'_>) + 'static> ws::Handler for Chunks<F> {
    fn message(&mut self, _cx: &mut ws::Cx<'_>, _message: ws::Message<'_>) {
        panic!("the route asked for chunks");
    }

    fn chunk(&mut self, cx: &mut ws::Cx<'_>, chunk: ws::Chunk<'_>) {
        (self.0)(cx, chunk);
    }

    fn timer(&mut self, cx: &mut ws::Cx<'_>, _tag: u64) {
        cx.pause(false);
    }
}

#[test]
fn messages_are_compressed_both_ways_for_those_who_ask() {
    for trigger in TRIGGERS {
        for keeps in [false, true] {
            let rig = Rig::new(trigger);
            let config = ws::Config::default().deflate(ws::Deflate::new().takeover(keeps));
            rig.serve(http::Server::new().ws_with("/", config.clone(), |_| Ok(Echo)));
            let (mut plain, answer) = Client::connect(&rig, "/", ws::Config::default());
            assert!(!answer.contains("permessage-deflate"), "{answer}");
            let (mut packs, answer) = Client::connect(&rig, "/", config);
            assert_eq!(answer.contains("server_no_context_takeover"), !keeps, "{answer}");

            let sizes = [1, 255, 256, 20_000, 300_000];
            for size in sizes {
                for client in [&mut plain, &mut packs] {
                    client.send(&lines(size));
                    rig.run_for(ms(1));
                    let mut texts = client.texts();
                    for _ in 0..50 {
                        rig.run_for(ms(1));
                        texts.extend(client.texts());
                    }
                    assert!(texts == [lines(size)], "{size}: {}", texts.len());
                }
            }

            assert!(packs.received * 2 < plain.received, "{} {}", packs.received, plain.received);
            drop((plain, packs));
            rig.end();
        }
    }
}

/// What is expanded and not yet heard waits for the handler, with nothing left in the input.
#[test]
fn a_handler_that_pauses_hears_the_rest_of_an_expanded_message_later() {
    for trigger in TRIGGERS {
        let (rig, heard) = (Rig::new(trigger), Rc::new(RefCell::new((0, String::new()))));
        let h = Rc::clone(&heard);
        let server = http::Server::new().ws_with("/", deflating().chunks(true), move |_| {
            let h = Rc::clone(&h);
            Ok(Chunks(move |cx: &mut ws::Cx<'_>, chunk: ws::Chunk<'_>| {
                let mut heard = h.borrow_mut();
                heard.0 += 1;
                heard.1 += std::str::from_utf8(chunk.data).unwrap();
                cx.pause(true);
                cx.timer(0, ms(10)).unwrap();
            }))
        });
        rig.serve(server);
        let (mut client, _) = Client::connect(&rig, "/", deflating());

        client.send(&lines(200_000));
        rig.pump();
        assert_eq!(heard.borrow().0, 1);
        rig.run_for(ms(25));
        assert_eq!(heard.borrow().0, 3);
        rig.run_for(secs(1));

        assert!(heard.borrow().1 == lines(200_000), "{} bytes", heard.borrow().1.len());
        drop(client);
        rig.end();
    }
}

#[test]
fn a_turn_inside_a_chunk_expands_for_others() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let other: Rc<RefCell<Option<Client>>> = Rc::default();
        let (log, heard) = (Log::default(), Rc::new(RefCell::new(String::new())));
        let (l, h, o, world) =
            (log.clone(), Rc::clone(&heard), Rc::clone(&other), rig.world.clone());
        let server = http::Server::new().ws_with("/echo", deflating(), |_| Ok(Echo)).ws_with(
            "/chunks",
            deflating().chunks(true),
            move |_| {
                let (l, h, o, world) = (l.clone(), Rc::clone(&h), Rc::clone(&o), world.clone());
                Ok(Chunks(move |cx: &mut ws::Cx<'_>, chunk: ws::Chunk<'_>| {
                    let before = chunk.data.to_vec();
                    let rt = cx.runtime().clone();
                    let mut other = o.borrow_mut();
                    let other = other.as_mut().unwrap();
                    other.send(&lines(3000));
                    rt.modal(|| run_for(&world, &rt, ms(5)));
                    for text in other.texts() {
                        l.add(format!("{} bytes meanwhile", text.len()));
                    }
                    assert!(chunk.data == before, "the payload is still held");
                    *h.borrow_mut() += std::str::from_utf8(chunk.data).unwrap();
                }))
            },
        );
        rig.serve(server);
        *other.borrow_mut() = Some(Client::connect(&rig, "/echo", deflating()).0);
        let (mut client, _) = Client::connect(&rig, "/chunks", deflating());

        client.send(&lines(50_000));
        rig.run_for(secs(1));

        assert_eq!(log.take(), ["3000 bytes meanwhile"; 4]);
        assert!(*heard.borrow() == lines(50_000));
        drop((client, other.take()));
        rig.end();
    }
}

#[test]
fn a_bomb_ends_its_connection_and_nobody_elses() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(http::Server::new().ws_with("/", deflating(), |_| Ok(Echo)));
    let (mut good, _) = Client::connect(&rig, "/", deflating());
    let dense = ws::Config::default().deflate(ws::Deflate::new().level(9));
    let (mut bad, _) = Client::connect(&rig, "/", dense);

    bad.send(&"0".repeat(900_000));
    good.send(&lines(1000));
    rig.pump();

    assert_eq!(close_code(&bad.wire.read()), Some(1009));
    assert_eq!(good.texts(), [lines(1000)]);
    drop((good, bad));
    rig.end();
}

#[test]
fn without_memory_to_keep_what_was_said_nothing_is_kept() {
    let mut limits = Limits::default();
    limits.io.engines = 500 << 10;
    let rig = Rig::limited(Trigger::Edge, limits);
    let config = ws::Config::default().deflate(ws::Deflate::new().takeover(true));
    rig.serve(http::Server::new().ws_with("/", config.clone(), |_| Ok(Echo)));

    let (mut first, answer) = Client::connect(&rig, "/", config.clone());
    assert!(answer.contains("permessage-deflate\r\n"), "{answer}");
    first.send(&lines(1000));
    rig.pump();
    assert_eq!(first.texts(), [lines(1000)]);
    assert!((400 << 10..500 << 10).contains(&rig.rt.stats().engines));

    let (mut second, answer) = Client::connect(&rig, "/", config.clone());
    assert!(answer.contains("server_no_context_takeover; client_no_context_takeover"), "{answer}");
    second.send(&lines(1000));
    rig.pump();
    assert_eq!(second.texts(), [lines(1000)], "sent as it is");

    drop((first, second));
    rig.run_for(secs(1));
    assert_eq!(rig.rt.stats().engines, 48 << 10, "one inflater is kept for others");
    let (_third, answer) = Client::connect(&rig, "/", config);
    assert!(answer.contains("permessage-deflate\r\n"), "it is given back: {answer}");
}
