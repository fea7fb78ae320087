//! What becomes of services and their targets, for operators and for metrics.

use std::collections::HashMap;
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::gateway::service::{Failure, Target};
use crate::gateway::{Gateway, Service};
use crate::policy::standing::Standing;
use crate::telemetry::{TARGET_STATES, Telemetry};

/// Every service with its targets.
pub fn describe(gateway: &Gateway) -> Value {
    gateway.services.iter().map(|service| describe_service(service)).collect()
}

fn describe_service(service: &Service) -> Value {
    let targets = service.targets();
    json!({
        "name": &*service.name,
        "in_flight": targets.iter().map(|target| target.state.in_flight()).sum::<usize>(),
        "max_requests": service.rules.max_requests,
        "queued": service.state.places.waiting(),
        "panic": service.is_desperate(),
        "targets": targets.iter().map(|target| describe_target(target)).collect::<Vec<_>>(),
    })
}

fn describe_target(target: &Target) -> Value {
    let known = &target.state;
    let failure = known.last_failure().map(|(failure, at)| match failure {
        Failure::Status(status) => json!({ "reason": failure.word(), "status": status, "at": time(at) }),
        _ => json!({ "reason": failure.word(), "at": time(at) }),
    });
    json!({
        "target": &*target.written(),
        "address": &*target.label,
        "weight": target.weight,
        "state": state(target),
        "since": time(known.since()),
        "in_flight": known.in_flight(),
        "last_failure": failure,
    })
}

fn time(at: SystemTime) -> Option<String> {
    Timestamp::try_from(at).ok().map(|at| format!("{at:.3}"))
}

/// What becomes of a target, as one of [`TARGET_STATES`].
fn state(target: &Target) -> &'static str {
    match target.state.standing() {
        _ if target.weight == 0 => "draining",
        Standing::Up => "up",
        Standing::Unhealthy => "unhealthy",
        Standing::Ejected => "ejected",
    }
}

/// Sets the metrics of targets: how many addresses of each, as it is written, are in each state. A name that leads to
/// other addresses every day makes no further series.
pub fn count(gateway: &Gateway, telemetry: &Telemetry) {
    for service in &gateway.services {
        let mut counts: HashMap<_, i64> = HashMap::new();
        for target in service.targets().iter() {
            *counts.entry((target.written(), state(target))).or_default() += 1;
        }
        for (name, written) in service.written_targets() {
            for state in TARGET_STATES {
                let count = counts.get(&(written.clone(), state)).copied().unwrap_or_default();
                telemetry.service_targets.with_label_values(&[&*name, &*written, state]).set(count);
            }
        }
    }
}
