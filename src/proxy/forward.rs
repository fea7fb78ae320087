//! The request that the service gets.
//!
//! Everything here happens in `upstream_request_filter`, on a copy of the client's header. What ends at the gateway is
//! taken out first: hop-by-hop fields, those that the client nominated in `Connection`, and those that only the
//! gateway may send, whatever their spelling. Then the gateway's own are written, so that none can be nominated away.
//! pingora's own removal is off for our peers ([`crate::gateway::Target::peer`]): it looks each name up for itself.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderName,
    HeaderValue, TE, TRANSFER_ENCODING, VIA,
};
use http::request::Parts;
use pingora::{Error, ErrorType, OrErr, Result};
use smallvec::SmallVec;

use crate::gateway::service::Protocol;
use crate::gateway::{HostHeader, Target};
use crate::policy::authenticate::{Part, cookies_without};
use crate::policy::contract::is_look_alike;
use crate::policy::grpc;
use crate::policy::headers::{
    CONSUMER_GROUPS, CONSUMER_NAME, CONSUMER_PLAN, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, is_hop_by_hop,
    is_own, nominated,
};
use crate::policy::rejection::X_REQUEST_ID;
use crate::policy::websocket::NEGOTIATED;

use super::admit::{Admission, AdmittedBody};
use super::client::{Address, scheme};
use super::exchange::{Exchange, Peer};
use super::guard::Http2Stream;
use super::reply::model;
use super::trace;

/// How many fields the gateway adds to most requests.
const ADDED: usize = 9;

/// Of a request that came over HTTP/1.
const VIA_HTTP1: HeaderValue = HeaderValue::from_static("1.1 tollgate");

/// Of one that came over HTTP/2.
const VIA_HTTP2: HeaderValue = HeaderValue::from_static("2.0 tollgate");

