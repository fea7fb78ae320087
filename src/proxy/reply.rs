//! The service's answer as the client gets it.
//!
//! Bodies are not touched here: `model` checks those of routes that ask for it. Of the header, what concerns one
//! connection ends here, and what a route hides or changes is hidden or changed; every other field passes as it came,
//! repeated ones in order.

pub mod compress;
pub mod model;

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING};
use smallvec::SmallVec;

use crate::gateway::{Route, ServiceHeaders};
use crate::policy::grpc;
use crate::policy::headers::{beyond_representation, response_hop_by_hop};
use crate::policy::rejection::X_REQUEST_ID;
use crate::policy::websocket;

use super::exchange::Exchange;

/// Room for `X-Request-Id`, and for pingora's `Date` and `Connection`: the map of fields grows once at most.
const ADDED: usize = 3;

/// Rewrites the header with which a service goes over to a WebSocket. What it negotiates passes, whatever a route hides.
pub fn switch(headers: &mut HeaderMap, exchange: &Exchange, route: &Route) {
    let negotiated: SmallVec<[(HeaderName, HeaderValue); 3]> = [SEC_WEBSOCKET_ACCEPT]
        .iter()
        .chain(&websocket::NEGOTIATED)
        .flat_map(|name| headers.get_all(name).iter().map(|value| (name.clone(), value.clone())))
        .collect();
    rewrite(headers, exchange, route);
    for name in [SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH, TRANSFER_ENCODING].iter().chain(&websocket::NEGOTIATED) {
        headers.remove(name);
    }
    headers.extend(negotiated);
    websocket::switch(headers);
}

/// Rewrites the header of a final response.
pub fn rewrite(headers: &mut HeaderMap, exchange: &Exchange, route: &Route) {
    let held = exchange.trail.held.as_ref().map_or(0, |held| held.fields.len());
    headers.reserve(held + ADDED);
    for name in response_hop_by_hop(headers) {
        headers.remove(name);
    }
    if route.service_headers == ServiceHeaders::Hide {
        let keep = if exchange.grpc.is_some() { &grpc::ANSWERING[..] } else { &[] };
        for name in beyond_representation(headers).iter().filter(|name| !keep.contains(name)) {
            headers.remove(name);
        }
    }
    if let Some(course) = &exchange.cache {
        course.tell(headers);
    }
    dress(headers, exchange, route);
}

/// Adds what is each client's own, and changes what the route changes. An answer from what is stored gets it too.
pub fn dress(headers: &mut HeaderMap, exchange: &Exchange, route: &Route) {
    for (name, value) in exchange.trail.held.iter().flat_map(|held| &held.fields) {
        headers.insert(name, value.clone());
    }
    headers.insert(X_REQUEST_ID, exchange.id.value());
    route.response_headers.apply(headers);
}

/// Rewrites what a service sends behind the body of a reply, as its header. Only HTTP/2 carries it on.
pub fn rewrite_trailers(trailers: &mut HeaderMap, route: &Route) {
    if route.service_headers == ServiceHeaders::Hide {
        for name in beyond_representation(trailers).iter().filter(|name| !grpc::ENDING.contains(name)) {
            trailers.remove(name);
        }
    }
    for name in &route.response_headers.remove {
        trailers.remove(name);
    }
}
