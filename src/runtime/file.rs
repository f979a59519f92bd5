//! Parts of files as output: what stands behind the bytes of a queue, sent once those have gone.
//!
//! A connection has at most one [`Body`] pending, told by `Flags::FILE`. While it is, nothing is
//! polled, read or appended there: the next request waits for it as for any answer.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::vec::Vec;

use lodger_backend::{File, Meta, Micros, Net, Ready};

use super::Handle;
use super::core::Core;
use super::handler::http::ExchangeId;
use super::id::{Reason, SendError};
use super::slot::{Flags, Slot};
use crate::Limits;
use crate::io::{Pool, Tx};
use crate::proto::h1::{self, Length};

/// What one connection may send of a file before others have their turn, in bytes.
const WINDOW: u64 = 512 << 10;
/// What is read into memory at once where the system cannot send a file itself, in bytes.
const COPY: u64 = 32 << 10;
/// A part that goes out in the same `send` as its head, in bytes: one copy is less than another
/// system call.
const SHORT: u64 = 16 << 10;

/// An open file, closed with the last of its holders.
pub(crate) struct OpenFile {
    net: Rc<dyn Net>,
    file: File,
}

impl OpenFile {
    fn file(&self) -> File {
        self.file
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.net.close_file(self.file);
    }
}

impl core::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.file.fmt(f)
    }
}

/// A part of a file, and the text before it.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) text: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// The body of an answer: parts of one file.
#[derive(Debug)]
pub(crate) struct Body {
    file: Rc<OpenFile>,
    offset: u64,
    left: u64,
    /// What follows, the next one last.
    rest: Vec<Part>,
    /// The system does not send this file to this socket.
    copies: bool,
}

impl Body {
    /// Makes a body of `len` bytes from `offset` on.
    pub(crate) fn new(file: Rc<OpenFile>, offset: u64, len: u64) -> Self {
        Self { file, offset, left: len, rest: Vec::new(), copies: false }
    }

    /// Makes a body of several parts.
    pub(crate) fn parts(file: Rc<OpenFile>, mut parts: Vec<Part>) -> Self {
        parts.reverse();
        Self { file, offset: 0, left: 0, rest: parts, copies: false }
    }

    /// Gives how many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        let rest = self.rest.iter().map(|part| (part.text.len() as u64).saturating_add(part.len));
        rest.fold(self.left, u64::saturating_add)
    }

    /// Whether it goes out with its head.
    pub(crate) fn is_short(&self) -> bool {
        self.left <= SHORT && self.rest.is_empty()
    }

    fn is_over(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }

    /// Appends up to `most` bytes of the part under way to the output.
    ///
    /// # Errors
    ///
    /// The system's; `UnexpectedEof` if the file has become shorter.
    pub(crate) fn copy(&mut self, net: &dyn Net, tx: &mut Tx<'_>, most: u64) -> io::Result<()> {
        let mut want = self.left.min(most);
        while want > 0 {
            let size = usize::try_from(want).unwrap_or(usize::MAX);
            let n = read_behind(net, self.file.file(), self.offset, tx.buf(size), size)?;
            self.took(n);
            want = want.saturating_sub(n as u64);
        }
        Ok(())
    }

    /// Appends all of a short body.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy).
    pub(crate) fn copy_all(mut self, net: &dyn Net, tx: &mut Tx<'_>) -> io::Result<()> {
        self.copy(net, tx, u64::MAX)
    }

    /// Goes on to the next part where one is over.
    fn next_part(&mut self, tx: &mut Tx<'_>) {
        if self.left == 0
            && let Some(part) = self.rest.pop()
        {
            tx.put(&part.text);
            self.offset = part.offset;
            self.left = part.len;
        }
    }

    fn took(&mut self, n: usize) {
        self.offset = self.offset.saturating_add(n as u64);
        self.left = self.left.saturating_sub(n as u64);
    }
}

/// Reads up to `size` bytes behind what is in `buf`.
fn read_behind(
    net: &dyn Net,
    file: File,
    offset: u64,
    buf: &mut Vec<u8>,
    size: usize,
) -> io::Result<usize> {
    let end = buf.len();
    buf.resize(end + size, 0);
    let read = match net.read_at(file, offset, buf.get_mut(end..).unwrap_or_default()) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
        read => read,
    };
    buf.truncate(end + read.as_ref().map_or(0, |n| *n));
    read
}

/// For servers of files.
impl Handle {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn open_dir(&self, path: &Path) -> io::Result<OpenFile> {
        let file = self.0.net.open_dir(path)?;
        Ok(OpenFile { net: Rc::clone(&self.0.net), file })
    }

