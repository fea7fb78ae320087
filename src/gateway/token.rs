//! Consumers that a signed token names.
//!
//! A [`TokenAuthenticator`] holds what a `jwt` authenticator compiles to: the rules, where keys come from, and how claims
//! become a [`Consumer`]. Tokens that were verified are remembered by the SHA-256 of their text, until they expire, the
//! key set changes, or room is needed; a new generation begins without them.
//!
//! # Names
//!
//! A provider must not be able to name one of the configuration's own consumers by accident. So the consumer of a token
//! is called `AUTHENTICATOR:CLAIM`, counts apart from every other, and is the one that the configuration calls `CLAIM`
//! only when `match_consumers` says so.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use indexmap::IndexMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;

use crate::policy::authenticate::{Digest, KeyPlace, digest};
use crate::policy::token::{Claims, KeySet, Rules, TokenFault, claim};

use super::key_source::{Pending, RemoteKeys};
use super::{Consumer, Plan};

/// Bytes of verified tokens that one authenticator remembers, as sent. What is kept of a token takes a few times its
/// size.
const REMEMBERED_BYTES: u64 = 16 << 20;

/// How many that is at the usual size.
const REMEMBERED_TOKENS: usize = 16_384;

/// Longest name of a consumer.
const MAX_NAME: usize = 256;

/// Finds consumers by token.
pub struct TokenAuthenticator {
    /// Its name.
    pub name: Box<str>,
    /// Where the token stands, and whether the service may see it.
    pub place: KeyPlace,
    rules: Rules,
    keys: TokenKeys,
    mapping: Mapping,
    verified: Cache<Digest, Arc<Remembered>, BySize>,
}

/// Where the keys of tokens come from.
#[derive(Debug)]
pub enum TokenKeys {
    /// The configuration.
    Fixed(KeySet),
    /// A provider.
    Remote(Arc<RemoteKeys>),
}

/// What claims mean.
#[derive(Debug)]
pub struct Mapping {
    /// The claim that names the consumer.
    pub consumer_claim: Box<str>,
    /// Consumers of the configuration that a claim may name.
    pub consumers: IndexMap<String, Arc<Consumer>>,
    /// The claim that names the plan.
    pub plan_claim: Option<Box<str>>,
    /// The plan of tokens that name none.
    pub plan: Option<Arc<Plan>>,
    /// Plans by name; empty: nobody has one.
    pub plans: IndexMap<String, Arc<Plan>>,
    /// The claim that lists groups.
    pub groups_claim: Option<Box<str>>,
    /// Headers of the service, by claim.
    pub forward: Vec<(HeaderName, Box<str>)>,
}

/// Why a token does not lead to a consumer.
pub enum Refusal {
    /// It is not valid.
    Token(TokenFault),
    /// It is valid, but has no plan that there is.
    Plan,
    /// Its key may be known soon.
    KeysPending(Pending),
    /// There are no keys, and none may be asked for now.
    KeysUnavailable,
}

/// Whether a request has waited for keys already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It may wait once.
    Fresh,
    /// It may not wait again.
    Spent,
}

struct Remembered {
    consumer: Arc<Consumer>,
    expires: Option<u64>,
    version: u64,
    bytes: u64,
}

#[derive(Clone)]
struct BySize;

impl Weighter<Digest, Arc<Remembered>> for BySize {
    fn weight(&self, _: &Digest, token: &Arc<Remembered>) -> u64 {
        token.bytes
    }
}

impl TokenAuthenticator {
    /// Remembers no token yet.
    pub fn new(name: &str, place: KeyPlace, rules: Rules, keys: TokenKeys, mapping: Mapping) -> Self {
        let verified = Cache::with_weighter(REMEMBERED_TOKENS, REMEMBERED_BYTES, BySize);
        Self { name: name.into(), place, rules, keys, mapping, verified }
    }

    /// The published set that its tokens are checked with, where it is one.
    pub fn remote(&self) -> Option<&Arc<RemoteKeys>> {
        match &self.keys {
            TokenKeys::Fixed(_) => None,
            TokenKeys::Remote(remote) => Some(remote),
        }
    }

