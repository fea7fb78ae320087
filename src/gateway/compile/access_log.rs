//! The access log: what is in a line, and what must never be.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};

use crate::config::{AccessField, AccessFormat, AccessLines, AccessLog, FieldName, Place, Report};
use crate::policy::authenticate::Part;
use crate::telemetry::{Field, Fields, Format, Lines, Shape};

use super::callers::Callers;

/// What is wrong with the choice of members and headers.
pub(super) fn check(written: &AccessLog, callers: &Callers, report: &mut Report) {
    let place = Place::root().key("access_log");
    for (key, said) in [("exclude", !written.exclude.is_empty()), ("headers", !written.headers.is_empty())] {
        if said && written.format == AccessFormat::Text {
            report
                .error(place.clone().key(key), format!("`{key}` is for JSON: the readable line is always the same"))
                .given(place.clone().key("format"))
                .help("say `format: json`");
        }
    }
    for (index, FieldName(name)) in written.headers.iter().enumerate() {
        let at = place.clone().key("headers").index(index);
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) {
            report.error(at, format!("`{name}` holds credentials, which are never logged")).by_itself();
        } else if let Some(authenticator) = authenticator_of(name, callers) {
            report
                .error(at, format!("`{name}` holds credentials, which are never logged"))
                .given(Place::root().key("authenticators").key(authenticator));
        }
    }
}

/// The authenticator that looks for credentials in this header.
fn authenticator_of<'c>(name: &HeaderName, callers: &'c Callers) -> Option<&'c str> {
    let looks_at = |part: &Part| matches!(part, Part::Header(header) if header == name);
    let mut all = callers.authenticators.iter();
    all.find(|(_, one)| one.place().is_some_and(|place| looks_at(&place.part))).map(|(name, _)| &**name)
}

/// How lines are written; `None`: they are not.
pub(super) fn shape(written: &AccessLog) -> Option<Shape> {
    let excluded = written.exclude.iter().map(|field| named(*field));
    (written.path != "off").then(|| Shape {
        format: match written.format {
            AccessFormat::Json => Format::Json,
            AccessFormat::Text => Format::Text,
        },
        fields: excluded.fold(Fields::ALL, Fields::without),
        headers: written.headers.iter().map(|FieldName(name)| name.clone()).collect(),
    })
}

pub(super) fn lines(written: AccessLines) -> Lines {
    match written {
        AccessLines::All => Lines::All,
        AccessLines::Errors => Lines::Errors,
        AccessLines::Off => Lines::Off,
    }
}

fn named(field: AccessField) -> Field {
    match field {
        AccessField::RequestId => Field::RequestId,
        AccessField::TraceId => Field::TraceId,
        AccessField::Client => Field::Client,
        AccessField::Method => Field::Method,
        AccessField::Host => Field::Host,
        AccessField::Path => Field::Path,
        AccessField::Protocol => Field::Protocol,
        AccessField::Tls => Field::Tls,
        AccessField::Route => Field::Route,
        AccessField::Service => Field::Service,
        AccessField::Target => Field::Target,
        AccessField::Consumer => Field::Consumer,
        AccessField::Plan => Field::Plan,
        AccessField::Status => Field::Status,
        AccessField::Decision => Field::Decision,
        AccessField::Cache => Field::Cache,
        AccessField::RefusedBy => Field::RefusedBy,
        AccessField::Observed => Field::Observed,
        AccessField::WouldRefuse => Field::WouldRefuse,
        AccessField::Cause => Field::Cause,
        AccessField::BytesIn => Field::BytesIn,
        AccessField::BytesOut => Field::BytesOut,
        AccessField::DurationMs => Field::Duration,
        AccessField::GatewayMs => Field::Gateway,
        AccessField::QueueMs => Field::Queue,
        AccessField::RequestBodyMs => Field::RequestBody,
        AccessField::ServiceMs => Field::ServiceTime,
        AccessField::ResponseMs => Field::Response,
        AccessField::GrpcStatus => Field::GrpcStatus,
        AccessField::Retries => Field::Retries,
        AccessField::Generation => Field::Generation,
        AccessField::UserAgent => Field::UserAgent,
    }
}
