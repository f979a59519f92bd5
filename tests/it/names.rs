//! Names through the runtime: from a name server of the test's own to a connection.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use lodger::dns::{Config, NameError, Query, Resolver};
use lodger::http::{Client, Failure, Stage, Whole};
use lodger::sim::{Datagrams, Faults};
use lodger::{Limits, Reason, http, raw, ws};
use lodger_backend::{SystemText, Trigger};

use crate::kit::{Rig, TRIGGERS, ms, secs};

/// What a name server knows: the last label tells which addresses a name has.
pub(crate) fn answer(query: &[u8], known: &dyn Fn(&str, u16) -> Vec<IpAddr>) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap().to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let found = known(&labels.join("."), kind);
    let mut out = query[..2].to_vec();
    let rcode = if found.is_empty() { 3 } else { 0 };
    let count = u8::try_from(found.len()).unwrap();
    let soa = u8::from(found.is_empty());
    out.extend([0x81, 0x80 | rcode, 0, 1, 0, count, 0, soa, 0, 0]);
    out.extend(&query[12..at + 5]);
    if soa == 1 {
        // The root's, for a minute.
        out.extend([0, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0]);
        out.extend([0; 16]);
        out.extend([0, 0, 0, 60]);
    }
    for ip in found {
        out.extend([0xc0, 0x0c, 0, u8::try_from(kind).unwrap(), 0, 1, 0, 0, 0, 60]);
        match ip {
            IpAddr::V4(ip) => out.extend([&[0, 4][..], &ip.octets()].concat()),
            IpAddr::V6(ip) => out.extend([&[0, 16][..], &ip.octets()].concat()),
        }
    }
    out
}

/// Says who knows what: pairs of a name and its addresses.
pub(crate) fn knows(
    table: &'static [(&'static str, &'static [&'static str])],
) -> impl Fn(&str, u16) -> Vec<IpAddr> {
    move |name, kind| {
        let found = table.iter().filter(|(n, _)| *n == name).flat_map(|(_, ips)| ips.iter());
        let all = found.map(|ip| ip.parse::<IpAddr>().unwrap());
        all.filter(|ip| ip.is_ipv6() == (kind == 28)).collect()
    }
}

const SERVER: &str = "10.0.0.53:53";

/// A world with a name server in it.
struct Net {
    rig: Rig,
    server: Datagrams,
    asked: Cell<usize>,
}

impl Net {
    fn new(trigger: Trigger, seed: u64, faults: Faults) -> Self {
        let rig = Rig::with(trigger, Limits::default(), seed, faults);
        rig.world.set_system_text(SystemText::Resolver, "nameserver 10.0.0.53\noptions timeout:1");
        let server = rig.world.datagrams(SERVER.parse().unwrap());
        Self { rig, server, asked: Cell::new(0) }
    }

    /// Lets time pass in which the server answers after each millisecond.
    fn run(&self, time: Duration, known: &dyn Fn(&str, u16) -> Vec<IpAddr>) {
        for _ in 0..time.as_millis() {
            self.rig.run_for(ms(1));
            while let Some((from, query)) = self.server.recv() {
                self.asked.set(self.asked.get() + 1);
                self.server.send(from, &answer(&query, known));
            }
        }
    }

    fn get(&self, client: &Client, url: &str) -> Rc<RefCell<Option<Result<Whole, Failure>>>> {
        let got: Rc<RefCell<Option<_>>> = Rc::default();
        let told = Rc::clone(&got);
        client.get(url).whole(1 << 16, move |result| {
            assert!(told.borrow_mut().replace(result).is_none(), "told twice");
        });
        got
    }
}

fn hello() -> http::Server {
    http::Server::new().get("/", |_, res| res.text("hello"))
}

