//! Event streams: each event is there at once, and silence ends a stream when it is told to.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Service, asked, hears, routed};
use crate::process::instance::Instance;
use crate::support::client::{Client, request};

/// The header of an event stream.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\r\n";

fn say(stream: &mut TcpStream, number: usize) -> bool {
    stream.write_all(format!("data: {number}\n\n").as_bytes()).is_ok()
}

#[test]
fn each_event_is_there_before_the_next_is_sent() {
    const EVENTS: usize = 20;
    let (next, told) = channel::<()>();
    let told = Mutex::new(told);
    let service = Service::start(move |_, mut stream| {
        let told = told.lock().unwrap();
        let _ = stream.write_all(HEAD);
        for number in 0..EVENTS {
            if told.recv().is_err() || !say(&mut stream, number) {
                return;
            }
        }
    });
    let model = json!({"schema": {"type": "object"}});
    let routes = json!([
        {"name": "plain"},
        {"name": "edited", "response_headers": {"set": {"x-api": "v1"}, "remove": ["cache-control"]}},
        {"name": "hidden", "override_headers": false},
        // A model is for JSON: what is none passes as it comes.
        {"name": "modelled", "response_model": model},
    ]);
    let gateway = Instance::start(&routed(service.address, json!({}), routes));
    for path in ["/plain", "/edited", "/hidden", "/modelled"] {
        let mut stream = asked(gateway.public, path);
        assert!(hears(&mut stream, "\r\n\r\n"), "{path}: no header before the first event");
        let mut took: Vec<Duration> = Vec::new();
        for number in 0..EVENTS {
            let sent = Instant::now();
            next.send(()).unwrap();
            assert!(hears(&mut stream, &format!("data: {number}\n\n")), "{path}: event {number}");
            took.push(sent.elapsed());
        }
        took.sort();
        assert!(took[EVENTS / 2] < Duration::from_millis(50), "{path}: {took:?}");
    }
}

/// A gateway before a service that is silent for a while: before its reply, and within it.
fn stage(timeouts: Value, before: Duration, within: Duration) -> Instance {
    let service = Service::start(move |_, mut stream| {
        thread::sleep(before);
        let _ = stream.write_all(HEAD);
        for number in 0..2 {
            if !say(&mut stream, number) {
                return;
            }
            thread::sleep(within);
        }
        let _ = stream.write_all(b"data: last\n\n");
    });
    let routes = json!([
        {"name": "usual"},
        {"name": "patient", "timeouts": {"idle": "20s"}},
        {"name": "hasty", "timeouts": {"idle": "100ms"}},
        {"name": "modelled", "response_model": {"schema": {"type": "object"}}},
        {"name": "checked", "method": "POST", "body_params": {"a": {"type": "integer"}}},
        {"name": "streamed", "method": "POST", "body": "any"},
    ]);
    Instance::start(&routed(service.address, timeouts, routes))
}

/// Longer than the shorter timeout of a test, and shorter than the longer.
const SILENCE: Duration = Duration::from_millis(700);

#[test]
fn silence_within_a_stream_has_its_own_timeout() {
    for (timeouts, path, lives) in [
        (json!({"response": "300ms", "idle": "20s"}), "/usual", true),
        (json!({"response": "20s", "idle": "300ms"}), "/usual", false),
        (json!({"response": "20s", "idle": "300ms"}), "/modelled", false),
        (json!({"response": "20s", "idle": "300ms"}), "/patient", true),
        (json!({"response": "300ms", "idle": "300ms"}), "/patient", true),
        (json!({"response": "300ms", "idle": "300ms"}), "/usual", false),
        (json!({"response": "20s", "idle": "20s"}), "/hasty", false),
        // The default, a minute.
        (json!({"response": "300ms"}), "/usual", true),
    ] {
        let gateway = stage(timeouts.clone(), Duration::ZERO, SILENCE);
        let begun = Instant::now();
        let mut stream = asked(gateway.public, path);
        assert!(hears(&mut stream, "data: 0\n\n"), "{timeouts} {path}");
        assert_eq!(hears(&mut stream, "data: last\n\n"), lives, "{timeouts} {path}");
        if !lives {
            assert!(begun.elapsed() < SILENCE, "{timeouts} {path}: {:?}", begun.elapsed());
            let line = gateway.line(|line| line.contains("service-timeout"));
            assert!(line.contains("\"status\":200") && line.contains("Upstream: ReadTimedout"), "{line}");
        }
    }
}

#[test]
fn a_service_that_does_not_begin_is_504_whatever_silence_a_stream_may_have() {
    let post = |path, body: &[u8]| request("POST", path, &[("content-type", "application/json")], body);
    for (bytes, patient) in [
        (request("GET", "/usual", &[], b""), false),
        (request("GET", "/patient", &[], b""), false),
        (request("GET", "/modelled", &[], b""), false),
        (post("/checked", b"{\"a\":1}"), false),
        (post("/streamed", b"abc"), false),
        (request("GET", "/usual", &[], b""), true),
        (request("GET", "/hasty", &[], b""), true),
    ] {
        let timeouts = if patient { json!({"response": "20s", "idle": "300ms"}) } else { json!({"response": "300ms"}) };
        let gateway = stage(timeouts, SILENCE, Duration::ZERO);
        let begun = Instant::now();
        let mut client = Client::connect(gateway.public);
        let answer = client.ask(&bytes).expect("an answer");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(answer.status, if patient { 200 } else { 504 }, "{text}: {answer:?}");
        if !patient {
            assert!(begun.elapsed() < SILENCE, "{text}: {:?}", begun.elapsed());
            assert!(answer.text().contains("service-timeout"), "{text}: {}", answer.text());
        }
    }
}
