//! The metrics of the process, in the words of Prometheus.
//!
//! Names begin with `tollgate_`, units are base units, counters end in `_total`. Figures that another part already
//! keeps (connections, limit table, body memory) are read at scrape time through gauges that the part's owner sets
//! just before [`Telemetry::render`]. How many series there can be is counted in `series`.

use std::sync::OnceLock;

use prometheus::{Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder};

use super::certificates::Handshake;
use super::make::{counter, counters, histogram, histograms, int_gauge, int_gauges};
use super::named::{LimitMetrics, RouteMetrics, SERVICE_FAILURES, SERVICE_REPLIES, ServiceMetrics};
use super::series::{Families, Inventory};
use super::usage::Usage;

/// How a fetch of a key set ends.
pub(super) const KEY_SET_RESULTS: [&str; 2] = ["good", "failed"];

/// Seconds. From a fast service to a slow report.
const REQUEST_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds. The gateway's own share is microseconds; the upper half shows slow uploads.
const GATEWAY_BUCKETS: [f64; 11] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5, 5.0];

/// Seconds. A Redis near by answers in a fraction of a millisecond; nobody waits for one longer than its timeout.
const STORE_BUCKETS: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1];

/// All metrics of the process.
#[derive(Debug)]
pub struct Telemetry {
    registry: Families,
    requests: IntCounterVec,
    rejections: IntCounterVec,
    observed: IntCounterVec,
    observed_violations: IntCounterVec,
    authorisation_observed: IntCounterVec,
    limit_near: IntCounterVec,
    limit_refusals: IntCounterVec,
    limits_observed: IntCounterVec,
    limit_observed_refusals: IntCounterVec,
    token_refusals: IntCounterVec,
    password_attempts: IntCounterVec,
    forward_auth: IntCounterVec,
    key_fetches: IntCounterVec,
    key_set_timestamp: IntGaugeVec,
    request_seconds: HistogramVec,
    service_seconds: HistogramVec,
    gateway_seconds: HistogramVec,
    route_info: IntGaugeVec,
    service_replies: IntCounterVec,
    service_failures: IntCounterVec,
    service_connect_failures: IntCounterVec,
    reloads: IntCounterVec,
    /// Requests between their first phase and their log line.
    pub in_flight: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// The most of them that are let in.
    pub connections_limit: IntGauge,
    /// Connections closed at accept, by reason.
    pub connections_refused: IntCounterVec,
    /// Connections closed by the guard, by the deadline they missed.
    pub connections_expired: IntCounterVec,
    handshakes: IntCounterVec,
    certificate_expires: IntGaugeVec,
    certificate_reloads: IntCounterVec,
    /// Bytes of request bodies held for checking.
    pub body_memory: IntGauge,
    /// The most bytes that they may take.
    pub body_memory_limit: IntGauge,
    /// Bytes of temporary files that uploads take.
    pub upload_disk: IntGauge,
    /// The most bytes that they may take.
    pub upload_disk_limit: IntGauge,
    /// Counters held by the limiter, by kind.
    pub limit_entries: IntGaugeVec,
    /// Decisions made by a shared counter.
    pub limit_overflow: IntGauge,
    /// Bytes that the limiter's counters take.
    pub limit_bytes: IntGauge,
    /// The most that they can take.
    pub limit_max_bytes: IntGauge,
    /// Access lines that could not be written.
    pub access_dropped: IntGauge,
    /// Keys of the store that are good.
    pub store_keys: IntGauge,
    /// Unix time at which the snapshot of the store was known to be current.
    pub store_refreshed: IntGauge,
    /// Times at which the store could not be read.
    pub store_failures: IntCounter,
    /// Times at which quotas could not be saved.
    pub quota_save_failures: IntCounter,
    /// Quota counters whose use could not be saved so far.
    pub quota_unsaved: IntGauge,
    /// Use of quotas that is never saved, because there was no room for its counter.
    pub quota_dropped: IntCounter,
    shared_store_up: IntGaugeVec,
    /// Requests whose limits the shared store did not decide because it failed.
    pub shared_store_failures: IntCounter,
    /// Seconds that decisions of the shared store took.
    pub shared_store_seconds: Histogram,
    limits_decided: [IntCounter; DecidedBy::ALL.len()],
    /// Whether requests should be sent here.
    pub ready: IntGauge,
    series_budget: IntGauge,
    generation: IntGauge,
    reload_successful: IntGauge,
    reload_timestamp: IntGauge,
    /// Milliseconds from the start of the process to readiness.
    pub start_to_ready: IntGauge,
    process: Usage,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// A new generation was published.
    Published,
    /// The file says what already runs.
    Unchanged,
    /// The file has problems; the old generation goes on.
    Refused,
}

