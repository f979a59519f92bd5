//! The answer of one exchange, written from anywhere by its id.

use super::Orphan;
use super::http::{Answer, Outcome};
use crate::Error;
use crate::proto::h1::{self, Length};
use crate::proto::stack::{Answering, Stack};
use crate::runtime::Handle;
use crate::runtime::id::{ConnId, SendError};
use crate::runtime::slot::{Flags, State};

/// Names one request and its answer: a connection's requests follow each other, so the connection
/// alone does not. `Copy`; says Gone once the answer is complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExchangeId {
    conn: ConnId,
    seq: u32,
}

impl ExchangeId {
    /// Names the connection.
    pub fn conn(self) -> ConnId {
        self.conn
    }
}

impl Handle {
    /// Starts the response of an exchange: status and fields. A `content-length` field sets the
    /// body's length, else it is chunked (or ends with the connection, for HTTP/1.0).
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` for a second head, or a field that may not be.
    pub fn head(
        &self,
        id: ExchangeId,
        status: u16,
        fields: &[(&str, &str)],
    ) -> Result<(), SendError> {
        let mut lines = self.core().pool.take();
        let mut length = Length::Unknown;
        let mut made = Ok(());
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("content-length") {
                match value.parse() {
                    Ok(n) => length = Length::Known(n),
                    Err(_) => made = Err(Error::misuse("content-length is not a number")),
                }
            } else if made.is_ok() {
                made = h1::put_field(&mut lines, name, value);
            }
        }
        let sent = made.map_err(SendError::from).and_then(|()| {
            self.exchange(id, |http, tx, date| {
                let date = Some(date);
                let fields = &lines;
                http.respond(tx, &h1::Response { status, fields, length, date, close: false })
            })
        });
        self.core().pool.put(lines);
        sent
    }

    /// Sends an interim response (RFC 9110, section 15.2) ahead of the final one: 103 with `link`
    /// fields for what a browser may fetch meanwhile (RFC 8297), 102, or any other from 104 to 199.
    ///
    /// It goes out with what else this turn sends, so it is of use only where the final response
    /// takes longer. HTTP/1.0 knows none, and is sent none. Old clients of HTTP/1.1 take one for
    /// the final response (RFC 8297, section 3): send it to those that are known to understand.
    ///
    /// ```
    /// use lodger::http;
    ///
    /// let server = http::Server::new().get("/", |_req, res| {
    ///     let hints = [("link", "</style.css>; rel=preload; as=style")];
    ///     let _ = res.interim(103, &hints);
    ///     let h = res.runtime().clone();
    ///     let (answer, later) = res.later();
    ///     h.after(std::time::Duration::from_millis(50), move |_| {
    ///         let _ = later.answer(|res| res.html("<link rel=stylesheet href=/style.css>"));
    ///     });
    ///     answer
    /// });
    /// # drop(server);
    /// ```
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Full` if output waits already; `Misuse` behind the head, for another
    /// status (100 is sent by itself when a body is read, 101 belongs to upgrades), or a field that
    /// may not be.
    pub fn interim(
        &self,
        id: ExchangeId,
        status: u16,
        fields: &[(&str, &str)],
    ) -> Result<(), SendError> {
        if status == 100 {
            return Err(Error::misuse("100 is sent when the body is read").into());
        }
        let full = {
            let core = self.core();
            before_head(&core, id.conn.index) > core.limits.io.queue_high
        };
        if full {
            return Err(SendError::Full { room: 0 });
        }
        let mut lines = self.core().pool.take();
        let made =
            fields.iter().try_for_each(|(name, value)| h1::put_field(&mut lines, name, value));
        let sent = made
            .map_err(SendError::from)
            .and_then(|()| self.exchange(id, |http, tx, _| http.interim(tx, status, &lines)));
        self.core().pool.put(lines);
        sent
    }

    /// Sends a piece of an exchange's response body, all or nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` before the head, or beyond the declared length.
    pub fn write(&self, id: ExchangeId, chunk: &[u8]) -> Result<(), SendError> {
        let core = self.core();
        let high = core.limits.io.queue_high;
        let queued = core.slots.get(id.conn.index).map_or(0, |slot| slot.out.len());
        if chunk.len() > core.limits.io.send {
            return Err(Error::misuse("the chunk is over the limit for one send").into());
        }
        drop(core);
        if queued > high {
            return Err(SendError::Full { room: 0 });
        }
        self.exchange(id, |http, tx, _| http.body(tx, chunk))
    }

    /// Completes an exchange's response.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; `Misuse` if the body is shorter than declared: the connection closes
    /// then, so that the peer can tell.
    pub fn finish(&self, id: ExchangeId) -> Result<(), SendError> {
        self.exchange(id, |http, tx, _| http.finish(tx))
    }

