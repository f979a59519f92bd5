//! Both ends of the engine against each other, cut anywhere.

use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::Wire;
use crate::io::{Out, Pool, Tx};

/// One end, what it has to send, and what it has read.
struct End {
    engine: Engine,
    out: Out,
    read: Vec<u8>,
    fed: engine::Fed,
}

/// What a feed of pieces ends with.
type Ended = Result<(), crate::Error>;

impl End {
    fn new(engine: Engine) -> Self {
        Self { engine, out: Out::new(), read: Vec::new(), fed: engine::Fed::default() }
    }

    fn feed(&mut self, bytes: &[u8], pool: &mut Pool) -> Ended {
        let mut input = self.engine.kept().to_vec();
        input.extend_from_slice(bytes);
        let Self { engine, out, read, .. } = self;
        let mut plain = |piece: &[u8]| read.extend_from_slice(piece);
        self.fed = engine.feed(&mut input, &mut plain, &mut Tx::new(out, pool))?;
        Ok(())
    }

    fn take(&mut self, pool: &mut Pool) -> Vec<u8> {
        let bytes = self.out.bytes().to_vec();
        self.out.clear(pool);
        bytes
    }

    fn say(&mut self, text: &[u8], pool: &mut Pool) -> Vec<u8> {
        self.engine.seal(text, &mut Tx::new(&mut self.out, pool)).unwrap();
        self.take(pool)
    }
}

struct Identities {
    server: ServerConfig,
    client: ClientConfig,
}

/// A certificate that nobody but its own key has signed; each has a subject of its own.
fn pem(names: &[&str]) -> (String, String) {
    static COUNT: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    let names: Vec<String> = names.iter().map(|name| String::from(*name)).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, std::format!("test {count}"));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn identities(names: &[&str]) -> Identities {
    let (cert, key) = pem(names);
    let identity = Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let server = ServerConfig::builder().identity(identity).build().unwrap();
    let client = ClientConfig::new(&Roots::from_pem(cert.as_bytes()).unwrap()).unwrap();
    Identities { server, client }
}

fn ends(who: &Identities, name: &str, offered: &[&str], known: &[&str]) -> (End, End) {
    let accept = Rc::new(who.server.accept(known));
    let client = who.client.clone().speaking(offered).begin(name).unwrap();
    let server = Engine::server(&accept).unwrap();
    (End::new(client), End::new(server))
}

/// Carries records both ways, in pieces of `size` bytes, until both ends are ready.
fn shake(client: &mut End, server: &mut End, size: usize) -> Ended {
    let mut pool = Pool::new(1 << 20);
    client.feed(b"", &mut pool)?;
    for _ in 0..8 {
        for piece in client.take(&mut pool).chunks(size) {
            server.feed(piece, &mut pool)?;
        }
        for piece in server.take(&mut pool).chunks(size) {
            client.feed(piece, &mut pool)?;
        }
    }
    assert!(client.fed.ready && server.fed.ready);
    Ok(())
}

#[test]
fn both_ends_agree_however_the_records_are_cut() {
    let who = identities(&["example.org"]);
    for size in [1, 2, 3, 5, 7, 100, 333, 1 << 20] {
        let mut pool = Pool::new(1 << 20);
        let (mut client, mut server) =
            ends(&who, "example.org", &["h9", "http/1.1"], &["http/1.1"]);
        shake(&mut client, &mut server, size).unwrap();

        let long: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for piece in client.say(&long, &mut pool).chunks(size) {
            server.feed(piece, &mut pool).unwrap();
        }
        for piece in server.say(b"back", &mut pool).chunks(size) {
            client.feed(piece, &mut pool).unwrap();
        }

        assert_eq!((server.read == long, &*client.read), (true, &b"back"[..]), "{size}");
        assert_eq!((client.engine.kept(), server.engine.kept()), (&b""[..], &b""[..]));
        let (one, other) = (client.engine.session(), server.engine.session());
        assert_eq!((one.protocol(), other.protocol()), ("TLSv1.3", "TLSv1.3"));
        assert_eq!(one.cipher(), other.cipher());
        assert_eq!((one.alpn(), other.alpn()), (Some(&b"http/1.1"[..]), Some(&b"http/1.1"[..])));
        assert_eq!((one.sni(), other.sni()), (None, Some("example.org")));
        assert_eq!((one.peer_certificates().count(), other.peer_certificates().count()), (1, 0));
    }
}

