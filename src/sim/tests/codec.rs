//! The simulation finds what it is for: a codec whose state depends on how its input was cut, and
//! a guest that loses the end of a stream.

use super::super::{Faults, World};
use super::*;

/// Answers each line with its length, as a letter. The planted fault: a line end of two bytes is recognised
/// only if both came in one piece.
fn lines(planted: bool) -> Serve {
    let mut held: BTreeMap<Sock, Vec<u8>> = BTreeMap::new();
    Box::new(move |sock, bytes, out| {
        let line = held.entry(sock).or_default();
        for (i, byte) in bytes.iter().enumerate() {
            let before =
                if planted { i.checked_sub(1).map(|i| bytes[i]) } else { line.last().copied() };
            if *byte == b'\n' && before == Some(b'\r') {
                out.push(b'a' + u8::try_from(line.len() - 1).unwrap());
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    })
}

/// Tells whether the answer is right under these faults.
fn is_right(seed: u64, faults: Faults, planted: bool) -> bool {
    let world = World::with(seed, faults);
    let mut guest = Guest::new(&world, Trigger::Edge, lines(planted));
    let wire = world.connect(&addr()).unwrap();

    wire.write(b"one\r\nthree\r\n\r\nfour\r\n");
    run(&world, &mut guest);

    wire.read() == b"dfae"
}

#[test]
fn a_whole_input_hides_the_fault_and_cut_input_finds_it() {
    let cuts =
        [Faults { short_reads: 500, ..Faults::none() }, Faults { delay: 1_000, ..Faults::none() }];

    assert!((0..50).all(|seed| is_right(seed, Faults::none(), true)));
    for faults in cuts {
        let found = (0..50).filter(|seed| !is_right(*seed, faults, true)).count();
        assert!(found >= 10, "{found} of 50 under {faults:?}");
        assert!((0..50).all(|seed| is_right(seed, faults, false)));
    }
    assert!((0..50).all(|seed| is_right(seed, Faults::lossless(), false)));
}

/// Tells whether the guest hears the end of a stream that ends with its last bytes.
fn hears_the_end(seed: u64, hasty: bool) -> bool {
    let world = World::with(seed, Faults { delay: 1_000, ..Faults::none() });
    let mut guest = Guest::echo(&world, Trigger::Edge);
    guest.hasty = hasty;
    let wire = world.connect(&addr()).unwrap();

    wire.write(b"last words");
    wire.close();
    world.advance(Duration::from_micros(500));
    run(&world, &mut guest);

    wire.read() == b"last words" && wire.is_eof()
}

#[test]
fn the_end_is_lost_by_a_guest_that_takes_every_short_read_for_empty() {
    let found = (0..50).filter(|seed| !hears_the_end(*seed, true)).count();

    assert!(found >= 5, "{found} of 50");
    assert!((0..50).all(|seed| hears_the_end(seed, false)));
}
