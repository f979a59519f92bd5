//! What must hold for any bytes, cut anywhere. The tests run it over a corpus and over random
//! bytes, a fuzzer over what it finds.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Event, Multipart, Pairs, boundary};
use crate::proto::split::pieces;
use crate::{Error, FormLimits};

/// One part, owned, its data joined; and whether it is complete.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) data: Vec<u8>,
    pub(super) complete: bool,
}

/// What came of a body, and how it ended.
pub(super) type Read = (Vec<Entry>, Result<(), Error>);

/// Reads a body in pieces.
pub(super) fn read(boundary: &str, limits: FormLimits, pieces: &[&[u8]]) -> Read {
    let mut form = Multipart::new(boundary, limits);
    let mut entries: Vec<Entry> = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match form.poll(&mut rest) {
                Err(e) => return (entries, Err(e)),
                Ok(None) => break,
                Ok(Some(event)) => note(&mut entries, event),
            }
        }
        assert!(rest.is_empty(), "it takes all before it asks for more");
    }
    (entries, form.end())
}

fn note(entries: &mut Vec<Entry>, event: Event<'_>) {
    match event {
        Event::Part(part) => entries.push(Entry {
            name: part.name.into(),
            filename: part.filename.map(String::from),
            content_type: part.content_type.map(String::from),
            ..Entry::default()
        }),
        Event::Data(data) => {
            assert!(!data.is_empty(), "data is never empty");
            let last = entries.last_mut().filter(|entry| !entry.complete);
            last.expect("data has a part").data.extend_from_slice(data);
        }
        Event::PartEnd => entries.last_mut().expect("an end has a part").complete = true,
    }
}

/// Checks one input of a fuzzer: no panic, the same however it is cut, within the limits.
///
/// # Panics
///
/// Something does not hold.
pub fn fuzz_form(data: &[u8]) {
    let pairs = Pairs::new(data).count();
    assert!(pairs <= 1 + data.iter().filter(|&&b| b == b'&').count(), "more pairs than text");
    if let Ok(text) = core::str::from_utf8(data)
        && let Some(boundary) = boundary(text)
    {
        assert!(boundary.bytes().all(|b| b >= b' '), "a boundary is one line");
    }
    let Some((&size, body)) = data.split_first() else { return };
    let small = FormLimits { parts: 3, head: 80, part: 40, bytes: 300 };
    for limits in [FormLimits::default(), small] {
        let whole = read("X", limits, &[body]);
        assert_eq!(whole, read("X", limits, &pieces(body, || 1)), "byte by byte");
        assert_eq!(whole, read("X", limits, &pieces(body, || usize::from(size) % 16 + 2)), "cut");
        let fits = |entry: &Entry| entry.data.len() as u64 <= limits.part;
        assert!(whole.0.len() <= limits.parts && whole.0.iter().all(fits), "a limit");
    }
}
