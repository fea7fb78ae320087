//! What a connection may cost: deadlines, caps, the flood guard and the memory of bodies.
//!
//! Deadlines are set to fractions of a second. A test asserts that the connection ends, and that it did not end before
//! its deadline; how much later it may end is bounded by [`DEADLINE`] alone, so that a busy machine changes nothing.

mod slow;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::raw::stage::{Stage, ends};
use crate::support::DEADLINE;
use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Reply};

/// The deadline under test, in each test one of them.
const SHORT: Duration = Duration::from_millis(300);

fn stage(guard: Value) -> Stage {
    Stage::plain(
        json!([
            {"method": "GET", "gateway_path": "/a"},
            {"method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "string"}}},
            {"method": "POST", "gateway_path": "/streamed", "body": "any"},
        ]),
        json!({"guard": guard}),
    )
}

fn get() -> Vec<u8> {
    request("GET", "/a", &[], b"")
}

/// Sends a byte every few milliseconds until the server closes the connection; what it said, and after how long.
fn drip(stage: &Stage, first: &[u8], byte: u8) -> (String, Duration) {
    let mut stream = TcpStream::connect(stage.gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.write_all(first).unwrap();
    let begun = Instant::now();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while begun.elapsed() < DEADLINE {
        let _ = stream.write_all(&[byte]);
        match stream.read(&mut buffer) {
            Ok(0) => return (String::from_utf8_lossy(&said).into_owned(), begun.elapsed()),
            Ok(read) => said.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return (String::from_utf8_lossy(&said).into_owned(), begun.elapsed()),
        }
    }
    panic!("still open after {DEADLINE:?}");
}

/// Waits until the gateway answers a GET on a new connection with 200.
fn recovers(stage: &Stage) -> bool {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if Client::connect(stage.gateway.address()).ask(&get()).is_ok_and(|response| response.status == 200) {
            return true;
        }
    }
    false
}

#[test]
fn a_header_that_does_not_come_to_its_end_is_408() {
    let stage = stage(json!({"header_timeout": "300ms"}));
    for first in ["G", "GET /a HTTP/1.1\r\nHost: a\r\nX-A: ", "\r\n"] {
        let (said, after) = drip(&stage, first.as_bytes(), b'x');
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("Connection: close"), "{first:?}: {said}");
        assert!((SHORT..DEADLINE / 2).contains(&after), "{first:?}: {after:?}");
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn the_header_deadline_holds_for_a_later_request_too() {
    let stage = stage(json!({"header_timeout": "300ms"}));
    let mut client = stage.connect();
    assert_eq!(client.ask(&get()).unwrap().status, 200);
    let begun = Instant::now();
    client.send(b"GET /a HTTP/1.1\r\nHost:");
    let response = client.response().unwrap();
    assert_eq!((response.status, response.value("connection")), (408, Some("close")));
    assert!(begun.elapsed() >= SHORT && ends(&mut client));
    assert_eq!(stage.origin.take().len(), 1);
}

#[test]
fn half_a_header_right_behind_a_request_does_not_stay() {
    let stage = stage(json!({"header_timeout": "300ms", "idle_timeout": "300ms"}));
    let mut client = stage.connect();
    assert_eq!(client.ask(&[&get()[..], b"GET /a HTTP/1.1\r\nHost:"].concat()).unwrap().status, 200);
    let until_closed = client.response();
    assert!(until_closed.as_ref().map_or(true, |response| response.status == 408), "{until_closed:?}");
    assert_eq!(stage.origin.take().len(), 1);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let stage = stage(json!({"idle_timeout": "300ms"}));
    let begun = Instant::now();
    let mut silent = stage.connect();
    assert!(silent.is_closed() && begun.elapsed() >= SHORT);

    let mut client = stage.connect();
    assert_eq!(client.ask(&get()).unwrap().status, 200);
    let begun = Instant::now();
    assert!(client.is_closed() && begun.elapsed() >= SHORT);
}

/// A refused request never waits for a service, so nothing but its bytes tells that the connection was in use.
#[test]
fn a_refused_request_begins_a_new_idle_time() {
    let stage = stage(json!({"idle_timeout": "900ms"}));
    let mut client = stage.connect();
    let begun = Instant::now();
    while begun.elapsed() < 6 * SHORT {
        assert_eq!(client.ask(&request("GET", "/nowhere", &[], b"")).unwrap().status, 404);
    }
    let begun = Instant::now();
    assert!(client.is_closed() && begun.elapsed() >= 3 * SHORT);
}

/// The timer of an idle connection is not moved with each request; it may not cut short what came after it.
#[test]
fn each_request_begins_a_new_idle_time() {
    let stage = stage(json!({"header_timeout": "300ms", "idle_timeout": "900ms"}));
    let mut client = stage.connect();
    client.send(b"GET /a HTTP/1.1\r\nHost:");
    let begun = Instant::now();
    client.send(b" a\r\n\r\n");
    assert_eq!(client.response().unwrap().status, 200);
    while begun.elapsed() < 6 * SHORT {
        assert_eq!(client.ask(&get()).unwrap().status, 200);
    }
    let begun = Instant::now();
    assert!(client.is_closed() && begun.elapsed() >= 3 * SHORT);
}

#[test]
fn neither_deadline_holds_while_a_request_is_served() {
    let origin = Origin::start(|_| {
        std::thread::sleep(4 * SHORT); // a slow service
        Reply::json(200, "{}")
    });
    let routes = json!([{"method": "GET", "gateway_path": "/a"}]);
    let guard = json!({"header_timeout": "300ms", "idle_timeout": "300ms", "body_timeout": "300ms"});
    let stage = Stage::set(origin, routes, json!({"guard": guard}));
    assert_eq!(stage.ask(&get()).status, 200);
}

/// The rest of a rejected body is read off after the answer; then the connection is idle, not within a header.
#[test]
fn a_connection_whose_body_was_read_off_is_idle() {
    let stage = stage(json!({"header_timeout": "300ms", "idle_timeout": "900ms"}));
    let mut client = stage.connect();
    client.send(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    assert_eq!(client.response().unwrap().status, 404);
    client.send(b"bc");
    let begun = Instant::now();
    assert!(client.is_closed(), "it said something");
    assert!(begun.elapsed() >= 2 * SHORT, "{:?}", begun.elapsed());
}

#[test]
fn connections_beyond_the_cap_are_closed_and_a_closed_one_makes_room() {
    for guard in [json!({"max_connections": 3}), json!({"max_connections_per_address": 3})] {
        let stage = stage(guard.clone());
        let mut open: Vec<Client> = (0..3).map(|_| stage.connect()).collect();
        for client in &mut open {
            assert_eq!(client.ask(&get()).unwrap().status, 200, "{guard}");
        }
        for _ in 0..5 {
            let mut refused = stage.connect();
            refused.send(&get());
            assert!(ends(&mut refused), "{guard}");
        }
        assert_eq!(open[0].ask(&get()).unwrap().status, 200, "{guard}: others are not disturbed");
        drop(open.pop());
        assert!(recovers(&stage), "{guard}");
    }
}

#[test]
fn a_flood_is_429_before_anything_else_and_passes() {
    let stage = stage(json!({"flood": "5/second"}));
    let mut client = stage.connect();
    let begun = Instant::now();
    client.send(&get().repeat(30));
    let answers: Vec<_> = (0..30).map(|_| client.response().unwrap()).collect();
    let (passed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|response| response.status == 200);
    // Seconds begin when they like: one more than have passed, and one at the edge of two.
    let most = 5 * (begun.elapsed().as_secs() as usize + 2);
    assert!((5..=most).contains(&passed.len()) && !refused.is_empty(), "{} of at most {most}", passed.len());
    for response in refused {
        assert_eq!((response.status, response.value("retry-after")), (429, Some("1")));
        assert!(response.text().contains("urn:tollgate:problem:flood"), "{}", response.text());
    }
    assert_eq!(stage.origin.take().len(), passed.len());
    assert!(recovers_from_flood(&stage));
}

fn recovers_from_flood(stage: &Stage) -> bool {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if stage.ask(&get()).status == 200 {
            return true;
        }
        std::thread::sleep(Duration::from_millis(300)); // asking faster keeps the flood up
    }
    false
}

const UPLOAD: &[u8] = b"POST /checked HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

#[test]
fn a_body_that_does_not_come_to_its_end_is_408() {
    let stage = stage(json!({"body_timeout": "300ms"}));
    for framing in ["Content-Length: 9999\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nFFFF\r\n"] {
        let (said, after) = drip(&stage, &[UPLOAD, framing.as_bytes()].concat(), b'x');
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("body-timeout"), "{framing:?}: {said}");
        assert!((SHORT..DEADLINE / 2).contains(&after), "{framing:?}: {after:?}");
    }
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn a_streamed_body_that_falls_silent_is_408() {
    let stage = stage(json!({"body_timeout": "300ms"}));
    let begun = Instant::now();
    let mut client = stage.connect();
    client.send(b"POST /streamed HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nabc");
    assert_eq!(client.response().unwrap().status, 408);
    assert!(ends(&mut client) && begun.elapsed() >= SHORT);
}

#[test]
fn bodies_beyond_the_memory_are_503_and_other_routes_go_on() {
    let stage = stage(json!({"body_memory": "64KiB"}));
    let text = format!("{{\"a\":\"{}\"}}", "x".repeat(40_000));
    let upload = request("POST", "/checked", &[("content-type", "application/json")], text.as_bytes());
    // The 100 says that the memory is taken.
    let head = [UPLOAD, format!("Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", text.len()).as_bytes()].concat();
    let mut slow = TcpStream::connect(stage.gateway.address()).unwrap();
    slow.set_read_timeout(Some(DEADLINE)).unwrap();
    slow.write_all(&head).unwrap();
    let mut said = [0; 25];
    slow.read_exact(&mut said).unwrap();
    assert_eq!(said, *b"HTTP/1.1 100 Continue\r\n\r\n");
    let refused = stage.ask(&upload);
    assert_eq!((refused.status, refused.value("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("urn:tollgate:problem:body-memory"), "{}", refused.text());
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    assert_eq!(stage.ask(&[UPLOAD, chunked.as_bytes()].concat()).status, 503);
    assert_eq!(stage.ask(&get()).status, 200);
    let small = request("POST", "/checked", &[("content-type", "application/json")], b"{\"a\":\"x\"}");
    assert_eq!(stage.ask(&small).status, 200);

    slow.write_all(text.as_bytes()).unwrap();
    let mut status = [0; 12];
    slow.read_exact(&mut status).unwrap();
    assert_eq!(status, *b"HTTP/1.1 200");
    assert!(memory_is_free(&stage, &upload), "after a request");
    // And leaves within its body.
    let mut gone = stage.connect();
    gone.send(&head);
    drop(gone);
    assert!(memory_is_free(&stage, &upload), "after a client that left");
}

/// Waits until the upload is taken, over and over.
fn memory_is_free(stage: &Stage, upload: &[u8]) -> bool {
    let until = Instant::now() + DEADLINE;
    let mut in_a_row = 0;
    while in_a_row < 3 && Instant::now() < until {
        in_a_row = if stage.ask(upload).status == 200 { in_a_row + 1 } else { 0 };
    }
    in_a_row == 3
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_hurts_nobody() {
    let origin = Origin::start(|request| match request.path() {
        "/large" => {
            Reply::raw([&b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n"[..], &vec![b'x'; 50_000_000]].concat())
        }
        _ => Reply::json(200, "{}"),
    });
    let routes =
        json!([{"method": "GET", "gateway_path": "/a"}, {"name": "large", "method": "GET", "gateway_path": "/large"}]);
    let stage = Stage::set(origin, routes, json!({"guard": {"body_timeout": "300ms"}}));
    let mut stuck = stage.connect();
    stuck.send(&request("GET", "/large", &[], b""));
    assert_eq!(stage.ask(&get()).status, 200);
    let line = stage.gateway.printed(|line| line.contains("\"large\"")).expect("the request ends");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_ne!(line["cause"], Value::Null, "{line}");
    assert!(stuck.response().is_ok_and(|response| response.cut), "what it got does not look whole");
    assert_eq!(stage.ask(&get()).status, 200);
}
