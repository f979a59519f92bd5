//! Reading: frames to events. RFC 9113, sections 4 to 6.

use lodger_backend::Micros;

use super::connection::{Connection, InData, LEAVING, OpenBlock, Reading, Role, SETTLED, Step};
use super::frame::{self, Head, PREFACE};
use super::guard::What;
use super::priority::Priority;
use super::streams::{self, Found, Stream, UNDECLARED};
use super::{Code, Fault, head};
use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::hpack::{Room, Sized};

/// DATA shorter than this costs, unless it is the last.
const SMALL: usize = 64;
/// What a frame without any use costs.
pub(super) const IDLE_WORK: u32 = 10;

impl Connection {
    /// Reads one frame, or a part of one.
    pub(super) fn step<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        if let Some((stream, tag, code)) = self.told.take() {
            return Ok(Step::Reset(stream, tag, code));
        }
        match self.reading {
            Reading::Over => {
                rx.take(rx.len());
                Ok(Step::Wait)
            }
            Reading::Preface => self.preface(rx),
            Reading::Skip(left) => Ok(self.skip(left, rx)),
            Reading::Data(data) => Ok(self.more_data(cx.now, data, rx, tx)),
            Reading::Frame => self.frame(cx, rx, scratch, tx),
        }
    }

    fn preface<'a>(&mut self, rx: &mut Rx<'a>) -> Result<Step<'a>, Fault> {
        let there = rx.len().min(PREFACE.len());
        if rx.peek().get(..there) != PREFACE.get(..there) {
            return Err(Fault::all(Code::Protocol, "RFC 9113, 3.4: the preface"));
        }
        if there < PREFACE.len() {
            return self.wait(rx);
        }
        rx.take(PREFACE.len());
        self.reading = Reading::Frame;
        Ok(Step::Again)
    }

    /// What is there is not a whole frame.
    fn wait<'a>(&mut self, rx: &Rx<'_>) -> Result<Step<'a>, Fault> {
        if rx.eof() && !rx.is_empty() {
            return Err(Fault::all(Code::Protocol, "the connection ended within a frame"));
        }
        if rx.eof() {
            self.reading = Reading::Over;
        }
        Ok(Step::Wait)
    }

    fn skip<'a>(&mut self, left: usize, rx: &mut Rx<'a>) -> Step<'a> {
        let taken = rx.take(left).len();
        let left = left - taken;
        self.reading = if left == 0 { Reading::Frame } else { Reading::Skip(left) };
        if left == 0 { Step::Again } else { Step::Wait }
    }

    fn frame<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        let Some(head) = Head::read(rx.peek()) else { return self.wait(rx) };
        if head.len > frame::PAYLOAD_MAX {
            return Err(Fault::all(Code::FrameSize, "RFC 9113, 4.2: a frame of 2^14 bytes"));
        }
        if !self.has(SETTLED) && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(protocol("RFC 9113, 3.4: SETTINGS come first"));
        }
        if let Some(block) = &self.open_block
            && (head.kind != frame::CONTINUATION || head.stream != block.stream)
        {
            return Err(protocol("RFC 9113, 4.3: nothing stands within a field block"));
        }
        if tx.queued() == 0 {
            self.control = 0;
        }
        match head.kind {
            frame::DATA => return self.begin_data(cx.now, head, rx),
            // Larger numbers mean nothing to us, but one.
            0xA.. if head.kind != frame::PRIORITY_UPDATE => {
                self.guard.count(cx.now, What::Glitch(1))?;
                rx.take(frame::HEAD);
                self.reading = Reading::Skip(head.len);
                return Ok(Step::Again);
            }
            _ => {}
        }
        if rx.len() < frame::HEAD + head.len {
            return self.wait(rx);
        }
        let whole: &'a mut [u8] = rx.take(frame::HEAD + head.len);
        let payload = whole.get(frame::HEAD..).unwrap_or_default();
        let step = self.control(cx, head, payload, scratch, tx)?;
        if self.control > cx.limits.h2.control {
            return Err(calm("the limit of control frames that wait to be sent"));
        }
        Ok(step)
    }

    fn control<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: Head,
        payload: &[u8],
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        match head.kind {
            frame::HEADERS => self.headers(cx, head, payload, scratch, tx),
            frame::CONTINUATION => self.continuation(cx, head, payload, scratch, tx),
            frame::PRIORITY => self.priority(cx.now, head, payload),
            frame::RST_STREAM => self.reset_by_peer(cx.now, head, payload),
            frame::SETTINGS => self.settings(cx, head, payload, tx),
            frame::PING => self.ping(cx.now, head, payload, tx),
            frame::GOAWAY => self.goaway(cx.now, head, payload),
            frame::WINDOW_UPDATE => self.window_update(cx.now, head, payload),
            frame::PRIORITY_UPDATE => self.priority_update(cx.now, head, payload),
            _ => Err(protocol("RFC 9113, 8.4: nothing is pushed here")),
        }
    }
}

