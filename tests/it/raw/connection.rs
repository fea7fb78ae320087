//! Pipelining, and connections that outlive a rejection.

use serde_json::{Value, json};

use super::stage::{Stage, ends};
use crate::support::client::{Response, request};
use crate::support::origin::{Origin, Reply};

fn stage() -> Stage {
    let origin = Origin::start(|request| Reply::json(200, &json!(request.target).to_string()));
    Stage::set(
        origin,
        json!([
            {"name": "numbers", "method": "GET", "gateway_path": "/numbers/{n}"},
            {"name": "checked", "method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}},
            {"name": "streamed", "method": "POST", "gateway_path": "/streamed", "body": "any"},
            {"name": "keyed", "method": "GET", "gateway_path": "/keyed", "auth": ["key"]},
            {"name": "limited", "method": "GET", "gateway_path": "/limited",
             "limits": [{"rate": "1/hour", "by": "client_ip"}]},
        ]),
        json!({
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "consumers": {"alice": {"api_keys": [{"sha256": "0".repeat(64)}]}},
        }),
    )
}

fn json_type() -> [(&'static str, &'static str); 1] {
    [("content-type", "application/json")]
}

#[test]
fn requests_in_one_write_are_answered_in_order() {
    let stage = stage();
    let mut client = stage.connect();
    let all: Vec<u8> = (0..5).flat_map(|n| request("GET", &format!("/numbers/{n}"), &[], b"")).collect();
    client.send(&all);
    for n in 0..5 {
        let response = client.response().unwrap();
        assert_eq!((response.status, response.text()), (200, format!("\"/numbers/{n}\"")));
    }
}

#[test]
fn requests_of_every_kind_in_one_write_are_answered_in_order() {
    let stage = stage();
    let mut client = stage.connect();
    let chunked = b"POST /checked HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n\
                    Transfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n";
    let all = [
        request("POST", "/checked", &json_type(), b"{\"a\":1}"),
        request("GET", "/nowhere", &[], b""),
        request("POST", "/streamed", &[], b"GET / HTTP/1.1\r\n\r\n"),
        request("POST", "/checked", &json_type(), b"{\"a\":\"x\"}"),
        chunked.to_vec(),
        request("GET", "/keyed", &[], b""),
        request("POST", "/nowhere", &json_type(), b"{\"a\":1}"),
        request("GET", "/numbers/9", &[], b""),
    ]
    .concat();
    client.send(&all);
    let statuses: Vec<u16> = (0..8).map(|_| client.response().unwrap().status).collect();
    assert_eq!(statuses, [200, 404, 200, 422, 200, 401, 404, 200]);
    let targets: Vec<_> = stage.origin.take().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/checked", "/streamed", "/checked", "/numbers/9"]);
}

#[test]
fn a_long_pipeline_is_answered_to_its_end() {
    let stage = stage();
    let mut client = stage.connect();
    client.send(&request("GET", "/nowhere", &[], b"").repeat(1_000));
    client.send(&request("GET", "/numbers/1", &[], b""));
    let rejected = (0..1_000).filter(|_| client.response().unwrap().status == 404).count();
    assert_eq!((rejected, client.response().unwrap().status), (1_000, 200));
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_a_request() {
    let stage = stage();
    let mut client = stage.connect();
    for byte in request("POST", "/checked", &json_type(), b"{\"a\":1}") {
        client.send(&[byte]);
    }
    assert_eq!(client.response().unwrap().status, 200);
}

#[test]
fn close_is_heeded_in_both_versions_of_http() {
    let stage = stage();
    for (message, goes_on) in [
        ("GET /numbers/1 HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /numbers/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /numbers/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /numbers/1 HTTP/1.0\r\n\r\n", false),
        ("GET /nowhere HTTP/1.0\r\n\r\n", false),
    ] {
        let mut client = stage.connect();
        client.ask(message.as_bytes()).unwrap();
        client.send(message.as_bytes());
        assert_eq!(!ends(&mut client), goes_on, "{message:?}");
    }
}

fn problem(response: &Response) -> Value {
    assert_eq!(response.value("content-type"), Some("application/problem+json"));
    assert_ne!(response.value("connection"), Some("close"), "{}", response.text());
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["status"].to_string(), response.status.to_string());
    assert_eq!(problem["request_id"].as_str(), response.value("x-request-id"));
    problem
}

#[test]
fn a_rejection_is_a_problem_document_and_keeps_the_connection() {
    let stage = stage();
    stage.ask(&request("GET", "/limited", &[], b""));
    let mut client = stage.connect();
    for (message, status, code, header) in [
        (request("GET", "/keyed", &[], b""), 401, "urn:tollgate:problem:credential-missing", "www-authenticate"),
        (
            request("GET", "/keyed", &[("x-api-key", "no")], b""),
            401,
            "urn:tollgate:problem:credential-unknown",
            "www-authenticate",
        ),
        (request("GET", "/nowhere", &[], b""), 404, "urn:tollgate:problem:not-found", "x-request-id"),
        (request("DELETE", "/checked", &[], b""), 405, "urn:tollgate:problem:method-not-allowed", "allow"),
        (
            request("POST", "/checked", &[("content-type", "text/csv")], b"a"),
            415,
            "urn:tollgate:problem:unsupported-media-type",
            "x-request-id",
        ),
        (
            request("POST", "/checked", &json_type(), b"{\"a\":\"x\"}"),
            422,
            "urn:tollgate:problem:contract-violated",
            "x-request-id",
        ),
        (request("POST", "/checked", &json_type(), b""), 422, "urn:tollgate:problem:contract-violated", "x-request-id"),
        (
            request("GET", "/limited", &[], b""),
            429,
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "retry-after",
        ),
    ] {
        let response = client.ask(&message).unwrap();
        assert_eq!(response.status, status, "{}", response.text());
        let problem = problem(&response);
        assert_eq!(problem["type"], code);
        assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["instance"].is_string());
        assert!(response.value(header).is_some(), "{status} without {header}");
        assert_eq!(problem["errors"].is_array(), status == 422);
    }
    assert_eq!(client.ask(&request("GET", "/numbers/1", &[], b"")).unwrap().status, 200);
    assert_eq!(stage.origin.take().len(), 2, "the limited one and the last");
}

#[test]
fn an_instance_is_the_path_without_its_query() {
    let stage = stage();
    let response = stage.ask(&request("GET", "/nowhere?key=secret", &[], b""));
    assert_eq!(problem(&response)["instance"], "/nowhere");
}

#[test]
fn a_rejected_head_request_has_no_body_and_keeps_the_connection() {
    let stage = stage();
    let mut client = stage.connect();
    let response = client.ask(&request("HEAD", "/nowhere", &[], b"")).unwrap();
    assert_eq!((response.status, response.value("content-type")), (404, Some("application/problem+json")));
    assert_eq!(client.ask(&request("GET", "/numbers/1", &[], b"")).unwrap().status, 200);
}