/// Rewrites a copy of the client's header into what the service gets.
///
/// # Errors
/// Only when a value cannot be a header, which is an error of the gateway.
pub fn rewrite(request: &mut Parts, exchange: &Exchange, admission: &Admission, target: &Target) -> Result<()> {
    let route = &admission.route;
    let speaks_http2 = route.service.rules.protocol == Protocol::Http2;
    let via = if request.extensions.get::<Arc<Http2Stream>>().is_some() { VIA_HTTP2 } else { VIA_HTTP1 };
    let headers = &mut request.headers;
    headers.reserve(ADDED);
    let said = Said::by_proxy(headers, exchange.peer);
    let proto = scheme(headers, exchange);
    let tracestate = trace::state_for_service(headers, exchange);
    if let Some(allowed) = &route.allowed_headers {
        let negotiated = admission.handshake.iter().flat_map(|_| NEGOTIATED);
        let called = exchange.grpc.iter().flat_map(|_| grpc::ASKING);
        let describing = describing(&admission.body).iter().cloned();
        let keep: SmallVec<[HeaderName; 3]> = describing.chain(negotiated).chain(called).collect();
        allowed.apply(headers, &keep);
    }
    // One pass over the few fields there are is cheaper than a lookup for each name that is not.
    let mut ending: SmallVec<[HeaderName; 4]> = headers
        .keys()
        .filter(|name| {
            is_own(name)
                || is_hop_by_hop(name)
                || ends_here(name, &admission.body)
                // The gateway has said that the body may come.
                || speaks_http2 && *name == EXPECT
                || route.claim_headers.iter().any(|own| own == *name || is_look_alike(own, name))
        })
        .cloned()
        .collect();
    if ending.contains(&CONNECTION) {
        ending.extend(nominated(headers));
    }
    for name in &ending {
        headers.remove(name);
    }
    remove_credentials(headers, &route.hidden_keys);
    admission.fields.write(headers);
    let checked = match &admission.body {
        AdmittedBody::Checked { bytes, content_type } => Some((bytes.len() as u64, Some(content_type))),
        AdmittedBody::Spooled { body, content_type } => Some((body.length, Some(content_type))),
        AdmittedBody::Observed(bytes) => Some((bytes.len() as u64, None)),
        AdmittedBody::None | AdmittedBody::Streamed => None,
    };
    if let Some((length, content_type)) = checked {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
    }
    let client_host = headers.insert(HOST, target.host.clone());
    if let (HostHeader::Client, Some(host)) = (route.service.host, &client_host) {
        headers.insert(HOST, host.clone());
    }
    add_forwarding(headers, exchange, client_host, said, proto)?;
    headers.append(VIA, via);
    if let Some(consumer) = &exchange.trail.consumer {
        headers.insert(CONSUMER_NAME, consumer.name_header.clone());
        if let Some(plan) = &consumer.plan {
            headers.insert(CONSUMER_PLAN, plan.name_header.clone());
        }
        if let Some(groups) = &consumer.groups_header {
            headers.insert(CONSUMER_GROUPS, groups.clone());
        }
        for (name, value) in &consumer.claim_headers {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(X_REQUEST_ID, exchange.id.value());
    trace::tell_service(headers, exchange, tracestate);
    model::ask(headers, route);
    if speaks_http2 && exchange.grpc.is_some() {
        // They reach a client of HTTP/2.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    route.request_headers.apply(headers);
    if let Some(handshake) = &admission.handshake {
        handshake.ask(headers);
    }
    if let Some(course) = &exchange.cache {
        course.ask(headers);
    }
    request.uri = http::Uri::from_maybe_shared(admission.service_target.clone())
        .or_err(ErrorType::InternalError, "service path is no URI")?;
    Ok(())
}

/// API keys end here, also on routes that do not ask for them.
fn remove_credentials(headers: &mut HeaderMap, hidden: &[Part]) {
    let mut cookies: SmallVec<[&str; 2]> = SmallVec::new();
    for part in hidden {
        match part {
            Part::Header(name) => {
                headers.remove(name);
            }
            Part::Cookie(name) => cookies.push(name),
            // The query was written anew at admission.
            Part::Query(_) => {}
        }
    }
    if cookies.is_empty() || !headers.contains_key(COOKIE) {
        return;
    }
    let kept: SmallVec<[HeaderValue; 2]> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| cookies_without(value.as_bytes(), cookies.iter().copied()))
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// Whether a field describes the client's connection or body, and not what is sent on. A streamed body without a
/// length is sent in chunks of our own.
fn ends_here(name: &HeaderName, body: &AdmittedBody) -> bool {
    let of_the_body: &[HeaderName] = match body {
        AdmittedBody::Streamed => &[],
        AdmittedBody::Observed(_) => &[CONTENT_LENGTH, EXPECT],
        AdmittedBody::None | AdmittedBody::Checked { .. } | AdmittedBody::Spooled { .. } => {
            &[CONTENT_LENGTH, CONTENT_TYPE, EXPECT]
        }
    };
    [CONNECTION, TRANSFER_ENCODING].contains(name) || of_the_body.contains(name)
}

/// The client's fields without which its body would not be understood, beside framing.
fn describing(body: &AdmittedBody) -> &'static [HeaderName] {
    match body {
        AdmittedBody::Streamed => &[CONTENT_TYPE, CONTENT_ENCODING, EXPECT],
        AdmittedBody::Observed(_) => &[CONTENT_TYPE, CONTENT_ENCODING],
        AdmittedBody::None | AdmittedBody::Checked { .. } | AdmittedBody::Spooled { .. } => &[],
    }
}

/// What a trusted proxy said of its client, besides what it speaks; nothing when the peer is a stranger.
#[derive(Default)]
struct Said {
    chain: String,
    host: Option<HeaderValue>,
}

impl Said {
    fn by_proxy(headers: &HeaderMap, peer: Peer) -> Self {
        if peer == Peer::Stranger {
            return Self::default();
        }
        let chain: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        Self { chain: chain.join(", "), host: headers.get(FORWARDED_HOST).cloned() }
    }
}

/// The hosts that a service is told of: the client's, and what a trusted proxy says that it was.
pub fn hosts(headers: &HeaderMap, peer: Peer) -> [Option<&HeaderValue>; 2] {
    let said = headers.get(FORWARDED_HOST).filter(|_| peer == Peer::Trusted);
    [headers.get(HOST), said]
}

fn add_forwarding(
    headers: &mut HeaderMap,
    exchange: &Exchange,
    client_host: Option<HeaderValue>,
    said: Said,
    proto: &'static str,
) -> Result<()> {
    let host = said.host.or(client_host);
    headers.insert(FORWARDED_FOR, continued(said.chain, &exchange.peer_address)?);
    headers.insert(FORWARDED, value(forwarded(exchange.client.as_bytes(), host.as_ref(), proto))?);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    Ok(())
}

/// `X-Forwarded-For` with the peer at its end.
fn continued(chain: String, peer: &Address) -> Result<HeaderValue> {
    if chain.is_empty() {
        return Ok(peer.value());
    }
    let mut text = chain.into_bytes();
    text.extend_from_slice(b", ");
    text.extend_from_slice(peer.as_bytes());
    value(text)
}

/// RFC 7239: `for=192.0.2.1;host="api.example.com:8080";proto=http`.
fn forwarded(client: &[u8], host: Option<&HeaderValue>, proto: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + client.len() + host.map_or(0, HeaderValue::len));
    let is_v6 = client.contains(&b':');
    out.extend_from_slice(if is_v6 { b"for=\"[" } else { b"for=" });
    out.extend_from_slice(client);
    out.extend_from_slice(if is_v6 { b"]\"" } else { b"" });
    // A client's host was checked at admission; a proxy's word may hold anything.
    if let Some(host) = host.map(HeaderValue::as_bytes)
        && host.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(proto.as_bytes());
    out
}

fn value(text: Vec<u8>) -> Result<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .map_err(|_| Error::explain(ErrorType::InternalError, "forwarding field is no header value"))
}
