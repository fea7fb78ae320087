//! One access line: what it says and how it is written.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::super::log::{escape_json, write_timestamp};

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

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Readable on a terminal.
    Text,
}

/// What is said of one request. Times are durations since the end of the request's header.
#[derive(Debug, Clone)]
pub struct AccessLine<'a> {
    /// When the request's header was complete.
    pub at: SystemTime,
    /// As answered in `X-Request-Id`.
    pub request_id: &'a [u8],
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
    /// `admitted`, `observed` where it passed something that only observes, or the reason of the rejection.
    pub decision: &'a str,
    /// The first violations that passed, at most [`MAX_OBSERVED`].
    pub observed: &'a [Observed],
    /// How many there are in all.
    pub observed_count: usize,
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
    /// Of that, until the gateway had decided.
    pub gateway: Duration,
    /// Of that, from contacting the service to its header.
    pub service_time: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// The generation that served.
    pub generation: u64,
    /// As sent.
    pub user_agent: Option<&'a [u8]>,
}

impl AccessLine<'_> {
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        write_timestamp(out, self.at);
        out.push(b'"');
        string(out, ",\"request_id\":\"", self.request_id);
        plain(out, ",\"client\":\"", self.client);
        plain(out, ",\"method\":\"", self.method);
        string(out, ",\"host\":\"", self.host);
        string(out, ",\"path\":\"", self.path.as_bytes());
        plain(out, ",\"protocol\":\"", self.protocol);
        optional(out, ",\"route\":\"", self.route);
        optional(out, ",\"service\":\"", self.service);
        if let Some(target) = self.target {
            plain(out, ",\"target\":\"", target);
        }
        optional(out, ",\"consumer\":\"", self.consumer);
        optional(out, ",\"plan\":\"", self.plan);
        number(out, ",\"status\":", u64::from(self.status));
        plain(out, ",\"decision\":\"", self.decision);
        self.write_observed(out);
        self.write_would_refuse(out);
        optional(out, ",\"cause\":\"", self.cause);
        number(out, ",\"bytes_in\":", self.bytes_in);
        number(out, ",\"bytes_out\":", self.bytes_out);
        milliseconds(out, ",\"duration_ms\":", self.total);
        milliseconds(out, ",\"gateway_ms\":", self.gateway);
        if let Some(time) = self.service_time {
            milliseconds(out, ",\"service_ms\":", time);
        }
        number(out, ",\"retries\":", u64::from(self.retries));
        number(out, ",\"generation\":", self.generation);
        if let Some(agent) = self.user_agent {
            string(out, ",\"user_agent\":\"", agent);
        }
        out.extend_from_slice(b"}\n");
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

    pub(super) fn write_text(&self, out: &mut Vec<u8>) {
        write_timestamp(out, self.at);
        out.push(b' ');
        out.extend_from_slice(self.client);
        let _ = write!(out, " {} ", self.status);
        escape_json(out, self.method.as_bytes());
        out.push(b' ');
        escape_json(out, self.path.as_bytes());
        let _ = write!(
            out,
            " {:.3}ms route={} consumer={} {}",
            self.total.as_secs_f64() * 1e3,
            self.route.unwrap_or("-"),
            self.consumer.unwrap_or("-"),
            self.decision
        );
        if self.observed_count > 0 {
            let _ = write!(out, " violations={}", self.observed_count);
            for observed in self.observed.iter().take(MAX_OBSERVED) {
                out.push(b' ');
                escape_json(out, observed.place());
                let _ = write!(out, ":{}", observed.kind);
            }
        }
        for would in self.would_refuse {
            let _ = write!(out, " {}=", would.reason);
            escape_json(out, would.by.as_bytes());
        }
        if let Some(cause) = self.cause {
            out.extend_from_slice(b" cause=\"");
            escape_json(out, cause.as_bytes());
            out.push(b'"');
        }
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
    escape_json(out, value);
    out.push(b'"');
}

#[inline(always)]
fn optional(out: &mut Vec<u8>, start: &str, value: Option<&str>) {
    if let Some(value) = value {
        string(out, start, value.as_bytes());
    }
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

#[cfg(test)]
pub(super) mod tests;
