//! Spans in the protobuf of OTLP 1.x: of its messages, those members that the gateway sends or reads.
//!
//! Numbers and types are those of `opentelemetry/proto`, which are stable. The tests read what is written here with
//! the official messages.

use prost::Message;

use super::spans::{Kind, Span, Value, unix_nanos};

/// Name and version of who makes the spans.
const SCOPE: (&str, &str) = ("tollgate", env!("CARGO_PKG_VERSION"));

/// What the collector refused of a request that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialSuccess {
    /// So many spans.
    pub rejected: usize,
    /// Why.
    pub message: String,
}

/// One request to a collector: these spans, of a process with these attributes.
pub fn request<'a, 's>(
    resource: impl Iterator<Item = (&'a str, &'a str)>,
    spans: impl Iterator<Item = &'s Span>,
) -> Vec<u8> {
    let text = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(AnyKind::Text(value.to_owned())) }),
    };
    let scope = Scope { name: SCOPE.0.to_owned(), version: SCOPE.1.to_owned() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.map(span).collect() };
    let resource = Resource { attributes: resource.map(text).collect() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] };
    ExportRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

/// What a collector says of a request that it took. An answer that cannot be read says nothing.
pub fn partial_success(answer: &[u8]) -> Option<PartialSuccess> {
    let said = ExportResponse::decode(answer).ok()?.partial_success?;
    let rejected = usize::try_from(said.rejected_spans).unwrap_or_default();
    (rejected > 0 || !said.error_message.is_empty()).then_some(PartialSuccess { rejected, message: said.error_message })
}

fn span(span: &Span) -> OtlpSpan {
    // Bit 8 says that bit 9 means something: whether the parent is elsewhere.
    let remote = span.parent.is_some_and(|parent| parent.remote);
    OtlpSpan {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        trace_state: span.tracestate.to_string(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.id.to_vec()),
        name: span.name.to_string(),
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: unix_nanos(span.began),
        end_time_unix_nano: unix_nanos(span.ended),
        attributes: span.attributes.iter().map(attribute).collect(),
        links: span
            .link
            .iter()
            .map(|(trace, span)| Link { trace_id: trace.to_vec(), span_id: span.to_vec() })
            .collect(),
        status: span.failed.then_some(Status { code: 2 }),
        flags: u32::from(span.sampled) | 1 << 8 | u32::from(remote) << 9,
    }
}

fn attribute((key, value): &(&'static str, Value)) -> KeyValue {
    let value = match value {
        Value::Text(text) => AnyKind::Text(text.to_string()),
        Value::Number(number) => AnyKind::Number(*number),
    };
    KeyValue { key: (*key).to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// `ExportTraceServiceRequest`
#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// `ExportTraceServiceResponse`
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<ExportPartialSuccess>,
}

/// `ExportTracePartialSuccess`
#[derive(Clone, PartialEq, Message)]
struct ExportPartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `ResourceSpans`
#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// `Resource`
#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

/// `ScopeSpans`
#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

/// `InstrumentationScope`
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// `Span`
#[derive(Clone, PartialEq, Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

/// `Span.Link`
#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

/// `Status`
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

/// `KeyValue`
#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// `AnyValue`
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyKind", tags = "1, 3")]
    value: Option<AnyKind>,
}

/// What an `AnyValue` is.
#[derive(Clone, PartialEq, prost::Oneof)]
enum AnyKind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use opentelemetry_proto::tonic::collector::trace::v1 as official;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as OfficialValue;

    use super::super::spans::Parent;
    use super::*;

    #[test]
    fn the_official_messages_read_what_is_written() {
        let written = Span {
            trace: [0xab; 16],
            id: [2; 8],
            parent: Some(Parent { id: [3; 8], remote: true }),
            link: Some(([4; 16], [5; 8])),
            sampled: true,
            tracestate: "a=1".into(),
            name: "GET /users/{id}".into(),
            kind: Kind::Client,
            began: UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123),
            ended: UNIX_EPOCH + Duration::from_nanos(1_234_567_890_999),
            attributes: vec![("text", Value::Text("é".into())), ("number", Value::Number(-7))],
            failed: true,
        };
        let bytes = request([("service.name", "gate")].into_iter(), [&written].into_iter());
        let read = official::ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        // Nothing was written that the official messages do not know.
        assert_eq!(read.encoded_len(), bytes.len());
        let of = &read.resource_spans[0];
        let named = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
            let pairs = attributes.iter().map(|pair| (pair.key.clone(), pair.value.clone().unwrap().value.unwrap()));
            pairs.collect::<Vec<_>>()
        };
        let text = |text: &str| OfficialValue::StringValue(text.to_owned());
        let resource = named(&of.resource.as_ref().unwrap().attributes);
        assert_eq!(resource, [("service.name".to_owned(), text("gate"))]);
        let scope = of.scope_spans[0].scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str()), SCOPE);
        let span = &of.scope_spans[0].spans[0];
        assert_eq!((&span.trace_id[..], &span.span_id[..]), (&[0xab; 16][..], &[2; 8][..]));
        assert_eq!((&span.parent_span_id[..], span.trace_state.as_str(), span.flags), (&[3; 8][..], "a=1", 0x301));
        assert_eq!((span.name.as_str(), span.kind), ("GET /users/{id}", 3));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_234_567_890_123, 1_234_567_890_999));
        assert_eq!((&span.links[0].trace_id[..], &span.links[0].span_id[..]), (&[4; 16][..], &[5; 8][..]));
        assert_eq!(span.status.as_ref().unwrap().code, 2);
        let attributes = [("text".to_owned(), text("é")), ("number".to_owned(), OfficialValue::IntValue(-7))];
        assert_eq!(named(&span.attributes), attributes);
    }

    #[test]
    fn a_collectors_answer_is_read() {
        let said = |rejected_spans, error_message: &str| {
            let partial =
                official::ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
            official::ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let partial = |rejected, message: &str| Some(PartialSuccess { rejected, message: message.to_owned() });
        for (answer, understood) in [
            (vec![], None),
            (said(0, ""), None),
            (said(3, "too old"), partial(3, "too old")),
            (said(0, "be careful"), partial(0, "be careful")),
            (said(-1, "odd"), partial(0, "odd")),
            (b"<html>".to_vec(), None),
            (vec![0xff; 40], None),
        ] {
            assert_eq!(partial_success(&answer), understood, "{answer:?}");
        }
    }
}
