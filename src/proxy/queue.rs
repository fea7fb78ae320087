//! The place that a request needs at a service which works on no more than so many, and the wait for it.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use pingora::proxy::Session;
use pingora::{Error, Result};
use tokio::time::timeout;

use crate::gateway::Service;
use crate::gateway::service::Place;
use crate::policy::rejection::Rejection;
use crate::telemetry::QueueRefusal;

use super::admit::Decision;
use super::exchange::Exchange;

/// Whether the service has room for another request, or for one that waits, as far as can be said before it does.
///
/// # Errors
/// When it has none.
pub fn check_room(service: &Service) -> Result<(), Rejection> {
    let Some(max) = service.rules.max_requests else { return Ok(()) };
    let places = &service.state.places;
    if places.has_room(max) {
        return Ok(());
    }
    match &service.rules.queue {
        Some(queue) if places.waiting() < queue.max => Ok(()),
        Some(queue) => {
            queue.metrics.refused(QueueRefusal::Full);
            Err(Rejection::ServiceBusy)
        }
        None => Err(Rejection::ServiceBusy),
    }
}

/// Takes a place among the requests of the service, where these are counted, and waits for one where that is allowed.
///
/// # Errors
/// When the client leaves meanwhile. Without a place, the request is rejected.
pub async fn enter(
    session: &mut Session,
    exchange: &mut Exchange,
    decision: Decision,
) -> Result<Result<Decision, Rejection>> {
    if let (Decision::Forward(_) | Decision::ReadBody(_), Some(route)) = (&decision, &exchange.trail.route)
        && let Some(max) = route.service.rules.max_requests
    {
        let service = Arc::clone(&route.service);
        match place(session, exchange, &service, max).await? {
            Ok(place) => exchange.attempts.place = Some(place),
            Err(rejection) => return Ok(Err(rejection)),
        }
    }
    Ok(Ok(decision))
}

async fn place(
    session: &mut Session,
    exchange: &mut Exchange,
    service: &Service,
    max: usize,
) -> Result<Result<Place, Rejection>> {
    let places = &service.state.places;
    if let Some(place) = places.enter(max) {
        return Ok(Ok(place));
    }
    let Some(queue) = &service.rules.queue else { return Ok(Err(Rejection::ServiceBusy)) };
    let Some(ticket) = places.wait(max, queue.max) else {
        queue.metrics.refused(QueueRefusal::Full);
        return Ok(Err(Rejection::ServiceBusy));
    };
    let (begun, _counted) = (Instant::now(), queue.metrics.waits());
    let came = tokio::select! {
        came = timeout(queue.timeout, ticket.place()) => Ok(came),
        left = leaves(session) => Err(left),
    };
    let waited = begun.elapsed();
    exchange.queued = Some(waited);
    queue.metrics.waited(waited);
    Ok(came?.map_err(|_| {
        queue.metrics.refused(QueueRefusal::Timeout);
        Rejection::ServiceBusy
    }))
}

/// Ends when the client has left. One whose body is still to be read is looked for when that is read.
async fn leaves(session: &mut Session) -> Box<Error> {
    while session.as_mut().is_body_empty() {
        if let Err(left) = session.as_mut().read_body_or_idle(true).await {
            return left.into_down();
        }
    }
    pending().await
}
