//! What is open, for people to read.

use std::string::{String, ToString};
use std::vec::Vec;

use core::time::Duration;

use super::channel::Channel;
use super::slot::{Flags, Slot, State};
use super::{ConnId, Handle, TimerId};

/// One connection as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its name.
    pub id: ConnId,
    /// What it speaks: `http/1.1`, `http/2`, `websocket`, `raw`. A stream of HTTP/2 is listed by
    /// itself, with the peer and the TLS of the connection that carries it.
    pub protocol: &'static str,
    /// What its TLS handshake agreed on: `TLSv1.3 TLS13_AES_256_GCM_SHA384 alpn http/1.1`;
    /// `handshake` while it goes on, empty over a plain connection.
    pub tls: String,
    /// The pattern of its route; empty where there is none.
    pub path: String,
    /// The peer's address; empty where it has none.
    pub peer: String,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes waiting to be sent.
    pub queued: usize,
    /// How long it has been open.
    pub age: Duration,
    /// `open` or `closing`.
    pub state: &'static str,
}

/// One of the user's timers as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimerInfo {
    /// Its name.
    pub id: TimerId,
    /// `once`, `every`, `connection` (it is told to the handler of one), or `running` for one that
    /// repeats and whose closure is on the stack.
    pub kind: &'static str,
    /// How long it is until it fires; 0 for one that is late or running.
    pub due_in: Duration,
    /// Of `every`: the time from one call to the next.
    pub period: Option<Duration>,
}

fn shown_tls(carrier: Option<&Slot>) -> String {
    let channel = carrier.and_then(Slot::channel);
    channel.map_or_else(String::new, |channel| match channel.session() {
        Some(session) => session.summary(),
        None => "handshake".to_string(),
    })
}

impl Handle {
    /// Lists up to `most` of the user's timers, oldest place first. The deadlines that connections
    /// have by themselves are not among them.
    pub fn timers(&self, most: usize) -> Vec<TimerInfo> {
        let mut core = self.core();
        let now = self.time(&mut core);
        (0..core.timers.end())
            .filter_map(|index| {
                let (handle, kind, period) = core.timers.get(index)?.shown()?;
                let due_in = core.sched.due(handle).map_or(Duration::ZERO, |at| at - now);
                Some(TimerInfo { id: TimerId(handle), kind, due_in, period })
            })
            .take(most)
            .collect()
    }

    /// Lists up to `most` connections, oldest place first. Costs a system call each, for the
    /// peer's address.
    pub fn connections(&self, most: usize) -> Vec<ConnInfo> {
        let mut core = self.core();
        let now = self.time(&mut core);
        (0..core.slots.end())
            .filter_map(|index| {
                let slot = core.slots.get(index)?;
                let shown = !matches!(slot.state, State::Free | State::Dead)
                    && !slot.flags.has(Flags::NO_PEER);
                let carrier = core.carrier(index);
                shown.then(|| ConnInfo {
                    id: ConnId { index, generation: slot.generation },
                    protocol: slot.stack.name(),
                    tls: shown_tls(carrier),
                    path: slot.label.as_deref().unwrap_or_default().to_string(),
                    peer: carrier
                        .and_then(|slot| slot.sock)
                        .and_then(|sock| self.0.net.peer_addr(sock).ok())
                        .map(|addr| addr.to_string())
                        .unwrap_or_default(),
                    received: slot.received,
                    sent: slot.sent,
                    queued: slot.out.len() + slot.channel().map_or(0, Channel::queued),
                    age: now - slot.opened,
                    state: if slot.state == State::Open { "open" } else { "closing" },
                })
            })
            .take(most)
            .collect()
    }

    /// Gives the name of the loop it lives in.
    pub fn host_name(&self) -> String {
        self.core().host.clone()
    }
}
