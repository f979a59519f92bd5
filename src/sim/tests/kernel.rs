//! What the world has in common with a kernel: reports, ends, errors, time.

use super::super::{Faults, World};
use super::*;

const T: Token = Token::new(1, 1);

/// A watched socket, its peer, and the driver that watches it.
struct Pair {
    world: World,
    net: Rc<dyn Net>,
    driver: Box<dyn Driver>,
    sock: Sock,
    wire: super::super::Wire,
}

fn pair(trigger: Trigger, want: Interest) -> Pair {
    let world = World::new(1);
    let (net, mut driver) = (world.net(), world.driver_with(trigger));
    let (sock, wire) = world.pair();
    driver.watch(net.source(sock).unwrap(), T, want).unwrap();
    Pair { world, net, driver, sock, wire }
}

impl Pair {
    fn poll(&mut self) -> Vec<Ready> {
        reports(&mut *self.driver)
    }

    fn rearm(&mut self, want: Interest) {
        self.driver.rearm(self.net.source(self.sock).unwrap(), T, want).unwrap();
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.net.send(self.sock, &[io::IoSlice::new(bytes)])
    }

    fn recv(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut buf = std::vec![0; most];
        self.net.recv(self.sock, &mut buf).map(|n| buf[..n].to_vec())
    }
}

fn reports(driver: &mut dyn Driver) -> Vec<Ready> {
    let mut events = Vec::new();
    driver.poll(Some(Duration::ZERO), &mut events).unwrap();
    events.iter().map(|event| event.ready).collect()
}

fn kind<T: core::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn an_edge_is_reported_once_a_change() {
    let mut p = pair(Trigger::Edge, Interest::BOTH);
    assert_eq!((p.poll(), p.poll()), (Vec::from([Ready::WRITE]), Vec::new()));

    p.wire.write(b"ab");
    p.wire.write(b"c");

    assert_eq!((p.poll(), p.poll()), (Vec::from([Ready::BOTH]), Vec::new()));
    assert_eq!(p.recv(1).unwrap(), b"a");
    assert_eq!(p.poll(), []);
    p.wire.write(b"d");
    assert_eq!(p.poll(), [Ready::BOTH]);
}

#[test]
fn an_end_that_comes_with_the_last_bytes_has_no_report_of_its_own() {
    let mut p = pair(Trigger::Edge, Interest::BOTH);
    p.wire.write(b"last");
    p.wire.close();
    assert_eq!(p.poll(), [Ready::BOTH | Ready::HUP]);

    assert_eq!(p.recv(100).unwrap(), b"last");

    assert_eq!((p.poll(), p.recv(100).unwrap()), (Vec::new(), Vec::new()));
}

#[test]
fn an_end_alone_is_told_to_readers_only() {
    let mut p = pair(Trigger::Level, Interest::WRITE);
    p.wire.close();

    assert_eq!(p.poll(), [Ready::WRITE]);
    p.rearm(Interest::READ);
    assert_eq!(p.poll(), [Ready::READ | Ready::HUP]);
}

#[test]
fn a_level_is_reported_while_it_lasts() {
    let mut p = pair(Trigger::Level, Interest::READ);
    assert_eq!(p.poll(), []);

    p.wire.write(b"ab");

    assert_eq!((p.poll(), p.poll()), (Vec::from([Ready::READ]), Vec::from([Ready::READ])));
    p.rearm(Interest::NONE);
    assert_eq!(p.poll(), []);
    p.rearm(Interest::BOTH);
    assert_eq!(p.poll(), [Ready::BOTH]);
    p.recv(2).unwrap();
    assert_eq!(p.poll(), [Ready::WRITE]);
}

#[test]
fn a_oneshot_is_silent_until_it_is_armed_again() {
    let mut p = pair(Trigger::Oneshot, Interest::BOTH);
    assert_eq!(p.poll(), [Ready::WRITE]);

    p.wire.write(b"ab");

    assert_eq!(p.poll(), []);
    p.rearm(Interest::READ);
    assert_eq!((p.poll(), p.poll()), (Vec::from([Ready::READ]), Vec::new()));
}

