//! The spans of a request that is over, in the words of OpenTelemetry's conventions for HTTP.
//!
//! One for the request, one for each of its steps, one for each attempt to reach its service. They hold names of the
//! configuration and what the access line has too: no query, no header but the user agent. What a stranger chooses is
//! cut ([`bounded`]).

use std::borrow::Cow;
use std::time::Duration;

use http::Version;
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use pingora::proxy::Session;

use crate::gateway::traces::{Errors, Traces};
use crate::gateway::{Route, Target};
use crate::policy::rejection::CLIENT_LEFT;
use crate::policy::trace_context::Traceparent;
use crate::telemetry::spans::{Kind, Parent, Span, SpanQueue, Value, bounded};

use super::super::client::scheme;
use super::super::exchange::Exchange;
use super::{Attempt, Fault, STEPS, Trace, continued, state};

/// What a method is called that HTTP does not know.
const OTHER_METHOD: &str = "_OTHER";

/// Hands on the spans of a request, where it is recorded or failed.
pub(in crate::proxy) fn report(
    queue: &SpanQueue,
    session: &Session,
    exchange: &Exchange,
    status: u16,
    total: Duration,
) {
    let (Some(traces), Some(trace)) = (&exchange.gateway.traces, &exchange.trace) else { return };
    let fault = fault(exchange, status);
    if !trace.is_recorded() && (fault.is_none() || traces.errors == Errors::Sampled) {
        return;
    }
    let finished = Finished { traces, trace, exchange, request: session.req_header(), status, total, fault };
    queue.offer(finished.spans(), traces.queue, traces.export.batch);
}

/// What is wrong with how a request ended; `None`: nothing that is the gateway's fault or its service's.
fn fault(exchange: &Exchange, status: u16) -> Option<Cow<'static, str>> {
    let rejected = exchange.rejected.filter(|&reason| reason != CLIENT_LEFT);
    match (rejected, status) {
        (Some(reason), 500..) => Some(reason.into()),
        // The answer had begun well.
        (Some(reason), ..400) => Some(reason.into()),
        (None, 500..) => Some(status.to_string().into()),
        (_, _) => None,
    }
}

/// A request that is over.
struct Finished<'a> {
    traces: &'a Traces,
    trace: &'a Trace,
    exchange: &'a Exchange,
    request: &'a Parts,
    status: u16,
    total: Duration,
    fault: Option<Cow<'static, str>>,
}

