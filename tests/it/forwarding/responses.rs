//! What the client gets of a response.

use serde_json::{Value, json};

use crate::raw::stage::Stage;
use crate::support::client::{Response, request};
use crate::support::origin::{Origin, Reply};

/// A gateway before a service that says this to everything, on a route with these further members.
fn stage(reply: impl Into<Vec<u8>>, route: Value) -> Stage {
    let reply = Reply::raw(reply);
    let mut routes = json!([{"methods": ["GET", "HEAD", "POST"], "gateway_path": "/a", "body": "any"}]);
    for (key, value) in route.as_object().expect("members of a route") {
        routes[0][key] = value.clone();
    }
    Stage::set(Origin::start(move |_| reply.clone()), routes, json!({}))
}

fn answer(reply: impl Into<Vec<u8>>) -> Response {
    stage(reply, json!({})).ask(&request("GET", "/a", &[], b""))
}

#[test]
fn fields_of_one_connection_end_at_the_gateway() {
    let response = answer(
        "HTTP/1.1 200 OK\r\nconnection: keep-alive, X-Hop\r\nx-hop: 1\r\nx-stays: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\nte: x\r\ntrailer: x-a\r\nupgrade: h2c\r\n\
         content-length: 2\r\n\r\nok",
    );
    assert_eq!((response.status, response.text()), (200, "ok".to_owned()));
    assert_eq!(
        response.fields_beside(&["content-length", "x-request-id", "date", "connection"]),
        ["x-stays"],
        "{:?}",
        response.fields
    );
    assert_ne!(response.value("connection"), Some("keep-alive, X-Hop"));
}

#[test]
fn everything_else_passes_unchanged_and_in_order() {
    let response = answer(
        &b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX-Other: \xe9t\xe9\r\nSet-Cookie: b=2; Secure\r\nX-Same: 1\r\n\
           x-same: 2\r\nX-Empty:\r\nVary: Accept\r\nServer: s/1\r\nETag: \"x\"\r\n\
           WWW-Authenticate: Basic\r\nContent-Type: text/x; charset=\"y\"\r\nContent-Length: 2\r\n\r\nok"[..],
    );
    for (name, values) in [
        ("set-cookie", vec![&b"a=1; Path=/"[..], b"b=2; Secure"]),
        ("x-other", vec![&b"\xe9t\xe9"[..]]),
        ("x-same", vec![&b"1"[..], b"2"]),
        ("x-empty", vec![&b""[..]]),
        ("vary", vec![&b"Accept"[..]]),
        ("server", vec![&b"s/1"[..]]),
        ("etag", vec![&b"\"x\""[..]]),
        ("www-authenticate", vec![&b"Basic"[..]]),
        ("content-type", vec![&b"text/x; charset=\"y\""[..]]),
        ("content-length", vec![&b"2"[..]]),
    ] {
        assert_eq!(response.values(name), values, "{name}");
    }
}

#[test]
fn a_coded_body_is_not_touched() {
    let body: Vec<u8> = [&[0x1f, 0x8b, 8, 0][..], &(0..=255).collect::<Vec<u8>>()].concat();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
    let stage = stage([head.as_bytes(), &body].concat(), json!({}));
    for accepted in ["gzip", "identity", "br"] {
        let response = stage.ask(&request("GET", "/a", &[("accept-encoding", accepted)], b""));
        assert_eq!((response.value("content-encoding"), response.body.as_slice()), (Some("gzip"), body.as_slice()));
    }
}

#[test]
fn every_status_passes_and_redirects_are_not_followed() {
    for status in
        [200, 201, 202, 203, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 409, 418, 429, 500, 503, 599]
    {
        let reply = format!("HTTP/1.1 {status} X\r\nlocation: http://elsewhere.test/\r\ncontent-length: 2\r\n\r\nok");
        let stage = stage(reply, json!({}));
        let mut client = stage.connect();
        for _ in 0..2 {
            let response = client.ask(&request("GET", "/a", &[], b"")).unwrap();
            assert_eq!((response.status, response.text().as_str()), (status, "ok"));
            assert_eq!(response.value("location"), Some("http://elsewhere.test/"));
        }
        assert_eq!(stage.origin.take().len(), 2, "{status}");
    }
}

