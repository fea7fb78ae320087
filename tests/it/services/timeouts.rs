//! How long a service may take: to its header, between pieces of its body, and altogether.
//!
//! Deadlines are fractions of a second. That one is kept is shown by what comes out; how much later by [`SOON`] alone,
//! which a busy machine keeps too and none of the other deadlines does.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::script::{Scripted, Step, say};
use super::{gateway, get};
use crate::process::instance::Instance;
use crate::support::client::{Client, Response, request};
use crate::support::origin::Origin;

const SHORT: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(8);
const LONG: &str = "60s";

fn stage(steps: Vec<Step>, timeouts: Value) -> (Instance, Origin, Scripted) {
    let scripted = Scripted::start(steps);
    let (gateway, other) =
        gateway(&[scripted.address()], json!({ "timeouts": timeouts, "retries": { "attempts": 0 } }));
    (gateway, other, scripted)
}

fn timed(gateway: &Instance) -> (Response, Duration) {
    let begun = Instant::now();
    (get(gateway, "/a"), begun.elapsed())
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const CHUNK: &[u8] = b"1\r\nx\r\n";

#[test]
fn a_header_that_never_comes_to_its_end_is_504() {
    for steps in [
        vec![Step::Read, Step::Hang],
        vec![Step::Read, say("HTTP/1.1 200 OK\r\n"), Step::Hang],
        vec![Step::Read, say("HTTP/1.1 200 OK\r\nx-a: "), Step::Drip(b"a")],
        vec![Step::Read, Step::Drip(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n")],
    ] {
        for timeouts in [json!({ "response": "300ms", "idle": LONG }), json!({ "response": LONG, "total": "300ms" })] {
            let said = format!("{steps:?} {timeouts}");
            let (gateway, _other, _scripted) = stage(steps.clone(), timeouts);
            let (response, took) = timed(&gateway);
            assert_eq!(response.status, 504, "{said}: {}", response.text());
            assert!(took >= SHORT && took < SOON, "{said}: {took:?}");
            assert_eq!(get(&gateway, "/other").status, 200);
        }
    }
}

#[test]
fn a_healthy_long_download_lives() {
    let steps = vec![Step::Read, say(CHUNKED), Step::Wait(SHORT * 3), Step::DripTimes(CHUNK, 40), say("0\r\n\r\n")];
    let (gateway, _other, _scripted) = stage(steps, json!({ "response": "300ms", "idle": LONG }));
    let (response, took) = timed(&gateway);
    assert!(!response.cut && response.body.len() == 40, "{response:?}");
    assert!(took > SHORT * 3);
}

#[test]
fn a_silent_body_is_cut() {
    for response in ["300ms", LONG] {
        let steps = vec![Step::Read, say(CHUNKED), Step::DripTimes(CHUNK, 3), Step::Hang];
        let (gateway, _other, _scripted) = stage(steps, json!({ "response": response, "idle": "300ms" }));
        let (response, took) = timed(&gateway);
        assert!(response.cut && took >= SHORT && took < SOON, "{response:?} {took:?}");
    }
}

#[test]
fn the_header_may_take_longer_than_a_silence_in_the_body() {
    let steps =
        vec![Step::Read, Step::Wait(SHORT * 3), say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Step::Hang];
    let (gateway, _other, _scripted) = stage(steps, json!({ "response": LONG, "idle": "300ms" }));
    assert_eq!(timed(&gateway).0.text(), "ok");
}

#[test]
fn a_total_ends_a_body_that_drips() {
    let steps = vec![Step::Read, say(CHUNKED), Step::Drip(CHUNK)];
    let (gateway, _other, _scripted) = stage(steps, json!({ "total": "300ms" }));
    let (response, took) = timed(&gateway);
    assert!(response.cut && took >= SHORT && took < SOON, "{response:?} {took:?}");
}

#[test]
fn a_total_holds_over_all_retries() {
    let scripted = Scripted::start(vec![Step::Read, Step::Hang]);
    let keys = json!({
        "timeouts": { "response": "200ms", "total": "700ms" },
        "retries": { "attempts": 5, "on": ["timeout"], "backoff": "1ms" },
    });
    let (gateway, _other) = gateway(&[scripted.address()], keys);
    let (response, took) = timed(&gateway);
    assert_eq!(response.status, 504);
    assert!(took >= Duration::from_millis(700) && took < SOON, "{took:?}");
    assert!((2..=4).contains(&scripted.connections()), "{} attempts", scripted.connections());
}

/// What the gateway has for it is more than the buffers between them hold.
#[test]
fn a_client_that_takes_its_time_is_not_its_services_silence() {
    const LENGTH: usize = 24 << 20;
    let mut whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").into_bytes();
    whole.resize(whole.len() + LENGTH, b'x');
    let (gateway, _other, _scripted) =
        stage(vec![Step::Read, say(whole), Step::Hang], json!({ "response": LONG, "idle": "300ms" }));
    let mut client = Client::connect(gateway.public);
    client.send(&request("GET", "/a", &[], b""));
    // The silence is what is tested.
    thread::sleep(SHORT * 4);
    let response = client.response().unwrap();
    assert!(!response.cut && response.body.len() == LENGTH, "{} bytes", response.body.len());
}

#[test]
fn an_upload_that_takes_longer_than_the_response_may_is_whole() {
    let scripted = Scripted::start(vec![Step::Read, say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Step::Hang]);
    let (gateway, _other) =
        gateway(&[scripted.address()], json!({ "timeouts": { "response": "400ms", "idle": LONG } }));
    let mut client = Client::connect(gateway.public);
    client.send(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n");
    for _ in 0..40 {
        thread::sleep(Duration::from_millis(25));
        client.send(b"x");
    }
    assert_eq!(client.response().unwrap().text(), "ok");
}
