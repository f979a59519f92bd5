//! TLS in virtual time: our own two ends against each other, and rustls by hand against ours.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use lodger::http::{Client, Failure, Stage, Whole};
use lodger::sim::{Faults, Wire};
use lodger::{Limits, Reason, http, raw, tls, ws};
use lodger_backend::Trigger;

use crate::kit::{self, Echo, Log, Rig, TRIGGERS, hook, ms, secs};

/// A certificate that nobody but its own key has signed, and that key; both PEM.
pub(crate) fn self_signed(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A server's configuration, and a client's that trusts it and nobody else.
pub(crate) fn configs(names: &[&str]) -> (tls::ServerConfig, tls::ClientConfig) {
    let (cert, key) = self_signed(names);
    let identity = tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let roots = tls::Roots::from_pem(cert.as_bytes()).unwrap();
    let server = tls::ServerConfig::builder().identity(identity).build().unwrap();
    (server, tls::ClientConfig::new(&roots).unwrap())
}

fn get(rig: &Rig, client: &Client, url: &str) -> Result<Whole, Failure> {
    let got = Rc::new(RefCell::new(Vec::new()));
    let into = Rc::clone(&got);
    client.get(url).whole(8 << 20, move |result| into.borrow_mut().push(result));
    rig.run_for(ms(500));
    let mut got = got.borrow_mut();
    assert_eq!(got.len(), 1, "told exactly once");
    got.pop().unwrap()
}

fn shown() -> http::Server {
    http::Server::new().get("/", |req, res| {
        let tls = req.tls().unwrap();
        let alpn = String::from_utf8_lossy(tls.alpn().unwrap_or_default()).into_owned();
        let peer = tls.peer_certificates().count();
        let sni = tls.sni().unwrap_or("-");
        let (protocol, cipher) = (tls.protocol(), tls.cipher());
        let resumed = tls.is_resumed();
        res.text(&format!("{protocol} {cipher} {alpn} {sni} {peer} {resumed}"))
    })
}

#[test]
fn a_request_tells_what_the_handshake_agreed_on() {
    for trigger in TRIGGERS {
        let rig = Rig::new(trigger);
        let (server, trust) = configs(&["127.0.0.1", "localhost"]);
        rig.serve(tls::Server::new(&server, shown()));
        let client = Client::new(&rig.rt);
        client.tls(&trust);

        for resumed in [false, false] {
            let whole = get(&rig, &client, "https://localhost:80/").unwrap();
            let text = String::from_utf8(whole.body).unwrap();
            let alpn = if cfg!(feature = "h2") { "h2" } else { "http/1.1" };
            let wanted = format!("TLSv1.3 TLS13_AES_256_GCM_SHA384 {alpn} localhost 0 {resumed}");
            assert_eq!((whole.status, text), (200, wanted), "{trigger:?}");
        }

        let stats = rig.rt.stats();
        assert_eq!((stats.accepted, stats.handshakes, stats.handshakes_failed), (1, 2, 0));
        assert!(rig.rt.connections(9).iter().all(|c| c.tls.starts_with("TLSv1.3 ")));
        rig.run_for(secs(60));
        assert_eq!(rig.rt.connections(9).len(), 0, "{:?}", rig.rt.connections(9));
        assert_eq!(rig.rt.stats().aborted, 0);
        rig.end();
    }
}

#[test]
fn a_session_is_resumed_and_the_time_of_the_handshake_is_told() {
    let rig = Rig::new(Trigger::Edge);
    let (server, trust) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, shown()));
    let mut resumed = Vec::new();
    for _ in 0..3 {
        // The sessions are the configuration's, the connections the client's.
        let client = Client::new(&rig.rt);
        client.tls(&trust);
        let whole = get(&rig, &client, "https://localhost:80/").unwrap();
        assert!(whole.timing.tls.is_some() && whole.timing.connect.is_some());
        resumed.push(whole.body.ends_with(b"true"));
    }

    assert_eq!(resumed, [false, true, true]);
    rig.end();
}

