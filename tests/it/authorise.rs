//! Who may use which route: `allow` and `deny_addresses` through sockets, and `mode` where these and limits are only
//! observed.
//!
//! The client's address is what `X-Forwarded-For` says, since the test is a trusted proxy.

mod observed;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer};
use crate::support::client::{Response, ask, request};
use crate::support::origin::Origin;

/// A gateway before an origin that answers 200 to everything.
struct Stage {
    origin: Origin,
    gateway: Instance,
}

impl Stage {
    fn set(sections: Value) -> Self {
        let origin = Origin::json("{}");
        let gateway = Instance::start(&file(&origin, sections));
        Self { origin, gateway }
    }

    /// Calls a route as a consumer (`-`: nobody) from an address.
    fn call(&self, who: &str, from: &str, path: &str) -> Response {
        let key = format!("key-{who}");
        let mut fields = vec![("x-forwarded-for", from)];
        if who != "-" {
            fields.push(("x-api-key", &key));
        }
        ask(self.gateway.public, &request("GET", path, &fields, b""))
    }

    /// The access line of an answer.
    fn line(&self, answer: &Response) -> Value {
        let id = answer.value("x-request-id").expect("every answer has an id");
        let line = self.gateway.line(|line| line.contains(id));
        serde_json::from_str(&line).expect("a line is JSON")
    }

    /// A metric with its labels; 0 where it is not there.
    fn metric(&self, name: &str) -> u64 {
        self.gateway.metric(name).unwrap_or_default() as u64
    }
}

/// Alice has plan gold and is in staff and admin, bob has plan free and is in guests.
fn file(origin: &Origin, sections: Value) -> Value {
    let in_groups = |name: &str, plan: &str, groups: &[&str]| {
        let mut consumer = consumer(name, plan);
        consumer["groups"] = json!(groups);
        consumer
    };
    let mut all = json!({
        "trusted_proxies": ["127.0.0.1/32"],
        "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
        "plans": {"gold": {}, "free": {}},
        "consumers": {
            "alice": in_groups("alice", "gold", &["staff", "admin"]),
            "bob": in_groups("bob", "free", &["guests"]),
        },
        "defaults": {"auth": ["key"]},
    });
    for (key, value) in sections.as_object().expect("sections are an object") {
        all[key] = value.clone();
    }
    config(origin.address(), all)
}

fn route(name: &str, more: Value) -> Value {
    let mut route = json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin"});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    route
}

fn conditions() -> Value {
    json!({"routes": [
        route("open", json!({})),
        route("consumers", json!({"allow": {"consumers": ["alice"]}})),
        route("groups", json!({"allow": {"groups": ["admin", "guests"]}})),
        route("staff", json!({"allow": {"groups": ["staff"]}})),
        route("plans", json!({"allow": {"plans": ["free"]}})),
        route("scopes", json!({"allow": {"scopes": ["read"]}})),
        route("claims", json!({"allow": {"claims": {"tenant": "acme"}}})),
        route("inside", json!({"allow": {"addresses": ["10.0.0.0/8", "2001:db8::/32"]}})),
        route("outside", json!({"deny_addresses": ["192.0.2.0/24"]})),
        route("both", json!({"allow": {"consumers": ["alice", "bob"], "plans": ["gold"], "addresses": ["10.0.0.0/8"]},
                             "deny_addresses": ["10.9.0.0/16"]})),
        route("lobby", json!({"auth": "public", "allow": {"addresses": ["10.0.0.0/8"]}})),
    ]})
}

