//! Who calls, by token: the authenticators of a route that look where the token stands, in order.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::gateway::token::{Patience, Refusal};
use crate::gateway::{Access, Consumer, Route};
use crate::policy::authenticate::Part;
use crate::policy::rejection::Rejection;

use super::super::State;
use super::super::exchange::Exchange;
use super::Stranger;

/// The first authenticator that knows whose token this is decides. When none does, keys that may come are waited for,
/// then what is said is the gravest: no plan, no keys, no valid token. Each refusal is counted.
pub(super) fn authenticate(
    state: &State,
    route: &Route,
    part: &Part,
    token: &str,
    exchange: &mut Exchange,
) -> Result<Arc<Consumer>, Stranger> {
    let Access::Authenticated { tokens, invalid_token, .. } = &route.access else {
        return Err(Rejection::Internal.into());
    };
    let now = exchange.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let patience = if exchange.trail.waited { Patience::Spent } else { Patience::Fresh };
    let (mut pending, mut planless, mut keyless) = (None, false, false);
    let (mut cause, mut faults) = (None, Vec::new());
    for authenticator in tokens.iter().filter(|authenticator| authenticator.place.part == *part) {
        match authenticator.consumer(token, now, patience) {
            Ok(consumer) => return Ok(consumer),
            Err(Refusal::KeysPending(keys)) => pending = Some(keys),
            Err(Refusal::Plan) => planless = true,
            Err(Refusal::KeysUnavailable) => keyless = true,
            Err(Refusal::Token(fault)) => {
                cause = Some(fault);
                faults.push((&*authenticator.name, fault));
            }
        }
    }
    if let Some(pending) = pending {
        return Err(Stranger::KeysPending(pending));
    }
    for (name, fault) in faults {
        state.telemetry.token_refusals(name, fault.code()).inc();
    }
    exchange.cause = cause.map(|fault| fault.to_string());
    Err(match () {
        () if planless => Rejection::PlanUnknown,
        () if keyless => Rejection::KeysUnavailable,
        () => Rejection::TokenInvalid(invalid_token.clone()),
    }
    .into())
}
