//! The static table: RFC 7541, appendix A.

use super::Pseudo;
use super::table::Entry;
use crate::proto::h1::Known;

/// How many entries it has; they are numbered from 1.
pub(super) const COUNT: usize = 61;

/// Names and values.
#[rustfmt::skip]
const ENTRIES: [(&str, &str); COUNT] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""),
    ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

#[expect(clippy::indexing_slicing, reason = "at compile time")]
const TOTAL: usize = {
    let (mut total, mut at) = (0, 0);
    while at < COUNT {
        total += ENTRIES[at].0.len() + ENTRIES[at].1.len();
        at += 1;
    }
    total
};

/// All names and values behind each other, so that an entry is copied at once.
pub(super) static BYTES: [u8; TOTAL] = bytes();
static PLACES: [Entry; COUNT] = places();

#[expect(clippy::indexing_slicing, reason = "at compile time")]
const fn bytes() -> [u8; TOTAL] {
    let mut made = [0; TOTAL];
    let (mut at, mut end) = (0, 0);
    while at < COUNT {
        let parts = [ENTRIES[at].0.as_bytes(), ENTRIES[at].1.as_bytes()];
        let mut part = 0;
        while part < 2 {
            let mut byte = 0;
            while byte < parts[part].len() {
                made[end] = parts[part][byte];
                end += 1;
                byte += 1;
            }
            part += 1;
        }
        at += 1;
    }
    made
}

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "at compile time")]
const fn places() -> [Entry; COUNT] {
    let mut made = [Entry { start: 0, len: 0, name: 0, known: 0 }; COUNT];
    let (mut at, mut start) = (0, 0);
    while at < COUNT {
        let (name, value) = (ENTRIES[at].0.len(), ENTRIES[at].1.len());
        let known = known(at + 1);
        let len = name + value;
        made[at] = Entry { start: start as u32, len: len as u32, name: name as u32, known };
        start += len;
        at += 1;
    }
    made
}

/// What [`mark`](super::mark) gives for the name of an entry.
const fn known(index: usize) -> u8 {
    match index {
        1 => Pseudo::Authority as u8,
        2 | 3 => Pseudo::Method as u8,
        4 | 5 => Pseudo::Path as u8,
        6 | 7 => Pseudo::Scheme as u8,
        8..=14 => Pseudo::Status as u8,
        23 => Known::Authorization as u8,
        26 => Known::ContentEncoding as u8,
        28 => Known::ContentLength as u8,
        30 => Known::ContentRange as u8,
        31 => Known::ContentType as u8,
        32 => Known::Cookie as u8,
        33 => Known::Date as u8,
        35 => Known::Expect as u8,
        38 => Known::Host as u8,
        57 => Known::TransferEncoding as u8,
        _ => 0,
    }
}

/// Gives the entry of a number from 1 on; where it is in [`BYTES`].
#[inline]
pub(super) fn get(index: usize) -> Option<&'static Entry> {
    PLACES.get(index.wrapping_sub(1))
}

/// Gives the name of an entry.
pub(super) fn name(entry: &Entry) -> &'static [u8] {
    run(entry).get(..entry.name as usize).unwrap_or_default()
}

fn run(entry: &Entry) -> &'static [u8] {
    entry.run(&BYTES).unwrap_or_default()
}

/// Gives the first entry with that name; the others of it follow.
pub(super) fn find(text: &[u8]) -> Option<usize> {
    let first = text.first()?;
    // Most entries are in alphabetical order; there are too few for more than a look at each.
    (1..)
        .zip(&PLACES)
        .find(|(_, entry)| {
            entry.name as usize == text.len()
                && name(entry).first() == Some(first)
                && name(entry) == text
        })
        .map(|(index, _)| index)
}

/// Gives the entry with that name and value, where `first` is the first one with the name.
pub(super) fn find_value(first: usize, text: &[u8], value: &[u8]) -> Option<usize> {
    let mut index = first;
    loop {
        let entry = get(index).filter(|entry| name(entry) == text)?;
        if run(entry).get(text.len()..) == Some(value) {
            return Some(index);
        }
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hpack::mark;

    #[test]
    fn every_entry_is_found_by_its_name_and_known_as_it_is() {
        for (index, (name, value)) in (1..).zip(ENTRIES) {
            let entry = get(index).unwrap();
            assert_eq!(run(entry), [name, value].concat().as_bytes());
            assert_eq!(entry.known, mark(name.as_bytes()), "{name}");
            let first = find(name.as_bytes()).unwrap();
            assert_eq!(find_value(first, name.as_bytes(), value.as_bytes()), Some(index));
        }
        assert_eq!((find(b":protocol"), get(0).is_none(), get(62).is_none()), (None, true, true));
        assert_eq!(find_value(2, b":method", b"PUT"), None);
    }
}
