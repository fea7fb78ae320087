//! The metrics of the process, in the words of Prometheus.
//!
//! Names begin with `tollgate_`, units are base units, counters end in `_total`. Figures that another part already
//! keeps (connections, limit table, body memory) are read at scrape time through gauges that the part's owner sets
//! just before [`Telemetry::render`].

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Statuses with a label of their own; any other is counted as `other`.
const STATUSES: [u16; 40] = [
    200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408,
    409, 410, 411, 412, 413, 414, 415, 416, 421, 422, 425, 429, 431, 500, 502, 503, 504,
];

/// Seconds. From a fast service to a slow report.
const REQUEST_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds. The gateway's own share is microseconds; the upper half shows slow uploads.
const GATEWAY_BUCKETS: [f64; 11] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5, 5.0];

/// All metrics of the process.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    requests: IntCounterVec,
    rejections: IntCounterVec,
    observed: IntCounterVec,
    observed_violations: IntCounterVec,
    authorisation_observed: IntCounterVec,
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
    reloads: IntCounterVec,
    /// Requests between their first phase and their log line.
    pub in_flight: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// Connections closed at accept, by reason.
    pub connections_refused: IntCounterVec,
    /// Connections closed by the guard, by the deadline they missed.
    pub connections_expired: IntCounterVec,
    /// Bytes of request bodies held for checking.
    pub body_memory: IntGauge,
    /// Bytes of temporary files that uploads take.
    pub upload_disk: IntGauge,
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
    generation: IntGauge,
    reload_successful: IntGauge,
    reload_timestamp: IntGauge,
    /// Milliseconds from the start of the process to readiness.
    pub start_to_ready: IntGauge,
    process: ProcessGauges,
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