    /// Opens what is below a directory: see [`Net::open_beneath`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn open_beneath(&self, root: &OpenFile, path: &str) -> io::Result<(OpenFile, Meta)> {
        let (file, meta) = self.0.net.open_beneath(root.file, path)?;
        Ok((OpenFile { net: Rc::clone(&self.0.net), file }, meta))
    }

    /// Answers with parts of a file: a short one at once, a long one behind its head.
    pub(crate) fn answer_file(
        &self,
        id: ExchangeId,
        status: u16,
        fields: &[u8],
        body: Body,
    ) -> Result<(), SendError> {
        let net = &*self.0.net;
        let rest = self.exchange(id, |http, tx, date| {
            let length = Length::Known(body.len());
            let date = Some(date);
            http.respond(tx, &h1::Response { status, fields, length, date, close: false })?;
            let wanted = http.lend(body.len())?;
            http.finish(tx)?;
            Ok(match wanted {
                true if body.is_short() => body.copy_all(net, tx).map(|()| None),
                true => Ok(Some(body)),
                false => Ok(None),
            })
        })?;
        match rest {
            Ok(None) => {}
            Ok(Some(body)) => self.core().put_file(id.conn().index, body),
            // The length has been announced: only the end of the connection tells the peer.
            Err(e) => self.core().abort(id.conn().index, Reason::Io(e.kind())),
        }
        Ok(())
    }

    /// Gives the seconds since 1970.
    pub(crate) fn unix_time(&self) -> u64 {
        self.0.net.unix_time()
    }

    /// Gives a number that a peer cannot guess.
    pub(crate) fn unguessable(&self) -> u64 {
        let mut core = self.core();
        let mut word = || u64::from(core.entropy.next(&*self.0.net));
        word() << 32 | word()
    }
}

impl Core {
    /// Has a file sent behind the output of a connection.
    pub(crate) fn put_file(&mut self, index: u32, body: Body) {
        let now = self.now;
        if let Some(extra) = self.extra(index) {
            extra.file = Some(body);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.flags.set(Flags::FILE);
            slot.since = now;
        }
    }
}

impl Slot {
    /// As [`flush`](Self::flush), with a file behind the queue.
    #[cold]
    pub(super) fn flush_file(
        &mut self,
        net: &dyn Net,
        pool: &mut Pool,
        now: Micros,
        limits: &Limits,
    ) -> u64 {
        let mut sent = 0;
        if self.out.is_empty() && self.ready.is_write() {
            self.refill(net, pool);
        }
        if !self.out.is_empty() {
            sent += self.flush_bytes(net, pool, now, limits);
        }
        if self.out.is_empty() && self.ready.is_write() && !self.flags.has(Flags::FAILED) {
            sent += self.send_window(net);
        }
        self.file_progress(sent, now);
        sent
    }

    /// Puts what cannot be sent from the file itself into the queue: the text between parts,
    /// short parts, and a window of any where the system does not send files.
    pub(super) fn refill(&mut self, net: &dyn Net, pool: &mut Pool) {
        let Self { out, extra, flags, .. } = self;
        let Some(body) = extra.as_mut().and_then(|extra| extra.file.as_mut()) else { return };
        let mut tx = Tx::new(out, pool);
        body.next_part(&mut tx);
        if !body.copies && body.left > SHORT && !flags.has(Flags::CHANNEL) {
            return;
        }
        if let Err(e) = body.copy(net, &mut tx, COPY) {
            self.fail(e.kind());
        }
    }

    /// Puts a part of a file into the queue of a stream, which no system call can send.
    #[cfg(feature = "h2")]
    pub(super) fn refill_stream(&mut self, net: &dyn Net, pool: &mut Pool, now: Micros) {
        if let Some(body) = self.extra.as_mut().and_then(|extra| extra.file.as_mut()) {
            body.copies = true;
        }
        self.refill(net, pool);
        self.file_progress(1, now);
    }

    /// Has the system send one window of the file; gives how many bytes it took.
    fn send_window(&mut self, net: &dyn Net) -> u64 {
        let body = self.extra.as_mut().and_then(|extra| extra.file.as_mut());
        let (Some(sock), Some(body)) = (self.sock, body) else { return 0 };
        if body.left == 0 || body.copies {
            return 0;
        }
        let window = usize::try_from(body.left.min(WINDOW)).unwrap_or(usize::MAX);
        match net.send_file(sock, body.file.file(), body.offset, window) {
            // The length has been announced: only the end of the connection tells the peer.
            Ok(0) => self.fail(io::ErrorKind::UnexpectedEof),
            Ok(n) => {
                body.took(n);
                self.sent += n as u64;
                return n as u64;
            }
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock => self.ready = self.ready & !Ready::WRITE,
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => body.copies = true,
                kind => self.fail(kind),
            },
        }
        0
    }

    pub(super) fn fail(&mut self, why: io::ErrorKind) {
        self.why = Reason::Io(why);
        self.flags.set(Flags::FAILED);
    }

    /// Notes how far it got: the stall clock, and the end of the file.
    pub(super) fn file_progress(&mut self, sent: u64, now: Micros) {
        let body = self.extra.as_ref().and_then(|extra| extra.file.as_ref());
        if body.is_none_or(Body::is_over) {
            self.flags.clear(Flags::FILE);
            // The next request may be waiting, and the idle time begins.
            self.flags.set(Flags::KICK);
            if let Some(extra) = &mut self.extra {
                extra.file = None;
            }
        }
        if !self.has_output() {
            self.since = Micros::ZERO;
        } else if sent > 0 || self.since == Micros::ZERO {
            self.since = now;
        }
    }
}
