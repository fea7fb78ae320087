//! `jwt` of an authenticator, as written.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::distinct_headers;
use super::{Duration, FieldName, OneOrMany, Size};

/// A signed token (JWT). Its keys are one of `secret`, `key`, `jwks`, `jwks_url`; without any of them, those that the
/// `issuer` publishes (OpenID Connect discovery).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// Name of the header that holds the token; default `Authorization`, as `Bearer TOKEN`.
    pub header: Option<String>,
    /// Name of a query parameter that holds it instead.
    pub query: Option<String>,
    /// Name of a cookie that holds it instead.
    pub cookie: Option<String>,
    /// Let the service see the token.
    pub forward: bool,
    /// A secret of at least 32 bytes that signer and gateway share, for HS256, HS384, HS512.
    pub secret: Option<String>,
    /// A public key in PEM: RSA, P-256, P-384 or Ed25519. From a file: `${file:/path}`.
    pub key: Option<String>,
    /// A set of public keys (JWKS): the object, or its JSON as text, as `${file:/path}` gives it.
    pub jwks: Option<serde_json::Value>,
    /// Where a set of public keys (JWKS) is published.
    pub jwks_url: Option<String>,
    /// How often a published set is fetched.
    pub refresh: Duration,
    /// The shortest time from one fetch that an unknown key caused to the next, and how long after a failed fetch the
    /// next begins.
    pub cooldown: Duration,
    /// Algorithms that may be used; default: all that the key can do.
    pub algorithms: Vec<Algorithm>,
    /// The one issuer (`iss`).
    pub issuer: Option<String>,
    /// One of these must be in the audience (`aud`).
    pub audience: OneOrMany<String>,
    /// How much clocks may differ; whole seconds count.
    pub leeway: Duration,
    /// Claims that must be there.
    pub required_claims: Vec<String>,
    /// Longest token.
    pub max_token: Size,
    /// The claim that names the consumer, who is called `AUTHENTICATOR:CLAIM`.
    pub consumer_claim: String,
    /// A claim that is the name of one of `consumers` makes the caller that consumer.
    pub match_consumers: bool,
    /// The claim that names the plan.
    pub plan_claim: Option<String>,
    /// The plan of tokens that name none.
    pub plan: Option<String>,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    /// Headers for the service, each with the claim that fills it.
    #[serde(deserialize_with = "distinct_headers")]
    #[schemars(with = "IndexMap<String, String>")]
    pub forward_claims: IndexMap<FieldName, String>,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            header: None,
            query: None,
            cookie: None,
            forward: false,
            secret: None,
            key: None,
            jwks: None,
            jwks_url: None,
            refresh: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            algorithms: Vec::new(),
            issuer: None,
            audience: OneOrMany::default(),
            leeway: Duration::from_secs(30),
            required_claims: vec!["exp".to_owned()],
            max_token: Size::from_kib(8),
            consumer_claim: "sub".to_owned(),
            match_consumers: false,
            plan_claim: None,
            plan: None,
            groups_claim: None,
            forward_claims: IndexMap::new(),
        }
    }
}

/// How a token is signed (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}