impl ReloadResult {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// Who decided on limits that many gateways share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// The store.
    Store,
    /// This gateway, from what it has leased of the store.
    Lease,
    /// This gateway alone, because the store failed.
    Local,
    /// Nobody: it failed, and everything passes then.
    Nobody,
}

impl DecidedBy {
    const ALL: [Self; 4] = [Self::Store, Self::Lease, Self::Local, Self::Nobody];

    /// The metric label.
    fn label(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Lease => "lease",
            Self::Local => "local",
            Self::Nobody => "nobody",
        }
    }
}

impl Telemetry {
    /// Registers every metric. `version` and `revision` are shown by `tollgate_build_info`.
    pub fn new(version: &str, revision: &str) -> Self {
        let registry = Families::default();
        let build = int_gauges(&registry, "tollgate_build_info", "What runs", &["version", "revision"]);
        build.with_label_values(&[version, revision]).set(1);
        let decided = counters(
            &registry,
            "tollgate_shared_limit_decisions_total",
            "Decisions on limits that gateways share, by who made them",
            &["by"],
        );
        let telemetry = Self {
            requests: counters(
                &registry,
                "tollgate_requests_total",
                "Requests answered, by route and status",
                &["route", "status"],
            ),
            rejections: counters(
                &registry,
                "tollgate_rejections_total",
                "Requests the gateway answered itself, by reason",
                &["route", "reason"],
            ),
            observed: counters(
                &registry,
                "tollgate_contract_observed_total",
                "Requests that passed although they violate their contract, by route",
                &["route"],
            ),
            observed_violations: counters(
                &registry,
                "tollgate_contract_observed_violations_total",
                "Violations of these requests, by route and type",
                &["route", "type"],
            ),
            limit_near: counters(
                &registry,
                "tollgate_limit_near_exhaustion_total",
                "Requests that left less than a tenth of a limit, by plan or route and policy",
                &["owner", "policy"],
            ),
            limit_refusals: counters(
                &registry,
                "tollgate_limit_refusals_total",
                "Limits that refused a request, by plan or route and policy",
                &["owner", "policy"],
            ),
            limits_observed: counters(
                &registry,
                "tollgate_limits_observed_total",
                "Requests that passed although a limit is used up, by route",
                &["route"],
            ),
            limit_observed_refusals: counters(
                &registry,
                "tollgate_limit_observed_refusals_total",
                "Limits that would have refused these requests, by plan or route and policy",
                &["owner", "policy"],
            ),
            authorisation_observed: counters(
                &registry,
                "tollgate_authorisation_observed_total",
                "Requests that passed authorisation although they fail a condition, by route and condition",
                &["route", "condition"],
            ),
            token_refusals: counters(
                &registry,
                "tollgate_token_refusals_total",
                "Tokens refused, by authenticator and reason",
                &["authenticator", "reason"],
            ),
            password_attempts: counters(
                &registry,
                "tollgate_password_attempts_total",
                "Passwords verified or refused, beside those that were remembered, by authenticator and result",
                &["authenticator", "result"],
            ),
            forward_auth: counters(
                &registry,
                "tollgate_forward_auth_total",
                "Questions to auth services, by authenticator and result",
                &["authenticator", "result"],
            ),
            key_fetches: counters(
                &registry,
                "tollgate_key_set_fetches_total",
                "Attempts to fetch a published key set, by authenticator and result",
                &["authenticator", "result"],
            ),
            key_set_timestamp: int_gauges(
                &registry,
                "tollgate_key_set_last_success_timestamp_seconds",
                "Unix time of the last good fetch of a key set",
                &["authenticator"],
            ),
            request_seconds: histograms(
                &registry,
                "tollgate_request_duration_seconds",
                "From the end of the request's header to the end of the answer",
                &REQUEST_BUCKETS,
            ),
            service_seconds: histograms(
                &registry,
                "tollgate_service_duration_seconds",
                "From contacting the service to the header of its reply",
                &REQUEST_BUCKETS,
            ),
            gateway_seconds: histograms(
                &registry,
                "tollgate_gateway_duration_seconds",
                "From the end of the request's header to the decision, a checked body's upload included",
                &GATEWAY_BUCKETS,
            ),
            route_info: int_gauges(&registry, "tollgate_route_info", "The service of a route", &["route", "service"]),
            service_replies: counters(
                &registry,
                "tollgate_service_replies_total",
                "Replies of a service, by service and class of the status",
                &["service", "status"],
            ),
            service_failures: counters(
                &registry,
                "tollgate_service_failures_total",
                "Requests for which a service had no usable reply, by service and reason",
                &["service", "reason"],
            ),
            service_connect_failures: counters(
                &registry,
                "tollgate_service_connect_failures_total",
                "Connections to a service that could not be opened, also where another target could be reached",
                &["service"],
            ),
            reloads: counters(&registry, "tollgate_config_reloads_total", "Reloads, by result", &["result"]),
            in_flight: int_gauge(&registry, "tollgate_requests_in_flight", "Requests being served"),
            connections: int_gauge(&registry, "tollgate_connections", "Open client connections"),
            connections_limit: int_gauge(
                &registry,
                "tollgate_connections_limit",
                "The most client connections that are let in",
            ),
            connections_refused: counters(
                &registry,
                "tollgate_connections_refused_total",
                "Connections closed at accept, by reason",
                &["reason"],
            ),
            connections_expired: counters(
                &registry,
                "tollgate_connections_expired_total",
                "Connections closed at a deadline, by deadline",
                &["deadline"],
            ),
            handshakes: counters(
                &registry,
                "tollgate_tls_handshakes_total",
                "TLS handshakes with clients, by result",
                &["result"],
            ),
            certificate_expires: int_gauges(
                &registry,
                "tollgate_certificate_expires_timestamp_seconds",
                "Unix time at which the certificate that is served expires",
                &["listener", "certificate"],
            ),
            certificate_reloads: counters(
                &registry,
                "tollgate_certificate_reloads_total",
                "Changed certificates of listeners and services, by what became of them",
                &["result"],
            ),
            body_memory: int_gauge(&registry, "tollgate_body_memory_bytes", "Request bodies held for checking"),
            body_memory_limit: int_gauge(
                &registry,
                "tollgate_body_memory_limit_bytes",
                "The most memory for request bodies held for checking",
            ),
            upload_disk: int_gauge(&registry, "tollgate_upload_disk_bytes", "Temporary files of uploads"),
            upload_disk_limit: int_gauge(
                &registry,
                "tollgate_upload_disk_limit_bytes",
                "The most disk for temporary files of uploads",
            ),
            limit_entries: int_gauges(&registry, "tollgate_limit_entries", "Counters held, by kind", &["kind"]),
            limit_overflow: int_gauge(
                &registry,
                "tollgate_limit_overflow_decisions",
                "Decisions made by a shared counter because the table was full",
            ),
            limit_bytes: int_gauge(&registry, "tollgate_limit_bytes", "Memory that counters of limits take"),
            limit_max_bytes: int_gauge(
                &registry,
                "tollgate_limit_max_bytes",
                "The most memory that counters of limits ever take",
            ),
            access_dropped: int_gauge(
                &registry,
                "tollgate_access_log_dropped_lines",
                "Access lines dropped because the log could not keep up",
            ),
            store_keys: int_gauge(&registry, "tollgate_store_keys", "API keys of the store that are good"),
            store_refreshed: int_gauge(
                &registry,
                "tollgate_store_last_refresh_success_timestamp_seconds",
                "Unix time at which the keys of the store were known to be current",
            ),
            store_failures: counter(
                &registry,
                "tollgate_store_refresh_failures_total",
                "Times at which the store could not be read",
            ),
            quota_save_failures: counter(
                &registry,
                "tollgate_quota_save_failures_total",
                "Times at which quotas could not be saved",
            ),
            quota_unsaved: int_gauge(
                &registry,
                "tollgate_quota_unsaved_counters",
                "Quota counters whose use could not be saved so far",
            ),
            quota_dropped: counter(
                &registry,
                "tollgate_quota_dropped_total",
                "Use of quotas that is never saved, because there was no room for its counter",
            ),
            shared_store_up: int_gauges(
                &registry,
                "tollgate_shared_store_up",
                "1 while the store that gateways share answers",
                &["store"],
            ),
            shared_store_failures: counter(
                &registry,
                "tollgate_shared_store_failures_total",
                "Times at which the shared store was asked and failed",
            ),
            shared_store_seconds: histogram(
                &registry,
                "tollgate_shared_store_duration_seconds",
                "Time in which the shared store decided on limits",
                &STORE_BUCKETS,
            ),
            limits_decided: DecidedBy::ALL.map(|by| decided.with_label_values(&[by.label()])),
            ready: int_gauge(&registry, "tollgate_ready", "1 when requests are welcome, 0 when the process is leaving"),
            series_budget: int_gauge(
                &registry,
                "tollgate_series_budget",
                "The most series that metrics can have with this configuration",
            ),
            generation: int_gauge(&registry, "tollgate_config_generation", "Number of the generation that serves"),
            reload_successful: int_gauge(
                &registry,
                "tollgate_config_last_reload_successful",
                "1 when the last reload was accepted",
            ),
            reload_timestamp: int_gauge(
                &registry,
                "tollgate_config_last_reload_success_timestamp_seconds",
                "Unix time of the last accepted configuration",
            ),
            start_to_ready: int_gauge(
                &registry,
                "tollgate_start_to_ready_milliseconds",
                "From the start of the process to readiness",
            ),
            process: Usage::new(&registry),
            registry,
        };
        for result in [ReloadResult::Published, ReloadResult::Unchanged, ReloadResult::Refused] {
            telemetry.reloads.with_label_values(&[result.label()]);
        }
        for reason in ["total", "address", "leaving"] {
            telemetry.connections_refused.with_label_values(&[reason]);
        }
        for result in Handshake::ALL {
            telemetry.handshakes.with_label_values(&[result.label()]);
        }
        for result in [ReloadResult::Published, ReloadResult::Refused] {
            telemetry.certificate_reloads.with_label_values(&[result.label()]);
        }
        for deadline in ["idle", "header"] {
            telemetry.connections_expired.with_label_values(&[deadline]);
        }
        for kind in ["consumer", "stranger", "overflow"] {
            telemetry.limit_entries.with_label_values(&[kind]);
        }
        telemetry
    }

