//! Whatever a peer writes: nothing panics, and what comes of it is within bounds.

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use crate::proto::h1::parse_http_date;

use super::{Accepted, Asked, Coding, condition, path, range};

proptest! {
    #[test]
    fn a_decoded_name_stays_below(text in "([a-c.%/\\\\]|%2[eEfF]|%5c|%00|%[0-9a-f]{2}|\\PC){0,12}") {
        let mut name = String::new();

        if let Ok(is_dir) = path::decode(&text, &mut name) {
            prop_assert!(is_dir || !name.is_empty());
            let fits = |segment: &str| !segment.is_empty() && !segment.starts_with('.');
            prop_assert!(name.is_empty() || name.split('/').all(fits), "{name:?}");
            prop_assert!(!name.contains(['\\', '\0', '\r', '\n']), "{name:?}");
            prop_assert_eq!(name.matches('/').count(), text.trim_end_matches('/').matches('/').count());
        }
    }

    #[test]
    fn a_range_is_within_the_file(
        field in "(bytes=)?([0-9]{0,21}-[0-9]{0,21}[, ]?){0,20}", size in any::<u64>()
    ) {
        if let Asked::Parts(parts) = range::parse(field.as_bytes(), size) {
            prop_assert!(!parts.is_empty() && parts.len() <= 16);
            for part in &parts {
                prop_assert!(part.len > 0 && part.first < size && part.last() < size);
            }
            let sum: u128 = parts.iter().map(|part| u128::from(part.len)).sum();
            prop_assert!(sum <= u128::from(size));
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in any::<Vec<u8>>(), text in "\\PC*") {
        let mut accepted = Accepted::default();
        accepted.add(&bytes);
        accepted.add(text.as_bytes());
        accepted.takes(Coding::Gzip);
        range::parse(&bytes, 10);
        parse_http_date(&text);
        let tags = condition::tags(&text);
        prop_assert!(tags.map(str::len).sum::<usize>() <= text.len());
    }

    #[test]
    fn any_date_like_text_is_read(
        text in "[A-Z][a-z]{2},? [0-9]{1,2}[ -](Jan|Feb|Dec|Nox)[ -][0-9]{1,5} [0-9:]{0,9}( GMT)?"
    ) {
        if let Some(unix) = parse_http_date(&text) {
            prop_assert!(unix < 253_402_387_200);
        }
    }
}
