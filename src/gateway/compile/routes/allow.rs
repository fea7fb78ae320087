//! Whom a route lets through: conditions become sets, and those that nobody could meet are found.
//!
//! `allow` of a route stands in place of the one in `defaults`; `deny_addresses` of both hold. What can be said of a
//! list by itself is said once, where it is written. Consumers and plans are looked up in the file; a group that no
//! consumer of the file has is only a warning.

use indexmap::IndexSet;

use crate::config::{Allow, ClaimValue, Conditions, Config, Place, Report, suggest};
use crate::gateway::Access;
use crate::policy::authorise::{Authorisation, ClaimRule, Names, Networks, Wanted};

use super::RouteCompiler;

/// The conditions.
const KEYS: [&str; 6] = ["consumers", "groups", "plans", "scopes", "claims", "addresses"];

/// Reports what is wrong in `defaults`, whether a route uses it or not.
pub(super) fn check_defaults(config: &Config, report: &mut Report) {
    let defaults = Place::root().key("defaults");
    check(config.defaults.allow.as_ref(), &defaults, config, report);
    check_denied(config.defaults.deny_addresses.as_deref(), &defaults, report);
}

impl<'a> RouteCompiler<'a> {
    /// `None` where the route asks nothing: then it costs nothing.
    pub(super) fn authorisation(&mut self, access: Option<&Access>) -> Option<Box<Authorisation>> {
        let (written, config) = (self.written, self.config);
        check(written.allow.as_ref(), &self.place, config, self.report);
        check_denied(written.deny_addresses.as_deref(), &self.place, self.report);
        let denied = [&written.deny_addresses, &config.defaults.deny_addresses];
        let denied = Networks::of(denied.into_iter().flatten().flatten());
        let mut rules = Authorisation { denied, ..Authorisation::default() };
        if let Some((conditions, place)) = self.conditions() {
            self.refuse_public(conditions, &place, access);
            self.warn_of_denied(conditions, &place, &rules.denied);
            state(conditions, &mut rules);
        }
        rules.stated().next().is_some().then(|| Box::new(rules))
    }

    /// The conditions that hold here, and where they are written.
    fn conditions(&self) -> Option<(&'a Conditions, Place)> {
        let (allow, place) = match (&self.written.allow, &self.config.defaults.allow) {
            (Some(allow), _) => (allow, self.at("allow")),
            (None, default) => (default.as_ref()?, Place::root().key("defaults").key("allow")),
        };
        match allow {
            Allow::Any => None,
            Allow::Only(conditions) => Some((conditions, place)),
        }
    }

    /// Nobody who calls a public route is known.
    fn refuse_public(&mut self, conditions: &Conditions, place: &Place, access: Option<&Access>) {
        let Some(key) = of_callers(conditions).filter(|_| matches!(access, Some(Access::Public))) else { return };
        let own = self.at("allow");
        let problem = match *place == own {
            true => self
                .report
                .error(place.clone().key(key), "nobody could call: a public route has no consumer")
                .on_key()
                .given_keys(&self.place, &["auth"])
                .given_keys(place, &KEYS)
                .help("ask for a credential with `auth`"),
            false => self
                .report
                .error(
                    self.place.clone(),
                    format!("nobody could call: `defaults` ask for {key}, and this route is public"),
                )
                .given_keys(&self.place, &["auth"])
                .given(own)
                .given_keys(place, &KEYS)
                .help("`allow: any`, or ask for a credential with `auth`"),
        };
        if self.written.auth.is_none() {
            problem.given(Place::root().key("defaults").key("auth"));
        }
    }

    /// An allowed network of which nothing is left.
    fn warn_of_denied(&mut self, conditions: &Conditions, place: &Place, denied: &Networks) {
        for (index, network) in conditions.addresses.iter().flatten().enumerate() {
            if denied.cover(network) {
                let place = place.clone().key("addresses").index(index);
                self.report
                    .warning(place, format!("all of `{network}` is denied by `deny_addresses`"))
                    .given_keys(&self.place, &["allow", "deny_addresses"])
                    .given(Place::root().key("defaults").key("deny_addresses"))
                    .help("take it out of one of the two");
            }
        }
    }
}

/// The first condition on callers, by its key.
fn of_callers(conditions: &Conditions) -> Option<&'static str> {
    let Conditions { consumers, groups, plans, scopes, claims, addresses: _ } = conditions;
    let stated = [consumers.is_some(), groups.is_some(), plans.is_some(), scopes.is_some(), claims.is_some()];
    KEYS.into_iter().zip(stated).find(|(_, stated)| *stated).map(|(key, _)| key)
}

/// Adds conditions to what is asked.
fn state(conditions: &Conditions, rules: &mut Authorisation) {
    let names = |list: &Vec<String>| -> Names { list.iter().map(|name| name.as_str().into()).collect() };
    rules.consumers = conditions.consumers.as_ref().map(names);
    rules.groups = conditions.groups.as_ref().map(names);
    rules.plans = conditions.plans.as_ref().map(names);
    rules.scopes = conditions.scopes.as_ref().map(names);
    rules.addresses = conditions.addresses.as_ref().map(Networks::of);
    let claims = conditions.claims.iter().flatten().map(|(name, values)| ClaimRule {
        name: name.as_str().into(),
        wanted: values.as_slice().iter().map(wanted).collect(),
    });
    rules.claims = claims.collect();
}