/// Caller, address, route, status, and the cause in the access line.
const ROWS: [(&str, &str, &str, u16, &str); 27] = [
    ("alice", "192.0.2.1", "/open", 200, ""),
    ("alice", "192.0.2.1", "/consumers", 200, ""),
    ("bob", "192.0.2.1", "/consumers", 403, "allow.consumers"),
    ("-", "192.0.2.1", "/consumers", 401, ""),
    ("eve", "192.0.2.1", "/consumers", 401, ""),
    ("alice", "192.0.2.1", "/groups", 200, ""),
    ("bob", "192.0.2.1", "/groups", 200, ""),
    ("bob", "192.0.2.1", "/staff", 403, "allow.groups"),
    ("alice", "192.0.2.1", "/plans", 403, "allow.plans"),
    ("bob", "192.0.2.1", "/plans", 200, ""),
    // An API key says nothing of scopes and claims.
    ("alice", "192.0.2.1", "/scopes", 403, "allow.scopes"),
    ("alice", "192.0.2.1", "/claims", 403, "allow.claims"),
    ("alice", "10.255.0.1", "/inside", 200, ""),
    ("alice", "2001:db8::7", "/inside", 200, ""),
    ("alice", "::ffff:10.0.0.1", "/inside", 200, ""),
    ("alice", "192.0.2.1", "/inside", 403, "allow.addresses"),
    // Not even whether a credential is good is told to a wrong address.
    ("-", "192.0.2.1", "/inside", 403, "allow.addresses"),
    ("eve", "192.0.2.1", "/inside", 403, "allow.addresses"),
    ("-", "192.0.2.1", "/outside", 403, "deny_addresses"),
    ("alice", "198.51.100.1", "/outside", 200, ""),
    ("alice", "10.1.0.1", "/both", 200, ""),
    ("alice", "10.9.0.1", "/both", 403, "deny_addresses"),
    ("alice", "192.0.2.1", "/both", 403, "allow.addresses"),
    ("bob", "10.1.0.1", "/both", 403, "allow.plans"),
    ("-", "10.1.0.1", "/both", 401, ""),
    ("-", "10.1.0.1", "/lobby", 200, ""),
    ("-", "192.0.2.1", "/lobby", 403, "allow.addresses"),
];

