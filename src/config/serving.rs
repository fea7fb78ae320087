//! How the gateway runs: listeners, what a stranger can make grow, logs, leaving, reloads, upgrades and the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use super::tls::{ListenerTls, RedirectHttps};
use super::values::{Duration, FieldName, Rate, Sha256, Size};

/// An address the gateway accepts clients on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `IP:port`; port 0 takes a free one and logs it.
    #[schemars(schema_with = "schema::socket_address")]
    pub address: std::net::SocketAddr,
    /// Absent: plain HTTP.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is spoken beside HTTP/1.1. Absent: over TLS it is; on a plain listener, where clients have to begin
    /// with it (h2c with prior knowledge), it is not.
    #[serde(default)]
    pub http2: Option<bool>,
    /// Serve nothing here but send clients to the same host and path over TLS. `true` means port 443.
    #[serde(default)]
    pub redirect_https: Option<RedirectHttps>,
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
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// From the end of the header to the end of a body that is checked; for a streamed body, the longest silence.
    pub body_timeout: Duration,
    /// Open connections, all listeners together.
    pub max_connections: u32,
    /// Open connections of one address. Off unless said.
    pub max_connections_per_address: Option<u32>,
    /// Requests at a time of one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub max_streams: u32,
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
    /// What compresses replies, all together; beyond it replies pass as they are.
    pub compression_memory: Size,
    /// Where these files are made: a directory on a disk, not in memory. Default: the system's for temporary files.
    pub upload_dir: Option<String>,
    /// Requests of one address, before authentication. Approximate (see `policy::flood`). Off unless said.
    pub flood: Option<Rate>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            max_connections: 20_000,
            max_connections_per_address: None,
            max_streams: 100,
            header_bytes: Size::from_kib(32),
            header_count: 100,
            uri_bytes: Size::from_kib(8),
            body_memory: Size::from_kib(256 * 1024),
            upload_disk: Size::from_kib(4 * 1024 * 1024),
            compression_memory: Size::from_kib(256 * 1024),
            upload_dir: None,
            flood: None,
        }
    }
}

/// Where the access lines go, which requests have one, and what is in it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `stdout`, `off`, or a file's path. SIGUSR1 opens the file again.
    pub path: String,
    /// The shape of a line.
    pub format: AccessFormat,
    /// Which requests have a line. A route's own `access_log` goes before it.
    pub lines: AccessLines,
    /// Members that are left out. Only with `format: json`.
    pub exclude: Vec<AccessField>,
    /// Request headers that are told besides, in `headers`; none that hold credentials. Only with `format: json`.
    pub headers: Vec<FieldName>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            path: "stdout".to_owned(),
            format: AccessFormat::Json,
            lines: AccessLines::All,
            exclude: Vec::new(),
            headers: Vec::new(),
        }
    }
}

/// Which requests have an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLines {
    /// All.
    #[default]
    All,
    /// Those with a status from 400 on, those that were refused, cut off or left by their client, and those that something
    /// would have refused that only observes.
    Errors,
    /// None.
    Off,
}

/// A member of an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessField {
    /// As answered in `X-Request-Id`.
    RequestId,
    /// Of the trace that it belongs to, where traces are recorded.
    TraceId,
    /// The client's address.
    Client,
    /// Of the request.
    Method,
    /// Of the request.
    Host,
    /// Of the request, without the query.
    Path,
    /// `HTTP/1.1`.
    Protocol,
    /// Version of TLS, where the client came over it.
    Tls,
    /// Name of the route.
    Route,
    /// Name of the service.
    Service,
    /// The address contacted last.
    Target,
    /// Who called.
    Consumer,
    /// The consumer's plan.
    Plan,
    /// Of the answer.
    Status,
    /// How a call of gRPC ended.
    GrpcStatus,
    /// `admitted`, `observed`, or why it was refused.
    Decision,
    /// What the cache did with it.
    Cache,
    /// The limits that refused it.
    RefusedBy,
    /// Violations that passed, and how many.
    Observed,
    /// Conditions and limits that only observe.
    WouldRefuse,
    /// What went wrong, for operators.
    Cause,
    /// Of the request's body.
    BytesIn,
    /// Of the answer's body.
    BytesOut,
    /// The whole.
    DurationMs,
    /// The gateway's own.
    GatewayMs,
    /// Waiting for a place of the service.
    QueueMs,
    /// Receiving a checked body.
    RequestBodyMs,
    /// Up to the header of the service's reply.
    ServiceMs,
    /// From there to the last byte.
    ResponseMs,
    /// Attempts after the first.
    Retries,
    /// Of the configuration.
    Generation,
    /// As sent.
    UserAgent,
}

/// What the process says of itself, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The shape of an entry.
    pub format: LogFormat,
    /// What is said. A reload that changes it takes effect at once; `run --log` goes before it at the start.
    pub level: LogLevel,
}

/// The shape of an entry of the process log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable. Under systemd with the priority, and without the time, which the journal has.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How much the process log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what needs an operator.
    Error,
    /// Also what is unexpected.
    Warn,
    /// Also what an operator asked for.
    #[default]
    Info,
    /// Everything.
    Debug,
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
/// and what quotas have used, in a file or in a Redis; and in a Redis the counters of all limits, for many gateways
/// together.
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

/// How a new binary takes over from a running one.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// Where `tollgate upgrade` finds the running gateway: a Unix socket in a folder of its own, which is made with mode
    /// 0700; a relative path begins at the folder of this file. Default: `upgrade.sock` in systemd's runtime directory,
    /// and none outside of systemd.
    pub socket: Option<String>,
}
