//! The microservices behind the gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use super::tls::ServiceTls;
use super::values::Duration;

/// A microservice behind the gateway: exactly one of `url` and `targets`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["url", "targets"])))]
pub struct Service {
    /// `http://host[:port][/path]`, or `https:`; the path is put before every service path.
    #[serde(default)]
    pub url: Option<String>,
    /// The addresses of its instances, used in turn.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// How TLS is spoken with it. Default: with a `url` that begins with `https:` as with any server, else not at all.
    #[serde(default)]
    pub tls: Option<ServiceTls>,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Send the client's `Host` instead of the service's own.
    #[serde(default)]
    pub preserve_host: bool,
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `host:port`.
    pub address: String,
}

/// How long a service may take.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// From the end of the request to the first byte of the reply.
    pub response: Duration,
    /// The longest silence within the reply. A route may say another: `timeouts` there.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}
