//! A broker, our clients and raw peers in one world.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use lodger::mqtt::{
    AuthStep, Bridge, Broker, BrokerConfig, Client, ClientEvent, Code, Connect, Connection, Device,
    Direction, Handler, MemoryJournal, Options, Outgoing, Publish, Published, Qos, QueueFull,
    Server, Version,
};
use lodger::policy::Retry;
use lodger::sim::Wire;
use lodger::{Limits, ListenerId, Reason, http};
use lodger_backend::Trigger;

use crate::kit::{Log, Rig, TRIGGERS, ms, secs};

const URL: &str = "mqtt://127.0.0.1:80";
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

fn broker(rig: &Rig) -> Broker {
    let broker = Broker::new(&rig.rt, BrokerConfig::new());
    rig.serve(broker.clone());
    broker
}

fn connected(rig: &Rig, client: Client) -> Connection {
    let connection = client.connect(&rig.rt).unwrap();
    rig.run_for(ms(20));
    assert!(connection.is_connected());
    connection
}

fn into(log: &Log) -> impl Fn(&lodger::Handle, &Publish<'_>) + 'static {
    let log = log.clone();
    move |_, message| {
        let text = std::str::from_utf8(message.payload).unwrap();
        log.add(format!("{} {text}", message.topic));
    }
}

#[test]
fn every_qos_arrives_and_is_acknowledged_in_both_versions() {
    for trigger in TRIGGERS {
        for version in [Version::V4, Version::V5] {
            let rig = Rig::new(trigger);
            let broker = broker(&rig);
            let log = Log::default();
            let hears = connected(&rig, Client::new(URL).version(version).id("h"));
            let says = connected(&rig, Client::new(URL).version(version).id("s"));
            let _sub = hears.subscribe("a/+", Qos::ExactlyOnce, into(&log)).unwrap();
            rig.run_for(ms(20));

            let done = Rc::new(RefCell::new(Vec::new()));
            for (i, qos) in QOS.into_iter().enumerate() {
                let end = Rc::clone(&done);
                let topic = format!("a/{i}");
                says.publish_then(Outgoing::new(&topic, b"x").qos(qos), move |_, published| {
                    end.borrow_mut().push(published);
                })
                .unwrap();
                rig.run_for(ms(20));
            }

            assert_eq!(log.take(), ["a/0 x", "a/1 x", "a/2 x"], "{trigger:?} {version:?}");
            assert_eq!(*done.borrow(), [Published::Acknowledged; 3]);
            assert_eq!((broker.stats().in_flight, says.pending()), (0, 0));
            rig.end();
        }
    }
}

#[test]
fn users_of_one_filter_share_a_subscription_and_the_last_ends_it() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let log = Log::default();
    let client = connected(&rig, Client::new(URL));
    let first = client.subscribe("t", Qos::AtMostOnce, into(&log)).unwrap();
    let second = client.subscribe("t", Qos::AtMostOnce, into(&log)).unwrap();
    rig.run_for(ms(20));
    assert_eq!(broker.stats().subscriptions, 1);
    assert_eq!(second.code(), Some(Code::SUCCESS));

    broker.publish("t", b"1", Qos::AtMostOnce, false).unwrap();
    rig.run_for(ms(20));
    drop(first);
    broker.publish("t", b"2", Qos::AtMostOnce, false).unwrap();
    rig.run_for(ms(20));
    drop(second);
    rig.run_for(ms(20));

    assert_eq!(log.take(), ["t 1", "t 1", "t 2"]);
    assert_eq!(broker.stats().subscriptions, 0);
    rig.end();
}

/// Says each packet of a raw client, and gives the bytes that come back.
fn raw(rig: &Rig, wire: &Wire, packets: &[&[u8]]) -> Vec<u8> {
    for packet in packets {
        wire.write(packet);
        rig.pump();
    }
    wire.read()
}

const CONNECT: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01r";
const CONNECT_V5: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01r";

#[test]
fn a_first_packet_that_is_no_connect_closes_and_nothing_is_said() {
    let rig = Rig::new(Trigger::Edge);
    broker(&rig);
    for bytes in [&b"\xC0\0"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x30\x03\0\x01a"] {
        let wire = rig.connect();
        assert!(raw(&rig, &wire, &[bytes]).is_empty());
        rig.run_for(secs(3));
        assert!(wire.is_eof());
    }
    let silent = rig.connect();
    rig.run_for(secs(8));
    assert!(silent.is_eof(), "no CONNECT in time");
    rig.end();
}

/// MQTT 5.0, section 3.1.2.10: one and a half times the keep-alive.
#[test]
fn a_client_that_is_silent_for_too_long_is_lost_and_its_will_said() {
    let rig = Rig::new(Trigger::Edge);
    broker(&rig);
    let log = Log::default();
    let hears = connected(&rig, Client::new(URL));
    let _sub = hears.subscribe("will", Qos::AtMostOnce, into(&log)).unwrap();
    rig.run_for(ms(20));
    let wire = rig.connect();
    let connect = b"\x10\x17\0\x04MQTT\x04\x06\0\x0A\0\x01w\0\x04will\0\x02by";
    assert_eq!(raw(&rig, &wire, &[connect]), b"\x20\x02\0\0");

    rig.run_for(Duration::from_millis(14_500));
    assert!(log.take().is_empty());
    rig.run_for(secs(1));

    assert_eq!(log.take(), ["will by"]);
    rig.end();
}

