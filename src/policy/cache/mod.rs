//! What RFC 9111 says to a shared cache, as decisions on headers and times.
//!
//! [`judge`] decides on a reply: may it be stored, how long is it fresh, and what may it be used for after that.
//! [`Lasting::serve`] decides on a request for which there is a stored reply. `vary` tells requests apart that a reply
//! sets apart, `condition` answers conditional requests and requests for a part, `status` says in `Cache-Status` what was
//! done. Nothing here knows where replies are kept.
//!
//! A route's [`Rules`] either obey what service and client say of freshness, or set a time of their own. They never
//! store what a service forbids to store (`no-store`, `private`), and never use without asking what it wants to be
//! asked about (`no-cache`).

pub mod condition;
mod date;
mod directives;
mod judge;
mod lasting;
pub mod status;
pub mod tags;
pub mod vary;

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName};
use http::{Method, StatusCode};

pub use directives::RequestDirectives;
pub use judge::{Asked, Refusal, Replied, judge};
pub use lasting::{Lasting, Use};

/// How a route's replies are cached.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Who says how long a reply is fresh.
    pub freshness: Freshness,
    /// How long after that it may be used while it is fetched anew, unless the reply says itself.
    pub stale_while_revalidate: Duration,
    /// How long after that it may be used when the service fails, unless the reply says itself.
    pub stale_if_error: Duration,
    /// Largest body that is stored, in bytes.
    pub max_object: u64,
    /// What becomes of replies that set cookies.
    pub set_cookie: SetCookie,
}

/// Who says how long a reply is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The configuration, from the moment that the reply comes.
    Fixed(Duration),
    /// The service, in the words of HTTP; and clients may want fresher ones.
    Respected,
}

/// What becomes of replies that set cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCookie {
    /// They are not stored.
    Refuse,
    /// They are stored and sent without the cookies.
    Remove,
}

/// Whether a request with this method and an answer with this status make what is stored for its path obsolete (RFC 9111
/// section 4.4).
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// Takes the fields of a 304 over into those of the stored reply that it confirms (RFC 9111 section 3.2).
pub fn freshen(stored: &mut HeaderMap, confirming: &HeaderMap) {
    // What describes the bytes that are stored, and not the ones that a 304 does not have.
    const OF_THE_BYTES: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE];
    for name in confirming.keys().filter(|name| !OF_THE_BYTES.contains(name)) {
        let mut values = confirming.get_all(name).iter();
        let Some(first) = values.next() else { continue };
        stored.insert(name.clone(), first.clone());
        for value in values {
            stored.append(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Fields, each as `name: value`.
    pub(super) fn fields(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn unsafe_methods_invalidate_when_they_succeed() {
        for (method, status, expected) in [
            (Method::POST, 200, true),
            (Method::PUT, 204, true),
            (Method::PATCH, 302, true),
            (Method::DELETE, 404, false),
            (Method::POST, 500, false),
            (Method::GET, 200, false),
            (Method::HEAD, 200, false),
            (Method::OPTIONS, 204, false),
        ] {
            let decided = invalidates(&method, StatusCode::from_u16(status).unwrap());
            assert_eq!(decided, expected, "{method} {status}");
        }
    }

    #[test]
    fn a_304_brings_its_fields_but_no_description_of_a_body() {
        let mut stored = fields(&["etag: \"a\"", "x-a: 1", "x-b: 1", "content-length: 5", "content-type: text/plain"]);
        let confirming = fields(&["x-a: 2", "x-a: 3", "content-length: 0", "content-type: text/html", "x-c: 1"]);
        freshen(&mut stored, &confirming);
        let expected = fields(&[
            "etag: \"a\"",
            "x-a: 2",
            "x-a: 3",
            "x-b: 1",
            "content-length: 5",
            "content-type: text/plain",
            "x-c: 1",
        ]);
        assert_eq!(stored, expected);
    }
}