impl Finished<'_> {
    fn spans(self) -> Vec<Span> {
        let mut spans = vec![self.server()];
        if let Some(notes) = &self.trace.notes {
            for (step, began, ended) in &notes.steps {
                let (number, times) = (STEPS + *step as u32, (*began, *ended));
                spans.push(self.part(number, step.name().into(), Kind::Internal, times, Vec::new()));
            }
        }
        spans.extend(self.attempts());
        spans
    }

    /// The request.
    fn server(&self) -> Span {
        let Exchange { peer, client, peer_address, trail, gateway, .. } = self.exchange;
        let (headers, method) = (&self.request.headers, method(self.request));
        let claimed = Traceparent::of(headers);
        let parent = continued(self.traces, headers, *peer);
        let route = trail.route.as_deref();
        let mut attributes = vec![
            ("http.request.method", text(method)),
            ("url.path", bounded(self.request.uri.path().as_bytes())),
            ("url.scheme", text(scheme(headers, self.exchange))),
            ("network.protocol.version", text(version(self.request.version))),
            ("client.address", bounded(client.as_bytes())),
            ("network.peer.address", bounded(peer_address.as_bytes())),
            ("tollgate.request.id", bounded(self.exchange.id.as_bytes())),
            ("tollgate.generation", number(gateway.generation)),
        ];
        if method == OTHER_METHOD {
            attributes.push(("http.request.method_original", bounded(self.request.method.as_str().as_bytes())));
        }
        if let Some(host) = headers.get(HOST) {
            attributes.extend(server_named(host.as_bytes()));
        }
        if let Some(agent) = headers.get(USER_AGENT) {
            attributes.push(("user_agent.original", bounded(agent.as_bytes())));
        }
        if self.status != 0 {
            attributes.push(("http.response.status_code", number(self.status)));
        }
        if let Some(route) = route {
            attributes.push(("http.route", text(route.gateway_path.to_string())));
            attributes.push(("tollgate.route", text(route.name.to_string())));
            attributes.push(("tollgate.service", text(route.service.name.to_string())));
        }
        if let Some(consumer) = &trail.consumer {
            attributes.push(("tollgate.consumer", bounded(consumer.name.as_bytes())));
            attributes.extend(consumer.plan.iter().map(|plan| ("tollgate.plan", text(plan.name.to_string()))));
        }
        attributes.extend(self.exchange.rejected.map(|reason| ("tollgate.rejection", text(reason))));
        attributes.extend(self.fault.clone().map(|fault| ("error.type", text(fault))));
        Span {
            id: self.trace.span.bytes(),
            parent: parent.map(|parent| Parent { id: parent.span.bytes(), remote: true }),
            link: claimed.filter(|_| parent.is_none()).map(|of| (of.trace.bytes(), of.span.bytes())),
            failed: self.fault.is_some(),
            ..self.span(
                named(method, route.map(|route| &*route.gateway_path)),
                Kind::Server,
                (Duration::ZERO, self.total),
                attributes,
            )
        }
    }

    /// The attempts to reach the service. One that failed before another was made is known where the request is recorded.
    fn attempts(&self) -> Vec<Span> {
        let Exchange { trail, target, attempts, service, .. } = self.exchange;
        let (Some(route), Some(target), Some(attempted)) = (&trail.route, target, service.attempted) else {
            return Vec::new();
        };
        let failed = self.trace.notes.as_ref().map_or(&[][..], |notes| &notes.failed);
        let first = |number: &u32| *number < attempts.count;
        let mut spans: Vec<Span> = (1..)
            .take_while(first)
            .zip(failed)
            .map(|(number, attempt)| {
                let Attempt { target, began, ended, fault } = attempt;
                let (status, fault) = match *fault {
                    Fault::Error(fault) => (None, fault.into()),
                    Fault::Status(status) => (Some(status), status.to_string().into()),
                };
                self.attempt(number, route, target, (*began, *ended), status, Some(fault))
            })
            .collect();
        let last = failed.get(attempts.count.saturating_sub(1) as usize);
        let ended = last.map_or(self.total, |attempt| attempt.ended);
        let fault = match (service.status, last) {
            (Some(status), _) if status >= 400 => Some(status.to_string().into()),
            (None, Some(Attempt { fault: Fault::Error(fault), .. })) => Some((*fault).into()),
            // A reply that broke off, or none.
            _ => self.fault.clone(),
        };
        spans.push(self.attempt(attempts.count, route, target, (attempted, ended), service.status, fault));
        spans
    }

    fn attempt(
        &self,
        nth: u32,
        route: &Route,
        target: &Target,
        times: (Duration, Duration),
        status: Option<u16>,
        fault: Option<Cow<'static, str>>,
    ) -> Span {
        let method = method(self.request);
        let path = self.exchange.admission.as_ref().map(|admission| &admission.service_target[..]);
        let path = path.and_then(|target| target.split(|&byte| byte == b'?').next()).unwrap_or_default();
        let scheme: &[u8] = if route.service.tls.is_some() { b"https://" } else { b"http://" };
        let url = [scheme, target.host.as_bytes(), path].concat();
        let template = route.service_path_text.split('?').next().unwrap_or_default();
        let template = format!("{}{template}", route.service.base_path);
        let mut attributes = vec![
            ("http.request.method", text(method)),
            ("url.full", bounded(&url)),
            ("url.template", text(template.clone())),
            ("network.peer.address", text(target.address.ip().to_string())),
            ("network.peer.port", number(target.address.port())),
            ("tollgate.service", text(route.service.name.to_string())),
        ];
        attributes
            .extend(server_named(target.host.as_bytes()).into_iter().filter(|(name, _)| *name == "server.address"));
        attributes.push(("server.port", number(target.address.port())));
        if nth > 1 {
            attributes.push(("http.request.resend_count", number(nth - 1)));
        }
        attributes.extend(status.map(|status| ("http.response.status_code", number(status))));
        let failed = fault.is_some();
        attributes.extend(fault.map(|fault| ("error.type", text(fault))));
        let name = named(method, Some(&template));
        Span { failed, ..self.part(nth, name, Kind::Client, times, attributes) }
    }

    /// A part of the request.
    fn part(
        &self,
        child: u32,
        name: Cow<'static, str>,
        kind: Kind,
        times: (Duration, Duration),
        attributes: Vec<(&'static str, Value)>,
    ) -> Span {
        let parent = Some(Parent { id: self.trace.span.bytes(), remote: false });
        Span { id: self.trace.span.child(child).bytes(), parent, ..self.span(name, kind, times, attributes) }
    }

    /// What all spans of the request have in common.
    fn span(
        &self,
        name: Cow<'static, str>,
        kind: Kind,
        (began, ended): (Duration, Duration),
        attributes: Vec<(&'static str, Value)>,
    ) -> Span {
        let state = state(self.traces, &self.request.headers, self.exchange.peer);
        Span {
            trace: self.trace.id.bytes(),
            id: self.trace.span.bytes(),
            parent: None,
            link: None,
            sampled: self.trace.is_recorded(),
            tracestate: state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default().into(),
            name,
            kind,
            began: self.exchange.at + began,
            ended: self.exchange.at + ended,
            attributes,
            failed: false,
        }
    }
}

fn text(text: impl Into<Cow<'static, str>>) -> Value {
    Value::Text(text.into())
}

fn number(number: impl TryInto<i64>) -> Value {
    Value::Number(number.try_into().unwrap_or(i64::MAX))
}

/// `GET /users/{id}`, or the method alone.
fn named(method: &'static str, template: Option<&str>) -> Cow<'static, str> {
    let method = if method == OTHER_METHOD { "HTTP" } else { method };
    template.map_or(Cow::Borrowed(method), |template| format!("{method} {template}").into())
}

/// One that HTTP knows; a stranger may send any other.
fn method(request: &Parts) -> &'static str {
    const NAMES: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    NAMES.into_iter().find(|name| *name == request.method.as_str()).unwrap_or(OTHER_METHOD)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Host and, where it is there, port of a `Host`.
fn server_named(host: &[u8]) -> Vec<(&'static str, Value)> {
    let port_of = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u16>().ok();
    let colon =
        host.iter().rposition(|&byte| byte == b':').filter(|&colon| host[colon..].iter().all(|&byte| byte != b']'));
    let (name, port) = colon.map_or((host, None), |colon| (&host[..colon], port_of(&host[colon + 1..])));
    let name = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(name);
    let mut found = vec![("server.address", bounded(name))];
    found.extend(port.map(|port| ("server.port", number(port))));
    found
}
