//! What passes: routes, what holds for all of them, and what they declare of requests and replies.

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorisation::{Allow, Modes};
use super::cache::Cache;
use super::compression::Compressing;
use super::cors::Cors;
use super::mirror::Mirror;
use super::schema;
use super::serving::AccessLines;
use super::split::RouteService;
use super::values::{self, Duration, FieldName, LimitBy, Parameters, Rate, Size};
use super::websocket::Websocket;

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
    /// Pages of other origins. See `cors` of a route.
    pub cors: Option<Cors>,
    /// Which replies are compressed. See `compression` of a route.
    pub compression: Option<Compressing>,
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
    /// Name of the service; or a mapping of names to weights, such as `{ stable: 95, canary: 5 }`: each consumer, or
    /// where nobody is known each client address, goes to one of them and stays there.
    pub service: RouteService,
    /// A second service that gets copies of requests, for whose replies nobody waits.
    #[serde(default)]
    pub mirror: Option<Mirror>,
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
    /// `true`: the route takes WebSockets, and nothing else. A mapping says from which pages and for how long.
    #[serde(default)]
    pub websocket: Websocket,
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
    /// Pages of other origins that may read its answers, instead of those in `defaults`. `false`: none by the gateway,
    /// and what the service says of it passes.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// Limits of this route, beside those of the consumer's plan.
    #[serde(default)]
    pub limits: Vec<RouteLimit>,
    /// How many requests one request counts for in rates and quotas.
    #[serde(default = "default_cost")]
    pub cost: u32,
    /// Which of its requests have an access line, instead of `lines` in `access_log`.
    #[serde(default)]
    pub access_log: Option<AccessLines>,
    /// How long the service may be silent here, instead of what it says itself.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// Which replies are compressed for clients that take it, instead of what `defaults` say. `true`: those that shrink.
    #[serde(default)]
    pub compression: Option<Compressing>,
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
    /// Which replies are stored and used again. Absent: none.
    #[serde(default)]
    pub cache: Option<Cache>,
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

/// How long a service may be silent on one route.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// The longest silence within a reply: that between two events of a stream.
    pub idle: Option<Duration>,
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