#[test]
fn a_route_lets_through_whoever_meets_all_its_conditions() {
    let stage = Stage::set(conditions());
    let mut refused = 0;
    for (who, from, path, status, cause) in ROWS {
        stage.origin.take();
        let answer = stage.call(who, from, path);
        assert_eq!(answer.status, status, "{who} {from} {path}");
        assert_eq!(stage.origin.take().len(), usize::from(status == 200), "{who} {from} {path}");
        let line = stage.line(&answer);
        assert_eq!(line["cause"].as_str().unwrap_or_default(), cause, "{line}");
        if status == 403 {
            refused += 1;
            assert_eq!(line["decision"], "forbidden", "{line}");
            assert_says_nothing(&answer, path);
        }
    }
    let counted: f64 = stage
        .gateway
        .operator("GET", "/metrics", &[])
        .text()
        .lines()
        .filter(|line| line.starts_with("tollgate_rejections_total") && line.contains(r#"reason="forbidden""#))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(counted as u64, refused);
}

/// A refusal is the same whatever the condition was.
fn assert_says_nothing(answer: &Response, path: &str) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["request_id"] = Value::Null;
    let expected = json!({
        "type": "urn:tollgate:problem:forbidden", "title": "Forbidden", "status": 403,
        "detail": "This request is not allowed.", "instance": path, "request_id": null,
    });
    assert_eq!(body, expected);
    assert_eq!(answer.value("www-authenticate"), None);
    assert_eq!(
        answer.fields_beside(&["content-type", "content-length", "x-request-id", "connection", "date"]),
        [""; 0]
    );
}

#[test]
fn a_forbidden_request_has_fastapis_shape_where_that_is_asked_for() {
    let mut sections = conditions();
    sections["error_format"] = json!("fastapi");
    let stage = Stage::set(sections);
    let answer = stage.call("bob", "192.0.2.1", "/consumers");
    assert_eq!((answer.status, answer.text().as_str()), (403, r#"{"detail":"Forbidden"}"#));
}

#[test]
fn conditions_of_the_defaults_hold_unless_a_route_has_its_own() {
    let stage = Stage::set(json!({
        "defaults": {"auth": ["key"], "allow": {"groups": ["staff"]}, "deny_addresses": ["192.0.2.0/24"]},
        "routes": [
            route("default", json!({})),
            route("own", json!({"allow": {"consumers": ["bob"]}})),
            route("any", json!({"allow": "any"})),
            route("public", json!({"auth": "public", "allow": "any"})),
            route("more", json!({"deny_addresses": ["198.51.100.0/24"]})),
        ],
    }));
    for (who, from, path, status) in [
        ("alice", "10.0.0.1", "/default", 200),
        ("bob", "10.0.0.1", "/default", 403),
        ("alice", "10.0.0.1", "/own", 403),
        ("bob", "10.0.0.1", "/own", 200),
        ("bob", "10.0.0.1", "/any", 200),
        ("-", "10.0.0.1", "/any", 401),
        ("-", "10.0.0.1", "/public", 200),
        // What is denied to all is denied everywhere; a list of a route's own adds to it.
        ("alice", "192.0.2.1", "/default", 403),
        ("bob", "192.0.2.1", "/own", 403),
        ("bob", "192.0.2.1", "/any", 403),
        ("-", "192.0.2.1", "/public", 403),
        ("alice", "192.0.2.1", "/more", 403),
        ("alice", "198.51.100.1", "/more", 403),
        ("alice", "198.51.100.1", "/default", 200),
        ("alice", "10.0.0.1", "/more", 200),
    ] {
        assert_eq!(stage.call(who, from, path).status, status, "{who} {from} {path}");
    }
}

#[test]
fn the_word_of_a_stranger_on_its_address_counts_for_nothing() {
    let stage = Stage::set(json!({
        "trusted_proxies": [],
        "routes": [
            route("inside", json!({"auth": "public", "allow": {"addresses": ["10.0.0.0/8"]}})),
            route("here", json!({"auth": "public", "allow": {"addresses": ["127.0.0.0/8"]}})),
            route("not-here", json!({"auth": "public", "deny_addresses": ["127.0.0.0/8"]})),
        ],
    }));
    for (path, status) in [("/inside", 403), ("/here", 200), ("/not-here", 403)] {
        assert_eq!(stage.call("-", "10.0.0.1", path).status, status, "{path}");
    }
}

#[test]
fn a_forbidden_request_spends_nothing() {
    let limits = json!([{"rate": "1/day", "by": "route"}]);
    let stage = Stage::set(json!({"routes": [route("one", json!({"allow": {"plans": ["gold"]}, "limits": limits}))]}));
    for (who, status) in [("bob", 403), ("bob", 403), ("alice", 200), ("alice", 429), ("bob", 403)] {
        let answer = stage.call(who, "10.0.0.1", "/one");
        assert_eq!(answer.status, status, "{who}");
        assert_eq!(answer.value("ratelimit").is_some(), status != 403, "a stranger hears of no limit");
    }
}

#[test]
fn a_reload_changes_who_may_call() {
    let stage = Stage::set(json!({"routes": [route("one", json!({"allow": {"groups": ["staff"]}}))]}));
    assert_eq!(stage.call("bob", "10.0.0.1", "/one").status, 403);
    let mut changed = file(&stage.origin, json!({"routes": [route("one", json!({"allow": {"groups": ["staff"]}}))]}));
    changed["consumers"]["bob"]["groups"] = json!(["staff"]);
    stage.gateway.reload(&changed);
    assert_eq!(stage.call("bob", "10.0.0.1", "/one").status, 200);
    changed["routes"][0]["deny_addresses"] = json!(["10.0.0.1/32"]);
    stage.gateway.reload(&changed);
    assert_eq!(stage.call("bob", "10.0.0.1", "/one").status, 403);
    assert_eq!(stage.call("bob", "10.0.0.2", "/one").status, 200);
}

#[test]
fn operators_see_what_is_asked() {
    let mut routes = conditions()["routes"].clone();
    routes[1]["mode"] = json!({"limits": "observe", "authorisation": "observe"});
    routes[2]["mode"] = json!("observe");
    let stage = Stage::set(json!({"routes": routes}));
    let listed: Value = serde_json::from_slice(&stage.gateway.operator("GET", "/routes", &[]).body).unwrap();
    for (index, conditions, mode, observed) in [
        (0, json!([]), "enforce", json!([])),
        (1, json!(["allow.consumers"]), "enforce", json!(["authorisation", "limits"])),
        (2, json!(["allow.groups"]), "observe", json!(["contract"])),
        (9, json!(["deny_addresses", "allow.addresses", "allow.consumers", "allow.plans"]), "enforce", json!([])),
    ] {
        let route = &listed[index];
        let found = (&route["conditions"], route["mode"].as_str(), &route["observed"]);
        assert_eq!(found, (&conditions, Some(mode), &observed), "{route}");
    }
    let output = crate::support::gateway::program().arg("routes").arg(stage.gateway.file()).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().skip(6).collect()).collect();
    assert_eq!(lines[0], ["PATH", "AUTH", "CONDITIONS", "MODE"]);
    for (line, expected) in [
        (1, &["required"][..]),
        (2, &["required", "allow.consumers", "observe:authorisation,limits"]),
        (3, &["required", "allow.groups", "observe"]),
        (10, &["required", "deny_addresses,allow.addresses,allow.consumers,allow.plans"]),
    ] {
        assert_eq!(lines[line], expected, "{table}");
    }
}
