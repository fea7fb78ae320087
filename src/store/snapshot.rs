//! All keys that are good, at one moment: what requests look into.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use subtle::ConstantTimeEq;

use crate::policy::authenticate::Digest;
use crate::policy::limit::Subject;

/// The keys of the store at one moment, by digest.
#[derive(Debug, Default)]
pub struct Snapshot {
    keys: HashMap<Digest, Live, ahash::RandomState>,
    unread: bool,
}

/// A key that was good when the snapshot was taken.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its id.
    pub id: Box<str>,
    /// Whose it is; keys of the same consumer and plan share it.
    pub holder: Arc<Holder>,
    /// From when on it is no longer good, in Unix seconds.
    pub expires: Option<i64>,
}

/// Whom a key names. Whether there is such a consumer or plan depends on the generation.
#[derive(Debug)]
pub struct Holder {
    /// Name of the consumer.
    pub consumer: Box<str>,
    /// Name of the plan, where the consumer is not one of the configuration file.
    pub plan: Option<Box<str>>,
    /// `X-Consumer-Name`.
    pub name_header: HeaderValue,
    /// The consumer in limit counters.
    pub subject: Subject,
}

impl Snapshot {
    /// In place of keys that could not be read yet.
    pub fn unread() -> Self {
        Self { unread: true, ..Self::default() }
    }

    /// Whether nobody knows which keys are good.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// The key with this digest, if it is good at this time.
    pub fn find(&self, digest: &Digest, now: i64) -> Option<&Live> {
        let (stored, live) = self.keys.get_key_value(digest)?;
        let good = bool::from(stored.ct_eq(digest)) && live.is_good(now);
        good.then_some(live)
    }

    /// Number of keys that are good at this time.
    pub fn good(&self, now: i64) -> usize {
        self.keys.values().filter(|live| live.is_good(now)).count()
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &Live> {
        self.keys.values()
    }

    /// Adds a key, in place of one with the same digest.
    pub(super) fn insert(&mut self, digest: Digest, live: Live) {
        self.keys.insert(digest, live);
    }
}

impl Live {
    fn is_good(&self, now: i64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
