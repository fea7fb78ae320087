//! Upgrades and reloads again and again, under clients of every kind: no request fails, and limits admit exactly what
//! they should through it all.
//!
//! `TOLLGATE_TEST_REQUESTS` says how many requests have to be answered at least; the default keeps the run short.

use std::env;
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::support::client::Response;

const UPGRADES: usize = 10;
const RELOADS: usize = 100;

/// How long the service thinks about `/thinking`.
const THOUGHT: Duration = Duration::from_secs(2);

/// What slow clients wait between two pieces.
const PAUSE: Duration = Duration::from_millis(30);

/// How many requests a pipelining client sends at once.
const PIPELINED: usize = 8;

/// What a client does, again and again until the end.
type Habit = fn(&Load);

/// The clients, and what came of their requests.
struct Load {
    public: SocketAddr,
    over: AtomicBool,
    answered: AtomicU64,
    /// Requests of limited paths that passed, and that were refused.
    rate: [AtomicU64; 2],
    quota: [AtomicU64; 2],
}

impl Load {
    fn connect(&self) -> Client {
        Client::connect(self.public)
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Asks until the gateway closes the connection or the end has come.
    fn ask_on_one_connection(&self, bytes: &[u8], as_expected: impl Fn(&Response)) {
        let (mut client, mut answers) = (self.connect(), 0);
        while self.goes_on() {
            let answer = client.ask(bytes).unwrap_or_else(|failed| {
                panic!("{}: {failed:?} after {answers} answers", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))
            });
            as_expected(&answer);
            assert!(!answer.cut, "{answer:?}");
            answers += 1;
            self.answered.fetch_add(1, Ordering::Relaxed);
            if answer.value("connection") == Some("close") {
                break;
            }
        }
    }

    fn spend(&self, path: &str, [passed, refused]: &[AtomicU64; 2]) {
        self.ask_on_one_connection(&request("GET", path, &[], b""), |answer| match answer.status {
            200 => drop(passed.fetch_add(1, Ordering::Relaxed)),
            429 => {
                refused.fetch_add(1, Ordering::Relaxed);
                // Whoever is refused need not hurry.
                thread::sleep(PAUSE);
            }
            other => panic!("{path}: {other}"),
        })
    }
}

