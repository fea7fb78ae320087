//! Admission in mode `observe`: the contract is checked for operators to see, and the request passes as the client
//! sent it.
//!
//! Path values keep their spelling, the query its bytes, the header its fields and the body its bytes and type; nothing
//! is dropped, filled in or written again because of the contract. Everything that is no contract holds: path hygiene
//! also of the service path, API keys that end here, and sizes (a body beyond `max_body` is 413). A body is read where
//! the contract can read it, and streams through where it cannot.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::gateway::router::Match;
use crate::gateway::{Route, ServicePathValue};
use crate::policy::contract::{BodyContract, CheckedFields, Media, PathValues, Violations};
use crate::policy::path::decode_segment;
use crate::policy::rejection::Rejection;

use super::{AdmittedBody, Decision, Pending, Request, check_length, clients_query, finish};

/// Path, query, fields and, where it is read, the body.
pub(super) fn contract(
    route: &Arc<Route>,
    found: &Match<'_, Arc<Route>>,
    request: &Request<'_>,
) -> Result<Decision, Rejection> {
    let contract = &route.contract;
    let mut observed = Violations::new();
    let decoded: SmallVec<[Cow<'_, str>; 4]> = found.captures.iter().map(|value| decode_segment(value)).collect();
    contract.check_path(&decoded, &mut PathValues::new(), &mut observed);
    let query = clients_query(request.parts.uri.query(), route).unwrap_or_default();
    contract.check_query(Some(&query), &mut String::new(), &mut observed);
    contract.fields.check(&request.parts.headers, &mut observed);
    let (route, service_target) = (Arc::clone(route), target(route, found, &query)?);
    match (&contract.body, request.envelope.announces_body()) {
        (BodyContract::Json(_) | BodyContract::Document(_) | BodyContract::Form(_), true) => {
            if let Some(media) = contract.accept_observed(&request.parts.headers, &mut observed) {
                let (fields, violations) = (CheckedFields::default(), observed);
                return Ok(Decision::ReadBody(Pending {
                    route,
                    service_target,
                    fields,
                    violations,
                    media: Some(media),
                }));
            }
        }
        // Without a body its type means nothing.
        (BodyContract::Json(_) | BodyContract::Document(_) | BodyContract::Form(_), false) => {
            contract.check_body(Media::form(), b"", &mut observed);
        }
        (BodyContract::None | BodyContract::Any, _) => {}
    }
    check_length(&route, request)?;
    finish(route, service_target, CheckedFields::default(), observed, AdmittedBody::Streamed).map(Decision::Forward)
}

fn target(route: &Route, found: &Match<'_, Arc<Route>>, query: &str) -> Result<Bytes, Rejection> {
    let mut target = String::with_capacity(route.service_path_text.len() + query.len() + 64);
    let value = |index| match found.captures.get(index) {
        Some(&capture) => ServicePathValue::Captured(capture),
        None => ServicePathValue::Decoded(""),
    };
    route.service_path.expand(value, &mut target).map_err(Rejection::Path)?;
    if !query.is_empty() {
        target.push(if route.service_path.has_query() { '&' } else { '?' });
        target.push_str(query);
    }
    Ok(Bytes::from(target))
}
