//! The store in a folder of its own: what is kept, what is refused, and what a faulty file does.

mod counters;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::policy::authenticate::digest;

const NOW: i64 = 1_800_000_000;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.db");
    (folder, path)
}

fn entropy(seed: u32) -> Entropy {
    let mut entropy = Entropy { secret: [7; 32], id: [0; 8] };
    entropy.secret[..4].copy_from_slice(&seed.to_be_bytes());
    entropy.id[..4].copy_from_slice(&seed.to_be_bytes());
    entropy
}

fn new(consumer: &str) -> NewKey<'_> {
    NewKey { consumer, plan: None, note: "", lifetime: None }
}

/// Whose key it is in a fresh snapshot.
fn owner(store: &Store, secret: &str, now: i64) -> Option<String> {
    let snapshot = store.snapshot(now).unwrap();
    snapshot.find(&digest(secret.as_bytes()), now).map(|live| live.holder.consumer.to_string())
}

#[test]
fn a_key_is_good_until_it_expires_or_is_revoked() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let forever = store.create(&new("alice"), &entropy(1), NOW).unwrap();
    let hour = NewKey { lifetime: Some(3600), plan: Some("free"), ..new("bob") };
    let hour = store.create(&hour, &entropy(2), NOW).unwrap();
    let check = |cases: &[(&Made, i64, Option<&str>, Status)], store: &Store| {
        for (made, now, expected, status) in cases {
            assert_eq!(owner(store, &made.secret, *now).as_deref(), *expected, "{made:?} at {now}");
            let listed = store.list().unwrap();
            let key = listed.iter().find(|key| key.id == made.key.id).unwrap();
            assert_eq!(key.status(*now), *status, "{key:?} at {now}");
        }
    };
    check(
        &[
            (&forever, NOW, Some("alice"), Status::Active),
            (&forever, NOW + 1_000_000_000, Some("alice"), Status::Active),
            (&hour, NOW + 3599, Some("bob"), Status::Active),
            (&hour, NOW + 3600, None, Status::Expired),
        ],
        &store,
    );
    // A snapshot from before does not keep a key alive.
    let early = store.snapshot(NOW).unwrap();
    assert!(early.find(&digest(hour.secret.as_bytes()), NOW + 3600).is_none());
    assert_eq!((early.good(NOW), early.good(NOW + 3600)), (2, 1));
    let revoked = store.revoke(&forever.key.id, NOW + 5).unwrap();
    assert_eq!(revoked.revoked, Some(NOW + 5));
    assert_eq!(store.revoke(&forever.key.id, NOW + 9).unwrap(), revoked, "the second time changes nothing");
    check(&[(&forever, NOW + 5, None, Status::Revoked)], &store);
}

#[test]
fn a_key_is_named_by_id_beginning_or_itself() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let one = store.create(&new("alice"), &entropy(1), NOW).unwrap();
    // The same beginning: the numbers differ in their last digits only.
    let mut twin = entropy(1);
    (twin.secret[31], twin.id[7]) = (8, 1);
    let twin = store.create(&new("bob"), &twin, NOW).unwrap();
    assert_eq!(one.key.prefix, twin.key.prefix);
    for (name, expected) in [
        (one.key.prefix.as_str(), "several keys begin so: use an id"),
        ("tg_", "no key has this id or prefix"),
        ("", "no key has this id or prefix"),
        ("%", "no key has this id or prefix"),
        (&one.secret[..51], "no key has this id or prefix"),
    ] {
        assert_eq!(store.revoke(name, NOW).unwrap_err().to_string(), expected, "{name}");
    }
    assert_eq!(store.revoke(&one.secret, NOW).unwrap().consumer, "alice");
    assert_eq!(store.revoke(&twin.key.id, NOW).unwrap().consumer, "bob");
    let other = store.create(&new("carol"), &entropy(u32::MAX), NOW).unwrap();
    assert_eq!(store.revoke(&other.key.prefix, NOW).unwrap().consumer, "carol");
}