/// DATA: RFC 9113, section 6.1.
impl Connection {
    fn begin_data<'a>(
        &mut self,
        now: Micros,
        head: Head,
        rx: &mut Rx<'a>,
    ) -> Result<Step<'a>, Fault> {
        let padded = head.has(frame::PADDED);
        if rx.len() < frame::HEAD + usize::from(padded && head.len > 0) {
            return self.wait(rx);
        }
        if head.stream == 0 {
            return Err(protocol("RFC 9113, 6.1: DATA is of a stream"));
        }
        let pad = if padded { rx.peek().get(frame::HEAD).copied() } else { None };
        let (padding, overhead) = (usize::from(pad.unwrap_or(0)), usize::from(padded));
        let data = head.len.checked_sub(padding + overhead).ok_or(frame::PADDING)?;
        self.take_window(head.len)?;
        rx.take(frame::HEAD + overhead);
        let ends = head.has(frame::END_STREAM);
        let mut in_data = InData { stream: head.stream, left: data, padding, ends, dropped: false };
        self.reading = Reading::Data(in_data);
        match self.may_take(now, head, data, ends) {
            Ok(true) => {}
            Ok(false) => in_data.dropped = true,
            Err(fault) => {
                in_data.dropped = true;
                self.reading = Reading::Data(in_data);
                return Err(fault);
            }
        }
        if let Some(stream) = self.streams.by_id(head.stream).filter(|_| !in_data.dropped) {
            // Padding is read by nobody.
            stream.read += u32::try_from(padding + overhead).unwrap_or(0);
        }
        self.reading = Reading::Data(in_data);
        Ok(Step::Again)
    }

    /// Takes a frame off the window of the connection.
    fn take_window(&mut self, len: usize) -> Result<(), Fault> {
        self.receives -= i64::try_from(len).unwrap_or(0);
        if self.receives < 0 {
            let rule = "RFC 9113, 6.9.1: DATA within the connection's window";
            return Err(Fault::all(Code::FlowControl, rule));
        }
        self.arrived += u32::try_from(len).unwrap_or(0);
        Ok(())
    }

    /// Decides about a frame by its header alone. `false`: it is let go by.
    fn may_take(
        &mut self,
        now: Micros,
        head: Head,
        data: usize,
        ends: bool,
    ) -> Result<bool, Fault> {
        let id = head.stream;
        let at = match self.streams.find(id, self.is_own(id)) {
            Found::Idle => return Err(protocol("RFC 9113, 5.1: DATA on an idle stream")),
            Found::At(at) => at,
            Found::Over(true) | Found::Past => {
                self.guard.count(now, What::Glitch(IDLE_WORK))?;
                return Ok(false);
            }
            Found::Over(false) => return Err(closed("RFC 9113, 5.1: DATA on a closed stream")),
        };
        let Some(stream) = self.streams.get_mut(at) else { return Ok(false) };
        if stream.has(streams::RESET_HERE) {
            self.guard.count(now, What::Glitch(IDLE_WORK))?;
            return Ok(false);
        }
        if stream.has(streams::RESET) {
            return Err(closed("RFC 9113, 5.1: DATA on a closed stream"));
        }
        if stream.has(streams::REMOTE_ENDED) {
            return Err(Fault::one(id, Code::StreamClosed, "RFC 9113, 5.1: DATA behind its end"));
        }
        if self.role == Role::Client && !stream.has(streams::HEADED) {
            return Err(Fault::one(id, Code::Protocol, "RFC 9113, 8.1: a body behind its head"));
        }
        stream.receives -= i64::try_from(head.len).unwrap_or(0);
        if stream.receives < 0 {
            let rule = "RFC 9113, 6.9.1: DATA within the stream's window";
            return Err(Fault::one(id, Code::FlowControl, rule));
        }
        if stream.missing != UNDECLARED {
            let left = stream.missing.checked_sub(data as u64).filter(|left| !ends || *left == 0);
            stream.missing = left.ok_or(Fault::one(id, Code::Protocol, LENGTH))?;
        }
        let price = match data {
            _ if ends || stream.has(streams::TUNNEL) => 0,
            0 => IDLE_WORK,
            1..SMALL => 1,
            _ => 0,
        };
        if price > 0 {
            self.guard.count(now, What::Glitch(price))?;
        }
        Ok(true)
    }

    /// Hands on what has come of a frame.
    fn more_data<'a>(
        &mut self,
        now: Micros,
        mut at: InData,
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Step<'a> {
        let data = rx.take(at.left);
        at.left -= data.len();
        if at.left == 0 {
            at.padding -= rx.take(at.padding).len();
        }
        let whole = at.left == 0 && at.padding == 0;
        self.reading = if whole { Reading::Frame } else { Reading::Data(at) };
        if whole {
            self.credit_connection(tx);
            if data.is_empty() {
                self.consumed(at.stream, 0);
            }
        }
        // What ends is told with its last byte, padding or not.
        let ends = at.ends && whole;
        let idle = data.is_empty() && !ends;
        let step = match self.streams.by_id(at.stream).filter(|_| !at.dropped) {
            Some(stream) if !idle => Step::Data(at.stream, stream.tag, data, ends),
            _ if whole => Step::Again,
            _ if rx.is_empty() => Step::Wait,
            _ => Step::Again,
        };
        if ends && !at.dropped {
            self.end_stream(now, at.stream, streams::REMOTE_ENDED);
        }
        step
    }
}

