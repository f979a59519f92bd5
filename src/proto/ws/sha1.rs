//! SHA-1: RFC 3174, for the handshake's `Sec-WebSocket-Accept` and nothing else.
//!
//! It proves that the peer speaks WebSocket; no security rests on it (RFC 6455, section 10.8).

/// Gives the SHA-1 of `message`.
pub(super) fn digest(message: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let (blocks, rest) = message.as_chunks::<64>();
    for block in blocks {
        compress(&mut state, block);
    }
    let last = pad(rest, message.len());
    for block in last.as_chunks::<64>().0.iter().skip(usize::from(fits_one(rest))) {
        compress(&mut state, block);
    }
    let mut out = [0; 20];
    for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    out
}

/// Tells whether `rest`, the bit 1 and the length fit into one block.
fn fits_one(rest: &[u8]) -> bool {
    rest.len() < 56
}

/// Gives the last two blocks of a message of `len` bytes; the last one alone counts if `rest` fits.
fn pad(rest: &[u8], len: usize) -> [u8; 128] {
    let mut out = [0; 128];
    let begin = if fits_one(rest) { 64 } else { 0 };
    let message = rest.iter().chain([&0x80]);
    out.iter_mut().skip(begin).zip(message).for_each(|(to, from)| *to = *from);
    let bits = (len as u64).wrapping_mul(8).to_be_bytes();
    out.iter_mut().skip(120).zip(bits).for_each(|(to, from)| *to = from);
    out
}

#[expect(clippy::indexing_slicing, reason = "an index masked with 15 into 16 words")]
fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut w = [0; 16];
    for (word, bytes) in w.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for t in 0..80 {
        let (f, k) = match t / 20 {
            0 => (b & c | !b & d, 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => (b & c | b & d | c & d, 0x8f1b_bcdc_u32),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        if t >= 16 {
            let mixed = w[(t + 13) & 15] ^ w[(t + 8) & 15] ^ w[(t + 2) & 15] ^ w[t & 15];
            w[t & 15] = mixed.rotate_left(1);
        }
        let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e);
        let next = next.wrapping_add(k).wrapping_add(w[t & 15]);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::digest;

    fn hex(message: &[u8]) -> String {
        digest(message).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// RFC 3174, 7.3, and FIPS 180's empty and million-byte messages.
    #[test]
    fn the_published_vectors() {
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
        assert_eq!(hex(&[b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    /// Where the padding needs a block of its own: 55, 56, 63, 64 and 65 bytes.
    #[test]
    fn lengths_around_a_block() {
        let of = |n: usize| hex(&vec![b'a'; n]);
        assert_eq!(of(55), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
        assert_eq!(of(56), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
        assert_eq!(of(63), "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
        assert_eq!(of(64), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
        assert_eq!(of(65), "11655326c708d70319be2610e8a57d9a5b959d3b");
    }
}
