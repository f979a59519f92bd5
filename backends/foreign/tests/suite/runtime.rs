//! lodger itself on a table of operations of each kind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use lodger::{Limits, Runtime, http};
use lodger_backend::suite::Loop;
use lodger_backend::{Host, Trigger};
use lodger_foreign::Table;
use lodger_mio::OsNet;

use crate::host::{Epoll, EpollOps, Played};

/// More than the kernel takes for a peer that does not read, so that both directions block.
const LONG: usize = 4 << 20;

#[test]
fn a_long_body_comes_back_level() {
    a_long_body_comes_back(Trigger::Level);
}

#[test]
fn a_long_body_comes_back_edge() {
    a_long_body_comes_back(Trigger::Edge);
}

#[test]
fn a_long_body_comes_back_oneshot() {
    a_long_body_comes_back(Trigger::Oneshot);
}

fn a_long_body_comes_back(trigger: Trigger) {
    let host = Epoll::new(trigger).unwrap();
    let table = Table::new(Box::new(EpollOps(Rc::clone(&host))));
    let net = Rc::new(OsNet::new().unwrap());
    let rt = Runtime::with(table.driver(), net, Limits::default());
    let echo = http::Server::new().post("/", |_, res| {
        res.read_body_up_to(LONG as u64, |body, res| res.bytes("application/octet-stream", body))
    });
    // Before there is a host: what is open is watched when it comes.
    let listener = rt.listen("127.0.0.1:0", echo).unwrap();
    let addr = rt.local_addr(listener).and_then(|addr| addr.tcp()).unwrap();
    let _guest = table.attach(Rc::new(rt.handle())).unwrap();
    let played = Played { host, table };

    let peer = thread::spawn(move || (0..3).map(|n| exchange(addr, n)).collect::<Vec<_>>());
    let ended = played.run(Duration::from_secs(60), &mut || peer.is_finished());

    assert!(ended, "the peer still waits");
    assert_eq!(peer.join().unwrap(), [true; 3]);
    assert_eq!(rt.host_name(), "epoll");
}

/// Sends all before it reads anything, then compares.
fn exchange(addr: SocketAddr, salt: u8) -> bool {
    let body: Vec<u8> = (0..LONG).map(|at| (at % 251) as u8 ^ salt).collect();
    let mut peer = TcpStream::connect(addr).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {LONG}\r\nConnection: close\r\n\r\n"
    );
    peer.write_all(head.as_bytes()).unwrap();
    peer.write_all(&body).unwrap();
    // So that the answer has to wait for its reader.
    thread::sleep(Duration::from_millis(20));
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&body)
}
