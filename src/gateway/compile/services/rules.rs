//! How a service is called: balancing, timeouts, checks, ejection, retries.

use http::header::HeaderValue;

use crate::config::{self, Place, Report};
use crate::gateway::service::{
    Balance, BalanceKey, Ejection, HealthCheck, Protocol, Queue, Retries, Retry, Rules, Timeouts,
};
use crate::policy::standing::{Exile, Thresholds};
use crate::telemetry::Telemetry;

/// Most retries of a request.
const MAX_RETRIES: u32 = 5;

/// What is written of a service, apart from where it is.
pub(super) fn rules(
    name: &str,
    service: &config::Service,
    place: &Place,
    telemetry: &Telemetry,
    report: &mut Report,
) -> Option<Rules> {
    let timeouts = &service.timeouts;
    let ejection = ejection(&service.ejection, &place.clone().key("ejection"), report);
    let health = service.health.as_ref().map(|health| check(health, &place.clone().key("health"), report));
    let retries = retries(service.retries.as_ref(), &place.clone().key("retries"), report);
    if service.max_requests == Some(0) {
        report
            .error(place.clone().key("max_requests"), "a service that works on no request is of no use")
            .by_itself()
            .help("leave the key out for no cap");
    }
    let queue = queue(name, service, place, telemetry, report);
    let health = match health {
        Some(check) => Some(check?),
        None => None,
    };
    Some(Rules {
        protocol: match service.protocol {
            config::Protocol::Http1 => Protocol::Http1,
            config::Protocol::Http2 => Protocol::Http2,
        },
        balance: balance(&service.balance),
        timeouts: Timeouts {
            connect: timeouts.connect.get(),
            response: timeouts.response.get(),
            idle: timeouts.idle.get(),
            total: timeouts.total.map(config::Duration::get),
        },
        ejection,
        health,
        slow_start: service.slow_start.get(),
        retries,
        max_requests: service.max_requests.map(|max| max as usize),
        queue,
    })
}

/// How requests wait for one of `max_requests`.
fn queue(
    name: &str,
    service: &config::Service,
    place: &Place,
    telemetry: &Telemetry,
    report: &mut Report,
) -> Option<Queue> {
    let written = service.queue.as_ref()?;
    let at = place.clone().key("queue");
    if service.max_requests.is_none() {
        report
            .error(at.clone(), "without `max_requests` nothing waits")
            .on_key()
            .given(place.clone().key("max_requests"))
            .help("say how many requests the service works on at the same time");
    }
    if written.max == 0 {
        report.error(at.key("max"), "no request fits into this queue").by_itself().help("leave `queue` out");
    }
    Some(Queue { max: written.max as usize, timeout: written.timeout.get(), metrics: telemetry.queue(name) })
}

fn balance(written: &config::Balance) -> Balance {
    let key = match written {
        config::Balance::RoundRobin => return Balance::RoundRobin,
        config::Balance::LeastRequests => return Balance::LeastRequests,
        config::Balance::Random => return Balance::Random,
        config::Balance::ConsistentHash(key) => key,
    };
    Balance::ConsistentHash(match key {
        config::BalanceKey::Consumer => BalanceKey::Consumer,
        config::BalanceKey::ClientIp => BalanceKey::ClientIp,
        config::BalanceKey::Header(name) => BalanceKey::Header(name.0.clone()),
        config::BalanceKey::Cookie(name) => BalanceKey::Cookie(name.as_str().into()),
        config::BalanceKey::Path(name) => BalanceKey::Path(name.as_str().into()),
    })
}

/// `None` where no target may be out.
fn ejection(written: &config::Ejection, place: &Place, report: &mut Report) -> Option<Ejection> {
    at_least_one(written.failures, &place.clone().key("failures"), report);
    if written.max_time < written.time {
        report
            .error(place.clone().key("max_time"), "the longest time is shorter than the first one")
            .given_keys(place, &["time"]);
    }
    (written.max_ejected.millionths() > 0).then(|| Ejection {
        failures: written.failures,
        statuses: written.statuses.iter().map(|range| (range.first, range.last)).collect(),
        exile: Exile { time: written.time.get(), max_time: written.max_time.get() },
        max_millionths: written.max_ejected.millionths(),
    })
}

fn check(written: &config::Health, place: &Place, report: &mut Report) -> Option<HealthCheck> {
    let is_path = written.path.starts_with('/') && written.path.parse::<http::uri::PathAndQuery>().is_ok();
    if !is_path {
        report
            .error(place.clone().key("path"), "this is no path of a request")
            .by_itself()
            .help("for example `/healthz`");
    }
    at_least_one(written.healthy, &place.clone().key("healthy"), report);
    at_least_one(written.unhealthy, &place.clone().key("unhealthy"), report);
    if written.timeout > written.interval {
        report
            .error(place.clone().key("interval"), "the next check begins before this one's time is up")
            .given_keys(place, &["timeout"])
            .help("make `timeout` shorter, or `interval` longer");
    }
    let host = written.host.as_deref().map(str::parse::<HeaderValue>);
    if host.as_ref().is_some_and(|host| host.as_ref().map_or(true, HeaderValue::is_empty)) {
        report.error(place.clone().key("host"), "this is no host name").by_itself();
    }
    is_path.then(|| HealthCheck {
        path: written.path.as_str().into(),
        host: host.and_then(Result::ok),
        interval: written.interval.get(),
        timeout: written.timeout.get(),
        thresholds: Thresholds { healthy: written.healthy, unhealthy: written.unhealthy },
        statuses: (written.status.first, written.status.last),
    })
}

fn at_least_one(count: u32, place: &Place, report: &mut Report) {
    if count == 0 {
        report.error(place.clone(), "it takes at least 1").by_itself();
    }
}

/// Without any: when no connection can be opened, targets that were not tried yet are.
fn retries(written: Option<&config::Retries>, place: &Place, report: &mut Report) -> Retries {
    let Some(written) = written else {
        let on = [Retry::Connect].into_iter().collect();
        return Retries { attempts: config::Retries::default().attempts, on, budget: 0, backoff: None };
    };
    if written.attempts > MAX_RETRIES {
        let place = place.clone().key("attempts");
        report.error(place, format!("a request is sent again at most {MAX_RETRIES} times")).by_itself();
    }
    let on = written.on.iter().map(|on| match on {
        config::RetryOn::Connect => Retry::Connect,
        config::RetryOn::Reset => Retry::Reset,
        config::RetryOn::Timeout => Retry::Timeout,
        config::RetryOn::Status(status) => Retry::Status(*status),
    });
    Retries {
        attempts: written.attempts,
        on: on.collect(),
        budget: written.budget.millionths(),
        backoff: Some(written.backoff.get()),
    }
}
