//! Reading what is neither data nor a head: RFC 9113, sections 6.3 to 6.9; RFC 9218, section 7.1.

use alloc::vec::Vec;

use lodger_backend::Micros;

use super::connection::{Connection, LEFT, Role, SETTLED, Step};
use super::frame::{self, Head, WINDOW_MAX};
use super::guard::What;
use super::priority::Priority;
use super::receive::{IDLE_WORK, ITSELF, protocol, size};
use super::streams::{self, Found};
use super::{Code, Fault};
use crate::io::Tx;
use crate::proto::Cx;

/// A window opened by less than this costs.
const DRIP: u32 = 256;

impl Connection {
    /// Priorities of the old kind mean nothing.
    pub(super) fn priority<'a>(
        &mut self,
        now: Micros,
        head: Head,
        payload: &[u8],
    ) -> Result<Step<'a>, Fault> {
        if head.stream == 0 {
            return Err(protocol("RFC 9113, 6.3: PRIORITY is of a stream"));
        }
        self.guard.count(now, What::Glitch(1))?;
        let known =
            matches!(self.streams.find(head.stream, self.is_own(head.stream)), Found::At(_));
        let stream = if known { head.stream } else { 0 };
        if payload.len() != 5 {
            return Err(Fault::one(stream, Code::FrameSize, "RFC 9113, 6.3: PRIORITY is 5 bytes"));
        }
        if frame::word(payload) & 0x7FFF_FFFF == head.stream {
            return Err(Fault::one(stream, Code::Protocol, ITSELF));
        }
        Ok(Step::Again)
    }

    pub(super) fn priority_update<'a>(
        &mut self,
        now: Micros,
        head: Head,
        payload: &[u8],
    ) -> Result<Step<'a>, Fault> {
        let Some((id, value)) = payload.split_first_chunk() else {
            return Err(size("RFC 9218, 7.1: PRIORITY_UPDATE names a stream"));
        };
        let id = frame::id(*id);
        if head.stream != 0 || id == 0 || self.role == Role::Client {
            return Err(protocol(
                "RFC 9218, 7.1: PRIORITY_UPDATE is a client's, of the connection",
            ));
        }
        self.guard.count(now, What::Glitch(1))?;
        if let Some(stream) = self.streams.by_id(id) {
            stream.priority = Priority::read(value);
        }
        Ok(Step::Again)
    }

    pub(super) fn reset_by_peer<'a>(
        &mut self,
        now: Micros,
        head: Head,
        payload: &[u8],
    ) -> Result<Step<'a>, Fault> {
        if payload.len() != 4 {
            return Err(size("RFC 9113, 6.4: RST_STREAM is 4 bytes"));
        }
        let id = head.stream;
        let found = self.streams.find(id, self.is_own(id));
        if id == 0 || found == Found::Idle {
            return Err(protocol("RFC 9113, 6.4: RST_STREAM is of a stream that is not idle"));
        }
        // One that was answered in the same turn, and so has ended, has cost as much.
        let what = if self.role == Role::Server { What::Reset } else { What::Glitch(1) };
        self.guard.count(now, what)?;
        let Some(stream) = self.streams.by_id(id).filter(|stream| !stream.has(streams::RESET))
        else {
            return Ok(Step::Again);
        };
        let (tag, held) = (stream.tag, stream.has(streams::HELD));
        self.end_stream(now, id, streams::RESET);
        let code = frame::word(payload);
        Ok(if held { Step::Reset(id, tag, code) } else { Step::Again })
    }

    pub(super) fn settings<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: Head,
        payload: &[u8],
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        if head.stream != 0 {
            return Err(protocol("RFC 9113, 6.5: SETTINGS are of the connection"));
        }
        let ack = head.has(frame::ACK);
        if ack && !payload.is_empty() || !payload.len().is_multiple_of(6) {
            return Err(size("RFC 9113, 6.5: SETTINGS are entries of 6 bytes, or acknowledge"));
        }
        if ack {
            if self.settings_at.take().is_none() {
                self.guard.count(cx.now, What::Settings)?;
            }
            return Ok(Step::Again);
        }
        self.guard.count(cx.now, What::Settings)?;
        let settles = !self.has(SETTLED);
        self.flags |= SETTLED;
        let before = self.peers;
        if settles {
            self.peers.settle();
        }
        self.peers.apply(payload, self.role)?;
        self.encoder.set_max(self.peers.table);
        self.move_windows(self.peers.window - before.window)?;
        self.control += 1;
        frame::put(tx.buf(32), frame::SETTINGS, frame::ACK, 0, &[]);
        let told = settles && self.role == Role::Client;
        Ok(if told { Step::Settled } else { Step::Again })
    }

    /// RFC 9113, section 6.9.2.
    fn move_windows(&mut self, by: i64) -> Result<(), Fault> {
        if by == 0 {
            return Ok(());
        }
        let mut open = Vec::new();
        for stream in self.streams.iter_mut() {
            stream.sends += by;
            if stream.sends > WINDOW_MAX {
                let rule = "RFC 9113, 6.9.2: no window above 2^31 - 1";
                return Err(Fault::all(Code::FlowControl, rule));
            }
            if by > 0 && stream.has(streams::WANTS) {
                open.push(stream.id);
            }
        }
        for id in open {
            self.enqueue(id);
        }
        Ok(())
    }

    pub(super) fn ping<'a>(
        &mut self,
        now: Micros,
        head: Head,
        payload: &[u8],
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        if head.stream != 0 {
            return Err(protocol("RFC 9113, 6.7: PING is of the connection"));
        }
        if payload.len() != 8 {
            return Err(size("RFC 9113, 6.7: PING is 8 bytes"));
        }
        self.guard.count(now, What::Ping)?;
        if !head.has(frame::ACK) {
            self.control += 1;
            frame::put(tx.buf(32), frame::PING, frame::ACK, 0, payload);
        }
        Ok(Step::Again)
    }

    pub(super) fn goaway<'a>(
        &mut self,
        now: Micros,
        head: Head,
        payload: &[u8],
    ) -> Result<Step<'a>, Fault> {
        if head.stream != 0 {
            return Err(protocol("RFC 9113, 6.8: GOAWAY is of the connection"));
        }
        let (Some((last, rest)), true) = (payload.split_first_chunk(), payload.len() >= 8) else {
            return Err(size("RFC 9113, 6.8: GOAWAY is 8 bytes and more"));
        };
        self.guard.count(now, What::Glitch(IDLE_WORK))?;
        self.flags |= LEFT;
        Ok(Step::GoAway(frame::id(*last), frame::word(rest)))
    }

    pub(super) fn window_update<'a>(
        &mut self,
        now: Micros,
        head: Head,
        payload: &[u8],
    ) -> Result<Step<'a>, Fault> {
        if payload.len() != 4 {
            return Err(size("RFC 9113, 6.9: WINDOW_UPDATE is 4 bytes"));
        }
        let (id, by) = (head.stream, frame::word(payload) & 0x7FFF_FFFF);
        if id != 0 && self.streams.find(id, self.is_own(id)) == Found::Idle {
            return Err(protocol("RFC 9113, 5.1: WINDOW_UPDATE on an idle stream"));
        }
        if by < DRIP {
            self.guard.count(now, What::Glitch(1))?;
        }
        if by == 0 {
            let open = self.streams.by_id(id).is_some_and(|stream| !stream.has(streams::RESET));
            let stream = if open { id } else { 0 };
            return Err(Fault::one(
                stream,
                Code::Protocol,
                "RFC 9113, 6.9: a window opens by more than 0",
            ));
        }
        if id == 0 {
            self.sends += i64::from(by);
            if self.sends > WINDOW_MAX {
                return Err(Fault::all(Code::FlowControl, WINDOW));
            }
            return Ok(Step::Again);
        }
        let Some(stream) = self.streams.by_id(id).filter(|stream| !stream.has(streams::RESET))
        else {
            return Ok(Step::Again);
        };
        stream.sends += i64::from(by);
        if stream.sends > WINDOW_MAX {
            return Err(Fault::one(id, Code::FlowControl, WINDOW));
        }
        if stream.has(streams::WANTS) {
            self.enqueue(id);
        }
        Ok(Step::Again)
    }
}

const WINDOW: &str = "RFC 9113, 6.9.1: no window above 2^31 - 1";
