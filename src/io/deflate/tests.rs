use super::{Broken, Deflater, Engines, FLUSHED, Inflater};

const MAX: usize = 64 << 20;

fn engines() -> Engines {
    Engines::new(MAX)
}

/// Bytes that compress somewhat.
fn prose(len: usize) -> Vec<u8> {
    let words = b"the window slides over the words that were said before, and over some new ones: ";
    let mut seed = 7_u32;
    let mut out = Vec::new();
    while out.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = seed as usize >> 8;
        out.extend_from_slice(&words[at % 40..40 + at % 40]);
        out.extend_from_slice(&seed.to_be_bytes());
    }
    out.truncate(len);
    out
}

fn noise(len: usize) -> Vec<u8> {
    let mut seed = 1_u64;
    let mut step = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[0]
    };
    (0..len).map(|_| step()).collect()
}

/// Compresses a message as it is sent.
fn packed(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(deflater.deflate(message, &mut out, usize::MAX));
    assert!(out.ends_with(&FLUSHED));
    out.truncate(out.len() - FLUSHED.len());
    out
}

/// Expands a message that arrives in pieces of `cut` bytes, with room for `room`.
fn expand(of: &mut Inflater, input: &[u8], cut: usize, room: usize) -> Result<Vec<u8>, Broken> {
    let (mut out, mut space) = (Vec::new(), vec![0; room]);
    for mut piece in input.chunks(cut) {
        loop {
            let (taken, made) = of.inflate(piece, &mut space)?;
            out.extend_from_slice(&space[..made]);
            piece = &piece[taken..];
            if made < room && piece.is_empty() {
                break;
            }
        }
    }
    loop {
        let (made, done) = of.finish(&mut space)?;
        out.extend_from_slice(&space[..made]);
        if done {
            assert_eq!((of.made(), of.taken()), (out.len() as u64, input.len() as u64));
            of.begin_message();
            return Ok(out);
        }
        assert_eq!(made, room, "it asks for room only when there is none");
    }
}

fn expanded(input: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut inflater = engines().inflater().unwrap();
    expand(&mut inflater, input, usize::MAX, 4096)
}

/// RFC 7692, 7.2.3: the examples, among them a block without compression, a final block, and two
/// blocks.
#[test]
fn the_examples_are_expanded() {
    let examples: [&[u8]; 5] = [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        // A final block and nothing behind it.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
    ];
    for example in examples {
        for (cut, room) in [(usize::MAX, 4096), (1, 4096), (1, 1), (3, 2)] {
            let mut inflater = engines().inflater().unwrap();
            assert_eq!(
                expand(&mut inflater, example, cut, room).unwrap(),
                b"Hello",
                "{example:x?}"
            );
        }
    }
    assert_eq!(expanded(&[0x00]).unwrap(), b"", "7.2.3.6");
    assert_eq!(expanded(&[]).unwrap(), b"");
}

/// RFC 7692, 7.2.3.2: the second message refers to the first.
#[test]
fn a_window_that_is_kept_is_referred_to() {
    let mut inflater = engines().inflater().unwrap();
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let second = [0xf2, 0x00, 0x11, 0x00, 0x00];

    assert_eq!(expand(&mut inflater, &first, 99, 99).unwrap(), b"Hello");
    assert_eq!(expand(&mut inflater, &second, 99, 99).unwrap(), b"Hello");
    assert!(expanded(&second).is_err(), "alone it refers to nothing");
}

#[test]
fn what_is_not_deflate_is_refused() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for cut in 1..hello.len() {
        assert!(expanded(&hello[..cut]).is_err(), "it ends in a block, after {cut} bytes");
    }
    // A reserved block type; a length that its complement contradicts; a distance too far.
    let broken: [&[u8]; 3] = [&[0x07], &[0x00, 0x05, 0x00, 0xfa, 0xfe], &[0x4b, 0x04, 0x13, 0x00]];
    for bytes in broken {
        assert!(expanded(bytes).is_err(), "{bytes:x?}");
    }
}

