//! The access log: one line per request, with the right fields and without secrets.

use std::fs;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer, eventually};
use crate::support::client::{Client, Response, ask, request};
use crate::support::origin::{Origin, Reply, Unreachable};

/// A gateway before an origin that never answers `/held`, and a service that is down.
struct Stage {
    origin: Origin,
    down: Unreachable,
    gateway: Instance,
}

fn stage(access_log: Value, arguments: &[&str]) -> Stage {
    let (origin, down) = (Origin::start(hold_or_answer), Unreachable::reserve());
    let file = file(&origin, &down, access_log);
    let gateway = Instance::start_with(&file, arguments, &[]);
    Stage { origin, down, gateway }
}

fn hold_or_answer(request: &crate::support::origin::Recorded) -> Reply {
    match request.path() {
        "/held" => Reply::raw(Vec::new()),
        _ => Reply::json(201, r#"{"some": "body"}"#),
    }
}

fn file(origin: &Origin, down: &Unreachable, access_log: Value) -> Value {
    let route = |name: &str, service: &str, more: Value| {
        let mut route = json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": service});
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    config(
        origin.address(),
        json!({
            "access_log": access_log,
            "services": {
                "origin": {"url": format!("http://{}", origin.address())},
                "down": {"url": format!("http://{}", down.address())},
            },
            "authenticators": {
                "key": {"api_key": {"header": "x-api-key"}},
                "link": {"api_key": {"query": "token"}},
                "cookie": {"api_key": {"cookie": "session"}},
                "people": {"basic": {}},
            },
            "plans": {"free": {"total": "1000000/hour"}},
            "consumers": {"alice": consumer("alice", "free")},
            "defaults": {"auth": ["key", "link", "cookie", "people"]},
            "routes": [
                route("good", "origin", json!({"query_params": "any"})),
                route("held", "origin", json!({})),
                route("gone", "down", json!({})),
                route("post", "origin", json!({"method": "POST", "body_params": {"a": {"type": "integer"}}})),
            ],
        }),
    )
}

const KEY: (&str, &str) = ("x-api-key", "key-alice");

/// Header fields of a request.
type Fields<'a> = &'a [(&'a str, &'a str)];

fn call(stage: &Stage, method: &str, target: &str, fields: Fields<'_>, body: &[u8]) -> Response {
    ask(stage.gateway.public, &request(method, target, fields, body))
}

/// The one line that names this request, as JSON.
fn line_of(stage: &Stage, answer: &Response) -> Value {
    let id = answer.value("x-request-id").expect("every answer has an id").to_owned();
    let line = stage.gateway.line(|line| line.contains(&id));
    assert_eq!(stage.gateway.out().matches(&id).count(), 1, "one line each");
    serde_json::from_str(&line).unwrap_or_else(|wrong| panic!("{wrong}: {line}"))
}

/// These members of a line.
fn members(line: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), line[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn each_request_has_one_line_that_tells_how_it_went() {
    let stage = stage(json!({"path": "stdout"}), &[]);
    let rows: [(&str, &str, Fields, &[u8], Value); 5] = [
        (
            "GET",
            "/good?page=2",
            &[KEY, ("user-agent", "test \"1\"")],
            b"",
            json!({"method": "GET", "path": "/good", "protocol": "HTTP/1.1", "route": "good", "service": "origin",
                   "target": stage.origin.address().to_string(), "consumer": "alice", "plan": "free", "status": 201,
                   "decision": "admitted", "bytes_in": 0, "bytes_out": 16, "retries": 0, "generation": 1,
                   "client": "127.0.0.1", "host": "gateway.test", "user_agent": "test \"1\"", "cause": null}),
        ),
        (
            "GET",
            "/good",
            &[],
            b"",
            json!({"route": "good", "service": "origin", "target": null, "consumer": null, "plan": null, "status": 401,
                   "decision": "credential-missing", "service_ms": null}),
        ),
        (
            "GET",
            "/nowhere",
            &[KEY],
            b"",
            json!({"path": "/nowhere", "route": null, "service": null, "consumer": null, "status": 404,
                   "decision": "not-found"}),
        ),
        (
            "POST",
            "/post",
            &[KEY, ("content-type", "application/json")],
            br#"{"a": "x"}"#,
            json!({"consumer": "alice", "status": 422, "decision": "contract-violated", "bytes_in": 10,
                   "target": null}),
        ),
        (
            "GET",
            "/gone",
            &[KEY],
            b"",
            json!({"route": "gone", "service": "down", "target": stage.down.address().to_string(), "consumer": "alice",
                   "status": 503, "decision": "service-unavailable", "service_ms": null}),
        ),
    ];
    for (method, target, fields, body, expected) in &rows {
        let answer = call(&stage, method, target, fields, body);
        let line = line_of(&stage, &answer);
        let names: Vec<&str> = expected.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members(&line, &names), *expected, "{method} {target}: {line}");
        for time in ["duration_ms", "gateway_ms"] {
            assert!(line[time].as_f64().is_some_and(|time| (0.0..60_000.0).contains(&time)), "{time} in {line}");
        }
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{line}");
    }
    let causes = stage.gateway.out();
    let down = causes.lines().find(|line| line.contains("service-unavailable")).unwrap();
    assert!(serde_json::from_str::<Value>(down).unwrap()["cause"].is_string(), "{down}");
    assert_eq!(stage.gateway.out().lines().count(), rows.len());
}

#[test]
fn a_client_that_left_has_a_line_too() {
    let stage = stage(json!({"path": "stdout"}), &[]);
    let mut client = Client::connect(stage.gateway.public);
    client.send(&request("GET", "/held", &[KEY], b""));
    assert!(eventually(|| stage.origin.requests().len() == 1));
    drop(client);
    let line: Value = serde_json::from_str(&stage.gateway.line(|line| line.contains("/held"))).unwrap();
    let expected =
        json!({"status": 0, "decision": "client-left", "route": "held", "consumer": "alice", "bytes_out": 0});
    assert_eq!(members(&line, &["status", "decision", "route", "consumer", "bytes_out"]), expected, "{line}");
}

#[test]
fn no_key_and_no_query_reaches_any_log_at_any_level() {
    let stage = stage(json!({"path": "stdout", "headers": ["referer", "x-tenant"]}), &["--log", "debug"]);
    // `alice:key-alice` and `bob:key-wrong`.
    let (password, wrong) = ("Basic YWxpY2U6a2V5LWFsaWNl", "Basic Ym9iOmtleS13cm9uZw==");
    let calls: [(&str, Fields, u16); 14] = [
        ("/good?secret-name=secret-value", &[KEY], 201),
        ("/good?token=key-alice", &[], 201),
        ("/good", &[("cookie", "session=key-alice")], 201),
        ("/good?token=key-wrong", &[], 401),
        ("/good", &[("x-api-key", "key-wrong")], 401),
        ("/good?token=key-alice", &[KEY], 400),
        ("/gone?token=key-alice", &[], 503),
        ("/nowhere?token=key-alice", &[KEY], 404),
        ("/good", &[KEY, ("referer", "https://shop.test/?token=key-alice")], 201),
        ("/good", &[KEY, ("referer", "/#token=key-alice")], 201),
        ("/good", &[("authorization", password)], 401),
        ("/good", &[("authorization", wrong)], 401),
        ("/good", &[("authorization", "Bearer key-alice.key-wrong.x")], 401),
        ("/good", &[KEY, ("proxy-authorization", password), ("x-auth-token", "key-alice")], 201),
    ];
    for (target, fields, status) in calls {
        let answer = call(&stage, "GET", target, fields, b"");
        assert_eq!(answer.status, status, "{target}");
        assert!(!answer.text().contains("key-"), "{}", answer.text());
        line_of(&stage, &answer);
    }
    // A violation names its place and rule, not the value.
    let body = br#"{"a": "secret-value", "key-alice": 1}"#;
    let answer = call(&stage, "POST", "/post", &[KEY, ("content-type", "application/json")], body);
    assert_eq!(answer.status, 422);
    line_of(&stage, &answer);
    let mut client = Client::connect(stage.gateway.public);
    client.send(&request("GET", "/held?token=key-alice", &[], b""));
    assert!(eventually(|| stage.origin.requests().iter().any(|seen| seen.path() == "/held")));
    drop(client);
    stage.gateway.line(|line| line.contains("client-left"));
    // What is not HTTP is said somewhere, perhaps.
    Client::connect(stage.gateway.public).send(b"GET /good?token=key-alice HTTP/9\r\nx-api-key: key-alice\r\n\r\n");
    let mut broken = Client::connect(stage.gateway.public);
    let _ = broken.ask(b"GET /good?token=key-alice HTTP/1.1\r\nx-api-key: key-alice\r\nbad header\r\n\r\n");
    stage.gateway.signal("TERM");
    stage.gateway.logged("left");
    for secret in [
        "key-alice",
        "key-wrong",
        "secret-name",
        "secret-value",
        "token=",
        "?",
        "YWxpY2U6",
        "Ym9iOm",
        "Bearer",
        "Basic",
    ] {
        assert!(!stage.gateway.out().contains(secret), "{secret} in\n{}", stage.gateway.out());
        assert!(!stage.gateway.log().contains(secret), "{secret} in\n{}", stage.gateway.log());
    }
}

#[test]
fn lines_go_where_the_configuration_says_also_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let stage = stage(json!({"path": path("one")}), &[]);
    let lines = |name: &str| fs::read_to_string(path(name)).unwrap_or_default().lines().count();
    call(&stage, "GET", "/good", &[KEY], b"");
    assert!(eventually(|| lines("one") == 1));

    let to = |access_log: Value| stage.gateway.reload(&file(&stage.origin, &stage.down, access_log))["result"].clone();
    assert_eq!(to(json!({"path": path("two"), "format": "text"})), "published");
    call(&stage, "GET", "/good?x=1", &[KEY], b"");
    assert!(eventually(|| lines("two") == 1));
    let text = fs::read_to_string(path("two")).unwrap();
    for part in [" 127.0.0.1 201 GET /good ", "alice"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.starts_with('{') && !text.contains('?'), "{text}");

    assert_eq!(to(json!({"path": "off"})), "published");
    call(&stage, "GET", "/good", &[KEY], b"");
    assert_eq!(to(json!({"path": path("no/such/folder")})), "refused");
    call(&stage, "GET", "/good", &[KEY], b"");
    assert_eq!(to(json!({"path": path("two")})), "published");
    let last = call(&stage, "GET", "/good", &[KEY], b"");
    assert!(eventually(|| fs::read_to_string(path("two")).unwrap().contains(last.value("x-request-id").unwrap())));
    assert_eq!((lines("one"), lines("two"), stage.gateway.out().as_str()), (1, 2, ""));
}

#[test]
fn no_line_is_lost_when_the_process_leaves() {
    let mut stage = stage(json!({"path": "stdout"}), &[]);
    let mut client = Client::connect(stage.gateway.public);
    for _ in 0..300 {
        assert_eq!(client.ask(&request("GET", "/good", &[KEY], b"")).unwrap().status, 201);
    }
    drop(client);
    stage.gateway.signal("TERM");
    assert!(stage.gateway.ended(crate::support::DEADLINE).is_some_and(|status| status.success()));
    let out = stage.gateway.out();
    assert_eq!(out.lines().count(), 300);
    assert!(out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object())));
}
