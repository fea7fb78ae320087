//! The scripts on a real `redis-server`: they decide as the limiter of one process does.

use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::policy::limit::{Limit, Limiter, Now, Standing, Subject, Unit};
use crate::store::{Entropy, NewKey};

mod keys;
mod leases;

#[path = "../../../tests/it/support/redis.rs"]
mod server;

use keys::keys;
use server::Redis;

const PATIENCE: Duration = Duration::from_secs(5);
const MICRO: u64 = 1000;
const EPOCH: i64 = 1_750_000_000;

/// Shared counters with a clock that the test sets, and a runtime to ask them on.
struct Desk {
    redis: Redis,
    runtime: tokio::runtime::Runtime,
    shared: Arc<Shared>,
    /// Another node.
    other: Arc<Shared>,
    /// Microseconds since [`EPOCH`].
    micros: u64,
}

/// The store in this server.
fn at(redis: &Redis) -> crate::store::Redis {
    crate::store::Redis { url: redis.url(), prefix: "t".to_owned() }
}

impl Desk {
    fn new() -> Self {
        Self::with(Sharing::Exact)
    }

    fn with(sharing: Sharing) -> Self {
        let redis = Redis::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let settable = |text: &str| {
            let settable = text.replace("redis.call('TIME')", "redis.call('LRANGE', '{t}:clock', 0, 1)");
            assert_ne!(text, settable, "the script reads the clock");
            Script::new(&settable)
        };
        let [shared, other] =
            [7, 8].map(|node| Shared::with(&at(&redis), PATIENCE, sharing, [node; 8], settable).unwrap());
        runtime.block_on(shared.probe()).unwrap();
        runtime.block_on(other.probe()).unwrap();
        let desk = Self { redis, runtime, shared, other, micros: 0 };
        desk.set_clock();
        desk
    }

    fn set_clock(&self) {
        let (seconds, rest) = (self.micros / 1_000_000, self.micros % 1_000_000);
        self.redis.ask(&["DEL", "{t}:clock"]);
        self.redis.ask(&["RPUSH", "{t}:clock", &(EPOCH + seconds as i64).to_string(), &rest.to_string()]);
    }

    fn wait(&mut self, micros: u64) {
        self.micros += micros;
        self.set_clock();
    }

    fn now(&self) -> Now {
        Now { monotonic: 5_000_000 + self.micros * MICRO, unix: EPOCH + (self.micros / 1_000_000) as i64 }
    }

    fn decide<'a>(&self, claims: &[Claim<'a>]) -> Decided<'a> {
        self.runtime.block_on(self.shared.decide(claims, self.now().unix)).unwrap().decided
    }
}

