//! A request's attempts at its service: which target, for how long, and whether there is another one.
//!
//! A request is sent again only where that is safe: when no connection was opened, or when its method is idempotent
//! (RFC 9110 section 9.2.2), its body is still here, and nothing of a reply went to the client. What was sent again for
//! one of these reasons goes to another target where there is one.
//!
//! A kept connection that its service closes just when it is used again is no failure of the service: the request is
//! sent again where that is safe, at most [`MAX_STALE`] times, and that counts neither as a retry nor against the target.
//! A request that may not be repeated is answered 502 then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::COOKIE;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use smallvec::SmallVec;

use crate::gateway::service::{Balance, BalanceKey, Failure, Flight, Place, Retry};
use crate::gateway::{Service, Target};
use crate::policy::balance::hash;
use crate::policy::rejection::Rejection;

use super::admit::{AdmittedBody, Decision};
use super::exchange::Exchange;
use super::patience::Patience;

/// Most kept connections that turn out to be closed, for one request.
const MAX_STALE: u32 = 2;

/// A reply that is not passed on because the request is sent again.
const SENT_AGAIN: ErrorType = ErrorType::Custom("the request is sent again");

/// What a request has tried so far.
#[derive(Default)]
pub struct Attempts {
    /// How many there were.
    pub count: u32,
    /// The deadline of the client's connection.
    pub patience: Option<Arc<Patience>>,
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

    /// Waits this long for the service, within the time for all of it.
    fn wait(&self, time: Duration) {
        if let Some(patience) = &self.patience {
            patience.wait(time, self.due);
        }
    }

    /// Waits as long as there is time for all of it.
    fn wait_for_all(&self) {
        match (&self.patience, self.due) {
            (Some(patience), Some(_)) => patience.wait(Duration::MAX, self.due),
            (Some(patience), None) => patience.end(),
            (None, _) => {}
        }
    }

    /// Nothing is waited for any more.
    pub fn end(&mut self) {
        self.patience.iter().for_each(|patience| patience.end());
        self.flight = None;
        self.place = None;
    }
}

/// Takes a place among the requests of the service, where these are counted.
///
/// # Errors
/// When none is free.
pub fn enter(exchange: &mut Exchange, decision: Decision) -> Result<Decision, Rejection> {
    if let (Decision::Forward(_) | Decision::ReadBody(_), Some(route)) = (&decision, &exchange.trail.route)
        && let Some(max) = route.service.rules.max_requests
    {
        exchange.attempts.place = Some(route.service.state.enter(max).ok_or(Rejection::ServiceBusy)?);
    }
    Ok(decision)
}

/// Begins an attempt: its target, and the peer with its deadlines.
pub async fn begin(session: &Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    let service = service(exchange)?;
    let (first, total) = (exchange.attempts.count == 0, service.rules.timeouts.total);
    if first {
        exchange.attempts.due = total.map(|total| Instant::now() + total);
        if service.rules.retries.budget > 0 {
            service.state.requested();
        }
    }
    if let Some(pause) = exchange.attempts.pause.take() {
        tokio::time::sleep(pause).await;
    }
    if exchange.attempts.is_over() {
        return Err(too_late());
    }
    let picked = service.pick(key(&service, session, exchange), &exchange.attempts.tried).ok_or_else(|| {
        Error::explain(ErrorType::ConnectNoRoute, format!("service {} has no target", service.name)).into_up()
    })?;
    let target = picked.target;
    let attempts = &mut exchange.attempts;
    attempts.count += 1;
    attempts.tried.push(target.address);
    attempts.flight = Some(Flight::begin(&target));
    let mut peer = Box::new(target.peer.clone());
    if let Some(due) = attempts.due {
        let left = due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let options = &mut peer.options;
        for timeout in [&mut options.connection_timeout, &mut options.read_timeout, &mut options.write_timeout] {
            *timeout = timeout.map(|timeout| timeout.min(left));
        }
    }
    exchange.target = Some(target);
    Ok(peer)
}

