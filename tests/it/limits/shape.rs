//! What limits count, and what clients are told of them.

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer};
use crate::support::client::{Response, ask, request};
use crate::support::origin::Origin;

/// A gateway with the consumer `alice`, one plan, and routes `a`, `b`, … that a test adds to.
fn gateway(origin: &Origin, plan: Value, routes: &[(&str, Value)]) -> Instance {
    Instance::start(&file(origin, plan, routes))
}

fn file(origin: &Origin, plan: Value, routes: &[(&str, Value)]) -> Value {
    let routes: Vec<Value> = routes
        .iter()
        .map(|(name, more)| {
            let mut route = json!({"name": name, "methods": ["GET"], "gateway_path": format!("/{name}"),
                                   "service": "origin", "auth": ["key"]});
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        })
        .collect();
    config(
        origin.address(),
        json!({
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"free": plan},
            "consumers": {"alice": consumer("alice", "free"), "bob": consumer("bob", "free")},
            "routes": routes,
        }),
    )
}

fn call(gateway: &Instance, method: &str, path: &str) -> Response {
    ask(gateway.public, &request(method, path, &[("x-api-key", "key-alice")], b""))
}

/// The statuses of these calls, each `METHOD PATH`.
fn statuses<'a>(gateway: &Instance, calls: impl IntoIterator<Item = &'a str>) -> Vec<u16> {
    let split = |call: &'a str| call.split_once(' ').unwrap_or(("GET", call));
    calls.into_iter().map(split).map(|(method, path)| call(gateway, method, path).status).collect()
}

/// `r` of a policy in `RateLimit`.
fn left(response: &Response, policy: &str) -> Option<u64> {
    let item = response.value("ratelimit")?.split(", ").find(|item| item.starts_with(&format!("\"{policy}\"")))?;
    item.split(";r=").nth(1)?.split(';').next()?.parse().ok()
}

#[test]
fn a_refusal_by_one_limit_spends_nothing_of_the_others() {
    let origin = Origin::json("{}");
    let limit = |rate: &str, by: &str| json!({"limits": [{"rate": rate, "by": by}]});
    let gateway = gateway(
        &origin,
        json!({"each_route": "2/hour", "total": ["6/hour", "20/day"]}),
        &[("a", json!({})), ("b", limit("9/hour", "client_ip")), ("c", limit("1/hour", "route")), ("d", json!({}))],
    );
    assert_eq!(statuses(&gateway, ["/a", "/a", "/a", "/a", "/a"]), [200, 200, 429, 429, 429]);
    assert_eq!(statuses(&gateway, ["/c", "/c", "/c"]), [200, 429, 429], "of the route's own limit");
    let answer = call(&gateway, "GET", "/b");
    assert_eq!((left(&answer, "total-hour"), left(&answer, "total-day")), (Some(2), Some(16)));
    assert_eq!((left(&answer, "each-route-hour"), left(&answer, "client-ip-hour")), (Some(1), Some(8)));
    assert_eq!(statuses(&gateway, ["/b", "/b", "/b"]), [200, 429, 429]);
    let answer = call(&gateway, "GET", "/d");
    assert_eq!((answer.status, left(&answer, "total-hour")), (200, Some(0)));
    let refused = call(&gateway, "GET", "/d");
    assert_eq!((refused.status, left(&refused, "each-route-hour")), (429, Some(1)), "refused by the total alone");
}

