//! Clients through proxies: absolute-form, CONNECT and SOCKS5, plain and by TLS, and what goes wrong
//! there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lodger::http::{Client, Failure, Proxies, Proxy, Stage, Whole};
#[cfg(feature = "mqtt")]
use lodger::mqtt::{self, Broker, BrokerConfig, ClientEvent, Outgoing, Qos};
#[cfg(feature = "mqtt")]
use lodger::policy::Retry;
use lodger::sim::Faults;
use lodger::{ConnId, Handle, Limits, Reason, http, raw, tls, ws};
use lodger_backend::{Addr, Trigger};

use crate::kit::{self, Echo, Log, Rig, TRIGGERS, ms, secs};
use crate::tls::configs;

/// A proxy by hand, at port 81: every tunnel leads to the rig's server. What is asked of itself it
/// answers as [`answer`] says.
struct Front {
    log: Log,
    asked: usize,
    input: Vec<u8>,
    stage: Step,
    back: Option<ConnId>,
}

#[derive(PartialEq)]
enum Step {
    First,
    Login,
    Request,
    Through,
}

struct Back {
    front: ConnId,
    hello: &'static [u8],
}

impl raw::Handler for Back {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        _ = cx.runtime().send_bytes(self.front, self.hello);
    }

    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        _ = cx.runtime().send_bytes(self.front, bytes);
    }

    fn end(&mut self, cx: &mut raw::Cx<'_>) {
        _ = cx.runtime().close_bytes(self.front);
    }

    fn closed(&mut self, cx: &mut raw::Cx<'_>, _why: Reason) {
        _ = cx.runtime().close_bytes(self.front);
    }
}

const SOCKS_HELLO: &[u8] = b"\x05\0\0\x01\0\0\0\0\0\0";

impl Front {
    fn through(&mut self, h: &Handle, front: ConnId, hello: &'static [u8]) {
        let to = Addr::parse("127.0.0.1:80").unwrap();
        self.back = Some(h.connect(&to, Back { front, hello }));
        self.stage = Step::Through;
        self.input.clear();
    }

    /// Answers whole requests in absolute-form.
    fn pass(&mut self, cx: &mut raw::Cx<'_>) {
        while let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(self.input[..end].to_vec()).unwrap();
            let field = |name: &str| {
                let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
                line.and_then(|line| line.split_once(": ")).map_or("-", |(_, value)| value)
            };
            let body = field("content-length").parse().unwrap_or(0);
            if self.input.len() < end + 4 + body {
                return;
            }
            let line = head.lines().next().unwrap();
            let (host, login) = (field("host"), field("proxy-authorization"));
            self.log.add(format!("{}: {line}, {host}, {login}", self.asked));
            cx.send(answer(line, login).as_bytes()).unwrap();
            self.asked += 1;
            self.input.drain(..end + 4 + body);
        }
    }

    fn step(&mut self, cx: &mut raw::Cx<'_>) {
        let input = self.input.clone();
        match self.stage {
            Step::First if input[0] == b'C' => {
                let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return;
                };
                let head = std::str::from_utf8(&input[..end]).unwrap();
                let line = head.lines().next().unwrap();
                let login = head.lines().find(|line| line.starts_with("Proxy-Auth"));
                self.log.add(format!("{line} {}", login.unwrap_or("-")));
                let (h, id) = (cx.runtime().clone(), cx.id());
                self.through(&h, id, b"HTTP/1.1 200 fine\r\nContent-Length: 5\r\n\r\n");
            }
            Step::First if input[0].is_ascii_uppercase() => self.pass(cx),
            Step::First if input.len() == 2 + usize::from(*input.get(1).unwrap_or(&9)) => {
                let with = input[2..].contains(&2);
                cx.send(if with { b"\x05\x02" } else { b"\x05\0" }).unwrap();
                self.stage = if with { Step::Login } else { Step::Request };
                self.input.clear();
            }
            Step::Login if input.len() == 11 => {
                self.log.add(format!("login {:?}", std::str::from_utf8(&input).unwrap()));
                cx.send(b"\x01\0").unwrap();
                self.stage = Step::Request;
                self.input.clear();
            }
            Step::Request if input.len() > 5 && input.len() == 7 + usize::from(input[4]) => {
                self.log.add(format!("socks {}", input[5..].escape_ascii()));
                let (h, id) = (cx.runtime().clone(), cx.id());
                self.through(&h, id, SOCKS_HELLO);
            }
            _ => {}
        }
    }
}