#[test]
fn a_failure_tells_the_stage_and_the_reason() {
    let rig = Rig::new(Trigger::Edge);
    let (server, trust) = configs(&["example.org"]);
    let (_, other) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, shown()));
    for (trust, reason) in [(&trust, "another name"), (&other, "signature")] {
        let client = Client::new(&rig.rt);
        client.tls(trust);

        let failure = get(&rig, &client, "https://localhost:80/").unwrap_err();

        assert_eq!((failure.stage, failure.never_sent), (Stage::Tls, true));
        let text = failure.to_string();
        assert!(text.starts_with("no TLS: ") && text.contains(reason), "{text}");
    }
    // The server heard the alerts.
    assert_eq!(rig.rt.stats().handshakes_failed, 4);
    rig.run_for(secs(5));
    assert_eq!(rig.rt.stats().open, 0);

    let client = Client::new(&rig.rt);
    client.tls(&tls::ClientConfig::insecure().unwrap());
    assert_eq!(get(&rig, &client, "https://localhost:80/").unwrap().status, 200);
    rig.end();
}

/// Sends back what it hears by a client of ours over a network with `faults`.
fn echo_through(seed: u64, trigger: Trigger, faults: Faults) {
    let rig = Rig::with(trigger, Limits::default(), seed, faults);
    let (server, trust) = configs(&["127.0.0.1"]);
    rig.serve(tls::Server::new(&server, http::Server::new().ws("/echo", |_| Ok(Echo))));
    let log = Log::default();
    let client = ws::Client::new("wss://127.0.0.1:80/echo").tls(&trust);
    let handler = Collect { log: log.clone(), bytes: 0 };
    let connection = client.connect(&rig.rt, handler).unwrap();
    rig.run_for(secs(1));
    assert_eq!(log.take(), ["open"], "{seed} {trigger:?}");

    let mut sent = 0;
    for size in [0_u32, 1, 100, 16_000, 16_384, 16_385, 70_000, 200_000] {
        let message: Vec<u8> = (0..size).map(|n| ((n * 7) >> 3) as u8).collect();
        connection.send(ws::Message::Binary(&message)).unwrap();
        sent += size;
        rig.run_for(secs(1));
    }
    connection.close(1000);
    rig.run_for(secs(3));

    assert_eq!(log.take(), [format!("closed Closed after {sent}")], "{seed} {trigger:?}");
    assert_eq!(rig.rt.stats().open, 0);
    rig.end();
}

struct Collect {
    log: Log,
    bytes: usize,
}

impl ws::Handler for Collect {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        self.log.add("open");
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        let ws::Message::Binary(data) = message else { panic!("text") };
        assert!(data.iter().enumerate().all(|(n, b)| *b == ((n as u32 * 7) >> 3) as u8));
        self.bytes += data.len();
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        self.log.add(format!("closed {} after {}", kit::name(why), self.bytes));
    }
}

#[test]
fn a_websocket_speaks_over_tls_whatever_the_network_does() {
    let mut faults = Faults::none();
    (faults.short_reads, faults.short_writes, faults.would_block) = (300, 300, 200);
    (faults.delay, faults.spurious, faults.shuffles) = (300, 100, 100);
    for trigger in TRIGGERS {
        echo_through(1, trigger, Faults::none());
        for seed in 2..8 {
            echo_through(seed, trigger, faults);
        }
    }
}

#[test]
fn a_file_is_read_and_sealed() {
    let rig = Rig::new(Trigger::Edge);
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n >> 4) as u8).collect();
    rig.world.put_file("site/big.bin", &content);
    rig.world.put_file("site/small.txt", "small");
    let (server, trust) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, http::Server::new().files("/", "site")));
    let client = Client::new(&rig.rt);
    client.tls(&trust);

    for (path, wanted) in
        [("big.bin", &content[..]), ("small.txt", b"small"), ("big.bin", &content)]
    {
        let whole = get(&rig, &client, &format!("https://localhost:80/{path}")).unwrap();
        assert!(whole.status == 200 && whole.body == wanted, "{path}");
    }
    assert_eq!(rig.rt.stats().accepted, 1);
    rig.end();
}

// ---- rustls by hand ----

