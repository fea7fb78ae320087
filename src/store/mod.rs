//! The store: API keys that come and go while the gateway runs and quotas that outlive it, in a file ([`Store`]) or in a
//! Redis that many gateways share ([`shared`], which counts all limits for them). [`Place`] says where.
//!
//! The file is SQLite (`database`). Keys are written by `tollgate keys` and by the admin listener, and read by the gateway
//! whenever somebody else has changed them. Of a key it holds the SHA-256, an id, the beginning that may be shown, whose
//! it is and until when it is good; never the key. Of quotas (calendar days and months; rates and concurrency are not
//! here) it holds what was used, under fingerprints of limit and subject; every gateway adds what it has used.
//!
//! A request never waits for the file: it looks into a [`Snapshot`], which is immutable and complete. When one is taken
//! is not decided here (`server::store`), nor when counters are saved, nor whether the consumer and the plan that a key
//! names exist: that depends on the generation (`gateway`).
//!
//! Bounds: [`MOST_KEYS`] keys, [`LONGEST_NAME`] and [`LONGEST_NOTE`] bytes in each; keys that have ended leave after
//! [`KEEP_ENDED`]. As many counters as the limiter keeps in memory, about 125 bytes each; those whose window is over leave
//! bit by bit with later saves.

mod database;
mod place;
mod rules;
pub mod shared;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io;

use thiserror::Error;

pub use database::{Saved, Store};
pub use place::{Keys, Place, Redis};
pub use snapshot::{Holder, Live, Snapshot};

/// Rows of the store: keys that are good, and those that ended lately.
pub const MOST_KEYS: usize = 100_000;
/// Bytes in the name of a consumer or a plan.
pub const LONGEST_NAME: usize = 128;
/// Bytes in a note.
pub const LONGEST_NOTE: usize = 256;
/// How long revoked and expired keys are still listed, in seconds.
pub const KEEP_ENDED: i64 = 90 * 86_400;

/// What operators see of a key. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Names it in commands.
    pub id: String,
    /// How it begins.
    pub prefix: String,
    /// Whose it is.
    pub consumer: String,
    /// The plan of a consumer that the configuration file does not name.
    pub plan: Option<String>,
    /// What an operator wrote about it.
    pub note: String,
    /// When it was made.
    pub created: i64,
    /// From when on it is no longer good.
    pub expires: Option<i64>,
    /// When it was revoked.
    pub revoked: Option<i64>,
}

/// Whether a key is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
}

impl Status {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Key {
    /// Whether it is good at this time.
    pub fn status(&self, now: i64) -> Status {
        match (self.revoked, self.expires) {
            (Some(_), _) => Status::Revoked,
            (None, Some(expires)) if expires <= now => Status::Expired,
            (None, _) => Status::Active,
        }
    }
}

/// What a new key is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewKey<'a> {
    /// Whose it is.
    pub consumer: &'a str,
    /// The plan of a consumer that the configuration file does not name.
    pub plan: Option<&'a str>,
    /// About it.
    pub note: &'a str,
    /// How long it is good, in seconds; `None`: until it is revoked.
    pub lifetime: Option<i64>,
}

/// What makes a key unlike any other. Comes from outside, so that tests can choose it.
#[derive(Clone, Copy)]
pub struct Entropy {
    /// Becomes the key.
    pub secret: [u8; 32],
    /// Becomes the id.
    pub id: [u8; 8],
}

/// A key that was just made; only now it can be seen whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// The key itself.
    pub secret: String,
    /// What stays of it.
    pub key: Key,
}

/// Why the store does not do what it was asked for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no file, or it cannot be reached.
    #[error("{0}")]
    File(io::Error),
    /// A file of something else.
    #[error("it is no store of tollgate")]
    Foreign,
    /// A file of a later version of tollgate.
    #[error("a newer tollgate wrote it: its schema is version {found}, this program knows version {known}")]
    Newer {
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It can be read but not written.
    #[error("it cannot be written")]
    ReadOnly,
    /// What is in it makes no sense.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// SQLite could not do it: locked for too long, disk full, ….
    #[error("{0}")]
    Database(rusqlite::Error),
    /// Redis could not do it.
    #[error("{0}")]
    Redis(String),
    /// No key is called so.
    #[error("no key has this id or prefix")]
    Unknown,
    /// Several keys begin so.
    #[error("several keys begin so: use an id")]
    Ambiguous,
    /// A key that is no longer good cannot be rotated.
    #[error("the key is {} already", .0.word())]
    Ended(Status),
    /// The same digest is there already.
    #[error("this key is stored already")]
    Exists,
    /// No more rows.
    #[error("the store holds {MOST_KEYS} keys, which is the most")]
    Full,
    /// A name or a note that cannot be stored.
    #[error("{0}")]
    Text(&'static str),
}

impl StoreError {
    /// Whether the file is at fault, not what was asked for.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::File(_)
            | Self::Foreign
            | Self::Newer { .. }
            | Self::ReadOnly
            | Self::Damaged(_)
            | Self::Database(_)
            | Self::Redis(_) => true,
            Self::Unknown | Self::Ambiguous | Self::Ended(_) | Self::Exists | Self::Full | Self::Text(_) => false,
        }
    }

    /// Whether it may pass while the file stays open: another process writes, or the disk is full.
    pub fn is_passing(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
        let Self::Database(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | DiskFull))
    }
}

impl From<shared::Fault> for StoreError {
    fn from(fault: shared::Fault) -> Self {
        Self::Redis(fault.to_string())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            _ => Self::Database(error),
        }
    }
}
