//! The feed that the program's client connects to: a price now and then, as text.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::program::PATIENCE;
use crate::ws::{TEXT, frame, welcome};
use crate::{Res, web};

/// A WebSocket server on a thread of its own. Dropping it breaks off all connections, and its port
/// refuses new ones.
pub(crate) struct Feed {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Listens on `port`; 0 is any.
    pub(crate) fn start(port: u16) -> Res<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || serve(&listener, &stopped));
        Ok(Self { port, stop, thread: Some(thread) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        drop(ended);
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool) {
    let mut peers: Vec<TcpStream> = Vec::new();
    let mut sent = 0;
    while !stop.load(Ordering::Acquire) {
        while let Some(peer) = accept(listener) {
            peers.push(peer);
        }
        let message = frame(TEXT, price(sent).as_bytes(), None);
        peers.retain_mut(|peer| peer.write_all(&message).is_ok());
        sent += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Takes a waiting connection, and its handshake.
fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let mut peer = match listener.accept() {
        Ok((peer, _)) => peer,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
        Err(error) => {
            eprintln!("hostcheck: the feed cannot accept: {error}");
            return None;
        }
    };
    let ready = |peer: &mut TcpStream| -> Res {
        peer.set_nonblocking(false)?;
        peer.set_read_timeout(Some(PATIENCE))?;
        peer.set_write_timeout(Some(PATIENCE))?;
        welcome(peer)
    };
    ready(&mut peer).ok().map(|()| peer)
}

/// A price that goes up and down, as a chart likes it.
fn price(step: u32) -> String {
    format!("{:.2}", 100.0 + 10.0 * (f64::from(step) / 25.0).sin())
}

/// The state of the program's client: messages so far, and whether it is connected.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) messages: u64,
    pub(crate) connected: bool,
}

/// Asks the program for the state of its client: `N connected` or `N waiting`.
pub(crate) fn state(port: u16) -> Res<State> {
    let text = web::get(port, "/feed")?;
    read(&text).ok_or_else(|| format!("/feed says {text:?}").into())
}

fn read(text: &str) -> Option<State> {
    let (messages, word) = text.trim().split_once(' ')?;
    let connected = match word {
        "connected" => true,
        "waiting" => false,
        _ => return None,
    };
    Some(State { messages: messages.parse().ok()?, connected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_number_and_a_word() {
        assert_eq!(read("12 connected\n"), Some(State { messages: 12, connected: true }));
        assert_eq!(read("0 waiting"), Some(State { messages: 0, connected: false }));
        assert_eq!(read("none connected"), None);
        assert_eq!(read("1 lost"), None);
    }
}