fn figures(standings: &[Standing<'_>]) -> Vec<(u64, u32, Verdict)> {
    standings.iter().map(|standing| (standing.remaining, standing.reset_seconds, standing.verdict)).collect()
}

fn limits() -> Vec<Limit> {
    let (second, minute, hour) = (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(3600));
    let zone = || TimeZone::get("Europe/Berlin").unwrap();
    vec![
        Limit::rate("a", "a", 7, second, 3).unwrap(),
        Limit::rate("b", "b", 100, minute, 100).unwrap(),
        Limit::rate("c", "c", 11, hour, 5).unwrap(),
        Limit::rate("d", "d", 3, second, 40).unwrap(),
        Limit::quota("e", "e", 30, Unit::Day, zone()).unwrap(),
        Limit::quota("f", "f", 200, Unit::Month, zone()).unwrap(),
    ]
}

#[test]
fn redis_decides_as_one_process_does() {
    let limits = limits();
    let subjects = [Subject::consumer("alice"), Subject::address("192.0.2.1".parse().unwrap())];
    let desk = std::cell::RefCell::new(Desk::new());
    let wait = prop_oneof![Just(0_u64), 1..200_000_u64, 1_000_000..90_000_000_u64, 3_600_000_000..90_000_000_000_u64];
    let claim = (0..limits.len(), 0..subjects.len(), 1..6_u32);
    let request = (wait, prop::collection::vec(claim, 1..4));
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let requests = prop::collection::vec(request, 80);
    runner
        .run(&requests, |requests| {
            let mut desk = desk.borrow_mut();
            desk.redis.ask(&["FLUSHALL"]);
            desk.wait(0);
            let limiter = Limiter::with_capacity(4096, 4096);
            for (wait, claims) in requests {
                desk.wait(wait);
                let claims: Vec<Claim<'_>> = claims
                    .iter()
                    .map(|(limit, subject, cost)| Claim {
                        limit: &limits[*limit],
                        subject: subjects[*subject],
                        cost: *cost,
                    })
                    .collect();
                match (desk.decide(&claims), limiter.decide(&claims, desk.now()).unwrap()) {
                    (Ok((shared, _)), Ok(own)) => {
                        prop_assert_eq!(figures(&shared.standings), figures(&own.standings));
                    }
                    (Err(shared), Err(own)) => {
                        prop_assert_eq!(figures(&shared.standings), figures(&own.standings));
                        prop_assert_eq!(shared.retry_after_seconds, own.retry_after_seconds);
                    }
                    (shared, own) => {
                        prop_assert!(false, "{:?} but alone {:?}", shared.is_ok(), own.is_ok());
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

/// How many requests of `alice` pass until one is refused.
fn drain(desk: &Desk, limit: &Limit) -> usize {
    (0..10_000).take_while(|_| asked_one(desk, &desk.shared, &[limit]).0).count()
}

/// Whether a request of `alice` passes these limits at this node, and whether Redis was asked.
fn asked_one(desk: &Desk, node: &Arc<Shared>, limits: &[&Limit]) -> (bool, bool) {
    let claims: Vec<_> =
        limits.iter().map(|limit| Claim { limit, subject: Subject::consumer("alice"), cost: 1 }).collect();
    let decision = desk.runtime.block_on(node.decide(&claims, desk.now().unix)).unwrap();
    (decision.decided.is_ok(), decision.asked)
}

#[test]
fn large_and_awkward_rates_are_never_faster_than_asked() {
    for (count, period, burst, wait, least, most) in [
        (999_999_937, 3600, 20, 1_000_000, 20, 20),
        (1_000_000_007, 1, 3, 1, 3, 3),
        (7, 3600, 1, 514_285_714, 1, 0),
        (7, 3600, 1, 514_285_715, 1, 1),
    ] {
        let mut desk = Desk::new();
        let limit = Limit::rate("x", "x", count, Duration::from_secs(period), burst).unwrap();
        assert_eq!(drain(&desk, &limit), least, "{count}/{period}");
        desk.wait(wait);
        assert_eq!(drain(&desk, &limit), most, "{count}/{period}");
    }
    // A burst that no double could count in exact units.
    let huge = Limit::rate("y", "y", 999_999_999_989, Duration::from_secs(3600), 999_999_999_989).unwrap();
    let claim = Claim { limit: &huge, subject: Subject::consumer("alice"), cost: u32::MAX };
    let desk = Desk::new();
    let passed = (0..400).take_while(|_| desk.decide(&[claim]).is_ok()).count();
    assert!((200..=232).contains(&passed), "{passed}: 232.8 times the cost is the burst");
}

#[test]
fn the_keeper_knows_the_window_that_runs() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let day = Limit::quota("q", "q", 2, Unit::Day, zone).unwrap();
    let claim = [Claim { limit: &day, subject: Subject::consumer("alice"), cost: 1 }];
    for skew in [-40 * 86_400, -3600, 0, 3600, 40 * 86_400] {
        let desk = Desk::new();
        let ask = |desk: &Desk| desk.runtime.block_on(desk.shared.decide(&claim, EPOCH + skew)).unwrap().decided;
        for expected in [Some(1), Some(0), None] {
            let decided = ask(&desk);
            assert_eq!(decided.as_ref().ok().map(|(granted, _)| granted.standings[0].remaining), expected, "{skew}");
            let standings = decided.map_or_else(|refused| refused.standings, |(granted, _)| granted.standings);
            // 2025-06-15T15:06:40Z is 6 h 53 min 20 s before midnight in Berlin.
            assert_eq!(standings[0].reset_seconds, 6 * 3600 + 53 * 60 + 20, "{skew}");
        }
    }
}

#[test]
fn places_are_free_when_they_are_given_back_or_lapse() {
    let limit = Limit::concurrency("c", "c", 2).unwrap();
    let claim = [Claim { limit: &limit, subject: Subject::consumer("alice"), cost: 5 }];
    let mut desk = Desk::new();
    let first = desk.decide(&claim).unwrap().1;
    let second = desk.decide(&claim).unwrap().1;
    let refused = desk.decide(&claim).map(|_| ()).unwrap_err();
    assert_eq!((refused.standings[0].remaining, refused.retry_after_seconds), (0, 1));
    desk.runtime.block_on(async { drop(first) });
    // Nobody waits for the release.
    let third = (0..1000).find_map(|_| desk.decide(&claim).ok()).unwrap().1;
    // A node that dies renews nothing.
    std::mem::forget((second, third));
    desk.wait(u64::try_from(LAPSE.as_micros()).unwrap() - 1_000);
    assert!(desk.decide(&claim).is_err(), "not yet");
    desk.wait(1_000);
    let again = desk.decide(&claim).unwrap();
    assert_eq!(again.0.standings[0].remaining, 1);
}

#[test]
fn places_are_renewed_and_told_to_a_redis_that_forgot_them() {
    let limit = Limit::concurrency("c", "c", 1).unwrap();
    let claim = [Claim { limit: &limit, subject: Subject::consumer("alice"), cost: 1 }];
    let redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let nodes = [1, 2].map(|node| Shared::new(&at(&redis), PATIENCE, Sharing::Exact, [node; 8]).unwrap());
    runtime.block_on(async {
        for node in &nodes {
            node.probe().await.unwrap();
        }
        let held = nodes[0].decide(&claim, EPOCH).await.unwrap().decided.unwrap().1;
        assert!(nodes[1].decide(&claim, EPOCH).await.unwrap().decided.is_err());
        redis.ask(&["FLUSHALL"]);
        nodes[0].renew().await.unwrap();
        assert!(nodes[1].decide(&claim, EPOCH).await.unwrap().decided.is_err(), "the renewal told it");
        drop(held);
        nodes[0].renew().await.unwrap();
        let mut free = false;
        for _ in 0..1000 {
            free = free || nodes[0].decide(&claim, EPOCH).await.unwrap().decided.is_ok();
        }
        assert!(free, "no renewal brings back what was released");
    });
}

#[test]
fn faults_are_told_apart_and_nobody_waits_for_one_that_is_known() {
    let limit = Limit::rate("r", "r", 5, Duration::from_secs(60), 5).unwrap();
    let claim = [Claim { limit: &limit, subject: Subject::consumer("alice"), cost: 1 }];
    let mut redis = Redis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patience = Duration::from_millis(100);
    let shared = Shared::new(&at(&redis), patience, Sharing::Exact, [1; 8]).unwrap();
    let ask = || runtime.block_on(shared.decide(&claim, EPOCH)).map(|decision| decision.decided.is_ok());
    let probe = || runtime.block_on(shared.probe());
    assert_eq!(ask(), Err(Fault::Down), "not probed yet");
    probe().unwrap();
    assert_eq!(ask(), Ok(true));
    redis.signal("STOP");
    let slow = ask().unwrap_err();
    assert_eq!(slow, Fault::Slow(patience));
    assert_eq!((shared.failed(&slow), shared.failed(&slow)), (Change::WentDown, Change::Known));
    assert_eq!(ask(), Err(Fault::Down));
    redis.signal("CONT");
    probe().unwrap();
    assert_eq!(ask(), Ok(true));
    redis.kill();
    let refused = ask().unwrap_err();
    assert!(matches!(refused, Fault::Refused(_)), "{refused:?}");
    shared.failed(&refused);
    assert!(probe().is_err());
    redis.restart();
    probe().unwrap();
    for passes in [true, true, true, true, true, false] {
        assert_eq!(ask(), Ok(passes), "it begins anew, with the scripts");
    }
}

#[test]
fn a_node_of_a_cluster_that_names_another_one_is_followed() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [asked, holder] = folders.each_ref().map(|folder| {
        let folder = folder.path().to_str().unwrap();
        Redis::with(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--dir", folder])
    });
    assert_eq!(holder.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK\r\n");
    let url = holder.url();
    asked.ask(&["CLUSTER", "MEET", "127.0.0.1", url.rsplit(':').next().unwrap()]);
    let until = Instant::now() + Duration::from_secs(20);
    while ![&asked, &holder].iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
        assert!(Instant::now() < until, "the nodes do not meet");
        std::thread::yield_now();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared = Shared::new(&at(&asked), PATIENCE, Sharing::Exact, [1; 8]).unwrap();
    runtime.block_on(shared.probe()).unwrap();
    let limits = limits();
    let claims: Vec<_> =
        limits[2..].iter().map(|limit| Claim { limit, subject: Subject::consumer("alice"), cost: 1 }).collect();
    let ask = || runtime.block_on(shared.decide(&claims, EPOCH)).unwrap().decided.is_ok();
    assert_eq!([(); 6].map(|()| ask()), [true, true, true, true, true, false], "the smallest burst is five");
    keys(&asked)
        .create(
            &NewKey { consumer: "bob", plan: None, note: "", lifetime: None },
            &Entropy { secret: [1; 32], id: [1; 8] },
            1,
        )
        .unwrap();
    assert_eq!(keys(&holder).list().unwrap().len(), 1);
    assert_eq!(asked.ask(&["DBSIZE"]), ":0\r\n");
}
