//! WebSocket (RFC 6455) over blocking sockets, both roles: as much as the check needs.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::sha1::{base64, sha1};
use crate::web::{Scheme, Stream};
use crate::{Res, web};

/// Opcodes of RFC 6455, section 5.2.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;

/// A client's end.
pub(crate) struct Client(Box<dyn Stream>);

impl Client {
    /// Opens one as a page of the same server would, and checks the answer (section 4.1).
    pub(crate) fn open(port: u16, path: &str) -> Res<Self> {
        Self::open_over(Box::new(web::connect(port)?), (Scheme::Http, port), path)
    }

    /// As [`open`](Self::open), over a connection to `port` that was opened for it.
    pub(crate) fn open_over(
        mut peer: Box<dyn Stream>,
        (scheme, port): (Scheme, u16),
        path: &str,
    ) -> Res<Self> {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let (scheme, host) = (scheme.name(), format!("127.0.0.1:{port}"));
        let ask = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {scheme}://{host}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        peer.write_all(ask.as_bytes())?;
        let head = web::read_head(&mut peer)?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(format!("{path}: {}", head.lines().next().unwrap_or_default()).into());
        }
        if web::field(&head, "Sec-WebSocket-Accept") != Some(&accept(KEY)) {
            return Err(format!("{path}: the handshake proves nothing").into());
        }
        Ok(Self(peer))
    }

    /// Sends a whole message, masked as a client must (section 5.3).
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> Res {
        Ok(self.0.write_all(&frame(opcode, payload, Some([0x12, 0x34, 0x56, 0x78])))?)
    }

    /// Reads the next frame, which must be a whole message and unmasked.
    pub(crate) fn receive(&mut self) -> Res<(u8, Vec<u8>)> {
        let [first, second] = self.bytes()?;
        let length = match second {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short @ ..126 => short.into(),
            _ => return Err("a server must not mask".into()),
        };
        if first & 0xf0 != 0x80 || length > 1 << 20 {
            return Err(format!("an unexpected frame: {first:#x}, {length} bytes").into());
        }
        let mut payload = vec![0; usize::try_from(length)?];
        self.0.read_exact(&mut payload)?;
        Ok((first & 0xf, payload))
    }

    fn bytes<const N: usize>(&mut self) -> Res<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Takes a client's handshake and answers it (section 4.2.2).
pub(crate) fn welcome(peer: &mut TcpStream) -> Res {
    let head = web::read_head(peer)?;
    let key = web::field(&head, "Sec-WebSocket-Key").ok_or("a handshake without a key")?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    );
    Ok(peer.write_all(answer.as_bytes())?)
}

/// Frames a message; a server does not mask.
pub(crate) fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => frame.push(masked | short),
        (_, Ok(middle)) => {
            frame.push(masked | 126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What proves that a server has read the key.
fn accept(key: &str) -> String {
    base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, section 1.3.
    #[test]
    fn the_handshake_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// RFC 6455, sections 5.2 and 5.7.
    #[test]
    fn lengths_have_three_forms() {
        let lengths = [125, 126, 65_536].map(|n| frame(BINARY, &vec![7; n], None)[1]);

        assert_eq!(lengths, [125, 126, 127]);
        assert_eq!(frame(TEXT, b"Hello", None), [0x81, 5, b'H', b'e', b'l', b'l', b'o']);
        assert_eq!(frame(TEXT, b"H", Some([1, 2, 3, 4])), [0x81, 0x81, 1, 2, 3, 4, b'H' ^ 1]);
    }
}
