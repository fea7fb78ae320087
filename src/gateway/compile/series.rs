//! What a generation has that metrics tell apart: the source of the bound on their number.

use std::net::SocketAddr;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::gateway::limit_counters::owned_limits;
use crate::gateway::tls::Entrance;
use crate::gateway::{Plan, Route, docs};
use crate::policy::contract::ViolationKind;
use crate::policy::mode::Mode;
use crate::policy::rejection::REASONS;
use crate::policy::token::TokenFault;
use crate::telemetry::{Inventory, Names, Pairs};

use super::UNMATCHED;
use super::callers::Authenticator;
use super::services::Services;

/// What the inventory is taken of.
pub(super) struct Compiled<'a> {
    pub authenticators: &'a IndexMap<String, Authenticator>,
    pub plans: &'a IndexMap<String, Arc<Plan>>,
    pub services: &'a Services,
    pub routes: &'a [Arc<Route>],
    pub entrances: &'a [(SocketAddr, Entrance)],
    /// Where the API's description is served, if it is.
    pub docs: Option<&'a docs::Place>,
}

pub(super) fn inventory(of: &Compiled<'_>) -> Inventory {
    let routes = || of.routes.iter();
    let described = of.docs.map(|_| docs::LABEL);
    let beside = [UNMATCHED].into_iter().chain(described);
    let plans = of.plans.values().map(|plan| &**plan);
    let limits: Pairs = owned_limits(plans, routes().map(|route| &**route))
        .map(|(owner, limit)| (owner.into(), limit.name().into()))
        .collect();
    let observed_limits: Names = named(routes().filter(|route| route.modes.limits == Mode::Observe));
    let tokens = || {
        of.authenticators.values().filter_map(|authenticator| match authenticator {
            Authenticator::Token(tokens) => Some(tokens),
            Authenticator::Key(_)
            | Authenticator::Password(_)
            | Authenticator::Asked(_)
            | Authenticator::Certificate => None,
        })
    };
    let of_kind = |wanted: fn(&Authenticator) -> bool| -> Names {
        let named = of.authenticators.iter().filter(|(_, authenticator)| wanted(authenticator));
        named.map(|(name, _)| name.as_str().into()).collect()
    };
    Inventory {
        routes: routes().map(|route| &*route.name).chain(beside).map(Into::into).collect(),
        // One for each route, so that queries can look a route's service up: several share a label.
        routed: routes().map(|route| (route.name.clone(), service_names(route).into())).collect(),
        websockets: named(routes().filter(|route| route.websocket.is_some())),
        mirrored: named(routes().filter(|route| route.mirror.is_some())),
        cached: named(routes().filter(|route| route.cache.is_some())),
        observed_contracts: named(routes().filter(|route| route.observes())),
        observed_conditions: observed_conditions(of.routes),
        // A limit of a plan holds on every route of its consumers.
        observed_policies: if observed_limits.is_empty() { Pairs::new() } else { limits.clone() },
        observed_limits,
        limits,
        services: of.services.keys().map(|name| name.as_str().into()).collect(),
        queues: {
            let queued = of.services.iter().filter(|(_, service)| service.rules.queue.is_some());
            queued.map(|(name, _)| name.as_str().into()).collect()
        },
        targets: of.services.values().flat_map(|service| service.written_targets()).collect(),
        token_authenticators: tokens().map(|tokens| tokens.name.clone()).collect(),
        fetching_authenticators: tokens()
            .filter(|tokens| tokens.remote().is_some())
            .map(|it| it.name.clone())
            .collect(),
        password_authenticators: of_kind(|authenticator| matches!(authenticator, Authenticator::Password(_))),
        asking_authenticators: of_kind(|authenticator| matches!(authenticator, Authenticator::Asked(_))),
        certificates: certificates(of.entrances),
        reasons: REASONS,
        violations: ViolationKind::COUNT,
        token_faults: TokenFault::COUNT,
    }
}

fn certificates(entrances: &[(SocketAddr, Entrance)]) -> Pairs {
    let all = entrances.iter().filter_map(|(address, entrance)| Some((address, entrance.tls()?)));
    let pairs = all.flat_map(|(address, tls)| {
        tls.terms.pairs.iter().map(|files| (address.to_string().into(), files.certificate.clone()))
    });
    pairs.collect()
}

fn service_names(route: &Route) -> String {
    route.services().map(|service| &*service.name).collect::<Vec<_>>().join(",")
}

fn named<'a>(routes: impl Iterator<Item = &'a Arc<Route>>) -> Names {
    routes.map(|route| route.name.clone()).collect()
}

fn observed_conditions(routes: &[Arc<Route>]) -> Pairs {
    let observing = routes.iter().filter(|route| route.modes.authorisation == Mode::Observe);
    observing.flat_map(|route| route.conditions().map(|condition| (route.name.clone(), condition.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of variants that a `code` in this text tells apart.
    fn codes(text: &str) -> usize {
        let text = text.split("pub fn code(").nth(1).expect("a function `code`");
        text.split("\n    }\n").next().unwrap_or_default().matches("=> \"").count()
    }

    #[test]
    fn closed_sets_are_as_large_as_they_say() {
        assert_eq!(codes(include_str!("../../policy/contract/violation.rs")), ViolationKind::COUNT);
        assert_eq!(codes(include_str!("../../policy/token/mod.rs")), TokenFault::COUNT);
    }
}
