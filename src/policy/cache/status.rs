//! `Cache-Status` (RFC 9211): what the cache did with a request.

use std::fmt::Write as _;

use http::header::HeaderValue;

/// Why a request went to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// The cache is not for it.
    Bypass,
    /// Its method is not answered from what is stored.
    Method,
    /// Nothing is stored for it.
    UriMiss,
    /// What is stored is for requests with other fields.
    VaryMiss,
    /// What is stored is stale.
    Stale,
    /// Its client wants a newer one than what is stored.
    Request,
}

impl Forwarded {
    fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// What happened to a request that went to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Why it did.
    pub why: Forwarded,
    /// The status of the reply, where the answer has another.
    pub status: Option<u16>,
    /// The reply is stored.
    pub stored: bool,
    /// Another request brought it.
    pub collapsed: bool,
}

/// It was answered from the store.
pub fn hit(fresh_left: i64) -> HeaderValue {
    let mut text = String::with_capacity(40);
    text.push_str("tollgate; hit; ttl=");
    text.push_str(itoa::Buffer::new().format(fresh_left));
    value(text)
}

/// It went to its service.
pub fn forwarded(course: Course) -> HeaderValue {
    let mut text = String::from("tollgate; fwd=");
    text.push_str(course.why.word());
    if let Some(status) = course.status {
        // Writing to a string cannot fail.
        let _ = write!(text, "; fwd-status={status}");
    }
    if course.stored {
        text.push_str("; stored");
    }
    if course.collapsed {
        text.push_str("; collapsed");
    }
    value(text)
}

fn value(text: String) -> HeaderValue {
    // Such a text is always a valid value; the fallback keeps this free of panics.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static("tollgate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_standard() {
        assert_eq!(hit(12), "tollgate; hit; ttl=12");
        assert_eq!(hit(-3), "tollgate; hit; ttl=-3");
        let course = Course { why: Forwarded::UriMiss, status: None, stored: false, collapsed: false };
        for (course, expected) in [
            (course, "tollgate; fwd=uri-miss"),
            (Course { stored: true, ..course }, "tollgate; fwd=uri-miss; stored"),
            (
                Course { why: Forwarded::Stale, status: Some(304), stored: true, ..course },
                "tollgate; fwd=stale; fwd-status=304; stored",
            ),
            (Course { why: Forwarded::VaryMiss, collapsed: true, ..course }, "tollgate; fwd=vary-miss; collapsed"),
            (Course { why: Forwarded::Bypass, ..course }, "tollgate; fwd=bypass"),
            (Course { why: Forwarded::Method, ..course }, "tollgate; fwd=method"),
            (Course { why: Forwarded::Request, ..course }, "tollgate; fwd=request"),
        ] {
            assert_eq!(forwarded(course), expected);
        }
    }
}
