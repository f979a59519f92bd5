//! Flow control: both directions blocked, then drained, and nothing lost.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen};

use crate::suite::stage::Stage;
use crate::suite::{Failure, Report, Subject, Verdict, must};

/// Flow control: 8 MB are sent to an echo that nobody reads until both directions block. Blocked,
/// the loop costs no CPU; then all comes back as it was sent, and one more message after it.
///
/// # Errors
///
/// It never blocked, cost something while blocked, stopped for good, or changed a byte.
pub fn flow_control(subject: &Subject) -> Verdict {
    let stage = Stage::set(subject)?;
    let (listener, addr) = small_listener()?;
    stage.guest.adopt_listener(listener)?;
    let stream = small_stream(addr)?;
    stream.set_read_timeout(Some(stage.patience()))?;
    stream.set_write_timeout(Some(stage.patience()))?;
    let client = Arc::new(Client::default());
    let writer = thread::spawn({
        let (client, stream) = (Arc::clone(&client), stream.try_clone()?);
        move || client.write(stream)
    });
    let reader = thread::spawn({
        let client = Arc::clone(&client);
        move || client.read(stream)
    });

    let result = play(&stage, &client);

    // Whatever happened, the threads end: their calls time out.
    client.drain.store(true, Ordering::Release);
    client.gone.store(result.is_err(), Ordering::Release);
    drop(stage);
    let joined = writer.join().is_ok() && reader.join().is_ok();
    must(joined, || "a client thread panicked".into())?;
    result
}

fn play(stage: &Stage, client: &Client) -> Verdict {
    let (blocked_at, cpu) = until_blocked(stage, client)?;
    client.drain.store(true, Ordering::Release);
    until_drained(stage, client)?;
    must(!client.wrong.load(Ordering::Acquire), || "a byte came back changed".into())?;
    let mut report = Report::default();
    report.note(format!("blocked after {blocked_at} bytes ({cpu:?} of CPU), {TOTAL} came back"));
    Ok(report)
}

/// Runs the host until the client gets rid of nothing and the loop rests; gives what was sent,
/// and the CPU time of a while of rest. A busy machine may stop the client alone for a moment, so
/// that a loop at work is looked at again.
fn until_blocked(stage: &Stage, client: &Client) -> Result<(usize, Duration), Failure> {
    let mut tries = 0;
    for _ in 0..100 {
        let before = client.sent.load(Ordering::Acquire);
        let window = stage.watch(Duration::from_millis(300));
        let sent = client.sent.load(Ordering::Acquire);
        must(sent < TOTAL, || "8 MB were taken in without a reader".into())?;
        if sent != before || sent == 0 {
            tries = 0;
            continue;
        }
        if window.wakeups <= 1 && window.cpu < Duration::from_millis(20) {
            return Ok((sent, window.cpu));
        }
        tries += 1;
        must(tries < 4, || {
            format!("{} wakeups and {:?} of CPU while blocked", window.wakeups, window.cpu)
        })?;
    }
    Err(Failure("the client never blocked".into()))
}

/// Runs the host until all has come back. The client's threads do not end an iteration, so it is
/// looked at now and then; as long as bytes come, patience is new.
fn until_drained(stage: &Stage, client: &Client) -> Result<(), Failure> {
    let slice = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    let mut before = 0;
    loop {
        stage.run_for(slice);
        let got = client.got.load(Ordering::Acquire);
        if client.finished.load(Ordering::Acquire) {
            return Ok(());
        }
        waited = if got > before { Duration::ZERO } else { waited + slice };
        before = got;
        must(waited < stage.patience(), || format!("the flow stopped after {got} of {TOTAL}"))?;
    }
}

/// A client of two threads: one sends all it has, one reads once it is told to.
#[derive(Default)]
struct Client {
    sent: AtomicUsize,
    got: AtomicUsize,
    drain: AtomicBool,
    wrong: AtomicBool,
    finished: AtomicBool,
    gone: AtomicBool,
}

impl Client {
    fn write(&self, mut stream: TcpStream) {
        let mut at = 0;
        while at < TOTAL {
            let block: Vec<u8> = (at..TOTAL.min(at + BLOCK)).map(pattern).collect();
            match stream.write(&block) {
                Ok(n) => at += n,
                Err(_) => return,
            }
            self.sent.store(at, Ordering::Release);
        }
    }

    fn read(&self, mut stream: TcpStream) {
        while !self.drain.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        let whole = self.read_up_to(&mut stream, 0, TOTAL).is_some();
        // All has come back, so nothing is under way: the connection must still work.
        if whole && stream.write_all(&[pattern(TOTAL)]).is_ok() {
            let more = self.read_up_to(&mut stream, TOTAL, TOTAL + 1).is_some();
            self.finished.store(more, Ordering::Release);
        }
    }

    fn read_up_to(&self, stream: &mut TcpStream, from: usize, to: usize) -> Option<()> {
        let mut buf = vec![0; BLOCK];
        let mut at = from;
        while at < to && !self.gone.load(Ordering::Acquire) {
            let n = stream.read(&mut buf).ok().filter(|n| *n > 0)?;
            let as_sent = buf.iter().take(n).zip(at..).all(|(byte, i)| *byte == pattern(i));
            self.wrong.fetch_or(!as_sent, Ordering::AcqRel);
            at += n;
            self.got.store(at, Ordering::Release);
        }
        (at == to).then_some(())
    }
}

/// The byte at a place of the stream; the period fits no power of two.
fn pattern(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap_or(0)
}

/// A listener whose connections have small buffers, so that they block soon and often.
fn small_listener() -> Result<(OwnedFd, SocketAddr), Failure> {
    let fd = small_socket()?;
    bind(&fd, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(io::Error::from)?;
    listen(&fd, 8).map_err(io::Error::from)?;
    let addr = getsockname(&fd).and_then(SocketAddr::try_from).map_err(io::Error::from)?;
    Ok((fd, addr))
}

fn small_stream(addr: SocketAddr) -> Result<TcpStream, Failure> {
    let fd = small_socket()?;
    connect(&fd, &addr).map_err(io::Error::from)?;
    Ok(fd.into())
}

fn small_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    set_socket_recv_buffer_size(&fd, BLOCK)?;
    set_socket_send_buffer_size(&fd, BLOCK)?;
    Ok(fd)
}

const TOTAL: usize = 8 * 1024 * 1024;
const BLOCK: usize = 64 * 1024;