#[test]
fn a_refusal_says_what_was_violated_and_when_to_come_back() {
    let origin = Origin::json("{}");
    let gateway = gateway(
        &origin,
        json!({"total": ["2/hour", "100/day"]}),
        &[("a", json!({"limits": [{"rate": "50/minute", "by": "client_ip"}]}))],
    );
    let admitted = call(&gateway, "GET", "/a");
    assert_eq!(admitted.status, 200);
    let policy = "\"total-hour\";q=2;w=3600, \"total-day\";q=100;w=86400, \"client-ip-minute\";q=50;w=60";
    assert_eq!(admitted.value("ratelimit-policy"), Some(policy));
    assert_eq!(left(&admitted, "total-hour"), Some(1));
    assert_eq!(admitted.value("retry-after"), None);
    call(&gateway, "GET", "/a");

    let refused = call(&gateway, "GET", "/a");
    assert_eq!(refused.status, 429);
    let number = |name: &str| refused.value(name).unwrap_or_default().parse::<u64>().ok();
    let wait = number("retry-after").expect("Retry-After is a whole number of seconds");
    assert!((1700..=1800).contains(&wait), "two an hour are one each half hour: {wait}");
    assert_eq!(refused.value("ratelimit-policy"), Some(policy));
    assert_eq!(left(&refused, "total-hour"), Some(0));
    assert_eq!((number("x-ratelimit-limit"), number("x-ratelimit-remaining")), (Some(2), Some(0)));
    assert!(number("x-ratelimit-reset").is_some_and(|reset| reset <= wait), "{refused:?}");
    assert_eq!(refused.value("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!(["total-hour"]));
    assert_eq!((&problem["status"], &problem["instance"]), (&json!(429), &json!("/a")));
    assert_eq!(problem["request_id"].as_str(), refused.value("x-request-id"));
}

#[test]
fn requests_count_by_their_cost_whatever_their_method() {
    let origin = Origin::json("{}");
    let both = json!({"methods": ["GET", "HEAD"]});
    let gateway = gateway(
        &origin,
        json!({"total": "10/hour"}),
        &[("dear", json!({"cost": 3})), ("cheap", both), ("got", json!({}))],
    );
    assert_eq!(statuses(&gateway, ["/dear", "/dear"]), [200, 200]);
    assert_eq!(left(&call(&gateway, "GET", "/cheap"), "total-hour"), Some(3));
    assert_eq!(statuses(&gateway, ["HEAD /cheap"]), [200]);
    assert_eq!(statuses(&gateway, ["/dear", "HEAD /got", "/cheap", "HEAD /got"]), [429, 200, 200, 429]);
}

#[test]
fn a_request_without_a_right_key_spends_nothing() {
    let origin = Origin::json("{}");
    let limits = json!({"limits": [{"rate": "3/hour", "by": "client_ip"}, {"rate": "3/day", "by": "route"}]});
    let gateway = gateway(&origin, json!({"total": "3/hour"}), &[("a", limits)]);
    for key in ["", "wrong", "key-carol"] {
        for _ in 0..5 {
            assert_eq!(ask(gateway.public, &request("GET", "/a", &[("x-api-key", key)], b"")).status, 401);
        }
    }
    assert_eq!(statuses(&gateway, ["/a", "/a", "/a", "/a"]), [200, 200, 200, 429]);
}

#[test]
fn a_plans_word_on_a_route_replaces_each_route_and_the_total_counts_all() {
    let origin = Origin::json("{}");
    let plan = json!({"each_route": "2/hour", "routes": {"b": "4/hour", "c": "1/hour"}, "total": "8/hour"});
    let routes = ["a", "b", "c", "d"].map(|name| (name, json!({})));
    let gateway = gateway(&origin, plan, &routes);
    assert_eq!(statuses(&gateway, ["/a", "/a", "/a"]), [200, 200, 429]);
    assert_eq!(statuses(&gateway, ["/b", "/b", "/b", "/b", "/b"]), [200, 200, 200, 200, 429]);
    assert_eq!(statuses(&gateway, ["/c", "/c"]), [200, 429]);
    assert_eq!(statuses(&gateway, ["/d", "/d"]), [200, 429], "the total of 8");
    let of_bob = ask(gateway.public, &request("GET", "/d", &[("x-api-key", "key-bob")], b""));
    assert_eq!((of_bob.status, left(&of_bob, "total-hour")), (200, Some(7)), "another consumer has its own");
}

#[test]
fn what_is_used_stays_used_when_a_reload_changes_the_number() {
    let origin = Origin::json("{}");
    let with = |total: &str| file(&origin, json!({"total": total}), &[("a", json!({}))]);
    let gateway = Instance::start(&with("3/day"));
    assert_eq!(statuses(&gateway, ["/a", "/a", "/a", "/a"]), [200, 200, 200, 429]);
    assert_eq!(gateway.reload(&with("5/day"))["result"], "published");
    assert_eq!(statuses(&gateway, ["/a", "/a", "/a"]), [200, 200, 429]);
    assert_eq!(gateway.reload(&with("4/day"))["result"], "published");
    assert_eq!(statuses(&gateway, ["/a"]), [429]);
}