impl Telemetry {
    /// Registers every metric. `version` and `revision` are shown by `tollgate_build_info`.
    pub fn new(version: &str, revision: &str) -> Self {
        let registry = Registry::new();
        let build = int_gauges(&registry, "tollgate_build_info", "What runs", &["version", "revision"]);
        build.with_label_values(&[version, revision]).set(1);
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
            reloads: counters(&registry, "tollgate_config_reloads_total", "Reloads, by result", &["result"]),
            in_flight: int_gauge(&registry, "tollgate_requests_in_flight", "Requests being served"),
            connections: int_gauge(&registry, "tollgate_connections", "Open client connections"),
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
            body_memory: int_gauge(&registry, "tollgate_body_memory_bytes", "Request bodies held for checking"),
            upload_disk: int_gauge(&registry, "tollgate_upload_disk_bytes", "Temporary files of uploads"),
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
            process: ProcessGauges::new(&registry),
            registry,
        };
        for result in [ReloadResult::Published, ReloadResult::Unchanged, ReloadResult::Refused] {
            telemetry.reloads.with_label_values(&[result.label()]);
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

    /// The counter of refusals by one policy of a plan or route.
    pub fn limit_refusals(&self, owner: &str, policy: &str) -> IntCounter {
        self.limit_refusals.with_label_values(&[owner, policy])
    }

    /// The counter of requests that one policy of a plan or route would have refused, were it not only observed.
    pub fn limit_observed(&self, owner: &str, policy: &str) -> IntCounter {
        self.limit_observed_refusals.with_label_values(&[owner, policy])
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

    /// Forgets the histograms of a route that the configuration no longer has.
    pub fn forget_route(&self, name: &str) {
        for histogram in [&self.request_seconds, &self.service_seconds, &self.gateway_seconds] {
            // An error only says that it is gone already.
            let _ = histogram.remove_label_values(&[name]);
        }
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

/// The metrics of one route, resolved.
#[derive(Debug)]
pub struct RouteMetrics {
    name: Box<str>,
    requests: IntCounterVec,
    by_status: [OnceLock<IntCounter>; STATUSES.len() + 1],
    rejections: IntCounterVec,
    observed: IntCounterVec,
    observed_violations: IntCounterVec,
    authorisation_observed: IntCounterVec,
    limits_observed: IntCounterVec,
    request_seconds: Histogram,
    service_seconds: Histogram,
    gateway_seconds: Histogram,
}

impl RouteMetrics {
    /// Counts an answered request.
    pub fn answered(&self, status: u16, total: Duration) {
        let slot = STATUSES.binary_search(&status).unwrap_or(STATUSES.len());
        self.by_status[slot]
            .get_or_init(|| {
                let label = STATUSES.get(slot).map_or_else(|| "other".to_owned(), u16::to_string);
                self.requests.with_label_values(&[&*self.name, &label])
            })
            .inc();
        self.request_seconds.observe(total.as_secs_f64());
    }

    /// Counts a request that the gateway answered itself.
    pub fn rejected(&self, reason: &'static str) {
        self.rejections.with_label_values(&[&*self.name, reason]).inc();
    }

    /// Counts a request that passed although it violates its contract, and its violations by type.
    pub fn observed(&self, types: impl Iterator<Item = &'static str>) {
        self.observed.with_label_values(&[&*self.name]).inc();
        for kind in types {
            self.observed_violations.with_label_values(&[&*self.name, kind]).inc();
        }
    }

    /// Counts a request that authorisation let pass although it fails this condition.
    pub fn observed_condition(&self, condition: &'static str) {
        self.authorisation_observed.with_label_values(&[&*self.name, condition]).inc();
    }

    /// Counts a request that limits let pass although one is used up.
    pub fn observed_limits(&self) {
        self.limits_observed.with_label_values(&[&*self.name]).inc();
    }

    /// Notes how long the gateway took to decide.
    pub fn decided(&self, after: Duration) {
        self.gateway_seconds.observe(after.as_secs_f64());
    }

    /// Notes how long the service took to reply.
    pub fn served(&self, after: Duration) {
        self.service_seconds.observe(after.as_secs_f64());
    }
}

/// Figures of the process itself, under the names Prometheus' client libraries use.
#[derive(Debug)]
struct ProcessGauges {
    cpu_seconds: prometheus::Gauge,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    start_time: IntGauge,
}

impl ProcessGauges {
    fn new(registry: &Registry) -> Self {
        let cpu_seconds = prometheus::Gauge::new("process_cpu_seconds_total", "User and system CPU time")
            .expect("the name is a valid metric name");
        register(registry, cpu_seconds.clone());
        let gauges = Self {
            cpu_seconds,
            resident_bytes: int_gauge(registry, "process_resident_memory_bytes", "Resident memory"),
            open_fds: int_gauge(registry, "process_open_fds", "Open file descriptors"),
            max_fds: int_gauge(registry, "process_max_fds", "Most file descriptors that may be open"),
            start_time: int_gauge(registry, "process_start_time_seconds", "Unix time of the start"),
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        gauges.start_time.set(i64::try_from(now.as_secs()).unwrap_or_default());
        gauges
    }

    /// Reads `/proc/self`. A figure that cannot be read keeps its last value.
    fn observe(&self) {
        let usage = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        self.max_fds.set(usage.current.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX));
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(entries.count()).unwrap_or_default());
        }
        let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
        // Fields are counted from behind the command's name, which may hold spaces and parentheses.
        let Some((_, fields)) = stat.rsplit_once(')') else { return };
        let number =
            |index: usize| fields.split_ascii_whitespace().nth(index).and_then(|text| text.parse::<u64>().ok());
        if let (Some(user), Some(system)) = (number(11), number(12)) {
            let ticks = rustix::param::clock_ticks_per_second().max(1);
            self.cpu_seconds.set((user + system) as f64 / ticks as f64);
        }
        if let Some(pages) = number(21) {
            let bytes = pages.saturating_mul(rustix::param::page_size() as u64);
            self.resident_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid constants");
    register(registry, metric.clone());
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let metric = IntCounter::new(name, help).expect("the name is a valid constant");
    register(registry, metric.clone());
    metric
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let metric = IntGauge::new(name, help).expect("the name is a valid constant");
    register(registry, metric.clone());
    metric
}

fn int_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are valid constants");
    register(registry, metric.clone());
    metric
}

fn histograms(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let metric = HistogramVec::new(options, &["route"]).expect("names and labels are valid constants");
    register(registry, metric.clone());
    metric
}

fn register(registry: &Registry, metric: impl prometheus::core::Collector + 'static) {
    registry.register(Box::new(metric)).expect("each metric is registered once per process");
}

#[cfg(test)]
mod tests {
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