    /// The metrics of one route, to be kept with it. The same name gives the same counters in every generation.
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            name: name.into(),
            requests: self.requests.clone(),
            by_status: std::array::from_fn(|_| OnceLock::new()),
            rejections: self.rejections.clone(),
            observed: self.observed.clone(),
            observed_violations: self.observed_violations.clone(),
            authorisation_observed: self.authorisation_observed.clone(),
            limits_observed: self.limits_observed.clone(),
            request_seconds: self.request_seconds.with_label_values(&[name]),
            service_seconds: self.service_seconds.with_label_values(&[name]),
            gateway_seconds: self.gateway_seconds.with_label_values(&[name]),
        }
    }

    /// The metrics of one service, to be kept with it.
    pub fn service(&self, name: &str) -> ServiceMetrics {
        ServiceMetrics {
            replies: SERVICE_REPLIES.map(|class| self.service_replies.with_label_values(&[name, class])),
            failures: SERVICE_FAILURES.map(|reason| self.service_failures.with_label_values(&[name, reason])),
            connect_failures: self.service_connect_failures.with_label_values(&[name]),
        }
    }

    /// The metrics of one limit of a plan or route, to be found by it.
    pub fn limit(&self, owner: &str, policy: &str) -> LimitMetrics {
        LimitMetrics {
            owner: owner.into(),
            policy: policy.into(),
            near: self.limit_near.with_label_values(&[owner, policy]),
            refusals: self.limit_refusals.with_label_values(&[owner, policy]),
            observed_refusals: self.limit_observed_refusals.clone(),
        }
    }

    /// Counts a decision on shared limits.
    pub fn limits_decided(&self, by: DecidedBy) {
        self.limits_decided[by as usize].inc();
    }

    /// Notes whether the shared store answers.
    pub fn shared_store_up(&self, up: bool) {
        self.shared_store_up.with_label_values(&["redis"]).set(i64::from(up));
    }

    /// The counter of tokens that an authenticator refused for one reason.
    pub fn token_refusals(&self, authenticator: &str, reason: &str) -> IntCounter {
        self.token_refusals.with_label_values(&[authenticator, reason])
    }

    /// The counter of passwords with one result at an authenticator.
    pub fn password_attempts(&self, authenticator: &str, result: &str) -> IntCounter {
        self.password_attempts.with_label_values(&[authenticator, result])
    }

    /// The counter of questions to an auth service with one result.
    pub fn forward_auth(&self, authenticator: &str, result: &str) -> IntCounter {
        self.forward_auth.with_label_values(&[authenticator, result])
    }

    /// Notes a good fetch of a key set; `now` is Unix time in seconds.
    pub fn key_set_fetched(&self, authenticator: &str, now: i64) {
        self.key_fetches.with_label_values(&[authenticator, "good"]).inc();
        self.key_set_timestamp.with_label_values(&[authenticator]).set(now);
    }

    /// Notes a fetch that failed.
    pub fn key_set_missed(&self, authenticator: &str) {
        self.key_fetches.with_label_values(&[authenticator, "failed"]).inc();
    }

    /// Notes how a handshake with a client ended.
    pub fn shook_hands(&self, result: Handshake) {
        self.handshakes.with_label_values(&[result.label()]).inc();
    }

    /// Notes the certificate that a listener serves; `expires` is Unix time in seconds.
    pub fn serves_certificate(&self, listener: &str, file: &str, expires: i64) {
        self.certificate_expires.with_label_values(&[listener, file]).set(expires);
    }

    /// Notes what became of certificates that changed while their generation did not.
    pub fn certificates_changed(&self, result: ReloadResult) {
        self.certificate_reloads.with_label_values(&[result.label()]).inc();
    }

    /// The most series that a scrape can have with this inventory.
    pub fn at_most(&self, of: &Inventory) -> usize {
        self.registry.at_most(of)
    }

    /// Keeps the series of this inventory, which serves, and forgets those of others. A request that is still in flight
    /// counts into nothing then.
    pub fn keep(&self, serving: &Inventory) {
        self.registry.retain(serving);
        for (route, service) in &serving.routed {
            self.route_info.with_label_values(&[route, service]).set(1);
        }
        self.series_budget.set(i64::try_from(self.at_most(serving)).unwrap_or(i64::MAX));
    }

    /// Notes how a reload ended; `now` is Unix time in seconds.
    pub fn reloaded(&self, result: ReloadResult, generation: u64, now: i64) {
        self.reloads.with_label_values(&[result.label()]).inc();
        self.reload_successful.set(i64::from(result != ReloadResult::Refused));
        if result == ReloadResult::Published {
            self.published(generation, now);
        }
    }

    /// Notes the first generation, or a new one; `now` is Unix time in seconds.
    pub fn published(&self, generation: u64, now: i64) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.reload_successful.set(1);
        self.reload_timestamp.set(now);
    }

    #[cfg(test)]
    pub(super) fn families(&self) -> &Families {
        &self.registry
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        self.process.observe();
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            ::log::error!("metrics could not be written: {error}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::named::STATUSES;
    use super::*;

    fn scrape(telemetry: &Telemetry) -> String {
        String::from_utf8(telemetry.render()).unwrap()
    }

    #[test]
    fn known_statuses_are_sorted_so_that_each_has_its_label() {
        assert!(STATUSES.is_sorted());
    }

    #[test]
    fn a_status_outside_the_set_is_counted_as_other() {
        let telemetry = Telemetry::new("1", "abc");
        let route = telemetry.route("users");
        for status in [200, 200, 599, 299] {
            route.answered(status, Duration::from_millis(3));
        }
        let text = scrape(&telemetry);
        assert!(text.contains(r#"tollgate_requests_total{route="users",status="200"} 2"#), "{text}");
        assert!(text.contains(r#"tollgate_requests_total{route="users",status="other"} 2"#), "{text}");
    }

    #[test]
    fn the_same_route_in_two_generations_counts_together() {
        let telemetry = Telemetry::new("1", "abc");
        for _ in 0..2 {
            telemetry.route("users").answered(404, Duration::ZERO);
        }
        assert!(scrape(&telemetry).contains(r#"tollgate_requests_total{route="users",status="404"} 2"#));
    }

    #[test]
    fn a_request_that_was_only_observed_counts_once_and_its_violations_by_type() {
        let telemetry = Telemetry::new("1", "abc");
        telemetry.route("users").observed(["missing", "enum", "missing"].into_iter());
        let text = scrape(&telemetry);
        for line in [
            r#"tollgate_contract_observed_total{route="users"} 1"#,
            r#"tollgate_contract_observed_violations_total{route="users",type="missing"} 2"#,
            r#"tollgate_contract_observed_violations_total{route="users",type="enum"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn replies_count_by_class_and_failures_by_fault() {
        let telemetry = Telemetry::new("1", "abc");
        let service = telemetry.service("users");
        [200, 299, 301, 404, 503, 101, 999].into_iter().for_each(|status| service.replied(status));
        ["service-timeout", "contract-violated"].into_iter().for_each(|reason| service.failed(reason));
        let text = scrape(&telemetry);
        for (family, count) in [
            (r#"replies_total{service="users",status="2xx"}"#, 2),
            (r#"replies_total{service="users",status="3xx"}"#, 1),
            (r#"replies_total{service="users",status="4xx"}"#, 1),
            (r#"replies_total{service="users",status="5xx"}"#, 1),
            (r#"replies_total{service="users",status="other"}"#, 2),
            (r#"failures_total{reason="service-timeout",service="users"}"#, 1),
            (r#"failures_total{reason="service-reply",service="users"}"#, 0),
        ] {
            assert!(
                text.contains(&format!("tollgate_service_{family} {count}\n")),
                "{family} is not {count} in\n{text}"
            );
        }
    }

    #[test]
    fn a_refused_reload_keeps_the_generation() {
        let telemetry = Telemetry::new("1", "abc");
        telemetry.published(1, 10);
        telemetry.reloaded(ReloadResult::Refused, 2, 20);
        let text = scrape(&telemetry);
        for line in [
            "tollgate_config_generation 1",
            "tollgate_config_last_reload_successful 0",
            "tollgate_config_last_reload_success_timestamp_seconds 10",
            r#"tollgate_config_reloads_total{result="refused"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn the_process_shows_its_memory() {
        let text = scrape(&Telemetry::new("1", "abc"));
        let line = text.lines().find(|line| line.starts_with("process_resident_memory_bytes")).unwrap();
        assert!(line.split(' ').next_back().unwrap().parse::<f64>().unwrap() > 100_000.0, "{line}");
    }
}