/// A client of rustls's over a wire.
struct Peer {
    wire: Wire,
    tls: rustls::ClientConnection,
}

fn by_hand(versions: &[&'static rustls::SupportedProtocolVersion]) -> rustls::ClientConfig {
    #[derive(Debug)]
    struct Any(Arc<rustls::crypto::CryptoProvider>);
    impl rustls::client::danger::ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth()
}

const BOTH: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

impl Peer {
    fn new(rig: &Rig, config: &rustls::ClientConfig) -> Self {
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = rustls::ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        let mut peer = Self { wire: rig.connect(), tls };
        peer.run(rig).unwrap();
        peer
    }

    /// Carries bytes both ways until there are none.
    fn run(&mut self, rig: &Rig) -> Result<(), rustls::Error> {
        loop {
            let mut out = Vec::new();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut out).unwrap();
            }
            self.wire.write(&out);
            rig.pump();
            let input = self.wire.read();
            if out.is_empty() && input.is_empty() {
                return Ok(());
            }
            let mut input = &input[..];
            while !input.is_empty() {
                self.tls.read_tls(&mut input).unwrap();
                self.tls.process_new_packets()?;
            }
        }
    }

    fn ask(&mut self, rig: &Rig, text: &str) -> String {
        self.tls.writer().write_all(text.as_bytes()).unwrap();
        self.run(rig).unwrap();
        let mut answer = Vec::new();
        // It ends with WouldBlock, or with the end.
        let _ = self.tls.reader().read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Whether the server has said that nothing more comes, and has closed.
    fn is_closed(&mut self) -> (bool, bool) {
        let state = self.tls.process_new_packets().unwrap();
        (state.peer_has_closed(), self.wire.is_eof())
    }
}

fn plain() -> http::Server {
    http::Server::new()
        .get("/", |req, res| res.text(if req.is_secure() { "secure" } else { "plain" }))
        .ws("/echo", |_| Ok(Echo))
}

#[test]
fn every_polite_end_says_so_in_both_versions() {
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let rig = Rig::new(Trigger::Edge);
        let (server, _) = configs(&["localhost"]);
        rig.serve(tls::Server::new(&server, plain()));
        let config = by_hand(versions);

        let mut asks = Peer::new(&rig, &config);
        let answer = asks.ask(&rig, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(answer.ends_with("secure"), "{answer}");
        assert_eq!(asks.is_closed(), (true, true));

        let mut idles = Peer::new(&rig, &config);
        let mut says_bye = Peer::new(&rig, &config);
        says_bye.tls.send_close_notify();
        says_bye.run(&rig).unwrap();
        assert_eq!(says_bye.is_closed(), (true, true));

        assert_eq!(idles.is_closed(), (false, false));
        rig.run_for(secs(16));
        idles.run(&rig).unwrap();
        assert_eq!(idles.is_closed(), (true, true));
        drop((asks, idles, says_bye));
        rig.run_for(secs(3));
        assert_eq!((rig.rt.stats().open, rig.rt.stats().aborted), (0, 0));
        rig.end();
    }
}

/// RFC 6454, section 4: the scheme is part of an origin, and where TLS ends here it is known.
#[test]
fn a_page_without_tls_is_of_another_origin() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));
    let config = by_hand(BOTH);
    for (origin, status) in
        [("https://localhost", 101), ("https://localhost:443", 101), ("http://localhost", 403)]
    {
        let mut page = Peer::new(&rig, &config);
        let request = format!(
            "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n"
        );

        let answer = page.ask(&rig, &request);

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {answer}");
    }
    rig.end();
}

#[test]
fn a_slow_handshake_ends_in_time() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));
    let silent = rig.connect();
    let slow = rig.connect();

    // A record of the longest kind, a byte now and then.
    slow.write(&[22, 3, 1, 64, 0]);
    for _ in 0..7 {
        rig.run_for(secs(1));
        slow.write(&[1]);
    }
    assert_eq!((rig.rt.stats().open, silent.is_eof(), slow.is_eof()), (2, false, false));
    rig.run_for(ms(1600));

    assert_eq!((rig.rt.stats().open, silent.is_eof(), slow.is_eof()), (0, true, true));
    assert_eq!(rig.rt.stats().handshakes_failed, 2);
    rig.end();
}

