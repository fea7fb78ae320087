//! A service that works on no more requests than it may.

use std::time::Duration;

use serde_json::{Value, json};

use super::script::{Scripted, Step, say};
use super::{configuration, gateway, get, metric, service};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{Client, request};
use crate::support::origin::Origin;

#[test]
fn what_is_too_much_is_answered_at_once() {
    let slow = Scripted::start(vec![
        Step::Read,
        Step::Wait(Duration::from_millis(1500)),
        say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"),
        Step::Hang,
    ]);
    let (gateway, _other) = gateway(&[slow.address()], json!({ "max_requests": 2 }));
    let mut waiting: Vec<_> = (0..2).map(|_| Client::connect(gateway.public)).collect();
    waiting.iter_mut().for_each(|client| client.send(&request("GET", "/a", &[], b"")));
    assert!(eventually(|| slow.connections() == 2));

    // Before its body is there: nobody waits for one that has no place.
    let mut refused = Client::connect(gateway.public);
    refused.send(b"POST /checked HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n");
    let response = refused.response().unwrap();
    assert_eq!((response.status, response.value("retry-after")), (503, Some("1")));
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["type"], "urn:tollgate:problem:service-busy");
    assert_eq!(get(&gateway, "/other").status, 200, "another service has places of its own");
    for client in &mut waiting {
        assert_eq!(client.response().unwrap().text(), "ok");
    }
    assert!(eventually(|| get(&gateway, "/a").status == 200), "the places are free again");
}

#[test]
fn what_has_no_place_spends_no_limit() {
    let slow = Scripted::start(vec![Step::Read, Step::Hang]);
    let other = Origin::json("{}");
    let mut file = configuration(service(&[slow.address()], json!({ "max_requests": 1 })), other.address());
    file["routes"][0]["limits"] = json!([{ "rate": "2/hour", "by": "route" }]);
    let gateway = Instance::start(&file);
    let mut waiting = Client::connect(gateway.public);
    waiting.send(&request("GET", "/a", &[], b""));
    assert!(eventually(|| slow.connections() == 1));
    for _ in 0..4 {
        assert_eq!(get(&gateway, "/a").status, 503);
    }
    drop(waiting);
    // The place is free again as soon as the gateway has seen its client leave.
    assert!(eventually(|| slow.connections() == 1 && metric(&gateway, "tollgate_requests_in_flight") == Some(0.0)));
    let mut second = Client::connect(gateway.public);
    second.send(&request("GET", "/a", &[], b""));
    assert!(eventually(|| slow.connections() == 2), "the limit has one left");
    drop(second);
    assert!(eventually(|| get(&gateway, "/a").status == 429), "and none after it");
}
