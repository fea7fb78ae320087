//! How many series the metrics can have, known before the first request.
//!
//! Every labelled family is listed in [`bound`] with what its labels range over: names of the [`Inventory`] that a
//! generation brings, times a closed set. So [`Families::at_most`] is known when a configuration is loaded, and
//! [`Families::retain`] knows what a new generation leaves behind. A unit test fails for a family that is not listed.
//!
//! A request of a generation that is gone may bring back one of its series after a reload; the next reload drops it.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::metrics::KEY_SET_RESULTS;
use super::named::{
    ASK_RESULTS, CHECK_RESULTS, CacheResult, MIRROR_RESULTS, PASSWORD_RESULTS, QUEUE_REFUSALS, RETRY_RESULTS,
    SERVICE_FAILURES, SERVICE_REPLIES, STATUS_LABELS, TARGET_STATES, WEBSOCKET_DIRECTIONS,
};

/// Names of one label.
pub type Names = HashSet<Box<str>>;

/// Values of two labels that come together.
pub type Pairs = HashSet<(Box<str>, Box<str>)>;

/// What a generation has that metrics tell apart, and the sizes of the closed sets that only others know.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Routes, with the label of requests that match none.
    pub routes: Names,
    /// Each route with its service.
    pub routed: Pairs,
    /// Routes that take WebSockets.
    pub websockets: Names,
    /// Routes with a second service that gets copies.
    pub mirrored: Names,
    /// Routes with a cache.
    pub cached: Names,
    /// Routes whose contract is only observed.
    pub observed_contracts: Names,
    /// Conditions that are only observed, each with its route.
    pub observed_conditions: Pairs,
    /// Routes whose limits are only observed.
    pub observed_limits: Names,
    /// Owner and policy of each limit.
    pub limits: Pairs,
    /// The same of limits that some route only observes.
    pub observed_policies: Pairs,
    /// Services.
    pub services: Names,
    /// Those of them for which requests may wait.
    pub queues: Names,
    /// Each service with its targets, as written.
    pub targets: Pairs,
    /// Authenticators of tokens.
    pub token_authenticators: Names,
    /// Those of them that fetch their keys.
    pub fetching_authenticators: Names,
    /// Authenticators of names and passwords.
    pub password_authenticators: Names,
    /// Authenticators that ask an auth service.
    pub asking_authenticators: Names,
    /// Certificates, each with its listener.
    pub certificates: Pairs,
    /// How many reasons a rejection can have.
    pub reasons: usize,
    /// How many types a violation can have.
    pub violations: usize,
    /// How many faults a token can have.
    pub token_faults: usize,
}