#[test]
fn a_response_without_a_body_has_none_and_keeps_the_connection() {
    for (method, reply, status, length) in [
        ("GET", "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\nx-a: 1\r\n\r\n", 304, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\nx-a: 1\r\n\r\n", 304, Some("99")),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\nx-a: 1\r\n\r\n", 200, Some("99")),
        ("HEAD", "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nx-a: 1\r\n\r\n", 404, Some("9")),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-a: 1\r\n\r\n", 200, Some("0")),
        ("POST", "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n", 204, None),
    ] {
        let stage = stage(reply, json!({}));
        let mut client = stage.connect();
        for _ in 0..20 {
            let response = client.ask(&request(method, "/a", &[], b"")).unwrap();
            assert_eq!((response.status, response.value("x-a")), (status, Some("1")), "{method} {reply}");
            assert_eq!(response.value("content-length"), length, "{method} {reply}");
            assert!(response.body.is_empty() && response.values("transfer-encoding").is_empty(), "{method} {reply}");
        }
        // A connection goes back into the pool a moment after its answer: a quick client may find it empty.
        assert!(stage.origin.connections() <= 10, "{} connections: {method} {reply}", stage.origin.connections());
    }
}

#[test]
fn a_get_route_answers_head_without_a_body() {
    let origin = Origin::start(|request| match request.method.as_str() {
        "HEAD" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        _ => Reply::json(200, "{}"),
    });
    let stage = Stage::set(origin, json!([{"method": "GET", "gateway_path": "/a"}]), json!({}));
    let mut client = stage.connect();
    assert_eq!(client.ask(&request("HEAD", "/a", &[], b"")).unwrap().value("content-length"), Some("2"));
    assert_eq!(client.ask(&request("GET", "/a", &[], b"")).unwrap().text(), "{}");
    let methods: Vec<_> = stage.origin.take().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[test]
fn an_interim_response_passes_before_the_final_one() {
    let stage = stage(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        json!({}),
    );
    let mut client = stage.connect();
    for _ in 0..2 {
        let response = client.ask(&request("GET", "/a", &[], b"")).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!(response.interim, [103, 102]);
    }
}

#[test]
fn a_body_without_a_length_arrives_whole() {
    for reply in [
        Reply::raw("HTTP/1.1 200 OK\r\n\r\nto the end").closing(),
        Reply::raw("HTTP/1.0 200 OK\r\n\r\nto the end").closing(),
        Reply::raw(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nto \r\n7\r\nthe end\r\n0\r\nx-a: 1\r\n\r\n",
        ),
    ] {
        let routes = json!([{"method": "GET", "gateway_path": "/a"}]);
        let stage = Stage::set(Origin::start(move |_| reply.clone()), routes, json!({}));
        let mut client = stage.connect();
        let response = client.ask(&request("GET", "/a", &[], b"")).unwrap();
        assert_eq!((response.text().as_str(), response.cut), ("to the end", false));
        assert_eq!(client.ask(&request("GET", "/nowhere", &[], b"")).unwrap().status, 404, "the connection goes on");
        let old = stage.ask(b"GET /a HTTP/1.0\r\n\r\n");
        assert_eq!(old.text(), "to the end");
        assert!(old.values("transfer-encoding").is_empty(), "HTTP/1.0 knows no chunks");
    }
}

const EDITED: &str = "HTTP/1.1 200 OK\r\nx-gone: 1\r\nx-set: theirs\r\nx-set: twice\r\nserver: s\r\nset-cookie: a=1\r\n\
                      content-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\nx-request-id: theirs\r\n\r\nok";

#[test]
fn a_route_edits_what_its_clients_get() {
    let edits = json!({"response_headers": {"remove": ["x-gone", "server"], "set": {"x-set": "ours", "x-new": "1"}}});
    let response = stage(EDITED, edits).ask(&request("GET", "/a", &[], b""));
    assert!(response.values("x-gone").is_empty() && response.values("server").is_empty());
    assert_eq!((response.value("x-set"), response.value("x-new")), (Some("ours"), Some("1")));
    assert_eq!(response.value("set-cookie"), Some("a=1"));
    assert_ne!(response.value("x-request-id"), Some("theirs"));
    assert_eq!(response.text(), "ok");
}

#[test]
fn a_service_whose_headers_are_hidden_shows_only_those_of_its_body() {
    let edits = json!({"override_headers": false, "response_headers": {"set": {"x-set": "ours"}}});
    let response = stage(EDITED, edits).ask(&request("GET", "/a", &[], b""));
    assert_eq!((response.status, response.text().as_str(), response.value("x-set")), (200, "ok", Some("ours")));
    assert_eq!(response.value("content-type"), Some("text/plain"));
    assert_eq!(response.value("content-encoding"), Some("gzip"));
    let known = ["content-type", "content-encoding", "content-length", "x-set", "x-request-id", "date", "connection"];
    assert!(response.fields_beside(&known).is_empty(), "{:?}", response.fields);
}