#[test]
fn garbage_hears_an_alert_and_plain_http_an_answer() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));

    let garbage = rig.connect();
    garbage.write(b"\x05\x01\x00 what is this");
    rig.pump();
    let alert = garbage.read();
    assert_eq!((alert.len(), alert[0], alert[5]), (7, 21, 2), "{alert:?}");
    assert!(garbage.is_eof());

    let wire = rig.connect();
    let answer = rig.ask(&wire, "GET /a?b HTTP/1.1\r\nHost: localhost:80\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    rig.end();
}

#[test]
fn plain_http_is_redirected_where_that_was_said() {
    let rig = Rig::new(Trigger::Edge);
    let (cert, key) = self_signed(&["localhost"]);
    let identity = tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let config =
        tls::ServerConfig::builder().identity(identity).plain(tls::Plain::Redirect).build();
    rig.serve(tls::Server::new(&config.unwrap(), plain()));

    let wire = rig.connect();
    let answer = rig.ask(&wire, "GET /a?b HTTP/1.1\r\nHost: localhost:80\r\n\r\n");

    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(answer.to_lowercase().contains("location: https://localhost:80/a?b\r\n"), "{answer}");
    rig.end();
}

#[test]
fn an_oversize_record_and_a_changed_one_hear_an_alert() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));
    let config = by_hand(BOTH);
    let bad: [&[u8]; 3] =
        [&[23, 3, 3, 0xff, 0xff], &[23, 3, 3, 0, 20, 1, 2, 3], &[23, 3, 3, 0, 20]];
    for (n, bytes) in bad.iter().enumerate() {
        let mut peer = Peer::new(&rig, &config);
        peer.wire.write(bytes);
        if n > 0 {
            peer.wire.write(&[0; 40]);
        }

        let heard = peer.run(&rig).unwrap_err();

        assert!(matches!(heard, rustls::Error::AlertReceived(_)), "{heard}");
        assert!(peer.wire.is_eof());
    }
    rig.run_for(secs(3));
    assert_eq!(rig.rt.stats().open, 0);
    rig.end();
}

/// RFC 8446, 4.1.2 and RFC 5746: a second handshake on a connection is refused.
#[test]
fn renegotiation_is_refused() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let peer = Peer::new(&rig, &by_hand(versions));
        let fresh = {
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let mut tls = rustls::ClientConnection::new(Arc::new(by_hand(versions)), name).unwrap();
            let mut hello = Vec::new();
            tls.write_tls(&mut hello).unwrap();
            hello
        };

        peer.wire.write(&fresh);
        rig.pump();

        assert!(!peer.wire.read().is_empty(), "an alert");
        assert!(peer.wire.is_eof());
        drop(peer);
    }
    rig.run_for(secs(3));
    assert_eq!(rig.rt.stats().open, 0);
    rig.end();
}

#[test]
fn few_handshakes_begin_in_one_turn() {
    let mut limits = Limits::default();
    limits.tls.starts = 2;
    let rig = Rig::limited(Trigger::Edge, limits);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));
    let config = Arc::new(by_hand(BOTH));
    let hello = || {
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let mut tls = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut bytes = Vec::new();
        tls.write_tls(&mut bytes).unwrap();
        bytes
    };
    let wires: Vec<Wire> = (0..12).map(|_| rig.connect()).collect();
    rig.pump();
    for wire in &wires {
        wire.write(&hello());
    }
    let mut steps = Vec::new();
    for _ in 0..20 {
        rig.rt.dispatch().unwrap();
        steps.push(wires.iter().filter(|wire| !wire.read().is_empty()).count());
    }

    assert_eq!(steps.iter().sum::<usize>(), 12, "{steps:?}");
    assert!(steps.iter().all(|n| *n <= 2), "{steps:?}");
    rig.end();
}

