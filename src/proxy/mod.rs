//! The only place that knows pingora's `Session`.
//!
//! [`Proxy`] maps pingora's phases to ours and decides nothing itself: [`admit`] decides, `body` reads,
//! `forward` writes the request that the service gets, `reply` its answer, `answer` what the gateway answers
//! itself, `exchange` remembers, `trace` tells a collector. The connection below is watched by `guard`.
//!
//! Invariant: `upstream_peer` needs an [`admit::Admission`], which only `admit` makes; a request that skipped
//! admission has nowhere to go.

pub mod admit;
mod answer;
mod auth_service;
mod body;
mod client;
mod exchange;
mod forward;
mod guard;
mod listening;
mod occasion;
mod passwords;
mod plain;
mod pulse;
pub mod rehearse;
mod reply;
mod successor;
mod tls;
mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::gateway::Gateway;
use crate::gateway::docs::LABEL;
use crate::gateway::key_source::KeySources;
use crate::policy::contract::Violation;
use crate::policy::limit::{Clock, Limiter};
use crate::policy::rejection::{CLIENT_LEFT, FORBIDDEN, QUOTA_EXCEEDED, Rejection};
use crate::store::Snapshot;
use crate::telemetry::spans::SpanQueue;
use crate::telemetry::{ADMITTED, AccessLine, AccessLog, MAX_OBSERVED, Observed, Telemetry, WouldRefuse};

use admit::{Admission, AdmittedBody, Decision, Pending};
use answer::Prepared;
use body::{BodyLimits, Lease, Store, Substitute};
use exchange::{Asked, Exchange, InFlight, PassedOver};
use guard::{Entered, Terms};
use occasion::{Occasion, Serving};
use reply::model;
use trace::Step;

pub use admit::shared::{OnFailure, SharedLimits};
pub use auth_service::AuthServices;
pub use body::{Budget, UploadDisk};
pub use guard::{Connections, GuardedApp, Tunnels};
pub use listening::{Listening, open};
pub use passwords::Passwords;
pub use pulse::Pulse;
pub use successor::{PATIENCE, Successor};

/// What belongs to the process and outlives every generation.
pub struct State {
    /// The one published generation.
    pub gateway: ArcSwap<Gateway>,
    /// The API keys of the store, where there is one.
    pub stored_keys: Option<ArcSwap<Snapshot>>,
    /// All metrics.
    pub telemetry: Arc<Telemetry>,
    /// All limit counters.
    pub limiter: Arc<Limiter>,
    /// The process that the counters were handed over to, while it decides.
    pub successor: ArcSwapOption<Successor>,
    /// Whether the process before still asks this one for decisions.
    pub is_asked: AtomicBool,
    /// The counters that other gateways share, where they do.
    pub shared: Option<SharedLimits>,
    /// The clock of the limits.
    pub clock: Clock,
    /// Open client connections.
    pub connections: Arc<Connections>,
    /// Memory of bodies under check.
    pub bodies: Arc<Budget>,
    /// Disk of uploads under check.
    pub uploads: Arc<UploadDisk>,
    /// Published key sets.
    pub keys: Arc<KeySources>,
    /// Passwords that are being verified, and those that were right.
    pub passwords: Passwords,
    /// Connections to those who are asked who calls.
    pub auth_services: AuthServices,
    /// Open WebSockets.
    pub tunnels: Arc<Tunnels>,
    /// Where access lines go.
    pub access: AccessLog,
    /// Where the spans of traces go.
    pub spans: SpanQueue,
    /// The listeners of clients.
    pub listeners: Vec<Listening>,
    /// The connection of the process to itself, while there is one.
    pub pulse: ArcSwapOption<Pulse>,
    /// Set once the process is about to leave.
    pub draining: AtomicBool,
    /// Requests between their first phase and their log line.
    pub in_flight: Arc<AtomicUsize>,
}

