//! The floor: the least that a server can do for `GET /plaintext` and for a WebSocket echo.
//!
//! One level-triggered epoll loop: one `recv` and one `send` for each report. No timeout, no check,
//! one answer for the one key that the loader sends; a slow reader blocks everybody. It allocates
//! for a connection, never for a message that arrives whole.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that says where it listens")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

/// The largest message, with its header, and what may arrive behind it in the same read.
const BUFFER: usize = 256 << 10;
const LISTENER: u64 = u64::MAX;
const PLAINTEXT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain; \
    charset=utf-8\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nHello, World!";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
/// The answer to the key in RFC 6455, section 1.3.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \
    Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhzhRbK+xOo=\r\n\r\n";

struct Peer {
    fd: OwnedFd,
    websocket: bool,
    /// What arrived of a message that is not whole yet.
    rest: Vec<u8>,
}

/// By the number of the descriptor.
type Peers = Vec<Option<Peer>>;
/// For input and output, lent to one connection at a time.
type Buffers = (Vec<u8>, Vec<u8>);

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}/", listener.local_addr()?);
    let queue = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&queue, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut peers = Peers::new();
    let mut buffers: Buffers = (vec![0; BUFFER], Vec::with_capacity(BUFFER));
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&queue, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            done => done?,
        };
        for event in &events {
            let at = event.data.u64();
            if at == LISTENER {
                accept(&listener, &queue, &mut peers)?;
            } else if let Some(slot) = usize::try_from(at).ok().and_then(|at| peers.get_mut(at))
                && slot.as_mut().is_some_and(|peer| serve(peer, &mut buffers).is_none())
            {
                *slot = None;
            }
        }
    }
}

/// Takes one connection.
fn accept(listener: &TcpListener, queue: &OwnedFd, peers: &mut Peers) -> io::Result<()> {
    let fd = accept_with(listener, SocketFlags::CLOEXEC)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    let at = usize::try_from(fd.as_raw_fd()).map_err(io::Error::other)?;
    epoll::add(queue, &fd, EventData::new_u64(at as u64), EventFlags::IN)?;
    let peer = Peer { fd, websocket: false, rest: Vec::new() };
    peers.resize_with(peers.len().max(at + 1), || None);
    if let Some(slot) = peers.get_mut(at) {
        *slot = Some(peer);
    }
    Ok(())
}

/// Reads once and answers everything that is whole; `None` ends the connection.
fn serve(peer: &mut Peer, (input, output): &mut Buffers) -> Option<()> {
    let kept = peer.rest.len();
    if kept > 0 {
        input.get_mut(..kept)?.copy_from_slice(&peer.rest);
        peer.rest.clear();
    }
    let (_, read) = recv(&peer.fd, input.get_mut(kept..)?, RecvFlags::DONTWAIT).ok()?;
    let mut bytes = input.get(..kept + read).filter(|_| read > 0)?;
    output.clear();
    loop {
        let websocket = &mut peer.websocket;
        let rest = if *websocket { echo(bytes, output) } else { answer(bytes, output, websocket) };
        bytes = if let Some(rest) = rest { rest } else { break };
    }
    if !bytes.is_empty() {
        peer.rest.extend_from_slice(bytes);
    }
    let sent = output.is_empty() || send(&peer.fd, output, SendFlags::NOSIGNAL).is_ok();
    sent.then_some(())
}

/// Unmasks one message and frames it as a server does (RFC 6455, section 5.2); gives what follows,
/// or `None` if it is not whole.
fn echo<'a>(bytes: &'a [u8], output: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second & 0x7f {
        126 => rest.split_first_chunk().map(|(l, rest)| (u16::from_be_bytes(*l).into(), rest))?,
        127 => rest.split_first_chunk().map(|(l, rest)| (u64::from_be_bytes(*l), rest))?,
        short => (short.into(), rest),
    };
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    output.extend_from_slice(&[first, second & 0x7f]);
    if second & 0x7f > 125 {
        output.extend_from_slice(bytes.get(2..bytes.len() - rest.len() - payload.len() - 4)?);
    }
    let from = output.len();
    output.extend_from_slice(payload);
    let (words, last) = output.get_mut(from..)?.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(*mask)).to_ne_bytes();
    }
    last.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    Some(rest)
}

/// Answers one request; gives what follows its head, or `None` if it is not whole.
fn answer<'a>(bytes: &'a [u8], output: &mut Vec<u8>, websocket: &mut bool) -> Option<&'a [u8]> {
    let rest = bytes.get(head_end(bytes)?..)?;
    let known = bytes.starts_with(b"GET /plaintext ");
    *websocket = !known && bytes.starts_with(b"GET /echo ");
    let other = if *websocket { SWITCHING } else { NOT_FOUND };
    output.extend_from_slice(if known { PLAINTEXT } else { other });
    Some(rest)
}

/// Finds the empty line: looks at every fourth byte until one may belong to it.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 3;
    loop {
        at += match *bytes.get(at)? {
            b'\n' if bytes.get(at - 3..=at)? == b"\r\n\r\n" => return Some(at + 1),
            b'\n' => 2,
            b'\r' => 1,
            _ => 4,
        };
    }
}
