//! Raw DEFLATE (RFC 1951) without a stream around it: engines that many connections share.
//!
//! In: bytes and room for what becomes of them. Out: how many were taken and made. An engine is
//! large (tens to hundreds of KiB), so connections borrow one for as long as they need it.
//!
//! Invariant: the memory of all engines alive, lent or kept, stays within the bound of [`Engines`];
//! one that is dropped in the middle of its work is given back by its own end.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell};
use core::fmt;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// What an inflater holds, in bytes; counted, as the next.
const INFLATER: usize = 48 << 10;
/// What a deflater holds besides its window, in bytes: hash heads, symbols, pending output.
const DEFLATER: usize = 246 << 10;
/// Engines of each kind that are kept while nobody uses them.
const KEPT: usize = 8;
/// The window that everything can be inflated with.
const WINDOW_MAX: u8 = 15;
/// How much room output is given at a time. More than six, else flush markers repeat.
const STEP: usize = 16 << 10;
/// What ends a piece that was flushed, and is not sent at a message's end: RFC 7692, 7.2.1.
pub(crate) const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
/// That, and a byte that is not taken when a block ends before it.
const PROBE: [u8; 5] = [0, 0, 0xff, 0xff, 0];

/// The input is not DEFLATE.
#[derive(Debug)]
pub(crate) struct Broken;

/// The engines of a loop, bounded in bytes.
#[derive(Debug)]
#[expect(clippy::vec_box, reason = "connections hold them boxed: a kept one moves as a pointer")]
pub(crate) struct Engines {
    inflaters: Vec<Box<Inflater>>,
    deflaters: Vec<Box<Deflater>>,
    /// What they hold together. Made with the first one: most pools never compress.
    alive: OnceCell<Rc<Cell<usize>>>,
    max: usize,
}

/// Memory that counts as long as this lives.
#[derive(Debug)]
struct Loan {
    alive: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.alive.set(self.alive.get().saturating_sub(self.bytes));
    }
}

impl Engines {
    /// Makes none yet; those it makes hold at most `max` bytes together.
    pub(crate) fn new(max: usize) -> Self {
        Self { inflaters: Vec::new(), deflaters: Vec::new(), alive: OnceCell::new(), max }
    }

    /// Gives the bytes that all engines hold, in use or not.
    pub(crate) fn held(&self) -> usize {
        self.alive.get().map_or(0, |alive| alive.get())
    }

    /// Tells whether a connection may keep an engine of each kind for itself.
    pub(crate) fn has_room_for_pair(&self) -> bool {
        self.held() + INFLATER + deflater_size(WINDOW_MAX) <= self.max
    }

    /// Lends an inflater that has seen nothing; `None` if memory is at its bound.
    pub(crate) fn inflater(&mut self) -> Option<Box<Inflater>> {
        if let Some(mut kept) = self.inflaters.pop() {
            kept.restart();
            return Some(kept);
        }
        let loan = self.loan(INFLATER, false)?;
        Some(Box::new(Inflater::new(loan)))
    }

    /// Takes an inflater back.
    pub(crate) fn keep_inflater(&mut self, inflater: Box<Inflater>) {
        if self.inflaters.len() < KEPT {
            self.inflaters.push(inflater);
        }
    }

    /// Lends a deflater that has seen nothing; `None` if memory is at its bound, unless it `must`
    /// be. `window` is 9 to 15, `level` 1 to 9; both are made to fit.
    pub(crate) fn deflater(&mut self, window: u8, level: u8, must: bool) -> Option<Box<Deflater>> {
        let (window, level) = (window.clamp(9, WINDOW_MAX), level.clamp(1, 9));
        let mut kept = self.deflaters.iter();
        if let Some(at) = kept.position(|d| d.window == window && d.level == level) {
            let mut kept = self.deflaters.swap_remove(at);
            kept.zlib.reset();
            return Some(kept);
        }
        let loan = self.loan(deflater_size(window), must)?;
        let zlib = Deflate::new(i32::from(level), false, window);
        Some(Box::new(Deflater { zlib, window, level, _loan: loan }))
    }

    /// Takes a deflater back.
    pub(crate) fn keep_deflater(&mut self, deflater: Box<Deflater>) {
        if self.deflaters.len() < KEPT {
            self.deflaters.push(deflater);
        }
    }

    fn loan(&self, bytes: usize, must: bool) -> Option<Loan> {
        let held = self.held().saturating_add(bytes);
        if held > self.max && !must {
            return None;
        }
        let alive = self.alive.get_or_init(Rc::default);
        alive.set(held);
        Some(Loan { alive: Rc::clone(alive), bytes })
    }
}

/// A window twice over, and a chain entry of two bytes for each of its bytes.
const fn deflater_size(window: u8) -> usize {
    DEFLATER + (4 << window)
}

/// Inflates one stream of messages. The window is always 15 bits, which reads every smaller one.
pub(crate) struct Inflater {
    zlib: Inflate,
    /// Of the message under way.
    taken: u64,
    made: u64,
    /// How much of [`PROBE`] was taken.
    probed: usize,
    /// The last input ended a final block: RFC 7692, section 7.2.3.4.
    ended: bool,
    _loan: Loan,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, made, .. } = self;
        f.debug_struct("Inflater").field("taken", taken).field("made", made).finish_non_exhaustive()
    }
}

