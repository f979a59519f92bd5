//! The simulation finds what it is for: a codec whose state depends on how its input was cut.

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
                out.push(b'a' + line.len() as u8 - 1);
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
