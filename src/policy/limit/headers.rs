//! What clients are told: `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-10, the older
//! `X-RateLimit-*` triplet, and `Retry-After`.
//!
//! The draft's fields list every limit of the request. `RateLimit-Policy` does not change from request to request: the
//! caller makes it once for a set of limits. In `RateLimit`, `t` is when more is left (see [`Standing::reset_seconds`]);
//! concurrency has none. On a refusal no `t` of a limit that refused is later than `Retry-After`, as the draft asks.
//!
//! The triplet can show one limit only: one that refused before one that passed, then the one with the fewest requests
//! left, then the one with the longer way to its reset. `X-RateLimit-Reset` is in seconds from now, not a Unix time.
//! Concurrency never appears in it: its readers take the numbers for requests per time.

use std::cmp::Reverse;

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::{Limit, Refused, Standing, Verdict};

/// `RateLimit`
pub static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy`
pub static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `X-RateLimit-Limit`
pub static X_RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// `X-RateLimit-Remaining`
pub static X_RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// `X-RateLimit-Reset`
pub static X_RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The values of the `X-RateLimit-*` fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triplet {
    /// The most that can be left: the burst of a rate, the count of a quota.
    pub limit: HeaderValue,
    /// What is left.
    pub remaining: HeaderValue,
    /// Seconds until more is left.
    pub reset: HeaderValue,
}

/// Header fields, in order.
pub type Fields = SmallVec<[(HeaderName, HeaderValue); 5]>;

/// Everything that clients are told about these standings.
#[must_use]
pub fn fields(standings: &[Standing<'_>]) -> Fields {
    let mut fields = Fields::new();
    fields.extend(rate_limit(standings).map(|value| (RATE_LIMIT.clone(), value)));
    let policies = rate_limit_policy(standings.iter().map(|standing| standing.limit));
    fields.extend(policies.map(|value| (RATE_LIMIT_POLICY.clone(), value)));
    if let Some(Triplet { limit, remaining, reset }) = x_rate_limit(standings) {
        fields.push((X_RATE_LIMIT_LIMIT.clone(), limit));
        fields.push((X_RATE_LIMIT_REMAINING.clone(), remaining));
        fields.push((X_RATE_LIMIT_RESET.clone(), reset));
    }
    fields
}

/// The value of `RateLimit-Policy` for these limits; `None` without any.
#[must_use]
pub fn rate_limit_policy<'a>(limits: impl IntoIterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let mut value = String::new();
    for limit in limits {
        if !value.is_empty() {
            value.push_str(", ");
        }
        value.push_str(limit.policy_item());
    }
    present(value.as_bytes())
}

/// The value of `RateLimit` for these standings; `None` without any.
#[must_use]
pub fn rate_limit(standings: &[Standing<'_>]) -> Option<HeaderValue> {
    let mut value: SmallVec<[u8; 256]> = SmallVec::new();
    let mut digits = itoa::Buffer::new();
    for standing in standings {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(standing.limit.standing_prefix.as_bytes());
        value.extend_from_slice(digits.format(standing.remaining).as_bytes());
        if !standing.limit.is_concurrency() {
            value.extend_from_slice(b";t=");
            value.extend_from_slice(digits.format(standing.reset_seconds).as_bytes());
        }
    }
    present(&value)
}

/// The `X-RateLimit-*` values of the limit closest to exhaustion; `None` when there is only concurrency.
#[must_use]
pub fn x_rate_limit(standings: &[Standing<'_>]) -> Option<Triplet> {
    let told = standings.iter().filter(|standing| !standing.limit.is_concurrency());
    let closest = told.min_by_key(|standing| {
        (standing.verdict == Verdict::Passed, standing.remaining, Reverse(standing.reset_seconds))
    })?;
    Some(Triplet {
        limit: HeaderValue::from(closest.limit.capacity()),
        remaining: HeaderValue::from(closest.remaining),
        reset: HeaderValue::from(closest.reset_seconds),
    })
}

/// The value of `Retry-After`.
#[must_use]
pub fn retry_after(refused: &Refused<'_>) -> HeaderValue {
    HeaderValue::from(refused.retry_after_seconds)
}

/// Names are checked when a limit is compiled, so every list but the empty one is a value.
fn present(value: &[u8]) -> Option<HeaderValue> {
    if value.is_empty() { None } else { HeaderValue::from_bytes(value).ok() }
}
