//! Services that are down, slow or broken, and clients that leave.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::raw::stage::{Stage, ends};
use crate::support::DEADLINE;
use crate::support::client::{Response, request};
use crate::support::origin::{Origin, Reply, Unreachable};
use crate::support::wire::{self, Framing};

/// A gateway whose services `origin` and `other` are at these addresses and have little time.
fn stage(address: &str, other: Origin) -> Stage {
    let timeouts = json!({"connect": "200ms", "response": "300ms", "idle": "300ms"});
    let services = json!({
        "origin": {"url": format!("http://{address}"), "timeouts": timeouts},
        "other": {"url": format!("http://{}", other.address())},
    });
    let routes = json!([
        {"name": "a", "methods": ["GET", "POST", "HEAD"], "gateway_path": "/a", "body": "any"},
        {"name": "checked", "method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}},
        {"name": "other", "method": "GET", "gateway_path": "/other", "service": "other"},
    ]);
    Stage::set(other, routes, json!({"services": services}))
}

/// A gateway before a service that says this to everything.
fn saying(reply: Reply) -> (Stage, Origin) {
    let origin = Origin::start(move |_| reply.clone());
    (stage(&origin.address().to_string(), Origin::json("{}")), origin)
}

/// A problem document of this status, after which the gateway serves others as before.
fn problem(stage: &Stage, status: u16, code: &str) {
    for message in [
        request("GET", "/a", &[], b""),
        request("POST", "/a", &[], b"abc"),
        request("POST", "/checked", &[("content-type", "application/json")], b"{\"a\":1}"),
    ] {
        let response = stage.ask(&message);
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.value("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(problem["type"], format!("urn:tollgate:problem:{code}"));
        assert_eq!(problem["request_id"].as_str(), response.value("x-request-id"));
        let said = response.text();
        assert!(!said.contains("127.0.0.1") && !said.contains("192.0.2"), "an address leaks: {said}");
    }
    assert_eq!(stage.ask(&request("GET", "/other", &[], b"")).status, 200);
}

#[test]
fn a_service_that_is_down_is_503() {
    let down = Unreachable::reserve();
    problem(&stage(&down.address().to_string(), Origin::json("{}")), 503, "service-unavailable");
}

/// A listener whose queue of unaccepted connections is full: further ones are neither taken nor refused.
struct Full {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Full {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(stream);
        }
        Self { listener, _waiting: waiting }
    }
}

#[test]
fn a_service_that_does_not_take_connections_is_504() {
    let full = Full::listen();
    let address = full.listener.local_addr().unwrap().to_string();
    problem(&stage(&address, Origin::json("{}")), 504, "service-timeout");
}

#[test]
fn a_service_that_does_not_answer_is_504() {
    let (stage, _origin) = saying(Reply::raw(""));
    problem(&stage, 504, "service-timeout");
}

#[test]
fn a_service_that_stops_within_its_header_is_504() {
    let (stage, _origin) = saying(Reply::raw("HTTP/1.1 200 OK\r\nx-a: "));
    problem(&stage, 504, "service-timeout");
}

#[test]
fn a_reply_that_is_not_http_is_502() {
    for reply in [
        "nonsense\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nx-a",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx a: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nab",
    ] {
        let (stage, _origin) = saying(Reply::raw(reply).closing());
        problem(&stage, 502, "service-reply");
    }
}

#[test]
fn a_reply_with_too_many_fields_is_502() {
    let fields: String = (0..300).map(|number| format!("x-{number}: 1\r\n")).collect();
    let (stage, _origin) = saying(Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n")));
    problem(&stage, 502, "service-reply");
}

/// The service refuses an upload by its header alone and reads nothing of it.
#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (done, is_done) = channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        wire::read_head(&mut BufReader::with_capacity(1, stream.try_clone().unwrap())).unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno").unwrap();
        let _ = is_done.recv();
    });
    let routes = json!([{"method": "POST", "gateway_path": "/a", "body": "any", "max_body": "64MiB"}]);
    let stage = Stage::set(
        Origin::json("{}"),
        routes,
        json!({"services": {"origin": {"url": url}}, "guard": {"body_timeout": "300ms"}}),
    );
    let mut client = stage.connect();
    client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    client.send(&[b'x'; 100_000]);
    let response = client.response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (413, "no"));
    assert_eq!(response.value("connection"), Some("close"));
    drop(done);
    assert!(ends(&mut client), "the rest of the body cannot be told from a request");
}

#[test]
fn a_reply_that_breaks_off_never_looks_whole() {
    for (reply, closes) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"[..], true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n", true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", true),
    ] {
        let reply = Reply::raw(reply);
        let (stage, _origin) = saying(if closes { reply.clone().closing() } else { reply.clone() });
        let case = String::from_utf8_lossy(&reply.bytes).into_owned();
        let mut client = stage.connect();
        let response: Response = client.ask(&request("GET", "/a", &[], b"")).unwrap();
        // Where nothing was passed on yet it may still be an error.
        assert!(response.cut || response.status == 502, "{case:?} closes: {closes}: {response:?}");
        assert!(response.status == 502 || ends(&mut client), "{case:?} closes: {closes}");
        assert_eq!(stage.ask(&request("GET", "/other", &[], b"")).status, 200);
    }
}

#[test]
fn what_stands_behind_a_reply_is_nobodys_answer() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for first in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let (stage, _origin) = saying(Reply::raw(format!("{first}{forged}")));
        let mut client = stage.connect();
        for _ in 0..4 {
            let Ok(response) = client.ask(&request("GET", "/a", &[], b"")) else {
                client = stage.connect();
                continue;
            };
            assert!(!response.text().contains("forged"), "{first:?}: {response:?}");
        }
    }
}

/// A service that takes one request, says a few bytes, and watches its connection.
struct Watched {
    url: String,
    asked: Receiver<()>,
    left: Receiver<()>,
}

impl Watched {
    fn start(reply: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (was_asked, asked) = channel();
        let (was_left, left) = channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let head = wire::read_head(&mut reader).unwrap().unwrap();
            wire::read_body(&mut reader, head.framing().unwrap_or(Framing::Absent));
            was_asked.send(()).unwrap();
            stream.write_all(reply).unwrap();
            // Until the end of the connection, an orderly or a hard one.
            let _ = reader.read_to_end(&mut Vec::new());
            let _ = was_left.send(());
        });
        Self { url, asked, left }
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let get = request("GET", "/a", &[], b"");
    let checked = request("POST", "/checked", &[("content-type", "application/json")], b"{\"a\":1}");
    for message in [get, checked] {
        for reply in [&b""[..], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
            let watched = Watched::start(reply);
            let routes = json!([
                {"method": "GET", "gateway_path": "/a"},
                {"method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}},
            ]);
            let service = json!({"url": watched.url, "timeouts": {"response": "60s"}});
            let stage = Stage::set(Origin::json("{}"), routes, json!({"services": {"origin": service}}));
            let mut client = TcpStream::connect(stage.gateway.address()).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.write_all(&message).unwrap();
            watched.asked.recv_timeout(DEADLINE).expect("the service is asked");
            let mut said = Vec::new();
            while !reply.is_empty() && !said.ends_with(b"\r\nabc") {
                let mut byte = [0];
                client.read_exact(&mut byte).expect("what has come is passed on");
                said.push(byte[0]);
            }
            drop(client);
            watched.left.recv_timeout(DEADLINE).expect("the service is left too");
        }
    }
}
