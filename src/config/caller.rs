//! Who calls, how that is found out, and how much they may use.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::basic::{Basic, Password};
use super::forward_auth::ForwardAuth;
use super::jwt::Jwt;
use super::schema;
use super::values::{OneOrMany, Rate, Sha256};

/// A named way to find the consumer: exactly one kind.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["api_key", "jwt", "basic", "forward_auth", "client_certificate"])))]
pub struct Authenticator {
    /// A key that only the consumer knows.
    #[serde(default)]
    pub api_key: Option<ApiKey>,
    /// A signed token.
    #[serde(default)]
    pub jwt: Option<Jwt>,
    /// A name and a password.
    #[serde(default)]
    pub basic: Option<Basic>,
    /// An auth service that is asked.
    #[serde(default)]
    pub forward_auth: Option<ForwardAuth>,
    /// The certificate with which the client has connected, to a listener with `client_ca`.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
}

/// Who calls is whose `certificates` the client's certificate is among.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {}

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
    /// Its passwords, with which its name is good where `basic` is asked for; any one suffices.
    pub passwords: Vec<Password>,
    /// Its certificates, which are good where `client_certificate` is asked for.
    pub certificates: Vec<Certificate>,
    /// Passed to services as `X-Consumer-Groups`.
    pub groups: Vec<String>,
}

/// The certificate of a client, by exactly one of its names.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = schema::exactly_one(&["dns", "uri", "email", "subject", "sha256"])))]
pub struct Certificate {
    /// A host name among its alternative names.
    pub dns: Option<String>,
    /// A URI among its alternative names: `spiffe://example.org/billing`.
    pub uri: Option<String>,
    /// An address of electronic mail among its alternative names.
    pub email: Option<String>,
    /// The common name of its subject.
    pub subject: Option<String>,
    /// SHA-256 of the certificate: `openssl x509 -in client.pem -outform der | sha256sum`.
    pub sha256: Option<Sha256>,
}

/// An API key, which itself is never written down.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyHash {
    /// SHA-256 of the key, 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`.
    pub sha256: Sha256,
}
