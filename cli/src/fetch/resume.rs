//! A file that is got in parts.
//!
//! What vouches for the part that is there is the file's own time: it is set to the server's
//! `Last-Modified` with each piece, and sent back as `If-Range`. A strong `ETag` vouches better: it
//! is kept in an attribute of the file, with the time that the file had then, where the file system
//! has attributes. A file that another program has touched, or that the server has changed, is got
//! anew from its first byte.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lodger::http::Fields;
use lodger::proto::h1::{http_date, parse_http_date};
use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};

/// The attribute: seconds since 1970, a space, the tag.
const TAG: &str = "user.lodger.etag";
/// The longest tag that is kept.
const TAG_MAX: usize = 256;

/// The part that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its length in bytes, at least 1.
    pub(super) len: u64,
    /// What `If-Range` says: its tag, or its time.
    pub(super) validator: String,
}

/// Looks what there is of a file.
pub(super) fn part(path: &Path) -> Option<Part> {
    let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let time = file.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let date = String::from_utf8(http_date(time.as_secs()).to_vec()).ok()?;
    let validator = kept_tag(path, time.as_secs()).unwrap_or(date);
    (file.len() > 0).then_some(Part { len: file.len(), validator })
}

/// Gives the tag that is kept with a file, if nobody has touched the file since.
fn kept_tag(path: &Path, time: u64) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut value = vec![0; TAG_MAX + 32];
    let len = fgetxattr(&file, TAG, &mut value).ok()?;
    let (when, tag) = str::from_utf8(value.get(..len)?).ok()?.split_once(' ')?;
    (when.parse() == Ok(time) && is_strong(tag)).then(|| tag.to_owned())
}

/// RFC 9110, section 8.8.3.
fn is_strong(tag: &str) -> bool {
    tag.len() > 1 && tag.len() <= TAG_MAX && tag.starts_with('"') && tag.ends_with('"')
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

/// Keeps with the file what vouches for it, and gives the time that it is to have; `None` if nothing
/// does.
pub(super) fn vouch(file: &File, fields: Fields<'_>) -> Option<SystemTime> {
    // What is there may belong to an earlier answer.
    let _ = fremovexattr(file, TAG);
    let sent = fields.get_str("date").and_then(parse_http_date);
    let modified = strong_time(fields, sent);
    // Any time does for a tag, as long as the file still has it.
    let tagged = fields.get_str("etag").filter(|tag| is_strong(tag)).and_then(|tag| {
        let time = modified.or(sent)?;
        let value = format!("{time} {tag}");
        fsetxattr(file, TAG, value.as_bytes(), XattrFlags::empty()).ok().map(|()| time)
    });
    tagged.or(modified).map(|time| SystemTime::UNIX_EPOCH + Duration::from_secs(time))
}

/// Gives the time of what a response carries, in seconds since 1970, if it is a strong validator: RFC
/// 9110, section 8.8.2.2.
fn strong_time(fields: Fields<'_>, sent: Option<u64>) -> Option<u64> {
    let modified = fields.get_str("last-modified").and_then(parse_http_date)?;
    (modified < sent?).then_some(modified)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_tag_vouches() {
        for (tag, strong) in
            [("\"a\"", true), ("\"\"", true), ("W/\"a\"", false), ("a", false), ("\"", false)]
        {
            assert_eq!(is_strong(tag), strong, "{tag}");
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