/// What the proxy says to a request of this line, by whom it knows.
fn answer(line: &str, login: &str) -> String {
    let target = line.split(' ').nth(1).unwrap();
    match target.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
        Some((_, "moved")) if target.contains("near") => found("https://far.test/"),
        Some((_, "moved")) => found("http://127.0.0.1/"),
        Some(("private.test", _)) if login == "-" => {
            "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno"
                .into()
        }
        Some((host, _)) => {
            format!("HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n{host}", host.len())
        }
        None => "HTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n".into(),
    }
}

fn found(location: &str) -> String {
    format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

impl raw::Handler for Front {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        if let (Step::Through, Some(back)) = (&self.stage, self.back) {
            _ = cx.runtime().send_bytes(back, bytes);
            return;
        }
        self.input.extend_from_slice(bytes);
        self.step(cx);
    }

    fn closed(&mut self, cx: &mut raw::Cx<'_>, _why: Reason) {
        if let Some(back) = self.back {
            _ = cx.runtime().close_bytes(back);
        }
    }
}

fn proxy(rig: &Rig) -> Log {
    let log = Log::default();
    rig.rt.listen("127.0.0.1:81", raw::Server::new(fronts(&log))).unwrap();
    log
}

/// The same, reached by TLS.
fn secure_proxy(rig: &Rig, server: &tls::ServerConfig) -> Log {
    let log = Log::default();
    let proxy = tls::Server::new(server, raw::Server::new(fronts(&log)));
    rig.rt.listen("127.0.0.1:81", proxy).unwrap();
    log
}

