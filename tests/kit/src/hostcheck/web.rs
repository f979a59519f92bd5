//! A GET over a connection of its own.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Res;
use crate::program::PATIENCE;

/// What bytes go through: a socket, or TLS over one.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// How a server is reached.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Opens a connection that gives up when nothing comes for long.
pub(crate) fn connect(port: u16) -> Res<TcpStream> {
    let peer = TcpStream::connect(("127.0.0.1", port))?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(PATIENCE))?;
    peer.set_write_timeout(Some(PATIENCE))?;
    Ok(peer)
}

/// Asks for `path` and gives the body of the answer, which must be a 200.
pub(crate) fn get(port: u16, path: &str) -> Res<String> {
    get_over(Box::new(connect(port)?), port, path)
}

/// As [`get`], over a connection to `port` that was opened for it.
pub(crate) fn get_over(mut peer: Box<dyn Stream>, port: u16, path: &str) -> Res<String> {
    let ask = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    peer.write_all(ask.as_bytes())?;
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
    let status = head.lines().next().unwrap_or_default();
    if status.starts_with("HTTP/1.1 200") {
        Ok(body.to_owned())
    } else {
        Err(format!("GET {path}: {status}").into())
    }
}

/// Reads to the empty line that ends a head, and no byte more.
pub(crate) fn read_head(peer: &mut dyn Stream) -> Res<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 << 10 {
            return Err("a head without an end".into());
        }
        peer.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Gives the value of a field; names are compared without case.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
