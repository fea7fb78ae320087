//! The only place that knows pingora's `Session`.
//!
//! [`Proxy`] maps pingora's phases to ours and decides nothing itself: [`admit`] decides, `body` reads,
//! `forward` writes the request that the service gets, `reply` its answer, `cache` stores it for others, `answer` is what
//! the gateway answers itself, `exchange` remembers, `record` and `trace` tell of it. The connection below is watched by `guard`.
//!
//! Invariant: `upstream_peer` needs an [`admit::Admission`], which only `admit` makes; a request that skipped
//! admission has nowhere to go.

pub mod admit;
mod answer;
mod attempts;
mod auth_service;
mod body;
mod cache;
mod client;
mod exchange;
mod forward;
mod guard;
mod listening;
mod mirror;
mod occasion;
mod passwords;
mod plain;
mod pulse;
mod queue;
mod record;
pub mod rehearse;
mod reply;
mod state;
mod successor;
mod tls;
mod trace;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::gateway::Route;
use crate::policy::grpc::Call;
use crate::policy::rejection::{CLIENT_LEFT, Rejection};

use admit::{Admission, AdmittedBody, Decision, Pending};
use answer::Prepared;
use body::{BodyLimits, Deciding, Lease, Store, Substitute};
use exchange::{Exchange, InFlight};
use guard::{Deadlines, Terms};
use occasion::{Occasion, Serving};
use record::cause;
use reply::{compress, model};
use trace::Step;

pub use admit::shared::{OnFailure, SharedLimits};
pub use auth_service::AuthServices;
pub use body::{Budget, UploadDisk};
pub use cache::{Purge, ReplyStore};
pub use guard::{Connections, GuardedApp, Tunnels};
pub use listening::{Listening, open};
pub use mirror::Mirrors;
pub use passwords::Passwords;
pub use pulse::Pulse;
pub use state::State;
pub use successor::{PATIENCE, Successor};

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
        let decision = match decision {
            Ok(Decision::Forward(admission)) => match self.look_up(session, exchange, admission).await? {
                Some(decision) => decision,
                None => return Ok(None),
            },
            decision => decision,
        };
        // Before a body is read for a service that has no place for it.
        let decision = match decision {
            Ok(decision) => queue::enter(session, exchange, decision).await?,
            Err(rejection) => Err(rejection),
        };
        if upgrades && !matches!(&decision, Ok(Decision::Forward(admission)) if admission.handshake.is_some()) {
            // pingora upgrades whatever asks for it, and nothing else may.
            session.req_header_mut().remove_header(&UPGRADE);
        }
        let admission = match decision {
            Ok(Decision::Options(allow)) => {
                answer::options(session, exchange, [(ALLOW, allow)].into_iter().collect()).await?;
                return Ok(None);
            }
            Ok(Decision::Preflight(allowed)) => {
                answer::options(session, exchange, allowed).await?;
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
        let deadlines = attempts::own_deadlines(session, exchange, &admission).await?;
        let substitute = match &admission.body {
            AdmittedBody::Checked { bytes, .. } | AdmittedBody::Observed(bytes) => Substitute::Whole(bytes.clone()),
            AdmittedBody::Spooled { body, .. } => Substitute::Replayed(body.replay()),
            // The body was read off, since nobody declared it: pingora must not look for it.
            AdmittedBody::None if exchange.body_memory.is_some() => Substitute::Whole(Bytes::new()),
            AdmittedBody::None | AdmittedBody::Streamed => Substitute::Nothing,
        };
        Self::substitute(session, exchange, &admission.route, substitute, deadlines);
        if admission.handshake.is_some() {
            // A client has to wait for the 101. One that does not would keep the guard from seeing it leave.
            session.as_mut().set_pipelining_enabled(false);
        }
        if exchange.grpc.is_some() && matches!(admission.body, AdmittedBody::Streamed) {
            // A stream of messages is no upload: its route says how long nothing may come.
            let silence = exchange.gateway.request_limits.body_timeout.max(admission.route.timeouts.idle);
            session.set_read_timeout(Some(silence));
        }
        exchange.admission = Some(admission);
        Ok(None)
    }

    /// Looks for an answer among what is stored, on a route with a cache. `None` when the request has it.
    async fn look_up(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        admission: Admission,
    ) -> Result<Option<Result<Decision, Rejection>>> {
        let Some(cached) = admission.route.cache.as_deref().filter(|_| self.occasion.may_cache()) else {
            return Ok(Some(Ok(Decision::Forward(admission))));
        };
        if !cache::concerns(&admission, session) {
            return Ok(Some(Ok(Decision::Forward(admission))));
        }
        match cache::answer(&self.state, session, exchange, &admission, cached).await? {
            cache::Step::Forward => Ok(Some(Ok(Decision::Forward(admission)))),
            cache::Step::Reject(rejection) => Ok(Some(Err(rejection))),
            cache::Step::Answered => {
                exchange.is_answered = true;
                exchange.admission = Some(admission);
                Ok(None)
            }
        }
    }

    /// Lets others decide on what goes to the service and to the client, where somebody has to.
    fn substitute(
        session: &mut Session,
        exchange: &mut Exchange,
        route: &Route,
        body: Substitute,
        deadlines: Option<Deadlines>,
    ) {
        exchange.hold = route.response_model.as_ref().map(|_| Arc::default());
        let relay = exchange.cache.as_ref().and_then(|course| course.relay.clone());
        let decides = exchange.hold.is_some() || relay.is_some() || deadlines.is_some();
        if decides || !matches!(body, Substitute::Nothing) {
            let deciding = Deciding { hold: exchange.hold.clone(), relay, deadlines };
            exchange.slot = Some(body::swap_in(session, body, deciding));
        }
    }

    /// Whether a request without a client goes to its service.
    fn goes_alone(session: &mut Session, exchange: &mut Exchange) -> bool {
        let Some(route) = exchange.trail.route.clone() else { return false };
        if let Some(max) = route.service.rules.max_requests {
            exchange.attempts.place = route.service.state.places.enter(max);
            if exchange.attempts.place.is_none() {
                return false;
            }
        }
        Self::substitute(session, exchange, &route, Substitute::Nothing, None);
        true
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
        attempts::switched(exchange);
        plain::edit_response(response, |headers| reply::switch(headers, exchange, &route))
    }

    async fn restore(session: &mut Session, exchange: &mut Exchange) {
        if let Some(slot) = exchange.slot.take() {
            body::swap_out(session, &slot).await;
        }
    }
}

