//! Requests that wait for a place of their service.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{configuration, get, service};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Reply};

/// A service that answers a request when it is told to.
fn held() -> (Origin, Sender<()>) {
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_| {
        let _ = wait.lock().unwrap().recv();
        Reply::json(200, "{}")
    });
    (origin, go)
}

fn file(origin: &Origin, queue: Value) -> Value {
    let keys = json!({ "max_requests": 1, "queue": queue });
    configuration(service(&[origin.address()], keys), origin.address())
}

fn send(gateway: &Instance, target: &str) -> Client {
    let mut client = Client::connect(gateway.public);
    client.send(&request("GET", target, &[], b""));
    client
}

fn waiting(gateway: &Instance) -> Option<f64> {
    gateway.metric("tollgate_service_queued_requests{service=\"origin\"}")
}

fn refused(gateway: &Instance, reason: &str) -> Option<f64> {
    gateway.metric(&format!("tollgate_service_queue_refusals_total{{reason=\"{reason}\",service=\"origin\"}}"))
}

#[test]
fn requests_wait_in_the_order_in_which_they_came() {
    let (origin, go) = held();
    let mut file = file(&origin, json!({ "max": 3, "timeout": "30s" }));
    let gateway = Instance::start(&file);
    let mut clients = vec![send(&gateway, "/users/0")];
    assert!(eventually(|| origin.requests().len() == 1));
    for number in 1..=3 {
        clients.push(send(&gateway, &format!("/users/{number}")));
        assert!(eventually(|| waiting(&gateway) == Some(f64::from(number))));
    }
    let begun = Instant::now();
    let too_many = get(&gateway, "/users/4");
    assert_eq!((too_many.status, too_many.value("retry-after")), (503, Some("1")));
    assert!(begun.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!(refused(&gateway, "full"), Some(1.0));
    file["drain"] = json!({ "timeout": "20s" });
    assert_eq!(gateway.reload(&file)["generation"], 2, "a reload keeps those that wait");
    for mut client in clients {
        go.send(()).unwrap();
        assert_eq!(client.response().unwrap().status, 200);
    }
    let order: Vec<String> = origin.requests().iter().map(|request| request.path().to_owned()).collect();
    assert_eq!(order, ["/users/0", "/users/1", "/users/2", "/users/3"]);
    assert!(eventually(|| waiting(&gateway) == Some(0.0)));
    assert_eq!(gateway.metric("tollgate_service_queue_duration_seconds_count{service=\"origin\"}"), Some(3.0));
}

#[test]
fn a_client_that_leaves_makes_room_at_once() {
    let (origin, go) = held();
    let gateway = Instance::start(&file(&origin, json!({ "max": 1, "timeout": "60s" })));
    let mut first = send(&gateway, "/users/0");
    assert!(eventually(|| origin.requests().len() == 1));
    let impatient = send(&gateway, "/users/1");
    assert!(eventually(|| waiting(&gateway) == Some(1.0)));
    drop(impatient);
    assert!(eventually(|| waiting(&gateway) == Some(0.0)));
    let mut patient = send(&gateway, "/users/2");
    assert!(eventually(|| waiting(&gateway) == Some(1.0)));
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!(first.response().unwrap().status, 200);
    assert_eq!(patient.response().unwrap().status, 200);
    assert_eq!(origin.requests().len(), 2, "nobody asked for the one that left");
}

#[test]
fn a_wait_that_is_too_long_is_refused_and_told_apart() {
    let (origin, _go) = held();
    let gateway = Instance::start(&file(&origin, json!({ "max": 5, "timeout": "300ms" })));
    let _first = send(&gateway, "/users/0");
    assert!(eventually(|| origin.requests().len() == 1));
    let begun = Instant::now();
    let refusal = get(&gateway, "/users/1");
    assert_eq!((refusal.status, refusal.value("retry-after")), (503, Some("1")));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(refused(&gateway, "timeout"), Some(1.0));
    let line: Value = serde_json::from_str(&gateway.line(|line| line.contains("/users/1"))).unwrap();
    let time = |name: &str| line[name].as_f64().unwrap();
    assert_eq!(line["decision"], "service-busy");
    assert!(time("queue_ms") >= 300.0 && time("gateway_ms") < time("queue_ms"), "{line}");
}

/// A body is not read while its request waits.
#[test]
fn a_body_waits_with_its_request() {
    let (origin, go) = held();
    let gateway = Instance::start(&file(&origin, json!({ "max": 1, "timeout": "30s" })));
    let mut first = send(&gateway, "/a");
    assert!(eventually(|| origin.requests().len() == 1));
    let mut second = Client::connect(gateway.public);
    second.send(&request("POST", "/checked", &[("content-type", "application/json")], b"{\"a\":1}"));
    assert!(eventually(|| waiting(&gateway) == Some(1.0)));
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!(first.response().unwrap().status, 200);
    assert_eq!(second.response().unwrap().status, 200);
}