fn fronts(log: &Log) -> impl Fn(&raw::Accepted<'_>) -> Option<Front> + 'static {
    let into = log.clone();
    move |_| {
        let log = into.clone();
        Some(Front { log, asked: 0, input: Vec::new(), stage: Step::First, back: None })
    }
}

fn get(rig: &Rig, client: &Client, url: &str) -> Result<Whole, Failure> {
    get_within(rig, client, url, secs(30))
}

/// Of a server that answers at once: connections are still kept.
fn soon(rig: &Rig, client: &Client, url: &str) -> Result<Whole, Failure> {
    get_within(rig, client, url, secs(1))
}

fn get_within(rig: &Rig, client: &Client, url: &str, time: Duration) -> Result<Whole, Failure> {
    let got = Rc::new(RefCell::new(Vec::new()));
    let into = Rc::clone(&got);
    client.get(url).whole(1 << 20, move |result| into.borrow_mut().push(result));
    rig.run_for(time);
    assert_eq!(got.borrow().len(), 1, "told exactly once");
    got.borrow_mut().pop().unwrap()
}

fn served() -> http::Server {
    http::Server::new()
        .get("/", |req, res| {
            assert!(req.header("proxy-authorization").is_none());
            res.text(if req.tls().is_some() { "by TLS" } else { "plain" })
        })
        .ws("/echo", |_| Ok(Echo))
}

fn through(url: &str) -> Proxies {
    Proxies::all(&Proxy::parse(url).unwrap())
}

fn tunnels(url: &str) -> Proxies {
    Proxies::all(&Proxy::parse(url).unwrap().only_tunnels())
}

const PROXIES: [(&str, &[&str]); 3] = [
    (
        "http://me:secret@127.0.0.1:81",
        &["CONNECT far.test:443 HTTP/1.1 Proxy-Authorization: Basic bWU6c2VjcmV0"],
    ),
    ("socks5://127.0.0.1:81", &["socks far.test\\x01\\xbb"]),
    (
        "socks5h://me:secret@127.0.0.1:81",
        &["login \"\\u{1}\\u{2}me\\u{6}secret\"", "socks far.test\\x01\\xbb"],
    ),
];

/// Nobody here knows far.test: its name goes to the proxy.
#[test]
fn https_goes_through_a_tunnel() {
    for trigger in TRIGGERS {
        for (url, heard) in PROXIES {
            let rig = Rig::new(trigger);
            let (server, trust) = configs(&["far.test"]);
            rig.serve(tls::Server::new(&server, served()));
            let log = proxy(&rig);
            let client = Client::new(&rig.rt);
            client.tls(&trust);
            client.proxies(&through(url));

            let whole = get(&rig, &client, "https://far.test/").unwrap();

            assert_eq!((whole.status, &*whole.body), (200, &b"by TLS"[..]), "{url}");
            assert!(whole.timing.connect.is_some() && whole.timing.tls.is_some());
            assert!(whole.timing.name.is_none());
            assert_eq!(log.take(), heard, "{trigger:?}");
            rig.run_for(secs(60));
            assert_eq!(rig.rt.stats().open, 0, "{url} {trigger:?}");
            rig.end();
        }
    }
}

#[test]
fn plain_requests_and_websockets_go_through_tunnels_too() {
    let mut faults = Faults::none();
    (faults.short_reads, faults.short_writes, faults.would_block) = (300, 300, 200);
    for (seed, faults) in [(1, Faults::none()), (2, faults), (3, faults), (4, faults)] {
        for (url, _) in PROXIES {
            let rig = Rig::with(Trigger::Edge, Limits::default(), seed, faults);
            rig.serve(served());
            let log = proxy(&rig);
            let client = Client::new(&rig.rt);
            client.proxies(&tunnels(url));

            assert_eq!(get(&rig, &client, "http://far.test/").unwrap().body, b"plain");
            let before = log.take().len();
            let heard = Log::default();
            let own = ws::Client::new("ws://far.test/echo").proxies(&through(url));
            let first = own.connect(&rig.rt, Says(heard.clone())).unwrap();
            let shared = ws::Client::new("ws://far.test/echo").by(&client);
            let second = shared.connect(&rig.rt, Says(heard.clone())).unwrap();
            rig.run_for(secs(1));

            assert_eq!(heard.take(), ["Text(\"hello\")", "Text(\"hello\")"], "{seed} {url}");
            assert_eq!(log.take().len(), before * 2);
            first.close(1000);
            second.close(1000);
            rig.run_for(secs(60));
            assert_eq!(rig.rt.stats().open, 0);
            rig.end();
        }
    }
}

/// RFC 9112, sections 3.2.2 and 3.2.1.
#[test]
fn plain_requests_are_asked_of_the_proxy_itself() {
    let mut faults = Faults::none();
    (faults.short_reads, faults.short_writes, faults.would_block) = (300, 300, 200);
    for trigger in TRIGGERS {
        for (seed, faults) in [(1, Faults::none()), (2, faults), (3, faults)] {
            let rig = Rig::with(trigger, Limits::default(), seed, faults);
            let log = proxy(&rig);
            let client = Client::new(&rig.rt);
            client.proxies(&through("http://me:secret@127.0.0.1:81"));

            assert_eq!(soon(&rig, &client, "http://far.test/a?b").unwrap().body, b"far.test");
            assert_eq!(soon(&rig, &client, "http://Far.test").unwrap().status, 200);
            assert_eq!(soon(&rig, &client, "http://[::9]:8/").unwrap().body, b"[::9]:8");
            let got = Log::default();
            let into = got.clone();
            let post = client.post("http://far.test/c", b"abc").header("Proxy-Authorization", "x");
            post.whole(9, move |result| into.add(result.unwrap().status.to_string()));
            rig.run_for(secs(1));

            assert_eq!(got.take(), ["200"]);
            let basic = "Basic bWU6c2VjcmV0";
            let heard = [
                format!("0: GET http://far.test/a?b HTTP/1.1, far.test, {basic}"),
                format!("1: GET http://Far.test/ HTTP/1.1, Far.test, {basic}"),
                format!("0: GET http://[::9]:8/ HTTP/1.1, [::9]:8, {basic}"),
                format!("2: POST http://far.test/c HTTP/1.1, far.test, {basic}"),
            ];
            assert_eq!(log.take(), heard, "{trigger:?} {seed}");
            rig.run_for(secs(60));
            assert_eq!(rig.rt.stats().open, 0);
            rig.end();
        }
    }
}

/// RFC 9110, section 15.5.8: the proxy's own answer is a response like any other.
#[test]
fn that_a_proxy_wants_a_login_is_an_answer() {
    let rig = Rig::new(Trigger::Edge);
    let log = proxy(&rig);
    let client = Client::new(&rig.rt);
    client.proxies(&through("http://127.0.0.1:81"));

    let refused = get(&rig, &client, "http://private.test/").unwrap();
    client.proxies(&through("http://a:@127.0.0.1:81"));
    let taken = get(&rig, &client, "http://private.test/").unwrap();

    assert_eq!((refused.status, &*refused.body), (407, &b"no"[..]));
    assert_eq!(refused.header("proxy-authenticate"), Some("Basic realm=\"x\""));
    assert_eq!(taken.status, 200);
    assert_eq!(log.take().len(), 2);
    rig.end();
}

/// A redirect leads from the proxy to a server that is reached directly, and into a tunnel.
#[test]
fn no_server_sees_the_login_of_a_proxy() {
    let rig = Rig::new(Trigger::Edge);
    let (server, trust) = configs(&["far.test"]);
    let secure = rig.serve(tls::Server::new(&server, served()));
    let log = proxy(&rig);
    let client = Client::new(&rig.rt);
    client.tls(&trust);
    client.proxies(&through("http://me:secret@127.0.0.1:81").except("127.0.0.1"));

    assert_eq!(get(&rig, &client, "http://near.test/moved").unwrap().body, b"by TLS");
    rig.rt.unlisten(secure).unwrap();
    rig.run_for(secs(60));
    rig.serve(served());
    assert_eq!(get(&rig, &client, "http://far.test/moved").unwrap().body, b"plain");

    let basic = "Basic bWU6c2VjcmV0";
    let heard = [
        format!("0: GET http://near.test/moved HTTP/1.1, near.test, {basic}"),
        format!("CONNECT far.test:443 HTTP/1.1 Proxy-Authorization: {basic}"),
        format!("0: GET http://far.test/moved HTTP/1.1, far.test, {basic}"),
    ];
    assert_eq!(log.take(), heard);
    rig.end();
}

/// A connection to a server carries nothing that is written for a proxy, nor the other way round.
#[test]
fn connections_to_a_proxy_are_kept_apart() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(served());
    let log = proxy(&rig);
    let client = Client::new(&rig.rt);
    let page = "http://127.0.0.1/";

    assert_eq!(soon(&rig, &client, page).unwrap().body, b"plain");
    client.proxies(&through("http://127.0.0.1:81"));
    assert_eq!(soon(&rig, &client, page).unwrap().body, b"127.0.0.1");
    client.proxies(&Proxies::default());
    assert_eq!(soon(&rig, &client, page).unwrap().body, b"plain");

    assert_eq!(log.take(), ["0: GET http://127.0.0.1/ HTTP/1.1, 127.0.0.1, -"]);
    rig.end();
}

