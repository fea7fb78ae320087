//! What a route asks of addresses and callers.

use std::net::{IpAddr, Ipv4Addr};

use crate::gateway::Route;
use crate::policy::mode::Mode;
use crate::proxy::rehearse::{Found, Step};

/// A condition that a request was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The key of the configuration.
    pub condition: &'static str,
    /// Whether it is met.
    pub met: bool,
    /// Whether it refuses nothing.
    pub observed: bool,
}

/// The conditions that were asked. Those of callers are not where no caller was found.
pub(super) fn asked(route: &Route, found: &Found) -> Vec<Asked> {
    let Some(rules) = &route.authorisation else { return Vec::new() };
    let step = found.refused.as_ref().map(|refused| refused.step);
    if step.is_some_and(|step| step < Step::Caller) {
        return Vec::new();
    }
    let address = found.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let caller = found.consumer.as_ref().map(|consumer| consumer.caller());
    let observed = route.modes.authorisation == Mode::Observe;
    let is_asked = |of_address| of_address || caller.is_some();
    let conditions = rules.stated().filter(|condition| is_asked(condition.is_of_address()));
    conditions
        .map(|condition| Asked { condition: condition.word(), met: rules.is_met(condition, address, caller), observed })
        .collect()
}
