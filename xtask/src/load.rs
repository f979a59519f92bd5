//! A small loader: blocking sockets, all connections in flight, every answer checked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Res;

/// What one connection says, and what it must hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A WebSocket text message of 20 bytes, echoed.
    WsEcho,
    /// `GET /plaintext` with a Host field and no other.
    Plaintext,
}

impl Kind {
    /// What one connection says and hears.
    pub(crate) fn exchange(self) -> Exchange {
        match self {
            Self::WsEcho => Exchange::echo(TEXT, MESSAGE),
            Self::Plaintext => Exchange::plaintext("Host: localhost\r\n"),
        }
    }
}

/// What a connection says over and over, and what it must hear.
#[derive(Clone)]
pub(crate) struct Exchange {
    request: Vec<u8>,
    expected: Expected,
    /// How many are sent at once.
    depth: usize,
}

/// What must come back.
#[derive(Clone)]
enum Expected {
    /// This frame.
    Frame(Vec<u8>),
    /// A response with this body; how long its head is, is learned.
    Body(Vec<u8>),
}

impl Exchange {
    /// A WebSocket message of at most 65,535 bytes, echoed. `opcode`: [`TEXT`] or [`BINARY`].
    pub(crate) fn echo(opcode: u8, payload: &[u8]) -> Self {
        let request = frame(opcode, payload, Some([0x12, 0x34, 0x56, 0x78]));
        Self { request, expected: Expected::Frame(frame(opcode, payload, None)), depth: 1 }
    }

    /// `GET /plaintext` with these fields, each with its line end.
    pub(crate) fn plaintext(fields: &str) -> Self {
        Self::get("/plaintext", fields, HELLO.to_vec())
    }

    /// `GET` of `path` with these fields, each with its line end, which is answered with `body`.
    pub(crate) fn get(path: &str, fields: &str, body: Vec<u8>) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes();
        Self { request, expected: Expected::Body(body), depth: 1 }
    }

    /// Tells whether it goes over a WebSocket.
    pub(crate) fn is_echo(&self) -> bool {
        matches!(self.expected, Expected::Frame(_))
    }

    /// Sends so many at once, and waits for the answers to all of them.
    pub(crate) fn deep(self, depth: usize) -> Self {
        Self { depth, ..self }
    }
}

/// Connections that are driven together.
pub(crate) struct Load {
    peers: Vec<TcpStream>,
    /// `depth` requests, one behind the other.
    request: Vec<u8>,
    answer: Answer,
    /// Room for `depth` answers.
    buffer: Vec<u8>,
    depth: usize,
}

/// What an answer looks like. Its length is that of the first one.
enum Answer {
    Exactly(Vec<u8>),
    Ends(Vec<u8>),
}

/// Opcodes of RFC 6455, section 5.2.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;

const MESSAGE: &[u8; 20] = b"twenty bytes of text";
const HELLO: &[u8] = b"Hello, World!";

impl Load {
    /// Opens `peers` connections to 127.0.0.1 and learns what an answer looks like.
    pub(crate) fn open(kind: Kind, port: u16, peers: usize) -> Res<Self> {
        Self::with(kind.exchange(), port, peers)
    }

    /// As [`open`](Self::open), for any exchange.
    pub(crate) fn with(exchange: Exchange, port: u16, peers: usize) -> Res<Self> {
        let open = || if exchange.is_echo() { websocket(port) } else { connect(port) };
        let mut peers = (0..peers).map(|_| open()).collect::<Res<Vec<_>>>()?;
        let first = peers.first_mut().ok_or("no connection")?;
        let Exchange { request, expected, depth } = exchange;
        let (length, answer) = match expected {
            Expected::Frame(frame) => (frame.len(), Answer::Exactly(frame)),
            Expected::Body(body) => (learn(first, &request, &body)?, Answer::Ends(body)),
        };
        let (request, buffer) = (request.repeat(depth), vec![0; length * depth]);
        Ok(Self { peers, request, answer, buffer, depth })
    }

    /// Exchanges `messages` messages, one in flight on every connection, and waits for all answers.
    pub(crate) fn run(&mut self, messages: usize) -> Res {
        let flight = self.peers.len().min(messages);
        self.write(flight)?;
        let mut to_send = messages - flight;
        for turn in 0..messages {
            self.read(turn % self.peers.len(), to_send > 0)?;
            to_send = to_send.saturating_sub(1);
        }
        Ok(())
    }

    /// Keeps every connection busy for so long, waits for all answers, and gives how many came.
    pub(crate) fn run_for(&mut self, time: Duration) -> Res<u64> {
        let began = Instant::now();
        self.write(self.peers.len())?;
        let (mut answers, mut more) = (0, true);
        while more {
            more = began.elapsed() < time;
            for at in 0..self.peers.len() {
                self.read(at, more)?;
            }
            answers += self.peers.len() * self.depth;
        }
        Ok(answers as u64)
    }

