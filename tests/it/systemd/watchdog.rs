//! Signs of life: the process gives them as long as it serves, nobody else sees how, and one that hangs gives none.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Manager, open_to_all};
use crate::process::instance::{Instance, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, fetch, request};
use crate::support::gateway::program;
use crate::support::origin::Origin;
use crate::support::pki::Authority;

/// How long systemd waits for a sign of life, in these tests.
const ALLOWED: Duration = Duration::from_millis(400);

fn watched(manager: &Manager) -> [(&'static str, String); 2] {
    [("NOTIFY_SOCKET", manager.path()), ("WATCHDOG_USEC", ALLOWED.as_micros().to_string())]
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn it_is_alive_while_it_serves_and_nobody_pays_for_the_proof() {
    let (manager, origin, authority) = (Manager::new(), Origin::json("{}"), Authority::new());
    let (certificate, private_key) = authority.place("api", &authority.server(&["api.test"]));
    let tls = json!({"certificate": certificate, "private_key": private_key, "client_ca": authority.file()});
    // No room for a second connection or request of a client, and nobody comes in by every listener.
    let file = open_to_all(
        &origin,
        json!({
            "listeners": [
                {"address": "127.0.0.1:0"}, {"address": "[::1]:0"}, {"address": "0.0.0.0:0"},
                {"address": "127.0.0.1:0", "tls": tls}, {"address": "127.0.0.1:0", "redirect_https": true},
            ],
            "guard": {"max_connections": 1, "max_connections_per_address": 1, "flood": "1/second"},
        }),
    );
    let gateway = Instance::start_with(&file, &["--threads", "4"], &borrowed(&watched(&manager)));
    let mut client = Client::connect(gateway.public);
    assert_eq!(client.ask(&request("GET", "/", &[], b"")).unwrap().status, 200);
    manager.hears(&["READY=1"]);
    let begun = Instant::now();
    (0..6).for_each(|_| drop(manager.hears(&["WATCHDOG=1"])));
    let took = begun.elapsed();
    assert!(took > ALLOWED && took < ALLOWED * 8, "every half of the time allowed: {took:?}");
    let metrics = gateway.operator("GET", "/metrics", &[]).text();
    let figure = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    assert_eq!(figure("tollgate_connections "), Some(1.0), "{metrics}");
    let counted = metrics.lines().filter(|line| line.starts_with("tollgate_requests_total"));
    let counted: f64 = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(counted, 1.0, "{metrics}");
    let lost = ["tollgate_connections_refused_total", "tollgate_rejections_total", "tollgate_tls_handshakes_total"];
    let lost = metrics.lines().filter(|line| lost.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"));
    assert_eq!(lost.collect::<Vec<_>>(), Vec::<&str>::new());
    gateway.line(|line| line.contains("\"path\":\"/\""));
    assert_eq!(gateway.out().lines().count(), 1, "{}", gateway.out());
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_process_that_nobody_watches_or_that_is_not_meant_says_nothing() {
    let (manager, origin) = (Manager::new(), Origin::json("{}"));
    let path = manager.path();
    let file = open_to_all(&origin, json!({}));
    for variables in [
        &[("NOTIFY_SOCKET", &*path)][..],
        &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")],
    ] {
        let mut gateway = Instance::start_with(&file, &[], variables);
        gateway.reload(&file);
        gateway.signal("TERM");
        assert!(gateway.ended(DEADLINE).is_some());
        let heard = std::iter::from_fn(|| manager.next(Duration::from_millis(1)));
        let heard: Vec<String> = heard.collect();
        assert!(heard.iter().any(|message| message.contains("STOPPING=1")), "{heard:?}");
        assert!(heard.iter().all(|message| !message.contains("WATCHDOG")), "{variables:?}: {heard:?}");
    }
}

#[test]
fn a_process_that_drains_is_alive() {
    let (manager, (origin, release)) = (Manager::new(), super::holding());
    let mut gateway = Instance::start_with(&open_to_all(&origin, json!({})), &[], &borrowed(&watched(&manager)));
    let mut client = Client::connect(gateway.public);
    client.send(&request("GET", "/slow", &[], b""));
    assert!(eventually(|| origin.requests().len() == 1));
    gateway.signal("TERM");
    manager.hears(&["STOPPING=1"]);
    (0..4).for_each(|_| drop(manager.hears(&["WATCHDOG=1"])));
    release.send(()).unwrap();
    assert!(gateway.ended(DEADLINE).is_some_and(|status| status.success()));
}

/// The worker that accepts hangs, while the other tasks of the process go on: it writes to a log that nobody reads. What
/// makes it write is that it cannot accept.
#[test]
fn a_worker_that_hangs_ends_the_signs_of_life() {
    let (manager, origin) = (Manager::new(), Origin::json("{}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    fs::write(&file, open_to_all(&origin, json!({"access_log": {"path": "off"}})).to_string()).unwrap();
    let (log, mut full) = UnixStream::pair().unwrap();
    let mut child = program()
        .args(["run", "--threads", "2"])
        .arg(&file)
        .envs(borrowed(&watched(&manager)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(full.try_clone().unwrap()))
        .spawn()
        .unwrap();
    let mut log = BufReader::new(log);
    let mut lines = String::new();
    while !lines.contains("ready generation") {
        log.read_line(&mut lines).unwrap();
    }
    let address = lines.lines().find(|line| line.contains("listener=public")).unwrap();
    let address: SocketAddr = address.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let ask = request("GET", "/", &[], b"");
    manager.hears(&["WATCHDOG=1"]);

    full.set_nonblocking(true).unwrap();
    while full.write(b"x").is_ok() {}
    full.set_nonblocking(false).unwrap();
    let pid = child.id().to_string();
    let descriptors = |most: usize| {
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status();
        assert!(done.expect("run prlimit, of util-linux").success());
    };
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(1024) as usize;
    let hangs = eventually(|| {
        descriptors(3);
        let silent = Client::connect(address).is_silent_after(&ask);
        descriptors(all);
        silent && Client::connect(address).is_silent_after(&ask)
    });
    assert!(hangs, "no worker hangs");
    // What was on its way when the worker began to hang.
    while manager.next(ALLOWED).is_some() {}
    assert_eq!(manager.next(ALLOWED * 3), None);

    // It comes back when the worker does.
    thread::spawn(move || drop(log.read_to_end(&mut Vec::new())));
    manager.hears(&["WATCHDOG=1"]);
    assert_eq!(fetch(address, "/").status, 200);
    child.kill().unwrap();
    child.wait().unwrap();
}
