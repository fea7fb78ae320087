//! Redis goes away and comes back, or was never there: nobody hears of it who need not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::process::instance::eventually;
use crate::support::DEADLINE;
use crate::support::client::{ask, fetch};
use crate::support::gateway::check;

#[test]
fn a_redis_killed_under_load_fails_no_request_and_counting_resumes() {
    let (mut redis, origin) = (Redis::start(), Origin::json("{}"));
    let nodes = nodes(&file(&origin, &redis.url(), &json!({"timeout": "1s"})));
    let wide = request("GET", "/plan", &[("x-api-key", "key-wide")], b"");
    let done = AtomicBool::new(false);
    let load = |address: SocketAddr| {
        let mut client = Client::connect(address);
        let mut answered = 0_usize;
        while !done.load(Ordering::Relaxed) {
            let status = client.ask(&wide).expect("every request is answered").status;
            assert_eq!(status, 200, "after {answered}");
            answered += 1;
        }
        answered
    };
    thread::scope(|scope| {
        let load = &load;
        let threads: Vec<_> =
            nodes.iter().flat_map(|node| [node.public; 3]).map(|at| scope.spawn(move || load(at))).collect();
        let all = |up: bool| {
            let reached = eventually(|| nodes.iter().all(|node| is_up(node) == up));
            done.fetch_or(!reached, Ordering::Relaxed);
            assert!(reached, "not all gateways say up={up}:\n{}", nodes[0].log());
        };
        for _ in 0..2 {
            all(true);
            redis.kill();
            all(false);
            redis.restart();
        }
        all(true);
        done.store(true, Ordering::Relaxed);
        let answered: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(answered > 100, "{answered}");
    });
    assert_eq!(storm(&nodes, "/rate", ""), 100, "counting resumes, together");
    for node in &nodes {
        assert!(labelled(node, "tollgate_shared_limit_decisions_total", "by=\"local\"") > 0.0);
        let log = node.log();
        assert_eq!(log.matches("shared store failed").count(), 2, "{log}");
        assert_eq!(log.matches("shared store answers").count(), 3, "{log}");
    }
}

#[test]
fn what_holds_without_redis_is_what_the_file_says() {
    for (policy, expected) in [("local", [200, 429]), ("allow", [200, 200]), ("deny", [503, 503])] {
        let (mut redis, origin) = (Redis::start(), Origin::json("{}"));
        redis.kill();
        let file = file(&origin, &redis.url(), &json!({"on_store_failure": policy}));
        let node = Instance::start(&file);
        node.logged("shared store cannot be reached");
        let statuses: Vec<u16> = (0..101).map(|_| fetch(node.public, "/rate").status).collect();
        assert_eq!([statuses[0], statuses[100]], expected, "{policy}");
        assert_eq!(fetch(node.public, "/free").status, 200, "{policy}: nothing to count");
        if policy == "deny" {
            let refused = fetch(node.public, "/rate");
            assert!(refused.text().contains("\"urn:tollgate:problem:limits-unavailable\""), "{}", refused.text());
            assert_eq!(refused.value("retry-after"), Some("1"));
        }
        redis.restart();
        assert!(eventually(|| is_up(&node)), "{policy}: {}", node.log());
        assert_eq!(storm(std::slice::from_ref(&node), "/rate", ""), 100, "{policy}: Redis has seen nothing yet");
    }
}

#[test]
fn one_request_waits_for_a_redis_that_hangs_and_no_further_one() {
    let (redis, origin) = (Redis::start(), Origin::json("{}"));
    let node = Instance::start(&file(&origin, &redis.url(), &json!({"timeout": "2s"})));
    assert_eq!(fetch(node.public, "/rate").status, 200);
    redis.signal("STOP");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(fetch(node.public, "/rate").status, 200);
    }
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert!(!is_up(&node));
    redis.signal("CONT");
    assert!(eventually(|| is_up(&node)), "{}", node.log());
    let used = fetch(node.public, "/rate");
    assert_eq!(used.status, 200);
    let left: usize = used.value("x-ratelimit-remaining").unwrap().parse().unwrap();
    assert!((95..=98).contains(&left), "{left}: those that were counted alone are not in Redis");
}

#[test]
fn the_password_of_redis_is_printed_nowhere() {
    let origin = Origin::json("{}");
    let redis = Redis::with(&["--requirepass", "right-word"]);
    for (word, up) in [("wrong-word", false), ("right-word", true)] {
        let url = redis.url().replace("redis://", &format!("redis://:{word}@"));
        let file = file(&origin, &url, &json!({"timeout": "1s"}));
        let node = Instance::start(&file);
        assert_eq!(is_up(&node), up, "{}", node.log());
        assert_eq!(fetch(node.public, "/rate").status, 200);
        let mut broken = file.clone();
        broken["store"]["redis"] = json!(format!("no{url}"));
        let shown = [
            node.log(),
            node.out(),
            node.operator("GET", "/config", &[]).text(),
            node.operator("GET", "/metrics", &[]).text(),
            node.reload(&broken).to_string(),
            node.log(),
            check(&broken.to_string()).text,
            ask(node.public, &request("GET", "/none", &[], b"")).text(),
        ];
        assert!(shown[6].contains("this is no URL of a Redis"), "{}", shown[6]);
        assert!(shown.iter().all(|text| !text.contains(word)), "{shown:?}");
    }
}
