//! Pooled connections to the service.

use std::net::SocketAddr;
use std::thread;

use serde_json::json;

use crate::process::instance::{Instance, config};
use crate::raw::stage::Stage;
use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Reply};

fn routes() -> serde_json::Value {
    json!([
        {"methods": ["GET", "POST"], "gateway_path": "/a", "body": "any"},
        {"method": "POST", "gateway_path": "/checked", "body_params": {"a": {"type": "integer"}}},
    ])
}

#[test]
fn connections_to_the_service_are_used_again() {
    let stage = Stage::plain(routes(), json!({}));
    let kinds = [
        request("GET", "/a", &[], b""),
        request("POST", "/a", &[], b"abc"),
        request("POST", "/checked", &[("content-type", "application/json")], b"{\"a\":1}"),
    ];
    for round in 0..60 {
        // Some clients keep their connection, some come only once.
        let mut client = stage.connect();
        assert_eq!(client.ask(&kinds[round % 3]).unwrap().status, 200);
        assert_eq!(client.ask(&kinds[(round + 1) % 3]).unwrap().status, 200);
    }
    assert_eq!(stage.origin.take().len(), 120);
    // A connection goes back into the pool a moment after its answer: a quick client may find it empty.
    assert!(stage.origin.connections() <= 40, "{} connections for 120 requests", stage.origin.connections());
}

/// Clients that keep their connections.
const CLIENTS: usize = 16;

/// All clients ask so often at the same time.
fn ask_together(clients: &mut [Client], times: usize) {
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                for _ in 0..times {
                    assert_eq!(client.ask(&request("GET", "/a", &[], b"")).unwrap().status, 200);
                }
            });
        }
    });
}

#[test]
fn no_worker_opens_connections_that_it_has() {
    for workers in ["1", "2", "4"] {
        let origin = Origin::json("{}");
        let routes = json!([{"name": "a", "method": "GET", "gateway_path": "/a", "service": "origin"}]);
        let file = config(origin.address(), json!({"defaults": {"auth": "public"}, "routes": routes}));
        let gateway = Instance::start_with(&file, &["--threads", workers], &[]);
        let connect = |address: SocketAddr| (0..CLIENTS).map(|_| Client::connect(address)).collect::<Vec<_>>();
        let mut clients = connect(gateway.public);
        ask_together(&mut clients, 20);
        let warm = origin.connections();
        ask_together(&mut clients, 2000 / CLIENTS);
        let opened = origin.connections();
        assert!(opened - warm <= 4, "{} new ones after {warm} with {workers} workers", opened - warm);
        assert!(opened <= CLIENTS, "{opened} connections for {CLIENTS} clients with {workers} workers");
    }
}

#[test]
fn a_connection_that_the_service_closed_is_not_the_clients_problem() {
    let origin = Origin::start(|_| Reply::json(200, "{}").closing());
    let stage = Stage::set(origin, routes(), json!({}));
    let mut client = stage.connect();
    for round in 0..30 {
        assert_eq!(client.ask(&request("GET", "/a", &[], b"")).unwrap().status, 200, "{round}");
    }
    assert_eq!(stage.origin.connections(), 30);
}

#[test]
fn a_service_that_says_close_is_taken_at_its_word() {
    let origin = Origin::start(|_| Reply::raw("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"));
    let stage = Stage::set(origin, routes(), json!({}));
    let mut client = stage.connect();
    for _ in 0..3 {
        let response = client.ask(&request("GET", "/a", &[], b"")).unwrap();
        assert_eq!(response.text(), "ok");
        assert_ne!(response.value("connection"), Some("close"), "that is between gateway and service");
    }
    assert_eq!(stage.origin.connections(), 3);
}