#[test]
fn a_session_waits_for_its_client_and_ends_in_time() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let log = Log::default();
    let client = || Client::new(URL).id("back").session(secs(60));
    let first = connected(&rig, client());
    let _sub = first.subscribe("q", Qos::AtLeastOnce, into(&log)).unwrap();
    rig.run_for(ms(20));
    first.close();
    rig.run_for(secs(5));
    broker.publish("q", b"1", Qos::AtLeastOnce, false).unwrap();
    assert_eq!((broker.stats().connected, broker.stats().queued), (0, 1));

    let second = client().connect(&rig.rt).unwrap();
    let _sub = second.subscribe("q", Qos::AtLeastOnce, into(&log)).unwrap();
    rig.run_for(ms(50));
    assert_eq!(log.take(), ["q 1"]);
    second.close();
    rig.run_for(secs(70));

    assert_eq!((broker.stats().sessions, broker.stats().subscriptions), (0, 0));
    rig.end();
}

#[test]
fn a_client_comes_back_and_publishes_what_waited() {
    let rig = Rig::new(Trigger::Edge);
    let broker = Broker::new(&rig.rt, BrokerConfig::new());
    let listener: ListenerId = rig.serve(broker.clone());
    let (log, events) = (Log::default(), Log::default());
    let told = events.clone();
    let client = Client::new(URL)
        .id("c")
        .session(secs(600))
        .birth(Outgoing::new("born", b"c"))
        .retry(Retry::default())
        .on_event(move |_, event| {
            told.add(match event {
                ClientEvent::Connected { session_present } => format!("up {session_present}"),
                ClientEvent::Disconnected { retry_in, .. } => {
                    format!("down {}", retry_in.is_some())
                }
                _ => return,
            });
        });
    let client = connected(&rig, client);
    let _sub = client.subscribe("#", Qos::AtMostOnce, into(&log)).unwrap();
    rig.run_for(ms(20));
    let conn = rig.rt.connections(9).iter().find(|c| c.protocol == "mqtt 5.0").unwrap().id;
    rig.rt.abort(conn);
    rig.rt.unlisten(listener).unwrap();
    rig.run_for(ms(5));
    assert!(!client.is_connected());
    client.publish(Outgoing::new("late", b"1").qos(Qos::ExactlyOnce)).unwrap();
    assert!(client.publish(Outgoing::new("late", b"0")).is_err(), "QoS 0 does not wait");

    rig.serve(broker.clone());
    rig.run_for(secs(30));

    assert!(client.is_connected());
    let heard = log.take();
    assert!(heard.contains(&"late 1".into()) && heard.contains(&"born c".into()), "{heard:?}");
    let events = events.take();
    assert_eq!((events[0].as_str(), events.last().unwrap().as_str()), ("up false", "up true"));
    rig.end();
}

#[test]
fn a_queue_that_is_full_says_so_and_then_that_there_is_room() {
    let mut limits = Limits::default();
    limits.mqtt.queued = 2;
    let rig = Rig::limited(Trigger::Edge, limits);
    let room = Rc::new(Cell::new(0));
    let told = Rc::clone(&room);
    let client = Client::new(URL).retry(Retry::default()).on_event(move |_, event| {
        if matches!(event, ClientEvent::Writable) {
            told.set(told.get() + 1);
        }
    });
    let client = client.connect(&rig.rt).unwrap();
    let message = Outgoing::new("t", b"x").qos(Qos::AtLeastOnce);
    assert!(client.publish(message).is_ok() && client.publish(message).is_ok());
    assert!(client.publish(message).is_err());

    broker(&rig);
    rig.run_for(secs(30));

    assert_eq!((room.get(), client.pending()), (1, 0));
    rig.end();
}

#[test]
fn the_oldest_make_room_and_hear_so_but_not_for_what_never_fits() {
    let mut limits = Limits::default();
    limits.mqtt.queued = 3;
    limits.mqtt.queued_bytes = 3_000;
    let rig = Rig::limited(Trigger::Edge, limits);
    let log = Log::default();
    let client = Client::new(URL).retry(Retry::default()).queue_full(QueueFull::DropOldest);
    let client = client.connect(&rig.rt).unwrap();
    let publish = |name: &'static str, size: usize| {
        let payload = vec![b'x'; size];
        let message = Outgoing::new(name, &payload).qos(Qos::AtLeastOnce);
        let log = log.clone();
        client.publish_then(message, move |_, end| log.add(format!("{name} {end:?}")))
    };
    for name in ["a", "b", "c", "d"] {
        publish(name, 500).unwrap();
    }
    // Too long for the whole queue: nobody goes for it.
    publish("e", 3_000).unwrap_err();
    // Needs the room of two.
    publish("f", 2_000).unwrap();
    rig.run_for(ms(20));
    assert_eq!(log.take(), ["a Lost", "b Lost", "c Lost"]);

    broker(&rig);
    rig.run_for(secs(30));

    assert_eq!(
        (log.take(), client.pending()),
        (vec!["d Acknowledged".into(), "f Acknowledged".into()], 0)
    );
    rig.end();
}

