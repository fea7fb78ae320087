//! The metrics of one route, service or limit.
//!
//! Each is made by `Telemetry` when a generation is compiled and kept with what it is named after, so that on the request
//! path a metric is an atomic add. What happens seldom (rejections, what is only observed) is looked up when it does.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// Statuses with a label of their own; any other is counted as `other`.
pub(super) const STATUSES: [u16; 42] = [
    101, 200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406,
    408, 409, 410, 411, 412, 413, 414, 415, 416, 421, 422, 425, 426, 429, 431, 500, 502, 503, 504,
];

/// How many labels statuses have.
pub(super) const STATUS_LABELS: usize = STATUSES.len() + 1;

/// Labels of a service's replies: the class of their status.
pub(super) const SERVICE_REPLIES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

/// Which way the bytes of a WebSocket go: from the client, to the client.
pub(super) const WEBSOCKET_DIRECTIONS: [&str; 2] = ["received", "sent"];

/// What can become of a password.
pub(super) const PASSWORD_RESULTS: [&str; 5] = ["right", "wrong", "unknown", "malformed", "busy"];

/// What an auth service can say, and what can go wrong with asking it.
pub(super) const ASK_RESULTS: [&str; 10] =
    ["known", "refused", "forbidden", "no-address", "unreachable", "timeout", "reply", "status", "consumer", "plan"];

/// Why a service had no usable reply: those reasons of rejections that are its fault.
pub(super) const SERVICE_FAILURES: [&str; 4] = ["service-unavailable", "service-timeout", "service-reply", "bad-reply"];

/// What becomes of a request that could be sent again.
pub(super) const RETRY_RESULTS: [&str; 2] = ["sent", "refused"];

/// What becomes of a health check.
pub(super) const CHECK_RESULTS: [&str; 2] = ["good", "bad"];

/// Why a request does not get a place of its service: [`QueueRefusal`] in order.
pub(super) const QUEUE_REFUSALS: [&str; 2] = ["full", "timeout"];

/// What a target of a service can be.
pub const TARGET_STATES: [&str; 4] = ["up", "unhealthy", "ejected", "draining"];

/// The metrics of one route, resolved.
#[derive(Debug)]
pub struct RouteMetrics {
    pub(super) name: Box<str>,
    pub(super) requests: IntCounterVec,
    pub(super) by_status: [OnceLock<IntCounter>; STATUS_LABELS],
    pub(super) rejections: IntCounterVec,
    pub(super) observed: IntCounterVec,
    pub(super) observed_violations: IntCounterVec,
    pub(super) authorisation_observed: IntCounterVec,
    pub(super) limits_observed: IntCounterVec,
    pub(super) request_seconds: Histogram,
    pub(super) service_seconds: Histogram,
    pub(super) gateway_seconds: Histogram,
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

/// The metrics of a route's WebSockets, resolved.
#[derive(Debug, Clone)]
pub struct WebsocketMetrics {
    pub(super) open: IntGauge,
    pub(super) received: IntCounter,
    pub(super) sent: IntCounter,
}

impl WebsocketMetrics {
    /// Counts one more that is open, or one less.
    pub fn opened(&self, change: i64) {
        self.open.add(change);
    }

    /// Counts what came from a client, frames with their heads.
    pub fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    /// Counts what went to a client.
    pub fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }
}

/// What a cache did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// It was answered with what is stored and fresh.
    Hit,
    /// It was answered with what is stored and stale.
    Stale,
    /// The service was asked whether what is stored is still good, and it is.
    Revalidated,
    /// It was answered with what another request brings from the service.
    Collapsed,
    /// It went to the service.
    Miss,
    /// It went to the service, and the cache had nothing to do with it.
    Bypass,
}

impl CacheResult {
    pub(super) const ALL: [Self; 6] =
        [Self::Hit, Self::Stale, Self::Revalidated, Self::Collapsed, Self::Miss, Self::Bypass];

    /// As in metrics and the access line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// The metrics of a route's cache, resolved.
#[derive(Debug)]
pub struct CacheMetrics {
    pub(super) requests: [IntCounter; CacheResult::ALL.len()],
}

impl CacheMetrics {
    /// Counts a request.
    pub fn answered(&self, result: CacheResult) {
        self.requests[result as usize].inc();
    }
}

/// The metrics of one service, resolved.
#[derive(Debug)]
pub struct ServiceMetrics {
    pub(super) replies: [IntCounter; SERVICE_REPLIES.len()],
    pub(super) failures: [IntCounter; SERVICE_FAILURES.len()],
    pub(super) connect_failures: IntCounter,
    pub(super) retries: [IntCounter; RETRY_RESULTS.len()],
    pub(super) ejections: IntCounter,
    pub(super) checks: [IntCounter; CHECK_RESULTS.len()],
}

impl ServiceMetrics {
    /// Of a service that only the gateway itself asks, which is counted elsewhere. Shown nowhere.
    pub fn unregistered() -> Self {
        let counter = || IntCounter::new("unregistered", "Shown nowhere").expect("the name is a valid constant");
        Self {
            replies: SERVICE_REPLIES.map(|_| counter()),
            failures: SERVICE_FAILURES.map(|_| counter()),
            connect_failures: counter(),
            retries: RETRY_RESULTS.map(|_| counter()),
            ejections: counter(),
            checks: CHECK_RESULTS.map(|_| counter()),
        }
    }

