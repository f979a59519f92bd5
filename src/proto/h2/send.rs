//! What is sent: heads, data within the windows, credit, resets. RFC 9113, sections 5.2, 6 and 8.

use alloc::vec::Vec;

use lodger_backend::Micros;

use super::connection::{Connection, InData, LEAVING, LEFT, Reading, Role};
use super::frame::{self, Head};
use super::priority::Priority;
use super::streams::{self, UNDECLARED};
use super::{Code, head};
use crate::error::Error;
use crate::io::Tx;
use crate::proto::h1::{Length, RequestHead, is_method, target_run};

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever answers")]
pub struct Answer<'a> {
    /// The status: 100, 102 to 999.
    pub status: u16,
    /// Field lines in the wire form of HTTP/1, made by [`put_field`](crate::proto::h1::put_field).
    pub fields: &'a [u8],
    /// The value of Content-Length, if it is known.
    pub length: Option<u64>,
    /// The value of Date.
    pub date: Option<&'a [u8; 29]>,
    /// Nothing follows.
    pub ends: bool,
}

/// What a request is, beside its head.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever asks")]
pub struct Ask<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// With method CONNECT: the protocol that the stream is to carry (RFC 8441).
    pub protocol: Option<&'a str>,
    /// No body follows.
    pub ends: bool,
}

impl Connection {
    /// Puts the head of an answer. One below 200 is followed by another. Does nothing where the
    /// stream is not open for it: it was reset, or has its head.
    pub fn answer(&mut self, now: Micros, stream: u32, answer: &Answer<'_>, tx: &mut Tx<'_>) {
        let Some(at) = self.streams.by_id(stream) else { return };
        if at.flags & (streams::RESET | streams::LOCAL_ENDED | streams::HEADED) != 0 {
            return;
        }
        if answer.status >= 200 {
            at.flags |= streams::HEADED;
        }
        let out = tx.buf(64 + answer.fields.len());
        let start = self.begin_block(out);
        self.encoder.status(out, answer.status);
        self.put_lines(answer.fields, out);
        if let Some(date) = answer.date {
            self.encoder.field(out, b"date", date);
        }
        if let Some(length) = answer.length {
            self.put_length(length, out);
        }
        self.end_block(stream, start, answer.ends, out);
        if answer.ends {
            self.end_stream(now, stream, streams::LOCAL_ENDED);
        }
    }

    /// Puts the trailers that end an answer (RFC 9113, section 8.1): field lines in the wire form
    /// of HTTP/1, made by [`put_trailer`](crate::proto::h1::put_trailer). Does nothing where the
    /// stream is not open for them: it was reset, has ended, or has no head.
    pub fn trailers(&mut self, now: Micros, stream: u32, fields: &[u8], tx: &mut Tx<'_>) {
        let Some(at) = self.streams.by_id(stream) else { return };
        let over = streams::RESET | streams::LOCAL_ENDED;
        if at.flags & over != 0 || !at.has(streams::HEADED) {
            return;
        }
        let out = tx.buf(32 + fields.len());
        let start = self.begin_block(out);
        self.put_lines(fields, out);
        self.end_block(stream, start, true, out);
        self.end_stream(now, stream, streams::LOCAL_ENDED);
    }

    /// Puts an answer that is a status alone.
    pub(super) fn put_status(&mut self, stream: u32, status: u16, tx: &mut Tx<'_>) {
        let out = tx.buf(32);
        let start = self.begin_block(out);
        self.encoder.status(out, status);
        self.end_block(stream, start, true, out);
    }

    /// Puts a request, and gives its stream.
    ///
    /// # Errors
    ///
    /// `Caller`, and nothing is written: it is a server's end, no further stream may be opened now
    /// ([`can_ask`](Self::can_ask)), the method or the target is none, or the peer does not know
    /// `protocol`.
    pub fn ask(
        &mut self,
        now: Micros,
        head: &RequestHead<'_>,
        ask: &Ask<'_>,
        tx: &mut Tx<'_>,
    ) -> Result<u32, Error> {
        if !self.can_ask() {
            return Err(Error::misuse("no further stream may be opened now"));
        }
        if !is_method(head.method) || target_run(head.target.as_bytes()) != head.target.len() {
            return Err(Error::misuse("a request has a method and a target"));
        }
        if ask.protocol.is_some() && !self.peers.connect {
            return Err(Error::misuse("the server does not know CONNECT with a protocol"));
        }
        let id = if self.streams.last_own == 0 { 1 } else { self.streams.last_own + 2 };
        self.streams.last_own = id;
        self.open_own += 1;
        let mut flags = if ask.protocol.is_some() { streams::TUNNEL } else { 0 };
        flags |= if head.method == "HEAD" { streams::HEAD_REQUEST } else { 0 };
        self.add_stream(id, flags, UNDECLARED, Priority::DEFAULT);
        let out = tx.buf(128 + head.target.len() + head.fields.len());
        let start = self.begin_block(out);
        self.put_request(head, ask, out);
        self.end_block(id, start, ask.ends, out);
        if ask.ends {
            self.end_stream(now, id, streams::LOCAL_ENDED);
        }
        Ok(id)
    }

