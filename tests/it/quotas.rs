//! Quotas that last: over restarts, over kills at random moments, over stores that cannot be written; and two gateways
//! on one store.
//!
//! Days begin in a time zone where it is about noon, so that none ends while a test runs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahash::RandomState;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::policy::limit::{Class, Tally};
use tollgate::store::Store;

use crate::process::instance::{Instance, config, consumer, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, Response, ask, request};
use crate::support::origin::Origin;

/// How often a gateway saves.
const SAVE_EVERY: Duration = Duration::from_millis(250);

/// What is promised of a save: it comes after [`SAVE_EVERY`] and the time of one write; and as much again for a machine
/// that is busy. On one that is busier, [`Witness`] says so. Another gateway knows of it after that time twice.
const BOUND: Duration = Duration::from_millis(600);

/// Does what a gateway does, on a store of its own: how long that takes on this machine at this time.
struct Witness {
    store: Store,
    stop: Receiver<()>,
}

impl Witness {
    fn new(shared: &Shared) -> (Self, Sender<()>) {
        let (sender, stop) = mpsc::channel();
        (Self { store: Store::open_or_create(&shared.folder.path().join("witness.db")).unwrap(), stop }, sender)
    }

    /// Saves until the sender is dropped; what can be promised of a save meanwhile.
    fn bound(mut self) -> Duration {
        let until = i64::MAX;
        let tally = Tally { class: Class::Consumer, limit: 1, low: 1, high: 1, until, used: 1 };
        let mut longest = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let goes_on = self.stop.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout);
            self.store.save(&[tally], DEADLINE, || 0).unwrap();
            longest = longest.max(begun.elapsed());
            if !goes_on {
                return BOUND.max(2 * longest);
            }
        }
    }
}

/// A folder with a store, which outlives the gateways on it.
struct Shared {
    origin: Origin,
    folder: TempDir,
}

impl Shared {
    fn new() -> Self {
        Self { origin: Origin::json("{}"), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tollgate.db")
    }

    /// Starts a gateway on the store: `/r` has a quota, on `/peek` every request but the first is refused by another
    /// limit and so tells of the quota without using it.
    fn start(&self, quota: u64) -> Instance {
        let route = |name: &str, limits: Value| {
            json!({"name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin",
                   "auth": ["key"], "limits": limits})
        };
        let sections = json!({
            "access_log": {"path": "off"},
            "timezone": noon(),
            "store": {"path": self.path()},
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "plans": {"free": {"total": [format!("{quota}/day"), "1000000/hour"]}},
            "consumers": {"alice": consumer("alice", "free")},
            "routes": [route("r", json!([])), route("peek", json!([{"rate": "1/hour", "by": "route"}]))],
        });
        Instance::start(&config(self.origin.address(), sections))
    }

    /// What the store says was used.
    fn stored(&self) -> u64 {
        stored(&self.path())
    }
}

/// What this store says was used.
pub fn stored(path: &Path) -> u64 {
    let mut used = 0;
    Store::open(path).unwrap().totals_since(0, |total| used += total.used).unwrap();
    used
}

/// A time zone in which it is between noon and one o'clock.
pub fn noon() -> String {
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 % 24;
    match hour {
        12 => "UTC".to_owned(),
        // The signs of these names are the wrong way round.
        0..12 => format!("Etc/GMT-{}", 12 - hour),
        _ => format!("Etc/GMT+{}", hour - 12),
    }
}

fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[("x-api-key", "key-alice")], b"")
}

/// What is left of this limit, as clients are told.
fn left(response: &Response, limit: &str) -> u64 {
    let told = response.value("ratelimit").expect("there are limits");
    let item = told.split(", ").find_map(|item| item.strip_prefix(&format!("\"{limit}\";r=")));
    item.and_then(|item| item.split(';').next()?.parse().ok()).unwrap_or_else(|| panic!("no {limit} in {told}"))
}

/// What is left of the quota.
fn peek(gateway: &Instance) -> u64 {
    left(&ask(gateway.public, &get("/peek")), "total-day")
}

/// What clients know of their requests.
#[derive(Default)]
struct Seen {
    sent: AtomicU64,
    /// When each answer came.
    passed: Mutex<Vec<Instant>>,
}

impl Seen {
    fn passed(&self) -> u64 {
        self.passed.lock().unwrap().len() as u64
    }

    /// How many answers had come by then.
    fn passed_by(&self, moment: Instant) -> u64 {
        self.passed.lock().unwrap().iter().filter(|at| **at <= moment).count() as u64
    }

