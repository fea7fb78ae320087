//! Admission: everything between a request's header and its service.
//!
//! [`admit`] lists the steps in order; each is one call, and none is switched off by an earlier one. It takes no
//! `Session`, so it is tested without a server. It waits only where another machine has to be asked (for the keys of a
//! token, for who calls, for limits that many gateways share) and for passwords. Such waits are boxed, so that a request
//! without them does not carry their space. A route whose contract reads the body gets a [`Pending`] first, which
//! becomes an [`Admission`] when the body is there: all violations are told at once.
//!
//! Invariant: an [`Admission`] is made here only: it holds an `Evidence`, which nothing else can make.

mod ask;
mod authenticate;
mod authorise;
mod certificate;
mod here;
mod message;
mod observe;
mod password;
mod preflight;
mod redirect;
pub(super) mod shared;
mod stored;
#[cfg(test)]
pub(super) mod tests;
mod token;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use once_cell::sync::OnceCell;
use pingora::proxy::Session;
use smallvec::SmallVec;

use crate::gateway::docs::{self, Docs};
use crate::gateway::router::{Match, Miss};
use crate::gateway::{Consumer, EncodedSlash, Gateway, LimitBy, LimitCounters, METHODS, Route, ServicePathValue};
use crate::policy::authenticate::Part;
use crate::policy::balance::hash;
use crate::policy::contract::{
    BodyContract, CheckedBody, CheckedFields, IncomingForm, Media, MediaFault, PathValues, Violations,
};
use crate::policy::headers::FORWARDED_HOST;
use crate::policy::limit::{Claim, Granted, Now, Subject};
use crate::policy::mode::Mode;
use crate::policy::path::{RequestPath, decode_segment};
use crate::policy::rejection::{Format, Malformed, Rejection};
use crate::policy::websocket::Handshake;

use super::State;
use super::body::{Keep, SpooledBody, Upload, fresh_boundary};
use super::client::{self, Address};
use super::exchange::{Asked, Exchange, Held, Peer};
use super::guard;
use super::occasion::{Occasion, Serving};
use super::queue;
use super::trace::{Step, Trace};

use message::Envelope;

/// A request that may go to its service.
pub struct Admission {
    /// The route.
    pub route: Arc<Route>,
    /// Path and query for the service.
    pub service_target: Bytes,
    /// What the service gets for declared header fields and cookies.
    pub fields: CheckedFields,
    /// What the service gets for a body.
    pub body: AdmittedBody,
    /// The WebSocket that it asks for; none on every other route.
    pub handshake: Option<Handshake>,
    /// What the contract would have refused; none unless the route only observes.
    pub observed: Violations,
    _evidence: Evidence,
}

impl Admission {
    /// The same for a request that fetches once more what this one was for. It has no body, as this one has none.
    pub(super) fn again(&self) -> Self {
        Self {
            route: Arc::clone(&self.route),
            service_target: self.service_target.clone(),
            fields: self.fields.clone(),
            body: AdmittedBody::None,
            handshake: None,
            observed: Violations::new(),
            _evidence: Evidence(()),
        }
    }
}

/// Cannot be made outside this file.
struct Evidence(());

/// What the service gets for a body.
#[derive(Clone)]
pub enum AdmittedBody {
    /// None.
    None,
    /// The client's, as it comes.
    Streamed,
    /// These bytes.
    Checked {
        /// In their canonical form.
        bytes: Bytes,
        /// `Content-Type`.
        content_type: HeaderValue,
    },
    /// The client's bytes under the client's own description, read whole to be observed.
    Observed(Bytes),
    /// A form with files, which are not all in memory.
    Spooled {
        /// Where it is.
        body: SpooledBody,
        /// `Content-Type`.
        content_type: HeaderValue,
    },
}

/// What comes next for a request.
pub enum Decision {
    /// It goes to its service.
    Forward(Admission),
    /// Its body has to be read first.
    ReadBody(Pending),
    /// It is answered with the methods of its path.
    Options(HeaderValue),
    /// It is sent to this address.
    Redirect(HeaderValue),
    /// It is answered with what pages of its origin may do here.
    Preflight(HeaderMap),
    /// It is answered with a page of the API's description.
    Page(docs::Answer),
}

