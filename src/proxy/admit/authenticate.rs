//! Who calls a route: the one credential that its authenticators find in a request decides.

use std::sync::Arc;

use http::request::Parts;

use crate::gateway::{Access, Consumer, Gateway, Route};
use crate::policy::authenticate::{Presented, PresentedToken, presented, presented_token};
use crate::policy::limit::Now;
use crate::policy::rejection::Rejection;

use super::super::State;
use super::super::exchange::Exchange;
use super::{stored, token};

/// The caller of this route; `None` where nobody is asked.
pub(super) async fn caller(
    state: &State,
    gateway: &Gateway,
    route: &Route,
    parts: &Parts,
    now: Now,
    exchange: &mut Exchange,
) -> Result<Option<Arc<Consumer>>, Rejection> {
    let (places, tokens, challenge) = match &route.access {
        Access::Public => return Ok(None),
        Access::Authenticated { places, tokens, challenge, .. } => (places, tokens, challenge),
    };
    let query = parts.uri.query();
    let key = presented(places.iter(), &parts.headers, query);
    let token = presented_token(tokens.iter().map(|tokens| &tokens.place), &parts.headers, query);
    match (key, token) {
        (Presented::Nothing, PresentedToken::Nothing) => Err(Rejection::CredentialMissing(challenge.clone())),
        (Presented::Key(digest, form), PresentedToken::Nothing) => {
            let declared = gateway.keys.owner(&digest).map(Arc::clone);
            let consumer = declared.or_else(|| stored::consumer(state, gateway, &digest, form, now));
            consumer.map(Some).ok_or_else(|| Rejection::CredentialUnknown(challenge.clone()))
        }
        (Presented::Nothing, PresentedToken::One(part, token)) => {
            token::authenticate(state, route, part, &token, exchange).await.map(Some)
        }
        (Presented::Ambiguous, _) | (_, PresentedToken::Several) | (Presented::Key(..), PresentedToken::One(..)) => {
            Err(Rejection::CredentialAmbiguous)
        }
    }
}
