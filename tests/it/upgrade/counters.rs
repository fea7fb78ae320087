//! Limits over upgrades: what one process has counted the next one goes on from, and nobody is counted twice, also
//! while both serve.
//!
//! Rates refill by one in an hour and days begin at noon, so that neither gives anything back while a test runs. Where
//! a new process has to fail at a certain moment, this very program stands in for it ([`stands_in`]).

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::limits::Gate;
use crate::process::instance::consumer;
use crate::quotas::{noon, stored};
use crate::support::origin::Reply;

/// What each limit lets through over all upgrades.
const LIMIT: u64 = 3_300;
const UPGRADES: u64 = 10;

/// One way to send requests. Each returns what was answered until the server ended the connection or the turn is over.
#[derive(Clone, Copy, Debug)]
enum Manner {
    KeepAlive,
    Closing,
    Pipelined,
}

const MANNERS: [Manner; 3] = [Manner::KeepAlive, Manner::Closing, Manner::Pipelined];

/// Requests that were answered, by path.
#[derive(Default)]
struct Tally {
    passed: AtomicU64,
    refused: AtomicU64,
    /// No more than this pass until the next turn.
    allowed: AtomicU64,
}

impl Tally {
    fn note(&self, status: u16) {
        match status {
            200 => self.passed.fetch_add(1, Ordering::SeqCst),
            429 => self.refused.fetch_add(1, Ordering::SeqCst),
            other => panic!("status {other}"),
        };
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Sends requests until one is refused, and no more than a turn allows.
    fn load(&self, manner: Manner, public: SocketAddr, path: &str) {
        let fields: &[(&str, &str)] = if let Manner::Closing = manner { &[("connection", "close")] } else { &[] };
        let one = request("GET", path, fields, b"");
        let batch = if let Manner::Pipelined = manner { 4 } else { 1 };
        let mut client = Client::connect(public);
        while self.refused.load(Ordering::SeqCst) == 0 {
            if self.passed() >= self.allowed.load(Ordering::SeqCst) {
                thread::yield_now();
                continue;
            }
            client.send(&one.repeat(batch));
            for _ in 0..batch {
                let answer = client.response().unwrap_or_else(|failed| panic!("{manner:?} {path}: {failed}"));
                self.note(answer.status);
                if answer.value("connection") == Some("close") {
                    client = Client::connect(public);
                    break;
                }
            }
        }
    }
}

fn limited(name: &str, rate: &str) -> Value {
    json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin", "auth": "public",
           "limits": [{"rate": rate, "by": "route"}]})
}

fn sections(store: bool) -> Value {
    let mut sections = json!({
        "timezone": noon(),
        "routes": [limited("rate", &format!("1/hour burst {LIMIT}")), limited("quota", &format!("{LIMIT}/day"))],
    });
    if store {
        sections["store"] = json!({"path": "tollgate.db"});
    }
    sections
}

fn rates_and_quotas_are_exact(store: bool) {
    // Slow enough for every turn to see some.
    let origin = Origin::start(|_| {
        thread::sleep(Duration::from_millis(3));
        Reply::json(200, "{}")
    });
    let mut line = Line::start(&origin, sections(store));
    let public = line.public;
    let tallies = [("/rate", Tally::default()), ("/quota", Tally::default())];
    thread::scope(|scope| {
        for (path, tally) in &tallies {
            MANNERS.iter().for_each(|manner| _ = scope.spawn(|| tally.load(*manner, public, path)));
        }
        for turn in 1..=UPGRADES {
            let before: Vec<u64> = tallies.iter().map(|(_, tally)| tally.passed()).collect();
            tallies.iter().for_each(|(_, tally)| tally.allowed.store(turn * LIMIT / (UPGRADES + 1), Ordering::SeqCst));
            let goes_on = || tallies.iter().zip(&before).all(|((_, tally), before)| tally.passed() > *before + 20);
            assert!(eventually(goes_on), "no load in turn {turn}");
            let (code, said) = said(&line.upgrade());
            assert_eq!(code, Some(0), "{said}\n{}", line.log());
        }
        tallies.iter().for_each(|(_, tally)| tally.allowed.store(u64::MAX, Ordering::SeqCst));
    });
    for (path, tally) in &tallies {
        assert_eq!(tally.passed(), LIMIT, "{path}, store: {store}\n{}", line.log());
        assert_eq!(fetch(public, path).status, 429, "{path}");
    }
    assert!(!line.log().contains("begin anew"), "{}", line.log());
    if store {
        assert!(eventually(|| stored(&line.at("tollgate.db")) == LIMIT), "{}", stored(&line.at("tollgate.db")));
    }
}

#[test]
fn rates_and_quotas_are_exact_over_upgrades_under_load() {
    rates_and_quotas_are_exact(false);
}

#[test]
fn with_a_store_they_are_exact_and_nothing_is_saved_twice() {
    rates_and_quotas_are_exact(true);
}

