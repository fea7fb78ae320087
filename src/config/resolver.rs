//! `resolver`, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How names of services become addresses. Addresses, `/etc/hosts` and the search domains of the machine hold in any case.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resolver {
    /// The DNS servers that are asked, in this order: addresses, each with a port where it is not 53. Empty: those of the
    /// machine, and what DNS does not know is asked of its own resolver.
    pub servers: Vec<String>,
    /// An answer that holds for less time is asked for no more often than this; at least 1s.
    pub min_ttl: Duration,
    /// An answer that holds for longer is asked for again after this.
    pub max_ttl: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { servers: Vec::new(), min_ttl: Duration::from_secs(1), max_ttl: Duration::from_secs(3600) }
    }
}
