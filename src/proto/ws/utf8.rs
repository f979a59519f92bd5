//! UTF-8 as it arrives: RFC 3629, section 4; RFC 6455, section 8.1.
//!
//! In: pieces of a text, cut anywhere. Out: whether they can still become UTF-8, and whether they
//! are it now. A byte that cannot is noticed with the piece that brings it.

/// What the next byte must be. `Start` is the only state in which a text may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Utf8 {
    #[default]
    Start,
    /// One more continuation byte.
    One,
    /// Two more.
    Two,
    /// Three more.
    Three,
    /// After E0: no overlong form.
    AfterE0,
    /// After ED: no surrogate.
    AfterEd,
    /// After F0: no overlong form.
    AfterF0,
    /// After F4: nothing above U+10FFFF.
    AfterF4,
}

impl Utf8 {
    /// Takes the next piece; `false` if no continuation makes it UTF-8. Not to be used after that.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> bool {
        while *self != Self::Start {
            let Some((&byte, rest)) = piece.split_first() else { return true };
            let Some(next) = self.step(byte) else { return false };
            *self = next;
            piece = rest;
        }
        match core::str::from_utf8(piece) {
            Ok(_) => true,
            Err(e) if e.error_len().is_some() => false,
            Err(e) => self.feed_tail(piece.get(e.valid_up_to()..).unwrap_or(&[])),
        }
    }

    /// Tells whether the text may end here.
    pub(super) fn is_complete(self) -> bool {
        self == Self::Start
    }

    /// Takes the begin of a code point, which the next piece goes on with.
    fn feed_tail(&mut self, tail: &[u8]) -> bool {
        for &byte in tail {
            let Some(next) = self.step(byte) else { return false };
            *self = next;
        }
        true
    }

    fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Start, 0x00..=0x7f) | (Self::One, 0x80..=0xbf) => Some(Self::Start),
            (Self::Start, 0xc2..=0xdf)
            | (Self::Two, 0x80..=0xbf)
            | (Self::AfterE0, 0xa0..=0xbf)
            | (Self::AfterEd, 0x80..=0x9f) => Some(Self::One),
            (Self::Start, 0xe1..=0xec | 0xee..=0xef)
            | (Self::Three, 0x80..=0xbf)
            | (Self::AfterF0, 0x90..=0xbf)
            | (Self::AfterF4, 0x80..=0x8f) => Some(Self::Two),
            (Self::Start, 0xf1..=0xf3) => Some(Self::Three),
            (Self::Start, 0xe0) => Some(Self::AfterE0),
            (Self::Start, 0xed) => Some(Self::AfterEd),
            (Self::Start, 0xf0) => Some(Self::AfterF0),
            (Self::Start, 0xf4) => Some(Self::AfterF4),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::Utf8;

    /// Whether the pieces are UTF-8; `None` as soon as they cannot become it.
    fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<bool> {
        let mut state = Utf8::default();
        pieces.into_iter().all(|p| state.feed(p)).then(|| state.is_complete())
    }

    fn verdict(bytes: &[u8]) -> Option<bool> {
        match core::str::from_utf8(bytes) {
            Ok(_) => Some(true),
            Err(e) => e.error_len().is_none().then_some(false),
        }
    }

    /// All sequences of up to two bytes, then all that begin with three and four byte leads.
    #[test]
    fn the_machine_equals_the_standard_library_on_short_sequences() {
        let edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xf4, 0xff];
        for a in 0..=255u8 {
            assert_eq!(run([&[a][..]]), verdict(&[a]));
            for b in 0..=255u8 {
                assert_eq!(run([&[a][..], &[b]]), verdict(&[a, b]), "{a:02x} {b:02x}");
                for c in edges {
                    assert_eq!(run([&[a][..], &[b], &[c]]), verdict(&[a, b, c]));
                    for d in edges {
                        assert_eq!(run([&[a, b][..], &[c, d]]), verdict(&[a, b, c, d]));
                    }
                }
            }
        }
    }

    #[test]
    fn every_cut_of_a_text_is_accepted() {
        let text = "aé€😀\u{10ffff}\u{ffff}z".as_bytes();
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(run([a, b]), Some(true), "cut at {cut}");
        }
        assert_eq!(run(text.chunks(1)), Some(true));
    }

    proptest! {
        #[test]
        fn any_cuts_of_anything_equal_the_whole(
            text in any::<String>(),
            noise in prop::collection::vec(any::<u8>(), 0..4),
            at in any::<prop::sample::Index>(),
            size in 1usize..9,
        ) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, noise);
            proptest::prop_assert_eq!(run(bytes.chunks(size)), verdict(&bytes));
        }
    }
}