/// MQTT 5.0, section 4.9, and what MQTT 3.1.1 has instead.
#[test]
fn more_than_the_receive_maximum_ends_a_connection_of_mqtt_5_alone() {
    let mut limits = Limits::default();
    limits.mqtt.receive_maximum = 2;
    let publish = |id: u8, v5: bool| {
        let body: &[u8] = if v5 { &[0, 1, b'a', 0, id, 0] } else { &[0, 1, b'a', 0, id] };
        [&[0x34, body.len() as u8], body].concat()
    };
    for (v5, connect) in [(false, CONNECT), (true, CONNECT_V5)] {
        let rig = Rig::limited(Trigger::Edge, limits.clone());
        broker(&rig);
        let wire = rig.connect();
        raw(&rig, &wire, &[connect]);

        let said = raw(&rig, &wire, &[&publish(1, v5), &publish(2, v5), &publish(3, v5)]);

        if v5 {
            assert!(said.ends_with(b"\xE0\x01\x93"), "{said:?}");
        } else {
            assert!(said.ends_with(b"\x50\x02\0\x03"), "{said:?}");
            assert_eq!(raw(&rig, &wire, &[b"\x62\x02\0\x01"]), b"\x70\x02\0\x01");
        }
        rig.end();
    }
}

#[test]
fn a_message_of_qos_2_that_comes_twice_is_told_once() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let wire = rig.connect();
    raw(&rig, &wire, &[CONNECT]);

    let first = b"\x34\x06\0\x01a\0\x09x";
    let again = b"\x3C\x06\0\x01a\0\x09x";
    let said = raw(&rig, &wire, &[first, again, b"\x62\x02\0\x09", b"\x62\x02\0\x09"]);

    assert_eq!(said, b"\x50\x02\0\x09\x50\x02\0\x09\x70\x02\0\x09\x70\x02\0\x09");
    assert_eq!(broker.stats().received, 1);
    rig.end();
}

#[test]
fn who_may_do_what_is_asked_for_each() {
    let rig = Rig::new(Trigger::Edge);
    let config = BrokerConfig::new()
        .authenticate(|connect| match connect.username {
            Some("in") => Code::SUCCESS,
            _ => Code::BAD_CREDENTIALS,
        })
        .authorize(|access| !access.topic.starts_with("secret"))
        .deny_subscribe("never");
    rig.serve(Broker::new(&rig.rt, config));
    let log = Log::default();
    let told = log.clone();
    let out = Client::new(URL).on_event(move |_, event| {
        if let ClientEvent::Refused(code) = event {
            told.add(code.text());
        }
    });
    out.connect(&rig.rt).unwrap();
    let client = connected(&rig, Client::new(URL).login("in", b""));
    let subs: Vec<_> = ["ok", "secret/a", "never"]
        .into_iter()
        .map(|filter| client.subscribe(filter, Qos::AtLeastOnce, |_, _| {}).unwrap())
        .collect();
    let told = log.clone();
    client
        .publish_then(Outgoing::new("secret/b", b"").qos(Qos::AtLeastOnce), move |_, end| {
            told.add(format!("{end:?}"));
        })
        .unwrap();
    rig.run_for(ms(50));

    let codes: Vec<_> = subs.iter().map(|sub| sub.code().unwrap().0).collect();
    assert_eq!(codes, [1, 0x87, 0x80]);
    let mut log = log.take();
    log.sort_unstable();
    assert_eq!(log, ["Refused(Code(0x87 not authorized))", "bad user name or password"]);
    rig.end();
}

#[test]
fn a_session_of_another_principal_cannot_be_taken() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let first = connected(&rig, Client::new(URL).id("x").login("a", b""));
    let second = Client::new(URL).id("x").login("b", b"").connect(&rig.rt).unwrap();
    rig.run_for(ms(50));

    assert!(first.is_connected() && !second.is_connected());
    let third = Client::new(URL).id("x").login("a", b"").connect(&rig.rt).unwrap();
    rig.run_for(ms(50));
    assert!(!first.is_connected() && third.is_connected());
    assert_eq!(broker.stats().connected, 1);
    rig.end();
}

#[test]
fn a_shutdown_says_goodbye_in_both_directions() {
    let rig = Rig::new(Trigger::Edge);
    broker(&rig);
    let v5 = rig.connect();
    raw(&rig, &v5, &[CONNECT_V5]);
    let v4 = rig.connect();
    raw(&rig, &v4, &[&CONNECT[..14], b"s"]);

    rig.rt.shutdown(secs(1));
    rig.run_for(ms(100));

    assert_eq!(v5.read(), b"\xE0\x01\x8B");
    assert_eq!(v4.read(), b"");
    rig.end();
}