#[test]
fn hang_up_is_both_directions_and_none_silences_it() {
    let mut p = pair(Trigger::Level, Interest::READ);

    p.wire.reset();

    assert_eq!(p.poll(), [Ready::BOTH | Ready::HUP]);
    p.rearm(Interest::NONE);
    assert_eq!(p.poll(), []);
}

#[test]
fn a_full_direction_blocks_and_the_room_is_an_edge() {
    let mut p = pair(Trigger::Edge, Interest::BOTH);
    p.poll();
    let big = std::vec![7; 100_000];

    assert_eq!(p.send(&big).unwrap(), 64 << 10);
    assert_eq!(kind(p.send(&big)), io::ErrorKind::WouldBlock);
    assert_eq!((p.poll(), p.world.next_event()), (Vec::new(), None));
    assert_eq!(p.wire.read().len(), 64 << 10);

    assert_eq!((p.world.next_event(), p.poll()), (Some(p.world.now()), Vec::from([Ready::WRITE])));
}

#[test]
fn a_window_is_what_the_wire_takes() {
    let mut p = pair(Trigger::Edge, Interest::BOTH);
    p.poll();
    p.wire.set_window(3);

    assert_eq!(p.send(b"abcdef").unwrap(), 3);
    p.wire.set_window(4);

    assert_eq!(p.poll(), [Ready::WRITE]);
    assert_eq!(p.send(b"def").unwrap(), 1);
    assert_eq!(p.wire.read(), b"abcd");
}

#[test]
fn a_peer_that_writes_without_room_sees_what_is_unread() {
    let p = pair(Trigger::Edge, Interest::BOTH);

    p.wire.write(&std::vec![0; 200_000]);

    assert_eq!(p.wire.unread(), 200_000);
    p.recv(150_000).unwrap();
    assert_eq!(p.wire.unread(), 50_000);
}

#[test]
fn one_direction_may_end_alone() {
    let p = pair(Trigger::Edge, Interest::BOTH);

    p.net.shutdown(p.sock).unwrap();
    p.wire.write(b"still here");

    assert!(p.wire.is_eof() && !p.wire.is_reset());
    assert_eq!(kind(p.send(b"x")), io::ErrorKind::BrokenPipe);
    assert_eq!(p.recv(100).unwrap(), b"still here");
}

#[test]
fn closing_with_unread_input_resets() {
    let p = pair(Trigger::Edge, Interest::BOTH);
    p.wire.write(b"never read");
    p.send(b"bye").unwrap();

    p.net.close(p.sock);

    assert!(p.wire.is_reset() && !p.wire.is_eof());
    assert_eq!(p.wire.read(), b"bye");
}

#[test]
fn sending_to_an_end_that_is_gone_is_told_by_the_next_call() {
    let Pair { net, sock, wire, .. } = pair(Trigger::Edge, Interest::BOTH);
    drop(wire);
    let send = || net.send(sock, &[io::IoSlice::new(b"hello")]);

    assert_eq!(send().unwrap(), 5);
    assert_eq!(kind(send()), io::ErrorKind::ConnectionReset);
    assert_eq!(kind(send()), io::ErrorKind::BrokenPipe);
    assert_eq!(net.recv(sock, &mut [0; 9]).unwrap(), 0);
}

#[test]
fn what_arrived_before_a_reset_is_read_first() {
    let p = pair(Trigger::Edge, Interest::BOTH);
    p.wire.write(b"last words");

    p.wire.reset();

    assert_eq!(p.recv(100).unwrap(), b"last words");
    assert_eq!(kind(p.recv(100)), io::ErrorKind::ConnectionReset);
    assert_eq!(p.recv(100).unwrap(), b"");
}

