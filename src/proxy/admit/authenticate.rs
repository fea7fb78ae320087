//! Who calls a route: the one credential that its authenticators find in a request decides.

use std::sync::Arc;

use http::request::Parts;

use crate::gateway::{Access, Consumer, Gateway, Route};
use crate::policy::authenticate::{Presented, PresentedToken, presented, presented_token};
use crate::policy::limit::Now;
use crate::policy::password::{self, PresentedPassword};
use crate::policy::rejection::Rejection;

use super::super::State;
use super::super::exchange::Exchange;
use super::super::occasion::Occasion;
use super::{ask, certificate, password as by_password, stored, token};

/// The caller of this route; `None` where nobody is asked.
pub(super) async fn caller(
    occasion: &impl Occasion,
    state: &State,
    gateway: &Gateway,
    route: &Route,
    parts: &Parts,
    now: Now,
    exchange: &mut Exchange,
) -> Result<Option<Arc<Consumer>>, Rejection> {
    let Access::Authenticated { certificates, places, tokens, passwords, asked, challenge, .. } = &route.access else {
        return Ok(None);
    };
    let query = parts.uri.query();
    let key = presented(places.iter(), &parts.headers, query);
    let token = presented_token(tokens.iter().map(|tokens| &tokens.place), &parts.headers, query);
    let password = match passwords.is_empty() {
        true => PresentedPassword::Nothing,
        false => password::presented(&parts.headers),
    };
    use {Presented as Key, PresentedPassword as Password, PresentedToken as Token};
    if *certificates
        && let Some(tls) = exchange.tls.clone()
        && let Some(of_client) = &tls.client
    {
        return match (key, token, password) {
            (Key::Nothing, Token::Nothing, Password::Nothing) => {
                certificate::authenticate(gateway, of_client, challenge, exchange).map(Some)
            }
            _ => Err(Rejection::CredentialAmbiguous),
        };
    }
    let found = match (key, token, password) {
        (Key::Nothing, Token::Nothing, Password::Nothing) if asked.is_empty() => {
            Err(Rejection::CredentialMissing(challenge.clone()))
        }
        (Key::Nothing, Token::Nothing, Password::Nothing) if !occasion.may_ask() => Err(ask::unasked(route, exchange)),
        (Key::Nothing, Token::Nothing, Password::Nothing) => {
            Box::pin(ask::authenticate(state, route, parts, exchange)).await
        }
        (Key::Key(digest, form), Token::Nothing, Password::Nothing) => {
            let declared = gateway.keys.owner(&digest).map(Arc::clone);
            let consumer = declared.or_else(|| stored::consumer(state, gateway, &digest, form, now));
            consumer.ok_or_else(|| stored::unknown(state, form, challenge))
        }
        (Key::Nothing, Token::One(part, token), Password::Nothing) => {
            token::authenticate(state, route, part, &token, exchange).await
        }
        (Key::Nothing, Token::Nothing, Password::One(pair)) => {
            // Boxed: only who waits carries the space for it.
            Box::pin(by_password::authenticate(state, gateway, route, Some(pair), exchange)).await
        }
        (Key::Nothing, Token::Nothing, Password::Malformed) => {
            Box::pin(by_password::authenticate(state, gateway, route, None, exchange)).await
        }
        _ => Err(Rejection::CredentialAmbiguous),
    };
    found.map(Some)
}
