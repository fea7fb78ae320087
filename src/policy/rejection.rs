//! The one way a request ends without its service's answer.
//!
//! [`Rejection`] is closed: each variant has its status, its code (problem type and metric label), its public text
//! and its headers in one `match` each, without a wildcard arm. Variants hold typed data; what operators should know
//! beyond the code goes to the access line, not here, so the text of an internal error cannot reach a client.
//!
//! Bodies are RFC 9457 problem details, or FastAPI's `{"detail": …}` where a configuration asks for it.

use std::borrow::Cow;

use http::header::{
    ALLOW, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use serde::Serialize;

use super::contract::{MediaFault, MultipartFault, Violation, ViolationKind};
use super::limit::{
    Refused,
    headers::{Fields, fields, retry_after},
};
use super::path::PathFault;
use super::trace_context::TraceId;
use super::websocket::{self, HandshakeFault};

/// The shape of an error's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// RFC 9457 `application/problem+json`.
    #[default]
    Problem,
    /// FastAPI's `{"detail": …}`.
    Fastapi,
}

/// The code of [`Rejection::Forbidden`], which is also told of what only would have been one.
pub const FORBIDDEN: &str = "forbidden";

/// The code of [`Rejection::Limited`], likewise.
pub const QUOTA_EXCEEDED: &str = "quota-exceeded";

/// The reason of a request that no rejection ended: its client went away.
pub const CLIENT_LEFT: &str = "client-left";

/// The reason of a request that should have come over TLS, and was sent there.
pub const REDIRECTED: &str = "redirected";

/// How many reasons there are: the codes of [`Rejection`], [`CLIENT_LEFT`] and [`REDIRECTED`].
pub const REASONS: usize = 44;

/// Why a request ends here.
#[derive(Debug)]
pub enum Rejection {
    /// HTTP that may be read in two ways, or that nobody should send.
    Malformed(Malformed),
    /// No handshake, on a route that takes WebSockets.
    Handshake(HandshakeFault),
    /// A page that may not open a WebSocket here.
    Origin,
    /// The path is not one that a client should send.
    Path(PathFault),
    /// An encoded slash or backslash, on a route that does not forward them.
    EncodedSlash,
    /// Path and query are longer than the guard allows.
    UriTooLong,
    /// The header is larger than the guard allows.
    HeaderTooLarge,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// A host that the connection was not made for, where that matters.
    Misdirected,
    /// No route has this host and path.
    NotFound,
    /// Routes with this path exist, for these methods.
    MethodNotAllowed(HeaderValue),
    /// No credential where one is required. Holds the challenges of the route's authenticators.
    CredentialMissing(HeaderValue),
    /// A credential that nobody has.
    CredentialUnknown(HeaderValue),
    /// More than one credential in one request.
    CredentialAmbiguous,
    /// A condition of the route is not met. Which one is not told: it would help to get around it.
    Forbidden,
    /// A token that is not valid.
    TokenInvalid(HeaderValue),
    /// A valid token without a plan that there is.
    PlanUnknown,
    /// The keys to verify a token with have not come yet, or the store that may know an API key was never read.
    KeysUnavailable,
    /// Too many passwords are being verified.
    PasswordsBusy,
    /// No auth service knows the caller. Holds the challenges of all, where there are any.
    CallerRefused(Option<HeaderValue>),
    /// An auth service does not say who the caller is.
    AuthUnavailable,
    /// The store of limits that many gateways share does not answer, and nothing passes without it.
    LimitsUnavailable,
    /// Too many requests of one address, before anything else was looked at.
    Flood,
    /// Limits of the plan or route.
    Limited(Box<Limited>),
    /// A body beyond the route's `max_body`, in bytes.
    BodyTooLarge(u64),
    /// A body that did not arrive in time.
    BodyTimeout,
    /// Too many bodies are being checked.
    BodyMemory,
    /// No disk is left for uploads.
    UploadDisk,
    /// A body that the contract cannot read.
    Media(MediaFault),
    /// A body that is no multipart form, although it says so.
    Multipart(MultipartFault),
    /// Everything in which the request differs from the contract.
    Contract(Vec<Violation>),
    /// The service cannot be reached.
    ServiceDown,
    /// The service works on as many requests as it may.
    ServiceBusy,
    /// The client wants only what is stored, and nothing is.
    NotCached,
    /// The service did not answer in time.
    ServiceTimeout,
    /// The service's reply is not HTTP, or broke off.
    ServiceReply,
    /// The service's reply does not fit the route's model.
    BadReply,
    /// A fault of the gateway.
    Internal,
}

