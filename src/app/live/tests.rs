use core::time::Duration;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use super::feed::{Feed, Viewer};
use super::{Live, META, PAGE, POLICY, escaped, page_for};
use crate::sim::{Wire, World};
use crate::{Addr, Limits, Runtime, http};

const AT: &str = "127.0.0.1:80";
const MS: Duration = Duration::from_millis(1);

/// A runtime in a simulated world that serves `server`.
struct Site {
    world: World,
    rt: Runtime,
}

impl Site {
    fn new(server: http::Server) -> Self {
        let world = World::new(1);
        let rt = Runtime::with(world.driver(), world.net(), Limits::default());
        rt.listen(AT, server).unwrap();
        Self { world, rt }
    }

    /// With a page whose button stalls the world.
    fn stalling(for_all: bool) -> Self {
        let world = World::new(1);
        let rt = Runtime::with(world.driver(), world.net(), Limits::default());
        let clock = world.clone();
        let live = Live::new("/_lodger").controls_for_all(for_all).stall(move |d| clock.advance(d));
        rt.listen(AT, live.mount(http::Server::new())).unwrap();
        Self { world, rt }
    }

    fn live() -> Self {
        Self::new(Live::new("/_lodger").mount(http::Server::new()))
    }

    /// With the feed in the test's hand.
    fn with_feed() -> (Self, Rc<Feed>) {
        let feed = Rc::new(Feed::default());
        let inner = Rc::clone(&feed);
        let server =
            http::Server::new().ws_with("/_lodger/feed", Viewer::config(), move |request| {
                Viewer::new(&inner, request)
            });
        (Self::new(server), feed)
    }

    /// Runs all turns of the next `d`.
    fn run_for(&self, d: Duration) {
        let end = self.world.now() + d;
        while let Some(at) = self.world.next_event().filter(|&at| at <= end) {
            self.world.advance_to(at);
            self.rt.dispatch().unwrap();
        }
        self.world.advance_to(end);
    }

    fn ask(&self, request: &str) -> Wire {
        let wire = self.world.connect(&Addr::parse(AT).unwrap()).unwrap();
        wire.write(request.as_bytes());
        self.run_for(MS);
        wire
    }

    fn get(&self, path: &str) -> String {
        let wire = self.ask(&std::format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        String::from_utf8(wire.read()).unwrap()
    }

    /// Opens a feed as a page of this machine's own does.
    fn view_here(&self) -> Wire {
        let wire = self.ask(&handshake_for("localhost", "Origin: http://localhost\r\n"));
        let answer = wire.read();
        let end = answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
        let may = r#"{"v":2,"may":["stall","open","drop"]}"#;
        assert_eq!(messages(&answer[end + 4..]), [may]);
        wire
    }

    fn states(&self) -> Vec<&'static str> {
        self.rt.streams(99).iter().map(|stream| stream.state).collect()
    }

