//! Names in wire form: RFC 1035, section 3.1; compression: section 4.1.4.

use alloc::vec::Vec;

/// A name may take this many bytes, its last zero included.
const MOST: usize = 255;
const LABEL: usize = 63;

/// A name: length and bytes of each label, and a zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// Makes one of a host's name and a domain behind it, which may be empty. `None`: it is none.
    pub(super) fn of_host(host: &str, domain: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let mut wire = Vec::with_capacity(host.len() + domain.len() + 3);
        for text in [host, domain] {
            if text.is_empty() {
                continue;
            }
            for label in text.split('.') {
                let fits = u8::try_from(label.len()).ok().filter(|n| usize::from(*n) <= LABEL)?;
                if fits == 0 || !label.bytes().all(is_of_a_host) {
                    return None;
                }
                wire.push(fits);
                wire.extend_from_slice(label.as_bytes());
            }
        }
        wire.push(0);
        (!host.is_empty() && wire.len() <= MOST).then_some(Self(wire))
    }

    /// Reads the name at `at`; gives it, and where what follows it begins. A pointer leads only to
    /// before the place where the part that it ends began, so there is an end to them.
    pub(super) fn read(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut wire = Vec::new();
        let (mut pos, mut part, mut end) = (at, at, None);
        loop {
            let length = usize::from(*message.get(pos)?);
            match length >> 6 {
                0 => {
                    let label = message.get(pos..=pos + length)?;
                    wire.extend_from_slice(label);
                    if wire.len() > MOST {
                        return None;
                    }
                    pos += length + 1;
                    if length == 0 {
                        return Some((Self(wire), end.unwrap_or(pos)));
                    }
                }
                3 => {
                    let low = usize::from(*message.get(pos + 1)?);
                    let to = (length & 0x3f) << 8 | low;
                    if to >= part {
                        return None;
                    }
                    end = end.or(Some(pos + 2));
                    (pos, part) = (to, to);
                }
                _ => return None,
            }
        }
    }

    pub(super) fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name without upper-case letters. No length is one: those are at most 63.
    pub(super) fn lower(mut self) -> Self {
        self.0.make_ascii_lowercase();
        self
    }

    /// The same name with the case of each letter drawn anew ("0x20").
    pub(super) fn drawn(&self, random: &mut dyn FnMut() -> u32) -> Self {
        let (mut bits, mut left) = (0, 0);
        let draw = |byte: &u8| {
            if !byte.is_ascii_alphabetic() {
                return *byte;
            }
            if left == 0 {
                (bits, left) = (random(), 32);
            }
            let upper = bits & 1 == 1;
            bits >>= 1;
            left -= 1;
            if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
        };
        Self(self.0.iter().map(draw).collect())
    }

    /// Tells whether both are the same but for the case of letters: RFC 4343.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// Tells whether `zone` is this name, or one that it lies below.
    pub(super) fn is_in(&self, zone: &Self) -> bool {
        let mut rest = self.0.as_slice();
        loop {
            if rest.eq_ignore_ascii_case(&zone.0) {
                return true;
            }
            let Some(length) = rest.first().filter(|n| **n > 0) else { return false };
            rest = rest.get(usize::from(*length) + 1..).unwrap_or_default();
        }
    }
}

/// Letters, digits, hyphens (RFC 1123, section 2.1), and underscores, which are in use.
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::of_host(text, "").unwrap()
    }

    #[test]
    fn a_host_and_a_domain_make_a_name() {
        assert_eq!(Name::of_host("www", "a.test.").unwrap().wire(), b"\x03www\x01a\x04test\0");
        assert_eq!(name("a.b."), name("a.b"));
    }

    #[test]
    fn what_is_no_hosts_name_is_refused() {
        let long = "a".repeat(64);
        let many = "a.".repeat(128);
        for bad in ["", ".", "a..b", "a b", "a\0b", "münchen.test", "a/b", &*long, &*many] {
            assert!(Name::of_host(bad, "").is_none(), "{bad:?}");
        }
        assert!(Name::of_host(&"a.".repeat(127), "").is_some());
        assert!(Name::of_host(&"a.".repeat(127), "b").is_none());
    }

    #[test]
    fn pointers_are_followed_backwards_only() {
        let message = b"\x01a\0\x01b\xc0\x00\xc0\x03";

        assert_eq!(Name::read(message, 3).unwrap(), (name("b.a"), 7));
        assert_eq!(Name::read(message, 7).unwrap(), (name("b.a"), 9));
    }

    #[test]
    fn loops_forward_pointers_and_what_is_cut_are_refused() {
        // To itself, to each other, forward, to its own part, reserved lengths, cut, too long.
        assert!(Name::read(b"\xc0\x00", 0).is_none());
        assert!(Name::read(b"\xc0\x02\xc0\x00", 2).is_none());
        assert!(Name::read(b"\xc0\x02\x00", 0).is_none());
        assert!(Name::read(b"\x01a\xc0\x00", 0).is_none());
        assert!(Name::read(b"\x01a\x01b\xc0\x02", 0).is_none());
        assert!(Name::read(b"\x40a\0", 0).is_none() && Name::read(b"\x80a\0", 0).is_none());
        assert!(Name::read(b"\x05ab", 0).is_none() && Name::read(b"\xc0", 0).is_none());
        assert!(Name::read(b"", 0).is_none() && Name::read(b"a", 9).is_none());
        let mut long = b"\x3f".repeat(64 * 5);
        long.push(0);
        assert!(Name::read(&long, 0).is_none());
    }

    #[test]
    fn the_case_of_letters_is_drawn_and_nothing_else() {
        let mut n = 0;
        let drawn = name("ab-1.xyzABC").drawn(&mut || {
            n += 1;
            0b0110_0101
        });

        assert_eq!(drawn.wire(), b"\x04Ab-1\x06XyzABc\0");
        assert!(n == 1 && drawn.is(&name("AB-1.XYZabc")) && drawn != name("ab-1.xyzabc"));
    }

    #[test]
    fn a_zone_holds_its_names_by_labels() {
        assert!(name("www.a.test").is_in(&name("A.test")) && name("a.test").is_in(&name("a.test")));
        assert!(!name("ba.test").is_in(&name("a.test")) && !name("test").is_in(&name("a.test")));
        assert!(name("a").is_in(&Name::read(b"\0", 0).unwrap().0));
    }
}
