//! A request's attempts at its service: which target, for how long, and whether there is another one.
//!
//! A request is sent again only where that is safe: when no connection was opened, or when its method is idempotent
//! (RFC 9110 section 9.2.2), its body is still here, and nothing of a reply went to the client. What was sent again for
//! one of these reasons goes to another target where there is one.
//!
//! A kept connection that its service closes just when it is used again is no failure of the service: the request is
//! sent again where that is safe, at most [`MAX_STALE`] times, and that counts neither as a retry nor against the target.
//! A request that may not be repeated is answered 502 then.

mod http2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::COOKIE;
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::{Error, ErrorSource, ErrorType, Result};
use smallvec::SmallVec;

use crate::gateway::service::{Balance, BalanceKey, Failure, Flight, Place, Protocol, Retry, Timeouts};
use crate::gateway::{Service, Target};
use crate::policy::balance::hash;

use super::admit::{Admission, AdmittedBody};
use super::exchange::Exchange;
use super::trace::Fault;

pub use http2::own_deadlines;
use http2::{can_send_again, is_unprocessed, is_unwatched};

/// Most kept connections that turn out to be closed, for one request.
const MAX_STALE: u32 = 2;

/// A reply that is not passed on because the request is sent again.
const SENT_AGAIN: ErrorType = ErrorType::Custom("the request is sent again");

/// What a request has tried so far.
#[derive(Default)]
pub struct Attempts {
    /// How many there were.
    pub count: u32,
    /// Its place among the requests of its service, where these are counted.
    pub place: Option<Place>,
    /// The hash of the path parameter that the service's targets are chosen by.
    pub path_key: Option<u64>,
    flight: Option<Flight>,
    tried: SmallVec<[SocketAddr; 2]>,
    retries: u32,
    stale: u32,
    pause: Option<Duration>,
    /// When all of it must be over.
    due: Option<Instant>,
}

