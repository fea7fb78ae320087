//! How a service is called: what was written of it, compiled.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::policy::standing::{Exile, Thresholds};
use crate::telemetry::QueueMetrics;

/// How a service is called.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What is spoken with it.
    pub protocol: Protocol,
    /// Which target gets a request.
    pub balance: Balance,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// When a target that fails requests gets none for a while; `None`: never.
    pub ejection: Option<Ejection>,
    /// How targets are asked whether they are well; `None`: they are not.
    pub health: Option<HealthCheck>,
    /// Over what time a target that comes back gets its share.
    pub slow_start: Duration,
    /// When a request is sent again.
    pub retries: Retries,
    /// Most requests at the same time; `None`: no cap.
    pub max_requests: Option<usize>,
    /// Whether requests beyond it wait; `None`: they do not.
    pub queue: Option<Queue>,
}

/// What is spoken with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Which target gets a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// Of two that are drawn, the one with fewer requests in flight.
    LeastRequests,
    /// Drawn.
    Random,
    /// Always the same for the same value of a key.
    ConsistentHash(BalanceKey),
}

/// Of what the same value leads to the same target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalanceKey {
    /// The consumer.
    Consumer,
    /// The client's address.
    ClientIp,
    /// The value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The value of a parameter of the gateway path.
    Path(Box<str>),
}

/// How long a service may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// To the end of the reply's header.
    pub response: Duration,
    /// The longest silence after that.
    pub idle: Duration,
    /// From the first contact to the end, retries included.
    pub total: Option<Duration>,
}

impl Timeouts {
    /// What pingora waits for at every read of a reply, whichever: it knows one timeout for all of them.
    pub fn longest_silence(&self) -> Duration {
        self.response.max(self.idle)
    }
}

/// When a target that fails requests gets none for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// So many requests in a row must fail.
    pub failures: u32,
    /// Replies with these statuses are failures, too: the lowest and the highest of each range.
    pub statuses: SmallVec<[(u16, u16); 2]>,
    /// For how long.
    pub exile: Exile,
    /// The share of the targets that may be out, in millionths.
    pub max_millionths: u32,
}

impl Ejection {
    /// How many of so many targets may be out: never the last, and one of two, whatever the share.
    pub fn most(&self, targets: usize) -> usize {
        let share = targets.saturating_mul(self.max_millionths as usize) / 1_000_000;
        share.max(1).min(targets.saturating_sub(1))
    }

    /// Whether a reply with this status is a failure.
    pub fn counts(&self, status: u16) -> bool {
        self.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// How requests wait for a place.
#[derive(Debug, Clone)]
pub struct Queue {
    /// So many at most.
    pub max: usize,
    /// For so long at most.
    pub timeout: Duration,
    /// Their metrics.
    pub metrics: QueueMetrics,
}

/// How targets are asked whether they are well.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// The path of a GET request.
    pub path: Box<str>,
    /// Its `Host`; `None`: the target's own.
    pub host: Option<HeaderValue>,
    /// The time between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// How many decide.
    pub thresholds: Thresholds,
    /// The lowest and the highest good status.
    pub statuses: (u16, u16),
}

/// When a request is sent again.
#[derive(Debug, Clone)]
pub struct Retries {
    /// How often at most.
    pub attempts: u32,
    /// After what.
    pub on: SmallVec<[Retry; 4]>,
    /// The share of the requests that may be retries, in millionths.
    pub budget: u32,
    /// The pause before the first retry; `None`: none, and only targets that were not tried yet are.
    pub backoff: Option<Duration>,
}

impl Retries {
    /// Whether a request is sent again after this.
    pub fn after(&self, what: Retry) -> bool {
        self.on.contains(&what)
    }
}

/// After what a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No connection.
    Connect,
    /// The connection ended.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// This status.
    Status(u16),
}

impl Rules {
    /// For a service that only the gateway itself asks, once, and for no longer than this.
    pub fn plain(timeout: Duration) -> Self {
        Self {
            protocol: Protocol::Http1,
            balance: Balance::RoundRobin,
            timeouts: Timeouts { connect: timeout, response: timeout, idle: timeout, total: None },
            ejection: None,
            health: None,
            slow_start: Duration::from_secs(1),
            retries: Retries { attempts: 0, on: SmallVec::new(), budget: 0, backoff: None },
            max_requests: None,
            queue: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_targets_may_be_out_and_never_the_last() {
        let most = |max_percent: u32, targets| {
            let exile = Exile { time: Duration::from_secs(1), max_time: Duration::from_secs(1) };
            let max_millionths = max_percent * 10_000;
            Ejection { failures: 1, statuses: SmallVec::new(), exile, max_millionths }.most(targets)
        };
        for (max_percent, targets, expected) in
            [(50, 1, 0), (50, 2, 1), (50, 3, 1), (50, 4, 2), (10, 4, 1), (100, 3, 2), (100, 1, 0), (50, 0, 0)]
        {
            assert_eq!(most(max_percent, targets), expected, "{max_percent}% of {targets}");
        }
    }
}