#[test]
fn a_rotated_key_is_good_for_its_grace_and_never_longer_than_before() {
    for (lifetime, grace, asked, old_until, new_until) in [
        (None, 100, None, Some(NOW + 150), None),
        (None, 100, Some(9), Some(NOW + 150), Some(NOW + 59)),
        (Some(1000), 100, None, Some(NOW + 150), Some(NOW + 1050)),
        (Some(80), 100, None, Some(NOW + 80), Some(NOW + 130)),
    ] {
        let (_folder, path) = folder();
        let mut store = Store::open_or_create(&path).unwrap();
        let wanted = NewKey { lifetime, plan: Some("free"), note: "mobile", ..new("alice") };
        let old = store.create(&wanted, &entropy(1), NOW).unwrap();
        let made = store.rotate(&old.key.id, grace, asked, &entropy(2), NOW + 50).unwrap();
        let listed = store.list().unwrap();
        assert_eq!((listed[0].expires, listed[1].expires), (old_until, new_until), "{lifetime:?} {asked:?}");
        assert_eq!(
            (&*made.key.consumer, made.key.plan.as_deref(), &*made.key.note, made.key.created),
            ("alice", Some("free"), "mobile", NOW + 50)
        );
        for secret in [&old.secret, &made.secret] {
            assert_eq!(owner(&store, secret, NOW + 58).as_deref(), Some("alice"));
        }
        assert_eq!(owner(&store, &old.secret, NOW + 150), None);
        assert!(matches!(
            store.rotate(&old.key.id, grace, None, &entropy(3), NOW + 150),
            Err(StoreError::Ended(Status::Expired))
        ));
        store.revoke(&made.key.id, NOW + 58).unwrap();
        assert!(matches!(
            store.rotate(&made.key.id, grace, None, &entropy(3), NOW + 58),
            Err(StoreError::Ended(Status::Revoked))
        ));
        assert_eq!(store.list().unwrap().len(), 2, "what is refused leaves nothing");
    }
}

#[test]
fn what_cannot_be_a_header_or_a_line_is_not_stored() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let (long_name, long_note) = ("x".repeat(129), "x".repeat(257));
    for (consumer, plan, note) in [
        ("", None, ""),
        (" alice", None, ""),
        ("al\nice", None, ""),
        ("älice", None, ""),
        (&long_name, None, ""),
        ("alice", Some(""), ""),
        ("alice", Some("fr\tee"), ""),
        ("alice", None, "two\nlines"),
        ("alice", None, "\u{1b}[31m"),
        ("alice", None, &long_note),
    ] {
        let wanted = NewKey { consumer, plan, note, lifetime: None };
        let refused = store.create(&wanted, &entropy(1), NOW);
        assert!(matches!(refused, Err(StoreError::Text(_))), "{wanted:?}: {refused:?}");
    }
    store.create(&new(&long_name[1..]), &entropy(1), NOW).unwrap();
    assert!(matches!(store.create(&new("bob"), &entropy(1), NOW), Err(StoreError::Exists)), "the same key twice");
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn the_file_holds_digests_and_nobody_else_can_read_it() {
    let (folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let made = store.create(&new("alice"), &entropy(1), NOW).unwrap();
    let files = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(files().count() >= 2, "the log beside the file is there");
    for file in files() {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        let bytes = fs::read(&file).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(made.secret.as_bytes()), "{}", file.display());
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Store::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Something that runs these statements.
fn sql(text: &'static str) -> impl Fn(&Path) {
    move |path| Connection::open(path).unwrap().execute_batch(text).unwrap()
}

#[test]
fn a_faulty_file_is_refused_and_stays_as_it_is() {
    type Fault = Box<dyn Fn(&Path)>;
    let faults: Vec<(Fault, &str)> = vec![
        (Box::new(|path| fs::write(path, "not a database, but long enough to be read as one").unwrap()), "no store of"),
        (Box::new(|path| fs::create_dir(path).unwrap()), "no regular file"),
        (Box::new(sql("CREATE TABLE other (x); PRAGMA user_version = 1;")), "no store of"),
        (Box::new(sql("PRAGMA application_id = 1;")), "no store of"),
        (
            Box::new(|path| {
                drop(Store::open_or_create(path).unwrap());
                sql("PRAGMA user_version = 3;")(path);
            }),
            "a newer tollgate wrote it: its schema is version 3, this program knows version 2",
        ),
        (
            Box::new(|path| {
                let mut store = Store::open_or_create(path).unwrap();
                (0..200).for_each(|seed| _ = store.create(&new("alice"), &entropy(seed), NOW).unwrap());
                drop(store);
                let mut bytes = fs::read(path).unwrap();
                bytes[4096..].fill(0xa5);
                fs::write(path, bytes).unwrap();
            }),
            "damaged",
        ),
    ];
    for (make, expected) in faults {
        let (_folder, path) = folder();
        make(&path);
        let before = fs::read(&path).ok();
        for opened in [Store::open_or_create(&path), Store::open(&path)] {
            let fault = opened.and_then(|store| store.verify()).expect_err(expected);
            assert!(fault.to_string().contains(expected), "{fault} instead of {expected}");
            assert!(fault.is_fault());
        }
        assert_eq!(fs::read(&path).ok(), before, "{expected}");
    }
    let (folder, path) = folder();
    assert!(matches!(Store::open(&path), Err(StoreError::File(_))), "only a start makes a file");
    assert!(!path.exists());
    assert!(matches!(Store::open_or_create(&folder.path().join("no/tollgate.db")), Err(StoreError::File(_))));
    fs::write(&path, "").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Foreign)), "an empty file is only filled at a start");
    Store::open_or_create(&path).unwrap();
}