    /// Sends one request after the other until the gateway says that the connection ends, or ends it.
    fn storm(&self, gateway: &Instance) {
        let mut client = Client::connect(gateway.public);
        loop {
            self.sent.fetch_add(1, Ordering::Relaxed);
            let Ok(response) = client.ask(&get("/r")) else { return };
            assert_eq!(response.status, 200, "{}", response.text());
            self.passed.lock().unwrap().push(Instant::now());
            if response.value("connection") == Some("close") {
                return;
            }
        }
    }
}

#[test]
fn a_restart_loses_nothing() {
    let (shared, seen, mut primed) = (Shared::new(), Seen::default(), 0);
    for round in 0..5 {
        let mut gateway = shared.start(1_000_000);
        let first = ask(gateway.public, &get("/peek"));
        primed += 1;
        assert_eq!(left(&first, "total-day"), 1_000_000 - primed - seen.passed(), "round {round}");
        assert_eq!(left(&first, "total-hour"), 1_000_000 - 1, "rates begin anew");
        let enough = seen.passed() + 50;
        thread::scope(|scope| {
            (0..3).for_each(|_| _ = scope.spawn(|| seen.storm(&gateway)));
            assert!(eventually(|| seen.passed() >= enough));
            gateway.signal("TERM");
        });
        assert!(gateway.ended(Duration::from_secs(30)).is_some_and(|status| status.success()), "{}", gateway.log());
        gateway.logged("quotas saved");
        assert_eq!(shared.stored(), primed + seen.passed(), "round {round}: {}", gateway.log());
    }
}

#[test]
fn fifty_kills_lose_no_more_than_is_stated_and_never_count_twice() {
    let (shared, random) = (Shared::new(), RandomState::new());
    let (mut before, mut lost, mut telling, mut bound) = (0, 0, 0, BOUND);
    for round in 0..50_u64 {
        let gateway = shared.start(1_000_000_000);
        // About half of the rounds are longer than the bound.
        let moment = bound.mul_f64((random.hash_one(round) % 2000) as f64 / 1000.0);
        let (seen, mut killed) = (Seen::default(), Instant::now());
        let (witness, stop) = Witness::new(&shared);
        bound = thread::scope(|scope| {
            let witness = scope.spawn(|| witness.bound());
            (0..3).for_each(|_| _ = scope.spawn(|| seen.storm(&gateway)));
            // No wait for anything: the moment of the kill is what varies.
            thread::sleep(moment);
            killed = Instant::now();
            gateway.signal("KILL");
            drop(stop);
            witness.join().unwrap()
        });
        let now = shared.stored();
        let safe = killed.checked_sub(bound).map_or(0, |moment| seen.passed_by(moment));
        let grown = now.checked_sub(before).expect("a counter never shrinks");
        let (passed, sent) = (seen.passed(), seen.sent.into_inner());
        assert!(grown <= sent, "round {round}, {moment:?}: {grown} were counted, {sent} were sent");
        assert!(grown >= safe, "round {round}, {moment:?}: {grown} were counted of {safe}, {bound:?} before");
        lost += passed.saturating_sub(grown);
        telling += u64::from(safe > 0);
        before = now;
    }
    assert!(telling >= 10, "only {telling} rounds were longer than the bound");
    assert!(lost > 0, "no kill came between two saves");
    let gateway = shared.start(1_000_000_000);
    assert_eq!(peek(&gateway), 1_000_000_000 - before - 1, "the next process goes on from what is stored");
}

#[test]
fn two_gateways_that_take_turns_admit_exactly_the_quota() {
    const QUOTA: u64 = 12;
    let shared = Shared::new();
    let gateways = [shared.start(QUOTA), shared.start(QUOTA)];
    let agree = |expected: u64| gateways.iter().all(|gateway| eventually(|| peek(gateway) == expected));
    // The first request on `/peek` passes.
    gateways.iter().for_each(|gateway| _ = peek(gateway));
    assert!(agree(QUOTA - 2));
    for turn in 2..QUOTA {
        let gateway = &gateways[usize::try_from(turn % 2).unwrap()];
        assert_eq!(ask(gateway.public, &get("/r")).status, 200, "turn {turn}");
        assert!(agree(QUOTA - turn - 1), "turn {turn}: {} and {}", gateways[0].log(), gateways[1].log());
    }
    for gateway in &gateways {
        assert_eq!(ask(gateway.public, &get("/r")).status, 429);
        assert!(!gateway.log().contains("keys of the store published"), "counters are no keys: {}", gateway.log());
    }
    assert_eq!(shared.stored(), QUOTA);
}

