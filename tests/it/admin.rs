//! The listener for operators: what it shows, what it hides, whom it obeys.

mod access_log;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer, eventually, sha256};
use crate::support::client::{Client, ask, fetch, request};
use crate::support::origin::{Origin, Unreachable};

/// A gateway with a bit of everything that must not be shown.
fn gateway(origin: &Origin) -> Instance {
    let file = config(
        origin.address(),
        json!({
            "services": {
                "origin": {"url": format!("http://{}", origin.address())},
                "hidden": {"url": "http://${env:HIDDEN_HOST}:8002"},
            },
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"free": {"total": "1000000/hour"}},
            "consumers": {"alice": consumer("alice", "free")},
            "defaults": {"auth": ["key"]},
            "routes": [
                {"name": "one", "method": "GET", "gateway_path": "/one/{id}", "service": "origin",
                 "service_path": "/v1/{id}", "path_params": {"id": {"type": "integer"}},
                 "request_headers": {"set": {"authorization": "Bearer s3cret", "x-team": "${env:TEAM}"}}},
                {"name": "open", "method": "GET", "gateway_path": "/open", "service": "origin", "auth": "public",
                 "host": "api.example.com", "limits": [{"rate": "2/hour", "by": "client_ip"}]},
                {"name": "hidden", "method": "GET", "gateway_path": "/hidden", "service": "hidden"},
            ],
        }),
    );
    Instance::start_with(&file, &[], &[("HIDDEN_HOST", "127.0.0.99"), ("TEAM", "team-s3cret")])
}

/// Name and labels of each sample; panics at a line that is not of the text format.
fn series(text: &str) -> BTreeSet<String> {
    let sample = regex::Regex::new(
        r#"^([a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\[\\n"])*",?)*\})?) ([-+]?[0-9.eE+-]+|NaN|[+-]Inf)$"#,
    )
    .unwrap();
    let about = regex::Regex::new(
        "^# (HELP [a-zA-Z_:][a-zA-Z0-9_:]* .+|TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (counter|gauge|histogram))$",
    )
    .unwrap();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        match sample.captures(line) {
            Some(parts) => assert!(found.insert(parts[1].to_owned()), "twice: {line}"),
            None => assert!(about.is_match(line), "not of the format: {line}"),
        }
    }
    found
}