/// A request that is admitted but for its body.
pub struct Pending {
    route: Arc<Route>,
    service_target: Bytes,
    fields: CheckedFields,
    violations: Violations,
    media: Option<Media>,
}

/// The header of a request, as admission needs it.
pub struct Request<'a> {
    /// Method, target, fields.
    pub parts: &'a Parts,
    /// The request target as it came.
    pub target: &'a [u8],
    /// The header as it came, for what parsing hides.
    pub raw: Bytes,
    /// The other end of the connection.
    pub peer: Address,
    /// Our end of the connection, where it matters which listener a request came through.
    pub local: Option<SocketAddr>,
    /// The port of TLS, where its listener only shows the way there.
    pub redirect: Option<NonZeroU16>,
    /// For whom it is and where it ends.
    pub envelope: Envelope<'a>,
}

impl<'a> Request<'a> {
    /// Reads what admission needs from a session.
    pub fn of(session: &'a Session, gateway: &Gateway) -> Self {
        let header = session.req_header();
        let raw = session.as_downstream().as_http1().map(|http1| http1.get_headers_raw_bytes());
        // The first look at it is a system call.
        let local = gateway.docs.as_ref().and_then(|_| session.server_addr()?.as_inet().copied());
        let mut request = Self::new(header, header.raw_path(), raw.unwrap_or_default(), guard::peer(session));
        (request.local, request.redirect) = (local, guard::redirect(session));
        request.envelope.follow(guard::stream(session).is_some_and(|stream| stream.has_body));
        request
    }

    pub(super) fn new(parts: &'a Parts, target: &'a [u8], raw: Bytes, peer: Address) -> Self {
        Self { parts, target, raw, peer, local: None, redirect: None, envelope: Envelope::of(&parts.headers) }
    }
}

/// Decides on a request. What is found out on the way stays in the exchange, also when it ends in a rejection.
///
/// # Errors
/// Why the request ends here.
pub async fn admit(state: &State, request: &Request<'_>, exchange: &mut Exchange) -> Result<Decision, Rejection> {
    admit_on(&Serving, state, request, exchange).await
}

/// The same on an occasion that may know the caller by other means than a credential.
///
/// # Errors
/// Why the request ends here.
pub(super) async fn admit_on(
    occasion: &impl Occasion,
    state: &State,
    request: &Request<'_>,
    exchange: &mut Exchange,
) -> Result<Decision, Rejection> {
    let gateway = Arc::clone(&exchange.gateway);
    let parts = request.parts;
    identify(&gateway, request, exchange);
    check_flood(&gateway, exchange)?;
    message::check(&gateway.request_limits, request)?;
    let host = message::host(request)?;
    message::check_name(host, exchange.tls.as_deref())?;
    if let Some(port) = request.redirect {
        return redirect::to_tls(&gateway, parts, host, port).map(Decision::Redirect);
    }
    if request.target == b"*" {
        return whole_server(&parts.method);
    }
    let path = RequestPath::parse(parts.uri.path()).map_err(Rejection::Path)?;
    if let Some(docs) = described(state, &gateway, request, &path) {
        exchange.trail.asked = Asked::Docs;
        return page(docs, &parts.method, &path, &parts.headers);
    }
    // Before credentials, which browsers do not send with it.
    if let Some(answer) = preflight::answer(&gateway, host, &path, parts, exchange)? {
        return Ok(Decision::Preflight(answer));
    }
    let found = match find(&gateway, host, &parts.method, &path) {
        Ok(found) => found,
        Err(Found::Rejection(rejection)) => return Err(rejection),
        Err(Found::Options(allow)) => return Ok(Decision::Options(allow)),
    };
    let route = found.route;
    exchange.trail.route = Some(Arc::clone(route));
    // Before credentials: an address that may not call learns nothing about them.
    authorise::address(route, exchange)?;
    // A page elsewhere that uses its visitor's credentials has no use for what they say.
    let handshake = handshake(route, request, exchange)?;
    if path.has_encoded_slash() && route.encoded_slash == EncodedSlash::Reject {
        return Err(Rejection::EncodedSlash);
    }
    let now = state.clock.at(exchange.started, exchange.at);
    exchange.trail.consumer = match occasion.consumer(route) {
        Some(consumer) => Some(consumer),
        None => {
            let began = exchange.step_begins().filter(|_| !route.access.is_public());
            let caller = authenticate::caller(occasion, state, &gateway, route, parts, now, exchange).await;
            exchange.step_over(Step::Authenticate, began);
            caller?
        }
    };
    authorise::caller(route, exchange)?;
    let route = settled(route, exchange);
    let path_key = route.path_key.and_then(|index| found.captures.get(index));
    exchange.attempts.path_key = path_key.map(|value| hash(decode_segment(value).as_bytes()));
    // Before limits: a request that its service has no place for spends none. One that may not need its service does.
    if route.cache.is_none() {
        queue::check_room(&route.service)?;
    }
    let began = exchange.step_begins().filter(|_| state.shared.is_some());
    let held = limit(state, route, exchange, &parts.headers, now).await;
    exchange.step_over(Step::Limit, began);
    exchange.trail.held = held?;
    let decision = match route.modes.contract {
        Mode::Enforce => contract(gateway.format, route, &found, request),
        Mode::Observe => observe::contract(route, &found, request),
    };
    match (decision?, handshake) {
        // Its end is that of the connection, so nothing of HTTP follows; and a handshake has no body to wait for.
        (Decision::Forward(admission), handshake @ Some(_)) => {
            let body = AdmittedBody::None;
            Ok(Decision::Forward(Admission { handshake, body, ..admission }))
        }
        (decision, _) => Ok(decision),
    }
}