#[test]
fn a_client_reaches_a_name() {
    for trigger in TRIGGERS {
        let net = Net::new(trigger, 1, Faults::none());
        net.rig.rt.listen("127.0.0.1:80", hello()).unwrap();
        let client = Client::new(&net.rig.rt);
        let known = knows(&[("www.a.test", &["127.0.0.1"])]);

        let got = net.get(&client, "http://www.a.test/");
        net.run(ms(20), &known);

        let whole = got.take().unwrap().unwrap();
        assert_eq!((&*whole.body, whole.status), (&b"hello"[..], 200), "{trigger:?}");
        assert!(whole.timing.name.is_some() && whole.timing.connect.is_some());
        assert_eq!(net.asked.get(), 2);
        // The next is known, also to others.
        let got = net.get(&Client::new(&net.rig.rt), "http://WWW.a.test/");
        net.run(ms(20), &known);
        assert!(got.take().unwrap().is_ok());
        assert_eq!(net.asked.get(), 2);
        drop(client);
        assert!(net.rig.rt.timers(9).is_empty(), "nothing of the lookup is left");
        net.rig.end();
    }
}

#[test]
fn a_websocket_and_a_stream_reach_a_name() {
    struct Counts(Rc<Cell<u32>>);
    impl ws::Handler for Counts {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            self.0.set(self.0.get() + 1);
            cx.close(1000);
        }
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
    }
    impl raw::Handler for Counts {
        fn open(&mut self, cx: &mut raw::Cx<'_>) {
            self.0.set(self.0.get() + 10);
            cx.close();
        }
        fn data(&mut self, _: &mut raw::Cx<'_>, _: &[u8]) {}
    }
    let net = Net::new(Trigger::Edge, 1, Faults::none());
    let server = http::Server::new().ws("/", |_| Ok(Counts(Rc::default())));
    net.rig.rt.listen("127.0.0.1:80", server).unwrap();
    let opened: Rc<Cell<u32>> = Rc::default();

    let feed = ws::Client::new("ws://a.test/").connect(&net.rig.rt, Counts(Rc::clone(&opened)));
    net.rig.rt.connect_to("a.test", 80, Counts(Rc::clone(&opened)));
    net.run(secs(1), &knows(&[("a.test", &["127.0.0.1"])]));

    assert_eq!(opened.get(), 11);
    drop(feed);
    net.rig.end();
}

#[test]
fn where_nobody_can_be_asked_that_is_told_at_once() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);
    let got: Rc<RefCell<Option<Result<Whole, Failure>>>> = Rc::default();
    for (url, why) in [
        ("http://a.test/", NameError::NoServer),
        ("http://a..test/", NameError::Invalid),
        ("http://a.invalid/", NameError::NotFound),
        ("http://a.onion/", NameError::NotFound),
    ] {
        let told = Rc::clone(&got);
        client.get(url).whole(1, move |result| *told.borrow_mut() = Some(result));
        rig.pump();

        let failure = got.take().unwrap().unwrap_err();
        assert_eq!((failure.stage, failure.why), (Stage::Name, Reason::Name(why)), "{url}");
        assert!(failure.never_sent && failure.to_string().starts_with("the name has no address: "));
    }
    drop(client);
    rig.end();
}

#[test]
fn the_hosts_file_comes_first_and_is_read_again_when_it_changes() {
    let net = Net::new(Trigger::Edge, 1, Faults::none());
    let set = |text: &str| net.rig.world.set_system_text(SystemText::Hosts, text);
    let found: Rc<RefCell<Vec<IpAddr>>> = Rc::default();
    let look = |name: &str| {
        let told = Rc::clone(&found);
        net.rig.rt.resolve(name, move |_, result| *told.borrow_mut() = result.unwrap_or_default());
        net.run(ms(50), &knows(&[("a.test", &["192.0.2.9"])]));
        let found = found.take();
        found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    };
    set("192.0.2.1 a.test");

    let (first, asked) = (look("A.test."), net.asked.get());
    set("192.0.2.2 a.test\n::2 a.test");
    let again = look("a.test");
    net.run(secs(2), &knows(&[]));
    let later = look("a.test");
    set("");
    net.run(secs(2), &knows(&[]));
    let without = look("a.test");

    assert_eq!((&*first, asked), ("192.0.2.1", 0));
    // It is looked at once a second.
    assert_eq!((&*again, &*later, &*without), ("192.0.2.1", "192.0.2.2 ::2", "192.0.2.9"));
    assert_eq!(look("x.localhost"), "127.0.0.1 ::1");
    net.rig.end();
}

