//! Who calls, by asking auth services: where no credential is found that the gateway itself could judge.

use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;

use crate::gateway::{Access, Consumer, Route};
use crate::policy::rejection::Rejection;

use super::super::State;
use super::super::auth_service::{Answer, AskFault};
use super::super::exchange::Exchange;

/// Longest `WWW-Authenticate` that is made of an auth service's challenges, in bytes.
const MAX_CHALLENGE: usize = 4096;

/// The first auth service of the route that knows the caller decides; one that refuses with 401 leaves the question to the
/// next. One that cannot be asked ends it: what it would have said cannot be known. Each answer is counted.
pub(super) async fn authenticate(
    state: &State,
    route: &Route,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Result<Arc<Consumer>, Rejection> {
    let Access::Authenticated { asked, challenge, .. } = &route.access else {
        return Err(Rejection::Internal);
    };
    let mut challenges = vec![challenge.clone()];
    for authenticator in asked {
        let name = &*authenticator.name;
        let counted = |result| state.telemetry.forward_auth(name, result).inc();
        let cause = match state.auth_services.ask(authenticator, parts, exchange).await {
            Ok(Answer::Known(consumer)) => {
                counted("known");
                return Ok(Arc::new(*consumer));
            }
            Ok(Answer::Unknown(more)) => {
                counted("refused");
                challenges.extend(more);
                continue;
            }
            Ok(Answer::Forbidden) => {
                counted("forbidden");
                exchange.cause = Some(format!("forward_auth {name}: it answered with status 403"));
                return Err(Rejection::Forbidden);
            }
            Err(fault) => {
                counted(fault.code());
                exchange.cause = Some(format!("forward_auth {name}: {fault}"));
                fault
            }
        };
        return Err(match cause {
            AskFault::Plan => Rejection::PlanUnknown,
            AskFault::NoAddress
            | AskFault::Unreachable
            | AskFault::Timeout
            | AskFault::Reply
            | AskFault::Status(_)
            | AskFault::Consumer => Rejection::AuthUnavailable,
        });
    }
    Err(Rejection::CallerRefused(joined(&challenges)))
}

/// What a rehearsal says instead of asking.
pub(super) fn unasked(route: &Route, exchange: &mut Exchange) -> Rejection {
    let Access::Authenticated { asked, .. } = &route.access else { return Rejection::Internal };
    let names: Vec<&str> = asked.iter().map(|authenticator| &*authenticator.name).collect();
    exchange.cause = Some(format!("forward_auth {} would be asked, which is not done here", names.join(", ")));
    Rejection::AuthUnavailable
}

/// All challenges in one field; as many as there is room for.
fn joined(challenges: &[HeaderValue]) -> Option<HeaderValue> {
    let mut text: Vec<u8> = Vec::new();
    for challenge in challenges.iter().filter(|challenge| !challenge.is_empty()) {
        if text.len() + challenge.len() > MAX_CHALLENGE {
            break;
        }
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(challenge.as_bytes());
    }
    HeaderValue::from_bytes(&text).ok().filter(|joined| !joined.is_empty())
}
