//! What must hold for any input at all, for tests and for the fuzzer: nothing panics, how the input
//! was cut changes neither events nor output, and no window is lost.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use lodger_backend::Micros;

use super::frame::{self, Head};
use super::{Answer, Ask, Connection, Event, Role};
use crate::error::Error;
use crate::io::{Out, Pool, Rx, Scratch, Tx};
use crate::limits::Limits;
use crate::proto::Cx;
use crate::proto::h1::{Fields, Length, RequestHead};
use crate::proto::split::pieces;

/// What a connection made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// Events, one a line; data of a stream that came in parts is one.
    pub(super) events: Vec<String>,
    /// What it sent.
    pub(super) sent: Vec<u8>,
    /// How it failed.
    pub(super) error: Option<Error>,
    /// Whether it wants to be closed.
    pub(super) closes: bool,
    left: Vec<u8>,
    /// The stream whose data came last, and the data.
    data: Option<(u32, Vec<u8>)>,
}

impl Trace {
    fn event(&mut self, event: String) {
        self.flush();
        self.events.push(event);
    }

    fn data(&mut self, stream: u32, data: &[u8]) {
        if self.data.as_ref().is_some_and(|(last, _)| *last != stream) {
            self.flush();
        }
        let (_, kept) = self.data.get_or_insert_with(|| (stream, Vec::new()));
        kept.extend_from_slice(data);
    }

    fn flush(&mut self) {
        if let Some((stream, data)) = self.data.take() {
            self.events.push(format!("{stream} data {}", data.escape_ascii()));
        }
    }

    /// Gives what was sent as frames: kind, flags, stream, payload.
    #[cfg(test)]
    pub(super) fn frames(&self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut rest = &*self.sent;
        while let Some(head) = Head::read(rest) {
            let end = frame::HEAD + head.len;
            let payload = rest.get(frame::HEAD..end).unwrap_or_default();
            frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
            rest = rest.get(end..).unwrap_or_default();
        }
        frames
    }
}

fn fields_text(fields: Fields<'_>) -> String {
    fields.iter().map(|(name, value)| format!(" {name}={}", value.escape_ascii())).collect()
}

/// Gives pieces to one end, whose user answers each request once it has ended with the number of
/// bytes it had, and trailers with trailers, and checks the windows after each piece.
pub(super) struct Harness<'l> {
    pub(super) connection: Connection,
    pub(super) limits: &'l Limits,
    pub(super) now: Micros,
    pub(super) trace: Trace,
    /// What is not credited is not counted as read by the user.
    pub(super) reads: bool,
    out: Out,
    pool: Pool,
    scratch: Scratch,
    bytes: BTreeMap<u32, usize>,
    /// What a user that does not read has not read.
    unread: BTreeMap<u32, usize>,
}

impl<'l> Harness<'l> {
    pub(super) fn new(role: Role, limits: &'l Limits) -> Self {
        let connection = Connection::new(role, Micros::ZERO, limits);
        Self {
            connection,
            limits,
            now: Micros::ZERO,
            trace: Trace::default(),
            reads: true,
            out: Out::new(),
            pool: Pool::new(0),
            scratch: Scratch::new(),
            bytes: BTreeMap::new(),
            unread: BTreeMap::new(),
        }
    }

    /// Lets a client ask for something.
    pub(super) fn ask(&mut self, method: &str, ends: bool) -> Option<u32> {
        let mut tx = Tx::new(&mut self.out, &mut self.pool);
        self.connection.greet(self.now, &self.limits.h2, &mut tx);
        let length = if ends { Length::None } else { Length::Unknown };
        let head = RequestHead {
            method,
            target: "/a",
            host: "x",
            fields: b"A: b\r\n",
            length,
            upgrade: false,
            close: false,
        };
        let ask = Ask { scheme: "http", protocol: None, ends };
        let asked = self.connection.ask(self.now, &head, &ask, &mut tx).ok();
        if let Some(stream) = asked {
            self.connection.set_tag(stream, stream);
        }
        self.take();
        asked
    }

