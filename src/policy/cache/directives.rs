//! `Cache-Control`, of replies and of requests.
//!
//! Names are compared in any case, values may be quoted (RFC 9111 section 5.2). Of a number that is said twice the smaller
//! counts, and one that is none counts as 0: what is unclear is stale. A directive about some fields only (`private="a"`)
//! counts for the whole reply.

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// Seconds beyond which nobody counts (RFC 9111 section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// What a reply says of its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyDirectives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
}

/// What a client says of the answer it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestDirectives {
    /// Nothing of request and answer is to be stored.
    pub no_store: bool,
    /// The service has to be asked.
    pub no_cache: bool,
    /// The service must not be asked.
    pub only_if_cached: bool,
    /// No older than this, in seconds.
    pub max_age: Option<u64>,
    /// Fresh for at least so long, in seconds.
    pub min_fresh: Option<u64>,
    /// Stale for no longer than this, in seconds.
    pub max_stale: Option<u64>,
}

impl ReplyDirectives {
    /// Reads them.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        each(headers, |name, value| match name {
            "no-store" => said.no_store = true,
            "no-cache" => said.no_cache = true,
            "private" => said.private = true,
            "public" => said.public = true,
            "must-revalidate" => said.must_revalidate = true,
            "proxy-revalidate" => said.proxy_revalidate = true,
            "must-understand" => said.must_understand = true,
            "max-age" => lower(&mut said.max_age, value),
            "s-maxage" => lower(&mut said.s_maxage, value),
            "stale-while-revalidate" => lower(&mut said.stale_while_revalidate, value),
            "stale-if-error" => lower(&mut said.stale_if_error, value),
            _ => {}
        });
        said
    }
}

impl RequestDirectives {
    /// Reads them.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        each(headers, |name, value| match name {
            "no-store" => said.no_store = true,
            "no-cache" => said.no_cache = true,
            "only-if-cached" => said.only_if_cached = true,
            "max-age" => lower(&mut said.max_age, value),
            "min-fresh" => said.min_fresh = Some(seconds(value).unwrap_or(MAX_SECONDS)),
            // Without a number: however stale.
            "max-stale" if value.is_empty() => said.max_stale = Some(MAX_SECONDS),
            "max-stale" => lower(&mut said.max_stale, value),
            _ => {}
        });
        said
    }
}

fn lower(known: &mut Option<u64>, value: &str) {
    let said = seconds(value).unwrap_or(0);
    *known = Some(known.map_or(said, |known| known.min(said)));
}

/// Whole seconds, as HTTP writes them: digits alone.
pub(super) fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// Calls with the name of each directive, in lower case, and its value without quotes.
fn each(headers: &HeaderMap, mut take: impl FnMut(&str, &str)) {
    let mut lower = [0; 24];
    for field in headers.get_all(CACHE_CONTROL) {
        let Ok(mut rest) = field.to_str() else { continue };
        while !rest.is_empty() {
            let (member, after) = member(rest);
            rest = after;
            let (name, value) = member.split_once('=').unwrap_or((member, ""));
            // No name that is known is longer.
            let Some(lower) = lower.get_mut(..name.len()) else { continue };
            lower.copy_from_slice(name.as_bytes());
            lower.make_ascii_lowercase();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            take(std::str::from_utf8(lower).unwrap_or_default(), value);
        }
    }
}

/// The first member of a list, and what follows its comma. A comma in a quoted string is none.
fn member(list: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (list[..at].trim(), &list[at + 1..]),
            _ => {}
        }
    }
    (list.trim(), "")
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    #[test]
    fn a_reply_says_how_long_it_is_fresh() {
        for (lines, max_age, s_maxage) in [
            (&["max-age=60"][..], Some(60), None),
            (&["MaX-AgE=60, s-maxage=5"], Some(60), Some(5)),
            (&["max-age=003600"], Some(3600), None),
            (&["max-age=\"3600\""], Some(3600), None),
            (&["max-age='3600'"], Some(0), None),
            (&["max-age=-1"], Some(0), None),
            (&["max-age=1.5"], Some(0), None),
            (&["max-age"], Some(0), None),
            (&["max-age=99999999999999999999999"], Some(1 << 31), None),
            (&["max-age=60, max-age=5"], Some(5), None),
            (&["max-age=5", "max-age=60"], Some(5), None),
            (&["extension=\"max-age=3600\", max-age=1"], Some(1), None),
            (&["extension=\"a\\\", max-age=3600\""], None, None),
            (&["max-age =60"], None, None),
            (&["a-name-that-is-longer-than-every-known-one=1,max-age=7"], Some(7), None),
            (&[""], None, None),
        ] {
            let lines: Vec<String> = lines.iter().map(|line| format!("cache-control: {line}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let said = ReplyDirectives::of(&fields(&lines));
            assert_eq!((said.max_age, said.s_maxage), (max_age, s_maxage), "{lines:?}");
        }
    }

    #[test]
    fn words_count_in_any_case_and_with_any_value() {
        let said =
            ReplyDirectives::of(&fields(&["cache-control: No-StOrE, private=\"x, y\"", "cache-control: public"]));
        assert_eq!((said.no_store, said.private, said.public, said.no_cache), (true, true, true, false));
    }

    #[test]
    fn a_client_says_what_it_takes() {
        for (text, expected) in [
            ("no-cache", RequestDirectives { no_cache: true, ..Default::default() }),
            ("max-stale", RequestDirectives { max_stale: Some(MAX_SECONDS), ..Default::default() }),
            (
                "max-stale=5, min-fresh=2",
                RequestDirectives { max_stale: Some(5), min_fresh: Some(2), ..Default::default() },
            ),
            ("min-fresh=x", RequestDirectives { min_fresh: Some(MAX_SECONDS), ..Default::default() }),
            (
                "only-if-cached, max-age=0",
                RequestDirectives { only_if_cached: true, max_age: Some(0), ..Default::default() },
            ),
        ] {
            assert_eq!(RequestDirectives::of(&fields(&[&format!("cache-control: {text}")])), expected, "{text}");
        }
    }
}