#[test]
fn a_will_is_said_for_a_client_that_is_lost_and_not_for_one_that_goes() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let log = Log::default();
    let hears = connected(&rig, Client::new(URL));
    let _sub = hears.subscribe("will/+", Qos::AtMostOnce, into(&log)).unwrap();
    let polite = connected(&rig, Client::new(URL).will(Outgoing::new("will/p", b""), 0));
    polite.close();
    rig.run_for(ms(50));
    assert_eq!((log.take().len(), broker.stats().connected), (0, 1));
    let wire = rig.connect();
    raw(&rig, &wire, &[b"\x10\x18\0\x04MQTT\x04\x06\0\0\0\x01w\0\x06will/l\0\x01!"]);

    wire.close();
    rig.run_for(ms(50));

    assert_eq!(log.take(), ["will/l !"]);
    rig.end();
}

/// MQTT 5.0, section 6, in messages of any cut.
#[test]
fn a_websocket_carries_the_same() {
    let rig = Rig::new(Trigger::Edge);
    let broker = Broker::new(&rig.rt, BrokerConfig::new());
    let config = lodger::mqtt::websocket_config(&lodger::MqttLimits::default());
    let carries = broker.clone();
    let server = http::Server::new();
    rig.serve(server.ws_with("/mqtt", config, move |_| Ok(carries.websocket())));
    let log = Log::default();
    let client = connected(&rig, Client::new("ws://127.0.0.1/mqtt").keep_alive(10));
    let _sub = client.subscribe("a/#", Qos::ExactlyOnce, into(&log)).unwrap();
    rig.run_for(ms(20));
    for (i, qos) in QOS.into_iter().enumerate() {
        client.publish(Outgoing::new("a/b", &[b'0' + i as u8]).qos(qos)).unwrap();
    }
    rig.run_for(ms(50));
    assert_eq!(log.take(), ["a/b 0", "a/b 1", "a/b 2"]);
    rig.run_for(secs(60));
    assert!(client.is_connected(), "it is asked whether it lives");
    client.close();
    rig.run_for(secs(5));
    assert_eq!(broker.stats().connected, 0);
    rig.end();
}

/// What a broker was told in its first life, it knows in its second.
#[test]
fn a_broker_goes_on_from_its_journal() {
    let journal = MemoryJournal::new();
    let client = || Client::new(URL).id("durable").session(secs(600));
    {
        let rig = Rig::new(Trigger::Edge);
        let broker = Broker::open(&rig.rt, BrokerConfig::new(), journal.clone()).unwrap();
        rig.serve(broker.clone());
        let first = connected(&rig, client());
        let sub = first.subscribe("q/#", Qos::ExactlyOnce, |_, _| {}).unwrap();
        rig.run_for(ms(20));
        let wire = rig.connect();
        raw(&rig, &wire, &[CONNECT]);
        let conn = rig.rt.connections(9).iter().find(|c| c.protocol == "mqtt 5.0").unwrap().id;
        rig.rt.abort(conn);
        rig.run_for(ms(20));
        raw(&rig, &wire, &[b"\x32\x08\0\x03q/1\0\x01a", b"\x34\x08\0\x03q/2\0\x02b"]);
        broker.publish("kept", b"k", Qos::AtLeastOnce, true).unwrap();
        broker.publish("gone", b"g", Qos::AtLeastOnce, true).unwrap();
        broker.publish("gone", b"", Qos::AtLeastOnce, true).unwrap();
        assert_eq!(broker.stats().queued, 2);
        drop(sub);
        rig.end();
    }
    let log = Log::default();
    let rig = Rig::new(Trigger::Edge);
    let broker = Broker::open(&rig.rt, BrokerConfig::new(), journal.clone()).unwrap();
    rig.serve(broker.clone());
    let stats = broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.queued, stats.retained), (1, 1, 2, 1));
    let second = client().connect(&rig.rt).unwrap();
    let _sub = second.subscribe("q/#", Qos::ExactlyOnce, into(&log)).unwrap();
    rig.run_for(ms(50));

    assert_eq!(log.take(), ["q/1 a", "q/2 b"]);
    assert_eq!((broker.stats().queued, broker.stats().in_flight), (0, 0));
    second.close();
    rig.run_for(secs(700));
    assert_eq!(broker.stats().sessions, 0);
    rig.end();

    let rig = Rig::new(Trigger::Edge);
    let broker = Broker::open(&rig.rt, BrokerConfig::new(), journal).unwrap();
    assert_eq!((broker.stats().sessions, broker.stats().retained), (0, 1));
    rig.end();
}

#[test]
fn a_long_journal_is_made_anew_and_says_the_same() {
    let journal = MemoryJournal::new();
    let rig = Rig::new(Trigger::Edge);
    let broker = Broker::open(&rig.rt, BrokerConfig::new(), journal.clone()).unwrap();
    let payload = [7; 4096];
    for i in 0..1000 {
        let topic = format!("kept/{}", i % 10);
        broker.publish(&topic, &payload, Qos::AtMostOnce, true).unwrap();
    }
    assert!(journal.bytes().len() < 2 << 20, "{}", journal.bytes().len());
    rig.end();
    let rig = Rig::new(Trigger::Edge);
    let broker = Broker::open(&rig.rt, BrokerConfig::new(), journal).unwrap();
    assert_eq!(broker.stats().retained, 10);
    rig.end();
}