    /// Gives one piece; `eof` if it is the last.
    pub(super) fn give(&mut self, piece: &[u8], eof: bool) {
        let mut left = core::mem::take(&mut self.trace.left);
        left.extend_from_slice(piece);
        let mut rx = Rx::new(&mut left, eof);
        let mut random = || 0;
        loop {
            let mut cx = Cx { now: self.now, limits: self.limits, random: &mut random };
            let mut tx = Tx::new(&mut self.out, &mut self.pool);
            match self.connection.poll(&mut cx, &mut rx, &mut self.scratch, &mut tx) {
                Ok(Some(event)) => {
                    let on = Sink {
                        connection: &mut self.connection,
                        trace: &mut self.trace,
                        bytes: &mut self.bytes,
                        unread: &mut self.unread,
                        reads: self.reads,
                        now: self.now,
                    };
                    on.note(event, &mut tx);
                }
                Ok(None) => break,
                Err(error) => self.trace.error = self.trace.error.or(Some(error)),
            }
        }
        let used = rx.consumed();
        assert!(left.len() - used < frame::HEAD + frame::PAYLOAD_MAX + 1);
        self.trace.left = left.get(used..).unwrap_or_default().to_vec();
        self.take();
        self.check_windows();
    }

    /// Does what is due.
    pub(super) fn wait(&mut self) {
        let mut random = || 0;
        let mut cx = Cx { now: self.now, limits: self.limits, random: &mut random };
        let mut tx = Tx::new(&mut self.out, &mut self.pool);
        let due = self.connection.on_deadline(&mut cx, &mut tx);
        self.trace.error = self.trace.error.or(due.err());
        self.take();
    }

    /// Lets the user read what it had not read.
    #[cfg(test)]
    pub(super) fn read_all(&mut self) {
        self.reads = true;
        let mut tx = Tx::new(&mut self.out, &mut self.pool);
        for (stream, n) in core::mem::take(&mut self.unread) {
            self.connection.consumed(stream, n);
        }
        self.connection.put_credits(&mut tx);
        self.take();
    }

    /// Sends a part of a body, as much of it as may be sent.
    #[cfg(test)]
    pub(super) fn send(&mut self, stream: u32, most: usize) {
        let n = self.connection.room(stream).min(most);
        let mut tx = Tx::new(&mut self.out, &mut self.pool);
        self.connection.data(self.now, stream, &alloc::vec![b'x'; n], false, &mut tx);
        self.take();
    }

    /// Says that it goes away.
    #[cfg(test)]
    pub(super) fn go_away(&mut self) {
        self.connection.go_away(&mut Tx::new(&mut self.out, &mut self.pool));
        self.take();
    }

    /// Takes what is to be sent.
    pub(super) fn take(&mut self) {
        self.trace.sent.extend_from_slice(self.out.bytes());
        self.out.clear(&mut self.pool);
    }

    /// No window is lost: what a peer may send, and what it has sent and was not credited, are
    /// what was announced.
    fn check_windows(&self) {
        let window = i64::from(self.limits.h2.window);
        for (stream, receives, read) in self.connection.windows() {
            assert!(receives <= window, "stream {stream}");
            let unread = i64::try_from(self.unread.get(&stream).copied().unwrap_or(0)).unwrap_or(0);
            if self.trace.error.is_none() && !self.connection.is_within(stream) && receives >= 0 {
                assert_eq!(receives + i64::from(read) + unread, window, "stream {stream}");
            }
        }
    }

    pub(super) fn finish(mut self) -> Trace {
        self.trace.flush();
        self.trace.closes = self.connection.must_close();
        self.trace.left.clear();
        self.trace
    }
}

/// What hears the events of one end.
struct Sink<'h> {
    connection: &'h mut Connection,
    trace: &'h mut Trace,
    bytes: &'h mut BTreeMap<u32, usize>,
    unread: &'h mut BTreeMap<u32, usize>,
    reads: bool,
    now: Micros,
}