fn metrics(gateway: &Instance) -> BTreeSet<String> {
    let answer = gateway.operator("GET", "/metrics", &[]);
    assert_eq!((answer.status, answer.value("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    series(&answer.text())
}

#[test]
fn metrics_are_in_the_text_format_and_tell_of_each_part() {
    let origin = Origin::json("{}");
    let gateway = gateway(&origin);
    let key = [("x-api-key", "key-alice")];
    assert_eq!(ask(gateway.public, &request("GET", "/one/1", &key, b"")).status, 200);
    assert_eq!(fetch(gateway.public, "/nowhere").status, 404);
    for _ in 0..3 {
        ask(gateway.public, b"GET /open HTTP/1.1\r\nhost: api.example.com\r\n\r\n");
    }
    let found = metrics(&gateway);
    for wanted in [
        r#"tollgate_requests_total{route="one",status="200"}"#,
        r#"tollgate_requests_total{route="-",status="404"}"#,
        r#"tollgate_rejections_total{reason="not-found",route="-"}"#,
        r#"tollgate_limit_refusals_total{owner="open",policy="client-ip-hour"}"#,
        r#"tollgate_request_duration_seconds_count{route="one"}"#,
        r#"tollgate_service_duration_seconds_sum{route="one"}"#,
        r#"tollgate_gateway_duration_seconds_bucket{route="one",le="+Inf"}"#,
        r#"tollgate_config_reloads_total{result="published"}"#,
        r#"tollgate_limit_entries{kind="consumer"}"#,
        "tollgate_limit_bytes",
        "tollgate_limit_max_bytes",
        "tollgate_config_generation",
        "tollgate_config_last_reload_successful",
        "tollgate_config_last_reload_success_timestamp_seconds",
        "tollgate_requests_in_flight",
        "tollgate_connections",
        "tollgate_body_memory_bytes",
        "tollgate_upload_disk_bytes",
        r#"tollgate_access_lines_dropped_total{reason="slow"}"#,
        r#"tollgate_access_lines_dropped_total{reason="failed"}"#,
        r#"tollgate_log_entries_dropped_total{reason="slow"}"#,
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(found.contains(wanted), "{wanted} is missing in {found:#?}");
    }
    assert!(found.iter().any(|name| name.starts_with("tollgate_build_info{")));
    assert_eq!(gateway.metric(r#"tollgate_limit_refusals_total{owner="open",policy="client-ip-hour"}"#), Some(1.0));
}

#[test]
fn no_request_can_make_the_number_of_series_grow() {
    let origin = Origin::json("{}");
    let gateway = gateway(&origin);
    let mut client = Client::connect(gateway.public);
    // One of each outcome first; what a stranger sends afterwards differs in names only.
    let outcomes = |turn: usize| {
        let (odd, key, host) = (format!("/{turn}/x{turn}"), format!("key-{turn}"), format!("h{turn}.example.com"));
        [
            request("GET", &odd, &[("x-api-key", &key), ("user-agent", &odd)], b""),
            request("GET", &format!("/one/{turn}"), &[("x-api-key", &key)], b""),
            request("GET", &format!("/one/{turn}?{odd}=1"), &[("x-api-key", "key-alice")], b""),
            request("GET", &format!("/one/x{turn}"), &[("x-api-key", "key-alice")], b""),
            request(&format!("M{turn}"), &format!("/one/{turn}"), &[], b""),
            format!("GET /open HTTP/1.1\r\nhost: {host}\r\nx-forwarded-for: 192.0.2.{}\r\n\r\n", turn % 250).into(),
        ]
    };
    let mut send = |turn: usize| -> Vec<u16> {
        outcomes(turn).iter().map(|bytes| client.ask(bytes).expect("an answer").status).collect()
    };
    let expected = [404, 401, 200, 422, 405, 404];
    assert_eq!(send(0), expected);
    let before = metrics(&gateway);
    for turn in 1..=100 {
        assert_eq!(send(turn), expected, "turn {turn}");
    }
    assert_eq!(metrics(&gateway), before);
}

#[test]
fn probes_routes_and_unknown_pages_are_answered() {
    let origin = Origin::json("{}");
    let gateway = gateway(&origin);
    for (method, path, status, text) in [
        ("GET", "/livez", 200, "ok\n"),
        ("GET", "/readyz", 200, "ready\n"),
        ("GET", "/readyz?verbose", 200, "ready\n"),
        ("GET", "/", 404, "not found; there are /metrics, /livez, /readyz, /routes, /config, /reload\n"),
        ("GET", "/metrics/", 404, "not found; there are /metrics, /livez, /readyz, /routes, /config, /reload\n"),
        ("POST", "/metrics", 405, "method not allowed\n"),
        ("DELETE", "/config", 405, "method not allowed\n"),
        ("GET", "/reload", 405, "method not allowed\n"),
        ("HEAD", "/reload", 405, "method not allowed\n"),
    ] {
        let answer = gateway.operator(method, path, &[]);
        let shown = if method == "HEAD" { String::new() } else { text.to_owned() };
        assert_eq!((answer.status, answer.text()), (status, shown), "{method} {path}");
        let allow = (status == 405).then_some(if path == "/reload" { "POST" } else { "GET" });
        assert_eq!(answer.value("allow"), allow, "{method} {path}");
    }
    let head = gateway.operator("HEAD", "/livez", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));

    let routes: Value = serde_json::from_slice(&gateway.operator("GET", "/routes", &[]).body).unwrap();
    let target = origin.address().to_string();
    assert_eq!(
        (&routes[0], &routes[1]),
        (
            &json!({"name": "one", "methods": ["GET"], "host": null, "gateway_path": "/one/{id}", "service": "origin",
                    "service_path": "/v1/{id}", "mode": "enforce", "observed": [], "conditions": [], "public": false,
                    "targets": [target]}),
            &json!({"name": "open", "methods": ["GET"], "host": "api.example.com", "gateway_path": "/open",
                    "service": "origin", "service_path": "/open", "mode": "enforce", "observed": [],
                    "conditions": [], "public": true, "targets": [target]}),
        )
    );
}

#[test]
fn a_connection_ends_with_the_answer_when_the_client_asks_for_it() {
    let origin = Origin::json("{}");
    let gateway = gateway(&origin);
    for (version, fields, closes) in [
        ("HTTP/1.0", "", true),
        ("HTTP/1.1", "connection: close\r\n", true),
        ("HTTP/1.1", "connection: x, Close\r\n", true),
        ("HTTP/1.1", "", false),
    ] {
        let mut client = Client::connect(gateway.admin);
        let bytes = format!("GET /livez {version}\r\nhost: localhost\r\n{fields}\r\n");
        assert_eq!(client.ask(bytes.as_bytes()).unwrap().status, 200);
        match closes {
            true => assert!(client.is_closed(), "{version} {fields}"),
            false => assert_eq!(client.ask(bytes.as_bytes()).unwrap().status, 200, "{version} {fields}"),
        }
    }
}

#[test]
fn the_configuration_is_shown_as_enforced_without_its_secrets() {
    let origin = Origin::json("{}");
    let gateway = gateway(&origin);
    let text = gateway.operator("GET", "/config", &[]).text();
    for secret in [sha256("key-alice").as_str(), "key-alice", "127.0.0.99", "s3cret", "Bearer"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["generation"], 1);
    assert_eq!(shown["hash"].as_str().map(str::len), Some(64));
    let file = &shown["configuration"];
    assert_eq!(file["consumers"]["alice"]["plan"], "free");
    assert_eq!(file["services"]["hidden"]["url"], "***");
    assert_eq!(file["routes"][0]["request_headers"]["set"], json!({"authorization": "***", "x-team": "***"}));
    assert_eq!(file["guard"]["header_timeout"], "10s", "defaults are filled in");
    assert_eq!(
        file["access_log"],
        json!({"path": "stdout", "format": "json", "lines": "all", "exclude": [], "headers": []})
    );
}

#[test]
fn reload_obeys_programs_on_this_machine_and_no_web_page() {
    let origin = Origin::json("{}");
    let gateway = gateway(&origin);
    let post = |host: &str, fields: &str| {
        let bytes = format!("POST /reload HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{fields}\r\n");
        ask(gateway.admin, bytes.as_bytes()).status
    };
    let address = gateway.admin.to_string();
    for (host, fields, status) in [
        (address.as_str(), "", 403),
        (&address, "x-tollgate: yes\r\n", 403),
        ("evil.example.com", "x-tollgate: reload\r\n", 421),
        ("evil.example.com:9090", "x-tollgate: reload\r\n", 421),
        ("localhost.example.com", "x-tollgate: reload\r\n", 421),
        ("localhost", "x-tollgate: reload\r\n", 200),
        (&address, "x-tollgate: reload\r\n", 200),
    ] {
        assert_eq!(post(host, fields), status, "{host} {fields}");
    }
    for page in ["/config", "/metrics", "/routes"] {
        let bytes = format!("GET {page} HTTP/1.1\r\nhost: evil.example.com\r\n\r\n");
        assert_eq!(ask(gateway.admin, bytes.as_bytes()).status, 421, "{page}");
    }
    assert_eq!(fetch(gateway.public, "/metrics").status, 404, "clients have no such page");
}

#[test]
fn a_service_that_is_down_is_told_apart_from_one_that_answers() {
    let down = Unreachable::reserve();
    let file = config(
        down.address(),
        json!({"routes": [{"name": "r", "method": "GET", "gateway_path": "/r", "service": "origin", "auth": "public"}]}),
    );
    let gateway = Instance::start(&file);
    assert_eq!(fetch(gateway.public, "/r").status, 503);
    let count = || gateway.metric(r#"tollgate_rejections_total{reason="service-unavailable",route="r"}"#);
    assert!(eventually(|| count() == Some(1.0)));
    assert_eq!(gateway.metric(r#"tollgate_service_duration_seconds_count{route="r"}"#), Some(0.0));
}
