//! The gateways and the service that the cases are played on.
//!
//! One scripted service stands behind two gateways, the demo's and the probe's; a third has the demo's routes and a
//! service that is down. The configurations are conf/demo.yaml with tests/compat/demo.yaml over it, and
//! tests/compat/probe.yaml.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tollgate::demo;

use super::case::{Case, Service, Side};
use crate::support::client::{Client, Response};
use crate::support::gateway::{self, Gateway};
use crate::support::origin::{Origin, Recorded, Reply, Unreachable};

const PROBE: &str = include_str!("../../compat/probe.yaml");
const OVER_DEMO: &str = include_str!("../../compat/demo.yaml");

/// Everything that runs.
pub struct Stage {
    demo: Gateway,
    demo_down: Gateway,
    probe: Gateway,
    origin: Origin,
    service: Arc<Mutex<Service>>,
    unreachable: Unreachable,
}

impl Stage {
    /// Starts it all.
    pub fn set() -> Self {
        let service = Arc::new(Mutex::new(Service::Microservice));
        let current = Arc::clone(&service);
        let origin = Origin::start(move |request| match &*current.lock().unwrap() {
            Service::Says(reply) => reply.clone(),
            Service::Microservice | Service::Down => Reply::of_demo(request),
        });
        let unreachable = Unreachable::reserve();
        let (up, down) = (origin.address().to_string(), unreachable.address().to_string());
        Self {
            demo: Gateway::start(&demo_config(&up)),
            demo_down: Gateway::start(&demo_config(&down)),
            probe: Gateway::start(&probe_config(&up, &down)),
            origin,
            service,
            unreachable,
        }
    }

    /// Sends the request of a case; what the client got and what the service got.
    pub fn play(&self, case: &Case) -> io::Result<(Response, Vec<Recorded>)> {
        let service = case.service();
        let gateway = match (case.gateway, &service) {
            (Side::Probe, _) => &self.probe,
            (Side::Demo, Service::Down) => &self.demo_down,
            (Side::Demo, _) => &self.demo,
        };
        *self.service.lock().unwrap() = service;
        self.origin.take();
        let response = Client::connect(gateway.address()).ask(&case.request())?;
        Ok((response, self.origin.take()))
    }

    /// Whether `tollgate check` warns of the route of a case when it is the only one.
    pub fn warns(&self, case: &Case) -> bool {
        let (up, down) = (self.origin.address().to_string(), self.unreachable.address().to_string());
        let mut config = parsed(&probe_config(&up, &down));
        let routes = config["routes"].as_array_mut().expect("the probe has routes");
        routes.retain(|route| route["gateway_path"] == case.path());
        let checked = gateway::check(&config.to_string());
        checked.code == Some(0) && checked.text.contains("warning")
    }
}

fn probe_config(up: &str, down: &str) -> String {
    PROBE.replace("127.0.0.1:8012", up).replace("127.0.0.1:9\"", &format!("{down}\""))
}

/// The demo's configuration as the cases need it, as JSON, which is YAML.
fn demo_config(service: &str) -> String {
    let mut config = parsed(&demo::CONFIG.replace(demo::SERVICE_ADDRESS, service));
    lay_over(&mut config, parsed(OVER_DEMO));
    config.to_string()
}

fn parsed(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).expect("the configuration is YAML")
}

/// Maps are merged, everything else replaces.
fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

#[test]
fn the_demo_of_the_cases_is_the_demo_with_another_service_and_error_format() {
    let config = parsed(&demo_config("127.0.0.1:1"));
    assert_eq!(config["services"]["demo"]["url"], "http://127.0.0.1:1");
    assert_eq!(config["error_format"], "fastapi");
    assert_eq!(config["listeners"], serde_json::json!([{ "address": "127.0.0.1:0" }]));
    assert_eq!(config["routes"], parsed(demo::CONFIG)["routes"]);
    assert_eq!(config["consumers"].as_object().unwrap().len(), 2);
    let probe = parsed(&probe_config("127.0.0.1:1", "127.0.0.1:2"));
    assert_eq!(
        [&probe["services"]["up"]["url"], &probe["services"]["down"]["url"]],
        ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    );
}
