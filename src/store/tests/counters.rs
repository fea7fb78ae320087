//! Counters of quotas: how what is stored and what is added meet, and what a file of the first version becomes.

use std::sync::Barrier;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::policy::limit::{Class, Limiter, Tally};

const PATIENCE: Duration = Duration::from_secs(5);
/// Ends of two windows.
const NOON: i64 = NOW + 1_000;
const NIGHT: i64 = NOW + 5_000;

fn tally(number: u64, until: i64, used: u64) -> Tally {
    let class = if number.is_multiple_of(2) { Class::Consumer } else { Class::Stranger };
    // The halves of a fingerprint use all bits.
    Tally { class, limit: u64::MAX - number, low: number << 63 | number, high: u64::MAX ^ number, until, used }
}

fn save(store: &mut Store, used: &[Tally], now: i64) -> Saved {
    store.save(used, PATIENCE, || now).unwrap()
}

fn totals(store: &Store, since: i64) -> (Vec<Tally>, i64) {
    let mut totals = Vec::new();
    let latest = store.totals_since(since, |total| totals.push(total)).unwrap();
    totals.sort_by_key(|total| u64::MAX - total.limit);
    (totals, latest)
}

fn rows(path: &Path, what: &str) -> i64 {
    Connection::open(path).unwrap().query_row(what, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_added_meets_what_is_stored() {
    // The stored window and its use, the added ones, when; what is stored then.
    for (stored, added, now, expected) in [
        (None, (NOON, 3), NOW, Some((NOON, 3))),
        (None, (NOON, 3), NOON, None),
        (Some((NOON, 5)), (NOON, 3), NOW, Some((NOON, 8))),
        (Some((NOON, 5)), (NIGHT, 3), NOON - 1, Some((NOON, 8))),
        (Some((NIGHT, 5)), (NOON, 3), NOON - 1, Some((NOON, 8))),
        (Some((NOON, 5)), (NIGHT, 3), NOON, Some((NIGHT, 3))),
        (Some((NIGHT, 5)), (NOON, 3), NOON, Some((NIGHT, 5))),
        (Some((NOON, 5)), (NOON, u64::MAX), NOW, Some((NOON, 1 << 61))),
        (Some((NOON, u64::MAX)), (NOON, u64::MAX), NOW, Some((NOON, 1 << 61))),
    ] {
        let (_folder, path) = folder();
        let mut store = Store::open_or_create(&path).unwrap();
        let number = 7;
        stored.iter().for_each(|(until, used)| _ = save(&mut store, &[tally(number, *until, *used)], NOW));
        save(&mut store, &[tally(number, added.0, added.1)], now);
        let expected = expected.map(|(until, used)| tally(number, until, used));
        assert_eq!(totals(&store, 0).0, expected.into_iter().collect::<Vec<_>>(), "{stored:?} {added:?} {now}");
    }
}

#[test]
fn each_save_has_a_number_and_others_see_what_it_changed() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let reader = Store::open(&path).unwrap();
    assert_eq!(totals(&reader, 0), (vec![], 0));
    let (one, two) = (tally(1, NOON, 3), tally(2, NIGHT, 4));
    assert_eq!(save(&mut store, &[one, two], NOW), Saved { revision: 1, dropped: 0 });
    assert_eq!(save(&mut store, &[two], NOW).revision, 2);
    let sum = Tally { used: 8, ..two };
    assert_eq!(totals(&reader, 0), (vec![one, sum], 2));
    assert_eq!(totals(&reader, 1), (vec![sum], 2));
    assert_eq!(totals(&reader, 2), (vec![], 2));
    // What is over goes at the next save, and its number is not used again.
    assert_eq!(save(&mut store, &[], NIGHT).revision, 3);
    assert_eq!(totals(&reader, 0), (vec![], 3));
    drop(store);
    assert_eq!(save(&mut Store::open(&path).unwrap(), &[tally(1, NIGHT + 1, 1)], NIGHT).revision, 4);
    assert_eq!(totals(&reader, 3).0.len(), 1);
}

#[test]
fn counters_do_not_make_anybody_read_keys_and_keys_do() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let reader = Store::open(&path).unwrap();
    let mut revision = reader.keys_revision().unwrap();
    save(&mut store, &[tally(1, NOON, 3)], NOW);
    assert_eq!(reader.keys_revision().unwrap(), revision);
    let made = store.create(&new("alice"), &entropy(1), NOW).unwrap();
    let mut changed = || {
        let before = std::mem::replace(&mut revision, reader.keys_revision().unwrap());
        revision != before
    };
    assert!(changed());
    store.rotate(&made.key.id, 5, None, &entropy(2), NOW).unwrap();
    assert!(changed());
    store.revoke(&made.key.id, NOW).unwrap();
    assert!(changed());
    Connection::open(&path).unwrap().execute("DELETE FROM keys", []).unwrap();
    assert!(changed());
    assert!(!changed());
}

