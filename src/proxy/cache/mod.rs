//! The cache of replies: what is answered from it, what goes to the service, and what becomes of the reply.
//!
//! Admission comes first, whatever is stored. Then [`answer`] looks for a stored reply: a good one is the answer, and the
//! request is over without pingora's upstream machinery. Otherwise one request leads and goes to the service, and those
//! that want the same wait for it (`fill`). What the service says is judged in [`replied`], by the rules of
//! [`crate::policy::cache`]; from then on a [`Relay`] decides what goes to the client and what into the store.
//!
//! Invariant: a reply is found only by requests with its key, and the key names all that a reply may depend on
//! (`key`).

mod body;
mod fill;
mod key;
mod mark;
mod refresh;
mod relay;
mod serve;
mod store;
mod stored;

use std::sync::Arc;
use std::time::Instant;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LOCATION, HOST, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
};
use http::request::Parts;
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gateway::{CachedRoute, Route};
use crate::policy::cache::status::{self, Forwarded};
use crate::policy::cache::{
    Asked, Freshness, Lasting, Replied, RequestDirectives, Use, condition, freshen, invalidates, judge, tags, vary,
};
use crate::policy::rejection::Rejection;
use crate::telemetry::CacheResult;

use super::State;
use super::admit::{Admission, AdmittedBody};
use super::body::declared_length;
use super::client;
use super::exchange::Exchange;
use super::forward;
use super::reply::model;

use body::Body;
use fill::{Failure, Leader, Outcome, Role};
use key::KeyBytes;
use relay::{Keeping, Source, confirmed};
use serve::CACHE_STATUS;
use store::Found;
use stored::{Stored, Validators, kept};

pub use refresh::taken_over;
pub use relay::{Next, Relay};
pub use serve::Answer;
pub use store::{Purge, ReplyStore};

/// How often a request waits for others before it goes to the service by itself.
const MAX_WAITS: u32 = 4;

/// Statuses of a service that fails.
const FAILURES: [u16; 4] = [500, 502, 503, 504];

/// What the cache does with one request.
pub struct Course {
    /// Decides what the client gets, where the reply may be stored.
    pub relay: Option<Arc<Relay>>,
    why: Forwarded,
    /// The key without what the request says of fields.
    primary: KeyBytes,
    leader: Option<Leader>,
    /// What is stored, and not good without the service's word.
    stale: Option<Stale>,
    /// Purges before the service was asked.
    purges: u64,
    /// Makes obsolete what other methods change meanwhile.
    path: Option<Arc<mark::Mark>>,
    /// Whether a client waits for an answer.
    for_client: bool,
}

struct Stale {
    stored: Arc<Stored>,
    /// It is the answer when the service fails.
    if_error: bool,
}

/// What comes next for a request of a route with a cache.
pub enum Step {
    /// It is answered.
    Answered,
    /// It goes to the service.
    Forward,
    /// It ends here.
    Reject(Rejection),
}

impl Course {
    fn new(why: Forwarded) -> Self {
        Self {
            relay: None,
            why,
            primary: KeyBytes::new(),
            leader: None,
            stale: None,
            purges: 0,
            path: None,
            for_client: true,
        }
    }

    /// Says what the cache did with a request whose reply passes.
    pub fn tell(&self, headers: &mut HeaderMap) {
        for name in tags::FIELDS {
            headers.remove(name);
        }
        headers.append(CACHE_STATUS, self.status(None, false));
    }

    fn status(&self, replied: Option<StatusCode>, stored: bool) -> HeaderValue {
        let status = replied.map(|status| status.as_u16());
        status::forwarded(status::Course { why: self.why, status, stored, collapsed: false })
    }

    /// Asks the service for what can be stored: the whole, or whether what is stored is still good.
    pub fn ask(&self, headers: &mut HeaderMap) {
        if self.relay.is_none() {
            return;
        }
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE] {
            headers.remove(name);
        }
        if let Some(stale) = &self.stale {
            let validators = &stale.stored.validators;
            validators.tag.iter().for_each(|tag| drop(headers.insert(IF_NONE_MATCH, tag.clone())));
            validators.modified.iter().for_each(|since| drop(headers.insert(IF_MODIFIED_SINCE, since.clone())));
        }
    }
}