impl State {
    /// The state of a process that begins with this generation.
    pub fn new(gateway: Gateway, telemetry: Arc<Telemetry>, access: AccessLog) -> Self {
        Self {
            gateway: ArcSwap::from_pointee(gateway),
            stored_keys: None,
            spans: SpanQueue::new(telemetry.spans.clone()),
            telemetry,
            limiter: Limiter::new(),
            successor: ArcSwapOption::empty(),
            is_asked: AtomicBool::new(false),
            shared: None,
            clock: Clock::start(),
            connections: Arc::new(Connections::default()),
            bodies: Arc::new(Budget::default()),
            uploads: Arc::new(UploadDisk::default()),
            keys: Arc::default(),
            passwords: Passwords::default(),
            auth_services: AuthServices::default(),
            tunnels: Arc::default(),
            access,
            listeners: Vec::new(),
            pulse: ArcSwapOption::empty(),
            draining: AtomicBool::new(false),
            in_flight: Arc::new(AtomicUsize::new(0)),
        }
    }
}

/// The proxy logic, as pingora wants it.
#[derive(Clone)]
pub struct Proxy<O = Serving> {
    /// Shared with the server.
    pub state: Arc<State>,
    occasion: O,
}

impl Proxy {
    /// For clients.
    pub fn new(state: Arc<State>) -> Self {
        Self { state, occasion: Serving }
    }
}

impl<O: Occasion> Proxy<O> {
    /// Everything between the header and the service. `Ok(None)` when the request is answered already.
    async fn decide(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Option<Rejection>> {
        let request = admit::Request::of(session, &exchange.gateway);
        let upgrades = request.envelope.upgrades();
        let decision = admit::admit_on(&self.occasion, &self.state, &request, exchange).await;
        if upgrades && !matches!(&decision, Ok(Decision::Forward(admission)) if admission.handshake.is_some()) {
            // pingora upgrades whatever asks for it, and nothing else may.
            session.req_header_mut().remove_header(&UPGRADE);
        }
        let admission = match decision {
            Ok(Decision::Options(allow)) => {
                answer::options(session, exchange, allow).await?;
                return Ok(None);
            }
            Ok(Decision::Redirect(location)) => {
                answer::redirect(session, exchange, location).await?;
                return Ok(None);
            }
            Ok(Decision::Page(page)) => {
                answer::page(session, exchange, page).await?;
                return Ok(None);
            }
            Ok(Decision::Forward(admission)) => Ok(admission),
            // Boxed, so that requests without a body do not carry the space for reading one.
            Ok(Decision::ReadBody(pending)) => {
                let began = exchange.step_begins();
                let admission = Box::pin(self.read_body(session, exchange, pending)).await;
                exchange.step_over(Step::Body, began);
                admission
            }
            Err(rejection) => Err(rejection),
        };
        let admission = match admission {
            Ok(admission) => admission,
            Err(rejection) => return Ok(Some(rejection)),
        };
        let substitute = match &admission.body {
            AdmittedBody::Checked { bytes, .. } | AdmittedBody::Observed(bytes) => Substitute::Whole(bytes.clone()),
            AdmittedBody::Spooled { body, .. } => Substitute::Replayed(body.replay()),
            // The body was read off, since nobody declared it: pingora must not look for it.
            AdmittedBody::None if exchange.body_memory.is_some() => Substitute::Whole(Bytes::new()),
            AdmittedBody::None | AdmittedBody::Streamed => Substitute::Nothing,
        };
        exchange.hold = admission.route.response_model.as_ref().map(|_| Arc::default());
        if exchange.hold.is_some() || !matches!(substitute, Substitute::Nothing) {
            exchange.slot = Some(body::swap_in(session, substitute, exchange.hold.clone()));
        }
        if admission.handshake.is_some() {
            // A client has to wait for the 101. One that does not would keep the guard from seeing it leave.
            session.as_mut().set_pipelining_enabled(false);
        }
        exchange.admission = Some(admission);
        Ok(None)
    }

    /// Reads the body that an admission still lacks, and checks it.
    async fn read_body(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        pending: Pending,
    ) -> Result<Admission, Rejection> {
        let max = exchange.trail.route.as_ref().map_or(0, |route| route.max_body);
        let guard = &exchange.gateway.request_limits;
        let limits = BodyLimits { max, deadline: guard.body_timeout, memory: guard.body_memory };
        let held = exchange.body_memory.insert(self.state.bodies.reserve());
        let begun = Instant::now();
        let Some(form) = pending.incoming_form() else {
            let body = body::read(session, pending.keep(), limits, held).await;
            exchange.request_body = Some(begun.elapsed());
            return pending.finish(&body?);
        };
        let uploads = &exchange.gateway.upload_limits;
        let store = Store { disk: &self.state.uploads, directory: uploads.directory.as_ref(), limit: uploads.disk };
        let upload = body::read_form(session, form, limits, store, held).await;
        exchange.request_body = Some(begun.elapsed());
        match upload {
            Ok(upload) => pending.finish_form(upload),
            Err(failure) => {
                exchange.cause = failure.cause;
                Err(failure.rejection)
            }
        }
    }

    /// Goes over to a WebSocket with a service that answers the client's handshake; nothing else may switch protocols.
    fn tunnel(&self, session: &mut Session, response: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
        let admission = admission(exchange)?;
        let route = Arc::clone(&admission.route);
        let answered = admission.handshake.as_ref().is_some_and(|asked| asked.is_answered(&response.headers));
        let (true, Some(websocket), Some(watch)) = (answered, &route.websocket, &exchange.watch) else {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "service switches protocols").into_up());
        };
        exchange.service.replied = Some(exchange.started.elapsed());
        route.service.metrics.replied(response.status.as_u16());
        session.set_read_timeout(None);
        let until = websocket.max_lifetime.map(|time| tokio::time::Instant::now() + time);
        watch.open(Terms { idle: websocket.idle_timeout, until });
        exchange.tunnel = Some(self.state.tunnels.enter(watch, &websocket.metrics));
        plain::edit_response(response, |headers| reply::switch(headers, exchange, &route))
    }

    fn restore(session: &mut Session, exchange: &mut Exchange) {
        if let Some(slot) = exchange.slot.take() {
            body::swap_out(session, &slot);
        }
    }
}

