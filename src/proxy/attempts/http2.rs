//! What is otherwise with services that get HTTP/2: who keeps their deadlines, and what they have not looked at.

use std::sync::Arc;

use http::Version;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gateway::service::Protocol;

use super::super::admit::{Admission, AdmittedBody};
use super::super::body;
use super::super::exchange::Exchange;
use super::super::guard::Deadlines;

/// Prepares a request of HTTP/1 for a service of HTTP/2, as far as pingora does not: the deadlines that a session keeps then.
/// On a connection of HTTP/2 it keeps them anyway.
///
/// # Errors
/// When the client cannot be written to.
pub async fn own_deadlines(
    session: &mut Session,
    exchange: &Exchange,
    admission: &Admission,
) -> Result<Option<Deadlines>> {
    let (version, service) = (session.req_header().version, &admission.route.service);
    if version == Version::HTTP_2 || service.rules.protocol != Protocol::Http2 {
        return Ok(None);
    }
    if version == Version::HTTP_10 {
        // Its answer may have no length, and ends with the connection then.
        session.set_keepalive(None);
    }
    let streams = matches!(admission.body, AdmittedBody::Streamed);
    if streams {
        // The service's own 100 does not come through.
        body::invite(session).await?;
    }
    if !streams && version != Version::HTTP_10 {
        return Ok(None);
    }
    let silence = session.as_downstream().get_read_timeout();
    Ok(exchange.watch.as_ref().map(|watch| Deadlines::of(Arc::clone(watch), silence)))
}

/// Whether pingora keeps no time for the service's silence, so that the patience has to, from the first to the last byte.
/// So it is where a body streams over HTTP/2: either side may speak at any time.
pub(super) fn is_unwatched(admission: &Admission) -> bool {
    admission.route.service.rules.protocol == Protocol::Http2 && matches!(admission.body, AdmittedBody::Streamed)
}

/// Whether the service has said that it will not look at the request, since it is about to leave (RFC 9113 sections 6.8
/// and 8.7).
pub(super) fn is_unprocessed(error: &mut Error) -> bool {
    error.retry.decide_reuse(false);
    std::mem::replace(&mut error.retry, false.into()).retry() && *error.etype() == ErrorType::H2Error
}

/// Whether all of a request is still here that the service has not looked at, whatever its method.
pub(super) fn can_send_again(session: &mut Session, exchange: &Exchange) -> bool {
    match exchange.admission.as_ref().map(|admission| &admission.body) {
        Some(AdmittedBody::Streamed) => exchange.streamed == 0 || !session.as_mut().retry_buffer_truncated(),
        Some(_) => true,
        None => false,
    }
}