fn is_fine(answer: &Response) {
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn keeps_alive(load: &Load) {
    load.ask_on_one_connection(&request("GET", "/quick", &[], b""), is_fine)
}

fn closes(load: &Load) {
    load.ask_on_one_connection(&request("GET", "/quick", &[("connection", "close")], b""), is_fine)
}

fn waits(load: &Load) {
    load.ask_on_one_connection(&request("GET", "/thinking", &[], b""), is_fine)
}

fn uploads(load: &Load) {
    load.ask_on_one_connection(&request("POST", "/quick", &[("content-type", "text/plain")], &[b'x'; 300_000]), is_fine)
}

/// Sends header and body in pieces over half a second.
fn uploads_slowly(load: &Load) {
    let bytes = request("POST", "/quick", &[("content-type", "text/plain")], &[b'x'; 2_000]);
    let mut client = load.connect();
    for piece in bytes.chunks(bytes.len() / 16) {
        client.send(piece);
        thread::sleep(PAUSE);
    }
    let answer = client.response().expect("an answer to a slow upload");
    is_fine(&answer);
    load.answered.fetch_add(1, Ordering::Relaxed);
}

/// Reads a long answer so slowly that it does not fit into the sockets' buffers.
fn reads_slowly(load: &Load) {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(load.public).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a read timeout");
    stream.write_all(&request("GET", "/long", &[("connection", "close")], b"")).expect("send");
    let (mut piece, mut read) = (vec![0; 512 * 1024], 0);
    loop {
        match stream.read(&mut piece).expect("a piece of a long answer") {
            0 => break,
            count => read += count,
        }
        thread::sleep(PAUSE / 3);
    }
    assert!(read > LONG, "a long answer was cut after {read} bytes");
    load.answered.fetch_add(1, Ordering::Relaxed);
}

/// Sends several requests at once. What stands behind an answer that closes the connection was not looked at.
fn pipelines(load: &Load) {
    let bytes = request("GET", "/quick", &[], b"").repeat(PIPELINED);
    let mut client = load.connect();
    while load.goes_on() {
        client.send(&bytes);
        for number in 0..PIPELINED {
            let answer = client.response().unwrap_or_else(|failed| panic!("pipelined {number}: {failed:?}"));
            is_fine(&answer);
            load.answered.fetch_add(1, Ordering::Relaxed);
            if answer.value("connection") == Some("close") {
                return;
            }
        }
    }
}

fn spends_the_rate(load: &Load) {
    load.spend("/rate", &load.rate)
}

fn spends_the_quota(load: &Load) {
    load.spend("/quota", &load.quota)
}

const HABITS: [(Habit, usize); 9] = [
    (keeps_alive, 4),
    (closes, 2),
    (waits, 4),
    (uploads, 1),
    (uploads_slowly, 2),
    (reads_slowly, 1),
    (pipelines, 2),
    (spends_the_rate, 2),
    (spends_the_quota, 2),
];

/// Length of a long answer.
const LONG: usize = 8 * 1024 * 1024;

fn service(request: &Recorded) -> Reply {
    match request.path() {
        "/thinking" => thread::sleep(THOUGHT),
        "/long" => return Reply::json(200, &format!("\"{}\"", "x".repeat(LONG))),
        _ => {}
    }
    Reply::json(200, "{}")
}

/// The configuration, with something in it that tells one version from another.
fn sections(version: usize) -> Value {
    let limited = |name: &str, rate: String| {
        json!({
            "name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin", "auth": "public",
            "limits": [{"rate": rate, "by": "route"}],
        })
    };
    json!({
        "drain": {"timeout": "20s"},
        "routes": [
            {
                "name": "all", "methods": ["GET", "POST"], "gateway_path": "/{*rest}", "service": "origin", "body": "any",
                "auth": "public", "response_headers": {"set": {"x-version": version.to_string()}},
            },
            limited("rate", format!("1/hour burst {}", admitted())),
            limited("quota", format!("{}/month", admitted())),
        ],
    })
}

/// Requests that have to be answered at least.
fn wanted() -> u64 {
    match env::var("TOLLGATE_TEST_REQUESTS") {
        Ok(text) => text.parse().expect("TOLLGATE_TEST_REQUESTS is a number"),
        Err(_) => 15_000,
    }
}

/// How many requests pass each of the two limits: fewer than are tried.
fn admitted() -> u64 {
    wanted() / 30
}

/// Reloads and upgrades, with bad files and programs among them.
fn operate(line: &mut Line, origin: &Origin, load: &Load) {
    let genuine = program().get_program().to_owned();
    let share = wanted() / RELOADS as u64;
    for turn in 1..=RELOADS {
        let due = share * turn as u64;
        // A reload takes as long as its share of the requests, so that all of them meet the load.
        while load.answered.load(Ordering::Relaxed) < due && load.goes_on() {
            thread::sleep(PAUSE / 10);
            origin.take();
        }
        write(&line.folder, origin, sections(turn));
        let (code, text) = line.reload();
        assert_eq!(code, Some(0), "reload {turn}: {text}\n{}", line.log());
        assert_eq!(fetch(line.public, "/quick").value("x-version"), Some(&*turn.to_string()));
        if turn % (RELOADS / UPGRADES) == 0 {
            let (code, text) = said(&line.upgrade());
            assert_eq!(code, Some(0), "upgrade after reload {turn}: {text}\n{}", line.log());
        }
        if turn == RELOADS / 2 {
            fs::write(line.at("tollgate.yaml"), "version: 1\nroutes: nonsense\n").expect("write");
            assert_eq!(line.reload().0, Some(1));
            assert_eq!(line.upgrade_at_socket().0, Some(1));
            write(&line.folder, origin, sections(turn));
            fs::write(line.at("script"), "no program").expect("write");
            install(&line.at("script"), &line.at("tollgate"));
            assert_eq!(line.upgrade_at_socket().0, Some(1));
            install(Path::new(&genuine), &line.at("tollgate"));
        }
    }
}

#[test]
fn no_request_fails_through_ten_upgrades_and_a_hundred_reloads() {
    let origin = Origin::start(service);
    let mut line = Line::start(&origin, sections(0));
    let first = line.pid;
    let load = Load {
        public: line.public,
        over: AtomicBool::default(),
        answered: AtomicU64::default(),
        rate: Default::default(),
        quota: Default::default(),
    };
    let begun = Instant::now();
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for (habit, how_many) in HABITS {
            for _ in 0..how_many {
                let load = &load;
                clients.push(scope.spawn(move || {
                    // Also when it panics, so that the others do not go on without end.
                    let _over = Over(load);
                    while load.goes_on() {
                        habit(load);
                    }
                }));
            }
        }
        let over = Over(&load);
        operate(&mut line, &origin, &load);
        drop(over);
        let failed = clients.into_iter().filter_map(|client| client.join().err()).count();
        assert_eq!(failed, 0, "clients failed; the gateways said:\n{}", line.log());
    });
    let answered = load.answered.load(Ordering::Relaxed);
    println!("{answered} requests in {:?}, {UPGRADES} upgrades, {RELOADS} reloads", begun.elapsed());
    assert!(answered >= wanted());
    for (name, limit) in [("rate", &load.rate), ("quota", &load.quota)] {
        let [passed, refused] = limit.each_ref().map(|count| count.load(Ordering::Relaxed));
        println!("{name}: {passed} passed, {refused} refused");
        assert!(passed == admitted() && refused > 0, "{name}: {passed} of {} passed, {refused} refused", admitted());
    }
    assert!(eventually(|| !Line::is_alive(first)));
    assert!(Line::is_alive(line.pid));
}

/// Ends the load when it is dropped.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}
