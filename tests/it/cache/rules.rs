//! What is stored, and for how long.

use serde_json::json;

use super::{config, counting, get, metric, numbered, reply, send, start};
use crate::process::instance::eventually;
use crate::support::client::{Client, request};
use crate::support::gateway::Reload;
use crate::support::origin::Reply;

#[test]
fn a_fresh_reply_is_the_answer_to_what_asks_for_the_same() {
    let origin = counting("cache-control: max-age=60\r\nx-request-id: theirs\r\nconnection: close\r\n");
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let first = get(&gateway, "/a/1");
    assert_eq!((first.text().as_str(), first.value("age")), ("1", Some("0")));
    assert_eq!(first.value("cache-status"), Some("tollgate; fwd=uri-miss; stored"));
    let second = get(&gateway, "/a/1");
    assert_eq!((second.status, second.text().as_str(), second.value("age")), (200, "1", Some("0")));
    assert!(second.value("cache-status").unwrap().starts_with("tollgate; hit; ttl="), "{second:?}");
    assert_ne!(first.value("x-request-id"), second.value("x-request-id"), "each request has its own");
    assert_eq!(get(&gateway, "/a/2").text(), "2");
    assert_eq!(get(&gateway, "/a/1?q=x").text(), "3", "a declared parameter");
    assert_eq!(get(&gateway, "/a/1?other=x").text(), "1", "one that does not reach the service");
    assert_eq!(origin.take().len(), 3);
    assert!(eventually(|| metric(&gateway, "tollgate_cache_requests_total{result=\"hit\",route=\"cached\"}")
        .as_deref()
        == Some("2")));
    assert_eq!(
        metric(&gateway, "tollgate_cache_requests_total{result=\"miss\",route=\"cached\"}").as_deref(),
        Some("3")
    );
    assert_eq!(metric(&gateway, "tollgate_cache_objects").as_deref(), Some("3"));
    assert!(gateway.printed(|line| line.contains("\"cache\":\"hit\"")).is_some());
}

#[test]
fn the_configuration_may_say_how_long() {
    let origin = numbered(|request, number| match request.path() {
        "/a/none" => reply("cache-control: no-store\r\n", &number.to_string()),
        "/a/own" => reply("cache-control: private\r\n", &number.to_string()),
        "/a/cookie" => reply("set-cookie: a=b\r\n", &number.to_string()),
        "/a/missing" => Reply::raw(format!("HTTP/1.1 404 -\r\ncontent-length: 1\r\n\r\n{number}")),
        _ => reply("cache-control: max-age=0\r\n", &number.to_string()),
    });
    let gateway = start(&origin, &json!({ "ttl": "60s" }), &json!({}));
    for (path, stored) in
        [("/a/1", true), ("/a/none", false), ("/a/own", false), ("/a/cookie", false), ("/a/missing", false)]
    {
        let (first, second) =
            (get(&gateway, path).text(), send(&gateway, "GET", path, &[("cache-control", "no-cache")]).text());
        assert_eq!(first == second, stored, "{path}");
    }
    let gateway = start(&origin, &json!({ "ttl": "60s", "set_cookie": "remove" }), &json!({}));
    let (first, second) = (get(&gateway, "/a/cookie"), get(&gateway, "/a/cookie"));
    assert_eq!(first.text(), second.text());
    assert_eq!((first.value("set-cookie"), second.value("set-cookie")), (None, None));
}

#[test]
fn a_stale_reply_is_confirmed_by_its_service_and_the_connection_is_kept() {
    let origin = numbered(|request, number| match request.values("if-none-match")[..] {
        [b"\"a\""] => Reply::raw(format!(
            "HTTP/1.1 304 -\r\netag: \"a\"\r\nx-number: {number}\r\ncache-control: max-age=60\r\n\r\n"
        )),
        _ => reply("cache-control: no-cache\r\netag: \"a\"\r\nx-number: 1\r\n", "body"),
    });
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    // On one connection, since each worker keeps its own ones to services.
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.ask(&request("GET", "/a/1", &[], b"")).unwrap().text(), "body");
    // What the client has itself is no matter of the service.
    let second = client.ask(&request("GET", "/a/1", &[("if-none-match", "\"b\"")], b"")).unwrap();
    assert_eq!((second.status, second.text().as_str(), second.value("x-number")), (200, "body", Some("2")));
    assert_eq!(second.value("cache-status"), Some("tollgate; fwd=stale; fwd-status=304; stored"));
    assert_eq!(second.value("content-length"), Some("4"));
    let third = get(&gateway, "/a/1");
    assert_eq!((third.text().as_str(), third.value("x-number")), ("body", Some("2")), "it is fresh again");
    assert_eq!((origin.requests().len(), origin.connections()), (2, 1));
}