#[test]
fn a_connect_to_nobody_is_refused_by_readiness() {
    let world = World::with(1, Faults { delay: 500, ..Faults::none() });
    let (net, mut driver) = (world.net(), world.driver());
    let sock = net.connect(&addr()).unwrap();
    driver.watch(net.source(sock).unwrap(), T, Interest::BOTH).unwrap();
    assert_eq!(kind(net.recv(sock, &mut [0; 1])), io::ErrorKind::WouldBlock);

    let mut events = Vec::new();
    driver.poll(None, &mut events).unwrap();

    assert_eq!(events, [Event { token: T, ready: Ready::BOTH | Ready::HUP }]);
    let error = net.take_error(sock).unwrap().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(net.take_error(sock).unwrap().is_none());
}

#[test]
fn a_connection_waits_in_the_backlog() {
    let world = World::new(1);
    let (net, mut driver) = (world.net(), world.driver());
    let listener = net.listen(&Addr::parse("0.0.0.0:0").unwrap()).unwrap();
    driver.watch(net.source(listener).unwrap(), T, Interest::BOTH).unwrap();
    let port = net.local_addr(listener).unwrap().tcp().unwrap().port();
    let there = Addr::parse(&std::format!("127.0.0.1:{port}")).unwrap();
    assert_eq!(reports(&mut *driver), []);

    let client = net.connect(&there).unwrap();
    net.send(client, &[io::IoSlice::new(b"early")]).unwrap();

    assert_eq!((reports(&mut *driver), world.open()), (Vec::from([Ready::READ]), 2));
    let server = net.accept(listener).unwrap();
    assert_eq!(net.recv(server, &mut [0; 9]).unwrap(), 5);
    assert_eq!(net.peer_addr(server).unwrap(), net.local_addr(client).unwrap());
    assert_eq!(kind(net.accept(listener)), io::ErrorKind::WouldBlock);
    assert_eq!(kind(net.listen(&there)), io::ErrorKind::AddrInUse);
}

#[test]
fn a_listener_that_closes_resets_who_waits() {
    let world = World::new(1);
    let net = world.net();
    let listener = net.listen(&addr()).unwrap();
    let waiting = world.connect(&addr()).unwrap();

    net.close(listener);

    assert!(waiting.is_reset());
    assert_eq!(kind(world.connect(&addr())), io::ErrorKind::ConnectionRefused);
    assert_eq!(world.open(), 0);
}

#[test]
fn a_failed_accept_keeps_the_connection() {
    let world = World::new(1);
    let net = world.net();
    let listener = net.listen(&addr()).unwrap();
    let wire = world.connect(&addr()).unwrap();

    world.fail_accepts(2, 24);

    for _ in 0..2 {
        assert_eq!(net.accept(listener).unwrap_err().raw_os_error(), Some(24));
    }
    assert!(net.accept(listener).is_ok() && !wire.is_reset());
    assert_eq!(world.injected().accept_errors, 2);
}

#[test]
fn waiting_moves_the_clock_to_the_deadline_which_fires_once() {
    let world = World::new(1);
    let mut driver = world.driver();
    let mut events = Vec::new();
    driver.set_deadline(Some(Micros::new(250)));

    driver.poll(Some(Duration::from_micros(100)), &mut events).unwrap();
    assert_eq!(driver.now(), Micros::new(100));
    driver.poll(None, &mut events).unwrap();
    assert_eq!(driver.now(), Micros::new(250));

    assert_eq!(kind(driver.poll(None, &mut events)), io::ErrorKind::Deadlock);
    assert_eq!((world.next_event(), events.len()), (None, 0));
}

#[test]
fn a_wake_or_a_request_ends_the_wait_once() {
    let world = World::new(1);
    let mut driver = world.driver();
    let waker = driver.waker();
    let mut events = Vec::new();
    let hour = Some(Duration::from_secs(3_600));

    waker.wake();
    waker.wake();
    driver.poll(hour, &mut events).unwrap();
    driver.request_turn();
    assert_eq!(world.next_event(), Some(Micros::ZERO));
    driver.poll(hour, &mut events).unwrap();

    assert_eq!((driver.now(), world.next_event()), (Micros::ZERO, None));
    driver.poll(hour, &mut events).unwrap();
    assert_eq!(driver.now(), Micros::ZERO + Duration::from_secs(3_600));
    drop(driver);
    waker.wake();
    assert_eq!(world.next_event(), None);
}