/// The WebSocket that a request asks for, on a route that takes nothing else.
fn handshake(route: &Route, request: &Request<'_>, exchange: &Exchange) -> Result<Option<Handshake>, Rejection> {
    let Some(websocket) = &route.websocket else { return Ok(None) };
    let headers = &request.parts.headers;
    let handshake = Handshake::of(request.parts).map_err(Rejection::Handshake)?;
    let forwarded = match exchange.peer {
        Peer::Trusted => headers.get(FORWARDED_HOST),
        Peer::Stranger => None,
    };
    let host = forwarded.or(request.envelope.host()).map(HeaderValue::as_bytes);
    if !websocket.origins.allow(headers, host) {
        return Err(Rejection::Origin);
    }
    Ok(Some(handshake))
}

/// The route to the service that the caller's requests go to. It has that one from here on: its retries too.
fn settled<'g>(route: &'g Arc<Route>, exchange: &mut Exchange) -> &'g Arc<Route> {
    let Some(split) = &route.split else { return route };
    let caller = exchange.trail.consumer.as_ref().map(|consumer| consumer.name.as_bytes());
    let Some(chosen) = split.choose(caller.unwrap_or(exchange.client.as_bytes())) else { return route };
    exchange.trail.route = Some(Arc::clone(chosen));
    chosen
}

/// Who is there, and what the request is called.
fn identify(gateway: &Gateway, request: &Request<'_>, exchange: &mut Exchange) {
    let (client, peer) = client::client(&request.peer, &gateway.trusted_proxies, &request.parts.headers);
    exchange.client = client;
    exchange.peer_address = request.peer.clone();
    exchange.peer = peer;
    exchange.id = client::RequestId::of(&request.parts.headers, peer);
    exchange.trace = gateway.traces.as_ref().map(|traces| Trace::begin(traces, &request.parts.headers, peer));
}

/// The process itself is no client.
fn check_flood(gateway: &Gateway, exchange: &Exchange) -> Result<(), Rejection> {
    match &gateway.flood {
        Some(flood) if !exchange.is_pulse => flood.admit(exchange.client.ip).map_err(|_| Rejection::Flood),
        _ => Ok(()),
    }
}

/// `OPTIONS *` asks for the server as a whole (RFC 9110 section 9.3.7); `*` is no target for anything else.
fn whole_server(method: &Method) -> Result<Decision, Rejection> {
    if *method != Method::OPTIONS {
        return Err(Rejection::Malformed(Malformed::Target));
    }
    static ALL: OnceCell<HeaderValue> = OnceCell::new();
    let all = ALL.get_or_try_init(|| METHODS.map(|method| method.to_string()).join(", ").parse());
    all.map(|all| Decision::Options(all.clone())).map_err(|_| Rejection::Internal)
}

