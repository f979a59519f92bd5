//! The static table: RFC 7541, appendix A.

use super::Pseudo;
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

/// Where an entry is in [`BYTES`], and what its name is known as.
#[derive(Clone, Copy)]
pub(super) struct Place {
    start: u16,
    pub(super) name: u8,
    pub(super) value: u8,
    pub(super) known: u8,
}

impl Place {
    /// Gives name and value as one run of bytes.
    #[inline]
    pub(super) fn bytes(self) -> &'static [u8] {
        let start = usize::from(self.start);
        let len = usize::from(self.name) + usize::from(self.value);
        BYTES.get(start..start + len).unwrap_or_default()
    }

    /// Gives the name.
    pub(super) fn name(self) -> &'static [u8] {
        self.bytes().get(..usize::from(self.name)).unwrap_or_default()
    }
}

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
static BYTES: [u8; TOTAL] = bytes();
static PLACES: [Place; COUNT] = places();

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
const fn places() -> [Place; COUNT] {
    let mut made = [Place { start: 0, name: 0, value: 0, known: 0 }; COUNT];
    let (mut at, mut start) = (0, 0);
    while at < COUNT {
        let (name, value) = (ENTRIES[at].0.len(), ENTRIES[at].1.len());
        let known = known(at + 1);
        made[at] = Place { start: start as u16, name: name as u8, value: value as u8, known };
        start += name + value;
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

/// Gives the entry of a number from 1 on.
#[inline]
pub(super) fn get(index: usize) -> Option<Place> {
    PLACES.get(index.wrapping_sub(1)).copied()
}

/// Gives the first entry with that name; the others of it follow.
pub(super) fn find(name: &[u8]) -> Option<usize> {
    let first = name.first()?;
    // Most entries are in alphabetical order; there are too few for more than a look at each.
    (1..)
        .zip(&PLACES)
        .find(|(_, place)| {
            usize::from(place.name) == name.len()
                && place.name().first() == Some(first)
                && place.name() == name
        })
        .map(|(index, _)| index)
}

/// Gives the entry with that name and value, where `first` is the first one with the name.
pub(super) fn find_value(first: usize, name: &[u8], value: &[u8]) -> Option<usize> {
    let mut index = first;
    loop {
        let place = get(index).filter(|place| place.name() == name)?;
        if place.bytes().get(name.len()..) == Some(value) {
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
            let place = get(index).unwrap();
            assert_eq!(place.bytes(), [name, value].concat().as_bytes());
            assert_eq!(place.known, mark(name.as_bytes()), "{name}");
            let first = find(name.as_bytes()).unwrap();
            assert_eq!(find_value(first, name.as_bytes(), value.as_bytes()), Some(index));
        }
        assert_eq!((find(b":protocol"), get(0).is_none(), get(62).is_none()), (None, true, true));
        assert_eq!(find_value(2, b":method", b"PUT"), None);
    }
}
