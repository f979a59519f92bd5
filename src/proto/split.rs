//! The test that every codec must pass: what it makes of its input does not depend on how that
//! was cut.

use alloc::vec::Vec;
#[cfg(test)]
use core::fmt::Debug;

/// Runs `codec` on `bytes` whole, byte by byte, cut once at each place (of short inputs) and cut
/// at random places, and asserts that it always makes the same of them.
///
/// `codec` gets the pieces in order, must report what came in parts as one, and must begin anew
/// with each call.
///
/// # Panics
///
/// Two cuts differ; the message names the cuts.
#[cfg(test)]
pub(crate) fn assert_same_for_any_cut<T: PartialEq + Debug>(
    bytes: &[u8],
    seed: u64,
    codec: impl Fn(&[&[u8]]) -> T,
) {
    let whole = codec(&[bytes]);
    let check = |pieces: &[&[u8]]| {
        let cut = codec(pieces);
        let sizes: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        assert_eq!(cut, whole, "cut into {sizes:?}: {:?}", bytes.escape_ascii());
    };
    check(&bytes.chunks(1).collect::<Vec<_>>());
    if bytes.len() <= ONCE_MAX {
        for at in 0..=bytes.len() {
            let (front, rest) = bytes.split_at(at);
            check(&[front, rest]);
        }
    }
    let mut random = seed | 1;
    for round in 0..8 {
        check(&pieces(bytes, || {
            random = step(random);
            // Small pieces and large ones in turn.
            1 + (random >> 33) as usize % (4 << (2 * (round % 4)))
        }));
    }
}

/// Cuts `bytes` into pieces of the sizes that `size` gives.
pub(crate) fn pieces(bytes: &[u8], mut size: impl FnMut() -> usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(size().clamp(1, rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The longest input that is cut once at each place.
#[cfg(test)]
const ONCE_MAX: usize = 512;

/// One step of a linear congruential generator; its upper half is used.
#[cfg(test)]
fn step(n: u64) -> u64 {
    n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts CR LF, and forgets that a piece may end between the two.
    fn forgetful(pieces: &[&[u8]]) -> usize {
        pieces.iter().map(|piece| piece.windows(2).filter(|pair| pair == b"\r\n").count()).sum()
    }

    /// The same without the fault.
    fn sound(pieces: &[&[u8]]) -> usize {
        let mut last = 0;
        let mut count = 0;
        for byte in pieces.concat() {
            count += usize::from(last == b'\r' && byte == b'\n');
            last = byte;
        }
        count
    }

    #[test]
    fn a_sound_codec_passes() {
        assert_same_for_any_cut(b"a\r\nb\r\n", 1, sound);
        assert_same_for_any_cut(&b"0123456789\r\n".repeat(100), 1, sound);
    }

    #[test]
    #[should_panic(expected = "cut into")]
    fn a_state_that_depends_on_the_cut_is_found() {
        assert_same_for_any_cut(b"a\r\nb", 1, forgetful);
    }

    #[test]
    #[should_panic(expected = "cut into")]
    fn a_rare_fault_in_a_long_input_is_found() {
        let mut bytes = [b'x'; 2000];
        bytes[1000..1002].copy_from_slice(b"\r\n");
        assert_same_for_any_cut(&bytes, 1, forgetful);
    }
}
