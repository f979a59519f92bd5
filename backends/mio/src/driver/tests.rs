use std::os::fd::AsRawFd;
use std::time::Instant;

use lodger_backend::Addr;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::*;
use crate::OsNet;

const NOW: Option<Duration> = Some(Duration::ZERO);
const SOON: Option<Duration> = Some(Duration::from_secs(5));

fn tok(index: u32) -> Token {
    Token::new(index, 1)
}

/// Polls until `n` reports have come, and gives them.
fn reports(driver: &mut MioDriver, n: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let began = Instant::now();
    while events.len() < n && began.elapsed() < Duration::from_secs(5) {
        driver.poll(SOON, &mut events).unwrap();
    }
    events
}

/// Whether a host that watches `fd` level-triggered would be woken within `millis`.
fn readable(fd: &OwnedFd, millis: i64) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let limit = Timespec { tv_sec: millis / 1_000, tv_nsec: millis % 1_000 * 1_000_000 };
    poll(&mut fds, Some(&limit)).unwrap() > 0
}

/// A pair of connected sockets of `net`, by way of a listener.
fn pair(net: &OsNet) -> (Sock, Sock) {
    let listener = net.listen(&Addr::parse("127.0.0.1:0").unwrap()).unwrap();
    let near = net.connect(&net.local_addr(listener).unwrap()).unwrap();
    let far = loop {
        if let Ok(far) = net.accept(listener) {
            break far;
        }
    };
    net.close(listener);
    (near, far)
}

fn watch(driver: &mut MioDriver, net: &OsNet, sock: Sock, token: Token) {
    driver.watch(net.source(sock).unwrap(), token, Interest::BOTH).unwrap();
}

#[test]
fn a_deadline_wakes_never_early_and_once() {
    let mut driver = MioDriver::new().unwrap();
    let at = driver.now() + Duration::from_micros(1_500);
    driver.set_deadline(Some(at));

    let mut events = Vec::new();
    driver.poll(SOON, &mut events).unwrap();

    assert!(driver.now() >= at);
    assert!(events.is_empty());
    let fd = driver.fd().unwrap();
    assert!(!readable(&fd, 20));
}

#[test]
fn past_deadlines_fire_at_once() {
    let mut driver = MioDriver::new().unwrap();
    let fd = driver.fd().unwrap();
    for at in [Micros::ZERO, Micros::new(1), driver.now()] {
        driver.set_deadline(Some(at));
        assert!(readable(&fd, 1_000), "{at:?}");
        driver.poll(NOW, &mut Vec::new()).unwrap();
    }
}

#[test]
fn the_same_deadline_is_armed_again_after_it_fired() {
    let mut driver = MioDriver::new().unwrap();
    let fd = driver.fd().unwrap();
    let at = driver.now();
    for _ in 0..3 {
        driver.set_deadline(Some(at));
        assert!(readable(&fd, 1_000));
        driver.poll(NOW, &mut Vec::new()).unwrap();
        assert!(!readable(&fd, 0));
    }
}

#[test]
fn a_moved_deadline_wakes_once_for_nothing_and_then_on_time() {
    let mut driver = MioDriver::new().unwrap();
    let early = driver.now() + Duration::from_millis(2);
    let late = early + Duration::from_millis(20);
    driver.set_deadline(Some(early));
    driver.set_deadline(Some(late));

    let mut turns = 0;
    while driver.now() < late {
        driver.poll(SOON, &mut Vec::new()).unwrap();
        driver.set_deadline(Some(late));
        turns += 1;
    }

    assert_eq!(turns, 2);
}

#[test]
fn an_asked_turn_does_not_wait_and_is_asked_once() {
    let mut driver = MioDriver::new().unwrap();
    driver.request_turn();
    driver.request_turn();

    driver.poll(None, &mut Vec::new()).unwrap();

    assert!(!readable(&driver.fd().unwrap(), 0));
}

#[test]
fn a_nested_driver_makes_an_edge_for_each_asked_turn() {
    let mut driver = MioDriver::new().unwrap();
    driver.request_turn();
    let fd = driver.fd().unwrap();
    for _ in 0..3 {
        assert!(readable(&fd, 0));
        driver.poll(NOW, &mut Vec::new()).unwrap();
        assert!(!readable(&fd, 0));
        driver.request_turn();
        driver.request_turn();
    }
}

