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
mod damage;
mod decode;
mod jwt;
mod load;
mod mask;
mod place;
mod report;
mod schema;
mod schema_files;
mod values;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use authorisation::{Allow, ClaimValue, Conditions, Modes};
pub use decode::{Fault, decode};
pub use jwt::{Algorithm, Jwt};
pub use load::{Damaged, Loaded, Loading, load, load_text};
pub use place::{On, Place, Step};
pub use report::{Color, Problem, Report, Severity, Sources, Spot, suggest};
pub use schema::json_schema;
pub use schema_files::{SchemaFile, SchemaFiles};
pub use values::{Duration, FieldName, LimitBy, OneOrMany, Parameters, Period, Rate, Sha256, Size};

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
    /// How the process leaves.
    #[serde(default)]
    pub drain: Drain,
    /// How a changed file is noticed.
    #[serde(default)]
    pub reload: Reload,
    /// API keys that come and go while the gateway runs, and what many gateways share. Absent: only the keys of this
    /// file are known.
    #[serde(default)]
    pub store: Option<Store>,
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

/// An address the gateway accepts clients on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `IP:port`; port 0 takes a free one and logs it.
    #[schemars(schema_with = "schema::socket_address")]
    pub address: std::net::SocketAddr,
}

/// The listener for operators. It answers everyone who reaches it: keep it on loopback or a private network.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// `IP:port`.
    #[schemars(schema_with = "schema::socket_address")]
    pub address: std::net::SocketAddr,
    /// SHA-256 of the token with which API keys are made and revoked here. Absent: they are not.
    #[serde(default)]
    pub token_sha256: Option<Sha256>,
}

/// Where the API is described: `/openapi.json` and the page `/docs`, made from the routes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Docs {
    /// `admin`, or the address of one of `listeners` as written there.
    pub listener: String,
    /// Title of the API.
    #[serde(default = "default_title")]
    pub title: String,
    /// Version of the API, not of this file.
    #[serde(default = "default_api_version")]
    pub version: String,
    /// What the API is for; Markdown.
    #[serde(default)]
    pub description: Option<String>,
    /// Base URLs under which clients reach the gateway.
    #[serde(default)]
    pub servers: Vec<String>,
}

fn default_title() -> String {
    "API".to_owned()
}

fn default_api_version() -> String {
    "1".to_owned()
}

/// The shape of error answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErrorFormat {
    /// `application/problem+json`, RFC 9457.
    #[default]
    Problem,
    /// FastAPI's `{"detail": …}`.
    Fastapi,
}

/// Bounds on what a stranger can make grow. The two that go by address are off unless said: behind a balancer all
/// clients share one address.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// From the first byte of a request's header to its last.
    pub header_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// From the end of the header to the end of a body that is checked; for a streamed body, the longest silence.
    pub body_timeout: Duration,
    /// Open connections, all listeners together.
    pub max_connections: u32,
    /// Open connections of one address. Off unless said.
    pub max_connections_per_address: Option<u32>,
    /// Request line and header fields together.
    pub header_bytes: Size,
    /// Header fields.
    pub header_count: u32,
    /// Path and query.
    pub uri_bytes: Size,
    /// Bodies being checked, all requests together.
    pub body_memory: Size,
    /// Temporary files of uploads, all requests together.
    pub upload_disk: Size,
    /// Where these files are made: a directory on a disk, not in memory. Default: the system's for temporary files.
    pub upload_dir: Option<String>,
    /// Requests of one address, before authentication. Approximate (see `policy::flood`). Off unless said.
    pub flood: Option<Rate>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            max_connections: 20_000,
            max_connections_per_address: None,
            header_bytes: Size::from_kib(32),
            header_count: 100,
            uri_bytes: Size::from_kib(8),
            body_memory: Size::from_kib(256 * 1024),
            upload_disk: Size::from_kib(4 * 1024 * 1024),
            upload_dir: None,
            flood: None,
        }
    }
}

/// Where the access lines go.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `stdout`, `off`, or a file's path.
    pub path: String,
    /// The shape of a line.
    pub format: AccessFormat,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { path: "stdout".to_owned(), format: AccessFormat::Json }
    }
}

