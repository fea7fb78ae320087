//! Routes with several services: callers stay where they are, and nobody hears of a second service that gets copies.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, eventually, sha256};
use crate::streams::Service;
use crate::support::client::{Client, Response, ask, fetch, request};
use crate::support::gateway::program;
use crate::support::origin::{Origin, Recorded, Reply, Unreachable};

/// Says its name.
fn named(name: &'static str) -> Origin {
    Origin::json(&format!("{{\"service\": \"{name}\"}}"))
}

/// Which service has answered.
fn answered(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    body["service"].as_str().unwrap_or_else(|| panic!("{} {}", response.status, response.text())).to_owned()
}

const CONSUMERS: usize = 200;

fn sections(stable: &Origin, canary: &Origin, weights: Value) -> Value {
    let url = |origin: &Origin, base: &str| json!({"url": format!("http://{}{base}", origin.address())});
    let keys = (0..CONSUMERS)
        .map(|number| (format!("c{number}"), json!({"api_keys": [{"sha256": sha256(&format!("key-c{number}"))}]})));
    json!({
        "services": {"stable": url(stable, "/v1"), "canary": url(canary, "/next")},
        "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
        "consumers": keys.collect::<serde_json::Map<String, Value>>(),
        "trusted_proxies": ["127.0.0.0/8"],
        "routes": [
            {"name": "known", "method": "GET", "gateway_path": "/items/{id}", "service": weights,
             "service_path": "/things/{id}", "auth": ["key"]},
            {"name": "other", "method": "GET", "gateway_path": "/other", "service": weights, "auth": ["key"]},
            {"name": "open", "method": "GET", "gateway_path": "/open", "service": weights, "auth": "public"},
        ],
    })
}

fn of_consumer(gateway: &Instance, number: usize, path: &str) -> String {
    let key = format!("key-c{number}");
    answered(&ask(gateway.public, &request("GET", path, &[("x-api-key", &key)], b"")))
}

#[test]
fn each_consumer_stays_with_one_service_on_every_route_and_over_restarts() {
    let (stable, canary) = (named("stable"), named("canary"));
    let file = |weights: Value| config(stable.address(), sections(&stable, &canary, weights));
    let gateway = Instance::start(&file(json!({"stable": 80, "canary": 20})));
    let all = |gateway: &Instance| -> Vec<String> {
        (0..CONSUMERS).map(|number| of_consumer(gateway, number, "/items/7")).collect()
    };
    let first = all(&gateway);
    let count = |of: &[String]| of.iter().filter(|service| *service == "canary").count();
    assert!((20..=60).contains(&count(&first)), "{} of {CONSUMERS} are in the canary", count(&first));
    assert_eq!(all(&gateway), first);
    let elsewhere: Vec<String> = (0..20).map(|number| of_consumer(&gateway, number, "/other")).collect();
    assert_eq!(elsewhere, first[..20], "routes with the same split agree");
    let other = Instance::start(&file(json!({"stable": 80, "canary": 20})));
    assert_eq!(all(&other)[..20], first[..20], "gateways agree");
    // The service path is that of the chosen service.
    assert!(stable.take().iter().all(|seen| ["/v1/things/7", "/v1/other"].contains(&seen.target.as_str())));
    assert!(canary.take().iter().all(|seen| ["/next/things/7", "/next/other"].contains(&seen.target.as_str())));

    assert_eq!(gateway.reload(&file(json!({"stable": 60, "canary": 40})))["result"], "published");
    let more = all(&gateway);
    assert!(count(&more) > count(&first));
    for (before, after) in first.iter().zip(&more) {
        assert!(before == "stable" || after == "canary", "nobody leaves the service whose weight grows");
    }
    assert_eq!(gateway.reload(&file(json!({"stable": 1, "canary": 0})))["result"], "published");
    assert_eq!(count(&all(&gateway)), 0);
}