    /// Opens a feed; its handshake is read away.
    fn view(&self) -> Wire {
        let wire = self.ask(&handshake(""));
        let head = String::from_utf8(wire.read()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"), "{head}");
        wire
    }
}

fn handshake(more: &str) -> String {
    handshake_for("a", more)
}

fn handshake_for(host: &str, more: &str) -> String {
    std::format!(
        "GET /_lodger/feed HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Divides what a server sends into whole text messages; RFC 6455, section 5.2.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!(*first, 0x81, "a final text frame");
        let (len, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => panic!("a frame of more than 64 KiB"),
            short => (usize::from(*short), rest),
        };
        all.push(String::from_utf8(rest[..len].to_vec()).unwrap());
        bytes = &rest[len..];
    }
    all
}

#[test]
fn a_viewer_gets_ten_whole_snapshots_a_second() {
    let site = Site::live();
    let viewer = site.view();

    site.run_for(1000 * MS);

    let shown = messages(&viewer.read());
    assert_eq!(shown.len(), 10);
    for (i, text) in shown.iter().enumerate() {
        assert!(text.starts_with(r#"{"v":2,"host":"","version":""#), "{text}");
        assert!(text.ends_with(r#""state":"open"}]}"#), "{text}");
        assert!(text.contains(&std::format!(r#""uptime_us":{}00000,"#, i + 1)), "{text}");
        assert!(text.contains(r#""open":1,"accepted":1,"#), "{text}");
        assert!(text.contains(r#""shown":1,"conns":[{"id":""#), "{text}");
        assert!(
            text.contains(r#""proto":"ws","path":"/_lodger/feed","peer":"127.0.0.1:"#),
            "{text}"
        );
    }
}

#[test]
fn two_viewers_cost_one_snapshot() {
    let (site, feed) = Site::with_feed();
    let (one, other) = (site.view(), site.view());

    site.run_for(500 * MS);

    let shown = messages(&one.read());
    assert_eq!(messages(&other.read()), shown);
    assert_eq!((shown.len(), feed.written.get()), (5, 5));
}

/// What it does not take is lost: one frame waits for it, and the newest comes when it reads.
#[test]
fn a_viewer_that_does_not_read_holds_one_frame() {
    let (site, feed) = Site::with_feed();
    let (slow, quick) = (site.view(), site.view());
    let id = site.rt.connections(2)[0].id;
    slow.set_window(100);
    quick.set_window(1 << 20);

    site.run_for(200 * MS);
    let waits = site.rt.queued(id);
    site.run_for(10_000 * MS);

    assert!((1..2000).contains(&waits), "{waits}");
    assert_eq!(site.rt.queued(id), waits);
    assert_eq!(messages(&quick.read()).len(), 102);
    assert_eq!(feed.written.get(), 102);

    slow.set_window(1 << 16);
    let mut bytes = slow.read();
    site.run_for(100 * MS);
    bytes.extend(slow.read());
    let shown = messages(&bytes);
    assert_eq!(shown.len(), 2);
    assert!(shown[1].contains(r#""uptime_us":103"#), "{}", shown[1]);
}

#[test]
fn viewers_that_do_not_read_cost_no_snapshot() {
    let (site, feed) = Site::with_feed();
    let slow = site.view();
    slow.set_window(0);

    site.run_for(5000 * MS);

    assert_eq!(feed.written.get(), 1);
}

#[test]
fn the_timer_is_there_while_somebody_looks() {
    let (site, _feed) = Site::with_feed();
    let idle = site.rt.stats().timers;

    let (one, other) = (site.view(), site.view());
    let watched = site.rt.stats().timers;
    one.reset();
    site.run_for(300 * MS);
    assert_eq!(messages(&other.read()).len(), 3);
    other.reset();
    site.run_for(MS);

    // A deadline for each connection, to ping it, and one feed and one probe for both.
    assert_eq!((idle, watched), (0, 4));
    assert_eq!((site.rt.stats().timers, site.world.next_event()), (0, None));
    let turns = site.rt.stats().turns;
    site.run_for(60_000 * MS);
    assert_eq!(site.rt.stats().turns, turns);

    let again = site.view();
    site.run_for(100 * MS);
    assert_eq!(messages(&again.read()).len(), 1);
}

#[test]
fn a_page_from_elsewhere_may_not_look() {
    let site = Site::live();

    let own = site.ask(&handshake("Origin: http://a\r\n")).read();
    let strange = site.ask(&handshake("Origin: http://b\r\n")).read();

    assert!(own.starts_with(b"HTTP/1.1 101 "));
    assert!(strange.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&strange));
}

#[test]
fn one_viewer_too_many_is_told_to_come_later() {
    let site = Site::live();
    let mut viewers: Vec<Wire> = (0..64).map(|_| site.view()).collect();

    let refused = site.ask(&handshake("")).read();
    viewers.pop().unwrap().reset();
    site.run_for(MS);

    assert!(refused.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&refused));
    site.view();
}

#[test]
fn what_a_viewer_says_is_ignored_and_bounded() {
    let site = Site::live();
    let (polite, rude) = (site.view(), site.view());

    polite.write(b"\x81\x82\0\0\0\0hi");
    rude.write(b"\x81\xfe\x00\x7e\0\0\0\0");
    site.run_for(100 * MS);

    assert_eq!(messages(&polite.read()).len(), 1);
    // RFC 6455, section 7.4.1: 1009, too big.
    assert!(rude.read().starts_with(b"\x88\x02\x03\xf1"));
}

/// A whole frame of a client, whose mask is zero.
fn say(wire: &Wire, word: &str) {
    wire.write(&[0x81, 0x80 | u8::try_from(word.len()).unwrap(), 0, 0, 0, 0]);
    wire.write(word.as_bytes());
}

#[test]
fn a_stall_is_a_high_bar_and_a_late_timer() {
    let site = Site::stalling(false);
    let viewer = site.view_here();
    site.run_for(500 * MS);
    let before = site.rt.stats().late.buckets()[18];
    viewer.read();

    say(&viewer, "stall");
    site.run_for(300 * MS);

    // Bucket 18: from 131 to 262 ms.
    assert!(site.rt.stats().late.buckets()[18] > before);
    let shown = messages(&viewer.read()).concat();
    let high = |text: &str| text.parse().is_ok_and(|us: u64| (180_000..=200_000).contains(&us));
    let bars = shown.split("\"worst_us\":[").skip(1).filter_map(|at| at.split(']').next());
    assert!(bars.last().unwrap().split(',').any(high), "{shown}");
}

#[test]
fn stalls_are_a_second_apart() {
    let site = Site::stalling(false);
    let viewer = site.view_here();
    let start = site.world.now();

    for _ in 0..50 {
        say(&viewer, "stall");
    }
    let mut stalled = 0;
    while site.world.next_event().is_some_and(|at| at - start < 900 * MS) {
        let before = site.world.now();
        site.rt.dispatch().unwrap();
        stalled += u32::from(site.world.now() - before >= 200 * MS);
        let next = site.world.next_event().unwrap();
        site.world.advance_to(next);
        say(&viewer, "stall");
    }

    assert_eq!(stalled, 1);
}

#[test]
fn only_a_page_of_this_machine_may_act() {
    let pages = [
        ("localhost:80", "Origin: http://localhost\r\n", true),
        ("127.0.0.1", "Origin: http://127.0.0.1\r\n", true),
        ("[::1]:80", "Origin: http://[::1]\r\n", true),
        // No page at all; a name that somebody had lead here; another machine.
        ("localhost", "", false),
        ("rebound.example", "Origin: http://rebound.example\r\n", false),
        ("10.0.0.1", "Origin: http://10.0.0.1\r\n", false),
        ("127.0.0.1.example", "Origin: http://127.0.0.1.example\r\n", false),
    ];
    for for_all in [false, true] {
        for (host, origin, local) in pages {
            let site = Site::stalling(for_all);
            let viewer = site.ask(&handshake_for(host, origin));
            let answer = String::from_utf8_lossy(&viewer.read()).into_owned();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{host}: {answer}");
            assert_eq!(answer.contains("may"), local || for_all, "{host} {origin}");

            say(&viewer, "open");
            site.run_for(50 * MS);

            assert_eq!(site.states().len(), if local || for_all { 5 } else { 0 }, "{host}");
        }
    }
}

#[test]
fn sockets_are_opened_and_one_that_is_dropped_comes_back() {
    let site = Site::stalling(false);
    let viewer = site.view_here();

    say(&viewer, "open");
    site.run_for(150 * MS);
    assert_eq!(site.states(), ["open"; 5]);
    assert_eq!(site.rt.stats().open, 11);

    viewer.read();
    say(&viewer, "drop");
    site.run_for(150 * MS);
    assert_eq!(site.states(), ["open", "open", "open", "open", "waiting"]);
    let shown = messages(&viewer.read()).pop().unwrap();
    assert!(
        shown.contains(r#""url":"127.0.0.1:80/_lodger/socket","state":"waiting","failures":1"#)
    );
    site.run_for(3000 * MS);
    assert_eq!(site.states(), ["open"; 5]);

    for _ in 0..9 {
        say(&viewer, "open");
    }
    site.run_for(150 * MS);
    assert_eq!(site.states(), ["open"; 20]);
}

/// They go to where the viewer came in, by whatever way that was.
#[test]
fn sockets_are_opened_on_a_unix_socket_too() {
    let site = Site::stalling(true);
    let live = Live::new("/_lodger").controls_for_all(true);
    site.rt.listen("unix:/run/x.sock", live.mount(http::Server::new())).unwrap();
    let viewer = site.world.connect(&Addr::parse("unix:/run/x.sock").unwrap()).unwrap();
    viewer.write(handshake("").as_bytes());
    site.run_for(MS);

    say(&viewer, "open");
    site.run_for(150 * MS);

    assert_eq!(site.states(), ["open"; 5]);
    assert_eq!(site.rt.streams(1)[0].url, "unix:/run/x.sock/_lodger/socket");
}

#[test]
fn sockets_end_with_the_last_look_and_nothing_is_left() {
    let site = Site::stalling(false);
    let (viewer, other) = (site.view_here(), site.view());
    say(&viewer, "open");
    site.run_for(150 * MS);
    say(&viewer, "drop");
    site.run_for(150 * MS);

    viewer.reset();
    site.run_for(150 * MS);
    assert_eq!(site.states().len(), 5);
    other.reset();
    site.run_for(5000 * MS);

    assert!(site.states().is_empty());
    let stats = site.rt.stats();
    assert_eq!((stats.open, stats.timers, site.world.next_event()), (0, 0, None));
    let ask = handshake("").replace("/feed", "/socket");
    assert!(site.ask(&ask).read().starts_with(b"HTTP/1.1 404 "));
}

#[test]
fn the_feed_lists_timers_with_its_own_marked() {
    let site = Site::live();
    site.rt.after(1000 * MS, |_| {});
    let viewer = site.view();

    site.run_for(100 * MS);

    let shown = messages(&viewer.read()).pop().unwrap();
    let list = shown.split("\"list\":").nth(1).unwrap().split(']').next().unwrap();
    assert!(list.contains(r#""kind":"once","due_us":900000}"#), "{list}");
    assert!(
        list.contains(
            r#""kind":"every","due_us":100000,"period_us":100000,"of":"this page's feed"}"#
        ),
        "{list}"
    );
    assert!(list.contains(r#""period_us":20000,"of":"this page's probe"}"#), "{list}");
}

#[test]
fn the_list_ends_at_a_hundred_connections() {
    let site = Site::live();
    let idle: Vec<Wire> = (0..120).map(|_| site.ask("")).collect();
    let viewer = site.view();
    assert_eq!(idle.len(), 120);

    site.run_for(100 * MS);

    let shown = messages(&viewer.read());
    assert!(shown[0].contains(r#""open":121,"accepted":121,"#));
    assert!(shown[0].contains(r#""shown":100,"#));
    assert_eq!(shown[0].matches(r#""peer":""#).count(), 100);
}

#[test]
fn the_page_comes_with_its_policy_and_its_feed() {
    let site = Site::new(Live::new("/status/").also("/").mount(http::Server::new()));

    for path in ["/status", "/status/", "/"] {
        let page = site.get(path);
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for line in [
            "Content-Type: text/html; charset=utf-8",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-cache",
            &std::format!("content-security-policy: {POLICY}"),
        ] {
            assert!(head.lines().any(|l| l == line), "{line}");
        }
        assert!(body.contains(r#"<meta name="feed" content="/status/feed">"#));
    }
    assert!(site.get("/_lodger").starts_with("HTTP/1.1 404 "));
    assert!(site.get("/status/feed").starts_with("HTTP/1.1 426 "));
}

#[test]
fn the_page_may_stand_at_the_root() {
    let site = Site::new(Live::new("/").mount(http::Server::new()));

    assert!(site.get("/").contains(r#"<meta name="feed" content="/feed">"#));
}

#[test]
fn a_path_that_is_taken_is_told_by_listen() {
    let server = http::Server::new().get("/a", |_, response| response.empty());
    let world = World::new(1);
    let rt = Runtime::with(world.driver(), world.net(), Limits::default());

    let refused = rt.listen(AT, Live::new("/a").mount(server)).unwrap_err();

    assert_eq!(refused.error.to_string(), "GET /a is there twice");
}

#[test]
fn the_page_has_one_place_for_its_feed() {
    assert_eq!(PAGE.matches(META).count(), 1);
    assert_eq!(*page_for("/_lodger/feed"), *PAGE);
    assert_eq!(escaped("/a&\"<b"), "/a&amp;&quot;&lt;b");
}

/// What a broker does is added up for whoever looks, and shown beside the rest.
#[cfg(feature = "mqtt")]
#[test]
fn a_brokers_figures_are_shown_where_there_is_one() {
    let world = World::new(1);
    let rt = Runtime::with(world.driver(), world.net(), Limits::default());
    let broker = crate::mqtt::Broker::new(&rt, crate::mqtt::BrokerConfig::new());
    let live = Live::new("/_lodger").broker(&broker);
    rt.listen(AT, live.mount(http::Server::new())).unwrap();
    rt.listen("127.0.0.1:1883", broker.clone()).unwrap();
    let site = Site { world, rt };
    broker.publish("kept", b"1", crate::mqtt::Qos::AtMostOnce, true).unwrap();
    let client = crate::mqtt::Client::new("mqtt://127.0.0.1:1883").connect(&site.rt).unwrap();
    let _sub = client.subscribe("#", crate::mqtt::Qos::AtLeastOnce, |_, _| {}).unwrap();
    site.run_for(Duration::from_millis(20));
    let message = crate::mqtt::Outgoing::new("t", b"2").qos(crate::mqtt::Qos::AtLeastOnce);
    client.publish(message).unwrap();
    site.run_for(Duration::from_millis(20));

    let viewer = site.view();
    site.run_for(Duration::from_millis(150));

    let told = messages(&viewer.read());
    let shown = r#""broker":{"sessions":1,"connected":1,"subscriptions":1,"retained":1,"received":1,"sent":2,"dropped":0,"in_flight":0,"queued":0}"#;
    assert!(told.last().unwrap().contains(shown), "{told:?}");
    let none = Site::live();
    let viewer = none.view();
    none.run_for(Duration::from_millis(150));
    assert!(!messages(&viewer.read()).last().unwrap().contains("broker"));
}
