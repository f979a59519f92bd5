//! Base64 of the handshake's two values: RFC 4648, section 4.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes `bytes` with padding. `OUT` is the length that gives: four thirds, rounded up to four.
pub(super) fn encode<const OUT: usize>(bytes: &[u8]) -> [u8; OUT] {
    debug_assert_eq!(OUT, bytes.len().div_ceil(3) * 4, "the encoded length");
    let mut out = [b'='; OUT];
    for (group, quad) in bytes.chunks(3).zip(out.as_chunks_mut::<4>().0) {
        let mut bits = 0u32;
        for (byte, shift) in group.iter().zip([16, 8, 0]) {
            bits |= u32::from(*byte) << shift;
        }
        // n bytes are n + 1 digits; the rest stays padding.
        for (digit, shift) in quad.iter_mut().zip([18, 12, 6, 0]).take(group.len() + 1) {
            *digit = digit_of(bits >> shift);
        }
    }
    out
}

/// Tells whether `text` is 16 bytes in base64. The four bits that are left over in the last digit
/// are not looked at, as RFC 4648, section 3.5 allows.
pub(super) fn is_of_16_bytes(text: &[u8]) -> bool {
    text.len() == 24
        && text.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(|d| is_digit(*d)))
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

#[expect(clippy::indexing_slicing, reason = "an index masked with 63 into 64 digits")]
fn digit_of(bits: u32) -> u8 {
    ALPHABET[(bits & 63) as usize]
}

#[cfg(test)]
mod tests {
    use super::{encode, is_of_16_bytes};

    /// RFC 4648, section 10.
    #[test]
    fn the_published_vectors() {
        assert_eq!(&encode::<0>(b""), b"");
        assert_eq!(&encode::<4>(b"f"), b"Zg==");
        assert_eq!(&encode::<4>(b"fo"), b"Zm8=");
        assert_eq!(&encode::<4>(b"foo"), b"Zm9v");
        assert_eq!(&encode::<8>(b"foob"), b"Zm9vYg==");
        assert_eq!(&encode::<8>(b"fooba"), b"Zm9vYmE=");
        assert_eq!(&encode::<8>(b"foobar"), b"Zm9vYmFy");
        assert_eq!(&encode::<4>(&[0xfb, 0xff, 0xfe]), b"+//+");
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        assert!(is_of_16_bytes(&encode::<24>(&[0xa5; 16])));
        assert!(is_of_16_bytes(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ==\n",
            b"dGhlIHNhbXBsZSBub25jZQA=",
            b"dGhlIHNhbXBsZSBub25jZQAA",
            b"dGhlIHNhbXBs-SBub25jZQ==",
            b"====dGhlIHNhbXBsZSBub2==",
        ] {
            assert!(!is_of_16_bytes(bad), "{}", bad.escape_ascii());
        }
    }
}