impl Attempts {
    /// The time for all of it is up.
    fn is_over(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// Waits this long for the service, within the time for all of it.
fn wait(exchange: &Exchange, time: Duration) {
    if let Some(watch) = &exchange.watch {
        watch.patience.wait(time, exchange.attempts.due);
    }
}

/// Waits as long as there is time for all of it.
fn wait_for_all(exchange: &Exchange) {
    match (&exchange.watch, exchange.attempts.due) {
        (Some(watch), Some(due)) => watch.patience.wait(Duration::MAX, Some(due)),
        (Some(watch), None) => watch.patience.end(),
        (None, _) => {}
    }
}

/// Nothing is waited for any more.
pub fn end(exchange: &mut Exchange) {
    exchange.watch.iter().for_each(|watch| watch.patience.end());
    exchange.attempts.flight = None;
    exchange.attempts.place = None;
}

/// Begins an attempt: its target, and the peer with its deadlines.
pub async fn begin(session: &Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    if exchange.attempts.count == 0 {
        let route = &super::admission(exchange)?.route;
        if route.service.rules.retries.budget > 0 {
            route.service.state.requested();
        }
        let total = route.timeouts.total.map(|total| Instant::now() + total);
        let of_client = exchange.grpc.as_ref().and_then(|call| call.timeout).map(|time| exchange.started + time);
        exchange.attempts.due = total.into_iter().chain(of_client).min();
    }
    if let Some(pause) = exchange.attempts.pause.take() {
        tokio::time::sleep(pause).await;
    }
    if exchange.attempts.is_over() {
        return Err(too_late());
    }
    let admission = super::admission(exchange)?;
    let service = &admission.route.service;
    let picked = service.pick(key(service, session, exchange), &exchange.attempts.tried).ok_or_else(|| {
        Error::explain(ErrorType::ConnectNoRoute, format!("service {} has no target", service.name)).into_up()
    })?;
    let target = picked.target;
    let mut peer = Box::new(service.peer(&target));
    peer.group_key = peer.group_key.wrapping_add(target.state.era());
    set_timeouts(&mut peer.options, admission, exchange.attempts.due);
    let now = exchange.started.elapsed();
    exchange.service.contacted.get_or_insert(now);
    exchange.service.attempted = Some(now);
    let attempts = &mut exchange.attempts;
    attempts.count += 1;
    attempts.tried.push(target.address);
    attempts.flight = Some(Flight::begin(&target));
    exchange.target = Some(target);
    Ok(peer)
}

/// What pingora itself keeps: the longest that each step may take, within the time for all of them.
fn set_timeouts(options: &mut PeerOptions, admission: &Admission, due: Option<Instant>) {
    let timeouts = &admission.route.timeouts;
    let left = due.map(|due| due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
    let within = |time: Duration| Some(left.map_or(time, |left| time.min(left)));
    options.connection_timeout = within(timeouts.connect);
    options.total_connection_timeout = options.total_connection_timeout.and_then(within);
    (options.read_timeout, options.write_timeout) = match (&admission.handshake, &admission.body) {
        // pingora keeps the times that it was given first. A WebSocket may be silent for longer than any reply, and the
        // time for all of a reply is none of its.
        (Some(_), _) => (None, Some(timeouts.idle)),
        // Over HTTP/2 the time for a reply's header would begin with the body, and not with its end: see `is_unwatched`.
        (None, AdmittedBody::Streamed) if is_unwatched(admission) => (None, within(timeouts.idle)),
        // A header fits into the socket's buffer; a timer for it would be the dearest part of writing it.
        (None, AdmittedBody::None) => (within(timeouts.longest_silence()), None),
        (None, _) => (within(timeouts.longest_silence()), within(timeouts.idle)),
    };
}

/// A connection is there: the reply is waited for from now on.
pub fn connected(exchange: &Exchange, timeouts: &Timeouts) {
    wait(exchange, timeouts.response);
}

/// A piece of a body came from the client: the service has not got all of it yet.
pub fn fed(exchange: &Exchange, admission: &Admission) {
    match exchange.service.replied {
        None => wait(exchange, admission.route.timeouts.response),
        // Whoever speaks ends the silence of both.
        Some(_) if is_unwatched(admission) => wait(exchange, admission.route.timeouts.idle),
        Some(_) => {}
    }
}

/// No connection could be opened.
pub fn unreachable(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    exchange.attempts.flight = None;
    exchange.attempt_failed(Fault::Error(error.etype().as_str()));
    let (Ok(service), Some(target)) = (service(exchange), exchange.target.clone()) else { return error };
    service.metrics.unreachable();
    service.failed(&target, Failure::Connect, Instant::now());
    error.set_retry(spend(&service, &mut exchange.attempts, Retry::Connect));
    error
}

/// Something went wrong after that. `reused` tells whether the connection was a kept one.
pub fn failed(session: &mut Session, exchange: &mut Exchange, mut error: Box<Error>, reused: bool) -> Box<Error> {
    exchange.attempts.flight = None;
    if let Some(watch) = &exchange.watch {
        watch.patience.end();
        if watch.patience.take_ran_out() {
            error = too_late();
        }
    }
    if *error.etype() == SENT_AGAIN {
        return error;
    }
    if is_unprocessed(&mut error) {
        if can_send_again(session, exchange) && exchange.attempts.stale < MAX_STALE && !exchange.attempts.is_over() {
            exchange.attempts.stale += 1;
            // pingora has kept what was sent of a body, and begins with it.
            exchange.streamed = 0;
            send_again(exchange, &mut error);
        }
        return error;
    }
    error.set_retry(false);
    let (Ok(service), Some(target)) = (service(exchange), exchange.target.clone()) else { return error };
    // How a WebSocket ends says nothing of replies, and a client that took all the time itself nothing of the service.
    let is_its_own = exchange.tunnel.is_none() && !(exchange.streamed > 0 && exchange.attempts.is_over());
    if *error.esource() != ErrorSource::Upstream || !is_its_own {
        return error;
    }
    let (failure, retry) = match error.etype() {
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error => {
            (Failure::Reset, Some(Retry::Reset))
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => (Failure::Timeout, Some(Retry::Timeout)),
        _ => (Failure::Reply, None),
    };
    if failure == Failure::Timeout && service.rules.protocol == Protocol::Http2 {
        // Perhaps it is the connection that is dead, and many requests share it.
        target.state.give_up_connections();
    }
    let safe = is_safe(session, exchange);
    let attempts = &mut exchange.attempts;
    if failure == Failure::Reset && reused && exchange.service.replied.is_none() && attempts.stale < MAX_STALE {
        if safe && !attempts.is_over() {
            attempts.stale += 1;
            // The target is as good as before.
            attempts.tried.pop();
            send_again(exchange, &mut error);
        }
        return error;
    }
    service.failed(&target, failure, Instant::now());
    if let Some(retry) = retry
        && safe
        && spend(&service, attempts, retry)
    {
        send_again(exchange, &mut error);
    }
    error
}

fn send_again(exchange: &mut Exchange, error: &mut Error) {
    exchange.attempt_failed(Fault::Error(error.etype().as_str()));
    error.set_retry(true);
}

/// The header of a reply came. It is an error when the request is sent again for its status.
pub fn replied(session: &mut Session, exchange: &mut Exchange, status: u16) -> Result<()> {
    let service = &super::admission(exchange)?.route.service;
    let Some(target) = &exchange.target else { return Ok(()) };
    match service.rules.ejection.as_ref().is_some_and(|ejection| ejection.counts(status)) {
        true => service.failed(target, Failure::Status(status), Instant::now()),
        false => service.succeeded(target),
    }
    if service.rules.retries.after(Retry::Status(status)) && is_safe(session, exchange) {
        let service = Arc::clone(service);
        if spend(&service, &mut exchange.attempts, Retry::Status(status)) {
            service.metrics.replied(status);
            exchange.attempt_failed(Fault::Status(status));
            let mut error = Error::explain(SENT_AGAIN, format!("status {status}")).into_up();
            error.set_retry(true);
            return Err(error);
        }
    }
    passing(exchange, super::admission(exchange)?);
    Ok(())
}

/// The service has answered a handshake: what passes from now on is no reply, and has deadlines of its own.
pub fn switched(exchange: &mut Exchange) {
    if let (Ok(service), Some(target)) = (service(exchange), &exchange.target) {
        service.succeeded(target);
    }
    exchange.attempts.due = None;
    wait_for_all(exchange);
}

/// A piece of a reply came.
///
/// # Errors
/// When the time for all of it is up.
pub fn passed(exchange: &Exchange) -> Result<()> {
    if exchange.tunnel.is_some() {
        return Ok(());
    }
    if exchange.attempts.is_over() {
        return Err(too_late());
    }
    passing(exchange, super::admission(exchange)?);
    Ok(())
}

/// The reply is on its way. Where pingora's timeout for one read is not `idle`, that is kept here.
fn passing(exchange: &Exchange, admission: &Admission) {
    let timeouts = &admission.route.timeouts;
    match admission.handshake.is_some() || is_unwatched(admission) || timeouts.idle < timeouts.response {
        true => wait(exchange, timeouts.idle),
        false => wait_for_all(exchange),
    }
}

fn too_late() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the service took too long").into_up()
}

fn service(exchange: &Exchange) -> Result<Arc<Service>> {
    super::admission(exchange).map(|admission| Arc::clone(&admission.route.service))
}

/// Whether a request may be repeated after some of it was sent.
fn is_safe(session: &mut Session, exchange: &Exchange) -> bool {
    let Some(admission) = &exchange.admission else { return false };
    let is_kept = match admission.body {
        AdmittedBody::None
        | AdmittedBody::Checked { .. }
        | AdmittedBody::Observed(_)
        | AdmittedBody::Spooled { .. } => true,
        AdmittedBody::Streamed => exchange.streamed == 0 && session.as_mut().is_body_empty(),
    };
    is_kept && exchange.service.replied.is_none() && session.req_header().method.is_idempotent()
}

/// Takes a retry for this reason, if there is one; it comes after a pause.
fn spend(service: &Service, attempts: &mut Attempts, reason: Retry) -> bool {
    let retries = &service.rules.retries;
    if attempts.retries >= retries.attempts || !retries.after(reason) || attempts.is_over() {
        return false;
    }
    if retries.backoff.is_none() && !service.has_untried(&attempts.tried) {
        return false;
    }
    // What was never sent adds nothing to what the service has to do.
    if reason != Retry::Connect && !service.state.may_retry(retries.budget, Instant::now()) {
        service.metrics.retry_refused();
        return false;
    }
    service.metrics.retried();
    // Half of it at least, so that requests that failed together do not come back together.
    let longest = retries.backoff.map(|backoff| backoff.saturating_mul(1 << attempts.retries.min(8)));
    attempts.pause = longest.map(|longest| longest.mul_f64(0.5 + fastrand::f64() / 2.0));
    attempts.retries += 1;
    true
}

/// The hash of what the service's targets are chosen by; `None` where the request has nothing of the kind.
fn key(service: &Service, session: &Session, exchange: &Exchange) -> Option<u64> {
    let Balance::ConsistentHash(key) = &service.rules.balance else { return None };
    let headers = &session.req_header().headers;
    match key {
        BalanceKey::Consumer => exchange.trail.consumer.as_ref().map(|consumer| hash(consumer.name.as_bytes())),
        BalanceKey::ClientIp => Some(hash(exchange.client.as_bytes())),
        BalanceKey::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
        BalanceKey::Cookie(name) => cookie(headers, name.as_bytes()).map(hash),
        BalanceKey::Path(_) => exchange.attempts.path_key,
    }
}

/// The value of the first cookie with this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// The target contacted last.
pub fn target(exchange: &Exchange) -> Result<&Target> {
    let target = exchange.target.as_deref();
    target.ok_or_else(|| Error::explain(ErrorType::InternalError, "request has no target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (fields, expected) in [
            (&["session=a"][..], Some("a")),
            (&["x=1; session=a=b; y=2"], Some("a=b")),
            (&["xsession=1", "session=2;session=3"], Some("2")),
            (&["sessions=1; session"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(COOKIE, field.parse().unwrap());
            }
            assert_eq!(cookie(&headers, b"session"), expected.map(str::as_bytes), "{fields:?}");
        }
    }
}