/// Whether the cache is for a request at all.
pub fn concerns(admission: &Admission, session: &mut Session) -> bool {
    let without_body = match admission.body {
        AdmittedBody::None => true,
        AdmittedBody::Streamed => session.as_mut().is_body_empty(),
        AdmittedBody::Checked { .. } | AdmittedBody::Observed(_) | AdmittedBody::Spooled { .. } => false,
    };
    let method = &session.req_header().method;
    without_body && admission.handshake.is_none() && [Method::GET, Method::HEAD].contains(method)
}

/// Answers a request from what is stored, or from what another one brings.
///
/// # Errors
/// When the client cannot be written to.
pub async fn answer(
    state: &Arc<State>,
    session: &mut Session,
    exchange: &mut Exchange,
    admission: &Admission,
    cached: &CachedRoute,
) -> Result<Step> {
    let request = session.req_header();
    let client = match request.headers.contains_key(CACHE_CONTROL) {
        true => RequestDirectives::of(&request.headers),
        false => RequestDirectives::default(),
    };
    if client.no_store || condition::is_for_the_service(&request.headers) {
        return Ok(pass(exchange, CacheResult::Bypass, Forwarded::Bypass));
    }
    let mut key = primary(cached, admission, exchange, request);
    let own = key.len();
    for _ in 0..MAX_WAITS {
        key.truncate(own);
        let now = Instant::now();
        let (why, stale, apart) = match state.cache.find(&mut key, &session.req_header().headers) {
            Found::Reply(stored) => {
                let held = now.saturating_duration_since(stored.came);
                match stored.lasting.serve(&cached.rules, held, &client) {
                    Use::Fresh => return hit(state, session, exchange, &stored, CacheResult::Hit, now).await,
                    Use::Stale => return hit(state, session, exchange, &stored, CacheResult::Stale, now).await,
                    Use::Refresh => {
                        refresh::begin(state, session, exchange, admission, &stored, (&key, own));
                        return hit(state, session, exchange, &stored, CacheResult::Stale, now).await;
                    }
                    Use::Validate { if_error } => {
                        let is_fresh = stored.lasting.fresh_left(held) > 0;
                        let why = if is_fresh { Forwarded::Request } else { Forwarded::Stale };
                        // One failure does not stand in for another.
                        let if_error = if_error && !FAILURES.contains(&stored.status.as_u16());
                        (why, Some(Stale { stored, if_error }), false)
                    }
                }
            }
            Found::Nothing(why) => (why, None, false),
            Found::Apart => (Forwarded::UriMiss, None, true),
        };
        if client.only_if_cached && cached.rules.freshness == Freshness::Respected {
            return Ok(Step::Reject(Rejection::NotCached));
        }
        if session.req_header().method == Method::HEAD {
            return Ok(pass(exchange, CacheResult::Miss, Forwarded::Method));
        }
        let awaited = match state.cache.fills.enter(&key) {
            Role::Lead(leader) => {
                key.truncate(own);
                lead(state, session, exchange, why, stale, leader, key);
                return Ok(Step::Forward);
            }
            Role::Follow(_) if apart => break,
            Role::Follow(awaited) => awaited,
        };
        let began = exchange.started.elapsed();
        match fill::outcome(awaited).await {
            Outcome::Stored(stored) if !stored.is_good() => break,
            Outcome::Stored(stored) if is_for(&stored, &session.req_header().headers) => {
                let status = status::forwarded(status::Course { why, status: None, stored: false, collapsed: true });
                let request = session.req_header();
                // What has begun to pass to others alone cannot be read from its beginning any more.
                let Ok(answer) =
                    serve::answer(state, &stored, request, exchange, &admission.route, status, Instant::now())
                else {
                    break;
                };
                // The wait was for the service.
                exchange.service.contacted = Some(began);
                exchange.service.replied = Some(exchange.started.elapsed());
                exchange.cached = Some(CacheResult::Collapsed);
                answer.write(session.as_downstream_mut()).await?;
                return Ok(Step::Answered);
            }
            // It is for requests with other fields, or there is none: look again.
            Outcome::Stored(_) | Outcome::Gone | Outcome::Awaited => {}
            Outcome::Apart => break,
            Outcome::Failed(failure) => {
                let Some(stale) = stale.filter(|stale| stale.if_error) else {
                    return Ok(Step::Reject(failure.rejection()));
                };
                return hit(state, session, exchange, &stale.stored, CacheResult::Stale, Instant::now()).await;
            }
        }
    }
    // By itself, and for nobody else.
    Ok(pass(exchange, CacheResult::Miss, Forwarded::UriMiss))
}

