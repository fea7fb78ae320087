//! Whether a reply may be stored, and for how long (RFC 9111 sections 3 and 4.2).

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{AGE, DATE, ETAG, EXPIRES, HeaderMap, LAST_MODIFIED, SET_COOKIE, VARY};

use super::date::date;
use super::directives::{ReplyDirectives, seconds};
use super::{Freshness, Lasting, Rules, SetCookie};

/// Part of the time since its last change for which a reply counts as fresh that does not say how long it is.
const HEURISTIC_SHARE: u32 = 10;

/// The longest that this can be.
const HEURISTIC_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// What matters of the request that a reply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// It has an `Authorization` that the reply may depend on, and nothing else sets callers apart.
    pub authorized: bool,
    /// Its client wants nothing stored.
    pub no_store: bool,
}

/// A reply.
#[derive(Debug, Clone, Copy)]
pub struct Replied<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// When its header had come.
    pub at: SystemTime,
    /// How long it took to come.
    pub delay: Duration,
}

/// Why a reply is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Service or client says so.
    NoStore,
    /// It is for one user.
    Private,
    /// It is for whoever was authorised, and does not say that it is for others.
    Authorized,
    /// It sets cookies.
    Cookies,
    /// It depends on more than the request.
    VariesOnAll,
    /// Replies with this status are not stored.
    Status,
    /// It would never be used.
    Useless,
}

/// Decides on a reply to a GET.
///
/// # Errors
/// Why it is not stored.
pub fn judge(rules: &Rules, asked: Asked, replied: &Replied<'_>) -> Result<Lasting, Refusal> {
    let (status, headers) = (replied.status, replied.headers);
    let said = ReplyDirectives::of(headers);
    // A part is no reply that others could be answered with, and a 304 is judged with what it confirms.
    if status.is_informational() || [StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) {
        return Err(Refusal::Status);
    }
    match said.must_understand {
        // Whoever understands the status obeys the other directives instead of `no-store`.
        true if !is_understood(status) => return Err(Refusal::Status),
        true => {}
        false if said.no_store => return Err(Refusal::NoStore),
        false => {}
    }
    if asked.no_store {
        return Err(Refusal::NoStore);
    }
    if said.private {
        return Err(Refusal::Private);
    }
    if asked.authorized && !(said.public || said.must_revalidate || said.s_maxage.is_some()) {
        return Err(Refusal::Authorized);
    }
    if rules.set_cookie == SetCookie::Refuse && headers.contains_key(SET_COOKIE) {
        return Err(Refusal::Cookies);
    }
    if headers
        .get_all(VARY)
        .iter()
        .any(|value| value.as_bytes().split(|&byte| byte == b',').any(|name| name.trim_ascii() == b"*"))
    {
        return Err(Refusal::VariesOnAll);
    }
    let age = initial_age(replied);
    let fresh_for = match rules.freshness {
        Freshness::Fixed(time) if is_plain(status) => time,
        // Nobody expects an error to last as long as what it stands for: only where the service says so.
        Freshness::Fixed(time) => match explicit_lifetime(&said, replied) {
            Some(lifetime) => lifetime.saturating_sub(age).min(time),
            None => return Err(Refusal::Status),
        },
        Freshness::Respected => {
            let lifetime = match explicit_lifetime(&said, replied) {
                Some(lifetime) => lifetime,
                None if said.public || is_heuristic(status) => heuristic_lifetime(replied),
                None => return Err(Refusal::Status),
            };
            lifetime.saturating_sub(age)
        }
    };
    let lasting = lasting(rules, &said, age, fresh_for);
    let can_be_confirmed = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    if lasting.is_never_usable() && !can_be_confirmed {
        return Err(Refusal::Useless);
    }
    Ok(lasting)
}

fn lasting(rules: &Rules, said: &ReplyDirectives, age: Duration, fresh_for: Duration) -> Lasting {
    let never = said.must_revalidate || said.proxy_revalidate || said.no_cache;
    let stale = |own: Option<u64>, otherwise: Duration| match never {
        true => Duration::ZERO,
        false => own.map_or(otherwise, Duration::from_secs),
    };
    Lasting {
        age,
        fresh_for: if said.no_cache { Duration::ZERO } else { fresh_for },
        while_revalidate: stale(said.stale_while_revalidate, rules.stale_while_revalidate),
        if_error: stale(said.stale_if_error, rules.stale_if_error),
        // `s-maxage` says it for a shared cache, where nothing says how stale a reply may be.
        never_stale: never || said.s_maxage.is_some(),
    }
}

/// How old a reply was when it came (RFC 9111 section 4.2.3).
fn initial_age(replied: &Replied<'_>) -> Duration {
    let since = date(replied.headers, &DATE).and_then(|date| replied.at.duration_since(date).ok());
    // Dates have no fraction of a second.
    let apparent = Duration::from_secs(since.unwrap_or_default().as_secs());
    let said = replied.headers.get(AGE).and_then(|age| age.to_str().ok()?.split(',').next().map(str::trim));
    let said = Duration::from_secs(said.and_then(seconds).unwrap_or(0));
    apparent.max(said + replied.delay)
}

/// What service or standard say of how long a reply is fresh.
fn explicit_lifetime(said: &ReplyDirectives, replied: &Replied<'_>) -> Option<Duration> {
    if let Some(age) = said.s_maxage.or(said.max_age) {
        return Some(Duration::from_secs(age));
    }
    if !replied.headers.contains_key(EXPIRES) {
        return None;
    }
    let from = date(replied.headers, &DATE).unwrap_or(replied.at);
    // An invalid date is one in the past.
    let until = date(replied.headers, &EXPIRES);
    Some(until.and_then(|until| until.duration_since(from).ok()).unwrap_or_default())
}

/// What has not changed for long will not change soon.
fn heuristic_lifetime(replied: &Replied<'_>) -> Duration {
    let from = date(replied.headers, &DATE).unwrap_or(replied.at);
    let unchanged = date(replied.headers, &LAST_MODIFIED).and_then(|changed| from.duration_since(changed).ok());
    (unchanged.unwrap_or_default() / HEURISTIC_SHARE).min(HEURISTIC_MOST)
}

/// Statuses of which RFC 9110 (section 15.1) says that they can be stored without a word of the service.
fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses that a time of the configuration is for.
fn is_plain(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308)
}

/// Statuses that mean something here.
fn is_understood(status: StatusCode) -> bool {
    is_heuristic(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

#[cfg(test)]
mod tests;
