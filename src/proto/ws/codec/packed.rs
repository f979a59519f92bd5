//! Compressed messages: RFC 7692, sections 6 and 7.2.
//!
//! In: payload of frames whose message began with RSV1, or messages to send. Out: parts of the
//! expanded message, at most 16 KiB each, or shorter payload.
//!
//! Invariant: output is checked against its limits before more of it is made.
//! Invariant: an engine is held for no longer than its message, unless takeover was agreed on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Flags, Ws};
use crate::Error;
use crate::io::deflate::{Broken, FLUSHED, Inflater};
use crate::io::{Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::ws::{Deflate, Event, Kind, Role, close, mask};

/// From how much expanded payload on its ratio is looked at, in bytes.
const RATIO_FROM: u64 = 64 << 10;
/// After how much it is looked at again, which is also the most of one part.
const STEP: u64 = 16 << 10;
const NOT_DEFLATE: &str = "RFC 7692, 7.2.2: payload is DEFLATE";

/// A part of a message, expanded into the scratch.
pub(super) struct Part {
    kind: Kind,
    first: bool,
    last: bool,
    len: usize,
}

impl Ws {
    /// Whether the message being received has compressed payload at hand.
    pub(super) fn has_packed(&self, rx: &Rx<'_>) -> bool {
        self.flags.has(Flags::PACKED)
            && (self.flags.has(Flags::PENDING) || self.left > 0 && !rx.is_empty())
    }

    /// Expands what is there of the current frame's payload, as far as the scratch has room.
    pub(super) fn unpack(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'_>,
        scratch: &mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Part>, Error> {
        let Some(kind) = self.incoming else { return Ok(None) };
        if self.close_sent() {
            self.drop_payload(rx);
            return Ok(None);
        }
        let held = self.inflating.take().or_else(|| tx.pool().engines().inflater());
        let Some(mut inflater) = held else {
            let rule = "RFC 6455, 7.4.1: too many compressed messages are under way";
            return Err(self.fail(cx, tx, close::TRY_AGAIN, rule));
        };
        let expanded = self.expand(&mut inflater, rx, scratch.bytes());
        let (len, last) = match expanded {
            Ok(made) => made,
            Err(Broken) => return Err(self.fail(cx, tx, close::INVALID_DATA, NOT_DEFLATE)),
        };
        let first = self.flags.has(Flags::FIRST);
        let over = self.over(&inflater);
        let part = Part { kind, first, last, len: len - over };
        let text = scratch.bytes().get(..part.len).unwrap_or_default();
        let unchecked = kind == Kind::Text && (over > 0 || !part.is_whole());
        if unchecked && !self.text_goes_on(text, last && over == 0) {
            return Err(self.not_utf8(cx, tx));
        }
        if let Err(rule) = self.check_size(&inflater, over, last) {
            return Err(self.fail(cx, tx, close::TOO_BIG, rule));
        }
        self.put_away(inflater, last, tx);
        if len == 0 && !last {
            return Ok(None);
        }
        self.flags.set(Flags::FIRST, false);
        Ok(Some(part))
    }

    /// Keeps the inflater for what follows, or gives it back.
    fn put_away(&mut self, mut inflater: Box<Inflater>, last: bool, tx: &mut Tx<'_>) {
        if last {
            self.end_packed();
            inflater.begin_message();
        }
        if !last || self.extensions.keeps_in() {
            self.inflating = Some(inflater);
        } else {
            tx.pool().engines().keep_inflater(inflater);
        }
    }

    /// Makes the event of a part.
    pub(super) fn unpacked<'s>(
        &mut self,
        cx: &mut Cx<'_>,
        part: &Part,
        scratch: &'s mut Scratch,
        tx: &mut Tx<'_>,
    ) -> Result<Option<Event<'s>>, Error> {
        let data = scratch.bytes().get_mut(..part.len).unwrap_or_default();
        if part.is_whole() {
            return self.whole(cx, part.kind, data, tx);
        }
        let &Part { kind, first, last, .. } = part;
        Ok(Some(Event::Data { kind, first, last, data }))
    }

    /// Gives how much was made, and whether that ends the message. Room ends where output is looked
    /// at, so that what is found there does not depend on how the input was cut.
    fn expand(
        &mut self,
        inflater: &mut Inflater,
        rx: &mut Rx<'_>,
        room: &mut [u8],
    ) -> Result<(usize, bool), Broken> {
        let most = self.config.max_message().saturating_add(1) - inflater.made();
        let space = (STEP - inflater.made() % STEP).min(most);
        let space = usize::try_from(space).unwrap_or(room.len());
        let room = room.get_mut(..space).unwrap_or_default();
        let mut made = self.inflate_payload(inflater, rx, room)?;
        let mut last = self.left == 0 && self.flags.has(Flags::FIN) && made < room.len();
        if last {
            let rest = room.get_mut(made..).unwrap_or_default();
            let (more, done) = inflater.finish(rest)?;
            made += more;
            last = done;
        }
        self.flags.set(Flags::PENDING, made == room.len() && !last);
        Ok((made, last))
    }

    /// Unmasks and inflates; what was not taken stays in `rx`, masked as it came.
    fn inflate_payload(
        &mut self,
        inflater: &mut Inflater,
        rx: &mut Rx<'_>,
        room: &mut [u8],
    ) -> Result<usize, Broken> {
        let len = self.take_len(rx);
        let key = self.key;
        let data = rx.peek_mut().get_mut(..len).unwrap_or_default();
        self.unmask(data);
        let (taken, made) = inflater.inflate(data, room)?;
        if taken < len && self.role == Role::Server {
            self.key = key;
            self.key.rotate_left(taken % 4);
            mask::apply(data.get_mut(taken..).unwrap_or_default(), self.key);
        }
        rx.take(taken);
        self.left -= taken as u64;
        Ok(made)
    }

    /// How many bytes the message has too many.
    fn over(&self, inflater: &Inflater) -> usize {
        let over = inflater.made().saturating_sub(self.config.max_message());
        usize::try_from(over).unwrap_or(usize::MAX)
    }

    fn check_size(&self, inflater: &Inflater, over: usize, last: bool) -> Result<(), &'static str> {
        if over > 0 {
            return Err("RFC 6455, 7.4.1: larger than is taken here");
        }
        let (taken, made) = (inflater.taken(), inflater.made());
        let looks = made > RATIO_FROM && (last || made % STEP == 0);
        if looks && made > taken.saturating_mul(self.rules().max_ratio()) {
            return Err("RFC 7692, 8: expands to more than its length allows");
        }
        Ok(())
    }

    /// Drops payload that arrives after our Close.
    fn drop_payload(&mut self, rx: &mut Rx<'_>) {
        let len = rx.take(self.take_len(rx)).len();
        self.left -= len as u64;
        self.flags.set(Flags::PENDING, false);
        if self.left == 0 && self.flags.has(Flags::FIN) {
            self.end_packed();
        }
    }

    fn end_packed(&mut self) {
        self.incoming = None;
        self.flags.set(Flags::PACKED, false);
        self.flags.set(Flags::PENDING, false);
    }

    /// Whether a message of `len` bytes is to be sent compressed.
    #[inline]
    pub(super) fn packs(&self, len: usize) -> bool {
        self.extensions.has_deflate()
            && self.extensions.window().is_some()
            && self.rules().compresses(len)
    }

    /// Gives the payload of a whole message, compressed; `None` if it is sent as it is.
    #[inline(never)]
    pub(super) fn pack_whole(&mut self, tx: &mut Tx<'_>, data: &[u8]) -> Option<Vec<u8>> {
        // Once a deflater that keeps its context has seen a message, the peer must see it too.
        let keeps = self.extensions.keeps_out();
        let most = if keeps { usize::MAX } else { data.len().saturating_sub(1) + FLUSHED.len() };
        self.pack(tx, data, most, true, false)
    }

    /// Gives the payload of one chunk of a message that is sent compressed; `None` if it is the
    /// first, and is not to be compressed.
    ///
    /// Without takeover each chunk is compressed for itself, so that no engine is held between two.
    #[inline(never)]
    pub(super) fn pack_chunk(
        &mut self,
        tx: &mut Tx<'_>,
        data: &[u8],
        first: bool,
        last: bool,
    ) -> Option<Vec<u8>> {
        self.pack(tx, data, usize::MAX, last, !first)
    }

    fn pack(
        &mut self,
        tx: &mut Tx<'_>,
        data: &[u8],
        most: usize,
        last: bool,
        must: bool,
    ) -> Option<Vec<u8>> {
        let window = self.extensions.window()?;
        let level = self.rules().compression_level();
        let held = self.packer.take();
        let held = held.or_else(|| tx.pool().engines().deflater(window, level, must));
        let mut deflater = held?;
        let mut packed = tx.pool().take();
        let fits = deflater.deflate(data, &mut packed, most);
        if self.extensions.keeps_out() {
            self.packer = Some(deflater);
        } else {
            tx.pool().engines().keep_deflater(deflater);
        }
        if !fits {
            tx.pool().put(packed);
            return None;
        }
        if last {
            end_message(&mut packed);
        }
        Some(packed)
    }

    /// What was configured. An agreement without it cannot be.
    fn rules(&self) -> Deflate {
        self.config.deflate_rules().unwrap_or_default()
    }
}

impl Part {
    fn is_whole(&self) -> bool {
        self.first && self.last
    }
}

/// Takes the end off that the peer puts there again: RFC 7692, section 7.2.1.
fn end_message(packed: &mut Vec<u8>) {
    if packed.ends_with(&FLUSHED) {
        packed.truncate(packed.len() - FLUSHED.len());
    }
    if packed.is_empty() {
        // The header of the block whose rest was taken off.
        packed.push(0);
    }
}

#[cfg(test)]
mod tests;
