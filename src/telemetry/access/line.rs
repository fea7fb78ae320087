//! One access line: what it says and how it is written.
//!
//! The four times add up to the whole: the gateway's own, the receiving of a checked body, the service up to the header
//! of its reply, and from there to the last byte of the answer. A slow client shows in the second and the fourth; where
//! a body streams through, in the third instead of the second, since the service is contacted before it comes.
//!
//! What a client chose is escaped and cut at a bound, so that a stranger decides neither where a line ends nor how long
//! it is.

use std::io::Write;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, REFERER, USER_AGENT};

use super::super::text::{escape_json_cut, write_timestamp};
use super::shape::{Field, Fields, Format, Shape};

/// The decision on a request that passed, and of which there is nothing else to say.
pub const ADMITTED: &str = "admitted";

/// Most violations that a line names.
pub const MAX_OBSERVED: usize = 5;

/// Most bytes of a violation's place in a line.
const MAX_PLACE: usize = 256;

/// A violation that a contract in mode `observe` let pass.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Where: `query.limit`.
    pub loc: String,
    /// Which rule: `less_than_equal`.
    pub kind: &'static str,
}

/// Something that would have refused the request, were it not only observed.
#[derive(Debug, Clone, Copy)]
pub struct WouldRefuse<'a> {
    /// The reason that a refusal would have had: `forbidden`.
    pub reason: &'static str,
    /// The condition or limit: `allow.groups`. A name of the configuration.
    pub by: &'a str,
}

/// What is said of one request. Times are durations since the end of the request's header.
#[derive(Debug, Clone)]
pub struct AccessLine<'a> {
    /// When the request's header was complete.
    pub at: SystemTime,
    /// As answered in `X-Request-Id`.
    pub request_id: &'a [u8],
    /// Its trace in hexadecimal, where traces are configured.
    pub trace_id: Option<[u8; 32]>,
    /// The address of the client, seen through trusted proxies.
    pub client: &'a [u8],
    /// As sent: an RFC 9110 token.
    pub method: &'a str,
    /// As sent; empty when there is none.
    pub host: &'a [u8],
    /// As sent, without the query.
    pub path: &'a str,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// The version of TLS, where the client came over it.
    pub tls: Option<&'static str>,
    /// Name of the matched route.
    pub route: Option<&'a str>,
    /// Name of the route's service.
    pub service: Option<&'a str>,
    /// The address that was contacted last.
    pub target: Option<&'a str>,
    /// Name of the consumer.
    pub consumer: Option<&'a str>,
    /// Name of its plan.
    pub plan: Option<&'a str>,
    /// As answered; 0 when the client left before.
    pub status: u16,
    /// How a call of gRPC ended, where that was said.
    pub grpc_status: Option<u32>,
    /// `admitted`, `observed` where it passed something that only observes, or the reason of the rejection.
    pub decision: &'a str,
    /// What the cache did with it, on a route that has one.
    pub cache: Option<&'static str>,
    /// The first violations that passed, at most [`MAX_OBSERVED`].
    pub observed: &'a [Observed],
    /// How many there are in all.
    pub observed_count: usize,
    /// The limits that refused it. Names of the configuration.
    pub refused_by: &'a [Box<str>],
    /// The conditions and limits that would have refused it.
    pub would_refuse: &'a [WouldRefuse<'a>],
    /// What went wrong with the service or the connection, or the condition that is not met; for operators only.
    pub cause: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// To the last byte of the answer.
    pub total: Duration,
    /// Of that, the gateway's own: until it had decided, without the next two.
    pub gateway: Duration,
    /// Of that, waiting for a place of the service.
    pub queue: Option<Duration>,
    /// Of that, receiving a body that is checked.
    pub request_body: Option<Duration>,
    /// Of that, from contacting the service first to the header of its reply.
    pub service_time: Option<Duration>,
    /// Of that, from there to the last byte of the answer.
    pub response: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// The generation that served.
    pub generation: u64,
    /// The request's header, of which the user agent and what the shape names are told.
    pub headers: &'a HeaderMap,
}