/// Goes to the service for a reply that passes.
fn pass(exchange: &mut Exchange, result: CacheResult, why: Forwarded) -> Step {
    exchange.cached = Some(result);
    exchange.cache = Some(Box::new(Course::new(why)));
    Step::Forward
}

fn primary(cached: &CachedRoute, admission: &Admission, exchange: &Exchange, request: &Parts) -> KeyBytes {
    let asked = key::Asked {
        headers: &request.headers,
        hosts: forward::hosts(&request.headers, exchange.peer),
        authority: request.uri.authority().map(|authority| authority.as_str()),
        is_https: client::scheme(&request.headers, exchange) == "https",
        consumer: exchange.trail.consumer.as_deref(),
    };
    key::key(cached, admission, &asked)
}

/// Whether a stored reply is for requests that say this.
fn is_for(stored: &Stored, headers: &HeaderMap) -> bool {
    let mut selecting = Vec::new();
    vary::selecting(&stored.vary, headers, &mut selecting);
    selecting == stored.selecting
}

async fn hit(
    state: &State,
    session: &mut Session,
    exchange: &mut Exchange,
    stored: &Arc<Stored>,
    result: CacheResult,
    now: Instant,
) -> Result<Step> {
    let left = stored.lasting.fresh_left(now.saturating_duration_since(stored.came));
    let Some(route) = exchange.trail.route.clone() else { return Ok(Step::Forward) };
    let answer = serve::answer(state, stored, session.req_header(), exchange, &route, status::hit(left), now)?;
    exchange.cached = Some(result);
    answer.write(session.as_downstream_mut()).await?;
    Ok(Step::Answered)
}

/// Goes to the service for a reply that may be stored.
fn lead(
    state: &State,
    session: &Session,
    exchange: &mut Exchange,
    why: Forwarded,
    stale: Option<Stale>,
    leader: Leader,
    primary: KeyBytes,
) {
    exchange.cached = Some(CacheResult::Miss);
    let mut course = Course::new(why);
    course.relay = Some(Arc::default());
    course.leader = Some(leader);
    course.stale = stale;
    course.primary = primary;
    course.purges = state.cache.purges();
    course.path = Some(state.cache.paths.of(session.req_header().uri.path().as_bytes()));
    exchange.cache = Some(Box::new(course));
}

/// The header of a final reply has come, as its service sent it.
///
/// # Errors
/// When the service has to be asked once more.
pub fn replied(
    state: &Arc<State>,
    session: &Session,
    response: &ResponseHeader,
    exchange: &mut Exchange,
    route: &Arc<Route>,
) -> Result<()> {
    invalidate(state, session.req_header(), response);
    let Some(mut course) = exchange.cache.take() else { return Ok(()) };
    let decided = decide(state, session, response, exchange, route, &mut course);
    exchange.cache = Some(course);
    decided
}

