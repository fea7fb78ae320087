//! Preflights of browsers (Fetch standard, section 3.3): answered for the route that the request itself will be for.
//!
//! Where that route has no CORS of its own, an OPTIONS request is what it always was.

use http::header::HeaderMap;
use http::request::Parts;

use crate::gateway::{Gateway, METHODS};
use crate::policy::cors::asked_method;
use crate::policy::path::RequestPath;
use crate::policy::rejection::Rejection;

use super::super::exchange::Exchange;
use super::authorise;

/// The fields of the answer; `None`: this is no preflight that the gateway answers.
///
/// # Errors
/// The route is not for this address.
pub(super) fn answer(
    gateway: &Gateway,
    host: Option<&str>,
    path: &RequestPath<'_>,
    request: &Parts,
    exchange: &mut Exchange,
) -> Result<Option<HeaderMap>, Rejection> {
    let Some(method) = asked_method(&request.method, &request.headers) else { return Ok(None) };
    let Ok(found) = gateway.router.find(host, &method, path) else { return Ok(None) };
    let route = found.route;
    let Some(cors) = &route.cors else { return Ok(None) };
    exchange.trail.route = Some(route.clone());
    authorise::address(route, exchange)?;
    // What a browser remembers of this answer holds for all of them.
    let alike = METHODS.iter().filter(|method| {
        gateway.router.find(host, method, path).is_ok_and(|other| other.route.cors.as_ref() == Some(cors))
    });
    Ok(Some(cors.preflight(&request.headers, alike)))
}
