//! The same over the system's own sockets, on 127.0.0.1: the standalone loop.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use lodger::{Budget, Handle, Runtime, Serve, http};

use crate::kit::{Echo, frames, get, response, say, ws_request};

fn server() -> http::Server {
    http::Server::new().get("/", |_, res| res.text("hello")).ws("/echo", |_| Ok(Echo))
}

/// Writes and turns the loop until `until` says that enough was read.
fn talk(
    rt: &Handle,
    peer: &mut (impl Read + Write),
    bytes: &[u8],
    until: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    peer.write_all(bytes).unwrap();
    let (mut got, mut buf) = (Vec::new(), [0; 4_096]);
    while !until(&got) {
        rt.step(Some(Duration::from_millis(50)), Budget::default()).unwrap();
        match peer.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => got.extend_from_slice(&buf[..n]),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    got
}

fn says_hello(rt: &Handle, peer: &mut (impl Read + Write)) {
    let answer = talk(rt, peer, get("/").as_bytes(), |got| got.ends_with(b"hello"));
    assert_eq!(response(std::str::from_utf8(&answer).unwrap()), (200, "hello"));
}

#[expect(clippy::disallowed_types, reason = "the peer of a real socket")]
fn dial(addr: std::net::SocketAddr) -> std::net::TcpStream {
    let peer = std::net::TcpStream::connect(addr).unwrap();
    peer.set_nonblocking(true).unwrap();
    peer
}

#[test]
fn an_echo_over_tcp() {
    let rt = Runtime::standalone().unwrap();
    let id = rt.listen("127.0.0.1:0", server()).unwrap();
    let mut peer = dial(rt.local_addr(id).unwrap().tcp().unwrap());

    says_hello(&rt, &mut peer);
    let head =
        talk(&rt, &mut peer, ws_request("/echo", "").as_bytes(), |got| got.ends_with(b"\r\n\r\n"));
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    for n in 0..20 {
        let text = format!("message {n}");
        let back = talk(&rt, &mut peer, &say(&text), |got| !frames(got).0.is_empty());
        assert_eq!(frames(&back).0[0].2, text.as_bytes());
    }
    assert_eq!(rt.stats().messages, 20);
}

#[test]
fn a_unix_listener_and_its_file() {
    let path = std::env::temp_dir().join(format!("lodger-it-{}.sock", std::process::id()));
    let rt = Runtime::standalone().unwrap();
    let at = format!("unix:{}", path.display());
    rt.listen(&at, server()).unwrap();
    let refused = Runtime::standalone().unwrap().listen(&at, server()).unwrap_err();
    assert_eq!(refused.error.kind(), std::io::ErrorKind::AddrInUse);

    let mut peer = UnixStream::connect(&path).unwrap();
    peer.set_nonblocking(true).unwrap();
    says_hello(&rt, &mut peer);

    drop(rt);
    // The file may be left: the next listener takes it over.
    let rt = Runtime::standalone().unwrap();
    rt.listen(&at, server()).unwrap();
    drop(rt);
    let _ = std::fs::remove_file(path);
}

#[test]
fn one_end_of_a_socketpair_is_adopted() {
    let rt = Runtime::standalone().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();

    let id = rt.adopt(OwnedFd::from(ours), &server().into_service()).unwrap();

    says_hello(&rt, &mut theirs);
    assert!(rt.is_open(id));
    drop(theirs);
    while rt.is_open(id) {
        rt.step(Some(Duration::from_secs(5)), Budget::default()).unwrap();
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    let refused = rt.adopt(OwnedFd::from(file), &server().into_service()).unwrap_err();
    assert!(refused.value.is_some(), "what is no socket is given back");
}

#[test]
fn an_inherited_listening_socket_is_served() {
    let path = std::env::temp_dir().join(format!("lodger-it-{}.inherited", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let inherited = UnixListener::bind(&path).unwrap();
    let rt = Runtime::standalone().unwrap();
    rt.listen_on(OwnedFd::from(inherited), server()).unwrap();
    let mut peer = UnixStream::connect(&path).unwrap();
    peer.set_nonblocking(true).unwrap();

    says_hello(&rt, &mut peer);

    let _ = std::fs::remove_file(path);
}

#[test]
fn run_returns_when_the_runtime_has_ended() {
    let rt = Runtime::standalone().unwrap();
    let handle = rt.handle();
    let remote = rt.remote_jobs();
    rt.after(Duration::from_millis(1), move |_| {
        assert!(remote.post(Box::new(Handle::end)).is_ok());
    });

    rt.run().unwrap();

    assert!(!handle.is_on());
}

/// A name server on 127.0.0.1, by datagrams and on streams: the first are cut short where the name
/// says so.
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a real server, beside the loop"
)]
fn name_server() -> std::net::SocketAddr {
    use std::net::{TcpListener, UdpSocket};

    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = stream.local_addr().unwrap();
    let datagrams = UdpSocket::bind(addr).unwrap();
    let known =
        || crate::names::knows(&[("www.a.test", &["127.0.0.1"]), ("long.test", &["127.0.0.1"])]);
    // Both wait for questions until the process ends.
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((n, from)) = datagrams.recv_from(&mut query) {
            let mut answer = crate::names::answer(&query[..n], &known());
            let long = query[12] == 4;
            answer[2] |= u8::from(long) << 1;
            datagrams.send_to(&answer, from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for peer in stream.incoming() {
            let (mut peer, mut length) = (peer.unwrap(), [0; 2]);
            peer.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            peer.read_exact(&mut query).unwrap();
            let answer = crate::names::answer(&query, &known());
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            peer.write_all(&[&length[..], &answer].concat()).unwrap();
        }
    });
    addr
}

#[test]
fn names_are_asked_for_by_datagrams_and_on_streams() {
    let rt = Runtime::standalone().unwrap();
    let listener = rt.listen("127.0.0.1:0", server()).unwrap();
    let port = rt.local_addr(listener).unwrap().tcp().unwrap().port();
    rt.set_name_servers(lodger::dns::Config::new(&[name_server()]));
    let client = http::Client::new(&rt);
    let (told, h) = (std::rc::Rc::new(std::cell::Cell::new(0)), rt.handle());
    for name in ["www.a.test", "long.test"] {
        let (told, h) = (std::rc::Rc::clone(&told), h.clone());
        client.get(&format!("http://{name}:{port}/")).whole(100, move |result| {
            assert_eq!(result.unwrap().body, b"hello");
            told.set(told.get() + 1);
            if told.get() == 2 {
                h.end();
            }
        });
    }

    rt.run().unwrap();

    assert_eq!(told.get(), 2);
}
