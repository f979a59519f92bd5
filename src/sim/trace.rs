//! What happened, as a number and, if asked for, as text.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use lodger_backend::Micros;

use super::faults::mix;

#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Notes that `what` happened to `whom`: how many bytes, which error, which directions.
    pub(super) fn note(&mut self, now: Micros, what: &str, whom: u64, how: u64) {
        for byte in what.bytes() {
            self.hash = self.hash.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        for word in [now.get(), whom, how] {
            self.hash = mix(self.hash ^ word);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now:?} {what} #{whom} {how}"));
        }
    }

    /// Notes which bytes they were.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.hash = mix(self.hash ^ word);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn record(&mut self) {
        self.lines.get_or_insert_default();
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(mem::take).unwrap_or_default()
    }
}