impl AccessLine<'_> {
    /// Appends the line.
    pub(super) fn write(&self, out: &mut Vec<u8>, shape: &Shape) {
        match shape.format {
            Format::Json => self.write_json(out, shape),
            Format::Text => self.write_text(out),
        }
    }

    fn write_json(&self, out: &mut Vec<u8>, shape: &Shape) {
        out.extend_from_slice(b"{\"time\":\"");
        write_timestamp(out, self.at);
        out.push(b'"');
        self.write_request(out, shape.fields);
        self.write_decision(out, shape.fields);
        self.write_course(out, shape.fields);
        if shape.fields.has(Field::UserAgent)
            && let Some(agent) = self.headers.get(USER_AGENT)
        {
            string(out, ",\"user_agent\":\"", agent.as_bytes());
        }
        self.write_headers(out, shape);
        out.extend_from_slice(b"}\n");
    }

    /// What was asked for, and by whom.
    fn write_request(&self, out: &mut Vec<u8>, fields: Fields) {
        if fields.has(Field::RequestId) {
            string(out, ",\"request_id\":\"", self.request_id);
        }
        if let Some(trace) = self.trace_id.filter(|_| fields.has(Field::TraceId)) {
            plain(out, ",\"trace_id\":\"", trace);
        }
        if fields.has(Field::Client) {
            plain(out, ",\"client\":\"", self.client);
        }
        if fields.has(Field::Method) {
            string(out, ",\"method\":\"", self.method.as_bytes());
        }
        if fields.has(Field::Host) {
            string(out, ",\"host\":\"", self.host);
        }
        if fields.has(Field::Path) {
            string(out, ",\"path\":\"", self.path.as_bytes());
        }
        if fields.has(Field::Protocol) {
            plain(out, ",\"protocol\":\"", self.protocol);
        }
        if let Some(tls) = self.tls.filter(|_| fields.has(Field::Tls)) {
            plain(out, ",\"tls\":\"", tls);
        }
        for (field, start, name) in [
            (Field::Route, ",\"route\":\"", self.route),
            (Field::Service, ",\"service\":\"", self.service),
            (Field::Target, ",\"target\":\"", self.target),
            (Field::Consumer, ",\"consumer\":\"", self.consumer),
            (Field::Plan, ",\"plan\":\"", self.plan),
        ] {
            if let Some(name) = name.filter(|_| fields.has(field)) {
                string(out, start, name.as_bytes());
            }
        }
    }

    /// What became of it, and why.
    fn write_decision(&self, out: &mut Vec<u8>, fields: Fields) {
        if fields.has(Field::Status) {
            number(out, ",\"status\":", u64::from(self.status));
        }
        if let Some(status) = self.grpc_status.filter(|_| fields.has(Field::GrpcStatus)) {
            number(out, ",\"grpc_status\":", u64::from(status));
        }
        if fields.has(Field::Decision) {
            plain(out, ",\"decision\":\"", self.decision);
        }
        if let Some(cache) = self.cache.filter(|_| fields.has(Field::Cache)) {
            plain(out, ",\"cache\":\"", cache);
        }
        if fields.has(Field::RefusedBy) {
            self.write_refused_by(out);
        }
        if fields.has(Field::Observed) {
            self.write_observed(out);
        }
        if fields.has(Field::WouldRefuse) {
            self.write_would_refuse(out);
        }
        if let Some(cause) = self.cause.filter(|_| fields.has(Field::Cause)) {
            string(out, ",\"cause\":\"", cause.as_bytes());
        }
    }

    /// How much, how long, how often.
    fn write_course(&self, out: &mut Vec<u8>, fields: Fields) {
        if fields.has(Field::BytesIn) {
            number(out, ",\"bytes_in\":", self.bytes_in);
        }
        if fields.has(Field::BytesOut) {
            number(out, ",\"bytes_out\":", self.bytes_out);
        }
        for (field, start, time) in [
            (Field::Duration, ",\"duration_ms\":", Some(self.total)),
            (Field::Gateway, ",\"gateway_ms\":", Some(self.gateway)),
            (Field::Queue, ",\"queue_ms\":", self.queue),
            (Field::RequestBody, ",\"request_body_ms\":", self.request_body),
            (Field::ServiceTime, ",\"service_ms\":", self.service_time),
            (Field::Response, ",\"response_ms\":", self.response),
        ] {
            if let Some(time) = time.filter(|_| fields.has(field)) {
                milliseconds(out, start, time);
            }
        }
        if fields.has(Field::Retries) {
            number(out, ",\"retries\":", u64::from(self.retries));
        }
        if fields.has(Field::Generation) {
            number(out, ",\"generation\":", self.generation);
        }
    }

    /// The first value of each. Their names need no escapes.
    fn write_headers(&self, out: &mut Vec<u8>, shape: &Shape) {
        let mut start = ",\"headers\":{\"";
        for (name, value) in shape.headers.iter().filter_map(|name| Some((name, self.headers.get(name)?))) {
            out.extend_from_slice(start.as_bytes());
            out.extend_from_slice(name.as_str().as_bytes());
            string(out, "\":\"", without_query(name, value.as_bytes()));
            start = ",\"";
        }
        if start == ",\"" {
            out.push(b'}');
        }
    }

    fn write_refused_by(&self, out: &mut Vec<u8>) {
        for (index, name) in self.refused_by.iter().enumerate() {
            string(out, if index > 0 { ",\"" } else { ",\"refused_by\":[\"" }, name.as_bytes());
        }
        if !self.refused_by.is_empty() {
            out.push(b']');
        }
    }

    fn write_observed(&self, out: &mut Vec<u8>) {
        if self.observed_count == 0 {
            return;
        }
        number(out, ",\"observed_count\":", self.observed_count as u64);
        out.extend_from_slice(b",\"observed\":[");
        for (index, observed) in self.observed.iter().take(MAX_OBSERVED).enumerate() {
            string(out, if index > 0 { ",{\"loc\":\"" } else { "{\"loc\":\"" }, observed.place());
            plain(out, ",\"type\":\"", observed.kind);
            out.push(b'}');
        }
        out.push(b']');
    }

    fn write_would_refuse(&self, out: &mut Vec<u8>) {
        for (index, would) in self.would_refuse.iter().enumerate() {
            plain(out, if index > 0 { ",{\"reason\":\"" } else { ",\"would_refuse\":[{\"reason\":\"" }, would.reason);
            string(out, ",\"by\":\"", would.by.as_bytes());
            out.push(b'}');
        }
        if !self.would_refuse.is_empty() {
            out.push(b']');
        }
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        write_timestamp(out, self.at);
        word(out, " ", self.client);
        let _ = write!(out, " {}", self.status);
        word(out, " ", self.method.as_bytes());
        word(out, " ", self.path.as_bytes());
        time(out, " ", self.total);
        time(out, " gateway=", self.gateway);
        if let Some(took) = self.queue {
            time(out, " queue=", took);
        }
        if let Some(took) = self.request_body {
            time(out, " request_body=", took);
        }
        if let Some(took) = self.service_time {
            time(out, " service=", took);
        }
        word(out, " route=", self.route.unwrap_or("-").as_bytes());
        word(out, " consumer=", self.consumer.unwrap_or("-").as_bytes());
        word(out, " ", self.decision.as_bytes());
        if let Some(cache) = self.cache {
            word(out, " cache=", cache.as_bytes());
        }
        for limit in self.refused_by {
            word(out, " refused_by=", limit.as_bytes());
        }
        if self.observed_count > 0 {
            let _ = write!(out, " violations={}", self.observed_count);
            for observed in self.observed.iter().take(MAX_OBSERVED) {
                word(out, " ", observed.place());
                let _ = write!(out, ":{}", observed.kind);
            }
        }
        for would in self.would_refuse {
            let _ = write!(out, " {}=", would.reason);
            word(out, "", would.by.as_bytes());
        }
        if let Some(cause) = self.cause {
            string(out, " cause=\"", cause.as_bytes());
        }
        if let Some(target) = self.target {
            word(out, " target=", target.as_bytes());
        }
        let _ = write!(out, " bytes_in={} bytes_out={}", self.bytes_in, self.bytes_out);
        if self.retries > 0 {
            let _ = write!(out, " retries={}", self.retries);
        }
        word(out, " id=", self.request_id);
        out.push(b'\n');
    }
}

