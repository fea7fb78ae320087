//! Places that take nothing: requests are answered, lines are counted as lost, and the process leaves in time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{lines, open};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{Client, ask, fetch, request};
use crate::support::gateway::program;
use crate::support::origin::Origin;

/// Requests whose lines are more than a pipe and a buffer take.
const MANY: usize = 900;

/// Far less than the default drain.
const SOON: Duration = Duration::from_secs(15);

/// Asks over one connection, so that one worker has all the lines; every request is answered.
fn flood(public: SocketAddr) {
    let mut client = Client::connect(public);
    let long = "x".repeat(1_000);
    for _ in 0..MANY {
        let bytes = request("GET", &format!("/{long}"), &[("user-agent", &long)], b"");
        assert_eq!(client.ask(&bytes).expect("an answer").status, 200);
    }
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SLOW: &str = r#"tollgate_access_lines_dropped_total{reason="slow"}"#;
const FAILED: &str = r#"tollgate_access_lines_dropped_total{reason="failed"}"#;

#[test]
fn a_fifo_without_a_reader_holds_nobody_up() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is needed").success());
    let mut gateway = Instance::start(&open(&origin, json!({"access_log": {"path": fifo}})));
    assert_eq!(gateway.metric(SLOW), Some(0.0));
    flood(gateway.public);
    assert!(gateway.metric(SLOW).is_some_and(|lost| lost > 0.0), "{:?}", gateway.metric(SLOW));
    gateway.logged("is written or read too slowly, lines are lost");
    // It can be left for a file, which gets what waited.
    let file = folder.path().join("file");
    let moved = open(&origin, json!({"access_log": {"path": file}}));
    assert_eq!(gateway.reload(&moved)["result"], "published");
    assert!(eventually(|| fs::read_to_string(&file).is_ok_and(|text| lines(&text).len() > 300)));
    // And back, to leave with lines that nobody takes.
    let back = open(&origin, json!({"access_log": {"path": fifo}}));
    assert_eq!(gateway.reload(&back)["result"], "published");
    flood(gateway.public);
    gateway.signal("TERM");
    assert!(gateway.ended(SOON).is_some_and(|status| status.success()), "{}", gateway.log());
    gateway.logged("lines are lost at the end");
}

#[test]
fn a_full_disk_costs_lines_only_and_is_said_once() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let gateway = Instance::start(&open(&origin, json!({"access_log": {"path": "/dev/full"}})));
    for turn in 1..=3 {
        assert_eq!(fetch(gateway.public, "/a").status, 200);
        assert!(eventually(|| gateway.metric(FAILED) == Some(f64::from(turn))), "{:?}", gateway.metric(FAILED));
    }
    assert_eq!(gateway.log().matches("cannot be written, lines are lost").count(), 1, "{}", gateway.log());
    let file = folder.path().join("file");
    assert_eq!(gateway.reload(&open(&origin, json!({"access_log": {"path": file}})))["result"], "published");
    fetch(gateway.public, "/a");
    assert!(eventually(|| fs::read_to_string(&file).is_ok_and(|text| lines(&text).len() == 1)));
    assert_eq!(gateway.metric(FAILED), Some(3.0));
}

#[test]
fn nobody_reads_either_output() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let good = open(&origin, json!({}));
    fs::write(&file, good.to_string()).unwrap();
    let mut program = program();
    program.arg("run").arg(&file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut gateway = Killed(program.spawn().expect("start the gateway"));
    let child = &mut gateway.0;
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut log = String::new();
    while !log.contains("ready ") {
        assert_ne!(said.read_line(&mut log).unwrap(), 0, "{log}");
    }
    let address = |listener: &str| -> SocketAddr {
        let line = log.lines().find(|line| line.contains(&format!("listener={listener}"))).unwrap();
        line.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let (public, admin) = (address("public"), address("admin"));
    // From here on both pipes fill. Each refused reload says a long report.
    let mut bad = good;
    bad["routes"][0]["service"] = "x".repeat(100_000).into();
    fs::write(&file, bad.to_string()).unwrap();
    let metric = |name: &str| -> f64 {
        let text = ask(admin, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("{name} is missing"))
    };
    let reload = format!("POST /reload HTTP/1.1\r\nhost: {admin}\r\nx-tollgate: reload\r\ncontent-length: 0\r\n\r\n");
    let lost = r#"tollgate_log_entries_dropped_total{reason="slow"}"#;
    let is_full = (0..30).any(|_| ask(admin, reload.as_bytes()).status == 422 && metric(lost) > 0.0);
    assert!(is_full, "the log takes everything");
    flood(public);
    assert!(metric(SLOW) > 0.0);
    assert_eq!(ask(admin, reload.as_bytes()).status, 422, "a reload does not wait for the log either");
    let _ = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    let until = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            panic!("the process waits for a reader");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