/// An exchange past admission. Its absence in a later phase is a fault of the gateway.
fn admission(exchange: &Exchange) -> Result<&Admission> {
    exchange.admission.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "request was not admitted"))
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
        if let Some(refresh) = cache::taken_over(session) {
            refresh.enter(exchange);
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
        exchange.grpc = Call::of(session.req_header());
        // Before pingora copies the header for the service.
        plain::forget_spelling(session.req_header_mut());
        Ok(())
    }

    /// Only where something may be fetched for the cache without a client.
    fn allow_spawning_subrequest(&self, _session: &Session, exchange: &Box<Exchange>) -> bool {
        exchange.gateway.refreshes
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<bool> {
        if exchange.is_refresh {
            return Ok(!Self::goes_alone(session, exchange));
        }
        let Some(rejection) = self.decide(session, exchange).await? else {
            return Ok(exchange.admission.is_none() || exchange.is_answered);
        };
        self.occasion.refused(&rejection);
        answer::reject(session, exchange, &rejection).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<Box<HttpPeer>> {
        let mut peer = attempts::begin(session, exchange).await?;
        self.occasion.lead(&mut peer);
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        let (admission, target) = (admission(exchange)?, attempts::target(exchange)?);
        attempts::connected(exchange, &admission.route.timeouts);
        plain::edit_request(request, |parts| {
            if parts.version == Version::HTTP_2 {
                // pingora has taken it out, and with it what says which other fields end here.
                for value in session.req_header().headers.get_all(CONNECTION) {
                    parts.headers.append(CONNECTION, value.clone());
                }
            }
            forward::rewrite(parts, exchange, admission, target)
        })?;
        if let Some(mirror) = &admission.route.mirror
            && exchange.attempts.count == 1
            && self.occasion.may_mirror()
        {
            self.state.mirrors.send(mirror, request, admission);
        }
        Ok(())
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
        attempts::fed(exchange, admission);
        exchange.streamed += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if exchange.streamed > max {
            return Err(Error::explain(ErrorType::HTTPStatus(413), "streamed body is too large").into_down());
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Box<Exchange>,
        error: Box<Error>,
    ) -> Box<Error> {
        attempts::unreachable(exchange, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Box<Exchange>,
        client_reused: bool,
    ) -> Box<Error> {
        attempts::failed(session, exchange, error, client_reused)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(());
        }
        if session.req_header().version == Version::HTTP_2 {
            // The service has begun to speak: from now on a client may be silent for as long as it listens.
            session.set_read_timeout(None);
        }
        attempts::replied(session, exchange, response.status.as_u16())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if let (Some(relay), Some(piece)) = (exchange.cache.as_ref().and_then(|course| course.relay.as_ref()), body) {
            relay.came(piece);
        }
        attempts::passed(exchange).map(|()| None)
    }

    /// Said by the access line.
    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _exchange: &Box<Exchange>,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
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
        if let Some(call) = &mut exchange.grpc {
            call.heard(&response.headers);
        }
        let route = Arc::clone(&admission(exchange)?.route);
        route.service.metrics.replied(response.status.as_u16());
        cache::replied(&self.state, session, response, exchange, &route)?;
        if let Some(hold) = exchange.hold.as_ref() {
            let method = &session.req_header().method;
            model::edit_head(method, response);
            if model::concerns(method, response) {
                let budget = exchange.gateway.request_limits.body_memory;
                let memory = Lease { memory: self.state.bodies.reserve(), budget };
                hold.begin(&route, response, memory, Prepared::of(session, exchange));
            }
        }
        let (request, status) = (session.req_header(), response.status);
        // Where the client gets what is stored, that is compressed, and what comes for the store is not.
        let is_stored =
            exchange.cache.as_ref().and_then(|course| course.relay.as_ref()).is_some_and(|it| it.goes_on_alone());
        let mut compressor = None;
        plain::edit_response(response, |headers| {
            reply::rewrite(headers, exchange, &route);
            if let Some(cors) = &route.cors {
                cors.say(&request.method, &request.headers, headers);
            }
            if let Some(rules) = route.compression.as_ref().filter(|_| !is_stored) {
                compressor = compress::begin(rules, request, status, headers, &self.state, exchange);
            }
        })?;
        if compressor.is_some() {
            // A service that speaks an older version knows no chunks.
            response.set_version(Version::HTTP_11);
        }
        exchange.compressor = match (compressor, &exchange.hold) {
            // The body that it holds back is another one before it is checked.
            (Some(compressor), Some(hold)) => hold.compress(compressor),
            (compressor, _) => compressor,
        };
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if let (Some(tunnel), Some(bytes)) = (&exchange.tunnel, &body) {
            tunnel.heard();
            tunnel.metrics.sent(bytes.len() as u64);
        }
        if let Some(compressor) = &mut exchange.compressor {
            compressor.pass(body, end_of_stream)?;
        }
        Ok(None)
    }

    /// A body may end with trailers; what a compressor has kept back goes before them, in their place.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Bytes>> {
        if let Some(call) = &mut exchange.grpc {
            call.heard(trailers);
        }
        reply::rewrite_trailers(trailers, &admission(exchange)?.route);
        let rest = exchange.compressor.as_mut().map(|compressor| compressor.end()).transpose()?;
        Ok(rest.filter(|rest| !rest.is_empty()))
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Box<Exchange>) -> FailToProxy {
        Self::restore(session, exchange).await;
        exchange.cause = Some(cause(error));
        let gone = *error.esource() == ErrorSource::Downstream
            && matches!(
                error.etype(),
                ErrorType::ConnectionClosed | ErrorType::WriteError | ErrorType::ReadError | ErrorType::H2Error
            );
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
            match cache::failed(&self.state, session, exchange, &rejection).filter(|_| !exchange.is_refresh) {
                Some(stale) => drop(stale.write(session.as_downstream_mut()).await),
                None => drop(answer::reject(session, exchange, &rejection).await),
            }
        } else {
            exchange.rejected = Some(rejection.code());
            if exchange.grpc.is_some() {
                // Without this the client would hear of a broken stream, and nothing of why.
                let _ = answer::end_call(session, exchange, &rejection).await;
            }
            if session.req_header().version == Version::HTTP_2 {
                // What has ended is not changed by this; what has not must not look as if it had.
                session.as_downstream_mut().shutdown().await;
            }
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Box<Exchange>) {
        Self::restore(session, exchange).await;
        if let Some(fault) = exchange.hold.take().and_then(|hold| hold.take_fault()) {
            exchange.rejected = Some(fault.rejection().code());
            exchange.cause = Some(fault.cause());
        }
        guard::mark_idle(session);
        if !exchange.is_pulse && !exchange.is_refresh {
            self.record(session, error, exchange);
        }
        self.occasion.over(exchange);
        // What the request held is free before its connection waits for the next one.
        exchange.tunnel = None;
        exchange.trail.held = None;
        attempts::end(exchange);
        exchange.body_memory = None;
        exchange.compressor = None;
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
