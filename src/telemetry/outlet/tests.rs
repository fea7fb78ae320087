//! Places that are slow, full, gone or never read.

use std::fs::{self, File};
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::*;

const NATURE: Nature = Nature { thread: "test-log", rest: Duration::ZERO, notice: |_| {} };

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than a pipe and a buffer take together.
const FLOOD: usize = 40_000;

fn line(number: usize) -> String {
    format!("line {number} {}\n", "x".repeat(50))
}

fn push(outlet: &Outlet, buffer: &Buffer, lines: std::ops::Range<usize>) {
    lines.for_each(|number| outlet.push(buffer, |out| out.extend_from_slice(line(number).as_bytes())));
}

fn to_pipe() -> (Outlet, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let sink = Sink::of("pipe", File::from(OwnedFd::from(writer))).unwrap();
    (Outlet::start(NATURE, sink).unwrap(), reader)
}

fn to(path: &Path) -> Sink {
    Sink::open(path.to_str().unwrap()).unwrap()
}

/// The numbers of lines; panics where one is not whole.
fn numbers(text: &str) -> Vec<usize> {
    let number = |text: &str| text.split(' ').nth(1)?.parse().ok();
    let whole = |text: &str| number(text).filter(|number| line(*number).trim_end() == text);
    text.lines().map(|line| whole(line).unwrap_or_else(|| panic!("not whole: {line}"))).collect()
}

#[test]
fn a_reader_that_stops_costs_lines_and_nobody_s_time() {
    let (outlet, mut reader) = to_pipe();
    let buffer = outlet.buffer();
    let begun = Instant::now();
    push(&outlet, &buffer, 0..FLOOD);
    assert!(!outlet.flush(Duration::from_millis(20)), "nobody reads");
    assert!(begun.elapsed() < PATIENCE);
    let lost = outlet.lost();
    assert!(lost.slow > 0 && lost.failed == 0, "{lost:?}");
    // Whoever reads again gets whole lines, in order, and all that were not counted as lost.
    let rest = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert!(outlet.flush(PATIENCE));
    outlet.redirect(Sink::Off);
    let found = numbers(&rest.join().unwrap().unwrap());
    assert!(found.is_sorted());
    assert_eq!(found.len() as u64 + lost.slow, FLOOD as u64);
}

#[test]
fn a_place_that_nobody_reads_can_be_left_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let (outlet, mut reader) = to_pipe();
    let buffer = outlet.buffer();
    push(&outlet, &buffer, 0..5_000);
    assert!(!outlet.flush(Duration::from_millis(20)));
    outlet.redirect(to(&folder.path().join("file")));
    assert!(outlet.flush(PATIENCE));
    let mut first = String::new();
    reader.read_to_string(&mut first).unwrap();
    let second = fs::read_to_string(folder.path().join("file")).unwrap();
    let both = [numbers(&first), numbers(&second)].concat();
    assert!(!first.is_empty() && !second.is_empty());
    assert_eq!((both, outlet.lost()), ((0..5_000).collect(), Lost::default()));
}

#[test]
fn another_place_gets_no_half_of_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let (outlet, _reader) = to_pipe();
    let buffer = outlet.buffer();
    outlet.push(&buffer, |out| out.extend_from_slice(&[b"y".repeat(200_000), b"\n".to_vec()].concat()));
    push(&outlet, &buffer, 1..2);
    assert!(!outlet.flush(Duration::from_millis(200)));
    outlet.redirect(to(&folder.path().join("file")));
    assert!(outlet.flush(PATIENCE));
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), line(1));
    assert_eq!(outlet.lost(), Lost { slow: 0, failed: 1 });
}

#[test]
fn what_a_place_refuses_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let outlet = Outlet::start(NATURE, to(Path::new("/dev/full"))).unwrap();
    let buffer = outlet.buffer();
    push(&outlet, &buffer, 0..7);
    assert!(outlet.flush(PATIENCE));
    assert_eq!(outlet.lost(), Lost { slow: 0, failed: 7 });
    outlet.redirect(to(&folder.path().join("file")));
    push(&outlet, &buffer, 7..9);
    assert!(outlet.flush(PATIENCE));
    assert_eq!(numbers(&fs::read_to_string(folder.path().join("file")).unwrap()), [7, 8]);

    let (outlet, reader) = to_pipe();
    drop(reader);
    push(&outlet, &outlet.buffer(), 0..3);
    assert!(outlet.flush(PATIENCE));
    assert_eq!(outlet.lost(), Lost { slow: 0, failed: 3 });
}

#[test]
fn a_fifo_needs_no_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo is needed");
    assert!(made.success());
    let outlet = Outlet::start(NATURE, to(&path)).unwrap();
    let buffer = outlet.buffer();
    push(&outlet, &buffer, 0..10);
    assert!(outlet.flush(PATIENCE), "the pipe itself has room");
    push(&outlet, &buffer, 10..FLOOD);
    assert!(!outlet.flush(Duration::from_millis(20)));
    assert!(outlet.lost().slow > 0);
    let mut reader = File::open(&path).unwrap();
    let mut some = [0; 100];
    reader.read_exact(&mut some).unwrap();
    assert!(String::from_utf8_lossy(&some).starts_with(&line(0)));
}

#[test]
fn a_file_that_was_moved_goes_on_until_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let [file, moved] = ["file", "moved"].map(|name| folder.path().join(name));
    let outlet = Outlet::start(NATURE, to(&file)).unwrap();
    let buffer = outlet.buffer();
    let write = |lines| {
        push(&outlet, &buffer, lines);
        assert!(outlet.flush(PATIENCE));
    };
    write(0..1);
    fs::rename(&file, &moved).unwrap();
    write(1..2);
    outlet.redirect(to(&file));
    write(2..3);
    // As `copytruncate` does: the next line stands at the beginning, not behind a hole.
    File::options().write(true).truncate(true).open(&file).unwrap();
    write(3..4);
    let read = |path| numbers(&fs::read_to_string(path).unwrap());
    assert_eq!((read(moved), read(file)), (vec![0, 1], vec![3]));
    assert_eq!(outlet.lost(), Lost::default());
}

#[test]
fn trouble_is_told_once() {
    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let notice = |notice: Notice<'_>| HEARD.lock().push(format!("{notice:?}"));
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let outlet = Outlet::start(Nature { notice, ..NATURE }, to(&link)).unwrap();
    let buffer = outlet.buffer();
    for number in 0..5 {
        push(&outlet, &buffer, number..number + 1);
        assert!(outlet.flush(PATIENCE));
    }
    let heard = HEARD.lock().clone();
    assert!(heard.len() == 1 && heard[0].starts_with("Failing") && heard[0].contains("StorageFull"), "{heard:?}");
}