#[test]
fn connections_that_add_at_once_neither_lose_nor_double() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 25;
    let (_folder, path) = folder();
    drop(Store::open_or_create(&path).unwrap());
    let begin = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (path, begin) = (&path, &begin);
            scope.spawn(move || {
                let mut store = Store::open(path).unwrap();
                begin.wait();
                for round in 0..ROUNDS {
                    let used = [tally(0, NOON, thread + 1), tally(100 + thread, NOON, 1), tally(200 + round, NOON, 1)];
                    save(&mut store, &used, NOW);
                }
            });
        }
    });
    let store = Store::open(&path).unwrap();
    let (totals, latest) = totals(&store, 0);
    assert_eq!(latest, i64::try_from(THREADS * ROUNDS).unwrap());
    assert_eq!(totals.len() as u64, 1 + THREADS + ROUNDS);
    for total in totals {
        let expected = match u64::MAX - total.limit {
            0 => ROUNDS * (1..=THREADS).sum::<u64>(),
            100..200 => ROUNDS,
            _ => THREADS,
        };
        assert_eq!(total.used, expected, "{total:?}");
    }
    store.verify().unwrap();
}

#[test]
fn a_save_that_waits_too_long_changes_nothing_and_may_be_tried_again() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let used = [tally(1, NOON, 3)];
    let busy = store.save(&used, Duration::from_millis(10), || NOW).unwrap_err();
    assert!(busy.is_passing() && busy.is_fault(), "{busy}");
    assert_eq!(totals(&store, 0), (vec![], 0), "reading goes on");
    other.execute_batch("COMMIT").unwrap();
    // A file that may not grow is like a full disk.
    let pages = rows(&path, "PRAGMA page_count");
    store.connection_for_tests().pragma_update(None, "max_page_count", pages).unwrap();
    let many: Vec<Tally> = (0..5_000).map(|number| tally(number, NOON, 1)).collect();
    let full = store.save(&many, PATIENCE, || NOW).unwrap_err();
    assert!(full.is_passing(), "{full}");
    assert_eq!(totals(&store, 0), (vec![], 0));
    store.connection_for_tests().pragma_update(None, "max_page_count", 100_000).unwrap();
    save(&mut store, &many, NOW);
    assert_eq!(totals(&store, 0).0.len(), 5_000);
    assert!(!StoreError::ReadOnly.is_passing() && !StoreError::Foreign.is_passing());
}

#[test]
fn ended_counters_leave_in_pieces_and_a_full_class_takes_no_new_ones() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let fill = |from: usize, to: usize, until: i64| {
        Connection::open(&path)
            .unwrap()
            .execute_batch(&format!(
                "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})
                 INSERT INTO counters SELECT 1, i, i, 1, {until}, 1, 0 FROM n"
            ))
            .unwrap();
    };
    let strangers = || rows(&path, "SELECT value FROM numbers WHERE name = 'strangers'");
    let most = i64::try_from(Limiter::STRANGERS).unwrap();
    fill(0, 12_000, NOON);
    fill(12_000, Limiter::STRANGERS, NIGHT);
    assert_eq!(strangers(), most);
    let (known, stranger, consumer) =
        (Tally { limit: 1, low: 5, high: 5, ..tally(1, NOON, 1) }, tally(3, NIGHT, 20), tally(4, NIGHT, 1));
    assert_eq!(save(&mut store, &[known, stranger, consumer], NOW).dropped, 20);
    assert_eq!(rows(&path, "SELECT sum(used) FROM counters"), most + 2, "the others go on");
    for left in [7_000, 2_000, 0, 0] {
        save(&mut store, &[], NOON);
        assert_eq!(strangers(), most - 12_000 + left);
    }
    assert_eq!(save(&mut store, &[stranger], NOON).dropped, 0, "there is room again");
    assert_eq!(strangers(), most - 12_000 + 1);
    assert_eq!(rows(&path, "SELECT count(*) FROM counters WHERE class = 1"), strangers());
}

/// A store as the first version made it, with one key.
const FIRST: &str = "
PRAGMA journal_mode = WAL;
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
INSERT INTO keys VALUES ('0123456789abcdef', zeroblob(32), 'tg_old', 'alice', NULL, 'kept', 1, NULL, NULL);
PRAGMA application_id = 0x746f6c6c;
PRAGMA user_version = 1;
";

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date() {
    for open in [Store::open, Store::open_or_create] {
        let (_folder, path) = folder();
        Connection::open(&path).unwrap().execute_batch(FIRST).unwrap();
        // A gateway of that version goes on reading its keys.
        let old = Connection::open(&path).unwrap();
        let mut store = open(&path).unwrap();
        let listed = store.list().unwrap();
        assert_eq!((&*listed[0].note, &*listed[0].consumer, listed.len()), ("kept", "alice", 1));
        assert_eq!(save(&mut store, &[tally(1, NOON, 3)], NOW).revision, 1);
        store.create(&new("bob"), &entropy(1), NOW).unwrap();
        assert_eq!(old.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)), Ok(2));
        assert_eq!(rows(&path, "PRAGMA user_version"), 2);
        let again = Store::open(&path).unwrap();
        assert_eq!(totals(&again, 0).0, [tally(1, NOON, 3)]);
        let schema = |path: &Path| {
            let connection = Connection::open(path).unwrap();
            let mut query = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
            let rows = query.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
            rows.collect::<Result<Vec<_>, _>>().unwrap()
        };
        let (_fresh_folder, fresh) = super::folder();
        Store::open_or_create(&fresh).unwrap();
        assert_eq!(schema(&path), schema(&fresh));
    }
}

#[test]
fn an_upgrade_by_many_at_once_happens_once() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch(FIRST).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let path = &path;
            scope.spawn(move || save(&mut Store::open(path).unwrap(), &[tally(thread, NOON, 1)], NOW));
        }
    });
    let store = Store::open(&path).unwrap();
    assert_eq!((totals(&store, 0).0.len(), totals(&store, 0).1, store.list().unwrap().len()), (8, 8, 1));
}
