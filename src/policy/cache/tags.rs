//! Names under which a service wants its replies forgotten together.

use http::HeaderMap;
use http::header::HeaderName;

/// A list with commas.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// A list with spaces.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The fields that hold tags. They are for caches; clients do not get them.
pub const FIELDS: [HeaderName; 2] = [CACHE_TAG, SURROGATE_KEY];

/// Most tags of one reply that count.
const MOST: usize = 64;

/// Longest tag, in bytes.
pub const LONGEST: usize = 256;

/// The tags of a reply.
pub fn of(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let listed = |name: HeaderName, separator: char| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(move |value| value.split(separator).map(str::trim))
    };
    let tags = listed(CACHE_TAG, ',').chain(listed(SURROGATE_KEY, ' '));
    tags.filter(|tag| (1..=LONGEST).contains(&tag.len())).take(MOST)
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    #[test]
    fn both_fields_are_read() {
        let headers = fields(&["cache-tag: a, b c,,", "cache-tag: d", "surrogate-key: e  f"]);
        assert_eq!(of(&headers).collect::<Vec<_>>(), ["a", "b c", "d", "e", "f"]);
        let long = format!("cache-tag: {}", "x".repeat(LONGEST + 1));
        assert_eq!(of(&fields(&[&long])).count(), 0);
    }
}