/// HTTP/2 without TLS is nothing that a proxy is asked for itself.
#[cfg(feature = "h2")]
#[test]
fn http2_by_prior_knowledge_goes_through_a_tunnel() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(served());
    let log = proxy(&rig);
    let client = Client::new(&rig.rt).http2();
    client.proxies(&through("http://127.0.0.1:81"));

    assert_eq!(get(&rig, &client, "http://far.test/").unwrap().body, b"plain");

    assert_eq!(log.take(), ["CONNECT far.test:80 HTTP/1.1 -"]);
    rig.end();
}

struct Says(Log);

impl ws::Handler for Says {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        cx.send(ws::Message::Text("hello")).unwrap();
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        self.0.add(format!("{message:?}"));
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        if !matches!(why, Reason::Closed { .. }) {
            self.0.add(format!("closed {}", kit::name(why)));
        }
    }
}

#[test]
fn exceptions_are_reached_directly() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(served());
    let log = proxy(&rig);
    let client = Client::new(&rig.rt);
    client.proxies(&through("http://127.0.0.1:81").except("127.0.0.1"));

    assert_eq!(get(&rig, &client, "http://127.0.0.1/").unwrap().body, b"plain");

    assert!(log.take().is_empty());
    rig.end();
}

/// Answers every connection with these bytes, again and again if `forever`, and ends it if told.
struct Hostile(&'static [u8], bool, bool);

impl raw::Handler for Hostile {
    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.send(self.0).unwrap();
        if self.1 {
            cx.timer(0, ms(1)).unwrap();
        }
        if self.2 {
            cx.close();
        }
    }

    fn timer(&mut self, cx: &mut raw::Cx<'_>, _tag: u64) {
        if cx.send(self.0).is_ok() {
            cx.timer(0, ms(1)).unwrap();
        }
    }
}

