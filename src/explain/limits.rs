//! The limits that count a request, in the order in which the gateway tells them to clients.

use crate::gateway::LimitBy;
use crate::policy::limit::Limit;
use crate::policy::limit::headers::{Fields, RATE_LIMIT};
use crate::proxy::rehearse::{Found, Step};

/// A limit that counts a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// As clients are told: name and numbers.
    pub policy: String,
    /// The numbers in words.
    pub allows: String,
    /// Whose limit it is.
    pub of: String,
    /// For whom it counts separately.
    pub each: String,
    /// How many requests this one counts for.
    pub cost: u32,
    /// What is left after this request alone; unknown of a limit that refused.
    pub left: Option<String>,
}

/// Every limit that counts a request; none when it ended before they were asked.
pub fn applied(found: &Found) -> Vec<Applied> {
    let Some(route) = &found.route else { return Vec::new() };
    if found.refused.as_ref().is_some_and(|refused| refused.step < Step::Limits) {
        return Vec::new();
    }
    let mut applied = Vec::new();
    let mut add = |limit: &Limit, of: String, each: &str| {
        let cost = if limit.policy_item().contains("qu=") { 1 } else { route.cost };
        applied.push(Applied {
            policy: limit.policy_item().to_owned(),
            allows: in_words(limit.policy_item()),
            of,
            each: each.to_owned(),
            cost,
            left: None,
        });
    };
    if let Some(plan) = found.consumer.as_ref().and_then(|consumer| consumer.plan.as_ref()) {
        let of = format!("plan {}", plan.name);
        for limit in plan.route_limits(&route.name) {
            add(limit, of.clone(), "each consumer on this route");
        }
        for limit in plan.total.iter().chain(&plan.concurrency) {
            add(limit, of.clone(), "each consumer over all routes");
        }
    }
    for entry in &route.limits {
        let each = match &entry.by {
            LimitBy::ClientIp => "each client address".to_owned(),
            LimitBy::Consumer => "each consumer".to_owned(),
            LimitBy::Route => "everyone together".to_owned(),
            LimitBy::Header(name) => format!("each value of header {name}"),
            LimitBy::Claim(path) => format!("each value of claim {path}"),
        };
        add(&entry.limit, "this route".to_owned(), &each);
    }
    let left = left(&found.limits);
    for (limit, left) in applied.iter_mut().zip(left) {
        limit.left = Some(left);
    }
    applied
}

/// What is left of each limit, as clients are told: `"total-day";r=999;t=3600`.
fn left(fields: &Fields) -> Vec<String> {
    let told = fields.iter().find(|(name, _)| *name == RATE_LIMIT).and_then(|(_, value)| value.to_str().ok());
    let items = told.into_iter().flat_map(|told| told.split(", "));
    items.map(|item| parameter(item, "r").unwrap_or_default().to_owned()).collect()
}

fn parameter<'a>(item: &'a str, name: &str) -> Option<&'a str> {
    item.split(';').skip(1).find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

/// `"each-route-second";q=10;w=2` as `10 in 2 seconds`.
fn in_words(item: &str) -> String {
    let count = parameter(item, "q").unwrap_or_default();
    match parameter(item, "w") {
        None => format!("{count} at a time"),
        Some("1") => format!("{count} in a second"),
        Some("60") => format!("{count} in a minute"),
        Some("3600") => format!("{count} in an hour"),
        Some("86400") => format!("{count} in a day"),
        Some("2678400") => format!("{count} in a month"),
        Some(seconds) => format!("{count} in {seconds} seconds"),
    }
}
