//! One scripted service behind one gateway: what the tests of the request path start from.

use std::io::ErrorKind;

use serde_json::{Value, json};

use crate::support::client::{self, Client, Response};
use crate::support::gateway::Gateway;
use crate::support::origin::{Origin, Recorded};

/// A gateway and the service behind it.
pub struct Stage {
    /// The service.
    pub origin: Origin,
    /// The gateway.
    pub gateway: Gateway,
}

impl Stage {
    /// Starts a gateway with these routes to the origin, all of them public unless they say otherwise. The members of
    /// `more` go over the rest of the configuration.
    pub fn set(origin: Origin, routes: Value, more: Value) -> Self {
        let gateway = Gateway::start(&config(&origin, routes, more).to_string());
        Self { origin, gateway }
    }

    /// The same with a service that answers 200 to everything.
    pub fn plain(routes: Value, more: Value) -> Self {
        Self::set(Origin::json("{}"), routes, more)
    }

    /// A new connection to the gateway.
    pub fn connect(&self) -> Client {
        Client::connect(self.gateway.address())
    }

    /// The response to one request on a connection of its own.
    pub fn ask(&self, request: &[u8]) -> Response {
        client::ask(self.gateway.address(), request)
    }

    /// The same, with the one request that the service got.
    pub fn pass(&self, request: &[u8]) -> (Response, Recorded) {
        self.origin.take();
        let response = self.ask(request);
        let mut seen = self.origin.take();
        assert_eq!(seen.len(), 1, "{}: {} {}", shown(request), response.status, response.text());
        (response, seen.remove(0))
    }
}

/// Whether the server ends the connection without another word.
pub fn ends(client: &mut Client) -> bool {
    // A server that has not read everything resets the connection.
    let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    client.response().is_err_and(|error| ended.contains(&error.kind()))
}

/// The beginning of a request, for messages.
pub fn shown(request: &[u8]) -> String {
    String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned()
}

fn config(origin: &Origin, routes: Value, more: Value) -> Value {
    let mut config = json!({
        "version": 1,
        "listeners": [{"address": "127.0.0.1:0"}],
        "services": {"origin": {"url": format!("http://{}", origin.address())}},
        "defaults": {"auth": "public"},
    });
    let Value::Array(mut routes) = routes else { panic!("the routes are a list") };
    for (number, route) in routes.iter_mut().enumerate() {
        let route = route.as_object_mut().expect("a route is an object");
        route.entry("name").or_insert_with(|| format!("route-{number}").into());
        route.entry("service").or_insert_with(|| "origin".into());
    }
    config["routes"] = routes.into();
    for (key, value) in more.as_object().expect("the rest is an object") {
        config[key] = value.clone();
    }
    config
}
