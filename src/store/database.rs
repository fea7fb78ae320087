//! The SQLite file behind the store.
//!
//! Every change is one transaction: a process that dies in it leaves the file as it was, and what was reported as done
//! survives a power cut (`synchronous = FULL`). Several processes may use the file at once; a writer waits up to
//! [`PATIENCE`] for another one.
//!
//! The file is never opened by other means than SQLite while it exists: closing such a descriptor would drop the locks
//! that SQLite holds in this process.

mod counters;
mod reading;
mod schema;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::policy::api_key;
use crate::policy::authenticate::{Digest, digest};
use crate::policy::limit::Subject;

pub use counters::Saved;

use schema::{Absent, prepare};

use super::{
    Entropy, Holder, KEEP_ENDED, Key, LONGEST_NAME, LONGEST_NOTE, Live, MOST_KEYS, Made, NewKey, Snapshot, Status,
    StoreError,
};

/// How long to wait for another process that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pages kept in memory, in KiB below zero: 8 MiB. Counters are all over the file.
const CACHE: i64 = -8192;

const COLUMNS: &str = "id, prefix, consumer, plan, note, created, expires, revoked";

/// An open store. One thread uses it.
pub struct Store {
    connection: Connection,
    /// Device and number of the file, to notice that another one took its place.
    file: (u64, u64),
}

impl Store {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(path, Absent::Refuse)
    }

    /// Opens a store, and makes an empty one where there is none. Its folder must exist.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        Self::with(path, Absent::Create)
    }

    fn with(path: &Path, absent: Absent) -> Result<Self, StoreError> {
        if absent == Absent::Create {
            make_file(path)?;
        }
        let file = identity(path)?;
        // Files beside it (`-wal`, `-shm`) get the same mode from SQLite.
        restrict(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        // Without a right to write, SQLite opens the file for reading.
        if connection.is_readonly("main")? {
            return Err(StoreError::ReadOnly);
        }
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        prepare(&mut connection, absent)?;
        Ok(Self { connection, file })
    }

    /// Whether its path still leads to this file.
    ///
    /// # Errors
    /// When the path leads nowhere.
    pub fn is_at(&self, path: &Path) -> Result<bool, StoreError> {
        Ok(identity(path)? == self.file)
    }

    /// Reads the whole file for damage.
    ///
    /// # Errors
    /// The first damage.
    pub fn verify(&self) -> Result<(), StoreError> {
        let word: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if word == "ok" { Ok(()) } else { Err(StoreError::Damaged(word)) }
    }

    /// A number that changes when another connection, of this process or another, has changed the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// All keys that are good.
    ///
    /// # Errors
    /// When the file cannot be read, or holds what no key can have.
    pub fn snapshot(&self, now: i64) -> Result<Snapshot, StoreError> {
        let mut query = self.connection.prepare(
            "SELECT digest, id, consumer, plan, expires FROM keys
             WHERE revoked IS NULL AND (expires IS NULL OR expires > ?1)",
        )?;
        let mut rows = query.query([now])?;
        let mut snapshot = Snapshot::default();
        let mut holders: HashMap<(String, Option<String>), Arc<Holder>> = HashMap::new();
        while let Some(row) = rows.next()? {
            let digest: Digest = row.get(0)?;
            let holder = (row.get(2)?, row.get(3)?);
            let holder = match holders.get(&holder) {
                Some(known) => Arc::clone(known),
                None => {
                    let made = Arc::new(make_holder(&holder)?);
                    holders.insert(holder, Arc::clone(&made));
                    made
                }
            };
            snapshot.insert(digest, Live { id: row.get::<_, String>(1)?.into(), holder, expires: row.get(4)? });
        }
        Ok(snapshot)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// Why there is none now.
    pub fn create(&mut self, new: &NewKey<'_>, entropy: &Entropy, now: i64) -> Result<Made, StoreError> {
        let change = self.change()?;
        let made = insert(&change, new, entropy, now)?;
        change.commit()?;
        Ok(made)
    }

    /// Every key, also those that ended lately; in the order in which they were made.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<Key>, StoreError> {
        let mut query = self.connection.prepare(&format!("SELECT {COLUMNS} FROM keys ORDER BY created, id"))?;
        let keys = query.query_map([], read)?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// Ends a key, which is named by its id, its beginning as listed, or the whole key. A key that is revoked stays as
    /// it is.
    ///
    /// # Errors
    /// When no key or several are meant.
    pub fn revoke(&mut self, name: &str, now: i64) -> Result<Key, StoreError> {
        let change = self.change()?;
        let mut key = find(&change, name)?;
        if key.revoked.is_none() {
            change.execute("UPDATE keys SET revoked = ?2 WHERE id = ?1", params![key.id, now])?;
            key.revoked = Some(now);
        }
        change.commit()?;
        Ok(key)
    }

    /// Makes a key like this one, which goes on being good for `grace` seconds and not longer. Without `lifetime` the
    /// new key lives as long as the old one was made for.
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
        let change = self.change()?;
        let old = find(&change, name)?;
        match old.status(now) {
            Status::Active => {}
            ended @ (Status::Expired | Status::Revoked) => return Err(StoreError::Ended(ended)),
        }
        let lifetime = lifetime.or_else(|| old.expires.map(|expires| expires.saturating_sub(old.created)));
        let new = NewKey { consumer: &old.consumer, plan: old.plan.as_deref(), note: &old.note, lifetime };
        let made = insert(&change, &new, entropy, now)?;
        let ends = now.saturating_add(grace);
        change
            .execute("UPDATE keys SET expires = min(coalesce(expires, ?2), ?2) WHERE id = ?1", params![old.id, ends])?;
        change.commit()?;
        Ok(made)
    }

    /// For tests that make the file behave badly.
    #[cfg(test)]
    pub(super) fn connection_for_tests(&self) -> &Connection {
        &self.connection
    }

    /// A transaction that no other writer can come into.
    fn change(&mut self) -> Result<Transaction<'_>, StoreError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// An empty file that only its owner can open. One that is there is left alone.
fn make_file(path: &Path) -> Result<(), StoreError> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(failed) if failed.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(StoreError::File(failed)),
    }
}

