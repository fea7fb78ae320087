//! A new process takes over from a running one: no connection is refused, no request is cut, and what cannot take over
//! changes nothing.

mod counters;
mod endurance;
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::instance::{config, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, fetch, request};
use crate::support::gateway::program;
use crate::support::origin::{Origin, Recorded, Reply};

/// A line of processes, each of which takes over from the one before.
pub struct Line {
    folder: TempDir,
    /// The address of its first listener.
    pub public: SocketAddr,
    first: Child,
    /// Of the process that serves.
    pub pid: u32,
}

impl Line {
    /// Starts the first process, from a copy of the program that a test may replace.
    pub fn start(origin: &Origin, sections: Value) -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let binary = folder.path().join("tollgate");
        install(Path::new(program().get_program()), &binary);
        write(&folder, origin, sections);
        let log = fs::File::create(folder.path().join("log")).expect("make a file");
        let first = Command::new(&binary)
            .args(["run", "--threads", "2"])
            .arg(folder.path().join("tollgate.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the gateway");
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut line = Self { folder, public: nowhere, pid: first.id(), first };
        assert!(eventually(|| line.log().contains("upgrades are asked for at")), "{}", line.log());
        line.public = line.listening()[0];
        line
    }

    /// Where the latest process listens for clients.
    fn listening(&self) -> Vec<SocketAddr> {
        self.listening_as("public")
    }