impl Observed {
    /// The place, cut where it would make the line long.
    fn place(&self) -> &[u8] {
        &self.loc.as_bytes()[..self.loc.floor_char_boundary(MAX_PLACE)]
    }
}

// Inlined, so that a member's name is stored and not copied.

/// A member whose text is known to need no escapes.
#[inline(always)]
fn plain(out: &mut Vec<u8>, start: &str, value: impl AsRef<[u8]>) {
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(value.as_ref());
    out.push(b'"');
}

/// A member of the line; `start` is everything up to its text, the name quoted already.
#[inline(always)]
fn string(out: &mut Vec<u8>, start: &str, value: &[u8]) {
    out.extend_from_slice(start.as_bytes());
    escape_json_cut(out, value);
    out.push(b'"');
}

#[inline(always)]
fn number(out: &mut Vec<u8>, start: &str, value: u64) {
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three digits after the point.
#[inline(always)]
fn milliseconds(out: &mut Vec<u8>, start: &str, value: Duration) {
    let micros = value.as_micros() as u64;
    let (whole, rest) = (micros / 1000, (micros % 1000) as u16);
    number(out, start, whole);
    let digit = |unit: u16| b'0' + (rest / unit % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

/// The value of a header, without the query of the page that it may name.
fn without_query<'v>(name: &HeaderName, value: &'v [u8]) -> &'v [u8] {
    let end = (*name == REFERER).then(|| memchr::memchr2(b'?', b'#', value)).flatten();
    &value[..end.unwrap_or(value.len())]
}

/// A text of the readable line, in quotes where its end could not be told otherwise.
fn word(out: &mut Vec<u8>, start: &str, text: &[u8]) {
    out.extend_from_slice(start.as_bytes());
    let quote = text.is_empty() || text.iter().any(|byte| matches!(byte, b' ' | b'"'));
    if quote {
        out.push(b'"');
    }
    escape_json_cut(out, text);
    if quote {
        out.push(b'"');
    }
}

/// A time of the readable line.
fn time(out: &mut Vec<u8>, start: &str, took: Duration) {
    milliseconds(out, start, took);
    out.extend_from_slice(b"ms");
}

#[cfg(test)]
pub(super) mod tests;
