//! Targets that are taken out, by checks and by what happens to requests, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;

use super::{configuration, gateway, get, metric, named, requests, service, state};
use crate::process::instance::{Instance, eventually};
use crate::support::origin::{Origin, Reply};

/// A target that answers checks with this status, and everything else with 200.
fn checked(status: &Arc<AtomicU16>) -> Origin {
    let status = Arc::clone(status);
    Origin::start(move |request| match request.path() {
        "/healthz" => Reply::json(status.load(Ordering::SeqCst), "{}"),
        _ => Reply::json(200, "{}"),
    })
}

fn health() -> serde_json::Value {
    json!({ "path": "/healthz", "interval": "50ms", "timeout": "50ms", "healthy": 1, "unhealthy": 1, "host": "check.test" })
}

fn is(gateway: &Instance, origin: &Origin, wanted: &str) -> bool {
    eventually(|| state(gateway, origin.address()) == wanted)
}

#[test]
fn checks_take_a_target_out_and_bring_it_back() {
    let statuses = [Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(500))];
    let (good, bad) = (checked(&statuses[0]), checked(&statuses[1]));
    let addresses = [good.address(), bad.address()];
    let keys = json!({ "health": health(), "slow_start": "1ms" });
    let (gateway, other) = gateway(&addresses, keys.clone());
    assert!(is(&gateway, &bad, "unhealthy"), "{}", gateway.log());
    assert!(is(&gateway, &good, "up"));
    let check = good.requests().into_iter().find(|request| request.path() == "/healthz").expect("a check");
    assert_eq!((check.values("host"), check.method.as_str()), (vec![&b"check.test"[..]], "GET"));

    bad.take();
    (0..10).for_each(|_| assert_eq!(get(&gateway, "/a").status, 200));
    assert_eq!(requests(&bad).len(), 0);
    let up = |address, state| {
        let series = format!("tollgate_service_targets{{service=\"origin\",state=\"{state}\",target=\"{address}\"}}");
        metric(&gateway, &series)
    };
    assert_eq!((up(addresses[1], "unhealthy"), up(addresses[1], "up")), (Some(1.0), Some(0.0)));
    assert_eq!(up(addresses[0], "up"), Some(1.0));

    // A reload forgets nothing of what it does not change: not for one request.
    let mut changed = configuration(service(&addresses, keys), other.address());
    changed["guard"] = json!({ "header_count": 99 });
    assert_eq!(gateway.reload(&changed)["result"], "published");
    (0..10).for_each(|_| assert_eq!(get(&gateway, "/a").status, 200));
    assert_eq!(requests(&bad).len(), 0, "unhealthy before, unhealthy after");

    statuses[1].store(204, Ordering::SeqCst);
    assert!(is(&gateway, &bad, "up"));
    assert!(eventually(|| {
        get(&gateway, "/a");
        !requests(&bad).is_empty()
    }));
    gateway.logged("target is unhealthy service=origin");
    gateway.logged("target is healthy service=origin");
}

#[test]
fn when_all_checks_fail_requests_pass_nevertheless() {
    let status = Arc::new(AtomicU16::new(500));
    let (one, two) = (checked(&status), checked(&status));
    let (gateway, _other) = gateway(&[one.address(), two.address()], json!({ "health": health() }));
    assert!(is(&gateway, &one, "unhealthy") && is(&gateway, &two, "unhealthy"));
    (0..10).for_each(|_| assert_eq!(get(&gateway, "/a").status, 200));
    assert_eq!((requests(&one).len(), requests(&two).len()), (5, 5));
    let said = gateway.operator("GET", "/services", &[]).text();
    assert!(said.contains("\"panic\": true"), "{said}");
}

#[test]
fn a_target_that_is_not_there_is_unhealthy() {
    let down = crate::support::origin::Unreachable::reserve();
    let (gateway, _other) = gateway(&[down.address()], json!({ "health": health() }));
    assert!(eventually(|| state(&gateway, down.address()) == "unhealthy"));
    gateway.logged("check=connect");
}

#[test]
fn requests_that_fail_eject_their_target_until_its_time_is_over() {
    let broken = Arc::new(AtomicU16::new(1));
    let said = Arc::clone(&broken);
    let bad = Origin::start(move |_| match said.load(Ordering::SeqCst) {
        1 => Reply::raw("").closing(),
        _ => Reply::json(200, "{}"),
    });
    let good = named("{}");
    let ejection = json!({ "failures": 3, "time": "700ms", "max_time": "700ms" });
    let keys = json!({ "ejection": ejection, "retries": { "on": ["reset"], "attempts": 1, "budget": "100%" } });
    let (gateway, _other) = gateway(&[bad.address(), good.address()], keys);
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/a").status, 200);
    }
    assert_eq!(requests(&bad).len(), 3, "then it is out");
    let target = super::targets(&gateway).into_iter().find(|target| target["state"] == "ejected").expect("it is");
    assert_eq!(target["last_failure"]["reason"], "reset", "{target}");
    assert_eq!(metric(&gateway, "tollgate_service_ejections_total{service=\"origin\"}"), Some(1.0));
    gateway.logged("target ejected service=origin");

    broken.store(0, Ordering::SeqCst);
    gateway.logged("target is back service=origin");
    assert!(eventually(|| {
        get(&gateway, "/a");
        requests(&bad).len() > 3
    }));
}

#[test]
fn the_only_target_is_never_ejected() {
    let bad = Origin::start(|_| Reply::raw("").closing());
    let (gateway, _other) = gateway(&[bad.address()], json!({ "ejection": { "failures": 1 } }));
    (0..5).for_each(|_| assert_eq!(get(&gateway, "/a").status, 502));
    assert_eq!(state(&gateway, bad.address()), "up");
}
