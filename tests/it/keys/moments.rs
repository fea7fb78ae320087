//! Keys that end by themselves, and processes that end in the middle.

use std::process::Stdio;
use std::time::Duration;

use tollgate::store::Store;

use super::{keys, program, soon, status, with_store};
use crate::process::instance::{Instance, eventually};
use crate::support::origin::Origin;

#[test]
fn a_key_expires_without_anybody_doing_anything() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let brief = keys("create", &gateway.file(), &["--consumer", "alice", "--expires", "3s"]);
    let long = keys("create", &gateway.file(), &["--consumer", "alice", "--expires", "90d"]);
    soon(&gateway, &brief, 200);
    assert!(eventually(|| status(&gateway, &brief) == 401));
    assert_eq!(status(&gateway, &long), 200);
    let listed = keys("list", &gateway.file(), &[]);
    assert_eq!((listed.matches(" expired ").count(), listed.matches(" active ").count()), (1, 1), "{listed}");
}

#[test]
fn a_rotated_key_is_good_beside_the_new_one_until_its_grace_ends() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let old = keys("create", &gateway.file(), &["--consumer", "bob", "--plan", "free"]);
    soon(&gateway, &old, 200);
    let new = keys("rotate", &gateway.file(), &[&old[..11], "--grace", "3s"]);
    assert_ne!(old, new);
    soon(&gateway, &new, 200);
    assert_eq!(status(&gateway, &old), 200);
    assert!(eventually(|| status(&gateway, &old) == 401));
    assert_eq!(status(&gateway, &new), 200);
}

#[test]
fn a_command_that_is_killed_leaves_all_of_a_key_or_nothing() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let mut printed = Vec::new();
    for round in 0..40_u32 {
        let mut child = program()
            .args(["keys", "create"])
            .arg(gateway.file())
            .args(["--consumer", "bob", "--plan", "free"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // No wait for anything: the moment of the kill is what varies.
        std::thread::sleep(Duration::from_millis(u64::from(round)));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        printed.extend(super::text(&output.stdout).strip_suffix('\n').map(str::to_owned));
    }
    printed.push(keys("create", &gateway.file(), &["--consumer", "bob", "--plan", "free"]));
    let store = Store::open(&gateway.folder().join("tollgate.db")).unwrap();
    store.verify().unwrap();
    let listed = store.list().unwrap();
    assert!(listed.len() >= printed.len(), "{} of {} keys", listed.len(), printed.len());
    assert!(listed.iter().all(|key| key.consumer == "bob" && key.prefix.len() == 11));
    for key in printed {
        assert!(listed.iter().any(|stored| key.starts_with(&stored.prefix)), "a key was printed and is not there");
        soon(&gateway, &key, 200);
    }
}