    /// Headers that only this authenticator may write.
    pub fn claim_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.mapping.forward.iter().map(|(name, _)| name)
    }

    /// Whose token this is. `unix` is the time in seconds.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub fn consumer(&self, token: &str, unix: u64, patience: Patience) -> Result<Arc<Consumer>, Refusal> {
        let published = match &self.keys {
            TokenKeys::Fixed(_) => None,
            TokenKeys::Remote(remote) => remote.known(),
        };
        let keys = match &self.keys {
            TokenKeys::Fixed(keys) => Some(keys),
            TokenKeys::Remote(_) => published.as_ref().map(|published| &published.keys),
        };
        let version = published.as_ref().map_or(0, |published| published.version);
        if token.len() > self.rules.max_bytes {
            // Not worth a digest.
            return Err(Refusal::Token(TokenFault::Oversized));
        }
        let digest = digest(token.as_bytes());
        if let Some(known) = self.verified.get(&digest) {
            if known.version == version && known.expires.is_none_or(|end| unix < end) {
                return Ok(Arc::clone(&known.consumer));
            }
            self.verified.remove(&digest);
        }
        let verified = self.rules.verify(token, keys, unix).map_err(|fault| self.refused(fault, patience))?;
        let consumer = Arc::new(self.mapping.consumer(&self.name, verified.claims)?);
        let bytes = token.len() as u64;
        let remembered = Remembered { consumer: Arc::clone(&consumer), expires: verified.expires, version, bytes };
        self.verified.insert(digest, Arc::new(remembered));
        Ok(consumer)
    }

    /// An unknown key may be a new one.
    fn refused(&self, fault: TokenFault, patience: Patience) -> Refusal {
        let TokenKeys::Remote(remote) = &self.keys else { return Refusal::Token(fault) };
        if matches!(fault, TokenFault::UnknownKey | TokenFault::NoKeys)
            && patience == Patience::Fresh
            && let Some(pending) = remote.ask(std::time::Instant::now())
        {
            return Refusal::KeysPending(pending);
        }
        if fault == TokenFault::NoKeys { Refusal::KeysUnavailable } else { Refusal::Token(fault) }
    }
}

impl Mapping {
    fn consumer(&self, authenticator: &str, claims: Claims) -> Result<Consumer, Refusal> {
        let name = claim(&claims, &self.consumer_claim).and_then(text).filter(|name| is_name(name));
        let name = name.ok_or(Refusal::Token(TokenFault::Consumer))?;
        let headers = self.headers(&claims);
        if let Some(known) = self.consumers.get(name.as_str()) {
            return Ok(known.with(claims, headers));
        }
        let plan = self.plan(&claims)?;
        let groups = self.groups(&claims);
        // It was checked, and so was the authenticator's at load.
        let consumer = Consumer::named_by(authenticator, &name, plan, groups, claims, headers);
        consumer.ok_or(Refusal::Token(TokenFault::Consumer))
    }

    fn plan(&self, claims: &Claims) -> Result<Option<Arc<Plan>>, Refusal> {
        if self.plans.is_empty() {
            return Ok(None);
        }
        let named = self.plan_claim.as_ref().and_then(|path| claim(claims, path)).filter(|value| !value.is_null());
        let plan = match named {
            Some(value) => value.as_str().and_then(|name| self.plans.get(name)),
            None => self.plan.as_ref(),
        };
        plan.cloned().map(Some).ok_or(Refusal::Plan)
    }

    /// A list of names, or one text with spaces between them. Names that cannot be listed in a header are left out.
    fn groups(&self, claims: &Claims) -> Vec<Box<str>> {
        let listed = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        match self.groups_claim.as_ref().and_then(|path| claim(claims, path)) {
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).filter(listed).map(Into::into).collect()
            }
            Some(Value::String(names)) => names.split(' ').filter(listed).map(Into::into).collect(),
            _ => Vec::new(),
        }
    }

    /// A claim that cannot be a header is not sent.
    fn headers(&self, claims: &Claims) -> Vec<(HeaderName, HeaderValue)> {
        let header = |(name, path): &(HeaderName, Box<str>)| {
            let value = match claim(claims, path)? {
                Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>()?.join(","),
                value => text(value)?,
            };
            Some((name.clone(), HeaderValue::from_str(&value).ok()?))
        };
        self.forward.iter().filter_map(header).collect()
    }
}

/// A scalar as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Like a consumer's name in the configuration: it is sent as a header.
pub(super) fn is_name(name: &str) -> bool {
    let printable = name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    !name.is_empty() && name.len() <= MAX_NAME && printable && name.trim() == name
}
