//! To which second service a route's requests are sent as well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Share;

/// A second service that gets a copy of requests. Nobody waits for its replies, which are thrown away.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Name of the service.
    pub service: String,
    /// How many of the requests, drawn at random.
    #[serde(default = "all")]
    pub share: Share,
}

fn all() -> Share {
    Share::ALL
}
