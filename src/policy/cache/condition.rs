//! Conditional requests and requests for a part, answered from a stored reply (RFC 9110 sections 13 and 14).

use http::HeaderMap;
use http::header::{
    DATE, ETAG, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE,
};

use super::date::date;

/// Whether a request has a condition that only its service can decide on.
pub fn is_for_the_service(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a client has what is stored already, so that it is told 304.
pub fn is_known(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut listed = request.get_all(IF_NONE_MATCH).iter().peekable();
    if listed.peek().is_some() {
        let Some(tag) = stored.get(ETAG) else { return listed.any(|value| value == "*") };
        return listed.any(|value| value == "*" || tags(value).any(|listed| opaque(listed) == opaque(tag.as_bytes())));
    }
    let Some(since) = date(request, &IF_MODIFIED_SINCE) else { return false };
    date(stored, &LAST_MODIFIED).or_else(|| date(stored, &DATE)).is_some_and(|changed| changed <= since)
}

/// What of a stored body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From the first to the last of these bytes.
    Bytes(u64, u64),
    /// What is asked for is not there.
    Beyond,
}

/// What a request wants of a stored body of this length. Several parts at once are answered with the whole, as is what
/// cannot be understood.
pub fn part(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Part {
    let Some(range) = request.get(RANGE) else { return Part::Whole };
    if request.get(IF_RANGE).is_some_and(|condition| !is_unchanged(condition, request, stored)) {
        return Part::Whole;
    }
    let spec = range.to_str().ok().and_then(|text| text.strip_prefix("bytes="));
    let Some((first, last)) = spec.and_then(|spec| spec.split_once('-')) else { return Part::Whole };
    match (number(first), number(last)) {
        (Number::Is(first), _) if first >= length => Part::Beyond,
        (Number::Is(first), Number::Is(last)) if last >= first => Part::Bytes(first, last.min(length - 1)),
        (Number::Is(first), Number::Absent) => Part::Bytes(first, length - 1),
        (Number::Absent, Number::Is(0)) => Part::Beyond,
        (Number::Absent, Number::Is(_)) if length == 0 => Part::Beyond,
        (Number::Absent, Number::Is(suffix)) => Part::Bytes(length.saturating_sub(suffix), length - 1),
        _ => Part::Whole,
    }
}

enum Number {
    Is(u64),
    Absent,
    Wrong,
}

fn number(text: &str) -> Number {
    match text.trim() {
        "" => Number::Absent,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Number::Is(digits.parse().unwrap_or(u64::MAX)),
        _ => Number::Wrong,
    }
}

/// Whether what a client has a part of is what is stored: weak tags do not tell (RFC 9110 section 13.1.5).
fn is_unchanged(condition: &HeaderValue, request: &HeaderMap, stored: &HeaderMap) -> bool {
    if condition.as_bytes().starts_with(b"\"") {
        return stored.get(ETAG) == Some(condition);
    }
    let asked = date(request, &IF_RANGE);
    asked.is_some() && asked == date(stored, &LAST_MODIFIED)
}

/// Whether two entity tags are the same, weak or not.
pub fn is_same(one: &HeaderValue, other: &HeaderValue) -> bool {
    opaque(one.as_bytes()) == opaque(other.as_bytes())
}

/// The entity tags of a list.
fn tags(list: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut rest = list.as_bytes();
    std::iter::from_fn(move || {
        let begin = rest.iter().position(|&byte| byte == b'"')?;
        let end = begin + 1 + rest[begin + 1..].iter().position(|&byte| byte == b'"')?;
        let tag = &rest[begin..=end];
        rest = &rest[end + 1..];
        Some(tag)
    })
}

/// A tag without its mark of weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let monday = "Mon, 06 Jan 2025 00:00:00 GMT";
        let tuesday = "Tue, 07 Jan 2025 00:00:00 GMT";
        for (request, stored, known) in [
            (&["if-none-match: \"a\""][..], &["etag: \"a\""][..], true),
            (&["if-none-match: W/\"a\""], &["etag: \"a\""], true),
            (&["if-none-match: \"a\""], &["etag: W/\"a\""], true),
            (&["if-none-match: \"b\", \"a,\" , \"a\""], &["etag: \"a\""], true),
            (&["if-none-match: \"b\"", "if-none-match: \"a\""], &["etag: \"a\""], true),
            (&["if-none-match: *"], &["etag: \"a\""], true),
            (&["if-none-match: \"b\""], &["etag: \"a\""], false),
            (&["if-none-match: \"a"], &["etag: \"a\""], false),
            (&["if-none-match: \"a\""], &[], false),
            (
                &["if-none-match: \"b\"", &format!("if-modified-since: {tuesday}")],
                &["etag: \"a\"", &format!("last-modified: {monday}")],
                false,
            ),
            (&[&format!("if-modified-since: {monday}")], &[&format!("last-modified: {monday}")], true),
            (&[&format!("if-modified-since: {monday}")], &[&format!("last-modified: {tuesday}")], false),
            (&["if-modified-since: yesterday"], &[&format!("last-modified: {monday}")], false),
            (&[&format!("if-modified-since: {tuesday}")], &[&format!("date: {monday}")], true),
            (&[], &["etag: \"a\""], false),
        ] {
            assert_eq!(is_known(&fields(request), &fields(stored)), known, "{request:?} {stored:?}");
        }
    }

    #[test]
    fn one_part_can_be_had() {
        let monday = "last-modified: Mon, 06 Jan 2025 00:00:00 GMT";
        for (request, expected) in [
            (&["range: bytes=0-1"][..], Part::Bytes(0, 1)),
            (&["range: bytes=2-"], Part::Bytes(2, 9)),
            (&["range: bytes=2-100"], Part::Bytes(2, 9)),
            (&["range: bytes=-3"], Part::Bytes(7, 9)),
            (&["range: bytes=-30"], Part::Bytes(0, 9)),
            (&["range: bytes=9-9"], Part::Bytes(9, 9)),
            (&["range: bytes=10-"], Part::Beyond),
            (&["range: bytes=-0"], Part::Beyond),
            (&["range: bytes=3-2"], Part::Whole),
            (&["range: bytes=0-1,3-4"], Part::Whole),
            (&["range: bytes=-"], Part::Whole),
            (&["range: lines=0-1"], Part::Whole),
            (&["range: bytes=+1-2"], Part::Whole),
            (&["range: bytes=0-1", "if-range: \"a\""], Part::Bytes(0, 1)),
            (&["range: bytes=0-1", "if-range: \"b\""], Part::Whole),
            (&["range: bytes=0-1", "if-range: W/\"a\""], Part::Whole),
            (&["range: bytes=0-1", "if-range: Mon, 06 Jan 2025 00:00:00 GMT"], Part::Bytes(0, 1)),
            (&["range: bytes=0-1", "if-range: Tue, 07 Jan 2025 00:00:00 GMT"], Part::Whole),
            (&[], Part::Whole),
        ] {
            assert_eq!(part(&fields(request), &fields(&["etag: \"a\"", monday]), 10), expected, "{request:?}");
        }
        assert_eq!(part(&fields(&["range: bytes=0-"]), &fields(&[]), 0), Part::Beyond);
        assert_eq!(part(&fields(&["range: bytes=-5"]), &fields(&[]), 0), Part::Beyond);
    }
}
