//! Which requests have a line, and what is in it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{lines, open};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{Client, Response, ask, request};
use crate::support::origin::{Origin, Reply};

fn route(name: &str, more: Value) -> Value {
    let mut route = json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin"});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    route
}

/// Sends these requests over one connection, so that lines come in their order; the paths of those that have a line, once
/// the last has one.
fn told(gateway: &Instance, targets: &[&str]) -> Vec<String> {
    let mut client = Client::connect(gateway.public);
    for target in targets {
        client.ask(&request("GET", target, &[], b"")).expect("an answer");
    }
    let last = targets.last().expect("a request");
    gateway.line(|line| line.contains(&format!("\"{last}\"")));
    lines(&gateway.out()).iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_and_a_route_choose_which_requests_have_a_line() {
    let origin = Origin::start(|request| match request.path() {
        "/broken" => Reply::raw(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec()),
        _ => Reply::json(200, "{}"),
    });
    let routes = json!([
        route("plain", json!({})),
        route("broken", json!({})),
        route("healthz", json!({"access_log": "off"})),
        route("all", json!({"access_log": "all"})),
        route("errors", json!({"access_log": "errors", "query_params": {"n": {"type": "integer", "optional": true}}})),
        route("observed", json!({"mode": "observe", "query_params": {"n": {"type": "integer", "optional": true}}})),
    ]);
    let targets =
        ["/plain", "/broken", "/healthz", "/nowhere", "/observed?n=x", "/errors", "/errors?n=x", "/observed", "/all"];
    for (written, expected) in [
        (json!({"lines": "errors"}), vec!["/broken", "/nowhere", "/observed", "/errors", "/all"]),
        (json!({}), vec!["/plain", "/broken", "/nowhere", "/observed", "/errors", "/observed", "/all"]),
        (json!({"lines": "off"}), vec!["/errors", "/all"]),
    ] {
        let gateway = Instance::start(&open(&origin, json!({"access_log": written, "routes": routes})));
        assert_eq!(told(&gateway, &targets), expected, "{written}");
    }
}

#[test]
fn members_are_left_out_and_headers_are_told_where_the_file_says_so() {
    let origin = Origin::json("{}");
    let access_log = json!({"exclude": ["client", "user_agent", "duration_ms"], "headers": ["Referer", "x-tenant"]});
    let gateway = Instance::start(&open(&origin, json!({"access_log": access_log})));
    let fields = [("user-agent", "a"), ("referer", "https://x.test/a?token=s3cret"), ("x-tenant", "acme")];
    ask(gateway.public, &request("GET", "/a", &fields, b""));
    let line: Value = serde_json::from_str(&gateway.line(|line| line.contains("\"/a\""))).unwrap();
    for absent in ["client", "user_agent", "duration_ms"] {
        assert!(line.get(absent).is_none(), "{absent} in {line}");
    }
    assert_eq!(line["headers"], json!({"referer": "https://x.test/a", "x-tenant": "acme"}));
    assert!(line["gateway_ms"].is_number() && line["status"] == 200);
}

#[test]
fn a_line_names_the_limits_that_refused() {
    let origin = Origin::json("{}");
    let limits = json!([{"rate": "1/hour", "by": "client_ip"}, {"rate": "100/minute", "by": "route"}]);
    let gateway = Instance::start(&open(&origin, json!({"routes": [route("a", json!({"limits": limits}))]})));
    let call = || ask(gateway.public, &request("GET", "/a", &[], b""));
    assert_eq!((call().status, call().status), (200, 429));
    let line: Value = serde_json::from_str(&gateway.line(|line| line.contains("\"status\":429"))).unwrap();
    assert_eq!((&line["decision"], &line["refused_by"]), (&"quota-exceeded".into(), &json!(["client-ip-hour"])));
}

/// Milliseconds of a line.
fn time(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"))
}

#[test]
fn each_part_of_the_time_is_told_and_they_add_up() {
    const WAIT: Duration = Duration::from_millis(300);
    let origin = Origin::start(|request| {
        if request.path() == "/slow" {
            // What the service takes is the figure under test.
            std::thread::sleep(WAIT);
        }
        Reply::json(200, "{}")
    });
    let post = json!({"method": "POST", "body_params": {"a": {"type": "integer"}}});
    let routes = json!([route("slow", json!({})), route("upload", post)]);
    let gateway = Instance::start(&open(&origin, json!({"routes": routes})));
    let line_of = |answer: &Response| -> Value {
        let id = answer.value("x-request-id").unwrap();
        serde_json::from_str(&gateway.line(|line| line.contains(id))).unwrap()
    };
    let slow = line_of(&ask(gateway.public, &request("GET", "/slow", &[], b"")));
    assert!(time(&slow, "service_ms") >= 300.0 && time(&slow, "gateway_ms") < 250.0, "{slow}");
    assert!(slow.get("request_body_ms").is_none(), "{slow}");

    // A client that is slow with a body that is checked: its time is not the gateway's.
    let mut client = Client::connect(gateway.public);
    let bytes = request("POST", "/upload", &[("content-type", "application/json")], br#"{"a": 1}"#);
    client.send(&bytes[..bytes.len() - 4]);
    std::thread::sleep(WAIT);
    client.send(&bytes[bytes.len() - 4..]);
    let upload = line_of(&client.response().expect("an answer"));
    assert!(time(&upload, "request_body_ms") >= 250.0, "{upload}");
    assert!(time(&upload, "gateway_ms") < 250.0 && time(&upload, "service_ms") < 250.0, "{upload}");
    for line in [&slow, &upload] {
        let parts = ["gateway_ms", "request_body_ms", "service_ms", "response_ms"];
        let sum: f64 = parts.iter().filter_map(|part| line[part].as_f64()).sum();
        assert!((sum - time(line, "duration_ms")).abs() < 0.01, "{sum} in {line}");
    }
}

#[test]
fn nothing_that_a_client_sends_ends_a_readable_line() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&open(&origin, json!({"access_log": {"format": "text"}})));
    let mut client = Client::connect(gateway.public);
    for target in ["/%0a%1b[2J", "/\u{9b}31m", "/a\u{202e}b", "/\u{2028}x"] {
        let _ = client.ask(&request("GET", target, &[("user-agent", "a\u{9b}b")], b""));
        client = Client::connect(gateway.public);
    }
    ask(gateway.public, &request("GET", "/last", &[], b""));
    assert!(eventually(|| gateway.out().contains("/last")));
    for line in gateway.out().lines() {
        assert!(line.starts_with("20") && !line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    }
}