    /// Where the latest process listens for those.
    fn listening_as(&self, whom: &str) -> Vec<SocketAddr> {
        let log = self.log();
        // Each says where it listens before it is ready.
        let latest = log.trim_end().rsplit("upgrades are asked for at").nth(1).unwrap_or_default();
        let lines = latest.lines().filter(|line| line.contains(&format!("listener={whom}")));
        lines.map(|line| line.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// Runs `tollgate upgrade`, and notes who serves afterwards.
    pub fn upgrade(&mut self) -> Output {
        let done = program().arg("upgrade").arg(self.at("tollgate.yaml")).output().expect("run the program");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if let Some(pid) = said.strip_prefix("upgraded: process ").and_then(|rest| rest.split(' ').next()?.parse().ok())
        {
            self.pid = pid;
        }
        done
    }

    /// The same with a file that may not tell where the socket is. Exit code and what was said.
    fn upgrade_at_socket(&self) -> (Option<i32>, String) {
        let socket = self.at("run/upgrade.sock");
        let done = program().arg("upgrade").arg(self.at("tollgate.yaml")).arg("--socket").arg(socket).output();
        said(&done.expect("run the program"))
    }

    /// Runs `tollgate reload`. Exit code and what was said.
    fn reload(&self) -> (Option<i32>, String) {
        let admin = self.listening_as("admin")[0].to_string();
        let done = program().arg("reload").arg(self.at("tollgate.yaml")).args(["--admin", &admin]).output();
        said(&done.expect("run the program"))
    }

    /// Whose child a process is.
    fn parent(pid: u32) -> u32 {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
        // Behind the name, which may hold anything: state, parent.
        state.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse().ok()).expect("a parent")
    }

    pub fn is_alive(pid: u32) -> bool {
        // A process that nobody has waited for yet is a zombie.
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-KILL").arg(self.pid.to_string()).status();
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// Puts a program where another one may be running.
fn install(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).expect("copy the program");
    fs::rename(&beside, to).expect("put it in place");
}

fn write(folder: &TempDir, origin: &Origin, sections: Value) {
    let mut all = json!({
        "access_log": {"path": "off"},
        "upgrade": {"socket": "run/upgrade.sock"},
        "routes": [{
            "name": "all", "methods": ["GET", "POST"], "gateway_path": "/{*rest}", "service": "origin", "body": "any",
            "query_params": "any", "auth": "public",
        }],
    });
    if let (Some(all), Value::Object(sections)) = (all.as_object_mut(), sections) {
        all.extend(sections);
    }
    fs::write(folder.path().join("tollgate.yaml"), config(origin.address(), all).to_string()).expect("write");
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned())
}

/// Answers at once, but for `/slow`.
fn reply(request: &Recorded) -> Reply {
    if request.path().starts_with("/slow") {
        thread::sleep(Duration::from_millis(700));
    }
    Reply::json(200, "{}")
}

#[test]
fn under_load_no_request_is_lost_by_upgrades() {
    const UPGRADES: usize = 5;
    let origin = Origin::start(reply);
    let mut line = Line::start(&origin, json!({}));
    let (done, public) = (AtomicBool::new(false), line.public);
    let answered = AtomicUsize::new(0);
    let ask_until_done = |path: &str, fields: &[(&str, &str)], body: &[u8]| {
        let bytes = request(if body.is_empty() { "GET" } else { "POST" }, path, fields, body);
        let mut client = Client::connect(public);
        while !done.load(Ordering::Relaxed) {
            let answer = client.ask(&bytes).unwrap_or_else(|failed| panic!("{path} {fields:?}: {failed:?}"));
            assert_eq!((answer.status, answer.cut), (200, false), "{path}: {answer:?}");
            answered.fetch_add(1, Ordering::Relaxed);
            if answer.value("connection") == Some("close") {
                client = Client::connect(public);
            }
        }
    };
    let upload = vec![b'x'; 300_000];
    thread::scope(|scope| {
        let (ask, upload) = (&ask_until_done, &upload[..]);
        let mut clients: Vec<_> = Vec::new();
        for _ in 0..3 {
            clients.push(scope.spawn(move || ask("/quick", &[], b"")));
            clients.push(scope.spawn(move || ask("/closing", &[("connection", "close")], b"")));
        }
        clients.push(scope.spawn(move || ask("/slow", &[], b"")));
        clients.push(scope.spawn(move || ask("/upload", &[("content-type", "text/plain")], upload)));
        let mut served = vec![line.pid];
        for turn in 0..UPGRADES {
            let before = answered.load(Ordering::Relaxed);
            assert!(eventually(|| answered.load(Ordering::Relaxed) > before + 50), "no load in turn {turn}");
            let (code, said) = said(&line.upgrade());
            assert_eq!(code, Some(0), "{said}\n{}", line.log());
            assert!(!served.contains(&line.pid), "{said}");
            // Else systemd would not take it for the unit's own, and would neither wait for it nor start it again.
            assert!(!served.contains(&Line::parent(line.pid)), "it is a child of the process before");
            served.push(line.pid);
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("a client without a failure"));
        let last = served.pop();
        assert_eq!(last, Some(line.pid));
        for old in served {
            assert!(eventually(|| !Line::is_alive(old)), "process {old} does not leave:\n{}", line.log());
        }
        assert!(Line::is_alive(line.pid));
    });
    assert!(line.first.wait().expect("wait for the first").success(), "{}", line.log());
}

#[test]
fn what_cannot_take_over_changes_nothing() {
    let origin = Origin::start(reply);
    let mut line = Line::start(&origin, json!({}));
    let (first, binary, file) = (line.pid, line.at("tollgate"), line.at("tollgate.yaml"));
    let good = fs::read_to_string(&file).unwrap();
    let script = |text: &str| {
        let path = line.folder.path().join("script");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        install(&path, &binary);
    };
    let faults: [(&dyn Fn(), &str); 5] = [
        (&|| fs::write(&file, good.replace("\"service\":\"origin\"", "\"service\":\"nobody\"")).unwrap(), "nobody"),
        (
            &|| fs::write(&file, good.replacen("127.0.0.1:0", "203.0.113.1:9", 1)).unwrap(),
            "cannot listen on 203.0.113.1:9",
        ),
        (&|| script("no program at all"), "does not start"),
        (&|| script("#!/bin/sh\nexit 3\n"), "ended before it served"),
        (&|| script("#!/bin/sh\nkill -SEGV $$\n"), "ended before it served"),
    ];
    let genuine = program().get_program().to_owned();
    for (make, expected) in faults {
        make();
        let (code, text) = line.upgrade_at_socket();
        assert_eq!(code, Some(1), "{expected}: {text}");
        assert!(text.contains(expected) && text.contains("the running process goes on"), "{expected}: {text}");
        assert!(Line::is_alive(first));
        assert_eq!(fetch(line.public, "/quick").status, 200);
        fs::write(&file, &good).unwrap();
        install(Path::new(&genuine), &binary);
    }
    let (code, text) = said(&line.upgrade());
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(line.pid, first);
    assert_eq!(fetch(line.public, "/quick").status, 200);
}

#[test]
fn an_upgrade_applies_what_a_reload_cannot() {
    let origin = Origin::start(reply);
    let mut line = Line::start(&origin, json!({}));
    let (old, first) = (line.public, line.pid);
    let (both, other) = (["127.0.0.1:0", "127.0.0.2:0"], ["127.0.0.2:0"]);
    let listeners = |all: &[&str]| {
        let all: Vec<Value> = all.iter().map(|address| json!({ "address": address })).collect();
        json!({ "listeners": all })
    };
    write(&line.folder, &origin, listeners(&both));
    assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
    assert!(eventually(|| line.listening().len() == 2), "{}", line.log());
    assert!(line.log().contains("ready generation=2 "), "numbers go on: {}", line.log());
    let (second, now) = (line.pid, line.listening());
    assert_eq!(now[0], old);
    assert!(now.iter().all(|address| fetch(*address, "/quick").status == 200));
    assert!(eventually(|| !Line::is_alive(first)));
    write(&line.folder, &origin, listeners(&other));
    assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
    assert!(eventually(|| line.listening() == now[1..]), "{}", line.log());
    assert!(eventually(|| !Line::is_alive(second)));
    assert_eq!(fetch(now[1], "/quick").status, 200);
    assert!(std::net::TcpStream::connect(old).is_err(), "a listener that is gone from the file is closed");
}

#[test]
fn the_socket_is_private_and_only_a_started_process_takes_over() {
    let origin = Origin::start(reply);
    let line = Line::start(&origin, json!({}));
    let mode = |name: &str| fs::metadata(line.at(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("run/upgrade.sock")), (0o700, 0o600));
    // Whoever it is: what was not started for it gets no socket.
    let stranger = Command::new(line.at("tollgate"))
        .args(["run", "--takeover"])
        .args([line.at("run/upgrade.sock"), line.at("tollgate.yaml")])
        .output()
        .unwrap();
    assert!(said(&stranger).1.contains("not started to take over"), "{stranger:?}");
    for nonsense in ["", "\n", "{}\n", "\"serving\"\n", "[[[[[[[[\n", &"x".repeat(200_000)] {
        let mut stream = UnixStream::connect(line.at("run/upgrade.sock")).unwrap();
        // The other end may have enough before all is said.
        let _ = std::io::Write::write_all(&mut stream, nonsense.as_bytes());
    }
    assert_eq!(fetch(line.public, "/quick").status, 200);
    let nobody = program().args(["upgrade", "--socket"]).arg(line.at("nobody.sock")).output().unwrap();
    let (code, text) = said(&nobody);
    assert!(code == Some(2) && text.contains("no gateway listens") && !text.contains("goes on"), "{text}");
    let open = line.folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    write(&line.folder, &origin, json!({ "upgrade": {"socket": "open/upgrade.sock"} }));
    let mut second = Command::new(line.at("tollgate"));
    second.arg("run").arg(line.at("tollgate.yaml")).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = second.spawn().unwrap();
    let refused = eventually(|| child.try_wait().unwrap().is_some());
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(refused && begun.elapsed() < DEADLINE, "{output:?}");
    assert!(said(&output).1.contains("mode 0700"), "{output:?}");
}
