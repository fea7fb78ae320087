//! `basic` of an authenticator and `passwords` of a consumer, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::mask::MASK;

/// A name and a password (HTTP Basic, RFC 7617). The name is that of one of `consumers`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Basic {
    /// What browsers show to users who are asked for a password.
    pub realm: String,
    /// Let the service see the password.
    pub forward: bool,
}

impl Default for Basic {
    fn default() -> Self {
        Self { realm: "tollgate".to_owned(), forward: false }
    }
}

/// A password, which itself is never written down.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// What `tollgate hash-password` prints (argon2id, PHC form), or bcrypt as `htpasswd -B` makes it.
    pub hash: Hidden,
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}