#[test]
fn a_full_list_says_so_and_stays_readable() {
    let net = OsNet::new().unwrap();
    let mut driver = MioDriver::with_events(2).unwrap();
    let fd = driver.fd().unwrap();
    let socks = [pair(&net), pair(&net)];
    for (i, (near, far)) in socks.iter().enumerate() {
        let i = u32::try_from(i).unwrap();
        watch(&mut driver, &net, *near, tok(i * 2));
        watch(&mut driver, &net, *far, tok(i * 2 + 1));
    }

    let mut events = Vec::new();
    assert!(driver.poll(NOW, &mut events).unwrap());
    assert_eq!(events.len(), 2);
    assert!(readable(&fd, 0));
    assert!(driver.poll(NOW, &mut events).unwrap());
    assert_eq!(events.len(), 4);
    assert!(!readable(&fd, 0));
    assert!(!driver.poll(NOW, &mut events).unwrap());
}

#[test]
fn an_end_that_comes_with_data_is_told() {
    let net = OsNet::new().unwrap();
    let mut driver = MioDriver::new().unwrap();
    let (near, far) = pair(&net);
    watch(&mut driver, &net, near, tok(1));
    reports(&mut driver, 1);

    net.send(far, &[io::IoSlice::new(b"last words")]).unwrap();
    net.shutdown(far).unwrap();

    let mut all = Ready::NONE;
    while !all.is_hup() {
        all |= reports(&mut driver, 1)[0].ready;
    }
    assert!(all.is_read());
}

#[test]
fn hang_up_is_both_directions() {
    let net = OsNet::new().unwrap();
    let mut driver = MioDriver::new().unwrap();
    let (near, far) = pair(&net);
    watch(&mut driver, &net, near, tok(1));
    reports(&mut driver, 1);

    net.send(near, &[io::IoSlice::new(b"unread")]).unwrap();
    net.close(far);

    let event = reports(&mut driver, 1)[0];
    assert_eq!(event, Event { token: tok(1), ready: Ready::BOTH | Ready::HUP });
}

#[test]
fn nothing_is_reported_after_release_though_a_duplicate_lives() {
    let net: Rc<dyn Net> = Rc::new(OsNet::new().unwrap());
    let mut driver = MioDriver::new().unwrap();
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    let duplicate = a.try_clone().unwrap();
    let near = net.adopt(a.into()).unwrap();
    driver.watch(net.source(near).unwrap(), tok(1), Interest::BOTH).unwrap();
    driver.release(tok(1), near, &net);

    io::Write::write_all(&mut &b, b"late").unwrap();

    let mut events = Vec::new();
    driver.poll(NOW, &mut events).unwrap();
    assert!(events.is_empty());
    assert!(net.source(near).is_none());
    drop(duplicate);
}

#[test]
fn rearm_reports_again_and_none_silences() {
    let net = OsNet::new().unwrap();
    let mut driver = MioDriver::new().unwrap();
    let (near, far) = pair(&net);
    watch(&mut driver, &net, near, tok(1));
    reports(&mut driver, 1);

    driver.rearm(net.source(near).unwrap(), tok(1), Interest::WRITE).unwrap();
    assert_eq!(reports(&mut driver, 1)[0].ready, Ready::WRITE);

    driver.rearm(net.source(near).unwrap(), tok(1), Interest::NONE).unwrap();
    net.close(far);
    let mut events = Vec::new();
    driver.poll(Some(Duration::from_millis(20)), &mut events).unwrap();
    assert!(events.is_empty());
}

#[test]
fn reserved_tokens_and_sources_of_others_are_refused() {
    let net = OsNet::new().unwrap();
    let mut driver = MioDriver::new().unwrap();
    let (near, _far) = pair(&net);
    let source = net.source(near).unwrap();

    for index in [u32::MAX, u32::MAX - 1] {
        let refused = driver.watch(source, Token::new(index, u32::MAX), Interest::BOTH);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    let refused = driver.watch(Source::Memory(1), tok(1), Interest::BOTH);
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
    watch(&mut driver, &net, near, tok(1));
    let twice = driver.watch(source, tok(2), Interest::BOTH);
    assert_eq!(twice.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn a_waker_wakes_from_a_thread_and_outlives_the_driver() {
    let mut driver = MioDriver::new().unwrap();
    let waker = driver.waker();
    let thread = std::thread::spawn({
        let waker = waker.clone();
        move || waker.wake()
    });

    let mut events = Vec::new();
    driver.poll(SOON, &mut events).unwrap();

    thread.join().unwrap();
    assert!(events.is_empty());
    drop(driver);
    waker.wake();
}

#[test]
fn the_duplicate_is_closed_on_exec_and_outlives_the_driver() {
    let driver = MioDriver::new().unwrap();
    let fd = driver.fd().unwrap();

    let flags = rustix::io::fcntl_getfd(&fd).unwrap();

    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    drop(driver);
    assert!(fd.as_raw_fd() >= 0);
    assert!(!readable(&fd, 0));
}