#[test]
fn a_lost_datagram_is_sent_again_and_a_silent_server_is_given_up() {
    let net = Net::new(Trigger::Edge, 1, Faults::none());
    net.rig.rt.listen("127.0.0.1:80", hello()).unwrap();
    let client = Client::new(&net.rig.rt);

    let got = net.get(&client, "http://a.test/");
    net.rig.run_for(ms(10));
    while net.server.recv().is_some() {}
    net.run(ms(1_100), &knows(&[("a.test", &["127.0.0.1"])]));
    assert!(got.take().unwrap().unwrap().timing.name.unwrap() >= secs(1));

    let got = net.get(&client, "http://b.test/");
    net.rig.run_for(secs(3));
    let failure = got.take().unwrap().unwrap_err();
    assert_eq!((failure.stage, failure.why), (Stage::Name, Reason::Name(NameError::Timeout)));
    drop(client);
    net.rig.end();
}

#[test]
fn a_server_that_is_not_there_is_passed_over_at_once() {
    let net = Net::new(Trigger::Edge, 1, Faults::none());
    net.rig.rt.listen("127.0.0.1:80", hello()).unwrap();
    let servers: [SocketAddr; 2] = ["10.0.0.54:53".parse().unwrap(), SERVER.parse().unwrap()];
    net.rig.rt.set_name_servers(Config::new(&servers));
    let client = Client::new(&net.rig.rt);

    let got = net.get(&client, "http://a.test/");
    net.run(ms(50), &knows(&[("a.test", &["127.0.0.1"])]));

    assert!(got.take().unwrap().is_ok());
    drop(client);
    net.rig.end();
}

/// RFC 8305, section 5.
#[test]
fn ipv6_is_tried_first_and_ipv4_beside_it_after_250_ms() {
    for trigger in TRIGGERS {
        let net = Net::new(trigger, 1, Faults::none());
        net.rig.rt.listen("127.0.0.1:80", hello()).unwrap();
        // Nobody answers there, not even that nobody is there.
        net.rig.world.swallow("[2001:db8::1]:80".parse().unwrap());
        let client = Client::new(&net.rig.rt);
        let known = knows(&[("a.test", &["127.0.0.1", "2001:db8::1"])]);

        let got = net.get(&client, "http://a.test/");
        net.run(ms(240), &known);
        assert!(got.borrow().is_none(), "{trigger:?}");
        net.run(ms(60), &known);

        let whole = got.take().unwrap().unwrap();
        let connect = whole.timing.connect.unwrap();
        assert!(connect >= ms(250) && connect < ms(300), "{trigger:?} {connect:?}");
        // The connection that is kept and its server's end; the loser is closed.
        assert_eq!(net.rig.world.open(), 3, "{trigger:?}");
        drop(client);
        net.rig.end();
    }
}

