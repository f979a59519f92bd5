//! A small loader: blocking sockets, all connections in flight, every answer checked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Res;

/// What one connection says, and what it must hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A WebSocket text message of 20 bytes, echoed.
    WsEcho,
    /// `GET /plaintext` with a Host field and no other.
    Plaintext,
}

/// Connections that are driven together.
pub(crate) struct Load {
    peers: Vec<TcpStream>,
    request: Vec<u8>,
    answer: Answer,
    buffer: Vec<u8>,
}

/// What an answer looks like. Its length is that of the first one.
enum Answer {
    Exactly(Vec<u8>),
    Ends(&'static [u8]),
}

const MESSAGE: &[u8; 20] = b"twenty bytes of text";
const HELLO: &[u8] = b"Hello, World!";

impl Load {
    /// Opens `peers` connections to 127.0.0.1 and learns what an answer looks like.
    pub(crate) fn open(kind: Kind, port: u16, peers: usize) -> Res<Self> {
        let request = match kind {
            Kind::WsEcho => frame(MESSAGE),
            Kind::Plaintext => b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        };
        let open = || if kind == Kind::WsEcho { websocket(port) } else { connect(port) };
        let mut peers = (0..peers).map(|_| open()).collect::<Res<Vec<_>>>()?;
        let first = peers.first_mut().ok_or("no connection")?;
        let (answer, length) = match kind {
            Kind::WsEcho => {
                let mut frame = vec![0x81, 20];
                frame.extend_from_slice(MESSAGE);
                (Answer::Exactly(frame), 22)
            }
            Kind::Plaintext => (Answer::Ends(HELLO), plaintext_length(first, &request)?),
        };
        Ok(Self { peers, request, answer, buffer: vec![0; length] })
    }

    /// Exchanges `messages` messages, one in flight on every connection, and waits for all answers.
    pub(crate) fn run(&mut self, messages: usize) -> Res {
        let flight = self.peers.len().min(messages);
        for peer in self.peers.iter_mut().take(flight) {
            peer.write_all(&self.request)?;
        }
        let mut to_send = messages - flight;
        for turn in 0..messages {
            let at = turn % self.peers.len();
            let peer = self.peers.get_mut(at).ok_or("no such connection")?;
            peer.read_exact(&mut self.buffer)?;
            check(&self.answer, &self.buffer)?;
            if to_send > 0 {
                to_send -= 1;
                peer.write_all(&self.request)?;
            }
        }
        Ok(())
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
}

fn check(answer: &Answer, got: &[u8]) -> Res {
    let good = match answer {
        Answer::Exactly(want) => got == want,
        Answer::Ends(end) => got.starts_with(b"HTTP/1.1 200 ") && got.ends_with(end),
    };
    if good { Ok(()) } else { Err(format!("a wrong answer: {:?}", crate::sh::text(got)).into()) }
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

/// Masks a text message of at most 125 bytes, as a client must (RFC 6455, section 5.3).
fn frame(text: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let length = u8::try_from(text.len()).unwrap_or(125) & 0x7f;
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend_from_slice(&MASK);
    frame.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Asks once, to learn how long an answer is: all answers to one request have the same length.
fn plaintext_length(peer: &mut TcpStream, request: &[u8]) -> Res<usize> {
    peer.write_all(request)?;
    let head = read_head(peer)?;
    let mut body = [0; HELLO.len()];
    peer.read_exact(&mut body)?;
    if body == HELLO {
        Ok(head.len() + body.len())
    } else {
        Err("the body of /plaintext is not `Hello, World!`".into())
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

    /// RFC 6455, section 5.7: the masked "Hello" has this shape.
    #[test]
    fn a_frame_is_masked() {
        let frame = frame(b"Hi");

        assert_eq!(frame, [0x81, 0x82, 0x12, 0x34, 0x56, 0x78, b'H' ^ 0x12, b'i' ^ 0x34]);
    }
}
