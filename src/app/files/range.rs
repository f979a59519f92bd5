//! Byte ranges: RFC 9110, section 14.

use std::vec::Vec;

/// Ranges of one request at most; who asks for more gets the whole.
const MOST: usize = 16;

/// A range of bytes that is there: `first..first + len`, `len` at least 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) len: u64,
}

impl Range {
    /// Gives the last byte's place, as Content-Range writes it.
    pub(super) fn last(self) -> u64 {
        self.first.saturating_add(self.len).saturating_sub(1)
    }
}

/// What a Range field asks of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Nothing that is understood or granted: answer with the whole.
    Whole,
    /// These parts, at least one, in the order asked for.
    Parts(Vec<Range>),
    /// Nothing of it is there: 416.
    None,
}

/// Reads a Range field for a file of `size` bytes. What is malformed, of another unit, too much or
/// more in sum than the file itself is ignored (section 14.2).
pub(super) fn parse(field: &[u8], size: u64) -> Asked {
    let Ok(text) = core::str::from_utf8(field) else { return Asked::Whole };
    let Some((unit, set)) = text.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let mut parts = Vec::new();
    let mut specs = 0;
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        if spec.is_empty() {
            continue;
        }
        specs += 1;
        match one(spec, size) {
            _ if specs > MOST => return Asked::Whole,
            Ok(range) => parts.extend(range),
            Err(Malformed) => return Asked::Whole,
        }
    }
    let sum = parts.iter().map(|part| part.len).fold(0, u64::saturating_add);
    match parts.as_slice() {
        _ if specs == 0 => Asked::Whole,
        [] => Asked::None,
        [_, _, ..] if sum > size => Asked::Whole,
        _ => Asked::Parts(parts),
    }
}

struct Malformed;

/// Reads `first-last`, `first-` or `-suffix`; `None` is not satisfiable.
fn one(spec: &str, size: u64) -> Result<Option<Range>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    if first.is_empty() {
        let len = number(last)?.min(size);
        return Ok((len > 0).then(|| Range { first: size - len, len }));
    }
    let first = number(first)?;
    let end = match last {
        "" => size,
        last => {
            let last = number(last)?;
            if last < first {
                return Err(Malformed);
            }
            last.saturating_add(1).min(size)
        }
    };
    let len = end.saturating_sub(first);
    Ok((len > 0).then_some(Range { first, len }))
}

/// Digits alone; what is beyond `u64` is as large as that.
fn number(digits: &str) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(field: &str) -> Vec<(u64, u64)> {
        match parse(field.as_bytes(), 1000) {
            Asked::Parts(parts) => parts.iter().map(|part| (part.first, part.last())).collect(),
            other => panic!("{field}: {other:?}"),
        }
    }

    /// RFC 9110, section 14.1.2, and around it.
    #[test]
    fn parts_are_those_that_are_there() {
        assert_eq!(parts("bytes=0-499"), [(0, 499)]);
        assert_eq!(parts("bytes=500-"), [(500, 999)]);
        assert_eq!(parts("bytes=-1"), [(999, 999)]);
        assert_eq!(parts("bytes=-5000"), [(0, 999)]);
        assert_eq!(parts("Bytes=999-99999999999999999999999"), [(999, 999)]);
        assert_eq!(parts("bytes=0-0,-1"), [(0, 0), (999, 999)]);
        assert_eq!(parts("bytes= 500-600 ,, 1-2,"), [(500, 600), (1, 2)]);
        assert_eq!(parts("bytes=0-1,5000-"), [(0, 1)]);
        assert_eq!(parts("bytes=0-18446744073709551615"), [(0, 999)]);
    }

    #[test]
    fn what_is_not_there_cannot_be_satisfied() {
        for field in ["bytes=1000-", "bytes=-0", "bytes=2000-3000,4000-"] {
            assert_eq!(parse(field.as_bytes(), 1000), Asked::None, "{field}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Asked::None);
        assert_eq!(parse(b"bytes=-5", 0), Asked::None);
    }

    #[test]
    fn what_is_malformed_or_greedy_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=-",
            "bytes=1",
            "bytes=1--2",
            "bytes=+1-2",
            "lines=1-2",
            "bytes=0-,0-",
            "bytes=0-999,0-0",
            "bytes=1- 2",
            "bytes=0-1,x",
        ] {
            assert_eq!(parse(field.as_bytes(), 1000), Asked::Whole, "{field}");
        }
        let many = std::format!("bytes={}", "1-1,".repeat(MOST + 1));
        assert_eq!(parse(many.as_bytes(), 1000), Asked::Whole);
        assert_eq!(parse(b"bytes=\xff", 1000), Asked::Whole);
    }
}