/// How many requests a service has at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    fn enter(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(3));
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn places(max: usize) -> Value {
    json!({
        "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
        "plans": {"free": {"concurrency": max}},
        "consumers": {"alice": consumer("alice", "free")},
        "routes": [{"name": "places", "method": "GET", "gateway_path": "/{*rest}", "service": "origin", "auth": ["key"]}],
    })
}

const KEY: (&str, &str) = ("x-api-key", "key-alice");

#[test]
fn never_more_than_the_places_are_in_flight_over_upgrades() {
    const PLACES: usize = 4;
    let (crowd, gate) = (Arc::new(Crowd::default()), Arc::new(Gate::default()));
    let (seen, held) = (Arc::clone(&crowd), Arc::clone(&gate));
    let origin = Origin::start(move |request| {
        if request.path() == "/held" {
            held.pass()
        } else {
            seen.enter()
        }
        Reply::json(200, "{}")
    });
    let mut line = Line::start(&origin, places(PLACES));
    let (public, done, passed) = (line.public, AtomicBool::new(false), AtomicU64::new(0));
    let ask_until_done = |fields: &[(&str, &str)]| {
        let (bytes, mut client) = (request("GET", "/short", fields, b""), Client::connect(public));
        while !done.load(Ordering::Relaxed) {
            let answer = client.ask(&bytes).unwrap_or_else(|failed| panic!("{fields:?}: {failed}"));
            assert!(matches!(answer.status, 200 | 429), "{answer:?}");
            passed.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
            if answer.value("connection") == Some("close") {
                client = Client::connect(public);
            }
        }
    };
    thread::scope(|scope| {
        let ask = &ask_until_done;
        let clients: Vec<_> = (0..4)
            .flat_map(|_| [scope.spawn(move || ask(&[KEY])), scope.spawn(move || ask(&[KEY, ("connection", "close")]))])
            .collect();
        for turn in 0..UPGRADES {
            let before = passed.load(Ordering::Relaxed);
            assert!(eventually(|| passed.load(Ordering::Relaxed) > before + 50), "no load in turn {turn}");
            let (code, said) = said(&line.upgrade());
            assert_eq!(code, Some(0), "{said}\n{}", line.log());
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("a client without a failure"));
    });
    assert_eq!(crowd.most.load(Ordering::SeqCst), PLACES, "{}", line.log());
    // As many as were ever held are free again, in the process that serves now.
    let ask_held = || fetch_with(public, "/held", &[KEY]).status;
    // A place is free a moment after the answer.
    let hold = || eventually(|| ask_held() == 200);
    thread::scope(|scope| {
        let holding: Vec<_> = (0..PLACES).map(|_| scope.spawn(hold)).collect();
        assert!(eventually(|| gate.now() == PLACES), "{} of {PLACES}\n{}", gate.now(), line.log());
        assert_eq!(ask_held(), 429);
        // What the old process holds counts in the new one, and is free when it is done there.
        assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
        assert_eq!(ask_held(), 429);
        gate.open();
        holding.into_iter().for_each(|held| assert!(held.join().unwrap()));
    });
    assert!(eventually(|| fetch_with(public, "/short", &[KEY]).status == 200));
}

fn fetch_with(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> crate::support::client::Response {
    crate::support::client::ask(address, &request("GET", path, fields, b""))
}

/// A variable that says how a stand-in fails, and one that says where the process before is.
const FAILS: &str = "TOLLGATE_TEST_FAILS";
const SOCKET: &str = "TOLLGATE_TEST_SOCKET";

/// No test unless it is told so: then it is the new process, takes the counters, and fails.
#[test]
fn stands_in() {
    let (Ok(fails), Ok(socket)) = (std::env::var(FAILS), std::env::var(SOCKET)) else { return };
    let mut takeover = tollgate::server::upgrade::Takeover::begin(Path::new(&socket)).expect("take over");
    if fails == "to ask" {
        takeover.finish().expect("the process before leaves");
        return;
    }
    let (mut stream, came) = takeover.counters().expect("counters are offered").begin().expect("they are given");
    let mut all = came;
    match &*fails {
        // The first shards have moved by then, or all.
        "at once" => std::process::abort(),
        "silently" => _ = stream.read_to_end(&mut all),
        other => panic!("fails {other}"),
    }
}

fn stand_in(line: &Line, fails: &str) {
    let (program, socket) = (std::env::current_exe().expect("a name"), line.at("run/upgrade.sock"));
    let script = format!(
        "#!/bin/sh\n{FAILS}='{fails}' {SOCKET}='{}' exec '{}' upgrade::counters::stands_in --exact --nocapture\n",
        socket.display(),
        program.display()
    );
    let path = line.at("script");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    install(&path, &line.at("tollgate"));
}

/// What is left of the one limit.
fn left(answer: &crate::support::client::Response) -> u64 {
    let told = answer.value("ratelimit").expect("there is a limit");
    let left = told.split(";r=").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok());
    left.unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn a_new_process_that_fails_with_the_counters_leaves_them_to_the_old_one() {
    let origin = Origin::json("{}");
    let mut line = Line::start(&origin, json!({"routes": [limited("rate", "1/hour burst 1000000")]}));
    let (public, first) = (line.public, line.pid);
    let mut sent = 0;
    for fails in ["at once", "silently", "at once"] {
        stand_in(&line, fails);
        let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut client = Client::connect(public);
                    while !done.load(Ordering::Relaxed) {
                        let answer = client.ask(&request("GET", "/rate", &[], b"")).expect("an answer");
                        assert_eq!(answer.status, 200, "{fails}");
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            assert!(eventually(|| asked.load(Ordering::Relaxed) > 50), "no load");
            let (code, text) = said(&line.upgrade());
            done.store(true, Ordering::Relaxed);
            assert_eq!(code, Some(1), "{fails}: {text}");
            assert!(text.contains("the running process goes on"), "{fails}: {text}");
        });
        assert!(line.log().contains("upgrade: process"), "{}", line.log());
        sent += asked.into_inner() + 1;
        assert_eq!(left(&fetch(public, "/rate")), 1_000_000 - sent, "{fails}\n{}", line.log());
    }
    install(Path::new(program().get_program()), &line.at("tollgate"));
    assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
    assert_ne!(line.pid, first);
    assert_eq!(left(&fetch(public, "/rate")), 1_000_000 - sent - 1, "{}", line.log());
}

