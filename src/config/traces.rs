//! `traces`, as written.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::distinct_headers;
use super::{Duration, FieldName, Share};

/// Distributed traces (OpenTelemetry), sent to a collector over OTLP/HTTP as protobuf.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// `http://host[:port]` or `https://…` of the collector; `/v1/traces` is put behind it unless it ends so.
    pub endpoint: String,
    /// How many of the traces that begin here are recorded. Which ones is decided by their ids.
    #[serde(default = "all")]
    pub sample: Share,
    /// From whom a trace is continued: its id, and whether it is recorded.
    #[serde(default)]
    pub parent: Parent,
    /// Which requests are recorded beyond that because they fail.
    #[serde(default)]
    pub errors: Errors,
    /// What the gateway is called in traces (`service.name`).
    #[serde(default = "default_service_name")]
    pub service_name: String,
    /// Further attributes of the gateway, such as `deployment.environment.name`.
    #[serde(default)]
    pub resource_attributes: IndexMap<String, String>,
    /// Headers for the collector, such as its credentials.
    #[serde(default, deserialize_with = "distinct_headers")]
    pub headers: IndexMap<FieldName, String>,
    /// Whether what is sent is compressed.
    #[serde(default)]
    pub compression: Compression,
    /// How long the collector may take for one batch.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// The longest time that a span waits for others to be sent with.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// Most spans that are sent together.
    #[serde(default = "default_batch")]
    pub batch: u32,
    /// Most spans that wait to be sent; what comes while there are so many is dropped and counted.
    #[serde(default = "default_queue")]
    pub queue: u32,
}

/// From whom a trace is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Parent {
    /// From `trusted_proxies`; anybody else begins a new one.
    #[default]
    Trusted,
    /// From everybody: whoever calls decides what is recorded.
    Always,
    /// From nobody.
    Never,
}

/// Which requests are recorded because they fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Errors {
    /// All that end with 5xx or a broken reply.
    #[default]
    Always,
    /// None but those that are recorded anyway.
    Sampled,
}

/// How what is sent is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
}

fn all() -> Share {
    Share::ALL
}

fn default_service_name() -> String {
    "tollgate".to_owned()
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_interval() -> Duration {
    Duration::from_secs(5)
}

fn default_batch() -> u32 {
    512
}

fn default_queue() -> u32 {
    2048
}
