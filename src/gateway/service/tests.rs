//! Targets of a service under requests, checks, failures, time and reloads.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::policy::balance::hash;
use crate::policy::standing::{Exile, Thresholds};

use super::*;

const EXILE: Exile = Exile { time: Duration::from_secs(10), max_time: Duration::from_secs(300) };

fn rules() -> Rules {
    let ejection = Ejection { failures: 3, statuses: SmallVec::new(), exile: EXILE, max_millionths: 500_000 };
    let health = HealthCheck {
        path: "/".into(),
        host: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        thresholds: Thresholds { healthy: 1, unhealthy: 1 },
        statuses: (200, 299),
    };
    Rules { ejection: Some(ejection), health: Some(health), ..Rules::plain(Duration::from_secs(1)) }
}

/// A service whose hosts are single letters, `a` for the address that ends with 97, each with its weight.
fn service_of(hosts: &[(&str, u32)], rules: Rules, before: Option<&Service>) -> Service {
    let authorities = hosts
        .iter()
        .map(|(host, weight)| Authority {
            host: (*host).into(),
            port: 80,
            header: host.parse().unwrap(),
            weight: *weight,
        })
        .collect();
    let metrics = crate::telemetry::Telemetry::new("", "").service("users");
    Service::new("users", "/api/", HostHeader::Service, authorities, rules, metrics, before)
}

fn service(hosts: &[&str]) -> Service {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host, 1)).collect();
    service_of(&hosts, rules(), None)
}

fn resolved(hosts: &[(&str, u32)], rules: Rules) -> Service {
    let service = service_of(hosts, rules, None);
    service.refresh(&letters);
    service
}

fn letters(host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![at(host.as_bytes()[0])])
}

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

/// The hosts of so many requests.
fn picked(service: &Service, count: usize) -> String {
    (0..count).map(|_| service.next_target().map_or("-".to_owned(), |target| host(&target))).collect()
}

fn host(target: &Target) -> String {
    target.host.to_str().unwrap().to_owned()
}

fn target(service: &Service, wanted: &str) -> Arc<Target> {
    service.targets().iter().find(|target| host(target) == wanted).cloned().unwrap()
}

fn fail(service: &Service, wanted: &str, times: usize, now: Instant) {
    let target = target(service, wanted);
    (0..times).for_each(|_| service.failed(&target, Failure::Reset, now));
}

const ABC: [(&str, u32); 3] = [("a", 1), ("b", 1), ("c", 1)];

#[test]
fn targets_are_used_in_turn() {
    let service = service(&["a", "b", "c"]);
    assert!(service.next_target().is_none());
    service.refresh(&letters);
    assert_eq!(picked(&service, 6), "abcabc");
}

#[test]
fn weights_decide_how_often_and_zero_drains() {
    assert_eq!(picked(&resolved(&[("a", 4), ("b", 1), ("c", 1)], rules()), 12), "aabaacaabaac");
    assert_eq!(picked(&resolved(&[("a", 1), ("b", 0)], rules()), 3), "aaa");
    assert_eq!(picked(&resolved(&[("a", 0), ("b", 0)], rules()), 2), "--");
}

#[test]
fn a_failed_lookup_keeps_the_last_good_addresses() {
    let service = service(&["a", "b"]);
    service.refresh(&letters);
    let before = target(&service, "a");
    let failed = service.refresh(&|host, _| match host {
        "a" => Err(io::Error::other("no answer")),
        _ => Ok(vec![at(9)]),
    });
    assert_eq!(failed.len(), 1);
    assert_eq!(service.addresses(), [at(b'a'), at(9)]);
    assert!(Arc::ptr_eq(&before, &target(&service, "a")), "what stays keeps its connections");
}

#[test]
fn a_name_that_moves_leaves_the_others_alone() {
    let service = resolved(&[("a", 1), ("b", 1)], rules());
    let before = target(&service, "b");
    let moved = |last: &[u8]| service.moved("a", &last.iter().map(|last| at(*last).ip()).collect::<Vec<_>>());
    assert!(moved(&[1, 2]));
    assert_eq!(service.addresses(), [at(1), at(2), at(b'b')]);
    assert!(!moved(&[1, 2]), "nothing has changed");
    assert!(!service.moved("other", &[at(3).ip()]));
    assert!(Arc::ptr_eq(&before, &target(&service, "b")), "what stays keeps its connections");
}

#[test]
fn a_new_generation_keeps_addresses_that_nobody_knows_any_more() {
    let before = resolved(&[("a", 1), ("b", 1)], rules());
    let after = service_of(&[("b", 3), ("c", 1)], rules(), Some(&before));
    after.begin_with(&before);
    let failed = after.refresh(&|_, _| Err(io::Error::other("no answer")));
    assert_eq!((failed.len(), after.addresses()), (2, vec![at(b'b')]));
    assert_eq!(target(&after, "b").weight, 3, "under the new rules");
}