/// Three brokers in a circle: everybody hears it, and it comes to an end.
#[test]
fn a_message_in_a_circle_of_bridges_comes_to_an_end() {
    let rig = Rig::new(Trigger::Edge);
    let ports = [81, 82, 83];
    let brokers: Vec<_> = ports
        .iter()
        .map(|port| {
            let broker = Broker::new(&rig.rt, BrokerConfig::new());
            rig.rt.listen(&format!("127.0.0.1:{port}"), broker.clone()).unwrap();
            broker
        })
        .collect();
    let to = |port: i32| connected(&rig, Client::new(&format!("mqtt://127.0.0.1:{port}")));
    let mirrored = [("m/#", Qos::AtLeastOnce, Direction::Both)];
    let bridges: Vec<_> = [(81, 82), (82, 83), (83, 81)]
        .into_iter()
        .map(|(a, b)| Bridge::new(&format!("{a}-{b}"), &to(a), &to(b), &mirrored).unwrap())
        .collect();
    let logs: Vec<Log> = ports.iter().map(|_| Log::default()).collect();
    let _subs: Vec<_> = ports
        .iter()
        .zip(&logs)
        .map(|(&port, log)| to(port).subscribe("#", Qos::AtLeastOnce, into(log)).unwrap())
        .collect();
    rig.run_for(ms(50));

    brokers[0].publish("m/x", b"1", Qos::AtLeastOnce, false).unwrap();
    brokers[1].publish("other", b"2", Qos::AtLeastOnce, false).unwrap();
    rig.run_for(secs(1));

    let heard: Vec<usize> =
        logs.iter().map(|log| log.take().iter().filter(|l| *l == "m/x 1").count()).collect();
    // Two ways lead around a circle, and both come back to where they began.
    assert!(heard.iter().all(|&n| (1..=3).contains(&n)), "{heard:?}");
    assert!(bridges.iter().all(|bridge| bridge.carried() <= 2 && bridge.dropped() == 0));
    rig.end();
}

struct Meter(Log);

impl Handler for Meter {
    fn connect(&mut self, _to: &Device, connect: &Connect<'_>) -> Code {
        self.0.add(format!("connect {}", connect.client_id));
        if connect.client_id == "bad" { Code::CLIENT_ID_NOT_VALID } else { Code::SUCCESS }
    }

    fn publish(&mut self, to: &Device, message: &Publish<'_>) -> Code {
        self.0.add(format!("{} {}", message.topic, message.payload.len()));
        to.send(Outgoing::new("answer", b"!").qos(message.qos), 7).unwrap();
        Code::SUCCESS
    }

    fn subscribe(&mut self, _to: &Device, filter: &str, options: Options) -> Code {
        if filter == "answer" { Code(options.qos as u8) } else { Code::NOT_AUTHORIZED }
    }

    fn acknowledged(&mut self, _to: &Device, tag: u64, code: Code) {
        self.0.add(format!("acknowledged {tag} {}", code.text()));
    }

    fn closed(&mut self, _to: &Device, _why: Reason, goodbye: Option<Code>) {
        self.0.add(format!("closed {goodbye:?}"));
    }
}

#[test]
fn a_handler_serves_a_device() {
    let (log, heard) = (Log::default(), Log::default());
    let rig = Rig::new(Trigger::Edge);
    let meter = log.clone();
    rig.serve(Server::new(move || Meter(meter.clone())));
    let client = connected(&rig, Client::new(URL).id("m"));
    let sub = client.subscribe("answer", Qos::ExactlyOnce, into(&heard)).unwrap();
    let other = client.subscribe("other", Qos::ExactlyOnce, into(&heard)).unwrap();
    rig.run_for(ms(20));
    assert_eq!((sub.code(), other.code()), (Some(Code::GRANTED_2), Some(Code::NOT_AUTHORIZED)));

    let big = vec![0; 100_000];
    client.publish(Outgoing::new("t", &big).qos(Qos::ExactlyOnce)).unwrap();
    rig.run_for(ms(50));
    client.close();
    rig.run_for(secs(3));
    Client::new(URL).id("bad").connect(&rig.rt).unwrap();
    rig.run_for(secs(3));

    assert_eq!(heard.take(), ["answer !"]);
    assert_eq!(
        log.take(),
        [
            "connect m",
            "t 100000",
            "acknowledged 7 success",
            "closed Some(Code(0x00 success))",
            "connect bad",
            "closed None",
        ]
    );
    rig.end();
}

#[test]
fn options_of_mqtt_5_are_kept() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let log = Log::default();
    let client = connected(&rig, Client::new(URL));
    let options = Options { no_local: true, ..Options::new(Qos::AtMostOnce) };
    let _sub = client.subscribe_with("t", options, into(&log)).unwrap();
    rig.run_for(ms(20));

    client.publish(Outgoing::new("t", b"own")).unwrap();
    broker.publish("t", b"other", Qos::AtMostOnce, false).unwrap();
    rig.run_for(ms(20));

    assert_eq!(log.take(), ["t other"]);
    rig.end();
}

