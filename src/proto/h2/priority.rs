//! Priorities: RFC 9218, sections 4 and 5.

/// How urgent a response is, and whether a part of it is of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub(super) urgency: u8,
    /// It shares its turn with others of the same urgency. So does one of which nothing is known.
    pub(super) shares: bool,
}

impl Priority {
    pub(super) const DEFAULT: Self = Self { urgency: 3, shares: true };

    /// Reads the value of a Priority field or of a PRIORITY_UPDATE frame: a dictionary, of which
    /// two keys are understood. What is malformed means nothing.
    pub(super) fn read(value: &[u8]) -> Self {
        let mut read = Self { urgency: 3, shares: false };
        for item in value.split(|b| *b == b',') {
            let item = item.split(|b| *b == b';').next().unwrap_or_default();
            match item.trim_ascii() {
                [b'u', b'=', digit @ b'0'..=b'7'] => read.urgency = digit - b'0',
                b"i" | b"i=?1" => read.shares = true,
                b"i=?0" => read.shares = false,
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_read_and_what_is_malformed_means_nothing() {
        for (text, urgency, shares) in [
            ("", 3, false),
            ("u=1", 1, false),
            ("u=5, i", 5, true),
            ("i;a=b, u=0;x", 0, true),
            ("i=?1,i=?0, u=9, u=-1, u=1.0, x", 3, false),
        ] {
            assert_eq!(Priority::read(text.as_bytes()), Priority { urgency, shares }, "{text}");
        }
    }
}
