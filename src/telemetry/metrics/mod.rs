//! The metrics of the process, in the words of Prometheus.
//!
//! Names begin with `tollgate_`, units are base units, counters end in `_total`. Figures that another part already
//! keeps (connections, limit table, body memory) are read at scrape time through gauges that the part's owner sets
//! just before [`Telemetry::render`]. How many series there can be is counted in `series`.

mod register;

use std::sync::OnceLock;

use prometheus::{Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder};

use super::certificates::Handshake;
use super::named::{
    CHECK_RESULTS, CacheMetrics, CacheResult, CompressionMetrics, LimitMetrics, MIRROR_RESULTS, MirrorMetrics,
    QUEUE_REFUSALS, QueueMetrics, RETRY_RESULTS, RouteMetrics, SERVICE_FAILURES, SERVICE_REPLIES, ServiceMetrics,
    WEBSOCKET_DIRECTIONS, WebsocketMetrics,
};
use super::outlet::Lost;
use super::series::{Families, Inventory};
use super::spans::SpanMetrics;
use super::usage::Usage;

/// Why a line of a log is lost: its place takes lines too slowly, or not at all.
const LOSSES: [&str; 2] = ["slow", "failed"];

/// How a fetch of a key set ends.
pub(super) const KEY_SET_RESULTS: [&str; 2] = ["good", "failed"];

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
    websockets: IntGaugeVec,
    websocket_bytes: IntCounterVec,
    cache_requests: IntCounterVec,
    /// Bytes that stored replies take.
    pub cache_bytes: IntGauge,
    /// The most that they may take.
    pub cache_bytes_limit: IntGauge,
    /// Replies that are stored.
    pub cache_objects: IntGauge,
    cache_evictions: IntCounter,
    service_replies: IntCounterVec,
    service_failures: IntCounterVec,
    service_connect_failures: IntCounterVec,
    service_retries: IntCounterVec,
    service_ejections: IntCounterVec,
    service_checks: IntCounterVec,
    service_queued: IntGaugeVec,
    service_queue_seconds: HistogramVec,
    service_queue_refusals: IntCounterVec,
    /// Addresses of a service's targets, by service, target as written, and what becomes of them.
    pub service_targets: IntGaugeVec,
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
    /// Bytes that what compresses replies takes.
    pub compression_memory: IntGauge,
    /// The most bytes that it may take.
    pub compression_memory_limit: IntGauge,
    mirrored: IntCounterVec,
    /// What compressing replies does.
    pub compression: CompressionMetrics,
    /// Counters held by the limiter, by kind.
    pub limit_entries: IntGaugeVec,
    /// Decisions made by a shared counter.
    pub limit_overflow: IntGauge,
    /// Bytes that the limiter's counters take.
    pub limit_bytes: IntGauge,
    /// The most that they can take.
    pub limit_max_bytes: IntGauge,
    access_dropped: [IntCounter; 2],
    log_dropped: [IntCounter; 2],
    /// What becomes of the spans of traces.
    pub spans: SpanMetrics,
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

    /// The metrics of a route's WebSockets, to be kept with it.
    pub fn websocket(&self, route: &str) -> WebsocketMetrics {
        let [received, sent] =
            WEBSOCKET_DIRECTIONS.map(|direction| self.websocket_bytes.with_label_values(&[route, direction]));
        WebsocketMetrics { open: self.websockets.with_label_values(&[route]), received, sent }
    }

    /// The metrics of a route's copies for a second service, to be kept with it.
    pub fn mirror(&self, route: &str) -> MirrorMetrics {
        MirrorMetrics { results: MIRROR_RESULTS.map(|result| self.mirrored.with_label_values(&[route, result])) }
    }

    /// The metrics of a route's cache, to be kept with it.
    pub fn cache(&self, route: &str) -> CacheMetrics {
        let requests = CacheResult::ALL.map(|result| self.cache_requests.with_label_values(&[route, result.label()]));
        CacheMetrics { requests }
    }

    /// Notes how many replies have had to leave the cache for others since the start.
    pub fn cache_evictions(&self, total: u64) {
        self.cache_evictions.inc_by(total.saturating_sub(self.cache_evictions.get()));
    }

    /// The metrics of one service, to be kept with it.
    pub fn service(&self, name: &str) -> ServiceMetrics {
        ServiceMetrics {
            replies: SERVICE_REPLIES.map(|class| self.service_replies.with_label_values(&[name, class])),
            failures: SERVICE_FAILURES.map(|reason| self.service_failures.with_label_values(&[name, reason])),
            connect_failures: self.service_connect_failures.with_label_values(&[name]),
            retries: RETRY_RESULTS.map(|result| self.service_retries.with_label_values(&[name, result])),
            ejections: self.service_ejections.with_label_values(&[name]),
            checks: CHECK_RESULTS.map(|result| self.service_checks.with_label_values(&[name, result])),
        }
    }

    /// The metrics of the requests that wait for a service.
    pub fn queue(&self, service: &str) -> QueueMetrics {
        QueueMetrics {
            waiting: self.service_queued.with_label_values(&[service]),
            seconds: self.service_queue_seconds.with_label_values(&[service]),
            refusals: QUEUE_REFUSALS.map(|reason| self.service_queue_refusals.with_label_values(&[service, reason])),
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

    /// Notes how many access lines and entries of the process log were lost since the start.
    pub fn lost_lines(&self, access: Lost, log: Lost) {
        for (counters, lost) in [(&self.access_dropped, access), (&self.log_dropped, log)] {
            for (counter, total) in counters.iter().zip([lost.slow, lost.failed]) {
                counter.inc_by(total.saturating_sub(counter.get()));
            }
        }
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
mod tests;
