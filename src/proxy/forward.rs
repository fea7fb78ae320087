//! The request that the service gets.
//!
//! Everything here happens in `upstream_request_filter`, after pingora has dropped hop-by-hop fields and those that
//! the client nominated in `Connection`: a field set earlier could be nominated away. Fields that only the gateway
//! may send are taken out first, whatever their spelling, and then written anew.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
    VIA,
};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, OrErr, Result};
use smallvec::SmallVec;

use crate::gateway::{HostHeader, Target};
use crate::policy::authenticate::{Part, cookies_without};
use crate::policy::headers::{
    CONSUMER_GROUPS, CONSUMER_NAME, CONSUMER_PLAN, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, HeaderEdits, is_own,
};
use crate::policy::rejection::X_REQUEST_ID;

use super::admit::{Admission, AdmittedBody};
use super::exchange::{Exchange, Peer};

/// Rewrites a copy of the client's header into what the service gets.
///
/// # Errors
/// Only when a value cannot be a header, which is an error of the gateway.
pub fn rewrite(request: &mut RequestHeader, exchange: &Exchange, admission: &Admission, target: &Target) -> Result<()> {
    let client_host = request.headers.get(HOST).cloned();
    let forwarded_for = forwarded_for(request, exchange);
    let own: SmallVec<[HeaderName; 4]> = request.headers.keys().filter(|name| is_own(name)).cloned().collect();
    for name in &own {
        request.remove_header(name);
    }
    remove_credentials(request, &admission.route.hidden_keys)?;
    rewrite_body(request, &admission.body)?;
    request.set_uri(uri(&admission.service_target)?);
    let route = &admission.route;
    match (&route.service.host, &client_host) {
        (HostHeader::Client, Some(host)) => request.insert_header(HOST, host.clone())?,
        (HostHeader::Client | HostHeader::Service, _) => request.insert_header(HOST, target.host.clone())?,
    }
    add_forwarding(request, exchange, client_host, forwarded_for)?;
    if let Some(consumer) = &exchange.trail.consumer {
        request.insert_header(CONSUMER_NAME, consumer.name_header.clone())?;
        if let Some(plan) = &consumer.plan {
            request.insert_header(CONSUMER_PLAN, plan.name_header.clone())?;
        }
        if let Some(groups) = &consumer.groups_header {
            request.insert_header(CONSUMER_GROUPS, groups.clone())?;
        }
    }
    request.insert_header(X_REQUEST_ID, exchange.id.value())?;
    edit(request, &route.request_headers)
}

fn uri(target: &Bytes) -> Result<http::Uri> {
    http::Uri::from_maybe_shared(target.clone()).or_err(ErrorType::InternalError, "service path is no URI")
}

/// API keys end here, also on routes that do not ask for them.
fn remove_credentials(request: &mut RequestHeader, hidden: &[Part]) -> Result<()> {
    let mut cookies: SmallVec<[&str; 2]> = SmallVec::new();
    for part in hidden {
        match part {
            Part::Header(name) => {
                request.remove_header(name);
            }
            Part::Cookie(name) => cookies.push(name),
            // The query was written anew at admission.
            Part::Query(_) => {}
        }
    }
    if cookies.is_empty() || !request.headers.contains_key(COOKIE) {
        return Ok(());
    }
    let kept: SmallVec<[HeaderValue; 2]> = request
        .headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| cookies_without(value.as_bytes(), cookies.iter().copied()))
        .collect();
    request.remove_header(&COOKIE);
    for value in kept {
        request.append_header(COOKIE, value)?;
    }
    Ok(())
}

