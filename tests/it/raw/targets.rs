//! Request lines, paths and `Host`: what names a resource in one way only passes, everything else is 400.

use serde_json::json;

use super::stage::Stage;
use crate::support::client::{Response, request};

fn stage() -> Stage {
    Stage::plain(
        json!([
            {"methods": ["GET", "POST"], "gateway_path": "/{*rest}", "query_params": "any"},
            {"method": "GET", "gateway_path": "/items/{id}", "query_params": "any"},
        ]),
        json!({}),
    )
}

fn answer(stage: &Stage, line: &str) -> Response {
    stage.ask(format!("{line}\r\nHost: gateway.test\r\n\r\n").as_bytes())
}

#[test]
fn a_path_that_two_servers_could_read_differently_is_refused() {
    let stage = stage();
    for target in [
        "//",
        "//evil.test/a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/./a",
        "/a/../b",
        "/a/..",
        "/a/.",
        "/../../etc/passwd",
        "/%2e",
        "/%2e%2e",
        "/%2E%2e/a",
        "/a/%2e./b",
        "/a/.%2e",
        "/..;/a",
        "/.;/a",
        "/a/..;x=1/b",
        "/%2e%2e;/a",
        "/..%3b/a",
        "/..%3B",
        "/a%2fb",
        "/a%2Fb",
        "/%2f%2fa",
        "/a%5cb",
        "/a%5Cb",
        "/..%2fa",
        "/..%5ca",
        "/%2e%2e%2fa",
        "/a\\b",
        "/..\\a",
        "/a%00",
        "/a%00b",
        "/%0d%0aX-A:%201",
        "/a%0a",
        "/a%09b",
        "/a%7f",
        "/a%1b",
        "/%",
        "/a%2",
        "/a%zz",
        "/a%u002e",
        "/%ff",
        "/%c0%ae%c0%ae/a",
        "/%ed%a0%80",
        "/a#b",
        "/a?x=1#b",
        "/a#/../b",
    ] {
        let response = answer(&stage, &format!("GET {target} HTTP/1.1"));
        assert_eq!(response.status, 400, "{target}: {}", response.text());
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn raw_bytes_beyond_ascii_in_a_target_are_refused() {
    let stage = stage();
    for (target, status) in [
        (&b"/\xff"[..], 400),
        (b"/\xc3", 400),
        (b"/\xc0\xae\xc0\xae/a", 400),
        (b"/a\0", 400),
        (b"/a\x01", 400),
        (b"/a\x7f", 400),
        (b"/a\tb", 400),
        (b"/a\x0bb", 400),
        (b"\xff", 400),
        (b"\xef\xbc\x8fetc", 400),
        (b"/\xc3\xa9", 400),
        (b"/a?x=\xc3\xa9", 400),
    ] {
        let message = [b"GET ", target, b" HTTP/1.1\r\nHost: gateway.test\r\n\r\n"].concat();
        let response = stage.ask(&message);
        assert_eq!(response.status, status, "{}: {}", target.escape_ascii(), response.text());
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_path_reaches_the_service_in_one_spelling() {
    let stage = stage();
    for (target, sent) in [
        ("/a", "/a"),
        ("/", "/"),
        ("/a/", "/a/"),
        ("/%61", "/a"),
        ("/%7euser", "/~user"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("/a%252e%252e", "/a%252e%252e"),
        ("/...", "/..."),
        ("/a;b=c", "/a;b=c"),
        ("/a%20b", "/a%20b"),
        ("/items/%3Fx=1", "/items/%3Fx=1"),
        ("/items/a%23b", "/items/a%23b"),
        ("/a?", "/a"),
        ("/a?//..", "/a?//.."),
        ("/a?x=%0d%0aX-A:1", "/a?x=%0d%0aX-A:1"),
    ] {
        let (response, seen) = stage.pass(&request("GET", target, &[], b""));
        assert_eq!((response.status, seen.target.as_str()), (200, sent), "{target}");
        assert!(seen.values("x-a").is_empty());
    }
}

#[test]
fn methods_are_those_that_a_route_declares() {
    let stage = stage();
    for method in ["TRACE", "get", "Get", "PROPFIND", "DELETE", "PRI", "GETT", "G"] {
        let response = answer(&stage, &format!("{method} /a HTTP/1.1"));
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.value("allow"), Some("GET, HEAD, POST, OPTIONS"), "{method}");
    }
    assert_eq!(answer(&stage, "CONNECT /a HTTP/1.1").status, 405);
    assert_eq!(answer(&stage, "CONNECT gateway.test:80 HTTP/1.1").status, 405);
    assert_eq!(answer(&stage, "G(T /a HTTP/1.1").status, 400);
    assert_eq!(answer(&stage, "OPTIONS /a HTTP/1.1").status, 204);
    assert_eq!(answer(&stage, "OPTIONS * HTTP/1.1").status, 204);
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_target_that_is_no_path_is_refused() {
    let stage = stage();
    for line in [
        "GET * HTTP/1.1",
        "POST * HTTP/1.1",
        "GET x/y HTTP/1.1",
        "GET ?a=1 HTTP/1.1",
        "GET gateway.test HTTP/1.1",
        "GET ftp://gateway.test/a HTTP/1.1",
        "GET http:/a HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://other.test/a HTTP/1.1",
        "GET http://user@gateway.test/a HTTP/1.1",
        "GET http://gateway.test:81/a HTTP/1.1",
        "GET http://gateway.test//a HTTP/1.1",
        "GET http://gateway.test/../a HTTP/1.1",
        "GET http://gateway.test/%2fa HTTP/1.1",
        "GET  HTTP/1.1",
        "GET /a",
        "GET /a HTTP/2.0",
        "GET /a HTTP/1.2",
        "GET /a http/1.1",
        "GET /a HTTP/1.1 ",
        "GET /a HTTP/1.1x",
    ] {
        let response = answer(&stage, line);
        assert_eq!(response.status, 400, "{line}: {}", response.text());
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn an_absolute_target_is_matched_and_sent_on_as_a_path() {
    let stage = stage();
    for (target, sent) in [
        ("http://gateway.test/items/1?x=2", "/items/1?x=2"),
        ("HTTP://gateway.test/items/1", "/items/1"),
        ("https://gateway.test/items/1", "/items/1"),
        ("http://gateway.test/", "/"),
        ("http://gateway.test", "/"),
        ("http://gateway.test?x=2", "/?x=2"),
    ] {
        let (response, seen) = stage.pass(&request("GET", target, &[], b""));
        assert_eq!((response.status, seen.target.as_str()), (200, sent), "{target}");
        assert_eq!(seen.values("host"), [stage.origin.address().to_string().as_bytes()]);
    }
}

#[test]
fn http_1_1_needs_a_host_that_is_one_and_http_1_0_does_not() {
    let stage = stage();
    for (message, status) in [
        ("GET /a HTTP/1.1\r\n\r\n", 400),
        ("GET http://gateway.test/a HTTP/1.1\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: a?b\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: \"a\"\r\n\r\n", 400),
        ("GET /a HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
        ("GET /a HTTP/1.0\r\nHost: a/b\r\n\r\n", 400),
        ("GET /a HTTP/1.0\r\n\r\n", 200),
        ("GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n", 200),
        ("GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200),
    ] {
        let response = stage.ask(message.as_bytes());
        assert_eq!(response.status, status, "{message:?}: {}", response.text());
    }
    assert_eq!(stage.origin.take().len(), 3);
}

#[test]
fn a_host_without_a_route_finds_nothing() {
    let stage = Stage::plain(json!([{"method": "GET", "gateway_path": "/a", "host": "api.test"}]), json!({}));
    for (message, status) in [
        ("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n", 200),
        ("GET /a HTTP/1.1\r\nHost: API.TEST:8080\r\n\r\n", 200),
        ("GET /a HTTP/1.1\r\nHost: other.test\r\n\r\n", 404),
        ("GET /a HTTP/1.0\r\n\r\n", 404),
    ] {
        assert_eq!(stage.ask(message.as_bytes()).status, status, "{message:?}");
    }
}
