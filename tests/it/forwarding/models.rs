//! `response_model`: replies that are checked before the client sees any of them.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use serde_json::{Value, json};

use crate::raw::stage::Stage;
use crate::support::client::{Client, Response, request};
use crate::support::origin::{Origin, Recorded, Reply};
use crate::support::wire;

const MIB: usize = 1024 * 1024;

/// Answers with what stands in the path, or with what `scripts` says of it.
fn stage(script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Stage {
    let model = json!({"schema": {"type": "object", "required": ["id"], "properties": {
        "id": {"type": "integer"},
        "inner": {"properties": {"a": {"type": "string"}}},
    }}});
    let route = |method: &str, path: &str, more: Value| {
        let mut route = json!({
            "methods": [method], "gateway_path": path, "service": "origin", "response_model": model,
            "name": format!("{}{}", method.to_lowercase(), path.replace('/', "-")),
        });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    let routes = json!([
        route("GET", "/model", json!({})),
        route("HEAD", "/model", json!({})),
        route("POST", "/model", json!({"body_params": {"text": {"type": "string"}}})),
        route("POST", "/stream", json!({"body": "any", "max_body": "8MiB"})),
        route("POST", "/none", json!({})),
        {"name": "plain", "method": "GET", "gateway_path": "/plain"},
    ]);
    Stage::set(Origin::start(script), routes, json!({"access_log": {"path": "stdout"}}))
}

fn saying(reply: Reply) -> Stage {
    stage(move |_| reply.clone())
}

fn get(stage: &Stage) -> Response {
    stage.ask(&request("GET", "/model", &[("accept-encoding", "gzip"), ("range", "bytes=0-3")], b""))
}

fn reply(status: &str, fields: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::raw(format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}"))
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn what_the_model_does_not_name_is_removed() {
    let fields = "content-type: application/vnd.x+json; charset=utf-8\r\netag: \"1\"\r\ndigest: x\r\nx-up: 1\r\n";
    let text = r#" {"id": 1.0, "secret": "x", "inner": {"a": "b", "c": 1e3}} "#;
    let stage = saying(reply("201 Created", fields, text));
    let (response, seen) = stage.pass(&request(
        "GET",
        "/model",
        &[("accept-encoding", "gzip"), ("range", "bytes=0-3"), ("if-range", "\"1\"")],
        b"",
    ));
    assert_eq!((response.status, response.text().as_str()), (201, r#"{"id":1.0,"inner":{"a":"b"}}"#));
    assert_eq!(response.value("content-length"), Some("28"));
    assert_eq!(response.value("content-type"), Some("application/vnd.x+json; charset=utf-8"));
    assert_eq!((response.values("etag").len(), response.values("digest").len()), (0, 0));
    assert_eq!(response.value("x-up"), Some("1"));
    assert_eq!(seen.values("accept-encoding"), [b"identity"]);
    assert!(seen.values("range").is_empty() && seen.values("if-range").is_empty());
}

#[test]
fn a_reply_that_needs_no_change_keeps_its_validators() {
    let fields = format!("{JSON}etag: \"1\"\r\n");
    let response = get(&saying(reply("200 OK", &fields, r#"{"id":1}"#)));
    assert_eq!((response.value("etag"), response.text().as_str()), (Some("\"1\""), r#"{"id":1}"#));
}

#[test]
fn a_reply_of_any_framing_is_sent_with_its_length() {
    let text = r#"{"id":7,"more":[1,2,3]}"#;
    let chunks: String = text.bytes().map(|byte| format!("1\r\n{}\r\n", char::from(byte))).collect();
    for reply in [
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")),
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n{chunks}0\r\nx-t: 1\r\n\r\n")),
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{JSON}\r\n{text}")).closing(),
        Reply::raw(format!(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n{JSON}content-length: 23\r\n\r\n{text}"
        )),
    ] {
        let stage = saying(reply);
        let mut client = stage.connect();
        for _ in 0..2 {
            let response = client.ask(&request("GET", "/model", &[], b"")).unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, r#"{"id":7}"#));
            assert_eq!(response.value("content-length"), Some("8"));
            assert!(response.values("transfer-encoding").is_empty());
        }
        let old = stage.ask(b"GET /model HTTP/1.0\r\nhost: gateway.test\r\n\r\n");
        assert_eq!((old.status, old.text().as_str(), old.cut), (200, r#"{"id":7}"#, false));
    }
}

#[test]
fn a_reply_that_violates_its_model_is_502_and_its_values_stay_secret() {
    let rows = [
        (reply("200 OK", JSON, r#"{"id":"SECRET","inner":{"a":1}}"#), "reply.id int_type, reply.inner.a string_type"),
        (reply("200 OK", JSON, r#"{"SECRET":1}"#), "reply.id missing"),
        (reply("200 OK", JSON, r#"{"id":1,"id":2}"#), "reply.id duplicate_name"),
        (reply("200 OK", JSON, r#"{"id": SECRET}"#), "reply json_invalid"),
        (reply("200 OK", JSON, "[]"), "reply dict_type"),
        (reply("206 Partial Content", JSON, r#"{"id"#), "reply json_invalid"),
        (reply("200 OK", JSON, ""), "reply json_invalid"),
        (reply("200 OK", &format!("{JSON}content-encoding: gzip\r\n"), "SECRET"), "reply has a content coding"),
    ];
    for (reply, cause) in rows {
        let stage =
            stage(move |request| if request.path() == "/plain" { Reply::json(200, "{}") } else { reply.clone() });
        let mut client = stage.connect();
        for message in [
            request("GET", "/model", &[], b""),
            request("POST", "/model", &[("content-type", "application/json")], b"{\"text\":\"x\"}"),
            request("POST", "/stream", &[], b"abc"),
        ] {
            let response = client.ask(&message).unwrap_or_else(|error| panic!("{cause}: {error}"));
            assert_eq!(response.status, 502, "{cause}");
            assert_eq!(response.value("content-type"), Some("application/problem+json"));
            let problem: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(problem["type"], "urn:tollgate:problem:bad-reply");
            assert!(!response.text().contains("SECRET") && !response.text().contains("reply."), "{}", response.text());
            assert_eq!(problem["request_id"].as_str(), response.value("x-request-id"));
        }
        assert_eq!(client.ask(&request("GET", "/plain", &[], b"")).unwrap().status, 200, "the connection lives on");
        let line = stage.gateway.printed(|line| line.contains("bad-reply")).expect("an access line");
        assert!(line.contains(cause) && !line.contains("SECRET"), "{line}");
    }
}

#[test]
fn other_replies_pass_untouched() {
    for (status, fields, body) in [
        ("404 Not Found", JSON, "{\"detail\": \"no\"}"),
        ("500 Oops", JSON, "no json"),
        ("301 Moved", JSON, "{}"),
        ("200 OK", "content-type: text/html\r\n", "<p>"),
        ("200 OK", "", "{\"x\": 1}"),
        ("200 OK", "content-type: application/jsonl\r\netag: \"1\"\r\n", "{\"x\": 1}"),
        ("200 OK", "content-type: text/html\r\ncontent-encoding: gzip\r\n", "zip"),
    ] {
        let response = get(&saying(reply(status, fields, body)));
        assert!(status.starts_with(&response.status.to_string()), "{status}");
        assert_eq!(response.text(), body, "{status}");
    }
    let none = saying(Reply::raw(format!("HTTP/1.1 204 No Content\r\n{JSON}\r\n")));
    assert_eq!(get(&none).status, 204);
    let unchanged = saying(Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{JSON}etag: \"1\"\r\n\r\n")));
    assert_eq!((get(&unchanged).status, get(&unchanged).value("etag")), (304, Some("\"1\"")));
    // Nobody knows how much of the body the model would leave.
    let fields = format!("{JSON}etag: \"1\"\r\nx-up: 1\r\ncontent-length: 99\r\n\r\n");
    let head = saying(Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}")));
    let mut client = head.connect();
    for _ in 0..2 {
        let response = client.ask(&request("HEAD", "/model", &[], b"")).unwrap();
        let fields = ["content-length", "etag", "x-up"].map(|name| response.value(name));
        assert_eq!((response.status, fields), (200, [None, None, Some("1")]));
    }
    let gone = saying(Reply::raw(format!("HTTP/1.1 404 Not Found\r\n{fields}")));
    assert_eq!(gone.ask(&request("HEAD", "/model", &[], b"")).value("content-length"), Some("99"));
}

#[test]
fn a_reply_that_breaks_off_or_is_too_large_is_502() {
    let cut = Reply::raw(format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 50\r\n\r\n{{\"id\":")).closing();
    let cut_chunk =
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n8\r\n{{\"id\":")).closing();
    for reply in [cut, cut_chunk] {
        let response = get(&saying(reply));
        assert_eq!(response.status, 502);
        assert!(response.text().contains("service-reply"), "{}", response.text());
    }
    let fitting = format!(r#"{{"id":1,"pad":"{}"}}"#, "x".repeat(8 * MIB - 17));
    assert_eq!(fitting.len(), 8 * MIB);
    assert_eq!(get(&saying(reply("200 OK", JSON, &fitting))).text(), r#"{"id":1}"#);
    let large = format!("{fitting} ");
    let chunked =
        format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for reply in [reply("200 OK", JSON, &large), Reply::raw(chunked)] {
        let stage = saying(reply);
        assert_eq!(get(&stage).status, 502);
        assert!(stage.gateway.printed(|line| line.contains("reply is larger than 8388608 bytes")).is_some());
    }
}

#[test]
fn replies_share_the_memory_of_bodies() {
    let text = format!(r#"{{"id":1,"pad":"{}"}}"#, "x".repeat(100_000));
    let routes = json!([{"method": "GET", "gateway_path": "/model", "response_model": {"schema": true}}]);
    let stage = Stage::set(
        Origin::start(move |_| reply("200 OK", JSON, &text)),
        routes,
        json!({"guard": {"body_memory": "64KiB"}}),
    );
    assert_eq!(stage.ask(&request("GET", "/model", &[], b"")).status, 503);
    assert_eq!(stage.ask(&request("GET", "/model", &[], b"")).status, 503, "what was taken came back");
}

/// The header of a good reply does not reach the client before its last byte has reached the gateway.
#[test]
fn nothing_is_sent_before_the_reply_is_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go, gone) = channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        wire::read_head(&mut reader).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\n{JSON}content-length: 9\r\n\r\n{{\"id\"").unwrap();
        gone.recv().unwrap();
        stream.write_all(b": 1}").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let services = json!({"origin": {"url": format!("http://{address}")}});
    let routes = json!([
        {"method": "GET", "gateway_path": "/model", "response_model": {"schema": {"type": "object"}}},
    ]);
    let stage = Stage::set(Origin::json("{}"), routes, json!({"services": services}));
    let mut client = Client::connect(stage.gateway.address());
    client.send(&request("GET", "/model", &[], b""));
    assert!(client.is_silent(), "something came before the reply was whole");
    go.send(()).unwrap();
    assert_eq!(client.response().unwrap().text(), r#"{"id":1}"#);
}
