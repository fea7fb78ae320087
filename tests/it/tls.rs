//! TLS with clients.

mod clients;
mod listeners;
mod redirect;
mod renewal;
mod services;
mod telling;
mod websocket;

use serde_json::Value;

use crate::support::client::ask;
use crate::support::gateway::Gateway;
use crate::support::origin::{Origin, Reply};

/// A gateway whose first listener speaks TLS with `tls`, before a service that answers with what it got.
struct Stage {
    gateway: Gateway,
    _origin: Origin,
}

impl Stage {
    fn start(tls: &str) -> Self {
        Self::with(tls, "")
    }

    /// `more` are further lines of the configuration.
    fn with(tls: &str, more: &str) -> Self {
        let origin = echo();
        let gateway = Gateway::start(&config(&origin, tls, more));
        Self { gateway, _origin: origin }
    }

    /// The value of a sample.
    fn metric(&self, series: &str) -> f64 {
        let text = ask(self.gateway.admin(), b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_default()
    }
}

fn config(origin: &Origin, tls: &str, more: &str) -> String {
    format!(
        "version: 1
listeners: [{{ address: 127.0.0.1:0, tls: {{ {tls} }} }}]
admin: {{ address: 127.0.0.1:0 }}
services: {{ echo: {{ url: \"http://{}\" }} }}
routes: [{{ name: echo, method: GET, gateway_path: /echo, service: echo, auth: public }}]
{more}
",
        origin.address()
    )
}

/// Answers with the header fields that it got.
fn echo() -> Origin {
    Origin::start(|request| {
        let text = |value: &[u8]| Value::from(String::from_utf8_lossy(value).into_owned());
        let fields = request.fields.iter().map(|(name, value)| (name.clone(), text(value)));
        Reply::json(200, &Value::Object(fields.collect()).to_string())
    })
}