/// RFC 8446, 6.1: what stands behind close_notify is ignored; the other direction goes on.
#[test]
fn close_notify_ends_one_direction() {
    let who = identities(&["a"]);
    let mut pool = Pool::new(1 << 20);
    let (mut client, mut server) = ends(&who, "a", &[], &[]);
    shake(&mut client, &mut server, 1000).unwrap();

    client.engine.close(&mut Tx::new(&mut client.out, &mut pool)).unwrap();
    let mut bytes = client.take(&mut pool);
    bytes.extend_from_slice(b"garbage behind it");
    server.feed(&bytes, &mut pool).unwrap();
    assert!(server.fed.closed && !client.fed.closed);
    server.feed(b"more garbage", &mut pool).unwrap();

    let answer = server.say(b"still here", &mut pool);
    client.feed(&answer, &mut pool).unwrap();
    assert_eq!(client.read, b"still here");
}

/// RFC 8446, 6.2: the alert reaches the output.
#[test]
fn an_error_is_told_by_an_alert() {
    let who = identities(&["a"]);
    let mut pool = Pool::new(1 << 20);
    let mut server = End::new(Engine::server(&Rc::new(who.server.accept(&[]))).unwrap());

    let e = server.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &mut pool).unwrap_err();

    assert_eq!(e.wire(), Wire::Tls(50), "{e}");
    let alert = server.take(&mut pool);
    assert_eq!((alert.len(), &alert[..2], alert[5]), (7, &[21, 3][..], 2), "{alert:?}");
}

#[test]
fn a_record_that_was_changed_is_refused_with_an_alert() {
    let who = identities(&["a"]);
    let mut pool = Pool::new(1 << 20);
    let (mut client, mut server) = ends(&who, "a", &[], &[]);
    shake(&mut client, &mut server, 1000).unwrap();

    let mut bytes = client.say(b"hello", &mut pool);
    bytes[9] ^= 1;
    let e = server.feed(&bytes, &mut pool).unwrap_err();

    assert_eq!(e.wire(), Wire::Tls(20), "{e}");
    let alert = server.take(&mut pool);
    let e = client.feed(&alert, &mut pool).unwrap_err();
    assert!(e.rule().contains("bad_record_mac"), "{e}");
    assert!(server.engine.seal(b"x", &mut Tx::new(&mut server.out, &mut pool)).is_err());
}

/// RFC 8446, 5.1: a record is announced with 2^14 + 256 bytes at most.
#[test]
fn an_oversize_record_is_refused_by_its_header() {
    let who = identities(&["a"]);
    let mut pool = Pool::new(1 << 20);
    let (mut client, mut server) = ends(&who, "a", &[], &[]);
    shake(&mut client, &mut server, 1000).unwrap();

    let e = server.feed(&[23, 3, 3, 0xff, 0xff], &mut pool).unwrap_err();

    assert_eq!(e.wire(), Wire::Tls(22), "{e}");
    assert!(!server.out.is_empty());
}

/// A fragment of a handshake message waits, decrypted, in what is kept, while records are sealed:
/// rustls must be given it each time.
#[test]
fn half_a_message_waits_while_we_write() {
    let who = identities(&["a"]);
    let mut pool = Pool::new(1 << 20);
    let (mut client, mut server) = ends(&who, "a", &[], &[]);
    client.feed(b"", &mut pool).unwrap();
    let hello = client.take(&mut pool);
    let body = &hello[5..];

    // The first message, in three records.
    for part in body.chunks(body.len() / 2 + 1) {
        let size = u16::try_from(part.len()).unwrap().to_be_bytes();
        let record = [&[22, 3, 1, size[0], size[1]], part].concat();
        server.feed(&record, &mut pool).unwrap();
        let early = server.engine.seal(b"early", &mut Tx::new(&mut server.out, &mut pool));
        assert!(early.is_err() || !server.out.is_empty());
    }
    assert!(!server.out.is_empty());
}

