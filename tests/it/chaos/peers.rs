//! The scripted peers of the chaos test: what they send is known, so is what must come back.

use std::rc::Rc;

use lodger::sim::Wire;
use lodger_backend::Addr;

use super::Chaos;
use crate::kit::{self, CLOSE, PING, PONG, TEXT};

/// What a peer speaks.
enum Speaks {
    /// A raw stream: what was sent is echoed.
    Raw {
        sent: Vec<u8>,
        back: usize,
    },
    /// Requests, in order: what each is answered with.
    Http {
        asked: Vec<Vec<u8>>,
        answered: usize,
    },
    WebSocket {
        sent: usize,
        back: usize,
        open: bool,
        closed: bool,
    },
}

pub(super) struct Peer {
    number: usize,
    wire: Wire,
    input: Vec<u8>,
    speaks: Speaks,
    /// It has ended its side, or the connection.
    done: bool,
}

/// Tells whether a message is what a peer sends: a number, and then one letter again and again.
pub(super) fn is_whole(message: &[u8]) -> bool {
    let mut parts = message.splitn(3, |b| *b == b' ');
    let (_, length, body) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let length = length.and_then(|l| std::str::from_utf8(l).ok()).and_then(|l| l.parse().ok());
    length == Some(body.len()) && body.iter().all(|b| *b == b'x')
}

/// A body of a length that its number gives.
pub(super) fn long(number: usize) -> Vec<u8> {
    let n = if number.is_multiple_of(10) { 60_000 } else { number * 37 % 900 };
    (0..n).map(|i| b'0' + u8::try_from((i + number) % 10).unwrap()).collect()
}

/// Lets one peer, old or new, do something.
pub(super) fn step(chaos: &Rc<Chaos>, peers: &mut Vec<Peer>) {
    if peers.len() < 32 && chaos.below(6) == 0 {
        peers.extend(Peer::connect(chaos, peers.len()));
        return;
    }
    let n = peers.len();
    let Some(peer) = peers.get_mut(chaos.below(n)) else { return };
    match chaos.below(40) {
        0 => peer.wire.reset(),
        1 => peer.wire.close(),
        2..6 => peer.wire.set_window(chaos.below(20_000)),
        6..20 => peer.read(chaos),
        _ => peer.say(chaos),
    }
    peer.done |= peer.wire.is_reset();
}

impl Peer {
    fn connect(chaos: &Rc<Chaos>, number: usize) -> Option<Self> {
        let kind = chaos.below(3);
        let at = Addr::parse(if kind == 0 { "127.0.0.1:81" } else { "127.0.0.1:80" }).unwrap();
        let wire = chaos.world.connect(&at).ok()?;
        let speaks = match kind {
            0 => Speaks::Raw { sent: Vec::new(), back: 0 },
            1 => Speaks::Http { asked: Vec::new(), answered: 0 },
            _ => {
                wire.write(kit::ws_request(&format!("/ws/{number}"), "").as_bytes());
                Speaks::WebSocket { sent: 0, back: 0, open: false, closed: false }
            }
        };
        Some(Self { number, wire, input: Vec::new(), speaks, done: false })
    }

    fn say(&mut self, chaos: &Rc<Chaos>) {
        let n = chaos.below(6);
        match &mut self.speaks {
            Speaks::Raw { sent, .. } => {
                let from = sent.len();
                let bytes: Vec<u8> =
                    (from..from + chaos.below(9_000)).map(|i| (i % 251) as u8).collect();
                self.wire.write(&bytes);
                sent.extend(bytes);
            }
            Speaks::Http { asked, .. } => {
                for _ in 0..=chaos.below(3) {
                    let (request, answer) = request(chaos.below(5), chaos.below(100));
                    self.wire.write(&request);
                    asked.push(answer);
                }
            }
            // One of its messages in a row, so that the order is known.
            Speaks::WebSocket { closed: true, .. } => {}
            Speaks::WebSocket { sent, closed, .. } => match n {
                0 => self.wire.write(&kit::frame(PING, true, b"are you there")),
                1 if chaos.below(12) == 0 => {
                    *closed = true;
                    self.wire.write(&kit::close_frame(1000));
                }
                _ => {
                    let body = "x".repeat(chaos.below(2_000));
                    let message = format!("{sent} {} {body}", body.len()).into_bytes();
                    *sent += 1;
                    self.wire.write(&cut(chaos, &message));
                }
            },
        }
    }

