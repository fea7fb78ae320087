//! Who calls, by name and password.

use std::sync::Arc;

use crate::gateway::password::Claimed;
use crate::gateway::{Access, Consumer, Gateway, Route};
use crate::policy::password::Pair;
use crate::policy::rejection::Rejection;

use super::super::State;
use super::super::exchange::Exchange;
use super::super::passwords::{Busy, Verdict};

/// The consumer that a pair names, if the password is its own. `None`: what was sent is no pair. Each attempt but those
/// that were right before is counted.
pub(super) async fn authenticate(
    state: &State,
    gateway: &Gateway,
    route: &Route,
    pair: Option<Pair>,
    exchange: &mut Exchange,
) -> Result<Arc<Consumer>, Rejection> {
    let Access::Authenticated { passwords, challenge, .. } = &route.access else {
        return Err(Rejection::Internal);
    };
    // All look at the same; the first one speaks for them.
    let name = passwords.first().map_or("-", |passwords| &*passwords.name);
    let counted = |result| state.telemetry.password_attempts(name, result).inc();
    let claimed = pair.and_then(|pair| Some((gateway.accounts.claimed(&pair.name)?, pair)));
    let Some((claimed, pair)) = claimed else {
        counted("malformed");
        return Err(Rejection::CredentialUnknown(challenge.clone()));
    };
    let consumer = match claimed {
        Claimed::Own(account) => Some(Arc::clone(&account.consumer)),
        Claimed::Nobodys(_) => None,
    };
    let verdict = state.passwords.verify(claimed, pair, exchange.client.ip).await;
    match (verdict, consumer) {
        (Ok(Verdict::Remembered), Some(consumer)) => Ok(consumer),
        (Ok(Verdict::Right), Some(consumer)) => {
            counted("right");
            Ok(consumer)
        }
        (Ok(_), known) => {
            let (result, cause) = match known {
                Some(_) => ("wrong", "wrong password"),
                None => ("unknown", "nobody has this name"),
            };
            counted(result);
            exchange.cause = Some(cause.to_owned());
            Err(Rejection::CredentialUnknown(challenge.clone()))
        }
        (Err(Busy), _) => {
            counted("busy");
            Err(Rejection::PasswordsBusy)
        }
    }
}