impl Inflater {
    fn new(loan: Loan) -> Self {
        let zlib = Inflate::new(false, WINDOW_MAX);
        Self { zlib, taken: 0, made: 0, probed: 0, ended: false, _loan: loan }
    }

    /// Forgets everything.
    fn restart(&mut self) {
        self.zlib.reset(false);
        self.begin_message();
    }

    /// Begins another message, which may refer to those before.
    pub(crate) fn begin_message(&mut self) {
        (self.taken, self.made, self.probed, self.ended) = (0, 0, 0, false);
    }

    /// Gives the input of the message under way, in bytes.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Gives the output of the message under way, in bytes.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Inflates until `input` is taken or `room` is full; gives how much was taken and made.
    ///
    /// # Errors
    ///
    /// The input is not DEFLATE.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        room: &mut [u8],
    ) -> Result<(usize, usize), Broken> {
        let (mut taken, mut made) = (0, 0);
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let space = room.get_mut(made..).unwrap_or_default();
            let (t, m, ends) = self.step(rest, space, InflateFlush::NoFlush)?;
            taken += t;
            made += m;
            if t > 0 {
                self.ended = ends;
            }
            // A final block may be followed by others. Their references reach back to it in no
            // known encoder: a final block is what makes one begin again.
            if !ends || taken == input.len() {
                break;
            }
        }
        self.taken += taken as u64;
        self.made += made as u64;
        Ok((taken, made))
    }

    /// Ends the message, whose input was all taken; gives how much was made, and whether that was
    /// the rest. If not, `room` is full and it is to be called again.
    ///
    /// # Errors
    ///
    /// The message ends in the middle of a block.
    pub(crate) fn finish(&mut self, room: &mut [u8]) -> Result<(usize, bool), Broken> {
        let mut made = 0;
        // A message without a byte is what some encoders make of one without content.
        while !self.ended && self.taken > 0 && self.probed != FLUSHED.len() {
            let space = room.get_mut(made..).unwrap_or_default();
            if space.is_empty() {
                return Ok((made, false));
            }
            let probe = PROBE.get(self.probed..).unwrap_or_default();
            let (t, m, ends) = self.step(probe, space, InflateFlush::Block)?;
            self.probed += t;
            made += m;
            self.made += m as u64;
            if ends || self.probed > FLUSHED.len() || t + m == 0 {
                return Err(Broken);
            }
        }
        Ok((made, true))
    }

    /// Gives what was taken and made, and whether the stream ended; it is then begun again.
    fn step(
        &mut self,
        input: &[u8],
        room: &mut [u8],
        flush: InflateFlush,
    ) -> Result<(usize, usize, bool), Broken> {
        let before = (self.zlib.total_in(), self.zlib.total_out());
        let status = self.zlib.decompress(input, room, flush).map_err(|_| Broken)?;
        let taken = self.zlib.total_in().saturating_sub(before.0);
        let made = self.zlib.total_out().saturating_sub(before.1);
        let ends = status == Status::StreamEnd;
        if ends {
            self.zlib.reset(false);
        }
        let within = |n: u64, most: usize| usize::try_from(n).unwrap_or(most).min(most);
        Ok((within(taken, input.len()), within(made, room.len()), ends))
    }
}

/// Deflates pieces, each flushed to a byte's end.
pub(crate) struct Deflater {
    zlib: Deflate,
    window: u8,
    level: u8,
    _loan: Loan,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, level, .. } = self;
        let mut out = f.debug_struct("Deflater");
        out.field("window", window).field("level", level).finish_non_exhaustive()
    }
}

impl Deflater {
    /// Appends what `input` becomes, [`FLUSHED`] at its end included. `false` if that would be more
    /// than `most` bytes: `out` then has bytes of no use behind what it had.
    pub(crate) fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>, most: usize) -> bool {
        let begin = out.len();
        let mut taken = 0;
        loop {
            let at = out.len();
            if at - begin > most {
                self.drain(out);
                return false;
            }
            let room = STEP.min(input.len().saturating_sub(taken) + 64);
            out.resize(at + room, 0);
            let before = (self.zlib.total_in(), self.zlib.total_out());
            let rest = input.get(taken..).unwrap_or_default();
            let space = out.get_mut(at..).unwrap_or_default();
            let done = self.zlib.compress(rest, space, DeflateFlush::SyncFlush);
            let made = self.zlib.total_out().saturating_sub(before.1);
            let made = usize::try_from(made).unwrap_or(room).min(room);
            taken += usize::try_from(self.zlib.total_in() - before.0).unwrap_or(rest.len());
            out.truncate(at + made);
            if done.is_err() {
                return false;
            }
            if made < room {
                return out.len() - begin <= most;
            }
        }
    }

    /// Has the engine give what it still holds. zlib-rs 0.6.8 keeps the place of output that was not
    /// taken over a reset, and panics when that has used its buffer up.
    fn drain(&mut self, out: &mut Vec<u8>) {
        let at = out.len();
        out.resize(at + STEP, 0);
        let space = out.get_mut(at..).unwrap_or_default();
        loop {
            let before = self.zlib.total_out();
            let done = self.zlib.compress(&[], space, DeflateFlush::SyncFlush);
            if done.is_err() || self.zlib.total_out() - before < space.len() as u64 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
