//! Which headers pass, in both directions.
//!
//! Three rules hold for every request and are not configurable: hop-by-hop fields (RFC 9110 section 7.6.1) and those
//! nominated by `Connection` end here; identity fields (`X-Consumer-*`) and forwarding fields (`X-Forwarded-*`,
//! `Forwarded`, …) come from the gateway alone; framing fields are written by the proxy. On top of them a route has
//! its own [`HeaderEdits`].

use std::collections::HashSet;

use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, VARY};
use smallvec::SmallVec;

/// `X-Consumer-Name`: who calls.
pub const CONSUMER_NAME: HeaderName = HeaderName::from_static("x-consumer-name");
/// `X-Consumer-Plan`: the caller's plan.
pub const CONSUMER_PLAN: HeaderName = HeaderName::from_static("x-consumer-plan");
/// `X-Consumer-Groups`: the caller's groups, separated by commas.
pub const CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
/// `X-Forwarded-For`: the client, and the trusted proxies it came through.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Host`: the host that the client asked for.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Proto`: `http` or `https`.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `X-Tollgate-Mirrored`: this is a copy, for whose reply nobody waits.
pub const MIRRORED: HeaderName = HeaderName::from_static("x-tollgate-mirrored");

/// Prefixes of the names that only the gateway may send to a service.
const OWN_PREFIXES: [&str; 2] = ["x-consumer-", "x-forwarded-"];

/// Further names that only the gateway may send to a service. `Forwarded` is RFC 7239's; the others are spellings
/// that services are known to believe.
const OWN_NAMES: [&str; 7] =
    ["forwarded", "x-real-ip", "x-client-ip", "x-original-url", "x-rewrite-url", "x-request-id", "x-tollgate-mirrored"];

/// Fields of an answer that describe its body; they stay when a route hides its service's headers.
const REPRESENTATION: [HeaderName; 6] = [
    http::header::CONTENT_TYPE,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_RANGE,
    http::header::TRANSFER_ENCODING,
    http::header::CONNECTION,
];

/// Fields that the configuration may not touch, since the proxy writes them.
const FRAMING: [HeaderName; 5] = [
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::HOST,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

/// A route's changes to a set of headers: first removals, then settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderEdits {
    /// Names taken out.
    pub remove: Vec<HeaderName>,
    /// Names with the one value they have afterwards.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// The client's fields that reach the service, where not all do. Names are compared whole: a look-alike of an allowed
/// name is not allowed.
#[derive(Debug)]
pub struct AllowList(HashSet<HeaderName, ahash::RandomState>);

impl AllowList {
    /// These names.
    pub fn of(names: impl Iterator<Item = HeaderName>) -> Self {
        Self(names.collect())
    }

    /// Takes out what is not allowed, but for framing and what `keep` names, which are decided on elsewhere.
    pub fn apply(&self, headers: &mut HeaderMap, keep: &[HeaderName]) {
        let passes = |name: &HeaderName| self.0.contains(name) || is_framing(name) || keep.contains(name);
        let ending: SmallVec<[HeaderName; 8]> = headers.keys().filter(|name| !passes(name)).cloned().collect();
        for name in &ending {
            headers.remove(name);
        }
    }
}

impl HeaderEdits {
    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

/// Whether only the gateway may send this field to a service.
pub fn is_own(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Nearly every name is settled by its first letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f')) {
        return false;
    }
    // Some frameworks read `_` as `-`: the look-alike must not get past either.
    if name.contains('_') {
        return is_own_text(&name.replace('_', "-"));
    }
    is_own_text(name)
}

fn is_own_text(name: &str) -> bool {
    OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || OWN_NAMES.contains(&name)
}

/// Whether the proxy writes this field itself, so that a configuration may not.
pub fn is_framing(name: &HeaderName) -> bool {
    FRAMING.contains(name)
}

/// Whether a field concerns one connection, whoever nominates it.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "http2-settings"
    )
}

/// Why a request may not say what its `Connection` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFault {
    /// More options than anybody needs.
    TooMany,
    /// An option that is no token.
    NoToken,
    /// It nominates a field that says where a request comes from or goes to.
    Protected,
}

/// Most options of a request's `Connection`.
const MAX_CONNECTION_OPTIONS: usize = 9;

/// Checks what a request says in its `Connection`.
///
/// # Errors
/// What is wrong with it.
pub fn check_connection(headers: &HeaderMap) -> Result<(), ConnectionFault> {
    for (nth, option) in connection_options(headers).enumerate() {
        if nth == MAX_CONNECTION_OPTIONS {
            return Err(ConnectionFault::TooMany);
        }
        if !option.iter().all(|&byte| is_token(byte)) {
            return Err(ConnectionFault::NoToken);
        }
        let name = HeaderName::from_bytes(option).map_err(|_| ConnectionFault::NoToken)?;
        if [HOST, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO].contains(&name) {
            return Err(ConnectionFault::Protected);
        }
    }
    Ok(())
}