#[test]
fn a_released_socket_is_reported_no_more() {
    let mut p = pair(Trigger::Edge, Interest::BOTH);
    p.wire.write(b"x");

    p.driver.release(T, p.sock, &p.net);

    assert_eq!((p.poll(), p.world.watched(), p.world.open()), (Vec::new(), 0, 0));
    assert!(p.wire.is_reset());
    assert_eq!(p.net.source(p.sock), None);
    assert_eq!(kind(p.recv(1)), io::ErrorKind::NotConnected);
}

#[test]
fn a_loop_that_closes_late_closes_by_its_next_poll() {
    let mut p = pair(Trigger::Edge, Interest::BOTH);
    p.world.set_faults(Faults { late_closes: 1_000, ..Faults::none() });

    p.driver.release(T, p.sock, &p.net);

    assert_eq!((p.world.open(), p.world.watched(), p.wire.is_eof()), (1, 0, false));
    assert_eq!((p.poll(), p.world.open(), p.wire.is_eof()), (Vec::new(), 0, true));
}

#[test]
fn what_is_against_the_contract_is_noticed() {
    let Pair { world, net, mut driver, sock, wire: _wire } = pair(Trigger::Edge, Interest::BOTH);
    let source = net.source(sock).unwrap();
    let (other, _wire) = world.pair();

    assert!(driver.watch(source, T, Interest::BOTH).is_err());
    driver.rearm(source, T, Interest::READ).unwrap();
    assert!(driver.rearm(net.source(other).unwrap(), T, Interest::READ).is_err());
    driver.release(Token::new(2, 2), sock, &net);
    driver.release(T, other, &net);
    assert!(driver.watch(source, T, Interest::BOTH).is_err());
    let (third, _wire) = world.pair();
    driver.watch(net.source(third).unwrap(), T, Interest::BOTH).unwrap();
    net.close(third);

    let expected = [
        "a socket was watched twice",
        "rearm was called on an edge-triggered backend",
        "rearm was called on an edge-triggered backend",
        "a socket was rearmed that is not watched",
        "a socket was released under another's token",
        "a socket was released that is not watched",
        "a socket that is not open was watched",
        "a watched socket was closed instead of released",
    ];
    assert_eq!(world.misuse(), expected);
}

#[test]
fn a_full_list_says_so_and_starves_nobody() {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::Oneshot] {
        let world = World::with(3, Faults { short_lists: 1_000, ..Faults::none() });
        let mut driver = world.driver_with(trigger);
        let net = world.net();
        let pairs: Vec<_> = (0..50).map(|_| world.pair()).collect();
        for (i, (sock, _)) in (0..).zip(&pairs) {
            driver.watch(net.source(*sock).unwrap(), Token::new(i, 1), Interest::WRITE).unwrap();
        }

        let mut seen = std::collections::BTreeSet::new();
        let mut full = 0;
        for _ in 0..50 {
            let mut events = Vec::new();
            full += usize::from(driver.poll(Some(Duration::ZERO), &mut events).unwrap());
            seen.extend(events.iter().map(|event| event.token));
        }

        assert_eq!(seen.len(), 50, "{trigger:?}");
        assert!(full >= 12 && world.injected().short_lists >= 12);
    }
}

#[cfg(unix)]
#[test]
fn addresses_descriptors_and_randomness() {
    use std::os::fd::OwnedFd;

    let world = World::new(5);
    let net = world.net();
    let file: OwnedFd = std::fs::File::open(".").unwrap().into();
    let (mut a, mut b) = ([0; 20], [0; 20]);

    let (_back, error) = net.adopt(file).unwrap_err();
    net.random(&mut a);
    World::new(5).net().random(&mut b);

    assert_eq!((error.kind(), a), (io::ErrorKind::Unsupported, b));
    assert_ne!(a, [0; 20]);
    world.advance(Duration::from_secs(90));
    assert_eq!(net.unix_time(), 1_700_000_090);
}
