//! Stores that cannot be used: at the start that is an error, later the keys known so far stay good.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::admin::{send, with_token};
use super::{command, keys, soon, status, text, with_store};
use crate::process::instance::{Instance, eventually};
use crate::support::gateway::{Gateway, program};
use crate::support::origin::Origin;

/// Runs statements in an SQLite file of their own.
fn sql(path: &std::path::Path, statements: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn a_gateway_does_not_start_with_a_store_it_cannot_use() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("garbage.db"), "x".repeat(5000)).unwrap();
    fs::create_dir(at("folder.db")).unwrap();
    drop(tollgate::store::Store::open_or_create(&at("newer.db")).unwrap());
    sql(&at("newer.db"), "PRAGMA user_version = 7");
    sql(&at("other.db"), "CREATE TABLE t (x)");
    for (path, expected) in [
        (at("garbage.db"), "it is no store of tollgate"),
        (at("folder.db"), "it is no regular file"),
        (at("newer.db"), "a newer tollgate wrote it: its schema is version 7, this program knows version 2"),
        (at("other.db"), "it is no store of tollgate"),
        (at("no/such/folder.db"), "No such file or directory"),
        ("/proc/tollgate.db".into(), "No such file or directory"),
    ] {
        let file = with_store(&origin, path.to_str().unwrap());
        let said = match Gateway::try_start(&file.to_string()) {
            Ok(_) => panic!("started with {}", path.display()),
            Err(said) => said,
        };
        let line = format!("error: store {}: {expected}", path.display());
        assert!(said.contains(&line), "{said}\ninstead of {line}");
        assert!(!said.contains("panicked"), "{said}");
        let written = at("tollgate.yaml");
        fs::write(&written, file.to_string()).unwrap();
        for verb in ["list", "create"] {
            let arguments: &[&str] = if verb == "create" { &["--consumer", "alice"] } else { &[] };
            let output = command(verb, &written, arguments);
            let said = text(&output.stderr);
            assert_eq!((output.status.code(), said.contains(expected)), (Some(1), true), "{verb}: {said}");
        }
    }
}

#[test]
fn the_store_is_made_at_the_first_start_for_its_owner_only() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    for name in ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm"] {
        let mode = fs::metadata(gateway.folder().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_state_directory_is_the_default() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let mut file = with_store(&origin, "x");
    file["store"] = serde_json::json!({});
    let state = folder.path().to_str().unwrap();
    let gateway = Instance::start_with(&file, &[], &[("STATE_DIRECTORY", state)]);
    assert!(folder.path().join("tollgate.db").is_file());
    let output = program()
        .args(["keys", "create"])
        .arg(gateway.file())
        .args(["--consumer", "alice"])
        .env("STATE_DIRECTORY", state)
        .output()
        .unwrap();
    let key = text(&output.stdout);
    soon(&gateway, key.trim_end(), 200);
    let moved = gateway.reload(&with_store(&origin, "elsewhere.db"));
    assert_eq!(moved["upgrade_needed"][0], "store", "{moved}");
    assert_eq!(status(&gateway, key.trim_end()), 200, "the old one goes on");
}

#[test]
fn a_running_gateway_keeps_its_keys_when_the_store_goes_bad() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let (path, aside) = (gateway.folder().join("tollgate.db"), gateway.folder().join("aside.db"));
    let key = keys("create", &gateway.file(), &["--consumer", "alice"]);
    soon(&gateway, &key, 200);
    let good = gateway.folder().join("good.db");
    sql(&path, &format!("VACUUM INTO '{}'", good.display()));
    // VACUUM keeps the application's id; the copy is a store.
    for (fault, expected) in [("", "No such file"), ("garbage", "no store of tollgate"), ("newer", "a newer tollgate")]
    {
        let failures = || gateway.metric("tollgate_store_refresh_failures_total").unwrap();
        let before = failures();
        match fault {
            "" => fs::remove_file(&path).unwrap(),
            "garbage" => fs::write(&aside, "x".repeat(9000)).unwrap(),
            _ => {
                fs::copy(&good, &aside).unwrap();
                sql(&aside, "PRAGMA user_version = 9");
            }
        }
        if aside.exists() {
            fs::rename(&aside, &path).unwrap();
        }
        // A file that is replaced takes its log along.
        for log in ["tollgate.db-wal", "tollgate.db-shm"] {
            let _ = fs::remove_file(gateway.folder().join(log));
        }
        assert!(eventually(|| failures() > before + 1.0), "{fault}: {}", gateway.log());
        assert_eq!(status(&gateway, &key), 200, "{fault}");
        let log = gateway.log();
        let said = log.lines().filter(|line| line.contains("keys known so far stay good"));
        assert_eq!(said.clone().filter(|line| line.contains(expected)).count(), 1, "said once: {log}");
        assert_eq!(status(&gateway, "key-alice"), 200);
        let answer = send(&gateway, "POST", "/keys", &with_token(), r#"{"consumer": "alice"}"#);
        assert_eq!(answer.status, 503, "{fault}: {}", answer.text());
        assert_eq!(path.exists(), !fault.is_empty(), "no empty store is made in its place");
    }
    fs::copy(&good, &aside).unwrap();
    fs::rename(&aside, &path).unwrap();
    gateway.logged("can be read again");
    let fresh = keys("create", &gateway.file(), &["--consumer", "alice"]);
    soon(&gateway, &fresh, 200);
    keys("revoke", &gateway.file(), &[&key]);
    soon(&gateway, &key, 401);
    assert!(!gateway.log().contains("panicked"));
    assert!(gateway.metric("tollgate_store_last_refresh_success_timestamp_seconds").is_some_and(|time| time > 1.7e9));
}

#[test]
fn a_file_with_faults_elsewhere_still_ends_a_key() {
    let origin = Origin::json("{}");
    let file = with_store(&origin, "tollgate.db");
    let gateway = Instance::start(&file);
    let key = keys("create", &gateway.file(), &["--consumer", "alice"]);
    soon(&gateway, &key, 200);
    let mut broken = file.clone();
    broken["routes"][0]["service"] = "nowhere".into();
    gateway.write(&broken);
    let refused = command("create", &gateway.file(), &["--consumer", "alice"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("unknown service `nowhere`"));
    keys("revoke", &gateway.file(), &[&key]);
    soon(&gateway, &key, 401);
}
