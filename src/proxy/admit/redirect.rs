//! The way to TLS, for requests that came without.

use std::num::NonZeroU16;

use http::header::HeaderValue;
use http::request::Parts;

use crate::gateway::Gateway;
use crate::policy::rejection::{Malformed, Rejection};

use super::message::without_port;

/// The same host, path and query over TLS. Only hosts for which a listener has a certificate: what else a client writes
/// into `Host` would become an address that this gateway vouches for.
pub(super) fn to_tls(
    gateway: &Gateway,
    parts: &Parts,
    host: Option<&str>,
    port: NonZeroU16,
) -> Result<HeaderValue, Rejection> {
    let host = without_port(host.ok_or(Rejection::Malformed(Malformed::HostMissing))?);
    let mut listeners = gateway.entrances.iter().filter_map(|(_, entrance)| entrance.tls());
    if !listeners.any(|tls| tls.current().serves(host)) {
        return Err(Rejection::Misdirected);
    }
    let rest = parts.uri.path_and_query().map_or("/", |rest| rest.as_str());
    if !rest.starts_with('/') {
        return Err(Rejection::Malformed(Malformed::Target));
    }
    let location = match port.get() {
        443 => format!("https://{host}{rest}"),
        port => format!("https://{host}:{port}{rest}"),
    };
    HeaderValue::from_str(&location).map_err(|_| Rejection::Malformed(Malformed::Target))
}
