//! What clients get of what is stored.

use serde_json::json;

use super::{config, counting, get, numbered, reply, send, start};
use crate::process::instance::eventually;
use crate::support::client::{Client, request};
use crate::support::gateway::Gateway;
use crate::support::origin::Reply;

#[test]
fn heads_parts_and_conditions_are_answered_from_the_store() {
    let origin = counting("cache-control: max-age=60\r\netag: \"a\"\r\ncontent-type: text/plain\r\n");
    let origin_of_ten = numbered(|_, _| reply("cache-control: max-age=60\r\netag: \"a\"\r\n", "0123456789"));
    let gateway = start(&origin_of_ten, &json!({ "respect": true }), &json!({}));
    // Also the one that brings it.
    let first = send(&gateway, "GET", "/a/1", &[("range", "bytes=2-3")]);
    assert_eq!((first.status, first.text().as_str(), first.value("content-range")), (206, "23", Some("bytes 2-3/10")));
    assert!(origin_of_ten.take()[0].values("range").is_empty());
    for (method, fields, status, body) in [
        ("HEAD", &[][..], 200, ""),
        ("GET", &[("range", "bytes=-2")], 206, "89"),
        ("GET", &[("range", "bytes=20-")], 416, ""),
        ("GET", &[("range", "bytes=0-1"), ("if-range", "\"b\"")], 200, "0123456789"),
        ("GET", &[("if-none-match", "W/\"a\"")], 304, ""),
        ("HEAD", &[("if-none-match", "\"a\"")], 304, ""),
        ("GET", &[("if-none-match", "\"b\"")], 200, "0123456789"),
    ] {
        let response = send(&gateway, method, "/a/1", fields);
        assert_eq!((response.status, response.text().as_str()), (status, body), "{method} {fields:?}");
        assert!(response.value("cache-status").unwrap().starts_with("tollgate; hit"), "{method} {fields:?}");
        assert_eq!(response.value("etag"), Some("\"a\""), "{method} {fields:?}");
    }
    assert!(origin_of_ten.take().is_empty());

    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let first = send(&gateway, "GET", "/a/1", &[("if-none-match", "\"a\"")]);
    assert_eq!((first.status, first.value("content-type")), (304, None), "the client has it already");
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    assert_eq!(send(&gateway, "HEAD", "/a/2", &[]).status, 200);
    let methods: Vec<String> = origin.take().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "HEAD"], "a HEAD brings nothing that could be stored");
}

#[test]
fn a_connection_goes_on_after_each_of_them() {
    let origin = numbered(|request, number| match request.path() {
        "/a/chunked" => Reply::raw(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        "/a/empty" => Reply::raw("HTTP/1.1 204 -\r\ncache-control: max-age=60\r\n\r\n"),
        _ => reply("cache-control: max-age=60\r\netag: \"a\"\r\n", &number.to_string()),
    });
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let mut client = Client::connect(gateway.address());
    for _ in 0..2 {
        for (method, path, fields, status) in [
            ("GET", "/a/chunked", &[][..], 200),
            ("GET", "/a/empty", &[], 204),
            ("GET", "/a/1", &[], 200),
            ("HEAD", "/a/1", &[], 200),
            ("GET", "/a/1", &[("if-none-match", "\"a\"")], 304),
            ("GET", "/a/1", &[("range", "bytes=0-0")], 206),
        ] {
            let response = client.ask(&request(method, path, fields, b"")).unwrap();
            assert_eq!((response.status, response.cut), (status, false), "{method} {path}");
        }
    }
    assert_eq!(origin.requests().len(), 3);
    // HTTP/1.0 knows no chunks.
    let mut old = Client::connect(gateway.address());
    let response = old.ask(b"GET /a/chunked HTTP/1.0\r\nhost: gateway.test\r\n\r\n").unwrap();
    assert_eq!((response.text().as_str(), response.value("content-length")), ("abc", Some("3")));
}

#[test]
fn clients_say_how_fresh_they_want_it_where_they_are_heard() {
    let origin = counting("cache-control: max-age=60\r\nage: 30\r\n");
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let asks = |value: &str| send(&gateway, "GET", "/a/1", &[("cache-control", value)]);
    assert_eq!(asks("only-if-cached").status, 504);
    for (value, expected) in [
        ("max-age=600", "1"),
        ("max-age=600", "1"),
        ("max-age=10", "2"),
        ("min-fresh=40", "3"),
        ("no-cache", "4"),
        ("only-if-cached", "4"),
        ("no-store", "5"),
        ("max-stale", "4"),
    ] {
        assert_eq!(asks(value).text(), expected, "{value}");
    }
    assert_eq!(asks("no-store").value("cache-status"), Some("tollgate; fwd=bypass"));
}

#[test]
fn a_route_changes_what_its_clients_get_of_stored_replies_too() {
    let origin = counting("cache-control: max-age=60\r\nx-secret: 1\r\ncache-tag: a\r\ncontent-type: text/plain\r\n");
    let changes = json!({
        "response_headers": { "remove": ["x-secret"], "set": { "x-api": "v1" } },
        "limits": [{ "rate": "100/minute", "by": "route" }],
    });
    let gateway = start(&origin, &json!({ "respect": true }), &changes);
    for left in ["99", "98", "97"] {
        let response = get(&gateway, "/a/1");
        assert_eq!((response.value("x-api"), response.value("x-secret")), (Some("v1"), None));
        assert_eq!(response.value("x-ratelimit-remaining"), Some(left), "limits count what is answered from the store");
        assert_eq!(response.value("cache-tag"), None, "tags are for caches");
    }
    let gateway = start(&origin, &json!({ "respect": true }), &json!({ "override_headers": false }));
    for _ in 0..2 {
        let response = get(&gateway, "/a/1");
        assert_eq!((response.value("content-type"), response.value("cache-control")), (Some("text/plain"), None));
        assert_eq!(response.text(), "2");
    }
}

#[test]
fn checked_replies_are_stored_as_they_were_checked() {
    let origin = numbered(|_, number| {
        reply(
            "cache-control: max-age=60\r\ncontent-type: application/json\r\netag: \"a\"\r\n",
            &format!("{{\"id\": {number}, \"secret\": true}}"),
        )
    });
    let model = json!({ "schema": { "type": "object", "properties": { "id": { "type": "integer", "maximum": 1 } } } });
    let gateway = start(&origin, &json!({ "respect": true }), &json!({ "response_model": model }));
    for _ in 0..2 {
        let response = get(&gateway, "/a/1");
        assert_eq!((response.text().as_str(), response.value("content-length")), ("{\"id\":1}", Some("8")));
    }
    for _ in 0..2 {
        assert_eq!(get(&gateway, "/a/2").status, 502, "what does not fit is not stored");
    }
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn a_full_service_is_no_matter_to_what_is_stored() {
    let origin = counting("cache-control: max-age=60\r\n");
    let mut written = config(origin.address(), &json!({ "respect": true }), &json!({}));
    written["services"]["origin"]["max_requests"] = json!(1);
    let gateway = Gateway::start(&written.to_string());
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    // A moment after the client has all of its answer.
    assert!(eventually(|| get(&gateway, "/a/2").status == 200), "its place is free again");
}