/// MQTT 5.0, section 4.2, over TLS with what RFC 7301 registers for it; and in wss.
#[cfg(feature = "tls")]
#[test]
fn tls_carries_the_same_and_agrees_on_its_name() {
    for (url, alpn) in [("mqtts://localhost:80", "mqtt"), ("wss://localhost:80/mqtt", "http/1.1")] {
        let rig = Rig::new(Trigger::Edge);
        let (server, trust) = crate::tls::configs(&["localhost"]);
        let broker = Broker::new(&rig.rt, BrokerConfig::new());
        if url.starts_with("wss") {
            let config = lodger::mqtt::websocket_config(&lodger::MqttLimits::default());
            let carries = broker.clone();
            let routes =
                http::Server::new().ws_with("/mqtt", config, move |_| Ok(carries.websocket()));
            rig.serve(lodger::tls::Server::new(&server, routes));
        } else {
            rig.serve(lodger::tls::Server::new(&server, broker.clone()));
        }
        let log = Log::default();
        let hears = connected(&rig, Client::new(url).tls(&trust));
        let says = connected(&rig, Client::new(url).tls(&trust).version(Version::V4).id("s"));
        let _sub = hears.subscribe("a/#", Qos::ExactlyOnce, into(&log)).unwrap();
        rig.run_for(ms(20));

        for (i, qos) in QOS.into_iter().enumerate() {
            says.publish(Outgoing::new("a/b", &[b'0' + i as u8]).qos(qos)).unwrap();
        }
        rig.run_for(ms(50));

        assert_eq!(log.take(), ["a/b 0", "a/b 1", "a/b 2"], "{url}");
        for info in rig.rt.connections(9) {
            let session = rig.rt.tls(info.id).unwrap();
            assert_eq!(session.alpn(), Some(alpn.as_bytes()), "{url}");
        }
        rig.end();
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_broker_that_is_not_trusted_is_told_why_and_tried_again() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = crate::tls::configs(&["localhost"]);
    let (_, stranger) = crate::tls::configs(&["localhost"]);
    rig.serve(lodger::tls::Server::new(&server, Broker::new(&rig.rt, BrokerConfig::new())));
    let log = Log::default();
    let told = log.clone();
    let retry = Retry::new(&[ms(10)]).attempts(Some(2)).jitter(0);
    let client = Client::new("mqtts://localhost:80").tls(&stranger).retry(retry);
    let client = client.on_event(move |_, event| {
        if let ClientEvent::Disconnected { why, retry_in, .. } = event {
            told.add(format!("{} {why}", retry_in.is_some()));
        }
    });
    let client = client.connect(&rig.rt).unwrap();

    rig.run_for(secs(1));

    assert!(!client.is_connected());
    let told = log.take();
    assert!(told.len() >= 2 && told.iter().all(|line| line.contains("signature")), "{told:?}");
    assert!(told[0].starts_with("true") && told.last().unwrap().starts_with("false"), "{told:?}");
    let wrong = Client::new("mqtts://-.-:80").tls(&stranger).connect(&rig.rt);
    assert_eq!(wrong.unwrap_err().blame(), lodger::Blame::Caller);
    rig.end();
}

/// A bridge from a broker that speaks plainly to one that does not.
#[cfg(feature = "tls")]
#[test]
fn a_bridge_carries_over_tls() {
    let rig = Rig::new(Trigger::Edge);
    let near = broker(&rig);
    let (server, trust) = crate::tls::configs(&["localhost"]);
    let far = Broker::new(&rig.rt, BrokerConfig::new());
    rig.rt.listen("127.0.0.1:81", lodger::tls::Server::new(&server, far.clone())).unwrap();
    let to_near = connected(&rig, Client::new(URL));
    let to_far = connected(&rig, Client::new("mqtts://localhost:81").tls(&trust));
    let mirrored = [("m/#", Qos::AtLeastOnce, Direction::Both)];
    let bridge = Bridge::new("b", &to_near, &to_far, &mirrored).unwrap();
    let log = Log::default();
    let hears = connected(&rig, Client::new("mqtts://localhost:81").tls(&trust));
    let _sub = hears.subscribe("m/+", Qos::AtLeastOnce, into(&log)).unwrap();
    rig.run_for(ms(50));

    near.publish("m/out", b"1", Qos::AtLeastOnce, false).unwrap();
    far.publish("m/in", b"2", Qos::AtLeastOnce, false).unwrap();
    rig.run_for(ms(200));

    let mut heard = log.take();
    heard.sort_unstable();
    assert_eq!(heard, ["m/in 2", "m/out 1"]);
    assert_eq!((bridge.carried(), bridge.dropped()), (2, 0));
    rig.end();
}

/// A subscription that is dropped while a message is told hears no more of it.
#[test]
fn a_user_that_another_ends_does_not_hear_the_message_under_way() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let client = connected(&rig, Client::new(URL));
    let log = Log::default();
    let second: Rc<RefCell<Option<lodger::mqtt::Subscription>>> = Rc::default();
    let (ends, told) = (Rc::clone(&second), log.clone());
    let first = client.subscribe("t", Qos::AtMostOnce, move |_, _| {
        let ended = ends.borrow_mut().take();
        told.add(format!("first {}", ended.is_some()));
    });
    *second.borrow_mut() = Some(client.subscribe("t", Qos::AtMostOnce, into(&log)).unwrap());
    rig.run_for(ms(20));

    broker.publish("t", b"1", Qos::AtMostOnce, false).unwrap();
    broker.publish("t", b"2", Qos::AtMostOnce, false).unwrap();
    rig.run_for(ms(20));

    assert_eq!(log.take(), ["first true", "first false"]);
    drop(first);
    rig.end();
}