/// The shape of an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// One readable line for a terminal.
    Text,
}

/// How the process leaves.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// How long requests in flight may take after SIGTERM.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30) }
    }
}

/// How a changed file is noticed. SIGHUP and `tollgate reload` always work.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Also reload when a configuration file changes on disk.
    pub watch: bool,
}

/// What outlives requests and may be shared: the API keys that `tollgate keys` and the admin listener make and revoke,
/// in a file or in a Redis; and in a Redis the counters of limits, for many gateways together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// An SQLite file, made at the first start; a relative path begins at the folder of this file. Default, unless
    /// there is `redis`: `tollgate.db` in systemd's state directory, and outside of systemd in `/var/lib/tollgate`.
    pub path: Option<String>,
    /// A Redis or Valkey that several gateways share: `redis://[user:password@]host[:6379][/0]`, or `rediss://` over
    /// TLS. All gateways with the same Redis and `prefix` count limits together. Not beside `path`.
    pub redis: Option<String>,
    /// How long a request waits for Redis. Default: 100ms. Only with `redis`.
    pub timeout: Option<Duration>,
    /// What holds for limits while Redis does not answer. Default: `local`. Only with `redis`.
    pub on_store_failure: Option<OnStoreFailure>,
    /// Whether every request asks Redis. Default: `exact`. Only with `redis`.
    pub rate_sharing: Option<RateSharing>,
    /// How every key in Redis begins, 1 to 64 letters, digits, `-`, `_`, `.`. Default: `tollgate`. Only with `redis`.
    pub prefix: Option<String>,
}

/// How gateways share the counters of rates and quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateSharing {
    /// Every request asks: of the requests to all gateways exactly as many pass as a limit says.
    #[default]
    Exact,
    /// A gateway takes up to 2 % of a limit at a time, at most 100 requests, and asks again when they are spent. A quota
    /// is still never exceeded; a rate by at most what all gateways have taken.
    Batched,
}

/// What holds for limits while the shared store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// Each gateway goes on with counters of its own, from what it has seen itself.
    #[default]
    Local,
    /// Requests pass uncounted.
    Allow,
    /// Requests with a limit are answered 503.
    Deny,
}

/// A microservice behind the gateway: exactly one of `url` and `targets`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["url", "targets"])))]
pub struct Service {
    /// `http://host[:port][/path]`; the path is put before every service path.
    #[serde(default)]
    pub url: Option<String>,
    /// The addresses of its instances, used in turn.
    #[serde(default)]
    pub targets: Vec<Target>,
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
    /// The longest silence: to the first byte of the reply, and between two reads of it.
    pub response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(30) }
    }
}

/// A named way to find the consumer: exactly one kind.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["api_key", "jwt"])))]
pub struct Authenticator {
    /// A key that only the consumer knows.
    #[serde(default)]
    pub api_key: Option<ApiKey>,
    /// A signed token.
    #[serde(default)]
    pub jwt: Option<Jwt>,
}

/// Where the key stands in a request: exactly one of `header`, `query`, `cookie`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["header", "query", "cookie"])))]
pub struct ApiKey {
    /// Name of a header.
    #[serde(default)]
    pub header: Option<String>,
    /// Name of a query parameter.
    #[serde(default)]
    pub query: Option<String>,
    /// Name of a cookie.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Let the service see the key.
    #[serde(default)]
    pub forward: bool,
}

/// What a consumer may use. Every limit must allow a request.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// For each consumer on each route separately.
    pub each_route: OneOrMany<Rate>,
    /// For each consumer over all routes together.
    pub total: OneOrMany<Rate>,
    /// For each consumer on the named route, instead of `each_route`.
    pub routes: IndexMap<String, OneOrMany<Rate>>,
    /// Requests of one consumer in flight at once.
    pub concurrency: Option<u32>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Consumer {
    /// Name of the plan; required once plans are defined.
    pub plan: Option<String>,
    /// Its keys.
    pub api_keys: Vec<KeyHash>,
    /// Passed to services as `X-Consumer-Groups`.
    pub groups: Vec<String>,
}

