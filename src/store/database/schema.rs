//! Whose file it is, which version of the schema it has, and how an older one becomes the newest.
//!
//! A version only adds to the one before. A file of an older version is brought up to date in one transaction, whoever
//! opens it first; one of a newer version is refused.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::PATIENCE;
use crate::store::StoreError;

/// What becomes of a path without a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    Create,
    Refuse,
}

/// Says whose file it is, in its header: `toll`.
pub(super) const APPLICATION: i64 = 0x746f_6c6c;

/// What each version of the schema, in the file's `user_version`, adds to the one before.
const STEPS: [&str; 2] = [KEYS, COUNTERS];

/// The newest version.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Lengths and characters are checked before; here they keep other programs from writing what the gateway cannot read.
const KEYS: &str = "
CREATE TABLE keys (
    id TEXT PRIMARY KEY CHECK (length(id) = 16),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    prefix TEXT NOT NULL,
    consumer TEXT NOT NULL CHECK (length(consumer) BETWEEN 1 AND 128 AND consumer NOT GLOB '*[^ -~]*'),
    plan TEXT CHECK (length(plan) BETWEEN 1 AND 128),
    note TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT;
CREATE INDEX keys_by_prefix ON keys (prefix);
";

/// Counters of quotas; class 0 is consumers, 1 is strangers. Numbers: how often the keys have changed and how often
/// counters were saved, and how many counters there are of each class. Triggers keep them, so that no statement can
/// forget to.
const COUNTERS: &str = "
CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO numbers VALUES ('keys revision', 1), ('counters revision', 0), ('consumers', 0), ('strangers', 0);
CREATE TRIGGER key_made AFTER INSERT ON keys BEGIN
    UPDATE numbers SET value = value + 1 WHERE name = 'keys revision';
END;
CREATE TRIGGER key_changed AFTER UPDATE ON keys BEGIN
    UPDATE numbers SET value = value + 1 WHERE name = 'keys revision';
END;
CREATE TRIGGER key_gone AFTER DELETE ON keys BEGIN
    UPDATE numbers SET value = value + 1 WHERE name = 'keys revision';
END;
CREATE TABLE counters (
    limit_id INTEGER NOT NULL,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    class INTEGER NOT NULL CHECK (class IN (0, 1)),
    until INTEGER NOT NULL,
    used INTEGER NOT NULL CHECK (used >= 0),
    changed INTEGER NOT NULL,
    PRIMARY KEY (limit_id, low, high)
) STRICT, WITHOUT ROWID;
CREATE INDEX counters_by_change ON counters (changed);
CREATE INDEX counters_by_end ON counters (until);
CREATE TRIGGER counter_made AFTER INSERT ON counters BEGIN
    UPDATE numbers SET value = value + 1 WHERE name = CASE new.class WHEN 0 THEN 'consumers' ELSE 'strangers' END;
END;
CREATE TRIGGER counter_gone AFTER DELETE ON counters BEGIN
    UPDATE numbers SET value = value - 1 WHERE name = CASE old.class WHEN 0 THEN 'consumers' ELSE 'strangers' END;
END;
";

/// Checks whose file it is, makes the schema in an empty one, and adds to an older one what it lacks.
pub(super) fn prepare(connection: &mut Connection, absent: Absent) -> Result<(), StoreError> {
    if absent == Absent::Create && is_empty(connection)? {
        use_write_ahead_log(connection)?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        if is_empty(&change)? {
            change.pragma_update(None, "application_id", APPLICATION)?;
            add(&change, 0)?;
        }
        change.commit()?;
    }
    if version(connection)? < VERSION {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&change)?;
        add(&change, found)?;
        change.commit()?;
    }
    Ok(())
}

/// Everything that versions after this one add.
fn add(change: &Connection, found: i64) -> Result<(), StoreError> {
    let found = usize::try_from(found).unwrap_or_default();
    for step in STEPS.iter().skip(found) {
        change.execute_batch(step)?;
    }
    Ok(change.pragma_update(None, "user_version", VERSION)?)
}

/// The version of a store that this program can use; in all of them keys are the same.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let found = number(connection, "user_version")?;
    match number(connection, "application_id")? {
        APPLICATION if (1..=VERSION).contains(&found) => Ok(found),
        APPLICATION if found > VERSION => Err(StoreError::Newer { found, known: VERSION }),
        _ => Err(StoreError::Foreign),
    }
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0 && number(connection, "application_id")? == 0 && number(connection, "user_version")? == 0)
}

/// Readers and a writer do not wait for each other then. SQLite does not wait for the lock that this change needs, so
/// that is done here.
fn use_write_ahead_log(connection: &Connection) -> Result<(), StoreError> {
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(busy) if busy.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && waited < PATIENCE => {
                std::thread::sleep(step);
                waited += step;
            }
            done => return Ok(done?),
        }
    }
}

pub(super) fn number(connection: &Connection, pragma: &str) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}