    /// Completes an exchange's response with trailers (RFC 9110, section 6.5): names and values
    /// that are known only behind the body, such as a digest or what it cost.
    ///
    /// They are sent behind chunks in HTTP/1.1, and in HTTP/2. A response to HEAD, one with status
    /// 204 or 304, one in HTTP/1.0, and one in HTTP/1.1 whose head named a `content-length` have no
    /// place for them: they are dropped, as any recipient on the way may do (section 6.5.1). So
    /// nothing must depend on them, unless the request said `te: trailers`. A `trailer` field in
    /// the head may announce their names (section 6.6.2).
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish); `Misuse`, and the response goes on, if a name or value may not
    /// be, or not behind the body: framing, routing, authentication, conditions, caching, and
    /// what the content is (`transfer-encoding`, `host`, `set-cookie`, `content-type` …).
    pub fn finish_with(&self, id: ExchangeId, trailers: &[(&str, &str)]) -> Result<(), SendError> {
        let mut lines = self.core().pool.take();
        let made =
            trailers.iter().try_for_each(|(name, value)| h1::put_trailer(&mut lines, name, value));
        let sent = made
            .map_err(SendError::from)
            .and_then(|()| self.exchange(id, |http, tx, _| http.finish_with(tx, &lines)));
        self.core().pool.put(lines);
        sent
    }

    /// Whether an exchange's answer is still to be completed.
    pub(crate) fn awaits(&self, id: ExchangeId) -> bool {
        let mut core = self.core();
        core.open(id.conn).is_some_and(|slot| slot.seq == id.seq && slot.stack.awaits_answer())
    }

    /// Works on the answer of an exchange that is under way.
    pub(in crate::runtime) fn exchange<T>(
        &self,
        id: ExchangeId,
        f: impl FnOnce(&mut Answering<'_>, &mut crate::io::Tx<'_>, &[u8; 29]) -> Result<T, Error>,
    ) -> Result<T, SendError> {
        let mut core = self.core();
        let core = &mut *core;
        let now = self.time(core);
        let slot = core
            .slots
            .get_mut(id.conn.index)
            .filter(|s| s.generation == id.conn.generation && s.state == State::Open)
            .filter(|s| s.seq == id.seq)
            .ok_or(SendError::Gone)?;
        if slot.flags.has(Flags::SHARED) {
            let mut random = || core.entropy.next(&*self.0.net);
            let mut cx = crate::proto::Cx { now, limits: &core.limits, random: &mut random };
            slot.put_pending(&mut cx, &mut core.pool, &mut core.extras, usize::MAX);
        }
        #[cfg(feature = "h2")]
        if slot.flags.has(Flags::STREAM) {
            let date = *core.date.get(now, &*self.0.net);
            let done = core.answer_on_stream(id.conn.index, |http, tx| f(http, tx, &date))?;
            self.touch(core, id.conn.index, !stream_goes_on(core, id.conn.index));
            return Ok(done);
        }
        let Stack::H1(http) = &mut slot.stack else { return Err(SendError::Gone) };
        if !http.awaits_answer() {
            return Err(SendError::Gone);
        }
        let date = core.date.get(now, &*self.0.net);
        let mut tx = crate::io::Tx::new(&mut slot.out, &mut core.pool);
        let done = f(&mut Answering::H1(&mut *http), &mut tx, date)?;
        let over = !http.awaits_answer();
        if !slot.is_seen(over) || core.modal != 0 {
            self.touch_unseen(core, id.conn.index, over);
        }
        Ok(done)
    }

    pub(super) fn answer_whole(
        &self,
        id: ExchangeId,
        status: u16,
        fields: &[u8],
        body: &[u8],
    ) -> Result<(), SendError> {
        self.exchange(id, |http, tx, date| {
            let length = Length::Known(body.len() as u64);
            let date = Some(date);
            http.respond_whole(
                tx,
                &h1::Response { status, fields, length, date, close: false },
                body,
            )
        })
    }

    /// Answers for somebody who did not. Nothing to do if the answer is complete or the peer gone;
    /// a response that was begun ends short, with its connection.
    pub(super) fn answer_500(&self, id: ExchangeId) {
        let mut text = [0; 64];
        let text = crate::runtime::text::error_line(&mut text, 500);
        let fields = b"Content-Type: text/plain; charset=utf-8\r\n";
        if self.answer_whole(id, 500, fields, text).is_err() && self.awaits(id) {
            self.abort(id.conn);
        }
    }

    /// Puts the handler of a late answer into its place, from the next turn on.
    pub(super) fn install(&self, id: ExchangeId, answer: Answer) {
        let handler = match answer.0 {
            Outcome::Sent => return,
            Outcome::Stream(handler) => handler,
            // A response that came late refuses to switch.
            #[cfg(feature = "ws")]
            Outcome::Ws(handler, ..) => return self.orphan(Orphan::Ws(handler)),
        };
        let unheard = {
            let mut core = self.core();
            let known = core.open(id.conn).is_some_and(|slot| slot.seq == id.seq);
            match core.extra(id.conn.index).filter(|_| known) {
                Some(extra) => extra.stream.replace(handler),
                None => Some(handler),
            }
        };
        if let Some(unheard) = unheard {
            self.orphan(Orphan::Http(unheard));
        }
        let mut core = self.core();
        core.kick(id.conn.index);
        self.ask(&mut core);
    }
}

/// Gives how many bytes wait where the head of an exchange goes out.
fn before_head(core: &crate::runtime::core::Core, index: u32) -> usize {
    let Some(slot) = core.slots.get(index) else { return 0 };
    #[cfg(feature = "h2")]
    if slot.flags.has(Flags::STREAM) {
        return core.slots.get(slot.link.parent).map_or(0, |parent| parent.out.len());
    }
    slot.out.len()
}

/// Whether an exchange on a stream still has something to come.
#[cfg(feature = "h2")]
fn stream_goes_on(core: &crate::runtime::core::Core, index: u32) -> bool {
    core.slots.get(index).is_some_and(|slot| match &slot.stack {
        Stack::Exchange(exchange) => exchange.awaits_answer(),
        _ => true,
    })
}

impl ExchangeId {
    pub(crate) fn new(conn: ConnId, seq: u32) -> Self {
        Self { conn, seq }
    }

    pub(crate) fn seq(self) -> u32 {
        self.seq
    }

    /// Gives all that a connection may have.
    #[cfg(feature = "ws")]
    pub(crate) fn all_of(conn: ConnId) -> core::ops::RangeInclusive<Self> {
        Self { conn, seq: 0 }..=Self { conn, seq: u32::MAX }
    }
}
