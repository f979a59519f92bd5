//! What must hold for any blocks, for tests and for the fuzzer: nothing panics, what is made takes
//! no more than it may, and what is read and written again is the same.

use alloc::vec::Vec;

use super::{Decoder, Encoder, FIELD_OVERHEAD, Room, Sized};

/// Takes `data` apart into blocks, by lengths of a byte, and asserts what must hold.
///
/// # Panics
///
/// A rule of this module is broken.
pub fn fuzz_hpack(data: &[u8]) {
    let Some((&control, mut rest)) = data.split_first() else { return };
    let small = control & 1 != 0;
    let room = if small {
        Room { fields: 4, list: 256, cookies: 1 }
    } else {
        Room { fields: 100, list: 16 << 10, cookies: 32 }
    };
    let mut decoder = Decoder::new(if control & 2 != 0 { 128 } else { 4096 });
    let (mut encoder, mut again) = (Encoder::new(), Decoder::new(4096));
    while let Some((&len, behind)) = rest.split_first() {
        let (block, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        let (mut arena, mut spans) = (Vec::new(), Vec::new());
        let Ok(size) = decoder.decode(block, &room, &mut arena, &mut spans) else { return };
        let list: usize = spans
            .iter()
            .map(|s| s.name.of(&arena).len() + s.value.of(&arena).len() + FIELD_OVERHEAD)
            .sum();
        assert!(spans.len() <= room.fields && list <= room.list);
        if size != Sized::Fits {
            continue;
        }
        let mut written = Vec::new();
        encoder.begin(&mut written);
        for field in &spans {
            encoder.field(&mut written, field.name.of(&arena), field.value.of(&arena));
        }
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let read = again.decode(&written, &room, &mut bytes, &mut places);
        assert_eq!((read, bytes, places), (Ok(Sized::Fits), arena, spans));
    }
}
