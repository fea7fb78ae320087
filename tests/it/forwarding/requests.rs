//! What the service gets of a request's header.

use serde_json::json;

use crate::raw::stage::Stage;
use crate::support::client::request;
use crate::support::origin::{Origin, Recorded};

fn stage() -> Stage {
    Stage::plain(
        json!([
            {"methods": ["GET", "POST"], "gateway_path": "/a", "body": "any"},
            {"method": "GET", "gateway_path": "/edited",
             "request_headers": {"remove": ["cookie", "x-gone", "via"], "set": {"x-set": "ours"}}},
        ]),
        json!({}),
    )
}

fn get(stage: &Stage, path: &str, fields: &[(&str, &str)]) -> Recorded {
    let (response, seen) = stage.pass(&request("GET", path, fields, b""));
    assert_eq!(response.status, 200);
    seen
}

#[test]
fn fields_of_one_connection_end_at_the_gateway() {
    let stage = stage();
    let seen = get(
        &stage,
        "/a",
        &[
            ("connection", "keep-alive, X-Hop, x-hop-too"),
            ("x-hop", "1"),
            ("x-hop-too", "1"),
            ("x-stays", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("te", "trailers, deflate"),
            ("trailer", "x-a"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ],
    );
    for name in ["x-hop", "x-hop-too", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"] {
        assert!(seen.values(name).is_empty(), "{name}: {:?}", seen.fields);
    }
    assert_eq!(seen.values("x-stays"), [b"1"]);
}

#[test]
fn everything_else_passes_unchanged_and_in_order() {
    let stage = stage();
    let head =
        b"GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Same: 1\r\nX-Other: \xe9t\xe9 \xff\r\nX-Same: 2\r\nx-same: 3\r\n\
                 X-Empty:\r\nAccept: */*;q=0.1\r\nAuthorization: Basic eDp5\r\nCookie: a=1; b=2\r\nCookie: c=3\r\n\
                 traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n\
                 Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\nAccept-Encoding: gzip, br\r\nUser-Agent: t/1\r\n\r\n";
    let (_, seen) = stage.pass(head);
    for (name, values) in [
        ("x-same", vec![&b"1"[..], b"2", b"3"]),
        ("x-other", vec![&b"\xe9t\xe9 \xff"[..]]),
        ("x-empty", vec![&b""[..]]),
        ("accept", vec![&b"*/*;q=0.1"[..]]),
        ("authorization", vec![&b"Basic eDp5"[..]]),
        ("cookie", vec![&b"a=1; b=2"[..], b"c=3"]),
        ("traceparent", vec![&b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..]]),
        ("tracestate", vec![&b"a=b"[..]]),
        ("range", vec![&b"bytes=0-1"[..]]),
        ("if-none-match", vec![&b"\"x\""[..]]),
        ("accept-encoding", vec![&b"gzip, br"[..]]),
        ("user-agent", vec![&b"t/1"[..]]),
    ] {
        assert_eq!(seen.values(name), values, "{name}");
    }
}

#[test]
fn the_gateway_says_who_asks_and_for_what() {
    let stage = stage();
    let (response, seen) = stage.pass(&request("GET", "/a", &[("via", "1.0 edge")], b""));
    assert_eq!(seen.values("host"), [stage.origin.address().to_string().as_bytes()]);
    assert_eq!(seen.values("x-forwarded-for"), [b"127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-host"), [&b"gateway.test"[..]]);
    assert_eq!(seen.values("x-forwarded-proto"), [b"http"]);
    assert_eq!(seen.values("forwarded"), [&b"for=127.0.0.1;host=\"gateway.test\";proto=http"[..]]);
    assert_eq!(seen.values("via"), [&b"1.0 edge"[..], b"1.1 tollgate"]);
    let id = response.value("x-request-id").expect("an answer has its id");
    assert_eq!((seen.values("x-request-id"), id.len()), (vec![id.as_bytes()], 32));
    let named = [
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "via",
        "x-request-id",
        "connection",
    ];
    let beside = seen.fields.iter().filter(|(name, _)| !named.contains(&name.as_str())).collect::<Vec<_>>();
    assert!(beside.is_empty(), "{beside:?}");
}

#[test]
fn each_request_has_an_id_of_its_own() {
    let stage = stage();
    let ids: std::collections::HashSet<_> =
        (0..20).map(|_| get(&stage, "/a", &[]).values("x-request-id")[0].to_vec()).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn a_request_without_host_names_no_forwarded_host() {
    let (_, seen) = stage().pass(b"GET /a HTTP/1.0\r\n\r\n");
    assert!(seen.values("x-forwarded-host").is_empty());
    assert_eq!(seen.values("forwarded"), [&b"for=127.0.0.1;proto=http"[..]]);
}

#[test]
fn a_route_edits_what_its_service_gets() {
    let stage = stage();
    let seen = get(&stage, "/edited", &[("cookie", "a=1"), ("x-gone", "1"), ("x-set", "theirs"), ("x-set", "twice")]);
    for name in ["cookie", "x-gone", "via"] {
        assert!(seen.values(name).is_empty(), "{name}");
    }
    assert_eq!(seen.values("x-set"), [b"ours"]);
    assert_eq!(get(&stage, "/a", &[("cookie", "a=1")]).values("cookie"), [b"a=1"]);
}

#[test]
fn an_edit_cannot_be_nominated_away() {
    let seen = get(&stage(), "/edited", &[("connection", "x-set")]);
    assert_eq!(seen.values("x-set"), [b"ours"]);
}

#[test]
fn an_upgrade_is_a_plain_request() {
    let stage = stage();
    for protocol in ["websocket", "h2c", "TLS/1.0"] {
        let fields = [
            ("connection", "Upgrade"),
            ("upgrade", protocol),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut client = stage.connect();
        assert_eq!(client.ask(&request("GET", "/a", &fields, b"")).unwrap().status, 200);
        assert_eq!(client.ask(&request("POST", "/a", &fields, b"abc")).unwrap().status, 200);
        let seen = stage.origin.take();
        assert_eq!((seen.len(), seen[1].body.as_slice()), (2, &b"abc"[..]));
        for seen in seen {
            assert!(seen.values("upgrade").is_empty(), "{protocol}");
            let connection = seen.values("connection").concat().to_ascii_lowercase();
            assert!(!connection.windows(7).any(|part| part == b"upgrade"), "{protocol}");
        }
    }
}

#[test]
fn a_service_that_switches_protocols_unasked_is_502() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let origin = Origin::start(move |_| crate::support::origin::Reply::raw(&switch[..]));
    let stage = Stage::set(origin, json!([{"method": "GET", "gateway_path": "/a"}]), json!({}));
    let fields = [("connection", "Upgrade"), ("upgrade", "websocket")];
    assert_eq!(stage.ask(&request("GET", "/a", &fields, b"")).status, 502);
}

#[test]
fn the_clients_host_passes_where_a_service_wants_it() {
    let origin = Origin::json("{}");
    let url = format!("http://{}", origin.address());
    let stage = Stage::set(
        origin,
        json!([{"method": "GET", "gateway_path": "/a", "service": "vhosts"}]),
        json!({"services": {"vhosts": {"url": url, "preserve_host": true}}}),
    );
    assert_eq!(get(&stage, "/a", &[]).values("host"), [&b"gateway.test"[..]]);
    // A client without a Host leaves the service's own.
    let (_, seen) = stage.pass(b"GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(seen.values("host"), [stage.origin.address().to_string().as_bytes()]);
    let (_, seen) = stage.pass(b"GET http://api.test:81/a HTTP/1.1\r\nHost: api.test:81\r\n\r\n");
    assert_eq!(seen.values("host"), [&b"api.test:81"[..]]);
}

#[test]
fn the_path_of_a_services_url_stands_before_every_service_path() {
    let origin = Origin::json("{}");
    let url = format!("http://{}/base/v1/", origin.address());
    let stage = Stage::set(
        origin,
        json!([
            {"method": "GET", "gateway_path": "/a"},
            {"method": "GET", "gateway_path": "/b/{id}", "service_path": "/c/{id}?x={id}", "query_params": "any"},
            {"method": "GET", "gateway_path": "/", "query_params": "any"},
        ]),
        json!({"services": {"origin": {"url": url}}}),
    );
    for (target, sent) in [
        ("/a", "/base/v1/a"),
        ("/b/1%20%3F", "/base/v1/c/1%20%3F?x=1%20%3F"),
        ("/b/1?y=2", "/base/v1/c/1?x=1&y=2"),
        ("/?q=1", "/base/v1/?q=1"),
    ] {
        assert_eq!(get(&stage, target, &[]).target, sent, "{target}");
    }
}