/// What a client is told of the limits that refused it.
#[derive(Debug)]
pub struct Limited {
    violated: Vec<Box<str>>,
    fields: Fields,
}

/// HTTP that may be read in two ways, or that nobody should send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not HTTP/1.1 as pingora reads it: a broken body, a header that cannot be forwarded.
    Message,
    /// HTTP/1.1 without a Host.
    HostMissing,
    /// A Host that is no host name.
    Host,
    /// Both Transfer-Encoding and Content-Length, or several of one.
    Framing,
    /// A target that is no path.
    Target,
}

impl Rejection {
    /// For a request that limits refused.
    pub fn limited(refused: &Refused<'_>) -> Self {
        let mut fields = fields(&refused.standings);
        fields.push((RETRY_AFTER, retry_after(refused)));
        Self::Limited(Box::new(Limited { violated: refused.violated().map(Into::into).collect(), fields }))
    }

    /// The status of the answer. `format` matters in one place: FastAPI answers 422 for a body of another type.
    pub fn status(&self, format: Format) -> u16 {
        match self {
            Self::Malformed(_) | Self::Path(_) | Self::EncodedSlash | Self::CredentialAmbiguous => 400,
            Self::Media(MediaFault::Boundary) | Self::Multipart(_) => 400,
            Self::CredentialMissing(_)
            | Self::CredentialUnknown(_)
            | Self::TokenInvalid(_)
            | Self::CallerRefused(_) => 401,
            Self::Forbidden | Self::Origin | Self::PlanUnknown => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTimeout => 408,
            Self::BodyTooLarge(_) => 413,
            Self::UriTooLong => 414,
            Self::Misdirected => 421,
            Self::Media(_) => match format {
                Format::Problem => 415,
                Format::Fastapi => 422,
            },
            Self::Contract(_) => 422,
            Self::Handshake(HandshakeFault::Key | HandshakeFault::Body) => 400,
            Self::Handshake(HandshakeFault::Absent | HandshakeFault::Version) => 426,
            Self::Flood | Self::Limited(_) => 429,
            Self::HeaderTooLarge => 431,
            Self::Internal => 500,
            Self::TransferCoding => 501,
            Self::ServiceReply | Self::BadReply => 502,
            Self::ServiceDown | Self::ServiceBusy | Self::BodyMemory | Self::UploadDisk => 503,
            Self::KeysUnavailable | Self::PasswordsBusy | Self::AuthUnavailable | Self::LimitsUnavailable => 503,
            Self::ServiceTimeout | Self::NotCached => 504,
        }
    }

