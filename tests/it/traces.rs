//! Distributed traces: what is recorded, what services are told, and what happens while the collector is away.
//!
//! - `collector` — takes spans as OTLP says, and reads them with the official messages
//! - `recorded`  — the spans of requests that end in all kinds of ways
//! - `context`   — whose trace is continued, and what a service is told
//! - `outage`    — a collector that is down, slow or busy; the end of the process; reloads

pub mod collector;
mod context;
mod outage;
mod recorded;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config};
use crate::support::origin::Origin;
use collector::Collector;

/// A gateway, its service and its collector.
struct Stage {
    collector: Collector,
    origin: Origin,
    gateway: Instance,
}

/// `traces` for this collector, which sends at once; `more` goes over it.
fn traces(collector: &Collector, more: &Value) -> Value {
    let mut traces = json!({ "endpoint": collector.endpoint(), "interval": "20ms" });
    let more = more.as_object().expect("keys of traces").clone();
    traces.as_object_mut().expect("a mapping").extend(more);
    traces
}

impl Stage {
    /// Starts all three. `sections` go over the configuration.
    fn start(origin: Origin, more: Value, sections: Value) -> Self {
        let collector = Collector::start();
        let mut file = config(origin.address(), sections);
        file["traces"] = traces(&collector, &more);
        let gateway = Instance::start(&file);
        Self { collector, origin, gateway }
    }

    /// One public route to a service that answers with `{}`.
    fn plain(more: Value, sections: Value) -> Self {
        let mut all = json!({ "routes": [route("open", json!({}))] });
        let sections = sections.as_object().expect("sections").clone();
        all.as_object_mut().expect("a mapping").extend(sections);
        Self::start(Origin::json("{}"), more, all)
    }
}

/// A public route at `/NAME`; `changes` go over it.
fn route(name: &str, changes: Value) -> Value {
    let mut route = json!({ "name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin", "auth": "public" });
    let changes = changes.as_object().expect("keys of a route").clone();
    route.as_object_mut().expect("a mapping").extend(changes);
    route
}
