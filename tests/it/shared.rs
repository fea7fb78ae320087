//! Three gateways on one real `redis-server`: what they count together, and what holds while it is away.
//!
//! Periods are an hour or a day, so that nothing is refilled while a test runs.

mod counted;
mod keys;
mod outage;

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer};
use crate::support::client::{Client, request};
use crate::support::origin::Origin;
use crate::support::redis::Redis;

const NODES: usize = 3;
const CONNECTIONS: usize = 8;
const BATCH: usize = 25;

/// More than any limit of these tests, from each gateway alone.
const OFFERED: usize = CONNECTIONS * BATCH;

/// A file whose gateways share this Redis, with further keys of the store.
fn file(origin: &Origin, url: &str, store: &Value) -> Value {
    let mut section = json!({"redis": url, "timeout": "5s"});
    if let (Some(section), Value::Object(store)) = (section.as_object_mut(), store.clone()) {
        section.extend(store);
    }
    let route = |name: &str, limits: Value, auth: Value| {
        json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin",
               "service_path": "/", "auth": auth, "limits": limits})
    };
    let by_route = |rate: &str| json!([{"rate": rate, "by": "route"}]);
    config(
        origin.address(),
        json!({
            "access_log": {"path": "off"},
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "store": section,
            "plans": {
                "several": {"total": ["120/hour", "100/day", "5000/month"], "each_route": "110/hour"},
                "slow": {"concurrency": 5},
                "wide": {"total": "1000000/hour"},
            },
            "consumers": {
                "several": consumer("several", "several"),
                "slow": consumer("slow", "slow"),
                "wide": consumer("wide", "wide"),
            },
            "routes": [
                route("rate", by_route("100/hour"), json!("public")),
                route("quota", by_route("100/day"), json!("public")),
                route("plan", json!([]), json!(["key"])),
                route("free", json!([]), json!("public")),
            ],
        }),
    )
}

/// Gateways with this file.
fn nodes(file: &Value) -> Vec<Instance> {
    (0..NODES).map(|_| Instance::start(file)).collect()
}

/// Sends more requests to every gateway at once than any limit lets through; how many passed.
fn storm(nodes: &[Instance], path: &str, key: &str) -> usize {
    let begin = Barrier::new(nodes.len() * CONNECTIONS);
    let batch = request("GET", path, &[("x-api-key", key)], b"").repeat(BATCH);
    let connection = |address: SocketAddr| {
        let mut client = Client::connect(address);
        begin.wait();
        client.send(&batch);
        let statuses = (0..BATCH).map(|_| client.response().expect("every request is answered").status);
        statuses.inspect(|status| assert!(matches!(status, 200 | 429), "{status}")).filter(|it| *it == 200).count()
    };
    thread::scope(|scope| {
        let connection = &connection;
        let addresses = nodes.iter().flat_map(|node| [node.public; CONNECTIONS]);
        let threads: Vec<_> = addresses.map(|address| scope.spawn(move || connection(address))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// The value of a metric with one label.
fn labelled(node: &Instance, name: &str, label: &str) -> f64 {
    node.metric(&format!("{name}{{{label}}}")).unwrap_or(0.0)
}

/// Whether a gateway says that Redis answers.
fn is_up(node: &Instance) -> bool {
    labelled(node, "tollgate_shared_store_up", "store=\"redis\"") == 1.0
}
