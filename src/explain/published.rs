//! Key sets that providers publish. Explaining goes on no network by itself: it says whose keys a request's token would
//! be checked with, and whoever calls it may fetch them before.

use std::sync::Arc;

use crate::gateway::key_source::RemoteKeys;
use crate::gateway::{Access, Gateway};
use crate::proxy::rehearse::{Found, Message, Part};

use super::caller::carries;

/// The key sets that a request may need: those of every authenticator that finds something where it looks for a token.
pub fn needed(gateway: &Gateway, part: &Part) -> Vec<Arc<RemoteKeys>> {
    let Some(sent) = Message::request(&part.bytes) else { return Vec::new() };
    let mut needed: Vec<Arc<RemoteKeys>> = Vec::new();
    for route in &gateway.routes {
        let Access::Authenticated { tokens, .. } = &route.access else { continue };
        for authenticator in tokens.iter().filter(|tokens| part.consumer.is_none() && carries(&tokens.place, &sent)) {
            let remote = authenticator.remote().filter(|new| needed.iter().all(|known| !Arc::ptr_eq(known, new)));
            needed.extend(remote.map(Arc::clone));
        }
    }
    needed
}

/// What is to be said of sets that could not be fetched, where a token could not be checked for want of one.
pub(super) fn note(failed: &[String], found: &Found) -> Option<String> {
    let wanting = found.refused.as_ref().is_some_and(|refused| refused.code == "keys-unavailable");
    (wanting && !failed.is_empty()).then(|| failed.join("; "))
}
