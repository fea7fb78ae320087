//! The consumer of a key that the configuration file does not have: the store's snapshot, read by this generation.
//!
//! Asked only for keys that are not in the file, so whoever uses no store pays nothing for it. A key that is not of the
//! gateway's own form, a typo among them, is not looked up. Whether consumer and plan of a key exist is decided for
//! each request by its own generation, so that a snapshot and a generation never have to be published together; for a
//! consumer that the file does not name that costs two small allocations.

use std::sync::Arc;

use http::HeaderValue;

use crate::gateway::{Consumer, Gateway, Named, Plan};
use crate::policy::api_key::Form;
use crate::policy::authenticate::Digest;
use crate::policy::limit::Now;
use crate::policy::rejection::Rejection;
use crate::store::Holder;

use super::State;

/// Who holds this key now; `None` when nobody does, or when the generation knows neither its consumer nor its plan.
pub(super) fn consumer(
    state: &State,
    gateway: &Gateway,
    digest: &Digest,
    form: Form,
    now: Now,
) -> Option<Arc<Consumer>> {
    let keys = state.stored_keys.as_ref().filter(|_| form == Form::Made)?.load();
    let holder = &keys.find(digest, now.unix)?.holder;
    match gateway.named(&holder.consumer, holder.plan.as_deref())? {
        Named::Declared(consumer) => Some(Arc::clone(consumer)),
        Named::OfPlan(plan) => Some(Arc::new(of_plan(holder, plan))),
    }
}

/// What is said of a key that nobody is known to hold: nothing against it while the store was never read.
pub(super) fn unknown(state: &State, form: Form, challenge: &HeaderValue) -> Rejection {
    let unread = || state.stored_keys.as_ref().is_some_and(|keys| keys.load().is_unread());
    if form == Form::Made && unread() {
        return Rejection::KeysUnavailable;
    }
    Rejection::CredentialUnknown(challenge.clone())
}

fn of_plan(holder: &Holder, plan: &Arc<Plan>) -> Consumer {
    Consumer {
        name: holder.consumer.clone(),
        plan: Some(Arc::clone(plan)),
        name_header: holder.name_header.clone(),
        groups_header: None,
        subject: holder.subject,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        claim_headers: Vec::new(),
    }
}
