//! What gRPC wants of an HTTP/2 gateway: deadlines that clients bring along, and errors as a status of its own.
//!
//! A gRPC client reads `grpc-status`, and of HTTP only whether it was 200. So a rejection is answered with 200 and the
//! status in the header, which is the end of the answer ("trailers-only" in the protocol's words).

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::rejection::Rejection;

/// `grpc-status`: how a call ended.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `grpc-message`: why, for people.
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `grpc-status-details-bin`: why, for programs.
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// `grpc-encoding`: how messages are compressed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// `grpc-timeout`: how long the client waits.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What says how a call ended.
pub const ENDING: [HeaderName; 3] = [STATUS, MESSAGE, DETAILS];

/// What goes with a call beside its body.
pub const ASKING: [HeaderName; 3] = [TIMEOUT, ENCODING, HeaderName::from_static("grpc-accept-encoding")];

/// What goes with an answer beside its body.
pub const ANSWERING: [HeaderName; 4] = [STATUS, MESSAGE, DETAILS, ENCODING];

/// The media type of gRPC.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Most violations that a message names.
const MOST_NAMED: usize = 5;

/// A call of gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// How long the client waits, from the beginning.
    pub timeout: Option<Duration>,
    /// How it ended, once it is known: by the service's word or ours.
    pub status: Option<u32>,
}

/// How a call ended, of what the gateway says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The request is not as it should be.
    InvalidArgument = 3,
    /// Time is up.
    DeadlineExceeded = 4,
    /// The caller may not.
    PermissionDenied = 7,
    /// Too much.
    ResourceExhausted = 8,
    /// Not on this connection.
    FailedPrecondition = 9,
    /// There is nothing of this name.
    Unimplemented = 12,
    /// A fault of gateway or service.
    Internal = 13,
    /// It may work later.
    Unavailable = 14,
    /// It is not known who calls.
    Unauthenticated = 16,
}

impl Call {
    /// The call that a request is.
    pub fn of(request: &Parts) -> Option<Self> {
        if request.version != Version::HTTP_2 || request.method != Method::POST {
            return None;
        }
        let kind = request.headers.get(CONTENT_TYPE)?.as_bytes().strip_prefix(b"application/grpc")?;
        let is_grpc = matches!(kind.first(), None | Some(b'+' | b';' | b' '));
        is_grpc.then(|| Self { timeout: timeout(&request.headers), status: None })
    }

    /// Takes down what a service says in its header or trailers.
    pub fn heard(&mut self, fields: &HeaderMap) {
        let said = fields.get(STATUS).and_then(|status| status.to_str().ok()?.parse().ok());
        self.status = said.or(self.status);
    }
}

/// Up to eight digits and a unit. What is none is left to the service to judge.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (&unit, digits) = headers.get(TIMEOUT)?.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The code of a rejection.
pub fn code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::Malformed(_)
        | Rejection::Path(_)
        | Rejection::EncodedSlash
        | Rejection::TransferCoding
        | Rejection::Media(_)
        | Rejection::Multipart(_)
        | Rejection::Contract(_) => Code::InvalidArgument,
        Rejection::ServiceTimeout | Rejection::BodyTimeout => Code::DeadlineExceeded,
        Rejection::Forbidden | Rejection::Origin | Rejection::PlanUnknown => Code::PermissionDenied,
        Rejection::Flood
        | Rejection::Limited(_)
        | Rejection::BodyTooLarge(_)
        | Rejection::UriTooLong
        | Rejection::HeaderTooLarge => Code::ResourceExhausted,
        Rejection::NotFound | Rejection::MethodNotAllowed(_) | Rejection::Handshake(_) => Code::Unimplemented,
        Rejection::Misdirected => Code::FailedPrecondition,
        Rejection::BadReply | Rejection::Internal => Code::Internal,
        Rejection::KeysUnavailable
        | Rejection::PasswordsBusy
        | Rejection::AuthUnavailable
        | Rejection::LimitsUnavailable
        | Rejection::BodyMemory
        | Rejection::UploadDisk
        | Rejection::ServiceDown
        | Rejection::ServiceBusy
        | Rejection::NotCached
        | Rejection::ServiceReply => Code::Unavailable,
        Rejection::CredentialMissing(_)
        | Rejection::CredentialUnknown(_)
        | Rejection::CredentialAmbiguous
        | Rejection::TokenInvalid(_)
        | Rejection::CallerRefused(_) => Code::Unauthenticated,
    }
}

