//! Limits, through sockets: they are exact under any number of connections, over reloads and after aborts.
//!
//! Periods are an hour or a day, so that nothing is refilled while a test runs. Requests of a storm are pipelined on
//! many connections and sent at the same moment.

mod adversary;
mod shape;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;

use serde_json::{Value, json};
use tollgate::policy::limit::{Claim, Clock, Limit, Limiter, Subject};

use crate::process::instance::{Instance, config, consumer, eventually};
use crate::support::client::{Client, ask, request};
use crate::support::origin::{Origin, Reply};

/// One way to limit, and what it must let through.
struct Row {
    /// Where the requests go.
    path: &'static str,
    /// Header fields of a subject's requests.
    fields: fn(usize) -> Vec<(&'static str, String)>,
    /// For how many subjects it counts separately.
    subjects: usize,
    /// How many requests of one subject pass.
    each: usize,
}

const ROWS: [Row; 6] = [
    Row { path: "/total", fields: |_| vec![("x-api-key", "key-total".to_owned())], subjects: 1, each: 100 },
    Row { path: "/each", fields: |_| vec![("x-api-key", "key-each".to_owned())], subjects: 1, each: 100 },
    Row { path: "/route", fields: |_| vec![], subjects: 1, each: 100 },
    Row {
        path: "/address",
        fields: |subject| vec![("x-forwarded-for", format!("192.0.2.{subject}"))],
        subjects: 10,
        each: 10,
    },
    Row { path: "/header", fields: |subject| vec![("x-tenant", format!("tenant-{subject}"))], subjects: 10, each: 10 },
    Row {
        path: "/consumer",
        fields: |subject| vec![("x-api-key", format!("key-free-{subject}"))],
        subjects: 10,
        each: 10,
    },
];

/// Every way to limit, each on a route of its own. `note` differs from one reload to the next.
fn every_way(origin: SocketAddr, note: usize) -> Value {
    let route = |name: &str, auth: Value, rate: &str, by: &str| {
        let limits = if by.is_empty() { json!([]) } else { json!([{"rate": rate, "by": by}]) };
        json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin",
               "service_path": "/", "auth": auth, "limits": limits})
    };
    let mut consumers = json!({"total": consumer("total", "total"), "each": consumer("each", "each")});
    for number in 0..10 {
        consumers[format!("free-{number}")] = consumer(&format!("free-{number}"), "free");
    }
    let public = || json!("public");
    let key = || json!(["key"]);
    let mut unrelated = route("unrelated", public(), "", "");
    unrelated["response_headers"] = json!({"set": {"x-note": note.to_string()}});
    config(
        origin,
        json!({
            "trusted_proxies": ["127.0.0.1/32"],
            "access_log": {"path": "off"},
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"total": {"total": "100/hour"}, "each": {"each_route": "100/hour"}, "free": {}},
            "consumers": consumers,
            "routes": [
                route("total", key(), "", ""),
                route("each", key(), "", ""),
                route("route", public(), "100/hour", "route"),
                route("address", public(), "10/hour", "client_ip"),
                route("header", public(), "10/hour", "header:x-tenant"),
                route("consumer", key(), "10/hour", "consumer"),
                unrelated,
            ],
        }),
    )
}

const CONNECTIONS: usize = 50;
const BATCH: usize = 20;

/// How many requests of each subject passed. Every connection sends batches until `done`, one at least.
fn storm(address: SocketAddr, row: &Row, done: &AtomicBool) -> HashMap<usize, usize> {
    let begin = Barrier::new(CONNECTIONS);
    let connection = |number: usize| {
        let mut client = Client::connect(address);
        let subject = |turn: usize| (number + turn) % row.subjects;
        let batch: Vec<u8> = (0..BATCH)
            .flat_map(|turn| {
                let fields = (row.fields)(subject(turn));
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                request("GET", row.path, &fields, b"")
            })
            .collect();
        let mut passed = Vec::new();
        begin.wait();
        loop {
            let last = done.load(Ordering::Relaxed);
            client.send(&batch);
            for turn in 0..BATCH {
                match client.response().expect("every request is answered").status {
                    200 => passed.push(subject(turn)),
                    status => assert_eq!(status, 429),
                }
            }
            if last {
                return passed;
            }
        }
    };
    let mut passed = HashMap::new();
    thread::scope(|scope| {
        let connection = &connection;
        let connections: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || connection(number))).collect();
        for subject in connections.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *passed.entry(subject).or_default() += 1;
        }
    });
    passed
}

