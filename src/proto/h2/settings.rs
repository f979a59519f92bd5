//! Settings: RFC 9113, section 6.5; RFC 8441, section 3; RFC 9218, section 2.1.

use alloc::vec::Vec;

use super::frame::{self, WINDOW_MAX};
use super::{Code, Fault, Role};
use crate::limits::H2Limits;

const TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const FRAME_SIZE: u16 = 5;
const LIST_SIZE: u16 = 6;
const CONNECT: u16 = 8;
const NO_OLD_PRIORITIES: u16 = 9;

/// Streams that a client opens before it knows how many it may.
const EARLY_STREAMS: u32 = 16;
/// Streams that a client opens at once where the server sets no limit.
const STREAMS: u32 = 100;

/// Entries that one frame may have.
const ENTRIES_MAX: usize = 32;

/// What the peer has announced, as far as it matters to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peers {
    pub(super) table: usize,
    pub(super) streams: u32,
    pub(super) window: i64,
    pub(super) frame: usize,
    /// CONNECT with `:protocol` is understood.
    pub(super) connect: bool,
}

impl Peers {
    /// What holds until its SETTINGS have come. Streams are fewer than most servers let us have:
    /// some end the connection when there are too many, and none is told before it has looked.
    pub(super) const fn new() -> Self {
        Self { table: 4096, streams: EARLY_STREAMS, window: 65_535, frame: 16_384, connect: false }
    }

    /// Its first SETTINGS have come: what they do not say holds from now on.
    pub(super) const fn settle(&mut self) {
        self.streams = STREAMS;
    }

    /// Takes in the entries of a frame.
    pub(super) fn apply(&mut self, payload: &[u8], role: Role) -> Result<(), Fault> {
        let (entries, _) = payload.as_chunks::<6>();
        if entries.len() > ENTRIES_MAX {
            let rule = "the limit of entries in a SETTINGS frame";
            return Err(Fault::all(Code::EnhanceYourCalm, rule));
        }
        for &[a, b, value @ ..] in entries {
            self.set(u16::from_be_bytes([a, b]), u32::from_be_bytes(value), role)?;
        }
        Ok(())
    }

    fn set(&mut self, id: u16, value: u32, role: Role) -> Result<(), Fault> {
        let size = usize::try_from(value).unwrap_or(usize::MAX);
        match id {
            TABLE_SIZE => self.table = size,
            // A server may not ask for pushes at all.
            ENABLE_PUSH if value > u32::from(role == Role::Server) => {
                return Err(wrong("RFC 9113, 6.5.2: ENABLE_PUSH is 0, or 1 of a client"));
            }
            MAX_STREAMS => self.streams = value,
            WINDOW if i64::from(value) > WINDOW_MAX => {
                let rule = "RFC 9113, 6.5.2: a window is below 2^31";
                return Err(Fault::all(Code::FlowControl, rule));
            }
            WINDOW => self.window = i64::from(value),
            FRAME_SIZE if !(16_384..1 << 24).contains(&value) => {
                return Err(wrong("RFC 9113, 6.5.2: MAX_FRAME_SIZE is 2^14 to 2^24 - 1"));
            }
            FRAME_SIZE => self.frame = size,
            CONNECT if value > 1 || value == 0 && self.connect => {
                return Err(wrong("RFC 8441, 3: ENABLE_CONNECT_PROTOCOL is 0, or 1 and stays"));
            }
            CONNECT => self.connect = value == 1,
            _ => {}
        }
        Ok(())
    }
}

const fn wrong(rule: &'static str) -> Fault {
    Fault::all(Code::Protocol, rule)
}

/// Appends our own SETTINGS, and the update that makes the connection's window what it is to be.
pub(super) fn put_own(out: &mut Vec<u8>, role: Role, limits: &H2Limits) {
    let own = u32::try_from(limits.list).unwrap_or(u32::MAX);
    let mut entries = [
        (WINDOW, limits.window),
        (LIST_SIZE, own),
        (NO_OLD_PRIORITIES, 1),
        (MAX_STREAMS, limits.streams),
        (CONNECT, 1),
    ];
    let count = match role {
        Role::Server => entries.len(),
        Role::Client => {
            entries[3] = (ENABLE_PUSH, 0);
            4
        }
    };
    let mut payload = [0; 30];
    for (place, (id, value)) in payload.as_chunks_mut::<6>().0.iter_mut().zip(entries) {
        let ([a, b], [c, d, e, f]) = (id.to_be_bytes(), value.to_be_bytes());
        *place = [a, b, c, d, e, f];
    }
    let payload = payload.get(..count * 6).unwrap_or_default();
    frame::put(out, frame::SETTINGS, 0, 0, payload);
    let more = limits.connection_window.saturating_sub(65_535);
    if more > 0 {
        frame::put(out, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    }
}