#[test]
fn another_connection_sees_each_change_and_another_file() {
    let (_folder, path) = folder();
    let mut writer = Store::open_or_create(&path).unwrap();
    let reader = Store::open(&path).unwrap();
    let mut versions = vec![reader.version().unwrap()];
    let made = writer.create(&new("alice"), &entropy(1), NOW).unwrap();
    versions.push(reader.version().unwrap());
    writer.revoke(&made.key.id, NOW).unwrap();
    versions.push(reader.version().unwrap());
    assert!(versions[0] != versions[1] && versions[1] != versions[2], "{versions:?}");
    assert_eq!(reader.version().unwrap(), versions[2]);
    assert!(reader.is_at(&path).unwrap());
    fs::rename(&path, path.with_extension("old")).unwrap();
    assert!(matches!(reader.is_at(&path), Err(StoreError::File(_))));
    Store::open_or_create(&path).unwrap();
    assert!(!reader.is_at(&path).unwrap());
}

#[test]
fn many_processes_may_begin_and_write_at_once() {
    let (_folder, path) = folder();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let path = &path;
            scope.spawn(move || {
                for round in 0..10 {
                    let mut store = Store::open_or_create(path).unwrap();
                    store.create(&new("alice"), &entropy(thread * 100 + round), NOW).unwrap();
                }
            });
        }
    });
    let store = Store::open(&path).unwrap();
    store.verify().unwrap();
    assert_eq!(store.snapshot(NOW).unwrap().good(NOW), 80);
}

#[test]
fn ended_keys_leave_after_a_while_and_a_full_store_says_so() {
    let (_folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let brief = NewKey { lifetime: Some(10), ..new("brief") };
    store.create(&brief, &entropy(1), NOW).unwrap();
    let revoked = store.create(&new("revoked"), &entropy(2), NOW).unwrap();
    store.revoke(&revoked.key.id, NOW + 20).unwrap();
    let names = |store: &Store| store.list().unwrap().into_iter().map(|key| key.consumer).collect::<Vec<_>>();
    store.create(&new("one"), &entropy(3), NOW + KEEP_ENDED + 10).unwrap();
    assert_eq!(names(&store), ["brief", "revoked", "one"]);
    store.create(&new("two"), &entropy(4), NOW + KEEP_ENDED + 11).unwrap();
    assert_eq!(names(&store), ["revoked", "one", "two"]);
    let rest = MOST_KEYS - 3;
    Connection::open(&path)
        .unwrap()
        .execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rest})
             INSERT INTO keys SELECT printf('%016d', i), randomblob(32), 'tg_', 'many', 'free', '', {NOW}, NULL, NULL
             FROM n"
        ))
        .unwrap();
    assert!(matches!(store.create(&new("more"), &entropy(5), NOW), Err(StoreError::Full)));
    assert_eq!(store.snapshot(NOW).unwrap().good(NOW), MOST_KEYS - 1, "all but the revoked one");
}

