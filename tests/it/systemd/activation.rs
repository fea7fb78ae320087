//! Sockets that systemd passes: which are taken, and that no connection is lost between two processes.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::{holding, open_to_all};
use crate::process::instance::{Instance, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, fetch, request};
use crate::support::gateway::program;
use crate::support::origin::{Origin, Reply};

/// Runs a command with its standard input as the one passed socket, as systemd does. `PID` is whose it is; `$$` the
/// process's own.
fn passing(socket: impl Into<OwnedFd>, pid: &str) -> Command {
    let script = format!(
        "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES=clients LISTEN_PID={pid}; exec \"$0\" \"$@\""
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(program().get_program()).arg("run").stdin(Stdio::from(socket.into()));
    command
}

/// A socket of systemd, and a file of which it is the listener.
fn socket(origin: &Origin) -> (TcpListener, SocketAddr, serde_json::Value) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let file = open_to_all(origin, json!({"listeners": [{"address": address.to_string()}]}));
    (socket, address, file)
}

#[test]
fn told_to_stop_it_leaves_new_connections_to_the_next_process() {
    let (origin, release) = holding();
    let (socket, address, file) = socket(&origin);
    let start = || Instance::start_by(passing(socket.try_clone().unwrap(), "$$"), &file, &[], &[]);
    let mut gateway = start();
    assert_eq!(gateway.public, address);
    assert_eq!(fetch(address, "/").status, 200);
    let mut busy = Client::connect(address);
    busy.send(&request("GET", "/slow", &[], b""));
    assert!(eventually(|| origin.requests().len() == 2));

    gateway.signal("TERM");
    let ready = |gateway: &Instance| gateway.operator("GET", "/readyz", &[]).status;
    assert!(eventually(|| ready(&gateway) == 503));
    // It may have accepted one more before it heard the signal; those are answered.
    let mut waiting = Vec::new();
    assert!(eventually(|| {
        let mut client = Client::connect(address);
        client.send(&request("GET", "/", &[], b""));
        let silent = client.is_silent();
        waiting.push((client, silent));
        silent
    }));
    assert_eq!(ready(&gateway), 503, "operators are answered to the end");
    release.send(()).unwrap();
    let answer = busy.response().unwrap();
    assert_eq!((answer.status, answer.value("connection")), (200, Some("close")));
    assert!(gateway.ended(DEADLINE).is_some_and(|status| status.success()), "{}", gateway.log());

    let _next = start();
    for (mut client, silent) in waiting {
        let answer = client.response();
        assert!(answer.is_ok_and(|answer| answer.status == 200), "lost; silent before: {silent}");
    }
}

#[test]
fn restarts_under_load_lose_no_request() {
    let origin = Origin::json("{}");
    let (socket, address, file) = socket(&origin);
    let start = || Instance::start_by(passing(socket.try_clone().unwrap(), "$$"), &file, &[], &[]);
    let mut gateway = start();
    let done = std::sync::atomic::AtomicBool::new(false);
    let ask = |fields: &[(&str, &str)]| {
        let bytes = request("GET", "/", fields, b"");
        let (mut client, mut answers) = (Client::connect(address), 0);
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let answer = client.ask(&bytes).unwrap_or_else(|lost| panic!("{fields:?} after {answers}: {lost}"));
            assert_eq!(answer.status, 200);
            answers += 1;
            if answer.value("connection") == Some("close") {
                client = Client::connect(address);
            }
        }
        answers
    };
    std::thread::scope(|scope| {
        let ask = &ask;
        let clients: Vec<_> = [&[][..], &[("connection", "close")], &[], &[("connection", "close")]]
            .into_iter()
            .map(|fields| scope.spawn(move || ask(fields)))
            .collect();
        for _ in 0..4 {
            let before = origin.requests().len();
            let served = eventually(|| origin.requests().len() > before + 50);
            gateway.signal("TERM");
            let left = gateway.ended(DEADLINE).is_some_and(|status| status.success());
            done.fetch_or(!served || !left, std::sync::atomic::Ordering::Relaxed);
            assert!(served && left, "{}", gateway.log());
            gateway = start();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(clients.into_iter().all(|client| client.join().unwrap() > 0));
    });
}