/// What a family's labels range over.
enum Bound<'a> {
    /// The values of one label, each with so many children.
    Each(&'static str, &'a Names, usize),
    /// The values of two labels.
    Pairs([&'static str; 2], &'a Pairs),
    /// The same, each with so many children.
    EachPair([&'static str; 2], &'a Pairs, usize),
    /// So many children, whatever the generation.
    AtMost(usize),
    /// Children that are made with the family.
    Constant,
}

/// The bound of a family; `None`: nobody has thought of it.
fn bound<'a>(family: &str, of: &'a Inventory) -> Option<Bound<'a>> {
    let owner_and_policy = ["owner", "policy"];
    Some(match family {
        "tollgate_requests_total" => Bound::Each("route", &of.routes, STATUS_LABELS),
        "tollgate_rejections_total" => Bound::Each("route", &of.routes, of.reasons),
        "tollgate_request_duration_seconds"
        | "tollgate_service_duration_seconds"
        | "tollgate_gateway_duration_seconds" => Bound::Each("route", &of.routes, 1),
        "tollgate_route_info" => Bound::Pairs(["route", "service"], &of.routed),
        "tollgate_mirrored_requests_total" => Bound::Each("route", &of.mirrored, MIRROR_RESULTS.len()),
        "tollgate_websocket_connections" => Bound::Each("route", &of.websockets, 1),
        "tollgate_websocket_bytes_total" => Bound::Each("route", &of.websockets, WEBSOCKET_DIRECTIONS.len()),
        "tollgate_cache_requests_total" => Bound::Each("route", &of.cached, CacheResult::ALL.len()),
        "tollgate_contract_observed_total" => Bound::Each("route", &of.observed_contracts, 1),
        "tollgate_contract_observed_violations_total" => Bound::Each("route", &of.observed_contracts, of.violations),
        "tollgate_authorisation_observed_total" => Bound::Pairs(["route", "condition"], &of.observed_conditions),
        "tollgate_limits_observed_total" => Bound::Each("route", &of.observed_limits, 1),
        "tollgate_limit_refusals_total" | "tollgate_limit_near_exhaustion_total" => {
            Bound::Pairs(owner_and_policy, &of.limits)
        }
        "tollgate_limit_observed_refusals_total" => Bound::Pairs(owner_and_policy, &of.observed_policies),
        "tollgate_service_replies_total" => Bound::Each("service", &of.services, SERVICE_REPLIES.len()),
        "tollgate_service_failures_total" => Bound::Each("service", &of.services, SERVICE_FAILURES.len()),
        "tollgate_service_connect_failures_total" | "tollgate_service_ejections_total" => {
            Bound::Each("service", &of.services, 1)
        }
        "tollgate_service_retries_total" => Bound::Each("service", &of.services, RETRY_RESULTS.len()),
        "tollgate_service_health_checks_total" => Bound::Each("service", &of.services, CHECK_RESULTS.len()),
        "tollgate_service_queued_requests" | "tollgate_service_queue_duration_seconds" => {
            Bound::Each("service", &of.queues, 1)
        }
        "tollgate_service_queue_refusals_total" => Bound::Each("service", &of.queues, QUEUE_REFUSALS.len()),
        "tollgate_service_targets" => Bound::EachPair(["service", "target"], &of.targets, TARGET_STATES.len()),
        "tollgate_token_refusals_total" => Bound::Each("authenticator", &of.token_authenticators, of.token_faults),
        "tollgate_password_attempts_total" => {
            Bound::Each("authenticator", &of.password_authenticators, PASSWORD_RESULTS.len())
        }
        "tollgate_forward_auth_total" => Bound::Each("authenticator", &of.asking_authenticators, ASK_RESULTS.len()),
        "tollgate_key_set_fetches_total" => {
            Bound::Each("authenticator", &of.fetching_authenticators, KEY_SET_RESULTS.len())
        }
        "tollgate_key_set_last_success_timestamp_seconds" => {
            Bound::Each("authenticator", &of.fetching_authenticators, 1)
        }
        "tollgate_certificate_expires_timestamp_seconds" => Bound::Pairs(["listener", "certificate"], &of.certificates),
        "tollgate_shared_store_up" => Bound::AtMost(1),
        "tollgate_build_info"
        | "tollgate_config_reloads_total"
        | "tollgate_shared_limit_decisions_total"
        | "tollgate_tls_handshakes_total"
        | "tollgate_certificate_reloads_total"
        | "tollgate_access_lines_dropped_total"
        | "tollgate_log_entries_dropped_total"
        | "tollgate_connections_refused_total"
        | "tollgate_connections_expired_total"
        | "tollgate_spans_dropped_total"
        | "tollgate_compression_bytes_total"
        | "tollgate_limit_entries" => Bound::Constant,
        _ => return None,
    })
}

impl Bound<'_> {
    /// How many children there can be, when there are so many now.
    fn children(&self, now: usize) -> usize {
        match self {
            Self::Each(_, names, each) => names.len() * each,
            Self::Pairs(_, pairs) => pairs.len(),
            Self::EachPair(_, pairs, each) => pairs.len() * each,
            Self::AtMost(most) => *most,
            Self::Constant => now,
        }
    }

    fn keeps(&self, labels: &HashMap<&str, &str>) -> bool {
        let value = |label: &str| labels.get(label).copied().unwrap_or_default();
        match self {
            Self::Each(label, names, _) => names.contains(value(label)),
            Self::Pairs([first, second], pairs) | Self::EachPair([first, second], pairs, _) => {
                pairs.contains(&(value(first).into(), value(second).into()))
            }
            Self::AtMost(_) | Self::Constant => true,
        }
    }
}

/// Every metric of the process, as registered.
#[derive(Debug, Default)]
pub(super) struct Families {
    registry: Registry,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    unlabelled: usize,
    labelled: Vec<Labelled>,
}

/// A family whose children have labels.
#[derive(Debug)]
struct Labelled {
    name: String,
    children: Children,
    /// Series of one child: a histogram has one per bucket, one for the rest, a sum and a count.
    each: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Children {
    Counters(IntCounterVec),
    Gauges(IntGaugeVec),
    Histograms(HistogramVec, usize),
}

impl Families {
    /// Registers a metric without labels.
    pub fn add(&self, metric: impl Collector + 'static) {
        self.entries.lock().unlabelled += 1;
        self.register(Box::new(metric));
    }