#[test]
fn two_gateways_at_once_exceed_a_quota_for_no_longer_than_is_stated() {
    const QUOTA: u64 = 5_000;
    let shared = Shared::new();
    let gateways = [shared.start(QUOTA), shared.start(QUOTA)];
    // When each request that passed was sent and answered.
    let passed: Mutex<Vec<(Instant, Instant)>> = Mutex::default();
    let client = |gateway: &Instance| {
        let (mut client, mut refused_since) = (Client::connect(gateway.public), None);
        while refused_since.is_none_or(|since: Instant| since.elapsed() < 3 * BOUND) {
            let sent = Instant::now();
            match client.ask(&get("/r")).unwrap().status {
                200 => passed.lock().unwrap().push((sent, Instant::now())),
                429 => _ = refused_since.get_or_insert(sent),
                other => panic!("{other}"),
            }
        }
    };
    let (witness, stop) = Witness::new(&shared);
    let bound = thread::scope(|scope| {
        let (client, witness) = (&client, scope.spawn(|| witness.bound()));
        let clients: Vec<_> =
            gateways.iter().cycle().take(6).map(|gateway| scope.spawn(move || client(gateway))).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        drop(stop);
        witness.join().unwrap()
    });
    let mut passed = passed.into_inner().unwrap();
    passed.sort_by_key(|(_, answered)| *answered);
    let used_up = passed[usize::try_from(QUOTA).unwrap() - 1].1;
    let late = passed.iter().filter(|(sent, _)| *sent > used_up + 2 * bound).count();
    assert_eq!(late, 0, "{} passed, some of them later than the bound", passed.len());
    assert!(passed.len() < 2 * QUOTA as usize, "each alone admits the quota");
    assert!(eventually(|| shared.stored() == passed.len() as u64), "{} of {}", shared.stored(), passed.len());
}

#[test]
fn while_the_store_cannot_be_written_requests_go_on_and_are_saved_later() {
    type Fault = fn(&Path) -> Box<dyn FnOnce()>;
    let faults: [(&str, Fault); 2] = [
        ("quotas cannot be saved: database is locked", |path| {
            let other = rusqlite::Connection::open(path).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            Box::new(move || other.execute_batch("ROLLBACK").unwrap())
        }),
        ("No such file or directory (os error 2); the keys known so far stay good, quotas count on", |path| {
            let (path, aside) = (path.to_owned(), path.with_extension("aside"));
            std::fs::rename(&path, &aside).unwrap();
            Box::new(move || std::fs::rename(aside, path).unwrap())
        }),
    ];
    for (said, begin) in faults {
        let shared = Shared::new();
        let gateway = shared.start(1_000);
        let mut used = 0;
        let mut use_some = || {
            for _ in 0..20 {
                assert_eq!(ask(gateway.public, &get("/r")).status, 200);
                used += 1;
            }
            used
        };
        let unsaved = || gateway.metric("tollgate_quota_unsaved_counters").unwrap();
        let used = use_some();
        assert!(eventually(|| shared.stored() == used));
        let end = begin(&shared.path());
        use_some();
        gateway.logged(said);
        let failures = || {
            ["tollgate_quota_save_failures_total", "tollgate_store_refresh_failures_total"]
                .map(|name| gateway.metric(name).unwrap())
                .into_iter()
                .sum::<f64>()
        };
        let before = failures();
        assert!(eventually(|| failures() > before), "tried again");
        let used = use_some();
        assert!(eventually(|| unsaved() == 1.0));
        assert_eq!(gateway.log().matches(said).count(), 1, "said once: {}", gateway.log());
        end();
        gateway.logged(if said.contains("locked") { "quotas are saved again" } else { "can be read again" });
        assert!(eventually(|| unsaved() == 0.0), "{}", gateway.log());
        assert!(eventually(|| shared.stored() == used), "{}", gateway.log());
        drop(gateway);
        assert_eq!(peek(&shared.start(1_000)), 1_000 - used - 1);
    }
}

#[test]
fn a_start_with_the_store_of_the_version_before_brings_it_up_to_date() {
    let shared = Shared::new();
    let gateway = shared.start(100);
    drop(gateway);
    // What the second version added.
    let first = "DROP TRIGGER key_made; DROP TRIGGER key_changed; DROP TRIGGER key_gone; DROP TABLE counters;
                 DROP TABLE numbers; PRAGMA user_version = 1;";
    rusqlite::Connection::open(shared.path()).unwrap().execute_batch(first).unwrap();
    let gateway = shared.start(100);
    assert_eq!(ask(gateway.public, &get("/r")).status, 200);
    assert!(eventually(|| shared.stored() == 1));
}
