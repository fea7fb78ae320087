//! Where a message ends, and that no request hides in another.

use serde_json::json;

use super::stage::{Stage, ends, shown};

/// Stands behind a message whose end is in doubt. Nobody may ever answer it or pass it on.
const BEHIND: &str = "GET /behind/hidden HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

fn stage() -> Stage {
    Stage::plain(
        json!([
            {"methods": ["GET", "POST"], "gateway_path": "/any/{*rest}", "body": "any"},
            {"method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}, "max_body": "1KiB"},
            {"method": "POST", "gateway_path": "/keyed", "auth": ["key"], "body_params": {"a": {"type": "integer"}}},
            {"method": "POST", "gateway_path": "/limited", "body": "any",
             "limits": [{"rate": "1/hour", "by": "client_ip"}]},
            {"method": "GET", "gateway_path": "/behind/{who}"},
        ]),
        json!({
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "consumers": {"alice": {"api_keys": [{"sha256": "0".repeat(64)}]}},
        }),
    )
}

/// The message gets this status, the connection ends, and the service sees nothing of it.
fn refused(stage: &Stage, status: u16, message: &str) {
    let mut client = stage.connect();
    client.send(message.as_bytes());
    client.send(BEHIND.as_bytes());
    let response = client.response().unwrap_or_else(|error| panic!("no answer to {message:?}: {error}"));
    assert_eq!(response.status, status, "{message:?}: {}", response.text());
    assert!(ends(&mut client), "the connection goes on after {message:?}");
    assert!(stage.origin.requests().is_empty(), "{message:?}: {:?}", stage.origin.requests());
}

#[test]
fn a_message_whose_length_is_in_doubt_is_refused_and_ends_the_connection() {
    let stage = stage();
    for (status, fields) in [
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (400, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (400, "content-length: 5\r\nTransfer-Encoding: chunked"),
        (400, "Content-Length: 5\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (400, "Transfer-Encoding: chunked, gzip"),
        (400, "Transfer-Encoding: identity"),
        (400, "Transfer-Encoding: xchunked"),
        (400, "Transfer-Encoding:"),
        (400, "Transfer-Encoding: \x0bchunked"),
        (400, "Transfer-Encoding : chunked"),
        (400, "Transfer-Encoding\r\n : chunked"),
        (400, "X-A: 1\r\n Transfer-Encoding: chunked"),
        (501, "Transfer-Encoding: gzip, chunked"),
        (501, "Transfer-Encoding: chunked, chunked"),
        (400, "Content-Length: 5\r\nContent-Length: 5"),
        (400, "Content-Length: 5\r\nContent-Length: 6"),
        (400, "Content-Length: 5, 5"),
        (400, "Content-Length: 5, 6"),
        (400, "Content-Length: +5"),
        (400, "Content-Length: -5"),
        (400, "Content-Length: 0x5"),
        (400, "Content-Length: 5 5"),
        (400, "Content-Length: 5;"),
        (400, "Content-Length: \"5\""),
        (400, "Content-Length:"),
        (400, "Content-Length : 5"),
        (400, "Content-Length: 99999999999999999999999999"),
        (400, "Content-Length: 18446744073709551616"),
    ] {
        for path in ["/checked", "/any/x", "/nowhere"] {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n{fields}");
            refused(&stage, status, &format!("{head}\r\n\r\n0\r\n\r\n"));
        }
    }
}

#[test]
fn an_http_1_0_message_has_no_chunks() {
    refused(&stage(), 400, "POST /any/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn a_field_that_two_servers_could_read_differently_is_refused() {
    let stage = stage();
    for fields in [
        "Host: gateway.test\r\nHost: gateway.test",
        "Host: gateway.test\r\nX A: 1",
        "Host: gateway.test\r\nX-A : 1",
        "Host: gateway.test\r\nX-A: 1\r\n folded",
        "Host: gateway.test\r\n: 1",
        "Host: gateway.test\r\nX-A: \0",
        "Host: gateway.test\r\nX-A: 1\r2",
        "Host: gateway.test\r\nX-A",
        " Host: gateway.test",
    ] {
        refused(&stage, 400, &format!("GET /any/x HTTP/1.1\r\n{fields}\r\n\r\n"));
    }
}

/// Not among them: an empty chunk size, which pingora reads as 0, and a bare LF within an extension, which it skips. Both
/// end here, since what the service gets is written anew.
const BROKEN_CHUNKS: &[&str] = &[
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "4\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "3 3\r\nabc\r\n0\r\n\r\n",
    "g\r\nabc\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "3;\r\rabc\r\n0\r\n\r\n",
];

#[test]
fn a_broken_chunk_ends_a_checked_message_before_the_service_hears_of_it() {
    let stage = stage();
    for chunks in BROKEN_CHUNKS {
        let head = "POST /checked HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n";
        refused(&stage, 400, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_broken_chunk_ends_a_streamed_message() {
    let stage = stage();
    for chunks in BROKEN_CHUNKS {
        let mut client = stage.connect();
        let head = "POST /any/x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{chunks}{BEHIND}").as_bytes());
        assert_eq!(client.response().map(|response| response.status).ok(), Some(400), "{chunks:?}");
        assert!(ends(&mut client), "the connection goes on after {chunks:?}");
        assert!(stage.origin.take().iter().all(|seen| seen.target == "/any/x"), "{chunks:?}");
    }
}

#[test]
fn a_chunk_may_have_extensions_and_a_message_trailers_and_neither_passes() {
    let stage = stage();
    let message = "POST /any/x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-consumer-name\r\n\r\n\
                   2;a=b;c=\"d\"\r\nab\r\n01\r\nc\r\n0\r\nX-Consumer-Name: mallory\r\nContent-Length: 9\r\n\r\n";
    let mut client = stage.connect();
    assert_eq!(client.ask(message.as_bytes()).unwrap().status, 200);
    assert_eq!(client.ask(BEHIND.as_bytes()).unwrap().status, 200);
    let seen = stage.origin.take();
    assert_eq!(seen[0].body, b"abc");
    assert!(seen.iter().all(|seen| seen.values("x-consumer-name").is_empty()), "{seen:?}");
    assert_eq!(seen[1].target, "/behind/hidden");
}

/// pingora takes these; what the service gets of them can be read in one way only.
#[test]
fn an_odd_chunk_size_line_does_not_pass() {
    let stage = stage();
    for (chunks, body) in
        [("3;a\nb\r\nabc\r\n0\r\n\r\n", &b"abc"[..]), ("\r\n\r\n", b""), ("003\r\nabc\r\n;0\r\n\r\n", b"abc")]
    {
        let head = "POST /any/x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (response, seen) = stage.pass(format!("{head}{chunks}").as_bytes());
        assert_eq!((response.status, seen.body.as_slice()), (200, body), "{chunks:?}");
    }
}

#[test]
fn lines_that_end_with_a_bare_lf_are_understood() {
    let stage = stage();
    let (response, seen) = stage.pass(b"GET /any/x HTTP/1.1\nHost: gateway.test\nX-A: 1\n\n");
    assert_eq!((response.status, seen.values("x-a")), (200, vec![&b"1"[..]]));
    let (_, seen) = stage.pass(b"POST /any/x HTTP/1.1\nHost: gateway.test\nContent-Length: 3\n\nabc");
    assert_eq!(seen.body, b"abc");
}

/// The body of a request that is not passed on holds another request, byte for byte.
#[test]
fn a_request_in_the_body_of_a_refused_one_stays_a_body() {
    let stage = stage();
    let outer = b"GET /behind/outer HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    stage.ask(b"POST /limited HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    stage.origin.take();
    for (status, line) in [
        (404, "POST /nowhere"),
        (405, "DELETE /checked"),
        (405, "GET /checked"),
        (400, "POST /any/../x"),
        (401, "POST /keyed"),
        (415, "POST /checked"),
        (422, "POST /checked"),
        (429, "POST /limited"),
        (200, "GET /behind/first"),
    ] {
        let media = if status == 415 { "text/plain" } else { "application/json" };
        let head = format!("{line} HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: {media}\r\n");
        let chunk = format!("{:x}\r\n{BEHIND}\r\n0\r\n\r\n", BEHIND.len());
        for (framing, body) in [
            (format!("Content-Length: {}", BEHIND.len()), BEHIND),
            ("Transfer-Encoding: chunked".to_owned(), &*chunk),
            (format!("Expect: 100-continue\r\nContent-Length: {}", BEHIND.len()), BEHIND),
        ] {
            let mut client = stage.connect();
            let message = format!("{head}{framing}\r\n\r\n{body}");
            let first = client.ask(message.as_bytes()).unwrap();
            assert_eq!(first.status, status, "{}: {}", shown(message.as_bytes()), first.text());
            // Either the connection ends, or the next answer is that to the next request.
            let kept = client.ask(outer).is_ok_and(|response| response.status == 200);
            assert_eq!(kept, first.value("connection") != Some("close"), "{}", shown(message.as_bytes()));
            assert!(ends_or_waits(&stage, kept), "{}", shown(message.as_bytes()));
        }
    }
}

/// The service saw the outer request if the connection was kept, and never the hidden one.
fn ends_or_waits(stage: &Stage, kept: bool) -> bool {
    let seen = stage.origin.take();
    let outer = seen.iter().filter(|seen| seen.target == "/behind/outer").count();
    outer == usize::from(kept) && seen.iter().all(|seen| seen.target != "/behind/hidden")
}

#[test]
fn a_body_beyond_the_limit_ends_the_connection_or_is_read_off() {
    let stage = stage();
    let hidden = BEHIND.repeat(40);
    let head = "POST /checked HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n";
    for message in [
        format!("{head}Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
        format!("{head}Content-Length: 99999999\r\n\r\n{hidden}"),
    ] {
        let mut client = stage.connect();
        assert_eq!(client.ask(message.as_bytes()).unwrap().status, 413);
        client.send(b"GET /behind/outer HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        let _ = client.response();
        assert!(stage.origin.take().iter().all(|seen| seen.target == "/behind/outer"));
    }
}
