//! Request bodies: those that are checked before the service hears of them, and those that stream.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::raw::stage::{Stage, shown};
use crate::support::DEADLINE;
use crate::support::client::{Client, Response, request};
use crate::support::origin::{Origin, Recorded, Reply, Unreachable};

const MIB: usize = 1024 * 1024;

fn stage() -> Stage {
    Stage::plain(
        json!([
            {"method": "POST", "gateway_path": "/checked", "max_body": "4MiB", "undeclared": "forward",
             "body_params": {"text": {"type": "string", "optional": true}}},
            {"methods": ["GET", "POST"], "gateway_path": "/any", "max_body": "8MiB", "body": "any"},
            {"method": "POST", "gateway_path": "/small", "max_body": "1KiB",
             "body_params": {"text": {"type": "string", "optional": true}}},
            {"method": "POST", "gateway_path": "/small-any", "max_body": "1KiB", "body": "any"},
            {"methods": ["GET", "POST", "DELETE"], "gateway_path": "/none"},
        ]),
        json!({}),
    )
}

/// A JSON object of exactly so many bytes.
fn document(length: usize) -> Vec<u8> {
    let text = "abcdefghij".repeat(length / 10 + 1);
    format!("{{\"text\":\"{}\"}}", &text[..length - 11]).into_bytes()
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
}

use Framing::{Chunked, Length};

/// A POST with this body; chunks are of uneven sizes.
pub fn post(path: &str, fields: &str, framing: Framing, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: gateway.test\r\n{fields}");
    let (framed, body) = match framing {
        Length => (format!("Content-Length: {}\r\n\r\n", body.len()), body.to_vec()),
        Chunked => ("Transfer-Encoding: chunked\r\n\r\n".to_owned(), chunked(body)),
    };
    [head.as_bytes(), framed.as_bytes(), &body].concat()
}

