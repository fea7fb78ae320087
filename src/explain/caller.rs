//! Who calls, and how the gateway knows.

use crate::gateway::{Access, Consumer, Route};
use crate::policy::authenticate::{KeyPlace, Part, Presented, presented};
use crate::policy::password::{self, PresentedPassword};
use crate::proxy::rehearse::{self, Found, Message, Step};

/// Who calls a route, in a sentence; `None` when the gateway did not get as far as to ask.
pub fn described(route: &Route, part: &rehearse::Part, sent: &Message, found: &Found) -> Option<String> {
    let refused = found.refused.as_ref().map(|refused| refused.step);
    if refused.is_some_and(|step| step < Step::Caller) {
        return None;
    }
    let Access::Authenticated { certificates, places, tokens, passwords, asked, .. } = &route.access else {
        let given = if part.consumer.is_some() { "; a given consumer changes nothing" } else { "" };
        return Some(format!("the route is public, so nobody is asked who they are{given}"));
    };
    // A denied address is not asked who it is.
    if found.consumer.is_none() && refused == Some(Step::Conditions) {
        return None;
    }
    let names = route.authenticators.join(", ");
    let Some(consumer) = &found.consumer else {
        let keys = places.iter().map(|place| format!("an API key in {}", place_text(&place.part)));
        let tokens = tokens.iter().map(|tokens| format!("a token in {}", place_text(&tokens.place.part)));
        let passwords = passwords.first().map(|_| "a name and a password in header authorization".to_owned());
        let certificate = certificates.then(|| "a client certificate, which explain has not".to_owned());
        let looked: Vec<String> = keys.chain(tokens).chain(passwords).chain(certificate).collect();
        let asks = asked.iter().map(|asked| format!("asks {}, which explain does not", asked.name));
        let looks = (!looked.is_empty()).then(|| format!("looks for {}", looked.join(" and ")));
        let does: Vec<String> = looks.into_iter().chain(asks).collect();
        return Some(format!("unknown; auth: [{names}] {}", does.join(", then ")));
    };
    let how = if part.consumer.is_some() {
        format!("given, instead of a credential for [{names}]")
    } else if let Some(passwords) = passwords.first().filter(|_| has_password(sent)) {
        format!("found by authenticator {}: name and password in header authorization", passwords.name)
    } else {
        match places.iter().chain(tokens.iter().map(|tokens| &tokens.place)).find(|place| carries(place, sent)) {
            Some(place) => by(route, places, place, &names),
            None => format!("found by [{names}]"),
        }
    };
    Some(format!("{}, {how}", who(consumer)))
}

/// `consumer alice of plan free, in groups staff`
fn who(consumer: &Consumer) -> String {
    let plan = consumer.plan.as_ref().map(|plan| format!(" of plan {}", plan.name)).unwrap_or_default();
    let groups = if consumer.groups.is_empty() {
        String::new()
    } else {
        format!(", in groups {}", consumer.groups.join(" and "))
    };
    format!("consumer {}{plan}{groups}", consumer.name)
}

fn headers(sent: &Message) -> http::HeaderMap {
    let fields = sent.fields.iter();
    fields
        .filter_map(|(name, value)| Some((name.parse::<http::HeaderName>().ok()?, value.as_slice().try_into().ok()?)))
        .collect()
}

/// Whether the request carries a name and a password.
fn has_password(sent: &Message) -> bool {
    password::presented(&headers(sent)) != PresentedPassword::Nothing
}

/// Whether the request carries a credential here.
pub fn carries(place: &KeyPlace, sent: &Message) -> bool {
    let headers = headers(sent);
    let query = sent.target().split_once('?').map(|(_, query)| query);
    presented(std::iter::once(place), &headers, query) != Presented::Nothing
}

/// The authenticator whose credential stands here. `keys` are the places of API keys.
fn by(route: &Route, keys: &[KeyPlace], place: &KeyPlace, names: &str) -> String {
    if !keys.iter().any(|key| std::ptr::eq(key, place)) {
        return format!("found by one of [{names}]: token in {}", place_text(&place.part));
    }
    let alike = |at: usize| keys.len() == route.authenticators.len() && keys[at].part == place.part;
    let name = (0..keys.len()).find(|&at| alike(at)).and_then(|at| route.authenticators.get(at));
    let name = name.map_or(names, |name| name);
    format!("found by authenticator {name}: API key in {}", place_text(&place.part))
}

/// Where a key stands.
pub fn place_text(part: &Part) -> String {
    match part {
        Part::Header(name) => format!("header {name}"),
        Part::Query(name) => format!("query parameter {name}"),
        Part::Cookie(name) => format!("cookie {name}"),
    }
}
