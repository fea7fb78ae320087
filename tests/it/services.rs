//! Services with several targets, and services that misbehave: who gets a request, for how long, and how often.

mod balance;
mod broken;
mod caps;
mod health;
mod names;
mod outage;
mod queue;
mod retries;
mod script;
mod timeouts;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config};
use crate::support::client::{self, Response, request};
use crate::support::origin::{Origin, Recorded, Reply};

/// A service with these targets and keys.
fn service(targets: &[SocketAddr], keys: Value) -> Value {
    let targets: Vec<_> = targets.iter().map(|address| json!({ "address": address.to_string() })).collect();
    let mut service = json!({ "targets": targets });
    service.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    service
}

/// A configuration with this service, and another one that is well.
fn configuration(service: Value, other: SocketAddr) -> Value {
    config(
        other,
        json!({
            "services": { "origin": service, "other": { "url": format!("http://{other}") } },
            "defaults": { "auth": "public" },
            "routes": [
                { "name": "a", "methods": ["GET", "HEAD", "POST", "PUT"], "gateway_path": "/a", "service": "origin",
                  "body": "any", "max_body": "64MiB" },
                { "name": "checked", "methods": ["POST", "PUT"], "gateway_path": "/checked", "service": "origin",
                  "body_params": { "a": { "type": "integer" } } },
                { "name": "user", "method": "GET", "gateway_path": "/users/{id}", "service": "origin" },
                { "name": "other", "method": "GET", "gateway_path": "/other", "service": "other" },
            ],
        }),
    )
}

/// A gateway before a service with these targets and keys.
fn gateway(targets: &[SocketAddr], keys: Value) -> (Instance, Origin) {
    let other = Origin::json("{}");
    (Instance::start(&configuration(service(targets, keys), other.address())), other)
}

/// A target that says its name.
fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Reply::json(200, name))
}

/// A target that says a status.
fn saying(status: u16) -> Origin {
    Origin::start(move |_| Reply::json(status, "{}"))
}

fn get(gateway: &Instance, target: &str) -> Response {
    client::ask(gateway.public, &request("GET", target, &[], b""))
}

/// What the operators' listener says of the targets of `origin`.
fn targets(gateway: &Instance) -> Vec<Value> {
    let answer = gateway.operator("GET", "/services", &[]);
    let services: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let service = services.as_array().unwrap().iter().find(|service| service["name"] == "origin");
    service.expect("the service")["targets"].as_array().unwrap().clone()
}

/// The state of a target of `origin`.
fn state(gateway: &Instance, address: SocketAddr) -> String {
    let all = targets(gateway);
    let target = all.iter().find(|target| target["address"] == address.to_string()).expect("the target");
    target["state"].as_str().unwrap().to_owned()
}

/// The value of a metric with labels.
fn metric(gateway: &Instance, series: &str) -> Option<f64> {
    gateway.metric(series)
}

/// Requests that are no health checks.
fn requests(origin: &Origin) -> Vec<Recorded> {
    origin.requests().into_iter().filter(|request| request.path() != "/healthz").collect()
}