#[test]
fn a_client_that_is_closed_between_attempts_tells_its_end() {
    let rig = Rig::new(Trigger::Edge);
    let log = Log::default();
    let (events, done) = (log.clone(), log.clone());
    let client = Client::new(URL).retry(Retry::new(&[secs(60)]).jitter(0));
    let client = client.on_event(move |_, event| {
        if let ClientEvent::Disconnected { retry_in, .. } = event {
            events.add(format!("{retry_in:?}"));
        }
    });
    let client = client.connect(&rig.rt).unwrap();
    rig.run_for(secs(1));
    let message = Outgoing::new("t", b"x").qos(Qos::AtLeastOnce);
    client.publish_then(message, move |_, end| done.add(format!("{end:?}"))).unwrap();
    assert_eq!(log.take(), ["Some(60s)"]);

    client.close();
    client.close();
    assert!(log.take().is_empty(), "callbacks come from a turn");
    rig.run_for(secs(100));

    assert_eq!(log.take(), ["Lost", "None"]);
    rig.end();
}

/// MQTT 5.0, section 4.12: the client proves that it knows a secret, in two steps.
#[test]
fn a_client_is_authenticated_in_steps() {
    let rig = Rig::new(Trigger::Edge);
    let config = BrokerConfig::new().enhanced("ADD", |connect| {
        let known = connect.client_id == "c";
        move |said: &[u8]| match said {
            _ if !known => AuthStep::Refuse(Code::BANNED),
            b"" => AuthStep::Continue(b"40".to_vec()),
            b"42" => AuthStep::Success(b"well".to_vec()),
            _ => AuthStep::Refuse(Code::NOT_AUTHORIZED),
        }
    });
    let broker = Broker::new(&rig.rt, config);
    rig.serve(broker.clone());
    let log = Log::default();
    let client = |id: &str, method: &str, more: i32| {
        let told = log.clone();
        let client = Client::new(URL).id(id).auth(method, move |said| match said {
            b"" => Vec::new(),
            said => {
                let n: i32 = std::str::from_utf8(said).unwrap().parse().unwrap();
                (n + more).to_string().into_bytes()
            }
        });
        let client = client.will(Outgoing::new("will", b"w"), 0).on_event(move |_, event| {
            if let ClientEvent::Refused(code) = event {
                told.add(code.text());
            }
        });
        let client = client.connect(&rig.rt).unwrap();
        rig.run_for(ms(50));
        client
    };

    let good = client("c", "ADD", 2);
    assert!(good.is_connected() && log.take().is_empty());
    assert!(!client("c", "ADD", 3).is_connected() && !client("d", "ADD", 2).is_connected());
    assert!(!client("c", "OTHER", 2).is_connected());
    assert_eq!(log.take(), ["not authorized", "banned", "bad authentication method"]);
    assert_eq!(broker.stats().connected, 1);

    // What arrives behind a challenge is not taken, and who says nothing is given up.
    let start = b"\x10\x14\0\x04MQTT\x05\x02\0\x3C\x06\x15\0\x03ADD\0\x01c";
    let wire = rig.connect();
    let challenge = b"\xF0\x0D\x18\x0B\x15\0\x03ADD\x16\0\x0240";
    assert_eq!(raw(&rig, &wire, &[start]), challenge);
    assert_eq!(raw(&rig, &wire, &[b"\x30\x04\0\x01t\0"]), b"\x20\x03\0\x82\0");
    let wire = rig.connect();
    assert_eq!(raw(&rig, &wire, &[start]), challenge);
    rig.run_for(secs(60));
    assert_eq!(wire.read(), b"\x20\x03\0\x8D\0");

    // Anew, on a connection that is open; by another method it is over.
    let wire = rig.connect();
    let answer = |code: u8, n: &[u8; 2]| {
        [b"\xF0\x0D", &[code][..], b"\x0B\x15\0\x03ADD\x16\0\x02", n].concat()
    };
    raw(&rig, &wire, &[start]);
    let said = raw(&rig, &wire, &[&answer(0x18, b"42")]);
    assert!(
        said.starts_with(b"\x20") && said.ends_with(b"\x15\0\x03ADD\x16\0\x04well"),
        "{said:?}"
    );
    let anew = b"\xF0\x08\x19\x06\x15\0\x03ADD";
    assert_eq!(raw(&rig, &wire, &[anew]), challenge);
    let said = raw(&rig, &wire, &[&answer(0x18, b"42")]);
    assert_eq!(said, b"\xF0\x0F\0\x0D\x15\0\x03ADD\x16\0\x04well");
    assert_eq!(raw(&rig, &wire, &[&answer(0x18, b"42")]), b"\xE0\x01\x82");
    rig.end();
}