    /// Registers a family.
    pub fn add_labelled(&self, name: &str, children: Children) {
        let (metric, each): (Box<dyn Collector>, usize) = match &children {
            Children::Counters(family) => (Box::new(family.clone()), 1),
            Children::Gauges(family) => (Box::new(family.clone()), 1),
            Children::Histograms(family, buckets) => (Box::new(family.clone()), buckets + 3),
        };
        self.entries.lock().labelled.push(Labelled { name: name.to_owned(), children, each });
        self.register(metric);
    }

    fn register(&self, metric: Box<dyn Collector>) {
        self.registry.register(metric).expect("each metric is registered once per process");
    }

    /// What a scrape shows.
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// The most series that a scrape can have.
    pub fn at_most(&self, of: &Inventory) -> usize {
        let entries = self.entries.lock();
        let labelled = entries.labelled.iter().map(|family| {
            let now = family.children.count();
            bound(&family.name, of).map_or(now, |bound| bound.children(now)) * family.each
        });
        entries.unlabelled + labelled.sum::<usize>()
    }

    /// Drops the children whose names a generation does not have.
    pub fn retain(&self, of: &Inventory) {
        for family in &self.entries.lock().labelled {
            let Some(bound) = bound(&family.name, of) else { continue };
            match &family.children {
                Children::Counters(children) => retain(children, &bound),
                Children::Gauges(children) => retain(children, &bound),
                Children::Histograms(children, _) => retain(children, &bound),
            }
        }
    }
}

impl Children {
    fn count(&self) -> usize {
        let families = match self {
            Self::Counters(children) => children.collect(),
            Self::Gauges(children) => children.collect(),
            Self::Histograms(children, _) => children.collect(),
        };
        families.iter().map(|family| family.get_metric().len()).sum()
    }
}

fn retain<B: MetricVecBuilder>(children: &MetricVec<B>, bound: &Bound<'_>) {
    for family in children.collect() {
        for child in family.get_metric() {
            let labels: HashMap<&str, &str> =
                child.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if !bound.keeps(&labels) {
                // An error only says that it is gone already.
                let _ = children.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Telemetry;
    use super::*;

    fn names(of: &[&str]) -> Names {
        of.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn every_family_with_labels_has_a_bound() {
        let telemetry = Telemetry::new("1", "abc");
        let inventory = Inventory::default();
        let entries = telemetry.families().entries.lock();
        let unknown: Vec<&str> = entries.labelled.iter().map(|family| family.name.as_str()).collect();
        assert!(unknown.len() > 15, "{unknown:?}");
        let unknown: Vec<&str> = unknown.into_iter().filter(|name| bound(name, &inventory).is_none()).collect();
        assert!(unknown.is_empty(), "what do the labels of {unknown:?} range over? Say it in `bound`");
    }

    #[test]
    fn each_route_adds_its_statuses_reasons_and_histograms() {
        let telemetry = Telemetry::new("1", "abc");
        let with = |routes: &[&str]| {
            telemetry.at_most(&Inventory { routes: names(routes), reasons: 7, ..Inventory::default() })
        };
        // Two histograms of 13 buckets and one of 11.
        let one = STATUS_LABELS + 7 + 2 * (13 + 3) + (11 + 3);
        assert_eq!(with(&["a", "b"]) - with(&["a"]), one);
        assert_eq!(with(&["a"]) - with(&[]), one);
    }

    #[test]
    fn what_a_generation_does_not_have_is_gone() {
        let telemetry = Telemetry::new("1", "abc");
        for route in ["kept", "gone"] {
            telemetry.route(route).answered(200, std::time::Duration::ZERO);
        }
        for (owner, policy) in [("free", "total-day"), ("gone", "total-day")] {
            telemetry.limit(owner, policy).refused();
        }
        telemetry.keep(&Inventory {
            routes: names(&["kept"]),
            limits: [("free".into(), "total-day".into())].into(),
            ..Inventory::default()
        });
        let text = String::from_utf8(telemetry.render()).unwrap();
        assert!(!text.contains("gone"), "{text}");
        for line in [
            r#"tollgate_requests_total{route="kept",status="200"} 1"#,
            r#"tollgate_request_duration_seconds_count{route="kept"} 1"#,
            r#"tollgate_limit_refusals_total{owner="free",policy="total-day"} 1"#,
            r#"tollgate_config_reloads_total{result="published"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