/// Whether RFC 9110 (section 5.6.2) has a character in tokens; the `http` crate's names allow a few more.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).iter();
    let options = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// Fields that `Connection` nominates to end here. Framing fields are not among them: whoever reads the body needs
/// them.
pub fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    connection_options(headers)
        .filter(|option| !matches!(*option, b"close" | b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_framing(name) && *name != CONTENT_TYPE)
}

/// Names of an answer's fields that end at the gateway: hop-by-hop, and nominated by `Connection`.
pub fn response_hop_by_hop(headers: &HeaderMap) -> SmallVec<[HeaderName; 2]> {
    // One pass over the few fields there are is cheaper than a lookup for each name that is not.
    let mut ending = SmallVec::new();
    let mut nominates = false;
    for (name, value) in headers {
        if is_hop_by_hop(name) {
            ending.push(name.clone());
        } else if *name == CONNECTION {
            nominates |= value != "keep-alive" && value != "close";
        }
    }
    if nominates {
        ending.extend(nominated(headers));
    }
    ending
}

/// Says in an answer that it varies by a field of the request, unless it says so already.
pub fn vary_by(headers: &mut HeaderMap, name: HeaderName) {
    let mut said = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let known = |said: &[u8]| said == b"*" || said.eq_ignore_ascii_case(name.as_str().as_bytes());
    if !said.any(|said| known(said.trim_ascii())) {
        headers.append(VARY, HeaderValue::from(name));
    }
}

/// Names of an answer's fields that do not describe its body.
pub fn beyond_representation(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.keys().filter(|name| !REPRESENTATION.contains(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_forwarding_fields_belong_to_the_gateway_in_any_spelling() {
        for (name, own) in [
            ("x-consumer-name", true),
            ("x-consumer-anything", true),
            ("x_consumer_name", true),
            ("x-consumer_groups", true),
            ("x-forwarded-for", true),
            ("x-forwarded-prefix", true),
            ("forwarded", true),
            ("x-real-ip", true),
            ("x-request-id", true),
            ("x-consumers", false),
            ("from", false),
            ("x-api-key", false),
            ("traceparent", false),
        ] {
            assert_eq!(is_own(&HeaderName::from_static(name)), own, "{name}");
        }
    }

    #[test]
    fn a_connection_field_may_not_name_what_says_where_a_request_comes_from() {
        use ConnectionFault::{NoToken, Protected, TooMany};
        for (values, expected) in [
            (&[][..], Ok(())),
            (&["keep-alive"], Ok(())),
            (&["close, X-Hop ,, x-hop-too"], Ok(())),
            (&["a,b,c,d,e,f,g,h,i"], Ok(())),
            (&["a,b,c,d,e", "f,g,h,i,j"], Err(TooMany)),
            (&["Host"], Err(Protected)),
            (&["close", "X-Forwarded-For"], Err(Protected)),
            (&["x-forwarded-host"], Err(Protected)),
            (&["X-FORWARDED-PROTO"], Err(Protected)),
            (&["\"X-Forwarded-For\""], Err(NoToken)),
            (&[":authority"], Err(NoToken)),
            (&["x hop"], Err(NoToken)),
            (&["x\u{e9}"], Err(NoToken)),
        ] {
            let headers: HeaderMap =
                values.iter().map(|value| (CONNECTION, HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect();
            assert_eq!(check_connection(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn what_an_answer_varies_by_is_said_once() {
        for (said, expected) in [
            (&[][..], &["origin"][..]),
            (&["accept"], &["accept", "origin"]),
            (&["accept, Origin"], &["accept, Origin"]),
            (&["accept", "origin"], &["accept", "origin"]),
            (&["*"], &["*"]),
            (&["x-origin"], &["x-origin", "origin"]),
        ] {
            let mut headers: HeaderMap = HeaderMap::new();
            for value in said {
                headers.append(VARY, HeaderValue::from_static(value));
            }
            vary_by(&mut headers, http::header::ORIGIN);
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), expected, "{said:?}");
        }
    }

    #[test]
    fn nominated_fields_of_an_answer_end_here_but_framing_does_not() {
        let headers: HeaderMap = [
            ("connection", "close, X-Internal , content-length"),
            ("keep-alive", "timeout=5"),
            ("x-internal", "1"),
            ("content-length", "3"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        let mut names: Vec<_> = response_hop_by_hop(&headers).iter().map(|name| name.to_string()).collect();
        names.sort();
        assert_eq!(names, ["keep-alive", "x-internal"]);
    }
}