#[test]
fn strangers_are_told_apart_by_address_and_operators_see_who_went_where() {
    let (stable, canary) = (named("stable"), named("canary"));
    let gateway =
        Instance::start(&config(stable.address(), sections(&stable, &canary, json!({"stable": 1, "canary": 1}))));
    let from =
        |address: &str| answered(&ask(gateway.public, &request("GET", "/open", &[("x-forwarded-for", address)], b"")));
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..100 {
        let address = format!("192.0.2.{number}");
        let service = from(&address);
        assert_eq!(from(&address), service, "{address}");
        *seen.entry(service).or_default() += 2;
    }
    assert!(seen.values().all(|count| (60..=140).contains(count)), "{seen:?}");
    for (service, count) in &seen {
        let replies = format!(r#"tollgate_service_replies_total{{service="{service}",status="2xx"}}"#);
        assert!(eventually(|| gateway.metric(&replies) == Some(*count as f64)), "{service}");
        let named = format!("\"service\":\"{service}\"");
        let lines = || gateway.out().lines().filter(|line| line.contains(&named)).count() as u64;
        assert!(eventually(|| lines() == *count), "{} lines of {count}", lines());
    }
    assert_eq!(gateway.metric(r#"tollgate_route_info{route="open",service="stable,canary"}"#), Some(1.0));
    // Who is refused before it is known who calls has no service.
    assert_eq!(fetch(gateway.public, "/other").status, 401);
    let refused: Value = serde_json::from_str(&gateway.line(|line| line.contains("\"status\":401"))).unwrap();
    assert_eq!(refused["service"], Value::Null);
    let routes = gateway.operator("GET", "/routes", &[]).text();
    assert!(routes.contains("\"stable 1, canary 1\""), "{routes}");
}

#[test]
fn a_request_stays_with_its_service_when_that_fails() {
    let (up, down) = (named("up"), Unreachable::reserve());
    let sections = json!({
        "services": {"up": {"url": format!("http://{}", up.address())}, "down": {"url": format!("http://{}", down.address())}},
        "routes": [{"name": "a", "method": "GET", "gateway_path": "/a", "service": {"up": 0, "down": 1}, "auth": "public"}],
    });
    let gateway = Instance::start(&config(up.address(), sections));
    assert_eq!(fetch(gateway.public, "/a").status, 503);
    assert_eq!(up.requests().len(), 0);
}

fn mirrored(origin: &Origin, shadow: &str, route: Value) -> Instance {
    let mut routes = json!([{
        "name": "a", "methods": ["GET", "POST"], "gateway_path": "/a/{id}", "service": "main", "service_path": "/b/{id}",
        "auth": ["key"], "query_params": {"q": {"default": "1"}}, "mirror": {"service": "shadow"},
    }]);
    for (key, value) in route.as_object().expect("members of a route") {
        routes[0][key] = value.clone();
    }
    let sections = json!({
        "services": {
            "main": {"url": format!("http://{}/main", origin.address())},
            "other": {"url": "http://127.0.0.1:1"},
            "shadow": {"url": format!("{shadow}/shadow"), "timeouts": {"response": "200ms"}},
        },
        "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
        "consumers": {"ann": {"api_keys": [{"sha256": sha256("key-ann")}]}},
        "routes": routes,
    });
    Instance::start(&config(origin.address(), sections))
}

const KEY: (&str, &str) = ("x-api-key", "key-ann");
const JSON: (&str, &str) = ("content-type", "application/json");

/// How many copies had this result.
fn copies(gateway: &Instance, result: &str, count: u64) -> bool {
    let name = format!(r#"tollgate_mirrored_requests_total{{result="{result}",route="a"}}"#);
    eventually(|| gateway.metric(&name) == Some(count as f64))
}

#[test]
fn the_second_service_gets_what_the_first_gets_and_only_that() {
    let (main, shadow) = (named("main"), Origin::start(|_| Reply::json(500, "{\"service\": \"shadow\"}")));
    let body = json!({"body_params": {"name": {"type": "string"}}});
    let gateway = mirrored(
        &main,
        &format!("http://{}", shadow.address()),
        json!({"methods": ["POST"], "body_params": body["body_params"]}),
    );
    let forged = ("x-tollgate-mirrored", "true");
    let mut client = Client::connect(gateway.public);
    for number in 1..=3 {
        let asked = request("POST", "/a/7?q=2&x=3", &[KEY, JSON, forged], b"{\"name\": \"ann\", \"more\": 1}");
        assert_eq!(answered(&client.ask(&asked).unwrap()), "main");
        assert!(copies(&gateway, "sent", number));
    }
    // Refused: the service gets nothing, and so does the other.
    assert_eq!(client.ask(&request("POST", "/a/7", &[KEY, JSON], b"{\"name\": 1}")).unwrap().status, 422);
    assert_eq!(client.ask(&request("POST", "/a/7", &[JSON], b"{}")).unwrap().status, 401);
    let (own, copied) = (main.take(), shadow.take());
    assert_eq!((own.len(), copied.len()), (3, 3));
    assert_eq!(copied[0].connection, copied[2].connection, "the connection is kept");
    let comparable = |seen: &Recorded| {
        let mut fields: Vec<(String, Vec<u8>)> =
            seen.fields.iter().filter(|(name, _)| name != "host" && name != "x-tollgate-mirrored").cloned().collect();
        fields.sort();
        let id = fields.iter().find(|(name, _)| name == "x-request-id").map(|(_, id)| id.clone());
        (id, seen.method.clone(), seen.target.replace("/shadow/", "/main/"), fields, seen.body.clone())
    };
    let (mut own_seen, mut copied_seen): (Vec<_>, Vec<_>) =
        (own.iter().map(comparable).collect(), copied.iter().map(comparable).collect());
    own_seen.sort();
    copied_seen.sort();
    assert_eq!(own_seen, copied_seen);
    for seen in &copied {
        assert_eq!(seen.target, "/shadow/b/7?q=2");
        assert_eq!(seen.values("x-tollgate-mirrored"), [b"true"]);
        assert_eq!(seen.values("x-consumer-name"), [b"ann"]);
        assert_eq!(seen.values("x-api-key"), Vec::<&[u8]>::new());
        assert_eq!(seen.values("host"), [shadow.address().to_string().as_bytes()]);
    }
    assert!(own.iter().all(|seen| seen.values("x-tollgate-mirrored").is_empty()), "nobody can forge it");
}

#[test]
fn a_second_service_that_hangs_or_is_gone_delays_nobody() {
    let main = named("main");
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    // Takes the request and says nothing.
    let hanging = Service::start(move |_, mut stream| {
        let _ = tell.lock().unwrap().send(());
        let _ = stream.flush();
        std::thread::park();
    });
    let gateway = mirrored(&main, &format!("http://{}", hanging.address), json!({}));
    let mut client = Client::connect(gateway.public);
    let mut took = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(answered(&client.ask(&request("GET", "/a/7", &[KEY], b"")).unwrap()), "main");
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
    assert!(told.recv_timeout(crate::support::DEADLINE).is_ok(), "it was asked");
    assert!(copies(&gateway, "failed", 20), "{}", gateway.operator("GET", "/metrics", &[]).text());
    let gone = Unreachable::reserve();
    let gateway = mirrored(&main, &format!("http://{}", gone.address()), json!({}));
    assert_eq!(answered(&ask(gateway.public, &request("GET", "/a/7", &[KEY], b""))), "main");
    assert!(copies(&gateway, "failed", 1));
}

#[test]
fn what_streams_or_is_not_drawn_is_not_copied() {
    let (main, shadow) = (named("main"), named("shadow"));
    let url = format!("http://{}", shadow.address());
    let gateway = mirrored(&main, &url, json!({"body": "any"}));
    let mut client = Client::connect(gateway.public);
    for asked in [request("POST", "/a/7", &[KEY], b"text"), request("GET", "/a/7", &[KEY], b"")] {
        assert_eq!(answered(&client.ask(&asked).unwrap()), "main");
    }
    assert!(copies(&gateway, "dropped", 1) && copies(&gateway, "sent", 1));
    assert_eq!(shadow.take().len(), 1);
    let gateway = mirrored(&main, &url, json!({"mirror": {"service": "shadow", "share": "0%"}}));
    for _ in 0..20 {
        assert_eq!(answered(&ask(gateway.public, &request("GET", "/a/7", &[KEY], b""))), "main");
    }
    assert!(copies(&gateway, "sent", 0) && copies(&gateway, "dropped", 0));
    assert_eq!(shadow.take().len(), 0);
}

#[test]
fn to_explain_a_request_is_to_send_nobody_anything() {
    let (main, shadow) = (named("main"), named("shadow"));
    let gateway = mirrored(&main, &format!("http://{}", shadow.address()), json!({"service": {"main": 1, "other": 0}}));
    let output =
        program().arg("explain").arg(gateway.file()).args(["--consumer", "ann", "GET", "/a/7"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("Forwarded. Service main gets:"), "{said}");
    assert!(said.contains("GET /main/b/7?q=1"), "{said}");
    // What was sent would be there by now.
    assert_eq!(answered(&ask(gateway.public, &request("GET", "/a/7", &[KEY], b""))), "main");
    assert!(copies(&gateway, "sent", 1));
    assert_eq!((main.requests().len(), shadow.requests().len()), (1, 1));
}
