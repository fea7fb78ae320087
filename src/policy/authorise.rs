//! May this caller use this route? What a route says in `allow` and `deny_addresses`, compiled.
//!
//! [`Authorisation`] has two halves, since the address is known before the caller: [`Authorisation::of_address`] is
//! asked first, so that a refused address learns nothing of credentials. Every condition that is stated must hold; of a
//! condition's members one is enough. Names are looked up in sets, addresses in sorted ranges; nothing is allocated per
//! request.
//!
//! Scopes and claims are those of a token: a caller without one has none, and meets no condition on them. Nobody at
//! all meets no condition on callers. What a [`Condition`] is called goes to operators, never to clients.

mod claims;
mod networks;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

pub use claims::{ClaimRule, Wanted};
pub use networks::Networks;

use claims::scopes;

/// Names of which one is enough.
pub type Names = HashSet<Box<str>, ahash::RandomState>;

/// Everything a route asks of its callers. Absent conditions ask nothing.
#[derive(Debug, Default)]
pub struct Authorisation {
    /// No client of these passes.
    pub denied: Networks,
    /// Only clients of these pass.
    pub addresses: Option<Networks>,
    /// Only consumers of these names pass.
    pub consumers: Option<Names>,
    /// Only consumers in one of these groups pass.
    pub groups: Option<Names>,
    /// Only consumers with one of these plans pass.
    pub plans: Option<Names>,
    /// Only tokens with one of these scopes pass.
    pub scopes: Option<Names>,
    /// Only tokens with all of these claims pass.
    pub claims: Vec<ClaimRule>,
}

/// Who calls, as far as conditions go.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The consumer's name.
    pub name: &'a str,
    /// The name of its plan.
    pub plan: Option<&'a str>,
    /// The groups it is in.
    pub groups: &'a [Box<str>],
    /// The claims of its token.
    pub claims: &'a Map<String, Value>,
}

/// The condition that a request does not meet: the first, where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its address is denied.
    DeniedAddress,
    /// Its address is not among those allowed.
    Addresses,
    /// Its consumer is not.
    Consumers,
    /// Its consumer is in none of the groups.
    Groups,
    /// Its consumer has none of the plans.
    Plans,
    /// Its token has none of the scopes.
    Scopes,
    /// Its token lacks a claim.
    Claims,
}

/// What is asked of an address, in this order.
const OF_ADDRESSES: &[Condition] = &[Condition::DeniedAddress, Condition::Addresses];

/// What is asked of a caller, in this order.
const OF_CALLERS: &[Condition] =
    &[Condition::Consumers, Condition::Groups, Condition::Plans, Condition::Scopes, Condition::Claims];

fn first_unmet(conditions: &[Condition], is_met: impl Fn(Condition) -> bool) -> Result<(), Condition> {
    conditions.iter().find(|condition| !is_met(**condition)).map_or(Ok(()), |unmet| Err(*unmet))
}

impl Condition {
    /// Whether it is about the client's address, not about who calls.
    pub fn is_of_address(self) -> bool {
        OF_ADDRESSES.contains(&self)
    }

    /// The key of the configuration, as in metrics and the access line.
    pub fn word(self) -> &'static str {
        match self {
            Self::DeniedAddress => "deny_addresses",
            Self::Addresses => "allow.addresses",
            Self::Consumers => "allow.consumers",
            Self::Groups => "allow.groups",
            Self::Plans => "allow.plans",
            Self::Scopes => "allow.scopes",
            Self::Claims => "allow.claims",
        }
    }
}

impl Authorisation {
    /// The conditions that are stated, in the order in which they are asked.
    pub fn stated(&self) -> impl Iterator<Item = Condition> + use<> {
        let stated = [
            (!self.denied.is_empty(), Condition::DeniedAddress),
            (self.addresses.is_some(), Condition::Addresses),
            (self.consumers.is_some(), Condition::Consumers),
            (self.groups.is_some(), Condition::Groups),
            (self.plans.is_some(), Condition::Plans),
            (self.scopes.is_some(), Condition::Scopes),
            (!self.claims.is_empty(), Condition::Claims),
        ];
        stated.into_iter().filter(|(stated, _)| *stated).map(|(_, condition)| condition)
    }

    /// Whether a client may call from here. `address` is no IPv4 address mapped into IPv6.
    ///
    /// # Errors
    /// The condition that is not met.
    pub fn of_address(&self, address: IpAddr) -> Result<(), Condition> {
        first_unmet(OF_ADDRESSES, |condition| self.is_met(condition, address, None))
    }

    /// Whether this caller may call; `None`: nobody known.
    ///
    /// # Errors
    /// The first condition that is not met.
    pub fn of_caller(&self, caller: Option<Caller<'_>>) -> Result<(), Condition> {
        first_unmet(OF_CALLERS, |condition| self.is_met(condition, IpAddr::V4(Ipv4Addr::UNSPECIFIED), caller))
    }

    /// Whether one condition is met; one that is not stated is. Of address and caller it looks at what it is about.
    pub fn is_met(&self, condition: Condition, address: IpAddr, caller: Option<Caller<'_>>) -> bool {
        let stated = |names: &Option<Names>, is_met: &dyn Fn(&Names, Caller<'_>) -> bool| {
            names.as_ref().is_none_or(|names| caller.is_some_and(|caller| is_met(names, caller)))
        };
        match condition {
            Condition::DeniedAddress => !self.denied.contains(address),
            Condition::Addresses => self.addresses.as_ref().is_none_or(|allowed| allowed.contains(address)),
            Condition::Consumers => stated(&self.consumers, &|names, caller| names.contains(caller.name)),
            Condition::Groups => {
                stated(&self.groups, &|names, caller| caller.groups.iter().any(|group| names.contains(group)))
            }
            Condition::Plans => {
                stated(&self.plans, &|names, caller| caller.plan.is_some_and(|plan| names.contains(plan)))
            }
            Condition::Scopes => {
                stated(&self.scopes, &|names, caller| scopes(caller.claims).any(|scope| names.contains(scope)))
            }
            Condition::Claims => self.claims.iter().all(|rule| caller.is_some_and(|caller| rule.is_met(caller.claims))),
        }
    }
}