/// The API's description, where its listener is asked for one of its paths. No route sees such a request, and no limit
/// counts it.
fn described<'g>(
    state: &State,
    gateway: &'g Gateway,
    request: &Request<'_>,
    path: &RequestPath<'_>,
) -> Option<&'g Docs> {
    let docs = gateway.docs.as_ref().filter(|_| docs::PATHS.contains(&path.as_str()))?;
    let docs::Place::Listener(written) = docs.place else { return None };
    let local = request.local?;
    let listening = state.listeners.iter().find(|listening| listening.written == written)?;
    listening.took(local).then_some(docs)
}

fn page(docs: &Docs, method: &Method, path: &RequestPath<'_>, headers: &HeaderMap) -> Result<Decision, Rejection> {
    let allow = HeaderValue::from_static(docs::METHODS);
    match *method {
        Method::GET | Method::HEAD => {
            docs.answer(path.as_str(), headers).map(Decision::Page).ok_or(Rejection::NotFound)
        }
        Method::OPTIONS => Ok(Decision::Options(allow)),
        _ => Err(Rejection::MethodNotAllowed(allow)),
    }
}

/// A request that no route forwards.
enum Found {
    Rejection(Rejection),
    Options(HeaderValue),
}

fn find<'g>(
    gateway: &'g Gateway,
    host: Option<&str>,
    method: &Method,
    path: &'g RequestPath<'_>,
) -> Result<Match<'g, Arc<Route>>, Found> {
    let miss = match gateway.router.find(host, method, path) {
        Ok(found) => return Ok(found),
        Err(miss) => miss,
    };
    match miss {
        Miss::NotFound => Err(Found::Rejection(Rejection::NotFound)),
        Miss::MethodNotAllowed(allow) => {
            // Method names and commas are always a header's value.
            let allow = allow.to_string().parse().unwrap_or(HeaderValue::from_static("GET"));
            if *method == Method::OPTIONS {
                return Err(Found::Options(allow));
            }
            Err(Found::Rejection(Rejection::MethodNotAllowed(allow)))
        }
    }
}

