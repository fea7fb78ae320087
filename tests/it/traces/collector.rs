//! A collector as OTLP 1.x describes it, strict where a lenient one would hide a fault.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;

use crate::process::instance::eventually;
use crate::support::origin::{Origin, Recorded, Reply};

/// What is answered to one batch.
type Script = dyn Fn(usize, &Recorded) -> Reply + Send + Sync;

/// Takes spans and keeps them.
pub struct Collector {
    origin: Origin,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    batches: usize,
    spans: Vec<Span>,
    resource: HashMap<String, String>,
    faults: Vec<String>,
}

/// A span as it was taken.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: otlp::span::SpanKind,
    pub began: u64,
    pub ended: u64,
    pub failed: bool,
    pub flags: u32,
    pub state: String,
    pub links: Vec<(String, String)>,
    pub attributes: HashMap<String, String>,
}

impl Span {
    /// The value of an attribute; empty when it is not there.
    pub fn of(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// The answer to a batch that is taken.
pub fn taken() -> Reply {
    protobuf(200, &ExportTraceServiceResponse::default().encode_to_vec())
}

/// An answer with this message.
pub fn protobuf(status: u16, body: &[u8]) -> Reply {
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Reply::raw([head.as_bytes(), body].concat())
}

impl Collector {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        Self::answering(|_, _| taken())
    }

    /// Starts one that answers each batch, of which the first is 0, as it is told. It keeps those that it answers with
    /// 200.
    pub fn answering(script: impl Fn(usize, &Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let keeps = Arc::clone(&kept);
        let script: Box<Script> = Box::new(script);
        let origin = Origin::start(move |request| {
            let number = {
                let mut kept = keeps.lock().unwrap();
                kept.batches += 1;
                kept.batches - 1
            };
            let reply = script(number, request);
            if reply.bytes.starts_with(b"HTTP/1.1 200 ") {
                keeps.lock().unwrap().keep(request);
            }
            reply
        });
        Self { origin, kept }
    }

    /// As `traces.endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.origin.address())
    }

    /// How many requests came.
    pub fn batches(&self) -> usize {
        self.kept.lock().unwrap().batches
    }

    /// What came, as it was sent.
    pub fn requests(&self) -> Vec<Recorded> {
        self.origin.requests()
    }

    /// What is said of the gateway.
    pub fn resource(&self) -> HashMap<String, String> {
        self.kept.lock().unwrap().resource.clone()
    }

    /// All spans so far. Fails when something came that OTLP does not allow.
    pub fn spans(&self) -> Vec<Span> {
        let kept = self.kept.lock().unwrap();
        assert!(kept.faults.is_empty(), "{:#?}", kept.faults);
        kept.spans.clone()
    }

    /// The spans of the trace with an id, once its request is among them: that of the request first, then the others as
    /// they began.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        let mut found = Vec::new();
        let complete = eventually(|| {
            found = self.spans().into_iter().filter(|span| span.trace == id).collect();
            found.iter().any(|span| span.kind == otlp::span::SpanKind::Server)
        });
        assert!(complete, "no trace {id} among {:#?}", self.spans());
        found.sort_by_key(|span| (span.kind != otlp::span::SpanKind::Server, span.began));
        found
    }
}

impl Kept {
    fn keep(&mut self, request: &Recorded) {
        match read(request) {
            Ok(batch) => batch.resource_spans.iter().for_each(|of| self.keep_spans(of)),
            Err(fault) => self.faults.push(fault),
        }
    }

    fn keep_spans(&mut self, of: &otlp::ResourceSpans) {
        self.resource = of.resource.as_ref().map(|resource| pairs(&resource.attributes)).unwrap_or_default();
        for span in of.scope_spans.iter().flat_map(|scope| &scope.spans) {
            match understood(span) {
                Ok(span) => self.spans.push(span),
                Err(fault) => self.faults.push(format!("{fault}: {span:#?}")),
            }
        }
    }
}

fn read(request: &Recorded) -> Result<ExportTraceServiceRequest, String> {
    let one = |name: &str| match request.values(name)[..] {
        [value] => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        [] => Ok(None),
        _ => Err(format!("several {name}")),
    };
    if (request.method.as_str(), request.target.as_str()) != ("POST", "/v1/traces") {
        return Err(format!("{} {}", request.method, request.target));
    }
    if one("content-type")?.as_deref() != Some("application/x-protobuf") {
        return Err(format!("{:?}", request.fields));
    }
    let body = match one("content-encoding")?.as_deref() {
        None => request.body.clone(),
        Some("gzip") => {
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(&request.body[..])
                .read_to_end(&mut body)
                .map_err(|fault| fault.to_string())?;
            body
        }
        Some(other) => return Err(format!("content-encoding {other}")),
    };
    let batch = ExportTraceServiceRequest::decode(&body[..]).map_err(|fault| fault.to_string())?;
    // A member that the official messages do not know is lost when they write it again.
    match batch.encoded_len() == body.len() {
        true => Ok(batch),
        false => Err("a member that OTLP does not have".to_owned()),
    }
}

fn understood(span: &otlp::Span) -> Result<Span, String> {
    let is_id = |id: &[u8], length: usize| id.len() == length && id.iter().any(|&byte| byte != 0);
    if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
        return Err("no ids".to_owned());
    }
    if !span.parent_span_id.is_empty() && !is_id(&span.parent_span_id, 8) {
        return Err("no id of a parent".to_owned());
    }
    if span.start_time_unix_nano == 0 || span.end_time_unix_nano < span.start_time_unix_nano {
        return Err("its times".to_owned());
    }
    let attributes = pairs(&span.attributes);
    if attributes.len() != span.attributes.len() {
        return Err("an attribute that comes twice".to_owned());
    }
    Ok(Span {
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        name: span.name.clone(),
        kind: span.kind(),
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        failed: span.status.as_ref().is_some_and(|status| status.code() == otlp::status::StatusCode::Error),
        flags: span.flags,
        state: span.trace_state.clone(),
        links: span.links.iter().map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id))).collect(),
        attributes,
    })
}

fn pairs(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