/// What one life of a publisher, a broker and a subscriber is about; all three have journals.
struct Lives {
    broker: MemoryJournal,
    says: MemoryJournal,
    hears: MemoryJournal,
    next: Cell<u32>,
    heard: Rc<RefCell<std::collections::BTreeMap<u32, u32>>>,
}

impl Lives {
    /// Publishes `count` messages, odd ones exactly once, and ends all three after so many turns.
    fn live(&self, count: u32, turns: usize) -> usize {
        let rig = Rig::new(Trigger::Edge);
        let broker = Broker::open(&rig.rt, BrokerConfig::new(), self.broker.clone()).unwrap();
        rig.serve(broker);
        let client = |id: &str| Client::new(URL).id(id).session(secs(3000));
        let hears = client("hears").open(&rig.rt, self.hears.clone()).unwrap();
        let heard = Rc::clone(&self.heard);
        let _sub = hears.subscribe("n", Qos::ExactlyOnce, move |_, message| {
            let n = std::str::from_utf8(message.payload).unwrap().parse().unwrap();
            *heard.borrow_mut().entry(n).or_default() += 1;
        });
        let says = client("says").open(&rig.rt, self.says.clone()).unwrap();
        for _ in 0..count {
            let n = self.next.replace(self.next.get() + 1);
            let qos = QOS[1 + n as usize % 2];
            says.publish(Outgoing::new("n", n.to_string().as_bytes()).qos(qos)).unwrap();
        }
        for _ in 0..turns {
            let Some(at) = rig.world.next_event() else { break };
            rig.world.advance_to(at.max(rig.world.now()));
            rig.rt.dispatch().unwrap();
        }
        let pending = says.pending();
        rig.end();
        pending
    }
}

#[test]
fn a_clients_session_outlives_its_program_in_a_journal() {
    let lives = Lives {
        broker: MemoryJournal::new(),
        says: MemoryJournal::new(),
        hears: MemoryJournal::new(),
        next: Cell::new(0),
        heard: Rc::default(),
    };
    // So that the broker knows the subscription before anything is published.
    lives.live(0, 100);
    let mut left = 0;
    for life in 0..100 {
        left += usize::from(lives.live(4, life * 7 % 23) > 0);
    }
    assert!((20..100).contains(&left), "many ended with messages under way: {left}");

    assert_eq!(lives.live(0, 10_000), 0);

    let heard = lives.heard.borrow();
    for n in 0..lives.next.get() {
        let times = heard.get(&n).copied().unwrap_or(0);
        assert!(times == 1 || n % 2 == 0 && times > 1, "{n} was heard {times} times");
    }
    let damaged = MemoryJournal::new();
    lodger::mqtt::Journal::append(&mut damaged.clone(), b"this is no journal").unwrap();
    let rig = Rig::new(Trigger::Edge);
    let client = || Client::new(URL).id("x").session(secs(1));
    let error = client().open(&rig.rt, damaged).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let error = Client::new(URL).open(&rig.rt, MemoryJournal::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    rig.end();
}

/// A journal that takes nothing until it is told to.
#[derive(Clone, Default)]
struct Stubborn(MemoryJournal, Rc<Cell<bool>>);

impl lodger::mqtt::Journal for Stubborn {
    fn name(&self) -> String {
        "stubborn".into()
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(at, buf)
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.1.get() {
            self.0.append(bytes)
        } else {
            Err(std::io::ErrorKind::StorageFull.into())
        }
    }

    fn truncate(&mut self, len: u64) -> std::io::Result<()> {
        self.0.truncate(len)
    }

    fn replace(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.replace(bytes)
    }
}

#[test]
fn a_message_that_cannot_be_written_down_is_not_taken() {
    let rig = Rig::new(Trigger::Edge);
    let broker = broker(&rig);
    let journal = Stubborn::default();
    let client = Client::new(URL).id("c").session(secs(600));
    let client = client.open(&rig.rt, journal.clone()).unwrap();
    let message = Outgoing::new("t", b"x").qos(Qos::ExactlyOnce);
    for connected in [false, true] {
        assert_eq!(client.is_connected(), connected);
        let error = client.publish(message).unwrap_err();
        assert!(error.to_string().contains("journal"), "{error}");
        assert_eq!(client.pending(), 0);
        rig.run_for(ms(50));
    }
    assert_eq!(broker.stats().received, 0);

    journal.1.set(true);
    client.publish(message).unwrap();
    rig.run_for(ms(50));

    assert_eq!((client.pending(), broker.stats().received), (0, 1));
    rig.end();
}