#[test]
fn only_names_can_change() {
    let names = |hosts: &[&str]| service(hosts).names().map(str::to_owned).collect::<Vec<_>>();
    assert!(names(&["192.0.2.1", "::1"]).is_empty());
    assert_eq!(names(&["192.0.2.1", "users.internal"]), ["users.internal"]);
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
    let now = Instant::now();
    let service = resolved(&ABC, rules());
    fail(&service, "b", 2, now);
    service.succeeded(&target(&service, "b"));
    fail(&service, "b", 2, now);
    assert_eq!(picked(&service, 3), "abc");
    fail(&service, "b", 1, now);
    assert!(!picked(&service, 6).contains('b'));
}

#[test]
fn no_more_than_the_share_is_ejected_and_never_the_last() {
    let now = Instant::now();
    for (hosts, left) in [(&ABC[..1], "a"), (&ABC[..2], "b"), (&ABC, "bc")] {
        let service = resolved(hosts, rules());
        hosts.iter().for_each(|(host, _)| fail(&service, host, 9, now));
        let mut used: Vec<char> = picked(&service, 12).chars().collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.into_iter().collect::<String>(), left);
    }
}

#[test]
fn an_ejected_target_comes_back_slowly_and_goes_at_its_first_failure() {
    let mut now = Instant::now();
    let slow = Rules { slow_start: Duration::from_secs(10), ..rules() };
    let service = resolved(&ABC, slow);
    fail(&service, "b", 3, now);
    assert!(service.settle(now), "it waits for the end of its time");
    now += EXILE.time;
    assert!(service.settle(now), "its share still grows");
    let share = |service: &Service| picked(service, 210).matches('b').count();
    assert_eq!(share(&service), 10, "a tenth of a share");
    now += Duration::from_secs(5);
    service.settle(now);
    assert!((45..60).contains(&share(&service)), "six tenths of a share");
    fail(&service, "b", 1, now);
    assert_eq!(share(&service), 0);
    now += EXILE.time;
    service.settle(now);
    assert_eq!(share(&service), 0, "the time has doubled");
    now += EXILE.time + Duration::from_secs(11);
    service.settle(now);
    assert!(!{
        now += Duration::from_secs(11);
        service.settle(now)
    });
    assert_eq!(share(&service), 70);
}

#[test]
fn checks_take_targets_out_and_when_all_fail_none() {
    let now = Instant::now();
    let service = resolved(&ABC, rules());
    let check = |host: &str, good: bool| {
        service.checked(&target(&service, host), if good { Ok(()) } else { Err("status 500") }, now);
    };
    check("a", false);
    assert!(!picked(&service, 6).contains('a') && !service.is_desperate());
    check("b", false);
    check("c", false);
    assert_eq!(picked(&service, 3).len(), 3);
    assert!(picked(&service, 3).contains('a') && service.is_desperate());
    check("c", true);
    assert_eq!(picked(&service, 3), "ccc");
}

#[test]
fn a_reload_keeps_what_is_known_of_targets_that_stay() {
    let now = Instant::now();
    let old = resolved(&ABC, rules());
    fail(&old, "b", 3, now);
    old.checked(&target(&old, "c"), Err("status 500"), now);
    let new = service_of(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], rules(), Some(&old));
    new.refresh(&letters);
    assert_eq!(picked(&new, 4), "adad");
    // What happens in one generation holds in the other.
    new.settle(now + EXILE.time);
    assert!(picked(&old, 40).contains('b'));
    let unchecked = service_of(&ABC, Rules { health: None, ..rules() }, Some(&new));
    unchecked.refresh(&letters);
    assert!(picked(&unchecked, 40).contains('c'), "nobody checks it any more");
}

#[test]
fn what_was_tried_is_left_out_where_there_is_another() {
    for balance in
        [Balance::RoundRobin, Balance::Random, Balance::LeastRequests, Balance::ConsistentHash(BalanceKey::ClientIp)]
    {
        let service = resolved(&ABC, Rules { balance: balance.clone(), ..rules() });
        for key in 0..50 {
            let mut tried = Vec::new();
            for attempt in 0..4 {
                let picked = service.pick(Some(hash(&[key])), &tried).unwrap();
                assert_eq!(picked.again, attempt == 3, "{balance:?}");
                tried.push(picked.target.address);
            }
        }
    }
}

#[test]
fn a_key_leads_to_one_target_and_only_keys_of_one_that_is_out_move() {
    let now = Instant::now();
    let service = resolved(&ABC, Rules { balance: Balance::ConsistentHash(BalanceKey::ClientIp), ..rules() });
    let owners = || -> HashMap<u8, String> {
        (0..=255).map(|key| (key, host(&service.pick(Some(hash(&[key])), &[]).unwrap().target))).collect()
    };
    let before = owners();
    assert_eq!(before, owners());
    fail(&service, "b", 3, now);
    let after = owners();
    assert!(before.iter().all(|(key, owner)| owner == "b" || after[key] == *owner));
    assert!(after.values().all(|owner| owner != "b"));
    assert!(service.pick(None, &[]).is_some(), "without a key in turn");
}

#[test]
fn of_two_that_are_drawn_the_idler_is_taken() {
    let service = resolved(&ABC[..2], Rules { balance: Balance::LeastRequests, ..rules() });
    let busy: Vec<_> = (0..5).map(|_| Flight::begin(&target(&service, "a"))).collect();
    assert_eq!(picked(&service, 20), "b".repeat(20));
    drop(busy);
    let both = picked(&service, 100);
    assert!(both.contains('a') && both.contains('b'));
}
