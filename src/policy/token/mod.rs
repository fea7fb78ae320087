//! Who calls: signed tokens (JWT, RFC 7519, in the compact form of RFC 7515).
//!
//! [`Rules::verify`] decides on a token with given keys at a given time. Its steps go from cheap to dear: form, claims,
//! key, signature; nothing of a token is believed before the last. What a token says of its key is its id alone, which
//! is compared with the ids of known keys and never used for anything else. Its algorithm must be one of the rules' and
//! of the key's.
//!
//! Where keys come from and what becomes of a verified token is not decided here. The key of a signature is found with
//! at most [`MAX_TRIES`] tries, which bounds what a token without a key id costs.

mod compact;
mod crypto;
mod json;
mod keys;
#[cfg(test)]
pub(crate) mod tests;

use serde_json::{Map, Value};
use thiserror::Error;

use compact::Compact;

pub use jsonwebtoken::Algorithm;
pub use keys::{KeyFault, KeySet, MAX_KEYS, MIN_SECRET};

/// Most keys that are tried for one token.
pub const MAX_TRIES: usize = 4;

/// The claims of a token that was verified.
pub type Claims = Map<String, Value>;

/// What must hold of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Algorithms that may be used; empty: all those of the key.
    pub algorithms: Vec<Algorithm>,
    /// The one issuer; `None`: any.
    pub issuer: Option<Box<str>>,
    /// One of these must be in the audience; empty: any.
    pub audience: Vec<Box<str>>,
    /// Seconds by which clocks may differ.
    pub leeway: u64,
    /// Claims that must be there.
    pub required: Vec<Box<str>>,
    /// Longest token, in bytes.
    pub max_bytes: usize,
}

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// Unix time at which it is good no more, leeway included; `None`: never.
    pub expires: Option<u64>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum TokenFault {
    /// Longer than allowed.
    #[error("the token is too long")]
    Oversized,
    /// Not three parts, or no JSON objects in them.
    #[error("the token is malformed")]
    Malformed,
    /// Not strictly base64url.
    #[error("a part of the token is not base64url")]
    Encoding,
    /// A name that stands twice in an object.
    #[error("a member of the token stands twice")]
    DuplicateMember,
    /// Encrypted, compressed, or a token in a token.
    #[error("the token is encrypted or nested")]
    Nested,
    /// An extension that must be understood.
    #[error("the token has a critical extension")]
    Critical,
    /// A key, or where to fetch one, in the header.
    #[error("the token brings its own key")]
    KeyInHeader,
    /// A token for another purpose.
    #[error("the token is of another type")]
    Type,
    /// `none`, an unknown algorithm, one that is not allowed, or none of the key's.
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// No key has this id.
    #[error("the key is not known")]
    UnknownKey,
    /// There are no keys yet.
    #[error("there are no keys to verify the token with")]
    NoKeys,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// Good no more.
    #[error("the token has expired")]
    Expired,
    /// Not good yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Of somebody else.
    #[error("the issuer is wrong")]
    Issuer,
    /// For somebody else.
    #[error("the audience is wrong")]
    Audience,
    /// A required claim is not there.
    #[error("a required claim is missing")]
    ClaimMissing,
    /// A claim is not of its type.
    #[error("a claim is malformed")]
    ClaimMalformed,
    /// The claim that names the consumer does not name one.
    #[error("the token names no consumer")]
    Consumer,
}

impl TokenFault {
    /// The metric label.
    pub fn code(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Encoding => "encoding",
            Self::DuplicateMember => "duplicate-member",
            Self::Nested => "nested",
            Self::Critical => "critical",
            Self::KeyInHeader => "key-in-header",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::NoKeys => "no-keys",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::ClaimMissing => "claim-missing",
            Self::ClaimMalformed => "claim-malformed",
            Self::Consumer => "consumer",
        }
    }
}

impl Rules {
    /// Decides on a token. `keys` are those that are known at `now`, in seconds of Unix time.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify(&self, token: &str, keys: Option<&KeySet>, now: u64) -> Result<Verified, TokenFault> {
        if token.len() > self.max_bytes {
            return Err(TokenFault::Oversized);
        }
        let token = Compact::read(token)?;
        if !self.algorithms.is_empty() && !self.algorithms.contains(&token.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let expires = self.check_claims(&token.claims, now)?;
        check_signature(&token, keys.ok_or(TokenFault::NoKeys)?)?;
        Ok(Verified { claims: token.claims, expires })
    }

    /// When the token ends, if its claims hold now.
    fn check_claims(&self, claims: &Claims, now: u64) -> Result<Option<u64>, TokenFault> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenFault::Issuer);
        }
        if !self.audience.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Err(TokenFault::Audience);
        }
        if self.required.iter().any(|name| claim(claims, name).is_none_or(Value::is_null)) {
            return Err(TokenFault::ClaimMissing);
        }
        if date(claims, "nbf")?.is_some_and(|begin| begin > now.saturating_add(self.leeway)) {
            return Err(TokenFault::NotYetValid);
        }
        date(claims, "iat")?;
        let expires = date(claims, "exp")?.map(|end| end.saturating_add(self.leeway));
        if expires.is_some_and(|end| end <= now) {
            return Err(TokenFault::Expired);
        }
        Ok(expires)
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let ours = |name: &Value| name.as_str().is_some_and(|name| self.audience.iter().any(|own| **own == *name));
        match audience {
            // A list in which something is no text is nobody's.
            Some(Value::Array(names)) => names.iter().all(Value::is_string) && names.iter().any(ours),
            Some(name) => ours(name),
            None => false,
        }
    }
}

fn check_signature(token: &Compact<'_>, keys: &KeySet) -> Result<(), TokenFault> {
    let id = token.key_id.as_deref();
    if !keys.can(token.algorithm) {
        // The next key of a provider may be of another type, but it is never a secret.
        let may_come = token.algorithm.family() != jsonwebtoken::AlgorithmFamily::Hmac && !keys.knows(id);
        return Err(if may_come { TokenFault::UnknownKey } else { TokenFault::Algorithm });
    }
    let mut tried = false;
    for key in keys.candidates(id, token.algorithm).take(MAX_TRIES) {
        if crypto::verifies(token.algorithm, &key.key, token.message, token.signature) {
            return Ok(());
        }
        tried = true;
    }
    // Without an id the key may be one that is not known yet.
    if tried && id.is_some() { Err(TokenFault::Signature) } else { Err(TokenFault::UnknownKey) }
}

/// A claim by its name, or by the names on the way to it with dots between them.
pub fn claim<'c>(claims: &'c Claims, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
}

/// Seconds of Unix time; a fraction counts as the second it is in.
fn date(claims: &Claims, name: &str) -> Result<Option<u64>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    // A number beyond the range is its end: further in the future than anything else.
    seconds.map(|seconds| Some(seconds as u64)).ok_or(TokenFault::ClaimMalformed)
}
