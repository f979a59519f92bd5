//! Conditions on what is served: RFC 9110, section 13.

use super::Found;
use crate::http::Request;
use crate::proto::h1::parse_http_date;

/// What the conditions of a request come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Go,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Looks at the conditions in their order: RFC 9110, section 13.2.2. For GET and HEAD.
pub(super) fn check(request: &Request<'_>, found: &Found) -> Verdict {
    let since = |name| request.header(name).and_then(parse_http_date);
    if has(request, "if-match") {
        let matches = any(request, "if-match", |tag| !found.is_weak && tag == found.tag());
        if !matches {
            return Verdict::Failed;
        }
    } else if since("if-unmodified-since").is_some_and(|at| found.meta.modified > at) {
        return Verdict::Failed;
    }
    let known = if has(request, "if-none-match") {
        any(request, "if-none-match", |tag| unmarked(tag) == unmarked(found.tag()))
    } else {
        since("if-modified-since").is_some_and(|at| found.meta.modified <= at)
    };
    if known { Verdict::NotModified } else { Verdict::Go }
}

/// Tells whether a Range field counts: its If-Range, if there is one, means exactly this content
/// (section 13.1.5), by a strong comparison.
pub(super) fn range_counts(request: &Request<'_>, found: &Found) -> bool {
    let Some(condition) = request.header("if-range") else { return !has(request, "if-range") };
    let condition = condition.trim();
    let same = match condition.starts_with(['"', 'W']) && condition.ends_with('"') {
        true => condition == found.tag(),
        false => parse_http_date(condition) == Some(found.meta.modified),
    };
    same && !found.is_weak
}

fn has(request: &Request<'_>, name: &str) -> bool {
    request.fields().get(name).is_some()
}

/// Tells whether `*` or a tag for which `same` holds is in any of the fields of this name.
fn any(request: &Request<'_>, name: &str, same: impl Fn(&str) -> bool) -> bool {
    let fields = request.fields();
    let mut lists = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    lists.any(|(_, list)| {
        core::str::from_utf8(list).is_ok_and(|list| list.trim() == "*" || tags(list).any(&same))
    })
}

/// Gives the entity tags of a list, with their mark of weakness, up to the first that is malformed.
pub(super) fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    core::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opaque = unmarked(rest).strip_prefix('"')?;
        let marked = rest.len() - opaque.len();
        let (tag, more) = rest.split_at_checked(marked + opaque.find('"')? + 1)?;
        rest = more;
        Some(tag)
    })
}

fn unmarked(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn tags_of_a_list_are_found_whatever_is_in_them() {
        let list = r#" "a", W/"b,c" ,,"", "d""#;
        assert_eq!(tags(list).collect::<Vec<_>>(), [r#""a""#, r#"W/"b,c""#, r#""""#, r#""d""#]);
    }

    #[test]
    fn a_malformed_list_ends_there() {
        for (list, count) in [("", 0), ("a", 0), ("\"a", 0), ("\"a\",b,\"c\"", 1), ("W/", 0)] {
            assert_eq!(tags(list).count(), count, "{list}");
        }
    }
}