fn decide(
    state: &Arc<State>,
    session: &Session,
    response: &ResponseHeader,
    exchange: &mut Exchange,
    route: &Arc<Route>,
    course: &mut Course,
) -> Result<()> {
    let (Some(relay), Some(cached)) = (course.relay.clone(), route.cache.as_deref()) else { return Ok(()) };
    let request: &Parts = session.req_header();
    let now = Instant::now();
    let client = |exchange: &Exchange, course: &Course, stored: &Stored, status: HeaderValue| {
        let answer = || serve::answer(state, stored, request, exchange, route, status, now);
        course.for_client.then(answer).transpose()
    };
    if let Some(stale) = &course.stale {
        let status = response.status;
        if status == StatusCode::NOT_MODIFIED {
            let Some(stored) = confirm(state, request, response, exchange, route, cached, course, stale) else {
                // It is another one that the service still has: what is stored is good for nothing.
                forget(state, course);
                course.stale = None;
                let mut error = Error::explain(ErrorType::Custom("another reply was confirmed"), "etag").into_up();
                error.set_retry(true);
                return Err(error);
            };
            relay.answer(client(exchange, course, &stored, course.status(Some(status), true))?);
            exchange.cached = Some(CacheResult::Revalidated);
            confirmed(state, &course.primary, &stored, course.leader.take(), course.purges);
            return Ok(());
        }
        if stale.if_error && FAILURES.contains(&status.as_u16()) {
            relay.answer(client(exchange, course, &stale.stored, course.status(Some(status), false))?);
            exchange.cached = Some(CacheResult::Stale);
            if let Some(leader) = course.leader.take() {
                leader.tell(Outcome::Stored(Arc::clone(&stale.stored)));
            }
            return Ok(());
        }
        // What comes takes its place, or nothing does. A service that fails has said nothing about it.
        if !FAILURES.contains(&status.as_u16()) {
            forget(state, course);
        }
    }
    let Some(keeping) = keeping(state, request, response, exchange, route, cached, course) else {
        if let Some(leader) = course.leader.take() {
            if leader.is_awaited() {
                state.cache.leave_apart(&leader.key, now);
            }
            leader.tell(Outcome::Apart);
        }
        course.relay = None;
        return Ok(());
    };
    relay.answer(client(exchange, course, &keeping.stored, course.status(None, true))?);
    relay.keep(keeping);
    Ok(())
}

/// Forgets what is stored for a request.
fn forget(state: &State, course: &Course) {
    match &course.leader {
        Some(leader) => state.cache.remove(leader.key.bytes()),
        None => state.cache.remove(&course.primary),
    }
}

