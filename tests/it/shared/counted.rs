//! Of all requests to all gateways exactly as many pass as a limit says.

use std::sync::mpsc;
use std::thread;

use serde_json::json;

use super::*;
use crate::limits::Gate;
use crate::process::instance::eventually;
use crate::support::client::ask;
use crate::support::origin::Reply;

#[test]
fn exactly_as_many_pass_on_all_gateways_as_the_limit_says() {
    let (redis, origin) = (Redis::start(), Origin::json("{}"));
    let nodes = nodes(&file(&origin, &redis.url(), &json!({})));
    for (path, key) in [("/rate", ""), ("/quota", ""), ("/plan", "key-several")] {
        assert_eq!(storm(&nodes, path, key), 100, "{path}");
        assert_eq!(origin.take().len(), 100, "{path}: the service sees those that pass and no other");
        let refused = ask(nodes[0].public, &request("GET", path, &[("x-api-key", key)], b""));
        assert_eq!(refused.status, 429);
        assert!(refused.value("retry-after").is_some() && refused.value("ratelimit").is_some(), "{refused:?}");
    }
    let asked = nodes.iter().map(|node| labelled(node, "tollgate_shared_limit_decisions_total", "by=\"store\""));
    assert_eq!(asked.sum::<f64>(), (3 * NODES * OFFERED + 3) as f64);
    let failures: f64 = nodes.iter().filter_map(|node| node.metric("tollgate_shared_store_failures_total")).sum();
    assert_eq!(failures, 0.0);
    assert!(redis.ask(&["DBSIZE"]).trim_start_matches(':').trim().parse::<usize>().unwrap() >= 6);
}

#[test]
fn a_gateway_that_starts_later_goes_on_where_the_others_are() {
    let (redis, origin) = (Redis::start(), Origin::json("{}"));
    let file = file(&origin, &redis.url(), &json!({}));
    let one = |node: &Instance| ask(node.public, &request("GET", "/quota", &[], b""));
    let first = Instance::start(&file);
    for left in (90..100).rev() {
        assert_eq!(one(&first).value("x-ratelimit-remaining"), Some(left.to_string().as_str()));
    }
    drop(first);
    let later = Instance::start(&file);
    assert_eq!(one(&later).value("x-ratelimit-remaining"), Some("89"));
    let mut other = file.clone();
    other["store"]["prefix"] = json!("other-team");
    assert_eq!(one(&Instance::start(&other)).value("x-ratelimit-remaining"), Some("99"), "a group of its own");
}

#[test]
fn no_more_are_in_flight_on_all_gateways_than_the_plan_allows() {
    let redis = Redis::start();
    let gate = std::sync::Arc::new(Gate::default());
    let held = std::sync::Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        held.pass();
        Reply::json(200, "{}")
    });
    let nodes = nodes(&file(&origin, &redis.url(), &json!({})));
    let slow = request("GET", "/plan", &[("x-api-key", "key-slow")], b"");
    let (answers, answered) = mpsc::channel();
    for number in 0..60 {
        let (answers, address, slow) = (answers.clone(), nodes[number % NODES].public, slow.clone());
        thread::spawn(move || answers.send(ask(address, &slow).status));
    }
    let refused: Vec<u16> = answered.iter().take(55).collect();
    assert!(refused.iter().all(|status| *status == 429), "{refused:?}");
    assert!(eventually(|| gate.now() == 5));
    gate.open();
    assert_eq!(answered.iter().take(5).collect::<Vec<_>>(), [200; 5]);
    // A release is on its way for a moment.
    for number in 0..30 {
        let address = nodes[number % NODES].public;
        assert!(eventually(|| ask(address, &slow).status == 200), "each place is used again");
    }
    assert_eq!(gate.most(), 5);
}

#[test]
fn leases_save_asking_and_stay_within_their_bound() {
    let (redis, origin) = (Redis::start(), Origin::json("{}"));
    let nodes = nodes(&file(&origin, &redis.url(), &json!({"rate_sharing": "batched"})));
    // Two of a hundred at a time.
    const LEASED: usize = NODES * 2;
    let rate = storm(&nodes, "/rate", "");
    assert!((100 - LEASED..=100 + LEASED).contains(&rate), "{rate}");
    for (path, key) in [("/quota", ""), ("/plan", "key-several")] {
        let mut passed = storm(&nodes, path, key);
        assert!((100 - LEASED..=100).contains(&passed), "{path}: {passed}");
        // What one gateway has left over goes back, and another one gets it.
        let all = eventually(|| {
            passed += storm(&nodes[..1], path, key);
            passed >= 100
        });
        assert!(all, "{path}: {passed}");
        assert_eq!(passed + storm(&nodes, path, key), 100, "{path}");
    }
    let failures: f64 = nodes.iter().filter_map(|node| node.metric("tollgate_shared_store_failures_total")).sum();
    assert_eq!(failures, 0.0);
    let by = |label: &str| {
        nodes.iter().map(|node| labelled(node, "tollgate_shared_limit_decisions_total", label)).sum::<f64>()
    };
    let (before, asked) = (by("by=\"lease\""), by("by=\"store\""));
    assert_eq!(storm(&nodes, "/plan", "key-wide"), NODES * OFFERED);
    let (leased, asked) = (by("by=\"lease\"") - before, by("by=\"store\"") - asked);
    assert!(leased > asked, "{leased} were paid from leases of a hundred, for {asked} Redis was asked");
}
