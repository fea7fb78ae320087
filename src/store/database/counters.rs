//! Totals of quota counters, to which every process adds what it has used.
//!
//! One save is one transaction: what a process that dies in it had used is lost as a whole, and nothing is counted
//! twice. Two windows of a counter meet as they do in memory: a stored one that is over is replaced, what is added too
//! late for its own window is dropped, and where both run but end at different times (another time zone) the sum ends
//! with the earlier.
//!
//! Bounds: as many counters of each class as the limiter has room for; while there are that many, new ones are not
//! stored. Each save also deletes counters whose windows are over, more than it can add.

use std::time::Duration;

use rusqlite::{Connection, Row, Statement, Transaction, params};

use super::{Store, StoreError};
use crate::policy::limit::{Class, Limiter, Tally};

/// Counters that are over and deleted by one save, at least.
const PURGE: usize = 5_000;

/// More than this is stored as this: sums stay far from what a column can hold.
const MOST: i64 = 1 << 61;

const ADD: &str = "
UPDATE counters SET
    used = CASE WHEN until > ?4 THEN min(used + ?6, ?7) ELSE ?6 END,
    until = CASE WHEN until > ?4 THEN min(until, ?5) ELSE ?5 END,
    changed = ?8
WHERE limit_id = ?1 AND low = ?2 AND high = ?3";

const BEGIN: &str = "
INSERT INTO counters (limit_id, low, high, class, until, used, changed)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE (SELECT value FROM numbers WHERE name = ?8) < ?9";

const PURGE_ENDED: &str = "
DELETE FROM counters WHERE (limit_id, low, high) IN
    (SELECT limit_id, low, high FROM counters WHERE until <= ?1 LIMIT ?2)";

const TOTALS: &str = "SELECT limit_id, low, high, class, until, used FROM counters WHERE ?1 = 0";

const TOTALS_SINCE: &str = "SELECT limit_id, low, high, class, until, used FROM counters WHERE changed > ?1";

/// What a save did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Its number: one more than that of the save before, whichever process made it.
    pub revision: i64,
    /// Use that was not stored, because there are too many counters.
    pub dropped: u64,
}

impl Store {
    /// Adds what was used since the last save. Waits so long for another process that writes. `wall` is read when
    /// nobody else can write any more.
    ///
    /// # Errors
    /// Why nothing was saved.
    pub fn save(
        &mut self,
        used: &[Tally],
        patience: Duration,
        wall: impl FnOnce() -> i64,
    ) -> Result<Saved, StoreError> {
        self.connection.busy_timeout(patience)?;
        let change = self.change()?;
        let wall = wall();
        let revision = change.query_row(
            "UPDATE numbers SET value = value + 1 WHERE name = 'counters revision' RETURNING value",
            [],
            |row| row.get(0),
        )?;
        let most = i64::try_from(PURGE.max(2 * used.len())).unwrap_or(i64::MAX);
        change.prepare(PURGE_ENDED)?.execute([wall, most])?;
        let dropped = add_all(&change, used, wall, revision)?;
        change.commit()?;
        Ok(Saved { revision, dropped })
    }

    /// Gives every total that a later save than this one has changed; returns the number of the latest save.
    ///
    /// # Errors
    /// When the file cannot be read, or holds what no counter can have.
    pub fn totals_since(&self, revision: i64, mut each: impl FnMut(Tally)) -> Result<i64, StoreError> {
        // So that the number and the rows are of the same moment.
        let moment = self.connection.unchecked_transaction()?;
        let latest = number(&moment, "counters revision")?;
        // Through the index a table that is wanted as a whole takes three times as long.
        let mut query = moment.prepare(if revision == 0 { TOTALS } else { TOTALS_SINCE })?;
        let mut rows = query.query([revision])?;
        while let Some(row) = rows.next()? {
            each(read(row)?);
        }
        Ok(latest)
    }

    /// A number that grows with every change of a key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn keys_revision(&self) -> Result<i64, StoreError> {
        number(&self.connection, "keys revision")
    }
}

fn number(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    let mut query = connection.prepare("SELECT value FROM numbers WHERE name = ?1")?;
    Ok(query.query_row([name], |row| row.get(0))?)
}

/// How much of it found no room.
fn add_all(change: &Transaction<'_>, used: &[Tally], wall: i64, revision: i64) -> Result<u64, StoreError> {
    let (mut add, mut begin) = (change.prepare(ADD)?, change.prepare(BEGIN)?);
    let mut dropped = 0_u64;
    for tally in used.iter().filter(|tally| tally.until > wall) {
        if !add_one(&mut add, &mut begin, tally, wall, revision)? {
            dropped = dropped.saturating_add(tally.used);
        }
    }
    Ok(dropped)
}

/// Whether there was a counter, or room for one.
fn add_one(
    add: &mut Statement<'_>,
    begin: &mut Statement<'_>,
    tally: &Tally,
    wall: i64,
    revision: i64,
) -> Result<bool, StoreError> {
    let (limit, low, high) = (tally.limit.cast_signed(), tally.low.cast_signed(), tally.high.cast_signed());
    let used = i64::try_from(tally.used).map_or(MOST, |used| used.min(MOST));
    if add.execute(params![limit, low, high, wall, tally.until, used, MOST, revision])? > 0 {
        return Ok(true);
    }
    let (class, name, most) = match tally.class {
        Class::Consumer => (0, "consumers", Limiter::CONSUMERS),
        Class::Stranger => (1, "strangers", Limiter::STRANGERS),
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Ok(begin.execute(params![limit, low, high, class, tally.until, used, revision, name, most])? > 0)
}

fn read(row: &Row<'_>) -> Result<Tally, StoreError> {
    let class = match row.get::<_, i64>(3)? {
        0 => Class::Consumer,
        _ => Class::Stranger,
    };
    let used =
        u64::try_from(row.get::<_, i64>(5)?).map_err(|_| StoreError::Damaged("a counter is below zero".to_owned()))?;
    let bits = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(Tally { class, limit: bits(0)?, low: bits(1)?, high: bits(2)?, until: row.get(4)?, used })
}
