//! Signs of life: the process gives them as long as it serves, nobody else sees how, and one that hangs gives none.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Manager, open_to_all};
use crate::process::instance::{Instance, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, fetch, request};
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

/// Stops a thread of another process for as long as its standard input is open.
const STOPS_A_THREAD: &str = "
import ctypes, os, sys
SEIZE, INTERRUPT = 0x4206, 0x4207
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
for step in SEIZE, INTERRUPT:
    if ptrace(step, int(sys.argv[1]), None, None):
        sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()))
os.waitpid(int(sys.argv[1]), 0x40000000)
print('stopped', flush=True)
sys.stdin.read()
";

/// A stopped thread, which goes on when this is dropped.
struct Stopped(Child);

impl Stopped {
    fn new(thread: u32) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", STOPS_A_THREAD, &thread.to_string()]);
        let mut tracer =
            python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start python3, of the package python3");
        let mut said = String::new();
        let _ = BufReader::new(tracer.stdout.take().expect("its output")).read_line(&mut said);
        assert_eq!(said, "stopped\n", "a thread of a child cannot be traced: look at kernel.yama.ptrace_scope");
        Self(tracer)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The threads that serve clients.
fn workers(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a living process").flatten();
    let is_worker = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "proxy\n");
    let workers = threads.map(|thread| thread.path()).filter(|path| is_worker(path));
    workers.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

#[test]
fn whichever_worker_hangs_the_signs_of_life_end_and_come_back_with_it() {
    let (manager, origin) = (Manager::new(), Origin::json("{}"));
    let file = open_to_all(&origin, json!({}));
    let gateway = Instance::start_with(&file, &["--threads", "2"], &borrowed(&watched(&manager)));
    // Every worker has answered then, so all of them are there.
    manager.hears(&["WATCHDOG=1"]);
    let workers = workers(gateway.id());
    assert_eq!(workers.len(), 2);
    for worker in workers {
        manager.hears(&["WATCHDOG=1"]);
        let stopped = Stopped::new(worker);
        // What was on its way when the worker began to hang.
        while manager.next(ALLOWED).is_some() {}
        assert_eq!(manager.next(ALLOWED * 3), None);
        drop(stopped);
        manager.hears(&["WATCHDOG=1"]);
        assert_eq!(fetch(gateway.public, "/").status, 200);
    }
}