/// What a hostile proxy does to a request; gives the failure, which has its stage.
fn fails(kind: &str, bytes: &'static [u8], forever: bool, ends: bool) -> Failure {
    let rig = Rig::new(Trigger::Edge);
    let make = move |_: &raw::Accepted<'_>| Some(Hostile(bytes, forever, ends));
    rig.rt.listen("127.0.0.1:81", raw::Server::new(make)).unwrap();
    let (_, trust) = configs(&["far.test"]);
    let failure = |url: &str| {
        let client = Client::new(&rig.rt);
        client.tls(&trust);
        client.proxies(&tunnels(&format!("{kind}://127.0.0.1:81")));
        get(&rig, &client, url).unwrap_err()
    };
    let (plain, secure) = (failure("http://far.test/"), failure("https://far.test/"));
    assert_eq!((plain.stage, plain.why), (secure.stage, secure.why));
    assert!(plain.never_sent && plain.timing.connect.is_some());
    assert_eq!(rig.rt.stats().handshakes_failed, 0);
    rig.run_for(secs(60));
    rig.end();
    plain
}

#[test]
fn what_a_proxy_does_wrong_is_told_with_its_stage() {
    let refused = fails("http", b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n", false, false);
    assert_eq!((refused.stage, refused.why), (Stage::Proxy, Reason::Refused { status: 407 }));
    assert_eq!(refused.to_string(), "no way through the proxy: refused with status 407");
    let socks = fails("socks5", b"\x05\xff", false, false);
    assert!(socks.to_string().contains("wants a name and password"), "{socks}");
    for (kind, bytes, forever) in [
        ("http", &b"SSH-2.0-x\r\n"[..], false),
        (
            "http",
            b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
            true,
        ),
        ("http", b"HTTP/1.1 100 x\r\n\r\n", true),
        ("socks5", b"HTTP/1.1 400 x\r\n\r\n", false),
        ("socks5", b"\x05\x00\x05\x01\0\x01\0\0\0\0\0\0", false),
    ] {
        let failure = fails(kind, bytes, forever, false);
        assert_eq!(failure.stage, Stage::Proxy, "{failure}");
        assert!(matches!(failure.why, Reason::Peer(_)), "{failure}");
    }
    assert_eq!(fails("socks5", b"\x05", false, false).why, Reason::ConnectTimeout);
    assert_eq!(fails("http", b"HTTP/1.1 2", false, true).why, Reason::Eof);
}

#[test]
fn a_proxy_that_is_not_there_is_no_connection() {
    let rig = Rig::new(Trigger::Edge);
    let client = Client::new(&rig.rt);
    client.proxies(&through("http://127.0.0.1:81"));

    assert_eq!(get(&rig, &client, "http://far.test/").unwrap_err().stage, Stage::Connect);
    rig.end();
}

const SECURE_PROXY: &str = "https://me:secret@localhost:81";

/// TLS in TLS, and both ways longer than a window of either.
#[test]
fn https_goes_through_a_proxy_that_is_reached_by_tls() {
    let mut faults = Faults::none();
    (faults.short_reads, faults.short_writes, faults.would_block) = (300, 300, 200);
    for trigger in TRIGGERS {
        for (seed, faults) in [(1, Faults::none()), (2, faults), (3, faults)] {
            let rig = Rig::with(trigger, Limits::default(), seed, faults);
            let (server, trust) = configs(&["far.test", "localhost"]);
            let routes = served()
                .get("/big", |_, res| res.bytes("x/y", &[b'x'; 300_000]))
                .post("/", |_, res| res.read_body(|body, res| res.text(&body.len().to_string())));
            rig.serve(tls::Server::new(&server, routes));
            let log = secure_proxy(&rig, &server);
            let client = Client::new(&rig.rt);
            client.tls(&trust);
            client.proxies(&through(SECURE_PROXY));
            let client = if seed == 2 { client.http1() } else { client };

            assert_eq!(soon(&rig, &client, "https://far.test/").unwrap().body, b"by TLS");
            assert_eq!(soon(&rig, &client, "https://far.test/big").unwrap().body.len(), 300_000);
            let (heard, got) = (Log::default(), Log::default());
            let into = got.clone();
            client.post("https://far.test/", &[1; 300_000]).whole(9, move |result| {
                into.add(String::from_utf8_lossy(&result.unwrap().body));
            });
            let says = ws::Client::new("wss://far.test/echo").by(&client);
            let says = says.connect(&rig.rt, Says(heard.clone())).unwrap();
            rig.run_for(secs(1));

            assert_eq!((heard.take().len(), got.take()), (1, vec!["300000".to_owned()]));
            let line = "CONNECT far.test:443 HTTP/1.1 Proxy-Authorization: Basic bWU6c2VjcmV0";
            let asked = log.take();
            assert!(!asked.is_empty() && asked.iter().all(|asked| asked == line), "{asked:?}");
            says.close(1000);
            rig.run_for(secs(60));
            assert_eq!(rig.rt.stats().open, 0, "{trigger:?} {seed}");
            rig.end();
        }
    }
}

#[test]
fn what_is_plain_goes_through_a_proxy_that_is_reached_by_tls() {
    let mut faults = Faults::none();
    (faults.short_reads, faults.short_writes, faults.would_block) = (300, 300, 200);
    for (seed, faults) in [(1, Faults::none()), (2, faults), (3, faults), (4, faults)] {
        let rig = Rig::with(Trigger::Edge, Limits::default(), seed, faults);
        let (server, trust) = configs(&["localhost"]);
        rig.serve(served());
        let log = secure_proxy(&rig, &server);
        let client = Client::new(&rig.rt);
        client.tls(&trust);
        client.proxies(&through(SECURE_PROXY));

        assert_eq!(soon(&rig, &client, "http://far.test/").unwrap().body, b"far.test");
        assert_eq!(soon(&rig, &client, "http://far.test/").unwrap().body, b"far.test");
        let heard = Log::default();
        let says = ws::Client::new("ws://far.test/echo").by(&client);
        let says = says.connect(&rig.rt, Says(heard.clone())).unwrap();
        rig.run_for(secs(1));
        client.proxies(&tunnels(SECURE_PROXY));
        assert_eq!(soon(&rig, &client, "http://other.test/").unwrap().body, b"plain");

        let basic = "Basic bWU6c2VjcmV0";
        let asked = [
            format!("0: GET http://far.test/ HTTP/1.1, far.test, {basic}"),
            format!("1: GET http://far.test/ HTTP/1.1, far.test, {basic}"),
            format!("CONNECT far.test:80 HTTP/1.1 Proxy-Authorization: {basic}"),
            format!("CONNECT other.test:80 HTTP/1.1 Proxy-Authorization: {basic}"),
        ];
        assert_eq!((heard.take().len(), log.take()), (1, asked.to_vec()));
        says.close(1000);
        rig.run_for(secs(60));
        assert_eq!(rig.rt.stats().open, 0);
        rig.end();
    }
}

/// Nothing is asked of a proxy that is not who it says it is; one that ends too soon is told of.
#[test]
fn a_proxy_by_tls_that_is_wrong_is_told_with_its_stage() {
    let rig = Rig::new(Trigger::Edge);
    let (server, trust) = configs(&["localhost"]);
    let (_, stranger) = configs(&["localhost"]);
    let log = secure_proxy(&rig, &server);
    let client = Client::new(&rig.rt);
    client.tls(&stranger);
    client.proxies(&through(SECURE_PROXY));

    let plain = get(&rig, &client, "http://far.test/").unwrap_err();
    let secure = get(&rig, &client, "https://far.test/").unwrap_err();
    assert_eq!((plain.stage, secure.stage), (Stage::Tls, Stage::Proxy));
    assert!(plain.to_string().contains("signature") && secure.to_string().contains("signature"));
    assert!(log.take().is_empty());

    client.tls(&trust);
    for (port, bytes) in [(82, &b"HTTP/1.1 2"[..]), (83, b"HTTP/1.1 407 x\r\n\r\n")] {
        let make = move |_: &raw::Accepted<'_>| Some(Hostile(bytes, false, true));
        let hostile = tls::Server::new(&server, raw::Server::new(make));
        rig.rt.listen(&format!("127.0.0.1:{port}"), hostile).unwrap();
        client.proxies(&through(&format!("https://localhost:{port}")));
        let failure = get(&rig, &client, "https://far.test/").unwrap_err();
        assert_eq!(failure.stage, Stage::Proxy, "{failure}");
        assert_eq!(failure.why == Reason::Refused { status: 407 }, port == 83, "{failure}");
    }
    rig.run_for(secs(60));
    assert_eq!(rig.rt.stats().open, 0);
    rig.end();
}

/// Answers with a body that its end alone ends, and is cut off.
struct Cut;

impl raw::Handler for Cut {
    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.send(b"HTTP/1.1 200 x\r\n\r\nhalf").unwrap();
        cx.timer(0, ms(5)).unwrap();
    }

    fn timer(&mut self, cx: &mut raw::Cx<'_>, _tag: u64) {
        cx.runtime().abort(cx.id());
    }
}

