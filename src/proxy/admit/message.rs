//! Is this header one that a gateway should act on?
//!
//! pingora has parsed it; what is left are the limits of the guard, and what pingora accepts although two readers could
//! read it in two ways. Whatever is refused here has not been matched to a route.

use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};

use crate::gateway::RequestLimits;
use crate::policy::headers::check_connection;
use crate::policy::rejection::{Malformed, Rejection};

use super::super::tls::Secured;
use super::Request;

/// The fields that say for whom a message is and where it ends: found in one pass over the header, which is cheaper
/// than a lookup for each. Of a repeated one, the first.
#[derive(Debug, Default)]
pub struct Envelope<'a> {
    host: Option<&'a HeaderValue>,
    connection: Option<&'a HeaderValue>,
    coding: Option<&'a HeaderValue>,
    length: Option<&'a HeaderValue>,
    /// A length or coding comes again.
    repeats: bool,
    upgrades: bool,
    /// Frames of a body follow, whatever the fields say.
    follows: bool,
}

impl<'a> Envelope<'a> {
    /// Looks at every field of a header.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if *name == HOST {
                found.host.get_or_insert(value);
            } else if *name == CONNECTION {
                found.connection.get_or_insert(value);
            } else if *name == TRANSFER_ENCODING {
                found.repeats |= found.coding.is_some();
                found.coding.get_or_insert(value);
            } else if *name == UPGRADE {
                found.upgrades = true;
            } else if *name == CONTENT_LENGTH {
                found.repeats |= found.length.is_some();
                found.length.get_or_insert(value);
            }
        }
        found
    }

    /// For whom the message is, as it says itself.
    pub fn host(&self) -> Option<&'a HeaderValue> {
        self.host
    }

    /// Whether it asks for another protocol.
    pub fn upgrades(&self) -> bool {
        self.upgrades
    }

    /// Whether a body follows the header, perhaps an empty one.
    pub fn announces_body(&self) -> bool {
        self.follows || self.coding.is_some() || self.length.is_some_and(|length| *length != "0")
    }

    /// Takes down what no field says: over HTTP/2 a body needs none.
    pub fn follow(&mut self, follows: bool) {
        self.follows = follows;
    }
}

/// What pingora accepts and a gateway should not.
pub fn check(limits: &RequestLimits, request: &Request<'_>) -> Result<(), Rejection> {
    let Request { parts, envelope, .. } = request;
    if request.target.len() > limits.uri_bytes {
        return Err(Rejection::UriTooLong);
    }
    if parts.headers.len() > limits.header_count || size(request) > limits.header_bytes {
        return Err(Rejection::HeaderTooLarge);
    }
    if let Some(coding) = envelope.coding {
        // pingora has dropped a Content-Length beside it; the raw header still has it.
        if raw_has_content_length(&request.raw) || envelope.repeats {
            return Err(Rejection::Malformed(Malformed::Framing));
        }
        if !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(Rejection::TransferCoding);
        }
    }
    if let Some(length) = envelope.length
        && (envelope.repeats || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Rejection::Malformed(Malformed::Framing));
    }
    if envelope.connection.is_some() {
        check_connection(&parts.headers).map_err(|_| Rejection::Malformed(Malformed::Message))?;
    }
    if is_target(request.target) && !raw_has_fragment(&request.raw) {
        return Ok(());
    }
    Err(Rejection::Malformed(Malformed::Target))
}

/// Request line and fields, in bytes; over HTTP/2, as long as they would be over HTTP/1.
fn size(request: &Request<'_>) -> usize {
    if !request.raw.is_empty() {
        return request.raw.len();
    }
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    request.target.len() + request.parts.headers.iter().map(field).sum::<usize>()
}

/// Origin-form, absolute-form, or `*`, in ASCII (RFC 9112 section 3.2).
fn is_target(target: &[u8]) -> bool {
    let absolute = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let known = target.first() == Some(&b'/') || target == b"*" || absolute(b"http://") || absolute(b"https://");
    known && target.is_ascii()
}

/// Parsing cuts a fragment off in silence, which others read as a part of the path.
fn raw_has_fragment(raw: &[u8]) -> bool {
    raw.iter().take_while(|&&byte| byte != b'\n').any(|&byte| byte == b'#')
}

fn raw_has_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    raw.split(|&byte| byte == b'\n').any(|line| {
        line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) && line[NAME.len()] == b':'
    })
}

/// Where clients have certificates, a request must be for a host of the certificate that the connection was made with:
/// what a client proved to one host is nothing to another.
pub fn check_name(host: Option<&str>, tls: Option<&Secured>) -> Result<(), Rejection> {
    let Some(tls) = tls.filter(|tls| tls.loaded.asks_clients) else { return Ok(()) };
    if tls.loaded.same_certificate(host.map(without_port), tls.server_name.as_deref()) {
        return Ok(());
    }
    Err(Rejection::Misdirected)
}

/// The host without its port.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The host a request is for; pingora has made sure that target and field agree.
pub fn host<'a>(request: &Request<'a>) -> Result<Option<&'a str>, Rejection> {
    let Some(value) = request.envelope.host else {
        if request.parts.version == Version::HTTP_10 {
            return Ok(None);
        }
        return Err(Rejection::Malformed(Malformed::HostMissing));
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    match value.to_str() {
        Ok(host) if !host.is_empty() && host.as_bytes().iter().all(plain) => Ok(Some(host)),
        _ => Err(Rejection::Malformed(Malformed::Host)),
    }
}