/// The framing of the body as it is sent, not as it came.
fn rewrite_body(request: &mut RequestHeader, body: &AdmittedBody) -> Result<()> {
    request.remove_header(&UPGRADE);
    match body {
        AdmittedBody::None => {
            for name in [&CONTENT_LENGTH, &TRANSFER_ENCODING, &CONTENT_TYPE, &EXPECT] {
                request.remove_header(name);
            }
        }
        AdmittedBody::Streamed => {}
        AdmittedBody::Checked { bytes, content_type } => {
            for name in [&TRANSFER_ENCODING, &EXPECT] {
                request.remove_header(name);
            }
            request.insert_header(CONTENT_LENGTH, HeaderValue::from(bytes.len()))?;
            request.insert_header(CONTENT_TYPE, content_type.clone())?;
        }
    }
    Ok(())
}

/// `X-Forwarded-For` as it goes on: what a trusted proxy said, with the peer at its end; or the client alone.
fn forwarded_for(request: &RequestHeader, exchange: &Exchange) -> ForwardedFor {
    let mut chain = String::new();
    if exchange.peer == Peer::Trusted {
        for value in request.headers.get_all(FORWARDED_FOR) {
            if let Ok(text) = value.to_str() {
                if !chain.is_empty() {
                    chain.push_str(", ");
                }
                chain.push_str(text);
            }
        }
    }
    let proto = match exchange.peer {
        Peer::Trusted => request.headers.get(FORWARDED_PROTO).filter(|value| *value == "https"),
        Peer::Stranger => None,
    };
    let host = match exchange.peer {
        Peer::Trusted => request.headers.get(FORWARDED_HOST).cloned(),
        Peer::Stranger => None,
    };
    ForwardedFor { chain, https: proto.is_some(), host }
}

/// What a trusted proxy said of its client.
struct ForwardedFor {
    chain: String,
    https: bool,
    host: Option<HeaderValue>,
}

fn add_forwarding(
    request: &mut RequestHeader,
    exchange: &Exchange,
    client_host: Option<HeaderValue>,
    said: ForwardedFor,
) -> Result<()> {
    let proto = if said.https { "https" } else { "http" };
    let host = said.host.or(client_host);
    let mut text = said.chain;
    if text.is_empty() {
        let _ = write!(text, "{}", exchange.client);
    } else {
        let _ = write!(text, ", {}", exchange.peer_address);
    }
    let end_of_chain = text.len();
    write_forwarded(&mut text, exchange.client, host.as_ref(), proto);
    // One allocation serves both fields.
    let text = Bytes::from(text);
    request.insert_header(FORWARDED_FOR, value(text.slice(..end_of_chain))?)?;
    request.insert_header(FORWARDED, value(text.slice(end_of_chain..))?)?;
    request.insert_header(FORWARDED_PROTO, HeaderValue::from_static(proto))?;
    if let Some(host) = host {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    request.append_header(VIA, HeaderValue::from_static("1.1 tollgate"))?;
    Ok(())
}

/// RFC 7239: `for=192.0.2.1;host="api.example.com:8080";proto=http`.
fn write_forwarded(out: &mut String, client: IpAddr, host: Option<&HeaderValue>, proto: &str) {
    let _ = match client {
        IpAddr::V4(address) => write!(out, "for={address}"),
        IpAddr::V6(address) => write!(out, "for=\"[{address}]\""),
    };
    // A host was checked at admission: it holds neither quotes nor backslashes.
    if let Some(host) = host.and_then(|host| host.to_str().ok())
        && !host.contains(['"', '\\'])
    {
        let _ = write!(out, ";host=\"{host}\"");
    }
    out.push_str(";proto=");
    out.push_str(proto);
}

fn value(text: Bytes) -> Result<HeaderValue> {
    HeaderValue::from_maybe_shared(text)
        .map_err(|_| Error::explain(ErrorType::InternalError, "forwarding field is no header value"))
}

/// A route's own changes, last.
fn edit(request: &mut RequestHeader, edits: &HeaderEdits) -> Result<()> {
    for name in &edits.remove {
        request.remove_header(name);
    }
    for (name, value) in &edits.set {
        request.insert_header(name, value.clone())?;
    }
    Ok(())
}
