//! The conditions of a route, asked of a request: of its address before anybody looks at a credential, of its caller
//! once it is known.
//!
//! A client hears 403 and no more. Which condition it was goes to the access line, as the cause of the refusal or,
//! where authorisation only observes, beside what else would have been refused.

use std::sync::Arc;

use crate::gateway::{Consumer, Route};
use crate::policy::authorise::Condition;
use crate::policy::mode::Mode;
use crate::policy::rejection::Rejection;

use super::Exchange;

/// The address may call the route.
pub(super) fn address(route: &Route, exchange: &mut Exchange) -> Result<(), Rejection> {
    match &route.authorisation {
        Some(rules) => settle(route, rules.of_address(exchange.client.ip), exchange),
        None => Ok(()),
    }
}

/// The caller may call the route.
pub(super) fn caller(route: &Route, exchange: &mut Exchange) -> Result<(), Rejection> {
    match &route.authorisation {
        Some(rules) => {
            let consumer: Option<&Arc<Consumer>> = exchange.trail.consumer.as_ref();
            settle(route, rules.of_caller(consumer.map(|consumer| consumer.caller())), exchange)
        }
        None => Ok(()),
    }
}

fn settle(route: &Route, verdict: Result<(), Condition>, exchange: &mut Exchange) -> Result<(), Rejection> {
    let Err(condition) = verdict else { return Ok(()) };
    match route.modes.authorisation {
        Mode::Enforce => {
            exchange.cause = Some(condition.word().to_owned());
            Err(Rejection::Forbidden)
        }
        Mode::Observe => {
            // The first would have been the end: the request counts once.
            if exchange.trail.passed_over.condition.is_none() {
                exchange.trail.passed_over.condition = Some(condition);
                route.metrics.observed_condition(condition.word());
            }
            Ok(())
        }
    }
}