/// An exchange past admission. Its absence in a later phase is a fault of the gateway.
fn admission(exchange: &Exchange) -> Result<&Admission> {
    exchange.admission.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "request was not admitted"))
}

/// How long pingora may wait for each read of the service; `None`: the guard alone watches. pingora keeps the time that
/// it was given first, and a WebSocket may be silent for longer than any reply.
fn reads_within(admission: &Admission) -> Option<Duration> {
    admission.handshake.is_none().then(|| admission.route.timeouts.longest_silence())
}

#[async_trait]
impl<O: Occasion> ProxyHttp for Proxy<O> {
    /// Boxed: pingora moves it through a dozen futures.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        Box::new(Exchange::begin(self.state.gateway.load_full(), InFlight::enter(&self.state.in_flight)))
    }

    /// None: the compression module costs an allocation per request, and nothing is recoded.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<()> {
        if let Some(pulse) = guard::mark_busy(session) {
            if !pulse.is_asked_by(&session.req_header().headers) {
                return Err(Error::explain(ErrorType::ConnectionClosed, "not the process's own request").into_down());
            }
            exchange.is_pulse = true;
            exchange.in_flight = None;
        }
        exchange.watch = guard::watch(session);
        exchange.tls = guard::secured(session);
        session.as_mut().set_pipelining_enabled(true);
        let silence = exchange.gateway.request_limits.body_timeout;
        session.set_read_timeout(Some(silence));
        session.set_write_timeout(Some(silence));
        if self.state.draining.load(Ordering::Relaxed) {
            session.set_keepalive(None);
        }
        // Before pingora copies the header for the service.
        plain::forget_spelling(session.req_header_mut());
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<bool> {
        let Some(rejection) = self.decide(session, exchange).await? else {
            return Ok(exchange.admission.is_none());
        };
        self.occasion.refused(&rejection);
        answer::reject(session, exchange, &rejection).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, exchange: &mut Box<Exchange>) -> Result<Box<HttpPeer>> {
        let route = &admission(exchange)?.route;
        let service = &route.service;
        let target = service.next_target().ok_or_else(|| {
            Error::explain(ErrorType::ConnectNoRoute, format!("service {} has no address", service.name)).into_up()
        })?;
        let mut peer = Box::new(service.peer(&target));
        exchange.attempts += 1;
        let now = exchange.started.elapsed();
        exchange.service.contacted.get_or_insert(now);
        exchange.service.attempted = Some(now);
        peer.options.read_timeout = reads_within(admission(exchange)?);
        if matches!(admission(exchange)?.body, AdmittedBody::None) && admission(exchange)?.handshake.is_none() {
            // A header fits into the socket's buffer; a timer for it would be the dearest part of writing it.
            peer.options.write_timeout = None;
        }
        self.occasion.lead(&mut peer);
        exchange.target = Some(target);
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        let target = exchange
            .target
            .as_ref()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "request has no target"))?;
        let admission = admission(exchange)?;
        exchange.expect(admission.route.timeouts.response, reads_within(admission));
        plain::edit_request(request, |parts| forward::rewrite(parts, exchange, admission, target))
    }

    /// Only streamed bodies come through here with content: their size is not known before.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if let (Some(tunnel), Some(bytes)) = (&exchange.tunnel, &body) {
            tunnel.metrics.received(bytes.len() as u64);
        }
        let admission = admission(exchange)?;
        if !matches!(admission.body, AdmittedBody::Streamed) {
            return Ok(());
        }
        let max = admission.route.max_body;
        exchange.streamed += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if exchange.streamed > max {
            return Err(Error::explain(ErrorType::HTTPStatus(413), "streamed body is too large").into_down());
        }
        Ok(())
    }

    /// Another target may be up, and nothing was sent.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Box<Exchange>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let service = exchange.admission.as_ref().map(|admission| &admission.route.service);
        let targets = service.map_or(0, |service| {
            service.metrics.unreachable();
            service.target_count()
        });
        exchange.attempt_failed(error.etype().as_str());
        error.set_retry((exchange.attempts as usize) < targets.min(MAX_ATTEMPTS));
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.tunnel(session, response, exchange);
        }
        if response.status.is_informational() {
            return Ok(());
        }
        if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
            // HTTP/1.0 knows no chunks: such a body ends with the connection.
            response.remove_header(&TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        if self.state.draining.load(Ordering::Relaxed) {
            // Also where the drain began after the request: its client need not find out by a closed connection.
            session.set_keepalive(None);
        }
        exchange.service.replied = Some(exchange.started.elapsed());
        exchange.service.status = Some(response.status.as_u16());
        let route = &admission(exchange)?.route;
        exchange.expect(route.timeouts.idle, reads_within(admission(exchange)?));
        route.service.metrics.replied(response.status.as_u16());
        if let Some(hold) = exchange.hold.as_ref() {
            let method = &session.req_header().method;
            model::edit_head(method, response);
            if model::concerns(method, response) {
                let budget = exchange.gateway.request_limits.body_memory;
                let memory = Lease { memory: self.state.bodies.reserve(), budget };
                hold.begin(route, response, memory, Prepared::of(session, exchange));
            }
        }
        plain::edit_response(response, |headers| reply::rewrite(headers, exchange, route))
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if let Some(watch) = &exchange.watch {
            watch.heard();
        }
        if let (Some(tunnel), Some(bytes)) = (&exchange.tunnel, body) {
            tunnel.metrics.sent(bytes.len() as u64);
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Box<Exchange>) -> FailToProxy {
        Self::restore(session, exchange);
        let silent = exchange.watch.as_ref().is_some_and(|watch| watch.was_silent());
        // The guard noticed it on the client's side.
        let silence = silent.then(|| Error::new_up(ErrorType::ReadTimedout));
        let error = silence.as_deref().unwrap_or(error);
        exchange.cause = Some(cause(error));
        let gone = *error.esource() == ErrorSource::Downstream
            && matches!(error.etype(), ErrorType::ConnectionClosed | ErrorType::WriteError | ErrorType::ReadError);
        if gone {
            exchange.rejected = Some(CLIENT_LEFT);
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let max_body = exchange.trail.route.as_ref().map_or(0, |route| route.max_body);
        let rejection = answer::rejection_of(error, max_body);
        self.occasion.refused(&rejection);
        // pingora drops the connection after an error; the client should know.
        session.set_keepalive(None);
        let code = rejection.status(exchange.gateway.format);
        // What follows a 101 is no HTTP.
        if exchange.tunnel.is_none()
            && session.response_written().is_none_or(|response| response.status.is_informational())
        {
            // When this fails the client is gone, and the access line says so by its missing status.
            let _ = answer::reject(session, exchange, &rejection).await;
        } else {
            exchange.rejected = Some(rejection.code());
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Box<Exchange>) {
        Self::restore(session, exchange);
        if let Some(fault) = exchange.hold.take().and_then(|hold| hold.take_fault()) {
            exchange.rejected = Some(fault.rejection().code());
            exchange.cause = Some(fault.cause());
        }
        guard::mark_idle(session);
        if !exchange.is_pulse {
            self.record(session, error, exchange);
        }
        self.occasion.over(exchange);
        // What the request held is free before its connection waits for the next one.
        exchange.tunnel = None;
        exchange.trail.held = None;
        exchange.body_memory = None;
        exchange.in_flight = None;
    }

    /// Said by the access line, without what the client sent.
    fn suppress_error_log(&self, _session: &Session, _exchange: &Box<Exchange>, _error: &Error) -> bool {
        true
    }

    /// The path may be a secret, the query often is.
    fn request_summary(&self, session: &Session, _exchange: &Box<Exchange>) -> String {
        session.req_header().method.to_string()
    }
}

/// Most attempts to connect for one request.
const MAX_ATTEMPTS: usize = 3;

/// The error's type and context, which name peers and states, never what the client sent.
fn cause(error: &Error) -> String {
    if *error.esource() == ErrorSource::Upstream
        && let Some(cause) = crate::gateway::tls::cause(&error.to_string())
    {
        return format!("TLS with the service: {cause}");
    }
    format!("{}: {}", error.esource().as_str(), error.etype().as_str())
}

impl<O: Occasion> Proxy<O> {
    /// Metrics and the access line.
    fn record(&self, session: &Session, error: Option<&Error>, exchange: &mut Exchange) {
        let total = exchange.started.elapsed();
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let decided = exchange.service.contacted.unwrap_or(total);
        let own = decided.saturating_sub(exchange.request_body.unwrap_or_default());
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
                service: trail.route.as_ref().map(|route| &*route.service.name),
                target: exchange.target.as_ref().map(|target| &*target.label),
                consumer: consumer.map(|consumer| &*consumer.name),
                plan: consumer.and_then(|consumer| consumer.plan.as_ref()).map(|plan| &*plan.name),
                status,
                decision,
                refused_by: &trail.refused_by,
                observed: &told(observed),
                observed_count: observed.len(),
                would_refuse: &would_refuse(&trail.passed_over),
                cause: exchange.cause.as_deref(),
                bytes_in: session.body_bytes_read() as u64,
                bytes_out: session.body_bytes_sent() as u64,
                total,
                gateway: own,
                request_body: exchange.request_body,
                service_time,
                response: exchange.service.replied.and_then(|replied| total.checked_sub(replied)),
                retries: exchange.attempts.saturating_sub(1),
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
