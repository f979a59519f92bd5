//! Topic names and filters: MQTT 5.0, section 4.7.

use super::Code;
use super::wire::{Bad, malformed};
use crate::MqttLimits;

/// Checks a topic name: at least one character, no wildcards.
pub(crate) fn check_name(topic: &str, limits: &MqttLimits) -> Result<(), Bad> {
    let bytes = topic.as_bytes();
    if bytes.is_empty() {
        return Err(malformed("MQTT 5.0, 4.7.3: a topic of at least one character"));
    }
    let mut slashes = 0;
    for &byte in bytes {
        if byte == b'+' || byte == b'#' {
            return Err(malformed("MQTT 5.0, 3.3.2.1: a topic name without wildcards"));
        }
        slashes += usize::from(byte == b'/');
    }
    if bytes.len() > limits.topic || slashes >= limits.levels {
        let rule = "MQTT 5.0, 4.7.3: a topic longer or deeper than is taken";
        return Err(Bad { code: Code::TOPIC_NAME_INVALID, rule });
    }
    Ok(())
}

/// Checks a topic filter: wildcards are whole levels, `#` is the last; `$share` has a name.
pub(crate) fn check_filter(filter: &str, limits: &MqttLimits) -> Result<(), Bad> {
    let (_, inner) = split_shared(filter)
        .ok_or(malformed("MQTT 5.0, 4.8.2: $share/NAME/FILTER with a name without wildcards"))?;
    if inner.is_empty() {
        return Err(malformed("MQTT 5.0, 4.7.3: a filter of at least one character"));
    }
    let mut levels = inner.split('/');
    let mut depth = 0;
    while let Some(level) = levels.next() {
        depth += 1;
        let wild = level.contains(['+', '#']);
        if wild && level.len() > 1 {
            return Err(malformed("MQTT 5.0, 4.7.1: a wildcard is a whole level"));
        }
        if level == "#" && levels.next().is_some() {
            return Err(malformed("MQTT 5.0, 4.7.1.2: # is the last level"));
        }
    }
    if filter.len() > limits.topic || depth > limits.levels {
        let rule = "MQTT 5.0, 4.7.3: a filter longer or deeper than is taken";
        return Err(Bad { code: Code::TOPIC_FILTER_INVALID, rule });
    }
    Ok(())
}

/// Splits `$share/NAME/FILTER` into its name and its filter; the name is `None` for a filter that
/// is not shared. `None` if it begins so and is none.
pub fn split_shared(filter: &str) -> Option<(Option<&str>, &str)> {
    let Some(rest) = filter.strip_prefix("$share/") else {
        return if filter == "$share" { None } else { Some((None, filter)) };
    };
    let (name, inner) = rest.split_once('/')?;
    let bad = name.is_empty() || name.contains(['+', '#']);
    (!bad).then_some((Some(name), inner))
}

/// Tells whether a topic name matches a filter, which is not shared. Neither is checked.
///
/// ```
/// use lodger::proto::mqtt::topic_matches;
///
/// assert!(topic_matches("sport/+/player1", "sport/tennis/player1"));
/// assert!(topic_matches("sport/#", "sport"));
/// assert!(!topic_matches("+/monitor", "$SYS/monitor"));
/// ```
pub fn topic_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut topics) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), topics.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(f), Some(t)) if f == t => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_hold() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("a", "A", false),
        ];
        for (filter, topic, matches) in table {
            assert_eq!(topic_matches(filter, topic), matches, "{filter} {topic}");
        }
    }

    #[test]
    fn filters_are_checked() {
        let limits = MqttLimits::default();
        for good in ["#", "+", "a/+/b/#", "/", "//", "+/+", "$share/g/a/#", "$SYS/#", "$share2"] {
            assert_eq!(check_filter(good, &limits), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a#",
            "#/a",
            "a/#/b",
            "a+",
            "+a/b",
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
            "$share/g#/a",
        ] {
            assert!(check_filter(bad, &limits).is_err(), "{bad}");
        }
        let deep = "/".repeat(limits.levels);
        assert_eq!(check_filter(&deep, &limits).unwrap_err().code, Code::TOPIC_FILTER_INVALID);
        assert_eq!(check_name(&deep, &limits).unwrap_err().code, Code::TOPIC_NAME_INVALID);
        for bad in ["", "a/+", "#", "a#"] {
            assert_eq!(check_name(bad, &limits).unwrap_err().code, Code::MALFORMED_PACKET);
        }
    }
}