    /// The reason, as in metrics, the access line and the problem's type.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Handshake(HandshakeFault::Absent | HandshakeFault::Version) => "upgrade-required",
            Self::Handshake(HandshakeFault::Key | HandshakeFault::Body) => "malformed-handshake",
            Self::Origin => "origin-forbidden",
            Self::Malformed(Malformed::Message) => "malformed-message",
            Self::Malformed(Malformed::HostMissing) => "host-missing",
            Self::Malformed(Malformed::Host) => "malformed-host",
            Self::Malformed(Malformed::Framing) => "ambiguous-framing",
            Self::Malformed(Malformed::Target) => "malformed-target",
            Self::Path(_) | Self::EncodedSlash => "malformed-path",
            Self::UriTooLong => "uri-too-long",
            Self::HeaderTooLarge => "header-too-large",
            Self::TransferCoding => "transfer-coding",
            Self::Misdirected => "misdirected",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::CredentialMissing(_) => "credential-missing",
            Self::CredentialUnknown(_) => "credential-unknown",
            Self::CredentialAmbiguous => "credential-ambiguous",
            Self::Forbidden => FORBIDDEN,
            Self::TokenInvalid(_) => "token-invalid",
            Self::PlanUnknown => "plan-unknown",
            Self::KeysUnavailable => "keys-unavailable",
            Self::PasswordsBusy => "passwords-busy",
            Self::CallerRefused(_) => "caller-refused",
            Self::AuthUnavailable => "auth-unavailable",
            Self::LimitsUnavailable => "limits-unavailable",
            Self::Flood => "flood",
            Self::Limited(_) => QUOTA_EXCEEDED,
            Self::BodyTooLarge(_) => "body-too-large",
            Self::BodyTimeout => "body-timeout",
            Self::BodyMemory => "body-memory",
            Self::UploadDisk => "upload-disk",
            Self::Media(MediaFault::Boundary) | Self::Multipart(_) => "malformed-multipart",
            Self::Media(_) => "unsupported-media-type",
            Self::Contract(_) => "contract-violated",
            Self::ServiceDown => "service-unavailable",
            Self::ServiceBusy => "service-busy",
            Self::NotCached => "not-cached",
            Self::ServiceTimeout => "service-timeout",
            Self::ServiceReply => "service-reply",
            Self::BadReply => "bad-reply",
            Self::Internal => "internal",
        }
    }

    /// What the client is told.
    pub fn detail(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Handshake(fault) => return Cow::Owned(format!("{fault}.")),
            Self::Origin => "Pages of this origin may not open a WebSocket here.",
            Self::Malformed(Malformed::Message) => "The request is not valid HTTP.",
            Self::Malformed(Malformed::HostMissing) => "An HTTP/1.1 request needs a Host header.",
            Self::Malformed(Malformed::Host) => "The Host header is not a host name.",
            Self::Malformed(Malformed::Framing) => "The length of the body is given in two ways.",
            Self::Malformed(Malformed::Target) => "The request target is not a path.",
            Self::Path(fault) => return Cow::Owned(format!("The {fault}.")),
            Self::EncodedSlash => "The path has an encoded slash or backslash.",
            Self::UriTooLong => "Path and query are too long.",
            Self::HeaderTooLarge => "The header has too many fields or bytes.",
            Self::TransferCoding => "The only transfer coding is chunked.",
            Self::Misdirected => "This connection was made for another host.",
            Self::NotFound => "No route has this path.",
            Self::MethodNotAllowed(_) => "The path exists, but not for this method.",
            Self::CredentialMissing(_) => "This route needs a credential.",
            Self::CredentialUnknown(_) => "The credential is not valid.",
            Self::CredentialAmbiguous => "The request carries more than one credential.",
            Self::Forbidden => "This request is not allowed.",
            Self::TokenInvalid(_) => "The token is not valid.",
            Self::PlanUnknown => "There is no plan for this caller.",
            Self::KeysUnavailable => "Credentials cannot be verified yet; try again.",
            Self::PasswordsBusy => "Too many passwords are being verified; try again.",
            Self::CallerRefused(_) => "It is not known who you are.",
            Self::AuthUnavailable => "It cannot be found out who you are; try again.",
            Self::LimitsUnavailable => "Limits cannot be checked now; try again.",
            Self::Flood => "Too many requests from this address.",
            Self::Limited(_) => "A limit of your plan or of this route is used up.",
            Self::BodyTooLarge(limit) => return Cow::Owned(format!("The body is larger than {limit} bytes.")),
            Self::BodyTimeout => "The body did not arrive in time.",
            Self::BodyMemory => "Too many bodies are being received; try again.",
            Self::UploadDisk => "Too many uploads are being received; try again.",
            Self::Media(fault) => return Cow::Owned(format!("The {fault}.")),
            Self::Multipart(fault) => {
                return Cow::Owned(format!("The body is no multipart/form-data: {fault}."));
            }
            Self::Contract(_) => "The request does not fit the contract of this route.",
            Self::ServiceDown => "The service cannot be reached.",
            Self::ServiceBusy => "The service has too much to do; try again.",
            Self::NotCached => "Nothing is stored that could answer this, and the service is not to be asked.",
            Self::ServiceTimeout => "The service did not answer in time.",
            Self::ServiceReply => "The service's reply could not be used.",
            Self::BadReply => "The service's reply does not fit what this route promises.",
            Self::Internal => "The gateway failed.",
        })
    }

    /// The headers that belong to the status.
    pub fn headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::MethodNotAllowed(allow) => {
                headers.insert(ALLOW, allow.clone());
            }
            Self::CredentialMissing(challenge) | Self::CredentialUnknown(challenge) | Self::TokenInvalid(challenge) => {
                headers.insert(WWW_AUTHENTICATE, challenge.clone());
            }
            Self::CallerRefused(challenges) => {
                headers.extend(challenges.iter().map(|challenges| (WWW_AUTHENTICATE, challenges.clone())));
            }
            Self::AuthUnavailable
            | Self::Flood
            | Self::BodyMemory
            | Self::UploadDisk
            | Self::KeysUnavailable
            | Self::PasswordsBusy
            | Self::ServiceBusy
            | Self::LimitsUnavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Handshake(HandshakeFault::Absent | HandshakeFault::Version) => {
                headers.insert(UPGRADE, websocket::PROTOCOL);
                headers.insert(SEC_WEBSOCKET_VERSION, websocket::VERSION);
            }
            Self::Limited(limited) => headers.extend(limited.fields.iter().cloned()),
            Self::Malformed(_)
            | Self::Handshake(HandshakeFault::Key | HandshakeFault::Body)
            | Self::Origin
            | Self::Path(_)
            | Self::EncodedSlash
            | Self::UriTooLong
            | Self::HeaderTooLarge
            | Self::TransferCoding
            | Self::Misdirected
            | Self::NotFound
            | Self::CredentialAmbiguous
            | Self::Forbidden
            | Self::PlanUnknown
            | Self::BodyTooLarge(_)
            | Self::BodyTimeout
            | Self::Media(_)
            | Self::Multipart(_)
            | Self::Contract(_)
            | Self::ServiceDown
            | Self::NotCached
            | Self::ServiceTimeout
            | Self::ServiceReply
            | Self::BadReply
            | Self::Internal => {}
        }
    }

    /// The body of the answer and its media type.
    pub fn body(&self, format: Format, of: &Names<'_>) -> (Vec<u8>, HeaderValue) {
        let written = match format {
            Format::Problem => serde_json::to_vec(&self.problem(of)),
            Format::Fastapi => self.fastapi(),
        };
        let media_type = match format {
            Format::Problem => HeaderValue::from_static("application/problem+json"),
            Format::Fastapi => HeaderValue::from_static("application/json"),
        };
        // Strings and numbers always serialise; an empty body would still carry the status.
        (written.unwrap_or_default(), media_type)
    }

    fn problem<'a>(&'a self, of: &Names<'a>) -> ProblemDetails<'a> {
        let status = self.status(Format::Problem);
        ProblemDetails {
            r#type: match self {
                // Registered by the RateLimit header draft.
                Self::Limited(_) => Cow::Borrowed("https://iana.org/assignments/http-problem-types#quota-exceeded"),
                _ => Cow::Owned(format!("urn:tollgate:problem:{}", self.code())),
            },
            title: http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or(""),
            status,
            detail: self.detail(),
            instance: of.instance,
            request_id: of.request_id,
            trace_id: of.trace_id,
            errors: match self {
                Self::Contract(violations) => violations,
                _ => &[],
            },
            violated_policies: match self {
                Self::Limited(limited) => &limited.violated,
                _ => &[],
            },
        }
    }

    fn fastapi(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Contract(violations) => serde_json::to_vec(&FastapiDetail { detail: violations }),
            Self::Media(fault) if *fault != MediaFault::Boundary => {
                let violation = Violation::body(ViolationKind::DictType, fault.to_string());
                serde_json::to_vec(&FastapiDetail { detail: [violation] })
            }
            Self::NotFound => serde_json::to_vec(&FastapiDetail { detail: "Not Found" }),
            Self::Forbidden => serde_json::to_vec(&FastapiDetail { detail: "Forbidden" }),
            Self::MethodNotAllowed(_) => serde_json::to_vec(&FastapiDetail { detail: "Method Not Allowed" }),
            Self::ServiceDown => serde_json::to_vec(&FastapiDetail { detail: "Service is unavailable." }),
            Self::ServiceReply | Self::BadReply | Self::ServiceTimeout => {
                serde_json::to_vec(&FastapiDetail { detail: "Service error." })
            }
            _ => serde_json::to_vec(&FastapiDetail { detail: self.detail() }),
        }
    }
}

