//! Texts of the system, read again when they have changed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

/// More of a text than this is not looked at.
const MOST: u64 = 1 << 20;

/// Reads the file at `path`, unless it is still the one that `known` stands for.
pub(super) fn read(path: &str, known: Option<u64>) -> io::Result<Option<(u64, Vec<u8>)>> {
    let stamp = stamp(&std::fs::metadata(path)?);
    if known == Some(stamp) {
        return Ok(None);
    }
    // The stamp is taken before: a change in between is found by the next call.
    let mut text = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut text)?;
    Ok(Some((stamp, text)))
}

/// Joins what changes when a file is written or replaced (FNV-1a).
fn stamp(meta: &Metadata) -> u64 {
    let parts =
        [meta.ino(), meta.len(), meta.mtime().cast_unsigned(), meta.mtime_nsec().cast_unsigned()];
    let bytes = parts.into_iter().flat_map(u64::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once_and_again_when_it_has_changed() {
        let path = std::env::temp_dir().join(format!("lodger-mio-{}-text", std::process::id()));
        let path = path.to_str().unwrap();
        std::fs::write(path, "one").unwrap();

        let (stamp, text) = read(path, None).unwrap().unwrap();
        assert_eq!((&text[..], read(path, Some(stamp)).unwrap()), (&b"one"[..], None));
        std::fs::write(path, "other").unwrap();
        let (_, text) = read(path, Some(stamp)).unwrap().unwrap();

        assert_eq!(text, b"other");
        std::fs::remove_file(path).unwrap();
        assert_eq!(read(path, None).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
