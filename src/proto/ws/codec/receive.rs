//! The receiving half: RFC 6455, sections 5.4 to 5.6, 6.2 and 8.1.
//!
//! In: the input of a turn. Out: events; for control frames, an answer in the output.

use alloc::boxed::Box;

use lodger_backend::Micros;

use super::{Clock, Flags, Owed, Polled, Rare, Ws};
use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::ws::frame::{self, CONTROL_MAX, FIN, Head, Op};
use crate::proto::ws::{Event, Kind, Role, close, mask};
use crate::{Error, TokenBucket};

impl Ws {
    /// Takes a message that is one short frame and all there, as nearly all are. Everything else,
    /// broken rules included, is left to [`next_event`](Self::next_event).
    #[inline]
    pub(super) fn short_message<'a>(&mut self, rx: &mut Rx<'a>) -> Option<(Kind, &'a mut [u8])> {
        if self.incoming.is_some() || self.close_sent() {
            return None;
        }
        let &[first, second, ref rest @ ..] = rx.peek() else { return None };
        let kind = match first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        let (len, key) = match self.role {
            Role::Server => (second ^ 0x80, rest.first_chunk().copied()?),
            Role::Client => (second, [0; 4]),
        };
        let (size, len) = (if self.role == Role::Server { 6 } else { 2 }, usize::from(len));
        let most = self.config.max_frame().min(self.config.max_message());
        if len > CONTROL_MAX || size + len > rx.len() || len as u64 > most {
            return None;
        }
        let (_, data) = rx.take(size + len).split_at_mut_checked(size)?;
        if self.role == Role::Server {
            mask::apply(data, key);
        }
        Some((kind, data))
    }

    /// Takes frames until one is an event.
    #[cfg_attr(not(feature = "deflate"), expect(unused_variables, reason = "nothing is expanded"))]
    pub(super) fn next_event<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Polled<'s> {
        loop {
            #[cfg(feature = "deflate")]
            if self.has_packed(rx) {
                match self.unpack(cx, rx, scratch, tx)? {
                    Some(part) => return self.unpacked(cx, &part, scratch, tx),
                    None => continue,
                }
            }
            let event = if self.left > 0 && !rx.is_empty() {
                self.payload(cx, rx, tx)?
            } else {
                let head = match frame::parse(rx.peek(), self.role, self.extensions.has_deflate()) {
                    Ok(Some(head)) => head,
                    Ok(None) => return self.starved(rx),
                    Err(rule) => return Err(self.fail(cx, tx, close::PROTOCOL_ERROR, rule)),
                };
                if !head.op.is_control() {
                    self.data(cx, &head, rx, tx)?
                } else if head.is_whole_in(rx.len()) {
                    self.control(cx, &head, rx, tx)?
                } else {
                    return self.starved(rx);
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Ends a poll that needs more bytes, of which none may come.
    pub(super) fn starved<'a>(&mut self, rx: &Rx<'a>) -> Polled<'a> {
        if rx.eof() {
            return Err(self.lost("RFC 6455, 7.1.1: the connection ends with a Close frame"));
        }
        Ok(None)
    }

    /// Handles the header of a data frame, and its payload if all of it is there.
    fn data<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: &Head,
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        let kind = self.begin_frame(head).map_err(|(code, rule)| self.fail(cx, tx, code, rule))?;
        rx.take(head.size);
        let single = head.fin && head.op != Op::Continuation;
        let packed = self.flags.has(Flags::PACKED);
        let whole = single && head.len <= rx.len() as u64;
        if whole && !packed && !self.close_sent() {
            let data = rx.take(self.take_len(rx));
            self.left = 0;
            self.incoming = None;
            self.unmask(data);
            return self.whole(cx, kind, data, tx);
        }
        if head.len == 0 && !head.fin {
            self.spend_glitch(cx, tx)?;
        }
        #[cfg(feature = "deflate")]
        if packed {
            self.flags.set(Flags::PENDING, head.len == 0 && head.fin);
            return Ok(None);
        }
        if head.len == 0 { self.payload(cx, rx, tx) } else { Ok(None) }
    }

    /// Checks a data frame against the message it belongs to, and makes it the current one.
    #[inline]
    fn begin_frame(&mut self, head: &Head) -> Result<Kind, (u16, &'static str)> {
        let kind = match (head.op, self.incoming) {
            (Op::Continuation, Some(kind)) => kind,
            (Op::Continuation, None) => {
                return Err((close::PROTOCOL_ERROR, "RFC 6455, 5.4: nothing to continue"));
            }
            (_, Some(_)) => {
                return Err((close::PROTOCOL_ERROR, "RFC 6455, 5.4: a message inside another"));
            }
            (op, None) => self.begin_message(op, head.packed),
        };
        self.message = self.message.saturating_add(head.len);
        let slack = |most: u64| if self.flags.has(Flags::PACKED) { most / 4 + 64 } else { 0 };
        let (frame, message) = (self.config.max_frame(), self.config.max_message());
        if head.len > frame.saturating_add(slack(frame))
            || self.message > message.saturating_add(slack(message))
        {
            return Err((close::TOO_BIG, "RFC 6455, 7.4.1: larger than is taken here"));
        }
        self.fragments = self.fragments.saturating_add(u32::from(head.len > 0));
        if self.fragments > self.config.max_fragments() {
            return Err((close::POLICY, "RFC 6455, 7.4.1: more fragments than are taken here"));
        }
        self.left = head.len;
        self.key = head.mask;
        self.flags.set(Flags::FIN, head.fin);
        Ok(kind)
    }

    #[inline]
    fn begin_message(&mut self, op: Op, packed: bool) -> Kind {
        let kind = if op == Op::Text { Kind::Text } else { Kind::Binary };
        self.incoming = Some(kind);
        self.message = 0;
        self.fragments = 0;
        self.flags.set(Flags::FIRST, true);
        self.flags.set(Flags::PACKED, packed);
        kind
    }

    /// Hands on a message that is whole.
    #[inline]
    pub(super) fn whole<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        kind: Kind,
        data: &'a mut [u8],
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        if kind == Kind::Binary {
            return Ok(Some(Event::Binary(data)));
        }
        match core::str::from_utf8(data) {
            Ok(text) => Ok(Some(Event::Text(text))),
            Err(_) => Err(self.not_utf8(cx, tx)),
        }
    }

    /// Takes what is there of the current frame's payload.
    fn payload<'a>(&mut self, cx: &mut Cx<'_>, rx: &mut Rx<'a>, tx: &mut Tx<'_>) -> Polled<'a> {
        let Some(kind) = self.incoming else { return Ok(None) };
        let data = rx.take(self.take_len(rx));
        self.left -= data.len() as u64;
        let last = self.left == 0 && self.flags.has(Flags::FIN);
        if last {
            self.incoming = None;
        }
        if self.close_sent() {
            return Ok(None);
        }
        self.unmask(data);
        if kind == Kind::Text && !self.text_goes_on(data, last) {
            return Err(self.not_utf8(cx, tx));
        }
        if data.is_empty() && !last {
            return Ok(None);
        }
        let first = self.flags.has(Flags::FIRST);
        self.flags.set(Flags::FIRST, false);
        Ok(Some(Event::Data { kind, first, last, data }))
    }

    /// Takes the next part of a text; `false` if it is not UTF-8, or ends inside a code point.
    pub(super) fn text_goes_on(&mut self, part: &[u8], last: bool) -> bool {
        self.text_in.feed(part) && (self.text_in.is_complete() || !last)
    }

    /// Gives how much of the current frame's payload is there.
    pub(super) fn take_len(&self, rx: &Rx<'_>) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(rx.len())
    }

    #[inline]
    pub(super) fn unmask(&mut self, data: &mut [u8]) {
        if self.role == Role::Server {
            self.key = mask::apply(data, self.key);
        }
    }

    /// Handles a control frame, all of which is there.
    fn control<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        head: &Head,
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        rx.take(head.size);
        let payload = rx.take(usize::try_from(head.len).unwrap_or(CONTROL_MAX));
        if self.role == Role::Server {
            mask::apply(payload, head.mask);
        }
        if head.op == Op::Close {
            return self.peer_closes(cx, payload, rx, tx);
        }
        if self.close_sent() {
            return Ok(None);
        }
        if head.op == Op::Pong {
            self.answered(cx.now, payload);
            return Ok(Some(Event::Pong(payload)));
        }
        self.pong(cx, payload, tx)?;
        Ok(Some(Event::Ping(payload)))
    }

    fn peer_closes<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        payload: &'a mut [u8],
        rx: &mut Rx<'a>,
        tx: &mut Tx<'_>,
    ) -> Polled<'a> {
        let (code, reason) = match close::parse(payload) {
            Ok(said) => said,
            Err((code, rule)) => return Err(self.fail(cx, tx, code, rule)),
        };
        if !self.close_sent() {
            self.put_close(cx, tx, code, "");
        }
        self.flags.set(Flags::CLOSE_RECEIVED, true);
        self.clock = Clock::Done;
        rx.take(rx.len());
        Ok(Some(Event::Close { code, reason }))
    }

    /// Answers a Ping, now or when the output has drained.
    fn pong(&mut self, cx: &mut Cx<'_>, payload: &[u8], tx: &mut Tx<'_>) -> Result<(), Error> {
        if !self.flags.has(Flags::BLOCKED) {
            if let Some(rare) = &mut self.rare {
                rare.owed = None;
            }
            self.put(cx, tx, FIN | Op::Pong as u8, payload);
            return Ok(());
        }
        let mut owed = Owed { payload: [0; CONTROL_MAX], len: payload.len() };
        owed.payload.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
        if self.rare(cx.now).owed.replace(owed).is_some() {
            self.spend_glitch(cx, tx)?;
        }
        Ok(())
    }

    fn rare(&mut self, now: Micros) -> &mut Rare {
        let (burst, per_second) = self.config.glitch_rate();
        self.rare.get_or_insert_with(|| {
            Box::new(Rare { glitches: TokenBucket::new(burst, per_second, now), owed: None })
        })
    }

    fn spend_glitch(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<(), Error> {
        if self.rare(cx.now).glitches.spend(cx.now, 1) {
            return Ok(());
        }
        let rule = "RFC 6455, 7.4.1: more empty fragments or unread pongs than are borne";
        Err(self.fail(cx, tx, close::POLICY, rule))
    }

    #[cold]
    pub(super) fn not_utf8(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Error {
        self.fail(cx, tx, close::INVALID_DATA, "RFC 6455, 8.1: a text message is UTF-8")
    }
}