impl Sink<'_> {
    fn note(self, event: Event<'_>, tx: &mut Tx<'_>) {
        match event {
            Event::Request { stream, head, ended, expects } => {
                self.trace.event(format!(
                    "{stream} {} {} host={} {:?} ended={ended} expects={expects} ws={}{}",
                    head.method,
                    head.target,
                    head.host,
                    head.body,
                    head.upgrade,
                    fields_text(head.fields)
                ));
                self.connection.set_tag(stream, stream);
                self.bytes.insert(stream, 0);
                if ended {
                    self.answer(stream, &[], tx);
                }
            }
            Event::Response { stream, tag, head, ended } => {
                self.bytes.insert(stream, 0);
                let fields = fields_text(head.fields);
                self.trace.event(format!("{stream} {tag} {} ended={ended}{fields}", head.status));
                if ended {
                    self.connection.release(self.now, stream, super::Code::Cancel, tx);
                }
            }
            Event::Data { stream, data, ended, .. } => {
                self.trace.data(stream, data);
                if self.reads {
                    self.connection.consumed(stream, data.len());
                    self.connection.put_credits(tx);
                } else {
                    *self.unread.entry(stream).or_default() += data.len();
                }
                *self.bytes.entry(stream).or_default() += data.len();
                if ended {
                    self.trace.event(format!("{stream} end"));
                    self.answer(stream, &[], tx);
                }
            }
            Event::Trailers { stream, fields, .. } => {
                self.trace.event(format!("{stream} trailers{}", fields_text(fields)));
                self.answer(stream, b"Behind: it\r\n", tx);
            }
            Event::Reset { stream, code, .. } => {
                self.trace.event(format!("{stream} reset {code}"));
                self.connection.release(self.now, stream, super::Code::Cancel, tx);
            }
            Event::GoAway { last, code } => self.trace.event(format!("goaway {last} {code}")),
            Event::Settled => self.trace.event(String::from("settled")),
        }
    }

    fn answer(self, stream: u32, trailers: &[u8], tx: &mut Tx<'_>) {
        if self.connection.role() == Role::Server {
            let text = format!("{}", self.bytes.get(&stream).copied().unwrap_or(0));
            let length = Some(text.len() as u64);
            let answer =
                Answer { status: 200, fields: b"A: b\r\n", length, date: None, ends: false };
            self.connection.answer(self.now, stream, &answer, tx);
            if self.connection.room(stream) >= text.len() {
                let ends = trailers.is_empty();
                self.connection.data(self.now, stream, text.as_bytes(), ends, tx);
                if !ends {
                    self.connection.trailers(self.now, stream, trailers, tx);
                }
            }
        }
        self.connection.release(self.now, stream, super::Code::Cancel, tx);
    }
}

/// Gives `pieces` to a server one by one, the end of input with the last if `eof`.
pub(super) fn serve(limits: &Limits, pieces: &[&[u8]], eof: bool) -> Trace {
    run(Harness::new(Role::Server, limits), pieces, eof)
}

/// Gives `pieces` to a client that has asked twice.
pub(super) fn read(limits: &Limits, pieces: &[&[u8]], eof: bool) -> Trace {
    let mut client = Harness::new(Role::Client, limits);
    client.ask("GET", true);
    client.ask("HEAD", true);
    run(client, pieces, eof)
}

fn run(mut harness: Harness<'_>, pieces: &[&[u8]], eof: bool) -> Trace {
    let pieces = if pieces.is_empty() { &[&[][..]] } else { pieces };
    for (n, piece) in pieces.iter().enumerate() {
        harness.give(piece, eof && n + 1 == pieces.len());
    }
    harness.finish()
}

/// Takes `data` apart into sizes of pieces and frames, and asserts what must hold for any input.
///
/// The first byte says how many bytes of sizes follow, whether the input ends, which end reads it,
/// which limits apply, and whether the rest is frames as they are or a list of frames, each with a
/// length of one byte, to get further into them.
///
/// # Panics
///
/// A rule of this module is broken.
pub fn fuzz_h2(data: &[u8]) {
    let Some((&control, rest)) = data.split_first() else { return };
    let (sizes, bytes) = rest.split_at(usize::from(control & 7).min(rest.len()));
    let mut limits = Limits::default();
    if control & 0x80 != 0 {
        limits.h2.streams = 2;
        limits.h2.window = 100;
        limits.h2.block = 128;
        limits.h2.continuations = 2;
        limits.h2.list = 256;
        limits.h2.fields = 8;
        limits.h2.faults = (3, 0);
        limits.h2.resets = (2, 0);
        limits.h2.glitches = (50, 0);
    }
    let (eof, client) = (control & 0x40 != 0, control & 0x20 != 0);
    let mut input = Vec::new();
    if control & 0x10 == 0 {
        input.extend_from_slice(if client { b"" } else { frame::PREFACE });
        frame::put(&mut input, frame::SETTINGS, 0, 0, b"");
    }
    if control & 8 == 0 {
        input.extend_from_slice(bytes);
    } else {
        put_frames(&mut input, bytes);
    }
    let mut sizes = sizes.iter().cycle();
    let cut = pieces(&input, || sizes.next().map_or(1, |&n| 1 + usize::from(n)));
    let single: Vec<&[u8]> = input.chunks(1).collect();
    let codec = if client { read } else { serve };
    let whole = codec(&limits, &[&input], eof);
    assert_eq!(codec(&limits, &cut, eof), whole);
    assert_eq!(codec(&limits, &single, eof), whole);
}

fn put_frames(input: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((&[len, kind, flags, stream], behind)) = rest.split_first_chunk() {
        let (payload, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        frame::put(input, kind & 0x1F, flags, u32::from(stream), payload);
    }
}
