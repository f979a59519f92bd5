//! Files of a directory: what is served, what is refused, and how they are sent.

use std::time::Duration;

use lodger::Limits;
use lodger::http::{Files, Server};
use lodger::sim::{Faults, Wire};

use crate::kit::*;

/// Long enough to be sent by windows.
const LONG: usize = 3_000_000;

fn long() -> Vec<u8> {
    let mut rng = Rng::new(1);
    (0..LONG).map(|_| rng.next().to_le_bytes()[0]).collect()
}

/// A world with some files, old enough to have strong tags, and a server of them at `/f`.
fn rig(files: Files) -> Rig {
    let rig = bare(Faults::none());
    rig.serve(Server::new().files("/f", files).get("/else", |_, res| res.text("else")));
    rig
}

fn bare(faults: Faults) -> Rig {
    let rig = Rig::with(lodger_backend::Trigger::Edge, Limits::default(), 7, faults);
    rig.world.put_file("www/index.html", "<h1>home</h1>");
    rig.world.put_file("www/a.txt", "0123456789");
    rig.world.put_file("www/dir/index.html", "<h1>dir</h1>");
    rig.world.put_file("www/empty/a", "");
    rig.world.put_file("www/none.bin", "");
    rig.world.put_file("www/app.js", "plain");
    rig.world.put_file("www/app.js.gz", "zipped");
    rig.world.put_file("www/app.js.br", "brotli");
    rig.world.put_file("www/.secret", "secret");
    rig.world.put_file("www/long.bin", long());
    rig.world.put_file("outside", "outside");
    rig.world.advance(Duration::from_secs(10));
    rig
}

fn ask(rig: &Rig, path: &str, fields: &str) -> String {
    let wire = rig.connect();
    let answer = rig.ask(&wire, request("GET", path, fields));
    rig.run_for(ms(1));
    wire.reset();
    rig.pump();
    answer
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Reads until `n` bytes behind the head have come.
fn drain(rig: &Rig, wire: &Wire, n: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..100_000 {
        all.extend(wire.read());
        let head = all.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if head.is_some_and(|head| all.len() >= head + n) || wire.is_eof() || wire.is_reset() {
            return all;
        }
        rig.run_for(ms(1));
    }
    panic!("it does not come: {} bytes", all.len());
}

fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    &answer[head + 4..]
}