/// All limits of plan and route, decided together. What they refuse spends nothing, also where it passes because they
/// only observe: so the counters are those that enforcing would have.
async fn limit(
    state: &State,
    route: &Route,
    exchange: &mut Exchange,
    headers: &HeaderMap,
    now: Now,
) -> Result<Option<Held>, Rejection> {
    let counters = &exchange.gateway.limit_counters;
    let (trail, client, cost) = (&mut exchange.trail, exchange.client.ip, route.cost);
    let mut claims: SmallVec<[Claim<'_>; 4]> = SmallVec::new();
    if let Some(consumer) = &trail.consumer
        && let Some(plan) = &consumer.plan
    {
        let here = plan.route_limits(&route.name);
        if !here.is_empty() {
            let subject = consumer.subject.on(route.mark);
            claims.extend(here.iter().map(|limit| Claim { limit, subject, cost }));
        }
        let subject = consumer.subject;
        claims.extend(plan.total.iter().chain(&plan.concurrency).map(|limit| Claim { limit, subject, cost }));
    }
    claims.extend(route.limits.iter().map(|entry| {
        let subject = match &entry.by {
            LimitBy::ClientIp => Subject::address(client),
            LimitBy::Consumer => trail.consumer.as_ref().map_or(Subject::everyone(), |consumer| consumer.subject),
            LimitBy::Route => Subject::everyone(),
            LimitBy::Header(name) => Subject::header(headers.get(name).map(HeaderValue::as_bytes)),
            LimitBy::Claim(path) => Consumer::claimed(trail.consumer.as_deref(), path),
        };
        Claim { limit: &entry.limit, subject, cost }
    }));
    if claims.is_empty() {
        return Ok(None);
    }
    let decided = match &state.shared {
        None => here::decide(state, &claims, now).await.map(|granted| counted(counters, granted)),
        Some(limits) => Box::pin(shared::decide(state, limits, counters, &claims, now)).await?,
    };
    match decided {
        Ok(held) => Ok(Some(held)),
        Err(refused) => {
            if route.modes.limits == Mode::Observe {
                route.metrics.observed_limits();
                counters.observed(&refused.standings);
                trail.passed_over.limits = refused.violated().map(Into::into).collect();
                return Ok(Some(Held::passed_over(&refused)));
            }
            counters.refused(&refused.standings);
            trail.refused_by = refused.violated().map(Into::into).collect();
            Err(Rejection::limited(&refused))
        }
    }
}

/// What a grant holds; limits that it nearly exhausts are counted.
fn counted(counters: &LimitCounters, granted: Granted<'_>) -> Held {
    counters.granted(&granted.standings);
    Held::of(granted)
}

/// Path, query, fields and, where it is read, the body.
fn contract(
    format: Format,
    route: &Arc<Route>,
    found: &Match<'_, Arc<Route>>,
    request: &Request<'_>,
) -> Result<Decision, Rejection> {
    let parts = request.parts;
    let mut violations = Violations::new();
    let decoded: SmallVec<[Cow<'_, str>; 4]> = found.captures.iter().map(|value| decode_segment(value)).collect();
    let mut values = PathValues::new();
    route.contract.check_path(&decoded, &mut values, &mut violations);
    let mut target = String::with_capacity(route.service_path_text.len() + parts.uri.path().len() + 32);
    let expanded = route.service_path.expand(
        |index| match (values.get(index), decoded.get(index), found.captures.get(index)) {
            // A value that was not rewritten keeps its spelling, and with it an encoded slash.
            (Some(value), Some(decoded), Some(capture)) if value == decoded => ServicePathValue::Captured(capture),
            (Some(value), ..) => ServicePathValue::Decoded(value),
            _ => ServicePathValue::Decoded(""),
        },
        &mut target,
    );
    let query = clients_query(parts.uri.query(), route);
    let at = target.len();
    route.contract.check_query(query.as_deref(), &mut target, &mut violations);
    if target.len() > at {
        target.insert(at, if route.service_path.has_query() { '&' } else { '?' });
    }
    let fields = route.contract.fields.check(&parts.headers, &mut violations);
    if violations.is_empty() {
        expanded.map_err(Rejection::Path)?;
    }
    let service_target = Bytes::from(target);
    let route = Arc::clone(route);
    match &route.contract.body {
        BodyContract::None if !request.envelope.announces_body() => {
            finish(route, service_target, fields, violations, AdmittedBody::None).map(Decision::Forward)
        }
        BodyContract::Any => {
            check_length(&route, request)?;
            finish(route, service_target, fields, violations, AdmittedBody::Streamed).map(Decision::Forward)
        }
        BodyContract::None => {
            Ok(Decision::ReadBody(Pending { route, service_target, fields, violations, media: None }))
        }
        BodyContract::Json(_) | BodyContract::Document(_) | BodyContract::Form(_) => {
            let media = match route.contract.accept(&parts.headers) {
                // Without a body its type means nothing: what is missing is said instead.
                Err(_) if !request.envelope.announces_body() => Media::form(),
                Ok(media) if !request.envelope.announces_body() && media.boundary().is_some() => Media::form(),
                Ok(media) => media,
                // FastAPI reads a form of another type as an empty one, and reports the fields it lacks.
                Err(fault)
                    if format == Format::Fastapi
                        && fault != MediaFault::Boundary
                        && matches!(route.contract.body, BodyContract::Form(_)) =>
                {
                    route.contract.check_body(Media::form(), b"", &mut violations);
                    return Err(match violations.is_empty() {
                        true => Rejection::Media(fault),
                        false => Rejection::Contract(violations.into_vec()),
                    });
                }
                Err(fault) => return Err(Rejection::Media(fault)),
            };
            let pending = Pending { route, service_target, fields, violations, media: Some(media) };
            if !request.envelope.announces_body() {
                return pending.finish(&Bytes::new()).map(Decision::Forward);
            }
            Ok(Decision::ReadBody(pending))
        }
    }
}

/// A body that is not read here may still say that it is too large.
fn check_length(route: &Route, request: &Request<'_>) -> Result<(), Rejection> {
    match super::body::declared_length(&request.parts.headers) {
        Some(length) if length > route.max_body => Err(Rejection::BodyTooLarge(route.max_body)),
        _ => Ok(()),
    }
}

/// The query without API keys, which are no parameters, and without what the service path sets itself. Where undeclared
/// parameters are refused, the contract refuses the latter.
fn clients_query<'q>(query: Option<&'q str>, route: &Route) -> Option<Cow<'q, str>> {
    let query = query?;
    let keys = route.hidden_keys.iter().filter_map(|part| match part {
        Part::Query(name) => Some(&**name),
        Part::Header(_) | Part::Cookie(_) => None,
    });
    let refused = !route.observes() && route.contract.query.refuses_undeclared();
    let own = if refused { &[][..] } else { route.service_path.query_names() };
    let mut names = keys.chain(own.iter().map(|name| &**name));
    let Some(first) = names.next() else { return Some(Cow::Borrowed(query)) };
    let names: SmallVec<[&str; 2]> = std::iter::once(first).chain(names).collect();
    let is_not_theirs = |pair: &str| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| names.contains(&&*name));
    if !query.split('&').any(is_not_theirs) {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_not_theirs(pair)).collect();
    Some(Cow::Owned(kept.join("&")))
}