fn lasting(
    cached: &CachedRoute,
    request: &Parts,
    exchange: &Exchange,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<Lasting> {
    // What the configuration says is for everyone whose requests have the same key.
    let authorized = cached.rules.freshness == Freshness::Respected && request.headers.contains_key(AUTHORIZATION);
    let asked = Asked { authorized, no_store: false };
    let delay = exchange.service.attempted.map_or_else(Default::default, |began| exchange.started.elapsed() - began);
    let at = exchange.at + exchange.started.elapsed();
    judge(&cached.rules, asked, &Replied { status, headers, at, delay }).ok()
}

/// What is stored, confirmed by a 304; `None` when that is about something else.
#[expect(clippy::too_many_arguments, reason = "all that a reply is judged by")]
fn confirm(
    state: &State,
    request: &Parts,
    response: &ResponseHeader,
    exchange: &Exchange,
    route: &Route,
    cached: &CachedRoute,
    course: &Course,
    stale: &Stale,
) -> Option<Arc<Stored>> {
    let old = &stale.stored;
    let said = Validators::of(&response.headers);
    if let (Some(said), Some(known)) = (&said.tag, &old.validators.tag)
        && !condition::is_same(said, known)
    {
        return None;
    }
    let mut headers = old.headers.clone();
    freshen(&mut headers, &kept(&response.headers, route));
    // Where the service's fields are hidden, those of the 304 alone say how long it lasts.
    let mut judged = headers.clone();
    freshen(&mut judged, &response.headers);
    if !old.validators.is_empty() {
        old.validators.tag.iter().for_each(|tag| drop(judged.insert(http::header::ETAG, tag.clone())));
    }
    let lasting = lasting(cached, request, exchange, old.status, &judged)?;
    Some(Arc::new(Stored {
        status: old.status,
        headers,
        body: Arc::clone(&old.body),
        lasting,
        came: Instant::now(),
        validators: Validators {
            tag: said.tag.or_else(|| old.validators.tag.clone()),
            modified: said.modified.or_else(|| old.validators.modified.clone()),
        },
        vary: Arc::clone(&old.vary),
        selecting: old.selecting.clone(),
        marks: marks(state, course, &response.headers, &old.marks),
        route: old.route.clone(),
        path: old.path.clone(),
    }))
}

/// The marks of a reply: its path, and the tags that it has or had.
fn marks(state: &State, course: &Course, headers: &HeaderMap, before: &[Arc<mark::Mark>]) -> Box<[Arc<mark::Mark>]> {
    let own = course.path.iter().cloned();
    let tags = tags::of(headers).map(|tag| state.cache.tag(tag));
    own.chain(before.iter().skip(1).cloned()).chain(tags).collect()
}

/// A reply that is to be stored; `None` when it is not.
fn keeping(
    state: &Arc<State>,
    request: &Parts,
    response: &ResponseHeader,
    exchange: &Exchange,
    route: &Arc<Route>,
    cached: &CachedRoute,
    course: &mut Course,
) -> Option<Keeping> {
    let lasting = lasting(cached, request, exchange, response.status, &response.headers)?;
    let is_checked = exchange.hold.is_some() && model::concerns(&request.method, response);
    let mut room = state.cache.room();
    let declared = declared_length(&response.headers);
    if !declared.is_none_or(|length| length <= cached.rules.max_object && room.grow_to(length)) {
        return None;
    }
    let mut headers = kept(&response.headers, route);
    if is_checked {
        model::forget_bytes(&mut headers);
    }
    let vary: Arc<[HeaderName]> = vary::names(&response.headers).into();
    let mut selecting = Vec::new();
    vary::selecting(&vary, &request.headers, &mut selecting);
    let without_body = matches!(response.status, StatusCode::NO_CONTENT);
    let stored = Arc::new(Stored {
        status: response.status,
        headers,
        body: Arc::new(Body::coming(declared.filter(|_| !is_checked && !without_body))),
        lasting,
        came: Instant::now(),
        validators: Validators::of(&response.headers),
        vary,
        selecting,
        marks: marks(state, course, &response.headers, &[]),
        route: route.name.clone(),
        path: request.uri.path().into(),
    });
    Some(Keeping {
        state: Arc::clone(state),
        stored,
        leader: course.leader.take(),
        primary: std::mem::take(&mut course.primary),
        room,
        most: cached.rules.max_object,
        purges: course.purges,
        source: if is_checked { Source::Check } else { Source::Service },
    })
}

/// Makes obsolete what a request has changed (RFC 9111 section 4.4).
fn invalidate(state: &State, request: &Parts, response: &ResponseHeader) {
    if !invalidates(&request.method, response.status) {
        return;
    }
    state.cache.paths.end(request.uri.path().as_bytes());
    for name in [LOCATION, CONTENT_LOCATION] {
        let place = response.headers.get(name).and_then(|place| place.to_str().ok());
        if let Some(path) = place.and_then(|place| own_path(place, request)) {
            state.cache.paths.end(path.as_bytes());
        }
    }
}

/// The path of a URI, where it is of the host that a request is for.
fn own_path<'u>(uri: &'u str, request: &Parts) -> Option<&'u str> {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri.authority().map(|authority| authority.as_str()));
    let rest = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
    let path = match rest {
        Some(rest) => {
            let (authority, _) = rest.split_at(rest.find('/')?);
            host.is_some_and(|host| host.eq_ignore_ascii_case(authority)).then(|| &rest[authority.len()..])?
        }
        None => uri.strip_prefix('/').filter(|rest| !rest.starts_with('/')).map(|_| uri)?,
    };
    Some(&path[..path.find(['?', '#']).unwrap_or(path.len())])
}

/// The service failed. What is stored may be the answer.
pub fn failed(state: &State, session: &Session, exchange: &mut Exchange, rejection: &Rejection) -> Option<Answer> {
    let mut course = exchange.cache.take()?;
    let failure = Failure::of(rejection);
    let route = exchange.trail.route.clone();
    let stale = course.stale.take().filter(|stale| stale.if_error && failure.is_some());
    if let (Some(leader), Some(failure)) = (course.leader.take(), failure) {
        leader.tell(match &stale {
            Some(stale) => Outcome::Stored(Arc::clone(&stale.stored)),
            None => Outcome::Failed(failure),
        });
    }
    let answer = stale.zip(route).filter(|_| course.for_client).and_then(|(stale, route)| {
        let status = course.status(None, false);
        serve::answer(state, &stale.stored, session.req_header(), exchange, &route, status, Instant::now()).ok()
    });
    if answer.is_some() {
        exchange.cached = Some(CacheResult::Stale);
    }
    course.relay = None;
    exchange.cache = Some(course);
    answer
}
