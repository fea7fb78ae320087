//! Who calls, by the certificate of the connection's client.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use http::header::HeaderValue;

use crate::gateway::tls::{ClientCertificate, Owner};
use crate::gateway::{Consumer, Gateway};
use crate::policy::rejection::Rejection;

use super::super::exchange::Exchange;

/// The consumer whose certificate this is.
pub(super) fn authenticate(
    gateway: &Gateway,
    certificate: &ClientCertificate,
    challenge: &HeaderValue,
    exchange: &mut Exchange,
) -> Result<Arc<Consumer>, Rejection> {
    let now = exchange.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let cause = match gateway.certificates.of(certificate) {
        _ if certificate.expires < i64::try_from(now).unwrap_or(i64::MAX) => "the client's certificate has expired",
        Owner::One(consumer) => return Ok(Arc::clone(consumer)),
        Owner::Nobody => "nobody has the client's certificate",
        Owner::Several => "the names of the client's certificate are those of several consumers",
    };
    exchange.cause = Some(cause.to_owned());
    Err(Rejection::CredentialUnknown(challenge.clone()))
}
