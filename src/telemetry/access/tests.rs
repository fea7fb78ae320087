//! Where lines go.

use super::line::tests::{json, line};
use super::*;

#[test]
fn lines_of_many_threads_all_arrive_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = AccessLog::open(file.path().to_str().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| log.write(&json(), &line())));
        }
    });
    log.flush();
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(text.lines().count(), 2_000);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn a_place_that_cannot_be_opened_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let log = AccessLog::open(&path("one")).unwrap();
    let lines = |name: &str| {
        log.write(&json(), &line());
        log.flush();
        std::fs::read_to_string(path(name)).unwrap_or_default().lines().count()
    };
    assert_eq!(lines("one"), 1);
    assert!(log.redirect(&path("no/folder")).is_err());
    assert_eq!(log.reopen().unwrap(), Some(path("one")));
    assert_eq!(lines("one"), 2);
    std::fs::remove_file(path("one")).unwrap();
    std::fs::create_dir(path("one")).unwrap();
    assert_eq!(log.reopen().unwrap_err().0, path("one"));
    log.redirect(&path("two")).unwrap();
    assert_eq!(lines("two"), 1);
    log.redirect("off").unwrap();
    assert_eq!((log.reopen().unwrap(), lines("two"), log.lost()), (None, 1, Lost::default()));
}