fn wanted(value: &ClaimValue) -> Wanted {
    match value {
        ClaimValue::Text(text) => Wanted::Text(text.as_str().into()),
        ClaimValue::Number(number) => Wanted::Number(number.clone()),
        ClaimValue::Boolean(value) => Wanted::Boolean(*value),
    }
}

/// Reports what is wrong with the conditions at `around.allow` themselves.
fn check(allow: Option<&Allow>, around: &Place, config: &Config, report: &mut Report) {
    let Some(Allow::Only(conditions)) = allow else { return };
    let place = around.clone().key("allow");
    if **conditions == Conditions::default() {
        let problem = report.error(place.clone(), "no condition is given").given_keys(&place, &KEYS);
        problem.help("`any` lets everyone through whom `auth` lets in");
    }
    check_empty(conditions, &place, report);
    let Conditions { consumers, groups, plans, scopes, .. } = &**conditions;
    let at = |key, index| place.clone().key(key).index(index);
    for (index, name) in consumers.iter().flatten().enumerate() {
        if !config.consumers.contains_key(name) && !is_of_tokens(name, config) {
            let message = format!("unknown consumer `{name}`");
            // A key of the store may make one.
            let problem = match config.store {
                Some(_) => report.warning(at("consumers", index), message),
                None => report.error(at("consumers", index), message),
            };
            problem
                .given(Place::root().key("consumers").key(name))
                .given(Place::root().key("store"))
                .given(Place::root().key("authenticators"))
                .help(suggest(name, config.consumers.keys().map(String::as_str)));
        }
    }
    for (index, name) in plans.iter().flatten().enumerate() {
        if !config.plans.contains_key(name) {
            report
                .error(at("plans", index), format!("unknown plan `{name}`"))
                .given(Place::root().key("plans").key(name))
                .help(suggest(name, config.plans.keys().map(String::as_str)));
        }
    }
    let known: IndexSet<&str> =
        config.consumers.values().flat_map(|consumer| &consumer.groups).map(String::as_str).collect();
    let brought = tokens(config).any(|(_, jwt)| jwt.groups_claim.is_some());
    for (index, name) in groups.iter().flatten().enumerate() {
        if !known.contains(name.as_str()) && !brought {
            report
                .warning(at("groups", index), format!("no consumer is in group `{name}`"))
                .given(Place::root().key("authenticators"))
                .given_each(Place::root().key("consumers"), "groups")
                .help(suggest(name, known.iter().copied()));
        }
    }
    for (index, scope) in scopes.iter().flatten().enumerate() {
        if scope.is_empty() || scope.contains(' ') {
            report
                .error(at("scopes", index), format!("`{scope}` is no scope"))
                .by_itself()
                .help("one word; several are several members of the list");
        }
    }
}

/// Whether tokens may make a consumer of this name.
fn is_of_tokens(name: &str, config: &Config) -> bool {
    let prefix = name.split_once(':').map(|(prefix, _)| prefix);
    tokens(config).any(|(authenticator, _)| prefix == Some(authenticator))
}

fn tokens(config: &Config) -> impl Iterator<Item = (&str, &crate::config::Jwt)> {
    config.authenticators.iter().filter_map(|(name, authenticator)| Some((name.as_str(), authenticator.jwt.as_ref()?)))
}

/// Nobody meets a condition without a member.
fn check_empty(conditions: &Conditions, place: &Place, report: &mut Report) {
    let Conditions { consumers, groups, plans, scopes, claims, addresses } = conditions;
    let lists = [consumers, groups, plans, scopes].map(|list| list.as_ref().is_some_and(Vec::is_empty));
    let empty = |empty: bool, place: Place, report: &mut Report| {
        if empty {
            let problem = report.error(place.clone(), "nobody could call with an empty list").given(place);
            problem.help("leave the key out to ask nothing");
        }
    };
    for (key, is_empty) in KEYS.into_iter().zip(lists) {
        empty(is_empty, place.clone().key(key), report);
    }
    empty(addresses.as_ref().is_some_and(Vec::is_empty), place.clone().key("addresses"), report);
    let at_claims = place.clone().key("claims");
    if claims.as_ref().is_some_and(|claims| claims.is_empty()) {
        let problem = report.error(at_claims.clone(), "no claim is named").given(at_claims.clone());
        problem.help("for example `tenant: acme`");
    }
    for (name, values) in claims.iter().flatten() {
        empty(values.as_slice().is_empty(), at_claims.clone().key(name), report);
    }
}

/// Reports an empty list at `around.deny_addresses`.
fn check_denied(list: Option<&[ipnet::IpNet]>, around: &Place, report: &mut Report) {
    if list.is_some_and(<[_]>::is_empty) {
        let place = around.clone().key("deny_addresses");
        let problem = report.error(place.clone(), "an empty list denies nobody").given(place);
        problem.help("leave the key out");
    }
}
