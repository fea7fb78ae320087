//! Fields that only the gateway may send: a client's copy never reaches the service, however it is spelled or
//! nominated away.

use serde_json::{Value, json};

use super::stage::Stage;
use crate::support::client::request;
use crate::support::origin::Recorded;

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn stage(trusted: Value) -> Stage {
    Stage::plain(
        json!([
            {"name": "keyed", "methods": ["GET", "POST"], "gateway_path": "/keyed", "auth": ["key"], "body": "any"},
            {"name": "public", "methods": ["GET", "POST"], "gateway_path": "/public", "body": "any"},
        ]),
        json!({
            "trusted_proxies": trusted,
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"gold": {"total": "1000/second"}},
            "consumers": {"alice": {"plan": "gold", "groups": ["staff", "ops"], "api_keys": [{"sha256": SECRET}]}},
        }),
    )
}

fn get(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> Recorded {
    let (response, seen) = stage.pass(&request("GET", path, fields, b""));
    assert_eq!(response.status, 200);
    seen
}

const OWN: &[&str] = &[
    "X-Consumer-Name",
    "x-consumer-plan",
    "X-CONSUMER-GROUPS",
    "X-Consumer-Anything",
    "x_consumer_name",
    "X_Consumer_Groups",
    "x-consumer_plan",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "x_forwarded_for",
    "Forwarded",
    "X-Real-IP",
    "x_real_ip",
    "X-Client-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Request-Id",
    "x_request_id",
];

#[test]
fn a_strangers_copy_of_a_gateways_field_reaches_nobody() {
    let stage = stage(json!([]));
    for name in OWN {
        for fields in [vec![(*name, "mallory")], vec![(*name, "mallory"), (*name, "mallory")]] {
            for (path, key) in [("/public", None), ("/keyed", Some(("x-api-key", "secret")))] {
                let fields: Vec<_> = fields.iter().copied().chain(key).collect();
                let seen = get(&stage, path, &fields);
                let forged = seen.fields.iter().find(|(_, value)| value.windows(7).any(|part| part == b"mallory"));
                assert_eq!(forged, None, "{name} on {path}");
            }
        }
    }
}

#[test]
fn a_consumer_is_named_to_the_service_and_nobody_on_a_public_route() {
    let stage = stage(json!([]));
    let seen = get(&stage, "/keyed", &[("x-api-key", "secret"), ("x-consumer-name", "bob")]);
    assert_eq!(seen.values("x-consumer-name"), [b"alice"]);
    assert_eq!(seen.values("x-consumer-plan"), [b"gold"]);
    assert_eq!(seen.values("x-consumer-groups"), [&b"staff,ops"[..]]);
    assert!(seen.values("x-api-key").is_empty());
    let seen = get(&stage, "/public", &[("x-api-key", "secret")]);
    assert!(seen.fields.iter().all(|(name, _)| !name.starts_with("x-consumer")), "{:?}", seen.fields);
}

#[test]
fn a_gateways_field_cannot_be_nominated_away() {
    let stage = stage(json!([]));
    for nominated in [
        "x-consumer-name, x-consumer-plan, x-consumer-groups",
        "close, X-Consumer-Name",
        "keep-alive, x-request-id",
        "x-forwarded-for",
        "forwarded, via",
        "x-forwarded-host, x-forwarded-proto",
        "\"x-consumer-name\"",
        "host",
        "content-length",
    ] {
        stage.origin.take();
        let message = request("POST", "/keyed", &[("x-api-key", "secret"), ("connection", nominated)], b"abc");
        let status = stage.ask(&message).status;
        let seen = stage.origin.take();
        // Some of them are refused, which is as good.
        assert!(matches!((status, seen.len()), (200, 1) | (400, 0)), "{nominated}: {status}");
        for seen in seen {
            assert_eq!(seen.values("x-consumer-name"), [b"alice"], "{nominated}");
            assert_eq!(seen.values("x-consumer-plan"), [b"gold"], "{nominated}");
            assert_eq!(seen.values("x-consumer-groups"), [&b"staff,ops"[..]], "{nominated}");
            assert_eq!(seen.values("x-forwarded-for"), [b"127.0.0.1"], "{nominated}");
            assert_eq!(seen.values("x-forwarded-host"), [&b"gateway.test"[..]], "{nominated}");
            assert_eq!((seen.values("x-request-id").len(), seen.values("forwarded").len()), (1, 1), "{nominated}");
            assert_eq!(seen.body, b"abc", "{nominated}");
        }
    }
}

#[test]
fn a_nominated_key_does_not_open_a_route() {
    let stage = stage(json!([]));
    let message = request("GET", "/keyed", &[("x-api-key", "wrong"), ("connection", "x-api-key")], b"");
    assert_eq!(stage.ask(&message).status, 401);
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_strangers_word_on_forwarding_is_replaced_by_the_gateways() {
    let stage = stage(json!([]));
    let seen = get(
        &stage,
        "/public",
        &[
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.test"),
            ("forwarded", "for=203.0.113.7"),
            ("x-request-id", "mine"),
        ],
    );
    assert_eq!(seen.values("x-forwarded-for"), [b"127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), [b"http"]);
    assert_eq!(seen.values("x-forwarded-host"), [b"gateway.test"]);
    assert_eq!(seen.values("forwarded"), [&b"for=127.0.0.1;host=\"gateway.test\";proto=http"[..]]);
    assert_eq!(seen.values("x-request-id")[0].len(), 32);
}

#[test]
fn a_trusted_proxys_word_on_forwarding_is_continued() {
    let stage = stage(json!(["127.0.0.1/32"]));
    let message = request(
        "GET",
        "/public",
        &[
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-for", "198.51.100.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example.com"),
            ("forwarded", "for=192.0.2.1"),
            ("x-real-ip", "192.0.2.1"),
            ("x-consumer-name", "mallory"),
            ("x-request-id", "edge-1"),
        ],
        b"",
    );
    let (response, seen) = stage.pass(&message);
    assert_eq!(response.value("x-request-id"), Some("edge-1"));
    assert_eq!(seen.values("x-request-id"), [b"edge-1"]);
    assert_eq!(seen.values("x-forwarded-for"), [&b"203.0.113.7, 198.51.100.4, 127.0.0.1"[..]]);
    assert_eq!(seen.values("x-forwarded-proto"), [b"https"]);
    assert_eq!(seen.values("x-forwarded-host"), [&b"api.example.com"[..]]);
    assert_eq!(seen.values("forwarded"), [&b"for=198.51.100.4;host=\"api.example.com\";proto=https"[..]]);
    assert!(seen.values("x-real-ip").is_empty() && seen.values("x-consumer-name").is_empty());
}