/// Names, lengths, modes, times and contents of all that is in a folder. Only in the index of a log are readers of the
/// same process entered, as this one.
fn inventory(folder: &Path) -> Vec<String> {
    let about = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let about = fs::metadata(&path).unwrap();
        let index = path.to_string_lossy().ends_with("-shm");
        let content = fs::read(&path).ok().filter(|_| !index).map(|content| digest(&content));
        format!("{path:?} {} {:o} {:?} {content:?}", about.len(), about.permissions().mode(), about.modified().unwrap())
    };
    let mut entries: Vec<String> = fs::read_dir(folder).unwrap().map(about).collect();
    entries.sort();
    entries
}

#[test]
fn a_look_sees_the_keys_and_leaves_every_file_as_it_is() {
    for name in ["tollgate.db", "a?b#c%20 d&mode=rwc.db"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let found = |secret: &str| {
            let before = inventory(folder.path());
            let snapshot = Store::look(&path, NOW).unwrap();
            assert_eq!(inventory(folder.path()), before, "{name}");
            snapshot.find(&digest(secret.as_bytes()), NOW).map(|live| live.holder.consumer.to_string())
        };
        let mut store = Store::open_or_create(&path).unwrap();
        let one = store.create(&new("alice"), &entropy(1), NOW).unwrap();
        assert_eq!(found(&one.secret).as_deref(), Some("alice"), "while another has it open");
        let two = store.create(&new("bob"), &entropy(2), NOW).unwrap();
        store.revoke(&one.key.id, NOW).unwrap();
        assert_eq!((found(&one.secret), found(&two.secret).as_deref()), (None, Some("bob")), "as it is now");
        drop(store);
        assert_eq!(inventory(folder.path()).len(), 1, "closed in order, it is one file");
        assert_eq!(
            (found(&one.secret), found(&two.secret).as_deref()),
            (None, Some("bob")),
            "while nobody has it open"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(found(&two.secret).as_deref(), Some("bob"), "which may be read only");
    }
}

#[test]
fn a_look_reads_the_log_of_a_process_that_was_killed() {
    let (folder, path) = folder();
    let mut store = Store::open_or_create(&path).unwrap();
    let made = store.create(&new("alice"), &entropy(1), NOW).unwrap();
    // As nobody has closed it: file, log and index.
    let left = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), left.path().join(entry.file_name())).unwrap();
    }
    let before = inventory(left.path());
    assert_eq!(before.len(), 3);
    let path = left.path().join("tollgate.db");
    let snapshot = Store::look(&path, NOW).unwrap();
    assert!(snapshot.find(&digest(made.secret.as_bytes()), NOW).is_some());
    assert_eq!(inventory(left.path()), before);
    // Without the index it would have to be made.
    fs::remove_file(left.path().join("tollgate.db-shm")).unwrap();
    assert!(Store::look(&path, NOW).is_err());
    assert_eq!(inventory(left.path()).len(), 2);
}

#[test]
fn a_look_at_what_is_no_store_says_so_and_makes_none() {
    let (folder, path) = folder();
    let look = || Store::look(&path, NOW).map(|_| ()).unwrap_err();
    assert!(matches!(look(), StoreError::File(_)));
    assert!(inventory(folder.path()).is_empty());
    for content in [&b""[..], b"keys: []\n"] {
        fs::write(&path, content).unwrap();
        let before = inventory(folder.path());
        assert!(matches!(look(), StoreError::Foreign), "{content:?}");
        assert_eq!(inventory(folder.path()), before);
    }
    fs::remove_file(&path).unwrap();
    drop(Store::open_or_create(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(look(), StoreError::Newer { found: 99, .. }));
}