#[test]
fn a_file_is_served_with_what_is_known_of_it() {
    let rig = rig(Files::new("www").cache_control("max-age=60"));

    let answer = ask(&rig, "/f/a.txt", "");

    assert_eq!(response(&answer), (200, "0123456789"));
    assert_eq!(field(&answer, "content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(field(&answer, "content-length"), Some("10"));
    assert_eq!(field(&answer, "last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    assert_eq!(field(&answer, "etag"), Some("\"6553f100.0-a\""));
    assert_eq!(field(&answer, "accept-ranges"), Some("bytes"));
    assert_eq!(field(&answer, "cache-control"), Some("max-age=60"));
    assert_eq!(field(&answer, "vary"), None);
    assert_eq!(response(&ask(&rig, "/f/none.bin", "")), (200, ""));
    assert_eq!(response(&ask(&rig, "/else", "")), (200, "else"));
}

/// RFC 9110, section 9.3.2: HEAD says what GET says, without the content.
#[test]
fn head_has_the_fields_and_no_content() {
    let rig = rig(Files::new("www"));
    for path in ["/f/a.txt", "/f/long.bin"] {
        let wire = rig.connect();

        let head = rig.ask(&wire, request("HEAD", path, "Range: bytes=0-1\r\n"));

        let length = if path == "/f/a.txt" { "10" } else { "3000000" };
        assert_eq!((response(&head), field(&head, "content-length")), ((200, ""), Some(length)));
        assert!(rig.ask(&wire, get("/else")).ends_with("\r\n\r\nelse"));
    }
}

#[test]
fn directories_have_an_index_and_a_slash() {
    let rig = rig(Files::new("www"));

    assert_eq!(response(&ask(&rig, "/f/", "")), (200, "<h1>home</h1>"));
    assert_eq!(response(&ask(&rig, "/f/dir/", "")), (200, "<h1>dir</h1>"));
    for (path, location) in
        [("/f", "/f/"), ("/f/dir", "/f/dir/"), ("/f/dir?a=b&c", "/f/dir/?a=b&c")]
    {
        let answer = ask(&rig, path, "");
        assert_eq!((response(&answer).0, field(&answer, "location")), (301, Some(location)));
    }
    assert_eq!(response(&ask(&rig, "/f/empty/", "")).0, 404);
    assert_eq!(response(&ask(&rig, "/f/a.txt/", "")).0, 404);

    let closed = self::rig(Files::new("www").index(None));
    for path in ["/f/", "/f/dir", "/f/dir/"] {
        assert_eq!(response(&ask(&closed, path, "")).0, 404, "{path}");
    }
}

#[test]
fn what_leaves_the_directory_or_hides_is_refused() {
    let rig = rig(Files::new("www"));
    let rows = [
        ("/f/missing", 404),
        ("/f/.secret", 404),
        ("/f/%2esecret", 404),
        ("/f/../outside", 404),
        ("/f/%2e%2e/outside", 404),
        ("/f/dir/../a.txt", 404),
        ("/f/dir/%2E%2E/a.txt", 404),
        ("/f/..%2foutside", 400),
        ("/f/dir%2findex.html", 400),
        ("/f/dir%5cindex.html", 400),
        ("/f/a.txt%00", 400),
        ("/f/%00", 400),
        ("/f/%zz", 400),
        ("/f/%ff", 400),
        ("/f//a.txt", 404),
        ("/f///", 404),
        ("/f/./a.txt", 404),
        ("/f/a.txt%0d%0aX:y", 400),
        ("/f//evil.example/", 404),
    ];
    for (path, status) in rows {
        assert_eq!(response(&ask(&rig, path, "")).0, status, "{path}");
    }
    let wire = rig.connect();
    let answer = rig.ask(&wire, "POST /f/a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((response(&answer).0, field(&answer, "allow")), (405, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn the_servers_own_error_pages_are_those_of_its_files_as_well() {
    let rig = bare(Faults::none());
    let server = Server::new().files("/f", Files::new("www"));
    rig.serve(server.errors(|status, res| res.html(&format!("<h1>{status}</h1>"))));

    for (path, fields, status) in [
        ("/f/missing", "", 404),
        ("/f/%00", "", 400),
        ("/f/a.txt", "Range: bytes=900000000-\r\n", 416),
        ("/f/a.txt", "If-Match: \"other\"\r\n", 412),
    ] {
        let answer = ask(&rig, path, fields);
        let page = format!("<h1>{status}</h1>");
        assert_eq!(response(&answer), (status, &*page), "{path}");
        assert_eq!(field(&answer, "content-range").is_some(), status == 416, "{path}");
    }
}

/// RFC 9110, section 13.
#[test]
fn conditions_are_looked_at_in_their_order() {
    let rig = rig(Files::new("www").cache_control("no-cache"));
    let tag = "\"6553f100.0-a\"";
    let (at, before) = ("Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT");
    let rows = [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        (format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {at}\r\n"), 200),
        (format!("If-Modified-Since: {at}\r\n"), 304),
        (format!("If-Modified-Since: {before}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".into(), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: *\r\n".into(), 200),
        (format!("If-Match: W/{tag}\r\n"), 412),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Unmodified-Since: {at}\r\n"), 200),
        (format!("If-Unmodified-Since: {before}\r\n"), 412),
    ];
    for (fields, status) in rows {
        let answer = ask(&rig, "/f/a.txt", &fields);
        assert_eq!(response(&answer).0, status, "{fields}");
        if status == 304 {
            assert_eq!(field(&answer, "etag"), Some(tag));
            assert_eq!(field(&answer, "cache-control"), Some("no-cache"));
            assert_eq!(field(&answer, "content-type"), None);
        }
    }
}

/// RFC 9110, section 14.
#[test]
fn one_range_is_a_part() {
    let rig = rig(Files::new("www"));
    for (range, status, content, place) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-1", 206, "9", Some("bytes 9-9/10")),
        ("bytes=8-100", 206, "89", Some("bytes 8-9/10")),
        ("bytes=0-1,90-", 206, "01", Some("bytes 0-1/10")),
        ("bytes=5-2", 200, "0123456789", None),
        ("pages=1-2", 200, "0123456789", None),
        ("bytes=0-,0-", 200, "0123456789", None),
    ] {
        let answer = ask(&rig, "/f/a.txt", &format!("Range: {range}\r\n"));
        assert_eq!(response(&answer), (status, content), "{range}");
        assert_eq!(field(&answer, "content-range"), place, "{range}");
    }
    let none = ask(&rig, "/f/a.txt", "Range: bytes=10-\r\n");
    assert_eq!((response(&none).0, field(&none, "content-range")), (416, Some("bytes */10")));
}

/// RFC 9110, section 14.6.
#[test]
fn several_ranges_are_parts_with_a_boundary() {
    let rig = rig(Files::new("www"));

    let answer = ask(&rig, "/f/a.txt", "Range: bytes=0-1,-2,4-4\r\n");

    let kind = field(&answer, "content-type").unwrap();
    let (_, boundary) = kind.split_once("multipart/byteranges; boundary=").unwrap();
    let (status, content) = response(&answer);
    let part = |place: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {place}/10\r\n\r\n{text}"
        )
    };
    let parts = part("0-1", "01") + &part("8-9", "89") + &part("4-4", "4");
    assert_eq!((status, content), (206, format!("{parts}\r\n--{boundary}--\r\n").as_str()));
    assert_eq!(field(&answer, "content-length"), Some(content.len().to_string().as_str()));
}

#[test]
fn several_long_ranges_come_whole_whoever_sends_them() {
    for sends in [true, false] {
        let rig = rig(Files::new("www"));
        rig.world.sends_files(sends);
        let wire = rig.connect();
        let fields = "Range: bytes=100-1000099,2000000-2000009,5-300004\r\n";
        wire.write(request("GET", "/f/long.bin", fields).as_bytes());
        rig.pump();

        let answer = drain(&rig, &wire, 1_300_000);
        rig.run_for(ms(10));
        let all = [answer, wire.read()].concat();

        let text = |range: std::ops::Range<usize>| long()[range].to_vec();
        for part in [text(100..1_000_100), text(2_000_000..2_000_010), text(5..300_005)] {
            let at = all.windows(part.len()).position(|w| w == part).unwrap();
            assert_eq!(&all[at - 4..at], b"\r\n\r\n");
        }
        let length = field(&String::from_utf8_lossy(&all), "content-length").unwrap().to_owned();
        assert_eq!(body(&all).len().to_string(), length);
        assert!(rig.ask(&wire, get("/else")).ends_with("else"));
    }
}

/// RFC 9110, section 13.1.5: a part of another content is worse than the whole.
#[test]
fn if_range_wants_exactly_this_content() {
    let rig = rig(Files::new("www"));
    let at = "Tue, 14 Nov 2023 22:13:20 GMT";
    for (condition, status) in [
        ("\"6553f100.0-a\"", 206),
        ("W/\"6553f100.0-a\"", 200),
        ("\"x\"", 200),
        (at, 206),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
        ("nonsense", 200),
    ] {
        let fields = format!("Range: bytes=0-1\r\nIf-Range: {condition}\r\n");
        assert_eq!(response(&ask(&rig, "/f/a.txt", &fields)).0, status, "{condition}");
    }
}

/// RFC 9110, section 8.8.1: while it may change within the same instant, a tag is weak.
#[test]
fn a_file_changed_just_now_has_a_weak_tag() {
    let rig = rig(Files::new("www"));
    rig.world.put_file("www/new", "new");

    let answer = ask(&rig, "/f/new", "");
    let tag = field(&answer, "etag").unwrap().to_owned();
    let part = ask(&rig, "/f/new", &format!("Range: bytes=0-1\r\nIf-Range: {tag}\r\n"));
    rig.run_for(secs(4));
    let settled = ask(&rig, "/f/new", &format!("If-None-Match: {tag}\r\n"));

    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(response(&part), (200, "new"));
    assert_eq!((response(&settled).0, field(&settled, "etag")), (304, tag.get(2..)));
}

/// RFC 9110, section 12.5.3.
#[test]
fn prepared_files_go_to_those_who_accept_them() {
    let rig = rig(Files::new("www"));
    for (accept, coding, content) in [
        ("gzip, deflate, br", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "zipped"),
        ("br;q=0.5, gzip", Some("gzip"), "zipped"),
        ("identity", None, "plain"),
        ("gzip;q=0", None, "plain"),
    ] {
        let answer = ask(&rig, "/f/app.js", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(response(&answer), (200, content), "{accept}");
        assert_eq!(field(&answer, "content-encoding"), coding, "{accept}");
        assert_eq!(field(&answer, "content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(field(&answer, "vary"), Some("Accept-Encoding"), "{accept}");
    }
    let plain = ask(&rig, "/f/app.js", "");
    assert_eq!(
        (response(&plain), field(&plain, "vary")),
        ((200, "plain"), Some("Accept-Encoding"))
    );
    let zipped = ask(&rig, "/f/app.js.gz", "Accept-Encoding: gzip\r\n");
    assert_eq!(field(&zipped, "content-type"), Some("application/gzip"));
    assert_eq!(field(&zipped, "content-encoding"), None);
    let tags = [&plain, &zipped].map(|answer| field(answer, "etag"));
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn a_prepared_file_older_than_its_source_is_not_used() {
    let rig = rig(Files::new("www"));
    rig.world.put_file("www/app.js", "changed");

    let answer = ask(&rig, "/f/app.js", "Accept-Encoding: br\r\n");

    assert_eq!(response(&answer), (200, "changed"));
    assert_eq!((field(&answer, "vary"), field(&answer, "content-encoding")), (None, None));
}

#[test]
fn a_long_file_comes_whole_in_windows_and_the_next_request_waits() {
    for sends in [true, false] {
        for trigger in TRIGGERS {
            let rig = Rig::new(trigger);
            rig.world.put_file("long.bin", long());
            rig.world.sends_files(sends);
            rig.serve(Server::new().files("/", "/").get("/else", |_, res| res.text("else")));
            let wire = rig.connect();

            wire.write((get("/long.bin") + &get("/else")).as_bytes());
            rig.pump();
            let mut all = wire.read();
            let at_once = all.len();
            all.extend(drain_more(&rig, &wire));

            assert!(at_once <= 64 << 10, "{at_once} bytes at once");
            assert!(body(&all).starts_with(&long()), "{trigger:?} {sends}");
            assert!(body(&all)[LONG..].ends_with(b"\r\n\r\nelse"), "{trigger:?} {sends}");
            rig.end();
        }
    }
}

/// Reads until the connection has nothing more to say.
fn drain_more(rig: &Rig, wire: &Wire) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        rig.run_for(ms(1));
        let more = wire.read();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[test]
fn a_long_file_is_unbroken_whatever_the_network_does() {
    for (seed, trigger) in (0..40).zip(TRIGGERS.into_iter().cycle()) {
        let mut faults = Faults::none();
        (faults.short_writes, faults.would_block, faults.delay) = (300, 300, 500);
        let rig = Rig::with(trigger, Limits::default(), seed, faults);
        rig.world.put_file("long.bin", &long()[..400_000]);
        rig.world.sends_files(seed % 2 == 0);
        rig.serve(Server::new().files("/", "/"));
        let wire = rig.connect();
        wire.write(get("/long.bin").as_bytes());
        rig.pump();

        let answer = drain(&rig, &wire, 400_000);

        assert!(body(&answer) == &long()[..400_000], "seed {seed}");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection_short() {
    for sends in [true, false] {
        let rig = rig(Files::new("www"));
        rig.world.sends_files(sends);
        let wire = rig.connect();
        wire.write((request("GET", "/f/long.bin", "") + &get("/else")).as_bytes());
        rig.pump();

        rig.world.cut_file("www/long.bin", 1_000_000);
        let answer = drain(&rig, &wire, LONG);

        assert!(wire.is_eof() || wire.is_reset());
        assert!(body(&answer).len() <= 1_000_000, "{}", body(&answer).len());
        assert!(body(&answer) == &long()[..body(&answer).len()]);
        rig.end();
    }
}

#[test]
fn a_file_that_grows_is_sent_as_long_as_it_was() {
    let rig = rig(Files::new("www"));
    ask(&rig, "/f/a.txt", "");

    rig.world.put_file("www/a.txt", "0123456789 and more");
    let at_once = ask(&rig, "/f/a.txt", "");
    rig.run_for(secs(1));
    let later = ask(&rig, "/f/a.txt", "");

    assert_eq!(response(&at_once).1, "0123456789");
    assert_eq!(response(&later).1, "0123456789 and more");
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_others_are_served() {
    let rig = rig(Files::new("www"));
    let stuck = rig.connect();
    stuck.write(request("GET", "/f/long.bin", "").as_bytes());
    rig.pump();

    assert_eq!(response(&ask(&rig, "/f/a.txt", "")).0, 200);
    rig.run_for(secs(29));
    assert!(!stuck.is_reset());
    rig.run_for(secs(3));

    stuck.read();
    assert!(stuck.is_eof() || stuck.is_reset());
    assert_eq!(rig.rt.stats().open, 0);
}

/// Longer than any idle time: it is not the peer who is waited for.
#[test]
fn a_slow_peer_gets_all_of_it() {
    let rig = rig(Files::new("www"));
    let wire = rig.connect();
    wire.write(request("GET", "/f/long.bin", "").as_bytes());
    let mut all = Vec::new();

    for _ in 0..60 {
        rig.run_for(secs(5));
        all.extend(wire.read());
    }

    assert!(body(&all) == long());
    assert!(!wire.is_reset());
}

#[test]
fn a_peer_that_ends_its_side_gets_all_of_it_and_the_end() {
    let rig = rig(Files::new("www"));
    let wire = rig.connect();
    wire.write(request("GET", "/f/long.bin", "").as_bytes());
    wire.close();
    rig.pump();

    let all = drain(&rig, &wire, LONG + 1);

    assert!(body(&all) == long());
    assert!(wire.is_eof());
    rig.end();
}

#[test]
fn a_goodbye_waits_for_the_end_of_a_file() {
    for fields in ["", "Connection: close\r\n"] {
        let rig = rig(Files::new("www"));
        let wire = rig.connect();
        wire.write(request("GET", "/f/long.bin", fields).as_bytes());
        rig.pump();
        if fields.is_empty() {
            rig.rt.shutdown(secs(20));
        }

        let all = drain(&rig, &wire, LONG + 1);

        assert!(body(&all) == long(), "{fields}");
    }
}

#[test]
fn descriptors_are_capped_and_let_go_of() {
    let rig = bare(Faults::none());
    for i in 0..50 {
        rig.world.put_file(&format!("www/many/{i}.png"), "x");
    }
    rig.serve(Server::new().files("/", Files::new("www").remember(8, secs(1))));

    for i in 0..50 {
        assert_eq!(response(&ask(&rig, &format!("/many/{i}.png"), "")), (200, "x"));
        assert!(rig.world.open_files() <= 9, "{}", rig.world.open_files());
    }
    rig.run_for(secs(3));
    assert_eq!(rig.world.open_files(), 1, "the directory alone");
    assert_eq!(rig.run_for(secs(3600)), 0, "it wakes up for nothing");

    let world = rig.world.clone();
    rig.end();
    assert_eq!(world.open_files(), 0);
}

#[test]
fn a_remembered_file_is_not_opened_again() {
    let rig = rig(Files::new("www"));
    ask(&rig, "/f/a.txt", "");

    rig.world.remove_file("www/a.txt");
    assert_eq!(response(&ask(&rig, "/f/a.txt", "")).0, 200);
    rig.run_for(secs(2));
    assert_eq!(response(&ask(&rig, "/f/a.txt", "")).0, 404);

    let fresh = self::rig(Files::new("www").remember(0, secs(1)));
    ask(&fresh, "/f/a.txt", "");
    fresh.world.remove_file("www/a.txt");
    assert_eq!(response(&ask(&fresh, "/f/a.txt", "")).0, 404);
}

#[test]
fn a_file_is_closed_with_the_connection_that_is_sent_it() {
    let rig = rig(Files::new("www"));
    let wire = rig.connect();
    wire.write(request("GET", "/f/long.bin", "").as_bytes());
    rig.pump();
    rig.run_for(secs(3));
    assert_eq!(rig.world.open_files(), 2);

    wire.reset();
    rig.pump();

    assert_eq!(rig.world.open_files(), 1);
}

#[test]
fn a_directory_that_is_not_there_is_told_when_listening() {
    let rig = Rig::new(lodger_backend::Trigger::Edge);

    let refused = rig.rt.listen("127.0.0.1:80", Server::new().files("/", "nowhere")).unwrap_err();

    assert_eq!(refused.error.kind(), std::io::ErrorKind::NotFound);
    assert!(refused.error.to_string().starts_with("the directory nowhere: "));
}

#[test]
fn one_short_file_is_one_send_and_many_are_one_too() {
    let rig = rig(Files::new("www"));
    let wire = rig.connect();
    rig.ask(&wire, get("/f/a.txt"));

    let one = rig.calls(|| drop(rig.ask(&wire, get("/f/a.txt"))));
    let many = rig.calls(|| drop(rig.ask(&wire, get("/f/a.txt").repeat(16))));

    // One of the two is the peer's.
    assert_eq!((one, many), ((1, 2), (1, 2)));
}
