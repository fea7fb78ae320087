//! Stored replies are forgotten when operators say so.

use serde_json::{Value, json};

use super::{get, numbered, reply, start};
use crate::support::client::{ask, request};
use crate::support::gateway::Gateway;

/// What the admin listener says to this.
fn purge(gateway: &Gateway, token: &str, wanted: &Value) -> (u16, Value) {
    let body = wanted.to_string();
    let fields = [("authorization", &*format!("Bearer {token}"))];
    let bytes = request("POST", "/cache/purge", &fields, body.as_bytes());
    let text = String::from_utf8(bytes).unwrap().replacen("gateway.test", "localhost", 1);
    let response = ask(gateway.admin(), text.as_bytes());
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
}

#[test]
fn by_route_path_prefix_and_tag() {
    let origin = numbered(|request, number| {
        let tag = request.path().rsplit('/').next().unwrap().to_owned();
        reply(
            &format!("cache-control: max-age=60\r\ncache-tag: all, tag-{tag}\r\nsurrogate-key: s-{tag}\r\n"),
            &number.to_string(),
        )
    });
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let paths = ["/a/1", "/a/1?q=x", "/a/2", "/a/31"];
    let all = || paths.map(|path| get(&gateway, path).text());
    for (wanted, purged) in [
        (json!({ "path": "/a/1" }), [true, true, false, false]),
        (json!({ "prefix": "/a/3" }), [false, false, false, true]),
        (json!({ "tag": "tag-2" }), [false, false, true, false]),
        (json!({ "tag": "s-1" }), [true, true, false, false]),
        (json!({ "tag": "all" }), [true; 4]),
        (json!({ "tag": "other" }), [false; 4]),
        (json!({ "route": "cached" }), [true; 4]),
        (json!({ "route": "change" }), [false; 4]),
        (json!({ "all": true }), [true; 4]),
    ] {
        let before = all();
        let count = purged.iter().filter(|purged| **purged).count();
        assert_eq!(purge(&gateway, "test", &wanted), (200, json!({ "purged": count })), "{wanted}");
        let after = all();
        let gone: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
        assert_eq!(gone, purged, "{wanted}");
    }
}

#[test]
fn only_by_whoever_has_the_token_and_says_what() {
    let origin = numbered(|_, number| reply("cache-control: max-age=60\r\n", &number.to_string()));
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let stored = get(&gateway, "/a/1").text();
    for (token, wanted, status) in [
        ("wrong", json!({ "all": true }), 401),
        ("test", json!({}), 422),
        ("test", json!({ "all": false }), 422),
        ("test", json!({ "path": "/a/1", "tag": "x" }), 422),
        ("test", json!({ "paths": "/a/1" }), 422),
        ("test", json!({ "route": "cachd" }), 404),
    ] {
        assert_eq!(purge(&gateway, token, &wanted).0, status, "{wanted}");
    }
    let read = ask(gateway.admin(), b"GET /cache/purge HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!((read.status, read.value("allow")), (405, Some("POST")));
    assert_eq!(get(&gateway, "/a/1").text(), stored);
}
