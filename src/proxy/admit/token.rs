//! Who calls, by token: the authenticators of a route that look where the token stands, in order.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::gateway::key_source::Pending;
use crate::gateway::token::{Patience, Refusal, TokenAuthenticator};
use crate::gateway::{Access, Consumer, Route};
use crate::policy::authenticate::Part;
use crate::policy::rejection::Rejection;
use crate::policy::token::TokenFault;

use super::super::State;
use super::super::exchange::Exchange;

/// How long a request waits for the keys of its token: longer than a fetch may take.
const KEY_PATIENCE: Duration = Duration::from_secs(6);

/// Why no authenticator knows whose token it is.
#[derive(Default)]
struct Unknown<'a> {
    /// Keys that may come.
    pending: Option<Pending>,
    planless: bool,
    keyless: bool,
    /// By authenticator.
    faults: Vec<(&'a str, TokenFault)>,
}

/// The first authenticator that knows whose token this is decides. When none does, keys that may come are waited for
/// once, then what is said is the gravest: no plan, no keys, no valid token. Each refusal is counted.
pub(super) async fn authenticate(
    state: &State,
    route: &Route,
    part: &Part,
    token: &str,
    exchange: &mut Exchange,
) -> Result<Arc<Consumer>, Rejection> {
    let Access::Authenticated { tokens, invalid_token, .. } = &route.access else {
        return Err(Rejection::Internal);
    };
    let now = exchange.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let consumer = |patience| consumer(tokens, part, token, now, patience);
    let mut known = consumer(Patience::Fresh);
    if let Err(Unknown { pending: Some(keys), .. }) = known {
        Box::pin(keys.ended(KEY_PATIENCE)).await;
        known = consumer(Patience::Spent);
    }
    let unknown = match known {
        Ok(consumer) => return Ok(consumer),
        Err(unknown) => unknown,
    };
    for (name, fault) in &unknown.faults {
        state.telemetry.token_refusals(name, fault.code()).inc();
    }
    exchange.cause = unknown.faults.last().map(|(_, fault)| fault.to_string());
    Err(match unknown {
        Unknown { planless: true, .. } => Rejection::PlanUnknown,
        Unknown { keyless: true, .. } => Rejection::KeysUnavailable,
        Unknown { .. } => Rejection::TokenInvalid(invalid_token.clone()),
    })
}

fn consumer<'a>(
    tokens: &'a [Arc<TokenAuthenticator>],
    part: &Part,
    token: &str,
    now: u64,
    patience: Patience,
) -> Result<Arc<Consumer>, Unknown<'a>> {
    let mut unknown = Unknown::default();
    for authenticator in tokens.iter().filter(|authenticator| authenticator.place.part == *part) {
        match authenticator.consumer(token, now, patience) {
            Ok(consumer) => return Ok(consumer),
            Err(Refusal::KeysPending(keys)) => unknown.pending = Some(keys),
            Err(Refusal::Plan) => unknown.planless = true,
            Err(Refusal::KeysUnavailable) => unknown.keyless = true,
            Err(Refusal::Token(fault)) => unknown.faults.push((&*authenticator.name, fault)),
        }
    }
    Err(unknown)
}
