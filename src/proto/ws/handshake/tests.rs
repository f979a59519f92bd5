use super::{Accept, Offer, Refusal, Request, accept, check_answer};
use crate::Blame;
use crate::proto::ws::{Config, OriginRule};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn fields<'a>(list: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    list.iter().map(|(name, value)| (*name, value.as_bytes()))
}

/// Asks with a good key and version, and with `more`.
fn ask<'a>(more: &'a [(&'a str, &'a str)], config: &Config) -> Result<Accept<'a>, Refusal> {
    let good = [("sec-websocket-key", KEY), ("Sec-WebSocket-Version", "13")];
    let both = good.iter().chain(more).map(|(name, value)| (*name, value.as_bytes()));
    accept(&Offer::from_fields(both), config)
}

fn status(more: &[(&str, &str)], config: &Config) -> u16 {
    ask(more, config).map_or_else(|refusal| refusal.status, |_| 101)
}

fn lines(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    put(&mut out);
    String::from_utf8(out).unwrap()
}

/// RFC 6455, 1.3: its example.
#[test]
fn the_example_of_the_rfc() {
    let config = Config::default().protocols(&["superchat", "chat"]);
    let offer = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Origin", "http://server.example.com"),
        ("Sec-WebSocket-Protocol", "chat, superchat"),
    ];

    let accept = ask(&offer, &config).unwrap();

    assert_eq!(accept.protocol(), Some("superchat"), "the server's preference");
    assert_eq!(
        lines(|out| accept.put_fields(out)),
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: superchat\r\n"
    );
}

/// RFC 6455, 4.2.1 and 4.4.
#[test]
fn key_and_version_are_as_the_rfc_wants_them() {
    let answer = |list: &[(&str, &str)]| {
        let refused = accept(&Offer::from_fields(fields(list)), &Config::default());
        refused.map_or_else(|refusal| (refusal.status, refusal.fields), |_| (101, ""))
    };
    let version = ("sec-websocket-version", "13");

    assert_eq!(answer(&[("SEC-WEBSOCKET-KEY", KEY), version]), (101, ""));
    assert_eq!(answer(&[("sec-websocket-key", KEY)]), (400, ""));
    for other in ["8", "12", "14", "013", "13, 8", "", "x"] {
        assert_eq!(
            answer(&[("sec-websocket-key", KEY), ("sec-websocket-version", other)]),
            (426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        );
    }
    assert_eq!(answer(&[version]), (400, ""));
    for key in [
        "",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ==x",
        "*GhlIHNhbXBsZSBub25jZQ==",
    ] {
        assert_eq!(answer(&[("sec-websocket-key", key), version]), (400, ""), "{key:?}");
    }
}

#[test]
fn fields_that_are_there_twice_are_refused() {
    let any = Config::default().origin(OriginRule::Any);
    for name in ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Host", "Origin"] {
        let value = if name.ends_with("Key") { KEY } else { "13" };
        let twice = [(name, value), (name, value)];
        assert_eq!(status(&twice, &any), 400, "{name}");
    }
    assert_eq!(status(&[("Host", "a"), ("Origin", "http://a")], &any), 101);
}

/// RFC 6455, 10.2: a page connects to its own host and port, unless the route says otherwise.
#[test]
fn by_default_a_page_connects_to_its_own_host() {
    let config = Config::default();
    for (origin, host, insecure, secure) in [
        ("http://a.example", "a.example", 101, 403),
        ("https://a.example", "a.example", 101, 101),
        ("HTTP://A.Example", "a.EXAMPLE", 101, 403),
        ("http://a.example:80", "a.example", 101, 403),
        ("https://a.example", "a.example:443", 101, 101),
        ("http://a.example:", "a.example:80", 101, 101),
        ("http://127.0.0.1:7681", "127.0.0.1:7681", 101, 101),
        ("http://[::1]:7681", "[::1]:7681", 101, 101),
        ("http://[::1]", "[::1]", 101, 403),
        ("http://[::1]", "[::2]", 403, 403),
        ("http://a.example:8080", "a.example", 403, 403),
        ("http://a.example", "a.example:8080", 403, 403),
        ("http://a.example.evil", "a.example", 403, 403),
        ("http://evil.a.example", "a.example", 403, 403),
        ("http://a.example/", "a.example", 403, 403),
        ("http://x@a.example", "a.example", 403, 403),
        ("http://a.example:65536", "a.example:0", 403, 403),
        ("http://a.example:+80", "a.example", 403, 403),
        ("http://", "", 403, 403),
        ("http://:80", ":80", 403, 403),
        ("ftp://a.example", "a.example", 403, 403),
        ("a.example", "a.example", 403, 403),
        ("null", "null", 403, 403),
        ("", "a.example", 403, 403),
    ] {
        let list = [
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
            ("Origin", origin),
            ("Host", host),
        ];
        for (tls, expected) in [(false, insecure), (true, secure)] {
            let got = accept(&Offer::from_fields(fields(&list)).secure(tls), &config);
            let got = got.map_or_else(|refusal| refusal.status, |_| 101);
            assert_eq!(got, expected, "{origin} to {host}, tls {tls}");
        }
    }
    assert_eq!(status(&[("Origin", "http://a")], &config), 403, "no Host to compare with");
    assert_eq!(status(&[("Host", "a")], &config), 101, "no browser");
}