/// An API key, which itself is never written down.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyHash {
    /// SHA-256 of the key, 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`.
    pub sha256: Sha256,
}

/// What holds for every route that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Who may call: `public`, or any of these authenticators. See `auth` of a route.
    pub auth: Option<Auth>,
    /// Parameters that the contract does not name. See `undeclared` of a route.
    pub undeclared: Option<Undeclared>,
    /// Largest body. See `max_body` of a route.
    pub max_body: Option<Size>,
    /// What is enforced and what only observed. See `mode` of a route.
    pub mode: Option<Modes>,
    /// Conditions on callers. See `allow` of a route.
    pub allow: Option<Allow>,
    /// Networks whose clients no route lets through; those of a route's own list come on top.
    #[schemars(with = "Option<Vec<String>>")]
    pub deny_addresses: Option<Vec<IpNet>>,
}

/// Who may call a route.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Auth {
    /// Everyone; must be said as `auth: public`.
    Public(Public),
    /// Whoever one of these authenticators finds.
    Any(Vec<String>),
}

/// The word `public`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Public {
    /// Everyone.
    Public,
}

/// What happens to parameters that the contract does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Undeclared {
    /// They do not reach the service.
    #[default]
    Drop,
    /// The request is refused with 422.
    Reject,
    /// They pass unchecked.
    Forward,
}

/// Whether something refuses requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// What it would refuse is counted and logged, and passes; a violated contract as the client sent it.
    Observe,
}

/// Method(s) and gateway path → a service, with its contract and policies.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["method", "methods"])))]
pub struct Route {
    /// Unique; also the metric label and the default operation id.
    pub name: String,
    /// One method; or see `methods`.
    #[schemars(extend("enum" = schema::METHODS))]
    #[serde(default)]
    pub method: Option<String>,
    /// Several methods; or see `method`.
    #[schemars(schema_with = "schema::methods")]
    #[serde(default)]
    pub methods: Vec<String>,
    /// `api.example.com` or `*.example.com`; absent: any host.
    #[serde(default)]
    pub host: Option<String>,
    /// The path clients call, a template: `/users/{id}`, `/files/{*rest}`.
    pub gateway_path: String,
    /// Name of the service.
    pub service: String,
    /// The path the service gets, a template; absent: the gateway path.
    #[serde(default)]
    pub service_path: Option<String>,
    /// What to do with an encoded slash in the path.
    #[serde(default)]
    pub encoded_slash: EncodedSlash,
    /// Types of the path's parameters; one that is not named here is a string.
    #[serde(default)]
    pub path_params: IndexMap<String, Parameter>,
    /// The query parameters that pass; `any`: everything.
    #[serde(default)]
    pub query_params: Parameters,
    /// Typed header fields; an `array` is a comma-separated list. Other fields pass, unless `request_headers` says
    /// otherwise.
    #[serde(default, deserialize_with = "values::distinct_headers")]
    pub header_params: IndexMap<FieldName, Parameter>,
    /// Typed cookies. Where any is declared, `undeclared` says what happens to the others; else all pass.
    #[serde(default)]
    pub cookie_params: IndexMap<String, Parameter>,
    /// Members of a JSON object body.
    #[serde(default)]
    pub body_params: Option<IndexMap<String, Parameter>>,
    /// Fields of a form, urlencoded or multipart; with a `type: file` among them multipart only.
    #[serde(default)]
    pub form_params: Option<IndexMap<String, Parameter>>,
    /// `any`: the body streams through unchecked; or the schema of a whole JSON document.
    #[serde(default)]
    pub body: Option<Body>,
    /// Largest body. Default 1MiB.
    #[serde(default)]
    pub max_body: Option<Size>,
    /// What is enforced and what only observed, instead of the `mode` in `defaults`. `observe` is about the contract
    /// alone; a mapping names `contract`, `authorisation` and `limits`. What is not named is enforced.
    #[serde(default)]
    pub mode: Option<Modes>,
    /// Parameters that the contract does not name. Default: dropped.
    #[serde(default)]
    pub undeclared: Option<Undeclared>,
    /// Who may call; required here or in `defaults`.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Conditions on callers, instead of those in `defaults`: all must hold. `any`: none.
    #[serde(default)]
    pub allow: Option<Allow>,
    /// Networks whose clients are refused, beside those in `defaults`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub deny_addresses: Option<Vec<IpNet>>,
    /// Limits of this route, beside those of the consumer's plan.
    #[serde(default)]
    pub limits: Vec<RouteLimit>,
    /// How many requests one request counts for in rates and quotas.
    #[serde(default = "default_cost")]
    pub cost: u32,
    /// Changes to the headers the service gets.
    #[serde(default)]
    pub request_headers: RequestHeaderChanges,
    /// Changes to the headers the client gets.
    #[serde(default)]
    pub response_headers: HeaderChanges,
    /// `false`: the service's own response headers do not reach the client.
    #[serde(default = "default_true")]
    pub override_headers: bool,
    /// The schema of JSON replies with a 2xx status: undeclared members do not reach the client, and a reply that
    /// violates it is answered with 502.
    #[serde(default)]
    pub response_model: Option<Document>,
    /// Documented success status.
    #[serde(default)]
    pub status_code: Option<u16>,
    /// Documentation: groups in the API's description.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Documentation: one line.
    #[serde(default)]
    pub summary: Option<String>,
    /// Documentation: Markdown.
    #[serde(default)]
    pub description: Option<String>,
    /// Documentation: further responses by status (`404`, `5XX`, `default`).
    #[schemars(extend("propertyNames" = schema::status()))]
    #[serde(default)]
    pub responses: IndexMap<String, DocumentedResponse>,
    /// Documentation: still works, should not be used.
    #[serde(default)]
    pub deprecated: bool,
    /// Documentation: default the route's name.
    #[serde(default)]
    pub operation_id: Option<String>,
    /// Documentation: `false` leaves the route out.
    #[serde(default = "default_true")]
    pub include_in_schema: bool,
}