/// A connection is there: the reply is waited for from now on.
pub fn connected(exchange: &Exchange, service: &Service) {
    exchange.attempts.wait(service.rules.timeouts.response);
}

/// A piece of a body came from the client: the service has not got all of it yet.
pub fn fed(exchange: &Exchange, service: &Service) {
    if exchange.service.replied.is_none() {
        exchange.attempts.wait(service.rules.timeouts.response);
    }
}

/// No connection could be opened.
pub fn unreachable(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    exchange.attempts.flight = None;
    let (Ok(service), Some(target)) = (service(exchange), exchange.target.clone()) else { return error };
    service.metrics.unreachable();
    service.failed(&target, Failure::Connect, Instant::now());
    error.set_retry(spend(&service, &mut exchange.attempts, Retry::Connect));
    error
}

/// Something went wrong after that. `reused` tells whether the connection was a kept one.
pub fn failed(session: &mut Session, exchange: &mut Exchange, mut error: Box<Error>, reused: bool) -> Box<Error> {
    exchange.attempts.flight = None;
    if let Some(patience) = &exchange.attempts.patience {
        patience.end();
        if patience.take_ran_out() {
            error = too_late();
        }
    }
    if *error.etype() == SENT_AGAIN {
        return error;
    }
    error.set_retry(false);
    let (Ok(service), Some(target)) = (service(exchange), exchange.target.clone()) else { return error };
    if *error.esource() != ErrorSource::Upstream {
        return error;
    }
    let (failure, retry) = match error.etype() {
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
            (Failure::Reset, Some(Retry::Reset))
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => (Failure::Timeout, Some(Retry::Timeout)),
        _ => (Failure::Reply, None),
    };
    let safe = is_safe(session, exchange);
    let attempts = &mut exchange.attempts;
    if failure == Failure::Reset && reused && exchange.service.replied.is_none() && attempts.stale < MAX_STALE {
        if safe && !attempts.is_over() {
            attempts.stale += 1;
            // The target is as good as before.
            attempts.tried.pop();
            error.set_retry(true);
        }
        return error;
    }
    service.failed(&target, failure, Instant::now());
    if let Some(retry) = retry.filter(|_| safe) {
        error.set_retry(spend(&service, attempts, retry));
    }
    error
}

/// The header of a reply came. It is an error when the request is sent again for its status.
pub fn replied(session: &mut Session, exchange: &mut Exchange, status: u16) -> Result<()> {
    let service = service(exchange)?;
    let Some(target) = exchange.target.clone() else { return Ok(()) };
    match service.rules.ejection.as_ref().is_some_and(|ejection| ejection.counts(status)) {
        true => service.failed(&target, Failure::Status(status), Instant::now()),
        false => service.succeeded(&target),
    }
    if service.rules.retries.after(Retry::Status(status))
        && is_safe(session, exchange)
        && spend(&service, &mut exchange.attempts, Retry::Status(status))
    {
        service.metrics.replied(status);
        let mut error = Error::explain(SENT_AGAIN, format!("status {status}")).into_up();
        error.set_retry(true);
        return Err(error);
    }
    passing(exchange, &service);
    Ok(())
}

/// A piece of a reply came.
///
/// # Errors
/// When the time for all of it is up.
pub fn passed(exchange: &Exchange) -> Result<()> {
    if exchange.attempts.is_over() {
        return Err(too_late());
    }
    passing(exchange, &super::admission(exchange)?.route.service);
    Ok(())
}

/// The reply is on its way. pingora's timeout for one read is the longer of `response` and `idle`; the shorter is kept
/// here.
fn passing(exchange: &Exchange, service: &Service) {
    let timeouts = &service.rules.timeouts;
    match timeouts.idle < timeouts.response {
        true => exchange.attempts.wait(timeouts.idle),
        false => exchange.attempts.wait_for_all(),
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
