//! Conditions and limits that are only observed: what they would refuse passes, is counted and logged; the counters of
//! limits are those that enforcing would have.

use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use super::{Stage, file, route};
use crate::process::instance::{Instance, consumer};
use crate::support::client::{Client, Response, request};
use crate::support::origin::{Origin, Reply};

/// `decision reason:by …`, as the access line has it.
fn told(stage: &Stage, answer: &Response) -> String {
    let line = stage.line(answer);
    let one = |would: &Value| format!(" {}:{}", would["reason"].as_str().unwrap(), would["by"].as_str().unwrap());
    let would: String = line["would_refuse"].as_array().into_iter().flatten().map(one).collect();
    format!("{}{would}", line["decision"].as_str().unwrap())
}

#[test]
fn conditions_that_are_observed_refuse_nobody_but_are_counted() {
    let stage = Stage::set(json!({"routes": [
        route("one", json!({
            "allow": {"groups": ["staff"], "plans": ["gold"], "addresses": ["10.0.0.0/8"]},
            "mode": {"authorisation": "observe"},
            "path_params": {},
            "query_params": {"n": {"type": "integer", "optional": true}},
        })),
    ]}));
    for (who, from, target, status, expected) in [
        ("alice", "10.0.0.1", "/one", 200, "admitted"),
        ("bob", "10.0.0.1", "/one", 200, "observed forbidden:allow.groups"),
        // Enforced, the address would have been the end of it.
        ("bob", "192.0.2.1", "/one", 200, "observed forbidden:allow.addresses"),
        ("alice", "192.0.2.1", "/one", 200, "observed forbidden:allow.addresses"),
        // Nobody becomes known by it, and the contract is another matter.
        ("-", "192.0.2.1", "/one", 401, "credential-missing forbidden:allow.addresses"),
        ("eve", "10.0.0.1", "/one", 401, "credential-unknown"),
        ("bob", "10.0.0.1", "/one?n=x", 422, "contract-violated forbidden:allow.groups"),
    ] {
        stage.origin.take();
        let answer = stage.call(who, from, target);
        assert_eq!((answer.status, told(&stage, &answer).as_str()), (status, expected), "{who} {from} {target}");
        let seen = stage.origin.take();
        assert_eq!(seen.len(), usize::from(status == 200));
        assert!(seen.iter().all(|seen| seen.values("x-consumer-name") == [who.as_bytes()]), "{who}");
    }
    let count = |condition| {
        stage.metric(&format!(r#"tollgate_authorisation_observed_total{{condition="{condition}",route="one"}}"#))
    };
    assert_eq!(["allow.groups", "allow.addresses", "allow.plans"].map(count), [2, 3, 0]);
    assert_eq!(stage.metric(r#"tollgate_rejections_total{reason="forbidden",route="one"}"#), 0);
}

/// A plan with a total and a rate for each route, and a route with a limit of its own.
fn limited(origin: &Origin, mode: Value) -> Value {
    let limits = json!([{"rate": "3/day", "by": "client_ip"}]);
    let routes = json!([route("trial", json!({"mode": mode, "limits": limits})), route("old", json!({})),]);
    let mut file = file(origin, json!({"plans": {"gold": {"total": "5/day"}, "free": {}}, "routes": routes}));
    file["consumers"]["carol"] = consumer("carol", "gold");
    file
}

#[test]
fn limits_that_are_observed_refuse_nobody_and_count_as_if_they_did() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&limited(&origin, json!({"limits": "observe"})));
    let stage = Stage { origin, gateway };
    let left = |answer: &Response| answer.value("ratelimit").unwrap_or_default().to_owned();
    let sent = |from: &str, expected: &str, remaining: [u64; 2]| {
        let answer = stage.call("alice", from, "/trial");
        assert_eq!((answer.status, told(&stage, &answer).as_str()), (200, expected), "{from}");
        assert_eq!(answer.value("retry-after"), None, "nobody has to wait");
        let [total, own] = remaining;
        let said = left(&answer);
        let items: Vec<&str> = said.split(", ").map(|item| item.split(";t=").next().unwrap()).collect();
        assert_eq!(items, [format!("\"total-day\";r={total}"), format!("\"client-ip-day\";r={own}")], "{said}");
    };
    for number in 1..=3 {
        sent("10.0.0.1", "admitted", [5 - number, 3 - number]);
    }
    // The limit of the route is used up: the request spends nothing of the plan either.
    sent("10.0.0.1", "observed quota-exceeded:client-ip-day", [2, 0]);
    sent("10.0.0.1", "observed quota-exceeded:client-ip-day", [2, 0]);
    sent("10.0.0.2", "admitted", [1, 2]);
    sent("10.0.0.2", "admitted", [0, 1]);
    sent("10.0.0.2", "observed quota-exceeded:total-day", [0, 1]);
    sent("10.0.0.1", "observed quota-exceeded:total-day quota-exceeded:client-ip-day", [0, 0]);
    // The same plan refuses where it is enforced.
    assert_eq!(stage.call("alice", "10.0.0.1", "/old").status, 429);
    for (metric, count) in [
        (r#"tollgate_limits_observed_total{route="trial"}"#, 4),
        (r#"tollgate_limit_observed_refusals_total{owner="trial",policy="client-ip-day"}"#, 3),
        (r#"tollgate_limit_observed_refusals_total{owner="gold",policy="total-day"}"#, 2),
        (r#"tollgate_limit_refusals_total{owner="trial",policy="client-ip-day"}"#, 0),
        (r#"tollgate_limit_refusals_total{owner="gold",policy="total-day"}"#, 1),
        (r#"tollgate_rejections_total{reason="quota-exceeded",route="trial"}"#, 0),
    ] {
        assert_eq!(stage.metric(metric), count, "{metric}");
    }
    // Enforced from now on, with the counters as they are.
    stage.gateway.reload(&limited(&stage.origin, json!("enforce")));
    for (who, from, status) in [("carol", "10.0.0.1", 429), ("carol", "10.0.0.2", 200), ("carol", "10.0.0.2", 429)] {
        assert_eq!(stage.call(who, from, "/trial").status, status, "{who} {from}");
    }
}

#[test]
fn a_request_beyond_an_observed_concurrency_takes_no_place() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        let open = held.0.lock().unwrap();
        drop(held.1.wait_while(open, |open| !*open).unwrap());
        Reply::json(200, "{}")
    });
    let sections = json!({
        "plans": {"gold": {"concurrency": 1}, "free": {}},
        "routes": [route("one", json!({"mode": {"limits": "observe"}}))],
    });
    let gateway = Instance::start(&file(&origin, sections));
    let stage = Stage { origin, gateway };
    let asked = request("GET", "/one", &[("x-api-key", "key-alice")], b"");
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(stage.gateway.public)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&asked);
        assert!(crate::process::instance::eventually(|| stage.origin.requests().len() > number));
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let answers: Vec<Response> = clients.iter_mut().map(|client| client.response().unwrap()).collect();
    let told: Vec<String> = answers.iter().map(|answer| told(&stage, answer)).collect();
    let beyond = "observed quota-exceeded:concurrency";
    assert_eq!(told, ["admitted", beyond, beyond]);
    // All places are free again, none of them twice.
    let freed = crate::process::instance::eventually(|| {
        stage.call("alice", "10.0.0.1", "/one").value("ratelimit") == Some("\"concurrency\";r=0")
    });
    assert!(freed);
}

#[test]
fn a_plain_word_is_about_the_contract_alone() {
    let limits = json!([{"rate": "1/day", "by": "route"}]);
    let stage = Stage::set(json!({
        "defaults": {"auth": ["key"], "mode": {"authorisation": "observe", "limits": "observe"}},
        "routes": [
            route("word", json!({"mode": "observe", "allow": {"groups": ["staff"]}, "limits": limits})),
            route("default", json!({"allow": {"groups": ["staff"]}, "limits": limits})),
            route("strict", json!({"mode": "enforce", "allow": {"groups": ["staff"]}, "limits": limits})),
        ],
    }));
    for (path, bob, alice) in [("/word", 403, [200, 429]), ("/default", 200, [200, 200]), ("/strict", 403, [200, 429])]
    {
        assert_eq!(stage.call("bob", "10.0.0.1", path).status, bob, "{path}");
        let found = [0, 1].map(|_| stage.call("alice", "10.0.0.1", path).status);
        assert_eq!(found, alice, "{path}");
    }
}