fn identity(path: &Path) -> Result<(u64, u64), StoreError> {
    let about = fs::metadata(path).map_err(StoreError::File)?;
    if !about.is_file() {
        return Err(StoreError::File(io::Error::other("it is no regular file")));
    }
    Ok((about.dev(), about.ino()))
}

/// Takes the file away from group and others.
fn restrict(path: &Path) -> Result<(), StoreError> {
    let mode = fs::metadata(path).map_err(StoreError::File)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700)).map_err(StoreError::File)
}

fn insert(change: &Transaction<'_>, new: &NewKey<'_>, entropy: &Entropy, now: i64) -> Result<Made, StoreError> {
    check_name(new.consumer, "a consumer's name is 1 to 128 printable ASCII characters")?;
    new.plan.map_or(Ok(()), |plan| check_name(plan, "a plan's name is 1 to 128 printable ASCII characters"))?;
    if new.note.len() > LONGEST_NOTE || new.note.chars().any(char::is_control) {
        return Err(StoreError::Text("a note is at most 256 bytes without control characters"));
    }
    change.execute("DELETE FROM keys WHERE coalesce(revoked, expires) < ?1", [now.saturating_sub(KEEP_ENDED)])?;
    let rows: i64 = change.query_row("SELECT count(*) FROM keys", [], |row| row.get(0))?;
    if usize::try_from(rows).is_ok_and(|rows| rows >= MOST_KEYS) {
        return Err(StoreError::Full);
    }
    let secret = api_key::make(&entropy.secret);
    let key = Key {
        id: entropy.id.iter().map(|byte| format!("{byte:02x}")).collect(),
        prefix: api_key::shown(&secret).to_owned(),
        consumer: new.consumer.to_owned(),
        plan: new.plan.map(str::to_owned),
        note: new.note.to_owned(),
        created: now,
        expires: new.lifetime.map(|lifetime| now.saturating_add(lifetime)),
        revoked: None,
    };
    let inserted = change.execute(
        "INSERT INTO keys (digest, id, prefix, consumer, plan, note, created, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![digest(secret.as_bytes()), key.id, key.prefix, key.consumer, key.plan, key.note, now, key.expires],
    );
    match inserted {
        Ok(_) => Ok(Made { secret, key }),
        Err(twice) if twice.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Err(StoreError::Exists),
        Err(failed) => Err(failed.into()),
    }
}

/// The rules of names in the configuration file.
fn check_name(name: &str, rule: &'static str) -> Result<(), StoreError> {
    let printable = name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let good = printable && (1..=LONGEST_NAME).contains(&name.len()) && name.trim() == name;
    if good { Ok(()) } else { Err(StoreError::Text(rule)) }
}

fn find(change: &Transaction<'_>, name: &str) -> Result<Key, StoreError> {
    let by_id = format!("SELECT {COLUMNS} FROM keys WHERE id = ?1 OR digest = ?2");
    let key = change.query_row(&by_id, params![name, digest(name.as_bytes())], read).optional()?;
    if let Some(key) = key {
        return Ok(key);
    }
    let mut query = change.prepare(&format!("SELECT {COLUMNS} FROM keys WHERE prefix = ?1 LIMIT 2"))?;
    let mut found: Vec<Key> = query.query_map([name], read)?.collect::<Result<_, _>>()?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(StoreError::Ambiguous),
        (None, _) => Err(StoreError::Unknown),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: row.get(0)?,
        prefix: row.get(1)?,
        consumer: row.get(2)?,
        plan: row.get(3)?,
        note: row.get(4)?,
        created: row.get(5)?,
        expires: row.get(6)?,
        revoked: row.get(7)?,
    })
}

fn make_holder((consumer, plan): &(String, Option<String>)) -> Result<Holder, StoreError> {
    let name_header = HeaderValue::from_str(consumer)
        .map_err(|_| StoreError::Damaged("the name of a consumer cannot be a header's value".to_owned()))?;
    Ok(Holder {
        consumer: consumer.as_str().into(),
        plan: plan.as_deref().map(Into::into),
        name_header,
        subject: Subject::consumer(consumer),
    })
}