    /// Reads what arrived and looks at each whole thing in it.
    pub(super) fn read(&mut self, chaos: &Rc<Chaos>) {
        if !chaos.wild.get() {
            self.wire.set_window(1 << 20);
        }
        self.input.extend(self.wire.read());
        let number = self.number;
        match &mut self.speaks {
            Speaks::Raw { sent, back } => {
                let all = sent.get(*back..*back + self.input.len());
                if all != Some(&*self.input) {
                    chaos.wrong(format!("peer {number}: the echo is broken at {back}"));
                }
                *back += self.input.len();
                self.input.clear();
            }
            Speaks::Http { asked, answered } => {
                while let Some((status, body, n)) = kit::first_response(&self.input) {
                    if status == 408 && chaos.was_suspended() {
                        // A head that was on its way when the machine slept: the connection ends.
                        self.done = true;
                        self.input.clear();
                        break;
                    }
                    let expected = asked.get(*answered);
                    // 500: a handler panicked or dropped its promise.
                    if status != 500 && (status != 200 || expected != Some(&body)) {
                        let body =
                            String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
                        chaos.wrong(format!("peer {number}: {answered}: {status} {body}"));
                    }
                    *answered += 1;
                    self.input.drain(..n);
                }
            }
            Speaks::WebSocket { back, open, .. } => {
                if !*open {
                    let Some((status, _, n)) = kit::first_response(&self.input) else { return };
                    let late = status == 408 && chaos.was_suspended();
                    if status != 101 && status != 500 && !late {
                        chaos.wrong(format!("peer {number}: {status} instead of 101"));
                    }
                    *open = status == 101;
                    self.input.drain(..n);
                }
                let (frames, n) = kit::frames(&self.input);
                self.input.drain(..n);
                for (op, _, payload) in frames {
                    match op {
                        TEXT => {
                            let sent = chaos.sent.borrow();
                            if sent.get(&number).and_then(|all| all.get(*back)) != Some(&payload) {
                                chaos.wrong(format!("peer {number}: message {back} is not it"));
                            }
                            *back += 1;
                        }
                        PING => self.wire.write(&kit::frame(PONG, true, &payload)),
                        CLOSE => {
                            self.wire.write(&kit::frame(CLOSE, true, &payload));
                            self.wire.close();
                            self.done = true;
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Where nobody ended the connection, nothing may be missing.
    pub(super) fn is_complete(&self, chaos: &Chaos) {
        if self.done || self.wire.is_reset() || self.wire.is_eof() {
            return;
        }
        let number = self.number;
        let nothing = match &self.speaks {
            Speaks::Raw { back: n, .. }
            | Speaks::Http { answered: n, .. }
            | Speaks::WebSocket { back: n, .. } => *n == 0,
        };
        if nothing && chaos.is_full() {
            return; // It still waits to be accepted.
        }
        match &self.speaks {
            Speaks::Raw { sent, back } if *back != sent.len() => {
                chaos.wrong(format!("peer {number}: {back} of {} bytes came back", sent.len()));
            }
            Speaks::Http { asked, answered } if *answered != asked.len() => {
                chaos.wrong(format!("peer {number}: {answered} of {} answered", asked.len()));
            }
            Speaks::WebSocket { sent, back, closed: false, .. } if chaos.is_open(number) => {
                let heard = chaos.heard.borrow().get(&number).copied().unwrap_or(0);
                let told = chaos.sent.borrow().get(&number).map_or(0, Vec::len);
                if (heard, *back) != (*sent, told) {
                    chaos.wrong(format!(
                        "peer {number}: {heard} of {sent} heard, {back} of {told} arrived"
                    ));
                }
            }
            _ => {}
        }
    }
}

/// A request, and what it is answered with.
fn request(kind: usize, n: usize) -> (Vec<u8>, Vec<u8>) {
    let post = |path: &str, head: &str, body: Vec<u8>| {
        let head = format!("POST /{path}/{n} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
        [head.into_bytes(), body].concat()
    };
    let body = long(n);
    let length = format!("Content-Length: {}", body.len());
    match kind {
        0 => (kit::get(&format!("/text/{n}")).into(), format!("text {n}").into()),
        1 => (kit::get(&format!("/later/{n}")).into(), format!("later {n}").into()),
        2 => (kit::get(&format!("/stream/{n}")).into(), body),
        3 => (post("read", &length, body.clone()), body),
        _ => {
            let mut chunks = Vec::new();
            for chunk in body.chunks(7_000) {
                chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                chunks.extend(chunk);
                chunks.extend(b"\r\n");
            }
            chunks.extend(b"0\r\n\r\n");
            (post("echo", "Transfer-Encoding: chunked", chunks), body)
        }
    }
}

/// A message, whole or in fragments with a ping between them.
fn cut(chaos: &Chaos, message: &[u8]) -> Vec<u8> {
    if chaos.below(3) > 0 {
        return kit::frame(TEXT, true, message);
    }
    let at = chaos.below(message.len());
    let mut out = kit::frame(TEXT, false, &message[..at]);
    out.extend(kit::frame(PING, true, b"between"));
    out.extend(kit::frame(0, true, &message[at..]));
    out
}
