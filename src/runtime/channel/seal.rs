//! The way out: what is queued is sealed when it is sent.

use std::io;

use lodger_backend::{Micros, Net, Ready};

use super::outer::seal_around;
use super::{Channel, Stage};
use crate::Limits;
use crate::io::{Pool, Tx};
use crate::runtime::id::Reason;
use crate::runtime::slot::{Flags, Slot, State};

/// Plaintext that is sealed at once, in bytes: three records, whose buffer the pool keeps.
const WINDOW: usize = 48 << 10;
/// Windows that one connection may send before others have their turn.
const WINDOWS: usize = 8;

impl Slot {
    /// As [`flush`](Self::flush), through the channel.
    pub(in crate::runtime) fn flush_channel(
        &mut self,
        net: &dyn Net,
        pool: &mut Pool,
        now: Micros,
        limits: &Limits,
    ) -> u64 {
        let queued = self.out.len();
        let mut sent = 0;
        for _ in 0..WINDOWS {
            self.seal_window(net, pool);
            let n = self.send_sealed(net, pool);
            sent += n;
            if n == 0 || self.flags.has(Flags(Flags::SEALED.0 | Flags::FAILED.0)) {
                break;
            }
        }
        self.after_send(queued, limits);
        if self.flags.has(Flags::FILE) {
            self.file_progress(sent, now);
        } else if !self.has_output() {
            self.since = Micros::ZERO;
        } else if sent > 0 || self.since == Micros::ZERO {
            self.since = now;
        }
        sent
    }

    /// Seals a window of what is to be sent, unless the last one still waits; and our goodbye
    /// behind the last of all.
    fn seal_window(&mut self, net: &dyn Net, pool: &mut Pool) {
        let waits = Flags(Flags::SEALED.0 | Flags::SHAKING.0 | Flags::CONNECTING.0);
        if self.flags.has(waits) {
            return;
        }
        if self.out.is_empty() && self.flags.has(Flags::FILE) && self.ready.is_write() {
            self.refill(net, pool);
        }
        let says = self.state == State::Closing && !self.flags.has(Flags::FILE);
        let Self { out, extra, .. } = self;
        let Some(channel) = extra.as_mut().and_then(|e| e.channel.as_mut()) else { return };
        let Channel { stage: Stage::Open(engine), outer, sealed, said_bye, .. } = &mut **channel
        else {
            return;
        };
        let window = out.bytes().get(..WINDOW).unwrap_or(out.bytes());
        let mut done = Ok(());
        if !window.is_empty() && self.ready.is_write() {
            let tx = &mut Tx::new(sealed, pool);
            done = seal_around(outer.as_mut(), tx, |tx| engine.seal(window, tx));
            let size = window.len();
            out.advance(size, pool);
        }
        if says && out.is_empty() && !*said_bye {
            *said_bye = true;
            // It fails where nothing can be said any more.
            let tx = &mut Tx::new(sealed, pool);
            let _ = seal_around(outer.as_mut(), tx, |tx| engine.close(tx));
            if let Some(outer) = outer {
                let _ = outer.close(tx);
            }
        }
        if !sealed.is_empty() {
            self.flags.set(Flags::SEALED);
        }
        if let Err(e) = done {
            self.why = Reason::Peer(e);
            self.flags.set(Flags::FAILED);
        }
    }

    fn send_sealed(&mut self, net: &dyn Net, pool: &mut Pool) -> u64 {
        let ready = self.ready.is_write() && !self.flags.has(Flags::CONNECTING);
        let channel = self.extra.as_mut().and_then(|extra| extra.channel.as_mut());
        let (Some(sock), Some(channel)) = (self.sock, channel) else { return 0 };
        if !ready || !self.flags.has(Flags::SEALED) {
            return 0;
        }
        let sealed = &mut channel.sealed;
        let queued = sealed.len();
        match net.send(sock, &[io::IoSlice::new(sealed.bytes())]) {
            Ok(n) => {
                sealed.advance(n, pool);
                if n < queued {
                    self.ready = self.ready & !Ready::WRITE;
                } else {
                    self.flags.clear(Flags::SEALED);
                }
                self.sent += n as u64;
                n as u64
            }
            Err(e) => {
                match e.kind() {
                    io::ErrorKind::WouldBlock => self.ready = self.ready & !Ready::WRITE,
                    // Tried again by whoever finds it writable.
                    io::ErrorKind::Interrupted => {}
                    kind => self.fail(kind),
                }
                0
            }
        }
    }
}
