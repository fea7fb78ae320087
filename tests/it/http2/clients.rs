//! Requests of clients: they are decided on and sent on as those of HTTP/1 are.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{over_http2, stage};
use crate::raw::stage::Stage;
use crate::support::client::{self, Client};
use crate::support::http2::{Http2, get, request, run, send, until, whole};
use crate::support::origin::{Origin, Reply};

#[test]
fn both_versions_are_taken_and_the_shortest_request_is_answered() {
    let stage = stage(json!([{"method": "GET", "gateway_path": "/"}]), json!({}));
    let mut client = Client::connect(stage.gateway.address());
    // Shorter than what a connection of HTTP/2 begins with.
    assert_eq!(client.ask(b"GET / HTTP/1.0\r\n\r\n").unwrap().status, 200);
    // Begins like it.
    let mut client = Client::connect(stage.gateway.address());
    client.send(b"PRI");
    assert!(client.is_silent());
    client.send(b"NT / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().unwrap().status, 405);
    let answer = run(async { Http2::connect(stage.gateway.address()).await.fetch("/").await });
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let line = stage.gateway.printed(|line| line.contains("HTTP/2")).expect("a line");
    assert!(line.contains("\"protocol\":\"HTTP/2\"") && line.contains("\"host\":\"gateway.test\""), "{line}");
}

#[test]
fn unless_it_is_said_a_listener_takes_http1_alone() {
    let stage = Stage::plain(json!([{"method": "GET", "gateway_path": "/"}]), json!({}));
    run(async {
        if let Ok(mut client) = Http2::try_connect(stage.gateway.address()).await {
            assert!(client.try_ask(get("/"), b"").await.is_err());
        }
    });
    assert_eq!(stage.ask(&client::request("GET", "/", &[], b"")).status, 200);
}

#[test]
fn authority_and_cookies_are_what_they_are_in_http1() {
    let routes = json!([
        {"method": "GET", "gateway_path": "/", "host": "gateway.test", "request_headers": {"allow": ["cookie", "x-a"]},
         "cookie_params": {"b": {"type": "integer"}}},
    ]);
    let stage = stage(routes, json!({}));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3"), ("x-a", "1"), ("x-b", "2")];
        let answer = client.ask(request("GET", "/", &crumbs), b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut elsewhere = get("/");
        *elsewhere.uri_mut() = "http://other.test/".parse().unwrap();
        assert_eq!(client.ask(elsewhere, b"").await.status, 404);
    });
    let seen = stage.origin.take().remove(0);
    assert_eq!(seen.values("cookie"), [b"b=2"], "one that is declared, found among all");
    assert_eq!(seen.values("x-forwarded-host"), [b"gateway.test"]);
    assert_eq!(seen.values("via"), [b"2.0 tollgate"]);
    assert_eq!(seen.values("host").len(), 1);
    assert!(seen.values("x-b").is_empty());
}

