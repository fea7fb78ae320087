//! What is said of a request once it is over: metrics, spans and the access line.

use std::time::Duration;

use http::Version;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource};

use crate::gateway::docs::LABEL;
use crate::gateway::tls;
use crate::policy::contract::Violation;
use crate::policy::rejection::{FORBIDDEN, QUOTA_EXCEEDED};
use crate::telemetry::{ADMITTED, AccessLine, CacheResult, MAX_OBSERVED, Observed, WouldRefuse};

use super::exchange::{Asked, Exchange, PassedOver};
use super::guard::Entered;
use super::occasion::Occasion;
use super::{Proxy, trace};

/// The error's type and context, which name peers and states, never what the client sent.
pub fn cause(error: &Error) -> String {
    if *error.esource() == ErrorSource::Upstream
        && let Some(cause) = tls::cause(&error.to_string())
    {
        return format!("TLS with the service: {cause}");
    }
    format!("{}: {}", error.esource().as_str(), error.etype().as_str())
}

impl<O: Occasion> Proxy<O> {
    /// Metrics and the access line.
    pub(super) fn record(&self, session: &Session, error: Option<&Error>, exchange: &mut Exchange) {
        let total = exchange.started.elapsed();
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let decided = exchange.service.contacted.unwrap_or(total);
        let waited = [exchange.queued, exchange.request_body].into_iter().flatten().sum();
        let own = decided.saturating_sub(waited);
        let trail = &exchange.trail;
        let gateway = &exchange.gateway;
        let docs = gateway.docs.as_ref().filter(|_| trail.asked == Asked::Docs);
        let metrics = match (&trail.route, docs) {
            (Some(route), _) => &route.metrics,
            (None, Some(docs)) => &docs.metrics,
            (None, None) => &gateway.unmatched,
        };
        // That of a WebSocket is the time to its 101: how long it lived is no duration of a request.
        let answered = if exchange.tunnel.is_some() { exchange.service.replied.unwrap_or(total) } else { total };
        metrics.answered(status, answered);
        metrics.decided(own);
        if let Some(reason) = exchange.rejected {
            metrics.rejected(reason);
            trail.route.iter().for_each(|route| route.service.metrics.failed(reason));
        }
        let observed = exchange.admission.as_ref().map_or(&[][..], |admission| admission.observed.as_slice());
        if !observed.is_empty() {
            metrics.observed(observed.iter().map(|violation| violation.kind.code()));
        }
        if let (Some(result), Some(cached)) = (exchange.cached, trail.route.as_ref().and_then(|it| it.cache.as_ref())) {
            cached.metrics.answered(result);
        }
        let service_time = service_time(exchange);
        if let Some(time) = service_time {
            metrics.served(time);
        }
        let ending = exchange.tunnel.as_ref().and_then(Entered::ending);
        if let Some(ending) = ending {
            exchange.cause = Some(ending.cause().to_owned());
        } else if exchange.cause.is_none() {
            exchange.cause = error.map(cause);
        }
        trace::report(&self.state.spans, session, exchange, status, total);
        let decision = exchange.rejected.unwrap_or(match observed.is_empty() && trail.passed_over.is_empty() {
            true => ADMITTED,
            false => "observed",
        });
        let Some(shape) = &gateway.access_shape else { return };
        let lines = trail.route.as_ref().map_or(gateway.access_lines, |route| route.access_lines);
        if !lines.tell(status, decision) {
            return;
        }
        let request = session.req_header();
        let consumer = trail.consumer.as_ref();
        self.state.access.write(
            shape,
            &AccessLine {
                at: exchange.at,
                request_id: exchange.id.as_bytes(),
                trace_id: exchange.trace.as_ref().map(|trace| trace.id.text()),
                client: exchange.client.as_bytes(),
                method: request.method.as_str(),
                host: request.headers.get(http::header::HOST).map(http::HeaderValue::as_bytes).unwrap_or_default(),
                path: request.uri.path(),
                protocol: protocol(request.version),
                tls: exchange.tls.as_ref().map(|tls| tls.version),
                route: trail.route.as_ref().map(|route| &*route.name).or(docs.map(|_| LABEL)),
                // Of several it is known once there is a caller.
                service: trail.route.as_ref().filter(|route| route.split.is_none()).map(|route| &*route.service.name),
                target: exchange.target.as_ref().map(|target| &*target.label),
                consumer: consumer.map(|consumer| &*consumer.name),
                plan: consumer.and_then(|consumer| consumer.plan.as_ref()).map(|plan| &*plan.name),
                status,
                grpc_status: exchange.grpc.as_ref().and_then(|call| call.status),
                decision,
                refused_by: &trail.refused_by,
                cache: exchange.cached.map(CacheResult::label),
                observed: &told(observed),
                observed_count: observed.len(),
                would_refuse: &would_refuse(&trail.passed_over),
                cause: exchange.cause.as_deref(),
                bytes_in: session.body_bytes_read() as u64,
                bytes_out: session.body_bytes_sent() as u64,
                total,
                gateway: own,
                queue: exchange.queued,
                request_body: exchange.request_body,
                service_time,
                response: exchange.service.replied.and_then(|replied| total.checked_sub(replied)),
                retries: exchange.attempts.count.saturating_sub(1),
                generation: gateway.generation,
                headers: &request.headers,
            },
        );
    }
}

/// The first violations, as the access line names them.
fn told(observed: &[Violation]) -> Vec<Observed> {
    let one = |violation: &Violation| Observed { loc: violation.loc.to_string(), kind: violation.kind.code() };
    observed.iter().take(MAX_OBSERVED).map(one).collect()
}

/// Conditions and limits that would have refused, as the access line names them.
fn would_refuse(passed_over: &PassedOver) -> Vec<WouldRefuse<'_>> {
    let condition =
        passed_over.condition.iter().map(|condition| WouldRefuse { reason: FORBIDDEN, by: condition.word() });
    let limits = passed_over.limits.iter().map(|limit| WouldRefuse { reason: QUOTA_EXCEEDED, by: limit });
    condition.chain(limits).collect()
}

fn service_time(exchange: &Exchange) -> Option<Duration> {
    exchange.service.replied?.checked_sub(exchange.service.contacted?)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP",
    }
}