#[test]
fn the_old_process_goes_on_by_what_it_knows_when_the_new_one_is_killed() {
    const CONNECTIONS: u64 = 6;
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |request| {
        if request.path() == "/held" {
            held.pass();
        }
        Reply::json(200, "{}")
    });
    let mut sections = places(1000);
    sections["plans"] = json!({"free": {"total": "1/hour burst 100"}});
    let mut line = Line::start(&origin, sections);
    let ask = |client: &mut Client| client.ask(&request("GET", "/", &[KEY], b"")).expect("an answer");
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(line.public)).collect();
    for (number, client) in (1..).zip(&mut clients) {
        assert_eq!(left(&ask(client)), 100 - number);
    }
    // It holds the old process, on which the connections stay open for half of the drain.
    thread::scope(|scope| {
        let public = line.public;
        let holding = scope.spawn(move || fetch_with(public, "/held", &[KEY]).status);
        assert!(eventually(|| gate.now() == 1));
        let old = line.pid;
        assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
        let mut used = CONNECTIONS + 1;
        for client in &mut clients[..2] {
            used += 1;
            assert_eq!(left(&ask(client)), 100 - used, "asked of the new process\n{}", line.log());
            used += 1;
            assert_eq!(left(&fetch_with(public, "/", &[KEY])), 100 - used, "by the new process\n{}", line.log());
        }
        let killed = Command::new("kill").arg("-KILL").arg(line.pid.to_string()).status();
        assert!(killed.is_ok_and(|status| status.success()));
        // The two of the new process are gone with it.
        used -= 2;
        for client in &mut clients[2..] {
            used += 1;
            assert_eq!(left(&ask(client)), 100 - used, "{}", line.log());
        }
        assert!(Line::is_alive(old));
        gate.open();
        assert_eq!(holding.join().unwrap(), 200);
    });
}

#[test]
fn what_is_used_stays_used_when_an_upgrade_changes_the_number() {
    let origin = Origin::json("{}");
    let with = |rate: &str| json!({"timezone": noon(), "routes": [limited("limited", rate)]});
    for (before, after, expected) in [
        ("100/hour", "200/hour", 190),
        ("200/hour", "100/hour", 90),
        ("100/day", "50/day", 40),
        ("100/day", "200/day", 190),
        ("100/hour", "100/day", 100),
    ] {
        let mut line = Line::start(&origin, with(before));
        (0..10).for_each(|_| assert_eq!(fetch(line.public, "/limited").status, 200));
        write(&line.folder, &origin, with(after));
        let old = line.pid;
        assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
        assert!(eventually(|| !Line::is_alive(old)), "{}", line.log());
        assert_eq!(left(&fetch(line.public, "/limited")), expected - 1, "{before} becomes {after}");
    }
}

#[test]
fn a_new_process_that_knows_nothing_of_counters_takes_over_nevertheless() {
    let origin = Origin::json("{}");
    let mut line = Line::start(&origin, json!({"routes": [limited("rate", "100/hour")]}));
    let old = line.pid;
    stand_in(&line, "to ask");
    let (code, text) = said(&line.upgrade());
    assert_eq!(code, Some(0), "{text}\n{}", line.log());
    assert!(eventually(|| line.log().contains("did not take the counters of limits over")), "{}", line.log());
    assert!(eventually(|| !Line::is_alive(old)), "{}", line.log());
}