fn chunked(mut body: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(body.len() + body.len() / 8);
    for size in [1, 17, 4_096, 70_000].into_iter().cycle() {
        let (chunk, rest) = body.split_at(size.min(body.len()));
        if chunk.is_empty() {
            break;
        }
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
        body = rest;
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

const JSON: &str = "Content-Type: application/json\r\n";
const EXPECT: &str = "Expect: 100-continue\r\n";

fn ask(client: &mut Client, message: &[u8]) -> Response {
    client.ask(message).unwrap_or_else(|error| panic!("no answer: {error} {:?}", shown(message)))
}

fn one(stage: &Stage) -> Recorded {
    let mut seen = stage.origin.take();
    assert_eq!(seen.len(), 1, "the service got so many requests");
    seen.remove(0)
}

#[test]
fn a_checked_body_of_any_size_arrives_whole() {
    let stage = stage();
    for size in [11, 1_000, 10_000, 64 * 1024, 200_000, MIB, 3_000_000, 4 * MIB] {
        let body = document(size);
        for framing in [Length, Chunked] {
            for expect in ["", EXPECT] {
                let mut client = stage.connect();
                for round in 0..2 {
                    let message = post("/checked", &format!("{JSON}{expect}"), framing, &body);
                    let response = ask(&mut client, &message);
                    let case = format!("{size} {framing:?} {expect:?} {round}");
                    assert_eq!(response.status, 200, "{case}: {}", response.text());
                    assert_eq!(response.interim, vec![100; usize::from(!expect.is_empty())], "{case}");
                    let seen = one(&stage);
                    assert!(seen.body == body, "{case}: {} bytes arrived", seen.body.len());
                    assert_eq!(seen.values("content-length"), [size.to_string().as_bytes()], "{case}");
                    assert_eq!(seen.values("content-type"), [&b"application/json"[..]], "{case}");
                    assert!(seen.values("transfer-encoding").is_empty() && seen.values("expect").is_empty(), "{case}");
                }
            }
        }
    }
    assert!(stage.origin.connections() <= 4, "connections to the service are used again");
}

#[test]
fn a_checked_body_of_no_bytes_is_judged_as_one() {
    let stage = Stage::plain(
        json!([
            {"method": "POST", "gateway_path": "/optional", "body_params": {"a": {"type": "string", "optional": true}}},
            {"method": "POST", "gateway_path": "/required", "body_params": {"a": {"type": "string"}}},
        ]),
        json!({}),
    );
    for framing in [Length, Chunked] {
        for expect in ["", EXPECT] {
            let mut client = stage.connect();
            for (path, status) in [("/required", 422), ("/optional", 200), ("/required", 422)] {
                let response = ask(&mut client, &post(path, &format!("{JSON}{expect}"), framing, b""));
                assert_eq!(response.status, status, "{path} {framing:?} {expect:?}: {}", response.text());
            }
            let seen = one(&stage);
            assert!(matches!(&seen.body[..], b"" | b"{}"), "{:?}", seen.body);
            assert!(seen.values("transfer-encoding").is_empty() && seen.values("expect").is_empty());
        }
    }
}

#[test]
fn a_client_that_waits_for_100_gets_it_before_it_sends() {
    let stage = stage();
    let mut client = TcpStream::connect(stage.gateway.address()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let message = post("/checked", &format!("{JSON}{EXPECT}"), Length, &document(1_000));
    let (head, body) = message.split_at(message.len() - 1_000);
    for (sent, answer) in [(head, &b"HTTP/1.1 100 Continue\r\n\r\n"[..]), (body, b"HTTP/1.1 200 ")] {
        client.write_all(sent).unwrap();
        let mut said = vec![0; answer.len()];
        client.read_exact(&mut said).unwrap();
        assert_eq!(said, answer, "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn a_client_that_waits_for_100_gets_its_rejection_instead() {
    let stage = stage();
    for (path, fields, length, status) in [
        ("/small", JSON, 2_000, 413),
        ("/checked", "Content-Type: text/plain\r\n", 2_000, 415),
        ("/nowhere", JSON, 2_000, 404),
    ] {
        let mut client = stage.connect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}{EXPECT}Content-Length: {length}\r\n\r\n");
        client.send(head.as_bytes());
        let response = client.response().unwrap();
        assert_eq!((response.status, response.interim.as_slice()), (status, &[][..]), "{path}");
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_body_beyond_the_limit_is_413() {
    let stage = stage();
    for path in ["/small", "/small-any"] {
        let within = post(path, JSON, Length, &document(1_024));
        assert_eq!(stage.ask(&within).status, 200, "{path}");
        assert_eq!(stage.ask(&post(path, JSON, Chunked, &document(1_024))).status, 200, "{path}");
        stage.origin.take();
        // Refused by its header alone: nothing of it is sent.
        let mut client = stage.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: 1025\r\n\r\n").as_bytes());
        assert_eq!(client.response().unwrap().status, 413, "{path}");
        assert!(stage.origin.take().is_empty(), "{path}");
        // Chunked, it is too large once too much has come.
        for size in [1_025, 100_000] {
            let response = stage.ask(&post(path, JSON, Chunked, &document(size)));
            assert_eq!(response.status, 413, "{path}: {}", response.text());
            assert!(response.text().contains("urn:tollgate:problem:body-too-large"), "{path}: {}", response.text());
        }
        let whole = stage.origin.take().into_iter().filter(|seen| seen.body.len() > 1_024).count();
        assert_eq!(whole, 0, "{path}");
    }
}

#[test]
fn a_violation_of_any_size_never_reaches_the_service() {
    let stage = stage();
    for size in [30, 10_000, 200_000, 3_000_000] {
        let mut body = document(size);
        body.splice(8..9, *b"[\"").for_each(drop); // {"text":["…"}
        for framing in [Length, Chunked] {
            let mut client = stage.connect();
            for _ in 0..2 {
                let response = ask(&mut client, &post("/checked", JSON, framing, &body));
                assert_eq!(response.status, 422, "{size} {framing:?}: {}", response.text());
            }
        }
        let number = format!("{{\"pad\":\"{}\",\"text\":1}}", "x".repeat(size));
        let response = stage.ask(&post("/checked", JSON, Length, number.as_bytes()));
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, &problem["errors"][0]["loc"]), (422, &json!(["body", "text"])), "{size}");
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn the_service_gets_the_same_values() {
    let stage = stage();
    for text in [
        r#"{"z":1,"a":2,"m":{"z":[],"a":{}}}"#,
        r#"{"n":[1.10,0.1,100,-0,1E400,123456789012345678901234567890,3.141592653589793238462643383279]}"#,
        r#"{"s":["é","\u0000","\n","\"","😀"]}"#,
        r#"{"b":[true,false,null]}"#,
        "  {\n \"spread\" : [ 1 , 2 ] }\r\n",
    ] {
        assert_eq!(stage.ask(&post("/checked", JSON, Length, text.as_bytes())).status, 200, "{text}");
        // Both keep digits and order.
        let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap().to_string();
        assert_eq!(parsed(&one(&stage).body), parsed(text.as_bytes()));
    }
}

#[test]
fn a_retry_at_another_target_has_the_whole_body() {
    let (down, up) = (Unreachable::reserve(), Origin::json("{}"));
    let targets = json!([{"address": down.address().to_string()}, {"address": up.address().to_string()}]);
    let routes = json!([
        {"method": "POST", "gateway_path": "/checked", "max_body": "4MiB", "body_params": {"text": {"type": "string"}}},
        {"method": "POST", "gateway_path": "/any", "max_body": "4MiB", "body": "any"},
    ]);
    let stage = Stage::set(up, routes, json!({"services": {"origin": {"targets": targets}}}));
    for size in [100, 200_000, 3_000_000] {
        for path in ["/checked", "/any"] {
            for framing in [Length, Chunked, Length, Chunked] {
                let body = document(size);
                let mut client = stage.connect();
                let response = ask(&mut client, &post(path, JSON, framing, &body));
                assert_eq!(response.status, 200, "{path} {size} {framing:?}: {}", response.text());
                assert!(one(&stage).body == body, "{path} {size} {framing:?}");
                assert_eq!(ask(&mut client, &post(path, JSON, Length, &document(20))).status, 200);
                stage.origin.take();
            }
        }
    }
}

/// Bytes that are neither text nor compressible.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

#[test]
fn a_streamed_body_arrives_byte_for_byte() {
    let stage = stage();
    for size in [0, 1, 70_000, 5 * MIB] {
        let body = noise(size);
        for framing in [Length, Chunked] {
            for expect in ["", EXPECT] {
                let mut client = stage.connect();
                let fields = format!("Content-Type: image/x\r\nContent-Encoding: gzip\r\n{expect}");
                let case = format!("{size} {framing:?} {expect:?}");
                // A service that is asked for 100 has to give it; the scripted one answers when it has everything.
                let response = ask(&mut client, &post("/any", &fields, framing, &body));
                assert_eq!(response.status, 200, "{case}: {}", response.text());
                let seen = one(&stage);
                assert!(seen.body == body, "{case}: {} bytes arrived", seen.body.len());
                assert_eq!(seen.values("content-encoding"), [b"gzip"], "{case}");
                assert_eq!(seen.values("content-type"), [b"image/x"], "{case}");
                let length = seen.values("content-length");
                match framing {
                    Length => assert_eq!(length, [size.to_string().as_bytes()], "{case}"),
                    Chunked => assert!(length.is_empty() && seen.values("transfer-encoding") == [b"chunked"], "{case}"),
                }
                assert_eq!(ask(&mut client, &request("GET", "/none", &[], b"")).status, 200, "{case}");
                stage.origin.take();
            }
        }
    }
}

#[test]
fn a_streamed_reply_to_a_streamed_body_arrives_byte_for_byte() {
    let origin = Origin::start(|request| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        Reply::raw([head, chunked(&request.body)].concat())
    });
    let routes = json!([{"method": "POST", "gateway_path": "/any", "max_body": "8MiB", "body": "any"}]);
    let stage = Stage::set(origin, routes, json!({}));
    let body = noise(5 * MIB);
    let mut client = stage.connect();
    for framing in [Chunked, Length] {
        let response = ask(&mut client, &post("/any", "", framing, &body));
        assert!(response.status == 200 && response.body == body && !response.cut, "{framing:?}");
        assert_eq!(response.value("transfer-encoding"), Some("chunked"));
    }
}

#[test]
fn a_coded_body_cannot_be_checked_and_is_415() {
    let stage = stage();
    for coding in ["gzip", "br", "deflate", "gzip, gzip"] {
        let fields = format!("{JSON}Content-Encoding: {coding}\r\n");
        let mut client = stage.connect();
        for _ in 0..2 {
            assert_eq!(ask(&mut client, &post("/checked", &fields, Length, &document(500))).status, 415, "{coding}");
        }
    }
    assert_eq!(stage.origin.connections(), 0);
    let identity = format!("{JSON}Content-Encoding: identity\r\n");
    assert_eq!(stage.ask(&post("/checked", &identity, Length, &document(500))).status, 200);
}

#[test]
fn a_body_that_a_route_does_not_declare_does_not_pass() {
    let stage = stage();
    for method in ["GET", "POST", "DELETE"] {
        for framing in [Length, Chunked] {
            for size in [11, 100_000] {
                let message = post("/none", JSON, framing, &document(size));
                let message = [method.as_bytes(), &message[4..]].concat();
                let mut client = stage.connect();
                for _ in 0..2 {
                    assert_eq!(ask(&mut client, &message).status, 200, "{method} {framing:?}");
                    let seen = one(&stage);
                    assert!(seen.body.is_empty(), "{method} {framing:?}");
                    for name in ["content-length", "transfer-encoding", "content-type"] {
                        let values = seen.values(name);
                        assert!(values.is_empty() || values == [b"0"], "{method} {framing:?} {name}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_client_that_leaves_within_its_body_reaches_nobody() {
    for framing in [Length, Chunked] {
        let stage = stage();
        let message = post("/checked", JSON, framing, &document(10_000));
        stage.connect().send(&message[..message.len() - 5]); // and leaves
        let line = stage.gateway.printed(|line| line.contains("/checked")).expect("an access line");
        assert!(!line.contains("\"admitted\""), "{line}");
        assert_eq!(stage.origin.connections(), 0);
    }
}