#[test]
fn a_client_shows_its_certificate_where_one_is_asked_for() {
    let (cert, key) = self_signed(&["client"]);
    let me = tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let known = tls::Roots::from_pem(cert.as_bytes()).unwrap();
    for required in [true, false] {
        let rig = Rig::new(Trigger::Edge);
        let (cert, key) = self_signed(&["localhost"]);
        let identity = tls::Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
        let builder = tls::ServerConfig::builder().identity(identity);
        let builder = match required {
            true => builder.require_clients(known.clone()),
            false => builder.ask_clients(known.clone()),
        };
        rig.serve(tls::Server::new(&builder.build().unwrap(), shown()));
        let trust = tls::ClientConfig::insecure().unwrap();

        let with = Client::new(&rig.rt);
        with.tls(&trust.clone().identity(&me));
        let whole = get(&rig, &with, "https://localhost:80/").unwrap();
        assert!(String::from_utf8(whole.body).unwrap().ends_with("localhost 1 false"));

        let without = Client::new(&rig.rt);
        without.tls(&trust);
        match get(&rig, &without, "https://localhost:80/") {
            Ok(whole) => assert!(!required && whole.status == 200),
            // In TLS 1.3 a client believes itself ready before it is refused.
            Err(failure) => {
                let text = failure.to_string();
                assert!(required && text.contains("certificate_required"), "{text}");
            }
        }
        rig.end();
    }
}

#[test]
fn another_certificate_is_shown_without_dropping_connections() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (cert_file, key_file) = (folder.join("reload-cert.pem"), folder.join("reload-key.pem"));
    let write = |names: &[&str]| {
        let (cert, key) = self_signed(names);
        std::fs::write(&cert_file, &cert).unwrap();
        std::fs::write(&key_file, key).unwrap();
        tls::ClientConfig::new(&tls::Roots::from_pem(cert.as_bytes()).unwrap()).unwrap()
    };
    let rig = Rig::new(Trigger::Edge);
    let first = write(&["localhost"]);
    let config = tls::ServerConfig::from_files(&cert_file, &key_file).unwrap();
    rig.serve(tls::Server::new(&config, shown()));
    let ask = |trust: &tls::ClientConfig, client: Option<Client>| {
        let client = client.unwrap_or_else(|| Client::new(&rig.rt));
        client.tls(trust);
        (get(&rig, &client, "https://localhost:80/").map(|whole| whole.status), client)
    };
    let (status, kept) = ask(&first, None);
    assert_eq!(status.unwrap(), 200);

    let second = write(&["localhost"]);
    config.reload().unwrap();
    let (status, kept) = ask(&first, Some(kept));
    assert_eq!(status.unwrap(), 200, "the connection lives on");
    assert_eq!(rig.rt.stats().accepted, 1);
    assert!(ask(&first.clone().without_resumption(), None).0.is_err());
    assert_eq!(ask(&second, None).0.unwrap(), 200);

    // What cannot be read changes nothing.
    std::fs::write(&key_file, "no key").unwrap();
    assert!(config.reload().unwrap_err().to_string().contains("reload-key.pem"));
    assert_eq!(ask(&second.clone().without_resumption(), None).0.unwrap(), 200);

    let (third, trust) = configs(&["localhost"]);
    config.replace(&third);
    assert_eq!(ask(&trust, None).0.unwrap(), 200);
    drop(kept);
    rig.end();
}

/// Says the head of a response whose end only the end of the stream tells, and half of its body.
struct Half(bool);