    /// Writes `depth` requests at once on the first connection and reads their answers.
    pub(crate) fn pipeline(&mut self, depth: usize) -> Res {
        let peer = self.peers.first_mut().ok_or("no connection")?;
        peer.write_all(&self.request.repeat(depth))?;
        for _ in 0..depth {
            peer.read_exact(&mut self.buffer)?;
            check(&self.answer, &self.buffer)?;
        }
        Ok(())
    }

    fn write(&mut self, peers: usize) -> Res {
        for peer in self.peers.iter_mut().take(peers) {
            peer.write_all(&self.request)?;
        }
        Ok(())
    }

    /// Reads what one connection was answered, and asks it again if there is `more`.
    fn read(&mut self, at: usize, more: bool) -> Res {
        let peer = self.peers.get_mut(at).ok_or("no such connection")?;
        peer.read_exact(&mut self.buffer)?;
        for answer in self.buffer.chunks_exact(self.buffer.len() / self.depth) {
            check(&self.answer, answer)?;
        }
        if more {
            peer.write_all(&self.request)?;
        }
        Ok(())
    }
}

fn check(answer: &Answer, got: &[u8]) -> Res {
    let good = match answer {
        Answer::Exactly(want) => got == want,
        Answer::Ends(body) => got.starts_with(b"HTTP/1.1 200 ") && got.ends_with(body),
    };
    if good {
        Ok(())
    } else {
        Err(format!("a wrong answer: {:?}", crate::sh::text(got.get(..400).unwrap_or(got))).into())
    }
}

/// Opens a WebSocket connection to `/echo` and reads the handshake's answer to its end.
pub(crate) fn websocket(port: u16) -> Res<TcpStream> {
    let mut peer = connect(port)?;
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    peer.write_all(request.as_bytes())?;
    let head = read_head(&mut peer)?;
    if head.starts_with("HTTP/1.1 101 ") {
        Ok(peer)
    } else {
        Err(format!("the upgrade was refused: {}", head.lines().next().unwrap_or_default()).into())
    }
}

/// Answers a server's Close, whose frame had this length byte, and waits until the server ends
/// the connection (RFC 6455, section 7.1.1).
pub(crate) fn close(mut peer: TcpStream, length: u8) -> Res {
    let mut reason = vec![0; usize::from(length).saturating_sub(2)];
    peer.read_exact(&mut reason)?;
    peer.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9])?;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest)?;
    if rest.is_empty() { Ok(()) } else { Err(format!("after the Close: {rest:?}").into()) }
}

/// Opens a connection that gives up after 20 s without an answer.
pub(crate) fn connect(port: u16) -> Res<TcpStream> {
    let peer = TcpStream::connect(("127.0.0.1", port))?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(peer)
}

/// Frames a message of at most 65,535 bytes; a client must mask it (RFC 6455, section 5.3).
fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(short @ ..126) => frame.push(masked | short),
        _ => {
            frame.push(masked | 126);
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Asks once, to learn how long an answer is: all answers to one request have the same length.
fn learn(peer: &mut TcpStream, request: &[u8], body: &[u8]) -> Res<usize> {
    peer.write_all(request)?;
    let head = read_head(peer)?;
    let mut got = vec![0; body.len()];
    peer.read_exact(&mut got)?;
    if got == body {
        Ok(head.len() + body.len())
    } else {
        Err("a body is not what was asked for".into())
    }
}

/// Reads to the empty line that ends a head, and no byte more.
fn read_head(peer: &mut TcpStream) -> Res<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 << 10 {
            return Err("a head without an end".into());
        }
        peer.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    Ok(crate::sh::text(&head))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: Option<[u8; 4]> = Some([0x12, 0x34, 0x56, 0x78]);

    /// RFC 6455, section 5.7: the masked "Hello" has this shape.
    #[test]
    fn a_frame_is_masked() {
        let frame = frame(TEXT, b"Hi", MASK);

        assert_eq!(frame, [0x81, 0x82, 0x12, 0x34, 0x56, 0x78, b'H' ^ 0x12, b'i' ^ 0x34]);
    }

    /// RFC 6455, section 5.2: from 126 bytes on the length takes two more.
    #[test]
    fn a_longer_frame_has_a_longer_length() {
        let (short, long) = (frame(BINARY, &[7; 125], None), frame(BINARY, &[7; 126], MASK));

        assert_eq!(short[..3], [0x82, 125, 7]);
        assert_eq!(long[..4], [0x82, 0x80 | 126, 0, 126]);
        assert_eq!((short.len(), long.len()), (127, 134));
    }
}
