//! `forward_auth` of an authenticator, as written.

use http::header::{AUTHORIZATION, COOKIE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, FieldName};

/// An auth service that knows who calls: it is asked when no other authenticator of the route finds a credential.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardAuth {
    /// `http://host[:port][/path]`, asked with GET.
    pub url: String,
    /// How long it may take, from the connection to the end of the answer's header.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// Headers of the request that it gets. Default `authorization` and `cookie`.
    #[serde(default = "default_request_headers")]
    pub request_headers: Vec<FieldName>,
    /// The header of a 2xx answer that names the consumer, who is called `AUTHENTICATOR:VALUE`.
    pub consumer_header: FieldName,
    /// A value that is the name of one of `consumers` makes the caller that consumer.
    #[serde(default)]
    pub match_consumers: bool,
    /// The header of the answer that names the plan.
    #[serde(default)]
    pub plan_header: Option<FieldName>,
    /// The plan of answers that name none.
    #[serde(default)]
    pub plan: Option<String>,
    /// The header of the answer that lists groups, with commas between them.
    #[serde(default)]
    pub groups_header: Option<FieldName>,
    /// Headers of the answer that the service gets.
    #[serde(default)]
    pub copy_headers: Vec<FieldName>,
}

fn default_timeout() -> Duration {
    Duration::from_secs(1)
}

fn default_request_headers() -> Vec<FieldName> {
    vec![FieldName(AUTHORIZATION), FieldName(COOKIE)]
}