#[test]
fn requests_are_told_apart_by_what_a_reply_varies_on() {
    let origin = numbered(|request, number| {
        let said = request.values("x-want").first().map(|value| String::from_utf8_lossy(value).into_owned());
        reply("cache-control: max-age=60\r\nvary: X-Want\r\n", &format!("{} {number}", said.unwrap_or_default()))
    });
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    for (want, expected) in [("a", "a 1"), ("b", "b 2"), ("a", "a 1"), ("b", "b 2")] {
        assert_eq!(send(&gateway, "GET", "/a/1", &[("x-want", want)]).text(), expected);
    }
    assert_eq!(get(&gateway, "/a/1").text(), " 3");
}

#[test]
fn what_other_methods_change_is_obsolete() {
    let origin = numbered(|request, number| match request.method.as_str() {
        "PUT" => Reply::raw("HTTP/1.1 500 -\r\ncontent-length: 0\r\n\r\n"),
        "POST" => Reply::raw("HTTP/1.1 201 -\r\nlocation: /a/2\r\ncontent-length: 0\r\n\r\n"),
        _ => reply("cache-control: max-age=60\r\n", &number.to_string()),
    });
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    let both = || (get(&gateway, "/a/1").text(), get(&gateway, "/a/1?q=x").text(), get(&gateway, "/a/2").text());
    let stored = both();
    send(&gateway, "PUT", "/a/1", &[]);
    assert_eq!(both(), stored, "what fails changes nothing");
    send(&gateway, "POST", "/a/1", &[]);
    let new = both();
    assert!(new.0 != stored.0 && new.1 != stored.1 && new.2 != stored.2, "{stored:?} {new:?}");
}

#[test]
fn a_reload_keeps_what_is_stored_under_the_same_rules_and_no_other() {
    let origin = counting("cache-control: max-age=60\r\n");
    let written = config(origin.address(), &json!({ "respect": true }), &json!({}));
    let gateway = start(&origin, &json!({ "respect": true }), &json!({}));
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    let mut other = written.clone();
    other["drain"] = json!({ "timeout": "7s" });
    assert_eq!(gateway.reload(&other.to_string()), Reload::Published);
    assert_eq!(get(&gateway, "/a/1").text(), "1");
    other["routes"][0]["request_headers"] = json!({ "set": { "x-tenant": "b" } });
    assert_eq!(gateway.reload(&other.to_string()), Reload::Published);
    assert_eq!(get(&gateway, "/a/1").text(), "2", "the service may reply otherwise now");
}

#[test]
fn the_store_stays_within_its_memory_and_keeps_what_is_asked_for_often() {
    let body = "x".repeat(100_000);
    let origin = numbered(move |_, _| reply("cache-control: max-age=60\r\n", &body));
    let mut written = config(origin.address(), &json!({ "respect": true, "max_object": "256KiB" }), &json!({}));
    written["cache"] = json!({ "memory": "16MiB" });
    let gateway = crate::support::gateway::Gateway::start(&written.to_string());
    for _ in 0..3 {
        get(&gateway, "/a/often");
    }
    for number in 0..400 {
        get(&gateway, &format!("/a/{number}"));
        get(&gateway, "/a/often");
    }
    let asked = origin.requests().iter().filter(|request| request.path() == "/a/often").count();
    assert!(asked <= 2, "the service was asked {asked} times for what everybody wants");
    let bytes: u64 = metric(&gateway, "tollgate_cache_bytes").unwrap().parse().unwrap();
    assert!((8 << 20..=16 << 20).contains(&bytes), "{bytes}");
    assert!(metric(&gateway, "tollgate_cache_evictions_total").unwrap().parse::<u64>().unwrap() > 100);
}

#[test]
fn what_is_larger_than_a_route_allows_passes_whole_and_is_not_stored() {
    let body = "x".repeat(200_000);
    let origin = numbered(move |request, _| match request.path() {
        "/a/known" => reply("cache-control: max-age=60\r\n", &body),
        _ => Reply::raw(format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )),
    });
    let gateway = start(&origin, &json!({ "respect": true, "max_object": "64KiB" }), &json!({}));
    for path in ["/a/known", "/a/unknown"] {
        for _ in 0..2 {
            let response = get(&gateway, path);
            assert_eq!((response.body.len(), response.cut), (200_000, false), "{path}");
        }
        assert_eq!(origin.take().len(), 2, "{path}");
    }
}
