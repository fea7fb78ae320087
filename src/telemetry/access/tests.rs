//! Where lines go.

use super::line::tests::line;
use super::*;

#[test]
fn lines_of_many_threads_all_arrive_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = AccessLog::open(file.path().to_str().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| log.write(Format::Json, &line())));
        }
    });
    log.flush();
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(text.lines().count(), 2_000);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn a_full_buffer_drops_and_counts() {
    let log = AccessLog::open("off").unwrap();
    let mut long = line();
    let path = "x".repeat(BUFFER_BYTES / 2);
    long.path = &path;
    // Hold the sink so that the writer cannot empty the buffer meanwhile.
    let sink = log.shared.sink.lock();
    for _ in 0..4 {
        log.write(Format::Json, &long);
    }
    drop(sink);
    assert!(log.dropped() >= 1, "{}", log.dropped());
}