#[test]
fn the_next_process_of_an_upgrade_has_the_socket_but_not_the_variables() {
    let (origin, _release) = holding();
    let (socket, address, mut file) = socket(&origin);
    file["upgrade"] = json!({"socket": "run/upgrade.sock"});
    let mut gateway = Instance::start_by(passing(socket, "$$"), &file, &[], &[("WATCHDOG_PID", "1")]);
    gateway.logged("upgrades are asked for at");
    let done = program().arg("upgrade").arg(gateway.file()).output().expect("run the program");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let next = said.strip_prefix("upgraded: process ").and_then(|rest| rest.split(' ').next());
    let next = next.unwrap_or_else(|| panic!("{done:?}\n{}", gateway.log())).to_owned();
    let kill = |signal: &str| Command::new("kill").args([signal, &next]).status();
    assert!(gateway.ended(DEADLINE).is_some_and(|status| status.success()), "{}", gateway.log());
    let environment = fs::read(format!("/proc/{next}/environ")).expect("the environment of the new process");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let answer = fetch(address, "/").status;
    let busy = &mut Client::connect(address);
    busy.send(&request("GET", "/slow", &[], b""));
    assert!(eventually(|| origin.requests().iter().any(|request| request.path() == "/slow")));
    // It knows, too, that systemd keeps the socket.
    let _ = kill("-TERM");
    let waits = eventually(|| {
        let mut client = Client::connect(address);
        client.send(&request("GET", "/", &[], b""));
        client.is_silent()
    });
    let _ = kill("-KILL");
    assert_eq!((answer, waits), (200, true));
    let inherited = environment.split('\0').filter(|line| line.starts_with("LISTEN_") || line.starts_with("WATCHDOG_"));
    assert_eq!(inherited.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// What a process says that does not start.
fn refused(mut command: Command, file: &serde_json::Value) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.yaml");
    fs::write(&path, file.to_string()).unwrap();
    let child = command.arg(&path).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("run the program");
    let ended = eventually(|| child.try_wait().unwrap().is_some());
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(ended, "it starts: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_socket_that_no_listener_names_or_that_is_none_stops_the_start() {
    let origin = Origin::start(|_| Reply::json(200, "{}"));
    let (listening, address, _) = socket(&origin);
    let stream = TcpStream::connect(address).unwrap();
    let file = open_to_all(&origin, json!({}));
    let on = format!("`clients` on {address}");
    let sockets: [(OwnedFd, &[&str]); 4] = [
        (listening.into(), &["no listener of the configuration names", &on]),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), &["`clients`", "is not a valid tcp socket"]),
        (stream.into(), &["`clients`", "does not listen"]),
        (File::open("/dev/null").unwrap().into(), &["`clients`", "is not a socket"]),
    ];
    for (socket, expected) in sockets {
        let output = refused(passing(socket, "$$"), &file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{expected:?}: {said}");
    }
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let origin = Origin::json("{}");
    let (socket, address, _) = socket(&origin);
    let gateway = Instance::start_by(passing(socket, "1"), &open_to_all(&origin, json!({})), &[], &[]);
    assert_ne!(gateway.public, address);
    assert_eq!(fetch(gateway.public, "/").status, 200);
}

#[test]
fn a_listener_that_cannot_be_bound_stops_the_start() {
    let origin = Origin::json("{}");
    let (taken, address, _) = socket(&origin);
    for (listener, admin, reason) in [
        (address, "127.0.0.1:0", format!("cannot listen on {address}: another process listens there")),
        (SocketAddr::from(([127, 0, 0, 1], 0)), &*address.to_string(), format!("cannot listen on {address}: another")),
        (
            SocketAddr::from(([203, 0, 113, 1], 80)),
            "127.0.0.1:0",
            "cannot listen on 203.0.113.1:80: it is no address of this machine".to_owned(),
        ),
    ] {
        let listeners = json!([{"address": "127.0.0.1:0"}, {"address": listener.to_string()}]);
        let file = open_to_all(&origin, json!({"listeners": listeners, "admin": {"address": admin}}));
        let mut command = program();
        command.arg("run").stdin(Stdio::null());
        let output = refused(command, &file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(&reason), "{reason}: {said}");
    }
    drop(taken);
}