    fn put_request(&mut self, head: &RequestHead<'_>, ask: &Ask<'_>, out: &mut Vec<u8>) {
        let method = if ask.protocol.is_some() { "CONNECT" } else { head.method };
        self.encoder.field(out, b":method", method.as_bytes());
        self.encoder.field(out, b":scheme", ask.scheme.as_bytes());
        self.encoder.field(out, b":authority", head.host.as_bytes());
        self.encoder.field(out, b":path", head.target.as_bytes());
        if let Some(protocol) = ask.protocol {
            self.encoder.field(out, b":protocol", protocol.as_bytes());
        }
        self.put_lines(head.fields, out);
        let anticipated = matches!(head.method, "POST" | "PUT" | "PATCH");
        match head.length {
            Length::Known(n) => self.put_length(n, out),
            Length::None if anticipated => self.put_length(0, out),
            Length::None | Length::Unknown => {}
        }
    }

    /// Whether another request may be sent: what the server lets us have open is not all open,
    /// nobody goes away, and numbers are left.
    pub fn can_ask(&self) -> bool {
        self.role == Role::Client
            && self.flags & (LEAVING | LEFT) == 0
            && self.reading != Reading::Over
            && self.open_own < self.peers.streams
            && self.streams.last_own < (1 << 31) - 3
    }

    /// Whether the connection takes further requests at all.
    pub fn is_open(&self) -> bool {
        self.flags & (LEAVING | LEFT) == 0 && self.reading != Reading::Over
    }

    /// Whether the server's settings have come, and with them what it knows.
    pub fn is_settled(&self) -> bool {
        self.has(super::connection::SETTLED)
    }

    /// Whether the server knows CONNECT with a protocol: RFC 8441.
    pub fn knows_connect(&self) -> bool {
        self.peers.connect
    }

    fn begin_block(&mut self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; frame::HEAD]);
        self.encoder.begin(out);
        start
    }

    /// Puts the frame's header before a block, and cuts it where it is larger than a frame.
    fn end_block(&mut self, stream: u32, start: usize, ends: bool, out: &mut Vec<u8>) {
        let len = out.len() - start - frame::HEAD;
        let end = if ends { frame::END_STREAM } else { 0 };
        let mut head = Head { len, kind: frame::HEADERS, flags: end | frame::END_HEADERS, stream };
        if len > self.peers.frame {
            let block = out.split_off(start + frame::HEAD);
            let (first, rest) = block.split_at(self.peers.frame);
            head = Head { len: first.len(), flags: end, ..head };
            out.extend_from_slice(first);
            let mut pieces = rest.chunks(self.peers.frame).peekable();
            while let Some(piece) = pieces.next() {
                let last = if pieces.peek().is_none() { frame::END_HEADERS } else { 0 };
                frame::put(out, frame::CONTINUATION, last, stream, piece);
            }
        }
        if let Some(place) = out.get_mut(start..start + frame::HEAD) {
            place.copy_from_slice(&head.bytes());
        }
    }

    fn put_lines(&mut self, fields: &[u8], out: &mut Vec<u8>) {
        let mut lower = core::mem::take(&mut self.name);
        for (name, value) in head::lines(fields) {
            if !head::is_sent(name) {
                continue;
            }
            lower.clear();
            lower.extend(name.iter().map(u8::to_ascii_lowercase));
            self.encoder.field(out, &lower, value);
        }
        self.name = lower;
    }

    fn put_length(&mut self, n: u64, out: &mut Vec<u8>) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = n;
        while let Some(place) = at.checked_sub(1).and_then(|last| digits.get_mut(last)) {
            *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
            at -= 1;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.encoder.field(out, b"content-length", digits.get(at..).unwrap_or_default());
    }
}

/// Data.
impl Connection {
    /// How many bytes of data a stream may send now.
    pub fn room(&mut self, stream: u32) -> usize {
        let (sends, frame) = (self.sends, self.peers.frame);
        let Some(at) = self.streams.by_id(stream) else { return 0 };
        if at.flags & (streams::RESET | streams::LOCAL_ENDED) != 0 {
            return 0;
        }
        usize::try_from(at.sends.min(sends)).unwrap_or(0).min(frame)
    }

    /// Puts a frame of data, at most [`room`](Self::room) bytes, which `ends` the stream or not.
    pub fn data(&mut self, now: Micros, stream: u32, data: &[u8], ends: bool, tx: &mut Tx<'_>) {
        let Some(at) = self.streams.by_id(stream) else { return };
        if at.flags & (streams::RESET | streams::LOCAL_ENDED) != 0 || data.is_empty() && !ends {
            return;
        }
        let len = i64::try_from(data.len()).unwrap_or(0);
        at.sends -= len;
        self.sends -= len;
        let flags = if ends { frame::END_STREAM } else { 0 };
        let out = tx.buf(frame::HEAD + data.len());
        frame::put(out, frame::DATA, flags, stream, data);
        if ends {
            self.end_stream(now, stream, streams::LOCAL_ENDED);
        }
    }

