//! HTTP dates as they are read: RFC 9110, section 5.6.7; and Retry-After, which may hold one.

use core::time::Duration;

/// What Retry-After asks for: RFC 9110, section 10.2.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum RetryAfter {
    /// To wait so many seconds.
    Seconds(u64),
    /// To wait until then, in seconds since 1970.
    Until(u64),
}

impl RetryAfter {
    /// Reads the field's value; `None` if it is neither a number nor a date.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than fit are a long time all the same.
            return Some(Self::Seconds(value.parse().unwrap_or(u64::MAX)));
        }
        parse_http_date(value).map(Self::Until)
    }

    /// Gives how long that is from `unix`, in seconds since 1970; nothing if it has passed.
    pub fn wait(self, unix: u64) -> Duration {
        Duration::from_secs(match self {
            Self::Seconds(n) => n,
            Self::Until(at) => at.saturating_sub(unix),
        })
    }
}

/// Reads a date in any of the three forms, as seconds since 1970; `None` if it is none, or before
/// 1970. The day of the week is not looked at.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let (day_name, rest) = text.trim().split_once(' ')?;
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let mut next = || words.next();
    // Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT; Sun Nov  6 08:49:37 1994
    let (year, month, day, time) = if !day_name.ends_with(',') {
        let (month, day, time, year) = (next()?, next()?, next()?, next()?);
        (number(year, 4)?, month, number(day, 0)?, time)
    } else {
        let first = next()?;
        let date = match first.split_once('-') {
            Some((day, rest)) => {
                let (month, year) = rest.split_once('-')?;
                (century(number(year, 2)?), month, number(day, 2)?, next()?)
            }
            None => {
                let (month, year) = (next()?, next()?);
                (number(year, 4)?, month, number(first, 2)?, next()?)
            }
        };
        if next()? != "GMT" {
            return None;
        }
        date
    };
    if next().is_some() {
        return None;
    }
    seconds(year, month, day, time)
}

/// Two digits are taken as 1970 to 2069.
fn century(year: u64) -> u64 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

fn seconds(year: u64, month: &str, day: u64, time: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let mut parts = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let fits = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !fits || parts.next().is_some() {
        return None;
    }
    let days = days(year, month, day)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days since 1970; `month` counts from 0. Counts years from the first of March, so that a leap
/// day is the last of its year.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, of_year) =
        if month < 2 { (year.checked_sub(1)?, month + 10) } else { (year, month - 2) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * of_year + 2) / 5 + day;
    days.checked_sub(719_469)
}

/// Reads exactly `digits` digits; 0 is one or two.
fn number(text: &str, digits: usize) -> Option<u64> {
    let fits = if digits == 0 { (1..=2).contains(&text.len()) } else { text.len() == digits };
    let all = text.bytes().all(|b| b.is_ascii_digit());
    (fits && all).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h1::http_date;

    #[test]
    fn all_three_forms_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http_date(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for day in (0..60_000).step_by(7) {
            let unix = day * 86_400 + day % 86_400;
            let text = http_date(unix);
            assert_eq!(parse_http_date(core::str::from_utf8(&text).unwrap()), Some(unix));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |value, unix| RetryAfter::parse(value).map(|asked| asked.wait(unix).as_secs());

        assert_eq!(wait("120", 0), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_707), Some(70));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_999), Some(0));
        assert_eq!(wait("99999999999999999999999", 0), Some(u64::MAX));
        for value in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(wait(value, 0), None, "{value}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1960 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Thu, 01 Jan 0000 00:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov +994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