#[cfg(feature = "tls")]
#[test]
fn tls_begins_on_the_attempt_that_won_and_names_the_host() {
    for trigger in TRIGGERS {
        let net = Net::new(trigger, 1, Faults::none());
        let (server, trust) = crate::tls::configs(&["a.test"]);
        let shown = http::Server::new().get("/", |req, res| {
            let sni = req.tls().and_then(|tls| tls.sni().map(str::to_owned));
            res.text(&sni.unwrap_or_default())
        });
        net.rig.rt.listen("127.0.0.1:443", lodger::tls::Server::new(&server, shown)).unwrap();
        net.rig.world.swallow("[2001:db8::1]:443".parse().unwrap());
        let client = Client::new(&net.rig.rt);
        client.tls(&trust);
        let both: &[&str] = &["127.0.0.1", "2001:db8::1"];
        let known = |name: &str, kind: u16| {
            let found = both.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
            let here = matches!(name, "a.test" | "b.test");
            found.filter(|ip| here && ip.is_ipv6() == (kind == 28)).collect::<Vec<_>>()
        };

        let got = net.get(&client, "https://a.test/");
        net.run(ms(240), &known);
        assert!(got.borrow().is_none(), "{trigger:?}");
        net.run(ms(60), &known);

        let whole = got.take().unwrap().unwrap();
        assert_eq!(whole.body, b"a.test", "{trigger:?}");
        let timing = whole.timing;
        assert!(timing.connect.unwrap() >= ms(250) && timing.name.is_some(), "{timing:?}");
        assert!(timing.tls.unwrap() < ms(100), "{timing:?}");
        assert_eq!(net.rig.world.open(), 3, "{trigger:?}");

        // Another name of the same server, which is not in its certificate.
        let got = net.get(&client, "https://b.test/");
        net.run(ms(300), &known);
        let failure = got.take().unwrap().unwrap_err();
        assert_eq!(failure.stage, Stage::Tls, "{trigger:?}");
        let got = net.get(&client, "https://c.test/");
        net.run(ms(20), &known);
        assert_eq!(got.take().unwrap().unwrap_err().stage, Stage::Name, "{trigger:?}");
        drop(client);
        net.rig.end();
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_websocket_and_a_stream_reach_a_name_over_tls() {
    struct Opens(Rc<Cell<u32>>);
    impl ws::Handler for Opens {
        fn open(&mut self, cx: &mut ws::Cx<'_>) {
            self.0.set(self.0.get() + 1);
            cx.close(1000);
        }
        fn message(&mut self, _: &mut ws::Cx<'_>, _: ws::Message<'_>) {}
    }
    impl raw::Handler for Opens {
        fn open(&mut self, cx: &mut raw::Cx<'_>) {
            self.0.set(self.0.get() + 10);
            cx.close();
        }
        fn data(&mut self, _: &mut raw::Cx<'_>, _: &[u8]) {}
    }
    let net = Net::new(Trigger::Edge, 1, Faults::none());
    let (server, trust) = crate::tls::configs(&["a.test"]);
    let routes = http::Server::new().ws("/", |_| Ok(Opens(Rc::default())));
    net.rig.rt.listen("127.0.0.1:443", lodger::tls::Server::new(&server, routes)).unwrap();
    let opened: Rc<Cell<u32>> = Rc::default();

    let feed = ws::Client::new("wss://a.test/").tls(&trust);
    let feed = feed.connect(&net.rig.rt, Opens(Rc::clone(&opened))).unwrap();
    let url = http::Url::parse("https://a.test/").unwrap();
    url.connect_tls(&net.rig.rt, &trust, Opens(Rc::clone(&opened))).unwrap();
    net.run(secs(1), &knows(&[("a.test", &["127.0.0.1"])]));

    assert_eq!(opened.get(), 11);
    drop(feed);
    net.rig.end();
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next_at_once() {
    for trigger in TRIGGERS {
        let net = Net::new(trigger, 1, Faults::none());
        net.rig.rt.listen("[::1]:80", hello()).unwrap();
        let client = Client::new(&net.rig.rt);
        let known = knows(&[("a.test", &["2001:db8::1", "192.0.2.1", "192.0.2.2", "::1"])]);

        let got = net.get(&client, "http://a.test/");
        net.run(ms(20), &known);
        assert!(got.take().unwrap().is_ok(), "{trigger:?}");

        let got = net.get(&client, "http://a.test:81/");
        net.run(ms(20), &known);
        let failure = got.take().unwrap().unwrap_err();
        let refused = Reason::Io(std::io::ErrorKind::ConnectionRefused);
        assert_eq!((failure.stage, failure.why), (Stage::Connect, refused), "{trigger:?}");
        drop(client);
        net.rig.end();
    }
}

#[test]
fn addresses_that_never_answer_are_given_up_together() {
    let net = Net::new(Trigger::Edge, 1, Faults::none());
    for addr in ["[2001:db8::1]:80", "192.0.2.1:80"] {
        net.rig.world.swallow(addr.parse().unwrap());
    }
    let client = Client::new(&net.rig.rt);

    let got = net.get(&client, "http://a.test/");
    net.run(ms(100), &knows(&[("a.test", &["2001:db8::1", "192.0.2.1"])]));
    net.rig.run_for(secs(11));

    let failure = got.take().unwrap().unwrap_err();
    assert_eq!((failure.stage, failure.why), (Stage::Connect, Reason::ConnectTimeout));
    assert_eq!(net.rig.world.open(), 0);
    drop(client);
    net.rig.end();
}

/// Keeps what it is asked, or answers at once.
struct Own(Rc<RefCell<Vec<Query>>>);

impl Resolver for Own {
    fn resolve(&self, _: &lodger::Handle, query: Query) {
        if query.name() == "now" {
            query.answer(Ok(vec!["127.0.0.1".parse().unwrap()]));
        } else {
            self.0.borrow_mut().push(query);
        }
    }
}

#[test]
fn a_resolver_of_the_users_answers_now_or_later_or_drops_it() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(hello());
    let kept: Rc<RefCell<Vec<Query>>> = Rc::default();
    rig.rt.set_resolver(Own(Rc::clone(&kept)));
    let client = Client::new(&rig.rt);
    let results: Rc<RefCell<Vec<String>>> = Rc::default();
    for name in ["now", "later", "never"] {
        let told = Rc::clone(&results);
        client.get(&format!("http://{name}/")).whole(99, move |result| {
            let how = result.map_or_else(|f| f.why.to_string(), |w| w.status.to_string());
            told.borrow_mut().push(format!("{name} {how}"));
        });
    }

    rig.run_for(ms(10));
    assert_eq!(*results.borrow(), ["now 200"]);
    drop(kept.borrow_mut().pop());
    let later = kept.borrow_mut().pop().unwrap();
    later.answer(Ok(vec!["127.0.0.1".parse().unwrap()]));
    rig.run_for(ms(10));

    let failed = format!("never {}", NameError::Failed);
    results.borrow_mut().sort();
    assert_eq!(*results.borrow(), ["later 200", &failed, "now 200"]);
    drop(client);
    rig.end();
}

#[test]
fn an_attempt_that_is_ended_while_its_name_is_looked_up_leaves_nothing() {
    for how in 0..3 {
        let net = Net::new(Trigger::Edge, 1, Faults::none());
        let client = Client::new(&net.rig.rt);
        let got = net.get(&client, "http://a.test/");
        net.rig.pump();
        match how {
            0 => net.rig.rt.end(),
            1 => net.rig.rt.shutdown(ms(10)),
            _ => {
                let id = net.rig.rt.connections(9)[0].id;
                net.rig.rt.abort(id);
            }
        }
        net.run(secs(3), &knows(&[("a.test", &["127.0.0.1"])]));

        assert!(got.take().unwrap().is_err(), "{how}");
        drop(client);
        net.rig.end();
    }
}

/// Whatever the network does, a request to a name ends once, and the world is empty after it.
#[test]
fn lookups_and_races_bear_faults() {
    let mut whole = 0;
    for seed in 0..60 {
        let trigger = TRIGGERS[seed % 3];
        let net = Net::new(trigger, seed as u64, Faults::all());
        net.rig.rt.listen("127.0.0.1:80", hello()).unwrap();
        let known = knows(&[
            ("a.test", &["2001:db8::1", "127.0.0.1", "192.0.2.1"]),
            ("b.test", &["127.0.0.1"]),
        ]);
        let client = Client::new(&net.rig.rt);
        let urls = ["http://a.test/", "http://b.test/", "http://c.test/"];
        let all: Vec<_> = urls.iter().map(|url| net.get(&client, url)).collect();

        net.run(ms(300), &known);
        net.rig.world.set_faults(Faults::none());
        net.run(ms(3_000), &known);
        net.rig.run_for(secs(60));

        for got in all {
            whole += usize::from(got.take().expect("told").is_ok());
        }
        drop(client);
        assert_eq!(net.rig.world.misuse(), [""; 0], "seed {seed}");
        net.rig.end();
    }
    assert!(whole > 60, "{whole}");
}