#[test]
fn what_is_compressed_is_expanded_again_however_it_is_cut() {
    for window in 9..=15 {
        for level in [1, 6, 9] {
            let mut all = engines();
            let mut deflater = all.deflater(window, level, false).unwrap();
            let mut inflater = all.inflater().unwrap();
            let sizes = [1, 2, 255, 16_383, 16_384, 16_385, 100_000];
            for message in sizes.map(prose).into_iter().chain([noise(70_000), vec![0; 50_000]]) {
                let sent = packed(&mut deflater, &message);
                for (cut, room) in [(usize::MAX, 16 << 10), (1000, 100), (1, 16 << 10)] {
                    let mut alone = engines().inflater().unwrap();
                    if let Ok(got) = expand(&mut alone, &sent, cut, room) {
                        assert!(got == message);
                    }
                }
                let got = expand(&mut inflater, &sent, 777, 333).unwrap();
                assert!(got == message, "window {window}, level {level}, {}", message.len());
            }
        }
    }
}

#[test]
fn compressing_stops_at_its_bound() {
    let mut deflater = engines().deflater(15, 1, false).unwrap();
    let (message, mut out) = (noise(1 << 20), b"before".to_vec());

    assert!(!deflater.deflate(&message, &mut out, 100_000));
    assert!(out.len() < 140_000, "{} bytes", out.len());
    assert!(out.starts_with(b"before"));
}

/// What was given up leaves nothing behind in the engine.
#[test]
fn compressing_may_stop_any_number_of_times() {
    let mut all = engines();
    for level in [1, 6] {
        for size in [300, 4096, 40_000, 200_000] {
            let message = noise(size);
            for _ in 0..100 {
                let mut deflater = all.deflater(15, level, false).unwrap();
                assert!(!deflater.deflate(&message, &mut Vec::new(), size / 2));
                all.keep_deflater(deflater);
            }
            let mut deflater = all.deflater(15, level, false).unwrap();
            let sent = packed(&mut deflater, b"Hello");
            assert_eq!(expanded(&sent).unwrap(), b"Hello");
            all.keep_deflater(deflater);
        }
    }
}

#[test]
fn engines_are_used_again_and_counted_until_they_are_dropped() {
    let mut all = engines();
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    let mut inflater = all.inflater().unwrap();
    let one = all.held();
    assert!(inflater.inflate(&hello[..3], &mut [0; 99]).is_ok());
    all.keep_inflater(inflater);
    let mut again = all.inflater().unwrap();
    assert_eq!(all.held(), one);
    assert_eq!(expand(&mut again, &hello, 99, 99).unwrap(), b"Hello", "it has forgotten");
    let other = all.inflater().unwrap();
    assert_eq!(all.held(), 2 * one);
    drop((again, other));
    assert_eq!(all.held(), 0);

    let deflater = all.deflater(15, 1, false).unwrap();
    let big = all.held();
    all.keep_deflater(deflater);
    let small = all.deflater(9, 1, false).unwrap();
    assert!(all.held() < 2 * big, "of another size it is another one");
    drop((small, all.deflater(15, 1, false).unwrap()));
    assert_eq!(all.held(), 0);
}

#[test]
fn memory_has_a_bound_that_only_a_must_exceeds() {
    let mut all = Engines::new(100 << 10);
    let held = [all.inflater(), all.inflater(), all.inflater()];

    assert_eq!(held.map(|one| one.is_some()), [true, true, false]);
    assert!(!all.has_room_for_pair());
    assert!(all.deflater(15, 1, false).is_none());
    assert!(all.deflater(15, 1, true).is_some());
}

/// A peer that ends a stream every second byte has the engine begin again as often.
#[test]
fn many_final_blocks_end() {
    let input = [3, 0].repeat(1 << 15);
    assert_eq!(expanded(&input).unwrap(), b"");
}
