//! Masking: RFC 6455, section 5.3.
//!
//! In: payload and the key for its first byte. Out: the payload XORed in place, and the key for
//! the byte behind it, so that a payload that arrives in pieces needs no counter.

/// XORs `data` with `key` in place; returns the key as the byte behind `data` needs it.
///
/// Masking and unmasking are the same. Blocks of 64 bytes become vector instructions.
pub(super) fn apply(data: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let word = u64::from(u32::from_ne_bytes(key));
    let wide = word | word << 32;
    let (blocks, rest) = data.as_chunks_mut::<64>();
    for block in blocks {
        for lane in block.as_chunks_mut::<8>().0 {
            *lane = (u64::from_ne_bytes(*lane) ^ wide).to_ne_bytes();
        }
    }
    let (lanes, rest) = rest.as_chunks_mut::<8>();
    for lane in lanes {
        *lane = (u64::from_ne_bytes(*lane) ^ wide).to_ne_bytes();
    }
    let (halves, rest) = rest.as_chunks_mut::<4>();
    for half in halves {
        *half = (u32::from_ne_bytes(*half) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    let mut next = key;
    for byte in rest {
        *byte ^= next[0];
        next.rotate_left(1);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::apply;

    fn naive(data: &[u8], key: [u8; 4]) -> Vec<u8> {
        data.iter().zip(key.iter().cycle()).map(|(d, k)| d ^ k).collect()
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..=250).cycle().step_by(31).take(len).collect()
    }

    /// RFC 6455, 5.7: a masked "Hello".
    #[test]
    fn the_example_of_the_rfc() {
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut data, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&data, b"Hello");
    }

    #[test]
    fn every_length_equals_the_naive_twin() {
        let key = [0x81, 0x00, 0xff, 0x3c];
        for len in (0..300).chain([4096, 16_384 + 5]) {
            let mut data = sample(len);
            apply(&mut data, key);
            assert_eq!(data, naive(&sample(len), key), "{len} bytes");
        }
    }

    #[test]
    fn every_cut_gives_the_key_for_the_rest() {
        let key = [1, 2, 4, 8];
        for cut in 0..150 {
            let mut data = sample(150);
            let (front, back) = data.split_at_mut(cut);
            let next = apply(front, key);
            apply(back, next);
            assert_eq!(data, naive(&sample(150), key), "cut at {cut}");
        }
    }
}
