//! What must hold for any bytes, cut anywhere. The tests run it over a corpus and over random
//! streams, a fuzzer over what it finds.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Reader;
use crate::proto::split::pieces;

/// Checks one input of a fuzzer: no panic, the same however it is cut, within the limit.
///
/// # Panics
///
/// Something does not hold.
pub fn fuzz_events(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    for most in [1 << 20, 24] {
        let whole = all(most, &[stream]);
        assert_eq!(whole, all(most, &pieces(stream, || 1)), "byte by byte");
        assert_eq!(whole, all(most, &pieces(stream, || usize::from(size) % 16 + 2)), "cut");
        let fits = |event: &[String; 3]| event[1].len() <= 3 * most && event[0].len() <= 3 * most;
        assert!(whole.events.iter().all(fits), "a limit");
    }
}

/// What a stream came to.
#[derive(PartialEq, Debug)]
pub(super) struct All {
    /// Name, data and id of each.
    pub(super) events: Vec<[String; 3]>,
    pub(super) failed: bool,
    pub(super) id: String,
    pub(super) retry: Option<Duration>,
}

pub(super) fn all(most: usize, pieces: &[&[u8]]) -> All {
    let mut reader = Reader::new(most, "before");
    let (mut events, mut failed) = (Vec::new(), false);
    'stream: for mut piece in pieces.iter().copied() {
        loop {
            match reader.poll(&mut piece) {
                Ok(Some(event)) => {
                    events.push([event.name.into(), event.data.into(), event.id.into()]);
                }
                Ok(None) => break,
                Err(_) => {
                    failed = true;
                    break 'stream;
                }
            }
        }
        assert!(piece.is_empty(), "all is taken");
        assert!(reader.keeps_within(most), "more is kept");
    }
    All { events, failed, id: reader.last_id().into(), retry: reader.retry() }
}