/// RFC 8446, section 6.1: the proxy's goodbye is none of the server's.
#[test]
fn a_proxy_cannot_cut_a_response_off() {
    let rig = Rig::new(Trigger::Edge);
    let (server, trust) = configs(&["far.test", "localhost"]);
    let cut = |_: &raw::Accepted<'_>| Some(Cut);
    rig.serve(tls::Server::new(&server, raw::Server::new(cut)));
    secure_proxy(&rig, &server);
    let client = Client::new(&rig.rt).http1();
    client.tls(&trust);
    client.proxies(&through(SECURE_PROXY));

    let failure = get(&rig, &client, "https://far.test/").unwrap_err();

    assert_eq!(failure.stage, Stage::Body, "{failure}");
    rig.end();
}

/// MQTT, also over TLS and in WebSockets: the client comes back the way it went.
#[cfg(feature = "mqtt")]
#[test]
fn mqtt_goes_through_tunnels() {
    for (proxy_url, _) in PROXIES {
        for url in ["mqtt://far.test", "mqtts://far.test", "ws://far.test/mqtt"] {
            let rig = Rig::new(Trigger::Edge);
            let (server, trust) = configs(&["far.test"]);
            let broker = Broker::new(&rig.rt, BrokerConfig::new());
            match url.split_once(':').unwrap().0 {
                "mqtts" => _ = rig.serve(tls::Server::new(&server, broker.clone())),
                "ws" => {
                    let (carries, config) =
                        (broker.clone(), mqtt::websocket_config(&<_>::default()));
                    let server = http::Server::new();
                    rig.serve(server.ws_with("/mqtt", config, move |_| Ok(carries.websocket())));
                }
                _ => _ = rig.serve(broker.clone()),
            }
            let log = proxy(&rig);
            let heard = Log::default();
            let into = heard.clone();
            let retry = Retry::new(&[ms(10)]).jitter(0);
            let client = mqtt::Client::new(url).tls(&trust).proxies(&through(proxy_url)).id("a");
            let client = client.retry(retry).session(secs(60)).connect(&rig.rt).unwrap();
            let sub = client.subscribe("a/#", Qos::AtLeastOnce, move |_, message| {
                into.add(String::from_utf8_lossy(message.payload));
            });
            rig.run_for(secs(1));
            assert!(client.is_connected(), "{proxy_url} {url}");
            let asked = log.take();
            assert!(asked.last().unwrap().contains("far.test"), "{asked:?}");

            client.publish(Outgoing::new("a/b", b"one").qos(Qos::AtLeastOnce)).unwrap();
            rig.run_for(secs(1));
            rig.rt.connections(99).iter().for_each(|info| rig.rt.abort(info.id));
            rig.run_for(secs(1));
            client.publish(Outgoing::new("a/b", b"two").qos(Qos::ExactlyOnce)).unwrap();
            rig.run_for(secs(1));

            assert_eq!(heard.take(), ["one", "two"], "{proxy_url} {url}");
            assert_eq!(log.take(), asked);
            drop(sub);
            client.close();
            rig.run_for(secs(60));
            assert_eq!(rig.rt.stats().open, 0);
            rig.end();
        }
    }
}