/// Field blocks: RFC 9113, sections 6.2, 6.10 and 8.1.
impl Connection {
    fn headers<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: Head,
        payload: &[u8],
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        if head.stream == 0 {
            return Err(protocol("RFC 9113, 6.2: HEADERS are of a stream"));
        }
        let (mut block, padding) = frame::unpad(head, payload)?;
        if padding > 1 && block.is_empty() {
            self.guard.count(cx.now, What::Glitch(IDLE_WORK))?;
        }
        let mut on_itself = false;
        if head.has(frame::WITH_PRIORITY) {
            on_itself = frame::word(block) & 0x7FFF_FFFF == head.stream;
            block = block.get(5..).ok_or(size("RFC 9113, 6.2: five bytes of priority"))?;
        }
        let ends = head.has(frame::END_STREAM);
        let open = OpenBlock { stream: head.stream, ends, on_itself, frames: 0, since: cx.now };
        if head.has(frame::END_HEADERS) {
            return self.whole_block(cx, open, block, scratch, tx);
        }
        self.block.clear();
        self.block.extend_from_slice(block);
        self.open_block = Some(open);
        Ok(Step::Again)
    }

    fn continuation<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: Head,
        payload: &[u8],
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        let Some(open) = &mut self.open_block else {
            return Err(protocol("RFC 9113, 6.10: CONTINUATION follows an open block"));
        };
        open.frames += 1;
        let open = *open;
        let limits = &cx.limits.h2;
        if open.frames > limits.continuations {
            return Err(calm("the limit of CONTINUATION frames"));
        }
        if self.block.len() + payload.len() > limits.block {
            return Err(calm("the limit of a field block"));
        }
        let last = head.has(frame::END_HEADERS);
        if payload.is_empty() && !last {
            self.guard.count(cx.now, What::Glitch(IDLE_WORK))?;
        }
        self.block.extend_from_slice(payload);
        if !last {
            return Ok(Step::Again);
        }
        self.open_block = None;
        let block = core::mem::take(&mut self.block);
        let step = self.whole_block(cx, open, &block, scratch, tx);
        // Kept for the next, unless it has become large.
        if block.capacity() <= 4096 {
            self.block = block;
        }
        step
    }

    fn whole_block<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        open: OpenBlock,
        block: &[u8],
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        let limits = &cx.limits.h2;
        if block.len() > limits.block {
            return Err(calm("the limit of a field block"));
        }
        let room = Room { fields: limits.fields, list: limits.list, cookies: limits.cookies };
        let (bytes, spans) = scratch.section();
        // It is read whatever becomes of it: the table must be the same at both ends.
        let read = self.decoder.decode(block, &room, bytes, spans);
        let sized = read.map_err(|e| Fault::all(Code::Compression, e.0))?;
        if sized == Sized::Flood {
            return Err(calm("four times the limit of a field section"));
        }
        let (id, fits) = (open.stream, sized == Sized::Fits);
        match self.streams.find(id, self.is_own(id)) {
            Found::At(at) => self.more_headers(cx.now, at, open, fits, scratch),
            Found::Idle if self.role == Role::Server && !self.is_own(id) => {
                self.open(cx, open, fits, scratch, tx)
            }
            Found::Idle => Err(protocol("RFC 9113, 5.1: HEADERS on an idle stream of ours")),
            Found::Over(true) => {
                self.guard.count(cx.now, What::Glitch(1))?;
                Ok(Step::Again)
            }
            Found::Over(false) => Err(closed("RFC 9113, 5.1: HEADERS on a closed stream")),
            Found::Past => Err(protocol("RFC 9113, 5.1.1: a new stream has a higher number")),
        }
    }

    /// A request.
    fn open<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        open: OpenBlock,
        fits: bool,
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        let id = open.stream;
        self.streams.last_peer = id;
        if self.has(LEAVING) {
            // It was told that this one is not looked at, and may ask again elsewhere.
            self.guard.count(cx.now, What::Glitch(1))?;
            return Ok(Step::Again);
        }
        if self.open_peer >= cx.limits.h2.streams {
            let rule = "RFC 9113, 5.1.2: the limit of streams at once";
            return self.refuse(cx.now, id, Code::RefusedStream, rule);
        }
        if open.on_itself {
            return self.refuse(cx.now, id, Code::Protocol, ITSELF);
        }
        if !fits {
            return self.too_large(cx.now, open, tx);
        }
        let checked = match head::check_request(scratch) {
            Ok(checked) => checked,
            Err(rule) => return self.refuse(cx.now, id, Code::Protocol, rule),
        };
        let facts = checked.facts;
        let short = open.ends && !matches!(facts.length, UNDECLARED | 0);
        if short {
            return self.refuse(cx.now, id, Code::Protocol, LENGTH);
        }
        let mut flags = if facts.connects { streams::TUNNEL } else { 0 };
        flags |= if facts.is_head { streams::HEAD_REQUEST } else { 0 };
        flags |= if open.ends { streams::REMOTE_ENDED } else { 0 };
        self.add_stream(id, flags, facts.length, facts.priority.unwrap_or(Priority::DEFAULT));
        self.open_peer += 1;
        Ok(Step::Request(id, checked, open.ends))
    }

    /// Turns a stream away that nobody has heard of.
    fn refuse<'a>(
        &mut self,
        now: Micros,
        id: u32,
        code: Code,
        rule: &'static str,
    ) -> Result<Step<'a>, Fault> {
        self.add_stream(id, streams::RESET | streams::RESET_HERE, UNDECLARED, Priority::DEFAULT);
        self.open_peer += 1;
        self.forget(now, id);
        Err(Fault::one(id, code, rule))
    }

    /// Answers 431: RFC 9113, section 10.5.1.
    fn too_large<'a>(
        &mut self,
        now: Micros,
        open: OpenBlock,
        tx: &mut Tx<'_>,
    ) -> Result<Step<'a>, Fault> {
        self.guard.count(now, What::Fault)?;
        let flags = if open.ends { streams::REMOTE_ENDED } else { 0 };
        self.add_stream(open.stream, flags, UNDECLARED, Priority::DEFAULT);
        self.open_peer += 1;
        self.put_status(open.stream, 431, tx);
        if !open.ends {
            self.put_reset(open.stream, Code::NoError, tx);
        }
        let how = streams::LOCAL_ENDED | streams::RESET | streams::RESET_HERE;
        self.end_stream(now, open.stream, how);
        Ok(Step::Again)
    }

    pub(super) fn add_stream(&mut self, id: u32, flags: u16, missing: u64, priority: Priority) {
        self.streams.insert(Stream {
            id,
            tag: 0,
            sends: self.peers.window,
            receives: i64::from(self.stream_window),
            read: 0,
            missing,
            flags,
            priority,
        });
    }

    /// A response, or trailers of either.
    fn more_headers<'a>(
        &mut self,
        now: Micros,
        at: usize,
        open: OpenBlock,
        fits: bool,
        scratch: &mut Scratch,
    ) -> Result<Step<'a>, Fault> {
        let id = open.stream;
        let Some(stream) = self.streams.get(at).copied() else { return Ok(Step::Again) };
        let malformed = |rule| Fault::one(id, Code::Protocol, rule);
        if stream.has(streams::RESET_HERE) {
            self.guard.count(now, What::Glitch(1))?;
            return Ok(Step::Again);
        }
        if stream.has(streams::RESET) {
            return Err(closed("RFC 9113, 5.1: HEADERS on a closed stream"));
        }
        if stream.has(streams::REMOTE_ENDED) {
            let rule = "RFC 9113, 5.1: HEADERS behind its end";
            return Err(Fault::one(id, Code::StreamClosed, rule));
        }
        if open.on_itself {
            return Err(malformed(ITSELF));
        }
        if !fits {
            return Err(Fault::one(id, Code::EnhanceYourCalm, "the limit of a field section"));
        }
        if self.role == Role::Client && !stream.has(streams::HEADED) {
            return self.response(now, open, stream, scratch);
        }
        if !open.ends {
            return Err(malformed("RFC 9113, 8.1: trailers end their stream"));
        }
        head::check_trailers(scratch).map_err(malformed)?;
        if !matches!(stream.missing, UNDECLARED | 0) {
            return Err(malformed(LENGTH));
        }
        self.end_stream(now, id, streams::REMOTE_ENDED);
        Ok(Step::Trailers(id, stream.tag))
    }

    fn response<'a>(
        &mut self,
        now: Micros,
        open: OpenBlock,
        stream: Stream,
        scratch: &mut Scratch,
    ) -> Result<Step<'a>, Fault> {
        let id = open.stream;
        let malformed = |rule| Fault::one(id, Code::Protocol, rule);
        let checked = head::check_response(scratch).map_err(malformed)?;
        let status = checked.facts.status;
        if status < 200 {
            if open.ends {
                return Err(malformed("RFC 9113, 8.1: an interim response ends no stream"));
            }
            return Ok(Step::Response(id, stream.tag, checked, false));
        }
        let bare = stream.has(streams::HEAD_REQUEST) || matches!(status, 204 | 304);
        let tunnel = stream.has(streams::TUNNEL) && status < 300;
        let missing = if tunnel || bare { UNDECLARED } else { checked.facts.length };
        if open.ends && !matches!(missing, UNDECLARED | 0) {
            return Err(malformed(LENGTH));
        }
        if let Some(stream) = self.streams.by_id(id) {
            stream.flags |= streams::HEADED;
            stream.missing = if bare { 0 } else { missing };
        }
        if open.ends {
            self.end_stream(now, id, streams::REMOTE_ENDED);
        }
        Ok(Step::Response(id, stream.tag, checked, open.ends))
    }
}

pub(super) const ITSELF: &str = "RFC 9113, 5.3.1: no stream depends on itself";
const LENGTH: &str = "RFC 9113, 8.1.1: a body is as long as its Content-Length says";

pub(super) const fn protocol(rule: &'static str) -> Fault {
    Fault::all(Code::Protocol, rule)
}

pub(super) const fn size(rule: &'static str) -> Fault {
    Fault::all(Code::FrameSize, rule)
}

const fn closed(rule: &'static str) -> Fault {
    Fault::all(Code::StreamClosed, rule)
}

const fn calm(rule: &'static str) -> Fault {
    Fault::all(Code::EnhanceYourCalm, rule)
}