fn default_cost() -> u32 {
    1
}

fn default_true() -> bool {
    true
}

/// The body of a route, where it is not made of members or fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// `any`: it streams through unchecked.
    Any,
    /// A JSON document with a schema.
    Document(Document),
}

/// The schema of a whole JSON document: exactly one of `schema` and `schema_file`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["schema", "schema_file"])))]
pub struct Document {
    /// JSON Schema 2020-12, written here.
    #[schemars(with = "schema::Keywords")]
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
    /// A file with the schema, JSON or YAML; a relative path starts at this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_file: Option<String>,
}

/// What to do with `%2F` and `%5C` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlash {
    /// Refuse the request with 400.
    #[default]
    Reject,
    /// A captured value may hold it; it stays encoded on the way to the service.
    Forward,
}

/// One typed parameter: a JSON Schema (2020-12) with two more words.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Parameter {
    /// May be absent.
    #[serde(default)]
    pub optional: bool,
    /// Filled in when absent. `default: null` is a default too.
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Everything else: the schema as written.
    #[serde(flatten)]
    pub schema: serde_json::Map<String, serde_json::Value>,
}

/// One limit of a route.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteLimit {
    /// How much.
    pub rate: Rate,
    /// For whom separately.
    pub by: LimitBy,
}

/// Changes to a set of headers: first `remove`, then `set`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChanges {
    /// Names taken out.
    pub remove: Vec<FieldName>,
    /// Names with the one value they have afterwards.
    #[serde(deserialize_with = "values::distinct_headers")]
    pub set: IndexMap<FieldName, String>,
}

/// Changes to the headers a service gets: first `allow`, then `remove`, then `set`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestHeaderChanges {
    /// Of the client's fields only these and `header_params` pass. Absent: all of them.
    pub allow: Option<Vec<FieldName>>,
    /// Names taken out.
    pub remove: Vec<FieldName>,
    /// Names with the one value they have afterwards.
    #[serde(deserialize_with = "values::distinct_headers")]
    pub set: IndexMap<FieldName, String>,
}

/// A response in the API's description.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentedResponse {
    /// What it means.
    pub description: String,
}