#[cfg(feature = "mqtt")]
#[test]
fn why_there_is_no_way_to_a_broker_is_told() {
    let why = |url: &str, bytes: &'static [u8]| {
        let rig = Rig::new(Trigger::Edge);
        let make = move |_: &raw::Accepted<'_>| Some(Hostile(bytes, false, false));
        rig.rt.listen("127.0.0.1:81", raw::Server::new(make)).unwrap();
        let told = Log::default();
        let into = told.clone();
        let client = mqtt::Client::new("mqtt://far.test").proxies(&through(url));
        let client = client.on_event(move |_, event| {
            if let ClientEvent::Disconnected { why, retry_in: None, .. } = event {
                into.add(why.to_string());
            }
        });
        client.connect(&rig.rt).unwrap();
        rig.run_for(secs(60));
        rig.end();
        told.take().join("; ")
    };

    let http = why("http://127.0.0.1:81", b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n");
    let socks = why("socks5://127.0.0.1:81", b"\x05\x00\x05\x02\0\x01\0\0\0\0\0\0");
    let silent = why("socks5://127.0.0.1:81", b"\x05");

    assert_eq!(http, "refused with status 403");
    assert!(socks.contains("not allowed by its rules"), "{socks}");
    assert_eq!(silent, Reason::ConnectTimeout.to_string());
}
