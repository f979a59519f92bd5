//! What is watched and what is reported.

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// Names a watched source: an index and a generation, opaque to backends.
///
/// A backend gives it back as it got it. The generation makes a late report harmless: the guest
/// ignores a token that it no longer knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// Joins an index and its generation.
    pub const fn new(index: u32, generation: u32) -> Self {
        Self(index as u64 | (generation as u64) << 32)
    }

    /// Takes a number that [`bits`](Self::bits) gave.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Gives the token as one number, for a kernel's or a host's user data.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Gives the index.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// Gives the generation.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

macro_rules! directions {
    ($name:ident, $all:literal) => {
        impl $name {
            /// Neither direction.
            pub const NONE: Self = Self(0);
            /// Input.
            pub const READ: Self = Self(1);
            /// Output.
            pub const WRITE: Self = Self(2);
            /// Both directions.
            pub const BOTH: Self = Self(3);

            /// Gives the mask: 1 is read, 2 is write, 4 (of a report) is hang-up.
            pub const fn bits(self) -> u8 {
                self.0
            }

            /// Takes what [`bits`](Self::bits) gave; bits without a meaning are dropped.
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits & $all)
            }

            /// Tells whether input is in the mask.
            pub const fn is_read(self) -> bool {
                self.0 & 1 != 0
            }

            /// Tells whether output is in the mask.
            pub const fn is_write(self) -> bool {
                self.0 & 2 != 0
            }

            /// Tells whether the mask is empty.
            pub const fn is_none(self) -> bool {
                self.0 == 0
            }
        }

        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl Not for $name {
            type Output = Self;
            fn not(self) -> Self {
                Self(!self.0 & $all)
            }
        }
    };
}

/// The directions a guest asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Interest(u8);
directions!(Interest, 3);

/// The directions a backend reports. A hint, never a promise; hang-up and error are `BOTH`.
///
/// An edge-triggered guest may take a short read for "nothing is left" only while
/// [`is_hup`](Self::is_hup) is false: data and the end of the stream that arrive together are one
/// edge, and no other follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ready(u8);
directions!(Ready, 7);

impl Ready {
    /// The peer has ended its stream, or the connection is broken: reading comes to an end.
    /// Reported together with `READ`, where the backend can tell.
    pub const HUP: Self = Self(4);

    /// Tells whether the end of the stream is known to be coming.
    pub const fn is_hup(self) -> bool {
        self.0 & 4 != 0
    }
}

impl From<Interest> for Ready {
    fn from(i: Interest) -> Self {
        Self(i.0)
    }
}

/// How often a ready direction is reported.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Trigger {
    /// As long as it lasts. The guest disarms lazily, when an unwanted report arrives.
    Level,
    /// Once a change. The guest registers both directions once and never changes them.
    Edge,
    /// Once, then the whole source is silent until the next `rearm`.
    Oneshot,
}

/// One report: `token`'s source may be ready in these directions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Event {
    /// As given to `watch`.
    pub token: Token,
    /// What may be ready.
    pub ready: Ready,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_its_halves() {
        let t = Token::new(7, u32::MAX);
        assert_eq!((t.index(), t.generation()), (7, u32::MAX));
        assert_eq!(Token::from_bits(t.bits()), t);
    }

    #[test]
    fn masks_hold_two_bits() {
        assert_eq!(!Interest::READ, Interest::WRITE);
        assert_eq!(Interest::from_bits(0xff), Interest::BOTH);
        assert!((Ready::READ | Ready::WRITE).is_write());
    }

    #[test]
    fn hang_up_is_beside_the_directions() {
        let both = Ready::BOTH | Ready::HUP;
        assert!(both.is_hup() && (both & !Ready::READ).is_hup());
        assert_eq!(both & Ready::BOTH, Ready::BOTH);
        assert_eq!(Ready::from_bits(0xff), both);
    }
}