/// How a call ends that is rejected, in the header of an answer or behind one.
pub fn trailers(rejection: &Rejection) -> HeaderMap {
    [(STATUS, HeaderValue::from(code(rejection) as u16)), (MESSAGE, message(rejection))].into_iter().collect()
}

/// The fields of a whole answer that is nothing but a rejection.
pub fn fields(rejection: &Rejection) -> HeaderMap {
    let mut fields = trailers(rejection);
    rejection.headers(&mut fields);
    fields.insert(CONTENT_TYPE, MEDIA_TYPE);
    fields
}

/// What the client is told, as the protocol encodes it: everything but visible ASCII and spaces, and `%`.
fn message(rejection: &Rejection) -> HeaderValue {
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
    let mut text = rejection.detail().into_owned();
    if let Rejection::Contract(violations) = rejection {
        for violation in violations.iter().take(MOST_NAMED) {
            text.push_str(&format!(" {}: {}.", violation.loc, violation.msg));
        }
    }
    let encoded = utf8_percent_encode(&text, ENCODED).to_string();
    // What is encoded is a value.
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::contract::{Violation, ViolationKind};

    fn call(version: Version, method: Method, kind: &str, wait: &str) -> Option<Call> {
        let request = http::Request::builder().version(version).method(method);
        let request = request.header("content-type", kind).header("grpc-timeout", wait).body(()).unwrap();
        Call::of(&request.into_parts().0)
    }

    #[test]
    fn a_call_is_known_by_version_method_and_media_type() {
        for (version, method, kind, is_call) in [
            (Version::HTTP_2, Method::POST, "application/grpc", true),
            (Version::HTTP_2, Method::POST, "application/grpc+proto", true),
            (Version::HTTP_2, Method::POST, "application/grpc; a=b", true),
            (Version::HTTP_2, Method::POST, "application/grpc-web", false),
            (Version::HTTP_2, Method::POST, "application/json", false),
            (Version::HTTP_2, Method::GET, "application/grpc", false),
            (Version::HTTP_11, Method::POST, "application/grpc", false),
        ] {
            assert_eq!(call(version, method.clone(), kind, "1S").is_some(), is_call, "{version:?} {method} {kind}");
        }
    }

    #[test]
    fn a_deadline_has_a_unit_and_eight_digits_at_most() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("1.5S", None),
            ("1s", None),
            ("", None),
        ] {
            let call = call(Version::HTTP_2, Method::POST, "application/grpc", text).unwrap();
            assert_eq!(call.timeout, expected, "{text:?}");
        }
    }

    #[test]
    fn a_message_is_visible_ascii_and_names_violations() {
        let missing = Violation::body(ViolationKind::Missing, "100 % of naïve\nfields".to_owned());
        let fields = fields(&Rejection::Contract(vec![missing]));
        assert_eq!(fields[STATUS], "3");
        assert_eq!(
            fields[MESSAGE],
            "The request does not fit the contract of this route. body: 100 %25 of na%C3%AFve%0Afields."
        );
        assert_eq!(fields[CONTENT_TYPE], "application/grpc");
    }

    #[test]
    fn a_service_ends_a_call_in_trailers_or_in_its_header() {
        let said = |value: &'static str| HeaderMap::from_iter([(STATUS, HeaderValue::from_static(value))]);
        let mut call = Call { timeout: None, status: None };
        call.heard(&HeaderMap::new());
        assert_eq!(call.status, None);
        call.heard(&said("5"));
        assert_eq!(call.status, Some(5));
        call.heard(&said("no number"));
        assert_eq!(call.status, Some(5));
    }
}