#[test]
fn a_route_may_name_origins_or_decide_itself() {
    let page = [("Origin", "https://page.example"), ("Host", "api.example")];
    let listed = |one: &str| Config::default().origin(OriginRule::Allow(vec![one.into()]));
    let hooked = |yes: bool| {
        let rule = move |origin: &str| origin == "https://page.example" && yes;
        Config::default().origin(OriginRule::Hook(std::rc::Rc::new(rule)))
    };

    assert_eq!(status(&page, &Config::default()), 403);
    assert_eq!(status(&page, &Config::default().origin(OriginRule::Any)), 101);
    assert_eq!(status(&page, &listed("https://PAGE.example")), 101);
    assert_eq!(status(&page, &listed("https://page.example:443")), 403);
    assert_eq!(status(&page, &hooked(true)), 101);
    assert_eq!(status(&page, &hooked(false)), 403);
    assert_eq!(status(&[("Host", "a")], &hooked(false)), 101, "no browser");
}

#[test]
fn an_origin_that_is_no_text_is_refused() {
    let list: [(&str, &[u8]); 3] = [
        ("Sec-WebSocket-Key", KEY.as_bytes()),
        ("Sec-WebSocket-Version", b"13"),
        ("Origin", b"http://\xff"),
    ];
    let refused = accept(&Offer::from_fields(list), &Config::default().origin(OriginRule::Any));
    assert_eq!(refused.unwrap_err().status, 403);
}

/// RFC 6455, 4.2.2 and 11.3.4.
#[test]
fn a_subprotocol_is_one_of_the_offered() {
    let config = Config::default().protocols(&["v2", "not a token", "v1"]);
    let chosen = |lines: &[&str]| {
        let more: Vec<_> = lines.iter().map(|line| ("sec-websocket-protocol", *line)).collect();
        ask(&more, &config).map(|a| a.protocol().map(String::from)).map_err(|r| r.status)
    };

    assert_eq!(chosen(&["v1"]), Ok(Some("v1".into())));
    assert_eq!(chosen(&["v1 ,, v2"]), Ok(Some("v2".into())));
    assert_eq!(chosen(&["v1", "v3, v2"]), Ok(Some("v2".into())), "one list in two lines");
    assert_eq!(chosen(&["V1, v3"]), Ok(None), "none fits: no subprotocol, and no refusal");
    assert_eq!(chosen(&[""]), Ok(None));
    assert_eq!(chosen(&[]), Ok(None));
    assert_eq!(chosen(&["v1, not a token"]), Err(400));
    assert_eq!(chosen(&["v1, \"v2\""]), Err(400));
    assert_eq!(chosen(&["v1"; 5]), Err(400));
}

#[test]
fn a_client_asks() {
    let config = Config::default().protocols(&["chat", "superchat"]);
    let request = Request::new(*b"the sample nonce", &config).unwrap();

    assert_eq!(request.key(), KEY.as_bytes());
    assert_eq!(
        lines(|out| request.put_fields(out)),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n"
    );
    for bad in [&["a b"][..], &[""], &["a\r\nb"], &["a", "a"], &["é"]] {
        let config = Config::default().protocols(bad);
        assert_eq!(Request::new([0; 16], &config).unwrap_err().blame(), Blame::Caller);
    }
}

/// RFC 6455, 4.1: what a client fails the connection for.
#[test]
fn a_client_checks_the_answer() {
    let key = KEY.as_bytes().first_chunk().unwrap();
    let good = [("upgrade", "WebSocket"), ("connection", "keep-alive, UPGRADE")];
    let check = |change: &[(&str, &str)]| {
        let mut list = good.to_vec();
        list.push(("sec-websocket-accept", PROOF));
        list.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
        list.extend(change.iter().filter(|(_, value)| !value.is_empty()));
        let config = Config::default().protocols(&["v1", "v2"]);
        check_answer(fields(&list), key, &config)
            .map(|answered| answered.protocol())
            .map(|chosen| chosen.map(String::from))
            .map_err(|error| error.blame())
    };

    assert_eq!(check(&[]), Ok(None));
    assert_eq!(check(&[("sec-websocket-protocol", "v2")]), Ok(Some("v2".into())));
    let refused: &[&[(&str, &str)]] = &[
        &[("upgrade", "")],
        &[("upgrade", "h2c")],
        &[("upgrade", "websocket"), ("upgrade", "websocket")],
        &[("connection", "")],
        &[("connection", "close")],
        &[("sec-websocket-accept", "")],
        &[("sec-websocket-accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
        &[("sec-websocket-accept", PROOF), ("sec-websocket-accept", PROOF)],
        &[("sec-websocket-extensions", "permessage-deflate")],
        &[("sec-websocket-protocol", "v3")],
        &[("sec-websocket-protocol", "v1, v2")],
        &[("sec-websocket-protocol", "v1"), ("sec-websocket-protocol", "v1")],
    ];
    for change in refused {
        assert_eq!(check(change), Err(Blame::Peer), "{change:?}");
    }
}