impl Pending {
    /// Whether the body has to be held, or only read off.
    pub fn keep(&self) -> Keep {
        if self.media.is_some() { Keep::All } else { Keep::Nothing }
    }

    /// The form to read the body as, when it is multipart.
    pub fn incoming_form(&self) -> Option<IncomingForm<'_>> {
        match (&self.route.contract.body, self.media.as_ref()?.boundary()?) {
            // What is only observed is sent on as it came, so it is read in one piece.
            _ if self.route.observes() => None,
            (BodyContract::Form(form), boundary) => Some(IncomingForm::new(form, boundary)),
            _ => None,
        }
    }

    /// Checks a multipart form.
    ///
    /// # Errors
    /// Every violation of path, query and body.
    pub fn finish_form(self, upload: Upload) -> Result<Admission, Rejection> {
        let Self { route, service_target, fields, mut violations, .. } = self;
        let (received, files) = upload.into_parts();
        let rebuilt = match &route.contract.body {
            BodyContract::Form(form) => form.check_form(received, &fresh_boundary()?, &mut violations),
            _ => None,
        };
        finish(route, service_target, fields, violations, files.admitted(rebuilt)?)
    }

    /// Checks the body.
    ///
    /// # Errors
    /// Every violation of path, query, fields and body.
    pub fn finish(self, body: &Bytes) -> Result<Admission, Rejection> {
        let Self { route, service_target, fields, mut violations, media } = self;
        let checked = match media {
            Some(media) => route.contract.check_body(media, body, &mut violations),
            None => CheckedBody::Nothing,
        };
        let body = match checked {
            _ if route.observes() => AdmittedBody::Observed(body.clone()),
            CheckedBody::Nothing | CheckedBody::Unread => AdmittedBody::None,
            CheckedBody::Bytes { bytes, content_type } => {
                let content_type = match content_type {
                    Cow::Borrowed(content_type) => HeaderValue::from_static(content_type),
                    // It was a header's value before.
                    Cow::Owned(content_type) => HeaderValue::try_from(content_type).map_err(|_| Rejection::Internal)?,
                };
                AdmittedBody::Checked { bytes, content_type }
            }
        };
        finish(route, service_target, fields, violations, body)
    }
}

fn finish(
    route: Arc<Route>,
    service_target: Bytes,
    fields: CheckedFields,
    violations: Violations,
    body: AdmittedBody,
) -> Result<Admission, Rejection> {
    if !violations.is_empty() && !route.observes() {
        return Err(Rejection::Contract(violations.into_vec()));
    }
    let handshake = None;
    Ok(Admission { route, service_target, fields, body, handshake, observed: violations, _evidence: Evidence(()) })
}