    /// Notes whether a stream has data to send; [`next_sender`](Self::next_sender) gives it then,
    /// once it has a window for it.
    pub fn want(&mut self, stream: u32, on: bool) {
        let Some(at) = self.streams.by_id(stream) else { return };
        if !on {
            at.flags &= !streams::WANTS;
            return;
        }
        at.flags |= streams::WANTS;
        self.enqueue(stream);
    }

    pub(super) fn enqueue(&mut self, stream: u32) {
        let Some(at) = self.streams.by_id(stream) else { return };
        if at.has(streams::QUEUED) || at.sends <= 0 {
            return;
        }
        at.flags |= streams::QUEUED;
        let priority = at.priority;
        self.queue.push(stream, priority);
    }

    /// Whether a stream has data to send and the windows for it.
    pub fn has_sender(&self) -> bool {
        self.sends > 0 && !self.queue.is_empty()
    }

    /// Gives the stream that sends next, its tag and its room. It is to be told what became of it
    /// by [`sent`](Self::sent).
    pub fn next_sender(&mut self) -> Option<(u32, u32, usize)> {
        if self.sends <= 0 {
            return None;
        }
        loop {
            let stream = self.queue.pop()?;
            let Some(at) = self.streams.by_id(stream) else { continue };
            at.flags &= !streams::QUEUED;
            let wants = at.has(streams::WANTS) && at.sends > 0;
            let tag = at.tag;
            if wants && !at.has(streams::RESET) {
                return Some((stream, tag, self.room(stream)));
            }
        }
    }

    /// Puts the stream back that [`next_sender`](Self::next_sender) gave, if it has `more`.
    pub fn sent(&mut self, stream: u32, more: bool) {
        let Some(at) = self.streams.by_id(stream) else { return };
        if !more {
            at.flags &= !streams::WANTS;
        } else if at.sends > 0 && !at.has(streams::QUEUED) {
            at.flags |= streams::QUEUED;
            let priority = at.priority;
            self.queue.put_back(stream, priority);
        }
    }
}

/// Credit and ends.
impl Connection {
    /// Tells that `n` bytes of a stream's data have been read. The peer is told by
    /// [`put_credits`](Self::put_credits), once it is half a window.
    pub fn consumed(&mut self, stream: u32, n: usize) {
        let half = self.stream_window / 2;
        let within = matches!(self.reading, Reading::Data(InData { stream: s, .. }) if s == stream);
        let Some(at) = self.streams.by_id(stream) else { return };
        at.read = at.read.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        // Looked at between frames alone, so that it does not depend on how they were cut.
        let listed = self.credits.contains(&stream);
        let over = at.flags & (streams::RESET | streams::REMOTE_ENDED) != 0;
        if !within && !over && !listed && at.read >= half.max(1) {
            self.credits.push(stream);
        }
    }

    /// Tells the peer what was read.
    pub fn put_credits(&mut self, tx: &mut Tx<'_>) {
        while let Some(id) = self.credits.pop() {
            let Some(at) = self.streams.by_id(id) else { continue };
            if at.flags & (streams::RESET | streams::REMOTE_ENDED) == 0 && at.read > 0 {
                let read = core::mem::take(&mut at.read);
                at.receives += i64::from(read);
                frame::put(tx.buf(32), frame::WINDOW_UPDATE, 0, id, &read.to_be_bytes());
            }
        }
    }

    /// Whether the peer is to be told of what was read.
    pub fn has_credits(&self) -> bool {
        !self.credits.is_empty()
    }

    /// What arrives is credited to the connection whoever reads it: one stream that is not read
    /// holds no other up.
    pub(super) fn credit_connection(&mut self, tx: &mut Tx<'_>) {
        if i64::from(self.arrived) < self.window / 2 {
            return;
        }
        let arrived = core::mem::take(&mut self.arrived);
        self.receives += i64::from(arrived);
        frame::put(tx.buf(32), frame::WINDOW_UPDATE, 0, 0, &arrived.to_be_bytes());
    }

    /// Resets a stream, unless it is over.
    pub fn reset(&mut self, now: Micros, stream: u32, code: Code, tx: &mut Tx<'_>) {
        if self.streams.by_id(stream).is_none_or(|at| at.is_over()) {
            return;
        }
        self.put_reset(stream, code, tx);
        self.end_stream(now, stream, streams::RESET | streams::RESET_HERE);
    }

    /// Lets go of a stream that [`set_tag`](Self::set_tag) has held. What is not over is reset:
    /// without blame if all of the answer was sent, else with `code`.
    pub fn release(&mut self, now: Micros, stream: u32, code: Code, tx: &mut Tx<'_>) {
        let Some(at) = self.streams.by_id(stream) else { return };
        let code = if at.has(streams::LOCAL_ENDED) { Code::NoError } else { code };
        self.reset(now, stream, code, tx);
        if let Some(at) = self.streams.by_id(stream) {
            at.flags &= !streams::HELD;
            self.forget(now, stream);
        }
    }

    /// Whether our end of a stream is open for data.
    pub fn may_send(&mut self, stream: u32) -> bool {
        let over = streams::RESET | streams::LOCAL_ENDED;
        self.streams.by_id(stream).is_some_and(|at| at.flags & over == 0)
    }
}
