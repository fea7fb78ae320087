//! Which replies are stored, for how long, and in how much memory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use super::values::{Duration, Size};

/// The store of replies, which all routes share.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheStore {
    /// What it may take, replies that are still coming among it.
    pub memory: Size,
}

impl Default for CacheStore {
    fn default() -> Self {
        Self { memory: Size::from_kib(256 * 1024) }
    }
}

/// How a route's replies are cached: exactly one of `ttl` and `respect`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = schema::exactly_one(&["ttl", "respect"])))]
pub struct Cache {
    /// How long a reply is fresh, whatever service and client say of it. What the service forbids to store is not
    /// stored.
    pub ttl: Option<Duration>,
    /// `true`: service and client say it, in the words of HTTP (RFC 9111).
    pub respect: bool,
    /// How long after that a reply is still used, while it is fetched anew. What the reply says itself comes first.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after that a reply is still used when the service fails. What the reply says itself comes first.
    pub stale_if_error: Option<Duration>,
    /// Largest body that is stored. Default 1MiB, or less where the store is small.
    pub max_object: Option<Size>,
    /// `true`: all consumers get the same replies. Absent: each its own, on a route that asks who calls.
    pub shared: bool,
    /// What becomes of replies that set cookies.
    pub set_cookie: SetCookie,
}

/// What becomes of replies that set cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetCookie {
    /// They are not stored.
    #[default]
    Refuse,
    /// The cookies are taken out of what is stored, for every client.
    Remove,
}
