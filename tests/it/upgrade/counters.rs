//! Limits over upgrades: what one process has counted the next one goes on from, and nobody is counted twice, also
//! while both serve.
//!
//! Rates refill by one in an hour and days begin at noon, so that neither gives anything back while a test runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::limits::Gate;
use crate::process::instance::consumer;
use crate::quotas::noon;
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
        if request.path() == "/held" { held.pass() } else { seen.enter() }
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
    thread::scope(|scope| {
        let holding: Vec<_> = (0..PLACES).map(|_| scope.spawn(ask_held)).collect();
        assert!(eventually(|| gate.now() == PLACES), "{} of {PLACES}\n{}", gate.now(), line.log());
        assert_eq!(ask_held(), 429);
        // What the old process holds counts in the new one, and is free when it is done there.
        assert_eq!(said(&line.upgrade()).0, Some(0), "{}", line.log());
        assert_eq!(ask_held(), 429);
        gate.open();
        holding.into_iter().for_each(|held| assert_eq!(held.join().unwrap(), 200));
    });
    assert!(eventually(|| fetch_with(public, "/short", &[KEY]).status == 200));
}

fn fetch_with(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> crate::support::client::Response {
    crate::support::client::ask(address, &request("GET", path, fields, b""))
}