#[test]
fn bodies_are_checked_streamed_and_refused() {
    let routes = json!([
        {"method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}, "max_body": "1MiB"},
        {"method": "POST", "gateway_path": "/streamed", "body": "any", "max_body": "64MiB"},
        {"method": "POST", "gateway_path": "/none"},
    ]);
    let stage = stage(routes, json!({}));
    let kind = [("content-type", "application/json")];
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let large = vec![b'x'; 20 << 20];
        for (path, body, status) in [
            ("/checked", &br#"{"a": 1, "b": 2}"#[..], 200),
            ("/checked", br#"{"a": "x"}"#, 422),
            ("/checked", b"", 422),
            ("/checked", &large, 413),
            ("/streamed", &large, 200),
            ("/none", b"nobody asked for it", 200),
        ] {
            // Without a length: the frames say that there is a body.
            let answer = client.ask(request("POST", path, &kind), body).await;
            assert_eq!(answer.status, status, "{path} {}: {}", body.len(), answer.text());
        }
    });
    let seen: Vec<_> = stage.origin.take().into_iter().map(|seen| (seen.path().to_owned(), seen.body.len())).collect();
    let expected = [("/checked", br#"{"a":1}"#.len()), ("/streamed", 20 << 20), ("/none", 0)];
    assert_eq!(seen, expected.map(|(path, length)| (path.to_owned(), length)));
}

#[test]
fn each_request_has_its_own_deadlines() {
    let origin = Origin::start(|request| {
        std::thread::sleep(Duration::from_millis(if request.path() == "/quick" { 0 } else { 1200 }));
        Reply::json(200, "{}")
    });
    let url = format!("http://{}", origin.address());
    let sections = json!({
        "services": {
            "origin": {"url": url, "timeouts": {"response": "300ms"}},
            "patient": {"url": url, "timeouts": {"response": "20s"}},
        },
        "guard": {"body_timeout": "300ms"},
    });
    let routes = json!([
        {"method": "GET", "gateway_path": "/quick"},
        {"method": "GET", "gateway_path": "/late"},
        {"method": "GET", "gateway_path": "/slow", "service": "patient"},
        {"method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}},
        {"method": "POST", "gateway_path": "/streamed", "body": "any"},
    ]);
    let stage = Stage::set(origin, routes, over_http2(sections));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let (late, _) = client.begin(get("/late"), true).await.unwrap();
        let (slow, _) = client.begin(get("/slow"), true).await.unwrap();
        let kind = [("content-type", "application/json")];
        // Bodies that never come to their end.
        let (checked, _checked) = client.begin(request("POST", "/checked", &kind), false).await.unwrap();
        let (streamed, mut sent) = client.begin(request("POST", "/streamed", &kind), false).await.unwrap();
        send(&mut sent, Bytes::from_static(b"{"), false).await.unwrap();
        let (late, slow, checked, streamed, quick) =
            tokio::join!(whole(late), whole(slow), whole(checked), whole(streamed), client.fetch("/quick"));
        let statuses = [late, slow, checked, streamed].map(|answer| answer.unwrap().status);
        assert_eq!((statuses, quick.status), ([504, 200, 408, 408], 200));
        assert_eq!(client.fetch("/quick").await.status, 200, "the connection goes on");
    });
}

#[test]
fn a_client_that_resets_its_stream_has_left() {
    let origin = Origin::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Reply::json(200, "{}")
    });
    let routes = json!([{"method": "GET", "gateway_path": "/"}]);
    let stage = Stage::set(origin, routes, over_http2(json!({})));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let (response, mut stream) = client.begin(get("/"), true).await.unwrap();
        assert!(until(|| !stage.origin.requests().is_empty()).await);
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        assert_eq!(client.fetch("/").await.status, 200);
    });
    let line = stage.gateway.printed(|line| line.contains("client-left")).expect("a line");
    assert!(line.contains("\"status\":0"), "{line}");
}

#[test]
fn a_websocket_needs_http1() {
    let stage = stage(json!([{"method": "GET", "gateway_path": "/live", "websocket": true}]), json!({}));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let answer = client.fetch("/live").await;
        assert_eq!(answer.status, 426);
        assert!(answer.text().contains("HTTP/1.1"), "{}", answer.text());
        let connect = http::Request::builder().method("CONNECT").uri("gateway.test:80").body(()).unwrap();
        assert_eq!(client.ask(connect, b"").await.status, 405);
        assert_eq!(client.fetch("/live").await.status, 426, "the connection goes on");
    });
}

#[test]
fn a_header_is_refused_as_over_http1() {
    let guard = json!({"header_bytes": "2KiB", "header_count": 20, "uri_bytes": "200"});
    let stage = stage(json!([{"method": "GET", "gateway_path": "/{*rest}"}]), guard);
    let large = "x".repeat(2100);
    let many: Vec<(String, String)> = (0..21).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // More than the connection is told of at its beginning, so that nobody reads it.
    let beyond = "x".repeat(6_000);
    run(async {
        for (path, fields, status) in [
            ("/", &[][..], 200),
            ("/", &[("x-large", large.as_str())], 431),
            ("/", &many, 431),
            ("/", &[("x-beyond", beyond.as_str())], 431),
            (&format!("/{}", "x".repeat(250)), &[], 414),
            ("/a/../b", &[], 400),
            ("/", &[("expect", "100-continue")], 200),
        ] {
            let mut client = Http2::connect(stage.gateway.address()).await;
            assert_eq!(client.ask(request("GET", path, fields), b"").await.status, status, "{path} {}", fields.len());
        }
    });
}