fn exactly(row: &Row) -> HashMap<usize, usize> {
    (0..row.subjects).map(|subject| (subject, row.each)).collect()
}

#[test]
fn of_a_thousand_concurrent_requests_exactly_as_many_pass_as_the_limit_says() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&every_way(origin.address(), 0));
    for row in &ROWS {
        let passed = storm(gateway.public, row, &AtomicBool::new(true));
        assert_eq!(passed, exactly(row), "{}", row.path);
        assert_eq!(origin.take().len(), 100, "{}: the service sees those that pass and no other", row.path);
    }
}

#[test]
fn reloads_during_a_storm_let_no_further_request_through() {
    const RELOADS: usize = 50;
    let origin = Origin::json("{}");
    let gateway = Instance::start(&every_way(origin.address(), 0));
    for (number, row) in ROWS.iter().enumerate() {
        let done = AtomicBool::new(false);
        let passed = thread::scope(|scope| {
            scope.spawn(|| {
                for note in 1..=RELOADS {
                    let answer = gateway.reload(&every_way(origin.address(), number * RELOADS + note));
                    assert_eq!(answer["result"], "published", "{answer}");
                }
                done.store(true, Ordering::Relaxed);
            });
            storm(gateway.public, row, &done)
        });
        assert_eq!(passed, exactly(row), "{}", row.path);
    }
    assert_eq!(gateway.metric("tollgate_config_generation"), Some((1 + ROWS.len() * RELOADS) as f64));
}

/// A service that holds its requests until it is opened, and knows how many there were at once.
#[derive(Default)]
pub struct Gate {
    state: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    open: bool,
    now: usize,
    most: usize,
}

impl Gate {
    /// Holds a request.
    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.now += 1;
        state.most = state.most.max(state.now);
        state = self.changed.wait_while(state, |state| !state.open).unwrap();
        state.now -= 1;
    }

    /// Lets all go on.
    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }

    /// How many are inside.
    pub fn now(&self) -> usize {
        self.state.lock().unwrap().now
    }

    /// How many were inside at once.
    pub fn most(&self) -> usize {
        self.state.lock().unwrap().most
    }
}

/// A gateway that lets one consumer have `max` requests in flight, before a gate.
fn gated(max: u32) -> (Instance, Arc<Gate>, Origin) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        held.pass();
        Reply::json(200, "{}")
    });
    let gateway = Instance::start(&config(
        origin.address(),
        json!({
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"free": {"concurrency": max}},
            "consumers": {"alice": consumer("alice", "free")},
            "defaults": {"auth": ["key"]},
            "routes": [{"name": "slow", "method": "GET", "gateway_path": "/slow", "service": "origin"}],
        }),
    ));
    (gateway, gate, origin)
}

fn slow() -> Vec<u8> {
    request("GET", "/slow", &[("x-api-key", "key-alice")], b"")
}

