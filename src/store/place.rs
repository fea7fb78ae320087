//! Where keys are kept: a file of this machine, or a Redis that many gateways share. The same can be done in both.

use std::fmt;
use std::path::PathBuf;

use super::shared::SharedKeys;
use super::{Entropy, Key, Made, NewKey, Store, StoreError};

/// Where keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In an SQLite file.
    File(PathBuf),
    /// In a Redis.
    Redis(Redis),
}

/// A Redis and what of it is meant. The URL may hold a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// Its URL.
    pub url: String,
    /// How keys begin.
    pub prefix: String,
}

/// Keys where they are kept. One thread uses it.
pub enum Keys {
    /// In an SQLite file.
    File(Store),
    /// In a Redis.
    Redis(SharedKeys),
}

impl Place {
    /// Opens what is there.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(&self) -> Result<Keys, StoreError> {
        match self {
            Self::File(path) => Store::open(path).map(Keys::File),
            Self::Redis(redis) => SharedKeys::open(redis).map(Keys::Redis),
        }
    }

    /// The same, and makes a file where there is none. A Redis is never made.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_or_create(&self) -> Result<Keys, StoreError> {
        match self {
            Self::File(path) => Store::open_or_create(path).map(Keys::File),
            Self::Redis(_) => self.open(),
        }
    }
}

impl Keys {
    /// Makes a key.
    ///
    /// # Errors
    /// Why there is none now.
    pub fn create(&mut self, new: &NewKey<'_>, entropy: &Entropy, now: i64) -> Result<Made, StoreError> {
        match self {
            Self::File(store) => store.create(new, entropy, now),
            Self::Redis(keys) => keys.create(new, entropy, now),
        }
    }

    /// Every key, also those that ended lately; in the order in which they were made.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self) -> Result<Vec<Key>, StoreError> {
        match self {
            Self::File(store) => store.list(),
            Self::Redis(keys) => keys.list(),
        }
    }

    /// Ends a key, which is named by its id, its beginning as listed, or the whole key.
    ///
    /// # Errors
    /// When no key or several are meant.
    pub fn revoke(&mut self, name: &str, now: i64) -> Result<Key, StoreError> {
        match self {
            Self::File(store) => store.revoke(name, now),
            Self::Redis(keys) => keys.revoke(name, now),
        }
    }

    /// Makes a key like this one, which goes on being good for `grace` seconds and not longer.
    ///
    /// # Errors
    /// When no key or several are meant, or it has ended.
    pub fn rotate(
        &mut self,
        name: &str,
        grace: i64,
        lifetime: Option<i64>,
        entropy: &Entropy,
        now: i64,
    ) -> Result<Made, StoreError> {
        match self {
            Self::File(store) => store.rotate(name, grace, lifetime, entropy, now),
            Self::Redis(keys) => keys.rotate(name, grace, lifetime, entropy, now),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Redis(_) => formatter.write_str("in Redis"),
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