impl raw::Handler for Half {
    fn data(&mut self, cx: &mut raw::Cx<'_>, _bytes: &[u8]) {
        cx.send(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
        if self.0 {
            cx.close();
        } else {
            let id = cx.id();
            let after = move |h: &lodger::Handle| h.abort(id);
            cx.runtime().after(ms(1), after);
        }
    }
}

/// RFC 9112, 9.8: an end without close_notify is no end of a body that only the end tells of.
#[test]
fn a_body_that_was_cut_off_is_no_whole_one() {
    for polite in [true, false] {
        let rig = Rig::new(Trigger::Edge);
        let (server, trust) = configs(&["localhost"]);
        rig.serve(tls::Server::new(&server, raw::Server::new(move |_| Some(Half(polite)))));
        let client = Client::new(&rig.rt);
        client.tls(&trust);

        match get(&rig, &client, "https://localhost:80/") {
            Ok(whole) => assert!(polite && whole.body == b"half"),
            Err(failure) => {
                assert!(!polite && failure.to_string().contains("close_notify"), "{failure}");
            }
        }
        rig.end();
    }
}

#[test]
fn a_raw_server_is_made_once_the_handshake_is_complete() {
    struct Hears(Log);
    impl raw::Handler for Hears {
        fn open(&mut self, cx: &mut raw::Cx<'_>) {
            let tls = cx.runtime().tls(cx.id()).unwrap();
            self.0.add(format!("open {}", tls.protocol()));
        }
        fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
            cx.send(bytes).unwrap();
        }
        fn closed(&mut self, _cx: &mut raw::Cx<'_>, why: Reason) {
            self.0.closed(why);
        }
    }
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    let (log, made) = (Log::default(), Log::default());
    let (heard, makes) = (log.clone(), made.clone());
    rig.serve(tls::Server::new(
        &server,
        raw::Server::new(move |_| {
            makes.add("made");
            Some(Hears(heard.clone()))
        }),
    ));
    let stranger = rig.connect();
    rig.pump();
    assert_eq!(made.take(), [""; 0]);

    let mut peer = Peer::new(&rig, &by_hand(BOTH));
    assert_eq!(peer.ask(&rig, "hello"), "hello");
    peer.tls.send_close_notify();
    peer.run(&rig).unwrap();

    assert_eq!(log.take(), ["open TLSv1.3", "closed Done"]);
    assert_eq!(made.take(), ["made"]);
    stranger.close();
    rig.run_for(secs(3));
    assert_eq!(rig.rt.stats().open, 0);
    rig.end();
}

/// A peer that reads nothing holds no more than its limit, and is given up.
#[test]
fn a_peer_that_takes_nothing_stalls_and_is_given_up() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    let log = Log::default();
    let fills = |cx: &mut ws::Cx<'_>, text: &str| {
        assert_eq!(text, "go");
        while cx.send(ws::Message::Text(&"x".repeat(10_000))).is_ok() {}
    };
    rig.serve(tls::Server::new(&server, http::Server::new().ws("/", hook(&log, fills))));
    rig.run_for(secs(1));
    let mut peer = Peer::new(&rig, &by_hand(BOTH));
    peer.wire.set_window(5_000);
    assert!(peer.ask(&rig, &kit::ws_request("/", "")).starts_with("HTTP/1.1 101"));

    peer.tls.writer().write_all(&kit::say("go")).unwrap();
    let mut out = Vec::new();
    peer.tls.write_tls(&mut out).unwrap();
    peer.wire.write(&out);
    rig.pump();
    let queued = rig.rt.connections(1)[0].queued;
    assert!((200_000..=300_000).contains(&queued), "{queued}");
    rig.run_for(secs(33));

    assert_eq!(log.take(), ["open", "closed WriteStall"]);
    assert_eq!(rig.rt.stats().open, 0);
    rig.end();
}

#[test]
fn shutdown_says_goodbye_and_forgets_who_still_shakes_hands() {
    let rig = Rig::new(Trigger::Edge);
    let (server, _) = configs(&["localhost"]);
    rig.serve(tls::Server::new(&server, plain()));
    let mut idle = Peer::new(&rig, &by_hand(BOTH));
    let mut open = Peer::new(&rig, &by_hand(BOTH));
    assert!(open.ask(&rig, &kit::ws_request("/echo", "")).starts_with("HTTP/1.1 101"));
    let fresh = rig.connect();
    rig.pump();

    rig.rt.shutdown(secs(5));
    rig.pump();
    idle.run(&rig).unwrap();
    open.run(&rig).unwrap();

    assert_eq!(idle.is_closed(), (true, true));
    assert!(fresh.is_eof());
    let mut close = Vec::new();
    let _ = open.tls.reader().read_to_end(&mut close);
    assert_eq!(kit::close_code(&close), Some(1001));
    rig.run_for(secs(6));
    assert!(!rig.rt.is_on());
    rig.end();
}