/// What a request is called in its answer.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Its path.
    pub instance: &'a str,
    /// As in `X-Request-Id`.
    pub request_id: &'a str,
    /// Its trace, where traces are configured.
    pub trace_id: Option<TraceId>,
}

/// RFC 9457, with `request_id` and `trace_id`, and `violated-policies` as the RateLimit header draft names it.
#[derive(Serialize)]
struct ProblemDetails<'a> {
    r#type: Cow<'static, str>,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    instance: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
    #[serde(rename = "violated-policies", skip_serializing_if = "<[_]>::is_empty")]
    violated_policies: &'a [Box<str>],
}

#[derive(Serialize)]
struct FastapiDetail<T> {
    detail: T,
}

/// `X-Request-Id`, on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names { instance: "/users/\"x\"", request_id: "id-1", trace_id: None };

    fn document(rejection: &Rejection, format: Format) -> serde_json::Value {
        serde_json::from_slice(&rejection.body(format, &NAMES).0).unwrap()
    }

    /// The size of the set bounds how many metrics there are, so it must not lag behind.
    #[test]
    fn every_reason_is_counted() {
        let text = include_str!("rejection.rs").split("pub fn code(").nth(1).unwrap();
        let text = text.split("\n    }\n").next().unwrap();
        let literals = text.split('"').skip(1).step_by(2);
        let reasons: std::collections::BTreeSet<&str> =
            literals.chain([FORBIDDEN, QUOTA_EXCEEDED, CLIENT_LEFT, REDIRECTED]).collect();
        assert_eq!(reasons.len(), REASONS, "{reasons:?}");
    }

    #[test]
    fn a_problem_names_type_status_instance_and_request() {
        let body = document(&Rejection::NotFound, Format::Problem);
        assert_eq!(body["type"], "urn:tollgate:problem:not-found");
        assert_eq!(body["title"], "Not Found");
        assert_eq!(body["status"].to_string(), "404");
        assert_eq!(body["instance"], "/users/\"x\"");
        assert_eq!(body["request_id"], "id-1");
        assert!(body.get("errors").is_none());
    }

    #[test]
    fn violations_stand_under_errors_or_under_detail() {
        let violations = vec![Violation::body(ViolationKind::Missing, "field required".to_owned())];
        let rejection = Rejection::Contract(violations);
        assert_eq!(document(&rejection, Format::Problem)["errors"][0]["loc"][0], "body");
        let fastapi = document(&rejection, Format::Fastapi);
        assert_eq!(fastapi["detail"][0]["loc"][0], "body");
        assert_eq!(fastapi["detail"][0]["type"], "missing");
    }

    #[test]
    fn another_media_type_is_415_but_422_for_fastapi_clients() {
        let rejection = Rejection::Media(MediaFault::Charset);
        assert_eq!(rejection.status(Format::Problem), 415);
        assert_eq!(rejection.status(Format::Fastapi), 422);
        assert_eq!(document(&rejection, Format::Fastapi)["detail"][0]["loc"], serde_json::json!(["body"]));
    }

    #[test]
    fn a_forbidden_request_hears_nothing_of_why() {
        assert_eq!(Rejection::Forbidden.status(Format::Problem), 403);
        assert_eq!(
            document(&Rejection::Forbidden, Format::Problem),
            serde_json::json!({
                "type": "urn:tollgate:problem:forbidden", "title": "Forbidden", "status": 403,
                "detail": "This request is not allowed.", "instance": "/users/\"x\"", "request_id": "id-1",
            })
        );
        assert_eq!(document(&Rejection::Forbidden, Format::Fastapi), serde_json::json!({"detail": "Forbidden"}));
        let mut headers = HeaderMap::new();
        Rejection::Forbidden.headers(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn each_status_brings_the_header_it_needs() {
        let challenge = HeaderValue::from_static("ApiKey");
        for (rejection, name, value) in [
            (Rejection::CredentialMissing(challenge.clone()), WWW_AUTHENTICATE, "ApiKey"),
            (Rejection::CredentialUnknown(challenge), WWW_AUTHENTICATE, "ApiKey"),
            (Rejection::MethodNotAllowed(HeaderValue::from_static("GET, HEAD")), ALLOW, "GET, HEAD"),
            (Rejection::Flood, RETRY_AFTER, "1"),
            (Rejection::BodyMemory, RETRY_AFTER, "1"),
            (Rejection::UploadDisk, RETRY_AFTER, "1"),
            (Rejection::PasswordsBusy, RETRY_AFTER, "1"),
            (Rejection::AuthUnavailable, RETRY_AFTER, "1"),
            (Rejection::CallerRefused(Some(HeaderValue::from_static("Login"))), WWW_AUTHENTICATE, "Login"),
            (Rejection::LimitsUnavailable, RETRY_AFTER, "1"),
            (Rejection::ServiceBusy, RETRY_AFTER, "1"),
        ] {
            let mut headers = HeaderMap::new();
            rejection.headers(&mut headers);
            assert_eq!(headers[name], value, "{}", rejection.code());
        }
    }
}
