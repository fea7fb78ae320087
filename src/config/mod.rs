//! What the user wrote.
//!
//! [`Config`] mirrors the YAML file, version 1, after `include` and `${…}` have been resolved: plain serde types,
//! every unknown key refused, every default visible here. Nothing in it is compiled: no regex, no socket address
//! looked up, no reference followed. What runs is [`crate::gateway::Gateway`], made by `gateway::compile`.
//!
//! [`load()`] reads the files, [`decode()`] turns the YAML value into a [`Config`] and goes on after a fault so that
//! every problem is found at once, and [`Report`] shows each at its line and column. What is left of a file with faults
//! is a [`Damaged`]: it can be judged, never run.

mod authorisation;
mod basic;
mod cache;
mod caller;
mod compression;
mod cors;
mod damage;
mod decode;
mod forward_auth;
mod jwt;
mod load;
mod mask;
mod mirror;
mod place;
mod report;
mod resolver;
mod route;
mod schema;
mod schema_files;
mod service;
mod serving;
mod split;
mod tls;
mod traces;
mod values;
mod websocket;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use authorisation::{Allow, ClaimValue, Conditions, Modes};
pub use basic::{Basic, Hidden, Password};
pub use cache::{Cache, CacheStore, SetCookie};
pub use caller::{ApiKey, Authenticator, Certificate, ClientCertificate, Consumer, KeyHash, Plan};
pub use compression::{Coding, Compressing, CompressingRules, Level};
pub use cors::{Cors, CorsRules};
pub use decode::{Fault, decode};
pub use forward_auth::ForwardAuth;
pub use jwt::{Algorithm, Jwt};
pub use load::{Damaged, Loaded, Loading, load, load_text};
pub use mirror::Mirror;
pub use place::{On, Place, Step};
pub use report::{Color, Problem, Report, Severity, Sources, Spot, suggest};
pub use resolver::Resolver;
pub use route::{
    Auth, Body, Defaults, Document, DocumentedResponse, EncodedSlash, HeaderChanges, Mode, Parameter, Public,
    RequestHeaderChanges, Route, RouteLimit, RouteTimeouts, Undeclared,
};
pub use schema::json_schema;
pub use schema_files::{SchemaFile, SchemaFiles};
pub use service::{Balance, Ejection, Health, Protocol, Queue, Retries, Service, Target, Timeouts};
pub use serving::{
    AccessField, AccessFormat, AccessLines, AccessLog, Admin, Docs, Drain, ErrorFormat, Guard, Listener, Log,
    LogFormat, LogLevel, OnStoreFailure, RateSharing, Reload, Store, Upgrade,
};
pub use split::RouteService;
pub use tls::{CertificateFiles, ClientAuth, ListenerTls, RedirectHttps, ServiceTls, TlsVersion};
pub use traces::{Compression, Errors, Parent, Traces};
pub use values::{
    BalanceKey, Duration, FieldName, LimitBy, OneOrMany, Parameters, Period, Rate, RetryOn, Sha256, Share, Size,
    Statuses,
};
pub use websocket::{Origins, Websocket, WebsocketRules};

/// A whole configuration file, version 1.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this file's format. Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The addresses the gateway accepts clients on.
    pub listeners: Vec<Listener>,
    /// The address for operators: metrics, probes, reload. Absent: none of them is served.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// Peers whose `X-Forwarded-*` and `X-Request-Id` are believed.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The shape of error answers.
    #[serde(default)]
    pub error_format: ErrorFormat,
    /// IANA name of the time zone in which days and months of quotas begin.
    #[serde(default = "default_timezone")]
    pub timezone: String,
    /// Bounds on what a stranger can make grow.
    #[serde(default)]
    pub guard: Guard,
    /// One line per request.
    #[serde(default)]
    pub access_log: AccessLog,
    /// What the process says of itself.
    #[serde(default)]
    pub log: Log,
    /// Distributed traces. Absent: none are recorded, and `traceparent` passes as the client sends it.
    #[serde(default)]
    pub traces: Option<Traces>,
    /// How the process leaves.
    #[serde(default)]
    pub drain: Drain,
    /// How a changed file is noticed.
    #[serde(default)]
    pub reload: Reload,
    /// How a new binary takes over.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// API keys that come and go while the gateway runs, quotas that last, and what many gateways share. Absent: only the
    /// keys of this file are known.
    #[serde(default)]
    pub store: Option<Store>,
    /// The store of replies, for routes that have a `cache`.
    #[serde(default)]
    pub cache: CacheStore,
    /// How names of services become addresses.
    #[serde(default)]
    pub resolver: Resolver,
    /// The microservices behind the gateway.
    #[serde(default)]
    pub services: IndexMap<String, Service>,
    /// Named ways to find the consumer of a request.
    #[serde(default)]
    pub authenticators: IndexMap<String, Authenticator>,
    /// What consumers may use.
    #[serde(default)]
    pub plans: IndexMap<String, Plan>,
    /// Who calls.
    #[serde(default)]
    pub consumers: IndexMap<String, Consumer>,
    /// What holds for every route that does not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// The API's description and its page, for those who call the routes. Absent: not served.
    #[serde(default)]
    pub docs: Option<Docs>,
    /// What passes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The files that `schema_file` names. No key of the configuration: loading fills it.
    #[serde(skip)]
    pub schema_files: SchemaFiles,
}

fn default_timezone() -> String {
    "UTC".to_owned()
}
