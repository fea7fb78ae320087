//! The scripts on a real `redis-server`: they decide as the limiter of one process does.

use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::policy::limit::{Limit, Limiter, Now, Standing, Subject, Unit};
use crate::store::{Entropy, NewKey, Store, StoreError};

#[path = "../../../tests/it/support/redis.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod server;

use server::Redis;

const PATIENCE: Duration = Duration::from_secs(5);
const MICRO: u64 = 1000;
const EPOCH: i64 = 1_750_000_000;

/// Shared counters with a clock that the test sets, and a runtime to ask them on.
struct Desk {
    redis: Redis,
    runtime: tokio::runtime::Runtime,
    shared: Arc<Shared>,
    /// Microseconds since [`EPOCH`].
    micros: u64,
}

impl Desk {
    fn new() -> Self {
        let redis = Redis::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = include_str!("weigh.lua");
        let settable = text.replace("redis.call('TIME')", "redis.call('LRANGE', '{t}:clock', 0, 1)");
        assert_ne!(text, settable, "the script reads the clock");
        let shared = Shared::with(&redis.url(), "t", PATIENCE, [7; 8], &settable).unwrap();
        runtime.block_on(shared.probe()).unwrap();
        let desk = Self { redis, runtime, shared, micros: 0 };
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
        self.runtime.block_on(self.shared.decide(claims, self.now().unix)).unwrap()
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
                match (desk.decide(&claims), limiter.decide(&claims, desk.now())) {
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
    let claim = [Claim { limit, subject: Subject::consumer("alice"), cost: 1 }];
    (0..10_000).take_while(|_| desk.decide(&claim).is_ok()).count()
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
        let ask = |desk: &Desk| desk.runtime.block_on(desk.shared.decide(&claim, EPOCH + skew)).unwrap();
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
    let nodes = [1, 2].map(|node| Shared::new(&redis.url(), "t", PATIENCE, [node; 8]).unwrap());
    runtime.block_on(async {
        for node in &nodes {
            node.probe().await.unwrap();
        }
        let held = nodes[0].decide(&claim, EPOCH).await.unwrap().unwrap().1;
        assert!(nodes[1].decide(&claim, EPOCH).await.unwrap().is_err());
        redis.ask(&["FLUSHALL"]);
        nodes[0].renew().await.unwrap();
        assert!(nodes[1].decide(&claim, EPOCH).await.unwrap().is_err(), "the renewal told it");
        drop(held);
        nodes[0].renew().await.unwrap();
        let mut free = false;
        for _ in 0..1000 {
            free = free || nodes[0].decide(&claim, EPOCH).await.unwrap().is_ok();
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
    let shared = Shared::new(&redis.url(), "t", patience, [1; 8]).unwrap();
    let ask = || runtime.block_on(shared.decide(&claim, EPOCH)).map(|decided| decided.is_ok());
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

/// Keys in an empty Redis.
fn keys(redis: &Redis) -> SharedKeys {
    SharedKeys::open(&crate::store::Redis { url: redis.url(), prefix: "t".to_owned() }).unwrap()
}

#[test]
fn keys_follow_the_rules_of_the_file() {
    const NOW: i64 = 1_800_000_000;
    let redis = Redis::start();
    let shared = keys(&redis);
    let folder = tempfile::tempdir().unwrap();
    let mut file = Store::open_or_create(&folder.path().join("tollgate.db")).unwrap();
    let entropy = |seed: u8| Entropy { secret: [seed; 32], id: [seed; 8] };
    let (long_name, long_note) = ("x".repeat(129), "x".repeat(257));
    let mut names: Vec<String> = ["", "%", "tg_"].map(str::to_owned).to_vec();
    for (seed, consumer, plan, note, lifetime) in [
        (1, "alice", None, "", None),
        (1, "alice", None, "the same", None),
        (2, "bob", Some("free"), "phone \"x\"", Some(100)),
        (3, "", None, "", None),
        (4, &*long_name, None, "", None),
        (5, "bob", Some(""), "", None),
        (6, "bob", None, &*long_note, None),
        (7, "bob", None, "two\nlines", None),
    ] {
        let new = NewKey { consumer, plan, note, lifetime };
        let both = [shared.create(&new, &entropy(seed), NOW), file.create(&new, &entropy(seed), NOW)];
        let [one, other] = both.map(|made| made.map_err(|refused| refused.to_string()));
        assert_eq!(one, other, "{new:?}");
        names.extend(one.iter().flat_map(|made| [made.secret.clone(), made.key.id.clone(), made.key.prefix.clone()]));
    }
    for (turn, name) in names.iter().enumerate() {
        let (entropy, now) = (entropy(100 + turn as u8), NOW + 40 * turn as i64);
        let both = [
            shared.rotate(name, 50, None, &entropy, now).map(|made| made.key),
            file.rotate(name, 50, None, &entropy, now).map(|made| made.key),
        ];
        let [one, other] = both.map(|key| key.map_err(|refused| refused.to_string()));
        assert_eq!(one, other, "rotate {name}");
        assert_eq!(shared.list().unwrap(), file.list().unwrap());
    }
    for name in &names {
        let both = [shared.revoke(name, NOW + 9), file.revoke(name, NOW + 9)];
        let [one, other] = both.map(|key| key.map_err(|refused| refused.to_string()));
        assert_eq!(one, other, "revoke {name}");
    }
    // Those that ended long ago leave with the next one that is made.
    let later = NOW + crate::store::KEEP_ENDED + 60;
    let new = NewKey { consumer: "carol", plan: None, note: "", lifetime: None };
    assert_eq!(shared.create(&new, &entropy(50), later).unwrap(), file.create(&new, &entropy(50), later).unwrap());
    let listed = file.list().unwrap();
    assert_eq!(shared.list().unwrap(), listed);
    assert!(listed.iter().all(|key| key.id != names[4]), "{listed:?}");
}

#[test]
fn many_may_change_keys_at_once_and_a_full_store_says_so() {
    let redis = Redis::start();
    let new = NewKey { consumer: "alice", plan: None, note: "", lifetime: None };
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (redis, new) = (&redis, &new);
            scope.spawn(move || {
                let keys = keys(redis);
                for round in 0..10 {
                    let entropy = Entropy { secret: [thread * 10 + round; 32], id: [thread * 10 + round; 8] };
                    keys.create(new, &entropy, 1).unwrap();
                }
            });
        }
    });
    let shared = keys(&redis);
    assert_eq!(shared.list().unwrap().len(), 80);
    let fill = format!(
        "for i = 1, {} do redis.call('HSET', KEYS[1], 'x' .. i, redis.call('HGET', KEYS[1], ARGV[1])) end",
        crate::store::MOST_KEYS - 80
    );
    redis.ask(&["EVAL", &fill, "1", "{t}:keys", "0101010101010101"]);
    let entropy = Entropy { secret: [200; 32], id: [200; 8] };
    assert!(matches!(shared.create(&new, &entropy, 1), Err(StoreError::Full)));
    assert_eq!(shared.list().unwrap().len(), crate::store::MOST_KEYS);
}