#[test]
fn a_certificate_is_refused_with_the_reason() {
    let who = identities(&["example.org"]);
    let stranger = identities(&["example.org"]);
    let mixed = Identities { server: stranger.server, client: who.client.clone() };
    let expired = expired();
    let cases: [(&Identities, &str, &str); 3] = [
        (&who, "example.net", "another name"),
        (&mixed, "example.org", "self-signed"),
        (&expired, "example.org", "expired"),
    ];
    for (who, name, reason) in cases {
        let (mut client, mut server) = ends(who, name, &[], &[]);

        let e = shake(&mut client, &mut server, 1000).unwrap_err();

        assert!(e.rule().contains(reason), "{e}");
        assert!(matches!(e.wire(), Wire::Tls(_)));
        assert!(!client.out.is_empty());
    }
}

fn expired() -> Identities {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([String::from("example.org")]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let cert = params.self_signed(&key).unwrap().pem();
    let identity = Identity::from_pem(cert.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let server = ServerConfig::builder().identity(identity).build().unwrap();
    let client = ClientConfig::new(&Roots::from_pem(cert.as_bytes()).unwrap()).unwrap();
    Identities { server, client }
}

#[test]
fn protocols_without_one_in_common_are_refused() {
    let who = identities(&["a"]);
    let (mut client, mut server) = ends(&who, "a", &["mqtt"], &["http/1.1"]);

    let e = shake(&mut client, &mut server, 1000).unwrap_err();

    assert_eq!(e.wire(), Wire::Tls(120), "{e}");
}

#[test]
fn a_session_is_resumed_unless_that_is_turned_off() {
    let who = identities(&["a"]);
    let kinds = |who: &Identities| {
        [0, 1, 2].map(|_| {
            let (mut client, mut server) = ends(who, "a", &["x"], &["x"]);
            shake(&mut client, &mut server, 1000).unwrap();
            server.engine.session().is_resumed()
        })
    };

    assert_eq!(kinds(&who), [false, true, true]);
    let Identities { server, client } = who;
    let who = Identities { server, client: client.without_resumption() };
    assert_eq!(kinds(&who), [false; 3]);
}

#[test]
fn the_certificate_is_the_one_for_the_name_and_else_the_first() {
    let [a, b] = [pem(&["a.example", "*.a.example"]), pem(&["b.example"])];
    let of = |(cert, key): &(String, String)| {
        Identity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap()
    };
    let server = ServerConfig::builder().identity(of(&a)).identity(of(&b)).build().unwrap();
    let client = ClientConfig::insecure().unwrap().without_resumption();
    let who = Identities { server, client };
    let shown = |name: &str| {
        let (mut client, mut server) = ends(&who, name, &[], &[]);
        shake(&mut client, &mut server, 1000).unwrap();
        let session = client.engine.session();
        session.peer_certificates().next().unwrap().to_vec()
    };

    assert_eq!(shown("b.example"), *of(&b).certificate());
    for name in ["a.example", "x.a.example", "c.example"] {
        assert_eq!(shown(name), *of(&a).certificate(), "{name}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let [a, b] = [pem(&["a"]), pem(&["b"])];

    let e = Identity::from_pem(a.0.as_bytes(), b.1.as_bytes()).unwrap_err();
    assert!(e.to_string().contains("not the certificate's"), "{e}");
    let e = Identity::from_pem(b"", b.1.as_bytes()).unwrap_err();
    assert!(e.to_string().contains("no PEM certificate"), "{e}");
    let e = Identity::from_files("/nowhere/at/all.pem", "/nowhere/key.pem").unwrap_err();
    assert!(e.to_string().starts_with("/nowhere/at/all.pem: "), "{e}");
}