#[test]
fn no_more_are_in_flight_than_the_plan_allows_and_each_place_is_used_again() {
    let (gateway, gate, _origin) = gated(5);
    let address = gateway.public;
    let (answers, answered) = mpsc::channel();
    for _ in 0..50 {
        let answers = answers.clone();
        thread::spawn(move || answers.send(ask(address, &slow()).status));
    }
    let refused: Vec<u16> = answered.iter().take(45).collect();
    assert!(refused.iter().all(|status| *status == 429), "{refused:?}");
    assert!(eventually(|| gate.now() == 5));
    gate.open();
    let passed: Vec<u16> = answered.iter().take(5).collect();
    assert_eq!(passed, [200; 5]);

    for _ in 0..200 {
        assert_eq!(ask(address, &slow()).status, 200, "one after the other, all places are free");
    }
    let statuses: Vec<u16> = thread::scope(|scope| {
        let client = || {
            let mut client = Client::connect(address);
            (0..50).map(|_| client.ask(&slow()).unwrap().status).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(statuses.contains(&200) && statuses.iter().all(|status| matches!(status, 200 | 429)));
    assert_eq!(gate.most(), 5);
}

#[test]
fn the_place_of_a_client_that_left_is_free_again() {
    let (gateway, gate, _origin) = gated(5);
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(gateway.public)).collect();
    clients.iter_mut().for_each(|client| client.send(&slow()));
    assert!(eventually(|| gate.now() == 5));
    assert_eq!(ask(gateway.public, &slow()).status, 429);
    drop(clients);
    assert!(eventually(|| gateway.metric("tollgate_requests_in_flight") == Some(0.0)));
    let mut client = Client::connect(gateway.public);
    client.send(&slow());
    assert!(eventually(|| gate.now() == 6), "the service still holds the five, and gets the sixth");
    gate.open();
    assert_eq!(client.response().unwrap().status, 200);
}

#[test]
fn none_of_five_thousand_consumers_within_their_limit_is_refused() {
    const CONSUMERS: usize = 5_000;
    const CONNECTIONS: usize = 10;
    let origin = Origin::json("{}");
    let consumers: serde_json::Map<_, _> =
        (0..CONSUMERS).map(|number| (format!("c{number}"), consumer(&format!("c{number}"), "free"))).collect();
    let gateway = Instance::start(&config(
        origin.address(),
        json!({
            "access_log": {"path": "off"},
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"free": {"each_route": "2/hour", "total": "2/day"}},
            "consumers": consumers,
            "defaults": {"auth": ["key"]},
            "routes": [{"name": "a", "method": "GET", "gateway_path": "/a", "service": "origin"}],
        }),
    ));
    let statuses = |first: usize, turns: usize| {
        let mut client = Client::connect(gateway.public);
        let mut statuses = Vec::new();
        let numbers: Vec<usize> = (first..CONSUMERS).step_by(CONNECTIONS).collect();
        for batch in numbers.chunks(25) {
            let ask = |number: &usize| request("GET", "/a", &[("x-api-key", &format!("key-c{number}"))], b"");
            for _ in 0..turns {
                client.send(&batch.iter().flat_map(ask).collect::<Vec<u8>>());
                statuses.extend(batch.iter().map(|_| client.response().unwrap().status));
            }
        }
        statuses
    };
    for (turns, wanted) in [(2, 200), (1, 429)] {
        let all: Vec<u16> = thread::scope(|scope| {
            let statuses = &statuses;
            let clients: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || statuses(number, turns))).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(all.len(), CONSUMERS * turns);
        assert!(all.iter().all(|status| *status == wanted), "not all answers are {wanted}");
    }
}

#[test]
fn none_of_a_hundred_thousand_subjects_within_their_limit_is_refused() {
    let hour = std::time::Duration::from_secs(3600);
    let limit = Limit::rate("plan/free/total/hour", "total-hour", 2, hour, 2).unwrap();
    let (limiter, clock) = (Limiter::new(), Clock::start());
    for (round, passes) in [(1, true), (2, true), (3, false)] {
        for number in 0..100_000 {
            let claim = Claim { limit: &limit, subject: Subject::consumer(&format!("c{number}")), cost: 1 };
            let granted = limiter.decide(&[claim], clock.now()).unwrap().is_ok();
            assert_eq!(granted, passes, "consumer {number}, request {round}");
        }
    }
    assert_eq!(limiter.statistics().overflow_hits, 0);
}