    /// Counts a reply.
    pub fn replied(&self, status: u16) {
        let class = usize::from(status / 100);
        let slot = if (2..=5).contains(&class) { class - 2 } else { SERVICE_REPLIES.len() - 1 };
        self.replies[slot].inc();
    }

    /// Counts a rejection, where its reason is the service's fault.
    pub fn failed(&self, reason: &str) {
        if let Some(slot) = SERVICE_FAILURES.iter().position(|known| *known == reason) {
            self.failures[slot].inc();
        }
    }

    /// Counts a connection that could not be opened.
    pub fn unreachable(&self) {
        self.connect_failures.inc();
    }

    /// Counts a request that is sent again.
    pub fn retried(&self) {
        self.retries[0].inc();
    }

    /// Counts a request that is not sent again because too many were.
    pub fn retry_refused(&self) {
        self.retries[1].inc();
    }

    /// Counts a target that is taken out because requests failed.
    pub fn ejected(&self) {
        self.ejections.inc();
    }

    /// Counts a health check.
    pub fn checked(&self, good: bool) {
        self.checks[usize::from(!good)].inc();
    }
}

/// Why a request that may wait for a place of its service gets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueRefusal {
    /// As many as may wait do.
    Full,
    /// It has waited for too long.
    Timeout,
}

/// The metrics of the requests that wait for a service, resolved.
#[derive(Debug, Clone)]
pub struct QueueMetrics {
    pub(super) waiting: IntGauge,
    pub(super) seconds: Histogram,
    pub(super) refusals: [IntCounter; QUEUE_REFUSALS.len()],
}

/// A request that waits, counted until this is dropped.
#[derive(Debug)]
pub struct Waiting<'m>(&'m IntGauge);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl QueueMetrics {
    /// Counts a request that waits.
    pub fn waits(&self) -> Waiting<'_> {
        self.waiting.inc();
        Waiting(&self.waiting)
    }

    /// Notes how long one has waited.
    pub fn waited(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }

    /// Counts a request that gets no place.
    pub fn refused(&self, why: QueueRefusal) {
        self.refusals[why as usize].inc();
    }
}

/// What becomes of copies of requests for a second service.
pub(super) const MIRROR_RESULTS: [&str; 3] = ["sent", "failed", "dropped"];

/// What becomes of the copies of a route's requests, resolved.
#[derive(Debug, Clone)]
pub struct MirrorMetrics {
    pub(super) results: [IntCounter; MIRROR_RESULTS.len()],
}

impl MirrorMetrics {
    /// Counts a copy that was answered.
    pub fn sent(&self) {
        self.results[0].inc();
    }

    /// Counts a copy that was not, or not in time.
    pub fn failed(&self) {
        self.results[1].inc();
    }

    /// Counts a copy that was not made: there is no room for it, or its body is not at hand.
    pub fn dropped(&self) {
        self.results[2].inc();
    }
}

/// Codings that replies are compressed with.
pub(super) const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// Before compression, and after it.
pub(super) const COMPRESSION_STAGES: [&str; 2] = ["plain", "compressed"];

/// What compressing replies does, resolved.
#[derive(Debug, Clone)]
pub struct CompressionMetrics {
    pub(super) bytes: [[IntCounter; COMPRESSION_STAGES.len()]; CODINGS.len()],
    pub(super) skipped: IntCounter,
}

impl CompressionMetrics {
    /// Counts what went into a coding and what came out.
    pub fn passed(&self, coding: &str, plain: usize, compressed: usize) {
        let Some(at) = CODINGS.iter().position(|known| *known == coding) else { return };
        let [before, after] = &self.bytes[at];
        before.inc_by(plain as u64);
        after.inc_by(compressed as u64);
    }

    /// Counts a reply that passes as it is because there is no memory.
    pub fn skipped(&self) {
        self.skipped.inc();
    }
}

/// The metrics of one limit, resolved.
#[derive(Debug)]
pub struct LimitMetrics {
    pub(super) owner: Box<str>,
    pub(super) policy: Box<str>,
    pub(super) near: IntCounter,
    pub(super) refusals: IntCounter,
    pub(super) observed_refusals: IntCounterVec,
}

impl LimitMetrics {
    /// Counts a request that left little of the limit.
    pub fn nearly_exhausted(&self) {
        self.near.inc();
    }

    /// Counts a request that it refused.
    pub fn refused(&self) {
        self.refusals.inc();
    }

    /// Counts a request that it would have refused, were it not only observed.
    pub fn observed(&self) {
        self.observed_refusals.with_label_values(&[&*self.owner, &*self.policy]).inc();
    }
}
