//! A file that is got in parts.
//!
//! What vouches for the part that is there is the file's own time: it is set to the server's
//! `Last-Modified` with each piece, and sent back as `If-Range`. A file that another program has
//! touched, or that the server has changed, is got anew from its first byte.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lodger::http::Fields;
use lodger::proto::h1::http_date;

/// The part that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its length in bytes, at least 1.
    pub(super) len: u64,
    /// Its time, as `If-Range` says it.
    pub(super) date: String,
}

/// Looks what there is of a file.
pub(super) fn part(path: &Path) -> Option<Part> {
    let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let time = file.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let date = String::from_utf8(http_date(time.as_secs()).to_vec()).ok()?;
    (file.len() > 0).then_some(Part { len: file.len(), date })
}

/// Opens the file to go on after `kept` bytes; 0 begins anew.
pub(super) fn open(path: &Path, kept: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(kept == 0).open(path)?;
    file.seek(SeekFrom::Start(kept))?;
    Ok(file)
}

/// Gives the file the time that vouches for it.
pub(super) fn stamp(file: &File, time: Option<SystemTime>) {
    if let Some(time) = time {
        // Where it cannot be set the file cannot be resumed, and is got anew.
        let _ = file.set_times(FileTimes::new().set_modified(time));
    }
}

/// Gives the time of what a response carries, if it is a strong validator: RFC 9110, section
/// 8.8.2.2.
pub(super) fn strong_time(fields: Fields<'_>) -> Option<SystemTime> {
    let modified = read_date(fields.get_str("last-modified")?)?;
    let sent = read_date(fields.get_str("date")?)?;
    (modified < sent).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(modified))
}

/// Reads `bytes 5-9/10` or `bytes */10`: where it begins, and the length of all.
pub(super) fn content_range(text: &str) -> (Option<u64>, Option<u64>) {
    let Some((range, all)) = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/'))
    else {
        return (None, None);
    };
    let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
    (first, all.parse().ok())
}

/// Reads a date in the one form that may be sent (RFC 9110, section 5.6.7), in seconds since 1970.
fn read_date(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (day, year) = (number(5, 7)?, number(12, 16)?);
    let month = MONTHS.find(text.get(8..11)?)? as u64 / 3;
    // Days before the month, counted from March, so that a leap day is the last of its year.
    let (year, month) =
        if month < 2 { (year.checked_sub(1)?, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    let seconds = ((days * 24 + number(17, 19)?) * 60 + number(20, 22)?) * 60 + number(23, 25)?;
    (http_date(seconds) == *text.as_bytes()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_it_is_written() {
        for seconds in [0, 784_111_777, 951_782_400, 951_868_799, 4_102_444_800, 253_402_300_799] {
            let text = String::from_utf8(http_date(seconds).to_vec()).unwrap();
            assert_eq!(read_date(&text), Some(seconds), "{text}");
        }
        for text in
            ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 CET", "Mon, 06 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(read_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_says_where_it_begins_and_what_there_is() {
        assert_eq!(content_range("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(content_range("bytes */10"), (None, Some(10)));
        assert_eq!(content_range("bytes 5-9/*"), (Some(5), None));
        assert_eq!(content_range("lines 1-2/3"), (None, None));
    }
}
